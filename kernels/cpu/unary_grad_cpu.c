/* Derivatives of elementwise functions: one loop per function, the function inlined, the tail under a mask. */
#include <math.h>

#include "kernels/cpu/elementwise_cpu.h"
#include "kernels/cpu/math_cpu.h"

/* Elements per chunk of work: 128 KiB of input. */
enum { CHUNK = 1 << 14 };

#define INLINE static inline __attribute__((always_inline))

INLINE vf by_lane(vf x, float (*fn)(float))
{
    for (int i = 0; i < LANES; i++)
        x[i] = fn(x[i]);
    return x;
}

INLINE vf within(vf x, float most)
{
    return vf_at_most(vf_at_least(x, vf_set1(-most)), vf_set1(most));
}

/* a where v <= at, else b; b for NaN. */
INLINE vf up_to(vf v, vf at, vf a, vf b)
{
    return vf_select(vf_lt(at, v) | vf_is_nan(v), b, a);
}

/* erfc(z) exp(z²) / t for t = 2 / (2 + z): by least squares in the largest norm over z in [0, 10.7], as a polynomial
 * in t; relative error 4.4e-8, in float 1.5e-7. */
INLINE vf scaled_erfc(vf t)
{
    vf p = vf_fma(t, vf_set1(-0.059230797f), vf_set1(0.28536585f));
    p = vf_fma(p, t, vf_set1(-0.488840222f));
    p = vf_fma(p, t, vf_set1(0.279946953f));
    p = vf_fma(p, t, vf_set1(-0.0279227942f));
    p = vf_fma(p, t, vf_set1(0.20323658f));
    p = vf_fma(p, t, vf_set1(0.242964625f));
    p = vf_fma(p, t, vf_set1(0.282394469f));
    return vf_fma(p, t, vf_set1(0.282085329f));
}

/* Phi(x) + x phi(x), both from one exp(-x²/2). Beyond 15 that is 0 in float, and x times it must not be infinity
 * times 0. */
INLINE vf gelu_slope(vf x)
{
    vf near = within(x, 15), e = vf_exp(-0.5f * near * near);
    vf t = 2 * vf_reciprocal(vf_fma(vf_abs(near), vf_set1(0.707106781f), vf_set1(2)));
    vf half_tail = 0.5f * t * scaled_erfc(t) * e;
    vf below = vf_select(vf_lt(x, vf_set1(0)), half_tail, 1 - half_tail);
    return vf_fma(near, 0.398942280f * e, below); /* 1/sqrt(2 pi) */
}

INLINE vf gelu_tanh_slope(vf x)
{
    vf z = within(x, 15), square = z * z;
    vf t = vf_tanh(0.797884561f * z * (1 + 0.044715f * square));
    vf inner = 0.797884561f * (1 + 3 * 0.044715f * square);
    return 0.5f * (1 + t) + 0.5f * z * ((1 - t) * (1 + t)) * inner;
}

INLINE vf mish_slope(vf x)
{
    vf t = vf_tanh(vf_softplus(x));
    return vf_fma(x * vf_sigmoid(x), (1 - t) * (1 + t), t);
}

/* a and b as in struct mc_unary; by_result where that differs. */
INLINE vf grad_of(enum mc_unary_fn fn, vf a, vf b, bool by_result, vf dy, vf v)
{
    vf zero = {0}, one = vf_set1(1), s;
    switch (fn) {
    case MC_UNARY_ABS:
        return dy * vf_select(vf_lt(zero, v), one, vf_select(vf_lt(v, zero), -one, v));
    case MC_UNARY_NEG: return -dy;
    case MC_UNARY_RECIPROCAL: return dy * (-v * v);
    case MC_UNARY_SQRT: return dy * (0.5f / v);
    case MC_UNARY_CLAMP: return up_to(v, a, zero, vf_select(vf_lt(v, b) | vf_is_nan(v), dy, zero));
    case MC_UNARY_LEAKY: return vf_select(vf_lt(zero, v), dy, dy * a);
    case MC_UNARY_HARDSIGMOID:
        return up_to(v, zero, zero, vf_select(vf_lt(v, one) | vf_is_nan(v), dy * a, zero));
    case MC_UNARY_HARDSWISH:
        s = vf_select(vf_lt(v, vf_set1(3)) | vf_is_nan(v), v / 3 + 0.5f, one);
        return dy * up_to(v, vf_set1(-3), zero, s);
    case MC_UNARY_EXP: return dy * v;
    case MC_UNARY_LOG: return dy * (1 / v);
    case MC_UNARY_ERF: return dy * (1.12837917f * vf_exp(-v * v));
    case MC_UNARY_SIGMOID: return dy * (v * (1 - v));
    case MC_UNARY_TANH: return dy * ((1 - v) * (1 + v));
    case MC_UNARY_SILU: s = vf_sigmoid(a * v); return dy * (s * (1 + a * v * (1 - s)));
    case MC_UNARY_ELU:
        return dy * vf_select(vf_lt(zero, v), one, by_result ? v + a : a * vf_exp(v));
    case MC_UNARY_SOFTPLUS: return dy * -vf_expm1_negative(-v);
    case MC_UNARY_GELU: return dy * gelu_slope(v);
    case MC_UNARY_GELU_TANH: return dy * gelu_tanh_slope(v);
    case MC_UNARY_SIN: return dy * vf_cos(v);
    case MC_UNARY_COS: return dy * -vf_sin(v);
    case MC_UNARY_TAN: return dy * (1 + v * v);
    case MC_UNARY_ASIN: return dy / vf_sqrt((1 - v) * (1 + v));
    case MC_UNARY_ACOS: return -dy / vf_sqrt((1 - v) * (1 + v));
    case MC_UNARY_ATAN: return dy / (1 + v * v);
    case MC_UNARY_SINH: return dy * by_lane(v, coshf);
    case MC_UNARY_COSH: return dy * by_lane(v, sinhf);
    case MC_UNARY_ASINH: return dy / vf_sqrt(v * v + 1);
    case MC_UNARY_ACOSH: return dy / vf_sqrt((v - 1) * (v + 1));
    case MC_UNARY_ATANH: return dy / ((1 - v) * (1 + v));
    case MC_UNARY_SELU:
        return dy * vf_select(vf_lt(zero, v), b, by_result ? v + a * b : a * b * vf_exp(v));
    case MC_UNARY_CELU: return dy * vf_select(vf_lt(zero, v), one, v / a + 1);
    case MC_UNARY_MISH: return dy * mish_slope(v);
    case MC_UNARY_SOFTSIGN: return dy * ((1 - vf_abs(v)) * (1 - vf_abs(v)));
    case MC_UNARY_THRESHOLDED: return up_to(v, a, zero, dy);
    case MC_UNARY_SHRINK: return up_to(vf_abs(v), a, zero, dy);
    default: return zero; /* steps */
    }
}

INLINE void loop(enum mc_unary_fn fn, const struct mc_unary_grad *u, bool by_result)
{
    const float *dy = u->dy, *v = u->v;
    float *dx = u->dx;
    vf a = vf_set1((float)u->a), b = vf_set1((float)u->b);
    int64_t i = 0;
    for (; i + LANES <= u->n; i += LANES)
        vf_store(dx + i, grad_of(fn, a, b, by_result, vf_load(dy + i), vf_load(v + i)));
    if (i < u->n) {
        vm m = vm_first(u->n - i);
        vf_store_mask(dx + i,
                      grad_of(fn, a, b, by_result, vf_load_mask(dy + i, m), vf_load_mask(v + i, m)),
                      m);
    }
}

static void span(const struct mc_unary_grad *u)
{
    bool by_result = mc_unary_by_result(u->fn, u->a, u->b);
#define CASE(name)                                                                                 \
    case MC_UNARY_##name: loop(MC_UNARY_##name, u, by_result); break
    switch (u->fn) {
        CASE(ABS);
        CASE(NEG);
        CASE(RECIPROCAL);
        CASE(SQRT);
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
    default: loop(MC_UNARY_SIGN, u, by_result); break;
    }
#undef CASE
}

static void chunk(void *ctx, int64_t i, int worker)
{
    (void)worker;
    struct mc_unary_grad u = *(const struct mc_unary_grad *)ctx;
    int64_t from = i * CHUNK;
    u.n = u.n - from < CHUNK ? u.n - from : CHUNK;
    u.dy = (const float *)u.dy + from;
    u.v = (const float *)u.v + from;
    u.dx = (float *)u.dx + from;
    span(&u);
}

void MC_CPU(mc_unary_grad)(const struct mc_unary_grad *u, struct mc_pool *pool)
{
    struct mc_unary_grad job = *u;
    mc_pool_run(pool, (u->n + CHUNK - 1) / CHUNK, chunk, &job);
}
