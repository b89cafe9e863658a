/* A new last layer, for another number of classes: transfer from a network trained on other data. */
#ifndef MC_TRAIN_HEAD_H
#define MC_TRAIN_HEAD_H

#include <jansson.h>

#include "graph/graph.h"

/* Replace, in place, the Gemm, MatMul (with the Add of its bias) or Conv that makes the counting output by one of
 * `classes` outputs with fresh weights (train/reinit.h). Between it and the output may stand what works on each
 * class by itself or only moves it: Softmax, LogSoftmax, activations, pools, Flatten, Reshape, Squeeze … They stay. m
 * must be prepared (graph/run/fold.h). output: its name; NULL: the first of rank 2, else the first.
 * *ret_report: {"node", "op", "inputs": fan-in, "classes_before", "classes"}.
 * Errors: MC_EUNSUP naming what stands in the way; MC_EUSAGE for an unknown output; MC_ENOMEM. On failure m must
 * be dropped. */
int mc_head_replace(struct mc_model *m, int64_t classes, const char *output, uint64_t seed,
                    json_t **ret_report, struct mc_err *err);

#endif
