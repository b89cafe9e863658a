#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "graph/edit.h"
#include "passes/circulant/circulant_run.h"
#include "passes/layer/layer_named.h"
#include "passes/layer/layer_row.h"

enum { BLOCK = 8 }; /* where nothing else says how much */
/* Of AdamW. The short test of rates finds anything from 0.0002 to 0.004 behind a fit, with the rounding of the last bits; of
 * fashion-mlp in blocks of 16 8 epochs make 87.6 % with 0.0002 and 88.8 to 89.3 from 0.001 on. */
static const double RATE = 0.002;

static const struct mc_param params[] = {
    {MC_PARAM_TEXT, "block", 'b', true, "[NAME=]N", NULL, 0, 0, NULL,
     "blocks of N x N in every layer that they make smaller, or in that of the node or weight NAME "
     "alone; a layer then has 1/N of its numbers; 8 where nothing else says how much and there are "
     "no samples for --auto"},
    {MC_PARAM_REAL, "keep", 'k', false, "R", NULL, 0, 1, NULL,
     "share of the model's bytes that remains; blocks of 2, 4, 8, 16 and so on are chosen layer by "
     "layer so that it costs least"},
    {MC_PARAM_CHOICE, "body", 0, false, NULL, "fast", 0, 0, "exact|fast",
     "how the functions in the file compute: exact expands them to the dense weight, fast takes "
     "what "
     "runtimes are fastest with for the block; they differ in rounding"},
    {MC_PARAM_FLAG, "no-fit", 0, false, NULL, NULL, 0, 0, NULL,
     "take the nearest blocks in least squares of the weights; with --calib blocks are otherwise "
     "fitted to what each layer gave, with hidden units in the order that loses least, and what "
     "stays dense behind them is fitted as well"},
    {MC_PARAM_TEXT, "only", 0, false, "REGEX", NULL, 0, 0, NULL,
     "change only layers whose name, or that of their weight, matches"},
    {MC_PARAM_TEXT, "skip", 0, false, "REGEX", NULL, 0, 0, NULL, "leave layers that match"},
    {0},
};

/* ---- report ---- */

static json_t *row(const struct mc_circulant_run *r, size_t i, size_t site)
{
    const struct mc_layer *l = &r->layers.item[i];
    const struct mc_circulant_item *it = &r->item[i];
    bool ok = true, counts = site == 0;
    json_t *o = mc_layer_row(l->sites[site].node, "circulant", it->reason, &ok);
    const char *function = it->reason ? NULL : mc_circulant_function(r, l, it->form.b);
    mc_json_put(o, "weight", mc_json_text(l->value->name), &ok);
    mc_json_put(o, "rows", json_integer(l->m), &ok);
    mc_json_put(o, "columns", json_integer(l->n), &ok);
    mc_json_put(o, "bytes_before", mc_json_size(counts ? l->weight->bytes : 0), &ok);
    mc_json_put(o, "bytes_after",
                mc_json_size(!counts      ? 0
                             : it->reason ? l->weight->bytes
                                          : mc_circulant_bytes(l, it->form.b)),
                &ok);
    mc_json_put(o, "error", mc_json_real(it->reason ? NAN : it->error), &ok);
    if (!it->reason) {
        char choice[32];
        snprintf(choice, sizeof choice, "block %lld", (long long)it->form.b);
        mc_json_put(o, "form", json_string("circulant"), &ok);
        mc_json_put(o, "choice", json_string(choice), &ok);
        mc_json_put(o, "block", json_integer(it->form.b), &ok);
        mc_json_put(o, "energy", mc_json_real(it->energy), &ok);
        mc_json_put(o, "fitted", json_boolean(it->fitted), &ok);
        mc_json_put(o, "units_ordered", json_boolean(it->ordered), &ok);
        mc_json_put(o, "inputs_shuffled", json_boolean(it->gather), &ok);
        mc_json_put(o, "function", json_string(function), &ok);
        mc_json_put(o, "in_runtimes", mc_json_text(mc_circulant_runs(function)), &ok);
    }
    if (!ok) {
        json_decref(o);
        return NULL;
    }
    return o;
}

static const char GROUPED[] = "a convolution in groups has few channels in each";

/* Why a node is in none of the layers, in the words of this pass. */
static const char *other_reason(const struct mc_layer *l)
{
    const struct mc_node *n = l->sites[0].node;
    bool grouped = mc_node_is(n, "Conv") && mc_node_int(n, "group", 1) > 1;
    return grouped ? GROUPED : l->reason;
}

static int report(const struct mc_circulant_run *r, json_t **ret, struct mc_err *err)
{
    bool ok = true;
    json_t *o = json_object(), *rows = json_array();
    for (size_t i = 0; i < r->layers.n; i++)
        for (size_t s = 0; s < r->layers.item[i].n_sites; s++)
            mc_json_add(rows, row(r, i, s), &ok);
    for (size_t i = 0; i < r->layers.n_others; i++)
        mc_json_add(rows,
                    mc_layer_row_left(r->layers.others[i].sites[0].node,
                                      other_reason(&r->layers.others[i]), &ok),
                    &ok);
    for (size_t i = 0; i < r->n_calls; i++)
        mc_json_add(rows, mc_layer_row_left(r->call[i], "it is circulant already", &ok), &ok);
    mc_json_put(o, "layers", rows, &ok);
    mc_json_put(o, "calibration_samples", json_integer(r->samples), &ok);
    mc_json_put(o, "refitted", json_integer((json_int_t)r->refitted), &ok);
    mc_json_put(o, "bytes_before",
                mc_json_size(r->ctx->bytes_original ? r->ctx->bytes_original : r->bytes_before),
                &ok);
    mc_json_put(o, "bytes_after", mc_json_size(r->bytes_after), &ok);
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

/* Nodes without weights are passed over; all others have a reason. */
static bool applies(const struct mc_node *n, const char **ret_why)
{
    if (mc_circulant_is_call(n)) {
        *ret_why = "it is circulant already";
        return false;
    }
    return mc_layer_applies(n, ret_why);
}

static int read_options(struct mc_circulant_run *r, const json_t *options,
                        struct mc_search_ask *ret_ask, struct mc_err *err)
{
    const char *body = mc_param_text(options, "body");
    r->exact = body && !strcmp(body, "exact");
    r->refits = !mc_param_flag(options, "no-fit");
    r->keep = mc_param_real(options, "keep", -1);
    int rc = mc_search_ask(r->ctx, options, ret_ask, err);
    bool blocks = json_array_size(json_object_get(options, "block")) > 0;
    if (rc)
        return rc;
    if (blocks + (r->keep >= 0) + ret_ask->given > 1)
        return mc_fail(err, MC_EUSAGE,
                       "give one of --block, --keep, --target, --auto and --choices");
    if (r->keep >= 0)
        mc_search_ask_keep(r->keep, ret_ask);
    else if (!blocks && !ret_ask->given && mc_search_has_samples(r->ctx))
        mc_search_ask_auto(r->ctx, ret_ask);
    else if (!blocks)
        r->block = BLOCK;
    return 0;
}

/* Where nothing can be changed, why the largest layer cannot. */
static int check_any(const struct mc_circulant_run *r, struct mc_err *err)
{
    size_t largest = SIZE_MAX;
    for (size_t i = 0; i < r->layers.n; i++) {
        if (!r->item[i].reason)
            return 0;
        if (largest == SIZE_MAX ||
            r->layers.item[i].weight->bytes > r->layers.item[largest].weight->bytes)
            largest = i;
    }
    if (r->n_calls)
        return mc_fail(err, MC_EUNSUP,
                       "nothing is left to make circulant: %zu layer%s of the model %s so already",
                       r->n_calls, r->n_calls > 1 ? "s" : "", r->n_calls > 1 ? "are" : "is");
    if (largest == SIZE_MAX)
        return mc_layer_none(r->model, "made circulant", err);
    return mc_fail(err, MC_EUNSUP,
                   "nothing can be made circulant; the largest layer, '%s', because %s",
                   mc_node_label(r->layers.item[largest].sites[0].node), r->item[largest].reason);
}

/* Blocks that --block says. */
static int take_blocks(struct mc_circulant_run *r, struct mc_err *err)
{
    bool ones = false, others = false;
    for (size_t i = 0; i < r->layers.n; i++) {
        struct mc_circulant_item *it = &r->item[i];
        int64_t b = it->given ? it->given : r->block ? r->block : 1;
        if (it->reason)
            continue;
        if (!it->given && !r->block)
            it->reason = "no block is given for it";
        else if (mc_circulant_suits(&r->layers.item[i], b, it->given > 0, it->text))
            it->form.b = b;
        else
            it->reason = it->text;
        ones = ones || b == 1;
        others = others || b > 1;
    }
    return ones && !others ? 0 : check_any(r, err); /* that blocks of 1 change nothing was asked */
}

static int find_calls(struct mc_circulant_run *r, struct mc_err *err)
{
    const struct mc_graph *g = r->model->graph;
    r->call = mc_calloc(g->n_nodes + 1, sizeof *r->call);
    if (!r->call)
        return mc_fail(err, MC_ENOMEM, "out of memory");
    for (size_t i = 0; i < g->n_nodes; i++)
        if (mc_circulant_is_call(g->nodes[i]))
            r->call[r->n_calls++] = g->nodes[i];
    return 0;
}

static int prepare(struct mc_circulant_run *r, const json_t *options, struct mc_err *err)
{
    int rc = mc_linalg_new_on(mc_pool_gpu(r->ctx->pool), &r->la, err);
    if (!rc)
        rc = mc_layers_collect(r->model, &r->layers, err);
    if (!rc)
        rc = mc_layers_extents(r->model, &r->layers, err);
    if (!rc)
        rc = mc_circulant_items(r, err);
    if (!rc)
        rc = find_calls(r, err);
    if (!rc)
        rc = check_any(r, err);
    if (!rc)
        rc = mc_circulant_select(r, options, err);
    return rc ? rc : r->ctx->bytes_of(r->ctx->host, r->model, &r->bytes_before, err);
}

/* Bytes that a model with the chosen blocks has. */
static int count(struct mc_circulant_run *r, struct mc_err *err)
{
    struct mc_layers layers = {0};
    struct mc_model *m;
    int rc = mc_model_clone(r->model, &m, err);
    if (rc)
        return rc;
    rc = mc_layers_collect(m, &layers, err);
    if (!rc)
        rc = mc_circulant_place(r, m, &layers, true, err);
    if (!rc)
        rc = r->ctx->bytes_of(r->ctx->host, m, &r->bytes_after, err);
    mc_layers_free(&layers);
    mc_model_free(m);
    return rc;
}

static int apply(struct mc_circulant_run *r, json_t **ret_report, struct mc_err *err)
{
    if (r->ctx->dry_run) {
        int rc = count(r, err);
        return rc ? rc : report(r, ret_report, err);
    }
    int rc = mc_circulant_sequence(r, err);
    if (!rc)
        rc = count(r, err);
    if (!rc) /* rows name nodes that are gone afterwards */
        rc = report(r, ret_report, err);
    if (!rc && (rc = mc_circulant_place(r, r->model, &r->layers, false, err))) {
        json_decref(*ret_report);
        *ret_report = NULL;
    }
    return rc;
}

static void release(struct mc_circulant_run *r)
{
    mc_circulant_items_free(r);
    mc_layers_free(&r->layers);
    mc_linalg_free(r->la);
    free(r->call);
    json_decref(r->search);
}

static int run(struct mc_pass_ctx *ctx, const json_t *options, struct mc_model *m,
               json_t **ret_report, struct mc_err *err)
{
    struct mc_pass_ctx own = *ctx;
    struct mc_circulant_run r = {.ctx = &own, .model = m};
    struct mc_search_ask ask = {0};
    int rc = read_options(&r, options, &ask, err);
    if (!rc)
        rc = prepare(&r, options, err);
    if (!rc && ask.given)
        rc = mc_circulant_decide(&r, &ask, err);
    else if (!rc)
        rc = take_blocks(&r, err);
    if (!rc)
        rc = apply(&r, ret_report, err);
    if (!rc && r.missed)
        rc = mc_fail(err, MC_EGATE, "%s", r.miss.msg);
    release(&r);
    return rc;
}

/* Only a rate: columns are trained as they are in the file. */
static int stage(struct mc_pass_ctx *ctx, const json_t *options, int k, struct mc_model *m,
                 struct mc_pass_stage *ret, struct mc_err *err)
{
    (void)ctx;
    (void)options;
    (void)k;
    (void)m;
    (void)err;
    *ret = (struct mc_pass_stage){.name = "circulant", .share = 1, .lr = RATE, .last = true};
    return 0;
}

const struct mc_pass mc_pass_circulant = {
    .name = "circulant",
    .summary = "weight matrices and convolutions of circulant blocks: 1/N of the numbers",
    .example = "mcompress circulant model.onnx -o small.onnx --block 8 --train SPEC "
               "--finetune 8",
    .params = params,
    .applies = applies,
    .run = run,
    .stage = stage,
};
