/* Optimiser steps: every vector is read and written once, so memory is the limit; chunks are for the threads. */
#include <math.h>

#include "kernels/cpu/blocks.h"
#include "kernels/cpu/math_cpu.h"
#include "kernels/fill.h"

enum { CHUNK = 1 << 14 }; /* elements per chunk of work: 64 KiB of each vector */

#define INLINE static inline __attribute__((always_inline))

/* Call part(ctx, from, to, decays) for the elements of a chunk with and without decay. */
INLINE void cut(const void *ctx, int64_t chunk, int64_t n, int64_t decays,
                void (*part)(const void *ctx, int64_t from, int64_t to, bool decays))
{
    int64_t from = chunk * CHUNK, to = min64(from + CHUNK, n);
    int64_t border = min64(max64(decays, from), to);
    if (from < border)
        part(ctx, from, border, true);
    if (border < to)
        part(ctx, border, to, false);
}

/* ---- SGD ---- */

struct sgd_vectors {
    vf lr, scale, momentum, decay;
};

INLINE vf sgd_step(const struct mc_sgd *s, const struct sgd_vectors *c, vf grad, vf w, vf *m)
{
    vf g = c->scale * grad + c->decay * w;
    if (s->m) {
        *m = c->momentum * *m + g;
        g = s->nesterov ? g + c->momentum * *m : *m;
    }
    return w - c->lr * g;
}

static void sgd_part(const void *ctx, int64_t from, int64_t to, bool decays)
{
    const struct mc_sgd *s = ctx;
    const struct sgd_vectors c = {vf_set1((float)s->lr), vf_set1((float)s->scale),
                                  vf_set1((float)s->momentum),
                                  vf_set1(decays ? (float)s->decay : 0)};
    const float *grad = s->grad, *w = s->w, *m_old = s->m;
    float *w_new = s->w_new, *m_new = s->m_new;
    int64_t i = from;
    for (; i + LANES <= to; i += LANES) {
        vf m = m_old ? vf_load(m_old + i) : (vf){0};
        vf_store(w_new + i, sgd_step(s, &c, vf_load(grad + i), vf_load(w + i), &m));
        if (m_old)
            vf_store(m_new + i, m);
    }
    if (i < to) {
        vm k = vm_first(to - i);
        vf m = m_old ? vf_load_mask(m_old + i, k) : (vf){0};
        vf_store_mask(w_new + i,
                      sgd_step(s, &c, vf_load_mask(grad + i, k), vf_load_mask(w + i, k), &m), k);
        if (m_old)
            vf_store_mask(m_new + i, m, k);
    }
}

static void sgd_chunk(void *ctx, int64_t chunk, int worker)
{
    (void)worker;
    const struct mc_sgd *s = ctx;
    cut(s, chunk, s->n, s->decays, sgd_part);
}

static void sgd(const struct mc_sgd *s, struct mc_pool *pool)
{
    struct mc_sgd job = *s;
    mc_pool_run(pool, ceil_div(s->n, CHUNK), sgd_chunk, &job);
}

/* ---- Adam ---- */

struct adam_job {
    struct mc_adam a;
    float rate, root; /* lr / (1 - beta1^step), sqrt(1 - beta2^step) */
};

struct adam_vectors {
    vf scale, c1, c2, beta2, epsilon, rate, root, keep, decay;
};

INLINE vf adam_step(const struct adam_vectors *c, vf grad, vf w, vf *m, vf *v)
{
    vf g = c->scale * grad + c->decay * w;
    *m = *m + c->c1 * (g - *m);
    *v = c->beta2 * *v + c->c2 * g * g;
    return c->keep * w - c->rate * (*m / (vf_sqrt(*v) / c->root + c->epsilon));
}

static void adam_part(const void *ctx, int64_t from, int64_t to, bool decays)
{
    const struct adam_job *j = ctx;
    const struct mc_adam *a = &j->a;
    float decay = decays && !a->decoupled ? (float)a->decay : 0;
    float keep = decays && a->decoupled ? 1 - (float)(a->lr * a->decay) : 1;
    const struct adam_vectors c = {vf_set1((float)a->scale),
                                   vf_set1((float)(1 - a->beta1)),
                                   vf_set1((float)(1 - a->beta2)),
                                   vf_set1((float)a->beta2),
                                   vf_set1((float)a->epsilon),
                                   vf_set1(j->rate),
                                   vf_set1(j->root),
                                   vf_set1(keep),
                                   vf_set1(decay)};
    const float *grad = a->grad, *w = a->w, *m_old = a->m, *v_old = a->v;
    float *w_new = a->w_new, *m_new = a->m_new, *v_new = a->v_new;
    int64_t i = from;
    for (; i + LANES <= to; i += LANES) {
        vf m = vf_load(m_old + i), v = vf_load(v_old + i);
        vf_store(w_new + i, adam_step(&c, vf_load(grad + i), vf_load(w + i), &m, &v));
        vf_store(m_new + i, m);
        vf_store(v_new + i, v);
    }
    if (i < to) {
        vm k = vm_first(to - i);
        vf m = vf_load_mask(m_old + i, k), v = vf_load_mask(v_old + i, k);
        vf_store_mask(w_new + i,
                      adam_step(&c, vf_load_mask(grad + i, k), vf_load_mask(w + i, k), &m, &v), k);
        vf_store_mask(m_new + i, m, k);
        vf_store_mask(v_new + i, v, k);
    }
}

static void adam_chunk(void *ctx, int64_t chunk, int worker)
{
    (void)worker;
    const struct adam_job *j = ctx;
    cut(j, chunk, j->a.n, j->a.decays, adam_part);
}

static void adam(const struct mc_adam *a, struct mc_pool *pool)
{
    double t = (double)a->step;
    struct adam_job j = {*a, (float)(a->lr / (1 - pow(a->beta1, t))),
                         (float)sqrt(1 - pow(a->beta2, t))};
    mc_pool_run(pool, ceil_div(a->n, CHUNK), adam_chunk, &j);
}

/* ---- two vectors ---- */

static void blend_chunk(void *ctx, int64_t chunk, int worker)
{
    (void)worker;
    const struct mc_blend *b = ctx;
    int64_t from = chunk * CHUNK, to = min64(from + CHUNK, b->n), i = from;
    const float *x = b->x, *y = b->y;
    float *z = b->z;
    vf va = vf_set1((float)b->a), vb = vf_set1((float)b->b);
    for (; i + LANES <= to; i += LANES)
        vf_store(z + i, va * vf_load(x + i) + vb * vf_load(y + i));
    if (i < to) {
        vm k = vm_first(to - i);
        vf_store_mask(z + i, va * vf_load_mask(x + i, k) + vb * vf_load_mask(y + i, k), k);
    }
}

static void blend(const struct mc_blend *b, struct mc_pool *pool)
{
    struct mc_blend job = *b;
    mc_pool_run(pool, ceil_div(b->n, CHUNK), blend_chunk, &job);
}

/* ---- sum of squares ---- */

typedef double vd __attribute__((vector_size(8 * LANES)));

static void squares_chunk(void *ctx, int64_t chunk, int worker)
{
    (void)worker;
    const struct mc_squares *s = ctx;
    int64_t from = chunk * MC_SQUARES_CHUNK, to = min64(from + MC_SQUARES_CHUNK, s->n), i = from;
    const float *x = s->x;
    vd sum = {0}, v;
    for (; i + LANES <= to; i += LANES) {
        v = __builtin_convertvector(vf_load(x + i), vd);
        sum += v * v;
    }
    if (i < to) {
        v = __builtin_convertvector(vf_load_mask(x + i, vm_first(to - i)), vd);
        sum += v * v;
    }
    double all = 0;
    for (int k = 0; k < LANES; k++)
        all += sum[k];
    s->part[chunk] = all;
}

static double squares(const struct mc_squares *s, struct mc_pool *pool)
{
    struct mc_squares job = *s;
    int64_t chunks = ceil_div(s->n, MC_SQUARES_CHUNK);
    double sum = 0;
    mc_pool_run(pool, chunks, squares_chunk, &job);
    for (int64_t k = 0; k < chunks; k++)
        sum += s->part[k];
    return sum;
}

void MC_CPU(mc_optim_fill)(struct mc_optim_kernels *k)
{
    k->sgd = sgd;
    k->adam = adam;
    k->blend = blend;
    k->squares = squares;
}
