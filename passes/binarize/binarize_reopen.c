#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "graph/constant.h"
#include "graph/edit.h"
#include "graph/grad/rule.h"
#include "graph/infer.h"
#include "graph/own/own.h"
#include "passes/binarize/binarize_form.h"
#include "passes/binarize/binarize_pack.h"

enum { X, TEXT = 256 };

struct slots {                           /* inputs of a function */
    size_t threshold, bits, scale, bias; /* threshold 0: there is none */
};
static const struct slots of_signs = {1, 2, 3, 4}, of_real = {0, 1, 2, 3};

struct reopening {
    struct mc_model *m;
    const struct mc_model *given;
    const struct mc_infer *inf; /* NULL: nothing is known of ranks */
    struct mc_err *err;
};

static int no_memory(struct mc_err *err)
{
    return mc_fail(err, MC_ENOMEM, "out of memory for the training form of signs");
}

/* ---- latent weights ---- */

/* w [m,n] or, with last, [n,m] as [m,n] of this shape. */
static int turned(const struct mc_tensor *w, const struct mc_signs_of *of,
                  const struct mc_shape *shape, struct mc_spill *spill, struct mc_tensor **ret,
                  struct mc_err *err)
{
    struct mc_tensor *t;
    void *data;
    int rc = mc_tensor_new(MC_DTYPE_F32, shape, spill, &t, &data, err);
    if (rc)
        return rc;
    for (int64_t i = 0; i < of->m; i++)
        for (int64_t j = 0; j < of->n; j++)
            memcpy((float *)data + i * of->n + j,
                   w->data + (size_t)(of->last ? j * of->m + i : i * of->n + j) * sizeof(float),
                   sizeof(float));
    *ret = t;
    return 0;
}

/* Are these the signs of w? */
static int agree(const struct mc_tensor *w, const struct mc_signs_of *of,
                 const struct mc_tensor *bits, bool *ret, struct mc_err *err)
{
    struct mc_tensor *b, *s;
    int rc = mc_signs_pack("", w, of, NULL, 1, 1, &b, &s, err);
    if (rc)
        return rc;
    *ret = b->bytes == bits->bytes && !memcmp(b->data, bits->data, b->bytes);
    mc_tensor_unref(b);
    mc_tensor_unref(s);
    return 0;
}

/* The weight that `bits`, called "W.signs", were made of, if the model that was binarised has it. */
static int recall(const struct reopening *o, const struct mc_value *bits, int64_t m, int64_t n,
                  const struct mc_shape *shape, struct mc_tensor **ret, struct mc_err *err)
{
    const char *dot = strrchr(bits->name, '.');
    char name[TEXT];
    size_t len = dot ? (size_t)(dot - bits->name) : 0;
    if (!o->given || !dot || strncmp(dot, ".signs", 6) != 0 || len >= sizeof name)
        return 0;
    memcpy(name, bits->name, len);
    name[len] = 0;
    const struct mc_value *v = mc_graph_value(o->given->graph, name);
    const struct mc_tensor *w = v ? mc_constant(v) : NULL;
    if (!w || w->dtype != MC_DTYPE_F32 || mc_tensor_count(w) != m * n)
        return 0;
    for (int last = 0; last < 2; last++) {
        const struct mc_signs_of of = {.m = m, .n = n, .last = last};
        bool same = false;
        struct mc_err ignored;
        if (last && (w->shape.rank != 2 || w->shape.dim[1] != m))
            continue;
        if (agree(w, &of, mc_constant(bits), &same, &ignored) || !same)
            continue;
        return turned(w, &of, shape, o->m->spill, ret, err);
    }
    return 0;
}

/* BinarizeWeight over latent weights, before pos. */
static int open_weight(const struct reopening *o, size_t pos, const struct mc_value *bits,
                       const struct mc_value *scale, int64_t n, const struct mc_shape *shape,
                       struct mc_value **ret, struct mc_err *err)
{
    struct mc_graph *g = o->m->graph;
    const struct mc_tensor *s = mc_constant(scale);
    struct mc_tensor *t = NULL;
    struct mc_node *node;
    char label[TEXT];
    int64_t m = mc_tensor_count(s);
    const char *dot = strrchr(bits->name, '.');
    int rc = recall(o, bits, m, n, shape, &t, err);
    if (!rc && !t)
        rc = mc_signs_unpack(mc_constant(bits), s, n, shape, o->m->spill, &t, err);
    if (rc)
        return rc;
    snprintf(label, sizeof label, "%.*s", dot ? (int)(dot - bits->name) : 200, bits->name);
    struct mc_value *w = mc_edit_constant(g, label, t), *out = mc_edit_fresh(g, label);
    mc_tensor_unref(t);
    if (!w || !out)
        return no_memory(err);
    rc =
        mc_edit_node(g, pos, mc_binarize_weight, MC_GRAD_DOMAIN, 1, "", &w, 1, &out, 1, &node, err);
    rc = rc ? rc : mc_edit_attr_int(node, "outputs", m, err);
    *ret = out;
    return rc;
}

/* ---- calls ---- */

static int64_t columns_of(const struct mc_node *n)
{
    size_t count;
    const int64_t *v = mc_node_ints(n, "columns", &count);
    return count == 1 ? v[0] : 0;
}

static struct mc_shape shape_of(const struct mc_node *n)
{
    size_t count;
    const int64_t *v = mc_node_ints(n, "shape", &count);
    return count > 0 && count <= MC_RANK_MAX ? mc_shape_of((int)count, v) : (struct mc_shape){0};
}

static void drop(struct mc_node *n, struct mc_value *out)
{
    mc_edit_remove_node(n);
    if (!out->n_uses && !out->is_output)
        mc_edit_remove_value(out);
}

static int reopen_weight(const struct reopening *o, struct mc_node *n)
{
    struct mc_value *was = n->out[0], *w;
    struct mc_shape shape = shape_of(n);
    int rc = open_weight(o, n->pos, n->in[0], n->in[1], columns_of(n), &shape, &w, o->err);
    rc = rc ? rc : mc_edit_replace_uses(was, w, o->err);
    if (!rc)
        drop(n, was);
    return rc;
}

/* The product itself has the name of the call, so that the next call has it. */
/* The product itself has the name of the call, so that the next call has it. */
static int node_before(const struct reopening *o, struct mc_node *n, const char *op,
                       struct mc_value *const *in, size_t n_in, struct mc_node **ret_node,
                       struct mc_value **ret)
{
    struct mc_value *out = mc_edit_fresh(o->m->graph, n->out[0]->name);
    char label[TEXT];
    if (!out)
        return no_memory(o->err);
    bool product = !strcmp(op, "MatMul") || !strcmp(op, "Conv");
    snprintf(label, sizeof label, "%.200s%s%s", mc_node_label(n), product ? "" : "/",
             product ? "" : op);
    int rc =
        mc_edit_node(o->m->graph, n->pos, op, "", 0, label, in, n_in, &out, 1, ret_node, o->err);
    *ret = out;
    return rc;
}

/* MatMul(sign, W transposed), and the bias. */
static int reopen_gemm(const struct reopening *o, struct mc_node *n, struct mc_value *sign,
                       struct mc_value *w, struct mc_value *bias, struct mc_value **ret)
{
    static const int64_t perm[2] = {1, 0};
    struct mc_value *in[2] = {w};
    struct mc_node *node;
    int rc = node_before(o, n, "Transpose", in, 1, &node, &in[1]);
    rc = rc ? rc : mc_edit_attr_ints(node, "perm", perm, 2, o->err);
    in[0] = sign;
    rc = rc ? rc : node_before(o, n, "MatMul", in, 2, &node, ret);
    if (rc || !bias)
        return rc;
    in[0] = *ret;
    in[1] = bias;
    return node_before(o, n, "Add", in, 2, &node, ret);
}

/* [m,1,1] as [m]. */
static int flat_bias(const struct reopening *o, const struct mc_value *b, struct mc_value **ret)
{
    const struct mc_tensor *t = mc_constant(b);
    int64_t n = t ? mc_tensor_count(t) : 0;
    struct mc_shape shape = mc_shape_of(1, &n);
    struct mc_tensor *flat = NULL;
    float *x = NULL;
    if (!t)
        return mc_fail(o->err, MC_EUNSUP, "bias '%s' is no constant", b->name);
    int rc = mc_constant_f32(b, &x, &n, o->err);
    rc = rc ? rc : mc_constant_make(x, &shape, MC_DTYPE_F32, NULL, &flat, o->err);
    free(x);
    if (rc)
        return rc;
    *ret = mc_edit_constant(o->m->graph, b->name, flat);
    mc_tensor_unref(flat);
    return *ret ? 0 : no_memory(o->err);
}

static int reopen_conv(const struct reopening *o, struct mc_node *n, struct mc_value *sign,
                       struct mc_value *w, struct mc_value *bias, struct mc_value **ret)
{
    static const char *const names[] = {"strides", "pads", "dilations"};
    struct mc_value *in[3] = {sign, w};
    struct mc_node *node;
    int rc = bias ? flat_bias(o, bias, &in[2]) : 0;
    rc = rc ? rc : node_before(o, n, "Conv", in, bias ? 3 : 2, &node, ret);
    for (size_t i = 0; i < 3 && !rc; i++) {
        size_t count;
        const int64_t *v = mc_node_ints(n, names[i], &count);
        if (v && count)
            rc = mc_edit_attr_ints(node, names[i], v, count, o->err);
    }
    return rc;
}

static int reopen_product(const struct reopening *o, struct mc_node *n, bool conv,
                          const struct slots *at)
{
    struct mc_value *was = n->out[0], *w, *x = n->in[X], *y;
    struct mc_value *bias = n->n_in > at->bias ? n->in[at->bias] : NULL;
    int64_t k = columns_of(n), m = mc_tensor_count(mc_constant(n->in[at->scale]));
    const int64_t dims[2] = {m, k};
    struct mc_shape shape = conv ? shape_of(n) : mc_shape_of(2, dims);
    const struct mc_vtype *t = o->inf ? mc_infer_of(o->inf, x) : NULL;
    int rank = conv ? shape.rank : t && t->ranked ? t->shape.rank : 0;
    int rc = open_weight(o, n->pos, n->in[at->bits], n->in[at->scale], k, &shape, &w, o->err);
    if (!rc && at->threshold)
        rc = mc_binarize_signs(o->m->graph, n->pos, mc_node_label(n), x, rank, conv,
                               mc_constant(n->in[at->threshold]), conv ? shape.dim[1] : k,
                               !o->given, &x, o->err);
    else if (!rc)
        rc = mc_edit_attr_int(w->producer, "fast", 1, o->err);
    if (!rc)
        rc = conv ? reopen_conv(o, n, x, w, bias, &y) : reopen_gemm(o, n, x, w, bias, &y);
    rc = rc ? rc : mc_edit_replace_uses(was, y, o->err);
    if (!rc)
        drop(n, was);
    return rc;
}

enum kind { OTHER, WEIGHT, SIGNS_GEMM, SIGNS_CONV, REAL_GEMM, REAL_CONV };

static enum kind kind_of(const struct mc_node *n)
{
    static const char *const names[] = {"BinaryWeight", "XnorGemm", "XnorConv", "BinaryGemmFast",
                                        "BinaryConvFast"};
    const struct mc_own *own = strcmp(n->domain, MC_OWN_DOMAIN) ? NULL : mc_own_find(n);
    for (size_t i = 0; own && i < sizeof names / sizeof *names; i++)
        if (!strcmp(own->name, names[i]))
            return (enum kind)(i + 1);
    return OTHER;
}

/* All but the input are constants of types and shapes that fit: what is computed elsewhere stays a call. */
static int can_open(const struct mc_node *n, bool *ret, struct mc_err *err)
{
    size_t first = kind_of(n) == WEIGHT ? 0 : 1;
    *ret = kind_of(n) != OTHER;
    for (size_t i = first; i < n->n_in && *ret; i++)
        *ret = !n->in[i] || mc_constant(n->in[i]);
    return *ret ? mc_own_check(n, err) : 0;
}

static int reopen_node(const struct reopening *o, struct mc_node *n, enum kind kind)
{
    if (kind == WEIGHT)
        return reopen_weight(o, n);
    return reopen_product(o, n, kind == SIGNS_CONV || kind == REAL_CONV,
                          kind == SIGNS_GEMM || kind == SIGNS_CONV ? &of_signs : &of_real);
}

int mc_binarize_reopen(struct mc_model *m, const struct mc_model *given, struct mc_err *err)
{
    struct mc_graph *g = m->graph;
    struct mc_infer *inf = NULL;
    size_t n = g->n_nodes, many = 0;
    int rc = 0;
    struct mc_node **list = mc_calloc(n + 1, sizeof *list);
    struct mc_err ignored;
    if (!list)
        return no_memory(err);
    for (size_t i = 0; i < n && !rc; i++) {
        bool can;
        rc = can_open(g->nodes[i], &can, err);
        if (!rc && can)
            list[many++] = g->nodes[i];
    }
    if (many && mc_infer_run(g, NULL, &inf, &ignored) == MC_ENOMEM)
        rc = no_memory(err);
    struct reopening o = {m, given, inf, err};
    for (size_t i = 0; i < many && !rc; i++)
        rc = reopen_node(&o, list[i], kind_of(list[i]));
    mc_infer_free(inf);
    free(list);
    if (many && given && !rc)
        rc = mc_binarize_norms(g, err);
    if (many && !rc) {
        mc_edit_sweep(g);
        mc_own_sweep(m);
    }
    return rc;
}
