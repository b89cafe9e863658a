/* XnorGemm and XnorConv of ai.mcompress: products of signs, scaled. */
#include <stdlib.h>
#include <string.h>

#include "graph/ops/helper.h"
#include "graph/ops/op_gpu.h"
#include "graph/ops/pack.h"
#include "graph/ops/xnor_step.h"
#include "graph/own/own.h"
#include "kernels/gpu.h"

enum { X = MC_XNOR_X, T = MC_XNOR_T, P = MC_XNOR_P, S = MC_XNOR_S, B = MC_XNOR_B };

/* ---- inference ---- */

static int need_type(const struct mc_infer_ctx *c, int i, enum mc_dtype want, struct mc_err *err)
{
    const struct mc_vtype *v = c->in[i];
    if (!v->dtype || v->dtype == want)
        return 0;
    return mc_op_fail(err, MC_EDTYPE, c->node, "input %d is %s, must be %s", i,
                      mc_dtype_name((int)v->dtype), mc_dtype_name((int)want));
}

/* Input i is [n, 1, …] with `ones` ones, where it is known. */
static int need_channels(const struct mc_infer_ctx *c, int i, int64_t n, int ones,
                         struct mc_err *err)
{
    const struct mc_vtype *v = c->in[i];
    char text[MC_SHAPE_TEXT], want[MC_SHAPE_TEXT];
    if (!v->ranked)
        return 0;
    struct mc_shape s = {1 + ones, {n}};
    bool fits = v->shape.rank == s.rank;
    for (int d = 0; d < s.rank; d++) {
        s.dim[d] = d ? 1 : n;
        fits = fits && (v->shape.dim[d] < 0 || s.dim[d] < 0 || v->shape.dim[d] == s.dim[d]);
    }
    if (fits)
        return 0;
    return mc_op_fail(err, MC_ESHAPE, c->node, "input %d is %s, must be %s", i,
                      mc_shape_text(&v->shape, text), mc_shape_text(&s, want));
}

static int check_inputs(const struct mc_infer_ctx *c, struct mc_xnor_sizes *s, struct mc_err *err)
{
    int rc = mc_op_arity(c, MC_XNOR_INPUTS, MC_XNOR_INPUTS, err);
    rc = rc ? rc : mc_xnor_weight(c->node, s, err);
    for (int i = X; i <= B && !rc; i++)
        rc = need_type(c, i, i == P ? MC_DTYPE_U8 : MC_DTYPE_F32, err);
    rc = rc ? rc : mc_op_need_rank(c, P, 2, 2, err);
    if (rc)
        return rc;
    const struct mc_vtype *t = c->in[T], *p = c->in[P];
    bool conv = mc_xnor_is_conv(c->node);
    int64_t same;
    if (p->ranked)
        rc = mc_op_need_dim(c->node, "columns in bytes and bytes of P", (s->k + 7) / 8,
                            p->shape.dim[1], &same, err);
    if (!rc && p->ranked)
        rc = mc_op_need_dim(c->node, "rows of P and filters", p->shape.dim[0], s->filters,
                            &s->filters, err);
    if (!rc && t->ranked && t->shape.rank > 0)
        rc = need_channels(c, T, conv ? s->channels : s->k, s->rank, err);
    rc = rc ? rc : need_channels(c, S, s->filters, s->rank, err);
    return rc ? rc : need_channels(c, B, s->filters, s->rank, err);
}

static int gemm_infer(struct mc_infer_ctx *c, struct mc_err *err)
{
    struct mc_xnor_sizes s;
    int rc = check_inputs(c, &s, err);
    rc = rc ? rc : mc_op_need_rank(c, X, 1, MC_RANK_MAX, err);
    if (rc)
        return rc;
    if (!c->in[X]->ranked) {
        mc_op_give(c, 0, MC_DTYPE_F32, NULL);
        return 0;
    }
    struct mc_shape y = c->in[X]->shape;
    int64_t *last = &y.dim[y.rank - 1];
    rc = mc_op_need_dim(c->node, "last dimension of X and columns", *last, s.k, last, err);
    *last = s.filters;
    mc_op_give(c, 0, MC_DTYPE_F32, &y);
    return rc;
}

static int conv_infer(struct mc_infer_ctx *c, struct mc_err *err)
{
    struct mc_xnor_sizes s;
    struct mc_window_dims win;
    int64_t same;
    int rc = check_inputs(c, &s, err);
    rc = rc ? rc : mc_op_need_rank(c, X, s.rank + 2, s.rank + 2, err);
    if (rc)
        return rc;
    if (!c->in[X]->ranked) {
        mc_op_give(c, 0, MC_DTYPE_F32, NULL);
        return 0;
    }
    struct mc_shape y = c->in[X]->shape;
    rc =
        mc_op_need_dim(c->node, "channels of X and of the shape", y.dim[1], s.channels, &same, err);
    rc = rc ? rc : mc_window_infer(c->node, &y, s.kernel, &win, err);
    if (rc)
        return rc;
    y.dim[1] = s.filters;
    for (int d = 2; d < y.rank; d++)
        y.dim[d] = win.out[d + 3 - y.rank];
    mc_op_give(c, 0, MC_DTYPE_F32, &y);
    return 0;
}

static double xnor_macs(const struct mc_infer_ctx *c)
{
    struct mc_xnor_sizes s;
    struct mc_err err;
    int64_t out = c->out[0] && c->out[0]->ranked ? mc_shape_count(&c->out[0]->shape) : -1;
    return out < 0 || mc_xnor_weight(c->node, &s, &err) ? -1 : (double)out * (double)s.k;
}

/* ---- running ---- */

struct xnor { /* state of a call */
    int64_t m, n, k;
    struct mc_xnor_conv conv; /* without pointers */
    int64_t pixels, out_pixels;
    const void *packed; /* of a constant P, or NULL */
    size_t packed_bytes;
    const int32_t *least, *most; /* of the bits that are handed on; NULL: floats are */
    const uint32_t *turned;
    void *limits; /* device memory that these are in */
};

struct space { /* parts of the scratch */
    void *packed, *bits, *made, *hand, *kernel;
};

static const struct mc_xnor_bits *bits_of(const struct mc_call *c)
{
    return c->xnor ? c->xnor->out : NULL;
}

static const struct mc_shape *x_shape(const struct mc_call *c)
{
    return c->xnor ? &c->xnor->x : &c->in[X].shape;
}

/* Bits of images, of which the kernel makes less than the next step gets. */
static bool is_handed(const struct mc_xnor_bits *b)
{
    return b && (b->pool || b->flat);
}

static size_t layout_scratch(const struct mc_call *c, const struct xnor *x, struct space *s)
{
    const struct mc_xnor_bits *out = bits_of(c);
    bool conv = mc_xnor_is_conv(c->node);
    int threads = mc_pool_threads(c->pool);
    int64_t bits =
        conv ? x->m * MC_XNOR_WORDS(x->conv.channels) * x->pixels * 4 : x->m * MC_XNOR_BYTES(x->k);
    size_t at = 0;
    *s = (struct space){0};
    if (!x->packed)
        s->packed = mc_op_scratch(c, &at, x->packed_bytes);
    if (!c->xnor || !c->xnor->packed)
        s->bits = mc_op_scratch(c, &at, (size_t)bits);
    if (is_handed(out)) {
        s->made = mc_op_scratch(c, &at, (size_t)(x->m * MC_XNOR_WORDS(x->n) * x->out_pixels) * 4);
        s->hand = mc_op_scratch(c, &at, mc_xnor_hand_scratch(out, x->m, x->n));
    }
    s->kernel = mc_op_scratch(c, &at,
                              conv ? c->k->xnor.conv_scratch_bytes(&x->conv, threads)
                                   : c->k->xnor.scratch_bytes(x->m, x->n, x->k, threads));
    return at;
}

static void pack_weight(const struct mc_call *c, const struct xnor *x, void *to)
{
    if (mc_xnor_is_conv(c->node))
        c->k->xnor.pack_w(&x->conv, c->in[P].data, to, c->pool);
    else
        c->k->xnor.pack_b(x->k, x->n, c->in[P].data, to, c->pool);
}

static int keep_weight(struct mc_call *c, struct xnor *x, struct mc_err *err)
{
    const struct mc_xnor_conv *v = &x->conv;
    bool conv = mc_xnor_is_conv(c->node), fresh;
    x->packed_bytes = conv ? c->k->xnor.pack_w_bytes(v) : c->k->xnor.pack_b_bytes(x->k, x->n);
    if (!c->in[P].constant)
        return 0;
    const int64_t layout[] = {conv ? MC_PACK_XNOR_CONV : MC_PACK_XNOR,
                              x->n,
                              x->k,
                              v->channels,
                              v->kernel[0],
                              v->kernel[1],
                              (int64_t)x->packed_bytes};
    void *block;
    int rc = mc_pack_get(c->packs, c->in[P].data, layout, 7, x->packed_bytes, &block, &fresh, err);
    if (rc)
        return rc;
    if (fresh)
        pack_weight(c, x, block);
    x->packed = block;
    c->packed = 1 << P;
    return 0;
}

static int conv_sizes(const struct mc_call *c, const struct mc_xnor_sizes *s, struct xnor *x,
                      struct mc_err *err)
{
    struct mc_window_dims w;
    int rc = mc_window_infer(c->node, x_shape(c), s->kernel, &w, err);
    if (rc)
        return rc;
    x->m = x_shape(c)->dim[0];
    x->pixels = w.in[1] * w.in[2];
    x->out_pixels = w.out[1] * w.out[2];
    x->conv = (struct mc_xnor_conv){.n = x->m, .channels = s->channels, .filters = x->n};
    for (int d = 0; d < 2; d++) {
        x->conv.in[d] = w.in[d + 1];
        x->conv.out[d] = w.out[d + 1];
        x->conv.kernel[d] = w.kernel[d + 1];
        x->conv.stride[d] = w.stride[d + 1];
        x->conv.dilation[d] = w.dilation[d + 1];
        x->conv.pad[d] = w.pad[d + 1];
    }
    return 0;
}

static int xnor_setup(struct mc_call *c, struct mc_err *err)
{
    struct mc_xnor_sizes s;
    struct space space;
    struct xnor x = {.n = c->in[P].shape.dim[0]};
    int rc = mc_xnor_weight(c->node, &s, err);
    if (rc)
        return rc;
    x.k = s.k;
    x.m = mc_shape_span(x_shape(c), 0, x_shape(c)->rank - 1);
    rc = mc_xnor_is_conv(c->node) ? conv_sizes(c, &s, &x, err) : 0;
    rc = rc ? rc : keep_weight(c, &x, err);
    if (rc)
        return rc;
    if (bits_of(c)) {
        x.least = bits_of(c)->least;
        x.most = bits_of(c)->most;
        x.turned = bits_of(c)->turned;
    }
    c->scratch_bytes = layout_scratch(c, &x, &space);
    c->state = malloc(sizeof x);
    if (!c->state)
        return mc_fail(err, MC_ENOMEM, "out of memory");
    memcpy(c->state, &x, sizeof x);
    return 0;
}

static struct mc_xnor_out out_of(const struct mc_call *c, const struct xnor *x)
{
    if (x->least)
        return (struct mc_xnor_out){.least = x->least, .most = x->most};
    return (struct mc_xnor_out){.scale = c->in[S].data, .bias = c->in[B].data};
}

static void run_gemm(const struct mc_call *c, const struct xnor *x, const struct space *s)
{
    int64_t row = MC_XNOR_BYTES(x->k);
    struct mc_xnor_gemm g = {.m = x->m,
                             .n = x->n,
                             .k = x->k,
                             .a = s->bits ? s->bits : c->in[X].data,
                             .a_row = row,
                             .packed_b = x->packed ? x->packed : s->packed,
                             .to = out_of(c, x),
                             .y = c->out[0].data,
                             .y_row = bits_of(c) ? MC_XNOR_BYTES(x->n) : x->n};
    if (s->bits) {
        struct mc_xnor_pack p = {.rows = x->m,
                                 .cols = x->k,
                                 .x = c->in[X].data,
                                 .x_row = x->k,
                                 .threshold = c->in[T].data,
                                 .t_step = c->in[T].shape.rank > 0,
                                 .bits = s->bits,
                                 .bits_row = row};
        c->k->xnor.pack(&p, c->pool);
    }
    c->k->xnor.gemm(&g, s->kernel, c->pool);
}

/* By the device, which has no other way to its own memory. */
static void hand(const struct mc_call *c, const struct xnor *x, const struct space *s)
{
    const struct mc_xnor_bits *b = bits_of(c);
    struct mc_xnor_hand h = {.n = x->m,
                             .channels = x->n,
                             .turned = b->pool ? x->turned : NULL,
                             .flat = b->flat,
                             .bits = s->made,
                             .to = c->out[0].data};
    for (int d = 0; d < 2; d++) {
        h.in[d] = h.out[d] = x->conv.out[d];
        h.kernel[d] = h.stride[d] = h.dilation[d] = 1;
        if (!b->pool)
            continue;
        h.out[d] = b->pool->out[d + 1];
        h.kernel[d] = b->pool->kernel[d + 1];
        h.stride[d] = b->pool->stride[d + 1];
        h.dilation[d] = b->pool->dilation[d + 1];
        h.pad[d] = b->pool->pad[d + 1];
    }
    c->k->xnor.hand(&h, c->pool);
}

static void run_conv(const struct mc_call *c, const struct xnor *x, const struct space *s)
{
    const struct mc_xnor_bits *out = bits_of(c);
    struct mc_xnor_conv v = x->conv;
    v.x = s->bits ? s->bits : c->in[X].data;
    v.packed_w = x->packed ? x->packed : s->packed;
    v.to = out_of(c, x);
    v.y = is_handed(out) ? s->made : c->out[0].data;
    if (s->bits) {
        struct mc_xnor_image p = {.n = x->m,
                                  .channels = v.channels,
                                  .pixels = x->pixels,
                                  .x = c->in[X].data,
                                  .threshold = c->in[T].data,
                                  .t_step = c->in[T].shape.rank > 0,
                                  .bits = s->bits};
        c->k->xnor.pack_image(&p, c->pool);
    }
    c->k->xnor.conv(&v, s->kernel, c->pool);
    if (is_handed(out) && c->k->device)
        hand(c, x, s);
    else if (is_handed(out))
        mc_xnor_hand(out, x->m, x->n, x->out_pixels, s->made, c->out[0].data, s->hand, c->pool);
}

static int xnor_run(struct mc_call *c, struct mc_err *err)
{
    (void)err;
    const struct xnor *x = c->state;
    struct space s;
    layout_scratch(c, x, &s);
    if (!x->packed)
        pack_weight(c, x, s.packed);
    if (mc_xnor_is_conv(c->node))
        run_conv(c, x, &s);
    else
        run_gemm(c, x, &s);
    return 0;
}

static void xnor_teardown(struct mc_call *c)
{
    free(c->state);
    c->state = NULL;
}

const struct mc_op mc_ops_xnor_product[] = {
    {MC_OWN_DOMAIN, "XnorConv", 1, 0, conv_infer, xnor_setup, xnor_run, xnor_teardown, xnor_macs,
     NULL},
    {MC_OWN_DOMAIN, "XnorGemm", 1, 0, gemm_infer, xnor_setup, xnor_run, xnor_teardown, xnor_macs,
     NULL},
    {0},
};

/* ---- on a device ---- */

static bool xnor_can(const struct mc_call *c)
{
    return c->k->xnor.gemm && c->k->xnor.conv && mc_op_gpu_floats(c);
}

/* The limits of sums, one after the other, where kernels can read them. */
static int device_limits(struct mc_call *c, struct xnor *x, struct mc_err *err)
{
    struct mc_gpu *g = mc_pool_gpu(c->pool);
    size_t n = (size_t)x->n * sizeof *x->least;
    size_t words = (size_t)MC_XNOR_WORDS(x->n) * sizeof *x->turned;
    int rc = mc_gpu_alloc(g, 2 * n + words, &x->limits, err);
    if (rc)
        return rc;
    int32_t *to = x->limits;
    rc = mc_gpu_put(g, to, x->least, n, err);
    rc = rc ? rc : mc_gpu_put(g, to + x->n, x->most, n, err);
    if (!rc && x->turned)
        rc = mc_gpu_put(g, to + 2 * x->n, x->turned, words, err);
    x->least = to;
    x->most = to + x->n;
    x->turned = (const uint32_t *)(to + 2 * x->n);
    return rc;
}

static int device_setup(struct mc_call *c, struct mc_err *err)
{
    int rc = xnor_setup(c, err);
    struct xnor *x = c->state;
    return rc || !x->least ? rc : device_limits(c, x, err);
}

static void device_teardown(struct mc_call *c)
{
    struct xnor *x = c->state;
    if (x)
        mc_gpu_free(mc_pool_gpu(c->pool), x->limits);
    xnor_teardown(c);
}

const struct mc_op_gpu mc_op_gpu_xnor_product[] = {
    {MC_OWN_DOMAIN, "XnorConv", xnor_can, 0, device_setup, xnor_run, device_teardown, false},
    {MC_OWN_DOMAIN, "XnorGemm", xnor_can, 0, device_setup, xnor_run, device_teardown, false},
    {0},
};
