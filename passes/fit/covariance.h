/* Mean and covariance of what a linear layer multiplies: rows of a matrix, or the patches under a
 * convolution's window, gathered while the model runs over calibration samples. Of a table behind Gather: how often
 * each of its rows is taken. */
#ifndef MC_PASSES_COVARIANCE_H
#define MC_PASSES_COVARIANCE_H

#include "base/progress.h"
#include "base/threads.h"
#include "graph/dataset.h"
#include "graph/graph.h"
#include "kernels/linalg.h"

struct mc_cov {
    struct mc_node
        *node; /* given: whose window patches are taken through if it is a Conv; its name is
                               * for messages */
    const struct mc_value *x; /* given: what it multiplies; NULL: in[0] */
    int64_t n;                /* given: elements of a row */
    bool columns;             /* given: the n elements lie along the last but one axis */
    bool channels; /* given: all of a sample's values are [n, positions], whatever the node is */
    bool one_hot;  /* given: x are indices of n */
    int part,
        parts; /* given: only direction `part` of the states Y of a cell, or patches of group `part`; 0 parts: all */

    int64_t rows; /* how many were seen */
    float *mean;  /* [n] */
    struct mc_tensor
        *second; /* covariance about the mean, [n,n], lower triangle; of one_hot its mean square
                               * instead, which is diagonal: [n] */

    float *shift; /* while gathering: mean of the first batch, taken off against cancellation */
    double *sum;  /* of rows - shift */
};

struct mc_cov_opts {
    struct mc_pool *pool;
    const struct mc_progress *progress;
    struct mc_spill *spill; /* for matrices above 1 MiB */
    int64_t samples;
};

/* Fill in all `n` of a graph in one run over the data. Of many rows a sample only an even spread is taken,
 * 16 per dimension in all and at least 16384: neighbours tell little new.
 * Errors: MC_EDATA for NaN and infinity, naming the node; what running gives.
 * Cost: rows n² operations each. The same numbers for any thread count. */
int mc_cov_gather(const struct mc_graph *g, struct mc_dataset *data, struct mc_linalg *la,
                  struct mc_cov *covs, size_t n, const struct mc_cov_opts *opts,
                  struct mc_err *err);
void mc_cov_release(struct mc_cov *c);

#endif
