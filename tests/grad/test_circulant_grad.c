/* Gradients of circulant layers, of their columns, biases and inputs, against differences: a layer behind a dense one, all bodies,
 * sizes below, at and above blocks. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdlib.h>

#include "graph/grad/weights.h"
#include "graph/verify.h"
#include "graph_check.h"
#include "rule_check.h"
#include "tests/graph/build_circulant.h"

enum { MOST = 4096, IN = 3 };

static _Alignas(64) double input[MOST];

/* The mean of y² is the loss. */
static void check(struct mc_model *m, struct mc_value *y, struct mc_shape x, size_t weights)
{
    struct mc_err err;
    struct mc_graph *g = m->graph;
    float *v = build_numbers(MOST, 99);
    for (int64_t i = 0; i < MOST; i++)
        input[i] = v[i];
    free(v);
    struct mc_value *loss =
        build_unary(g, "ReduceMean", "mean", build_binary(g, "Mul", "square", y, y));
    assert_int_equal(mc_edit_attr_int(loss->producer, "keepdims", 0, NULL), 0);
    build_output(g, loss);
    build_ok(mc_verify(m, &err), &err);
    struct mc_array in = {
        .name = "x", .dtype = MC_DTYPE_F64, .shape = x, .data = input, .bytes = sizeof input};
    assert_true(mc_shape_count(&x) <= MOST);
    struct graph_check c = {
        .m = m, .loss = loss->name, .in = &in, .n_in = 1, .tol_f32 = 1e-4, .seed = grad_seed()};
    assert_int_equal(graph_check_slopes(&c), weights);
    mc_model_free(m);
}

static const struct {
    int64_t p, q, b, m, n;
} sizes[] = {{1, 1, 1, 1, 1},   {2, 3, 1, 2, 3},   {1, 1, 2, 2, 2},    {3, 2, 5, 15, 10},
             {2, 5, 8, 13, 37}, {4, 1, 17, 60, 9}, {2, 3, 16, 32, 48}, {1, 2, 70, 70, 99}};

static void products(void **state)
{
    (void)state;
    static const char *const functions[] = {"CirculantGemm", "CirculantGemmWindow",
                                            "CirculantGemmDft", "CirculantGemmDft2"};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        struct mc_model *m = build_model(17);
        struct mc_graph *g = m->graph;
        int rank = i % 2 ? 3 : 2;
        struct mc_shape x = mc_shape_of(rank, (const int64_t[]){2, rank == 3 ? 4 : IN, IN});
        struct mc_shape c = mc_shape_of(3, (const int64_t[]){sizes[i].p, sizes[i].q, sizes[i].b});
        struct mc_value *v = build_input(g, "x", MC_DTYPE_F32, rank, x.dim);
        struct mc_value *w = build_floats(g, "w", 2, (const int64_t[]){IN, sizes[i].n}, 3);
        v = build_binary(g, "MatMul", "first", v, w);
        bool bias = i % 3 != 1;
        struct mc_value *y =
            build_circulant(g, "fc", functions[i % 4], v, rank, c, sizes[i].m, sizes[i].n, bias);
        /* Where there is no bias its place holds one number, which is a weight as well. */
        check(m, y, x, 3);
    }
}

static void convolutions(void **state)
{
    (void)state;
    static const char *const functions[] = {"CirculantConv", "CirculantConvDft"};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        struct mc_model *m = build_model(17);
        struct mc_graph *g = m->graph;
        struct mc_shape x = mc_shape_of(4, (const int64_t[]){2, IN, 4, 5});
        struct mc_shape c =
            mc_shape_of(5, (const int64_t[]){sizes[i].p, sizes[i].q, sizes[i].b, i % 2 ? 1 : 3, 3});
        struct mc_value *v = build_input(g, "x", MC_DTYPE_F32, 4, x.dim);
        struct mc_value *w = build_floats(g, "w", 4, (const int64_t[]){sizes[i].n, IN, 1, 1}, 3);
        v = build_binary(g, "Conv", "first", v, w);
        bool bias = i % 3 != 1;
        struct mc_value *y =
            build_circulant(g, "conv", functions[i % 2], v, 4, c, sizes[i].m, sizes[i].n, bias);
        check(m, y, x, bias ? 3 : 2);
    }
}

/* Columns decay, biases do not. */
static void what_is_trained(void **state)
{
    (void)state;
    struct mc_model *m = build_model(17);
    struct mc_err err;
    struct mc_weights w;
    struct mc_value *x = build_input(m->graph, "x", MC_DTYPE_F32, 2, (const int64_t[]){2, 24});
    struct mc_shape c = mc_shape_of(3, (const int64_t[]){2, 3, 8});
    build_output(m->graph, build_circulant(m->graph, "fc", NULL, x, 2, c, 16, 24, true));
    build_ok(mc_weights_find(m->graph, &(struct mc_weights_opts){0}, &w, &err), &err);
    assert_int_equal(w.n, 2);
    assert_int_equal(w.n_trained, 2);
    for (size_t i = 0; i < w.n; i++)
        assert_true(w.list[i].decays == (w.list[i].shape.rank == 3));
    mc_weights_free(&w);
    mc_model_free(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(products),
        cmocka_unit_test(convolutions),
        cmocka_unit_test(what_is_trained),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
