/* Norms of rows, the dimensions from `axis` on: LayerNormalization, and without a mean RMSNormalization and
 * SimplifiedLayerNormalization; of com.microsoft SkipLayerNormalization and SkipSimplifiedLayerNormalization,
 * which add inputs first.
 *
 * ONNX Runtime has LayerNormalization and SimplifiedLayerNormalization in ai.onnx from version 1 on, and
 * models that it optimised use them there. */
#include <string.h>

#include "graph/ops/helper.h"
#include "graph/ops/op_gpu.h"

static const struct form {
    const char *name;
    bool rms;           /* no mean */
    int most;           /* inputs */
    int scale, bias;    /* inputs; -1 where there is none, as below */
    int mean, inv_std;  /* outputs */
    int skip, skip_add; /* input added to the first, and a vector added too */
} forms[] = {
    {"LayerNormalization", false, 3, 1, 2, 1, 2, -1, -1},
    {"RMSNormalization", true, 2, 1, -1, -1, -1, -1, -1},
    {"SimplifiedLayerNormalization", true, 2, 1, -1, -1, 1, -1, -1},
    {"SkipLayerNormalization", false, 5, 2, 3, 1, 2, 1, 4},
    {"SkipSimplifiedLayerNormalization", true, 4, 2, -1, 1, 2, 1, 3},
};
enum { SKIP_SUM = 3 }; /* output: what was normalised */

static const struct form *form_of(const struct mc_node *n)
{
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++)
        if (!strcmp(forms[i].name, n->op_type))
            return &forms[i];
    return NULL;
}

/* Input i broadcasts to the last dimensions of x from `axis` on. */
static int need_fit(const struct mc_infer_ctx *c, int i, const struct mc_shape *over,
                    struct mc_err *err)
{
    const struct mc_vtype *p = i < 0 ? NULL : mc_op_in(c, i);
    struct mc_shape sum;
    char a[MC_SHAPE_TEXT], b[MC_SHAPE_TEXT];
    if (!p || !p->ranked)
        return 0;
    if (mc_shape_broadcast(&p->shape, over, &sum) &&
        !(mc_shape_known(over) && mc_shape_known(&sum) && !mc_shape_equal(&sum, over)))
        return 0;
    return mc_op_fail(err, MC_ESHAPE, c->node, "input %d %s does not fit %s", i,
                      mc_shape_text(&p->shape, a), mc_shape_text(over, b));
}

static int layer_infer(struct mc_infer_ctx *c, struct mc_err *err)
{
    const struct form *f = form_of(c->node);
    int rc = mc_op_arity(c, f->scale + 1, f->most, err), axis = 0;
    for (int i = 0; i < f->most && !rc; i++)
        if (mc_op_in(c, i))
            rc = mc_op_need_float(c, i, err);
    rc = rc ? rc : mc_op_need_one_width(c, err);
    if (rc)
        return rc;
    const struct mc_vtype *x = c->in[0];
    struct mc_shape y = x->shape;
    const struct mc_shape *one = NULL;
    if (x->ranked) {
        int64_t given = f->skip < 0 ? mc_node_int(c->node, "axis", -1) : -1;
        rc = mc_op_need_axis(c->node, "axis", given, y.rank, &axis, err);
        if (rc)
            return rc;
        struct mc_shape over = mc_shape_of(y.rank - axis, y.dim + axis);
        rc = need_fit(c, f->scale, &over, err);
        rc = rc ? rc : need_fit(c, f->bias, &over, err);
        rc = rc ? rc : need_fit(c, f->skip_add, &over, err);
        rc = rc ? rc : need_fit(c, f->skip, &y, err);
        if (rc)
            return rc;
        for (int d = axis; d < y.rank; d++)
            y.dim[d] = 1;
        one = &y;
    }
    mc_op_give(c, 0, x->dtype, x->ranked ? &x->shape : NULL);
    int64_t stash = mc_node_int(c->node, "stash_type", 1);
    enum mc_dtype stats = stash == MC_DTYPE_BF16 ? MC_DTYPE_BF16 : MC_DTYPE_F32;
    if (f->mean > 0)
        mc_op_give(c, f->mean, stats, one);
    if (f->inv_std > 0)
        mc_op_give(c, f->inv_std, stats, one);
    if (f->skip > 0)
        mc_op_give(c, SKIP_SUM, x->dtype, x->ranked ? &x->shape : NULL);
    return 0;
}

static int layer_axis(const struct mc_call *c)
{
    return mc_shape_axis(form_of(c->node)->skip < 0 ? mc_node_int(c->node, "axis", -1)
                                                    : (int64_t)-1,
                         c->in[0].shape.rank);
}

/* Input i with one element per column: as it is, or spread out in scratch. */
static const void *layer_param(struct mc_call *c, int i, size_t *at)
{
    const struct mc_buf *p = i < 0 ? NULL : mc_op_arg(c, i);
    const struct mc_shape *x = &c->in[0].shape;
    int axis = layer_axis(c);
    int64_t n = mc_op_span(&c->in[0], axis, x->rank);
    if (!p || mc_op_count(p) == n)
        return p ? p->data : NULL;
    void *to = mc_op_scratch(c, at, (size_t)(n * c->k->elem_bytes));
    if (!to)
        return NULL;
    struct mc_shape over = mc_shape_of(x->rank - axis, x->dim + axis);
    struct mc_move m = {
        .rank = over.rank, .src = p->data, .dst = to, .elem_bytes = c->k->elem_bytes};
    memcpy(m.dim, over.dim, sizeof *m.dim * (size_t)m.rank);
    mc_op_broadcast_strides(&p->shape, &over, m.src_stride);
    mc_op_strides(&over, m.dst_stride);
    c->k->move.run(&m, c->pool);
    return to;
}

/* Where the kernel puts output i, statistics: there, or in scratch for another type. */
static void *layer_stats(struct mc_call *c, int i, size_t *at)
{
    const struct mc_buf *out = i < 0 ? NULL : mc_op_res(c, i);
    if (!out)
        return NULL;
    if (out->dtype == c->in[0].dtype)
        return out->data;
    return mc_op_scratch(c, at, (size_t)(mc_op_count(out) * c->k->elem_bytes));
}

static int layer_setup(struct mc_call *c, struct mc_err *err)
{
    (void)err;
    const struct form *f = form_of(c->node);
    size_t at = 0;
    layer_param(c, f->scale, &at);
    layer_param(c, f->bias, &at);
    layer_stats(c, f->mean, &at);
    layer_stats(c, f->inv_std, &at);
    c->scratch_bytes = at;
    return 0;
}

/* to = a + input i, broadcast. */
static void add_to(const struct mc_call *c, const void *a, int i, void *to)
{
    const struct mc_shape *x = &c->in[0].shape;
    struct mc_binary b = {
        .fn = MC_BINARY_ADD, .rank = x->rank, .x = a, .y = c->in[i].data, .z = to};
    memcpy(b.dim, x->dim, sizeof *b.dim * (size_t)b.rank);
    mc_op_strides(x, b.stride[0]);
    mc_op_broadcast_strides(&c->in[i].shape, x, b.stride[1]);
    b.rank = mc_move_merge(b.rank, b.dim, 2, b.stride);
    c->k->elementwise.binary(&b, c->pool);
}

/* What is normalised: the first input, or a sum kept in the output for it or in the result itself. */
static const void *layer_input(const struct mc_call *c)
{
    const struct form *f = form_of(c->node);
    if (f->skip < 0)
        return c->in[0].data;
    const struct mc_buf *keep = mc_op_res(c, SKIP_SUM);
    void *sum = keep ? keep->data : c->out[0].data;
    add_to(c, c->in[0].data, f->skip, sum);
    if (mc_op_arg(c, f->skip_add))
        add_to(c, sum, f->skip_add, sum);
    return sum;
}

static int give_stats(const struct mc_call *c, int i, const void *from, int64_t rows,
                      struct mc_err *err)
{
    struct mc_buf *out = i < 0 ? NULL : mc_op_res(c, i);
    if (!out || out->data == from)
        return 0;
    return mc_dtype_from_f64((int)out->dtype, from, out->data, (size_t)rows, err);
}

static int layer_run(struct mc_call *c, struct mc_err *err)
{
    const struct form *f = form_of(c->node);
    const struct mc_buf *x = &c->in[0];
    int axis = layer_axis(c);
    size_t at = 0;
    float eps = f->skip < 0 ? 1e-5f : 1e-12f;
    struct mc_norm m = {.rms = f->rms,
                        .rows = mc_op_span(x, 0, axis),
                        .n = mc_op_span(x, axis, x->shape.rank),
                        .eps = (double)mc_node_float(c->node, "epsilon", eps),
                        .x = layer_input(c),
                        .y = c->out[0].data};
    m.scale = layer_param(c, f->scale, &at);
    m.bias = layer_param(c, f->bias, &at);
    m.mean = layer_stats(c, f->mean, &at);
    m.inv_std = layer_stats(c, f->inv_std, &at);
    c->k->nn.norm(&m, c->pool);
    int rc = give_stats(c, f->mean, m.mean, m.rows, err);
    return rc ? rc : give_stats(c, f->inv_std, m.inv_std, m.rows, err);
}

#define ROW(domain, name, since, flags)                                                            \
    {                                                                                              \
        domain, name, since, flags, layer_infer, layer_setup, layer_run, NULL, NULL, NULL          \
    }
const struct mc_op mc_ops_layernorm[] = {
    ROW("", "LayerNormalization", 1, MC_OP_INPLACE),
    ROW("", "SimplifiedLayerNormalization", 1, MC_OP_INPLACE),
    ROW("", "RMSNormalization", 23, MC_OP_INPLACE),
    ROW("com.microsoft", "SkipLayerNormalization", 1, 0),
    ROW("com.microsoft", "SkipSimplifiedLayerNormalization", 1, 0),
    {0},
};

static bool gpu_can(const struct mc_call *c)
{
    return mc_op_gpu_floats(c) && c->k->nn.norm && c->k->move.run && c->k->elementwise.binary;
}

const struct mc_op_gpu mc_op_gpu_layernorm[] = {
    {"", "LayerNormalization", .can = gpu_can},
    {"", "SimplifiedLayerNormalization", .can = gpu_can},
    {"", "RMSNormalization", .can = gpu_can},
    {"com.microsoft", "SkipLayerNormalization", .can = gpu_can},
    {"com.microsoft", "SkipSimplifiedLayerNormalization", .can = gpu_can},
    {0},
};
