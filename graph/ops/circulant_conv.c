/* Convolutions that are circulant over channels (graph/own): the dense convolution of the weight expanded, packed once, or, where
 * that pays, the kernels' own, by a DFT over the channels of a block. */
#include <stdlib.h>
#include <string.h>

#include "graph/ops/circulant_node.h"
#include "graph/ops/conv_node.h"
#include "graph/ops/helper.h"
#include "graph/ops/op_gpu.h"
#include "graph/ops/pack.h"
#include "graph/ops/window.h"
#include "graph/own/own.h"

enum { X, C, B };

static int infer(struct mc_infer_ctx *c, struct mc_err *err)
{
    int rc = mc_circulant_inputs(c, 3, 5, err);
    rc = rc ? rc : mc_op_need_rank(c, X, 4, 4, err);
    rc = rc ? rc : mc_op_need_rank(c, B, 1, 1, err);
    if (rc)
        return rc;
    const struct mc_vtype *x = c->in[X], *b = mc_op_in(c, B);
    struct mc_shape w = mc_shape_of(4, (const int64_t[]){-1, -1, -1, -1}), y = x->shape;
    struct mc_window_dims win;
    int64_t same;
    if (!rc && c->in[C]->ranked)
        mc_circulant_dense_shape(&c->in[C]->shape, &w);
    if (!rc && b && b->ranked)
        rc = mc_op_need_dim(c->node, "bias and blocks", b->shape.dim[0], w.dim[0], &same, err);
    if (rc || !x->ranked) {
        if (!rc)
            mc_op_give(c, 0, x->dtype, NULL);
        return rc;
    }
    rc = mc_op_need_dim(c->node, "channels of its input and blocks", x->shape.dim[1], w.dim[1],
                        &same, err);
    rc = rc ? rc : mc_window_infer(c->node, &x->shape, w.dim + 2, &win, err);
    if (rc)
        return rc;
    y.dim[1] = w.dim[0];
    y.dim[2] = win.out[1];
    y.dim[3] = win.out[2];
    mc_op_give(c, 0, x->dtype, &y);
    return 0;
}

/* ---- which way ---- */

static struct mc_circulant blocks(const struct mc_shape *c)
{
    return (struct mc_circulant){.p = c->dim[0], .q = c->dim[1], .b = c->dim[2]};
}

static double by_weight(const struct mc_shape *c, double out)
{
    struct mc_shape w;
    mc_circulant_dense_shape(c, &w);
    return (double)mc_shape_count(&w) * out;
}

static bool takes_bins(const struct mc_shape *c, const struct mc_shape *x, const struct mc_shape *y)
{
    struct mc_circulant k = blocks(c);
    return mc_circulant_conv_pays(&k, mc_shape_span(c, 3, 5), mc_shape_span(x, 2, 4),
                                  mc_shape_span(y, 2, 4));
}

static double macs(const struct mc_infer_ctx *c)
{
    const struct mc_vtype *x = c->in[X], *w = c->in[C], *y = c->out[0];
    if (!y)
        return 0;
    if (!x->ranked || !w->ranked || !y->ranked || !mc_shape_known(&w->shape) ||
        !mc_shape_known(&y->shape) || !mc_shape_known(&x->shape))
        return -1;
    int64_t in = mc_shape_span(&x->shape, 2, 4), out = mc_shape_span(&y->shape, 2, 4);
    bool bins = x->dtype != MC_DTYPE_F64 && takes_bins(&w->shape, &x->shape, &y->shape);
    struct mc_circulant k = blocks(&w->shape);
    double image = bins ? mc_circulant_conv_macs(&k, mc_shape_span(&w->shape, 3, 5), in, out)
                        : by_weight(&w->shape, (double)out);
    return (double)y->shape.dim[0] * image;
}

/* ---- setup ---- */

struct state {
    bool bins;
    struct mc_conv conv; /* dense */
    struct mc_circulant_conv by_bins;
    size_t packed, weight; /* bytes: of a dense weight packed, and as it is */
    size_t work;
};

/* The constant's block of a kind, and whether it is to be filled. */
static int block_of(struct mc_call *c, int kind, size_t bytes, void **ret, bool *fresh,
                    struct mc_err *err)
{
    const struct mc_shape *s = &c->in[C].shape;
    const int64_t layout[] = {kind,      s->dim[0], s->dim[1],      s->dim[2],
                              s->dim[3], s->dim[4], (int64_t)bytes, c->k->elem_bytes};
    return mc_pack_get(c->packs, c->in[C].data, layout, 8, bytes, ret, fresh, err);
}

static int bins_setup(struct mc_call *c, struct state *s, struct mc_err *err)
{
    const struct mc_circulant_kernels *k = &c->k->circulant;
    struct mc_circulant_conv *m = &s->by_bins;
    void *block;
    bool fresh;
    m->c = blocks(&c->in[C].shape);
    m->conv = s->conv;
    int rc = block_of(c, MC_PACK_CIRCULANT_BINS, k->conv_pack_bytes(m), &block, &fresh, err);
    if (rc)
        return rc;
    if (fresh)
        k->conv_pack(m, c->in[C].data, block, c->pool);
    m->packed = block;
    s->work = k->conv_scratch_bytes(m, mc_pool_threads(c->pool));
    c->packed = 1 << C;
    return 0;
}

static int dense_pack(struct mc_call *c, struct state *s, struct mc_err *err)
{
    void *block;
    bool fresh;
    /* Before there is a block that others would find without content. */
    void *w = malloc(s->weight);
    if (!w)
        return mc_fail(err, MC_ENOMEM, "out of memory");
    int rc = block_of(c, MC_PACK_CIRCULANT_DENSE, s->packed, &block, &fresh, err);
    if (!rc && fresh) {
        mc_circulant_dense_weight(&c->in[C].shape, c->in[C].data, c->k->elem_bytes, w, c->pool);
        c->k->conv.pack_w(&s->conv, w, block, c->pool);
    }
    s->conv.packed_w = rc ? NULL : block;
    free(w);
    return rc;
}

static int dense_setup(struct mc_call *c, struct state *s, struct mc_err *err)
{
    struct mc_shape w;
    mc_circulant_dense_shape(&c->in[C].shape, &w);
    s->work = c->k->conv.scratch_bytes(&s->conv, mc_pool_threads(c->pool));
    s->packed = c->k->conv.pack_w_bytes(&s->conv);
    s->weight = (size_t)mc_shape_count(&w) * (size_t)c->k->elem_bytes;
    if (!c->in[C].constant)
        return 0;
    int rc = dense_pack(c, s, err);
    if (!rc)
        c->packed = 1 << C;
    return rc;
}

struct buffers {
    void *packed, *weight, *work;
};

static struct buffers buffers_of(const struct mc_call *c, const struct state *s, size_t *at)
{
    struct buffers b = {0};
    if (!s->bins && !s->conv.packed_w) {
        b.packed = mc_op_scratch(c, at, s->packed);
        b.weight = mc_op_scratch(c, at, s->weight);
    }
    b.work = mc_op_scratch(c, at, s->work);
    return b;
}

static int setup(struct mc_call *c, struct mc_err *err)
{
    struct state s = {0};
    struct mc_shape w;
    mc_circulant_dense_shape(&c->in[C].shape, &w);
    int rc = mc_conv_sizes(c->node, &c->in[X].shape, &w, &s.conv, err);
    if (rc)
        return rc;
    s.bins = c->in[C].constant && c->k->elem_bytes == 4 &&
             takes_bins(&c->in[C].shape, &c->in[X].shape, &c->out[0].shape);
    rc = s.bins ? bins_setup(c, &s, err) : dense_setup(c, &s, err);
    if (rc)
        return rc;
    size_t at = 0;
    buffers_of(c, &s, &at);
    c->scratch_bytes = at;
    c->state = malloc(sizeof s);
    if (!c->state)
        return mc_fail(err, MC_ENOMEM, "out of memory");
    memcpy(c->state, &s, sizeof s);
    return 0;
}

static void teardown(struct mc_call *c)
{
    free(c->state);
    c->state = NULL;
}

/* ---- running ---- */

static int run(struct mc_call *c, struct mc_err *err)
{
    (void)err;
    const struct state *s = c->state;
    const struct mc_buf *bias = mc_op_arg(c, B);
    struct mc_conv v = s->conv;
    size_t at = 0;
    struct buffers b = buffers_of(c, s, &at);
    struct mc_epilogue e = {0};
    if (c->epilogue)
        e = *c->epilogue;
    if (bias && !e.bias) /* an epilogue's has it in it */
        e.bias = bias->data;
    if (s->bins) {
        struct mc_circulant_conv m = s->by_bins;
        m.conv.x = c->in[X].data;
        m.conv.y = c->out[0].data;
        m.conv.epilogue = e;
        c->k->circulant.conv_run(&m, b.work, c->pool);
        return 0;
    }
    if (!v.packed_w) {
        mc_circulant_dense_weight(&c->in[C].shape, c->in[C].data, c->k->elem_bytes, b.weight,
                                  c->pool);
        c->k->conv.pack_w(&v, b.weight, b.packed, c->pool);
        v.packed_w = b.packed;
    }
    v.epilogue = e;
    v.x = c->in[X].data;
    v.y = c->out[0].data;
    c->k->conv.run(&v, b.work, c->pool);
    return 0;
}

const struct mc_op mc_ops_circulant_conv[] = {
    {MC_OWN_DOMAIN, "CirculantConv", 1, MC_OP_EPILOGUE, infer, setup, run, teardown, macs, NULL},
    {MC_OWN_DOMAIN, "CirculantConvDft", 1, MC_OP_EPILOGUE, infer, setup, run, teardown, macs, NULL},
    {0},
};

/* ---- on a device: its kernels choose, and expand the weight in each run where it is no constant ---- */

static bool device_can(const struct mc_call *c)
{
    return c->k->circulant.conv_run && c->k->conv.run && mc_op_gpu_floats(c);
}

static struct buffers device_buffers(const struct mc_call *c, const struct state *s, size_t *at)
{
    struct buffers b = {0};
    if (!s->by_bins.packed)
        b.packed = mc_op_scratch(c, at, s->packed);
    b.work = mc_op_scratch(c, at, s->work);
    return b;
}

static int device_setup(struct mc_call *c, struct mc_err *err)
{
    struct state s = {.bins = true};
    struct mc_shape w;
    size_t at = 0;
    mc_circulant_dense_shape(&c->in[C].shape, &w);
    int rc = mc_conv_sizes(c->node, &c->in[X].shape, &w, &s.conv, err);
    if (!rc && c->in[C].constant)
        rc = bins_setup(c, &s, err);
    if (rc)
        return rc;
    s.by_bins.c = blocks(&c->in[C].shape);
    s.by_bins.conv = s.conv;
    s.packed = c->k->circulant.conv_pack_bytes(&s.by_bins);
    s.work = c->k->circulant.conv_scratch_bytes(&s.by_bins, mc_pool_threads(c->pool));
    device_buffers(c, &s, &at);
    c->scratch_bytes = at;
    c->state = malloc(sizeof s);
    if (!c->state)
        return mc_fail(err, MC_ENOMEM, "out of memory");
    memcpy(c->state, &s, sizeof s);
    return 0;
}

static int device_run(struct mc_call *c, struct mc_err *err)
{
    (void)err;
    const struct state *s = c->state;
    const struct mc_buf *bias = mc_op_arg(c, B);
    struct mc_circulant_conv m = s->by_bins;
    size_t at = 0;
    struct buffers b = device_buffers(c, s, &at);
    if (!m.packed) {
        c->k->circulant.conv_pack(&m, c->in[C].data, b.packed, c->pool);
        m.packed = b.packed;
    }
    if (c->epilogue)
        m.conv.epilogue = *c->epilogue;
    if (bias && !m.conv.epilogue.bias)
        m.conv.epilogue.bias = bias->data;
    m.conv.x = c->in[X].data;
    m.conv.y = c->out[0].data;
    c->k->circulant.conv_run(&m, b.work, c->pool);
    return 0;
}

const struct mc_op_gpu mc_op_gpu_circulant_conv[] = {
    {MC_OWN_DOMAIN, "CirculantConv", device_can, 0, device_setup, device_run, teardown, false},
    {MC_OWN_DOMAIN, "CirculantConvDft", device_can, 0, device_setup, device_run, teardown, false},
    {0},
};
