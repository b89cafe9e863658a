#include "passes/quant/form/quant_half.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/mem.h"
#include "graph/constant.h"
#include "graph/edit.h"
#include "passes/quant/form/quant_half_parts.h"
#include "passes/layer/layer.h"

/* Relative error, of the norm, that rounding alone stays below: 2^-11 and 2^-8 is half a unit in the last place at worst. */
static const double max_error_f16 = 0x1p-11, max_error_bf16 = 0x1p-8;
/* What a Cast node takes in a file beside the names. */
enum { CAST_BYTES = 48 };

static int no_memory(struct mc_err *err)
{
    return mc_fail(err, MC_ENOMEM, "out of memory");
}

/* ---- numbers ---- */

int mc_quant_half_tensor(const struct mc_tensor *t, enum mc_dtype to, struct mc_spill *spill,
                         struct mc_tensor **ret, double *ret_error, const char **ret_why,
                         struct mc_err *err)
{
    enum { CHUNK = 1024 };
    float before[CHUNK], after[CHUNK];
    size_t n = (size_t)mc_tensor_count(t), half = mc_dtype_info(to)->bits / 8;
    double lost = 0, all = 0;
    struct mc_tensor *h = NULL;
    void *data;
    int rc = mc_tensor_new(to, &t->shape, spill, &h, &data, err);
    *ret = NULL;
    for (size_t i = 0; !rc && i < n; i += CHUNK) {
        size_t k = n - i < CHUNK ? n - i : CHUNK;
        uint8_t *dst = (uint8_t *)data + i * half;
        memcpy(before, t->data + i * sizeof *before, k * sizeof *before);
        rc = mc_dtype_from_f32(to, before, dst, k, err);
        rc = rc ? rc : mc_dtype_to_f32(to, dst, after, k, err);
        for (size_t j = 0; j < k; j++) {
            double d = (double)before[j] - (double)after[j];
            lost += d * d;
            all += (double)before[j] * (double)before[j];
        }
    }
    if (rc) {
        mc_tensor_unref(h);
        return rc;
    }
    *ret_error = all == 0 ? 0 : sqrt(lost / all); /* NaN where there is one */
    if (*ret_error <= (to == MC_DTYPE_F16 ? max_error_f16 : max_error_bf16)) {
        *ret = h;
        return 0;
    }
    mc_tensor_unref(h);
    *ret_why = isfinite(*ret_error) ? "its values are too small for the type"
                                    : "it holds values that the type cannot hold";
    return 0;
}

/* ---- one weight ---- */

struct run {
    struct mc_model *m;
    const struct mc_quant_half *how;
    json_t *rows;
    bool ok;
};

/* Does something read it that wants to see a constant (a scale of integers, a shape)? */
static bool wants_constant(const struct mc_value *v)
{
    for (size_t i = 0; i < v->n_uses; i++) {
        const struct mc_node *n = v->uses[i].node;
        if (strstr(n->op_type, "QuantizeLinear") || strstr(n->op_type, "QLinear") ||
            (mc_node_is(n, "Resize") && v->uses[i].slot > 0) || mc_node_is(n, "Upsample"))
            return true;
    }
    return false;
}

/* The node that first reads it. */
static const struct mc_node *reader(const struct mc_value *v)
{
    const struct mc_node *first = NULL;
    for (size_t i = 0; i < v->n_uses; i++)
        if (!first || v->uses[i].node->pos < first->pos)
            first = v->uses[i].node;
    return first;
}

static void add_row(struct run *r, const struct mc_value *v, uint64_t before, uint64_t after,
                    const char *why, double error)
{
    const struct mc_node *n = reader(v);
    json_t *o = json_object();
    mc_json_put(o, "name", mc_json_text(n ? mc_node_label(n) : v->name), &r->ok);
    mc_json_put(o, "op", mc_json_text(n ? n->op_type : ""), &r->ok);
    mc_json_put(o, "weight", mc_json_text(v->name), &r->ok);
    mc_json_put(o, "action", json_string(why ? "left" : "half"), &r->ok);
    mc_json_put(o, "reason", mc_json_text(why), &r->ok);
    mc_json_put(o, "bytes_before", mc_json_size(before), &r->ok);
    mc_json_put(o, "bytes_after", mc_json_size(after), &r->ok);
    mc_json_put(o, "error", mc_json_real(error), &r->ok);
    mc_json_add(r->rows, o, &r->ok);
}

/* Let v, which has its content no more, be a Cast of h. */
static int put_cast(struct mc_value *v, struct mc_tensor *h, struct mc_err *err)
{
    struct mc_graph *g = v->graph;
    const struct mc_node *first = reader(v);
    size_t pos = first && !v->is_output ? first->pos : 0;
    char name[512];
    struct mc_value *stored;
    struct mc_node *cast;
    snprintf(name, sizeof name, "%.480s_half", v->name);
    size_t nodes = g->n_nodes;
    int64_t opset = mc_graph_opset(g, ""), needed = h->dtype == MC_DTYPE_BF16 ? 13 : 6;
    int version = (int)(opset > needed ? opset : needed);
    int rc = mc_constant_new(g, pos, name, h, &stored, err);
    pos += g->n_nodes - nodes;
    rc = rc ? rc : mc_edit_node(g, pos, "Cast", "", version, "", &stored, 1, &v, 1, &cast, err);
    return rc ? rc : mc_edit_attr_int(cast, "to", MC_DTYPE_F32, err);
}

/* Store v, an initializer or the output of a Constant node. */
static int store(struct run *r, struct mc_value *v, struct mc_err *err)
{
    const struct mc_tensor *t = mc_constant(v);
    if (!t || t->dtype != MC_DTYPE_F32 || t->bytes < 4 * CAST_BYTES + 4 * strlen(v->name) ||
        (!v->n_uses && !v->is_output))
        return 0;
    struct mc_tensor *h = NULL;
    double error = NAN;
    const char *why = wants_constant(v) ? "runtimes want to see it as a constant" : NULL;
    uint64_t before = t->bytes, after;
    int rc = why ? 0 : mc_quant_half_tensor(t, r->how->to, r->m->spill, &h, &error, &why, err);
    if (rc)
        return rc;
    after = h ? h->bytes : before;
    add_row(r, v, before, after, why, error);
    if (!h)
        return 0;
    if (v->producer)
        mc_edit_remove_node(v->producer);
    else
        rc = mc_edit_tensor(v, NULL, err);
    rc = rc ? rc : put_cast(v, h, err);
    mc_tensor_unref(h);
    return rc;
}

static int store_graph(struct run *r, struct mc_graph *g, struct mc_err *err)
{
    int rc = 0;
    size_t n = g->n_values; /* those made on the way are halves already */
    for (size_t i = 0; !rc && i < n; i++) {
        struct mc_value *v = g->values[i];
        if (v && !v->outer && !v->is_input &&
            (v->tensor || (v->producer && mc_node_is(v->producer, "Constant"))))
            rc = store(r, v, err);
    }
    return rc;
}

/* ---- all ---- */

static int report(struct run *r, size_t left, json_t **ret, struct mc_err *err)
{
    json_t *o = json_object();
    mc_json_put(o, "layers", r->rows, &r->ok);
    r->rows = NULL;
    mc_json_put(o, "type", json_string(mc_dtype_name(r->how->to)), &r->ok);
    mc_json_put(o, "computed", json_boolean(r->how->computed), &r->ok);
    mc_json_put(o, "float_nodes", json_integer((json_int_t)left), &r->ok);
    if (!r->ok) {
        json_decref(o);
        return no_memory(err);
    }
    *ret = o;
    return 0;
}

int mc_quant_half(struct mc_pass_ctx *ctx, struct mc_model *m, const struct mc_quant_half *how,
                  json_t **ret_report, struct mc_err *err)
{
    struct run r = {m, how, NULL, true};
    struct mc_graph **graph = NULL;
    size_t n = 0, left = 0;
    if (how->computed && how->to != MC_DTYPE_F16)
        return mc_fail(err, MC_EUNSUP,
                       "%s is for stored weights: runtimes have hardly an operator that computes "
                       "in it, take fp16",
                       mc_dtype_name(how->to));
    if (m->ir_version < 4) { /* where initializers are inputs, weights could not go away */
        m->ir_version = 4;
        mc_edit_fix_inputs(m->graph);
    }
    int rc = (r.rows = json_array()) ? mc_layer_graphs(m, &graph, &n, err) : no_memory(err);
    for (size_t i = 0; !rc && i < n; i++)
        rc = store_graph(&r, graph[i], err);
    if (!rc && how->computed)
        rc = mc_quant_half_compute(ctx, m, &left, err);
    rc = rc ? rc : report(&r, left, ret_report, err);
    if (!rc)
        mc_edit_sweep(m->graph);
    json_decref(r.rows);
    free(graph);
    return rc;
}
