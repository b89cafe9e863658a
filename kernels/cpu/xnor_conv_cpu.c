/* Places of the output lie in lanes, filters are rows: so planes of words are read, and y is written, along a row of the image.
 * A panel holds what lies under the windows of PANEL neighbouring places, bit behind bit over taps and channels, and is made in
 * a worker's scratch for all filters of a chunk.
 *
 * Outside, bits are 0 and so count as -1: what that took from a sum is given back, for all taps with the same lanes outside at
 * once. */
#include <string.h>

#include "base/mem.h"
#include "kernels/cpu/xnor_cpu.h"

enum {
    CHUNKS = 16,  /* wanted, for threads */
    FILTERS = 64, /* of a chunk at least, a multiple of 32 */
};

struct plan {
    struct mc_xnor_conv c;
    int64_t pixels, places, taps, k, pairs; /* of an output plane; of all */
    int64_t words, in_pixels;               /* of an input pixel; of an input plane */
    int64_t panels, block, n_blocks;        /* filters of a chunk */
    int64_t row_bytes, groups;
    int64_t outside, masks, sums,
        worker; /* words: where they start in a worker's scratch, its size */
};

static int64_t round_up(int64_t n, int64_t to)
{
    return ceil_div(n, to) * to;
}

static struct plan make_plan(const struct mc_xnor_conv *c)
{
    struct plan p = {.c = *c,
                     .pixels = c->out[0] * c->out[1],
                     .taps = c->kernel[0] * c->kernel[1],
                     .words = MC_XNOR_WORDS(c->channels),
                     .in_pixels = c->in[0] * c->in[1]};
    if (p.taps == 1 && c->stride[0] == 1 && c->stride[1] == 1 && c->pad[0] == 0 && c->pad[1] == 0 &&
        p.pixels == p.in_pixels) { /* one long row */
        p.c.in[0] = p.c.out[0] = 1;
        p.c.in[1] = p.c.out[1] = p.pixels;
    }
    p.k = c->channels * p.taps;
    p.pairs = mc_xnor_pairs(p.k);
    p.row_bytes = MC_XNOR_BYTES(p.k);
    p.groups = ceil_div(c->filters, TILE_ROWS);
    p.places = c->n * p.pixels;
    p.panels = ceil_div(p.places, PANEL);
    p.n_blocks = min64(ceil_div(c->filters, FILTERS), ceil_div(CHUNKS, max64(p.panels, 1)));
    p.block = round_up(ceil_div(c->filters, max64(p.n_blocks, 1)), 32);
    p.n_blocks = ceil_div(c->filters, max64(p.block, 1));
    p.outside = mc_xnor_panel_words(p.pairs);
    p.masks = p.outside + 2 * p.taps;
    p.sums = p.masks + p.taps * PANEL;
    p.worker = round_up(p.sums + p.taps * p.block, MC_ALIGN / (int64_t)sizeof(uint32_t));
    return p;
}

/* ---- weights: operands of groups, then for each tap the sums of all filters' signs ---- */

static size_t pack_w_bytes(const struct mc_xnor_conv *c)
{
    struct plan p = make_plan(c);
    return (size_t)(p.groups * mc_xnor_group_words(p.pairs) + p.taps * p.groups * TILE_ROWS) *
               sizeof(uint32_t) +
           (size_t)(TILE_ROWS * p.row_bytes); /* a group's rows on their way */
}

static void pack_w(const struct mc_xnor_conv *c, const uint8_t *rows, void *dst,
                   struct mc_pool *pool)
{
    (void)pool;
    struct plan p = make_plan(c);
    uint32_t *to = dst;
    int32_t *sums = (int32_t *)(to + p.groups * mc_xnor_group_words(p.pairs));
    uint8_t *turned = (uint8_t *)(sums + p.taps * p.groups * TILE_ROWS);
    memset(sums, 0, (size_t)(p.taps * p.groups * TILE_ROWS) * sizeof *sums);
    for (int64_t g = 0; g < p.groups; g++, to += mc_xnor_group_words(p.pairs)) {
        int64_t n = min64(TILE_ROWS, c->filters - g * TILE_ROWS);
        memset(turned, 0, (size_t)(TILE_ROWS * p.row_bytes));
        for (int64_t i = 0; i < n; i++) {
            const uint8_t *from = rows + (g * TILE_ROWS + i) * p.row_bytes;
            for (int64_t t = 0; t < p.taps; t++)
                for (int64_t ch = 0; ch < c->channels; ch++) {
                    int64_t at = ch * p.taps + t, bit = t * c->channels + ch;
                    unsigned one = from[at / 8] >> at % 8 & 1;
                    turned[i * p.row_bytes + bit / 8] |= (uint8_t)(one << bit % 8);
                    sums[t * p.groups * TILE_ROWS + g * TILE_ROWS + i] += one ? 1 : -1;
                }
        }
        MC_CPU(mc_xnor_rows)(turned, p.row_bytes, p.row_bytes, (int)n, p.pairs, to);
    }
}

/* ---- a panel ---- */

struct run {                         /* lanes [lo, hi) that lie in one row of an output plane */
    int64_t lo, hi, image, row, col; /* col: of lane 0, were it in that row */
};

struct reach { /* lanes [lo, hi) whose tap lies inside; lane 0 would read the word at `at` */
    int64_t lo, hi, at;
    vm some; /* those lanes */
};

struct piece { /* lanes that lie in one output plane; at: in the first plane of all */
    int64_t lane, len, at;
};

struct chunk {
    const struct plan *p;
    uint32_t *made;
    uint32_t *outside;     /* [taps] a bit for each lane */
    uint32_t *seen;        /* [n_masks] the different ones of them */
    int32_t *masks, *sums; /* [n_masks][PANEL], -1 where outside; [n_masks][block] */
    int64_t n_masks;
    int64_t first, lanes, filter, filters;
    struct piece piece[PANEL];
    int n_pieces;
};

/* Words as they come, in pairs to an operand. */
struct feed {
    vu hold, first, past;
    int64_t bits, words;
    uint32_t *to;
};

static inline void emit(struct feed *f, vu word)
{
    if (f->words++ % 2 == 0) {
        f->first = word;
        return;
    }
    vu_store(f->to, f->past ^ f->first);
    vu_store(f->to + PANEL, f->past ^ word);
    vu_store(f->to + 2 * PANEL, f->past);
    f->past ^= f->first ^ word;
    f->to += 3 * PANEL;
}

/* `bits` more of each lane, 1 to 32; those above are 0. */
static inline void append(struct feed *f, vu v, int64_t bits)
{
    if (f->bits == 0 && bits == 32) {
        emit(f, v);
        return;
    }
    f->hold |= v << (uint32_t)f->bits;
    f->bits += bits;
    if (f->bits < 32)
        return;
    emit(f, f->hold);
    f->bits -= 32;
    f->hold = f->bits ? v >> (uint32_t)(bits - f->bits) : (vu){0};
}

static int find_runs(const struct plan *p, int64_t first, int64_t lanes, struct run *run)
{
    int64_t image = first / p->pixels, pixel = first % p->pixels;
    int64_t row = pixel / p->c.out[1], col = pixel % p->c.out[1];
    int n = 0;
    for (int64_t i = 0; i < lanes; n++, col = 0) {
        int64_t len = min64(lanes - i, p->c.out[1] - col);
        run[n] = (struct run){i, i + len, image, row, col - i};
        i += len;
        if (++row == p->c.out[0]) {
            row = 0;
            image++;
        }
    }
    return n;
}

static int64_t floor_div(int64_t a, int64_t b)
{
    return b == 1 ? a : a >= 0 ? a / b : -ceil_div(-a, b);
}

/* Lanes that tap (y, x) finds inside; returns how many runs have some. */
static int find_reach(const struct plan *p, const struct run *run, int n, int64_t y, int64_t x,
                      struct reach *to)
{
    const struct mc_xnor_conv *c = &p->c;
    int64_t shift = x * c->dilation[1] - c->pad[1], step = c->stride[1];
    int found = 0;
    for (int i = 0; i < n; i++) {
        int64_t row = run[i].row * c->stride[0] + y * c->dilation[0] - c->pad[0];
        if (row < 0 || row >= c->in[0])
            continue;
        struct reach r = {
            .lo = max64(run[i].lo, -floor_div(shift, step) - run[i].col),
            .hi = min64(run[i].hi, floor_div(c->in[1] - 1 - shift, step) + 1 - run[i].col)};
        r.at = run[i].image * p->words * p->in_pixels + row * c->in[1] + run[i].col * step + shift;
        r.some = vm_range(r.lo, r.hi);
        if (r.lo < r.hi)
            to[found++] = r;
    }
    return found;
}

static inline vu read_lanes(const uint32_t *plane, const struct reach *r, int n, int64_t step)
{
    vu v = {0};
    if (step == 1) {
        for (int i = 0; i < n; i++)
            v = vu_load_more(v, plane + r[i].at, r[i].some);
        return v;
    }
    uint32_t one[LANES] = {0};
    for (int i = 0; i < n; i++)
        for (int64_t lane = r[i].lo; lane < r[i].hi; lane++)
            one[lane] = plane[r[i].at + lane * step];
    return vu_load(one);
}

/* Vector `v` of the panel; outside[tap] gets a bit for each lane. */
static void make_vector(const struct chunk *h, int v, uint32_t *outside)
{
    const struct plan *p = h->p;
    int64_t lanes = min64(LANES, h->lanes - v * LANES);
    struct run run[LANES];
    struct reach reach[LANES];
    struct feed f = {.to = h->made + v * LANES};
    int n = find_runs(p, h->first + v * LANES, lanes, run);
    for (int64_t t = 0; t < p->taps; t++) {
        int found = find_reach(p, run, n, t / p->c.kernel[1], t % p->c.kernel[1], reach);
        uint32_t inside = 0;
        for (int i = 0; i < found; i++)
            inside |= ((1u << reach[i].hi) - 1) & ~((1u << reach[i].lo) - 1);
        outside[t] |= (((1u << lanes) - 1) & ~inside) << v * LANES;
        for (int64_t w = 0; w < p->words; w++)
            append(&f, read_lanes(p->c.x + w * p->in_pixels, reach, found, p->c.stride[1]),
                   min64(32, p->c.channels - 32 * w));
    }
    if (f.bits)
        emit(&f, f.hold);
    while (f.words < 2 * p->pairs)
        emit(&f, (vu){0});
    vu_store(f.to, f.past);
}

/* Taps with the same lanes outside become one mask, with the sum of what they took. */
static void add_mask(struct chunk *h, uint32_t lanes, int64_t tap)
{
    const struct plan *p = h->p;
    const int32_t *took = (const int32_t *)((const uint32_t *)p->c.packed_w +
                                            p->groups * mc_xnor_group_words(p->pairs)) +
                          tap * p->groups * TILE_ROWS + h->filter;
    int64_t m = 0;
    while (m < h->n_masks && h->seen[m] != lanes)
        m++;
    int32_t *sums = h->sums + m * p->block;
    if (m == h->n_masks) {
        h->seen[h->n_masks++] = lanes;
        for (int i = 0; i < PANEL; i++)
            h->masks[m * PANEL + i] = -(int32_t)(lanes >> i & 1);
        memset(sums, 0, (size_t)p->block * sizeof *sums);
    }
    for (int64_t i = 0; i < h->filters; i++)
        sums[i] += took[i];
}

static void make_panel(struct chunk *h)
{
    memset(h->outside, 0, (size_t)h->p->taps * sizeof *h->outside);
    h->n_masks = 0;
    for (int v = 0; v * LANES < h->lanes; v++)
        make_vector(h, v, h->outside);
    for (int64_t t = 0; t < h->p->taps; t++) {
        if (h->outside[t])
            add_mask(h, h->outside[t], t);
    }
}

/* ---- the output ---- */

static inline vi with_outside(const struct chunk *h, const int32_t *sum, int64_t filter, int v)
{
    vi x = *(const vi_unaligned *)(sum + v * LANES);
    for (int64_t m = 0; m < h->n_masks; m++)
        x += *(const vi_unaligned *)(h->masks + m * PANEL + v * LANES) &
             (h->sums[m * h->p->block + filter - h->filter] - (vi){0});
    return x;
}

/* Where the lanes go, among planes of which each image has `planes`. */
static void find_pieces(struct chunk *h, int64_t planes)
{
    const struct plan *p = h->p;
    for (int64_t i = 0; i < h->lanes;) {
        int64_t place = h->first + i, pixel = place % p->pixels;
        int64_t len = min64(h->lanes - i, p->pixels - pixel);
        h->piece[h->n_pieces++] =
            (struct piece){i, len, place / p->pixels * planes * p->pixels + pixel};
        i += len;
    }
}

static void spread(const struct chunk *h, const void *lanes, int64_t plane)
{
    for (int i = 0; i < h->n_pieces; i++) {
        const struct piece *q = h->piece + i;
        memcpy((float *)h->p->c.y + q->at + plane * h->p->pixels, (const float *)lanes + q->lane,
               (size_t)q->len * sizeof(float));
    }
}

static void put_floats(const struct chunk *h, const int32_t *sum, int64_t filter)
{
    const struct plan *p = h->p;
    const struct mc_xnor_out *to = &p->c.to;
    vf scale = vf_set1(to->scale ? ((const float *)to->scale)[filter] : 1);
    vf bias = vf_set1(to->bias ? ((const float *)to->bias)[filter] : 0);
    bool whole = h->n_pieces == 1 && h->lanes == PANEL;
    _Alignas(MC_ALIGN) float lanes[PANEL];
    float *y = whole ? (float *)p->c.y + h->piece[0].at + filter * p->pixels : lanes;
    for (int v = 0; v * LANES < h->lanes; v++) {
        vf x = __builtin_convertvector(with_outside(h, sum, filter, v), vf) * scale;
        vf_store(y + v * LANES, to->bias ? x + bias : x);
    }
    if (!whole)
        spread(h, lanes, filter);
}

/* word: bits of the filters before this one. */
static void put_bits(const struct chunk *h, const int32_t *sum, int64_t filter, uint32_t *word)
{
    const struct mc_xnor_out *to = &h->p->c.to;
    vi least = to->least[filter] - (vi){0}, most = to->most[filter] - (vi){0};
    for (int v = 0; v * LANES < h->lanes; v++) {
        vi x = with_outside(h, sum, filter, v);
        vu in = (vu)((least <= x) & (x <= most)) & vu_set1(1u << filter % 32);
        vu_store(word + v * LANES, filter % 32 ? vu_load(word + v * LANES) | in : in);
    }
    if (filter % 32 == 31 || filter == h->p->c.filters - 1)
        spread(h, word, filter / 32);
}

struct job {
    struct plan plan;
    uint32_t *scratch;
};

static void compute_chunk(void *ctx, int64_t index, int worker)
{
    const struct job *j = ctx;
    const struct plan *p = &j->plan;
    uint32_t *scratch = j->scratch + worker * p->worker;
    struct chunk h = {.p = p,
                      .made = scratch,
                      .outside = scratch + p->outside,
                      .seen = scratch + p->outside + p->taps,
                      .masks = (int32_t *)(scratch + p->masks),
                      .sums = (int32_t *)(scratch + p->sums),
                      .first = index / p->n_blocks * PANEL,
                      .filter = index % p->n_blocks * p->block};
    h.lanes = min64(PANEL, p->places - h.first);
    h.filters = min64(p->block, p->c.filters - h.filter);
    make_panel(&h);
    find_pieces(&h, p->c.to.least ? MC_XNOR_WORDS(p->c.filters) : p->c.filters);
    struct mc_xnor_tile t = {.lanes = h.made, .n_cols = (int)h.lanes, .k = p->k, .pairs = p->pairs};
    _Alignas(MC_ALIGN) int32_t sum[TILE_ROWS * PANEL];
    _Alignas(MC_ALIGN) uint32_t word[PANEL];
    for (int64_t f = h.filter; f < h.filter + h.filters; f += TILE_ROWS) {
        t.rows = (const uint32_t *)p->c.packed_w + f / TILE_ROWS * mc_xnor_group_words(p->pairs);
        t.n_rows = (int)min64(TILE_ROWS, h.filter + h.filters - f);
        MC_CPU(mc_xnor_tile)(&t, sum);
        for (int i = 0; i < t.n_rows; i++) {
            if (p->c.to.least)
                put_bits(&h, sum + i * PANEL, f + i, word);
            else
                put_floats(&h, sum + i * PANEL, f + i);
        }
    }
}

static size_t scratch_bytes(const struct mc_xnor_conv *c, int threads)
{
    return (size_t)(make_plan(c).worker * threads) * sizeof(uint32_t);
}

static void conv(const struct mc_xnor_conv *c, void *scratch, struct mc_pool *pool)
{
    struct job j = {.plan = make_plan(c), .scratch = scratch};
    mc_pool_run(pool, j.plan.panels * j.plan.n_blocks, compute_chunk, &j);
}

void MC_CPU(mc_xnor_conv_fill)(struct mc_xnor_kernels *k)
{
    k->pack_w_bytes = pack_w_bytes;
    k->pack_w = pack_w;
    k->conv_scratch_bytes = scratch_bytes;
    k->conv = conv;
}
