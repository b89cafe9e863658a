#include <string.h>

#include "kernels/fill.h"
#include "kernels/ref/elem.h"
#include "kernels/ref/out_s8_ref.h"

static size_t pack_w_bytes(const struct mc_conv_s8 *c)
{
    return (size_t)(c->oc * (c->c / c->group) * c->kernel[0] * c->kernel[1] * c->kernel[2]);
}

static void pack_w(const struct mc_conv_s8 *c, const void *w, void *dst, struct mc_pool *pool)
{
    (void)pool;
    memcpy(dst, w, pack_w_bytes(c));
}

static size_t scratch_bytes(const struct mc_conv_s8 *c, int threads)
{
    (void)c;
    (void)threads;
    return 0;
}

/* x - x_zero of channel ic under tap k of the window at o; 0 outside. */
static int32_t under(const struct mc_conv_s8 *c, int64_t image, int64_t ic, const int64_t *o,
                     const int64_t *k)
{
    int64_t at = 0;
    for (int d = 0; d < 3; d++) {
        int64_t i = o[d] * c->stride[d] + k[d] * c->dilation[d] - c->pad[d];
        if (i < 0 || i >= c->in[d])
            return 0;
        at = at * c->in[d] + i;
    }
    int64_t size = c->in[0] * c->in[1] * c->in[2];
    at = c->x_layout == MC_S8_NHWC ? (image * size + at) * c->c + ic
                                   : (image * c->c + ic) * size + at;
    return s8_value(c->x, c->x_signed, at) - c->x_zero;
}

static int32_t one(const struct mc_conv_s8 *c, int64_t image, int64_t oc, const int64_t *o)
{
    int64_t per = c->c / c->group, first = oc / (c->oc / c->group) * per, k[3];
    int64_t tap = oc * per * c->kernel[0] * c->kernel[1] * c->kernel[2];
    int32_t w_zero = c->w_zero.value ? c->w_zero.value[oc * c->w_zero.step] : 0;
    uint32_t sum = 0; /* wraps */
    for (int64_t ic = 0; ic < per; ic++)
        for (k[0] = 0; k[0] < c->kernel[0]; k[0]++)
            for (k[1] = 0; k[1] < c->kernel[1]; k[1]++)
                for (k[2] = 0; k[2] < c->kernel[2]; k[2]++, tap++) {
                    int32_t w = s8_value(c->packed_w, c->w_signed, tap) - w_zero;
                    sum += (uint32_t)(w * under(c, image, first + ic, o, k));
                }
    return (int32_t)sum;
}

static void run(const struct mc_conv_s8 *c, void *scratch, struct mc_pool *pool)
{
    (void)scratch;
    (void)pool;
    int64_t o[3], size = c->out[0] * c->out[1] * c->out[2];
    for (int64_t image = 0; image < c->n; image++)
        for (int64_t oc = 0; oc < c->oc; oc++) {
            bool last = c->y_layout == MC_S8_NHWC;
            int64_t at = last ? image * size * c->oc + oc : (image * c->oc + oc) * size;
            for (o[0] = 0; o[0] < c->out[0]; o[0]++)
                for (o[1] = 0; o[1] < c->out[1]; o[1]++)
                    for (o[2] = 0; o[2] < c->out[2]; o[2]++, at += last ? c->oc : 1)
                        s8_put(&c->to, one(c, image, oc, o), oc, c->y, at);
        }
}

void MC_REF(mc_conv_s8_fill)(struct mc_conv_s8_kernels *k)
{
    *k = (struct mc_conv_s8_kernels){pack_w_bytes, pack_w, scratch_bytes, run};
}
