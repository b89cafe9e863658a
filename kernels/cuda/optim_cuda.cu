/* Optimiser steps: every vector is read and written once, four floats at a time where all are aligned. What a step
 * has to read from memory, each block reads for itself. */
#include <math.h>

#include "kernels/cuda/team.h"

static __device__ int64_t whole(const void *p, int bytes)
{
    return bytes == 4 ? *(const int32_t *)p : *(const int64_t *)p;
}

static __device__ bool applies(const mc_step_at &at)
{
    return (!at.norm || isfinite(*(const float *)at.norm)) &&
           (!at.apply || whole(at.apply, at.apply_bytes) != 0);
}

static __device__ double scale_of(const mc_step_at &at, double scale)
{
    if (!at.norm || !(at.clip > 0))
        return scale;
    double factor = at.clip / ((double)*(const float *)at.norm + 1e-6);
    return factor < 1 ? factor : 1;
}

static bool quads(const void *a, const void *b, const void *c, const void *d, const void *e,
                  const void *f, const void *g)
{
    return mc_aligned16(a, b, c, d) && mc_aligned16(e, f, g);
}

/* step(i) for elements or quads of them, i from 0: the last quad may not be whole, its elements come one by one. */
#define FOR_VECTORS(V, i, n)                                                                       \
    for (int64_t i = MC_CUDA_INDEX_OF; i < ((n) + (V)-1) / (V); i += MC_CUDA_STRIDE)

template <int V> static __device__ mc_floats<V> load(const void *p, int64_t i, int64_t n)
{
    mc_floats<V> r;
    if ((i + 1) * V <= n)
        return ((const mc_floats<V> *)p)[i];
    for (int k = 0; k < V; k++)
        r.v[k] = i * V + k < n ? ((const float *)p)[i * V + k] : 0;
    return r;
}

template <int V> static __device__ void store(void *p, int64_t i, int64_t n, const mc_floats<V> &r)
{
    if ((i + 1) * V <= n) {
        ((mc_floats<V> *)p)[i] = r;
        return;
    }
    for (int k = 0; k < V; k++)
        if (i * V + k < n)
            ((float *)p)[i * V + k] = r.v[k];
}

template <int V> static __device__ void keep(void *to, const void *from, int64_t i, int64_t n)
{
    if (from && to != from)
        store<V>(to, i, n, load<V>(from, i, n));
}

/* ---- SGD ---- */

struct sgd_numbers {
    bool go;
    float lr, scale;
};

template <int V> static __global__ void sgd_step(mc_sgd s)
{
    __shared__ sgd_numbers c;
    if (threadIdx.x == 0) {
        c.go = applies(s.at);
        c.lr = s.at.lr ? *(const float *)s.at.lr : (float)s.lr;
        c.scale = (float)scale_of(s.at, s.scale);
    }
    __syncthreads();
    float momentum = (float)s.momentum, decay = (float)s.decay;
    FOR_VECTORS(V, i, s.n)
    {
        if (!c.go) {
            keep<V>(s.w_new, s.w, i, s.n);
            keep<V>(s.m_new, s.m, i, s.n);
            continue;
        }
        mc_floats<V> grad = load<V>(s.grad, i, s.n), w = load<V>(s.w, i, s.n), m = {};
        if (s.m)
            m = load<V>(s.m, i, s.n);
        for (int k = 0; k < V; k++) {
            float g = c.scale * grad.v[k] + (i * V + k < s.decays ? decay * w.v[k] : 0);
            if (s.m) {
                m.v[k] = momentum * m.v[k] + g;
                g = s.nesterov ? g + momentum * m.v[k] : m.v[k];
            }
            w.v[k] -= c.lr * g;
        }
        store<V>(s.w_new, i, s.n, w);
        if (s.m)
            store<V>(s.m_new, i, s.n, m);
    }
}

static void run_sgd(const struct mc_sgd *s, struct mc_pool *)
{
    const mc_sgd job = *s;
    if (s->n < 1)
        return;
    if (quads(s->grad, s->w, s->m, s->w_new, s->m_new, NULL, NULL))
        MC_LAUNCH_SYNC((sgd_step<4>), mc_cuda_blocks((s->n + 3) / 4), MC_CUDA_THREADS, 0, job);
    else
        MC_LAUNCH_SYNC((sgd_step<1>), mc_cuda_blocks(s->n), MC_CUDA_THREADS, 0, job);
}

/* ---- Adam ---- */

struct adam_numbers {
    bool go;
    float scale, rate, root, decay;
};

template <int V> static __global__ void adam_step(mc_adam a, int *fault)
{
    __shared__ adam_numbers c;
    if (threadIdx.x == 0) {
        double lr = a.at.lr ? (double)*(const float *)a.at.lr : a.lr;
        double t = (double)(a.at.step ? whole(a.at.step, a.at.step_bytes) : a.step);
        c.go = applies(a.at);
        if (c.go && !(t >= 1))
            atomicCAS(fault, MC_CUDA_OK, MC_CUDA_INDEX);
        c.scale = (float)scale_of(a.at, a.scale);
        c.rate = (float)(lr / (1 - pow(a.beta1, t)));
        c.root = (float)sqrt(1 - pow(a.beta2, t));
        c.decay = (float)(a.decoupled ? lr * a.decay : a.decay);
    }
    __syncthreads();
    float c1 = (float)(1 - a.beta1), c2 = (float)(1 - a.beta2);
    float beta2 = (float)a.beta2, epsilon = (float)a.epsilon;
    FOR_VECTORS(V, i, a.n)
    {
        if (!c.go) {
            keep<V>(a.w_new, a.w, i, a.n);
            keep<V>(a.m_new, a.m, i, a.n);
            keep<V>(a.v_new, a.v, i, a.n);
            continue;
        }
        mc_floats<V> grad = load<V>(a.grad, i, a.n), w = load<V>(a.w, i, a.n);
        mc_floats<V> m = load<V>(a.m, i, a.n), v = load<V>(a.v, i, a.n);
        for (int k = 0; k < V; k++) {
            float g = c.scale * grad.v[k], x = w.v[k];
            float decay = i * V + k < a.decays ? c.decay : 0;
            if (a.decoupled)
                x *= 1 - decay;
            else
                g += decay * x;
            m.v[k] += c1 * (g - m.v[k]);
            v.v[k] = beta2 * v.v[k] + c2 * g * g;
            w.v[k] = x - c.rate * (m.v[k] / (sqrtf(v.v[k]) / c.root + epsilon));
        }
        store<V>(a.w_new, i, a.n, w);
        store<V>(a.m_new, i, a.n, m);
        store<V>(a.v_new, i, a.n, v);
    }
}

static void run_adam(const struct mc_adam *a, struct mc_pool *)
{
    const mc_adam job = *a;
    int *fault = mc_cuda_now()->fault;
    if (a->n < 1)
        return;
    if (quads(a->grad, a->w, a->m, a->v, a->w_new, a->m_new, a->v_new))
        MC_LAUNCH_SYNC((adam_step<4>), mc_cuda_blocks((a->n + 3) / 4), MC_CUDA_THREADS, 0, job,
                       fault);
    else
        MC_LAUNCH_SYNC((adam_step<1>), mc_cuda_blocks(a->n), MC_CUDA_THREADS, 0, job, fault);
}

/* ---- average, sum, choice ---- */

template <int V> static __global__ void blend(mc_blend b)
{
    double first = b.a, second = b.b_at ? (double)*(const float *)b.b_at : b.b;
    if (b.at.step) {
        double step = (double)whole(b.at.step, b.at.step_bytes);
        first = fmin(first, (1 + step) / (10 + step));
        second = 1 - first;
    }
    bool go = applies(b.at);
    FOR_VECTORS(V, i, b.n)
    {
        mc_floats<V> x = load<V>(b.x, i, b.n);
        if (go) {
            mc_floats<V> y = load<V>(b.y, i, b.n);
            for (int k = 0; k < V; k++)
                x.v[k] = (float)first * x.v[k] + (float)second * y.v[k];
        }
        store<V>(b.z, i, b.n, x);
    }
}

static void run_blend(const struct mc_blend *b, struct mc_pool *)
{
    const mc_blend job = *b;
    if (b->n < 1)
        return;
    if (mc_aligned16(b->x, b->y, b->z))
        MC_LAUNCH((blend<4>), mc_cuda_blocks((b->n + 3) / 4), MC_CUDA_THREADS, job);
    else
        MC_LAUNCH((blend<1>), mc_cuda_blocks(b->n), MC_CUDA_THREADS, job);
}

template <int V> static __global__ void choose(mc_choose c)
{
    const void *from = applies(c.at) ? c.x : c.y;
    FOR_VECTORS(V, i, c.n)
    if (from)
        keep<V>(c.z, from, i, c.n);
    else
        store<V>(c.z, i, c.n, mc_floats<V>{});
}

static void run_choose(const struct mc_choose *c, struct mc_pool *)
{
    const mc_choose job = *c;
    if (c->n < 1)
        return;
    if (mc_aligned16(c->x, c->y, c->z))
        MC_LAUNCH((choose<4>), mc_cuda_blocks((c->n + 3) / 4), MC_CUDA_THREADS, job);
    else
        MC_LAUNCH((choose<1>), mc_cuda_blocks(c->n), MC_CUDA_THREADS, job);
}

/* Blocks of row y for part y. */
static __global__ void copy_parts(mc_parts p)
{
    int k = (int)blockIdx.y;
    const float *src = (const float *)p.src[k];
    for (int64_t i = MC_CUDA_INDEX_OF; i < p.size[k]; i += MC_CUDA_STRIDE)
        ((float *)p.dst[k])[i] = src ? src[i] : 0;
}

static void run_parts(const struct mc_parts *p, struct mc_pool *)
{
    enum { BLOCKS = 256 }; /* of a part */
    const mc_parts job = *p;
    int64_t most = 0;
    for (int i = 0; i < p->n; i++)
        most = p->size[i] > most ? p->size[i] : most;
    unsigned blocks = mc_cuda_blocks(most);
    if (most > 0)
        MC_LAUNCH(copy_parts, dim3(blocks > BLOCKS ? (unsigned)BLOCKS : blocks, (unsigned)p->n),
                  MC_CUDA_THREADS, job);
}

/* ---- norm ---- */

static __device__ double square(float v)
{
    return (double)v * (double)v;
}

/* One block a chunk; the last one adds them. */
static __global__ void squares(int64_t n, const float *x, double *part, unsigned *ticket,
                               float *ret)
{
    __shared__ double room[MC_CUDA_WARPS];
    int64_t from = blockIdx.x * (int64_t)MC_SQUARES_CHUNK;
    int64_t to = n - from < MC_SQUARES_CHUNK ? n : from + MC_SQUARES_CHUNK;
    double sum = 0;
    if (((uintptr_t)x & 15) == 0)
        for (; from + MC_CUDA_THREADS * 4 <= to; from += MC_CUDA_THREADS * 4) {
            const mc_floats<4> v = ((const mc_floats<4> *)(x + from))[threadIdx.x];
            sum += (square(v.v[0]) + square(v.v[1])) + (square(v.v[2]) + square(v.v[3]));
        }
    for (int64_t i = from + threadIdx.x; i < to; i += MC_CUDA_THREADS)
        sum += square(x[i]);
    sum = mc_team<MC_CUDA_WARPS>(sum, mc_add(), room);
    if (threadIdx.x == 0 && n > 0)
        part[blockIdx.x] = sum;
    if (!mc_last_block(ticket, gridDim.x))
        return;
    sum = 0;
    for (int64_t i = threadIdx.x; i < gridDim.x && n > 0; i += MC_CUDA_THREADS)
        sum += __ldcg(&part[i]);
    sum = mc_team<MC_CUDA_WARPS>(sum, mc_add(), room);
    if (threadIdx.x == 0)
        *ret = (float)sqrt(sum);
}

static void run_root(const struct mc_squares *s, void *ret, struct mc_pool *)
{
    int64_t chunks = (s->n + MC_SQUARES_CHUNK - 1) / MC_SQUARES_CHUNK;
    MC_LAUNCH_SYNC(squares, chunks > 0 ? (unsigned)chunks : 1, MC_CUDA_THREADS, 0, s->n,
                   (const float *)s->x, s->part, mc_cuda_now()->tickets, (float *)ret);
}

void mc_optim_fill_cuda(struct mc_kernels *k)
{
    k->optim.sgd = run_sgd;
    k->optim.adam = run_adam;
    k->optim.blend = run_blend;
    k->optim.root = run_root;
    k->optim.choose = run_choose;
    k->optim.parts = run_parts;
}
