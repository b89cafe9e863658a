/* Codebook and indices in place of a weight: W = SharedWeight(I, D), times a scale for each row where there is one. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "graph/constant.h"
#include "graph/edit.h"
#include "graph/own/own.h"
#include "graph/own/own_shared.h"
#include "passes/share/share_run.h"

struct place {
    struct mc_share_run *r;
    struct mc_model *m;
    const struct mc_share_weight *from, *to; /* in the run, in m */
    const struct mc_share_point *at;
    int bits;
    bool sizes_only;
    struct mc_value *base; /* what holds the content in m */
};

static int no_memory(struct mc_err *err)
{
    return mc_fail(err, MC_ENOMEM, "out of memory for codebooks");
}

/* ---- tensors ---- */

static int tensor(const struct place *p, enum mc_dtype dtype, const struct mc_shape *shape,
                  struct mc_tensor **ret, void **ret_data, struct mc_err *err)
{
    *ret_data = NULL;
    return p->sizes_only ? mc_tensor_blank(dtype, shape, ret, err)
                         : mc_tensor_new(dtype, shape, p->m->spill, ret, ret_data, err);
}

static int constant(const struct place *p, const char *suffix, struct mc_tensor *t,
                    struct mc_value **ret, struct mc_err *err)
{
    char name[1024];
    snprintf(name, sizeof name, "%.900s%s", p->base->name, suffix);
    *ret = mc_edit_constant(p->base->graph, name, t);
    mc_tensor_unref(t);
    return *ret ? 0 : no_memory(err);
}

/* Indices in the order in which the file has the weights. */
static void in_order(const struct place *p, uint8_t *index)
{
    int64_t m = p->to->m, n = p->to->n;
    const uint8_t *from = p->at->code->index;
    for (int64_t i = 0; i < m; i++)
        for (int64_t j = 0; j < n; j++)
            index[p->to->out_major ? i * n + j : j * m + i] = from[i * n + j];
}

static int make_indices(const struct place *p, struct mc_value **ret, struct mc_err *err)
{
    bool planes = mc_share_planes(p->bits);
    int64_t count = p->to->m * p->to->n, packed = mc_own_index_bytes(p->bits, planes, count);
    struct mc_shape shape =
        planes ? mc_shape_of(2, (int64_t[]){p->bits, packed / p->bits}) : mc_shape_of(1, &packed);
    struct mc_tensor *t;
    void *data;
    int rc = tensor(p, MC_DTYPE_U8, &shape, &t, &data, err);
    if (!rc && data) {
        uint8_t *index = mc_calloc((size_t)count + 1, 1);
        if (index) {
            in_order(p, index);
            mc_own_index_pack(index, p->bits, planes, count, data);
        } else {
            rc = no_memory(err);
            mc_tensor_unref(t);
        }
        free(index);
    }
    return rc ? rc : constant(p, "_index", t, ret, err);
}

static int make_floats(const struct place *p, const char *suffix, const struct mc_shape *shape,
                       const float *x, struct mc_value **ret, struct mc_err *err)
{
    struct mc_tensor *t;
    void *data;
    int rc = tensor(p, MC_DTYPE_F32, shape, &t, &data, err);
    if (!rc && data)
        memcpy(data, x, (size_t)mc_shape_count(shape) * sizeof *x);
    return rc ? rc : constant(p, suffix, t, ret, err);
}

/* ---- nodes ---- */

static int add_node(const struct place *p, size_t *pos, const char *op, struct mc_value *const *in,
                    size_t n_in, struct mc_value **x, struct mc_node **ret, struct mc_err *err)
{
    struct mc_value *out = mc_edit_fresh(p->base->graph, p->base->name);
    if (!out)
        return no_memory(err);
    int rc = mc_edit_node(p->base->graph, (*pos)++, op, "", 0, "", in, n_in, &out, 1, ret, err);
    *x = out;
    return rc;
}

/* Rows of the matrix lie along the first axes of the tensor, or the last. */
static int scale(const struct place *p, size_t *pos, struct mc_value **x, struct mc_err *err)
{
    struct mc_shape shape = p->to->tensor->shape;
    struct mc_value *in[2] = {*x};
    struct mc_node *node;
    int64_t rows = 1;
    for (int i = 0; i < shape.rank; i++)
        if (p->to->out_major) {
            if (rows == p->to->m)
                shape.dim[i] = 1;
            rows *= shape.dim[i];
        } else if (i + 1 < shape.rank) {
            shape.dim[i] = 1;
        }
    int rc = make_floats(p, "_scale", &shape, p->at->code ? p->at->code->scale : NULL, &in[1], err);
    return rc ? rc : add_node(p, pos, "Mul", in, 2, x, &node, err);
}

static int replace(const struct place *p, struct mc_err *err)
{
    struct mc_shape entries = mc_shape_of(1, (int64_t[]){(int64_t)1 << p->bits});
    struct mc_value *in[2], *x = mc_edit_fresh(p->base->graph, p->base->name);
    struct mc_own_form form = {
        .shape = p->to->tensor->shape, .count = p->to->m * p->to->n, .bits = p->bits};
    struct mc_node *node;
    size_t pos = p->base->producer ? p->base->producer->pos + 1 : 0;
    int rc = x ? make_indices(p, &in[0], err) : no_memory(err);
    if (!rc)
        rc = make_floats(p, "_codebook", &entries, p->at->code ? p->at->code->entry : NULL, &in[1],
                         err);
    if (!rc)
        rc = mc_own_call(p->base->graph, pos,
                         mc_share_planes(p->bits) ? "SharedPlanes" : "SharedWeight", "", in, 2, &x,
                         1, mc_own_set_form, &form, &node, err);
    if (rc)
        return rc;
    pos = node->pos + 1;
    if (p->at->scaled)
        rc = scale(p, &pos, &x, err);
    if (!rc && p->to->tensor->dtype != MC_DTYPE_F32) {
        rc = add_node(p, &pos, "Cast", &x, 1, &x, &node, err);
        if (!rc)
            rc = mc_edit_attr_int(node, "to", (int64_t)p->to->tensor->dtype, err);
    }
    return rc ? rc : mc_edit_replace_uses(p->base, x, err);
}

/* Biases take up the mean error. */
static int shift(const struct place *p, const struct mc_layers *in_m, size_t at, struct mc_err *err)
{
    size_t count = (size_t)p->to->m * (size_t)p->to->n;
    float *w, *q;
    if (p->sizes_only)
        return mc_share_shift(p->r, p->m, in_m, at, NULL, NULL, err);
    int rc = mc_share_read(p->r, p->from, &w, err);
    if (rc)
        return rc;
    q = mc_calloc(count + 1, sizeof *q);
    rc = q ? 0 : no_memory(err);
    if (q) {
        mc_share_decode(&(struct mc_share_matrix){.m = p->to->m, .n = p->to->n}, p->at->code, q);
        rc = mc_share_shift(p->r, p->m, in_m, at, w, q, err);
    }
    free(q);
    free(w);
    return rc;
}

/* ---- all ---- */

int mc_share_place(struct mc_share_run *r, struct mc_model *m, const int *bits, bool sizes_only,
                   struct mc_err *err)
{
    struct mc_layers layers;
    struct mc_share_weight *to;
    size_t n;
    int rc = mc_share_collect(m, &layers, &to, &n, err);
    if (rc)
        return rc;
    for (size_t i = 0; !rc && i < n; i++) {
        struct mc_share_weight *from = &r->weight[i];
        if (!bits[i] || from->reason)
            continue;
        struct place p = {r, m, from, &to[i], &from->at[bits[i]], bits[i], sizes_only, NULL};
        p.base = mc_share_base(to[i].value);
        rc = sizes_only ? mc_share_points(r, from, bits[i], bits[i], err)
                        : mc_share_code(r, from, bits[i], err);
        if (!rc)
            rc = shift(&p, &layers, i, err);
        if (!rc)
            rc = replace(&p, err);
    }
    mc_layers_free(&layers);
    free(to);
    if (!rc)
        mc_edit_sweep(m->graph);
    return rc;
}
