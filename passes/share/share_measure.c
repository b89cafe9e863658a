/* Norms of the weights: those that svd measures, read the other way round. */
#include <math.h>
#include <stdlib.h>

#include "passes/share/share_run.h"
#include "passes/svd/svd_norm.h"

static int no_memory(struct mc_err *err)
{
    return mc_fail(err, MC_ENOMEM, "out of memory");
}

int mc_share_measure(struct mc_share_run *r, struct mc_err *err)
{
    int rc = mc_layers_extents(r->model, &r->norm.layers, err);
    if (rc || !r->ctx->calib)
        return rc;
    rc = mc_svd_norm_measure(&r->norm, err);
    if (rc == MC_EUNSUP) { /* the model cannot run here: weights count alike */
        mc_svd_norm_release(&r->norm);
        r->norm.covs = NULL;
        r->norm.n_covs = r->norm.cap_covs = 0;
        r->norm.probe = (struct mc_svd_probe){0};
        return 0;
    }
    r->measured = !rc;
    return rc;
}

/* Of rows of one part: g from L, L Lᵀ = G. */
static void take_rows(const float *out, int64_t m, float *g)
{
    for (int64_t i = 0; i < m; i++) {
        g[i] = 0;
        for (int64_t l = 0; l <= i; l++)
            g[i] += out[i * m + l] * out[i * m + l];
    }
}

static int take_norms(struct mc_share_run *r, size_t layer, int64_t parts, struct mc_share_view *v,
                      struct mc_err *err)
{
    int64_t rows = v->x.m / parts;
    bool in = true, out = true;
    v->k = mc_calloc((size_t)parts, sizeof *v->k);
    v->g = mc_calloc((size_t)v->x.m + 1, sizeof *v->g);
    v->hold = mc_calloc((size_t)parts, sizeof *v->hold);
    if (!v->k || !v->g || !v->hold)
        return no_memory(err);
    v->x.parts = parts;
    for (int64_t p = 0; p < parts; p++) {
        struct mc_svd_norm norm;
        int rc = mc_svd_norm_of_part(&r->norm, layer, p, &norm, &v->hold[p], err);
        if (rc)
            return rc;
        v->k[p] = norm.in;
        v->x.k_diagonal = norm.in_diagonal;
        in = in && norm.in;
        out = out && norm.out;
        if (norm.out)
            take_rows(norm.out, rows, v->g + p * rows);
    }
    v->x.k = in ? v->k : NULL;
    v->x.g = out ? v->g : NULL;
    v->worth = mc_svd_norm_worth(&r->norm, layer, 1);
    return 0;
}

int mc_share_view(struct mc_share_run *r, const struct mc_share_weight *w,
                  struct mc_share_view *ret, struct mc_err *err)
{
    struct mc_share_view v = {.x = {.m = w->m, .n = w->n, .parts = 1}, .worth = 1};
    int rc = mc_share_read(r, w, &v.w, err);
    v.x.w = v.w;
    if (!rc && w->layer >= 0 && r->measured && mc_svd_norm_measurable(&r->norm, (size_t)w->layer))
        rc = take_norms(r, (size_t)w->layer, r->norm.layers.item[w->layer].parts, &v, err);
    if (rc)
        mc_share_view_free(&v);
    else
        *ret = v;
    return rc;
}

void mc_share_view_free(struct mc_share_view *v)
{
    for (int64_t p = 0; v->hold && p < v->x.parts; p++)
        mc_svd_norm_free(&v->hold[p]);
    free(v->hold);
    free(v->k);
    free(v->g);
    free(v->w);
    *v = (struct mc_share_view){0};
}
