/* mc_backward on graphs: what is summed, what is frozen and why, what is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <math.h>
#include <stdlib.h>

#include "base/rng.h"
#include "rule_check.h"
#include "graph/grad/backward.h"
#include "graph/inline.h"
#include "graph/run/fold.h"
#include "graph/run/session.h"
#include "graph/verify.h"
#include "graph_check.h"
#include "tests/graph/build.h"

static struct mc_value *scalar(struct mc_graph *g, const char *name, float x)
{
    return build_const(g, name, MC_DTYPE_F32, 0, NULL, &x);
}

/* The value of a result, fed with x = 3 where there is an x. */
static double number(struct mc_model *m, const struct mc_value *v)
{
    struct mc_session *s;
    struct mc_err err;
    double x = 3;
    struct mc_array in = {.name = "x", .dtype = MC_DTYPE_F64, .data = &x, .bytes = sizeof x};
    struct mc_session_opts o = {.precision = MC_PRECISION_F64, .only = &v->name, .n_only = 1};
    build_ok(mc_verify(m, &err), &err);
    build_ok(mc_session_new(m->graph, &o, &s, &err), &err);
    build_ok(mc_session_run(s, &in, mc_session_n_inputs(s) ? 1 : 0, &err), &err);
    double ret = *(const double *)mc_session_value(s, v->name)->data;
    mc_session_free(s);
    return ret;
}

static void is_number(struct mc_model *m, const struct mc_value *v, double want)
{
    assert_non_null(v);
    double got = number(m, v);
    if (!(fabs(got - want) <= 1e-12))
        fail_msg("'%s' is %.17g, not %.17g", v->name, got, want);
}

static void backward(struct mc_model *m, const char *loss, size_t n, const char *const *wrt,
                     struct mc_value **grad, const char **why)
{
    struct mc_err err;
    build_ok(graph_backward(m, loss, wrt, n, grad, why, &err), &err);
}

#define NAMES(...) ((const char *const[]){__VA_ARGS__})

static void uses_are_summed(void **state)
{
    (void)state;
    struct mc_model *m = build_model(17);
    struct mc_graph *g = m->graph;
    struct mc_value *grad[2];
    const char *why[2];
    struct mc_value *x = build_input(g, "x", MC_DTYPE_F32, 0, NULL), *w = scalar(g, "w", 5);
    struct mc_value *ww = build_binary(g, "Mul", "ww", w, w);
    struct mc_value *y = build_binary(g, "Mul", "y", ww, x); /* also an output */
    build_output(g, y);
    struct mc_value *z = build_binary(g, "Sub", "z", build_binary(g, "Add", "a", y, w), x);
    build_output(g, build_binary(g, "Mul", "loss", z, y));
    /* z = w w x + w - x = 77, y = w w x = 75 */
    backward(m, "loss", 2, NAMES("w", "x"), grad, why);
    is_number(m, y, 75);
    is_number(m, grad[0], 31 * 75.0 + 77 * 30.0);
    is_number(m, grad[1], 24 * 75.0 + 77 * 25.0);
    mc_model_free(m);
}

static void the_loss_by_itself_and_inner_values(void **state)
{
    (void)state;
    struct mc_model *m = build_model(17);
    struct mc_graph *g = m->graph;
    struct mc_value *grad[4];
    const char *why[4];
    struct mc_value *w = scalar(g, "w", 5), *x = build_input(g, "x", MC_DTYPE_F32, 0, NULL);
    struct mc_value *h = build_binary(g, "Mul", "h", w, x);
    build_output(g, build_binary(g, "Mul", "loss", h, h));
    build_output(g, build_binary(g, "Add", "other", h, scalar(g, "u", 1)));
    backward(m, "loss", 4, NAMES("loss", "h", "w", "u"), grad, why);
    is_number(m, grad[0], 1);
    is_number(m, grad[1], 30);
    is_number(m, grad[2], 90);
    assert_null(grad[3]);
    assert_non_null(strstr(why[3], "does not depend on it"));
    mc_model_free(m);
}

static size_t nodes_of(const struct mc_graph *g, const char *op)
{
    size_t n = 0;
    for (size_t i = 0; i < g->n_nodes; i++)
        n += !strcmp(g->nodes[i]->op_type, op);
    return n;
}

/* An operator nobody knows, between values of declared types. */
static struct mc_value *opaque_of(struct mc_graph *g, struct mc_value *x, enum mc_dtype dtype)
{
    struct mc_err err;
    struct mc_value *y = build_value(g, "opaque_y", dtype, 0, NULL);
    build_ok(mc_edit_opset(g->model, "unknown", 1, &err), &err);
    build_ok(
        mc_edit_node(g, g->n_nodes, "Opaque", "unknown", 1, "the_opaque", &x, 1, &y, 1, NULL, &err),
        &err);
    return y;
}

static struct mc_value *opaque(struct mc_graph *g, struct mc_value *x)
{
    return opaque_of(g, x, MC_DTYPE_F32);
}

static void an_operator_without_a_rule_freezes(void **state)
{
    (void)state;
    struct mc_model *m = build_model(17);
    struct mc_graph *g = m->graph;
    struct mc_value *grad[3];
    const char *why[3];
    struct mc_value *x = build_input(g, "x", MC_DTYPE_F32, 0, NULL);
    struct mc_value *below = scalar(g, "below", 2), *above = scalar(g, "above", 7);
    struct mc_value *beside = scalar(g, "beside", 4);
    struct mc_value *y = opaque(g, build_binary(g, "Mul", "h", above, x));
    struct mc_value *z = build_binary(g, "Mul", "z", y, below);
    build_output(g, build_binary(g, "Add", "loss", z, build_binary(g, "Mul", "b", beside, x)));
    backward(m, "loss", 3, NAMES("below", "above", "beside"), grad, why);
    assert_non_null(grad[0]);
    assert_null(grad[1]);
    assert_non_null(strstr(why[1], "Opaque 'the_opaque'"));
    assert_non_null(strstr(why[1], "no gradient rule"));
    is_number(m, grad[2], 3);
    /* Nothing was made for what is frozen: z by below, b by beside. */
    assert_int_equal(nodes_of(g, "Mul"), 3 + 2);
    mc_model_free(m);
}

static void nothing_to_train_is_an_error(void **state)
{
    (void)state;
    struct mc_model *m = build_model(17);
    struct mc_graph *g = m->graph;
    struct mc_err err = {0};
    struct mc_value *y = opaque(g, scalar(g, "w", 2));
    build_output(g, build_binary(g, "Mul", "loss", y, y));
    assert_int_equal(graph_backward(m, "loss", NAMES("w"), 1, NULL, NULL, &err), MC_EUNSUP);
    assert_non_null(strstr(err.msg, "Opaque 'the_opaque'"));
    mc_model_free(m);
    m = build_model(17);
    build_output(m->graph, build_binary(m->graph, "Mul", "loss", scalar(m->graph, "w", 2),
                                        scalar(m->graph, "v", 2)));
    assert_int_equal(graph_backward(m, "loss", NULL, 0, NULL, NULL, &err), MC_EUNSUP);
    assert_non_null(strstr(err.msg, "no parameters"));
    mc_model_free(m);
}

static void zero_rules_freeze_nothing(void **state)
{
    (void)state;
    struct mc_model *m = build_model(17);
    struct mc_graph *g = m->graph;
    struct mc_value *grad[2];
    const char *why[2];
    struct mc_value *x = build_input(g, "x", MC_DTYPE_F32, 0, NULL), *w = scalar(g, "w", 2.5F);
    struct mc_value *f = build_unary(g, "Floor", "floor", build_binary(g, "Mul", "h", w, x));
    struct mc_value *steps = scalar(g, "steps", 1.5F);
    struct mc_value *s = build_unary(g, "Sign", "sign", steps);
    struct mc_value *y = build_binary(g, "Mul", "y", f, build_binary(g, "Mul", "k", w, s));
    build_output(g, y);
    build_output(g, build_binary(g, "Add", "loss", y, y));
    backward(m, "loss", 2, NAMES("w", "steps"), grad, why);
    is_number(m, grad[0], 14); /* floor(w x) sign 2 */
    assert_null(grad[1]);
    assert_non_null(strstr(why[1], "does not depend on it"));
    mc_model_free(m);
}

static void whole_numbers_freeze_nothing(void **state)
{
    (void)state;
    struct mc_model *m = build_model(17);
    struct mc_graph *g = m->graph;
    struct mc_value *grad[2];
    const char *why[2];
    struct mc_value *w = build_const(g, "w", MC_DTYPE_F32, 1, (int64_t[]){3}, NULL);
    struct mc_value *i =
        opaque_of(g, build_binary(g, "Mul", "h", scalar(g, "v", 2), w), MC_DTYPE_I64);
    build_output(g, build_binary(g, "Gather", "loss", w, i));
    backward(m, "loss", 2, NAMES("w", "v"), grad, why);
    assert_non_null(grad[0]);
    assert_null(grad[1]);
    assert_non_null(strstr(why[1], "does not depend on it"));
    mc_model_free(m);
}

/* Between quantised numbers an operator without a rule is a reason like any other. */
static void quantised_products_freeze(void **state)
{
    (void)state;
    struct mc_model *m = build_model(17);
    struct mc_graph *g = m->graph;
    struct mc_value *grad[2];
    const char *why[2];
    int8_t zero = 0;
    struct mc_value *w = build_const(g, "w", MC_DTYPE_F32, 2, (int64_t[]){1, 1}, (float[]){3});
    struct mc_value *v = build_const(g, "v", MC_DTYPE_F32, 2, (int64_t[]){1, 1}, (float[]){2});
    struct mc_value *s = scalar(g, "s", 0.5F),
                    *z = build_const(g, "z", MC_DTYPE_I8, 0, NULL, &zero);
    struct mc_value *in[3] = {w, s, z};
    struct mc_value *q = build_node(g, "QuantizeLinear", "q", 3, in, NULL);
    struct mc_value *product[8] = {q, s, z, q, s, z, s, z};
    struct mc_value *p = build_node(g, "QLinearMatMul", "product", 8, product, NULL);
    struct mc_value *back[3] = {p, s, z};
    struct mc_value *y = build_node(g, "DequantizeLinear", "y", 3, back, NULL);
    build_output(g, build_binary(g, "Mul", "loss", y, v));
    backward(m, "loss", 2, NAMES("w", "v"), grad, why);
    assert_null(grad[0]);
    assert_non_null(strstr(why[0], "QLinearMatMul 'product'"));
    assert_non_null(grad[1]);
    mc_model_free(m);
}

static void loss_fails(struct mc_model *m, const char *loss, int code, const char *words)
{
    struct mc_err err = {0};
    int rc = graph_backward(m, loss, NAMES("w"), 1, NULL, NULL, &err);
    if (rc != code || !strstr(err.msg, words) || !strstr(err.msg, loss))
        fail_msg("%s: %s", mc_code_name(rc), err.msg);
}

static void a_loss_is_one_number(void **state)
{
    (void)state;
    struct mc_model *m = build_model(17);
    struct mc_graph *g = m->graph;
    struct mc_value *w = build_const(g, "w", MC_DTYPE_F32, 2, (int64_t[]){2, 3}, NULL);
    struct mc_value *x = build_input(g, "x", MC_DTYPE_F32, 2, (int64_t[]){-2, 3});
    build_output(g, build_binary(g, "Mul", "six", w, w));
    build_output(g, build_binary(g, "Mul", "open", w, x));
    build_output(g, build_unary(g, "Shape", "whole", w));
    build_output(g, opaque(g, w));
    loss_fails(m, "six", MC_ESHAPE, "not a single number");
    loss_fails(m, "open", MC_ESHAPE, "not a single number");
    loss_fails(m, "whole", MC_EDTYPE, "not of a float type");
    mc_model_free(m);
    /* One element of rank 2 is one number. */
    m = build_model(17);
    w = build_const(m->graph, "w", MC_DTYPE_F32, 2, (int64_t[]){1, 1}, (float[]){3});
    build_output(m->graph, build_binary(m->graph, "Mul", "loss", w, w));
    struct mc_value *grad;
    const char *why;
    backward(m, "loss", 1, NAMES("w"), &grad, &why);
    is_number(m, grad, 6);
    mc_model_free(m);
}

/* loss = If(c){ w x }{ w w x } v. */
static void branches(struct mc_graph *g, struct mc_value *c)
{
    struct mc_node *n;
    struct mc_err err;
    struct mc_value *x = build_input(g, "x", MC_DTYPE_F32, 0, NULL), *w = scalar(g, "w", 5);
    struct mc_value *y = build_node(g, "If", "choice", 1, &c, &n);
    for (int i = 0; i < 2; i++) {
        struct mc_graph *b = mc_edit_graph(g->model, g, n, i ? "else" : "then");
        assert_non_null(b);
        build_ok(mc_edit_attr_graph(n, i ? "else_branch" : "then_branch", b, &err), &err);
        struct mc_value *bw = mc_edit_resolve(b, w->name), *bx = mc_edit_resolve(b, x->name);
        struct mc_value *p = build_binary(b, "Mul", "p", bw, bx);
        build_output(b, i ? build_binary(b, "Mul", "q", p, bw) : p);
    }
    build_output(g, build_binary(g, "Mul", "loss", y, scalar(g, "v", 2)));
}

static void if_of_a_constant(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        struct mc_model *m = build_model(17);
        struct mc_value *grad[2];
        const char *why[2];
        struct mc_err err;
        uint8_t truth = !i;
        branches(m->graph, build_const(m->graph, "c", MC_DTYPE_BOOL, 0, NULL, &truth));
        build_ok(mc_prepare(m, NULL, &err), &err);
        backward(m, "loss", 2, NAMES("w", "v"), grad, why);
        is_number(m, grad[0], i ? 60 : 6);
        is_number(m, grad[1], i ? 75 : 15);
        mc_model_free(m);
    }
}

static void if_of_a_value_freezes_what_it_captures(void **state)
{
    (void)state;
    struct mc_model *m = build_model(17);
    struct mc_value *grad[2];
    const char *why[2];
    branches(m->graph, build_input(m->graph, "c", MC_DTYPE_BOOL, 0, NULL));
    backward(m, "loss", 2, NAMES("w", "v"), grad, why);
    assert_null(grad[0]);
    assert_non_null(strstr(why[0], "If 'choice'"));
    assert_non_null(grad[1]);
    mc_model_free(m);
}

static void functions_are_inlined(void **state)
{
    (void)state;
    struct mc_model *m = build_model(17);
    struct mc_graph *g = m->graph;
    struct mc_value *grad[1];
    const char *why[1];
    struct mc_err err;
    build_ok(mc_edit_opset(m, "f", 1, &err), &err);
    struct mc_function *f = mc_edit_function(m, "f", "Square", "");
    assert_non_null(f);
    build_ok(mc_edit_function_opset(f, "", 17, &err), &err);
    struct mc_value *a = mc_edit_value(f->body, "a");
    build_ok(mc_edit_input(f->body, a, &err), &err);
    build_output(f->body, build_binary(f->body, "Mul", "b", a, a));
    struct mc_value *x = build_input(g, "x", MC_DTYPE_F32, 0, NULL), *w = scalar(g, "w", 5);
    struct mc_value *h = build_binary(g, "Mul", "h", w, x), *y = mc_edit_fresh(g, "y");
    build_ok(mc_edit_node(g, g->n_nodes, "Square", "f", 0, "call", &h, 1, &y, 1, NULL, &err), &err);
    build_output(g, build_binary(g, "Add", "loss", y, w));
    build_ok(mc_inline(m, &err), &err);
    backward(m, "loss", 1, NAMES("w"), grad, why);
    is_number(m, grad[0], 2 * 5 * 9 + 1);
    mc_model_free(m);
}

static void constant_nodes_are_weights(void **state)
{
    (void)state;
    struct mc_model *m = build_model(17);
    struct mc_graph *g = m->graph;
    struct mc_value *grad[1];
    const char *why[1];
    struct mc_node *n;
    struct mc_err err;
    struct mc_value *x = build_input(g, "x", MC_DTYPE_F32, 0, NULL);
    struct mc_value *w = build_node(g, "Constant", "w", 0, NULL, &n);
    build_ok(mc_edit_attr_float(n, "value_float", 5, &err), &err);
    build_output(g, build_binary(g, "Mul", "loss", build_binary(g, "Mul", "h", w, w), x));
    backward(m, "loss", 1, NAMES("w"), grad, why);
    is_number(m, grad[0], 30);
    mc_model_free(m);
}

static struct mc_value *drawn(struct mc_graph *g, const char *name, int rank, const int64_t *dims,
                              uint64_t stream)
{
    float x[64];
    struct mc_shape s = mc_shape_of(rank, dims);
    mc_rng_fill_normal(grad_seed(), stream, 0, x, (size_t)mc_shape_count(&s));
    return build_const(g, name, MC_DTYPE_F32, rank, dims, x);
}

/* What is trained is the constant, wherever views and moves stand between. */
static void weights_behind_moves(void **state)
{
    (void)state;
    struct mc_model *m = build_model(17);
    struct mc_graph *g = m->graph;
    struct mc_node *n;
    struct mc_err err;
    int64_t to[2] = {4, 6}, rows[1] = {1}, end[1] = {3}, perm[2] = {1, 0};
    struct mc_value *x = drawn(g, "u", 2, (int64_t[]){1, 6}, 1);
    struct mc_value *a = drawn(g, "a", 3, (int64_t[]){2, 2, 6}, 2);
    struct mc_value *shape = build_const(g, "to", MC_DTYPE_I64, 1, (int64_t[]){2}, to);
    struct mc_value *moved = build_binary(g, "Reshape", "r", a, shape); /* [4,6] */
    moved = build_node(g, "Transpose", "t", 1, &moved, &n);             /* [6,4] */
    build_ok(mc_edit_attr_ints(n, "perm", perm, 2, &err), &err);
    struct mc_value *b = drawn(g, "b", 2, (int64_t[]){5, 4}, 3);
    struct mc_value *cut[3] = {b, build_const(g, "rows", MC_DTYPE_I64, 1, (int64_t[]){1}, rows),
                               build_const(g, "end", MC_DTYPE_I64, 1, (int64_t[]){1}, end)};
    struct mc_value *part = build_node(g, "Slice", "s", 3, cut, NULL); /* [2,4] */
    part = build_node(g, "Transpose", "p", 1, &part, NULL);            /* [4,2] */
    struct mc_value *y =
        build_binary(g, "MatMul", "y", build_binary(g, "MatMul", "h", x, moved), part);
    build_output(g, build_binary(g, "MatMul", "loss", y, drawn(g, "v", 2, (int64_t[]){2, 1}, 4)));
    struct graph_check c = {.m = m, .loss = "loss", .seed = grad_seed()};
    assert_int_equal(graph_check_slopes(&c), 4); /* u, a, b, v */
    mc_model_free(m);
}

static void given_gradients(void **state)
{
    (void)state;
    struct mc_model *m = build_model(17);
    struct mc_graph *g = m->graph;
    struct mc_value *grad[1], *w = scalar(g, "w", 5);
    const char *why[1];
    struct mc_err err;
    struct mc_value *x = build_input(g, "x", MC_DTYPE_F32, 0, NULL);
    struct mc_value *h = build_binary(g, "Mul", "h", w, x), *y = build_binary(g, "Mul", "y", h, h);
    struct mc_value *from[2] = {y, h}, *d_from[2] = {scalar(g, "dy", 2), scalar(g, "dh", 7)};
    struct mc_backward_opts o = {.from = from, .d_from = d_from, .n_from = 2};
    build_output(g, y);
    build_ok(mc_backward(g, NULL, &w, 1, &o, grad, why, &err), &err);
    is_number(m, grad[0], (2 * 30 + 7) * 3);
    mc_model_free(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(uses_are_summed),
        cmocka_unit_test(the_loss_by_itself_and_inner_values),
        cmocka_unit_test(an_operator_without_a_rule_freezes),
        cmocka_unit_test(nothing_to_train_is_an_error),
        cmocka_unit_test(zero_rules_freeze_nothing),
        cmocka_unit_test(whole_numbers_freeze_nothing),
        cmocka_unit_test(quantised_products_freeze),
        cmocka_unit_test(a_loss_is_one_number),
        cmocka_unit_test(if_of_a_constant),
        cmocka_unit_test(if_of_a_value_freezes_what_it_captures),
        cmocka_unit_test(functions_are_inlined),
        cmocka_unit_test(constant_nodes_are_weights),
        cmocka_unit_test(weights_behind_moves),
        cmocka_unit_test(given_gradients),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
