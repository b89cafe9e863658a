/* Convolution filters: K of them in place of M, gathered to M channels again, with a scale for each. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "graph/constant.h"
#include "graph/edit.h"
#include "passes/layer/layer_row.h"
#include "passes/share/share_cluster.h"
#include "passes/share/share_run.h"

struct fit { /* of one layer */
    int64_t m, n, k;
    int32_t *of;
    float *part, *scale, *q; /* q [m,n]: what stands for the filters */
    float *filter;           /* [k,n] */
    double error, total;
    uint64_t bytes;
};

static int no_memory(struct mc_err *err)
{
    return mc_fail(err, MC_ENOMEM, "out of memory for filters");
}

/* ---- which layers ---- */

/* NULL where filters of the weight can be shared; *ret_conv: it is one of a convolution. */
static const char *why_not(const struct mc_share_run *r, const struct mc_share_weight *w,
                           double keep, struct fit *f, bool *ret_conv)
{
    const struct mc_node *n = w->node;
    *ret_conv = mc_node_is(n, "Conv");
    if (!*ret_conv)
        return "not a convolution";
    if (w->reason)
        return w->reason;
    if (n->graph->function)
        return "convolutions in functions are left";
    if (w->tensor->dtype != MC_DTYPE_F32)
        return "filters of its type cannot be shared";
    if (mc_node_int(n, "group", 1) != 1)
        return "filters of different groups read different channels";
    if (w->layer < 0 || r->norm.layers.item[w->layer].n_sites != 1)
        return "several nodes read its filters";
    if (n->n_in > 2 && n->in[2] && !mc_constant(n->in[2]))
        return "its bias is computed";
    *f = (struct fit){.m = w->m, .n = w->n, .k = (int64_t)ceil(keep * (double)w->m - 1e-9)};
    f->k = f->k < 1 ? 1 : f->k;
    f->bytes = 4 * (uint64_t)(f->k * f->n) + 12 * (uint64_t)f->m; /* filters, scales, indices */
    if (f->k >= f->m)
        return "it keeps all of its filters";
    return f->bytes + 400 < w->tensor->bytes
               ? NULL
               : "fewer filters and their indices would not be smaller";
}

/* ---- fitting ---- */

/* gram [m,m] = X Xᵀ, X = sqrt(g) w K. */
static int products(struct mc_linalg *la, const struct mc_share_matrix *x, float **ret,
                    struct mc_err *err)
{
    int64_t m = x->m, n = x->n;
    float *y = mc_calloc((size_t)m, (size_t)n * sizeof *y),
          *gram = mc_calloc((size_t)m, (size_t)m * sizeof *gram);
    int rc = y && gram ? 0 : no_memory(err);
    if (!rc && x->k)
        rc = mc_linalg_gemm(la, 'n', 'n', m, n, n, 1, x->w, n, x->k[0], n, 0, y, n, err);
    else if (!rc)
        memcpy(y, x->w, (size_t)(m * n) * sizeof *y);
    for (int64_t i = 0; !rc && x->g && i < m; i++)
        for (int64_t j = 0; j < n; j++)
            y[i * n + j] *= sqrtf(x->g[i]);
    if (!rc)
        rc = mc_linalg_gemm(la, 'n', 't', m, m, n, 1, y, n, y, n, 0, gram, m, err);
    free(y);
    if (rc)
        free(gram);
    else
        *ret = gram;
    return rc;
}

/* Filters from the parts of the rows, in units of the weights: x_i = root_i w_i K, so w_i ≈ scale_i / root_i c. */
static void compose(const struct mc_share_matrix *x, struct fit *f)
{
    for (int64_t i = 0; i < f->m; i++) {
        double root = x->g ? sqrt((double)x->g[i]) : 1;
        float *c = f->filter + f->of[i] * f->n;
        for (int64_t j = 0; j < f->n; j++)
            c[j] += (float)((double)f->part[i] * root) * x->w[i * f->n + j];
        f->scale[i] = root > 0 ? (float)((double)f->scale[i] / root) : 0;
    }
    for (int64_t k = 0; k < f->k;
         k++) { /* scales around 1: what is trained then is as large as before */
        double sum = 0;
        int64_t n = 0;
        for (int64_t i = 0; i < f->m; i++)
            if (f->of[i] == k) {
                sum += (double)f->scale[i] * (double)f->scale[i];
                n++;
            }
        float size = sum > 0 ? (float)sqrt(sum / (double)n) : 1;
        for (int64_t j = 0; j < f->n; j++)
            f->filter[k * f->n + j] *= size;
        for (int64_t i = 0; i < f->m; i++)
            f->scale[i] /= f->of[i] == k ? size : 1;
    }
    for (int64_t i = 0; i < f->m; i++)
        for (int64_t j = 0; j < f->n; j++)
            f->q[i * f->n + j] = f->scale[i] * f->filter[f->of[i] * f->n + j];
}

static int make(struct mc_share_run *r, const struct mc_share_weight *w, struct fit *f,
                struct mc_err *err)
{
    struct mc_share_view v;
    float *gram = NULL;
    int rc = mc_share_view(r, w, &v, err);
    if (rc)
        return rc;
    f->of = mc_calloc((size_t)f->m, sizeof *f->of);
    f->part = mc_calloc((size_t)f->m, 2 * sizeof *f->part);
    f->q = mc_calloc((size_t)(f->m + f->k), (size_t)f->n * sizeof *f->q);
    rc = f->of && f->part && f->q ? products(r->norm.la, &v.x, &gram, err) : no_memory(err);
    if (!rc) {
        f->scale = f->part + f->m;
        f->filter = f->q + f->m * f->n;
        for (int64_t i = 0; i < f->m; i++)
            f->total += (double)gram[i * f->m + i];
        rc = mc_share_cluster(gram, f->m, f->k, true, r->ctx->seed, f->of, f->part, f->scale,
                              &f->error, err);
    }
    if (!rc)
        compose(&v.x, f);
    free(gram);
    mc_share_view_free(&v);
    return rc;
}

/* ---- the file ---- */

static int floats(struct mc_graph *g, const char *hint, const char *suffix,
                  const struct mc_shape *shape, const float *x, struct mc_value **ret,
                  struct mc_err *err)
{
    char name[1024];
    struct mc_tensor *t;
    snprintf(name, sizeof name, "%.900s%s", hint, suffix);
    int rc = mc_constant_make(x, shape, MC_DTYPE_F32, g->model->spill, &t, err);
    if (rc)
        return rc;
    *ret = mc_edit_constant(g, name, t);
    mc_tensor_unref(t);
    return *ret ? 0 : no_memory(err);
}

static int indices(struct mc_graph *g, const char *hint, const struct fit *f, struct mc_value **ret,
                   struct mc_err *err)
{
    char name[1024];
    struct mc_tensor *t;
    void *data;
    struct mc_shape shape = mc_shape_of(1, &f->m);
    snprintf(name, sizeof name, "%.900s_of", hint);
    int rc = mc_tensor_new(MC_DTYPE_I64, &shape, g->model->spill, &t, &data, err);
    if (rc)
        return rc;
    for (int64_t i = 0; i < f->m; i++)
        ((int64_t *)data)[i] = f->of[i];
    *ret = mc_edit_constant(g, name, t);
    mc_tensor_unref(t);
    return *ret ? 0 : no_memory(err);
}

static int behind(struct mc_graph *g, size_t pos, const char *op, struct mc_value *a,
                  struct mc_value *b, struct mc_value **x, struct mc_node **ret, struct mc_err *err)
{
    struct mc_value *in[2] = {a, b};
    *x = mc_edit_fresh(g, a->name);
    return *x ? mc_edit_node(g, pos, op, "", 0, "", in, 2, x, 1, ret, err) : no_memory(err);
}

/* y = Conv(x, filters) -> Gather -> Mul -> Add: whatever read the convolution reads the last of them. */
static int place(const struct mc_share_weight *w, const struct fit *f, const float *bias,
                 struct mc_err *err)
{
    struct mc_node *conv = w->node, *gather, *last;
    struct mc_graph *g = conv->graph;
    struct mc_value *y = conv->out[0], *filter, *of, *scale, *add = NULL, *x = y;
    struct mc_shape shape = w->tensor->shape;
    const char *hint = mc_share_base(w->value)->name;
    size_t pos = conv->pos + 1;
    shape.dim[0] = f->k;
    int rc = floats(g, hint, "_filters", &shape, f->filter, &filter, err);
    shape.rank--; /* [m,1,1] against [batch, m, h, w] */
    for (int i = 0; i < shape.rank; i++)
        shape.dim[i] = i ? 1 : f->m;
    if (!rc)
        rc = floats(g, hint, "_scale", &shape, f->scale, &scale, err);
    if (!rc && bias)
        rc = floats(g, hint, "_bias", &shape, bias, &add, err);
    if (!rc)
        rc = indices(g, hint, f, &of, err);
    if (!rc)
        rc = behind(g, pos++, "Gather", y, of, &x, &gather, err);
    if (!rc)
        rc = mc_edit_attr_int(gather, "axis", 1, err);
    if (!rc)
        rc = behind(g, pos++, "Mul", x, scale, &x, &last, err);
    if (!rc && bias)
        rc = behind(g, pos++, "Add", x, add, &x, &last, err);
    if (!rc)
        rc = mc_edit_replace_uses(y, x, err);
    if (!rc)
        rc = mc_edit_set_input(gather, 0, conv->out[0], err);
    if (!rc)
        rc = mc_edit_set_input(conv, 1, filter, err);
    if (!rc && conv->n_in > 2)
        rc = mc_edit_set_input(conv, 2, NULL, err);
    if (!rc && !mc_edit_type(conv->out[0], MC_DTYPE_NONE, -1, NULL)) /* it has fewer channels now */
        rc = no_memory(err);
    return rc;
}

/* The bias, and what the mean output would lose; NULL where there is neither. */
static int make_bias(struct mc_share_run *r, size_t at, const struct fit *f, float **ret,
                     struct mc_err *err)
{
    const struct mc_share_weight *weight = &r->weight[at];
    const struct mc_node *n = weight->node;
    bool has = n->n_in > 2 && n->in[2];
    float *have = NULL, *w = NULL, *b = mc_calloc((size_t)f->m, sizeof *b);
    int64_t count = 0;
    int rc = b ? mc_share_read(r, weight, &w, err) : no_memory(err);
    if (!rc && has)
        rc = mc_constant_f32(n->in[2], &have, &count, err);
    if (!rc && has && count != f->m)
        rc = mc_fail(err, MC_ESHAPE, "Conv '%s': its bias has %lld elements, must have %lld",
                     mc_node_label(n), (long long)count, (long long)f->m);
    bool mean = !rc && mc_share_mean_shift(r, at, 0, w, f->q, b);
    for (int64_t i = 0; !rc && has && i < f->m; i++)
        b[i] += have[i];
    free(have);
    free(w);
    if (rc || (!has && !mean)) {
        free(b);
        b = NULL;
    }
    *ret = b;
    return rc;
}

static int report(struct mc_share_job *job, const struct mc_share_weight *w, const struct fit *f,
                  const char *why, struct mc_err *err)
{
    bool ok = true;
    char choice[64];
    json_t *o = mc_layer_row(w->node, "shared", why, &ok);
    snprintf(choice, sizeof choice, "%lld of %lld", (long long)f->k, (long long)w->m);
    mc_json_put(o, "weight", mc_json_text(w->value->name), &ok);
    mc_json_put(o, "rows", json_integer(w->m), &ok);
    mc_json_put(o, "columns", json_integer(w->n), &ok);
    mc_json_put(o, "form", why ? json_null() : json_string("filters"), &ok);
    mc_json_put(o, "choice", why ? json_null() : json_string(choice), &ok);
    mc_json_put(o, "bytes_before", mc_json_size(w->tensor->bytes), &ok);
    mc_json_put(o, "bytes_after", mc_json_size(why ? w->tensor->bytes : f->bytes), &ok);
    mc_json_put(o, "error",
                mc_json_real(why || f->total <= 0 ? NAN : sqrt(fmax(0, f->error) / f->total)), &ok);
    mc_json_add(job->rows, o, &ok);
    return ok ? 0 : no_memory(err);
}

/* ---- all ---- */

static int share(struct mc_share_job *job, struct mc_share_run *r, size_t i, struct fit *f,
                 struct mc_err *err)
{
    float *bias = NULL;
    int rc = make(r, &r->weight[i], f, err);
    if (!rc)
        rc = report(job, &r->weight[i], f, NULL, err);
    if (!rc)
        rc = make_bias(r, i, f, &bias, err);
    if (!rc)
        rc = place(&r->weight[i], f, bias, err);
    free(bias);
    free(f->of);
    free(f->part);
    free(f->q);
    return rc;
}

int mc_share_filters(struct mc_share_job *job, double keep, struct mc_err *err)
{
    struct mc_share_run r;
    struct fit f = {0};
    const char *last = "the model has no convolution";
    size_t shared = 0;
    bool conv;
    int rc = mc_share_open(job, false, &r, err);
    for (size_t i = 0; !rc && i < r.n_weights; i++) {
        const char *why = why_not(&r, &r.weight[i], keep, &f, &conv);
        shared += !why;
        last = conv && why ? why : last;
    }
    if (!rc && !shared && keep < 1)
        rc = mc_fail(err, MC_EUNSUP, "--filters finds no convolution to share the filters of: %s",
                     last);
    if (!rc && shared && !job->ctx->dry_run)
        rc = mc_share_measure(&r, err);
    for (size_t i = 0; !rc && i < r.n_weights; i++) {
        const char *why = why_not(&r, &r.weight[i], keep, &f, &conv);
        mc_progress_tell(job->ctx->progress, "filters", (double)i, (double)r.n_weights);
        if (!why)
            rc = share(job, &r, i, &f, err);
        else if (conv)
            rc = report(job, &r.weight[i], &f, why, err);
    }
    mc_share_close(&r);
    if (!rc)
        mc_edit_sweep(job->model->graph);
    return rc;
}
