#include "kernels/fill.h"
#include "kernels/ref/elem.h"
#include "kernels/ref/unary_grad_ref.h"

static elem unary_of(enum mc_unary_fn fn, elem a, elem b, elem x)
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
    case MC_UNARY_SIGMOID: return sigmoid_ref(x);
    case MC_UNARY_TANH: return tanh(x);
    case MC_UNARY_SILU: return x * sigmoid_ref(a * x);
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

static void unary(const struct mc_unary *u, struct mc_pool *pool)
{
    (void)pool;
    const elem *x = u->x;
    elem *y = u->y, a = (elem)u->a, b = (elem)u->b;
    for (int64_t i = 0; i < u->n; i++)
        y[i] = unary_of(u->fn, a, b, x[i]);
}

/* fmod keeps the sign of x and an exact remainder; only that sign may have to move. */
static elem floor_mod(elem x, elem y)
{
    elem r = fmod(x, y);
    return r != 0 && (r < 0) != (y < 0) ? r + y : r;
}

static elem binary_of(enum mc_binary_fn fn, elem x, elem y)
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

static void binary(const struct mc_binary *b, struct mc_pool *pool)
{
    (void)pool;
    int64_t index[MC_MOVE_RANK] = {0}, n = 1;
    for (int d = 0; d < b->rank; d++)
        n *= b->dim[d];
    elem *z = b->z;
    for (int64_t i = 0; i < n; i++) {
        int64_t at[2] = {0, 0};
        for (int d = 0; d < b->rank; d++) {
            at[0] += index[d] * b->stride[0][d];
            at[1] += index[d] * b->stride[1][d];
        }
        z[i] = binary_of(b->fn, ((const elem *)b->x)[at[0]], ((const elem *)b->y)[at[1]]);
        for (int d = b->rank - 1; d >= 0 && ++index[d] == b->dim[d]; d--)
            index[d] = 0;
    }
}

static elem chain_of(const struct mc_chain *c, const int64_t *index)
{
    elem v[MC_CHAIN_INPUTS + MC_CHAIN_OPS];
    for (int i = 0; i < c->n_in; i++) {
        int64_t at = 0;
        for (int d = 0; d < c->rank; d++)
            at += index[d] * c->stride[i][d];
        v[i] = ((const elem *)c->in[i])[at];
    }
    for (int i = 0; i < c->n_ops; i++) {
        const struct mc_chain_op *op = &c->op[i];
        v[MC_CHAIN_INPUTS + i] =
            op->binary ? binary_of((enum mc_binary_fn)op->fn, v[op->x], v[op->y])
                       : unary_of((enum mc_unary_fn)op->fn, (elem)op->a, (elem)op->b, v[op->x]);
    }
    return v[MC_CHAIN_INPUTS + c->n_ops - 1];
}

static void chain(const struct mc_chain *c, struct mc_pool *pool)
{
    (void)pool;
    int64_t index[MC_MOVE_RANK] = {0}, n = 1;
    for (int d = 0; d < c->rank; d++)
        n *= c->dim[d];
    elem *z = c->z;
    for (int64_t i = 0; i < n; i++) {
        z[i] = chain_of(c, index);
        for (int d = c->rank - 1; d >= 0 && ++index[d] == c->dim[d]; d--)
            index[d] = 0;
    }
}

void MC_REF(mc_elementwise_fill)(struct mc_elementwise_kernels *k)
{
    *k = (struct mc_elementwise_kernels){unary, MC_REF(mc_unary_grad), binary, chain};
}
