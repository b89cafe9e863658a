#include "circulant_util.h"

#include "graph/own/own.h"

static struct mc_err err;

static struct mc_value *data(struct mc_graph *g, int rank, const int64_t *dims)
{
    return build_input(g, "x", MC_DTYPE_F32, rank, dims);
}

static size_t calls_of(const struct mc_model *m)
{
    size_t n = 0;
    for (size_t i = 0; i < m->graph->n_nodes; i++)
        n += mc_own_find(m->graph->nodes[i]) != NULL;
    return n;
}

/* ---- layers that are circulant are not changed by it ---- */

struct made {
    struct mc_model *m;
    int rank;
    int64_t dims[4];
};

static struct made a_gemm(int64_t m, int64_t n, int64_t b, bool across, float alpha, float beta)
{
    struct made d = {build_model(17), 2, {5, n}};
    struct mc_graph *g = d.m->graph;
    struct mc_node *node;
    struct mc_value *in[] = {
        data(g, 2, DIMS(-1, n)),
        circulant_const(g, "w", m, n, 1, b, !across, 2, across ? DIMS(m, n) : DIMS(n, m), 3),
        random_const(g, "c", 2, DIMS(1, m), 4)};
    build_output(g, build_node(g, "Gemm", "gemm", 3, in, &node));
    build_ok(mc_edit_attr_int(node, "transB", across, &err), &err);
    build_ok(mc_edit_attr_float(node, "alpha", alpha, &err), &err);
    build_ok(mc_edit_attr_float(node, "beta", beta, &err), &err);
    return d;
}

static struct made a_matmul(int64_t m, int64_t n, int64_t b, bool add)
{
    struct made d = {build_model(17), 3, {2, 3, n}};
    struct mc_graph *g = d.m->graph;
    struct mc_value *y = build_binary(g, "MatMul", "product", data(g, 3, DIMS(-1, 3, n)),
                                      circulant_const(g, "w", m, n, 1, b, true, 2, DIMS(n, m), 3));
    if (add)
        y = build_binary(g, "Add", "add", random_const(g, "c", 1, DIMS(m), 4), y);
    build_output(g, y);
    return d;
}

static struct made a_conv(int64_t m, int64_t n, int64_t b, const char *pad, bool bias)
{
    struct made d = {build_model(17), 4, {2, n, 9, 8}};
    struct mc_graph *g = d.m->graph;
    struct mc_node *node;
    struct mc_value *in[] = {data(g, 4, DIMS(-1, n, 9, 8)),
                             circulant_const(g, "w", m, n, 6, b, false, 4, DIMS(m, n, 3, 2), 3),
                             bias ? random_const(g, "c", 1, DIMS(m), 4) : NULL};
    build_output(g, build_node(g, "Conv", "conv", bias ? 3 : 2, in, &node));
    build_ok(mc_edit_attr_ints(node, "strides", DIMS(2, 1), 2, &err), &err);
    if (pad) {
        build_ok(mc_edit_attr_string(node, "auto_pad", pad, &err), &err);
    } else {
        build_ok(mc_edit_attr_ints(node, "pads", DIMS(1, 0, 2, 1), 4, &err), &err);
        build_ok(mc_edit_attr_ints(node, "dilations", DIMS(1, 2), 2, &err), &err);
    }
    return d;
}

/* Blocks of it: the same outputs, from 1/b of the numbers, as a call and expanded again. */
static void expect_same(struct made d, int64_t b, const char *body)
{
    char options[64];
    struct mc_pass_ctx ctx = svd_ctx(NULL);
    int64_t n, k, count = 1;
    json_t *r;
    for (int i = 0; i < d.rank; i++)
        count *= d.dims[i];
    float *x = gaussian(9, count), *before = output_of(d.m, d.rank, d.dims, x, &n);
    /* by name, so that padding is none of its business */
    const char *weight = "w";
    snprintf(options, sizeof options, "{'block': ['%s=%d'], 'body': '%s'}", weight, (int)b, body);
    build_ok(circulant_run(&ctx, d.m, options, &r, &err), &err);
    const json_t *row = json_array_get(json_object_get(r, "layers"), 0);
    if (!(fabs(mc_json_number(row, "energy", 0) - 1) < 1e-5))
        fail_msg("%s: energy %g", options, mc_json_number(row, "energy", 0));
    assert_int_equal(calls_of(d.m), 1);
    float *after = output_of(d.m, d.rank, d.dims, x, &k);
    assert_int_equal(n, k);
    if (!(relative(before, after, n) < 1e-11))
        fail_msg("%s: relative error %g", options, relative(before, after, n));
    build_ok(mc_own_expand(d.m, &err), &err);
    assert_int_equal(calls_of(d.m), 0);
    float *dense = output_of(d.m, d.rank, d.dims, x, &k);
    if (!(relative(before, dense, n) < 1e-11))
        fail_msg("%s, expanded: relative error %g", options, relative(before, dense, n));
    json_decref(r);
    free(x);
    free(before);
    free(after);
    free(dense);
    mc_model_free(d.m);
}

static void layers_of_circulant_blocks_stay_the_same(void **state)
{
    (void)state;
    static const char *const bodies[] = {"exact", "fast"};
    for (int i = 0; i < 2; i++) {
        expect_same(a_gemm(16, 24, 8, true, 1, 1), 8, bodies[i]);
        expect_same(a_gemm(16, 24, 4, false, 0.5F, 2), 4, bodies[i]);
        expect_same(a_gemm(30, 34, 4, true, 1, 0), 4, bodies[i]);
        expect_same(a_gemm(64, 96, 32, true, 2, 1), 32, bodies[i]);
        expect_same(a_gemm(18, 20, 12, true, 1, 1), 12, bodies[i]);
        expect_same(a_matmul(16, 24, 8, false), 8, bodies[i]);
        expect_same(a_matmul(18, 23, 4, true), 4, bodies[i]);
        expect_same(a_matmul(48, 48, 16, true), 16, bodies[i]);
        expect_same(a_conv(8, 12, 4, NULL, true), 4, bodies[i]);
        expect_same(a_conv(10, 11, 4, NULL, false), 4, bodies[i]);
        expect_same(a_conv(16, 16, 8, "SAME_UPPER", true), 8, bodies[i]);
        expect_same(a_conv(16, 16, 16, "SAME_LOWER", false), 16, bodies[i]);
        expect_same(a_conv(8, 8, 2, "VALID", true), 2, bodies[i]);
    }
}

/* One weight, two nodes with biases of their own. */
static void shared_weights_stay_shared(void **state)
{
    (void)state;
    struct mc_model *m = build_model(17);
    struct mc_graph *g = m->graph;
    struct mc_value *x = data(g, 2, DIMS(-1, 16)), *y = x;
    struct mc_value *w = circulant_const(g, "w", 16, 16, 1, 4, false, 2, DIMS(16, 16), 1);
    for (int i = 0; i < 2; i++) {
        struct mc_node *n;
        struct mc_value *in[] = {y, w, random_const(g, "c", 1, DIMS(16), 7 + (uint64_t)i)};
        y = build_unary(g, "Relu", "relu", build_node(g, "Gemm", i ? "two" : "one", 3, in, &n));
        build_ok(mc_edit_attr_int(n, "transB", 1, &err), &err);
    }
    build_output(g, y);
    struct mc_pass_ctx ctx = svd_ctx(NULL);
    json_t *r;
    int64_t n, k;
    float *in = gaussian(3, 4 * 16), *before = output_of(m, 2, DIMS(4, 16), in, &n);
    build_ok(circulant_run(&ctx, m, "{'block': ['4']}", &r, &err), &err);
    expect_block(r, "one", 4);
    assert_int_equal((int)mc_json_number(expect_block(r, "two", 4), "bytes_after", -1), 0);
    assert_int_equal(calls_of(m), 2);
    float *after = output_of(m, 2, DIMS(4, 16), in, &k);
    assert_true(relative(before, after, n) < 1e-11);
    size_t columns = 0;
    for (size_t i = 0; i < g->n_inits; i++)
        columns += g->inits[i]->tensor->shape.rank == 3;
    assert_int_equal(columns, 1);
    free(in);
    free(before);
    free(after);
    json_decref(r);
    mc_model_free(m);
}

static void blocks_of_one_change_nothing(void **state)
{
    (void)state;
    struct made d = a_gemm(16, 24, 8, true, 1, 1);
    struct mc_pass_ctx ctx = svd_ctx(NULL);
    int64_t n, k;
    json_t *r;
    float *x = gaussian(9, 5 * 24), *before = output_of(d.m, 2, d.dims, x, &n);
    const struct mc_tensor *w = mc_constant(d.m->graph->nodes[0]->in[1]);
    build_ok(circulant_run(&ctx, d.m, "{'block': ['1']}", &r, &err), &err);
    expect_left(r, "gemm", "as it is");
    float *after = output_of(d.m, 2, d.dims, x, &k);
    assert_memory_equal(before, after, (size_t)n * sizeof *after);
    assert_ptr_equal(w, mc_constant(d.m->graph->nodes[0]->in[1]));
    json_decref(r);
    free(x);
    free(before);
    free(after);
    mc_model_free(d.m);
}

/* ---- fits ---- */

enum { HIDDEN = 32, IN = 24, OUT = 8, ROWS = 512 };

/* x [-1, 24] -> 32, Relu -> 32, Relu -> 8, biases and all. */
static struct mc_model *mlp(void)
{
    struct mc_model *m = build_model(17);
    struct mc_graph *g = m->graph;
    struct mc_node *n;
    struct mc_value *y = data(g, 2, DIMS(-1, IN));
    int64_t width[] = {IN, HIDDEN, HIDDEN, OUT};
    for (int i = 0; i < 3; i++) {
        char name[8];
        snprintf(name, sizeof name, "fc%d", i);
        struct mc_value *in[] = {
            y, random_const(g, "w", 2, DIMS(width[i + 1], width[i]), 11 + (uint64_t)i),
            random_const(g, "c", 1, DIMS(width[i + 1]), 21 + (uint64_t)i)};
        y = build_node(g, "Gemm", name, 3, in, &n);
        build_ok(mc_edit_attr_int(n, "transB", 1, &err), &err);
        if (i < 2)
            y = build_unary(g, "Relu", "relu", y);
    }
    build_output(g, y);
    return m;
}

/* Outputs of the mlp after the pass, relative to those before, on samples that it was not fitted to. */
static double loss_of(const float *x, const char *options, json_t **ret)
{
    struct mc_model *m = mlp();
    struct memory_data d;
    struct mc_pass_ctx ctx = svd_ctx(memory_open(&d, "x", ROWS, 1, DIMS(IN), x, NULL));
    const float *other = x + ROWS * IN;
    int64_t n, k;
    float *before = output_of(m, 2, DIMS(ROWS, IN), other, &n);
    build_ok(circulant_run(&ctx, m, options, ret, &err), &err);
    float *after = output_of(m, 2, DIMS(ROWS, IN), other, &k);
    double e = relative(before, after, n);
    free(before);
    free(after);
    mc_model_free(m);
    return e;
}

/* Inputs that lie in few directions: an eighth of the weights is enough for what they give, if fitted to it. */
static void fits_give_what_inputs_ask_for(void **state)
{
    (void)state;
    float *x = of_rank(5, 2 * ROWS, IN, 2);
    json_t *r, *nearest;
    double fitted = loss_of(x, "{'block': ['8'], 'only': 'fc0'}", &r);
    double near = loss_of(x, "{'block': ['8'], 'only': 'fc0', 'no-fit': true}", &nearest);
    print_message("inputs of rank 2: fitted %g, nearest %g\n", fitted, near);
    assert_true(fitted < 0.02 && near > 0.1);
    assert_true(json_is_true(json_object_get(expect_block(r, "fc0", 8), "fitted")));
    assert_true(json_is_false(json_object_get(expect_block(nearest, "fc0", 8), "fitted")));
    json_decref(r);
    json_decref(nearest);
    free(x);
}

static void fitted_networks_lose_less(void **state)
{
    (void)state;
    float *x = gaussian(5, 2 * ROWS * IN);
    json_t *r, *nearest;
    double fitted = loss_of(x, "{'block': ['2']}", &r);
    double near = loss_of(x, "{'block': ['2'], 'no-fit': true}", &nearest);
    print_message("independent inputs: fitted %g, nearest %g\n", fitted, near);
    assert_true(fitted < 0.7 * near);
    assert_true(json_is_true(json_object_get(expect_block(r, "fc1", 2), "units_ordered")));
    assert_int_equal((int)mc_json_number(r, "calibration_samples", -1), ROWS);
    json_decref(r);
    json_decref(nearest);
    free(x);
}

/* Neighbours that are alike: only shuffled inputs tell the units of a block apart. */
static void inputs_like_pixels_are_shuffled(void **state)
{
    (void)state;
    float *x = gaussian(5, 2 * ROWS * IN);
    json_t *r;
    for (int64_t i = 0; i < 2 * ROWS * IN; i++) /* runs of eight */
        if (i % 8)
            x[i] = 0.1F * x[i] + x[i - 1];
    double e = loss_of(x, "{'block': ['8'], 'only': 'fc0'}", &r);
    const json_t *row = expect_block(r, "fc0", 8);
    print_message("inputs like pixels: %g\n", e);
    assert_true(json_is_true(json_object_get(row, "inputs_shuffled")));
    assert_true(e < 0.3);
    json_decref(r);
    free(x);
}

/* Of a convolution these are its channels. */
static void channels_that_are_alike_are_shuffled(void **state)
{
    (void)state;
    float *x = gaussian(5, 2 * ROWS * IN);
    for (int64_t i = 0; i < 2 * ROWS * IN; i++)
        if (i % 8)
            x[i] = 0.1F * x[i] + x[i - 1];
    struct mc_model *m = build_model(17);
    struct mc_graph *g = m->graph;
    struct mc_value *in[] = {data(g, 4, DIMS(-1, IN, 1, 2)),
                             random_const(g, "w", 4, DIMS(16, IN, 1, 1), 3)};
    struct memory_data d;
    struct mc_pass_ctx ctx = svd_ctx(memory_open(&d, "x", ROWS / 2, 3, DIMS(IN, 1, 2), x, NULL));
    json_t *r;
    int64_t n, k;
    build_output(g, build_node(g, "Conv", "conv", 2, in, NULL));
    for (int64_t i = 0; i < 2 * ROWS * IN; i += 2 * IN) { /* [2, 24] -> [24, 2] */
        float t[2 * IN];
        memcpy(t, x + i, sizeof t);
        for (int64_t c = 0; c < 2 * IN; c++)
            x[i + c] = t[c % 2 * IN + c / 2];
    }
    float *before = output_of(m, 4, DIMS(ROWS / 2, IN, 1, 2), x + ROWS * IN, &n);
    build_ok(circulant_run(&ctx, m, "{'block': ['8']}", &r, &err), &err);
    assert_true(json_is_true(json_object_get(expect_block(r, "conv", 8), "inputs_shuffled")));
    float *after = output_of(m, 4, DIMS(ROWS / 2, IN, 1, 2), x + ROWS * IN, &k);
    assert_int_equal(n, k);
    print_message("channels that are alike: %g\n", relative(before, after, n));
    assert_true(relative(before, after, n) < 0.3);
    json_decref(r);
    free(x);
    free(before);
    free(after);
    mc_model_free(m);
}

/* ---- how much ---- */

static void a_search_reaches_its_target(void **state)
{
    (void)state;
    float *x = gaussian(5, ROWS * IN);
    struct mc_model *m = mlp();
    struct memory_data d;
    struct mc_pass_ctx ctx = svd_ctx(memory_open(&d, "x", ROWS, 1, DIMS(IN), x, NULL));
    json_t *r, *choices;
    build_ok(circulant_run(&ctx, m, "{'keep': 0.6}", &r, &err), &err);
    double before = mc_json_number(r, "bytes_before", 0),
           after = mc_json_number(r, "bytes_after", 0);
    assert_true(after <= 0.6 * before && after > 0.3 * before);
    assert_non_null(json_object_get(json_object_get(r, "search"), "layers"));
    json_decref(r);
    mc_model_free(m);
    /* choices, of any block that fits */
    m = mlp();
    choices = json_loads("{\"layers\": [{\"name\": \"fc1\", \"choice\": \"block 6\"}]}", 0, NULL);
    ctx.choices = choices;
    build_ok(circulant_run(&ctx, m, "{}", &r, &err), &err);
    expect_block(r, "fc1", 6);
    expect_left(r, "fc0", "choices");
    json_decref(r);
    json_decref(choices);
    mc_model_free(m);
    /* without samples, by the weights alone */
    m = mlp();
    ctx = svd_ctx(NULL);
    build_ok(circulant_run(&ctx, m, "{'keep': 0.6}", &r, &err), &err);
    assert_true(mc_json_number(r, "bytes_after", 0) <= 0.6 * before);
    json_decref(r);
    mc_model_free(m);
    /* what cannot be reached gives the nearest */
    m = mlp();
    assert_int_equal(circulant_run(&ctx, m, "{'keep': 0.01}", &r, &err), MC_EGATE);
    assert_true(mc_json_number(r, "bytes_after", 0) < 0.5 * before);
    json_decref(r);
    mc_model_free(m);
    free(x);
}

static void nothing_is_computed_in_a_dry_run(void **state)
{
    (void)state;
    struct mc_model *m = mlp(), *same = mlp();
    struct mc_pass_ctx ctx = svd_ctx(NULL);
    json_t *dry, *r;
    ctx.dry_run = true;
    build_ok(circulant_run(&ctx, m, "{}", &dry, &err), &err);
    assert_int_equal(calls_of(m), 0);
    expect_block(dry, "fc1", 8); /* what is taken where nothing is said */
    ctx.dry_run = false;
    build_ok(circulant_run(&ctx, same, "{}", &r, &err), &err);
    assert_true(mc_json_number(dry, "bytes_after", 0) == mc_json_number(r, "bytes_after", -1));
    json_decref(dry);
    json_decref(r);
    mc_model_free(m);
    mc_model_free(same);
}

/* ---- errors ---- */

static void expect_error(struct mc_model *m, const char *options, int code, const char *says)
{
    struct mc_pass_ctx ctx = svd_ctx(NULL);
    json_t *r;
    int rc = circulant_run(&ctx, m, options, &r, &err);
    if (rc != code || !strstr(err.msg, says))
        fail_msg("%s: %d '%s', wanted %d '%s'", options, rc, err.msg, code, says);
    assert_null(r);
    mc_model_free(m);
}

static void what_cannot_be_is_an_error(void **state)
{
    (void)state;
    expect_error(mlp(), "{'block': ['64']}", MC_EUSAGE, "larger than every layer");
    expect_error(mlp(), "{'block': ['fc2=16']}", MC_EUSAGE, "larger than 'fc2', 8 x 32");
    expect_error(mlp(), "{'block': ['fc9=4']}", MC_EUSAGE, "did you mean 'fc");
    expect_error(mlp(), "{'block': ['0']}", MC_EUSAGE, "whole number");
    expect_error(mlp(), "{'block': ['fc1=-4']}", MC_EUSAGE, "whole number");
    expect_error(mlp(), "{'block': ['4x']}", MC_EUSAGE, "whole number");
    expect_error(mlp(), "{'block': ['4'], 'keep': 0.5}", MC_EUSAGE, "give one of");
    expect_error(mlp(), "{'only': '('}", MC_EUSAGE, "--only");
    expect_error(mlp(), "{'skip': 'nothing'}", MC_EUSAGE, "--skip");
    expect_error(mlp(), "{'skip': 'fc'}", MC_EUNSUP, "nothing can be made circulant");
    struct mc_model *m = mlp();
    float *w = mc_storage_data(mc_constant(m->graph->nodes[2]->in[1])->storage);
    w[5] = NAN;
    expect_error(m, "{'block': ['4']}", MC_EDATA, "fc1");
    m = build_model(17);
    build_output(m->graph, build_unary(m->graph, "Relu", "relu", data(m->graph, 2, DIMS(1, 4))));
    expect_error(m, "{}", MC_EUNSUP, "no layers");
}

static void what_is_circulant_is_left(void **state)
{
    (void)state;
    struct mc_model *m = mlp();
    struct mc_pass_ctx ctx = svd_ctx(NULL);
    json_t *r;
    build_ok(circulant_run(&ctx, m, "{'block': ['fc1=8']}", &r, &err), &err);
    expect_left(r, "fc0", "no block is given");
    json_decref(r);
    build_ok(circulant_run(&ctx, m, "{'block': ['4']}", &r, &err), &err);
    expect_left(r, "fc1", "already");
    expect_block(r, "fc0", 4);
    expect_block(r, "fc2", 4);
    json_decref(r);
    expect_error(m, "{'block': ['4']}", MC_EUNSUP, "already");
    m = mlp(); /* what is left is too small */
    build_ok(circulant_run(&ctx, m, "{'block': ['16']}", &r, &err), &err);
    expect_left(r, "fc2", "larger than it");
    json_decref(r);
    expect_error(m, "{'block': ['16']}", MC_EUNSUP, "already");
}

static void samples_that_are_not_finite_are_named(void **state)
{
    (void)state;
    struct mc_model *m = mlp();
    struct memory_data d;
    float *x = gaussian(5, ROWS * IN);
    x[70] = NAN;
    struct mc_pass_ctx ctx = svd_ctx(memory_open(&d, "x", ROWS, 1, DIMS(IN), x, NULL));
    json_t *r;
    assert_int_equal(circulant_run(&ctx, m, "{'block': ['8'], 'skip': 'fc0'}", &r, &err), MC_EDATA);
    assert_non_null(strstr(err.msg, "Gemm 'fc1'"));
    assert_non_null(strstr(err.msg, "NaN"));
    mc_model_free(m);
    free(x);
}

static void others_have_reasons(void **state)
{
    (void)state;
    struct mc_model *m = build_model(17);
    struct mc_graph *g = m->graph;
    struct mc_node *n;
    struct mc_value *x = data(g, 2, DIMS(-1, 12)), *out;
    struct mc_value *image = build_input(g, "image", MC_DTYPE_F32, 4, DIMS(-1, 4, 6, 6));
    out = build_binary(g, "MatMul", "fine", x, random_const(g, "w", 2, DIMS(12, 12), 1));
    build_output(g, out);
    struct mc_value *in[] = {image, random_const(g, "w1", 4, DIMS(8, 2, 3, 3), 4)};
    build_output(g, build_node(g, "Conv", "grouped", 2, in, &n));
    build_ok(mc_edit_attr_int(n, "group", 2, &err), &err);
    struct mc_value *in2[] = {image, random_const(g, "w2", 4, DIMS(4, 1, 3, 3), 4)};
    build_output(g, build_node(g, "Conv", "depthwise", 2, in2, &n));
    build_ok(mc_edit_attr_int(n, "group", 4, &err), &err);
    build_output(g, build_binary(g, "Gather", "table", random_const(g, "w3", 2, DIMS(40, 12), 5),
                                 build_input(g, "i", MC_DTYPE_I64, 1, DIMS(-1))));
    build_output(g, build_binary(g, "MatMul", "left", random_const(g, "w4", 2, DIMS(8, 12), 6),
                                 build_unary(g, "Transpose", "t", x)));
    struct mc_value *in3[] = {x, random_const(g, "w5", 2, DIMS(12, 8), 7), out};
    build_output(g, build_node(g, "Gemm", "sum", 3, in3, &n));
    build_output(g, build_binary(g, "MatMul", "thin", x, random_const(g, "w6", 2, DIMS(12, 5), 6)));
    struct mc_pass_ctx ctx = svd_ctx(NULL);
    json_t *r;
    build_ok(circulant_run(&ctx, m, "{'block': ['4']}", &r, &err), &err);
    expect_block(r, "fine", 4);
    expect_left(r, "grouped", "in groups");
    expect_left(r, "depthwise", "in groups");
    expect_left(r, "table", "looked up");
    expect_left(r, "left", "on the left");
    expect_left(r, "sum", "its bias is computed");
    expect_left(r, "thin", "padded by 60 %");
    json_decref(r);
    mc_model_free(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(layers_of_circulant_blocks_stay_the_same),
        cmocka_unit_test(shared_weights_stay_shared),
        cmocka_unit_test(blocks_of_one_change_nothing),
        cmocka_unit_test(fits_give_what_inputs_ask_for),
        cmocka_unit_test(fitted_networks_lose_less),
        cmocka_unit_test(inputs_like_pixels_are_shuffled),
        cmocka_unit_test(channels_that_are_alike_are_shuffled),
        cmocka_unit_test(a_search_reaches_its_target),
        cmocka_unit_test(nothing_is_computed_in_a_dry_run),
        cmocka_unit_test(what_cannot_be_is_an_error),
        cmocka_unit_test(what_is_circulant_is_left),
        cmocka_unit_test(samples_that_are_not_finite_are_named),
        cmocka_unit_test(others_have_reasons),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
