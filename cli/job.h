/* One compression from file to file: what `mcompress PASS` gathers on its way, and the report of it. */
#ifndef MC_CLI_JOB_H
#define MC_CLI_JOB_H

#include "cli/command.h"
#include "cli/measured.h"
#include "cli/models.h"
#include "formats/onnx.h"

#define MC_JOB_OVERLAP                                                                             \
    "--data and --calib are the same samples: the accuracy shown is too good; measure on others"

struct mc_job {
    const char *out, *data_spec, *preprocess;
    bool dry_run, to_stdout, overlap;
    struct mc_onnx_write_opts write;

    struct mc_cli_model original;
    size_t fixed_inputs; /* weights of it that stopped being graph inputs */
    struct mc_dataset *data, *calib;
    int64_t calib_count;
    struct mc_spill *spill;
    struct mc_model *work;         /* the clone that the pass changes */
    struct mc_onnx_staged *staged; /* written, not yet in place */
    struct mc_model *result;       /* read back from there */

    json_t *input, *output, *account, *gates; /* parts of the report */
    double pass_seconds;
    struct mc_measure measured;
    int missed; /* MC_EGATE and its message, told when everything is written */
    struct mc_err gate;
};

/* The whole tree, with everything known by now. */
int mc_job_report(const struct mc_cli *cli, const struct mc_job *j, json_t **ret,
                  struct mc_err *err);
void mc_job_free(struct mc_job *j);

#endif
