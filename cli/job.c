#include "cli/job.h"

#include <string.h>

#include "base/interrupt.h"
#include "base/io.h"
#include "base/json.h"
#include "cli/console.h"
#include "cli/deliver.h"
#include "cli/gates.h"
#include "cli/latency.h"
#include "cli/machine.h"
#include "graph/dataset_join.h"
#include "graph/edit.h"
#include "graph/opset.h"
#include "graph/own/own.h"
#include "graph/run/fold.h"
#include "graph/verify.h"

void mc_job_free(struct mc_job *j)
{
    mc_onnx_staged_abort(j->staged);
    mc_model_free(j->result);
    mc_model_free(j->work);
    mc_dataset_free(j->train);
    mc_dataset_free(j->calib);
    mc_dataset_free(j->data);
    mc_cli_close(&j->original);
    mc_spill_free(j->spill);
    json_decref(j->input);
    json_decref(j->output);
    json_decref(j->passes);
    json_decref(j->account);
    json_decref(j->gates);
    json_decref(j->report);
    json_decref(j->latency);
}

/* ---- before the work ---- */

static int check_options(const struct mc_cli *cli, struct mc_job *j, struct mc_err *err)
{
    j->out = mc_param_text(cli->values, "out");
    j->data_spec = mc_param_text(cli->values, "data");
    j->dry_run = mc_param_flag(cli->values, "dry-run");
    j->write.external = mc_param_flag(cli->values, "external-data");
    j->inlines = mc_param_flag(cli->values, "inline");
    j->expands = mc_param_flag(cli->values, "expand");
    const char *model = mc_cli_operand(cli, 0);
    if (j->inlines && j->expands)
        return mc_fail(err, MC_EUSAGE, "--inline and --expand say two things: give one of them");
    if (!j->out && !j->dry_run)
        return mc_fail(err, MC_EUSAGE, "needs -o OUT to write to, or --dry-run");
    j->to_stdout = j->out && !j->dry_run && !strcmp(j->out, "-");
    if (j->to_stdout && cli->json)
        return mc_fail(err, MC_EUSAGE,
                       "-o - and --json both want standard output; use --report FILE");
    if (mc_gates_given(cli) && !j->data_spec)
        return mc_fail(err, MC_EUSAGE, "a gate needs samples to measure on: pass --data SPEC");
    const char *const files[] = {model, j->to_stdout ? NULL : j->out};
    int rc = mc_cli_check_reports(cli, files, 2, err);
    return rc ? rc : mc_gates_check(cli, !j->incomparable, true, true, err);
}

/* Can OUT be written? Found out now, by opening it without committing anything. */
static int check_writable(const struct mc_job *j, struct mc_err *err)
{
    struct mc_out *probe;
    int rc = mc_out_open(j->out, &probe, err);
    if (!rc)
        mc_out_abort(probe);
    return rc;
}

int mc_job_open(const struct mc_cli *cli, struct mc_job *j, struct mc_err *err)
{
    int rc = check_options(cli, j, err);
    if (!rc && !j->dry_run)
        rc = check_writable(j, err);
    if (!rc)
        rc = mc_cli_read(mc_cli_operand(cli, 0), &j->original, err);
    if (!rc && !j->dry_run)
        rc = mc_cli_check_out(&j->original, j->out, err);
    bool external = !rc && (j->write.external || j->original.model->external);
    if (external && !j->dry_run && mc_path_streams(j->out))
        rc = mc_fail(err, MC_EUSAGE, "a model with external data cannot go to %s: give a file name",
                     j->to_stdout ? "standard output" : "a pipe or a device");
    if (!rc)
        rc = mc_cli_describe(&j->original, &j->input, err);
    if (!rc)
        j->fixed_inputs = mc_edit_fix_inputs(j->original.model->graph);
    return rc;
}

static void find_overlap(struct mc_job *j, const struct mc_dataset *used, const char *warning)
{
    const char *id = j->data ? j->data->id : "";
    if (*id && !strcmp(id, used->id))
        j->overlap = warning;
}

/* Behind the samples of --train come those of --unlabelled. */
static int add_unlabelled(const struct mc_cli *cli, struct mc_job *j,
                          const struct mc_model *subject, struct mc_err *err)
{
    struct mc_dataset *more, *labelled = j->train;
    int rc = mc_cli_samples(mc_param_text(cli->values, "unlabelled"), subject, j->preprocess, true,
                            &more, err);
    if (rc)
        return rc;
    find_overlap(j, more,
                 "--data and --unlabelled are the same samples: the accuracy shown is too good; "
                 "measure on others");
    j->train = NULL;
    return mc_dataset_join(labelled, more, &j->train, err);
}

static int open_samples(const struct mc_cli *cli, struct mc_job *j, const struct mc_model *subject,
                        struct mc_err *err)
{
    const char *train = mc_param_text(cli->values, "train");
    const char *calib = mc_param_text(cli->values, "calib");
    if (!calib && j->compresses) /* samples to train on can guide the compression as well */
        calib = train;
    j->preprocess = mc_cli_preprocess(cli, subject, j->original.model);
    int rc = 0;
    if (j->data_spec)
        rc = mc_cli_samples(j->data_spec, subject, j->preprocess, false, &j->data, err);
    if (!rc && j->data)
        rc = mc_gates_check(cli, !j->incomparable, j->data->has_labels, j->data->sequence > 0, err);
    if (!rc && calib)
        rc = mc_cli_samples(calib, subject, j->preprocess, false, &j->calib, err);
    if (!rc && calib)
        find_overlap(j, j->calib,
                     "--data and --calib are the same samples: the accuracy shown is too good; "
                     "measure on others");
    if (!rc && train)
        rc = mc_cli_samples(train, subject, j->preprocess, false, &j->train, err);
    if (!rc && train)
        find_overlap(j, j->train,
                     "--data and --train are the same samples: the accuracy shown is too good; "
                     "measure on others");
    if (!rc && train && mc_param_has(cli->values, "unlabelled"))
        rc = add_unlabelled(cli, j, subject, err);
    if (rc)
        return rc;
    j->calib_count = mc_param_int(cli->values, "calib-count", 0);
    if (j->calib && j->calib->count >= 0 && j->calib->count < j->calib_count)
        j->calib_count = j->calib->count;
    if (j->overlap)
        mc_console_warn(cli, j->overlap);
    return 0;
}

/* What is to be measured must also run: known before hours of work, not after them. */
static int check_runs(const struct mc_cli *cli, const struct mc_job *j, struct mc_err *err)
{
    struct mc_session *s;
    if (!j->data || j->dry_run)
        return 0;
    int rc = mc_session_new(j->original.model->graph, &(struct mc_session_opts){.pool = cli->pool},
                            &s, err);
    if (rc == MC_EUNSUP)
        return mc_fail(err, rc, "%s; without --data the rest of the model can be compressed",
                       err->msg);
    if (!rc)
        mc_session_free(s);
    return rc;
}

int mc_job_data(const struct mc_cli *cli, struct mc_job *j, const struct mc_model *subject,
                struct mc_err *err)
{
    int rc = open_samples(cli, j, subject, err);
    if (!rc)
        rc = mc_machine_start(cli, err);
    if (!rc)
        rc = check_runs(cli, j, err);
    if (!rc && !j->dry_run) {
        char dir[MC_PATH];
        /* New weights lie where the output will be: the disk that must have room. */
        rc = mc_spill_new(j->to_stdout ? NULL : mc_path_dir(j->out, dir), &j->spill, err);
    }
    return rc;
}

int mc_job_clone(const struct mc_cli *cli, struct mc_job *j, const struct mc_model *m,
                 struct mc_err *err)
{
    struct mc_fold_stats folded;
    int rc = mc_model_clone(m, &j->work, err);
    if (rc)
        return rc;
    j->work->spill = j->spill;
    rc = mc_prepare(j->work, &folded, err);
    if (!rc)
        mc_console_note(cli, "prepared: %zu nodes folded, %zu constants merged",
                        folded.folded_nodes, folded.merged_constants);
    return rc;
}

int mc_job_bytes(const struct mc_job *j, const struct mc_model *m, uint64_t *ret,
                 struct mc_err *err)
{
    return mc_onnx_bytes(m, j->out, &j->write, ret, err);
}

/* ---- after it ---- */

/* The form in which weights of graph/own are written. */
static int settle_form(struct mc_job *j, struct mc_err *err)
{
    if (j->inlines) {
        /* What bodies compute from constants alone is kept where it is smaller than the nodes. */
        int rc = mc_own_inline(j->work, err);
        return rc ? rc : mc_prepare(j->work, NULL, err);
    }
    return j->expands ? mc_own_expand(j->work, err) : 0;
}

/* The figures are about the file: it is written, read back, and that model is measured. */
static int write_and_measure(const struct mc_cli *cli, struct mc_job *j, struct mc_err *err)
{
    const char *steps = mc_param_text(cli->values, "preprocess");
    char hex[65];
    uint64_t bytes;
    int rc = steps ? mc_edit_meta(j->work, "ai.mcompress.preprocess", steps, err) : 0;
    mc_edit_sweep(j->work->graph);
    mc_own_sweep(j->work);
    if (!rc)
        rc = settle_form(j, err);
    if (!rc)
        rc = mc_opset_lift(j->work, 0, err);
    if (!rc)
        rc = mc_verify(j->work, err);
    if (!rc)
        rc = mc_onnx_stage(j->work, j->out, &j->write, &j->staged, err);
    if (!rc)
        rc = mc_onnx_staged_read(j->staged, &j->result, err);
    if (!rc)
        rc = mc_onnx_staged_digest(j->staged, hex, &bytes, err);
    if (!rc)
        rc = mc_cli_describe_as(j->out, j->result, bytes, hex, &j->output, err);
    if (!rc)
        rc = mc_cli_latency(cli, j, &j->latency, j->no_latency, err);
    if (rc || !j->data)
        return rc;
    rc = mc_cli_measure(cli, j->result, j->incomparable ? NULL : j->original.model, j->data,
                        &j->measured, err);
    if (rc)
        return rc;
    struct mc_err gate;
    rc = mc_gates_judge(cli, &j->measured, &j->gates, &gate);
    if (rc == MC_EGATE) {
        if (!j->missed)
            j->gate = gate;
        j->missed = rc;
        return 0;
    }
    return rc ? mc_fail(err, rc, "%s", gate.msg) : 0;
}

static int commit(struct mc_job *j, struct mc_err *err)
{
    int rc = mc_interrupt_check(err);
    if (rc)
        return rc;
    struct mc_onnx_staged *s = j->staged;
    j->staged = NULL;
    return mc_onnx_staged_commit(s, err);
}

int mc_job_finish(const struct mc_cli *cli, struct mc_job *j, struct mc_err *err)
{
    json_t *report = NULL;
    j->target_missed = j->missed != 0;
    j->target = j->gate;
    int rc = j->dry_run ? 0 : write_and_measure(cli, j, err);
    if (!rc)
        rc = mc_job_report(cli, j, &report, err);
    if (!rc && !j->dry_run)
        rc = commit(j, err);
    if (!rc)
        rc = mc_cli_deliver(cli, report, j->to_stdout, err);
    if (!rc && j->missed)
        rc = mc_fail(err, j->missed, "%s", j->gate.msg);
    j->report = report;
    return rc;
}
