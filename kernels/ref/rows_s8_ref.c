#include <string.h>

#include "kernels/fill.h"
#include "kernels/ref/elem.h"
#include "kernels/ref/out_s8_ref.h"

static int32_t left(const struct mc_pair_s8 *p, int64_t i)
{
    return s8_value(p->a, p->a_signed, i) - p->a_zero;
}

static int32_t right(const struct mc_pair_s8 *p, int64_t i)
{
    return s8_value(p->b, p->b_signed, i * p->b_step) - p->b_zero;
}

static void add(const struct mc_pair_s8 *p)
{
    uint8_t *y = p->y;
    for (int64_t i = 0; i < p->n; i++) {
        float v = (float)left(p, i) * p->a_scale + (float)right(p, i) * p->b_scale;
        y[i] = (uint8_t)s8_round(v, p->zero, p->lo, p->hi);
    }
}

static void mul(const struct mc_pair_s8 *p)
{
    uint8_t *y = p->y;
    for (int64_t i = 0; i < p->n; i++) {
        float v = (float)(left(p, i) * right(p, i)) * p->a_scale;
        y[i] = (uint8_t)s8_round(v, p->zero, p->lo, p->hi);
    }
}

static void look_up(int64_t n, const uint8_t *x, const uint8_t table[256], uint8_t *y)
{
    for (int64_t i = 0; i < n; i++)
        y[i] = table[x[i]];
}

/* One result of channel `ch` of image `image`, for the window at o. */
static uint8_t window(const struct mc_pool_s8 *p, int64_t image, int64_t ch, const int64_t *o)
{
    int64_t k[3], inside = 0, counted = 0, size = p->in[0] * p->in[1] * p->in[2];
    int32_t sum = 0, most = p->x_signed ? -128 : 0;
    for (k[0] = 0; k[0] < p->kernel[0]; k[0]++)
        for (k[1] = 0; k[1] < p->kernel[1]; k[1]++)
            for (k[2] = 0; k[2] < p->kernel[2]; k[2]++) {
                int64_t at = 0;
                bool in = true, padded = true;
                for (int d = 0; d < 3; d++) {
                    int64_t i = o[d] * p->stride[d] + k[d] * p->dilation[d] - p->pad[d];
                    in &= i >= 0 && i < p->in[d];
                    padded &= i < p->in[d] + p->end[d];
                    at = at * p->in[d] + i;
                }
                counted += padded;
                if (!in)
                    continue;
                inside++;
                at = p->layout == MC_S8_NHWC ? (image * size + at) * p->c + ch
                                             : (image * p->c + ch) * size + at;
                int32_t v = s8_value(p->x, p->x_signed, at);
                sum += v - p->x_zero;
                most = v > most ? v : most;
            }
    if (!p->average)
        return (uint8_t)most;
    int64_t n = p->count_pad ? counted : inside;
    float by = p->scale / (float)(n > 0 ? n : 1);
    return (uint8_t)s8_round((float)sum * by, p->zero, p->lo, p->hi);
}

static void pool(const struct mc_pool_s8 *p, struct mc_pool *threads)
{
    (void)threads;
    int64_t o[3], size = p->out[0] * p->out[1] * p->out[2];
    bool last = p->layout == MC_S8_NHWC;
    for (int64_t image = 0; image < p->n; image++)
        for (int64_t ch = 0; ch < p->c; ch++) {
            int64_t at = last ? image * size * p->c + ch : (image * p->c + ch) * size;
            for (o[0] = 0; o[0] < p->out[0]; o[0]++)
                for (o[1] = 0; o[1] < p->out[1]; o[1]++)
                    for (o[2] = 0; o[2] < p->out[2]; o[2]++, at += last ? p->c : 1)
                        ((uint8_t *)p->y)[at] = window(p, image, ch, o);
        }
}

static void transpose(int64_t n, int64_t rows, int64_t cols, const uint8_t *x, uint8_t *y,
                      struct mc_pool *threads)
{
    (void)threads;
    for (int64_t i = 0; i < n; i++, x += rows * cols, y += rows * cols)
        for (int64_t r = 0; r < rows; r++)
            for (int64_t c = 0; c < cols; c++)
                y[c * rows + r] = x[r * cols + c];
}

void MC_REF(mc_rows_s8_fill)(struct mc_rows_s8_kernels *k)
{
    *k = (struct mc_rows_s8_kernels){add, mul, look_up, pool, transpose};
}
