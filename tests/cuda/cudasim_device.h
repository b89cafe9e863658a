/* What a kernel calls that C++ does not have. */
#ifndef MC_TESTS_CUDA_CUDASIM_DEVICE_H
#define MC_TESTS_CUDA_CUDASIM_DEVICE_H

#include <cmath>
#include <cstdint>
#include <cstring>

#include "tests/cuda/cudasim_types.h"

/* ---- threads together ---- */

enum mc_sim_meeting {
    MC_SIM_BARRIER, /* of the block; the others are of a warp */
    MC_SIM_SYNC,
    MC_SIM_SHUFFLE,
    MC_SIM_BALLOT,
    MC_SIM_MATCH,
    MC_SIM_ADD,
    MC_SIM_MIN,
    MC_SIM_MAX,
    MC_SIM_MIN_SIGNED,
    MC_SIM_MAX_SIGNED,
    MC_SIM_AND,
    MC_SIM_OR,
    MC_SIM_XOR,
};
/* Wait for the others and exchange: what each gets from the values of all. source: for MC_SIM_SHUFFLE, a lane. */
uint64_t mc_sim_meet(mc_sim_meeting kind, unsigned mask, uint64_t value, int source,
                     const char *file, int line);
int mc_sim_lane();

#define MC_SIM_HERE const char *file = __builtin_FILE(), int line = __builtin_LINE()

/* The count of a barrier is in the low half of what it gives, the number of threads in the high half. */
static inline void __syncthreads(MC_SIM_HERE)
{
    mc_sim_meet(MC_SIM_BARRIER, 0, 0, 0, file, line);
}
static inline int __syncthreads_count(int p, MC_SIM_HERE)
{
    return (int)(uint32_t)mc_sim_meet(MC_SIM_BARRIER, 0, !!p, 0, file, line);
}
static inline int __syncthreads_or(int p, MC_SIM_HERE)
{
    return __syncthreads_count(p, file, line) != 0;
}
static inline int __syncthreads_and(int p, MC_SIM_HERE)
{
    return __syncthreads_count(!p, file, line) == 0;
}
static inline void __syncwarp(unsigned mask = 0xffffffffu, MC_SIM_HERE)
{
    mc_sim_meet(MC_SIM_SYNC, mask, 0, 0, file, line);
}
static inline unsigned __ballot_sync(unsigned mask, int p, MC_SIM_HERE)
{
    return (unsigned)mc_sim_meet(MC_SIM_BALLOT, mask, !!p, 0, file, line);
}
static inline int __any_sync(unsigned mask, int p, MC_SIM_HERE)
{
    return __ballot_sync(mask, p, file, line) != 0;
}
static inline int __all_sync(unsigned mask, int p, MC_SIM_HERE)
{
    return __ballot_sync(mask, !p, file, line) == 0;
}
static inline unsigned __match_any_sync(unsigned mask, unsigned value, MC_SIM_HERE)
{
    return (unsigned)mc_sim_meet(MC_SIM_MATCH, mask, value, 0, file, line);
}
#define MC_SIM_REDUCE(name, type, kind)                                                            \
    static inline type name(unsigned mask, type x, MC_SIM_HERE)                                    \
    {                                                                                              \
        return (type)mc_sim_meet(kind, mask, (uint32_t)x, 0, file, line);                          \
    }
MC_SIM_REDUCE(__reduce_add_sync, unsigned, MC_SIM_ADD)
MC_SIM_REDUCE(__reduce_add_sync, int, MC_SIM_ADD)
MC_SIM_REDUCE(__reduce_min_sync, unsigned, MC_SIM_MIN)
MC_SIM_REDUCE(__reduce_min_sync, int, MC_SIM_MIN_SIGNED)
MC_SIM_REDUCE(__reduce_max_sync, unsigned, MC_SIM_MAX)
MC_SIM_REDUCE(__reduce_max_sync, int, MC_SIM_MAX_SIGNED)
MC_SIM_REDUCE(__reduce_and_sync, unsigned, MC_SIM_AND)
MC_SIM_REDUCE(__reduce_or_sync, unsigned, MC_SIM_OR)
MC_SIM_REDUCE(__reduce_xor_sync, unsigned, MC_SIM_XOR)
#undef MC_SIM_REDUCE

template <class T> T mc_sim_shuffle(unsigned mask, T x, int source, const char *file, int line)
{
    static_assert(sizeof(T) <= 8, "a shuffle takes at most 8 bytes");
    uint64_t bits = 0;
    memcpy(&bits, &x, sizeof x);
    bits = mc_sim_meet(MC_SIM_SHUFFLE, mask, bits, source, file, line);
    memcpy(&x, &bits, sizeof x);
    return x;
}
template <class T> T __shfl_sync(unsigned mask, T x, int source, int width = warpSize, MC_SIM_HERE)
{
    int base = mc_sim_lane() & ~(width - 1);
    return mc_sim_shuffle(mask, x, base + (source & (width - 1)), file, line);
}
template <class T>
T __shfl_up_sync(unsigned mask, T x, unsigned by, int width = warpSize, MC_SIM_HERE)
{
    int lane = mc_sim_lane(), base = lane & ~(width - 1), source = lane - (int)by;
    return mc_sim_shuffle(mask, x, source < base ? lane : source, file, line);
}
template <class T>
T __shfl_down_sync(unsigned mask, T x, unsigned by, int width = warpSize, MC_SIM_HERE)
{
    int lane = mc_sim_lane(), end = (lane & ~(width - 1)) + width, source = lane + (int)by;
    return mc_sim_shuffle(mask, x, source >= end ? lane : source, file, line);
}
template <class T>
T __shfl_xor_sync(unsigned mask, T x, int with, int width = warpSize, MC_SIM_HERE)
{
    int lane = mc_sim_lane(), end = (lane & ~(width - 1)) + width, source = lane ^ with;
    return mc_sim_shuffle(mask, x, source >= end ? lane : source, file, line);
}
#undef MC_SIM_HERE

static inline void __threadfence()
{
}
static inline void __threadfence_block()
{
}

/* ---- atomics: threads run one at a time ---- */

template <class T> struct mc_sim_as {
    typedef T type;
};
#define MC_SIM_ATOMIC(name, next)                                                                  \
    template <class T> T name(T *p, typename mc_sim_as<T>::type x)                                 \
    {                                                                                              \
        T old = *p;                                                                                \
        *p = next;                                                                                 \
        return old;                                                                                \
    }
MC_SIM_ATOMIC(atomicAdd, old + x)
MC_SIM_ATOMIC(atomicSub, old - x)
MC_SIM_ATOMIC(atomicMax, old > x ? old : x)
MC_SIM_ATOMIC(atomicMin, old < x ? old : x)
MC_SIM_ATOMIC(atomicAnd, old &x)
MC_SIM_ATOMIC(atomicOr, old | x)
MC_SIM_ATOMIC(atomicXor, old ^ x)
MC_SIM_ATOMIC(atomicExch, x)
MC_SIM_ATOMIC(atomicInc, old >= x ? 0 : old + 1)
#undef MC_SIM_ATOMIC
template <class T>
T atomicCAS(T *p, typename mc_sim_as<T>::type want, typename mc_sim_as<T>::type x)
{
    T old = *p;
    if (old == want)
        *p = x;
    return old;
}

/* ---- loads and stores with a hint ---- */

#define MC_SIM_LOAD(name)                                                                          \
    template <class T> T name(const T *p)                                                          \
    {                                                                                              \
        return *p;                                                                                 \
    }
MC_SIM_LOAD(__ldg)
MC_SIM_LOAD(__ldca)
MC_SIM_LOAD(__ldcg)
MC_SIM_LOAD(__ldcs)
#undef MC_SIM_LOAD
#define MC_SIM_STORE(name)                                                                         \
    template <class T> void name(T *p, typename mc_sim_as<T>::type x)                              \
    {                                                                                              \
        *p = x;                                                                                    \
    }
MC_SIM_STORE(__stcg)
MC_SIM_STORE(__stcs)
MC_SIM_STORE(__stwb)
#undef MC_SIM_STORE

/* ---- bits ---- */

static inline int __popc(unsigned x)
{
    return __builtin_popcount(x);
}
static inline int __popcll(unsigned long long x)
{
    return __builtin_popcountll(x);
}
static inline int __clz(int x)
{
    return x ? __builtin_clz((unsigned)x) : 32;
}
static inline int __clzll(long long x)
{
    return x ? __builtin_clzll((unsigned long long)x) : 64;
}
static inline int __ffs(int x)
{
    return __builtin_ffs(x);
}
static inline int __ffsll(long long x)
{
    return __builtin_ffsll(x);
}
static inline unsigned __brev(unsigned x)
{
    unsigned y = 0;
    for (int i = 0; i < 32; i++)
        y |= (x >> i & 1) << (31 - i);
    return y;
}
static inline unsigned __byte_perm(unsigned a, unsigned b, unsigned select)
{
    uint64_t both = (uint64_t)b << 32 | a;
    unsigned y = 0;
    for (int i = 0; i < 4; i++)
        y |= (unsigned)(both >> 8 * (select >> 4 * i & 7) & 0xff) << 8 * i;
    return y;
}
static inline unsigned __umulhi(unsigned a, unsigned b)
{
    return (unsigned)((uint64_t)a * b >> 32);
}
static inline int __mulhi(int a, int b)
{
    return (int)((int64_t)a * b >> 32);
}
static inline unsigned long long __umul64hi(unsigned long long a, unsigned long long b)
{
    __extension__ typedef unsigned __int128 wide;
    return (unsigned long long)((wide)a * b >> 64);
}
static inline unsigned __funnelshift_l(unsigned lo, unsigned hi, unsigned by)
{
    return (unsigned)((((uint64_t)hi << 32 | lo) << (by & 31)) >> 32);
}
static inline unsigned __funnelshift_r(unsigned lo, unsigned hi, unsigned by)
{
    return (unsigned)(((uint64_t)hi << 32 | lo) >> (by & 31));
}
/* c + the four products of bytes */
static inline int __dp4a(int a, int b, int c)
{
    for (int i = 0; i < 4; i++)
        c = (int)((unsigned)c + (unsigned)((int8_t)(a >> 8 * i) * (int8_t)(b >> 8 * i)));
    return c;
}
static inline unsigned __dp4a(unsigned a, unsigned b, unsigned c)
{
    for (int i = 0; i < 4; i++)
        c += (a >> 8 * i & 0xff) * (b >> 8 * i & 0xff);
    return c;
}

#define MC_SIM_BITS(name, from, to)                                                                \
    static inline to name(from x)                                                                  \
    {                                                                                              \
        to y;                                                                                      \
        memcpy(&y, &x, sizeof y);                                                                  \
        return y;                                                                                  \
    }
MC_SIM_BITS(__float_as_int, float, int)
MC_SIM_BITS(__float_as_uint, float, unsigned)
MC_SIM_BITS(__int_as_float, int, float)
MC_SIM_BITS(__uint_as_float, unsigned, float)
MC_SIM_BITS(__double_as_longlong, double, long long)
MC_SIM_BITS(__longlong_as_double, long long, double)
#undef MC_SIM_BITS

/* ---- numbers ---- */

#define MC_SIM_MIN_MAX(type)                                                                       \
    static inline type min(type a, type b)                                                         \
    {                                                                                              \
        return b < a ? b : a;                                                                      \
    }                                                                                              \
    static inline type max(type a, type b)                                                         \
    {                                                                                              \
        return a < b ? b : a;                                                                      \
    }
MC_SIM_MIN_MAX(int)
MC_SIM_MIN_MAX(unsigned)
MC_SIM_MIN_MAX(long)
MC_SIM_MIN_MAX(unsigned long)
MC_SIM_MIN_MAX(long long)
MC_SIM_MIN_MAX(unsigned long long)
#undef MC_SIM_MIN_MAX
static inline float min(float a, float b)
{
    return fminf(a, b);
}
static inline float max(float a, float b)
{
    return fmaxf(a, b);
}
static inline double min(double a, double b)
{
    return fmin(a, b);
}
static inline double max(double a, double b)
{
    return fmax(a, b);
}

static inline float __fmaf_rn(float a, float b, float c)
{
    return fmaf(a, b, c);
}
static inline double __fma_rn(double a, double b, double c)
{
    return fma(a, b, c);
}
static inline float __saturatef(float x)
{
    return x > 0 ? x < 1 ? x : 1 : 0; /* NaN: 0 */
}
/* One rounding each, never fused. */
#define MC_SIM_ARITHMETIC(name, type, op)                                                          \
    static inline type name(type a, type b)                                                        \
    {                                                                                              \
        volatile type y = a op b;                                                                  \
        return y;                                                                                  \
    }
MC_SIM_ARITHMETIC(__fadd_rn, float, +)
MC_SIM_ARITHMETIC(__fsub_rn, float, -)
MC_SIM_ARITHMETIC(__fmul_rn, float, *)
MC_SIM_ARITHMETIC(__fdiv_rn, float, /)
MC_SIM_ARITHMETIC(__dadd_rn, double, +)
MC_SIM_ARITHMETIC(__dsub_rn, double, -)
MC_SIM_ARITHMETIC(__dmul_rn, double, *)
MC_SIM_ARITHMETIC(__ddiv_rn, double, /)
MC_SIM_ARITHMETIC(__fdividef, float, /)
#undef MC_SIM_ARITHMETIC
static inline float __fsqrt_rn(float x)
{
    return sqrtf(x);
}
static inline double __dsqrt_rn(double x)
{
    return sqrt(x);
}
static inline float __frcp_rn(float x)
{
    return 1 / x;
}
static inline float __frsqrt_rn(float x)
{
    return (float)(1 / sqrt((double)x));
}

/* Conversions, by rounding mode; out of range they saturate, NaN gives 0 (the most negative for 64 bits). */
template <class To> To mc_sim_integer(double x)
{
    const double end =
        std::is_signed<To>::value ? ldexp(1, 8 * sizeof(To) - 1) : ldexp(1, 8 * sizeof(To));
    const double low = std::is_signed<To>::value ? -end : 0;
    if (std::isnan(x))
        return sizeof(To) == 8 ? (To)1 << 63 : 0;
    return x < low ? (To)low : x >= end ? (To) ~((To)low) : (To)x;
}
#define MC_SIM_CONVERT(from, to, in, out)                                                          \
    static inline out __##from##2##to##_rn(in x)                                                   \
    {                                                                                              \
        return mc_sim_integer<out>(nearbyint((double)x));                                          \
    }                                                                                              \
    static inline out __##from##2##to##_rz(in x)                                                   \
    {                                                                                              \
        return mc_sim_integer<out>(trunc((double)x));                                              \
    }                                                                                              \
    static inline out __##from##2##to##_rd(in x)                                                   \
    {                                                                                              \
        return mc_sim_integer<out>(floor((double)x));                                              \
    }                                                                                              \
    static inline out __##from##2##to##_ru(in x)                                                   \
    {                                                                                              \
        return mc_sim_integer<out>(ceil((double)x));                                               \
    }
MC_SIM_CONVERT(float, int, float, int)
MC_SIM_CONVERT(float, uint, float, unsigned)
MC_SIM_CONVERT(float, ll, float, long long)
MC_SIM_CONVERT(float, ull, float, unsigned long long)
MC_SIM_CONVERT(double, int, double, int)
MC_SIM_CONVERT(double, uint, double, unsigned)
MC_SIM_CONVERT(double, ll, double, long long)
MC_SIM_CONVERT(double, ull, double, unsigned long long)
#undef MC_SIM_CONVERT
static inline float __int2float_rn(int x)
{
    return (float)x;
}
static inline float __uint2float_rn(unsigned x)
{
    return (float)x;
}
static inline float __ll2float_rn(long long x)
{
    return (float)x;
}
static inline float __double2float_rn(double x)
{
    return (float)x;
}

/* The C library declares some of these names for itself. */
static inline float mc_sim_rsqrtf(float x)
{
    return 1 / sqrtf(x);
}
static inline double mc_sim_rsqrt(double x)
{
    return 1 / sqrt(x);
}
#define rsqrtf(x)    mc_sim_rsqrtf(x)
#define rsqrt(x)     mc_sim_rsqrt(x)
#define __expf(x)    expf(x)
#define __exp10f(x)  exp10f(x)
#define __logf(x)    logf(x)
#define __log2f(x)   log2f(x)
#define __log10f(x)  log10f(x)
#define __sinf(x)    sinf(x)
#define __cosf(x)    cosf(x)
#define __tanf(x)    tanf(x)
#define __powf(x, y) powf(x, y)

#endif
