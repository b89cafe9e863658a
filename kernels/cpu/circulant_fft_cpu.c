/* Circulant products by fast transforms, for long blocks.
 *
 * Two rows make one row of complex numbers; as W is real, the product's real and imaginary parts are theirs. Per tile of rows:
 * a transform of each block of x, sums of products of spectra, one inverse per block of y. Vectors hold neighbouring
 * frequencies, real and imaginary parts in turn as FFTW has them. */
#include <math.h>
#include <string.h>

#include "kernels/cpu/act_cpu.h"
#include "kernels/cpu/circulant_cpu.h"
#include "kernels/cpu/complex_cpu.h"
#include "kernels/fourier.h"

enum {
    TILE_BYTES = 1 << 18, /* of spectra of x and y: with the weights they share an L2 */
    MOST_PAIRS = 16,
    PAIRS = MC_LEVEL == 5 ? 4 : 2, /* whose sums stand side by side in registers */
    OUTS = MC_LEVEL == 5 ? 3 : 2,
};

/* Vectors of a spectrum. */
static int64_t vectors(int64_t b)
{
    return ceil_div(2 * b, LANES);
}

/* ---- packed: [vector of frequencies][output][input][LANES], over b, by which the inverse does not divide; then work space
 * of pack() ---- */

size_t MC_CPU(mc_circulant_fft_bytes)(const struct mc_circulant *c)
{
    return (size_t)(c->p * c->q * vectors(c->b) * LANES + mc_fourier_step(c->b)) * sizeof(float);
}

void MC_CPU(mc_circulant_fft_pack)(const struct mc_circulant *c, const float *col, float *packed,
                                   struct mc_pool *pool)
{
    (void)pool;
    const struct mc_fourier *plan = mc_fourier_get(c->b);
    int64_t b = c->b, in = circulant_in(c), out = circulant_out(c), n = vectors(b);
    float *work = packed + circulant_line(in * out * n * LANES), scale = 1 / (float)b;
    for (int64_t o = 0; o < out; o++) {
        for (int64_t i = 0; i < in; i++) {
            const float *from = circulant_col(c, col, o, i);
            for (int64_t k = 0; k < b; k++) {
                work[2 * k] = from[k];
                work[2 * k + 1] = 0;
            }
            mc_fourier_forward_here(plan, work);
            for (int64_t k = 0; k < n * LANES; k++) {
                float v = k < 2 * b ? scale * work[k] : 0;
                packed[((k / LANES * out + o) * in + i) * LANES + k % LANES] =
                    c->transposed && k % 2 ? -v : v;
            }
        }
    }
}

/* ---- a product ---- */

struct fft_job {
    const struct mc_circulant_product *m;
    const struct mc_fourier *plan;
    float *scratch;
    int64_t in, out, b, step; /* floats from spectrum to spectrum */
    int64_t pairs;            /* of rows, in a tile */
    int64_t each;             /* floats of scratch per worker */
};

static void sizes(struct fft_job *j, const struct mc_circulant *c, int64_t rows)
{
    j->in = circulant_in(c);
    j->out = circulant_out(c);
    j->b = c->b;
    j->step = mc_fourier_step(c->b);
    int64_t fit = TILE_BYTES / (4 * j->step * (j->in + j->out)) / PAIRS * PAIRS;
    j->pairs = min64(min64(max64(PAIRS, fit), MOST_PAIRS), ceil_div(rows, 2));
    j->each = j->step * (j->pairs * (j->in + j->out) + max64(j->in, j->out));
}

size_t MC_CPU(mc_circulant_fft_scratch)(const struct mc_circulant *c, int64_t rows, int threads)
{
    struct fft_job j;
    sizes(&j, c, rows);
    return (size_t)(j.each * threads) * sizeof(float);
}

/* One vector of frequencies, some outputs and pairs; counts are constants where this is inlined. */
static inline __attribute__((always_inline)) void sums(const struct fft_job *j, const float *w,
                                                       const float *x, float *y, int outs,
                                                       int pairs)
{
    vf sum[OUTS * PAIRS];
    int64_t in = j->in, x_row = in * j->step, y_row = j->out * j->step;
#pragma GCC unroll 12
    for (int s = 0; s < outs * pairs; s++)
        sum[s] = vf_set1(0);
    for (int64_t i = 0; i < in; i++, w += LANES, x += j->step) {
        vf wr[OUTS], wi[OUTS];
#pragma GCC unroll 4
        for (int o = 0; o < outs; o++) {
            vf v = vf_load(w + o * in * LANES);
            wr[o] = complex_real(v);
            wi[o] = complex_turn(v);
        }
#pragma GCC unroll 4
        for (int p = 0; p < pairs; p++) {
            vf v = vf_load(x + p * x_row), swapped = complex_swap(v);
#pragma GCC unroll 4
            for (int o = 0; o < outs; o++) {
                sum[o * pairs + p] = vf_fma(wr[o], v, sum[o * pairs + p]);
                sum[o * pairs + p] = vf_fma(wi[o], swapped, sum[o * pairs + p]);
            }
        }
    }
#pragma GCC unroll 4
    for (int o = 0; o < outs; o++) {
#pragma GCC unroll 4
        for (int p = 0; p < pairs; p++)
            vf_store(y + o * j->step + p * y_row, sum[o * pairs + p]);
    }
}

static void product(const struct fft_job *j, int64_t pairs, const float *x, float *y)
{
    const float *w = j->m->packed;
    int64_t step = j->step, x_row = j->in * step, y_row = j->out * step;
    for (int64_t v = 0; v < vectors(j->b); v++, x += LANES, y += LANES) {
        for (int64_t o = 0, outs; o < j->out; o += outs, w += outs * j->in * LANES) {
            outs = o + OUTS <= j->out ? OUTS : 1;
            float *to = y + o * step;
            int64_t p = 0;
            for (; p + PAIRS <= pairs; p += PAIRS) {
                if (outs == OUTS)
                    sums(j, w, x + p * x_row, to + p * y_row, OUTS, PAIRS);
                else
                    sums(j, w, x + p * x_row, to + p * y_row, 1, PAIRS);
            }
            for (; p < pairs; p++) {
                if (outs == OUTS)
                    sums(j, w, x + p * x_row, to + p * y_row, OUTS, 1);
                else
                    sums(j, w, x + p * x_row, to + p * y_row, 1, 1);
            }
        }
    }
}

/* Two rows of y from complex numbers, through the epilogue but for curves. */
static void keep(const struct fft_job *j, const float *z, int64_t row, int64_t o, bool two)
{
    const struct mc_epilogue *e = &j->m->epilogue;
    const float *bias = e->bias, *residual = e->residual;
    bool clamp = e->act == MC_ACT_CLAMP;
    vf lo = vf_set1(clamp ? (float)e->lo : -INFINITY),
       hi = vf_set1(clamp ? (float)e->hi : INFINITY);
    for (int64_t c = 0; c < j->b; c += LANES) {
        vm m = vm_first(j->b - c);
        vf parts[2];
        complex_part(vf_load(z + 2 * c), vf_load(z + 2 * c + LANES), &parts[0], &parts[1]);
        vf plus = bias ? vf_load_mask(bias + o * j->b + c, m) : vf_set1(0);
        for (int r = 0; r < 1 + two; r++) {
            int64_t at = (row + r) * j->m->ldy + o * j->b + c;
            vf v = parts[r] + plus;
            if (residual)
                v += vf_load_mask(residual + at, m);
            vf_store_mask((float *)j->m->y + at, vf_at_most(vf_at_least(v, lo), hi), m);
        }
    }
}

static void tile(void *ctx, int64_t chunk, int worker)
{
    const struct fft_job *j = ctx;
    const struct mc_circulant_product *m = j->m;
    int64_t row = chunk * 2 * j->pairs, rows = min64(2 * j->pairs, m->rows - row);
    int64_t pairs = ceil_div(rows, 2), step = j->step;
    float *z = j->scratch + worker * j->each, *x = z + max64(j->in, j->out) * step;
    float *y = x + j->in * j->pairs * step;
    for (int64_t p = 0; p < pairs; p++) {
        const float *a = (const float *)m->x + (row + 2 * p) * m->ldx;
        const float *b = 2 * p + 1 < rows ? a + m->ldx : NULL;
        for (int64_t i = 0; i < j->in; i++)
            complex_join(j->b, a + i * j->b, b ? b + i * j->b : NULL, z + i * step);
        mc_fourier_forward_all(j->plan, j->in, z, x + p * j->in * step);
    }
    product(j, pairs, x, y);
    for (int64_t p = 0; p < pairs; p++) {
        mc_fourier_inverse_all(j->plan, j->out, y + p * j->out * step, z);
        for (int64_t o = 0; o < j->out; o++)
            keep(j, z + o * step, row + 2 * p, o, 2 * p + 1 < rows);
    }
    if (m->epilogue.act > MC_ACT_CLAMP)
        MC_CPU(mc_act_block)
    (&m->epilogue, (float *)m->y + row * m->ldy, m->ldy, (int)rows, j->out * j->b);
}

void MC_CPU(mc_circulant_fft_run)(const struct mc_circulant_product *m, float *scratch,
                                  struct mc_pool *pool)
{
    struct fft_job j = {.m = m, .plan = mc_fourier_get(m->c.b), .scratch = scratch};
    sizes(&j, &m->c, m->rows);
    mc_pool_run(pool, ceil_div(m->rows, 2 * j.pairs), tile, &j);
}
