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

/* Element r of the circular convolution of x with a column; transposed: of the correlation. */
static elem convolve(int64_t b, bool transposed, const elem *col, const elem *x, int64_t r)
{
    elem sum = 0;
    for (int64_t s = 0; s < b; s++) {
        int64_t at = transposed ? s - r : r - s;
        sum += col[at < 0 ? at + b : at] * x[s];
    }
    return sum;
}

static void run_row(void *ctx, int64_t row, int worker)
{
    (void)worker;
    const struct mc_circulant_product *m = ctx;
    const struct mc_circulant *c = &m->c;
    const struct mc_epilogue *e = &m->epilogue;
    int64_t b = c->b, in = c->transposed ? c->p : c->q, out = c->transposed ? c->q : c->p;
    const elem *x = (const elem *)m->x + row * m->ldx, *col = m->packed;
    const elem *bias = e->bias, *residual = e->residual;
    elem *y = (elem *)m->y + row * m->ldy;
    for (int64_t at = 0; at < out * b; at++) {
        int64_t o = at / b;
        elem v = 0;
        for (int64_t i = 0; i < in; i++)
            v += convolve(b, c->transposed, col + (c->transposed ? i * c->q + o : o * c->q + i) * b,
                          x + i * b, at % b);
        if (bias)
            v += bias[at];
        if (residual)
            v += residual[row * m->ldy + at];
        y[at] = act_ref(e->act, (elem)e->lo, (elem)e->hi, v);
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
                sum += dy[row * g->lddy + (s + k < b ? s + k : s + k - b)] * x[row * g->ldx + s];
        }
        dcol[k] = sum;
    }
}

static void gradient(const struct mc_circulant_gradient *g, void *scratch, struct mc_pool *pool)
{
    (void)scratch;
    mc_pool_run(pool, g->c.p * g->c.q, gradient_block, (void *)g);
}

/* The dense convolution; "packed" is its weight, packed, and before that as it is. */
static struct mc_conv_kernels conv(void)
{
    struct mc_conv_kernels k;
    MC_REF(mc_conv_fill)(&k);
    return k;
}

static int64_t conv_taps(const struct mc_circulant_conv *m)
{
    return m->conv.kernel[0] * m->conv.kernel[1] * m->conv.kernel[2];
}

static size_t conv_weight_bytes(const struct mc_circulant_conv *m)
{
    return ((size_t)(m->conv.oc * m->conv.c * conv_taps(m)) * sizeof(elem) + 63) / 64 * 64;
}

static size_t conv_pack_bytes(const struct mc_circulant_conv *m)
{
    return conv_weight_bytes(m) + conv().pack_w_bytes(&m->conv);
}

static void conv_pack(const struct mc_circulant_conv *m, const void *col, void *packed,
                      struct mc_pool *pool)
{
    int64_t b = m->c.b, taps = conv_taps(m);
    elem *w = packed;
    const elem *from = col;
    for (int64_t r = 0; r < m->c.p * b; r++) {
        for (int64_t s = 0; s < m->c.q * b; s++) {
            int64_t block = r / b * m->c.q + s / b, k = (r % b - s % b + b) % b;
            memcpy(w, from + (block * b + k) * taps, (size_t)taps * sizeof *w);
            w += taps;
        }
    }
    conv().pack_w(&m->conv, packed, (char *)packed + conv_weight_bytes(m), pool);
}

static size_t conv_scratch_bytes(const struct mc_circulant_conv *m, int threads)
{
    return conv().scratch_bytes(&m->conv, threads);
}

static void conv_run(const struct mc_circulant_conv *m, void *scratch, struct mc_pool *pool)
{
    struct mc_conv v = m->conv;
    v.packed_w = (const char *)m->packed + conv_weight_bytes(m);
    conv().run(&v, scratch, pool);
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
        .conv_pack_bytes = conv_pack_bytes,
        .conv_pack = conv_pack,
        .conv_scratch_bytes = conv_scratch_bytes,
        .conv_run = conv_run,
    };
}
