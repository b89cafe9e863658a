/* A network of very many layers, and one of very many weights side by side, become a step graph in a time that is
 * hardly more than in proportion: the timeout of this test is the limit. */
#include <stdlib.h>

#include "graph/edit.h"
#include "graph/grad/backward.h"
#include "graph/grad/update.h"
#include "graph/run/session.h"
#include "tests/graph/build.h"

enum { WIDTH = 8, LAYERS = 5000, WIDE = 2000 };

static struct mc_value *layer(struct mc_graph *g, int i, struct mc_value *x)
{
    char name[32];
    float w[WIDTH * WIDTH] = {0};
    for (int k = 0; k < WIDTH; k++)
        w[k * WIDTH + k] = 1 + (float)((i + k) % 3) / 1000;
    snprintf(name, sizeof name, "w%d", i);
    struct mc_value *c = build_const(g, name, MC_DTYPE_F32, 2, (int64_t[]){WIDTH, WIDTH}, w);
    snprintf(name, sizeof name, "a%d", i);
    struct mc_value *a = build_binary(g, "MatMul", name, x, c);
    snprintf(name, sizeof name, "b%d", i);
    return build_unary(g, "Tanh", name, a);
}

/* Gradients of y's mean for all weights, an update, and two steps: the second is better. */
static void train(struct mc_model *m, struct mc_value *y)
{
    struct mc_err err;
    struct mc_weights w;
    struct mc_update u;
    struct mc_session *s;
    struct mc_graph *g = m->graph;
    struct mc_value *loss = build_unary(g, "ReduceMean", "loss", y);
    build_ok(mc_edit_attr_int(loss->producer, "keepdims", 0, &err), &err);
    build_output(g, loss);
    build_ok(mc_weights_find(g, NULL, &w, &err), &err);
    struct mc_value **wrt = calloc(2 * w.n, sizeof *wrt), **grad = wrt + w.n;
    const char **why = calloc(w.n, sizeof *why);
    assert_true(wrt && why);
    for (size_t i = 0; i < w.n; i++)
        wrt[i] = w.list[i].value;
    build_ok(mc_backward(g, loss, wrt, w.n, NULL, grad, why, &err), &err);
    const struct mc_update_opts o = {
        .kind = MC_OPTIMIZER_ADAM, .beta1 = 0.9, .beta2 = 0.999, .epsilon = 1e-8};
    build_ok(mc_update_build(g, &w, grad, &o, &u, &err), &err);
    struct mc_session_state state[8];
    for (size_t i = 0; i < u.n_states; i++)
        state[i] = (struct mc_session_state){u.states[i].in, u.states[i].out};
    const struct mc_session_opts so = {.state = state, .n_state = u.n_states};
    build_ok(mc_session_new(g, &so, &s, &err), &err);
    build_ok(mc_session_store(s, u.states[0].in, u.states[0].initial,
                              (size_t)u.states[0].count * sizeof(float), &err),
             &err);
    float x[2 * WIDTH], rate = 1e-3F, value[3];
    int64_t step = 1;
    for (int i = 0; i < 2 * WIDTH; i++)
        x[i] = (float)(i + 1) / 8;
    struct mc_array in[] = {
        {.name = "x",
         .dtype = MC_DTYPE_F32,
         .shape = {2, {2, WIDTH}},
         .data = x,
         .bytes = sizeof x},
        {.name = MC_UPDATE_LR, .dtype = MC_DTYPE_F32, .data = &rate, .bytes = sizeof rate},
        {.name = MC_UPDATE_STEP, .dtype = MC_DTYPE_I64, .data = &step, .bytes = sizeof step}};
    for (; step <= 3; step++) {
        build_ok(mc_session_run(s, in, 3, &err), &err);
        value[step - 1] = *(const float *)mc_session_value(s, "loss")->data;
    }
    assert_true(value[1] < value[0] && value[2] < value[1]);
    mc_session_free(s);
    mc_update_free(&u);
    mc_weights_free(&w);
    free(wrt);
    free(why);
    mc_model_free(m);
}

static void test_deep(void **state)
{
    (void)state;
    struct mc_model *m = build_model(17);
    struct mc_value *x = build_input(m->graph, "x", MC_DTYPE_F32, 2, (int64_t[]){-1, WIDTH});
    for (int i = 0; i < LAYERS; i++)
        x = layer(m->graph, i, x);
    train(m, x);
}

static void test_wide(void **state)
{
    (void)state;
    static struct mc_value *all[WIDE];
    struct mc_err err;
    struct mc_node *n;
    struct mc_model *m = build_model(17);
    struct mc_graph *g = m->graph;
    struct mc_value *x = build_input(g, "x", MC_DTYPE_F32, 2, (int64_t[]){-1, WIDTH});
    struct mc_value *y = mc_edit_value(g, "y");
    for (int i = 0; i < WIDE; i++)
        all[i] = layer(g, i, x);
    build_ok(mc_edit_node(g, g->n_nodes, "Sum", "", 13, "", all, WIDE, &y, 1, &n, &err), &err);
    train(m, y);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_deep),
        cmocka_unit_test(test_wide),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
