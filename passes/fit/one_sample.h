/* What inference has to be told to see a model run on one sample. */
#ifndef MC_PASSES_ONE_SAMPLE_H
#define MC_PASSES_ONE_SAMPLE_H

#include "graph/infer.h"

/* Inputs of g whose free dimensions are 1 among the first `axes`, and as declared elsewhere: o->inputs (heap, the caller's
 * to free) and o->n_inputs. Errors: MC_ENOMEM. */
int mc_one_sample(const struct mc_graph *g, int axes, struct mc_infer_opts *o, struct mc_err *err);

#endif
