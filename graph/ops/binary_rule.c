/* Gradients of signs: straight through, within a width around 0 (the clipped identity).
 * Source: Courbariaux et al., Binarized Neural Networks, 2016, eq. (4). */
#include "graph/grad/rule.h"

static struct mc_value *clipped(struct mc_grad *g, struct mc_node *n, double width)
{
    struct mc_value *least = mc_grad_scalar(g, n->in[0], -width);
    struct mc_value *most = mc_grad_scalar(g, n->in[0], width);
    return mc_emit_own(g, "ClipGrad", mc_grad_of(g, n, 0), n->in[0], least, most);
}

static void sign_rule(struct mc_grad *g, struct mc_node *n)
{
    if (mc_grad_wants(g, n, 0))
        mc_grad_give(g, n, 0, clipped(g, n, (double)mc_node_float(n, "width", 1)));
}

/* alpha sign(w) stands for w: what it gets is w's. */
static void weight_rule(struct mc_grad *g, struct mc_node *n)
{
    if (!mc_grad_wants(g, n, 0))
        return;
    if (mc_node_int(n, "real", 0))
        mc_grad_give(g, n, 0, mc_grad_of(g, n, 0));
    else
        mc_grad_give(g, n, 0, clipped(g, n, 1));
}

const struct mc_rule mc_rules_binary[] = {
    {MC_GRAD_DOMAIN, "SignSTE", 1, sign_rule},
    {MC_GRAD_DOMAIN, "BinarizeWeight", 1, weight_rule},
    {0},
};
