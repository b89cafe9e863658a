/* One convolution, and the svd pass's forms of it, one at a time. Failures are cmocka failures. */
#ifndef MC_TESTS_CONV_FORMS_H
#define MC_TESTS_CONV_FORMS_H

#include <math.h>

#include "svd_util.h"

#include "passes/svd/svd_norm.h"
#include "passes/svd/svd_run.h"

struct conv_case {
    const char *name;
    int axes;
    int64_t m, c, group; /* group 0: 1 */
    int64_t kernel[3], stride[3], dilation[3], pad[6], size[3];
    const char *auto_pad;
    bool bias, tied, constant, half;
};

static inline int64_t conv_columns(const struct conv_case *c)
{
    int64_t n = c->c / (c->group ? c->group : 1);
    for (int i = 0; i < c->axes; i++)
        n *= c->kernel[i];
    return n;
}

static inline void conv_window(struct mc_node *n, const struct conv_case *c, struct mc_err *err)
{
    size_t axes = (size_t)c->axes;
    if (c->group)
        build_ok(mc_edit_attr_int(n, "group", c->group, err), err);
    if (!c->stride[0])
        return;
    build_ok(mc_edit_attr_ints(n, "strides", c->stride, axes, err), err);
    build_ok(mc_edit_attr_ints(n, "dilations", c->dilation, axes, err), err);
    if (c->auto_pad)
        build_ok(mc_edit_attr_string(n, "auto_pad", c->auto_pad, err), err);
    else
        build_ok(mc_edit_attr_ints(n, "pads", c->pad, 2 * axes, err), err);
}

static inline struct mc_value *conv_weight(struct mc_graph *g, const struct conv_case *c,
                                           const float *w, struct mc_err *err)
{
    int64_t dims[5] = {c->m, conv_columns(c)}, n = c->m * dims[1];
    dims[1] = c->c / (c->group ? c->group : 1);
    memcpy(dims + 2, c->kernel, 3 * sizeof *dims);
    uint16_t *half = calloc((size_t)n, sizeof *half);
    assert_non_null(half);
    if (c->half)
        build_ok(mc_dtype_from_f32(MC_DTYPE_F16, w, half, (size_t)n, err), err);
    enum mc_dtype dtype = c->half ? MC_DTYPE_F16 : MC_DTYPE_F32;
    const void *data = c->half ? (const void *)half : (const void *)w;
    struct mc_value *v;
    if (c->constant) {
        struct mc_shape s = mc_shape_of(2 + c->axes, dims);
        struct mc_tensor *t;
        struct mc_node *node;
        build_ok(mc_constant_make(w, &s, dtype, NULL, &t, err), err);
        v = mc_edit_fresh(g, "w");
        build_ok(mc_edit_node(g, g->n_nodes, "Constant", "", 0, "", NULL, 0, &v, 1, &node, err),
                 err);
        build_ok(mc_edit_attr_tensor(node, "value", t, err), err);
        mc_tensor_unref(t);
    } else {
        v = build_const(g, "w", dtype, 2 + c->axes, dims, data);
    }
    free(half);
    return v;
}

static inline struct mc_value *conv_cast(struct mc_graph *g, struct mc_value *x, enum mc_dtype to,
                                         struct mc_err *err)
{
    struct mc_node *n;
    struct mc_value *y = build_node(g, "Cast", "cast", 1, &x, &n);
    build_ok(mc_edit_attr_int(n, "to", to, err), err);
    return y;
}

/* x [-1, c, size…] -> Conv "layer" -> y; tied: a second one with stride 2 -> y2. */
static inline struct mc_model *conv_model(const struct conv_case *c, const float *w,
                                          struct mc_err *err)
{
    struct mc_model *m = build_model(17);
    struct mc_graph *g = m->graph;
    int64_t dims[5] = {-1, c->c};
    memcpy(dims + 2, c->size, 3 * sizeof *dims);
    struct mc_value *in[3] = {build_input(g, "x", MC_DTYPE_F32, 2 + c->axes, dims)};
    struct mc_node *n;
    if (c->half)
        in[0] = conv_cast(g, in[0], MC_DTYPE_F16, err);
    in[1] = conv_weight(g, c, w, err);
    in[2] = c->bias ? random_const(g, "b", 1, &c->m, 5) : NULL;
    struct mc_value *y = build_node(g, "Conv", "layer", c->bias ? 3 : 2, in, &n);
    conv_window(n, c, err);
    build_output(g, c->half ? conv_cast(g, y, MC_DTYPE_F32, err) : y);
    if (c->tied) {
        struct conv_case other = *c;
        other.auto_pad = NULL;
        for (int i = 0; i < 3; i++) {
            other.stride[i] = 2;
            other.dilation[i] = 1;
        }
        build_output(g, build_node(g, "Conv", "again", c->bias ? 3 : 2, in, &n));
        conv_window(n, &other, err);
    }
    return m;
}

struct conv_run {
    struct mc_pass_ctx ctx;
    struct mc_svd_run r;
};

static inline void conv_open(struct conv_run *t, struct mc_model *m, struct mc_dataset *calib,
                             enum mc_svd_norm_kind norm, struct mc_err *err)
{
    *t = (struct conv_run){.ctx = svd_ctx(calib)};
    t->r = (struct mc_svd_run){.ctx = &t->ctx, .model = m, .norm_kind = norm};
    struct mc_svd_run *r = &t->r;
    build_ok(mc_linalg_new("cpu", &r->la, err), err);
    build_ok(mc_layers_collect(m, &r->layers, err), err);
    assert_int_equal(r->layers.n, 1);
    r->raw_total = malloc(sizeof *r->raw_total);
    assert_non_null(r->raw_total);
    r->raw_total[0] = NAN;
    build_ok(mc_layers_extents(m, &r->layers, err), err);
    build_ok(mc_svd_items_make(r, false, err), err);
    if (r->n_items != 1)
        fail_msg("the layer is left: %s", r->layers.item[0].reason);
    build_ok(mc_svd_norm_measure(r, err), err);
    build_ok(mc_svd_item_analyse(r, 0, 1, err), err);
}

static inline void conv_close(struct conv_run *t)
{
    mc_svd_items_free(&t->r);
    free(t->r.raw_total);
    mc_svd_norm_release(&t->r);
    mc_layers_free(&t->r.layers);
    mc_linalg_free(t->r.la);
}

/* The model with a point in place, verified. */
static inline struct mc_model *conv_place(struct conv_run *t, const struct mc_svd_curve *c,
                                          const struct mc_svd_point *p, bool sizes_only,
                                          struct mc_err *err)
{
    struct mc_model *m;
    t->r.item[0].at = c;
    t->r.item[0].point = p;
    build_ok(mc_svd_run_build(&t->r, sizes_only, &m, err), err);
    build_ok(mc_verify(m, err), err);
    return m;
}

static inline const struct mc_svd_curve *conv_curve(struct conv_run *t, const char *form)
{
    struct mc_svd_item *it = &t->r.item[0];
    for (size_t i = 0; i < it->n_curves; i++)
        if (!strcmp(it->curve[i].form->name, form))
            return &it->curve[i];
    fail_msg("no form '%s'", form);
    return NULL;
}

/* W of a model whose input is one window: what it makes of the identity more than of zeros, [m,n]. */
static inline float *conv_dense(struct mc_model *m, const struct conv_case *c)
{
    int64_t n = conv_columns(c), count, dims[5] = {n + 1, c->c};
    memcpy(dims + 2, c->kernel, 3 * sizeof *dims);
    int64_t groups = c->group ? c->group : 1;
    float *x = calloc((size_t)((n + 1) * n * groups), sizeof *x),
          *w = calloc((size_t)(c->m * n), sizeof *w);
    assert_true(x && w);
    for (int64_t i = 0; i < n; i++)
        for (int64_t g = 0; g < groups; g++)
            x[(i * groups + g) * n + i] = 1;
    float *y = output_of(m, 2 + c->axes, dims, x, &count);
    assert_int_equal(count, c->m * (n + 1));
    for (int64_t i = 0; i < n; i++)
        for (int64_t o = 0; o < c->m; o++)
            w[o * n + i] = y[i * c->m + o] - y[n * c->m + o];
    free(x);
    free(y);
    return w;
}

/* The same convolution where the input is one window and nothing else. */
static inline struct conv_case conv_bare(const struct conv_case *c)
{
    struct conv_case b = {
        .name = c->name, .axes = c->axes, .m = c->m, .c = c->c, .group = c->group};
    memcpy(b.kernel, c->kernel, sizeof b.kernel);
    memcpy(b.size, c->kernel, sizeof b.size);
    return b;
}

#endif
