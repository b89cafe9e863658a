/* Losses of classes and of soft targets: blocks sum up in double, then one block their sums. */
#include <math.h>

#include "kernels/cuda/team.h"

enum { BLOCKS = 64 }; /* that sum up, at most */

struct pair { /* sums of blocks: losses, weights */
    double a, b;
};

static unsigned blocks_of(int64_t threads)
{
    unsigned blocks = mc_cuda_blocks(threads);
    return blocks > BLOCKS ? (unsigned)BLOCKS : blocks;
}

/* part[block] = the block's sums. */
static __device__ void put_pair(double a, double b, pair *part, double *room)
{
    a = mc_team<MC_CUDA_WARPS>(a, mc_add(), room);
    b = mc_team<MC_CUDA_WARPS>(b, mc_add(), room);
    if (threadIdx.x == 0)
        part[blockIdx.x] = pair{a, b};
}

/* part[0] = the sum of all; y, where it is there, becomes factor times the losses, over the weights where `mean`. */
static __global__ void add_pairs(int n, pair *part, bool mean, double factor, float *y)
{
    double a = (int)threadIdx.x < n ? part[threadIdx.x].a : 0;
    double b = (int)threadIdx.x < n ? part[threadIdx.x].b : 0;
    int more = (int)threadIdx.x + MC_CUDA_WARP;
    if (more < n) {
        a += part[more].a;
        b += part[more].b;
    }
    a = mc_team<1>(a, mc_add(), (double *)NULL);
    b = mc_team<1>(b, mc_add(), (double *)NULL);
    if (threadIdx.x)
        return;
    part[0] = pair{a, b};
    if (y)
        *y = (float)(factor * (mean ? a / b : a));
}

static void finish(unsigned n, pair *part, bool mean, double factor, float *y)
{
    static_assert(BLOCKS == 2 * MC_CUDA_WARP, "two for each thread");
    MC_LAUNCH_SYNC(add_pairs, 1, MC_CUDA_WARP, 0, (int)n, part, mean, factor, y);
}

/* ---- classes ---- */

/* Row i's class, -1 if it is ignored or none. */
static __device__ int64_t label_of(const mc_class_loss &l, int64_t i, int *fault)
{
    int64_t label =
        l.label_bytes == 4 ? ((const int32_t *)l.label)[i] : ((const int64_t *)l.label)[i];
    if (l.ignores && label == l.ignore)
        return -1;
    if (label >= 0 && label < l.classes)
        return label;
    if (fault)
        atomicCAS(fault, MC_CUDA_OK, MC_CUDA_LABEL);
    return -1;
}

static __device__ float weight_of(const mc_class_loss &l, int64_t label)
{
    return label < 0 ? 0 : l.weight ? ((const float *)l.weight)[label] : 1;
}

static __global__ void sum_classes(mc_class_loss l, pair *part, int *fault)
{
    __shared__ double room[MC_CUDA_WARPS];
    double loss = 0, weight = 0;
    for (int64_t i = MC_CUDA_INDEX_OF; i < l.outer * l.inner; i += MC_CUDA_STRIDE) {
        int64_t label = label_of(l, i, fault);
        float w = weight_of(l, label), own = 0;
        int64_t at = (i / l.inner * l.classes + label) * l.inner + i % l.inner;
        if (label >= 0 && l.y)
            own = -w * ((const float *)l.log_prob)[at];
        if (l.how == MC_LOSS_EACH && l.y)
            ((float *)l.y)[i] = own;
        loss += (double)own;
        weight += (double)w;
    }
    put_pair(loss, weight, part, room);
}

static void run_classes(const struct mc_class_loss *l, struct mc_pool *)
{
    const mc_class_loss job = *l;
    unsigned blocks = blocks_of(l->outer * l->inner);
    pair *part = (pair *)mc_cuda_workspace(BLOCKS * sizeof *part);
    if (!part)
        return;
    MC_LAUNCH_SYNC(sum_classes, blocks, MC_CUDA_THREADS, 0, job, part, mc_cuda_now()->fault);
    if (l->how != MC_LOSS_EACH)
        finish(blocks, part, l->how == MC_LOSS_MEAN, 1, (float *)l->y);
}

/* total: weights of all rows, or NULL: each has 1, or they do not matter. */
static __global__ void grad_classes(mc_class_grad g, const pair *total, int *fault)
{
    const mc_class_loss &l = g.loss;
    int64_t plane = l.classes * l.inner;
    double rows = (double)(l.outer * l.inner), by = 1;
    if (l.how == MC_LOSS_MEAN)
        by = total ? total->b : rows;
    for (int64_t i = MC_CUDA_INDEX_OF; i < l.outer * plane; i += MC_CUDA_STRIDE) {
        int64_t row = i / plane * l.inner + i % l.inner, k = i / l.inner % l.classes;
        int64_t label = label_of(l, row, fault);
        double d = ((const float *)g.dy)[l.how == MC_LOSS_EACH ? row : 0];
        float f = (float)((double)weight_of(l, label) * (d / by));
        float p = g.softmax ? expf(((const float *)l.log_prob)[i]) * f : 0;
        ((float *)l.y)[i] = k == label ? p - f : p;
    }
}

static void run_classes_grad(const struct mc_class_grad *g, struct mc_pool *)
{
    const mc_class_grad job = *g;
    mc_class_loss weights = g->loss;
    int64_t n = g->loss.outer * g->loss.classes * g->loss.inner;
    int *fault = mc_cuda_now()->fault;
    pair *part = NULL;
    if (n < 1)
        return;
    if (g->loss.how == MC_LOSS_MEAN && (g->loss.weight || g->loss.ignores)) {
        unsigned blocks = blocks_of(g->loss.outer * g->loss.inner);
        part = (pair *)mc_cuda_workspace(BLOCKS * sizeof *part);
        if (!part)
            return;
        weights.y = NULL;
        MC_LAUNCH_SYNC(sum_classes, blocks, MC_CUDA_THREADS, 0, weights, part, fault);
        finish(blocks, part, false, 1, NULL);
    }
    MC_LAUNCH(grad_classes, mc_cuda_blocks(n), MC_CUDA_THREADS, job, part, fault);
}

/* ---- soft targets ---- */

/* log softmax(x / t)[i] = x[i] / t - this */
static __device__ float log_sum(const float *x, int64_t n, int64_t inner, float t, int at)
{
    float top = -INFINITY, sum = 0;
    for (int64_t i = at; i < n; i += MC_CUDA_WARP)
        top = mc_more()(top, x[i * inner] / t);
    top = mc_team<1>(top, mc_more(), (float *)NULL);
    for (int64_t i = at; i < n; i += MC_CUDA_WARP)
        sum += expf(x[i * inner] / t - top);
    return top + logf(mc_team<1>(sum, mc_add(), (float *)NULL));
}

static __device__ float least(float v)
{
    return v < -1e30f ? -1e30f : v; /* 0 times a logarithm of 0 is 0 */
}

static __global__ void soft_rows(mc_soft_loss l, pair *part)
{
    __shared__ double room[MC_CUDA_WARPS];
    mc_rows<1> team;
    double sum = 0;
    float by = (float)l.temperature;
    for (int64_t r = team.first; r < l.outer * l.inner; r += team.step) {
        int64_t start = r / l.inner * l.n * l.inner + r % l.inner;
        const float *z = (const float *)l.z + start, *t = (const float *)l.t + start;
        bool distill = l.fn == MC_SOFT_DISTILL;
        float of_z = log_sum(z, l.n, l.inner, by, team.at);
        float of_t = distill ? log_sum(t, l.n, l.inner, by, team.at) : 0;
        for (int64_t i = team.at; i < l.n; i += MC_CUDA_WARP) {
            float a = z[i * l.inner] / by - of_z, b = t[i * l.inner];
            if (distill) {
                b = least(b / by - of_t);
                sum += (double)((b - least(a)) * expf(b));
            } else {
                sum -= (double)(b * a);
            }
        }
    }
    put_pair(sum, 0, part, room);
}

static __device__ float target_of(const mc_soft_loss &l, int64_t i)
{
    switch (l.t_elem) {
    case MC_ELEM_I8: return ((const int8_t *)l.t)[i];
    case MC_ELEM_I16: return ((const int16_t *)l.t)[i];
    case MC_ELEM_I32: return (float)((const int32_t *)l.t)[i];
    case MC_ELEM_I64: return (float)((const int64_t *)l.t)[i];
    case MC_ELEM_U8: return ((const uint8_t *)l.t)[i];
    case MC_ELEM_U16: return ((const uint16_t *)l.t)[i];
    case MC_ELEM_U32: return (float)((const uint32_t *)l.t)[i];
    case MC_ELEM_U64: return (float)((const uint64_t *)l.t)[i];
    default: return ((const float *)l.t)[i];
    }
}

static __global__ void soft_elements(mc_soft_loss l, pair *part, int *fault)
{
    __shared__ double room[MC_CUDA_WARPS];
    double sum = 0;
    for (int64_t i = MC_CUDA_INDEX_OF; i < l.outer * l.inner; i += MC_CUDA_STRIDE) {
        float z = ((const float *)l.z)[i], t = target_of(l, i);
        if (!(t >= 0 && t <= 1))
            atomicCAS(fault, MC_CUDA_OK, MC_CUDA_LABEL);
        sum += (double)((z > 0 ? z : 0) + log1pf(expf(-fabsf(z))) - z * t);
    }
    put_pair(sum, 0, part, room);
}

static void run_soft(const struct mc_soft_loss *l, struct mc_pool *)
{
    const mc_soft_loss job = *l;
    int64_t rows = l->outer * l->inner;
    bool each = l->fn == MC_SOFT_SIGMOID;
    unsigned blocks = blocks_of(each ? rows : rows * MC_CUDA_WARP);
    pair *part = (pair *)mc_cuda_workspace(BLOCKS * sizeof *part);
    if (!part)
        return;
    if (each)
        MC_LAUNCH_SYNC(soft_elements, blocks, MC_CUDA_THREADS, 0, job, part, mc_cuda_now()->fault);
    else
        MC_LAUNCH_SYNC(soft_rows, blocks, MC_CUDA_THREADS, 0, job, part);
    double t = each ? 1 : l->temperature;
    finish(blocks, part, false, t * t / (double)rows, (float *)l->y);
}

void mc_loss_fill_cuda(struct mc_kernels *k)
{
    k->loss.classes = run_classes;
    k->loss.classes_grad = run_classes_grad;
    k->loss.soft = run_soft;
}
