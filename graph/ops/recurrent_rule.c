/* Gradients of LSTM, GRU and RNN: the node becomes one that keeps its gates and states. */
#include <stdio.h>
#include <string.h>

#include "graph/grad/rule.h"
#include "graph/ops/rnn_node.h"

/* Slopes are found from the values of activations (kernels/rnn.h). */
static bool is_supported(struct mc_grad *g, const struct mc_node *n, const struct mc_rnn_node *l)
{
    if (l->clip > 0)
        mc_grad_refuse(g, n, "clip has no gradient yet");
    for (int d = 0; d < l->dirs; d++)
        for (int i = 0; i < l->fns; i++) {
            const struct mc_rnn_fn *f = &l->fn[d][i];
            if ((f->act == MC_RNN_LEAKY || f->act == MC_RNN_ELU) && f->a < 0)
                mc_grad_refuse(g, n, "activation_alpha %g has no gradient yet", f->a);
            if (f->act == MC_RNN_THRESHOLDED && f->a < 0)
                mc_grad_refuse(g, n, "activation_alpha %g has no gradient yet", f->a);
        }
    return !mc_grad_failed(g);
}

/* Outputs from the first on are gradients of these inputs (graph/ops/recurrent_grad.c). */
static const int inputs[] = {MC_RNN_IN_R, MC_RNN_IN_W, MC_RNN_IN_B, MC_RNN_IN_X,
                             MC_RNN_IN_H, MC_RNN_IN_C, MC_RNN_IN_P};

static void recurrent_rule(struct mc_grad *g, struct mc_node *n)
{
    struct mc_rnn_node l;
    struct mc_value *in[MC_RNN_INPUTS + 6] = {NULL};
    static const char *const copied[] = {
        "direction",   "hidden_size",         "layout",           "input_forget",
        "activations", "linear_before_reset", "activation_alpha", "activation_beta"};
    if (mc_rnn_parse(n, &l, NULL)) {
        mc_grad_refuse(g, n, "it cannot be run");
        return;
    }
    if (!is_supported(g, n, &l))
        return;
    bool cells = l.kind == MC_RNN_LSTM || (l.kind == MC_RNN_GRU && l.linear_before_reset);
    char op[16];
    snprintf(op, sizeof op, "%.8sGrad", n->op_type);
    mc_grad_replace(g, n, n->op_type);
    static const int used[] = {MC_RNN_IN_X,    MC_RNN_IN_W, MC_RNN_IN_R,
                               MC_RNN_IN_LENS, MC_RNN_IN_H, MC_RNN_IN_P};
    for (int i = 0; i < 6; i++)
        in[used[i]] = (size_t)used[i] < n->n_in ? n->in[used[i]] : NULL;
    struct mc_value **more = in + MC_RNN_INPUTS;
    more[0] = l.kind == MC_RNN_PLAIN ? NULL : mc_grad_output(g, n, MC_RNN_GATES);
    more[1] = mc_grad_output(g, n, MC_RNN_STATES);
    more[2] = cells ? mc_grad_output(g, n, MC_RNN_CELLS) : NULL;
    for (int i = 0; i < 3; i++)
        more[3 + i] = mc_grad_of(g, n, i);
    mc_grad_emit(g, MC_GRAD_DOMAIN, op, in, sizeof in / sizeof *in);
    for (size_t i = 0; i < sizeof copied / sizeof *copied; i++)
        mc_emit_copy(g, n, copied[i]);
    struct mc_value *d[7] = {NULL};
    for (int i = 0; i < 7; i++)
        d[i] = mc_grad_wants(g, n, inputs[i]) ? mc_emit_output(g, 1 + i) : NULL;
    for (int i = 0; i < 7; i++)
        if (d[i])
            mc_grad_give(g, n, inputs[i], d[i]);
}

#define RULES(domain)                                                                              \
    {domain, "LSTM", 1, recurrent_rule}, {domain, "GRU", 1, recurrent_rule},                       \
    {                                                                                              \
        domain, "RNN", 1, recurrent_rule                                                           \
    }
const struct mc_rule mc_rules_recurrent[] = {RULES(""), RULES(MC_GRAD_DOMAIN), {0}};
