/* Convolution with weights that are block-circulant over channels. A transform over the channels of each pixel commutes with
 * taps, so each frequency is an ordinary convolution from q to p numbers: real ones at frequency 0 and b/2, complex ones,
 * 2 q to 2 p channels, between. Two grouped convolutions do them all; the transforms are products with matrices whose
 * lanes are pixels. */
#include <math.h>
#include <string.h>

#include "kernels/conv.h"
#include "kernels/cpu/act_cpu.h"
#include "kernels/cpu/circulant_cpu.h"
#include "kernels/fill.h"

struct plan {
    const struct mc_circulant_conv *m;
    int64_t p, q, b, real, taps; /* real: how many frequencies are */
    int64_t before, behind;      /* pixels */
    struct mc_conv conv[2];      /* of one image, real and complex frequencies */
    struct mc_conv_kernels k;
    /* Floats of packed: matrix, its inverse, weights of the two, work space of pack(). */
    int64_t matrix, weights[2], work;
    /* Of scratch: spectra of x and of y, what a convolution takes, and per worker two panels. */
    int64_t spectra[2], product, panels;
    const float *packed;
    float *x, *y, *scratch;
    int64_t image;
};

static int64_t pixels(const int64_t size[3])
{
    return size[0] * size[1] * size[2];
}

static struct plan plan(const struct mc_circulant_conv *m, int threads)
{
    const struct mc_conv *c = &m->conv;
    struct plan p = {.m = m, .p = m->c.p, .q = m->c.q, .b = m->c.b};
    MC_CPU(mc_conv_fill)(&p.k);
    p.real = p.b % 2 ? 1 : 2;
    p.real = p.b < p.real ? p.b : p.real;
    p.taps = pixels(c->kernel);
    p.before = pixels(c->in);
    p.behind = pixels(c->out);
    p.matrix = MC_CPU(mc_circulant_matrix_floats)(p.b);
    for (int i = 0; i < 2; i++) {
        int64_t wide = i ? 2 : 1, groups = i ? (p.b - p.real) / 2 : p.real;
        struct mc_conv *v = &p.conv[i];
        *v = *c;
        v->n = 1;
        v->group = groups;
        v->c = groups * wide * p.q;
        v->oc = groups * wide * p.p;
        v->epilogue = (struct mc_epilogue){0};
        if (!groups)
            continue;
        p.weights[i] = circulant_line((int64_t)p.k.pack_w_bytes(v) / 4 + 1);
        p.work = max64(p.work, v->oc * wide * p.q * p.taps);
        p.product = max64(p.product, (int64_t)p.k.scratch_bytes(v, threads) / 4 + 1);
    }
    p.product = circulant_line(p.product);
    p.spectra[0] = circulant_line(p.b * p.q * p.before);
    p.spectra[1] = circulant_line(p.b * p.p * p.behind);
    p.panels = 2 * p.b * PANEL;
    return p;
}

static bool by_dft(const struct mc_circulant_conv *m)
{
    const struct mc_conv *c = &m->conv;
    return mc_circulant_conv_pays(&m->c, pixels(c->kernel), pixels(c->in), pixels(c->out));
}

/* ---- dense: the weight as it is, and packed ---- */

static struct mc_conv_kernels dense(void)
{
    struct mc_conv_kernels k;
    MC_CPU(mc_conv_fill)(&k);
    return k;
}

static int64_t dense_floats(const struct mc_circulant_conv *m)
{
    return circulant_line(m->conv.oc * m->conv.c * pixels(m->conv.kernel));
}

static void dense_pack(const struct mc_circulant_conv *m, const float *col, float *packed,
                       struct mc_pool *pool)
{
    int64_t b = m->c.b, taps = pixels(m->conv.kernel);
    float *w = packed;
    for (int64_t r = 0; r < m->c.p * b; r++) {
        for (int64_t s = 0; s < m->c.q * b; s++, w += taps) {
            int64_t block = r / b * m->c.q + s / b, k = (r % b - s % b + b) % b;
            memcpy(w, col + (block * b + k) * taps, (size_t)taps * sizeof *w);
        }
    }
    dense().pack_w(&m->conv, packed, packed + dense_floats(m), pool);
}

static void dense_run(const struct mc_circulant_conv *m, void *scratch, struct mc_pool *pool)
{
    struct mc_conv v = m->conv;
    v.packed_w = (const float *)m->packed + dense_floats(m);
    dense().run(&v, scratch, pool);
}

size_t MC_CPU(mc_circulant_conv_bytes)(const struct mc_circulant_conv *m)
{
    if (!by_dft(m))
        return (size_t)dense_floats(m) * sizeof(float) + dense().pack_w_bytes(&m->conv);
    struct plan p = plan(m, 1);
    return (size_t)(2 * p.matrix + p.weights[0] + p.weights[1] + p.work) * sizeof(float);
}

size_t MC_CPU(mc_circulant_conv_scratch)(const struct mc_circulant_conv *m, int threads)
{
    if (!by_dft(m))
        return dense().scratch_bytes(&m->conv, threads);
    struct plan p = plan(m, threads);
    return (size_t)(p.spectra[0] + p.spectra[1] + p.product + p.panels * threads) * sizeof(float);
}

/* ---- packed ---- */

/* w: filters of one of the two convolutions; columns of a filter's tap lie `taps` apart. */
static void put_spectrum(const struct plan *p, int which, int64_t i, int64_t j, int64_t tap,
                         const float *spectrum, float *w)
{
    int64_t wide = which ? 2 : 1, row = wide * p->q * p->taps;
    for (int64_t g = 0; g < p->conv[which].group; g++) {
        float *to = w + (g * wide * p->p + i) * row + j * p->taps + tap;
        if (!which) {
            to[0] = spectrum[g * PANEL];
            continue;
        }
        float re = spectrum[(p->real + 2 * g) * PANEL],
              im = spectrum[(p->real + 2 * g + 1) * PANEL];
        to[0] = re;
        to[p->q * p->taps] = -im;
        to[p->p * row] = im;
        to[p->p * row + p->q * p->taps] = re;
    }
}

void MC_CPU(mc_circulant_conv_pack)(const struct mc_circulant_conv *m, const void *col, void *block,
                                    struct mc_pool *pool)
{
    if (!by_dft(m)) {
        dense_pack(m, col, block, pool);
        return;
    }
    struct plan p = plan(m, 1);
    float *packed = block;
    float panel[MC_CIRCULANT_DFT_MOST * PANEL] __attribute__((aligned(64)));
    float spectrum[MC_CIRCULANT_DFT_MOST * PANEL] __attribute__((aligned(64)));
    float *weights = packed + 2 * p.matrix, *work = weights + p.weights[0] + p.weights[1];
    MC_CPU(mc_circulant_matrix_pack)(p.b, MC_CIRCULANT_PAIRED, packed);
    MC_CPU(mc_circulant_matrix_pack)(p.b, MC_CIRCULANT_PAIRED_INVERSE, packed + p.matrix);
    for (int which = 0; which < 2 && p.conv[which].group; which++) {
        for (int64_t i = 0; i < p.p * p.q; i++) {
            const float *from = (const float *)col + i * p.b * p.taps;
            for (int64_t t0 = 0; t0 < p.taps; t0 += PANEL) {
                int n = (int)min64(PANEL, p.taps - t0);
                for (int64_t c = 0; c < p.b; c++) {
                    for (int t = 0; t < PANEL; t++)
                        panel[c * PANEL + t] = t < n ? from[c * p.taps + t0 + t] : 0;
                }
                MC_CPU(mc_circulant_matrix_run)(p.b, packed, panel, n, spectrum, PANEL);
                for (int t = 0; t < n; t++)
                    put_spectrum(&p, which, i / p.q, i % p.q, t0 + t, spectrum + t, work);
            }
        }
        p.k.pack_w(&p.conv[which], work, weights + (which ? p.weights[0] : 0), pool);
    }
}

/* ---- a convolution ---- */

/* Some pixels of b channels. */
static void copy_in(const float *from, int64_t step, int64_t b, int lanes, float *panel)
{
    for (int64_t c = 0; c < b; c++)
        memcpy(panel + c * PANEL, from + c * step, (size_t)lanes * sizeof *panel);
}

static void forth(void *ctx, int64_t j, int worker)
{
    const struct plan *p = ctx;
    const float *x = (const float *)p->m->conv.x + (p->image * p->q + j) * p->b * p->before;
    float *panel = p->scratch + worker * p->panels;
    for (int64_t at = 0; at < p->before; at += PANEL) {
        int lanes = (int)min64(PANEL, p->before - at);
        copy_in(x + at, p->before, p->b, lanes, panel);
        MC_CPU(mc_circulant_matrix_run)
        (p->b, p->packed, panel, lanes, p->x + j * p->before + at, p->q * p->before);
    }
}

static void keep(const struct mc_epilogue *e, int64_t channel, const float *v, int64_t at, float *y,
                 int lanes)
{
    bool clamp = e->act == MC_ACT_CLAMP;
    vf lo = vf_set1(clamp ? (float)e->lo : -INFINITY),
       hi = vf_set1(clamp ? (float)e->hi : INFINITY);
    vf scale = vf_set1(e->scale ? ((const float *)e->scale)[channel] : 1);
    vf bias = vf_set1(e->bias ? ((const float *)e->bias)[channel] : 0);
    const float *residual = e->residual;
    for (int l = 0; l < lanes; l += LANES) {
        vm m = vm_first(lanes - l);
        vf sum = vf_load(v + l) * scale + bias;
        if (residual)
            sum += vf_load_mask(residual + at + l, m);
        vf_store_mask(y + at + l, vf_at_most(vf_at_least(sum, lo), hi), m);
    }
}

static void back(void *ctx, int64_t i, int worker)
{
    const struct plan *p = ctx;
    const struct mc_epilogue *e = &p->m->conv.epilogue;
    float *panel = p->scratch + worker * p->panels, *out = panel + p->b * PANEL;
    float *y = p->m->conv.y;
    for (int64_t at = 0; at < p->behind; at += PANEL) {
        int lanes = (int)min64(PANEL, p->behind - at);
        copy_in(p->y + i * p->behind + at, p->p * p->behind, p->b, lanes, panel);
        MC_CPU(mc_circulant_matrix_run)
        (p->b, p->packed + p->matrix, panel, lanes, out, PANEL);
        int64_t first = (p->image * p->p + i) * p->b;
        for (int64_t c = 0; c < p->b; c++)
            keep(e, i * p->b + c, out + c * PANEL, (first + c) * p->behind + at, y, lanes);
        if (e->act > MC_ACT_CLAMP)
            MC_CPU(mc_act_block)
        (e, y + first * p->behind + at, p->behind, (int)p->b, lanes);
    }
}

void MC_CPU(mc_circulant_conv_run)(const struct mc_circulant_conv *m, void *scratch,
                                   struct mc_pool *pool)
{
    if (!by_dft(m)) {
        dense_run(m, scratch, pool);
        return;
    }
    struct plan p = plan(m, mc_pool_threads(pool));
    p.packed = m->packed;
    p.x = scratch;
    p.y = p.x + p.spectra[0];
    float *product = p.y + p.spectra[1];
    p.scratch = product + p.product;
    for (p.image = 0; p.image < m->conv.n; p.image++) {
        mc_pool_run(pool, p.q, forth, &p);
        for (int which = 0; which < 2 && p.conv[which].group; which++) {
            struct mc_conv v = p.conv[which];
            v.x = p.x + (which ? p.real * p.q * p.before : 0);
            v.y = p.y + (which ? p.real * p.p * p.behind : 0);
            v.packed_w = p.packed + 2 * p.matrix + (which ? p.weights[0] : 0);
            p.k.run(&v, product, pool);
        }
        mc_pool_run(pool, p.p, back, &p);
    }
}
