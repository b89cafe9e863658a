/* Counts of a model: what `info` and reports say. */
#ifndef MC_GRAPH_SUMMARY_H
#define MC_GRAPH_SUMMARY_H

#include "graph/graph.h"

struct mc_summary {
    int64_t
        parameters; /* elements of floating-point (and packed) constants, each counted once, in all
                           graphs and functions; integer constants of at most 64 elements (shapes) are not */
    uint64_t constant_bytes;
    int64_t nodes; /* bodies and functions included */
    double macs; /* multiply-accumulates for one sample (free dimensions taken as 1); -1: some shape
                           unknown */
};
int mc_summary(const struct mc_model *m, struct mc_summary *ret, struct mc_err *err);

#endif
