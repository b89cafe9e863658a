/* Blocks: B lies in panels of PANEL columns (packed once). A is packed, a round of rows at a time, into
 * tiles of `tile` rows: [block of k][tile][k in block][tile rows]. A chunk is a rectangle of tiles; in it, per
 * block of k, each panel of B meets all tiles of A, both from L2. */
#include <math.h>
#include <stdbool.h>
#include <string.h>

#include "kernels/cpu/act_cpu.h"
#include "kernels/cpu/blocks.h"
#include "kernels/cpu/tile.h"
#include "kernels/fill.h"

enum {
    K_BLOCK = 512,         /* each block passes once over C: 2048x2048x2048 gains 5 % over 256 */
    M_BLOCK = 240,         /* rows of A in a chunk: 480 KiB of an L2 per block of k */
    ROUND_BYTES = 8 << 20, /* of packed A */
    ROUND_ROWS = 2048,     /* B is read again for each round: of so many rows, that costs nothing */
    CHUNK_FLOPS = 1 << 21, /* about 10 us: well above the price of handing a chunk to a thread */
    CHUNKS = 48,           /* wanted per round, for threads; more would only read A more often */
};

/* Rows per tile, so that the tiles of m rows are as equal as can be. */
static int64_t tile_rows(int64_t m)
{
    return m > 0 ? ceil_div(m, ceil_div(m, TILE_ROWS)) : 1;
}

/* Rows packed at a time: a multiple of the tile. */
static int64_t round_rows(int64_t m, int64_t k)
{
    int64_t tile = tile_rows(m), rows = ROUND_BYTES / 4 / (k > 0 ? k : 1);
    rows = rows < M_BLOCK ? M_BLOCK : rows > ROUND_ROWS ? ROUND_ROWS : rows;
    return min64(ceil_div(rows, tile), ceil_div(m, tile)) * tile;
}

static size_t pack_b_bytes(int64_t k, int64_t n)
{
    return (size_t)ceil_div(n, PANEL) * PANEL * (size_t)k * sizeof(float);
}

typedef float v4 __attribute__((vector_size(16)));
typedef float v4_unaligned __attribute__((vector_size(16), aligned(4), may_alias));

/* to[p*tile + i] = from[i*row + p] for 4 rows and 4 k. */
static inline void transpose4(const float *from, int64_t row, float *to, int64_t tile)
{
    v4 a = *(const v4_unaligned *)from, b = *(const v4_unaligned *)(from + row);
    v4 c = *(const v4_unaligned *)(from + 2 * row), d = *(const v4_unaligned *)(from + 3 * row);
    v4 ac0 = __builtin_shufflevector(a, c, 0, 4, 1, 5);
    v4 ac1 = __builtin_shufflevector(a, c, 2, 6, 3, 7);
    v4 bd0 = __builtin_shufflevector(b, d, 0, 4, 1, 5);
    v4 bd1 = __builtin_shufflevector(b, d, 2, 6, 3, 7);
    *(v4_unaligned *)to = __builtin_shufflevector(ac0, bd0, 0, 4, 1, 5);
    *(v4_unaligned *)(to + tile) = __builtin_shufflevector(ac0, bd0, 2, 6, 3, 7);
    *(v4_unaligned *)(to + 2 * tile) = __builtin_shufflevector(ac1, bd1, 0, 4, 1, 5);
    *(v4_unaligned *)(to + 3 * tile) = __builtin_shufflevector(ac1, bd1, 2, 6, 3, 7);
}

struct pack_b_job {
    int64_t k, n, b_row, b_col;
    const float *b;
    float *dst;
};

static void pack_b_panel(void *ctx, int64_t panel, int worker)
{
    (void)worker;
    const struct pack_b_job *j = ctx;
    int64_t cols = min64(PANEL, j->n - panel * PANEL);
    const float *b = j->b + panel * PANEL * j->b_col;
    float *dst = j->dst + panel * PANEL * j->k;
    if (j->b_col == 1) {
        vm left = vm_first(cols), right = vm_first(cols - LANES);
        for (int64_t p = 0; p < j->k; p++, b += j->b_row, dst += PANEL) {
            bool whole = cols == PANEL;
            vf_store(dst, whole ? vf_load(b) : vf_load_mask(b, left));
            vf_store(dst + LANES, whole ? vf_load(b + LANES) : vf_load_mask(b + LANES, right));
        }
        return;
    }
    if (cols < PANEL)
        memset(dst, 0, (size_t)(j->k * PANEL) * sizeof *dst);
    /* Along the rows of a transposed B, a few lines of dst at a time. */
    enum { STEP = 16 };
    for (int64_t p0 = 0; p0 < j->k; p0 += STEP) {
        int64_t steps = min64(STEP, j->k - p0), c = 0;
        for (; steps == STEP && j->b_row == 1 && c + 4 <= cols; c += 4) {
            for (int64_t p = p0; p < p0 + STEP; p += 4)
                transpose4(b + c * j->b_col + p, j->b_col, dst + p * PANEL + c, PANEL);
        }
        for (; c < cols; c++) {
            for (int64_t p = p0; p < p0 + steps; p++)
                dst[p * PANEL + c] = b[p * j->b_row + c * j->b_col];
        }
    }
}

static void pack_b(int64_t k, int64_t n, const void *b, int64_t b_row, int64_t b_col, void *dst,
                   struct mc_pool *pool)
{
    struct pack_b_job j = {k, n, b_row, b_col, b, dst};
    mc_pool_run(pool, ceil_div(n, PANEL), pack_b_panel, &j);
}

static size_t scratch_bytes(int64_t m, int64_t n, int64_t k, int threads)
{
    (void)n;
    (void)threads;
    return (size_t)round_rows(m, k) * (size_t)k * sizeof(float);
}

struct gemm_job {
    const struct mc_gemm *g;
    float *packed;        /* A of this round, or NULL: A is read in place */
    int64_t first, count; /* rows of this round */
    int64_t tile;         /* rows per tile */
    int64_t k_block;
    int64_t m_tiles, n_panels; /* per chunk */
    int64_t n_chunks;          /* side by side: neighbours in time share their rows of A */
};

/* One tile of A, all of k. */
static void pack_a_tile(void *ctx, int64_t t, int worker)
{
    (void)worker;
    const struct gemm_job *j = ctx;
    const struct mc_gemm *g = j->g;
    int64_t tile = j->tile, rows = min64(tile, j->count - t * tile);
    const float *a = (const float *)g->a + (j->first + t * tile) * g->a_row;
    for (int64_t k0 = 0; k0 < g->k; k0 += j->k_block) {
        int64_t kc = min64(j->k_block, g->k - k0);
        const float *from = a + k0 * g->a_col;
        float *to = j->packed + k0 * (ceil_div(j->count, tile) * tile) + t * tile * kc;
        int64_t i = 0;
        if (g->a_row == 1) { /* rows lie side by side: at most one vector */
            vm m = vm_first(rows);
            for (int64_t p = 0; p < kc; p++)
                vf_store_mask(to + p * tile, vf_load_mask(from + p * g->a_col, m), m);
            continue;
        }
        for (; g->a_col == 1 && i + 4 <= rows; i += 4) {
            int64_t p = 0;
            for (; p + 4 <= kc; p += 4)
                transpose4(from + i * g->a_row + p, g->a_row, to + p * tile + i, tile);
            for (; p < kc; p++) {
                for (int64_t r = i; r < i + 4; r++)
                    to[p * tile + r] = from[r * g->a_row + p];
            }
        }
        for (int64_t p = 0; p < kc && i < rows; p++) {
            for (int64_t r = i; r < rows; r++)
                to[p * tile + r] = from[r * g->a_row + p * g->a_col];
        }
    }
}

/* What the epilogue adds and where it goes, for the tile at (row, col) in the block of k from k0. */
static struct mc_tile_store tile_store(const struct mc_gemm *g, int64_t row, int64_t col,
                                       int64_t k0, bool last)
{
    const struct mc_epilogue *e = &g->epilogue;
    float *c = (float *)g->c + row * g->c_row + col;
    const float *bias = e->bias, *residual = e->residual;
    bool clamp = last && e->act == MC_ACT_CLAMP;
    return (struct mc_tile_store){
        .c = c,
        .c_row = g->c_row,
        .alpha = (float)g->alpha,
        .col_bias = k0 == 0 && bias ? bias + col : NULL,
        .prior = k0 > 0     ? c
                 : residual ? residual + row * g->c_row + col
                            : NULL,
        .lo = clamp ? (float)e->lo : -INFINITY,
        .hi = clamp ? (float)e->hi : INFINITY,
    };
}

/* Panels of the next tile: no more than there are, and a number that tiles come in. */
static int64_t panels_at(int64_t rows, int64_t cols)
{
    int64_t panels = tile_panels((int)rows);
    while (panels > ceil_div(cols, PANEL))
        panels /= 2;
    return panels;
}

static void compute_chunk(void *ctx, int64_t chunk, int worker)
{
    (void)worker;
    const struct gemm_job *j = ctx;
    const struct mc_gemm *g = j->g;
    int64_t tile = j->tile, padded = ceil_div(j->count, tile) * tile;
    int64_t i0 = chunk / j->n_chunks * j->m_tiles * tile;
    int64_t i1 = min64(i0 + j->m_tiles * tile, j->count);
    int64_t c0 = chunk % j->n_chunks * j->n_panels * PANEL;
    int64_t c1 = min64(c0 + j->n_panels * PANEL, g->n);
    int64_t k0 = 0;
    do {
        int64_t kc = min64(j->k_block, g->k - k0);
        bool last = k0 + kc == g->k;
        for (int64_t c = c0, step; c < c1; c += step) {
            step = PANEL * panels_at(j->tile, c1 - c);
            int cols = (int)min64(step, c1 - c);
            for (int64_t i = i0; i < i1; i += tile) {
                int rows = (int)min64(tile, j->count - i);
                struct mc_tile_in in = {
                    .b = (const float *)g->packed_b + c * g->k + k0 * PANEL,
                    .k = kc,
                    .panel_step = g->k * PANEL,
                };
                if (j->packed) {
                    in.a = j->packed + k0 * padded + i * kc;
                    in.a_row = 1;
                    in.a_col = tile;
                } else {
                    in.a = (const float *)g->a + (j->first + i) * g->a_row;
                    in.a_row = g->m == 1 ? 1 : g->a_row;
                    in.a_col = g->a_col;
                }
                struct mc_tile_store s = tile_store(g, j->first + i, c, k0, last);
                MC_CPU(mc_tile)(&in, rows, cols, &s);
                if (last)
                    MC_CPU(mc_act_block)(&g->epilogue, s.c, s.c_row, rows, cols);
            }
        }
        k0 += kc;
    } while (k0 < g->k);
}

static void run(const struct mc_gemm *g, void *scratch, struct mc_pool *pool)
{
    if (g->m == 0 || g->n == 0)
        return;
    int64_t panels = ceil_div(g->n, PANEL);
    struct gemm_job j = {.g = g, .tile = tile_rows(g->m)};
    j.k_block = ceil_div(g->k, max64(1, ceil_div(g->k, K_BLOCK)));
    /* Packing A pays only if several panels use it. With one row there is nothing to pack. */
    bool row = g->m == 1, strided = !row && g->a_row != 1 && g->a_col != 1;
    bool in_place = row || (!strided && panels <= 2);
    int64_t step = in_place ? g->m : round_rows(g->m, g->k);
    if (in_place || g->m <= TILE_ROWS)
        j.k_block = g->k;
    if (!in_place)
        j.packed = scratch;
    for (j.first = 0; j.first < g->m; j.first += step) {
        j.count = min64(step, g->m - j.first);
        int64_t tiles = ceil_div(j.count, j.tile);
        int64_t flops = 2 * j.tile * PANEL * (g->k > 0 ? g->k : 1); /* of one tile and panel */
        if (j.packed)
            mc_pool_run(pool, tiles, pack_a_tile, &j);
        j.m_tiles = min64(tiles, M_BLOCK / j.tile);
        int64_t m_chunks = ceil_div(tiles, j.m_tiles);
        j.n_panels =
            max64(ceil_div(CHUNK_FLOPS, flops * j.m_tiles), ceil_div(panels * m_chunks, CHUNKS));
        j.n_panels = min64(panels, j.n_panels);
        j.n_panels = ceil_div(j.n_panels, tile_panels((int)j.tile)) * tile_panels((int)j.tile);
        j.n_chunks = ceil_div(panels, j.n_panels);
        mc_pool_run(pool, m_chunks * j.n_chunks, compute_chunk, &j);
    }
}

void MC_CPU(mc_gemm_fill)(struct mc_gemm_kernels *k)
{
    *k = (struct mc_gemm_kernels){pack_b_bytes, pack_b, scratch_bytes, run};
}
