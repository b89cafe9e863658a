/* Bytes, 64 at a time where vectors hold them; where they are shorter the compiler makes of the plain loops. */
#include <string.h>

#include "kernels/cpu/blocks.h"
#include "kernels/cpu/rows_s8_cpu.h"
#include "kernels/fill.h"

enum { RUN = 64 }; /* elements at a time */

/* Values of n <= RUN bytes less their zero point. */
static inline void take(const uint8_t *x, int64_t n, bool is_signed, int32_t zero, int32_t *to)
{
    /* Flipping the top bit makes a signed byte unsigned, 128 larger. */
    uint8_t flip = is_signed ? 0x80 : 0;
    zero += is_signed ? 128 : 0;
    if (n == RUN) {
        for (int i = 0; i < RUN; i++)
            to[i] = (int32_t)(uint8_t)(x[i] ^ flip) - zero;
        return;
    }
    for (int64_t i = 0; i < n; i++)
        to[i] = (int32_t)(uint8_t)(x[i] ^ flip) - zero;
}

#if MC_LEVEL == 5
struct side {
    __m512i zero;
    __mmask16 is_signed; /* all or none */
};

static inline struct side side_of(bool is_signed, int32_t zero)
{
    return (struct side){_mm512_set1_epi32(zero), is_signed ? 0xffff : 0};
}

static inline __m512i values(const struct side *s, const uint8_t *x)
{
    __m128i v = _mm_loadu_si128((const __m128i *)x);
    __m512i wide = s->is_signed ? _mm512_cvtepi8_epi32(v) : _mm512_cvtepu8_epi32(v);
    return _mm512_sub_epi32(wide, s->zero);
}

/* Whole runs; returns how many elements those are. */
static inline __attribute__((always_inline)) int64_t pair_runs(const struct mc_pair_s8 *p,
                                                               const struct s8_round *r,
                                                               const int32_t right[RUN],
                                                               bool product)
{
    const struct side left = side_of(p->a_signed, p->a_zero),
                      other = side_of(p->b_signed, p->b_zero);
    const __m512 a_scale = _mm512_set1_ps(p->a_scale), b_scale = _mm512_set1_ps(p->b_scale);
    const uint8_t *a = p->a, *b = p->b;
    int64_t at = 0;
    for (; at + RUN <= p->n; at += RUN) {
        __m512 f[4];
#pragma GCC unroll 4
        for (int i = 0; i < 4; i++) {
            __m512i x = values(&left, a + at + 16 * i);
            __m512i y = p->b_step ? values(&other, b + at + 16 * i) : _mm512_loadu_si512(right);
            f[i] = product ? _mm512_mul_ps(_mm512_cvtepi32_ps(_mm512_mullo_epi32(x, y)), a_scale)
                           : _mm512_add_ps(_mm512_mul_ps(_mm512_cvtepi32_ps(x), a_scale),
                                           _mm512_mul_ps(_mm512_cvtepi32_ps(y), b_scale));
        }
        _mm512_storeu_si512((uint8_t *)p->y + at, s8_narrow(r, f));
    }
    return at;
}
#endif

static inline __attribute__((always_inline)) void pair(const struct mc_pair_s8 *p, bool product)
{
    struct s8_round r = s8_round_of(p->zero, p->lo, p->hi);
    const uint8_t *a = p->a, *b = p->b;
    int32_t left[RUN] = {0}, right[RUN] = {0};
    float f[RUN];
    int64_t at = 0;
    if (p->b_step == 0 && p->n > 0) {
        take(b, 1, p->b_signed, p->b_zero, right);
        for (int i = 1; i < RUN; i++)
            right[i] = right[0];
    }
#if MC_LEVEL == 5
    at = pair_runs(p, &r, right, product);
#endif
    for (; at < p->n; at += RUN) {
        int64_t n = min64(RUN, p->n - at);
        take(a + at, n, p->a_signed, p->a_zero, left);
        if (p->b_step)
            take(b + at, n, p->b_signed, p->b_zero, right);
        if (product) {
            for (int i = 0; i < RUN; i++)
                f[i] = (float)(left[i] * right[i]) * p->a_scale;
        } else {
            for (int i = 0; i < RUN; i++)
                f[i] = (float)left[i] * p->a_scale + (float)right[i] * p->b_scale;
        }
        s8_put_run(&r, f, n, (uint8_t *)p->y + at);
    }
}

static void add(const struct mc_pair_s8 *p)
{
    pair(p, false);
}

static void mul(const struct mc_pair_s8 *p)
{
    pair(p, true);
}

/* ---- a table ---- */

#if MC_LEVEL == 5
__attribute__((target("avx512vbmi"))) static int64_t look_up_vbmi(int64_t n, const uint8_t *x,
                                                                  const uint8_t table[256],
                                                                  uint8_t *y)
{
    __m512i t[4];
    for (int i = 0; i < 4; i++)
        t[i] = _mm512_loadu_si512(table + 64 * i);
    int64_t i = 0;
    for (; i + 64 <= n; i += 64) {
        __m512i v = _mm512_loadu_si512(x + i);
        __m512i low = _mm512_permutex2var_epi8(t[0], v, t[1]);
        __m512i high = _mm512_permutex2var_epi8(t[2], v, t[3]);
        _mm512_storeu_si512(y + i, _mm512_mask_blend_epi8(_mm512_movepi8_mask(v), low, high));
    }
    return i;
}
#endif

static void look_up(int64_t n, const uint8_t *x, const uint8_t table[256], uint8_t *y)
{
    int64_t i = 0;
#if MC_LEVEL == 5
    if (__builtin_cpu_supports("avx512vbmi"))
        i = look_up_vbmi(n, x, table, y);
#endif
    for (; i + 8 <= n; i += 8) { /* loads and stores of words: half of the traffic */
        uint64_t word, done = 0;
        memcpy(&word, x + i, sizeof word);
        for (int b = 0; b < 64; b += 8)
            done |= (uint64_t)table[word >> b & 0xff] << b;
        memcpy(y + i, &done, sizeof done);
    }
    for (; i < n; i++)
        y[i] = table[x[i]];
}

void MC_CPU(mc_rows_s8_fill)(struct mc_rows_s8_kernels *k)
{
    k->add = add;
    k->mul = mul;
    k->look_up = look_up;
    k->pool = MC_CPU(mc_s8_pool);
    k->transpose = MC_CPU(mc_s8_transpose);
}
