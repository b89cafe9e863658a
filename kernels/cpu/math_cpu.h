/* Elementary functions on vectors of float. NaN in gives NaN out; infinities and denormals are right.
 *
 * Largest errors in units in the last place, against libm in double over every 257th float: exp 1.0, log 0.9,
 * tanh 1.3, sigmoid 2.8, erf 2.5, softplus 2.5, with FMA and without; gelu 2^-23 of max(1, |y|).
 * tests/kernels/check_elementwise.c holds them to it. */
#ifndef MC_KERNELS_CPU_MATH_CPU_H
#define MC_KERNELS_CPU_MATH_CPU_H

#include <math.h>

#include "kernels/cpu/vec.h"

static inline vm vf_is_nan(vf x)
{
#if MC_LEVEL == 5
    return _mm512_cmp_ps_mask((__m512)x, (__m512)x, _CMP_UNORD_Q);
#else
    return x != x;
#endif
}

static inline vf vf_abs(vf x)
{
    return (vf)((vi)x & 0x7fffffff);
}

static inline vf vf_sqrt(vf x)
{
#if MC_LEVEL == 5
    return (vf)_mm512_sqrt_ps((__m512)x);
#elif MC_LEVEL == 2
    return (vf)_mm256_sqrt_ps((__m256)x);
#else
    for (int i = 0; i < LANES; i++)
        x[i] = sqrtf(x[i]);
    return x;
#endif
}

/* |x| with the sign of s. */
static inline vf vf_sign_of(vf x, vf s)
{
    return (vf)(((vi)x & 0x7fffffff) | ((vi)s & INT32_MIN));
}

/* Nearest whole number, half to even, of |x| < 2^22: adding 1.5 * 2^23 leaves no room for a fraction. */
static inline vf vf_round_small(vf x)
{
    return (x + 0x1.8p23f) - 0x1.8p23f;
}

/* 2^n for whole n in [-126, 127], given as float. */
static inline vf vf_exp2_whole(vf n)
{
    return (vf)(((vi)(n + (0x1.8p23f + 127))) << 23);
}

/* x = n log 2 + r with |r| <= log(2)/2, for |x| < 128; log 2 in two parts of which the first has 15 bits,
 * so that n times it is exact. */
static inline vf vf_reduce_exp(vf x, vf *ret_n)
{
    *ret_n = vf_round_small(x * 1.44269504f);
    vf r = vf_fma(*ret_n, vf_set1(-0x1.62e4p-1f), x);
    return vf_fma(*ret_n, vf_set1(-0x1.7f7d1cp-20f), r);
}

/* exp(r) - 1 for |r| <= 0.35: the Taylor series to r^7, whose next term is below 2^-27 of the result. */
static inline vf vf_expm1_small(vf r)
{
    vf p = vf_fma(r, vf_set1(1 / 5040.f), vf_set1(1 / 720.f));
    p = vf_fma(p, r, vf_set1(1 / 120.f));
    p = vf_fma(p, r, vf_set1(1 / 24.f));
    p = vf_fma(p, r, vf_set1(1 / 6.f));
    p = vf_fma(p, r, vf_set1(0.5f));
    return vf_fma(p * r, r, r);
}

static inline vf vf_exp(vf x)
{
    vf n;
    x = vf_at_most(vf_at_least(x, vf_set1(-104)), vf_set1(89)); /* beyond: 0 and infinity */
    vf r = vf_reduce_exp(x, &n);
#if MC_LEVEL == 5
    return (vf)_mm512_scalef_ps((__m512)(vf_expm1_small(r) + 1), (__m512)n);
#else
    /* 2^n in two factors: n reaches from -150 to 128. */
    vf half = vf_round_small(n * 0.5f);
    return (vf_expm1_small(r) + 1) * vf_exp2_whole(half) * vf_exp2_whole(n - half);
#endif
}

/* 1 / d for d that is neither 0, infinite nor denormal. With AVX-512 an estimate of 14 bits and one step of Newton,
 * which is right to 0.6 ulp and takes a third of the time of a division. */
static inline vf vf_reciprocal(vf d)
{
#if MC_LEVEL == 5
    vf r = (vf)_mm512_rcp14_ps((__m512)d);
    return vf_fma(r, vf_fma(-d, r, vf_set1(1)), r);
#else
    return 1 / d;
#endif
}

/* exp(x) - 1 for x <= 0, to 2 ulp where it is small and 1 ulp of 1 elsewhere. */
static inline vf vf_expm1_negative(vf x)
{
    return vf_select(vf_lt(vf_set1(-0.35f), x), vf_expm1_small(x), vf_exp(x) - 1);
}

/* x = 2^e m with m in [sqrt(1/2), sqrt(2)); with s = (m-1)/(m+1), log m = 2 (s + s^3/3 + s^5/5 + …), whose
 * term after s^9 is below 2^-29 of the result. */
static inline vf vf_log(vf x)
{
    vm tiny = vf_lt(x, vf_set1(0x1p-126f));
    vf scaled = vf_select(tiny, x * 0x1p24f, x);
    vi bits = (vi)vf_abs(scaled) - 0x3f3504f3; /* sqrt(1/2); a sign bit would overflow */
    vf e = __builtin_convertvector(bits >> 23, vf) - vf_select(tiny, vf_set1(24), vf_set1(0));
    vf f = (vf)((bits & 0x7fffff) + 0x3f3504f3) - 1;
    vf s = f / (f + 2), z = s * s;
    vf p = vf_fma(z, vf_set1(2 / 9.f), vf_set1(2 / 7.f));
    p = vf_fma(p, z, vf_set1(2 / 5.f));
    p = vf_fma(p, z, vf_set1(2 / 3.f));
    /* 2 s = f - s f, so that f itself enters exactly. */
    vf tail = vf_fma(e, vf_set1(0x1.7f7d1cp-20f), s * (z * p - f));
    vf y = vf_fma(e, vf_set1(0x1.62e4p-1f), f + tail);
    y = vf_select(vf_lt(vf_set1(0x1.fffffep127f), x), x, y);
    y = vf_select(vf_lt(x, vf_set1(0x1p-149f)), vf_set1(-INFINITY), y); /* 0, and below: */
    return vf_select(vf_lt(x, vf_set1(0)), vf_set1(NAN), vf_select(vf_is_nan(x), x, y));
}

/* exp(-|x|) and 1 / (1 + exp(-|x|)) do not overflow; the mirror image of the latter is their product. */
static inline vf vf_sigmoid(vf x)
{
    vf e = vf_exp(-vf_abs(x)), r = vf_reciprocal(1 + e);
    return vf_select(vf_lt(x, vf_set1(0)), e * r, r);
}

/* Below 0.625: x + x z p(z), z = x², p by least squares in the largest norm (Lawson's iteration), relative
 * error 4.1e-9. Above: 1 - 2 / (exp(2|x|) + 1). */
static inline vf vf_tanh(vf x)
{
    vf a = vf_abs(x), z = x * x;
    vf p = vf_fma(z, vf_set1(-0.00571703656f), vf_set1(0.020650579f));
    p = vf_fma(p, z, vf_set1(-0.0537434953f));
    p = vf_fma(p, z, vf_set1(0.133314912f));
    p = vf_fma(p, z, vf_set1(-0.333332839f));
    vf small = vf_fma(p * z, x, x);
    vf e = vf_exp(2 * vf_at_most(a, vf_set1(20))); /* beyond, 1 */
    vf large = vf_sign_of(1 - 2 * vf_reciprocal(e + 1), x);
    return vf_select(vf_lt(a, vf_set1(0.625f)), small, vf_select(vf_is_nan(x), x, large));
}

/* sin(x + quarters pi/2) for |x| <= 8192: x = n pi/2 + r, pi/2 in three parts of which the first two have 8 and
 * 11 bits, so that n times them is exact without FMA too. Then the Taylor series of sine or cosine, whose next
 * terms are below 2^-28 of the result. */
static inline vf vf_sin_small(vf x, int quarters)
{
    vf n = vf_round_small(x * 0.636619772f);
    vf r = vf_fma(n, vf_set1(-0x1.92p0f), x);
    r = vf_fma(n, vf_set1(-0x1.fb4p-12f), r);
    r = vf_fma(n, vf_set1(-0x1.4442d2p-24f), r);
    vi quadrant = (vi)(n + (0x1.8p23f + (float)quarters));
    vf z = r * r;
    vf s = vf_fma(z, vf_set1(1 / 362880.f), vf_set1(-1 / 5040.f));
    s = vf_fma(s, z, vf_set1(1 / 120.f));
    s = vf_fma(s, z, vf_set1(-1 / 6.f));
    s = vf_fma(s * z, r, r);
    vf c = vf_fma(z, vf_set1(-1 / 3628800.f), vf_set1(1 / 40320.f));
    c = vf_fma(c, z, vf_set1(-1 / 720.f));
    c = vf_fma(c, z, vf_set1(1 / 24.f));
    c = vf_fma(c * z, z, vf_fma(z, vf_set1(-0.5f), vf_set1(1)));
    vf odd = __builtin_convertvector(quadrant & 1, vf);
    vf y = vf_select(vf_lt(vf_set1(0), odd), c, s);
    return (vf)((vi)y ^ ((quadrant & 2) << 30));
}

/* Beyond 8192 libm: such angles are rare. */
static inline vf vf_sin(vf x)
{
    vf y = vf_sin_small(x, 0);
    if (vm_any(vf_lt(vf_set1(8192), vf_abs(x))))
        for (int i = 0; i < LANES; i++)
            y[i] = fabsf(x[i]) > 8192 ? sinf(x[i]) : y[i];
    return y;
}

static inline vf vf_cos(vf x)
{
    vf y = vf_sin_small(x, 1);
    if (vm_any(vf_lt(vf_set1(8192), vf_abs(x))))
        for (int i = 0; i < LANES; i++)
            y[i] = fabsf(x[i]) > 8192 ? cosf(x[i]) : y[i];
    return y;
}

/* erfc(z) for z >= 0: t exp(-z² + p(t)), t = 2 / (2 + z), p by least squares in the largest norm over
 * z in [0, 10.1], error of p 4.6e-8. The form is that of Press et al., Numerical Recipes, section 6.2. */
static inline vf vf_erfc_positive(vf z)
{
    z = vf_at_most(z, vf_set1(20)); /* beyond, 0 */
    vf t = 2 * vf_reciprocal(z + 2);
    vf p = vf_fma(t, vf_set1(0.142946585f), vf_set1(-0.670192665f));
    p = vf_fma(p, t, vf_set1(1.1322021f));
    p = vf_fma(p, t, vf_set1(-0.664414068f));
    p = vf_fma(p, t, vf_set1(-0.105790003f));
    p = vf_fma(p, t, vf_set1(0.0142910653f));
    p = vf_fma(p, t, vf_set1(0.0303880226f));
    p = vf_fma(p, t, vf_set1(0.387469802f));
    p = vf_fma(p, t, vf_set1(0.998543174f));
    p = vf_fma(p, t, vf_set1(-1.26544396f));
    return t * vf_exp(vf_fma(-z, z, p));
}

/* Below 0.75: x p(x²), p as above, error 1.5e-9. */
static inline vf vf_erf(vf x)
{
    vf a = vf_abs(x), z = x * x;
    vf p = vf_fma(z, vf_set1(-0.000676109569f), vf_set1(0.0051159817f));
    p = vf_fma(p, z, vf_set1(-0.0268354346f));
    p = vf_fma(p, z, vf_set1(0.11283393f));
    p = vf_fma(p, z, vf_set1(-0.376126199f));
    p = vf_fma(p, z, vf_set1(1.12837917f));
    vf large = vf_sign_of(1 - vf_erfc_positive(a), x);
    return vf_select(vf_lt(a, vf_set1(0.75f)), p * x, vf_select(vf_is_nan(x), x, large));
}

/* x Phi(x) = max(x, 0) - |x| erfc(|x| / sqrt 2) / 2. */
static inline vf vf_gelu(vf x)
{
    vf a = vf_abs(x);
    vf tail = a * 0.5f * vf_erfc_positive(a * 0.707106781f);
    vf y = vf_at_least(x, vf_set1(0)) - tail;
    return vf_select(vf_lt(vf_set1(14), x), x, y); /* infinity times 0 */
}

/* log(1 + e) for e in [0, 1]: the logarithm of u = fl(1 + e), times e / (u - 1) for what u lost.
 * Source: Higham, Accuracy and Stability of Numerical Algorithms, section 1.14.1. */
static inline vf vf_log1p_small(vf e)
{
    vf u = 1 + e, d = u - 1;
    return vf_select(vf_lt(vf_set1(0), d), vf_log(u) * (e / d), e);
}

static inline vf vf_softplus(vf x)
{
    return vf_at_least(x, vf_set1(0)) + vf_log1p_small(vf_exp(-vf_abs(x)));
}

#endif
