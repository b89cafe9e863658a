/* MatMulNBits of com.microsoft: a product with a weight of 2, 4 or 8 bits, scaled in blocks along k. */
#include <stdlib.h>
#include <string.h>

#include "graph/ops/helper.h"
#include "graph/ops/pack.h"

enum { A, B, SCALES, ZEROS, GROUPS, BIAS };

struct nbits {
    int64_t m, n, k, bits, block, blocks;
    const void *packed; /* of a constant B, or NULL */
};

static int sizes_of(const struct mc_node *node, struct nbits *t, struct mc_err *err)
{
    *t = (struct nbits){.n = mc_node_int(node, "N", 0),
                        .k = mc_node_int(node, "K", 0),
                        .bits = mc_node_int(node, "bits", 4),
                        .block = mc_node_int(node, "block_size", 0)};
    if (t->n < 1 || t->k < 1 || t->n > INT32_MAX || t->k > INT32_MAX)
        return mc_op_fail(err, MC_ESHAPE, node, "N is %lld, K is %lld", (long long)t->n,
                          (long long)t->k);
    if (t->bits != 2 && t->bits != 4 && t->bits != 8)
        return mc_op_fail(err, MC_EUNSUP, node, "%lld bits, must be 2, 4 or 8", (long long)t->bits);
    if (t->block < 16 || t->block > INT32_MAX || (t->block & (t->block - 1)))
        return mc_op_fail(err, MC_ESHAPE, node, "block_size %lld, must be a power of two from 16",
                          (long long)t->block);
    t->blocks = (t->k + t->block - 1) / t->block;
    return 0;
}

/* Input i, where it is there and known, has so many elements. */
static int need_count(const struct mc_infer_ctx *c, int i, int64_t want, struct mc_err *err)
{
    const struct mc_vtype *x = mc_op_in(c, i);
    int64_t n = x && x->ranked ? mc_shape_count(&x->shape) : -1;
    if (n < 0 || n == want)
        return 0;
    return mc_op_fail(err, MC_ESHAPE, c->node, "input %d has %lld elements, must have %lld", i,
                      (long long)n, (long long)want);
}

static int64_t zero_bytes(const struct nbits *t) /* of one column */
{
    return (t->blocks * t->bits + 7) / 8;
}

static int nbits_infer(struct mc_infer_ctx *c, struct mc_err *err)
{
    struct nbits t;
    int rc = mc_op_arity(c, 3, 6, err), rank = mc_op_rank(c, A);
    rc = rc ? rc : sizes_of(c->node, &t, err);
    rc = rc ? rc : mc_op_need_float(c, A, err);
    rc = rc ? rc : mc_op_need_float(c, SCALES, err);
    rc = rc ? rc : mc_op_need_rank(c, A, 1, MC_RANK_MAX, err);
    if (!rc && mc_op_in(c, GROUPS))
        rc = mc_op_fail(err, MC_EUNSUP, c->node, "g_idx cannot run");
    const struct mc_vtype *x = mc_op_in(c, A), *b = mc_op_in(c, B), *zero = mc_op_in(c, ZEROS);
    if (!rc && b->dtype && b->dtype != MC_DTYPE_U8)
        rc = mc_op_fail(err, MC_EDTYPE, c->node, "B is %s, must be uint8",
                        mc_dtype_name((int)b->dtype));
    rc = rc ? rc : need_count(c, B, t.n * t.blocks * t.block * t.bits / 8, err);
    rc = rc ? rc : need_count(c, SCALES, t.n * t.blocks, err);
    if (!rc && zero && zero->dtype == MC_DTYPE_U8)
        rc = need_count(c, ZEROS, t.n * zero_bytes(&t), err);
    else if (!rc && zero)
        rc = mc_op_need_float(c, ZEROS, err);
    if (!rc && zero && zero->dtype != MC_DTYPE_U8)
        rc = need_count(c, ZEROS, t.n * t.blocks, err);
    if (!rc && mc_op_in(c, BIAS))
        rc = mc_op_need_float(c, BIAS, err);
    rc = rc ? rc : need_count(c, BIAS, t.n, err);
    if (rc)
        return rc;
    mc_op_give(c, 0, x->dtype, NULL);
    if (rank < 1)
        return 0;
    struct mc_shape y = x->shape;
    rc = mc_op_need_dim(c->node, "columns of A and K", y.dim[rank - 1], t.k, &y.dim[rank - 1], err);
    y.dim[rank - 1] = t.n;
    mc_op_give(c, 0, x->dtype, &y);
    return rc;
}

static double nbits_macs(const struct mc_infer_ctx *c)
{
    int64_t out = c->out[0]->ranked ? mc_shape_count(&c->out[0]->shape) : -1;
    return out < 0 ? -1 : (double)out * (double)mc_node_int(c->node, "K", 0);
}

static double real(const struct mc_buf *b, int64_t i)
{
    return b->dtype == MC_DTYPE_F64 ? ((const double *)b->data)[i]
                                    : (double)((const float *)b->data)[i];
}

static unsigned code_at(const uint8_t *from, int64_t bits, int64_t i)
{
    int64_t per = 8 / bits;
    return (unsigned)from[i / per] >> (i % per * bits) & ((1u << bits) - 1);
}

/* B as [n, k] numbers of the kernels' type, into dst. */
static void expand(const struct mc_call *c, const struct nbits *t, void *dst)
{
    const struct mc_buf *scales = &c->in[SCALES], *zeros = mc_op_arg(c, ZEROS);
    const uint8_t *b = c->in[B].data;
    int64_t bytes = t->block * t->bits / 8;
    for (int64_t j = 0; j < t->n; j++)
        for (int64_t g = 0; g < t->blocks; g++, b += bytes) {
            double scale = real(scales, j * t->blocks + g), zero = (double)(1 << (t->bits - 1));
            if (zeros && zeros->dtype == MC_DTYPE_U8)
                zero = code_at((const uint8_t *)zeros->data + j * zero_bytes(t), t->bits, g);
            else if (zeros)
                zero = real(zeros, j * t->blocks + g);
            int64_t from = g * t->block, m = t->k - from < t->block ? t->k - from : t->block;
            for (int64_t i = 0; i < m; i++) {
                double v = (code_at(b, t->bits, i) - zero) * scale;
                if (c->k->elem_bytes == 8)
                    ((double *)dst)[j * t->k + from + i] = v;
                else
                    ((float *)dst)[j * t->k + from + i] = (float)v;
            }
        }
}

static size_t wide_bytes(const struct mc_call *c, const struct nbits *t)
{
    return (size_t)(t->n * t->k * c->k->elem_bytes);
}

static int nbits_pack(struct mc_call *c, struct nbits *t, struct mc_err *err)
{
    const struct mc_buf *zeros = mc_op_arg(c, ZEROS);
    bool all = c->in[B].constant && c->in[SCALES].constant;
    if (!all || (zeros && !zeros->constant))
        return 0;
    const int64_t layout[] = {MC_PACK_NBITS,
                              t->n,
                              t->k,
                              t->bits,
                              t->block,
                              (int64_t)(uintptr_t)c->in[SCALES].data,
                              zeros ? (int64_t)(uintptr_t)zeros->data : 0};
    void *block, *wide = NULL;
    bool fresh;
    int rc = mc_pack_get(c->packs, c->in[B].data, layout, 7, c->k->gemm.pack_b_bytes(t->k, t->n),
                         &block, &fresh, err);
    if (!rc && fresh) {
        wide = malloc(wide_bytes(c, t));
        if (!wide) {
            mc_pack_forget(c->packs, c->in[B].data);
            return mc_op_fail(err, MC_ENOMEM, c->node, "out of memory");
        }
        expand(c, t, wide);
        c->k->gemm.pack_b(t->k, t->n, wide, 1, t->k, block, c->pool);
        free(wide);
    }
    if (!rc)
        t->packed = block;
    return rc;
}

struct space {
    void *wide, *packed, *kernel;
};

static size_t layout_scratch(const struct mc_call *c, const struct nbits *t, struct space *s)
{
    size_t at = 0;
    *s = (struct space){0};
    if (!t->packed) {
        s->wide = mc_op_scratch(c, &at, wide_bytes(c, t));
        s->packed = mc_op_scratch(c, &at, c->k->gemm.pack_b_bytes(t->k, t->n));
    }
    s->kernel =
        mc_op_scratch(c, &at, c->k->gemm.scratch_bytes(t->m, t->n, t->k, mc_pool_threads(c->pool)));
    return at;
}

static int nbits_setup(struct mc_call *c, struct mc_err *err)
{
    struct nbits t;
    struct space s;
    int rc = sizes_of(c->node, &t, err);
    if (rc)
        return rc;
    t.m = mc_op_span(&c->in[A], 0, c->in[A].shape.rank - 1);
    if ((rc = nbits_pack(c, &t, err)))
        return rc;
    c->scratch_bytes = layout_scratch(c, &t, &s);
    c->state = malloc(sizeof t);
    if (!c->state)
        return mc_fail(err, MC_ENOMEM, "out of memory");
    memcpy(c->state, &t, sizeof t);
    return 0;
}

static void nbits_teardown(struct mc_call *c)
{
    free(c->state);
    c->state = NULL;
}

static int nbits_run(struct mc_call *c, struct mc_err *err)
{
    (void)err;
    const struct nbits *t = c->state;
    const struct mc_buf *bias = mc_op_arg(c, BIAS);
    struct space s;
    layout_scratch(c, t, &s);
    if (!t->packed) {
        expand(c, t, s.wide);
        c->k->gemm.pack_b(t->k, t->n, s.wide, 1, t->k, s.packed, c->pool);
    }
    struct mc_gemm g = {.m = t->m,
                        .n = t->n,
                        .k = t->k,
                        .a = c->in[A].data,
                        .a_row = t->k,
                        .a_col = 1,
                        .packed_b = t->packed ? t->packed : s.packed,
                        .c = c->out[0].data,
                        .c_row = t->n,
                        .alpha = 1,
                        .epilogue = {.bias = bias ? bias->data : NULL}};
    c->k->gemm.run(&g, s.kernel, c->pool);
    return 0;
}

const struct mc_op mc_ops_nbits[] = {
    {"com.microsoft", "MatMulNBits", 1, 0, nbits_infer, nbits_setup, nbits_run, nbits_teardown,
     nbits_macs, NULL},
    {0},
};
