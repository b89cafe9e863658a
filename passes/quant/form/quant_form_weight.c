#include <math.h>

#include "graph/constant.h"
#include "graph/edit.h"
#include "passes/quant/form/quant_build.h"

/* Integers in the file, floats in the sum.
 *
 * ONNX Runtime 1.32 makes one MatMulNBits of DequantizeLinear (last axis, or blocks of the first) and MatMul or Gemm: at
 * 1024x1024, one thread of a Sapphire Rapids, 0.045 ms for one row against 0.20 ms of floats, even at 16 rows, 1.2 times slower
 * from 64 on (on a Zen 5 still faster). Gemm fuses only without transB and alpha and with a bias of one axis: with transB it takes
 * 2.4 times as long as floats. Gemm, MatMul, or MatMul and Add of a matrix, in front of Relu or Clip is joined with that one instead, and
 * DequantizeLinear runs every time (fashion-mlp: 3.0 ms, floats 0.38 ms); behind a Sum it is not (0.15 ms). So is a MatMul of a
 * matrix whose residual is added. In front of Conv, LSTM
 * and the like DequantizeLinear always runs every time (Conv 64x64x3x3, 28x28: 1.5 times slower than floats), while Cast and Mul
 * are computed once when the model is loaded and cost nothing. */
enum { FEW_ROWS = 32 };
/* The version of ai.onnx with which DequantizeLinear gives halves; a Cast behind it, it would fuse with nothing. */
enum { HALF_SCALE = 19 };
/* That with which Sum stretches its inputs to each other. */
enum { SUM = 8 };

static bool is_stock(const struct mc_quant_rules *r)
{
    return r->runtime == MC_QUANT_STOCK || r->runtime == MC_QUANT_ORT;
}

/* A product of x with a constant matrix on its right. */
static bool is_product(const struct mc_quant_site *s)
{
    return (s->kind == MC_QUANT_MATMUL || s->kind == MC_QUANT_GEMM) && s->x_slot == 0 &&
           !s->reason && s->n_weights && mc_constant(s->weight[0])->shape.rank == 2;
}

/* Rows of x that are multiplied with the matrix; NAN: unknown. */
static double rows_of(const struct mc_quant_site *s)
{
    return s->macs / (double)mc_tensor_count(mc_constant(s->weight[0]));
}

/* Has the Gemm a bias and factors that its fused kernel takes? The bias may need another shape. */
static bool is_plain_gemm(const struct mc_quant_site *s)
{
    const struct mc_node *n = s->node;
    const struct mc_value *c = n->n_in > 2 ? n->in[2] : NULL;
    const struct mc_tensor *t = c ? mc_constant(c) : NULL;
    int64_t m = mc_constant(s->weight[0])->shape.dim[s->out_axis[0]];
    bool row = !c || (t && t->shape.rank > 0 && t->shape.dim[t->shape.rank - 1] == m &&
                      mc_tensor_count(t) == m);
    return row && mc_node_float(n, "alpha", 1) == 1 && mc_node_float(n, "beta", 1) == 1 &&
           n->version >= 7;
}

/* Does another product have the same integers? ONNX Runtime fuses none then (a transformer whose layers are one: 3.5 times
 * slower than floats). */
static bool has_twin(const struct mc_quant_builder *b, const struct mc_quant_site *s)
{
    size_t own = (size_t)(s - b->sites->item), first = s->shared ? s->shared - 1 : own;
    for (size_t i = first; i < b->sites->n; i++) {
        const struct mc_quant_site *o = &b->sites->item[i];
        if (i != own && (i == first || o->shared == first + 1) && is_product(o) &&
            b->form[i] == MC_QUANT_WEIGHT)
            return true;
    }
    return false;
}

/* Whether the integers are better turned to floats when the model is loaded. */
static bool folds(const struct mc_quant_builder *b, const struct mc_quant_site *s)
{
    if (!is_stock(b->rules))
        return false;
    bool half =
        s->dtype == MC_DTYPE_F64 || (s->dtype != MC_DTYPE_F32 && b->sites->opset < HALF_SCALE);
    if (!is_product(s) || half || (s->kind == MC_QUANT_GEMM && !is_plain_gemm(s)))
        return true;
    /* A body's node whose weight is outside: DequantizeLinear there would run every time, and inside ONNX Runtime 1.32 refuses
     * the model. */
    if (s->weight[0]->outer || s->weight[0]->graph != s->node->graph)
        return true;
    return has_twin(b, s) || rows_of(s) > FEW_ROWS;
}

/* Does Relu or Clip alone read the product? ONNX Runtime joins them before it looks for integers. */
static bool is_activated(const struct mc_node *n)
{
    const struct mc_value *y = n->out[0];
    return y->n_uses == 1 && y->uses[0].slot == 0 &&
           (mc_node_is(y->uses[0].node, "Relu") || mc_node_is(y->uses[0].node, "Clip"));
}

static bool splits(const struct mc_quant_site *s, const struct mc_node *n)
{
    return s->kind == MC_QUANT_GEMM && is_plain_gemm(s) && n->n_in > 2 && n->in[2] &&
           !mc_node_int(n, "transA", 0) && is_activated(n);
}

/* y = x W + c as MatMul and Sum; the Gemm is left to nobody. */
static int split(struct mc_quant_builder *b, size_t site, struct mc_value *w, struct mc_err *err)
{
    struct mc_node *n = b->node[site], *product, *sum;
    struct mc_quant_placed *at = &b->b->at[site];
    struct mc_value *t = mc_edit_fresh(n->graph, n->out[0]->name), *old = n->out[0];
    struct mc_value *y = mc_edit_fresh(n->graph, n->out[0]->name);
    if (!t || !y)
        return mc_fail(err, MC_ENOMEM, "out of memory while changing a graph");
    int rc = mc_edit_node(n->graph, n->pos, "MatMul", "", 0, n->name,
                          (struct mc_value *[]){n->in[0], w}, 2, &t, 1, &product, err);
    if (!rc)
        rc = mc_edit_node(n->graph, n->pos, "Sum", "", mc_graph_opset(n->graph, "") < SUM ? SUM : 0,
                          "", (struct mc_value *[]){t, n->in[2]}, 2, &y, 1, &sum, err);
    if (!rc)
        rc = mc_edit_replace_uses(old, y, err);
    if (rc)
        return rc;
    at->node = product;
    if (at->y == old)
        at->y = y;
    return 0;
}

/* A Sum of one between the product and who alone reads it. */
static int put_between(struct mc_node *n, struct mc_err *err)
{
    struct mc_value *y = mc_edit_fresh(n->graph, n->out[0]->name);
    struct mc_node *sum;
    int version = mc_graph_opset(n->graph, "") < SUM ? SUM : 0;
    if (!y)
        return mc_fail(err, MC_ENOMEM, "out of memory while changing a graph");
    int rc = mc_edit_replace_uses(n->out[0], y, err);
    return rc ? rc
              : mc_edit_node(n->graph, n->pos + 1, "Sum", "", version, "", n->out, 1, &y, 1, &sum,
                             err);
}

/* What a product of matrices would be joined with: an Add of something computed becomes a Sum. */
static int keep_apart(struct mc_quant_builder *b, size_t site, struct mc_err *err)
{
    const struct mc_quant_site *s = &b->sites->item[site];
    struct mc_node *n = b->node[site];
    const struct mc_value *y = n->out[0];
    struct mc_node *add = y->n_uses == 1 && y->uses[0].slot >= 0 ? y->uses[0].node : NULL;
    if (is_activated(n))
        return put_between(n, err);
    bool is = s->kind == MC_QUANT_MATMUL && !s->add && s->y_rank == 2 && add &&
              mc_node_is(add, "Add") && add->version >= 7;
    return is ? mc_edit_op(add, "", "Sum",
                           add->version < SUM ? SUM : (int)mc_graph_opset(add->graph, ""), err)
              : 0;
}

/* The bias as [m]. */
static int flat_bias(struct mc_node *n, struct mc_err *err)
{
    struct mc_value *c = n->n_in > 2 ? n->in[2] : NULL, *v;
    const struct mc_tensor *t = c ? mc_constant(c) : NULL;
    if (!t || t->shape.rank == 1)
        return 0;
    struct mc_tensor *view;
    struct mc_shape shape = mc_shape_of(1, (int64_t[]){mc_tensor_count(t)});
    size_t offset = (size_t)(t->data - (const uint8_t *)mc_storage_data(t->storage));
    int rc = mc_tensor_view(t->dtype, &shape, t->storage, offset, &view, err);
    if (rc)
        return rc;
    rc = mc_constant_new(n->graph, 0, c->name, view, &v, err);
    mc_tensor_unref(view);
    return rc ? rc : mc_edit_set_input(n, 2, v, err);
}

/* The axis of scales: one weight that is read both ways has one, that of the first reader. */
static int axis_of(const struct mc_quant_builder *b, size_t site, int k)
{
    const struct mc_quant_site *s = &b->sites->item[site];
    if (!s->shared || b->form[s->shared - 1] != MC_QUANT_WEIGHT)
        return s->out_axis[k];
    const struct mc_quant_site *first = &b->sites->item[s->shared - 1];
    for (int i = 0; i < first->n_weights; i++)
        if (mc_constant(first->weight[i]) == mc_constant(s->weight[k]))
            return first->out_axis[i];
    return s->out_axis[k];
}

static int one_weight(struct mc_quant_builder *b, size_t site, int k, struct mc_err *err)
{
    const struct mc_quant_site *s = &b->sites->item[site];
    struct mc_node *n = b->node[site];
    bool block = b->form[site] == MC_QUANT_BLOCK;
    int axis = axis_of(b, site, k);
    bool fold = !block && (folds(b, s) || axis != s->out_axis[k]);
    bool turn = !fold && s->kind == MC_QUANT_GEMM && s->x_slot == 0 && is_plain_gemm(s) &&
                mc_node_int(n, "transB", 0);
    struct mc_quant_type type = mc_quant_weight_type(b->rules, b->form[site]);
    struct mc_quant_cut cut = {b->rules->per_tensor ? -1 : axis, 0};
    struct mc_value *v;
    if (block)
        cut = (struct mc_quant_cut){s->in_axis[k], mc_quant_block(s, b->rules, k)};
    int rc = mc_quant_put_weight(b, site, k, &type, &cut, s->transposed[k] != turn,
                                 fold ? MC_DTYPE_F32 : MC_DTYPE_NONE, err);
    if (!rc)
        rc = mc_quant_put_float(b, site, k, fold, &v, err);
    if (!rc && turn)
        mc_edit_attr_remove(n, "transB");
    if (!rc && !fold && s->kind == MC_QUANT_GEMM && is_plain_gemm(s))
        rc = flat_bias(n, err);
    if (!rc && !fold && is_stock(b->rules) && splits(s, n))
        return split(b, site, v, err);
    if (!rc && !fold && is_stock(b->rules))
        rc = keep_apart(b, site, err);
    return rc ? rc : mc_edit_set_input(n, (size_t)s->slot[k], v, err);
}

int mc_quant_form_weight(struct mc_quant_builder *b, size_t site, struct mc_err *err)
{
    int rc = 0;
    for (int k = 0; k < b->sites->item[site].n_weights && !rc; k++)
        rc = one_weight(b, site, k, err);
    return rc;
}
