#include "svd_util.h"

#include "base/threads.h"

static struct mc_err err;

/* ---- which nodes ---- */

static struct mc_value *data(struct mc_graph *g, const char *name, int rank, const int64_t *dims)
{
    return build_input(g, name, MC_DTYPE_F32, rank, dims);
}

static void every_other_node_has_a_reason(void **state)
{
    (void)state;
    struct mc_model *m = build_model(17);
    struct mc_graph *g = m->graph;
    struct mc_node *n;
    struct mc_value *x = data(g, "x", 2, DIMS(-1, 12));
    struct mc_value *image = data(g, "image", 4, DIMS(-1, 4, 6, 6));
    struct mc_value *w = random_const(g, "w", 2, DIMS(12, 12), 1);
    build_output(g, build_binary(g, "MatMul", "fine", x, w));

    struct mc_value *w1 = random_const(g, "w1", 2, DIMS(12, 12), 2);
    build_output(g, build_node(g, "Gemm", "trans_a", 2, (struct mc_value *[]){x, w1}, &n));
    build_ok(mc_edit_attr_int(n, "transA", 1, &err), &err);

    struct mc_value *w2[] = {random_const(g, "w2", 2, DIMS(3, 12), 3),
                             build_unary(g, "Transpose", "t", x)};
    build_output(g, build_node(g, "Gemm", "left_side", 2, w2, &n));
    build_output(g,
                 build_binary(g, "MatMul", "no_constant", x, build_unary(g, "Transpose", "t", x)));

    struct mc_value *in[] = {image, random_const(g, "w3", 4, DIMS(4, 1, 3, 3), 4)};
    build_output(g, build_node(g, "Conv", "depthwise", 2, in, &n));
    build_ok(mc_edit_attr_int(n, "group", 4, &err), &err);

    build_output(
        g, build_binary(g, "MatMul", "stack", x, random_const(g, "w4", 3, DIMS(2, 12, 12), 5)));
    build_output(g, build_binary(g, "MatMul", "thin", x, random_const(g, "w5", 2, DIMS(12, 1), 6)));

    /* tied, but not alike */
    struct mc_value *w6 = random_const(g, "w6", 2, DIMS(12, 12), 7);
    build_output(g, build_binary(g, "MatMul", "one_way", x, w6));
    build_output(g, build_node(g, "Gemm", "other_way", 2, (struct mc_value *[]){x, w6}, &n));
    build_ok(mc_edit_attr_int(n, "transB", 1, &err), &err);

    struct mc_value *w7 = random_const(g, "w7", 2, DIMS(12, 12), 8);
    build_output(g, build_binary(g, "MatMul", "embedded", x, w7));
    build_output(g, build_binary(g, "Gather", "embedding", w7,
                                 build_input(g, "i", MC_DTYPE_I64, 1, DIMS(-1))));

    struct mc_value *w8 = random_const(g, "w8", 2, DIMS(12, 12), 9);
    build_output(g, build_binary(g, "MatMul", "shown", x, w8));
    build_output(g, w8);

    struct mc_pass_ctx ctx = svd_ctx(NULL);
    json_t *r;
    build_ok(svd_run(&ctx, m, "{'rank': 2}", &r, &err), &err);
    expect_rank(r, "fine", 2);
    expect_left(r, "trans_a", "transA");
    expect_left(r, "left_side", "left operand");
    expect_left(r, "no_constant", "no constant");
    expect_left(r, "depthwise", "no rank to lower");
    expect_left(r, "stack", "not one matrix");
    expect_left(r, "thin", "no rank");
    expect_left(r, "one_way", "another form");
    expect_left(r, "other_way", "another form");
    expect_left(r, "embedded", "another form");
    expect_left(r, "embedding", "another form");
    expect_left(r, "shown", "output");
    assert_int_equal(json_array_size(json_object_get(r, "layers")), 12);
    json_decref(r);
    mc_model_free(m);
}

/* Two users of one weight get the same two factors. */
static void tied_weights_are_factorised_once(void **state)
{
    (void)state;
    struct mc_model *m = build_model(17);
    struct mc_graph *g = m->graph;
    float *w = of_rank(5, 16, 16, 2), *x = gaussian(6, SAMPLES * 16);
    struct mc_value *in = data(g, "x", 2, DIMS(-1, 16)), *c = f32_const(g, "w", 2, DIMS(16, 16), w);
    struct mc_value *h = build_unary(g, "Relu", "relu", build_binary(g, "MatMul", "first", in, c));
    build_output(g, build_binary(g, "MatMul", "second", h, c));
    struct memory_data d;
    struct mc_pass_ctx ctx = svd_ctx(memory_open(&d, "x", SAMPLES, 1, DIMS(16), x, NULL));
    int64_t n;
    float *want = output_of(m, 2, DIMS(20, 16), x, &n);
    json_t *r;
    build_ok(svd_run(&ctx, m, "{'rank': 2}", &r, &err), &err);
    assert_string_equal(mc_json_string(r, "norm"), "outputs");
    expect_rank(r, "first", 2);
    expect_rank(r, "second", 2);
    assert_int_equal(g->n_inits, 2);
    assert_int_equal(g->n_nodes, 5);
    float *got = output_of(m, 2, DIMS(20, 16), x, &n);
    assert_true(sqrt(relative(want, got, n)) < 1e-5);
    json_decref(r);
    free(w);
    free(x);
    free(want);
    free(got);
    mc_model_free(m);
}

static void not_finite_weights_are_named(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        struct mc_model *m = build_model(17);
        float *w = gaussian(1, 144);
        w[31] = i ? NAN : -INFINITY;
        struct mc_value *x = data(m->graph, "x", 2, DIMS(-1, 12));
        build_output(m->graph, build_binary(m->graph, "MatMul", "layer", x,
                                            f32_const(m->graph, "weight", 2, DIMS(12, 12), w)));
        struct mc_pass_ctx ctx = svd_ctx(NULL);
        json_t *r;
        assert_int_equal(svd_run(&ctx, m, "{'rank': 2}", &r, &err), MC_EDATA);
        assert_null(r);
        assert_non_null(strstr(err.msg, "'layer'"));
        assert_non_null(strstr(err.msg, "'weight'"));
        assert_non_null(strstr(err.msg, "element 31"));
        free(w);
        mc_model_free(m);
    }
}

/* ---- how much ---- */

/* x -> 24 -> 20 -> 10, classes. */
static struct mc_model *three_layers(void)
{
    struct mc_model *m = build_model(17);
    struct mc_graph *g = m->graph;
    struct mc_value *v = data(g, "x", 2, DIMS(-1, 32));
    const int64_t width[] = {32, 24, 20, 10};
    for (int i = 0; i < 3; i++) {
        char name[16];
        struct mc_value *in[3] = {v};
        snprintf(name, sizeof name, "w%d", i);
        in[1] = random_const(g, name, 2, DIMS(width[i], width[i + 1]), 20 + (uint64_t)i);
        in[2] = random_const(g, "b", 1, &width[i + 1], 30 + (uint64_t)i);
        snprintf(name, sizeof name, "layer%d", i);
        v = build_node(g, "Gemm", name, 3, in, NULL);
        if (i < 2)
            v = build_unary(g, "Relu", "relu", v);
    }
    build_output(g, v);
    return m;
}

/* Inputs that fill few directions: what calibration can find. */
static float *correlated(uint64_t seed, int64_t rows)
{
    float *x = of_rank(seed, rows, 32, 12), *noise = gaussian(seed + 7, rows * 32);
    for (int64_t i = 0; i < rows * 32; i++)
        x[i] += 0.02f * noise[i] + 0.3f;
    free(noise);
    return x;
}

static uint64_t size_of(const struct mc_model *m)
{
    uint64_t bytes;
    assert_int_equal(count_bytes(NULL, m, &bytes, NULL), 0);
    return bytes;
}

static void keep_comes_close_from_below(void **state)
{
    (void)state;
    float *x = correlated(1, SAMPLES);
    for (int calibrate = 0; calibrate < 2; calibrate++)
        for (int percent = 35; percent <= 95; percent += 12) {
            struct mc_model *m = three_layers();
            uint64_t before = size_of(m);
            struct memory_data d;
            struct mc_pass_ctx ctx =
                svd_ctx(calibrate ? memory_open(&d, "x", SAMPLES, 1, DIMS(32), x, NULL) : NULL);
            char options[64];
            json_t *r;
            snprintf(options, sizeof options, "{'keep': 0.%d}", percent);
            build_ok(svd_run(&ctx, m, options, &r, &err), &err);
            uint64_t after = size_of(m), target = before * (uint64_t)percent / 100;
            assert_int_equal((int64_t)mc_json_number(r, "bytes_after", 0), after);
            assert_true(after <= target);
            assert_true(target - after < 4 * (32 + 24) + 400); /* one rank, and nodes' overhead */
            json_decref(r);
            mc_model_free(m);
        }
    free(x);
}

static void what_cannot_be_reached_is_said(void **state)
{
    (void)state;
    struct mc_model *m = three_layers();
    struct mc_pass_ctx ctx = svd_ctx(NULL);
    json_t *r;
    assert_int_equal(svd_run(&ctx, m, "{'keep': 0.01}", &r, &err), MC_EGATE);
    assert_non_null(strstr(err.msg, "cannot be reached"));
    for (int i = 0; i < 3; i++)
        expect_rank(r, (const char *[]){"layer0", "layer1", "layer2"}[i], 1);
    json_decref(r);
    mc_model_free(m);
}

static void keep_all_changes_nothing(void **state)
{
    (void)state;
    struct mc_model *m = three_layers();
    uint64_t before = size_of(m);
    struct mc_pass_ctx ctx = svd_ctx(NULL);
    json_t *r;
    build_ok(svd_run(&ctx, m, "{'keep': 1}", &r, &err), &err);
    assert_int_equal(size_of(m), before);
    expect_left(r, "layer0", "as it is");
    json_decref(r);
    mc_model_free(m);
}

static void energy_leaves_at_most_the_rest(void **state)
{
    (void)state;
    struct mc_model *m = build_model(17);
    struct mc_graph *g = m->graph;
    float *w = calloc(40 * 40, sizeof *w); /* singular values 2^-k */
    assert_non_null(w);
    for (int i = 0; i < 40; i++)
        w[i * 40 + (i * 7) % 40] = powf(0.5f, (float)i);
    struct mc_value *x = data(g, "x", 2, DIMS(-1, 40));
    build_output(g, build_binary(g, "MatMul", "layer", x, f32_const(g, "w", 2, DIMS(40, 40), w)));
    struct mc_pass_ctx ctx = svd_ctx(NULL);
    json_t *r;
    /* what is left at rank r is 4^-r */
    build_ok(svd_run(&ctx, m, "{'energy': 0.999}", &r, &err), &err);
    expect_rank(r, "layer", 5);
    assert_true(fabs(mc_json_number(layer_row(r, "layer"), "error", 0) - pow(0.5, 5)) < 1e-4);
    json_decref(r);
    free(w);
    mc_model_free(m);
}

static void options_exclude_each_other(void **state)
{
    (void)state;
    struct mc_model *m = three_layers();
    struct mc_pass_ctx ctx = svd_ctx(NULL);
    json_t *r;
    assert_int_equal(svd_run(&ctx, m, "{'keep': 0.5, 'rank': 3}", &r, &err), MC_EUSAGE);
    assert_int_equal(svd_run(&ctx, m, "{'norm': 'outputs'}", &r, &err), MC_EUSAGE);
    assert_non_null(strstr(err.msg, "--calib"));
    mc_model_free(m);
}

static void a_dry_run_predicts(void **state)
{
    (void)state;
    static const char *const options[] = {"{'keep': 0.6}", "{'rank': 3}", "{'energy': 0.7}"};
    for (int i = 0; i < 3; i++) {
        struct mc_model *m = three_layers();
        uint64_t before = size_of(m);
        struct mc_pass_ctx ctx = svd_ctx(NULL);
        json_t *dry, *real;
        ctx.dry_run = true;
        build_ok(svd_run(&ctx, m, options[i], &dry, &err), &err);
        assert_int_equal(size_of(m), before);
        ctx.dry_run = false;
        build_ok(svd_run(&ctx, m, options[i], &real, &err), &err);
        assert_true(size_of(m) < before);
        assert_int_equal((int64_t)mc_json_number(dry, "bytes_after", 0), size_of(m));
        for (int k = 0; k < 3; k++) {
            const char *name = (const char *[]){"layer0", "layer1", "layer2"}[k];
            assert_true(mc_json_number(layer_row(dry, name), "rank", 0) ==
                        mc_json_number(layer_row(real, name), "rank", 0));
        }
        json_decref(dry);
        json_decref(real);
        mc_model_free(m);
    }
}

/* Slowly falling singular values: most of the error lies beyond what the randomised method looked at. */
static void both_methods_report_the_same_error(void **state)
{
    (void)state;
    double error[2];
    for (int i = 0; i < 2; i++) {
        struct mc_model *m = build_model(17);
        struct mc_value *x = data(m->graph, "x", 2, DIMS(-1, 60));
        build_output(m->graph, build_binary(m->graph, "MatMul", "layer", x,
                                            random_const(m->graph, "w", 2, DIMS(60, 70), 3)));
        struct mc_pass_ctx ctx = svd_ctx(NULL);
        json_t *r;
        build_ok(svd_run(&ctx, m,
                         i ? "{'rank': 8, 'svd': 'random'}" : "{'rank': 8, 'svd': 'exact'}", &r,
                         &err),
                 &err);
        error[i] = mc_json_number(layer_row(r, "layer"), "error", 0);
        json_decref(r);
        mc_model_free(m);
    }
    assert_true(error[0] > 0.5);
    assert_true(error[1] >= error[0] && error[1] < 1.02 * error[0]);
}

/* ---- with samples ---- */

/* Error of the output at rank 4 of layer 0 alone, on the calibration samples. */
static double output_error(const char *options, const float *x, struct mc_model *m)
{
    int64_t n;
    struct memory_data d;
    struct mc_pass_ctx ctx = svd_ctx(memory_open(&d, "x", SAMPLES, 1, DIMS(32), x, NULL));
    float *want = output_of(m, 2, DIMS(SAMPLES, 32), x, &n);
    json_t *r;
    build_ok(svd_run(&ctx, m, options, &r, &err), &err);
    float *got = output_of(m, 2, DIMS(SAMPLES, 32), x, &n);
    double e = relative(want, got, n);
    json_decref(r);
    free(want);
    free(got);
    mc_model_free(m);
    return e;
}

static struct mc_model *one_layer(void)
{
    struct mc_model *m = build_model(17);
    struct mc_value *in[] = {data(m->graph, "x", 2, DIMS(-1, 32)),
                             random_const(m->graph, "w", 2, DIMS(32, 24), 3)};
    build_output(m->graph, build_node(m->graph, "Gemm", "layer", 2, in, NULL));
    return m;
}

/* A layer without a bias gets one for its mean error: that is counted before it is there. */
static void a_new_bias_is_predicted(void **state)
{
    (void)state;
    float *x = correlated(5, SAMPLES);
    struct mc_model *m = one_layer();
    struct memory_data d;
    struct mc_pass_ctx ctx = svd_ctx(memory_open(&d, "x", SAMPLES, 1, DIMS(32), x, NULL));
    json_t *dry, *real;
    ctx.dry_run = true;
    build_ok(svd_run(&ctx, m, "{'keep': 0.8}", &dry, &err), &err);
    ctx.dry_run = false;
    build_ok(svd_run(&ctx, m, "{'keep': 0.8}", &real, &err), &err);
    assert_int_equal(m->graph->n_inits, 3);
    assert_int_equal((int64_t)mc_json_number(dry, "bytes_after", 0), size_of(m));
    json_decref(dry);
    json_decref(real);
    mc_model_free(m);
    free(x);
}

static void covariance_lowers_the_output_error(void **state)
{
    (void)state;
    float *x = correlated(2, SAMPLES);
    double plain = output_error("{'rank': 8, 'norm': 'weights'}", x, one_layer());
    double white = output_error("{'rank': 8, 'norm': 'inputs'}", x, one_layer());
    assert_true(white < 0.2 * plain);
    free(x);
}

/* Only the first 4 of 24 channels reach the output: rank 4 is enough for them, and only the norm that looks
 * at the output knows. */
static struct mc_model *half_read(void)
{
    struct mc_model *m = build_model(17);
    struct mc_graph *g = m->graph;
    float *pick = calloc(24 * 4, sizeof *pick);
    assert_non_null(pick);
    for (int i = 0; i < 4; i++)
        pick[i * 4 + i] = 1;
    struct mc_value *x = data(g, "x", 2, DIMS(-1, 32));
    struct mc_value *h =
        build_binary(g, "MatMul", "layer", x, random_const(g, "w", 2, DIMS(32, 24), 4));
    struct mc_value *y = build_binary(g, "MatMul", "pick", build_unary(g, "Tanh", "tanh", h),
                                      f32_const(g, "p", 2, DIMS(24, 4), pick));
    build_output(g, build_unary(g, "Sigmoid", "sigmoid", y));
    free(pick);
    return m;
}

static void outputs_decide_what_counts(void **state)
{
    (void)state;
    float *x = gaussian(8, SAMPLES * 32);
    for (int64_t i = 0; i < SAMPLES * 32; i++)
        x[i] *= 0.2f;
    double inputs = output_error("{'rank': 5, 'norm': 'inputs'}", x, half_read());
    double outputs = output_error("{'rank': 5, 'norm': 'outputs'}", x, half_read());
    assert_true(inputs > 0.01);
    assert_true(outputs < 0.05 * inputs);
    free(x);
}

static void threads_do_not_change_bits(void **state)
{
    (void)state;
    float *x = correlated(3, SAMPLES);
    struct mc_model *m[2];
    for (int i = 0; i < 2; i++) {
        struct memory_data d;
        struct mc_pass_ctx ctx = svd_ctx(memory_open(&d, "x", SAMPLES, 1, DIMS(32), x, NULL));
        json_t *r;
        m[i] = three_layers();
        build_ok(mc_pool_new(i + 1, &ctx.pool, &err), &err);
        build_ok(svd_run(&ctx, m[i], "{'keep': 0.5}", &r, &err), &err);
        mc_pool_free(ctx.pool);
        json_decref(r);
    }
    assert_int_equal(m[0]->graph->n_inits, m[1]->graph->n_inits);
    for (size_t i = 0; i < m[0]->graph->n_inits; i++) {
        const struct mc_tensor *a = m[0]->graph->inits[i]->tensor,
                               *b = m[1]->graph->inits[i]->tensor;
        assert_int_equal(a->bytes, b->bytes);
        assert_memory_equal(a->data, b->data, a->bytes);
    }
    mc_model_free(m[0]);
    mc_model_free(m[1]);
    free(x);
}

static void samples_that_are_not_finite_are_named(void **state)
{
    (void)state;
    float *x = correlated(4, SAMPLES);
    x[70 * 32 + 5] = NAN;
    struct mc_model *m = three_layers();
    struct memory_data d;
    struct mc_pass_ctx ctx = svd_ctx(memory_open(&d, "x", SAMPLES, 1, DIMS(32), x, NULL));
    json_t *r;
    assert_int_equal(svd_run(&ctx, m, "{'keep': 0.5}", &r, &err), MC_EDATA);
    assert_non_null(strstr(err.msg, "layer0"));
    mc_model_free(m);
    free(x);
}

/* ---- unusual places ---- */

/* A weight in a branch is factorised where it is, by itself: no samples can be had there. */
static void weights_in_branches(void **state)
{
    (void)state;
    struct mc_model *m = build_model(17);
    struct mc_graph *g = m->graph;
    float *w = of_rank(5, 16, 16, 2);
    data(g, "x", 2, DIMS(-1, 16));
    struct mc_node *n;
    struct mc_value *c = build_input(g, "c", MC_DTYPE_BOOL, 0, NULL);
    struct mc_value *y = build_node(g, "If", "if", 1, &c, &n);
    static const char *const branch[] = {"then_branch", "else_branch"};
    for (int i = 0; i < 2; i++) {
        struct mc_graph *body = mc_edit_graph(m, g, n, branch[i]);
        assert_non_null(body);
        build_ok(mc_edit_attr_graph(n, branch[i], body, &err), &err);
        struct mc_value *v = mc_edit_resolve(body, "x");
        assert_non_null(v);
        build_output(body, i ? build_unary(body, "Neg", "neg", v)
                             : build_binary(body, "MatMul", "inner", v,
                                            f32_const(body, "w", 2, DIMS(16, 16), w)));
    }
    build_output(g, y);
    struct mc_pass_ctx ctx = svd_ctx(NULL);
    json_t *r;
    build_ok(svd_run(&ctx, m, "{'rank': 2}", &r, &err), &err);
    expect_rank(r, "inner", 2);
    const struct mc_graph *body = mc_node_attr(n, "then_branch")->graphs[0];
    assert_int_equal(body->n_nodes, 2);
    assert_int_equal(body->n_inits, 2);
    const struct mc_node *last = body->nodes[1];
    assert_ptr_equal(last->in[0]->producer, body->nodes[0]);
    const float *first = (const float *)mc_constant(body->nodes[0]->in[1])->data;
    const float *second = (const float *)mc_constant(last->in[1])->data;
    for (int i = 0; i < 16; i++)
        for (int j = 0; j < 16; j++) {
            double v = (double)first[2 * i] * second[j] + (double)first[2 * i + 1] * second[16 + j];
            assert_true(fabs(v - w[i * 16 + j]) < 1e-5);
        }
    json_decref(r);
    free(w);
    mc_model_free(m);
}

/* What cannot run cannot be calibrated; the error says what can be done. */
static void unknown_operators(void **state)
{
    (void)state;
    struct mc_model *m = build_model(17);
    struct mc_graph *g = m->graph;
    float *x = gaussian(6, SAMPLES * 16);
    struct mc_value *w = random_const(g, "w", 2, DIMS(16, 16), 1);
    struct mc_value *v = build_binary(g, "MatMul", "layer", data(g, "x", 2, DIMS(-1, 16)), w);
    struct mc_value *odd = build_unary(g, "Unheard", "odd", v);
    build_output(g, odd);
    struct memory_data d;
    struct mc_pass_ctx ctx = svd_ctx(memory_open(&d, "x", SAMPLES, 1, DIMS(16), x, NULL));
    json_t *r;
    /* behind the layer: its own output can still be seen */
    build_ok(svd_run(&ctx, m, "{'rank': 2}", &r, &err), &err);
    assert_string_equal(mc_json_string(r, "norm"), "inputs");
    json_decref(r);
    build_output(
        g, build_binary(g, "MatMul", "later", odd, random_const(g, "w2", 2, DIMS(16, 16), 2)));
    assert_int_equal(svd_run(&ctx, m, "{'rank': 2}", &r, &err), MC_EUNSUP);
    assert_non_null(strstr(err.msg, "Unheard"));
    assert_non_null(strstr(err.msg, "without --calib"));
    ctx = svd_ctx(NULL);
    build_ok(svd_run(&ctx, m, "{'rank': 2}", &r, &err), &err);
    expect_rank(r, "later", 2);
    json_decref(r);
    free(x);
    mc_model_free(m);
}

/* Frozen to batches of 6, 10 samples: the last batch runs half full. */
static void frozen_batches(void **state)
{
    (void)state;
    struct mc_model *m = build_model(17);
    struct mc_graph *g = m->graph;
    float *w = of_rank(5, 16, 16, 2), *x = gaussian(6, 10 * 16);
    struct mc_value *in = data(g, "x", 2, DIMS(6, 16));
    struct mc_value *h =
        build_binary(g, "MatMul", "layer", in, f32_const(g, "w", 2, DIMS(16, 16), w));
    build_output(g, build_unary(g, "Tanh", "tanh", h));
    struct memory_data d;
    struct mc_pass_ctx ctx = svd_ctx(memory_open(&d, "x", 10, 1, DIMS(16), x, NULL));
    int64_t n;
    float *want = output_of(m, 2, DIMS(6, 16), x, &n);
    json_t *r;
    build_ok(svd_run(&ctx, m, "{'rank': 2, 'norm': 'outputs'}", &r, &err), &err);
    expect_rank(r, "layer", 2);
    float *got = output_of(m, 2, DIMS(6, 16), x, &n);
    assert_true(sqrt(relative(want, got, n)) < 1e-5);
    json_decref(r);
    free(w);
    free(x);
    free(want);
    free(got);
    mc_model_free(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_other_node_has_a_reason),
        cmocka_unit_test(tied_weights_are_factorised_once),
        cmocka_unit_test(not_finite_weights_are_named),
        cmocka_unit_test(keep_comes_close_from_below),
        cmocka_unit_test(what_cannot_be_reached_is_said),
        cmocka_unit_test(keep_all_changes_nothing),
        cmocka_unit_test(energy_leaves_at_most_the_rest),
        cmocka_unit_test(options_exclude_each_other),
        cmocka_unit_test(a_dry_run_predicts),
        cmocka_unit_test(both_methods_report_the_same_error),
        cmocka_unit_test(a_new_bias_is_predicted),
        cmocka_unit_test(covariance_lowers_the_output_error),
        cmocka_unit_test(outputs_decide_what_counts),
        cmocka_unit_test(threads_do_not_change_bits),
        cmocka_unit_test(samples_that_are_not_finite_are_named),
        cmocka_unit_test(weights_in_branches),
        cmocka_unit_test(unknown_operators),
        cmocka_unit_test(frozen_batches),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
