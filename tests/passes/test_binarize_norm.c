/* Norms of a training in signs: where they stand, what the file has instead of them, and their averages after training. */
#include "binarize_net.h"

#include <math.h>

#include "graph/constant.h"
#include "graph/own/own.h"
#include "graph/verify.h"
#include "passes/pass.h"

extern const struct mc_pass mc_pass_binarize;
static struct mc_err err;

enum { SIDE = 6, IMAGE = 2 * SIDE * SIDE };

/* Convolutions of 2 to 5, to 7 and to 4 channels, means of the channels, and a layer. */
static struct mc_model *picture_net(void)
{
    static const int64_t channels[] = {2, 5, 7, 4}, pads[] = {1, 1, 1, 1};
    struct mc_model *m = build_model(17);
    struct mc_graph *g = m->graph;
    struct mc_node *n;
    struct mc_value *y = build_input(g, "x", MC_DTYPE_F32, 4, DIMS(-2, 2, SIDE, SIDE));
    for (int i = 0; i < 3; i++) {
        static const char *const names[][4] = {{"first", "first.w", "first.b", "r1"},
                                               {"second", "second.w", "second.b", "r2"},
                                               {"third", "third.w", "third.b", "r3"}};
        const int64_t in = channels[i], out = channels[i + 1];
        struct mc_value *v[3] = {
            y, random_const(g, names[i][1], 4, DIMS(out, in, 3, 3), 10 + (uint64_t)i),
            random_const(g, names[i][2], 1, DIMS(out), 20 + (uint64_t)i)};
        y = build_node(g, "Conv", names[i][0], 3, v, &n);
        assert_int_equal(mc_edit_attr_ints(n, "pads", pads, 4, NULL), 0);
        y = build_unary(g, "Relu", names[i][3], y);
    }
    y = build_unary(g, "Flatten", "flat", build_unary(g, "GlobalAveragePool", "mean", y));
    build_output(g, net_gemm(g, "last", y, NET_OUT, 4, false, 7));
    return m;
}

static struct mc_dataset *pictures(struct memory_data *d)
{
    static float x[NET_SAMPLES * IMAGE];
    static int64_t labels[NET_SAMPLES];
    mc_rng_fill_normal(11, 1, 0, x, NET_SAMPLES * IMAGE);
    return memory_open(d, "x", NET_SAMPLES, 3, DIMS(2, SIDE, SIDE), x, labels);
}

static struct mc_model *opened_with(const struct mc_model *given, struct mc_dataset *data,
                                    bool shortcut)
{
    struct mc_pass_ctx ctx = {.calib = data, .calib_count = NET_SAMPLES, .given = given};
    struct mc_model *m;
    json_t *o = json_pack("{s:b,s:b}", "activations", 1, "no-shortcut", !shortcut), *report = NULL;
    build_ok(mc_model_clone(given, &m, &err), &err);
    build_ok(mc_pass_binarize.run(&ctx, o, m, &report, &err), &err);
    build_ok(mc_pass_binarize.convert(&ctx, o, m, &err), &err);
    build_ok(mc_verify(m, &err), &err);
    json_decref(o);
    json_decref(report);
    return m;
}

static struct mc_model *opened(const struct mc_model *given, struct mc_dataset *data)
{
    return opened_with(given, data, true);
}

static size_t how_many(const struct mc_model *m, const char *op)
{
    size_t n = 0;
    for (size_t i = 0; i < m->graph->n_nodes; i++)
        n += !strcmp(m->graph->nodes[i]->op_type, op);
    return n;
}

/* Inputs [from, 5) of all norms become random; variances positive. */
static void shake(struct mc_model *m, size_t from, uint64_t seed)
{
    for (size_t k = 0; k < m->graph->n_nodes; k++) {
        const struct mc_node *n = m->graph->nodes[k];
        for (size_t i = from; i < 5 && !strcmp(n->op_type, "BatchNormalization"); i++) {
            const struct mc_shape s = mc_constant(n->in[i])->shape;
            float x[NET_WIDTH];
            struct mc_tensor *t;
            mc_rng_fill_normal(seed + k, i, 0, x, (size_t)s.dim[0]);
            for (int64_t c = 0; c < s.dim[0] && i == 4; c++)
                x[c] = 0.1F + fabsf(x[c]);
            build_ok(mc_constant_make(x, &s, MC_DTYPE_F32, NULL, &t, &err), &err);
            build_ok(mc_constant_replace(n->in[i], t, &err), &err);
            mc_tensor_unref(t);
        }
    }
}

static void outputs(struct mc_model *m, struct mc_dataset *data, float *y)
{
    struct mc_batch *b;
    build_ok(mc_dataset_range(data, 0, NET_SAMPLES, &b, &err), &err);
    struct mc_session *s = session_of(m, &(struct mc_session_opts){0});
    run_ok(s, b->arrays, 1);
    const struct mc_array *a = mc_session_output(s, 0);
    assert_int_equal(a->bytes, NET_SAMPLES * NET_OUT * sizeof *y);
    memcpy(y, a->data, a->bytes);
    mc_session_free(s);
    mc_batch_free(b);
}

static size_t how_many_differ(const float *y, const float *z)
{
    size_t n = 0;
    for (int i = 0; i < NET_SAMPLES * NET_OUT; i++)
        n += !(fabsf(y[i] - z[i]) <= 2e-5F * fmaxf(1, fabsf(y[i])));
    return n;
}

/* One before each sign; behind the second convolution it would be the one before the sign of the third. */
static void norms_are_where_scales_are_not_trained(void **state)
{
    (void)state;
    struct memory_data d;
    struct mc_dataset *data = pictures(&d);
    struct mc_model *given = picture_net(), *m = opened(given, data);
    assert_int_equal(how_many(m, "SignSTE"), 2);
    assert_int_equal(how_many(m, "BatchNormalization"), 3);
    size_t behind = 0;
    for (size_t i = 0; i < m->graph->n_nodes; i++) {
        const struct mc_node *n = m->graph->nodes[i];
        if (!strcmp(n->op_type, "BatchNormalization") &&
            !strcmp(n->out[0]->uses[0].node->op_type, "Relu")) {
            assert_int_equal(mc_constant(n->in[1])->shape.dim[0], 4);
            behind++;
        }
    }
    assert_int_equal(behind, 1);
    mc_model_free(m);
    mc_model_free(given);
}

/* Of both signs, in scales and bias of the call. */
static void norms_behind_are_in_the_call(void **state)
{
    (void)state;
    static float y[NET_SAMPLES * NET_OUT], z[NET_SAMPLES * NET_OUT];
    struct memory_data d;
    struct mc_dataset *data = pictures(&d);
    struct mc_model *given = picture_net(), *m = opened(given, data);
    struct mc_pass_ctx ctx = {.given = given};
    shake(m, 1, 50);
    outputs(m, data, y);
    build_ok(mc_pass_binarize.finish(&ctx, NULL, m, &err), &err);
    build_ok(mc_verify(m, &err), &err);
    assert_int_equal(how_many(m, "XnorConv"), 2);
    assert_int_equal(how_many(m, "BatchNormalization"), 0);
    outputs(m, data, z);
    assert_int_equal(how_many_differ(y, z), 0);
    /* and once more, from the file, whose scales have signs of their own */
    build_ok(mc_pass_binarize.reopen(&ctx, NULL, m, &err), &err);
    assert_int_equal(how_many(m, "XnorConv"), 0);
    build_ok(mc_pass_binarize.finish(&ctx, NULL, m, &err), &err);
    outputs(m, data, z);
    assert_int_equal(how_many_differ(y, z), 0);
    mc_model_free(m);
    mc_model_free(given);
}

/* Whatever averages training left, the samples decide; but where they were not to move, they do not. */
static void averages_are_taken_anew(void **state)
{
    (void)state;
    static float y[3][NET_SAMPLES * NET_OUT];
    struct memory_data d;
    struct mc_dataset *data = pictures(&d);
    struct mc_model *given = picture_net();
    for (size_t i = 0; i < 3; i++) {
        struct mc_model *m = opened(given, data);
        struct mc_pass_ctx ctx = {.given = given, .train = data};
        json_t *o = json_pack("{s:s}", "batchnorm", i < 2 ? "train" : "frozen");
        shake(m, 3, i);
        build_ok(mc_pass_binarize.finish(&ctx, o, m, &err), &err);
        outputs(m, data, y[i]);
        json_decref(o);
        mc_model_free(m);
    }
    assert_int_equal(how_many_differ(y[0], y[1]), 0);
    assert_true(how_many_differ(y[0], y[2]) > NET_SAMPLES);
    mc_model_free(given);
}

/* In a batch of one sample nothing is left of a number without the mean of the batch. */
static void samples_come_one_by_one(void **state)
{
    (void)state;
    struct memory_data d;
    struct mc_dataset *data = net_data(&d);
    struct mc_model *given = binarize_net_of(1), *m = opened_with(given, data, false);
    size_t n = 0;
    assert_int_equal(how_many(m, "SignSTE"), 2);
    for (size_t i = 0; i < m->graph->n_nodes; i++) {
        const struct mc_node *k = m->graph->nodes[i];
        if (strcmp(k->op_type, "SignSTE") != 0)
            continue;
        const struct mc_tensor *var = mc_constant(k->in[0]->producer->in[4]);
        for (int64_t c = 0; c < NET_WIDTH; c++)
            n += ((const float *)var->data)[c] > 0.01F;
    }
    assert_int_equal(n, 2 * NET_WIDTH);
    mc_model_free(m);
    mc_model_free(given);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(norms_are_where_scales_are_not_trained),
        cmocka_unit_test(norms_behind_are_in_the_call),
        cmocka_unit_test(averages_are_taken_anew),
        cmocka_unit_test(samples_come_one_by_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
