/* Does a quantised model keep the answer?
 *
 * A model that knows how sure it is loses about as many right answers as its divergence has nats, as long as that is
 * small: decisions that change are close ones, and nearly as often won as lost. (Of class scores it is 1e-3 nats where about
 * one decision of a hundred changes.) Counted on a few hundred samples a tenth of a percent is noise, so the divergence
 * decides, and decisions only where clearly more change than it says. */
#include <math.h>

#include "passes/quant/quant_run.h"

/* Decisions that may change where one is worth so much of the loss that is allowed: 1 % for a tenth of a percent. */
static const double CHANGED_OF_DROP = 10;
/* Outputs that decide nothing: noise this far below them is never too much; with less, as much as weights alone add and a
 * decibel. At the tenth of a percent that is the default. */
static const double SQNR_ENOUGH = 32, SQNR_UNDER = 1;

/* Weights alone are given more: what does not fit into them costs twice their bytes. */
static const double FLOOR_DROP = 3, SQNR_FLOOR = 22;
static const double DOUBT = 8, DOUBT_FLOOR = 2;

int mc_quant_try(struct mc_judge *judge, const struct mc_model *m, struct mc_quant_trial *ret,
                 bool *ret_late, struct mc_err *err)
{
    struct mc_judgement j = {0};
    int rc =
        mc_judge_model(judge, m, ret_late != NULL, &j, ret_late ? ret_late : &(bool){false}, err);
    if (rc || (ret_late && *ret_late))
        return rc;
    *ret = (struct mc_quant_trial){
        .divergence = j.divergence,
        .agreement = j.agreement,
        .sqnr = j.noise > 0    ? -10 * log10(j.noise)
                : j.noise == 0 ? INFINITY
                               : NAN,
        .numbers = j.numbers,
        .bytes = NAN,
        .cost = NAN,
    };
    if (isinf(j.noise))
        ret->sqnr = -INFINITY;
    ret->loss = isnan(j.kl) ? 0 : j.kl;
    if (!isfinite(j.divergence))
        ret->loss = INFINITY;
    mc_judgement_free(&j);
    return 0;
}

/* Decisions that changed on so many samples could be this many by chance, where the share in truth is p: two standard
 * deviations above it, and one decision. */
static double by_chance(double p, double n)
{
    return p + 2 * sqrt(p * (1 - p) / n) + 1 / n;
}

double mc_quant_sqnr_enough(const struct mc_quant_run *r)
{
    double enough = SQNR_ENOUGH - 10 * log10(fmax(r->max_drop, 1e-6) / 0.001);
    return isnan(r->weight.sqnr) ? enough : fmin(enough, r->weight.sqnr - SQNR_UNDER);
}

/* What sqnr says of other samples: a rating for each of sixteen may be right by chance, a picture of each is not. (Of a network that
 * rates echoes, 39 dB on 16 samples were 24 on 16 others where inputs had ranges, and 43 were 37 for weights alone.) */
static double surely(const struct mc_quant_trial *t, double doubt)
{
    return t->sqnr - 20 * log10(1 + doubt / sqrt(fmax(t->numbers, 1)));
}

static bool decides_alike(const struct mc_quant_run *r, const struct mc_quant_trial *t, double drop)
{
    double n = (double)mc_judge_samples(r->judge), most = fmin(0.5, CHANGED_OF_DROP * drop);
    if (!(t->loss <= drop))
        return false;
    return isnan(t->agreement) || 1 - t->agreement <= by_chance(most, n);
}

bool mc_quant_accepts(const struct mc_quant_run *r, const struct mc_quant_trial *t)
{
    return decides_alike(r, t, r->max_drop) &&
           (isnan(t->sqnr) || surely(t, DOUBT) >= mc_quant_sqnr_enough(r) ||
            t->sqnr >= r->weight.sqnr - SQNR_UNDER);
}

bool mc_quant_accepts_floor(const struct mc_quant_run *r, const struct mc_quant_trial *t)
{
    return decides_alike(r, t, FLOOR_DROP * r->max_drop) && !(surely(t, DOUBT_FLOOR) < SQNR_FLOOR);
}

bool mc_quant_keeps_well(const struct mc_quant_run *r, const struct mc_quant_trial *t)
{
    return decides_alike(r, t, r->max_drop) && !(surely(t, DOUBT) < SQNR_ENOUGH);
}
