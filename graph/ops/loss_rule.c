/* Gradients of losses and of the softmax. */
#include <string.h>

#include "graph/grad/rule.h"

/* ---- Softmax, LogSoftmax ---- */

static void softmax_rule(struct mc_grad *g, struct mc_node *n)
{
    bool old = n->version < 13;
    struct mc_value *dy = mc_grad_of(g, n, 0);
    struct mc_value *dx =
        mc_emit_own(g, mc_node_is(n, "Softmax") ? "SoftmaxGrad" : "LogSoftmaxGrad", dy, n->out[0]);
    mc_emit_int(g, "axis", mc_node_int(n, "axis", old ? 1 : -1));
    if (old)
        mc_emit_int(g, "flatten", 1);
    mc_grad_give(g, n, 0, dx);
}

/* y = softmax(x + bias) over the dimensions from axis on */
static void bias_softmax_rule(struct mc_grad *g, struct mc_node *n)
{
    struct mc_value *d = mc_emit_own(g, "SoftmaxGrad", mc_grad_of(g, n, 0), n->out[0]);
    mc_emit_int(g, "axis", mc_node_int(n, "axis", 1));
    mc_emit_int(g, "flatten", 1);
    for (int i = 0; i < 2; i++)
        if (mc_grad_wants(g, n, i))
            mc_grad_give(g, n, i, mc_grad_sum_to(g, d, n->out[0], n->in[i]));
}

/* ---- by class ---- */

static struct mc_value *input(const struct mc_node *n, size_t i)
{
    return i < n->n_in ? n->in[i] : NULL;
}

/* Output 1 of SoftmaxCrossEntropyLoss, the log-softmax, is made where the file does not ask for it. */
static void class_rule(struct mc_grad *g, struct mc_node *n)
{
    bool softmax = mc_node_is(n, "SoftmaxCrossEntropyLoss");
    struct mc_value *loss = mc_grad_of(g, n, 0);
    struct mc_value *logs = softmax ? mc_grad_output(g, n, 1) : n->in[0];
    if (mc_grad_wants(g, n, 2)) {
        mc_grad_refuse(g, n, "the weights of classes have no gradient");
        return;
    }
    if (loss) {
        struct mc_value *d = mc_emit_own(
            g, softmax ? "SoftmaxCrossEntropyLossGrad" : "NegativeLogLikelihoodLossGrad", loss,
            logs, n->in[1], input(n, 2));
        mc_emit_copy(g, n, "reduction");
        mc_emit_copy(g, n, "ignore_index");
        mc_grad_give(g, n, 0, d);
    }
    if (softmax && mc_grad_of(g, n, 1)) {
        struct mc_value *d = mc_emit_own(g, "LogSoftmaxGrad", mc_grad_of(g, n, 1), logs);
        mc_emit_int(g, "axis", 1);
        mc_grad_give(g, n, 0, d);
    }
}

/* ---- against distributions ---- */

static double temperature(const struct mc_node *n)
{
    return (double)mc_node_float(n, "temperature", 1);
}

/* dloss times `by`, divided by the elements of x, or with `rows` by its rows along axis. */
static struct mc_value *share(struct mc_grad *g, struct mc_node *n, double by, bool rows)
{
    struct mc_value *x = n->in[0], *d = mc_grad_of(g, n, 0);
    struct mc_value *count = mc_emit(g, "Size", x);
    if (rows) {
        struct mc_value *length = mc_grad_dim(g, x, (int)mc_node_int(n, "axis", -1));
        count = mc_emit(g, "Div", count, length);
    }
    count = mc_emit(g, "Cast", count);
    mc_emit_int(g, "to", (int64_t)mc_grad_type(g, x)->dtype);
    if (by != 1) {
        struct mc_value *factor = mc_grad_scalar(g, x, by);
        d = mc_emit(g, "Mul", d, factor);
    }
    return mc_emit(g, "Div", d, count);
}

/* softmax(x / T), or its logarithm. */
static struct mc_value *softened(struct mc_grad *g, struct mc_node *n, struct mc_value *x,
                                 const char *op)
{
    if (temperature(n) != 1) {
        struct mc_value *t = mc_grad_scalar(g, n->in[0], temperature(n));
        x = mc_emit(g, "Div", x, t);
    }
    struct mc_value *y = mc_emit(g, op, x);
    mc_emit_int(g, "axis", mc_node_int(n, "axis", -1));
    return y;
}

/* dz = T dloss / rows (softmax(z/T) Σp - p),  dp = -T² dloss / rows log softmax(z/T) */
static void probs_rule(struct mc_grad *g, struct mc_node *n)
{
    double t = temperature(n);
    int64_t axis = mc_node_int(n, "axis", -1);
    if (mc_grad_wants(g, n, 0)) {
        struct mc_value *q = softened(g, n, n->in[0], "Softmax");
        struct mc_value *sum = mc_grad_reduce_sum(g, n->in[1], &axis, 1, true);
        struct mc_value *d = mc_emit(g, "Sub", mc_emit(g, "Mul", q, sum), n->in[1]);
        struct mc_value *by = share(g, n, t, true);
        mc_grad_give(g, n, 0, mc_emit(g, "Mul", d, by));
    }
    if (mc_grad_wants(g, n, 1)) {
        struct mc_value *q = softened(g, n, n->in[0], "LogSoftmax");
        struct mc_value *by = share(g, n, -t * t, true);
        mc_grad_give(g, n, 1, mc_emit(g, "Mul", q, by));
    }
}

/* ds = T dloss / rows (softmax(s/T) - softmax(t/T)) */
static void distill_rule(struct mc_grad *g, struct mc_node *n)
{
    if (!mc_grad_wants(g, n, 0))
        return;
    struct mc_value *student = softened(g, n, n->in[0], "Softmax");
    struct mc_value *teacher = softened(g, n, n->in[1], "Softmax");
    struct mc_value *d = mc_emit(g, "Sub", student, teacher);
    struct mc_value *by = share(g, n, temperature(n), true);
    mc_grad_give(g, n, 0, mc_emit(g, "Mul", d, by));
}

/* dz = dloss / count (σ(z) - t),  dt = -dloss / count z */
static void sigmoid_rule(struct mc_grad *g, struct mc_node *n)
{
    struct mc_value *t = n->in[1];
    if (mc_grad_wants(g, n, 0)) {
        if (mc_grad_type(g, t)->dtype != mc_grad_type(g, n->in[0])->dtype) {
            t = mc_emit(g, "Cast", t);
            mc_emit_int(g, "to", (int64_t)mc_grad_type(g, n->in[0])->dtype);
        }
        struct mc_value *d = mc_emit(g, "Sub", mc_emit(g, "Sigmoid", n->in[0]), t);
        struct mc_value *by = share(g, n, 1, false);
        mc_grad_give(g, n, 0, mc_emit(g, "Mul", d, by));
    }
    if (mc_grad_wants(g, n, 1)) {
        struct mc_value *by = share(g, n, -1, false);
        mc_grad_give(g, n, 1, mc_emit(g, "Mul", n->in[0], by));
    }
}

static void ctc_rule(struct mc_grad *g, struct mc_node *n)
{
    if (mc_grad_wants(g, n, 0) && mc_grad_of(g, n, 0))
        mc_grad_give(g, n, 0, mc_emit(g, "Mul", mc_grad_output(g, n, 1), mc_grad_of(g, n, 0)));
}

const struct mc_rule mc_rules_loss[] = {
    {"", "Softmax", 1, softmax_rule},
    {"", "LogSoftmax", 1, softmax_rule},
    {"com.microsoft", "BiasSoftmax", 1, bias_softmax_rule},
    {"", "SoftmaxCrossEntropyLoss", 12, class_rule},
    {"", "NegativeLogLikelihoodLoss", 12, class_rule},
    {MC_GRAD_DOMAIN, "CrossEntropyProbs", 1, probs_rule},
    {MC_GRAD_DOMAIN, "DistillLoss", 1, distill_rule},
    {MC_GRAD_DOMAIN, "SigmoidCrossEntropy", 1, sigmoid_rule},
    {MC_GRAD_DOMAIN, "CtcLoss", 1, ctc_rule},
    {0},
};
