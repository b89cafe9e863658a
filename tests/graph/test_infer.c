#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "graph/infer.h"
#include "graph/summary.h"
#include "tests/graph/build.h"

/* A model under test and what was inferred of it. */
struct subject {
    struct mc_model *m;
    struct mc_graph *g;
    struct mc_infer *inf;
    struct mc_err err;
};

static struct subject subject(void)
{
    struct subject s = {.m = build_model(17)};
    s.g = s.m->graph;
    return s;
}

static void infer(struct subject *s, const struct mc_infer_opts *o)
{
    mc_infer_free(s->inf);
    s->inf = NULL;
    build_ok(mc_infer_run(s->g, o, &s->inf, &s->err), &s->err);
}

static void done(struct subject *s)
{
    mc_infer_free(s->inf);
    mc_model_free(s->m);
}

static const struct mc_vtype *row(const struct subject *s, const char *name)
{
    return mc_infer_of(s->inf, mc_graph_value(s->g, name));
}

static int64_t dim(const struct subject *s, const char *name, int i)
{
    const struct mc_vtype *t = row(s, name);
    assert_true(t->ranked && i < t->shape.rank);
    return t->shape.dim[i];
}

static const char *symbol(const struct subject *s, const char *name, int i)
{
    return mc_infer_symbol(s->inf, dim(s, name, i));
}

static void symbols_travel(void **state)
{
    (void)state;
    struct subject s = subject();
    struct mc_value *x = build_input(s.g, "x", MC_DTYPE_F32, 3, (int64_t[]){-2, 3, -1});
    build_output(s.g, build_unary(s.g, "Relu", "y", x));
    infer(&s, NULL);
    assert_string_equal(symbol(&s, "y", 0), "d2");
    assert_int_equal(dim(&s, "y", 0), dim(&s, "x", 0));
    assert_int_equal(dim(&s, "y", 1), 3);
    assert_int_equal(dim(&s, "y", 2), dim(&s, "x", 2));
    assert_true(dim(&s, "y", 2) < MC_DIM_ANY);
    assert_null(symbol(&s, "y", 2));
    assert_null(mc_infer_symbol(s.inf, 7));
    assert_null(mc_infer_symbol(s.inf, INT64_MIN));

    struct mc_value *later = mc_edit_value(s.g, "later");
    assert_true(mc_infer_of(s.inf, later)->dtype == MC_DTYPE_NONE && !row(&s, "later")->ranked);
    done(&s);
}

static void one_name_is_one_symbol(void **state)
{
    (void)state;
    struct subject s = subject();
    build_input(s.g, "a", MC_DTYPE_F32, 2, (int64_t[]){-2, -3});
    build_input(s.g, "b", MC_DTYPE_F32, 2, (int64_t[]){-2, -4});
    struct mc_value *sum =
        build_binary(s.g, "Add", "sum", mc_graph_value(s.g, "a"), mc_graph_value(s.g, "b"));
    build_output(s.g, sum);
    infer(&s, NULL);
    assert_string_equal(symbol(&s, "sum", 0), "d2");
    assert_int_equal(dim(&s, "a", 0), dim(&s, "b", 0));
    assert_true(dim(&s, "a", 1) != dim(&s, "b", 1));

    /* One input says what the name is: the other one follows, as far as its other dimensions allow. */
    struct mc_infer_input in[2] = {{"a", MC_DTYPE_NONE, {2, {8, 5}}},
                                   {"b", MC_DTYPE_NONE, {2, {9, 1}}}};
    struct mc_infer_opts o = {.inputs = in, .n_inputs = 1};
    infer(&s, &o);
    assert_int_equal(dim(&s, "b", 0), 8);
    assert_string_equal(symbol(&s, "b", 1), "d4");
    assert_int_equal(dim(&s, "sum", 0), 8);
    /* They disagree: each has its own, and the name stands for nothing. */
    in[1].shape.dim[0] = 1;
    o.n_inputs = 2;
    struct mc_value *named = build_value(s.g, "named", MC_DTYPE_F32, 1, (int64_t[]){-2});
    build_ok(mc_edit_node(s.g, 1, "Mystery", "my", 1, "", &sum, 1, &named, 1, NULL, &s.err),
             &s.err);
    infer(&s, &o);
    assert_int_equal(dim(&s, "a", 0), 8);
    assert_int_equal(dim(&s, "b", 0), 1);
    assert_int_equal(dim(&s, "sum", 1), 5);
    assert_true(dim(&s, "named", 0) < 0);
    assert_null(symbol(&s, "named", 0));

    in[0].name = "c";
    struct mc_infer *none = NULL;
    assert_int_equal(mc_infer_run(s.g, &o, &none, &s.err), MC_ESHAPE);
    assert_non_null(strstr(s.err.msg, "'c'"));
    assert_null(none);
    done(&s);
}

/* Reshape(x, Concat(Shape(x)[0:1], [-1])), as exporters write Flatten. */
static void contents_travel(void **state)
{
    (void)state;
    struct subject s = subject();
    int64_t one = 1, zero = 0, rest = -1;
    struct mc_value *x = build_input(s.g, "x", MC_DTYPE_F32, 4, (int64_t[]){-2, 3, 4, 5});
    struct mc_value *shape = build_unary(s.g, "Shape", "shape", x);
    struct mc_value *in[3] = {shape, build_const(s.g, "z", MC_DTYPE_I64, 1, &one, &zero),
                              build_const(s.g, "o", MC_DTYPE_I64, 1, &one, &one)};
    struct mc_value *batch = build_node(s.g, "Slice", "batch", 3, in, NULL);
    struct mc_value *parts[2] = {batch, build_const(s.g, "r", MC_DTYPE_I64, 1, &one, &rest)};
    struct mc_node *n;
    struct mc_value *to = build_node(s.g, "Concat", "to", 2, parts, &n);
    build_ok(mc_edit_attr_int(n, "axis", 0, &s.err), &s.err);
    build_output(s.g, build_binary(s.g, "Reshape", "y", x, to));
    infer(&s, NULL);
    assert_int_equal(row(&s, "y")->shape.rank, 2);
    assert_string_equal(symbol(&s, "y", 0), "d2");
    assert_int_equal(dim(&s, "y", 1), 60);
    const struct mc_partial *p = row(&s, "shape")->partial;
    assert_true(p && p->n == 4 && p->sym[0] == dim(&s, "x", 0) && !p->sym[1] && p->value[1] == 3);
    assert_null(row(&s, "shape")->known);

    /* With a batch nothing is symbolic any more: contents are known without any evaluation. */
    struct mc_infer_input input = {"x", MC_DTYPE_NONE, {4, {7, -1, -1, -1}}};
    infer(&s, &(struct mc_infer_opts){.inputs = &input, .n_inputs = 1});
    assert_int_equal(dim(&s, "y", 0), 7);
    const struct mc_tensor *t = row(&s, "to")->known;
    assert_non_null(t);
    assert_true(((const int64_t *)t->data)[0] == 7 && ((const int64_t *)t->data)[1] == -1);
    assert_null(row(&s, "to")->partial);
    done(&s);
}

/* Stands for the executor: every output is a vector of three sevens, or an error. */
struct evaluator {
    int calls, rc;
};

static int sevens(void *ctx, const struct mc_node *node, const struct mc_tensor *const *in,
                  struct mc_tensor **ret, struct mc_err *err)
{
    struct evaluator *e = ctx;
    e->calls++;
    assert_non_null(in[0]);
    if (e->rc)
        return mc_fail(err, e->rc, "no %s today", node->op_type);
    for (size_t i = 0; i < node->n_out; i++) {
        struct mc_shape shape = {1, {3}};
        void *data;
        int rc = mc_tensor_new(MC_DTYPE_I64, &shape, NULL, &ret[i], &data, err);
        if (rc)
            return rc;
        for (int k = 0; k < 3; k++)
            ((int64_t *)data)[k] = 7;
    }
    return 0;
}

static void known_inputs_are_folded(void **state)
{
    (void)state;
    struct subject s = subject();
    int64_t three = 3, many = 100;
    struct mc_value *c = build_const(s.g, "c", MC_DTYPE_I64, 1, &three, NULL);
    struct mc_value *big = build_const(s.g, "big", MC_DTYPE_F32, 1, &many, NULL);
    struct mc_value *x = build_input(s.g, "x", MC_DTYPE_F32, 1, &three);
    build_unary(s.g, "Abs", "folded", build_unary(s.g, "Neg", "first", c));
    build_unary(s.g, "Abs", "large", big);
    build_unary(s.g, "Abs", "live", x);
    struct evaluator e = {0};
    struct mc_infer_opts o = {.eval = sevens, .eval_ctx = &e, .eval_limit = 99};
    infer(&s, &o);
    assert_int_equal(e.calls, 2);
    assert_true(((const int64_t *)row(&s, "folded")->known->data)[2] == 7);
    assert_null(row(&s, "large")->known);
    assert_int_equal(dim(&s, "large", 0), 100);
    assert_null(row(&s, "live")->known);
    /* What cannot be evaluated stays; any other error ends inference. */
    e = (struct evaluator){0, MC_EUNSUP};
    infer(&s, &o);
    assert_int_equal(e.calls, 1);
    assert_int_equal(dim(&s, "folded", 0), 3);
    e.rc = MC_EINTR;
    struct mc_infer *none = NULL;
    assert_int_equal(mc_infer_run(s.g, &o, &none, &s.err), MC_EINTR);
    assert_null(none);
    done(&s);
}

static void unknown_operators_keep_declarations(void **state)
{
    (void)state;
    struct subject s = subject();
    struct mc_value *x = build_input(s.g, "x", MC_DTYPE_F32, 2, (int64_t[]){-2, 3});
    struct mc_value *out[2] = {build_value(s.g, "declared", MC_DTYPE_F16, 2, (int64_t[]){-2, 5}),
                               mc_edit_value(s.g, "undeclared")};
    build_ok(mc_edit_node(s.g, 0, "Mystery", "my", 3, "m", &x, 1, out, 2, NULL, &s.err), &s.err);
    build_unary(s.g, "Relu", "behind", out[0]);
    build_unary(s.g, "Relu", "lost", out[1]);
    infer(&s, NULL);
    assert_int_equal(row(&s, "behind")->dtype, MC_DTYPE_F16);
    assert_string_equal(symbol(&s, "behind", 0), "d2");
    assert_int_equal(dim(&s, "behind", 1), 5);
    assert_true(row(&s, "lost")->dtype == MC_DTYPE_NONE && !row(&s, "lost")->ranked);

    struct mc_infer *none = NULL;
    struct mc_infer_opts strict = {.strict = true};
    assert_int_equal(mc_infer_run(s.g, &strict, &none, &s.err), MC_EUNSUP);
    assert_non_null(strstr(s.err.msg, "Mystery"));
    assert_non_null(strstr(s.err.msg, "'my'"));
    assert_non_null(strstr(s.err.msg, "version 3"));
    /* A function of that name is known. */
    assert_non_null(mc_edit_function(s.m, "my", "Mystery", ""));
    infer(&s, &strict);
    assert_int_equal(dim(&s, "declared", 1), 5);
    done(&s);
}

static void wrong_declarations_lose(void **state)
{
    (void)state;
    struct subject s = subject();
    struct mc_value *x = build_input(s.g, "x", MC_DTYPE_F32, 2, (int64_t[]){-1, 3});
    struct mc_value *y = build_value(s.g, "y", MC_DTYPE_F32, 2, (int64_t[]){2, 3});
    build_ok(mc_edit_node(s.g, 0, "Relu", "", 0, "r", &x, 1, &y, 1, NULL, &s.err), &s.err);
    build_unary(s.g, "Relu", "z", y);
    infer(&s, NULL);
    assert_int_equal(dim(&s, "y", 0), 2); /* an unknown of no name takes what is declared */
    assert_int_equal(mc_infer_n_conflicts(s.inf), 0);
    assert_null(mc_infer_conflict(s.inf, 0));
    static const struct {
        enum mc_dtype dtype;
        int rank;
        int64_t dims[3];
    } bad[] = {{MC_DTYPE_F32, 2, {2, 4}}, {MC_DTYPE_F32, 3, {1, 2, 3}}, {MC_DTYPE_F16, 2, {2, 3}}};
    for (size_t i = 0; i < 3; i++) {
        struct mc_dim dims[3];
        for (int k = 0; k < 3; k++)
            dims[k] = (struct mc_dim){bad[i].dims[k], NULL};
        assert_true(mc_edit_type(y, bad[i].dtype, bad[i].rank, dims));
        infer(&s, NULL);
        for (const char *const *v = (const char *const[]){"y", "z", NULL}; *v; v++) {
            assert_int_equal(row(&s, *v)->dtype, MC_DTYPE_F32);
            assert_int_equal(row(&s, *v)->shape.rank, 2);
            assert_true(dim(&s, *v, 0) < 0); /* none of a wrong declaration holds */
            assert_int_equal(dim(&s, *v, 1), 3);
        }
        assert_int_equal(mc_infer_n_conflicts(s.inf), 1);
        assert_non_null(strstr(mc_infer_conflict(s.inf, 0), "Relu 'r'"));
        assert_non_null(strstr(mc_infer_conflict(s.inf, 0), "'y'"));
        assert_null(mc_infer_conflict(s.inf, 1));
    }
    infer(&s, &(struct mc_infer_opts){.undeclared = true});
    assert_int_equal(mc_infer_n_conflicts(s.inf), 0);
    /* An input against its own declaration: what was declared behind it does not count. */
    struct mc_infer_input in = {"x", MC_DTYPE_F64, {2, {6, 9}}};
    infer(&s, &(struct mc_infer_opts){.inputs = &in, .n_inputs = 1});
    assert_int_equal(row(&s, "y")->dtype, MC_DTYPE_F64);
    assert_int_equal(dim(&s, "y", 1), 9);
    done(&s);
}

static void names_beat_old_numbers(void **state)
{
    (void)state;
    struct subject s = subject();
    struct mc_value *x = build_input(s.g, "x", MC_DTYPE_F32, 1, (int64_t[]){-2});
    struct mc_value *y = build_value(s.g, "y", MC_DTYPE_F32, 1, (int64_t[]){16});
    build_ok(mc_edit_node(s.g, 0, "Relu", "", 0, "r", &x, 1, &y, 1, NULL, &s.err), &s.err);
    infer(&s, NULL);
    assert_string_equal(symbol(&s, "y", 0), "d2");
    done(&s);
}

static void initializers_that_are_inputs(void **state)
{
    (void)state;
    struct subject s = subject();
    struct mc_value *w = build_const(s.g, "w", MC_DTYPE_F32, 1, (int64_t[]){4}, NULL);
    build_ok(mc_edit_input(s.g, w, &s.err), &s.err);
    infer(&s, NULL);
    assert_null(row(&s, "w")->known); /* the caller may give another content */
    assert_int_equal(dim(&s, "w", 0), 4);
    s.m->ir_version = 3;
    infer(&s, NULL);
    assert_ptr_equal(row(&s, "w")->known, w->tensor);
    done(&s);
}

static void long_chains_are_quick(void **state)
{
    (void)state;
    struct subject s = subject();
    struct mc_value *v = build_input(s.g, "x", MC_DTYPE_F32, 2, (int64_t[]){-2, 3});
    for (int i = 0; i < 100000; i++)
        v = build_unary(s.g, i % 2 ? "Relu" : "Identity", "v", v);
    build_output(s.g, v);
    infer(&s, NULL);
    assert_string_equal(mc_infer_symbol(s.inf, mc_infer_of(s.inf, v)->shape.dim[0]), "d2");
    done(&s);
}

/* ---- summary ---- */

static void models_are_counted(void **state)
{
    (void)state;
    struct subject s = subject();
    struct mc_value *x = build_input(s.g, "x", MC_DTYPE_F32, 2, (int64_t[]){-2, 20});
    struct mc_value *w = build_const(s.g, "w", MC_DTYPE_F16, 2, (int64_t[]){20, 30}, NULL);
    build_const(s.g, "shape", MC_DTYPE_I64, 1, (int64_t[]){64}, NULL);
    build_const(s.g, "packed", MC_DTYPE_U4, 1, (int64_t[]){65}, NULL);
    struct mc_node *n;
    build_node(s.g, "Constant", "c", 0, NULL, &n);
    struct mc_attr *a = mc_edit_attr_new(n, "value_floats", MC_ATTR_FLOATS);
    a->n = 5;
    a->floats = mc_arena_array(&s.m->arena, 5, sizeof(float));
    build_output(s.g, build_binary(s.g, "MatMul", "y", x, w));
    struct mc_summary sum;
    build_ok(mc_summary(s.m, &sum, &s.err), &s.err);
    assert_int_equal(sum.parameters, 600 + 65 + 5);
    assert_int_equal(sum.constant_bytes, 1200 + 512 + 33 + 20);
    assert_int_equal(sum.nodes, 2);
    assert_true(sum.macs == -1); /* float by half */

    mc_edit_type(x, MC_DTYPE_F16, 2, (struct mc_dim[]){{-1, "batch"}, {20, NULL}});
    build_ok(mc_summary(s.m, &sum, &s.err), &s.err);
    assert_true(sum.macs == 600);
    done(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(symbols_travel),
        cmocka_unit_test(one_name_is_one_symbol),
        cmocka_unit_test(contents_travel),
        cmocka_unit_test(known_inputs_are_folded),
        cmocka_unit_test(unknown_operators_keep_declarations),
        cmocka_unit_test(wrong_declarations_lose),
        cmocka_unit_test(names_beat_old_numbers),
        cmocka_unit_test(initializers_that_are_inputs),
        cmocka_unit_test(long_chains_are_quick),
        cmocka_unit_test(models_are_counted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
