#include "kernels/cuda/cuda.h"

static __global__ void blend(int64_t n, float a, float b, const float *x, const float *y, float *z)
{
    for (int64_t i = MC_CUDA_INDEX_OF; i < n; i += MC_CUDA_STRIDE)
        z[i] = a * x[i] + b * y[i];
}

static void run_blend(const struct mc_blend *b, struct mc_pool *)
{
    if (b->n > 0)
        MC_LAUNCH(blend, mc_cuda_blocks(b->n), MC_CUDA_THREADS, b->n, (float)b->a, (float)b->b,
                  (const float *)b->x, (const float *)b->y, (float *)b->z);
}

void mc_optim_fill_cuda(struct mc_kernels *k)
{
    k->optim.blend = run_blend;
}
