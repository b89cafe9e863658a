#include "graph/ops/helper.h"

#include <string.h>

const struct mc_vtype *mc_op_in(const struct mc_infer_ctx *c, int i)
{
    return i < c->n_in ? c->in[i] : NULL;
}

struct mc_vtype *mc_op_out(const struct mc_infer_ctx *c, int i)
{
    return i < c->n_out ? c->out[i] : NULL;
}

int mc_op_rank(const struct mc_infer_ctx *c, int i)
{
    const struct mc_vtype *x = mc_op_in(c, i);
    return x && x->ranked ? x->shape.rank : -1;
}

void mc_op_give(struct mc_infer_ctx *c, int i, enum mc_dtype dtype, const struct mc_shape *shape)
{
    struct mc_vtype *y = mc_op_out(c, i);
    if (!y)
        return;
    y->dtype = dtype;
    y->ranked = shape != NULL;
    if (shape)
        y->shape = *shape;
}

int mc_op_need_same(const struct mc_infer_ctx *c, int i, int j, struct mc_err *err)
{
    const struct mc_vtype *a = mc_op_in(c, i), *b = mc_op_in(c, j);
    if (!a || !b || !a->dtype || !b->dtype || a->dtype == b->dtype)
        return 0;
    return mc_op_fail(err, MC_EDTYPE, c->node, "inputs %d and %d are %s and %s, but must agree", i,
                      j, mc_dtype_name((int)a->dtype), mc_dtype_name((int)b->dtype));
}

int mc_op_need_movable(const struct mc_infer_ctx *c, int i, struct mc_err *err)
{
    const struct mc_vtype *x = mc_op_in(c, i);
    if (!x || !x->dtype || mc_op_elem_bytes(x->dtype) > 0)
        return 0;
    return mc_op_fail(err, MC_EUNSUP, c->node, "elements of type %s cannot be moved",
                      mc_dtype_name((int)x->dtype));
}

int mc_op_need_index(const struct mc_infer_ctx *c, int i, struct mc_err *err)
{
    const struct mc_vtype *x = mc_op_in(c, i);
    if (!x || !x->dtype || x->dtype == MC_DTYPE_I64 || x->dtype == MC_DTYPE_I32)
        return 0;
    return mc_op_fail(err, MC_EDTYPE, c->node, "input %d is %s, must be int64 or int32", i,
                      mc_dtype_name((int)x->dtype));
}

int mc_op_need_one_width(const struct mc_infer_ctx *c, struct mc_err *err)
{
    enum mc_dtype wide = MC_DTYPE_NONE, narrow = MC_DTYPE_NONE;
    for (int i = 0; i < c->n_in; i++) {
        enum mc_dtype d = c->in[i] ? c->in[i]->dtype : MC_DTYPE_NONE;
        if (d == MC_DTYPE_F64)
            wide = d;
        else if (d == MC_DTYPE_F32 || d == MC_DTYPE_F16 || d == MC_DTYPE_BF16)
            narrow = d;
    }
    if (!wide || !narrow)
        return 0;
    return mc_op_fail(err, MC_EUNSUP, c->node, "%s and %s in one node cannot run",
                      mc_dtype_name((int)narrow), mc_dtype_name((int)wide));
}

int mc_op_need_rank(const struct mc_infer_ctx *c, int i, int least, int most, struct mc_err *err)
{
    int rank = mc_op_rank(c, i);
    if (rank < 0 || (rank >= least && rank <= most))
        return 0;
    if (least == most)
        return mc_op_fail(err, MC_ESHAPE, c->node, "input %d has rank %d, must have %d", i, rank,
                          least);
    return mc_op_fail(err, MC_ESHAPE, c->node, "input %d has rank %d, must have %d to %d", i, rank,
                      least, most);
}

int mc_op_need_single(const struct mc_infer_ctx *c, int i, struct mc_err *err)
{
    const struct mc_vtype *x = mc_op_in(c, i);
    char text[MC_SHAPE_TEXT];
    if (!x || !x->ranked || !mc_shape_known(&x->shape) || mc_shape_count(&x->shape) == 1)
        return 0;
    return mc_op_fail(err, MC_ESHAPE, c->node, "input %d is %s, must be a single element", i,
                      mc_shape_text(&x->shape, text));
}

int mc_op_need_axis(const struct mc_node *n, const char *what, int64_t axis, int rank, int *ret,
                    struct mc_err *err)
{
    int a = mc_shape_axis(axis, rank);
    if (a < 0)
        return mc_op_fail(err, MC_ESHAPE, n, "%s %lld is outside rank %d", what, (long long)axis,
                          rank);
    *ret = a;
    return 0;
}

int mc_op_need_axes(const struct mc_node *n, int rank, int axes[MC_RANK_MAX], int *ret_n,
                    struct mc_err *err)
{
    size_t count;
    const int64_t *given = mc_node_ints(n, "axes", &count);
    bool seen[MC_RANK_MAX] = {false};
    if (!given)
        count = (size_t)rank;
    if (count > (size_t)rank)
        return mc_op_fail(err, MC_ESHAPE, n, "%zu axes for rank %d", count, rank);
    for (size_t i = 0; i < count; i++) {
        axes[i] = (int)i;
        int rc = given ? mc_op_need_axis(n, "axis", given[i], rank, &axes[i], err) : 0;
        if (rc)
            return rc;
        if (seen[axes[i]])
            return mc_op_fail(err, MC_ESHAPE, n, "axis %d twice", axes[i]);
        seen[axes[i]] = true;
    }
    *ret_n = (int)count;
    return 0;
}

int mc_op_need_dim(const struct mc_node *n, const char *what, int64_t a, int64_t b, int64_t *ret,
                   struct mc_err *err)
{
    if (a >= 0 && b >= 0 && a != b)
        return mc_op_fail(err, MC_ESHAPE, n, "%s: %lld against %lld", what, (long long)a,
                          (long long)b);
    *ret = a >= 0 ? a : b >= 0 ? b : a != MC_DIM_ANY ? a : b;
    return 0;
}

int mc_op_need_ints(const struct mc_node *node, const char *name, int n, const int64_t **ret,
                    struct mc_err *err)
{
    size_t got;
    *ret = mc_node_ints(node, name, &got);
    if (*ret && got != (size_t)n)
        return mc_op_fail(err, MC_ESHAPE, node, "%s has %zu values, must have %d", name, got, n);
    return 0;
}

bool mc_op_contents(const struct mc_infer_ctx *c, int i, struct mc_contents *ret)
{
    ret->n = mc_op_in(c, i) ? mc_infer_ints(c, i, ret->value, ret->sym, MC_PARTIAL_MAX) : -1;
    return ret->n >= 0;
}

int mc_op_given_shape(const struct mc_infer_ctx *c, int i, struct mc_shape *ret, struct mc_err *err)
{
    struct mc_contents size;
    const struct mc_vtype *x = c->in[i];
    bool known = mc_op_contents(c, i, &size);
    int64_t n = known ? size.n : x->ranked && x->shape.rank == 1 ? x->shape.dim[0] : -1;
    if (n > MC_RANK_MAX)
        return mc_op_fail(err, MC_ESHAPE, c->node, "input %d is a shape of %lld dimensions", i,
                          (long long)n);
    ret->rank = n < 0 ? -1 : (int)n;
    for (int d = 0; d < ret->rank; d++) {
        if (known && !size.sym[d] && size.value[d] < 0)
            return mc_op_fail(err, MC_ESHAPE, c->node, "input %d is a shape with the size %lld", i,
                              (long long)size.value[d]);
        ret->dim[d] = !known ? MC_DIM_ANY : size.sym[d] ? size.sym[d] : size.value[d];
    }
    return 0;
}

bool mc_op_numbers(const struct mc_infer_ctx *c, int i, struct mc_contents *ret)
{
    if (!mc_op_contents(c, i, ret))
        return false;
    for (int j = 0; j < ret->n; j++)
        if (ret->sym[j])
            return false;
    return true;
}

int mc_op_give_shape(struct mc_infer_ctx *c, int i, struct mc_err *err)
{
    int rc = mc_op_need_rank(c, i, 1, 1, err);
    rc = rc ? rc : mc_op_need_index(c, i, err);
    if (rc)
        return rc;
    struct mc_contents to;
    bool known = mc_op_contents(c, i, &to);
    const struct mc_vtype *s = c->in[i];
    int64_t rank = known ? to.n : s->ranked ? s->shape.dim[0] : -1;
    if (rank > MC_RANK_MAX)
        return mc_op_fail(err, MC_EUNSUP, c->node, "rank %lld, at most %d can run", (long long)rank,
                          MC_RANK_MAX);
    mc_op_give(c, 0, c->in[0]->dtype, NULL);
    if (rank < 0)
        return 0;
    struct mc_shape y = {.rank = (int32_t)rank};
    for (int d = 0; d < y.rank; d++) {
        y.dim[d] = !known ? MC_DIM_ANY : to.sym[d] ? to.sym[d] : to.value[d];
        if (known && !to.sym[d] && to.value[d] < 0)
            return mc_op_fail(err, MC_ESHAPE, c->node, "the shape holds %lld",
                              (long long)to.value[d]);
    }
    mc_op_give(c, 0, c->in[0]->dtype, &y);
    return 0;
}

int mc_op_set_contents(struct mc_infer_ctx *c, int i, const struct mc_contents *p,
                       struct mc_err *err)
{
    struct mc_vtype *y = mc_op_out(c, i);
    if (!y || y->known || (y->dtype != MC_DTYPE_I64 && y->dtype != MC_DTYPE_I32) || !y->ranked ||
        y->shape.rank > 1)
        return 0;
    struct mc_partial *to = mc_infer_partial(c, p->n);
    if (!to)
        return mc_fail(err, MC_ENOMEM, "out of memory");
    memcpy(to->value, p->value, (size_t)p->n * sizeof *p->value);
    memcpy(to->sym, p->sym, (size_t)p->n * sizeof *p->sym);
    y->partial = to;
    return 0;
}

int mc_op_copy_contents(struct mc_infer_ctx *c, int i, struct mc_err *err)
{
    struct mc_contents p;
    return mc_op_contents(c, i, &p) ? mc_op_set_contents(c, 0, &p, err) : 0;
}

const struct mc_buf *mc_op_arg(const struct mc_call *c, int i)
{
    return i < c->n_in && c->in[i].dtype != MC_DTYPE_NONE ? &c->in[i] : NULL;
}

struct mc_buf *mc_op_res(const struct mc_call *c, int i)
{
    return i < c->n_out && c->out[i].dtype != MC_DTYPE_NONE ? &c->out[i] : NULL;
}

int mc_op_elem_bytes(enum mc_dtype dtype)
{
    return mc_dtype_info((int)dtype)->bits / 8;
}

enum mc_elem mc_op_elem(enum mc_dtype dtype)
{
    switch (dtype) {
    case MC_DTYPE_I8: return MC_ELEM_I8;
    case MC_DTYPE_I16: return MC_ELEM_I16;
    case MC_DTYPE_I32: return MC_ELEM_I32;
    case MC_DTYPE_I64: return MC_ELEM_I64;
    case MC_DTYPE_BOOL:
    case MC_DTYPE_U8: return MC_ELEM_U8;
    case MC_DTYPE_U16: return MC_ELEM_U16;
    case MC_DTYPE_U32: return MC_ELEM_U32;
    case MC_DTYPE_U64: return MC_ELEM_U64;
    case MC_DTYPE_F32: return MC_ELEM_F32;
    case MC_DTYPE_F64: return MC_ELEM_F64;
    default: return MC_ELEM_COUNT;
    }
}

bool mc_op_is_float(enum mc_dtype dtype)
{
    return dtype == MC_DTYPE_F32 || dtype == MC_DTYPE_F64;
}

bool mc_op_is_integer(enum mc_dtype dtype)
{
    return mc_op_elem(dtype) < MC_ELEM_F32 && dtype != MC_DTYPE_BOOL;
}

int64_t mc_op_count(const struct mc_buf *b)
{
    return mc_shape_count(&b->shape);
}

int64_t mc_op_span(const struct mc_buf *b, int from, int to)
{
    return mc_shape_span(&b->shape, from, to);
}

int mc_op_ints(const struct mc_buf *b, int64_t *ret, int max)
{
    if (!b)
        return -1;
    int64_t n = mc_op_count(b);
    if (n > max)
        n = max;
    for (int64_t i = 0; i < n; i++)
        ret[i] = b->dtype == MC_DTYPE_I32 ? ((const int32_t *)b->data)[i]
                                          : ((const int64_t *)b->data)[i];
    return (int)n;
}

void mc_op_strides(const struct mc_shape *s, int64_t *ret)
{
    int64_t stride = 1;
    for (int d = s->rank - 1; d >= 0; d--) {
        ret[d] = stride;
        stride *= s->dim[d];
    }
}

void mc_op_broadcast_strides(const struct mc_shape *x, const struct mc_shape *to, int64_t *ret)
{
    int64_t own[MC_RANK_MAX];
    mc_op_strides(x, own);
    int lead = to->rank - x->rank;
    for (int d = 0; d < to->rank; d++)
        ret[d] = d < lead || x->dim[d - lead] == 1 ? 0 : own[d - lead];
}

void mc_op_copy(const struct mc_call *c, const struct mc_buf *in, struct mc_buf *out)
{
    size_t bytes;
    if (out->data == in->data || !mc_dtype_bytes((int)in->dtype, mc_op_count(in), &bytes))
        return;
    struct mc_move m = {.rank = 1,
                        .dim = {(int64_t)bytes},
                        .src_stride = {1},
                        .dst_stride = {1},
                        .src = in->data,
                        .dst = out->data,
                        .elem_bytes = 1};
    c->k->move.run(&m, c->pool);
}

void mc_op_zero(const struct mc_call *c, struct mc_buf *b)
{
    static const char zero[16];
    size_t bytes;
    if (c->k->device)
        c->k->move.fill(b->data, mc_op_count(b), zero, mc_op_elem_bytes(b->dtype), c->pool);
    else if (mc_dtype_bytes((int)b->dtype, mc_op_count(b), &bytes))
        memset(b->data, 0, bytes);
}

const void *mc_op_scalar(int elem_bytes, double v, double *store)
{
    if (elem_bytes == (int)sizeof(double))
        *store = v;
    else
        memcpy(store, &(float){(float)v}, sizeof(float));
    return store;
}

void *mc_op_scratch(const struct mc_call *c, size_t *at, size_t bytes)
{
    size_t from = *at;
    *at += (bytes + MC_ALIGN - 1) / MC_ALIGN * MC_ALIGN;
    return c->scratch ? (char *)c->scratch + from : NULL;
}
