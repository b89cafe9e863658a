#include "passes/binarize/binarize_form.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "graph/constant.h"
#include "graph/edit.h"
#include "graph/grad/rule.h"
#include "passes/binarize/binarize_product.h"

enum { BATCHNORM_VERSION = 15, RESHAPE_VERSION = 14, SHAPE_VERSION = 15, TEXT = 256 };

static int no_memory(struct mc_err *err)
{
    return mc_fail(err, MC_ENOMEM, "out of memory for the training form of signs");
}

bool mc_binarize_is(const struct mc_node *n, const char *op)
{
    return n && !strcmp(n->op_type, op) && !strcmp(n->domain, MC_GRAD_DOMAIN);
}

/* ---- nodes ---- */

struct maker { /* nodes one behind the other, before `pos`, named after `name` */
    struct mc_graph *g;
    size_t pos;
    const char *name;
    struct mc_err *err;
};

static int make(struct maker *k, const char *op, const char *domain, int version,
                struct mc_value *const *in, size_t n_in, struct mc_node **ret_node,
                struct mc_value **ret)
{
    char label[TEXT];
    snprintf(label, sizeof label, "%.200s/%s", k->name, op);
    struct mc_value *out = mc_edit_fresh(k->g, label);
    if (!out)
        return no_memory(k->err);
    int rc =
        mc_edit_node(k->g, k->pos, op, domain, version, label, in, n_in, &out, 1, ret_node, k->err);
    if (!rc) {
        k->pos++;
        *ret = out;
    }
    return rc;
}

/* n numbers x, as an initializer. */
static int numbers(struct maker *k, const char *what, const float *x, int64_t n,
                   struct mc_value **ret)
{
    char label[TEXT];
    struct mc_tensor *t;
    struct mc_shape shape = mc_shape_of(1, &n);
    snprintf(label, sizeof label, "%.200s/%s", k->name, what);
    int rc = mc_constant_make(x, &shape, MC_DTYPE_F32, NULL, &t, k->err);
    if (rc)
        return rc;
    *ret = mc_edit_constant(k->g, label, t);
    mc_tensor_unref(t);
    return *ret ? 0 : no_memory(k->err);
}

static int shape_constant(struct maker *k, int64_t channels, struct mc_value **ret)
{
    const int64_t two = 2, dims[2] = {-1, channels};
    struct mc_shape shape = mc_shape_of(1, &two);
    struct mc_tensor *t;
    void *data;
    int rc = mc_tensor_new(MC_DTYPE_I64, &shape, NULL, &t, &data, k->err);
    if (rc)
        return rc;
    memcpy(data, dims, sizeof dims);
    *ret = mc_edit_constant(k->g, "rows", t);
    mc_tensor_unref(t);
    return *ret ? 0 : no_memory(k->err);
}

/* ---- signs ---- */

/* (x - mean) / deviation: of this mean, and a variance that makes the deviation 1. */
static int normalise(struct maker *k, const float *mean, int64_t channels, struct mc_value **x)
{
    struct mc_value *in[5] = {*x};
    struct mc_node *n;
    float *ones = mc_calloc((size_t)channels + 1, 3 * sizeof *ones);
    if (!ones)
        return no_memory(k->err);
    float *zeros = ones + channels, *vars = zeros + channels;
    for (int64_t i = 0; i < channels; i++) {
        ones[i] = 1;
        vars[i] = 1 - 1e-5F; /* epsilon is added */
    }
    int rc = numbers(k, "norm.scale", ones, channels, &in[1]);
    rc = rc ? rc : numbers(k, "norm.bias", zeros, channels, &in[2]);
    rc = rc ? rc : numbers(k, "norm.mean", mean, channels, &in[3]);
    rc = rc ? rc : numbers(k, "norm.var", vars, channels, &in[4]);
    free(ones);
    return rc ? rc : make(k, "BatchNormalization", "", BATCHNORM_VERSION, in, 5, &n, x);
}

static int subtract(struct maker *k, const float *by, int64_t channels, int behind,
                    struct mc_value **x)
{
    struct mc_value *in[2] = {*x};
    struct mc_shape shape = mc_shape_of(1, &channels);
    struct mc_tensor *t;
    struct mc_node *n;
    char label[TEXT];
    for (int i = 0; i < behind; i++)
        shape.dim[shape.rank++] = 1;
    snprintf(label, sizeof label, "%.200s/threshold", k->name);
    int rc = mc_constant_make(by, &shape, MC_DTYPE_F32, NULL, &t, k->err);
    if (rc)
        return rc;
    in[1] = mc_edit_constant(k->g, label, t);
    mc_tensor_unref(t);
    return in[1] ? make(k, "Sub", "", RESHAPE_VERSION, in, 2, &n, x) : no_memory(k->err);
}

/* [.., channels] as [rows, channels], of which BatchNormalization takes the second. */
static int flatten(struct maker *k, int64_t channels, struct mc_value **x,
                   struct mc_value **ret_was)
{
    struct mc_value *in[2] = {*x};
    struct mc_node *n;
    int rc = make(k, "Shape", "", SHAPE_VERSION, in, 1, &n, ret_was);
    rc = rc ? rc : shape_constant(k, channels, &in[1]);
    return rc ? rc : make(k, "Reshape", "", RESHAPE_VERSION, in, 2, &n, x);
}

int mc_binarize_signs(struct mc_graph *g, size_t pos, const char *name, struct mc_value *x,
                      int rank, bool images, const struct mc_tensor *threshold, int64_t channels,
                      bool fixed, struct mc_value **ret, struct mc_err *err)
{
    struct maker k = {g, pos, name, err};
    struct mc_value *was = NULL;
    struct mc_node *n;
    int64_t given = threshold ? mc_tensor_count(threshold) : 0;
    float *at = mc_calloc((size_t)channels + 1, sizeof *at);
    int rc = at ? 0 : no_memory(err);
    if (!rc && given > 1 && given != channels)
        rc = mc_fail(err, MC_ESHAPE, "'%s': %lld thresholds for %lld channels", name,
                     (long long)given, (long long)channels);
    if (!rc && given)
        rc = mc_dtype_to_f32((int)threshold->dtype, threshold->data, at, (size_t)given, err);
    for (int64_t i = 1; i < channels && !rc && given == 1; i++)
        at[i] = at[0];
    bool flat = !rc && !fixed && !images && rank != 2;
    if (flat)
        rc = flatten(&k, channels, &x, &was);
    if (!rc)
        rc = fixed ? subtract(&k, at, channels, images ? rank - 2 : 0, &x)
                   : normalise(&k, at, channels, &x);
    free(at);
    rc = rc ? rc : make(&k, mc_binarize_sign, MC_GRAD_DOMAIN, 1, &x, 1, &n, &x);
    if (!rc && flat) {
        struct mc_value *in[2] = {x, was};
        rc = make(&k, "Reshape", "", RESHAPE_VERSION, in, 2, &n, &x);
    }
    if (!rc)
        *ret = x;
    return rc;
}

/* ---- Relu ---- */

static bool passes_on(const struct mc_node *n)
{
    static const char *const names[] = {"MaxPool",  "Flatten",   "Reshape", "Squeeze",
                                        "Identity", "Unsqueeze", "Dropout", "Transpose"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (mc_node_is(n, names[i]))
            return true;
    return false;
}

static bool is_alone(const struct mc_value *v)
{
    return v->n_uses == 1 && !v->is_output && v->uses[0].slot >= 0;
}

/* The Relu in front of input 0 of a node, which nothing else sees. */
static struct mc_node *relu_before(const struct mc_node *n)
{
    struct mc_value *v = n->in[0];
    while (v && v->producer && is_alone(v) && passes_on(v->producer))
        v = v->producer->in[0];
    return v && v->producer && is_alone(v) && mc_node_is(v->producer, "Relu") ? v->producer : NULL;
}

static int drop_relu(struct mc_node *n, struct mc_err *err)
{
    struct mc_node *relu = relu_before(n);
    if (!relu)
        return 0;
    struct mc_value *out = relu->out[0], *x = relu->in[0];
    struct mc_use use = out->uses[0];
    int rc = mc_edit_set_input(use.node, (size_t)use.slot, x, err);
    if (!rc) {
        mc_edit_remove_node(relu);
        mc_edit_remove_value(out);
    }
    return rc;
}

/* ---- layers ---- */

static int64_t channels_of(const struct mc_layer *l)
{
    return l->kind == MC_LAYER_CONV ? l->weight->shape.dim[1] : l->n;
}

/* x around the layer: behind its bias. */
static int add_shortcut(const struct mc_layer_site *s, struct mc_value *x, struct mc_err *err)
{
    struct mc_graph *g = s->node->graph;
    struct mc_node *last = s->add ? s->add : s->node, *add;
    struct mc_value *y = last->out[0], *in[2] = {y, x}, *out;
    struct maker k = {g, last->pos + 1, mc_node_label(s->node), err};
    int rc = make(&k, "Add", "", 0, in, 2, &add, &out);
    rc = rc ? rc : mc_edit_replace_uses(y, out, err);
    return rc ? rc : mc_edit_set_input(add, 0, y, err);
}

static int open_site(const struct mc_binarize_layer *b, const struct mc_layer_site *s,
                     struct mc_err *err)
{
    const struct mc_layer *l = b->of;
    struct mc_value *sign, *x;
    bool conv = l->kind == MC_LAYER_CONV;
    int rank = conv ? l->weight->shape.rank : l->kind == MC_LAYER_GEMM ? 2 : s->y_rank;
    int rc = drop_relu(s->node, err);
    x = s->node->in[0];
    rc = rc ? rc
            : mc_binarize_signs(s->node->graph, s->node->pos, mc_node_label(s->node), x, rank, conv,
                                NULL, channels_of(l), false, &sign, err);
    rc = rc ? rc : mc_edit_set_input(s->node, 0, sign, err);
    return rc || !b->around ? rc : add_shortcut(s, x, err);
}

int mc_binarize_open(struct mc_model *m, const struct mc_binarize_layer *b, struct mc_err *err)
{
    const struct mc_layer *l = b->of;
    struct mc_node *first = l->sites[0].node, *n;
    struct mc_value *v = l->value, *out;
    struct mc_graph *g = m->graph;
    size_t slot = mc_layer_weight_slot(l);
    for (size_t s = 1; s < l->n_sites; s++)
        if (l->sites[s].node->pos < first->pos)
            first = l->sites[s].node;
    struct maker k = {g, first->pos, v->name, err};
    int rc = make(&k, mc_binarize_weight, MC_GRAD_DOMAIN, 1, &v, 1, &n, &out);
    rc = rc ? rc : mc_edit_attr_int(n, "outputs", l->m, err);
    if (!rc && !l->out_major)
        rc = mc_edit_attr_int(n, "last", 1, err);
    if (!rc && b->fast)
        rc = mc_edit_attr_int(n, "fast", 1, err);
    for (size_t s = 0; s < l->n_sites && !rc; s++) {
        rc = mc_edit_set_input(l->sites[s].node, slot, out, err);
        if (!rc && !b->real)
            rc = open_site(b, &l->sites[s], err);
    }
    return rc;
}

/* ---- norms of outputs ---- */

/* Does all of v reach a BatchNormalization, which makes its scale one, before anything is added to it? */
static bool is_normalised(const struct mc_value *v)
{
    while (is_alone(v)) {
        const struct mc_node *n = v->uses[0].node;
        if (mc_node_is(n, "BatchNormalization"))
            return true;
        if (!passes_on(n) && !mc_node_is(n, "Relu"))
            return false;
        v = n->out[0];
    }
    return false;
}

static int norm_behind(const struct mc_sign_product *p, struct mc_err *err)
{
    struct mc_node *last = mc_sign_product_last(p), *norm;
    struct mc_value *y = last->out[0], *out = y;
    int64_t m = mc_node_int(p->w, "outputs", 0);
    struct maker k = {last->graph, last->pos + 1, mc_node_label(p->node), err};
    float *zeros = mc_calloc((size_t)m + 1, sizeof *zeros);
    if (!zeros)
        return no_memory(err);
    int rc = normalise(&k, zeros, m, &out);
    free(zeros);
    norm = rc ? NULL : out->producer;
    rc = rc ? rc : mc_edit_replace_uses(y, out, err);
    return rc ? rc : mc_edit_set_input(norm, 0, y, err);
}

int mc_binarize_norms(struct mc_graph *g, struct mc_err *err)
{
    size_t n = g->n_nodes;
    int rc = 0;
    struct mc_node **list = mc_calloc(n + 1, sizeof *list);
    if (!list)
        return no_memory(err);
    memcpy(list, g->nodes, n * sizeof *list);
    for (size_t i = 0; i < n && !rc; i++) {
        struct mc_sign_product p;
        bool found = mc_sign_product_find(list[i], &p) && p.sign;
        bool wide = found && mc_node_is(p.node, "MatMul") && p.reshaped;
        if (found && !wide && !is_normalised(mc_sign_product_last(&p)->out[0]))
            rc = norm_behind(&p, err);
    }
    free(list);
    return rc;
}
