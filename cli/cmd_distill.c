#include <string.h>

#include "base/json.h"
#include "cli/command.h"
#include "cli/job_train.h"
#include "graph/edit.h"
#include "passes/width.h"

/* The student as a file, which must not be the one that is written. */
static int read_student(const struct mc_cli *cli, const struct mc_job *j, struct mc_cli_model *ret,
                        struct mc_err *err)
{
    int rc = mc_cli_read(mc_param_text(cli->values, "student"), ret, err);
    if (!rc && !j->dry_run)
        rc = mc_cli_check_out(ret, j->out, err);
    if (!rc)
        mc_edit_fix_inputs(ret->model->graph);
    return rc;
}

static int check(const struct mc_cli *cli, struct mc_err *err)
{
    const char *student = mc_param_text(cli->values, "student");
    bool thin = mc_param_has(cli->values, "width");
    if (!student && !thin)
        return mc_fail(err, MC_EUSAGE,
                       "needs a student: pass --student FILE, or --width 0.5 for a thinner copy");
    if (student && thin)
        return mc_fail(err, MC_EUSAGE, "--student and --width exclude each other");
    if (student && !strcmp(student, "-") && !strcmp(mc_cli_operand(cli, 0), "-"))
        return mc_fail(err, MC_EUSAGE, "teacher and student cannot both come from standard input");
    return 0;
}

/* j->work becomes a thinner copy of the teacher. */
static int make_thin(const struct mc_cli *cli, struct mc_job *j, struct mc_err *err)
{
    json_t *account;
    int rc = mc_width_reduce(j->work, mc_param_real(cli->values, "width", 1), &account, err);
    bool ok = true;
    if (!rc && !j->account && !(j->account = json_object()))
        rc = mc_fail(err, MC_ENOMEM, "out of memory");
    if (!rc)
        mc_json_put(j->account, "width", account, &ok);
    return ok ? rc : mc_fail(err, MC_ENOMEM, "out of memory");
}

int mc_cmd_distill(struct mc_cli *cli, struct mc_err *err)
{
    struct mc_job j = {0};
    struct mc_job_train t = {.command = "training"};
    struct mc_cli_model student = {0};
    bool thin = mc_param_has(cli->values, "width");
    int rc = check(cli, err);
    if (!rc)
        rc = mc_job_train_check(cli, &t, err);
    if (!rc)
        rc = mc_job_open(cli, &j, err);
    if (!rc && !thin)
        rc = read_student(cli, &j, &student, err);
    if (!rc && !thin)
        rc = mc_cli_adopt_input(j.original.model, student.model, err);
    const struct mc_model *subject = thin ? j.original.model : student.model;
    if (!rc)
        rc = mc_job_data(cli, &j, subject, err);
    if (!rc)
        rc = mc_job_train_open(cli, &j, &t, j.original.model, err);
    if (!rc)
        rc = mc_job_clone(cli, &j, subject, err);
    if (!rc && thin)
        rc = make_thin(cli, &j, err);
    if (!rc)
        rc = mc_job_train_reopened(cli, &j, &t, mc_param_real(cli->values, "epochs", 1), err);
    if (!rc) {
        bool ok = true;
        mc_json_put(json_object_get(j.account, "training"), "student",
                    mc_json_text(thin ? "a thinner copy of the teacher" : student.name), &ok);
        rc = ok ? mc_job_finish(cli, &j, err) : mc_fail(err, MC_ENOMEM, "out of memory");
    }
    mc_job_train_free(&t);
    mc_cli_close(&student);
    mc_job_free(&j);
    return rc;
}
