#include "passes/quant/form/quant_region.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>

#include "graph/constant.h"
#include "passes/quant/form/quant_region_kind.h"

struct plan {
    const struct mc_quant_sites *sites;
    const struct mc_quant_rules *rules;
    const struct mc_quant_stats *stats;
    const enum mc_quant_form *form;
    struct mc_quant_region *r;
    const struct mc_node **gives; /* by value index: the unit whose result it is */
    bool *able;                   /* by value index: could be quantised at no cost */
};

/* ---- what nodes are ---- */

static void layer(struct plan *p, size_t i)
{
    const struct mc_quant_site *s = &p->sites->item[i];
    p->r->unit[s->node->id] = (struct mc_quant_unit){MC_QUANT_LAYER, true, i, s->act};
    for (size_t k = 0; k < s->node->n_out; k++)
        if (s->node->out[k])
            p->gives[s->node->out[k]->index] = s->node;
    if (s->add)
        p->gives[s->add->out[0]->index] = s->node;
    if (s->act)
        p->gives[s->act->out[0]->index] = s->node;
}

/* What comes out of a combining node: behind the Relu or Clip that alone reads it. */
static void combine(struct plan *p, const struct mc_node *n)
{
    const struct mc_value *y = n->out[0];
    struct mc_quant_unit *u = &p->r->unit[n->id];
    u->kind = MC_QUANT_COMBINE;
    u->act = mc_quant_is_act(n) ? n : NULL;
    if (!u->act && !y->is_output && y->n_uses == 1 && y->uses[0].slot == 0 &&
        mc_quant_is_act(y->uses[0].node)) {
        u->act = y->uses[0].node;
        y = u->act->out[0];
    }
    p->gives[y->index] = n;
}

static bool has_bytes(const struct mc_quant_rules *r)
{
    return !r->act_symmetric && r->act_bits == 8;
}

static void classify(struct plan *p)
{
    const struct mc_graph *g = p->r->g;
    float factor;
    for (size_t i = 0; i < p->sites->n; i++)
        if (p->form[i] == MC_QUANT_STATIC && p->sites->item[i].node->graph == g)
            layer(p, i);
    for (size_t i = 0; i < g->n_nodes; i++) {
        const struct mc_node *n = g->nodes[i];
        if (p->r->unit[n->id].kind != MC_QUANT_OTHER || !n->n_out || !n->out[0] ||
            p->gives[n->out[0]->index]) /* an act of what is before it */
            continue;
        if (mc_quant_rescales(n, &factor) >= 0) {
            p->r->unit[n->id].kind = MC_QUANT_RESCALE;
            p->gives[n->out[0]->index] = n;
        } else if (mc_node_is(n, "HardSigmoid") && !has_bytes(p->rules)) {
            continue;
        } else if (mc_quant_combines(n)) {
            combine(p, n);
        } else if (mc_quant_moves(n)) {
            p->r->unit[n->id].kind = MC_QUANT_MOVE;
            for (size_t k = 0; k < n->n_out; k++)
                if (n->out[k])
                    p->gives[n->out[k]->index] = n;
        }
    }
}

/* ---- which values ---- */

/* Its numbers are known and finite: it can be quantised. */
static bool usable(const struct plan *p, const struct mc_value *v)
{
    const struct mc_quant_stat *s;
    if (!p->stats)
        return true;
    s = mc_quant_stat_of(p->stats, v);
    return s && (s->fixed || (!s->hist.nan && !s->hist.infinite));
}

static bool stays_float(const struct plan *p, const struct mc_value *v)
{
    return v->is_output && !p->rules->outputs;
}

/* What a product of activations computes in, no weight says: as the layers beside it do. */
static enum mc_dtype floats_of(const struct plan *p, const struct mc_quant_site *s)
{
    for (size_t i = 0; s->dtype == MC_DTYPE_NONE && i < p->sites->n; i++)
        if (p->sites->item[i].dtype != MC_DTYPE_NONE)
            return p->sites->item[i].dtype;
    return s->dtype == MC_DTYPE_NONE ? MC_DTYPE_F32 : s->dtype;
}

static void turn_on(struct plan *p, const struct mc_value *v, enum mc_dtype dtype)
{
    p->r->at[v->index].on = true;
    p->r->at[v->index].dtype = dtype;
}

/* Inputs of the layers, and outputs of convolutions, which are of floats otherwise. */
static int demand(struct plan *p, struct mc_err *err)
{
    for (size_t i = 0; i < p->sites->n; i++) {
        const struct mc_quant_site *s = &p->sites->item[i];
        bool wide = p->form[i] == MC_QUANT_STATIC16;
        enum mc_dtype dtype = floats_of(p, s);
        if ((!wide && p->form[i] != MC_QUANT_STATIC) || s->node->graph != p->r->g)
            continue;
        for (size_t k = 0; k < s->node->n_in; k++) {
            const struct mc_value *x = s->node->in[k];
            if (!mc_quant_site_reads(s, k))
                continue;
            if (!usable(p, x))
                return mc_fail(err, MC_EUSAGE,
                               "%s '%s' cannot be static: its input '%s' has no statistics, or "
                               "holds NaN or infinity",
                               s->node->op_type, mc_node_label(s->node), x->name);
            if (wide) {
                p->r->at[x->index].wide = true;
                p->r->at[x->index].dtype = dtype;
            } else {
                turn_on(p, x, dtype);
            }
        }
        if (!wide && (s->kind == MC_QUANT_CONV || (p->rules->outputs && s->y->is_output)) &&
            !stays_float(p, s->y) && usable(p, s->y))
            turn_on(p, s->y, dtype);
    }
    return 0;
}

static bool is_able(const struct plan *p, const struct mc_value *v)
{
    return p->able[v->index] || p->r->at[v->index].on;
}

/* All data inputs could be integers at no cost, and at least one is no constant. */
static bool inputs_able(const struct plan *p, const struct mc_node *n)
{
    bool any = false;
    for (size_t k = 0; k < n->n_in; k++) {
        if (!mc_quant_region_data(p->r, p->sites, n, k))
            continue;
        /* a signed constant is taken for a weight (ONNX Runtime 1.32) */
        if (mc_quant_operand(n, k) && !p->rules->act_symmetric &&
            mc_quant_is_finite(mc_constant(n->in[k])))
            continue;
        if (!n->in[k] || !is_able(p, n->in[k]))
            return false;
        any = true;
    }
    return any;
}

static bool outputs_able(const struct plan *p, const struct mc_node *n)
{
    for (size_t k = 0; k < n->n_out; k++)
        if (n->out[k] && (stays_float(p, n->out[k]) || !usable(p, n->out[k])))
            return false;
    return true;
}

/* Forward: what integers could give, if asked. */
static void find_able(struct plan *p)
{
    const struct mc_graph *g = p->r->g;
    for (size_t i = 0; i < g->n_nodes; i++) {
        const struct mc_node *n = g->nodes[i];
        const struct mc_quant_unit *u = &p->r->unit[n->id];
        bool same = u->kind == MC_QUANT_MOVE || u->kind == MC_QUANT_RESCALE;
        if (same && inputs_able(p, n) && outputs_able(p, n)) {
            for (size_t k = 0; k < n->n_out; k++)
                if (n->out[k])
                    p->able[n->out[k]->index] = true;
        } else if (u->kind == MC_QUANT_COMBINE && inputs_able(p, n)) {
            const struct mc_value *y = mc_quant_unit_result(u, n);
            p->able[y->index] = !stays_float(p, y) && usable(p, y);
        }
    }
}

/* The type of floats where a result of this node is quantised already; NONE: none is. */
static enum mc_dtype asked(const struct plan *p, const struct mc_node *n)
{
    const struct mc_quant_unit *u = &p->r->unit[n->id];
    if (u->kind == MC_QUANT_COMBINE) {
        const struct mc_quant_point *at = &p->r->at[mc_quant_unit_result(u, n)->index];
        return at->on ? at->dtype : MC_DTYPE_NONE;
    }
    for (size_t k = 0; k < n->n_out; k++)
        if (n->out[k] && p->r->at[n->out[k]->index].on)
            return p->r->at[n->out[k]->index].dtype;
    return MC_DTYPE_NONE;
}

/* Backward: nodes between integers become integers. */
static void connect(struct plan *p)
{
    const struct mc_graph *g = p->r->g;
    for (size_t i = g->n_nodes; i-- > 0;) {
        const struct mc_node *n = g->nodes[i];
        struct mc_quant_unit *u = &p->r->unit[n->id];
        if (u->kind == MC_QUANT_OTHER || u->kind == MC_QUANT_LAYER)
            continue;
        const struct mc_value *y = u->kind == MC_QUANT_COMBINE ? mc_quant_unit_result(u, n) : NULL;
        enum mc_dtype dtype = asked(p, n);
        if (dtype == MC_DTYPE_NONE || !inputs_able(p, n) || (y && stays_float(p, y)) ||
            (!y && !outputs_able(p, n)))
            continue;
        u->integer = true;
        for (size_t k = 0; k < n->n_in; k++)
            if (mc_quant_region_data(p->r, p->sites, n, k) && !mc_quant_operand(n, k))
                turn_on(p, n->in[k], dtype);
        for (size_t k = 0; !y && k < n->n_out; k++)
            if (n->out[k])
                turn_on(p, n->out[k], dtype);
    }
}

/* ---- which parameters ---- */

/* Whether input k of an integer Concat is rounded once only if it takes the parameters of the result: it is read nowhere else,
 * and neither an act nor HardSigmoid needs parameters that the result does not have. */
static bool joins_concat(const struct plan *p, const struct mc_node *n, size_t k)
{
    const struct mc_value *x = n->in[k];
    const struct mc_node *from = p->gives[x->index];
    const struct mc_quant_unit *u = from ? &p->r->unit[from->id] : NULL;
    if (x->n_uses != 1 || x->is_output || !u || !u->integer || u->kind == MC_QUANT_MOVE ||
        mc_node_is(from, "HardSigmoid") || p->r->at[x->index].parent != x->index)
        return false;
    if (!u->act)
        return true;
    if (!mc_node_is(u->act, "Relu"))
        return false;
    for (size_t j = 0; j < n->n_in; j++) {
        const struct mc_node *other = p->gives[n->in[j]->index];
        if (!other || !p->r->unit[other->id].act)
            return false;
    }
    return true;
}

static void share(struct plan *p)
{
    const struct mc_graph *g = p->r->g;
    for (size_t i = 0; i < g->n_values; i++)
        p->r->at[i].parent = (uint32_t)i;
    for (size_t i = 0; i < g->n_nodes; i++) {
        const struct mc_node *n = g->nodes[i];
        const struct mc_quant_unit *u = &p->r->unit[n->id];
        if (!u->integer)
            continue;
        for (size_t k = 0; u->kind == MC_QUANT_MOVE && k < n->n_out; k++)
            if (n->out[k])
                p->r->at[n->out[k]->index].parent = n->in[0]->index;
        int x = u->kind == MC_QUANT_RESCALE
                    ? mc_quant_rescales(n, &p->r->at[n->out[0]->index].factor)
                    : -1;
        if (x >= 0)
            p->r->at[n->out[0]->index].parent = n->in[x]->index;
        for (size_t k = 0; mc_node_is(n, "Concat") && k < n->n_in; k++)
            if (!mc_quant_operand(n, k) && joins_concat(p, n, k))
                p->r->at[n->in[k]->index].parent = mc_quant_unit_result(u, n)->index;
    }
}

const struct mc_value *mc_quant_region_root(const struct mc_quant_region *r,
                                            const struct mc_value *v)
{
    uint32_t i = v->index;
    while (r->at[i].parent != i)
        i = r->at[i].parent;
    return r->g->values[i];
}

/* How many times the scale of its root the scale of v is. */
static double factor_of(const struct mc_quant_region *r, const struct mc_value *v)
{
    double factor = 1;
    for (uint32_t i = v->index; r->at[i].parent != i; i = r->at[i].parent)
        factor *= r->at[i].factor > 0 ? (double)r->at[i].factor : 1;
    return factor;
}

static void parameters(struct plan *p, const struct mc_value *v)
{
    struct mc_quant_point *at = &p->r->at[v->index];
    const struct mc_value *root = mc_quant_region_root(p->r, v);
    const struct mc_node *from = p->gives[root->index];
    const struct mc_quant_unit *u = from ? &p->r->unit[from->id] : NULL;
    struct mc_quant_type narrow = mc_quant_act_type(p->rules, false),
                         wide = mc_quant_act_type(p->rules, true);
    at->param = at->wide_param = (struct mc_quant_param){1, 0};
    if (!p->stats)
        return;
    if (at->on && u && u->integer && mc_node_is(from, "HardSigmoid"))
        at->param = mc_quant_hard_param;
    else if (at->on)
        mc_quant_act_param(mc_quant_stat_of(p->stats, root), p->rules, &narrow,
                           u && u->integer ? u->act : NULL, &at->param);
    at->param.scale = (float)fmax((double)at->param.scale * factor_of(p->r, v), (double)FLT_MIN);
    if (at->wide)
        mc_quant_act_param(mc_quant_stat_of(p->stats, v), p->rules, &wide, NULL, &at->wide_param);
}

/* Nothing may read the result before it is quantised, or the unit is one of floats. MatMul and Gemm give either. */
static bool needs_output(const struct plan *p, const struct mc_quant_unit *u)
{
    return u->integer &&
           (u->kind != MC_QUANT_LAYER || p->sites->item[u->site].kind == MC_QUANT_CONV);
}

/* ---- */

int mc_quant_region_plan(const struct mc_model *m, const struct mc_quant_sites *sites,
                         const struct mc_quant_rules *rules, const struct mc_quant_stats *stats,
                         const enum mc_quant_form *form, struct mc_quant_region *ret,
                         struct mc_err *err)
{
    const struct mc_graph *g = m->graph;
    struct mc_quant_region r = {.g = g};
    struct plan p = {sites, rules, stats, form, &r, NULL, NULL};
    r.at = mc_calloc(g->n_values + 1, sizeof *r.at);
    r.unit = mc_calloc(g->n_node_ids + 1, sizeof *r.unit);
    p.gives = mc_calloc(g->n_values + 1, sizeof *p.gives);
    p.able = mc_calloc(g->n_values + 1, sizeof *p.able);
    int rc = r.at && r.unit && p.gives && p.able ? 0 : mc_fail(err, MC_ENOMEM, "out of memory");
    if (!rc) {
        classify(&p);
        rc = demand(&p, err);
    }
    if (!rc) {
        find_able(&p);
        connect(&p);
        share(&p);
        for (size_t i = 0; i < g->n_values; i++) {
            const struct mc_value *v = g->values[i];
            const struct mc_node *from = v ? p.gives[i] : NULL;
            if (!v || (!r.at[i].on && !r.at[i].wide))
                continue;
            r.at[i].made = from && r.unit[from->id].integer;
            r.at[i].all = from && needs_output(&p, &r.unit[from->id]) && !stays_float(&p, v);
            parameters(&p, v);
        }
    }
    free(p.gives);
    free(p.able);
    if (rc)
        mc_quant_region_free(&r);
    else
        *ret = r;
    return rc;
}

void mc_quant_region_free(struct mc_quant_region *r)
{
    free(r->at);
    free(r->unit);
    *r = (struct mc_quant_region){0};
}

bool mc_quant_region_data(const struct mc_quant_region *r, const struct mc_quant_sites *sites,
                          const struct mc_node *n, size_t slot)
{
    const struct mc_quant_unit *u = &r->unit[n->id];
    float factor;
    switch (u->kind) {
    case MC_QUANT_LAYER: return mc_quant_site_reads(&sites->item[u->site], slot);
    case MC_QUANT_MOVE: return slot == 0;
    case MC_QUANT_RESCALE: return (int)slot == mc_quant_rescales(n, &factor);
    case MC_QUANT_COMBINE: return slot == 0 || mc_quant_takes_several(n);
    default: return false;
    }
}
