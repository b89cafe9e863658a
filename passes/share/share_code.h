/* A weight matrix as a codebook and one index for each weight, fitted to what the layer gives.
 *
 * W [m,n] becomes q[i,j] = scale[i] entry[index[i,j]]. With K Kᵀ = C [n,n] of the inputs (of each part, mc_layer.parts) and g [m]
 * what an error of an output costs, the error is sum_i g_i ‖(w_i - q_i) K‖². Without K it is the square of the difference.
 *  1. Entries by weighted k-means on the diagonal of C (codebook.h).
 *  2. Indices column by column from the last to the first, each nearest to what makes up for the columns behind it: Babai's nearest
 *     plane, which is GPTQ's rule (Frantar et al., GPTQ, 2023) on a grid that is not even.
 *  3. Indices one by one, as long as the error falls.
 *  4. Entries, and scales, by least squares for these indices; 2 to 4 in turns, the best of them is kept. */
#ifndef MC_PASSES_SHARE_CODE_H
#define MC_PASSES_SHARE_CODE_H

#include <stdbool.h>
#include <stdint.h>

#include "kernels/linalg.h"
#include "passes/share/codebook.h"

struct mc_share_matrix {
    int64_t m, n, parts;
    const float *w;          /* [m,n] */
    const float *const *k;   /* [parts] of [n,n], lower triangles; NULL: no norm */
    const float *k_diagonal; /* [n] instead of it, for all parts; or NULL */
    const float *g;          /* [m]; NULL: 1 */
};

struct mc_share_code {
    int bits;
    float entry[MC_CODEBOOK_MAX]; /* [1 << bits], ascending */
    float *scale;                 /* [m] or NULL */
    uint8_t *index;               /* [m,n] */
    double error, total;          /* of it, and of zeros in place of the weights */
};

/* bits in 1..8. quick: step 1 alone, its errors by the diagonal of C. scaled: with a scale for each row. Matrices of few different values come out exactly, without a scale.
 * Errors: MC_EDATA for what is not finite, MC_ENOMEM. Cost: some m n² operations with K, else that of k-means. */
int mc_share_encode(struct mc_linalg *la, const struct mc_share_matrix *x, int bits, bool scaled,
                    bool quick, struct mc_share_code *ret, struct mc_err *err);
void mc_share_code_free(struct mc_share_code *c);
/* q [m,n]. */
void mc_share_decode(const struct mc_share_matrix *x, const struct mc_share_code *c, float *q);

/* ---- between the files of it ---- */

/* Indices anew (choose), or those that are there; *ret_error. K must be there. */
int mc_share_assign(struct mc_linalg *la, const struct mc_share_matrix *x, bool choose,
                    struct mc_share_code *c, double *ret_error, struct mc_err *err);
/* Indices one by one while each alone makes the error smaller. K must be there. Cost: 4 m n² and n³. */
int mc_share_descend(struct mc_linalg *la, const struct mc_share_matrix *x, struct mc_share_code *c,
                     struct mc_err *err);
/* Entries (ascending; indices follow) that are best for the indices. K must be there. *ret_done: false where that is too much work. */
int mc_share_entries(const struct mc_share_matrix *x, struct mc_share_code *c, bool *ret_done,
                     struct mc_err *err);

#endif
