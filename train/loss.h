/* Which loss, and its nodes behind the forward graph. Private to train/. */
#ifndef MC_TRAIN_LOSS_H
#define MC_TRAIN_LOSS_H

#include <jansson.h>

#include "base/mem.h"
#include "train/match.h"

/* Inputs that a loss adds. */
#define MC_LOSS_LABELS  "train.labels"  /* int64 [n]: class numbers; [n,sequence] in ctc */
#define MC_LOSS_TARGETS "train.targets" /* float [n,c]: what each score should be */
#define MC_LOSS_TEACHER "train.teacher" /* .0, .1, …: values of the teacher */
/* Its outputs are `train.loss`, float [], and the scores that it takes the class from. */
#define MC_LOSS_VALUE "train.loss"

enum mc_loss_kind {
    MC_LOSS_AUTO,
    MC_LOSS_CE,
    MC_LOSS_BCE,
    MC_LOSS_MSE,
    MC_LOSS_CTC,
    MC_LOSS_KD,
    MC_LOSS_COSINE,
    MC_LOSS_OUTPUTS,
    MC_LOSS_BLOCKS,
};

struct mc_loss_opts {
    enum mc_loss_kind kind;
    double alpha, temperature;
    const char *output;
    const json_t *blocks; /* array of text, or NULL */
    bool labels;          /* the data has them */
    int64_t sequence; /* most labels of a sample, where it has sequences of them; 0: it has none */
    int64_t blank;    /* class that means none, in ctc */
    bool whole;       /* batches are one sample, and no input axis counts them */
    bool partly;      /* some samples have none */
    bool mixed;       /* they come as probabilities (mixup) */
    const char *data; /* name of the data, for messages */
};

struct mc_loss_input {
    const char *input; /* of the step graph */
    const char *value; /* of the teacher */
    bool flat;         /* it is wanted as [n, rest] */
};

struct mc_loss {
    struct mc_arena mem;
    enum mc_loss_kind kind; /* never AUTO */
    const char *name;       /* "ce+kd" */
    const char *why;
    bool labels, targets; /* which of these inputs there are */
    int64_t
        classes; /* length of rows of targets, bound of labels; 0: the output is no class score */
    struct {     /* ctc; all 0 in other losses */
        int64_t labels;  /* length of rows of labels */
        int64_t classes; /* bound of each */
        int64_t steps;   /* that there are for them; 0: not known ahead */
        int64_t blank;   /* which no label may be */
    } sequence;
    const char *scores; /* graph output [n, classes], or NULL */
    int teacher_scores; /* place in `teacher` of the same of the teacher, or -1 */
    struct mc_loss_input *teacher;
    size_t n_teacher;
};

/* Behind s->m: inputs, loss, and what it says; all other outputs are dropped. s->inf knows nothing of what is new.
 * teacher: NULL if there is none. Errors: MC_EDATA where labels are missing; MC_ESHAPE where the output is
 * nothing for that loss, or the teacher's does not fit; MC_EUSAGE where a teacher is missing. */
int mc_loss_build(struct mc_side *s, const struct mc_side *teacher, const struct mc_loss_opts *o,
                  struct mc_loss *ret, struct mc_err *err);
void mc_loss_free(struct mc_loss *l);

#endif
