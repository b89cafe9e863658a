#include "passes/quant/train/quant_train_form.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "graph/constant.h"
#include "graph/edit.h"
#include "graph/grad/rule.h"
#include "graph/ops/quant_grid.h"

int mc_train_no_memory(struct mc_err *err)
{
    return mc_fail(err, MC_ENOMEM, "out of memory for the training of quantised weights");
}

bool mc_train_is(const struct mc_node *n, const char *op)
{
    return !strcmp(n->op_type, op) && !strcmp(n->domain, MC_GRAD_DOMAIN);
}

void mc_train_drop(struct mc_value *v)
{
    if (v && !v->n_uses && !v->producer && !v->is_output && !v->is_input)
        mc_edit_remove_value(v);
}

bool mc_train_same(const struct mc_tensor *a, const struct mc_tensor *b)
{
    if (!a || !b)
        return a == b;
    return a == b || (a->dtype == b->dtype && mc_shape_equal(&a->shape, &b->shape) &&
                      a->bytes == b->bytes && !memcmp(a->data, b->data, a->bytes));
}

/* ---- ranges ---- */

bool mc_train_range_of(enum mc_dtype type, struct mc_train_range *ret)
{
    const struct mc_dtype_info *t = mc_dtype_info((int)type);
    if ((t->kind != MC_KIND_INT && t->kind != MC_KIND_UINT) || t->bits > 32)
        return false;
    int64_t steps = (int64_t)1 << t->bits;
    ret->lo = t->kind == MC_KIND_INT ? -steps / 2 : 0;
    ret->hi = ret->lo + steps - 1;
    return true;
}

/* All elements of a tensor as floats; NULL: 0 elements. */
static int floats_of(const struct mc_tensor *t, float **ret, int64_t *ret_n, struct mc_err *err)
{
    int64_t n = t ? mc_tensor_count(t) : 0;
    float *x = mc_calloc((size_t)n + 1, sizeof *x);
    int rc = x ? 0 : mc_train_no_memory(err);
    if (!rc && n)
        rc = mc_dtype_to_f32((int)t->dtype, t->data, x, (size_t)n, err);
    if (rc) {
        free(x);
        return rc;
    }
    *ret = x;
    *ret_n = n;
    return 0;
}

/* The one zero point that all channels have, or NAN. */
static int only_zero(const struct mc_tensor *zero, double *ret, struct mc_err *err)
{
    float *z;
    int64_t n;
    int rc = floats_of(zero, &z, &n, err);
    if (rc)
        return rc;
    *ret = n ? (double)z[0] : 0;
    for (int64_t i = 1; i < n; i++)
        if (z[i] != z[0])
            *ret = NAN;
    free(z);
    return 0;
}

int mc_train_range_stored(const struct mc_tensor *q, const struct mc_tensor *zero,
                          struct mc_train_range *ret, struct mc_err *err)
{
    struct mc_train_range all;
    double z = 0, least = 0, most = 0;
    float *x;
    int64_t n;
    if (!mc_train_range_of(q->dtype, &all))
        return mc_fail(err, MC_EDTYPE, "integers of type %s", mc_dtype_name((int)q->dtype));
    int rc = only_zero(zero, &z, err);
    rc = rc ? rc : floats_of(q, &x, &n, err);
    if (rc)
        return rc;
    bool is_middle = z == ((double)all.lo + (double)all.hi + 1) / 2;
    double from = is_middle ? z : 0;
    for (int64_t i = 0; i < n; i++) {
        double v = (double)x[i] - from;
        least = v < least ? v : least;
        most = v > most ? v : most;
    }
    free(x);
    int bits = 2, widest = mc_dtype_info((int)q->dtype)->bits;
    *ret = all;
    if (!is_middle && (all.lo != 0 || widest > 8))
        return 0; /* a signed type with its zero elsewhere: nothing says how many bits were meant */
    if (is_middle) {
        while (bits < widest && (most > exp2(bits - 1) - 1 || least < -exp2(bits - 1)))
            bits++;
        int64_t half = (int64_t)1 << (bits - 1);
        ret->hi = (int64_t)z + half - 1;
        ret->lo = (int64_t)z - half + (least > (double)-half);
    } else {
        while (bits < widest && most > exp2(bits) - 1)
            bits++;
        ret->hi = ((int64_t)1 << bits) - 1;
    }
    return 0;
}

/* ---- numbers ---- */

struct numbers { /* of a tensor and its quantisation */
    struct mc_quant_grid g;
    float *scale, *zero;
    int64_t n, n_zero;
};

static void release(struct numbers *w)
{
    free(w->scale);
    free(w->zero);
}

static int prepare(const struct mc_node *n, const struct mc_shape *shape,
                   const struct mc_tensor *scale, const struct mc_tensor *zero, struct numbers *w,
                   struct mc_err *err)
{
    *w = (struct numbers){0};
    int rc = mc_quant_grid_of(n, shape, &scale->shape, &w->g, err);
    rc = rc ? rc : floats_of(scale, &w->scale, &w->n, err);
    rc = rc ? rc : floats_of(zero, &w->zero, &w->n_zero, err);
    if (!rc && w->n_zero > 1 && w->n_zero != w->n)
        rc = mc_fail(err, MC_ESHAPE, "%s '%s': %lld zero points, %lld scales", n->op_type,
                     mc_node_label(n), (long long)w->n_zero, (long long)w->n);
    if (rc)
        release(w);
    return rc;
}

static int64_t place_of(const struct numbers *w, int64_t i)
{
    const struct mc_quant_grid *g = &w->g;
    int64_t in = i % g->inner, a = i / g->inner % g->axis, o = i / g->inner / g->axis;
    return o * g->o_step + a / g->block * g->a_step + in * g->i_step;
}

static float zero_at(const struct numbers *w, int64_t place)
{
    return w->n_zero == 0 ? 0 : w->zero[w->n_zero == 1 ? 0 : place];
}

int mc_train_floats(const struct mc_node *n, const struct mc_tensor *q,
                    const struct mc_tensor *scale, const struct mc_tensor *zero,
                    struct mc_spill *spill, struct mc_tensor **ret, struct mc_err *err)
{
    struct numbers w;
    struct mc_tensor *t;
    void *data;
    int64_t count = mc_tensor_count(q);
    int rc = prepare(n, &q->shape, scale, zero, &w, err);
    if (rc)
        return rc;
    rc = mc_tensor_new(MC_DTYPE_F32, &q->shape, spill, &t, &data, err);
    float *x = data;
    if (!rc) {
        rc = mc_dtype_to_f32((int)q->dtype, q->data, x, (size_t)count, err);
        for (int64_t i = 0; i < count && !rc; i++) {
            int64_t at = place_of(&w, i);
            x[i] = (x[i] - zero_at(&w, at)) * w.scale[at];
        }
        if (rc)
            mc_tensor_unref(t);
        else
            *ret = t;
    }
    release(&w);
    return rc;
}

int mc_train_integers(const struct mc_node *n, const struct mc_tensor *x,
                      const struct mc_tensor *scale, const struct mc_tensor *zero,
                      enum mc_dtype type, const struct mc_train_range *range,
                      struct mc_spill *spill, struct mc_tensor **ret, struct mc_err *err)
{
    struct numbers w;
    struct mc_tensor *t = NULL;
    void *data;
    float *v;
    int64_t count;
    int rc = prepare(n, &x->shape, scale, zero, &w, err);
    if (rc)
        return rc;
    rc = floats_of(x, &v, &count, err);
    if (!rc) {
        for (int64_t i = 0; i < count; i++) {
            int64_t at = place_of(&w, i);
            float z = zero_at(&w, at), lo = (float)range->lo - z, hi = (float)range->hi - z;
            float steps = v[i] / w.scale[at];
            v[i] = rintf(!(steps > lo) ? lo : steps > hi ? hi : steps) + z;
        }
        rc = mc_tensor_new(type, &x->shape, spill, &t, &data, err);
        rc = rc ? rc : mc_dtype_from_f32((int)type, v, data, (size_t)count, err);
        free(v);
    }
    release(&w);
    if (rc)
        mc_tensor_unref(t);
    else
        *ret = t;
    return rc;
}

int mc_train_product(const struct mc_tensor *a, const struct mc_tensor *b, struct mc_tensor **ret,
                     struct mc_err *err)
{
    int64_t n = mc_tensor_count(a), m = mc_tensor_count(b);
    const struct mc_tensor *like = n > m || (n == m && a->shape.rank > b->shape.rank) ? a : b;
    struct mc_tensor *t;
    float *x = NULL, *y = NULL;
    void *data;
    if (n != m && n != 1 && m != 1)
        return mc_fail(err, MC_ESHAPE, "%lld scales times %lld", (long long)n, (long long)m);
    int rc = floats_of(a, &x, &n, err);
    rc = rc ? rc : floats_of(b, &y, &m, err);
    rc = rc ? rc : mc_tensor_new(MC_DTYPE_F32, &like->shape, NULL, &t, &data, err);
    for (int64_t i = 0; !rc && i < mc_tensor_count(t); i++)
        ((float *)data)[i] = x[n == 1 ? 0 : i] * y[m == 1 ? 0 : i];
    free(x);
    free(y);
    if (!rc)
        *ret = t;
    return rc;
}
