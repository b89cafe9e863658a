#include "base/json.h"
#include "cli/command.h"
#include "cli/job_train.h"
#include "train/head.h"
#include "train/reinit.h"

/* A head for other classes cannot be compared with the one before. */
static int check(const struct mc_cli *cli, struct mc_job *j, struct mc_err *err)
{
    static const char *const compared[] = {"max-drop", "min-sqnr"};
    j->incomparable = mc_param_has(cli->values, "head");
    for (size_t i = 0; i < 2 && j->incomparable; i++)
        if (mc_param_has(cli->values, compared[i]))
            return mc_fail(err, MC_EUSAGE,
                           "--%s compares with the model before, which has other classes; use "
                           "--require, such as 'top1>=0.9'",
                           compared[i]);
    return 0;
}

/* What --reinit and --head do before training; their reports go beside that of the training. */
static int renew(const struct mc_cli *cli, struct mc_job *j, json_t **ret_reinit, json_t **ret_head,
                 struct mc_err *err)
{
    uint64_t seed = (uint64_t)mc_param_int(cli->values, "seed", 0);
    int rc = 0;
    if (mc_param_flag(cli->values, "reinit"))
        rc = mc_reinit(j->work, seed, ret_reinit, err);
    if (!rc && mc_param_has(cli->values, "head"))
        rc = mc_head_replace(j->work, mc_param_int(cli->values, "head", 0),
                             mc_param_text(cli->values, "output"), seed, ret_head, err);
    return rc;
}

static int put(struct mc_job *j, json_t *reinit, json_t *head, struct mc_err *err)
{
    bool ok = true;
    json_t *t = json_object_get(j->account, "training");
    if (reinit)
        mc_json_put(t, "reinit", json_incref(reinit), &ok);
    if (head)
        mc_json_put(t, "head", json_incref(head), &ok);
    return ok ? 0 : mc_fail(err, MC_ENOMEM, "out of memory");
}

int mc_cmd_finetune(struct mc_cli *cli, struct mc_err *err)
{
    struct mc_job j = {0};
    struct mc_job_train t = {.command = "training"};
    json_t *reinit = NULL, *head = NULL;
    int rc = check(cli, &j, err);
    if (!rc)
        rc = mc_job_train_check(cli, &t, err);
    if (!rc)
        rc = mc_job_open(cli, &j, err);
    if (!rc)
        rc = mc_job_data(cli, &j, j.original.model, err);
    if (!rc)
        rc = mc_job_train_open(cli, &j, &t, NULL, err);
    if (!rc)
        rc = mc_job_clone(cli, &j, j.original.model, err);
    if (!rc)
        rc = renew(cli, &j, &reinit, &head, err);
    if (!rc)
        rc = mc_job_train_reopened(cli, &j, &t, mc_param_real(cli->values, "epochs", 1), err);
    if (!rc)
        rc = put(&j, reinit, head, err);
    if (!rc)
        rc = mc_job_finish(cli, &j, err);
    json_decref(reinit);
    json_decref(head);
    mc_job_train_free(&t);
    mc_job_free(&j);
    return rc;
}
