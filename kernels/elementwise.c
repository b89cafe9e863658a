#include "kernels/elementwise.h"

/* Functions that rise (so that the side of a kink is told by the result), or whose derivative is a formula of it
 * everywhere. */
bool mc_unary_by_result(enum mc_unary_fn fn, double a, double b)
{
    switch (fn) {
    case MC_UNARY_RECIPROCAL:
    case MC_UNARY_SQRT:
    case MC_UNARY_CLAMP:
    case MC_UNARY_HARDSIGMOID:
    case MC_UNARY_EXP:
    case MC_UNARY_SIGMOID:
    case MC_UNARY_TANH:
    case MC_UNARY_SOFTPLUS:
    case MC_UNARY_TAN:
    case MC_UNARY_SOFTSIGN:
    case MC_UNARY_CELU: return true;
    case MC_UNARY_LEAKY:
    case MC_UNARY_ELU:
    case MC_UNARY_THRESHOLDED: return a >= 0;
    case MC_UNARY_SELU: return a >= 0 && b >= 0;
    default: return false;
    }
}
