/* What checks of rows have in common. */
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "graph/constant.h"
#include "graph/edit.h"
#include "graph/own/own.h"

int mc_own_fail(struct mc_err *err, int code, const struct mc_node *call, const char *fmt, ...)
{
    char text[MC_ERR_MSG];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    return mc_fail(err, code, "%s '%s': %s", call->op_type, mc_node_label(call), text);
}

const struct mc_tensor *mc_own_constant(const struct mc_node *call, size_t i)
{
    const struct mc_value *v = i < call->n_in ? call->in[i] : NULL;
    return v ? mc_constant(v) : NULL;
}

/* Recursion to a small depth. */
static uint64_t bytes_of(const struct mc_value *v, int depth)
{
    const struct mc_tensor *t = mc_constant(v);
    uint64_t sum = t ? t->bytes : 0;
    for (; v->outer; v = v->outer)
        ;
    const struct mc_node *n = t || !depth ? NULL : v->producer;
    const struct mc_own *own =
        n && !strcmp(n->domain, MC_OWN_DOMAIN) ? mc_own_lookup(n->op_type) : NULL;
    for (size_t i = 0; n && i < n->n_in && !(own && i >= (size_t)own->n_in); i++)
        sum += n->in[i] ? bytes_of(n->in[i], depth - 1) : 0;
    return sum;
}

uint64_t mc_own_bytes(const struct mc_node *call, size_t i)
{
    return i < call->n_in && call->in[i] ? bytes_of(call->in[i], MC_OWN_PARTS) : 0;
}

enum mc_dtype mc_own_dtype(const struct mc_node *call, size_t i)
{
    const struct mc_tensor *t = mc_own_constant(call, i);
    const struct mc_value *v = i < call->n_in ? call->in[i] : NULL;
    for (; v && v->outer; v = v->outer)
        ;
    return t ? t->dtype : v ? v->type.dtype : MC_DTYPE_NONE;
}

struct mc_shape mc_own_shape(const struct mc_node *call)
{
    size_t rank;
    const int64_t *shape = mc_node_ints(call, "shape", &rank);
    if (rank > MC_RANK_MAX)
        return mc_shape_of(1, (const int64_t[]){MC_DIM_ANY});
    return mc_shape_of((int)rank, shape);
}

int mc_own_set_form(void *form, struct mc_node *n, struct mc_err *err)
{
    const struct mc_own_form *f = form;
    int rc = mc_edit_attr_ints(n, "shape", f->shape.dim, (size_t)f->shape.rank, err);
    if (!rc && f->columns)
        rc = mc_edit_attr_ints(n, "columns", &f->columns, 1, err);
    if (!rc && f->count)
        rc = mc_edit_attr_ints(n, "count", &f->count, 1, err);
    if (!rc && f->bits)
        rc = mc_edit_attr_ints(n, "bits", &f->bits, 1, err);
    return rc;
}

int mc_own_need_ints(const struct mc_node *call, const char *name, int n, const int64_t **ret,
                     size_t *ret_n, struct mc_err *err)
{
    size_t count;
    const int64_t *v = mc_node_ints(call, name, &count);
    if (n >= 0 ? count != (size_t)n : count < 1 || count > MC_RANK_MAX)
        return mc_own_fail(err, MC_ESHAPE, call, "attribute %s has %zu numbers", name, count);
    for (size_t i = 0; i < count; i++)
        if (v[i] < 1)
            return mc_own_fail(err, MC_ESHAPE, call, "attribute %s holds %lld", name,
                               (long long)v[i]);
    *ret = v;
    if (ret_n)
        *ret_n = count;
    return 0;
}

static const char *input_name(const struct mc_node *call, size_t i)
{
    const struct mc_own *own = mc_own_lookup(call->op_type);
    return own && i < (size_t)own->n_in ? own->inputs[i] : "?";
}

static bool is_real(enum mc_dtype d)
{
    return d == MC_DTYPE_F32 || d == MC_DTYPE_F16 || d == MC_DTYPE_BF16 || d == MC_DTYPE_F64;
}

int mc_own_need(const struct mc_node *call, size_t i, enum mc_dtype dtype, int rank,
                const int64_t *dims, struct mc_err *err)
{
    const char *name = input_name(call, i);
    const struct mc_tensor *t = mc_own_constant(call, i);
    char is[MC_SHAPE_TEXT], wanted[MC_SHAPE_TEXT];
    if (i >= call->n_in || !call->in[i])
        return mc_own_fail(err, MC_ESHAPE, call, "input %s is missing", name);
    if (!t)
        return 0;
    if (dtype == MC_DTYPE_NONE ? !is_real(t->dtype) : t->dtype != dtype)
        return mc_own_fail(err, MC_EDTYPE, call, "%s is %s, not %s", name, mc_dtype_name(t->dtype),
                           dtype == MC_DTYPE_NONE ? "a floating-point type" : mc_dtype_name(dtype));
    bool fits = t->shape.rank == rank;
    for (int k = 0; fits && k < rank; k++)
        fits = dims[k] < 0 || dims[k] == t->shape.dim[k];
    if (fits && t->data)
        return 0;
    struct mc_shape want = mc_shape_of(rank, dims);
    return mc_own_fail(err, MC_ESHAPE, call, "%s is %s, not %s", name, mc_shape_text(&t->shape, is),
                       mc_shape_text(&want, wanted));
}

int mc_own_need_finite(const struct mc_node *call, struct mc_err *err)
{
    const struct mc_own *own = mc_own_lookup(call->op_type);
    int rc = 0;
    for (size_t i = 0; !rc && own && i < call->n_in && i < (size_t)own->n_in; i++) {
        const struct mc_tensor *t = mc_own_constant(call, i);
        float *x = NULL;
        int64_t n = 0;
        if (!t || !is_real(t->dtype))
            continue;
        rc = mc_constant_f32(call->in[i], &x, &n, err);
        for (int64_t k = 0; !rc && k < n; k++)
            if (!isfinite(x[k]))
                rc = mc_own_fail(err, MC_EDATA, call, "%s holds a number that is not finite",
                                 own->inputs[i]);
        free(x);
    }
    return rc;
}
