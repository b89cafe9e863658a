/* Quantised regions as steps on integers, against the definition: every node by itself, in float64. */
#include "alloc_hook.h"
#include "run_util.h"

#include <string.h>

#include "graph/edit.h"

enum { MOST_STEPS = 1, TRIES = 25 };

static uint64_t seed = 20;
static int drawn, checked, different;

static int below(int n)
{
    return (int)mc_rng_below(seed, 9, (uint64_t)drawn++, (uint32_t)n);
}

static bool coin(void)
{
    return below(2) == 1;
}

static const char *fresh(const char *what)
{
    static char name[64];
    snprintf(name, sizeof name, "%s%d", what, drawn++);
    return name;
}

static struct mc_value *ints_const(struct mc_graph *g, int n, const int64_t *v)
{
    return build_const(g, fresh("i"), MC_DTYPE_I64, 1, DIMS(n), v);
}

struct side {
    enum mc_dtype dtype;
    float scale;
    int zero;
};

/* Parameters for numbers of about this size. */
static struct side side_for(double size)
{
    struct side s = {coin() ? MC_DTYPE_U8 : MC_DTYPE_I8, (float)size * 3 / 127, below(31) - 15};
    s.zero += s.dtype == MC_DTYPE_U8 ? 128 : 0;
    return s;
}

static struct mc_value *zero_const(struct mc_graph *g, enum mc_dtype dtype, int zero)
{
    return build_const(g, fresh("z"), dtype, 0, NULL, &(uint8_t){(uint8_t)zero});
}

static struct mc_value *quantise(struct mc_graph *g, struct mc_value *x, struct side s)
{
    struct mc_value *in[] = {x, f32_const(g, fresh("s"), 0, NULL, &s.scale),
                             zero_const(g, s.dtype, s.zero)};
    return build_node(g, "QuantizeLinear", fresh("q"), 3, in, NULL);
}

static struct mc_value *dequantise(struct mc_graph *g, struct mc_value *q, struct side s)
{
    struct mc_value *in[] = {q, f32_const(g, fresh("s"), 0, NULL, &s.scale),
                             zero_const(g, s.dtype, s.zero)};
    return build_node(g, "DequantizeLinear", fresh("d"), 3, in, NULL);
}

static struct mc_value *through(struct mc_graph *g, struct mc_value *x, struct side s)
{
    return dequantise(g, quantise(g, x, s), s);
}

/* A weight with parameters for itself, or for each index of `axis`. */
static struct mc_value *weight(struct mc_graph *g, int rank, const int64_t *dims, int axis)
{
    struct mc_shape shape = mc_shape_of(rank, dims);
    int64_t n = mc_shape_count(&shape), channels = coin() ? dims[axis] : 1;
    enum mc_dtype dtype = below(4) ? MC_DTYPE_I8 : MC_DTYPE_U8;
    int8_t *w = malloc((size_t)n), *zero = calloc((size_t)channels, 1);
    float *scale = malloc((size_t)channels * sizeof *scale);
    struct mc_node *node;
    assert_true(w && zero && scale);
    bool asymmetric = dtype == MC_DTYPE_U8 || !below(4);
    for (int64_t i = 0; i < n; i++)
        w[i] = (int8_t)(below(201) - 100 + (dtype == MC_DTYPE_U8 ? 128 : 0));
    for (int64_t i = 0; i < channels; i++) {
        scale[i] = 0.01F * (float)(1 + below(3));
        zero[i] = (int8_t)(asymmetric ? below(9) - 4 + (dtype == MC_DTYPE_U8 ? 128 : 0) : 0);
    }
    int r = channels > 1;
    struct mc_value *in[] = {build_const(g, fresh("w"), dtype, rank, dims, w),
                             f32_const(g, fresh("s"), r, DIMS(channels), scale),
                             build_const(g, fresh("z"), dtype, r, DIMS(channels), zero)};
    struct mc_value *v =
        build_node(g, "DequantizeLinear", fresh("dw"), asymmetric ? 3 : 2, in, &node);
    assert_int_equal(mc_edit_attr_int(node, "axis", axis, NULL), 0);
    free(w);
    free(zero);
    free(scale);
    return v;
}

static struct mc_value *perhaps_relu(struct mc_graph *g, struct mc_value *v)
{
    int which = below(3);
    if (which == 0)
        return build_unary(g, "Relu", fresh("relu"), v);
    struct mc_value *in[] = {v, f32_const(g, fresh("lo"), 0, NULL, F(-1.5F)),
                             f32_const(g, fresh("hi"), 0, NULL, F(2.25F))};
    return which == 1 ? build_node(g, "Clip", fresh("clip"), 3, in, NULL) : v;
}

/* ---- one layer between inputs x and perhaps y and one quantised output ---- */

struct layer {
    struct mc_model *m;
    struct mc_graph *g;
    int rank;
    int64_t dim[5];
    struct side x;
    struct mc_value *dx;
    size_t steps; /* expected */
};

static struct layer begin(int rank)
{
    struct layer l = {.m = build_model(17), .rank = rank, .steps = 2};
    l.g = l.m->graph;
    l.dim[0] = 1 + below(3);
    l.dim[1] = 1 + below(coin() ? 40 : 6);
    for (int d = 2; d < rank; d++)
        l.dim[d] = 3 + below(rank == 5 ? 4 : 8);
    l.x = side_for(1);
    l.dx = through(l.g, build_input(l.g, "x", MC_DTYPE_F32, rank, l.dim), l.x);
    return l;
}

static struct mc_value *other(struct layer *l, const int64_t *dim)
{
    l->steps++;
    struct mc_value *v = build_input(l->g, "y", MC_DTYPE_F32, l->rank, dim);
    return through(l->g, v, side_for(1.5));
}

static void end(struct layer *l, struct mc_value *v, struct side s)
{
    build_output(l->g, quantise(l->g, v, s));
}

static bool run_with(struct mc_model *m, const struct mc_session_opts *o, struct mc_session **ret)
{
    struct mc_err err;
    static float x[2][1 << 16];
    struct mc_array in[2];
    int rc = mc_session_new(m->graph, o, ret, &err);
    if (rc == MC_EUSAGE)
        return false; /* kernels that this machine cannot run */
    build_ok(rc, &err);
    for (size_t i = 0; i < m->graph->n_inputs; i++) {
        const struct mc_value *v = m->graph->inputs[i];
        int64_t dim[MC_RANK_MAX];
        for (int d = 0; d < v->type.rank; d++)
            dim[d] = v->type.dim[d].value;
        mc_rng_fill_normal(seed, i, 0, x[i], sizeof x[i] / sizeof *x[i]);
        in[i] = array_of(v->name, MC_DTYPE_F32, v->type.rank, dim, x[i]);
    }
    run_ok(*ret, in, (int)m->graph->n_inputs);
    return true;
}

static int element(const struct mc_array *a, int64_t i)
{
    return a->dtype == MC_DTYPE_I8 ? ((const int8_t *)a->data)[i] : ((const uint8_t *)a->data)[i];
}

static void expect_near(const struct mc_array *got, const struct mc_array *want, int most)
{
    assert_int_equal(got->dtype, want->dtype);
    assert_true(mc_shape_equal(&got->shape, &want->shape));
    for (int64_t i = 0; i < mc_shape_count(&want->shape); i++) {
        int d = abs(element(got, i) - element(want, i));
        checked++;
        different += d > 0;
        if (d > most)
            fail_msg("element %d is %d, not %d", (int)i, element(got, i), element(want, i));
    }
}

static void expect_same_bytes(const struct mc_session *a, const struct mc_session *b)
{
    const struct mc_array *x = mc_session_output(a, 0), *y = mc_session_output(b, 0);
    assert_int_equal(x->bytes, y->bytes);
    assert_memory_equal(x->data, y->data, x->bytes);
}

/* Within one step of the definition, of so many steps, the same at every level and for two threads. */
static void expect_integers(struct layer *l)
{
    static const char *const level[] = {"ref", "plain", "avx2", "avx512", "avx512vnni"};
    struct mc_session *got, *want, *same;
    struct mc_session_stats st;
    struct mc_pool *pool;
    struct mc_err err;
    assert_true(run_with(l->m, NULL, &got));
    assert_true(run_with(l->m, &(struct mc_session_opts){.precision = MC_PRECISION_F64}, &want));
    expect_near(mc_session_output(got, 0), mc_session_output(want, 0), MOST_STEPS);
    mc_session_stats(got, &st);
    assert_int_equal(st.nodes, l->steps);
    for (size_t i = 0; i < sizeof level / sizeof *level; i++)
        if (run_with(l->m, &(struct mc_session_opts){.kernels = level[i]}, &same)) {
            expect_same_bytes(got, same);
            mc_session_free(same);
        }
    build_ok(mc_pool_new(2, &pool, &err), &err);
    assert_true(run_with(l->m, &(struct mc_session_opts){.pool = pool}, &same));
    expect_same_bytes(got, same);
    mc_session_free(same);
    mc_pool_free(pool);
    mc_session_free(got);
    mc_session_free(want);
    mc_model_free(l->m);
}

/* ---- the layers ---- */

/* A convolution of l->dx; *ret_size is about the size of its elements. */
static struct mc_value *conv(struct layer *l, struct mc_value *bias, double *ret_size)
{
    int spatial = l->rank - 2;
    int64_t group = below(3) == 0 ? l->dim[1] : 1, dims[5], kernel[3], stride[3], pad[6], dil[3];
    int64_t k = l->dim[1] / group;
    struct mc_node *n;
    dims[0] = group * (1 + below(group > 1 ? 2 : 40));
    dims[1] = l->dim[1] / group;
    for (int d = 0; d < spatial; d++) {
        dims[d + 2] = kernel[d] = 1 + below(3);
        stride[d] = 1 + below(2);
        dil[d] = kernel[d] == 2 ? 2 : 1;
        pad[d] = below(2);
        pad[d + spatial] = below(2);
        k *= kernel[d];
    }
    float b[80];
    for (int i = 0; i < 80; i++)
        b[i] = (float)(below(400) - 200) / 100;
    if (!bias)
        bias = f32_const(l->g, fresh("b"), 1, DIMS(dims[0]), b);
    struct mc_value *in[] = {l->dx, weight(l->g, l->rank, dims, 0), bias};
    struct mc_value *v = build_node(l->g, "Conv", fresh("conv"), coin() ? 3 : 2, in, &n);
    mc_edit_attr_int(n, "group", group, NULL);
    mc_edit_attr_ints(n, "strides", stride, (size_t)spatial, NULL);
    mc_edit_attr_ints(n, "dilations", dil, (size_t)spatial, NULL);
    mc_edit_attr_ints(n, "pads", pad, 2 * (size_t)spatial, NULL);
    *ret_size = 0.6 * sqrt((double)k) + 0.5;
    return v;
}

static void convolutions(void **state)
{
    (void)state;
    for (int i = 0; i < 2 * TRIES; i++) {
        double size;
        struct layer l = begin(3 + below(3));
        struct mc_value *v = conv(&l, NULL, &size);
        end(&l, perhaps_relu(l.g, v), side_for(size));
        expect_integers(&l);
    }
}

/* What is added before the result is quantised is added in the step. */
static void residuals(void **state)
{
    (void)state;
    for (int i = 0; i < TRIES; i++) {
        struct layer l = begin(4);
        int64_t w[] = {l.dim[1], l.dim[1], 1, 1};
        struct mc_value *r = other(&l, l.dim);
        struct mc_value *v = build_binary(l.g, "Conv", "conv", l.dx, weight(l.g, 4, w, 0));
        v = coin() ? build_binary(l.g, "Add", "sum", v, r) : build_binary(l.g, "Add", "sum", r, v);
        end(&l, perhaps_relu(l.g, v), side_for(0.6 * sqrt((double)l.dim[1])));
        expect_integers(&l);
    }
}

static void products(void **state)
{
    (void)state;
    for (int i = 0; i < TRIES; i++) {
        struct layer l = begin(2 + below(2));
        bool gemm = l.rank == 2 && coin(), turned = gemm && coin(), across = gemm && coin();
        int64_t k = l.dim[across ? 0 : l.rank - 1], n = 1 + below(50);
        int64_t dims[] = {turned ? n : k, turned ? k : n};
        float b[50];
        for (int j = 0; j < 50; j++)
            b[j] = (float)(below(400) - 200) / 100;
        struct mc_value *bias = f32_const(l.g, "b", 1, DIMS(n), b), *v;
        struct mc_value *in[] = {l.dx, weight(l.g, 2, dims, turned ? 0 : 1), bias};
        if (gemm) {
            struct mc_node *node;
            v = build_node(l.g, "Gemm", "gemm", 3, in, &node);
            mc_edit_attr_int(node, "transA", across, NULL);
            mc_edit_attr_int(node, "transB", turned, NULL);
            mc_edit_attr_float(node, "alpha", 0.5F, NULL);
            mc_edit_attr_float(node, "beta", 2, NULL);
        } else {
            v = build_node(l.g, "MatMul", "matmul", 2, in, NULL);
            v = coin() ? build_binary(l.g, "Add", "add", v, bias) : v;
        }
        end(&l, perhaps_relu(l.g, v), side_for(0.6 * sqrt((double)k) + 1));
        expect_integers(&l);
    }
}

/* The last dimension of a tensor that a convolution makes is summed over. */
static void products_of_images(void **state)
{
    (void)state;
    for (int i = 0; i < 5; i++) {
        struct layer l = begin(4);
        int64_t w[] = {6, l.dim[1], 1, 1}, k = l.dim[3];
        struct mc_value *v = build_binary(l.g, "Conv", "conv", l.dx, weight(l.g, 4, w, 0));
        v = through(l.g, v, side_for(0.6 * sqrt((double)l.dim[1])));
        v = build_binary(l.g, "MatMul", "matmul", v, weight(l.g, 2, DIMS(k, 5), 1));
        l.steps++;
        end(&l, v, side_for(20));
        expect_integers(&l);
    }
}

static void pairs(void **state)
{
    (void)state;
    static const char *const op[] = {"Add", "Mul", "Sub"};
    for (int i = 0; i < TRIES; i++) {
        struct layer l = begin(2 + below(3));
        int64_t dim[5];
        for (int d = 0; d < l.rank; d++)
            dim[d] = below(3) ? l.dim[d] : 1;
        struct mc_value *y = other(&l, dim), *v;
        const char *name = op[below(3)];
        v = coin() ? build_binary(l.g, name, "pair", l.dx, y)
                   : build_binary(l.g, name, "pair", y, l.dx);
        end(&l, perhaps_relu(l.g, v), side_for(2));
        expect_integers(&l);
    }
}

static void pools(void **state)
{
    (void)state;
    static const char *const op[] = {"MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool",
                                     "ReduceMean"};
    for (int i = 0; i < TRIES; i++) {
        struct layer l = begin(3 + below(3));
        int which = below(5);
        struct mc_node *n;
        struct mc_value *v = build_node(l.g, op[which], "pool", 1, &l.dx, &n);
        if (which < 2) {
            mc_edit_attr_ints(n, "kernel_shape", DIMS(2, 2, 2), (size_t)l.rank - 2, NULL);
            mc_edit_attr_ints(n, "pads", DIMS(1, 1, 1, 1, 1, 1), 2 * ((size_t)l.rank - 2), NULL);
            mc_edit_attr_ints(n, "strides", DIMS(1, 2, 1), (size_t)l.rank - 2, NULL);
        }
        if (which == 1)
            mc_edit_attr_int(n, "count_include_pad", coin(), NULL);
        if (which == 4)
            mc_edit_attr_ints(n, "axes", DIMS(-1, 2, 3), (size_t)l.rank - 2, NULL);
        end(&l, v, op[which][0] == 'M' || which == 3 ? l.x : side_for(0.5));
        expect_integers(&l);
    }
}

static void concatenations(void **state)
{
    (void)state;
    for (int i = 0; i < TRIES; i++) {
        struct layer l = begin(2 + below(3));
        int axis = below(l.rank);
        int64_t dim[5];
        struct mc_node *n;
        memcpy(dim, l.dim, sizeof dim);
        dim[axis] = 1 + below(5);
        struct mc_value *in[] = {l.dx, other(&l, dim), l.dx};
        struct mc_value *v = build_node(l.g, "Concat", "concat", 3, in, &n);
        mc_edit_attr_int(n, "axis", coin() ? axis : axis - l.rank, NULL);
        end(&l, v, coin() ? l.x : side_for(1));
        expect_integers(&l);
    }
}

static void functions(void **state)
{
    (void)state;
    static const char *const op[] = {"Sigmoid", "Tanh", "LeakyRelu", "Erf", "HardSwish", "Exp"};
    for (int i = 0; i < TRIES; i++) {
        struct layer l = begin(2 + below(3));
        struct mc_value *v = build_unary(l.g, op[below(6)], "f", l.dx);
        if (coin())
            v = build_binary(l.g, "Mul", "gate", l.dx, v);
        if (coin())
            v = build_binary(l.g, "Add", "plus", v, f32_const(l.g, "c", 0, NULL, F(0.25F)));
        end(&l, v, side_for(1));
        expect_integers(&l);
    }
}

static struct mc_value *moved(struct layer *l, int which)
{
    struct mc_graph *g = l->g;
    struct mc_value *x = l->dx;
    struct mc_node *n;
    if (which == 0) {
        struct mc_value *v = build_node(g, "Transpose", "t", 1, &x, &n);
        mc_edit_attr_ints(n, "perm", DIMS(0, 2, 3, 1), 4, NULL);
        return v;
    }
    if (which == 1)
        return build_unary(g, "Flatten", "f", x);
    if (which == 2)
        return build_binary(g, "Reshape", "r", x, ints_const(g, 2, DIMS(l->dim[0], -1)));
    if (which == 3) {
        struct mc_value *in[] = {x, ints_const(g, 2, DIMS(1, 0)), ints_const(g, 2, DIMS(3, 9)),
                                 ints_const(g, 2, DIMS(2, 3))};
        return build_node(g, "Slice", "s", 4, in, NULL);
    }
    if (which == 4) {
        struct mc_value *in[] = {x, ints_const(g, 8, DIMS(0, 0, 1, 2, 0, 1, 0, 1)),
                                 f32_const(g, "pad", 0, NULL, F(0))};
        return build_node(g, "Pad", "p", 3, in, NULL);
    }
    struct mc_value *in[] = {x, NULL, f32_const(g, "by", 1, DIMS(4), F(1, 1, 2, 2))};
    return build_node(g, "Resize", "up", 3, in, NULL);
}

static void moves(void **state)
{
    (void)state;
    for (int which = 0; which < 6; which++) {
        struct layer l = begin(4);
        end(&l, moved(&l, which), l.x);
        expect_integers(&l);
    }
}

/* Nothing quantises what was moved: a product reads it all the same. */
static void moves_before_products(void **state)
{
    (void)state;
    for (int i = 0; i < 10; i++) {
        struct layer l = begin(4);
        struct mc_value *v = moved(&l, 0); /* n h w c */
        v = build_binary(l.g, "Reshape", "r", v, ints_const(l.g, 3, DIMS(l.dim[0], -1, l.dim[1])));
        v = build_binary(l.g, "MatMul", "m", v, weight(l.g, 2, DIMS(l.dim[1], 7), 1));
        l.steps += 2;
        end(&l, v, side_for(0.6 * sqrt((double)l.dim[1])));
        expect_integers(&l);
    }
}

/* ---- what is not joined ---- */

static size_t steps_of(struct mc_model *m, const struct mc_session_opts *o)
{
    struct mc_session *s;
    struct mc_session_stats st;
    assert_true(run_with(m, o, &s));
    mc_session_stats(s, &st);
    mc_session_free(s);
    return st.nodes;
}

/* x -> conv, relu -> conv -> add x -> pool; the values between are named a, b and c. */
static struct layer block(const char *name[4])
{
    struct layer l = begin(4);
    struct side s = side_for(2);
    struct mc_value *x = l.dx, *v = x;
    int64_t dims[] = {l.dim[1], l.dim[1], 3, 3};
    for (int i = 0; i < 2; i++) {
        struct mc_node *n;
        struct mc_value *in[] = {v, weight(l.g, 4, dims, 0)};
        v = build_node(l.g, "Conv", fresh("conv"), 2, in, &n);
        mc_edit_attr_ints(n, "pads", DIMS(1, 1, 1, 1), 4, NULL);
        v = i ? v : build_unary(l.g, "Relu", "relu", v);
        name[i] = v->name;
        v = quantise(l.g, v, s);
        name[i + 2] = v->name;
        v = dequantise(l.g, v, s);
    }
    v = through(l.g, build_binary(l.g, "Add", "sum", v, x), s);
    v = build_unary(l.g, "GlobalAveragePool", "mean", v);
    end(&l, v, s);
    return l;
}

/* Values that are kept, or nothing but the definition: the same bytes, or nearly. */
static void others_may_look(void **state)
{
    (void)state;
    const char *name[4];
    struct mc_session *a, *b;
    for (int i = 0; i < 5; i++) {
        struct layer l = block(name);
        assert_true(run_with(l.m, NULL, &a));
        assert_int_equal(steps_of(l.m, NULL), 5);
        assert_int_equal(steps_of(l.m, &(struct mc_session_opts){.flags = MC_SESSION_FLOAT}), 13);
        assert_int_equal(steps_of(l.m, &(struct mc_session_opts){.flags = MC_SESSION_NO_FUSE}), 14);
        for (int keep = 0; keep < 4; keep++) {
            struct mc_session_opts o = {.keep = &name[keep], .n_keep = 1};
            assert_true(run_with(l.m, &o, &b));
            if (keep > 1) /* of integers: nothing else changes */
                expect_same_bytes(a, b);
            expect_near(mc_session_output(b, 0), mc_session_output(a, 0), 2);
            assert_non_null(mc_session_value(b, name[keep]));
            assert_int_equal(steps_of(l.m, &o), keep > 1 ? 5 : 6);
            mc_session_free(b);
            o = (struct mc_session_opts){.apart = &name[keep], .n_apart = 1};
            assert_int_equal(steps_of(l.m, &o), keep > 1 ? 5 : 6);
        }
        mc_session_free(a);
        mc_model_free(l.m);
    }
}

/* The floats of a convolution that others read too come from integers all the same. */
static void floats_come_out(void **state)
{
    (void)state;
    for (int i = 0; i < TRIES; i++) {
        double size;
        struct layer l = begin(4);
        struct mc_session *got, *want;
        struct mc_value *v = perhaps_relu(l.g, conv(&l, NULL, &size));
        v = coin() ? build_unary(l.g, "Sigmoid", "act", v) : v;
        build_output(l.g, v);
        assert_true(run_with(l.m, NULL, &got));
        assert_true(run_with(l.m, &(struct mc_session_opts){.precision = MC_PRECISION_F64}, &want));
        const struct mc_array *a = mc_session_output(got, 0), *b = mc_session_output(want, 0);
        assert_true(mc_shape_equal(&a->shape, &b->shape));
        for (int64_t k = 0; k < mc_shape_count(&b->shape); k++) {
            double w = ((const double *)b->data)[k];
            assert_true(fabs((double)((const float *)a->data)[k] - w) <= 1e-5 * (size + fabs(w)));
        }
        mc_session_free(got);
        mc_session_free(want);
        mc_model_free(l.m);
    }
}

/* What a dynamic quantiser writes: sums, which become floats by a scale of the run. */
static struct mc_model *dynamic(bool conv, size_t *ret_steps)
{
    struct mc_model *m = build_model(17);
    struct mc_graph *g = m->graph;
    int64_t n = 1 + below(40), c = 1 + below(20), channels = coin() ? n : 1;
    struct mc_value *x =
        build_input(g, "x", MC_DTYPE_F32, conv ? 4 : 2, conv ? DIMS(2, c, 5, 6) : DIMS(3, c));
    struct mc_value *out[3] = {mc_edit_fresh(g, "q"), mc_edit_fresh(g, "s"), mc_edit_fresh(g, "z")};
    struct mc_err err;
    struct mc_node *node;
    int8_t w[40 * 20];
    float scale[40], b[40];
    for (int i = 0; i < 40 * 20; i++)
        w[i] = (int8_t)(below(255) - 127);
    for (int i = 0; i < 40; i++) {
        scale[i] = 0.01F * (float)(1 + below(5));
        b[i] = (float)below(100) / 50 - 1;
    }
    build_ok(mc_edit_node(g, 0, "DynamicQuantizeLinear", "", 0, "dql", &x, 1, out, 3, NULL, &err),
             &err);
    const int64_t *row = conv ? DIMS(channels, 1, 1) : DIMS(channels);
    struct mc_value *s = f32_const(g, "ws", conv ? 3 : 1, row, scale);
    struct mc_value *in[] = {
        out[0],
        build_const(g, "w", MC_DTYPE_I8, conv ? 4 : 2, conv ? DIMS(n, c, 1, 1) : DIMS(c, n), w),
        out[2], zero_const(g, MC_DTYPE_I8, below(3))};
    struct mc_value *v = build_node(g, conv ? "ConvInteger" : "MatMulInteger", "p", 4, in, NULL);
    s = build_binary(g, "Mul", "scales", out[1], s);
    v = build_node(g, "Cast", "cast", 1, &v, &node);
    mc_edit_attr_int(node, "to", MC_DTYPE_F32, NULL);
    v = coin() ? build_binary(g, "Mul", "m", v, s) : build_binary(g, "Mul", "m", s, v);
    if (coin()) {
        row = conv ? DIMS(n, 1, 1) : DIMS(n);
        v = build_binary(g, "Add", "a", v, f32_const(g, "b", conv ? 3 : 1, row, b));
    }
    v = coin() ? build_unary(g, "Relu", "r", v) : v;
    build_output(g, v);
    *ret_steps = 3; /* quantise, scales, sums */
    return m;
}

static void dynamic_sums(void **state)
{
    (void)state;
    for (int i = 0; i < TRIES; i++) {
        struct mc_session *got, *want;
        struct mc_session_opts o = {.flags = MC_SESSION_FLOAT};
        size_t steps;
        struct mc_model *m = dynamic(coin(), &steps);
        assert_true(run_with(m, NULL, &got) && run_with(m, &o, &want));
        const struct mc_array *w = mc_session_output(want, 0);
        expect_f32(mc_session_output(got, 0), w->shape.rank, w->shape.dim, w->data, 1e-4);
        assert_int_equal(steps_of(m, NULL), steps);
        mc_session_free(got);
        mc_session_free(want);
        mc_model_free(m);
    }
}

/* An allocation that fails ends the run, or leaves something to be computed by floats. */
static void short_of_memory(void **state)
{
    (void)state;
    const char *name[4];
    struct layer l = block(name);
    struct mc_session *want, *got;
    static float x[1 << 16];
    mc_rng_fill_normal(seed, 0, 0, x, sizeof x / sizeof *x);
    struct mc_array in = array_of("x", MC_DTYPE_F32, l.rank, l.dim, x);
    assert_true(run_with(l.m, NULL, &want));
    bool failed = true;
    for (long n = 0; failed; n++) {
        struct mc_err err;
        got = NULL;
        allocations_left = n;
        int rc = mc_session_new(l.m->graph, NULL, &got, &err);
        rc = rc ? rc : mc_session_run(got, &in, 1, &err);
        failed = allocations_left < 0;
        allocations_left = -1;
        assert_true(rc == 0 || rc == MC_ENOMEM);
        if (!rc)
            expect_near(mc_session_output(got, 0), mc_session_output(want, 0), 3);
        mc_session_free(got);
    }
    mc_session_free(want);
    mc_model_free(l.m);
}

/* Rounding of floats that lie between two integers may go either way, seldom. */
static void nearly_all_are_equal(void **state)
{
    (void)state;
    print_message("%d of %d differ\n", different, checked);
    assert_true(checked > 100000);
    assert_true(different < checked / 100);
}

int main(int argc, char **argv)
{
    if (argc > 1)
        seed = strtoull(argv[1], NULL, 10);
    print_message("seed %llu\n", (unsigned long long)seed);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(convolutions),    cmocka_unit_test(residuals),
        cmocka_unit_test(products),        cmocka_unit_test(products_of_images),
        cmocka_unit_test(pairs),           cmocka_unit_test(pools),
        cmocka_unit_test(concatenations),  cmocka_unit_test(functions),
        cmocka_unit_test(moves),           cmocka_unit_test(moves_before_products),
        cmocka_unit_test(others_may_look), cmocka_unit_test(floats_come_out),
        cmocka_unit_test(dynamic_sums),    cmocka_unit_test(nearly_all_are_equal),
        cmocka_unit_test(short_of_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
