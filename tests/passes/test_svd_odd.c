/* Models that are odd but valid: the svd pass takes them, or says in one line why not. */
#include "svd_util.h"

enum { IN = 12, WIDE = 20, ROWS = 70 }; /* the last batch is shorter, and 64 is no multiple of it */

static struct mc_err err;

struct odd {
    struct mc_model *m;
    struct memory_data data;
    struct mc_pass_ctx ctx;
    struct mc_value *x, *y;
    float *samples;
};

/* x [-1, 12] -> MatMul [12, 20] -> Relu -> MatMul [20, 12] -> y */
static void open_odd(struct odd *o, const char *first, const char *second)
{
    *o = (struct odd){.m = build_model(17), .samples = gaussian(1, ROWS * IN)};
    struct mc_graph *g = o->m->graph;
    o->x = build_input(g, "x", MC_DTYPE_F32, 2, DIMS(-1, IN));
    struct mc_value *h =
        build_binary(g, "MatMul", "h", o->x, random_const(g, "w1", 2, DIMS(IN, WIDE), 1));
    o->y = build_binary(g, "MatMul", "y", build_unary(g, "Relu", "relu", h),
                        random_const(g, "w2", 2, DIMS(WIDE, IN), 2));
    h->producer->name = first;
    o->y->producer->name = second;
    o->ctx = svd_ctx(memory_open(&o->data, "x", ROWS, 1, DIMS(IN), o->samples, NULL));
}

static void close_odd(struct odd *o, json_t *report)
{
    json_decref(report);
    mc_model_free(o->m);
    free(o->samples);
}

static void expect_choices(const json_t *report, const char *const *names,
                           const char *const *choices, size_t n)
{
    const json_t *layers = json_object_get(json_object_get(report, "search"), "layers");
    assert_int_equal(json_array_size(layers), n);
    for (size_t i = 0; i < n; i++) {
        const json_t *row = json_array_get(layers, i);
        assert_string_equal(mc_json_string(row, "name"), names[i]);
        assert_string_equal(mc_json_string(row, "choice"), choices[i]);
    }
}

/* Nodes of one name are told apart, in what is written and in what is read. */
static void nodes_of_one_name(void **state)
{
    (void)state;
    static const char *const names[] = {"same", "same (w3)", "same (w3) 2"}, *const taken[] = {
                                                                                 "rank 2", "rank 5",
                                                                                 "rank 3"};
    struct odd o;
    json_t *report, *layers = json_array();
    for (int i = 0; i < 3; i++)
        json_array_append_new(layers, json_pack("{s:s,s:s}", "name", names[i], "choice", taken[i]));
    json_t *choices = json_pack("{s:o}", "layers", layers);
    open_odd(&o, "same", "same (w3)");
    struct mc_graph *g = o.m->graph;
    struct mc_value *z = build_binary(g, "MatMul", "z", build_unary(g, "Tanh", "tanh", o.y),
                                      random_const(g, "w3", 2, DIMS(IN, WIDE), 4));
    z->producer->name = "same";
    build_output(g, z);
    o.ctx.choices = choices;
    build_ok(svd_run(&o.ctx, o.m, "{}", &report, &err), &err);
    expect_choices(report, names, taken, 3);
    json_decref(choices);
    close_odd(&o, report);
}

/* More positions than there are numbers for: what a sample costs is not known. */
static void positions_beyond_numbers(void **state)
{
    (void)state;
    int64_t huge = (int64_t)1 << 40;
    struct mc_model *m = build_model(17);
    struct mc_graph *g = m->graph;
    struct mc_value *x = build_input(g, "x", MC_DTYPE_F32, 4, DIMS(1, huge, huge, IN));
    struct mc_value *image = build_input(g, "image", MC_DTYPE_F32, 4, DIMS(huge, 3, huge, huge));
    struct mc_value *conv[2] = {image, random_const(g, "k", 4, DIMS(8, 3, 3, 3), 2)};
    struct mc_node *n;
    build_output(g, build_binary(g, "MatMul", "y", x, random_const(g, "w", 2, DIMS(IN, 8), 1)));
    build_output(g, build_node(g, "Conv", "c", 2, conv, &n));
    struct mc_pass_ctx ctx = svd_ctx(NULL);
    json_t *report;
    build_ok(svd_run(&ctx, m, "{'rank': 2}", &report, &err), &err);
    expect_rank(report, "y", 2);
    assert_true(json_is_null(json_object_get(layer_row(report, "y"), "macs_before")));
    expect_rank(report, "c", 2);
    json_decref(report);
    mc_model_free(m);
}

/* A budget is kept without running what nobody here can run; a loss cannot be. */
static void an_end_that_cannot_run(void **state)
{
    (void)state;
    struct odd o;
    struct mc_node *n;
    json_t *report;
    open_odd(&o, "a", "b");
    struct mc_graph *g = o.m->graph;
    build_ok(mc_edit_opset(o.m, "strange", 1, &err), &err);
    struct mc_value *z = mc_edit_fresh(g, "z");
    build_ok(mc_edit_node(g, g->n_nodes, "Strange", "strange", 1, "s", &o.y, 1, &z, 1, &n, &err),
             &err);
    build_output(g, z);
    assert_int_equal(svd_run(&o.ctx, o.m, "{}", &report, &err), MC_EUNSUP);
    assert_non_null(strstr(err.msg, "--keep"));
    build_ok(svd_run(&o.ctx, o.m, "{'keep': 0.7}", &report, &err), &err);
    assert_true(mc_json_number(report, "bytes_after", NAN) <=
                0.7 * mc_json_number(report, "bytes_before", NAN));
    close_odd(&o, report);
}

/* An output without elements counts for nothing. */
static void an_empty_output(void **state)
{
    (void)state;
    struct odd o;
    json_t *report;
    open_odd(&o, "a", "b");
    struct mc_graph *g = o.m->graph;
    struct mc_value *in[4] = {o.y};
    for (int i = 1; i < 4; i++)
        in[i] = build_const(g, "slice", MC_DTYPE_I64, 1, DIMS(1), &(int64_t){i == 3});
    struct mc_node *n;
    build_output(g, build_node(g, "Slice", "z", 4, in, &n));
    build_ok(svd_run(&o.ctx, o.m, "{'keep': 0.7}", &report, &err), &err);
    close_odd(&o, report);
}

/* [64, 4] whatever the batch: with 64 samples it looks like scores of each. */
static void an_output_of_fixed_rows(void **state)
{
    (void)state;
    struct odd o;
    json_t *report;
    open_odd(&o, "a", "b");
    struct mc_graph *g = o.m->graph;
    struct mc_node *n;
    struct mc_value *sum = build_node(g, "ReduceSum", "sum", 1, &o.y, &n);
    build_output(g, build_binary(g, "Mul", "z", random_const(g, "c", 2, DIMS(64, 4), 3), sum));
    build_output(g, o.y);
    int rc = svd_run(&o.ctx, o.m, "{'keep': 0.7}", &report, &err);
    assert_true(rc == 0 || rc == MC_EUNSUP || rc == MC_EDATA);
    close_odd(&o, report);
}

/* Outputs that are no numbers decide nothing: what a layer's own inputs say is enough for a rank. */
static void outputs_that_are_no_numbers(void **state)
{
    (void)state;
    struct odd o;
    json_t *report;
    open_odd(&o, "a", "b");
    struct mc_graph *g = o.m->graph;
    build_output(g, build_unary(g, "Log", "log", o.y));
    build_ok(svd_run(&o.ctx, o.m, "{'rank': 2, 'norm': 'inputs'}", &report, &err), &err);
    expect_rank(report, "b", 2);
    close_odd(&o, report);
}

/* Pairs that were merged to see what they are are pairs again. */
static void a_dry_run_changes_nothing(void **state)
{
    (void)state;
    struct odd o;
    json_t *report;
    open_odd(&o, "a", "b");
    struct mc_graph *g = o.m->graph;
    struct mc_value *h = build_binary(g, "MatMul", "p", build_unary(g, "Tanh", "tanh", o.y),
                                      random_const(g, "w3", 2, DIMS(IN, 2), 4));
    build_output(g, build_binary(g, "MatMul", "q", h, random_const(g, "w4", 2, DIMS(2, IN), 5)));
    uint64_t before, after;
    size_t nodes = g->n_nodes;
    build_ok(count_bytes(NULL, o.m, &before, &err), &err);
    o.ctx.dry_run = true;
    build_ok(svd_run(&o.ctx, o.m, "{'keep': 0.7}", &report, &err), &err);
    build_ok(count_bytes(NULL, o.m, &after, &err), &err);
    assert_int_equal(g->n_nodes, nodes);
    assert_int_equal(before, after);
    close_odd(&o, report);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nodes_of_one_name),           cmocka_unit_test(positions_beyond_numbers),
        cmocka_unit_test(an_end_that_cannot_run),      cmocka_unit_test(an_empty_output),
        cmocka_unit_test(an_output_of_fixed_rows),     cmocka_unit_test(a_dry_run_changes_nothing),
        cmocka_unit_test(outputs_that_are_no_numbers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
