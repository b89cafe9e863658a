/* The step graph of a classifier, for tests: cross entropy of its first output, gradients of all weights, update. */
#ifndef MC_TESTS_STEP_MODEL_H
#define MC_TESTS_STEP_MODEL_H

#include "graph/grad/update.h"

#define STEP_LABELS "step.labels" /* int64 [n] */
#define STEP_LOSS   "step.loss"

struct step_model {
    struct mc_model *m;
    struct mc_update u;
    struct mc_graph *g;
    size_t first_backward; /* position of the first node behind the forward graph and the loss */
};

/* m is taken over, also on failure. */
int step_model_new(struct mc_model *m, const struct mc_update_opts *o, struct step_model *ret,
                   struct mc_err *err);
void step_model_free(struct step_model *s);

struct mc_session;
struct mc_session_opts;
/* With the states of the update, at their initial values. */
int step_model_session(const struct step_model *s, const struct mc_session_opts *o,
                       struct mc_session **ret, struct mc_err *err);

#endif
