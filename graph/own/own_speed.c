/* From layers of a BinaryWeight to products of 8-bit integers, and back. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "graph/constant.h"
#include "graph/edit.h"
#include "graph/own/own_xnor.h"

enum { P, S };                  /* of BinaryWeight */
enum { X, FP, FS, FB, INPUTS }; /* of Binary…Fast */
enum { NAME = 256 };

static const char *const geometry[] = {"strides", "pads", "dilations"};

/* ---- which layers ---- */

struct layer {
    struct mc_node *node, *weight, *add; /* add: of a constant row behind a MatMul, or NULL */
    struct mc_value *bias;               /* or NULL */
    bool conv;
    struct mc_shape shape; /* of the weight, outputs first */
    int64_t columns;
    float alpha, beta;
};

static bool swaps(const struct mc_node *n)
{
    size_t count;
    const int64_t *perm = mc_node_ints(n, "perm", &count);
    return mc_node_is(n, "Transpose") && (!perm || (count == 2 && perm[0] == 1 && perm[1] == 0));
}

/* The BinaryWeight behind input 1; *ret_turned: a Transpose stands between. */
static struct mc_node *weight_of(const struct mc_node *n, bool *ret_turned)
{
    struct mc_node *w = n->n_in > 1 && n->in[1] ? n->in[1]->producer : NULL;
    *ret_turned = w && swaps(w);
    if (*ret_turned)
        w = w->in[0] ? w->in[0]->producer : NULL;
    const struct mc_own *own = w && !strcmp(w->op_type, "BinaryWeight") ? mc_own_find(w) : NULL;
    struct mc_err none;
    return own && !own->check(w, &none) ? w : NULL;
}

/* A constant of one number, or one for each of m outputs along the last dimension. */
static bool is_row(const struct mc_value *v, int64_t m)
{
    const struct mc_tensor *t = mc_constant(v);
    if (!t || t->dtype != MC_DTYPE_F32)
        return false;
    int64_t n = mc_shape_count(&t->shape);
    return t->shape.rank <= 2 && (n == 1 || (n == m && t->shape.dim[t->shape.rank - 1] == m));
}

static struct mc_node *adds_row(const struct mc_node *n, int64_t m, struct mc_value **ret)
{
    struct mc_value *y = n->out[0];
    struct mc_node *add = y->n_uses == 1 && !y->is_output ? y->uses[0].node : NULL;
    if (!add || y->uses[0].slot < 0 || add->graph != n->graph || !mc_node_is(add, "Add"))
        return NULL;
    struct mc_value *row = add->in[!y->uses[0].slot];
    const struct mc_tensor *t = row ? mc_constant(row) : NULL;
    if (!t || t->shape.rank > 1 || !is_row(row, m)) /* a wider one could widen the result */
        return NULL;
    *ret = row;
    return add;
}

static bool is_plain_conv(const struct mc_node *n)
{
    const char *pad = mc_node_string(n, "auto_pad", "NOTSET");
    return mc_node_int(n, "group", 1) == 1 && (!strcmp(pad, "NOTSET") || !strcmp(pad, "VALID"));
}

static bool find(struct mc_node *n, struct layer *ret)
{
    bool gemm = mc_node_is(n, "Gemm"), turned;
    size_t count;
    *ret = (struct layer){.node = n, .conv = mc_node_is(n, "Conv"), .alpha = 1, .beta = 1};
    if ((!gemm && !ret->conv && !mc_node_is(n, "MatMul")) ||
        !(ret->weight = weight_of(n, &turned)) || mc_own_dtype(ret->weight, S) != MC_DTYPE_F32 ||
        !mc_own_constant(ret->weight, P) || !mc_own_constant(ret->weight, S))
        return false;
    ret->shape = mc_own_shape(ret->weight);
    ret->columns = mc_node_ints(ret->weight, "columns", &count)[0];
    int64_t m = ret->shape.dim[0];
    bool rows = mc_shape_span(&ret->shape, 1, ret->shape.rank) == ret->columns;
    bool outputs_first = turned != (gemm && mc_node_int(n, "transB", 0) != 0);
    if (!rows ||
        (ret->conv ? turned || !is_plain_conv(n) || ret->shape.rank > 4 || ret->shape.rank < 3
                   : ret->shape.rank != 2 || !outputs_first))
        return false;
    if (gemm) {
        ret->alpha = mc_node_float(n, "alpha", 1);
        ret->beta = mc_node_float(n, "beta", 1);
    }
    ret->bias = n->n_in > 2 ? n->in[2] : NULL;
    if (mc_node_is(n, "MatMul"))
        ret->add = adds_row(n, m, &ret->bias);
    return (!gemm || !mc_node_int(n, "transA", 0)) && (!ret->bias || is_row(ret->bias, m));
}

/* ---- constants ---- */

/* [m], of convolutions [m, 1, …]. */
static struct mc_shape channels(int64_t m, const struct mc_shape *weight)
{
    struct mc_shape s = mc_shape_of(1, &m);
    for (int d = 2; d < weight->rank; d++)
        s.dim[s.rank++] = 1;
    return s;
}

/* The floats of v, times `by`, in another shape; v NULL: zeros. One number is that of all. */
static int shaped(struct mc_graph *g, size_t pos, const struct mc_value *v, const char *hint,
                  const struct mc_shape *shape, float by, struct mc_value **ret, struct mc_err *err)
{
    int64_t n = mc_shape_count(shape), has = 0;
    float *from = NULL, *to = mc_calloc((size_t)n, sizeof *to);
    struct mc_tensor *t = NULL;
    int rc = to ? 0 : mc_fail(err, MC_ENOMEM, "out of memory");
    rc = rc ? rc : v ? mc_constant_f32(v, &from, &has, err) : 0;
    for (int64_t i = 0; !rc && v && i < n; i++)
        to[i] = from[has == 1 ? 0 : i] * by;
    rc = rc ? rc : mc_constant_make(to, shape, MC_DTYPE_F32, NULL, &t, err);
    rc = rc ? rc : mc_constant_new(g, pos, v ? v->name : hint, t, ret, err);
    mc_tensor_unref(t);
    free(from);
    free(to);
    return rc;
}

/* ---- to integers ---- */

static int make_fast(const struct layer *l, struct mc_err *err)
{
    struct mc_graph *g = l->node->graph;
    struct mc_node *last = l->add ? l->add : l->node;
    struct mc_shape each = channels(l->shape.dim[0], l->conv ? &l->shape : &(struct mc_shape){0});
    struct mc_value *in[INPUTS] = {l->node->in[0], l->weight->in[P]};
    struct mc_value *was = last->out[0], *out = mc_edit_fresh(g, was->name);
    struct mc_own_layer form = {
        .columns = l->columns, .conv = l->conv ? l->node : NULL, .shape = l->shape};
    char name[NAME];
    snprintf(name, sizeof name, "%s", mc_node_label(l->node));
    int rc = out ? 0 : mc_fail(err, MC_ENOMEM, "out of memory");
    rc = rc ? rc : shaped(g, last->pos, l->weight->in[S], "", &each, l->alpha, &in[FS], err);
    rc = rc ? rc : shaped(g, last->pos, l->bias, "bias", &each, l->beta, &in[FB], err);
    rc = rc ? rc
            : mc_own_call(g, last->pos, mc_own_binary_name(l->conv, false, MC_OWN_FAST), name, in,
                          INPUTS, &out, 1, mc_own_set_layer, &form, NULL, err);
    rc = rc ? rc : mc_edit_replace_uses(was, out, err);
    if (rc)
        return rc;
    if (l->add)
        mc_edit_remove_node(l->add);
    mc_edit_remove_node(l->node);
    return 0;
}

/* ---- to floats ---- */

static int node_of(struct mc_node *call, const char *op, struct mc_value *const *in, size_t n_in,
                   struct mc_value **ret, struct mc_node **ret_node, struct mc_err *err)
{
    struct mc_value *out = mc_edit_fresh(call->graph, call->out[0]->name);
    char name[NAME];
    snprintf(name, sizeof name, "%.200s", mc_node_label(call));
    if (!out)
        return mc_fail(err, MC_ENOMEM, "out of memory");
    *ret = out;
    return mc_edit_node(call->graph, call->pos, op, "", 0, name, in, n_in, &out, 1, ret_node, err);
}

static int float_conv(struct mc_node *call, struct mc_value *w, int64_t m, struct mc_value **ret,
                      struct mc_err *err)
{
    struct mc_value *in[3] = {call->in[X], w};
    struct mc_node *conv;
    int rc = shaped(call->graph, call->pos, call->in[FB], "", &(struct mc_shape){1, {m}}, 1, &in[2],
                    err);
    rc = rc ? rc : node_of(call, "Conv", in, 3, ret, &conv, err);
    for (size_t i = 0; !rc && i < sizeof geometry / sizeof *geometry; i++) {
        size_t n;
        const int64_t *v = mc_node_ints(call, geometry[i], &n);
        rc = v ? mc_edit_attr_ints(conv, geometry[i], v, n, err) : 0;
    }
    return rc;
}

static int float_product(struct mc_node *call, struct mc_value *w, struct mc_value **ret,
                         struct mc_err *err)
{
    struct mc_value *y;
    struct mc_node *n;
    int rc = node_of(call, "Transpose", &w, 1, &y, &n, err);
    rc = rc ? rc : mc_edit_attr_ints(n, "perm", (const int64_t[]){1, 0}, 2, err);
    rc = rc ? rc : node_of(call, "MatMul", (struct mc_value *[]){call->in[X], y}, 2, &y, &n, err);
    return rc ? rc : node_of(call, "Add", (struct mc_value *[]){y, call->in[FB]}, 2, ret, &n, err);
}

static int make_exact(struct mc_node *call, bool conv, struct mc_err *err)
{
    struct mc_graph *g = call->graph;
    size_t count;
    int64_t m = mc_own_constant(call, FP)->shape.dim[0];
    struct mc_own_form form = {.columns = mc_node_ints(call, "columns", &count)[0]};
    form.shape = conv ? mc_own_shape(call) : mc_shape_of(2, (const int64_t[]){m, form.columns});
    struct mc_value *in[2] = {call->in[FP]}, *w = mc_edit_fresh(g, call->in[FP]->name), *y = NULL;
    int rc = w ? 0 : mc_fail(err, MC_ENOMEM, "out of memory");
    rc = rc ? rc
            : shaped(g, call->pos, call->in[FS], "", &(struct mc_shape){2, {m, 1}}, 1, &in[S], err);
    rc = rc ? rc
            : mc_own_call(g, call->pos, "BinaryWeight", "", in, 2, &w, 1, mc_own_set_form, &form,
                          NULL, err);
    if (!rc)
        rc = conv ? float_conv(call, w, m, &y, err) : float_product(call, w, &y, err);
    rc = rc ? rc : mc_edit_replace_uses(call->out[0], y, err);
    if (!rc)
        mc_edit_remove_node(call);
    return rc;
}

/* ---- all of a graph ---- */

static int change(struct mc_node *n, enum mc_own_speed speed, size_t *made, struct mc_err *err)
{
    struct layer l;
    struct mc_err none;
    const struct mc_own *own = NULL;
    if (speed == MC_OWN_FAST) {
        if (!find(n, &l))
            return 0;
        ++*made;
        return make_fast(&l, err);
    }
    bool conv = !strcmp(n->op_type, "BinaryConvFast");
    if (conv || !strcmp(n->op_type, "BinaryGemmFast"))
        own = mc_own_find(n);
    if (!own || own->check(n, &none) || !mc_own_constant(n, FP) || !mc_own_constant(n, FS) ||
        !mc_own_constant(n, FB))
        return 0;
    ++*made;
    return make_exact(n, conv, err);
}

int mc_own_binary_speed(struct mc_model *m, enum mc_own_speed speed, size_t *ret_n,
                        struct mc_err *err)
{
    struct mc_graph *g = m->graph;
    size_t n = g ? g->n_nodes : 0, made = 0;
    struct mc_node **list = mc_calloc(n + 1, sizeof(void *));
    int rc = list ? 0 : mc_fail(err, MC_ENOMEM, "out of memory");
    if (list && n)
        memcpy(list, g->nodes, n * sizeof(void *));
    /* An Add that went with its product is not looked at: it makes nothing of a weight. */
    for (size_t i = 0; !rc && i < n; i++)
        if (list[i]->n_out && list[i]->out[0] && !mc_node_is(list[i], "Add"))
            rc = change(list[i], speed, &made, err);
    free(list);
    if (rc)
        return rc;
    if (made) {
        mc_edit_sweep(g);
        mc_own_sweep(m);
    }
    if (ret_n)
        *ret_n = made;
    return 0;
}
