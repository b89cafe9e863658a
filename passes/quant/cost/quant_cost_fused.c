#include "graph/constant.h"
#include "passes/quant/cost/quant_cost_walk.h"

enum { OPEN = 32 }; /* of a dimension that is not known */

static const struct mc_vtype *type_of(const struct mc_quant_walk *w, const struct mc_value *v)
{
    return mc_infer_of(w->inf, v);
}

int mc_quant_walk_rank(const struct mc_quant_walk *w, const struct mc_value *v)
{
    const struct mc_tensor *t = mc_constant(v);
    const struct mc_vtype *i = type_of(w, v);
    return t ? t->shape.rank : i && i->ranked ? i->shape.rank : 0;
}

double mc_quant_walk_dim(const struct mc_quant_walk *w, const struct mc_value *v, int axis)
{
    const struct mc_tensor *t = mc_constant(v);
    const struct mc_vtype *i = type_of(w, v);
    int rank = mc_quant_walk_rank(w, v);
    axis += axis < 0 ? rank : 0;
    if (axis < 0 || axis >= rank)
        return 1;
    int64_t d = t ? t->shape.dim[axis] : i->shape.dim[axis];
    return d < 0 ? OPEN : (double)d;
}

double mc_quant_walk_count(const struct mc_quant_walk *w, const struct mc_value *v)
{
    double n = 1;
    int rank = mc_quant_walk_rank(w, v);
    for (int k = 0; k < rank; k++)
        n *= mc_quant_walk_dim(w, v, k);
    return n;
}

bool mc_quant_walk_constant(const struct mc_quant_walk *w, const struct mc_value *v)
{
    return !v || mc_constant(v) || (v->graph == w->g && w->constant[v->index]);
}

struct mc_node *mc_quant_walk_reader(const struct mc_value *v)
{
    return v && v->n_uses == 1 && !v->is_output && v->uses[0].slot >= 0 ? v->uses[0].node : NULL;
}

static enum mc_dtype dtype_of(const struct mc_quant_walk *w, const struct mc_value *v)
{
    const struct mc_tensor *t = mc_constant(v);
    const struct mc_vtype *i = type_of(w, v);
    return t ? t->dtype : i ? i->dtype : MC_DTYPE_NONE;
}

static bool is_bytes(const struct mc_quant_walk *w, const struct mc_value *v)
{
    enum mc_dtype d = dtype_of(w, v);
    return d == MC_DTYPE_U8 || d == MC_DTYPE_I8;
}

static bool is_op(const struct mc_node *n, const char *op)
{
    return n && n->n_in > 0 && n->in[0] && mc_node_is(n, op);
}

/* Integers that are read twice stay as they are, others become unsigned; nothing is fused where both meet. */
static bool stays_signed(const struct mc_quant_walk *w, const struct mc_value *q)
{
    bool several = q->n_uses > 1;
    for (size_t i = 0; i < q->n_uses; i++) {
        const struct mc_node *n = q->uses[i].node;
        several |= n->n_out && n->out[0] && n->out[0]->n_uses > 1;
    }
    return several && dtype_of(w, q) == MC_DTYPE_I8;
}

bool mc_quant_walk_is_dq(const struct mc_quant_walk *w, const struct mc_value *v)
{
    const struct mc_value *q =
        v && is_op(v->producer, "DequantizeLinear") ? v->producer->in[0] : NULL;
    return q && !mc_quant_walk_constant(w, q) && is_bytes(w, q) && !stays_signed(w, q);
}

bool mc_quant_walk_is_weight(const struct mc_quant_walk *w, const struct mc_value *v)
{
    return v && is_op(v->producer, "DequantizeLinear") &&
           mc_quant_walk_constant(w, v->producer->in[0]) &&
           mc_dtype_info((int)dtype_of(w, v->producer->in[0]))->bits <= 8;
}

/* The zero point is the smallest number of its type: nothing below 0 is left. */
static bool zero_is_least(const struct mc_quant_walk *w, const struct mc_node *q)
{
    const struct mc_value *zero = q->n_in > 2 ? q->in[2] : NULL;
    const struct mc_tensor *t = zero ? mc_constant(zero) : NULL;
    if (!zero)
        return dtype_of(w, q->out[0]) == MC_DTYPE_U8;
    if (!t || !t->bytes)
        return false;
    return t->dtype == MC_DTYPE_U8 ? t->data[0] == 0
                                   : t->dtype == MC_DTYPE_I8 && (int8_t)t->data[0] == INT8_MIN;
}

struct mc_node *mc_quant_walk_q(const struct mc_quant_walk *w, const struct mc_value *v,
                                struct mc_node **ret_act)
{
    struct mc_node *q = mc_quant_walk_reader(v);
    *ret_act = NULL;
    if (is_op(q, "Relu") || is_op(q, "Clip")) {
        *ret_act = q;
        q = mc_quant_walk_reader(q->out[0]);
    }
    bool fits = is_op(q, "QuantizeLinear") && q->n_out && q->out[0] && is_bytes(w, q->out[0]) &&
                !stays_signed(w, q->out[0]) && (!*ret_act || zero_is_least(w, q));
    return fits ? q : NULL;
}

void mc_quant_walk_absorb(struct mc_quant_walk *w, const struct mc_node *n)
{
    if (n)
        w->absorbed[n->id] = true;
}
