/* Weights alone, the floor of the search. */
#include <math.h>
#include <string.h>

#include "passes/quant/search/quant_hunt.h"

/* Multiply-accumulates of a sample of a model small enough for more care than it needs. */
static const double CHEAP = 5e8;

/* Layers by what their integers harm for the bytes that they save, the worst first. */
static size_t order_by_bytes(struct mc_quant_hunt *h)
{
    size_t n = 0;
    for (size_t i = 0; i < h->n; i++) {
        if (h->base[i] <= MC_QUANT_HALF)
            continue;
        size_t at = n++;
        double worth = h->harm[i] / (double)(h->r->sites.item[i].bytes + 1);
        for (; at > 0; at--) {
            size_t k = h->order[at - 1];
            if (h->harm[k] / (double)(h->r->sites.item[k].bytes + 1) >= worth)
                break;
            h->order[at] = k;
        }
        h->order[at] = i;
    }
    return n;
}

/* The first k of the order hold halves, or floats. */
static void with(struct mc_quant_hunt *h, size_t k)
{
    memcpy(h->set, h->base, h->n * sizeof *h->set);
    for (size_t j = 0; j < k; j++)
        h->set[h->order[j]] = mc_quant_nearest(h->r, h->order[j], MC_QUANT_HALF);
}

static int with_halves(struct mc_quant_hunt *h, size_t k, struct mc_quant_trial *ret,
                       struct mc_err *err)
{
    with(h, k);
    return mc_quant_hunt_floor(h, k ? "some weights as halves" : "weights alone", h->set, ret, err);
}

/* Errors of weights handed on to those not rounded yet, where rounding each by itself loses too much. */
static int try_gptq(struct mc_quant_hunt *h, struct mc_err *err)
{
    struct mc_quant_run *r = h->r;
    struct mc_quant_trial t;
    unsigned was = r->repairs;
    if (!r->any_repair || !r->ctx->calib || mc_quant_hunt_over(h))
        return 0;
    r->repairs |= MC_QUANT_GPTQ;
    int rc = with_halves(h, 0, &t, err);
    if (!rc && !h->late && mc_quant_hunt_better(r, &t, &r->weight)) {
        r->weight = t;
        mc_quant_hunt_take(h, h->base, &t);
    } else {
        r->repairs = was;
    }
    return rc;
}

static int measure_alone(struct mc_quant_hunt *h, struct mc_err *err)
{
    struct mc_quant_trial t;
    int rc = 0;
    for (size_t i = 0; i < h->n; i++)
        h->set[i] = MC_QUANT_FLOAT;
    for (size_t i = 0; !rc && i < h->n && !mc_quant_hunt_over(h); i++) {
        h->harm[i] = 0;
        if (h->base[i] <= MC_QUANT_HALF)
            continue;
        mc_progress_tell(h->r->ctx->progress, "weights one by one", (double)i, (double)h->n);
        h->set[i] = h->base[i];
        rc = mc_quant_hunt_scout(h, h->set, &t, err);
        h->set[i] = MC_QUANT_FLOAT;
        h->harm[i] = mc_quant_hunt_harm(h->r, &t, &(struct mc_quant_trial){.sqnr = INFINITY});
    }
    return rc;
}

/* How many of the order may be halves so that most of what integers save is still saved. */
static size_t affordable(const struct mc_quant_hunt *h, size_t n)
{
    static const double SHARE = 0.1;
    double all = 0, spent = 0;
    size_t k = 0;
    for (size_t j = 0; j < n; j++)
        all += (double)h->r->sites.item[h->order[j]].bytes;
    while (k < n && spent + (double)h->r->sites.item[h->order[k]].bytes <= SHARE * all)
        spent += (double)h->r->sites.item[h->order[k++]].bytes;
    return k;
}

static bool clearly_better(const struct mc_quant_run *r, const struct mc_quant_trial *t)
{
    static const double CLEARLY = 0.7;
    const struct mc_quant_trial none = {.sqnr = INFINITY};
    return mc_quant_hunt_harm(r, t, &none) < CLEARLY * mc_quant_hunt_harm(r, &r->weight, &none);
}

/* The fewest halves that keep the answer, which `high` of them do and `low` do not. */
static int bisect(struct mc_quant_hunt *h, size_t low, size_t high, struct mc_err *err)
{
    struct mc_quant_trial t;
    int rc = 0;
    while (!rc && high - low > 1 && !mc_quant_hunt_over(h)) {
        size_t middle = low + (high - low) / 2;
        rc = with_halves(h, middle, &t, err);
        if (rc || h->late)
            break;
        if (mc_quant_accepts_floor(h->r, &t)) {
            high = middle;
            mc_quant_hunt_take(h, h->set, &t);
        } else {
            low = middle;
        }
    }
    return rc;
}

/* Where weights alone lose too much, they are rounded with more care, and then some are halves, as few bytes as it takes. Where
 * even that is not enough, the model makes noise of anything, and its weights stay integers but for a tenth. */
int mc_quant_hunt_weights(struct mc_quant_hunt *h, struct mc_err *err)
{
    struct mc_quant_run *r = h->r;
    struct mc_quant_trial best = {.loss = INFINITY}, all = {.loss = INFINITY};
    int rc = with_halves(h, 0, &r->weight, err);
    if (rc || h->late)
        return rc;
    mc_quant_hunt_take(h, h->base, &r->weight);
    bool cheap = r->macs > 0 && r->macs < CHEAP;
    if (!mc_quant_accepts_floor(r, &r->weight) || (cheap && !mc_quant_keeps_well(r, &r->weight)))
        rc = try_gptq(h, err);
    if (rc || mc_quant_accepts_floor(r, &r->weight) || mc_quant_hunt_over(h))
        return rc;
    rc = measure_alone(h, err);
    size_t n = order_by_bytes(h);
    size_t k = affordable(h, n);
    if (!rc && k && !mc_quant_hunt_over(h))
        rc = with_halves(h, k, &best, err);
    bool few = !rc && k && !h->late && mc_quant_accepts_floor(r, &best);
    if (few)
        mc_quant_hunt_take(h, h->set, &best);
    else if (!rc && !mc_quant_hunt_over(h))
        rc = with_halves(h, n, &all, err);
    if (rc || h->late)
        return rc;
    if (!few && mc_quant_accepts_floor(r, &all)) {
        mc_quant_hunt_take(h, h->set, &all);
        rc = bisect(h, k, n, err);
    } else if (few) {
        rc = bisect(h, 0, k, err);
    } else if (k && clearly_better(r, &best)) {
        with(h, k);
        mc_quant_hunt_take(h, h->set, &best);
    }
    for (size_t i = 0; i < h->n; i++) {
        if (h->best[i] == h->base[i])
            continue;
        r->because[i] = "its weights alone as integers change the answer";
        h->base[i] = h->fast[i] = h->best[i];
    }
    r->weight = h->best_trial;
    return rc;
}
