#include "base/rng.h"

#include <math.h>

/* Multipliers and Weyl constants of Philox4x32, Salmon et al. 2011, table 2 and section 3.3. */
void mc_rng_words(uint64_t seed, uint64_t stream, uint64_t index, uint32_t ret[4])
{
    uint32_t k0 = (uint32_t)seed, k1 = (uint32_t)(seed >> 32);
    uint32_t c0 = (uint32_t)index, c1 = (uint32_t)(index >> 32);
    uint32_t c2 = (uint32_t)stream, c3 = (uint32_t)(stream >> 32);
    for (int round = 0; round < 10; round++) {
        uint64_t p0 = (uint64_t)0xD2511F53u * c0, p1 = (uint64_t)0xCD9E8D57u * c2;
        uint32_t n0 = (uint32_t)(p1 >> 32) ^ c1 ^ k0, n2 = (uint32_t)(p0 >> 32) ^ c3 ^ k1;
        c1 = (uint32_t)p1;
        c3 = (uint32_t)p0;
        c0 = n0;
        c2 = n2;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    ret[0] = c0;
    ret[1] = c1;
    ret[2] = c2;
    ret[3] = c3;
}

static float unit(uint32_t w)
{
    return (float)(w >> 8) * 0x1p-24f;
}

/* Box-Muller; u is in (0,1], so the logarithm is finite. */
static void normal_pair(uint32_t a, uint32_t b, float ret[2])
{
    float u = (float)((a >> 8) + 1) * 0x1p-24f;
    float r = sqrtf(-2.0f * logf(u)), t = 6.28318530718f * unit(b);
    ret[0] = r * cosf(t);
    ret[1] = r * sinf(t);
}

float mc_rng_uniform(uint64_t seed, uint64_t stream, uint64_t index)
{
    uint32_t w[4];
    mc_rng_words(seed, stream, index, w);
    return unit(w[0]);
}

uint32_t mc_rng_below(uint64_t seed, uint64_t stream, uint64_t index, uint32_t n)
{
    uint32_t w[4];
    mc_rng_words(seed, stream, index, w);
    return (uint32_t)(((uint64_t)w[0] * n) >> 32);
}

float mc_rng_normal(uint64_t seed, uint64_t stream, uint64_t index)
{
    uint32_t w[4];
    float pair[2];
    mc_rng_words(seed, stream, index, w);
    normal_pair(w[0], w[1], pair);
    return pair[0];
}

void mc_rng_fill_uniform(uint64_t seed, uint64_t stream, uint64_t first, float *dst, size_t n)
{
    for (size_t i = 0; i < n;) {
        uint32_t w[4];
        uint64_t at = first + i;
        mc_rng_words(seed, stream, at / 4, w);
        for (uint64_t j = at % 4; j < 4 && i < n; j++)
            dst[i++] = unit(w[j]);
    }
}

void mc_rng_fill_normal(uint64_t seed, uint64_t stream, uint64_t first, float *dst, size_t n)
{
    for (size_t i = 0; i < n;) {
        uint32_t w[4];
        float g[4];
        uint64_t at = first + i;
        mc_rng_words(seed, stream, at / 4, w);
        normal_pair(w[0], w[1], g);
        normal_pair(w[2], w[3], g + 2);
        for (uint64_t j = at % 4; j < 4 && i < n; j++)
            dst[i++] = g[j];
    }
}

void mc_rng_permute(uint64_t seed, uint64_t stream, int64_t *perm, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        perm[i] = i;
    for (int64_t i = n - 1; i > 0; i--) {
        uint32_t w[4];
        mc_rng_words(seed, stream, (uint64_t)i, w);
        uint64_t r = (uint64_t)w[0] << 32 | w[1];
        int64_t j = (int64_t)(((unsigned __int128)r * (uint64_t)(i + 1)) >> 64);
        int64_t t = perm[i];
        perm[i] = perm[j];
        perm[j] = t;
    }
}
