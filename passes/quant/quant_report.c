#include <math.h>
#include <stdlib.h>

#include "base/json.h"
#include "passes/quant/quant_run.h"

static uint64_t bytes_after(const struct mc_quant_run *r, size_t i)
{
    const struct mc_quant_placed *at = &r->built.at[i];
    uint64_t sum = 0;
    if (at->form == MC_QUANT_FLOAT)
        return r->sites.item[i].bytes;
    for (int k = 0; k < r->sites.item[i].n_weights; k++)
        sum += at->w[k].bytes;
    return sum;
}

/* Relative error of the weights of a site: the worst of them. */
static double error_of(const struct mc_quant_placed *at)
{
    double e = NAN;
    for (int k = 0; k < MC_QUANT_SLOTS; k++)
        if (at->w[k].q)
            e = fmax(at->w[k].error, isnan(e) ? 0 : e);
    return e;
}

static const char *reason(const struct mc_quant_run *r, size_t i, enum mc_quant_form form)
{
    const struct mc_quant_site *s = &r->sites.item[i];
    if (form != MC_QUANT_FLOAT)
        return NULL;
    if (r->left[i])
        return "--only or --skip leaves it";
    if (s->reason)
        return s->reason;
    if (r->because[i])
        return r->because[i];
    return r->ctx->choices ? "the choices leave it as it is" : s->why[r->wish];
}

/* Beside what was done: why not the form that was asked for, or the fastest. */
static const char *note(const struct mc_quant_run *r, size_t i, enum mc_quant_form form)
{
    bool fastest = r->search && !r->by_bytes && !r->ctx->choices;
    if (form == MC_QUANT_FLOAT)
        return NULL;
    if (r->because[i])
        return r->because[i];
    if (fastest && r->automatic && form <= MC_QUANT_WEIGHT && r->sites.item[i].why[MC_QUANT_STATIC])
        return r->sites.item[i].why[MC_QUANT_STATIC];
    if (!r->ctx->choices && !r->automatic && form != r->wish && r->sites.item[i].why[r->wish])
        return r->sites.item[i].why[r->wish];
    return r->built.at[i].note;
}

static json_t *row(const struct mc_quant_run *r, size_t i)
{
    const struct mc_quant_site *s = &r->sites.item[i];
    enum mc_quant_form form = r->built.at[i].form;
    bool ok = true, counts = !s->shared;
    const char *why = reason(r, i, form);
    json_t *o = json_object();
    mc_json_put(o, "name", mc_json_text(mc_node_label(s->node)), &ok);
    mc_json_put(o, "op", mc_json_text(s->node->op_type), &ok);
    mc_json_put(o, "action", json_string(form == MC_QUANT_FLOAT ? "left" : "quantised"), &ok);
    mc_json_put(o, "reason",
                mc_json_text(why                      ? why
                             : form == MC_QUANT_FLOAT ? "it gains nothing"
                                                      : NULL),
                &ok);
    mc_json_put(o, "weight", mc_json_text(s->n_weights ? s->weight[0]->name : NULL), &ok);
    mc_json_put(o, "form",
                form == MC_QUANT_FLOAT ? json_null() : json_string(mc_quant_form_names[form]), &ok);
    mc_json_put(o, "bytes_before", mc_json_size(counts ? s->bytes : 0), &ok);
    mc_json_put(o, "bytes_after", mc_json_size(counts ? bytes_after(r, i) : 0), &ok);
    mc_json_put(o, "error", mc_json_real(r->ctx->dry_run ? NAN : error_of(&r->built.at[i])), &ok);
    mc_json_put(o, "alone", mc_json_real(r->alone[i]), &ok);
    mc_json_put(o, "note", mc_json_text(note(r, i, form)), &ok);
    if (!ok) {
        json_decref(o);
        return NULL;
    }
    return o;
}

static json_t *trial(const struct mc_quant_trial *t, bool *ok)
{
    json_t *o = json_object();
    mc_json_put(o, "kl", mc_json_real(t->loss), ok);
    mc_json_put(o, "agreement", mc_json_real(t->agreement), ok);
    mc_json_put(o, "sqnr_db", mc_json_real(t->sqnr), ok);
    mc_json_put(o, "cost", mc_json_real(t->cost), ok);
    return o;
}

static json_t *repairs(const struct mc_quant_run *r, bool *ok)
{
    json_t *list = json_array();
    for (size_t i = 0; i < r->n_repairs; i++) {
        const struct mc_quant_repair_result *p = &r->repair[i];
        json_t *o = json_object();
        mc_json_put(o, "name", json_string(p->name), ok);
        mc_json_put(o, "layers", json_integer((json_int_t)p->layers), ok);
        mc_json_put(o, "before", mc_json_real(p->before), ok);
        mc_json_put(o, "after", mc_json_real(p->after), ok);
        mc_json_put(o, "kept", json_boolean(p->kept), ok);
        mc_json_put(o, "why", mc_json_text(p->why), ok);
        mc_json_add(list, o, ok);
    }
    return list;
}

static json_t *rules(const struct mc_quant_run *r, bool *ok)
{
    static const char *const runtimes[] = {"any", "ort", "cpu-vnni", "cpu-avx2", "openvino"};
    static const char *const methods[] = {"minmax", "percentile", "entropy", "mse"};
    const struct mc_quant_rules *q = &r->rules;
    json_t *o = json_object();
    mc_json_put(o, "runtime", json_string(runtimes[q->runtime]), ok);
    mc_json_put(o, "weight_bits", json_integer(q->weight_bits), ok);
    mc_json_put(o, "act_bits", json_integer(q->act_bits), ok);
    mc_json_put(o, "method", json_string(methods[q->method]), ok);
    mc_json_put(o, "weight_method", json_string(methods[q->weight_method]), ok);
    mc_json_put(o, "per_tensor", json_boolean(q->per_tensor), ok);
    mc_json_put(o, "cost_source", mc_json_text(mc_quant_price_source(r)), ok);
    return o;
}

int mc_quant_report(const struct mc_quant_run *r, bool statistics, json_t **ret, struct mc_err *err)
{
    bool ok = true;
    json_t *o = json_object(), *rows = json_array(), *counts = json_object();
    size_t n[MC_QUANT_FORMS] = {0};
    for (size_t i = 0; i < r->sites.n; i++) {
        mc_json_add(rows, row(r, i), &ok);
        n[r->built.at[i].form]++;
    }
    for (int f = 0; f < MC_QUANT_FORMS; f++)
        if (n[f])
            mc_json_put(counts, mc_quant_form_names[f], json_integer((json_int_t)n[f]), &ok);
    mc_json_put(o, "layers", rows, &ok);
    mc_json_put(o, "forms", counts, &ok);
    mc_json_put(o, "integer_nodes", json_integer((json_int_t)r->built.quantised_nodes), &ok);
    mc_json_put(o, "weight_bytes", mc_json_size(r->sites.weight_bytes), &ok);
    mc_json_put(o, "compressed_bytes", mc_json_size(r->built.compressed), &ok);
    mc_json_put(o, "rules", rules(r, &ok), &ok);
    if (r->stats)
        mc_json_put(o, "calibration_samples", json_integer(r->stats->samples), &ok);
    if (r->judge) {
        mc_json_put(o, "judged_samples", json_integer(mc_judge_samples(r->judge)), &ok);
        mc_json_put(o, "judged", trial(&r->result, &ok), &ok);
        mc_json_put(o, "weight_only", trial(&r->weight, &ok), &ok);
    }
    mc_json_put(o, "repairs", repairs(r, &ok), &ok);
    if (statistics && r->stats)
        mc_json_put(o, "statistics", mc_quant_stats_json(r->stats), &ok);
    json_t *notes = json_array();
    if (r->warning)
        mc_json_add(notes, json_string(r->warning), &ok);
    if (*r->slower)
        mc_json_add(notes, mc_json_text(r->slower), &ok);
    mc_json_put(o, "notes", notes, &ok);
    mc_json_put(o, "estimated_time", mc_json_real(r->result.cost / r->before_trial.cost), &ok);
    if (r->search)
        mc_json_put(o, "search", json_incref(r->search), &ok);
    if (!ok) {
        json_decref(o);
        return mc_fail(err, MC_ENOMEM, "out of memory");
    }
    *ret = o;
    return 0;
}
