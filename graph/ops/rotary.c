/* RotaryEmbedding of ai.onnx and of com.microsoft: pairs of columns of every head turned by an angle that belongs
 * to the position, whose cosine and sine stand in caches.
 * Source: Su et al., RoFormer: Enhanced Transformer with Rotary Position Embedding, 2021, eq. (34). */
#include <string.h>

#include "graph/ops/helper.h"
#include "graph/ops/float_elem.h"
#include "graph/ops/op_gpu.h"

/* Input numbers; the two domains order them differently. */
struct order {
    int cosine, sine, position;
};

static struct order order_of(const struct mc_node *n)
{
    return n->domain[0] ? (struct order){2, 3, 1} : (struct order){1, 2, 3};
}

struct sizes {
    int64_t batch, heads, rows, columns,
        turned;       /* columns of a head, of which the first are turned */
    bool heads_first; /* [batch, heads, rows, columns], or heads behind rows */
};

/* From the shapes of input and cosine cache, both known. */
static int sizes_of(const struct mc_node *n, const struct mc_shape *x,
                    const struct mc_shape *cosine, struct sizes *ret, struct mc_err *err)
{
    int64_t half = cosine->dim[cosine->rank - 1], heads = mc_node_int(n, "num_heads", 0);
    int64_t turned = mc_node_int(n, "rotary_embedding_dim", 0), columns;
    *ret = (struct sizes){.batch = x->dim[0], .heads_first = x->rank == 4};
    if (x->rank == 4) {
        heads = x->dim[1];
        columns = x->dim[3];
    } else if (heads > 0) {
        columns = x->dim[2] / heads;
    } else { /* com.microsoft: the caches say how wide a head is */
        columns = n->domain[0] && !turned ? 2 * half : 0;
        heads = columns > 0 ? x->dim[2] / columns : 0;
    }
    if (x->rank == 3 && (heads < 1 || heads * columns != x->dim[2]))
        return mc_op_fail(err, MC_ESHAPE, n, "num_heads %lld does not divide %lld columns",
                          (long long)mc_node_int(n, "num_heads", 0), (long long)x->dim[2]);
    ret->heads = heads;
    ret->columns = columns;
    ret->rows = x->dim[x->rank - 2];
    if (x->rank == 3)
        ret->rows = x->dim[1];
    ret->turned = turned ? turned : columns;
    if (ret->turned < 0 || ret->turned > columns || ret->turned % 2 || half != ret->turned / 2)
        return mc_op_fail(err, MC_ESHAPE, n,
                          "caches of %lld columns for %lld turned columns of %lld", (long long)half,
                          (long long)ret->turned, (long long)columns);
    return 0;
}

static int need_caches(const struct mc_infer_ctx *c, const struct order *o, struct mc_err *err)
{
    const struct mc_vtype *cosine = c->in[o->cosine], *sine = c->in[o->sine];
    bool by_position = mc_op_in(c, o->position) != NULL;
    int rank = by_position ? 2 : 3;
    int rc = mc_op_need_rank(c, o->cosine, rank, rank, err);
    rc = rc ? rc : mc_op_need_rank(c, o->sine, rank, rank, err);
    int64_t same;
    for (int d = 0; d < rank && !rc && cosine->ranked && sine->ranked; d++)
        rc = mc_op_need_dim(c->node, "the two caches", cosine->shape.dim[d], sine->shape.dim[d],
                            &same, err);
    return rc;
}

static int rotary_infer(struct mc_infer_ctx *c, struct mc_err *err)
{
    struct order o = order_of(c->node);
    int rc = mc_op_arity(c, c->node->domain[0] ? 4 : 3, 4, err);
    rc = rc ? rc : mc_op_need_float(c, 0, err);
    rc = rc ? rc : mc_op_need_rank(c, 0, 3, 4, err);
    rc = rc ? rc : mc_op_need_same(c, 0, o.cosine, err);
    rc = rc ? rc : mc_op_need_same(c, 0, o.sine, err);
    rc = rc ? rc : mc_op_need_index(c, o.position, err);
    rc = rc ? rc : need_caches(c, &o, err);
    const struct mc_vtype *x = c->in[0], *cosine = rc ? NULL : c->in[o.cosine];
    const struct mc_vtype *position = mc_op_in(c, o.position);
    struct sizes s;
    if (!rc && x->ranked && cosine->ranked && mc_shape_known(&x->shape) &&
        mc_shape_known(&cosine->shape)) {
        rc = sizes_of(c->node, &x->shape, &cosine->shape, &s, err);
        char text[MC_SHAPE_TEXT];
        int64_t n = !rc && position && position->ranked ? mc_shape_count(&position->shape) : -1;
        bool offset = c->node->domain[0] && n == 1;
        if (n >= 0 && !offset && n != s.batch * s.rows)
            return mc_op_fail(err, MC_ESHAPE, c->node, "position_ids %s for %lld rows in %lld",
                              mc_shape_text(&position->shape, text), (long long)s.rows,
                              (long long)s.batch);
        if (!rc && !position && (cosine->shape.dim[0] != s.batch || cosine->shape.dim[1] != s.rows))
            return mc_op_fail(err, MC_ESHAPE, c->node, "caches %s for %lld rows in %lld",
                              mc_shape_text(&cosine->shape, text), (long long)s.rows,
                              (long long)s.batch);
    }
    if (rc)
        return rc;
    mc_op_give(c, 0, x->dtype, x->ranked ? &x->shape : NULL);
    return 0;
}

/* Turn one head of one row. */
static void turn(const struct sizes *s, bool interleaved, double scale, int elem_bytes,
                 const void *x, const struct mc_buf *cosine, const struct mc_buf *sine,
                 int64_t angle, void *y)
{
    int64_t half = s->turned / 2;
    for (int64_t i = 0; i < half; i++) {
        int64_t a = interleaved ? 2 * i : i, b = interleaved ? 2 * i + 1 : i + half;
        double p = mc_param(x, elem_bytes, a), q = mc_param(x, elem_bytes, b);
        double co = mc_buf_param(cosine, angle * half + i),
               si = mc_buf_param(sine, angle * half + i);
        mc_set_param(y, elem_bytes, a, scale * (co * p - si * q));
        mc_set_param(y, elem_bytes, b, scale * (si * p + co * q));
    }
    for (int64_t i = s->turned; i < s->columns; i++)
        mc_set_param(y, elem_bytes, i, mc_param(x, elem_bytes, i));
}

static int rotary_run(struct mc_call *c, struct mc_err *err)
{
    struct order o = order_of(c->node);
    const struct mc_buf *x = &c->in[0], *cosine = &c->in[o.cosine], *sine = &c->in[o.sine];
    const struct mc_buf *position = mc_op_arg(c, o.position);
    struct sizes s;
    int rc = sizes_of(c->node, &x->shape, &cosine->shape, &s, err);
    if (rc)
        return rc;
    bool interleaved = mc_node_int(c->node, "interleaved", 0) != 0;
    double scale = c->node->domain[0] ? (double)mc_node_float(c->node, "scale", 1) : 1;
    int64_t ids = position ? mc_op_count(position) : 0;
    int bytes = c->k->elem_bytes;
    for (int64_t r = 0; r < s.batch * s.rows; r++) {
        int64_t angle = r, at = ids == 1 ? 0 : r;
        if (position) {
            angle = position->dtype == MC_DTYPE_I32 ? ((const int32_t *)position->data)[at]
                                                    : ((const int64_t *)position->data)[at];
            if (angle < 0 || angle >= cosine->shape.dim[0])
                return mc_op_fail(err, MC_EDATA, c->node, "position %lld is outside %lld",
                                  (long long)angle, (long long)cosine->shape.dim[0]);
            angle += ids == 1 ? r % s.rows : 0;
            if (angle >= cosine->shape.dim[0])
                return mc_op_fail(err, MC_EDATA, c->node, "position %lld is outside %lld",
                                  (long long)angle, (long long)cosine->shape.dim[0]);
        }
        for (int64_t h = 0; h < s.heads; h++) {
            int64_t from =
                s.heads_first ? (r / s.rows * s.heads + h) * s.rows + r % s.rows : r * s.heads + h;
            from *= s.columns * bytes;
            turn(&s, interleaved, scale, bytes, (const char *)x->data + from, cosine, sine, angle,
                 (char *)c->out[0].data + from);
        }
    }
    return 0;
}

const struct mc_op mc_ops_rotary[] = {
    {"", "RotaryEmbedding", 23, MC_OP_INPLACE, rotary_infer, NULL, rotary_run, NULL, NULL, NULL},
    {"com.microsoft", "RotaryEmbedding", 1, MC_OP_INPLACE, rotary_infer, NULL, rotary_run, NULL,
     NULL, NULL},
    {0},
};

static int gpu_run(struct mc_call *c, struct mc_err *err)
{
    struct order o = order_of(c->node);
    const struct mc_buf *cosine = &c->in[o.cosine], *position = mc_op_arg(c, o.position);
    struct sizes s;
    int rc = sizes_of(c->node, &c->in[0].shape, &cosine->shape, &s, err);
    if (rc)
        return rc;
    struct mc_rotary r = {.batch = s.batch,
                          .heads = s.heads,
                          .rows = s.rows,
                          .columns = s.columns,
                          .turned = s.turned,
                          .heads_first = s.heads_first,
                          .interleaved = mc_node_int(c->node, "interleaved", 0) != 0,
                          .scale =
                              c->node->domain[0] ? (double)mc_node_float(c->node, "scale", 1) : 1,
                          .x = c->in[0].data,
                          .cosine = cosine->data,
                          .sine = c->in[o.sine].data,
                          .y = c->out[0].data,
                          .angles = cosine->shape.dim[0]};
    if (position) {
        r.position = position->data;
        r.wide = position->dtype == MC_DTYPE_I64;
        r.offset = mc_op_count(position) == 1;
    }
    c->k->attend.rotary(&r, c->pool);
    return 0;
}

static bool gpu_can(const struct mc_call *c)
{
    return c->k->attend.rotary && mc_op_gpu_floats(c);
}

const struct mc_op_gpu mc_op_gpu_rotary[] = {
    {"", "RotaryEmbedding", .can = gpu_can, .run = gpu_run},
    {"com.microsoft", "RotaryEmbedding", .can = gpu_can, .run = gpu_run},
    {0},
};
