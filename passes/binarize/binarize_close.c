#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "graph/constant.h"
#include "graph/edit.h"
#include "graph/own/own.h"
#include "passes/binarize/binarize_form.h"
#include "passes/binarize/binarize_pack.h"
#include "passes/binarize/binarize_product.h"
#include "passes/binarize/binarize_threshold.h"

enum { TEXT = 256 };

static int no_memory(struct mc_err *err)
{
    return mc_fail(err, MC_ENOMEM, "out of memory for the file form of signs");
}

/* ---- calls ---- */

struct call {                   /* what its attributes are */
    const struct mc_node *like; /* Conv: strides, pads, dilations; NULL */
    const struct mc_shape *shape;
    int64_t columns;
};

static int copy_ints(const struct mc_node *from, const char *name, int64_t fill, size_t n,
                     struct mc_node *to, struct mc_err *err)
{
    int64_t filled[2 * MC_RANK_MAX];
    size_t count;
    const int64_t *v = mc_node_ints(from, name, &count);
    for (size_t i = 0; i < n; i++)
        filled[i] = v && count == n ? v[i] : fill;
    return mc_edit_attr_ints(to, name, filled, n, err);
}

static int set_attributes(void *ctx, struct mc_node *n, struct mc_err *err)
{
    const struct call *c = ctx;
    int rc = mc_edit_attr_ints(n, "columns", &c->columns, 1, err);
    if (!rc && c->shape)
        rc = mc_edit_attr_ints(n, "shape", c->shape->dim, (size_t)c->shape->rank, err);
    if (rc || !c->like)
        return rc;
    size_t axes = (size_t)c->shape->rank - 2;
    rc = copy_ints(c->like, "strides", 1, axes, n, err);
    rc = rc ? rc : copy_ints(c->like, "pads", 0, 2 * axes, n, err);
    return rc ? rc : copy_ints(c->like, "dilations", 1, axes, n, err);
}

static int constant(struct mc_graph *g, const char *name, const char *what, struct mc_tensor *t,
                    struct mc_value **ret, struct mc_err *err)
{
    char label[TEXT];
    snprintf(label, sizeof label, "%.200s.%s", name, what);
    *ret = mc_edit_constant(g, label, t);
    return *ret ? 0 : no_memory(err);
}

struct packed {
    struct mc_tensor *bits, *scale;
};

static int pack(const struct mc_node *w, const struct mc_sign_threshold *t, double by,
                struct packed *ret, struct mc_signs_of *of, struct mc_err *err)
{
    const struct mc_tensor *x = mc_constant(w->in[0]);
    if (!x)
        return mc_fail(err, MC_EUNSUP, "%s '%s': its weight is computed", w->op_type,
                       mc_node_label(w));
    *of =
        (struct mc_signs_of){.m = mc_node_int(w, "outputs", 1), .last = mc_node_int(w, "last", 0)};
    if (of->m < 1 || mc_tensor_count(x) % of->m)
        return mc_fail(err, MC_ESHAPE, "%s '%s': its weight does not hold those of %lld outputs",
                       w->op_type, mc_node_label(w), (long long)of->m);
    of->n = mc_tensor_count(x) / of->m;
    return mc_signs_pack(w->in[0]->name, x, of, t ? t->flip : NULL, t ? of->n / t->channels : 1, by,
                         &ret->bits, &ret->scale, err);
}

static void unpack(struct packed *p)
{
    mc_tensor_unref(p->bits);
    mc_tensor_unref(p->scale);
}

/* ---- weights alone ---- */

/* The shape that holds W as [m, n]. */
static struct mc_shape rows_first(const struct mc_tensor *w, const struct mc_signs_of *of)
{
    const int64_t dims[2] = {of->m, of->n};
    return of->last ? mc_shape_of(2, dims) : w->shape;
}

static int transpose(struct mc_graph *g, size_t pos, const char *name, struct mc_value *x,
                     struct mc_value *out, struct mc_err *err)
{
    char label[TEXT];
    static const int64_t perm[2] = {1, 0};
    struct mc_node *n;
    snprintf(label, sizeof label, "%.200s/Transpose", name);
    int rc = mc_edit_node(g, pos, "Transpose", "", 0, label, &x, 1, &out, 1, &n, err);
    return rc ? rc : mc_edit_attr_ints(n, "perm", perm, 2, err);
}

/* Gemm nodes read it as it is, others transposed. */
static int turn(struct mc_graph *g, size_t pos, const char *name, struct mc_value *w,
                struct mc_value *stored, struct mc_err *err)
{
    struct mc_value *turned = NULL;
    int rc = 0;
    while (w->n_uses && !rc) {
        struct mc_use u = w->uses[0];
        if (mc_node_is(u.node, "Gemm") && u.slot == 1) {
            rc = mc_edit_attr_int(u.node, "transB", !mc_node_int(u.node, "transB", 0), err);
            rc = rc ? rc : mc_edit_set_input(u.node, 1, stored, err);
            continue;
        }
        if (!turned) {
            turned = mc_edit_fresh(g, name);
            rc = turned ? transpose(g, pos, name, stored, turned, err) : no_memory(err);
        }
        rc = rc ? rc : mc_edit_set_input(u.node, (size_t)u.slot, turned, err);
    }
    return rc;
}

static int close_weight(struct mc_model *m, struct mc_node *w, struct mc_err *err)
{
    struct mc_graph *g = m->graph;
    struct mc_value *in[2], *v = w->in[0], *was = w->out[0], *out;
    struct packed p = {0};
    struct mc_signs_of of;
    char label[TEXT];
    int rc = pack(w, NULL, 1, &p, &of, err);
    struct mc_shape shape;
    struct call c = {.shape = &shape};
    if (!rc) {
        shape = rows_first(mc_constant(v), &of);
        c.columns = of.n;
        rc = constant(g, v->name, "signs", p.bits, &in[0], err);
    }
    rc = rc ? rc : constant(g, v->name, "scales", p.scale, &in[1], err);
    snprintf(label, sizeof label, "%.200s/BinaryWeight", v->name);
    if (!rc && !(out = mc_edit_fresh(g, label)))
        rc = no_memory(err);
    size_t pos = w->pos;
    rc = rc ? rc
            : mc_own_call(g, pos, "BinaryWeight", label, in, 2, &out, 1, set_attributes, &c, NULL,
                          err);
    if (!rc)
        rc = of.last ? turn(g, w->pos, label, was, out, err) : mc_edit_replace_uses(was, out, err);
    unpack(&p);
    if (rc)
        return rc;
    mc_edit_remove_node(w);
    if (!was->n_uses && !was->is_output)
        mc_edit_remove_value(was);
    return 0;
}

/* ---- products of signs ---- */

/* [m], of a convolution [m,1,1] with as many ones as it has axes. */
static struct mc_shape row_shape(const struct mc_sign_product *p, int64_t m)
{
    struct mc_shape shape = mc_shape_of(1, &m);
    for (int i = 2; mc_node_is(p->node, "Conv") && i < mc_constant(p->w->in[0])->shape.rank; i++)
        shape.dim[shape.rank++] = 1;
    return shape;
}

/* The bias as a row of m floats, times `by`, and what `after` makes of it; zeros where there is none. */
static int bias_value(struct mc_graph *g, const struct mc_sign_product *p, int64_t m, double by,
                      const struct mc_norm_line *after, struct mc_value **ret, struct mc_err *err)
{
    struct mc_shape shape = row_shape(p, m);
    struct mc_tensor *t = NULL;
    float *x = NULL, *row;
    int64_t n;
    const struct mc_tensor *b = p->bias ? mc_constant(p->bias) : NULL;
    if (b && mc_shape_equal(&b->shape, &shape) && by == 1 && !after->by && p->bias->tensor) {
        *ret = p->bias;
        return 0;
    }
    int rc = p->bias ? mc_constant_f32(p->bias, &x, &n, err) : 0;
    if (rc)
        return rc;
    row = mc_calloc((size_t)m + 1, sizeof *row);
    rc = row ? 0 : no_memory(err);
    for (int64_t i = 0; i < m && !rc && x; i++)
        row[i] = x[n == 1 ? 0 : i] * (float)by;
    for (int64_t i = 0; i < m && !rc && after->by; i++)
        row[i] = (float)((double)row[i] * after->by[i] + after->plus[i]);
    rc = rc ? rc : mc_constant_make(row, &shape, MC_DTYPE_F32, NULL, &t, err);
    free(row);
    free(x);
    rc =
        rc ? rc : constant(g, p->bias ? p->bias->name : mc_node_label(p->node), "row", t, ret, err);
    mc_tensor_unref(t);
    return rc;
}

static int threshold_value(struct mc_graph *g, const struct mc_sign_product *p,
                           const struct mc_sign_threshold *t, struct mc_value **ret,
                           struct mc_err *err)
{
    struct mc_shape shape = row_shape(p, t->channels);
    struct mc_tensor *tensor = NULL;
    int rc = mc_constant_make(t->at, &shape, MC_DTYPE_F32, NULL, &tensor, err);
    rc = rc ? rc : constant(g, mc_node_label(p->node), "thresholds", tensor, ret, err);
    mc_tensor_unref(tensor);
    return rc;
}

/* S of a product has the shape of its bias. */
static int scale_value(struct mc_graph *g, const struct mc_sign_product *p, const char *name,
                       const struct mc_tensor *column, const struct mc_norm_line *after,
                       struct mc_value **ret, struct mc_err *err)
{
    int64_t m = column->shape.dim[0];
    struct mc_shape shape = row_shape(p, m);
    struct mc_tensor *t = NULL;
    void *data;
    int rc = mc_tensor_new(MC_DTYPE_F32, &shape, NULL, &t, &data, err);
    for (int64_t i = 0; i < m && !rc; i++)
        ((float *)data)[i] =
            (float)((double)((const float *)column->data)[i] * (after->by ? after->by[i] : 1));
    rc = rc ? rc : constant(g, name, "scales", t, ret, err);
    mc_tensor_unref(t);
    return rc;
}

/* y = (a sign(W)) (alpha S) + beta B, or with real inputs y = (x sign(W)) (alpha S) + beta B. */
static int call_product(struct mc_graph *g, const struct mc_sign_product *p,
                        const struct mc_sign_threshold *t, struct mc_value *out, struct mc_err *err)
{
    bool conv = mc_node_is(p->node, "Conv"), gemm = mc_node_is(p->node, "Gemm");
    double alpha = gemm ? (double)mc_node_float(p->node, "alpha", 1) : 1;
    double beta = gemm ? (double)mc_node_float(p->node, "beta", 1) : 1;
    const char *function =
        p->sign ? (conv ? "XnorConv" : "XnorGemm") : (conv ? "BinaryConvFast" : "BinaryGemmFast");
    struct mc_value *w = p->w->in[0], *in[5] = {p->sign ? t->x : p->node->in[0]};
    struct packed packed = {0};
    struct mc_norm_line after = {0};
    struct mc_signs_of of;
    char label[TEXT];
    size_t at = 1;
    int rc = pack(p->w, p->sign ? t : NULL, alpha, &packed, &of, err);
    if (!rc && p->norm)
        rc = mc_norm_line(p->norm, of.m, &after, err);
    struct call c = {.like = conv ? p->node : NULL,
                     .shape = conv ? &mc_constant(w)->shape : NULL,
                     .columns = of.n};
    if (!rc && p->sign)
        rc = threshold_value(g, p, t, &in[at++], err);
    rc = rc ? rc : constant(g, w->name, "signs", packed.bits, &in[at++], err);
    rc = rc ? rc : scale_value(g, p, w->name, packed.scale, &after, &in[at++], err);
    rc = rc ? rc : bias_value(g, p, of.m, beta, &after, &in[at++], err);
    unpack(&packed);
    mc_norm_line_free(&after);
    snprintf(label, sizeof label, "%s", mc_node_label(p->node));
    return rc ? rc
              : mc_own_call(g, p->node->pos, function, label, in, at, &out, 1, set_attributes, &c,
                            NULL, err);
}

static int close_product(struct mc_graph *g, const struct mc_sign_product *p, struct mc_err *err)
{
    struct mc_node *last = mc_sign_product_last(p);
    const struct mc_tensor *w = mc_constant(p->w->in[0]);
    int64_t channels = !w ? 0
                       : mc_node_is(p->node, "Conv")
                           ? w->shape.dim[1]
                           : mc_tensor_count(w) / mc_node_int(p->w, "outputs", 1);
    struct mc_value *was = last->out[0], *out;
    struct mc_sign_threshold t = {0};
    if (!w)
        return mc_fail(err, MC_EUNSUP, "%s '%s': its weight is computed", p->node->op_type,
                       mc_node_label(p->node));
    int rc = p->sign ? mc_sign_threshold(p->sign, p->reshaped, channels, &t, err) : 0;
    if (rc)
        return rc;
    if (!(out = mc_edit_fresh(g, was->name)))
        rc = no_memory(err);
    rc = rc ? rc : call_product(g, p, &t, out, err);
    rc = rc ? rc : mc_edit_replace_uses(was, out, err);
    mc_sign_threshold_free(&t);
    if (rc)
        return rc;
    if (p->norm)
        mc_edit_remove_node(p->norm);
    if (p->add)
        mc_edit_remove_node(p->add);
    mc_edit_remove_node(p->node);
    return 0;
}

int mc_binarize_close(struct mc_model *m, struct mc_err *err)
{
    struct mc_graph *g = m->graph;
    size_t n = g->n_nodes;
    int rc = 0;
    bool any = false;
    struct mc_node **list = mc_calloc(n + 1, sizeof *list);
    if (!list)
        return no_memory(err);
    memcpy(list, g->nodes, n * sizeof *list);
    for (size_t i = 0; i < n && !rc; i++) {
        struct mc_sign_product p;
        if (!mc_sign_product_find(list[i], &p))
            continue;
        any = true;
        rc = close_product(g, &p, err);
    }
    for (size_t i = 0; i < n && !rc; i++)
        if (mc_binarize_is(list[i], mc_binarize_weight)) {
            any = true;
            if (list[i]->out[0]->n_uses)
                rc = close_weight(m, list[i], err);
        }
    free(list);
    if (any && !rc)
        mc_edit_sweep(g);
    return rc;
}
