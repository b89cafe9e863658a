#include <math.h>

#include "passes/svd/svd_run.h"

static void tell(const struct mc_svd_run *r, size_t i)
{
    mc_progress_tell(r->ctx->progress, "singular values", (double)i, (double)r->n_items);
}

static struct mc_layer *layer_of(struct mc_svd_run *r, const struct mc_svd_item *it)
{
    return &r->layers.item[it->layer[0]];
}

/* ---- --rank ---- */

/* The point of the plain product (of the stored one where there is no other) with that rank; ranks beyond those that are
 * known are cut to them. */
static void take_rank(struct mc_svd_item *it, int64_t rank)
{
    const struct mc_svd_curve *c = &it->curve[0];
    if (c->n == 0)
        return;
    it->at = c;
    it->point = &c->point[((size_t)rank < c->n ? (size_t)rank : c->n) - 1];
}

/* Ranks up to here make the item smaller. */
static int64_t cap_of(struct mc_svd_run *r, const struct mc_svd_item *it)
{
    const struct mc_layer *l = layer_of(r, it);
    int64_t cap = mc_layer_rank_cap(l), fits = (int64_t)((it->bytes - 1) / mc_layer_rank_bytes(l));
    return cap < fits ? cap : fits;
}

static int by_rank(struct mc_svd_run *r, struct mc_err *err)
{
    int rc = 0;
    for (size_t i = 0; !rc && i < r->n_items; i++) {
        struct mc_svd_item *it = &r->item[i];
        int64_t rank = r->ranks.of[it->layer[0]], cap = cap_of(r, it);
        const struct mc_svd_form *form = it->n_curves ? it->curve[0].form : NULL;
        if (rank < 1 || rank > cap ||
            (form != &mc_svd_form_matrix && form != &mc_svd_form_stored &&
             form != &mc_svd_form_group)) {
            it->reason =
                rank < 1 ? "no rank is given for it" : "that rank would not make it smaller";
            continue;
        }
        tell(r, i);
        it->n_curves = 1;
        rc = mc_svd_item_analyse(r, i, (double)rank / (double)mc_layer_rank_cap(layer_of(r, it)),
                                 err);
        if (!rc)
            take_rank(it, rank);
    }
    return rc;
}

/* ---- --energy ---- */

/* A curve may have points beyond what was asked for, where others end that have better ones there. */
static bool beyond_want(const struct mc_svd_item *it)
{
    return (double)it->point->bytes > it->want * (double)it->bytes && mc_svd_item_more(it);
}

/* Doubling keeps the randomised SVD small where few directions are enough. */
static int by_energy(struct mc_svd_run *r, struct mc_err *err)
{
    int rc = 0;
    for (size_t i = 0; !rc && i < r->n_items; i++) {
        struct mc_svd_item *it = &r->item[i];
        bool found = false;
        tell(r, i);
        for (double want = 0.125; !rc && !found; want *= 2) {
            rc = mc_svd_item_analyse(r, i, want, err);
            found = !rc && mc_svd_item_least(it, 1 - r->energy, &it->at, &it->point);
            found = found && !beyond_want(it);
            if (!rc && !found && !mc_svd_item_more(it)) {
                it->reason = "a rank with that energy would not make it smaller";
                break;
            }
        }
    }
    return rc;
}

/* ---- --keep ---- */

static uint64_t whole_bytes(const struct mc_svd_run *r)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < r->n_items; i++)
        sum += r->item[i].bytes;
    return sum;
}

static int try_budget(struct mc_svd_run *r, struct mc_svd_choice *const *choice, uint64_t budget,
                      bool *ret_fits, struct mc_err *err)
{
    mc_svd_plan(choice, r->n_items, (double)budget);
    for (size_t i = 0; i < r->n_items; i++)
        mc_svd_item_take(&r->item[i]);
    int rc = mc_svd_run_bytes(r, &r->bytes_after, err);
    *ret_fits = !rc && r->bytes_after <= r->target;
    return rc;
}

/* The factors' bytes are known; those of their nodes and names only by counting the model. So the budget for
 * the factors is searched between none and all there is, for the largest that fits. */
static int fit(struct mc_svd_run *r, struct mc_svd_choice *const *choice, struct mc_err *err)
{
    enum { CLOSE = 64 }; /* bytes: below any rank of any layer that is worth it */
    uint64_t rest = r->bytes_before - whole_bytes(r);
    uint64_t low = 0, high = r->target > rest ? r->target - rest : 0;
    bool fits;
    int rc = try_budget(r, choice, high, &fits, err);
    while (!rc && !fits && high - low > CLOSE) {
        bool middle_fits;
        uint64_t middle = low + (high - low) / 2;
        rc = try_budget(r, choice, middle, &middle_fits, err);
        if (middle_fits)
            low = middle;
        else
            high = middle;
    }
    return rc || fits ? rc : try_budget(r, choice, low, &fits, err);
}

/* Items whose point is the last of its curve, or where other curves do not reach to, get more of them. */
static int widen(struct mc_svd_run *r, bool *ret_more, struct mc_err *err)
{
    *ret_more = false;
    for (size_t i = 0; i < r->n_items; i++) {
        struct mc_svd_item *it = &r->item[i];
        bool last = it->at && !it->at->complete && it->point + 1 == it->at->point + it->at->n;
        if (!last && !(it->at && beyond_want(it)))
            continue;
        int rc = mc_svd_item_analyse(r, i, 1.5 * it->want, err);
        if (rc)
            return rc;
        *ret_more = true; /* its points are others: the plan has to take them */
    }
    return 0;
}

/* Curves for a budget: half as many points again as it has on the average. */
static int analyse_all(struct mc_svd_run *r, struct mc_err *err)
{
    int rc = 0;
    for (size_t i = 0; !rc && i < r->n_items; i++) {
        double cap = (double)mc_layer_rank_cap(layer_of(r, &r->item[i]));
        tell(r, i);
        rc = mc_svd_item_analyse(r, i, ceil(1.5 * r->keep * cap + 8) / cap, err);
    }
    return rc;
}

static int by_budget(struct mc_svd_run *r, struct mc_err *err)
{
    struct mc_svd_choice **choice = mc_calloc(r->n_items, sizeof *choice);
    if (!choice)
        return mc_fail(err, MC_ENOMEM, "out of memory");
    for (size_t i = 0; i < r->n_items; i++)
        choice[i] = &r->item[i].choice;
    r->target = (uint64_t)(r->keep * (double)r->bytes_given);
    int rc = analyse_all(r, err);
    for (bool more = true; !rc && more;) {
        rc = fit(r, choice, err);
        if (!rc)
            rc = widen(r, &more, err);
    }
    free(choice);
    for (size_t i = 0; !rc && i < r->n_items; i++)
        if (!r->item[i].at)
            r->item[i].reason = "as it is it gives more for its bytes";
    r->missed = !rc && r->bytes_after > r->target;
    if (r->missed)
        mc_fail(&r->miss, MC_EGATE,
                "the target of %llu bytes cannot be reached; the smallest is %llu (keep %.3f)",
                (unsigned long long)r->target, (unsigned long long)r->bytes_after,
                (double)r->bytes_after / (double)r->bytes_given);
    return rc;
}

int mc_svd_decide(struct mc_svd_run *r, struct mc_err *err)
{
    if (r->ranks.of)
        return by_rank(r, err);
    return r->energy >= 0 ? by_energy(r, err) : by_budget(r, err);
}
