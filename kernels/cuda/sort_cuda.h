/* Sorting on the device: bitonic, so that the same keys take the same way. Private to kernels/cuda. */
#ifndef MC_KERNELS_CUDA_SORT_CUDA_H
#define MC_KERNELS_CUDA_SORT_CUDA_H

#include "kernels/cuda/cuda.h"

/* Keys that mc_cuda_sort needs room for: the next power of two, and not less than a block's. */
int64_t mc_cuda_sort_room(int64_t n);
/* Sort `rows` times `room` keys, room as above, each row upwards. Order among equal keys is not kept: make them
 * different, by their number in the low bits. */
void mc_cuda_sort(uint64_t *key, int64_t rows, int64_t room);

#endif
