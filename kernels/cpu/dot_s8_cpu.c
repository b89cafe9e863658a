#include "kernels/cpu/dot_s8.h"

#include <string.h>

#include "kernels/cpu/blocks.h"

static inline vu load(const void *p)
{
    return *(const vu_unaligned *)p;
}

/* ---- packing ---- */

static int64_t pack_groups(const struct mc_s8_pack *p)
{
    return p->k == 0 ? 0 : p->k / p->inner * mc_s8_groups(p->inner);
}

size_t MC_CPU(mc_s8_pack_bytes)(const struct mc_s8_pack *p)
{
    return (size_t)(ceil_div(p->n, PANEL) * PANEL * (pack_groups(p) + 1)) * sizeof(uint32_t);
}

struct pack_job {
    const struct mc_s8_pack *p;
    uint32_t *to, *sums;
    uint8_t flip;
};

/* A group of k for `cols` columns: `n` <= GROUP values at from[at[i]]. */
static inline void pack_group(const uint8_t *from, const int64_t *at, int64_t n, int64_t col,
                              int64_t cols, uint8_t flip, uint32_t *to, uint32_t *sums)
{
    for (int64_t j = 0; j < cols; j++) {
        uint32_t word = 0;
        for (int64_t i = 0; i < n; i++) {
            int32_t v = (int8_t)(from[at[i] + j * col] ^ flip);
            sums[j] += (uint32_t)v;
            word |= ((uint32_t)v & (GROUP == 4 ? 0xffu : 0xffffu)) << (32 / GROUP * i);
        }
        to[j] = word;
    }
}

static void pack_panel(void *ctx, int64_t panel, int worker)
{
    (void)worker;
    const struct pack_job *j = ctx;
    const struct mc_s8_pack *p = j->p;
    int64_t cols = min64(PANEL, p->n - panel * PANEL), at[GROUP];
    uint32_t *to = j->to + panel * PANEL * pack_groups(p), *sums = j->sums + panel * PANEL;
    const uint8_t *from = (const uint8_t *)p->data + panel * PANEL * p->col;
    memset(sums, 0, PANEL * sizeof *sums);
    for (int64_t k = 0; k < p->k; k += p->inner, from += p->outer)
        for (int64_t first = 0; first < p->inner; first += GROUP, to += PANEL) {
            int64_t n = min64(GROUP, p->inner - first);
            for (int64_t i = 0; i < n; i++)
                at[i] = (first + i) / p->depth * p->hop + (first + i) % p->depth * p->row;
            if (cols < PANEL)
                memset(to, 0, PANEL * sizeof *to);
            if (n == GROUP && p->col == 1)
                pack_group(from, at, GROUP, 1, cols, j->flip, to, sums);
            else
                pack_group(from, at, n, p->col, cols, j->flip, to, sums);
        }
}

void MC_CPU(mc_s8_pack)(const struct mc_s8_pack *p, void *dst, struct mc_pool *pool)
{
    int64_t panels = ceil_div(p->n, PANEL);
    struct pack_job j = {.p = p, .to = dst, .flip = p->is_signed ? 0 : 0x80};
    j.sums = j.to + panels * PANEL * pack_groups(p);
    mc_pool_run(pool, panels, pack_panel, &j);
}

static uint32_t zero_at(const struct mc_s8_weights *w, int64_t j)
{
    return (w->zero.value ? (uint32_t)w->zero.value[j * w->zero.step] : 0) -
           (w->is_signed ? 0 : 128);
}

bool MC_CPU(mc_s8_wants_sums)(const struct mc_s8_weights *w)
{
    bool wants = false;
    for (int64_t j = 0; j < (w->zero.value && w->zero.step ? w->n : 1); j++)
        wants |= zero_at(w, j) != 0;
    return wants;
}

void MC_CPU(mc_s8_panel)(const struct mc_s8_weights *w, int64_t index, uint32_t a_zero,
                         struct mc_s8_panel *ret)
{
    int64_t first = index * PANEL, panels = ceil_div(w->n, PANEL);
    const uint32_t *words = w->packed, *sums = words + panels * w->groups * PANEL + first;
    const struct mc_s8_out *to = w->to;
    ret->b = words + index * w->groups * PANEL;
    ret->cols = (int)min64(PANEL, w->n - first);
    for (int j = 0; j < ret->cols; j++) {
        ret->b_zero[j] = zero_at(w, first + j);
        ret->rest[j] = sums[j] - (uint32_t)w->k * ret->b_zero[j];
        ret->start[j] = (to->bias ? (uint32_t)to->bias[first + j] : 0) - a_zero * ret->rest[j];
    }
    for (int j = 0; to->scale && j < ret->cols; j++) {
        ret->scale[j] = to->scale[(first + j) * to->scale_step];
        ret->shift[j] = to->shift ? to->shift[first + j] : 0;
    }
    for (int j = ret->cols; j < PANEL; j++) {
        ret->b_zero[j] = ret->rest[j] = ret->start[j] = 0;
        ret->scale[j] = ret->shift[j] = 0;
    }
}

uint32_t MC_CPU(mc_s8_row_sum)(const struct mc_s8_rows *r, int64_t len)
{
    uint32_t sum = 0;
    for (int64_t s = 0; s < r->segments; s++) {
        const a_elem *a = (const a_elem *)(r->a + r->segment[s]);
        for (int64_t i = 0; i < len; i++)
            sum += (uint32_t)a[i];
    }
    return sum;
}

void MC_CPU(mc_s8_rest)(const struct mc_s8_panel *p, const struct mc_s8_line *line, int rows,
                        uint32_t *sum)
{
    for (int i = 0; i < rows; i++, sum += PANEL) {
        uint32_t zero = line->a_zero ? line->a_zero[i] : 0,
                 total = line->a_sum ? line->a_sum[i] : 0;
        for (int j = 0; j < PANEL; j++)
            sum[j] -= zero * p->rest[j] + total * p->b_zero[j];
    }
}

/* ---- the product ---- */

enum { AHEAD = 32 }; /* groups: 2 KiB at most */

static inline uint32_t word(const char *p)
{
    uint32_t w;
    memcpy(&w, p, sizeof w);
    return w;
}

/* `deep` groups at a time have sums of their own: few rows alone cannot keep the multipliers busy. */
static inline __attribute__((always_inline)) void tile(const struct mc_s8_rows *r,
                                                       const struct mc_s8_panel *p, int rows,
                                                       int vectors, int deep, uint32_t *to)
{
    vu sum[2 * TILE_ROWS];
    const uint32_t *b = p->b;
    int64_t step = r->row;
#pragma GCC unroll 24
    for (int i = 0; i < rows * vectors; i++)
        sum[i] = load(p->start + i % vectors * LANES);
#pragma GCC unroll 24
    for (int i = rows * vectors; i < rows * vectors * deep; i++)
        sum[i] = (vu){0};
    for (int64_t s = 0; s < r->segments; s++) {
        const char *a = r->a + r->segment[s], *next = r->far ? a + rows * step : a;
        int64_t ahead = r->far ? 64 : 0;
        int64_t g = r->groups;
        for (; g >= deep; g -= deep, b += deep * PANEL, a += 4 * deep, next += ahead) {
            if (rows == TILE_ROWS)
                __builtin_prefetch(next, 0, 2);
#pragma GCC unroll 8
            for (int d = 0; d < deep; d++) {
                vu bv[2];
#pragma GCC unroll 2
                for (int v = 0; v < 4 * PANEL / 64; v++)
                    __builtin_prefetch(b + (d + AHEAD) * PANEL + v * 16);
#pragma GCC unroll 2
                for (int v = 0; v < vectors; v++)
                    bv[v] = load(b + d * PANEL + v * LANES);
#pragma GCC unroll 24
                for (int i = 0; i < rows; i++) {
                    vu av = word(a + 4 * d + i * step) - (vu){0};
#pragma GCC unroll 2
                    for (int v = 0; v < vectors; v++) {
                        int at = (d * rows + i) * vectors + v;
                        sum[at] = mc_s8_dot(sum[at], av, bv[v]);
                    }
                }
            }
        }
        for (; deep > 1 && g > 0; g--, b += PANEL, a += 4) {
#pragma GCC unroll 24
            for (int i = 0; i < rows; i++) {
#pragma GCC unroll 2
                for (int v = 0; v < vectors; v++)
                    sum[i * vectors + v] = mc_s8_dot(
                        sum[i * vectors + v], word(a + i * step) - (vu){0}, load(b + v * LANES));
            }
        }
    }
#pragma GCC unroll 24
    for (int i = rows * vectors; i < rows * vectors * deep; i++)
        sum[i % (rows * vectors)] += sum[i];
#pragma GCC unroll 24
    for (int i = 0; i < rows; i++) {
#pragma GCC unroll 2
        for (int v = 0; v < vectors; v++)
            *(vu_unaligned *)(to + i * PANEL + v * LANES) = sum[i * vectors + v];
    }
}

typedef void tile_fn(const struct mc_s8_rows *r, const struct mc_s8_panel *p, uint32_t *to);

/* Sums enough to hide the latency of a multiplication, no more than there are registers for. */
#define DEEP(rows)                                                                                 \
    (8 * (rows) <= TILE_ROWS ? 8 : 4 * (rows) <= TILE_ROWS ? 4 : 2 * (rows) <= TILE_ROWS ? 2 : 1)
#define TILE(rows, vectors)                                                                        \
    static void tile_##rows##x##vectors(const struct mc_s8_rows *r, const struct mc_s8_panel *p,   \
                                        uint32_t *to)                                              \
    {                                                                                              \
        tile(r, p, rows, vectors, DEEP(rows), to);                                                 \
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

void MC_CPU(mc_s8_tile)(const struct mc_s8_rows *r, const struct mc_s8_panel *p, int rows,
                        uint32_t *sum)
{
    tiles[rows - 1][p->cols > LANES](r, p, sum);
}

void MC_CPU(mc_s8_widen)(int64_t n, const uint8_t *x, bool is_signed, a_elem *to)
{
#if defined(__AVX512VNNI__)
    if (!is_signed) {
        memcpy(to, x, (size_t)n);
        return;
    }
    for (int64_t i = 0; i < n; i++)
        to[i] = x[i] ^ 0x80;
#else
    if (is_signed) {
        for (int64_t i = 0; i < n; i++)
            to[i] = (int8_t)x[i];
    } else {
        for (int64_t i = 0; i < n; i++)
            to[i] = x[i];
    }
#endif
}
