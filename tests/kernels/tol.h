/* How far a kernel may be from the f64 reference, and why. U is half a unit in the last place of f32. */
#ifndef MC_TESTS_TOL_H
#define MC_TESTS_TOL_H

#include <math.h>

#define TOL_U 0x1p-24

/* Sums of k products, times sum |a||b|: k roundings of partial sums whose errors are independent grow as
 * sqrt(k); the rest is alpha, bias, residual and one activation of slope <= 1.13. A forgotten or doubled
 * product is 1/k of the scale: far above this for every k tested. */
static inline double tol_sum(double k)
{
    return TOL_U * (8 + sqrt(k));
}

/* An activation by polynomial, times max(1, |y|). */
#define TOL_ACT (16 * TOL_U)

#endif
