#include <math.h>
#include <string.h>

#include "graph/constant.h"
#include "passes/quant/cost/quant_cost_table.h"
#include "passes/quant/cost/quant_cost_walk.h"

static struct mc_value *input(const struct mc_node *n, size_t i)
{
    return i < n->n_in ? n->in[i] : NULL;
}

static const struct mc_value *output(const struct mc_node *n)
{
    return n->n_out ? n->out[0] : NULL;
}

/* ---- convolutions ---- */

/* Depthwise ones of bytes that stand among others seldom get what the table has of them alone: a window of 3x3 took 0.6 to 1.3
 * ns a result (256 channels of 14x14: 55 us, of floats 40), and where channels do not fill vectors of 16, 2.3 to 3.2 (200 of 3x48:
 * 93 us, of floats 20). */
static double depthwise_least(double channels, double pixels)
{
    return channels * pixels * (fmod(channels, 16) > 0 ? 2.3 : 0.7);
}

static double conv_cost(const struct mc_quant_walk *w, const struct mc_node *n, const char *form,
                        bool transposed)
{
    const struct mc_value *weight = input(n, 1), *of = transposed ? input(n, 0) : output(n);
    double group = (double)mc_node_int(n, "group", 1), area = 1;
    double out = mc_quant_walk_dim(w, weight, 0), in = mc_quant_walk_dim(w, weight, 1);
    for (int k = 2; k < mc_quant_walk_rank(w, weight); k++)
        area *= mc_quant_walk_dim(w, weight, k);
    double pixels = mc_quant_walk_count(w, of) / out;
    group = fmax(group, 1);
    if (in == 1 && group > 1)
        return fmax(mc_quant_cost_of("convdw", form, out, pixels),
                    strcmp(form, "static") ? 0 : depthwise_least(out, pixels)) *
               area / 9;
    double channels = sqrt(in * out / group);
    if (area == 1)
        return mc_quant_cost_of("conv1", form, channels, pixels) * group;
    return mc_quant_cost_of("conv3", form, channels, pixels) * group * area / 9;
}

static double conv(struct mc_quant_walk *w, const struct mc_node *n)
{
    struct mc_node *act, *q = mc_quant_walk_q(w, output(n), &act);
    bool weight = mc_quant_walk_is_weight(w, input(n, 1));
    if (weight && mc_quant_walk_is_dq(w, input(n, 0)) && q) {
        w->integer[n->id] = true;
        mc_quant_walk_absorb(w, q);
        mc_quant_walk_absorb(w, act);
        return conv_cost(w, n, "static", false);
    }
    if (weight && !mc_quant_walk_is_dq(w, input(n, 0)))
        w->integer[n->id] = true; /* what its weights cost is in the figure */
    return conv_cost(w, n, weight ? "weight" : "float", false);
}

/* ---- products ---- */

struct product {
    double width, rows; /* of a square weight with as many elements */
    const struct mc_value *x, *weight;
};

static struct product product_of(const struct mc_quant_walk *w, const struct mc_node *n,
                                 size_t left, size_t right)
{
    const struct mc_value *a = input(n, left), *b = input(n, right);
    bool flipped = mc_quant_walk_constant(w, a) || mc_quant_walk_is_weight(w, a);
    struct product p = {.x = flipped ? b : a, .weight = flipped ? a : b};
    double elements = mc_quant_walk_count(w, p.weight);
    bool turned = mc_node_is(n, "Gemm") && mc_node_int(n, "transB", 0);
    double columns = mc_quant_walk_dim(w, p.weight, flipped ? -2 : turned ? 0 : -1);
    p.width = sqrt(elements);
    p.rows = mc_quant_walk_count(w, output(n)) / fmax(columns, 1);
    return p;
}

/* The Add of a constant that alone reads v, or NULL. */
static struct mc_node *bias_after(const struct mc_quant_walk *w, const struct mc_value *v)
{
    struct mc_node *n = mc_quant_walk_reader(v);
    if (!n || !mc_node_is(n, "Add") || n->n_in != 2)
        return NULL;
    const struct mc_value *other = n->in[n->in[0] == v];
    return mc_quant_walk_constant(w, other) || mc_quant_walk_is_weight(w, other) ? n : NULL;
}

static bool is_clipped(const struct mc_value *v)
{
    const struct mc_node *n = mc_quant_walk_reader(v);
    return n && (mc_node_is(n, "Relu") || mc_node_is(n, "Clip"));
}

/* Integers whose result may be a float. */
static bool is_static(struct mc_quant_walk *w, const struct mc_node *n, const struct product *p,
                      const struct mc_value *y)
{
    struct mc_node *act, *q = mc_quant_walk_q(w, y, &act);
    const struct mc_value *bias = mc_node_is(n, "Gemm") ? input(n, 2) : NULL;
    if (!mc_quant_walk_is_dq(w, p->x) || !mc_quant_walk_is_weight(w, p->weight))
        return false;
    if (bias && !mc_quant_walk_is_weight(w, bias) && !q) /* a bias of floats */
        return false;
    mc_quant_walk_absorb(w, q);
    mc_quant_walk_absorb(w, act);
    w->integer[n->id] = true;
    return true;
}

static double activations(struct mc_quant_walk *w, const struct mc_node *n)
{
    const struct mc_value *y = output(n);
    struct mc_node *act, *q = mc_quant_walk_q(w, y, &act);
    bool integer = mc_quant_walk_is_dq(w, input(n, 0)) && mc_quant_walk_is_dq(w, input(n, 1));
    double rows = mc_quant_walk_dim(w, y, -2), columns = mc_quant_walk_dim(w, y, -1);
    double inner = mc_quant_walk_dim(w, input(n, 0), -1),
           batch = mc_quant_walk_count(w, y) / rows / columns;
    if (integer) {
        w->integer[n->id] = true;
        if (!act)
            mc_quant_walk_absorb(w, q);
    }
    return mc_quant_cost_of("batched", integer ? "static" : "float", cbrt(rows * columns * inner),
                            4) *
           batch / 4;
}

static double product(struct mc_quant_walk *w, const struct mc_node *n)
{
    struct product p = product_of(w, n, 0, 1);
    bool stored = mc_quant_walk_is_weight(w, p.weight);
    if (!stored && !mc_quant_walk_constant(w, p.weight))
        return activations(w, n);
    struct mc_node *bias = mc_node_is(n, "MatMul") ? bias_after(w, output(n)) : NULL;
    const struct mc_value *y = bias ? bias->out[0] : output(n);
    mc_quant_walk_absorb(w, bias);
    if (is_static(w, n, &p, y))
        return mc_quant_cost_of("dense", "static", p.width, p.rows);
    const struct mc_node *dq = stored ? p.weight->producer : NULL;
    bool columns = p.weight == input(n, 1) && !mc_node_int(n, "transB", 0);
    bool blocked = dq && mc_node_int(dq, "block_size", 0) > 0;
    if (stored && columns && (blocked || !is_clipped(y)) && !mc_quant_walk_is_dq(w, p.x)) {
        w->integer[n->id] = true;
        return mc_quant_cost_of("dense", blocked ? "block" : "weight", p.width, p.rows);
    }
    return mc_quant_cost_of("dense", "float", p.width, p.rows);
}

/* What makes floats of the sums of MatMulInteger or ConvInteger belongs to it. */
static void absorb_scaling(struct mc_quant_walk *w, const struct mc_node *n)
{
    enum { MOST = 4 };
    const struct mc_value *y = output(n);
    for (int i = 0; i < MOST; i++) {
        struct mc_node *next = mc_quant_walk_reader(y);
        if (!next ||
            !(mc_node_is(next, "Cast") || mc_node_is(next, "Mul") || mc_node_is(next, "Add")))
            return;
        const struct mc_value *other = next->n_in == 2 ? next->in[next->in[0] == y] : NULL;
        if (other && mc_quant_walk_count(w, other) * 2 > mc_quant_walk_count(w, y) &&
            !mc_quant_walk_constant(w, other))
            return;
        if (other && other->producer && mc_node_is(next, "Mul"))
            mc_quant_walk_absorb(w, other->producer);
        mc_quant_walk_absorb(w, next);
        y = next->out[0];
    }
}

static double dynamic_product(struct mc_quant_walk *w, const struct mc_node *n)
{
    struct product p = product_of(w, n, 0, 1);
    absorb_scaling(w, n);
    return mc_quant_cost_of("dense", "dynamic", p.width, p.rows);
}

/* ---- cells ---- */

static double cell(struct mc_quant_walk *w, const struct mc_node *n, const char *form)
{
    enum { STEPS = 16 }; /* of the table */
    const struct mc_value *x = input(n, 0), *weight = input(n, 1);
    double hidden = (double)mc_node_int(n, "hidden_size", 1);
    double steps = mc_quant_walk_dim(w, x, 0), batch = mc_quant_walk_dim(w, x, 1);
    double wide = mc_quant_walk_dim(w, x, 2), directions = mc_quant_walk_dim(w, weight, 0);
    double gates = mc_node_is(n, "GRU") ? 0.75 : mc_node_is(n, "RNN") ? 0.25 : 1;
    double rows =
        steps * directions * pow(batch, 0.7); /* a batch shares what reading weights takes */
    return mc_quant_cost_of("lstm", form, hidden, STEPS) / STEPS * rows * gates * (wide + hidden) /
           (2 * fmax(hidden, 1));
}

/* A cell written out: the columns of its products with the state count, one product with the input is outside. */
double mc_quant_cost_scan(struct mc_quant_walk *w, const struct mc_node *n)
{
    enum { STEPS = 16 };
    const struct mc_attr *body = mc_node_attr(n, "body");
    const struct mc_graph *g = body && body->graphs ? body->graphs[0] : NULL;
    double hidden = 0, columns = 0;
    for (size_t i = 0; g && i < g->n_nodes; i++) {
        const struct mc_node *p = g->nodes[i];
        const struct mc_tensor *t = mc_node_is(p, "MatMulInteger") && p->n_in > 1 && p->in[1]
                                        ? mc_constant(p->in[1])
                                        : NULL;
        if (!t || t->shape.rank != 2)
            continue;
        hidden = (double)t->shape.dim[0];
        columns += (double)t->shape.dim[1];
    }
    const struct mc_value *x = n->n_in ? n->in[n->n_in - 1] : NULL;
    if (!x || hidden < 1)
        return -1;
    /* A batch shares what reading weights and the many small nodes take: 0.35 to 0.4 measured. */
    double rows = mc_quant_walk_dim(w, x, 0) * pow(mc_quant_walk_dim(w, x, 1), 0.4);
    return mc_quant_cost_of("lstm", "scan", hidden, STEPS) / STEPS * rows * columns / (4 * hidden);
}

static bool is_contrib(const struct mc_node *n, const char *op)
{
    return !strcmp(n->op_type, op) && !strcmp(n->domain, "com.microsoft");
}

static double contrib(struct mc_quant_walk *w, const struct mc_node *n)
{
    struct product p;
    if (is_contrib(n, "MatMulNBits")) {
        double k = (double)mc_node_int(n, "K", 1), columns = (double)mc_node_int(n, "N", 1);
        const char *form = mc_node_int(n, "bits", 4) == 8 ? "weight" : "block";
        return mc_quant_cost_of("dense", form, sqrt(k * columns),
                                mc_quant_walk_count(w, output(n)) / columns);
    }
    if (is_contrib(n, "DynamicQuantizeMatMul") || is_contrib(n, "MatMulIntegerToFloat")) {
        p = product_of(w, n, 0, 1);
        return mc_quant_cost_of("dense", "dynamic", p.width, p.rows);
    }
    if (is_contrib(n, "DynamicQuantizeLSTM"))
        return cell(w, n, "dynamic");
    if (is_contrib(n, "QLinearMatMul") || is_contrib(n, "QGemm")) {
        p = product_of(w, n, 0, 3);
        return mc_quant_cost_of("dense", "static", p.width, p.rows);
    }
    return -1;
}

bool mc_quant_cost_layer(struct mc_quant_walk *w, const struct mc_node *n)
{
    double *c = &w->cost[n->id], other = n->n_in && n->n_out ? contrib(w, n) : -1;
    if (other >= 0)
        *c = other;
    else if (n->n_in < 2 || !n->in[0] || !n->in[1] || !output(n))
        return false;
    else if (mc_node_is(n, "Conv"))
        *c = conv(w, n);
    else if (mc_node_is(n, "ConvTranspose"))
        *c = conv_cost(w, n, "float", true);
    else if (mc_node_is(n, "MatMul") || mc_node_is(n, "Gemm") || is_contrib(n, "FusedMatMul"))
        *c = product(w, n);
    else if (mc_node_is(n, "MatMulInteger"))
        *c = dynamic_product(w, n);
    else if (mc_node_is(n, "LSTM") || mc_node_is(n, "GRU") || mc_node_is(n, "RNN"))
        *c = cell(w, n, "float");
    else if (mc_node_is(n, "ConvInteger")) {
        absorb_scaling(w, n);
        *c = conv_cost(w, n, "dynamic", false);
    } else
        return false;
    return true;
}
