#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "graph/edit.h"
#include "graph/opset.h"
#include "graph/own/own.h"
#include "passes/binarize/binarize_form.h"
#include "passes/binarize/binarize_pack.h"
#include "passes/binarize/binarize_run.h"
#include "passes/layer/layer_named.h"
#include "passes/search/search_measure.h"

/* Samples of --train that thresholds are measured on where there is no --calib; that answers are compared on; that norms are
 * measured on after training. */
enum { THRESHOLD_SAMPLES = 512, JUDGE_SAMPLES = 512, NORM_SAMPLES = 8192 };
/* Of the epochs: activations become signs first, weights then. The rate: a short test, which looks at a few batches, finds
 * one that is too low for signs to change. fashion-mlp after 10 epochs: 88.6 % with 0.0002 as found, 89.6 with 0.002. Where there are
 * few epochs, those of the first stage are missed in the second: fashion-cnn, 5, held-out loss 0.111 with 0.4, 0.105 with 0.1. */
static const double FIRST_STAGE = 0.1, RATE = 0.004, AVERAGE = 0.99;

static const struct mc_param params[] = {
    {MC_PARAM_REAL, "keep", 'k', false, "R", NULL, 0, 1, NULL,
     "share of the model's bytes that remains: binarise only the layers that harm least for it; "
     "without it, or --target, --auto or --choices, all that can be"},
    {MC_PARAM_FLAG, "activations", 0, false, NULL, NULL, 0, 0, NULL,
     "not only weights: what they are multiplied with becomes signs as well, behind thresholds "
     "that "
     "--calib, or --train, measures and --finetune trains"},
    {MC_PARAM_FLAG, "all", 0, false, NULL, NULL, 0, 0, NULL,
     "the first and the last layer as well, which stay real otherwise"},
    {MC_PARAM_FLAG, "depthwise", 0, false, NULL, NULL, 0, 0, NULL,
     "convolutions in groups as well (weights alone), which stay real otherwise"},
    {MC_PARAM_FLAG, "no-shortcut", 0, false, NULL, NULL, 0, 0, NULL,
     "with --activations: do not add the real input to the output of layers where both have one "
     "shape"},
    {MC_PARAM_CHOICE, "body", 0, false, NULL, "exact", 0, 0, "exact|fast",
     "how the functions in the file compute where inputs stay real: exact makes floats of the "
     "signs "
     "when the model is loaded; fast rounds inputs to 8 bits in every run, and multiplies "
     "integers"},
    {MC_PARAM_TEXT, "only", 0, false, "REGEX", NULL, 0, 0, NULL,
     "binarise only layers whose name, or that of their weight, matches"},
    {MC_PARAM_TEXT, "skip", 0, false, "REGEX", NULL, 0, 0, NULL, "leave layers that match"},
    {0},
};

/* ---- before ---- */

static bool any_signs(const struct mc_binarize_run *r)
{
    for (size_t i = 0; i < r->plan.n; i++)
        if (!r->plan.item[i].left && !r->plan.item[i].real)
            return true;
    return false;
}

static bool has_calls(const struct mc_model *m)
{
    for (size_t i = 0; i < m->graph->n_nodes; i++) {
        const struct mc_node *n = m->graph->nodes[i];
        if (!strcmp(n->domain, MC_OWN_DOMAIN) &&
            (!strncmp(n->op_type, "Binary", 6) || !strncmp(n->op_type, "Xnor", 4)))
            return true;
    }
    return false;
}

/* Where nothing becomes signs, why the largest layer does not. */
static int check_any(const struct mc_binarize_run *r, struct mc_err *err)
{
    const struct mc_binarize_layer *largest = NULL;
    for (size_t i = 0; i < r->plan.n; i++) {
        const struct mc_binarize_layer *b = &r->plan.item[i];
        if (!b->left)
            return 0;
        if (!largest || b->of->weight->bytes > largest->of->weight->bytes)
            largest = b;
    }
    if (has_calls(r->m))
        return mc_fail(err, MC_EUNSUP,
                       "nothing is left to binarise: the model has been binarised already%s",
                       largest ? ", all but layers that stay real" : "");
    if (!largest)
        return mc_layer_none(r->m, "binarised", err);
    return mc_fail(err, MC_EUNSUP, "nothing can be binarised; the largest layer, '%s', because: %s",
                   mc_node_label(largest->of->sites[0].node), largest->left);
}

static int check_samples(struct mc_binarize_run *r, struct mc_err *err)
{
    const struct mc_dataset *data = r->ctx->calib ? r->ctx->calib : r->ctx->train;
    int64_t n = r->ctx->calib ? r->ctx->calib_count : THRESHOLD_SAMPLES;
    if (any_signs(r) && data)
        r->account.thresholds = data->count >= 0 && n > data->count ? data->count : n;
    if (!any_signs(r) || r->ctx->calib || r->ctx->train || r->ctx->dry_run)
        return 0;
    return mc_fail(err, MC_EUSAGE,
                   "--activations needs samples of the model's inputs, to find thresholds: pass "
                   "--calib SPEC, or --finetune EPOCHS --train SPEC");
}

/* NaN in a weight is said before anything is changed. */
static int measure_weights(struct mc_binarize_run *r, struct mc_err *err)
{
    int rc = 0;
    r->error = mc_calloc(r->plan.n + 1, sizeof *r->error);
    if (!r->error)
        return mc_fail(err, MC_ENOMEM, "out of memory");
    for (size_t i = 0; i < r->plan.n && !rc; i++) {
        const struct mc_layer *l = r->plan.item[i].of;
        const struct mc_signs_of of = {.m = l->m, .n = l->n, .last = !l->out_major};
        float *w;
        r->error[i] = NAN;
        if (r->plan.item[i].left)
            continue;
        rc = mc_layer_read(l, &w, err);
        if (!rc) {
            free(w);
            rc = mc_signs_error(l->weight, &of, &r->error[i], err);
        }
    }
    return rc;
}

/* Which layers, where not simply all. */
static int read_ask(const struct mc_binarize_run *r, const json_t *options,
                    struct mc_search_ask *ask, struct mc_err *err)
{
    double keep = mc_param_real(options, "keep", -1);
    int rc = mc_search_ask(r->ctx, options, ask, err);
    if (!rc && keep >= 0 && ask->given)
        return mc_fail(err, MC_EUSAGE, "give one of --keep, --target, --auto and --choices");
    if (!rc && keep >= 0)
        mc_search_ask_keep(keep, ask);
    return rc;
}

static int prepare(struct mc_binarize_run *r, const json_t *options, struct mc_err *err)
{
    struct mc_search_ask ask = {0};
    const char *body = mc_param_text(options, "body");
    r->rules = (struct mc_binarize_rules){
        .activations = mc_param_flag(options, "activations"),
        .shortcut = !mc_param_flag(options, "no-shortcut"),
        .all = mc_param_flag(options, "all"),
        .depthwise = mc_param_flag(options, "depthwise"),
        .fast = body && !strcmp(body, "fast"),
        .only = mc_param_text(options, "only"),
        .skip = mc_param_text(options, "skip"),
    };
    if (!r->rules.shortcut && !r->rules.activations)
        return mc_fail(err, MC_EUSAGE, "--no-shortcut goes with --activations");
    if (r->rules.fast && r->rules.activations)
        return mc_fail(err, MC_EUSAGE,
                       "--body fast is for real inputs; with --activations they are signs, and "
                       "exact anyway");
    int rc = read_ask(r, options, &ask, err);
    rc = rc ? rc : mc_binarize_plan(r->before, &r->rules, &r->plan, err);
    rc = rc ? rc : check_any(r, err);
    rc = rc ? rc : check_samples(r, err);
    rc = rc ? rc : measure_weights(r, err);
    if (!rc && r->ctx->bytes_of)
        rc = r->ctx->bytes_of(r->ctx->host, r->m, &r->account.bytes_before, err);
    if (r->ctx->bytes_original)
        r->account.bytes_before = r->ctx->bytes_original;
    if (!rc && ask.given)
        rc = mc_binarize_search(r, &ask, err);
    return rc;
}

/* ---- the work ---- */

static int thresholds(const struct mc_binarize_run *r, struct mc_model *m, struct mc_err *err)
{
    struct mc_dataset *data = r->ctx->calib ? r->ctx->calib : r->ctx->train;
    return any_signs(r) && data ? mc_binarize_measure(r->ctx, m, data, r->account.thresholds, err)
                                : 0;
}

/* The plan of `before` speaks of nodes of that model: a clone has one of its own. */
int mc_binarize_apply(const struct mc_binarize_run *r, struct mc_model *m, bool sizes_only,
                      struct mc_err *err)
{
    struct mc_binarize_plan own = {0};
    int rc = mc_binarize_plan(m, &r->rules, &own, err);
    for (size_t i = 0; i < own.n && !rc; i++)
        if (!r->plan.item[i].left)
            rc = mc_binarize_open(m, &own.item[i], err);
    mc_binarize_plan_free(&own);
    if (!rc && !sizes_only)
        rc = thresholds(r, m, err);
    return rc ? rc : mc_binarize_close(m, err);
}

/* How far the answers are from those of before. */
static int compare(struct mc_binarize_run *r, struct mc_err *err)
{
    struct mc_judge *j = NULL;
    struct mc_judgement t = {0};
    bool late;
    if (r->account.trains || !mc_search_has_samples(r->ctx))
        return 0;
    int rc = mc_judge_new(r->ctx, r->before, JUDGE_SAMPLES, &j, err);
    rc = rc ? rc : mc_judge_model(j, r->m, false, &t, &late, err);
    if (!rc) {
        r->account.judged = mc_judge_samples(j);
        r->account.agreement = t.agreement;
        r->account.noise = t.noise;
        mc_judgement_free(&t);
    }
    mc_judge_free(j);
    return rc;
}

static int apply(struct mc_binarize_run *r, struct mc_err *err)
{
    int rc = mc_binarize_apply(r, r->m, false, err);
    rc = rc ? rc : compare(r, err);
    if (!rc && r->ctx->bytes_of)
        rc = r->ctx->bytes_of(r->ctx->host, r->m, &r->account.bytes_after, err);
    return rc;
}

static int run(struct mc_pass_ctx *ctx, const json_t *options, struct mc_model *m,
               json_t **ret_report, struct mc_err *err)
{
    struct mc_binarize_run r = {.ctx = ctx, .m = m};
    r.account.agreement = r.account.noise = NAN;
    r.account.trains = mc_param_has(options, "finetune");
    int rc = mc_model_clone(m, &r.before, err);
    rc = rc ? rc : prepare(&r, options, err);
    rc = rc || ctx->dry_run ? rc : apply(&r, err);
    r.account.plan = &r.plan;
    r.account.error = r.error;
    rc = rc ? rc : mc_binarize_report(&r.account, ret_report, err);
    if (!rc && r.missed)
        rc = mc_fail(err, MC_EGATE, "%s", r.miss.msg);
    json_decref(r.account.search);
    mc_binarize_plan_free(&r.plan);
    free(r.error);
    mc_model_free(r.before);
    return rc;
}

/* ---- training ---- */

static int convert(struct mc_pass_ctx *ctx, const json_t *options, struct mc_model *m,
                   struct mc_err *err)
{
    (void)options;
    return mc_binarize_reopen(m, ctx->given ? ctx->given : m, err);
}

/* While weights move, the averages that BatchNormalization keeps lag behind: they are taken anew for those that are kept. */
static int finish(struct mc_pass_ctx *ctx, const json_t *options, struct mc_model *m,
                  struct mc_err *err)
{
    const char *norms = options ? mc_param_text(options, "batchnorm") : "frozen";
    bool moved = !norms || strcmp(norms, "frozen") != 0;
    int rc = moved && ctx->train ? mc_binarize_measure(ctx, m, ctx->train, NORM_SAMPLES, err) : 0;
    return rc ? rc : mc_binarize_close(m, err);
}

static int reopen(struct mc_pass_ctx *ctx, const json_t *options, struct mc_model *m,
                  struct mc_err *err)
{
    (void)ctx;
    (void)options;
    return mc_binarize_reopen(m, NULL, err);
}

/* Activations first, with real weights; then weights, too.
 * Source: Bulat, Tzimiropoulos, XNOR-Net++, 2019; Martinez et al., Training Binary Neural Networks with Real-to-Binary
 * Convolutions, ICLR 2020. */
static int stage(struct mc_pass_ctx *ctx, const json_t *options, int k, struct mc_model *m,
                 struct mc_pass_stage *ret, struct mc_err *err)
{
    bool both = mc_param_flag(options, "activations"), real = both && k == 0;
    struct mc_graph *g = m->graph;
    int rc = 0;
    (void)ctx;
    *ret = (struct mc_pass_stage){.name = real ? "signs of inputs" : "signs of weights",
                                  .share = !both    ? 1
                                           : k == 0 ? FIRST_STAGE
                                                    : 1 - FIRST_STAGE,
                                  .lr = RATE,
                                  .ema = AVERAGE,
                                  .last = !real};
    for (size_t i = 0; i < g->n_nodes && !rc; i++) {
        if (!mc_binarize_is(g->nodes[i], mc_binarize_weight))
            continue;
        if (real)
            rc = mc_edit_attr_int(g->nodes[i], "real", 1, err);
        else
            mc_edit_attr_remove(g->nodes[i], "real");
    }
    return rc;
}

static bool applies(const struct mc_node *n, const char **ret_why)
{
    return mc_layer_applies(n, ret_why);
}

const struct mc_pass mc_pass_binarize = {
    .name = "binarize",
    .summary = "weights, or weights and what they multiply, as signs of one bit with a scale",
    .example =
        "mcompress binarize model.onnx -o small.onnx --activations --train SPEC --finetune 10",
    .params = params,
    .applies = applies,
    .run = run,
    .convert = convert,
    .finish = finish,
    .reopen = reopen,
    .stage = stage,
};
