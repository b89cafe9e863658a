#include "passes/covariance.h"

#include <stdlib.h>
#include <string.h>

#include "graph/constant.h"
#include "graph/ops/window.h"
#include "graph/run/observe.h"

enum { BLOCK = 512 }; /* rows that are added at once */
enum { ROWS_PER_DIM = 16, ROWS_AT_LEAST = 16384 };

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

/* ---- rows ---- */

struct rows { /* where the rows of one value are */
    const float *x;
    float *own;    /* x where it had to be converted */
    int64_t n;     /* elements of a row */
    int64_t each;  /* rows a sample */
    int64_t total; /* rows in all */
    bool patches;
    bool columns;
    int64_t
        inner; /* columns: elements of one row lie so far apart; parts: rows before another part */
    int64_t part, parts; /* of the states of a cell, or 0 parts */
    struct mc_window_dims w;
    int64_t channels, taken; /* of a patch: those of one group */
};

static int find_window(const struct mc_cov *c, const struct mc_array *a, struct rows *r,
                       struct mc_err *err)
{
    const struct mc_shape *k = &mc_constant(c->node->in[1])->shape;
    int rc = mc_window_infer(c->node, &a->shape, k->dim + 2, &r->w, err);
    if (rc)
        return rc;
    r->patches = true;
    r->channels = a->shape.dim[1];
    r->taken = c->parts ? k->dim[1] : r->channels;
    r->part = c->part;
    if (r->taken * (c->parts ? c->parts : 1) != r->channels)
        return mc_fail(err, MC_ESHAPE, "%s '%s': the shape of '%s' does not fit its weight",
                       c->node->op_type, mc_node_label(c->node), a->name);
    r->total = a->shape.dim[0] * r->w.out[0] * r->w.out[1] * r->w.out[2];
    return 0;
}

/* [.., n, inner], or states [steps, parts, inner, n] ([inner, steps, parts, n] batch first). */
static int find_order(const struct mc_cov *c, const struct mc_array *a, struct rows *r,
                      struct mc_err *err)
{
    int rank = a->shape.rank;
    bool fits = rank >= (c->parts ? 4 : 1);
    r->columns = c->columns;
    r->part = c->part;
    r->parts = c->parts;
    r->inner = 1;
    if (fits && c->columns) {
        r->inner = rank > 1 ? a->shape.dim[rank - 1] : 1;
        fits = a->shape.dim[rank > 1 ? rank - 2 : 0] == c->n;
    } else if (fits && c->parts) {
        bool batch_first = mc_node_int(c->node, "layout", 0) != 0;
        r->inner = batch_first ? 1 : a->shape.dim[2];
        fits = a->shape.dim[batch_first ? 2 : 1] == c->parts;
        r->total /= c->parts;
    }
    return fits ? 0
                : mc_fail(err, MC_ESHAPE, "%s '%s': the shape of '%s' does not fit its weight",
                          c->node->op_type, mc_node_label(c->node), a->name);
}

static int find_rows(const struct mc_cov *c, const struct mc_array *a, int64_t samples,
                     struct rows *r, struct mc_err *err)
{
    int64_t count = mc_shape_count(&a->shape);
    *r = (struct rows){.x = a->data, .n = c->n, .total = count / c->n};
    int rc = mc_node_is(c->node, "Conv") ? find_window(c, a, r, err)
             : c->columns || c->parts    ? find_order(c, a, r, err)
                                         : 0;
    r->each = r->total % samples == 0 ? r->total / samples : 0;
    if (!rc && a->dtype != MC_DTYPE_F32) {
        r->own = mc_calloc((size_t)count, sizeof *r->own);
        r->x = r->own;
        rc = r->own ? mc_dtype_to_f32(a->dtype, a->data, r->own, (size_t)count, err)
                    : no_memory(err);
    }
    return rc;
}

/* Patch number `at` in the order of W's columns: channel, then the window's axes. Outside is 0. */
static void patch(const struct rows *r, int64_t at, float *dst)
{
    const struct mc_window_dims *w = &r->w;
    int64_t o[3], sample = at;
    for (int d = 2; d >= 0; d--) {
        o[d] = sample % w->out[d] * w->stride[d] - w->pad[d];
        sample /= w->out[d];
    }
    const float *x =
        r->x + (sample * r->channels + r->part * r->taken) * w->in[0] * w->in[1] * w->in[2];
    for (int64_t c = 0; c < r->taken; c++, x += w->in[0] * w->in[1] * w->in[2])
        for (int64_t kz = 0; kz < w->kernel[0]; kz++)
            for (int64_t ky = 0; ky < w->kernel[1]; ky++) {
                int64_t iz = o[0] + kz * w->dilation[0], iy = o[1] + ky * w->dilation[1];
                bool inside = iz >= 0 && iz < w->in[0] && iy >= 0 && iy < w->in[1];
                for (int64_t kx = 0; kx < w->kernel[2]; kx++) {
                    int64_t ix = o[2] + kx * w->dilation[2];
                    *dst++ = inside && ix >= 0 && ix < w->in[2]
                                 ? x[(iz * w->in[1] + iy) * w->in[2] + ix]
                                 : 0;
                }
            }
}

static void get_row(const struct rows *r, int64_t at, float *dst)
{
    if (r->patches) {
        patch(r, at, dst);
        return;
    }
    if (r->columns) {
        const float *x = r->x + at / r->inner * r->n * r->inner + at % r->inner;
        for (int64_t j = 0; j < r->n; j++)
            dst[j] = x[j * r->inner];
        return;
    }
    if (r->parts)
        at = (at / r->inner * r->parts + r->part) * r->inner + at % r->inner;
    memcpy(dst, r->x + at * r->n, (size_t)r->n * sizeof *dst);
}

/* Row j of the `take` that sample s gives: evenly spread, starting elsewhere in each sample. */
static int64_t spread(int64_t each, int64_t take, int64_t j, int64_t s)
{
    enum { STEP = 7919 }; /* a prime: in step with no image size */
    return take == each ? j : (j * each / take + s * STEP) % each;
}

/* ---- sums ---- */

static int prepare(struct mc_cov *c, const struct rows *r, const struct mc_cov_opts *opts,
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
        get_row(r, i * (r->total / few), row);
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

static int add_rows(struct gather *g, struct mc_cov *c, const struct rows *r, struct mc_err *err)
{
    int64_t most = ROWS_PER_DIM * c->n > ROWS_AT_LEAST ? ROWS_PER_DIM * c->n : ROWS_AT_LEAST;
    int64_t per = most / g->opts->samples + 1;
    int64_t each = r->each ? r->each : r->total, take = each < per ? each : per;
    int64_t all = r->each ? g->samples * take : take;
    int rc = c->second ? 0 : prepare(c, r, g->opts, err);
    float *x = mc_calloc((size_t)(all < BLOCK ? all : BLOCK), (size_t)c->n * sizeof *x);
    if (!x && !rc)
        rc = no_memory(err);
    for (int64_t i = 0; !rc && i < all; i += BLOCK) {
        int64_t k = all - i < BLOCK ? all - i : BLOCK;
        for (int64_t j = 0; j < k; j++) {
            int64_t s = (i + j) / take;
            get_row(r, s * each + spread(each, take, (i + j) % take, g->first + s), x + j * c->n);
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
    struct rows r;
    if (c->one_hot)
        return count_indices(c, a, g->opts, err);
    int rc = find_rows(c, a, g->samples, &r, err);
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
