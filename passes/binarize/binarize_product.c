#include "passes/binarize/binarize_product.h"

#include "graph/constant.h"
#include "graph/edit.h"
#include "passes/binarize/binarize_form.h"

static struct mc_node *maker_of(const struct mc_node *n, size_t slot)
{
    return slot < n->n_in && n->in[slot] ? n->in[slot]->producer : NULL;
}

static bool is_row(const struct mc_value *v, int64_t m)
{
    const struct mc_tensor *t = v ? mc_constant(v) : NULL;
    return t && t->dtype == MC_DTYPE_F32 && t->shape.rank == 1 && t->shape.dim[0] == m;
}

static struct mc_node *bias_node(const struct mc_node *n, int64_t m, struct mc_value **ret_bias)
{
    struct mc_value *y = n->out[0];
    if (y->n_uses != 1 || y->is_output || y->uses[0].slot < 0 ||
        !mc_node_is(y->uses[0].node, "Add"))
        return NULL;
    struct mc_node *add = y->uses[0].node;
    struct mc_value *b = add->in[!y->uses[0].slot];
    if (!is_row(b, m))
        return NULL;
    *ret_bias = b;
    return add;
}

/* Channels of BatchNormalization are dimension 1: those of a MatMul only where its inputs have two, as signs behind a norm of
 * their own have that no Reshape follows. */
static struct mc_node *norm_node(const struct mc_sign_product *p, int64_t m)
{
    struct mc_value *y = (p->add ? p->add : p->node)->out[0];
    const struct mc_node *before = p->sign ? maker_of(p->sign, 0) : NULL;
    if (!p->sign || y->n_uses != 1 || y->is_output || y->uses[0].slot != 0 ||
        !mc_node_is(y->uses[0].node, "BatchNormalization"))
        return NULL;
    if (mc_node_is(p->node, "MatMul") &&
        (p->reshaped || !before || !mc_node_is(before, "BatchNormalization")))
        return NULL;
    struct mc_node *n = y->uses[0].node;
    for (size_t i = 1; i < 5; i++)
        if (i >= n->n_in || !is_row(n->in[i], m))
            return NULL;
    for (size_t i = 0; i < n->out[0]->n_uses; i++) /* that of the signs behind */
        if (mc_binarize_is(n->out[0]->uses[i].node, mc_binarize_sign))
            return NULL;
    return n->n_out == 1 ? n : NULL;
}

bool mc_sign_product_find(struct mc_node *n, struct mc_sign_product *ret)
{
    bool conv = mc_node_is(n, "Conv"), gemm = mc_node_is(n, "Gemm");
    if (!conv && !gemm && !mc_node_is(n, "MatMul"))
        return false;
    *ret = (struct mc_sign_product){.node = n, .w = maker_of(n, 1), .sign = maker_of(n, 0)};
    if (ret->w && mc_node_is(ret->w, "Transpose") && !conv && maker_of(ret->w, 0) &&
        !mc_node_int(maker_of(ret->w, 0), "last", 0))
        ret->w = maker_of(ret->w, 0);
    if (ret->sign && mc_node_is(ret->sign, "Reshape")) {
        ret->sign = maker_of(ret->sign, 0);
        ret->reshaped = true;
    }
    if (!mc_binarize_is(ret->w, mc_binarize_weight))
        return false;
    if (!mc_binarize_is(ret->sign, mc_binarize_sign)) {
        ret->sign = NULL;
        if (!mc_node_int(ret->w, "fast", 0))
            return false;
    }
    ret->bias = n->n_in > 2 ? n->in[2] : NULL;
    if (!conv && !gemm)
        ret->add = bias_node(n, mc_node_int(ret->w, "outputs", 0), &ret->bias);
    ret->norm = norm_node(ret, mc_node_int(ret->w, "outputs", 0));
    return true;
}

struct mc_node *mc_sign_product_last(const struct mc_sign_product *p)
{
    return p->norm ? p->norm : p->add ? p->add : p->node;
}
