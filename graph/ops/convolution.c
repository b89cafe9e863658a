/* Conv over 1 to 3 spatial dimensions, and FusedConv of com.microsoft: with a residual and an activation. */
#include <stdlib.h>
#include <string.h>

#include "graph/ops/conv_node.h"
#include "graph/ops/fused_act.h"
#include "graph/ops/helper.h"
#include "graph/ops/op_gpu.h"
#include "graph/ops/pack.h"
#include "graph/ops/window.h"

static int conv_channels(const struct mc_infer_ctx *c, int weight, int bias, int64_t *ret_oc,
                         struct mc_err *err)
{
    const struct mc_vtype *x = c->in[0], *w = c->in[weight], *b = mc_op_in(c, bias);
    int64_t group = mc_node_int(c->node, "group", 1);
    if (group < 1)
        return mc_op_fail(err, MC_ESHAPE, c->node, "group %lld, must be at least 1",
                          (long long)group);
    *ret_oc = w->ranked ? w->shape.dim[0] : MC_DIM_ANY;
    if (*ret_oc >= 0 && *ret_oc % group)
        return mc_op_fail(err, MC_ESHAPE, c->node, "group %lld does not divide %lld filters",
                          (long long)group, (long long)*ret_oc);
    if (x->ranked && w->ranked) {
        int64_t ic = x->shape.dim[1], per = w->shape.dim[1];
        if (ic >= 0 && per >= 0 && (ic % group || ic / group != per))
            return mc_op_fail(err, MC_ESHAPE, c->node,
                              "%lld channels do not fit %lld groups of %lld", (long long)ic,
                              (long long)group, (long long)per);
    }
    if (b && b->ranked)
        return mc_op_need_dim(c->node, "bias and filters", b->shape.dim[0], *ret_oc, ret_oc, err);
    return 0;
}

int mc_conv_infer(struct mc_infer_ctx *c, int weight, int bias, enum mc_dtype dtype,
                  struct mc_err *err)
{
    int rc = mc_op_need_rank(c, 0, 3, MC_RANK_MAX, err);
    rc = rc ? rc : mc_op_need_rank(c, weight, 3, MC_RANK_MAX, err);
    rc = rc ? rc : mc_op_need_rank(c, bias, 1, 1, err);
    int64_t oc;
    rc = rc ? rc : conv_channels(c, weight, bias, &oc, err);
    if (rc)
        return rc;
    const struct mc_vtype *x = c->in[0], *w = c->in[weight];
    if (!x->ranked) {
        mc_op_give(c, 0, dtype, NULL);
        return 0;
    }
    int64_t kernel[MC_RANK_MAX];
    for (int d = 0; d < x->shape.rank - 2; d++)
        kernel[d] = w->ranked ? w->shape.dim[d + 2] : MC_DIM_ANY;
    if (w->ranked && w->shape.rank != x->shape.rank)
        return mc_op_fail(err, MC_ESHAPE, c->node, "input has rank %d, weight %d", x->shape.rank,
                          w->shape.rank);
    struct mc_window_dims win;
    if ((rc = mc_window_infer(c->node, &x->shape, kernel, &win, err)))
        return rc;
    struct mc_shape y = x->shape;
    y.dim[1] = oc;
    for (int d = 2; d < y.rank; d++)
        y.dim[d] = win.out[d + 3 - y.rank];
    mc_op_give(c, 0, dtype, &y);
    return 0;
}

double mc_conv_macs(const struct mc_infer_ctx *c, int weight)
{
    int64_t out = c->out[0]->ranked ? mc_shape_count(&c->out[0]->shape) : -1;
    const struct mc_vtype *w = c->in[weight];
    int64_t per = w->ranked ? mc_shape_span(&w->shape, 1, w->shape.rank) : -1;
    return out < 0 || per < 0 ? -1 : (double)out * (double)per;
}

static int conv_infer(struct mc_infer_ctx *c, struct mc_err *err)
{
    int rc = mc_op_arity(c, 2, 3, err);
    for (int i = 0; i < 3 && !rc; i++)
        if (mc_op_in(c, i)) {
            rc = mc_op_need_float(c, i, err);
            rc = rc ? rc : mc_op_need_same(c, 0, i, err);
        }
    return rc ? rc : mc_conv_infer(c, 1, 2, c->in[0]->dtype, err);
}

/* in and out of the window are those of the convolution. */
static struct mc_conv sizes(const struct mc_node *n, const struct mc_window_dims *win)
{
    struct mc_conv c = {.group = mc_node_int(n, "group", 1)};
    memcpy(c.in, win->in, sizeof win->in);
    memcpy(c.out, win->out, sizeof win->out);
    memcpy(c.kernel, win->kernel, sizeof win->kernel);
    memcpy(c.stride, win->stride, sizeof win->stride);
    memcpy(c.dilation, win->dilation, sizeof win->dilation);
    memcpy(c.pad, win->pad, sizeof win->pad);
    return c;
}

int mc_conv_sizes(const struct mc_node *n, const struct mc_shape *x, const struct mc_shape *w,
                  struct mc_conv *ret, struct mc_err *err)
{
    struct mc_window_dims win;
    int rc = mc_window_infer(n, x, w->dim + 2, &win, err);
    if (rc)
        return rc;
    *ret = sizes(n, &win);
    ret->n = x->dim[0];
    ret->c = x->dim[1];
    ret->oc = w->dim[0];
    return 0;
}

int mc_conv_transposed_sizes(const struct mc_node *n, const struct mc_shape *x,
                             const struct mc_shape *w, struct mc_conv *ret, struct mc_err *err)
{
    struct mc_window_dims win;
    int rc = mc_window_transposed(n, x, w->dim + 2, &win, err);
    if (rc)
        return rc;
    *ret = sizes(n, &win);
    memcpy(ret->in, win.out, sizeof win.out);
    memcpy(ret->out, win.in, sizeof win.in);
    ret->n = x->dim[0];
    ret->c = w->dim[1] * ret->group;
    ret->oc = x->dim[1];
    return 0;
}

/* a times the sizes, in [0, limit]; limit + 1: more. */
static int64_t count(int64_t a, const int64_t size[3], int64_t limit)
{
    for (int d = 0; d < 3; d++)
        if (a > limit || size[d] > limit || __builtin_mul_overflow(a, size[d], &a))
            return limit + 1;
    return a;
}

bool mc_conv_counts_fit(const struct mc_conv *c)
{
    const int64_t most = INT32_MAX, groups_most = 4095;
    int64_t x, y, w;
    if (__builtin_mul_overflow(c->n, c->c, &x) || __builtin_mul_overflow(c->n, c->oc, &y) ||
        __builtin_mul_overflow(c->oc, c->c / c->group, &w))
        return false;
    for (int d = 0; d < 3; d++) {
        int64_t reach; /* of positions with their padding */
        if (__builtin_mul_overflow(c->out[d], c->stride[d], &reach) ||
            __builtin_add_overflow(reach, c->in[d], &reach) || reach > most / 4 ||
            c->pad[d] > most / 4 || c->pad[d] < -most / 4 ||
            (c->kernel[d] > 1 && c->dilation[d] > most / 4 / c->kernel[d]))
            return false;
    }
    return count(x, c->in, most) <= most && count(y, c->out, most) <= most &&
           count(w, c->kernel, most) <= most && (c->group <= groups_most || c->group == c->c);
}

struct state {
    struct mc_conv conv;
    size_t packed_bytes;
};

static size_t conv_scratch(const struct mc_call *c, const struct state *s)
{
    if (!c->k->conv.scratch_bytes)
        return 0;
    return c->k->conv.scratch_bytes(&s->conv, mc_pool_threads(c->pool));
}

static int conv_pack(struct mc_call *c, struct state *s, struct mc_err *err)
{
    const struct mc_conv *v = &s->conv;
    if (c->k->device)
        return 0;
    s->packed_bytes = c->k->conv.pack_w_bytes(v);
    if (!c->in[1].constant)
        return 0;
    const int64_t layout[] = {MC_PACK_CONV, v->oc,        v->c,         v->group,
                              v->kernel[0], v->kernel[1], v->kernel[2], (int64_t)s->packed_bytes};
    void *block;
    bool fresh;
    int rc = mc_pack_get(c->packs, c->in[1].data, layout, 8, s->packed_bytes, &block, &fresh, err);
    if (!rc && fresh)
        c->k->conv.pack_w(v, c->in[1].data, block, c->pool);
    if (!rc) {
        s->conv.packed_w = block;
        c->packed = 1 << 1;
    }
    return rc;
}

static int conv_setup(struct mc_call *c, struct mc_err *err)
{
    struct state s = {0};
    int rc = mc_conv_sizes(c->node, &c->in[0].shape, &c->in[1].shape, &s.conv, err);
    rc = rc ? rc : conv_pack(c, &s, err);
    if (rc)
        return rc;
    size_t at = 0;
    if (!s.conv.packed_w)
        mc_op_scratch(c, &at, s.packed_bytes);
    mc_op_scratch(c, &at, conv_scratch(c, &s));
    c->scratch_bytes = at;
    c->state = malloc(sizeof s);
    if (!c->state)
        return mc_fail(err, MC_ENOMEM, "out of memory");
    memcpy(c->state, &s, sizeof s);
    return 0;
}

static int conv_run(struct mc_call *c, struct mc_err *err)
{
    (void)err;
    const struct state *s = c->state;
    const struct mc_buf *bias = mc_op_arg(c, 2);
    struct mc_conv v = s->conv;
    size_t at = 0;
    if (c->k->device) {
        v.w = c->in[1].data;
    } else if (!v.packed_w) {
        void *block = mc_op_scratch(c, &at, s->packed_bytes);
        c->k->conv.pack_w(&v, c->in[1].data, block, c->pool);
        v.packed_w = block;
    }
    if (c->epilogue)
        v.epilogue = *c->epilogue;
    if (bias && !v.epilogue.bias) /* an epilogue's has it in it */
        v.epilogue.bias = bias->data;
    v.x = c->in[0].data;
    v.y = c->out[0].data;
    c->k->conv.run(&v, mc_op_scratch(c, &at, conv_scratch(c, s)), c->pool);
    return 0;
}

enum { RESIDUAL = 3 }; /* input of FusedConv */

static int fused_conv_infer(struct mc_infer_ctx *c, struct mc_err *err)
{
    struct mc_fused_act act;
    int rc = mc_op_arity(c, 2, 4, err);
    for (int i = 0; i < 4 && !rc; i++)
        if (mc_op_in(c, i)) {
            rc = mc_op_need_float(c, i, err);
            rc = rc ? rc : mc_op_need_same(c, 0, i, err);
        }
    rc = rc ? rc : mc_fused_act(c->node, &act, err);
    rc = rc ? rc : mc_conv_infer(c, 1, 2, c->in[0]->dtype, err);
    const struct mc_vtype *z = mc_op_in(c, RESIDUAL), *y = rc ? NULL : c->out[0];
    char a[MC_SHAPE_TEXT], b[MC_SHAPE_TEXT];
    if (!rc && z && y && z->ranked && y->ranked && mc_shape_known(&z->shape) &&
        mc_shape_known(&y->shape) && !mc_shape_equal(&z->shape, &y->shape))
        return mc_op_fail(err, MC_ESHAPE, c->node, "the residual is %s, the result %s",
                          mc_shape_text(&z->shape, a), mc_shape_text(&y->shape, b));
    return rc;
}

static int fused_conv_run(struct mc_call *c, struct mc_err *err)
{
    struct mc_fused_act act;
    int rc = mc_fused_act(c->node, &act, err);
    if (mc_op_arg(c, RESIDUAL))
        act.epilogue.residual = c->in[RESIDUAL].data;
    c->epilogue = &act.epilogue;
    rc = rc ? rc : conv_run(c, err);
    c->epilogue = NULL;
    mc_fused_act_rest(c, &act);
    return rc;
}

static void conv_teardown(struct mc_call *c)
{
    free(c->state);
    c->state = NULL;
}

static double conv_macs(const struct mc_infer_ctx *c)
{
    return mc_conv_macs(c, 1);
}

const struct mc_op mc_ops_convolution[] = {
    {"", "Conv", 1, MC_OP_EPILOGUE, conv_infer, conv_setup, conv_run, conv_teardown, conv_macs,
     NULL},
    {"com.microsoft", "FusedConv", 1, 0, fused_conv_infer, conv_setup, fused_conv_run,
     conv_teardown, conv_macs, NULL},
    {0},
};

static bool gpu_can(const struct mc_call *c)
{
    struct mc_conv v;
    struct mc_err err;
    struct mc_fused_act act = {.rest = false};
    if (!mc_op_gpu_floats(c) || !c->k->conv.run ||
        mc_conv_sizes(c->node, &c->in[0].shape, &c->in[1].shape, &v, &err))
        return false;
    if (mc_node_is(c->node, "FusedConv") && mc_fused_act(c->node, &act, &err))
        return false;
    return mc_conv_counts_fit(&v) && (!act.rest || c->k->elementwise.unary);
}

const struct mc_op_gpu mc_op_gpu_convolution[] = {
    {"", "Conv", .can = gpu_can},
    {"com.microsoft", "FusedConv", .can = gpu_can},
    {0},
};
