#include "passes/circulant/circulant_local.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"

/* Inputs are taken in another order where that leaves less than this share of the error: on pixels 0.3, on hidden units 0.65
 * to 1.05 of what their own order leaves (reference mlp, blocks of 8). */
static const double WORTH_A_GATHER = 0.6;

static int no_memory(struct mc_err *err)
{
    return mc_fail(err, MC_ENOMEM, "out of memory for fitting circulant blocks");
}

/* ---- covariances ---- */

static bool measurable(const struct mc_circulant_run *r, size_t i)
{
    return !r->item[i].reason && r->layers.item[i].n_sites == 1;
}

int mc_circulant_local_measure(struct mc_circulant_run *r, struct mc_circulant_local *ret,
                               struct mc_err *err)
{
    struct mc_cov *packed = NULL;
    size_t n = r->layers.n, k = 0;
    *ret = (struct mc_circulant_local){.n = n};
    if (!r->ctx->calib || !r->refits)
        return 0;
    ret->cov = mc_calloc(n + 1, sizeof *ret->cov);
    packed = mc_calloc(n + 1, sizeof *packed);
    if (!ret->cov || !packed) {
        free(packed);
        return no_memory(err);
    }
    for (size_t i = 0; i < n; i++)
        if (measurable(r, i)) {
            const struct mc_layer *l = &r->layers.item[i];
            packed[k++] = (struct mc_cov){
                .node = l->sites[0].node, .x = mc_layer_input(l, &l->sites[0]), .n = l->n};
        }
    struct mc_cov_opts o = {.pool = r->ctx->pool,
                            .progress = r->ctx->progress,
                            .spill = r->model->spill,
                            .samples = r->ctx->calib_count};
    int rc = k ? mc_cov_gather(r->model->graph, r->ctx->calib, r->la, packed, k, &o, err) : 0;
    for (size_t i = n; i-- > 0;)
        if (measurable(r, i))
            ret->cov[i] = packed[--k];
    free(packed);
    if (rc)
        mc_circulant_local_free(ret);
    return rc;
}

void mc_circulant_local_free(struct mc_circulant_local *s)
{
    for (size_t i = 0; s->cov && i < s->n; i++)
        mc_cov_release(&s->cov[i]);
    free(s->cov);
    s->cov = NULL;
}

/* ---- fits ---- */

int mc_circulant_fit_inputs(struct mc_linalg *la, const struct mc_circulant_form *f, uint64_t seed,
                            struct mc_circulant_target *t, double ridge, bool choose,
                            int64_t **ret_gather, float *ret_col, double *ret_kept,
                            struct mc_err *err)
{
    double kept, other;
    int rc = mc_circulant_form_fit(f, la, t->second, t->cross, ridge, ret_col, &kept, err);
    *ret_kept = kept;
    /* Not where inputs are padded: OpenVINO 2026.4 moves the Gather into the weight across the Pad, and refuses the model. */
    if (rc || !choose || f->taps > 1 || t->n < 2 * f->b || t->n % f->b)
        return rc;
    int64_t *order = mc_calloc((size_t)t->n, sizeof *order);
    int64_t *back = mc_calloc((size_t)t->n, sizeof *back);
    rc = order && back ? 0 : no_memory(err);
    if (!rc) {
        mc_rng_permute(seed, 0, order, t->n);
        for (int64_t j = 0; j < t->n; j++)
            back[order[j]] = j;
        rc = mc_circulant_target_turn(t, order, err);
    }
    if (!rc)
        rc = mc_circulant_form_fit(f, la, t->second, t->cross, ridge, ret_col, &other, err);
    if (!rc && t->total - other < WORTH_A_GATHER * (t->total - kept)) {
        *ret_gather = order;
        *ret_kept = other;
        order = NULL;
    } else if (!rc) {
        rc = mc_circulant_target_turn(t, back, err);
        if (!rc)
            rc = mc_circulant_form_fit(f, la, t->second, t->cross, ridge, ret_col, &kept, err);
    }
    free(order);
    free(back);
    return rc;
}

/* What W gives for inputs of this covariance. */
static int target_of(struct mc_circulant_run *r, const struct mc_cov *c, bool about_mean,
                     struct mc_circulant_target *t, struct mc_err *err)
{
    int64_t m = t->m, n = t->n;
    const float *second = mc_storage_data(c->second->storage);
    t->second = mc_calloc((size_t)n, (size_t)n * sizeof *t->second);
    t->cross = mc_calloc((size_t)m, (size_t)n * sizeof *t->cross);
    t->mean_x = mc_calloc((size_t)n, sizeof *t->mean_x);
    t->mean_lack = mc_calloc((size_t)m, sizeof *t->mean_lack);
    if (!t->second || !t->cross || !t->mean_x || !t->mean_lack)
        return no_memory(err);
    for (int64_t i = 0; i < n; i++)
        for (int64_t j = 0; j <= i; j++) {
            double mean = about_mean ? 0 : (double)c->mean[i] * c->mean[j];
            t->second[i * n + j] = t->second[j * n + i] = (float)(second[i * n + j] + mean);
        }
    int rc =
        mc_linalg_gemm(r->la, 'n', 'n', m, n, n, 1, t->w, n, t->second, n, 0, t->cross, n, err);
    t->total = 0;
    for (int64_t i = 0; !rc && i < m * n; i++)
        t->total += (double)t->w[i] * t->cross[i];
    return rc;
}

static int turn_by(struct mc_circulant_target *t, const int64_t *order, struct mc_err *err)
{
    return order ? mc_circulant_target_turn(t, order, err) : 0;
}

int mc_circulant_local_fit(struct mc_circulant_run *r, const struct mc_circulant_local *s, size_t i,
                           const struct mc_circulant_form *f, bool choose, int64_t **gather,
                           float *ret_col, double *ret_error, struct mc_err *err)
{
    const struct mc_layer *l = &r->layers.item[i];
    struct mc_circulant_target t = {.m = l->m, .n = l->n};
    double kept;
    int rc = mc_layer_read(l, &t.w, err);
    if (!rc && (!s->cov || !s->cov[i].rows)) {
        mc_circulant_form_nearest(f, t.w, ret_col);
        *ret_error = fmax(0, 1 - mc_circulant_form_energy(f, t.w, ret_col));
        mc_circulant_target_free(&t);
        return 0;
    }
    if (!rc)
        rc = target_of(r, &s->cov[i], l->sites[0].bias, &t, err);
    if (!rc && !choose)
        rc = turn_by(&t, *gather, err);
    double ridge = rc ? 0 : mc_refit_ridge(l->n, s->cov[i].rows * f->b);
    if (!rc)
        rc = mc_circulant_fit_inputs(r->la, f, r->ctx->seed + i, &t, ridge, choose, gather, ret_col,
                                     &kept, err);
    if (!rc)
        *ret_error = t.total > 0 ? fmax(0, t.total - kept) / t.total : 0;
    mc_circulant_target_free(&t);
    return rc;
}
