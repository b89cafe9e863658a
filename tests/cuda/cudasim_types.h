/* The types that CUDA's headers declare. */
#ifndef MC_TESTS_CUDA_CUDASIM_TYPES_H
#define MC_TESTS_CUDA_CUDASIM_TYPES_H

#include <cstdint>
#include <cstring>

#define MC_SIM_VECTOR(type, base, bytes)                                                           \
    struct __align__(2 * bytes) type##2                                                            \
    {                                                                                              \
        base x, y;                                                                                 \
    };                                                                                             \
    struct type##3                                                                                 \
    {                                                                                              \
        base x, y, z;                                                                              \
    };                                                                                             \
    struct __align__(4 * bytes > 16 ? 16 : 4 * bytes) type##4                                      \
    {                                                                                              \
        base x, y, z, w;                                                                           \
    };                                                                                             \
    static inline type##2 make_##type##2(base x, base y)                                           \
    {                                                                                              \
        return {x, y};                                                                             \
    }                                                                                              \
    static inline type##3 make_##type##3(base x, base y, base z)                                   \
    {                                                                                              \
        return {x, y, z};                                                                          \
    }                                                                                              \
    static inline type##4 make_##type##4(base x, base y, base z, base w)                           \
    {                                                                                              \
        return {x, y, z, w};                                                                       \
    }
MC_SIM_VECTOR(char, signed char, 1)
MC_SIM_VECTOR(uchar, unsigned char, 1)
MC_SIM_VECTOR(short, short, 2)
MC_SIM_VECTOR(ushort, unsigned short, 2)
MC_SIM_VECTOR(int, int, 4)
MC_SIM_VECTOR(uint, unsigned, 4)
MC_SIM_VECTOR(float, float, 4)
MC_SIM_VECTOR(longlong, long long, 8)
MC_SIM_VECTOR(ulonglong, unsigned long long, 8)
MC_SIM_VECTOR(double, double, 8)
#undef MC_SIM_VECTOR

struct dim3 {
    unsigned x, y, z;
    dim3(unsigned x_ = 1, unsigned y_ = 1, unsigned z_ = 1) : x(x_), y(y_), z(z_)
    {
    }
};

/* 16 bits of storage; arithmetic is done in float. */
struct __half {
    uint16_t bits;
};
struct __nv_bfloat16 {
    uint16_t bits;
};
typedef __half half;
struct __half2 {
    __half x, y;
};
struct __nv_bfloat162 {
    __nv_bfloat16 x, y;
};

static inline __nv_bfloat16 __float2bfloat16(float x)
{
    uint32_t u;
    memcpy(&u, &x, 4);
    if ((u & 0x7fffffff) > 0x7f800000)
        return {0x7fff};
    return {(uint16_t)((u + 0x7fff + (u >> 16 & 1)) >> 16)};
}
static inline __nv_bfloat16 __float2bfloat16_rn(float x)
{
    return __float2bfloat16(x);
}
static inline float __bfloat162float(__nv_bfloat16 h)
{
    uint32_t u = (uint32_t)h.bits << 16;
    float x;
    memcpy(&x, &u, 4);
    return x;
}
__half __float2half_rn(float x);
float __half2float(__half h);
static inline __half __float2half(float x)
{
    return __float2half_rn(x);
}

#endif
