#include "kernels/fill.h"
#include "kernels/ref/act_ref.h"

/* "Packed" here is B as a dense row-major [k,n]. */
static size_t pack_b_bytes(int64_t k, int64_t n)
{
    return (size_t)k * (size_t)n * sizeof(elem);
}

static void pack_b(int64_t k, int64_t n, const void *b, int64_t b_row, int64_t b_col, void *dst,
                   struct mc_pool *pool)
{
    (void)pool;
    const elem *from = b;
    elem *to = dst;
    for (int64_t p = 0; p < k; p++) {
        for (int64_t j = 0; j < n; j++)
            to[p * n + j] = from[p * b_row + j * b_col];
    }
}

static size_t scratch_bytes(int64_t m, int64_t n, int64_t k, int threads)
{
    (void)m;
    (void)n;
    (void)k;
    (void)threads;
    return 0;
}

enum { COLS = 64 }; /* columns summed side by side, so that the loop vectorises */

static void row(void *ctx, int64_t i, int worker)
{
    (void)worker;
    const struct mc_gemm *g = ctx;
    const struct mc_epilogue *e = &g->epilogue;
    const elem *a = (const elem *)g->a + i * g->a_row;
    const elem *b = g->packed_b, *bias = e->bias, *residual = e->residual;
    elem *c = (elem *)g->c + i * g->c_row;
    for (int64_t j0 = 0; j0 < g->n; j0 += COLS) {
        int cols = g->n - j0 < COLS ? (int)(g->n - j0) : COLS;
        elem sum[COLS] = {0};
        for (int64_t p = 0; p < g->k; p++) {
            for (int j = 0; j < cols; j++)
                sum[j] += a[p * g->a_col] * b[p * g->n + j0 + j];
        }
        for (int j = 0; j < cols; j++) {
            elem v = (elem)g->alpha * sum[j];
            if (bias)
                v += bias[j0 + j];
            if (residual)
                v += residual[i * g->c_row + j0 + j];
            c[j0 + j] = act_ref(e->act, (elem)e->lo, (elem)e->hi, v);
        }
    }
}

static void run(const struct mc_gemm *g, void *scratch, struct mc_pool *pool)
{
    (void)scratch;
    mc_pool_run(pool, g->m, row, (void *)g);
}

void MC_REF(mc_gemm_fill)(struct mc_gemm_kernels *k)
{
    *k = (struct mc_gemm_kernels){pack_b_bytes, pack_b, scratch_bytes, run};
}
