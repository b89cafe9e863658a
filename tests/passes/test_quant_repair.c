/* What repairs make of a built model: biases in sequence, judged on samples held back. */
#include "quant_same.h"

#include "../run/memory_data.h"

#include "graph/run/observe.h"
#include "passes/quant/repair/quant_repair.h"

enum { SAMPLES = 96, C = 6, SIZE = 6, PIXELS = C * SIZE * SIZE };

static struct mc_err err;

/* ---- a net of every kind of layer, with and without biases ---- */

static struct mc_value *conv(struct rg *r, struct mc_value *x, int64_t from, int64_t to,
                             int64_t group, struct mc_value *bias)
{
    struct mc_node *n;
    struct mc_value *in[3] = {x, rg_plain(r, 4, D(to, from / group, 3, 3), 0.3, 0.02), bias};
    x = build_node(r->g, "Conv", "conv", bias ? 3 : 2, in, &n);
    rg_int(n, "group", group);
    rg_list(n, "pads", 4, D(1, 1, 1, 1));
    return x;
}

static struct mc_model *net(uint64_t seed)
{
    struct rg r = {.seed = seed, .opset = 17};
    struct mc_node *n;
    r.m = build_model(17);
    r.g = r.m->graph;
    struct mc_value *x = build_input(r.g, "x", MC_DTYPE_F32, 4, D(-1, C, SIZE, SIZE));
    struct mc_value *zero = rg_plain(&r, 1, D(12), 0, 0); /* shared by two */
    struct mc_value *a = build_unary(r.g, "Relu", "relu", conv(&r, x, C, 12, 1, zero));
    struct mc_value *b = build_unary(r.g, "Relu", "relu", conv(&r, a, 12, 12, 12, NULL));
    b = conv(&r, b, 12, 12, 2, zero);
    x = build_unary(r.g, "Relu", "relu", build_binary(r.g, "Add", "join", a, b));
    struct mc_value *in[3] = {x, rg_plain(&r, 4, D(12, 8, 2, 2), 0.3, 0), NULL};
    x = build_node(r.g, "ConvTranspose", "back", 2, in, &n);
    x = build_unary(r.g, "GlobalAveragePool", "pool", build_unary(r.g, "Relu", "relu", x));
    x = build_unary(r.g, "Flatten", "flat", x);
    in[0] = x;
    in[1] = rg_plain(&r, 2, D(64, 8), 0.5, 0);
    x = build_node(r.g, "Gemm", "dense", 2, in, &n);
    rg_int(n, "transB", 1);
    x = build_binary(r.g, "MatMul", "product", build_unary(r.g, "Relu", "relu", x),
                     rg_plain(&r, 2, D(64, 20), 0.2, 0));
    x = build_binary(r.g, "Add", "sum", x, rg_plain(&r, 1, D(20), 0.2, 0));
    build_output(r.g, x);
    build_ok(mc_verify(r.m, &err), &err);
    return r.m;
}

struct job {
    struct mc_model *before;
    struct mc_quant_rules rules;
    struct mc_quant_sites sites;
    struct mc_quant_built built;
    enum mc_quant_form *form;
    float *x;
    struct memory_data data;
    struct mc_pass_ctx ctx;
    struct mc_quant_repair r;
    struct mc_quant_repair_result result;
};

static void open_job(struct job *j, struct mc_model *m, enum mc_quant_form form, int bits)
{
    struct mc_quant_stats *stats = NULL;
    struct mc_quant_want *want = NULL;
    size_t n_want;
    *j = (struct job){.before = m};
    j->rules = (struct mc_quant_rules){.runtime = MC_QUANT_STOCK,
                                       .weight_bits = bits,
                                       .block_bits = 4,
                                       .block = 32,
                                       .act_bits = 8,
                                       .percentile = 99.99};
    build_ok(mc_quant_sites_find(m, &j->rules, &j->sites, &err), &err);
    j->form = calloc(j->sites.n + 1, sizeof *j->form);
    assert_non_null(j->form);
    for (size_t i = 0; i < j->sites.n; i++)
        j->form[i] = j->sites.item[i].why[form] || j->sites.item[i].reason ? MC_QUANT_FLOAT : form;
    j->x = malloc(SAMPLES * PIXELS * sizeof *j->x);
    assert_non_null(j->x);
    mc_rng_fill_normal(7, 3, 0, j->x, SAMPLES * PIXELS);
    for (int i = 0; i < SAMPLES * PIXELS; i++)
        j->x[i] += 0.7f;
    memory_open(&j->data, "x", SAMPLES, 3, D(C, SIZE, SIZE), j->x, NULL);
    j->ctx.calib = &j->data.d;
    j->ctx.calib_count = SAMPLES;
    if (form == MC_QUANT_STATIC) {
        build_ok(mc_quant_wanted(m, &j->sites, &j->rules, &want, &n_want, &err), &err);
        build_ok(mc_quant_stats_collect(&j->ctx, m, want, n_want, &stats, &err), &err);
    }
    build_ok(mc_quant_build(&j->ctx, m, &j->sites, &j->rules, stats, j->form, NULL, false,
                            &j->built, &err),
             &err);
    mc_quant_stats_free(stats);
    free(want);
    j->r = (struct mc_quant_repair){.ctx = &j->ctx,
                                    .before = m,
                                    .sites = &j->sites,
                                    .rules = &j->rules,
                                    .b = &j->built,
                                    .fit = &j->data.d,
                                    .fit_count = 64,
                                    .held = &j->data.d,
                                    .held_first = 64,
                                    .held_count = 32};
}

static void close_job(struct job *j)
{
    mc_quant_built_free(&j->built);
    mc_quant_sites_free(&j->sites);
    mc_model_free(j->before);
    free(j->form);
    free(j->x);
}

/* ---- mean errors ---- */

enum { CHANNELS = 64, LAYERS = 6 };
static const char *const layers[LAYERS] = {"relu", "relu_1", "conv_2", "relu_3", "relu_4", "sum"};

struct means {
    double e[LAYERS][CHANNELS];
    double size[LAYERS];
};

static int add_means(void *ctx, const struct mc_array *const *values, int64_t first,
                     const struct mc_batch *b, struct mc_err *e)
{
    struct means *m = ctx;
    (void)first;
    (void)b;
    (void)e;
    for (int l = 0; l < LAYERS; l++) {
        const struct mc_array *p = values[l], *q = values[LAYERS + l];
        int64_t n = mc_shape_count(&p->shape), inner = mc_shape_span(&p->shape, 2, p->shape.rank);
        for (int64_t i = 0; i < n; i++) {
            m->e[l][i / inner % p->shape.dim[1]] +=
                (double)((const float *)p->data)[i] - (double)((const float *)q->data)[i];
            m->size[l] += fabs((double)((const float *)p->data)[i]);
        }
    }
    return 0;
}

/* Of a layer, on average: mean errors of its channels over the size of its results, on the samples fitted to. */
static double mean_errors(const struct job *j)
{
    static struct means m;
    struct mc_observed of[2] = {{j->before->graph, layers, LAYERS},
                                {j->built.m->graph, layers, LAYERS}};
    struct mc_observe_opts o = {.count = 64};
    double sum = 0;
    m = (struct means){0};
    build_ok(mc_observe_all(of, 2, j->r.fit, &o, add_means, &m, NULL, &err), &err);
    static const int width[LAYERS] = {12, 12, 12, 8, 64, 20};
    for (int l = 0; l < LAYERS; l++)
        for (int c = 0; c < width[l]; c++)
            sum += fabs(m.e[l][c]) / m.size[l] / LAYERS;
    return sum;
}

/* Every integer of the weights two lower: a quantiser that errs to one side. */
static void bias_weights(struct job *j)
{
    for (size_t i = 0; i < j->sites.n; i++) {
        struct mc_value *q = j->built.at[i].w[0].q;
        struct mc_tensor *t;
        void *data;
        if (!q)
            continue;
        const struct mc_tensor *old = mc_constant(q);
        build_ok(mc_tensor_new(old->dtype, &old->shape, NULL, &t, &data, &err), &err);
        for (size_t k = 0; k < old->bytes; k++) {
            int v = (int8_t)old->data[k] - 2;
            ((int8_t *)data)[k] = (int8_t)(v < -127 ? -127 : v);
        }
        build_ok(mc_constant_replace(q, t, &err), &err);
        mc_tensor_unref(t);
    }
}

static void biases_take_over_mean_errors(void **state)
{
    (void)state;
    for (int biased = 0; biased < 2; biased++) {
        struct job j;
        open_job(&j, net(11), MC_QUANT_WEIGHT, biased ? 8 : 4);
        if (biased)
            bias_weights(&j);
        double before = mean_errors(&j);
        build_ok(mc_quant_repair_bias(&j.r, &j.result, &err), &err);
        build_ok(mc_verify(j.built.m, &err), &err);
        double after = mean_errors(&j);
        print_message("mean error %g becomes %g, divergence %g becomes %g, %d layers%s%s\n", before,
                      after, j.result.before, j.result.after, (int)j.result.layers,
                      j.result.why ? ": " : "", j.result.why ? j.result.why : "");
        assert_true(j.result.kept && j.result.layers == LAYERS && !j.result.why);
        assert_true(j.result.after < j.result.before / (biased ? 3 : 1));
        assert_true(before > 0.02 && after < before / 20);
        close_job(&j);
    }
}

static void what_harms_on_other_samples_is_undone(void **state)
{
    (void)state;
    struct job j;
    open_job(&j, net(12), MC_QUANT_WEIGHT, 8);
    for (int i = 64 * PIXELS; i < SAMPLES * PIXELS; i++)
        j.x[i] *= 0.01f; /* of almost no input there is almost no error */
    bias_weights(&j);
    struct mc_model *was = quant_clone(j.built.m);
    build_ok(mc_quant_repair_bias(&j.r, &j.result, &err), &err);
    print_message("divergence %g becomes %g\n", j.result.before, j.result.after);
    assert_true(!j.result.kept && j.result.why && j.result.after > j.result.before);
    build_ok(mc_verify(j.built.m, &err), &err);
    assert_int_equal(was->graph->n_nodes, j.built.m->graph->n_nodes);
    assert_true(quant_difference(was, j.built.m, 4, D(2, C, SIZE, SIZE), 1) == 0);
    mc_model_free(was);
    close_job(&j);
}

/* ---- rounding ---- */

typedef int repair_fn(struct mc_quant_repair *, struct mc_quant_repair_result *, struct mc_err *);

static void rounding_by_what_is_multiplied_loses_less(void **state)
{
    (void)state;
    static const struct {
        enum mc_quant_form form;
        repair_fn *run;
        int bits;
    } cases[] = {{MC_QUANT_WEIGHT, mc_quant_repair_gptq, 3},
                 {MC_QUANT_WEIGHT, mc_quant_repair_gptq, 4},
                 {MC_QUANT_BLOCK, mc_quant_repair_gptq, 8},
                 {MC_QUANT_STATIC, mc_quant_repair_round, 4}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct job j;
        open_job(&j, net(21), cases[i].form, cases[i].bits);
        struct mc_model *was = quant_clone(j.built.m);
        build_ok(cases[i].run(&j.r, &j.result, &err), &err);
        build_ok(mc_verify(j.built.m, &err), &err);
        print_message("%s: divergence %g becomes %g, %d layers%s%s\n", j.result.name,
                      j.result.before, j.result.after, (int)j.result.layers,
                      j.result.why ? ": " : "", j.result.why ? j.result.why : "");
        assert_true(j.result.kept && j.result.layers >= 2);
        assert_true(j.result.after < 0.7 * j.result.before);
        assert_int_equal(was->graph->n_nodes, j.built.m->graph->n_nodes);
        for (size_t k = 0; k < j.sites.n; k++) { /* scales stay, integers within their limits */
            const struct mc_quant_placed_weight *w = &j.built.at[k].w[0];
            if (!w->q)
                continue;
            const struct mc_tensor *q = mc_constant(w->q);
            float *x;
            int64_t n;
            build_ok(mc_constant_f32(w->q, &x, &n, &err), &err);
            float most =
                cases[i].form == MC_QUANT_BLOCK ? 8 : (float)((1 << (cases[i].bits - 1)) - 1);
            for (int64_t e = 0; e < n; e++)
                assert_true(x[e] == rintf(x[e]) && fabsf(x[e]) <= most);
            assert_int_equal(q->dtype, mc_constant(mc_graph_value(was->graph, w->q->name))->dtype);
            assert_ptr_equal(mc_constant(w->scale),
                             mc_constant(mc_graph_value(was->graph, w->scale->name)));
            free(x);
        }
        mc_model_free(was);
        close_job(&j);
    }
}

static void nothing_to_repair_is_said(void **state)
{
    (void)state;
    struct job j;
    open_job(&j, net(5), MC_QUANT_FLOAT, 8);
    build_ok(mc_quant_repair_bias(&j.r, &j.result, &err), &err);
    assert_true(!j.result.kept && j.result.why && j.result.layers == 0);
    build_ok(mc_quant_repair_gptq(&j.r, &j.result, &err), &err);
    assert_true(!j.result.kept && j.result.why && j.result.layers == 0);
    close_job(&j);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(biases_take_over_mean_errors),
        cmocka_unit_test(what_harms_on_other_samples_is_undone),
        cmocka_unit_test(rounding_by_what_is_multiplied_loses_less),
        cmocka_unit_test(nothing_to_repair_is_said),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
