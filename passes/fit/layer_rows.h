/* The rows that a linear layer multiplies, taken out of the value that holds them. */
#ifndef MC_PASSES_LAYER_ROWS_H
#define MC_PASSES_LAYER_ROWS_H

#include "graph/ops/window.h"
#include "passes/fit/covariance.h"

struct mc_rows { /* where the rows of one value are */
    const float *x;
    float *own;    /* x where it had to be converted */
    int64_t n;     /* elements of a row */
    int64_t each;  /* rows a sample */
    int64_t total; /* rows in all */
    bool patches;
    bool columns;
    int64_t
        inner; /* columns: elements of one row lie so far apart; parts: rows before another part */
    int64_t part, parts; /* of the states of a cell, or 0 parts */
    struct mc_window_dims w;
    int64_t channels, taken; /* of a patch: those of one group */
};

/* Of c (its node, n, columns, parts), in array a of so many samples. free(ret->own) in any case.
 * Errors: MC_ESHAPE naming the node, MC_EDTYPE, MC_ENOMEM. */
int mc_rows_find(const struct mc_cov *c, const struct mc_array *a, int64_t samples,
                 struct mc_rows *ret, struct mc_err *err);
/* Row number `at` in [0, total), n elements; a patch in the order of a weight's columns. */
void mc_rows_get(const struct mc_rows *r, int64_t at, float *dst);

/* How many of each sample's rows are enough, where all samples together should give 16 per dimension and at least
 * 16384. */
int64_t mc_rows_take(const struct mc_rows *r, int64_t samples);
/* Row j of the `take` that sample s gives: evenly spread, starting elsewhere in each sample. */
int64_t mc_rows_spread(int64_t each, int64_t take, int64_t j, int64_t s);

#endif
