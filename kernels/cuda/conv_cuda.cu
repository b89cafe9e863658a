/* Convolution and its gradients: which way is taken for which shape. */
#include "kernels/cuda/conv_cuda.h"

/* ---- groups of one input channel: every element waits for memory, so one thread makes one ---- */

struct depthwise {
    const float *x, *w;
    float *y;
    struct mc_conv_geometry g;
    int64_t count;
    int filters, filters_each; /* of all channels, of one */
    struct mc_cuda_div div_each, div_channels;
    struct mc_cuda_epilogue e;
};

/* KY and KX: taps of a kernel in two dimensions; 0: as the geometry says. */
template <int KY, int KX> static __global__ void depthwise_forward(struct depthwise p)
{
    for (int64_t i = MC_CUDA_INDEX_OF; i < p.count; i += MC_CUDA_STRIDE) {
        int plane = mc_conv_quotient(p.g.div_out, (int)i), o[3];
        int image = mc_conv_quotient(p.div_channels, plane), filter = plane - image * p.filters;
        int channel = mc_conv_quotient(p.div_each, filter), channels = p.filters / p.filters_each;
        const float *x = p.x + ((int64_t)image * channels + channel) * p.g.in_size;
        const float *w = p.w + (int64_t)filter * p.g.taps;
        float sum = 0;
        mc_conv_place(p.g.div_out_plane, p.g.div_out_row, (int)i - plane * p.g.out_size, o);
        if constexpr (KY > 0) {
            int y0 = o[1] * p.g.stride[1] - p.g.pad[1], x0 = o[2] * p.g.stride[2] - p.g.pad[2];
#pragma unroll
            for (int ky = 0; ky < KY; ky++)
#pragma unroll
                for (int kx = 0; kx < KX; kx++) {
                    int at_y = y0 + ky * p.g.dilation[1], at_x = x0 + kx * p.g.dilation[2];
                    bool inside = (unsigned)at_y < (unsigned)p.g.in[1] &&
                                  (unsigned)at_x < (unsigned)p.g.in[2];
                    sum += w[ky * KX + kx] * (inside ? x[at_y * p.g.in[2] + at_x] : 0);
                }
        } else {
            int k[3];
            for (k[0] = 0; k[0] < p.g.kernel[0]; k[0]++)
                for (k[1] = 0; k[1] < p.g.kernel[1]; k[1]++)
                    for (k[2] = 0; k[2] < p.g.kernel[2]; k[2]++, w++) {
                        int at = mc_conv_read(p.g, o, k);
                        sum += *w * (at >= 0 ? x[at] : 0);
                    }
        }
        p.y[i] = mc_cuda_finish(p.e, sum, filter, i);
    }
}

template <int KY, int KX> static __global__ void depthwise_back(struct depthwise p)
{
    for (int64_t i = MC_CUDA_INDEX_OF; i < p.count; i += MC_CUDA_STRIDE) {
        int plane = mc_conv_quotient(p.g.div_in, (int)i), at[3],
            channels = p.filters / p.filters_each;
        int image = mc_conv_quotient(p.div_channels, plane), channel = plane - image * channels;
        int64_t first = channel * (int64_t)p.filters_each;
        const float *dy = p.x + (image * (int64_t)p.filters + first) * p.g.out_size;
        const float *w = p.w + first * p.g.taps;
        float sum = 0;
        mc_conv_place(p.g.div_in_plane, p.g.div_in_row, (int)i - plane * p.g.in_size, at);
        for (int f = 0; f < p.filters_each; f++, dy += p.g.out_size, w += p.g.taps) {
            int k[3] = {0, 0, 0};
            if constexpr (KY > 0) {
#pragma unroll
                for (k[1] = 0; k[1] < KY; k[1]++)
#pragma unroll
                    for (k[2] = 0; k[2] < KX; k[2]++) {
                        int o = mc_conv_reader(p.g, at, k);
                        sum += o >= 0 ? w[k[1] * KX + k[2]] * dy[o] : 0;
                    }
            } else {
                const float *tap = w;
                for (k[0] = 0; k[0] < p.g.kernel[0]; k[0]++)
                    for (k[1] = 0; k[1] < p.g.kernel[1]; k[1]++)
                        for (k[2] = 0; k[2] < p.g.kernel[2]; k[2]++, tap++) {
                            int o = mc_conv_reader(p.g, at, k);
                            sum += o >= 0 ? *tap * dy[o] : 0;
                        }
            }
        }
        p.y[i] = mc_cuda_finish(p.e, sum, channel, i);
    }
}

bool mc_conv_is_depthwise(const struct mc_conv *c)
{
    return c->group == c->c;
}

void mc_conv_depthwise(const struct mc_conv *c, bool back, const void *x, const void *w, void *y)
{
    struct depthwise p = {};
    p.g = mc_conv_geometry_of(c);
    p.x = (const float *)x;
    p.w = (const float *)w;
    p.y = (float *)y;
    p.count = c->n * (back ? c->c * p.g.in_size : c->oc * p.g.out_size);
    p.filters = (int)c->oc;
    p.filters_each = (int)(c->oc / c->c);
    p.div_each = mc_cuda_div_by(p.filters_each);
    p.div_channels = mc_cuda_div_by(back ? c->c : c->oc);
    p.e = mc_cuda_epilogue_of(&c->epilogue);
    if (p.count == 0)
        return;
    bool flat = p.g.in[0] == 1 && p.g.kernel[0] == 1 && p.g.pad[0] == 0;
    int side = flat && p.g.kernel[1] == p.g.kernel[2] ? p.g.kernel[1] : 0;
    unsigned blocks = mc_cuda_blocks(p.count);
    struct depthwise by_value = p;
    if (back) {
        if (side == 3)
            MC_LAUNCH((depthwise_back<3, 3>), blocks, MC_CUDA_THREADS, by_value);
        else if (side == 5)
            MC_LAUNCH((depthwise_back<5, 5>), blocks, MC_CUDA_THREADS, by_value);
        else
            MC_LAUNCH((depthwise_back<0, 0>), blocks, MC_CUDA_THREADS, by_value);
    } else {
        if (side == 3)
            MC_LAUNCH((depthwise_forward<3, 3>), blocks, MC_CUDA_THREADS, by_value);
        else if (side == 5)
            MC_LAUNCH((depthwise_forward<5, 5>), blocks, MC_CUDA_THREADS, by_value);
        else
            MC_LAUNCH((depthwise_forward<0, 0>), blocks, MC_CUDA_THREADS, by_value);
    }
}

/* ---- kernels of one element ---- */

/* Of a product that is worth leaving what follows it to another kernel: multiplications for each element of y, and
 * columns of one image, since each image is a product of its own. */
enum { POINT_WEIGHTS = 128 * 128, POINT_WEIGHTS_TENSOR = 64 * 64, POINT_COLUMNS = 64 };

bool mc_conv_pointwise(const struct mc_conv *c, bool back, const void *x, const void *w, void *y)
{
    const struct mc_gpu *g = mc_cuda_now();
    int64_t size = c->in[0] * c->in[1] * c->in[2];
    int64_t least = g->precision == MC_GPU_FP32 ? POINT_WEIGHTS : POINT_WEIGHTS_TENSOR;
    bool plain = c->group == 1 && c->n > 0;
    for (int d = 0; d < 3; d++)
        plain = plain && c->kernel[d] == 1 && c->stride[d] == 1 && c->pad[d] == 0 &&
                c->in[d] == c->out[d];
    if (!plain || !g->table.gemm.run || c->c * c->oc < least || size < POINT_COLUMNS ||
        c->epilogue.residual == y)
        return false;
    struct mc_gemm m = {};
    m.m = back ? c->c : c->oc;
    m.n = size;
    m.k = back ? c->oc : c->c;
    m.a = w;
    m.a_row = back ? 1 : c->c;
    m.a_col = back ? c->c : 1;
    m.b = x;
    m.b_row = size;
    m.b_col = 1;
    m.batch = c->n;
    m.b_step = m.k * size;
    m.c_step = m.m * size;
    m.c = y;
    m.c_row = size;
    m.alpha = 1;
    g->table.gemm.run(&m, NULL, NULL);
    mc_conv_finish(&c->epilogue, c->n, m.m, size, y);
    return true;
}

/* ---- the table ---- */

static void one_way(const struct mc_conv *c, bool back, const void *x, const void *w, void *y)
{
    if (mc_conv_is_depthwise(c) && c->group > 1)
        mc_conv_depthwise(c, back, x, w, y);
    else if (!mc_conv_pointwise(c, back, x, w, y) && !mc_conv_cudnn(c, back, x, w, y))
        mc_conv_tiles(c, back, x, w, y);
}

static void run(const struct mc_conv *c, void *, struct mc_pool *)
{
    one_way(c, false, c->x, c->w, c->y);
}

static void input(const struct mc_conv_grad *g, void *, struct mc_pool *)
{
    one_way(&g->c, true, g->dy, g->w, g->dx);
}

static void weight(const struct mc_conv_grad *g, void *, struct mc_pool *)
{
    bool depthwise = mc_conv_is_depthwise(&g->c) && g->c.group > 1;
    if (!(depthwise && mc_conv_weight_depthwise(g)) && !mc_conv_weight_cudnn(g))
        mc_conv_weight_tiles(g);
}

void mc_conv_fill_cuda(struct mc_kernels *k)
{
    k->conv.run = run;
    k->conv_grad.input = input;
    k->conv_grad.weight = weight;
}
