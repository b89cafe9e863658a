/* LSTM, GRU and RNN.
 *
 * Weights: integers that Cast and Mul turn into floats, which runtimes do when they load the model; DequantizeLinear would
 * run on every call (ONNX Runtime 1.32, 128 cells, 32 steps: 1.4 times the time of floats).
 * Dynamic: DynamicQuantizeLSTM where operators of com.microsoft may be written (0.14 of the time of floats with 512 cells,
 * 0.7 with 128), otherwise the cell written out (quant_cell_scan.h). */
#include <string.h>

#include "graph/constant.h"
#include "graph/edit.h"
#include "passes/quant/form/quant_cell.h"

/* Floats of R of one direction from which a cell written out is faster than the operator of floats: these outgrow the
 * second-level cache, while a step costs a dozen small nodes. ONNX Runtime 1.32, 32 steps, batch 1: 256 cells 1.05 of the
 * time of floats, 320 cells 0.7, 384 0.37, 512 0.22. */
enum { LARGE = 1 << 20 };

enum kind { LSTM, GRU, RNN };

static enum kind kind_of(const struct mc_node *n)
{
    return mc_node_is(n, "LSTM") ? LSTM : mc_node_is(n, "GRU") ? GRU : RNN;
}

/* Sizes that ONNX asks for; what a file says need not be so. */
static bool fits(const struct mc_quant_site *s)
{
    static const int64_t gates[] = {4, 3, 1};
    const struct mc_node *n = s->node;
    const struct mc_shape *w = &mc_constant(s->weight[0])->shape;
    const struct mc_shape *r = &mc_constant(s->weight[1])->shape;
    const struct mc_tensor *b = n->n_in > 3 && n->in[3] ? mc_constant(n->in[3]) : NULL;
    int64_t dirs = strcmp(mc_node_string(n, "direction", "forward"), "bidirectional") ? 1 : 2;
    return w->dim[0] == dirs && r->dim[0] == dirs && w->dim[1] == r->dim[1] &&
           r->dim[1] == gates[kind_of(n)] * r->dim[2] &&
           (!b || mc_tensor_count(b) == 2 * dirs * r->dim[1]);
}

static const char *not_plain(const struct mc_node *n)
{
    static const char *const usual[][3] = {
        {"Sigmoid", "Tanh", "Tanh"}, {"Sigmoid", "Tanh"}, {"Tanh"}};
    static const size_t fns[] = {3, 2, 1};
    const struct mc_attr *a = mc_node_attr(n, "activations");
    enum kind k = kind_of(n);
    for (size_t i = 0; a && i < a->n; i++)
        if (!a->strings || !a->strings[i].data ||
            strcmp((const char *)a->strings[i].data, usual[k][i % fns[k]]) != 0)
            return "its activations are not the usual ones";
    if (mc_node_float(n, "clip", 0) != 0 || mc_node_int(n, "input_forget", 0))
        return "it clips, or couples its gates";
    if (n->n_in > 7 && n->in[7])
        return "it has peepholes";
    if (n->n_in > 4 && n->in[4])
        return "its sequences have lengths of their own";
    if (n->n_in > 3 && n->in[3] && !mc_constant(n->in[3]))
        return "its bias is not constant";
    return NULL;
}

static bool has_operator(const struct mc_quant_site *s, const struct mc_quant_rules *r)
{
    return r->contrib && s->dtype == MC_DTYPE_F32 && mc_node_is(s->node, "LSTM");
}

const char *mc_quant_cell_why(const struct mc_quant_site *s, const struct mc_quant_rules *r)
{
    const struct mc_tensor *t = mc_constant(s->weight[1]);
    if (!fits(s))
        return "its weights do not fit each other";
    if (r->weight_bits <= 4)
        return "a cell of integers takes more than 4 bits";
    if (mc_node_int(s->node, "layout", 0))
        return "layout 1 has no form in integers";
    if (has_operator(s, r))
        return NULL;
    if (mc_tensor_count(t) / t->shape.dim[0] * 4 <= LARGE)
        return mc_node_is(s->node, "LSTM") && !r->contrib
                   ? "so small a cell is not faster in integers without operators of com.microsoft"
                   : "so small a cell is not faster in integers";
    return not_plain(s->node);
}

/* ---- weights ---- */

struct mc_quant_cut mc_quant_cell_cut(const struct mc_quant_builder *b, size_t site, int k)
{
    const struct mc_tensor *t = mc_constant(b->sites->item[site].weight[k]);
    struct mc_quant_cut all = {-1, 0}, rows = {2, (int)t->shape.dim[2]};
    return b->rules->per_tensor ? all : rows;
}

static int put_floats(struct mc_quant_builder *b, size_t site, struct mc_err *err)
{
    const struct mc_quant_site *s = &b->sites->item[site];
    int rc = 0;
    for (int k = 0; !rc && k < s->n_weights; k++) {
        struct mc_quant_type type = mc_quant_weight_type(b->rules, MC_QUANT_WEIGHT);
        struct mc_quant_cut cut = mc_quant_cell_cut(b, site, k);
        struct mc_value *v;
        type.is_signed = true;
        rc = mc_quant_put_weight(b, site, k, &type, &cut, false, MC_DTYPE_F32, err);
        rc = rc ? rc : mc_quant_put_float(b, site, k, true, &v, err);
        rc = rc ? rc : mc_edit_set_input(b->node[site], (size_t)s->slot[k], v, err);
    }
    return rc;
}

/* ---- DynamicQuantizeLSTM ---- */

/* What it reads: W [dirs, n, rows], its scales [dirs, rows] and as many zeros. */
static int put_operand(struct mc_quant_builder *b, size_t site, int k, struct mc_err *err)
{
    struct mc_node *n = b->node[site];
    const struct mc_tensor *w = mc_constant(b->sites->item[site].weight[k]);
    struct mc_quant_emit e = {n->graph, n->pos, 0, err};
    struct mc_shape scales = mc_shape_of(2, w->shape.dim);
    struct mc_quant_cell_part part = {0, w->shape.dim[0], 0, w->shape.dim[1]};
    struct mc_tensor *t, *zero = NULL;
    int rc = mc_quant_cell_turn(b, site, k, &part, 3, &t, err);
    struct mc_value *q = rc ? NULL : mc_quant_emit_tensor(&e, "q", t);
    rc = rc ? rc : mc_quant_cell_rows(b->b->at[site].w[k].scale, w, &part, 2, &t, err);
    struct mc_value *s = rc ? NULL : mc_quant_emit_tensor(&e, "s", t);
    rc = rc ? rc : mc_tensor_new(MC_DTYPE_I8, &scales, NULL, &zero, NULL, err);
    struct mc_value *z = rc ? NULL : mc_quant_emit_tensor(&e, "z", zero);
    if (rc || e.rc)
        return rc ? rc : e.rc;
    rc = mc_edit_set_input(n, (size_t)(1 + k), q, err);
    rc = rc ? rc : mc_edit_set_input(n, (size_t)(8 + 2 * k), s, err);
    return rc ? rc : mc_edit_set_input(n, (size_t)(9 + 2 * k), z, err);
}

static int put_operator(struct mc_quant_builder *b, size_t site, struct mc_err *err)
{
    struct mc_node *n = b->node[site];
    struct mc_function *f = n->graph->function;
    int rc = 0;
    for (int k = 0; !rc && k < 2; k++)
        rc = put_operand(b, site, k, err);
    mc_edit_attr_remove(n, "layout");
    rc = rc ? rc : mc_edit_op(n, "com.microsoft", "DynamicQuantizeLSTM", 1, err);
    rc = rc ? rc : mc_edit_opset(b->b->m, "com.microsoft", 1, err);
    return rc || !f ? rc : mc_edit_function_opset(f, "com.microsoft", 1, err);
}

/* ---- any form ---- */

int mc_quant_form_cell(struct mc_quant_builder *b, size_t site, struct mc_err *err)
{
    const struct mc_quant_site *s = &b->sites->item[site];
    bool unit = has_operator(s, b->rules);
    if (b->form[site] != MC_QUANT_DYNAMIC)
        return put_floats(b, site, err);
    struct mc_quant_type type = mc_quant_weight_type(b->rules, MC_QUANT_DYNAMIC);
    int rc = 0;
    if (unit)
        type.is_signed = type.symmetric = type.narrow = true;
    for (int k = 0; !rc && k < s->n_weights; k++) {
        struct mc_quant_cut cut = mc_quant_cell_cut(b, site, k);
        rc = mc_quant_put_weight(b, site, k, &type, &cut, false, MC_DTYPE_F32, err);
    }
    if (!rc)
        rc = unit ? put_operator(b, site, err) : mc_quant_cell_scan(b, site, err);
    for (int k = 0; !rc && k < s->n_weights; k++) /* in another order now, and in parts */
        b->b->at[site].w[k].q = b->b->at[site].w[k].scale = b->b->at[site].w[k].zero = NULL;
    return rc;
}
