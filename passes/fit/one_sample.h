/* What inference has to be told to see a model run on one sample. */
#ifndef MC_PASSES_ONE_SAMPLE_H
#define MC_PASSES_ONE_SAMPLE_H

#include "graph/infer.h"
#include "passes/pass.h"

/* Inputs of g whose free dimensions are 1 among the first `axes`, and as declared elsewhere: o->inputs (heap, the caller's
 * to free) and o->n_inputs. Errors: MC_ENOMEM. */
int mc_one_sample(const struct mc_graph *g, int axes, struct mc_infer_opts *o, struct mc_err *err);
/* Shapes of g's inputs in the first sample of ctx: o->inputs (heap, the caller's to free; names are g's) and o->n_inputs. False:
 * there are no samples, or they cannot be read. */
bool mc_sample_shapes(const struct mc_pass_ctx *ctx, const struct mc_graph *g,
                      struct mc_infer_opts *o);
/* Inference with shapes as in a sample; without one, or where that does not fit, with 1 for every free length, which may be too
 * small for a window; as declared, where much is not known. */
int mc_sample_infer(const struct mc_pass_ctx *ctx, const struct mc_graph *g, struct mc_infer **ret,
                    struct mc_err *err);
/* Multiply-accumulates of a sample, with free lengths as the first sample has them; -1: not known. */
double mc_sample_macs(const struct mc_pass_ctx *ctx, const struct mc_model *m);

#endif
