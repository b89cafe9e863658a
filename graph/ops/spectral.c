/* What goes with transforms of signals: HannWindow, HammingWindow, BlackmanWindow, MelWeightMatrix. */
#include <math.h>
#include <string.h>

#include "graph/ops/helper.h"

static const double TURN = 6.283185307179586476925;

static int out_type(const struct mc_infer_ctx *c, enum mc_dtype *ret, struct mc_err *err)
{
    int64_t d = mc_node_int(c->node, "output_datatype", MC_DTYPE_F32);
    const struct mc_dtype_info *info = mc_dtype_info(d > 0 && d < MC_DTYPE_COUNT ? (int)d : 0);
    if (info->kind == MC_KIND_OTHER || info->kind == MC_KIND_BOOL || info->bits < 8)
        return mc_op_fail(err, MC_EUNSUP, c->node, "output_datatype %lld cannot run", (long long)d);
    *ret = (enum mc_dtype)d;
    return 0;
}

/* Single whole number of input i where it is known, else -1. */
static int64_t known_size(const struct mc_infer_ctx *c, int i)
{
    struct mc_contents p;
    return mc_op_numbers(c, i, &p) && p.n == 1 ? p.value[0] : -1;
}

static int need_sizes(const struct mc_infer_ctx *c, int n, struct mc_err *err)
{
    int rc = 0;
    for (int i = 0; i < n && !rc; i++) {
        rc = mc_op_need_index(c, i, err);
        rc = rc ? rc : mc_op_need_single(c, i, err);
        struct mc_contents p;
        if (!rc && mc_op_numbers(c, i, &p) && p.n == 1 && p.value[0] < 0)
            rc = mc_op_fail(err, MC_ESHAPE, c->node, "input %d is %lld", i, (long long)p.value[0]);
    }
    return rc;
}

/* One element, whatever numeric type y has. */
static int put(const struct mc_buf *y, int64_t i, double v, struct mc_err *err)
{
    char *to = (char *)y->data + i * mc_op_elem_bytes(y->dtype);
    return mc_dtype_from_f64((int)y->dtype, &v, to, 1, err);
}

/* ---- windows: a sum of cosines ---- */

static const struct window {
    const char *name;
    double a[3]; /* a0 - a1 cos x + a2 cos 2x */
} windows[] = {
    {"HannWindow", {0.5, 0.5, 0}},
    {"HammingWindow", {25.0 / 46, 21.0 / 46, 0}}, /* as ONNX defines it */
    {"BlackmanWindow", {0.42, 0.5, 0.08}},
};

static int window_infer(struct mc_infer_ctx *c, struct mc_err *err)
{
    enum mc_dtype dtype = MC_DTYPE_F32;
    int rc = mc_op_arity(c, 1, 1, err);
    rc = rc ? rc : need_sizes(c, 1, err);
    rc = rc ? rc : out_type(c, &dtype, err);
    if (rc)
        return rc;
    int64_t n = known_size(c, 0);
    struct mc_shape y = {1, {n < 0 ? MC_DIM_ANY : n}};
    mc_op_give(c, 0, dtype, &y);
    return 0;
}

static int window_run(struct mc_call *c, struct mc_err *err)
{
    const struct mc_buf *y = &c->out[0];
    const struct window *w = windows;
    while (strcmp(w->name, c->node->op_type))
        w++;
    int64_t n = y->shape.dim[0], size = -1;
    mc_op_ints(&c->in[0], &size, 1);
    if (size != n)
        return mc_op_fail(err, MC_EDATA, c->node, "the window has another size than planned");
    int64_t period = mc_node_int(c->node, "periodic", 1) ? n : n - 1;
    int rc = 0;
    for (int64_t i = 0; i < n && !rc; i++) {
        double x = period > 0 ? TURN * (double)i / (double)period : 0;
        double v = w->a[0] - w->a[1] * cos(x) + w->a[2] * cos(2 * x);
        rc = put(y, i, period > 0 ? v : 1, err); /* one element: 1, as ONNX Runtime */
    }
    return rc;
}

/* ---- MelWeightMatrix ---- */

enum { BINS, LENGTH, RATE, LOW, HIGH };

static int mel_infer(struct mc_infer_ctx *c, struct mc_err *err)
{
    enum mc_dtype dtype = MC_DTYPE_F32;
    int rc = mc_op_arity(c, 5, 5, err);
    rc = rc ? rc : need_sizes(c, 3, err);
    for (int i = LOW; i <= HIGH && !rc; i++) {
        rc = mc_op_need_float(c, i, err);
        rc = rc ? rc : mc_op_need_single(c, i, err);
    }
    rc = rc ? rc : out_type(c, &dtype, err);
    if (rc)
        return rc;
    int64_t bins = known_size(c, BINS), length = known_size(c, LENGTH);
    struct mc_shape y = {2,
                         {length < 0 ? MC_DIM_ANY : length / 2 + 1, bins < 0 ? MC_DIM_ANY : bins}};
    mc_op_give(c, 0, dtype, &y);
    return 0;
}

static double to_mel(double hertz)
{
    return 2595 * log10(1 + hertz / 700);
}

/* Triangles between neighbouring edges, which are whole numbers of spectrogram bins. */
static int mel_run(struct mc_call *c, struct mc_err *err)
{
    const struct mc_buf *y = &c->out[0];
    int64_t bins = 0, length = 0, rate = 0, rows = y->shape.dim[0], cols = y->shape.dim[1];
    double edge[2];
    mc_op_ints(&c->in[BINS], &bins, 1);
    mc_op_ints(&c->in[LENGTH], &length, 1);
    mc_op_ints(&c->in[RATE], &rate, 1);
    for (int i = 0; i < 2; i++) {
        int rc = mc_dtype_to_f64((int)c->in[LOW + i].dtype, c->in[LOW + i].data, &edge[i], 1, err);
        if (rc)
            return rc;
        edge[i] = to_mel(edge[i]);
    }
    if (bins != cols || length / 2 + 1 != rows || rate < 1 || !(edge[0] < edge[1]))
        return mc_op_fail(err, MC_EDATA, c->node,
                          "%lld bands of %lld at a rate of %lld from %g to %g mel", (long long)bins,
                          (long long)length, (long long)rate, edge[0], edge[1]);
    double step = (edge[1] - edge[0]) / (double)(bins + 2);
    int rc = 0;
    for (int64_t j = 0; j < cols && !rc; j++) {
        double at[3];
        for (int i = 0; i < 3; i++) {
            double hertz = 700 * (pow(10, (edge[0] + step * (double)(j + i)) / 2595) - 1);
            at[i] = floor((double)(length + 1) * hertz / (double)rate);
        }
        for (int64_t i = 0; i < rows && !rc; i++) {
            double x = (double)i, v = 0;
            if (at[0] == at[1] && x == at[1])
                v = 1;
            else if (x >= at[0] && x <= at[1] && at[0] < at[1])
                v = (x - at[0]) / (at[1] - at[0]);
            else if (x > at[1] && x < at[2])
                v = (at[2] - x) / (at[2] - at[1]);
            rc = put(y, i * cols + j, v, err);
        }
    }
    return rc;
}

const struct mc_op mc_ops_spectral[] = {
    {"", "HannWindow", 17, 0, window_infer, NULL, window_run, NULL, NULL, NULL},
    {"", "HammingWindow", 17, 0, window_infer, NULL, window_run, NULL, NULL, NULL},
    {"", "BlackmanWindow", 17, 0, window_infer, NULL, window_run, NULL, NULL, NULL},
    {"", "MelWeightMatrix", 17, 0, mel_infer, NULL, mel_run, NULL, NULL, NULL},
    {0},
};
