#include "passes/quant/search/quant_hunt.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/interrupt.h"
#include "base/io.h"
#include "base/json.h"

/* Bias correction won up to 8 dB on the reference models. */
static const double REACH = 20;
/* Multiply-accumulates of all measurements: some ten seconds of one thread. What the search has by then is good, only perhaps
 * not the fastest there is. */
static const double WORK = 3e11;

/* What GPTQ takes, about. */
static const double GPTQ_WORK = 6e10;
/* Most of the samples that a repair is judged by are those it was fitted to: as if they were so many times fewer. */
static const double FITTED = 4;

int mc_quant_hunt_open(struct mc_quant_hunt *h, struct mc_err *err)
{
    size_t n = h->n + 1;
    h->base = mc_calloc(4 * n, sizeof *h->base);
    h->gain = mc_calloc(2 * n, sizeof *h->gain);
    h->order = mc_calloc(n, sizeof *h->order);
    h->step = mc_calloc(2 * n, sizeof *h->step);
    h->tried = json_array();
    if (!h->base || !h->gain || !h->order || !h->step || !h->tried)
        return mc_fail(err, MC_ENOMEM, "out of memory");
    h->fast = h->base + n;
    h->best = h->fast + n;
    h->set = h->best + n;
    h->harm = h->gain + n;
    h->reach = REACH;
    return 0;
}

void mc_quant_hunt_close(struct mc_quant_hunt *h)
{
    free(h->base);
    free(h->gain);
    free(h->order);
    free(h->step);
    json_decref(h->tried);
    mc_judge_free(h->scout);
}

int mc_quant_hunt_cost(struct mc_quant_hunt *h, const enum mc_quant_form *form, double *ret,
                       struct mc_err *err)
{
    struct mc_quant_built b = {0};
    bool timed = !h->r->by_bytes && h->r->rules.runtime == MC_QUANT_VNNI;
    int rc = mc_quant_make(h->r, form, !timed, &b, err);
    uint64_t bytes = 0;
    if (!rc && h->r->by_bytes) {
        rc = h->r->ctx->bytes_of(h->r->ctx->host, b.m, &bytes, err);
        *ret = (double)bytes;
    } else if (!rc) {
        rc = mc_quant_price(h->r, b.m, ret, err);
    }
    mc_quant_built_free(&b);
    return rc;
}

bool mc_quant_hunt_over(struct mc_quant_hunt *h)
{
    double deadline = h->r->ctx->deadline;
    h->late = h->late || (deadline > 0 && mc_now() > deadline);
    return h->late || h->work > WORK;
}

enum mc_quant_form mc_quant_hunt_next(const struct mc_quant_hunt *h, size_t i,
                                      enum mc_quant_form form)
{
    if (form == MC_QUANT_STATIC && mc_quant_nearest(h->r, i, MC_QUANT_DYNAMIC) == MC_QUANT_DYNAMIC)
        return MC_QUANT_DYNAMIC;
    return h->base[i];
}

static int note(struct mc_quant_hunt *h, const char *what, size_t changed,
                const struct mc_quant_trial *t, struct mc_err *err)
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

size_t mc_quant_hunt_above(const struct mc_quant_hunt *h, const enum mc_quant_form *form)
{
    size_t n = 0;
    for (size_t i = 0; i < h->n; i++)
        n += form[i] != h->base[i];
    return n;
}

static double work_of(const struct mc_quant_hunt *h, const struct mc_judge *j)
{
    return fmax(h->r->macs, 0) * (double)mc_judge_samples(j);
}

static int repaired(struct mc_quant_hunt *h, struct mc_quant_built *b, unsigned which,
                    struct mc_quant_trial *ret, bool *ret_done, bool *ret_late, struct mc_err *err)
{
    struct mc_quant_repair_result made[MC_QUANT_REPAIRS];
    size_t n = 0;
    int rc = mc_quant_repairs(h->r, b, which, made, &n, err);
    *ret_done = false;
    for (size_t i = 0; i < n; i++)
        *ret_done = *ret_done || made[i].kept;
    if (!rc && *ret_done)
        rc = mc_quant_try(h->r->judge, b->m, ret, ret_late, err);
    h->work += 4 * work_of(h, h->r->judge); /* both models, and the built one to judge by */
    h->work += which & MC_QUANT_GPTQ ? GPTQ_WORK : 0;
    if (!rc && *ret_done && !*ret_late)
        ret->numbers /= FITTED;
    return rc;
}

/* What repairs make of a set that loses too much, where that is within their reach. */
static int try_repaired(struct mc_quant_hunt *h, struct mc_quant_built *b, struct mc_quant_trial *t,
                        bool *ret_late, struct mc_err *err)
{
    struct mc_quant_trial again;
    bool done = false;
    double was = mc_quant_hunt_harm(h->r, t, &h->r->weight);
    int rc =
        repaired(h, b, h->r->repairs & ~(unsigned)MC_QUANT_ROUND, &again, &done, ret_late, err);
    if (rc || !done || *ret_late)
        return rc;
    double is = mc_quant_hunt_harm(h->r, &again, &h->r->weight);
    if (mc_quant_accepts(h->r, &again))
        *t = again;
    else /* how much they do for one set they do for others, about */
        h->reach = fmin(h->reach, fmax(2, 2 * was / fmax(is, 1e-3)));
    return 0;
}

int mc_quant_hunt_measure(struct mc_quant_hunt *h, const char *what, const enum mc_quant_form *form,
                          struct mc_quant_trial *ret, struct mc_err *err)
{
    struct mc_quant_built b = {0};
    bool late = false;
    int rc = mc_interrupt_check(err);
    if (!rc)
        rc = mc_quant_make(h->r, form, false, &b, err);
    if (!rc)
        rc = mc_quant_try(h->r->judge, b.m, ret, &late, err);
    h->work += work_of(h, h->r->judge);
    if (!rc && !late && mc_quant_hunt_above(h, form) && !mc_quant_accepts(h->r, ret) &&
        mc_quant_hunt_harm(h->r, ret, &h->r->weight) < (h->repaired ? REACH : h->reach))
        rc = try_repaired(h, &b, ret, &late, err);
    mc_quant_built_free(&b);
    h->late = h->late || late;
    h->measurements++;
    if (rc || h->late)
        return rc;
    rc = mc_quant_hunt_cost(h, form, &ret->cost, err);
    return rc ? rc : note(h, what, mc_quant_hunt_above(h, form), ret, err);
}

int mc_quant_hunt_floor(struct mc_quant_hunt *h, const char *what, const enum mc_quant_form *form,
                        struct mc_quant_trial *ret, struct mc_err *err)
{
    struct mc_quant_built b = {0};
    struct mc_quant_trial again;
    bool late = false, done = false;
    unsigned which = h->r->repairs & (MC_QUANT_GPTQ | MC_QUANT_BIAS);
    int rc = mc_interrupt_check(err);
    if (!rc)
        rc = mc_quant_make(h->r, form, false, &b, err);
    if (!rc)
        rc = mc_quant_try(h->r->judge, b.m, ret, &late, err);
    h->work += work_of(h, h->r->judge);
    bool asked = which & MC_QUANT_GPTQ || !mc_quant_accepts_floor(h->r, ret);
    if (!rc && !late && which && asked)
        rc = repaired(h, &b, which, &again, &done, &late, err);
    if (!rc && !late && done && mc_quant_hunt_better(h->r, &again, ret)) {
        h->repaired = true;
        *ret = again;
    }
    mc_quant_built_free(&b);
    h->late = h->late || late;
    h->measurements++;
    if (rc || h->late)
        return rc;
    rc = mc_quant_hunt_cost(h, form, &ret->cost, err);
    return rc ? rc : note(h, what, mc_quant_hunt_above(h, form), ret, err);
}

/* Half a second for each of many layers would be minutes. */
static int open_scout(struct mc_quant_hunt *h, struct mc_err *err)
{
    static const double EACH = 4e9, ALL = 1e11;
    enum { LEAST = 1, MOST = 128 };
    double fit = fmin(EACH, ALL / (double)(h->n + 1)), n = h->r->macs > 0 ? fit / h->r->macs : MOST;
    if (h->scout)
        return 0;
    n = n < LEAST ? LEAST : n > MOST ? MOST : n;
    return mc_judge_new(h->r->ctx, h->r->before, (int64_t)n, &h->scout, err);
}

int mc_quant_hunt_scout(struct mc_quant_hunt *h, const enum mc_quant_form *form,
                        struct mc_quant_trial *ret, struct mc_err *err)
{
    struct mc_quant_built b = {0};
    bool late = false;
    int rc = mc_interrupt_check(err);
    if (!rc)
        rc = open_scout(h, err);
    if (!rc)
        rc = mc_quant_make(h->r, form, false, &b, err);
    if (!rc)
        rc = mc_quant_try(h->scout, b.m, ret, &late, err);
    if (h->scout)
        h->work += work_of(h, h->scout);
    mc_quant_built_free(&b);
    h->late = h->late || late;
    h->measurements++;
    return rc;
}

void mc_quant_hunt_take(struct mc_quant_hunt *h, const enum mc_quant_form *form,
                        const struct mc_quant_trial *t)
{
    memcpy(h->best, form, h->n * sizeof *form);
    h->best_trial = *t;
}

/* Relative to what is allowed: above 1 is too much. Of what adds up over layers. */
double mc_quant_hunt_harm(const struct mc_quant_run *r, const struct mc_quant_trial *t,
                          const struct mc_quant_trial *base)
{
    double loss = (t->loss - base->loss) / r->max_drop;
    double noise = isnan(t->sqnr) ? 0
                                  : (pow(10, -t->sqnr / 10) - pow(10, -base->sqnr / 10)) /
                                        pow(10, -mc_quant_sqnr_enough(r) / 10);
    double harm = fmax(loss, noise);
    return isnan(harm) ? INFINITY : fmax(harm, 0);
}

bool mc_quant_hunt_better(const struct mc_quant_run *r, const struct mc_quant_trial *t,
                          const struct mc_quant_trial *than)
{
    const struct mc_quant_trial none = {.sqnr = INFINITY};
    return mc_quant_hunt_harm(r, t, &none) < mc_quant_hunt_harm(r, than, &none);
}
