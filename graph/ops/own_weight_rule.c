/* Gradients of what weights in small forms are made of. */
#include <stdio.h>

#include "graph/grad/rule.h"
#include "graph/own/own.h"

enum { SMALL, SCALE };

static void scale_rule(struct mc_grad *g, struct mc_node *n)
{
    static const char *const same[] = {"shape", "columns", "count", "bits"};
    char op[64];
    if (!mc_grad_wants(g, n, SCALE))
        return;
    snprintf(op, sizeof op, "%sGrad", n->op_type);
    struct mc_value *d = mc_emit_own(g, op, mc_grad_of(g, n, 0), n->in[SMALL], n->in[SCALE]);
    for (size_t i = 0; i < sizeof same / sizeof *same; i++)
        mc_emit_copy(g, n, same[i]);
    mc_grad_give(g, n, SCALE, d);
}

/* y = W[d,1,n,m] A: dW = sum over gates of dy A, dA = dy W summed as A was broadcast. */
static void gate_rule(struct mc_grad *g, struct mc_node *n)
{
    static const int64_t gates[] = {1};
    const struct mc_vtype *w = mc_grad_type(g, n->in[SMALL]);
    struct mc_shape shape = mc_own_shape(n);
    if (!w->ranked || w->shape.dim[1] < 1) {
        mc_grad_refuse(g, n, "the shape of its matrix is not known");
        return;
    }
    int64_t rows = w->shape.dim[1];
    const int64_t dims[] = {shape.dim[0], shape.dim[1] / rows, rows, shape.dim[2]};
    struct mc_value *dy = mc_emit(g, "Reshape", mc_grad_of(g, n, 0), mc_grad_ints(g, dims, 4));
    if (mc_grad_wants(g, n, SMALL))
        mc_grad_give(g, n, SMALL,
                     mc_grad_reduce_sum(g, mc_emit(g, "Mul", dy, n->in[SCALE]), gates, 1, false));
    const struct mc_vtype *a = mc_grad_type(g, n->in[SCALE]);
    if (!mc_grad_wants(g, n, SCALE))
        return;
    if (!a->ranked || a->shape.dim[2] < 0 || a->shape.dim[3] < 0) {
        mc_grad_refuse(g, n, "the shape of its scales is not known");
        return;
    }
    struct mc_value *one = mc_emit(g, "Unsqueeze", n->in[SMALL], mc_grad_ints(g, gates, 1));
    struct mc_value *d = mc_emit(g, "Mul", dy, one);
    int64_t axes[2];
    size_t k = 0;
    for (int i = 2; i < 4; i++)
        if (a->shape.dim[i] == 1 && dims[i] != 1)
            axes[k++] = i;
    mc_grad_give(g, n, SCALE, k ? mc_grad_reduce_sum(g, d, axes, k, true) : d);
}

const struct mc_rule mc_rules_own_weight[] = {
    {MC_OWN_DOMAIN, "BinaryWeight", 1, scale_rule},
    {MC_OWN_DOMAIN, "SharedWeight", 1, scale_rule},
    {MC_OWN_DOMAIN, "SharedPlanes", 1, scale_rule},
    {MC_OWN_DOMAIN, "GateWeight", 1, gate_rule},
    {0},
};
