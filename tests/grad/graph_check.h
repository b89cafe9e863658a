/* Gradients of whole graphs against differences along random directions, in float64. */
#ifndef MC_TESTS_GRAD_GRAPH_CHECK_H
#define MC_TESTS_GRAD_GRAPH_CHECK_H

#include "graph/dataset.h"
#include "graph/graph.h"

struct graph_check {
    struct mc_model *m; /* not changed */
    const char *loss;   /* a value of one element */
    const char *const
        *weights; /* names of constants; NULL: what mc_weights_find has to be trained */
    size_t n_weights;
    const struct mc_array *in; /* by name; float64 where the graph has a float */
    int n_in;
    double step, tol; /* 0: 1e-6 and 1e-5; tol: relative to the norm of the gradient */
    double tol_f32;   /* of the float32 run against float64; 0: none is made */
    size_t stride;    /* every stride-th weight by itself; 0: all. All together always. */
    uint64_t seed;
};

/* Each weight's gradient g along a direction v of random normal numbers: (L(w+hv) - L(w-hv)) / 2h against g.v, with an
 * error of at most tol |g| |v| / sqrt(n), the size of g.v to be expected. Returns how many weights have
 * gradients; failures are cmocka failures with the weight's name and the seed. */
size_t graph_check_slopes(const struct graph_check *c);

/* mc_backward for the named constants, with what it says (err) for a failure; grad and why [n] may be NULL. */
int graph_backward(struct mc_model *m, const char *loss, const char *const *wrt, size_t n,
                   struct mc_value **grad, const char **why, struct mc_err *err);

#endif
