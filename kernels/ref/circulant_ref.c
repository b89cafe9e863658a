#include <string.h>

#include "kernels/fill.h"
#include "kernels/ref/act_ref.h"

static enum mc_circulant_way choose(const struct mc_circulant *c, int64_t rows)
{
    (void)c;
    (void)rows;
    return MC_CIRCULANT_DENSE;
}

/* "Packed" are the columns as they are. */
static size_t pack_bytes(const struct mc_circulant *c, enum mc_circulant_way way)
{
    (void)way;
    return (size_t)(c->p * c->q * c->b) * sizeof(elem);
}

static void pack(const struct mc_circulant *c, enum mc_circulant_way way, const void *col,
                 void *packed, struct mc_pool *pool)
{
    (void)pool;
    memcpy(packed, col, pack_bytes(c, way));
}

static size_t scratch_bytes(const struct mc_circulant *c, enum mc_circulant_way way, int64_t rows,
                            int threads)
{
    (void)c;
    (void)way;
    (void)rows;
    (void)threads;
    return 0;
}

/* W[r, s]; transposed: of W^T. */
static elem weight(const struct mc_circulant *c, const elem *col, int64_t r, int64_t s)
{
    int64_t b = c->b, row = c->transposed ? s : r, at = c->transposed ? r : s;
    return col[(row / b * c->q + at / b) * b + (row % b - at % b + b) % b];
}

static void run_row(void *ctx, int64_t row, int worker)
{
    (void)worker;
    const struct mc_circulant_product *m = ctx;
    const struct mc_circulant *c = &m->c;
    const struct mc_epilogue *e = &m->epilogue;
    int64_t in = (c->transposed ? c->p : c->q) * c->b, out = (c->transposed ? c->q : c->p) * c->b;
    const elem *x = (const elem *)m->x + row * m->ldx, *bias = e->bias, *residual = e->residual;
    elem *y = (elem *)m->y + row * m->ldy;
    for (int64_t r = 0; r < out; r++) {
        elem v = 0;
        for (int64_t s = 0; s < in; s++)
            v += weight(c, m->packed, r, s) * x[s];
        if (bias)
            v += bias[r];
        if (residual)
            v += residual[row * m->ldy + r];
        y[r] = act_ref(e->act, (elem)e->lo, (elem)e->hi, v);
    }
}

static void run(const struct mc_circulant_product *m, void *scratch, struct mc_pool *pool)
{
    (void)scratch;
    mc_pool_run(pool, m->rows, run_row, (void *)m);
}

static void gradient_block(void *ctx, int64_t block, int worker)
{
    (void)worker;
    const struct mc_circulant_gradient *g = ctx;
    int64_t b = g->c.b, i = block / g->c.q, j = block % g->c.q;
    const elem *dy = (const elem *)g->dy + i * b, *x = (const elem *)g->x + j * b;
    elem *dcol = (elem *)g->dcol + block * b;
    for (int64_t k = 0; k < b; k++) {
        elem sum = 0;
        for (int64_t row = 0; row < g->rows; row++) {
            for (int64_t s = 0; s < b; s++)
                sum += dy[row * g->lddy + (s + k) % b] * x[row * g->ldx + s];
        }
        dcol[k] = sum;
    }
}

static void gradient(const struct mc_circulant_gradient *g, void *scratch, struct mc_pool *pool)
{
    (void)scratch;
    mc_pool_run(pool, g->c.p * g->c.q, gradient_block, (void *)g);
}

void MC_REF(mc_circulant_fill)(struct mc_circulant_kernels *k)
{
    *k = (struct mc_circulant_kernels){
        .choose = choose,
        .pack_bytes = pack_bytes,
        .pack = pack,
        .scratch_bytes = scratch_bytes,
        .run = run,
        .choose_gradient = choose,
        .gradient_scratch_bytes = scratch_bytes,
        .gradient = gradient,
    };
}
