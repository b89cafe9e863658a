/* Few numbers in place of many: weighted k-means in one dimension. */
#ifndef MC_PASSES_CODEBOOK_H
#define MC_PASSES_CODEBOOK_H

#include <stdint.h>

#include "base/err.h"

enum { MC_CODEBOOK_MAX = 256 };

/* k entries, ascending, that minimise sum_i weight[i] (x[i] - nearest entry)².
 * x [n] finite, weight [n] >= 0 or NULL for 1 each, k in 1..MC_CODEBOOK_MAX, entry [k].
 * With at most k distinct values the entries are these, to the bit; the rest repeat the last one. The least there is by dynamic
 * programming where at most 4096 values differ (Wang, Song, Ckmeans.1d.dp, 2011, in O(k g log g) by the monotone splits); of more,
 * that of 4096 groups of neighbours, followed by Lloyd's iterations on all values until nothing moves.
 * Weighted by what an error of each weight costs as in Choi, El-Khamy, Lee, Towards the Limit of Network Quantization, 2017.
 * Errors: MC_EDATA for a value or weight that is not finite, MC_ENOMEM. Cost: n log n to sort, 4096 k 12 for the rest. */
int mc_codebook_fit(const float *x, const float *weight, int64_t n, int k, float *entry,
                    struct mc_err *err);

/* The number of the nearest entry (ascending) for each x; of two as near the lower. */
void mc_codebook_nearest(const float *x, int64_t n, const float *entry, int k, uint8_t *index);
/* sum_i weight[i] (x[i] - entry[index[i]])². */
double mc_codebook_error(const float *x, const float *weight, int64_t n, const float *entry,
                         const uint8_t *index);

#endif
