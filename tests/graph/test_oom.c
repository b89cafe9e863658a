/* The n-th allocation fails, for every n: edits, clones, checks and inference say so and leave a model that can
 * be freed. The linker sends every allocation of the program through here. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdbool.h>
#include <stdlib.h>

#include "graph/constant.h"
#include "graph/edit.h"
#include "graph/infer.h"
#include "graph/summary.h"
#include "graph/verify.h"

void *__real_malloc(size_t n);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t n);
void *__real_aligned_alloc(size_t align, size_t n);
void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t n);
void *__wrap_aligned_alloc(size_t align, size_t n);

static long left = -1; /* allocations until one fails; negative: none does */

static bool fails(void)
{
    return left >= 0 && left-- == 0;
}

void *__wrap_malloc(size_t n)
{
    return fails() ? NULL : __real_malloc(n);
}

void *__wrap_calloc(size_t n, size_t size)
{
    return fails() ? NULL : __real_calloc(n, size);
}

void *__wrap_realloc(void *p, size_t n)
{
    return fails() ? NULL : __real_realloc(p, n);
}

void *__wrap_aligned_alloc(size_t align, size_t n)
{
    return fails() ? NULL : __real_aligned_alloc(align, n);
}

/* y = f(x) by a node of that type; NULL when out of memory. */
static struct mc_value *unary(struct mc_graph *g, const char *op, struct mc_value *x,
                              struct mc_node **ret)
{
    struct mc_value *y = x ? mc_edit_fresh(g, "v") : NULL;
    if (!y || mc_edit_node(g, g->n_nodes, op, "", 0, "", &x, 1, &y, 1, ret, NULL))
        return NULL;
    return y;
}

static bool add_body(struct mc_graph *g, struct mc_node *n, const char *capture)
{
    struct mc_graph *body = mc_edit_graph(g->model, g, n, "body");
    if (!body || mc_edit_attr_graph(n, "then_branch", body, NULL))
        return false;
    struct mc_value *y = unary(body, "Relu", mc_edit_resolve(body, capture), NULL);
    return y && !mc_edit_output(body, y, NULL);
}

/* Names enough to let every table and list grow. */
static bool fill(struct mc_model *m)
{
    struct mc_shape shape = {1, {70}};
    struct mc_tensor *t;
    struct mc_value *w = NULL;
    if (mc_edit_opset(m, "", 17, NULL) || !mc_edit_graph(m, NULL, NULL, "main"))
        return false;
    struct mc_graph *g = m->graph;
    struct mc_value *x = mc_edit_value(g, "x");
    if (!x || mc_edit_input(g, x, NULL) ||
        !mc_edit_type(x, MC_DTYPE_F32, 1, &(struct mc_dim){-1, "batch"}))
        return false;
    if (!mc_tensor_new(MC_DTYPE_F32, &shape, NULL, &t, NULL, NULL)) {
        w = mc_edit_constant(g, "w", t);
        mc_tensor_unref(t);
    }
    struct mc_value *v = w ? unary(g, "Abs", w, NULL) : NULL, *first = v;
    for (int i = 0; v && i < 12; i++) {
        struct mc_node *n;
        v = unary(g, i % 4 ? "Relu" : "If", v, &n);
        if (!v || mc_edit_attr_int(n, "k", i, NULL) ||
            (i % 4 == 0 && !add_body(g, n, i % 8 ? "x" : "v")))
            return false;
    }
    if (!v || mc_edit_output(g, v, NULL))
        return false;
    struct mc_function *f = mc_edit_function(m, "my", "f", "");
    return f && !mc_edit_function_opset(f, "", 17, NULL) && !mc_edit_replace_uses(first, x, NULL) &&
           !mc_edit_replace_uses(v, x, NULL);
}

static bool look(struct mc_model *m)
{
    struct mc_summary s;
    struct mc_infer *inf = NULL;
    bool ok = !mc_verify(m, NULL) && !mc_summary(m, &s, NULL) &&
              !mc_infer_run(m->graph, NULL, &inf, NULL);
    mc_infer_free(inf);
    return ok;
}

/* Everything once; false when memory ran out on the way. */
static bool whole_run(void)
{
    struct mc_model *m = NULL, *copy = NULL;
    bool ok = !mc_model_new(&m, NULL) && fill(m) && !mc_model_clone(m, &copy, NULL);
    if (ok) {
        float *f = NULL;
        int64_t n;
        mc_edit_sweep(m->graph);
        ok = !mc_constant_f32(mc_graph_value(copy->graph, "w"), &f, &n, NULL) && look(copy) &&
             look(m);
        free(f);
    }
    mc_model_free(m);
    mc_model_free(copy);
    return ok;
}

static void every_allocation_may_fail(void **state)
{
    (void)state;
    assert_true(whole_run());
    long n = 0;
    bool ok = false;
    for (; !ok && n < 5000; n++) {
        left = n;
        ok = whole_run();
        bool failed = left < 0;
        left = -1;
        assert_true(ok != failed); /* an allocation that fails is an error, and there is no other */
    }
    assert_true(ok);
    assert_true(n > 100);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_allocation_may_fail)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
