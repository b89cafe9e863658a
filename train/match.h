/* A model and its teacher side by side: a private copy of each to be built upon, the output that counts, scores
 * before Softmax, values that correspond. Private to train/. */
#ifndef MC_TRAIN_MATCH_H
#define MC_TRAIN_MATCH_H

#include <jansson.h>

#include "graph/infer.h"

struct mc_side {
    struct mc_model *m; /* copy without calls and constant branches; values keep their names */
    struct mc_infer *inf;
};

/* infer: types of the inputs where the model leaves them open. Errors: MC_ENOMEM, those of inlining, inference. */
int mc_side_new(const struct mc_model *m, const struct mc_infer_opts *infer, struct mc_side *ret,
                struct mc_err *err);
void mc_side_free(struct mc_side *s);

enum mc_scores_kind {
    MC_SCORES_PLAIN,   /* taken as they are */
    MC_SCORES_SOFTMAX, /* input of Softmax or LogSoftmax */
    MC_SCORES_SIGMOID, /* input of Sigmoid */
};

struct mc_scores {
    struct mc_value *output; /* as the model gives it */
    struct mc_value *value;  /* what losses use; of output's elements, perhaps another shape */
    enum mc_scores_kind kind;
    const struct mc_node *node; /* that Softmax, LogSoftmax or Sigmoid; NULL: plain */
};

/* The output of that name; without one the first of that rank, else the first. Errors: MC_EUSAGE naming it and
 * the outputs there are; MC_EUNSUP if the model has none. */
int mc_side_counting(const struct mc_side *s, const char *name, int rank, struct mc_value **ret,
                     struct mc_err *err);
struct mc_scores mc_side_scores(struct mc_value *output);
/* The teacher's output for one of the model's: of its name, else at its place. Errors: MC_ESHAPE if there is
 * none, or the shapes do not fit, naming both. */
int mc_side_partner(const struct mc_side *s, const struct mc_side *teacher,
                    const struct mc_value *output, struct mc_value **ret, struct mc_err *err);

struct mc_pair {
    struct mc_value *mine, *teachers;
};
/* Pairs of inner values: those named (NAME or MINE=TEACHERS, an array), or, with names NULL, results of activations,
 * pools and residual sums that both have under one name with one shape; at most MC_PAIRS, evenly spread.
 * Errors: MC_EUSAGE for a name that a side does not have, MC_ESHAPE for shapes that differ. */
enum { MC_PAIRS = 12 };
int mc_side_blocks(const struct mc_side *s, const struct mc_side *teacher, const json_t *names,
                   struct mc_pair **ret, size_t *ret_n, struct mc_err *err);

#endif
