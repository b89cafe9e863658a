/* Lifting operators whose new form depends on the shape or content of an input. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "graph/constant.h"
#include "graph/edit.h"
#include "graph/opset_parts.h"

/* A new node of l->version before n (or behind it), with one new output named after n. */
static int beside(const struct mc_opset_lifter *l, struct mc_node *n, size_t pos, const char *op,
                  struct mc_value *const *in, size_t n_in, struct mc_value *out,
                  struct mc_node **ret, struct mc_err *err)
{
    return mc_edit_node(n->graph, pos, op, "", l->version, "", in, n_in, &out, 1, ret, err);
}

static struct mc_value *fresh(struct mc_node *n, const char *suffix)
{
    char name[256];
    snprintf(name, sizeof name, "%.200s_%s", mc_node_label(n), suffix);
    return mc_edit_fresh(n->graph, name);
}

/* Before version 13 all axes from `axis` on were one. Where it is the last one nothing changes but the
 * default; otherwise the input becomes a matrix, and the result is given the old shape. */
int mc_opset_softmax(const struct mc_opset_lifter *l, struct mc_node *n, struct mc_err *err)
{
    const struct mc_attr *a = mc_node_attr(n, "axis");
    struct mc_vtype x = mc_opset_type(l, n, 0);
    int64_t axis = mc_node_int(n, "axis", 1);
    if (a && a->ref)
        return mc_opset_refuse(l, n, err, "its attribute 'axis' is given by a function's caller");
    if (axis == -1 || (x.ranked && axis == x.shape.rank - 1))
        return mc_edit_attr_int(n, "axis", -1, err);
    if (!n->n_in || !n->in[0] || n->n_out != 1 || !n->out[0])
        return mc_opset_refuse(l, n, err, "its input or output is missing");
    struct mc_value *in = n->in[0], *out = n->out[0];
    struct mc_value *shape = fresh(n, "shape"), *flat = fresh(n, "flat"), *soft = fresh(n, "soft");
    struct mc_node *flatten;
    if (!shape || !flat || !soft)
        return mc_fail(err, MC_ENOMEM, "out of memory");
    int rc = beside(l, n, n->pos, "Shape", &in, 1, shape, NULL, err);
    if (!rc)
        rc = beside(l, n, n->pos, "Flatten", &in, 1, flat, &flatten, err);
    if (!rc)
        rc = mc_edit_attr_int(flatten, "axis", axis, err);
    if (!rc)
        rc = mc_edit_set_input(n, 0, flat, err);
    if (!rc)
        rc = mc_edit_attr_int(n, "axis", -1, err);
    if (rc)
        return rc;
    out->producer = NULL;
    n->out[0] = soft;
    soft->producer = n;
    soft->slot = 0;
    struct mc_value *ends[] = {soft, shape};
    return beside(l, n, n->pos + 1, "Reshape", ends, 2, out, NULL, err);
}

/* Version 10 has (X, scales), places by x / scale, and takes for `nearest` what ONNX Runtime takes: rounding up
 * where it shrinks, down where it grows. */
int mc_opset_resize(const struct mc_opset_lifter *l, struct mc_node *n, struct mc_err *err)
{
    struct mc_value *roi, *scales = n->n_in > 1 ? n->in[1] : NULL;
    bool nearest = !strcmp(mc_node_string(n, "mode", "nearest"), "nearest");
    bool up = false, down = false;
    float *s = NULL;
    int64_t count = 0;
    if (!scales || n->n_in != 2)
        return mc_opset_refuse(l, n, err, "%zu inputs; needs 2", n->n_in);
    if (nearest && mc_constant(scales)) {
        int rc = mc_constant_f32(scales, &s, &count, err);
        if (rc)
            return rc;
    } else if (nearest) {
        return mc_opset_refuse(l, n, err, "its scales are no constant");
    }
    for (int64_t i = 0; i < count; i++) {
        up |= s[i] > 1;
        down |= s[i] < 1;
    }
    free(s);
    if (up && down)
        return mc_opset_refuse(l, n, err, "it shrinks along one axis and grows along another");
    int rc = mc_opset_constant(n, "roi", MC_DTYPE_F32, 1, &(int64_t){0}, NULL, &roi, err);
    if (!rc)
        rc = mc_edit_set_input(n, 1, roi, err);
    if (!rc)
        rc = mc_edit_set_input(n, 2, scales, err);
    if (!rc)
        rc = mc_edit_attr_string(n, "coordinate_transformation_mode", "asymmetric", err);
    if (!rc && nearest)
        rc = mc_edit_attr_string(n, "nearest_mode", down ? "ceil" : "floor", err);
    return rc;
}

/* One element per group becomes one per channel. */
static int per_channel(const struct mc_opset_lifter *l, struct mc_node *n, size_t slot,
                       int64_t channels, struct mc_err *err)
{
    const struct mc_tensor *t = mc_constant(n->in[slot]);
    int64_t groups = t ? mc_tensor_count(t) : 0;
    if (!t || groups < 1 || channels % groups)
        return mc_opset_refuse(l, n, err, "input %zu is no constant of one element per group",
                               slot);
    size_t element = t->bytes / (size_t)groups, at = 0;
    uint8_t *wide = mc_calloc((size_t)channels, element);
    struct mc_value *v;
    if (!wide)
        return mc_fail(err, MC_ENOMEM, "out of memory");
    for (int64_t c = 0; c < channels; c++, at += element)
        memcpy(wide + at, t->data + (size_t)(c / (channels / groups)) * element, element);
    int rc =
        mc_opset_constant(n, slot == 1 ? "scale" : "bias", t->dtype, 1, &channels, wide, &v, err);
    free(wide);
    return rc ? rc : mc_edit_set_input(n, slot, v, err);
}

int mc_opset_group_norm(const struct mc_opset_lifter *l, struct mc_node *n, struct mc_err *err)
{
    struct mc_vtype x = mc_opset_type(l, n, 0);
    if (n->n_in != 3 || !n->in[1] || !n->in[2])
        return mc_opset_refuse(l, n, err, "its scale or bias is missing");
    if (!x.ranked || x.shape.rank < 2 || x.shape.dim[1] < 1)
        return mc_opset_refuse(l, n, err, "how many channels its input has is not known");
    int rc = per_channel(l, n, 1, x.shape.dim[1], err);
    return rc ? rc : per_channel(l, n, 2, x.shape.dim[1], err);
}
