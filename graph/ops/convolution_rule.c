/* Gradients of Conv and ConvTranspose. */
#include "graph/grad/rule.h"

static void copy_attributes(struct mc_grad *g, const struct mc_node *n)
{
    static const char *const names[] = {"auto_pad", "dilations", "group",          "kernel_shape",
                                        "pads",     "strides",   "output_padding", "output_shape"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        mc_emit_copy(g, n, names[i]);
}

/* Everything but the channels. */
static void give_bias(struct mc_grad *g, struct mc_node *n, struct mc_value *dy)
{
    int rank = mc_grad_rank(g, n->in[1]);
    int64_t axes[MC_RANK_MAX] = {0};
    if (rank < 0) {
        mc_grad_refuse(g, n, "the rank of the weight is not known");
        return;
    }
    for (int d = 2; d < rank; d++)
        axes[d - 1] = d;
    mc_grad_give(g, n, 2, mc_grad_reduce_sum(g, dy, axes, (size_t)rank - 1, false));
}

static void conv_rule(struct mc_grad *g, struct mc_node *n)
{
    struct mc_value *dy = mc_grad_of(g, n, 0), *x = n->in[0], *w = n->in[1];
    bool bias = n->n_in > 2 && mc_grad_wants(g, n, 2);
    if (mc_grad_wants(g, n, 1)) {
        struct mc_value *dw = mc_emit_own(g, "ConvGradWeight", x, dy, mc_grad_shape(g, w));
        copy_attributes(g, n);
        struct mc_value *db = bias ? mc_emit_output(g, 1) : NULL;
        mc_grad_give(g, n, 1, dw);
        if (bias)
            mc_grad_give(g, n, 2, db);
    } else if (bias) {
        give_bias(g, n, dy);
    }
    if (mc_grad_wants(g, n, 0)) {
        struct mc_value *dx = mc_emit_own(g, "ConvGradInput", dy, w, mc_grad_shape(g, x));
        copy_attributes(g, n);
        mc_grad_give(g, n, 0, dx);
    }
}

static void transposed_rule(struct mc_grad *g, struct mc_node *n)
{
    struct mc_value *dy = mc_grad_of(g, n, 0), *x = n->in[0], *w = n->in[1];
    if (mc_grad_wants(g, n, 1)) {
        struct mc_value *dw = mc_emit_own(g, "ConvTransposeGradWeight", x, dy, mc_grad_shape(g, w));
        copy_attributes(g, n);
        mc_grad_give(g, n, 1, dw);
    }
    if (n->n_in > 2 && mc_grad_wants(g, n, 2))
        give_bias(g, n, dy);
    if (mc_grad_wants(g, n, 0)) {
        struct mc_value *dx = mc_emit_own(g, "ConvTransposeGradInput", dy, w, mc_grad_shape(g, x));
        copy_attributes(g, n);
        mc_grad_give(g, n, 0, dx);
    }
}

const struct mc_rule mc_rules_convolution[] = {
    {"", "Conv", 1, conv_rule},
    {"", "ConvTranspose", 1, transposed_rule},
    {0},
};
