/* Arithmetic of one element of every type, as the CPU and the device compute it: macros over the rows of INTEGERS,
 * or of all types, that define functions of each. In C their names end in the type's, in C++ they are overloaded. */
#ifndef MC_KERNELS_BODY_TYPED_H
#define MC_KERNELS_BODY_TYPED_H

#include "kernels/body.h"
#include "kernels/typed.h"
#include "kernels/typed_list.h"

#ifdef __cplusplus
#define MC_TYPED(function, name) function
#else
#define MC_TYPED(function, name) function##_##name
#endif

/* ---- integer arithmetic, in 64 bits without sign so that overflow wraps ---- */

MC_HD uint64_t mc_typed_power(uint64_t x, int64_t y, bool is_signed)
{
    if (y < 0 && is_signed)
        return x == 1 ? 1 : x == UINT64_MAX ? (y % 2 ? x : 1) : 0;
    uint64_t r = 1;
    for (uint64_t e = (uint64_t)y; e; e >>= 1, x *= x)
        if (e & 1)
            r *= x;
    return r;
}

/* x shifted by y of `bits` bits; x is sign-extended. */
MC_HD uint64_t mc_typed_shift(bool left, uint64_t x, uint64_t y, unsigned bits, bool is_signed)
{
    bool negative = is_signed && x >> 63;
    if (y >= bits)
        return negative && !left ? UINT64_MAX : 0;
    if (left)
        return x << y;
    return negative ? ~(~x >> y) : x >> y;
}

#define MC_TYPED_BINARY(type, name, least, most)                                                   \
    MC_HD type MC_TYPED(mc_typed_binary_of, name)(int fn, type x, type y)                          \
    {                                                                                              \
        uint64_t a = (uint64_t)x, b = (uint64_t)y;                                                 \
        switch (fn) {                                                                              \
        case MC_BINARY_ADD: return (type)(a + b);                                                  \
        case MC_BINARY_SUB: return (type)(a - b);                                                  \
        case MC_BINARY_MUL: return (type)(a * b);                                                  \
        case MC_BINARY_DIV: return least < 0 && y == (type)-1 ? (type)(0 - a) : (type)(x / y);     \
        case MC_BINARY_POW: return (type)mc_typed_power(a, (int64_t)y, least < 0);                 \
        case MC_BINARY_MIN: return x < y ? x : y;                                                  \
        case MC_BINARY_MAX: return x > y ? x : y;                                                  \
        case MC_BINARY_PRELU: return least < 0 && x < (type)1 ? (type)(a * b) : x;                 \
        case MC_BINARY_MOD:                                                                        \
        case MC_BINARY_FMOD: {                                                                     \
            type r = least < 0 && y == (type)-1 ? 0 : (type)(x % y);                               \
            bool other = least < 0 && r != 0 && (r < (type)1) != (y < (type)1);                    \
            return fn == MC_BINARY_MOD && other ? (type)(r + y) : r;                               \
        }                                                                                          \
        case MC_BINARY_BITAND: return (type)(a & b);                                               \
        case MC_BINARY_BITOR: return (type)(a | b);                                                \
        case MC_BINARY_BITXOR: return (type)(a ^ b);                                               \
        case MC_BINARY_SHIFT_LEFT:                                                                 \
        case MC_BINARY_SHIFT_RIGHT:                                                                \
            return (type)mc_typed_shift(fn == MC_BINARY_SHIFT_LEFT, a, b, 8 * sizeof(type),        \
                                        least < 0);                                                \
        default: return x;                                                                         \
        }                                                                                          \
    }
INTEGERS(MC_TYPED_BINARY)

#define MC_TYPED_UNARY(type, name, least, most)                                                    \
    /* v, cut to what the type holds; `as` tells the type. */                                      \
    MC_HD type MC_TYPED(mc_typed_bound_of, name)(int64_t v, type as)                               \
    {                                                                                              \
        (void)as;                                                                                  \
        if (least == 0)                                                                            \
            return v < 0 ? 0 : (uint64_t)v > (uint64_t)most ? (type)most : (type)v;                \
        return v < (int64_t)least ? (type)least : v > (int64_t)most ? (type)most : (type)v;        \
    }                                                                                              \
    MC_HD type MC_TYPED(mc_typed_unary_of, name)(int fn, type low, type high, type v)              \
    {                                                                                              \
        bool negative = least < 0 && v < (type)1 && v != 0;                                        \
        if (fn == MC_UNARY_CLAMP) {                                                                \
            v = v < low ? low : v;                                                                 \
            v = v > high ? high : v;                                                               \
        } else if (fn == MC_UNARY_SIGN) {                                                          \
            v = (type)(negative ? -1 : v != 0);                                                    \
        } else if (fn == MC_UNARY_NEG || negative) {                                               \
            v = (type)(0 - (uint64_t)v);                                                           \
        }                                                                                          \
        return v;                                                                                  \
    }
INTEGERS(MC_TYPED_UNARY)

#define MC_TYPED_COMPARE(type, name, least, most)                                                  \
    MC_HD uint8_t MC_TYPED(mc_typed_compare_of, name)(int fn, type x, type y)                      \
    {                                                                                              \
        switch (fn) {                                                                              \
        case MC_COMPARE_EQUAL: return x == y;                                                      \
        case MC_COMPARE_LESS: return x < y;                                                        \
        case MC_COMPARE_LESS_EQUAL: return x <= y;                                                 \
        case MC_COMPARE_AND: return x && y;                                                        \
        case MC_COMPARE_OR: return x || y;                                                         \
        default: return !x != !y; /* XOR */                                                        \
        }                                                                                          \
    }
INTEGERS(MC_TYPED_COMPARE)
MC_TYPED_COMPARE(float, F32, 0, 0)
MC_TYPED_COMPARE(double, F64, 0, 0)

MC_HD bool mc_typed_is_real(enum mc_reduce_fn fn)
{
    return fn == MC_REDUCE_L2 || fn == MC_REDUCE_LOG_SUM || fn == MC_REDUCE_LOG_SUM_EXP;
}

/* Sums of these in float64, the result cut to a whole number that the type holds. */
MC_HD double mc_typed_real_step(enum mc_reduce_fn fn, double sum, double x)
{
    return sum + (fn == MC_REDUCE_L2 ? x * x : fn == MC_REDUCE_LOG_SUM ? x : exp(x));
}

MC_HD double mc_typed_real_end(enum mc_reduce_fn fn, double sum, double least, double most)
{
    double v = fn == MC_REDUCE_L2 ? sqrt(sum) : log(sum);
    return isnan(v) ? 0 : v < least ? least : v > most ? most : v;
}

#define MC_TYPED_STEP(type, name, least, most)                                                     \
    MC_HD type MC_TYPED(mc_typed_step_of, name)(enum mc_reduce_fn fn, type sum, type x)            \
    {                                                                                              \
        uint64_t a = (uint64_t)sum, b = (uint64_t)x;                                               \
        switch (fn) {                                                                              \
        case MC_REDUCE_MAX: return sum > x ? sum : x;                                              \
        case MC_REDUCE_MIN: return sum < x ? sum : x;                                              \
        case MC_REDUCE_PROD: return (type)(a * b);                                                 \
        case MC_REDUCE_SUM_SQUARE: return (type)(a + b * b);                                       \
        case MC_REDUCE_L1: return (type)(a + (x < (type)1 ? 0 - b : b));                           \
        default: return (type)(a + b);                                                             \
        }                                                                                          \
    }
INTEGERS(MC_TYPED_STEP)

#endif
