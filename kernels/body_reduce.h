/* Reductions of one element after the other, as the reference and the device compute them. */
#ifndef MC_KERNELS_BODY_REDUCE_H
#define MC_KERNELS_BODY_REDUCE_H

#include "kernels/body.h"
#include "kernels/nn.h"

MC_HD elem mc_reduce_start(enum mc_reduce_fn fn)
{
    return fn == MC_REDUCE_MAX   ? -(elem)INFINITY
           : fn == MC_REDUCE_MIN ? (elem)INFINITY
                                 : (elem)(fn == MC_REDUCE_PROD);
}

/* top is for LOG_SUM_EXP. */
MC_HD elem mc_reduce_step(enum mc_reduce_fn fn, elem sum, elem x, elem top)
{
    switch (fn) {
    case MC_REDUCE_MAX: return isnan(sum) || sum > x ? sum : x;
    case MC_REDUCE_MIN: return isnan(sum) || sum < x ? sum : x;
    case MC_REDUCE_PROD: return sum * x;
    case MC_REDUCE_SUM_SQUARE:
    case MC_REDUCE_L2: return sum + x * x;
    case MC_REDUCE_L1: return sum + fabs(x);
    case MC_REDUCE_LOG_SUM_EXP: return sum + exp(x - top);
    default: return sum + x;
    }
}

MC_HD elem mc_reduce_end(enum mc_reduce_fn fn, elem sum, elem top, elem n)
{
    switch (fn) {
    case MC_REDUCE_MEAN: return sum / n;
    case MC_REDUCE_L2: return sqrt(sum);
    case MC_REDUCE_LOG_SUM: return log(sum);
    case MC_REDUCE_LOG_SUM_EXP: return log(sum) + top;
    default: return sum;
    }
}

/* v, which comes after top, takes its place. */
MC_HD bool mc_argext_better(bool smallest, bool last, elem v, elem top)
{
    bool better = smallest ? v < top : v > top;
    return better || isnan(top) > isnan(v) || (last && v == top);
}

#endif
