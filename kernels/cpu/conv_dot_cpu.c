/* The gradient by weights for groups of few filters (depthwise above all): products of vectors of positions, which are
 * added up lane by lane to the end. dy is copied with gaps of zeros, so that its positions lie as those of the
 * copied channels do. A chunk has some groups and some blocks of positions. */
#include <string.h>

#include "base/mem.h"
#include "kernels/cpu/blocks.h"
#include "kernels/cpu/conv_dw_cpu.h"

enum {
    POSITIONS = 2048,          /* of a block: with what a window holds of them in an L1 */
    BUFFER = 1 << 15,          /* floats of copied channels, about */
    CHUNK_POSITIONS = 1 << 13, /* at least */
    CHUNKS = 16,               /* wanted */
    TAPS = 12,                 /* in registers */
};

struct plan {
    struct mc_conv c;
    int64_t rows, k, taps; /* of a group */
    struct mc_dw_blocks b;
    int64_t channels;         /* copied at a time */
    int64_t g_chunks, groups; /* groups in a chunk */
    int64_t s_chunks, s_blocks;
    int64_t sums; /* vectors of a group: [rows][k], then [rows] of db */
    struct mc_padded padded;
};

static struct plan make_plan(const struct mc_conv *given)
{
    struct plan p = {.c = MC_CPU(mc_conv_simplify)(given)};
    const struct mc_conv *c = &p.c;
    int64_t group_c = c->c / c->group, positions = c->n * c->out[0] * c->out[1] * c->out[2];
    p.rows = c->oc / c->group;
    p.taps = c->kernel[0] * c->kernel[1] * c->kernel[2];
    p.k = group_c * p.taps;
    p.sums = p.rows * (p.k + 1);
    p.b = MC_CPU(mc_dw_blocks_of)(c, POSITIONS);
    p.padded = MC_CPU(mc_padded_of)(c, p.b.images, p.b.count);
    p.channels = even(group_c, BUFFER / p.padded.plane);
    p.g_chunks = min64(c->group, CHUNKS);
    p.groups = ceil_div(c->group, p.g_chunks);
    p.g_chunks = ceil_div(c->group, p.groups);
    p.s_chunks = min64(min64(CHUNKS / p.g_chunks, p.b.total), positions / CHUNK_POSITIONS);
    p.s_blocks = ceil_div(p.b.total, max64(1, p.s_chunks));
    p.s_chunks = ceil_div(p.b.total, p.s_blocks);
    return p;
}

struct space { /* of one thread */
    float *dy, *buffer;
    int32_t *offset;
    struct mc_padded_load *loads;
};

static size_t lay_out(const struct plan *p, char *base, struct space *s)
{
    size_t at = 0;
    const struct mc_padded *d = &p->padded;
    int64_t extent = p->b.count[0] * d->size[1] * d->images * d->size[2];
    s->dy = part_of(base, &at, extent + 2 * LANES, sizeof *s->dy);
    s->buffer = part_of(base, &at, p->channels * d->plane, sizeof *s->buffer);
    s->offset = part_of(base, &at, p->channels * p->taps, sizeof *s->offset);
    s->loads = part_of(base, &at, d->phases[2] * d->loads, sizeof *s->loads);
    return at;
}

struct job {
    const struct mc_conv_grad *g;
    struct plan p;
    vf *sums; /* [group][chunk of positions][sums] */
    char *scratch;
    size_t worker_scratch;
};

static size_t lay_out_all(struct job *j, char *base, int threads)
{
    size_t at = 0;
    struct space s;
    j->worker_scratch = lay_out(&j->p, NULL, &s);
    j->sums = part_of(base, &at, j->p.c.group * j->p.s_chunks * j->p.sums, sizeof *j->sums);
    j->scratch = part_of(base, &at, threads, j->worker_scratch);
    return at;
}

size_t MC_CPU(mc_conv_dot_bytes)(const struct mc_conv *c, int threads)
{
    struct job j = {.p = make_plan(c)};
    return lay_out_all(&j, NULL, threads);
}

/* sum[t] += over i < n of dy[i] x[offset[t] + i], n whole vectors; taps is a constant where this is inlined. */
static inline __attribute__((always_inline)) void dot(const float *dy, const float *x,
                                                      const int32_t *offset, int64_t n, int taps,
                                                      vf *sum)
{
    const float *from[TAPS];
    vf s[TAPS];
#pragma GCC unroll 12
    for (int t = 0; t < taps; t++) {
        from[t] = x + offset[t];
        s[t] = sum[t];
    }
    for (int64_t i = 0; i < n; i += LANES) {
        vf d = vf_load(dy + i);
#pragma GCC unroll 12
        for (int t = 0; t < taps; t++)
            s[t] = vf_fma(d, vf_load(from[t] + i), s[t]);
    }
#pragma GCC unroll 12
    for (int t = 0; t < taps; t++)
        sum[t] = s[t];
}

typedef void dot_fn(const float *dy, const float *x, const int32_t *offset, int64_t n, vf *sum);

#define DOT(taps)                                                                                  \
    static void dot_##taps(const float *dy, const float *x, const int32_t *offset, int64_t n,      \
                           vf *sum)                                                                \
    {                                                                                              \
        dot(dy, x, offset, n, taps, sum);                                                          \
    }
/* clang-format off */
DOT(1) DOT(2) DOT(3) DOT(4) DOT(5) DOT(6) DOT(7) DOT(8) DOT(9) DOT(10) DOT(11) DOT(12)
    /* clang-format on */
    static dot_fn *const dots[TAPS] = {dot_1, dot_2, dot_3, dot_4,  dot_5,  dot_6,
                                       dot_7, dot_8, dot_9, dot_10, dot_11, dot_12};

static void add_all(const float *dy, int64_t n, vf *sum)
{
    vf s[4] = {*sum, {0}, {0}, {0}};
    for (int64_t i = 0; i < n; i += LANES)
        s[i / LANES % 4] += vf_load(dy + i);
    *sum = (s[0] + s[1]) + (s[2] + s[3]);
}

/* One filter's dy with gaps; returns the floats written, whole vectors. */
static int64_t fill_dy(const struct mc_conv *c, const struct mc_block *b, const struct mc_padded *p,
                       const float *dy, float *to)
{
    int64_t plane = c->out[0] * c->out[1] * c->out[2], rows = b->count[0] * p->size[1];
    float *end = to + ((b->count[0] - 1) * p->size[1] + b->count[1]) * b->images * p->size[2];
    float *start = to;
    for (int64_t r = 0; r < rows && to < end; r++) {
        int64_t z = r / p->size[1], y = r % p->size[1];
        if (y >= b->count[1]) {
            memset(to, 0, (size_t)(b->images * p->size[2]) * sizeof *to);
            to += b->images * p->size[2];
            continue;
        }
        const float *from =
            dy + ((b->first[0] + z) * c->out[1] + b->first[1] + y) * c->out[2] + b->first[2];
        for (int64_t i = 0; i < b->images; i++, from += c->oc * plane, to += p->size[2]) {
            int64_t x = 0;
            for (; x + LANES <= b->count[2]; x += LANES)
                vf_store(to + x, vf_load(from + x));
            vf_store(to + x, vf_load_mask(from + x, vm_first(b->count[2] - x)));
            for (x += LANES; x < p->size[2]; x += LANES)
                vf_store(to + x, vf_set1(0));
        }
    }
    vf_store(to, vf_set1(0));
    return ceil_div(end - start, LANES) * LANES;
}

/* Channels [i, i + n) of a group, which are in the buffer, with all its filters. */
static void multiply(const struct job *j, const struct space *s, const struct mc_block *b,
                     const struct mc_padded *padded, int64_t group, int64_t i, int64_t n, vf *sums)
{
    const struct plan *p = &j->p;
    const struct mc_conv *c = &p->c;
    int64_t plane = c->out[0] * c->out[1] * c->out[2], k = n * p->taps, step = even(k, TAPS);
    const float *dy = (const float *)j->g->dy + (b->image * c->oc + group * p->rows) * plane;
    for (int64_t r = 0; r < p->rows; r++) {
        int64_t count = fill_dy(c, b, padded, dy + r * plane, s->dy);
        vf *sum = sums + r * p->k + i * p->taps;
        for (int64_t t = 0; t < k; t += step)
            dots[min64(step, k - t) - 1](s->dy, s->buffer, s->offset + t, count, sum + t);
        if (i == 0 && j->g->db)
            add_all(s->dy, count, sums + p->rows * p->k + r);
    }
}

static void run_block(const struct job *j, const struct space *s, int64_t which, int64_t g0,
                      int64_t g1, int64_t s_chunk)
{
    const struct plan *p = &j->p;
    const struct mc_conv *c = &p->c;
    struct mc_block b = MC_CPU(mc_dw_block)(c, &p->b, which);
    struct mc_padded padded = MC_CPU(mc_padded_of)(c, b.images, b.count);
    int64_t group_c = c->c / c->group, plane = c->in[0] * c->in[1] * c->in[2];
    MC_CPU(mc_padded_rows)(c, &padded, &b, s->loads);
    for (int64_t t = 0; t < p->taps; t++) {
        int64_t at = MC_CPU(mc_padded_offset)(c, &padded, t);
        for (int64_t i = 0; i < p->channels; i++)
            s->offset[i * p->taps + t] = (int32_t)(at + i * padded.plane);
    }
    for (int64_t g = g0; g < g1; g++)
        for (int64_t i = 0; i < group_c; i += p->channels) {
            int64_t n = min64(p->channels, group_c - i);
            const float *x = (const float *)j->g->x + (b.image * c->c + g * group_c + i) * plane;
            MC_CPU(mc_padded_fill)(c, &padded, &b, s->loads, x, n, s->buffer);
            multiply(j, s, &b, &padded, g, i, n, j->sums + (g * p->s_chunks + s_chunk) * p->sums);
        }
}

static void compute_chunk(void *ctx, int64_t chunk, int worker)
{
    const struct job *j = ctx;
    const struct plan *p = &j->p;
    struct space s;
    lay_out(p, j->scratch + j->worker_scratch * (size_t)worker, &s);
    int64_t s_chunk = chunk % p->s_chunks, g0 = chunk / p->s_chunks * p->groups;
    int64_t g1 = min64(g0 + p->groups, p->c.group);
    for (int64_t g = g0; g < g1; g++)
        memset(j->sums + (g * p->s_chunks + s_chunk) * p->sums, 0,
               (size_t)p->sums * sizeof *j->sums);
    int64_t first = s_chunk * p->s_blocks, end = min64(first + p->s_blocks, p->b.total);
    for (int64_t b = first; b < end; b++)
        run_block(j, &s, b, g0, g1, s_chunk);
}

static float add_lanes(const vf *sum, int64_t n, int64_t step)
{
    vf s = sum[0];
    float r = 0;
    for (int64_t i = 1; i < n; i++)
        s += sum[i * step];
    for (int i = 0; i < LANES; i++)
        r += s[i];
    return r;
}

static void add_up(void *ctx, int64_t group, int worker)
{
    (void)worker;
    const struct job *j = ctx;
    const struct plan *p = &j->p;
    const vf *sums = j->sums + group * p->s_chunks * p->sums;
    int64_t n = p->rows * p->k;
    for (int64_t i = 0; i < n; i++)
        ((float *)j->g->dw)[group * n + i] = add_lanes(sums + i, p->s_chunks, p->sums);
    for (int64_t r = 0; j->g->db && r < p->rows; r++)
        ((float *)j->g->db)[group * p->rows + r] = add_lanes(sums + n + r, p->s_chunks, p->sums);
}

void MC_CPU(mc_conv_dot)(const struct mc_conv_grad *g, void *scratch, struct mc_pool *pool)
{
    struct job j = {.g = g, .p = make_plan(&g->c)};
    lay_out_all(&j, scratch, mc_pool_threads(pool));
    mc_pool_run(pool, j.p.g_chunks * j.p.s_chunks, compute_chunk, &j);
    mc_pool_run(pool, g->c.group, add_up, &j);
}
