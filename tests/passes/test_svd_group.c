/* Layers that read one value: decided as a whole, with one shared factor or each with its own. */
#include "svd_util.h"

#include "passes/svd/svd_path.h"

enum { IN = 24, OUT = 20, MEMBERS = 3 };

static struct mc_err err;

/* x -> query, key (MatMul, Add, Gemm), value -> tanh of each -> their sum; w [members, OUT, IN]. */
static struct mc_model *model_of(const float *w, bool bias)
{
    struct mc_model *m = build_model(17);
    struct mc_graph *g = m->graph;
    struct mc_value *x = build_input(g, "x", MC_DTYPE_F32, 2, DIMS(-1, IN)), *sum = NULL;
    for (int k = 0; k < MEMBERS; k++) {
        static const char *const names[] = {"query", "key", "value"};
        char text[16];
        struct mc_node *n;
        const float *own = w + k * OUT * IN;
        float *across = malloc(OUT * IN * sizeof *across);
        assert_non_null(across);
        for (int i = 0; i < OUT; i++)
            for (int j = 0; j < IN; j++)
                across[j * OUT + i] = own[i * IN + j];
        struct mc_value *y, *b = NULL;
        snprintf(text, sizeof text, "b%d", k);
        if (bias)
            b = random_const(g, text, 1, DIMS(OUT), (uint64_t)k + 90);
        snprintf(text, sizeof text, "w%d", k);
        if (k == 1) {
            struct mc_value *in[] = {x, f32_const(g, text, 2, DIMS(OUT, IN), own), b};
            y = build_node(g, "Gemm", names[k], bias ? 3 : 2, in, &n);
            build_ok(mc_edit_attr_int(n, "transB", 1, &err), &err);
            build_ok(mc_edit_attr_float(n, "alpha", 0.5f, &err), &err);
        } else {
            y = build_binary(g, "MatMul", names[k], x,
                             f32_const(g, text, 2, DIMS(IN, OUT), across));
            if (bias)
                y = build_binary(g, "Add", k ? "add2" : "add0", y, b);
        }
        free(across);
        snprintf(text, sizeof text, "tanh%d", k);
        y = build_unary(g, "Tanh", text, y);
        snprintf(text, sizeof text, "sum%d", k);
        sum = sum ? build_binary(g, "Add", text, sum, y) : y;
    }
    build_output(g, sum);
    return m;
}

static float *samples(void)
{
    float *x = gaussian(3, SAMPLES * IN);
    for (int64_t i = 0; i < SAMPLES * IN; i++)
        x[i] = 0.2f * x[i] + 0.5f;
    return x;
}

static void expect_form(const json_t *report, const char *form)
{
    static const char *const names[] = {"query", "key", "value"};
    for (int k = 0; k < MEMBERS; k++)
        if (strcmp(mc_json_string(layer_row(report, names[k]), "form"), form) != 0)
            fail_msg("%s is %s", names[k], mc_json_string(layer_row(report, names[k]), "form"));
}

/* Relative change of the output. */
static double change(const float *w, bool bias, const char *options, bool calib, const char *form)
{
    struct mc_model *m = model_of(w, bias);
    float *x = samples();
    int64_t n, n2;
    struct memory_data d;
    struct mc_pass_ctx ctx =
        svd_ctx(calib ? memory_open(&d, "x", SAMPLES, 1, DIMS(IN), x, NULL) : NULL);
    float *want = output_of(m, 2, DIMS(SAMPLES, IN), x, &n);
    json_t *report;
    build_ok(svd_run(&ctx, m, options, &report, &err), &err);
    expect_form(report, form);
    float *got = output_of(m, 2, DIMS(SAMPLES, IN), x, &n2);
    double e = sqrt(relative(want, got, n));
    json_decref(report);
    free(want);
    free(got);
    free(x);
    mc_model_free(m);
    return e;
}

/* All rows in one space of four directions. */
static void one_space(void **state)
{
    (void)state;
    float *w = of_rank(5, MEMBERS * OUT, IN, 4);
    for (int bias = 0; bias < 2; bias++) {
        assert_true(change(w, bias, "{'keep': 0.45}", false, "together") < 1e-5);
        assert_true(change(w, bias, "{'keep': 0.45, 'norm': 'inputs'}", true, "together") < 1e-5);
        assert_true(change(w, bias, "{'keep': 0.45, 'norm': 'outputs'}", true, "together") < 1e-5);
    }
    free(w);
}

/* Each in a space of its own, of 2, 3 and 4 directions: what they have in common is nothing. */
static void three_spaces(void **state)
{
    (void)state;
    float *w = malloc(MEMBERS * OUT * IN * sizeof *w);
    assert_non_null(w);
    for (int k = 0; k < MEMBERS; k++) {
        float *one = of_rank(5 + 3 * (uint64_t)k, OUT, IN, 2 + k);
        memcpy(w + k * OUT * IN, one, OUT * IN * sizeof *w);
        free(one);
    }
    assert_true(change(w, true, "{'keep': 0.52}", false, "apart") < 1e-5);
    assert_true(change(w, false, "{'keep': 0.52, 'norm': 'outputs'}", true, "apart") < 1e-5);
    free(w);
}

/* ---- one weight for all ---- */

/* x [batch, 5, IN] -> one product -> three parts, by Split or by Reshape -> their product. */
static struct mc_model *joint_model(const float *w, int opset, bool reshape, bool bias)
{
    struct mc_model *m = build_model(opset);
    struct mc_graph *g = m->graph;
    struct mc_node *n;
    float *across = malloc(MEMBERS * OUT * IN * sizeof *across);
    assert_non_null(across);
    for (int i = 0; i < MEMBERS * OUT; i++)
        for (int j = 0; j < IN; j++)
            across[j * MEMBERS * OUT + i] = w[i * IN + j];
    struct mc_value *x = build_input(g, "x", MC_DTYPE_F32, 3, DIMS(-1, 5, IN));
    struct mc_value *y =
        build_binary(g, "MatMul", "qkv", x, f32_const(g, "w", 2, DIMS(IN, MEMBERS * OUT), across));
    free(across);
    if (bias)
        y = build_binary(g, "Add", "add", y, random_const(g, "b", 1, DIMS(MEMBERS * OUT), 8));
    if (reshape) {
        struct mc_value *shape = build_const(g, "shape", MC_DTYPE_I64, 1, DIMS(5),
                                             (int64_t[]){-1, 5, MEMBERS, 4, OUT / 4});
        y = build_binary(g, "Reshape", "reshape", y, shape);
        build_output(g, build_unary(g, "Tanh", "tanh", y));
        return m;
    }
    struct mc_value *part[3], *in[2] = {y, NULL};
    int64_t size[] = {OUT, OUT, OUT};
    for (int k = 0; k < 3; k++)
        part[k] = mc_edit_fresh(g, "part");
    if (opset >= 13)
        in[1] = build_const(g, "sizes", MC_DTYPE_I64, 1, DIMS(3), size);
    build_ok(mc_edit_node(g, g->n_nodes, "Split", "", 0, "split", in, opset >= 13 ? 2 : 1, part, 3,
                          &n, &err),
             &err);
    build_ok(mc_edit_attr_int(n, "axis", -1, &err), &err);
    if (opset < 13)
        build_ok(mc_edit_attr_ints(n, "split", size, 3, &err), &err);
    y = build_binary(g, "Mul", "mul", part[0], build_unary(g, "Tanh", "tanh", part[1]));
    build_output(g, build_binary(g, "Add", "sum", y, part[2]));
    return m;
}

/* Each part in a space of its own: the sum of their ranks is less than what a common space would cost. */
static void parts_of_one_weight(void **state)
{
    (void)state;
    float *w = malloc(MEMBERS * OUT * IN * sizeof *w), *x = gaussian(3, SAMPLES * 5 * IN);
    assert_non_null(w);
    for (int64_t i = 0; i < SAMPLES * 5 * IN; i++)
        x[i] += 0.5f;
    for (int k = 0; k < MEMBERS; k++) {
        float *one = of_rank(5 + 3 * (uint64_t)k, OUT, IN, 2 + k);
        memcpy(w + k * OUT * IN, one, OUT * IN * sizeof *w);
        free(one);
    }
    for (int i = 0; i < 16; i++) {
        struct mc_model *m = joint_model(w, i & 4 ? 17 : 11, i & 1, i & 2);
        int64_t n, n2;
        struct memory_data d;
        bool calib = i & 8;
        struct mc_pass_ctx ctx =
            svd_ctx(calib ? memory_open(&d, "x", SAMPLES, 2, DIMS(5, IN), x, NULL) : NULL);
        float *want = output_of(m, 3, DIMS(7, 5, IN), x, &n);
        json_t *report;
        build_ok(svd_run(&ctx, m, "{'keep': 0.5}", &report, &err), &err);
        const json_t *row = layer_row(report, "qkv");
        if (strcmp(mc_json_string(row, "form"), "split") != 0)
            fail_msg("%d: %s", i, mc_json_string(row, "form"));
        float *got = output_of(m, 3, DIMS(7, 5, IN), x, &n2);
        assert_int_equal(n, n2);
        double e = sqrt(relative(want, got, n));
        if (!(e < 1e-5))
            fail_msg("%d: %g", i, e);
        json_decref(report);
        free(want);
        free(got);
        mc_model_free(m);
    }
    free(w);
    free(x);
}

/* A mean and a variance, one number each: parts that no rank makes smaller are no reason to fail. */
static void narrow_parts(void **state)
{
    (void)state;
    struct mc_model *m = build_model(17);
    struct mc_graph *g = m->graph;
    struct mc_value *part[2] = {mc_edit_fresh(g, "mean"), mc_edit_fresh(g, "variance")};
    struct mc_value *x = build_input(g, "x", MC_DTYPE_F32, 2, DIMS(-1, IN));
    struct mc_value *y = build_binary(g, "MatMul", "y", x, random_const(g, "w", 2, DIMS(IN, 2), 1));
    build_ok(mc_edit_node(g, g->n_nodes, "Split", "", 0, "split", &y, 1, part, 2, NULL, &err),
             &err);
    build_ok(mc_edit_attr_int(part[0]->producer, "axis", 1, &err), &err);
    build_output(g, part[0]);
    build_output(g, part[1]);
    struct mc_pass_ctx ctx = svd_ctx(NULL);
    json_t *report;
    build_ok(svd_run(&ctx, m, "{'energy': 0.4}", &report, &err), &err);
    expect_rank(report, "y", 1);
    json_decref(report);
    mc_model_free(m);
}

/* Ranks and shares of energy are given layer by layer: no groups. */
static void not_where_layers_are_meant(void **state)
{
    (void)state;
    float *w = of_rank(5, MEMBERS * OUT, IN, 4);
    assert_true(change(w, true, "{'rank': 4}", false, "product") < 1e-5);
    assert_true(change(w, true, "{'energy': 0.99999999}", false, "product") < 1e-3);
    free(w);
}

/* The sum behind the layers has no mean error where biases can take it up: their tanh is left out here. */
static void mean_error(void **state)
{
    (void)state;
    float *w = gaussian(6, MEMBERS * OUT * IN);
    struct mc_model *m = model_of(w, true);
    struct mc_graph *g = m->graph;
    for (int k = 0; k < MEMBERS; k++) {
        char text[16];
        snprintf(text, sizeof text, "tanh%d", k);
        struct mc_value *t = mc_graph_value(g, text);
        build_ok(mc_edit_op(t->producer, "", "Identity", 16, &err), &err);
    }
    float *x = samples();
    int64_t n, n2;
    struct memory_data d;
    struct mc_pass_ctx ctx = svd_ctx(memory_open(&d, "x", SAMPLES, 1, DIMS(IN), x, NULL));
    float *want = output_of(m, 2, DIMS(SAMPLES, IN), x, &n);
    json_t *report;
    build_ok(svd_run(&ctx, m, "{'keep': 0.35, 'norm': 'inputs'}", &report, &err), &err);
    float *got = output_of(m, 2, DIMS(SAMPLES, IN), x, &n2);
    assert_true(relative(want, got, n) > 0.001);
    double scale = 0;
    for (int64_t i = 0; i < n; i++)
        scale += (double)want[i] * want[i] / (double)n;
    for (int c = 0; c < OUT; c++) {
        double sum = 0;
        for (int64_t i = c; i < n; i += OUT)
            sum += ((double)got[i] - want[i]) / SAMPLES;
        if (!(fabs(sum) < 1e-4 * sqrt(scale)))
            fail_msg("mean error %g of %g", sum, sqrt(scale));
    }
    json_decref(report);
    free(want);
    free(got);
    free(x);
    free(w);
    mc_model_free(m);
}

/* Every row of a path is the best of all combinations that cost no more. */
static void paths(void **state)
{
    (void)state;
    enum { PARTS = 3, OFFERS = 6 };
    for (uint64_t seed = 1; seed < 40; seed++) {
        struct mc_svd_choice c[PARTS] = {{0}};
        float *r = malloc(PARTS * OFFERS * 2 * sizeof *r);
        assert_non_null(r);
        mc_rng_fill_uniform(seed, 1, 0, r, PARTS * OFFERS * 2);
        for (int p = 0; p < PARTS; p++) {
            c[p].offer = calloc(OFFERS, sizeof *c[p].offer);
            assert_non_null(c[p].offer);
            c[p].n = OFFERS;
            for (int k = 0; k < OFFERS; k++) {
                const float *f = r + (p * OFFERS + k) * 2;
                c[p].offer[k] = (struct mc_svd_offer){1 + (double)f[0], (double)f[1], 0, 0};
            }
            c[p].offer[OFFERS - 1] = (struct mc_svd_offer){2, 0, 0, 0};
            build_ok(mc_svd_choice_make(&c[p], &err), &err);
        }
        struct mc_svd_path path;
        build_ok(mc_svd_path_make(c, PARTS, &path, &err), &err);
        for (size_t row = 0; row < path.n; row++) {
            double cost = 0, error = 0;
            for (int p = 0; p < PARTS; p++) {
                cost += c[p].offer[path.at[row * PARTS + (size_t)p]].cost;
                error += c[p].offer[path.at[row * PARTS + (size_t)p]].error;
            }
            for (size_t i = 0; i < c[0].n; i++)
                for (size_t j = 0; j < c[1].n; j++)
                    for (size_t k = 0; k < c[2].n; k++) {
                        const struct mc_svd_offer *o[] = {&c[0].offer[i], &c[1].offer[j],
                                                          &c[2].offer[k]};
                        if (o[0]->cost + o[1]->cost + o[2]->cost <= cost + 1e-12)
                            assert_true(o[0]->error + o[1]->error + o[2]->error >= error - 1e-12);
                    }
            if (row + 1 == path.n)
                assert_true(fabs(error) < 1e-12);
        }
        mc_svd_path_free(&path);
        for (int p = 0; p < PARTS; p++)
            mc_svd_choice_free(&c[p]);
        free(r);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_space),    cmocka_unit_test(three_spaces),
        cmocka_unit_test(mean_error),   cmocka_unit_test(not_where_layers_are_meant),
        cmocka_unit_test(paths),        cmocka_unit_test(parts_of_one_weight),
        cmocka_unit_test(narrow_parts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
