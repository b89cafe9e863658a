/* Gradients of products with block-circulant weights: circulant products again. Those of convolutions are the dense ones, of a
 * weight that is made for a step, summed along wrapped diagonals.
 *
 * Source: Ding et al., CirCNN, MICRO 2017, eqs. (5) and (6). */
#include "graph/grad/rule.h"
#include "graph/own/own.h"

enum { X, C, B };

/* Rows of X are all but its last dimension. */
static void product_rule(struct mc_grad *g, struct mc_node *n)
{
    struct mc_value *dy = mc_grad_of(g, n, 0), *x = n->in[X], *c = n->in[C];
    if (mc_grad_wants(g, n, X))
        mc_grad_give(g, n, X, mc_emit_own(g, "CirculantGradInput", dy, c));
    if (mc_grad_wants(g, n, C))
        mc_grad_give(g, n, C, mc_emit_own(g, "CirculantGradWeight", x, dy, mc_grad_shape(g, c)));
    if (n->n_in > B && mc_grad_wants(g, n, B))
        mc_grad_give(g, n, B, mc_grad_sum_to(g, dy, n->out[0], n->in[B]));
}

static void window(struct mc_grad *g, const struct mc_node *n)
{
    mc_emit_copy(g, n, "strides");
    mc_emit_copy(g, n, "pads");
    mc_emit_copy(g, n, "dilations");
}

static void conv_rule(struct mc_grad *g, struct mc_node *n)
{
    static const int64_t axes[] = {0, 2, 3};
    struct mc_value *dy = mc_grad_of(g, n, 0), *x = n->in[X], *c = n->in[C];
    bool bias = n->n_in > B && mc_grad_wants(g, n, B);
    struct mc_value *w = mc_emit_own(g, "CirculantExpand", c);
    if (mc_grad_wants(g, n, C)) {
        struct mc_value *dw = mc_emit_own(g, "ConvGradWeight", x, dy, mc_grad_shape(g, w));
        window(g, n);
        mc_grad_give(g, n, C, mc_emit_own(g, "CirculantFold", dw, mc_grad_shape(g, c)));
    }
    if (bias)
        mc_grad_give(g, n, B, mc_grad_reduce_sum(g, dy, axes, 3, false));
    if (mc_grad_wants(g, n, X)) {
        struct mc_value *dx = mc_emit_own(g, "ConvGradInput", dy, w, mc_grad_shape(g, x));
        window(g, n);
        mc_grad_give(g, n, X, dx);
    }
}

const struct mc_rule mc_rules_circulant[] = {
    {MC_OWN_DOMAIN, "CirculantGemm", 1, product_rule},
    {MC_OWN_DOMAIN, "CirculantGemmWindow", 1, product_rule},
    {MC_OWN_DOMAIN, "CirculantGemmDft", 1, product_rule},
    {MC_OWN_DOMAIN, "CirculantGemmDft2", 1, product_rule},
    {MC_OWN_DOMAIN, "CirculantConv", 1, conv_rule},
    {MC_OWN_DOMAIN, "CirculantConvDft", 1, conv_rule},
    {0},
};
