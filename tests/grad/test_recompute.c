/* Recomputation: less planned memory, the same bits. Arguments: models. */
#include "../run/run_util.h"

#include "base/mem.h"
#include "formats/onnx.h"
#include "graph/grad/recompute.h"
#include "graph/grad/rule.h"
#include "step_model.h"

static const char *const *models;
static int n_models;

struct data {
    struct mc_array in[8];
    int n;
};

/* Random inputs and scalars for a batch. */
static struct data data_for(const struct mc_session *s, int64_t batch)
{
    struct data d = {.n = mc_session_n_inputs(s)};
    assert_true(d.n <= 8);
    for (int i = 0; i < d.n; i++) {
        struct mc_array *a = &d.in[i];
        *a = *mc_session_input(s, i);
        for (int k = 0; k < a->shape.rank; k++)
            a->shape.dim[k] = a->shape.dim[k] < 0 ? batch : a->shape.dim[k];
        assert_true(mc_dtype_bytes(a->dtype, mc_shape_count(&a->shape), &a->bytes));
        a->data = mc_calloc(a->bytes + 1, 1);
        assert_non_null(a->data);
        if (a->dtype == MC_DTYPE_F32 && a->shape.rank)
            mc_rng_fill_normal(1, (uint64_t)i, 0, a->data, a->bytes / 4);
        else if (a->dtype == MC_DTYPE_F32)
            *(float *)a->data = 0.01f;
        for (size_t k = 0; a->dtype == MC_DTYPE_I64 && k < a->bytes / 8; k++)
            ((int64_t *)a->data)[k] = a->shape.rank ? (int64_t)(k * 7 % 10) : 1;
    }
    return d;
}

static void free_data(struct data *d)
{
    for (int i = 0; i < d->n; i++)
        free(d->in[i].data);
}

static struct step_model step_of(struct mc_model *m)
{
    struct step_model s;
    struct mc_err err;
    const struct mc_update_opts o = {.kind = MC_OPTIMIZER_SGD, .momentum = 0.9};
    build_ok(step_model_new(m, &o, &s, &err), &err);
    return s;
}

static struct step_model step_of_file(const char *path)
{
    struct mc_model *m;
    struct mc_err err;
    build_ok(mc_onnx_read(path, &m, &err), &err);
    return step_of(m);
}

/* All states and the loss after `steps` steps. */
static uint8_t *train(const struct step_model *s, const struct mc_recompute *r, int64_t batch,
                      int steps, size_t *ret_bytes, size_t *ret_arena)
{
    struct mc_session *session;
    struct mc_err err;
    struct mc_session_opts so = {0};
    if (r) {
        so.apart = r->apart;
        so.n_apart = r->n_apart;
    }
    build_ok(step_model_session(s, &so, &session, &err), &err);
    struct data d = data_for(session, batch);
    for (int i = 0; i < steps; i++)
        run_ok(session, d.in, d.n);
    size_t bytes = 4;
    for (size_t i = 0; i < s->u.n_states; i++)
        bytes += (size_t)s->u.states[i].count * 4;
    uint8_t *all = mc_calloc(bytes, 1), *at = all + 4;
    assert_non_null(all);
    memcpy(all, mc_session_value(session, STEP_LOSS)->data, 4);
    for (size_t i = 0; i < s->u.n_states; i++) {
        size_t part = (size_t)s->u.states[i].count * 4;
        build_ok(mc_session_fetch(session, s->u.states[i].in, at, part, &err), &err);
        at += part;
    }
    struct mc_session_stats st;
    mc_session_stats(session, &st);
    *ret_arena = st.arena_bytes + st.packed_bytes + st.state_bytes;
    *ret_bytes = bytes;
    free_data(&d);
    mc_session_free(session);
    return all;
}

static int recompute(struct step_model *s, int64_t batch, size_t limit, struct mc_recompute *ret,
                     struct mc_err *err)
{
    struct mc_session *session;
    struct mc_session_state pair[8];
    build_ok(step_model_session(s, &(struct mc_session_opts){0}, &session, err), err);
    struct data d = data_for(session, batch);
    mc_session_free(session);
    for (size_t i = 0; i < s->u.n_states; i++)
        pair[i] = (struct mc_session_state){s->u.states[i].in, s->u.states[i].out};
    const struct mc_session_opts so = {.state = pair, .n_state = s->u.n_states};
    const struct mc_recompute_opts o = {
        .limit = limit, .session = &so, .inputs = d.in, .n_inputs = d.n};
    int rc = mc_recompute(s->m, STEP_LOSS, &o, ret, err);
    free_data(&d);
    return rc;
}

/* Of a step graph at this batch: planned memory down to the smallest there is, the same weights, moments, statistics
 * and loss. */
static void same_bits(struct step_model (*make)(const char *), const char *path, int64_t batch,
                      double at_least)
{
    struct step_model plain = make(path), small = make(path);
    struct mc_recompute r;
    struct mc_err err;
    size_t bytes, arena, less, again;
    assert_int_equal(recompute(&small, batch, 1, &r, &err), MC_EUSAGE);
    const char *text = strstr(err.msg, "at least ");
    assert_non_null(text);
    size_t least = strtoull(text + strlen("at least "), NULL, 10);
    build_ok(recompute(&small, batch, least, &r, &err), &err);
    assert_true(r.after <= least);
    print_message("planned %zu, with %zu nodes again %zu bytes\n", r.before, r.n_nodes, r.after);
    assert_true(r.n_nodes > 0 || at_least == 1);
    if (!((double)r.after <= at_least * (double)r.before))
        fail_msg("%s: from %zu to %zu bytes only", path ? path : "net", r.before, r.after);
    uint8_t *want = train(&plain, NULL, batch, 2, &bytes, &arena);
    uint8_t *got = train(&small, &r, batch, 2, &again, &less);
    assert_int_equal(arena, r.before);
    assert_int_equal(less, r.after);
    assert_int_equal(bytes, again);
    if (memcmp(got, want, bytes))
        fail_msg("%s: other bits", path ? path : "net");
    free(want);
    free(got);
    step_model_free(&plain);
    step_model_free(&small);
}

static void reference_models(void **unused)
{
    (void)unused;
    for (int i = 0; i < n_models; i++) {
        print_message("%s\n", models[i]);
        same_bits(step_of_file, models[i], 8, 1);
    }
}

/* A norm of rows as exporters write it: one node where no gradient reads what is in between. */
static struct mc_value *written_norm(struct mc_graph *g, struct mc_value *x)
{
    struct mc_value *axes = build_const(g, "axes", MC_DTYPE_I64, 1, DIMS(1), DIMS(1));
    struct mc_value *eps = f32_const(g, "eps", 0, NULL, F(1e-3f));
    struct mc_value *two = f32_const(g, "two", 0, NULL, F(2));
    struct mc_value *d =
        build_binary(g, "Sub", "d", x, build_binary(g, "ReduceMean", "m", x, axes));
    struct mc_value *square = build_binary(g, "Pow", "square", d, two);
    struct mc_value *var = build_binary(g, "ReduceMean", "var", square, axes);
    struct mc_value *root = build_unary(g, "Sqrt", "root", build_binary(g, "Add", "v", var, eps));
    return build_binary(g, "Div", "normed", d, root);
}

/* Ten layers of products, normalization in training mode and functions whose gradients read what they read. */
static struct step_model deep(const char *unused)
{
    (void)unused;
    enum { WIDTH = 32 };
    struct mc_model *m = build_model(20);
    struct mc_graph *g = m->graph;
    struct mc_value *x = build_input(g, "x", MC_DTYPE_F32, 2, DIMS(-2, WIDTH));
    for (int i = 0; i < 10; i++) {
        uint64_t seed = 10 * (uint64_t)i;
        struct mc_value *skip = x;
        x = build_binary(g, "MatMul", "product", x,
                         random_const(g, "w", 2, DIMS(WIDTH, WIDTH), seed));
        struct mc_value *bn[] = {
            x, random_const(g, "scale", 1, DIMS(WIDTH), seed + 1),
            random_const(g, "bias", 1, DIMS(WIDTH), seed + 2),
            random_const(g, "mean", 1, DIMS(WIDTH), seed + 3),
            build_unary(g, "Exp", "var", random_const(g, "v", 1, DIMS(WIDTH), seed + 4))};
        x = build_node(g, "BatchNormalization", "norm", 5, bn, NULL);
        x = build_unary(g, i % 2 ? "Softplus" : "Gelu", "act", x);
        x = i % 3 == 1 ? written_norm(g, x) : x;
        if (i % 3 == 2)
            x = build_binary(g, "Add", "sum", x, skip);
    }
    x = build_binary(g, "MatMul", "scores", x, random_const(g, "last", 2, DIMS(WIDTH, 10), 1000));
    build_output(g, x);
    return step_of(m);
}

static void statistics_move_once(void **unused)
{
    (void)unused;
    same_bits(deep, NULL, 300, 0.75);
}

static void a_limit_between_is_cheaper(void **unused)
{
    (void)unused;
    struct step_model s = deep(NULL);
    struct mc_recompute all, some, none;
    struct mc_err err;
    build_ok(recompute(&s, 300, SIZE_MAX, &none, &err), &err);
    assert_int_equal(none.n_nodes, 0);
    assert_int_equal(none.after, none.before);
    step_model_free(&s);
    s = deep(NULL);
    build_ok(recompute(&s, 300, none.before - 1, &some, &err), &err);
    assert_true(some.n_nodes > 0 && some.after < none.before);
    step_model_free(&s);
    s = deep(NULL);
    build_ok(recompute(&s, 300, none.before * 3 / 4, &all, &err), &err);
    assert_true(all.after <= none.before * 3 / 4);
    assert_true(some.n_nodes < all.n_nodes);
    step_model_free(&s);
}

static struct step_model drawn(const char *unused)
{
    (void)unused;
    struct mc_model *m = build_model(20);
    struct mc_graph *g = m->graph;
    struct mc_value *x = build_input(g, "x", MC_DTYPE_F32, 2, DIMS(-2, 16));
    for (int i = 0; i < 6; i++) {
        struct mc_node *n;
        x = build_binary(g, "MatMul", "p", x,
                         random_const(g, "w", 2, DIMS(16, 16), 50 + (uint64_t)i));
        struct mc_value *noise = build_node(g, "RandomNormal", "noise", 0, NULL, &n);
        assert_int_equal(mc_edit_attr_ints(n, "shape", DIMS(1, 16), 2, NULL), 0);
        x = build_binary(g, "Mul", "noisy", build_unary(g, "Gelu", "a", x), noise);
    }
    build_output(g, build_binary(g, "MatMul", "y", x, random_const(g, "l", 2, DIMS(16, 10), 9)));
    return step_of(m);
}

/* A random node stays alone. */
static void nothing_is_drawn_twice(void **unused)
{
    (void)unused;
    struct step_model s = drawn(NULL);
    struct mc_recompute r;
    struct mc_err err;
    size_t before = s.g->n_nodes, random = 0;
    assert_int_equal(recompute(&s, 300, 1, &r, &err), MC_EUSAGE);
    assert_int_equal(s.g->n_nodes, before);
    size_t least = strtoull(strstr(err.msg, "at least ") + strlen("at least "), NULL, 10);
    build_ok(recompute(&s, 300, least, &r, &err), &err);
    assert_true(s.g->n_nodes > before);
    for (size_t i = 0; i < s.g->n_nodes; i++)
        random += mc_node_is(s.g->nodes[i], "RandomNormal");
    assert_int_equal(random, 6);
    step_model_free(&s);
}

static void refused(void **unused)
{
    (void)unused;
    struct step_model s = deep(NULL);
    struct mc_recompute r;
    struct mc_err err;
    const struct mc_session_opts so = {0};
    const struct mc_recompute_opts o = {.limit = 1, .session = &so};
    assert_int_equal(mc_recompute(s.m, "nothing", &o, &r, &err), MC_EUSAGE);
    assert_non_null(strstr(err.msg, "no loss 'nothing'"));
    step_model_free(&s);
}

int main(int argc, char **argv)
{
    models = (const char *const *)argv + 1;
    n_models = argc - 1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(statistics_move_once),   cmocka_unit_test(a_limit_between_is_cheaper),
        cmocka_unit_test(nothing_is_drawn_twice), cmocka_unit_test(refused),
        cmocka_unit_test(reference_models),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
