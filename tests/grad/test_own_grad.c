/* Gradients of scales, codebooks and matrices of gates against differences, through the layers that use them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "graph/verify.h"
#include "graph_check.h"
#include "rule_check.h"
#include "tests/graph/build_own.h"

enum { N = 3, MOST = 300 };

static _Alignas(64) double input[MOST];

static struct mc_array samples(int rank, const int64_t *dims)
{
    struct mc_shape shape = mc_shape_of(rank, dims);
    float *x = build_numbers(mc_shape_count(&shape), 99);
    for (int64_t i = 0; i < mc_shape_count(&shape); i++)
        input[i] = x[i];
    free(x);
    return (struct mc_array){
        .name = "x", .dtype = MC_DTYPE_F64, .shape = shape, .data = input, .bytes = sizeof input};
}

/* The mean of y² is the loss. */
static void check(struct mc_model *m, struct mc_value *y, const struct mc_array *x, size_t weights)
{
    struct mc_err err;
    struct mc_graph *g = m->graph;
    struct mc_value *loss =
        build_unary(g, "ReduceMean", "mean", build_binary(g, "Mul", "square", y, y));
    assert_int_equal(mc_edit_attr_int(loss->producer, "keepdims", 0, NULL), 0);
    build_output(g, loss);
    build_ok(mc_verify(m, &err), &err);
    struct graph_check c = {
        .m = m, .loss = loss->name, .in = x, .n_in = 1, .tol_f32 = 1e-4, .seed = grad_seed()};
    assert_int_equal(graph_check_slopes(&c), weights);
    mc_model_free(m);
}

static struct mc_model *model(int rank, const int64_t *dims, struct mc_value **ret_x)
{
    struct mc_model *m = build_model(17);
    *ret_x = build_input(m->graph, "x", MC_DTYPE_F32, rank, dims);
    return m;
}

static struct mc_value *product(struct mc_model *m, struct mc_value *x, struct mc_value *w)
{
    struct mc_value *y = build_node(m->graph, "Gemm", "gemm", 2, (struct mc_value *[]){x, w}, NULL);
    assert_int_equal(mc_edit_attr_int(y->producer, "transB", 1, NULL), 0);
    return y;
}

static void scales_of_signs(void **state)
{
    (void)state;
    static const int64_t columns[] = {1, 8, 19, 24};
    for (size_t i = 0; i < sizeof columns / sizeof *columns; i++) {
        const int64_t k = columns[i], dims[] = {N, k};
        struct mc_value *x;
        struct mc_model *m = model(2, dims, &x);
        struct mc_value *w = build_signs(m->graph, "w", 19, k, NULL);
        struct mc_array in = samples(2, dims);
        check(m, product(m, x, w), &in, 1);
    }
}

static void codebooks(void **state)
{
    (void)state;
    for (int bits = 1; bits <= 8; bits++)
        for (int planes = 0; planes < 2; planes++) {
            const int64_t dims[] = {N, 7};
            struct mc_value *x;
            if (planes ? bits == 8 : 8 % bits != 0)
                continue;
            struct mc_model *m = model(2, dims, &x);
            struct mc_value *w = build_shared(m->graph, "w", bits, planes,
                                              mc_shape_of(2, (const int64_t[]){61, 7}), NULL);
            struct mc_array in = samples(2, dims);
            check(m, product(m, x, w), &in, 1);
        }
}

static void matrices_of_gates(void **state)
{
    (void)state;
    for (int by_column = 0; by_column < 2; by_column++) {
        const int64_t dims[] = {4, 2, 5};
        struct mc_value *x;
        struct mc_model *m = model(3, dims, &x);
        struct mc_graph *g = m->graph;
        struct mc_value *wx = build_gates(g, "wx", 4, 3, 5, by_column, NULL);
        struct mc_value *wh = build_gates(g, "wh", 4, 3, 3, by_column, NULL);
        struct mc_value *y =
            build_node(g, "LSTM", "lstm", 3, (struct mc_value *[]){x, wx, wh}, NULL);
        assert_int_equal(mc_edit_attr_int(y->producer, "hidden_size", 3, NULL), 0);
        struct mc_array in = samples(3, dims);
        check(m, y, &in, 4);
    }
}

/* Sums over more elements than one piece of work has. */
static void long_sums(void **state)
{
    (void)state;
    const int64_t dims[] = {1, 300};
    struct mc_value *x;
    struct mc_model *m = model(2, dims, &x);
    struct mc_value *w =
        build_shared(m->graph, "w", 4, false, mc_shape_of(2, (const int64_t[]){500, 300}), NULL);
    struct mc_array in = samples(2, dims);
    check(m, product(m, x, w), &in, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(scales_of_signs),
        cmocka_unit_test(codebooks),
        cmocka_unit_test(matrices_of_gates),
        cmocka_unit_test(long_sums),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
