/* Chains of elementwise nodes and norms written as nodes, against the plan in which every node runs by itself. */
#include "run_util.h"

#include "graph/edit.h"

enum { ROWS = 3, CHANNELS = 4, COLS = 40 };

static struct mc_value *input(struct mc_model *m)
{
    return build_input(m->graph, "x", MC_DTYPE_F32, 3, DIMS(-2, CHANNELS, COLS));
}

static struct mc_value *one(struct mc_graph *g, const char *name, float v)
{
    return f32_const(g, name, 0, NULL, F(v));
}

/* The same numbers with and without, with 1 thread and with 2; `joined` nodes are gone. */
static void expect_joined(struct mc_model *m, size_t joined)
{
    float x[ROWS * CHANNELS * COLS];
    mc_rng_fill_normal(7, 0, 0, x, sizeof x / sizeof *x);
    struct mc_pool *pool;
    struct mc_err err;
    build_ok(mc_pool_new(2, &pool, &err), &err);
    struct mc_session *a = session_of(m, NULL);
    struct mc_session *two = session_of(m, &(struct mc_session_opts){.pool = pool});
    struct mc_session *b = session_of(m, &(struct mc_session_opts){.flags = MC_SESSION_NO_FUSE});
    run_x(a, 3, DIMS(ROWS, CHANNELS, COLS), x);
    run_x(two, 3, DIMS(ROWS, CHANNELS, COLS), x);
    run_x(b, 3, DIMS(ROWS, CHANNELS, COLS), x);
    for (size_t i = 0; i < m->graph->n_outputs; i++) {
        const struct mc_array *want = mc_session_output(b, (int)i),
                              *got = mc_session_output(a, (int)i);
        expect_f32(got, want->shape.rank, want->shape.dim, want->data, 1e-5);
        expect_f32(mc_session_output(two, (int)i), got->shape.rank, got->shape.dim, got->data, 0);
    }
    struct mc_session_stats st;
    mc_session_stats(a, &st);
    assert_int_equal(st.fused_nodes, joined);
    mc_session_free(a);
    mc_session_free(two);
    mc_session_free(b);
    mc_pool_free(pool);
    mc_model_free(m);
}

/* Operands of every kind of broadcasting, and a value that is read twice. */
static void trees_join(void **state)
{
    (void)state;
    struct mc_model *m = build_model(17);
    struct mc_graph *g = m->graph;
    struct mc_value *x = input(m), *v;
    v = build_binary(g, "Mul", "row", x, random_const(g, "r", 1, DIMS(COLS), 1));
    v = build_binary(g, "Add", "channel", random_const(g, "c", 2, DIMS(CHANNELS, 1), 2), v);
    struct mc_value *gate = build_unary(g, "Sigmoid", "s", v);
    v = build_binary(g, "Mul", "gate", v, gate);
    v = build_binary(g, "Sub", "left", one(g, "two", 2), v);
    v = build_binary(g, "Pow", "square", v, one(g, "p", 2));
    struct mc_value *other = build_unary(g, "Tanh", "t", x);
    v = build_binary(g, "Div", "div", v, build_binary(g, "Add", "a", other, one(g, "three", 3)));
    v = build_binary(g, "Add", "full", v, random_const(g, "f", 2, DIMS(CHANNELS, COLS), 3));
    build_output(g, v);
    expect_joined(m, 9);
}

/* What somebody else reads, is handed out, or has another shape stays; what is behind it joins. */
static void others_stay(void **state)
{
    (void)state;
    struct mc_model *m = build_model(17);
    struct mc_graph *g = m->graph;
    struct mc_value *x = input(m);
    struct mc_value *v = build_unary(g, "Tanh", "t", x);
    build_output(g, v);
    struct mc_value *two[] = {build_unary(g, "Abs", "abs", v), x};
    struct mc_value *half = build_unary(g, "Neg", "neg", two[0]);
    build_output(g, build_unary(g, "Softmax", "soft", two[0]));
    build_output(g, half);
    expect_joined(m, 0);

    m = build_model(17);
    g = m->graph;
    x = input(m);
    v = build_unary(g, "Exp", "small",
                    build_unary(g, "Tanh", "smaller", random_const(g, "c", 1, DIMS(COLS), 1)));
    v = build_binary(g, "Add", "wide", x, v);
    build_output(g, build_unary(g, "Relu", "relu", v));
    expect_joined(m, 1);
}

/* More nodes than a chain holds are cut into several. */
static void long_chains_are_cut(void **state)
{
    (void)state;
    struct mc_model *m = build_model(17);
    struct mc_graph *g = m->graph;
    struct mc_value *v = input(m);
    char name[32];
    for (int i = 0; i < 30; i++) {
        snprintf(name, sizeof name, "n%d", i);
        if (i % 2)
            v = build_unary(g, "Tanh", name, v);
        else
            v = build_binary(g, "Add", name, v,
                             random_const(g, name + 1, 1, DIMS(COLS), (uint64_t)i));
    }
    build_output(g, v);
    expect_joined(m, 30 - 3); /* of twelve at most */
}

struct form {
    bool rms, twin, reciprocal, mul, turned;
    size_t nodes;
};

static struct mc_value *mean(struct mc_graph *g, const char *name, struct mc_value *x, int64_t axis)
{
    struct mc_value *v = build_unary(g, "ReduceMean", name, x);
    struct mc_err err;
    build_ok(mc_edit_attr_ints(v->producer, "axes", &axis, 1, &err), &err);
    return v;
}

static struct mc_value *norm(struct mc_graph *g, const struct form *f, struct mc_value *x)
{
    struct mc_value *d = x, *twin = x;
    if (!f->rms) {
        struct mc_value *mu = mean(g, "mu", x, -1);
        d = twin = build_binary(g, "Sub", "d", x, mu);
        if (f->twin)
            twin = build_binary(g, "Sub", "twin", x, mu);
    }
    struct mc_value *s = f->mul ? build_binary(g, "Mul", "sq", d, d)
                                : build_binary(g, "Pow", "sq", d, one(g, "p", 2));
    s = mean(g, "var", s, -1);
    s = build_binary(g, "Add", "e", s, one(g, "eps", 1e-3F));
    s = build_unary(g, "Sqrt", "root", s);
    if (!f->reciprocal)
        return build_binary(g, "Div", "y", twin, s);
    s = build_unary(g, "Reciprocal", "inv", s);
    return f->turned ? build_binary(g, "Mul", "y", s, twin) : build_binary(g, "Mul", "y", twin, s);
}

static void norms_join(void **state)
{
    (void)state;
    static const struct form forms[] = {
        {false, false, false, false, false, 7}, {false, true, false, false, false, 8},
        {false, false, true, true, true, 8},    {true, false, false, false, false, 5},
        {true, false, true, true, false, 6},    {true, false, true, false, true, 6},
    };
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++)
        for (int affine = 0; affine < 3; affine++) {
            struct mc_model *m = build_model(13);
            struct mc_graph *g = m->graph;
            struct mc_value *v = norm(g, &forms[i], input(m));
            if (affine > 0)
                v = build_binary(g, "Mul", "scale", random_const(g, "w", 1, DIMS(COLS), 1), v);
            if (affine > 1)
                v = build_binary(g, "Add", "shift", v, random_const(g, "b", 2, DIMS(1, COLS), 2));
            build_output(g, v);
            expect_joined(m, forms[i].nodes - 1 + (size_t)affine);
        }
}

/* Another exponent, means over different dimensions, and a deviation that is handed out. */
static void near_norms_stay(void **state)
{
    (void)state;
    for (int form = 0; form < 3; form++) {
        struct mc_model *m = build_model(13);
        struct mc_graph *g = m->graph;
        struct mc_value *x = input(m);
        struct mc_value *mu = mean(g, "mu", x, form == 1 ? -2 : -1);
        struct mc_value *d = build_binary(g, "Sub", "d", x, mu);
        struct mc_value *s = build_binary(g, "Pow", "sq", d, one(g, "p", form == 0 ? 4 : 2));
        s = mean(g, "var", s, -1);
        s = build_binary(g, "Add", "e", s, one(g, "eps", 1e-3F));
        s = build_unary(g, "Sqrt", "root", s);
        build_output(g, build_binary(g, "Div", "y", d, s));
        if (form == 2)
            build_output(g, s);
        expect_joined(m, form == 1 ? 4 : 1); /* the rest of form 1 is a norm without a mean */
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(trees_join),          cmocka_unit_test(others_stay),
        cmocka_unit_test(long_chains_are_cut), cmocka_unit_test(norms_join),
        cmocka_unit_test(near_norms_stay),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
