/* First states of recurrent cells that are zeros, computed to fit the batch: exporters slice those of all layers out of one
 * tensor, which would tie the layers. Left out they mean the same. */
#include "graph/constant.h"
#include "graph/edit.h"
#include "passes/couple/couple_rewrite.h"

enum { DEEPEST = 16, FIRST_H = 5, FIRST_C = 6 };

static bool are_zeros(const struct mc_tensor *t)
{
    bool zeros = t && t->data;
    for (size_t i = 0; zeros && i < t->bytes; i++)
        zeros = !t->data[i];
    return zeros;
}

/* Nodes whose results are made of elements of input 0 alone. */
static bool moves(const struct mc_node *n)
{
    static const char *const names[] = {"Slice",     "Split",    "Gather",    "Squeeze",
                                        "Unsqueeze", "Reshape",  "Transpose", "Expand",
                                        "Tile",      "Identity", "Cast"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (mc_node_is(n, names[i]))
            return true;
    return false;
}

static bool is_zero(const struct mc_value *v, int depth)
{
    const struct mc_node *n = v ? v->producer : NULL;
    if (!v || depth > DEEPEST)
        return false;
    if (mc_constant(v))
        return are_zeros(mc_constant(v));
    if (!n)
        return false;
    if (mc_node_is(n, "ConstantOfShape")) {
        const struct mc_attr *value = mc_node_attr(n, "value");
        return !value || (value->type == MC_ATTR_TENSOR && are_zeros(value->tensors[0]));
    }
    if (mc_node_is(n, "Concat")) {
        for (size_t i = 0; i < n->n_in; i++)
            if (!is_zero(n->in[i], depth + 1))
                return false;
        return true;
    }
    return moves(n) && n->n_in && is_zero(n->in[0], depth + 1);
}

int mc_rewrite_states(struct mc_graph *g, struct mc_err *err)
{
    int rc = 0;
    for (size_t i = 0; i < g->n_nodes; i++) {
        struct mc_node *n = g->nodes[i];
        if (!mc_node_is(n, "LSTM") && !mc_node_is(n, "GRU") && !mc_node_is(n, "RNN"))
            continue;
        for (size_t k = FIRST_H; k <= FIRST_C && k < n->n_in && !rc; k++)
            if (is_zero(n->in[k], 0))
                rc = mc_edit_set_input(n, k, NULL, err);
    }
    return rc;
}
