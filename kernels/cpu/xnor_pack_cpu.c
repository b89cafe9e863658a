#include <string.h>

#include "kernels/cpu/xnor_cpu.h"

enum { CHUNK = 1 << 16 }; /* elements, about 10 us */

struct rows_job {
    const struct mc_xnor_pack *p;
    int64_t per_chunk;
};

static void pack_row(const struct mc_xnor_pack *p, int64_t row)
{
    enum { STEP = LANES < 8 ? 8 : LANES }; /* whole bytes */
    const float *x = (const float *)p->x + row * p->x_row, *t = p->threshold;
    uint8_t *to = p->bits + row * p->bits_row;
    vf all = vf_set1(t[0]);
    int64_t j = 0;
    for (; j + STEP <= p->cols; j += STEP) {
        uint32_t bits = 0;
        for (int i = 0; i < STEP; i += LANES)
            bits |= vf_not_less(vf_load(x + j + i), p->t_step ? vf_load(t + j + i) : all) << i;
        for (int i = 0; i < STEP / 8; i++)
            to[j / 8 + i] = (uint8_t)(bits >> 8 * i);
    }
    for (; j < p->cols; j += 8) {
        uint32_t bits = 0;
        for (int i = 0; i < min64(8, p->cols - j); i++)
            bits |= (uint32_t) !(x[j + i] < t[(j + i) * p->t_step]) << i;
        to[j / 8] = (uint8_t)bits;
    }
}

static void pack_rows(void *ctx, int64_t chunk, int worker)
{
    (void)worker;
    const struct rows_job *j = ctx;
    int64_t end = min64(j->p->rows, (chunk + 1) * j->per_chunk);
    for (int64_t i = chunk * j->per_chunk; i < end; i++)
        pack_row(j->p, i);
}

void MC_CPU(mc_xnor_pack)(const struct mc_xnor_pack *p, struct mc_pool *pool)
{
    struct rows_job j = {p, ceil_div(CHUNK, max64(p->cols, 1))};
    if (p->cols > 0)
        mc_pool_run(pool, ceil_div(p->rows, j.per_chunk), pack_rows, &j);
}

/* ---- images ---- */

/* Lanes of v where x is not less than t get `bit`. */
static inline vu put(vu v, uint32_t bit, vf x, vf t)
{
#if MC_LEVEL == 5
    return (vu)_mm512_mask_or_epi32((__m512i)v, (__mmask16)vf_not_less(x, t), (__m512i)v,
                                    (__m512i)vu_set1(bit));
#else
    return v | (~(vu)(x < t) & vu_set1(bit));
#endif
}

/* A word for each pixel: `channels` of them, at most 32. */
static void pack_words(const float *x, const float *t, int64_t t_step, int64_t channels,
                       int64_t pixels, uint32_t *to)
{
    for (int64_t at = 0; at < pixels; at += LANES) {
        vm some = vm_first(pixels - at);
        vu v = {0};
        if (pixels - at >= LANES) {
            for (int64_t c = 0; c < channels; c++)
                v = put(v, 1u << c, vf_load(x + c * pixels + at), vf_set1(t[c * t_step]));
            vu_store(to + at, v);
        } else {
            for (int64_t c = 0; c < channels; c++)
                v = put(v, 1u << c, vf_load_mask(x + c * pixels + at, some),
                        vf_set1(t[c * t_step]));
            vf_store_mask((float *)(to + at), (vf)v, some);
        }
    }
}

static void pack_plane(void *ctx, int64_t chunk, int worker)
{
    (void)worker;
    const struct mc_xnor_image *p = ctx;
    int64_t words = MC_XNOR_WORDS(p->channels), image = chunk / words, c = chunk % words * 32;
    pack_words((const float *)p->x + (image * p->channels + c) * p->pixels,
               (const float *)p->threshold + c * p->t_step, p->t_step, min64(32, p->channels - c),
               p->pixels, p->bits + chunk * p->pixels);
}

void MC_CPU(mc_xnor_image)(const struct mc_xnor_image *p, struct mc_pool *pool)
{
    mc_pool_run(pool, p->n * MC_XNOR_WORDS(p->channels), pack_plane, (void *)p);
}
