#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "graph/constant.h"
#include "graph/edit.h"
#include "passes/fit/one_sample.h"
#include "passes/quant/form/quant_half.h"
#include "passes/quant/form/quant_region.h"
#include "passes/quant/quant_run.h"
#include "passes/quant/train/quant_train.h"

/* Samples that say whether a result that was not searched for keeps the answer. */
enum { CHECK_SAMPLES = 64, JUDGE_SAMPLES = 512, FEWEST_SAMPLES = 16 };
/* Multiply-accumulates of one measurement of all of them: a few tenths of a second. */
static const double JUDGE_WORK = 2e10;

/* ---- before anything is quantised ---- */

static int prepare(struct mc_quant_run *r, struct mc_err *err)
{
    struct mc_pass_ctx *ctx = r->ctx;
    struct mc_model *m = r->model;
    int rc = ctx->dry_run ? mc_model_clone(m, &r->before, err) : 0;
    m = ctx->dry_run ? r->before : m;
    if (!rc)
        rc = mc_quant_prepare(m, err);
    if (!rc && (r->repairs & MC_QUANT_FOLD)) {
        struct mc_quant_repair_result *p = &r->repair[r->n_repairs];
        *p = (struct mc_quant_repair_result){
            .name = "folding of norms", .before = NAN, .after = NAN, .kept = true};
        rc = mc_quant_fold_norms(m, &p->layers, err);
        r->n_repairs += !rc && p->layers > 0;
    }
    if (!rc && (r->repairs & MC_QUANT_EQUALISE)) {
        struct mc_quant_repair_result *p = &r->repair[r->n_repairs++];
        *p = (struct mc_quant_repair_result){
            .name = "equalisation", .before = NAN, .after = NAN, .kept = true};
        rc = mc_quant_equalise(m, &p->layers, err);
    }
    if (!rc && !ctx->dry_run)
        rc = mc_model_clone(m, &r->before, err);
    if (!rc)
        r->before->spill = r->model->spill;
    return rc;
}

/* Whether a site's weights can be stored as halves. */
static void look_at_half(struct mc_quant_site *s)
{
    if (!s->n_weights)
        s->why[MC_QUANT_HALF] = "it has no weight";
    for (int k = 0; k < s->n_weights && !s->why[MC_QUANT_HALF]; k++)
        if (s->transposed[k] || s->dtype != MC_DTYPE_F32 ||
            mc_constant(s->weight[k])->dtype != MC_DTYPE_F32)
            s->why[MC_QUANT_HALF] = "its weight is no plain float";
}

int mc_quant_find(struct mc_quant_run *r, const json_t *options, struct mc_err *err)
{
    int rc = mc_quant_sites_find(r->before, &r->rules, &r->sites, err);
    size_t n = r->sites.n + 1;
    if (rc)
        return rc;
    r->left = mc_calloc(n, sizeof *r->left);
    r->form = mc_calloc(n, sizeof *r->form);
    r->because = mc_calloc(n, sizeof *r->because);
    r->alone = mc_calloc(n, sizeof *r->alone);
    if (!r->left || !r->form || !r->because || !r->alone)
        return mc_fail(err, MC_ENOMEM, "out of memory");
    for (size_t i = 0; i < n; i++)
        r->alone[i] = NAN;
    for (size_t i = 0; i < r->sites.n; i++)
        look_at_half(&r->sites.item[i]);
    return mc_quant_select(r, options, err);
}

/* Where nothing can be quantised, why the largest layer cannot. */
static int check_any(const struct mc_quant_run *r, struct mc_err *err)
{
    const struct mc_quant_site *largest = NULL;
    bool left = false;
    for (size_t i = 0; i < r->sites.n; i++) {
        const struct mc_quant_site *s = &r->sites.item[i];
        if (!s->reason && !r->left[i])
            return 0;
        if (largest && s->bytes <= largest->bytes)
            continue;
        largest = s;
        left = !s->reason;
    }
    if (!largest)
        return mc_fail(err, MC_EUNSUP, "the model has no layers that could be quantised");
    return mc_fail(err, MC_EUNSUP, "nothing can be quantised; the largest layer, '%s', because %s",
                   mc_node_label(largest->node),
                   left ? "--only or --skip leaves it" : largest->reason);
}

/* ---- statistics ---- */

static bool needs_stats(const struct mc_quant_run *r)
{
    size_t k;
    const json_t *entry;
    if (r->wish == MC_QUANT_DYNAMIC && (r->repairs & (MC_QUANT_SMOOTH | MC_QUANT_OUTLIERS)))
        return true;
    if (!r->ctx->choices)
        return r->automatic || r->wish == MC_QUANT_STATIC || r->wish == MC_QUANT_STATIC16;
    json_array_foreach(json_object_get(r->ctx->choices, "layers"), k, entry)
    {
        const char *choice = mc_json_string(entry, "choice");
        if (choice && !strncmp(choice, "static", 6))
            return true;
    }
    return false;
}

int mc_quant_collect(struct mc_quant_run *r, struct mc_err *err)
{
    struct mc_quant_want *want = NULL;
    size_t n = 0;
    int rc = mc_quant_wanted(r->before, &r->sites, &r->rules, &want, &n, err);
    if (!rc)
        rc = mc_quant_stats_collect(r->ctx, r->before, want, n, &r->stats, err);
    free(want);
    return rc;
}

/* Ranges that were written by hand fit into the integers that have them. */
static int check_ranges(const struct mc_quant_run *r, const struct mc_quant_stats *s,
                        struct mc_err *err)
{
    bool wide = r->ctx->choices || r->wish == MC_QUANT_STATIC16;
    struct mc_quant_type t = mc_quant_act_type(&r->rules, wide);
    int32_t least, most;
    mc_quant_type_limits(&t, &least, &most);
    for (size_t i = 0; i < s->n; i++)
        if (s->item[i].fixed && (s->item[i].param.zero < least || s->item[i].param.zero > most))
            return mc_fail(
                err, MC_EUSAGE,
                "value '%s': the \"zero\" of its range is %d, which is not from %d to %d",
                s->item[i].name, s->item[i].param.zero, least, most);
    return 0;
}

/* Of --stats, the sum of all that were given. */
static int read_stats(struct mc_quant_run *r, const json_t *options, struct mc_err *err)
{
    size_t k;
    const json_t *entry, *names = json_object_get(options, "stats");
    json_array_foreach(r->ctx->stats, k, entry)
    {
        struct mc_quant_stats *more = NULL;
        struct mc_err why;
        int rc = mc_quant_stats_read(entry, r->before, k ? &more : &r->stats, &why);
        if (!rc)
            rc = check_ranges(r, k ? more : r->stats, &why);
        if (!rc && k)
            rc = mc_quant_stats_merge(r->stats, more, &why);
        mc_quant_stats_free(more);
        const char *name = json_string_value(json_array_get(names, k));
        if (rc)
            return mc_fail(err, rc, "--stats %s: %s", name ? name : "", why.msg);
    }
    return 0;
}

/* Edits of the float model that look at the statistics, which are collected anew behind them. */
static int edit(struct mc_quant_run *r, enum mc_quant_repair_kind kind, struct mc_err *err)
{
    bool smooth = kind == MC_QUANT_SMOOTH;
    struct mc_model *m[2] = {r->before, r->ctx->dry_run ? NULL : r->model};
    int rc = 0;
    if (!(r->repairs & kind))
        return 0;
    struct mc_quant_repair_result *p = &r->repair[r->n_repairs++];
    *p = (struct mc_quant_repair_result){.name = smooth ? "SmoothQuant" : "outlier channels apart",
                                         .before = NAN,
                                         .after = NAN,
                                         .kept = true};
    for (int i = 0; !rc && i < 2 && m[i]; i++)
        rc = smooth ? mc_quant_smooth(m[i], r->stats, 0.5, &p->layers, err)
                    : mc_quant_outliers(m[i], r->stats, i ? NULL : &r->sites, &p->layers, err);
    if (rc || !p->layers)
        return rc;
    mc_quant_stats_free(r->stats);
    r->stats = NULL;
    return mc_quant_collect(r, err);
}

static int get_stats(struct mc_quant_run *r, const json_t *options, struct mc_err *err)
{
    struct mc_pass_ctx *ctx = r->ctx;
    if (r->automatic && json_array_size(ctx->stats) && !ctx->choices && !mc_search_has_samples(ctx))
        return mc_fail(err, MC_EDATA,
                       "--stats says what ranges are, but finding forms takes samples to judge "
                       "answers by: pass --calib SPEC, or say which with --form static");
    if (json_array_size(ctx->stats))
        return read_stats(r, options, err);
    if (!needs_stats(r))
        return 0;
    if (!ctx->calib)
        return mc_fail(
            err, MC_EDATA,
            "ranges of activations need samples of the model's inputs: pass --calib SPEC, "
            "or quantise weights alone with --form weight");
    int rc = mc_quant_collect(r, err);
    if (!rc)
        rc = edit(r, MC_QUANT_SMOOTH, err);
    if (!rc)
        rc = edit(r, MC_QUANT_OUTLIERS, err);
    return rc;
}

/* ---- the result ---- */

/* Lengths that the model leaves open are those of the first sample. */
static int look_at_sample(struct mc_quant_run *r, struct mc_err *err)
{
    struct mc_infer *inf = NULL;
    if (!mc_sample_shapes(r->ctx, r->before->graph, &r->shapes) || !r->shapes.n_inputs)
        return 0;
    int rc = mc_infer_run(r->before->graph, &r->shapes, &inf, err);
    for (size_t i = 0; !rc && i < r->sites.n; i++) {
        double macs = mc_infer_macs(inf, r->sites.item[i].node);
        if (isnan(r->sites.item[i].macs) && macs >= 0)
            r->sites.item[i].macs = macs;
    }
    mc_infer_free(inf);
    return rc == MC_ENOMEM ? rc : 0;
}

static int open_judge(struct mc_quant_run *r, struct mc_err *err)
{
    if (!mc_search_has_samples(r->ctx) || (r->ctx->dry_run && !r->automatic))
        return 0;
    double macs = mc_sample_macs(r->ctx, r->before), each = macs > 0 ? JUDGE_WORK / macs : 0;
    int64_t most = r->automatic ? JUDGE_SAMPLES : CHECK_SAMPLES;
    if (each < (double)most)
        most = each > FEWEST_SAMPLES ? (int64_t)each : FEWEST_SAMPLES;
    r->macs = macs;
    int rc = mc_judge_new(r->ctx, r->before, most, &r->judge, err);
    if (rc == MC_EUNSUP && !r->automatic) { /* it cannot run here: nothing is said of its answers */
        r->warning = "the model does not run here, so nothing is known of what its answers lose";
        return 0;
    }
    return rc;
}

static int build(struct mc_quant_run *r, struct mc_err *err)
{
    if (r->ctx->dry_run)
        return mc_quant_make(r, r->form, true, &r->built, err);
    int rc = mc_quant_build_into(r->ctx, r->before, &r->sites, &r->rules, r->stats, r->form,
                                 r->cache, false, r->model, &r->built, err);
    size_t n = 0;
    if (!rc)
        rc = mc_quant_repairs(r, &r->built, r->repairs, r->repair + r->n_repairs, &n, err);
    r->n_repairs += n;
    return rc;
}

static int check(struct mc_quant_run *r, struct mc_err *err)
{
    if (!r->judge || r->ctx->dry_run)
        return 0;
    double cost = r->result.cost;
    int rc = mc_quant_try(r->judge, r->built.m, &r->result, NULL, err);
    r->result.cost = cost;
    if (rc || mc_quant_accepts(r, &r->result) ||
        (r->automatic && mc_quant_accepts_floor(r, &r->result)))
        return rc;
    r->warning = r->automatic || r->ctx->choices
                     ? "on the samples that guided the work the result answers differently"
                     : "on the samples that guided the work the result answers differently; "
                       "--form auto finds forms that keep the answer";
    return 0;
}

void mc_quant_found_free(struct mc_quant_run *r)
{
    mc_quant_sites_free(&r->sites);
    mc_model_free(r->before);
    free(r->left);
    free(r->form);
    free(r->because);
    free(r->alone);
}

static void release(struct mc_quant_run *r)
{
    mc_quant_built_free(&r->built);
    mc_quant_stats_free(r->stats);
    mc_quant_cache_free(r->cache);
    mc_judge_free(r->judge);
    mc_quant_found_free(r);
    free((void *)(uintptr_t)r->shapes.inputs);
    json_decref(r->search);
}

/* ---- the pass ---- */

static int integers(struct mc_quant_run *r, const json_t *options, json_t **ret_report,
                    struct mc_err *err)
{
    struct mc_search_ask ask = {0};
    int rc = mc_search_ask(r->ctx, options, &ask, err);
    if (!rc)
        rc = prepare(r, err);
    if (!rc)
        rc = mc_quant_find(r, options, err);
    if (!rc)
        rc = check_any(r, err);
    if (!rc)
        rc = mc_quant_cache_new(&r->cache, err);
    if (!rc)
        rc = get_stats(r, options, err);
    if (!rc)
        rc = open_judge(r, err);
    if (!rc)
        rc = mc_quant_even(r, options, err);
    if (!rc && r->stats)
        mc_quant_static_limits(&r->sites, r->stats);
    if (!rc)
        rc = look_at_sample(r, err);
    if (!rc)
        rc = mc_quant_decide(r, &ask, err);
    if (!rc)
        rc = build(r, err);
    if (!rc)
        rc = mc_quant_slower(r, err);
    if (!rc)
        rc = check(r, err);
    return rc ? rc : mc_quant_report(r, mc_param_has(options, "stats-out"), ret_report, err);
}

static int halve(struct mc_pass_ctx *ctx, const json_t *options, struct mc_model *m,
                 enum mc_dtype to, json_t **ret_report, struct mc_err *err)
{
    struct mc_quant_half how = {.to = to, .computed = mc_param_flag(options, "computed")};
    if (mc_param_has(options, "bits"))
        return mc_fail(err, MC_EUSAGE, "--bits is of integers, which --form %s has none of",
                       mc_param_text(options, "form"));
    mc_edit_sweep(m->graph);
    return mc_quant_half(ctx, m, &how, ret_report, err);
}

static int run(struct mc_pass_ctx *ctx, const json_t *options, struct mc_model *m,
               json_t **ret_report, struct mc_err *err)
{
    struct mc_quant_run r = {.ctx = ctx, .model = m};
    const char *form = mc_param_text(options, "form");
    if (form && (!strcmp(form, "fp16") || !strcmp(form, "bf16")))
        return halve(ctx, options, m, *form == 'f' ? MC_DTYPE_F16 : MC_DTYPE_BF16, ret_report, err);
    r.weight.sqnr = r.weight.agreement = r.weight.loss = r.weight.cost = NAN;
    r.result = r.weight;
    mc_edit_sweep(m->graph);
    int rc = mc_quant_options(&r, options, err);
    if (!rc)
        rc = integers(&r, options, ret_report, err);
    if (!rc && r.missed)
        rc = mc_fail(err, MC_EGATE, "%s", r.miss.msg);
    release(&r);
    return rc;
}

/* Couplings with neighbours decide what a layer can be, not single nodes. */
static bool applies(const struct mc_node *n, const char **ret_why)
{
    (void)n;
    *ret_why = NULL;
    return true;
}

/* Training form, also of what other tools quantised. */
static int convert(struct mc_pass_ctx *ctx, const json_t *options, struct mc_model *m,
                   struct mc_err *err)
{
    (void)options;
    return mc_quant_open(ctx, m, err);
}

static int finish(struct mc_pass_ctx *ctx, const json_t *options, struct mc_model *m,
                  struct mc_err *err)
{
    (void)options;
    return mc_quant_close(ctx, m, err);
}

const struct mc_pass mc_pass_quant = {
    .name = "quant",
    .summary = "weights and computation in integers of 8 bits and fewer, or in 16-bit floats",
    .example = "mcompress quant model.onnx -o small.onnx --calib samples.npz",
    .params = mc_quant_params,
    .applies = applies,
    .run = run,
    .convert = convert,
    .finish = finish,
    .reopen = convert,
};
