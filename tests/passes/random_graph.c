#include "random_graph.h"

#include <math.h>

#include "base/rng.h"

uint32_t rg_below(struct rg *r, uint32_t n)
{
    return mc_rng_below(r->seed, 0, r->drawn++, n);
}

bool rg_chance(struct rg *r, uint32_t percent)
{
    return rg_below(r, 100) < percent;
}

void rg_int(struct mc_node *n, const char *name, int64_t v)
{
    assert_int_equal(mc_edit_attr_int(n, name, v, NULL), 0);
}

void rg_list(struct mc_node *n, const char *name, int count, const int64_t *v)
{
    assert_int_equal(mc_edit_attr_ints(n, name, v, (size_t)count, NULL), 0);
}

/* ---- constants ---- */

struct mc_value *rg_plain(struct rg *r, int rank, const int64_t *d, double scale, double middle)
{
    struct mc_shape s = mc_shape_of(rank, d);
    size_t n = (size_t)mc_shape_count(&s);
    float *x = malloc(n * sizeof *x + 1);
    assert_non_null(x);
    mc_rng_fill_normal(r->seed, 1, 4 * ++r->drawn << 20, x, n);
    for (size_t i = 0; i < n; i++)
        x[i] = (float)(middle + scale * (double)x[i]);
    struct mc_value *v = build_const(r->g, "w", MC_DTYPE_F32, rank, d, x);
    free(x);
    return v;
}

struct mc_value *rg_ints(struct rg *r, int n, const int64_t *x)
{
    return build_const(r->g, "ints", MC_DTYPE_I64, 1, D(n), x);
}

struct mc_value *rg_number(struct rg *r, float x)
{
    return build_const(r->g, "number", MC_DTYPE_F32, 0, NULL, &x);
}

/* int8 with a scale, for each of the first axis or for all: what a quantised model stores. */
static struct mc_value *stored_int8(struct rg *r, int rank, const int64_t *d, double scale)
{
    struct mc_shape s = mc_shape_of(rank, d);
    size_t n = (size_t)mc_shape_count(&s);
    int8_t *q = malloc(n + 1);
    assert_non_null(q);
    for (size_t i = 0; i < n; i++)
        q[i] = (int8_t)((int)rg_below(r, 255) - 127);
    struct mc_node *node;
    bool rows = rg_chance(r, 50);
    struct mc_value *in[2] = {build_const(r->g, "q", MC_DTYPE_I8, rank, d, q)};
    free(q);
    in[1] = rows ? rg_plain(r, 1, d, scale / 700, scale / 70) : rg_number(r, (float)scale / 70);
    struct mc_value *v = build_node(r->g, "DequantizeLinear", "w", 2, in, &node);
    if (rows)
        rg_int(node, "axis", 0);
    return v;
}

struct mc_value *rg_weight(struct rg *r, int rank, const int64_t *d, double scale, double middle)
{
    uint32_t how = rg_below(r, 20);
    if (how == 0 && middle == 0 && r->opset >= 13)
        return stored_int8(r, rank, d, scale);
    struct mc_value *v = rg_plain(r, rank, d, scale, middle);
    struct mc_node *n;
    if (how == 1) {
        v = build_unary(r->g, "Identity", "same", v);
    } else if (how == 2 && rank == 2) {
        v = rg_plain(r, 2, D(d[1], d[0]), scale, middle);
        v = build_node(r->g, "Transpose", "turned", 1, &v, &n);
        rg_list(n, "perm", 2, D(1, 0));
    } else if (how < 6) { /* in a node */
        struct mc_tensor *t = mc_tensor_ref(v->tensor);
        v = build_node(r->g, "Constant", "held", 0, NULL, &n);
        assert_int_equal(mc_edit_attr_tensor(n, "value", t, NULL), 0);
        mc_tensor_unref(t);
    }
    return v;
}

/* ---- nodes ---- */

struct rv rg_node(struct rg *r, const char *op, int n_in, struct mc_value *const *in, int rank,
                  const int64_t *d, struct mc_node **ret)
{
    struct rv y = {.rank = rank};
    memcpy(y.d, d, (size_t)rank * sizeof *d);
    y.v = build_node(r->g, op, op, (size_t)n_in, in, ret);
    return y;
}

struct rv rg_like(struct rg *r, const char *op, struct rv x)
{
    return rg_node(r, op, 1, &x.v, x.rank, x.d, NULL);
}

/* Of a larger or equal x: in either order where that is the same. */
struct rv rg_two(struct rg *r, const char *op, struct rv x, struct mc_value *b)
{
    bool swap = (!strcmp(op, "Add") || !strcmp(op, "Mul")) && rg_chance(r, 40);
    struct mc_value *in[2] = {swap ? b : x.v, swap ? x.v : b};
    return rg_node(r, op, 2, in, x.rank, x.d, NULL);
}

/* The shape put together from that of x, as exporters of dynamic graphs do. */
static struct mc_value *computed(struct rg *r, struct rv x, int rank, const int64_t *d, int from)
{
    struct mc_value *part[2 * RG_RANK], *in[2] = {build_unary(r->g, "Shape", "shape", x.v)};
    struct mc_node *n;
    bool one = rg_chance(r, 50);
    int64_t index = from;
    in[1] = one ? rg_ints(r, 1, &index) : build_const(r->g, "at", MC_DTYPE_I64, 0, NULL, &index);
    struct mc_value *batch = build_node(r->g, "Gather", "batch", 2, in, &n);
    if (!one)
        batch = rg_unsqueeze(r, (struct rv){.v = batch}, 0).v;
    for (int i = 0; i < rank; i++)
        part[i] = d[i] == RG_BATCH ? batch : rg_ints(r, 1, &d[i]);
    struct mc_value *to = build_node(r->g, "Concat", "to", (size_t)rank, part, &n);
    rg_int(n, "axis", 0);
    return to;
}

struct rv rg_reshape(struct rg *r, struct rv x, int rank, const int64_t *d)
{
    int64_t to[RG_RANK];
    int from = -1, open = -1;
    for (int i = 0; i < x.rank; i++)
        if (x.d[i] == RG_BATCH)
            from = i;
    for (int i = 0; i < rank; i++) {
        to[i] = d[i] == RG_BATCH && !r->free_batch && rg_chance(r, 50) ? RG_SAMPLES : d[i];
        if (to[i] == RG_BATCH && i == from)
            to[i] = 0;
        else if (to[i] < 0)
            open = i, to[i] = -1;
        else if (i < x.rank && x.d[i] == to[i] && rg_chance(r, 30))
            to[i] = 0;
    }
    if (open < 0 && rg_chance(r, 40))
        to[rg_below(r, (uint32_t)rank)] = -1;
    bool any = false;
    for (int i = 0; i < rank; i++)
        any |= d[i] == RG_ANY;
    struct mc_value *in[2] = {x.v};
    in[1] = from >= 0 && !any && rg_chance(r, 25) ? computed(r, x, rank, d, from)
                                                  : rg_ints(r, rank, to);
    return rg_node(r, "Reshape", 2, in, rank, d, NULL);
}

struct rv rg_transpose(struct rg *r, struct rv x, const int64_t *perm)
{
    int64_t d[RG_RANK];
    struct mc_node *n;
    for (int i = 0; i < x.rank; i++)
        d[i] = x.d[perm[i]];
    struct rv y = rg_node(r, "Transpose", 1, &x.v, x.rank, d, &n);
    rg_list(n, "perm", x.rank, perm);
    return y;
}

/* Axes are an attribute before opset 13, an input since. */
static struct rv with_axis(struct rg *r, const char *op, struct rv x, int axis, int rank,
                           const int64_t *d, bool input)
{
    struct mc_node *n;
    struct mc_value *in[2] = {x.v, input ? rg_ints(r, 1, D(axis)) : NULL};
    struct rv y = rg_node(r, op, input ? 2 : 1, in, rank, d, &n);
    if (!input)
        rg_list(n, "axes", 1, D(axis));
    return y;
}

struct rv rg_squeeze(struct rg *r, struct rv x, int axis)
{
    int64_t d[RG_RANK];
    for (int i = 0, k = 0; i < x.rank; i++)
        if (i != axis)
            d[k++] = x.d[i];
    return with_axis(r, "Squeeze", x, axis, x.rank - 1, d, r->opset >= 13);
}

struct rv rg_unsqueeze(struct rg *r, struct rv x, int axis)
{
    int64_t d[RG_RANK];
    for (int i = 0, k = 0; i <= x.rank; i++)
        d[i] = i == axis ? 1 : x.d[k++];
    return with_axis(r, "Unsqueeze", x, axis, x.rank + 1, d, r->opset >= 13);
}

struct rv rg_mean(struct rg *r, struct rv x, int axis, bool keep)
{
    int64_t d[RG_RANK];
    int rank = 0;
    for (int i = 0; i < x.rank; i++)
        if (i != axis || keep)
            d[rank++] = i == axis ? 1 : x.d[i];
    struct rv y = with_axis(r, "ReduceMean", x, axis, rank, d, r->opset >= 18);
    rg_int(y.v->producer, "keepdims", keep);
    return y;
}

struct rv rg_concat(struct rg *r, int axis, int n, const struct rv *x)
{
    struct mc_value *in[8];
    struct mc_node *node;
    struct rv y = x[0];
    y.d[axis] = 0;
    for (int i = 0; i < n; i++) {
        in[i] = x[i].v;
        y.d[axis] += x[i].d[axis];
    }
    y = rg_node(r, "Concat", n, in, y.rank, y.d, &node);
    rg_int(node, "axis", rg_chance(r, 50) ? axis : axis - y.rank);
    return y;
}

void rg_split(struct rg *r, struct rv x, int axis, int n, const int64_t *size, struct rv *ret)
{
    if (rg_chance(r, 30)) {
        int64_t from = 0;
        for (int i = 0; i < n; from += size[i++])
            ret[i] = rg_slice(r, x, axis, from, from + size[i], 1);
        return;
    }
    struct mc_value *in[2] = {x.v}, *out[8];
    struct mc_node *node;
    struct mc_err err;
    bool input = r->opset >= 13;
    if (input)
        in[1] = rg_ints(r, n, size);
    for (int i = 0; i < n; i++) {
        ret[i] = x;
        ret[i].d[axis] = size[i];
        ret[i].v = out[i] = mc_edit_fresh(r->g, "part");
    }
    build_ok(mc_edit_node(r->g, r->g->n_nodes, "Split", "", 0, "split", in, input ? 2 : 1, out,
                          (size_t)n, &node, &err),
             &err);
    rg_int(node, "axis", axis);
    if (!input)
        rg_list(node, "split", n, size);
}

struct rv rg_slice(struct rg *r, struct rv x, int axis, int64_t from, int64_t to, int64_t step)
{
    struct rv y = x;
    y.d[axis] = (to - from + step - 1) / step;
    if (to == x.d[axis] && rg_chance(r, 50))
        to = INT64_MAX;
    else if (to < x.d[axis] && rg_chance(r, 30))
        to -= x.d[axis];
    struct mc_value *in[5] = {x.v, rg_ints(r, 1, &from), rg_ints(r, 1, &to), rg_ints(r, 1, D(axis)),
                              rg_ints(r, 1, &step)};
    return rg_node(r, "Slice", 5, in, y.rank, y.d, NULL);
}

struct rv rg_activation(struct rg *r, struct rv x)
{
    static const char *const plain[] = {"Relu", "Sigmoid",     "Tanh",     "LeakyRelu",
                                        "Elu",  "HardSigmoid", "Softplus", "Softsign",
                                        "Selu", "Relu",        "Neg",      "Abs"};
    switch (rg_below(r, 6)) {
    case 0: /* swish */ return rg_two(r, "Mul", x, rg_like(r, "Sigmoid", x).v);
    case 1: { /* relu6 */
        struct mc_value *in[3] = {x.v, rg_number(r, 0), rg_number(r, 6)};
        return rg_node(r, "Clip", 3, in, x.rank, x.d, NULL);
    }
    case 2: { /* gelu, written out */
        struct rv e = rg_like(r, "Erf", rg_two(r, "Div", x, rg_number(r, 1.41421356f)));
        e = rg_two(r, "Mul", x, rg_two(r, "Add", e, rg_number(r, 1)).v);
        return rg_two(r, "Mul", e, rg_number(r, 0.5f));
    }
    default: return rg_like(r, plain[rg_below(r, 12)], x);
    }
}

/* Over the last axis: the operator, or as exporters wrote it before there was one. */
struct rv rg_layer_norm(struct rg *r, struct rv x)
{
    int64_t c = x.d[x.rank - 1];
    struct mc_value *scale = rg_weight(r, 1, &c, 0.2, 1), *shift = rg_weight(r, 1, &c, 0.2, 0);
    if (r->opset >= 17 && rg_chance(r, 60)) {
        struct mc_value *in[3] = {x.v, scale, shift};
        return rg_node(r, "LayerNormalization", rg_chance(r, 80) ? 3 : 2, in, x.rank, x.d, NULL);
    }
    bool centred = rg_chance(r, 70);
    struct rv d = centred ? rg_two(r, "Sub", x, rg_mean(r, x, x.rank - 1, true).v) : x;
    struct rv var = rg_mean(r, rg_two(r, "Mul", d, d.v), x.rank - 1, true);
    struct rv root = rg_like(r, "Sqrt", rg_two(r, "Add", var, rg_number(r, 1e-5f)));
    d = rg_two(r, "Mul", rg_two(r, "Div", d, root.v), scale);
    return centred ? rg_two(r, "Add", d, shift) : d;
}

/* ---- networks ---- */

static struct rv start(struct rg *r, int rank, const int64_t *d)
{
    struct rv x = {.rank = rank};
    int64_t declared[RG_RANK];
    memcpy(x.d, d, (size_t)rank * sizeof *d);
    for (int i = 0; i < rank; i++)
        declared[i] = d[i] != RG_BATCH ? d[i] : r->free_batch ? -2 : RG_SAMPLES;
    x.v = build_input(r->g, "x", MC_DTYPE_F32, rank, declared);
    return x;
}

static struct rv images_to_dense(struct rg *r, struct rv x)
{
    struct mc_node *n;
    int64_t all = x.d[1] * x.d[2] * x.d[3];
    switch (rg_below(r, 4)) {
    case 0: x = rg_node(r, "Flatten", 1, &x.v, 2, D(RG_BATCH, all), NULL); return x;
    case 1: return rg_reshape(r, x, 2, D(RG_BATCH, all));
    case 2:
        x = rg_node(r, "GlobalAveragePool", 1, &x.v, 4, D(RG_BATCH, x.d[1], 1, 1), &n);
        return rg_chance(r, 50) ? rg_squeeze(r, rg_squeeze(r, x, 3), 2)
                                : rg_node(r, "Flatten", 1, &x.v, 2, D(RG_BATCH, x.d[1]), NULL);
    default: return rg_mean(r, rg_mean(r, x, 3, false), 2, false);
    }
}

static struct rv images_to_sequence(struct rg *r, struct rv x)
{
    if (rg_chance(r, 50)) { /* patches of a picture */
        x = rg_reshape(r, x, 3, D(RG_BATCH, x.d[1], x.d[2] * x.d[3]));
        return rg_transpose(r, x, D(0, 2, 1));
    }
    x = rg_transpose(r, x, D(0, 3, 1, 2)); /* columns of a line of text */
    return rg_reshape(r, x, 3, D(RG_BATCH, x.d[1], x.d[2] * x.d[3]));
}

static struct rv sequence_to_dense(struct rg *r, struct rv x)
{
    struct mc_value *in[2] = {x.v};
    struct mc_node *n;
    int64_t at = (int64_t)rg_below(r, (uint32_t)x.d[1]);
    switch (rg_below(r, 3)) {
    case 0:
        in[1] = build_const(r->g, "step", MC_DTYPE_I64, 0, NULL, &at);
        x = rg_node(r, "Gather", 2, in, 2, D(RG_BATCH, x.d[2]), &n);
        rg_int(n, "axis", 1);
        return x;
    case 1: return rg_mean(r, x, 1, false);
    default: return rg_reshape(r, x, 2, D(RG_BATCH, x.d[1] * x.d[2]));
    }
}

/* Words of a table; the input is made whole and small first. */
static struct rv embedded(struct rg *r, struct rv x)
{
    int64_t width = 4 + 2 * (int64_t)rg_below(r, 4);
    struct mc_node *n;
    x = rg_like(r, "Abs", rg_two(r, "Mul", x, rg_number(r, 3)));
    struct mc_value *in[3] = {x.v, rg_number(r, 0), rg_number(r, 6)};
    x = rg_node(r, "Clip", 3, in, 2, x.d, NULL);
    x = rg_node(r, "Cast", 1, &x.v, 2, x.d, &n);
    rg_int(n, "to", 7);
    in[0] = rg_weight(r, 2, D(7, width), 1, 0);
    in[1] = x.v;
    return rg_node(r, "Gather", 2, in, 3, D(RG_BATCH, x.d[1], width), NULL);
}

static struct rv body(struct rg *r, struct rv x, int depth)
{
    for (int i = 0; i < depth; i++)
        x = x.rank == 4   ? rg_conv_block(r, x)
            : x.rank == 3 ? rg_chance(r, 25) ? rg_recurrent(r, x) : rg_sequence_block(r, x)
                          : rg_dense_block(r, x);
    return x;
}

void rg_network(struct rg *r, uint64_t seed, struct rv *ret_x)
{
    static const int opsets[] = {11, 13, 14, 17, 18, 20};
    *r = (struct rg){.seed = seed};
    r->opset = opsets[rg_below(r, 6)];
    r->free_batch = rg_chance(r, 60);
    r->m = build_model(r->opset);
    r->g = r->m->graph;
    struct rv x;
    switch (rg_below(r, 5)) {
    case 0:
    case 1:
        *ret_x = start(r, 4, D(RG_BATCH, 3, 4 + rg_below(r, 3), 4 + rg_below(r, 3)));
        x = body(r, rg_conv(r, *ret_x, 4 + 4 * (int64_t)rg_below(r, 2), 3, 1),
                 1 + (int)rg_below(r, 4));
        if (rg_chance(r, 70))
            x = rg_chance(r, 70) ? images_to_dense(r, x) : images_to_sequence(r, x);
        break;
    case 2:
        *ret_x = start(r, 2, D(RG_BATCH, 5 + rg_below(r, 4)));
        x = rg_linear(r, *ret_x, 4 + 2 * (int64_t)rg_below(r, 4));
        break;
    case 3:
        *ret_x = start(r, 2, D(RG_BATCH, 5));
        x = embedded(r, *ret_x);
        break;
    default:
        *ret_x = start(r, 3, D(RG_BATCH, 5, 6));
        x = rg_chance(r, 50) ? rg_recurrent(r, *ret_x) : rg_linear(r, *ret_x, 8);
    }
    x = body(r, x, 1 + (int)rg_below(r, 3));
    if (x.rank == 3 && rg_chance(r, 60))
        x = body(r, sequence_to_dense(r, x), (int)rg_below(r, 2));
    build_output(r->g, x.rank == 4 ? rg_conv(r, x, 3, 1, 1).v : rg_linear(r, x, 3).v);
}
