/* Four neighbours of x have 16 sums, one for each choice of their signs: a table that fits one register of AVX-512, where
 * a look-up of 16 columns at once is one permutation. Tables of a row are made once and read by all columns.
 *
 * Source: Wei et al., T-MAC, 2024 (tables over weights of few bits); deviates: sums are floats, tables are not rounded. */
#include "kernels/cpu/xnor_cpu.h"
#include "kernels/fill.h"

enum {
    ENTRIES = 16,  /* of a table */
    NIBBLES = 8,   /* of a word */
    ABREAST = 2,   /* panels that share a reading of the tables */
    CHUNK = 16384, /* words of b, about 20 us */
};

struct job {
    const struct mc_xnor_signs *g;
    const float *tables; /* [2 pairs][NIBBLES][ENTRIES] */
    int64_t row, words, panels, per_chunk;
};

static size_t scratch_bytes(int64_t k)
{
    return (size_t)(2 * mc_xnor_pairs(k) * NIBBLES * ENTRIES) * sizeof(float);
}

static void make_tables(const float *x, int64_t k, int64_t words, float *to)
{
    for (int64_t at = 0; at < words * 32; at += 4, to += ENTRIES) {
        float v[4];
        for (int i = 0; i < 4; i++)
            v[i] = at + i < k ? x[at + i] : 0;
        for (int e = 0; e < ENTRIES; e++)
            to[e] = ((e & 1 ? v[0] : -v[0]) + (e & 2 ? v[1] : -v[1])) +
                    ((e & 4 ? v[2] : -v[2]) + (e & 8 ? v[3] : -v[3]));
    }
}

/* Entry of each lane's low four bits. */
static inline vf look_up(const float *table, vu w)
{
#if MC_LEVEL == 5
    return (vf)_mm512_permutexvar_ps((__m512i)w, _mm512_loadu_ps(table));
#elif MC_LEVEL == 2
    __m256 low = _mm256_permutevar8x32_ps(_mm256_loadu_ps(table), (__m256i)w);
    __m256 high = _mm256_permutevar8x32_ps(_mm256_loadu_ps(table + 8), (__m256i)w);
    return (vf)_mm256_blendv_ps(low, high, (__m256)(w << 28));
#else
    return (vf){table[w[0] & 15], table[w[1] & 15], table[w[2] & 15], table[w[3] & 15]};
#endif
}

static inline __attribute__((always_inline)) void add_up(const struct job *j, const uint32_t *b,
                                                         int panels, vf *sum)
{
    enum { VECTORS = PANEL / LANES };
    const float *table = j->tables;
    int64_t hop = j->words * PANEL;
    vf s[ABREAST * VECTORS] = {0};
    for (int64_t p = 0; p < j->words; p++, b += PANEL) {
        vu w[ABREAST * VECTORS];
#pragma GCC unroll 4
        for (int v = 0; v < panels * VECTORS; v++)
            w[v] = vu_load(b + v / VECTORS * hop + v % VECTORS * LANES);
#pragma GCC unroll 8
        for (int i = 0; i < NIBBLES; i++, table += ENTRIES) {
#pragma GCC unroll 4
            for (int v = 0; v < panels * VECTORS; v++) {
                s[v] += look_up(table, w[v]);
                w[v] >>= 4;
            }
        }
    }
#pragma GCC unroll 4
    for (int v = 0; v < panels * VECTORS; v++)
        sum[v] = s[v];
}

static void finish(const struct job *j, const vf *sum, int64_t first, int64_t cols)
{
    const struct mc_xnor_signs *g = j->g;
    float *y = (float *)g->y + j->row * g->y_row + first;
    for (int64_t i = 0; i < cols; i += LANES) {
        vm some = vm_first(cols - i);
        vf v = sum[i / LANES];
        if (g->scale)
            v *= vf_load_mask((const float *)g->scale + first + i, some);
        if (g->bias)
            v += vf_load_mask((const float *)g->bias + first + i, some);
        vf_store_mask(y + i, v, some);
    }
}

static void some_panels(void *ctx, int64_t chunk, int worker)
{
    (void)worker;
    const struct job *j = ctx;
    vf sum[ABREAST * PANEL / LANES];
    int64_t end = min64(j->panels, (chunk + 1) * j->per_chunk);
    for (int64_t p = chunk * j->per_chunk; p < end; p += ABREAST) {
        const uint32_t *b = (const uint32_t *)j->g->packed_b + p * j->words * PANEL;
        if (end - p >= ABREAST)
            add_up(j, b, ABREAST, sum);
        else
            add_up(j, b, 1, sum);
        finish(j, sum, p * PANEL, min64(ABREAST * PANEL, j->g->n - p * PANEL));
    }
}

static void signs(const struct mc_xnor_signs *g, void *scratch, struct mc_pool *pool)
{
    struct job j = {.g = g,
                    .tables = scratch,
                    .words = 2 * mc_xnor_pairs(g->k),
                    .panels = ceil_div(g->n, PANEL)};
    j.per_chunk = max64(1, CHUNK / max64(1, j.words * PANEL * ABREAST)) * ABREAST;
    for (j.row = 0; j.row < g->m; j.row++) {
        make_tables((const float *)g->x + j.row * g->x_row, g->k, j.words, scratch);
        mc_pool_run(pool, ceil_div(j.panels, j.per_chunk), some_panels, &j);
    }
}

void MC_CPU(mc_xnor_signs_fill)(struct mc_xnor_kernels *k)
{
    k->few_rows = MC_LEVEL == 5 ? 8 : MC_LEVEL == 2 ? 4 : 0;
    k->signs_scratch_bytes = scratch_bytes;
    k->signs = signs;
}
