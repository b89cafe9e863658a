#include "passes/prune/importance_gate.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "graph/constant.h"
#include "graph/edit.h"

static int no_memory(struct mc_err *err)
{
    return mc_fail(err, MC_ENOMEM, "out of memory for the importance of units");
}

/* The symbol of the samples: of the first axis of an input. */
static int64_t batch_symbol(const struct mc_coupling *c)
{
    const struct mc_graph *g = c->m->graph;
    for (size_t i = 0; i < g->n_inputs; i++) {
        const struct mc_vtype *t = mc_infer_of(c->inf, g->inputs[i]);
        if (!g->inputs[i]->tensor && t->ranked && t->shape.rank > 0)
            return t->shape.dim[0];
    }
    return 0;
}

static int batch_axis(const struct mc_coupling *c, const struct mc_value *v, int64_t symbol)
{
    const struct mc_vtype *t = mc_infer_of(c->inf, v);
    for (int k = 0; symbol < MC_DIM_ANY && t->ranked && k < t->shape.rank; k++)
        if (t->shape.dim[k] == symbol)
            return k;
    return -1;
}

static bool is_float(const struct mc_coupling *c, const struct mc_value *v)
{
    return mc_dtype_info((int)mc_infer_of(c->inf, v)->dtype)->kind == MC_KIND_FLOAT;
}

/* No gradient is to be expected: the node looks at the shape, or only compares. */
static bool is_blind(const struct mc_coupling *c, const struct mc_node *n)
{
    for (size_t i = 0; i < n->n_out; i++) {
        enum mc_dtype d = n->out[i] ? mc_infer_of(c->inf, n->out[i])->dtype : MC_DTYPE_NONE;
        if (n->out[i] && d != MC_DTYPE_I64 && d != MC_DTYPE_I32 && d != MC_DTYPE_BOOL)
            return false;
    }
    return true;
}

/* ---- ends ---- */

static int put_gate(struct mc_gates *g, struct mc_node *n, struct mc_gate *gate, struct mc_err *err)
{
    struct mc_graph *of = g->model->graph;
    struct mc_value *in = n->in[gate->end->slot], *out = mc_edit_fresh(of, "importance.gate");
    if (!out)
        return no_memory(err);
    int rc = mc_edit_node(of, n->pos, "Identity", "", 0, out->name, &in, 1, &out, 1, NULL, err);
    if (!rc)
        rc = mc_edit_set_input(n, gate->end->slot, out, err);
    gate->value = out;
    return rc;
}

static int fill_constant(struct mc_gates *g, struct mc_gate *gate, struct mc_err *err)
{
    int64_t n;
    gate->constant = true;
    gate->value = mc_graph_value(g->model->graph, gate->end->v->name);
    return gate->value ? mc_constant_f32(gate->end->v, &gate->content, &n, err)
                       : mc_fail(err, MC_EUNSUP, "'%s' is not there", gate->end->v->name);
}

static int put_gates(const struct mc_coupling *c, struct mc_gates *g, struct mc_err *err)
{
    int64_t symbol = batch_symbol(c);
    size_t nodes = c->m->graph->n_nodes;
    struct mc_node **node = mc_calloc(nodes + 1, sizeof *node);
    int rc = node ? 0 : no_memory(err);
    if (!rc)
        memcpy(node, g->model->graph->nodes, nodes * sizeof *node);
    for (size_t i = 0; i < g->ends.n && !rc; i++) {
        const struct mc_unit_end *e = &g->ends.list[i];
        if (e->second || is_blind(c, e->node))
            continue;
        if (!is_float(c, e->v)) {
            rc = mc_fail(err, MC_EUNSUP, "'%s' is read as %s, which has no gradient", e->v->name,
                         mc_dtype_name((int)mc_infer_of(c->inf, e->v)->dtype));
            break;
        }
        struct mc_gate *gate = &g->list[g->n++];
        *gate = (struct mc_gate){.end = e, .batch_axis = batch_axis(c, e->v, symbol)};
        rc = e->inside ? fill_constant(g, gate, err) : put_gate(g, node[e->node->pos], gate, err);
    }
    free(node);
    return rc;
}

int mc_gates_of_ends(const struct mc_coupling *c, struct mc_gates *ret, struct mc_err *err)
{
    struct mc_gates g = {0};
    int rc = mc_unit_ends_find(c, &g.ends, err);
    if (!rc)
        rc = mc_model_clone(c->m, &g.model, err);
    g.list = mc_calloc(g.ends.n + 1, sizeof *g.list);
    if (!rc)
        rc = g.list ? put_gates(c, &g, err) : no_memory(err);
    if (rc)
        mc_gates_free(&g);
    else
        *ret = g;
    return rc;
}

/* ---- weights ---- */

static int add_weights(const struct mc_coupling *c, struct mc_gates *g, size_t *cap,
                       struct mc_value *v, struct mc_err *err)
{
    const struct mc_tensor *t = mc_constant(v);
    if (!t || (v->producer && !mc_node_is(v->producer, "Constant")) ||
        mc_dtype_info((int)t->dtype)->kind != MC_KIND_FLOAT)
        return 0;
    for (int axis = 0; axis < t->shape.rank; axis++) {
        const struct mc_units *u = mc_coupling_axis(c, v, axis);
        if (!u || mc_coupling_role(c, v, axis) == MC_ROLE_NONE)
            continue;
        struct mc_unit_end e = {.v = v, .axis = axis, .n = u->n, .per = u->per, .inside = true};
        e.unit = mc_arena_memdup(&g->ends.mem, u->unit, (size_t)(u->n * u->per) * sizeof *e.unit);
        if (!e.unit || !MC_GROW(g->ends.list, g->ends.n, *cap))
            return no_memory(err);
        g->ends.list[g->ends.n++] = e;
    }
    return 0;
}

int mc_gates_of_weights(const struct mc_coupling *c, struct mc_gates *ret, struct mc_err *err)
{
    struct mc_gates g = {0};
    size_t cap = 0;
    int rc = mc_model_clone(c->m, &g.model, err);
    for (size_t i = 0; i < c->m->graph->n_values && !rc; i++)
        if (c->m->graph->values[i])
            rc = add_weights(c, &g, &cap, c->m->graph->values[i], err);
    g.list = mc_calloc(g.ends.n + 1, sizeof *g.list);
    if (!rc && !g.list)
        rc = no_memory(err);
    for (size_t i = 0; i < g.ends.n && !rc; i++) {
        struct mc_gate *gate = &g.list[g.n++];
        *gate = (struct mc_gate){.end = &g.ends.list[i], .batch_axis = -1};
        gate->square = mc_calloc((size_t)gate->end->n + 1, sizeof *gate->square);
        rc = gate->square ? fill_constant(&g, gate, err) : no_memory(err);
    }
    if (rc)
        mc_gates_free(&g);
    else
        *ret = g;
    return rc;
}

void mc_gates_free(struct mc_gates *g)
{
    for (size_t i = 0; g->list && i < g->n; i++) {
        free(g->list[i].content);
        free(g->list[i].square);
    }
    free(g->list);
    mc_unit_ends_free(&g->ends);
    mc_model_free(g->model);
    *g = (struct mc_gates){0};
}
