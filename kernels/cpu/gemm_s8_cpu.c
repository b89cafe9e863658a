/* Both sides are packed into words of 32 bits that hold GROUP neighbours along k: four bytes where the CPU
 * multiplies those (VNNI), else two values of 16 bits. A counts as unsigned and B as signed: the other kind
 * is shifted by 128, which its zero point makes up for, as all sums wrap alike.
 *
 *     C = sum a'b' - za' colsum(b') - zb' rowsum(a') + k za' zb'
 * Blocks as in gemm_cpu.c: panels of PANEL columns of B, tiles of rows of A, [tile][group][row]. */
#include <string.h>
#if defined(__SSE2__)
#include <emmintrin.h>
#endif

#include "kernels/cpu/blocks.h"
#include "kernels/cpu/tile.h"
#include "kernels/fill.h"

#ifdef __AVX512VNNI__
enum { GROUP = 4 };
#else
enum { GROUP = 2 };
#endif

enum {
    K_BLOCK = 512,         /* groups: 64 KiB of a panel, 24 KiB of a tile */
    M_BLOCK = 240,         /* rows of A in a chunk: 480 KiB of an L2 per block of k */
    ROUND_BYTES = 8 << 20, /* of packed A */
    CHUNK_OPS = 1 << 22,   /* well above the price of handing a chunk to a thread */
    CHUNKS = 48,           /* wanted per round, for threads */
};

typedef uint32_t vu __attribute__((vector_size(4 * LANES)));
typedef uint32_t vu_unaligned __attribute__((vector_size(4 * LANES), aligned(4), may_alias));

static inline vu load(const void *p)
{
    return *(const vu_unaligned *)p;
}

/* sum + a·b over the group of each lane. */
static inline vu dot(vu sum, vu a, vu b)
{
#if defined(__AVX512VNNI__)
    return (vu)_mm512_dpbusd_epi32((__m512i)sum, (__m512i)a, (__m512i)b);
#elif MC_LEVEL == 5
    return sum + (vu)_mm512_madd_epi16((__m512i)a, (__m512i)b);
#elif MC_LEVEL == 2
    return sum + (vu)_mm256_madd_epi16((__m256i)a, (__m256i)b);
#elif defined(__SSE2__)
    return sum + (vu)_mm_madd_epi16((__m128i)a, (__m128i)b);
#else
    vi x = (vi)a, y = (vi)b;
    vu even = (vu)((x << 16) >> 16) * (vu)((y << 16) >> 16);
    return sum + even + (vu)(x >> 16) * (vu)(y >> 16);
#endif
}

/* ---- packing ---- */

static int64_t groups_of(int64_t k)
{
    return ceil_div(k, GROUP);
}

static int64_t tile_rows(int64_t m)
{
    return m > 0 ? ceil_div(m, ceil_div(m, TILE_ROWS)) : 1;
}

/* Words of packed A: tiles, then a sum for each row. */
static int64_t a_words(int64_t m, int64_t k)
{
    int64_t tile = tile_rows(m), padded = ceil_div(m, tile) * tile;
    return padded * (groups_of(k) + 1);
}

static size_t pack_a_bytes(int64_t m, int64_t k)
{
    return (size_t)a_words(m, k) * sizeof(uint32_t);
}

static size_t pack_b_bytes(int64_t k, int64_t n)
{
    return (size_t)(ceil_div(n, PANEL) * PANEL * (groups_of(k) + 1)) * sizeof(uint32_t);
}

/* Value of byte `raw` on a side that counts as signed or not. */
static inline int32_t value_of(uint8_t raw, uint8_t flip, bool is_signed)
{
    raw ^= flip;
    return is_signed ? (int8_t)raw : raw;
}

/* Word of `n` <= GROUP bytes, `step` apart, the rest 0; adds their values to *sum. */
static inline uint32_t word_of(const uint8_t *from, int64_t step, int64_t n, uint8_t flip,
                               bool is_signed, uint32_t *sum)
{
    uint32_t word = 0;
    for (int64_t i = 0; i < n; i++) {
        int32_t v = value_of(from[i * step], flip, is_signed);
        *sum += (uint32_t)v;
        word |= ((uint32_t)v & (GROUP == 4 ? 0xffu : 0xffffu)) << (32 / GROUP * i);
    }
    return word;
}

struct pack_job {
    int64_t lines, k;    /* rows of A or columns of B */
    int64_t width;       /* of a tile or panel */
    int64_t along, step; /* bytes between lines, and between neighbours along k */
    const uint8_t *from;
    uint32_t *to, *sums;
    uint8_t flip;
    bool is_signed; /* as packed */
};

/* Lines that lie beside each other: B row-major, A transposed. A group of k at a time, so that it vectorises. */
static void pack_across(const struct pack_job *j, int64_t first, int64_t lines, uint32_t *to,
                        uint32_t *sums)
{
    const uint8_t *from = j->from + first;
    int64_t full = j->k / GROUP;
    for (int64_t g = 0; g < full; g++, to += j->width) {
        const uint8_t *row = from + g * GROUP * j->step;
        for (int64_t i = 0; i < lines; i++)
            to[i] = word_of(row + i, j->step, GROUP, j->flip, j->is_signed, &sums[i]);
    }
    if (full * GROUP < j->k)
        for (int64_t i = 0; i < lines; i++)
            to[i] = word_of(from + full * GROUP * j->step + i, j->step, j->k - full * GROUP,
                            j->flip, j->is_signed, &sums[i]);
}

/* Line by line. */
static void pack_along(const struct pack_job *j, int64_t first, int64_t lines, uint32_t *to,
                       uint32_t *sums)
{
    int64_t full = j->k / GROUP, left = j->k - full * GROUP;
    for (int64_t i = 0; i < lines; i++) {
        const uint8_t *from = j->from + (first + i) * j->along;
        if (j->step == 1) {
            for (int64_t g = 0; g < full; g++)
                to[g * j->width + i] =
                    word_of(from + g * GROUP, 1, GROUP, j->flip, j->is_signed, &sums[i]);
        } else {
            for (int64_t g = 0; g < full; g++)
                to[g * j->width + i] = word_of(from + g * GROUP * j->step, j->step, GROUP, j->flip,
                                               j->is_signed, &sums[i]);
        }
        if (left)
            to[full * j->width + i] = word_of(from + full * GROUP * j->step, j->step, left, j->flip,
                                              j->is_signed, &sums[i]);
    }
}

static void pack_part(void *ctx, int64_t part, int worker)
{
    (void)worker;
    const struct pack_job *j = ctx;
    int64_t first = part * j->width, lines = min64(j->width, j->lines - first);
    uint32_t *to = j->to + first * groups_of(j->k), *sums = j->sums + first;
    memset(sums, 0, (size_t)j->width * sizeof *sums);
    if (lines < j->width)
        memset(to, 0, (size_t)(j->width * groups_of(j->k)) * sizeof *to);
    if (j->along == 1 && j->step != 1)
        pack_across(j, first, lines, to, sums);
    else
        pack_along(j, first, lines, to, sums);
}

static void pack(struct pack_job *j, const struct mc_s8_side *s, void *dst, struct mc_pool *pool)
{
    int64_t parts = ceil_div(j->lines, j->width);
    j->from = s->data;
    j->to = dst;
    j->sums = j->to + parts * j->width * groups_of(j->k);
    j->flip = s->is_signed == j->is_signed ? 0 : 0x80;
    mc_pool_run(pool, parts, pack_part, j);
}

static void pack_a(int64_t m, int64_t k, const struct mc_s8_side *a, void *dst,
                   struct mc_pool *pool)
{
    struct pack_job j = {.lines = m, .k = k, .width = tile_rows(m)};
    j.along = a->row;
    j.step = a->col;
    pack(&j, a, dst, pool);
}

static void pack_b(int64_t k, int64_t n, const struct mc_s8_side *b, void *dst,
                   struct mc_pool *pool)
{
    struct pack_job j = {.lines = n, .k = k, .width = PANEL, .is_signed = true};
    j.along = b->col;
    j.step = b->row;
    pack(&j, b, dst, pool);
}

/* ---- the product ---- */

/* What is added to the raw sums of a tile, where k begins. */
struct s8_store {
    int32_t *c;
    int64_t c_row;
    bool first;                 /* block of k: c is written, later ones add to it */
    uint32_t a_zero[TILE_ROWS]; /* as packed; and sums of the rows */
    const uint32_t *a_sum;
    const uint32_t *b_zero, *b_rest; /* of the panel: zero points, and sums less k times those */
};

static inline __attribute__((always_inline)) void tile(const uint32_t *a, int64_t a_step,
                                                       const uint32_t *b, int64_t groups, int rows,
                                                       int vectors, int cols,
                                                       const struct s8_store *s)
{
    vu sum[2 * TILE_ROWS];
#pragma GCC unroll 24
    for (int i = 0; i < rows * vectors; i++)
        sum[i] = (vu){0};
    for (int64_t g = groups; g > 0; g--, a += a_step, b += PANEL) {
        vu bv[2];
#pragma GCC unroll 2
        for (int v = 0; v < vectors; v++)
            bv[v] = load(b + v * LANES);
#pragma GCC unroll 24
        for (int i = 0; i < rows; i++) {
            vu av = a[i] - (vu){0};
#pragma GCC unroll 2
            for (int v = 0; v < vectors; v++)
                sum[i * vectors + v] = dot(sum[i * vectors + v], av, bv[v]);
        }
    }
#pragma GCC unroll 2
    for (int v = 0; v < vectors; v++) {
        vu zero = load(s->b_zero + v * LANES), rest = load(s->b_rest + v * LANES);
        int n = cols - v * LANES < LANES ? cols - v * LANES : LANES;
#pragma GCC unroll 24
        for (int i = 0; i < rows; i++) {
            uint32_t *c = (uint32_t *)s->c + i * s->c_row + v * LANES;
            vu y = sum[i * vectors + v];
            if (s->first)
                y -= s->a_zero[i] * rest + s->a_sum[i] * zero;
            if (n == LANES) {
                *(vu_unaligned *)c = s->first ? y : y + load(c);
            } else {
                for (int j = 0; j < n; j++)
                    c[j] = s->first ? y[j] : y[j] + c[j];
            }
        }
    }
}

typedef void tile_fn(const uint32_t *a, int64_t a_step, const uint32_t *b, int64_t groups, int cols,
                     const struct s8_store *s);

#define TILE(rows, vectors)                                                                        \
    static void tile_##rows##x##vectors(const uint32_t *a, int64_t a_step, const uint32_t *b,      \
                                        int64_t groups, int cols, const struct s8_store *s)        \
    {                                                                                              \
        tile(a, a_step, b, groups, rows, vectors, cols, s);                                        \
    }
#define BOTH(rows) TILE(rows, 1) TILE(rows, 2)
#define ROW(rows)                                                                                  \
    {                                                                                              \
        tile_##rows##x1, tile_##rows##x2                                                           \
    }

/* clang-format off */
BOTH(1) BOTH(2) BOTH(3) BOTH(4)
#if MC_LEVEL > 0
BOTH(5) BOTH(6)
#endif
#if MC_LEVEL == 5
BOTH(7) BOTH(8) BOTH(9) BOTH(10) BOTH(11) BOTH(12)
#endif

static tile_fn *const tiles[TILE_ROWS][2] = {
    ROW(1), ROW(2), ROW(3), ROW(4),
#if MC_LEVEL > 0
    ROW(5), ROW(6),
#endif
#if MC_LEVEL == 5
    ROW(7), ROW(8), ROW(9), ROW(10), ROW(11), ROW(12),
#endif
};
/* clang-format on */

struct s8_job {
    const struct mc_gemm_s8 *g;
    const uint32_t *a, *a_sum, *b, *b_sum; /* a: of this round */
    uint32_t a_flip, b_flip;               /* what shifting added to values */
    int64_t first, count;                  /* rows of this round */
    int64_t tile, groups;
    int64_t m_tiles, n_panels, n_chunks; /* per chunk, side by side */
};

static uint32_t zero_at(const struct mc_s8_zero *z, int64_t i)
{
    return z->value ? (uint32_t)z->value[i * z->step] : 0;
}

/* Zero points of a panel's columns as packed, and what a row's zero point is multiplied by. */
static void panel_terms(const struct s8_job *j, int64_t col, uint32_t *zero, uint32_t *rest)
{
    for (int64_t i = 0; i < PANEL; i++) {
        zero[i] = col + i < j->g->n ? zero_at(&j->g->b_zero, col + i) - j->b_flip : 0;
        rest[i] = j->b_sum[col + i] - (uint32_t)j->g->k * zero[i];
    }
}

static void compute_chunk(void *ctx, int64_t chunk, int worker)
{
    (void)worker;
    const struct s8_job *j = ctx;
    const struct mc_gemm_s8 *g = j->g;
    int64_t i0 = chunk / j->n_chunks * j->m_tiles * j->tile;
    int64_t i1 = min64(i0 + j->m_tiles * j->tile, j->count);
    int64_t c0 = chunk % j->n_chunks * j->n_panels * PANEL;
    int64_t c1 = min64(c0 + j->n_panels * PANEL, g->n);
    uint32_t zero[PANEL], rest[PANEL];
    int64_t at = 0;
    do {
        int64_t groups = min64(K_BLOCK, j->groups - at);
        for (int64_t c = c0; c < c1; c += PANEL) {
            int cols = (int)min64(PANEL, c1 - c);
            panel_terms(j, c, zero, rest);
            for (int64_t i = i0; i < i1; i += j->tile) {
                int rows = (int)min64(j->tile, j->count - i);
                struct s8_store s = {.c = g->c + (j->first + i) * g->c_row + c,
                                     .c_row = g->c_row,
                                     .first = at == 0,
                                     .a_sum = j->a_sum + i,
                                     .b_zero = zero,
                                     .b_rest = rest};
                for (int r = 0; r < rows; r++)
                    s.a_zero[r] = zero_at(&g->a_zero, j->first + i + r) + j->a_flip;
                tiles[rows - 1][cols > LANES](j->a + i * j->groups + at * j->tile, j->tile,
                                              j->b + c * j->groups + at * PANEL, groups, cols, &s);
            }
        }
        at += groups;
    } while (at < j->groups);
}

/* Rows packed at a time where A is packed here: a multiple of the tile of that many rows. */
static int64_t round_rows(int64_t m, int64_t k)
{
    int64_t most = ROUND_BYTES / (int64_t)sizeof(uint32_t) / (groups_of(k) + 1);
    most = max64(most, M_BLOCK);
    return m <= most ? m : most / TILE_ROWS * TILE_ROWS;
}

static size_t scratch_bytes(int64_t m, int64_t n, int64_t k)
{
    (void)n;
    return pack_a_bytes(round_rows(m, k), k);
}

static void run_round(struct s8_job *j, const void *packed, struct mc_pool *pool)
{
    int64_t panels = ceil_div(j->g->n, PANEL);
    j->tile = tile_rows(j->count);
    int64_t n_tiles = ceil_div(j->count, j->tile);
    j->a = packed;
    j->a_sum = j->a + n_tiles * j->tile * j->groups;
    j->m_tiles = min64(n_tiles, M_BLOCK / j->tile);
    int64_t m_chunks = ceil_div(n_tiles, j->m_tiles);
    int64_t ops = 2 * j->tile * PANEL * GROUP * max64(j->groups, 1); /* of one tile and panel */
    j->n_panels = max64(ceil_div(CHUNK_OPS, ops * j->m_tiles), ceil_div(panels * m_chunks, CHUNKS));
    j->n_panels = min64(panels, j->n_panels);
    j->n_chunks = ceil_div(panels, j->n_panels);
    mc_pool_run(pool, m_chunks * j->n_chunks, compute_chunk, j);
}

static void run(const struct mc_gemm_s8 *g, void *scratch, struct mc_pool *pool)
{
    if (g->m == 0 || g->n == 0)
        return;
    struct s8_job j = {.g = g, .b = g->packed_b, .groups = groups_of(g->k)};
    bool a_signed = g->packed_a ? g->a_signed : g->a.is_signed;
    j.a_flip = a_signed ? 128 : 0;
    j.b_flip = g->b_signed ? 0 : 128;
    j.b_sum = j.b + ceil_div(g->n, PANEL) * PANEL * j.groups;
    if (g->packed_a) {
        j.count = g->m;
        run_round(&j, g->packed_a, pool);
        return;
    }
    int64_t step = round_rows(g->m, g->k);
    for (; j.first < g->m; j.first += step) {
        struct mc_s8_side a = g->a;
        j.count = min64(step, g->m - j.first);
        a.data = (const uint8_t *)a.data + j.first * a.row;
        pack_a(j.count, g->k, &a, scratch, pool);
        run_round(&j, scratch, pool);
    }
}

void MC_CPU(mc_gemm_s8_fill)(struct mc_gemm_s8_kernels *k)
{
    *k =
        (struct mc_gemm_s8_kernels){pack_a_bytes, pack_b_bytes, pack_a, pack_b, scratch_bytes, run};
}
