/* Small models in memory, for tests of any room. Failures are cmocka failures. */
#ifndef MC_TESTS_GRAPH_BUILD_H
#define MC_TESTS_GRAPH_BUILD_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "graph/edit.h"

/* The error's text in the test's log when rc is not 0. */
static inline void build_ok(int rc, const struct mc_err *err)
{
    if (rc)
        print_error("%s\n", err->msg);
    assert_int_equal(rc, 0);
}

/* A model importing `opset` of ai.onnx, with an empty main graph. */
static inline struct mc_model *build_model(int opset)
{
    struct mc_model *m;
    assert_int_equal(mc_model_new(&m, NULL), 0);
    m->ir_version = 10;
    assert_int_equal(mc_edit_opset(m, "", opset, NULL), 0);
    assert_non_null(mc_edit_graph(m, NULL, NULL, "main"));
    return m;
}

/* Value with a declared type; dims < 0 are free: -1 nameless, others share the symbol "dN". rank -1: none. */
static inline struct mc_value *build_value(struct mc_graph *g, const char *name,
                                           enum mc_dtype dtype, int rank, const int64_t *dims)
{
    struct mc_dim dim[MC_RANK_MAX];
    char symbol[MC_RANK_MAX][24];
    for (int i = 0; i < rank; i++) {
        snprintf(symbol[i], sizeof symbol[i], "d%lld", (long long)-dims[i]);
        dim[i].value = dims[i] < 0 ? -1 : dims[i];
        dim[i].param = dims[i] < -1 ? symbol[i] : NULL;
    }
    struct mc_value *v = mc_edit_value(g, name);
    assert_non_null(v);
    assert_true(mc_edit_type(v, dtype, rank, dim));
    return v;
}

static inline struct mc_value *build_input(struct mc_graph *g, const char *name,
                                           enum mc_dtype dtype, int rank, const int64_t *dims)
{
    struct mc_value *v = build_value(g, name, dtype, rank, dims);
    assert_int_equal(mc_edit_input(g, v, NULL), 0);
    return v;
}

/* Initializer from packed bytes of its type, or zeros where data is NULL. */
static inline struct mc_value *build_const(struct mc_graph *g, const char *name,
                                           enum mc_dtype dtype, int rank, const int64_t *dims,
                                           const void *data)
{
    struct mc_shape shape = mc_shape_of(rank, dims);
    struct mc_tensor *t;
    struct mc_err err;
    void *content;
    build_ok(mc_tensor_new(dtype, &shape, NULL, &t, &content, &err), &err);
    if (data)
        memcpy(content, data, t->bytes);
    struct mc_value *v = mc_edit_constant(g, name, t);
    assert_non_null(v);
    mc_tensor_unref(t);
    return v;
}

/* Append a node of ai.onnx with one new output named after `name`. in may hold NULL; ends with n_in. */
static inline struct mc_value *build_node(struct mc_graph *g, const char *op_type, const char *name,
                                          size_t n_in, struct mc_value *const *in,
                                          struct mc_node **ret)
{
    struct mc_err err;
    struct mc_value *out = mc_edit_fresh(g, name);
    assert_non_null(out);
    build_ok(mc_edit_node(g, g->n_nodes, op_type, "", 0, name, in, n_in, &out, 1, ret, &err), &err);
    return out;
}

static inline struct mc_value *build_unary(struct mc_graph *g, const char *op_type,
                                           const char *name, struct mc_value *x)
{
    return build_node(g, op_type, name, 1, &x, NULL);
}

static inline struct mc_value *build_binary(struct mc_graph *g, const char *op_type,
                                            const char *name, struct mc_value *a,
                                            struct mc_value *b)
{
    struct mc_value *in[2] = {a, b};
    return build_node(g, op_type, name, 2, in, NULL);
}

static inline void build_output(struct mc_graph *g, struct mc_value *v)
{
    assert_int_equal(mc_edit_output(g, v, NULL), 0);
}

#endif
