/* Weights in 16-bit floats wherever a model may have them, and computing in them: compared with floats, and with weights
 * rounded here. */
#include <float.h>

#include "svd_util.h"

#include "graph/infer.h"
#include "passes/quant/form/quant_half.h"

enum { IN = 24, OUT = 40, ROWS = 5 };

static struct mc_err err;

static json_t *halve(struct mc_model *m, enum mc_dtype to, bool computed, struct mc_dataset *calib)
{
    struct mc_pass_ctx ctx = svd_ctx(calib);
    struct mc_quant_half how = {to, computed};
    json_t *report;
    build_ok(mc_quant_half(&ctx, m, &how, &report, &err), &err);
    build_ok(mc_verify(m, &err), &err);
    return report;
}

static size_t weight_bytes(const struct mc_model *m)
{
    size_t sum = 0;
    for (size_t i = 0; i < m->graph->n_inits; i++)
        sum += m->graph->inits[i]->tensor->bytes;
    return sum;
}

static size_t nodes_of(const struct mc_graph *g, const char *op)
{
    size_t n = 0;
    for (size_t i = 0; i < g->n_nodes; i++)
        n += mc_node_is(g->nodes[i], op);
    return n;
}

/* Bits of a float below the `kept` leading ones of its significand, rounded to even: what a 16-bit float keeps of a normal
 * number. */
static float rounded(float x, int kept)
{
    uint32_t u, low = (1u << (23 - kept)) - 1, half = (low + 1) / 2;
    memcpy(&u, &x, sizeof u);
    u += half - 1 + ((u >> (23 - kept)) & 1);
    u &= ~low;
    memcpy(&x, &u, sizeof x);
    return x;
}

static void expect_near(struct mc_model *m, const float *x, const float *want, int64_t n,
                        double tolerance)
{
    int64_t got_n;
    float *got = output_of(m, 2, DIMS(ROWS, IN), x, &got_n);
    assert_int_equal(got_n, n);
    double most = 0;
    for (int64_t i = 0; i < n; i++)
        most = fmax(most, fabs((double)want[i]));
    for (int64_t i = 0; i < n; i++)
        if (!(fabs((double)got[i] - (double)want[i]) <= tolerance * most))
            fail_msg("element %d is %g, not %g", (int)i, (double)got[i], (double)want[i]);
    free(got);
}

/* ---- stored ---- */

/* x W with W an initializer, or (constant) a Constant node. */
static struct mc_model *product(int opset, bool constant, struct mc_value **ret_w)
{
    struct mc_model *m = build_model(opset);
    struct mc_graph *g = m->graph;
    struct mc_node *n;
    struct mc_value *x = build_input(g, "x", MC_DTYPE_F32, 2, DIMS(-1, IN));
    struct mc_value *w = random_const(g, "w", 2, DIMS(IN, OUT), 5);
    *ret_w = w;
    if (constant) {
        struct mc_value *c = build_node(g, "Constant", "c", 0, NULL, &n);
        build_ok(mc_edit_attr_tensor(n, "value", w->tensor, &err), &err);
        w = c;
    }
    build_output(g, build_binary(g, "MatMul", "y", x, w));
    return m;
}

static void rounds_weights(void **state)
{
    (void)state;
    float *x = gaussian(1, ROWS * IN), want[ROWS * OUT];
    for (int k = 0; k < 8; k++) {
        enum mc_dtype to = k & 1 ? MC_DTYPE_BF16 : MC_DTYPE_F16;
        struct mc_value *v;
        struct mc_model *m = product(k & 4 ? 7 : 17, k & 2, &v);
        const float *w = (const float *)v->tensor->data;
        for (int i = 0; i < ROWS * OUT; i++) {
            double sum = 0;
            for (int j = 0; j < IN; j++)
                sum += (double)x[i / OUT * IN + j] *
                       (double)rounded(w[j * OUT + i % OUT], k & 1 ? 7 : 10);
            want[i] = (float)sum;
        }
        json_t *report = halve(m, to, false, NULL);
        assert_int_equal(weight_bytes(m), IN * OUT * 2);
        expect_near(m, x, want, ROWS * OUT, 1e-6);
        const json_t *row = json_array_get(json_object_get(report, "layers"), 0);
        assert_string_equal(mc_json_string(row, "action"), "half");
        assert_int_equal(mc_json_number(row, "bytes_before", 0), IN * OUT * 4);
        assert_int_equal(mc_json_number(row, "bytes_after", 0), IN * OUT * 2);
        assert_true(mc_json_number(row, "error", -1) > 0);
        json_decref(report);
        mc_model_free(m);
    }
    free(x);
}

/* Initializers that are inputs by rule go as well. */
static void old_models(void **state)
{
    (void)state;
    struct mc_value *w;
    struct mc_model *m = product(7, false, &w);
    m->ir_version = 3;
    build_ok(mc_edit_input(m->graph, w, &err), &err);
    json_decref(halve(m, MC_DTYPE_F16, false, NULL));
    assert_int_equal(weight_bytes(m), IN * OUT * 2);
    assert_int_equal(m->graph->n_inputs, 1);
    assert_true(m->ir_version >= 4);
    mc_model_free(m);
}

static void leaves_what_it_would_break(void **state)
{
    (void)state;
    static const float factors[] = {1e6f, 1e-9f, INFINITY, NAN, 1};
    for (int k = 0; k < 5; k++) {
        struct mc_value *v;
        struct mc_model *m = product(17, false, &v);
        float *w = (float *)(uintptr_t)v->tensor->data;
        for (int i = 0; i < IN * OUT; i++)
            w[i] *= k == 1 ? factors[1] : 1;
        w[17] = k == 1 ? w[17] : factors[k];
        json_t *report = halve(m, MC_DTYPE_F16, false, NULL);
        assert_int_equal(weight_bytes(m), IN * OUT * (k < 4 ? 4 : 2));
        if (k < 4)
            expect_left(report, "y",
                        k == 1 ? "too small for the type" : "values that the type cannot hold");
        json_decref(report);
        mc_model_free(m);
    }
}

/* An If whose branches have weights of their own, and read one of the main graph; a function with a Constant. */
static struct mc_model *with_bodies(void)
{
    struct mc_model *m = build_model(17);
    struct mc_graph *g = m->graph;
    struct mc_node *n;
    struct mc_value *x = build_input(g, "x", MC_DTYPE_F32, 2, DIMS(-1, IN));
    struct mc_value *w = random_const(g, "outer", 2, DIMS(IN, OUT), 3);
    struct mc_value *max = build_unary(g, "ReduceMax", "max", x);
    struct mc_value *c = build_binary(g, "Greater", "gt", build_unary(g, "Squeeze", "sq", max),
                                      f32_const(g, "zero", 0, NULL, F(0)));
    struct mc_value *y = mc_edit_fresh(g, "if");
    build_ok(mc_edit_node(g, g->n_nodes, "If", "", 0, "if", &c, 1, &y, 1, &n, &err), &err);
    for (int i = 0; i < 2; i++) {
        struct mc_graph *b = mc_edit_graph(m, g, n, i ? "else" : "then");
        build_ok(mc_edit_attr_graph(n, i ? "else_branch" : "then_branch", b, &err), &err);
        struct mc_value *own = random_const(b, "own", 2, DIMS(OUT, IN), 8);
        struct mc_value *h =
            build_binary(b, "MatMul", "h", mc_edit_resolve(b, "x"), mc_edit_resolve(b, w->name));
        build_output(b, build_binary(b, "MatMul", i ? "e" : "t", h, own));
    }
    struct mc_function *f = mc_edit_function(m, "f", "Scaled", "");
    build_ok(mc_edit_function_opset(f, "", 17, &err), &err);
    struct mc_value *in = mc_edit_value(f->body, "in"), *factor;
    build_ok(mc_edit_input(f->body, in, &err), &err);
    struct mc_value *draw = random_const(g, "draw", 2, DIMS(1, IN), 9);
    build_ok(mc_constant_new(f->body, 0, "k", draw->tensor, &factor, &err), &err);
    struct mc_value *row[2] = {in, factor};
    for (int i = 0; i < 3; i++) /* long enough to be worth a Cast */
        row[0] = build_node(f->body, i ? "Mul" : "Add", "m", 2, row, &n);
    build_output(f->body, row[0]);
    build_ok(mc_edit_opset(m, "f", 1, &err), &err);
    struct mc_value *out = mc_edit_fresh(g, "out");
    build_ok(mc_edit_node(g, g->n_nodes, "Scaled", "f", 1, "call", &y, 1, &out, 1, &n, &err), &err);
    mc_edit_remove_value(draw);
    build_output(g, out);
    return m;
}

static void bodies_and_functions(void **state)
{
    (void)state;
    float *x = gaussian(4, ROWS * IN);
    int64_t n;
    for (int k = 0; k < 3; k++) {
        struct mc_model *m = with_bodies();
        float *want = output_of(m, 2, DIMS(ROWS, IN), x, &n);
        json_t *report = halve(m, k == 1 ? MC_DTYPE_BF16 : MC_DTYPE_F16, k == 2, NULL);
        const struct mc_node *f = m->graph->nodes[m->graph->n_nodes - 1];
        for (size_t i = 0; i < m->graph->n_nodes; i++)
            f = mc_node_is(m->graph->nodes[i], "If") ? m->graph->nodes[i] : f;
        assert_true(mc_node_is(f, "If"));
        for (int i = 0; i < 2; i++)
            assert_int_equal(f->attr[i].graphs[0]->inits[0]->tensor->bytes, OUT * IN * 2);
        assert_int_equal(json_array_size(json_object_get(report, "layers")), 3);
        expect_near(m, x, want, n, k == 1 ? 0.02 : 0.003);
        json_decref(report);
        free(want);
        mc_model_free(m);
    }
    free(x);
}

/* ---- computed ---- */

/* Products of which one is an output that others read, a sum along rows that has no half, and back; Resize, whose scales
 * stay floats. */
static struct mc_model *mixed(void)
{
    struct mc_model *m = build_model(13);
    struct mc_graph *g = m->graph;
    struct mc_node *n;
    struct mc_value *x = build_input(g, "x", MC_DTYPE_F32, 2, DIMS(-1, IN));
    struct mc_value *h =
        build_binary(g, "MatMul", "h", x, random_const(g, "w", 2, DIMS(IN, IN), 1));
    int32_t axis = 1;
    struct mc_value *sum = build_binary(g, "CumSum", "sum", build_unary(g, "Relu", "relu", h),
                                        build_const(g, "axis", MC_DTYPE_I32, 0, NULL, &axis));
    struct mc_value *y = build_binary(g, "Mul", "y", build_unary(g, "Tanh", "tanh", sum), h);
    struct mc_value *in[3] = {y, NULL, f32_const(g, "scales", 1, DIMS(2), F(1, 2))};
    struct mc_value *big = build_node(g, "Resize", "big", 3, in, &n);
    build_output(g, build_binary(g, "Add", "out", big, f32_const(g, "one", 0, NULL, F(1))));
    build_output(g, y);
    build_output(g, h);
    return m;
}

static void computes_in_halves(void **state)
{
    (void)state;
    float *x = gaussian(2, ROWS * IN);
    int64_t n;
    struct mc_model *m = mixed();
    float *want = output_of(m, 2, DIMS(ROWS, IN), x, &n);
    json_t *report = halve(m, MC_DTYPE_F16, true, NULL);
    assert_int_equal(mc_json_number(report, "float_nodes", 0), 1); /* CumSum */
    expect_near(m, x, want, n, 0.01);
    struct mc_infer *inf;
    build_ok(mc_infer_run(m->graph, NULL, &inf, &err), &err);
    static const char *const halves[] = {"MatMul", "Relu", "Tanh", "Mul", "Resize", "Add"};
    static const char *const outputs[] = {"out", "y", "h"};
    for (size_t i = 0; i < m->graph->n_nodes; i++)
        for (size_t k = 0; k < 6; k++)
            if (mc_node_is(m->graph->nodes[i], halves[k]))
                assert_int_equal(mc_infer_of(inf, m->graph->nodes[i]->out[0])->dtype, MC_DTYPE_F16);
    for (int i = 0; i < 3; i++) {
        assert_string_equal(m->graph->outputs[i]->name, outputs[i]);
        assert_int_equal(mc_infer_of(inf, m->graph->outputs[i])->dtype, MC_DTYPE_F32);
    }
    assert_int_equal(nodes_of(m->graph, "Cast"), 6); /* x, to and from CumSum, three outputs */
    mc_infer_free(inf);
    json_decref(report);
    mc_model_free(m);
    free(want);
    free(x);
}

static void not_in_bf16(void **state)
{
    (void)state;
    struct mc_pass_ctx ctx = svd_ctx(NULL);
    struct mc_quant_half how = {MC_DTYPE_BF16, true};
    struct mc_model *m = mixed();
    json_t *report = NULL;
    assert_int_equal(mc_quant_half(&ctx, m, &how, &report, &err), MC_EUNSUP);
    assert_null(report);
    mc_model_free(m);
}

/* By calibration: a product of large values stays float, and what is small again is a half. */
static void large_values_stay(void **state)
{
    (void)state;
    float *x = gaussian(2, ROWS * IN);
    int64_t n;
    for (int k = 0; k < 2; k++) {
        struct memory_data data;
        struct mc_model *m = build_model(17);
        struct mc_graph *g = m->graph;
        struct mc_value *in = build_input(g, "x", MC_DTYPE_F32, 2, DIMS(-1, IN));
        struct mc_value *h = build_binary(g, "Mul", "h", in, f32_const(g, "k", 0, NULL, F(3e4f)));
        h = build_binary(g, "Mul", "s", h, f32_const(g, "l", 0, NULL, F(1e-4f)));
        build_output(g,
                     build_binary(g, "MatMul", "y", h, random_const(g, "w", 2, DIMS(IN, OUT), 1)));
        float *want = output_of(m, 2, DIMS(ROWS, IN), x, &n);
        struct mc_dataset *calib = memory_open(&data, "x", ROWS, 1, DIMS(IN), x, NULL);
        json_t *report = halve(m, MC_DTYPE_F16, true, k ? calib : NULL);
        assert_int_equal(mc_json_number(report, "float_nodes", -1), k ? 2 : 0);
        if (k)
            expect_near(m, x, want, n, 0.01);
        json_decref(report);
        mc_model_free(m);
        free(want);
    }
    free(x);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rounds_weights),
        cmocka_unit_test(old_models),
        cmocka_unit_test(leaves_what_it_would_break),
        cmocka_unit_test(bodies_and_functions),
        cmocka_unit_test(computes_in_halves),
        cmocka_unit_test(not_in_bf16),
        cmocka_unit_test(large_values_stay),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
