/* A pass that no registry knows: its training form is other nodes and other constants than its file form, and
 * `mcompress PASS --finetune` trains the one and writes the other. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/json.h"
#include "base/rng.h"
#include "cli/chain.h"
#include "cli/command.h"
#include "graph/constant.h"
#include "graph/edit.h"
#include "formats/onnx.h"
#include "passes/pass.h"

enum { N = 200, K = 6, HIDDEN = 8, CLASSES = 3 };

static struct mc_err err;
static char calls[256];
static int fails; /* a hook that must fail: 'c' or 'f' */
static float before[K * HIDDEN], latent[K * HIDDEN], after[K * HIDDEN];

static int note(const char *what)
{
    strcat(calls, what);
    return *what == fails ? mc_fail(&err, MC_EFAIL, "%s failed", what) : 0;
}

static void copy_weights(const struct mc_value *v, float ret[K * HIDDEN])
{
    const struct mc_tensor *t = mc_constant(v);
    assert_non_null(t);
    assert_int_equal(t->bytes, sizeof before);
    memcpy(ret, t->data, t->bytes);
}

/* Put the content of w, times a factor, in its place. */
static int scale(struct mc_model *m, struct mc_value *w, float factor)
{
    float *x;
    int64_t n;
    struct mc_tensor *t;
    const struct mc_tensor *old = mc_constant(w);
    int rc = mc_constant_f32(w, &x, &n, &err);
    for (int64_t i = 0; !rc && i < n; i++)
        x[i] *= factor;
    if (!rc)
        rc = mc_constant_make(x, &old->shape, old->dtype, m->spill, &t, &err);
    free(x);
    if (rc)
        return rc;
    rc = mc_constant_replace(w, t, &err);
    mc_tensor_unref(t);
    return rc;
}

static int run(struct mc_pass_ctx *ctx, const json_t *options, struct mc_model *m,
               json_t **ret_report, struct mc_err *e)
{
    (void)ctx, (void)options, (void)e;
    copy_weights(mc_graph_value(m->graph, "w1"), before);
    *ret_report = json_pack("{s:[]}", "layers");
    return note("run ");
}

/* W = 2 (W / 2): the half is what is trained. */
static int convert(struct mc_pass_ctx *ctx, const json_t *options, struct mc_model *m,
                   struct mc_err *e)
{
    (void)ctx, (void)options;
    struct mc_graph *g = m->graph;
    struct mc_value *w = mc_graph_value(g, "w1");
    struct mc_node *user = w->uses[0].node, *mul;
    struct mc_shape scalar = mc_shape_of(0, NULL);
    struct mc_tensor *two;
    float x = 2;
    int rc = note("convert ");
    if (!rc)
        rc = scale(m, w, 0.5f);
    if (!rc)
        rc = mc_constant_make(&x, &scalar, MC_DTYPE_F32, NULL, &two, e);
    if (rc) {
        *e = err;
        return rc;
    }
    struct mc_value *out = mc_edit_fresh(g, "doubled");
    struct mc_value *in[] = {w, mc_edit_constant(g, "two", two)};
    mc_tensor_unref(two);
    rc = mc_edit_node(g, user->pos, "Mul", "", 0, "doubled", in, 2, &out, 1, &mul, e);
    return rc ? rc : mc_edit_set_input(user, 1, out, e);
}

static int finish(struct mc_pass_ctx *ctx, const json_t *options, struct mc_model *m,
                  struct mc_err *e)
{
    (void)ctx, (void)options;
    struct mc_value *doubled = mc_graph_value(m->graph, "doubled");
    struct mc_value *w = mc_graph_value(m->graph, "w1");
    int rc = note("finish ");
    copy_weights(w, latent);
    if (!rc)
        rc = scale(m, w, 2);
    if (rc) {
        *e = err;
        return rc;
    }
    return mc_edit_replace_uses(doubled, w, e);
}

/* The file form of this pass is any w1 that a MatMul reads. */
static int reopen(struct mc_pass_ctx *ctx, const json_t *options, struct mc_model *m,
                  struct mc_err *e)
{
    const struct mc_value *w = mc_graph_value(m->graph, "w1");
    int rc = note("reopen ");
    return rc || !w || !mc_node_is(w->uses[0].node, "MatMul") ? rc : convert(ctx, options, m, e);
}

static const struct mc_param params[] = {{0}};
static const struct mc_pass halves = {.name = "halves",
                                      .summary = "train halves",
                                      .example = "mcompress halves",
                                      .params = params,
                                      .run = run,
                                      .convert = convert,
                                      .finish = finish,
                                      .reopen = reopen};

/* The same in three stages; the second one is told that the model before run() is at hand. */
static int stage(struct mc_pass_ctx *ctx, const json_t *options, int k, struct mc_model *m,
                 struct mc_pass_stage *ret, struct mc_err *e)
{
    static const double share[] = {0.5, 0.25, 0.25};
    static const char *const names[] = {"first", "second", "third"};
    (void)options, (void)e;
    assert_non_null(mc_graph_value(m->graph, "doubled"));
    assert_non_null(ctx->given);
    assert_non_null(mc_graph_value(ctx->given->graph, "w1"));
    *ret = (struct mc_pass_stage){.name = names[k], .share = share[k], .last = k == 2};
    return note(k == 0 ? "stage0 " : k == 1 ? "stage1 " : "tail ");
}

static const struct mc_pass staged = {.name = "staged",
                                      .summary = "train halves in stages",
                                      .example = "mcompress staged",
                                      .params = params,
                                      .run = run,
                                      .convert = convert,
                                      .finish = finish,
                                      .stage = stage};
static const struct mc_pass *commanded = &halves;

/* ---- files ---- */

static void write_npy(const char *path, const char *type, const char *shape, const void *data,
                      size_t bytes)
{
    char head[118];
    int n = snprintf(head, sizeof head, "{'descr': '%s', 'fortran_order': False, 'shape': (%s), }",
                     type, shape);
    memset(head + n, ' ', sizeof head - (size_t)n);
    head[sizeof head - 1] = '\n';
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    fwrite("\x93NUMPY\x01\x00\x76\x00", 1, 10, f);
    fwrite(head, 1, sizeof head, f);
    fwrite(data, 1, bytes, f);
    assert_int_equal(fclose(f), 0);
}

/* The class is that of the largest of the first three numbers. */
static void write_samples(void)
{
    static float x[N * K];
    static int64_t y[N];
    mc_rng_fill_normal(1, 1, 0, x, N * K);
    for (int i = 0; i < N; i++)
        for (int c = 1; c < CLASSES; c++)
            if (x[i * K + c] > x[i * K + y[i]])
                y[i] = c;
    write_npy("x.npy", "<f4", "200, 6", x, sizeof x);
    write_npy("y.npy", "<i8", "200,", y, sizeof y);
}

static struct mc_value *constant(struct mc_graph *g, const char *name, int rows, int columns)
{
    float x[HIDDEN * HIDDEN];
    struct mc_shape s = mc_shape_of(2, (const int64_t[]){rows, columns});
    struct mc_tensor *t;
    mc_rng_fill_uniform(2, (uint64_t)rows, 0, x, (size_t)(rows * columns));
    assert_int_equal(mc_constant_make(x, &s, MC_DTYPE_F32, NULL, &t, &err), 0);
    struct mc_value *v = mc_edit_constant(g, name, t);
    mc_tensor_unref(t);
    return v;
}

static struct mc_value *node(struct mc_graph *g, const char *op, struct mc_value *a,
                             struct mc_value *b, const char *name)
{
    struct mc_value *in[] = {a, b}, *out = mc_edit_fresh(g, name);
    struct mc_node *n;
    assert_int_equal(mc_edit_node(g, g->n_nodes, op, "", 0, name, in, b ? 2 : 1, &out, 1, &n, &err),
                     0);
    return out;
}

static void write_model(void)
{
    struct mc_model *m;
    assert_int_equal(mc_model_new(&m, &err), 0);
    m->ir_version = 8;
    assert_int_equal(mc_edit_opset(m, "", 17, &err), 0);
    struct mc_graph *g = mc_edit_graph(m, NULL, NULL, "main");
    struct mc_value *x = mc_edit_value(g, "x");
    assert_true(mc_edit_type(x, MC_DTYPE_F32, 2, (struct mc_dim[]){{-1, "n"}, {K, NULL}}));
    assert_int_equal(mc_edit_input(g, x, &err), 0);
    struct mc_value *y = node(g, "MatMul", x, constant(g, "w1", K, HIDDEN), "hidden");
    y = node(g, "Relu", y, NULL, "relu");
    y = node(g, "MatMul", y, constant(g, "w2", HIDDEN, CLASSES), "scores");
    assert_true(mc_edit_type(y, MC_DTYPE_F32, 2, (struct mc_dim[]){{-1, "n"}, {CLASSES, NULL}}));
    assert_int_equal(mc_edit_output(g, y, &err), 0);
    if (mc_onnx_write(m, "in.onnx", &(struct mc_onnx_write_opts){0}, &err))
        fail_msg("%s", err.msg);
    mc_model_free(m);
}

/* ---- the command ---- */

static int mcompress(int argc, char **argv)
{
    const struct mc_command *command;
    const struct mc_pass *svd;
    const struct mc_param *tables[MC_CLI_GROUPS + 1] = {params};
    int n = 1;
    assert_int_equal(mc_command_find("svd", &command, &svd, &err), 0);
    for (int i = 0; command->groups[i]; i++)
        tables[n++] = command->groups[i]->params;
    struct mc_cli cli = {
        .command = command, .pass = commanded, .quiet = true, .argc = argc, .argv = argv};
    *calls = 0;
    int rc = mc_param_parse(tables, n, argc, argv, &cli.values, &err);
    if (!rc)
        rc = mc_cmd_step(&cli, &err);
    json_decref(cli.values);
    return rc;
}

#define RUN(...)                                                                                   \
    mcompress((int)(sizeof((char *[]){"halves", __VA_ARGS__}) / sizeof(char *)),                   \
              (char *[]){"halves", __VA_ARGS__, NULL})

static void the_training_form_is_trained(void **state)
{
    (void)state;
    if (RUN("in.onnx", "-o", "out.onnx", "--train", "x.npy:y.npy", "--finetune", "20", "--lr",
            "0.01", "--batch", "20", "--teacher", "none", "--holdout", "0", "--report", "r.json",
            "--dump-graph", "step.onnx"))
        fail_msg("%s", err.msg);
    assert_string_equal(calls, "run convert finish ");

    struct mc_model *m;
    assert_int_equal(mc_onnx_read("out.onnx", &m, &err), 0);
    assert_int_equal(m->graph->n_nodes, 3); /* no Mul in the file */
    copy_weights(mc_graph_value(m->graph, "w1"), after);
    mc_model_free(m);
    double moved = 0;
    for (int i = 0; i < K * HIDDEN; i++) {
        assert_true(after[i] == 2 * latent[i]);
        moved = fmax(moved, fabs((double)after[i] - (double)before[i]));
    }
    assert_true(moved > 0.01);

    /* The step graph holds the Mul, and the loss came down. */
    bool doubled = false;
    assert_int_equal(mc_onnx_read("step.onnx", &m, &err), 0);
    for (size_t i = 0; i < m->graph->n_nodes; i++)
        doubled = doubled || !strcmp(m->graph->nodes[i]->name, "doubled");
    assert_true(doubled);
    mc_model_free(m);
    json_t *r = json_load_file("r.json", 0, NULL);
    const json_t *pass = json_array_get(json_object_get(r, "passes"), 0);
    const json_t *curve = json_object_get(json_object_get(pass, "training"), "curve");
    size_t n = json_array_size(curve);
    assert_true(n > 10);
    double first = mc_json_number(json_array_get(curve, 0), "loss", NAN);
    double last = mc_json_number(json_array_get(curve, n - 1), "loss", NAN);
    assert_true(last < 0.7 * first);
    json_decref(r);
}

static void hooks_are_for_training(void **state)
{
    (void)state;
    assert_int_equal(RUN("in.onnx", "-o", "plain.onnx"), 0);
    assert_string_equal(calls, "run ");
    assert_int_equal(RUN("in.onnx", "--dry-run", "--train", "x.npy:y.npy", "--finetune", "3"), 0);
    assert_string_equal(calls, "run ");
}

/* A pass without a training form, which needs the file form of what came before it. */
static int run_other(struct mc_pass_ctx *ctx, const json_t *options, struct mc_model *m,
                     json_t **ret_report, struct mc_err *e)
{
    (void)ctx, (void)options, (void)e;
    assert_null(mc_graph_value(m->graph, "doubled"));
    *ret_report = json_pack("{s:[]}", "layers");
    return note("other ");
}

static const struct mc_pass other = {.name = "other",
                                     .summary = "",
                                     .example = "",
                                     .params = params,
                                     .run = run_other};

/* A chain of steps: h(alves), o(ther), f(inetune). */
static const char *chain(const char *steps)
{
    static char *argv[] = {"run",       "in.onnx", "-o",       "out.onnx", "--train", "x.npy:y.npy",
                           "--epochs",  "1",       "--lr",     "0.001",    "--batch", "20",
                           "--holdout", "0",       "--report", "r.json",   NULL};
    enum { WORDS = sizeof argv / sizeof *argv - 1 };
    const struct mc_command *finetune, *pass;
    const struct mc_pass *svd;
    const struct mc_param *tables[MC_CLI_GROUPS];
    struct mc_chain c = {0};
    int n = 0;
    assert_int_equal(mc_command_find("finetune", &finetune, &svd, &err), 0);
    assert_int_equal(mc_command_find("svd", &pass, &svd, &err), 0);
    for (int i = 0; finetune->groups[i]; i++)
        tables[n++] = finetune->groups[i]->params;
    struct mc_cli cli = {.command = finetune, .quiet = true, .argc = WORDS, .argv = argv};
    assert_int_equal(mc_param_parse(tables, n, WORDS, argv, &cli.values, &err), 0);
    json_t *plain =
        json_copy(cli.values); /* a step that does not train has no options of training */
    json_object_del(plain, "lr");
    json_object_del(plain, "batch");
    json_object_del(plain, "holdout");
    *calls = 0;
    for (const char *s = steps; *s; s++)
        assert_int_equal(
            *s == 'f' ? mc_chain_add(&c, &cli, finetune, NULL, cli.values, &err)
                      : mc_chain_add(&c, &cli, pass, *s == 'h' ? &halves : &other, plain, &err),
            0);
    if (mc_chain_run(&cli, &c, &err))
        fail_msg("%s: %s", steps, err.msg);
    mc_chain_free(&c);
    json_decref(plain);
    json_decref(cli.values);
    return calls;
}

/* The training form stays over steps that train; who needs the file form gets it, and so does the file. */
static void a_chain_finishes_late(void **state)
{
    (void)state;
    static const struct {
        const char *steps, *calls;
    } cases[] = {
        {"hf", "run convert finish "},
        {"hff", "run convert finish "},
        {"hffo", "run convert finish other "},
        {"hof", "run other convert finish "},
        {"ohf", "other run convert finish "},
        {"hfhf", "run convert finish run convert finish "},
        {"fh", "run "},
        {"hfofo", "run convert finish other other "},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct mc_model *m;
        assert_string_equal(chain(cases[i].steps), cases[i].calls);
        assert_int_equal(mc_onnx_read("out.onnx", &m, &err), 0);
        assert_int_equal(m->graph->n_nodes, 3);
        mc_model_free(m);
        /* Whom a training follows: the model before the first pass, nobody where there is none. */
        json_t *r = json_load_file("r.json", 0, NULL), *step;
        size_t k;
        bool smaller = false;
        json_array_foreach(json_object_get(r, "passes"), k, step)
        {
            const json_t *t = json_object_get(step, "training");
            smaller = smaller || !t;
            assert_true(json_is_string(json_object_get(step, "summary")));
            if (t)
                assert_int_equal(json_is_string(json_object_get(t, "teacher")), smaller);
        }
        assert_int_equal(k, strlen(cases[i].steps));
        json_decref(r);
    }
}

/* A hook that fails leaves nothing. */
static void failures_pass_through(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        fails = "cf"[i];
        assert_int_equal(RUN("in.onnx", "-o", "failed.onnx", "--train", "x.npy:y.npy", "--finetune",
                             "1", "--lr", "0.01"),
                         MC_EFAIL);
        assert_string_equal(calls, i ? "run convert finish " : "run convert ");
        assert_string_equal(err.msg, i ? "finish  failed" : "convert  failed");
        assert_int_not_equal(access("failed.onnx", F_OK), 0);
    }
    fails = 0;
}

/* A training in stages shares its epochs out, and each has a report. */
static void stages_follow_each_other(void **state)
{
    static const double epochs[] = {4, 2, 2};
    static const char *const names[] = {"first", "second", "third"};
    (void)state;
    commanded = &staged;
    if (RUN("in.onnx", "-o", "staged.onnx", "--train", "x.npy:y.npy", "--finetune", "8", "--lr",
            "0.01", "--batch", "20", "--holdout", "0", "--report", "r.json", "--checkpoint",
            "halt"))
        fail_msg("%s", err.msg);
    assert_string_equal(calls, "run convert stage0 stage1 tail finish ");
    json_t *r = json_load_file("r.json", 0, NULL), *t;
    const json_t *pass = json_array_get(json_object_get(r, "passes"), 0);
    const json_t *stages = json_object_get(pass, "training_stages");
    size_t i;
    double start = INFINITY;
    json_array_foreach(stages, i, t)
    {
        const json_t *curve = json_object_get(t, "curve");
        assert_true(mc_json_number(t, "epochs_asked", 0) == epochs[i]);
        assert_string_equal(mc_json_string(t, "stage"), names[i]);
        double first = mc_json_number(json_array_get(curve, 0), "loss", NAN);
        assert_true(first < start); /* goes on where the one before ended */
        start = first;
    }
    assert_int_equal(i, 3);
    assert_string_equal(mc_json_string(json_object_get(pass, "training"), "stage"), "third");
    json_decref(r);
    /* each stage has a checkpoint of its own: the same command goes through all of them again, and ends with the same */
    static const char *const files[] = {"halt", "halt.2", "halt.3"};
    float was[K * HIDDEN];
    memcpy(was, latent, sizeof was);
    for (i = 0; i < 3; i++)
        assert_int_equal(access(files[i], F_OK), 0);
    if (RUN("in.onnx", "-o", "again.onnx", "--train", "x.npy:y.npy", "--finetune", "8", "--lr",
            "0.01", "--batch", "20", "--holdout", "0", "--report", "r.json", "--checkpoint",
            "halt"))
        fail_msg("%s", err.msg);
    assert_memory_equal(was, latent, sizeof was);
    for (i = 0; i < 3; i++)
        unlink(files[i]);
    unlink("staged.onnx");
    unlink("again.onnx");
    commanded = &halves;
}

/* What `finetune` does with a file that the pass made earlier. */
static void a_file_is_opened_again(void **state)
{
    (void)state;
    static const struct mc_pass *const list[] = {&halves, NULL};
    struct mc_model *m;
    struct mc_pass_ctx ctx = {0};
    *calls = 0;
    assert_int_equal(mc_onnx_read("out.onnx", &m, &err), 0);
    copy_weights(mc_graph_value(m->graph, "w1"), before);
    assert_int_equal(mc_passes_reopen(list, &ctx, m, &err), 0);
    assert_string_equal(calls, "reopen convert ");
    assert_non_null(mc_graph_value(m->graph, "doubled"));
    assert_int_equal(scale(m, mc_graph_value(m->graph, "w1"), 3), 0); /* a training */
    assert_int_equal(mc_passes_finish(list, &ctx, m, &err), 0);
    assert_string_equal(calls, "reopen convert finish ");
    mc_edit_sweep(m->graph);
    assert_int_equal(m->graph->n_nodes, 3);
    copy_weights(mc_graph_value(m->graph, "w1"), after);
    for (int i = 0; i < K * HIDDEN; i++)
        assert_true(fabsf(after[i] - 3 * before[i]) <= 1e-6f * fabsf(after[i]));
    assert_int_equal(mc_passes_reopen(NULL, &ctx, m, &err), 0); /* none of those registered */
    assert_int_equal(m->graph->n_nodes, 3);
    mc_model_free(m);
}

int main(void)
{
    char dir[] = "/tmp/mc_test_hooks.XXXXXX";
    if (!mkdtemp(dir) || chdir(dir))
        return 1;
    write_samples();
    write_model();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_training_form_is_trained), cmocka_unit_test(a_chain_finishes_late),
        cmocka_unit_test(hooks_are_for_training),       cmocka_unit_test(failures_pass_through),
        cmocka_unit_test(stages_follow_each_other),     cmocka_unit_test(a_file_is_opened_again),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    static const char *const files[] = {"x.npy",     "y.npy",  "in.onnx",    "out.onnx",
                                        "step.onnx", "r.json", "plain.onnx", "failed.onnx"};
    for (size_t i = 0; i < sizeof files / sizeof *files; i++)
        unlink(files[i]);
    if (chdir("/") || rmdir(dir))
        return 1;
    return failed;
}
