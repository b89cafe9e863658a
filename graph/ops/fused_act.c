#include "graph/ops/fused_act.h"

#include <math.h>
#include <string.h>

#include "graph/ops/helper.h"

/* Parameter i: in the list of FusedConv, or an attribute of its own in FusedGemm. */
static double parameter(const struct mc_node *n, int i, double missing)
{
    static const char *const names[] = {"activation_alpha", "activation_beta"};
    const struct mc_attr *list = mc_node_attr(n, "activation_params");
    if (list && list->type == MC_ATTR_FLOATS && (size_t)i < list->n)
        return (double)list->floats[i];
    return (double)mc_node_float(n, names[i], (float)missing);
}

int mc_fused_act(const struct mc_node *n, struct mc_fused_act *ret, struct mc_err *err)
{
    const char *name = mc_node_string(n, "activation", "");
    struct mc_epilogue *e = &ret->epilogue;
    *ret = (struct mc_fused_act){.epilogue = {.act = MC_ACT_NONE}};
    if (!strcmp(name, "")) {
        return 0;
    } else if (!strcmp(name, "Relu")) {
        *e = (struct mc_epilogue){.act = MC_ACT_CLAMP, .lo = 0, .hi = INFINITY};
    } else if (!strcmp(name, "Clip")) {
        e->act = MC_ACT_CLAMP;
        e->lo = parameter(n, 0, -INFINITY);
        e->hi = parameter(n, 1, INFINITY);
    } else if (!strcmp(name, "LeakyRelu")) {
        e->act = MC_ACT_LEAKY;
        e->lo = parameter(n, 0, 0.01);
    } else if (!strcmp(name, "Sigmoid")) {
        e->act = MC_ACT_SIGMOID;
    } else if (!strcmp(name, "Tanh")) {
        e->act = MC_ACT_TANH;
    } else if (!strcmp(name, "HardSigmoid")) {
        ret->rest = true;
        ret->unary = (struct mc_unary){
            .fn = MC_UNARY_HARDSIGMOID, .a = parameter(n, 0, 0.2), .b = parameter(n, 1, 0.5)};
    } else {
        return mc_op_fail(err, MC_EUNSUP, n, "activation '%s' cannot run", name);
    }
    return 0;
}

void mc_fused_act_rest(const struct mc_call *c, const struct mc_fused_act *act)
{
    struct mc_unary u = act->unary;
    if (!act->rest)
        return;
    u.n = mc_op_count(&c->out[0]);
    u.x = c->out[0].data;
    u.y = c->out[0].data;
    c->k->elementwise.unary(&u, c->pool);
}
