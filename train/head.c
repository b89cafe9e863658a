#include "train/head.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/mem.h"
#include "graph/constant.h"
#include "graph/edit.h"
#include "graph/infer.h"
#include "train/reinit.h"

enum { STEPS = 32, SIDES = 8 };

struct head {
    struct mc_model *m;
    struct mc_value *output;
    struct mc_node *layer;
    struct mc_node *bias;         /* the Add that brings MatMul's bias, or NULL */
    struct mc_node *after[STEPS]; /* from the layer's result to the output, in no order */
    int n_after;
    int64_t before, classes, inputs;
};

/* ---- finding it ---- */

static int pick_output(const struct mc_graph *g, const char *name, struct mc_value **ret,
                       struct mc_err *err)
{
    *ret = NULL;
    for (size_t i = 0; name && i < g->n_outputs; i++)
        if (!strcmp(g->outputs[i]->name, name))
            *ret = g->outputs[i];
    if (name && !*ret)
        return mc_fail(err, MC_EUSAGE, "the model has no output '%s'", name);
    if (*ret)
        return 0;
    struct mc_infer *inf;
    int rc = mc_infer_run(g, NULL, &inf, err);
    if (rc)
        return rc;
    for (size_t i = 0; !*ret && i < g->n_outputs; i++) {
        const struct mc_vtype *t = mc_infer_of(inf, g->outputs[i]);
        if (t->ranked && t->shape.rank == 2)
            *ret = g->outputs[i];
    }
    mc_infer_free(inf);
    if (!*ret && g->n_outputs)
        *ret = g->outputs[0];
    return *ret ? 0 : mc_fail(err, MC_EUNSUP, "--head: the model has no output");
}

/* Does the node give each class its own result, from input 0 on? */
static bool passes_classes(const struct mc_node *n)
{
    static const char *const names[] = {"Softmax",
                                        "LogSoftmax",
                                        "Sigmoid",
                                        "Identity",
                                        "Cast",
                                        "Dropout",
                                        "Flatten",
                                        "Reshape",
                                        "Squeeze",
                                        "Unsqueeze",
                                        "Relu",
                                        "LeakyRelu",
                                        "Clip",
                                        "Tanh",
                                        "HardSigmoid",
                                        "HardSwish",
                                        "Elu",
                                        "Softplus",
                                        "GlobalAveragePool",
                                        "GlobalMaxPool",
                                        "AveragePool",
                                        "MaxPool",
                                        "ReduceMean",
                                        "Log",
                                        "Exp",
                                        "Neg"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (mc_node_is(n, names[i]))
            return true;
    return false;
}

static bool is_layer(const struct mc_node *n)
{
    return mc_node_is(n, "Gemm") || mc_node_is(n, "MatMul") || mc_node_is(n, "Conv");
}

/* The product that an Add of a constant follows. */
static struct mc_node *biased(const struct mc_node *add)
{
    for (size_t i = 0; mc_node_is(add, "Add") && i < 2; i++) {
        struct mc_node *p = add->in[i]->producer;
        if (p && mc_node_is(p, "MatMul") && mc_constant(add->in[1 - i]))
            return p;
    }
    return NULL;
}

static int find_layer(struct head *h, struct mc_err *err)
{
    struct mc_value *v = h->output;
    while (h->n_after < STEPS) {
        struct mc_node *n = v->producer;
        if (!n)
            return mc_fail(err, MC_EUNSUP, "--head: output '%s' is made by no Gemm, MatMul or Conv",
                           h->output->name);
        if (is_layer(n)) {
            h->layer = n;
            return 0;
        }
        if ((h->layer = biased(n))) {
            h->bias = n;
            return 0;
        }
        if (!passes_classes(n))
            return mc_fail(err, MC_EUNSUP,
                           "--head: output '%s' comes from %s '%s'; only a Gemm, MatMul or Conv "
                           "can be replaced",
                           h->output->name, n->op_type, mc_node_label(n));
        h->after[h->n_after++] = n;
        v = n->in[0];
    }
    return mc_fail(err, MC_EUNSUP,
                   "--head: no Gemm, MatMul or Conv among the last %d nodes before "
                   "output '%s'",
                   STEPS, h->output->name);
}

/* ---- replacing it ---- */

/* A fresh constant in place of input `slot` of node n: the old one with dimension `axis` of another length. */
static int renew(struct head *h, struct mc_node *n, size_t slot, int axis, uint64_t seed,
                 uint64_t stream, struct mc_err *err)
{
    const struct mc_tensor *old = mc_constant(n->in[slot]);
    struct mc_shape s = old->shape;
    struct mc_tensor *t;
    struct mc_value *v;
    s.dim[axis] = h->classes;
    int rc =
        mc_reinit_uniform(h->m, &s, old->dtype, 1 / sqrt((double)h->inputs), seed, stream, &t, err);
    if (rc)
        return rc;
    rc = mc_constant_new(n->graph, n->pos, n->in[slot]->name, t, &v, err);
    mc_tensor_unref(t);
    return rc ? rc : mc_edit_set_input(n, slot, v, err);
}

/* Axis of a weight that counts classes, and how many inputs each of them has. */
static int weight_axis(struct head *h, int *ret, struct mc_err *err)
{
    struct mc_node *n = h->layer;
    const struct mc_tensor *w = n->n_in > 1 && n->in[1] ? mc_constant(n->in[1]) : NULL;
    const char *why = NULL;
    if (!w)
        why = "its weight is no constant";
    else if (mc_dtype_info(w->dtype)->kind != MC_KIND_FLOAT)
        why = "its weight holds no floats";
    else if (mc_node_is(n, "Conv") ? w->shape.rank < 3 : w->shape.rank != 2)
        why = "its weight is no matrix";
    else if (mc_node_is(n, "Conv") && mc_node_int(n, "group", 1) != 1)
        why = "it has groups";
    if (why)
        return mc_fail(err, MC_EUNSUP, "--head: %s '%s' cannot be replaced: %s", n->op_type,
                       mc_node_label(n), why);
    *ret = mc_node_is(n, "Conv") || (mc_node_is(n, "Gemm") && mc_node_int(n, "transB", 0)) ? 0 : 1;
    h->before = w->shape.dim[*ret];
    h->inputs = mc_shape_count(&w->shape) / (h->before ? h->before : 1);
    if (!h->before || !h->inputs)
        return mc_fail(err, MC_EUNSUP, "--head: %s '%s' cannot be replaced: its weight is empty",
                       n->op_type, mc_node_label(n));
    return 0;
}

/* The bias: input `slot` of n; its last dimension counts classes, or it is one number for all. */
static int renew_bias(struct head *h, struct mc_node *n, size_t slot, uint64_t seed,
                      struct mc_err *err)
{
    const struct mc_tensor *b = mc_constant(n->in[slot]);
    if (!b)
        return mc_fail(err, MC_EUNSUP, "--head: the bias of '%s' is no constant",
                       mc_node_label(h->layer));
    if (b->shape.rank && b->shape.dim[b->shape.rank - 1] == h->before)
        return renew(h, n, slot, b->shape.rank - 1, seed, 1, err);
    if (mc_shape_count(&b->shape) == 1)
        return 0;
    return mc_fail(err, MC_EUNSUP, "--head: the bias of '%s' does not end in its %lld classes",
                   mc_node_label(h->layer), (long long)h->before);
}

/* A shape that names the number of classes names the new one. */
static int correct_reshape(struct head *h, struct mc_node *n, struct mc_err *err)
{
    int64_t dims[SIDES];
    int rank = mc_constant_ints(n->in[1], dims, SIDES), at = -1;
    for (int i = rank - 1; i >= 0 && at < 0; i--)
        if (dims[i] == h->before)
            at = i;
    if (rank < 0)
        return mc_fail(err, MC_EUNSUP, "--head: the shape of Reshape '%s' is no constant",
                       mc_node_label(n));
    if (at < 0)
        return 0;
    dims[at] = h->classes;
    struct mc_shape s = mc_shape_of(1, (const int64_t[]){rank});
    struct mc_tensor *t;
    struct mc_value *v;
    void *data;
    int rc = mc_tensor_new(MC_DTYPE_I64, &s, NULL, &t, &data, err);
    if (rc)
        return rc;
    memcpy(data, dims, (size_t)rank * sizeof *dims);
    rc = mc_constant_new(n->graph, n->pos, n->in[1]->name, t, &v, err);
    mc_tensor_unref(t);
    return rc ? rc : mc_edit_set_input(n, 1, v, err);
}

/* Declared shapes: an inner one is dropped, an output's gets the new length. */
static bool correct_type(const struct head *h, struct mc_value *v)
{
    const struct mc_type *t = &v->type;
    struct mc_dim dims[MC_RANK_MAX];
    if (!v->is_output)
        return mc_edit_type(v, MC_DTYPE_NONE, -1, NULL);
    if (t->kind != MC_TYPE_TENSOR || !t->ranked || t->rank < 1 || t->rank > MC_RANK_MAX)
        return true;
    int at = mc_node_is(h->layer, "Conv") && t->rank > 1 ? 1 : t->rank - 1;
    memcpy(dims, t->dim, (size_t)t->rank * sizeof *dims);
    if (dims[at].value < 0 || dims[at].value == h->before)
        dims[at] = (struct mc_dim){h->classes, NULL};
    return mc_edit_type(v, t->dtype, t->rank, dims);
}

static int correct_types(const struct head *h, struct mc_err *err)
{
    bool ok = correct_type(h, h->layer->out[0]);
    if (ok && h->bias)
        ok = correct_type(h, h->bias->out[0]);
    for (int i = 0; i < h->n_after && ok; i++)
        ok = correct_type(h, h->after[i]->out[0]);
    return ok ? 0 : mc_fail(err, MC_ENOMEM, "out of memory");
}

static int report(const struct head *h, json_t **ret, struct mc_err *err)
{
    bool ok = true;
    json_t *o = json_object();
    mc_json_put(o, "node", mc_json_text(mc_node_label(h->layer)), &ok);
    mc_json_put(o, "op", json_string(h->layer->op_type), &ok);
    mc_json_put(o, "inputs", json_integer(h->inputs), &ok);
    mc_json_put(o, "classes_before", json_integer(h->before), &ok);
    mc_json_put(o, "classes", json_integer(h->classes), &ok);
    if (!ok) {
        json_decref(o);
        return mc_fail(err, MC_ENOMEM, "out of memory");
    }
    *ret = o;
    return 0;
}

int mc_head_replace(struct mc_model *m, int64_t classes, const char *output, uint64_t seed,
                    json_t **ret_report, struct mc_err *err)
{
    struct head h = {.m = m, .classes = classes};
    int axis = 0, rc = pick_output(m->graph, output, &h.output, err);
    if (!rc)
        rc = find_layer(&h, err);
    if (!rc)
        rc = weight_axis(&h, &axis, err);
    if (!rc)
        rc = renew(&h, h.layer, 1, axis, seed, 0, err);
    if (!rc && !mc_node_is(h.layer, "MatMul") && h.layer->n_in > 2 && h.layer->in[2])
        rc = renew_bias(&h, h.layer, 2, seed, err);
    if (!rc && h.bias)
        rc = renew_bias(&h, h.bias, h.bias->in[0]->producer == h.layer ? 1 : 0, seed, err);
    for (int i = 0; !rc && i < h.n_after; i++)
        if (mc_node_is(h.after[i], "Reshape"))
            rc = correct_reshape(&h, h.after[i], err);
    if (!rc)
        rc = correct_types(&h, err);
    if (!rc) {
        mc_edit_sweep(m->graph);
        rc = report(&h, ret_report, err);
    }
    return rc;
}
