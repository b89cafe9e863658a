/* Losses of classes and of soft targets: blocks sum up in double, then the last one their sums. */
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

struct outcome {      /* what becomes of the sums */
    pair *part;       /* of each block; part[0] in the end all of them */
    unsigned *ticket; /* NULL: nothing */
    bool mean;        /* over the weights */
    double factor;
    float *y; /* factor times the losses, or NULL */
};

/* The block's sums, and where it is the last one, all. */
static __device__ void put_pair(double a, double b, const outcome &t, double *room)
{
    a = mc_team<MC_CUDA_WARPS>(a, mc_add(), room);
    b = mc_team<MC_CUDA_WARPS>(b, mc_add(), room);
    if (threadIdx.x == 0)
        t.part[blockIdx.x] = pair{a, b};
    if (!t.ticket || !mc_last_block(t.ticket, gridDim.x) || threadIdx.x >= MC_CUDA_WARP)
        return;
    a = b = 0;
    for (unsigned i = threadIdx.x; i < gridDim.x; i += MC_CUDA_WARP) {
        a += __ldcg(&t.part[i].a);
        b += __ldcg(&t.part[i].b);
    }
    a = mc_team<1>(a, mc_add(), (double *)NULL);
    b = mc_team<1>(b, mc_add(), (double *)NULL);
    if (threadIdx.x)
        return;
    t.part[0] = pair{a, b};
    if (t.y)
        *t.y = (float)(t.factor * (t.mean ? a / b : a));
}

/* part NULL: no memory left. */
static outcome outcome_of(bool wanted, bool mean, double factor, void *y)
{
    pair *part = (pair *)mc_cuda_workspace(BLOCKS * sizeof *part);
    return outcome{part, wanted ? mc_cuda_now()->tickets : NULL, mean, factor, (float *)y};
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

static __global__ void sum_classes(mc_class_loss l, outcome t, int *fault)
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
    put_pair(loss, weight, t, room);
}

static void run_classes(const struct mc_class_loss *l, struct mc_pool *)
{
    const mc_class_loss job = *l;
    unsigned blocks = blocks_of(l->outer * l->inner);
    outcome t = outcome_of(l->how != MC_LOSS_EACH, l->how == MC_LOSS_MEAN, 1, l->y);
    if (t.part)
        MC_LAUNCH_SYNC(sum_classes, blocks, MC_CUDA_THREADS, 0, job, t, mc_cuda_now()->fault);
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
        outcome t = outcome_of(true, false, 1, NULL);
        part = t.part;
        if (!part)
            return;
        weights.y = NULL;
        MC_LAUNCH_SYNC(sum_classes, blocks, MC_CUDA_THREADS, 0, weights, t, fault);
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

static __global__ void soft_rows(mc_soft_loss l, outcome all)
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
    put_pair(sum, 0, all, room);
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

static __global__ void soft_elements(mc_soft_loss l, outcome all, int *fault)
{
    __shared__ double room[MC_CUDA_WARPS];
    double sum = 0;
    for (int64_t i = MC_CUDA_INDEX_OF; i < l.outer * l.inner; i += MC_CUDA_STRIDE) {
        float z = ((const float *)l.z)[i], t = target_of(l, i);
        if (!(t >= 0 && t <= 1))
            atomicCAS(fault, MC_CUDA_OK, MC_CUDA_LABEL);
        sum += (double)((z > 0 ? z : 0) + log1pf(expf(-fabsf(z))) - z * t);
    }
    put_pair(sum, 0, all, room);
}

static void run_soft(const struct mc_soft_loss *l, struct mc_pool *)
{
    const mc_soft_loss job = *l;
    int64_t rows = l->outer * l->inner;
    bool each = l->fn == MC_SOFT_SIGMOID;
    unsigned blocks = blocks_of(each ? rows : rows * MC_CUDA_WARP);
    double by = each ? 1 : l->temperature;
    outcome all = outcome_of(true, false, by * by / (double)rows, l->y);
    if (!all.part)
        return;
    if (each)
        MC_LAUNCH_SYNC(soft_elements, blocks, MC_CUDA_THREADS, 0, job, all, mc_cuda_now()->fault);
    else
        MC_LAUNCH_SYNC(soft_rows, blocks, MC_CUDA_THREADS, 0, job, all);
}

void mc_loss_fill_cuda(struct mc_kernels *k)
{
    k->loss.classes = run_classes;
    k->loss.classes_grad = run_classes_grad;
    k->loss.soft = run_soft;
}
