#include "passes/width.h"

#include <math.h>
#include <stdlib.h>

#include "base/json.h"
#include "base/mem.h"
#include "graph/constant.h"
#include "passes/couple/coupling.h"
#include "passes/prune/importance.h"

struct thin {
    struct mc_model *m;
    struct mc_coupling *c;
    struct mc_importance score;
    bool *gone;
    bool *whole; /* [n_groups] crosses a group that is made thinner in its place */
    struct mc_err *err;
};

static int no_memory(struct mc_err *err)
{
    return mc_fail(err, MC_ENOMEM, "out of memory");
}

static int64_t parameters(const struct mc_graph *g)
{
    int64_t n = 0;
    for (size_t i = 0; i < g->n_values; i++) {
        const struct mc_value *v = g->values[i];
        bool own = v && (v->tensor || (v->producer && mc_node_is(v->producer, "Constant")));
        const struct mc_tensor *t = own ? mc_constant(v) : NULL;
        if (t && t->dtype != MC_DTYPE_NONE && mc_dtype_info(t->dtype)->kind == MC_KIND_FLOAT)
            n += mc_tensor_count(t);
    }
    return n;
}

/* ---- groups that cross ---- */

static size_t number_of(const struct thin *t, int32_t unit)
{
    return (size_t)(mc_coupling_group_of(t->c, unit) - t->c->group);
}

/* Of the groups of one position the one of the most nodes a unit goes on. */
static void cross(struct thin *t, const int32_t *unit, int per)
{
    size_t best = SIZE_MAX;
    for (int k = 0; k < per; k++)
        if (unit[k] >= 0) {
            size_t g = number_of(t, unit[k]);
            if (best == SIZE_MAX || t->c->group[g].nodes > t->c->group[best].nodes)
                best = g;
        }
    for (int k = 0; k < per; k++)
        if (unit[k] >= 0 && number_of(t, unit[k]) != best)
            t->whole[number_of(t, unit[k])] = true;
}

static void find_crossings(struct thin *t)
{
    const struct mc_graph *g = t->m->graph;
    for (size_t i = 0; i < g->n_values; i++) {
        const struct mc_tensor *w = g->values[i] ? mc_constant(g->values[i]) : NULL;
        for (int d = 0; w && d < w->shape.rank; d++) {
            const struct mc_units *u = mc_coupling_axis(t->c, g->values[i], d);
            for (int64_t k = 0; u && u->per > 1 && k < u->n; k++)
                cross(t, u->unit + k * u->per, u->per);
        }
    }
}

/* ---- choosing ---- */

static void put_group(json_t *rows, const struct mc_coupling_group *g, int64_t kept,
                      const char *why, bool *ok)
{
    json_t *o = json_object();
    mc_json_put(o, "channels", json_integer(g->n), ok);
    if (why)
        mc_json_put(o, "why", mc_json_text(why), ok);
    else
        mc_json_put(o, "kept", json_integer(kept), ok);
    mc_json_put(o, "kind", mc_json_text(g->kind), ok);
    mc_json_put(o, "first", mc_json_text(g->name), ok);
    mc_json_add(rows, o, ok);
}

static int choose(struct thin *t, double ratio, json_t *classes, json_t *fixed, size_t *ret_free)
{
    bool ok = classes && fixed;
    int rc = 0;
    for (size_t i = 0; i < t->c->n_groups && !rc; i++) {
        const struct mc_coupling_group *g = &t->c->group[i];
        if (g->why || t->whole[i]) {
            put_group(fixed, g, 0, g->why ? g->why : "another group of the same axis is thinner",
                      &ok);
            continue;
        }
        int64_t keep = mc_coupling_feasible(g, llround(ratio * (double)g->n), 1);
        rc = mc_coupling_choose(g, t->score.score + g->first, keep, t->gone, t->err);
        put_group(classes, g, keep, NULL, &ok);
        ++*ret_free;
    }
    return rc || ok ? rc : no_memory(t->err);
}

static int nothing_free(const struct thin *t)
{
    const struct mc_coupling_group *widest = NULL;
    for (size_t i = 0; i < t->c->n_groups; i++)
        if (!widest || t->c->group[i].n > widest->n)
            widest = &t->c->group[i];
    return mc_fail(t->err, MC_EUNSUP, "the model cannot be made thinner: %s",
                   widest ? widest->why : "it has no weights with channels");
}

static int reduce(struct thin *t, double ratio, json_t **ret_report)
{
    const struct mc_pass_ctx weights_alone = {0};
    int64_t before = parameters(t->m->graph);
    json_t *classes = json_array(), *fixed = json_array();
    size_t n_free = 0;
    t->gone = mc_calloc((size_t)t->c->n_units + 1, sizeof *t->gone);
    t->whole = mc_calloc(t->c->n_groups + 1, sizeof *t->whole);
    int rc = t->gone && t->whole ? mc_importance_measure(&weights_alone, t->m, t->c,
                                                         MC_IMPORTANCE_L2, false, &t->score, t->err)
                                 : no_memory(t->err);
    if (!rc) {
        find_crossings(t);
        rc = choose(t, ratio, classes, fixed, &n_free);
    }
    if (!rc && !n_free)
        rc = nothing_free(t);
    if (!rc)
        rc = mc_cut(t->c, t->m, t->gone, 0, t->err);
    if (!rc)
        *ret_report =
            json_pack("{s:f,s:O,s:O,s:I,s:I}", "ratio", ratio, "classes", classes, "fixed", fixed,
                      "parameters_before", before, "parameters_after", parameters(t->m->graph));
    json_decref(classes);
    json_decref(fixed);
    return !rc && !*ret_report ? no_memory(t->err) : rc;
}

int mc_width_reduce(struct mc_model *m, double ratio, json_t **ret_report, struct mc_err *err)
{
    struct thin t = {.m = m, .err = err};
    *ret_report = NULL;
    int rc = mc_coupling_prepare(m, err);
    if (!rc)
        rc = mc_coupling_find(m, &t.c, err);
    if (!rc)
        rc = reduce(&t, ratio, ret_report);
    mc_importance_free(&t.score);
    mc_coupling_free(t.c);
    free(t.gone);
    free(t.whole);
    return rc;
}
