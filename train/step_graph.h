/* The graphs of a run: forward and loss, to evaluate; the same with gradients and update, to train; the teacher.
 * Private to train/. */
#ifndef MC_TRAIN_STEP_GRAPH_H
#define MC_TRAIN_STEP_GRAPH_H

#include <jansson.h>

#include "graph/dataset.h"
#include "graph/grad/update.h"
#include "train/loss.h"
#include "train/train_opts.h"

struct mc_step_graph {
    struct mc_model *step;  /* forward, loss, gradients, update */
    struct mc_model *eval;  /* forward, loss: as it is used */
    struct mc_side teacher; /* m NULL: none */
    struct mc_loss loss;
    struct mc_update update;
    int64_t frozen; /* batch that the model is frozen to; 0: any */
    bool accumulate;
    size_t batchnorms;             /* in training mode */
    json_t *trained, *frozen_list; /* of the report */
};

/* data: for the shapes of inputs and whether there are labels. Errors: those of mc_train_run. */
int mc_step_graph_new(const struct mc_model *m, const struct mc_model *teacher,
                      struct mc_dataset *data, const struct mc_train_opts *o,
                      struct mc_step_graph *ret, struct mc_err *err);
void mc_step_graph_free(struct mc_step_graph *s);

#endif
