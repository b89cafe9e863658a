/* Quantisation that is being trained: elements one by one; sums of gradients of scales by blocks, in double, slice by
 * slice, then over the slices. */
#include <float.h>
#include <math.h>

#include "kernels/cuda/team.h"

enum { SLICE = 2048, SLICES = 64 }; /* elements of a scale for a block; slices of one at most */

static __device__ float zero_of(const mc_fake_grid &g, int64_t s)
{
    int64_t i = g.n_zeros == 1 ? 0 : s;
    if (!g.zero)
        return 0;
    if (g.zero_bits < 8) {
        int bits = g.zero_bits, each = 8 / bits, shift = (int)(i % each) * bits;
        int v = ((const uint8_t *)g.zero)[i / each] >> shift & ((1 << bits) - 1);
        return (float)(g.zero_elem == MC_ELEM_I8 && v >> (bits - 1) ? v - (1 << bits) : v);
    }
    switch (g.zero_elem) {
    case MC_ELEM_I8: return ((const int8_t *)g.zero)[i];
    case MC_ELEM_U8: return ((const uint8_t *)g.zero)[i];
    case MC_ELEM_I16: return ((const int16_t *)g.zero)[i];
    case MC_ELEM_U16: return ((const uint16_t *)g.zero)[i];
    case MC_ELEM_I32: return (float)((const int32_t *)g.zero)[i];
    default: return ((const float *)g.zero)[i];
    }
}

struct place { /* of an element on the grid */
    float scale, v, clamped;
};

static __device__ place place_of(const mc_fake_grid &g, int64_t s, float x)
{
    float z = zero_of(g, s), lo = (float)g.lo - z, hi = (float)g.hi - z;
    place p;
    p.scale = ((const float *)g.scale)[s];
    p.v = x / p.scale;
    p.clamped = !(p.v > lo) ? lo : p.v > hi ? hi : p.v;
    return p;
}

static __device__ int64_t scale_of(const mc_fake_grid &g, int64_t i)
{
    if (g.n_scales == 1)
        return 0;
    return i / g.inner / g.axis * g.o_step + i / g.inner % g.axis / g.block * g.a_step +
           i % g.inner * g.i_step;
}

static __global__ void put_elements(mc_fake_grid g, int64_t n)
{
    for (int64_t i = MC_CUDA_INDEX_OF; i < n; i += MC_CUDA_STRIDE) {
        place p = place_of(g, scale_of(g, i), ((const float *)g.x)[i]);
        float y = rintf(p.clamped) * p.scale;
        if (g.dy)
            y = p.clamped == p.v ? ((const float *)g.dy)[i] : 0;
        ((float *)g.y)[i] = y;
    }
}

/* Element m of those that have scale s; how many there are. */
static __device__ int64_t member(const mc_fake_grid &g, int64_t s, int64_t m)
{
    if (g.n_scales == 1)
        return m;
    if (g.i_step == 0) /* by axis */
        return (m / g.inner * g.axis + s) * g.inner + m % g.inner;
    int64_t blocks = (g.axis + g.block - 1) / g.block, o = s / g.inner / blocks;
    return (o * g.axis + s / g.inner % blocks * g.block + m) * g.inner + s % g.inner;
}

static __device__ int64_t members(const mc_fake_grid &g, int64_t s)
{
    if (g.n_scales == 1)
        return g.outer * g.axis * g.inner;
    if (g.i_step == 0)
        return g.outer * g.inner;
    int64_t blocks = (g.axis + g.block - 1) / g.block, first = s / g.inner % blocks * g.block;
    return g.axis - first < g.block ? g.axis - first : g.block;
}

static __global__ void sum_slices(mc_fake_grid g, double *part)
{
    __shared__ double room[MC_CUDA_WARPS];
    for (int64_t s = blockIdx.x; s < g.n_scales; s += gridDim.x) {
        int64_t n = members(g, s);
        double sum = 0;
        for (int64_t m = blockIdx.y * (int64_t)MC_CUDA_THREADS + threadIdx.x; m < n;
             m += (int64_t)gridDim.y * MC_CUDA_THREADS) {
            int64_t i = member(g, s, m);
            place p = place_of(g, s, ((const float *)g.x)[i]);
            float q = rintf(p.clamped) - (p.clamped == p.v ? p.v : 0);
            sum += (double)(((const float *)g.dy)[i] * q);
        }
        sum = mc_team<MC_CUDA_WARPS>(sum, mc_add(), room);
        if (threadIdx.x == 0)
            part[blockIdx.y * g.n_scales + s] = sum;
    }
}

static __global__ void add_slices(mc_fake_grid g, int slices, const double *part)
{
    for (int64_t s = MC_CUDA_INDEX_OF; s < g.n_scales; s += MC_CUDA_STRIDE) {
        double sum = 0, z = zero_of(g, s), q = fmax(g.hi - z, z - g.lo - 1);
        for (int i = 0; i < slices; i++)
            sum += part[i * g.n_scales + s];
        ((float *)g.ds)[s] = (float)(sum / sqrt(fmax(g.count, 1.0) * fmax(q, 1.0)));
    }
}

static void run_grid(const struct mc_fake_grid *g)
{
    const mc_fake_grid job = *g;
    int64_t n = g->outer * g->axis * g->inner, slices = 1;
    if (g->ds && g->dy && g->n_scales > 0) {
        int64_t most = g->n_scales == 1 ? n : g->i_step ? g->block : g->outer * g->inner;
        slices = (most + SLICE - 1) / SLICE;
        slices = slices < 1 ? 1 : slices > SLICES ? (int64_t)SLICES : slices;
        double *part = (double *)mc_cuda_workspace((size_t)(slices * g->n_scales) * sizeof *part);
        if (!part)
            return;
        dim3 blocks(mc_cuda_blocks(g->n_scales * MC_CUDA_THREADS), (unsigned)slices);
        MC_LAUNCH_SYNC(sum_slices, blocks, MC_CUDA_THREADS, 0, job, part);
        MC_LAUNCH(add_slices, mc_cuda_blocks(g->n_scales), MC_CUDA_THREADS, job, (int)slices, part);
    }
    if (g->y && n > 0)
        MC_LAUNCH(put_elements, mc_cuda_blocks(n), MC_CUDA_THREADS, job, n);
}

static __global__ void learned_scales(mc_learned_scales s)
{
    for (int64_t i = MC_CUDA_INDEX_OF; i < s.n; i += MC_CUDA_STRIDE) {
        double v = (double)((const float *)s.start)[i] * exp((double)((const float *)s.growth)[i]);
        v = v < (double)FLT_MIN ? (double)FLT_MIN : v > (double)FLT_MAX ? (double)FLT_MAX : v;
        ((float *)s.y)[i] = (float)v;
    }
}

static void run_scales(const struct mc_learned_scales *s)
{
    const mc_learned_scales job = *s;
    if (s->n > 0)
        MC_LAUNCH(learned_scales, mc_cuda_blocks(s->n), MC_CUDA_THREADS, job);
}

void mc_fake_quant_fill_cuda(struct mc_kernels *k)
{
    k->fake_quant.grid = run_grid;
    k->fake_quant.scales = run_scales;
}
