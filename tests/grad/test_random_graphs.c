/* test_random_graphs: graphs of many operators drawn at random, against differences. Every value is [4,6]; pieces
 * take one or two of them to a new one. A piece with an operator that has no rule is not drawn. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "base/rng.h"
#include "rule_check.h"
#include "graph/grad/rule.h"
#include "graph_check.h"
#include "tests/graph/build.h"

enum { ROWS = 4, COLS = 6, VALUES = 30, GRAPHS = 300 };

struct draw {
    struct mc_graph *g;
    uint64_t seed, n;
    struct mc_value *pool[VALUES];
    int n_pool;
};

static uint32_t below(struct draw *d, uint32_t n)
{
    return mc_rng_below(d->seed, 1, d->n++, n);
}

static struct mc_value *any(struct draw *d)
{
    /* Newer values more often, so that graphs are deep. */
    uint32_t a = below(d, (uint32_t)d->n_pool), b = below(d, (uint32_t)d->n_pool);
    return d->pool[a > b ? a : b];
}

static struct mc_value *weights(struct draw *d, int rank, const int64_t *dims)
{
    float x[1024];
    struct mc_shape s = mc_shape_of(rank, dims);
    size_t n = (size_t)mc_shape_count(&s);
    assert_true(n <= 1024);
    mc_rng_fill_normal(d->seed, 100 + d->n++, 0, x, n);
    for (size_t i = 0; i < n; i++)
        x[i] *= 0.5F;
    return build_const(d->g, "w", MC_DTYPE_F32, rank, dims, x);
}
#define WEIGHTS(d, ...)                                                                            \
    weights(d, sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t), (int64_t[]){__VA_ARGS__})

static struct mc_value *ints(struct draw *d, int n, const int64_t *v)
{
    return build_const(d->g, "i", MC_DTYPE_I64, 1, (int64_t[]){n}, v);
}
#define INTS(d, ...)                                                                               \
    ints(d, sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t), (int64_t[]){__VA_ARGS__})

static struct mc_value *node(struct draw *d, const char *op, size_t n_in, struct mc_value *a,
                             struct mc_value *b, struct mc_value *c, struct mc_node **ret)
{
    struct mc_value *in[3] = {a, b, c};
    return build_node(d->g, op, op, n_in, in, ret);
}

static struct mc_value *reshape(struct draw *d, struct mc_value *x, struct mc_value *shape)
{
    return node(d, "Reshape", 2, x, shape, NULL, NULL);
}

static struct mc_value *back(struct draw *d, struct mc_value *x)
{
    return reshape(d, x, INTS(d, ROWS, COLS));
}

static void attr(struct mc_node *n, const char *name, int64_t v)
{
    assert_int_equal(mc_edit_attr_int(n, name, v, NULL), 0);
}

static void attrs(struct mc_node *n, const char *name, size_t count, const int64_t *v)
{
    assert_int_equal(mc_edit_attr_ints(n, name, v, count, NULL), 0);
}

/* ---- pieces ---- */

static struct mc_value *unary(struct draw *d, const char *op)
{
    return node(d, op, 1, any(d), NULL, NULL, NULL);
}

static struct mc_value *binary(struct draw *d, const char *op)
{
    struct mc_value *y = node(d, op, 2, any(d), any(d), NULL, NULL);
    return strcmp(op, "Mul") ? y : node(d, "Tanh", 1, y, NULL, NULL, NULL);
}

static struct mc_value *row(struct draw *d, const char *op)
{
    struct mc_value *w = below(d, 2) ? WEIGHTS(d, COLS) : WEIGHTS(d, ROWS, 1);
    return below(d, 2) ? node(d, op, 2, any(d), w, NULL, NULL)
                       : node(d, op, 2, w, any(d), NULL, NULL);
}

static struct mc_value *quotient(struct draw *d, const char *op)
{
    struct mc_value *low =
        node(d, "Exp", 1, node(d, "Tanh", 1, any(d), NULL, NULL, NULL), NULL, NULL, NULL);
    return node(d, op, 2, any(d), low, NULL, NULL);
}

static struct mc_value *power(struct draw *d, const char *op)
{
    struct mc_value *low =
        node(d, "Exp", 1, node(d, "Tanh", 1, any(d), NULL, NULL, NULL), NULL, NULL, NULL);
    return node(d, op, 2, low, WEIGHTS(d, COLS), NULL, NULL);
}

static struct mc_value *product(struct draw *d, const char *op)
{
    (void)op;
    struct mc_value *y = node(d, "MatMul", 2, any(d), WEIGHTS(d, COLS, COLS), NULL, NULL);
    return below(d, 2) ? node(d, "MatMul", 2, WEIGHTS(d, ROWS, ROWS), y, NULL, NULL) : y;
}

static struct mc_value *gemm(struct draw *d, const char *op)
{
    struct mc_node *n;
    struct mc_value *y = node(d, op, 3, any(d), WEIGHTS(d, COLS, COLS), WEIGHTS(d, COLS), &n);
    attr(n, "transB", below(d, 2));
    return y;
}

/* Queries, keys and values: softmax(x y^T) z. */
static struct mc_value *attention(struct draw *d, const char *op)
{
    struct mc_value *t = node(d, "Transpose", 1, any(d), NULL, NULL, NULL);
    struct mc_value *p =
        node(d, op, 1, node(d, "MatMul", 2, any(d), t, NULL, NULL), NULL, NULL, NULL);
    return node(d, "MatMul", 2, p, any(d), NULL, NULL);
}

static struct mc_value *halves(struct draw *d, const char *op)
{
    struct mc_node *n;
    struct mc_value *x = any(d), *part[2];
    struct mc_err err;
    struct mc_value *in[2] = {x, INTS(d, 2, 4)};
    for (int i = 0; i < 2; i++)
        assert_non_null(part[i] = mc_edit_fresh(d->g, "part"));
    build_ok(mc_edit_node(d->g, d->g->n_nodes, op, "", 0, "split", in, 2, part, 2, &n, &err), &err);
    attr(n, "axis", 1);
    struct mc_value *y = node(d, "Concat", 2, part[1], part[0], NULL, &n);
    attr(n, "axis", -1);
    return y;
}

static struct mc_value *cut(struct draw *d, const char *op)
{
    struct mc_node *n;
    struct mc_value *x = any(d);
    struct mc_value *a = node(d, op, 3, x, INTS(d, 1), INTS(d, 3), NULL);
    struct mc_value *y = node(d, "Concat", 2, a, a, NULL, &n);
    attr(n, "axis", 0);
    return y;
}

static struct mc_value *picked(struct draw *d, const char *op)
{
    struct mc_node *n;
    struct mc_value *at = INTS(d, below(d, ROWS), below(d, ROWS), -1, below(d, ROWS));
    struct mc_value *y = node(d, op, 2, any(d), at, NULL, &n);
    attr(n, "axis", 0);
    return y;
}

static struct mc_value *reduced(struct draw *d, const char *op)
{
    struct mc_node *n;
    struct mc_value *x = any(d);
    struct mc_value *y = strcmp(op, "ReduceSum") ? node(d, op, 1, x, NULL, NULL, &n)
                                                 : node(d, op, 2, x, INTS(d, 1), NULL, &n);
    if (strcmp(op, "ReduceSum"))
        attrs(n, "axes", 1, (int64_t[]){1});
    return node(d, "Sub", 2, x, node(d, "Tanh", 1, y, NULL, NULL, NULL), NULL, NULL);
}

static struct mc_value *norm(struct draw *d, const char *op)
{
    struct mc_node *n;
    struct mc_value *y = node(d, op, 3, any(d), WEIGHTS(d, COLS), WEIGHTS(d, COLS), &n);
    assert_int_equal(mc_edit_attr_float(n, "epsilon", 0.1F, NULL), 0);
    return y;
}

static struct mc_value *conv(struct draw *d, const char *op)
{
    struct mc_node *n;
    int64_t group = below(d, 2) ? 4 : 2;
    struct mc_value *x = reshape(d, any(d), INTS(d, 1, 4, 2, 3));
    struct mc_value *w = WEIGHTS(d, 4, 4 / group, 3, 3);
    struct mc_value *y = node(d, op, 3, x, w, WEIGHTS(d, 4), &n);
    attr(n, "group", group);
    attrs(n, "pads", 4, (int64_t[]){1, 1, 1, 1});
    return back(d, y);
}

static struct mc_value *pool(struct draw *d, const char *op)
{
    struct mc_node *n;
    struct mc_value *x = reshape(d, any(d), INTS(d, 1, 2, 4, 3));
    struct mc_value *y = node(d, op, 1, x, NULL, NULL, &n);
    attrs(n, "kernel_shape", 2, (int64_t[]){3, 2});
    attrs(n, "pads", 4, (int64_t[]){1, 1, 1, 0});
    return back(d, y);
}

static struct mc_value *global_pool(struct draw *d, const char *op)
{
    struct mc_value *x = any(d);
    struct mc_value *y = node(d, op, 1, reshape(d, x, INTS(d, 1, 4, 2, 3)), NULL, NULL, NULL);
    return node(d, "Mul", 2, node(d, "Sigmoid", 1, reshape(d, y, INTS(d, 4, 1)), NULL, NULL, NULL),
                x, NULL, NULL);
}

static struct mc_value *choice(struct draw *d, const char *op)
{
    uint8_t mask[COLS];
    for (int i = 0; i < COLS; i++)
        mask[i] = below(d, 2) != 0;
    struct mc_value *c = build_const(d->g, "mask", MC_DTYPE_BOOL, 1, (int64_t[]){COLS}, mask);
    return node(d, op, 3, c, any(d), any(d), NULL);
}

/* ---- activations that exporters spell out ---- */

static struct mc_value *one(struct draw *d, const char *op, struct mc_value *x)
{
    return node(d, op, 1, x, NULL, NULL, NULL);
}

static struct mc_value *two(struct draw *d, const char *op, struct mc_value *x, struct mc_value *y)
{
    return below(d, 2) && strcmp(op, "Div") ? node(d, op, 2, y, x, NULL, NULL)
                                            : node(d, op, 2, x, y, NULL, NULL);
}

static struct mc_value *number(struct draw *d, float x)
{
    return build_const(d->g, "number", MC_DTYPE_F32, 0, NULL, &x);
}

/* x f(x), or x f(y) */
static struct mc_value *gate(struct draw *d, const char *op)
{
    struct mc_value *x = any(d);
    return one(d, "Tanh", two(d, "Mul", x, one(d, op, below(d, 2) ? x : any(d))));
}

static struct mc_value *mish(struct draw *d, const char *op)
{
    struct mc_value *x = any(d);
    return one(d, "Tanh", two(d, "Mul", x, one(d, "Tanh", one(d, op, x))));
}

static struct mc_value *gelu(struct draw *d, const char *op)
{
    struct mc_value *x = one(d, "Tanh", any(d));
    struct mc_value *e = one(d, op, two(d, "Div", x, number(d, 1.41421354F)));
    e = two(d, "Add", e, number(d, 1));
    if (below(d, 2))
        return two(d, "Mul", two(d, "Mul", x, e), number(d, 0.5F));
    return two(d, "Mul", x, two(d, "Mul", e, number(d, 0.5F)));
}

static struct mc_value *gelu_tanh(struct draw *d, const char *op)
{
    struct mc_value *x = one(d, "Tanh", any(d));
    struct mc_value *cube = node(d, "Pow", 2, x, number(d, 3), NULL, NULL);
    struct mc_value *u = two(d, "Add", x, two(d, "Mul", cube, number(d, 0.044715F)));
    u = one(d, op, two(d, "Mul", u, number(d, 0.797884583F)));
    return two(d, "Mul", two(d, "Mul", number(d, 0.5F), x), two(d, "Add", u, number(d, 1)));
}

static struct mc_value *relu6(struct draw *d, const char *op)
{
    struct mc_value *y = two(d, "Add", any(d), WEIGHTS(d, COLS));
    return node(d, op, 3, y, number(d, -0.3F), number(d, 0.9F), NULL);
}

/* A norm in nodes. */
static struct mc_value *norm_nodes(struct draw *d, const char *op)
{
    struct mc_node *n;
    struct mc_value *x = any(d), *mean = node(d, op, 1, x, NULL, NULL, &n);
    attrs(n, "axes", 1, (int64_t[]){-1});
    struct mc_value *c = node(d, "Sub", 2, x, mean, NULL, NULL);
    struct mc_value *square = below(d, 2) ? node(d, "Mul", 2, c, c, NULL, NULL)
                                          : node(d, "Pow", 2, c, number(d, 2), NULL, NULL);
    struct mc_value *var = node(d, op, 1, square, NULL, NULL, &n);
    attrs(n, "axes", 1, (int64_t[]){-1});
    struct mc_value *sd = one(d, "Sqrt", two(d, "Add", var, number(d, 0.1F)));
    struct mc_value *y = node(d, "Div", 2, c, sd, NULL, NULL);
    return two(d, "Add", two(d, "Mul", y, WEIGHTS(d, COLS)), WEIGHTS(d, COLS));
}

static struct mc_value *batch_norm(struct draw *d, const char *op)
{
    struct mc_node *n;
    struct mc_err err;
    struct mc_value *mean = WEIGHTS(d, 2), *var = one(d, "Exp", WEIGHTS(d, 2));
    struct mc_value *x = reshape(d, any(d), INTS(d, 2, 2, 6)), *y = mc_edit_fresh(d->g, "bn");
    struct mc_value *in[5] = {x, WEIGHTS(d, 2), WEIGHTS(d, 2), mean, var}, *out[3] = {y};
    bool training = below(d, 2);
    for (int i = 1; i < 3 && training; i++)
        out[i] = mc_edit_fresh(d->g, "running");
    build_ok(
        mc_edit_node(d->g, d->g->n_nodes, op, "", 0, "bn", in, 5, out, training ? 3 : 1, &n, &err),
        &err);
    attr(n, "training_mode", training);
    assert_int_equal(mc_edit_attr_float(n, "epsilon", 0.1F, NULL), 0);
    return back(d, one(d, "Relu", y));
}

static struct mc_value *channel_norm(struct draw *d, const char *op)
{
    struct mc_value *x = reshape(d, any(d), INTS(d, 2, 2, 6));
    struct mc_node *n;
    struct mc_value *y = node(d, op, 3, x, WEIGHTS(d, 2), WEIGHTS(d, 2), &n);
    assert_int_equal(mc_edit_attr_float(n, "epsilon", 0.1F, NULL), 0);
    return back(d, y);
}

static struct mc_value *recurrent(struct draw *d, const char *op)
{
    struct mc_node *n;
    int64_t gates = !strcmp(op, "LSTM") ? 4 : !strcmp(op, "GRU") ? 3 : 1;
    struct mc_value *x = reshape(d, any(d), INTS(d, 4, 1, 6));
    struct mc_value *y =
        node(d, op, 3, x, WEIGHTS(d, 1, gates * 6, 6), WEIGHTS(d, 1, gates * 6, 6), &n);
    attr(n, "hidden_size", 6);
    return back(d, y);
}

static struct mc_value *resized(struct draw *d, const char *op)
{
    struct mc_node *n;
    struct mc_value *x = reshape(d, any(d), INTS(d, 1, 2, 4, 3));
    struct mc_value *in[4] = {x, NULL, NULL, INTS(d, 1, 2, 3, 4)};
    struct mc_value *y = build_node(d->g, op, op, 4, in, &n);
    assert_int_equal(mc_edit_attr_string(n, "mode", below(d, 2) ? "linear" : "nearest", NULL), 0);
    return back(d, y);
}

static const struct piece {
    const char *op;
    struct mc_value *(*make)(struct draw *d, const char *op);
} pieces[] = {
    {"Relu", unary},
    {"Sigmoid", unary},
    {"Tanh", unary},
    {"Erf", unary},
    {"Softplus", unary},
    {"HardSwish", unary},
    {"Abs", unary},
    {"Neg", unary},
    {"LeakyRelu", unary},
    {"Identity", unary},
    {"Softmax", unary},
    {"LogSoftmax", unary},
    {"Add", binary},
    {"Sub", binary},
    {"Mul", binary},
    {"Max", binary},
    {"Min", binary},
    {"Add", row},
    {"Mul", row},
    {"Sub", row},
    {"Div", quotient},
    {"Pow", power},
    {"MatMul", product},
    {"MatMul", product},
    {"Gemm", gemm},
    {"Softmax", attention},
    {"Split", halves},
    {"Slice", cut},
    {"Gather", picked},
    {"ReduceSum", reduced},
    {"ReduceMean", reduced},
    {"ReduceMax", reduced},
    {"ReduceL2", reduced},
    {"LayerNormalization", norm},
    {"Conv", conv},
    {"MaxPool", pool},
    {"AveragePool", pool},
    {"GlobalAveragePool", global_pool},
    {"Where", choice},
    {"Sigmoid", gate},
    {"HardSigmoid", gate},
    {"Softplus", mish},
    {"Erf", gelu},
    {"Tanh", gelu_tanh},
    {"Clip", relu6},
    {"ReduceMean", norm_nodes},
    {"BatchNormalization", batch_norm},
    {"InstanceNormalization", channel_norm},
    {"LSTM", recurrent},
    {"GRU", recurrent},
    {"RNN", recurrent},
    {"Resize", resized},
};

/* [4,6] to one number by two products, which keep every element. */
static void add_loss(struct draw *d)
{
    struct mc_value *sum = d->pool[d->n_pool - 1];
    for (int i = 2; i < 4; i++)
        sum = node(d, "Add", 2, sum, node(d, "Tanh", 1, d->pool[d->n_pool - i], NULL, NULL, NULL),
                   NULL, NULL);
    struct mc_value *y = node(d, "MatMul", 2, sum, WEIGHTS(d, COLS, 1), NULL, NULL);
    struct mc_value *in[2] = {WEIGHTS(d, 1, ROWS), y};
    build_output(d->g, build_node(d->g, "MatMul", "loss", 2, in, NULL));
}

static void one_graph(uint64_t seed)
{
    struct mc_model *m = build_model(17);
    struct draw d = {.g = m->graph, .seed = seed};
    enum { N_PIECES = sizeof pieces / sizeof *pieces };
    for (int i = 0; i < 3; i++)
        d.pool[d.n_pool++] = WEIGHTS(&d, ROWS, COLS);
    while (d.n_pool < VALUES) {
        const struct piece *p = &pieces[below(&d, N_PIECES)];
        if (!mc_rule_lookup("", p->op, 17))
            continue;
        struct mc_value *y = p->make(&d, p->op);
        d.pool[d.n_pool++] = y;
    }
    add_loss(&d);
    struct graph_check c = {
        .m = m, .loss = "loss", .step = 1e-6, .tol = 1e-5, .tol_f32 = 1e-3, .seed = seed};
    assert_true(graph_check_slopes(&c) >= 2);
    mc_model_free(m);
}

static void random_graphs(void **state)
{
    (void)state;
    for (uint64_t i = 0; i < GRAPHS; i++)
        one_graph(grad_seed() * 1000 + i);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(random_graphs)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
