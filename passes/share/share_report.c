#include "passes/share/share_report.h"

#include <math.h>

#include "base/json.h"
#include "passes/layer/layer_named.h"
#include "passes/layer/layer_row.h"
#include "passes/share/share_search.h"

int mc_share_check_any(const struct mc_share_run *r, struct mc_err *err)
{
    const struct mc_share_weight *largest = NULL;
    for (size_t i = 0; i < r->n_weights; i++) {
        if (!r->weight[i].reason)
            return 0;
        if (!largest || r->weight[i].tensor->bytes > largest->tensor->bytes)
            largest = &r->weight[i];
    }
    const struct mc_node *call = mc_layer_call(r->model);
    if (!largest && call)
        return mc_fail(
            err, MC_EUNSUP,
            "no weights are left to share: they are in smaller forms already, such as %s '%s'",
            call->op_type, mc_node_label(call));
    if (!largest)
        return mc_fail(err, MC_EUNSUP, "the model has no weights that could be shared");
    return mc_fail(err, MC_EUNSUP, "no weights are left to share; the largest, '%s', because %s",
                   largest->value->name, largest->reason);
}

static json_t *row(const struct mc_share_weight *w, bool *ok)
{
    json_t *o = mc_layer_row(w->node, "shared", w->reason, ok);
    const struct mc_share_point *p = w->reason ? NULL : &w->at[w->bits];
    const struct mc_share_code *c = p ? p->code : NULL;
    mc_json_put(o, "weight", mc_json_text(w->value->name), ok);
    mc_json_put(o, "rows", json_integer(w->m), ok);
    mc_json_put(o, "columns", json_integer(w->n), ok);
    mc_json_put(o, "form",
                p ? json_string(p->scaled ? "codebook, scaled" : "codebook") : json_null(), ok);
    mc_json_put(o, "choice", p ? json_string(mc_share_label(w->bits)) : json_null(), ok);
    mc_json_put(o, "bits", p ? json_integer(w->bits) : json_null(), ok);
    mc_json_put(o, "bytes_before", mc_json_size(mc_share_dense_bytes(w)), ok);
    mc_json_put(o, "bytes_after", mc_json_size(p ? p->bytes : mc_share_dense_bytes(w)), ok);
    mc_json_put(o, "error", mc_json_real(c && c->total > 0 ? sqrt(c->error / c->total) : NAN), ok);
    return o;
}

static bool listed(const struct mc_share_run *r, const struct mc_node *n)
{
    for (size_t i = 0; i < r->n_weights; i++)
        if (r->weight[i].node == n)
            return true;
    return false;
}

int mc_share_report(struct mc_share_job *job, const struct mc_share_run *r, struct mc_err *err)
{
    static const char *const norms[] = {"auto", "weights", "inputs", "outputs"};
    bool ok = true;
    for (size_t i = 0; i < r->n_weights; i++)
        mc_json_add(job->rows, row(&r->weight[i], &ok), &ok);
    for (size_t i = 0; i < r->norm.layers.n_others; i++)
        if (!listed(r, r->norm.layers.others[i].sites[0].node))
            mc_json_add(job->rows,
                        mc_layer_row_left(r->norm.layers.others[i].sites[0].node,
                                          r->norm.layers.others[i].reason, &ok),
                        &ok);
    mc_json_put(job->report, "norm",
                json_string(r->measured ? norms[r->norm.norm_kind] : "weights"), &ok);
    if (r->measured)
        mc_json_put(job->report, "calibration_samples", json_integer(r->ctx->calib_count), &ok);
    return ok ? 0 : mc_fail(err, MC_ENOMEM, "out of memory");
}
