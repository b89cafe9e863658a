/* Networks of a few nodes, and what has to hold of each: for several choices of units, the model with zeros in their place
 * computes the same as the model without them. */
#ifndef MC_TESTS_COUPLE_BUILD_H
#define MC_TESTS_COUPLE_BUILD_H

#include "prune_util.h"

static inline struct mc_value *ints(struct mc_graph *g, int n, const int64_t *x)
{
    int64_t length = n;
    return build_const(g, "ints", MC_DTYPE_I64, 1, &length, x);
}

#define INTS(g, ...) ints(g, (int)(sizeof(DIMS(__VA_ARGS__)) / sizeof(int64_t)), DIMS(__VA_ARGS__))

static inline struct mc_value *scalar(struct mc_graph *g, int64_t x)
{
    return build_const(g, "int", MC_DTYPE_I64, 0, NULL, &x);
}

static inline uint64_t next_seed(const struct mc_graph *g)
{
    return 17 + g->n_values;
}

static inline void with_int(struct mc_node *n, const char *name, int64_t x)
{
    assert_int_equal(mc_edit_attr_int(n, name, x, NULL), 0);
}

static inline void with_ints(struct mc_node *n, const char *name, size_t count, const int64_t *x)
{
    assert_int_equal(mc_edit_attr_ints(n, name, x, count, NULL), 0);
}

/* x [n, in, h, w] -> [n, out, h, w] by a 1x1 kernel and a bias; Relu. */
static inline struct mc_value *conv(struct mc_graph *g, const char *name, struct mc_value *x,
                                    int64_t in, int64_t out, int64_t groups)
{
    struct mc_node *n;
    struct mc_value *args[3] = {
        x, random_const(g, "kernel", 4, DIMS(out, in / groups, 1, 1), next_seed(g)),
        random_const(g, "bias", 1, &out, next_seed(g) + 1000)};
    struct mc_value *y = build_node(g, "Conv", name, 3, args, &n);
    with_int(n, "group", groups);
    return build_unary(g, "Relu", "relu", y);
}

/* x [..., in] -> [..., out] and a bias. */
static inline struct mc_value *dense(struct mc_graph *g, const char *name, struct mc_value *x,
                                     int64_t in, int64_t out)
{
    struct mc_value *w = random_const(g, "weight", 2, DIMS(in, out), next_seed(g));
    struct mc_value *y = build_binary(g, "MatMul", name, x, w);
    return build_binary(g, "Add", "biased", y,
                        random_const(g, "bias", 1, &out, next_seed(g) + 1000));
}

static inline struct mc_value *with_perm(struct mc_graph *g, struct mc_value *x, size_t n,
                                         const int64_t *perm)
{
    struct mc_node *node;
    struct mc_value *y = build_node(g, "Transpose", "turned", 1, &x, &node);
    with_ints(node, "perm", n, perm);
    return y;
}

#define TURN(g, x, ...)                                                                            \
    with_perm(g, x, sizeof(DIMS(__VA_ARGS__)) / sizeof(int64_t), DIMS(__VA_ARGS__))

static inline struct mc_value *reshape(struct mc_graph *g, struct mc_value *x, struct mc_value *to)
{
    return build_binary(g, "Reshape", "shaped", x, to);
}

static inline struct mc_value *concat(struct mc_graph *g, int64_t axis, size_t n,
                                      struct mc_value *const *x)
{
    struct mc_node *node;
    struct mc_value *y = build_node(g, "Concat", "joined", n, x, &node);
    with_int(node, "axis", axis);
    return y;
}

static inline struct mc_value *gather(struct mc_graph *g, int64_t axis, struct mc_value *x,
                                      struct mc_value *index)
{
    struct mc_node *node;
    struct mc_value *in[2] = {x, index}, *y = build_node(g, "Gather", "picked", 2, in, &node);
    with_int(node, "axis", axis);
    return y;
}

/* Element i of the shape of x, as a vector of one. */
static inline struct mc_value *length_of(struct mc_graph *g, struct mc_value *x, int64_t i)
{
    return gather(g, 0, build_unary(g, "Shape", "shape", x), INTS(g, i));
}

/* A group of this kind that can lose some of its n units, with or without a name in it; NULL: there is none. */
static inline const struct mc_coupling_group *group_of(const struct mc_coupling *c,
                                                       const char *kind, int64_t n)
{
    for (size_t i = 0; i < c->n_groups; i++)
        if (!c->group[i].why && c->group[i].n == n && (!kind || !strcmp(c->group[i].kind, kind)))
            return &c->group[i];
    return NULL;
}

/* Prepare, and remove units drawn at random; all is put back but the groups that are not exact. Takes m. */
static inline struct mc_coupling *check_model(struct mc_model *m)
{
    struct mc_coupling *c;
    struct mc_err err;
    build_ok(mc_verify(m, &err), &err);
    build_ok(mc_coupling_prepare(m, &err), &err);
    build_ok(mc_coupling_find(m, &c, &err), &err);
    for (uint64_t seed = 1; seed <= 4; seed++) {
        bool *gone = prune_random(c, 1 - 0.22 * (double)seed, seed);
        struct mc_model *zeroed = prune_zeroed(m, c, gone), *cut = prune_cut(m, c, gone);
        double d = prune_difference(zeroed, cut, seed);
        bool fewer = prune_parameters(cut) < prune_parameters(m);
        if (!(d <= 1e-9) || (seed == 4 && !fewer))
            prune_print(c);
        assert_true(d <= 1e-9);
        assert_true(seed < 4 || fewer);
        mc_model_free(zeroed);
        mc_model_free(cut);
        free(gone);
    }
    return c;
}

/* … where exactly these numbers of units can go, in groups in any order; ends with 0. */
static inline void check_groups(struct mc_model *m, const int64_t *n)
{
    struct mc_coupling *c = check_model(m);
    size_t free_groups = 0, wanted = 0;
    bool good = true;
    for (size_t i = 0; i < c->n_groups; i++)
        free_groups += !c->group[i].why;
    for (; n[wanted]; wanted++)
        good &= group_of(c, NULL, n[wanted]) != NULL;
    good &= free_groups == wanted;
    if (!good)
        prune_print(c);
    assert_true(good);
    mc_coupling_free(c);
    mc_model_free(m);
}

#define GROUPS(m, ...) check_groups(m, DIMS(__VA_ARGS__, 0))

#endif
