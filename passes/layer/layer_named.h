/* Layers by name: that of their weight, or of a node that multiplies by it. */
#ifndef MC_PASSES_LAYER_NAMED_H
#define MC_PASSES_LAYER_NAMED_H

#include "passes/layer/layer.h"
#include "passes/pattern.h"

bool mc_layer_is_called(const struct mc_layer *l, const struct mc_pattern *p);
/* Its names as what may have been meant; of a layer that has a weight. */
void mc_layer_offer(const struct mc_layer *l, struct mc_nearest *near);

/* A call of a function of ai.mcompress in the main graph, whose weight has a small form already; NULL. */
const struct mc_node *mc_layer_call(const struct mc_model *m);
/* MC_EUNSUP: there are no layers that could be `done` ("binarised"), such a call named if there is one. */
int mc_layer_none(const struct mc_model *m, const char *done, struct mc_err *err);

#endif
