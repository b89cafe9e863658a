/* Which way is fastest, and the dense one. */
#include <string.h>

#include "kernels/cpu/circulant_cpu.h"
#include "kernels/fill.h"

enum { DENSE_ROWS = 256 }; /* of W whose gradient is held before its diagonals are summed */

/* A way that stands in for what a length is too long for. */
static enum mc_circulant_way way_of(const struct mc_circulant *c, enum mc_circulant_way way)
{
    return way == MC_CIRCULANT_DFT && c->b > MC_CIRCULANT_DFT_MOST ? MC_CIRCULANT_FFT : way;
}

/* Lengths that FFTW has code for; others it transforms by longer ones, six times slower. */
static bool is_smooth(int64_t n)
{
    static const int factors[] = {2, 3, 5, 7, 11, 13};
    for (size_t i = 0; i < sizeof factors / sizeof factors[0]; i++) {
        while (n % factors[i] == 0)
            n /= factors[i];
    }
    return n == 1;
}

/* Measured with AVX-512 (EPYC) for n = 512 to 4096, b = 2 to n, 1 to 4096 rows, and small and odd sizes beside them. From
 * b = 2 on the dense product loses, if W is not small itself: 1024 / 2 by matrices takes half of sgemm's time, 1024 / 16 a
 * sixth. Transforms win from b = 32 on; for one row from 128. */
static enum mc_circulant_way choose(const struct mc_circulant *c, int64_t rows)
{
    int64_t b = c->b, least = min64(c->p, c->q) * b;
    if (b == 1 || (least <= 32 && b <= 32))
        return MC_CIRCULANT_DENSE;
    if (b > MC_CIRCULANT_DFT_MOST)
        return MC_CIRCULANT_FFT;
    return is_smooth(b) && b >= (rows == 1 ? 128 : 32) ? MC_CIRCULANT_FFT : MC_CIRCULANT_DFT;
}

/* The same for gradients, whose products weigh more than the transforms. */
static enum mc_circulant_way choose_gradient(const struct mc_circulant *c, int64_t rows)
{
    int64_t b = c->b, least = min64(c->p, c->q) * b, most = max64(c->p, c->q) * b;
    if (b == 1 || (rows > 16 && b <= 16 && (least <= 32 || most <= 64)))
        return MC_CIRCULANT_DENSE;
    if (b > MC_CIRCULANT_DFT_MOST)
        return MC_CIRCULANT_FFT;
    return is_smooth(b) && b >= 40 ? MC_CIRCULANT_FFT : MC_CIRCULANT_DFT;
}

/* ---- dense ---- */

static struct mc_gemm_kernels gemm(void)
{
    struct mc_gemm_kernels k;
    MC_CPU(mc_gemm_fill)(&k);
    return k;
}

struct expand_job {
    const struct mc_circulant *c;
    const float *col;
    float *to;
};

/* A panel of W^T as products want their second side: [input][PANEL outputs]. */
static void expand_panel(void *ctx, int64_t panel, int worker)
{
    (void)worker;
    const struct expand_job *j = ctx;
    const struct mc_circulant *c = j->c;
    int64_t b = c->b, in = circulant_in(c), rows = circulant_out(c) * b;
    int64_t first = panel * PANEL, last = min64(first + PANEL, rows);
    float *to = j->to + first * in * b;
    if (last - first < PANEL)
        memset(to, 0, (size_t)(in * b * PANEL) * sizeof *to);
    for (int64_t row = first, next; row < last; row = next) {
        int64_t o = row / b, r0 = row % b;
        next = min64(last, (o + 1) * b);
        for (int64_t i = 0; i < in; i++) {
            const float *col = circulant_col(c, j->col, o, i);
            for (int64_t s = 0; s < b; s++) {
                float *dst = to + (i * b + s) * PANEL + (row - first);
                for (int64_t r = r0; r < r0 + next - row; r++) {
                    int64_t at = c->transposed ? s - r : r - s;
                    *dst++ = col[at < 0 ? at + b : at];
                }
            }
        }
    }
}

static void dense(const struct mc_circulant_product *m, void *scratch, struct mc_pool *pool)
{
    struct mc_gemm g = {
        .m = m->rows,
        .n = circulant_out(&m->c) * m->c.b,
        .k = circulant_in(&m->c) * m->c.b,
        .a = m->x,
        .a_row = m->ldx,
        .a_col = 1,
        .packed_b = m->packed,
        .c = m->y,
        .c_row = m->ldy,
        .alpha = 1,
        .epilogue = m->epilogue,
    };
    gemm().run(&g, scratch, pool);
}

/* Scratch of the dense gradient: x packed, some rows of dW, what a product needs. */
struct dense_parts {
    int64_t blocks; /* rows of blocks at a time */
    size_t packed, dw, product;
};

static struct dense_parts dense_parts(const struct mc_circulant *c, int64_t rows, int threads)
{
    struct dense_parts d = {.blocks = min64(c->p, max64(1, DENSE_ROWS / c->b))};
    int64_t m = d.blocks * c->b, n = c->q * c->b;
    d.packed = gemm().pack_b_bytes(rows, n);
    d.packed = (d.packed + 63) / 64 * 64;
    d.dw = (size_t)circulant_line(m * n) * sizeof(float);
    d.product = gemm().scratch_bytes(m, n, rows, threads);
    return d;
}

/* dcol[k] = sum of block[r, c] with (r - c) mod b = k. */
static void sum_diagonals(int64_t b, const float *block, int64_t ld, float *dcol)
{
    memset(dcol, 0, (size_t)b * sizeof *dcol);
    for (int64_t c = 0; c < b; c++) {
        for (int64_t r = 0; r < b; r++)
            dcol[r < c ? r - c + b : r - c] += block[r * ld + c];
    }
}

static void dense_gradient(const struct mc_circulant_gradient *g, char *scratch,
                           struct mc_pool *pool)
{
    int64_t b = g->c.b, n = g->c.q * b;
    struct mc_gemm_kernels k = gemm();
    struct dense_parts d = dense_parts(&g->c, g->rows, mc_pool_threads(pool));
    float *dw = (float *)(scratch + d.packed);
    k.pack_b(g->rows, n, g->x, g->ldx, 1, scratch, pool);
    for (int64_t i0 = 0; i0 < g->c.p; i0 += d.blocks) {
        int64_t blocks = min64(d.blocks, g->c.p - i0);
        struct mc_gemm p = {
            .m = blocks * b,
            .n = n,
            .k = g->rows,
            .a = (const float *)g->dy + i0 * b,
            .a_row = 1,
            .a_col = g->lddy,
            .packed_b = scratch,
            .c = dw,
            .c_row = n,
            .alpha = 1,
        };
        k.run(&p, scratch + d.packed + d.dw, pool);
        for (int64_t i = 0; i < blocks; i++) {
            for (int64_t j = 0; j < g->c.q; j++)
                sum_diagonals(b, dw + i * b * n + j * b, n,
                              (float *)g->dcol + ((i0 + i) * g->c.q + j) * b);
        }
    }
}

/* ---- all ways ---- */

static size_t pack_bytes(const struct mc_circulant *c, enum mc_circulant_way way)
{
    switch (way_of(c, way)) {
    case MC_CIRCULANT_DFT: return MC_CPU(mc_circulant_dft_bytes)(c);
    case MC_CIRCULANT_FFT: return MC_CPU(mc_circulant_fft_bytes)(c);
    case MC_CIRCULANT_DENSE: break;
    }
    return gemm().pack_b_bytes(circulant_in(c) * c->b, circulant_out(c) * c->b);
}

static void pack(const struct mc_circulant *c, enum mc_circulant_way way, const void *col,
                 void *packed, struct mc_pool *pool)
{
    struct expand_job j = {c, col, packed};
    switch (way_of(c, way)) {
    case MC_CIRCULANT_DFT: MC_CPU(mc_circulant_dft_pack)(c, col, packed, pool); break;
    case MC_CIRCULANT_FFT: MC_CPU(mc_circulant_fft_pack)(c, col, packed, pool); break;
    case MC_CIRCULANT_DENSE:
        mc_pool_run(pool, ceil_div(circulant_out(c) * c->b, PANEL), expand_panel, &j);
        break;
    }
}

static size_t scratch_bytes(const struct mc_circulant *c, enum mc_circulant_way way, int64_t rows,
                            int threads)
{
    switch (way_of(c, way)) {
    case MC_CIRCULANT_DFT: return MC_CPU(mc_circulant_dft_scratch)(c, rows, threads);
    case MC_CIRCULANT_FFT: return MC_CPU(mc_circulant_fft_scratch)(c, rows, threads);
    case MC_CIRCULANT_DENSE: break;
    }
    return gemm().scratch_bytes(rows, circulant_out(c) * c->b, circulant_in(c) * c->b, threads);
}

static void run(const struct mc_circulant_product *m, void *scratch, struct mc_pool *pool)
{
    if (m->rows <= 0)
        return;
    switch (way_of(&m->c, m->way)) {
    case MC_CIRCULANT_DFT: MC_CPU(mc_circulant_dft_run)(m, scratch, pool); break;
    case MC_CIRCULANT_FFT: MC_CPU(mc_circulant_fft_run)(m, scratch, pool); break;
    case MC_CIRCULANT_DENSE: dense(m, scratch, pool); break;
    }
}

static size_t gradient_scratch_bytes(const struct mc_circulant *c, enum mc_circulant_way way,
                                     int64_t rows, int threads)
{
    switch (way_of(c, way)) {
    case MC_CIRCULANT_DFT: return MC_CPU(mc_circulant_dft_gradient_scratch)(c, rows, threads);
    case MC_CIRCULANT_FFT: return MC_CPU(mc_circulant_fft_gradient_scratch)(c, rows, threads);
    case MC_CIRCULANT_DENSE: break;
    }
    struct dense_parts d = dense_parts(c, rows, threads);
    return d.packed + d.dw + d.product;
}

static void gradient(const struct mc_circulant_gradient *g, void *scratch, struct mc_pool *pool)
{
    if (g->rows <= 0) {
        memset(g->dcol, 0, (size_t)(g->c.p * g->c.q * g->c.b) * sizeof(float));
        return;
    }
    switch (way_of(&g->c, g->way)) {
    case MC_CIRCULANT_DFT: MC_CPU(mc_circulant_dft_gradient)(g, scratch, pool); break;
    case MC_CIRCULANT_FFT: MC_CPU(mc_circulant_fft_gradient)(g, scratch, pool); break;
    case MC_CIRCULANT_DENSE: dense_gradient(g, scratch, pool); break;
    }
}

void MC_CPU(mc_circulant_fill)(struct mc_circulant_kernels *k)
{
    *k = (struct mc_circulant_kernels){
        .choose = choose,
        .pack_bytes = pack_bytes,
        .pack = pack,
        .scratch_bytes = scratch_bytes,
        .run = run,
        .choose_gradient = choose_gradient,
        .gradient_scratch_bytes = gradient_scratch_bytes,
        .gradient = gradient,
        .conv_pack_bytes = MC_CPU(mc_circulant_conv_bytes),
        .conv_pack = MC_CPU(mc_circulant_conv_pack),
        .conv_scratch_bytes = MC_CPU(mc_circulant_conv_scratch),
        .conv_run = MC_CPU(mc_circulant_conv_run),
    };
}
