/* Training as a part of a job: `finetune`, `distill`, and --finetune of every pass. */
#ifndef MC_CLI_JOB_TRAIN_H
#define MC_CLI_JOB_TRAIN_H

#include "cli/job.h"

struct mc_job_train {
    const char *command;            /* what asks for it, for messages */
    struct mc_cli_model file;       /* of --teacher */
    const struct mc_model *teacher; /* or NULL */
    const char *teacher_name;
    json_t *options; /* of mc_train_run */
    int stage; /* 1, 2, …: of a training in stages; 0: it is none. From 2 on the checkpoint is FILE.2, … */
    double lr;  /* of adam and adamw, where none is given; 0: it is looked for */
    double ema; /* where none is given */
};

/* Before anything is read. Errors: MC_EUSAGE: no --train, files that would replace each other, options that do not
 * go together. */
int mc_job_train_check(const struct mc_cli *cli, struct mc_job_train *t, struct mc_err *err);
/* Of a pass without --finetune: options that would do nothing are a mistake. Errors: MC_EUSAGE. */
int mc_job_train_unasked(const struct mc_cli *cli, struct mc_err *err);
/* The teacher: that of --teacher, else `before` (may be NULL), unless --teacher none. */
int mc_job_train_open(const struct mc_cli *cli, struct mc_job *j, struct mc_job_train *t,
                      const struct mc_model *before, struct mc_err *err);
/* Train j->work; a dry run says what would be done. The account gets "training".
 * Errors: those of mc_train_run; MC_EINTR says how to go on. */
int mc_job_train(const struct mc_cli *cli, struct mc_job *j, struct mc_job_train *t, double epochs,
                 struct mc_err *err);
void mc_job_train_free(struct mc_job_train *t);

#endif
