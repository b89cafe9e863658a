/* Integer helpers for cutting shapes into blocks. */
#ifndef MC_KERNELS_CPU_BLOCKS_H
#define MC_KERNELS_CPU_BLOCKS_H

#include <stdint.h>

static inline int64_t min64(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static inline int64_t max64(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

/* a / b rounded up; a >= 0, b > 0. */
static inline int64_t ceil_div(int64_t a, int64_t b)
{
    return (a + b - 1) / b;
}

/* n in equal pieces of at most `most`: the size of one. */
static inline int64_t even(int64_t n, int64_t most)
{
    return max64(1, ceil_div(n, max64(1, ceil_div(n, max64(1, most)))));
}

static inline int64_t gcd(int64_t a, int64_t b)
{
    while (b) {
        int64_t rest = a % b;
        a = b;
        b = rest;
    }
    return a;
}

#endif
