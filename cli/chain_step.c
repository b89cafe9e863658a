#include "cli/chain.h"

#include <string.h>

#include "base/interrupt.h"
#include "base/io.h"
#include "base/json.h"
#include "cli/chain_rounds.h"
#include "cli/choices.h"
#include "cli/deliver.h"
#include "graph/edit.h"
#include "passes/search/search.h"
#include "passes/width.h"
#include "train/head.h"
#include "train/reinit.h"

static bool is(const struct mc_chain_step *s, const char *command)
{
    return !s->cli.pass && !strcmp(s->cli.command->name, command);
}

/* ---- before anything is read ---- */

/* A head for other classes cannot be compared with the one before. */
static int check_head(const struct mc_chain_step *s, struct mc_err *err)
{
    static const char *const compared[] = {"max-drop", "min-sqnr"};
    for (size_t i = 0; i < 2 && mc_param_has(s->cli.values, "head"); i++)
        if (mc_param_has(s->cli.values, compared[i]))
            return mc_fail(err, MC_EUSAGE,
                           "--%s compares with the model before, which has other classes; use "
                           "--require, such as 'top1>=0.9'",
                           compared[i]);
    return 0;
}

static int check_student(const struct mc_chain_step *s, struct mc_err *err)
{
    const char *student = mc_param_text(s->cli.values, "student");
    if (!student && !s->thins)
        return mc_fail(err, MC_EUSAGE,
                       "needs a student: pass --student FILE, or --width 0.5 for a thinner copy");
    if (student && s->thins)
        return mc_fail(err, MC_EUSAGE, "--student and --width exclude each other");
    if (student && !strcmp(student, "-") && !strcmp(mc_cli_operand(&s->cli, 0), "-"))
        return mc_fail(err, MC_EUSAGE, "teacher and student cannot both come from standard input");
    return 0;
}

static int check_time(const struct mc_chain_step *s, struct mc_err *err)
{
    const char *limit = mc_param_text(s->cli.values, "time");
    double seconds;
    return limit ? mc_search_seconds(limit, &seconds, err) : 0;
}

int mc_chain_step_check(struct mc_chain_step *s, struct mc_err *err)
{
    int rc = s->cli.pass         ? check_time(s, err)
             : is(s, "finetune") ? check_head(s, err)
             : is(s, "distill")  ? check_student(s, err)
                                 : 0;
    if (rc)
        return rc;
    return s->trains ? mc_job_train_check(&s->cli, &s->train, err)
                     : mc_job_train_unasked(&s->cli, err);
}

/* --choices-out and --stats-out replace no file that is read or written besides. */
static int check_out(const struct mc_chain_step *s, const struct mc_job *j, const char *option,
                     struct mc_err *err)
{
    const char *out = mc_param_text(s->cli.values, option);
    const char *const taken[] = {
        mc_param_text(s->cli.values, "choices"),
        j->to_stdout ? NULL : j->out,
        mc_cli_operand(&s->cli, 0),
        strcmp(option, "stats-out") ? NULL : mc_param_text(s->cli.values, "choices-out"),
        mc_param_text(s->cli.values, "calib"),
        mc_param_text(s->cli.values, "train"),
        mc_param_text(s->cli.values, "data")};
    const size_t n = sizeof taken / sizeof *taken;
    const json_t *list = json_object_get(s->cli.values, "stats");
    for (size_t i = 0; out && i < n + json_array_size(list); i++) {
        const char *at = i < n ? taken[i] : json_string_value(json_array_get(list, i - n));
        if (at && (!strcmp(at, out) || mc_path_same(at, out)))
            return mc_fail(err, MC_EUSAGE, "--%s '%s' would replace '%s'; give another name",
                           option, out, at);
    }
    return 0;
}

/* What activations hold: files of earlier runs, and where that of this one goes. */
static int open_stats(struct mc_chain_step *s, const struct mc_job *j, struct mc_err *err)
{
    const json_t *list = json_object_get(s->cli.values, "stats"), *name;
    const char *out = mc_param_text(s->cli.values, "stats-out");
    size_t i;
    int rc = check_out(s, j, "stats-out", err);
    bool ok = true;
    if (!rc && json_array_size(list))
        s->stats = json_array();
    json_array_foreach(list, i, name)
    {
        json_t *one = NULL;
        if (!rc)
            rc = mc_choices_read(json_string_value(name), &one, err);
        if (!rc)
            mc_json_add(s->stats, one, &ok);
    }
    if (!rc && !ok)
        rc = mc_fail(err, MC_ENOMEM, "out of memory");
    return rc || !out ? rc : mc_choices_open(out, &s->stats_out, err);
}

static int open_choices(struct mc_chain_step *s, const struct mc_job *j, struct mc_err *err)
{
    const char *in = mc_param_text(s->cli.values, "choices");
    const char *out = mc_param_text(s->cli.values, "choices-out");
    int status = check_out(s, j, "choices-out", err);
    if (status)
        return status;
    const char *const chosen[] = {in, out, mc_param_text(s->cli.values, "stats-out")};
    int rc = mc_cli_check_reports(&s->cli, chosen, 3, err);
    if (!rc && in)
        rc = mc_choices_read(in, &s->choices, err);
    if (!rc && out)
        rc = mc_choices_open(out, &s->choices_out, err);
    return rc ? rc : open_stats(s, j, err);
}

/* The student as a file, which must not be the one that is written. */
int mc_chain_step_read(struct mc_chain_step *s, struct mc_job *j, struct mc_err *err)
{
    if (s->cli.pass)
        return open_choices(s, j, err);
    if (!is(s, "distill") || s->thins)
        return 0;
    int rc = mc_cli_read(mc_param_text(s->cli.values, "student"), &s->student, err);
    if (!rc && !j->dry_run)
        rc = mc_cli_check_out(&s->student, j->out, err);
    if (!rc)
        mc_edit_fix_inputs(s->student.model->graph);
    return rc;
}

/* ---- the work ---- */

/* What is noted in the model takes room as well, as far as the model made some. */
static int bytes_of(void *host, const struct mc_model *m, uint64_t *ret, struct mc_err *err)
{
    struct mc_job *j = host;
    uint64_t bytes, given = j->given;
    int rc = mc_job_bytes(j, m, &bytes, err);
    if (rc)
        return rc;
    uint64_t saved = bytes < given ? given - bytes : 0;
    *ret = bytes + (saved < j->room ? saved : j->room);
    return 0;
}

static struct mc_pass_ctx context(const struct mc_chain_step *s, struct mc_job *j)
{
    double seconds = -1;
    const char *limit = mc_param_text(s->cli.values, "time");
    if (limit)
        mc_search_seconds(limit, &seconds, NULL); /* checked before */
    return (struct mc_pass_ctx){
        .train = j->train,
        .given = s->given,
        .output = mc_param_text(s->cli.values, "output"),
        .choices = s->choices,
        .stats = s->stats,
        .has_max_drop = mc_param_has(s->cli.values, "max-drop"),
        .max_drop = mc_param_real(s->cli.values, "max-drop", 0),
        .judged = j->data && j->data->count > 0 ? j->data->count : 0,
        .deadline = seconds >= 0 ? s->cli.start + seconds : 0,
        .pool = s->cli.pool,
        .seed = (uint64_t)mc_param_int(s->cli.values, "seed", 0),
        .calib = j->calib,
        .calib_count = j->calib_count,
        .progress = s->cli.progress,
        .dry_run = j->dry_run,
        .host = j,
        .bytes_of = bytes_of,
    };
}

static int put_stats(struct mc_chain_step *s, struct mc_job *j, struct mc_err *err)
{
    const char *path = mc_param_text(s->cli.values, "stats-out");
    const json_t *stats = json_object_get(j->account, "statistics");
    if (!stats)
        return mc_fail(err, MC_EUSAGE,
                       "--stats-out %s: nothing was measured; give samples with --calib and a form "
                       "that needs ranges",
                       path);
    int rc = mc_choices_put(s->stats_out, path, stats, err);
    json_object_del(j->account, "statistics"); /* the file has it, the report need not */
    return rc;
}

/* Shares are of the model that the step was given; of the first, as it was in its file. */
static int run_pass(struct mc_chain_step *s, bool first, struct mc_job *j, struct mc_err *err)
{
    struct mc_pass_ctx ctx = context(s, j);
    const char *choices = mc_param_text(s->cli.values, "choices-out");
    double begin = mc_now();
    int rc = mc_chain_rounds_aim(s, j, err);
    if (!rc)
        rc = mc_job_bytes(j, first ? j->original.model : j->work, &ctx.bytes_original, err);
    j->given = ctx.bytes_original;
    if (!rc && s->cli.pass->convert && !s->given && !j->dry_run)
        rc = mc_model_clone(j->work, &s->given, err); /* tensors are shared */
    if (!rc)
        rc = s->cli.pass->run(&ctx, s->cli.values, j->work, &j->account, err);
    j->seconds = mc_now() - begin;
    s->form = MC_CHAIN_FILE;
    if (rc == MC_EGATE) {
        if (!j->missed)
            j->gate = *err;
        j->missed = rc;
        rc = 0;
    }
    if (!rc && s->choices_out)
        rc = mc_choices_put(s->choices_out, choices, json_object_get(j->account, "search"), err);
    if (!rc && s->stats_out)
        rc = put_stats(s, j, err);
    return rc ? rc : mc_interrupt_check(err);
}

/* j->work becomes a thinner copy of itself, the teacher. */
static int make_thin(struct mc_chain_step *s, struct mc_job *j, struct mc_err *err)
{
    json_t *account;
    int rc = mc_width_reduce(j->work, mc_param_real(s->cli.values, "width", 1), &account, err);
    bool ok = true;
    if (rc)
        return rc;
    if (!j->account)
        j->account = json_object();
    mc_json_put(j->account, "width", account, &ok);
    return ok ? 0 : mc_fail(err, MC_ENOMEM, "out of memory");
}

static int take_student(struct mc_chain_step *s, size_t i, struct mc_job *j, struct mc_err *err)
{
    int rc = 0;
    if (i > 0) { /* the job began with the model of the first step alone */
        rc = mc_model_clone(j->work, &s->taught, err);
        s->train.teacher = rc ? NULL : s->taught;
        s->train.teacher_name = "the model before";
    }
    if (!rc && s->thins)
        return make_thin(s, j, err);
    if (!rc && i > 0) {
        mc_model_free(j->work);
        j->work = NULL;
        rc = mc_job_clone(&s->cli, j, s->student.model, err);
    }
    return rc;
}

/* What --reinit and --head do before training; their reports go beside that of the training. */
static int renew(const struct mc_chain_step *s, struct mc_job *j, json_t **ret_reinit,
                 json_t **ret_head, struct mc_err *err)
{
    uint64_t seed = (uint64_t)mc_param_int(s->cli.values, "seed", 0);
    int rc = 0;
    if (mc_param_flag(s->cli.values, "reinit"))
        rc = mc_reinit(j->work, seed, ret_reinit, err);
    if (!rc && mc_param_has(s->cli.values, "head"))
        rc = mc_head_replace(j->work, mc_param_int(s->cli.values, "head", 0),
                             mc_param_text(s->cli.values, "output"), seed, ret_head, err);
    return rc;
}

/* Weights whose form in the file is not the one to train have hooks that put the other one in place. */
static int open_forms(struct mc_chain *c, size_t i, struct mc_job *j, struct mc_err *err)
{
    int rc = 0;
    for (size_t k = 0; k <= i && !rc && !j->dry_run; k++) {
        struct mc_chain_step *s = &c->step[k];
        struct mc_pass_ctx ctx = context(s, j);
        if (s->form != MC_CHAIN_FILE || !s->cli.pass->convert)
            continue;
        rc = s->cli.pass->convert(&ctx, s->cli.values, j->work, err);
        s->form = MC_CHAIN_OPEN;
    }
    struct mc_pass_ctx ctx = context(&c->step[i], j);
    for (size_t k = 0; mc_pass_at(k); k++)
        c->reopened = c->reopened || mc_pass_at(k)->reopen;
    return rc ? rc : mc_passes_reopen(NULL, &ctx, j->work, err);
}

int mc_chain_close(struct mc_chain *c, struct mc_job *j, struct mc_err *err)
{
    int rc = 0;
    bool was = c->reopened;
    for (size_t k = c->n; k-- > 0 && !rc;) {
        struct mc_chain_step *s = &c->step[k];
        struct mc_pass_ctx ctx = context(s, j);
        if (s->form != MC_CHAIN_OPEN)
            continue;
        s->form = MC_CHAIN_CLOSED;
        was = true;
        rc = s->cli.pass->finish ? s->cli.pass->finish(&ctx, s->cli.values, j->work, err) : 0;
    }
    struct mc_pass_ctx ctx = context(&c->step[0], j);
    if (!rc && c->reopened)
        rc = mc_passes_finish(NULL, &ctx, j->work, err);
    c->reopened = false;
    if (!was)
        return rc;
    mc_edit_sweep(j->work->graph); /* what the training form left behind */
    if (!rc && !j->dry_run)
        rc = mc_job_bytes(j, j->work, &c->closed, err);
    return rc;
}

/* The report of a stage that another one follows stands beside that of the last. */
static int put_stage(struct mc_job *j, const struct mc_pass_stage *stage, struct mc_err *err)
{
    bool ok = true;
    json_t *list = json_object_get(j->account, "training_stages");
    json_t *t = json_incref(json_object_get(j->account, "training"));
    mc_json_put(t, "stage", mc_json_text(stage->name), &ok);
    if (!list)
        mc_json_put(j->account, "training_stages", list = json_array(), &ok);
    mc_json_add(list, t, &ok);
    return ok ? 0 : mc_fail(err, MC_ENOMEM, "out of memory");
}

/* Of a pass that trains in stages, one after the other. */
static int train_stages(struct mc_chain_step *s, struct mc_job *j, struct mc_err *err)
{
    struct mc_pass_ctx ctx = context(s, j);
    struct mc_pass_stage stage = {.share = 1, .last = true};
    bool staged = s->cli.pass && s->cli.pass->stage && !j->dry_run;
    int rc = 0, k = 0;
    do {
        if (staged)
            rc = s->cli.pass->stage(&ctx, s->cli.values, k, j->work, &stage, err);
        s->train.lr = stage.lr;
        s->train.ema = stage.ema;
        s->train.stage = stage.last && k == 0 ? 0 : k + 1;
        if (!rc)
            rc = mc_job_train(&s->cli, j, &s->train, s->epochs * stage.share, err);
        if (!rc && s->train.stage)
            rc = put_stage(j, &stage, err);
        k++;
    } while (!rc && !stage.last);
    return rc;
}

static int train(struct mc_chain *c, size_t i, struct mc_job *j, struct mc_err *err)
{
    struct mc_chain_step *s = &c->step[i];
    json_t *reinit = NULL, *head = NULL;
    bool ok = true;
    int rc = renew(s, j, &reinit, &head, err);
    if (!rc)
        rc = open_forms(c, i, j, err);
    if (s->follows && c->snapshot) {
        s->train.teacher = c->snapshot;
        s->train.teacher_name = c->before_text;
    }
    if (!rc)
        rc = train_stages(s, j, err);
    json_t *t = rc ? NULL : json_object_get(j->account, "training");
    if (t && reinit)
        mc_json_put(t, "reinit", json_incref(reinit), &ok);
    if (t && head)
        mc_json_put(t, "head", json_incref(head), &ok);
    if (t && is(s, "distill"))
        mc_json_put(t, "student",
                    mc_json_text(s->thins ? "a thinner copy of the teacher" : s->student.name),
                    &ok);
    json_decref(reinit);
    json_decref(head);
    return rc || ok ? rc : mc_fail(err, MC_ENOMEM, "out of memory");
}

int mc_chain_step_work(struct mc_chain *c, size_t i, struct mc_job *j, struct mc_err *err)
{
    struct mc_chain_step *s = &c->step[i];
    int rc = s->cli.pass        ? run_pass(s, i == 0, j, err)
             : is(s, "distill") ? take_student(s, i, j, err)
                                : 0;
    return rc || !s->trains ? rc : train(c, i, j, err);
}
