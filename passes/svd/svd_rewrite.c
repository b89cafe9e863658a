#include "passes/svd/svd_rewrite.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "graph/constant.h"
#include "graph/edit.h"

enum { NAME = 1024 };

static int no_memory(struct mc_err *err)
{
    return mc_fail(err, MC_ENOMEM, "out of memory");
}

/* ---- tensors ---- */

/* The factor x [rows, cols] with row stride ld, or its transpose, as a tensor of the weight's dtype. */
static int factor(struct mc_model *m, const struct mc_layer *l, const struct mc_shape *shape,
                  const float *x, int64_t rows, int64_t cols, int64_t ld, bool transpose,
                  struct mc_tensor **ret, struct mc_err *err)
{
    if (!x)
        return mc_tensor_blank(l->weight->dtype, shape, ret, err);
    void *data;
    int rc = mc_tensor_new(l->weight->dtype, shape, m->spill, ret, &data, err);
    if (rc)
        return rc;
    int64_t lines = transpose ? cols : rows, len = transpose ? rows : cols;
    size_t line_bytes = (size_t)len * (mc_dtype_info(l->weight->dtype)->bits / 8);
    float *line = mc_calloc((size_t)len, sizeof *line);
    if (!line)
        rc = no_memory(err);
    for (int64_t i = 0; !rc && i < lines; i++) {
        for (int64_t j = 0; j < len; j++)
            line[j] = transpose ? x[j * ld + i] : x[i * ld + j];
        rc = mc_dtype_from_f32(l->weight->dtype, line, (char *)data + (size_t)i * line_bytes,
                               (size_t)len, err);
    }
    free(line);
    if (rc)
        mc_tensor_unref(*ret);
    return rc;
}

/* In front of all nodes, where it is a node itself. Takes the reference to t. */
static int constant(struct mc_graph *g, const char *base, const char *suffix, struct mc_tensor *t,
                    struct mc_value **ret, struct mc_err *err)
{
    char name[NAME];
    snprintf(name, sizeof name, "%.900s%s", base, suffix);
    int rc = mc_constant_new(g, 0, name, t, ret, err);
    mc_tensor_unref(t); /* the graph holds its own reference */
    return rc;
}

int mc_svd_factor(struct mc_model *m, const struct mc_layer *l, const struct mc_shape *shape,
                  const float *x, const char *suffix, struct mc_value **ret, struct mc_err *err)
{
    struct mc_tensor *t;
    int64_t n = mc_shape_count(shape);
    int rc = factor(m, l, shape, x, 1, n, n, false, &t, err);
    return rc ? rc : constant(l->sites[0].node->graph, l->value->name, suffix, t, ret, err);
}

/* The two constants that all sites share: `reduce` maps n to rank, `expand` rank to m. */
static int make_factors(struct mc_model *m, const struct mc_layer *l,
                        const struct mc_svd_factors *f, struct mc_value **reduce,
                        struct mc_value **expand, struct mc_err *err)
{
    struct mc_shape in = l->weight->shape, out = in;
    bool conv = l->kind == MC_LAYER_CONV;
    if (conv) {
        in.dim[0] = f->rank;
        for (int i = 1; i < out.rank; i++)
            out.dim[i] = i == 1 ? f->rank : 1;
    } else { /* the first product is a MatMul in any case */
        in = mc_shape_of(2, (int64_t[]){l->n, f->rank});
        if (l->kind == MC_LAYER_LEFT)
            in = mc_shape_of(2, (int64_t[]){f->rank, l->n});
        if (l->kind == MC_LAYER_INPUT)
            out.dim[2] = f->rank;
        else
            out = l->out_major ? mc_shape_of(2, (int64_t[]){l->m, f->rank})
                               : mc_shape_of(2, (int64_t[]){f->rank, l->m});
    }
    struct mc_graph *g = l->sites[0].node->graph;
    struct mc_tensor *t;
    bool across = !conv && l->kind != MC_LAYER_LEFT;
    int rc = factor(m, l, &in, f->b, f->rank, l->n, l->n, across, &t, err);
    if (!rc)
        rc = constant(g, l->value->name, "_reduce", t, reduce, err);
    if (!rc)
        rc = factor(m, l, &out, f->a, l->m, f->rank, f->lda, !l->out_major, &t, err);
    return rc ? rc : constant(g, l->value->name, "_expand", t, expand, err);
}

/* ---- bias ---- */

/* c [m] or of one element, or NULL, plus scale * shift: a new constant of the old one's dtype and rank. */
static int shifted(struct mc_model *m, const struct mc_layer *l, struct mc_graph *g,
                   const struct mc_value *c, const float *shift, float scale, struct mc_value **ret,
                   struct mc_err *err)
{
    const struct mc_tensor *old = c ? mc_constant(c) : NULL;
    float *have = NULL, *sum = mc_calloc((size_t)l->m, sizeof *sum);
    int64_t count = 0;
    int rc = sum ? 0 : no_memory(err);
    if (!rc && old)
        rc = mc_constant_f32(c, &have, &count, err);
    for (int64_t i = 0; !rc && i < l->m; i++)
        sum[i] = scale * shift[i] + (count == l->m ? have[i] : count == 1 ? have[0] : 0);
    struct mc_shape shape = mc_shape_of(1, &l->m);
    if (count == l->m && count > 1)
        shape = old->shape;
    struct mc_tensor *t = NULL;
    if (!rc)
        rc = mc_constant_make(sum, &shape, old ? old->dtype : l->weight->dtype, m->spill, &t, err);
    if (!rc)
        rc = constant(g, c ? c->name : l->value->name, c ? "_shifted" : "_bias", t, ret, err);
    free(have);
    free(sum);
    return rc;
}

/* A cell has a bias [directions, 2 gates h]: of its inputs, then of its states. */
static int shift_cell(struct mc_model *m, const struct mc_layer *l, const struct mc_layer_site *s,
                      const float *shift, struct mc_err *err)
{
    enum { SLOT = 3 };
    struct mc_value *b = s->node->n_in > SLOT ? s->node->in[SLOT] : NULL, *v;
    int64_t dirs = l->weight->shape.dim[0], rows = l->m / dirs, count = 2 * l->m;
    struct mc_shape shape = mc_shape_of(2, (int64_t[]){dirs, 2 * rows});
    float *sum = NULL;
    int rc = 0;
    if (b)
        rc = mc_constant_f32(b, &sum, &count, err);
    else if (!(sum = mc_calloc((size_t)count, sizeof *sum)))
        rc = no_memory(err);
    if (rc)
        return rc;
    if (count != 2 * l->m) {
        free(sum);
        return mc_fail(err, MC_ESHAPE, "%s '%s': its bias has %lld elements, must have %lld",
                       s->node->op_type, mc_node_label(s->node), (long long)count,
                       (long long)(2 * l->m));
    }
    int64_t first = l->kind == MC_LAYER_RECURRENT ? rows : 0;
    for (int64_t d = 0; d < dirs; d++)
        for (int64_t i = 0; i < rows; i++)
            sum[d * 2 * rows + first + i] += shift[d * rows + i];
    struct mc_tensor *t;
    rc = mc_constant_make(sum, &shape, l->weight->dtype, m->spill, &t, err);
    free(sum);
    if (!rc)
        rc = constant(s->node->graph, b ? b->name : l->value->name, b ? "_shifted" : "_bias", t, &v,
                      err);
    return rc ? rc : mc_edit_set_input(s->node, SLOT, v, err);
}

/* Gemm: y = alpha x Wᵀ + beta c. The shift is of x Wᵀ, so c takes alpha / beta of it. */
int mc_svd_shift_site(struct mc_model *m, const struct mc_layer *l, const struct mc_layer_site *s,
                      const float *shift, struct mc_err *err)
{
    if (l->kind == MC_LAYER_INPUT || l->kind == MC_LAYER_RECURRENT)
        return shift_cell(m, l, s, shift, err);
    struct mc_node *n = s->add ? s->add : s->node;
    size_t slot = s->add ? (size_t)s->add_slot : 2;
    struct mc_value *c = slot < n->n_in ? n->in[slot] : NULL, *v;
    float alpha = l->kind == MC_LAYER_GEMM ? mc_node_float(n, "alpha", 1) : 1;
    float beta = l->kind == MC_LAYER_GEMM ? mc_node_float(n, "beta", 1) : 1;
    int rc = 0;
    if (beta == 0) {
        c = NULL;
        beta = 1;
        rc = mc_edit_attr_float(n, "beta", 1, err);
    }
    if (!rc)
        rc = shifted(m, l, n->graph, c, shift, alpha / beta, &v, err);
    return rc ? rc : mc_edit_set_input(n, slot, v, err);
}

/* ---- nodes ---- */

/* The first convolution has the window, the second is 1x1. */
static int split_window(struct mc_node *first, struct mc_node *second, struct mc_err *err)
{
    static const char *const window[] = {"strides", "pads", "dilations", "kernel_shape"};
    int rc = 0;
    for (size_t i = 0; !rc && i < sizeof window / sizeof *window; i++) {
        size_t k;
        const int64_t *v = mc_node_ints(second, window[i], &k);
        if (!v)
            continue;
        rc = mc_edit_attr_ints(first, window[i], v, k, err);
        mc_edit_attr_remove(second, window[i]);
    }
    const char *pad = mc_node_string(second, "auto_pad", NULL);
    if (!rc && pad)
        rc = mc_edit_attr_string(first, "auto_pad", pad, err);
    mc_edit_attr_remove(second, "auto_pad");
    int64_t ones[MC_RANK_MAX];
    size_t spatial = (size_t)mc_constant(first->in[1])->shape.rank - 2;
    for (size_t i = 0; i < spatial; i++)
        ones[i] = 1;
    return rc ? rc : mc_edit_attr_ints(second, "kernel_shape", ones, spatial, err);
}

/* Rows are looked up in the first factor. The node that had the table becomes the product. */
static int rewrite_table(struct mc_node *n, struct mc_value *t, const char *name,
                         struct mc_value *reduce, struct mc_value *expand, struct mc_err *err)
{
    struct mc_node *first;
    int rc = mc_edit_node(n->graph, n->pos, "Gather", "", n->version, name,
                          (struct mc_value *[]){reduce, n->in[1]}, 2, &t, 1, &first, err);
    mc_edit_attr_remove(n, "axis");
    if (!rc)
        rc = mc_edit_op(n, "", "MatMul", (int)mc_graph_opset(n->graph, ""), err);
    if (!rc)
        rc = mc_edit_set_input(n, 0, t, err);
    return rc ? rc : mc_edit_set_input(n, 1, expand, err);
}

static int rewrite_site(const struct mc_layer *l, struct mc_node *n, struct mc_value *reduce,
                        struct mc_value *expand, struct mc_err *err)
{
    char name[NAME];
    bool conv = l->kind == MC_LAYER_CONV, left = l->kind == MC_LAYER_LEFT;
    snprintf(name, sizeof name, "%.900s_reduced", n->out[0] ? n->out[0]->name : n->name);
    struct mc_value *t = mc_edit_fresh(n->graph, name);
    if (!t)
        return no_memory(err);
    snprintf(name, sizeof name, "%.900s_reduce", n->name);
    const char *first_name = *n->name ? name : "";
    if (l->kind == MC_LAYER_TABLE)
        return rewrite_table(n, t, first_name, reduce, expand, err);
    struct mc_node *first;
    struct mc_value *in[2] = {left ? reduce : n->in[0], left ? n->in[1] : reduce};
    int rc = mc_edit_node(n->graph, n->pos, conv ? "Conv" : "MatMul", "",
                          conv || l->kind == MC_LAYER_MATMUL || left ? n->version : 0, first_name,
                          in, 2, &t, 1, &first, err);
    if (!rc && conv)
        rc = split_window(first, n, err);
    if (!rc)
        rc = mc_edit_set_input(n, 0, left ? expand : t, err);
    return rc ? rc : mc_edit_set_input(n, 1, left ? t : expand, err);
}

int mc_svd_rewrite(struct mc_model *m, const struct mc_layer *l, const struct mc_svd_factors *f,
                   struct mc_err *err)
{
    struct mc_value *reduce, *expand;
    int rc = make_factors(m, l, f, &reduce, &expand, err);
    for (size_t i = 0; !rc && i < l->n_sites; i++) {
        rc = rewrite_site(l, l->sites[i].node, reduce, expand, err);
        if (!rc && f->shift && f->shift[i])
            rc = mc_svd_shift_site(m, l, &l->sites[i], f->shift[i], err);
    }
    return rc;
}
