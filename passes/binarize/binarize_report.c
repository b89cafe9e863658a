#include "passes/binarize/binarize_report.h"

#include <math.h>
#include <stdio.h>

#include "base/json.h"
#include "passes/layer/layer_row.h"

enum { TEXT = 256 };

static json_t *row(const struct mc_binarize_account *a, size_t i, size_t site)
{
    const struct mc_binarize_layer *b = &a->plan->item[i];
    const struct mc_layer *l = b->of;
    bool ok = true, counts = site == 0;
    json_t *o = mc_layer_row(l->sites[site].node, "binarised", b->left, &ok);
    mc_json_put(o, "weight", mc_json_text(l->value->name), &ok);
    mc_json_put(o, "rows", json_integer(l->m), &ok);
    mc_json_put(o, "columns", json_integer(l->n), &ok);
    mc_json_put(o, "form",
                b->left   ? json_null()
                : b->fast ? json_string("weights, fast")
                : b->real ? json_string("weights")
                          : json_string("weights, inputs"),
                &ok);
    mc_json_put(o, "real_inputs", mc_json_text(!b->left && b->real && *b->real ? b->real : NULL),
                &ok);
    mc_json_put(o, "shortcut", json_boolean(!b->left && b->around), &ok);
    mc_json_put(o, "bytes_before", mc_json_size(counts ? l->weight->bytes : 0), &ok);
    mc_json_put(o, "bytes_after",
                mc_json_size(!counts   ? 0
                             : b->left ? l->weight->bytes
                                       : mc_binarize_bytes(l)),
                &ok);
    mc_json_put(o, "error", mc_json_real(b->left ? NAN : a->error[i]), &ok);
    if (ok)
        return o;
    json_decref(o);
    return NULL;
}

static bool is_grouped(const struct mc_binarize_plan *p, const struct mc_layer *l)
{
    for (size_t i = 0; i < p->n_grouped; i++)
        if (p->grouped[i].sites[0].node == l->sites[0].node)
            return true;
    return false;
}

static void put_notes(const struct mc_binarize_account *a, json_t *notes, bool *ok)
{
    char text[TEXT] = "";
    const char *hint = "; train it with --finetune EPOCHS --train SPEC";
    if (a->trains)
        return;
    if (a->judged && isfinite(a->agreement))
        snprintf(text, sizeof text,
                 "untrained, it decides like the original on %.1f %% of %lld samples%s",
                 100 * a->agreement, (long long)a->judged, a->agreement < 0.99 ? hint : "");
    else if (a->judged)
        snprintf(text, sizeof text,
                 "untrained, the outputs on %lld samples are off by %.2g of their variance%s",
                 (long long)a->judged, a->noise, a->noise > 0.01 ? hint : "");
    else
        snprintf(text, sizeof text,
                 "untrained, and without samples nobody knows how far the answers have moved: pass "
                 "--calib SPEC%s",
                 hint);
    mc_json_add(notes, mc_json_text(text), ok);
}

int mc_binarize_report(const struct mc_binarize_account *a, json_t **ret, struct mc_err *err)
{
    const struct mc_binarize_plan *p = a->plan;
    bool ok = true;
    json_t *o = json_object(), *rows = json_array(), *notes = json_array();
    uint64_t bits = 0, bytes = 0;
    for (size_t i = 0; i < p->n; i++) {
        for (size_t s = 0; s < p->item[i].of->n_sites; s++)
            mc_json_add(rows, row(a, i, s), &ok);
        if (!p->item[i].left) {
            bits += (uint64_t)(p->item[i].of->m * p->item[i].of->n);
            bytes += mc_binarize_bytes(p->item[i].of);
        }
    }
    for (size_t i = 0; i < p->layers.n_others; i++)
        if (!is_grouped(p, &p->layers.others[i]))
            mc_json_add(rows,
                        mc_layer_row_left(p->layers.others[i].sites[0].node,
                                          p->layers.others[i].reason, &ok),
                        &ok);
    for (size_t i = 0; i < p->n; i++)
        if (!p->item[i].left && p->item[i].fast) {
            mc_json_add(notes,
                        json_string("layers with the fast body compute an approximation: in "
                                    "every run their inputs are rounded to 8 bits"),
                        &ok);
            break;
        }
    put_notes(a, notes, &ok);
    mc_json_put(o, "layers", rows, &ok);
    mc_json_put(o, "binary_weights", mc_json_size(bits), &ok);
    mc_json_put(o, "binary_bytes", mc_json_size(bytes), &ok);
    if (a->thresholds)
        mc_json_put(o, "calibration_samples", json_integer(a->thresholds), &ok);
    if (a->judged) {
        mc_json_put(o, "judged_samples", json_integer(a->judged), &ok);
        mc_json_put(o, "agreement", mc_json_real(a->agreement), &ok);
    }
    mc_json_put(o, "bytes_before", mc_json_size(a->bytes_before), &ok);
    mc_json_put(o, "bytes_after", mc_json_size(a->bytes_after), &ok);
    mc_json_put(o, "notes", notes, &ok);
    if (a->search)
        mc_json_put(o, "search", json_incref(a->search), &ok);
    if (!ok) {
        json_decref(o);
        return mc_fail(err, MC_ENOMEM, "out of memory");
    }
    *ret = o;
    return 0;
}
