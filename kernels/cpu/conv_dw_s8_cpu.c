/* Depthwise: lanes are channels. GROUP neighbours of a column of the window make one word for each channel, built
 * once for a row of the output and read by all its places; the rest is as in other products: words (i1, i2) of x
 * with those of the weights, which are packed as k = (column, row). */
#include <string.h>

#include "base/mem.h"
#include "kernels/cpu/blocks.h"
#include "kernels/cpu/conv_s8_cpu.h"

enum {
    PLACES = 4,          /* with sums of their own */
    WIDTH = 64,          /* places of a row at a time: their words stay in L1 */
    CHUNK_OPS = 1 << 19, /* well above the price of handing a chunk to a thread */
};

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

/* LANES bytes as values, in the bits that a word has for each. */
static inline vu widen(const uint8_t *x, bool is_signed)
{
#if MC_LEVEL == 5
    __m128i bytes = _mm_loadu_si128((const __m128i *)x);
    if (GROUP == 2 && is_signed)
        return (vu)_mm512_cvtepi8_epi32(bytes) & 0xffff;
    return (vu)_mm512_cvtepu8_epi32(bytes);
#elif MC_LEVEL == 2
    __m128i bytes = _mm_loadl_epi64((const __m128i *)x);
    if (is_signed)
        return (vu)_mm256_cvtepi8_epi32(bytes) & 0xffff;
    return (vu)_mm256_cvtepu8_epi32(bytes);
#else
    vu v;
    for (int i = 0; i < LANES; i++)
        v[i] = is_signed ? (uint32_t)(int8_t)x[i] & 0xffff : x[i];
    return v;
#endif
}

/* What makes the words of a group of rows. */
struct column {
    const uint8_t *row[GROUP]; /* those inside: their first channel at column 0 */
    uint32_t shift[GROUP];
    int rows;
    uint32_t missing, frame, flip; /* bits of the rows outside; of a column outside; of signs */
    bool is_signed;
};

/* `left` channels exist. */
static inline __attribute__((always_inline)) void build_word(const struct column *k, int rows,
                                                             int64_t at, int64_t left, uint32_t *to)
{
    for (int v = 0; v < 2; v++, left -= LANES) {
        vu word = k->missing - (vu){0};
#pragma GCC unroll 4
        for (int i = 0; i < rows; i++) {
            const uint8_t *x = k->row[i] + at + v * LANES;
            uint8_t some[LANES] = {0};
            if (left < LANES) {
                memcpy(some, x, left > 0 ? (size_t)left : 0);
                x = some;
            }
            word |= widen(x, k->is_signed) << k->shift[i];
        }
        *(vu_unaligned *)(to + v * LANES) = word ^ k->flip;
    }
}

static inline __attribute__((always_inline)) void build_run(const struct column *k, int rows,
                                                            int64_t at, int64_t n, int64_t step,
                                                            int64_t left, int64_t to_step,
                                                            uint32_t *to)
{
    if (left >= PANEL)
        for (int64_t i = 0; i < n; i++, at += step, to += to_step)
            build_word(k, rows, at, PANEL, to);
    else
        for (int64_t i = 0; i < n; i++, at += step, to += to_step)
            build_word(k, rows, at, left, to);
}

static void fill_words(uint32_t value, int64_t n, int64_t step, uint32_t *to)
{
    for (int64_t i = 0; i < n; i++, to += step)
        for (int v = 0; v < 2; v++)
            *(vu_unaligned *)(to + v * LANES) = value - (vu){0};
}

/* Words of one group of rows, of which a column has `deep`: columns [first, first + cols), channels [ch, ch +
 * PANEL). row[i]: start of that input row, NULL outside; rows from `rows` on are no taps and count as 0. */
static void build_words(const struct mc_conv_s8 *c, const uint8_t *const row[GROUP], int64_t rows,
                        int64_t first, int64_t cols, int64_t ch, int64_t deep, uint32_t *to)
{
    uint32_t bits = 32 / GROUP, mask = GROUP == 4 ? 0xff : 0xffff;
    uint32_t zero = ((uint32_t)c->x_zero + mc_s8_flip(c->x_signed)) & mask;
    struct column k = {.is_signed = c->x_signed};
    for (int64_t i = 0; i < rows; i++) {
        k.frame |= zero << bits * i;
        if (row[i]) {
            k.flip |= mc_s8_flip(c->x_signed) << bits * i;
            k.row[k.rows] = row[i] + ch;
            k.shift[k.rows++] = bits * (uint32_t)i;
        } else {
            k.missing |= zero << bits * i;
        }
    }
    int64_t lead = max64(0, min64(cols, -first)), step = deep * PANEL;
    int64_t inside = max64(lead, min64(cols, c->in[2] - first)), at = (first + lead) * c->c;
    fill_words(k.frame, lead, step, to);
    fill_words(k.frame, cols - inside, step, to + inside * step);
    to += lead * step;
    inside -= lead;
    switch (k.rows) {
    case 0: fill_words(k.missing, inside, step, to); break;
    case 1: build_run(&k, 1, at, inside, c->c, c->c - ch, step, to); break;
    case 2: build_run(&k, 2, at, inside, c->c, c->c - ch, step, to); break;
#if defined(__AVX512VNNI__)
    case 3: build_run(&k, 3, at, inside, c->c, c->c - ch, step, to); break;
    case 4: build_run(&k, 4, at, inside, c->c, c->c - ch, step, to); break;
#endif
    }
}

/* Sums of `places` neighbours: words `step` apart; b_step 0 repeats the first word of b. */
static inline __attribute__((always_inline)) void sum_places(const struct mc_conv_s8 *c,
                                                             const uint32_t *words, int64_t step,
                                                             const uint32_t *b, int64_t b_step,
                                                             const uint32_t *start, int places,
                                                             uint32_t *sum)
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

static void sum_row(const struct mc_conv_s8 *c, const uint32_t *words, const uint32_t *b,
                    int64_t b_step, const uint32_t *start, int n, uint32_t *sum)
{
    int64_t step = c->stride[2] * mc_s8_groups(c->kernel[1]) * PANEL;
    int i = 0;
    for (; i + PLACES <= n; i += PLACES)
        sum_places(c, words + i * step, step, b, b_step, start, PLACES, sum + i * PANEL);
    for (; i < n; i++)
        sum_places(c, words + i * step, step, b, b_step, start, 1, sum + i * PANEL);
}

/* Places [o2, o2 + n) of an output row whose words are built. */
static void finish_row(const struct job *j, const struct mc_s8_panel *panel, const uint32_t *words,
                       int64_t at, int64_t n)
{
    const struct mc_conv_s8 *c = j->c;
    int64_t step = c->stride[2] * mc_s8_groups(c->kernel[1]) * PANEL,
            each = mc_s8_bytes(c->to.type);
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
        MC_CPU(mc_s8_finish)
        (&c->to, panel, sum, now, (char *)c->y + to * each, c->oc, residual ? residual + to : NULL,
         c->oc);
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
    const uint8_t *x =
        (const uint8_t *)c->x + (image * c->in[0] + (inside ? i0 : 0)) * c->in[1] * row;
    for (int64_t o = 0; o < c->out[2]; o += WIDTH) {
        int64_t n = min64(WIDTH, c->out[2] - o), cols = columns(c, n);
        for (int64_t g = 0; g < deep; g++) {
            const uint8_t *rows[GROUP] = {0};
            int64_t taps = min64(GROUP, c->kernel[1] - g * GROUP);
            for (int64_t i = 0; i < taps; i++) {
                int64_t at = i1 + (g * GROUP + i) * c->dilation[1];
                rows[i] = inside && at >= 0 && at < c->in[1] ? x + at * row : NULL;
            }
            build_words(c, rows, taps, o * c->stride[2] - c->pad[2], cols, ch, deep,
                        words + g * PANEL);
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
