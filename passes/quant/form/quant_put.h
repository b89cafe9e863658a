/* What quant_build.c and quant_put.c share. */
#ifndef MC_PASSES_QUANT_PUT_H
#define MC_PASSES_QUANT_PUT_H

#include "passes/quant/form/quant_cache.h"

struct mc_quant_float { /* what turns integers to floats */
    struct mc_value *v;
    enum mc_dtype dtype;
    struct mc_value *scale, *zero; /* in the shape that it takes */
};

struct mc_quant_put { /* integers that are in place */
    struct mc_quant_key key;
    struct mc_graph *home; /* the graph that had the weight */
    struct mc_value *q, *scale, *zero;
    struct mc_quant_float folded, linear; /* v NULL: nobody asked */
    double error;
    uint64_t bytes;
};

#endif
