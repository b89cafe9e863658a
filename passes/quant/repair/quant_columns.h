/* Rounding of a weight to a given grid so that its products lose least, column by column. Numbers only: no graphs. */
#ifndef MC_PASSES_QUANT_COLUMNS_H
#define MC_PASSES_QUANT_COLUMNS_H

#include <stdbool.h>

#include "kernels/linalg.h"

/* m outputs of n inputs each, inputs first: element i of input j at [j * m + i]. */
struct mc_quant_columns {
    int64_t m, n;
    const float *w;     /* [n,m] */
    const float *scale; /* [m], or [n,m] where it is `each` */
    const float *zero;  /* the same; NULL: 0 */
    bool each;
    float low, high;      /* limits of q */
    float *q;             /* [n,m] integers: in, rounded in any way; out, better ones */
    double before, after; /* out: sum over outputs of e H eᵀ, e = w - scale (q - zero) */
};

/* H [n,n] mean of x xᵀ over inputs x, lower triangle; `damping` times the mean of its diagonal is added to that.
 * First, from the input of the largest H[j,j] on, w[j] + what the errors so far make of it is rounded (GPTQ; the
 * nearest plane of Babai in a lattice of basis H's Cholesky factor), then in `sweeps` over the inputs every q moves to where the error
 * is least with all others as they are. q stays as it was where that is no worse.
 * Source: Frantar et al., GPTQ, ICLR 2023; Chee et al., QuIP, NeurIPS 2023 (the same in this form; greedy updates).
 * Errors: MC_EDATA, MC_ENOMEM. Cost: n³/3 + (2 + 2 sweeps) m n² operations. */
int mc_quant_round_columns(struct mc_linalg *la, const float *h, double damping, int sweeps,
                           struct mc_quant_columns *c, struct mc_err *err);

#endif
