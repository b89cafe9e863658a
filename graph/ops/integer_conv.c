/* Convolutions of 8-bit integers: ConvInteger gives the sums, QLinearConv quantises them again. */
#include <stdlib.h>
#include <string.h>

#include "graph/ops/conv_node.h"
#include "graph/ops/helper.h"
#include "graph/ops/int8.h"
#include "graph/ops/op_gpu.h"
#include "graph/ops/pack.h"
#include "graph/ops/window.h"
#include "kernels/gpu.h"

struct places { /* of the inputs; -1: the operator has none */
    int x_scale, x_zero, w, w_scale, w_zero, y_scale, y_zero, bias;
};
static const struct places integer = {-1, 2, 1, -1, 3, -1, -1, -1};
static const struct places linear = {1, 2, 3, 4, 5, 6, 7, 8};

static const struct places *places_of(const struct mc_node *n)
{
    return strcmp(n->op_type, "ConvInteger") ? &linear : &integer;
}

static const struct mc_buf *arg(const struct mc_call *c, int i)
{
    return i < 0 ? NULL : mc_op_arg(c, i);
}

/* ---- inference ---- */

/* Input i, where it is there, has one element or one for each filter. */
static int need_filters(const struct mc_infer_ctx *c, int i, int w, struct mc_err *err)
{
    const struct mc_vtype *p = mc_op_in(c, i), *f = c->in[w];
    int64_t n = p && p->ranked ? mc_shape_count(&p->shape) : -1, same;
    if (n < 0 || n == 1 || !f->ranked)
        return 0;
    return mc_op_need_dim(c->node, "parameters of filters and filters", n, f->shape.dim[0], &same,
                          err);
}

static int conv_infer(struct mc_infer_ctx *c, struct mc_err *err)
{
    const struct places *p = places_of(c->node);
    int rc = p->y_scale < 0 ? mc_op_arity(c, 2, 4, err) : mc_op_arity(c, 8, 9, err);
    rc = rc ? rc : mc_int8_need(c, 0, err);
    rc = rc ? rc : mc_int8_need(c, p->w, err);
    rc = rc ? rc : mc_int8_need_params(c, p->x_scale, p->x_zero, 0, false, err);
    rc = rc ? rc : mc_int8_need_params(c, p->w_scale, p->w_zero, p->w, true, err);
    rc = rc ? rc : need_filters(c, p->w_zero, p->w, err);
    enum mc_dtype dtype = MC_DTYPE_I32;
    if (!rc && p->y_scale >= 0) {
        rc = need_filters(c, p->w_scale, p->w, err);
        rc = rc ? rc : mc_int8_need_params(c, p->y_scale, p->y_zero, -1, false, err);
        const struct mc_vtype *bias = mc_op_in(c, p->bias);
        if (!rc && bias && bias->dtype && bias->dtype != MC_DTYPE_I32)
            rc = mc_op_fail(err, MC_EDTYPE, c->node, "the bias is %s, must be int32",
                            mc_dtype_name((int)bias->dtype));
        dtype = c->in[p->y_zero]->dtype;
    }
    return rc ? rc : mc_conv_infer(c, p->w, p->bias < 0 ? c->n_in : p->bias, dtype, err);
}

static double conv_macs(const struct mc_infer_ctx *c)
{
    return mc_conv_macs(c, places_of(c->node)->w);
}

/* ---- running ---- */

struct state {
    struct mc_conv_s8 conv;
    size_t packed_bytes;
    float *scale; /* of QLinearConv on a device: its memory, of each filter */
};

static int conv_pack(struct mc_call *c, struct state *s, int weight, struct mc_err *err)
{
    const struct mc_conv_s8 *v = &s->conv;
    const struct mc_buf *w = &c->in[weight];
    s->packed_bytes = c->k->conv_s8.pack_w_bytes(v);
    if (!w->constant)
        return 0;
    const int64_t layout[] = {MC_PACK_CONV_S8, v->oc,        v->c,
                              v->group,        v->kernel[0], v->kernel[1],
                              v->kernel[2],    v->w_signed,  (int64_t)s->packed_bytes};
    void *block;
    bool fresh;
    int rc = mc_pack_get(c->packs, w->data, layout, 9, s->packed_bytes, &block, &fresh, err);
    if (!rc && fresh)
        c->k->conv_s8.pack_w(v, w->data, block, c->pool);
    if (!rc)
        s->conv.packed_w = block;
    return rc;
}

struct space { /* parts of the scratch */
    void *packed, *kernel;
    int32_t *w_zero, *sums;
};

static size_t layout_scratch(const struct mc_call *c, const struct state *s, struct space *ret)
{
    const struct mc_conv_s8 *v = &s->conv;
    size_t at = 0, sums = (size_t)(v->n * v->oc * v->out[0] * v->out[1] * v->out[2]);
    *ret = (struct space){0};
    if (!v->packed_w)
        ret->packed = mc_op_scratch(c, &at, s->packed_bytes);
    ret->w_zero = mc_op_scratch(c, &at, (size_t)v->oc * sizeof(int32_t));
    if (c->out[0].dtype != MC_DTYPE_I32)
        ret->sums = mc_op_scratch(c, &at, sums * sizeof(int32_t));
    ret->kernel = mc_op_scratch(c, &at, c->k->conv_s8.scratch_bytes(v, mc_pool_threads(c->pool)));
    return at;
}

static int conv_setup(struct mc_call *c, struct mc_err *err)
{
    int weight = places_of(c->node)->w;
    const struct mc_shape *x = &c->in[0].shape, *w = &c->in[weight].shape;
    struct state s = {.conv = {.n = x->dim[0],
                               .c = x->dim[1],
                               .oc = w->dim[0],
                               .group = mc_node_int(c->node, "group", 1),
                               .x_signed = c->in[0].dtype == MC_DTYPE_I8,
                               .w_signed = c->in[weight].dtype == MC_DTYPE_I8}};
    struct mc_window_dims win;
    struct space space;
    int rc = mc_window_infer(c->node, x, w->dim + 2, &win, err);
    if (rc)
        return rc;
    memcpy(s.conv.in, win.in, sizeof win.in);
    memcpy(s.conv.out, win.out, sizeof win.out);
    memcpy(s.conv.kernel, win.kernel, sizeof win.kernel);
    memcpy(s.conv.stride, win.stride, sizeof win.stride);
    memcpy(s.conv.dilation, win.dilation, sizeof win.dilation);
    memcpy(s.conv.pad, win.pad, sizeof win.pad);
    if ((rc = conv_pack(c, &s, weight, err)))
        return rc;
    c->scratch_bytes = layout_scratch(c, &s, &space);
    c->state = malloc(sizeof s);
    if (!c->state)
        return mc_fail(err, MC_ENOMEM, "out of memory");
    memcpy(c->state, &s, sizeof s);
    return 0;
}

struct planes { /* of QLinearConv */
    const struct mc_call *c;
    const struct places *p;
    int64_t oc, size;
    int32_t *sums;
};

/* One output channel of one image: bias, scale, zero point. */
static void one_plane(void *ctx, int64_t plane, int worker)
{
    (void)worker;
    const struct planes *s = ctx;
    const struct mc_call *c = s->c;
    const struct mc_buf *bias = arg(c, s->p->bias), *w_scale = &c->in[s->p->w_scale];
    int64_t oc = plane % s->oc, each = mc_op_count(w_scale) > 1 ? oc : 0;
    uint32_t *sums = (uint32_t *)s->sums + plane * s->size;
    float scale = mc_int8_scale(&c->in[s->p->x_scale], 0, 1) * mc_int8_scale(w_scale, each, 1) /
                  mc_int8_scale(&c->in[s->p->y_scale], 0, 1);
    struct mc_quant_row r = {
        .n = s->size, .zero = mc_int8_first(&c->in[s->p->y_zero]), .scale = &scale};
    mc_int8_range(c->out[0].dtype, &r.lo, &r.hi);
    for (int64_t i = 0; bias && i < s->size; i++)
        sums[i] += (uint32_t)((const int32_t *)bias->data)[oc];
    c->k->quant.requantize(&r, (const int32_t *)sums, (uint8_t *)c->out[0].data + plane * s->size);
}

static int conv_run(struct mc_call *c, struct mc_err *err)
{
    (void)err;
    const struct state *s = c->state;
    const struct places *p = places_of(c->node);
    struct mc_conv_s8 v = s->conv;
    struct space space;
    layout_scratch(c, s, &space);
    if (!v.packed_w) {
        c->k->conv_s8.pack_w(&v, c->in[p->w].data, space.packed, c->pool);
        v.packed_w = space.packed;
    }
    v.x = c->in[0].data;
    v.x_zero = mc_int8_first(arg(c, p->x_zero));
    v.w_zero = mc_int8_zero(arg(c, p->w_zero), space.w_zero);
    v.y = space.sums ? space.sums : c->out[0].data;
    c->k->conv_s8.run(&v, space.kernel, c->pool);
    if (space.sums) {
        struct planes job = {c, p, v.oc, v.out[0] * v.out[1] * v.out[2], space.sums};
        mc_pool_run(c->pool, v.n * v.oc, one_plane, &job);
    }
    return 0;
}

static void conv_teardown(struct mc_call *c)
{
    free(c->state);
    c->state = NULL;
}

const struct mc_op mc_ops_integer_conv[] = {
    {"", "ConvInteger", 10, 0, conv_infer, conv_setup, conv_run, conv_teardown, conv_macs, NULL},
    {"", "QLinearConv", 10, 0, conv_infer, conv_setup, conv_run, conv_teardown, conv_macs, NULL},
    {0},
};

/* ---- on a device ---- */

enum { X_ZERO = 2 };

static bool device_can_sums(const struct mc_call *c)
{
    return c->k->conv_s8.run && c->k->quant.widen;
}

/* Its parameters are known to the host, at setup. */
static bool device_can_linear(const struct mc_call *c)
{
    const int given[] = {linear.x_scale, linear.x_zero, linear.w_scale, linear.y_scale,
                         linear.y_zero};
    for (size_t i = 0; i < sizeof given / sizeof *given; i++)
        if (!c->in[given[i]].constant)
            return false;
    return device_can_sums(c);
}

static int device_scales(struct mc_call *c, struct state *s, struct mc_err *err)
{
    const struct mc_buf *w = &c->in[linear.w_scale];
    struct mc_gpu *g = mc_pool_gpu(c->pool);
    size_t bytes = (size_t)s->conv.oc * sizeof(float);
    float *scale = malloc(bytes + 1);
    if (!scale)
        return mc_fail(err, MC_ENOMEM, "out of memory");
    for (int64_t i = 0; i < s->conv.oc; i++)
        scale[i] = mc_int8_scale(&c->in[linear.x_scale], 0, 1) *
                   mc_int8_scale(w, mc_op_count(w) > 1 ? i : 0, 1) /
                   mc_int8_scale(&c->in[linear.y_scale], 0, 1);
    void *to = NULL;
    int rc = mc_gpu_alloc(g, bytes, &to, err);
    s->scale = to;
    rc = rc ? rc : mc_gpu_put(g, to, scale, bytes, err);
    free(scale);
    return rc;
}

static int device_setup(struct mc_call *c, struct mc_err *err)
{
    int rc = conv_setup(c, err);
    return rc || places_of(c->node) == &integer ? rc : device_scales(c, c->state, err);
}

static int device_run(struct mc_call *c, struct mc_err *err)
{
    (void)err;
    const struct state *s = c->state;
    const struct places *p = places_of(c->node);
    const struct mc_buf *bias = arg(c, p->bias);
    struct mc_conv_s8 v = s->conv;
    struct space space;
    layout_scratch(c, s, &space);
    if (!v.packed_w) {
        c->k->conv_s8.pack_w(&v, c->in[p->w].data, space.packed, c->pool);
        v.packed_w = space.packed;
    }
    v.x = c->in[0].data;
    v.x_zero = mc_int8_first(arg(c, p->x_zero));
    v.w_zero = mc_int8_device_zero(c, arg(c, p->w_zero), space.w_zero);
    v.y = c->out[0].data;
    if (s->scale) {
        v.to = (struct mc_s8_out){.type = c->out[0].dtype == MC_DTYPE_U8 ? MC_S8_U8 : MC_S8_I8,
                                  .bias = bias ? bias->data : NULL,
                                  .scale = s->scale,
                                  .scale_step = 1,
                                  .zero = mc_int8_first(&c->in[p->y_zero])};
        mc_int8_range(c->out[0].dtype, &v.to.lo, &v.to.hi);
    }
    c->k->conv_s8.run(&v, space.kernel, c->pool);
    return 0;
}

static void device_teardown(struct mc_call *c)
{
    struct state *s = c->state;
    if (s)
        mc_gpu_free(mc_pool_gpu(c->pool), s->scale);
    conv_teardown(c);
}

const struct mc_op_gpu mc_op_gpu_integer_conv[] = {
    {"", "ConvInteger", device_can_sums, 1 << X_ZERO, device_setup, device_run, device_teardown,
     false},
    {"", "QLinearConv", device_can_linear, 1 << 1 | 1 << X_ZERO | 1 << 4 | 1 << 6 | 1 << 7,
     device_setup, device_run, device_teardown, false},
    {0},
};
