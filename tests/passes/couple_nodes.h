/* Small networks for the tests of couplings, and the check that what is removed was not read. Failures are cmocka failures. */
#ifndef MC_TESTS_COUPLE_NODES_H
#define MC_TESTS_COUPLE_NODES_H

#include "prune_util.h"

#define MS "com.microsoft"

static inline struct mc_model *nodes_model(int opset)
{
    struct mc_model *m = build_model(opset);
    assert_int_equal(mc_edit_opset(m, MS, 1, NULL), 0);
    return m;
}

/* One output. in may hold NULL. */
static inline struct mc_value *nodes_add(struct mc_graph *g, const char *domain, const char *op,
                                         const char *name, size_t n_in, struct mc_value *const *in,
                                         struct mc_node **ret)
{
    struct mc_err err;
    struct mc_value *out = mc_edit_fresh(g, name);
    assert_non_null(out);
    build_ok(mc_edit_node(g, g->n_nodes, op, domain, 0, name, in, n_in, &out, 1, ret, &err), &err);
    return out;
}

static inline void nodes_int(struct mc_node *n, const char *name, int64_t v)
{
    assert_int_equal(mc_edit_attr_int(n, name, v, NULL), 0);
}

/* x times a random weight [in, out]. */
static inline struct mc_value *nodes_dense(struct mc_graph *g, const char *name, struct mc_value *x,
                                           int64_t in, int64_t out, uint64_t seed)
{
    char weight[64];
    snprintf(weight, sizeof weight, "%s.w", name);
    return build_binary(g, "MatMul", name, x, random_const(g, weight, 2, DIMS(in, out), seed));
}

static inline struct mc_value *nodes_reshape(struct mc_graph *g, const char *name,
                                             struct mc_value *x, int rank, const int64_t *dims)
{
    return build_binary(g, "Reshape", name, x,
                        build_const(g, "shape", MC_DTYPE_I64, 1, DIMS(rank), dims));
}

static inline struct mc_value *nodes_turn(struct mc_graph *g, const char *name, struct mc_value *x,
                                          int rank, const int64_t *perm)
{
    struct mc_node *n;
    struct mc_value *y = build_node(g, "Transpose", name, 1, &x, &n);
    assert_int_equal(mc_edit_attr_ints(n, "perm", perm, (size_t)rank, NULL), 0);
    return y;
}

static inline const struct mc_node *nodes_find(const struct mc_model *m, const char *op)
{
    for (size_t i = 0; i < m->graph->n_nodes; i++)
        if (!strcmp(m->graph->nodes[i]->op_type, op))
            return m->graph->nodes[i];
    fail_msg("no %s", op);
    return NULL;
}

struct nodes_want {
    int free;      /* groups that can be cut */
    bool inexact;  /* one of them goes through a norm or a range: the outputs are only there */
    double within; /* of the outputs; 0: 1e-6 */
};

/* Cut about half of every group; m is freed. Returns the model that is left. */
static inline struct mc_model *nodes_check(struct mc_model *m, struct nodes_want want)
{
    struct mc_coupling *c;
    struct mc_err err;
    int n = 0;
    build_ok(mc_verify(m, &err), &err);
    build_ok(mc_coupling_find(m, &c, &err), &err);
    bool inexact = false;
    for (size_t i = 0; i < c->n_groups; i++) {
        n += !c->group[i].why;
        inexact = inexact || !c->group[i].exact;
    }
    if (n != want.free || inexact != want.inexact) {
        prune_print(c);
        fail_msg("%d groups can be cut, not %d; %s", n, want.free,
                 inexact ? "some are inexact" : "all are exact");
    }
    bool *gone = prune_random(c, 0.5, 3);
    struct mc_model *zeroed = prune_zeroed(m, c, gone), *cut = prune_cut(m, c, gone);
    double d = prune_difference(zeroed, cut, 5);
    if (!want.inexact && !(d <= (want.within > 0 ? want.within : 1e-6))) {
        prune_print(c);
        fail_msg("the difference is %g", d);
    }
    assert_true(n == 0 || prune_difference(m, zeroed, 5) > 1e-4);
    mc_model_free(zeroed);
    free(gone);
    mc_coupling_free(c);
    mc_model_free(m);
    return cut;
}

#endif
