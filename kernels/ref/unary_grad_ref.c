#include "kernels/ref/unary_grad_ref.h"

/* Beyond, exp(-x²/2) is 0 in double, and x times it must not be infinity times 0. */
static elem within_40(elem x)
{
    return x < -40 ? -40 : x > 40 ? 40 : x;
}

static elem gelu_slope(elem x)
{
    const elem density = (elem)0.39894228040143267794; /* 1/sqrt(2 pi) */
    elem near = within_40(x);
    return erfc(-x * (elem)0.70710678118654752440) / 2 + near * density * exp(-near * near / 2);
}

static elem gelu_tanh_slope(elem x)
{
    const elem scale = (elem)0.79788456080286535588, cubic = (elem)0.044715;
    elem z = within_40(x), t = tanh(scale * (z + cubic * z * z * z));
    return (1 + t) / 2 + z / 2 * (1 - t * t) * scale * (1 + 3 * cubic * z * z);
}

static elem mish_slope(elem x)
{
    elem t = tanh((x > 0 ? x : 0) + log1p(exp(-fabs(x))));
    return t + x * sigmoid_ref(x) * (1 - t * t);
}

/* dx where the slope is a number that is not 0 or 1 alone. */
static elem slope_of(enum mc_unary_fn fn, elem a, elem b, elem v)
{
    elem s;
    switch (fn) {
    case MC_UNARY_ABS: return v > 0 ? 1 : v < 0 ? -1 : v;
    case MC_UNARY_NEG: return -1;
    case MC_UNARY_RECIPROCAL: return -v * v;
    case MC_UNARY_SQRT: return (elem)0.5 / v;
    case MC_UNARY_LEAKY: return v > 0 ? 1 : a;
    case MC_UNARY_HARDSIGMOID: return v <= 0 || v >= 1 ? 0 : a;
    case MC_UNARY_HARDSWISH: return v <= -3 ? 0 : v >= 3 ? 1 : v / 3 + (elem)0.5;
    case MC_UNARY_EXP: return v;
    case MC_UNARY_LOG: return 1 / v;
    case MC_UNARY_ERF: return (elem)1.12837916709551257390 * exp(-v * v); /* 2/sqrt(pi) */
    case MC_UNARY_SIGMOID: return v * (1 - v);
    case MC_UNARY_TANH: return (1 - v) * (1 + v);
    case MC_UNARY_SILU: s = sigmoid_ref(a * v); return s * (1 + a * v * (1 - s));
    case MC_UNARY_ELU: return v > 0 ? 1 : a >= 0 ? v + a : a * exp(v);
    case MC_UNARY_SOFTPLUS: return -expm1(-v);
    case MC_UNARY_GELU: return gelu_slope(v);
    case MC_UNARY_GELU_TANH: return gelu_tanh_slope(v);
    case MC_UNARY_SIN: return cos(v);
    case MC_UNARY_COS: return -sin(v);
    case MC_UNARY_TAN: return 1 + v * v;
    case MC_UNARY_ASIN: return 1 / sqrt((1 - v) * (1 + v));
    case MC_UNARY_ACOS: return -1 / sqrt((1 - v) * (1 + v));
    case MC_UNARY_ATAN: return 1 / (1 + v * v);
    case MC_UNARY_SINH: return cosh(v);
    case MC_UNARY_COSH: return sinh(v);
    case MC_UNARY_ASINH: return 1 / sqrt(v * v + 1);
    case MC_UNARY_ACOSH: return 1 / sqrt((v - 1) * (v + 1));
    case MC_UNARY_ATANH: return 1 / ((1 - v) * (1 + v));
    case MC_UNARY_SELU: return v > 0 ? b : a >= 0 && b >= 0 ? v + a * b : a * b * exp(v);
    case MC_UNARY_CELU: return v > 0 ? 1 : v / a + 1;
    case MC_UNARY_MISH: return mish_slope(v);
    case MC_UNARY_SOFTSIGN: return (1 - fabs(v)) * (1 - fabs(v));
    default: return 0; /* steps */
    }
}

static elem grad_of(enum mc_unary_fn fn, elem a, elem b, elem dy, elem v)
{
    switch (fn) {
    case MC_UNARY_CLAMP: return v <= a || v >= b ? 0 : dy;
    case MC_UNARY_THRESHOLDED: return v <= a ? 0 : dy;
    case MC_UNARY_SHRINK: return v >= -a && v <= a ? 0 : dy;
    default: return dy * slope_of(fn, a, b, v);
    }
}

void MC_REF(mc_unary_grad)(const struct mc_unary_grad *u, struct mc_pool *pool)
{
    (void)pool;
    const elem *dy = u->dy, *v = u->v;
    elem *dx = u->dx, a = (elem)u->a, b = (elem)u->b;
    for (int64_t i = 0; i < u->n; i++)
        dx[i] = grad_of(u->fn, a, b, dy[i], v[i]);
}
