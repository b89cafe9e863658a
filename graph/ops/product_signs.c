/* A weight whose columns are one number each, with signs: kept as bits where few rows meet it. Such a product takes the time
 * of reading its weight, which is 1/32 then: 16 times faster at 4096 x 4096 and one row. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "graph/ops/pack.h"
#include "graph/ops/product.h"

enum { LEAST = 512 * 512 }; /* weights: twice as fast from here */

static const float *column(const struct mc_product *p, const float *b, int64_t j)
{
    return b + j * p->b_col;
}

/* Is every column one finite number, with signs? Most weights say no at their second. */
static bool is_signs(const struct mc_product *p, const float *b)
{
    for (int64_t j = 0; j < p->n; j++) {
        float s = fabsf(*column(p, b, j));
        if (!isfinite(s) || fabsf(column(p, b, j)[p->b_row]) != s)
            return false;
    }
    bool in_columns = p->b_row == 1; /* as they lie in memory */
    int64_t outer = in_columns ? p->n : p->k, inner = in_columns ? p->k : p->n;
    for (int64_t i = 0; i < outer; i++)
        for (int64_t e = 0; e < inner; e++) {
            int64_t j = in_columns ? i : e, row = in_columns ? e : i;
            if (fabsf(column(p, b, j)[row * p->b_row]) != fabsf(*column(p, b, j)))
                return false;
        }
    return true;
}

static size_t scale_bytes(const struct mc_product *p)
{
    return ((size_t)p->n * sizeof(float) + MC_ALIGN - 1) / MC_ALIGN * MC_ALIGN;
}

/* rows: zeros, of as many bits as the weight has numbers. */
static void fill(struct mc_call *c, const struct mc_product *p, uint8_t *rows, char *block)
{
    const float *b = c->in[1].data;
    int64_t bytes = MC_XNOR_BYTES(p->k);
    for (int64_t j = 0; j < p->n; j++) {
        ((float *)block)[j] = fabsf(*column(p, b, j));
        for (int64_t i = 0; i < p->k; i++)
            rows[j * bytes + i / 8] |= (uint8_t)(!signbit(column(p, b, j)[i * p->b_row]) << i % 8);
    }
    c->k->xnor.pack_b(p->k, p->n, rows, block + scale_bytes(p), c->pool);
}

int mc_product_pack_signs(struct mc_call *c, struct mc_product *p, struct mc_err *err)
{
    p->signs = NULL;
    if (!c->in[1].constant || c->k->elem_bytes != 4 || p->batch != 1 || p->b_count != 1 ||
        p->a_col != 1 || p->m > c->k->xnor.few_rows || p->k < 2 || p->k * p->n < LEAST ||
        mc_node_float(c->node, "alpha", 1) != 1 || !is_signs(p, c->in[1].data))
        return 0;
    const int64_t layout[] = {MC_PACK_SIGNS, p->k, p->n, p->b_row, p->b_col};
    void *block;
    bool fresh;
    /* Before there is a block that others would find without content. */
    uint8_t *rows = mc_calloc((size_t)p->n, (size_t)MC_XNOR_BYTES(p->k));
    if (!rows)
        return mc_fail(err, MC_ENOMEM, "out of memory");
    int rc = mc_pack_get(c->packs, c->in[1].data, layout, 5,
                         scale_bytes(p) + c->k->xnor.pack_b_bytes(p->k, p->n), &block, &fresh, err);
    if (!rc && fresh)
        fill(c, p, rows, block);
    if (!rc)
        p->signs = block;
    free(rows);
    return rc;
}

void mc_product_run_signs(const struct mc_call *c, const struct mc_product *p,
                          const struct mc_gemm *g, void *scratch)
{
    const struct mc_epilogue *e = &g->epilogue;
    bool plain = !e->residual && e->act == MC_ACT_NONE;
    struct mc_xnor_signs s = {.m = p->m,
                              .n = p->n,
                              .k = p->k,
                              .x = g->a,
                              .x_row = g->a_row,
                              .packed_b = (const char *)p->signs + scale_bytes(p),
                              .scale = p->signs,
                              .bias = plain ? e->bias : NULL,
                              .y = g->c,
                              .y_row = g->c_row};
    if (e->residual && e->residual == g->c) /* read before it is written */
        s.y = (char *)scratch + c->k->xnor.signs_scratch_bytes(p->k);
    c->k->xnor.signs(&s, scratch, c->pool);
    if (plain)
        return;
    for (int64_t i = 0; i < p->m * p->n && e->residual; i++) /* few rows: not worth threads */
        ((float *)g->c)[i] = ((const float *)e->residual)[i] + ((const float *)s.y)[i];
    struct mc_gemm rest = {.m = p->m,
                           .n = p->n,
                           .packed_b = p->signs, /* of nothing */
                           .a = g->a,
                           .c = g->c,
                           .c_row = g->c_row,
                           .alpha = 1,
                           .epilogue = {e->scale, e->bias, g->c, e->act, e->lo, e->hi}};
    c->k->gemm.run(&rest, scratch, c->pool);
}

size_t mc_product_signs_scratch(const struct mc_call *c, const struct mc_product *p)
{
    size_t ours = c->k->xnor.signs_scratch_bytes(p->k) + (size_t)(p->m * p->n) * sizeof(float);
    size_t rest = c->k->gemm.scratch_bytes(p->m, p->n, 0, mc_pool_threads(c->pool));
    return ours > rest ? ours : rest;
}
