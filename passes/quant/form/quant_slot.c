#include <string.h>

#include "graph/constant.h"
#include "graph/own/own.h"
#include "passes/quant/form/quant_site.h"

/* Fewer bytes than this are not worth a node and two names (a scale is some 100 bytes in a file). */
enum { SMALL = 1024, LARGE = 4096 };

/* Operators and the input that is their weight. Negative axes count from the last; `turned` is the attribute that exchanges
 * the last two. */
static const struct place {
    const char *domain, *op;
    enum mc_quant_kind kind;
    int slot, x, bias, out_axis, in_axis;
    const char *turned;
} places[] = {
    {"", "MatMul", MC_QUANT_MATMUL, 1, 0, -1, -1, -2, NULL},
    {"", "MatMul", MC_QUANT_MATMUL, 0, 1, -1, -2, -1, NULL},
    {"", "Gemm", MC_QUANT_GEMM, 1, 0, 2, -1, -2, "transB"},
    {"", "Gemm", MC_QUANT_GEMM, 0, 1, 2, -2, -1, "transA"},
    {"", "Conv", MC_QUANT_CONV, 1, 0, 2, 0, 1, NULL},
    {"", "ConvTranspose", MC_QUANT_CONVT, 1, 0, 2, 1, 0, NULL},
    {"", "Gather", MC_QUANT_TABLE, 0, 1, -1, 0, -1, NULL},
    {"", "Einsum", MC_QUANT_FUSED, 0, 1, -1, 0, -1, NULL},
    {"", "Einsum", MC_QUANT_FUSED, 1, 0, -1, -1, 0, NULL},
    {"", "DeformConv", MC_QUANT_FUSED, 1, 0, 3, 0, 1, NULL},
    {"", "Add", MC_QUANT_FUSED, 0, 1, -1, -1, -2, NULL},
    {"", "Add", MC_QUANT_FUSED, 1, 0, -1, -1, -2, NULL},
    {"", "Mul", MC_QUANT_FUSED, 0, 1, -1, -1, -2, NULL},
    {"", "Mul", MC_QUANT_FUSED, 1, 0, -1, -1, -2, NULL},
    {"com.microsoft", "FusedMatMul", MC_QUANT_FUSED, 1, 0, -1, -1, -2, "transB"},
    {"com.microsoft", "FusedGemm", MC_QUANT_FUSED, 1, 0, 2, -1, -2, "transB"},
    {"com.microsoft", "FusedConv", MC_QUANT_FUSED, 1, 0, 2, 0, 1, NULL},
    {"com.microsoft", "Attention", MC_QUANT_FUSED, 1, 0, 2, -1, -2, NULL},
    {"com.microsoft", "EmbedLayerNormalization", MC_QUANT_FUSED, 2, 0, -1, 0, -1, NULL},
    {"com.microsoft", "EmbedLayerNormalization", MC_QUANT_FUSED, 3, 0, -1, 0, -1, NULL},
};

/* Operators that compute on integers as they are. */
static bool is_quantised(const struct mc_node *n)
{
    static const char *const names =
        " QLinearConv QLinearMatMul MatMulInteger ConvInteger QGemm QAttention MatMulNBits "
        "MatMulIntegerToFloat DynamicQuantizeMatMul DynamicQuantizeLSTM GatherBlockQuantized "
        "QEmbedLayerNormalization ";
    size_t k = strlen(n->op_type);
    const char *at = strstr(names, n->op_type);
    return at && at[-1] == ' ' && at[k] == ' ' &&
           (!*n->domain || !strcmp(n->domain, "com.microsoft"));
}

static const struct mc_node *producer_of(const struct mc_value *v)
{
    while (v && v->outer)
        v = v->outer;
    return v ? v->producer : NULL;
}

static bool swaps_two(const struct mc_node *n)
{
    size_t k;
    const int64_t *perm = mc_node_ints(n, "perm", &k);
    return !k || (k == 2 && perm[0] == 1 && perm[1] == 0);
}

/* Mul(Cast(integers), scales), perhaps with a zero point between: what the form `weight` writes. */
static bool scales_integers(const struct mc_node *n)
{
    const struct mc_node *from = mc_node_is(n, "Mul") ? producer_of(n->in[0]) : NULL;
    if (from && mc_node_is(from, "Sub"))
        from = producer_of(from->in[0]);
    const struct mc_tensor *t = from && mc_node_is(from, "Cast") ? mc_constant(from->in[0]) : NULL;
    return t && mc_dtype_info((int)t->dtype)->kind != MC_KIND_FLOAT &&
           mc_dtype_info((int)t->dtype)->bits <= 8;
}

/* The constant behind v: through Cast, and through a Transpose of a matrix. NULL: there is none. */
static struct mc_value *behind(struct mc_value *v, bool *ret_transposed, bool *ret_quantised)
{
    enum { HOPS = 4 };
    *ret_transposed = *ret_quantised = false;
    for (int hop = 0; v && hop < HOPS; hop++) {
        const struct mc_tensor *t = mc_constant(v);
        if (t)
            return *ret_transposed && t->shape.rank != 2 ? NULL : v;
        const struct mc_node *n = producer_of(v);
        if (!n || n->n_in < 1 || !n->in[0])
            return NULL;
        *ret_quantised |= !strcmp(n->op_type, "DequantizeLinear") || scales_integers(n);
        if (mc_node_is(n, "Transpose") && swaps_two(n))
            *ret_transposed ^= true;
        else if (!mc_node_is(n, "Cast") && !*ret_quantised)
            return NULL;
        v = n->in[0];
    }
    return NULL;
}

/* What the slot reads: the type that a Cast on the way gives, else the constant's own. */
static enum mc_dtype slot_dtype(const struct mc_value *v)
{
    for (int hop = 0; v && !mc_constant(v) && hop < MC_QUANT_NODE_SITES; hop++) {
        const struct mc_node *n = producer_of(v);
        if (!n || !n->n_in)
            return MC_DTYPE_NONE;
        if (mc_node_is(n, "Cast"))
            return (enum mc_dtype)mc_node_int(n, "to", 0);
        v = n->in[0];
    }
    const struct mc_tensor *t = v ? mc_constant(v) : NULL;
    return t ? t->dtype : MC_DTYPE_NONE;
}

static bool is_half_or_more(enum mc_dtype dtype)
{
    const struct mc_dtype_info *info = mc_dtype_info(dtype);
    return info->kind == MC_KIND_FLOAT && info->bits >= 16;
}

static const char *weight_reason(const struct mc_value *v, const struct mc_tensor *t,
                                 bool quantised, enum mc_dtype dtype)
{
    if (quantised)
        return "it is quantised already";
    if (!t && v && v->producer && mc_own_find(v->producer))
        return "the weight is stored in a smaller form";
    if (!t)
        return "the weight is not constant";
    if (!is_half_or_more(t->dtype) || !is_half_or_more(dtype))
        return "the weight is not of a floating-point type of 16 bits or more";
    if (mc_tensor_count(t) < 1)
        return "the weight is empty";
    for (; v; v = v->outer)
        if (v->is_output)
            return "the weight is an output of the model";
    return NULL;
}

/* How many elements have one scale. */
static int64_t spread(const struct mc_tensor *t, int axis)
{
    return mc_tensor_count(t) / (t->shape.dim[axis] ? t->shape.dim[axis] : 1);
}

/* Weight k of the site from its slot. */
static void look(struct mc_quant_site *s, int k, int slot, int out_axis, int in_axis)
{
    struct mc_value *v = s->node->in[slot];
    bool quantised;
    s->slot[k] = slot;
    s->weight[k] = behind(v, &s->transposed[k], &quantised);
    const struct mc_tensor *t = s->weight[k] ? mc_constant(s->weight[k]) : NULL;
    enum mc_dtype dtype = slot_dtype(v);
    const char *why = weight_reason(s->weight[k] ? s->weight[k] : v, t, quantised, dtype);
    if (!s->reason)
        s->reason = why;
    if (!t)
        s->n_weights = 0;
    if (why || !t)
        return;
    s->dtype = dtype;
    int rank = t->shape.rank;
    out_axis = out_axis < 0 ? rank + out_axis : out_axis;
    in_axis = in_axis < 0 ? rank + in_axis : in_axis;
    if (s->transposed[k]) {
        out_axis = 1 - out_axis;
        in_axis = 1 - in_axis;
    }
    if (out_axis < 0 || in_axis < 0 || out_axis >= rank || in_axis >= rank)
        s->reason = "the weight is no matrix";
    s->out_axis[k] = out_axis;
    s->in_axis[k] = in_axis;
    s->bytes += t->bytes;
}

/* Numbers that only move or scale values are weights where they are large; a scale a few elements saves nothing. */
static bool is_small(const struct mc_quant_site *s)
{
    const struct mc_tensor *t = s->weight[0] ? mc_constant(s->weight[0]) : NULL;
    if (!t || s->reason)
        return true;
    bool by_channel = spread(t, s->out_axis[0]) >= 8;
    return t->bytes < LARGE || t->shape.rank < 2 || !by_channel;
}

/* A left operand is the weight only where the right one is none. */
static bool is_taken(const struct mc_node *n, const struct place *p)
{
    bool unused;
    if ((size_t)p->slot >= n->n_in || !n->in[p->slot] || (size_t)p->x >= n->n_in || !n->in[p->x])
        return false;
    if (p->kind != MC_QUANT_MATMUL && p->kind != MC_QUANT_GEMM)
        return true;
    bool left = behind(n->in[0], &unused, &unused), right = behind(n->in[1], &unused, &unused);
    return p->slot == 1 ? right || !left : left && !right;
}

/* A convolution with one input channel a group has a scale each, transposed or not. */
static void grouped(struct mc_quant_site *s)
{
    const struct mc_tensor *t = s->weight[0] ? mc_constant(s->weight[0]) : NULL;
    if (!t || s->reason)
        return;
    int64_t group = mc_node_int(s->node, "group", 1);
    if (t->shape.rank < 3 || group < 1 || t->shape.dim[0] % group)
        s->reason = "the weight's shape does not fit the operator";
    else if (s->kind == MC_QUANT_CONVT && group > 1 && group == t->shape.dim[0]) {
        s->out_axis[0] = 0;
        s->in_axis[0] = 1;
    }
}

static int cell(struct mc_node *n, struct mc_quant_site *s)
{
    *s = (struct mc_quant_site){.kind = MC_QUANT_CELL, .node = n, .n_weights = 2, .bias_slot = 3};
    if (n->n_in < 3 || !n->in[0] || !n->in[1] || !n->in[2]) {
        s->reason = "an input is missing";
        return 1;
    }
    for (int k = 0; k < 2; k++) {
        look(s, k, k + 1, 1, 2);
        const struct mc_tensor *t = s->weight[k] ? mc_constant(s->weight[k]) : NULL;
        if (!s->reason && t && (t->shape.rank != 3 || s->transposed[k]))
            s->reason = "the weight's shape does not fit the operator";
    }
    return 1;
}

static int single(struct mc_node *n, struct mc_quant_site *s, enum mc_quant_kind kind,
                  const char *reason)
{
    *s = (struct mc_quant_site){
        .kind = kind, .node = n, .bias_slot = -1, .x_slot = 0, .reason = reason};
    return 1;
}

static bool one_table(struct mc_quant_site *s)
{
    const struct mc_tensor *t = s->weight[0] ? mc_constant(s->weight[0]) : NULL;
    if (!t || s->reason)
        return false; /* gathers of activations and of shapes are no layers */
    int axis = mc_shape_axis(mc_node_int(s->node, "axis", 0), t->shape.rank);
    if (axis != 0 || t->shape.rank < 2 || s->transposed[0])
        s->kind = MC_QUANT_FUSED;
    return t->shape.rank >= 2;
}

/* One weight at its place; false: nothing of note. */
static bool describe(struct mc_node *n, const struct place *p, struct mc_quant_site *s)
{
    *s = (struct mc_quant_site){
        .kind = p->kind, .node = n, .n_weights = 1, .x_slot = p->x, .bias_slot = p->bias};
    bool turned = p->turned && mc_node_int(n, p->turned, 0);
    look(s, 0, p->slot, turned ? p->in_axis : p->out_axis, turned ? p->out_axis : p->in_axis);
    if (p->kind == MC_QUANT_CONV || p->kind == MC_QUANT_CONVT)
        grouped(s);
    if (p->kind == MC_QUANT_TABLE)
        return one_table(s) && s->bytes >= SMALL;
    return p->kind != MC_QUANT_FUSED || !is_small(s);
}

/* Calls of the model's own functions get their weights as arguments. */
static int arguments(struct mc_node *n, struct mc_quant_site *ret)
{
    int count = 0;
    const struct mc_own *own = mc_own_find(n);
    for (size_t i = 0; i < n->n_in && count < MC_QUANT_NODE_SITES; i++) {
        /* Scales and codebooks of ours are small, packed bits are what integers would be, and what tables go with
         * must stay a constant for them to be recognised. */
        if (own && (own->n_tables || own->roles[i] != 'w'))
            continue;
        struct place p = {"", "", MC_QUANT_FUSED, (int)i, i == 0, -1, 0, 1, NULL};
        if (n->in[i] && mc_constant(n->in[i]) && describe(n, &p, &ret[count]))
            count++;
    }
    return count;
}

int mc_quant_describe(struct mc_node *n, struct mc_quant_site ret[MC_QUANT_NODE_SITES])
{
    int count = 0;
    if (is_quantised(n))
        return single(n, ret, MC_QUANT_FUSED, "it is quantised already");
    if (mc_node_is(n, "LSTM") || mc_node_is(n, "GRU") || mc_node_is(n, "RNN"))
        return cell(n, ret);
    if (n->n_out < 1 || !n->out[0])
        return 0;
    if (mc_model_function(n->graph->model, n->domain, n->op_type, n->overload))
        return arguments(n, ret);
    for (size_t i = 0; i < sizeof places / sizeof *places; i++)
        if (!strcmp(n->op_type, places[i].op) && !strcmp(n->domain, places[i].domain) &&
            is_taken(n, &places[i]) && describe(n, &places[i], &ret[count]))
            count++;
    bool one = count == 1 && !ret[0].weight[0] && ret[0].reason;
    bool product =
        one && ret[0].kind == MC_QUANT_MATMUL && strcmp(ret[0].reason, "it is quantised already");
    return product ? single(n, ret, MC_QUANT_PRODUCT, NULL) : count;
}
