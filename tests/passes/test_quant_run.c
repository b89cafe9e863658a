/* The pass as a whole over small graphs: forms that are asked for, found, given by hand; what it must leave alone; what
 * counts as keeping the answer; memory that runs out anywhere. */
#include "../run/alloc_hook.h"
#include "../run/memory_data.h"
#include "../run/run_util.h"

#include "base/json.h"
#include "graph/verify.h"
#include "passes/pass.h"
#include "passes/quant/quant_run.h"

enum { SAMPLES = 48, WIDTH = 64 };

static struct mc_err err;

struct fixture {
    struct mc_model *m;
    struct mc_pass_ctx ctx;
    struct memory_data data;
    json_t *report;
    float x[SAMPLES * WIDTH];
};

static int bytes_of(void *host, const struct mc_model *m, uint64_t *ret, struct mc_err *e)
{
    (void)host;
    (void)e;
    *ret = 100 * m->graph->n_nodes;
    for (size_t i = 0; i < m->graph->n_inits; i++)
        *ret += 50 + m->graph->inits[i]->tensor->bytes;
    return 0;
}

/* Two products with a Relu between. Column 0 of what lies between is `outlier` times as large as it was, and the second
 * product takes it so much smaller: the function is the same for any. */
static void open(struct fixture *f, float outlier)
{
    float u[WIDTH * WIDTH], w[WIDTH * WIDTH];
    *f = (struct fixture){.m = build_model(17)};
    struct mc_graph *g = f->m->graph;
    struct mc_value *x = build_input(g, "x", MC_DTYPE_F32, 2, DIMS(-1, WIDTH));
    mc_rng_fill_normal(3, 1, 0, u, WIDTH * WIDTH);
    mc_rng_fill_normal(4, 1, 0, w, WIDTH * WIDTH);
    for (int i = 0; i < WIDTH * WIDTH; i++) { /* outputs of about 1 */
        u[i] /= 8;
        w[i] /= 8;
    }
    for (int i = 0; i < WIDTH; i++) {
        u[i * WIDTH] *= outlier;
        w[i] /= outlier;
    }
    x = build_binary(g, "MatMul", "one", x, f32_const(g, "u", 2, DIMS(WIDTH, WIDTH), u));
    x = build_unary(g, "Relu", "relu", x);
    x = build_binary(g, "MatMul", "two", x, f32_const(g, "w", 2, DIMS(WIDTH, WIDTH), w));
    build_output(g, x);
    build_ok(mc_verify(f->m, &err), &err);
    mc_rng_fill_normal(5, 1, 0, f->x, SAMPLES * WIDTH);
    memory_open(&f->data, "x", SAMPLES, 1, DIMS(WIDTH), f->x, NULL);
    f->ctx = (struct mc_pass_ctx){
        .seed = 1, .calib = &f->data.d, .calib_count = SAMPLES, .bytes_of = bytes_of};
}

static void shut(struct fixture *f)
{
    json_decref(f->report);
    f->report = NULL;
    mc_model_free(f->m);
}

/* Options as JSON with single quotes. */
static json_t *json_of(const char *text)
{
    char copy[256];
    snprintf(copy, sizeof copy, "%s", text);
    for (char *p = copy; *p; p++)
        *p = *p == '\'' ? '"' : *p;
    json_t *o = json_loads(copy, 0, NULL);
    assert_non_null(o);
    return o;
}

static long fails = -1; /* the allocation that the next run does not get */
static bool failed;     /* it asked for it */

static int quantise(struct fixture *f, const char *options)
{
    const struct mc_pass *pass = mc_pass_find("quant");
    json_t *o = json_of(options);
    if (!strstr(options, "target")) /* an option of all searches */
        build_ok(mc_param_validate(pass->params, o, "test", &err), &err);
    json_decref(f->report);
    f->report = NULL;
    allocations = 0;
    allocations_left = fails;
    int rc = pass->run(&f->ctx, o, f->m, &f->report, &err);
    failed = fails >= 0 && allocations_left < 0;
    allocations_left = -1;
    fails = -1;
    json_decref(o);
    if (rc == 0 || rc == MC_EGATE) {
        struct mc_err e;
        build_ok(mc_verify(f->m, &e), &e);
    }
    return rc;
}

/* The form of a layer in the report; "float" where it was left. */
static const char *form_of(const struct fixture *f, const char *name)
{
    size_t i;
    const json_t *row;
    json_array_foreach(json_object_get(f->report, "layers"), i, row)
    {
        if (!strcmp(mc_json_string(row, "name"), name))
            return mc_json_string_or(row, "form", "float");
    }
    fail_msg("no row for '%s'", name);
    return NULL;
}

static bool answers_differ(const struct fixture *f)
{
    size_t i;
    const json_t *note;
    json_array_foreach(json_object_get(f->report, "notes"), i, note)
    {
        if (strstr(json_string_value(note), "answers differently"))
            return true;
    }
    return false;
}

static void forms_as_asked(void **state)
{
    (void)state;
    static const char *const forms[] = {"weight", "weight4", "dynamic", "static", "static16"};
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
        struct fixture f;
        char options[64];
        open(&f, 1);
        snprintf(options, sizeof options, "{'form': '%s'}", forms[i]);
        build_ok(quantise(&f, options), &err);
        assert_string_equal(form_of(&f, "one"), forms[i]);
        assert_string_equal(form_of(&f, "two"), forms[i]);
        assert_true(isfinite(mc_json_number(json_object_get(f.report, "judged"), "kl", NAN)));
        shut(&f);
    }
}

/* One channel a thousand times as large as the others leaves those no steps of the range. */
static void outliers_are_refused(void **state)
{
    (void)state;
    struct fixture f;
    open(&f, 1);
    build_ok(quantise(&f, "{'repair': 'none'}"), &err);
    assert_string_equal(form_of(&f, "two"), "static");
    shut(&f);
    open(&f, 3000);
    build_ok(quantise(&f, "{'repair': 'none'}"), &err);
    assert_string_not_equal(form_of(&f, "two"), "static");
    assert_false(answers_differ(&f));
    shut(&f);
    open(&f, 3000); /* who asks for it gets it, and is told */
    build_ok(quantise(&f, "{'form': 'static', 'repair': 'none'}"), &err);
    assert_string_equal(form_of(&f, "two"), "static");
    assert_true(answers_differ(&f));
    shut(&f);
}

static void choices_and_targets(void **state)
{
    (void)state;
    struct fixture f;
    json_t *choices = json_of("{'layers': [{'name': 'two', 'choice': 'static'}]}");
    open(&f, 1);
    f.ctx.choices = choices;
    build_ok(quantise(&f, "{}"), &err);
    assert_string_equal(form_of(&f, "one"), "float");
    assert_string_equal(form_of(&f, "two"), "static");
    shut(&f);
    open(&f, 1);
    f.ctx.choices = choices;
    f.ctx.calib = NULL;
    assert_int_equal(quantise(&f, "{}"), MC_EDATA);
    shut(&f);
    json_decref(choices);
    uint64_t bytes;
    open(&f, 1);
    build_ok(quantise(&f, "{'target': 'bytes=14000'}"), &err);
    bytes_of(NULL, f.m, &bytes, NULL);
    assert_true(bytes <= 14000);
    shut(&f);
    open(&f, 1);
    assert_int_equal(quantise(&f, "{'target': 'bytes=100'}"), MC_EGATE);
    shut(&f);
}

static void dry_runs(void **state)
{
    (void)state;
    static const char *const options[] = {"{}", "{'form': 'static'}", "{'form': 'weight4'}",
                                          "{'form': 'static', 'repair': 'smooth,equalise'}"};
    for (size_t i = 0; i < sizeof options / sizeof *options; i++) {
        struct fixture f;
        open(&f, 30);
        size_t nodes = f.m->graph->n_nodes;
        const struct mc_tensor *w = mc_graph_value(f.m->graph, "w")->tensor;
        f.ctx.dry_run = true;
        build_ok(quantise(&f, options[i]), &err);
        assert_int_equal(f.m->graph->n_nodes, nodes);
        assert_ptr_equal(mc_graph_value(f.m->graph, "w")->tensor, w);
        assert_string_not_equal(form_of(&f, "two"), "float");
        shut(&f);
    }
}

/* Numbers that are no range: weights alone, and why. Nothing to judge by: an error. */
static void odd_samples(void **state)
{
    (void)state;
    struct fixture f;
    open(&f, 1);
    memset(f.x, 0, sizeof f.x);
    build_ok(quantise(&f, "{'form': 'static'}"), &err);
    assert_string_equal(form_of(&f, "one"), "weight");
    assert_string_equal(form_of(&f, "two"), "weight");
    shut(&f);
    open(&f, 1);
    f.x[70] = NAN;
    assert_int_equal(quantise(&f, "{'form': 'static'}"), MC_EDATA);
    assert_non_null(strstr(err.msg, "NaN"));
    shut(&f);
    open(&f, 1);
    json_t *none = json_array();
    json_array_append_new(none, json_object());
    f.ctx.stats = none;
    f.ctx.calib = NULL;
    assert_int_equal(quantise(&f, "{}"), MC_EDATA);
    assert_non_null(strstr(err.msg, "--calib"));
    assert_int_equal(quantise(&f, "{'form': 'static', 'stats': ['s.json']}"), MC_EDATA);
    assert_non_null(strstr(err.msg, "s.json"));
    json_decref(none);
    shut(&f);
}

/* What keeps the answer, from the rules alone. */
static void rules(void **state)
{
    (void)state;
    struct fixture f;
    open(&f, 1);
    struct mc_quant_run r = {.ctx = &f.ctx, .max_drop = 0.001, .weight.sqnr = NAN};
    build_ok(mc_judge_new(&f.ctx, f.m, SAMPLES, &r.judge, &err), &err);
    struct mc_quant_trial t = {.agreement = NAN, .sqnr = 40, .numbers = 1e12};
    assert_true(mc_quant_accepts(&r, &t));
    t.sqnr = 31; /* less than is ever too much noise, and weights alone are not known */
    assert_false(mc_quant_accepts(&r, &t));
    assert_true(mc_quant_accepts_floor(&r, &t));
    r.weight.sqnr = 31.5; /* as they add as much */
    assert_true(mc_quant_accepts(&r, &t));
    t.sqnr = 30;
    assert_false(mc_quant_accepts(&r, &t));
    t = (struct mc_quant_trial){.loss = 0.0009, .agreement = 1, .sqnr = NAN};
    assert_true(mc_quant_accepts(&r, &t));
    t.loss = 0.0011;
    assert_false(mc_quant_accepts(&r, &t));
    assert_true(mc_quant_accepts_floor(&r, &t));
    t.loss = 0.0009;
    t.agreement = 0.8; /* more than chance makes of one in a hundred */
    assert_false(mc_quant_accepts(&r, &t));
    t.loss = NAN;
    t.agreement = 1;
    assert_false(mc_quant_accepts(&r, &t));
    t.loss = INFINITY;
    assert_false(mc_quant_accepts_floor(&r, &t));
    mc_judge_free(r.judge);
    shut(&f);
}

static void memory_runs_out(void **state)
{
    (void)state;
    static const char *const options[] = {"{'form': 'weight'}", "{'form': 'static'}",
                                          "{'repair': 'fold'}"};
    for (size_t k = 0; k < sizeof options / sizeof *options; k++) {
        long all = 1, step = 1;
        for (long n = -1; n < all; n += n < 0 ? 1 : step) {
            struct fixture f;
            open(&f, 1);
            fails = n;
            int rc = quantise(&f, options[k]);
            if (n < 0)
                all = allocations;
            step = 1 + all / 150;
            if (rc != 0 && rc != MC_ENOMEM)
                fail_msg("%s, allocation %ld: %d, '%s'", options[k], n, rc, err.msg);
            assert_true(rc == 0 || failed);
            shut(&f);
        }
        print_message("%s: %ld allocations\n", options[k], all);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(forms_as_asked),      cmocka_unit_test(outliers_are_refused),
        cmocka_unit_test(choices_and_targets), cmocka_unit_test(dry_runs),
        cmocka_unit_test(odd_samples),         cmocka_unit_test(rules),
        cmocka_unit_test(memory_runs_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
