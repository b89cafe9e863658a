/* The fastest form of every layer that keeps the answer.
 *
 * Weights alone in integers are the floor: nearly all models keep their answers so. From there on forms compete by what they
 * cost in the runtime (quant_cost.h), as whole models, since what a layer costs depends on whether its neighbours
 * compute on integers as well. The fastest set is measured first, which is all there is to do for most models. Where it
 * loses too much, layers are measured one by one, and those that harm most for what they gain fall back first, as many as
 * it takes: to ranges measured in every run, then to weights alone. Errors of layers add up closely enough to order
 * them so; that the set as a whole keeps the answer is measured. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/interrupt.h"
#include "base/io.h"
#include "base/json.h"
#include "passes/quant/search/quant_hunt.h"

/* A set that gains less than this over weights alone is not worth what it adds in noise; the table is hardly more exact. */
static const double WORTH = 0.95;
/* Times that were measured differ by this much by themselves. */
static const double NOISE = 0.02;

/* ---- by cost alone ---- */

/* What is cheaper another way by itself: what does not get into a region of integers loses by its conversions. */
static int cheapen(struct mc_quant_hunt *h, enum mc_quant_form *form, struct mc_err *err)
{
    double cost;
    int rc = mc_quant_hunt_cost(h, form, &cost, err);
    for (int round = 0; !rc && round < 2; round++) {
        bool changed = false;
        for (size_t i = h->n; !rc && i-- > 0;) {
            enum mc_quant_form was = form[i];
            if (was == h->base[i])
                continue;
            double other;
            form[i] = mc_quant_hunt_next(h, i, was);
            rc = mc_quant_hunt_cost(h, form, &other, err);
            if (!rc && form[i] == MC_QUANT_DYNAMIC && other >= cost) {
                form[i] = h->base[i];
                rc = mc_quant_hunt_cost(h, form, &other, err);
            }
            h->gain[i] = other - cost;
            if (other < cost * (1 - (h->r->rules.runtime == MC_QUANT_VNNI ? NOISE : 1e-6))) {
                cost = other;
                changed = true;
            } else {
                form[i] = was;
            }
        }
        if (!changed)
            break;
    }
    return rc;
}

static int open_forms(struct mc_quant_hunt *h, struct mc_err *err)
{
    struct mc_quant_run *r = h->r;
    enum mc_quant_form top = r->by_bytes ? MC_QUANT_BLOCK : MC_QUANT_STATIC;
    for (size_t i = 0; i < h->n; i++) {
        h->base[i] = mc_quant_nearest(r, i, MC_QUANT_WEIGHT);
        h->fast[i] = mc_quant_nearest(r, i, top);
        if (!r->by_bytes && h->fast[i] == h->base[i])
            h->fast[i] = mc_quant_nearest(r, i, MC_QUANT_DYNAMIC);
    }
    return r->by_bytes ? 0 : cheapen(h, h->fast, err);
}

/* ---- by what they do ---- */

static int measure_alone(struct mc_quant_hunt *h, struct mc_err *err)
{
    struct mc_quant_trial t, base;
    memcpy(h->set, h->base, h->n * sizeof *h->set);
    int rc = mc_quant_hunt_scout(h, h->set, &base, err);
    for (size_t i = 0; !rc && i < h->n; i++) {
        h->harm[i] = 0;
        if (h->fast[i] == h->base[i] || mc_quant_hunt_over(h))
            continue;
        mc_progress_tell(h->r->ctx->progress, "layers one by one", (double)i, (double)h->n);
        h->set[i] = h->fast[i];
        rc = mc_quant_hunt_scout(h, h->set, &t, err);
        h->set[i] = h->base[i];
        if (rc || h->late)
            break;
        h->harm[i] = mc_quant_hunt_harm(h->r, &t, &base);
        h->r->alone[i] = t.loss;
    }
    return rc;
}

/* After the first k steps. */
static void after(struct mc_quant_hunt *h, size_t k)
{
    memcpy(h->set, h->fast, h->n * sizeof *h->set);
    for (size_t j = 0; j < k; j++)
        h->set[h->step[j].site] = h->step[j].to;
}

/* The fewest steps that keep the answer. Those after which the model is no faster than the floor are of no use. */
static int bisect(struct mc_quant_hunt *h, struct mc_err *err)
{
    struct mc_quant_trial t;
    size_t low = 0, high = h->n_steps;
    double most = WORTH * h->r->weight.cost;
    int rc = 0;
    while (high > 0 && !(h->step[high - 1].cost < most))
        high--;
    high++;
    while (!rc && high - low > 1 && !mc_quant_hunt_over(h)) {
        size_t middle = low + (high - low) / 2;
        after(h, middle);
        rc = mc_quant_hunt_measure(h, "some of them slower", h->set, &t, err);
        if (rc || h->late)
            break;
        if (mc_quant_accepts(h->r, &t)) {
            high = middle;
            if (t.cost < h->best_trial.cost)
                mc_quant_hunt_take(h, h->set, &t);
        } else {
            low = middle;
        }
    }
    return rc;
}

/* Layers that fell back, once more, one by one: the order was by errors that do not quite add up. */
static int promote(struct mc_quant_hunt *h, struct mc_err *err)
{
    enum { TRIES = 8 };
    struct mc_quant_trial t;
    int rc = 0, tries = 0;
    for (size_t j = h->n_steps; !rc && j-- > 0 && tries < TRIES && !mc_quant_hunt_over(h);) {
        size_t i = h->step[j].site;
        double cost;
        if (h->best[i] == h->fast[i] || h->harm[i] > 1)
            continue;
        memcpy(h->set, h->best, h->n * sizeof *h->set);
        h->set[i] = h->fast[i];
        rc = mc_quant_hunt_cost(h, h->set, &cost, err);
        if (rc || !(cost < 0.995 * h->best_trial.cost))
            continue;
        tries++;
        rc = mc_quant_hunt_measure(h, "one more layer", h->set, &t, err);
        if (!rc && !h->late && mc_quant_accepts(h->r, &t) && t.cost < h->best_trial.cost)
            mc_quant_hunt_take(h, h->set, &t);
    }
    return rc;
}

static void explain(struct mc_quant_hunt *h)
{
    for (size_t i = 0; i < h->n; i++)
        if (h->best[i] != h->fast[i])
            h->r->because[i] = "with a range for its inputs it changes the answer more "
                               "than what it gains is worth";
}

/* Layers whose neighbours fell back may no longer gain anything. */
static int settle(struct mc_quant_hunt *h, struct mc_err *err)
{
    struct mc_quant_trial t;
    if (h->r->by_bytes || !mc_quant_hunt_above(h, h->best) || mc_quant_hunt_over(h))
        return 0;
    memcpy(h->set, h->best, h->n * sizeof *h->set);
    int rc = cheapen(h, h->set, err);
    if (rc || !memcmp(h->set, h->best, h->n * sizeof *h->set))
        return rc;
    rc = mc_quant_hunt_measure(h, "without what gains nothing", h->set, &t, err);
    if (!rc && !h->late && mc_quant_accepts(h->r, &t) && t.cost <= h->best_trial.cost)
        mc_quant_hunt_take(h, h->set, &t);
    return rc;
}

/* Where the usual ranges lose too much, those of another method may do. */
static int try_methods(struct mc_quant_hunt *h, struct mc_quant_trial *t, struct mc_err *err)
{
    static const struct {
        enum mc_quant_range_method method;
        const char *what;
    } others[] = {{MC_QUANT_MINMAX, "the fastest forms, ranges by minmax"},
                  {MC_QUANT_PERCENTILE, "the fastest forms, ranges by percentile"}};
    static const double HOPELESS =
        60; /* methods differ by a factor of three, and repairs win ten */
    struct mc_quant_run *r = h->r;
    enum mc_quant_range_method best = r->rules.method;
    int rc = 0;
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        struct mc_quant_trial other;
        if (rc || !r->any_method || r->by_bytes || mc_quant_hunt_over(h) ||
            mc_quant_accepts(r, t) || mc_quant_hunt_harm(r, t, &r->weight) > HOPELESS)
            break;
        r->rules.method = others[i].method;
        rc = mc_quant_hunt_measure(h, others[i].what, h->fast, &other, err);
        if (!rc && !h->late &&
            mc_quant_hunt_harm(r, &other, &r->weight) < mc_quant_hunt_harm(r, t, &r->weight)) {
            *t = other;
            best = r->rules.method;
        }
    }
    r->rules.method = best;
    return rc;
}

static int hunt(struct mc_quant_hunt *h, struct mc_err *err)
{
    struct mc_quant_trial t;
    int rc = open_forms(h, err);
    if (!rc)
        mc_quant_hunt_take(h, h->base,
                           &h->r->weight); /* where no time is left to measure anything */
    if (!rc)
        rc = mc_quant_hunt_weights(h, err);
    if (rc || !mc_quant_hunt_above(h, h->fast) || mc_quant_hunt_over(h))
        return rc;
    double cost;
    rc = mc_quant_hunt_cost(h, h->fast, &cost, err);
    if (rc || !(cost < WORTH * h->r->weight.cost))
        return rc;
    mc_progress_tell(h->r->ctx->progress, "the fastest forms", 0, 1);
    rc = mc_quant_hunt_measure(h, "the fastest forms", h->fast, &t, err);
    if (!rc && !h->late)
        rc = try_methods(h, &t, err);
    if (rc || h->late)
        return rc;
    if (mc_quant_accepts(h->r, &t)) {
        if (t.cost < WORTH * h->best_trial.cost)
            mc_quant_hunt_take(h, h->fast, &t);
        return 0;
    }
    rc = measure_alone(h, err);
    if (!rc)
        rc = mc_quant_hunt_path(h, err);
    if (!rc)
        rc = bisect(h, err);
    if (!rc)
        rc = promote(h, err);
    explain(h);
    if (!rc)
        rc = settle(h, err);
    if (!rc && !(h->best_trial.cost < WORTH * h->r->weight.cost))
        mc_quant_hunt_take(h, h->base, &h->r->weight);
    return rc;
}

/* ---- the report ---- */

static int report(struct mc_quant_hunt *h, struct mc_err *err)
{
    bool ok = true;
    json_t *o = json_object(), *layers = json_array();
    for (size_t i = 0; i < h->n; i++) {
        const struct mc_quant_site *s = &h->r->sites.item[i];
        json_t *l = json_object(), *options = json_array();
        for (int f = 0; f < MC_QUANT_FORMS; f++)
            if (!s->reason && !h->r->left[i] && !s->why[f])
                mc_json_add(options, json_string(mc_quant_form_names[f]), &ok);
        mc_json_put(l, "name", mc_json_text(mc_node_label(s->node)), &ok);
        mc_json_put(l, "op", mc_json_text(s->node->op_type), &ok);
        mc_json_put(l, "choice", json_string(mc_quant_form_names[h->best[i]]), &ok);
        mc_json_put(l, "forms", options, &ok);
        mc_json_put(l, "harm", mc_json_real(h->harm[i]), &ok);
        mc_json_add(layers, l, &ok);
    }
    mc_json_put(o, "goal", json_string(h->r->by_bytes ? "smallest" : "fastest"), &ok);
    mc_json_put(o, "limit", mc_json_real(h->r->max_drop), &ok);
    mc_json_put(o, "samples", json_integer(mc_judge_samples(h->r->judge)), &ok);
    mc_json_put(o, "measurements", json_integer((json_int_t)h->measurements), &ok);
    mc_json_put(o, "ended",
                json_string(h->late                 ? "time"
                            : mc_quant_hunt_over(h) ? "work"
                                                    : "done"),
                &ok);
    mc_json_put(o, "tried", json_incref(h->tried), &ok);
    mc_json_put(o, "layers", layers, &ok);
    if (!ok) {
        json_decref(o);
        return mc_fail(err, MC_ENOMEM, "out of memory");
    }
    h->r->search = o;
    return 0;
}

int mc_quant_search(struct mc_quant_run *r, enum mc_quant_form *form, struct mc_err *err)
{
    struct mc_quant_hunt h = {.r = r, .n = r->sites.n};
    int rc = mc_quant_hunt_open(&h, err);
    if (!rc)
        rc = hunt(&h, err);
    if (!rc)
        rc = report(&h, err);
    if (!rc) {
        memcpy(form, h.best, h.n * sizeof *form);
        r->result = h.best_trial;
        if (r->by_bytes) /* these costs are no times */
            r->weight.cost = r->result.cost = NAN;
    }
    mc_quant_hunt_close(&h);
    return rc;
}
