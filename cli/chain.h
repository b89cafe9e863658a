/* Steps: a pass, `finetune` or `distill` with options of its own, and chains of them on one model.
 *
 * A command that changes a model is a chain of one step with the options of the command line; `run` makes one of a
 * recipe. mc_chain_add for every step, mc_chain_run, mc_chain_free in any case. */
#ifndef MC_CLI_CHAIN_H
#define MC_CLI_CHAIN_H

#include "cli/job.h"
#include "cli/job_train.h"

/* Where the weights of a pass with hooks are. */
enum mc_chain_form {
    MC_CHAIN_WAITING, /* not run yet */
    MC_CHAIN_FILE,    /* as run() left them */
    MC_CHAIN_OPEN,    /* training form */
    MC_CHAIN_CLOSED,  /* file form again */
};

struct mc_chain_step {
    struct mc_cli cli;  /* the invocation as this step sees it: its own command, pass and values */
    bool trains, thins; /* thins: distill makes its own student */
    bool follows;       /* the teacher is the model before the chain made it smaller */
    double epochs;
    int rounds_left; /* of --steps, this one's among them */
    struct mc_job_train train;
    struct mc_cli_model student; /* of distill --student */
    struct mc_model *given;      /* the model before a pass whose weights have a training form */
    struct mc_model *taught;     /* of distill as a later step: the model before it, its teacher */
    enum mc_chain_form form;
    json_t *choices;            /* of --choices */
    struct mc_out *choices_out; /* of --choices-out; put in place when all is done */
    json_t *stats;              /* of --stats: an array */
    struct mc_out *stats_out;   /* of --stats-out */
    json_t *account; /* {name, options, seconds, bytes_before, …}; borrowed from the job */
};

struct mc_chain {
    struct mc_chain_step *step;
    size_t n;
    uint64_t closed; /* its bytes when training forms were last closed, 0: not */
    uint64_t bytes;  /* of the model after the last step that left it in its file form */
    bool reopened;   /* training forms of earlier runs are in place */
    /* The model before the first step that makes it smaller, where that is not the first. */
    struct mc_model *snapshot;
    char before_text[96];
    const char *recipe; /* the text of the recipe that it was made of, for the report, or NULL */
    json_t *report;     /* of the job, when all is done */
};

/* One more step, or with --steps several: `values` are all options it sees, run-wide ones included. A new reference is
 * taken. Errors: MC_EUSAGE for --steps with options that it does not go with. */
int mc_chain_add(struct mc_chain *c, const struct mc_cli *cli, const struct mc_command *command,
                 const struct mc_pass *pass, json_t *values, struct mc_err *err);

/* Before anything is read: do all steps make sense? mc_chain_run asks that as well, but not twice of one chain. Errors:
 * MC_EUSAGE. */
int mc_chain_check(struct mc_chain *c, struct mc_err *err);
/* From reading the model to the report. cli: the invocation; its operand 0 is the model. Hooks: passes whose
 * weights have a training form are put into it before a step that trains, and back into their file form when the next
 * step is no training, or the chain ends. Errors: those of the steps, named where there are several. */
int mc_chain_run(const struct mc_cli *cli, struct mc_chain *c, struct mc_err *err);
void mc_chain_free(struct mc_chain *c);

/* ---- private to the files of chains ---- */

/* Before anything is read: does it make sense? Errors: MC_EUSAGE. */
int mc_chain_step_check(struct mc_chain_step *s, struct mc_err *err);
/* Files it needs besides the model. */
int mc_chain_step_read(struct mc_chain_step *s, struct mc_job *j, struct mc_err *err);
/* Its work on j->work; j->account is what it reports. */
int mc_chain_step_work(struct mc_chain *c, size_t i, struct mc_job *j, struct mc_err *err);
/* Training forms -> file forms. */
int mc_chain_close(struct mc_chain *c, struct mc_job *j, struct mc_err *err);

#endif
