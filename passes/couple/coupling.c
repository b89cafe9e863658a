#include "passes/couple/coupling.h"

#include <stdio.h>
#include <stdlib.h>

#include "passes/couple/couple_state.h"

static void walk_graph(struct mc_couple *w, const struct mc_graph *g);

/* What a body reads from outside goes on in it; its inputs and outputs stay. */
static void walk_bodies(struct mc_couple *w, const struct mc_node *n)
{
    for (size_t i = 0; i < n->n_attr; i++)
        for (size_t k = 0; n->attr[i].graphs && k < n->attr[i].n; k++)
            walk_graph(w, n->attr[i].graphs[k]);
}

static void look_at(struct mc_couple *w)
{
    struct mc_couple_state *s = w->c->state;
    const struct mc_node *n = w->n;
    const struct mc_couple_rule *r = mc_couple_rule_of(n);
    if (!MC_GROW(s->walked, s->n_walked, s->cap_walked)) {
        w->rc = mc_fail(w->err, MC_ENOMEM, "out of memory");
        return;
    }
    s->walked[s->n_walked++] = n;
    if (r && n->n_out && (!n->n_in || n->in[0])) {
        r->walk(w);
        return;
    }
    char text[256];
    snprintf(text, sizeof text, "%s '%s' cannot lose channels", n->op_type, mc_node_label(n));
    const char *why = mc_arena_strdup(&w->c->mem, text);
    mc_couple_hold_node(w, why ? why : "an operator that cannot lose channels");
}

static void walk_graph(struct mc_couple *w, const struct mc_graph *g)
{
    struct mc_couple_values *t = &w->c->state->values[g->index];
    t->axes = mc_arena_array(&w->c->mem, g->n_values + 1, sizeof *t->axes);
    t->n = g->n_values;
    t->g = g;
    if (!t->axes && !w->rc)
        w->rc = mc_fail(w->err, MC_ENOMEM, "out of memory");
    for (size_t i = 0; i < g->n_nodes && !w->rc; i++) {
        w->n = g->nodes[i];
        look_at(w);
        walk_bodies(w, g->nodes[i]);
    }
}

/* Number 0 is nothing: of tuples and reasons it has a void row. */
static int begin(struct mc_couple *w)
{
    struct mc_couple_state *s = w->c->state;
    s->n_graphs = w->c->m->n_graphs;
    s->values = mc_arena_array(&w->c->mem, s->n_graphs, sizeof *s->values);
    if (!s->values || !MC_GROW(s->tuple, s->n_tuples, s->cap_tuples) ||
        !MC_GROW(s->reason, s->n_reasons, s->cap_reasons))
        return mc_fail(w->err, MC_ENOMEM, "out of memory");
    s->tuple[s->n_tuples++] = (struct mc_tuple){0};
    s->reason[s->n_reasons++] = (struct mc_couple_reason){0};
    return 0;
}

static void drop(struct mc_couple_state *s)
{
    free(s->unit);
    free(s->tuple);
    free(s->reason);
    free(s->batch);
    free(s->walked);
    s->unit = NULL;
    s->tuple = NULL;
    s->reason = NULL;
    s->batch = NULL;
    s->walked = NULL;
    s->even = NULL;
}

int mc_coupling_find(const struct mc_model *m, struct mc_coupling **ret, struct mc_err *err)
{
    struct mc_coupling *c = mc_calloc(1, sizeof *c);
    struct mc_couple w = {.c = c, .err = err};
    if (!c)
        return mc_fail(err, MC_ENOMEM, "out of memory");
    c->m = m;
    c->state = mc_arena_alloc(&c->mem, sizeof *c->state);
    w.rc = c->state ? mc_infer_run(m->graph, NULL, &c->inf, err)
                    : mc_fail(err, MC_ENOMEM, "out of memory");
    if (!w.rc)
        w.rc = begin(&w);
    if (!w.rc)
        walk_graph(&w, m->graph);
    if (!w.rc)
        mc_couple_finish(&w);
    if (c->state)
        drop(c->state);
    if (w.rc)
        mc_coupling_free(c);
    else
        *ret = c;
    return w.rc;
}

void mc_coupling_free(struct mc_coupling *c)
{
    if (!c)
        return;
    mc_infer_free(c->inf);
    mc_arena_free(&c->mem);
    free(c);
}

/* The graph of c's model that g is a clone of: the same body of the same node. */
static const struct mc_graph *same_graph(const struct mc_coupling *c, const struct mc_graph *g)
{
    if (g->model == c->m)
        return g;
    const struct mc_graph *around = g->parent ? same_graph(c, g->parent) : c->m->graph;
    if (!g->parent)
        return g->function ? NULL : around;
    for (size_t i = 0; around && i < around->n_nodes; i++) {
        const struct mc_node *n = around->nodes[i];
        for (size_t a = 0; n->id == g->owner->id && a < n->n_attr && a < g->owner->n_attr; a++)
            for (size_t k = 0; n->attr[a].graphs && k < n->attr[a].n; k++)
                if (g->owner->attr[a].graphs && k < g->owner->attr[a].n &&
                    g->owner->attr[a].graphs[k] == g)
                    return n->attr[a].graphs[k];
    }
    return NULL;
}

const struct mc_value *mc_axis_origin(const struct mc_coupling *c, const struct mc_value *v)
{
    if (!v)
        return NULL;
    v = mc_axis_owner(v);
    const struct mc_graph *g = same_graph(c, v->graph);
    const struct mc_couple_values *t = g ? &c->state->values[g->index] : NULL;
    return t && t->g == g && v->index < t->n ? g->values[v->index] : NULL;
}

static const struct mc_couple_axis *row_of(const struct mc_coupling *c, const struct mc_value *v,
                                           int axis)
{
    v = mc_axis_origin(c, v);
    const struct mc_couple_axis *row = v ? c->state->values[v->graph->index].axes[v->index] : NULL;
    return row && axis >= 0 && axis < mc_infer_of(c->inf, v)->shape.rank ? &row[axis] : NULL;
}

const struct mc_units *mc_coupling_axis(const struct mc_coupling *c, const struct mc_value *v,
                                        int axis)
{
    const struct mc_couple_axis *row = row_of(c, v, axis);
    return row && row->u ? ((const struct mc_couple_axis_units *)row->u)->last : NULL;
}

enum mc_role mc_coupling_role(const struct mc_coupling *c, const struct mc_value *v, int axis)
{
    const struct mc_couple_axis *row = row_of(c, v, axis);
    return row ? row->role : MC_ROLE_NONE;
}

const struct mc_coupling_group *mc_coupling_group_of(const struct mc_coupling *c, int32_t unit)
{
    return unit >= 0 && unit < c->n_units ? &c->group[c->state->group_of[unit]] : NULL;
}
