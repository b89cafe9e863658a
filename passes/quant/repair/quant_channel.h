/* Layers with constant weights and constants that have a number a channel: what the repairs of a float model share. */
#ifndef MC_PASSES_QUANT_CHANNEL_H
#define MC_PASSES_QUANT_CHANNEL_H

#include "graph/infer.h"
#include "passes/fit/refit.h"

/* A constant that one place of the model alone reads, also behind Identity and from a body. */
bool mc_quant_alone(const struct mc_value *v);
/* mc_refit_of, of a weight that is alone. Its layout (groups, m, n, at_…) is what counts here. */
bool mc_quant_layer(struct mc_node *n, struct mc_refit *ret);
/* Axes of the layer's result behind that of its channels; its rank, -1: unknown (inf may be NULL). */
int mc_quant_layer_behind(const struct mc_refit *f);
int mc_quant_layer_rank(const struct mc_refit *f, const struct mc_infer *inf);

/* Has c one number, or one for each of `channels`, which lie along the axis that `behind` others follow, and does y, of that
 * rank (-1: unknown), keep its shape when c is added to it? */
bool mc_quant_per_channel(const struct mc_value *c, int y_rank, int behind, int64_t channels);
/* Its numbers, `channels` of them (free()). Errors: MC_EDTYPE, MC_ENOMEM. */
int mc_quant_channels(const struct mc_value *c, int64_t channels, double **ret, struct mc_err *err);

/* All elements as doubles (free()). Errors: MC_EDTYPE, MC_ENOMEM. */
int mc_quant_doubles(const struct mc_value *v, double **ret, struct mc_err *err);
/* Can the type hold all of them as finite numbers? */
bool mc_quant_holds(enum mc_dtype t, const double *x, int64_t n);
/* Constant input `slot` of n gets this content: in place where nobody else reads it, otherwise as a constant of its own; one
 * that was left out is made. Errors: MC_ENOMEM and the like. */
int mc_quant_put(struct mc_node *n, size_t slot, const double *x, const struct mc_shape *shape,
                 enum mc_dtype t, const char *hint, struct mc_err *err);

/* Weights of a layer times a number for every output and every input channel (of all groups; either may be NULL), in place. */
void mc_quant_scale_weight(const struct mc_refit *f, double *w, const double *out,
                           const double *in);

/* Every graph that m runs: the main one, functions, and the bodies in them, each after the one around it. */
typedef int mc_quant_graph_fn(void *ctx, struct mc_graph *g, struct mc_err *err);
int mc_quant_each_graph(struct mc_model *m, mc_quant_graph_fn *fn, void *ctx, struct mc_err *err);

#endif
