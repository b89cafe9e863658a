/* Layers with circulant blocks, for tests of any room. */
#ifndef MC_TESTS_GRAPH_BUILD_CIRCULANT_H
#define MC_TESTS_GRAPH_BUILD_CIRCULANT_H

#include "graph/own/own_circulant.h"
#include "tests/graph/build_own.h"

/* A layer name of p x q blocks of b x b, m and n of it in use; kernel 0: no convolution, otherwise that of stride 1 that keeps the
 * size. function NULL: what is chosen. Initializers name.C, name.B where bias. Returns its output. */
static inline struct mc_value *build_circulant(struct mc_graph *g, const char *name,
                                               const char *function, struct mc_value *x, int rank,
                                               struct mc_shape c, int64_t m, int64_t n, bool bias)
{
    static const int64_t ones[] = {1, 1};
    char cn[80], bn[80], yn[80];
    struct mc_err err;
    int64_t top = (c.dim[3] - 1) / 2, left = (c.dim[4] - 1) / 2;
    const int64_t pads[] = {top, left, top, left};
    snprintf(cn, sizeof cn, "%s.C", name);
    snprintf(bn, sizeof bn, "%s.B", name);
    snprintf(yn, sizeof yn, "%s_y", name);
    struct mc_own_circulant l = {
        .name = name, .x = x, .rank = rank, .m = m, .n = n, .function = function};
    l.c = build_floats(g, cn, c.rank, c.dim, 21);
    l.bias = bias ? build_floats(g, bn, 1, &m, 23) : NULL;
    l.y = mc_edit_fresh(g, yn);
    if (c.rank == 5) {
        l.strides = ones;
        l.pads = pads;
        l.dilations = ones;
    }
    build_ok(mc_own_circulant_call(g, g->n_nodes, &l, NULL, &err), &err);
    return l.y;
}

#endif
