#include "passes/svd_norm.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Multiply-accumulates for the influence of all layers together: some seconds. */
static const double INFLUENCE_WORK = 4e11;

/* Ridge on the influence, as a share of its mean diagonal: what few samples did not see costs something
 * too. Of 0.1, 0.3 and 1 the best KL divergence on samples that were not used, reference mlp and cnn. */
static const double OUTPUT_RIDGE = 0.3;

static int no_memory(struct mc_err *err)
{
    return mc_fail(err, MC_ENOMEM, "out of memory");
}

/* ---- measuring ---- */

/* Values inside bodies have no name outside. */
static bool measurable(const struct mc_svd_run *r, size_t i)
{
    const struct mc_svd_layer *l = &r->layers.item[i];
    return !l->reason && l->sites[0].node->graph == r->model->graph;
}

/* Sites with one input share its statistics, except convolutions, whose windows may differ. */
static int find_cov(struct mc_svd_run *r, struct mc_node *node, int64_t n, int *ret,
                    struct mc_err *err)
{
    for (size_t k = 0; k < r->n_covs && !mc_node_is(node, "Conv"); k++)
        if (r->covs[k].node->in[0] == node->in[0] && !mc_node_is(r->covs[k].node, "Conv")) {
            *ret = (int)k;
            return 0;
        }
    if (!MC_GROW(r->covs, r->n_covs, r->cap_covs))
        return no_memory(err);
    r->covs[r->n_covs] = (struct mc_cov){.node = node, .n = n};
    *ret = (int)r->n_covs++;
    return 0;
}

static int find_covs(struct mc_svd_run *r, struct mc_err *err)
{
    for (size_t i = 0; i < r->layers.n; i++) {
        struct mc_svd_layer *l = &r->layers.item[i];
        for (size_t s = 0; measurable(r, i) && s < l->n_sites; s++) {
            int rc = find_cov(r, l->sites[s].node, l->n, &l->sites[s].cov, err);
            if (rc)
                return rc;
        }
    }
    return 0;
}

static int measure_inputs(struct mc_svd_run *r, struct mc_err *err)
{
    int rc = find_covs(r, err);
    struct mc_cov_opts o = {.pool = r->ctx->pool,
                            .progress = r->ctx->progress,
                            .spill = r->model->spill,
                            .samples = r->ctx->calib_count};
    return rc ? rc
              : mc_cov_gather(r->model->graph, r->ctx->calib, r->la, r->covs, r->n_covs, &o, err);
}

static int measure_outputs(struct mc_svd_run *r, struct mc_err *err)
{
    size_t n = 0;
    for (size_t i = 0; i < r->layers.n; i++)
        n += measurable(r, i) ? r->layers.item[i].n_sites : 0;
    r->influence = mc_calloc(n, sizeof *r->influence);
    r->influence_of = mc_calloc(r->layers.n, sizeof *r->influence_of);
    if (!r->influence || !r->influence_of)
        return no_memory(err);
    for (size_t i = 0; i < r->layers.n; i++) {
        const struct mc_svd_layer *l = &r->layers.item[i];
        r->influence_of[i] = r->n_influences;
        for (size_t s = 0; measurable(r, i) && s < l->n_sites; s++)
            r->influence[r->n_influences++] = (struct mc_influence){
                .y = l->sites[s].node->out[0], .axis = l->kind == MC_SVD_CONV ? 1 : -1, .m = l->m};
    }
    struct mc_influence_opts o = {.pool = r->ctx->pool,
                                  .progress = r->ctx->progress,
                                  .spill = r->model->spill,
                                  .samples = r->ctx->calib_count,
                                  .seed = r->ctx->seed,
                                  .work = INFLUENCE_WORK / (double)(n ? n : 1)};
    return mc_influence_measure(r->model, r->ctx->calib, r->la, r->influence, n, &o, err);
}

static void release_influences(struct mc_svd_run *r)
{
    for (size_t k = 0; k < r->n_influences; k++)
        mc_tensor_unref(r->influence[k].cost);
    free(r->influence);
    free(r->influence_of);
    r->influence = NULL;
    r->influence_of = NULL;
    r->n_influences = 0;
}

/* No output that counts in numbers depends on any layer: nothing to tell them apart by. */
static bool no_influence(const struct mc_svd_run *r)
{
    double sum = 0;
    for (size_t k = 0; k < r->n_influences; k++)
        sum += r->influence[k].mean;
    return !(sum > 0);
}

int mc_svd_norm_measure(struct mc_svd_run *r, struct mc_err *err)
{
    bool automatic = r->norm_kind == MC_SVD_NORM_AUTO;
    if (automatic)
        r->norm_kind = r->ctx->calib ? MC_SVD_NORM_OUTPUTS : MC_SVD_NORM_WEIGHTS;
    if (r->norm_kind == MC_SVD_NORM_WEIGHTS)
        return 0;
    int rc = measure_inputs(r, err);
    if (rc == MC_EUNSUP)
        return mc_fail(err, rc, "%s; without --calib its weights can be factorised", err->msg);
    if (rc || r->norm_kind == MC_SVD_NORM_INPUTS)
        return rc;
    rc = measure_outputs(r, err);
    /* What cannot run may lie behind the last layer only. */
    if ((rc == MC_EUNSUP && automatic) || (!rc && no_influence(r))) {
        release_influences(r);
        r->norm_kind = MC_SVD_NORM_INPUTS;
        rc = 0;
    }
    return rc;
}

void mc_svd_norm_release(struct mc_svd_run *r)
{
    for (size_t k = 0; k < r->n_covs; k++)
        mc_cov_release(&r->covs[k]);
    free(r->covs);
    release_influences(r);
}

/* ---- one layer ---- */

static bool centred(const struct mc_svd_layer *l)
{
    for (size_t s = 0; s < l->n_sites; s++)
        if (l->sites[s].cov < 0 || !l->sites[s].bias)
            return false;
    return true;
}

const float *mc_svd_norm_mean(const struct mc_svd_run *r, size_t i, size_t site)
{
    const struct mc_svd_layer *l = &r->layers.item[i];
    return r->n_covs && centred(l) ? r->covs[l->sites[site].cov].mean : NULL;
}

/* a += ridge * mean of its diagonal on the diagonal; then its Cholesky factor. NULL in *t if a is 0.
 * Rounding can leave a matrix that is not positive definite: then with more. */
static int factorise(const struct mc_svd_run *r, struct mc_tensor **t, int64_t n, double ridge,
                     struct mc_err *err)
{
    float *a = mc_storage_data((*t)->storage);
    double trace = 0;
    for (int64_t i = 0; i < n; i++)
        trace += a[i * n + i];
    float more = (float)(ridge * trace / (double)n);
    for (int64_t i = 0; i < n; i++)
        a[i * n + i] += more;
    if (more > 0)
        return mc_linalg_cholesky(r->la, n, a, n, err);
    mc_tensor_unref(*t);
    *t = NULL;
    return 0;
}

/* Pooled over the sites. The ridge grows with what rows are lacking: n/(5 rows), the best of several
 * constants for the reference mlp and cnn with 512 samples. */
static int norm_in(const struct mc_svd_run *r, const struct mc_svd_layer *l, struct mc_tensor **ret,
                   struct mc_err *err)
{
    struct mc_shape shape = mc_shape_of(2, (int64_t[]){l->n, l->n});
    void *data;
    int rc = mc_tensor_new(MC_DTYPE_F32, &shape, r->model->spill, ret, &data, err);
    if (rc)
        return rc;
    float *a = data;
    bool about_mean = centred(l);
    double rows = 0;
    for (size_t s = 0; s < l->n_sites; s++)
        rows += (double)r->covs[l->sites[s].cov].rows;
    for (size_t s = 0; s < l->n_sites; s++) {
        const struct mc_cov *c = &r->covs[l->sites[s].cov];
        const float *second = mc_storage_data(c->second->storage);
        double share = (double)c->rows / rows;
        for (int64_t i = 0; i < l->n; i++)
            for (int64_t j = 0; j <= i; j++) {
                double mean = about_mean ? 0 : (double)c->mean[i] * c->mean[j];
                a[i * l->n + j] += (float)(share * (second[i * l->n + j] + mean));
            }
    }
    double ridge = fmin(1, fmax(1e-3, (double)l->n / (5 * rows)));
    return factorise(r, ret, l->n, ridge, err);
}

static int norm_out(const struct mc_svd_run *r, size_t i, struct mc_tensor **ret,
                    struct mc_err *err)
{
    const struct mc_svd_layer *l = &r->layers.item[i];
    const struct mc_influence *inf = r->influence + r->influence_of[i];
    struct mc_shape shape = mc_shape_of(2, (int64_t[]){l->m, l->m});
    for (size_t s = 0; s < l->n_sites; s++)
        if (!inf[s].cost)
            return 0;
    void *data;
    int rc = mc_tensor_new(MC_DTYPE_F32, &shape, r->model->spill, ret, &data, err);
    if (rc)
        return rc;
    float *a = data;
    for (size_t s = 0; s < l->n_sites; s++) {
        const float *cost = mc_storage_data(inf[s].cost->storage);
        for (int64_t k = 0; k < l->m; k++)
            for (int64_t j = 0; j <= k; j++)
                a[k * l->m + j] += cost[k * l->m + j];
    }
    return factorise(r, ret, l->m, OUTPUT_RIDGE, err);
}

int mc_svd_norm_of(const struct mc_svd_run *r, size_t i, struct mc_svd_norm *ret,
                   struct mc_svd_norm_hold *ret_hold, struct mc_err *err)
{
    *ret = (struct mc_svd_norm){0};
    *ret_hold = (struct mc_svd_norm_hold){0};
    int rc = 0;
    if (r->n_covs && measurable(r, i))
        rc = norm_in(r, &r->layers.item[i], &ret_hold->in, err);
    if (!rc && r->n_influences && measurable(r, i))
        rc = norm_out(r, i, &ret_hold->out, err);
    if (rc) {
        mc_svd_norm_free(ret_hold);
        return rc;
    }
    ret->in = ret_hold->in ? mc_storage_data(ret_hold->in->storage) : NULL;
    ret->out = ret_hold->out ? mc_storage_data(ret_hold->out->storage) : NULL;
    return 0;
}

void mc_svd_norm_free(struct mc_svd_norm_hold *h)
{
    mc_tensor_unref(h->in);
    mc_tensor_unref(h->out);
    *h = (struct mc_svd_norm_hold){0};
}

double mc_svd_norm_worth(const struct mc_svd_run *r, size_t i, double total)
{
    if (!r->n_influences || !measurable(r, i))
        return 1;
    const struct mc_influence *inf = r->influence + r->influence_of[i];
    double mean = 0;
    bool in_total = true; /* the norm holds the influence already */
    for (size_t s = 0; s < r->layers.item[i].n_sites; s++) {
        mean += inf[s].mean;
        in_total = in_total && inf[s].cost;
    }
    return in_total ? total : total * mean;
}
