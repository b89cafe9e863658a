#include <string.h>

#include "kernels/fill.h"
#include "kernels/ref/elem.h"
#include "kernels/ref/out_s8_ref.h"

/* "Packed" here is the values as a dense row-major int16 matrix. */
static size_t pack_b_bytes(int64_t k, int64_t n)
{
    return (size_t)k * (size_t)n * sizeof(int16_t);
}

static void pack_b(int64_t k, int64_t n, const struct mc_s8_side *b, void *dst,
                   struct mc_pool *pool)
{
    (void)pool;
    int16_t *to = dst;
    for (int64_t i = 0; i < k; i++)
        for (int64_t j = 0; j < n; j++)
            to[i * n + j] = (int16_t)s8_value(b->data, b->is_signed, i * b->row + j * b->col);
}

static size_t scratch_bytes(int64_t m, int64_t n, int64_t k, int threads)
{
    (void)m;
    (void)n;
    (void)k;
    (void)threads;
    return 0;
}

static int32_t zero_at(const struct mc_s8_zero *z, int64_t i)
{
    return z->value ? z->value[i * z->step] : 0;
}

static void run(const struct mc_gemm_s8 *g, void *scratch, struct mc_pool *pool)
{
    (void)scratch;
    (void)pool;
    const int16_t *b = g->packed_b;
    for (int64_t i = 0; i < g->m; i++) {
        int32_t a_zero = zero_at(&g->a_zero, i);
        for (int64_t j = 0; j < g->n; j++) {
            int32_t b_zero = zero_at(&g->b_zero, j);
            uint32_t sum = 0; /* wraps */
            for (int64_t p = 0; p < g->k; p++) {
                int32_t a = s8_value(g->a.data, g->a.is_signed, i * g->a.row + p * g->a.col);
                sum += (uint32_t)((a - a_zero) * (b[p * g->n + j] - b_zero));
            }
            s8_put(&g->to, (int32_t)sum, j, g->c, i * g->c_row + j);
        }
    }
}

void MC_REF(mc_gemm_s8_fill)(struct mc_gemm_s8_kernels *k)
{
    *k = (struct mc_gemm_s8_kernels){pack_b_bytes, pack_b, scratch_bytes, run};
}
