#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/io.h"
#include "base/json.h"
#include "base/mem.h"
#include "cli/console.h"
#include "cli/chain.h"
#include "cli/chain_rounds.h"
#include "cli/history.h"
#include "graph/edit.h"
#include "passes/search/search.h"

static int add_one(struct mc_chain *c, const struct mc_cli *cli, const struct mc_command *command,
                   const struct mc_pass *pass, json_t *values, int rounds_left, struct mc_err *err)
{
    struct mc_chain_step *grown = realloc(c->step, (c->n + 1) * sizeof *grown);
    if (!grown)
        return mc_fail(err, MC_ENOMEM, "out of memory");
    c->step = grown;
    struct mc_chain_step *s = &grown[c->n++];
    *s = (struct mc_chain_step){.cli = *cli, .trains = !pass || mc_param_has(values, "finetune")};
    s->cli.command = command;
    s->cli.pass = pass;
    s->cli.values = json_incref(values);
    s->thins = !pass && mc_param_has(values, "width");
    s->epochs = mc_param_real(values, pass ? "finetune" : "epochs", 1);
    s->train.command = pass ? "--finetune" : "training";
    s->rounds_left = rounds_left;
    return 0;
}

int mc_chain_add(struct mc_chain *c, const struct mc_cli *cli, const struct mc_command *command,
                 const struct mc_pass *pass, json_t *values, struct mc_err *err)
{
    int n = mc_chain_rounds(values), rc = 0;
    if (n < 2)
        return add_one(c, cli, command, pass, values, 1, err);
    for (int left = n; !rc && left > 0; left--) {
        json_t *own;
        rc = mc_chain_rounds_values(values, n, &own, err);
        if (rc)
            break;
        rc = add_one(c, cli, command, pass, own, left, err);
        json_decref(own);
    }
    return rc;
}

void mc_chain_free(struct mc_chain *c)
{
    for (size_t i = 0; i < c->n; i++) {
        mc_job_train_free(&c->step[i].train);
        mc_cli_close(&c->step[i].student);
        json_decref(c->step[i].cli.values);
        json_decref(c->step[i].choices);
        json_decref(c->step[i].stats);
        mc_out_abort(c->step[i].choices_out);
        mc_out_abort(c->step[i].stats_out);
    }
    free(c->step);
    json_decref(c->report);
}

/* A command has no steps that anyone sees; of a recipe the step at fault is named. */
static int blame(const struct mc_chain *c, size_t i, int rc, struct mc_err *err)
{
    if (!rc || rc == MC_EINTR || c->n == 1)
        return rc;
    return mc_fail(err, rc, "step %zu (%s): %s", i + 1, mc_console_name(&c->step[i].cli), err->msg);
}

/* ---- before ---- */

static bool shrinks(const struct mc_chain_step *s)
{
    return s->cli.pass || !strcmp(s->cli.command->name, "distill");
}

/* The first step that makes the model smaller, c->n if there is none. */
static size_t first_shrinking(const struct mc_chain *c)
{
    size_t i = 0;
    while (i < c->n && !shrinks(&c->step[i]))
        i++;
    return i;
}

/* Two steps that write one file would undo each other's. */
static int check_files(const struct mc_chain *c, struct mc_err *err)
{
    static const char *const written[] = {"checkpoint", "dump-graph", "choices-out"};
    enum { N = sizeof written / sizeof *written };
    for (size_t a = 0; a < c->n; a++)
        for (size_t b = a + 1; b < c->n; b++)
            for (size_t k = 0; k < N * N; k++) {
                const char *x = mc_param_text(c->step[a].cli.values, written[k / N]);
                const char *y = mc_param_text(c->step[b].cli.values, written[k % N]);
                if (x && y && (!strcmp(x, y) || mc_path_same(x, y)))
                    return mc_fail(err, MC_EUSAGE,
                                   "steps %zu and %zu both write '%s'; give each its own", a + 1,
                                   b + 1, x);
            }
    return 0;
}

int mc_chain_check(struct mc_chain *c, struct mc_err *err)
{
    int rc = 0;
    for (size_t i = 0; i < c->n && !rc; i++)
        rc = blame(c, i, mc_chain_step_check(&c->step[i], err), err);
    return rc ? rc : check_files(c, err);
}

static void look_at_steps(const struct mc_chain *c, struct mc_job *j)
{
    for (size_t i = 0; i < c->n; i++) {
        const struct mc_chain_step *s = &c->step[i];
        j->compresses = j->compresses || s->cli.pass;
        j->incomparable = j->incomparable || (!s->cli.pass && mc_param_has(s->cli.values, "head"));
    }
}

/* The models of all steps take the same samples: the first student says what inputs are called. */
static int read_students(struct mc_chain *c, struct mc_job *j, const struct mc_model **ret_subject,
                         struct mc_err *err)
{
    int rc = 0;
    bool named = false;
    *ret_subject = j->original.model;
    for (size_t i = 0; i < c->n && !rc; i++) {
        struct mc_chain_step *s = &c->step[i];
        rc = mc_chain_step_read(s, j, err);
        if (!rc && s->student.model)
            rc = named ? mc_cli_adopt_input(s->student.model, j->original.model, err)
                       : mc_cli_adopt_input(j->original.model, s->student.model, err);
        if (!rc && s->student.model && i == 0)
            *ret_subject = s->student.model;
        named = named || s->student.model;
        rc = blame(c, i, rc, err);
    }
    return rc;
}

/* A pass and what comes after one follow the model before the chain made it smaller; `finetune` of a model as it is
 * has nobody to follow; the teacher of `distill` is the model it is given. */
static int open_training(struct mc_chain *c, struct mc_job *j, struct mc_err *err)
{
    size_t first = first_shrinking(c);
    int rc = 0;
    for (size_t i = 0; i < c->n && !rc; i++) {
        struct mc_chain_step *s = &c->step[i];
        const struct mc_model *before = i >= first ? j->original.model : NULL;
        if (!s->trains)
            continue;
        rc = blame(c, i, mc_job_train_open(&s->cli, j, &s->train, before, err), err);
        s->follows = !rc && before && s->train.teacher == before && !s->student.model && !s->thins;
    }
    return rc;
}

/* ---- the work ---- */

static int take_snapshot(struct mc_chain *c, size_t i, const struct mc_job *j, struct mc_err *err)
{
    bool wanted = false;
    for (size_t k = i; k < c->n; k++)
        wanted = wanted || c->step[k].follows;
    if (i == 0 || i != first_shrinking(c) || !wanted)
        return 0;
    snprintf(c->before_text, sizeof c->before_text, "the model before step %zu (%s)", i + 1,
             mc_console_name(&c->step[i].cli));
    return mc_model_clone(j->work, &c->snapshot, err);
}

/* An option's value for the report; text may be any bytes. */
static json_t *printable(const json_t *v)
{
    if (json_is_string(v))
        return mc_json_text(json_string_value(v));
    if (!json_is_array(v))
        return json_deep_copy(v);
    bool ok = true;
    json_t *list = json_array();
    size_t i;
    const json_t *item;
    json_array_foreach(v, i, item) mc_json_add(list, printable(item), &ok);
    if (ok)
        return list;
    json_decref(list);
    return NULL;
}

static void put_options(const struct mc_chain_step *s, const struct mc_param *own, json_t *options,
                        bool *ok)
{
    for (const struct mc_param *p = own; p->type; p++) {
        const json_t *v = json_object_get(s->cli.values, p->name);
        if (v)
            mc_json_put(options, p->name, printable(v), ok);
    }
}

/* {name, options, seconds, …what the work itself reports} joins those of the job. */
static int take_account(struct mc_chain_step *s, struct mc_job *j, struct mc_err *err)
{
    bool ok = true;
    json_t *o = json_object(), *options = json_object();
    put_options(s, s->cli.pass ? s->cli.pass->params : s->cli.command->groups[0]->params, options,
                &ok);
    if (s->cli.pass)
        put_options(s, mc_search_params, options, &ok);
    mc_json_put(o, "name", json_string(mc_console_name(&s->cli)), &ok);
    mc_json_put(o, "options", options, &ok);
    mc_json_put(o, "seconds", mc_json_real(j->seconds), &ok);
    const char *key;
    json_t *v;
    json_object_foreach(j->account, key, v) mc_json_put(o, key, json_incref(v), &ok);
    s->account = o;
    mc_json_add(j->passes, o, &ok);
    json_decref(j->account);
    j->account = NULL;
    j->seconds = 0;
    return ok ? 0 : mc_fail(err, MC_ENOMEM, "out of memory");
}

/* Bytes before and after the step, as a file, and what it did in a line. In training form a model is no file. */
static int put_summary(struct mc_chain *c, size_t i, struct mc_job *j, struct mc_err *err)
{
    struct mc_chain_step *s = &c->step[i];
    uint64_t bytes = 0;
    bool ok = true, open = c->reopened;
    for (size_t k = 0; k <= i; k++)
        open = open || c->step[k].form == MC_CHAIN_OPEN;
    mc_edit_sweep(j->work->graph);
    int rc = j->dry_run || open ? 0 : mc_job_bytes(j, j->work, &bytes, err);
    if (rc || j->dry_run)
        return rc;
    if (!open) {
        mc_json_put(s->account, "bytes_before", mc_json_size(c->bytes), &ok);
        mc_json_put(s->account, "bytes_after", mc_json_size(bytes), &ok);
        c->bytes = bytes;
    }
    char *line = mc_history_line(s);
    mc_json_put(s->account, "summary", mc_json_text(line), &ok);
    free(line);
    return ok ? 0 : mc_fail(err, MC_ENOMEM, "out of memory");
}

static int work(struct mc_chain *c, struct mc_job *j, struct mc_err *err)
{
    int rc = mc_job_bytes(j, j->original.model, &c->bytes, err);
    if (rc)
        return rc;
    j->room = mc_param_flag(c->step[0].cli.values, "no-history") ? 0 : mc_history_room(c);
    if (!(j->passes = json_array()))
        return mc_fail(err, MC_ENOMEM, "out of memory");
    for (size_t i = 0; i < c->n && !rc; i++) {
        struct mc_chain_step *s = &c->step[i];
        if (shrinks(s))
            rc = mc_chain_close(c, j, err);
        if (c->closed)
            c->bytes = c->closed;
        c->closed = 0;
        if (!rc)
            rc = take_snapshot(c, i, j, err);
        bool missed = j->missed;
        if (!rc)
            rc = mc_chain_step_work(c, i, j, err);
        if (!missed)
            blame(c, i, j->missed, &j->gate);
        if (!rc && (i + 1 == c->n))
            rc = mc_chain_close(c, j, err);
        if (!rc)
            rc = take_account(s, j, err);
        if (!rc)
            rc = put_summary(c, i, j, err);
        rc = blame(c, i, rc, err);
    }
    return rc;
}

/* The result is there, whatever its gates say; `rc` of that stays. */
static int commit_choices(struct mc_chain *c, int rc, struct mc_err *err)
{
    for (size_t i = 0; i < c->n; i++) {
        struct mc_err failed;
        struct mc_out *const out[] = {c->step[i].choices_out, c->step[i].stats_out};
        c->step[i].choices_out = c->step[i].stats_out = NULL;
        for (int k = 0; k < 2; k++)
            if (out[k] && mc_out_commit(out[k], &failed))
                rc = mc_fail(err, failed.code, "%s", failed.msg);
    }
    return rc;
}

static void free_models(struct mc_chain_step *s)
{
    mc_model_free(s->taught);
    mc_model_free(s->given);
    s->taught = s->given = NULL;
}

int mc_chain_run(const struct mc_cli *cli, struct mc_chain *c, struct mc_err *err)
{
    struct mc_job j = {.recipe = c->recipe};
    const struct mc_model *subject = NULL;
    look_at_steps(c, &j);
    int rc = mc_chain_check(c, err);
    if (!rc)
        rc = mc_job_open(cli, &j, err);
    if (!rc)
        rc = read_students(c, &j, &subject, err);
    if (!rc)
        rc = mc_job_data(cli, &j, subject, err);
    if (!rc)
        rc = open_training(c, &j, err);
    if (!rc)
        rc = mc_job_clone(cli, &j, subject, err);
    if (!rc)
        rc = work(c, &j, err);
    if (!rc && j.room && !j.dry_run)
        rc = mc_history_put(c, j.work, err);
    if (!rc)
        rc = mc_job_finish(cli, &j, err);
    if (!rc || rc == MC_EGATE)
        c->report = json_incref(j.report);
    if (!rc || rc == MC_EGATE)
        rc = commit_choices(c, rc, err);
    mc_model_free(c->snapshot);
    for (size_t i = 0; i < c->n; i++)
        free_models(&c->step[i]);
    mc_job_free(&j);
    return rc;
}
