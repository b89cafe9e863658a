/* ConvTranspose over 1 to 3 spatial dimensions: the product of the transposed weights with an image spreads
 * out what each position contributes through each tap; folding sums it. Done for so many output channels at
 * a time that what lies between stays in the cache. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "graph/ops/conv_node.h"
#include "graph/ops/helper.h"
#include "graph/ops/op_gpu.h"
#include "graph/ops/window.h"

enum {
    BLOCK = 1 << 18, /* elements between product and folding: 1 MiB of float32, an L2 */
    LEAST_ROWS = 32, /* of the product, so that it does not wait for memory */
};

static int channels(const struct mc_infer_ctx *c, int64_t *ret_oc, struct mc_err *err)
{
    const struct mc_vtype *x = c->in[0], *w = c->in[1], *b = mc_op_in(c, 2);
    int64_t group = mc_node_int(c->node, "group", 1), ic = MC_DIM_ANY;
    if (group < 1)
        return mc_op_fail(err, MC_ESHAPE, c->node, "group %lld, must be at least 1",
                          (long long)group);
    int rc = mc_op_need_dim(c->node, "channels of input and weight",
                            x->ranked ? x->shape.dim[1] : MC_DIM_ANY,
                            w->ranked ? w->shape.dim[0] : MC_DIM_ANY, &ic, err);
    if (!rc && ic >= 0 && ic % group)
        rc = mc_op_fail(err, MC_ESHAPE, c->node, "group %lld does not divide %lld channels",
                        (long long)group, (long long)ic);
    *ret_oc = MC_DIM_ANY;
    if (!rc && w->ranked && w->shape.dim[1] >= 0 &&
        __builtin_mul_overflow(w->shape.dim[1], group, ret_oc))
        rc = mc_op_fail(err, MC_ESHAPE, c->node, "group %lld of %lld filters overflows",
                        (long long)group, (long long)w->shape.dim[1]);
    if (!rc && b && b->ranked)
        rc = mc_op_need_dim(c->node, "bias and filters", b->shape.dim[0], *ret_oc, ret_oc, err);
    return rc;
}

static int transposed_infer(struct mc_infer_ctx *c, struct mc_err *err)
{
    int rc = mc_op_arity(c, 2, 3, err);
    for (int i = 0; i < 3 && !rc; i++)
        if (mc_op_in(c, i)) {
            rc = mc_op_need_float(c, i, err);
            rc = rc ? rc : mc_op_need_same(c, 0, i, err);
        }
    rc = rc ? rc : mc_op_need_rank(c, 0, 3, MC_RANK_MAX, err);
    rc = rc ? rc : mc_op_need_rank(c, 1, 3, MC_RANK_MAX, err);
    rc = rc ? rc : mc_op_need_rank(c, 2, 1, 1, err);
    int64_t oc;
    rc = rc ? rc : channels(c, &oc, err);
    if (rc)
        return rc;
    const struct mc_vtype *x = c->in[0], *w = c->in[1];
    mc_op_give(c, 0, x->dtype, NULL);
    if (!x->ranked)
        return 0;
    if (w->ranked && w->shape.rank != x->shape.rank)
        return mc_op_fail(err, MC_ESHAPE, c->node, "input has rank %d, weight %d", x->shape.rank,
                          w->shape.rank);
    int64_t kernel[MC_RANK_MAX];
    for (int d = 0; d < x->shape.rank - 2; d++)
        kernel[d] = w->ranked ? w->shape.dim[d + 2] : MC_DIM_ANY;
    struct mc_window_dims win;
    if ((rc = mc_window_transposed(c->node, &x->shape, kernel, &win, err)))
        return rc;
    struct mc_shape y = x->shape;
    y.dim[1] = oc;
    for (int d = 2; d < y.rank; d++)
        y.dim[d] = win.out[d + 3 - y.rank];
    mc_op_give(c, 0, x->dtype, &y);
    return 0;
}

struct state {
    struct mc_fold fold; /* of a block; without pointers */
    int64_t images, group;
    int64_t ic, oc;        /* of one group */
    int64_t taps, in, out; /* elements of a kernel, of an image's channel, of an output's */
    int64_t block;         /* output channels at a time */
};

struct space { /* parts of the scratch */
    void *packed, *columns, *gemm;
};

static size_t layout(const struct mc_call *c, const struct state *s, struct space *ret)
{
    size_t at = 0, elem = (size_t)c->k->elem_bytes;
    int threads = mc_pool_threads(c->pool);
    int64_t rows = s->block * s->taps, rest = s->oc % s->block * s->taps;
    size_t whole = c->k->gemm.scratch_bytes(rows, s->in, s->ic, threads);
    size_t part = c->k->gemm.scratch_bytes(rest, s->in, s->ic, threads);
    ret->packed = mc_op_scratch(c, &at, c->k->gemm.pack_b_bytes(s->ic, s->in));
    ret->columns = mc_op_scratch(c, &at, (size_t)(rows * s->in) * elem);
    ret->gemm = mc_op_scratch(c, &at, whole > part ? whole : part);
    return at;
}

static int transposed_setup(struct mc_call *c, struct mc_err *err)
{
    const struct mc_shape *x = &c->in[0].shape, *w = &c->in[1].shape;
    struct mc_window_dims win;
    int rc = mc_window_transposed(c->node, x, w->dim + 2, &win, err);
    if (rc)
        return rc;
    struct state s = {.images = x->dim[0], .group = mc_node_int(c->node, "group", 1)};
    s.ic = x->dim[1] / s.group;
    s.oc = w->dim[1];
    s.taps = mc_op_span(&c->in[1], 2, w->rank);
    s.in = mc_op_span(&c->in[0], 2, x->rank);
    s.out = mc_op_span(&c->out[0], 2, x->rank);
    int64_t rows = s.in > 0 && BLOCK / s.in > LEAST_ROWS ? BLOCK / s.in : LEAST_ROWS;
    s.block = rows / s.taps;
    s.block = s.block < 1 ? 1 : s.block > s.oc ? s.oc : s.block;
    s.block = s.block < 1 ? 1 : s.block; /* no filters at all */
    memcpy(s.fold.in, win.in, sizeof win.in);
    memcpy(s.fold.out, win.out, sizeof win.out);
    memcpy(s.fold.kernel, win.kernel, sizeof win.kernel);
    memcpy(s.fold.stride, win.stride, sizeof win.stride);
    memcpy(s.fold.dilation, win.dilation, sizeof win.dilation);
    memcpy(s.fold.pad, win.pad, sizeof win.pad);
    struct space space;
    c->scratch_bytes = layout(c, &s, &space);
    c->state = malloc(sizeof s);
    if (!c->state)
        return mc_fail(err, MC_ENOMEM, "out of memory");
    memcpy(c->state, &s, sizeof s);
    return 0;
}

static const void *offset(const struct mc_call *c, const void *p, int64_t elements)
{
    return p ? (const char *)p + elements * c->k->elem_bytes : NULL;
}

/* Output channels [from, from + n) of a group, of one image that is packed. */
static void one_block(const struct mc_call *c, const struct state *s, const struct space *space,
                      int64_t image, int64_t group, int64_t from, int64_t n)
{
    const struct mc_buf *bias = mc_op_arg(c, 2);
    int64_t rows = s->oc * s->taps;
    struct mc_gemm g = {.m = n * s->taps,
                        .n = s->in,
                        .k = s->ic,
                        .a = offset(c, c->in[1].data, group * s->ic * rows + from * s->taps),
                        .a_row = 1,
                        .a_col = rows,
                        .packed_b = space->packed,
                        .c = space->columns,
                        .c_row = s->in,
                        .alpha = 1};
    c->k->gemm.run(&g, space->gemm, c->pool);
    int64_t channel = group * s->oc + from;
    int64_t at = (image * s->group * s->oc + channel) * s->out;
    struct mc_fold f = s->fold;
    f.channels = n;
    f.x = space->columns;
    f.y = (void *)offset(c, c->out[0].data, at);
    if (c->epilogue)
        f.epilogue = *c->epilogue;
    assert(!bias || !f.epilogue.bias);
    f.epilogue.bias = offset(c, bias ? bias->data : f.epilogue.bias, channel);
    f.epilogue.residual = offset(c, f.epilogue.residual, at);
    c->k->spatial.fold(&f, c->pool);
}

static int transposed_run(struct mc_call *c, struct mc_err *err)
{
    (void)err;
    const struct state *s = c->state;
    struct space space;
    layout(c, s, &space);
    for (int64_t image = 0; image < s->images; image++)
        for (int64_t group = 0; group < s->group; group++) {
            int64_t at = (image * s->group + group) * s->ic * s->in;
            c->k->gemm.pack_b(s->ic, s->in, offset(c, c->in[0].data, at), s->in, 1, space.packed,
                              c->pool);
            for (int64_t from = 0; from < s->oc; from += s->block) {
                int64_t left = s->oc - from;
                one_block(c, s, &space, image, group, from, left < s->block ? left : s->block);
            }
        }
    return 0;
}

static void transposed_teardown(struct mc_call *c)
{
    free(c->state);
    c->state = NULL;
}

static double transposed_macs(const struct mc_infer_ctx *c)
{
    const struct mc_vtype *x = c->in[0], *w = c->in[1];
    int64_t in = x->ranked ? mc_shape_count(&x->shape) : -1;
    int64_t per = w->ranked ? mc_shape_span(&w->shape, 1, w->shape.rank) : -1;
    return in < 0 || per < 0 ? -1 : (double)in * (double)per;
}

const struct mc_op mc_ops_convtranspose[] = {
    {"", "ConvTranspose", 1, MC_OP_EPILOGUE, transposed_infer, transposed_setup, transposed_run,
     transposed_teardown, transposed_macs, NULL},
    {0},
};

/* ---- on a GPU: the gradient of a convolution by its input, at once ---- */

static bool gpu_can(const struct mc_call *c)
{
    struct mc_conv v;
    struct mc_err err;
    return c->k->conv_grad.input && mc_op_gpu_floats(c) &&
           !mc_conv_transposed_sizes(c->node, &c->in[0].shape, &c->in[1].shape, &v, &err) &&
           mc_conv_counts_fit(&v);
}

static int gpu_setup(struct mc_call *c, struct mc_err *err)
{
    struct mc_conv *v = c->state = malloc(sizeof *v);
    if (!v)
        return mc_fail(err, MC_ENOMEM, "out of memory");
    return mc_conv_transposed_sizes(c->node, &c->in[0].shape, &c->in[1].shape, v, err);
}

static int gpu_run(struct mc_call *c, struct mc_err *err)
{
    (void)err;
    const struct mc_buf *bias = mc_op_arg(c, 2);
    struct mc_conv_grad g = {.c = *(const struct mc_conv *)c->state,
                             .dy = c->in[0].data,
                             .w = c->in[1].data,
                             .dx = c->out[0].data};
    if (c->epilogue)
        g.c.epilogue = *c->epilogue;
    if (bias)
        g.c.epilogue.bias = bias->data;
    c->k->conv_grad.input(&g, c->scratch, c->pool);
    return 0;
}

const struct mc_op_gpu mc_op_gpu_convtranspose[] = {
    {"", "ConvTranspose", .can = gpu_can, .setup = gpu_setup, .run = gpu_run,
     .teardown = transposed_teardown},
    {0},
};
