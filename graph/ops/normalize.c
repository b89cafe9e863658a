/* Softmax, LogSoftmax, InstanceNormalization, GroupNormalization. */
#include <math.h>
#include <string.h>

#include "graph/ops/helper.h"
#include "graph/ops/op_gpu.h"

/* ---- Softmax: before version 13 over all dimensions from `axis` on, then over one ---- */

static int softmax_infer(struct mc_infer_ctx *c, struct mc_err *err)
{
    int rc = mc_op_arity(c, 1, 1, err), rank = mc_op_rank(c, 0), axis;
    rc = rc ? rc : mc_op_need_float(c, 0, err);
    bool old = c->node->version < 13;
    int64_t given = mc_node_int(c->node, "axis", old ? 1 : -1);
    if (!rc && rank >= 0 && !(old && given == rank))
        rc = mc_op_need_axis(c->node, "axis", given, rank, &axis, err);
    return rc ? rc : mc_op_same(c, err);
}

static int softmax_run(struct mc_call *c, struct mc_err *err)
{
    (void)err;
    const struct mc_buf *x = &c->in[0];
    int rank = x->shape.rank;
    bool old = c->node->version < 13;
    int64_t given = mc_node_int(c->node, "axis", old ? 1 : -1);
    int axis = (int)(given < 0 ? given + rank : given);
    struct mc_softmax s = {.log = mc_node_is(c->node, "LogSoftmax"),
                           .outer = mc_op_span(x, 0, axis),
                           .n = mc_op_span(x, axis, old ? rank : axis + 1),
                           .inner = old ? 1 : mc_op_span(x, axis + 1, rank),
                           .x = x->data,
                           .y = c->out[0].data};
    c->k->nn.softmax(&s, c->pool);
    return 0;
}

/* Inputs [from, to) are float vectors of `n` elements (n < 0: not known). */
static int need_vectors(const struct mc_infer_ctx *c, int from, int to, int64_t n,
                        struct mc_err *err)
{
    for (int i = from; i < to; i++) {
        if (!mc_op_in(c, i))
            continue;
        int rc = mc_op_need_float(c, i, err);
        rc = rc ? rc : mc_op_need_rank(c, i, 1, 1, err);
        int64_t same;
        if (!rc && c->in[i]->ranked)
            rc = mc_op_need_dim(c->node, "parameter and channels", c->in[i]->shape.dim[0], n, &same,
                                err);
        if (rc)
            return rc;
    }
    return 0;
}

static int64_t channels_of(const struct mc_infer_ctx *c)
{
    const struct mc_vtype *x = c->in[0];
    if (!x->ranked)
        return -1;
    return x->shape.rank > 1 ? x->shape.dim[1] : 1;
}

/* y = x scale + shift per channel, dimension 1 (a single one where x has rank 1). */
static void affine(const struct mc_call *c, const void *x, const void *scale, const void *shift)
{
    const struct mc_buf *in = &c->in[0];
    int rank = in->shape.rank, lead = rank > 1 ? 2 : 1;
    struct mc_affine a = {.outer = rank > 0 ? in->shape.dim[0] : 1,
                          .channels = rank > 1 ? in->shape.dim[1] : 1,
                          .inner = mc_op_span(in, lead < rank ? lead : rank, rank),
                          .x = x,
                          .scale = scale,
                          .shift = shift,
                          .y = c->out[0].data};
    c->k->nn.affine(&a, c->pool);
}

/* ---- InstanceNormalization and GroupNormalization ---- */

static size_t channel_scratch(struct mc_call *c, void **ret_scale, void **ret_shift)
{
    const struct mc_shape *x = &c->in[0].shape;
    size_t at = 0, bytes = (size_t)((x->rank > 1 ? x->dim[1] : 1) * c->k->elem_bytes);
    *ret_scale = mc_op_scratch(c, &at, bytes);
    *ret_shift = mc_op_scratch(c, &at, bytes);
    return at;
}

static int group_setup(struct mc_call *c, struct mc_err *err)
{
    (void)err;
    void *scale, *shift;
    c->scratch_bytes = channel_scratch(c, &scale, &shift);
    return 0;
}

static int instance_infer(struct mc_infer_ctx *c, struct mc_err *err)
{
    bool group = mc_node_is(c->node, "GroupNormalization");
    int rc = mc_op_arity(c, 3, 3, err);
    rc = rc ? rc : mc_op_need_float(c, 0, err);
    rc = rc ? rc : mc_op_need_same(c, 0, 1, err);
    rc = rc ? rc : mc_op_need_same(c, 0, 2, err);
    rc = rc ? rc : mc_op_need_rank(c, 0, group ? 2 : 3, MC_RANK_MAX, err);
    if (rc)
        return rc;
    int64_t channels = channels_of(c), groups = mc_node_int(c->node, "num_groups", 0);
    if (group && (groups < 1 || (channels >= 0 && channels % groups)))
        return mc_op_fail(err, MC_ESHAPE, c->node, "num_groups %lld does not divide %lld channels",
                          (long long)groups, (long long)channels);
    /* Before version 21 a group had one scale. */
    rc = need_vectors(c, 1, 3, group && c->node->version < 21 ? groups : channels, err);
    return rc ? rc : mc_op_same(c, err);
}

static int instance_setup(struct mc_call *c, struct mc_err *err)
{
    return mc_node_is(c->node, "GroupNormalization") ? group_setup(c, err) : 0;
}

/* A parameter of each channel; where each group has one, they are repeated in `room`. */
static const void *each_channel(const struct mc_call *c, const struct mc_buf *given,
                                int64_t channels, int64_t groups, void *room)
{
    if (mc_op_count(given) == channels)
        return given->data;
    const struct mc_move m = {.rank = 2,
                              .dim = {groups, channels / groups},
                              .src_stride = {1, 0},
                              .dst_stride = {channels / groups, 1},
                              .src = given->data,
                              .dst = room,
                              .elem_bytes = c->k->elem_bytes};
    c->k->move.run(&m, c->pool);
    return room;
}

static int instance_run(struct mc_call *c, struct mc_err *err)
{
    (void)err;
    const struct mc_buf *x = &c->in[0];
    bool group = mc_node_is(c->node, "GroupNormalization");
    int64_t channels = x->shape.dim[1];
    int64_t groups = group ? mc_node_int(c->node, "num_groups", 1) : channels;
    int64_t rows = x->shape.dim[0] * groups, all = mc_op_count(x);
    struct mc_norm m = {.rows = rows,
                        .n = rows ? all / rows : 0,
                        .channels = groups,
                        .eps = (double)mc_node_float(c->node, "epsilon", 1e-5f),
                        .x = x->data,
                        .scale = group ? NULL : c->in[1].data,
                        .bias = group ? NULL : c->in[2].data,
                        .y = c->out[0].data};
    c->k->nn.norm(&m, c->pool);
    if (!group)
        return 0;
    void *scale, *shift;
    channel_scratch(c, &scale, &shift);
    affine(c, c->out[0].data, each_channel(c, &c->in[1], channels, groups, scale),
           each_channel(c, &c->in[2], channels, groups, shift));
    return 0;
}

#define SOFTMAX(name)                                                                              \
    {                                                                                              \
        "", name, 1, MC_OP_INPLACE, softmax_infer, NULL, softmax_run, NULL, NULL, NULL             \
    }
const struct mc_op mc_ops_normalize[] = {
    SOFTMAX("Softmax"),
    SOFTMAX("LogSoftmax"),
    {"", "InstanceNormalization", 6, MC_OP_INPLACE, instance_infer, instance_setup, instance_run,
     NULL, NULL, NULL},
    {"", "GroupNormalization", 18, MC_OP_INPLACE, instance_infer, instance_setup, instance_run,
     NULL, NULL, NULL},
    {0},
};

static bool softmax_gpu(const struct mc_call *c)
{
    return mc_op_gpu_floats(c) && c->k->nn.softmax;
}

static bool instance_gpu(const struct mc_call *c)
{
    return mc_op_gpu_floats(c) && c->k->nn.norm;
}

static bool group_gpu(const struct mc_call *c)
{
    return instance_gpu(c) && c->k->nn.affine && c->k->move.run;
}

const struct mc_op_gpu mc_op_gpu_normalize[] = {
    {"", "Softmax", .can = softmax_gpu},
    {"", "LogSoftmax", .can = softmax_gpu},
    {"", "InstanceNormalization", .can = instance_gpu},
    {"", "GroupNormalization", .can = group_gpu},
    {0},
};
