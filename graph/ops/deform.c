/* DeformConv: every tap is read beside its place, by an offset that is an input, so that its columns are made
 * first and multiplied afterwards. Col2Im, which puts columns back. */
#include <math.h>
#include <string.h>

#include "graph/ops/helper.h"
#include "graph/ops/float_elem.h"
#include "graph/ops/window.h"

enum { X, W, OFFSET, BIAS, MASK, INPUTS };

/* ---- DeformConv ---- */

/* Input i, where it is there and known, is [n, channels, oh, ow]. */
static int need_field(const struct mc_infer_ctx *c, int i, const int64_t want[4],
                      struct mc_err *err)
{
    const struct mc_vtype *x = mc_op_in(c, i);
    int rc = mc_op_need_rank(c, i, 4, 4, err);
    int64_t same;
    for (int d = 0; x && x->ranked && d < 4 && !rc; d++)
        rc = mc_op_need_dim(c->node, i == OFFSET ? "shape of offset" : "shape of mask",
                            x->shape.dim[d], want[d], &same, err);
    return rc;
}

static int check_groups(const struct mc_infer_ctx *c, struct mc_err *err)
{
    const int64_t *x = c->in[X]->shape.dim, *w = c->in[W]->shape.dim;
    int64_t group = mc_node_int(c->node, "group", 1);
    int64_t parts = mc_node_int(c->node, "offset_group", 1);
    if (group < 1 || parts < 1 || group > INT32_MAX || parts > INT32_MAX)
        return mc_op_fail(err, MC_ESHAPE, c->node, "group %lld, offset_group %lld; at least 1",
                          (long long)group, (long long)parts);
    if (w[0] >= 0 && w[0] % group)
        return mc_op_fail(err, MC_ESHAPE, c->node, "group %lld does not divide %lld filters",
                          (long long)group, (long long)w[0]);
    if (x[1] >= 0 && x[1] % parts)
        return mc_op_fail(err, MC_ESHAPE, c->node,
                          "offset_group %lld does not divide %lld channels", (long long)parts,
                          (long long)x[1]);
    if (x[1] >= 0 && w[1] >= 0 && (x[1] % group || x[1] / group != w[1]))
        return mc_op_fail(err, MC_ESHAPE, c->node, "%lld channels do not fit %lld groups of %lld",
                          (long long)x[1], (long long)group, (long long)w[1]);
    return 0;
}

static int deform_infer(struct mc_infer_ctx *c, struct mc_err *err)
{
    int rc = mc_op_arity(c, 3, INPUTS, err);
    for (int i = 0; i < INPUTS && !rc; i++)
        if (mc_op_in(c, i)) {
            rc = mc_op_need_float(c, i, err);
            rc = rc ? rc : mc_op_need_same(c, X, i, err);
        }
    rc = rc ? rc : mc_op_need_rank(c, X, 4, 4, err);
    rc = rc ? rc : mc_op_need_rank(c, W, 4, 4, err);
    rc = rc ? rc : mc_op_need_rank(c, BIAS, 1, 1, err);
    if (rc)
        return rc;
    const struct mc_vtype *x = c->in[X], *w = c->in[W], *b = mc_op_in(c, BIAS);
    mc_op_give(c, 0, x->dtype, NULL);
    if (!x->ranked || !w->ranked)
        return 0;
    struct mc_window_dims win;
    rc = check_groups(c, err);
    rc = rc ? rc : mc_window_infer(c->node, &x->shape, w->shape.dim + 2, &win, err);
    if (rc)
        return rc;
    int64_t parts = mc_node_int(c->node, "offset_group", 1), per = -1, oc = w->shape.dim[0];
    if (win.kernel[1] >= 0 && win.kernel[2] >= 0 && win.kernel[1] * win.kernel[2] < INT32_MAX)
        per = parts * win.kernel[1] * win.kernel[2];
    int64_t offset[] = {x->shape.dim[0], per < 0 ? -1 : 2 * per, win.out[1], win.out[2]};
    int64_t mask[] = {x->shape.dim[0], per, win.out[1], win.out[2]};
    rc = need_field(c, OFFSET, offset, err);
    rc = rc ? rc : need_field(c, MASK, mask, err);
    if (!rc && b && b->ranked)
        rc = mc_op_need_dim(c->node, "bias and filters", b->shape.dim[0], oc, &oc, err);
    struct mc_shape y = {4, {x->shape.dim[0], oc, win.out[1], win.out[2]}};
    if (!rc)
        mc_op_give(c, 0, x->dtype, &y);
    return rc;
}

struct deform {
    const struct mc_call *c;
    struct mc_window_dims w;
    int64_t group, parts, ic, oc, taps, points; /* ic, oc: of a group */
    int64_t image, in_group;                    /* being worked on */
    void *columns, *packed, *gemm;              /* [ic, taps, points] and what the product needs */
};

static size_t layout(const struct mc_call *c, struct deform *s)
{
    size_t at = 0;
    int64_t k = s->ic * s->taps;
    s->columns = mc_op_scratch(c, &at, (size_t)(k * s->points * c->k->elem_bytes));
    s->packed = mc_op_scratch(c, &at, c->k->gemm.pack_b_bytes(k, s->points));
    s->gemm = mc_op_scratch(
        c, &at, c->k->gemm.scratch_bytes(s->oc, s->points, k, mc_pool_threads(c->pool)));
    return at;
}

static int prepare(const struct mc_call *c, struct deform *s, struct mc_err *err)
{
    const struct mc_shape *w = &c->in[W].shape;
    *s = (struct deform){.c = c,
                         .group = mc_node_int(c->node, "group", 1),
                         .parts = mc_node_int(c->node, "offset_group", 1)};
    int rc = mc_window_infer(c->node, &c->in[X].shape, w->dim + 2, &s->w, err);
    s->ic = w->dim[1];
    s->oc = w->dim[0] / s->group;
    s->taps = w->dim[2] * w->dim[3];
    s->points = s->w.out[1] * s->w.out[2];
    return rc;
}

static int deform_setup(struct mc_call *c, struct mc_err *err)
{
    struct deform s;
    int rc = prepare(c, &s, err);
    if (!rc)
        c->scratch_bytes = layout(c, &s);
    return rc;
}

/* The image at (y, x), 0 outside; between elements, linearly. */
static double sample(const struct mc_buf *image, int64_t plane, double y, double x)
{
    int64_t h = image->shape.dim[2], w = image->shape.dim[3];
    if (!(y > -1 && y < (double)h && x > -1 && x < (double)w))
        return 0;
    int64_t i = (int64_t)floor(y), j = (int64_t)floor(x);
    double fy = y - (double)i, fx = x - (double)j, sum = 0;
    for (int a = 0; a < 2; a++)
        for (int b = 0; b < 2; b++)
            if (i + a >= 0 && i + a < h && j + b >= 0 && j + b < w)
                sum += (a ? fy : 1 - fy) * (b ? fx : 1 - fx) *
                       mc_buf_param(image, (plane * h + i + a) * w + j + b);
    return sum;
}

/* All taps of one channel of the group. */
static void make_columns(void *ctx, int64_t channel, int worker)
{
    (void)worker;
    const struct deform *s = ctx;
    const struct mc_call *c = s->c;
    const struct mc_buf *mask = mc_op_arg(c, MASK);
    int64_t from = s->in_group * s->ic + channel, channels = s->group * s->ic;
    int64_t part = (s->image * s->parts + from / (channels / s->parts)) * s->taps;
    int64_t plane = s->image * channels + from;
    for (int64_t t = 0; t < s->taps; t++)
        for (int64_t p = 0; p < s->points; p++) {
            int64_t oy = p / s->w.out[2], ox = p % s->w.out[2];
            int64_t ky = t / s->w.kernel[2], kx = t % s->w.kernel[2];
            double dy = mc_buf_param(&c->in[OFFSET], 2 * (part + t) * s->points + p);
            double dx = mc_buf_param(&c->in[OFFSET], (2 * (part + t) + 1) * s->points + p);
            double y = (double)(oy * s->w.stride[1] - s->w.pad[1] + ky * s->w.dilation[1]) + dy;
            double x = (double)(ox * s->w.stride[2] - s->w.pad[2] + kx * s->w.dilation[2]) + dx;
            double v = sample(&c->in[X], plane, y, x);
            if (mask)
                v *= mc_buf_param(mask, (part + t) * s->points + p);
            mc_set_param(s->columns, c->k->elem_bytes, (channel * s->taps + t) * s->points + p, v);
        }
}

static void multiply(const struct deform *s)
{
    const struct mc_call *c = s->c;
    int64_t k = s->ic * s->taps, elem = c->k->elem_bytes;
    int64_t channel = s->in_group * s->oc;
    char *y = (char *)c->out[0].data + (s->image * s->group * s->oc + channel) * s->points * elem;
    const struct mc_buf *bias = mc_op_arg(c, BIAS);
    for (int64_t i = 0; i < s->oc && bias; i++)
        mc_move_fill(y + i * s->points * elem, s->points,
                     (const char *)bias->data + (channel + i) * elem, (int)elem, c->pool);
    c->k->gemm.pack_b(k, s->points, s->columns, s->points, 1, s->packed, c->pool);
    struct mc_gemm g = {.m = s->oc,
                        .n = s->points,
                        .k = k,
                        .a = (const char *)c->in[W].data + channel * k * elem,
                        .a_row = k,
                        .a_col = 1,
                        .packed_b = s->packed,
                        .c = y,
                        .c_row = s->points,
                        .alpha = 1,
                        .epilogue = {.residual = bias ? y : NULL}};
    c->k->gemm.run(&g, s->gemm, c->pool);
}

static int deform_run(struct mc_call *c, struct mc_err *err)
{
    struct deform s;
    int rc = prepare(c, &s, err);
    if (rc)
        return rc;
    layout(c, &s);
    for (s.image = 0; s.image < c->in[X].shape.dim[0]; s.image++)
        for (s.in_group = 0; s.in_group < s.group; s.in_group++) {
            mc_pool_run(c->pool, s.ic, make_columns, &s);
            multiply(&s);
        }
    return 0;
}

static double deform_macs(const struct mc_infer_ctx *c)
{
    int64_t out = c->out[0]->ranked ? mc_shape_count(&c->out[0]->shape) : -1;
    int64_t per = c->in[W]->ranked ? mc_shape_span(&c->in[W]->shape, 1, 4) : -1;
    return out < 0 || per < 0 ? -1 : (double)out * (double)per;
}

/* ---- Col2Im ---- */

/* Where blocks lie in an image of `dims` dimensions; sizes of both in the last places. */
static int blocks_of(const struct mc_node *n, int dims, const int64_t *image, const int64_t *block,
                     struct mc_window_dims *w, struct mc_err *err)
{
    struct mc_shape x = {dims + 2, {1, 1}};
    memcpy(x.dim + 2, image, (size_t)dims * sizeof *image);
    return mc_window_infer(n, &x, block, w, err);
}

static int col2im_infer(struct mc_infer_ctx *c, struct mc_err *err)
{
    int rc = mc_op_arity(c, 3, 3, err);
    rc = rc ? rc : mc_op_need_float(c, 0, err);
    rc = rc ? rc : mc_op_need_rank(c, 0, 3, 3, err);
    for (int i = 1; i < 3 && !rc; i++) {
        rc = mc_op_need_index(c, i, err);
        rc = rc ? rc : mc_op_need_rank(c, i, 1, 1, err);
    }
    if (rc)
        return rc;
    const struct mc_vtype *x = c->in[0];
    struct mc_contents image, block;
    struct mc_window_dims w;
    mc_op_give(c, 0, x->dtype, NULL);
    if (!x->ranked || !mc_op_numbers(c, 1, &image) || !mc_op_numbers(c, 2, &block))
        return 0;
    if (image.n != block.n)
        return mc_op_fail(err, MC_ESHAPE, c->node, "image_shape has %d values, block_shape %d",
                          image.n, block.n);
    for (int i = 0; i < image.n; i++)
        if (image.value[i] < 1 || block.value[i] < 1 || image.value[i] > INT32_MAX)
            return mc_op_fail(err, MC_ESHAPE, c->node, "image of %lld, block of %lld",
                              (long long)image.value[i], (long long)block.value[i]);
    if ((rc = blocks_of(c->node, image.n, image.value, block.value, &w, err)))
        return rc;
    struct mc_shape taps = mc_shape_of(3, w.kernel), places = mc_shape_of(3, w.out);
    int64_t per = mc_shape_count(&taps), blocks = mc_shape_count(&places);
    if (per < 0 || (x->shape.dim[1] >= 0 && x->shape.dim[1] % per))
        return mc_op_fail(err, MC_ESHAPE, c->node, "%lld rows are no multiple of a block of %lld",
                          (long long)x->shape.dim[1], (long long)per);
    rc = mc_op_need_dim(c->node, "columns and blocks", x->shape.dim[2], blocks, &blocks, err);
    struct mc_shape y = {image.n + 2, {x->shape.dim[0], MC_DIM_ANY}};
    if (x->shape.dim[1] >= 0)
        y.dim[1] = x->shape.dim[1] / per;
    memcpy(y.dim + 2, image.value, (size_t)image.n * sizeof *image.value);
    if (!rc)
        mc_op_give(c, 0, x->dtype, &y);
    return rc;
}

static int col2im_run(struct mc_call *c, struct mc_err *err)
{
    const struct mc_shape *y = &c->out[0].shape;
    int64_t block[MC_RANK_MAX];
    struct mc_window_dims w;
    mc_op_ints(&c->in[2], block, MC_RANK_MAX);
    int rc = blocks_of(c->node, y->rank - 2, y->dim + 2, block, &w, err);
    if (rc)
        return rc;
    struct mc_fold f = {.channels = y->dim[0] * y->dim[1], .x = c->in[0].data, .y = c->out[0].data};
    memcpy(f.in, w.out, sizeof w.out); /* what a convolution makes of the image */
    memcpy(f.out, w.in, sizeof w.in);
    memcpy(f.kernel, w.kernel, sizeof w.kernel);
    memcpy(f.stride, w.stride, sizeof w.stride);
    memcpy(f.dilation, w.dilation, sizeof w.dilation);
    memcpy(f.pad, w.pad, sizeof w.pad);
    c->k->spatial.fold(&f, c->pool);
    return 0;
}

const struct mc_op mc_ops_deform[] = {
    {"", "DeformConv", 19, 0, deform_infer, deform_setup, deform_run, NULL, deform_macs, NULL},
    {"", "Col2Im", 18, 0, col2im_infer, NULL, col2im_run, NULL, NULL, NULL},
    {0},
};
