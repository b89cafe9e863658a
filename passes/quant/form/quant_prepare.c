#include "graph/constant.h"
#include "graph/edit.h"
#include "graph/infer.h"
#include "passes/quant/form/quant_site.h"

static bool is_matrix(const struct mc_value *v)
{
    const struct mc_tensor *t = v ? mc_constant(v) : NULL;
    return t && t->shape.rank == 2;
}

/* The Add of one number a column that alone reads the product of n; its constant is at *ret_slot. */
static struct mc_node *bias_of(const struct mc_node *n, int *ret_slot)
{
    if (!mc_node_is(n, "MatMul") || n->n_in != 2 || !is_matrix(n->in[1]) || !n->in[0] ||
        n->version < 7)
        return NULL;
    const struct mc_value *y = n->out[0];
    if (!y || y->n_uses != 1 || y->is_output || y->uses[0].slot < 0)
        return NULL;
    struct mc_node *add = y->uses[0].node;
    if (!mc_node_is(add, "Add") || add->n_in != 2 || add->graph != n->graph)
        return NULL;
    *ret_slot = y->uses[0].slot == 0;
    const struct mc_tensor *c = mc_constant(add->in[*ret_slot]), *w = mc_constant(n->in[1]);
    bool fits = c && c->dtype == w->dtype && (c->shape.rank == 1 || c->shape.rank == 2) &&
                mc_tensor_count(c) == w->shape.dim[1] &&
                c->shape.dim[c->shape.rank - 1] == w->shape.dim[1];
    return fits ? add : NULL;
}

/* y = x W + c in the place of the Add, whose name and output stay. */
static int join(struct mc_node *n, struct mc_node *add, int slot, struct mc_err *err)
{
    struct mc_value *x = n->in[0], *w = n->in[1], *c = add->in[slot];
    int rc = mc_edit_op(add, "", "Gemm", (int)mc_graph_opset(add->graph, ""), err);
    if (!rc)
        rc = mc_edit_set_input(add, 0, x, err);
    if (!rc)
        rc = mc_edit_set_input(add, 1, w, err);
    if (!rc)
        rc = mc_edit_set_input(add, 2, c, err);
    if (!rc)
        mc_edit_remove_node(n);
    return rc;
}

static int join_all(struct mc_graph *g, struct mc_err *err)
{
    struct mc_infer *inf = NULL;
    int rc = 0, slot;
    for (size_t i = g->n_nodes; i-- > 0 && !rc;) {
        struct mc_node *add = bias_of(g->nodes[i], &slot);
        if (!add)
            continue;
        if (!inf && (rc = mc_infer_run(g, NULL, &inf, err)))
            return rc == MC_ENOMEM ? rc : 0; /* who runs a model that contradicts itself says so */
        const struct mc_vtype *x = mc_infer_of(inf, g->nodes[i]->in[0]);
        if (x->ranked && x->shape.rank == 2)
            rc = join(g->nodes[i], add, slot, err);
    }
    mc_infer_free(inf);
    return rc;
}

int mc_quant_prepare(struct mc_model *m, struct mc_err *err)
{
    if (m->ir_version < 4) { /* where every initializer is an input, none could leave the file */
        m->ir_version = 4;
        mc_edit_free_inputs(m->graph);
    }
    int rc = mc_quant_carry(m->graph, err);
    rc = rc ? rc : join_all(m->graph, err);
    if (!rc)
        rc = mc_quant_tidy(m, err);
    if (!rc)
        mc_edit_sweep(m->graph);
    return rc;
}
