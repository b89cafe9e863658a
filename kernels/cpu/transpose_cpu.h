/* Squares of LANES vectors turned over in registers. */
#ifndef MC_KERNELS_CPU_TRANSPOSE_CPU_H
#define MC_KERNELS_CPU_TRANSPOSE_CPU_H

#include "kernels/cpu/vec.h"

/* a and b exchange what is off the diagonal of squares of 2, 4, 8 or 16 lanes. */
#define EXCHANGE(a, b, lo, hi)                                                                     \
    do {                                                                                           \
        vf t = __builtin_shufflevector(a, b, lo);                                                  \
        b = __builtin_shufflevector(a, b, hi);                                                     \
        a = t;                                                                                     \
    } while (0)

#if MC_LEVEL == 5
#define LOW_1  0, 16, 2, 18, 4, 20, 6, 22, 8, 24, 10, 26, 12, 28, 14, 30
#define HIGH_1 1, 17, 3, 19, 5, 21, 7, 23, 9, 25, 11, 27, 13, 29, 15, 31
#define LOW_2  0, 1, 16, 17, 4, 5, 20, 21, 8, 9, 24, 25, 12, 13, 28, 29
#define HIGH_2 2, 3, 18, 19, 6, 7, 22, 23, 10, 11, 26, 27, 14, 15, 30, 31
#define LOW_4  0, 1, 2, 3, 16, 17, 18, 19, 8, 9, 10, 11, 24, 25, 26, 27
#define HIGH_4 4, 5, 6, 7, 20, 21, 22, 23, 12, 13, 14, 15, 28, 29, 30, 31
#define LOW_8  0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23
#define HIGH_8 8, 9, 10, 11, 12, 13, 14, 15, 24, 25, 26, 27, 28, 29, 30, 31
#elif MC_LEVEL == 2
#define LOW_1  0, 8, 2, 10, 4, 12, 6, 14
#define HIGH_1 1, 9, 3, 11, 5, 13, 7, 15
#define LOW_2  0, 1, 8, 9, 4, 5, 12, 13
#define HIGH_2 2, 3, 10, 11, 6, 7, 14, 15
#define LOW_4  0, 1, 2, 3, 8, 9, 10, 11
#define HIGH_4 4, 5, 6, 7, 12, 13, 14, 15
#else
#define LOW_1  0, 4, 2, 6
#define HIGH_1 1, 5, 3, 7
#define LOW_2  0, 1, 4, 5
#define HIGH_2 2, 3, 6, 7
#endif

/* r[i][j] becomes r[j][i]. */
static inline __attribute__((always_inline)) void transpose_vectors(vf r[LANES])
{
#pragma GCC unroll 16
    for (int i = 0; i < LANES; i += 2)
        EXCHANGE(r[i], r[i + 1], LOW_1, HIGH_1);
#pragma GCC unroll 16
    for (int i = 0; i < LANES; i++)
        if (!(i & 2))
            EXCHANGE(r[i], r[i + 2], LOW_2, HIGH_2);
#if MC_LEVEL >= 2
#pragma GCC unroll 16
    for (int i = 0; i < LANES; i++)
        if (!(i & 4))
            EXCHANGE(r[i], r[i + 4], LOW_4, HIGH_4);
#endif
#if MC_LEVEL == 5
#pragma GCC unroll 16
    for (int i = 0; i < LANES; i++)
        if (!(i & 8))
            EXCHANGE(r[i], r[i + 8], LOW_8, HIGH_8);
#endif
}

#endif
