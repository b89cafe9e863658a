#include "base/interrupt.h"
#include "base/io.h"
#include "base/json.h"
#include "cli/command.h"
#include "cli/job.h"
#include "cli/job_train.h"

static int bytes_of(void *host, const struct mc_model *m, uint64_t *ret, struct mc_err *err)
{
    return mc_job_bytes(host, m, ret, err);
}

static int run_pass(const struct mc_cli *cli, struct mc_job *j, struct mc_pass_ctx *ctx,
                    struct mc_err *err)
{
    double begin = mc_now();
    int rc = mc_job_bytes(j, j->original.model, &ctx->bytes_original, err);
    if (!rc)
        rc = cli->pass->run(ctx, cli->values, j->work, &j->account, err);
    j->seconds = mc_now() - begin;
    if (rc == MC_EGATE) {
        j->missed = rc;
        j->gate = *err;
        rc = 0;
    }
    return rc ? rc : mc_interrupt_check(err);
}

/* Weights whose form in the file is not the one to train have hooks that put the other one in place. */
static int run_training(const struct mc_cli *cli, struct mc_job *j, struct mc_pass_ctx *ctx,
                        struct mc_job_train *t, struct mc_err *err)
{
    const struct mc_pass *p = cli->pass;
    int rc = 0;
    if (p->convert && !j->dry_run)
        rc = p->convert(ctx, cli->values, j->work, err);
    if (!rc)
        rc = mc_job_train(cli, j, t, mc_param_real(cli->values, "finetune", 0), err);
    if (!rc && p->finish && !j->dry_run)
        rc = p->finish(ctx, cli->values, j->work, err);
    return rc;
}

int mc_cmd_pass(struct mc_cli *cli, struct mc_err *err)
{
    struct mc_job j = {0};
    struct mc_job_train t = {.command = "--finetune"};
    bool finetune = mc_param_has(cli->values, "finetune");
    int rc = finetune ? mc_job_train_check(cli, &t, err) : mc_job_train_unasked(cli, err);
    if (!rc)
        rc = mc_job_open(cli, &j, err);
    if (!rc)
        rc = mc_job_data(cli, &j, j.original.model, err);
    if (!rc && finetune)
        rc = mc_job_train_open(cli, &j, &t, j.original.model, err);
    if (!rc)
        rc = mc_job_clone(cli, &j, j.original.model, err);
    struct mc_pass_ctx ctx = {
        .pool = cli->pool,
        .seed = (uint64_t)mc_param_int(cli->values, "seed", 0),
        .calib = j.calib,
        .calib_count = j.calib_count,
        .progress = cli->progress,
        .dry_run = j.dry_run,
        .host = &j,
        .bytes_of = bytes_of,
    };
    if (!rc)
        rc = run_pass(cli, &j, &ctx, err);
    if (!rc && finetune)
        rc = run_training(cli, &j, &ctx, &t, err);
    if (!rc)
        rc = mc_job_finish(cli, &j, err);
    mc_job_train_free(&t);
    mc_job_free(&j);
    return rc;
}
