/* Elementwise kernels: one loop per function, the function inlined, the tail under a mask. */
#include <math.h>
#include <string.h>

#include "kernels/cpu/elementwise_cpu.h"
#include "kernels/cpu/math_cpu.h"
#include "kernels/fill.h"

/* Elements per chunk of work: 64 KiB of input, some microseconds even for the cheapest function. */
enum { CHUNK = 1 << 14 };

#define INLINE static inline __attribute__((always_inline))

/* floor, ceil, rint become one instruction each; what is rare goes to libm lane by lane. */
INLINE vf by_lane(vf x, float (*fn)(float))
{
    for (int i = 0; i < LANES; i++)
        x[i] = fn(x[i]);
    return x;
}

INLINE vf clamp(vf x, vf lo, vf hi)
{
    return vf_at_most(vf_at_least(x, lo), hi);
}

INLINE vf unary_of(enum mc_unary_fn fn, vf a, vf b, vf x)
{
    vf zero = {0}, one = vf_set1(1);
    switch (fn) {
    case MC_UNARY_ABS: return vf_abs(x);
    case MC_UNARY_NEG: return -x;
    case MC_UNARY_RECIPROCAL: return 1 / x;
    case MC_UNARY_SQRT: return vf_sqrt(x);
    case MC_UNARY_FLOOR: return by_lane(x, floorf);
    case MC_UNARY_CEIL: return by_lane(x, ceilf);
    case MC_UNARY_ROUND: return by_lane(x, rintf);
    case MC_UNARY_SIGN: return vf_select(vf_lt(zero, x), one, vf_select(vf_lt(x, zero), -one, x));
    case MC_UNARY_CLAMP: return clamp(x, a, b);
    case MC_UNARY_LEAKY: return vf_select(vf_lt(x, zero), a * x, x);
    case MC_UNARY_HARDSIGMOID: return clamp(a * x + b, zero, one);
    case MC_UNARY_HARDSWISH: return x * clamp(x / 6 + 0.5f, zero, one);
    case MC_UNARY_EXP: return vf_exp(x);
    case MC_UNARY_LOG: return vf_log(x);
    case MC_UNARY_ERF: return vf_erf(x);
    case MC_UNARY_SIGMOID: return vf_sigmoid(x);
    case MC_UNARY_TANH: return vf_tanh(x);
    case MC_UNARY_SILU: return x * vf_sigmoid(a * x);
    case MC_UNARY_ELU: return vf_select(vf_lt(x, zero), a * vf_expm1_negative(x), x);
    case MC_UNARY_SOFTPLUS: return vf_softplus(x);
    case MC_UNARY_GELU: return vf_gelu(x);
    case MC_UNARY_GELU_TANH: {
        vf inner = 0.797884561f * (x + 0.044715f * x * x * x);
        return 0.5f * x * (1 + vf_tanh(inner));
    }
    case MC_UNARY_SIN: return vf_sin(x);
    case MC_UNARY_COS: return vf_cos(x);
    case MC_UNARY_TAN: return by_lane(x, tanf);
    case MC_UNARY_ASIN: return by_lane(x, asinf);
    case MC_UNARY_ACOS: return by_lane(x, acosf);
    case MC_UNARY_ATAN: return by_lane(x, atanf);
    case MC_UNARY_SINH: return by_lane(x, sinhf);
    case MC_UNARY_COSH: return by_lane(x, coshf);
    case MC_UNARY_ASINH: return by_lane(x, asinhf);
    case MC_UNARY_ACOSH: return by_lane(x, acoshf);
    case MC_UNARY_ATANH: return by_lane(x, atanhf);
    case MC_UNARY_SELU: return b * vf_select(vf_lt(x, zero), a * vf_expm1_negative(x), x);
    case MC_UNARY_CELU: return vf_select(vf_lt(x, zero), a * vf_expm1_negative(x / a), x);
    case MC_UNARY_MISH: return x * vf_tanh(vf_softplus(x));
    case MC_UNARY_SOFTSIGN: return x / (1 + vf_abs(x));
    case MC_UNARY_THRESHOLDED: return vf_select(vf_lt(a, x) | vf_is_nan(x), x, zero);
    case MC_UNARY_SHRINK: {
        vf inside = vf_select(vf_is_nan(x), x, zero);
        return vf_select(vf_lt(x, -a), x + b, vf_select(vf_lt(a, x), x - b, inside));
    }
    case MC_UNARY_COUNT: break;
    }
    return x;
}

INLINE void unary_loop(enum mc_unary_fn fn, float a_, float b_, int64_t n, const float *x, float *y)
{
    vf a = vf_set1(a_), b = vf_set1(b_);
    int64_t i = 0;
    for (; i + LANES <= n; i += LANES)
        vf_store(y + i, unary_of(fn, a, b, vf_load(x + i)));
    if (i < n) {
        vm m = vm_first(n - i);
        vf_store_mask(y + i, unary_of(fn, a, b, vf_load_mask(x + i, m)), m);
    }
}

void MC_CPU(mc_unary_span)(enum mc_unary_fn fn, float a, float b, int64_t n, const float *x,
                           float *y)
{
#define CASE(fn)                                                                                   \
    case MC_UNARY_##fn: unary_loop(MC_UNARY_##fn, a, b, n, x, y); break
    switch (fn) {
        CASE(ABS);
        CASE(NEG);
        CASE(RECIPROCAL);
        CASE(SQRT);
        CASE(FLOOR);
        CASE(CEIL);
        CASE(ROUND);
        CASE(SIGN);
        CASE(CLAMP);
        CASE(LEAKY);
        CASE(HARDSIGMOID);
        CASE(HARDSWISH);
        CASE(EXP);
        CASE(LOG);
        CASE(ERF);
        CASE(SIGMOID);
        CASE(TANH);
        CASE(SILU);
        CASE(ELU);
        CASE(SOFTPLUS);
        CASE(GELU);
        CASE(GELU_TANH);
        CASE(SIN);
        CASE(COS);
        CASE(TAN);
        CASE(ASIN);
        CASE(ACOS);
        CASE(ATAN);
        CASE(SINH);
        CASE(COSH);
        CASE(ASINH);
        CASE(ACOSH);
        CASE(ATANH);
        CASE(SELU);
        CASE(CELU);
        CASE(MISH);
        CASE(SOFTSIGN);
        CASE(THRESHOLDED);
        CASE(SHRINK);
    case MC_UNARY_COUNT: break;
    }
#undef CASE
}

static void unary_chunk(void *ctx, int64_t chunk, int worker)
{
    (void)worker;
    const struct mc_unary *u = ctx;
    int64_t from = chunk * CHUNK, n = u->n - from < CHUNK ? u->n - from : CHUNK;
    MC_CPU(mc_unary_span)
    (u->fn, (float)u->a, (float)u->b, n, (const float *)u->x + from, (float *)u->y + from);
}

static void unary(const struct mc_unary *u, struct mc_pool *pool)
{
    struct mc_unary job = *u;
    mc_pool_run(pool, (u->n + CHUNK - 1) / CHUNK, unary_chunk, &job);
}

/* ---- two inputs ---- */

INLINE vf power(vf x, vf y)
{
    for (int i = 0; i < LANES; i++)
        x[i] = powf(x[i], y[i]);
    return x;
}

INLINE vf remainder_of(vf x, vf y, bool floored)
{
    for (int i = 0; i < LANES; i++) {
        float r = fmodf(x[i], y[i]);
        x[i] = floored && r != 0 && (r < 0) != (y[i] < 0) ? r + y[i] : r;
    }
    return x;
}

enum { SQUARE = MC_SPAN_SQUARE, CUBE = MC_SPAN_CUBE };

INLINE vf binary_of(int fn, vf x, vf y)
{
    switch (fn) {
    case MC_BINARY_ADD: return x + y;
    case MC_BINARY_SUB: return x - y;
    case MC_BINARY_MUL: return x * y;
    case MC_BINARY_DIV: return x / y;
    case MC_BINARY_POW: return power(x, y);
    case MC_BINARY_MIN: return vf_select(vf_lt(x, y) | vf_is_nan(x), x, y);
    case MC_BINARY_MAX: return vf_select(vf_lt(y, x) | vf_is_nan(x), x, y);
    case MC_BINARY_PRELU: return vf_select(vf_lt(x, (vf){0}), x * y, x);
    case MC_BINARY_MOD: return remainder_of(x, y, true);
    case MC_BINARY_FMOD: return remainder_of(x, y, false);
    case SQUARE: return x * x;
    case CUBE: return x * x * x;
    default: return x;
    }
}

INLINE vf load_step(const float *p, int64_t step, int64_t n)
{
    vf v = {0};
    if (step == 0)
        return vf_set1(*p);
    if (step == 1)
        return n >= LANES ? vf_load(p) : vf_load_mask(p, vm_first(n));
    for (int i = 0; i < LANES && i < n; i++)
        v[i] = p[i * step];
    return v;
}

INLINE void binary_loop(int fn, int64_t n, const float *x, int64_t xs, const float *y, int64_t ys,
                        float *z)
{
    int64_t i = 0;
    for (; i + LANES <= n; i += LANES)
        vf_store(z + i,
                 binary_of(fn, load_step(x + i * xs, xs, LANES), load_step(y + i * ys, ys, LANES)));
    if (i < n)
        vf_store_mask(
            z + i,
            binary_of(fn, load_step(x + i * xs, xs, n - i), load_step(y + i * ys, ys, n - i)),
            vm_first(n - i));
}

INLINE void binary_row(int fn, int64_t n, const float *x, int64_t xs, const float *y, int64_t ys,
                       float *z)
{
    if (xs == 1 && ys == 1)
        binary_loop(fn, n, x, 1, y, 1, z);
    else if (xs == 1 && ys == 0)
        binary_loop(fn, n, x, 1, y, 0, z);
    else if (xs == 0 && ys == 1)
        binary_loop(fn, n, x, 0, y, 1, z);
    else
        binary_loop(fn, n, x, xs, y, ys, z);
}

void MC_CPU(mc_binary_span)(int fn, int64_t n, const float *x, int64_t xs, const float *y,
                            int64_t ys, float *z)
{
#define CASE(name)                                                                                 \
    case name: binary_row(name, n, x, xs, y, ys, z); break
    switch (fn) {
        CASE(MC_BINARY_ADD);
        CASE(MC_BINARY_SUB);
        CASE(MC_BINARY_MUL);
        CASE(MC_BINARY_DIV);
        CASE(MC_BINARY_POW);
        CASE(MC_BINARY_MIN);
        CASE(MC_BINARY_MAX);
        CASE(MC_BINARY_PRELU);
        CASE(MC_BINARY_MOD);
        CASE(MC_BINARY_FMOD);
        CASE(SQUARE);
        CASE(CUBE);
    }
#undef CASE
}

int MC_CPU(mc_binary_by_scalar)(int fn, float y)
{
    return fn != MC_BINARY_POW ? fn : y == 2 ? SQUARE : y == 3 ? CUBE : fn;
}

struct binary_job {
    const struct mc_binary *b;
    int fn;
    int64_t rows, cols;      /* of z as a matrix of rows of the last dimension */
    int64_t width, per_row;  /* elements in a piece of a row, pieces in a row */
    int64_t pieces_in_chunk; /* a chunk is this many pieces */
};

static void binary_piece(const struct binary_job *j, int64_t piece)
{
    const struct mc_binary *b = j->b;
    int last = b->rank - 1;
    int64_t row = piece / j->per_row, col = piece % j->per_row * j->width, rest = row;
    int64_t n = j->cols - col < j->width ? j->cols - col : j->width;
    int64_t xs = b->stride[0][last], ys = b->stride[1][last];
    const float *x = (const float *)b->x + col * xs, *y = (const float *)b->y + col * ys;
    for (int d = last - 1; d >= 0; d--) {
        int64_t at = rest % b->dim[d];
        rest /= b->dim[d];
        x += at * b->stride[0][d];
        y += at * b->stride[1][d];
    }
    float *z = (float *)b->z + row * j->cols + col;
    MC_CPU(mc_binary_span)(j->fn, n, x, xs, y, ys, z);
}

static void binary_chunk(void *ctx, int64_t chunk, int worker)
{
    (void)worker;
    const struct binary_job *j = ctx;
    int64_t first = chunk * j->pieces_in_chunk, last = first + j->pieces_in_chunk;
    for (int64_t i = first; i < last && i < j->rows * j->per_row; i++)
        binary_piece(j, i);
}

static bool is_scalar(const struct mc_binary *b, int operand)
{
    for (int d = 0; d < b->rank; d++)
        if (b->stride[operand][d] != 0 && b->dim[d] != 1)
            return false;
    return true;
}

static void binary(const struct mc_binary *b, struct mc_pool *pool)
{
    struct binary_job j = {.b = b, .fn = (int)b->fn, .rows = 1, .cols = b->dim[b->rank - 1]};
    for (int d = 0; d < b->rank - 1; d++)
        j.rows *= b->dim[d];
    if (j.rows == 0 || j.cols == 0)
        return;
    if (is_scalar(b, 1))
        j.fn = MC_CPU(mc_binary_by_scalar)(j.fn, *(const float *)b->y);
    j.width = j.cols < CHUNK ? j.cols : CHUNK;
    j.per_row = (j.cols + j.width - 1) / j.width;
    j.pieces_in_chunk = CHUNK / j.width;
    mc_pool_run(pool, (j.rows * j.per_row + j.pieces_in_chunk - 1) / j.pieces_in_chunk,
                binary_chunk, &j);
}

void MC_CPU(mc_elementwise_fill)(struct mc_elementwise_kernels *k)
{
    *k = (struct mc_elementwise_kernels){unary, MC_CPU(mc_unary_grad), binary, MC_CPU(mc_chain)};
}
