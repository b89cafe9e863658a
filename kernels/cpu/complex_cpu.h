/* Vectors of complex numbers, real and imaginary parts in turn. */
#ifndef MC_KERNELS_CPU_COMPLEX_CPU_H
#define MC_KERNELS_CPU_COMPLEX_CPU_H

#include "kernels/cpu/vec.h"

#if MC_LEVEL == 5
#define COMPLEX_EVEN 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30
#define COMPLEX_ODD  1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31
#define COMPLEX_LOW  0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23
#define COMPLEX_HIGH 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31
#define COMPLEX_REAL 0, 0, 2, 2, 4, 4, 6, 6, 8, 8, 10, 10, 12, 12, 14, 14
#define COMPLEX_IMAG 1, 1, 3, 3, 5, 5, 7, 7, 9, 9, 11, 11, 13, 13, 15, 15
#define COMPLEX_SWAP 1, 0, 3, 2, 5, 4, 7, 6, 9, 8, 11, 10, 13, 12, 15, 14
#define COMPLEX_SIGN                                                                               \
    INT32_MIN, 0, INT32_MIN, 0, INT32_MIN, 0, INT32_MIN, 0, INT32_MIN, 0, INT32_MIN, 0, INT32_MIN, \
        0, INT32_MIN, 0
#elif MC_LEVEL == 2
#define COMPLEX_EVEN 0, 2, 4, 6, 8, 10, 12, 14
#define COMPLEX_ODD  1, 3, 5, 7, 9, 11, 13, 15
#define COMPLEX_LOW  0, 8, 1, 9, 2, 10, 3, 11
#define COMPLEX_HIGH 4, 12, 5, 13, 6, 14, 7, 15
#define COMPLEX_REAL 0, 0, 2, 2, 4, 4, 6, 6
#define COMPLEX_IMAG 1, 1, 3, 3, 5, 5, 7, 7
#define COMPLEX_SWAP 1, 0, 3, 2, 5, 4, 7, 6
#define COMPLEX_SIGN INT32_MIN, 0, INT32_MIN, 0, INT32_MIN, 0, INT32_MIN, 0
#else
#define COMPLEX_EVEN 0, 2, 4, 6
#define COMPLEX_ODD  1, 3, 5, 7
#define COMPLEX_LOW  0, 4, 1, 5
#define COMPLEX_HIGH 2, 6, 3, 7
#define COMPLEX_REAL 0, 0, 2, 2
#define COMPLEX_IMAG 1, 1, 3, 3
#define COMPLEX_SWAP 1, 0, 3, 2
#define COMPLEX_SIGN INT32_MIN, 0, INT32_MIN, 0
#endif

/* w = complex_real(w) x + complex_turn(w) complex_swap(x) is the product w x. */
static inline vf complex_real(vf w)
{
    return __builtin_shufflevector(w, w, COMPLEX_REAL);
}

static inline vf complex_turn(vf w)
{
    const vi sign = {COMPLEX_SIGN};
    return (vf)((vi)__builtin_shufflevector(w, w, COMPLEX_IMAG) ^ sign);
}

static inline vf complex_swap(vf x)
{
    return __builtin_shufflevector(x, x, COMPLEX_SWAP);
}

/* Real and imaginary parts of two vectors. */
static inline void complex_part(vf low, vf high, vf *real, vf *imaginary)
{
    *real = __builtin_shufflevector(low, high, COMPLEX_EVEN);
    *imaginary = __builtin_shufflevector(low, high, COMPLEX_ODD);
}

/* z = a + i b, n of them, and 0 up to a whole line; b NULL: 0. */
static inline void complex_join(int64_t n, const float *a, const float *b, float *z)
{
    for (int64_t c = 0; c < n; c += LANES) {
        vm m = vm_first(n - c);
        vf re = vf_load_mask(a + c, m), im = b ? vf_load_mask(b + c, m) : vf_set1(0);
        vf_store(z + 2 * c, __builtin_shufflevector(re, im, COMPLEX_LOW));
        vf_store(z + 2 * c + LANES, __builtin_shufflevector(re, im, COMPLEX_HIGH));
    }
}

#endif
