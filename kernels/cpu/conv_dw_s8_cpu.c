/* Depthwise: lanes are channels. GROUP neighbours of a column of the window make one word for each channel, built
 * once for a row of the output and read by all its places; the rest is as in other products: words (i1, i2) of x
 * with those of the weights, which are packed as k = (column, row). */
#include <string.h>

#include "base/mem.h"
#include "kernels/cpu/blocks.h"
#include "kernels/cpu/conv_s8.h"

enum {
    PLACES = 4,          /* with sums of their own */
    WIDTH = 64,          /* places of a row at a time: their words stay in L1 */
    CHUNK_OPS = 1 << 19, /* well above the price of handing a chunk to a thread */
};

typedef uint8_t vb __attribute__((vector_size(LANES), aligned(1), may_alias));
typedef int8_t vsb __attribute__((vector_size(LANES), aligned(1), may_alias));

static struct mc_s8_pack packing(const struct mc_conv_s8 *c, const void *w)
{
    return (struct mc_s8_pack){.k = c->kernel[1] * c->kernel[2],
                               .n = c->oc,
                               .inner = c->kernel[1],
                               .depth = c->kernel[1],
                               .outer = 1,
                               .row = c->kernel[2],
                               .col = c->kernel[1] * c->kernel[2],
                               .data = w,
                               .is_signed = c->w_signed};
}

size_t MC_CPU(mc_conv_dw_s8_w_bytes)(const struct mc_conv_s8 *c)
{
    struct mc_s8_pack p = packing(c, NULL);
    return MC_CPU(mc_s8_pack_bytes)(&p);
}

void MC_CPU(mc_conv_dw_s8_pack)(const struct mc_conv_s8 *c, const void *w, void *dst,
                                struct mc_pool *pool)
{
    struct mc_s8_pack p = packing(c, w);
    MC_CPU(mc_s8_pack)(&p, dst, pool);
}

/* Input columns under `places` places. */
static int64_t columns(const struct mc_conv_s8 *c, int64_t places)
{
    return (places - 1) * c->stride[2] + (c->kernel[2] - 1) * c->dilation[2] + 1;
}

static size_t worker_bytes(const struct mc_conv_s8 *c)
{
    int64_t words = columns(c, min64(WIDTH, c->out[2])) * mc_s8_groups(c->kernel[1]) * PANEL;
    return (size_t)words * sizeof(uint32_t);
}

size_t MC_CPU(mc_conv_dw_s8_scratch)(const struct mc_conv_s8 *c, int threads)
{
    return worker_bytes(c) * (size_t)threads;
}

struct job {
    const struct mc_conv_s8 *c;
    struct mc_s8_weights w;
    char *scratch;
    bool wants_sums;
    int64_t lines, step, panels; /* lines of the output: all, of a chunk */
};

static inline vu load(const void *p)
{
    return *(const vu_unaligned *)p;
}

/* LANES bytes of which n exist, as values. */
static inline vu take(const uint8_t *x, int64_t n, bool is_signed)
{
    uint8_t some[LANES] = {0};
    if (n < LANES) {
        memcpy(some, x, (size_t)n);
        x = some;
    }
    if (GROUP == 2 && is_signed)
        return (vu)__builtin_convertvector(*(const vsb *)x, vi) & 0xffff;
    return __builtin_convertvector(*(const vb *)x, vu);
}

/* Words of one group of rows, of which a column has `deep`: columns [first, first + cols), channels [ch, ch + PANEL). row[i]: start of that input
 * row, NULL outside; rows from `rows` on are no taps and count as 0. */
static void build_words(const struct mc_conv_s8 *c, const uint8_t *const row[GROUP], int64_t rows,
                        int64_t first, int64_t cols, int64_t ch, int64_t deep, uint32_t *to)
{
    uint32_t bits = 32 / GROUP, mask = GROUP == 4 ? 0xff : 0xffff, flip = 0, frame = 0;
    uint32_t zero = ((uint32_t)c->x_zero + mc_s8_flip(c->x_signed)) & mask;
    const uint8_t *at[GROUP];
    uint32_t missing = 0;
    int64_t shift[GROUP], n = 0;
    for (int64_t i = 0; i < rows; i++) {
        frame |= zero << bits * i;
        if (!row[i]) {
            missing |= zero << bits * i;
            continue;
        }
        flip |= (GROUP == 4 && c->x_signed ? 0x80u : 0) << bits * i;
        at[n] = row[i] + ch;
        shift[n++] = bits * i;
    }
    int64_t inside0 = max64(0, min64(cols, -first));
    int64_t inside1 = max64(inside0, min64(cols, c->in[2] - first));
    for (int64_t j = 0; j < cols; j++, to += deep * PANEL) {
        if (j < inside0 || j >= inside1) {
            for (int v = 0; v < 2; v++)
                *(vu_unaligned *)(to + v * LANES) = frame - (vu){0};
            continue;
        }
        int64_t from = (first + j) * c->c;
        for (int v = 0; v < 2; v++) {
            int64_t left = c->c - ch - v * LANES;
            vu word = missing - (vu){0};
            for (int64_t i = 0; i < n && left > 0; i++)
                word |= take(at[i] + from + v * LANES, left, c->x_signed) << (uint32_t)shift[i];
            *(vu_unaligned *)(to + v * LANES) = word ^ flip;
        }
    }
}

/* Sums of `places` neighbours: words `step` apart; b_step 0 repeats the first word of b. */
static inline __attribute__((always_inline)) void
sum_places(const struct mc_conv_s8 *c, const uint32_t *words, int64_t step, const uint32_t *b,
           int64_t b_step, const uint32_t *start, int places, uint32_t *sum)
{
    vu s[2 * PLACES];
    int64_t deep = mc_s8_groups(c->kernel[1]), hop = c->dilation[2] * deep * PANEL;
#pragma GCC unroll 8
    for (int i = 0; i < 2 * places; i++)
        s[i] = load(start + i % 2 * LANES);
    for (int64_t i2 = 0; i2 < c->kernel[2]; i2++, words += hop)
        for (int64_t g = 0; g < deep; g++, b += b_step) {
            vu low = load(b), high = load(b + LANES);
#pragma GCC unroll 4
            for (int i = 0; i < places; i++) {
                const uint32_t *x = words + i * step + g * PANEL;
                s[2 * i] = mc_s8_dot(s[2 * i], load(x), low);
                s[2 * i + 1] = mc_s8_dot(s[2 * i + 1], load(x + LANES), high);
            }
        }
#pragma GCC unroll 8
    for (int i = 0; i < 2 * places; i++)
        *(vu_unaligned *)(sum + i * LANES) = s[i];
}

static void sum_row(const struct mc_conv_s8 *c, const uint32_t *words, const uint32_t *b, int64_t b_step,
                    const uint32_t *start, int n, uint32_t *sum)
{
    int64_t step = c->stride[2] * mc_s8_groups(c->kernel[1]) * PANEL;
    int i = 0;
    for (; i + PLACES <= n; i += PLACES)
        sum_places(c, words + i * step, step, b, b_step, start, PLACES, sum + i * PANEL);
    for (; i < n; i++)
        sum_places(c, words + i * step, step, b, b_step, start, 1, sum + i * PANEL);
}

/* Places [o2, o2 + n) of an output row whose words are built. */
static void finish_row(const struct job *j, const struct mc_s8_panel *panel, const uint32_t *words, int64_t at,
                       int64_t n)
{
    const struct mc_conv_s8 *c = j->c;
    int64_t step = c->stride[2] * mc_s8_groups(c->kernel[1]) * PANEL, each = mc_s8_bytes(c->to.type);
    _Alignas(MC_ALIGN) uint32_t sum[2 * PLACES * PANEL], total[2 * PLACES * PANEL];
    uint32_t ones[PANEL], none[PANEL] = {0};
    for (int i = 0; i < PANEL; i++)
        ones[i] = GROUP == 4 ? 0x01010101 : 0x00010001;
    for (int64_t i = 0; i < n; i += 2 * PLACES) {
        int now = (int)min64(2 * PLACES, n - i);
        sum_row(c, words + i * step, panel->b, PANEL, panel->start, now, sum);
        if (j->wants_sums) {
            sum_row(c, words + i * step, ones, 0, none, now, total);
            for (int e = 0; e < now * PANEL; e++)
                sum[e] -= total[e] * panel->b_zero[e % PANEL];
        }
        int64_t to = at + i * c->oc;
        const char *residual = c->to.residual;
        MC_CPU(mc_s8_finish)(&c->to, panel, sum, now, (char *)c->y + to * each, c->oc,
                             residual ? residual + to : NULL, c->oc);
    }
}

static void one_line(const struct job *j, const struct mc_s8_panel *panel, int64_t line, int64_t ch,
                     uint32_t *words)
{
    const struct mc_conv_s8 *c = j->c;
    int64_t image = line / (c->out[0] * c->out[1]), deep = mc_s8_groups(c->kernel[1]);
    int64_t i0 = line / c->out[1] % c->out[0] * c->stride[0] - c->pad[0];
    int64_t i1 = line % c->out[1] * c->stride[1] - c->pad[1], row = c->in[2] * c->c;
    bool inside = i0 >= 0 && i0 < c->in[0];
    const uint8_t *x = (const uint8_t *)c->x + (image * c->in[0] + (inside ? i0 : 0)) * c->in[1] * row;
    for (int64_t o = 0; o < c->out[2]; o += WIDTH) {
        int64_t n = min64(WIDTH, c->out[2] - o), cols = columns(c, n);
        for (int64_t g = 0; g < deep; g++) {
            const uint8_t *rows[GROUP] = {0};
            int64_t taps = min64(GROUP, c->kernel[1] - g * GROUP);
            for (int64_t i = 0; i < taps; i++) {
                int64_t at = i1 + (g * GROUP + i) * c->dilation[1];
                rows[i] = inside && at >= 0 && at < c->in[1] ? x + at * row : NULL;
            }
            build_words(c, rows, taps, o * c->stride[2] - c->pad[2], cols, ch, deep, words + g * PANEL);
        }
        finish_row(j, panel, words, (line * c->out[2] + o) * c->oc + ch, n);
    }
}

static void one_chunk(void *ctx, int64_t chunk, int worker)
{
    const struct job *j = ctx;
    const struct mc_conv_s8 *c = j->c;
    int64_t panel = chunk % j->panels, first = chunk / j->panels * j->step;
    struct mc_s8_panel p;
    MC_CPU(mc_s8_panel)(&j->w, panel, (uint32_t)c->x_zero + mc_s8_flip(c->x_signed), &p);
    uint32_t *words = (uint32_t *)(j->scratch + (size_t)worker * worker_bytes(c));
    for (int64_t line = first; line < min64(first + j->step, j->lines); line++)
        one_line(j, &p, line, panel * PANEL, words);
}

void MC_CPU(mc_conv_dw_s8_run)(const struct mc_conv_s8 *c, void *scratch, struct mc_pool *pool)
{
    struct job j = {.c = c,
                    .w = {.packed = c->packed_w,
                          .k = c->kernel[1] * c->kernel[2],
                          .n = c->oc,
                          .groups = mc_s8_groups(c->kernel[1]) * c->kernel[2],
                          .is_signed = c->w_signed,
                          .zero = c->w_zero,
                          .to = &c->to},
                    .scratch = scratch,
                    .lines = c->n * c->out[0] * c->out[1],
                    .panels = ceil_div(c->oc, PANEL)};
    j.wants_sums = MC_CPU(mc_s8_wants_sums)(&j.w);
    int64_t ops = 2 * c->out[2] * j.w.k * PANEL;
    j.step = even(j.lines, ceil_div(CHUNK_OPS, ops));
    mc_pool_run(pool, ceil_div(j.lines, j.step) * j.panels, one_chunk, &j);
}
