#include <string.h>

#include "kernels/fill.h"
#include "kernels/ref/elem.h"

static int sign_at(const uint8_t *row, int64_t i)
{
    return row[i / 8] >> i % 8 & 1 ? 1 : -1;
}

static bool positive(const void *x, int64_t at, const void *threshold, int64_t t_at)
{
    return !(((const elem *)x)[at] < ((const elem *)threshold)[t_at]);
}

static void pack(const struct mc_xnor_pack *p, struct mc_pool *pool)
{
    (void)pool;
    for (int64_t i = 0; i < p->rows; i++) {
        uint8_t *row = p->bits + i * p->bits_row;
        memset(row, 0, (size_t)MC_XNOR_BYTES(p->cols));
        for (int64_t j = 0; j < p->cols; j++)
            row[j / 8] |=
                (uint8_t)(positive(p->x, i * p->x_row + j, p->threshold, j * p->t_step) << j % 8);
    }
}

static void pack_image(const struct mc_xnor_image *p, struct mc_pool *pool)
{
    (void)pool;
    int64_t words = MC_XNOR_WORDS(p->channels);
    memset(p->bits, 0, (size_t)(p->n * words * p->pixels) * sizeof *p->bits);
    for (int64_t i = 0; i < p->n; i++)
        for (int64_t c = 0; c < p->channels; c++) {
            uint32_t *to = p->bits + (i * words + c / 32) * p->pixels;
            for (int64_t at = 0; at < p->pixels; at++) {
                int64_t from = (i * p->channels + c) * p->pixels + at;
                to[at] |= (uint32_t)positive(p->x, from, p->threshold, c * p->t_step) << c % 32;
            }
        }
}

static elem value_of(const struct mc_xnor_out *to, int64_t sum, int64_t j)
{
    elem y = (elem)sum;
    y = to->scale ? ((const elem *)to->scale)[j] * y : y;
    return to->bias ? y + ((const elem *)to->bias)[j] : y;
}

static uint32_t bit_of(const struct mc_xnor_out *to, int64_t sum, int64_t j)
{
    return to->least[j] <= sum && sum <= to->most[j];
}

/* "Packed" here is the rows as they are. */
static size_t pack_b_bytes(int64_t k, int64_t n)
{
    return (size_t)(n * MC_XNOR_BYTES(k));
}

static void pack_b(int64_t k, int64_t n, const uint8_t *rows, void *dst, struct mc_pool *pool)
{
    (void)pool;
    memcpy(dst, rows, pack_b_bytes(k, n));
}

static size_t scratch_bytes(int64_t m, int64_t n, int64_t k, int threads)
{
    (void)m;
    (void)n;
    (void)k;
    (void)threads;
    return 0;
}

static void gemm(const struct mc_xnor_gemm *g, void *scratch, struct mc_pool *pool)
{
    (void)scratch;
    (void)pool;
    for (int64_t i = 0; i < g->m; i++) {
        uint8_t *bits = (uint8_t *)g->y + i * g->y_row;
        if (g->to.least)
            memset(bits, 0, (size_t)MC_XNOR_BYTES(g->n));
        for (int64_t j = 0; j < g->n; j++) {
            const uint8_t *b = (const uint8_t *)g->packed_b + j * MC_XNOR_BYTES(g->k);
            int64_t sum = 0;
            for (int64_t p = 0; p < g->k; p++)
                sum += sign_at(g->a + i * g->a_row, p) * sign_at(b, p);
            if (g->to.least)
                bits[j / 8] |= (uint8_t)(bit_of(&g->to, sum, j) << j % 8);
            else
                ((elem *)g->y)[i * g->y_row + j] = value_of(&g->to, sum, j);
        }
    }
}

static size_t signs_scratch_bytes(int64_t k)
{
    (void)k;
    return 0;
}

static void signs(const struct mc_xnor_signs *g, void *scratch, struct mc_pool *pool)
{
    (void)scratch;
    (void)pool;
    for (int64_t i = 0; i < g->m; i++)
        for (int64_t j = 0; j < g->n; j++) {
            const uint8_t *b = (const uint8_t *)g->packed_b + j * MC_XNOR_BYTES(g->k);
            elem sum = 0;
            for (int64_t p = 0; p < g->k; p++)
                sum += sign_at(b, p) * ((const elem *)g->x)[i * g->x_row + p];
            sum = g->scale ? ((const elem *)g->scale)[j] * sum : sum;
            ((elem *)g->y)[i * g->y_row + j] = g->bias ? sum + ((const elem *)g->bias)[j] : sum;
        }
}

static size_t pack_w_bytes(const struct mc_xnor_conv *c)
{
    return pack_b_bytes(c->channels * c->kernel[0] * c->kernel[1], c->filters);
}

static void pack_w(const struct mc_xnor_conv *c, const uint8_t *rows, void *dst,
                   struct mc_pool *pool)
{
    pack_b(c->channels * c->kernel[0] * c->kernel[1], c->filters, rows, dst, pool);
}

static size_t conv_scratch_bytes(const struct mc_xnor_conv *c, int threads)
{
    (void)c;
    (void)threads;
    return 0;
}

/* Sum of one tap over the channels; 0 outside. */
static int64_t tap_sum(const struct mc_xnor_conv *c, const uint32_t *x, const uint8_t *w,
                       int64_t tap, int64_t row, int64_t col)
{
    int64_t sum = 0, taps = c->kernel[0] * c->kernel[1], pixels = c->in[0] * c->in[1];
    if (row < 0 || row >= c->in[0] || col < 0 || col >= c->in[1])
        return 0;
    for (int64_t i = 0; i < c->channels; i++) {
        uint32_t word = x[i / 32 * pixels + row * c->in[1] + col];
        sum += (word >> i % 32 & 1 ? 1 : -1) * sign_at(w, i * taps + tap);
    }
    return sum;
}

static int64_t conv_sum(const struct mc_xnor_conv *c, const uint32_t *x, const uint8_t *w,
                        int64_t at)
{
    int64_t sum = 0;
    for (int64_t t = 0; t < c->kernel[0] * c->kernel[1]; t++)
        sum +=
            tap_sum(c, x, w, t,
                    at / c->out[1] * c->stride[0] + t / c->kernel[1] * c->dilation[0] - c->pad[0],
                    at % c->out[1] * c->stride[1] + t % c->kernel[1] * c->dilation[1] - c->pad[1]);
    return sum;
}

static void conv(const struct mc_xnor_conv *c, void *scratch, struct mc_pool *pool)
{
    (void)scratch;
    (void)pool;
    int64_t row = MC_XNOR_BYTES(c->channels * c->kernel[0] * c->kernel[1]);
    int64_t pixels = c->out[0] * c->out[1], words = MC_XNOR_WORDS(c->filters);
    if (c->to.least)
        memset(c->y, 0, (size_t)(c->n * words * pixels) * sizeof(uint32_t));
    for (int64_t i = 0; i < c->n; i++) {
        const uint32_t *x = c->x + i * MC_XNOR_WORDS(c->channels) * c->in[0] * c->in[1];
        for (int64_t f = 0; f < c->filters; f++)
            for (int64_t at = 0; at < pixels; at++) {
                int64_t sum = conv_sum(c, x, (const uint8_t *)c->packed_w + f * row, at);
                if (c->to.least)
                    ((uint32_t *)c->y)[(i * words + f / 32) * pixels + at] |= bit_of(&c->to, sum, f)
                                                                              << f % 32;
                else
                    ((elem *)c->y)[(i * c->filters + f) * pixels + at] = value_of(&c->to, sum, f);
            }
    }
}

void MC_REF(mc_xnor_fill)(struct mc_xnor_kernels *k)
{
    *k = (struct mc_xnor_kernels){.pack = pack,
                                  .pack_image = pack_image,
                                  .pack_b_bytes = pack_b_bytes,
                                  .pack_b = pack_b,
                                  .scratch_bytes = scratch_bytes,
                                  .gemm = gemm,
                                  .signs_scratch_bytes = signs_scratch_bytes,
                                  .signs = signs,
                                  .pack_w_bytes = pack_w_bytes,
                                  .pack_w = pack_w,
                                  .conv_scratch_bytes = conv_scratch_bytes,
                                  .conv = conv};
}
