/* Implicit matrix product, channels last: rows of A are output places, columns output channels. */
#include <string.h>

#include "base/mem.h"
#include "kernels/cpu/blocks.h"
#include "kernels/cpu/conv_s8_cpu.h"
#include "kernels/cpu/rows_s8_cpu.h"
#include "kernels/fill.h"
#include "kernels/move.h"

/* ---- weights ---- */

static struct mc_s8_pack packing(const struct mc_conv_s8 *c, const void *w)
{
    int64_t per = c->c / c->group, of = c->oc / c->group, taps = c->kernel[0] * c->kernel[1];
    return (struct mc_s8_pack){.k = taps * c->kernel[2] * per,
                               .n = of,
                               .inner = c->kernel[2] * per,
                               .depth = per,
                               .outer = c->kernel[2],
                               .hop = 1,
                               .row = taps * c->kernel[2],
                               .col = taps * c->kernel[2] * per,
                               .data = w,
                               .is_signed = c->w_signed};
}

static size_t group_bytes(const struct mc_conv_s8 *c)
{
    struct mc_s8_pack p = packing(c, NULL);
    return mc_s8_round_up(MC_CPU(mc_s8_pack_bytes)(&p));
}

static size_t pack_w_bytes(const struct mc_conv_s8 *c)
{
    return mc_conv_s8_is_dw(c) ? MC_CPU(mc_conv_dw_s8_w_bytes)(c)
                               : (size_t)c->group * group_bytes(c);
}

static void pack_w(const struct mc_conv_s8 *c, const void *w, void *dst, struct mc_pool *pool)
{
    if (mc_conv_s8_is_dw(c)) {
        MC_CPU(mc_conv_dw_s8_pack)(c, w, dst, pool);
        return;
    }
    struct mc_s8_pack p = packing(c, w);
    for (int64_t g = 0; g < c->group; g++) {
        p.data = (const uint8_t *)w + g * p.n * p.k;
        MC_CPU(mc_s8_pack)(&p, (char *)dst + (size_t)g * group_bytes(c), pool);
    }
}

/* Of x, y or the residual with the channels last, if it comes otherwise. */
static size_t turned_bytes(enum mc_s8_layout layout, int64_t n, int64_t c, const int64_t *size,
                           int each)
{
    int64_t places = size[0] * size[1] * size[2];
    return layout == MC_S8_NCHW && c > 1 && places > 1
               ? mc_s8_round_up((size_t)(n * c * places * each))
               : 0;
}

struct turned { /* places in the scratch of what is turned over as a whole */
    size_t y, residual, rest;
};

static struct turned turned_parts(const struct mc_conv_s8 *c)
{
    struct turned t = {0};
    int each = mc_s8_bytes(c->to.type);
    t.y = t.residual = t.rest = turned_bytes(c->x_layout, c->n, c->c, c->in, 1);
    if (!mc_conv_s8_is_dw(c))
        return t;
    t.residual += turned_bytes(c->y_layout, c->n, c->oc, c->out, each);
    t.rest = t.residual;
    if (c->to.residual)
        t.rest += turned_bytes(c->y_layout, c->n, c->oc, c->out, 1);
    return t;
}

/* Nothing comes out. */
static bool is_empty(const struct mc_conv_s8 *c)
{
    return c->n * c->oc * c->out[0] * c->out[1] * c->out[2] == 0;
}

static size_t scratch_bytes(const struct mc_conv_s8 *c, int threads)
{
    if (is_empty(c))
        return 0;
    size_t most = turned_parts(c).rest;
    return most + (mc_conv_s8_is_dw(c) ? MC_CPU(mc_conv_dw_s8_scratch)(c, threads)
                                       : MC_CPU(mc_s8_plan)(c).worker * (size_t)threads);
}

/* Rows of A from place `at` of the chunk on, and how many may follow it in one tile. */
static struct mc_s8_rows rows_at(const struct mc_s8_chunk *k, int64_t group, int64_t at,
                                 int64_t *ret_n)
{
    const struct mc_s8_plan *p = k->p;
    struct mc_s8_rows r = k->rows;
    r.segment = k->segment;
    r.row = p->row;
    *ret_n = k->lines * k->width - at;
    if (p->way == MC_S8_FRAMED) {
        *ret_n = k->width - at % k->width;
        r.a = k->base[at / k->width] + at % k->width * p->row +
              group * p->per * (int64_t)sizeof(a_elem);
    } else if (p->way == MC_S8_PATCHES) {
        r.a = k->scratch + at * p->row;
    } else {
        r.a = (const char *)k->x + (k->line * p->width + k->o + at) * p->row + group * p->per;
    }
    return r;
}

/* ---- the product ---- */

struct job {
    const struct mc_s8_plan *p;
    const uint8_t *x;
    char *scratch;
    bool wants_sums;
};

/* Places of one image that lie in the chunk, for panel columns [oc, oc + n): a plane's run at `plane` of y, at
 * `block` of a block [places][PANEL]. Elements of 4 bytes. */
static void turn_words(int64_t n, int64_t places, int64_t run, const void *block, void *plane)
{
    struct mc_move m = {.rank = 2,
                        .dim = {n, run},
                        .src_stride = {1, PANEL},
                        .dst_stride = {places, 1},
                        .src = block,
                        .dst = plane,
                        .elem_bytes = 4};
    mc_move_run(&m, NULL);
}

/* Between y (or the residual), whose planes come first, and a block [places][PANEL] of the chunk. */
static void turn(const struct mc_s8_chunk *k, int64_t oc, int64_t n, void *y, void *block, int each,
                 bool back)
{
    const struct mc_conv_s8 *c = &k->p->c;
    int64_t per_image = c->out[0] * c->out[1], places = per_image * c->out[2];
    bool whole = k->width == c->out[2];
    for (int64_t at = 0, lines; at < k->lines; at += lines) {
        int64_t image = (k->line + at) / per_image, line = (k->line + at) % per_image;
        lines = whole ? min64(per_image - line, k->lines - at) : 1;
        int64_t plane = (image * c->oc + oc) * places + line * c->out[2] + k->o;
        char *from = (char *)y + plane * each, *to = (char *)block + at * k->width * PANEL * each;
        if (each == 4)
            turn_words(n, places, lines * k->width, to, from);
        else if (back)
            MC_CPU(mc_s8_turn)(lines * k->width, n, (uint8_t *)to, PANEL, (uint8_t *)from, places);
        else
            MC_CPU(mc_s8_turn)(n, lines * k->width, (uint8_t *)from, places, (uint8_t *)to, PANEL);
    }
}

/* Where the results of one panel go. */
struct target {
    char *y;
    const char *residual;
    int64_t row; /* elements between places */
};

static struct target open_panel(const struct mc_s8_chunk *k, int64_t oc, int64_t n)
{
    const struct mc_s8_plan *p = k->p;
    const struct mc_conv_s8 *c = &p->c;
    const char *residual = c->to.residual;
    if (c->y_layout == MC_S8_NCHW) {
        char *block = k->scratch + p->residual;
        if (residual)
            turn(k, oc, n, (void *)residual, block, 1, false);
        return (struct target){k->scratch + p->block, residual ? block : NULL, PANEL};
    }
    int64_t at = (k->line * p->width + k->o) * c->oc + oc;
    return (struct target){(char *)c->y + at * mc_s8_bytes(c->to.type),
                           residual ? residual + at : NULL, c->oc};
}

static void one_panel(const struct job *j, const struct mc_s8_chunk *k, int64_t group,
                      const struct mc_s8_panel *panel, const struct target *t)
{
    const struct mc_s8_plan *p = k->p;
    int64_t rows = k->lines * k->width, n, each = mc_s8_bytes(p->c.to.type);
    int64_t step = even(p->way == MC_S8_FRAMED ? k->width : rows, TILE_ROWS);
    const uint32_t *sums = (const uint32_t *)(k->scratch + p->sums);
    _Alignas(MC_ALIGN) uint32_t sum[TILE_ROWS * PANEL];
    for (int64_t at = 0; at < rows; at += n) {
        struct mc_s8_rows r = rows_at(k, group, at, &n);
        n = min64(n, step);
        MC_CPU(mc_s8_tile)(&r, panel, (int)n, sum);
        if (j->wants_sums)
            MC_CPU(mc_s8_rest)(panel, &(struct mc_s8_line){NULL, sums + at}, (int)n, sum);
        MC_CPU(mc_s8_finish)
        (&p->c.to, panel, sum, (int)n, t->y + at * t->row * each, t->row,
         t->residual ? t->residual + at * t->row : NULL, t->row);
    }
}

static void one_group(const struct job *j, const struct mc_s8_chunk *k, int64_t group,
                      int64_t first, int64_t last)
{
    const struct mc_s8_plan *p = k->p;
    const struct mc_conv_s8 *c = &p->c;
    int64_t oc0 = group * p->of, n;
    struct mc_s8_out to = c->to;
    to.bias = to.bias ? to.bias + oc0 : NULL;
    to.scale = to.scale ? to.scale + oc0 * to.scale_step : NULL;
    to.shift = to.shift ? to.shift + oc0 : NULL;
    struct mc_s8_weights w = {.packed = (const char *)c->packed_w + (size_t)group * group_bytes(c),
                              .k = p->k,
                              .n = p->of,
                              .groups = p->groups,
                              .is_signed = c->w_signed,
                              .zero = c->w_zero,
                              .to = &to};
    if (w.zero.value)
        w.zero.value += oc0 * w.zero.step;
    uint32_t *sums = (uint32_t *)(k->scratch + p->sums);
    int64_t len = p->way == MC_S8_PATCHES               ? p->groups * GROUP
                  : k->rows.segments * p->inner == p->k ? p->inner
                                                        : p->per;
    for (int64_t at = 0; j->wants_sums && at < k->lines * k->width; at++) {
        struct mc_s8_rows r = rows_at(k, group, at, &n);
        sums[at] = MC_CPU(mc_s8_row_sum)(&r, len);
    }
    for (int64_t i = first; i < last; i++) {
        struct mc_s8_panel panel;
        uint32_t zero = (uint32_t)c->x_zero + mc_s8_flip(c->x_signed);
        MC_CPU(mc_s8_panel)(&w, i, zero, &panel);
        struct target t = open_panel(k, oc0 + i * PANEL, panel.cols);
        one_panel(j, k, group, &panel, &t);
        if (c->y_layout == MC_S8_NCHW)
            turn(k, oc0 + i * PANEL, panel.cols, c->y, t.y, mc_s8_bytes(to.type), true);
    }
}

static void one_chunk(void *ctx, int64_t chunk, int worker)
{
    const struct job *j = ctx;
    const struct mc_s8_plan *p = j->p;
    int64_t first = chunk % p->n_panels * p->step_panels, at = chunk / p->n_panels;
    struct mc_s8_chunk k = {.p = p, .x = j->x, .scratch = j->scratch + (size_t)worker * p->worker};
    k.o = at % p->n_widths * p->step_width;
    k.width = min64(p->step_width, p->width - k.o);
    k.line = at / p->n_widths * p->step_lines;
    k.lines = min64(p->step_lines, p->lines - k.line);
    k.rows = (struct mc_s8_rows){.segments = 1, .groups = p->groups, .far = p->way == MC_S8_AS_IS};
    k.segment[0] = 0;
    if (p->way == MC_S8_FRAMED)
        MC_CPU(mc_s8_take_frames)(&k);
    for (int64_t g = 0; g < p->c.group; g++) {
        if (p->way == MC_S8_PATCHES)
            MC_CPU(mc_s8_take_patches)(&k, g);
        one_group(j, &k, g, first, min64(first + p->step_panels, p->panels));
    }
}

/* [n, rows, cols] to [n, cols, rows]. */
static void turn_over(int64_t n, int64_t rows, int64_t cols, const void *x, void *y, int each,
                      struct mc_pool *pool)
{
    if (each == 1) {
        MC_CPU(mc_s8_transpose)(n, rows, cols, x, y, pool);
        return;
    }
    struct mc_move m = {.rank = 3,
                        .dim = {n, cols, rows},
                        .src_stride = {rows * cols, 1, cols},
                        .dst_stride = {rows * cols, rows, 1},
                        .src = x,
                        .dst = y,
                        .elem_bytes = each};
    mc_move_run(&m, pool);
}

static void run_product(const struct mc_conv_s8 *c, void *scratch, struct mc_pool *pool)
{
    struct mc_s8_plan p = MC_CPU(mc_s8_plan)(c);
    struct mc_s8_weights w = {.n = c->oc, .is_signed = c->w_signed, .zero = c->w_zero};
    struct job j = {&p, c->x, scratch, MC_CPU(mc_s8_wants_sums)(&w)};
    mc_pool_run(pool, p.n_lines * p.n_widths * p.n_panels, one_chunk, &j);
}

static void run_dw(const struct mc_conv_s8 *given, char *scratch, struct turned t,
                   struct mc_pool *pool)
{
    struct mc_conv_s8 c = *given;
    int64_t size = c.out[0] * c.out[1] * c.out[2];
    if (t.residual > t.y)
        c.y = scratch + t.y;
    if (t.rest > t.residual) {
        turn_over(c.n, c.oc, size, c.to.residual, scratch + t.residual, 1, pool);
        c.to.residual = scratch + t.residual;
    }
    MC_CPU(mc_conv_dw_s8_run)(&c, scratch + t.rest, pool);
    if (c.y != given->y)
        turn_over(c.n, size, c.oc, c.y, given->y, mc_s8_bytes(c.to.type), pool);
}

static void run(const struct mc_conv_s8 *given, void *scratch, struct mc_pool *pool)
{
    struct mc_conv_s8 c = *given;
    struct turned t = turned_parts(&c);
    if (is_empty(&c))
        return;
    if (t.y > 0) {
        turn_over(c.n, c.c, c.in[0] * c.in[1] * c.in[2], c.x, scratch, 1, pool);
        c.x = scratch;
    }
    c.x_layout = MC_S8_NHWC;
    if (mc_conv_s8_is_dw(&c))
        run_dw(&c, scratch, t, pool);
    else
        run_product(&c, (char *)scratch + t.rest, pool);
}

void MC_CPU(mc_conv_s8_fill)(struct mc_conv_s8_kernels *k)
{
    *k = (struct mc_conv_s8_kernels){pack_w_bytes, pack_w, scratch_bytes, run};
}
