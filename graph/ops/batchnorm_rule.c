/* Gradient of BatchNormalization, by the batch's statistics or by given ones. */
#include "graph/grad/rule.h"

enum { X, SCALE, BIAS, MEAN, VAR };

static bool trains(const struct mc_node *n)
{
    bool more = false;
    for (size_t i = 1; i < n->n_out; i++)
        more = more || n->out[i];
    return n->domain[0] || (n->version >= 14 ? mc_node_int(n, "training_mode", 0) != 0 : more);
}

/* Of given statistics, from dscale and dbias: with r = 1 / sqrt(var + eps),
 * dmean = -scale r dbias and dvar = -scale r^2 dscale / 2. */
static void give_statistics(struct mc_grad *g, struct mc_node *n, struct mc_value *dscale,
                            struct mc_value *dbias)
{
    struct mc_value *var = n->in[VAR];
    double eps = (double)mc_node_float(n, "epsilon", 1e-5f);
    struct mc_value *v = mc_emit(g, "Add", var, mc_grad_scalar(g, var, eps));
    struct mc_value *r = mc_emit(g, "Reciprocal", mc_emit(g, "Sqrt", v));
    struct mc_value *s = mc_emit(g, "Mul", n->in[SCALE], r);
    if (mc_grad_wants(g, n, MEAN))
        mc_grad_give(g, n, MEAN, mc_emit(g, "Neg", mc_emit(g, "Mul", s, dbias)));
    if (mc_grad_wants(g, n, VAR)) {
        struct mc_value *d = mc_emit(g, "Mul", mc_emit(g, "Mul", s, r), dscale);
        mc_grad_give(g, n, VAR, mc_emit(g, "Mul", d, mc_grad_scalar(g, var, -0.5)));
    }
}

static void batch_rule(struct mc_grad *g, struct mc_node *n)
{
    bool train = trains(n), spatial = n->version >= 9 || mc_node_int(n, "spatial", 1);
    struct mc_value *dy = mc_grad_of(g, n, 0);
    for (int i = 1; i < 5; i++)
        if (mc_grad_of(g, n, i))
            mc_grad_refuse(g, n, "its running statistics have no gradient");
    if (!n->domain[0] && !spatial)
        mc_grad_refuse(g, n, "spatial 0 has no gradient yet");
    if (mc_grad_rank(g, n->in[X]) == 1)
        mc_grad_refuse(g, n, "an input of rank 1 has no gradient yet");
    if (!dy)
        return;
    if (train && !n->domain[0])
        mc_grad_replace(g, n, "BatchNormalization");
    struct mc_value *mean = train ? mc_grad_output(g, n, 3) : n->in[MEAN];
    struct mc_value *var = train ? mc_grad_output(g, n, 4) : n->in[VAR];
    struct mc_value *dx = mc_emit_own(g, "BatchNormGrad", dy, n->in[X], n->in[SCALE], mean, var);
    mc_emit_int(g, "training_mode", train);
    mc_emit_copy(g, n, "epsilon");
    bool of_mean = !train && mc_grad_wants(g, n, MEAN), of_var = !train && mc_grad_wants(g, n, VAR);
    bool of_scale = mc_grad_wants(g, n, SCALE), of_bias = mc_grad_wants(g, n, BIAS);
    struct mc_value *dscale = of_scale || of_var ? mc_emit_output(g, 1) : NULL;
    struct mc_value *dbias = of_bias || of_mean ? mc_emit_output(g, 2) : NULL;
    if (mc_grad_wants(g, n, X))
        mc_grad_give(g, n, X, dx);
    if (of_scale)
        mc_grad_give(g, n, SCALE, dscale);
    if (of_bias)
        mc_grad_give(g, n, BIAS, dbias);
    if (of_mean || of_var)
        give_statistics(g, n, dscale, dbias);
}

const struct mc_rule mc_rules_batchnorm[] = {
    {"", "BatchNormalization", 1, batch_rule},
    {MC_GRAD_DOMAIN, "BatchNormalization", 1, batch_rule},
    {0},
};
