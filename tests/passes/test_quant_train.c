/* Training form of quantised models: what it computes, what comes back from it, and that it learns. */
#include "../run/memory_data.h"
#include "quant_train_net.h"

#include <math.h>
#include <stdlib.h>

#include "base/json.h"
#include "graph/constant.h"
#include "graph/grad/weights.h"
#include "graph/verify.h"
#include "passes/quant/train/quant_train.h"
#include "train/train.h"

enum { SAMPLES = 120, CLASSES = 5, WIDTH = 3 * 6 * 6 };

/* ---- comparing ---- */

static void open_model(struct mc_model *m)
{
    struct mc_pass_ctx ctx = {0};
    struct mc_err err;
    build_ok(mc_quant_open(&ctx, m, &err), &err);
    build_ok(mc_verify(m, &err), &err);
}

static void close_model(struct mc_model *m)
{
    struct mc_pass_ctx ctx = {0};
    struct mc_err err;
    build_ok(mc_quant_close(&ctx, m, &err), &err);
    build_ok(mc_verify(m, &err), &err);
}

static struct mc_model *clone(const struct mc_model *m)
{
    struct mc_model *ret;
    struct mc_err err;
    build_ok(mc_model_clone(m, &ret, &err), &err);
    return ret;
}

/* Outputs for the samples, in float64. */
static void outputs(struct mc_model *m, const float *x, double *y)
{
    struct mc_session_opts o = {.precision = MC_PRECISION_F64, .flags = MC_SESSION_FLOAT};
    struct mc_session *s = session_of(m, &o);
    run_x(s, 4, DIMS(SAMPLES, 3, 6, 6), x);
    memcpy(y, mc_session_output(s, 0)->data, SAMPLES * CLASSES * sizeof *y);
    mc_session_free(s);
}

static void expect_alike(struct mc_model *a, struct mc_model *b, double tol)
{
    static float x[SAMPLES * WIDTH];
    static double y[SAMPLES * CLASSES], z[SAMPLES * CLASSES];
    double largest = 0;
    mc_rng_fill_normal(4, 0, 0, x, SAMPLES * WIDTH);
    outputs(a, x, y);
    outputs(b, x, z);
    for (int i = 0; i < SAMPLES * CLASSES; i++)
        largest = fmax(largest, fabs(y[i]));
    assert_true(largest > 0.1);
    for (int i = 0; i < SAMPLES * CLASSES; i++)
        if (!(fabs(y[i] - z[i]) <= tol * largest))
            fail_msg("output %d: %.9g and %.9g", i, y[i], z[i]);
}

static void expect_same_constant(const struct mc_value *a, const struct mc_value *b)
{
    const struct mc_tensor *t = mc_constant(a), *u = mc_constant(b);
    assert_int_equal(!t, !u);
    if (!t)
        return;
    assert_int_equal(t->dtype, u->dtype);
    assert_true(mc_shape_equal(&t->shape, &u->shape));
    assert_memory_equal(t->data, u->data, t->bytes);
    if (!strstr(a->name, ".lo") && !strstr(a->name, ".hi")) /* bounds of Clip are made again */
        assert_string_equal(a->name, b->name);
}

static void expect_same(const struct mc_model *a, const struct mc_model *b)
{
    assert_int_equal(a->graph->n_nodes, b->graph->n_nodes);
    assert_int_equal(a->graph->n_inits, b->graph->n_inits);
    for (size_t i = 0; i < a->graph->n_nodes; i++) {
        const struct mc_node *n = a->graph->nodes[i], *o = b->graph->nodes[i];
        assert_string_equal(n->op_type, o->op_type);
        assert_string_equal(n->domain, o->domain);
        assert_int_equal(n->version, o->version);
        assert_int_equal(n->n_attr, o->n_attr);
        assert_int_equal(n->n_in, o->n_in);
        for (size_t k = 0; k < n->n_in; k++)
            expect_same_constant(n->in[k], o->in[k]);
    }
}

static size_t how_many(const struct mc_model *m, const char *op)
{
    size_t n = 0;
    for (size_t i = 0; i < m->graph->n_nodes; i++)
        n += !strcmp(m->graph->nodes[i]->op_type, op);
    return n;
}

/* ---- tests ---- */

static void opened_and_closed_is_what_was(void **state)
{
    (void)state;
    struct mc_model *m = net(), *open = clone(m);
    /* the two ends of the pool have scales of their own in the file: one, from here on */
    open_model(open);
    assert_int_equal(how_many(open, "FakeQuantize"), 9);
    assert_int_equal(how_many(open, "LearnedScale"), 6);
    assert_int_equal(how_many(open, "Clip") + how_many(open, "QuantizeLinear"), 0);
    expect_alike(m, open, 1e-6);
    open_model(open); /* what is open stays */
    assert_int_equal(how_many(open, "FakeQuantize"), 9);
    assert_int_equal(how_many(open, "LearnedScale"), 6);
    close_model(open);
    expect_alike(m, open, 0);
    struct mc_model *again = clone(open);
    open_model(again);
    close_model(again);
    expect_same(open, again);
    mc_model_free(again);
    mc_model_free(open);
    mc_model_free(m);
}

static void no_bit_changes(void **state)
{
    (void)state;
    struct mc_model *m = net(), *was;
    struct mc_value *s = mc_graph_value(m->graph, "before.s"),
                    *z = mc_graph_value(m->graph, "before.z");
    for (size_t i = 0; i < m->graph->n_nodes; i++) /* one scale for both ends of the pool */
        for (size_t k = 0; k < m->graph->nodes[i]->n_in; k++) {
            struct mc_node *n = m->graph->nodes[i];
            if (!strcmp(n->in[k]->name, "behind.s") || !strcmp(n->in[k]->name, "behind.z"))
                mc_edit_set_input(n, k, k == 1 ? s : z, NULL);
        }
    mc_edit_sweep(m->graph);
    was = clone(m);
    open_model(m);
    close_model(m);
    expect_same(was, m);
    mc_model_free(was);
    mc_model_free(m);
}

/* As training does: everything that is trained moves. */
static void move(struct mc_model *m, uint64_t seed)
{
    struct mc_weights w;
    struct mc_err err;
    size_t growths = 0;
    build_ok(mc_weights_find(m->graph, NULL, &w, &err), &err);
    for (size_t i = 0; i < w.n; i++) {
        struct mc_value *v = w.list[i].value;
        float *x, by[512];
        int64_t n;
        bool growth = strstr(v->name, ".growth") != NULL;
        assert_null(w.list[i].why);
        assert_true(!growth || !w.list[i].decays);
        growths += growth;
        build_ok(mc_constant_f32(v, &x, &n, &err), &err);
        mc_rng_fill_normal(seed, i, 0, by, (size_t)n);
        for (int64_t k = 0; k < n; k++)
            x[k] += by[k] * (growth ? 0.1F : 0.05F);
        struct mc_tensor *t;
        build_ok(mc_constant_make(x, &w.list[i].shape, MC_DTYPE_F32, NULL, &t, &err), &err);
        build_ok(mc_constant_replace(v, t, &err), &err);
        mc_tensor_unref(t);
        free(x);
    }
    assert_int_equal(growths, 6);
    assert_int_equal(w.n, 6 + 3 + 2 + 1); /* growths, weights, biases of 32 bits, one of floats */
    mc_weights_free(&w);
}

/* Integers of the first layer within 4 bits without -8; scales above 0. */
static void check_numbers(const struct mc_model *m)
{
    const struct mc_tensor *t = mc_constant(mc_graph_value(m->graph, "conv.q"));
    assert_int_equal(t->dtype, MC_DTYPE_I8);
    for (size_t i = 0; i < t->bytes; i++)
        assert_in_range((int8_t)t->data[i] + 7, 0, 14);
    assert_int_equal(mc_constant(mc_graph_value(m->graph, "mid.q"))->dtype, MC_DTYPE_I4);
    assert_int_equal(mc_constant(mc_graph_value(m->graph, "out.q"))->dtype, MC_DTYPE_U8);
    for (size_t i = 0; i < m->graph->n_nodes; i++) {
        const struct mc_node *n = m->graph->nodes[i];
        float *s;
        int64_t count;
        if (!mc_node_is(n, "DequantizeLinear"))
            continue;
        assert_int_equal(mc_constant_f32(n->in[1], &s, &count, NULL), 0);
        for (int64_t k = 0; k < count; k++)
            assert_true(s[k] > 0 && isfinite(s[k]));
        free(s);
    }
    /* the bias of 32 bits has the product of the two scales */
    float x, w[4], b[4];
    memcpy(&x, mc_constant(mc_graph_value(m->graph, "in.s"))->data, sizeof x);
    memcpy(w, mc_constant(mc_graph_value(m->graph, "conv.s"))->data, sizeof w);
    memcpy(b, mc_constant(mc_graph_value(m->graph, "conv.b.s"))->data, sizeof b);
    for (int i = 0; i < 4; i++)
        assert_true(b[i] == x * w[i]);
}

static void closed_computes_what_was_trained(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 3; seed++) {
        struct mc_model *m = net(), *was = clone(m);
        open_model(m);
        move(m, seed);
        struct mc_model *open = clone(m);
        close_model(m);
        assert_int_equal(m->graph->n_nodes, was->graph->n_nodes);
        check_numbers(m);
        expect_alike(open, m, 1e-5);
        open_model(m); /* and back once more */
        expect_alike(open, m, 1e-5);
        mc_model_free(open);
        mc_model_free(was);
        mc_model_free(m);
    }
}

static double mean_of(const json_t *curve, size_t from, size_t to)
{
    double sum = 0;
    for (size_t i = from; i < to; i++)
        sum += mc_json_number(json_array_get(curve, i), "loss", NAN);
    return sum / (double)(to - from);
}

static void it_learns(void **state)
{
    static const char *const options[] = {
        "{\"optimizer\": \"adamw\", \"lr\": 0.01, \"batch\": 20, \"holdout\": 0, \"loss\": \"ce\"}",
        "{\"optimizer\": \"sgd\", \"lr\": 0.05, \"batch\": 20, \"holdout\": 0, \"loss\": \"ce\"}"};
    static float x[SAMPLES * WIDTH], centre[CLASSES * WIDTH];
    static int64_t labels[SAMPLES];
    struct memory_data data;
    struct mc_err err;
    (void)state;
    mc_rng_fill_normal(8, 1, 0, centre, CLASSES * WIDTH);
    mc_rng_fill_normal(8, 2, 0, x, SAMPLES * WIDTH);
    for (int i = 0; i < SAMPLES * WIDTH; i++) {
        labels[i / WIDTH] = i / WIDTH % CLASSES;
        x[i] = 0.5F * x[i] + centre[labels[i / WIDTH] * WIDTH + i % WIDTH];
    }
    struct mc_dataset *d = memory_open(&data, "x", SAMPLES, 3, DIMS(3, 6, 6), x, labels);
    for (int i = 0; i < 2; i++) {
        struct mc_model *m = net();
        struct mc_train_ctx ctx = {.seed = 1};
        json_t *report = NULL, *o = json_loads(options[i], 0, NULL);
        assert_non_null(o);
        open_model(m);
        build_ok(mc_train_run(m, NULL, d, 10, o, &ctx, &report, &err), &err);
        close_model(m);
        check_numbers(m);
        const json_t *curve = json_object_get(report, "curve");
        size_t n = json_array_size(curve);
        assert_int_equal(n, 60);
        double before = mean_of(curve, 0, 6), after = mean_of(curve, n - 6, n);
        if (!(after < 0.7 * before))
            fail_msg("%s: loss %g -> %g", options[i], before, after);
        json_decref(report);
        json_decref(o);
        mc_model_free(m);
    }
}

/* What is read by something else, in two ways, or has scales that are no float32 constants. */
static void the_rest_stays(void **state)
{
    (void)state;
    struct mc_model *m = build_model(21), *was;
    struct mc_graph *g = m->graph;
    int8_t q[12];
    const uint16_t half = 0x2c00; /* 1/16 */
    struct mc_value *x = build_input(g, "x", MC_DTYPE_F32, 2, DIMS(-2, 3)), *y, *in[2];
    draw(q, 12, -7, 7, 1);
    struct mc_value *w = build_const(g, "w", MC_DTYPE_I8, 2, DIMS(3, 4), q);
    y = build_binary(g, "MatMul", "a", x, stored(g, "w1", w, scalar(g, "s1", 0.1F), NULL, -1, 0));
    build_output(g, y);
    y = build_binary(g, "MatMul", "b", x, stored(g, "w2", w, scalar(g, "s2", 0.2F), NULL, -1, 0));
    in[0] = quantised(g, "out", y, 0.1F, MC_DTYPE_I8, 0, 8)->producer->in[0];
    build_output(g, in[0]); /* integers */
    in[0] = build_const(g, "v", MC_DTYPE_I8, 2, DIMS(3, 4), q);
    in[1] = build_const(g, "half", MC_DTYPE_F16, 0, NULL, &half);
    y = build_node(g, "DequantizeLinear", "v1", 2, in, NULL);
    build_output(g, y);
    mc_edit_sweep(g);
    was = clone(m);
    open_model(m);
    expect_same(was, m);
    close_model(m);
    expect_same(was, m);
    mc_model_free(was);
    mc_model_free(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(opened_and_closed_is_what_was),
        cmocka_unit_test(no_bit_changes),
        cmocka_unit_test(closed_computes_what_was_trained),
        cmocka_unit_test(it_learns),
        cmocka_unit_test(the_rest_stays),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
