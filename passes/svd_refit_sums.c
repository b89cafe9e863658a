#include "passes/svd_refit_sums.h"

#include <math.h>
#include <stdlib.h>

#include "graph/constant.h"
#include "passes/layer_rows.h"

enum { BLOCK = 512 };

static int no_memory(struct mc_err *err)
{
    return mc_fail(err, MC_ENOMEM, "out of memory for fitting factors");
}

/* ---- what to fit ---- */

static bool own(const struct mc_value *v)
{
    return v && v->n_uses == 1 && !v->is_output && !v->is_input && mc_constant(v);
}

/* Of m elements, all along its last axis. */
static bool bias_fits(const struct mc_value *v, int64_t m)
{
    if (!own(v))
        return false;
    const struct mc_shape *s = &mc_constant(v)->shape;
    return s->rank > 0 && mc_shape_count(s) == m && s->dim[s->rank - 1] == m;
}

static bool find_matmul(struct mc_node *n, struct mc_refit *f)
{
    const struct mc_shape *w = &mc_constant(n->in[1])->shape;
    if (w->rank != 2)
        return false;
    f->n = w->dim[0];
    f->m = w->dim[1];
    return true;
}

static bool find_gemm(struct mc_node *n, struct mc_refit *f)
{
    const struct mc_shape *w = &mc_constant(n->in[1])->shape;
    f->out_major = mc_node_int(n, "transB", 0) != 0;
    f->m = w->dim[!f->out_major];
    f->n = w->dim[f->out_major];
    if (n->n_in > 2 && n->in[2] && bias_fits(n->in[2], f->m))
        f->bias = n->in[2];
    return w->rank == 2 && !mc_node_int(n, "transA", 0) && mc_node_float(n, "alpha", 1) == 1 &&
           mc_node_float(n, "beta", 1) == 1;
}

static bool find_conv(struct mc_node *n, struct mc_refit *f)
{
    const struct mc_shape *w = &mc_constant(n->in[1])->shape;
    if (w->rank < 3 || w->rank > 5 || mc_node_int(n, "group", 1) != 1)
        return false;
    f->out_major = true;
    f->m = w->dim[0];
    f->n = f->m ? mc_shape_count(w) / f->m : 0;
    if (n->n_in > 2 && n->in[2] && bias_fits(n->in[2], f->m))
        f->bias = n->in[2];
    return true;
}

/* A product whose bias is added by the node behind it. */
static struct mc_node *behind_add(struct mc_node *add, struct mc_value **ret_bias)
{
    for (size_t i = 0; i < 2; i++) {
        struct mc_value *v = add->in[i], *c = add->in[1 - i];
        struct mc_node *p = v ? v->producer : NULL;
        if (p && mc_node_is(p, "MatMul") && v->n_uses == 1 && !v->is_output && c &&
            mc_constant(c)) {
            *ret_bias = c;
            return p;
        }
    }
    return NULL;
}

bool mc_refit_find(struct mc_value *y, struct mc_refit *ret)
{
    struct mc_value *added = NULL;
    struct mc_node *n = y->producer;
    if (n && mc_node_is(n, "Add"))
        n = behind_add(n, &added);
    *ret = (struct mc_refit){.node = n, .y = y};
    if (!n || n->n_in < 2 || !n->in[0] || !own(n->in[1]) || mc_constant(n->in[0]))
        return false;
    ret->weight = n->in[1];
    bool fits = mc_node_is(n, "MatMul") ? find_matmul(n, ret)
                : mc_node_is(n, "Gemm") ? find_gemm(n, ret)
                : mc_node_is(n, "Conv") ? find_conv(n, ret)
                                        : false;
    if (fits && added && bias_fits(added, ret->m))
        ret->bias = added;
    return fits && ret->m > 0 && ret->n > 0;
}

/* ---- sums ---- */

/* Rows of an output: of a convolution [sample, m, positions]. */
static int output_rows(const struct mc_refit *f, const struct mc_array *a, int64_t total,
                       struct mc_rows *r, struct mc_err *err)
{
    int64_t count = mc_shape_count(&a->shape);
    *r = (struct mc_rows){.x = a->data, .n = f->m, .total = count / f->m, .inner = 1};
    if (mc_node_is(f->node, "Conv")) {
        r->columns = true;
        r->inner = count ? count / (a->shape.dim[0] * f->m) : 1;
    }
    if (r->total != total || count % f->m)
        return mc_fail(err, MC_ESHAPE, "%s '%s': the shape of '%s' does not fit its weight",
                       f->node->op_type, mc_node_label(f->node), a->name);
    if (a->dtype != MC_DTYPE_F32) {
        r->own = mc_calloc((size_t)count, sizeof *r->own);
        r->x = r->own;
        return r->own ? mc_dtype_to_f32(a->dtype, a->data, r->own, (size_t)count, err)
                      : no_memory(err);
    }
    return 0;
}

struct batch {
    struct mc_rows t, is, should;
    int64_t first, samples, all;
};

static int begin(struct mc_refit *f, const struct batch *b, struct mc_err *err)
{
    size_t n = (size_t)f->n, m = (size_t)f->m;
    f->shift = mc_calloc(n, sizeof *f->shift);
    f->sum_t = mc_calloc(n, sizeof *f->sum_t);
    f->sum_e = mc_calloc(m, sizeof *f->sum_e);
    f->second = mc_calloc(n, n * sizeof *f->second);
    f->cross = mc_calloc(m, n * sizeof *f->cross);
    float *row = mc_calloc(n, sizeof *row);
    int rc = f->shift && f->sum_t && f->sum_e && f->second && f->cross && row ? 0 : no_memory(err);
    int64_t few = b->t.total < BLOCK ? b->t.total : BLOCK;
    for (int64_t i = 0; !rc && f->bias && i < few; i++) {
        mc_rows_get(&b->t, i * (b->t.total / few), row);
        for (int64_t j = 0; j < f->n; j++)
            f->shift[j] += row[j] / (float)few;
    }
    free(row);
    return rc;
}

/* k rows from number i on, of t less the shift and of e. */
static void fill(struct mc_refit *f, const struct batch *b, int64_t i, int64_t k, float *t,
                 float *e, float *was)
{
    int64_t each = b->t.each ? b->t.each : b->t.total, take = mc_rows_take(&b->t, b->all);
    for (int64_t r = 0; r < k; r++, t += f->n, e += f->m) {
        int64_t s = (i + r) / take;
        int64_t at = s * each + mc_rows_spread(each, take, (i + r) % take, b->first + s);
        mc_rows_get(&b->t, at, t);
        mc_rows_get(&b->should, at, e);
        mc_rows_get(&b->is, at, was);
        for (int64_t j = 0; j < f->n; j++)
            f->sum_t[j] += t[j] -= f->shift[j];
        for (int64_t j = 0; j < f->m; j++)
            f->sum_e[j] += e[j] -= was[j];
    }
}

static int add_rows(struct mc_refit *f, struct mc_linalg *la, const struct batch *b,
                    struct mc_err *err)
{
    int64_t take = mc_rows_take(&b->t, b->all), all = b->t.each ? b->samples * take : take;
    int64_t most = all < BLOCK ? all : BLOCK;
    float *t = mc_calloc((size_t)most, (size_t)f->n * sizeof *t);
    float *e = mc_calloc((size_t)most + 1, (size_t)f->m * sizeof *e);
    int rc = t && e ? 0 : no_memory(err);
    for (int64_t i = 0; !rc && i < all; i += BLOCK) {
        int64_t k = all - i < BLOCK ? all - i : BLOCK;
        fill(f, b, i, k, t, e, e + most * f->m);
        rc = mc_linalg_syrk(la, f->n, k, 1, t, f->n, 1, f->second, f->n, err);
        if (!rc)
            rc = mc_linalg_gemm(la, 't', 'n', f->m, f->n, k, 1, e, f->m, t, f->n, 1, f->cross, f->n,
                                err);
        f->rows += k;
    }
    free(t);
    free(e);
    return rc;
}

int mc_refit_add(struct mc_refit *f, struct mc_linalg *la, const struct mc_array *t,
                 const struct mc_array *is, const struct mc_array *should, int64_t first,
                 int64_t samples, int64_t all, struct mc_err *err)
{
    struct batch b = {.first = first, .samples = samples, .all = all};
    struct mc_cov of = {.node = f->node, .n = f->n};
    int rc = mc_rows_find(&of, t, samples, &b.t, err);
    if (!rc)
        rc = output_rows(f, is, b.t.total, &b.is, err);
    if (!rc)
        rc = output_rows(f, should, b.t.total, &b.should, err);
    if (!rc && b.t.total > 0) {
        rc = f->second ? 0 : begin(f, &b, err);
        if (!rc)
            rc = add_rows(f, la, &b, err);
    }
    free(b.t.own);
    free(b.is.own);
    free(b.should.own);
    return rc;
}

/* ---- the fit ---- */

/* Means about the mean (with a bias) or about 0, and the ridge on the diagonal. False: t is always the same. */
static bool finish(struct mc_refit *f, double ridge)
{
    double rows = (double)f->rows, trace = 0;
    for (int64_t j = 0; j < f->n; j++)
        f->sum_t[j] /= rows;
    for (int64_t j = 0; j < f->m; j++)
        f->sum_e[j] /= rows;
    for (int64_t i = 0; i < f->n; i++) {
        for (int64_t j = 0; j <= i; j++) {
            double mean = f->bias ? f->sum_t[i] * f->sum_t[j] : 0;
            float *s = &f->second[i * f->n + j];
            *s = (float)(*s / rows - mean);
        }
        trace += f->second[i * f->n + i];
    }
    for (int64_t i = 0; i < f->m; i++)
        for (int64_t j = 0; j < f->n; j++) {
            double mean = f->bias ? f->sum_e[i] * f->sum_t[j] : 0;
            float *c = &f->cross[i * f->n + j];
            *c = (float)(*c / rows - mean);
        }
    for (int64_t i = 0; i < f->n; i++)
        f->second[i * f->n + i] += (float)(ridge * trace / (double)f->n);
    return trace > 0;
}

static int replace(struct mc_value *v, const float *x, struct mc_spill *spill, struct mc_err *err)
{
    const struct mc_tensor *old = mc_constant(v);
    struct mc_tensor *t;
    int rc = mc_constant_make(x, &old->shape, old->dtype, spill, &t, err);
    if (rc)
        return rc;
    rc = mc_constant_replace(v, t, err);
    mc_tensor_unref(t);
    return rc;
}

/* As svd_norm.c has it for the same samples. */
double mc_refit_ridge(int64_t n, int64_t rows)
{
    return fmin(1, fmax(1e-3, (double)n / (5 * (double)rows)));
}

/* D is in f->cross. */
static int put(struct mc_refit *f, struct mc_spill *spill, struct mc_err *err)
{
    float *a = NULL, *b = NULL;
    int64_t count;
    int rc = mc_constant_f32(f->weight, &a, &count, err);
    if (!rc && f->bias)
        rc = mc_constant_f32(f->bias, &b, &count, err);
    for (int64_t i = 0; !rc && i < f->m; i++) {
        double d = f->sum_e[i];
        for (int64_t j = 0; j < f->n; j++) {
            float more = f->cross[i * f->n + j];
            a[f->out_major ? i * f->n + j : j * f->m + i] += more;
            d -= more * (f->shift[j] + f->sum_t[j]);
        }
        if (b)
            b[i] += (float)d;
    }
    if (!rc)
        rc = replace(f->weight, a, spill, err);
    if (!rc && b)
        rc = replace(f->bias, b, spill, err);
    free(a);
    free(b);
    return rc;
}

int mc_refit_solve(struct mc_refit *f, struct mc_linalg *la, struct mc_spill *spill,
                   struct mc_err *err)
{
    if (f->rows == 0)
        return mc_fail(err, MC_EDATA, "there are no rows to fit to");
    if (!finish(f, mc_refit_ridge(f->n, f->rows)))
        return mc_fail(err, MC_EDATA, "its input is 0 on all samples");
    int rc = mc_linalg_cholesky(la, f->n, f->second, f->n, err);
    if (!rc)
        rc = mc_linalg_trsm(la, 'r', 't', f->m, f->n, f->second, f->n, f->cross, f->n, err);
    if (!rc)
        rc = mc_linalg_trsm(la, 'r', 'n', f->m, f->n, f->second, f->n, f->cross, f->n, err);
    return rc ? rc : put(f, spill, err);
}

void mc_refit_release(struct mc_refit *f)
{
    free(f->shift);
    free(f->sum_t);
    free(f->sum_e);
    free(f->second);
    free(f->cross);
    *f = (struct mc_refit){0};
}
