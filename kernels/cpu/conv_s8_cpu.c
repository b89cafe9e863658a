/* Implicit matrix product, channels last: rows of A are output places, columns output channels. A chunk is a block
 * of places, for some panels of channels. Its part of x is brought close in one of three ways:
 *   AS_IS   pointwise: places are rows of A where they lie;
 *   FRAMED  the input rows it needs, with their padding: a window is a few segments of that, so nothing is copied
 *           twice, but a tile's places must lie in one output row;
 *   PATCHES a row of all values under the window for each place: few places in a row, few channels in a group,
 *           depth.
 * The other layout is turned over at either end. */
#include <string.h>

#include "base/mem.h"
#include "kernels/cpu/blocks.h"
#include "kernels/cpu/conv_s8.h"
#include "kernels/cpu/rows_s8.h"
#include "kernels/fill.h"
#include "kernels/move.h"

enum {
    STAGE_BYTES = 192 << 10, /* of x close by: with a panel of weights it stays in L2 */
    WIDTH = 512,             /* of places in a row at most */
    NARROW = 4,              /* rows too short for tiles of their own */
    ROWS = 1024,             /* places of a chunk at most */
    CHUNK_OPS = 1 << 23,     /* well above the price of handing a chunk to a thread */
    CHUNKS = 16,             /* wanted, for threads */
    MOST_SEGMENTS = 256,
};

enum way { AS_IS, FRAMED, PATCHES };

struct conv_plan {
    struct mc_conv_s8 c;
    enum way way;
    int64_t per, of;      /* channels of a group, in and out */
    int64_t inner, k;     /* of a window's row; of a window */
    int64_t groups;       /* words of a window */
    int64_t lines, width; /* output rows of all images; places of one */
    int64_t cols;         /* input columns under one, with padding */
    int64_t step_lines, step_width, n_lines, n_widths; /* of a chunk; and how many */
    int64_t panels, step_panels, n_panels;             /* of a group */
    int64_t row;                                       /* bytes between rows of A */
    size_t sums, block, residual, worker;              /* places in a worker's scratch, its size */
};

static size_t round_up(size_t n)
{
    return (n + MC_ALIGN - 1) / MC_ALIGN * MC_ALIGN;
}

static int64_t span(const struct mc_conv_s8 *c, int d, int64_t out)
{
    return (out - 1) * c->stride[d] + (c->kernel[d] - 1) * c->dilation[d] + 1;
}

/* Every window lies inside. */
static bool unpadded(const struct mc_conv_s8 *c)
{
    bool inside = true;
    for (int d = 0; d < 3; d++)
        inside &= c->pad[d] == 0 && span(c, d, c->out[d]) <= c->in[d];
    return inside;
}

static bool pointwise(const struct mc_conv_s8 *c)
{
    bool yes = true;
    for (int d = 0; d < 3; d++)
        yes &= c->kernel[d] == 1 && c->stride[d] == 1 && c->pad[d] == 0 && c->in[d] == c->out[d];
    return yes;
}

static enum way choose(const struct mc_conv_s8 *c, int64_t per)
{
    bool whole = per % GROUP == 0, flat = c->kernel[0] == 1 && c->stride[0] == 1 &&
                                          c->pad[0] == 0 && c->in[0] == c->out[0];
    if (pointwise(c))
        return whole && mc_s8_as_is(c->x_signed) ? AS_IS : PATCHES;
    if (flat && (whole || (c->group == 1 && c->dilation[2] == 1)) && c->out[2] >= NARROW &&
        c->kernel[1] * c->kernel[2] <= MOST_SEGMENTS)
        return FRAMED;
    return PATCHES;
}

/* How x is cut: a chunk's part of it fits STAGE_BYTES. */
static void cut(struct conv_plan *p)
{
    const struct mc_conv_s8 *c = &p->c;
    int64_t elem = (int64_t)sizeof(a_elem);
    p->step_width = even(p->width, WIDTH);
    p->n_widths = ceil_div(p->width, p->step_width);
    p->cols = span(c, 2, p->step_width);
    int64_t line = p->way == FRAMED ? c->stride[1] * p->cols * c->c * elem
                                    : p->step_width * p->groups * 4;
    int64_t most = min64(STAGE_BYTES / max64(line, 1), ROWS / p->step_width);
    if (p->way != FRAMED && p->n_widths > 1)
        most = 1;
    p->step_lines = even(p->lines, most);
    int64_t ops = 2 * p->step_width * p->k * p->of; /* of a line and a group */
    int64_t chunks = min64(CHUNKS, ceil_div(p->lines * p->n_widths * ops * c->group, CHUNK_OPS));
    int64_t wanted = ceil_div(chunks, p->n_widths);
    if (ceil_div(p->lines, p->step_lines) < wanted) /* but not too few places */
        p->step_lines = min64(p->step_lines,
                              even(p->lines, max64(ceil_div(p->lines, wanted),
                                                   ceil_div(8 * TILE_ROWS, p->step_width))));
    p->n_lines = ceil_div(p->lines, p->step_lines);
    p->panels = ceil_div(p->of, PANEL);
    int64_t more = c->group == 1 ? ceil_div(chunks, p->n_lines * p->n_widths) : 1;
    p->step_panels = even(p->panels, ceil_div(p->panels, more));
    p->n_panels = ceil_div(p->panels, p->step_panels);
}

static struct conv_plan make_plan(const struct mc_conv_s8 *given)
{
    struct conv_plan p = {.c = *given};
    const struct mc_conv_s8 *c = &p.c;
    p.per = c->c / c->group;
    p.of = c->oc / c->group;
    p.inner = c->kernel[2] * p.per;
    p.k = c->kernel[0] * c->kernel[1] * p.inner;
    p.groups = c->kernel[0] * c->kernel[1] * mc_s8_groups(p.inner);
    p.lines = c->n * c->out[0] * c->out[1];
    p.width = c->out[2];
    p.way = choose(c, p.per);
    cut(&p);
    int64_t elem = (int64_t)sizeof(a_elem), rows = p.step_lines * p.step_width, stage = 0;
    p.row = p.way == AS_IS    ? c->c
            : p.way == FRAMED ? c->stride[2] * c->c * elem
                              : p.groups * 4;
    if (p.way == PATCHES && p.row % 1024 == 0)
        p.row += MC_ALIGN; /* rows that share few lines of an L1 push each other out */
    if (p.way == FRAMED) { /* the lines of one image overlap, those of several do not */
        int64_t planes = min64(p.step_lines, ceil_div(p.step_lines - 1, c->out[1]) + 1);
        int64_t taken = p.step_lines * c->stride[1] + planes * span(c, 1, 1);
        stage = taken * p.cols * c->c * elem;
    } else if (p.way == PATCHES) {
        stage = rows * p.row;
    }
    p.sums = round_up((size_t)stage + MC_ALIGN); /* a last word may be read past the end */
    p.block = p.sums + round_up((size_t)rows * sizeof(uint32_t));
    p.residual = p.block;
    if (c->y_layout == MC_S8_NCHW)
        p.residual += round_up((size_t)(rows * PANEL * mc_s8_bytes(c->to.type)));
    p.worker = p.residual;
    if (c->y_layout == MC_S8_NCHW && c->to.residual)
        p.worker += round_up((size_t)(rows * PANEL));
    return p;
}

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
    return round_up(MC_CPU(mc_s8_pack_bytes)(&p));
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
static size_t turned_bytes(enum mc_s8_layout layout, int64_t n, int64_t c, const int64_t *size, int each)
{
    int64_t places = size[0] * size[1] * size[2];
    return layout == MC_S8_NCHW && c > 1 && places > 1 ? round_up((size_t)(n * c * places * each)) : 0;
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

static size_t scratch_bytes(const struct mc_conv_s8 *c, int threads)
{
    size_t most = turned_parts(c).rest;
    return most + (mc_conv_s8_is_dw(c) ? MC_CPU(mc_conv_dw_s8_scratch)(c, threads)
                                       : make_plan(c).worker * (size_t)threads);
}

/* ---- bringing x close ---- */

struct chunk {
    const struct conv_plan *p;
    const uint8_t *x;              /* channels last */
    int64_t line, lines, o, width; /* its places: rows of the output, and which of each */
    char *scratch;
    const char *base[ROWS]; /* FRAMED: row 0 of the tiles of each line */
    struct mc_s8_rows rows; /* of group 0 */
    int64_t segment[MOST_SEGMENTS];
};

static a_elem outside(const struct mc_conv_s8 *c)
{
    return (a_elem)((uint32_t)c->x_zero + mc_s8_flip(c->x_signed));
}

static void fill(a_elem *to, int64_t n, a_elem v)
{
    for (int64_t i = 0; i < n; i++)
        to[i] = v;
}

/* Input rows [first, first + rows) of an image at x, columns [column - pad, column - pad + cols). */
static void take_frame(const struct mc_conv_s8 *c, const uint8_t *x, int64_t first, int64_t rows,
                       int64_t column, int64_t cols, a_elem *to)
{
    int64_t pad = c->pad[2] - column, lead = max64(0, min64(pad, cols));
    int64_t inside = max64(lead, min64(cols, c->in[2] + pad)), row = cols * c->c;
    a_elem v = outside(c);
    for (int64_t i = first; i < first + rows; i++, to += row) {
        if (i < 0 || i >= c->in[1]) {
            fill(to, row, v);
            continue;
        }
        const uint8_t *from = x + (i * c->in[2] + lead - pad) * c->c;
        fill(to, lead * c->c, v);
        MC_CPU(mc_s8_widen)((inside - lead) * c->c, from, c->x_signed, to + lead * c->c);
        fill(to + inside * c->c, (cols - inside) * c->c, v);
    }
}

/* Runs of input rows for the lines of each image, one behind the other. */
static void take_frames(struct chunk *k)
{
    const struct conv_plan *p = k->p;
    const struct mc_conv_s8 *c = &p->c;
    int64_t elem = (int64_t)sizeof(a_elem), size = c->in[1] * c->in[2] * c->c, row, at = 0;
    bool as_is = mc_s8_as_is(c->x_signed) && p->per % GROUP == 0 && unpadded(c);
    a_elem *to = (a_elem *)k->scratch;
    row = (as_is ? c->in[2] : p->cols) * c->c * elem;
    while (at < k->lines) {
        int64_t plane = (k->line + at) / c->out[1], o1 = (k->line + at) % c->out[1];
        int64_t n = min64(c->out[1] - o1, k->lines - at), first = o1 * c->stride[1] - c->pad[1];
        int64_t column = k->o * c->stride[2];
        const uint8_t *x = k->x + plane * size;
        const char *base = (const char *)to;
        if (as_is)
            base = (const char *)x + first * row + column * c->c;
        else
            take_frame(c, x, first, span(c, 1, n), column, p->cols, to);
        for (int64_t i = 0; i < n; i++)
            k->base[at + i] = base + i * c->stride[1] * row;
        to += span(c, 1, n) * p->cols * c->c;
        at += n;
    }
    struct mc_s8_rows *r = &k->rows;
    bool whole = c->group == 1 && c->dilation[2] == 1;
    r->segments = 0;
    for (int64_t i = 0; i < c->kernel[1]; i++)
        for (int64_t j = 0; j < (whole ? 1 : c->kernel[2]); j++)
            k->segment[r->segments++] = i * c->dilation[1] * row + j * c->dilation[2] * c->c * elem;
    r->groups = mc_s8_groups(whole ? p->inner : p->per);
}

/* A row of the window at place (o0, o1, o2) of an image: taps of one group, side by side. */
static a_elem *take_row(const struct conv_plan *p, const uint8_t *x, const int64_t i[3], a_elem *to,
                        a_elem v)
{
    const struct mc_conv_s8 *c = &p->c;
    a_elem *end = to + mc_s8_groups(p->inner) * GROUP;
    if (i[0] < 0 || i[0] >= c->in[0] || i[1] < 0 || i[1] >= c->in[1]) {
        fill(to, p->inner, v);
        fill(to + p->inner, end - to - p->inner, 0);
        return end;
    }
    const uint8_t *row = x + (i[0] * c->in[1] + i[1]) * c->in[2] * c->c;
    int64_t last = i[2] + c->kernel[2];
    if (c->group == 1 && c->dilation[2] == 1 && i[2] >= 0 && last <= c->in[2]) {
        MC_CPU(mc_s8_widen)(p->inner, row + i[2] * c->c, c->x_signed, to);
        to += p->inner;
    } else {
        for (int64_t t = 0, at = i[2]; t < c->kernel[2];
             t++, at += c->dilation[2], to += p->per) {
            if (at < 0 || at >= c->in[2])
                fill(to, p->per, v);
            else
                MC_CPU(mc_s8_widen)(p->per, row + at * c->c, c->x_signed, to);
        }
    }
    fill(to, end - to, 0);
    return end;
}

static void take_patches(struct chunk *k, int64_t group)
{
    const struct conv_plan *p = k->p;
    const struct mc_conv_s8 *c = &p->c;
    int64_t size = c->in[0] * c->in[1] * c->in[2] * c->c, i[3];
    char *to = k->scratch;
    a_elem v = outside(c);
    for (int64_t line = k->line; line < k->line + k->lines; line++) {
        int64_t image = line / (c->out[0] * c->out[1]), o0 = line / c->out[1] % c->out[0];
        const uint8_t *x = k->x + image * size + group * p->per;
        for (int64_t o2 = k->o; o2 < k->o + k->width; o2++, to += p->row) {
            a_elem *at = (a_elem *)to;
            for (int64_t k0 = 0; k0 < c->kernel[0]; k0++)
                for (int64_t k1 = 0; k1 < c->kernel[1]; k1++) {
                    i[0] = o0 * c->stride[0] + k0 * c->dilation[0] - c->pad[0];
                    i[1] = line % c->out[1] * c->stride[1] + k1 * c->dilation[1] - c->pad[1];
                    i[2] = o2 * c->stride[2] - c->pad[2];
                    at = take_row(p, x, i, at, v);
                }
        }
    }
}

/* Rows of A from place `at` of the chunk on, and how many may follow it in one tile. */
static struct mc_s8_rows rows_at(const struct chunk *k, int64_t group, int64_t at, int64_t *ret_n)
{
    const struct conv_plan *p = k->p;
    struct mc_s8_rows r = k->rows;
    r.segment = k->segment;
    r.row = p->row;
    *ret_n = k->lines * k->width - at;
    if (p->way == FRAMED) {
        *ret_n = k->width - at % k->width;
        r.a = k->base[at / k->width] + at % k->width * p->row +
              group * p->per * (int64_t)sizeof(a_elem);
    } else if (p->way == PATCHES) {
        r.a = k->scratch + at * p->row;
    } else {
        r.a = (const char *)k->x + (k->line * p->width + k->o + at) * p->row + group * p->per;
    }
    return r;
}

/* ---- the product ---- */

struct job {
    const struct conv_plan *p;
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
static void turn(const struct chunk *k, int64_t oc, int64_t n, void *y, void *block, int each, bool back)
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

static struct target open_panel(const struct chunk *k, int64_t oc, int64_t n)
{
    const struct conv_plan *p = k->p;
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

static void one_panel(const struct job *j, const struct chunk *k, int64_t group,
                      const struct mc_s8_panel *panel, const struct target *t)
{
    const struct conv_plan *p = k->p;
    int64_t rows = k->lines * k->width, n, each = mc_s8_bytes(p->c.to.type);
    int64_t step = even(p->way == FRAMED ? k->width : rows, TILE_ROWS);
    const uint32_t *sums = (const uint32_t *)(k->scratch + p->sums);
    _Alignas(MC_ALIGN) uint32_t sum[TILE_ROWS * PANEL];
    for (int64_t at = 0; at < rows; at += n) {
        struct mc_s8_rows r = rows_at(k, group, at, &n);
        n = min64(n, step);
        MC_CPU(mc_s8_tile)(&r, panel, (int)n, sum);
        if (j->wants_sums)
            MC_CPU(mc_s8_rest)(panel, &(struct mc_s8_line){NULL, sums + at}, (int)n, sum);
        MC_CPU(mc_s8_finish)(&p->c.to, panel, sum, (int)n, t->y + at * t->row * each, t->row,
                             t->residual ? t->residual + at * t->row : NULL, t->row);
    }
}

static void one_group(const struct job *j, const struct chunk *k, int64_t group, int64_t first,
                      int64_t last)
{
    const struct conv_plan *p = k->p;
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
    int64_t len = p->way == PATCHES          ? p->groups * GROUP
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
    const struct conv_plan *p = j->p;
    int64_t first = chunk % p->n_panels * p->step_panels, at = chunk / p->n_panels;
    struct chunk k = {.p = p, .x = j->x, .scratch = j->scratch + (size_t)worker * p->worker};
    k.o = at % p->n_widths * p->step_width;
    k.width = min64(p->step_width, p->width - k.o);
    k.line = at / p->n_widths * p->step_lines;
    k.lines = min64(p->step_lines, p->lines - k.line);
    k.rows = (struct mc_s8_rows){.segments = 1, .groups = p->groups};
    k.segment[0] = 0;
    if (p->way == FRAMED)
        take_frames(&k);
    for (int64_t g = 0; g < p->c.group; g++) {
        if (p->way == PATCHES)
            take_patches(&k, g);
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
    struct conv_plan p = make_plan(c);
    struct mc_s8_weights w = {.n = c->oc, .is_signed = c->w_signed, .zero = c->w_zero};
    struct job j = {&p, c->x, scratch, MC_CPU(mc_s8_wants_sums)(&w)};
    mc_pool_run(pool, p.n_lines * p.n_widths * p.n_panels, one_chunk, &j);
}

static void run_dw(const struct mc_conv_s8 *given, char *scratch, struct turned t, struct mc_pool *pool)
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
    if (c.n * c.out[0] * c.out[1] * c.out[2] == 0)
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
