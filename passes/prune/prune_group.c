#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "passes/pattern.h"
#include "passes/prune/prune_run.h"

static int no_memory(struct mc_err *err)
{
    return mc_fail(err, MC_ENOMEM, "out of memory");
}

int mc_prune_groups(struct mc_prune_run *r, struct mc_err *err)
{
    r->n = r->c->n_groups;
    r->group = mc_calloc(r->n + 1, sizeof *r->group);
    if (!r->group)
        return no_memory(err);
    for (size_t i = 0; i < r->n; i++) {
        const struct mc_coupling_group *of = &r->c->group[i];
        const char *why = of->why ? of->why : of->first < 0 ? "nothing of it can be removed" : NULL;
        r->group[i] = (struct mc_prune_group){
            .of = of, .op = "", .why = !why && of->n < 2 ? "there is only one" : why, .given = NAN};
    }
    return 0;
}

void mc_prune_free(struct mc_prune_run *r)
{
    for (size_t i = 0; r->group && i < r->n; i++) {
        free(r->group[i].score);
        free(r->group[i].level);
    }
    free(r->group);
    free(r->weight);
    free(r->part);
    mc_importance_free(&r->imp);
    mc_coupling_free(r->c);
    mc_model_free(r->before);
}

/* ---- which groups a name or a pattern speaks of ---- */

/* A group goes by its own name, and by those of the weights that make it and of the nodes that read these. */
static bool is_called(const struct mc_prune_run *r, size_t g, const struct mc_pattern *w)
{
    if (mc_pattern_fits(w, r->group[g].of->name))
        return true;
    for (size_t i = 0; i < r->n_weights; i++) {
        const struct mc_value *v = r->weight[i].value;
        if (!mc_prune_makes(r, &r->weight[i], g))
            continue;
        if (mc_pattern_fits(w, v->name))
            return true;
        for (size_t u = 0; u < v->n_uses; u++)
            if (v->uses[u].slot >= 0 && mc_pattern_fits(w, mc_node_label(v->uses[u].node)))
                return true;
    }
    return false;
}

static void offer_all(const struct mc_prune_run *r, struct mc_nearest *near)
{
    for (size_t g = 0; g < r->n; g++)
        if (!r->group[g].why)
            mc_nearest_offer(near, r->group[g].of->name);
    for (size_t i = 0; i < r->n_weights; i++) {
        const struct mc_value *v = r->weight[i].value;
        if (!v)
            continue;
        mc_nearest_offer(near, v->name);
        for (size_t u = 0; u < v->n_uses; u++)
            if (v->uses[u].slot >= 0)
                mc_nearest_offer(near, mc_node_label(v->uses[u].node));
    }
}

/* Is there anything of that name, which only cannot be cut? */
static bool is_elsewhere(const struct mc_prune_run *r, const struct mc_pattern *w)
{
    const struct mc_graph *g = r->before->graph;
    for (size_t i = 0; i < g->n_nodes; i++)
        if (mc_pattern_fits(w, mc_node_label(g->nodes[i])))
            return true;
    for (size_t i = 0; i < g->n_values; i++)
        if (g->values[i] && g->values[i]->tensor && mc_pattern_fits(w, g->values[i]->name))
            return true;
    return false;
}

/* hit [n]: the groups that may be cut and are called so. */
static int find(const struct mc_prune_run *r, const struct mc_pattern *w, bool *hit,
                struct mc_err *err)
{
    struct mc_nearest near = {.word = w->text};
    const char *why = NULL;
    bool any = false;
    for (size_t g = 0; g < r->n; g++) {
        bool called = is_called(r, g, w);
        hit[g] = called && !r->group[g].why;
        any = any || hit[g];
        if (called && r->group[g].why)
            why = r->group[g].why;
    }
    if (any)
        return 0;
    if (why)
        return mc_fail(err, MC_EUSAGE, "--%s: '%s' cannot be cut: %s", w->option, w->text, why);
    if (is_elsewhere(r, w))
        return mc_fail(err, MC_EUSAGE,
                       "--%s: '%s' makes nothing that can be cut; --dry-run lists what does",
                       w->option, w->text);
    offer_all(r, &near);
    return mc_pattern_missed(w, &near, err);
}

static int apply_pattern(struct mc_prune_run *r, const json_t *options, const char *option,
                         bool keeps, const char *why, bool *hit, struct mc_err *err)
{
    const char *text = mc_param_text(options, option);
    struct mc_pattern pattern;
    if (!text)
        return 0;
    int rc = mc_pattern_open(option, text, &pattern, err);
    if (rc)
        return rc;
    rc = find(r, &pattern, hit, err);
    for (size_t g = 0; !rc && g < r->n; g++)
        if (!r->group[g].why && hit[g] != keeps)
            r->group[g].why = why;
    mc_pattern_close(&pattern);
    return rc;
}

static int apply_named(struct mc_prune_run *r, const char *text, bool *hit, struct mc_err *err)
{
    const char *equals = strrchr(text, '=');
    if (!equals)
        return 0;
    double keep;
    int rc = mc_prune_share(text, equals + 1, &keep, err);
    char *name = mc_calloc((size_t)(equals - text) + 1, 1);
    if (!rc && !name)
        rc = no_memory(err);
    if (!rc) {
        memcpy(name, text, (size_t)(equals - text));
        struct mc_pattern called = mc_pattern_name("keep", name);
        rc = find(r, &called, hit, err);
    }
    r->selected = true;
    for (size_t g = 0; !rc && g < r->n; g++)
        if (hit[g])
            r->group[g].given = keep;
    free(name);
    return rc;
}

int mc_prune_share(const char *whole, const char *text, double *ret, struct mc_err *err)
{
    char *end;
    double v = strtod(text, &end);
    if (end != text && !strcmp(end, "%")) {
        v /= 100;
        end++;
    }
    if (end == text || *end || !(v > 0 && v <= 1))
        return mc_fail(err, MC_EUSAGE,
                       "--keep takes a share above 0 and up to 1, or NAME=SHARE, not '%s'", whole);
    *ret = v;
    return 0;
}

int mc_prune_select(struct mc_prune_run *r, const json_t *options, struct mc_err *err)
{
    bool *hit = mc_calloc(r->n + 1, sizeof *hit);
    size_t i;
    const json_t *v;
    int rc = hit ? 0 : no_memory(err);
    r->selected = mc_param_has(options, "only") || mc_param_has(options, "skip");
    if (!rc)
        rc = apply_pattern(r, options, "only", true, "--only does not name it", hit, err);
    if (!rc)
        rc = apply_pattern(r, options, "skip", false, "--skip names it", hit, err);
    json_array_foreach(json_object_get(options, "keep"), i, v)
    {
        if (!rc)
            rc = apply_named(r, json_string_value(v), hit, err);
    }
    free(hit);
    return rc;
}

/* ---- levels ---- */

static int by_score(const void *x, const void *y)
{
    double a = *(const double *)x, b = *(const double *)y;
    return (a > b) - (a < b);
}

/* Who goes first by the criterion's own order, where it has one. */
static int take_scores(struct mc_prune_run *r, struct mc_prune_group *g, struct mc_err *err)
{
    const struct mc_coupling_group *of = g->of;
    g->score = mc_calloc((size_t)of->n, sizeof *g->score);
    if (!g->score)
        return no_memory(err);
    memcpy(g->score, r->imp.score + of->first, (size_t)of->n * sizeof *g->score);
    for (int64_t k = 0; r->imp.order && k < of->n; k++)
        g->score[r->imp.order[of->first + k] - of->first] = (double)k;
    g->order_cost = r->imp.cost ? r->imp.cost + of->first : NULL;
    return 0;
}

/* What the units cost together that go where `keep` stay. */
static int error_of(const struct mc_prune_run *r, const struct mc_prune_group *g, int64_t keep,
                    bool *gone, double *ret, struct mc_err *err)
{
    const struct mc_coupling_group *of = g->of;
    int rc = mc_coupling_choose(of, g->score, keep, gone, err);
    *ret = 0;
    for (int64_t k = 0; !rc && k < of->n; k++)
        if (gone[of->first + k])
            *ret += r->imp.score[of->first + k];
    return rc;
}

/* Errors of levels; without parts they are sums over the sorted scores. */
static int fill_errors(const struct mc_prune_run *r, struct mc_prune_group *g, bool *gone,
                       struct mc_err *err)
{
    const struct mc_coupling_group *of = g->of;
    double *sorted = mc_calloc((size_t)of->n + 1, sizeof *sorted), sum = 0;
    int64_t at = 0;
    int rc = sorted ? 0 : no_memory(err);
    if (!rc) {
        memcpy(sorted, r->imp.score + of->first, (size_t)of->n * sizeof *sorted);
        qsort(sorted, (size_t)of->n, sizeof *sorted, by_score);
    }
    for (size_t l = 0; !rc && l < g->n_levels; l++) {
        int64_t gone_n = of->n - g->level[l].keep;
        double *error = &g->level[l].error;
        if (g->order_cost) {
            *error = gone_n ? g->order_cost[gone_n - 1] : 0;
        } else if (of->n_partitions) {
            rc = error_of(r, g, g->level[l].keep, gone, error, err);
        } else {
            for (; at < gone_n; at++)
                sum += sorted[at];
            *error = sum;
        }
        *error = l ? fmax(*error, g->level[l - 1].error) : *error;
    }
    free(sorted);
    return rc;
}

/* Levels of all groups together, so that a plan is made in time; where groups are few every number is one. */
enum { LEVELS = 8192, LEVELS_MIN = 64 };

/* ONNX Runtime computes convolutions in blocks of 8 or 16 channels (the latter with AVX-512) and falls back to a way that is
 * half as fast where that does not come out even: with half of its nodes the reference mobilenet took 1.28 times as long as
 * before, in multiples of 8 it takes 0.67 (batch 64), at the same accuracy. */
int64_t mc_prune_round(const struct mc_prune_run *r, const struct mc_prune_group *g)
{
    enum { BLOCK = 8 };
    bool blocks = g->of->n % BLOCK == 0 && g->of->n >= 2 * BLOCK && g->of->nodes == 1;
    if (r->round_to)
        return r->round_to;
    return blocks && !strcmp(g->of->kind, "channels") ? BLOCK : 1;
}

static int64_t nearest(const struct mc_prune_run *r, const struct mc_prune_group *g, double share)
{
    return mc_coupling_feasible(g->of, (int64_t)floor(share * (double)g->of->n + 0.5),
                                mc_prune_round(r, g));
}

/* How many may stay, from the most downwards: between max_keep and min_keep, or what was said of this group. */
static int make_levels(const struct mc_prune_run *r, struct mc_prune_group *g, struct mc_err *err)
{
    int64_t n = g->of->n, most = LEVELS / (int64_t)r->n;
    int64_t high = r->max_keep < 1 ? nearest(r, g, r->max_keep) : n;
    int64_t low = nearest(r, g, r->min_keep);
    if (!isnan(g->given))
        high = low = g->given < 1 ? nearest(r, g, g->given) : n;
    most = most < LEVELS_MIN ? LEVELS_MIN : most;
    int64_t step = (high - low + most) / most;
    g->level = mc_calloc((size_t)(high > low ? high - low : 0) + 2, sizeof *g->level);
    if (!g->level)
        return no_memory(err);
    g->level[g->n_levels++].keep = high;
    for (int64_t k = high - 1; k >= low; k--) {
        int64_t keep = mc_coupling_feasible(g->of, k, mc_prune_round(r, g));
        int64_t last = g->level[g->n_levels - 1].keep;
        if (keep >= low && keep < last && (last - keep >= step || k == low))
            g->level[g->n_levels++].keep = keep;
    }
    return 0;
}

int mc_prune_levels(struct mc_prune_run *r, struct mc_err *err)
{
    bool *gone = mc_calloc((size_t)r->c->n_units + 1, sizeof *gone);
    int rc = gone ? 0 : no_memory(err);
    for (size_t i = 0; !rc && i < r->n; i++) {
        struct mc_prune_group *g = &r->group[i];
        if (g->why)
            continue;
        rc = take_scores(r, g, err);
        if (!rc)
            rc = make_levels(r, g, err);
        if (!rc)
            rc = fill_errors(r, g, gone, err);
        if (!rc && g->n_levels < 2 && g->level[0].keep == g->of->n)
            g->why = !isnan(g->given)  ? "--keep says so"
                     : r->round_to > 1 ? "no smaller number is a multiple of --round-to"
                                       : "no smaller number of them can stay";
    }
    free(gone);
    return rc;
}

int mc_prune_level_add(struct mc_prune_run *r, size_t group, int64_t keep, size_t *ret,
                       struct mc_err *err)
{
    struct mc_prune_group *g = &r->group[group];
    bool *gone = mc_calloc((size_t)r->c->n_units + 1, sizeof *gone);
    struct mc_prune_level *level = mc_realloc(g->level, g->n_levels + 1, sizeof *level);
    g->level = level ? level : g->level;
    int rc = gone && level ? 0 : no_memory(err);
    if (!rc) {
        struct mc_prune_level *l = &level[g->n_levels];
        *l = (struct mc_prune_level){.keep = keep};
        rc = error_of(r, g, keep, gone, &l->error, err);
        if (!rc)
            *ret = g->n_levels++;
    }
    free(gone);
    return rc;
}

size_t mc_prune_level_for(const struct mc_prune_group *g, double keep)
{
    size_t at = 0;
    for (size_t l = 1; l < g->n_levels; l++)
        if (fabs((double)g->level[l].keep - keep) < fabs((double)g->level[at].keep - keep))
            at = l;
    return at;
}

int mc_prune_gone(const struct mc_prune_run *r, const size_t *level, bool *gone, struct mc_err *err)
{
    int rc = 0;
    memset(gone, 0, (size_t)r->c->n_units * sizeof *gone);
    for (size_t i = 0; !rc && i < r->n; i++)
        if (!r->group[i].why)
            rc = mc_coupling_choose(r->group[i].of, r->group[i].score,
                                    r->group[i].level[level[i]].keep, gone, err);
    return rc;
}
