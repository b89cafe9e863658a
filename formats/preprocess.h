/* What happens to 8-bit pixels on their way into a model: y = (v * scale - mean) / std.
 *
 * Written "scale=1/255,mean=0.485:0.456:0.406,std=0.229:0.224:0.225": values are numbers or fractions, one
 * for all channels or one per channel with ':' between. What is left out is scale 1/255, mean 0, std 1. */
#ifndef MC_FORMATS_PREPROCESS_H
#define MC_FORMATS_PREPROCESS_H

#include <stdbool.h>

#include "base/err.h"
#include "graph/dtype.h"

enum { MC_PREPROCESS_CHANNELS = 64 };

struct mc_preprocess {
    double over, under; /* scale = over / under: v / 255 is exact, v * (1 / 255) is not */
    int n_mean, n_std;  /* 1: for all channels */
    double mean[MC_PREPROCESS_CHANNELS], std[MC_PREPROCESS_CHANNELS];
};

/* text NULL: the default. Errors: MC_EUSAGE naming the part; MC_EUNSUP for resize and crop. */
int mc_preprocess_parse(const char *text, struct mc_preprocess *ret, struct mc_err *err);
/* True if every pixel stays what it is. */
bool mc_preprocess_identity(const struct mc_preprocess *p);
/* Channels the table needs for images of `channels`: 1 if all are treated alike. Errors: MC_ESHAPE if the
 * lists do not fit. */
int mc_preprocess_channels(const struct mc_preprocess *p, int64_t channels, int *ret,
                           struct mc_err *err);
/* table[c * 256 + v] = y of pixel v in channel c, as elements of a float type, rounded once. */
int mc_preprocess_table(const struct mc_preprocess *p, int channels, enum mc_dtype dtype,
                        void *table, struct mc_err *err);

#endif
