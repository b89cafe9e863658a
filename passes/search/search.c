#include "passes/search/search.h"

#include <math.h>
#include <stdlib.h>

#include "base/io.h"
#include "base/text.h"
#include "passes/search/search_choices.h"
#include "passes/search/search_state.h"

/* What is given is taken; it is measured so that the report can say what it does. */
static int take_choices(struct mc_hunt *h, struct mc_err *err)
{
    const struct mc_set *set = NULL;
    for (size_t i = 0; i < h->s->n; i++)
        h->plain.choice[i] = h->s->item[i].choice;
    int rc = mc_hunt_count(h, h->plain.choice, &h->plain.cost, err);
    if (!rc)
        rc = mc_hunt_measure(h, h->plain.choice, &set, err);
    if (!rc && set) {
        h->set[set - h->set].cost = h->plain.cost;
        h->best = (size_t)(set - h->set) + 1;
    }
    return rc;
}

static int search(struct mc_hunt *h, struct mc_err *err)
{
    if (h->s->ctx->choices)
        return take_choices(h, err);
    int rc = mc_curves_cost(h, err);
    if (rc)
        return rc;
    return h->s->goal == MC_SEARCH_DROP ? mc_hunt_drop(h, err) : mc_hunt_budget(h, err);
}

static const char *ended(const struct mc_hunt *h)
{
    double deadline = h->s->ctx->deadline;
    if (h->late || (deadline > 0 && mc_now() > deadline))
        return "time";
    return h->judge && !h->left ? "work" : "done";
}

static void conclude(const struct mc_hunt *h, struct mc_search_result *ret)
{
    const struct mc_set *best = mc_hunt_best(h);
    bool measured = best->j.each != NULL;
    *ret = (struct mc_search_result){
        .limit = h->limit,
        .cost = best->cost,
        .before = h->before,
        .divergence = measured ? best->j.divergence : NAN,
        .drop = NAN,
        .metric = h->judge ? mc_judge_metric(h->judge) : NULL,
        .samples = h->judge ? mc_judge_samples(h->judge) : 0,
        .measurements = h->judge ? mc_judge_runs(h->judge) : 0,
        .ended = ended(h),
    };
    if (measured)
        ret->drop = isnan(best->j.lost) ? best->j.changed : best->j.lost;
    ret->reached = h->s->goal == MC_SEARCH_DROP ? true : best->cost <= h->limit;
    for (size_t i = 0; i < h->s->n; i++)
        h->s->item[i].choice = best->choice[i];
}

int mc_search_run(struct mc_search *s, struct mc_search_result *ret, struct mc_err *err)
{
    struct mc_hunt h = {0};
    int rc = 0;
    for (size_t i = 0; i < s->n; i++) {
        s->item[i].choice = 0;
        for (size_t k = 0; k < s->item[i].n; k++)
            s->item[i].option[k].measured = s->item[i].option[k].seconds = NAN;
    }
    if (s->ctx->choices)
        rc = mc_search_take_choices(s, err);
    if (!rc)
        rc = mc_hunt_open(s, &h, err);
    if (!rc)
        rc = search(&h, err);
    if (!rc)
        conclude(&h, ret);
    mc_hunt_close(&h);
    return rc;
}

static const char *amount(enum mc_search_goal goal, double v, char ret[MC_TEXT])
{
    switch (goal) {
    case MC_SEARCH_LATENCY: snprintf(ret, MC_TEXT, "%.3g ms", v * 1e3); return ret;
    case MC_SEARCH_MACS:
    case MC_SEARCH_PARAMS: return mc_text_group((int64_t)v, ret);
    case MC_SEARCH_KEEP: snprintf(ret, MC_TEXT, "%.3f", v); return ret;
    default: snprintf(ret, MC_TEXT, "%.0f", v); return ret;
    }
}

int mc_search_missed(const struct mc_search *s, const struct mc_search_result *r,
                     struct mc_err *err)
{
    static const char *const units[] = {"bytes",    "parameters", "multiply-accumulates",
                                        "a sample", "bytes",      "of the nodes"};
    char asked[MC_TEXT], got[MC_TEXT];
    return mc_fail(err, MC_EGATE, "the target of %s %s cannot be reached; the least is %s (%.3f)",
                   amount(s->goal, r->limit, asked), units[s->goal], amount(s->goal, r->cost, got),
                   r->cost / r->before);
}
