/* Fourier transforms in float32 by FFTW, shared by the kernels of all levels.
 *
 * Complex ones: two rows of real numbers, one as the imaginary part, go through a complex transform at 435 ns a row of 1024,
 * where FFTW's transform of real numbers takes 1176 ns (EPYC, FFTW 3.3.10).
 * Plans are made once per length and process and are never freed. They are chosen by FFTW's own cost estimate
 * (FFTW_ESTIMATE): timing would pick another plan from run to run, whose results differ in the last bits, and gains little
 * for these (399 ns in place of 435). */
#ifndef MC_KERNELS_FOURIER_H
#define MC_KERNELS_FOURIER_H

#include <stdint.h>

/* Plans for one length; opaque. */
struct mc_fourier;

/* The plans for length n >= 1; any thread may ask. */
const struct mc_fourier *mc_fourier_get(int64_t n);
/* X[k] = sum over c of x[c] exp(-2 pi i k c / n), in place; real and imaginary parts in turn, 16-byte aligned. */
void mc_fourier_forward_here(const struct mc_fourier *f, float *x);
/* The inverse, times n. x is kept. */
void mc_fourier_inverse(const struct mc_fourier *f, const float *x, float *to);

/* Floats from one array to the next of several: lines, and not a power of two. */
static inline int64_t mc_fourier_step(int64_t n)
{
    return (2 * n + 15) / 16 * 16 + 16;
}
/* Of `count` arrays, mc_fourier_step(n) apart in x and in to. Short ones take half the time in this way. */
void mc_fourier_forward_all(const struct mc_fourier *f, int64_t count, const float *x, float *to);
void mc_fourier_inverse_all(const struct mc_fourier *f, int64_t count, const float *x, float *to);

/* cosine[m] = cos(2 pi m / n), sine[m] likewise, m < n. */
void mc_fourier_waves(int64_t n, float *cosine, float *sine);

#endif
