#include "passes/quant/cost/quant_cost_walk.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "graph/constant.h"
#include "passes/quant/cost/quant_cost_table.h"

static const double SMALL = 400; /* of a node that moves nothing, in nanoseconds */

/* What is measured under another name, or by which of its ends; `integer`: computed on integers between
 * DequantizeLinear and QuantizeLinear, as this kind. */
static const struct rule {
    const char *op, *kind, *integer;
    enum { OUT, IN, WINDOW, NOTHING } by;
} rules[] = {
    {"Relu", "Relu", "Reshape", OUT},
    {"Clip", "Relu", "Reshape", OUT},
    {"Add", "Add", "QAdd", OUT},
    {"Mul", "Mul", "QMul", OUT},
    {"Sub", "Add", NULL, OUT},
    {"Div", "Div", NULL, OUT},
    {"Max", "Add", NULL, OUT},
    {"Min", "Add", NULL, OUT},
    {"Pow", "Exp", NULL, OUT},
    {"Elu", "Exp", NULL, OUT},
    {"Selu", "Exp", NULL, OUT},
    {"Softplus", "Exp", NULL, OUT},
    {"Mish", "Tanh", NULL, OUT},
    {"PRelu", "LeakyRelu", NULL, OUT},
    {"LeakyRelu", "LeakyRelu", "QLeakyRelu", OUT},
    {"Sigmoid", "Sigmoid", "QSigmoid", OUT},
    {"Softmax", "Softmax", "QSoftmax", OUT},
    {"LogSoftmax", "Softmax", NULL, OUT},
    {"Cast", "Neg", NULL, OUT},
    {"Where", "Add", "QAdd", OUT},
    {"Concat", "Concat", "QConcat", OUT},
    {"Slice", "Neg", "Quarter", OUT},
    {"Split", "Neg", "Quarter", IN},
    {"Pad", "Neg", NULL, OUT},
    {"Tile", "Neg", "Quarter", OUT},
    {"Expand", "Neg", "Quarter", OUT},
    {"Gather", "Neg", "Quarter", OUT},
    {"DepthToSpace", "Transpose", "TransposeBytes", OUT},
    {"SpaceToDepth", "Transpose", NULL, OUT},
    {"Transpose", "Transpose", "TransposeBytes", OUT},
    {"Resize", "Resize", "Quarter", OUT},
    {"Upsample", "Resize", "Quarter", OUT},
    {"MaxPool", "MaxPool", "QMaxPool", WINDOW},
    {"AveragePool", "AveragePool", "QAveragePool", WINDOW},
    {"GlobalAveragePool", "GlobalAveragePool", "GlobalAveragePool", IN},
    {"GlobalMaxPool", "GlobalAveragePool", NULL, IN},
    {"ReduceMax", "ReduceMean", "Quarter", IN},
    {"ReduceMin", "ReduceMean", "Quarter", IN},
    {"InstanceNormalization", "LayerNormalization", NULL, OUT},
    {"GroupNormalization", "LayerNormalization", NULL, OUT},
    {"Reshape", NULL, "Reshape", NOTHING},
    {"Flatten", NULL, "Reshape", NOTHING},
    {"Squeeze", NULL, "Reshape", NOTHING},
    {"Unsqueeze", NULL, "Reshape", NOTHING},
    {"Identity", NULL, NULL, NOTHING},
    {"Dropout", NULL, NULL, NOTHING},
    {"Shape", NULL, NULL, NOTHING},
    {"Size", NULL, NULL, NOTHING},
};
enum { RULES = sizeof rules / sizeof *rules };

static const struct rule *rule_of(const struct mc_node *n)
{
    for (size_t i = 0; i < RULES; i++)
        if (mc_node_is(n, rules[i].op))
            return &rules[i];
    return NULL;
}

static double size_by(const struct mc_quant_walk *w, const struct mc_node *n, int by)
{
    const struct mc_value *x = n->n_in ? n->in[0] : NULL, *y = n->n_out ? n->out[0] : NULL;
    double out = y ? mc_quant_walk_count(w, y) : 0, in = x ? mc_quant_walk_count(w, x) : 0;
    return by == IN || (by == OUT && in > out && n->n_in == 1) ? in : out;
}

static double window(const struct mc_node *n)
{
    size_t k = 0;
    double area = 1;
    const int64_t *size = mc_node_ints(n, "kernel_shape", &k);
    for (size_t i = 0; i < k; i++)
        area *= (double)size[i];
    return fmax(area, 1) / 9; /* of the table's window */
}

/* Was the value behind this QuantizeLinear, or DequantizeLinear, made by convolutions of integers, with channels last? */
static bool channels_last(const struct mc_quant_walk *w, const struct mc_value *v)
{
    for (const struct mc_node *n = v ? v->producer : NULL; n && n->n_in && n->in[0];
         n = n->in[0]->producer)
        if (mc_node_is(n, "Conv"))
            return w->integer[n->id];
        else if (!w->integer[n->id] && !w->absorbed[n->id] && !strstr(n->op_type, "uantizeLinear"))
            return false;
    return false;
}

/* A pool of bytes with channels first is that much slower than one of floats, and a QuantizeLinear that follows a pool of
 * floats is moved in front of it. */
static double lone_pool(const struct mc_quant_walk *w, const struct mc_node *n)
{
    static const double SLOWER = 75;
    const struct mc_node *reader = mc_quant_walk_reader(n->out[0]);
    bool bytes = w->integer[n->id] || (reader && mc_node_is(reader, "QuantizeLinear"));
    return mc_node_is(n, "MaxPool") && bytes && !channels_last(w, n->in[0]) ? SLOWER : 1;
}

static double cost_by(const struct mc_quant_walk *w, const struct mc_node *n, const char *kind,
                      int by)
{
    double size = size_by(w, n, by);
    if (!strcmp(kind, "Reshape"))
        return SMALL;
    if (!strcmp(kind, "Quarter")) /* bytes, not floats */
        return mc_quant_cost_of("Neg", NULL, size / 4, 1);
    if (by != WINDOW)
        return mc_quant_cost_of(kind, NULL, size, 1);
    return mc_quant_cost_of(kind, NULL, size, 1) * window(n) * lone_pool(w, n);
}

/* All data that the node reads stands behind DequantizeLinear, and what it gives goes to QuantizeLinear alone. */
static bool between(struct mc_quant_walk *w, const struct mc_node *n)
{
    struct mc_node *act, *q = n->n_out && n->out[0] ? mc_quant_walk_q(w, n->out[0], &act) : NULL;
    size_t data =
        mc_node_is(n, "Add") || mc_node_is(n, "Mul") || mc_node_is(n, "Concat") ? n->n_in : 1;
    if (!q || n->n_out != 1)
        return false;
    for (size_t i = 0; i < data && i < n->n_in; i++)
        if (n->in[i] && !mc_quant_walk_is_dq(w, n->in[i]) && !mc_quant_walk_is_weight(w, n->in[i]))
            return false;
    mc_quant_walk_absorb(w, q);
    mc_quant_walk_absorb(w, act);
    w->integer[n->id] = true;
    return true;
}

/* ---- sequences of nodes that are joined into one ---- */

static const struct mc_node *made_by(const struct mc_value *v, const char *op)
{
    return v && v->producer && mc_node_is(v->producer, op) ? v->producer : NULL;
}

static struct mc_node *read_by(const struct mc_value *v, const char *op)
{
    struct mc_node *n = mc_quant_walk_reader(v);
    return n && mc_node_is(n, op) ? n : NULL;
}

/* x / sqrt(2) -> Erf -> + 1 -> * x -> * 0.5 */
static bool gelu(struct mc_quant_walk *w, const struct mc_node *n)
{
    struct mc_node *add = mc_node_is(n, "Erf") ? read_by(n->out[0], "Add") : NULL;
    struct mc_node *mul = add ? read_by(add->out[0], "Mul") : NULL;
    const struct mc_node *div = mul ? made_by(n->in[0], "Div") : NULL;
    div = div || !mul ? div : made_by(n->in[0], "Mul");
    if (!mul || !div)
        return false;
    mc_quant_walk_absorb(w, div);
    mc_quant_walk_absorb(w, add);
    mc_quant_walk_absorb(w, mul);
    mc_quant_walk_absorb(w, read_by(mul->out[0], "Mul"));
    w->cost[n->id] = mc_quant_cost_of("Gelu", NULL, size_by(w, n, OUT), 1);
    return true;
}

/* (x - mean) / sqrt(mean of squares + e), a weight and a bias. */
static bool layer_norm(struct mc_quant_walk *w, const struct mc_node *n)
{
    const struct mc_node *root =
        mc_node_is(n, "Div") && n->n_in == 2 ? made_by(n->in[1], "Sqrt") : NULL;
    const struct mc_node *add = root ? made_by(root->in[0], "Add") : NULL;
    const struct mc_node *mean = add ? made_by(add->in[0], "ReduceMean") : NULL;
    const struct mc_node *square = mean ? mean->in[0]->producer : NULL;
    const struct mc_node *sub = square ? made_by(n->in[0], "Sub") : NULL;
    if (!sub)
        return false;
    const struct mc_node *parts[] = {root,   add, mean,
                                     square, sub, made_by(sub->in[1], "ReduceMean")};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        mc_quant_walk_absorb(w, parts[i]);
    struct mc_node *mul = read_by(n->out[0], "Mul");
    mc_quant_walk_absorb(w, mul);
    mc_quant_walk_absorb(w, mul ? read_by(mul->out[0], "Add") : NULL);
    w->cost[n->id] = mc_quant_cost_of("LayerNormalization", NULL, size_by(w, n, OUT), 1);
    return true;
}

/* Behind a convolution or product of floats this costs nothing of its own. */
static bool ends_layer(struct mc_quant_walk *w, const struct mc_node *n)
{
    const struct mc_value *x = n->n_in ? n->in[0] : NULL;
    const struct mc_node *layer = x ? x->producer : NULL;
    bool cheap = mc_node_is(n, "Relu") || mc_node_is(n, "Clip") || mc_node_is(n, "LeakyRelu") ||
                 mc_node_is(n, "BatchNormalization");
    return cheap && layer && (mc_node_is(layer, "Conv") || mc_node_is(layer, "Gemm")) &&
           mc_quant_walk_reader(x) == n && !w->integer[layer->id];
}

/* ---- all nodes ---- */

static double repeats(const struct mc_quant_walk *w, const struct mc_node *n)
{
    enum { UNKNOWN = 16 };
    int64_t times = 0;
    size_t scanned = (size_t)mc_node_int(n, "num_scan_inputs", 1);
    if (mc_node_is(n, "Scan") && scanned > 0 && scanned <= n->n_in)
        return mc_quant_walk_dim(w, n->in[n->n_in - scanned], 0);
    if (!mc_node_is(n, "Loop"))
        return 1;
    return n->n_in && mc_constant_ints(n->in[0], &times, 1) == 1 && times > 0 && times < 10000
               ? (double)times
               : UNKNOWN;
}

static int bodies(struct mc_quant_walk *w, const struct mc_node *n, bool *ret, struct mc_err *err)
{
    double most = 0;
    *ret = false;
    for (size_t i = 0; i < n->n_attr; i++) {
        const struct mc_attr *a = &n->attr[i];
        if (a->type != MC_ATTR_GRAPH || !a->graphs)
            continue;
        double body, *cost = mc_calloc(a->graphs[0]->n_node_ids, sizeof *cost);
        int rc = cost ? mc_quant_cost_walk(a->graphs[0], w->inf, cost, &body, err)
                      : mc_fail(err, MC_ENOMEM, "out of memory");
        free(cost);
        if (rc)
            return rc;
        most = fmax(most, body);
        *ret = true;
    }
    if (*ret)
        w->cost[n->id] = SMALL + most * repeats(w, n);
    double cell = mc_node_is(n, "Scan") ? mc_quant_cost_scan(w, n) : -1;
    if (cell >= 0)
        w->cost[n->id] = cell;
    return 0;
}

static bool all_read_by(const struct mc_value *v, const char *a, const char *b)
{
    for (size_t i = 0; i < v->n_uses; i++)
        if (!mc_node_is(v->uses[i].node, a) && !mc_node_is(v->uses[i].node, b))
            return false;
    return v->n_uses > 0 && !v->is_output;
}

static double other(struct mc_quant_walk *w, const struct mc_node *n)
{
    const struct rule *r = rule_of(n);
    if (mc_node_is(n, "DequantizeLinear"))
        return 0; /* later, when it is known who reads it how */
    if (mc_node_is(n, "QuantizeLinear"))
        return mc_quant_cost_of("Q", NULL, size_by(w, n, OUT), 1);
    if (mc_node_is(n, "DynamicQuantizeLinear"))
        return all_read_by(n->out[0], "MatMulInteger", "ConvInteger")
                   ? 0
                   : 2 * mc_quant_cost_of("Q", NULL, size_by(w, n, OUT), 1);
    if (ends_layer(w, n))
        return 0;
    if (r && r->integer && between(w, n))
        return cost_by(w, n, r->integer, r->by);
    if (r && r->by == NOTHING)
        return SMALL;
    return cost_by(w, n, r ? r->kind : n->op_type, r ? (int)r->by : OUT);
}

static int visit(struct mc_quant_walk *w, const struct mc_node *n, struct mc_err *err)
{
    bool folded = !mc_node_is(n, "DequantizeLinear"), has_body;
    for (size_t i = 0; i < n->n_in; i++)
        folded &= mc_quant_walk_constant(w, n->in[i]);
    folded &= n->n_in > 0 || mc_node_is(n, "Constant");
    for (size_t i = 0; i < n->n_out && folded; i++)
        if (n->out[i])
            w->constant[n->out[i]->index] = true;
    if (folded || w->absorbed[n->id])
        return 0;
    int rc = bodies(w, n, &has_body, err);
    if (rc || has_body || mc_quant_cost_layer(w, n) || gelu(w, n) || layer_norm(w, n))
        return rc;
    if (n->n_out && n->out[0])
        w->cost[n->id] = other(w, n);
    return 0;
}

/* Convolutions of integers want their channels last: where their values come from floats, or become floats, they are
 * turned. */
static bool is_turned(const struct mc_quant_walk *w, const struct mc_value *q)
{
    const struct mc_node *made =
        q->producer && q->producer->n_in ? q->producer->in[0]->producer : NULL;
    if (made && w->absorbed[made->id] && made->n_in) /* an activation */
        made = made->in[0]->producer;
    return made && mc_node_is(made, "Conv") && w->integer[made->id];
}

static bool feeds_convolution(const struct mc_quant_walk *w, const struct mc_value *y)
{
    for (size_t i = 0; i < y->n_uses; i++)
        if (mc_node_is(y->uses[i].node, "Conv") && w->integer[y->uses[i].node->id])
            return true;
    return false;
}

static double turned(const struct mc_quant_walk *w, const struct mc_value *v)
{
    return mc_quant_cost_of("TransposeBytes", NULL, mc_quant_walk_count(w, v), 1);
}

/* Floats that nobody wants are not made. */
static void add_dequantize(struct mc_quant_walk *w)
{
    for (size_t i = 0; i < w->g->n_nodes; i++) {
        const struct mc_node *n = w->g->nodes[i];
        if (!mc_node_is(n, "DequantizeLinear") || !n->n_out || !n->out[0])
            continue;
        const struct mc_value *y = n->out[0];
        bool wanted = y->is_output;
        for (size_t k = 0; k < y->n_uses; k++)
            wanted |= y->uses[k].slot < 0 || !w->integer[y->uses[k].node->id];
        if (wanted)
            w->cost[n->id] = mc_quant_cost_of("DQ", NULL, size_by(w, n, OUT), 1);
        if (wanted && is_turned(w, n->in[0]))
            w->cost[n->id] += turned(w, y);
        const struct mc_node *q = n->in[0] ? n->in[0]->producer : NULL;
        if (q && mc_node_is(q, "QuantizeLinear") && !w->absorbed[q->id] && feeds_convolution(w, y))
            w->cost[q->id] += turned(w, y);
    }
}

int mc_quant_cost_walk(const struct mc_graph *g, const struct mc_infer *inf, double *cost,
                       double *ret, struct mc_err *err)
{
    struct mc_quant_walk w = {.g = g, .inf = inf, .cost = cost};
    w.absorbed = mc_calloc(g->n_node_ids, sizeof *w.absorbed);
    w.integer = mc_calloc(g->n_node_ids, sizeof *w.integer);
    w.constant = mc_calloc(g->n_values, sizeof *w.constant);
    int rc = w.absorbed && w.integer && w.constant
                 ? 0
                 : mc_fail(err, MC_ENOMEM, "out of memory for an estimate of time");
    for (size_t i = 0; i < g->n_nodes && !rc; i++)
        rc = visit(&w, g->nodes[i], err);
    if (!rc)
        add_dequantize(&w);
    *ret = 0;
    for (size_t i = 0; i < g->n_nodes; i++) {
        uint32_t id = g->nodes[i]->id;
        if (w.absorbed && w.absorbed[id])
            cost[id] = 0;
        *ret += cost[id];
    }
    free(w.absorbed);
    free(w.integer);
    free(w.constant);
    return rc;
}
