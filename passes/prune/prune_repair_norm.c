#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/interrupt.h"
#include "base/mem.h"
#include "graph/constant.h"
#include "passes/prune/prune_repair_parts.h"

/* y, the norm's result, is scale times something plus shift, channel by channel, so the p and q that minimise
 * |should - y - (p y + q)|² give a better scale and shift: two unknowns a channel. */

enum { FOLDS = 2 };

struct sums { /* of a channel in a half of the samples */
    double rows, y, yy, e, ye, ee;
    double x, xx; /* about the running mean */
};

struct norm {
    struct mc_repair *r;
    struct mc_node *n;
    struct mc_value *x; /* of BatchNormalization, otherwise NULL */
    struct mc_value *scale, *shift, *mean, *var;
    float *a, *b, *mu, *sigma; /* their contents; sigma is the variance */
    int64_t channels;
    int behind;     /* axes of y behind the channels: -1, all but two */
    struct sums *s; /* [FOLDS][channels] */
    struct mc_repair_view view;
};

static bool own(const struct mc_value *v, int64_t channels)
{
    if (!v || v->n_uses != 1 || v->is_output || v->is_input || !mc_constant(v))
        return false;
    const struct mc_shape *s = &mc_constant(v)->shape;
    return s->rank == 1 && (channels < 0 || s->dim[0] == channels);
}

static struct mc_value *at(const struct mc_node *n, size_t i)
{
    return i < n->n_in ? n->in[i] : NULL;
}

static bool find(struct mc_node *n, struct norm *f)
{
    size_t first = 1;
    bool batch = mc_node_is(n, "BatchNormalization");
    f->n = n;
    if (batch || mc_node_is(n, "InstanceNormalization"))
        f->behind = -1;
    else if (!strcmp(n->op_type, "SkipLayerNormalization") ||
             !strcmp(n->op_type, "SkipSimplifiedLayerNormalization"))
        first = 2;
    else if (strcmp(n->op_type, "LayerNormalization") && strcmp(n->op_type, "RMSNormalization") &&
             strcmp(n->op_type, "SimplifiedLayerNormalization"))
        return false;
    f->scale = at(n, first);
    if (!own(f->scale, -1) || !n->n_out || !n->out[0])
        return false;
    f->channels = mc_constant(f->scale)->shape.dim[0];
    f->shift = own(at(n, first + 1), f->channels) && strncmp(n->op_type, "RMS", 3) &&
                       !strstr(n->op_type, "Simplified")
                   ? at(n, first + 1)
                   : NULL;
    if (batch) {
        f->x = n->in[0];
        f->mean = at(n, 3);
        f->var = at(n, 4);
    }
    return !batch || (f->shift && own(f->mean, f->channels) && own(f->var, f->channels) &&
                      !mc_node_int(n, "training_mode", 0));
}

static int load(struct norm *f, struct mc_err *err)
{
    struct mc_value *v[] = {f->scale, f->shift, f->mean, f->var};
    float **x[] = {&f->a, &f->b, &f->mu, &f->sigma};
    int64_t count;
    int rc = 0;
    for (int i = 0; !rc && i < 4; i++) {
        if (v[i])
            rc = mc_constant_f32(v[i], x[i], &count, err);
        if (!rc)
            rc = mc_repair_keep(f->r, v[i], err);
    }
    f->s = mc_calloc((size_t)f->channels, FOLDS * sizeof *f->s);
    return rc ? rc : f->s ? 0 : mc_fail(err, MC_ENOMEM, "out of memory");
}

/* ---- sums ---- */

struct numbers { /* an array as float */
    const float *x;
    float *own;
};

static int as_f32(const struct mc_array *a, struct numbers *ret, struct mc_err *err)
{
    size_t count = (size_t)mc_shape_count(&a->shape);
    *ret = (struct numbers){.x = a->data};
    if (a->dtype == MC_DTYPE_F32)
        return 0;
    ret->own = mc_calloc(count + 1, sizeof *ret->own);
    ret->x = ret->own;
    return ret->own ? mc_dtype_to_f32(a->dtype, a->data, ret->own, count, err)
                    : mc_fail(err, MC_ENOMEM, "out of memory");
}

static int add(struct norm *f, const struct mc_array *y, const float *was, const float *should,
               const float *x, int64_t first, int64_t samples, struct mc_err *err)
{
    const float *is = y->data;
    int axis = f->behind < 0 ? 1 : y->shape.rank - 1;
    if (y->shape.rank <= axis || y->shape.dim[axis] != f->channels)
        return mc_fail(err, MC_ESHAPE, "'%s' does not have a channel for each scale", y->name);
    int64_t outer = 1, inner = 1;
    for (int i = 0; i < y->shape.rank; i++)
        *(i < axis ? &outer : &inner) *= i == axis ? 1 : y->shape.dim[i];
    for (int64_t o = 0; o < outer; o++) {
        int64_t sample = first + (outer % samples ? 0 : o / (outer / samples));
        struct sums *s = f->s + sample % FOLDS * f->channels;
        for (int64_t c = 0; c < f->channels; c++, s++)
            for (int64_t i = 0; i < inner; i++) {
                int64_t k = (o * f->channels + c) * inner + i;
                double e = (double)should[k] - was[k], v = is[k];
                double d = x ? (double)x[k] - f->mu[c] : 0;
                s->rows++;
                s->y += v;
                s->yy += v * v;
                s->e += e;
                s->ye += v * e;
                s->ee += e * e;
                s->x += d;
                s->xx += d * d;
            }
    }
    return 0;
}

static int batch(void *ctx, const struct mc_array *const *values, int64_t first,
                 const struct mc_batch *b, struct mc_err *err)
{
    struct norm *f = ctx;
    const struct mc_array *y = values[0], *x = f->x ? values[1] : NULL;
    struct mc_array stays;
    struct numbers is, should = {0}, in = {0};
    int rc = mc_repair_narrow(&f->view, values[f->x ? 2 : 1], &stays, err);
    if (!rc &&
        (!mc_shape_equal(&stays.shape, &y->shape) || (x && !mc_shape_equal(&x->shape, &y->shape))))
        rc = mc_fail(err, MC_ESHAPE, "'%s' has another shape than what stays of it", y->name);
    if (rc)
        return rc;
    rc = as_f32(y, &is, err);
    if (!rc)
        rc = as_f32(&stays, &should, err);
    if (!rc && x)
        rc = as_f32(x, &in, err);
    struct mc_array as = *y;
    as.data = (void *)is.x;
    if (!rc)
        rc = add(f, &as, is.x, should.x, in.x, first, b->n, err);
    free(is.own);
    free(should.own);
    free(in.own);
    return rc;
}

/* ---- the fit ---- */

static struct sums both(const struct norm *f, int64_t c)
{
    const struct sums *a = &f->s[c], *b = &f->s[f->channels + c];
    return (struct sums){a->rows + b->rows, a->y + b->y,   a->yy + b->yy, a->e + b->e,
                         a->ye + b->ye,     a->ee + b->ee, a->x + b->x,   a->xx + b->xx};
}

/* 1e-6: what float sums of a constant channel leave. */
static void line(const struct sums *s, bool shift, double *ret_p, double *ret_q)
{
    *ret_p = *ret_q = 0;
    if (!(s->rows > 0))
        return;
    double my = shift ? s->y / s->rows : 0, me = shift ? s->e / s->rows : 0;
    double yy = s->yy / s->rows - my * my, ye = s->ye / s->rows - my * me;
    if (yy > 1e-6 * s->yy / s->rows)
        *ret_p = ye / yy;
    *ret_q = me - *ret_p * my;
}

static double left(const struct sums *s, double p, double q)
{
    if (!(s->rows > 0))
        return 0;
    double sum = s->ee - 2 * p * s->ye - 2 * q * s->e + p * p * s->yy + 2 * p * q * s->y;
    return sum / s->rows + q * q;
}

static bool helps(const struct norm *f)
{
    double was = 0, is = 0;
    for (int64_t c = 0; c < f->channels; c++)
        for (int k = 0; k < FOLDS; k++) {
            double p, q;
            line(&f->s[k * f->channels + c], f->shift != NULL, &p, &q);
            was += left(&f->s[(1 - k) * f->channels + c], 0, 0);
            is += left(&f->s[(1 - k) * f->channels + c], p, q);
        }
    return is < was;
}

static int put(struct norm *f, bool fits, struct mc_err *err)
{
    double eps = mc_node_float(f->n, "epsilon", 1e-5F);
    for (int64_t c = 0; c < f->channels; c++) {
        struct sums s = both(f, c);
        double p = 0, q = 0;
        if (fits)
            line(&s, f->shift != NULL, &p, &q);
        double a = f->a[c], b = f->b ? f->b[c] : 0;
        if (f->x && s.rows > 0) { /* the same function with the statistics as they are */
            double d = s.x / s.rows, var = fmax(0, s.xx / s.rows - d * d);
            double slope = a / sqrt(f->sigma[c] + eps);
            b += slope * d;
            a = slope * sqrt(var + eps);
            f->mu[c] = (float)(f->mu[c] + d);
            f->sigma[c] = (float)var;
        }
        f->a[c] = (float)((1 + p) * a);
        if (f->b)
            f->b[c] = (float)((1 + p) * b + q);
    }
    int rc = mc_repair_put(f->r, f->scale, f->a, err);
    if (!rc && f->shift)
        rc = mc_repair_put(f->r, f->shift, f->b, err);
    if (!rc && f->x)
        rc = mc_repair_put(f->r, f->mean, f->mu, err);
    if (!rc && f->x)
        rc = mc_repair_put(f->r, f->var, f->sigma, err);
    return rc;
}

static int fit(struct norm *f, enum mc_repair_result *ret, struct mc_err *err)
{
    struct mc_repair *r = f->r;
    const char *const have[] = {f->n->out[0]->name, f->x ? f->x->name : NULL};
    struct mc_repair_ask ask = {have, have, f->x ? 2 : 1, 1, f->n, r->given};
    int rc = load(f, err);
    if (!rc)
        rc = mc_interrupt_check(err);
    if (!rc)
        rc = mc_repair_observe(r, &ask, batch, f, err);
    if (rc)
        return rc;
    bool fits = helps(f);
    if (fits || f->x)
        rc = put(f, fits, err);
    *ret = fits || f->x ? MC_REPAIR_FITTED : MC_REPAIR_LEFT;
    return rc;
}

int mc_repair_norm(struct mc_repair *r, struct mc_node *n, enum mc_repair_result *ret,
                   struct mc_err *err)
{
    struct norm f = {.r = r};
    *ret = MC_REPAIR_NONE;
    if (!find(n, &f))
        return 0;
    *ret = MC_REPAIR_SKIPPED;
    const struct mc_value *was = mc_repair_was(r, n->out[0]);
    int rc = was ? mc_repair_view(r, was, &f.view, err) : 0;
    if (!rc && was)
        rc = fit(&f, ret, err);
    mc_repair_view_free(&f.view);
    free(f.a);
    free(f.b);
    free(f.mu);
    free(f.sigma);
    free(f.s);
    return rc;
}
