/* Which units of a group to remove, one after the other, where what reads them is fitted anew each time.
 *
 * A reader multiplies rows x of n elements by W [m,n]; C is the second moment of x. Without the columns B of a unit, and
 * with the others fitted again by least squares, its output is off by tr(V_B ((C⁻¹)_BB)⁻¹ V_Bᵀ), where V is W as it has
 * become; the fit takes V - V_B ((C⁻¹)_BB)⁻¹ (C⁻¹)_B,: for V and eliminates B from C⁻¹.
 * Source: Hassibi, Stork, Second Order Derivatives for Network Pruning: Optimal Brain Surgeon, NIPS 1992; by columns: Kurtic,
 * Frantar, Alistarh, ZipLM, NeurIPS 2023. */
#ifndef MC_PASSES_IMPORTANCE_OBS_GREEDY_H
#define MC_PASSES_IMPORTANCE_OBS_GREEDY_H

#include <stddef.h>

#include "kernels/linalg.h"

struct mc_obs_reader {
    int64_t m, n;
    /* [units + 1] Columns of unit u are start[u] … start[u + 1] - 1; those from start[units] on are of none. */
    int64_t *start;
    float *inverse; /* [n,n] of C, lower triangle */
    float *w;       /* [m,n], so that squares of errors of its rows add up */
};

/* Remove all units, cheapest first. All are given what their removal costs all readers together: order[k] is the unit that
 * goes k-th, cost[k] the error without units 0 … k. What readers hold is destroyed. Of many units some go at once, the ones
 * that are cheapest by themselves; their cost is that of all.
 * Errors: MC_ENOMEM; MC_EDATA for what is no number; MC_EFAIL where C⁻¹ is none. Cost: about n² (n + m) operations a reader. */
int mc_obs_greedy(struct mc_linalg *la, struct mc_obs_reader *reader, size_t n_readers,
                  const float *pairs, int64_t units, int32_t *order, double *cost,
                  struct mc_err *err);

/* a [n,n], lower triangle, positive definite, gives way to its inverse, lower triangle. */
int mc_obs_invert(struct mc_linalg *la, int64_t n, float *a, struct mc_err *err);

#endif
