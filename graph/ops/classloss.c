/* NegativeLogLikelihoodLoss and SoftmaxCrossEntropyLoss, and their gradients of MC_GRAD_DOMAIN. */
#include <string.h>

#include "graph/grad/rule.h"
#include "graph/ops/helper.h"
#include "graph/ops/float_elem.h"
#include "graph/ops/op_gpu.h"

static bool is_softmax(const struct mc_node *n)
{
    return mc_node_is(n, "SoftmaxCrossEntropyLoss");
}

static int loss_infer(struct mc_infer_ctx *c, struct mc_err *err)
{
    int rc = mc_op_arity(c, 2, 3, err);
    rc = rc ? rc : mc_op_need_float(c, 0, err);
    rc = rc ? rc : mc_op_need_index(c, 1, err);
    rc = rc ? rc : mc_op_need_rank(c, 0, 2, MC_RANK_MAX, err);
    rc = rc ? rc : mc_op_need_same(c, 0, 2, err);
    rc = rc ? rc : mc_op_need_rank(c, 2, 1, 1, err);
    const char *how = mc_node_string(c->node, "reduction", "mean");
    if (!rc && strcmp(how, "mean") && strcmp(how, "sum") && strcmp(how, "none"))
        return mc_op_fail(err, MC_EUNSUP, c->node, "reduction '%s' is none of mean, sum, none",
                          how);
    if (rc)
        return rc;
    const struct mc_vtype *x = c->in[0], *label = c->in[1], *weight = mc_op_in(c, 2);
    if (is_softmax(c->node))
        mc_op_give(c, 1, x->dtype, x->ranked ? &x->shape : NULL);
    int64_t same;
    if (x->ranked && weight && weight->ranked)
        rc = mc_op_need_dim(c->node, "weights and classes", weight->shape.dim[0], x->shape.dim[1],
                            &same, err);
    if (x->ranked && label->ranked && !rc) {
        if (label->shape.rank != x->shape.rank - 1)
            return mc_op_fail(err, MC_ESHAPE, c->node, "labels of rank %d for an input of rank %d",
                              label->shape.rank, x->shape.rank);
        for (int d = 0; d < label->shape.rank && !rc; d++)
            rc = mc_op_need_dim(c->node, "labels and input", label->shape.dim[d],
                                x->shape.dim[d ? d + 1 : 0], &same, err);
    }
    struct mc_shape scalar = {0};
    const struct mc_shape *y = label->ranked ? &label->shape : NULL;
    mc_op_give(c, 0, x->dtype, strcmp(how, "none") ? &scalar : y);
    return rc;
}

/* Log-probabilities of SoftmaxCrossEntropyLoss, where no output holds them. */
static void *log_prob(const struct mc_call *c, size_t *at)
{
    if (!is_softmax(c->node))
        return c->in[0].data;
    const struct mc_buf *out = mc_op_res(c, 1);
    if (out)
        return out->data;
    return mc_op_scratch(c, at, (size_t)(mc_op_count(&c->in[0]) * c->k->elem_bytes));
}

static int loss_setup(struct mc_call *c, struct mc_err *err)
{
    (void)err;
    size_t at = 0;
    log_prob(c, &at);
    c->scratch_bytes = at;
    return 0;
}

enum how { MEAN, SUM, NONE };

static enum how how_of(const struct mc_node *n)
{
    const char *how = mc_node_string(n, "reduction", "mean");
    return !strcmp(how, "none") ? NONE : !strcmp(how, "sum") ? SUM : MEAN;
}

/* Row i's label, -1 if it is ignored, and weight. Errors: MC_EDATA. */
static int weighted(const struct mc_call *c, int labels, const struct mc_buf *weight,
                    int64_t classes, int64_t i, int64_t *ret, double *ret_weight,
                    struct mc_err *err)
{
    const struct mc_attr *ignore = mc_node_attr(c->node, "ignore_index");
    const struct mc_buf *b = &c->in[labels];
    int64_t label =
        b->dtype == MC_DTYPE_I32 ? ((const int32_t *)b->data)[i] : ((const int64_t *)b->data)[i];
    *ret = -1;
    *ret_weight = 0;
    if (ignore && label == ignore->i)
        return 0;
    if (label < 0 || label >= classes)
        return mc_op_fail(err, MC_EDATA, c->node, "label %lld is outside %lld classes",
                          (long long)label, (long long)classes);
    *ret = label;
    *ret_weight = weight ? mc_buf_param(weight, label) : 1;
    return 0;
}

static int loss_run(struct mc_call *c, struct mc_err *err)
{
    const struct mc_buf *x = &c->in[0], *weight = mc_op_arg(c, 2), *y = &c->out[0];
    enum how how = how_of(c->node);
    size_t at = 0;
    struct mc_buf p = {.dtype = x->dtype, .data = log_prob(c, &at)};
    int64_t outer = x->shape.dim[0], classes = x->shape.dim[1];
    int64_t inner = mc_op_span(x, 2, x->shape.rank);
    if (is_softmax(c->node)) {
        struct mc_softmax s = {
            .log = true, .outer = outer, .n = classes, .inner = inner, .x = x->data, .y = p.data};
        c->k->nn.softmax(&s, c->pool);
    }
    double sum = 0, total = 0;
    for (int64_t i = 0; i < outer * inner; i++) {
        int64_t label;
        double w, loss = 0;
        int rc = weighted(c, 1, weight, classes, i, &label, &w, err);
        if (rc)
            return rc;
        if (label >= 0)
            loss = -w * mc_buf_param(&p, (i / inner * classes + label) * inner + i % inner);
        sum += loss;
        total += w;
        if (how == NONE)
            mc_buf_put(y, i, loss);
    }
    if (how != NONE)
        mc_buf_put(y, 0, how == MEAN ? sum / total : sum);
    return 0;
}

/* ---- gradients: XGrad(dloss, log_prob or input, labels, weights) ---- */

static int grad_infer(struct mc_infer_ctx *c, struct mc_err *err)
{
    int rc = mc_op_arity(c, 3, 4, err);
    rc = rc ? rc : mc_op_need_float(c, 1, err);
    rc = rc ? rc : mc_op_need_index(c, 2, err);
    rc = rc ? rc : mc_op_need_rank(c, 1, 2, MC_RANK_MAX, err);
    rc = rc ? rc : mc_op_need_same(c, 1, 0, err);
    rc = rc ? rc : mc_op_need_same(c, 1, 3, err);
    if (!rc)
        mc_op_give(c, 0, c->in[1]->dtype, c->in[1]->ranked ? &c->in[1]->shape : NULL);
    return rc;
}

/* The factor of each row: its weight, and dloss over the sum of all weights. */
static int grad_setup(struct mc_call *c, struct mc_err *err)
{
    (void)err;
    const struct mc_buf *x = &c->in[1];
    int64_t rows = x->shape.dim[0] * mc_op_span(x, 2, x->shape.rank);
    c->scratch_bytes = (size_t)(rows * mc_op_elem_bytes(x->dtype));
    return 0;
}

/* dx = exp(log_prob) by the row's factor, or 0. */
static void fill_rows(const struct mc_call *c, const struct mc_buf *factor)
{
    const struct mc_buf *x = &c->in[1], *dx = &c->out[0];
    int64_t outer = x->shape.dim[0], classes = x->shape.dim[1];
    int64_t inner = mc_op_span(x, 2, x->shape.rank);
    if (!strcmp(c->node->op_type, "NegativeLogLikelihoodLossGrad")) {
        memset(dx->data, 0, (size_t)(mc_op_count(dx) * mc_op_elem_bytes(dx->dtype)));
        return;
    }
    struct mc_unary e = {.fn = MC_UNARY_EXP, .n = mc_op_count(x), .x = x->data, .y = dx->data};
    c->k->elementwise.unary(&e, c->pool);
    struct mc_binary b = {.fn = MC_BINARY_MUL,
                          .rank = 3,
                          .dim = {outer, classes, inner},
                          .stride = {{classes * inner, inner, 1}, {inner, 0, 1}},
                          .x = dx->data,
                          .y = factor->data,
                          .z = dx->data};
    b.rank = mc_move_merge(b.rank, b.dim, 2, b.stride);
    c->k->elementwise.binary(&b, c->pool);
}

static int grad_run(struct mc_call *c, struct mc_err *err)
{
    const struct mc_buf *x = &c->in[1], *weight = mc_op_arg(c, 3), *dx = &c->out[0];
    struct mc_buf factor = {.dtype = x->dtype, .data = c->scratch};
    int64_t classes = x->shape.dim[1], inner = mc_op_span(x, 2, x->shape.rank);
    int64_t rows = x->shape.dim[0] * inner, label;
    enum how how = how_of(c->node);
    double w, total = 0;
    for (int64_t i = 0; i < rows; i++) {
        int rc = weighted(c, 2, weight, classes, i, &label, &w, err);
        if (rc)
            return rc;
        mc_buf_put(&factor, i, w);
        total += w;
    }
    for (int64_t i = 0; i < rows; i++) {
        double d = mc_buf_param(&c->in[0], how == NONE ? i : 0);
        mc_buf_put(&factor, i, mc_buf_param(&factor, i) * (how == MEAN ? d / total : d));
    }
    fill_rows(c, &factor);
    for (int64_t i = 0; i < rows; i++) {
        int64_t at;
        (void)weighted(c, 2, weight, classes, i, &label, &w, NULL);
        at = (i / inner * classes + label) * inner + i % inner;
        if (label >= 0)
            mc_buf_put(dx, at, mc_buf_param(dx, at) - mc_buf_param(&factor, i));
    }
    return 0;
}

const struct mc_op mc_ops_classloss[] = {
    {"", "NegativeLogLikelihoodLoss", 12, 0, loss_infer, loss_setup, loss_run, NULL, NULL, NULL},
    {"", "SoftmaxCrossEntropyLoss", 12, 0, loss_infer, loss_setup, loss_run, NULL, NULL, NULL},
    {MC_GRAD_DOMAIN, "NegativeLogLikelihoodLossGrad", 1, 0, grad_infer, grad_setup, grad_run, NULL,
     NULL, NULL},
    {MC_GRAD_DOMAIN, "SoftmaxCrossEntropyLossGrad", 1, 0, grad_infer, grad_setup, grad_run, NULL,
     NULL, NULL},
    {0},
};

/* ---- on a GPU ---- */

static struct mc_class_loss gpu_loss_of(const struct mc_call *c, int log_prob, int labels,
                                        int weights)
{
    static const enum mc_loss_sum sums[] = {MC_LOSS_MEAN, MC_LOSS_SUM, MC_LOSS_EACH};
    const struct mc_buf *x = &c->in[log_prob], *weight = mc_op_arg(c, weights);
    const struct mc_attr *ignore = mc_node_attr(c->node, "ignore_index");
    return (struct mc_class_loss){.outer = x->shape.dim[0],
                                  .classes = x->shape.dim[1],
                                  .inner = mc_op_span(x, 2, x->shape.rank),
                                  .how = sums[how_of(c->node)],
                                  .ignores = ignore != NULL,
                                  .ignore = ignore ? ignore->i : 0,
                                  .log_prob = x->data,
                                  .label = c->in[labels].data,
                                  .label_bytes = mc_op_elem_bytes(c->in[labels].dtype),
                                  .weight = weight ? weight->data : NULL,
                                  .y = c->out[0].data};
}

static int gpu_loss_run(struct mc_call *c, struct mc_err *err)
{
    (void)err;
    size_t at = 0;
    void *p = log_prob(c, &at);
    struct mc_class_loss l = gpu_loss_of(c, 0, 1, 2);
    if (is_softmax(c->node)) {
        struct mc_softmax s = {.log = true,
                               .outer = l.outer,
                               .n = l.classes,
                               .inner = l.inner,
                               .x = c->in[0].data,
                               .y = p};
        c->k->nn.softmax(&s, c->pool);
    }
    l.log_prob = p;
    c->k->loss.classes(&l, c->pool);
    return 0;
}

static int gpu_grad_run(struct mc_call *c, struct mc_err *err)
{
    (void)err;
    const struct mc_class_grad g = {.loss = gpu_loss_of(c, 1, 2, 3),
                                    .softmax =
                                        !strcmp(c->node->op_type, "SoftmaxCrossEntropyLossGrad"),
                                    .dy = c->in[0].data};
    c->k->loss.classes_grad(&g, c->pool);
    return 0;
}

static bool gpu_can(const struct mc_call *c)
{
    return mc_op_gpu_floats(c) && c->k->loss.classes && c->k->loss.classes_grad && c->k->nn.softmax;
}

const struct mc_op_gpu mc_op_gpu_classloss[] = {
    {"", "NegativeLogLikelihoodLoss", .can = gpu_can, .setup = loss_setup, .run = gpu_loss_run},
    {"", "SoftmaxCrossEntropyLoss", .can = gpu_can, .setup = loss_setup, .run = gpu_loss_run},
    {MC_GRAD_DOMAIN, "NegativeLogLikelihoodLossGrad", .can = gpu_can, .run = gpu_grad_run},
    {MC_GRAD_DOMAIN, "SoftmaxCrossEntropyLossGrad", .can = gpu_can, .run = gpu_grad_run},
    {0},
};
