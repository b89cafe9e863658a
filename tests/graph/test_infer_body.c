#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <string.h>

#include "graph/infer.h"
#include "graph/summary.h"
#include "graph/verify.h"
#include "tests/graph/build.h"

static struct mc_infer *infer(struct mc_model *m)
{
    struct mc_infer *inf = NULL;
    struct mc_err err;
    build_ok(mc_verify(m, &err), &err);
    build_ok(mc_infer_run(m->graph, NULL, &inf, &err), &err);
    return inf;
}

/* dims: -1 stands for any unknown, -2 for one with the name "d2". */
static void is(const struct mc_infer *inf, const struct mc_value *v, enum mc_dtype dtype, int rank,
               const int64_t *dims)
{
    const struct mc_vtype *t = mc_infer_of(inf, v);
    assert_int_equal(t->dtype, dtype);
    assert_int_equal(t->ranked, rank >= 0);
    assert_int_equal(t->ranked ? t->shape.rank : -1, rank);
    for (int i = 0; i < rank; i++) {
        const char *name = mc_infer_symbol(inf, t->shape.dim[i]);
        if (dims[i] < 0)
            assert_true(t->shape.dim[i] < MC_DIM_ANY && (dims[i] == -2) == (name != NULL));
        else
            assert_int_equal(t->shape.dim[i], dims[i]);
    }
}

static struct mc_graph *body(struct mc_node *n, const char *attr)
{
    struct mc_err err;
    struct mc_graph *g = mc_edit_graph(n->graph->model, n->graph, n, attr);
    assert_non_null(g);
    build_ok(mc_edit_attr_graph(n, attr, g, &err), &err);
    return g;
}

static struct mc_value *body_input(struct mc_graph *g, const char *name)
{
    struct mc_value *v = mc_edit_value(g, name);
    assert_int_equal(mc_edit_input(g, v, NULL), 0);
    return v;
}

/* If(c) of two branches: Abs of x, and MatMul of x and w. */
static struct mc_value *branches(struct mc_model *m, struct mc_value *c, struct mc_value *x,
                                 struct mc_value *w)
{
    struct mc_node *n;
    struct mc_value *y = build_node(m->graph, "If", "if", 1, &c, &n);
    struct mc_graph *then = body(n, "then_branch"), *other = body(n, "else_branch");
    build_output(then, build_unary(then, "Abs", "a", mc_edit_resolve(then, x->name)));
    build_output(other, build_binary(other, "MatMul", "b", mc_edit_resolve(other, x->name),
                                     mc_edit_resolve(other, w->name)));
    build_output(m->graph, y);
    return y;
}

static void branches_meet(void **state)
{
    (void)state;
    struct mc_model *m = build_model(17);
    struct mc_value *c = build_input(m->graph, "c", MC_DTYPE_BOOL, 0, NULL);
    struct mc_value *x = build_input(m->graph, "x", MC_DTYPE_F32, 2, (int64_t[]){-2, 20});
    struct mc_value *w = build_const(m->graph, "w", MC_DTYPE_F32, 2, (int64_t[]){20, 30}, NULL);
    struct mc_value *y = branches(m, c, x, w);
    struct mc_value *z = build_unary(m->graph, "Relu", "z", y);
    struct mc_infer *inf = infer(m);
    is(inf, y, MC_DTYPE_F32, 2, (int64_t[]){-2, -1});
    is(inf, z, MC_DTYPE_F32, 2, (int64_t[]){-2, -1});
    const struct mc_graph *other = mc_node_attr(y->producer, "else_branch")->graphs[0];
    is(inf, other->outputs[0], MC_DTYPE_F32, 2, (int64_t[]){-2, 30});
    assert_true(mc_infer_macs(inf, y->producer) == -1); /* 0 or 600 */
    mc_infer_free(inf);
    mc_model_free(m);
}

static void known_conditions_choose(void **state)
{
    (void)state;
    for (int yes = 0; yes < 2; yes++) {
        struct mc_model *m = build_model(17);
        struct mc_value *c = build_const(m->graph, "c", MC_DTYPE_BOOL, 0, NULL, yes ? "\1" : "\0");
        struct mc_value *x = build_input(m->graph, "x", MC_DTYPE_F32, 2, (int64_t[]){-2, 20});
        struct mc_value *w = build_const(m->graph, "w", MC_DTYPE_F32, 2, (int64_t[]){20, 30}, NULL);
        struct mc_value *y = branches(m, c, x, w);
        struct mc_infer *inf = infer(m);
        is(inf, y, MC_DTYPE_F32, 2, (int64_t[]){-2, yes ? 20 : 30});
        mc_infer_free(inf);
        struct mc_summary sum;
        build_ok(mc_summary(m, &sum, NULL), NULL);
        assert_true(sum.macs == (yes ? 0 : 600));
        /* A body by itself: constants of the graph around it are constant in it. */
        struct mc_graph *other = mc_node_attr(y->producer, "else_branch")->graphs[0];
        build_ok(mc_infer_run(other, NULL, &inf, NULL), NULL);
        assert_ptr_equal(mc_infer_of(inf, mc_graph_value(other, "w"))->known, w->tensor);
        assert_false(mc_infer_of(inf, y)->ranked); /* not of this graph */
        mc_infer_free(inf);
        mc_model_free(m);
    }
}

/* A branch that cannot be run is no error unless it is sure to be taken: exporters write Squeeze of an axis
 * that only sometimes is 1. */
static void a_misfit_is_unknown(void **state)
{
    (void)state;
    for (int known = 0; known < 2; known++) {
        struct mc_model *m = build_model(17);
        struct mc_value *c = known ? build_const(m->graph, "c", MC_DTYPE_BOOL, 0, NULL, "\0")
                                   : build_input(m->graph, "c", MC_DTYPE_BOOL, 0, NULL);
        struct mc_value *x = build_input(m->graph, "x", MC_DTYPE_F32, 2, (int64_t[]){-2, 20});
        struct mc_value *w = build_const(m->graph, "w", MC_DTYPE_F32, 2, (int64_t[]){21, 30}, NULL);
        struct mc_value *y = branches(m, c, x, w);
        struct mc_infer *inf = NULL;
        struct mc_err err;
        int rc = mc_infer_run(m->graph, NULL, &inf, &err);
        assert_int_equal(rc, known ? MC_ESHAPE : 0);
        if (known)
            assert_non_null(strstr(err.msg, "MatMul 'b'"));
        else
            is(inf, y, MC_DTYPE_NONE, -1, NULL);
        mc_infer_free(inf);
        mc_model_free(m);
    }
}

/* Loop(5 times, true, x, x): the first stays [d2, 20], the second grows by itself in axis 1; a product of each
 * turn is stacked. */
static void loops(void **state)
{
    (void)state;
    struct mc_err err;
    struct mc_model *m = build_model(17);
    struct mc_graph *g = m->graph;
    struct mc_value *n = build_const(g, "n", MC_DTYPE_I64, 0, NULL, &(int64_t){5});
    struct mc_value *x = build_input(g, "x", MC_DTYPE_F32, 2, (int64_t[]){-2, 20});
    build_const(g, "w", MC_DTYPE_F32, 2, (int64_t[]){20, 30}, NULL);
    struct mc_value *in[] = {n, NULL, x, x};
    struct mc_value *out[] = {mc_edit_value(g, "same"), mc_edit_value(g, "grown"),
                              mc_edit_value(g, "rows")};
    struct mc_node *loop;
    build_ok(mc_edit_node(g, 0, "Loop", "", 0, "loop", in, 4, out, 3, &loop, &err), &err);
    struct mc_graph *b = body(loop, "body");
    body_input(b, "i");
    struct mc_value *go = body_input(b, "go"), *v = body_input(b, "v"), *u = body_input(b, "u");
    build_output(b, build_unary(b, "Identity", "go2", go));
    build_output(b, build_unary(b, "Abs", "v2", v));
    struct mc_node *cat;
    struct mc_value *uu = build_node(b, "Concat", "u2", 2, (struct mc_value *[]){u, u}, &cat);
    build_ok(mc_edit_attr_int(cat, "axis", 1, &err), &err);
    build_output(b, uu);
    struct mc_value *p = build_binary(b, "MatMul", "p", v, mc_edit_resolve(b, "w"));
    build_output(b, p);
    for (int i = 0; i < 3; i++)
        build_output(g, out[i]);
    struct mc_infer *inf = infer(m);
    is(inf, out[0], MC_DTYPE_F32, 2, (int64_t[]){-2, 20});
    is(inf, out[1], MC_DTYPE_F32, 2, (int64_t[]){-2, -1});
    is(inf, out[2], MC_DTYPE_F32, 3, (int64_t[]){5, -2, 30});
    is(inf, p, MC_DTYPE_F32, 2, (int64_t[]){-2, 30});
    is(inf, b->inputs[0], MC_DTYPE_I64, 0, NULL);
    mc_infer_free(inf);
    struct mc_summary sum;
    build_ok(mc_summary(m, &sum, &err), &err);
    assert_true(sum.macs == 5 * 600);

    /* A condition that the body computes: nobody knows how often it runs. */
    build_ok(mc_edit_set_input(b->outputs[0]->producer, 0, build_unary(b, "Not", "no", go), &err),
             &err);
    inf = infer(m);
    is(inf, out[2], MC_DTYPE_F32, 3, (int64_t[]){-1, -2, 30});
    assert_true(mc_infer_macs(inf, loop) == -1);
    mc_infer_free(inf);
    mc_model_free(m);
}

/* Scan of x along axis 1, written along axis 1 from the end of the rows of [d2, 30]. */
static void scans(void **state)
{
    (void)state;
    struct mc_err err;
    struct mc_model *m = build_model(17);
    struct mc_graph *g = m->graph;
    struct mc_value *s = build_input(g, "s", MC_DTYPE_F32, 2, (int64_t[]){-2, 30});
    struct mc_value *x = build_input(g, "x", MC_DTYPE_F32, 3, (int64_t[]){-2, 7, 20});
    build_const(g, "w", MC_DTYPE_F32, 2, (int64_t[]){20, 30}, NULL);
    struct mc_value *in[] = {s, x}, *out[] = {mc_edit_value(g, "last"), mc_edit_value(g, "all")};
    struct mc_node *scan;
    build_ok(mc_edit_node(g, 0, "Scan", "", 0, "scan", in, 2, out, 2, &scan, &err), &err);
    build_ok(mc_edit_attr_int(scan, "num_scan_inputs", 1, &err), &err);
    build_ok(mc_edit_attr_ints(scan, "scan_input_axes", (int64_t[]){1}, 1, &err), &err);
    build_ok(mc_edit_attr_ints(scan, "scan_output_axes", (int64_t[]){-1}, 1, &err), &err);
    struct mc_graph *b = body(scan, "body");
    struct mc_value *h = body_input(b, "h"), *t = body_input(b, "t");
    struct mc_value *p = build_binary(b, "MatMul", "p", t, mc_edit_resolve(b, "w"));
    struct mc_value *next = build_binary(b, "Add", "next", h, p);
    build_output(b, next);
    build_output(b, p);
    build_output(g, out[0]);
    build_output(g, out[1]);
    struct mc_infer *inf = infer(m);
    is(inf, t, MC_DTYPE_F32, 2, (int64_t[]){-2, 20});
    is(inf, out[0], MC_DTYPE_F32, 2, (int64_t[]){-2, 30});
    is(inf, out[1], MC_DTYPE_F32, 3, (int64_t[]){-2, 30, 7});
    mc_infer_free(inf);
    struct mc_summary sum;
    build_ok(mc_summary(m, &sum, &err), &err);
    assert_true(sum.macs == 7 * 600);
    mc_model_free(m);
}

/* Rows of the graph that has the calls, with what is behind them; also in a branch. */
static void calls(void **state)
{
    (void)state;
    struct mc_err err;
    struct mc_model *m = build_model(17);
    struct mc_graph *g = m->graph;
    build_ok(mc_edit_opset(m, "f", 1, &err), &err);
    struct mc_function *f = mc_edit_function(m, "f", "F", "");
    build_ok(mc_edit_function_opset(f, "", 17, &err), &err);
    struct mc_value *a = body_input(f->body, "a"), *k = body_input(f->body, "k");
    build_output(f->body, build_binary(f->body, "MatMul", "b", a, k));
    struct mc_value *x = build_input(g, "x", MC_DTYPE_F32, 2, (int64_t[]){-2, 20});
    struct mc_value *w = build_const(g, "w", MC_DTYPE_F32, 2, (int64_t[]){20, 30}, NULL);
    struct mc_value *y = mc_edit_value(g, "y");
    build_ok(
        mc_edit_node(g, 0, "F", "f", 0, "c", (struct mc_value *[]){x, w}, 2, &y, 1, NULL, &err),
        &err);
    struct mc_value *z = build_unary(g, "Relu", "z", y);
    build_output(g, z);
    struct mc_infer *inf = infer(m);
    is(inf, y, MC_DTYPE_F32, 2, (int64_t[]){-2, 30});
    is(inf, z, MC_DTYPE_F32, 2, (int64_t[]){-2, 30});
    assert_ptr_equal(mc_infer_of(inf, w)->known, w->tensor);
    mc_infer_free(inf);
    struct mc_summary sum;
    build_ok(mc_summary(m, &sum, &err), &err);
    assert_true(sum.macs == 600 && sum.nodes == 3);
    mc_model_free(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(branches_meet),
        cmocka_unit_test(known_conditions_choose),
        cmocka_unit_test(a_misfit_is_unknown),
        cmocka_unit_test(loops),
        cmocka_unit_test(scans),
        cmocka_unit_test(calls),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
