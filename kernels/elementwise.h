/* Elementwise functions of one and of two floating-point arrays, and chains of them.
 *
 * The reference calls libm; the fast versions use polynomials whose largest error is stated beside each
 * (kernels/cpu) and checked against libm in double. NaN goes in and NaN comes out, everywhere. */
#ifndef MC_KERNELS_ELEMENTWISE_H
#define MC_KERNELS_ELEMENTWISE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/threads.h"
#include "kernels/move.h"

enum mc_unary_fn {
    MC_UNARY_ABS,
    MC_UNARY_NEG,
    MC_UNARY_RECIPROCAL,
    MC_UNARY_SQRT,
    MC_UNARY_FLOOR,
    MC_UNARY_CEIL,
    MC_UNARY_ROUND, /* half to even */
    MC_UNARY_SIGN,
    MC_UNARY_CLAMP,       /* min(max(x, a), b): where a > b, b; Relu is (0, +inf) */
    MC_UNARY_LEAKY,       /* x < 0 ? a x : x */
    MC_UNARY_HARDSIGMOID, /* max(0, min(1, a x + b)) */
    MC_UNARY_HARDSWISH,   /* x max(0, min(1, x/6 + 1/2)) */
    MC_UNARY_EXP,
    MC_UNARY_LOG,
    MC_UNARY_ERF,
    MC_UNARY_SIGMOID,
    MC_UNARY_TANH,
    MC_UNARY_SILU,      /* x sigmoid(a x) */
    MC_UNARY_ELU,       /* x < 0 ? a (exp(x) - 1) : x */
    MC_UNARY_SOFTPLUS,  /* log(1 + exp(x)) */
    MC_UNARY_GELU,      /* x Phi(x), by erf */
    MC_UNARY_GELU_TANH, /* x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x³))) */
    MC_UNARY_SIN,
    MC_UNARY_COS,
    MC_UNARY_TAN,
    MC_UNARY_ASIN,
    MC_UNARY_ACOS,
    MC_UNARY_ATAN,
    MC_UNARY_SINH,
    MC_UNARY_COSH,
    MC_UNARY_ASINH,
    MC_UNARY_ACOSH,
    MC_UNARY_ATANH,
    MC_UNARY_SELU,        /* x < 0 ? b a (exp(x) - 1) : b x */
    MC_UNARY_CELU,        /* x < 0 ? a (exp(x / a) - 1) : x */
    MC_UNARY_MISH,        /* x tanh(log(1 + exp(x))) */
    MC_UNARY_SOFTSIGN,    /* x / (1 + |x|) */
    MC_UNARY_THRESHOLDED, /* x > a ? x : 0 */
    MC_UNARY_SHRINK,      /* x < -a ? x + b : x > a ? x - b : 0 */
    MC_UNARY_COUNT
};

struct mc_unary { /* y = fn(x) */
    enum mc_unary_fn fn;
    double a, b;
    int64_t n;
    const void *x;
    void *y; /* may be x */
};

/* dx = dy fn'(x), from v, which is y = fn(x) where mc_unary_by_result says so, else x. A kink has the slope of one
 * of its sides: 0 at the ends of a clamp, and at 0 a of LEAKY, as in PyTorch. */
struct mc_unary_grad {
    enum mc_unary_fn fn;
    double a, b;
    int64_t n;
    const void *dy, *v;
    void *dx; /* may be dy or v */
};

/* Whether the derivative follows from the result: then the argument need not be kept. */
bool mc_unary_by_result(enum mc_unary_fn fn, double a, double b);

enum mc_binary_fn {
    MC_BINARY_ADD,
    MC_BINARY_SUB,
    MC_BINARY_MUL,
    MC_BINARY_DIV,
    MC_BINARY_POW,
    MC_BINARY_MIN, /* NaN if either is NaN */
    MC_BINARY_MAX,
    MC_BINARY_PRELU, /* x < 0 ? x y : x */
    MC_BINARY_MOD,   /* x - floor(x / y) y: the sign of y */
    MC_BINARY_FMOD,  /* x - trunc(x / y) y: the sign of x */
    MC_BINARY_COUNT,
    /* Of whole numbers alone (kernels/typed.h). A shift by less than 0 or by all bits leaves nothing: 0, or -1
     * for a negative number shifted right. */
    MC_BINARY_BITAND = MC_BINARY_COUNT,
    MC_BINARY_BITOR,
    MC_BINARY_BITXOR,
    MC_BINARY_SHIFT_LEFT,
    MC_BINARY_SHIFT_RIGHT,
};

struct mc_binary { /* z = fn(x, y), broadcast */
    enum mc_binary_fn fn;
    int rank;                        /* at least 1; merge what can be merged: mc_move_merge */
    int64_t dim[MC_MOVE_RANK];       /* of z, which is dense */
    int64_t stride[2][MC_MOVE_RANK]; /* of x and y in elements; 0 repeats */
    const void *x, *y;
    void *z; /* may be x or y, where that one has no stride of 0 */
};

enum { MC_CHAIN_INPUTS = 8, MC_CHAIN_OPS = 12 };

struct
    mc_chain_op { /* a function of operands: input i, or, from MC_CHAIN_INPUTS on, the result of an earlier op */
    bool binary;
    int fn; /* enum mc_binary_fn or enum mc_unary_fn */
    double a, b;
    int x, y; /* y: of a binary function */
};

struct mc_chain { /* z = the last op's result; every input and z are read or written once */
    int rank;     /* at least 1; merge what can be merged */
    int64_t dim[MC_MOVE_RANK];                     /* of z, which is dense */
    int n_in, n_ops;                               /* at least 1 each */
    int64_t stride[MC_CHAIN_INPUTS][MC_MOVE_RANK]; /* in elements; 0 repeats; the last is 0 or 1 */
    const void *in[MC_CHAIN_INPUTS];
    struct mc_chain_op
        op[MC_CHAIN_OPS]; /* x of a unary op is an input of the shape of z, or a result */
    void *z;              /* may be an input that has no stride of 0 */
};

struct mc_elementwise_kernels {
    void (*unary)(const struct mc_unary *u, struct mc_pool *pool);
    void (*unary_grad)(const struct mc_unary_grad *u, struct mc_pool *pool);
    void (*binary)(const struct mc_binary *b, struct mc_pool *pool);
    void (*chain)(const struct mc_chain *c, struct mc_pool *pool);
};

#endif
