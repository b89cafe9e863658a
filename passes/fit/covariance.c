#include "passes/fit/covariance.h"

#include <stdlib.h>
#include <string.h>

#include "graph/run/observe.h"
#include "passes/fit/layer_rows.h"

enum { BLOCK = 512 }; /* rows that are added at once */

struct gather {
    struct mc_linalg *la;
    struct mc_cov *covs;
    size_t n;
    const struct mc_cov_opts *opts;
    /* of the batch at hand */
    const struct mc_array *const *values;
    int64_t first, samples;
    int *rc;
    struct mc_err *errs;
};

static int no_memory(struct mc_err *err)
{
    return mc_fail(err, MC_ENOMEM, "out of memory for covariances");
}

/* ---- sums ---- */

static int prepare(struct mc_cov *c, const struct mc_rows *r, const struct mc_cov_opts *opts,
                   struct mc_err *err)
{
    struct mc_shape shape = mc_shape_of(2, (int64_t[]){c->n, c->n});
    c->shift = mc_calloc((size_t)c->n, sizeof *c->shift);
    c->mean = mc_calloc((size_t)c->n, sizeof *c->mean);
    c->sum = mc_calloc((size_t)c->n, sizeof *c->sum);
    float *row = mc_calloc((size_t)c->n, sizeof *row);
    int rc = c->shift && c->mean && c->sum && row ? 0 : no_memory(err);
    if (!rc)
        rc = mc_tensor_new(MC_DTYPE_F32, &shape, opts->spill, &c->second, NULL, err);
    int64_t few = r->total < BLOCK ? r->total : BLOCK;
    for (int64_t i = 0; !rc && i < few; i++) {
        mc_rows_get(r, i * (r->total / few), row);
        for (int64_t j = 0; j < c->n; j++)
            c->shift[j] += row[j] / (float)few;
    }
    free(row);
    return rc;
}

static int add_block(struct gather *g, struct mc_cov *c, float *x, int64_t k, struct mc_err *err)
{
    for (int64_t i = 0; i < k; i++)
        for (int64_t j = 0; j < c->n; j++) {
            x[i * c->n + j] -= c->shift[j];
            c->sum[j] += x[i * c->n + j];
        }
    c->rows += k;
    return mc_linalg_syrk(g->la, c->n, k, 1, x, c->n, 1, mc_storage_data(c->second->storage), c->n,
                          err);
}

static int add_rows(struct gather *g, struct mc_cov *c, const struct mc_rows *r, struct mc_err *err)
{
    int64_t each = r->each ? r->each : r->total, take = mc_rows_take(r, g->opts->samples);
    int64_t all = r->each ? g->samples * take : take;
    int rc = c->second ? 0 : prepare(c, r, g->opts, err);
    float *x = mc_calloc((size_t)(all < BLOCK ? all : BLOCK), (size_t)c->n * sizeof *x);
    if (!x && !rc)
        rc = no_memory(err);
    for (int64_t i = 0; !rc && i < all; i += BLOCK) {
        int64_t k = all - i < BLOCK ? all - i : BLOCK;
        for (int64_t j = 0; j < k; j++) {
            int64_t s = (i + j) / take;
            mc_rows_get(r, s * each + mc_rows_spread(each, take, (i + j) % take, g->first + s),
                        x + j * c->n);
        }
        rc = add_block(g, c, x, k, err);
    }
    free(x);
    return rc;
}

/* ---- indices ---- */

/* Negative ones count from the end, as in Gather. */
static int count_indices(struct mc_cov *c, const struct mc_array *a, const struct mc_cov_opts *opts,
                         struct mc_err *err)
{
    struct mc_shape shape = mc_shape_of(1, &c->n);
    int64_t count = mc_shape_count(&a->shape);
    if (a->dtype != MC_DTYPE_I64 && a->dtype != MC_DTYPE_I32)
        return mc_fail(err, MC_EDTYPE, "%s '%s': its indices are no integers", c->node->op_type,
                       mc_node_label(c->node));
    if (!c->second) {
        c->mean = mc_calloc((size_t)c->n, sizeof *c->mean);
        c->sum = mc_calloc((size_t)c->n, sizeof *c->sum);
        int rc = c->mean && c->sum
                     ? mc_tensor_new(MC_DTYPE_F32, &shape, opts->spill, &c->second, NULL, err)
                     : no_memory(err);
        if (rc)
            return rc;
    }
    for (int64_t i = 0; i < count; i++) {
        int64_t at = a->dtype == MC_DTYPE_I64 ? ((const int64_t *)a->data)[i]
                                              : ((const int32_t *)a->data)[i];
        at += at < 0 ? c->n : 0;
        if (at >= 0 && at < c->n) /* running reports others */
            c->sum[at]++;
    }
    c->rows += count;
    return 0;
}

static int add_batch(struct gather *g, struct mc_cov *c, const struct mc_array *a,
                     struct mc_err *err)
{
    struct mc_rows r;
    if (c->one_hot)
        return count_indices(c, a, g->opts, err);
    int rc = mc_rows_find(c, a, g->samples, &r, err);
    if (!rc && r.total > 0)
        rc = add_rows(g, c, &r, err);
    free(r.own);
    if (rc != MC_EDATA)
        return rc;
    return mc_fail(err, rc,
                   "%s '%s': its input is NaN or infinite for one of the calibration samples "
                   "%lld to %lld",
                   c->node->op_type, mc_node_label(c->node), (long long)g->first,
                   (long long)(g->first + g->samples - 1));
}

static void one(void *ctx, int64_t i, int worker)
{
    (void)worker;
    struct gather *g = ctx;
    g->rc[i] = add_batch(g, &g->covs[i], g->values[i], &g->errs[i]);
}

static int batch(void *ctx, const struct mc_array *const *values, int64_t first,
                 const struct mc_batch *b, struct mc_err *err)
{
    struct gather *g = ctx;
    g->values = values;
    g->first = first;
    g->samples = b->n;
    mc_pool_run(g->opts->pool, (int64_t)g->n, one, g);
    for (size_t i = 0; i < g->n; i++)
        if (g->rc[i])
            return mc_fail(err, g->rc[i], "%s", g->errs[i].msg);
    return 0;
}

/* C = S / rows - d dᵀ, where d is what the mean differs from the shift by. */
static void finish(struct mc_cov *c)
{
    float *s = mc_storage_data(c->second->storage);
    double rows = (double)c->rows;
    if (c->one_hot) {
        for (int64_t i = 0; i < c->n; i++)
            c->mean[i] = s[i] = (float)(c->sum[i] / rows);
        return;
    }
    for (int64_t i = 0; i < c->n; i++) {
        c->sum[i] /= rows;
        for (int64_t j = 0; j <= i; j++)
            s[i * c->n + j] = (float)(s[i * c->n + j] / rows - c->sum[i] * c->sum[j]);
    }
    for (int64_t i = 0; i < c->n; i++)
        c->mean[i] = (float)(c->shift[i] + c->sum[i]);
}

int mc_cov_gather(const struct mc_graph *graph, struct mc_dataset *data, struct mc_linalg *la,
                  struct mc_cov *covs, size_t n, const struct mc_cov_opts *opts, struct mc_err *err)
{
    struct gather g = {.la = la, .covs = covs, .n = n, .opts = opts};
    const char **names = mc_calloc(n, sizeof *names);
    g.rc = mc_calloc(n, sizeof *g.rc);
    g.errs = mc_calloc(n, sizeof *g.errs);
    int rc = names && g.rc && g.errs ? 0 : no_memory(err);
    for (size_t i = 0; !rc && i < n; i++)
        names[i] = (covs[i].x ? covs[i].x : covs[i].node->in[0])->name;
    struct mc_observe_opts run = {.pool = opts->pool,
                                  .count = opts->samples,
                                  .progress = opts->progress,
                                  .what = "covariances"};
    if (!rc && n)
        rc = mc_observe(graph, data, names, n, &run, batch, &g, NULL, err);
    for (size_t i = 0; !rc && i < n; i++)
        if (covs[i].rows == 0)
            rc = mc_fail(err, MC_EDATA, "%s '%s': calibration gives it no input",
                         covs[i].node->op_type, mc_node_label(covs[i].node));
        else
            finish(&covs[i]);
    free(names);
    free(g.rc);
    free(g.errs);
    return rc;
}

void mc_cov_release(struct mc_cov *c)
{
    free(c->mean);
    free(c->shift);
    free(c->sum);
    mc_tensor_unref(c->second);
    *c = (struct mc_cov){0};
}
