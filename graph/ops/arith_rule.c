/* Gradients of arithmetic with broadcasting. */
#include "graph/grad/rule.h"

static void add_rule(struct mc_grad *g, struct mc_node *n)
{
    struct mc_value *dy = mc_grad_of(g, n, 0);
    for (int i = 0; i < 2; i++)
        if (mc_grad_wants(g, n, i))
            mc_grad_give(g, n, i, mc_grad_sum_to(g, dy, n->out[0], n->in[i]));
}

static void sub_rule(struct mc_grad *g, struct mc_node *n)
{
    struct mc_value *dy = mc_grad_of(g, n, 0);
    if (mc_grad_wants(g, n, 0))
        mc_grad_give(g, n, 0, mc_grad_sum_to(g, dy, n->out[0], n->in[0]));
    if (mc_grad_wants(g, n, 1))
        mc_grad_give(g, n, 1, mc_emit(g, "Neg", mc_grad_sum_to(g, dy, n->out[0], n->in[1])));
}

static void mul_rule(struct mc_grad *g, struct mc_node *n)
{
    struct mc_value *dy = mc_grad_of(g, n, 0);
    for (int i = 0; i < 2; i++)
        if (mc_grad_wants(g, n, i)) {
            struct mc_value *d = mc_emit(g, "Mul", dy, n->in[1 - i]);
            mc_grad_give(g, n, i, mc_grad_sum_to(g, d, n->out[0], n->in[i]));
        }
}

const struct mc_rule mc_rules_arith[] = {
    {"", "Add", 7, add_rule},
    {"", "Sub", 7, sub_rule},
    {"", "Mul", 7, mul_rule},
    {0},
};
