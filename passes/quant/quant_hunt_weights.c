/* Weights alone, the floor of the search. */
#include <math.h>
#include <string.h>

#include "passes/quant/quant_hunt.h"

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
static int with_halves(struct mc_quant_hunt *h, size_t k, struct mc_quant_trial *ret,
                       struct mc_err *err)
{
    memcpy(h->set, h->base, h->n * sizeof *h->set);
    for (size_t j = 0; j < k; j++)
        h->set[h->order[j]] = mc_quant_nearest(h->r, h->order[j], MC_QUANT_HALF);
    return mc_quant_hunt_measure(h, k ? "some weights as halves" : "weights alone", h->set, ret,
                                 err);
}

/* As good as it gets with halves, nearly. */
static bool is_near(const struct mc_quant_trial *t, const struct mc_quant_trial *best)
{
    static const double LOSS = 1.5, AGREEMENT = 0.005, SQNR = 1;
    return t->loss <= LOSS * best->loss + 1e-9 &&
           (isnan(t->agreement) || t->agreement >= best->agreement - AGREEMENT) &&
           (isnan(t->sqnr) || t->sqnr >= best->sqnr - SQNR);
}

/* Where weights alone lose too much, some are halves, as few bytes as it takes. */
int mc_quant_hunt_weights(struct mc_quant_hunt *h, struct mc_err *err)
{
    struct mc_quant_run *r = h->r;
    struct mc_quant_trial t, best;
    int rc = with_halves(h, 0, &r->weight, err);
    if (rc || h->late)
        return rc;
    mc_quant_hunt_take(h, h->base, &r->weight);
    if (mc_quant_accepts_floor(r, &r->weight))
        return 0;
    for (size_t i = 0; i < h->n; i++)
        h->set[i] = MC_QUANT_FLOAT;
    for (size_t i = 0; !rc && i < h->n && !mc_quant_hunt_over(h); i++) {
        h->harm[i] = 0;
        if (h->base[i] <= MC_QUANT_HALF)
            continue;
        mc_progress_tell(r->ctx->progress, "weights one by one", (double)i, (double)h->n);
        h->set[i] = h->base[i];
        rc = mc_quant_hunt_scout(h, h->set, &t, err);
        h->set[i] = MC_QUANT_FLOAT;
        h->harm[i] = mc_quant_hunt_harm(r, &t, &(struct mc_quant_trial){.sqnr = INFINITY});
    }
    size_t low = 0, high = order_by_bytes(h);
    if (!rc && !mc_quant_hunt_over(h))
        rc = with_halves(h, high, &best, err);
    if (rc || mc_quant_hunt_over(h))
        return rc;
    bool holds = mc_quant_accepts_floor(r, &best);
    mc_quant_hunt_take(h, h->set, &best);
    while (!rc && high - low > 1 && !mc_quant_hunt_over(h)) {
        size_t middle = low + (high - low) / 2;
        rc = with_halves(h, middle, &t, err);
        if (rc || h->late)
            break;
        if (holds ? mc_quant_accepts_floor(r, &t) : is_near(&t, &best)) {
            high = middle;
            mc_quant_hunt_take(h, h->set, &t);
        } else {
            low = middle;
        }
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
