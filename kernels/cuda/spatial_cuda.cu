#include "kernels/cuda/epilogue_cuda.h"

struct fold {
    int in[3], out[3], kernel[3], stride[3], dilation[3], pad[3];
    const float *x;
    float *y;
    struct mc_cuda_epilogue e;
};

/* Position that tap k puts on output o of dimension d, -1 if there is none. */
static __device__ __forceinline__ int source(const struct fold &f, int d, int o, int k)
{
    int at = o + f.pad[d] - k * f.dilation[d], i = at / f.stride[d];
    return at >= 0 && i * f.stride[d] == at && i < f.in[d] ? i : -1;
}

static __global__ void fold(int64_t n, struct fold f)
{
    for (int64_t j = MC_CUDA_INDEX_OF; j < n; j += MC_CUDA_STRIDE) {
        int o[3] = {(int)(j / f.out[2] / f.out[1] % f.out[0]), (int)(j / f.out[2] % f.out[1]),
                    (int)(j % f.out[2])};
        int64_t channel = j / f.out[2] / f.out[1] / f.out[0];
        int64_t size = (int64_t)f.in[0] * f.in[1] * f.in[2];
        const float *x = f.x + channel * size * f.kernel[0] * f.kernel[1] * f.kernel[2];
        int k[3], i[3];
        float sum = 0;
        for (k[0] = 0; k[0] < f.kernel[0]; k[0]++)
            for (k[1] = 0; k[1] < f.kernel[1]; k[1]++)
                for (k[2] = 0; k[2] < f.kernel[2]; k[2]++, x += size) {
                    for (int d = 0; d < 3; d++)
                        i[d] = source(f, d, o[d], k[d]);
                    if (i[0] >= 0 && i[1] >= 0 && i[2] >= 0)
                        sum += x[((int64_t)i[0] * f.in[1] + i[1]) * f.in[2] + i[2]];
                }
        f.y[j] = mc_cuda_finish(f.e, sum, channel, j);
    }
}

static void run_fold(const struct mc_fold *f, struct mc_pool *)
{
    struct fold g;
    int64_t n = f->channels * f->out[0] * f->out[1] * f->out[2];
    for (int d = 0; d < 3; d++) {
        g.in[d] = (int)f->in[d];
        g.out[d] = (int)f->out[d];
        g.kernel[d] = (int)f->kernel[d];
        g.stride[d] = (int)f->stride[d];
        g.dilation[d] = (int)f->dilation[d];
        g.pad[d] = (int)f->pad[d];
    }
    g.x = (const float *)f->x;
    g.y = (float *)f->y;
    g.e = mc_cuda_epilogue_of(&f->epilogue);
    g.e.scale = NULL; /* a fold has none */
    if (n > 0)
        MC_LAUNCH(fold, mc_cuda_blocks(n), MC_CUDA_THREADS, n, g);
}

static __global__ void resample(int64_t n, int64_t n_in, int64_t n_out, int64_t inner, int64_t taps,
                                const int32_t *index, const float *weight, const float *x, float *y)
{
    for (int64_t i = MC_CUDA_INDEX_OF; i < n; i += MC_CUDA_STRIDE) {
        int64_t j = i / inner % n_out, outer = i / inner / n_out;
        const float *from = x + outer * n_in * inner + i % inner;
        float sum = 0;
        for (int64_t t = 0; t < taps; t++)
            sum += weight[t * n_out + j] * from[index[t * n_out + j] * inner];
        y[i] = sum;
    }
}

static void run_resample(const struct mc_resample *r, struct mc_pool *)
{
    int64_t n = r->outer * r->n_out * r->inner;
    if (n > 0)
        MC_LAUNCH(resample, mc_cuda_blocks(n), MC_CUDA_THREADS, n, r->n_in, r->n_out, r->inner,
                  r->taps, r->index, (const float *)r->weight, (const float *)r->x, (float *)r->y);
}

static __global__ void lrn(int64_t n, int64_t channels, int64_t inner, int64_t size, float scale,
                           float beta, float bias, const float *x, float *y)
{
    for (int64_t i = MC_CUDA_INDEX_OF; i < n; i += MC_CUDA_STRIDE) {
        int64_t c = i / inner % channels, from = c - (size - 1) / 2, to = from + size;
        const float *column = x + (i - c * inner);
        float sum = 0;
        for (int64_t k = from < 0 ? 0 : from; k < to && k < channels; k++)
            sum += column[k * inner] * column[k * inner];
        y[i] = x[i] / powf(bias + scale * sum, beta);
    }
}

static void run_lrn(const struct mc_lrn *l, struct mc_pool *)
{
    int64_t n = l->outer * l->channels * l->inner;
    if (n > 0)
        MC_LAUNCH(lrn, mc_cuda_blocks(n), MC_CUDA_THREADS, n, l->channels, l->inner, l->size,
                  (float)(l->alpha / (double)l->size), (float)l->beta, (float)l->bias,
                  (const float *)l->x, (float *)l->y);
}

void mc_spatial_fill_cuda(struct mc_kernels *k)
{
    k->spatial.fold = run_fold;
    k->spatial.resample = run_resample;
    k->spatial.lrn = run_lrn;
}
