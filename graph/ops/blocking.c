/* DepthToSpace, SpaceToDepth, CenterCropPad: elements in other places. */
#include <string.h>

#include "graph/ops/helper.h"
#include "graph/ops/op_gpu.h"

/* ---- DepthToSpace and SpaceToDepth ---- */

static bool to_space(const struct mc_node *n)
{
    return mc_node_is(n, "DepthToSpace");
}

/* Both have a mode; that of SpaceToDepth, newer than the operator, says how the channels are laid out. */
static int mode_of(const struct mc_node *n, bool *ret_depth_last, struct mc_err *err)
{
    const char *mode = mc_node_string(n, "mode", "DCR");
    *ret_depth_last = !strcmp(mode, "CRD");
    if (*ret_depth_last || !strcmp(mode, "DCR"))
        return 0;
    return mc_op_fail(err, MC_EUNSUP, n, "mode '%s' is not known", mode);
}

static int block_infer(struct mc_infer_ctx *c, struct mc_err *err)
{
    bool space = to_space(c->node), last;
    int rc = mc_op_arity(c, 1, 1, err);
    rc = rc ? rc : mc_op_need_movable(c, 0, err);
    rc = rc ? rc : mc_op_need_rank(c, 0, 4, 4, err);
    rc = rc ? rc : mode_of(c->node, &last, err);
    int64_t b = mc_node_int(c->node, "blocksize", 0);
    if (!rc && (b < 1 || b > INT16_MAX))
        rc = mc_op_fail(err, MC_ESHAPE, c->node, "blocksize %lld, must be 1 to %d", (long long)b,
                        INT16_MAX);
    if (rc)
        return rc;
    const struct mc_vtype *x = c->in[0];
    struct mc_shape y = x->shape;
    for (int d = 1; x->ranked && d < 4; d++) {
        int64_t by = d == 1 ? b * b : b, n = y.dim[d];
        bool shrinks = space == (d == 1);
        if (n < 0) {
            y.dim[d] = b == 1 ? n : MC_DIM_ANY;
            continue;
        }
        if (shrinks && n % by)
            return mc_op_fail(err, MC_ESHAPE, c->node, "dimension %d, %lld, is no multiple of %lld",
                              d, (long long)n, (long long)by);
        if (!shrinks && n > INT64_MAX / by)
            return mc_op_fail(err, MC_ESHAPE, c->node, "dimension %d overflows", d);
        y.dim[d] = shrinks ? n / by : n * by;
    }
    mc_op_give(c, 0, x->dtype, x->ranked ? &y : NULL);
    return 0;
}

static int block_run(struct mc_call *c, struct mc_err *err)
{
    bool space = to_space(c->node), last;
    int rc = mode_of(c->node, &last, err);
    const struct mc_shape *deep = space ? &c->in[0].shape : &c->out[0].shape;
    int64_t b = mc_node_int(c->node, "blocksize", 1), h = deep->dim[2], w = deep->dim[3];
    int64_t channels = deep->dim[1] / (b * b), plane = h * w;
    struct mc_move m = {.rank = 6,
                        .dim = {deep->dim[0], channels, h, b, w, b},
                        .src = c->in[0].data,
                        .dst = c->out[0].data,
                        .elem_bytes = mc_op_elem_bytes(c->in[0].dtype)};
    const int64_t wide[] = {channels * b * b * plane, b * b * plane, b * b * w, b * w, b, 1};
    const int64_t first[] = {wide[0], plane, w, b * channels * plane, 1, channels * plane};
    const int64_t inner[] = {wide[0], b * b * plane, w, b * plane, 1, plane};
    const int64_t *from = last ? inner : first;
    memcpy(m.src_stride, space ? from : wide, sizeof wide);
    memcpy(m.dst_stride, space ? wide : from, sizeof wide);
    c->k->move.run(&m, c->pool);
    return rc;
}

/* ---- CenterCropPad ---- */

static int crop_infer(struct mc_infer_ctx *c, struct mc_err *err)
{
    int rc = mc_op_arity(c, 2, 2, err), axes[MC_RANK_MAX], n = 0;
    rc = rc ? rc : mc_op_need_movable(c, 0, err);
    rc = rc ? rc : mc_op_need_index(c, 1, err);
    rc = rc ? rc : mc_op_need_rank(c, 1, 1, 1, err);
    const struct mc_vtype *x = c->in[0];
    if (!rc)
        mc_op_give(c, 0, x->dtype, NULL);
    if (rc || !x->ranked)
        return rc;
    struct mc_shape y = x->shape;
    struct mc_contents size;
    bool known = mc_op_contents(c, 1, &size);
    rc = mc_op_need_axes(c->node, y.rank, axes, &n, err);
    if (!rc && known && size.n != n)
        rc = mc_op_fail(err, MC_ESHAPE, c->node, "%d sizes for %d axes", size.n, n);
    for (int i = 0; i < n && !rc; i++) {
        y.dim[axes[i]] = !known ? MC_DIM_ANY : size.sym[i] ? size.sym[i] : size.value[i];
        if (known && !size.sym[i] && size.value[i] < 0)
            rc = mc_op_fail(err, MC_ESHAPE, c->node, "size %lld is negative",
                            (long long)size.value[i]);
    }
    if (!rc)
        mc_op_give(c, 0, x->dtype, &y);
    return rc;
}

static int crop_run(struct mc_call *c, struct mc_err *err)
{
    (void)err;
    const struct mc_shape *x = &c->in[0].shape, *y = &c->out[0].shape;
    int elem = mc_op_elem_bytes(c->in[0].dtype);
    char zero[16] = {0};
    struct mc_move m = {.rank = x->rank ? x->rank : 1, .dim = {1}, .elem_bytes = elem};
    mc_op_strides(x, m.src_stride);
    mc_op_strides(y, m.dst_stride);
    int64_t from = 0, to = 0;
    for (int d = 0; d < x->rank; d++) {
        int64_t less = x->dim[d] - y->dim[d];
        m.dim[d] = less > 0 ? y->dim[d] : x->dim[d];
        from += less > 0 ? less / 2 * m.src_stride[d] : 0;
        to += less < 0 ? -less / 2 * m.dst_stride[d] : 0;
    }
    m.src = (const char *)c->in[0].data + from * elem;
    m.dst = (char *)c->out[0].data + to * elem;
    c->k->move.fill(c->out[0].data, mc_op_count(&c->out[0]), zero, elem, c->pool);
    c->k->move.run(&m, c->pool);
    return 0;
}

const struct mc_op mc_ops_blocking[] = {
    {"", "DepthToSpace", 1, 0, block_infer, NULL, block_run, NULL, NULL, NULL},
    {"", "SpaceToDepth", 1, 0, block_infer, NULL, block_run, NULL, NULL, NULL},
    {"", "CenterCropPad", 18, 0, crop_infer, NULL, crop_run, NULL, NULL, NULL},
    {0},
};

static bool gpu_can(const struct mc_call *c)
{
    return mc_op_gpu_floats(c) && c->k->move.run && c->k->move.fill;
}

const struct mc_op_gpu mc_op_gpu_blocking[] = {
    {"", "DepthToSpace", .can = gpu_can},
    {"", "SpaceToDepth", .can = gpu_can},
    {"", "CenterCropPad", .can = gpu_can, .host_in = 1 << 1},
    {0},
};
