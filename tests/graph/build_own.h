/* Small models with weights in small forms (graph/own), for tests of any room. */
#ifndef MC_TESTS_GRAPH_BUILD_OWN_H
#define MC_TESTS_GRAPH_BUILD_OWN_H

#include <stdlib.h>

#include "graph/own/own.h"
#include "graph/own/own_binary.h"
#include "graph/own/own_shared.h"
#include "tests/graph/build.h"

/* Numbers in [-1, 1), none of them 0. */
static inline float *build_numbers(int64_t n, uint32_t seed)
{
    float *x = malloc((size_t)(n + 1) * sizeof *x);
    assert_non_null(x);
    for (int64_t i = 0; i < n; i++) {
        seed = seed * 1664525u + 1013904223u;
        x[i] = ((float)(seed >> 9) + 0.5f) / (1 << 22) - 1.f;
    }
    return x;
}

/* A call with two inputs; its output, named `name`, is `name` + "_w". */
static inline struct mc_value *build_own(struct mc_graph *g, const char *function, const char *name,
                                         struct mc_value *a, struct mc_value *b,
                                         struct mc_own_form form, struct mc_node **ret)
{
    struct mc_err err;
    char text[80];
    snprintf(text, sizeof text, "%s_w", name);
    struct mc_value *y = mc_edit_fresh(g, text);
    build_ok(mc_own_call(g, g->n_nodes, function, name, (struct mc_value *[]){a, b}, 2, &y, 1,
                         mc_own_set_form, &form, ret, &err),
             &err);
    return y;
}

static inline struct mc_value *build_floats(struct mc_graph *g, const char *name, int rank,
                                            const int64_t *dims, uint32_t seed)
{
    struct mc_shape shape = mc_shape_of(rank, dims);
    float *x = build_numbers(mc_shape_count(&shape), seed);
    struct mc_value *v = build_const(g, name, MC_DTYPE_F32, rank, dims, x);
    free(x);
    return v;
}

/* BinaryWeight of shape [rows, columns]; initializers name.P, name.S. */
static inline struct mc_value *build_signs(struct mc_graph *g, const char *name, int64_t rows,
                                           int64_t columns, struct mc_node **ret)
{
    char p[80], s[80];
    int64_t bytes = (columns + 7) / 8;
    float *w = build_numbers(rows * columns, 3);
    uint8_t *bits = malloc((size_t)(rows * bytes));
    assert_non_null(bits);
    mc_own_pack(w, rows, columns, bits);
    snprintf(p, sizeof p, "%s.P", name);
    snprintf(s, sizeof s, "%s.S", name);
    struct mc_value *a = build_const(g, p, MC_DTYPE_U8, 2, (const int64_t[]){rows, bytes}, bits);
    struct mc_value *b = build_floats(g, s, 2, (const int64_t[]){rows, 1}, 5);
    free(w);
    free(bits);
    return build_own(g, "BinaryWeight", name, a, b,
                     (struct mc_own_form){.shape = mc_shape_of(2, (const int64_t[]){rows, columns}),
                                          .columns = columns},
                     ret);
}

/* SharedWeight or SharedPlanes of that shape; initializers name.I, name.D. */
static inline struct mc_value *build_shared(struct mc_graph *g, const char *name, int bits,
                                            bool planes, struct mc_shape shape,
                                            struct mc_node **ret)
{
    char i[80], d[80];
    int64_t count = mc_shape_count(&shape), bytes = mc_own_index_bytes(bits, planes, count);
    uint8_t *index = malloc((size_t)count), *data = malloc((size_t)bytes);
    assert_true(index && data);
    for (int64_t k = 0; k < count; k++)
        index[k] = (uint8_t)(k * 7 + k / 5) & ((1 << bits) - 1);
    mc_own_index_pack(index, bits, planes, count, data);
    snprintf(i, sizeof i, "%s.I", name);
    snprintf(d, sizeof d, "%s.D", name);
    struct mc_value *a =
        planes ? build_const(g, i, MC_DTYPE_U8, 2, (const int64_t[]){bits, bytes / bits}, data)
               : build_const(g, i, MC_DTYPE_U8, 1, &bytes, data);
    struct mc_value *b = build_floats(g, d, 1, &(int64_t){1 << bits}, 11);
    free(index);
    free(data);
    return build_own(g, planes ? "SharedPlanes" : "SharedWeight", name, a, b,
                     (struct mc_own_form){.shape = shape, .count = count, .bits = bits}, ret);
}

/* GateWeight [1, gates * rows, columns], scaled by row, or by column; initializers name.W, name.A. */
static inline struct mc_value *build_gates(struct mc_graph *g, const char *name, int64_t gates,
                                           int64_t rows, int64_t columns, bool by_column,
                                           struct mc_node **ret)
{
    char w[80], a[80];
    const int64_t scales[] = {1, gates, by_column ? 1 : rows, by_column ? columns : 1};
    snprintf(w, sizeof w, "%s.W", name);
    snprintf(a, sizeof a, "%s.A", name);
    struct mc_value *m = build_floats(g, w, 3, (const int64_t[]){1, rows, columns}, 13);
    struct mc_value *s = build_floats(g, a, 4, scales, 17);
    struct mc_shape shape = mc_shape_of(3, (const int64_t[]){1, gates * rows, columns});
    return build_own(g, "GateWeight", name, m, s, (struct mc_own_form){.shape = shape}, ret);
}

#endif
