/* The n-th allocation fails, for every n, while functions of ai.mcompress are written, inlined and expanded: an error, or what would
 * have come out anyway. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "graph/edit.h"
#include "graph/inline.h"
#include "graph/opset.h"
#include "graph/own/own.h"
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

static struct mc_value *zeros(struct mc_graph *g, enum mc_dtype dtype, struct mc_shape shape)
{
    struct mc_tensor *t;
    if (mc_tensor_new(dtype, &shape, NULL, &t, NULL, NULL))
        return NULL;
    struct mc_value *v = mc_edit_constant(g, "v", t);
    mc_tensor_unref(t);
    return v;
}

static bool call(struct mc_graph *g, const char *function, struct mc_value *a, struct mc_value *b,
                 struct mc_own_form form)
{
    struct mc_value *y = a && b ? mc_edit_fresh(g, "w") : NULL;
    return y &&
           !mc_own_call(g, g->n_nodes, function, "call", (struct mc_value *[]){a, b}, 2, &y, 1,
                        mc_own_set_form, &form, NULL, NULL) &&
           !mc_edit_output(g, y, NULL);
}

static struct mc_shape of(int rank, int64_t a, int64_t b, int64_t c, int64_t d)
{
    return mc_shape_of(rank, (const int64_t[]){a, b, c, d});
}

static bool fill(struct mc_model *m)
{
    const enum mc_dtype U8 = MC_DTYPE_U8, F32 = MC_DTYPE_F32;
    if (mc_edit_opset(m, "", 11, NULL) || !mc_edit_graph(m, NULL, NULL, "main"))
        return false;
    struct mc_graph *g = m->graph;
    struct mc_own_form form = {.shape = of(2, 3, 11, 0, 0), .columns = 11};
    if (!call(g, "BinaryWeight", zeros(g, U8, of(2, 3, 2, 0, 0)), zeros(g, F32, of(2, 3, 1, 0, 0)),
              form))
        return false;
    form = (struct mc_own_form){.shape = of(2, 3, 5, 0, 0), .count = 15, .bits = 3};
    if (!call(g, "SharedPlanes", zeros(g, U8, of(2, 3, 2, 0, 0)), zeros(g, F32, of(1, 8, 0, 0, 0)),
              form))
        return false;
    form = (struct mc_own_form){.shape = of(3, 1, 6, 5, 0)};
    return call(g, "GateWeight", zeros(g, F32, of(3, 1, 2, 5, 0)), zeros(g, F32, of(4, 1, 3, 2, 1)),
                form) &&
           !mc_opset_lift(m, 0, NULL);
}

/* Everything once; false after an error. */
static bool whole_run(void)
{
    struct mc_model *m = NULL, *copy = NULL;
    struct mc_summary s;
    bool ok = !mc_model_new(&m, NULL) && fill(m) && !mc_model_clone(m, &copy, NULL);
    ok = ok && !mc_summary(m, &s, NULL);
    ok = ok && !mc_own_inline(copy, NULL) && !mc_verify(copy, NULL);
    ok = ok && !mc_own_expand(m, NULL) && !mc_verify(m, NULL);
    if (ok) {
        assert_int_equal(m->n_functions, 0);
        assert_int_equal(m->graph->n_nodes, 0);
        assert_int_equal(copy->n_functions, 0);
    }
    mc_model_free(m);
    mc_model_free(copy);
    return ok;
}

static void every_allocation_may_fail(void **state)
{
    (void)state;
    assert_true(whole_run());
    long n = 0, errors = 0;
    bool failed = true;
    for (; failed && n < 20000; n++) {
        left = n;
        bool ok = whole_run();
        failed = left < 0;
        left = -1;
        assert_true(ok || failed);
        errors += !ok;
    }
    assert_false(failed);
    assert_true(errors > 100);
}

/* Otherwise a lack of memory would read like another's function. */
static void recognising_takes_no_memory(void **state)
{
    (void)state;
    struct mc_model *m = NULL;
    assert_int_equal(mc_model_new(&m, NULL), 0);
    assert_true(fill(m));
    for (size_t i = 0; i < m->graph->n_nodes; i++) {
        left = 0;
        const struct mc_own *own = mc_own_find(m->graph->nodes[i]);
        bool failed = left < 0;
        left = -1;
        assert_non_null(own);
        assert_false(failed);
    }
    mc_model_free(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_allocation_may_fail),
                                       cmocka_unit_test(recognising_takes_no_memory)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
