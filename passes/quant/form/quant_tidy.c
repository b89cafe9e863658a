#include <stdlib.h>
#include <string.h>

#include "graph/constant.h"
#include "graph/edit.h"
#include "graph/infer.h"
#include "passes/quant/form/quant_region_kind.h"
#include "passes/quant/form/quant_site.h"

enum { AXES = 8, HOPS = 16 };

static int no_memory(struct mc_err *err)
{
    return mc_fail(err, MC_ENOMEM, "out of memory while preparing a model");
}

/* ---- zeros put round an image go into the convolution that reads it ---- */

static int pads_of(const struct mc_node *n, int64_t ret[2 * AXES])
{
    size_t count;
    const int64_t *attr = mc_node_ints(n, "pads", &count);
    if (!attr)
        return n->n_in > 1 ? mc_constant_ints(n->in[1], ret, 2 * AXES) : -1;
    if (count > 2 * AXES)
        return -1;
    memcpy(ret, attr, count * sizeof *ret);
    return (int)count;
}

/* Zeros before and after axes from the third on: *ret_n axes in all. */
static bool pads_image(const struct mc_node *n, int64_t pads[2 * AXES], int *ret_n)
{
    float value;
    if (!mc_node_is(n, "Pad") || strcmp(mc_node_string(n, "mode", "constant"), "constant") ||
        mc_node_float(n, "value", 0) != 0 || (n->n_in > 3 && n->in[3]))
        return false;
    if (n->n_in > 2 && n->in[2] && (!mc_quant_number(n->in[2], &value) || value != 0))
        return false;
    int m = pads_of(n, pads);
    *ret_n = m / 2;
    for (int i = 0; i < m; i++)
        if (pads[i] < 0 || (i % (m / 2) < 2 && pads[i]))
            return false;
    return m >= 6 && m % 2 == 0;
}

static bool takes_pads(const struct mc_node *n, int slot, int rank)
{
    size_t count;
    const int64_t *own = mc_node_ints(n, "pads", &count);
    const char *automatic = mc_node_string(n, "auto_pad", "NOTSET");
    return mc_node_is(n, "Conv") && slot == 0 &&
           (!strcmp(automatic, "NOTSET") || !strcmp(automatic, "VALID")) &&
           (!own || count == 2 * (size_t)(rank - 2));
}

static int absorb(struct mc_node *pad, const int64_t *pads, int rank, struct mc_err *err)
{
    struct mc_value *y = pad->out[0];
    int spatial = rank - 2, rc = 0;
    for (size_t i = 0; i < y->n_uses; i++)
        if (y->uses[i].slot < 0 || !takes_pads(y->uses[i].node, y->uses[i].slot, rank))
            return 0;
    if (y->is_output)
        return 0;
    while (y->n_uses && !rc) {
        struct mc_node *conv = y->uses[0].node;
        size_t count;
        int64_t sum[2 * AXES];
        const int64_t *own = mc_node_ints(conv, "pads", &count);
        for (int d = 0; d < 2 * spatial; d++)
            sum[d] = pads[d < spatial ? d + 2 : d + 4] + (own ? own[d] : 0);
        mc_edit_attr_remove(conv, "auto_pad");
        rc = mc_edit_attr_ints(conv, "pads", sum, 2 * (size_t)spatial, err);
        if (!rc)
            rc = mc_edit_set_input(conv, 0, pad->in[0], err);
    }
    return rc;
}

/* ---- Relu and Clip go in front of what only moves values, so that they are computed with the layer ---- */

static bool keeps_order(const struct mc_node *n)
{
    static const char *const list[] = {"MaxPool", "Reshape",   "Transpose",
                                       "Squeeze", "Unsqueeze", "Flatten"};
    if (n->n_out > 1 && n->out[1])
        return false;
    for (size_t i = 0; i < sizeof list / sizeof *list; i++)
        if (mc_node_is(n, list[i]))
            return true;
    return false;
}

/* The node that gives v, if nothing else reads v. */
static struct mc_node *alone(const struct mc_value *v)
{
    return v && v->n_uses == 1 && v->uses[0].slot >= 0 && !v->is_output ? v->producer : NULL;
}

static bool is_layer(const struct mc_node *n)
{
    return mc_node_is(n, "Conv") || mc_node_is(n, "ConvTranspose") || mc_node_is(n, "Gemm") ||
           mc_node_is(n, "MatMul") || mc_node_is(n, "Add");
}

/* The first of the moving nodes between a layer and act; NULL: there are none, or no layer. */
static struct mc_node *first_move(const struct mc_node *act)
{
    struct mc_node *first = NULL, *n = alone(act->in[0]);
    for (int hop = 0; n && hop < HOPS && keeps_order(n); hop++) {
        first = n;
        n = alone(n->in[0]);
    }
    return n && first && is_layer(n) ? first : NULL;
}

static int raise_act(struct mc_node *act, struct mc_node *first, struct mc_err *err)
{
    struct mc_value *u = first->in[0], *v = act->in[0], *in[3] = {u, NULL, NULL};
    struct mc_value *r = mc_edit_fresh(act->graph, act->out[0]->name);
    struct mc_node *n;
    for (size_t i = 1; i < act->n_in && i < 3; i++)
        in[i] = act->in[i];
    if (!r)
        return no_memory(err);
    int rc = mc_edit_node(act->graph, first->pos, act->op_type, act->domain, act->version,
                          act->name, in, act->n_in, &r, 1, &n, err);
    if (!rc && mc_node_attr(act, "min"))
        rc = mc_edit_attr_float(n, "min", mc_node_float(act, "min", 0), err);
    if (!rc && mc_node_attr(act, "max"))
        rc = mc_edit_attr_float(n, "max", mc_node_float(act, "max", 0), err);
    if (!rc)
        rc = mc_edit_set_input(first, 0, r, err);
    if (!rc)
        rc = mc_edit_replace_uses(act->out[0], v, err);
    if (!rc)
        mc_edit_remove_node(act);
    return rc;
}

/* ---- means over an image as the operator that has an integer kernel ---- */

static bool is_image_mean(const struct mc_node *n, const struct mc_vtype *x)
{
    size_t count = 0;
    int64_t at[AXES];
    const int64_t *axes = mc_node_ints(n, "axes", &count);
    if (!mc_node_is(n, "ReduceMean") || !x->ranked || x->shape.rank != 4)
        return false;
    if (!axes) {
        int m = n->n_in > 1 ? mc_constant_ints(n->in[1], at, AXES) : -1;
        axes = at;
        count = m < 0 ? 0 : (size_t)m;
    }
    return count == 2 && mc_shape_axis(axes[0], 4) + mc_shape_axis(axes[1], 4) == 5 &&
           (mc_shape_axis(axes[0], 4) == 2 || mc_shape_axis(axes[0], 4) == 3);
}

/* Is it computed from a convolution, so that it may be of integers? */
static bool behind_conv(const struct mc_value *v)
{
    const struct mc_node *n = v->producer;
    for (int hop = 0; n && hop < HOPS; hop++) {
        if (mc_node_is(n, "Conv"))
            return true;
        if (!n->n_in || !n->in[0] || !(mc_quant_combines(n) || mc_quant_moves(n)))
            return false;
        n = n->in[0]->producer;
    }
    return false;
}

static int pool_instead(struct mc_node *n, struct mc_err *err)
{
    struct mc_graph *g = n->graph;
    struct mc_value *x = n->in[0], *y = n->out[0], *pooled, *flat;
    struct mc_node *made;
    bool keep = mc_node_int(n, "keepdims", 1);
    pooled = mc_edit_fresh(g, y->name);
    if (!pooled)
        return no_memory(err);
    int rc =
        mc_edit_node(g, n->pos, "GlobalAveragePool", "", 0, n->name, &x, 1, &pooled, 1, &made, err);
    flat = pooled;
    if (!rc && !keep) {
        flat = mc_edit_fresh(g, y->name);
        rc = flat ? mc_edit_node(g, n->pos, "Flatten", "", 0, "", &pooled, 1, &flat, 1, &made, err)
                  : no_memory(err);
    }
    if (!rc)
        rc = mc_edit_replace_uses(y, flat, err);
    if (!rc)
        mc_edit_remove_node(n);
    return rc;
}

static int pool_all(struct mc_graph *g, struct mc_err *err)
{
    struct mc_infer *inf = NULL;
    int rc = 0;
    for (size_t i = g->n_nodes; i-- > 0 && !rc;) {
        struct mc_node *n = g->nodes[i];
        if (!mc_node_is(n, "ReduceMean") || !n->in[0] || !behind_conv(n->in[0]))
            continue;
        if (!inf && (rc = mc_infer_run(g, NULL, &inf, err)))
            return rc == MC_ENOMEM ? rc : 0; /* who runs a model that contradicts itself says so */
        if (is_image_mean(n, mc_infer_of(inf, n->in[0])))
            rc = pool_instead(n, err);
    }
    mc_infer_free(inf);
    return rc;
}

/* ---- HardSwish in parts that have integer kernels; runtimes part it as well ---- */

static int part_swish(struct mc_node *n, struct mc_err *err)
{
    struct mc_graph *g = n->graph;
    struct mc_value *x = n->in[0], *h = mc_edit_fresh(g, n->out[0]->name);
    struct mc_node *gate;
    int rc = h ? mc_edit_node(g, n->pos, "HardSigmoid", "", 0, "", &x, 1, &h, 1, &gate, err)
               : no_memory(err);
    if (!rc)
        rc = mc_edit_attr_float(gate, "alpha", 1.0F / 6, err);
    if (!rc)
        rc = mc_edit_op(n, "", "Mul", (int)mc_graph_opset(g, ""), err);
    return rc ? rc : mc_edit_set_input(n, 1, h, err);
}

/* ---- */

int mc_quant_tidy(struct mc_model *m, struct mc_err *err)
{
    struct mc_graph *g = m->graph;
    int rc = 0, rank;
    int64_t pads[2 * AXES];
    for (size_t i = 0; i < g->n_nodes && !rc; i++)
        if (pads_image(g->nodes[i], pads, &rank))
            rc = absorb(g->nodes[i], pads, rank, err);
    for (size_t i = 0; i < g->n_nodes && !rc; i++) {
        struct mc_node *n = g->nodes[i], *first = mc_quant_is_act(n) ? first_move(n) : NULL;
        if (first)
            rc = raise_act(n, first, err);
    }
    for (size_t i = 0; i < g->n_nodes && !rc; i++)
        if (mc_node_is(g->nodes[i], "HardSwish"))
            rc = part_swish(g->nodes[i], err);
    if (!rc)
        rc = pool_all(g, err);
    if (!rc)
        mc_edit_sweep(g);
    return rc;
}
