#include "train/range_test.h"

#include <math.h>

static const double SMOOTH = 0.7; /* share of the average so far */
static const double CLIMBED =
    1.5; /* loss against its best: that rate is too high, and the trial over */
static const double SAFE_SHARE = 0.1; /* of the rate at which the loss climbs */

/* A tenth of the rate at which the loss climbs, but no more than that at which it is lowest. */
static double pick(const struct mc_range *r)
{
    int64_t low = 0;
    for (int64_t i = 1; i < r->n; i++)
        if (r->ratio[i] < r->ratio[low])
            low = i;
    double safe = SAFE_SHARE * r->lr[r->n - 1];
    return safe < r->lr[low] ? safe : r->lr[low];
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
            double ratio = before[b] > 0 ? loss / before[b] : 1;
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
