#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "passes/svd/svd_norm.h"
#include "passes/svd/svd_refit.h"
#include "passes/svd/svd_search.h"

static const struct mc_param params[] = {
    {MC_PARAM_REAL, "keep", 'k', false, "R", NULL, 0, 1, NULL,
     "share of the model's bytes that remains, spread over the layers so that it costs least; 0.5 "
     "where nothing else says how much and there are no samples for --auto"},
    {MC_PARAM_TEXT, "rank", 0, true, "[NAME=]N", NULL, 0, 0, NULL,
     "the same rank N in every layer that it makes smaller, or that of the node or weight NAME "
     "alone"},
    {MC_PARAM_REAL, "energy", 0, false, "E", NULL, 0, 1, NULL,
     "in each layer the smallest rank that keeps this share of the sum of squares"},
    {MC_PARAM_CHOICE, "norm", 0, false, NULL, "auto", 0, 0, "auto|weights|inputs|outputs",
     "what the error of a layer is: the change of its weights, of its own output on --calib "
     "samples, "
     "or what that does to the model's outputs; auto takes outputs with --calib, else weights"},
    {MC_PARAM_CHOICE, "svd", 0, false, NULL, "auto", 0, 0, "auto|exact|random",
     "how singular values are computed; auto takes the randomised method where it is much faster"},
    {MC_PARAM_FLAG, "no-refit", 0, false, NULL, NULL, 0, 0, NULL,
     "leave factors as they are found; with --calib the last one of each layer is otherwise fitted "
     "so that it makes up for the errors of layers before it, where that brings outputs closer"},
    {0},
};

static const char *const norm_names[] = {"auto", "weights", "inputs", "outputs"};

/* ---- report ---- */

static const char *node_op(const struct mc_layer *l)
{
    return l->sites[0].node->op_type;
}

/* Bytes of a layer: those of an item that holds several stand in the first of them, those of a weight that several
 * nodes share in the first node. */
static uint64_t bytes_after(const struct mc_layer *l, size_t layer, const struct mc_svd_item *it)
{
    if (!it || !it->at || it->reason)
        return mc_layer_dense_bytes(l);
    return it->layer[0] == layer ? it->point->bytes : 0;
}

/* What stands in every row. */
static void put_layer(json_t *o, const struct mc_layer *l, size_t site, const char *reason,
                      bool *ok)
{
    mc_json_put(o, "name", mc_json_text(mc_node_label(l->sites[site].node)), ok);
    mc_json_put(o, "op", mc_json_text(node_op(l)), ok);
    mc_json_put(o, "action", json_string(reason ? "left" : "factorised"), ok);
    mc_json_put(o, "reason", mc_json_text(reason), ok);
    mc_json_put(o, "weight", mc_json_text(l->weight ? l->value->name : NULL), ok);
    mc_json_put(o, "rows", l->weight ? json_integer(l->m) : json_null(), ok);
    mc_json_put(o, "columns", l->weight ? json_integer(l->n) : json_null(), ok);
}

/* One row per node. */
static json_t *row(const struct mc_layer *l, size_t layer, size_t site,
                   const struct mc_svd_item *it)
{
    bool ok = true;
    json_t *o = json_object();
    const char *reason = l->reason ? l->reason : it ? it->reason : NULL;
    bool done = it && it->at && !reason;
    char label[MC_SVD_LABEL];
    put_layer(o, l, site, reason, &ok);
    mc_json_put(o, "form",
                done ? json_string(*it->at->form->name ? it->at->form->name : "product")
                     : json_null(),
                &ok);
    mc_json_put(o, "choice",
                done ? json_string(mc_svd_label(it->at->form, it->point, label)) : json_null(),
                &ok);
    mc_json_put(o, "rank", done ? json_integer(it->point->rank[0]) : json_null(), &ok);
    bool counts = l->weight && site == 0;
    mc_json_put(o, "bytes_before", mc_json_size(counts ? mc_layer_dense_bytes(l) : 0), &ok);
    mc_json_put(o, "bytes_after", mc_json_size(counts ? bytes_after(l, layer, it) : 0), &ok);
    if (counts && it && it->layer[0] == layer) {
        mc_json_put(o, "macs_before", mc_json_real(it->macs), &ok);
        mc_json_put(o, "macs_after", mc_json_real(done ? it->point->macs : it->macs), &ok);
    }
    mc_json_put(
        o, "error",
        mc_json_real(done && it->total > 0 ? sqrt(fmax(it->point->error, 0) / it->total) : NAN),
        &ok);
    if (!ok) {
        json_decref(o);
        return NULL;
    }
    return o;
}

static const struct mc_svd_item *item_of(const struct mc_svd_run *r, size_t layer)
{
    for (size_t i = 0; i < r->n_items; i++)
        for (size_t k = 0; k < r->item[i].n_layers; k++)
            if (r->item[i].layer[k] == layer)
                return &r->item[i];
    return NULL;
}

static int report(const struct mc_svd_run *r, json_t **ret, struct mc_err *err)
{
    bool ok = true;
    json_t *o = json_object(), *rows = json_array();
    for (size_t i = 0; i < r->layers.n; i++)
        for (size_t s = 0; s < r->layers.item[i].n_sites; s++)
            mc_json_add(rows, row(&r->layers.item[i], i, s, item_of(r, i)), &ok);
    for (size_t i = 0; i < r->layers.n_others; i++)
        mc_json_add(rows, row(&r->layers.others[i], 0, 0, NULL), &ok);
    mc_json_put(o, "layers", rows, &ok);
    mc_json_put(o, "norm", json_string(norm_names[r->norm_kind]), &ok);
    if (r->n_covs)
        mc_json_put(o, "calibration_samples", json_integer(r->ctx->calib_count), &ok);
    mc_json_put(o, "bytes_before",
                mc_json_size(r->ctx->bytes_original ? r->ctx->bytes_original : r->bytes_before),
                &ok);
    mc_json_put(o, "bytes_after", mc_json_size(r->bytes_after), &ok);
    if (r->target)
        mc_json_put(o, "bytes_target", mc_json_size(r->target), &ok);
    if (r->search)
        mc_json_put(o, "search", json_incref(r->search), &ok);
    if (!ok) {
        json_decref(o);
        return mc_fail(err, MC_ENOMEM, "out of memory");
    }
    *ret = o;
    return 0;
}

/* ---- the pass ---- */

static int read_options(struct mc_svd_run *r, const json_t *options, struct mc_search_ask *ret_ask,
                        struct mc_err *err)
{
    const char *svd = mc_param_text(options, "svd");
    r->method = !svd || !strcmp(svd, "auto") ? MC_SVD_AUTO
                : !strcmp(svd, "exact")      ? MC_SVD_EXACT
                                             : MC_SVD_RANDOM;
    const char *norm = mc_param_text(options, "norm");
    for (int i = 0; norm && i < 4; i++)
        if (!strcmp(norm, norm_names[i]))
            r->norm_kind = (enum mc_svd_norm_kind)i;
    if (r->norm_kind >= MC_SVD_NORM_INPUTS && !r->ctx->calib)
        return mc_fail(err, MC_EUSAGE,
                       "--norm %s needs samples of the model's inputs: pass --calib SPEC", norm);
    r->energy = mc_param_real(options, "energy", -1);
    r->keep = mc_param_real(options, "keep", -1);
    int rc = mc_search_ask(r->ctx, options, ret_ask, err);
    int given = (json_array_size(json_object_get(options, "rank")) > 0) + (r->energy >= 0) +
                (r->keep >= 0) + ret_ask->given;
    if (rc)
        return rc;
    if (given > 1)
        return mc_fail(err, MC_EUSAGE,
                       "give one of --keep, --rank, --energy, --target, --auto and --choices");
    bool guided = mc_search_has_samples(r->ctx);
    if (!given && guided)
        mc_search_ask_auto(r->ctx, ret_ask);
    else if (r->keep >= 0 && guided)
        mc_search_ask_keep(r->keep, ret_ask);
    else if (!given)
        r->keep = 0.5;
    return 0;
}

static int prepare(struct mc_svd_run *r, const json_t *options, struct mc_err *err)
{
    int rc = mc_linalg_new_on(mc_pool_gpu(r->ctx->pool), &r->la, err);
    if (!rc)
        rc = mc_merge_pairs(r->model, r->la, &r->merges, err);
    if (!rc)
        rc = mc_layers_collect(r->model, &r->layers, err);
    if (rc)
        return rc;
    mc_merge_tell(&r->merges, &r->layers);
    r->raw_total = mc_calloc(r->layers.n, sizeof *r->raw_total);
    if (!r->raw_total)
        return mc_fail(err, MC_ENOMEM, "out of memory");
    for (size_t i = 0; i < r->layers.n; i++)
        r->raw_total[i] = NAN;
    rc = mc_svd_ranks_read(options, &r->layers, &r->ranks, err);
    if (!rc)
        rc = mc_layers_extents(r->model, &r->layers, err);
    if (!rc)
        rc = mc_svd_items_make(r, !r->ranks.of && r->energy < 0, err);
    if (!rc)
        rc = mc_svd_run_bytes(r, &r->bytes_before, err);
    r->bytes_given = r->ctx->bytes_original ? r->ctx->bytes_original : r->bytes_before;
    return rc;
}

static void release(struct mc_svd_run *r)
{
    mc_svd_items_free(r);
    free(r->raw_total);
    mc_svd_norm_release(r);
    mc_svd_ranks_free(&r->ranks);
    mc_layers_free(&r->layers);
    mc_merges_free(&r->merges);
    mc_linalg_free(r->la);
    json_decref(r->search);
}

/* A search needs factors to measure, also where the model is left alone in the end. */
static int decide(struct mc_svd_run *r, const struct mc_search_ask *ask, struct mc_err *err)
{
    if (!ask->given)
        return mc_svd_decide(r, err);
    return mc_svd_search(r, ask, &r->search, &r->miss, &r->missed, err);
}

/* Factors in place, and fitted to each other. */
static int apply(struct mc_svd_run *r, const json_t *options, json_t *to, struct mc_err *err)
{
    struct mc_model *before = NULL;
    bool refit = r->n_covs && !mc_param_flag(options, "no-refit");
    int rc = refit ? mc_model_clone(r->model, &before, err) : 0;
    if (!rc)
        rc = mc_svd_run_apply(r, err);
    if (!rc && refit)
        rc = mc_svd_refit(r, before, to, err);
    mc_model_free(before);
    return rc;
}

static int run(struct mc_pass_ctx *ctx, const json_t *options, struct mc_model *m,
               json_t **ret_report, struct mc_err *err)
{
    struct mc_pass_ctx own = *ctx;
    struct mc_svd_run r = {.ctx = &own, .model = m};
    struct mc_search_ask ask = {0};
    int rc = read_options(&r, options, &ask, err);
    own.dry_run = ctx->dry_run && !ask.given;
    if (!rc)
        rc = prepare(&r, options, err);
    if (!rc && !(r.ranks.of && ctx->dry_run)) /* where nothing is decided by the error */
        rc = mc_svd_norm_measure(&r, err);
    if (!rc)
        rc = decide(&r, &ask, err);
    if (!rc)
        rc = mc_svd_run_bytes(&r, &r.bytes_after, err);
    if (!rc)
        rc = report(&r, ret_report, err);
    if (!rc) {
        rc = ctx->dry_run ? mc_svd_run_leave(&r, err) : apply(&r, options, *ret_report, err);
        if (rc) {
            json_decref(*ret_report);
            *ret_report = NULL;
        }
    }
    if (!rc && r.missed)
        rc = mc_fail(err, MC_EGATE, "%s", r.miss.msg);
    release(&r);
    return rc;
}

const struct mc_pass mc_pass_svd = {
    .name = "svd",
    .summary = "factorise weight matrices, convolutions and tables into factors of low rank",
    .example = "mcompress svd model.onnx -o small.onnx --keep 0.4 --calib samples.npz",
    .params = params,
    .applies = mc_layer_applies,
    .run = run,
};
