/* Gemm and MatMul, FusedGemm and FusedMatMul of com.microsoft, MatMul of gradients. */
#include <assert.h>
#include <string.h>

#include "graph/grad/rule.h"
#include "graph/ops/fused_act.h"
#include "graph/ops/helper.h"
#include "graph/ops/matmul_node.h"
#include "graph/ops/op_gpu.h"
#include "graph/ops/product.h"

static int need_numbers(const struct mc_infer_ctx *c, int i, struct mc_err *err)
{
    return mc_op_in(c, i) && mc_product_whole(c->in[i]->dtype) ? 0 : mc_op_need_float(c, i, err);
}

/* ---- Gemm: Y = alpha A' B' + beta C ---- */

static int gemm_infer(struct mc_infer_ctx *c, struct mc_err *err)
{
    int rc = mc_op_arity(c, 2, 3, err);
    for (int i = 0; i < 3 && !rc; i++)
        if (mc_op_in(c, i))
            rc = need_numbers(c, i, err);
    for (int i = 0; i < 2 && !rc; i++)
        rc = mc_op_need_rank(c, i, 2, 2, err);
    float alpha = mc_node_float(c->node, "alpha", 1), beta = mc_node_float(c->node, "beta", 1);
    if (!rc && mc_product_whole(c->in[0]->dtype) && (alpha != 1 || (beta != 1 && beta != 0)))
        return mc_op_fail(err, MC_EUNSUP, c->node,
                          "alpha %g and beta %g of whole numbers cannot run", (double)alpha,
                          (double)beta);
    rc = rc ? rc : mc_op_need_same(c, 0, 1, err);
    rc = rc ? rc : mc_op_need_same(c, 0, 2, err);
    rc = rc ? rc : mc_op_need_rank(c, 2, 0, 2, err);
    if (rc)
        return rc;
    int ta = mc_node_int(c->node, "transA", 0) != 0, tb = mc_node_int(c->node, "transB", 0) != 0;
    struct mc_shape y = {2, {MC_DIM_ANY, MC_DIM_ANY}};
    const struct mc_vtype *a = c->in[0], *b = c->in[1], *bias = mc_op_in(c, 2);
    if (a->ranked)
        y.dim[0] = a->shape.dim[ta];
    if (b->ranked)
        y.dim[1] = b->shape.dim[!tb];
    int64_t k;
    if (a->ranked && b->ranked &&
        (rc = mc_op_need_dim(c->node, "inner dimensions of A and B", a->shape.dim[!ta],
                             b->shape.dim[tb], &k, err)))
        return rc;
    struct mc_shape sum;
    if (bias && bias->ranked) {
        bool fits = mc_shape_broadcast(&bias->shape, &y, &sum);
        for (int d = 0; d < 2 && fits; d++)
            fits = y.dim[d] < 0 || sum.dim[d] == y.dim[d];
        char text[MC_SHAPE_TEXT], to[MC_SHAPE_TEXT];
        if (!fits)
            return mc_op_fail(err, MC_ESHAPE, c->node, "C %s does not broadcast to the result %s",
                              mc_shape_text(&bias->shape, text), mc_shape_text(&y, to));
    }
    mc_op_give(c, 0, a->dtype, &y);
    return 0;
}

static struct mc_product gemm_product(const struct mc_call *c)
{
    bool ta = mc_node_int(c->node, "transA", 0) != 0, tb = mc_node_int(c->node, "transB", 0) != 0;
    struct mc_product p = {.batch = 1, .b_count = 1};
    p.m = c->out[0].shape.dim[0];
    p.n = c->out[0].shape.dim[1];
    p.k = c->in[0].shape.dim[!ta];
    p.a_row = ta ? 1 : p.k;
    p.a_col = ta ? p.m : 1;
    p.b_row = tb ? 1 : p.n;
    p.b_col = tb ? p.k : 1;
    return p;
}

/* beta C, where it is neither a row nor a whole matrix as it stands: z, of b->dim, is made of it. Numbers of the host
 * are not handed to kernels of a device. */
static void scaled_bias(struct mc_call *c, const struct mc_buf *in, double beta,
                        struct mc_binary *b)
{
    double store;
    int elem = c->k->elem_bytes;
    b->x = in->data;
    if (!c->k->device) {
        b->y = mc_op_scalar(elem, beta, &store);
        c->k->elementwise.binary(b, c->pool);
        return;
    }
    struct mc_move m = {.rank = 2, .elem_bytes = elem, .src = in->data, .dst = b->z};
    memcpy(m.dim, b->dim, sizeof m.dim);
    memcpy(m.src_stride, b->stride[0], sizeof m.src_stride);
    m.dst_stride[0] = b->dim[1];
    m.dst_stride[1] = 1;
    c->k->move.run(&m, c->pool);
    struct mc_blend scale = {
        .n = b->dim[0] * b->dim[1], .a = beta / 2, .b = beta / 2, .x = b->z, .y = b->z, .z = b->z};
    if (beta != 1)
        c->k->optim.blend(&scale, c->pool);
}

/* beta C, and what the planner wants added, in the two forms an epilogue knows: a row, or a whole matrix.
 * Without scratch (at setup) only the sizes are counted. */
static void gemm_bias(struct mc_call *c, const struct mc_product *p, struct mc_epilogue *e,
                      size_t *at)
{
    const struct mc_buf *in = mc_op_arg(c, 2);
    double beta = (double)mc_node_float(c->node, "beta", 1);
    if (!in || beta == 0)
        return;
    struct mc_binary b = {.fn = MC_BINARY_MUL, .rank = 2, .dim = {p->m, p->n}};
    mc_op_broadcast_strides(&in->shape, &c->out[0].shape, b.stride[0]);
    bool row = b.stride[0][0] == 0, dense = b.stride[0][1] == 1 || p->n == 1;
    assert(!e->bias);
    if (row && dense && beta == 1) {
        e->bias = in->data;
        return;
    }
    if (!row && dense && beta == 1 && !e->residual) {
        e->residual = in->data;
        return;
    }
    if (row)
        b.dim[0] = 1;
    void *sum = mc_op_scratch(c, at, (size_t)(b.dim[0] * p->n * c->k->elem_bytes));
    if (!sum)
        return;
    b.z = sum;
    scaled_bias(c, in, beta, &b);
    if (row) {
        e->bias = sum;
        return;
    }
    if (e->residual) {
        struct mc_binary add = {.fn = MC_BINARY_ADD,
                                .rank = 1,
                                .dim = {p->m * p->n},
                                .stride = {{1}, {1}},
                                .x = sum,
                                .y = e->residual,
                                .z = sum};
        c->k->elementwise.binary(&add, c->pool);
    }
    e->residual = sum;
}

static int gemm_setup(struct mc_call *c, struct mc_err *err)
{
    struct mc_product p = gemm_product(c);
    int rc = mc_product_whole(c->out[0].dtype) ? mc_product_keep(c, &p, err)
                                               : mc_product_pack(c, &p, err);
    if (rc || c->state)
        return rc;
    size_t at = 0;
    struct mc_epilogue e = mc_product_epilogue(c);
    mc_product_packed(c, &p, &at);
    gemm_bias(c, &p, &e, &at);
    mc_op_scratch(c, &at, mc_product_scratch(c, &p));
    c->scratch_bytes = at;
    return mc_product_keep(c, &p, err);
}

static int gemm_run(struct mc_call *c, struct mc_err *err)
{
    (void)err;
    const struct mc_product *p = c->state;
    size_t at = 0;
    if (mc_product_whole(c->out[0].dtype)) {
        mc_product_run_whole(c, p, 0, 0, 0);
        if (mc_op_arg(c, 2) && mc_node_float(c->node, "beta", 1) != 0)
            mc_product_whole_binary(c, MC_BINARY_ADD, &c->out[0], &c->in[2], &c->out[0]);
        return 0;
    }
    struct mc_gemm g = {.m = p->m, .n = p->n, .k = p->k, .a_row = p->a_row, .a_col = p->a_col};
    g.epilogue = mc_product_epilogue(c);
    const void *packed = mc_product_packed(c, p, &at);
    gemm_bias(c, p, &g.epilogue, &at);
    g.a = c->in[0].data;
    g.c = c->out[0].data;
    g.c_row = p->n;
    g.alpha = (double)mc_node_float(c->node, "alpha", 1);
    mc_product_run(c, p, &g, packed, mc_op_scratch(c, &at, mc_product_scratch(c, p)));
    return 0;
}

/* FusedGemm: an activation behind the product. */
static int fused_gemm_infer(struct mc_infer_ctx *c, struct mc_err *err)
{
    struct mc_fused_act act;
    int rc = mc_fused_act(c->node, &act, err);
    return rc ? rc : gemm_infer(c, err);
}

static int fused_gemm_run(struct mc_call *c, struct mc_err *err)
{
    struct mc_fused_act act;
    int rc = mc_fused_act(c->node, &act, err);
    c->epilogue = &act.epilogue;
    rc = rc ? rc : gemm_run(c, err);
    c->epilogue = NULL;
    mc_fused_act_rest(c, &act);
    return rc;
}

static double gemm_macs(const struct mc_infer_ctx *c)
{
    int ta = mc_node_int(c->node, "transA", 0) != 0;
    if (!c->out[0]) /* nobody takes it */
        return 0;
    int64_t out = c->out[0]->ranked ? mc_shape_count(&c->out[0]->shape) : -1;
    int64_t k = c->in[0]->ranked ? c->in[0]->shape.dim[!ta] : -1;
    return out < 0 || k < 0 ? -1 : (double)out * (double)k;
}

/* ---- MatMul, as numpy.matmul ---- */

/* FusedMatMul and the MatMul of gradients have the attributes of Gemm. */
static bool transposable(const struct mc_node *n)
{
    return n->domain[0] != 0;
}

static bool transposed(const struct mc_node *n, int i)
{
    return transposable(n) && mc_node_int(n, i ? "transB" : "transA", 0) != 0;
}

/* The matrices of an operand as they are multiplied: [rows, columns]; one dimension is as numpy has it. */
static void matrix_of(const struct mc_node *n, int i, const struct mc_shape *x, int64_t *ret_rows,
                      int64_t *ret_columns)
{
    int64_t last = x->dim[x->rank - 1];
    if (x->rank == 1) {
        *ret_rows = i ? last : 1;
        *ret_columns = i ? 1 : last;
        return;
    }
    bool swap = transposed(n, i);
    *ret_rows = x->dim[x->rank - (swap ? 1 : 2)];
    *ret_columns = x->dim[x->rank - (swap ? 2 : 1)];
}

int mc_matmul_infer(struct mc_infer_ctx *c, int second, enum mc_dtype dtype, struct mc_err *err)
{
    int rc = mc_op_need_rank(c, 0, 1, MC_RANK_MAX, err);
    rc = rc ? rc : mc_op_need_rank(c, second, 1, MC_RANK_MAX, err);
    if (rc)
        return rc;
    const struct mc_vtype *a = c->in[0], *b = c->in[second];
    mc_op_give(c, 0, dtype, NULL);
    if (!a->ranked || !b->ranked)
        return 0;
    int ra = a->shape.rank, rb = b->shape.rank;
    int64_t m, k, kb, n;
    matrix_of(c->node, 0, &a->shape, &m, &k);
    matrix_of(c->node, 1, &b->shape, &kb, &n);
    rc = mc_op_need_dim(c->node, "inner dimensions of A and B", k, kb, &k, err);
    if (rc)
        return rc;
    struct mc_shape lead_a = mc_shape_of(ra > 2 ? ra - 2 : 0, a->shape.dim);
    struct mc_shape lead_b = mc_shape_of(rb > 2 ? rb - 2 : 0, b->shape.dim), y;
    char ta[MC_SHAPE_TEXT], tb[MC_SHAPE_TEXT];
    if (!mc_shape_broadcast(&lead_a, &lead_b, &y))
        return mc_op_fail(err, MC_ESHAPE, c->node, "%s and %s do not broadcast",
                          mc_shape_text(&a->shape, ta), mc_shape_text(&b->shape, tb));
    if (ra > 1)
        y.dim[y.rank++] = m;
    if (rb > 1)
        y.dim[y.rank++] = n;
    mc_op_give(c, 0, dtype, &y);
    return 0;
}

static double matmul_macs(const struct mc_infer_ctx *c)
{
    if (!c->out[0])
        return 0;
    int64_t out = c->out[0]->ranked ? mc_shape_count(&c->out[0]->shape) : -1;
    int64_t m, k = -1;
    if (mc_op_rank(c, 0) > 0)
        matrix_of(c->node, 0, &c->in[0]->shape, &m, &k);
    return out < 0 || k < 0 ? -1 : (double)out * (double)k;
}

static int matmul_infer(struct mc_infer_ctx *c, struct mc_err *err)
{
    int rc = mc_op_arity(c, 2, 2, err);
    for (int i = 0; i < 2 && !rc; i++)
        rc = need_numbers(c, i, err);
    rc = rc ? rc : mc_op_need_same(c, 0, 1, err);
    if (rc)
        return rc;
    if (mc_node_int(c->node, "transBatchA", 0) || mc_node_int(c->node, "transBatchB", 0))
        return mc_op_fail(err, MC_EUNSUP, c->node, "transBatchA and transBatchB cannot run");
    const struct mc_vtype *a = c->in[0], *b = c->in[1];
    return mc_matmul_infer(c, 1, a->dtype ? a->dtype : b->dtype, err);
}

static struct mc_product matmul_product(const struct mc_call *c)
{
    const struct mc_shape *a = &c->in[0].shape, *b = &c->in[1].shape;
    bool ta = a->rank > 1 && transposed(c->node, 0), tb = b->rank > 1 && transposed(c->node, 1);
    struct mc_product p = {0};
    matrix_of(c->node, 0, a, &p.m, &p.k);
    matrix_of(c->node, 1, b, &p.k, &p.n);
    p.a_row = ta ? 1 : p.k;
    p.a_col = ta ? p.m : 1;
    p.b_row = tb ? 1 : p.n;
    p.b_col = tb ? p.k : 1;
    p.b_count = b->rank > 2 ? mc_shape_span(b, 0, b->rank - 2) : 1;
    p.batch =
        mc_shape_span(&c->out[0].shape, 0, c->out[0].shape.rank - (a->rank > 1) - (b->rank > 1));
    if (p.b_count == 1 && a->rank > 1 && !ta) { /* rows of all matrices of A as one matrix */
        p.m *= p.batch;
        p.batch = 1;
    }
    return p;
}

/* Products of less than this many multiplications go to threads whole, larger ones are cut inside: below,
 * handing out work costs more than the work. */
static const int64_t SMALL = 1 << 22;

static int64_t inner_scratches(const struct mc_call *c, const struct mc_product *p)
{
    return p->batch > 1 && p->m * p->n * p->k < SMALL ? mc_pool_threads(c->pool) : 1;
}

/* Small matrices of B that are met once are packed when they are met, one for each worker: they are still in the
 * cache then. */
static bool packs_late(const struct mc_call *c, const struct mc_product *p)
{
    return !c->in[1].constant && !c->k->device && p->batch > 1 && p->b_count == p->batch &&
           p->m * p->n * p->k < SMALL;
}

static size_t each_scratch(const struct mc_call *c, const struct mc_product *p)
{
    return mc_product_scratch(c, p) + (packs_late(c, p) ? p->packed_each : 0);
}

static int matmul_setup(struct mc_call *c, struct mc_err *err)
{
    struct mc_product p = matmul_product(c);
    int rc = mc_product_whole(c->out[0].dtype) ? mc_product_keep(c, &p, err)
                                               : mc_product_pack(c, &p, err);
    if (rc || c->state)
        return rc;
    size_t at = 0;
    if (!packs_late(c, &p))
        mc_product_packed(c, &p, &at);
    mc_op_scratch(c, &at, each_scratch(c, &p) * (size_t)inner_scratches(c, &p));
    c->scratch_bytes = at;
    return mc_product_keep(c, &p, err);
}

struct batch_job {
    const struct mc_call *c;
    const struct mc_product *p;
    const char *packed;
    char *scratch;
    size_t scratch_each;
    int rank; /* of the batch dimensions */
    int64_t stride[2][MC_RANK_MAX], per_chunk;
};

static void batch_one(const struct batch_job *j, int64_t i, int worker)
{
    const struct mc_call *c = j->c;
    const struct mc_product *p = j->p;
    float alpha = transposable(c->node) ? mc_node_float(c->node, "alpha", 1) : 1;
    int64_t rest = i, at[2] = {0, 0};
    for (int d = j->rank - 1; d >= 0; d--) {
        int64_t x = rest % c->out[0].shape.dim[d];
        rest /= c->out[0].shape.dim[d];
        at[0] += x * j->stride[0][d];
        at[1] += x * j->stride[1][d];
    }
    if (mc_product_whole(c->out[0].dtype)) {
        mc_product_run_whole(c, p, at[0], at[1], i);
        return;
    }
    struct mc_epilogue e = mc_product_epilogue(c);
    int64_t elem = c->k->elem_bytes, from = i * p->m * p->n * elem;
    if (e.residual)
        e.residual = (const char *)e.residual + from;
    struct mc_gemm g = {.m = p->m,
                        .n = p->n,
                        .k = p->k,
                        .a = (const char *)c->in[0].data + at[0] * p->m * p->k * elem,
                        .a_row = p->a_row,
                        .a_col = p->a_col,
                        .c = (char *)c->out[0].data + from,
                        .c_row = p->n,
                        .alpha = (double)alpha,
                        .epilogue = e};
    char *scratch = j->scratch + (size_t)worker * j->scratch_each;
    if (j->packed) {
        mc_product_run(c, p, &g, j->packed + (size_t)at[1] * p->packed_each, scratch);
        return;
    }
    char *packed = scratch + mc_product_scratch(c, p);
    c->k->gemm.pack_b(p->k, p->n, (const char *)c->in[1].data + at[1] * p->k * p->n * elem,
                      p->b_row, p->b_col, packed, c->pool);
    mc_product_run(c, p, &g, packed, scratch);
}

static void batch_device(const struct batch_job *j)
{
    const struct mc_call *c = j->c;
    const struct mc_product *p = j->p;
    int64_t dim[MC_MOVE_RANK] = {0}, stride[3][MC_MOVE_RANK] = {{0}};
    struct mc_shape lead = mc_shape_of(j->rank, c->out[0].shape.dim);
    float alpha = transposable(c->node) ? mc_node_float(c->node, "alpha", 1) : 1;
    mc_op_strides(&lead, stride[2]);
    for (int d = 0; d < j->rank; d++) {
        dim[d] = lead.dim[d];
        stride[0][d] = j->stride[0][d] * p->m * p->k;
        stride[1][d] = j->stride[1][d] * p->k * p->n;
        stride[2][d] *= p->m * p->n;
    }
    struct mc_gemm g = {.m = p->m,
                        .n = p->n,
                        .k = p->k,
                        .a = c->in[0].data,
                        .a_row = p->a_row,
                        .a_col = p->a_col,
                        .b = c->in[1].data,
                        .b_row = p->b_row,
                        .b_col = p->b_col,
                        .c = c->out[0].data,
                        .c_row = p->n,
                        .alpha = (double)alpha,
                        .epilogue = mc_product_epilogue(c)};
    mc_product_batch(c->k, &g, j->rank, dim, stride, c->pool);
}

static void batch_chunk(void *ctx, int64_t chunk, int worker)
{
    const struct batch_job *j = ctx;
    for (int64_t i = chunk * j->per_chunk; i < (chunk + 1) * j->per_chunk && i < j->p->batch; i++)
        batch_one(j, i, worker);
}

static int matmul_run(struct mc_call *c, struct mc_err *err)
{
    (void)err;
    const struct mc_product *p = c->state;
    size_t at = 0;
    bool whole = mc_product_whole(c->out[0].dtype);
    struct batch_job j = {.c = c, .p = p};
    j.packed = whole || packs_late(c, p) ? NULL : mc_product_packed(c, p, &at);
    j.scratch_each = whole ? 0 : each_scratch(c, p);
    int64_t scratches = inner_scratches(c, p), cost = p->m * p->n * p->k + 1;
    j.scratch = mc_op_scratch(c, &at, j.scratch_each * (size_t)scratches);
    if (p->batch > 1) {
        const struct mc_shape *a = &c->in[0].shape, *b = &c->in[1].shape;
        j.rank = c->out[0].shape.rank - (a->rank > 1) - (b->rank > 1);
        struct mc_shape to = mc_shape_of(j.rank, c->out[0].shape.dim);
        struct mc_shape lead_a = mc_shape_of(a->rank > 2 ? a->rank - 2 : 0, a->dim);
        struct mc_shape lead_b = mc_shape_of(b->rank > 2 ? b->rank - 2 : 0, b->dim);
        mc_op_broadcast_strides(&lead_a, &to, j.stride[0]);
        mc_op_broadcast_strides(&lead_b, &to, j.stride[1]);
    }
    if (c->k->device) {
        batch_device(&j);
    } else if (p->batch > 1 && cost <= SMALL) {
        j.per_chunk = cost < SMALL / 32 ? SMALL / 32 / cost : 1;
        mc_pool_run(c->pool, (p->batch + j.per_chunk - 1) / j.per_chunk, batch_chunk, &j);
    } else {
        for (int64_t i = 0; i < p->batch; i++)
            batch_one(&j, i, 0);
    }
    return 0;
}

const struct mc_op mc_ops_matmul[] = {
    {"", "Gemm", 1, MC_OP_EPILOGUE, gemm_infer, gemm_setup, gemm_run, mc_product_free, gemm_macs,
     NULL},
    {"", "MatMul", 1, MC_OP_EPILOGUE, matmul_infer, matmul_setup, matmul_run, mc_product_free,
     matmul_macs, NULL},
    {MC_GRAD_DOMAIN, "MatMul", 1, MC_OP_EPILOGUE, matmul_infer, matmul_setup, matmul_run,
     mc_product_free, matmul_macs, NULL},
    {"com.microsoft", "FusedGemm", 1, 0, fused_gemm_infer, gemm_setup, fused_gemm_run,
     mc_product_free, gemm_macs, NULL},
    {"com.microsoft", "FusedMatMul", 1, MC_OP_EPILOGUE, matmul_infer, matmul_setup, matmul_run,
     mc_product_free, matmul_macs, NULL},
    {0},
};

/* Whole numbers stay on the CPU. */
static bool gpu_can(const struct mc_call *c)
{
    return c->k->gemm.run && c->in[0].dtype == MC_DTYPE_F32 && mc_op_gpu_floats(c);
}

static bool gpu_gemm_can(const struct mc_call *c)
{
    return gpu_can(c) &&
           (!mc_op_arg(c, 2) || (c->k->move.run && c->k->optim.blend && c->k->elementwise.binary));
}

static bool gpu_fused_can(const struct mc_call *c)
{
    struct mc_fused_act act;
    return gpu_gemm_can(c) && !mc_fused_act(c->node, &act, NULL) &&
           (!act.rest || c->k->elementwise.unary);
}

const struct mc_op_gpu mc_op_gpu_matmul[] = {
    {"", "Gemm", .can = gpu_gemm_can},
    {"", "MatMul", .can = gpu_can},
    {MC_GRAD_DOMAIN, "MatMul", .can = gpu_can},
    {"com.microsoft", "FusedGemm", .can = gpu_fused_can},
    {"com.microsoft", "FusedMatMul", .can = gpu_can},
    {0},
};
