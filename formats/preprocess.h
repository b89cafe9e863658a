/* What happens to 8-bit pixels on their way into a model: resized, cropped, then y = (v * scale - mean) / std.
 *
 * Written "resize=256,crop=224x224,scale=1/255,mean=0.485:0.456:0.406,std=0.229:0.224:0.225,bgr", in any order.
 * resize is WxH, or one number for the shorter side; crop is WxH or N for NxN, in the middle. Values are
 * numbers or fractions, one for all channels or one per channel (as the model takes them) with ':' between.
 * What is left out is scale 1/255, mean 0, std 1. bgr: blue is the first channel. */
#ifndef MC_FORMATS_PREPROCESS_H
#define MC_FORMATS_PREPROCESS_H

#include <stdbool.h>

#include "base/err.h"
#include "graph/dtype.h"

enum { MC_PREPROCESS_CHANNELS = 64 };

struct mc_preprocess {
    int resize_w, resize_h; /* 0: no resizing; resize_h 0: resize_w is for the shorter side */
    int crop_w, crop_h;     /* 0: no cropping */
    bool bgr;
    bool values;        /* scale, mean or std was given */
    double over, under; /* scale = over / under: v / 255 is exact, v * (1 / 255) is not */
    int n_mean, n_std;  /* 1: for all channels */
    double mean[MC_PREPROCESS_CHANNELS], std[MC_PREPROCESS_CHANNELS];
};

/* text NULL: the default. Errors: MC_EUSAGE naming the part. */
int mc_preprocess_parse(const char *text, struct mc_preprocess *ret, struct mc_err *err);
/* Width and height after resizing and cropping. Errors: MC_ESHAPE for pictures smaller than the crop, naming
 * `what`. */
int mc_preprocess_size(const struct mc_preprocess *p, const char *what, int *width, int *height,
                       struct mc_err *err);
/* The size after resizing alone. */
void mc_preprocess_resized(const struct mc_preprocess *p, int *width, int *height);
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
