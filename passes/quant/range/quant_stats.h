/* What the values of a model hold over calibration samples; saved, merged, edited, used again: --stats FILE. */
#ifndef MC_PASSES_QUANT_STATS_H
#define MC_PASSES_QUANT_STATS_H

#include "passes/quant/range/quant_range.h"

/* Ranges worked out already: a search asks for the same ones in every build. */
enum { MC_QUANT_KNOWN = 8 };
struct mc_quant_known {
    size_t n; /* entries in use; the oldest goes first */
    struct mc_quant_known_range {
        struct mc_quant_type type;
        enum mc_quant_range_method method;
        double percentile;
        uint64_t values; /* in the histogram then */
        struct mc_quant_param param;
    } range[MC_QUANT_KNOWN];
};

/* Of a value of the main graph. Per channel (of the axis that the reader sums over) only extremes and sums, which is what
 * equalisation, SmoothQuant and outlier channels need. */
struct mc_quant_stat {
    const char *name; /* of the value; unique */
    struct mc_quant_hist hist;
    int axis;               /* of the channels, as the readers have it; -1: none kept */
    int64_t channels;       /* 0: none kept */
    float *ch_min, *ch_max; /* [channels] */
    double *ch_sum;         /* [channels] */
    uint64_t ch_n;          /* values a channel */
    bool fixed;             /* the range was written by hand into the statistics file: */
    struct mc_quant_param param;
    struct mc_quant_known *known; /* NULL: none are kept */
};

struct mc_quant_stats {
    struct mc_quant_stat *item; /* in the order asked for */
    size_t n;
    int64_t samples;
    char digest[65]; /* of the model's names and shapes: statistics of another model are refused */
    struct mc_arena *mem;
};

struct mc_quant_want {
    const char *name; /* of a value of the main graph */
    int axis;         /* of channels to keep apart, or -1 */
};

/* Run the model over ctx->calib (ctx->calib_count samples from the first; small batches, so that the peak stays under 1.5
 * times that of running one sample). Left out are values that are not floats, or the same in all runs; one that is wanted
 * twice is there once. Values that hold NaN or infinity are counted so; who uses them decides.
 * What is asked for keeps its node apart from those that read it, and takes a pass of about 1 ns a number.
 * Errors: MC_EUSAGE without samples; what running and reading give; MC_EINTR. The same numbers for any thread count. */
int mc_quant_stats_collect(struct mc_pass_ctx *ctx, const struct mc_model *m,
                           const struct mc_quant_want *want, size_t n, struct mc_quant_stats **ret,
                           struct mc_err *err);
void mc_quant_stats_free(struct mc_quant_stats *s);
const struct mc_quant_stat *mc_quant_stats_of(const struct mc_quant_stats *s,
                                              const char *name); /* or NULL */

/* mc_quant_range of its histogram, remembered. Not for several threads at once. */
void mc_quant_stat_range(const struct mc_quant_stat *s, const struct mc_quant_type *t,
                         enum mc_quant_range_method method, double percentile,
                         struct mc_quant_param *ret);

/* {format, model, samples, values: [{name, histogram, channels, range?: {scale, zero}}]}: a person may add "range". */
json_t *mc_quant_stats_json(const struct mc_quant_stats *s);
/* Errors: MC_EUSAGE where the file is of another model, naming a value that this one lacks; MC_EDATA. */
int mc_quant_stats_read(const json_t *o, const struct mc_model *m, struct mc_quant_stats **ret,
                        struct mc_err *err);
/* Counts of both: of several machines, several sets; values that one of them lacks are there too. A range written by hand
 * stays, that of s first. Errors: MC_EUSAGE of two models. */
int mc_quant_stats_merge(struct mc_quant_stats *s, const struct mc_quant_stats *of,
                         struct mc_err *err);

#endif
