#include "passes/prune/importance_end.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "graph/constant.h"
#include "passes/prune/importance_share.h"

static int no_memory(struct mc_err *err)
{
    return mc_fail(err, MC_ENOMEM, "out of memory for the importance of units");
}

struct search {
    const struct mc_coupling *c;
    struct mc_unit_ends *ends;
    size_t cap;
    bool *is_static; /* [n_values] follows from constants alone */
    /* [n_units], the number of the node at hand: */
    uint32_t *goes_on; /* some result has it */
    uint32_t *comes;   /* some input that is not constant has it */
    uint32_t now;
    struct mc_err *err;
};

static bool reads_nothing(const struct search *s, const struct mc_node *n)
{
    for (size_t i = 0; i < n->n_in; i++)
        if (n->in[i] && !s->is_static[n->in[i]->index])
            return false;
    for (size_t i = 0; i < n->n_attr; i++)
        if (n->attr[i].graphs)
            return false;
    return true;
}

static void find_static(struct search *s, const struct mc_graph *g)
{
    for (size_t i = 0; i < g->n_values; i++)
        s->is_static[i] = g->values[i] && mc_constant(g->values[i]);
    for (size_t i = 0; i < g->n_nodes; i++)
        for (size_t k = 0; reads_nothing(s, g->nodes[i]) && k < g->nodes[i]->n_out; k++)
            if (g->nodes[i]->out[k])
                s->is_static[g->nodes[i]->out[k]->index] = true;
}

static int rank_of(const struct search *s, const struct mc_value *v)
{
    const struct mc_vtype *t = mc_infer_of(s->c->inf, v);
    return t->ranked ? t->shape.rank : 0;
}

static void stamp(const struct search *s, const struct mc_value *v, uint32_t *of)
{
    for (int axis = 0; axis < rank_of(s, v); axis++) {
        const struct mc_units *u = mc_coupling_axis(s->c, v, axis);
        for (int64_t i = 0; u && i < u->n * u->per; i++)
            if (u->unit[i] >= 0)
                of[u->unit[i]] = s->now;
    }
}

/* The result of a node that has a unit. */
static void find_states(const struct search *s, struct mc_unit_end *e)
{
    int32_t unit = -1;
    for (int64_t i = 0; unit < 0 && i < e->n * e->per; i++)
        unit = e->unit[i];
    for (size_t k = 0; k < e->node->n_out; k++)
        for (int axis = 0; e->node->out[k] && axis < rank_of(s, e->node->out[k]); axis++) {
            const struct mc_units *u = mc_coupling_axis(s->c, e->node->out[k], axis);
            for (int64_t i = 0; u && i < u->n * u->per && !e->states; i++)
                if (u->unit[i] == unit) {
                    e->states = e->node->out[k];
                    e->states_axis = axis;
                }
        }
}

/* An end with those units of an axis for which `than` has no stamp; none is added where all have one. */
static int add_end(struct search *s, struct mc_unit_end e, const uint32_t *than)
{
    const struct mc_units *u = mc_coupling_axis(s->c, e.v, e.axis);
    bool any = false;
    for (int64_t i = 0; u && !any && i < u->n * u->per; i++)
        any = u->unit[i] >= 0 && than[u->unit[i]] != s->now;
    if (!any)
        return 0;
    e.n = u->n;
    e.per = u->per;
    e.unit = mc_arena_array(&s->ends->mem, (size_t)u->n, (size_t)u->per * sizeof *e.unit);
    if (!e.unit || !MC_GROW(s->ends->list, s->ends->n, s->cap))
        return no_memory(s->err);
    for (int64_t i = 0; i < u->n * u->per; i++) {
        bool ends = u->unit[i] >= 0 && than[u->unit[i]] != s->now;
        e.unit[i] = ends ? u->unit[i] : -1;
        e.second |= ends && !e.inside && s->comes[u->unit[i]] == s->now;
    }
    if (e.inside)
        find_states(s, &e);
    s->ends->list[s->ends->n++] = e;
    return 0;
}

static int look_at_node(struct search *s, const struct mc_node *n)
{
    int rc = 0;
    s->now++;
    for (size_t k = 0; k < n->n_out; k++)
        if (n->out[k])
            stamp(s, n->out[k], s->goes_on);
    for (size_t i = 0; i < n->n_in && !rc; i++) {
        if (!n->in[i] || s->is_static[n->in[i]->index])
            continue;
        struct mc_unit_end e = {.node = n, .slot = i, .v = n->in[i]};
        for (e.axis = 0; e.axis < rank_of(s, e.v) && !rc; e.axis++)
            rc = add_end(s, e, s->goes_on);
        stamp(s, n->in[i], s->comes);
    }
    for (size_t i = 0; i < n->n_in && !rc; i++) {
        if (!n->in[i] || !mc_constant(n->in[i]))
            continue;
        struct mc_unit_end e = {.node = n, .slot = i, .v = n->in[i], .inside = true};
        for (e.axis = 0; e.axis < rank_of(s, e.v) && !rc; e.axis++)
            if (mc_coupling_role(s->c, e.v, e.axis) == MC_ROLE_READS)
                rc = add_end(s, e, s->comes);
    }
    return rc;
}

int mc_unit_ends_find(const struct mc_coupling *c, struct mc_unit_ends *ret, struct mc_err *err)
{
    const struct mc_graph *g = c->m->graph;
    struct mc_unit_ends ends = {0};
    struct search s = {.c = c, .ends = &ends, .err = err};
    s.is_static = mc_calloc(g->n_values + 1, sizeof *s.is_static);
    s.goes_on = mc_calloc((size_t)c->n_units + 1, sizeof *s.goes_on);
    s.comes = mc_calloc((size_t)c->n_units + 1, sizeof *s.comes);
    int rc = s.is_static && s.goes_on && s.comes ? 0 : no_memory(err);
    if (!rc)
        find_static(&s, g);
    for (size_t i = 0; i < g->n_nodes && !rc; i++)
        if (!reads_nothing(&s, g->nodes[i]))
            rc = look_at_node(&s, g->nodes[i]);
    free(s.is_static);
    free(s.goes_on);
    free(s.comes);
    if (rc)
        mc_unit_ends_free(&ends);
    else
        *ret = ends;
    return rc;
}

void mc_unit_ends_free(struct mc_unit_ends *e)
{
    free(e->list);
    mc_arena_free(&e->mem);
    *e = (struct mc_unit_ends){0};
}

/* ---- weights ---- */

static bool looks_past(const struct mc_node *n)
{
    static const char *const ops[] = {"Slice",          "Split", "Gather", "GatherND",
                                      "GatherElements", "Shape", "Size"};
    for (size_t i = 0; i < sizeof ops / sizeof *ops; i++)
        if (mc_node_is(n, ops[i]))
            return true;
    return false;
}

/* An axis of a constant of the node that reads units of the end. */
static const struct mc_units *reader(const struct mc_coupling *c, const struct mc_unit_end *e,
                                     const struct mc_value **ret_v, int *ret_axis)
{
    int32_t unit = -1;
    for (int64_t i = 0; unit < 0 && i < e->n * e->per; i++)
        unit = e->unit[i];
    for (size_t k = 0; k < e->node->n_in; k++) {
        const struct mc_value *v = e->node->in[k];
        const struct mc_tensor *t = v ? mc_constant(v) : NULL;
        for (int axis = 0; t && axis < t->shape.rank; axis++) {
            const struct mc_units *u = mc_coupling_axis(c, v, axis);
            if (mc_coupling_role(c, v, axis) != MC_ROLE_READS)
                continue;
            for (int64_t i = 0; u && i < u->n * u->per; i++)
                if (u->unit[i] == unit) {
                    *ret_v = v;
                    *ret_axis = axis;
                    return u;
                }
        }
    }
    return NULL;
}

/* Where the axes differ (a grouped convolution's weight has the positions of one group), each position has the mean of
 * those of its unit. */
static int by_unit(const struct mc_coupling *c, const struct mc_unit_end *e,
                   const struct mc_units *u, const double *x, double *ret, struct mc_err *err)
{
    double *sum = mc_calloc((size_t)c->n_units + 1, sizeof *sum);
    int64_t *count = mc_calloc((size_t)c->n_units + 1, sizeof *count);
    for (int64_t i = 0; sum && count && i < u->n * u->per; i++)
        if (u->unit[i] >= 0) {
            sum[u->unit[i]] += x[i / u->per];
            count[u->unit[i]]++;
        }
    for (int64_t i = 0; sum && count && i < e->n * e->per; i++)
        if (e->unit[i] >= 0 && count[e->unit[i]])
            ret[i / e->per] = sum[e->unit[i]] / (double)count[e->unit[i]];
    int rc = sum && count ? 0 : no_memory(err);
    free(sum);
    free(count);
    return rc;
}

int mc_unit_end_weights(const struct mc_coupling *c, const struct mc_unit_end *e, double *ret,
                        struct mc_err *err)
{
    const struct mc_value *v = NULL;
    int axis = 0;
    const struct mc_units *u = reader(c, e, &v, &axis);
    for (int64_t i = 0; i < e->n; i++)
        ret[i] = u ? 0 : !looks_past(e->node);
    if (!u)
        return 0;
    float *w = NULL;
    int64_t count;
    double *x = mc_calloc((size_t)u->n + 1, sizeof *x);
    int rc = x ? mc_constant_f32(v, &w, &count, err) : no_memory(err);
    if (!rc)
        mc_axis_sums(&mc_constant(v)->shape, axis, w, true, x);
    if (!rc && u->n == e->n)
        memcpy(ret, x, (size_t)u->n * sizeof *x);
    else if (!rc)
        rc = by_unit(c, e, u, x, ret, err);
    free(w);
    free(x);
    return rc;
}
