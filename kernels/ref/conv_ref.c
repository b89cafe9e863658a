#include <stdbool.h>
#include <string.h>

#include "kernels/fill.h"
#include "kernels/ref/act_ref.h"

/* "Packed" here is w as it is. */
static int64_t weights(const struct mc_conv *c)
{
    return c->oc * (c->c / c->group) * c->kernel[0] * c->kernel[1] * c->kernel[2];
}

static size_t pack_w_bytes(const struct mc_conv *c)
{
    return (size_t)weights(c) * sizeof(elem);
}

static void pack_w(const struct mc_conv *c, const void *w, void *dst, struct mc_pool *pool)
{
    (void)pool;
    memcpy(dst, w, pack_w_bytes(c));
}

static size_t scratch_bytes(const struct mc_conv *c, int threads)
{
    (void)c;
    (void)threads;
    return 0;
}

/* Sum over ic, k… for output position o; image and w start at the group's first channel. Padding is
 * zeros: an infinite weight meets them too and gives NaN. */
static elem dot(const struct mc_conv *c, const elem *image, const elem *w, const int64_t o[3])
{
    elem sum = 0;
    for (int64_t ic = 0; ic < c->c / c->group; ic++) {
        for (int64_t kz = 0; kz < c->kernel[0]; kz++) {
            int64_t z = o[0] * c->stride[0] + kz * c->dilation[0] - c->pad[0];
            for (int64_t ky = 0; ky < c->kernel[1]; ky++) {
                int64_t y = o[1] * c->stride[1] + ky * c->dilation[1] - c->pad[1];
                for (int64_t kx = 0; kx < c->kernel[2]; kx++, w++) {
                    int64_t x = o[2] * c->stride[2] + kx * c->dilation[2] - c->pad[2];
                    bool inside =
                        z >= 0 && z < c->in[0] && y >= 0 && y < c->in[1] && x >= 0 && x < c->in[2];
                    sum += *w * (inside ? image[((ic * c->in[0] + z) * c->in[1] + y) * c->in[2] + x]
                                        : 0);
                }
            }
        }
    }
    return sum;
}

/* One output channel of one image. */
static void plane(void *ctx, int64_t chunk, int worker)
{
    (void)worker;
    const struct mc_conv *c = ctx;
    const struct mc_epilogue *e = &c->epilogue;
    int64_t oc = chunk % c->oc, n = chunk / c->oc;
    int64_t group_c = c->c / c->group, first = oc / (c->oc / c->group) * group_c;
    const elem *image = (const elem *)c->x + (n * c->c + first) * c->in[0] * c->in[1] * c->in[2];
    const elem *w = (const elem *)c->packed_w + weights(c) / c->oc * oc;
    const elem *scale = e->scale, *bias = e->bias, *residual = e->residual;
    int64_t at = chunk * c->out[0] * c->out[1] * c->out[2], o[3];
    for (o[0] = 0; o[0] < c->out[0]; o[0]++) {
        for (o[1] = 0; o[1] < c->out[1]; o[1]++) {
            for (o[2] = 0; o[2] < c->out[2]; o[2]++, at++) {
                elem v = dot(c, image, w, o);
                if (scale)
                    v *= scale[oc];
                if (bias)
                    v += bias[oc];
                if (residual)
                    v += residual[at];
                ((elem *)c->y)[at] = act_ref(e->act, (elem)e->lo, (elem)e->hi, v);
            }
        }
    }
}

static void run(const struct mc_conv *c, void *scratch, struct mc_pool *pool)
{
    (void)scratch;
    mc_pool_run(pool, c->n * c->oc, plane, (void *)c);
}

void MC_REF(mc_conv_fill)(struct mc_conv_kernels *k)
{
    *k = (struct mc_conv_kernels){pack_w_bytes, pack_w, scratch_bytes, run};
}
