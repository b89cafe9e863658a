/* Blocks: M_BLOCK rows of A at a time, packed if they cannot be read where they lie; of B a panel at a time, which
 * stays in L1 while the rows pass. k is not cut: a tile's sums stay in registers to their end. */
#include <string.h>

#include "base/mem.h"
#include "kernels/cpu/blocks.h"
#include "kernels/cpu/dot_s8.h"
#include "kernels/fill.h"

enum {
    M_BLOCK = 240,           /* rows of A: 240 KiB of an L2 at k 1024 */
    BLOCK_BYTES = 512 << 10, /* of packed A */
    CHUNK_OPS = 1 << 22,     /* well above the price of handing a chunk to a thread */
    CHUNKS = 48,             /* wanted, for threads */
    CROWD = 4096,            /* rows so many bytes apart share a few lines of an L1 */
};

static size_t pack_b_bytes(int64_t k, int64_t n)
{
    return MC_CPU(mc_s8_pack_bytes)(&(struct mc_s8_pack){.k = k, .n = n, .inner = max64(k, 1)});
}

static void pack_b(int64_t k, int64_t n, const struct mc_s8_side *b, void *dst,
                   struct mc_pool *pool)
{
    MC_CPU(mc_s8_pack)
    (&(struct mc_s8_pack){.k = k,
                          .n = n,
                          .inner = max64(k, 1),
                          .depth = max64(k, 1),
                          .row = b->row,
                          .col = b->col,
                          .data = b->data,
                          .is_signed = b->is_signed},
     dst, pool);
}

/* Bytes of a packed row: no multiple of CROWD. */
static int64_t row_bytes(int64_t k)
{
    int64_t bytes = mc_s8_groups(k) * 4;
    return bytes % (CROWD / 4) ? bytes : bytes + MC_ALIGN;
}

static int64_t block_rows(int64_t m, int64_t k)
{
    int64_t most = max64(BLOCK_BYTES / max64(row_bytes(k), 1), TILE_ROWS);
    return even(m, min64(M_BLOCK, most / TILE_ROWS * TILE_ROWS));
}

struct parts { /* of a worker's scratch */
    size_t sums, zeros, worker;
};

static struct parts layout(int64_t m, int64_t k)
{
    struct parts p = {.sums = (size_t)(block_rows(m, k) * row_bytes(k))};
    p.sums = (p.sums + MC_ALIGN - 1) / MC_ALIGN * MC_ALIGN;
    p.zeros = p.sums + M_BLOCK * sizeof(uint32_t);
    p.worker = p.zeros + M_BLOCK * sizeof(uint32_t);
    return p;
}

static size_t scratch_bytes(int64_t m, int64_t n, int64_t k, int threads)
{
    (void)n;
    return layout(m, k).worker * (size_t)threads;
}

struct job {
    const struct mc_gemm_s8 *g;
    struct mc_s8_weights w;
    struct parts parts;
    char *scratch;
    bool as_is, wants_sums;
    int64_t block, panels, per_chunk, n_chunks; /* panels of a chunk; chunks side by side */
};

static void pack_row(const struct mc_gemm_s8 *g, int64_t i, a_elem *to)
{
    const uint8_t *from = (const uint8_t *)g->a.data + i * g->a.row;
    uint8_t flip = (uint8_t)mc_s8_flip(g->a.is_signed);
    if (g->a.col == 1) {
        MC_CPU(mc_s8_widen)(g->k, from, g->a.is_signed, to);
    } else {
        for (int64_t p = 0; p < g->k; p++) {
            uint8_t x = from[p * g->a.col] ^ flip;
            to[p] = (a_elem)(GROUP == 2 && g->a.is_signed ? (int8_t)x : x);
        }
    }
    for (int64_t p = g->k; p < mc_s8_groups(g->k) * GROUP; p++)
        to[p] = 0;
}

static uint32_t a_zero(const struct mc_gemm_s8 *g, int64_t i)
{
    return (g->a_zero.value ? (uint32_t)g->a_zero.value[i * g->a_zero.step] : 0) +
           mc_s8_flip(g->a.is_signed);
}

/* Rows [first, first + rows) of A where tiles can read them. */
static struct mc_s8_rows take_rows(const struct job *j, int64_t first, int64_t rows, char *scratch)
{
    static const int64_t start[1] = {0};
    const struct mc_gemm_s8 *g = j->g;
    struct mc_s8_rows r = {
        (const char *)g->a.data + first * g->a.row, g->a.row, start, 1, mc_s8_groups(g->k), false};
    if (!j->as_is) {
        r.a = scratch;
        r.row = row_bytes(g->k);
        for (int64_t i = 0; i < rows; i++)
            pack_row(g, first + i, (a_elem *)(scratch + i * r.row));
    }
    uint32_t *sums = (uint32_t *)(scratch + j->parts.sums);
    uint32_t *zeros = (uint32_t *)(scratch + j->parts.zeros);
    for (int64_t i = 0; i < rows; i++) {
        struct mc_s8_rows one = r;
        one.a += i * r.row;
        sums[i] = j->wants_sums ? MC_CPU(mc_s8_row_sum)(&one, g->k) : 0;
        zeros[i] = a_zero(g, first + i);
    }
    return r;
}

static void compute_chunk(void *ctx, int64_t chunk, int worker)
{
    const struct job *j = ctx;
    const struct mc_gemm_s8 *g = j->g;
    char *scratch = j->scratch + (size_t)worker * j->parts.worker;
    int64_t first = chunk / j->n_chunks * j->block, rows = min64(j->block, g->m - first);
    int64_t p0 = chunk % j->n_chunks * j->per_chunk, p1 = min64(p0 + j->per_chunk, j->panels);
    struct mc_s8_rows r = take_rows(j, first, rows, scratch);
    bool apart = g->a_zero.value && g->a_zero.step;
    int64_t tile_rows = even(rows, TILE_ROWS), each = mc_s8_bytes(g->to.type);
    struct mc_s8_panel panel;
    _Alignas(MC_ALIGN) uint32_t sum[TILE_ROWS * PANEL];
    for (int64_t p = p0; p < p1; p++) {
        MC_CPU(mc_s8_panel)(&j->w, p, apart ? 0 : a_zero(g, 0), &panel);
        for (int64_t i = 0; i < rows; i += tile_rows) {
            struct mc_s8_rows at = r;
            int n = (int)min64(tile_rows, rows - i);
            int64_t to = (first + i) * g->c_row + p * PANEL;
            at.a += i * r.row;
            MC_CPU(mc_s8_tile)(&at, &panel, n, sum);
            if (apart || j->wants_sums) {
                const uint32_t *zeros = (const uint32_t *)(scratch + j->parts.zeros) + i;
                const uint32_t *sums = (const uint32_t *)(scratch + j->parts.sums) + i;
                struct mc_s8_line line = {apart ? zeros : NULL, sums};
                MC_CPU(mc_s8_rest)(&panel, &line, n, sum);
            }
            const char *residual = g->to.residual ? (const char *)g->to.residual + to : NULL;
            MC_CPU(mc_s8_finish)
            (&g->to, &panel, sum, n, (char *)g->c + to * each, g->c_row, residual, g->c_row);
        }
    }
}

static void run(const struct mc_gemm_s8 *g, void *scratch, struct mc_pool *pool)
{
    if (g->m == 0 || g->n == 0)
        return;
    struct job j = {.g = g,
                    .w = {.packed = g->packed_b,
                          .k = g->k,
                          .n = g->n,
                          .groups = mc_s8_groups(g->k),
                          .is_signed = g->b_signed,
                          .zero = g->b_zero,
                          .to = &g->to},
                    .parts = layout(g->m, g->k),
                    .scratch = scratch,
                    .block = block_rows(g->m, g->k),
                    .panels = ceil_div(g->n, PANEL)};
    j.as_is = mc_s8_as_is(g->a.is_signed) && g->a.col == 1 && g->k % GROUP == 0 &&
              (g->a.row % CROWD || g->m < 4);
    j.wants_sums = MC_CPU(mc_s8_wants_sums)(&j.w);
    int64_t m_chunks = ceil_div(g->m, j.block), ops = 2 * j.block * PANEL * max64(g->k, 1);
    j.per_chunk = max64(ceil_div(CHUNK_OPS, ops), ceil_div(j.panels * m_chunks, CHUNKS));
    j.per_chunk = min64(j.panels, j.per_chunk);
    j.n_chunks = ceil_div(j.panels, j.per_chunk);
    mc_pool_run(pool, m_chunks * j.n_chunks, compute_chunk, &j);
}

void MC_CPU(mc_gemm_s8_fill)(struct mc_gemm_s8_kernels *k)
{
    *k = (struct mc_gemm_s8_kernels){pack_b_bytes, pack_b, scratch_bytes, run};
}
