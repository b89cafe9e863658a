/* The n-th allocation fails, for every n: mc_backward says so and leaves a model that can be freed. The linker sends
 * every allocation of the program through here. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdbool.h>
#include <stdlib.h>

#include "../run/alloc_hook.h"
#include "graph/edit.h"
#include "graph/grad/backward.h"
#include "graph/grad/weights.h"

static struct mc_value *constant(struct mc_graph *g, const char *name, int64_t a, int64_t b)
{
    struct mc_shape shape = {2, {a, b}};
    struct mc_tensor *t;
    struct mc_value *v = NULL;
    if (!mc_tensor_new(MC_DTYPE_F32, &shape, NULL, &t, NULL, NULL)) {
        v = mc_edit_constant(g, name, t);
        mc_tensor_unref(t);
    }
    return v;
}

static struct mc_value *binary(struct mc_graph *g, const char *op, struct mc_value *a,
                               struct mc_value *b)
{
    struct mc_value *in[2] = {a, b}, *y = a && b ? mc_edit_fresh(g, op) : NULL;
    if (!y || mc_edit_node(g, g->n_nodes, op, "", 17, op, in, 2, &y, 1, NULL, NULL))
        return NULL;
    return y;
}

/* loss = u ((x w + b) (x w + b)) v, and a weight behind an operator that has no rule. */
static struct mc_value *fill(struct mc_model *m)
{
    struct mc_dim dim[2] = {{-1, "batch"}, {3, NULL}};
    if (mc_edit_opset(m, "", 17, NULL) || mc_edit_opset(m, "unknown", 1, NULL) ||
        !mc_edit_graph(m, NULL, NULL, "main"))
        return NULL;
    struct mc_graph *g = m->graph;
    struct mc_value *x = mc_edit_value(g, "x"), *y = mc_edit_value(g, "y"), *in;
    if (!x || !y || mc_edit_input(g, x, NULL) || !mc_edit_type(x, MC_DTYPE_F32, 2, dim) ||
        !mc_edit_type(y, MC_DTYPE_F32, 2, (struct mc_dim[]){{1, NULL}, {2, NULL}}))
        return NULL;
    in = constant(g, "frozen", 1, 2);
    if (!in || mc_edit_node(g, 0, "Opaque", "unknown", 1, "", &in, 1, &y, 1, NULL, NULL))
        return NULL;
    struct mc_value *h = binary(g, "MatMul", x, constant(g, "w", 3, 2));
    h = binary(g, "Add", binary(g, "Add", h, constant(g, "b", 1, 2)), y);
    h = binary(g, "MatMul", constant(g, "u", 1, 4), binary(g, "Mul", h, h));
    h = binary(g, "MatMul", h, constant(g, "v", 2, 1));
    return h && !mc_edit_output(g, h, NULL) ? h : NULL;
}

/* Everything once; false when memory ran out on the way. */
static bool whole_run(void)
{
    struct mc_model *m = NULL;
    struct mc_value *wrt[8], *grad[8], *loss = NULL;
    const char *why[8];
    struct mc_weights w = {0};
    size_t n = 0, found = 0;
    bool ok =
        !mc_model_new(&m, NULL) && (loss = fill(m)) && !mc_weights_find(m->graph, NULL, &w, NULL);
    for (size_t i = 0; ok && i < w.n && n < 8; i++)
        wrt[n++] = w.list[i].value;
    struct mc_value *frozen = ok ? mc_graph_value(m->graph, "frozen") : NULL;
    if (ok)
        wrt[n++] = frozen;
    struct mc_err err = {0};
    int rc = ok ? mc_backward(m->graph, loss, wrt, n, NULL, grad, why, &err) : MC_ENOMEM;
    assert_true(rc == 0 || rc == MC_ENOMEM);
    for (size_t i = 0; !rc && i < n; i++)
        found += grad[i] != NULL;
    assert_true(rc || found == 4);
    mc_weights_free(&w);
    mc_model_free(m);
    return rc == 0;
}

static void every_allocation_may_fail(void **state)
{
    (void)state;
    assert_true(whole_run());
    long n = 0;
    bool ok = false;
    for (; !ok && n < 5000; n++) {
        allocations_left = n;
        ok = whole_run();
        bool failed = allocations_left < 0;
        allocations_left = -1;
        assert_true(ok != failed); /* an allocation that fails is an error, and there is no other */
    }
    assert_true(ok);
    print_message("%ld allocations\n", n);
    assert_true(n > 40);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_allocation_may_fail)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
