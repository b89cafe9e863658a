#include "graph/ops/window.h"

#include <string.h>

#include "graph/ops/helper.h"

/* Attribute values above this are refused, so that products of two of them cannot overflow. */
static const int64_t LARGEST = INT32_MAX;

/* The list `name` of `dims` values of at least `least` into the last places of to. */
static int read_list(const struct mc_node *n, const char *name, int dims, int64_t least,
                     int64_t to[3], struct mc_err *err)
{
    const int64_t *v;
    int rc = mc_op_need_ints(n, name, dims, &v, err);
    for (int d = 0; d < dims && v && !rc; d++) {
        if (v[d] < least || v[d] > LARGEST)
            rc = mc_op_fail(err, MC_ESHAPE, n, "%s holds %lld, must be at least %lld", name,
                            (long long)v[d], (long long)least);
        to[3 - dims + d] = v[d];
    }
    return rc;
}

static int read_pads(const struct mc_node *n, int dims, struct mc_window_dims *w,
                     struct mc_err *err)
{
    const int64_t *v;
    int rc = mc_op_need_ints(n, "pads", 2 * dims, &v, err);
    for (int d = 0; d < 2 * dims && v && !rc; d++) {
        if (v[d] < 0 || v[d] > LARGEST)
            rc = mc_op_fail(err, MC_ESHAPE, n, "pads holds %lld, must not be negative",
                            (long long)v[d]);
        (d < dims ? w->pad : w->end)[3 - dims + d % dims] = v[d];
    }
    return rc;
}

static int read_kernel(const struct mc_node *n, int dims, const int64_t *kernel,
                       struct mc_window_dims *w, struct mc_err *err)
{
    int64_t given[3] = {-1, -1, -1};
    int rc = read_list(n, "kernel_shape", dims, 1, given, err);
    if (rc)
        return rc;
    if (!kernel && !mc_node_attr(n, "kernel_shape"))
        return mc_op_fail(err, MC_ESHAPE, n, "has no kernel_shape");
    for (int d = 3 - dims; d < 3; d++) {
        int64_t own = kernel ? kernel[d - 3 + dims] : -1;
        if (own == 0 || own > LARGEST)
            return mc_op_fail(err, MC_ESHAPE, n, "has a window of size %lld", (long long)own);
        if ((rc = mc_op_need_dim(n, "kernel_shape and weight", given[d], own, &w->kernel[d], err)))
            return rc;
    }
    return 0;
}

enum padding { PAD_GIVEN, PAD_VALID, PAD_UPPER, PAD_LOWER };

static int read_padding(const struct mc_node *n, enum padding *ret, struct mc_err *err)
{
    static const char *const names[] = {"NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER"};
    const char *how = mc_node_string(n, "auto_pad", "NOTSET");
    for (int i = 0; i < 4; i++)
        if (!strcmp(*how ? how : names[PAD_GIVEN], names[i])) {
            *ret = (enum padding)i;
            return 0;
        }
    return mc_op_fail(err, MC_EUNSUP, n, "auto_pad '%s' is not known", how);
}

/* One dimension: fills in pad, end and out. */
static int fit(const struct mc_node *n, struct mc_window_dims *w, int d, enum padding how,
               struct mc_err *err)
{
    int64_t in = w->in[d], stride = w->stride[d];
    if (how != PAD_GIVEN)
        w->pad[d] = w->end[d] = 0;
    w->out[d] = MC_DIM_ANY;
    if (w->kernel[d] < 0)
        return 0;
    int64_t extent = (w->kernel[d] - 1) * w->dilation[d] + 1;
    if (how == PAD_UPPER || how == PAD_LOWER) {
        if (in < 0) {
            w->out[d] = stride == 1 ? in : MC_DIM_ANY;
            return 0;
        }
        w->out[d] = in / stride + (in % stride != 0);
        int64_t pad = (w->out[d] - 1) * stride + extent - in;
        pad = pad < 0 || in == 0 ? 0 : pad;
        w->pad[d] = how == PAD_UPPER ? pad / 2 : pad - pad / 2;
        w->end[d] = pad - w->pad[d];
        return 0;
    }
    int64_t room = w->pad[d] + w->end[d] - extent;
    if (in < 0) {
        w->out[d] = stride == 1 && room == -1 ? in : MC_DIM_ANY;
        return 0;
    }
    if (room + in < 0)
        return mc_op_fail(err, MC_ESHAPE, n,
                          "window of %lld is larger than the padded input of %lld",
                          (long long)extent, (long long)(in + w->pad[d] + w->end[d]));
    bool ceil = mc_node_int(n, "ceil_mode", 0) != 0;
    room += in;
    w->out[d] = room / stride + 1 + (ceil && room % stride);
    /* A window may not begin in the padding at the end. */
    if (ceil && (w->out[d] - 1) * stride >= in + w->pad[d])
        w->out[d]--;
    return 0;
}

/* Everything but sizes of outputs: what the attributes say of the spatial dimensions of x. */
static int read_all(const struct mc_node *n, const struct mc_shape *x, const int64_t *kernel,
                    struct mc_window_dims *w, enum padding *how, struct mc_err *err)
{
    int dims = x->rank - 2;
    if (dims < 1 || dims > MC_WINDOW_DIMS)
        return mc_op_fail(err, MC_EUNSUP, n, "%d spatial dimensions; 1 to %d can run", dims,
                          MC_WINDOW_DIMS);
    *w = (struct mc_window_dims){{1, 1, 1}, {1, 1, 1}, {1, 1, 1}, {1, 1, 1}, {1, 1, 1}, {0}, {0}};
    int rc = read_padding(n, how, err);
    rc = rc ? rc : read_kernel(n, dims, kernel, w, err);
    rc = rc ? rc : read_list(n, "strides", dims, 1, w->stride, err);
    rc = rc ? rc : read_list(n, "dilations", dims, 1, w->dilation, err);
    rc = rc ? rc : read_pads(n, dims, w, err);
    for (int d = 3 - dims; d < 3; d++)
        w->in[d] = x->dim[x->rank - 3 + d];
    return rc;
}

int mc_window_infer(const struct mc_node *n, const struct mc_shape *x, const int64_t *kernel,
                    struct mc_window_dims *ret, struct mc_err *err)
{
    struct mc_window_dims w;
    enum padding how = PAD_GIVEN;
    int rc = read_all(n, x, kernel, &w, &how, err);
    for (int d = 5 - x->rank; d < 3 && !rc; d++)
        rc = fit(n, &w, d, how, err);
    if (!rc)
        *ret = w;
    return rc;
}

bool mc_window_counts_fit(const struct mc_node *n, const struct mc_shape *x)
{
    struct mc_window_dims w;
    struct mc_err err;
    const int64_t most = INT32_MAX / 4;
    if (mc_window_infer(n, x, NULL, &w, &err))
        return false;
    for (int d = 0; d < 3; d++)
        if (w.in[d] + w.end[d] > most || w.pad[d] > most || w.out[d] > most / w.stride[d] ||
            w.kernel[d] > most / w.dilation[d])
            return false;
    return true;
}

/* One dimension: fills in pad, end and out; wanted < 0: no output_shape. */
static int fit_transposed(const struct mc_node *n, struct mc_window_dims *w, int d,
                          enum padding how, int64_t extra, int64_t wanted, struct mc_err *err)
{
    int64_t all;
    if (how != PAD_GIVEN)
        w->pad[d] = w->end[d] = 0;
    w->out[d] = wanted >= 0 ? wanted : MC_DIM_ANY;
    if (w->in[d] < 0 || w->kernel[d] < 0)
        return 0;
    if (w->in[d] == 0)
        return mc_op_fail(err, MC_ESHAPE, n, "an input dimension is 0");
    if (__builtin_mul_overflow(w->in[d] - 1, w->stride[d], &all) ||
        __builtin_add_overflow(all, extra + (w->kernel[d] - 1) * w->dilation[d] + 1, &all))
        return mc_op_fail(err, MC_ESHAPE, n, "the size of the output overflows");
    bool shaped = wanted >= 0, same = how == PAD_UPPER || how == PAD_LOWER;
    if (same && !shaped && __builtin_mul_overflow(w->in[d], w->stride[d], &wanted))
        return mc_op_fail(err, MC_ESHAPE, n, "the size of the output overflows");
    if (wanted >= 0) {
        int64_t pad = all > wanted ? all - wanted : 0;
        w->pad[d] = how == PAD_UPPER ? pad / 2 : pad - pad / 2;
        w->end[d] = pad - w->pad[d];
        w->out[d] = shaped ? wanted : all - pad; /* SAME cannot grow */
        return 0;
    }
    w->out[d] = all - w->pad[d] - w->end[d];
    if (w->out[d] < 1)
        return mc_op_fail(err, MC_ESHAPE, n, "pads %lld+%lld leave nothing of %lld outputs",
                          (long long)w->pad[d], (long long)w->end[d], (long long)all);
    return 0;
}

int mc_window_transposed(const struct mc_node *n, const struct mc_shape *x, const int64_t *kernel,
                         struct mc_window_dims *ret, struct mc_err *err)
{
    struct mc_window_dims w;
    enum padding how = PAD_GIVEN;
    int64_t extra[3] = {0}, wanted[3] = {-1, -1, -1};
    int rc = read_all(n, x, kernel, &w, &how, err), dims = x->rank - 2;
    rc = rc ? rc : read_list(n, "output_padding", dims, 0, extra, err);
    size_t got;
    const int64_t *shape = mc_node_ints(n, "output_shape", &got);
    if (rc || (shape && got == 0))
        shape = NULL;
    if (shape && got != (size_t)dims && got != (size_t)dims + 2)
        return mc_op_fail(err, MC_ESHAPE, n, "output_shape has %zu values, must have %d", got,
                          dims);
    for (int d = 0; shape && d < dims && !rc; d++) {
        int64_t v = shape[got - (size_t)dims + (size_t)d];
        if (v < 1 || v > LARGEST)
            rc = mc_op_fail(err, MC_ESHAPE, n, "output_shape holds %lld, must be at least 1",
                            (long long)v);
        wanted[3 - dims + d] = v;
    }
    for (int d = 3 - dims; d < 3 && !rc; d++)
        rc = fit_transposed(n, &w, d, how, extra[d], wanted[d], err);
    if (!rc)
        *ret = w;
    return rc;
}

int mc_window_global(struct mc_infer_ctx *c, struct mc_err *err)
{
    int rc = mc_op_arity(c, 1, 1, err);
    rc = rc ? rc : mc_op_need_float(c, 0, err);
    rc = rc ? rc : mc_op_need_rank(c, 0, 2, MC_RANK_MAX, err);
    if (rc)
        return rc;
    const struct mc_vtype *x = c->in[0];
    struct mc_shape y = x->shape;
    for (int d = 2; x->ranked && d < y.rank; d++)
        y.dim[d] = 1;
    mc_op_give(c, 0, x->dtype, x->ranked ? &y : NULL);
    return 0;
}
