/* Elementwise functions of one element, as the reference and the device compute them. */
#ifndef MC_KERNELS_BODY_ELEMENTWISE_H
#define MC_KERNELS_BODY_ELEMENTWISE_H

#include "kernels/body.h"
#include "kernels/elementwise.h"

MC_HD elem mc_unary_of(enum mc_unary_fn fn, elem a, elem b, elem x)
{
    switch (fn) {
    case MC_UNARY_ABS: return fabs(x);
    case MC_UNARY_NEG: return -x;
    case MC_UNARY_RECIPROCAL: return 1 / x;
    case MC_UNARY_SQRT: return sqrt(x);
    case MC_UNARY_FLOOR: return floor(x);
    case MC_UNARY_CEIL: return ceil(x);
    case MC_UNARY_ROUND: return rint(x);
    case MC_UNARY_SIGN: return x > 0 ? 1 : x < 0 ? -1 : x;
    case MC_UNARY_CLAMP: x = x < a ? a : x; return x > b ? b : x;
    case MC_UNARY_LEAKY: return x < 0 ? a * x : x;
    case MC_UNARY_HARDSIGMOID: x = a * x + b; return x < 0 ? 0 : x > 1 ? 1 : x;
    case MC_UNARY_HARDSWISH: a = x / 6 + (elem)0.5; return x * (a < 0 ? 0 : a > 1 ? 1 : a);
    case MC_UNARY_EXP: return exp(x);
    case MC_UNARY_LOG: return log(x);
    case MC_UNARY_ERF: return erf(x);
    case MC_UNARY_SIGMOID: return mc_sigmoid_of(x);
    case MC_UNARY_TANH: return tanh(x);
    case MC_UNARY_SILU: return x * mc_sigmoid_of(a * x);
    case MC_UNARY_ELU: return x < 0 ? a * expm1(x) : x;
    case MC_UNARY_SOFTPLUS: return (x > 0 ? x : 0) + log1p(exp(-fabs(x)));
    case MC_UNARY_GELU: return x * (erfc(-x * (elem)0.70710678118654752440) / 2);
    case MC_UNARY_GELU_TANH:
        /* sqrt(2/pi) and the cubic term of Hendrycks & Gimpel, Gaussian Error Linear Units, 2016. */
        a = (elem)0.79788456080286535588 * (x + (elem)0.044715 * x * x * x);
        return x / 2 * (1 + tanh(a));
    case MC_UNARY_SIN: return sin(x);
    case MC_UNARY_COS: return cos(x);
    case MC_UNARY_TAN: return tan(x);
    case MC_UNARY_ASIN: return asin(x);
    case MC_UNARY_ACOS: return acos(x);
    case MC_UNARY_ATAN: return atan(x);
    case MC_UNARY_SINH: return sinh(x);
    case MC_UNARY_COSH: return cosh(x);
    case MC_UNARY_ASINH: return asinh(x);
    case MC_UNARY_ACOSH: return acosh(x);
    case MC_UNARY_ATANH: return atanh(x);
    case MC_UNARY_SELU: return b * (x < 0 ? a * expm1(x) : x);
    case MC_UNARY_CELU: return x < 0 ? a * expm1(x / a) : x;
    case MC_UNARY_MISH: return x * tanh((x > 0 ? x : 0) + log1p(exp(-fabs(x))));
    case MC_UNARY_SOFTSIGN: return x / (1 + fabs(x));
    case MC_UNARY_THRESHOLDED: return x <= a ? 0 : x;
    case MC_UNARY_SHRINK: return x < -a ? x + b : x > a ? x - b : isnan(x) ? x : 0;
    case MC_UNARY_COUNT: break;
    }
    return x;
}

/* fmod keeps the sign of x and an exact remainder; only that sign may have to move. */
MC_HD elem floor_mod(elem x, elem y)
{
    elem r = fmod(x, y);
    return r != 0 && (r < 0) != (y < 0) ? r + y : r;
}

MC_HD elem mc_binary_of(enum mc_binary_fn fn, elem x, elem y)
{
    switch (fn) {
    case MC_BINARY_ADD: return x + y;
    case MC_BINARY_SUB: return x - y;
    case MC_BINARY_MUL: return x * y;
    case MC_BINARY_DIV: return x / y;
    case MC_BINARY_POW: return pow(x, y);
    case MC_BINARY_MIN: return isnan(x) || x < y ? x : y;
    case MC_BINARY_MAX: return isnan(x) || x > y ? x : y;
    case MC_BINARY_PRELU: return x < 0 ? x * y : x;
    case MC_BINARY_MOD: return floor_mod(x, y);
    case MC_BINARY_FMOD: return fmod(x, y);
    default: break;
    }
    return x;
}

/* Beyond, exp(-x²/2) is 0 in double, and x times it must not be infinity times 0. */
MC_HD elem within_40(elem x)
{
    return x < -40 ? -40 : x > 40 ? 40 : x;
}

MC_HD elem gelu_slope(elem x)
{
    const elem density = (elem)0.39894228040143267794; /* 1/sqrt(2 pi) */
    elem near = within_40(x);
    return erfc(-x * (elem)0.70710678118654752440) / 2 + near * density * exp(-near * near / 2);
}

MC_HD elem gelu_tanh_slope(elem x)
{
    const elem scale = (elem)0.79788456080286535588, cubic = (elem)0.044715;
    elem z = within_40(x), t = tanh(scale * (z + cubic * z * z * z));
    return (1 + t) / 2 + z / 2 * (1 - t * t) * scale * (1 + 3 * cubic * z * z);
}

MC_HD elem mish_slope(elem x)
{
    elem t = tanh((x > 0 ? x : 0) + log1p(exp(-fabs(x))));
    return t + x * mc_sigmoid_of(x) * (1 - t * t);
}

/* dx where the slope is a number that is not 0 or 1 alone. */
MC_HD elem slope_of(enum mc_unary_fn fn, elem a, elem b, elem v)
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
    case MC_UNARY_SILU: s = mc_sigmoid_of(a * v); return s * (1 + a * v * (1 - s));
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

MC_HD elem mc_unary_grad_of(enum mc_unary_fn fn, elem a, elem b, elem dy, elem v)
{
    switch (fn) {
    case MC_UNARY_CLAMP: return v <= a || v >= b ? 0 : dy;
    case MC_UNARY_THRESHOLDED: return v <= a ? 0 : dy;
    case MC_UNARY_SHRINK: return v >= -a && v <= a ? 0 : dy;
    default: return dy * slope_of(fn, a, b, v);
    }
}

#endif
