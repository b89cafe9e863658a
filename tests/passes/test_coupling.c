/* test_coupling MODEL…: which units there are, and that what is left without some computes the same as with zeros. */
#include "prune_util.h"

#include "formats/onnx.h"
#include "graph/run/fold.h"

static int n_models;
static char **models;

/* ---- graphs ---- */

static struct mc_value *conv(struct mc_graph *g, const char *name, struct mc_value *x, int64_t out,
                             int64_t in, int64_t kernel, int64_t groups, bool transposed)
{
    char text[64];
    snprintf(text, sizeof text, "%s.w", name);
    struct mc_value *w = transposed
                             ? random_const(g, text, 4, DIMS(in, out / groups, kernel, kernel),
                                            (uint64_t)strlen(name) + (uint64_t)out)
                             : random_const(g, text, 4, DIMS(out, in / groups, kernel, kernel),
                                            (uint64_t)in * 7 + (uint64_t)out);
    snprintf(text, sizeof text, "%s.b", name);
    struct mc_value *in3[3] = {x, w, random_const(g, text, 1, DIMS(out), (uint64_t)out * 3 + 1)};
    struct mc_node *n;
    struct mc_value *y = build_node(g, transposed ? "ConvTranspose" : "Conv", name, 3, in3, &n);
    assert_int_equal(mc_edit_attr_int(n, "group", groups, NULL), 0);
    assert_int_equal(
        mc_edit_attr_ints(n, "pads", DIMS(kernel / 2, kernel / 2, kernel / 2, kernel / 2), 4, NULL),
        0);
    return y;
}

static struct mc_value *relu(struct mc_graph *g, struct mc_value *x)
{
    return build_unary(g, "Relu", "relu", x);
}

static struct mc_value *dense(struct mc_graph *g, const char *name, struct mc_value *x, int64_t in,
                              int64_t out)
{
    char text[64];
    snprintf(text, sizeof text, "%s.w", name);
    struct mc_value *y = build_binary(
        g, "MatMul", name, x, random_const(g, text, 2, DIMS(in, out), (uint64_t)(in + out * 11)));
    snprintf(text, sizeof text, "%s.b", name);
    return build_binary(g, "Add", "add", y, random_const(g, text, 1, DIMS(out), (uint64_t)out));
}

static struct mc_value *image(struct mc_graph *g, int64_t channels)
{
    return build_input(g, "x", MC_DTYPE_F32, 4, DIMS(-2, channels, 5, 5));
}

static struct mc_value *rows(struct mc_graph *g, int64_t width)
{
    return build_input(g, "x", MC_DTYPE_F32, 3, DIMS(-2, 4, width));
}

/* ---- looking ---- */

static struct mc_coupling *found(struct mc_model *m)
{
    struct mc_coupling *c;
    struct mc_err err;
    build_ok(mc_coupling_find(m, &c, &err), &err);
    return c;
}

static const struct mc_coupling_group *group(const struct mc_coupling *c, const char *name)
{
    for (size_t i = 0; i < c->n_groups; i++)
        if (!strcmp(c->group[i].name, name))
            return &c->group[i];
    prune_print(c);
    fail_msg("no group '%s'", name);
    return NULL;
}

/* The group has n units of this kind, which can go. */
static const struct mc_coupling_group *expect(const struct mc_coupling *c, const char *name,
                                              const char *kind, int64_t n)
{
    const struct mc_coupling_group *g = group(c, name);
    assert_null(g->why);
    assert_string_equal(g->kind, kind);
    assert_int_equal(g->n, n);
    return g;
}

static void expect_held(const struct mc_coupling *c, const char *name, const char *why)
{
    const struct mc_coupling_group *g = group(c, name);
    assert_non_null(g->why);
    if (!strstr(g->why, why))
        fail_msg("'%s' is held because '%s'", name, g->why);
    assert_int_equal(g->first, -1);
}

/* Cut at three shares and compared; m is dropped. */
static void same_without(struct mc_model *m)
{
    for (int i = 0; i < 3; i++) {
        double d = prune_check(m, 0.3 + 0.2 * i, (uint64_t)i + 1, false);
        if (!(d <= 1e-12))
            fail_msg("keep %.1f: the outputs differ by %g", 0.3 + 0.2 * i, d);
    }
    mc_model_free(m);
}

static void finish(struct mc_model *m, struct mc_coupling *c)
{
    mc_coupling_free(c);
    same_without(m);
}

/* ---- cases ---- */

static void residuals_and_a_dense_end(void **state)
{
    (void)state;
    struct mc_model *m = build_model(17);
    struct mc_graph *g = m->graph;
    struct mc_value *a = relu(g, conv(g, "a", image(g, 3), 8, 3, 3, 1, false));
    struct mc_value *b =
        conv(g, "b", relu(g, conv(g, "b0", a, 6, 8, 1, 1, false)), 8, 6, 3, 1, false);
    struct mc_value *s = build_binary(g, "Add", "sum", b, a);
    struct mc_value *p = build_unary(g, "GlobalAveragePool", "pool", s);
    build_output(g, conv(g, "c", p, 4, 8, 1, 1, false));
    struct mc_coupling *c = found(m);
    assert_int_equal(c->n_groups, 3);
    assert_int_equal(c->n_units, 14);
    expect(c, "a", "channels", 8);
    expect(c, "b0", "channels", 6);
    expect_held(c, "c", "an axis of an output");
    const struct mc_value *w = mc_graph_value(g, "b.w");
    assert_int_equal(mc_coupling_role(c, w, 0), MC_ROLE_MAKES);
    assert_int_equal(mc_coupling_role(c, w, 1), MC_ROLE_READS);
    assert_int_equal(mc_coupling_role(c, mc_graph_value(g, "b.b"), 0), MC_ROLE_ALONG);
    assert_int_equal(mc_coupling_axis(c, w, 0)->unit[3],
                     mc_coupling_axis(c, mc_graph_value(g, "a.w"), 0)->unit[3]);
    assert_null(mc_coupling_axis(c, w, 2));
    assert_null(mc_coupling_axis(c, mc_graph_value(g, "x"), 1));
    finish(m, c);
}

static void depthwise_and_its_multiplier(void **state)
{
    (void)state;
    struct mc_model *m = build_model(17);
    struct mc_graph *g = m->graph;
    struct mc_value *a = conv(g, "a", image(g, 3), 6, 3, 1, 1, false);
    struct mc_value *d = relu(g, conv(g, "d", relu(g, a), 6, 6, 3, 6, false));
    struct mc_value *e = relu(g, conv(g, "e", d, 24, 6, 3, 6, false));
    build_output(g, conv(g, "c", e, 4, 24, 1, 1, false));
    struct mc_coupling *c = found(m);
    assert_int_equal(expect(c, "a", "channels", 6)->nodes, 1);
    expect(c, "e multiplier", "multiplier", 4);
    finish(m, c);
}

static void whole_groups(void **state)
{
    (void)state;
    struct mc_model *m = build_model(17);
    struct mc_graph *g = m->graph;
    struct mc_value *a = relu(g, conv(g, "a", image(g, 3), 12, 3, 1, 1, false));
    struct mc_value *d = relu(g, conv(g, "d", a, 24, 12, 3, 6, false));
    build_output(g, conv(g, "c", d, 4, 24, 1, 1, false));
    struct mc_coupling *c = found(m);
    const struct mc_coupling_group *k = expect(c, "a groups", "groups", 6);
    assert_int_equal(k->nodes, 2);
    bool gone[6] = {true, false, false, true, true, false};
    assert_int_equal(c->n_units, 6);
    struct mc_model *cut = prune_cut(m, c, gone);
    struct mc_node *n = mc_graph_value(cut->graph, "d.w")->uses[0].node;
    assert_int_equal(mc_node_int(n, "group", 1), 3);
    mc_model_free(cut);
    finish(m, c);
}

static void even_groups(void **state)
{
    (void)state;
    struct mc_model *m = build_model(17);
    struct mc_graph *g = m->graph;
    struct mc_value *a = relu(g, conv(g, "a", image(g, 3), 24, 3, 1, 1, false));
    struct mc_value *d = relu(g, conv(g, "d", a, 32, 24, 3, 2, false));
    struct mc_value *e = relu(g, conv(g, "e", d, 12, 32, 3, 4, false));
    build_output(g, conv(g, "c", e, 4, 12, 1, 1, false));
    struct mc_coupling *c = found(m);
    const struct mc_coupling_group *k = expect(c, "a", "channels", 24);
    assert_int_equal(k->n_partitions, 1);
    assert_int_equal(k->partition[0].parts, 2);
    assert_int_equal(k->partition[0].part[11], 0);
    assert_int_equal(k->partition[0].part[12], 1);
    k = expect(c, "d", "channels", 32); /* 4 parts lie in 2 */
    assert_int_equal(k->n_partitions, 1);
    assert_int_equal(k->partition[0].parts, 4);
    assert_int_equal(mc_coupling_feasible(k, 9, 1), 8);
    expect(c, "e", "channels", 12);
    finish(m, c);
}

static void transposed_convolutions(void **state)
{
    (void)state;
    for (int64_t groups = 1; groups <= 12; groups *= groups == 2 ? 3 : 2) { /* 1, 2, 6, 12 */
        struct mc_model *m = build_model(17);
        struct mc_graph *g = m->graph;
        struct mc_value *a = relu(g, conv(g, "a", image(g, 3), 12, 3, 1, 1, false));
        struct mc_value *d = relu(g, conv(g, "d", a, 24, 12, 3, groups, true));
        build_output(g, conv(g, "c", d, 4, 24, 1, 1, false));
        struct mc_coupling *c = found(m);
        const struct mc_coupling_group *k =
            groups == 6 ? expect(c, "a groups", "groups", 6) : expect(c, "a", "channels", 12);
        assert_int_equal(k->n_partitions, groups == 2);
        expect(c, "d", "channels", 24 / groups);
        finish(m, c);
    }
}

static void weights_shared_by_two(void **state)
{
    (void)state;
    struct mc_model *m = build_model(17);
    struct mc_graph *g = m->graph;
    struct mc_value *x = rows(g, 5), *w = random_const(g, "w", 2, DIMS(6, 6), 3);
    struct mc_value *h = build_unary(g, "Tanh", "t", dense(g, "a", x, 5, 6));
    h = build_unary(g, "Tanh", "t", build_binary(g, "MatMul", "m1", h, w));
    h = build_unary(g, "Tanh", "t", build_binary(g, "MatMul", "m2", h, w));
    build_output(g, dense(g, "z", h, 6, 3));
    struct mc_coupling *c = found(m);
    expect(c, "a", "hidden nodes", 6);
    assert_int_equal(c->n_units, 6);
    finish(m, c);
}

static void products_of_every_form(void **state)
{
    (void)state;
    struct mc_model *m = build_model(17);
    struct mc_graph *g = m->graph;
    struct mc_node *n;
    struct mc_value *x = build_input(g, "x", MC_DTYPE_F32, 2, DIMS(3, 5));
    struct mc_value *in[3] = {x, random_const(g, "w1", 2, DIMS(8, 5), 1),
                              random_const(g, "b1", 2, DIMS(1, 8), 2)};
    struct mc_value *h = build_node(g, "Gemm", "g1", 3, in, &n); /* transB */
    assert_int_equal(mc_edit_attr_int(n, "transB", 1, NULL), 0);
    struct mc_value *in2[3] = {random_const(g, "w2", 2, DIMS(8, 7), 3), relu(g, h),
                               random_const(g, "b2", 2, DIMS(7, 1), 4)};
    h = build_node(g, "Gemm", "g2", 3, in2, &n); /* [8,7]ᵀ [3,8]ᵀ = [7,3] */
    assert_int_equal(mc_edit_attr_int(n, "transA", 1, NULL), 0);
    assert_int_equal(mc_edit_attr_int(n, "transB", 1, NULL), 0);
    h = build_binary(g, "MatMul", "m3", random_const(g, "w3", 3, DIMS(4, 6, 7), 5),
                     build_unary(g, "Tanh", "t", h)); /* [4,6,3] */
    h = build_binary(g, "MatMul", "m4", random_const(g, "w4", 1, DIMS(6), 6),
                     build_unary(g, "Tanh", "t", h)); /* [4,3] */
    build_output(g, build_binary(g, "MatMul", "m5", random_const(g, "w5", 2, DIMS(2, 4), 7), h));
    struct mc_coupling *c = found(m);
    expect(c, "g1", "hidden nodes", 8);
    expect(c, "g2", "hidden nodes", 7);
    expect(c, "m3", "hidden nodes", 4); /* batch */
    expect(c, "m3 hidden nodes", "hidden nodes", 6);
    finish(m, c);
}

static struct mc_value *einsum(struct mc_graph *g, const char *name, const char *equation,
                               struct mc_value *a, struct mc_value *b)
{
    struct mc_node *n;
    struct mc_value *in[2] = {a, b};
    struct mc_value *y = build_node(g, "Einsum", name, 2, in, &n);
    assert_int_equal(mc_edit_attr_string(n, "equation", equation, NULL), 0);
    return y;
}

static void attention_by_einsum(void **state)
{
    (void)state;
    struct mc_model *m = build_model(17);
    struct mc_graph *g = m->graph;
    struct mc_value *x = build_input(g, "x", MC_DTYPE_F32, 3, DIMS(2, 4, 10));
    struct mc_value *q =
        einsum(g, "q", "bsc,chd->bhsd", x, random_const(g, "wq", 3, DIMS(10, 3, 6), 1));
    struct mc_value *k =
        einsum(g, "k", "bsc,chd->bhsd", x, random_const(g, "wk", 3, DIMS(10, 3, 6), 2));
    struct mc_value *v =
        einsum(g, "v", "bsc,chd->bhsd", x, random_const(g, "wv", 3, DIMS(10, 3, 5), 3));
    struct mc_value *p = build_unary(g, "Softmax", "p", einsum(g, "s", "bhqd,bhkd->bhqk", q, k));
    struct mc_value *o = einsum(g, "o", "...qk,...kd->...qd", p, v);
    build_output(g,
                 einsum(g, "y", "bhqd,hdc->bqc", o, random_const(g, "wo", 3, DIMS(3, 5, 10), 4)));
    struct mc_coupling *c = found(m);
    expect(c, "q", "hidden nodes", 6);
    expect(c, "q hidden nodes", "hidden nodes", 3);
    expect(c, "v", "hidden nodes", 5);
    expect_held(c, "y", "an axis of an output");
    finish(m, c);
}

static void element_by_element(void **state)
{
    (void)state;
    struct mc_model *m = build_model(17);
    struct mc_graph *g = m->graph;
    struct mc_value *x = image(g, 3);
    struct mc_value *a = conv(g, "a", x, 6, 3, 1, 1, false),
                    *b = conv(g, "b", x, 6, 3, 1, 1, false);
    a = build_binary(g, "Mul", "mul", a, random_const(g, "scale", 3, DIMS(6, 1, 1), 1));
    a = build_binary(g, "PRelu", "prelu", a, random_const(g, "slope", 4, DIMS(1, 6, 1, 1), 2));
    struct mc_value *three[3] = {
        build_binary(g, "Greater", "gt", a, random_const(g, "half", 0, DIMS(0), 3)), a, b};
    a = build_node(g, "Where", "where", 3, three, NULL);
    a = build_binary(g, "Add", "add", a, random_const(g, "ones", 4, DIMS(1, 6, 5, 1), 4));
    struct mc_value *gate =
        build_unary(g, "Sigmoid", "sg",
                    conv(g, "se", build_unary(g, "GlobalAveragePool", "gp", b), 6, 6, 1, 1, false));
    a = build_binary(g, "Mul", "gate", a, gate);
    build_output(g, conv(g, "c", a, 4, 6, 1, 1, false));
    struct mc_coupling *c = found(m);
    expect(c, "a", "channels", 6);
    assert_int_equal(c->n_units, 6);
    assert_null(mc_coupling_axis(c, mc_graph_value(g, "ones"), 2));
    assert_non_null(mc_coupling_axis(c, mc_graph_value(g, "slope"), 1));
    finish(m, c);
}

static struct mc_value *reduce(struct mc_graph *g, const char *op, struct mc_value *x, int64_t axis)
{
    struct mc_node *n;
    struct mc_value *y = build_node(g, op, "reduce", 1, &x, &n);
    assert_int_equal(mc_edit_attr_ints(n, "axes", &axis, 1, NULL), 0);
    return y;
}

/* LayerNormalization as old exporters wrote it. */
static void a_norm_in_parts(void **state)
{
    (void)state;
    struct mc_model *m = build_model(13);
    struct mc_graph *g = m->graph;
    struct mc_value *h = dense(g, "a", rows(g, 5), 5, 8);
    struct mc_value *d = build_binary(g, "Sub", "sub", h, reduce(g, "ReduceMean", h, -1));
    struct mc_value *s = reduce(
        g, "ReduceMean", build_binary(g, "Pow", "pow", d, f32_const(g, "two", 0, NULL, F(2))), -1);
    s = build_unary(g, "Sqrt", "sqrt",
                    build_binary(g, "Add", "eps", s, f32_const(g, "e", 0, NULL, F(1e-5f))));
    d = build_binary(g, "Div", "div", d, s);
    d = build_binary(g, "Mul", "mul", d, random_const(g, "gamma", 1, DIMS(8), 1));
    d = build_binary(g, "Add", "add", d, random_const(g, "beta", 1, DIMS(8), 2));
    build_output(g, dense(g, "z", build_unary(g, "Erf", "erf", dense(g, "f", d, 8, 12)), 12, 3));
    struct mc_coupling *c = found(m);
    assert_false(expect(c, "a", "hidden nodes", 8)->exact);
    assert_true(expect(c, "f", "hidden nodes", 12)->exact);
    finish(m, c);
}

static void norms(void **state)
{
    (void)state;
    struct mc_model *m = build_model(21);
    struct mc_graph *g = m->graph;
    struct mc_node *n;
    struct mc_value *v[5] = {conv(g, "a", image(g, 3), 8, 3, 1, 1, false)};
    for (int i = 1; i < 5; i++)
        v[i] = random_const(g, "bn", 1, DIMS(8), (uint64_t)i);
    float *variance = (float *)(uintptr_t)v[4]->tensor->data;
    for (int i = 0; i < 8; i++)
        variance[i] = 1 + variance[i] * variance[i];
    struct mc_value *h = build_node(g, "BatchNormalization", "bn", 5, v, NULL);
    h = conv(g, "b", relu(g, h), 10, 8, 1, 1, false);
    struct mc_value *in[3] = {h, random_const(g, "is", 1, DIMS(10), 7),
                              random_const(g, "ib", 1, DIMS(10), 8)};
    h = conv(g, "c", build_node(g, "InstanceNormalization", "in", 3, in, NULL), 12, 10, 1, 1,
             false);
    struct mc_value *gn[3] = {h, random_const(g, "gs", 1, DIMS(12), 7),
                              random_const(g, "gb", 1, DIMS(12), 8)};
    h = build_node(g, "GroupNormalization", "gn", 3, gn, &n);
    assert_int_equal(mc_edit_attr_int(n, "num_groups", 3, NULL), 0);
    h = conv(g, "d", h, 7, 12, 1, 1, false);
    h = build_node(g, "LRN", "lrn", 1, &h, &n);
    assert_int_equal(mc_edit_attr_int(n, "size", 3, NULL), 0);
    h = conv(g, "e", h, 9, 7, 1, 1, false);
    h = build_node(g, "Softmax", "soft", 1, &h, &n);
    assert_int_equal(mc_edit_attr_int(n, "axis", 1, NULL), 0);
    build_output(g, conv(g, "z", h, 2, 9, 1, 1, false));
    struct mc_coupling *c = found(m);
    assert_true(expect(c, "a", "channels", 8)->exact);
    assert_true(expect(c, "b", "channels", 10)->exact);
    const struct mc_coupling_group *k = expect(c, "c", "channels", 12);
    assert_false(k->exact);
    assert_int_equal(k->n_partitions, 1);
    assert_int_equal(k->partition[0].parts, 3);
    expect_held(c, "d", "its neighbours count");
    expect_held(c, "e", "a Softmax goes over it");
    finish(m, c);
}

static void reductions(void **state)
{
    (void)state;
    struct mc_model *m = build_model(13);
    struct mc_graph *g = m->graph;
    struct mc_value *x = rows(g, 5), *h = dense(g, "a", x, 5, 8); /* [n,4,8] */
    struct mc_value *y = dense(g, "b", reduce(g, "ReduceMax", h, 1), 8, 6);
    build_output(g, dense(g, "z", reduce(g, "ReduceL2", y, 1), 6, 3));
    struct mc_value *top = dense(g, "t", x, 5, 9);
    struct mc_node *n;
    top = build_node(g, "ArgMax", "top", 1, &top, &n);
    assert_int_equal(mc_edit_attr_int(n, "axis", 2, NULL), 0);
    build_output(g, top);
    struct mc_coupling *c = found(m);
    expect(c, "a", "hidden nodes", 8);
    expect_held(c, "t", "its positions have an order (ArgMax 'top')");
    finish(m, c);
}

static void what_nobody_described(void **state)
{
    (void)state;
    struct mc_model *m = build_model(17);
    struct mc_graph *g = m->graph;
    struct mc_value *h = dense(g, "a", rows(g, 5), 5, 4);
    h = build_unary(g, "Det", "det", h);
    build_output(g, h);
    struct mc_coupling *c = found(m);
    assert_int_equal(c->n_units, 0);
    expect_held(c, "a", "Det 'det' cannot lose channels");
    mc_coupling_free(c);
    mc_model_free(m);
}

/* A half of an axis is read by itself: one of it stays, whatever goes. */
static void no_axis_is_left_empty(void **state)
{
    (void)state;
    struct mc_model *m = build_model(17);
    struct mc_graph *g = m->graph;
    struct mc_value *h = dense(g, "a", rows(g, 5), 5, 8),
                    *two[2] = {mc_edit_fresh(g, "l"), mc_edit_fresh(g, "r")};
    struct mc_node *n;
    struct mc_err err;
    build_ok(mc_edit_node(g, g->n_nodes, "Split", "", 0, "split", &h, 1, two, 2, &n, &err), &err);
    assert_int_equal(mc_edit_attr_int(n, "axis", 2, NULL), 0);
    build_output(g, dense(g, "l", two[0], 4, 3));
    build_output(g, dense(g, "r", two[1], 4, 3));
    struct mc_coupling *c = found(m);
    const struct mc_coupling_group *k = expect(c, "a", "hidden nodes", 6);
    bool gone[6] = {true, true, true, true, true, true};
    assert_int_equal(k->first, 0);
    struct mc_model *cut = prune_cut(m, c, gone);
    assert_int_equal(mc_graph_value(cut->graph, "l.w")->tensor->shape.dim[0], 1);
    assert_int_equal(mc_graph_value(cut->graph, "r.w")->tensor->shape.dim[0], 1);
    mc_model_free(cut);
    finish(m, c);
}

static struct mc_graph *branch(struct mc_graph *g, struct mc_node *n, const char *name)
{
    struct mc_graph *b = mc_edit_graph(g->model, g, n, name);
    struct mc_err err;
    assert_non_null(b);
    build_ok(mc_edit_attr_graph(n, name, b, &err), &err);
    return b;
}

/* What branches read from outside, and what they have by themselves. */
static void branches(void **state)
{
    (void)state;
    struct mc_model *m = build_model(17);
    struct mc_graph *g = m->graph;
    struct mc_value *x = build_input(g, "x", MC_DTYPE_F32, 2, DIMS(2, 5));
    struct mc_value *sum = build_node(g, "ReduceSum", "sum", 1, &x, NULL);
    struct mc_value *condition =
        build_binary(g, "Greater", "greater", sum, f32_const(g, "zero", 0, NULL, F(0)));
    struct mc_value *h = dense(g, "h", x, 5, 8);
    random_const(g, "outside", 2, DIMS(8, 3), 1);
    struct mc_node *n;
    struct mc_err err;
    build_ok(mc_edit_node(g, g->n_nodes, "If", "", 0, "if", &condition, 1,
                          (struct mc_value *[]){mc_edit_fresh(g, "y")}, 1, &n, &err),
             &err);
    struct mc_graph *a = branch(g, n, "then_branch"), *b = branch(g, n, "else_branch");
    build_output(a, build_binary(a, "MatMul", "a", mc_edit_resolve(a, h->name),
                                 mc_edit_resolve(a, "outside")));
    struct mc_value *k = relu(b, dense(b, "b", mc_edit_resolve(b, h->name), 8, 6));
    build_output(b, build_binary(b, "MatMul", "c", k, random_const(b, "inside", 2, DIMS(6, 3), 2)));
    build_output(g, n->out[0]);
    struct mc_coupling *c = found(m);
    expect(c, "h", "hidden nodes", 8);
    expect(c, "b", "hidden nodes", 6);
    expect_held(c, "a", "an axis of an output");
    bool *gone = prune_random(c, 0.5, 3);
    struct mc_model *cut = prune_cut(m, c, gone);
    assert_int_equal(mc_graph_value(cut->graph, "outside")->tensor->shape.dim[0], 4);
    assert_int_equal(prune_parameters(cut), 5 * 4 + 4 + 4 * 3 + 4 * 3 + 3 + 3 * 3 + 1);
    mc_model_free(cut);
    free(gone);
    for (uint64_t i = 0; i < 8; i++) /* both branches are taken by some */
        assert_true(prune_check(m, 0.5, i, false) <= 1e-12);
    finish(m, c);
}

/* As torch.Tensor.squeeze(-1) is exported: what reads the value takes one of the two ranks. */
static void branches_of_different_rank(void **state)
{
    (void)state;
    static const int64_t two = 2, one = 1, last = -1, none = 0;
    struct mc_model *m = build_model(17);
    struct mc_graph *g = m->graph;
    struct mc_node *n;
    struct mc_err err;
    struct mc_value *x = build_input(g, "x", MC_DTYPE_F32, 3, DIMS(2, 3, -3));
    struct mc_value *h = build_binary(g, "Conv", "h", x, random_const(g, "w", 3, DIMS(6, 3, 2), 1));
    struct mc_value *length =
        build_binary(g, "Gather", "length", build_unary(g, "Shape", "shape", h),
                     build_const(g, "two", MC_DTYPE_I64, 0, NULL, &two));
    struct mc_value *condition = build_binary(g, "Equal", "equal", length,
                                              build_const(g, "one", MC_DTYPE_I64, 0, NULL, &one));
    build_ok(mc_edit_node(g, g->n_nodes, "If", "", 0, "if", &condition, 1,
                          (struct mc_value *[]){mc_edit_fresh(g, "y")}, 1, &n, &err),
             &err);
    struct mc_value *y = n->out[0];
    struct mc_graph *a = branch(g, n, "then_branch"), *b = branch(g, n, "else_branch");
    build_output(a, build_binary(a, "Squeeze", "squeeze", mc_edit_resolve(a, h->name),
                                 build_const(a, "last", MC_DTYPE_I64, 1, DIMS(1), &last)));
    build_output(b, build_unary(b, "Identity", "same", mc_edit_resolve(b, h->name)));
    y = build_binary(g, "Unsqueeze", "unsqueeze", y,
                     build_const(g, "none", MC_DTYPE_I64, 1, DIMS(1), &none));
    y = build_node(g, "Transpose", "turned", 1, &y, &n);
    assert_int_equal(mc_edit_attr_ints(n, "perm", DIMS(1, 0, 2), 3, NULL), 0);
    build_output(g, dense(g, "z", y, 6, 3));
    struct mc_model *before;
    build_ok(mc_model_clone(m, &before, &err), &err);
    build_ok(mc_coupling_prepare(m, &err), &err);
    for (size_t i = 0; i < g->n_nodes; i++)
        assert_false(mc_node_is(g->nodes[i], "If"));
    assert_true(prune_difference(before, m, 1) == 0);
    mc_model_free(before);
    struct mc_coupling *c = found(m);
    expect(c, "h", "channels", 6);
    finish(m, c);
}

static void real_models_are_cut_right(void **state)
{
    (void)state;
    assert_true(n_models > 0);
    for (int i = 0; i < n_models; i++) {
        struct mc_model *m;
        struct mc_err err;
        build_ok(mc_onnx_read(models[i], &m, &err), &err);
        build_ok(mc_prepare(m, NULL, &err), &err);
        build_ok(mc_coupling_prepare(m, &err), &err);
        print_message("%s\n", models[i]);
        assert_true(prune_check(m, 0.5, 1, true) <= 1e-12);
        mc_model_free(m);
    }
}

int main(int argc, char **argv)
{
    n_models = argc - 1;
    models = argv + 1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(residuals_and_a_dense_end),
        cmocka_unit_test(depthwise_and_its_multiplier),
        cmocka_unit_test(whole_groups),
        cmocka_unit_test(even_groups),
        cmocka_unit_test(transposed_convolutions),
        cmocka_unit_test(weights_shared_by_two),
        cmocka_unit_test(products_of_every_form),
        cmocka_unit_test(attention_by_einsum),
        cmocka_unit_test(element_by_element),
        cmocka_unit_test(a_norm_in_parts),
        cmocka_unit_test(norms),
        cmocka_unit_test(reductions),
        cmocka_unit_test(what_nobody_described),
        cmocka_unit_test(no_axis_is_left_empty),
        cmocka_unit_test(branches),
        cmocka_unit_test(branches_of_different_rank),
        cmocka_unit_test(real_models_are_cut_right),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
