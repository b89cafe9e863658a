/* CtcLoss(logits [T,N,C], labels [N,S], lengths [N], label_lengths [N]): of MC_GRAD_DOMAIN. The mean over samples of
 * minus the logarithm of the probability of their labels (kernels/losses.h), and its gradient by the logits as output
 * 1. Without lengths a sample has all T steps; without label_lengths its labels end before the first below 0.
 * `blank` (default 0) is the class that means none. A sample that no path fits counts as a loss of 0 with a gradient
 * of 0, or, with zero_infinity = 0, as infinite, or, with must_fit = 1, is an error. */
#include <math.h>

#include "graph/grad/rule.h"
#include "graph/ops/float_elem.h"
#include "graph/ops/helper.h"

enum { LOGITS, LABELS, STEPS, COUNTS };

static int ctc_infer(struct mc_infer_ctx *c, struct mc_err *err)
{
    int rc = mc_op_arity(c, 2, 4, err);
    rc = rc ? rc : mc_op_need_float(c, LOGITS, err);
    rc = rc ? rc : mc_op_need_rank(c, LOGITS, 3, 3, err);
    rc = rc ? rc : mc_op_need_rank(c, LABELS, 2, 2, err);
    for (int i = LABELS; i <= COUNTS && !rc; i++)
        rc = mc_op_need_index(c, i, err);
    for (int i = STEPS; i <= COUNTS && !rc; i++)
        rc = mc_op_need_rank(c, i, 1, 1, err);
    if (rc)
        return rc;
    const struct mc_vtype *x = c->in[LOGITS];
    int64_t blank = mc_node_int(c->node, "blank", 0), same;
    for (int i = LABELS; i <= COUNTS && !rc; i++)
        if (x->ranked && mc_op_rank(c, i) > 0)
            rc = mc_op_need_dim(c->node, "samples", c->in[i]->shape.dim[0], x->shape.dim[1], &same,
                                err);
    if (!rc && (blank < 0 || (x->ranked && x->shape.dim[2] >= 0 && blank >= x->shape.dim[2])))
        return mc_op_fail(err, MC_ESHAPE, c->node, "blank %lld is no class", (long long)blank);
    struct mc_shape scalar = {0};
    mc_op_give(c, 0, x->dtype, &scalar);
    mc_op_give(c, 1, x->dtype, x->ranked ? &x->shape : NULL);
    return rc;
}

static struct mc_ctc job_of(const struct mc_call *c, size_t *at)
{
    const int64_t *x = c->in[LOGITS].shape.dim;
    struct mc_ctc j = {.steps = x[0],
                       .batch = x[1],
                       .classes = x[2],
                       .labels = c->in[LABELS].shape.dim[1],
                       .blank = mc_node_int(c->node, "blank", 0),
                       .scale = 1 / (double)x[1],
                       .zero_infinity = mc_node_int(c->node, "zero_infinity", 1) != 0};
    size_t each = (size_t)c->k->elem_bytes, batch = (size_t)j.batch;
    j.grad = mc_op_res(c, 1) ? mc_op_res(c, 1)->data : NULL;
    j.log_prob =
        mc_op_res(c, 1) ? j.grad : mc_op_scratch(c, at, (size_t)mc_op_count(&c->in[LOGITS]) * each);
    j.label = mc_op_scratch(c, at, batch * (size_t)j.labels * sizeof *j.label);
    j.n_steps = mc_op_scratch(c, at, batch * sizeof *j.n_steps);
    j.n_labels = mc_op_scratch(c, at, batch * sizeof *j.n_labels);
    j.loss = mc_op_scratch(c, at, batch * each);
    j.scratch = mc_op_scratch(c, at, mc_ctc_scratch(&j) * (size_t)mc_pool_threads(c->pool));
    return j;
}

static int ctc_setup(struct mc_call *c, struct mc_err *err)
{
    (void)err;
    size_t at = 0;
    job_of(c, &at);
    c->scratch_bytes = at;
    return 0;
}

static int64_t number(const struct mc_buf *b, int64_t i)
{
    return b->dtype == MC_DTYPE_I32 ? ((const int32_t *)b->data)[i] : ((const int64_t *)b->data)[i];
}

/* Sample i's length in `what`, at most `most`. */
static int length_of(const struct mc_call *c, int which, const char *what, int64_t i, int64_t most,
                     int64_t *ret, struct mc_err *err)
{
    *ret = number(mc_op_arg(c, which), i);
    if (*ret < 0 || *ret > most)
        return mc_op_fail(err, MC_EDATA, c->node, "sample %lld has %lld %s of %lld", (long long)i,
                          (long long)*ret, what, (long long)most);
    return 0;
}

static int read_sample(const struct mc_call *c, const struct mc_ctc *j, int64_t i,
                       struct mc_err *err)
{
    int64_t *label = (int64_t *)(uintptr_t)j->label + i * j->labels;
    int64_t *steps = (int64_t *)(uintptr_t)j->n_steps + i;
    int64_t *count = (int64_t *)(uintptr_t)j->n_labels + i;
    int64_t least = 0; /* steps: one a label, and one between equal ones */
    int rc = 0;
    *steps = j->steps;
    *count = 0;
    while (*count < j->labels && number(&c->in[LABELS], i * j->labels + *count) >= 0)
        ++*count;
    if (mc_op_arg(c, STEPS))
        rc = length_of(c, STEPS, "steps", i, j->steps, steps, err);
    if (!rc && mc_op_arg(c, COUNTS))
        rc = length_of(c, COUNTS, "labels", i, j->labels, count, err);
    for (int64_t k = 0; k < *count && !rc; k++) {
        label[k] = number(&c->in[LABELS], i * j->labels + k);
        if (label[k] < 0 || label[k] >= j->classes || label[k] == j->blank)
            rc = mc_op_fail(err, MC_EDATA, c->node,
                            "label %lld is not one of %lld classes beside the blank %lld",
                            (long long)label[k], (long long)j->classes, (long long)j->blank);
        least += 1 + (k > 0 && label[k] == label[k - 1]);
    }
    if (!rc && least > *steps && mc_node_int(c->node, "must_fit", 0))
        rc = mc_op_fail(err, MC_EDATA, c->node,
                        "the %lld labels of sample %lld need %lld steps, and it has %lld",
                        (long long)*count, (long long)i, (long long)least, (long long)*steps);
    return rc;
}

static int ctc_run(struct mc_call *c, struct mc_err *err)
{
    size_t at = 0;
    struct mc_ctc j = job_of(c, &at);
    int rc = 0;
    for (int64_t i = 0; i < j.batch && !rc; i++)
        rc = read_sample(c, &j, i, err);
    if (rc)
        return rc;
    struct mc_softmax s = {.log = true,
                           .outer = j.steps * j.batch,
                           .n = j.classes,
                           .inner = 1,
                           .x = c->in[LOGITS].data,
                           .y = (void *)(uintptr_t)j.log_prob};
    c->k->nn.softmax(&s, c->pool);
    c->k->loss.ctc(&j, c->pool);
    double sum = 0;
    for (int64_t i = 0; i < j.batch; i++) {
        double loss = mc_param(j.loss, c->k->elem_bytes, i);
        sum += j.zero_infinity && loss == (double)INFINITY ? 0 : loss;
    }
    mc_buf_put(&c->out[0], 0, sum * j.scale);
    return 0;
}

const struct mc_op mc_ops_ctc[] = {
    {MC_GRAD_DOMAIN, "CtcLoss", 1, 0, ctc_infer, ctc_setup, ctc_run, NULL, NULL, NULL},
    {0},
};
