/* How bytes get to a device and back. */
#ifndef MC_KERNELS_CUDA_COPIES_H
#define MC_KERNELS_CUDA_COPIES_H

#include "kernels/cuda/cuda.h"

/* g->copies: a stream of its own, staging memory on both sides, events. g has its stream. Without pinned memory it is
 * slower, without memory on the device copies wait for earlier work. */
cudaError_t mc_cuda_copies_make(struct mc_gpu *g);
void mc_cuda_copies_free(struct mc_gpu *g); /* also of a half-built one; all work is done */

/* All work is done, and *ret_fault is what a kernel found in its data. */
cudaError_t mc_cuda_copies_wait(struct mc_gpu *g, int *ret_fault);

/* Is p, of so many bytes, in memory of mc_gpu_host_alloc? */
bool mc_cuda_pinned(const struct mc_gpu *g, const void *p, size_t bytes);

/* Fail with what CUDA says, of what was being done; a device that cannot go on is marked. */
int mc_cuda_fail(struct mc_gpu *g, cudaError_t rc, const char *what, struct mc_err *err);

#endif
