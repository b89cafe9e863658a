#include "passes/binarize/binarize_threshold.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "graph/constant.h"

void mc_sign_threshold_free(struct mc_sign_threshold *t)
{
    free(t->at);
    free(t->flip);
    *t = (struct mc_sign_threshold){0};
}

static int floats_of(const struct mc_value *v, int64_t n, const struct mc_node *of, float **ret,
                     struct mc_err *err)
{
    float *x = NULL;
    int64_t count;
    if (!mc_constant(v))
        return mc_fail(err, MC_EUNSUP, "%s '%s': its threshold is computed", of->op_type,
                       mc_node_label(of));
    int rc = mc_constant_f32(v, &x, &count, err);
    if (!rc && count != n)
        rc = mc_fail(err, MC_ESHAPE, "%s '%s': %lld numbers for %lld channels", of->op_type,
                     mc_node_label(of), (long long)count, (long long)n);
    for (int64_t i = 0; i < n && !rc; i++)
        if (!(fabsf(x[i]) <= FLT_MAX))
            rc =
                mc_fail(err, MC_EDATA, "%s '%s': channel %lld of '%s' is %s", of->op_type,
                        mc_node_label(of), (long long)i, v->name, isnan(x[i]) ? "NaN" : "infinite");
    if (rc)
        free(x);
    else
        *ret = x;
    return rc;
}

static float to_finite(double v)
{
    return v > (double)FLT_MAX ? FLT_MAX : v < -(double)FLT_MAX ? -FLT_MAX : (float)v;
}

/* scale (x - mean) / deviation + bias < 0 is x < at where scale > 0; where it is below 0, x > at, and so not x < (what comes
 * after at); where it is 0, the sign of bias whatever x is. */
static int fold_norm(const struct mc_node *n, struct mc_sign_threshold *t, struct mc_err *err)
{
    float *p[4] = {0};
    bool moves = false;
    int rc = 0;
    double eps = (double)mc_node_float(n, "epsilon", 1e-5F);
    for (int i = 0; i < 4 && !rc; i++)
        rc = floats_of(n->in[i + 1], t->channels, n, &p[i], err);
    for (int64_t c = 0; c < t->channels && !rc; c++) {
        double scale = (double)p[0][c], bias = (double)p[1][c];
        double deviation = sqrt(fmax((double)p[3][c], 0) + eps);
        double at = (double)p[2][c] - bias * deviation / scale;
        t->flip[c] = scale < 0 || (scale == 0 && bias < 0);
        t->at[c] = scale == 0 ? -FLT_MAX : to_finite(at);
        if (scale < 0)
            t->at[c] = nextafterf(t->at[c], INFINITY);
        if (t->at[c] > FLT_MAX)
            t->at[c] = FLT_MAX;
        moves = moves || scale != 0;
    }
    for (int i = 0; i < 4; i++)
        free(p[i]);
    if (!rc && !moves)
        rc = mc_fail(err, MC_EDATA,
                     "%s '%s': what becomes signs has one sign whatever the sample: all its scales "
                     "are 0; leave the layer with --skip",
                     n->op_type, mc_node_label(n));
    return rc;
}

/* The first dimension of BatchNormalization's input was made by a Reshape, of a product of higher rank. */
static struct mc_value *behind_reshape(struct mc_value *x, bool reshaped)
{
    const struct mc_node *n = x->producer;
    return reshaped && n && mc_node_is(n, "Reshape") ? n->in[0] : x;
}

int mc_sign_threshold(const struct mc_node *sign, bool reshaped, int64_t channels,
                      struct mc_sign_threshold *t, struct mc_err *err)
{
    struct mc_value *x = sign->in[0];
    const struct mc_node *n = x->producer;
    *t = (struct mc_sign_threshold){.channels = channels};
    t->at = mc_calloc((size_t)channels + 1, sizeof *t->at);
    t->flip = mc_calloc((size_t)channels + 1, sizeof *t->flip);
    int rc = t->at && t->flip ? 0 : mc_fail(err, MC_ENOMEM, "out of memory for thresholds");
    if (!rc && n && mc_node_is(n, "BatchNormalization")) {
        t->x = behind_reshape(n->in[0], reshaped);
        rc = fold_norm(n, t, err);
    } else if (!rc && n && mc_node_is(n, "Sub") && mc_constant(n->in[1])) {
        float *at;
        t->x = n->in[0];
        rc = floats_of(n->in[1], channels, n, &at, err);
        if (!rc)
            memcpy(t->at, at, (size_t)channels * sizeof *at);
        if (!rc)
            free(at);
    } else {
        t->x = x;
    }
    if (rc)
        mc_sign_threshold_free(t);
    return rc;
}

void mc_norm_line_free(struct mc_norm_line *l)
{
    free(l->by);
    *l = (struct mc_norm_line){0};
}

int mc_norm_line(const struct mc_node *norm, int64_t channels, struct mc_norm_line *ret,
                 struct mc_err *err)
{
    double eps = (double)mc_node_float(norm, "epsilon", 1e-5F);
    float *p[4] = {0};
    int rc = 0;
    *ret = (struct mc_norm_line){.by = mc_calloc((size_t)channels + 1, 2 * sizeof *ret->by)};
    if (!ret->by)
        return mc_fail(err, MC_ENOMEM, "out of memory for scales");
    ret->plus = ret->by + channels;
    for (int i = 0; i < 4 && !rc; i++)
        rc = floats_of(norm->in[i + 1], channels, norm, &p[i], err);
    for (int64_t c = 0; c < channels && !rc; c++) {
        ret->by[c] = (double)p[0][c] / sqrt(fmax((double)p[3][c], 0) + eps);
        ret->plus[c] = (double)p[1][c] - (double)p[2][c] * ret->by[c];
    }
    for (int i = 0; i < 4; i++)
        free(p[i]);
    if (rc)
        mc_norm_line_free(ret);
    return rc;
}
