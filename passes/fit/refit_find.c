#include <math.h>
#include <stdlib.h>

#include "base/mem.h"
#include "graph/constant.h"
#include "passes/fit/refit.h"

static bool own(const struct mc_value *v)
{
    return v && v->n_uses == 1 && !v->is_output && !v->is_input && mc_constant(v);
}

/* Dimensions behind those of the outputs in y. */
static int behind_outputs(const struct mc_refit *f)
{
    if (mc_node_is(f->node, "Conv") || mc_node_is(f->node, "ConvTranspose"))
        return mc_constant(f->weight)->shape.rank - 2;
    return f->columns;
}

/* One element an output, along the axis that `behind` others follow. */
static bool bias_fits(const struct mc_refit *f, const struct mc_value *v, int behind)
{
    if (!own(v))
        return false;
    const struct mc_shape *s = &mc_constant(v)->shape;
    int axis = s->rank - 1 - behind;
    int64_t m = f->groups * f->m;
    return axis >= 0 && mc_shape_count(s) == m && s->dim[axis] == m;
}

static bool find_matmul(struct mc_node *n, struct mc_refit *f)
{
    f->columns = mc_constant(n->in[1]) == NULL;
    f->x = n->in[f->columns];
    f->weight = n->in[!f->columns];
    if (!own(f->weight) || mc_constant(f->x))
        return false;
    const struct mc_shape *w = &mc_constant(f->weight)->shape;
    if (w->rank != 2)
        return false;
    f->n = w->dim[f->columns];
    f->m = w->dim[!f->columns];
    f->at_m = f->columns ? f->n : 1;
    f->at_n = f->columns ? 1 : f->m;
    return true;
}

static bool find_gemm(struct mc_node *n, struct mc_refit *f)
{
    const struct mc_shape *w = &mc_constant(f->weight)->shape;
    bool across = mc_node_int(n, "transB", 0) != 0;
    if (w->rank != 2 || mc_node_int(n, "transA", 0) || mc_node_float(n, "alpha", 1) != 1 ||
        mc_node_float(n, "beta", 1) != 1)
        return false;
    f->m = w->dim[!across];
    f->n = w->dim[across];
    f->at_m = across ? f->n : 1;
    f->at_n = across ? 1 : f->m;
    return true;
}

static bool find_conv(struct mc_node *n, struct mc_refit *f)
{
    const struct mc_shape *w = &mc_constant(f->weight)->shape;
    bool back = mc_node_is(n, "ConvTranspose");
    int64_t groups = mc_node_int(n, "group", 1);
    if (w->rank < 3 || w->rank > 5 || groups < 1 || w->dim[0] % groups || mc_shape_count(w) == 0)
        return false;
    int64_t each = w->dim[0] / groups, other = w->dim[1];
    f->groups = groups;
    f->taps = mc_shape_count(w) / (w->dim[0] * other);
    f->m = back ? other : each;
    f->n = (back ? each : other) * f->taps;
    f->at_m = back ? f->taps : f->n;
    f->at_n = back ? other * f->taps : f->taps;
    f->at_group = each * other * f->taps;
    return true;
}

bool mc_refit_of(struct mc_node *n, struct mc_refit *ret)
{
    *ret = (struct mc_refit){.node = n, .groups = 1, .taps = 1, .folds = 1};
    if (n->n_in < 2 || !n->in[0] || !n->in[1] || !n->n_out || !n->out[0])
        return false;
    ret->x = n->in[0];
    ret->weight = n->in[1];
    ret->y = n->out[0];
    bool fits = false;
    if (mc_node_is(n, "MatMul"))
        fits = find_matmul(n, ret);
    else if (own(ret->weight) && !mc_constant(ret->x))
        fits = mc_node_is(n, "Gemm")                                     ? find_gemm(n, ret)
               : mc_node_is(n, "Conv") || mc_node_is(n, "ConvTranspose") ? find_conv(n, ret)
                                                                         : false;
    if (!fits || ret->m <= 0 || ret->n <= 0)
        return false;
    if (n->n_in > 2 && n->in[2] && bias_fits(ret, n->in[2], 0))
        ret->bias = n->in[2];
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
    if (!n || !mc_refit_of(n, ret))
        return false;
    ret->y = y;
    if (added && bias_fits(ret, added, behind_outputs(ret)))
        ret->bias = added;
    return true;
}

/* ---- behind it ---- */

static int slopes(struct mc_refit *f, float **s, const float *scale, const float *var, double eps,
                  struct mc_err *err)
{
    int64_t m = f->groups * f->m;
    if (!*s) {
        *s = mc_calloc((size_t)m, sizeof **s);
        if (!*s)
            return mc_fail(err, MC_ENOMEM, "out of memory");
        for (int64_t i = 0; i < m; i++)
            (*s)[i] = 1;
    }
    for (int64_t i = 0; i < m; i++)
        (*s)[i] *= (float)(scale[i] / sqrt(var[i] + eps));
    return 0;
}

/* *ret: y moved on. */
static int behind_norm(struct mc_refit *f, struct mc_node *n, bool *ret, struct mc_err *err)
{
    int64_t m = f->groups * f->m, count;
    for (size_t i = 1; i < 5; i++)
        if (n->n_in != 5 || !n->in[i] || !mc_constant(n->in[i]) ||
            mc_shape_count(&mc_constant(n->in[i])->shape) != m)
            return 0;
    if (n->in[0] != f->y || mc_node_is(f->node, "MatMul") || mc_node_int(n, "training_mode", 0))
        return 0;
    float *scale = NULL, *var = NULL;
    double eps = mc_node_float(n, "epsilon", 1e-5F);
    int rc = mc_constant_f32(n->in[1], &scale, &count, err);
    rc = rc ? rc : mc_constant_f32(n->in[4], &var, &count, err);
    rc = rc ? rc : slopes(f, &f->slope, scale, var, eps, err);
    if (!rc && f->bias)
        rc = slopes(f, &f->slope_bias, scale, var, eps, err);
    else if (!rc && own(n->in[2]))
        f->bias = n->in[2];
    free(scale);
    free(var);
    *ret = !rc;
    return rc;
}

static bool behind_sum(struct mc_refit *f, const struct mc_node *add)
{
    struct mc_value *v = add->in[add->in[0] == f->y];
    if (!v || v == f->y)
        return false;
    if (mc_constant(v)) {
        if (!f->bias && bias_fits(f, v, behind_outputs(f)))
            f->bias = v;
        return true;
    }
    return !v->producer || v->producer->pos < f->node->pos;
}

static bool bound(const struct mc_node *n, size_t slot, const char *attr, float missing, float *ret)
{
    float *x;
    int64_t count;
    struct mc_err err;
    *ret = mc_node_float(n, attr, missing);
    if (n->n_in <= slot || !n->in[slot])
        return true;
    if (!mc_constant(n->in[slot]) || mc_constant_f32(n->in[slot], &x, &count, &err))
        return false;
    *ret = count == 1 ? *x : NAN;
    free(x);
    return count == 1;
}

static void behind_bounds(struct mc_refit *f, const struct mc_node *n)
{
    f->low = 0;
    f->high = INFINITY;
    f->clipped = mc_node_is(n, "Relu");
    if (mc_node_is(n, "Clip") && n->in[0] == f->y)
        f->clipped = bound(n, 1, "min", -INFINITY, &f->low) &&
                     bound(n, 2, "max", INFINITY, &f->high) && f->low < f->high;
}

int mc_refit_behind(struct mc_refit *f, struct mc_err *err)
{
    bool on = true;
    while (on && f->y->n_uses == 1 && !f->y->is_output && f->y->uses[0].slot >= 0) {
        struct mc_node *n = f->y->uses[0].node;
        on = false;
        if (mc_node_is(n, "BatchNormalization")) {
            int rc = behind_norm(f, n, &on, err);
            if (rc)
                return rc;
        } else if (mc_node_is(n, "Add")) {
            on = behind_sum(f, n);
        } else if (mc_node_is(n, "Identity")) {
            on = true;
        } else {
            behind_bounds(f, n);
        }
        if (on)
            f->y = n->out[0];
    }
    return 0;
}
