#include <math.h>
#include <string.h>

#include "graph/constant.h"
#include "graph/edit.h"
#include "graph/grad/rule.h"
#include "graph/ops/learned_scale.h"
#include "passes/quant/train/quant_train.h"
#include "passes/quant/train/quant_train_form.h"

enum { X, SCALE, ZERO };

static struct mc_value *input(const struct mc_node *n, size_t i)
{
    return i < n->n_in ? n->in[i] : NULL;
}

static const struct mc_tensor *constant_in(const struct mc_node *n, size_t i)
{
    return input(n, i) ? mc_constant(n->in[i]) : NULL;
}

/* ---- scales ---- */

/* NULL in *ret where it has not grown. */
static int grown(const struct mc_tensor *start, const struct mc_tensor *growth,
                 struct mc_tensor **ret, struct mc_err *err)
{
    struct mc_tensor *t;
    void *data;
    bool any = false;
    int rc = mc_tensor_new(MC_DTYPE_F32, &start->shape, NULL, &t, &data, err);
    for (int64_t i = 0; !rc && i < mc_tensor_count(start); i++) {
        float s, by;
        memcpy(&s, start->data + (size_t)i * sizeof s, sizeof s);
        memcpy(&by, growth->data + (size_t)i * sizeof by, sizeof by);
        any = any || by != 0;
        ((float *)data)[i] = (float)mc_learned_scale((double)s, (double)by);
    }
    if (rc)
        return rc;
    *ret = any ? t : NULL;
    if (!any)
        mc_tensor_unref(t);
    return 0;
}

static int close_scale(struct mc_node *n, struct mc_err *err)
{
    struct mc_value *start = n->in[0], *growth = n->in[1], *out = n->out[0];
    struct mc_tensor *t = NULL;
    int rc = grown(mc_constant(start), mc_constant(growth), &t, err);
    if (!rc && t)
        rc = mc_constant_replace(start, t, err);
    mc_tensor_unref(t);
    mc_edit_remove_node(n);
    rc = rc ? rc : mc_edit_replace_uses(out, start, err);
    if (!rc) {
        mc_train_drop(out);
        mc_train_drop(growth);
    }
    return rc;
}

static int close_tied(struct mc_graph *g, struct mc_node *n, struct mc_err *err)
{
    struct mc_value *out = n->in[SCALE], *v = NULL;
    struct mc_node *mul = out->producer;
    struct mc_tensor *t = NULL;
    int rc = mc_train_product(mc_constant(mul->in[0]), mc_constant(mul->in[1]), &t, err);
    if (!rc)
        rc = mc_constant_new(g, n->pos, mc_node_string(n, "tied", out->name), t, &v, err);
    mc_tensor_unref(t);
    rc = rc ? rc : mc_edit_set_input(n, SCALE, v, err);
    if (!rc && !out->n_uses) {
        mc_edit_remove_node(mul);
        mc_train_drop(out);
    }
    mc_edit_attr_remove(n, "tied");
    return rc;
}

/* ---- values ---- */

static int close_stored(struct mc_model *m, struct mc_node *n, const struct mc_train_range *range,
                        struct mc_err *err)
{
    struct mc_tensor *q;
    const struct mc_tensor *x = mc_constant(n->in[X]);
    enum mc_dtype type = (enum mc_dtype)mc_node_int(n, "type", 0);
    if (x->dtype == type) /* read by another node that was closed already */
        return 0;
    int rc = mc_train_integers(n, x, constant_in(n, SCALE), constant_in(n, ZERO), type, range,
                               m->spill, &q, err);
    if (rc)
        return rc;
    rc = mc_constant_replace(n->in[X], q, err);
    mc_tensor_unref(q);
    return rc;
}

static int scalar(struct mc_graph *g, size_t pos, const char *hint, float x, struct mc_value **ret,
                  struct mc_err *err)
{
    struct mc_tensor *t = NULL;
    struct mc_shape shape = {0};
    int rc = mc_constant_make(&x, &shape, MC_DTYPE_F32, NULL, &t, err);
    rc = rc ? rc : mc_constant_new(g, pos, hint, t, ret, err);
    mc_tensor_unref(t);
    return rc;
}

static float single(const struct mc_tensor *t)
{
    float v = 0;
    if (t)
        mc_dtype_to_f32((int)t->dtype, t->data, &v, 1, NULL);
    return v;
}

/* x cut to the range, before n. */
static int clip(struct mc_graph *g, struct mc_node *n, const struct mc_train_range *r,
                struct mc_value **x, struct mc_err *err)
{
    float scale = single(constant_in(n, SCALE)), zero = single(constant_in(n, ZERO));
    struct mc_value *in[3] = {*x}, *out = mc_edit_fresh(g, (*x)->name);
    int version = mc_graph_opset(g, "") < 11 ? 11 : 0; /* bounds are attributes before */
    int rc = out ? 0 : mc_train_no_memory(err);
    rc = rc ? rc : scalar(g, n->pos, "least", ((float)r->lo - zero) * scale, &in[1], err);
    rc = rc ? rc : scalar(g, n->pos, "most", ((float)r->hi - zero) * scale, &in[2], err);
    rc = rc ? rc : mc_edit_node(g, n->pos, "Clip", "", version, "", in, 3, &out, 1, NULL, err);
    *x = out;
    return rc;
}

/* A QuantizeLinear of x that is there already, as n would need it. */
static struct mc_value *quantised(const struct mc_value *x, const struct mc_node *n)
{
    for (size_t i = 0; i < x->n_uses; i++) {
        const struct mc_node *q = x->uses[i].node;
        if (x->uses[i].slot == X && mc_node_is(q, "QuantizeLinear") &&
            input(q, SCALE) == n->in[SCALE] && input(q, ZERO) == input(n, ZERO) &&
            mc_node_int(q, "axis", 1) == mc_node_int(n, "axis", 1) &&
            mc_node_int(q, "block_size", 0) == mc_node_int(n, "block_size", 0))
            return q->out[0];
    }
    return NULL;
}

/* The same behind a Clip to the range. */
static struct mc_value *clipped(const struct mc_value *x, const struct mc_node *n,
                                const struct mc_train_range *r)
{
    float scale = single(constant_in(n, SCALE)), zero = single(constant_in(n, ZERO));
    for (size_t i = 0; i < x->n_uses; i++) {
        const struct mc_node *c = x->uses[i].node;
        if (x->uses[i].slot == X && mc_node_is(c, "Clip") && constant_in(c, 1) &&
            constant_in(c, 2) && single(constant_in(c, 1)) == ((float)r->lo - zero) * scale &&
            single(constant_in(c, 2)) == ((float)r->hi - zero) * scale) {
            struct mc_value *q = quantised(c->out[0], n);
            if (q)
                return q;
        }
    }
    return NULL;
}

static int quantise(struct mc_graph *g, struct mc_node *n, struct mc_value *x,
                    struct mc_value **ret, struct mc_err *err)
{
    static const char *const same[] = {"axis", "block_size"};
    struct mc_value *in[3] = {x, n->in[SCALE], input(n, ZERO)};
    int version = (int)mc_node_int(n, "since", 0);
    int64_t type = mc_node_int(n, "type", 0);
    struct mc_node *q;
    *ret = mc_edit_fresh(g, n->out[0]->name);
    if (!*ret)
        return mc_train_no_memory(err);
    int rc = mc_edit_node(g, n->pos, "QuantizeLinear", "", version, "", in, in[2] ? 3 : 2, ret, 1,
                          &q, err);
    for (size_t i = 0; i < 2 && !rc; i++)
        if (mc_node_attr(n, same[i]))
            rc = mc_edit_attr_int(q, same[i], mc_node_int(n, same[i], 0), err);
    if (!rc && !in[2] && type != MC_DTYPE_U8)
        rc = mc_edit_attr_int(q, "output_dtype", type, err);
    return rc;
}

static int close_pair(struct mc_graph *g, struct mc_node *n, const struct mc_train_range *range,
                      struct mc_err *err)
{
    struct mc_train_range all = {0};
    mc_train_range_of((enum mc_dtype)mc_node_int(n, "type", 0), &all);
    struct mc_value *x = n->in[X];
    bool narrower = range->lo != all.lo || range->hi != all.hi;
    struct mc_value *q = narrower ? clipped(x, n, range) : quantised(x, n);
    int rc = 0;
    if (!q && narrower)
        rc = clip(g, n, range, &x, err);
    if (!rc && !q)
        rc = quantise(g, n, x, &q, err);
    return rc ? rc : mc_edit_set_input(n, X, q, err);
}

static int close_node(struct mc_model *m, struct mc_node *n, struct mc_err *err)
{
    static const char *const added[] = {"lo", "hi", "type", "since", "stored", "batched"};
    struct mc_train_range range = {mc_node_int(n, "lo", 0), mc_node_int(n, "hi", 0)};
    int version = (int)mc_node_int(n, "since", 0);
    int rc = mc_node_int(n, "stored", 0) ? close_stored(m, n, &range, err)
                                         : close_pair(m->graph, n, &range, err);
    for (size_t i = 0; i < sizeof added / sizeof *added && !rc; i++)
        mc_edit_attr_remove(n, added[i]);
    return rc ? rc : mc_edit_op(n, "", "DequantizeLinear", version, err);
}

int mc_quant_close(struct mc_pass_ctx *ctx, struct mc_model *m, struct mc_err *err)
{
    struct mc_graph *g = m->graph;
    int rc = 0;
    (void)ctx;
    for (size_t i = g->n_nodes; i-- > 0 && !rc;)
        if (mc_train_is(g->nodes[i], mc_train_scale))
            rc = close_scale(g->nodes[i], err);
    for (size_t i = g->n_nodes; i-- > 0 && !rc;)
        if (mc_node_attr(g->nodes[i], "tied") && mc_train_is(g->nodes[i], mc_train_fake))
            rc = close_tied(g, g->nodes[i], err);
    for (size_t i = 0; i < g->n_nodes && !rc; i++) {
        struct mc_node *n = g->nodes[i];
        if (mc_train_is(n, mc_train_fake))
            rc = close_node(m, n, err);
        i = rc ? i : n->pos;
    }
    return rc;
}
