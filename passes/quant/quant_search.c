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
#include "passes/quant/quant_cost.h"
#include "passes/quant/quant_run.h"

/* A set that gains less than this over weights alone is not worth what it adds in noise. */
static const double WORTH = 0.97;
/* Outputs that decide nothing: weights alone that make more noise than this, in dB, are too much. */
static const double SQNR_FLOOR = 26;
/* The single measurements of layers take at most so many runs of the samples. */
enum { ALONE_MOST = 400 };

struct hunt {
    struct mc_quant_run *r;
    size_t n;
    enum mc_quant_form *base, *fast, *best, *set; /* [n] each */
    double *gain; /* [n] by how much the model gets slower where this layer alone falls back */
    double *harm; /* [n] of this layer alone */
    size_t *order;
    struct mc_quant_trial best_trial;
    json_t *tried;
    size_t measurements;
    bool late, ok;
};

/* ---- what a set costs, what it does ---- */

static int cost_of(struct hunt *h, const enum mc_quant_form *form, double *ret, struct mc_err *err)
{
    struct mc_quant_built b = {0};
    int rc = mc_quant_make(h->r, form, true, &b, err);
    uint64_t bytes = 0;
    if (!rc && h->r->by_bytes) {
        rc = h->r->ctx->bytes_of(h->r->ctx->host, b.m, &bytes, err);
        *ret = (double)bytes;
    } else if (!rc) {
        rc = mc_quant_cost(b.m, h->r->rules.runtime, ret, NULL, err);
    }
    mc_quant_built_free(&b);
    return rc;
}

static bool over(struct hunt *h)
{
    double deadline = h->r->ctx->deadline;
    h->late = h->late || (deadline > 0 && mc_now() > deadline);
    return h->late;
}

static int note(struct hunt *h, const char *what, size_t changed, const struct mc_quant_trial *t,
                struct mc_err *err)
{
    json_t *o = json_object();
    bool ok = true;
    mc_json_put(o, "set", json_string(what), &ok);
    mc_json_put(o, "layers", json_integer((json_int_t)changed), &ok);
    mc_json_put(o, "kl", mc_json_real(t->loss), &ok);
    mc_json_put(o, "agreement", mc_json_real(t->agreement), &ok);
    mc_json_put(o, "sqnr_db", mc_json_real(t->sqnr), &ok);
    mc_json_put(o, "cost", mc_json_real(t->cost), &ok);
    mc_json_put(o, "keeps", json_boolean(mc_quant_accepts(h->r, t)), &ok);
    mc_json_add(h->tried, o, &ok);
    return ok ? 0 : mc_fail(err, MC_ENOMEM, "out of memory");
}

static size_t above_base(const struct hunt *h, const enum mc_quant_form *form)
{
    size_t n = 0;
    for (size_t i = 0; i < h->n; i++)
        n += form[i] != h->base[i];
    return n;
}

static int measure(struct hunt *h, const char *what, const enum mc_quant_form *form,
                   struct mc_quant_trial *ret, struct mc_err *err)
{
    struct mc_quant_built b = {0};
    bool late = false;
    int rc = mc_interrupt_check(err);
    if (!rc)
        rc = mc_quant_make(h->r, form, false, &b, err);
    if (!rc)
        rc = mc_quant_try(h->r, b.m, ret, &late, err);
    mc_quant_built_free(&b);
    h->late = h->late || late;
    h->measurements++;
    if (rc || h->late)
        return rc;
    rc = cost_of(h, form, &ret->cost, err);
    return rc || !what ? rc : note(h, what, above_base(h, form), ret, err);
}

static void take(struct hunt *h, const enum mc_quant_form *form, const struct mc_quant_trial *t)
{
    memcpy(h->best, form, h->n * sizeof *form);
    h->best_trial = *t;
}

/* ---- by cost alone ---- */

/* The forms above the floor that a site can have, the fastest first. */
static enum mc_quant_form next_form(const struct hunt *h, size_t i, enum mc_quant_form form)
{
    if (form == MC_QUANT_STATIC && mc_quant_nearest(h->r, i, MC_QUANT_DYNAMIC) == MC_QUANT_DYNAMIC)
        return MC_QUANT_DYNAMIC;
    return h->base[i];
}

/* What is cheaper another way by itself: what does not get into a region of integers loses by its conversions. */
static int cheapen(struct hunt *h, enum mc_quant_form *form, struct mc_err *err)
{
    double cost;
    int rc = cost_of(h, form, &cost, err);
    for (int round = 0; !rc && round < 2; round++) {
        bool changed = false;
        for (size_t i = h->n; !rc && i-- > 0;) {
            enum mc_quant_form was = form[i];
            if (was == h->base[i])
                continue;
            double other;
            form[i] = next_form(h, i, was);
            rc = cost_of(h, form, &other, err);
            if (!rc && form[i] == MC_QUANT_DYNAMIC && other >= cost) {
                form[i] = h->base[i];
                rc = cost_of(h, form, &other, err);
            }
            h->gain[i] = other - cost;
            if (other < cost * (1 - 1e-6)) {
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

static int open_forms(struct hunt *h, struct mc_err *err)
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

/* Relative to what is allowed: above 1 is too much. Of what adds up over layers. */
static double harm_of(const struct mc_quant_run *r, const struct mc_quant_trial *t,
                      const struct mc_quant_trial *base)
{
    double loss = (t->loss - base->loss) / r->max_drop;
    double noise = isnan(t->sqnr) ? 0
                                  : (pow(10, -t->sqnr / 10) - pow(10, -base->sqnr / 10)) /
                                        pow(10, -mc_quant_sqnr_enough(r) / 10);
    double harm = fmax(loss, noise);
    return isnan(harm) ? INFINITY : fmax(harm, 0);
}

static bool floor_holds(const struct hunt *h)
{
    const struct mc_quant_trial *t = &h->r->weight;
    return mc_quant_accepts(h->r, t) && !(t->sqnr < SQNR_FLOOR);
}

/* Where weights alone lose too much, layers become floats again, the worst first. */
static int mend_base(struct hunt *h, struct mc_err *err)
{
    struct mc_quant_trial t;
    int rc = measure(h, "weights alone", h->base, &h->r->weight, err);
    if (rc || h->late)
        return rc;
    take(h, h->base, &h->r->weight);
    if (floor_holds(h))
        return 0;
    for (size_t i = 0; i < h->n; i++)
        h->set[i] = MC_QUANT_FLOAT;
    for (size_t i = 0; !rc && i < h->n && !over(h); i++) {
        h->harm[i] = 0;
        if (h->base[i] == MC_QUANT_FLOAT)
            continue;
        h->set[i] = h->base[i];
        rc = measure(h, NULL, h->set, &t, err);
        h->set[i] = MC_QUANT_FLOAT;
        h->harm[i] = harm_of(h->r, &t, &(struct mc_quant_trial){.sqnr = INFINITY});
    }
    while (!rc && !over(h)) {
        size_t worst = h->n;
        for (size_t i = 0; i < h->n; i++)
            if (h->base[i] > MC_QUANT_HALF && (worst == h->n || h->harm[i] > h->harm[worst]))
                worst = i;
        if (worst == h->n)
            break;
        h->r->because[worst] = "as integers its weights alone change the answer";
        h->base[worst] = h->fast[worst] = mc_quant_nearest(h->r, worst, MC_QUANT_HALF);
        rc = measure(h, "some weights as floats", h->base, &h->r->weight, err);
        if (!rc && !h->late)
            take(h, h->base, &h->r->weight);
        if (floor_holds(h))
            break;
    }
    return rc;
}

static int measure_alone(struct hunt *h, struct mc_err *err)
{
    struct mc_quant_trial t;
    size_t left = ALONE_MOST;
    int rc = 0;
    memcpy(h->set, h->base, h->n * sizeof *h->set);
    for (size_t i = 0; !rc && i < h->n; i++) {
        h->harm[i] = 0;
        if (h->fast[i] == h->base[i] || !left || over(h))
            continue;
        mc_progress_tell(h->r->ctx->progress, "layers one by one", (double)i, (double)h->n);
        h->set[i] = h->fast[i];
        rc = measure(h, NULL, h->set, &t, err);
        h->set[i] = h->base[i];
        left--;
        if (rc || h->late)
            break;
        h->harm[i] = harm_of(h->r, &t, &h->r->weight);
        h->r->alone[i] = t.loss;
    }
    return rc;
}

static void order_by_worth(struct hunt *h)
{
    size_t n = 0;
    for (size_t i = 0; i < h->n; i++) {
        if (h->fast[i] == h->base[i])
            continue;
        double worth = h->harm[i] / fmax(h->gain[i], 1e-12);
        size_t at = n++;
        for (; at > 0; at--) {
            size_t k = h->order[at - 1];
            if (h->harm[k] / fmax(h->gain[k], 1e-12) >= worth)
                break;
            h->order[at] = k;
        }
        h->order[at] = i;
    }
}

/* The first k of the order fall back: to ranges of every run where that is possible, or to weights alone. */
static int fall_back(struct hunt *h, size_t k, bool dynamic, struct mc_quant_trial *ret,
                     struct mc_err *err)
{
    memcpy(h->set, h->fast, h->n * sizeof *h->set);
    for (size_t j = 0; j < k; j++) {
        size_t i = h->order[j];
        h->set[i] = dynamic ? next_form(h, i, h->fast[i]) : h->base[i];
    }
    return measure(h, dynamic ? "some with ranges of every run" : "some by their weights alone",
                   h->set, ret, err);
}

static int bisect(struct hunt *h, bool dynamic, struct mc_err *err)
{
    struct mc_quant_trial t;
    size_t low = 0, high = above_base(h, h->fast);
    int rc = 0;
    while (!rc && high - low > 1 && !over(h)) {
        size_t middle = low + (high - low) / 2;
        rc = fall_back(h, middle, dynamic, &t, err);
        if (rc || h->late)
            break;
        if (mc_quant_accepts(h->r, &t)) {
            high = middle;
            if (t.cost < h->best_trial.cost)
                take(h, h->set, &t);
        } else {
            low = middle;
        }
    }
    for (size_t j = 0; j < high; j++)
        if (h->best[h->order[j]] != h->fast[h->order[j]])
            h->r->because[h->order[j]] = "with a range for its inputs it changes the answer more "
                                         "than what it gains is worth";
    return rc;
}

/* Layers that fell back, once more, one by one: the order was by errors that do not quite add up. */
static int promote(struct hunt *h, struct mc_err *err)
{
    enum { TRIES = 12 };
    struct mc_quant_trial t;
    size_t n = above_base(h, h->fast);
    int rc = 0, tries = 0;
    for (size_t j = n; !rc && j-- > 0 && tries < TRIES && !over(h);) {
        size_t i = h->order[j];
        if (h->best[i] == h->fast[i] || h->harm[i] > 1)
            continue;
        memcpy(h->set, h->best, h->n * sizeof *h->set);
        h->set[i] = h->fast[i];
        tries++;
        rc = measure(h, "one more layer", h->set, &t, err);
        if (!rc && !h->late && mc_quant_accepts(h->r, &t) && t.cost < h->best_trial.cost) {
            take(h, h->set, &t);
            h->r->because[i] = NULL;
        }
    }
    return rc;
}

/* Layers whose neighbours fell back may no longer gain anything. */
static int settle(struct hunt *h, struct mc_err *err)
{
    struct mc_quant_trial t;
    if (h->r->by_bytes || !above_base(h, h->best) || over(h))
        return 0;
    memcpy(h->set, h->best, h->n * sizeof *h->set);
    int rc = cheapen(h, h->set, err);
    if (rc || !memcmp(h->set, h->best, h->n * sizeof *h->set))
        return rc;
    rc = measure(h, "without what gains nothing", h->set, &t, err);
    if (!rc && !h->late && mc_quant_accepts(h->r, &t) && t.cost <= h->best_trial.cost)
        take(h, h->set, &t);
    return rc;
}

static int hunt(struct hunt *h, struct mc_err *err)
{
    struct mc_quant_trial t;
    int rc = open_forms(h, err);
    if (!rc)
        rc = mend_base(h, err);
    if (rc || !above_base(h, h->fast) || over(h))
        return rc;
    mc_progress_tell(h->r->ctx->progress, "the fastest forms", 0, 1);
    rc = measure(h, "the fastest forms", h->fast, &t, err);
    if (rc || h->late)
        return rc;
    if (mc_quant_accepts(h->r, &t)) {
        if (t.cost < WORTH * h->best_trial.cost)
            take(h, h->fast, &t);
        return 0;
    }
    rc = measure_alone(h, err);
    order_by_worth(h);
    if (!rc && !h->r->by_bytes)
        rc = bisect(h, true, err);
    if (!rc)
        rc = bisect(h, false, err);
    if (!rc)
        rc = promote(h, err);
    if (!rc)
        rc = settle(h, err);
    if (!rc && !(h->best_trial.cost < WORTH * h->r->weight.cost))
        take(h, h->base, &h->r->weight);
    return rc;
}

/* ---- the report ---- */

static int report(struct hunt *h, struct mc_err *err)
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
    mc_json_put(o, "ended", json_string(h->late ? "time" : "done"), &ok);
    mc_json_put(o, "tried", json_incref(h->tried), &ok);
    mc_json_put(o, "layers", layers, &ok);
    if (!ok) {
        json_decref(o);
        return mc_fail(err, MC_ENOMEM, "out of memory");
    }
    h->r->search = o;
    return 0;
}

static int open_hunt(struct hunt *h, struct mc_err *err)
{
    size_t n = h->n + 1;
    h->base = mc_calloc(4 * n, sizeof *h->base);
    h->gain = mc_calloc(2 * n, sizeof *h->gain);
    h->order = mc_calloc(n, sizeof *h->order);
    h->tried = json_array();
    if (!h->base || !h->gain || !h->order || !h->tried)
        return mc_fail(err, MC_ENOMEM, "out of memory");
    h->fast = h->base + n;
    h->best = h->fast + n;
    h->set = h->best + n;
    h->harm = h->gain + n;
    return 0;
}

int mc_quant_search(struct mc_quant_run *r, enum mc_quant_form *form, struct mc_err *err)
{
    struct hunt h = {.r = r, .n = r->sites.n};
    int rc = open_hunt(&h, err);
    if (!rc)
        rc = hunt(&h, err);
    if (!rc)
        rc = report(&h, err);
    if (!rc) {
        memcpy(form, h.best, h.n * sizeof *form);
        r->result = h.best_trial;
    }
    free(h.base);
    free(h.gain);
    free(h.order);
    json_decref(h.tried);
    return rc;
}
