#include <math.h>

#include "passes/svd_run.h"

static bool open_layer(const struct mc_svd_run *r, size_t i)
{
    return !r->layers.item[i].reason;
}

static void tell(const struct mc_svd_run *r, size_t i)
{
    mc_progress_tell(r->ctx->progress, "singular values", (double)i, (double)r->layers.n);
}

/* ---- --rank ---- */

static int by_rank(struct mc_svd_run *r, struct mc_err *err)
{
    int rc = 0;
    for (size_t i = 0; !rc && i < r->layers.n; i++) {
        struct mc_svd_layer *l = &r->layers.item[i];
        if (!open_layer(r, i))
            continue;
        if (r->rank > mc_svd_rank_cap(l)) {
            l->reason = "that rank would not make it smaller";
            continue;
        }
        tell(r, i);
        r->choice[i].rank = r->rank;
        if (!r->ctx->dry_run)
            rc = mc_svd_run_analyse(r, i, r->rank, err);
    }
    return rc;
}

/* ---- --energy ---- */

/* Doubling keeps the randomised SVD small where few directions are enough. */
static int rank_for_energy(struct mc_svd_run *r, size_t i, struct mc_err *err)
{
    struct mc_svd_layer *l = &r->layers.item[i];
    struct mc_svd_choice *c = &r->choice[i];
    int64_t cap = mc_svd_rank_cap(l), want = cap / 8 + 1;
    for (;;) {
        int rc = mc_svd_run_analyse(r, i, want, err);
        if (rc)
            return rc;
        c->rank = mc_svd_rank_for(c, 1 - r->energy);
        if (c->rank <= c->known)
            return 0;
        if (c->known >= cap || c->known < want)
            break;
        want = 2 * c->known;
    }
    c->rank = 0;
    l->reason = "a rank with that energy would not make it smaller";
    return 0;
}

static int by_energy(struct mc_svd_run *r, struct mc_err *err)
{
    int rc = 0;
    for (size_t i = 0; !rc && i < r->layers.n; i++)
        if (open_layer(r, i)) {
            tell(r, i);
            rc = rank_for_energy(r, i, err);
        }
    return rc;
}

/* ---- --keep ---- */

/* A first guess of how many directions a budget can use: half as many again as it has on the average. */
static int64_t first_want(const struct mc_svd_run *r, size_t i)
{
    int64_t cap = mc_svd_rank_cap(&r->layers.item[i]);
    double want = ceil(1.5 * r->keep * (double)cap) + 8;
    return want < (double)cap ? (int64_t)want : cap;
}

static uint64_t dense_bytes(const struct mc_svd_run *r)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < r->layers.n; i++)
        if (open_layer(r, i))
            sum += mc_svd_dense_bytes(&r->layers.item[i]);
    return sum;
}

static int try_budget(struct mc_svd_run *r, uint64_t budget, bool *ret_fits, struct mc_err *err)
{
    mc_svd_plan(r->choice, r->layers.n, budget);
    int rc = mc_svd_run_bytes(r, &r->bytes_after, err);
    *ret_fits = !rc && r->bytes_after <= r->target;
    return rc;
}

/* The factors' bytes are known; those of their nodes and names only by counting the model. So the budget for
 * the factors is searched between none and all there is, for the largest that fits. */
static int fit(struct mc_svd_run *r, struct mc_err *err)
{
    enum { CLOSE = 64 }; /* bytes: below any rank of any layer that is worth it */
    uint64_t rest = r->bytes_before - dense_bytes(r);
    uint64_t low = 0, high = r->target > rest ? r->target - rest : 0;
    bool fits;
    int rc = try_budget(r, high, &fits, err);
    while (!rc && !fits && high - low > CLOSE) {
        bool middle_fits;
        uint64_t middle = low + (high - low) / 2;
        rc = try_budget(r, middle, &middle_fits, err);
        if (middle_fits)
            low = middle;
        else
            high = middle;
    }
    return rc || fits ? rc : try_budget(r, low, &fits, err);
}

/* Layers whose rank ran into the last direction that is known get more of them. */
static int widen(struct mc_svd_run *r, bool *ret_more, struct mc_err *err)
{
    *ret_more = false;
    for (size_t i = 0; i < r->layers.n; i++) {
        struct mc_svd_choice *c = &r->choice[i];
        int64_t cap = open_layer(r, i) ? mc_svd_rank_cap(&r->layers.item[i]) : 0;
        if (c->rank != c->known || c->known >= cap || c->rank == 0)
            continue;
        int64_t had = c->known;
        int rc = mc_svd_run_analyse(r, i, had + had / 2 + 1, err);
        if (rc)
            return rc;
        *ret_more = *ret_more || c->known > had;
    }
    return 0;
}

static int by_budget(struct mc_svd_run *r, struct mc_err *err)
{
    r->target = (uint64_t)(r->keep * (double)r->bytes_given);
    int rc = 0;
    for (size_t i = 0; !rc && i < r->layers.n; i++)
        if (open_layer(r, i)) {
            tell(r, i);
            rc = mc_svd_run_analyse(r, i, first_want(r, i), err);
        }
    for (bool more = true; !rc && more;) {
        rc = fit(r, err);
        if (!rc)
            rc = widen(r, &more, err);
    }
    if (rc)
        return rc;
    for (size_t i = 0; i < r->layers.n; i++)
        if (open_layer(r, i) && !r->choice[i].rank)
            r->layers.item[i].reason = "as it is it gives more for its bytes";
    r->missed = r->bytes_after > r->target;
    return 0;
}

int mc_svd_decide(struct mc_svd_run *r, struct mc_err *err)
{
    if (r->rank > 0)
        return by_rank(r, err);
    return r->energy >= 0 ? by_energy(r, err) : by_budget(r, err);
}
