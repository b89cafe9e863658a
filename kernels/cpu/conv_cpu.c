/* Implicit matrix product: the weights [oc, k] are the side packed once, in tiles of rows; patches make the
 * panels. A chunk is some tiles by some panels of one group; per block of k it gathers its panels (L2), then
 * each tile of weights (L1) meets all of them. A panel takes its columns from as many images as it needs, so
 * that small images fill it too. */
#include <math.h>
#include <stdbool.h>
#include <string.h>

#include "kernels/cpu/act_cpu.h"
#include "kernels/cpu/blocks.h"
#include "kernels/cpu/conv_cpu.h"
#include "kernels/fill.h"

enum {
    K_BLOCK = 384,         /* a tile of weights, 384 * 12 floats, is 18 KiB: well inside an L1 */
    CHUNK_TILES = 4,       /* at least, so that gathering stays below a few percent */
    CHUNKS = 16,           /* wanted, for threads */
    CHUNK_FLOPS = 1 << 21, /* but not smaller than this */
};

/* What follows from the shape alone. */
struct plan {
    struct mc_conv c;                  /* in its simplest equal form */
    int64_t rows, k, columns;          /* of one group's product */
    int64_t tile, tiles;               /* rows per tile */
    int64_t k_block;                   /* rows of a panel gathered at a time */
    int64_t chunk_tiles, chunk_panels; /* per chunk */
    int64_t m_chunks, n_chunks;        /* per group */
    size_t group_w, worker_scratch;    /* floats of one group's packed weights; of one thread */
};

static bool depthwise(const struct mc_conv *c)
{
    return c->group > 1 && c->group == c->c;
}

/* A pointwise convolution sees an image as one row, so that runs are as long as can be. */
static struct mc_conv simplify(const struct mc_conv *given)
{
    struct mc_conv c = *given;
    bool pointwise = true;
    for (int i = 0; i < 3; i++)
        pointwise &= c.kernel[i] == 1 && c.stride[i] == 1 && c.pad[i] == 0 && c.in[i] == c.out[i];
    if (pointwise) {
        c.in[2] *= c.in[0] * c.in[1];
        c.out[2] = c.in[2];
        c.in[0] = c.in[1] = c.out[0] = c.out[1] = 1;
    }
    return c;
}

static struct plan make_plan(const struct mc_conv *given)
{
    struct plan p = {.c = simplify(given)};
    const struct mc_conv *c = &p.c;
    p.rows = c->oc / c->group;
    p.k = c->c / c->group * c->kernel[0] * c->kernel[1] * c->kernel[2];
    p.columns = c->n * c->out[0] * c->out[1] * c->out[2];
    p.tile = ceil_div(p.rows, max64(1, ceil_div(p.rows, TILE_ROWS)));
    p.tile = max64(1, p.tile);
    p.tiles = ceil_div(p.rows, p.tile);
    p.k_block = max64(1, ceil_div(p.k, max64(1, ceil_div(p.k, K_BLOCK))));
    p.group_w = (size_t)(p.tiles * p.tile) * (size_t)p.k;

    int64_t panels = max64(1, ceil_div(p.columns, PANEL));
    double flops = 2.0 * (double)p.rows * (double)p.k * (double)p.columns * (double)c->group;
    int64_t wanted =
        flops < (double)CHUNKS * CHUNK_FLOPS ? (int64_t)(flops / CHUNK_FLOPS) + 1 : CHUNKS;
    /* Weights are read once per chunk of columns, so columns are split no more than L2 asks for. */
    p.chunk_panels = ceil_div(panels, ceil_div(panels, CHUNK_PANELS));
    p.n_chunks = ceil_div(panels, p.chunk_panels);
    p.m_chunks = min64(ceil_div(wanted, c->group * p.n_chunks), ceil_div(p.tiles, CHUNK_TILES));
    p.chunk_tiles = max64(1, ceil_div(p.tiles, max64(1, p.m_chunks)));
    p.m_chunks = ceil_div(p.tiles, p.chunk_tiles);
    p.worker_scratch = (size_t)((p.chunk_panels * p.k_block + 2 * TILE_ROWS) * PANEL);
    return p;
}

static size_t pack_w_bytes(const struct mc_conv *c)
{
    struct plan p = make_plan(c);
    return (depthwise(c) ? (size_t)p.rows * (size_t)p.k : p.group_w) * (size_t)c->group *
           sizeof(float);
}

struct pack_job {
    const struct plan *p;
    const float *w;
    float *dst;
};

/* One tile: [block of k][k in block][tile rows] within its group; rows that do not exist are zeros. */
static void pack_tile(void *ctx, int64_t chunk, int worker)
{
    (void)worker;
    const struct pack_job *j = ctx;
    const struct plan *p = j->p;
    int64_t group = chunk / p->tiles, t = chunk % p->tiles;
    int64_t channels = max64(1, p->c.c / p->c.group), taps = p->k / channels;
    const float *w = j->w + (group * p->rows + t * p->tile) * p->k;
    float *dst = j->dst + group * (int64_t)p->group_w;
    for (int64_t k = 0; k < p->k; k++) {
        int64_t k0 = k / p->k_block * p->k_block, kc = min64(p->k_block, p->k - k0);
        float *to = dst + k0 * p->tiles * p->tile + (t * kc + k - k0) * p->tile;
        int64_t from = k % channels * taps + k / channels;
        for (int64_t r = 0; r < p->tile; r++)
            to[r] = t * p->tile + r < p->rows ? w[r * p->k + from] : 0;
    }
}

static void pack_w(const struct mc_conv *c, const void *w, void *dst, struct mc_pool *pool)
{
    if (depthwise(c)) {
        memcpy(dst, w, pack_w_bytes(c));
        return;
    }
    struct plan p = make_plan(c);
    struct pack_job j = {&p, w, dst};
    mc_pool_run(pool, c->group * p.tiles, pack_tile, &j);
}

static size_t scratch_bytes(const struct mc_conv *c, int threads)
{
    if (depthwise(c))
        return MC_CPU(mc_depthwise_scratch)(c, threads);
    return make_plan(c).worker_scratch * sizeof(float) * (size_t)threads;
}

struct job {
    const struct plan *p;
    float *scratch;
};

/* Where a tile's columns lie in y: spans of one image each. */
static void spread(const struct plan *p, int64_t channel, int64_t column, int rows, int cols,
                   float *memory, float *tile, bool to_memory)
{
    int64_t size = p->c.out[0] * p->c.out[1] * p->c.out[2];
    for (int at = 0; at < cols;) {
        int64_t image = (column + at) / size, position = (column + at) % size;
        int count = (int)min64(size - position, cols - at);
        float *m = memory + (image * p->c.oc + channel) * size + position;
        for (int i = 0; i < rows; i++) {
            float *t = tile + i * PANEL + at;
            if (to_memory)
                memcpy(m + i * size, t, (size_t)count * sizeof *t);
            else
                memcpy(t, m + i * size, (size_t)count * sizeof *t);
        }
        at += count;
    }
}

/* One tile of output channels, from `channel` on, at one panel. */
static void compute_tile(const struct plan *p, const struct mc_tile_in *in, int64_t channel,
                         int64_t column, int rows, int cols, int64_t k0, float *tile)
{
    const struct mc_epilogue *e = &p->c.epilogue;
    const float *bias = e->bias;
    float *y = p->c.y, *residual = (float *)e->residual;
    bool last = k0 + in->k == p->k, clamp = last && e->act == MC_ACT_CLAMP;
    int64_t size = p->c.out[0] * p->c.out[1] * p->c.out[2];
    int64_t image = column / size, at = (image * p->c.oc + channel) * size + column % size;
    bool apart = column % size + cols > size; /* in more than one image */
    float *prior = k0 > 0 ? y : residual;
    struct mc_tile_store s = {
        .c = y + at,
        .c_row = size,
        .alpha = 1,
        .row_bias = k0 == 0 && bias ? bias + channel : NULL,
        .prior = prior ? prior + at : NULL,
        .lo = clamp ? (float)e->lo : -INFINITY,
        .hi = clamp ? (float)e->hi : INFINITY,
    };
    if (apart) {
        s.c = tile;
        s.c_row = PANEL;
        if (prior) {
            s.prior = tile;
            spread(p, channel, column, rows, cols, prior, tile, false);
        }
    }
    MC_CPU(mc_tile)(in, rows, cols, &s);
    if (last)
        MC_CPU(mc_act_block)(e, s.c, s.c_row, rows, cols);
    if (apart)
        spread(p, channel, column, rows, cols, y, tile, true);
}

static void compute_chunk(void *ctx, int64_t chunk, int worker)
{
    const struct job *j = ctx;
    const struct plan *p = j->p;
    const struct mc_conv *c = &p->c;
    int64_t group = chunk / (p->m_chunks * p->n_chunks);
    int64_t t0 = chunk % p->m_chunks * p->chunk_tiles, t1 = min64(t0 + p->chunk_tiles, p->tiles);
    int64_t col0 = chunk / p->m_chunks % p->n_chunks * p->chunk_panels * PANEL;
    int64_t col1 = min64(col0 + p->chunk_panels * PANEL, p->columns);
    int64_t plane = c->in[0] * c->in[1] * c->in[2];
    float *panels = j->scratch + (int64_t)p->worker_scratch * worker;
    float *tile = panels + p->chunk_panels * p->k_block * PANEL;
    const float *w = (const float *)c->packed_w + group * (int64_t)p->group_w;
    int64_t k0 = 0;
    do {
        int64_t kc = min64(p->k_block, p->k - k0);
        struct mc_patches patches = {
            .c = c,
            .x = (const float *)c->x + group * (c->c / c->group) * plane,
            .column = col0,
            .columns = col1 - col0,
            .k0 = k0,
            .kc = kc,
            .dst = panels,
        };
        MC_CPU(mc_patches_gather)(&patches);
        for (int64_t t = t0; t < t1; t++) {
            int rows = (int)min64(p->tile, p->rows - t * p->tile);
            for (int64_t col = col0; col < col1; col += PANEL) {
                struct mc_tile_in in = {
                    .a = w + k0 * p->tiles * p->tile + t * kc * p->tile,
                    .b = panels + (col - col0) * kc,
                    .k = kc,
                    .a_row = 1,
                    .a_col = p->tile,
                };
                compute_tile(p, &in, group * p->rows + t * p->tile, col, rows,
                             (int)min64(PANEL, col1 - col), k0, tile);
            }
        }
        k0 += kc;
    } while (k0 < p->k);
}

static void run(const struct mc_conv *c, void *scratch, struct mc_pool *pool)
{
    if (depthwise(c)) {
        MC_CPU(mc_depthwise_run)(c, scratch, pool);
        return;
    }
    struct plan p = make_plan(c);
    struct job j = {&p, scratch};
    if (p.columns > 0)
        mc_pool_run(pool, c->group * p.m_chunks * p.n_chunks, compute_chunk, &j);
}

void MC_CPU(mc_conv_fill)(struct mc_conv_kernels *k)
{
    *k = (struct mc_conv_kernels){pack_w_bytes, pack_w, scratch_bytes, run};
}
