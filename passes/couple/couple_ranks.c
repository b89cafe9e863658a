/* Branches of different rank, where what reads them takes only one: how torch.Tensor.squeeze(d) is exported. */
#include "graph/constant.h"
#include "graph/edit.h"
#include "passes/couple/couple_rewrite.h"

enum { DEPTH = 12 }; /* of readers that are followed */

static int axes_of(const struct mc_node *n)
{
    int64_t axes[MC_RANK_MAX];
    size_t count;
    if (mc_node_ints(n, "axes", &count))
        return (int)count;
    return n->n_in > 1 ? mc_constant_ints(n->in[1], axes, MC_RANK_MAX) : -1;
}

/* Ranks that readers of v take, as bits; 0: none says. */
static unsigned wanted(const struct mc_value *v, int depth)
{
    unsigned ranks = 0;
    const struct mc_graph *g = v->graph;
    for (size_t k = 0; v->is_output && g->owner && mc_node_is(g->owner, "If") && k < g->n_outputs;
         k++)
        if (g->outputs[k] == v && k < g->owner->n_out && g->owner->out[k] && depth < DEPTH)
            ranks |= wanted(g->owner->out[k], depth + 1);
    for (size_t i = 0; i < v->n_uses && depth < DEPTH; i++) {
        const struct mc_node *n = v->uses[i].node;
        size_t count;
        if (v->uses[i].slot < 0)
            ranks |= wanted(v->uses[i].proxy, depth + 1);
        else if (v->uses[i].slot || !n->n_out || !n->out[0])
            continue;
        else if (mc_node_is(n, "LSTM") || mc_node_is(n, "GRU") || mc_node_is(n, "RNN"))
            ranks |= 1u << 3;
        else if (mc_node_is(n, "Transpose") && mc_node_ints(n, "perm", &count) && count < 32)
            ranks |= 1u << count;
        else if (mc_node_is(n, "Unsqueeze") && axes_of(n) > 0)
            ranks |= wanted(n->out[0], depth + 1) >> axes_of(n);
        else if (mc_node_is(n, "Cast") || mc_node_is(n, "Relu") || mc_node_is(n, "Identity"))
            ranks |= wanted(n->out[0], depth + 1);
    }
    return ranks;
}

static const struct mc_graph *branch(const struct mc_node *n, const char *name)
{
    const struct mc_attr *a = mc_node_attr(n, name);
    return a && a->graphs && a->n == 1 && a->graphs[0]->n_outputs == 1 ? a->graphs[0] : NULL;
}

/* 1 or 0: the only branch that n can take; -1: both can be. */
static int only(const struct mc_infer *inf, const struct mc_node *n)
{
    const struct mc_graph *yes = branch(n, "then_branch"), *no = branch(n, "else_branch");
    if (!mc_node_is(n, "If") || !yes || !no || n->n_out != 1 || !n->out[0] ||
        n->out[0]->is_output || mc_infer_of(inf, n->out[0])->ranked || mc_constant(n->in[0]))
        return -1;
    const struct mc_vtype *a = mc_infer_of(inf, yes->outputs[0]);
    const struct mc_vtype *b = mc_infer_of(inf, no->outputs[0]);
    if (!a->ranked || !b->ranked || a->shape.rank == b->shape.rank)
        return -1;
    unsigned ranks = wanted(n->out[0], 0);
    bool takes_a = ranks >> a->shape.rank & 1, takes_b = ranks >> b->shape.rank & 1;
    return takes_a == takes_b ? -1 : takes_a;
}

static int decide(struct mc_node *n, bool yes, struct mc_err *err)
{
    const struct mc_shape scalar = {0};
    struct mc_tensor *t = NULL;
    struct mc_value *v = NULL;
    void *data;
    int rc = mc_tensor_new(MC_DTYPE_BOOL, &scalar, NULL, &t, &data, err);
    if (rc)
        return rc;
    *(uint8_t *)data = yes;
    rc = mc_constant_new(n->graph, n->pos, n->in[0]->name, t, &v, err);
    mc_tensor_unref(t);
    return rc ? rc : mc_edit_set_input(n, 0, v, err);
}

int mc_rewrite_ranks(struct mc_graph *g, const struct mc_infer *inf, bool *ret_any,
                     struct mc_err *err)
{
    int rc = 0;
    for (size_t i = 0; i < g->n_nodes && !rc; i++) {
        struct mc_node *n = g->nodes[i];
        int branch_taken = only(inf, n);
        if (branch_taken >= 0) {
            *ret_any = true;
            rc = decide(n, branch_taken, err);
        }
        for (size_t k = 0; k < n->n_attr && !rc; k++)
            for (size_t b = 0; n->attr[k].graphs && b < n->attr[k].n && !rc; b++)
                rc = mc_rewrite_ranks(n->attr[k].graphs[b], inf, ret_any, err);
    }
    return rc;
}
