/* Inner loops of circulant products in the frequency domain. */
#include <math.h>

#include "kernels/cpu/circulant_cpu.h"
#include "kernels/fourier.h"

enum kind { REAL, COMPLEX, CONJUGATE, KINDS };
/* Outputs side by side: 4 keep 16 of AVX-512's registers on sums, 2 keep 8 of 16. */
enum { OUTPUTS = MC_LEVEL == 5 ? 4 : 2 };

static inline void keep(float *z, vf v, int lanes, bool add)
{
    if (lanes >= LANES) {
        vf_store(z, add ? vf_load(z) + v : v);
    } else {
        vm m = vm_first(lanes);
        vf_store_mask(z, add ? vf_load_mask(z, m) + v : v, m);
    }
}

/* kind, outputs and vectors are constants where this is inlined, so that sums live in registers. */
static inline __attribute__((always_inline)) void mix(const struct mc_circulant_mix *m,
                                                      enum kind kind, int outputs, int vectors,
                                                      int64_t first, int lanes)
{
    vf re[8], im[8];
#pragma GCC unroll 8
    for (int s = 0; s < outputs * vectors; s++)
        re[s] = im[s] = vf_set1(0);
    const float *xr = m->xr, *xi = m->xi, *wr = m->wr + first,
                *wi = kind == REAL ? NULL : m->wi + first;
    for (int64_t t = 0; t < m->n; t++) {
        vf a[2], b[2];
#pragma GCC unroll 2
        for (int v = 0; v < vectors; v++) {
            a[v] = vf_load(xr + t * m->x_step + v * LANES);
            if (kind != REAL)
                b[v] = vf_load(xi + t * m->x_step + v * LANES);
        }
#pragma GCC unroll 4
        for (int o = 0; o < outputs; o++) {
            vf c = vf_set1(wr[t * m->w_step + o]);
#pragma GCC unroll 2
            for (int v = 0; v < vectors; v++)
                re[o * vectors + v] = vf_fma(c, a[v], re[o * vectors + v]);
            if (kind == REAL)
                continue;
            vf d = vf_set1(wi[t * m->w_step + o]);
#pragma GCC unroll 2
            for (int v = 0; v < vectors; v++) {
                int s = o * vectors + v;
                re[s] = kind == CONJUGATE ? vf_fma(d, b[v], re[s]) : vf_fma(-d, b[v], re[s]);
                im[s] = kind == CONJUGATE ? vf_fma(-c, b[v], im[s]) : vf_fma(c, b[v], im[s]);
                im[s] = vf_fma(d, a[v], im[s]);
            }
        }
    }
#pragma GCC unroll 4
    for (int o = 0; o < outputs; o++) {
#pragma GCC unroll 2
        for (int v = 0; v < vectors; v++) {
            int64_t at = (first + o) * m->z_step + v * LANES;
            keep(m->zr + at, re[o * vectors + v], lanes - v * LANES, m->add);
            if (kind != REAL)
                keep(m->zi + at, im[o * vectors + v], lanes - v * LANES, m->add);
        }
    }
}

#define MIX(kind, outputs, vectors)                                                                \
    static void mix_##kind##_##outputs##x##vectors(const struct mc_circulant_mix *m,               \
                                                   int64_t first, int lanes)                       \
    {                                                                                              \
        mix(m, kind, outputs, vectors, first, lanes);                                              \
    }
#define MIXES(kind)                                                                                \
    MIX(kind, 1, 1)                                                                                \
    MIX(kind, 1, 2)                                                                                \
    MIX(kind, 2, 1)                                                                                \
    MIX(kind, 2, 2)
MIXES(REAL)
MIXES(COMPLEX)
MIXES(CONJUGATE)
#if MC_LEVEL == 5
#define MORE_MIXES(kind)                                                                           \
    MIX(kind, 4, 1)                                                                                \
    MIX(kind, 4, 2)
MORE_MIXES(REAL)
MORE_MIXES(COMPLEX)
MORE_MIXES(CONJUGATE)
#define ROW(kind)                                                                                  \
    {                                                                                              \
        {mix_##kind##_1x1, mix_##kind##_1x2}, {mix_##kind##_2x1, mix_##kind##_2x2},                \
        {                                                                                          \
            mix_##kind##_4x1, mix_##kind##_4x2                                                     \
        }                                                                                          \
    }
#else
#define ROW(kind)                                                                                  \
    {                                                                                              \
        {mix_##kind##_1x1, mix_##kind##_1x2},                                                      \
        {                                                                                          \
            mix_##kind##_2x1, mix_##kind##_2x2                                                     \
        }                                                                                          \
    }
#endif

typedef void mix_fn(const struct mc_circulant_mix *m, int64_t first, int lanes);
static mix_fn *const mixes[KINDS][3][2] = {ROW(REAL), ROW(COMPLEX), ROW(CONJUGATE)};

void MC_CPU(mc_circulant_mix)(const struct mc_circulant_mix *m, int64_t outputs, int lanes)
{
    enum kind kind = !m->xi ? REAL : m->conjugate ? CONJUGATE : COMPLEX;
    int wide = lanes > LANES;
    for (int64_t o = 0; o < outputs;) {
        int64_t left = outputs - o;
        int shape = left >= 4 && OUTPUTS == 4 ? 2 : left >= 2 ? 1 : 0;
        mixes[kind][shape][wide](m, o, lanes);
        o += 1 << shape;
    }
}

int64_t MC_CPU(mc_circulant_matrix_floats)(int64_t b)
{
    return circulant_line(b * b);
}

/* The place in half-complex order of what is at `at`. */
static int64_t half_place(int64_t b, int64_t at, bool paired)
{
    int64_t real = b % 2 ? 1 : 2, k = (at - real) / 2 + 1;
    if (!paired || at == 0)
        return at;
    return at < real ? b / 2 : (at - real) % 2 ? b - k : k;
}

void MC_CPU(mc_circulant_matrix_pack)(int64_t b, enum circulant_matrix which, float *packed)
{
    bool inverse = which == MC_CIRCULANT_HALF_INVERSE || which == MC_CIRCULANT_PAIRED_INVERSE;
    bool paired = which >= MC_CIRCULANT_PAIRED;
    float cosine[MC_CIRCULANT_DFT_MOST], sine[MC_CIRCULANT_DFT_MOST];
    int64_t step = even(b, TILE_ROWS);
    mc_fourier_waves(b, cosine, sine);
    for (int64_t r0 = 0; r0 < b; r0 += step) {
        int64_t n = min64(step, b - r0);
        for (int64_t c = 0; c < b; c++) {
            for (int64_t r = r0; r < r0 + n; r++) {
                /* Of the inverse, r is an element and c a place in the spectrum. */
                int64_t at = half_place(b, inverse ? c : r, paired);
                bool real = 2 * at <= b, once = at == 0 || 2 * at == b;
                int64_t m = (real ? at : b - at) * (inverse ? r : c) % b;
                float scale = inverse ? (once ? 1.0f : 2.0f) / (float)b : 1;
                *packed++ = scale * (real ? cosine[m] : -sine[m]);
            }
        }
    }
}

void MC_CPU(mc_circulant_matrix_run)(int64_t b, const float *packed, const float *panel, int lanes,
                                     float *y, int64_t y_step)
{
    int64_t step = even(b, TILE_ROWS);
    for (int64_t r0 = 0; r0 < b; r0 += step) {
        int64_t n = min64(step, b - r0);
        struct mc_tile_in in = {.a = packed + r0 * b, .b = panel, .k = b, .a_row = 1, .a_col = n};
        struct mc_tile_store s = {
            .c = y + r0 * y_step, .c_row = y_step, .alpha = 1, .lo = -INFINITY, .hi = INFINITY};
        MC_CPU(mc_tile)(&in, (int)n, lanes, &s);
    }
}
