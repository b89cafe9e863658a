/* Codebooks from the weights of a model to the nodes in their place. */
#include <stdlib.h>

#include "passes/share/share_report.h"
#include "passes/share/share_search.h"
#include "passes/svd/svd_norm.h"

int mc_share_open(struct mc_share_job *job, bool measure, struct mc_share_run *ret,
                  struct mc_err *err)
{
    *ret = (struct mc_share_run){
        .ctx = job->ctx, .model = job->model, .norm = {.ctx = job->ctx, .model = job->model}};
    int rc = mc_linalg_new_on(mc_pool_gpu(job->ctx->pool), &ret->norm.la, err);
    if (!rc)
        rc = mc_share_collect(job->model, &ret->norm.layers, &ret->weight, &ret->n_weights, err);
    if (!rc && measure)
        rc = mc_share_measure(ret, err);
    return rc;
}

void mc_share_close(struct mc_share_run *r)
{
    for (size_t i = 0; i < r->n_weights; i++)
        for (int bits = 0; bits <= MC_SHARE_WIDTHS; bits++)
            if (r->weight[i].at[bits].code) {
                mc_share_code_free(r->weight[i].at[bits].code);
                free(r->weight[i].at[bits].code);
            }
    free(r->weight);
    mc_svd_norm_release(&r->norm);
    mc_layers_free(&r->norm.layers);
    mc_linalg_free(r->norm.la);
}

/* The report tells the errors of codes, and names of what goes. */
static int apply(struct mc_share_job *job, struct mc_share_run *r, struct mc_err *err)
{
    bool dry = job->ctx->dry_run;
    int *bits = mc_calloc(r->n_weights + 1, sizeof *bits);
    int rc = bits ? 0 : mc_fail(err, MC_ENOMEM, "out of memory");
    for (size_t i = 0; !rc && i < r->n_weights; i++) {
        bits[i] = r->weight[i].reason ? 0 : r->weight[i].bits;
        mc_progress_tell(job->ctx->progress, "codebooks", (double)i, (double)r->n_weights);
        if (bits[i] && !dry)
            rc = mc_share_code(r, &r->weight[i], bits[i], err);
    }
    if (!rc)
        rc = mc_share_report(job, r, err);
    if (!rc)
        rc = mc_share_place(r, job->model, bits, dry, err);
    free(bits);
    return rc;
}

int mc_share_codebooks(struct mc_share_job *job, int bits, const struct mc_search_ask *ask,
                       struct mc_err *err)
{
    struct mc_share_run r;
    int rc = mc_share_open(job, false, &r, err);
    if (!rc)
        rc = mc_share_check_any(&r, err);
    if (!rc)
        rc = mc_share_measure(&r, err);
    if (!rc)
        rc = bits ? mc_share_same_bits(&r, bits, err) : mc_share_search(job, &r, ask, err);
    if (!rc && bits)
        rc = mc_share_check_any(&r, err);
    if (!rc)
        rc = apply(job, &r, err);
    mc_share_close(&r);
    return rc;
}
