/* Blocks: BLOCK rows of a, made into operands once for the panels of a chunk, stay in L2; a panel of b, made once for the
 * rows of a block, in L1 (24 KiB at k 4096). Where few rows pass, panels are read as they lie: a third less memory. */
#include <string.h>

#include "base/mem.h"
#include "kernels/cpu/xnor_cpu.h"
#include "kernels/fill.h"

enum {
    BLOCK = 128,              /* rows */
    BLOCK_BYTES = 384 << 10,  /* of their operands */
    PANELS = 16,              /* of a chunk at least: making operands of rows is 4 % then */
    CHUNKS = 48,              /* wanted, for threads */
    FEW_ROWS = 2 * TILE_ROWS, /* for which making panels costs more than it saves */
};

static size_t pack_b_bytes(int64_t k, int64_t n)
{
    return (size_t)(ceil_div(n, PANEL) * 2 * mc_xnor_pairs(k) * PANEL) * sizeof(uint32_t);
}

struct packing {
    int64_t k, n;
    const uint8_t *rows;
    uint32_t *dst;
};

static void pack_panel(void *ctx, int64_t panel, int worker)
{
    (void)worker;
    const struct packing *p = ctx;
    int64_t bytes = MC_XNOR_BYTES(p->k), words = 2 * mc_xnor_pairs(p->k);
    uint32_t *to = p->dst + panel * words * PANEL;
    memset(to, 0, (size_t)(words * PANEL) * sizeof *to);
    for (int64_t j = 0; j < PANEL && panel * PANEL + j < p->n; j++) {
        const uint8_t *row = p->rows + (panel * PANEL + j) * bytes;
        for (int64_t i = 0; i < bytes; i += 4)
            memcpy(to + i / 4 * PANEL + j, row + i, (size_t)min64(4, bytes - i));
        if (p->k % 8) { /* what lies behind k */
            uint8_t *end = (uint8_t *)(to + (bytes - 1) / 4 * PANEL + j);
            end[(bytes - 1) % 4] &= (uint8_t)((1 << p->k % 8) - 1);
        }
    }
}

static void pack_b(int64_t k, int64_t n, const uint8_t *rows, void *dst, struct mc_pool *pool)
{
    struct packing p = {k, n, rows, dst};
    if (k > 0)
        mc_pool_run(pool, ceil_div(n, PANEL), pack_panel, &p);
}

/* ---- the product ---- */

static int64_t block_rows(int64_t m, int64_t pairs)
{
    int64_t group = mc_xnor_group_words(pairs) * (int64_t)sizeof(uint32_t);
    int64_t most = max64(1, min64(BLOCK / TILE_ROWS, BLOCK_BYTES / group));
    return even(ceil_div(m, TILE_ROWS), most) * TILE_ROWS;
}

struct parts { /* of a worker's scratch, in words */
    int64_t panel, worker;
};

static struct parts layout(int64_t m, int64_t k)
{
    int64_t pairs = mc_xnor_pairs(k), line = MC_ALIGN / (int64_t)sizeof(uint32_t);
    int64_t rows = block_rows(m, pairs) / TILE_ROWS * mc_xnor_group_words(pairs);
    struct parts p = {.panel = ceil_div(rows, line) * line};
    p.worker = p.panel + (m > FEW_ROWS ? mc_xnor_panel_words(pairs) : 0);
    p.worker = ceil_div(p.worker, line) * line;
    return p;
}

static size_t scratch_bytes(int64_t m, int64_t n, int64_t k, int threads)
{
    (void)n;
    return m == 0 ? 0 : (size_t)(layout(m, k).worker * threads) * sizeof(uint32_t);
}

struct job {
    const struct mc_xnor_gemm *g;
    struct parts parts;
    uint32_t *scratch;
    int64_t pairs, block, panels, per_chunk, n_chunks; /* panels of a chunk; chunks side by side */
};

/* The output stage of a panel's columns: those that do not exist give 0. */
struct stage {
    float scale[PANEL], bias[PANEL];
    int32_t least[PANEL], most[PANEL];
};

static void take_stage(const struct mc_xnor_out *to, int64_t first, int64_t cols, struct stage *s)
{
    for (int64_t j = 0; j < PANEL; j++) {
        bool is = j < cols;
        s->scale[j] = is && to->scale ? ((const float *)to->scale)[first + j] : 1;
        s->bias[j] = is && to->bias ? ((const float *)to->bias)[first + j] : 0;
        s->least[j] = is && to->least ? to->least[first + j] : 1;
        s->most[j] = is && to->least ? to->most[first + j] : 0;
    }
}

/* Without a bias none is added: -0 stays. */
static void put_floats(const struct stage *s, const int32_t *sum, bool biased, int64_t cols,
                       float *y)
{
    for (int64_t j = 0; j < cols; j += LANES) {
        vf v =
            __builtin_convertvector(*(const vi_unaligned *)(sum + j), vf) * vf_load(s->scale + j);
        v = biased ? v + vf_load(s->bias + j) : v;
        if (cols - j >= LANES)
            vf_store(y + j, v);
        else
            vf_store_mask(y + j, v, vm_first(cols - j));
    }
}

static void put_bits(const struct stage *s, const int32_t *sum, int64_t cols, uint8_t *y)
{
    uint32_t bits = 0;
    for (int j = 0; j < cols; j += LANES)
        bits |= vi_within(*(const vi_unaligned *)(sum + j), *(const vi_unaligned *)(s->least + j),
                          *(const vi_unaligned *)(s->most + j))
                << j;
    for (int64_t j = 0; j < cols; j += 8)
        y[j / 8] = (uint8_t)(bits >> j);
}

static void finish(const struct mc_xnor_gemm *g, const struct stage *s, const int32_t *sum,
                   int64_t row, int64_t rows, int64_t first, int64_t cols)
{
    for (int64_t i = 0; i < rows; i++, sum += PANEL) {
        if (g->to.least)
            put_bits(s, sum, cols, (uint8_t *)g->y + (row + i) * g->y_row + first / 8);
        else
            put_floats(s, sum, g->to.bias, cols, (float *)g->y + (row + i) * g->y_row + first);
    }
}

static void compute_chunk(void *ctx, int64_t chunk, int worker)
{
    const struct job *j = ctx;
    const struct mc_xnor_gemm *g = j->g;
    uint32_t *rows = j->scratch + worker * j->parts.worker, *made = rows + j->parts.panel;
    int64_t first = chunk / j->n_chunks * j->block, last = min64(first + j->block, g->m);
    int64_t p0 = chunk % j->n_chunks * j->per_chunk, p1 = min64(p0 + j->per_chunk, j->panels);
    int64_t group = mc_xnor_group_words(j->pairs);
    for (int64_t i = first; i < last; i += TILE_ROWS)
        MC_CPU(mc_xnor_rows)
    (g->a + i * g->a_row, g->a_row, MC_XNOR_BYTES(g->k), (int)min64(TILE_ROWS, last - i), j->pairs,
     rows + (i - first) / TILE_ROWS * group);
    struct stage stage;
    _Alignas(MC_ALIGN) int32_t sum[TILE_ROWS * PANEL];
    struct mc_xnor_tile t = {.raw = g->m <= FEW_ROWS, .k = g->k, .pairs = j->pairs};
    for (int64_t p = p0; p < p1; p++) {
        const uint32_t *words = (const uint32_t *)g->packed_b + p * 2 * j->pairs * PANEL;
        t.n_cols = (int)min64(PANEL, g->n - p * PANEL);
        t.lanes = t.raw ? words : made;
        if (!t.raw)
            MC_CPU(mc_xnor_lanes)(words, j->pairs, made);
        take_stage(&g->to, p * PANEL, t.n_cols, &stage);
        bool whole = t.n_cols == PANEL && !g->to.least; /* 5 % at k 1024 */
        t.y = NULL;
        t.scale = stage.scale;
        t.bias = whole && g->to.bias ? stage.bias : NULL;
        t.y_row = g->y_row;
        for (int64_t i = first; i < last; i += TILE_ROWS) {
            t.rows = rows + (i - first) / TILE_ROWS * group;
            t.n_rows = (int)min64(TILE_ROWS, last - i);
            if (whole)
                t.y = (float *)g->y + i * g->y_row + p * PANEL;
            MC_CPU(mc_xnor_tile)(&t, sum);
            if (!whole)
                finish(g, &stage, sum, i, t.n_rows, p * PANEL, t.n_cols);
        }
    }
}

static void gemm(const struct mc_xnor_gemm *g, void *scratch, struct mc_pool *pool)
{
    if (g->m == 0 || g->n == 0)
        return;
    struct job j = {.g = g,
                    .parts = layout(g->m, g->k),
                    .scratch = scratch,
                    .pairs = mc_xnor_pairs(g->k),
                    .panels = ceil_div(g->n, PANEL)};
    j.block = block_rows(g->m, j.pairs);
    int64_t m_chunks = ceil_div(g->m, j.block);
    j.per_chunk = min64(j.panels, max64(PANELS, ceil_div(j.panels * m_chunks, CHUNKS)));
    j.n_chunks = ceil_div(j.panels, j.per_chunk);
    mc_pool_run(pool, m_chunks * j.n_chunks, compute_chunk, &j);
}

void MC_CPU(mc_xnor_fill)(struct mc_xnor_kernels *k)
{
    k->pack = MC_CPU(mc_xnor_pack);
    k->pack_image = MC_CPU(mc_xnor_image);
    k->pack_b_bytes = pack_b_bytes;
    k->pack_b = pack_b;
    k->scratch_bytes = scratch_bytes;
    k->gemm = gemm;
    MC_CPU(mc_xnor_signs_fill)(k);
    MC_CPU(mc_xnor_conv_fill)(k);
}
