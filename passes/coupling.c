#include "passes/coupling.h"

#include <stdio.h>
#include <stdlib.h>

#include "passes/couple_state.h"

static void look_at(struct mc_couple *w)
{
    const struct mc_node *n = w->n;
    const struct mc_couple_rule *r = mc_couple_rule_of(n);
    if (r && n->n_out && (!n->n_in || n->in[0])) {
        r->walk(w);
        return;
    }
    char text[256];
    snprintf(text, sizeof text, "%s '%s' cannot lose channels", n->op_type, mc_node_label(n));
    const char *why = mc_arena_strdup(&w->c->mem, text);
    mc_couple_hold_node(w, why ? why : "an operator that cannot lose channels");
}

/* What number 0 means nothing in has a void row. */
static int begin(struct mc_couple *w)
{
    struct mc_couple_state *s = w->c->state;
    const struct mc_graph *g = w->c->m->graph;
    s->n_values = g->n_values;
    s->axes = mc_arena_array(&w->c->mem, s->n_values + 1, sizeof *s->axes);
    if (!s->axes || !MC_GROW(s->tuple, s->n_tuples, s->cap_tuples) ||
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
    s->unit = NULL;
    s->tuple = NULL;
    s->reason = NULL;
    s->batch = NULL;
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
    for (size_t i = 0; i < m->graph->n_nodes && !w.rc; i++) {
        w.n = m->graph->nodes[i];
        look_at(&w);
    }
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

static const struct mc_couple_axis *row_of(const struct mc_coupling *c, const struct mc_value *v,
                                           int axis)
{
    const struct mc_couple_state *s = c->state;
    if (!v || v->index >= s->n_values || !s->axes[v->index] || v->graph->parent ||
        v->graph->function)
        return NULL;
    const struct mc_vtype *t = mc_infer_of(c->inf, c->m->graph->values[v->index]);
    return axis >= 0 && axis < t->shape.rank ? &s->axes[v->index][axis] : NULL;
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
