#include "train/range_test.h"

#include <math.h>

static const double SMOOTH = 0.7; /* share of the average so far */
static const double CLIMBED =
    1.5; /* loss against its best: that rate is too high, and the trial over */
static const double SAFE_SHARE = 0.2; /* of the rate at which the loss climbs */
/* Nats, or relative squared error: what a loss is at least taken for, so that one which begins near 0, because the
 * teacher is the model itself, may become some multiple of itself. */
static const double FLOOR = 0.1;
static const double FALLEN = 0.8; /* loss against that before training: there was much to learn */

/* A fifth of the rate at which the loss climbs; where it has fallen much before, no more than the rate at which it
 * fell fastest. */
static double pick(const struct mc_range *r)
{
    int64_t fastest = 0;
    double lowest = 1, fall = 0;
    for (int64_t i = 1; i < r->n; i++) {
        lowest = r->ratio[i] < lowest ? r->ratio[i] : lowest;
        if (r->ratio[i - 1] - r->ratio[i] > fall) {
            fall = r->ratio[i - 1] - r->ratio[i];
            fastest = i;
        }
    }
    double safe = SAFE_SHARE * r->lr[r->n - 1];
    return lowest < FALLEN && r->lr[fastest] < safe ? r->lr[fastest] : safe;
}

int mc_range_test(mc_range_step *fn, void *ctx, int64_t batches, double lo, double hi,
                  struct mc_range *ret, struct mc_err *err)
{
    double before[MC_RANGE_BATCHES], loss, smooth = 1, best = 1;
    if (batches > MC_RANGE_BATCHES)
        batches = MC_RANGE_BATCHES;
    for (int64_t i = 0; i < batches; i++) {
        int rc = fn(ctx, i, 0, &before[i], err);
        if (rc)
            return rc;
        if (!isfinite(before[i]))
            return mc_fail(
                err, MC_EFAIL,
                "the loss is not finite before anything was trained; the model's weights "
                "or the data are not usable");
    }
    *ret = (struct mc_range){0};
    double grow = pow(hi / lo, 1.0 / (MC_RANGE_STEPS - 1));
    for (int64_t i = 0; i <= MC_RANGE_STEPS; i++) {
        /* the loss of this step is what the rate of the one before has led to */
        double lr = i < MC_RANGE_STEPS ? lo * pow(grow, (double)i) : 0;
        int64_t b = i % batches;
        int rc = fn(ctx, b, lr, &loss, err);
        if (rc)
            return rc;
        if (i) {
            double ratio = (loss + FLOOR) / (before[b] + FLOOR);
            smooth = isfinite(ratio) ? SMOOTH * smooth + (1 - SMOOTH) * ratio : INFINITY;
            ret->ratio[i - 1] = smooth;
            ret->n = i;
            best = smooth < best ? smooth : best;
            if (!(smooth <= CLIMBED * best))
                break;
        }
        if (i < MC_RANGE_STEPS)
            ret->lr[i] = lr;
    }
    ret->pick = pick(ret);
    return 0;
}
