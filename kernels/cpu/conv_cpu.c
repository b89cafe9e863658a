/* A product of the packed weights [oc, k] with the buffers that conv_cpu.h describes. A chunk is some rows of
 * weights by one block of outputs, for a few groups; per block of k it copies the channels it needs (L2),
 * then each tile of weights (L1) meets all vectors of outputs. */
#include <math.h>
#include <stdbool.h>

#include "base/mem.h"
#include "kernels/cpu/act_cpu.h"
#include "kernels/cpu/blocks.h"
#include "kernels/cpu/conv_cpu.h"
#include "kernels/fill.h"

enum {
    K_BLOCK = 512,          /* a tile of weights, 512 * 12 floats, is 24 KiB: inside an L1 */
    BUFFER = 1 << 16,       /* floats, about: a fraction of an L2 */
    POSITIONS = 1024,       /* outputs of a block, at most; their bookkeeping stays small */
    LEAST = 8 * LANES,      /* and not less, where there are so many */
    CHUNK_TILES = 4,        /* at least, so that copying stays below a few percent */
    CHUNKS = 16,            /* wanted, for threads */
    CHUNK_FLOPS = 1 << 21,  /* but not smaller than this */
    GROUPS_FLOPS = 1 << 19, /* small groups are worked on together up to this */
};

/* What follows from the shape alone. */
struct plan {
    struct mc_conv c;                  /* in its simplest equal form */
    int64_t rows, k, taps;             /* of one group's product */
    int64_t tile, tiles;               /* rows per tile */
    int64_t channels;                  /* of a block of k; with parts > 1 it is one */
    int64_t part, parts;               /* taps of a block of k, blocks per channel */
    int64_t images, count[3];          /* per block of outputs */
    int64_t blocks[3], image_blocks;   /* how many there are */
    int64_t chunk_groups, chunk_tiles; /* per chunk */
    int64_t fill_groups;               /* copied together */
    int64_t g_chunks, m_chunks, o_chunks;
    struct mc_padded padded; /* of the largest block */
    size_t group_w;          /* floats of one group's packed weights */
};

struct mc_conv MC_CPU(mc_conv_simplify)(const struct mc_conv *given)
{
    struct mc_conv c = *given;
    bool pointwise = true;
    for (int i = 0; i < 2 && c.in[2] == 1 && c.out[2] == 1 && c.kernel[2] == 1 && !c.pad[2]; i++) {
        for (int d = 2; d > 0; d--) {
            c.in[d] = c.in[d - 1];
            c.out[d] = c.out[d - 1];
            c.kernel[d] = c.kernel[d - 1];
            c.stride[d] = c.stride[d - 1];
            c.dilation[d] = c.dilation[d - 1];
            c.pad[d] = c.pad[d - 1];
        }
        c.in[0] = c.out[0] = c.kernel[0] = c.stride[0] = c.dilation[0] = 1;
        c.pad[0] = 0;
    }
    for (int i = 0; i < 3; i++)
        pointwise &= c.kernel[i] == 1 && c.stride[i] == 1 && c.pad[i] == 0 && c.in[i] == c.out[i];
    if (pointwise) {
        c.in[2] *= c.in[0] * c.in[1];
        c.out[2] = c.in[2];
        c.in[0] = c.in[1] = c.out[0] = c.out[1] = 1;
    }
    return c;
}

static void plan_k(struct plan *p)
{
    const struct mc_conv *c = &p->c;
    p->rows = c->oc / c->group;
    p->taps = c->kernel[0] * c->kernel[1] * c->kernel[2];
    p->k = c->c / c->group * p->taps;
    p->tile = even(p->rows, TILE_ROWS);
    p->tiles = ceil_div(p->rows, p->tile);
    p->channels = even(c->c / c->group, K_BLOCK / p->taps);
    p->part = even(p->taps, K_BLOCK);
    p->parts = ceil_div(p->taps, p->part);
    p->group_w = (size_t)(p->tiles * p->tile) * (size_t)p->k;
}

/* Whole rows, then whole planes, then several images: as many as fit. */
static void plan_outputs(struct plan *p)
{
    const struct mc_conv *c = &p->c;
    const int64_t one[3] = {1, 1, 1};
    struct mc_padded unit = MC_CPU(mc_padded_of)(c, 1, one);
    int64_t phases = unit.phases[0] * unit.phases[1] * unit.phases[2];
    int64_t fit = BUFFER / (p->channels * phases);
    fit = max64(LEAST, min64(fit, POSITIONS)) / LANES * LANES;
    int64_t row = even(c->out[2], fit);
    p->count[2] = row < c->out[2] ? ceil_div(row, LANES) * LANES : c->out[2];
    p->count[0] = p->count[1] = p->images = 1;
    int64_t width = MC_CPU(mc_padded_of)(c, 1, p->count).size[2];
    if (p->count[2] == c->out[2])
        p->count[1] = even(c->out[1], fit / max64(1, width));
    if (p->count[2] == c->out[2] && p->count[1] == c->out[1]) {
        int64_t plane = width * c->out[1];
        p->count[0] = even(c->out[0], fit / max64(1, plane));
        if (p->count[0] == c->out[0])
            p->images = even(c->n, fit / max64(1, plane * c->out[0]));
    }
    p->image_blocks = ceil_div(c->n, p->images);
    for (int d = 0; d < 3; d++)
        p->blocks[d] = ceil_div(c->out[d], p->count[d]);
    p->padded = MC_CPU(mc_padded_of)(c, p->images, p->count);
}

static struct plan make_plan(const struct mc_conv *given)
{
    struct plan p = {.c = MC_CPU(mc_conv_simplify)(given)};
    plan_k(&p);
    plan_outputs(&p);
    p.o_chunks = p.image_blocks * p.blocks[0] * p.blocks[1] * p.blocks[2];
    double outs = (double)(p.images * p.count[0] * p.count[1]) * (double)p.count[2];
    double flops = 2 * (double)p.rows * (double)p.k * outs; /* of one group in one block */
    double all = flops * (double)(p.c.group * p.o_chunks);
    int64_t wanted = all < (double)CHUNKS * CHUNK_FLOPS ? (int64_t)(all / CHUNK_FLOPS) + 1 : CHUNKS;
    p.chunk_groups = flops < GROUPS_FLOPS ? (int64_t)(GROUPS_FLOPS / (flops + 1)) + 1 : 1;
    p.chunk_groups = even(p.c.group, p.chunk_groups);
    p.g_chunks = ceil_div(p.c.group, p.chunk_groups);
    bool whole = p.parts == 1 && p.channels == p.c.c / p.c.group;
    p.fill_groups =
        whole ? min64(p.chunk_groups, max64(1, BUFFER / (p.channels * p.padded.plane))) : 1;
    p.m_chunks =
        min64(ceil_div(wanted, max64(1, p.g_chunks * p.o_chunks)), ceil_div(p.tiles, CHUNK_TILES));
    p.chunk_tiles = even(p.tiles, ceil_div(p.tiles, max64(1, p.m_chunks)));
    p.m_chunks = ceil_div(p.tiles, p.chunk_tiles);
    return p;
}

/* ---- packing ---- */

static size_t pack_w_bytes(const struct mc_conv *c)
{
    return make_plan(c).group_w * (size_t)c->group * sizeof(float);
}

/* A block of k: taps [tap, tap + taps) of `channels` channels; as rows of the product, [k0, k0 + k). */
struct k_block {
    int64_t channel, channels, tap, taps, k0, k;
};

static bool next_block(const struct plan *p, struct k_block *b)
{
    int64_t all = p->k / max64(1, p->taps);
    if (b->k == 0) {
        *b = (struct k_block){.channels = min64(p->channels, all)};
    } else if (b->tap + b->taps < p->taps) {
        b->tap += b->taps;
    } else {
        b->channel += b->channels;
        b->channels = min64(p->channels, all - b->channel);
        b->tap = 0;
    }
    b->taps = min64(p->part, p->taps - b->tap);
    b->k0 = b->channel * p->taps + b->tap;
    b->k = b->channels * b->taps;
    return b->k > 0;
}

struct pack_job {
    const struct plan *p;
    const struct mc_conv_weights *w;
    float *dst;
};

/* One tile: [block of k][tile][k in block][tile rows] within its group; rows that do not exist are zeros. */
static void pack_tile(void *ctx, int64_t chunk, int worker)
{
    (void)worker;
    const struct pack_job *j = ctx;
    const struct plan *p = j->p;
    int64_t group = chunk / p->tiles, t = chunk % p->tiles;
    const struct mc_conv_weights *w = j->w;
    const float *first = w->w + group * w->group_step + t * p->tile * w->row_step;
    int64_t rows = min64(p->tile, p->rows - t * p->tile);
    float *dst = j->dst + group * (int64_t)p->group_w;
    for (struct k_block b = {0}; next_block(p, &b);) {
        float *to = dst + b.k0 * p->tiles * p->tile + t * b.k * p->tile;
        for (int64_t i = b.channel; i < b.channel + b.channels; i++)
            for (int64_t tap = b.tap; tap < b.tap + b.taps; tap++, to += p->tile) {
                const float *from = first + i * w->channel_step + (w->tap ? w->tap[tap] : tap);
                for (int64_t r = 0; r < rows; r++)
                    to[r] = from[r * w->row_step];
                for (int64_t r = rows; r < p->tile; r++)
                    to[r] = 0;
            }
    }
}

void MC_CPU(mc_conv_pack)(const struct mc_conv *c, const struct mc_conv_weights *w, void *dst,
                          struct mc_pool *pool)
{
    struct plan p = make_plan(c);
    struct pack_job j = {&p, w, dst};
    mc_pool_run(pool, c->group * p.tiles, pack_tile, &j);
}

static void pack_w(const struct mc_conv *c, const void *w, void *dst, struct mc_pool *pool)
{
    int64_t taps = c->kernel[0] * c->kernel[1] * c->kernel[2], k = c->c / c->group * taps;
    struct mc_conv_weights own = {w, c->oc / c->group * k, k, taps, NULL};
    MC_CPU(mc_conv_pack)(c, &own, dst, pool);
}

/* ---- scratch ---- */

struct space { /* of one thread */
    float *buffer;
    int32_t *offset;
    struct mc_padded_load *loads;
    struct mc_cover *cover;
    struct mc_piece *piece;
};

/* Bytes of one thread's scratch; base NULL only counts. */
static size_t lay_out(const struct plan *p, char *base, struct space *s)
{
    size_t at = 0;
    int64_t rows = p->images * p->count[0] * p->count[1];
    int64_t pieces = rows * (ceil_div(p->count[2], LANES) + 1) + 8;
    s->buffer =
        part_of(base, &at, p->fill_groups * p->channels * p->padded.plane, sizeof *s->buffer);
    s->offset = part_of(base, &at, p->channels * p->part, sizeof *s->offset);
    s->loads = part_of(base, &at, p->padded.phases[2] * p->padded.loads, sizeof *s->loads);
    s->cover = part_of(base, &at, pieces, sizeof *s->cover);
    s->piece = part_of(base, &at, pieces, sizeof *s->piece);
    return at;
}

static size_t scratch_bytes(const struct mc_conv *c, int threads)
{
    struct plan p = make_plan(c);
    struct space s;
    return lay_out(&p, NULL, &s) * (size_t)threads;
}

/* ---- running ---- */

struct job {
    const struct plan *p;
    char *scratch;
    size_t worker_scratch;
};

struct work { /* a chunk */
    const struct plan *p;
    struct space s;
    struct mc_block block;
    struct mc_padded padded;
    int vectors; /* of the cover */
    int64_t plane;
    int64_t t0, t1; /* tiles */
};

/* Outputs in the order of the buffer; a vector starts at the first that is not in the one before. */
static void cover(struct work *w)
{
    const struct mc_conv *c = &w->p->c;
    const struct mc_block *b = &w->block;
    const struct mc_padded *p = &w->padded;
    int64_t images = b->images, rows = b->count[0] * b->count[1] * images, end = 0;
    struct mc_cover *v = w->s.cover - 1;
    struct mc_piece *piece = w->s.piece - 1;
    for (int64_t r = 0; r < rows; r++) {
        int64_t i = r % images, y = r / images % b->count[1], z = r / images / b->count[1];
        int64_t at = ((z * p->size[1] + y) * images + i) * p->size[2], stop = at + b->count[2];
        int64_t to = ((b->first[0] + z) * c->out[1] + b->first[1] + y) * c->out[2] + b->first[2] +
                     (b->image + i) * c->oc * w->plane - at;
        while (at < stop) {
            if (at >= end) {
                *++v = (struct mc_cover){.at = at, .first = (int)(piece + 1 - w->s.piece)};
                end = at + LANES;
            }
            int64_t lane = at - v->at, count = min64(stop, end) - at, y0 = to + v->at;
            if (v->pieces && piece->y == y0 && piece->lane + piece->count == lane) {
                piece->count += (int)count;
            } else {
                *++piece = (struct mc_piece){.y = y0, .lane = (int)lane, .count = (int)count};
                v->pieces++;
            }
            piece->lanes = vm_range(piece->lane, piece->lane + piece->count);
            at += count;
        }
    }
    w->vectors = (int)(v + 1 - w->s.cover);
}

static void activate(const struct mc_epilogue *e, const struct mc_direct *d, int rows, int vectors)
{
    if (e->act == MC_ACT_NONE || e->act == MC_ACT_CLAMP)
        return;
    for (int v = 0; v < vectors; v++) {
        const struct mc_piece *p = d->piece + d->cover[v].first, *end = p + d->cover[v].pieces;
        for (; p < end; p++)
            MC_CPU(mc_act_block)(e, d->y + p->y + p->lane, d->y_row, rows, p->count);
    }
}

/* All vectors of the block with the chunk's tiles, for one block of k. */
static void multiply(const struct work *w, int64_t group, const float *buffer,
                     const struct k_block *b)
{
    const struct plan *p = w->p;
    const struct mc_epilogue *e = &p->c.epilogue;
    bool last = b->k0 + b->k == p->k, clamp = last && e->act == MC_ACT_CLAMP;
    const float *weights = (const float *)p->c.packed_w + group * (int64_t)p->group_w;
    const float *scale = e->scale, *bias = b->k0 == 0 ? e->bias : NULL,
                *prior = b->k0 > 0 ? p->c.y : e->residual;
    for (int64_t t = w->t0; t < w->t1; t++) {
        int rows = (int)min64(p->tile, p->rows - t * p->tile);
        int64_t channel = group * p->rows + t * p->tile;
        struct mc_direct d = {
            .a = weights + b->k0 * p->tiles * p->tile + t * b->k * p->tile,
            .k = b->k,
            .rows_packed = p->tile,
            .b = buffer,
            .offset = w->s.offset,
            .cover = w->s.cover,
            .piece = w->s.piece,
            .y = (float *)p->c.y + channel * w->plane,
            .y_row = w->plane,
            .scale = scale ? scale + channel : NULL,
            .bias = bias ? bias + channel : NULL,
            .prior = prior ? prior + channel * w->plane : NULL,
            .lo = clamp ? (float)e->lo : -INFINITY,
            .hi = clamp ? (float)e->hi : INFINITY,
        };
        int step = direct_vectors(rows);
        for (int v = 0; v < w->vectors; v += step, d.cover += step) {
            while (step > w->vectors - v)
                step /= 2;
            MC_CPU(mc_direct_tile)(&d, rows, step);
            if (last)
                activate(e, &d, rows, step);
        }
    }
}

static void make_offsets(const struct work *w, const struct k_block *b)
{
    int32_t *to = w->s.offset;
    for (int64_t t = 0; t < b->taps; t++) {
        int64_t at = MC_CPU(mc_padded_offset)(&w->p->c, &w->padded, b->tap + t);
        for (int64_t i = 0; i < b->channels; i++)
            to[i * b->taps + t] = (int32_t)(at + i * w->padded.plane);
    }
}

/* Groups [g0, g1), whose channels fit the buffer together. */
static void run_groups(const struct work *w, int64_t g0, int64_t g1, bool first)
{
    const struct plan *p = w->p;
    const struct mc_conv *c = &p->c;
    int64_t plane = c->in[0] * c->in[1] * c->in[2];
    const float *x =
        (const float *)c->x + g0 * (c->c / c->group) * plane + w->block.image * c->c * plane;
    struct k_block b = {0};
    next_block(p, &b);
    do {
        if (first || b.k < p->k)
            make_offsets(w, &b);
        if (b.tap == 0)
            MC_CPU(mc_padded_fill)
        (c, &w->padded, &w->block, w->s.loads, x + b.channel * plane, (g1 - g0) * b.channels,
         w->s.buffer);
        for (int64_t g = g0; g < g1; g++)
            multiply(w, g, w->s.buffer + (g - g0) * b.channels * w->padded.plane, &b);
    } while (next_block(p, &b));
}

static void compute_chunk(void *ctx, int64_t chunk, int worker)
{
    const struct job *j = ctx;
    const struct plan *p = j->p;
    const struct mc_conv *c = &p->c;
    struct work w = {.p = p, .plane = c->out[0] * c->out[1] * c->out[2]};
    lay_out(p, j->scratch + j->worker_scratch * (size_t)worker, &w.s);
    int64_t rest = chunk;
    w.t0 = rest % p->m_chunks * p->chunk_tiles;
    w.t1 = min64(w.t0 + p->chunk_tiles, p->tiles);
    rest /= p->m_chunks;
    int64_t g0 = rest % p->g_chunks * p->chunk_groups, g1 = min64(g0 + p->chunk_groups, c->group);
    rest /= p->g_chunks;
    for (int d = 2; d >= 0; d--) {
        w.block.first[d] = rest % p->blocks[d] * p->count[d];
        w.block.count[d] = min64(p->count[d], c->out[d] - w.block.first[d]);
        rest /= p->blocks[d];
    }
    w.block.image = rest * p->images;
    w.block.images = min64(p->images, c->n - w.block.image);
    w.padded = MC_CPU(mc_padded_of)(c, w.block.images, w.block.count);
    MC_CPU(mc_padded_rows)(c, &w.padded, &w.block, w.s.loads);
    cover(&w);
    for (int64_t g = g0; g < g1; g += p->fill_groups)
        run_groups(&w, g, min64(g + p->fill_groups, g1), g == g0);
}

static void run(const struct mc_conv *c, void *scratch, struct mc_pool *pool)
{
    struct plan p = make_plan(c);
    struct space s;
    struct job j = {&p, scratch, lay_out(&p, NULL, &s)};
    if (c->n > 0 && c->oc > 0 && c->out[0] > 0 && c->out[1] > 0 && c->out[2] > 0)
        mc_pool_run(pool, p.o_chunks * p.g_chunks * p.m_chunks, compute_chunk, &j);
}

void MC_CPU(mc_conv_fill)(struct mc_conv_kernels *k)
{
    *k = (struct mc_conv_kernels){pack_w_bytes, pack_w, scratch_bytes, run};
}
