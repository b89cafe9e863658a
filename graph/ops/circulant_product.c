/* Products with block-circulant weights (graph/own), and their gradients, of ai.mcompress.grad:
 *
 *     CirculantGradInput(dy, C)                  to dx = dy W, of any rank
 *     CirculantGradWeight(x, dy, shape of C)     to dC */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "graph/grad/rule.h"
#include "graph/ops/circulant_node.h"
#include "graph/ops/float_elem.h"
#include "graph/ops/helper.h"
#include "graph/ops/op_gpu.h"
#include "graph/ops/pack.h"
#include "graph/own/own.h"

enum { X, C, B };

/* ---- inference ---- */

int mc_circulant_inputs(struct mc_infer_ctx *c, int n, int rank, struct mc_err *err)
{
    int rc = mc_op_arity(c, 2, n, err);
    if (!rc && !strcmp(c->node->domain, MC_OWN_DOMAIN))
        rc = mc_own_check(c->node, err);
    for (int i = 0; i < n && !rc; i++)
        if (mc_op_in(c, i)) {
            rc = mc_op_need_float(c, i, err);
            rc = rc ? rc : mc_op_need_same(c, 0, i, err);
        }
    rc = rc ? rc : mc_op_need_rank(c, C, rank, rank, err);
    for (int d = 0; d < 3 && !rc && c->in[C]->ranked; d++)
        if (c->in[C]->shape.dim[d] == 0)
            rc = mc_op_fail(err, MC_ESHAPE, c->node, "its columns are empty");
    return rc;
}

/* x [.., in] to y [.., out] by in[C]; rows: of W^T. */
static int product_shape(struct mc_infer_ctx *c, bool transposed, struct mc_err *err)
{
    const struct mc_vtype *x = c->in[X], *w = c->in[C];
    int64_t same;
    int rc = mc_op_need_rank(c, X, 1, MC_RANK_MAX, err);
    if (!rc && x->ranked && w->ranked)
        rc = mc_op_need_dim(c->node, "last dimension of its input and blocks",
                            x->shape.dim[x->shape.rank - 1],
                            mc_circulant_features(&w->shape, transposed), &same, err);
    struct mc_shape y = x->shape;
    if (!rc && x->ranked)
        y.dim[y.rank - 1] = w->ranked ? mc_circulant_features(&w->shape, !transposed) : MC_DIM_ANY;
    if (!rc)
        mc_op_give(c, 0, x->dtype, x->ranked ? &y : NULL);
    return rc;
}

static int product_infer(struct mc_infer_ctx *c, struct mc_err *err)
{
    int rc = mc_circulant_inputs(c, 3, 3, err);
    rc = rc ? rc : mc_op_need_rank(c, B, 1, 1, err);
    const struct mc_vtype *b = rc ? NULL : mc_op_in(c, B), *w = c->in[C];
    int64_t same;
    if (b && b->ranked && b->shape.dim[0] != 1 && w->ranked)
        rc = mc_op_need_dim(c->node, "bias and blocks", b->shape.dim[0],
                            mc_circulant_features(&w->shape, true), &same, err);
    return rc ? rc : product_shape(c, false, err);
}

static int input_infer(struct mc_infer_ctx *c, struct mc_err *err)
{
    int rc = mc_circulant_inputs(c, 2, 3, err);
    return rc ? rc : product_shape(c, true, err);
}

/* ---- counting ---- */

/* Multiply-accumulates of a row; a fast transform of b real numbers has 5/4 b log2 b. */
static double row_macs(const struct mc_circulant *c, enum mc_circulant_way way)
{
    double p = (double)c->p, q = (double)c->q, b = (double)c->b;
    switch (way) {
    case MC_CIRCULANT_DFT: return (p + q) * b * b + 2 * b * p * q;
    case MC_CIRCULANT_FFT: return (p + q) * b * log2(b) * 5 / 4 + 2 * b * p * q;
    case MC_CIRCULANT_DENSE: break;
    }
    return p * q * b * b;
}

static double count(const struct mc_vtype *x, const struct mc_vtype *w, bool gradient)
{
    struct mc_circulant c;
    const struct mc_circulant_kernels *k = &mc_kernels_get(NULL, 4)->circulant;
    if (!x->ranked || !w || !w->ranked || !mc_circulant_of(&w->shape, &c))
        return -1;
    int64_t rows = mc_shape_span(&x->shape, 0, x->shape.rank - 1);
    if (rows < 0)
        return -1;
    enum mc_circulant_way way = gradient ? k->choose_gradient(&c, rows) : k->choose(&c, rows);
    return (double)rows * row_macs(&c, x->dtype == MC_DTYPE_F64 ? MC_CIRCULANT_DENSE : way);
}

static double product_macs(const struct mc_infer_ctx *c)
{
    return c->out[0] ? count(c->in[X], c->in[C], false) : 0;
}

static double weight_macs(const struct mc_infer_ctx *c)
{
    return c->out[0] ? count(c->in[X], c->out[0], true) : 0;
}

/* ---- products ---- */

struct state {
    struct mc_circulant_product m;
    size_t packed_bytes;
};

static int keep(struct mc_call *c, const void *s, size_t bytes, struct mc_err *err)
{
    c->state = malloc(bytes);
    if (!c->state)
        return mc_fail(err, MC_ENOMEM, "out of memory");
    memcpy(c->state, s, bytes);
    return 0;
}

static void teardown(struct mc_call *c)
{
    free(c->state);
    c->state = NULL;
}

static int pack(struct mc_call *c, struct state *s, struct mc_err *err)
{
    const struct mc_circulant *w = &s->m.c;
    const int64_t layout[] = {MC_PACK_CIRCULANT, w->p, w->q, w->b, s->m.way, w->transposed,
                              c->k->elem_bytes};
    void *block;
    bool fresh;
    s->packed_bytes = c->k->circulant.pack_bytes(w, s->m.way);
    if (!c->in[C].constant)
        return 0;
    int rc = mc_pack_get(c->packs, c->in[C].data, layout, 7, s->packed_bytes, &block, &fresh, err);
    if (rc)
        return rc;
    if (fresh)
        c->k->circulant.pack(w, s->m.way, c->in[C].data, block, c->pool);
    s->m.packed = block;
    c->packed = 1 << C;
    return 0;
}

static size_t work_bytes(const struct mc_call *c, const struct mc_circulant_product *m)
{
    return c->k->circulant.scratch_bytes(&m->c, m->way, m->rows, mc_pool_threads(c->pool));
}

/* A bias of one element, as a vector. */
static bool spreads(const struct mc_call *c, const struct state *s)
{
    const struct mc_buf *b = mc_op_arg(c, B);
    return b && mc_op_count(b) == 1 && s->m.c.p * s->m.c.b > 1;
}

static int product_setup(struct mc_call *c, struct mc_err *err)
{
    struct state s = {0};
    const struct mc_shape *x = &c->in[X].shape;
    struct mc_circulant *w = &s.m.c;
    mc_circulant_of(&c->in[C].shape, w);
    w->transposed = strcmp(c->node->op_type, "CirculantGradInput") == 0;
    s.m.ldx = x->dim[x->rank - 1];
    s.m.ldy = c->out[0].shape.dim[x->rank - 1];
    s.m.rows = mc_shape_span(x, 0, x->rank - 1);
    s.m.way = c->k->circulant.choose(w, s.m.rows);
    int rc = pack(c, &s, err);
    if (rc)
        return rc;
    size_t at = 0;
    if (!s.m.packed)
        mc_op_scratch(c, &at, s.packed_bytes);
    if (spreads(c, &s))
        mc_op_scratch(c, &at, (size_t)(s.m.ldy * c->k->elem_bytes));
    mc_op_scratch(c, &at, work_bytes(c, &s.m));
    c->scratch_bytes = at;
    return keep(c, &s, sizeof s, err);
}

static int product_run(struct mc_call *c, struct mc_err *err)
{
    (void)err;
    const struct state *s = c->state;
    struct mc_circulant_product m = s->m;
    const struct mc_buf *bias = mc_op_arg(c, B);
    size_t at = 0;
    if (m.rows == 0)
        return 0;
    if (!m.packed) {
        void *block = mc_op_scratch(c, &at, s->packed_bytes);
        c->k->circulant.pack(&m.c, m.way, c->in[C].data, block, c->pool);
        m.packed = block;
    }
    if (c->epilogue)
        m.epilogue = *c->epilogue;
    if (spreads(c, s)) {
        double v = mc_buf_param(bias, 0);
        void *all = mc_op_scratch(c, &at, (size_t)(m.ldy * c->k->elem_bytes));
        for (int64_t i = 0; i < m.ldy && v != 0; i++)
            mc_set_param(all, c->k->elem_bytes, i, v);
        m.epilogue.bias = v != 0 ? all : NULL;
    } else if (bias) {
        m.epilogue.bias = bias->data;
    }
    m.x = c->in[X].data;
    m.y = c->out[0].data;
    c->k->circulant.run(&m, mc_op_scratch(c, &at, work_bytes(c, &m)), c->pool);
    return 0;
}

/* ---- gradient of the columns ---- */

static int weight_infer(struct mc_infer_ctx *c, struct mc_err *err)
{
    struct mc_shape shape;
    int rc = mc_op_arity(c, 3, 3, err);
    for (int i = 0; i < 2 && !rc; i++) {
        rc = mc_op_need_float(c, i, err);
        rc = rc ? rc : mc_op_need_rank(c, i, 1, MC_RANK_MAX, err);
    }
    rc = rc ? rc : mc_op_need_same(c, 0, 1, err);
    rc = rc ? rc : mc_op_given_shape(c, 2, &shape, err);
    if (!rc)
        mc_op_give(c, 0, c->in[0]->dtype, shape.rank >= 0 ? &shape : NULL);
    return rc;
}

static int weight_setup(struct mc_call *c, struct mc_err *err)
{
    struct mc_circulant_gradient g = {0};
    const struct mc_shape *x = &c->in[0].shape, *dy = &c->in[1].shape;
    bool fits = c->out[0].shape.rank == 3 && mc_circulant_of(&c->out[0].shape, &g.c) &&
                x->rank == dy->rank && x->dim[x->rank - 1] == g.c.q * g.c.b &&
                dy->dim[x->rank - 1] == g.c.p * g.c.b;
    for (int d = 0; d < x->rank - 1 && fits; d++)
        fits = x->dim[d] == dy->dim[d];
    if (!fits) {
        char text[3][MC_SHAPE_TEXT];
        return mc_op_fail(err, MC_ESHAPE, c->node, "x %s, dy %s and columns %s do not fit",
                          mc_shape_text(x, text[0]), mc_shape_text(dy, text[1]),
                          mc_shape_text(&c->out[0].shape, text[2]));
    }
    g.ldx = x->dim[x->rank - 1];
    g.lddy = dy->dim[x->rank - 1];
    g.rows = mc_shape_span(x, 0, x->rank - 1);
    g.way = c->k->circulant.choose_gradient(&g.c, g.rows);
    size_t at = 0;
    mc_op_scratch(
        c, &at,
        c->k->circulant.gradient_scratch_bytes(&g.c, g.way, g.rows, mc_pool_threads(c->pool)));
    c->scratch_bytes = at;
    return keep(c, &g, sizeof g, err);
}

static int weight_run(struct mc_call *c, struct mc_err *err)
{
    (void)err;
    struct mc_circulant_gradient g = *(const struct mc_circulant_gradient *)c->state;
    g.x = c->in[0].data;
    g.dy = c->in[1].data;
    g.dcol = c->out[0].data;
    c->k->circulant.gradient(&g, c->scratch, c->pool);
    return 0;
}

#define PRODUCT(name)                                                                              \
    {                                                                                              \
        MC_OWN_DOMAIN, name, 1, MC_OP_EPILOGUE, product_infer, product_setup, product_run,         \
            teardown, product_macs, NULL                                                           \
    }

const struct mc_op mc_ops_circulant_product[] = {
    PRODUCT("CirculantGemm"),
    PRODUCT("CirculantGemmWindow"),
    PRODUCT("CirculantGemmDft"),
    PRODUCT("CirculantGemmDft2"),
    {MC_GRAD_DOMAIN, "CirculantGradInput", 1, MC_OP_EPILOGUE, input_infer, product_setup,
     product_run, teardown, product_macs, NULL},
    {MC_GRAD_DOMAIN, "CirculantGradWeight", 1, 0, weight_infer, weight_setup, weight_run, teardown,
     weight_macs, NULL},
    {0},
};

/* ---- on a device ---- */

static bool product_can(const struct mc_call *c)
{
    const struct mc_buf *b = mc_op_arg(c, B);
    bool spread = b && mc_op_count(b) == 1 && c->out[0].shape.dim[c->out[0].shape.rank - 1] > 1;
    return c->k->circulant.run && c->k->gemm.run && !spread && mc_op_gpu_floats(c);
}

static bool weight_can(const struct mc_call *c)
{
    return c->k->circulant.gradient && c->k->gemm.run && mc_op_gpu_floats(c);
}

#define PRODUCT_GPU(domain, name)                                                                  \
    {                                                                                              \
        domain, name, product_can, 0, product_setup, product_run, teardown, false                  \
    }

const struct mc_op_gpu mc_op_gpu_circulant_product[] = {
    PRODUCT_GPU(MC_OWN_DOMAIN, "CirculantGemm"),
    PRODUCT_GPU(MC_OWN_DOMAIN, "CirculantGemmWindow"),
    PRODUCT_GPU(MC_OWN_DOMAIN, "CirculantGemmDft"),
    PRODUCT_GPU(MC_OWN_DOMAIN, "CirculantGemmDft2"),
    PRODUCT_GPU(MC_GRAD_DOMAIN, "CirculantGradInput"),
    {MC_GRAD_DOMAIN, "CirculantGradWeight", weight_can, 1 << 2, weight_setup, weight_run, teardown,
     false},
    {0},
};
