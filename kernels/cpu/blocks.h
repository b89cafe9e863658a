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

#endif
