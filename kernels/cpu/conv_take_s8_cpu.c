/* How a convolution is cut into chunks, and how a chunk's part of x is brought close. */
#include "base/mem.h"
#include "kernels/cpu/blocks.h"
#include "kernels/cpu/conv_s8_cpu.h"

enum {
    STAGE_BYTES = 192 << 10, /* of x close by: with a panel of weights it stays in L2 */
    WIDTH = 512,             /* of places in a row at most */
    NARROW = 4,              /* rows too short for tiles of their own */
    CHUNK_OPS = 1 << 23,     /* well above the price of handing a chunk to a thread */
    CHUNKS = 16,             /* wanted, for threads */
};

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

static enum mc_s8_way choose(const struct mc_conv_s8 *c, int64_t per)
{
    bool whole = per % GROUP == 0,
         flat = c->kernel[0] == 1 && c->stride[0] == 1 && c->pad[0] == 0 && c->in[0] == c->out[0];
    if (pointwise(c))
        return whole && mc_s8_as_is(c->x_signed) ? MC_S8_AS_IS : MC_S8_PATCHES;
    if (flat && (whole || (c->group == 1 && c->dilation[2] == 1)) && c->out[2] >= NARROW &&
        c->kernel[1] * c->kernel[2] <= MC_S8_SEGMENTS)
        return MC_S8_FRAMED;
    return MC_S8_PATCHES;
}

/* How x is cut: a chunk's part of it fits STAGE_BYTES. */
static void cut(struct mc_s8_plan *p)
{
    const struct mc_conv_s8 *c = &p->c;
    int64_t elem = (int64_t)sizeof(a_elem);
    p->step_width = even(p->width, WIDTH);
    p->n_widths = ceil_div(p->width, p->step_width);
    p->cols = span(c, 2, p->step_width);
    int64_t line = p->way == MC_S8_FRAMED ? c->stride[1] * p->cols * c->c * elem
                                          : p->step_width * p->groups * 4;
    int64_t most = min64(STAGE_BYTES / max64(line, 1), MC_S8_PLACES / p->step_width);
    if (p->way != MC_S8_FRAMED && p->n_widths > 1)
        most = 1;
    p->step_lines = even(p->lines, most);
    int64_t ops = 2 * p->step_width * p->k * p->of; /* of a line and a group */
    int64_t chunks = min64(CHUNKS, ceil_div(p->lines * p->n_widths * ops * c->group, CHUNK_OPS));
    int64_t wanted = ceil_div(chunks, p->n_widths);
    if (ceil_div(p->lines, p->step_lines) < wanted) /* but not too few places */
        p->step_lines =
            min64(p->step_lines, even(p->lines, max64(ceil_div(p->lines, wanted),
                                                      ceil_div(8 * TILE_ROWS, p->step_width))));
    p->n_lines = ceil_div(p->lines, p->step_lines);
    p->panels = ceil_div(p->of, PANEL);
    int64_t more = c->group == 1 ? ceil_div(chunks, p->n_lines * p->n_widths) : 1;
    p->step_panels = even(p->panels, ceil_div(p->panels, more));
    p->n_panels = ceil_div(p->panels, p->step_panels);
}

struct mc_s8_plan MC_CPU(mc_s8_plan)(const struct mc_conv_s8 *given)
{
    struct mc_s8_plan p = {.c = *given};
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
    p.row = p.way == MC_S8_AS_IS    ? c->c
            : p.way == MC_S8_FRAMED ? c->stride[2] * c->c * elem
                                    : p.groups * 4;
    if (p.way == MC_S8_PATCHES && p.row % 1024 == 0)
        p.row += MC_ALIGN;       /* rows that share few lines of an L1 push each other out */
    if (p.way == MC_S8_FRAMED) { /* the lines of one image overlap, those of several do not */
        int64_t planes = min64(p.step_lines, ceil_div(p.step_lines - 1, c->out[1]) + 1);
        int64_t taken = p.step_lines * c->stride[1] + planes * span(c, 1, 1);
        stage = taken * p.cols * c->c * elem;
    } else if (p.way == MC_S8_PATCHES) {
        stage = rows * p.row;
    }
    p.sums = mc_s8_round_up((size_t)stage + MC_ALIGN); /* a last word may be read past the end */
    p.block = p.sums + mc_s8_round_up((size_t)rows * sizeof(uint32_t));
    p.residual = p.block;
    if (c->y_layout == MC_S8_NCHW)
        p.residual += mc_s8_round_up((size_t)(rows * PANEL * mc_s8_bytes(c->to.type)));
    p.worker = p.residual;
    if (c->y_layout == MC_S8_NCHW && c->to.residual)
        p.worker += mc_s8_round_up((size_t)(rows * PANEL));
    return p;
}

/* ---- bringing x close ---- */

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
void MC_CPU(mc_s8_take_frames)(struct mc_s8_chunk *k)
{
    const struct mc_s8_plan *p = k->p;
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
static a_elem *take_row(const struct mc_s8_plan *p, const uint8_t *x, const int64_t i[3],
                        a_elem *to, a_elem v)
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
        for (int64_t t = 0, at = i[2]; t < c->kernel[2]; t++, at += c->dilation[2], to += p->per) {
            if (at < 0 || at >= c->in[2])
                fill(to, p->per, v);
            else
                MC_CPU(mc_s8_widen)(p->per, row + at * c->c, c->x_signed, to);
        }
    }
    fill(to, end - to, 0);
    return end;
}

void MC_CPU(mc_s8_take_patches)(struct mc_s8_chunk *k, int64_t group)
{
    const struct mc_s8_plan *p = k->p;
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
