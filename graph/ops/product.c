#include "graph/ops/product.h"

#include <stdlib.h>
#include <string.h>

#include "graph/ops/helper.h"
#include "graph/ops/pack.h"

struct mc_epilogue mc_product_epilogue(const struct mc_call *c)
{
    return c->epilogue ? *c->epilogue : (struct mc_epilogue){0};
}

static size_t round_up(size_t n)
{
    return (n + MC_ALIGN - 1) / MC_ALIGN * MC_ALIGN;
}

size_t mc_product_scratch(const struct mc_call *c, const struct mc_product *p)
{
    if (c->k->device)
        return 0;
    if (p->signs)
        return round_up(mc_product_signs_scratch(c, p));
    return round_up(c->k->gemm.scratch_bytes(p->m, p->n, p->k_step, mc_pool_threads(c->pool)));
}

/* A long sum over run-time values, the gradient of a weight, goes by parts whose A and B stay in the cache until
 * they are multiplied; B is packed part by part. What C costs for being read again is little where it is
 * small. */
static int64_t step_of(const struct mc_call *c, const struct mc_product *p)
{
    enum { PART = 1 << 19, RESULT = 1 << 18, LEAST = 256 }; /* bytes; of k */
    int64_t elem = c->k->elem_bytes, row = (p->m + p->n) * elem, parts;
    if (c->in[1].constant || p->batch != 1 || p->m * p->n * elem > RESULT || p->k * row <= 2 * PART)
        return p->k;
    parts = p->k * row / PART;
    parts = parts < p->k / LEAST ? parts : p->k / LEAST;
    return parts > 1 ? (p->k + parts - 1) / parts : p->k;
}

static void pack_matrices(const struct mc_call *c, const struct mc_product *p, const void *b,
                          void *dst)
{
    size_t each = (size_t)(p->k * p->n * c->k->elem_bytes);
    for (int64_t i = 0; i < p->b_count; i++)
        c->k->gemm.pack_b(p->k, p->n, (const char *)b + (size_t)i * each, p->b_row, p->b_col,
                          (char *)dst + (size_t)i * p->packed_each, c->pool);
}

int mc_product_pack(struct mc_call *c, struct mc_product *p, struct mc_err *err)
{
    p->k_step = p->k;
    if (c->k->device)
        return 0;
    int rc = mc_product_pack_signs(c, p, err);
    if (rc || p->signs) {
        p->packed = p->signs;
        c->packed = 1 << 1;
        return rc;
    }
    p->k_step = step_of(c, p);
    p->packed_each = round_up(c->k->gemm.pack_b_bytes(p->k_step, p->n));
    if (!c->in[1].constant)
        return 0;
    const int64_t layout[] = {MC_PACK_B, p->b_count, p->k, p->n, p->b_row, p->b_col};
    void *block;
    bool fresh;
    rc = mc_pack_get(c->packs, c->in[1].data, layout, 6, p->packed_each * (size_t)p->b_count,
                     &block, &fresh, err);
    if (rc)
        return rc;
    if (fresh)
        pack_matrices(c, p, c->in[1].data, block);
    p->packed = block;
    c->packed = 1 << 1;
    return 0;
}

int mc_product_keep(struct mc_call *c, const struct mc_product *p, struct mc_err *err)
{
    struct mc_product *state = malloc(sizeof *state);
    if (!state)
        return mc_fail(err, MC_ENOMEM, "out of memory");
    *state = *p;
    c->state = state;
    return 0;
}

void mc_product_free(struct mc_call *c)
{
    free(c->state);
    c->state = NULL;
}

const void *mc_product_packed(struct mc_call *c, const struct mc_product *p, size_t *at)
{
    if (p->packed || c->k->device)
        return p->packed;
    void *block = mc_op_scratch(c, at, p->packed_each * (size_t)p->b_count);
    if (block && p->k_step == p->k)
        pack_matrices(c, p, c->in[1].data, block);
    return block;
}

void mc_product_run(const struct mc_call *c, const struct mc_product *p, struct mc_gemm *g,
                    const void *packed, void *scratch)
{
    struct mc_epilogue e = g->epilogue;
    const char *a = g->a, *b = c->in[1].data;
    g->packed_b = packed;
    if (p->signs) {
        mc_product_run_signs(c, p, g, scratch);
        return;
    }
    if (c->k->device) {
        g->b = b;
        g->b_row = p->b_row;
        g->b_col = p->b_col;
    }
    if (p->k_step == p->k) {
        c->k->gemm.run(g, scratch, c->pool);
        return;
    }
    for (int64_t k = 0; k < p->k; k += p->k_step) {
        g->k = p->k_step < p->k - k ? p->k_step : p->k - k;
        g->a = a + k * g->a_col * c->k->elem_bytes;
        c->k->gemm.pack_b(g->k, p->n, b + k * p->b_row * c->k->elem_bytes, p->b_row, p->b_col,
                          (void *)packed, c->pool);
        g->epilogue = (struct mc_epilogue){.residual = g->c};
        if (k == 0) {
            g->epilogue = e;
            g->epilogue.act = MC_ACT_NONE;
        }
        if (k + g->k == p->k) {
            g->epilogue.act = e.act;
            g->epilogue.lo = e.lo;
            g->epilogue.hi = e.hi;
        }
        c->k->gemm.run(g, scratch, c->pool);
    }
}

void mc_product_batch(const struct mc_kernels *k, const struct mc_gemm *g, int rank, int64_t *dim,
                      int64_t stride[3][MC_MOVE_RANK], struct mc_pool *pool)
{
    int64_t calls = 1;
    int longest = 0;
    rank = mc_move_merge(rank, dim, 3, stride);
    for (int d = 0; d < rank; d++)
        longest = dim[d] > dim[longest] ? d : longest;
    for (int d = 0; d < rank; d++)
        calls *= d == longest ? dim[d] > 0 : dim[d];
    for (int64_t i = 0; i < calls; i++) {
        int64_t rest = i, at[3] = {0};
        for (int d = rank - 1; d >= 0; d--) {
            if (d == longest)
                continue;
            for (int x = 0; x < 3; x++)
                at[x] += rest % dim[d] * stride[x][d] * k->elem_bytes;
            rest /= dim[d];
        }
        struct mc_gemm one = *g;
        one.batch = dim[longest];
        one.a_step = stride[0][longest];
        one.b_step = stride[1][longest];
        one.c_step = stride[2][longest];
        one.a = (const char *)g->a + at[0];
        one.b = (const char *)g->b + at[1];
        one.c = (char *)g->c + at[2];
        if (g->epilogue.residual)
            one.epilogue.residual = (const char *)g->epilogue.residual + at[2];
        k->gemm.run(&one, NULL, pool);
    }
}

/* ---- whole numbers of 32 and 64 bits: rare, so by the definition; sums wrap ---- */

bool mc_product_whole(enum mc_dtype d)
{
    return d == MC_DTYPE_I32 || d == MC_DTYPE_I64 || d == MC_DTYPE_U32 || d == MC_DTYPE_U64;
}

#define WHOLE(type)                                                                                \
    static void whole_##type(const struct mc_product *p, const type *a, const type *b, type *y)    \
    {                                                                                              \
        for (int64_t i = 0; i < p->m; i++)                                                         \
            for (int64_t j = 0; j < p->n; j++) {                                                   \
                type sum = 0;                                                                      \
                for (int64_t k = 0; k < p->k; k++)                                                 \
                    sum += a[i * p->a_row + k * p->a_col] * b[k * p->b_row + j * p->b_col];        \
                y[i * p->n + j] = sum;                                                             \
            }                                                                                      \
    }
WHOLE(uint32_t)
WHOLE(uint64_t)

void mc_product_run_whole(const struct mc_call *c, const struct mc_product *p, int64_t a, int64_t b,
                          int64_t i)
{
    const void *left = c->in[0].data, *right = c->in[1].data;
    void *y = c->out[0].data;
    if (mc_op_elem_bytes(c->out[0].dtype) == 4)
        whole_uint32_t(p, (const uint32_t *)left + a * p->m * p->k,
                       (const uint32_t *)right + b * p->k * p->n, (uint32_t *)y + i * p->m * p->n);
    else
        whole_uint64_t(p, (const uint64_t *)left + a * p->m * p->k,
                       (const uint64_t *)right + b * p->k * p->n, (uint64_t *)y + i * p->m * p->n);
}

void mc_product_whole_binary(const struct mc_call *c, enum mc_binary_fn fn, const struct mc_buf *x,
                             const struct mc_buf *y, const struct mc_buf *z)
{
    struct mc_binary b = {
        .fn = fn, .rank = z->shape.rank, .x = x->data, .y = y->data, .z = z->data};
    memcpy(b.dim, z->shape.dim, sizeof *b.dim * (size_t)b.rank);
    mc_op_broadcast_strides(&x->shape, &z->shape, b.stride[0]);
    mc_op_broadcast_strides(&y->shape, &z->shape, b.stride[1]);
    b.rank = mc_move_merge(b.rank, b.dim, 2, b.stride);
    mc_typed_binary(mc_op_elem(c->out[0].dtype), &b);
}
