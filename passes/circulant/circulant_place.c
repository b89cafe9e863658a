/* Calls in place of layers. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "graph/constant.h"
#include "graph/edit.h"
#include "graph/own/own_circulant.h"
#include "passes/circulant/circulant_run.h"

enum { NAME = 1024, SPATIAL = 2 };

static int no_memory(struct mc_err *err)
{
    return mc_fail(err, MC_ENOMEM, "out of memory");
}

/* A constant that takes over a name where it can. Takes the reference to t. */
static int constant(struct mc_graph *g, const char *base, const char *suffix, struct mc_tensor *t,
                    struct mc_value **ret, struct mc_err *err)
{
    char name[NAME];
    snprintf(name, sizeof name, "%.900s%s", base, suffix);
    int rc = mc_constant_new(g, 0, name, t, ret, err);
    mc_tensor_unref(t);
    return rc;
}

/* A node in front of n with one output, both named after it. */
static int insert(struct mc_node *n, const char *op, const char *suffix, struct mc_value *const *in,
                  size_t n_in, struct mc_value **ret, struct mc_node **ret_node, struct mc_err *err)
{
    char name[NAME];
    const char *base = *n->name ? n->name : n->out[0]->name;
    snprintf(name, sizeof name, "%.900s%s", base, suffix);
    struct mc_value *y = mc_edit_fresh(n->graph, name);
    if (!y)
        return no_memory(err);
    *ret = y;
    return mc_edit_node(n->graph, n->pos, op, "", 0, *n->name ? name : "", in, n_in, &y, 1,
                        ret_node, err);
}

/* Positions as int32, which take half of the bytes, or less, in the file. */
static int order_of(struct mc_node *n, const char *base, const int64_t *v, int64_t count,
                    struct mc_value **ret, struct mc_err *err)
{
    struct mc_shape shape = mc_shape_of(1, &count);
    struct mc_tensor *t;
    struct mc_node *cast;
    void *data;
    bool narrow = count <= UINT16_MAX + 1;
    int rc = mc_tensor_new(narrow ? MC_DTYPE_U16 : MC_DTYPE_I32, &shape, n->graph->model->spill, &t,
                           &data, err);
    for (int64_t i = 0; !rc && i < count; i++) {
        if (narrow)
            ((uint16_t *)data)[i] = (uint16_t)v[i];
        else
            ((int32_t *)data)[i] = (int32_t)v[i];
    }
    if (!rc)
        rc = constant(n->graph, base, "_order", t, ret, err);
    if (rc || !narrow)
        return rc;
    rc = insert(n, "Cast", "_positions", (struct mc_value *[]){*ret}, 1, ret, &cast, err);
    return rc ? rc : mc_edit_attr_int(cast, "to", MC_DTYPE_I32, err);
}

/* ---- the call's constants ---- */

/* C [p, q, b] or [p, q, b, kh, kw], times alpha. */
static int columns(struct mc_graph *g, const struct mc_layer *l, const struct mc_circulant_item *it,
                   float alpha, bool sizes_only, struct mc_value **ret, struct mc_err *err)
{
    const struct mc_circulant_form *f = &it->form;
    const int64_t *w = l->weight->shape.dim;
    bool conv = l->kind == MC_LAYER_CONV;
    struct mc_shape shape =
        mc_shape_of(conv ? 5 : 3, (int64_t[]){mc_circulant_form_p(f), mc_circulant_form_q(f), f->b,
                                              conv ? w[2] : 1, conv ? w[3] : 1});
    struct mc_tensor *t;
    void *data;
    int rc = sizes_only ? mc_tensor_blank(MC_DTYPE_F32, &shape, &t, err)
                        : mc_tensor_new(MC_DTYPE_F32, &shape, g->model->spill, &t, &data, err);
    for (int64_t i = 0; !rc && !sizes_only && i < mc_circulant_form_count(f); i++)
        ((float *)data)[i] = alpha * it->col[i];
    return rc ? rc : constant(g, l->value->name, "_circulant", t, ret, err);
}

/* Bias [m], times beta; *ret NULL: there is none. */
static int bias(const struct mc_node *n, int64_t m, float beta, struct mc_value **ret,
                struct mc_err *err)
{
    struct mc_value *c = n->n_in > 2 ? n->in[2] : NULL;
    int64_t count;
    float *have;
    *ret = NULL;
    if (!c || beta == 0)
        return 0;
    const struct mc_shape *s = &mc_constant(c)->shape;
    if (beta == 1 && s->rank == 1 && s->dim[0] == m) {
        *ret = c;
        return 0;
    }
    int rc = mc_constant_f32(c, &have, &count, err);
    if (rc)
        return rc;
    struct mc_shape shape = mc_shape_of(1, &m);
    struct mc_tensor *t;
    void *data;
    rc = mc_tensor_new(MC_DTYPE_F32, &shape, NULL, &t, &data, err);
    for (int64_t i = 0; !rc && i < m; i++)
        ((float *)data)[i] = beta * (count == m ? have[i] : have[0]);
    free(have);
    return rc ? rc : constant(n->graph, c->name, "_scaled", t, ret, err);
}

/* ---- nodes ---- */

/* Inputs in another order: a Gather in front of n. */
static int turn_inputs(struct mc_node *n, const struct mc_layer *l, const int64_t *order,
                       struct mc_value **x, struct mc_err *err)
{
    struct mc_value *in[2] = {*x};
    struct mc_node *gather;
    int rc = order_of(n, l->value->name, order, l->n, &in[1], err);
    if (!rc)
        rc = insert(n, "Gather", "_order", in, 2, x, &gather, err);
    return rc ? rc : mc_edit_attr_int(gather, "axis", l->kind == MC_LAYER_CONV ? 1 : -1, err);
}

/* Of a layer's input; 0: not known. */
static int rank_of(const struct mc_layer *l, const struct mc_layer_site *s)
{
    return l->kind == MC_LAYER_GEMM ? 2 : l->kind == MC_LAYER_CONV ? 2 + SPATIAL : s->y_rank;
}

struct window {
    int64_t strides[SPATIAL], dilations[SPATIAL], pads[2 * SPATIAL];
};

static void read_pairs(const struct mc_node *n, const char *name, int64_t missing, size_t want,
                       int64_t *ret)
{
    size_t k = 0;
    const int64_t *v = mc_node_ints(n, name, &k);
    for (size_t i = 0; i < want; i++)
        ret[i] = v && k == want ? v[i] : missing;
}

/* SAME_UPPER and SAME_LOWER need to know how large the input is. */
static bool window_of(const struct mc_layer *l, const struct mc_node *n,
                      const struct mc_layer_site *s, struct window *w)
{
    if (l->kind != MC_LAYER_CONV)
        return true;
    const char *same = mc_node_string(n, "auto_pad", "NOTSET");
    read_pairs(n, "strides", 1, SPATIAL, w->strides);
    read_pairs(n, "dilations", 1, SPATIAL, w->dilations);
    read_pairs(n, "pads", 0, 2 * SPATIAL, w->pads);
    if (strncmp(same, "SAME_", 5))
        return true;
    for (int i = 0; i < SPATIAL; i++) {
        int64_t in = s->in_dim[i], k = (l->weight->shape.dim[2 + i] - 1) * w->dilations[i] + 1;
        if (in < 1)
            return false;
        int64_t out = (in + w->strides[i] - 1) / w->strides[i];
        int64_t all = (out - 1) * w->strides[i] + k - in, half;
        all = all > 0 ? all : 0;
        half = !strcmp(same, "SAME_LOWER") ? all - all / 2 : all / 2;
        w->pads[i] = half;
        w->pads[SPATIAL + i] = all - half;
    }
    return true;
}

const char *mc_circulant_unplaceable(const struct mc_layer *l, int64_t b)
{
    struct mc_circulant_form f = mc_circulant_form_of(l, b);
    struct window w;
    for (size_t i = 0; i < l->n_sites; i++) {
        if (f.channels % b && !rank_of(l, &l->sites[i]))
            return "its inputs have to be padded, and their rank is not known";
        if (!window_of(l, l->sites[i].node, &l->sites[i], &w))
            return "the padding of its window is not known";
    }
    return NULL;
}

/* The node gives way to a call with the same output. */
static int place_site(const struct mc_circulant_run *r, const struct mc_layer *l,
                      const struct mc_circulant_item *it, const struct mc_layer_site *s,
                      const struct mc_layer_site *extents, struct mc_value *c, struct mc_err *err)
{
    struct mc_node *n = s->node;
    struct mc_value *x = n->in[0], *b;
    struct window w;
    bool conv = l->kind == MC_LAYER_CONV;
    float beta = l->kind == MC_LAYER_GEMM ? mc_node_float(n, "beta", 1) : 1;
    window_of(l, n, extents, &w);
    int rc = bias(n, l->m, beta, &b, err);
    if (!rc && it->gather)
        rc = turn_inputs(n, l, it->gather, &x, err);
    if (rc)
        return rc;
    struct mc_own_circulant call = {.name = n->name,
                                    .x = x,
                                    .c = c,
                                    .bias = b,
                                    .y = n->out[0],
                                    .rank = rank_of(l, extents),
                                    .m = l->m,
                                    .n = it->form.channels,
                                    .exact = r->exact,
                                    .strides = conv ? w.strides : NULL,
                                    .pads = w.pads,
                                    .dilations = w.dilations};
    struct mc_graph *g = n->graph;
    size_t pos = n->pos;
    mc_edit_remove_node(n);
    return mc_own_circulant_call(g, pos, &call, NULL, err);
}

int mc_circulant_place(const struct mc_circulant_run *r, struct mc_model *m,
                       const struct mc_layers *layers, bool sizes_only, struct mc_err *err)
{
    int rc = 0;
    for (size_t i = 0; !rc && i < layers->n; i++) {
        const struct mc_circulant_item *it = &r->item[i];
        const struct mc_layer *l = &layers->item[i];
        struct mc_value *c;
        if (it->reason || it->form.b == 1)
            continue;
        /* one number for all sites: alpha of the first is that of all, see circulant_select.c */
        float alpha = l->kind == MC_LAYER_GEMM ? mc_node_float(l->sites[0].node, "alpha", 1) : 1;
        rc = columns(l->sites[0].node->graph, l, it, alpha, sizes_only, &c, err);
        for (size_t s = 0; !rc && s < l->n_sites; s++)
            rc = place_site(r, l, it, &l->sites[s], &r->layers.item[i].sites[s], c, err);
    }
    mc_edit_sweep(m->graph);
    return rc;
}
