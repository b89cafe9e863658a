/* How many of each group stay: --keep, a target, --auto, choices; by the search that all passes share (search.h), with the
 * plans of prune_plan.c. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/mem.h"
#include "passes/prune/prune_plan.h"
#include "passes/prune/prune_repair.h"

enum { JUDGED = 14 }; /* sets of --auto, each of them repaired */

struct items {
    struct mc_prune_run *r;
    enum mc_search_goal goal;
    struct mc_search_item *item;
    size_t n, *group;            /* [n] which one an item is */
    size_t *level;               /* [r->n] for what is asked */
    double **error;              /* [r->n] borrowed, or those of the levels */
    struct mc_prune_limits keep; /* of --keep */
    bool repairs;                /* sets are judged as they will be */
    struct mc_arena names;
};

static int no_memory(struct mc_err *err)
{
    return mc_fail(err, MC_ENOMEM, "out of memory");
}

/* ---- items ---- */

static int fill_option(struct items *s, size_t i, size_t l, const double whole[MC_PRUNE_UNITS],
                       struct mc_err *err)
{
    const struct mc_prune_group *g = &s->r->group[s->group[i]];
    double count[MC_PRUNE_UNITS];
    char *label = mc_arena_alloc(&s->names, 64);
    if (!label)
        return no_memory(err);
    snprintf(label, 64, "keep %lld of %lld", (long long)g->level[l].keep, (long long)g->of->n);
    s->level[s->group[i]] = l;
    mc_prune_count(s->r, s->level, count);
    s->level[s->group[i]] = 0;
    s->item[i].option[l] = (struct mc_search_option){
        .label = label,
        .bytes = count[MC_PRUNE_BYTES] - whole[MC_PRUNE_BYTES],
        .macs = count[MC_PRUNE_MACS] - whole[MC_PRUNE_MACS],
        .params = count[MC_PRUNE_PARAMS] - whole[MC_PRUNE_PARAMS],
        .share = (double)g->level[l].keep / (double)g->of->n,
        .predicted = g->level[l].error - g->level[0].error,
        .measured = NAN,
        .seconds = NAN,
    };
    return 0;
}

static int make_items(struct items *s, struct mc_err *err)
{
    const struct mc_prune_run *r = s->r;
    double whole[MC_PRUNE_UNITS];
    s->item = mc_calloc(r->n + 1, sizeof *s->item);
    s->group = mc_calloc(r->n + 1, sizeof *s->group);
    s->level = mc_calloc(r->n + 1, sizeof *s->level);
    s->error = mc_calloc(r->n + 1, sizeof *s->error);
    int rc = s->item && s->group && s->level && s->error ? 0 : no_memory(err);
    if (!rc)
        mc_prune_count(r, s->level, whole);
    for (size_t g = 0; !rc && g < r->n; g++) {
        if (r->group[g].why || r->group[g].n_levels < 2)
            continue;
        struct mc_search_item *it = &s->item[s->n];
        *it = (struct mc_search_item){.name = r->group[g].of->name, .op = r->group[g].op};
        it->option = mc_calloc(r->group[g].n_levels, sizeof *it->option);
        s->error[g] = mc_calloc(r->group[g].n_levels, sizeof **s->error);
        s->group[s->n++] = g;
        if (!it->option || !s->error[g])
            rc = no_memory(err);
        for (; !rc && it->n < r->group[g].n_levels; it->n++)
            rc = fill_option(s, s->n - 1, it->n, whole, err);
    }
    return rc;
}

static void free_items(struct items *s)
{
    for (size_t i = 0; i < s->n; i++)
        free(s->item[i].option);
    for (size_t g = 0; s->error && g < s->r->n; g++)
        free(s->error[g]);
    free(s->item);
    free(s->group);
    free(s->level);
    free(s->error);
    mc_arena_free(&s->names);
}

/* ---- what the search asks for ---- */

static void take(struct items *s, const size_t *choice)
{
    for (size_t i = 0; i < s->n; i++)
        s->level[s->group[i]] = choice[i];
}

/* On fewer samples than in the end: a fit of many layers takes its time, and this is one of a dozen. */
static int repair(const struct items *s, const bool *gone, struct mc_model *m, struct mc_err *err)
{
    enum { SAMPLES = 128 };
    struct mc_pass_ctx own = *s->r->ctx;
    json_t *report = json_object();
    own.calib_count = own.calib_count < SAMPLES ? own.calib_count : SAMPLES;
    int rc = report ? mc_prune_repair(&own, s->r->before, s->r->c, gone, m, report, err)
                    : no_memory(err);
    json_decref(report);
    return rc;
}

static int build(void *self, const size_t *choice, bool sizes_only, struct mc_model **ret,
                 struct mc_err *err)
{
    struct items *s = self;
    struct mc_model *m = NULL;
    bool *gone = mc_calloc((size_t)s->r->c->n_units + 1, sizeof *gone);
    take(s, choice);
    int rc = gone ? mc_prune_gone(s->r, s->level, gone, err) : no_memory(err);
    if (!rc)
        rc = mc_prune_build(s->r, gone, sizes_only, &m, err);
    if (!rc && s->repairs && !sizes_only)
        rc = repair(s, gone, m, err);
    free(gone);
    if (rc)
        mc_model_free(m);
    else
        *ret = m;
    return rc;
}

/* Share of --keep: of nodes or parameters, of what they may be; the larger counts. */
static double share_kept(const struct items *s, const size_t *level)
{
    double count[MC_PRUNE_UNITS], most = 0;
    mc_prune_count(s->r, level, count);
    for (int u = MC_PRUNE_NODES; u <= MC_PRUNE_PARAMS; u++)
        if (s->keep.of[u] > 0)
            most = fmax(most, count[u] / s->keep.of[u]);
    return most * s->r->keep;
}

static int count(void *self, const size_t *choice, double *ret, struct mc_err *err)
{
    struct items *s = self;
    (void)err;
    take(s, choice);
    *ret = share_kept(s, s->level);
    return 0;
}

static enum mc_prune_unit unit_of(const struct items *s)
{
    bool macs = isfinite(s->r->before_of[MC_PRUNE_MACS]);
    switch (s->goal) {
    case MC_SEARCH_PARAMS: return MC_PRUNE_PARAMS;
    case MC_SEARCH_LATENCY:
    case MC_SEARCH_MACS: return macs ? MC_PRUNE_MACS : MC_PRUNE_PARAMS;
    default: return MC_PRUNE_BYTES;
    }
}

/* Time goes by the work, until it is measured. */
static double in_unit(const struct items *s, double v, double before)
{
    return s->goal == MC_SEARCH_LATENCY ? v / before * s->r->before_of[unit_of(s)] : v;
}

static struct mc_prune_limits limits_of(const struct items *s, double before, double limit)
{
    struct mc_prune_limits l;
    for (int u = 0; u < MC_PRUNE_UNITS; u++)
        l.of[u] = INFINITY;
    if (s->goal == MC_SEARCH_KEEP)
        for (int u = MC_PRUNE_NODES; u <= MC_PRUNE_PARAMS; u++)
            l.of[u] = s->keep.of[u] * limit / s->r->keep;
    else
        l.of[unit_of(s)] = in_unit(s, limit, before);
    return l;
}

static int plan(void *self, const double *const *error, double before, double limit, size_t *choice,
                double *ret_cost, struct mc_err *err)
{
    struct items *s = self;
    struct mc_prune_limits l = limits_of(s, before, limit);
    double counts[MC_PRUNE_UNITS];
    bool within;
    int rc = 0;
    for (size_t i = 0; i < s->n; i++)
        memcpy(s->error[s->group[i]], error[i], s->item[i].n * sizeof **s->error);
    if (s->r->global)
        rc = mc_prune_plan(s->r, (const double *const *)s->error, &l, s->level, &within, err);
    else
        mc_prune_uniform_within(s->r, &l, s->level);
    if (rc)
        return rc;
    for (size_t i = 0; i < s->n; i++)
        choice[i] = s->level[s->group[i]];
    mc_prune_count(s->r, s->level, counts);
    *ret_cost = s->goal == MC_SEARCH_KEEP ? share_kept(s, s->level) : counts[unit_of(s)];
    if (s->goal == MC_SEARCH_LATENCY)
        *ret_cost *= before / s->r->before_of[unit_of(s)];
    return 0;
}

/* Any number that can stay, listed or not. */
static int find(void *self, struct mc_search *search, size_t i, const char *label, size_t *ret,
                struct mc_err *err)
{
    struct items *s = self;
    struct mc_search_item *it = &search->item[i];
    const struct mc_coupling_group *of = s->r->group[s->group[i]].of;
    double whole[MC_PRUNE_UNITS];
    long long keep = 0, n = 0;
    int end = 0;
    size_t level;
    *ret = 0;
    if (sscanf(label, "keep %lld of %lld%n", &keep, &n, &end) != 2 || label[end] || n != of->n ||
        keep < 1 || keep > n || mc_coupling_feasible(of, keep, 1) != keep)
        return 0;
    int rc = mc_prune_level_add(s->r, s->group[i], keep, &level, err);
    struct mc_search_option *option = rc ? NULL : mc_realloc(it->option, it->n + 1, sizeof *option);
    if (!rc && !option)
        rc = no_memory(err);
    if (rc)
        return rc;
    it->option = option;
    memset(s->level, 0, s->r->n * sizeof *s->level);
    mc_prune_count(s->r, s->level, whole);
    rc = fill_option(s, i, level, whole, err);
    if (!rc)
        *ret = it->n++;
    return rc;
}

/* ---- the whole ---- */

/* Where few of the parameters belong to nodes that can go, so much of what goes of the nodes goes of the parameters, */
static const double PARAMS_GO = 0.8;
/* and no more for that than with this part of the share of every group. */
static const double DEEPEST = 0.5;

/* --keep R of the nodes; and of the parameters no more than R, or than the same share of every group would leave where that
 * is more: nodes that cost little would otherwise be all that goes. */
static void limit_keep(struct items *s)
{
    const struct mc_prune_run *r = s->r;
    double count[MC_PRUNE_UNITS], deep[MC_PRUNE_UNITS];
    mc_prune_uniform(r, r->keep, s->level);
    mc_prune_count(r, s->level, count);
    mc_prune_uniform(r, DEEPEST * r->keep, s->level);
    mc_prune_count(r, s->level, deep);
    memset(s->level, 0, r->n * sizeof *s->level);
    double most = (1 - PARAMS_GO * (1 - r->keep)) * r->before_of[MC_PRUNE_PARAMS];
    if (!r->selected)
        count[MC_PRUNE_PARAMS] =
            fmin(count[MC_PRUNE_PARAMS], fmax(floor(most), deep[MC_PRUNE_PARAMS]));
    for (int u = MC_PRUNE_NODES; u <= MC_PRUNE_PARAMS; u++)
        s->keep.of[u] = fmax(floor(r->keep * r->before_of[u]), count[u]);
}

/* Does only --min-keep hold a group? */
static bool is_held(const struct mc_prune_run *r)
{
    for (size_t i = 0; i < r->n; i++) {
        const struct mc_prune_group *g = &r->group[i];
        if (!g->why && isnan(g->given) &&
            g->level[g->n_levels - 1].keep > mc_coupling_feasible(g->of, 1, mc_prune_round(r, g)))
            return true;
    }
    return false;
}

static void say_missed(struct mc_prune_run *r, const struct mc_search *search,
                       const struct mc_search_result *result)
{
    struct mc_err plain;
    r->missed = true;
    mc_search_missed(search, result, &plain);
    mc_fail(&r->miss, plain.code, "%s%s", plain.msg,
            is_held(r) ? "; a lower --min-keep lets more go" : "");
}

/* Errors of `obs` are those after the fit, and one of a layer alone that is measured before it misleads: the reference
 * mobilenet at 121 kB and repaired came to 90.38 % by measurements, and to 90.82 % without. */
static int search(struct items *s, const struct mc_search_ask *ask, struct mc_err *err)
{
    struct mc_prune_run *r = s->r;
    struct mc_pass_ctx own = *r->ctx;
    struct mc_search_result result;
    struct mc_search search = {.ctx = &own,
                               .before = r->before,
                               .item = s->item,
                               .n = s->n,
                               .goal = s->goal,
                               .limit = s->goal == MC_SEARCH_KEEP ? r->keep : ask->limit,
                               .share = s->goal != MC_SEARCH_KEEP && ask->share,
                               .self = s,
                               .build = build,
                               .find = find,
                               .count = count,
                               .plan = plan,
                               .planned = !r->global || r->imp.order || s->goal == MC_SEARCH_DROP};
    own.dry_run = r->ctx->dry_run && !ask->given;
    if (search.planned && s->goal != MC_SEARCH_DROP)
        own.calib = own.train = NULL;
    if (search.planned)
        search.most = JUDGED;
    s->repairs = r->repairs && r->ctx->calib && search.planned;
    if (search.share && (s->goal == MC_SEARCH_PARAMS || s->goal == MC_SEARCH_MACS)) {
        search.limit =
            floor(ask->limit * r->before_of[unit_of(s)]); /* also where some are cut anyway */
        search.share = false;
    }
    int rc = mc_search_run(&search, &result, err);
    if (rc)
        return rc;
    for (size_t i = 0; i < s->n; i++)
        r->group[s->group[i]].at = s->item[i].choice;
    r->search = mc_search_report(&search, &result);
    if (!r->search)
        return no_memory(err);
    if (ask->given && !ask->choices && !result.reached)
        say_missed(r, &search, &result);
    return 0;
}

/* Layers that the choices name and another option speaks of too: the search knows them no more. Names that no group has
 * are left to it. */
static int check_choices(const struct mc_prune_run *r, struct mc_err *err)
{
    const json_t *list = json_object_get(r->ctx->choices, "layers"), *entry;
    size_t i;
    json_array_foreach(list, i, entry)
    {
        const char *name = mc_json_string_or(entry, "name", "");
        bool known = false;
        for (size_t g = 0; g < r->n; g++) {
            const struct mc_prune_group *group = &r->group[g];
            if (strcmp(group->of->name, name))
                continue;
            known = true;
            if (group->why)
                return mc_fail(err, MC_EUSAGE, "choices: '%s' cannot be cut: %s", name, group->why);
            if (!isnan(group->given))
                return mc_fail(err, MC_EUSAGE,
                               "choices: --keep %s=… speaks of that layer too; leave one of them "
                               "out",
                               name);
        }
        if (!known)
            return 0;
    }
    return 0;
}

int mc_prune_decide(struct mc_prune_run *r, const struct mc_search_ask *ask, struct mc_err *err)
{
    struct items s = {.r = r, .goal = ask->given ? ask->goal : MC_SEARCH_KEEP};
    int rc = ask->choices ? check_choices(r, err) : 0;
    if (!rc)
        rc = make_items(&s, err);
    if (!rc && !ask->given)
        limit_keep(&s);
    if (!rc && !ask->given && !r->global) {
        mc_prune_uniform(r, r->keep, s.level);
        if (r->rivals) /* what it is compared with keeps the limits */
            mc_prune_uniform_within(r, &s.keep, s.level);
        for (size_t i = 0; i < r->n; i++)
            r->group[i].at = s.level[i];
    } else if (!rc) {
        rc = search(&s, ask, err);
    }
    free_items(&s);
    return rc;
}
