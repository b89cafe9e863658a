#include <string.h>

#include "kernels/fill.h"
#include "kernels/ref/elem.h"

/* "Packed" here is the values as a dense row-major int16 matrix. */
static size_t pack_bytes(int64_t rows, int64_t cols)
{
    return (size_t)rows * (size_t)cols * sizeof(int16_t);
}

static void pack(int64_t rows, int64_t cols, const struct mc_s8_side *s, void *dst,
                 struct mc_pool *pool)
{
    (void)pool;
    int16_t *to = dst;
    for (int64_t i = 0; i < rows; i++) {
        for (int64_t j = 0; j < cols; j++) {
            int64_t at = i * s->row + j * s->col;
            to[i * cols + j] =
                s->is_signed ? ((const int8_t *)s->data)[at] : ((const uint8_t *)s->data)[at];
        }
    }
}

static size_t scratch_bytes(int64_t m, int64_t n, int64_t k)
{
    (void)n;
    return pack_bytes(m, k);
}

static int32_t zero_at(const struct mc_s8_zero *z, int64_t i)
{
    return z->value ? z->value[i * z->step] : 0;
}

static void run(const struct mc_gemm_s8 *g, void *scratch, struct mc_pool *pool)
{
    const int16_t *a = g->packed_a ? g->packed_a : scratch, *b = g->packed_b;
    if (!g->packed_a)
        pack(g->m, g->k, &g->a, scratch, pool);
    for (int64_t i = 0; i < g->m; i++) {
        int32_t a_zero = zero_at(&g->a_zero, i);
        for (int64_t j = 0; j < g->n; j++) {
            int32_t b_zero = zero_at(&g->b_zero, j);
            uint32_t sum = 0; /* wraps */
            for (int64_t p = 0; p < g->k; p++)
                sum += (uint32_t)((a[i * g->k + p] - a_zero) * (b[p * g->n + j] - b_zero));
            g->c[i * g->c_row + j] = (int32_t)sum;
        }
    }
}

void MC_REF(mc_gemm_s8_fill)(struct mc_gemm_s8_kernels *k)
{
    *k = (struct mc_gemm_s8_kernels){pack_bytes, pack_bytes, pack, pack, scratch_bytes, run};
}
