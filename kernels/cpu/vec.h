/* Vectors of the level being compiled. Every file in this folder is written once over `vf` and compiled per
 * level with MC_LEVEL 0 (plain: 4 lanes, any CPU), 2 (AVX2 + FMA: 8) or 5 (AVX-512: 16). Arithmetic uses
 * the compiler's vector types (a + b, a * b, …); here is what they lack. MC_CPU(name) is name_plain,
 * name_avx2 or name_avx512. */
#ifndef MC_KERNELS_CPU_VEC_H
#define MC_KERNELS_CPU_VEC_H

#include <stdint.h>

#ifndef MC_LEVEL
#define MC_LEVEL 0
#endif

#if MC_LEVEL == 5
#include <immintrin.h>
#ifdef __AVX512VNNI__
#define MC_CPU(name) name##_avx512vnni
#elif defined(__AVX512VPOPCNTDQ__)
#define MC_CPU(name) name##_avx512vpopcnt
#else
#define MC_CPU(name) name##_avx512
#endif
enum { LANES = 16 };
typedef __mmask16 vm;
#elif MC_LEVEL == 2
#include <immintrin.h>
#define MC_CPU(name) name##_avx2
enum { LANES = 8 };
#else
#define MC_CPU(name) name##_plain
enum { LANES = 4 };
#endif

typedef float vf __attribute__((vector_size(4 * LANES)));
typedef int32_t vi __attribute__((vector_size(4 * LANES)));
typedef float vf_unaligned __attribute__((vector_size(4 * LANES), aligned(4), may_alias));
#if MC_LEVEL != 5
typedef vi vm; /* a lane is -1 where true, else 0 */
#endif

static inline vf vf_load(const float *p)
{
    return *(const vf_unaligned *)p;
}

static inline void vf_store(float *p, vf v)
{
    *(vf_unaligned *)p = v;
}

static inline vf vf_set1(float x)
{
    return x - (vf){0};
}

/* Lanes lo <= i < hi; both may lie anywhere. */
static inline vm vm_range(int64_t lo, int64_t hi)
{
    int64_t from = lo < 0 ? 0 : lo > LANES ? LANES : lo, to = hi < 0 ? 0 : hi > LANES ? LANES : hi;
#if MC_LEVEL == 5
    return (vm)(((1u << to) - 1) & ~((1u << from) - 1));
#elif MC_LEVEL == 2
    const vi lane = {0, 1, 2, 3, 4, 5, 6, 7};
    return (lane >= (int)from - (vi){0}) & (lane < (int)to - (vi){0});
#else
    const vi lane = {0, 1, 2, 3};
    return (lane >= (int)from - (vi){0}) & (lane < (int)to - (vi){0});
#endif
}

/* The first n. */
static inline vm vm_first(int64_t n)
{
    return vm_range(0, n);
}

/* Bitwise: x or 0 is x. */
static inline vf vf_or(vf a, vf b)
{
    return (vf)((vi)a | (vi)b);
}

/* Lanes of m only: the others read as 0, are not written, and their memory is not touched. */
static inline vf vf_load_mask(const float *p, vm m)
{
#if MC_LEVEL == 5
    return (vf)_mm512_maskz_loadu_ps(m, p);
#elif MC_LEVEL == 2
    return (vf)_mm256_maskload_ps(p, (__m256i)m);
#else
    vf v = {0};
    for (int i = 0; i < LANES; i++) {
        if (m[i])
            v[i] = p[i];
    }
    return v;
#endif
}

/* v, whose lanes in m are 0, with those lanes read from p. */
static inline vf vf_load_more(vf v, const float *p, vm m)
{
#if MC_LEVEL == 5
    return (vf)_mm512_mask_loadu_ps((__m512)v, m, p);
#else
    return vf_or(v, vf_load_mask(p, m));
#endif
}

static inline void vf_store_mask(float *p, vf v, vm m)
{
#if MC_LEVEL == 5
    _mm512_mask_storeu_ps(p, m, (__m512)v);
#elif MC_LEVEL == 2
    _mm256_maskstore_ps(p, (__m256i)m, (__m256)v);
#else
    for (int i = 0; i < LANES; i++) {
        if (m[i])
            p[i] = v[i];
    }
#endif
}

/* a * b + c, rounded once where the CPU can; on the plain level product and sum are both rounded. */
static inline vf vf_fma(vf a, vf b, vf c)
{
#if MC_LEVEL == 5
    return (vf)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c);
#elif MC_LEVEL == 2
    return (vf)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c);
#else
    return a * b + c;
#endif
}

static inline vm vf_lt(vf a, vf b)
{
#if MC_LEVEL == 5
    return _mm512_cmp_ps_mask((__m512)a, (__m512)b, _CMP_LT_OQ);
#else
    return a < b;
#endif
}

static inline int vm_any(vm m)
{
#if MC_LEVEL == 5
    return m != 0;
#elif MC_LEVEL == 2
    return _mm256_movemask_ps((__m256)m) != 0;
#else
    return (m[0] | m[1] | m[2] | m[3]) != 0;
#endif
}

/* Lanes of a where m, of b elsewhere. */
static inline vf vf_select(vm m, vf a, vf b)
{
#if MC_LEVEL == 5
    return (vf)_mm512_mask_blend_ps(m, (__m512)b, (__m512)a);
#elif MC_LEVEL == 2
    return (vf)_mm256_blendv_ps((__m256)b, (__m256)a, (__m256)m);
#else
    return (vf)((m & (vi)a) | (~m & (vi)b));
#endif
}

/* x < bound ? bound : x, and the mirror of it: a NaN in x stays. */
static inline vf vf_at_least(vf x, vf bound)
{
#if MC_LEVEL == 5
    return (vf)_mm512_max_ps((__m512)bound, (__m512)x);
#elif MC_LEVEL == 2
    return (vf)_mm256_max_ps((__m256)bound, (__m256)x);
#else
    return vf_select(x < bound, bound, x);
#endif
}

static inline vf vf_at_most(vf x, vf bound)
{
#if MC_LEVEL == 5
    return (vf)_mm512_min_ps((__m512)bound, (__m512)x);
#elif MC_LEVEL == 2
    return (vf)_mm256_min_ps((__m256)bound, (__m256)x);
#else
    return vf_select(x > bound, bound, x);
#endif
}

#endif
