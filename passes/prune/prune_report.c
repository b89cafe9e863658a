#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/json.h"
#include "base/mem.h"
#include "graph/summary.h"
#include "passes/prune/prune_run.h"

static const char *left_because(const struct mc_prune_run *r, const struct mc_prune_group *g)
{
    if (g->why)
        return g->why;
    if (g->level[g->at].keep < g->of->n)
        return NULL;
    if (r->ctx->choices)
        return "the choices leave it as it is";
    if (r->keep >= 1)
        return "--keep says so";
    return r->global ? "as it is it gives more for its cost"
                     : "all of it is nearest to the share that stays";
}

/* One row a group. */
static json_t *row(const struct mc_prune_run *r, size_t i, const size_t *level)
{
    const struct mc_prune_group *g = &r->group[i];
    double before[MC_PRUNE_UNITS], after[MC_PRUNE_UNITS];
    bool ok = true;
    json_t *o = json_object();
    const char *why = left_because(r, g);
    int64_t kept = g->n_levels ? g->level[g->at].keep : g->of->n;
    char choice[64];
    mc_prune_count_row(r, NULL, i, before);
    mc_prune_count_row(r, level, i, after);
    snprintf(choice, sizeof choice, "keep %lld of %lld", (long long)kept, (long long)g->of->n);
    mc_json_put(o, "name", mc_json_text(g->of->name), &ok);
    mc_json_put(o, "op", mc_json_text(g->op), &ok);
    mc_json_put(o, "kind", mc_json_text(g->of->kind), &ok);
    mc_json_put(o, "action", json_string(why ? "left" : "cut"), &ok);
    mc_json_put(o, "reason", mc_json_text(why), &ok);
    mc_json_put(o, "choice", why ? json_null() : json_string(choice), &ok);
    mc_json_put(o, "units_before", json_integer(g->of->n), &ok);
    mc_json_put(o, "units_after", json_integer(kept), &ok);
    mc_json_put(o, "nodes_before", json_integer(g->of->n * g->of->nodes), &ok);
    mc_json_put(o, "nodes_after", json_integer(kept * g->of->nodes), &ok);
    mc_json_put(o, "bytes_before", mc_json_size((uint64_t)before[MC_PRUNE_BYTES]), &ok);
    mc_json_put(o, "bytes_after", mc_json_size((uint64_t)(after[MC_PRUNE_BYTES] + 0.5)), &ok);
    mc_json_put(o, "macs_before", mc_json_real(before[MC_PRUNE_MACS]), &ok);
    mc_json_put(o, "macs_after", mc_json_real(after[MC_PRUNE_MACS]), &ok);
    mc_json_put(o, "predicted", mc_json_real(why ? NAN : g->level[g->at].error), &ok);
    if (!ok) {
        json_decref(o);
        return NULL;
    }
    return o;
}

static json_t *importance(const struct mc_prune_run *r, bool *ok)
{
    json_t *o = json_object();
    mc_json_put(o, "criterion", json_string(mc_importance_names[r->imp.kind]), ok);
    mc_json_put(o, "why", mc_json_text(r->imp.why), ok);
    mc_json_put(o, "nats", json_boolean(r->imp.nats), ok);
    mc_json_put(o, "samples", json_integer(r->imp.samples), ok);
    return o;
}

int mc_prune_report(const struct mc_prune_run *r, json_t **ret, struct mc_err *err)
{
    static const char *const names[] = {"nodes", "params", "bytes", "macs"};
    size_t *level = mc_calloc(r->n + 1, sizeof *level);
    double after[MC_PRUNE_UNITS];
    bool ok = level != NULL;
    json_t *o = json_object(), *rows = json_array(), *cost = json_object();
    for (size_t i = 0; ok && i < r->n; i++)
        level[i] = r->group[i].at;
    for (size_t i = 0; ok && i < r->n; i++)
        mc_json_add(rows, row(r, i, level), &ok);
    if (ok)
        mc_prune_count(r, level, after);
    for (int u = 0; ok && u < MC_PRUNE_UNITS; u++) {
        json_t *pair = json_array();
        mc_json_add(pair, mc_json_real(r->before_of[u]), &ok);
        mc_json_add(pair, mc_json_real(after[u]), &ok);
        mc_json_put(cost, names[u], pair, &ok);
    }
    mc_json_put(o, "layers", rows, &ok);
    mc_json_put(o, "scope", json_string(r->global ? "global" : "layer"), &ok);
    mc_json_put(o, "importance", importance(r, &ok), &ok);
    mc_json_put(o, "counts", cost, &ok);
    if (r->search)
        mc_json_put(o, "search", json_incref(r->search), &ok);
    if (r->rivals)
        mc_json_put(o, "rivals", json_incref(r->rivals), &ok);
    free(level);
    if (!ok) {
        json_decref(o);
        return mc_fail(err, MC_ENOMEM, "out of memory");
    }
    *ret = o;
    return 0;
}
