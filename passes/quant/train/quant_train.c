#include "passes/quant/train/quant_train.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "graph/constant.h"
#include "graph/edit.h"
#include "graph/grad/rule.h"
#include "passes/quant/train/quant_train_form.h"
#include "passes/quant/train/quant_train_tie.h"

enum { X, SCALE, ZERO };

struct opening {
    struct mc_model *m;
    struct mc_graph *g;
    struct mc_err *err;
};

/* ---- what can be opened ---- */

static struct mc_value *input(const struct mc_node *n, size_t i)
{
    return i < n->n_in ? n->in[i] : NULL;
}

static const struct mc_tensor *constant_in(const struct mc_node *n, size_t i)
{
    return input(n, i) ? mc_constant(n->in[i]) : NULL;
}

/* Scale and zero point are constants of this graph, and the scale is float32. */
static bool has_constants(const struct mc_node *n)
{
    const struct mc_tensor *s = constant_in(n, SCALE);
    return s && s->dtype == MC_DTYPE_F32 && mc_tensor_count(s) > 0 && !n->in[SCALE]->outer &&
           !n->in[SCALE]->is_output && (!input(n, ZERO) || constant_in(n, ZERO));
}

/* Two nodes quantise alike, so that one undoes the other. */
static bool alike(const struct mc_node *a, const struct mc_node *b)
{
    return mc_train_same(constant_in(a, SCALE), constant_in(b, SCALE)) &&
           mc_train_same(constant_in(a, ZERO), constant_in(b, ZERO)) &&
           mc_node_int(a, "axis", 1) == mc_node_int(b, "axis", 1) &&
           mc_node_int(a, "block_size", 0) == mc_node_int(b, "block_size", 0);
}

static bool is_back(const struct mc_node *n)
{
    int64_t to = mc_node_int(n, "output_dtype", 0);
    return mc_node_is(n, "DequantizeLinear") && n->version >= 10 && has_constants(n) &&
           (to == 0 || to == MC_DTYPE_F32);
}

/* Integers in the file of which floats can be made: everything that reads them does it alike. */
static bool is_stored(const struct mc_node *n)
{
    const struct mc_value *v = n->in[X];
    const struct mc_tensor *q = v ? mc_constant(v) : NULL;
    struct mc_train_range all;
    if (!q || v->outer || v->is_output || !mc_train_range_of(q->dtype, &all) ||
        mc_tensor_count(q) < 2)
        return false;
    bool own = v->tensor || mc_node_is(v->producer, "Constant");
    for (size_t i = 0; i < v->n_uses && own; i++)
        own = v->uses[i].slot == X && is_back(v->uses[i].node) && alike(v->uses[i].node, n);
    return own;
}

/* The node that makes what n reads, where it quantises floats in the same way. */
static struct mc_node *forth_of(const struct mc_node *n)
{
    struct mc_node *q = n->in[X] ? n->in[X]->producer : NULL;
    return q && mc_node_is(q, "QuantizeLinear") && has_constants(q) && alike(q, n) &&
                   !mc_node_attr(q, "precision")
               ? q
               : NULL;
}

/* ---- ranges ---- */

/* The bound of a Clip in whole steps; false where it is none. */
static bool steps_of(const struct mc_node *clip, size_t slot, double scale, double zero,
                     int64_t *ret)
{
    const struct mc_tensor *t = constant_in(clip, slot);
    float bound;
    if (!input(clip, slot))
        return true; /* left out: as far as the type goes */
    if (!t || t->dtype != MC_DTYPE_F32 || mc_tensor_count(t) != 1 ||
        mc_dtype_to_f32((int)t->dtype, t->data, &bound, 1, NULL))
        return false;
    double steps = (double)bound / scale + zero;
    if (!(fabs(steps) < 1e6) || fabs(steps - rint(steps)) > 1e-3)
        return false;
    *ret = (int64_t)rint(steps);
    return true;
}

/* A Clip before a quantisation that leaves it whole powers of two of steps, or one less: the range of fewer bits than the type
 * has. */
static bool clips(const struct mc_node *clip, const struct mc_node *q, struct mc_train_range *range)
{
    const struct mc_tensor *s = constant_in(q, SCALE), *z = constant_in(q, ZERO);
    float scale, zero = 0;
    if (!clip || !mc_node_is(clip, "Clip") || clip->version < 11 || clip->out[0]->n_uses != 1 ||
        clip->out[0]->is_output || mc_tensor_count(s) != 1 ||
        mc_dtype_to_f32((int)s->dtype, s->data, &scale, 1, NULL) ||
        (z && mc_dtype_to_f32((int)z->dtype, z->data, &zero, 1, NULL)))
        return false;
    struct mc_train_range r = *range;
    if (!steps_of(clip, 1, (double)scale, (double)zero, &r.lo) ||
        !steps_of(clip, 2, (double)scale, (double)zero, &r.hi))
        return false;
    int64_t n = r.hi - r.lo + 1;
    if (r.lo < range->lo || r.hi > range->hi || n < 3 || n >= range->hi - range->lo ||
        ((n & (n - 1)) && ((n + 1) & n)))
        return false;
    *range = r;
    return true;
}

/* ---- opening ---- */

static int mark(struct mc_node *n, enum mc_dtype type, const struct mc_train_range *range,
                bool stored, struct mc_err *err)
{
    int rc = mc_edit_attr_int(n, "since", n->version, err);
    rc = rc ? rc : mc_edit_attr_int(n, "type", (int64_t)type, err);
    rc = rc ? rc : mc_edit_attr_int(n, "lo", range->lo, err);
    rc = rc ? rc : mc_edit_attr_int(n, "hi", range->hi, err);
    rc = rc ? rc : mc_edit_attr_int(n, stored ? "stored" : "batched", 1, err);
    return rc ? rc : mc_edit_op(n, MC_GRAD_DOMAIN, mc_train_fake, 1, err);
}

/* All nodes that read the same integers. */
static int open_stored(const struct opening *o, struct mc_node *first)
{
    struct mc_value *v = first->in[X];
    struct mc_tensor *q = mc_tensor_ref(mc_constant(v)), *x = NULL;
    struct mc_train_range range;
    enum mc_dtype type = q->dtype;
    int rc = mc_train_floats(first, q, constant_in(first, SCALE), constant_in(first, ZERO),
                             o->m->spill, &x, o->err);
    if (!rc && type == MC_DTYPE_I32)
        mc_train_range_of(type, &range);
    else if (!rc)
        rc = mc_train_range_stored(q, constant_in(first, ZERO), &range, o->err);
    rc = rc ? rc : mc_constant_replace(v, x, o->err);
    for (size_t i = 0; i < v->n_uses && !rc; i++)
        rc = mark(v->uses[i].node, type, &range, true, o->err);
    mc_tensor_unref(x);
    mc_tensor_unref(q);
    return rc;
}

static void drop_node(struct mc_node *n)
{
    for (size_t i = 0; i < n->n_out; i++)
        if (n->out[i] && (n->out[i]->n_uses || n->out[i]->is_output))
            return;
    struct mc_value *out = n->out[0], *in[3];
    size_t n_in = n->n_in < 3 ? n->n_in : 3;
    memcpy(in, n->in, n_in * sizeof(struct mc_value *));
    mc_edit_remove_node(n);
    mc_train_drop(out);
    for (size_t i = 0; i < n_in; i++)
        mc_train_drop(in[i]);
}

static int open_pair(const struct opening *o, struct mc_node *n, struct mc_node *q)
{
    struct mc_node *clip = q->in[X]->producer;
    struct mc_train_range range;
    const struct mc_tensor *zero = constant_in(q, ZERO);
    int64_t to = mc_node_int(q, "output_dtype", 0);
    enum mc_dtype type = zero ? zero->dtype : to ? (enum mc_dtype)to : MC_DTYPE_U8;
    if (!mc_train_range_of(type, &range))
        return 0; /* small floats */
    bool narrower = clips(clip, q, &range);
    int rc = mc_edit_set_input(n, X, narrower ? clip->in[0] : q->in[X], o->err);
    for (size_t i = SCALE; i <= ZERO && !rc; i++)
        if (input(q, i) != input(n, i) && input(q, i))
            rc = mc_edit_set_input(n, i, q->in[i], o->err);
    rc = rc ? rc : mark(n, type, &range, false, o->err);
    if (rc)
        return rc;
    drop_node(q);
    if (narrower)
        drop_node(clip);
    return 0;
}

static int open_nodes(const struct opening *o)
{
    struct mc_graph *g = o->g;
    size_t n = g->n_nodes;
    int rc = 0;
    struct mc_node **list = mc_calloc(n + 1, sizeof *list);
    if (!list)
        return mc_train_no_memory(o->err);
    memcpy(list, g->nodes, n * sizeof *list);
    for (size_t i = 0; i < n && !rc; i++) {
        struct mc_node *q, *dq = list[i];
        if (!dq || !mc_node_is(dq, "DequantizeLinear") || !is_back(dq))
            continue;
        if (is_stored(dq))
            rc = open_stored(o, dq);
        else if ((q = forth_of(dq)))
            rc = open_pair(o, dq, q);
    }
    free(list);
    return rc;
}

/* ---- scales ---- */

static int zeros_like(const struct mc_tensor *t, struct mc_tensor **ret, struct mc_err *err)
{
    return mc_tensor_new(MC_DTYPE_F32, &t->shape, NULL, ret, NULL, err);
}

/* Everything that reads a scale reads what it has grown to. */
static int learn(const struct opening *o, struct mc_value *scale)
{
    size_t pos = scale->producer ? scale->producer->pos + 1 : 0;
    struct mc_value *in[2] = {scale}, *out = mc_edit_fresh(o->g, scale->name);
    struct mc_tensor *t = NULL;
    struct mc_node *n;
    char *hint = mc_calloc(strlen(scale->name) + sizeof ".growth", 1);
    int rc = out && hint ? zeros_like(mc_constant(scale), &t, o->err) : mc_train_no_memory(o->err);
    if (!rc) {
        strcat(strcpy(hint, scale->name), ".growth");
        in[1] = mc_edit_constant(o->g, hint, t);
        rc = in[1] ? 0 : mc_train_no_memory(o->err);
    }
    mc_tensor_unref(t);
    free(hint);
    if (!rc)
        rc = mc_edit_node(o->g, pos, mc_train_scale, MC_GRAD_DOMAIN, 1, "", in, 2, &out, 1, &n,
                          o->err);
    rc = rc ? rc : mc_edit_replace_uses(scale, out, o->err);
    return rc ? rc : mc_edit_set_input(n, 0, scale, o->err);
}

static int open_scales(const struct opening *o)
{
    int rc = 0;
    for (size_t i = 0; i < o->g->n_nodes && !rc; i++) {
        struct mc_node *n = o->g->nodes[i];
        if (!mc_train_is(n, mc_train_fake) || mc_node_attr(n, "tied") ||
            !mc_constant(n->in[SCALE]) || mc_node_int(n, "type", 0) == MC_DTYPE_I32)
            continue;
        rc = learn(o, n->in[SCALE]);
        i = rc ? i : n->pos;
    }
    return rc;
}

int mc_quant_open(struct mc_pass_ctx *ctx, struct mc_model *m, struct mc_err *err)
{
    (void)ctx;
    struct opening o = {m, m->graph, err};
    int rc = open_nodes(&o);
    rc = rc ? rc : mc_train_share(o.g, err);
    rc = rc ? rc : mc_train_tie(o.g, err);
    return rc ? rc : open_scales(&o);
}
