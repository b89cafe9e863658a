#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "graph/edit.h"
#include "passes/share/share_report.h"
#include "passes/share/share_run.h"
#include "passes/share/share_search.h"
#include "passes/svd/svd_norm.h"

static const struct mc_param params[] = {
    {MC_PARAM_INT, "bits", 'b', false, "N", NULL, 1, MC_SHARE_WIDTHS, NULL,
     "codebooks: each weight is one of 2^N numbers of its layer, and an index of N bits says "
     "which"},
    {MC_PARAM_REAL, "keep", 'k', false, "R", NULL, 0, 1, NULL,
     "codebooks with as many bits in each layer as it takes for this share of the model's bytes"},
    {0},
};

static int read_options(const struct mc_share_run *r, const json_t *options, int *ret_bits,
                        struct mc_search_ask *ask, struct mc_err *err)
{
    double keep = mc_param_real(options, "keep", -1);
    int rc = mc_search_ask(r->ctx, options, ask, err);
    if (rc)
        return rc;
    *ret_bits = (int)mc_param_int(options, "bits", 0);
    if ((keep >= 0) + ask->given + (*ret_bits > 0) > 1)
        return mc_fail(err, MC_EUSAGE,
                       "give one of --bits, --keep, --target, --auto and --choices");
    if (keep >= 0)
        *ask = (struct mc_search_ask){
            .given = true, .goal = MC_SEARCH_BYTES, .limit = keep, .share = true};
    if (!*ret_bits && !ask->given)
        return mc_fail(err, MC_EUSAGE,
                       "say what is to be shared: --bits N (codebooks; or --keep, --target, --auto "
                       "for the bits of each layer), such as 'mcompress share model.onnx -o "
                       "small.onnx --bits 4'");
    return 0;
}

static int codebooks(struct mc_share_run *r, int bits, const struct mc_search_ask *ask,
                     struct mc_err *err)
{
    int rc = mc_linalg_new("cpu", &r->norm.la, err);
    if (!rc)
        rc = mc_share_collect(r->model, &r->norm.layers, &r->weight, &r->n_weights, err);
    if (!rc)
        rc = mc_share_check_any(r, err);
    if (!rc)
        rc = mc_share_measure(r, err);
    if (!rc)
        rc = bits ? mc_share_same_bits(r, bits, err) : mc_share_search(r, ask, err);
    if (!rc && bits)
        rc = mc_share_check_any(r, err);
    return rc;
}

static void release(struct mc_share_run *r)
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
    json_decref(r->search);
}

/* The bits of all weights; codes that the report tells the errors of are made before. */
static int apply(struct mc_share_run *r, json_t **ret_report, struct mc_err *err)
{
    int *bits = mc_calloc(r->n_weights + 1, sizeof *bits);
    struct mc_model *m = r->model;
    int rc = bits ? 0 : mc_fail(err, MC_ENOMEM, "out of memory");
    for (size_t i = 0; !rc && i < r->n_weights; i++) {
        bits[i] = r->weight[i].reason ? 0 : r->weight[i].bits;
        mc_progress_tell(r->ctx->progress, "codebooks", (double)i, (double)r->n_weights);
        if (bits[i] && !r->ctx->dry_run)
            rc = mc_share_code(r, &r->weight[i], bits[i], err);
    }
    if (!rc)
        rc = mc_share_report(r, ret_report, err);
    if (!rc && r->ctx->dry_run)
        rc = mc_model_clone(r->model, &m, err);
    if (!rc)
        rc = mc_share_place(r, m, bits, r->ctx->dry_run, err);
    if (!rc)
        rc = mc_share_report_bytes(r, m, *ret_report, err);
    if (m != r->model)
        mc_model_free(m);
    free(bits);
    return rc;
}

static int run(struct mc_pass_ctx *ctx, const json_t *options, struct mc_model *m,
               json_t **ret_report, struct mc_err *err)
{
    struct mc_pass_ctx own = *ctx;
    struct mc_share_run r = {.ctx = &own, .model = m, .norm = {.ctx = &own, .model = m}};
    struct mc_search_ask ask = {0};
    json_t *report = NULL;
    int bits;
    int rc = read_options(&r, options, &bits, &ask, err);
    if (!rc)
        rc = ctx->bytes_of(ctx->host, m, &r.norm.bytes_before, err);
    if (!rc)
        rc = codebooks(&r, bits, &ask, err);
    if (!rc)
        rc = apply(&r, &report, err);
    if (rc)
        json_decref(report);
    else
        *ret_report = report;
    if (!rc && r.missed)
        rc = mc_fail(err, MC_EGATE, "%s", r.miss.msg);
    release(&r);
    return rc;
}

/* What is shared are constants, whatever reads them. */
static bool applies(const struct mc_node *n, const char **ret_why)
{
    (void)n;
    *ret_why = NULL;
    return true;
}

const struct mc_pass mc_pass_share = {
    .name = "share",
    .summary = "share numbers: codebooks for weights",
    .example = "mcompress share model.onnx -o small.onnx --bits 4 --calib samples.npz",
    .params = params,
    .applies = applies,
    .run = run,
};
