/* NegativeLogLikelihoodLoss and SoftmaxCrossEntropyLoss. */
#include <string.h>

#include "graph/ops/helper.h"
#include "graph/ops/float_elem.h"

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

static int loss_run(struct mc_call *c, struct mc_err *err)
{
    const struct mc_buf *x = &c->in[0], *weight = mc_op_arg(c, 2), *y = &c->out[0];
    size_t at = 0;
    struct mc_buf p = {.dtype = x->dtype, .data = log_prob(c, &at)};
    int64_t outer = x->shape.dim[0], classes = x->shape.dim[1];
    int64_t inner = mc_op_span(x, 2, x->shape.rank);
    if (is_softmax(c->node)) {
        struct mc_softmax s = {
            .log = true, .outer = outer, .n = classes, .inner = inner, .x = x->data, .y = p.data};
        c->k->nn.softmax(&s, c->pool);
    }
    const char *how = mc_node_string(c->node, "reduction", "mean");
    const struct mc_attr *ignore = mc_node_attr(c->node, "ignore_index");
    double sum = 0, total = 0;
    for (int64_t i = 0; i < outer * inner; i++) {
        int64_t label = c->in[1].dtype == MC_DTYPE_I32 ? ((const int32_t *)c->in[1].data)[i]
                                                       : ((const int64_t *)c->in[1].data)[i];
        double w = 0, loss = 0;
        if (!ignore || label != ignore->i) {
            if (label < 0 || label >= classes)
                return mc_op_fail(err, MC_EDATA, c->node, "label %lld is outside %lld classes",
                                  (long long)label, (long long)classes);
            w = weight ? mc_buf_param(weight, label) : 1;
            loss = -w * mc_buf_param(&p, (i / inner * classes + label) * inner + i % inner);
        }
        sum += loss;
        total += w;
        if (!strcmp(how, "none"))
            mc_buf_put(y, i, loss);
    }
    if (strcmp(how, "none"))
        mc_buf_put(y, 0, strcmp(how, "sum") ? sum / total : sum);
    return 0;
}

const struct mc_op mc_ops_classloss[] = {
    {"", "NegativeLogLikelihoodLoss", 12, 0, loss_infer, loss_setup, loss_run, NULL, NULL, NULL},
    {"", "SoftmaxCrossEntropyLoss", 12, 0, loss_infer, loss_setup, loss_run, NULL, NULL, NULL},
    {0},
};
