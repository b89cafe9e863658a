/* In which order layers give up their fast form.
 *
 * What a layer gains depends on its neighbours: one that falls back alone in the midst of integers costs conversions on both
 * sides, one whose neighbours have fallen back already costs nothing, or less than before. So each step takes the layer of most
 * harm for what the model as it then is would lose, by the table of costs. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/io.h"
#include "passes/quant/search/quant_hunt.h"

/* Part of a layer's harm that is gone when it gets its ranges in every run: most of it comes from ranges that do not fit. */
static const double RELIEF = 0.7;

struct path {
    struct mc_quant_hunt *h;
    enum mc_quant_form *form, *to; /* [n] now, and after the next step of each */
    double *gain;                  /* [n] what that step costs; NAN: to be looked at */
    double cost;                   /* of the model now */
    size_t looks;
};

static int cost_with(struct path *p, size_t i, enum mc_quant_form form, double *ret,
                     struct mc_err *err)
{
    enum mc_quant_form was = p->form[i];
    p->form[i] = form;
    int rc = mc_quant_hunt_cost(p->h, p->form, ret, err);
    p->form[i] = was;
    p->looks++;
    return rc;
}

static int look(struct path *p, size_t i, struct mc_err *err)
{
    double cost, floor;
    p->to[i] = mc_quant_hunt_next(p->h, i, p->form[i]);
    int rc = cost_with(p, i, p->to[i], &cost, err);
    if (!rc && p->to[i] != p->h->base[i]) {
        rc = cost_with(p, i, p->h->base[i], &floor, err);
        if (!rc && floor <= cost) {
            p->to[i] = p->h->base[i];
            cost = floor;
        }
    }
    p->gain[i] = cost - p->cost;
    return rc;
}

static double relief(const struct path *p, size_t i)
{
    bool part = p->to[i] != p->h->base[i], rest = p->form[i] != p->h->fast[i];
    return p->h->harm[i] * (part ? RELIEF : rest ? 1 - RELIEF : 1);
}

/* Nothing for it is better than a little. */
static double worth(const struct path *p, size_t i)
{
    double least = 1e-6 * p->h->r->weight.cost;
    return p->gain[i] <= 0 ? INFINITY : relief(p, i) / fmax(p->gain[i], least);
}

/* The one of most worth by what is known. */
static size_t best_of(const struct path *p)
{
    size_t best = p->h->n;
    for (size_t i = 0; i < p->h->n; i++)
        if (p->form[i] != p->h->base[i] && (best == p->h->n || worth(p, i) > worth(p, best)))
            best = i;
    return best;
}

/* Layers beside i: what they gain has changed. */
static void forget_near(struct path *p, size_t i)
{
    enum { NEAR = 2 };
    size_t from = i > NEAR ? i - NEAR : 0;
    for (size_t k = from; k < p->h->n && k <= i + NEAR; k++)
        p->gain[k] = NAN;
}

static int step(struct path *p, size_t most, struct mc_err *err)
{
    struct mc_quant_hunt *h = p->h;
    size_t i = h->n;
    int rc = 0;
    for (size_t k = 0; !rc && k < h->n; k++)
        if (p->form[k] != h->base[k] && isnan(p->gain[k]))
            rc = look(p, k, err);
    for (int again = 0; !rc && again < 3; again++) { /* what was known of it may be old */
        size_t at = best_of(p);
        if (at == i || p->looks > most)
            break;
        i = at;
        rc = look(p, i, err);
    }
    i = best_of(p);
    if (rc || i == h->n)
        return rc;
    p->cost += p->gain[i];
    p->form[i] = p->to[i];
    h->step[h->n_steps++] = (struct mc_quant_step){i, p->to[i], p->cost};
    forget_near(p, i);
    return 0;
}

int mc_quant_hunt_path(struct mc_quant_hunt *h, struct mc_err *err)
{
    enum { LOOKS = 600 };
    struct path p = {.h = h};
    size_t left = mc_quant_hunt_above(h, h->fast);
    p.form = mc_calloc(2 * h->n + 1, sizeof *p.form);
    p.gain = mc_calloc(h->n + 1, sizeof *p.gain);
    int rc = p.form && p.gain ? 0 : mc_fail(err, MC_ENOMEM, "out of memory");
    if (!rc) {
        p.to = p.form + h->n;
        memcpy(p.form, h->fast, h->n * sizeof *p.form);
        for (size_t i = 0; i < h->n; i++)
            p.gain[i] = NAN;
        rc = mc_quant_hunt_cost(h, p.form, &p.cost, err);
    }
    h->n_steps = 0;
    while (!rc && left > 0 && p.looks < LOOKS && !mc_quant_hunt_over(h)) {
        rc = step(&p, LOOKS, err);
        left = rc ? 0 : mc_quant_hunt_above(h, p.form);
    }
    free(p.form);
    free(p.gain);
    return rc;
}
