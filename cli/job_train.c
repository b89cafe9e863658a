#include "cli/job_train.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/io.h"
#include "base/json.h"
#include "base/mem.h"
#include "cli/console.h"
#include "graph/edit.h"
#include "graph/opset.h"
#include "train/train.h"

/* ---- before ---- */

/* Those of mc_train_params that are not what they are anyway. */
static int gather_options(const struct mc_cli *cli, json_t **ret, struct mc_err *err)
{
    bool ok = true;
    json_t *presets = json_object(), *o = json_object();
    int rc = presets ? mc_param_validate(mc_train_params, presets, mc_console_name(cli), err)
                     : MC_ENOMEM;
    for (const struct mc_param *p = mc_train_params; !rc && p->type; p++) {
        json_t *v = json_object_get(cli->values, p->name);
        if (v && !json_equal(v, json_object_get(presets, p->name)))
            mc_json_put(o, p->name, json_incref(v), &ok);
    }
    json_decref(presets);
    if (!rc && ok) {
        *ret = o;
        return 0;
    }
    json_decref(o);
    return rc && rc != MC_ENOMEM ? rc : mc_fail(err, MC_ENOMEM, "out of memory");
}

/* Files that are written besides OUT must be no model, and not each other. */
static int check_files(const struct mc_cli *cli, struct mc_err *err)
{
    static const char *const written[] = {"checkpoint", "dump-graph"};
    static const char *const others[] = {"out", "checkpoint", "teacher", "student"};
    for (size_t i = 0; i < 2; i++) {
        const char *path = mc_param_text(cli->values, written[i]);
        const char *model = mc_cli_operand(cli, 0);
        if (path && mc_path_same(path, model))
            return mc_fail(err, MC_EUSAGE, "--%s '%s' would replace the model; give another name",
                           written[i], path);
        if (path && i == 0 && mc_path_streams(path))
            return mc_fail(err, MC_EUSAGE,
                           "--checkpoint '%s': what a run goes on from must be a file", path);
        for (size_t k = 0; path && k < sizeof others / sizeof *others; k++) {
            const char *other = mc_param_text(cli->values, others[k]);
            if (other && strcmp(written[i], others[k]) &&
                (!strcmp(path, other) || mc_path_same(path, other)))
                return mc_fail(err, MC_EUSAGE, "--%s and --%s are the same file '%s'", written[i],
                               others[k], path);
        }
    }
    return 0;
}

int mc_job_train_check(const struct mc_cli *cli, struct mc_job_train *t, struct mc_err *err)
{
    if (!mc_param_text(cli->values, "train"))
        return mc_fail(err, MC_EUSAGE,
                       "%s needs samples to train on: pass --train SPEC ('mcompress list formats' "
                       "shows what it can be)",
                       t->command);
    if (mc_param_has(cli->values, "checkpoint-every") && !mc_param_has(cli->values, "checkpoint"))
        return mc_fail(err, MC_EUSAGE, "--checkpoint-every needs --checkpoint FILE");
    int rc = check_files(cli, err);
    return rc ? rc : gather_options(cli, &t->options, err);
}

int mc_job_train_unasked(const struct mc_cli *cli, struct mc_err *err)
{
    static const char *const names[] = {"teacher", "checkpoint", "checkpoint-every", "dump-graph"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (mc_param_has(cli->values, names[i]))
            return mc_fail(err, MC_EUSAGE, "--%s goes with --finetune EPOCHS", names[i]);
    json_t *options = NULL;
    const char *name = NULL;
    json_t *v;
    int rc = gather_options(cli, &options, err);
    json_object_foreach(options, name, v) if (strcmp(name, "output") &&
                                              strcmp(name, "blank")) /* measuring has them, too */
        rc = mc_fail(err, MC_EUSAGE, "--%s goes with --finetune EPOCHS", name);
    json_decref(options);
    return rc;
}

/* Options that say what to do with a teacher's answers, where there is none, or none is listened to. */
static int check_teacher(const struct mc_cli *cli, const struct mc_job_train *t, struct mc_err *err)
{
    static const char *const options[] = {"unlabelled", "alpha", "temperature"};
    static const char *const alone[] = {"ce", "bce", "mse", "ctc"};
    const char *loss = mc_json_string(t->options, "loss");
    for (size_t i = 0; i < sizeof options / sizeof *options && !t->teacher; i++)
        if (i ? json_object_get(t->options, options[i]) != NULL
              : mc_param_has(cli->values, options[i]))
            return mc_fail(err, MC_EUSAGE,
                           "--%s is for a teacher, and there is none: pass --teacher MODEL",
                           options[i]);
    for (size_t i = 0; i < sizeof alone / sizeof *alone && loss && t->file.model; i++)
        if (!strcmp(loss, alone[i]))
            return mc_fail(err, MC_EUSAGE,
                           "--loss %s does not listen to a teacher; leave out --teacher, or give "
                           "--loss auto, kd, cosine, outputs or blocks",
                           loss);
    return 0;
}

static int read_teacher(const struct mc_cli *cli, struct mc_job *j, struct mc_job_train *t,
                        const struct mc_model *before, struct mc_err *err)
{
    const char *name = mc_param_text(cli->values, "teacher");
    t->teacher = before;
    t->teacher_name = before ? j->original.name : NULL;
    if (!name)
        return 0;
    t->teacher = NULL;
    t->teacher_name = NULL;
    if (!strcmp(name, "none"))
        return 0;
    int rc = mc_cli_read(name, &t->file, err);
    if (!rc && !j->dry_run)
        rc = mc_cli_check_out(&t->file, j->out, err);
    if (rc)
        return rc;
    mc_edit_fix_inputs(t->file.model->graph);
    if ((rc = mc_cli_adopt_input(t->file.model, j->original.model, err)))
        return rc;
    t->teacher = t->file.model;
    t->teacher_name = name;
    return 0;
}

int mc_job_train_open(const struct mc_cli *cli, struct mc_job *j, struct mc_job_train *t,
                      const struct mc_model *before, struct mc_err *err)
{
    int rc = read_teacher(cli, j, t, before, err);
    return rc ? rc : check_teacher(cli, t, err);
}

/* ---- the work ---- */

static int dump_graph(const struct mc_cli *cli, struct mc_job *j, const struct mc_job_train *t,
                      const struct mc_train_ctx *ctx, struct mc_err *err)
{
    const char *path = mc_param_text(cli->values, "dump-graph");
    struct mc_model *step;
    if (!path)
        return 0;
    int rc = mc_train_step_graph(j->work, t->teacher, j->train, t->options, ctx, &step, err);
    if (rc)
        return rc;
    rc = mc_opset_lift(step, 0, err);
    if (!rc)
        rc = mc_onnx_write(step, path, &(struct mc_onnx_write_opts){0}, err);
    mc_model_free(step);
    return rc;
}

/* The report of a training becomes a part of the account. */
static int take_report(struct mc_job *j, const struct mc_job_train *t, double epochs,
                       json_t *report, struct mc_err *err)
{
    bool ok = report != NULL;
    if (!j->account)
        j->account = json_object();
    mc_json_put(report, "train", mc_json_text(j->train->spec), &ok);
    mc_json_put(report, "teacher", mc_json_text(t->teacher_name), &ok);
    mc_json_put(report, "epochs_asked", mc_json_real(epochs), &ok);
    mc_json_put(j->account, "training", report, &ok);
    return ok ? 0 : mc_fail(err, MC_ENOMEM, "out of memory");
}

/* Each stage goes on from a file of its own; of one the name is as it was given. */
static int checkpoint_of(const struct mc_cli *cli, const struct mc_job_train *t, char **ret,
                         struct mc_err *err)
{
    enum { NUMBER = 16 };
    const char *path = mc_param_text(cli->values, "checkpoint");
    *ret = NULL;
    if (!path)
        return 0;
    size_t size = strlen(path) + NUMBER;
    if (!(*ret = mc_calloc(size, 1)))
        return mc_fail(err, MC_ENOMEM, "out of memory");
    if (t->stage > 1)
        snprintf(*ret, size, "%s.%d", path, t->stage);
    else
        snprintf(*ret, size, "%s", path);
    return 0;
}

/* The options, with the rate and the average that suit a stage where none are given. */
static int options_of(const struct mc_job_train *t, json_t **ret, struct mc_err *err)
{
    bool ok = true;
    const char *optimizer = mc_param_text(t->options, "optimizer");
    bool suits = t->lr > 0 && !mc_param_has(t->options, "lr") &&
                 (!optimizer || strncmp(optimizer, "adam", 4) == 0);
    json_t *o = json_copy(t->options);
    if (o && suits)
        mc_json_put(o, "lr", json_real(t->lr), &ok);
    if (o && t->ema > 0 && !mc_param_has(t->options, "ema"))
        mc_json_put(o, "ema", json_real(t->ema), &ok);
    if (!o || !ok) {
        json_decref(o);
        return mc_fail(err, MC_ENOMEM, "out of memory");
    }
    *ret = o;
    return 0;
}

int mc_job_train(const struct mc_cli *cli, struct mc_job *j, struct mc_job_train *t, double epochs,
                 struct mc_err *err)
{
    char *checkpoint;
    int rc = checkpoint_of(cli, t, &checkpoint, err);
    const struct mc_train_ctx ctx = {
        .pool = cli->pool,
        .seed = (uint64_t)mc_param_int(cli->values, "seed", 0),
        .progress = cli->progress,
        .checkpoint = checkpoint,
        .checkpoint_every = mc_param_int(cli->values, "checkpoint-every", 0),
    };
    json_t *report = NULL, *options = NULL;
    double begin = mc_now();
    rc = rc ? rc : dump_graph(cli, j, t, &ctx, err);
    rc = rc ? rc : options_of(t, &options, err);
    if (!rc && j->dry_run)
        rc = mc_train_plan(j->work, t->teacher, j->train, epochs, options, &ctx, &report, err);
    else if (!rc)
        rc = mc_train_run(j->work, t->teacher, j->train, epochs, options, &ctx, &report, err);
    json_decref(options);
    free(checkpoint);
    j->seconds += mc_now() - begin;
    if (rc) {
        json_decref(report);
        return rc;
    }
    return take_report(j, t, epochs, report, err);
}

void mc_job_train_free(struct mc_job_train *t)
{
    mc_cli_close(&t->file);
    json_decref(t->options);
}
