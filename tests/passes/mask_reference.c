#include "../graph/build.h"

#include "mask_reference.h"

#include <stdlib.h>

#include "graph/constant.h"

struct mask {
    const struct mc_coupling *c;
    const bool *gone;
    struct mc_graph *g; /* of the clone */
    int norms;
};

static bool goes(const struct mask *k, const struct mc_units *u, int64_t i)
{
    for (int p = 0; u && p < u->per; p++) {
        int32_t unit = u->unit[i * u->per + p];
        if (unit >= 0 && k->gone[unit])
            return true;
    }
    return false;
}

/* How many of the axis stay; n where none goes. */
static int64_t stays(const struct mask *k, const struct mc_units *u)
{
    int64_t left = 0;
    for (int64_t i = 0; i < u->n; i++)
        left += !goes(k, u, i);
    return left;
}

static const struct mc_units *changed(const struct mask *k, const struct mc_value *v, int axis)
{
    const struct mc_units *u = mc_coupling_axis(k->c, v, axis);
    return u && stays(k, u) < u->n ? u : NULL;
}

static const struct mc_vtype *type_of(const struct mask *k, const struct mc_value *v)
{
    return mc_infer_of(k->c->inf, k->c->m->graph->values[v->index]);
}

/* ---- nodes at a position ---- */

static struct mc_value *node(struct mask *k, size_t *pos, const char *op, struct mc_value *a,
                             struct mc_value *b, struct mc_value *third)
{
    struct mc_err err;
    struct mc_value *in[3] = {a, b, third}, *out = mc_edit_fresh(k->g, "masked");
    assert_non_null(out);
    size_t n = third ? 3 : b ? 2 : 1;
    build_ok(mc_edit_node(k->g, (*pos)++, op, "", 0, "", in, n, &out, 1, NULL, &err), &err);
    return out;
}

static struct mc_value *scalar(struct mask *k, enum mc_dtype dtype, double x)
{
    float f = (float)x;
    uint16_t half = 0; /* only zero is asked for in half precision */
    const void *data = dtype == MC_DTYPE_F64   ? (const void *)&x
                       : dtype == MC_DTYPE_F32 ? (const void *)&f
                                               : &half;
    return build_const(k->g, "number", dtype, 0, NULL, data);
}

/* [1, …, n, …, 1] */
static struct mc_value *truth(struct mask *k, const struct mc_units *u, int rank, int axis)
{
    int64_t dims[MC_RANK_MAX];
    for (int i = 0; i < rank; i++)
        dims[i] = i == axis ? u->n : 1;
    uint8_t *one = malloc((size_t)u->n);
    assert_non_null(one);
    for (int64_t i = 0; i < u->n; i++)
        one[i] = !goes(k, u, i);
    struct mc_value *v = build_const(k->g, "stays", MC_DTYPE_BOOL, rank, dims, one);
    free(one);
    return v;
}

/* y with a number at what goes of the axes of `like`, which it has the shape of. */
static struct mc_value *masked(struct mask *k, size_t *pos, struct mc_value *y,
                               const struct mc_value *like, double number)
{
    const struct mc_vtype *t = type_of(k, like);
    for (int a = 0; t->ranked && a < t->shape.rank; a++) {
        const struct mc_units *u = changed(k, like, a);
        if (u)
            y = node(k, pos, "Where", truth(k, u, t->shape.rank, a), y,
                     scalar(k, t->dtype, number));
    }
    return y;
}

/* ---- norms ---- */

static struct mc_value *reduced(struct mask *k, size_t *pos, const char *op, struct mc_value *x,
                                const int64_t *axis, int n, bool keep)
{
    struct mc_err err;
    bool input = k->g->model->opsets[0].version >= 13; /* of ReduceSum */
    struct mc_value *in[2] = {x}, *out = mc_edit_fresh(k->g, "sum");
    if (input)
        in[1] = build_const(k->g, "axes", MC_DTYPE_I64, 1, (const int64_t[]){n}, axis);
    struct mc_node *made;
    build_ok(mc_edit_node(k->g, (*pos)++, op, "", 0, "", in, input ? 2 : 1, &out, 1, &made, &err),
             &err);
    if (!input)
        build_ok(mc_edit_attr_ints(made, "axes", axis, (size_t)n, &err), &err);
    build_ok(mc_edit_attr_int(made, "keepdims", keep, &err), &err);
    return out;
}

/* The mean over axes, of what stays. */
static struct mc_value *mean_of(struct mask *k, size_t *pos, struct mc_value *x,
                                const struct mc_value *like, const int64_t *axis, int n, bool keep)
{
    const struct mc_vtype *t = type_of(k, like);
    double count = 1;
    for (int i = 0; i < n; i++) {
        const struct mc_units *u = mc_coupling_axis(k->c, like, (int)axis[i]);
        assert_true(t->shape.dim[axis[i]] > 0);
        count *= (double)(u ? stays(k, u) : t->shape.dim[axis[i]]);
    }
    return node(k, pos, "Div", reduced(k, pos, "ReduceSum", x, axis, n, keep),
                scalar(k, t->dtype, count), NULL);
}

static bool any_goes(const struct mask *k, const struct mc_value *x, const int64_t *axis, int n)
{
    for (int i = 0; i < n; i++)
        if (changed(k, x, (int)axis[i]))
            return true;
    return false;
}

static int norm_axes(const struct mask *k, const struct mc_node *n, int64_t *axis, bool *keep)
{
    int rank = type_of(k, n->in[0])->shape.rank, count = 0;
    if (mc_node_is(n, "LayerNormalization")) {
        for (int a = mc_shape_axis(mc_node_int(n, "axis", -1), rank); a < rank; a++)
            axis[count++] = a;
    } else if (mc_node_is(n, "InstanceNormalization")) {
        for (int a = 2; a < rank; a++)
            axis[count++] = a;
    } else if (strstr(" ReduceMean ReduceMax ReduceMin ", n->op_type)) {
        size_t listed;
        const int64_t *list = mc_node_ints(n, "axes", &listed);
        if (n->n_in > 1 && n->in[1]) {
            assert_non_null(n->in[1]->tensor);
            list = (const int64_t *)(const void *)n->in[1]->tensor->data;
            listed = (size_t)mc_tensor_count(n->in[1]->tensor);
        }
        for (size_t i = 0; i < listed; i++)
            axis[count++] = mc_shape_axis(list[i], rank);
        for (int a = 0; !listed && a < rank; a++)
            axis[count++] = a;
        *keep = mc_node_int(n, "keepdims", 1);
    }
    return count;
}

/* (x - mean) / sqrt(var + eps) scale + shift; `like` is x in the first model. */
static struct mc_value *written_norm(struct mask *k, const struct mc_node *n, size_t *pos,
                                     const struct mc_value *like, const int64_t *axis, int count)
{
    struct mc_value *x = n->in[0], *scale = n->in[1], *shift = n->n_in > 2 ? n->in[2] : NULL;
    const struct mc_vtype *t = type_of(k, like);
    struct mc_value *mean = mean_of(k, pos, x, like, axis, count, true);
    struct mc_value *d = masked(k, pos, node(k, pos, "Sub", x, mean, NULL), like, 0);
    struct mc_value *square = node(k, pos, "Mul", d, d, NULL);
    struct mc_value *var = mean_of(k, pos, square, like, axis, count, true);
    double eps = (double)mc_node_float(n, "epsilon", 1e-5f);
    var = node(k, pos, "Add", var, scalar(k, t->dtype, eps), NULL);
    d = node(k, pos, "Div", d, node(k, pos, "Sqrt", var, NULL, NULL), NULL);
    if (mc_node_is(n, "InstanceNormalization")) {
        int64_t dims[MC_RANK_MAX] = {1, -1, 1, 1, 1, 1}, rank = t->shape.rank;
        struct mc_value *to = build_const(k->g, "to", MC_DTYPE_I64, 1, &rank, dims);
        scale = node(k, pos, "Reshape", scale, to, NULL);
        shift = node(k, pos, "Reshape", shift, to, NULL);
    }
    d = node(k, pos, "Mul", d, scale, NULL);
    return shift ? node(k, pos, "Add", d, shift, NULL) : d;
}

static void write_norm(struct mask *k, struct mc_node *n, const struct mc_node *first)
{
    int64_t axis[MC_RANK_MAX];
    bool keep = true;
    int count = norm_axes(k, first, axis, &keep);
    if (!count || !any_goes(k, first->in[0], axis, count))
        return;
    struct mc_err err;
    size_t pos = n->pos;
    const struct mc_value *like = first->in[0];
    k->norms++;
    if (mc_node_is(n, "ReduceMax") || mc_node_is(n, "ReduceMin")) {
        double far = mc_node_is(n, "ReduceMax") ? -1e30 : 1e30;
        build_ok(mc_edit_set_input(n, 0, masked(k, &pos, n->in[0], like, far), &err), &err);
        return;
    }
    struct mc_value *y = mc_node_is(n, "ReduceMean")
                             ? mean_of(k, &pos, n->in[0], like, axis, count, keep)
                             : written_norm(k, n, &pos, like, axis, count);
    build_ok(mc_edit_replace_uses(n->out[0], y, &err), &err); /* masks behind it among them */
}

/* ---- values and constants ---- */

static void mask_value(struct mask *k, struct mc_value *v)
{
    struct mc_err err;
    enum mc_dtype dtype = type_of(k, v)->dtype;
    if (dtype != MC_DTYPE_F32 && dtype != MC_DTYPE_F64 && dtype != MC_DTYPE_F16)
        return;
    size_t pos = v->producer->pos + 1;
    struct mc_value *end = masked(k, &pos, v, v, 0);
    if (end == v)
        return;
    struct mc_node *first = end->producer;
    while (first->in[1] != v)
        first = first->in[1]->producer;
    build_ok(mc_edit_replace_uses(v, end, &err), &err);
    build_ok(mc_edit_set_input(first, 1, v, &err), &err);
}

/* Where a zero would be a division by it, the constant stays as it is: its reader is masked. */
static bool divides(const struct mc_value *v)
{
    for (size_t i = 0; i < v->n_uses; i++) {
        const struct mc_node *n = v->uses[i].node;
        if ((mc_node_is(n, "QuantizeLinear") || mc_node_is(n, "Div")) && v->uses[i].slot == 1)
            return true;
    }
    return false;
}

static void zero_constant(struct mask *k, struct mc_value *v)
{
    const struct mc_tensor *t = v->tensor;
    int64_t whole = mc_tensor_count(t), inner = 1;
    if (!t->bytes || !whole || divides(v))
        return;
    size_t size = t->bytes / (size_t)whole;
    struct mc_tensor *made = NULL;
    void *data = NULL;
    struct mc_err err;
    for (int a = t->shape.rank - 1; a >= 0; inner *= t->shape.dim[a--]) {
        const struct mc_units *u = changed(k, v, a);
        if (!u || mc_coupling_role(k->c, v, a) == MC_ROLE_NONE)
            continue;
        if (!made) {
            build_ok(mc_tensor_new(t->dtype, &t->shape, NULL, &made, &data, &err), &err);
            memcpy(data, t->data, t->bytes);
        }
        for (int64_t i = 0; i < whole; i++)
            if (goes(k, u, i / inner % u->n))
                memset((char *)data + (size_t)i * size, 0, size);
    }
    if (made)
        build_ok(mc_edit_tensor(v, made, &err), &err);
    mc_tensor_unref(made);
}

struct mc_model *mask_reference(const struct mc_coupling *c, const bool *gone, int *ret_norms)
{
    struct mc_model *m;
    struct mc_err err;
    build_ok(mc_model_clone(c->m, &m, &err), &err);
    struct mask k = {.c = c, .gone = gone, .g = m->graph};
    size_t n_nodes = c->m->graph->n_nodes, n_values = c->m->graph->n_values;
    struct mc_node **nodes = malloc((n_nodes + 1) * sizeof(void *));
    assert_non_null(nodes);
    memcpy(nodes, m->graph->nodes, n_nodes * sizeof(void *));
    for (size_t i = 0; i < n_values; i++)
        if (m->graph->values[i] && m->graph->values[i]->tensor)
            zero_constant(&k, m->graph->values[i]);
    for (size_t i = 0; i < n_nodes; i++)
        for (size_t o = 0; o < nodes[i]->n_out; o++)
            if (nodes[i]->out[o])
                mask_value(&k, nodes[i]->out[o]);
    for (size_t i = 0; i < n_nodes; i++)
        write_norm(&k, nodes[i], c->m->graph->nodes[i]);
    free(nodes);
    mc_edit_sweep(m->graph);
    *ret_norms = k.norms;
    return m;
}
