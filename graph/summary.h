/* Counts of a model: what `info` and reports say. */
#ifndef MC_GRAPH_SUMMARY_H
#define MC_GRAPH_SUMMARY_H

#include "graph/graph.h"

/* parameters: elements of floating-point constants and of integer ones of more than 64 elements (smaller are
 * shapes), each counted once, in all graphs and functions; of weights that a function of graph/own packs as many as there are,
 * of its tables none.
 * nodes: bodies and functions included.
 * macs: multiply-accumulates for one sample (free dimensions taken as 1); -1: unknown, for a shape, an
 * operator or a body whose runs cannot be told. They are what each operator is defined by, whatever a kernel saves: a product
 * of two signs counts as any other, and gates that have one matrix count it for each of them. Circulant layers, whose
 * definition is in blocks, count the transforms and products that a run makes of them. */
struct mc_summary {
    int64_t parameters;
    uint64_t constant_bytes;
    int64_t nodes;
    double macs;
};
/* Errors: MC_ENOMEM. Cost: one inference without folding. */
int mc_summary(const struct mc_model *m, struct mc_summary *ret, struct mc_err *err);

#endif
