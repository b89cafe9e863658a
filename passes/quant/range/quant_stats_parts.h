/* Shared by quant_stats.c and quant_stats_json.c alone. */
#ifndef MC_PASSES_QUANT_STATS_PARTS_H
#define MC_PASSES_QUANT_STATS_PARTS_H

#include "graph/graph.h"
#include "passes/quant/range/quant_stats.h"

/* n items with empty histograms. Errors: MC_ENOMEM. */
int mc_quant_stats_new(size_t n, struct mc_quant_stats **ret, struct mc_err *err);
/* Room for so many channels of an item, with nothing in them. Errors: MC_ENOMEM. */
int mc_quant_stat_channels(struct mc_quant_stats *s, struct mc_quant_stat *item, int axis,
                           int64_t channels, struct mc_err *err);
/* SHA-256 of inputs and outputs with their types, and of operators with the names of what they make. */
void mc_quant_stats_digest(const struct mc_model *m, char ret[65]);

#endif
