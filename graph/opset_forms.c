/* Operators of ai.onnx whose form changed after version 7, and how a node of the old form is written in the
 * new one. Changes that only allow more need no row. */
#include <float.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "graph/constant.h"
#include "graph/edit.h"
#include "graph/opset_parts.h"

int mc_opset_refuse(const struct mc_opset_lifter *l, const struct mc_node *n, struct mc_err *err,
                    const char *fmt, ...)
{
    char why[MC_ERR_MSG / 2];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(why, sizeof why, fmt, ap);
    va_end(ap);
    return mc_fail(err, MC_EUNSUP, "%s '%s' of opset %d cannot be lifted to opset %d: %s",
                   n->op_type, mc_node_label(n), n->version, l->version, why);
}

int mc_opset_constant(struct mc_node *n, const char *suffix, enum mc_dtype dtype, int rank,
                      const int64_t *dims, const void *data, struct mc_value **ret,
                      struct mc_err *err)
{
    char name[256];
    struct mc_shape shape = mc_shape_of(rank, dims);
    struct mc_tensor *t;
    void *content;
    int rc = mc_tensor_new(dtype, &shape, NULL, &t, &content, err);
    if (rc)
        return rc;
    if (t->bytes)
        memcpy(content, data, t->bytes);
    snprintf(name, sizeof name, "%.200s_%s", mc_node_label(n), suffix);
    rc = mc_constant_new(n->graph, n->pos, name, t, ret, err);
    mc_tensor_unref(t);
    return rc;
}

struct mc_vtype mc_opset_type(const struct mc_opset_lifter *l, const struct mc_node *n, size_t i)
{
    const struct mc_value *v = i < n->n_in ? n->in[i] : NULL;
    return v && l->inf ? *mc_infer_of(l->inf, v) : (struct mc_vtype){0};
}

/* ---- attributes that become inputs ---- */

static int no_reference(const struct mc_opset_lifter *l, const struct mc_node *n, const char *name,
                        struct mc_err *err)
{
    const struct mc_attr *a = mc_node_attr(n, name);
    return a && a->ref ? mc_opset_refuse(l, n, err,
                                         "its attribute '%s' is given by a function's caller", name)
                       : 0;
}

/* The attribute, if there, becomes an int64 vector in a slot. */
static int move_ints(const struct mc_opset_lifter *l, struct mc_node *n, const char *name,
                     size_t slot, struct mc_err *err)
{
    size_t count;
    struct mc_value *v;
    int rc = no_reference(l, n, name, err);
    const int64_t *x = mc_node_ints(n, name, &count);
    if (rc || !mc_node_attr(n, name))
        return rc;
    rc = mc_opset_constant(n, name, MC_DTYPE_I64, 1, &(int64_t){(int64_t)count}, x, &v, err);
    if (!rc)
        rc = mc_edit_set_input(n, slot, v, err);
    mc_edit_attr_remove(n, name);
    return rc;
}

static int scalar(struct mc_node *n, const char *name, float x, enum mc_dtype dtype,
                  struct mc_value **ret, struct mc_err *err)
{
    struct mc_tensor *t;
    char label[256];
    int rc = mc_constant_make(&x, &(struct mc_shape){0}, dtype, NULL, &t, err);
    if (rc)
        return rc;
    snprintf(label, sizeof label, "%.200s_%s", mc_node_label(n), name);
    rc = mc_constant_new(n->graph, n->pos, label, t, ret, err);
    mc_tensor_unref(t);
    return rc;
}

/* A float attribute, if there, becomes a scalar in a slot. */
static int move_float(const struct mc_opset_lifter *l, struct mc_node *n, const char *name,
                      size_t slot, enum mc_dtype dtype, struct mc_err *err)
{
    struct mc_value *v;
    int rc = no_reference(l, n, name, err);
    if (rc || !mc_node_attr(n, name))
        return rc;
    rc = scalar(n, name, mc_node_float(n, name, 0), dtype, &v, err);
    if (!rc)
        rc = mc_edit_set_input(n, slot, v, err);
    mc_edit_attr_remove(n, name);
    return rc;
}

/* … of the type of input 0: where that is not known, in a function say, a node casts it when it runs. */
static int move_float_like(const struct mc_opset_lifter *l, struct mc_node *n, const char *name,
                           size_t slot, struct mc_err *err)
{
    enum { CAST_LIKE = 15 };
    enum mc_dtype dtype = mc_opset_type(l, n, 0).dtype;
    bool moves = mc_node_attr(n, name) != NULL;
    if (dtype != MC_DTYPE_NONE || !moves)
        return move_float(l, n, name, slot, dtype, err);
    if (l->version < CAST_LIKE || !n->n_in || !n->in[0])
        return mc_opset_refuse(l, n, err, "the element type of its input is not known");
    int rc = move_float(l, n, name, slot, MC_DTYPE_F32, err);
    struct mc_value *v = rc ? NULL : mc_edit_fresh(n->graph, n->in[slot]->name);
    if (!rc && !v)
        rc = mc_fail(err, MC_ENOMEM, "out of memory");
    if (!rc)
        rc = mc_edit_node(n->graph, n->pos, "CastLike", "", l->version, "",
                          (struct mc_value *[]){n->in[slot], n->in[0]}, 2, &v, 1, NULL, err);
    return rc ? rc : mc_edit_set_input(n, slot, v, err);
}

static int axes_1(const struct mc_opset_lifter *l, struct mc_node *n, struct mc_err *err)
{
    return move_ints(l, n, "axes", 1, err);
}

static int clip_11(const struct mc_opset_lifter *l, struct mc_node *n, struct mc_err *err)
{
    /* The defaults are the limits of float, as is the absence of an input. */
    if (mc_node_float(n, "min", -FLT_MAX) == -FLT_MAX)
        mc_edit_attr_remove(n, "min");
    if (mc_node_float(n, "max", FLT_MAX) == FLT_MAX)
        mc_edit_attr_remove(n, "max");
    int rc = move_float_like(l, n, "min", 1, err);
    return rc ? rc : move_float_like(l, n, "max", 2, err);
}

static int dropout_12(const struct mc_opset_lifter *l, struct mc_node *n, struct mc_err *err)
{
    return move_float(l, n, "ratio", 1, MC_DTYPE_F32, err);
}

static int pad_11(const struct mc_opset_lifter *l, struct mc_node *n, struct mc_err *err)
{
    int rc = move_ints(l, n, "pads", 1, err);
    return rc ? rc : move_float_like(l, n, "value", 2, err);
}

static int slice_10(const struct mc_opset_lifter *l, struct mc_node *n, struct mc_err *err)
{
    int rc = move_ints(l, n, "starts", 1, err);
    if (!rc)
        rc = move_ints(l, n, "ends", 2, err);
    return rc ? rc : move_ints(l, n, "axes", 3, err);
}

static int split_13(const struct mc_opset_lifter *l, struct mc_node *n, struct mc_err *err)
{
    return move_ints(l, n, "split", 1, err);
}

static int split_18(const struct mc_opset_lifter *l, struct mc_node *n, struct mc_err *err)
{
    (void)l;
    if (n->n_in > 1 && n->in[1])
        return 0;
    return mc_edit_attr_int(n, "num_outputs", (int64_t)n->n_out, err);
}

static int topk_10(const struct mc_opset_lifter *l, struct mc_node *n, struct mc_err *err)
{
    struct mc_value *v;
    int64_t k = mc_node_int(n, "k", 0);
    int rc = no_reference(l, n, "k", err);
    if (!rc)
        rc = mc_opset_constant(n, "k", MC_DTYPE_I64, 1, &(int64_t){1}, &k, &v, err);
    if (!rc)
        rc = mc_edit_set_input(n, 1, v, err);
    mc_edit_attr_remove(n, "k");
    return rc;
}

static int dft_20(const struct mc_opset_lifter *l, struct mc_node *n, struct mc_err *err)
{
    struct mc_value *v;
    int64_t axis = mc_node_int(n, "axis", 1); /* the default is another since */
    int rc = no_reference(l, n, "axis", err);
    if (!rc)
        rc = mc_opset_constant(n, "axis", MC_DTYPE_I64, 0, NULL, &axis, &v, err);
    if (!rc)
        rc = mc_edit_set_input(n, 2, v, err);
    mc_edit_attr_remove(n, "axis");
    return rc;
}

static int upsample_9(const struct mc_opset_lifter *l, struct mc_node *n, struct mc_err *err)
{
    struct mc_value *v;
    const struct mc_attr *a = mc_node_attr(n, "scales");
    int rc = no_reference(l, n, "scales", err);
    if (rc || !a || !a->floats)
        return rc ? rc : mc_opset_refuse(l, n, err, "it has no attribute 'scales'");
    rc = mc_opset_constant(n, "scales", MC_DTYPE_F32, 1, &(int64_t){(int64_t)a->n}, a->floats, &v,
                           err);
    if (!rc)
        rc = mc_edit_set_input(n, 1, v, err);
    mc_edit_attr_remove(n, "scales");
    return rc;
}

/* ---- other names, other defaults ---- */

static int rename_op(struct mc_node *n, const char *name, struct mc_err *err)
{
    n->op_type = mc_arena_strdup(&n->graph->model->arena, name);
    return n->op_type ? 0 : mc_fail(err, MC_ENOMEM, "out of memory");
}

static int upsample_10(const struct mc_opset_lifter *l, struct mc_node *n, struct mc_err *err)
{
    (void)l;
    return rename_op(n, "Resize", err);
}

static int scatter_11(const struct mc_opset_lifter *l, struct mc_node *n, struct mc_err *err)
{
    (void)l;
    return rename_op(n, "ScatterElements", err);
}

static int grid_sample_20(const struct mc_opset_lifter *l, struct mc_node *n, struct mc_err *err)
{
    int rc = no_reference(l, n, "mode", err);
    const char *mode = mc_node_string(n, "mode", "");
    if (!rc && !strcmp(mode, "bilinear"))
        rc = mc_edit_attr_string(n, "mode", "linear", err);
    else if (!rc && !strcmp(mode, "bicubic"))
        rc = mc_edit_attr_string(n, "mode", "cubic", err);
    return rc;
}

static int roi_align_16(const struct mc_opset_lifter *l, struct mc_node *n, struct mc_err *err)
{
    (void)l;
    return mc_edit_attr_string(n, "coordinate_transformation_mode", "output_half_pixel", err);
}

static int batch_norm_9(const struct mc_opset_lifter *l, struct mc_node *n, struct mc_err *err)
{
    int rc = no_reference(l, n, "spatial", err);
    if (!rc && !mc_node_int(n, "spatial", 1))
        rc = mc_opset_refuse(l, n, err, "spatial is 0");
    mc_edit_attr_remove(n, "spatial");
    return rc;
}

/* Statistics of a batch came as four more outputs, which nobody may use. */
static int batch_norm_14(const struct mc_opset_lifter *l, struct mc_node *n, struct mc_err *err)
{
    for (size_t i = 1; i < n->n_out; i++)
        if (n->out[i] && (n->out[i]->n_uses || n->out[i]->is_output))
            return mc_opset_refuse(l, n, err, "its output '%s' is a statistic of training",
                                   n->out[i]->name);
    for (size_t i = 1; i < n->n_out; i++)
        if (n->out[i])
            n->out[i]->producer = NULL;
    n->n_out = n->n_out ? 1 : 0;
    return 0;
}

static int scan_9(const struct mc_opset_lifter *l, struct mc_node *n, struct mc_err *err)
{
    return mc_opset_refuse(l, n, err, "it runs over batches, which later versions do not");
}

const struct mc_opset_form mc_opset_forms[] = {
    {"BatchNormalization", 9, batch_norm_9},
    {"BatchNormalization", 14, batch_norm_14},
    {"Clip", 11, clip_11},
    {"DFT", 20, dft_20},
    {"Dropout", 12, dropout_12},
    {"GridSample", 20, grid_sample_20},
    {"GroupNormalization", 21, mc_opset_group_norm},
    {"Hardmax", 13, mc_opset_softmax},
    {"LogSoftmax", 13, mc_opset_softmax},
    {"Pad", 11, pad_11},
    {"ReduceL1", 18, axes_1},
    {"ReduceL2", 18, axes_1},
    {"ReduceLogSum", 18, axes_1},
    {"ReduceLogSumExp", 18, axes_1},
    {"ReduceMax", 18, axes_1},
    {"ReduceMean", 18, axes_1},
    {"ReduceMin", 18, axes_1},
    {"ReduceProd", 18, axes_1},
    {"ReduceSum", 13, axes_1},
    {"ReduceSumSquare", 18, axes_1},
    {"Resize", 11, mc_opset_resize},
    {"RoiAlign", 16, roi_align_16},
    {"Scan", 9, scan_9},
    {"Scatter", 11, scatter_11},
    {"Slice", 10, slice_10},
    {"Softmax", 13, mc_opset_softmax},
    {"Split", 13, split_13},
    {"Split", 18, split_18},
    {"Squeeze", 13, axes_1},
    {"TopK", 10, topk_10},
    {"Unsqueeze", 13, axes_1},
    {"Upsample", 9, upsample_9},
    {"Upsample", 10, upsample_10},
    {0},
};
