/* Counter-based random numbers: a draw depends on (seed, stream, index) alone, so any device, any thread
 * count and any order of evaluation sees the same numbers.
 * Source: Salmon, Moraes, Dror, Shaw, Parallel Random Numbers: As Easy as 1, 2, 3, SC 2011: Philox4x32-10. */
#ifndef MC_BASE_RNG_H
#define MC_BASE_RNG_H

#include <stddef.h>
#include <stdint.h>

/* Four independent 32-bit words for counter `index` of `stream` under `seed`. */
void mc_rng_words(uint64_t seed, uint64_t stream, uint64_t index, uint32_t ret[4]);

/* One draw: uniform in [0,1) with 24 bits; uniform integer in [0,n), n > 0, without modulo bias beyond
 * 2^-32; standard normal (Box-Muller; never infinite or NaN). */
float mc_rng_uniform(uint64_t seed, uint64_t stream, uint64_t index);
uint32_t mc_rng_below(uint64_t seed, uint64_t stream, uint64_t index, uint32_t n);
float mc_rng_normal(uint64_t seed, uint64_t stream, uint64_t index);

/* dst[i] = draw (first + i); uses all words of each block, so it differs from repeated single draws. */
void mc_rng_fill_uniform(uint64_t seed, uint64_t stream, uint64_t first, float *dst, size_t n);
void mc_rng_fill_normal(uint64_t seed, uint64_t stream, uint64_t first, float *dst, size_t n);

/* perm[0..n) = a random permutation of 0..n-1 (Fisher-Yates). */
void mc_rng_permute(uint64_t seed, uint64_t stream, int64_t *perm, int64_t n);

#endif
