/* Counting a model for `info`: operators, and constant tensors each once. */
#ifndef MC_CLI_CENSUS_H
#define MC_CLI_CENSUS_H

#include <jansson.h>

#include "graph/graph.h"

struct mc_census_tensor {
    const struct mc_tensor *tensor;
    const char *name;
};

struct mc_census {
    json_t *operators;   /* {"Conv": 15, "com.microsoft.Gelu": 1}, most frequent first */
    json_t *unsupported; /* ["Foo (com.acme 1)", …]: known neither as operator nor as function */
    int64_t nodes;
    struct mc_census_tensor *tensors; /* largest first */
    size_t n_tensors;
};

/* All graphs, bodies and functions. Errors: MC_ENOMEM. */
int mc_census_take(const struct mc_model *m, struct mc_census *ret, struct mc_err *err);
void mc_census_free(struct mc_census *c);

#endif
