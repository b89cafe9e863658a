/* The gradient of a convolution by its weights: a sum over positions of outer products of what a window holds and
 * what comes back. A chunk has some blocks of positions and some channels of a group. Per block dy is turned over, so that
 * the filters of a position are neighbours, and channels are copied with their padding as for the convolution
 * itself; then each tile of weights is summed over the positions of the block and added to the chunk's sums
 * [panel of filters][k][filter], which are added up in order at the end. */
#include <string.h>

#include "base/mem.h"
#include "kernels/cpu/blocks.h"
#include "kernels/cpu/conv_dw_cpu.h"
#include "kernels/cpu/grad_cpu.h"
#include "kernels/cpu/transpose_cpu.h"

enum {
    TURNED = 1 << 16, /* floats of dy in a block, about: a fraction of an L2 */
    POSITIONS = 480,  /* and positions: what 12 rows and a panel have of them stays near an L1 */
    LEAST_POSITIONS = 96,      /* adding a tile to the sums costs as much as some 15 positions */
    BUFFER = 1 << 16,          /* floats of copied channels, about */
    CHUNK_POSITIONS = 1 << 12, /* at least: adding up chunks stays below some percent */
    CHUNKS = 16,               /* wanted at most */
    SUMS = 1 << 20,            /* floats of all chunks, unless one alone has more */
    CHANNEL_K = 256, /* of a chunk, where channels are divided: dy is turned over for each */
};

struct mc_dw_blocks MC_CPU(mc_dw_blocks_of)(const struct mc_conv *c, int64_t fit)
{
    struct mc_dw_blocks b = {.images = 1, .count = {1, 1, even(c->out[2], fit)}};
    if (b.count[2] == c->out[2])
        b.count[1] = even(c->out[1], fit / max64(1, c->out[2]));
    int64_t plane = c->out[1] * c->out[2];
    if (b.count[2] == c->out[2] && b.count[1] == c->out[1]) {
        b.count[0] = even(c->out[0], fit / max64(1, plane));
        if (b.count[0] == c->out[0])
            b.images = even(c->n, fit / max64(1, plane * c->out[0]));
    }
    b.image_blocks = ceil_div(c->n, b.images);
    b.total = b.image_blocks;
    for (int d = 0; d < 3; d++) {
        b.blocks[d] = ceil_div(c->out[d], b.count[d]);
        b.total *= b.blocks[d];
    }
    b.positions = b.images * b.count[0] * b.count[1] * b.count[2];
    return b;
}

struct mc_block MC_CPU(mc_dw_block)(const struct mc_conv *c, const struct mc_dw_blocks *b,
                                    int64_t i)
{
    struct mc_block r;
    for (int d = 2; d >= 0; d--) {
        r.first[d] = i % b->blocks[d] * b->count[d];
        r.count[d] = min64(b->count[d], c->out[d] - r.first[d]);
        i /= b->blocks[d];
    }
    r.image = i * b->images;
    r.images = min64(b->images, c->n - r.image);
    return r;
}

/* What follows from the shape alone. */
struct plan {
    struct mc_conv c;      /* in its simplest equal form */
    int64_t rows, k, taps; /* filters of a group, their sizes */
    int64_t width;         /* rows in whole vectors */
    bool in_place;         /* pointwise: channels are read where they are */
    struct mc_dw_blocks b; /* of positions */
    int64_t channels;      /* copied at a time */
    int64_t s_chunks, s_blocks, c_chunks, c_channels; /* by positions, by channels */
    struct mc_padded padded;                          /* of the largest block */
};

static bool is_pointwise(const struct mc_conv *c)
{
    bool is = true;
    for (int d = 0; d < 3; d++)
        is =
            is && c->kernel[d] == 1 && c->stride[d] == 1 && c->pad[d] == 0 && c->in[d] == c->out[d];
    return is;
}

static struct plan make_plan(const struct mc_conv *given)
{
    struct plan p = {.c = MC_CPU(mc_conv_simplify)(given)};
    const struct mc_conv *c = &p.c;
    int64_t group_c = c->c / c->group;
    p.rows = c->oc / c->group;
    p.taps = c->kernel[0] * c->kernel[1] * c->kernel[2];
    p.k = group_c * p.taps;
    p.width = ceil_div(p.rows, LANES) * LANES;
    p.in_place = is_pointwise(c);
    p.b = MC_CPU(mc_dw_blocks_of)(c, max64(LEAST_POSITIONS, min64(POSITIONS, TURNED / p.width)));
    p.padded = MC_CPU(mc_padded_of)(c, p.b.images, p.b.count);
    int64_t positions = c->n * c->out[0] * c->out[1] * c->out[2];
    int64_t sums = max64(1, c->group * p.k * p.width);
    p.s_chunks = min64(min64(CHUNKS, p.b.total), positions / CHUNK_POSITIONS);
    p.s_chunks = max64(1, min64(p.s_chunks, SUMS / sums));
    p.s_blocks = ceil_div(p.b.total, p.s_chunks);
    p.s_chunks = max64(1, ceil_div(p.b.total, max64(1, p.s_blocks)));
    p.c_chunks = min64(CHUNKS / 2 / max64(1, p.s_chunks * c->group), p.k / CHANNEL_K);
    p.c_channels = even(group_c, ceil_div(group_c, max64(1, p.c_chunks)));
    p.c_chunks = max64(1, ceil_div(group_c, p.c_channels));
    p.channels = p.in_place ? p.c_channels : even(p.c_channels, BUFFER / p.padded.plane);
    return p;
}

/* ---- scratch ---- */

struct space { /* of one thread */
    float *turned;
    float *buffer;
    int32_t *at, *offset;
    struct mc_padded_load *loads;
};

static size_t lay_out(const struct plan *p, char *base, struct space *s)
{
    size_t at = 0;
    s->turned = part_of(base, &at, p->b.positions * p->width, sizeof *s->turned);
    s->buffer =
        part_of(base, &at, p->in_place ? 0 : p->channels * p->padded.plane, sizeof *s->buffer);
    s->at = part_of(base, &at, p->b.positions, sizeof *s->at);
    s->offset = part_of(base, &at, p->taps, sizeof *s->offset);
    s->loads = part_of(base, &at, p->padded.phases[2] * p->padded.loads, sizeof *s->loads);
    return at;
}

struct job {
    const struct mc_conv_grad *g;
    struct plan p;
    float *sums, *db; /* [group][chunk of positions][k * width], [width] */
    char *scratch;
    size_t worker_scratch;
};

static size_t lay_out_all(struct job *j, char *base, int threads)
{
    size_t at = 0;
    struct space s;
    int64_t chunks = j->p.c.group * j->p.s_chunks;
    j->worker_scratch = lay_out(&j->p, NULL, &s);
    j->sums = part_of(base, &at, chunks * j->p.k * j->p.width, sizeof *j->sums);
    j->db = part_of(base, &at, chunks * j->p.width, sizeof *j->db);
    j->scratch = part_of(base, &at, threads, j->worker_scratch);
    return at;
}

static bool is_empty(const struct mc_conv *c)
{
    return c->n * c->out[0] * c->out[1] * c->out[2] == 0 || c->oc == 0;
}

static size_t weight_bytes(const struct mc_conv *c, int threads)
{
    if (is_empty(c))
        return 0;
    if (dw_by_dots(c))
        return MC_CPU(mc_conv_dot_bytes)(c, threads);
    struct job j = {.p = make_plan(c)};
    return lay_out_all(&j, NULL, threads);
}

/* ---- a block ---- */

/* Vectors of the panel that begins with filter `first`. */
static int panel_vectors(const struct plan *p, int64_t first)
{
    return p->width - first > LANES ? 2 : 1;
}

/* LANES filters from `from` at most, n positions: to[position * step + filter]. */
static void turn(const float *from, int64_t row, int64_t rows, int64_t n, float *to, int64_t step)
{
    for (int64_t p = 0; p < n; p += LANES, to += LANES * step) {
        vm m = vm_first(n - p);
        vf r[LANES];
        bool whole = n - p >= LANES;
#pragma GCC unroll 16
        for (int i = 0; i < LANES; i++) {
            if (i >= rows)
                r[i] = vf_set1(0);
            else
                r[i] = whole ? vf_load(from + i * row + p) : vf_load_mask(from + i * row + p, m);
        }
        transpose_vectors(r);
        if (whole) {
#pragma GCC unroll 16
            for (int i = 0; i < LANES; i++)
                vf_store(to + i * step, r[i]);
        } else {
            for (int i = 0; i < n - p; i++)
                vf_store(to + i * step, r[i]);
        }
    }
}

/* dy of a block, panel by panel; n positions. */
static void turn_block(const struct job *j, const struct mc_block *b, int64_t group, int64_t n,
                       float *to)
{
    const struct plan *p = &j->p;
    const struct mc_conv *c = &p->c;
    int64_t plane = c->out[0] * c->out[1] * c->out[2], run = n / b->images;
    int64_t first = (b->first[0] * c->out[1] + b->first[1]) * c->out[2] + b->first[2];
    const float *dy =
        (const float *)j->g->dy + (b->image * c->oc + group * p->rows) * plane + first;
    for (int64_t f = 0; f < p->width; f += LANES) {
        int64_t panel = f / PANEL * PANEL, step = panel_vectors(p, panel) * LANES;
        for (int64_t i = 0; i < b->images; i++)
            turn(dy + (i * c->oc + f) * plane, plane, min64(LANES, p->rows - f), run,
                 to + panel * n + i * run * step + f - panel, step);
    }
}

static void add_db(const struct plan *p, const float *turned, int64_t n, float *db)
{
    for (int64_t f = 0; f < p->width; f += LANES) {
        int64_t panel = f / PANEL * PANEL, step = panel_vectors(p, panel) * LANES, i = 0;
        const float *from = turned + panel * n + f - panel;
        vf sum[4] = {vf_load(db + f), {0}, {0}, {0}};
        for (; i + 4 <= n; i += 4)
            for (int u = 0; u < 4; u++)
                sum[u] += vf_load(from + (i + u) * step);
        for (; i < n; i++)
            sum[0] += vf_load(from + i * step);
        vf_store(db + f, (sum[0] + sum[1]) + (sum[2] + sum[3]));
    }
}

/* Where the positions of a block begin in a channel: as turned, image by image. */
static void positions_of(const struct plan *p, const struct mc_block *b,
                         const struct mc_padded *padded, int32_t *at)
{
    const struct mc_conv *c = &p->c;
    int64_t plane = c->in[0] * c->in[1] * c->in[2];
    for (int64_t i = 0; i < b->images; i++)
        for (int64_t z = 0; z < b->count[0]; z++)
            for (int64_t y = 0; y < b->count[1]; y++) {
                int64_t row = p->in_place
                                  ? i * c->c * plane + (z * c->in[1] + y) * c->in[2]
                                  : ((z * padded->size[1] + y) * b->images + i) * padded->size[2];
                for (int64_t x = 0; x < b->count[2]; x++)
                    *at++ = (int32_t)(row + x);
            }
}

/* Rows [k0, k0 + n * taps) of the product for n channels, the first of which is at x. */
static void multiply(const struct plan *p, const struct space *s, const float *x, int64_t plane,
                     int64_t k0, int64_t n, int64_t positions, float *sums)
{
    const float *a[OUTER_ROWS];
    int64_t k = n * p->taps, rows = even(k, OUTER_ROWS);
    for (int64_t i = 0; i < k; i += rows) {
        int count = (int)min64(rows, k - i);
        for (int r = 0; r < count; r++)
            a[r] = x + (i + r) / p->taps * plane + s->offset[(i + r) % p->taps];
        for (int64_t panel = 0; panel < p->width; panel += PANEL) {
            int vectors = panel_vectors(p, panel);
            struct mc_outer o = {
                .a = a,
                .at = s->at,
                .n = positions,
                .b = s->turned + panel * positions,
                .c = sums + panel * p->k + (k0 + i) * vectors * LANES,
            };
            MC_CPU(mc_outer_tile)(&o, count, vectors);
        }
    }
}

static void run_block(const struct job *j, const struct space *s, int64_t group, int64_t which,
                      int64_t c0, int64_t c1, float *sums, float *db)
{
    const struct plan *p = &j->p;
    const struct mc_conv *c = &p->c;
    struct mc_block b = MC_CPU(mc_dw_block)(c, &p->b, which);
    struct mc_padded padded = MC_CPU(mc_padded_of)(c, b.images, b.count);
    int64_t n = b.images * b.count[0] * b.count[1] * b.count[2];
    int64_t plane = c->in[0] * c->in[1] * c->in[2];
    const float *x = (const float *)j->g->x + (b.image * c->c + group * (c->c / c->group)) * plane;
    turn_block(j, &b, group, n, s->turned);
    if (db && c0 == 0)
        add_db(p, s->turned, n, db);
    positions_of(p, &b, &padded, s->at);
    if (p->in_place) {
        int64_t first = (b.first[0] * c->in[1] + b.first[1]) * c->in[2] + b.first[2];
        s->offset[0] = 0;
        multiply(p, s, x + c0 * plane + first, plane, c0, c1 - c0, n, sums);
        return;
    }
    for (int64_t t = 0; t < p->taps; t++)
        s->offset[t] = (int32_t)MC_CPU(mc_padded_offset)(c, &padded, t);
    MC_CPU(mc_padded_rows)(c, &padded, &b, s->loads);
    for (int64_t i = c0; i < c1; i += p->channels) {
        int64_t count = min64(p->channels, c1 - i);
        MC_CPU(mc_padded_fill)(c, &padded, &b, s->loads, x + i * plane, count, s->buffer);
        multiply(p, s, s->buffer, padded.plane, i * p->taps, count, n, sums);
    }
}

static void compute_chunk(void *ctx, int64_t chunk, int worker)
{
    const struct job *j = ctx;
    const struct plan *p = &j->p;
    struct space s;
    lay_out(p, j->scratch + j->worker_scratch * (size_t)worker, &s);
    int64_t part = chunk % p->c_chunks, which = chunk / p->c_chunks;
    int64_t group = which / p->s_chunks, first = which % p->s_chunks * p->s_blocks;
    int64_t c0 = part * p->c_channels, c1 = min64(c0 + p->c_channels, p->c.c / p->c.group);
    float *sums = j->sums + which * p->k * p->width, *db = j->db + which * p->width;
    for (int64_t panel = 0; panel < p->width; panel += PANEL) {
        int64_t width = panel_vectors(p, panel) * LANES;
        memset(sums + panel * p->k + c0 * p->taps * width, 0,
               (size_t)((c1 - c0) * p->taps * width) * sizeof *sums);
    }
    if (part == 0)
        memset(db, 0, (size_t)p->width * sizeof *db);
    for (int64_t b = first; b < min64(first + p->s_blocks, p->b.total); b++)
        run_block(j, &s, group, b, c0, c1, sums, j->g->db ? db : NULL);
}

/* ---- adding up ---- */

/* LANES filters of a group. */
static void add_up(void *ctx, int64_t chunk, int worker)
{
    (void)worker;
    const struct job *j = ctx;
    const struct plan *p = &j->p;
    int64_t vectors = p->width / LANES, group = chunk / vectors, f = chunk % vectors * LANES;
    int64_t panel = f / PANEL * PANEL, step = panel_vectors(p, panel) * LANES;
    int64_t rows = min64(LANES, p->rows - f), next = p->k * p->width;
    const float *from = j->sums + group * p->s_chunks * next + panel * p->k + f - panel;
    float *to = (float *)j->g->dw + (group * p->rows + f) * p->k;
    for (int64_t k = 0; k < p->k; k += LANES) {
        int64_t n = min64(LANES, p->k - k);
        vm m = vm_first(n);
        vf r[LANES];
        for (int i = 0; i < LANES; i++) {
            r[i] = vf_set1(0);
            for (int64_t s = 0; i < n && s < p->s_chunks; s++)
                r[i] += vf_load(from + s * next + (k + i) * step);
        }
        transpose_vectors(r);
        for (int i = 0; i < rows; i++)
            vf_store_mask(to + i * p->k + k, r[i], m);
    }
    if (!j->g->db)
        return;
    const float *db = j->db + group * p->s_chunks * p->width + f;
    vf sum = vf_load(db);
    for (int64_t s = 1; s < p->s_chunks; s++)
        sum += vf_load(db + s * p->width);
    vf_store_mask((float *)j->g->db + group * p->rows + f, sum, vm_first(rows));
}

static void zeros(float *to, int64_t n)
{
    if (to)
        memset(to, 0, (size_t)n * sizeof *to);
}

static void weight(const struct mc_conv_grad *g, void *scratch, struct mc_pool *pool)
{
    const struct mc_conv *c = &g->c;
    if (is_empty(c)) {
        zeros(g->dw, c->oc * (c->c / c->group) * c->kernel[0] * c->kernel[1] * c->kernel[2]);
        zeros(g->db, c->oc);
        return;
    }
    if (dw_by_dots(c)) {
        MC_CPU(mc_conv_dot)(g, scratch, pool);
        return;
    }
    struct job j = {.g = g, .p = make_plan(c)};
    lay_out_all(&j, scratch, mc_pool_threads(pool));
    mc_pool_run(pool, c->group * j.p.s_chunks * j.p.c_chunks, compute_chunk, &j);
    mc_pool_run(pool, c->group * (j.p.width / LANES), add_up, &j);
}

void MC_CPU(mc_conv_dw_fill)(struct mc_conv_grad_kernels *k)
{
    k->weight_bytes = weight_bytes;
    k->weight = weight;
}
