/* Convolutions and matrix products of steps on integers: one kernel call each, floats or integers out of it. */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "graph/ops/conv_node.h"
#include "graph/ops/helper.h"
#include "graph/ops/int8.h"
#include "graph/ops/integer_step.h"
#include "graph/ops/pack.h"

static struct mc_s8_out out_of(const struct mc_call *c)
{
    const struct mc_integer *s = c->integer;
    struct mc_s8_out to = s->to;
    if (s->dynamic) {
        to.scale = c->in[3].data;
        to.scale_step = mc_op_count(&c->in[3]) > 1;
    }
    if (s->residual && to.type != MC_S8_F32) {
        to.residual = c->in[2].data;
        to.r_signed = c->in[2].dtype == MC_DTYPE_I8;
        to.r_zero = s->x[2].zero;
        to.r_scale = s->x[2].scale / s->y.scale;
    }
    return to;
}

static int32_t x_zero(const struct mc_call *c)
{
    return c->integer->dynamic ? mc_int8_first(mc_op_arg(c, 2)) : c->integer->x[0].zero;
}

/* What a kernel does not do to its floats. */
static void finish_floats(const struct mc_call *c)
{
    const struct mc_integer *s = c->integer;
    const struct mc_buf *y = &c->out[0];
    if (y->dtype != MC_DTYPE_F32)
        return;
    if (s->residual) {
        struct mc_binary b = {.fn = MC_BINARY_ADD,
                              .rank = 1,
                              .dim = {mc_op_count(y)},
                              .stride = {{1}, {1}},
                              .x = y->data,
                              .y = c->in[2].data,
                              .z = y->data};
        c->k->elementwise.binary(&b, c->pool);
    }
    if (s->acts) {
        struct mc_unary u = s->act;
        u.n = mc_op_count(y);
        u.x = u.y = y->data;
        c->k->elementwise.unary(&u, c->pool);
    }
}

static int keep(struct mc_call *c, const void *state, size_t bytes, struct mc_err *err)
{
    c->state = malloc(bytes);
    if (!c->state)
        return mc_fail(err, MC_ENOMEM, "out of memory");
    memcpy(c->state, state, bytes);
    return 0;
}

static void drop(struct mc_call *c)
{
    free(c->state);
    c->state = NULL;
}

/* ---- convolutions ---- */

static int conv_setup(struct mc_call *c, struct mc_err *err)
{
    struct mc_conv v;
    int rc = mc_conv_sizes(c->node, &c->in[0].shape, &c->in[1].shape, &v, err);
    if (rc)
        return rc;
    struct mc_conv_s8 s = {.n = v.n,
                           .c = v.c,
                           .oc = v.oc,
                           .group = v.group,
                           .x_layout = c->integer->x[0].last ? MC_S8_NHWC : MC_S8_NCHW,
                           .y_layout = c->integer->y.last ? MC_S8_NHWC : MC_S8_NCHW,
                           .x_signed = c->in[0].dtype == MC_DTYPE_I8,
                           .w_signed = c->in[1].dtype == MC_DTYPE_I8,
                           .w_zero = c->integer->w_zero};
    memcpy(s.in, v.in, sizeof v.in);
    memcpy(s.out, v.out, sizeof v.out);
    memcpy(s.kernel, v.kernel, sizeof v.kernel);
    memcpy(s.stride, v.stride, sizeof v.stride);
    memcpy(s.dilation, v.dilation, sizeof v.dilation);
    memcpy(s.pad, v.pad, sizeof v.pad);
    size_t bytes = c->k->conv_s8.pack_w_bytes(&s), at = 0;
    const int64_t layout[] = {MC_PACK_INTEGER_CONV, v.oc,        v.c,         v.group,
                              v.kernel[0],          v.kernel[1], v.kernel[2], s.w_signed,
                              (int64_t)bytes};
    void *block;
    bool fresh;
    rc = mc_pack_get(c->packs, c->in[1].data, layout, 9, bytes, &block, &fresh, err);
    if (rc)
        return rc;
    if (fresh)
        c->k->conv_s8.pack_w(&s, c->in[1].data, block, c->pool);
    s.packed_w = block;
    c->packed = 1 << 1;
    s.to = out_of(c);
    if (c->integer->residual && c->out[0].dtype != MC_DTYPE_F32) {
        s.to.residual = c; /* its content is not there yet: only that there is one counts */
        mc_integer_in(c, 2, c->integer->y.last, &at);
    }
    mc_op_scratch(c, &at, c->k->conv_s8.scratch_bytes(&s, mc_pool_threads(c->pool)));
    c->scratch_bytes = at;
    return keep(c, &s, sizeof s, err);
}

static int conv_run(struct mc_call *c, struct mc_err *err)
{
    (void)err;
    struct mc_conv_s8 s = *(const struct mc_conv_s8 *)c->state;
    size_t at = 0;
    s.x = c->in[0].data;
    s.x_zero = x_zero(c);
    s.y = c->out[0].data;
    s.to = out_of(c);
    if (s.to.residual)
        s.to.residual = mc_integer_in(c, 2, c->integer->y.last, &at);
    void *scratch =
        mc_op_scratch(c, &at, c->k->conv_s8.scratch_bytes(&s, mc_pool_threads(c->pool)));
    c->k->conv_s8.run(&s, scratch, c->pool);
    finish_floats(c);
    return 0;
}

static double conv_macs(const struct mc_infer_ctx *c)
{
    return mc_conv_macs(c, 1);
}

/* ---- products ---- */

/* Of Gemm and QGemm. */
static bool is_turned(const struct mc_node *n, const char *attr)
{
    return strstr(n->op_type, "Gemm") && mc_node_int(n, attr, 0) != 0;
}

/* Matrices of the first operand are one: the second has rank 2. */
static struct mc_gemm_s8 gemm_of(const struct mc_call *c, struct mc_s8_side *b)
{
    bool ta = is_turned(c->node, "transA"), tb = is_turned(c->node, "transB");
    const struct mc_shape *w = &c->in[1].shape;
    struct mc_gemm_s8 g = {.k = w->dim[tb], .n = w->dim[!tb]};
    g.m = g.k > 0 ? mc_op_count(&c->in[0]) / g.k : mc_op_count(&c->out[0]) / (g.n > 0 ? g.n : 1);
    g.a = (struct mc_s8_side){NULL, c->in[0].dtype == MC_DTYPE_I8, ta ? 1 : g.k, ta ? g.m : 1};
    *b = (struct mc_s8_side){c->in[1].data, c->in[1].dtype == MC_DTYPE_I8, tb ? 1 : g.n,
                             tb ? g.k : 1};
    g.b_signed = b->is_signed;
    g.b_zero = c->integer->w_zero;
    g.c_row = g.n;
    return g;
}

static int product_setup(struct mc_call *c, struct mc_err *err)
{
    struct mc_s8_side b;
    struct mc_gemm_s8 g = gemm_of(c, &b);
    size_t bytes = c->k->gemm_s8.pack_b_bytes(g.k, g.n);
    const int64_t layout[] = {MC_PACK_INTEGER_B, g.k, g.n, b.row, b.is_signed};
    void *block;
    bool fresh;
    int rc = mc_pack_get(c->packs, c->in[1].data, layout, 5, bytes, &block, &fresh, err);
    if (rc)
        return rc;
    if (fresh)
        c->k->gemm_s8.pack_b(g.k, g.n, &b, block, c->pool);
    g.packed_b = block;
    c->packed = 1 << 1;
    c->scratch_bytes = c->k->gemm_s8.scratch_bytes(g.m, g.n, g.k, mc_pool_threads(c->pool));
    return keep(c, &g, sizeof g, err);
}

static int product_run(struct mc_call *c, struct mc_err *err)
{
    (void)err;
    struct mc_gemm_s8 g = *(const struct mc_gemm_s8 *)c->state;
    int32_t zero = x_zero(c);
    g.a.data = c->in[0].data;
    g.a_zero = (struct mc_s8_zero){&zero, 0};
    g.c = c->out[0].data;
    g.to = out_of(c);
    c->k->gemm_s8.run(&g, c->scratch, c->pool);
    finish_floats(c);
    return 0;
}

static double product_macs(const struct mc_infer_ctx *c)
{
    bool tb = is_turned(c->node, "transB");
    return (double)mc_shape_count(&c->out[0]->shape) * (double)c->in[1]->shape.dim[tb];
}

const struct mc_op mc_op_integer_conv = {.name = "",
                                         .setup = conv_setup,
                                         .run = conv_run,
                                         .teardown = drop,
                                         .macs = conv_macs};
const struct mc_op mc_op_integer_product = {.name = "",
                                            .setup = product_setup,
                                            .run = product_run,
                                            .teardown = drop,
                                            .macs = product_macs};
