/* One piece of work from file to file: what all commands that change a model share, and the report.
 *
 * mc_job_open, mc_job_data, mc_job_clone, then the work on j->work, then mc_job_finish; mc_job_free in any case.
 * chain.c does so. */
#ifndef MC_CLI_JOB_H
#define MC_CLI_JOB_H

#include "cli/command.h"
#include "cli/measured.h"
#include "cli/models.h"
#include "formats/onnx.h"

enum { MC_LATENCY_WHY = 512 };

struct mc_job {
    const char *out, *data_spec, *preprocess;
    bool dry_run, to_stdout;
    bool inlines, expands; /* --inline, --expand */
    uint64_t room;         /* most bytes of the note in the model on what was done to it; 0: none */
    uint64_t given;        /* bytes of the model that a pass works on */
    bool compresses;       /* a pass is among the steps */
    bool incomparable;     /* the result answers another question: it is measured by itself */
    struct mc_onnx_write_opts write;

    struct mc_cli_model original; /* what the result is compared with */
    size_t fixed_inputs;          /* weights of models that stopped being graph inputs */
    struct mc_dataset *data, *calib, *train;
    int64_t calib_count;
    const char *overlap; /* warning that --data was used for more than measuring, or NULL */
    struct mc_spill *spill;
    struct mc_model *work;         /* the clone that is changed */
    struct mc_onnx_staged *staged; /* written, not yet in place */
    struct mc_model *result;       /* read back from there */

    json_t *input, *output, *gates, *latency; /* parts of the report */
    char no_latency[MC_LATENCY_WHY];          /* why there is none; "": nobody asked */
    json_t *passes;  /* what the steps so far say of themselves, in order */
    json_t *account; /* what the present step says of itself */
    double seconds;  /* of its work */
    struct mc_measure measured;
    const char *recipe; /* the steps of a chain that came from one, or NULL */
    json_t *report;     /* all of it, when everything is done */
    int missed;         /* MC_EGATE and its message, told when everything is written */
    struct mc_err gate;
    bool target_missed; /* it was a step that missed what it was to reach */
    struct mc_err target;
};

/* Options, the model (operand 0), where it goes. Errors: as early as anything can be known. */
int mc_job_open(const struct mc_cli *cli, struct mc_job *j, struct mc_err *err);
/* Samples of --data, --calib and --train for the inputs of `subject`, the model that is worked on. */
int mc_job_data(const struct mc_cli *cli, struct mc_job *j, const struct mc_model *subject,
                struct mc_err *err);
/* j->work = m, prepared. */
int mc_job_clone(const struct mc_cli *cli, struct mc_job *j, const struct mc_model *m,
                 struct mc_err *err);
/* Bytes that a model would have as OUT. */
int mc_job_bytes(const struct mc_job *j, const struct mc_model *m, uint64_t *ret,
                 struct mc_err *err);
/* Write, read back, measure, report, put in place, print. A missed gate is the last thing told. */
int mc_job_finish(const struct mc_cli *cli, struct mc_job *j, struct mc_err *err);
void mc_job_free(struct mc_job *j);

/* The whole tree, with everything known by now. */
int mc_job_report(const struct mc_cli *cli, const struct mc_job *j, json_t **ret,
                  struct mc_err *err);

#endif
