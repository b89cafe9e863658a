/* Circulant layers as operators: the same as their bodies and as the dense layer, the same bits for any number of threads, what
 * is fused behind them; properties of the product; what is said of calls that do not fit. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/threads.h"
#include "graph/run/session.h"
#include "graph/verify.h"
#include "tests/graph/build_circulant.h"

static const char *const products[] = {"CirculantGemm", "CirculantGemmWindow", "CirculantGemmDft",
                                       "CirculantGemmDft2"};
static const char *const convolutions[] = {"CirculantConv", "CirculantConvDft"};

/* The only output of m for x; free(). */
static float *run(const struct mc_model *m, struct mc_shape x, const float *data, int threads,
                  unsigned flags, int64_t *ret_n)
{
    struct mc_err err;
    struct mc_session *s;
    struct mc_pool *pool;
    struct mc_array in = {.name = "x", .dtype = MC_DTYPE_F32, .shape = x, .data = (void *)data};
    in.bytes = (size_t)mc_shape_count(&x) * sizeof *data;
    build_ok(mc_pool_new(threads, &pool, &err), &err);
    build_ok(
        mc_session_new(m->graph, &(struct mc_session_opts){.pool = pool, .flags = flags}, &s, &err),
        &err);
    build_ok(mc_session_run(s, &in, 1, &err), &err);
    const struct mc_array *y = mc_session_value(s, m->graph->outputs[0]->name);
    assert_non_null(y);
    *ret_n = mc_shape_count(&y->shape);
    float *copy = malloc((size_t)(*ret_n + 1) * sizeof *copy);
    assert_non_null(copy);
    memcpy(copy, y->data, (size_t)*ret_n * sizeof *copy);
    mc_session_free(s);
    mc_pool_free(pool);
    return copy;
}

static void near(const float *got, const float *want, int64_t n, double tol, const char *what)
{
    double most = 0, err = 0;
    for (int64_t i = 0; i < n; i++) {
        most = fmax(most, fabs((double)want[i]));
        double d = fabs((double)got[i] - (double)want[i]);
        err = d <= err ? err : d;
    }
    if (!(err <= tol * most))
        fail_msg("%s: off by %g of %g", what, err, most);
}

struct size {
    int64_t p, q, b, m, n;
};

static struct mc_model *product(const char *function, const struct size *s, struct mc_shape x,
                                bool bias)
{
    struct mc_model *m = build_model(17);
    struct mc_err err;
    struct mc_shape c = mc_shape_of(3, (const int64_t[]){s->p, s->q, s->b});
    struct mc_value *v = build_input(m->graph, "x", MC_DTYPE_F32, x.rank, x.dim);
    build_output(m->graph,
                 build_circulant(m->graph, "fc", function, v, x.rank, c, s->m, s->n, bias));
    build_ok(mc_verify(m, &err), &err);
    return m;
}

static struct mc_model *convolution(const char *function, const struct size *s, struct mc_shape x,
                                    bool bias)
{
    struct mc_model *m = build_model(17);
    struct mc_err err;
    struct mc_shape c = mc_shape_of(5, (const int64_t[]){s->p, s->q, s->b, 3, 3});
    struct mc_value *v = build_input(m->graph, "x", MC_DTYPE_F32, x.rank, x.dim);
    build_output(m->graph,
                 build_circulant(m->graph, "conv", function, v, x.rank, c, s->m, s->n, bias));
    build_ok(mc_verify(m, &err), &err);
    return m;
}

/* The call, its body and the dense layer give the same; the call gives the same bits with 1 and 3 threads. */
static void same_as_its_body(const struct mc_model *m, struct mc_shape x)
{
    struct mc_err err;
    struct mc_model *other;
    int64_t n, k;
    float *in = build_numbers(mc_shape_count(&x), 77);
    float *y = run(m, x, in, 1, 0, &n), *z = run(m, x, in, 3, 0, &k);
    assert_memory_equal(y, z, (size_t)n * sizeof *y);
    free(z);
    for (int dense = 0; dense < 2; dense++) {
        build_ok(mc_model_clone(m, &other, &err), &err);
        build_ok(dense ? mc_own_expand(other, &err) : mc_own_inline(other, &err), &err);
        build_ok(mc_verify(other, &err), &err);
        assert_int_equal(other->n_functions, 0);
        z = run(other, x, in, 1, 0, &k);
        assert_int_equal(k, n);
        near(y, z, n, 1e-5, dense ? "dense" : "inlined");
        free(z);
        mc_model_free(other);
    }
    free(y);
    free(in);
}

static void bodies_of_products(void **state)
{
    (void)state;
    static const struct size sizes[] = {
        {1, 1, 1, 1, 1},    {2, 3, 1, 2, 3},    {1, 1, 2, 2, 2},
        {3, 2, 5, 15, 10},  {2, 5, 8, 13, 37},  {4, 1, 17, 60, 9},
        {2, 3, 16, 32, 48}, {1, 2, 70, 70, 99}, {5, 4, 32, 160, 128}};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        for (int f = 0; f < 4; f++) {
            int rank = 1 + (int)(i + (size_t)f) % 4;
            int64_t dims[] = {2, 3, 2, 1};
            dims[rank - 1] = sizes[i].n;
            struct mc_shape x = mc_shape_of(rank, dims);
            struct mc_model *m = product(products[f], &sizes[i], x, i % 3 != 1);
            same_as_its_body(m, x);
            mc_model_free(m);
        }
}

static void bodies_of_convolutions(void **state)
{
    (void)state;
    static const struct size sizes[] = {{1, 1, 1, 1, 1},   {2, 3, 2, 4, 5},    {1, 2, 5, 4, 10},
                                        {2, 3, 8, 16, 24}, {2, 4, 16, 30, 64}, {1, 1, 33, 33, 33}};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        for (int f = 0; f < 2; f++) {
            struct mc_shape x = mc_shape_of(4, (const int64_t[]){2, sizes[i].n, 6, 7});
            struct mc_model *m = convolution(convolutions[f], &sizes[i], x, i % 3 != 1);
            same_as_its_body(m, x);
            mc_model_free(m);
        }
}

/* y = Relu(layer + r), r computed from x, in one step and node by node. */
static void what_is_behind_is_fused(void **state)
{
    (void)state;
    static const struct size s = {2, 2, 16, 32, 32};
    for (int conv = 0; conv < 2; conv++) {
        struct mc_shape x = mc_shape_of(conv ? 4 : 2, (const int64_t[]){3, 32, 5, 5});
        struct mc_model *m = conv ? convolution(NULL, &s, x, true) : product(NULL, &s, x, true);
        struct mc_graph *g = m->graph;
        struct mc_err err;
        struct mc_value *y = g->outputs[0];
        mc_edit_output_drop(y);
        struct mc_value *r = build_unary(g, "Tanh", "r", g->inputs[0]);
        struct mc_value *sum = build_binary(g, "Add", "sum", y, r);
        build_output(g, build_unary(g, "Relu", "relu", sum));
        build_ok(mc_verify(m, &err), &err);
        int64_t n, k;
        float *in = build_numbers(mc_shape_count(&x), 5);
        float *one = run(m, x, in, 1, 0, &n), *apart = run(m, x, in, 1, MC_SESSION_NO_FUSE, &k);
        near(one, apart, n, 1e-6, conv ? "convolution" : "product");
        free(one);
        free(apart);
        free(in);
        mc_model_free(m);
    }
}

/* A normalisation between convolution and Relu: a scale and a shift of each channel. */
static void a_normalisation_behind_a_convolution(void **state)
{
    (void)state;
    static const struct size s = {2, 2, 16, 32, 32};
    struct mc_shape x = mc_shape_of(4, (const int64_t[]){2, 32, 5, 5});
    for (int f = 0; f < 2; f++) {
        struct mc_model *m = convolution(convolutions[f], &s, x, f == 0);
        struct mc_graph *g = m->graph;
        struct mc_err err;
        struct mc_value *in[5] = {g->outputs[0]};
        float variance[32];
        mc_edit_output_drop(in[0]);
        for (int i = 0; i < 32; i++)
            variance[i] = 0.1F + (float)i / 20;
        for (int i = 1; i < 4; i++)
            in[i] = build_floats(g, (const char *[]){"", "scale", "shift", "mean"}[i], 1,
                                 (const int64_t[]){32}, (uint32_t)i);
        in[4] = build_const(g, "variance", MC_DTYPE_F32, 1, (const int64_t[]){32}, variance);
        struct mc_value *y = build_node(g, "BatchNormalization", "norm", 5, in, NULL);
        build_output(g, build_unary(g, "Relu", "relu", y));
        build_ok(mc_verify(m, &err), &err);
        int64_t n, k;
        float *data = build_numbers(mc_shape_count(&x), 5);
        float *one = run(m, x, data, 1, 0, &n), *apart = run(m, x, data, 1, MC_SESSION_NO_FUSE, &k);
        near(one, apart, n, 1e-5, convolutions[f]);
        free(one);
        free(apart);
        free(data);
        mc_model_free(m);
    }
}

/* ---- properties ---- */

/* y of x by a layer without bias. */
static float *apply(const struct mc_model *m, int64_t n, const float *x)
{
    int64_t k;
    return run(m, mc_shape_of(2, (const int64_t[]){1, n}), x, 1, 0, &k);
}

static void products_are_linear(void **state)
{
    (void)state;
    static const struct size s = {3, 2, 24, 72, 48};
    struct mc_shape x = mc_shape_of(2, (const int64_t[]){1, s.n});
    for (int f = 0; f < 4; f++) {
        struct mc_model *m = product(products[f], &s, x, false);
        float *a = build_numbers(s.n, 1), *b = build_numbers(s.n, 2), sum[48], want[72];
        for (int64_t i = 0; i < s.n; i++)
            sum[i] = 2 * a[i] - 3 * b[i];
        float *ya = apply(m, s.n, a), *yb = apply(m, s.n, b), *ys = apply(m, s.n, sum);
        for (int64_t i = 0; i < s.m; i++)
            want[i] = 2 * ya[i] - 3 * yb[i];
        near(ys, want, s.m, 1e-5, products[f]);
        free(a);
        free(b);
        free(ya);
        free(yb);
        free(ys);
        mc_model_free(m);
    }
}

/* 1 at place k of an input gives the column turned by k. */
static void impulses_give_columns(void **state)
{
    (void)state;
    static const struct size s = {1, 1, 20, 20, 20};
    struct mc_shape x = mc_shape_of(2, (const int64_t[]){1, s.n});
    struct mc_model *m = product(NULL, &s, x, false);
    const float *c = (const float *)(const void *)mc_graph_value(m->graph, "fc.C")->tensor->data;
    for (int64_t k = 0; k < s.n; k++) {
        float in[20] = {0}, want[20];
        in[k] = 1;
        for (int64_t r = 0; r < s.m; r++)
            want[r] = c[(r - k + s.b) % s.b];
        float *y = apply(m, s.n, in);
        near(y, want, s.m, 1e-6, "column");
        free(y);
    }
    mc_model_free(m);
}

/* Blocks of one are the weights themselves: the same bits as MatMul and Add. */
static void blocks_of_one_change_nothing(void **state)
{
    (void)state;
    static const struct size s = {24, 36, 1, 24, 36};
    struct mc_shape x = mc_shape_of(2, (const int64_t[]){5, s.n});
    struct mc_model *m = product(NULL, &s, x, true), *other;
    struct mc_err err;
    int64_t n, k;
    float *in = build_numbers(5 * s.n, 9), *y = run(m, x, in, 1, 0, &n);
    build_ok(mc_model_clone(m, &other, &err), &err);
    build_ok(mc_own_expand(other, &err), &err);
    build_ok(mc_verify(other, &err), &err);
    float *z = run(other, x, in, 1, 0, &k);
    assert_memory_equal(y, z, (size_t)n * sizeof *y);
    free(y);
    free(z);
    free(in);
    mc_model_free(other);
    mc_model_free(m);
}

static void what_a_call_stands_for(void **state)
{
    (void)state;
    static const struct size s = {2, 3, 8, 16, 24};
    struct mc_model *m = product(NULL, &s, mc_shape_of(2, (const int64_t[]){1, 24}), true);
    int64_t weights;
    uint64_t bytes;
    const struct mc_node *n = m->graph->nodes[0];
    const struct mc_own *own = mc_own_find(n);
    assert_non_null(own);
    own->size(n, &weights, &bytes);
    assert_int_equal(weights, 16 * 24);
    assert_int_equal(bytes, 4 * 16 * 24 / 8);
    mc_model_free(m);
    /* What fills up blocks is no weight. */
    static const struct size part = {2, 3, 8, 11, 19};
    m = product(NULL, &part, mc_shape_of(2, (const int64_t[]){1, 19}), true);
    n = m->graph->nodes[1];
    mc_own_find(n)->size(n, &weights, &bytes);
    assert_int_equal(weights, 11 * 19);
    assert_int_equal(bytes, 4 * 16 * 24 / 8);
    mc_model_free(m);
}

/* ---- what does not fit ---- */

/* A change to the call of a layer that fits. */
struct bad {
    bool conv;
    const char *function;
    int input; /* that is replaced, -1: none */
    int rank;
    int64_t dim[5];
    enum mc_dtype dtype;
    const char *attr; /* that is set, an integer or a list, or taken away where n is 0 */
    int n;
    int64_t value[4];
    int code;
    const char *words;
};

static const struct bad bads[] = {
    {.input = 1, .rank = 2, .dim = {4, 8}, .code = MC_ESHAPE, .words = "C is [4,8]"},
    {.input = 1, .rank = 3, .dim = {2, 0, 4}, .code = MC_ESHAPE, .words = "C"},
    {.input = 1,
     .rank = 3,
     .dim = {2, 2, 4},
     .dtype = MC_DTYPE_F64,
     .code = MC_EDTYPE,
     .words = "C is"},
    {.input = 1,
     .rank = 3,
     .dim = {2, 2, 4},
     .dtype = MC_DTYPE_I32,
     .code = MC_EDTYPE,
     .words = "C is"},
    {.input = 1, .rank = 3, .dim = {2, 3, 4}, .code = MC_ESHAPE, .words = "blocks"},
    {.input = 1, .rank = 3, .dim = {3, 2, 4}, .code = MC_ESHAPE, .words = "B is [8]"},
    {.input = 2, .rank = 1, .dim = {3}, .code = MC_ESHAPE, .words = "B is [3]"},
    {.input = 2, .rank = 2, .dim = {1, 8}, .code = MC_ESHAPE, .words = "B is [1,8]"},
    {.input = 2, .rank = 0, .code = MC_ESHAPE, .words = "input B is missing"},
    {.function = "CirculantGemmDft2",
     .attr = "split",
     .n = 1,
     .value = {3},
     .input = -1,
     .code = MC_ESHAPE,
     .words = "split 3 does not divide"},
    {.function = "CirculantGemmDft2",
     .attr = "split",
     .n = 1,
     .value = {0},
     .input = -1,
     .code = MC_ESHAPE,
     .words = "split holds 0"},
    {.function = "CirculantGemmDft2",
     .attr = "split",
     .input = -1,
     .code = MC_ESHAPE,
     .words = "split"},
    {.conv = true, .input = 1, .rank = 4, .dim = {2, 2, 4, 3}, .code = MC_ESHAPE, .words = "C is"},
    {.conv = true, .input = 1, .rank = 5, .dim = {2, 2, 4, 0, 3}, .code = MC_ESHAPE, .words = "C "},
    {.conv = true,
     .input = 1,
     .rank = 5,
     .dim = {2, 3, 4, 3, 3},
     .code = MC_ESHAPE,
     .words = "q 2"},
    {.conv = true, .input = 2, .rank = 1, .dim = {1}, .code = MC_ESHAPE, .words = "B is [1]"},
    {.conv = true,
     .attr = "pads",
     .n = 4,
     .value = {0, -1, 0, 0},
     .input = -1,
     .code = MC_ESHAPE,
     .words = "pads holds -1"},
    {.conv = true,
     .attr = "strides",
     .n = 2,
     .value = {0, 1},
     .input = -1,
     .code = MC_ESHAPE,
     .words = "strides holds 0"},
    {.conv = true, .attr = "dilations", .input = -1, .code = MC_ESHAPE, .words = "dilations has 0"},
    {.conv = true,
     .attr = "bins",
     .n = 1,
     .value = {4},
     .input = -1,
     .code = MC_ESHAPE,
     .words = "bins 4"},
};

static void spoil(struct mc_node *n, const struct bad *b)
{
    struct mc_graph *g = n->graph;
    if (b->input >= 0) {
        struct mc_shape shape = mc_shape_of(b->rank, b->dim);
        struct mc_tensor *t;
        enum mc_dtype d = b->dtype ? b->dtype : MC_DTYPE_F32;
        assert_int_equal(mc_tensor_new(d, &shape, NULL, &t, NULL, NULL), 0);
        struct mc_value *v = b->rank ? mc_edit_constant(g, "bad", t) : NULL;
        assert_int_equal(mc_edit_set_input(n, (size_t)b->input, v, NULL), 0);
        mc_tensor_unref(t);
    }
    if (!b->attr)
        return;
    if (!b->n)
        mc_edit_attr_remove(n, b->attr);
    else if (!strcmp(b->attr, "bins"))
        assert_int_equal(mc_edit_attr_int(n, b->attr, b->value[0], NULL), 0);
    else
        assert_int_equal(mc_edit_attr_ints(n, b->attr, b->value, (size_t)b->n, NULL), 0);
}

static void bad_calls_are_named(void **state)
{
    (void)state;
    static const struct size s = {2, 2, 4, 8, 8};
    for (size_t i = 0; i < sizeof bads / sizeof *bads; i++) {
        const struct bad *b = &bads[i];
        struct mc_shape x = mc_shape_of(b->conv ? 4 : 2, (const int64_t[]){1, 8, 5, 5});
        const char *function = b->function ? b->function
                               : b->conv   ? "CirculantConvDft"
                                           : products[0];
        struct mc_model *m =
            b->conv ? convolution(function, &s, x, true) : product(function, &s, x, true);
        struct mc_session *session;
        struct mc_err err = {0};
        struct mc_array in = {.name = "x", .dtype = MC_DTYPE_F32, .shape = x};
        float *data = build_numbers(mc_shape_count(&x), 1);
        in.data = data;
        in.bytes = (size_t)mc_shape_count(&x) * sizeof *data;
        spoil(m->graph->nodes[0], b);
        int rc = mc_session_new(m->graph, &(struct mc_session_opts){0}, &session, &err);
        if (!rc) {
            rc = mc_session_run(session, &in, 1, &err);
            mc_session_free(session);
        }
        if (rc != b->code || !strstr(err.msg, b->words) || !strstr(err.msg, function))
            fail_msg("case %zu: %d, \"%s\" without \"%s\"", i, rc, err.msg, b->words);
        /* Nor is it expanded. */
        rc = mc_own_expand(m, &err);
        assert_true(rc || i == 4);
        free(data);
        mc_model_free(m);
    }
}

static void layers_that_cannot_be_written(void **state)
{
    (void)state;
    static const struct {
        struct size s;
        int rank;
        float first;
        int code;
        const char *words;
    } layers[] = {
        {{2, 2, 4, 9, 8}, 2, 1, MC_ESHAPE, "columns [2,2,4]"},
        {{2, 2, 4, 8, 9}, 2, 1, MC_ESHAPE, "columns [2,2,4]"},
        {{2, 2, 4, 8, 7}, 0, 1, MC_EUNSUP, "rank"},
        {{2, 2, 4, 8, 8}, 2, NAN, MC_EDATA, "not finite"},
        {{2, 2, 4, 8, 8}, 2, INFINITY, MC_EDATA, "not finite"},
    };
    for (size_t i = 0; i < sizeof layers / sizeof *layers; i++) {
        struct mc_model *m = build_model(17);
        struct mc_graph *g = m->graph;
        struct mc_err err = {0};
        const struct size *s = &layers[i].s;
        float c[16] = {layers[i].first};
        struct mc_own_circulant l = {.name = "fc", .rank = layers[i].rank, .m = s->m, .n = s->n};
        l.x = build_input(g, "x", MC_DTYPE_F32, 2, (const int64_t[]){1, s->n});
        l.c = build_const(g, "c", MC_DTYPE_F32, 3, (const int64_t[]){s->p, s->q, s->b}, c);
        l.y = mc_edit_fresh(g, "y");
        int rc = mc_own_circulant_call(g, 0, &l, NULL, &err);
        if (rc != layers[i].code || !strstr(err.msg, layers[i].words) || !strstr(err.msg, "'fc'"))
            fail_msg("case %zu: %d, \"%s\"", i, rc, err.msg);
        mc_model_free(m);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bodies_of_products),
        cmocka_unit_test(bodies_of_convolutions),
        cmocka_unit_test(what_is_behind_is_fused),
        cmocka_unit_test(a_normalisation_behind_a_convolution),
        cmocka_unit_test(products_are_linear),
        cmocka_unit_test(impulses_give_columns),
        cmocka_unit_test(blocks_of_one_change_nothing),
        cmocka_unit_test(what_a_call_stands_for),
        cmocka_unit_test(bad_calls_are_named),
        cmocka_unit_test(layers_that_cannot_be_written),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
