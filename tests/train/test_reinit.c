#include "../run/run_util.h"

#include "base/json.h"
#include "graph/constant.h"
#include "train/reinit.h"

static struct mc_err err;

static const float *content(struct mc_model *m, const char *name, int64_t *ret_n)
{
    const struct mc_tensor *t = mc_constant(mc_graph_value(m->graph, name));
    assert_non_null(t);
    *ret_n = mc_tensor_count(t);
    return (const float *)t->data;
}

/* All in [-bound, bound), spread as a uniform draw is. */
static void expect_uniform(struct mc_model *m, const char *name, double bound)
{
    int64_t n;
    const float *x = content(m, name, &n);
    double top = 0, sum = 0, square = 0;
    for (int64_t i = 0; i < n; i++) {
        top = fmax(top, fabs((double)x[i]));
        sum += (double)x[i];
        square += (double)x[i] * (double)x[i];
    }
    double deviation = bound / sqrt(3), d = (double)n;
    bool fits = top <= bound * 1.0001 && fabs(sum / d) < 5 * deviation / sqrt(d) &&
                fabs(square / d - bound * bound / 3) < 5 * bound * bound * 0.3 / sqrt(d) &&
                top > bound * (1 - 12 / d);
    if (!fits)
        fail_msg("%s: largest %g, mean %g, mean square %g; bound %g", name, top, sum / d,
                 square / d, bound);
}

static void expect_all(struct mc_model *m, const char *name, float want)
{
    int64_t n;
    const float *x = content(m, name, &n);
    for (int64_t i = 0; i < n; i++)
        if (x[i] != want)
            fail_msg("%s[%d] is %g, not %g", name, (int)i, (double)x[i], (double)want);
}

static struct mc_value *node(struct mc_model *m, const char *op, size_t n, struct mc_value **in,
                             struct mc_node **ret)
{
    return build_node(m->graph, op, op, n, in, ret);
}

/* One of every kind of layer, in one graph. */
static struct mc_model *all_layers(void)
{
    struct mc_model *m = build_model(17);
    struct mc_graph *g = m->graph;
    struct mc_node *n;
    struct mc_value *x = build_input(g, "x", MC_DTYPE_F32, 4, DIMS(-1, 6, 8, 8));
    x = node(m, "Conv", 3,
             (struct mc_value *[]){x, random_const(g, "conv.w", 4, DIMS(8, 3, 3, 3), 1),
                                   random_const(g, "conv.b", 1, DIMS(8), 2)},
             &n);
    mc_edit_attr_int(n, "group", 2, NULL);
    x = node(m, "BatchNormalization", 5,
             (struct mc_value *[]){
                 x, random_const(g, "bn.s", 1, DIMS(8), 3), random_const(g, "bn.b", 1, DIMS(8), 4),
                 random_const(g, "bn.m", 1, DIMS(8), 5), random_const(g, "bn.v", 1, DIMS(8), 6)},
             &n);
    x = node(m, "PRelu", 2, (struct mc_value *[]){x, random_const(g, "prelu", 3, DIMS(8, 1, 1), 7)},
             &n);
    x = node(m, "ConvTranspose", 2,
             (struct mc_value *[]){x, random_const(g, "up.w", 4, DIMS(8, 5, 2, 2), 8)}, &n);
    x = build_unary(g, "Flatten", "flat", x);
    x = node(m, "Gemm", 3,
             (struct mc_value *[]){x, random_const(g, "gemm.w", 2, DIMS(40, 5 * 49), 9),
                                   random_const(g, "gemm.b", 1, DIMS(40), 10)},
             &n);
    mc_edit_attr_int(n, "transB", 1, NULL);
    x = build_binary(g, "MatMul", "mm", x, random_const(g, "mm.w", 2, DIMS(40, 30), 11));
    x = build_binary(g, "Add", "mm_b", random_const(g, "mm.b", 1, DIMS(30), 12), x);
    x = build_binary(g, "Mul", "scaled", x, random_const(g, "alone", 1, DIMS(30), 13));
    build_output(g, x);
    struct mc_value *ids = build_input(g, "ids", MC_DTYPE_I64, 2, DIMS(5, -1));
    x = node(m, "Gather", 2,
             (struct mc_value *[]){random_const(g, "table", 2, DIMS(100, 10), 14), ids}, &n);
    struct mc_value *y = mc_edit_fresh(g, "y");
    build_ok(mc_edit_node(g, g->n_nodes, "LSTM", "", 0, "lstm",
                          (struct mc_value *[]){x, random_const(g, "w", 3, DIMS(1, 64, 10), 15),
                                                random_const(g, "r", 3, DIMS(1, 64, 16), 16),
                                                random_const(g, "b", 2, DIMS(1, 128), 17)},
                          4, &y, 1, &n, &err),
             &err);
    mc_edit_attr_int(n, "hidden_size", 16, NULL);
    build_output(g, y);
    return m;
}

static void every_layer_begins_as_it_should(void **state)
{
    (void)state;
    struct mc_model *m = all_layers(), *same, *other;
    json_t *report = NULL;
    build_ok(mc_model_clone(m, &same, &err), &err);
    build_ok(mc_model_clone(m, &other, &err), &err);
    int64_t n;
    float alone[30];
    memcpy(alone, content(m, "alone", &n), sizeof alone);
    build_ok(mc_reinit(m, 1, &report, &err), &err);
    expect_uniform(m, "conv.w", 1 / sqrt(27));
    expect_uniform(m, "conv.b", 1 / sqrt(27));
    expect_uniform(m, "up.w", 1 / sqrt(20));
    expect_uniform(m, "gemm.w", 1 / sqrt(245));
    expect_uniform(m, "gemm.b", 1 / sqrt(245));
    expect_uniform(m, "mm.w", 1 / sqrt(40));
    expect_uniform(m, "mm.b", 1 / sqrt(40));
    expect_uniform(m, "w", 0.25);
    expect_uniform(m, "r", 0.25);
    expect_uniform(m, "b", 0.25);
    expect_all(m, "bn.s", 1);
    expect_all(m, "bn.b", 0);
    expect_all(m, "bn.m", 0);
    expect_all(m, "bn.v", 1);
    expect_all(m, "prelu", 0.25f);
    const float *t = content(m, "table", &n);
    double square = 0;
    for (int64_t i = 0; i < n; i++)
        square += (double)t[i] * (double)t[i];
    assert_true(fabs(square / (double)n - 1) < 5 * sqrt(2.0 / (double)n));

    /* What nobody knows how to begin stays and is named. */
    assert_memory_equal(alone, content(m, "alone", &n), sizeof alone);
    const json_t *kept = json_object_get(report, "kept");
    assert_int_equal(json_array_size(kept), 1);
    assert_string_equal(mc_json_string(json_array_get(kept, 0), "name"), "alone");
    assert_string_equal(mc_json_string(json_array_get(kept, 0), "why"),
                        "no rule of how weights of Mul begin");
    assert_int_equal(mc_json_number(report, "fresh", 0), 16);
    json_decref(report);

    build_ok(mc_reinit(same, 1, &report, &err), &err);
    json_decref(report);
    build_ok(mc_reinit(other, 2, &report, &err), &err);
    json_decref(report);
    const float *a = content(m, "gemm.w", &n), *b = content(same, "gemm.w", &n);
    assert_memory_equal(a, b, (size_t)n * sizeof *a);
    assert_memory_not_equal(a, content(other, "gemm.w", &n), (size_t)n * sizeof *a);
    mc_model_free(m);
    mc_model_free(same);
    mc_model_free(other);
}

static void nothing_to_begin(void **state)
{
    (void)state;
    struct mc_model *m = build_model(17);
    json_t *report = NULL;
    struct mc_value *x = build_input(m->graph, "x", MC_DTYPE_F32, 2, DIMS(-1, 3));
    build_output(m->graph, build_unary(m->graph, "Relu", "y", x));
    assert_int_equal(mc_reinit(m, 1, &report, &err), MC_EUNSUP);
    assert_null(report);
    mc_model_free(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_layer_begins_as_it_should),
        cmocka_unit_test(nothing_to_begin),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
