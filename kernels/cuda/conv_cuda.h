/* Ways to compute a convolution and its gradients on a device: what the files conv*_cuda.cu share.
 *
 * All sizes are below 2^31 (graph/ops says so before it gives a node to the device); offsets are 64 bits. */
#ifndef MC_KERNELS_CUDA_CONV_CUDA_H
#define MC_KERNELS_CUDA_CONV_CUDA_H

#include "kernels/cuda/epilogue_cuda.h"
#include "kernels/cuda/walk.h"

static __device__ __forceinline__ int mc_conv_quotient(const struct mc_cuda_div &by, int x)
{
    return (int)mc_cuda_quotient(&by, (uint32_t)x);
}

/* Where taps lie: three dimensions, the last one innermost. */
struct mc_conv_geometry {
    int in[3], out[3], kernel[3], stride[3], dilation[3], pad[3];
    int in_size, out_size, taps;
    struct mc_cuda_div div_in, div_in_plane,
        div_in_row; /* by sizes of the input: all, the last two, the last */
    struct mc_cuda_div div_out, div_out_plane, div_out_row;
    struct mc_cuda_div div_taps, div_tap_plane, div_tap_row;
    struct mc_cuda_div div_stride[3];
};
struct mc_conv_geometry mc_conv_geometry_of(const struct mc_conv *c);

/* at = (z, y, x) of position i in planes and rows of these sizes. */
static __device__ __forceinline__ void mc_conv_place(const struct mc_cuda_div &plane,
                                                     const struct mc_cuda_div &row, int i,
                                                     int at[3])
{
    at[0] = mc_conv_quotient(plane, i);
    i -= at[0] * (int)plane.d;
    at[1] = mc_conv_quotient(row, i);
    at[2] = i - at[1] * (int)row.d;
}

/* Input position that tap k of output o reads; -1: padding. */
static __device__ __forceinline__ int mc_conv_read(const struct mc_conv_geometry &g, const int o[3],
                                                   const int k[3])
{
    int z = o[0] * g.stride[0] + k[0] * g.dilation[0] - g.pad[0];
    int y = o[1] * g.stride[1] + k[1] * g.dilation[1] - g.pad[1];
    int x = o[2] * g.stride[2] + k[2] * g.dilation[2] - g.pad[2];
    bool inside = (unsigned)z < (unsigned)g.in[0] && (unsigned)y < (unsigned)g.in[1] &&
                  (unsigned)x < (unsigned)g.in[2];
    return inside ? (z * g.in[1] + y) * g.in[2] + x : -1;
}

/* Output position whose tap k reads input i; -1: none. */
static __device__ __forceinline__ int mc_conv_reader(const struct mc_conv_geometry &g,
                                                     const int i[3], const int k[3])
{
    int at = 0;
    bool inside = true;
#pragma unroll
    for (int d = 0; d < 3; d++) {
        int shifted = i[d] + g.pad[d] - k[d] * g.dilation[d];
        int o = mc_conv_quotient(g.div_stride[d], shifted < 0 ? 0 : shifted);
        inside = inside && shifted >= 0 && o * g.stride[d] == shifted && o < g.out[d];
        at = at * g.out[d] + o;
    }
    return inside ? at : -1;
}

/* Sums of products on tiles, whatever the shape: forward, and with `back` the gradient of the input, where x
 * stands for dy and y for dx. */
void mc_conv_tiles(const struct mc_conv *c, bool back, const void *x, const void *w, void *y);
void mc_conv_weight_tiles(const struct mc_conv_grad *g);

/* Groups with one input channel each. */
bool mc_conv_is_depthwise(const struct mc_conv *c);
void mc_conv_depthwise(const struct mc_conv *c, bool back, const void *x, const void *w, void *y);
/* False: not for so many taps. */
bool mc_conv_weight_depthwise(const struct mc_conv_grad *g);

/* A kernel of one element, stride 1, no padding: products of matrices, one for each image. False: it is not one,
 * or tiles are the better way. */
bool mc_conv_pointwise(const struct mc_conv *c, bool back, const void *x, const void *w, void *y);

/* By cuDNN. False: it is not there, or cannot do this, or not better. */
bool mc_conv_cudnn(const struct mc_conv *c, bool back, const void *x, const void *w, void *y);
bool mc_conv_weight_cudnn(const struct mc_conv_grad *g);
/* db alone. */
void mc_conv_bias_grad(const struct mc_conv_grad *g);

/* y = epilogue(y), laid out [n, channels, size]; nothing if there is none. */
void mc_conv_finish(const struct mc_epilogue *e, int64_t n, int64_t channels, int64_t size,
                    void *y);
/* y[i] = epilogue(sum over parts of part[p][i]): a sum that was made in parts. */
void mc_conv_join(const struct mc_epilogue *e, int64_t n, int64_t channels, int64_t size, int parts,
                  const float *part, void *y);

#endif
