/* Losses against targets that are no classes, as one scalar: of MC_GRAD_DOMAIN.
 *
 * CrossEntropyProbs(logits, probs)  T² mean of -Σ p log softmax(z/T) over rows, p a distribution each
 * DistillLoss(student, teacher)     T² mean of KL(softmax(t/T) || softmax(s/T)) over rows; the teacher is a
 *                                   constant to it. Source: Hinton, Vinyals, Dean, Distilling the Knowledge in a
 *                                   Neural Network, 2015, section 2.1, whose T² makes the gradient's size
 *                                   independent of T
 * SigmoidCrossEntropy(logits, targets)  mean over elements of -t log σ(z) - (1-t) log(1-σ(z)); targets are floats
 *                                   or integers in [0,1]
 *
 * Rows are along `axis` (default -1), T is `temperature` (default 1). */
#include <string.h>

#include "graph/grad/rule.h"
#include "graph/ops/float_elem.h"
#include "graph/ops/helper.h"
#include "graph/ops/op_gpu.h"

static bool is_op(const struct mc_node *n, const char *name)
{
    return !strcmp(n->op_type, name);
}

static int loss_infer(struct mc_infer_ctx *c, struct mc_err *err)
{
    bool binary = is_op(c->node, "SigmoidCrossEntropy");
    int rc = mc_op_arity(c, 2, 2, err), axis;
    rc = rc ? rc : mc_op_need_float(c, 0, err);
    bool whole =
        !rc && binary && (mc_op_is_integer(c->in[1]->dtype) || c->in[1]->dtype == MC_DTYPE_BOOL);
    if (!rc && !whole)
        rc = mc_op_need_same(c, 0, 1, err);
    if (rc)
        return rc;
    const struct mc_vtype *x = c->in[0], *t = c->in[1];
    int rank = x->ranked ? x->shape.rank : -1;
    if (rank >= 0 && !binary)
        rc = mc_op_need_axis(c->node, "axis", mc_node_int(c->node, "axis", -1), rank, &axis, err);
    if (!rc && !(mc_node_float(c->node, "temperature", 1) > 0))
        rc = mc_op_fail(err, MC_EUNSUP, c->node, "temperature %g, must be above 0",
                        (double)mc_node_float(c->node, "temperature", 1));
    char a[MC_SHAPE_TEXT], b[MC_SHAPE_TEXT];
    int64_t same;
    if (!rc && x->ranked && t->ranked && rank != t->shape.rank)
        return mc_op_fail(err, MC_ESHAPE, c->node, "targets %s for outputs %s",
                          mc_shape_text(&t->shape, a), mc_shape_text(&x->shape, b));
    for (int d = 0; d < rank && t->ranked && !rc; d++)
        rc = mc_op_need_dim(c->node, "targets and outputs", t->shape.dim[d], x->shape.dim[d], &same,
                            err);
    struct mc_shape scalar = {0};
    mc_op_give(c, 0, x->dtype, &scalar);
    return rc;
}

/* Scratch: log-softmax of both inputs, or targets as floats; sums of rows. */
struct parts {
    void *a, *b, *sums;
    int64_t outer, n, inner;
};

static struct parts parts_of(const struct mc_call *c, size_t *ret_bytes)
{
    const struct mc_buf *x = &c->in[0];
    bool binary = is_op(c->node, "SigmoidCrossEntropy");
    int rank = x->shape.rank;
    int axis = binary ? 0 : mc_shape_axis(mc_node_int(c->node, "axis", -1), rank);
    struct parts p = {.outer = mc_op_span(x, 0, axis), .n = 1, .inner = mc_op_span(x, axis, rank)};
    if (!binary) {
        p.n = x->shape.dim[axis];
        p.inner = mc_op_span(x, axis + 1, rank);
    }
    size_t at = 0, bytes = (size_t)(mc_op_count(x) * mc_op_elem_bytes(x->dtype));
    p.a = mc_op_scratch(c, &at, bytes);
    p.b = mc_op_scratch(c, &at, bytes);
    p.sums = mc_op_scratch(c, &at, bytes);
    *ret_bytes = at;
    return p;
}

static int loss_setup(struct mc_call *c, struct mc_err *err)
{
    (void)err;
    parts_of(c, &c->scratch_bytes);
    return 0;
}

/* y = log softmax(x / T) */
static void log_softmax(const struct mc_call *c, const struct parts *p, const void *x, void *y)
{
    double t = (double)mc_node_float(c->node, "temperature", 1), store;
    struct mc_binary scale = {.fn = MC_BINARY_DIV,
                              .rank = 1,
                              .dim = {p->outer * p->n * p->inner},
                              .stride = {{1}, {0}},
                              .x = x,
                              .y = mc_op_scalar(c->k->elem_bytes, t, &store),
                              .z = y};
    if (t != 1)
        c->k->elementwise.binary(&scale, c->pool);
    struct mc_softmax s = {
        .log = true, .outer = p->outer, .n = p->n, .inner = p->inner, .x = t != 1 ? y : x, .y = y};
    c->k->nn.softmax(&s, c->pool);
}

/* z = Σ in order of an elementwise function of two arrays, by chain. */
static double sum_of(const struct mc_call *c, const struct parts *p, struct mc_chain *chain)
{
    int64_t rows = p->outer * p->inner;
    chain->rank = 1;
    chain->dim[0] = rows * p->n;
    chain->n_in = 2;
    chain->stride[0][0] = chain->stride[1][0] = 1;
    chain->z = p->a;
    c->k->elementwise.chain(chain, c->pool);
    struct mc_reduce r = {.fn = MC_REDUCE_SUM,
                          .keep_rank = 2,
                          .over_rank = 1,
                          .keep = {p->outer, p->inner},
                          .over = {p->n},
                          .keep_stride = {p->n * p->inner, 1},
                          .over_stride = {p->inner},
                          .x = p->a,
                          .y = p->sums};
    c->k->nn.reduce(&r, c->pool);
    double sum = 0;
    for (int64_t i = 0; i < rows; i++)
        sum += mc_param(p->sums, c->k->elem_bytes, i);
    return sum;
}

enum { A, B, FIRST = MC_CHAIN_INPUTS };

static int probs_run(struct mc_call *c, struct mc_err *err)
{
    (void)err;
    size_t bytes;
    struct parts p = parts_of(c, &bytes);
    log_softmax(c, &p, c->in[0].data, p.a);
    struct mc_chain product = {
        .in = {p.a, c->in[1].data}, .n_ops = 1, .op = {{true, MC_BINARY_MUL, 0, 0, A, B}}};
    double t = (double)mc_node_float(c->node, "temperature", 1);
    mc_buf_put(&c->out[0], 0, -t * t * sum_of(c, &p, &product) / (double)(p.outer * p.inner));
    return 0;
}

static int distill_run(struct mc_call *c, struct mc_err *err)
{
    (void)err;
    size_t bytes;
    struct parts p = parts_of(c, &bytes);
    log_softmax(c, &p, c->in[1].data, p.a);
    log_softmax(c, &p, c->in[0].data, p.b);
    /* Logarithms of 0 are limited: 0 times them is 0. */
    struct mc_chain divergence = {.in = {p.a, p.b},
                                  .n_ops = 5,
                                  .op = {{false, MC_UNARY_CLAMP, -1e30, 0, A, 0},
                                         {false, MC_UNARY_CLAMP, -1e30, 0, B, 0},
                                         {true, MC_BINARY_SUB, 0, 0, FIRST, FIRST + 1},
                                         {false, MC_UNARY_EXP, 0, 0, FIRST, 0},
                                         {true, MC_BINARY_MUL, 0, 0, FIRST + 2, FIRST + 3}}};
    double t = (double)mc_node_float(c->node, "temperature", 1);
    mc_buf_put(&c->out[0], 0, t * t * sum_of(c, &p, &divergence) / (double)(p.outer * p.inner));
    return 0;
}

/* Of 0 to 1, as floats. */
static int targets(const struct mc_call *c, void *room, const void **ret, struct mc_err *err)
{
    const struct mc_buf *t = &c->in[1];
    size_t n = (size_t)mc_op_count(t);
    int rc = 0;
    *ret = t->dtype == c->in[0].dtype ? t->data : room;
    if (*ret == room)
        rc = c->k->elem_bytes == 8 ? mc_dtype_to_f64((int)t->dtype, t->data, room, n, err)
                                   : mc_dtype_to_f32((int)t->dtype, t->data, room, n, err);
    for (size_t i = 0; i < n && !rc; i++) {
        double v = mc_param(*ret, c->k->elem_bytes, (int64_t)i);
        if (!(v >= 0 && v <= 1))
            rc = mc_op_fail(err, MC_EDATA, c->node, "target %g is outside 0 to 1", v);
    }
    return rc;
}

/* softplus(z) - z t */
static int sigmoid_run(struct mc_call *c, struct mc_err *err)
{
    size_t bytes;
    struct parts p = parts_of(c, &bytes);
    const void *t;
    int rc = targets(c, p.b, &t, err);
    if (rc)
        return rc;
    struct mc_chain loss = {.in = {c->in[0].data, t},
                            .n_ops = 3,
                            .op = {{false, MC_UNARY_SOFTPLUS, 0, 0, A, 0},
                                   {true, MC_BINARY_MUL, 0, 0, A, B},
                                   {true, MC_BINARY_SUB, 0, 0, FIRST, FIRST + 1}}};
    mc_buf_put(&c->out[0], 0, sum_of(c, &p, &loss) / (double)mc_op_count(&c->in[0]));
    return 0;
}

#define ROW(name, run)                                                                             \
    {                                                                                              \
        MC_GRAD_DOMAIN, name, 1, 0, loss_infer, loss_setup, run, NULL, NULL, NULL                  \
    }
const struct mc_op mc_ops_softloss[] = {
    ROW("CrossEntropyProbs", probs_run),
    ROW("DistillLoss", distill_run),
    ROW("SigmoidCrossEntropy", sigmoid_run),
    {0},
};

/* ---- on a GPU ---- */

static int gpu_run(struct mc_call *c, struct mc_err *err)
{
    (void)err;
    size_t bytes;
    const struct parts p = parts_of(c, &bytes);
    const struct mc_soft_loss l = {.fn = is_op(c->node, "CrossEntropyProbs") ? MC_SOFT_PROBS
                                         : is_op(c->node, "DistillLoss")     ? MC_SOFT_DISTILL
                                                                             : MC_SOFT_SIGMOID,
                                   .outer = p.outer,
                                   .n = p.n,
                                   .inner = p.inner,
                                   .temperature = (double)mc_node_float(c->node, "temperature", 1),
                                   .z = c->in[0].data,
                                   .t = c->in[1].data,
                                   .t_elem = (int)mc_op_elem(c->in[1].dtype),
                                   .y = c->out[0].data};
    c->k->loss.soft(&l, c->pool);
    return 0;
}

static bool gpu_can(const struct mc_call *c)
{
    return mc_op_gpu_floats(c) && c->k->loss.soft;
}

const struct mc_op_gpu mc_op_gpu_softloss[] = {
    {MC_GRAD_DOMAIN, "CrossEntropyProbs", .can = gpu_can, .run = gpu_run},
    {MC_GRAD_DOMAIN, "DistillLoss", .can = gpu_can, .run = gpu_run},
    {MC_GRAD_DOMAIN, "SigmoidCrossEntropy", .can = gpu_can, .run = gpu_run},
    {0},
};
