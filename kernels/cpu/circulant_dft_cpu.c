/* Circulant products by transforms that are products with matrices, for blocks too short for fast ones.
 *
 * Many rows: PANEL rows are the lanes of a panel; x_j as [b, PANEL] meets the matrix of the transform, spectra lie as
 * [frequency][block][lane], so that the product of each frequency, too, has rows as its lanes and weights as scalars.
 * Few rows: lanes are the blocks of a row in the transforms and outputs in the products, so that weights, read once, are
 * what vectors hold. Both read the same packed weights. */
#include <string.h>

#include "kernels/cpu/circulant_cpu.h"

enum {
    FEW_ROWS = 8,            /* at most, of a tile whose lanes are not rows */
    GATHER_COLS = 64,        /* columns turned over at a time: 8 KiB of L1 */
    SPECTRA_BYTES = 1 << 18, /* of x in a tile of rows: a quarter of an L2 */
    PANELS = 4,              /* per tile, at most */
};

/* ---- packed: matrix, inverse matrix, weights ---- */

/* Weights: frequency 0, then the complex ones, then b/2 if b is even. Each frequency is [group of outputs][input][outputs of a
 * group], complex ones [real, imaginary][outputs of a group]. */
struct weights {
    int64_t b, in, groups, width; /* groups of at most LANES outputs */
    const float *at;
};

static struct weights weights(const struct mc_circulant *c, const float *packed)
{
    int64_t out = circulant_out(c), width = even(out, LANES);
    return (struct weights){c->b, circulant_in(c), ceil_div(out, width), width,
                            packed + 2 * MC_CPU(mc_circulant_matrix_floats)(c->b)};
}

static bool is_real(int64_t b, int64_t k)
{
    return k == 0 || 2 * k == b;
}

static const float *weights_at(const struct weights *w, int64_t k, int64_t group)
{
    int64_t block = w->in * w->width; /* one group, real */
    int64_t before = k == 0 ? 0 : 2 * k - 1;
    return w->at + (before * w->groups + group * (is_real(w->b, k) ? 1 : 2)) * block;
}

size_t MC_CPU(mc_circulant_dft_bytes)(const struct mc_circulant *c)
{
    struct weights w = weights(c, NULL);
    /* Whole vectors are read at the end of the last group. */
    int64_t floats =
        2 * MC_CPU(mc_circulant_matrix_floats)(c->b) + w.b * w.in * w.groups * w.width + LANES;
    return (size_t)floats * sizeof(float);
}

struct pack_job {
    const struct mc_circulant *c;
    struct weights w;
    const float *col, *matrix;
};

/* One group of outputs and one input: outputs are the lanes. */
static void pack_some(void *ctx, int64_t chunk, int worker)
{
    (void)worker;
    const struct pack_job *j = ctx;
    const struct weights *w = &j->w;
    int64_t b = w->b, group = chunk / w->in, i = chunk % w->in, o0 = group * w->width;
    int n = (int)min64(w->width, circulant_out(j->c) - o0);
    float panel[MC_CIRCULANT_DFT_MOST * PANEL] __attribute__((aligned(64)));
    float spectrum[MC_CIRCULANT_DFT_MOST * PANEL] __attribute__((aligned(64)));
    const float *from[PANEL];
    for (int l = 0; l < n; l++)
        from[l] = circulant_col(j->c, j->col, o0 + l, i);
    MC_CPU(mc_circulant_gather)(from, n, b, panel);
    MC_CPU(mc_circulant_matrix_run)(b, j->matrix, panel, LANES, spectrum, PANEL);
    for (int64_t k = 0; 2 * k <= b; k++) {
        bool real = is_real(b, k);
        float *to = (float *)weights_at(w, k, group) + i * w->width * (real ? 1 : 2);
        for (int64_t l = 0; l < w->width; l++) {
            to[l] = l < n ? spectrum[k * PANEL + l] : 0;
            if (!real)
                to[w->width + l] = l >= n             ? 0
                                   : j->c->transposed ? -spectrum[(b - k) * PANEL + l]
                                                      : spectrum[(b - k) * PANEL + l];
        }
    }
}

void MC_CPU(mc_circulant_dft_pack)(const struct mc_circulant *c, const float *col, float *packed,
                                   struct mc_pool *pool)
{
    struct pack_job j = {c, weights(c, packed), col, packed};
    MC_CPU(mc_circulant_matrix_pack)(c->b, MC_CIRCULANT_HALF, packed);
    MC_CPU(mc_circulant_matrix_pack)
    (c->b, MC_CIRCULANT_HALF_INVERSE, packed + MC_CPU(mc_circulant_matrix_floats)(c->b));
    mc_pool_run(pool, j.w.groups * j.w.in, pack_some, &j);
    memset((float *)j.w.at + j.w.b * j.w.in * j.w.groups * j.w.width, 0, LANES * sizeof(float));
}

/* ---- a product ---- */

struct dft_job {
    const struct mc_circulant_product *m;
    struct weights w;
    const float *matrix, *inverse;
    float *scratch;
    int64_t in, out, b;
    int64_t turn;     /* columns in a buffer for turning over */
    int64_t tile;     /* rows */
    int64_t each;     /* floats of scratch per worker */
    int64_t x_step;   /* many rows: floats from frequency to frequency in the spectra of x */
    int64_t y_step;   /* from block to block in those of y */
    int64_t x_floats; /* of a panel's spectra of x */
    int64_t y_floats; /* of y */
    bool few;
};

/* Blocks turned over together. */
static int64_t blocks_at_once(int64_t b)
{
    return max64(1, GATHER_COLS / b);
}

static void sizes(struct dft_job *j, const struct mc_circulant *c, int64_t rows)
{
    j->in = circulant_in(c);
    j->out = circulant_out(c);
    j->b = c->b;
    j->turn = blocks_at_once(j->b) * j->b;
    j->few = rows <= FEW_ROWS;
    if (j->few) {
        j->tile = rows;
        j->x_step = ceil_div(rows * j->in, PANEL) * PANEL;
        j->y_step = ceil_div(rows * j->out, PANEL) * PANEL;
        j->x_floats = j->b * j->x_step;
        j->y_floats = j->b * j->y_step + LANES;
        j->each = j->x_floats + circulant_line(j->y_floats) + 2 * j->b * PANEL;
        return;
    }
    /* Odd numbers of lines apart: powers of two would all meet in a few sets of the cache. */
    j->x_step = (j->in | 1) * PANEL;
    j->y_step = (j->b | 1) * PANEL;
    j->x_floats = j->b * j->x_step;
    j->y_floats = j->out * j->y_step;
    int64_t fit = SPECTRA_BYTES / (4 * max64(j->x_floats, j->y_floats));
    int64_t panels = max64(1, min64(PANELS, fit));
    j->tile = PANEL * min64(panels, ceil_div(rows, PANEL));
    j->each = j->tile / PANEL * (j->x_floats + j->y_floats) + j->turn * PANEL;
}

size_t MC_CPU(mc_circulant_dft_scratch)(const struct mc_circulant *c, int64_t rows, int threads)
{
    struct dft_job j;
    sizes(&j, c, rows);
    return (size_t)(j.each * threads) * sizeof(float);
}

/* z of one group of outputs at one frequency. */
static void mix(const struct dft_job *j, struct mc_circulant_mix *x, int64_t k, int64_t group,
                int lanes)
{
    const struct weights *w = &j->w;
    bool real = is_real(j->b, k);
    x->n = j->in;
    x->wr = weights_at(w, k, group);
    x->wi = x->wr + w->width;
    x->w_step = w->width * (real ? 1 : 2);
    if (real)
        x->xi = NULL;
    MC_CPU(mc_circulant_mix)(x, min64(w->width, j->out - group * w->width), lanes);
}

static int lanes_of(int64_t rows, int64_t panel)
{
    return (int)min64(PANEL, rows - panel * PANEL);
}

static void to_spectra(const struct dft_job *j, int64_t row, int n, float *x, float *turn)
{
    const float *from[PANEL];
    int64_t b = j->b, step = blocks_at_once(b);
    for (int64_t i0 = 0; i0 < j->in; i0 += step) {
        int64_t blocks = min64(step, j->in - i0);
        for (int l = 0; l < n; l++)
            from[l] = (const float *)j->m->x + (row + l) * j->m->ldx + i0 * b;
        MC_CPU(mc_circulant_gather)(from, n, blocks * b, turn);
        for (int64_t i = 0; i < blocks; i++)
            MC_CPU(mc_circulant_matrix_run)
        (b, j->matrix, turn + i * b * PANEL, n, x + (i0 + i) * PANEL, j->x_step);
    }
}

static void from_spectra(const struct dft_job *j, int64_t row, int n, const float *y, float *turn)
{
    const struct mc_circulant_product *m = j->m;
    const float *bias = m->epilogue.bias, *residual = m->epilogue.residual;
    int64_t b = j->b, step = blocks_at_once(b);
    struct mc_circulant_scatter s = {.n = n, .epilogue = &m->epilogue};
    for (int64_t o0 = 0; o0 < j->out; o0 += step) {
        int64_t blocks = min64(step, j->out - o0);
        for (int64_t o = 0; o < blocks; o++)
            MC_CPU(mc_circulant_matrix_run)
        (b, j->inverse, y + (o0 + o) * j->y_step, n, turn + o * b * PANEL, PANEL);
        for (int l = 0; l < n; l++) {
            int64_t at = (row + l) * m->ldy + o0 * b;
            s.to[l] = (float *)m->y + at;
            s.residual[l] = residual ? residual + at : NULL;
            s.bias[l] = bias ? bias + o0 * b : NULL;
        }
        s.cols = blocks * b;
        MC_CPU(mc_circulant_scatter)(turn, &s);
    }
}

/* A tile of rows, which are lanes. */
static void many(void *ctx, int64_t chunk, int worker)
{
    const struct dft_job *j = ctx;
    int64_t row = chunk * j->tile, rows = min64(j->tile, j->m->rows - row);
    int64_t panels = ceil_div(rows, PANEL), b = j->b;
    float *x = j->scratch + worker * j->each, *y = x + j->tile / PANEL * j->x_floats;
    float *turn = y + j->tile / PANEL * j->y_floats;
    for (int64_t p = 0; p < panels; p++)
        to_spectra(j, row + p * PANEL, lanes_of(rows, p), x + p * j->x_floats, turn);
    for (int64_t k = 0; 2 * k <= b; k++) {
        for (int64_t group = 0; group < j->w.groups; group++) {
            for (int64_t p = 0; p < panels; p++) {
                const float *from = x + p * j->x_floats;
                float *to = y + p * j->y_floats + group * j->w.width * j->y_step;
                struct mc_circulant_mix mx = {
                    .xr = from + k * j->x_step,
                    .xi = from + (b - k) * j->x_step,
                    .x_step = PANEL,
                    .zr = to + k * PANEL,
                    .zi = to + (b - k) * PANEL,
                    .z_step = j->y_step,
                };
                mix(j, &mx, k, group, lanes_of(rows, p));
            }
        }
    }
    for (int64_t p = 0; p < panels; p++)
        from_spectra(j, row + p * PANEL, lanes_of(rows, p), y + p * j->y_floats, turn);
}

/* ---- few rows ---- */

/* Sums of one group of outputs for `rows` rows; real and imaginary part of a weight are `width` apart. Two sums for each
 * part, as one would wait for itself. */
static inline __attribute__((always_inline)) void few_sums(const struct dft_job *j, int64_t k,
                                                           int64_t group, const float *x, float *y,
                                                           int rows)
{
    bool real = is_real(j->b, k);
    const float *w = weights_at(&j->w, k, group);
    int64_t in = j->in, width = j->w.width, step = width * (real ? 1 : 2);
    const float *xr = x + k * j->x_step, *xi = x + (j->b - k) * j->x_step;
    vf a[4], c[4], d[4], e[4];
#pragma GCC unroll 4
    for (int r = 0; r < rows; r++)
        a[r] = c[r] = d[r] = e[r] = vf_set1(0);
    for (int64_t i = 0; i < in; i++, w += step) {
        vf wr = vf_load(w);
        if (real) {
#pragma GCC unroll 4
            for (int r = 0; r < rows; r++)
                a[r] = vf_fma(wr, vf_set1(xr[r * in + i]), a[r]);
            continue;
        }
        vf wi = vf_load(w + width);
#pragma GCC unroll 4
        for (int r = 0; r < rows; r++) {
            vf re = vf_set1(xr[r * in + i]), im = vf_set1(xi[r * in + i]);
            a[r] = vf_fma(wr, re, a[r]);
            c[r] = vf_fma(wi, im, c[r]);
            d[r] = vf_fma(wr, im, d[r]);
            e[r] = vf_fma(wi, re, e[r]);
        }
    }
    vm m = vm_first(min64(width, j->out - group * width));
    y += group * width;
#pragma GCC unroll 4
    for (int r = 0; r < rows; r++) {
        vf_store_mask(y + k * j->y_step + r * j->out, a[r] - c[r], m);
        if (!real)
            vf_store_mask(y + (j->b - k) * j->y_step + r * j->out, d[r] + e[r], m);
    }
}

static void few_mix(const struct dft_job *j, int64_t rows, const float *x, float *y)
{
    for (int64_t k = 0; 2 * k <= j->b; k++) {
        for (int64_t g = 0; g < j->w.groups; g++) {
            int64_t r = 0;
            for (; r + 4 <= rows; r += 4)
                few_sums(j, k, g, x + r * j->in, y + r * j->out, 4);
            for (; r + 2 <= rows; r += 2)
                few_sums(j, k, g, x + r * j->in, y + r * j->out, 2);
            if (r < rows)
                few_sums(j, k, g, x + r * j->in, y + r * j->out, 1);
        }
    }
}

/* All rows: a lane is a block of a row. */
static void few(const struct dft_job *j)
{
    const struct mc_circulant_product *m = j->m;
    const float *bias = m->epilogue.bias, *residual = m->epilogue.residual;
    int64_t rows = m->rows, b = j->b, n = rows * j->in;
    float *x = j->scratch, *y = x + j->x_floats, *turn = y + circulant_line(j->y_floats);
    float *back = turn + b * PANEL;
    for (int64_t l0 = 0; l0 < n; l0 += PANEL) {
        const float *from[PANEL];
        int lanes = (int)min64(PANEL, n - l0);
        for (int l = 0; l < lanes; l++)
            from[l] = (const float *)m->x + (l0 + l) / j->in * m->ldx + (l0 + l) % j->in * b;
        MC_CPU(mc_circulant_gather)(from, lanes, b, turn);
        MC_CPU(mc_circulant_matrix_run)(b, j->matrix, turn, lanes, x + l0, j->x_step);
    }
    few_mix(j, rows, x, y);
    n = rows * j->out;
    for (int64_t l0 = 0; l0 < n; l0 += PANEL) {
        struct mc_circulant_scatter s = {
            .n = (int)min64(PANEL, n - l0), .cols = b, .epilogue = &m->epilogue};
        for (int l = 0; l < s.n; l++) {
            int64_t block = (l0 + l) % j->out * b, at = (l0 + l) / j->out * m->ldy + block;
            s.to[l] = (float *)m->y + at;
            s.residual[l] = residual ? residual + at : NULL;
            s.bias[l] = bias ? bias + block : NULL;
        }
        for (int64_t k = 0; k < b; k++)
            memcpy(turn + k * PANEL, y + k * j->y_step + l0, PANEL * sizeof *turn);
        MC_CPU(mc_circulant_matrix_run)(b, j->inverse, turn, s.n, back, PANEL);
        MC_CPU(mc_circulant_scatter)(back, &s);
    }
}

void MC_CPU(mc_circulant_dft_run)(const struct mc_circulant_product *m, float *scratch,
                                  struct mc_pool *pool)
{
    const float *packed = m->packed;
    struct dft_job j = {.m = m, .w = weights(&m->c, packed), .scratch = scratch};
    j.matrix = packed;
    j.inverse = packed + MC_CPU(mc_circulant_matrix_floats)(m->c.b);
    sizes(&j, &m->c, m->rows);
    if (j.few)
        few(&j);
    else
        mc_pool_run(pool, ceil_div(m->rows, j.tile), many, &j);
}
