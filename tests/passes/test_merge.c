/* Linear nodes in a row: merged they compute the same, undone they are what they were. */
#include "svd_util.h"

#include "passes/svd/merge.h"

enum { BATCH = 3 };

static struct mc_err err;
static struct mc_linalg *la;

/* ---- building ---- */

struct net {
    struct mc_model *m;
    struct mc_graph *g;
    struct mc_value *x;
    int rank;
    int64_t dims[5];
    uint64_t seed;
};

static struct net net_of(int rank, const int64_t *dims)
{
    struct net n = {.m = build_model(17), .rank = rank, .seed = 1};
    n.g = n.m->graph;
    memcpy(n.dims, dims, (size_t)rank * sizeof *dims);
    n.dims[0] = -1;
    n.x = build_input(n.g, "x", MC_DTYPE_F32, rank, n.dims);
    n.dims[0] = BATCH;
    return n;
}

static struct mc_value *weight(struct net *n, int rank, const int64_t *dims)
{
    char name[16];
    snprintf(name, sizeof name, "w%d", (int)n->seed);
    return random_const(n->g, name, rank, dims, n->seed++);
}

static struct mc_value *matmul(struct net *n, const char *name, struct mc_value *x, int64_t in,
                               int64_t out)
{
    return build_binary(n->g, "MatMul", name, x, weight(n, 2, DIMS(in, out)));
}

static struct mc_value *plus(struct net *n, const char *name, struct mc_value *x, int64_t out)
{
    return build_binary(n->g, "Add", name, x, weight(n, 1, &out));
}

static struct mc_value *gemm(struct net *n, const char *name, struct mc_value *x, int64_t in,
                             int64_t out, int trans, float alpha, float beta)
{
    struct mc_node *node;
    struct mc_value *args[] = {x, weight(n, 2, trans ? DIMS(out, in) : DIMS(in, out)),
                               weight(n, 1, &out)};
    struct mc_value *y = build_node(n->g, "Gemm", name, beta == 0 ? 2 : 3, args, &node);
    build_ok(mc_edit_attr_int(node, "transB", trans, &err), &err);
    build_ok(mc_edit_attr_float(node, "alpha", alpha, &err), &err);
    if (beta != 0)
        build_ok(mc_edit_attr_float(node, "beta", beta, &err), &err);
    return y;
}

struct window {
    int64_t kernel[2], stride[2], dilation[2], pads[4];
    const char *same;
};

static struct mc_value *conv(struct net *n, const char *name, struct mc_value *x, int64_t in,
                             int64_t out, struct window w, bool bias)
{
    struct mc_node *node;
    struct mc_value *args[] = {x, weight(n, 4, DIMS(out, in, w.kernel[0], w.kernel[1])),
                               bias ? weight(n, 1, &out) : NULL};
    struct mc_value *y = build_node(n->g, "Conv", name, bias ? 3 : 2, args, &node);
    if (w.stride[0])
        build_ok(mc_edit_attr_ints(node, "strides", w.stride, 2, &err), &err);
    if (w.dilation[0])
        build_ok(mc_edit_attr_ints(node, "dilations", w.dilation, 2, &err), &err);
    if (w.same)
        build_ok(mc_edit_attr_string(node, "auto_pad", w.same, &err), &err);
    else
        build_ok(mc_edit_attr_ints(node, "pads", w.pads, 4, &err), &err);
    return y;
}

/* ---- what a graph is made of, as text ---- */

static void print(const struct mc_graph *g, char *to, size_t size)
{
    FILE *f = fmemopen(to, size, "w");
    assert_non_null(f);
    for (size_t i = 0; i < g->n_nodes; i++) {
        const struct mc_node *n = g->nodes[i];
        fprintf(f, "%s-%d %s(", n->op_type, n->version, n->name);
        size_t n_in = n->n_in;
        while (n_in && !n->in[n_in - 1]) /* left out, one way or the other */
            n_in--;
        for (size_t k = 0; k < n_in; k++)
            fprintf(f, "%s ", n->in[k] ? n->in[k]->name : "-");
        fprintf(f, ") %s", n->out[0]->name);
        for (size_t k = 0; k < n->n_attr; k++) {
            const struct mc_attr *a = &n->attr[k];
            fprintf(f, " %s=%lld %g %s", a->name, (long long)a->i, (double)a->f,
                    a->s.data ? (const char *)a->s.data : "");
            for (size_t j = 0; j < a->n && a->ints; j++)
                fprintf(f, ",%lld", (long long)a->ints[j]);
        }
        fputc('\n', f);
    }
    for (size_t i = 0; i < g->n_inits; i++)
        fprintf(f, "%s %zu\n", g->inits[i]->name, g->inits[i]->tensor->bytes);
    assert_int_equal(fclose(f), 0);
}

/* ---- cases ---- */

static struct mc_value *two_products(struct net *n)
{
    return matmul(n, "b", matmul(n, "a", n->x, 6, 3), 3, 8);
}

static struct mc_value *into_a_gemm(struct net *n)
{
    return gemm(n, "b", matmul(n, "a", n->x, 6, 3), 3, 8, 1, 0.5f, 2);
}

static struct mc_value *two_gemms(struct net *n)
{
    return gemm(n, "b", gemm(n, "a", n->x, 6, 3, 0, -2, 3), 3, 8, 1, 0.5f, 2);
}

static struct mc_value *gemm_without_bias(struct net *n)
{
    return gemm(n, "b", gemm(n, "a", n->x, 6, 3, 1, -2, 3), 3, 8, 0, 0.5f, 0);
}

static struct mc_value *bias_between(struct net *n)
{
    return plus(n, "d", matmul(n, "c", plus(n, "b", matmul(n, "a", n->x, 6, 3), 3), 3, 8), 8);
}

static struct mc_value *three_with_bias(struct net *n)
{
    struct mc_value *t = plus(n, "b", matmul(n, "a", n->x, 6, 3), 3);
    t = plus(n, "d", matmul(n, "c", t, 3, 4), 4);
    return gemm(n, "e", t, 4, 8, 1, 1, 1);
}

static struct mc_value *on_the_left(struct net *n)
{
    struct mc_value *t = build_binary(n->g, "MatMul", "a", weight(n, 2, DIMS(3, 6)), n->x);
    return build_binary(n->g, "MatMul", "b", weight(n, 2, DIMS(8, 3)), t);
}

static struct mc_value *behind_a_table(struct net *n)
{
    struct mc_node *node;
    struct mc_value *i = build_node(n->g, "Cast", "cast", 1, (struct mc_value *[]){n->x}, &node);
    build_ok(mc_edit_attr_int(node, "to", MC_DTYPE_I64, &err), &err);
    return matmul(n, "b", build_binary(n->g, "Gather", "a", weight(n, 2, DIMS(9, 3)), i), 3, 8);
}

static struct mc_value *into_a_cell(struct net *n)
{
    struct mc_node *node;
    struct mc_value *t = matmul(n, "a", n->x, 6, 2);
    struct mc_value *args[] = {t, weight(n, 3, DIMS(2, 12, 2)), weight(n, 3, DIMS(2, 12, 4))};
    struct mc_value *y = build_node(n->g, "GRU", "b", 3, args, &node);
    build_ok(mc_edit_attr_string(node, "direction", "bidirectional", &err), &err);
    build_ok(mc_edit_attr_int(node, "hidden_size", 4, &err), &err);
    return y;
}

static struct mc_value *states_too(struct net *n)
{
    struct mc_node *node;
    struct mc_value *r = build_binary(n->g, "MatMul", "r", weight(n, 3, DIMS(1, 16, 2)),
                                      weight(n, 3, DIMS(1, 2, 4)));
    struct mc_value *args[] = {matmul(n, "a", n->x, 6, 2), weight(n, 3, DIMS(1, 16, 2)), r};
    struct mc_value *y = build_node(n->g, "LSTM", "b", 3, args, &node);
    build_ok(mc_edit_attr_int(node, "hidden_size", 4, &err), &err);
    return y;
}

static struct mc_value *window_first(struct net *n)
{
    struct window w = {{3, 2}, {2, 1}, {1, 2}, {1, 0, 2, 1}, NULL};
    struct mc_value *t = conv(n, "a", n->x, 4, 3, w, true);
    return conv(n, "b", t, 3, 9, (struct window){{1, 1}, {2, 3}, {0}, {0}, NULL}, true);
}

static struct mc_value *window_second(struct net *n)
{
    struct mc_value *t = conv(n, "a", n->x, 4, 3, (struct window){.kernel = {1, 1}}, true);
    return conv(n, "b", t, 3, 9, (struct window){{3, 2}, {2, 1}, {1, 2}, {0}, NULL}, true);
}

static struct mc_value *padded_without_bias(struct net *n)
{
    struct mc_value *t = conv(n, "a", n->x, 4, 3, (struct window){.kernel = {1, 1}}, false);
    return conv(n, "b", t, 3, 9, (struct window){{3, 2}, {2, 1}, {1, 2}, {1, 0, 2, 1}, NULL}, true);
}

static struct mc_value *along_axes(struct net *n)
{
    struct window down = {{3, 1}, {2, 1}, {1, 1}, {1, 0, 1, 0}, NULL};
    struct window across = {{1, 2}, {1, 2}, {1, 2}, {0, 1, 0, 0}, NULL};
    return conv(n, "b", conv(n, "a", n->x, 4, 3, down, false), 3, 9, across, true);
}

static struct mc_value *same_padding(struct net *n)
{
    struct window w = {{3, 4}, {2, 2}, {0}, {0}, "SAME_UPPER"};
    struct mc_value *t = conv(n, "a", n->x, 4, 3, w, true);
    return conv(n, "b", t, 3, 9, (struct window){.kernel = {1, 1}}, false);
}

static struct mc_value *three_in_a_row(struct net *n)
{
    struct mc_value *t = conv(n, "a", n->x, 4, 2, (struct window){.kernel = {1, 1}}, false);
    t = conv(n, "b", t, 2, 3, (struct window){{3, 3}, {2, 2}, {1, 1}, {1, 1, 1, 1}, NULL}, false);
    return conv(n, "c", t, 3, 9, (struct window){.kernel = {1, 1}}, true);
}

static struct mc_value *tied(struct net *n)
{
    struct mc_value *w1 = weight(n, 2, DIMS(6, 3)), *w2 = weight(n, 2, DIMS(3, 6)), *t = n->x;
    t = build_binary(n->g, "MatMul", "b", build_binary(n->g, "MatMul", "a", t, w1), w2);
    t = build_unary(n->g, "Relu", "relu", t);
    return build_binary(n->g, "MatMul", "d", build_binary(n->g, "MatMul", "c", t, w1), w2);
}

static struct mc_value *several_readers(struct net *n)
{
    struct mc_value *t = gemm(n, "a", n->x, 6, 3, 0, -2, 3);
    struct mc_value *b = gemm(n, "b", t, 3, 8, 1, 0.5f, 2),
                    *c = plus(n, "d", matmul(n, "c", t, 3, 8), 8);
    return build_binary(n->g, "Add", "sum", b, build_unary(n->g, "Relu", "relu", c));
}

static struct mc_value *in_half_precision(struct net *n)
{
    struct mc_node *c;
    uint16_t half[24];
    float *w = gaussian(4, 24);
    assert_int_equal(mc_dtype_from_f32(MC_DTYPE_F16, w, half, 24, NULL), 0);
    struct mc_value *t = build_node(n->g, "Cast", "down", 1, (struct mc_value *[]){n->x}, &c);
    build_ok(mc_edit_attr_int(c, "to", MC_DTYPE_F16, &err), &err);
    t = build_binary(n->g, "MatMul", "a", t,
                     build_const(n->g, "h1", MC_DTYPE_F16, 2, DIMS(6, 3), half));
    t = build_binary(n->g, "MatMul", "b", t,
                     build_const(n->g, "h2", MC_DTYPE_F16, 2, DIMS(3, 8), half));
    t = build_node(n->g, "Cast", "up", 1, &t, &c);
    build_ok(mc_edit_attr_int(c, "to", MC_DTYPE_F32, &err), &err);
    free(w);
    return t;
}

struct one {
    const char *name;
    struct mc_value *(*build)(struct net *n);
    int rank;
    int64_t dims[4];
    size_t merges;
    double tolerance;
};

static const struct one cases[] = {
    {"two products", two_products, 3, {BATCH, 5, 6}, 1, 1e-6},
    {"into a gemm", into_a_gemm, 2, {BATCH, 6}, 1, 1e-6},
    {"two gemms", two_gemms, 2, {BATCH, 6}, 1, 1e-6},
    {"gemm without bias", gemm_without_bias, 2, {BATCH, 6}, 1, 1e-6},
    {"bias between", bias_between, 3, {BATCH, 5, 6}, 1, 1e-6},
    {"three with bias", three_with_bias, 2, {BATCH, 6}, 2, 1e-6},
    {"on the left", on_the_left, 3, {BATCH, 6, 5}, 1, 1e-6},
    {"behind a table", behind_a_table, 2, {BATCH, 6}, 1, 1e-6},
    {"into a cell", into_a_cell, 3, {BATCH, 5, 6}, 1, 1e-6},
    {"states too", states_too, 3, {BATCH, 5, 6}, 2, 1e-6},
    {"window first", window_first, 4, {BATCH, 4, 9, 8}, 1, 1e-6},
    {"window second", window_second, 4, {BATCH, 4, 9, 8}, 1, 1e-6},
    {"padded without bias", padded_without_bias, 4, {BATCH, 4, 9, 8}, 1, 1e-6},
    {"along axes", along_axes, 4, {BATCH, 4, 9, 8}, 1, 1e-6},
    {"same padding", same_padding, 4, {BATCH, 4, 9, 8}, 1, 1e-6},
    {"three in a row", three_in_a_row, 4, {BATCH, 4, 9, 8}, 2, 1e-6},
    {"tied", tied, 2, {BATCH, 6}, 2, 1e-6},
    {"several readers", several_readers, 2, {BATCH, 6}, 2, 1e-6},
    {"in half precision", in_half_precision, 2, {BATCH, 6}, 1, 3e-3},
};
enum { CASES = sizeof cases / sizeof *cases };

static float *input(const struct net *n)
{
    int64_t count = 1;
    for (int i = 0; i < n->rank; i++)
        count *= n->dims[i];
    return gaussian(7, count);
}

static void same_outputs(const struct one *c, const struct net *n, const float *x,
                         const float *want, int64_t count, double tolerance)
{
    int64_t k;
    float *got = output_of(n->m, n->rank, n->dims, x, &k);
    assert_int_equal(k, count);
    double e = sqrt(relative(want, got, k));
    if (!(e <= tolerance))
        fail_msg("%s: outputs differ by %g", c->name, e);
    free(got);
}

static void merged_and_undone(const struct one *c)
{
    enum { TEXT = 8192 };
    static char before[TEXT], after[TEXT];
    struct net n = net_of(c->rank, c->dims);
    build_output(n.g, c->build(&n));
    mc_edit_sweep(n.g);
    print(n.g, before, TEXT);
    int64_t count;
    float *x = input(&n), *want = output_of(n.m, n.rank, n.dims, x, &count);
    struct mc_merges all;
    struct mc_layers layers;
    struct mc_model *clone;
    build_ok(mc_merge_pairs(n.m, la, &all, &err), &err);
    if (all.n != c->merges)
        fail_msg("%s: %zu merges", c->name, all.n);
    same_outputs(c, &n, x, want, count, c->tolerance);
    build_ok(mc_model_clone(n.m, &clone, &err), &err);
    for (int k = 0; k < 2; k++) { /* in a clone, then in the model itself */
        struct net to = {.m = k ? n.m : clone,
                         .rank = n.rank,
                         .dims = {n.dims[0], n.dims[1], n.dims[2], n.dims[3]}};
        struct mc_layers mine;
        build_ok(mc_layers_collect(n.m, &mine, &err), &err);
        build_ok(mc_layers_collect(to.m, &layers, &err), &err);
        mc_merge_tell(&all, &mine);
        for (size_t i = 0; i < mine.n; i++) {
            mine.item[i].given_bytes = 1; /* as if every pair were the smaller */
            build_ok(mc_merge_undo(&all, &mine, &layers, i, &err), &err);
        }
        mc_edit_sweep(to.m->graph);
        build_ok(mc_verify(to.m, &err), &err);
        print(to.m->graph, after, TEXT);
        assert_string_equal(before, after);
        same_outputs(c, &to, x, want, count, 0);
        mc_layers_free(&layers);
        mc_layers_free(&mine);
    }
    mc_merges_free(&all);
    mc_model_free(clone);
    free(x);
    free(want);
    mc_model_free(n.m);
}

static void every_pair(void **state)
{
    (void)state;
    for (int i = 0; i < CASES; i++)
        merged_and_undone(&cases[i]);
}

/* ---- what is no pair ---- */

static struct mc_value *read_twice(struct net *n)
{
    struct mc_value *t = matmul(n, "a", n->x, 6, 3);
    build_output(n->g, build_unary(n->g, "Relu", "relu", t));
    return matmul(n, "b", t, 3, 8);
}

static struct mc_value *shown(struct net *n)
{
    struct mc_value *t = matmul(n, "a", n->x, 6, 3);
    build_output(n->g, t);
    return matmul(n, "b", t, 3, 8);
}

static struct mc_value *one_cannot_take_it(struct net *n)
{
    struct mc_value *t = gemm(n, "a", n->x, 6, 3, 0, -2, 3);
    struct mc_value *b = gemm(n, "b", t, 3, 8, 1, 0.5f, 2), *c = matmul(n, "c", t, 3, 8);
    return build_binary(n->g, "Add", "sum", b, build_unary(n->g, "Relu", "relu", c));
}

static struct mc_value *nothing_to_take_it(struct net *n)
{
    return matmul(n, "c", plus(n, "b", matmul(n, "a", n->x, 6, 3), 3), 3, 8);
}

static struct mc_value *weight_elsewhere(struct net *n)
{
    struct mc_value *w = weight(n, 2, DIMS(6, 3)), *t = build_binary(n->g, "MatMul", "a", n->x, w);
    build_output(n->g, build_binary(n->g, "MatMul", "c", n->x, w));
    return matmul(n, "b", t, 3, 8);
}

static struct mc_value *something_between(struct net *n)
{
    return matmul(n, "b", build_unary(n->g, "Relu", "relu", matmul(n, "a", n->x, 6, 3)), 3, 8);
}

static struct mc_value *padded_with_bias(struct net *n)
{
    struct mc_value *t = conv(n, "a", n->x, 4, 3, (struct window){.kernel = {1, 1}}, true);
    return conv(n, "b", t, 3, 9, (struct window){{3, 3}, {0}, {0}, {1, 1, 1, 1}, NULL}, true);
}

static struct mc_value *wide_and_wide(struct net *n)
{
    struct mc_value *t = conv(n, "a", n->x, 4, 3, (struct window){.kernel = {3, 1}}, false);
    return conv(n, "b", t, 3, 9, (struct window){.kernel = {2, 2}}, false);
}

static struct mc_value *stride_between(struct net *n)
{
    struct mc_value *t =
        conv(n, "a", n->x, 4, 3, (struct window){{1, 1}, {2, 2}, {0}, {0}, NULL}, false);
    return conv(n, "b", t, 3, 9, (struct window){.kernel = {2, 2}}, false);
}

static struct mc_value *padded_point(struct net *n)
{
    struct mc_value *t = conv(n, "a", n->x, 4, 3, (struct window){.kernel = {3, 3}}, true);
    return conv(n, "b", t, 3, 9, (struct window){{1, 1}, {0}, {0}, {1, 1, 1, 1}, NULL}, true);
}

static void no_pairs(void **state)
{
    (void)state;
    static const struct one none[] = {
        {"read twice", read_twice, 2, {BATCH, 6}, 0, 0},
        {"shown", shown, 2, {BATCH, 6}, 0, 0},
        {"one cannot take it", one_cannot_take_it, 2, {BATCH, 6}, 0, 0},
        {"nothing to take it", nothing_to_take_it, 2, {BATCH, 6}, 0, 0},
        {"weight elsewhere", weight_elsewhere, 2, {BATCH, 6}, 0, 0},
        {"something between", something_between, 2, {BATCH, 6}, 0, 0},
        {"padded with bias", padded_with_bias, 4, {BATCH, 4, 9, 8}, 0, 0},
        {"wide and wide", wide_and_wide, 4, {BATCH, 4, 9, 8}, 0, 0},
        {"stride between", stride_between, 4, {BATCH, 4, 9, 8}, 0, 0},
        {"padded point", padded_point, 4, {BATCH, 4, 9, 8}, 0, 0},
    };
    for (size_t i = 0; i < sizeof none / sizeof *none; i++)
        merged_and_undone(&none[i]);
}

/* ---- compressed twice ---- */

/* At the same rank the second run finds nothing to do; at a lower one it finds what the first would have found. */
static void twice(void **state)
{
    (void)state;
    for (int calib = 0; calib < 2; calib++) {
        float *data = gaussian(3, SAMPLES * 24), *out[4], *want = NULL;
        int64_t n;
        size_t nodes[4];
        for (int k = 0; k < 4; k++) { /* 6; 6, 6; 6, 4; 4 */
            struct net t = net_of(2, DIMS(BATCH, 24));
            build_output(t.g, gemm(&t, "b",
                                   build_unary(t.g, "Relu", "relu", matmul(&t, "a", t.x, 24, 30)),
                                   30, 20, 1, 1, 1));
            if (!want)
                want = output_of(t.m, 2, DIMS(SAMPLES, 24), data, &n);
            static const char *const at_rank[] = {"{'rank': 6, 'norm': '%s'}",
                                                  "{'rank': 4, 'norm': '%s'}"};
            for (int run = 0; run < (k == 0 || k == 3 ? 1 : 2); run++) {
                struct memory_data d;
                struct mc_pass_ctx ctx =
                    svd_ctx(calib ? memory_open(&d, "x", SAMPLES, 1, DIMS(24), data, NULL) : NULL);
                char options[64];
                snprintf(options, sizeof options, at_rank[k == 3 || (k == 2 && run == 1)],
                         calib ? "outputs" : "weights");
                json_t *report;
                build_ok(svd_run(&ctx, t.m, options, &report, &err), &err);
                if (run == 1 && k == 1)
                    expect_left(report, "b", "smaller");
                json_decref(report);
            }
            nodes[k] = t.g->n_nodes;
            out[k] = output_of(t.m, 2, DIMS(SAMPLES, 24), data, &n);
            mc_model_free(t.m);
        }
        assert_int_equal(nodes[0], 5);
        assert_int_equal(nodes[1], 5);
        assert_int_equal(nodes[2], 5);
        assert_memory_equal(out[0], out[1], (size_t)n * sizeof **out);
        double e = sqrt(relative(out[3], out[2], n));
        double at_once = sqrt(relative(want, out[3], n)), in_two = sqrt(relative(want, out[2], n));
        if (!(calib ? fabs(in_two / at_once - 1) < 0.1
                    : e < 1e-4)) /* influence: of the model at hand */
            fail_msg("%g, %g, %g", e, at_once, in_two);
        free(want);
        for (int k = 0; k < 4; k++)
            free(out[k]);
        free(data);
    }
}

static int setup(void **state)
{
    (void)state;
    return mc_linalg_new("cpu", &la, &err);
}

static int teardown(void **state)
{
    (void)state;
    mc_linalg_free(la);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_pair),
        cmocka_unit_test(no_pairs),
        cmocka_unit_test(twice),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
