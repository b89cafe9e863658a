#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "graph/edit.h"
#include "passes/prune/mask.h"
#include "passes/prune/prune_repair.h"
#include "passes/prune/prune_run.h"

static const struct mc_param params[] = {
    {MC_PARAM_TEXT, "keep", 'k', true, "[NAME=]R", NULL, 0, 0, NULL,
     "share of the hidden nodes that stays, and at most about the same of the parameters; NAME=R: "
     "of that layer, by its own name or that of its weight; 0.5 where nothing else says how much"},
    {MC_PARAM_CHOICE, "importance", 0, false, NULL, "auto", 0, 0,
     "auto|l1|l2|node|entropy|activation|taylor|fisher|fpgm|bn|obs|random",
     "which nodes go: by the norm of their weights (l1, l2, node, fpgm, bn), by their activations "
     "on --calib samples (entropy, activation), by gradients (taylor, fisher), by the error of the "
     "outputs after the rest made up for it (obs); auto takes the best that the data allows"},
    {MC_PARAM_CHOICE, "scope", 0, false, NULL, "auto", 0, 0, "auto|layer|global",
     "the same share of every layer, or where it costs least; auto takes global with samples"},
    {MC_PARAM_REAL, "min-keep", 0, false, "R", "0.1", 0, 1, NULL,
     "of every layer at least this share stays, or that of --keep where it is less"},
    {MC_PARAM_REAL, "max-keep", 0, false, "R", "1", 0, 1, NULL,
     "of every layer at most this share stays"},
    {MC_PARAM_INT, "round-to", 0, false, "N", NULL, 1, 65536, NULL,
     "what stays of a layer is a multiple of N, where it has as many; without it of 8 for channels "
     "of convolutions that are one already, because runtimes compute those in blocks, else any "
     "number"},
    {MC_PARAM_TEXT, "only", 0, false, "REGEX", NULL, 0, 0, NULL,
     "cut only layers whose name, or that of their weight, matches"},
    {MC_PARAM_TEXT, "skip", 0, false, "REGEX", NULL, 0, 0, NULL, "leave layers that match"},
    {MC_PARAM_INT, "steps", 0, false, "N", NULL, 1, 100, NULL,
     "cut and train in turns: N times, each time the same share of what is there, with an N-th of "
     "--finetune"},
    {MC_PARAM_FLAG, "no-repair", 0, false, NULL, NULL, 0, 0, NULL,
     "leave what stays as it is; with --calib the layers behind a cut are otherwise fitted so that "
     "they make up for what went"},
    {MC_PARAM_FLAG, "unnormalised", 0, false, NULL, NULL, 0, 0, NULL,
     "compare layers by their raw scores: for benchmarks, as most models lose more by it"},
    {MC_PARAM_TEXT, "pattern", 0, false, "N:M", NULL, 0, 0, NULL,
     "no nodes, but all but N of every M weights in a row become 0, as kernels for sparse weights "
     "want them; dense runtimes gain nothing"},
    {MC_PARAM_REAL, "sparsity", 0, false, "S", NULL, 0, 1, NULL,
     "no nodes, but this share of single weights becomes 0; dense runtimes gain nothing"},
    {0},
};

/* ---- options ---- */

static enum mc_importance_kind kind_of(const json_t *options)
{
    const char *name = mc_param_text(options, "importance");
    for (int i = 0; name && mc_importance_names[i]; i++)
        if (!strcmp(name, mc_importance_names[i]))
            return (enum mc_importance_kind)i;
    return MC_IMPORTANCE_AUTO;
}

/* The last --keep without a name; NAN: there is none. */
static int read_keep(const json_t *options, double *ret, bool *ret_named, struct mc_err *err)
{
    size_t i;
    const json_t *v;
    *ret = NAN;
    *ret_named = false;
    json_array_foreach(json_object_get(options, "keep"), i, v)
    {
        const char *text = json_string_value(v), *equals = text ? strrchr(text, '=') : NULL;
        double share;
        int rc = mc_prune_share(text ? text : "",
                                equals ? equals + 1
                                : text ? text
                                       : "",
                                &share, err);
        if (rc)
            return rc;
        *ret_named = *ret_named || equals;
        if (!equals)
            *ret = share;
    }
    return 0;
}

static int read_options(struct mc_prune_run *r, const json_t *options, struct mc_search_ask *ask,
                        struct mc_err *err)
{
    const char *scope = mc_param_text(options, "scope");
    bool guided = mc_search_has_samples(r->ctx), named;
    int rc = mc_search_ask(r->ctx, options, ask, err);
    if (!rc)
        rc = read_keep(options, &r->keep, &named, err);
    if (rc)
        return rc;
    if (ask->given && !isnan(r->keep))
        return mc_fail(
            err, MC_EUSAGE,
            "give one of --keep, --target, --auto and --choices (--keep NAME=R goes with "
            "all of them)");
    if (!ask->given && isnan(r->keep))
        r->keep = named ? 1 : 0.5;
    r->global = scope && strcmp(scope, "auto") ? !strcmp(scope, "global") : guided;
    double least = mc_param_real(options, "min-keep", 0.1);
    r->max_keep = mc_param_real(options, "max-keep", 1);
    r->min_keep = r->keep < least ? r->keep : least;
    r->round_to = mc_param_int(options, "round-to", 0);
    r->repairs = !mc_param_flag(options, "no-repair");
    if (r->min_keep > r->max_keep)
        return mc_fail(err, MC_EUSAGE, "--min-keep %g is more than --max-keep %g", least,
                       r->max_keep);
    return 0;
}

/* ---- the pass ---- */

/* Where nothing can be cut, why the largest layer cannot. */
static int check_any(const struct mc_prune_run *r, struct mc_err *err)
{
    size_t widest = r->n;
    for (size_t i = 0; i < r->n; i++) {
        if (!r->group[i].why)
            return 0;
        if (widest == r->n || r->group[i].of->n > r->group[widest].of->n)
            widest = i;
    }
    if (widest == r->n)
        return mc_fail(err, MC_EUNSUP, "the model has no hidden nodes that could be removed");
    return mc_fail(err, MC_EUNSUP, "nothing can be cut; the widest, '%s', because %s",
                   r->group[widest].of->name, r->group[widest].why);
}

static int prepare(struct mc_prune_run *r, const json_t *options, struct mc_err *err)
{
    mc_edit_sweep(r->model->graph);
    int rc = r->ctx->dry_run ? 0 : mc_coupling_prepare(r->model, err);
    if (!rc)
        rc = mc_model_clone(r->model, &r->before, err);
    if (!rc) {
        r->before->spill = r->model->spill;
        rc = r->ctx->dry_run ? mc_coupling_prepare(r->before, err) : 0;
    }
    if (!rc)
        rc = mc_coupling_find(r->before, &r->c, err);
    if (!rc)
        rc = mc_prune_groups(r, err);
    if (!rc)
        rc = mc_prune_weights(r, err);
    if (!rc)
        rc = mc_prune_select(r, options, err);
    if (!rc)
        rc = check_any(r, err);
    if (!rc)
        rc = mc_importance_measure(r->ctx, r->before, r->c, kind_of(options),
                                   mc_param_flag(options, "unnormalised"), &r->imp, err);
    if (!rc)
        rc = mc_prune_levels(r, err);
    if (!rc)
        rc = check_any(r, err);
    if (!rc)
        mc_prune_owners(r);
    return rc;
}

static int apply(struct mc_prune_run *r, json_t *report, struct mc_err *err)
{
    size_t *level = mc_calloc(r->n + 1, sizeof *level);
    bool *gone = mc_calloc((size_t)r->c->n_units + 1, sizeof *gone);
    int rc = level && gone ? 0 : mc_fail(err, MC_ENOMEM, "out of memory");
    for (size_t i = 0; !rc && i < r->n; i++)
        level[i] = r->group[i].at;
    if (!rc)
        rc = mc_prune_gone(r, level, gone, err);
    if (!rc)
        rc = mc_cut(r->c, r->model, gone, 0, err);
    if (!rc && r->repairs)
        rc = mc_prune_repair(r->ctx, r->before, r->c, gone, r->model, report, err);
    free(level);
    free(gone);
    return rc;
}

/* Couplings of the whole graph decide, not single nodes. */
static bool applies(const struct mc_node *n, const char **ret_why)
{
    (void)n;
    *ret_why = NULL;
    return true;
}

static bool masks(const json_t *options)
{
    return mc_param_has(options, "pattern") || mc_param_has(options, "sparsity");
}

static int run(struct mc_pass_ctx *ctx, const json_t *options, struct mc_model *m,
               json_t **ret_report, struct mc_err *err)
{
    struct mc_prune_run r = {.ctx = ctx, .model = m};
    struct mc_search_ask ask = {0};
    json_t *report = NULL;
    int rc = read_options(&r, options, &ask, err);
    if (!rc && masks(options)) {
        report = json_object();
        rc = report ? mc_mask_apply(ctx, options, m, report, err)
                    : mc_fail(err, MC_ENOMEM, "out of memory");
    } else {
        if (!rc)
            rc = prepare(&r, options, err);
        if (!rc)
            rc = mc_prune_decide(&r, &ask, err);
        if (!rc && kind_of(options) == MC_IMPORTANCE_AUTO)
            rc = mc_prune_rivals(&r, &ask, err);
        if (!rc)
            rc = mc_prune_report(&r, &report, err);
        if (!rc && !ctx->dry_run)
            rc = apply(&r, report, err);
    }
    if (rc)
        json_decref(report);
    else
        *ret_report = report;
    if (!rc && r.missed)
        rc = mc_fail(err, MC_EGATE, "%s", r.miss.msg);
    mc_prune_free(&r);
    json_decref(r.search);
    json_decref(r.rivals);
    return rc;
}

/* ---- masks stay in place while weights are trained ---- */

static int convert(struct mc_pass_ctx *ctx, const json_t *options, struct mc_model *m,
                   struct mc_err *err)
{
    (void)ctx;
    return masks(options) ? mc_mask_open(m, true, err) : 0;
}

static int finish(struct mc_pass_ctx *ctx, const json_t *options, struct mc_model *m,
                  struct mc_err *err)
{
    (void)ctx;
    (void)options;
    return mc_mask_close(m, err);
}

static int reopen(struct mc_pass_ctx *ctx, const json_t *options, struct mc_model *m,
                  struct mc_err *err)
{
    const char *history = mc_model_meta(m, "ai.mcompress.history");
    (void)ctx;
    (void)options;
    return mc_mask_open(m, history && (strstr(history, "sparsity") || strstr(history, "pattern")),
                        err);
}

const struct mc_pass mc_pass_prune = {
    .name = "prune",
    .summary = "remove hidden nodes, channels and heads, so that tensors become smaller",
    .example = "mcompress prune model.onnx -o small.onnx --keep 0.5 --calib samples.npz",
    .params = params,
    .applies = applies,
    .run = run,
    .convert = convert,
    .finish = finish,
    .reopen = reopen,
};
