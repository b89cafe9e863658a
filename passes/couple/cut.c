#include <stdlib.h>
#include <string.h>

#include "graph/constant.h"
#include "graph/edit.h"
#include "passes/couple/couple_state.h"
#include "passes/couple/cut_tensor.h"

static int no_memory(struct mc_err *err)
{
    return mc_fail(err, MC_ENOMEM, "out of memory");
}

static bool stays(const struct mc_units *u, int64_t i, const bool *gone)
{
    for (int k = 0; k < u->per; k++) {
        int32_t unit = u->unit[i * u->per + k];
        if (unit >= 0 && gone[unit])
            return false;
    }
    return true;
}

static int64_t count_kept(const struct mc_units *u, const bool *gone)
{
    int64_t n = 0;
    for (int64_t i = 0; i < u->n; i++)
        n += stays(u, i, gone);
    return n;
}

int64_t mc_cut_kept(const struct mc_units *u, int64_t n, const bool *gone, int64_t **ret_index)
{
    *ret_index = NULL;
    int64_t kept = u ? count_kept(u, gone) : n, to = 0;
    if (!u || kept == u->n)
        return u ? u->n : n;
    int64_t *index = mc_calloc((size_t)kept, sizeof *index);
    if (!index)
        return -1;
    for (int64_t i = 0; i < u->n; i++)
        if (stays(u, i, gone))
            index[to++] = i;
    *ret_index = index;
    return kept;
}

/* ---- for rules ---- */

const struct mc_shape *mc_cutting_shape(const struct mc_cutting *k, const struct mc_value *v)
{
    v = mc_axis_origin(k->c, v);
    const struct mc_vtype *t = v ? mc_infer_of(k->c->inf, v) : NULL;
    return t && t->ranked ? &t->shape : NULL;
}

bool mc_cutting_changed(const struct mc_cutting *k, const struct mc_value *v, int axis)
{
    const struct mc_units *u = mc_coupling_axis(k->c, v, axis);
    return u && count_kept(u, k->gone) < u->n;
}

int64_t mc_cutting_length(const struct mc_cutting *k, const struct mc_value *v, int axis)
{
    const struct mc_units *u = mc_coupling_axis(k->c, v, axis);
    const struct mc_shape *s = mc_cutting_shape(k, v);
    return u ? count_kept(u, k->gone) : s && axis < s->rank ? s->dim[axis] : MC_DIM_ANY;
}

static bool any_changed(const struct mc_cutting *k, const struct mc_value *v)
{
    const struct mc_shape *s = mc_cutting_shape(k, v);
    for (int d = 0; s && d < s->rank; d++)
        if (mc_cutting_changed(k, v, d))
            return true;
    return false;
}

int mc_cutting_ints(struct mc_cutting *k, struct mc_node *n, size_t slot, const int64_t *x,
                    int count, struct mc_err *err)
{
    const struct mc_shape shape = {.rank = 1, .dim = {count}};
    struct mc_tensor *t = NULL;
    struct mc_value *v = NULL;
    void *data;
    (void)k;
    int rc = mc_tensor_new(MC_DTYPE_I64, &shape, NULL, &t, &data, err);
    if (rc)
        return rc;
    memcpy(data, x, (size_t)count * sizeof *x);
    const char *hint = slot < n->n_in && n->in[slot] ? n->in[slot]->name : mc_node_label(n);
    rc = mc_constant_new(n->graph, n->pos, hint, t, &v, err);
    mc_tensor_unref(t);
    return rc ? rc : mc_edit_set_input(n, slot, v, err);
}

/* ---- constants ---- */

static int cut_constant(const struct mc_cutting *k, struct mc_value *v, struct mc_err *err)
{
    const struct mc_tensor *t = mc_constant(v);
    int64_t *index[MC_RANK_MAX] = {NULL}, kept[MC_RANK_MAX] = {0};
    struct mc_tensor *made = NULL;
    int rc = 0;
    for (int d = 0; d < t->shape.rank && !rc; d++) {
        kept[d] = mc_cut_kept(mc_coupling_axis(k->c, v, d), t->shape.dim[d], k->gone, &index[d]);
        rc = kept[d] < 0 ? no_memory(err) : 0;
    }
    if (!rc)
        rc = mc_cut_tensor(k, t, index, kept, &made, err);
    if (!rc)
        rc = mc_constant_replace(v, made, err);
    mc_tensor_unref(made);
    for (int d = 0; d < MC_RANK_MAX; d++)
        free(index[d]);
    return rc;
}

static int cut_value(const struct mc_cutting *k, struct mc_value *v, struct mc_err *err)
{
    if (!v || v->outer || !any_changed(k, v))
        return 0;
    if (mc_axis_is_constant(v))
        return cut_constant(k, v, err);
    return mc_edit_type(v, mc_infer_of(k->c->inf, mc_axis_origin(k->c, v))->dtype, -1, NULL)
               ? 0
               : no_memory(err);
}

static int cut_node(struct mc_cutting *k, struct mc_node *n, struct mc_err *err)
{
    const struct mc_couple_rule *r = mc_couple_rule_of(n);
    bool changed = false;
    for (size_t i = 0; i < n->n_in && r && r->cut && !changed; i++)
        changed = n->in[i] && any_changed(k, n->in[i]);
    for (size_t i = 0; i < n->n_out && r && r->cut && !changed; i++)
        changed = n->out[i] && any_changed(k, n->out[i]);
    return changed ? r->cut(k, n, err) : 0;
}

static int cut_graph(struct mc_cutting *k, struct mc_graph *g, struct mc_err *err)
{
    size_t n_values = g->n_values, n_nodes = g->n_nodes;
    struct mc_node **node = mc_calloc(n_nodes, sizeof *node); /* rules may add some */
    if (!node)
        return no_memory(err);
    memcpy(node, g->nodes, n_nodes * sizeof *node);
    int rc = 0;
    for (size_t i = 0; i < n_values && !rc; i++)
        rc = cut_value(k, g->values[i], err);
    for (size_t i = 0; i < n_nodes && !rc; i++) {
        rc = cut_node(k, node[i], err);
        for (size_t a = 0; a < node[i]->n_attr && !rc; a++)
            for (size_t b = 0; node[i]->attr[a].graphs && b < node[i]->attr[a].n && !rc; b++)
                rc = cut_graph(k, node[i]->attr[a].graphs[b], err);
    }
    free(node);
    return rc;
}

int mc_cut(const struct mc_coupling *c, struct mc_model *m, const bool *gone, unsigned flags,
           struct mc_err *err)
{
    struct mc_cutting k = {c, m, gone, flags};
    int rc = cut_graph(&k, m->graph, err);
    if (!rc)
        mc_edit_sweep(m->graph);
    return rc;
}
