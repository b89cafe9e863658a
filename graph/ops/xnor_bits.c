#include <string.h>

#include "graph/ops/xnor_step.h"

enum { WORD = 32 };

struct mc_shape mc_xnor_bits_shape(const struct mc_xnor_bits *b, const struct mc_shape *y)
{
    if (!b->image)
        return (struct mc_shape){
            2, {mc_shape_span(y, 0, y->rank - 1), MC_XNOR_BYTES(y->dim[y->rank - 1])}};
    int64_t height = y->rank > 3 ? y->dim[2] : 1, width = y->dim[y->rank - 1];
    if (b->pool) {
        height = b->pool->out[1];
        width = b->pool->out[2];
    }
    if (b->flat)
        return (struct mc_shape){2, {y->dim[0], MC_XNOR_BYTES(y->dim[1] * height * width)}};
    return (struct mc_shape){5, {y->dim[0], MC_XNOR_WORDS(y->dim[1]), height, width, 4}};
}

/* A maximum of signs is their disjunction; what lies outside of the image is no element of a window. */
static void pool_plane(const struct mc_window_dims *w, const uint32_t *from, uint32_t turned,
                       uint32_t *to)
{
    for (int64_t y = 0; y < w->out[1]; y++)
        for (int64_t x = 0; x < w->out[2]; x++) {
            uint32_t any = 0;
            for (int64_t i = 0; i < w->kernel[1]; i++)
                for (int64_t j = 0; j < w->kernel[2]; j++) {
                    int64_t r = y * w->stride[1] - w->pad[1] + i * w->dilation[1];
                    int64_t c = x * w->stride[2] - w->pad[2] + j * w->dilation[2];
                    if (r >= 0 && r < w->in[1] && c >= 0 && c < w->in[2])
                        any |= from[r * w->in[2] + c];
                }
            *to++ = any ^ turned;
        }
}

/* [words, pixels] to one row of bits, channel by channel. */
static void flatten(int64_t channels, int64_t pixels, const uint32_t *from, uint8_t *to)
{
    memset(to, 0, (size_t)MC_XNOR_BYTES(channels * pixels));
    for (int64_t c = 0, at = 0; c < channels; c++)
        for (int64_t i = 0; i < pixels; i++, at++)
            to[at / 8] |= (uint8_t)((from[c / WORD * pixels + i] >> c % WORD & 1) << at % 8);
}

static int64_t pooled(const struct mc_xnor_bits *b, int64_t pixels)
{
    return b->pool ? b->pool->out[1] * b->pool->out[2] : pixels;
}

struct job {
    const struct mc_xnor_bits *b;
    int64_t channels, words, pixels;
    const uint32_t *bits;
    uint32_t *fewer; /* where a pool leaves its bits */
    void *to;
};

static void one_image(void *ctx, int64_t image, int worker)
{
    (void)worker;
    const struct job *j = ctx;
    const struct mc_xnor_bits *b = j->b;
    int64_t left = pooled(b, j->pixels);
    const uint32_t *bits = j->bits + image * j->words * j->pixels;
    if (b->pool) {
        uint32_t *fewer = j->fewer + image * j->words * left;
        for (int64_t w = 0; w < j->words; w++)
            pool_plane(b->pool, bits + w * j->pixels, b->turned[w], fewer + w * left);
        bits = fewer;
    }
    if (b->flat)
        flatten(j->channels, left, bits,
                (uint8_t *)j->to + image * MC_XNOR_BYTES(j->channels * left));
}

size_t mc_xnor_hand_scratch(const struct mc_xnor_bits *b, int64_t n, int64_t channels)
{
    return b->pool && b->flat ? (size_t)(n * MC_XNOR_WORDS(channels) * pooled(b, 0)) * 4 : 0;
}

void mc_xnor_hand(const struct mc_xnor_bits *b, int64_t n, int64_t channels, int64_t pixels,
                  const uint32_t *bits, void *to, void *scratch, struct mc_pool *pool)
{
    struct job j = {b, channels, MC_XNOR_WORDS(channels), pixels, bits, b->flat ? scratch : to, to};
    mc_pool_run(pool, n, one_image, &j);
}
