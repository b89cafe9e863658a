#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "graph/infer.h"
#include "tests/graph/build.h"

static int64_t dim_of(const struct mc_infer *inf, const struct mc_graph *g, const char *name, int i)
{
    const struct mc_vtype *t = mc_infer_of(inf, mc_graph_value(g, name));
    assert_true(t->ranked && i < t->shape.rank);
    return t->shape.dim[i];
}

static void symbols_travel(void **state)
{
    (void)state;
    struct mc_model *m = build_model(17);
    struct mc_graph *g = m->graph;
    struct mc_value *x = build_input(g, "x", MC_DTYPE_F32, 3, (int64_t[]){-2, 3, -1});
    struct mc_value *y = build_unary(g, "Relu", "y", x);
    build_output(g, y);
    struct mc_infer *inf;
    struct mc_err err;
    build_ok(mc_infer_run(g, NULL, &inf, &err), &err);
    assert_string_equal(mc_infer_symbol(inf, dim_of(inf, g, "y", 0)), "d2");
    assert_int_equal(dim_of(inf, g, "y", 0), dim_of(inf, g, "x", 0));
    assert_int_equal(dim_of(inf, g, "y", 1), 3);
    assert_int_equal(dim_of(inf, g, "y", 2), dim_of(inf, g, "x", 2));
    assert_true(dim_of(inf, g, "y", 2) < MC_DIM_ANY);
    assert_null(mc_infer_symbol(inf, dim_of(inf, g, "y", 2)));
    mc_infer_free(inf);

    struct mc_infer_input in = {"x", MC_DTYPE_NONE, {3, {8, 3, -1}}};
    struct mc_infer_opts o = {.inputs = &in, .n_inputs = 1};
    build_ok(mc_infer_run(g, &o, &inf, &err), &err);
    assert_int_equal(dim_of(inf, g, "y", 0), 8);
    assert_true(dim_of(inf, g, "y", 2) < 0);
    mc_infer_free(inf);
    mc_model_free(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(symbols_travel),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
