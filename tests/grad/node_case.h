/* A graph of one node from a line of rule_check.h. */
#ifndef MC_TESTS_GRAD_NODE_CASE_H
#define MC_TESTS_GRAD_NODE_CASE_H

#include "rule_check.h"

#include "graph/dataset.h"
#include "graph/graph.h"

enum { CASE_INPUTS = 16, CASE_OUTPUTS = 8 };

struct case_input {
    bool absent, constant, checked;
    enum mc_dtype dtype;
    struct mc_shape shape;
    double low, high; /* of random values */
    bool random;
    struct mc_array f32, f64; /* content: float as both, others in f32 with f64 the same buffer */
};

struct case_data {
    const struct grad_case *c;
    uint64_t seed;
    int n_in;
    struct case_input in[CASE_INPUTS];
    bool drew; /* the line has dimensions to draw */
};

/* Read the line, draw dimensions and contents. */
void case_parse(const struct grad_case *c, uint64_t seed, struct case_data *ret);
void case_free(struct case_data *d);

struct case_graph {
    struct mc_model *m;
    struct mc_node *node;
    struct mc_value *in[CASE_INPUTS], *out[CASE_OUTPUTS]; /* NULL: left out */
};

/* fed: what is constant in the line is an input too. symbol: the first dimension of input 0 is one. The outputs are
 * outputs of the graph. */
void case_build(const struct case_data *d, bool fed, bool symbol, struct case_graph *ret);

#endif
