/* The functions of cuDNN (8 or 9) that convolutions call. Handles and descriptors are opaque, enumerations ints;
 * tests/cuda/headers_cudnn.cu compares with cudnn.h. */
#ifndef MC_KERNELS_CUDA_LIB_CUDNN_H
#define MC_KERNELS_CUDA_LIB_CUDNN_H

#include <stddef.h>

enum mc_cudnn_constant {
    MC_CUDNN_SUCCESS = 0,
    MC_CUDNN_DATA_FLOAT = 0,
    MC_CUDNN_NCHW = 0,
    MC_CUDNN_CROSS_CORRELATION = 1,
    MC_CUDNN_DETERMINISTIC = 1,
    MC_CUDNN_RELU = 1,
    MC_CUDNN_PROPAGATE_NAN = 1,
};

enum mc_cudnn_math {
    MC_CUDNN_DEFAULT_MATH = 0,
    MC_CUDNN_TENSOR_OP_MATH = 1, /* TF32 for float32 */
    MC_CUDNN_FMA_MATH = 3,       /* float32 as such */
};

enum mc_cudnn_forward {
    MC_CUDNN_FORWARD_IMPLICIT_GEMM = 0,
    MC_CUDNN_FORWARD_IMPLICIT_PRECOMP_GEMM = 1,
    MC_CUDNN_FORWARD_GEMM = 2,
    MC_CUDNN_FORWARD_WINOGRAD = 6,
};
enum mc_cudnn_data { MC_CUDNN_DATA_1 = 1, MC_CUDNN_DATA_WINOGRAD = 4 };
enum mc_cudnn_filter { MC_CUDNN_FILTER_1 = 1 };

struct mc_cudnn_perf { /* of all three directions */
    int algo, status;
    float time;
    size_t memory;
    int determinism, math;
    int reserved[3];
};

typedef struct mc_cudnn_object *mc_cudnn_t; /* a handle or a descriptor */

struct mc_cudnn {
    int (*cudnnCreate)(mc_cudnn_t *handle);
    int (*cudnnDestroy)(mc_cudnn_t handle);
    int (*cudnnSetStream)(mc_cudnn_t handle, cudaStream_t stream);
    int (*cudnnCreateTensorDescriptor)(mc_cudnn_t *ret);
    int (*cudnnSetTensorNdDescriptor)(mc_cudnn_t t, int type, int rank, const int *dim,
                                      const int *stride);
    int (*cudnnDestroyTensorDescriptor)(mc_cudnn_t t);
    int (*cudnnCreateFilterDescriptor)(mc_cudnn_t *ret);
    int (*cudnnSetFilterNdDescriptor)(mc_cudnn_t f, int type, int format, int rank, const int *dim);
    int (*cudnnDestroyFilterDescriptor)(mc_cudnn_t f);
    int (*cudnnCreateConvolutionDescriptor)(mc_cudnn_t *ret);
    int (*cudnnSetConvolutionNdDescriptor)(mc_cudnn_t c, int dims, const int *pad,
                                           const int *stride, const int *dilation, int mode,
                                           int type);
    int (*cudnnSetConvolutionMathType)(mc_cudnn_t c, int math);
    int (*cudnnSetConvolutionGroupCount)(mc_cudnn_t c, int groups);
    int (*cudnnDestroyConvolutionDescriptor)(mc_cudnn_t c);
    int (*cudnnCreateActivationDescriptor)(mc_cudnn_t *ret);
    int (*cudnnSetActivationDescriptor)(mc_cudnn_t a, int mode, int nan, double coefficient);
    int (*cudnnDestroyActivationDescriptor)(mc_cudnn_t a);
    int (*cudnnGetConvolutionForwardAlgorithm_v7)(mc_cudnn_t handle, mc_cudnn_t x, mc_cudnn_t w,
                                                  mc_cudnn_t conv, mc_cudnn_t y, int wanted,
                                                  int *ret_n, struct mc_cudnn_perf *ret);
    int (*cudnnGetConvolutionBackwardDataAlgorithm_v7)(mc_cudnn_t handle, mc_cudnn_t w,
                                                       mc_cudnn_t dy, mc_cudnn_t conv,
                                                       mc_cudnn_t dx, int wanted, int *ret_n,
                                                       struct mc_cudnn_perf *ret);
    int (*cudnnGetConvolutionBackwardFilterAlgorithm_v7)(mc_cudnn_t handle, mc_cudnn_t x,
                                                         mc_cudnn_t dy, mc_cudnn_t conv,
                                                         mc_cudnn_t dw, int wanted, int *ret_n,
                                                         struct mc_cudnn_perf *ret);
    int (*cudnnConvolutionForward)(mc_cudnn_t handle, const void *alpha, mc_cudnn_t x_desc,
                                   const void *x, mc_cudnn_t w_desc, const void *w, mc_cudnn_t conv,
                                   int algo, void *space, size_t space_bytes, const void *beta,
                                   mc_cudnn_t y_desc, void *y);
    /* y = act(alpha conv(x, w) + alpha2 z + bias) */
    int (*cudnnConvolutionBiasActivationForward)(
        mc_cudnn_t handle, const void *alpha, mc_cudnn_t x_desc, const void *x, mc_cudnn_t w_desc,
        const void *w, mc_cudnn_t conv, int algo, void *space, size_t space_bytes,
        const void *alpha2, mc_cudnn_t z_desc, const void *z, mc_cudnn_t bias_desc,
        const void *bias, mc_cudnn_t act, mc_cudnn_t y_desc, void *y);
    int (*cudnnConvolutionBackwardData)(mc_cudnn_t handle, const void *alpha, mc_cudnn_t w_desc,
                                        const void *w, mc_cudnn_t dy_desc, const void *dy,
                                        mc_cudnn_t conv, int algo, void *space, size_t space_bytes,
                                        const void *beta, mc_cudnn_t dx_desc, void *dx);
    int (*cudnnConvolutionBackwardFilter)(mc_cudnn_t handle, const void *alpha, mc_cudnn_t x_desc,
                                          const void *x, mc_cudnn_t dy_desc, const void *dy,
                                          mc_cudnn_t conv, int algo, void *space,
                                          size_t space_bytes, const void *beta, mc_cudnn_t dw_desc,
                                          void *dw);
};

/* name(function) for every member. */
/* clang-format off */
#define MC_CUDNN_FUNCTIONS(name)                      \
    name(cudnnCreate)                                 \
    name(cudnnDestroy)                                \
    name(cudnnSetStream)                              \
    name(cudnnCreateTensorDescriptor)                 \
    name(cudnnSetTensorNdDescriptor)                  \
    name(cudnnDestroyTensorDescriptor)                \
    name(cudnnCreateFilterDescriptor)                 \
    name(cudnnSetFilterNdDescriptor)                  \
    name(cudnnDestroyFilterDescriptor)                \
    name(cudnnCreateConvolutionDescriptor)            \
    name(cudnnSetConvolutionNdDescriptor)             \
    name(cudnnSetConvolutionMathType)                 \
    name(cudnnSetConvolutionGroupCount)               \
    name(cudnnDestroyConvolutionDescriptor)           \
    name(cudnnCreateActivationDescriptor)             \
    name(cudnnSetActivationDescriptor)                \
    name(cudnnDestroyActivationDescriptor)            \
    name(cudnnGetConvolutionForwardAlgorithm_v7)      \
    name(cudnnGetConvolutionBackwardDataAlgorithm_v7) \
    name(cudnnGetConvolutionBackwardFilterAlgorithm_v7) \
    name(cudnnConvolutionForward)                     \
    name(cudnnConvolutionBiasActivationForward)       \
    name(cudnnConvolutionBackwardData)                \
    name(cudnnConvolutionBackwardFilter)
/* clang-format on */

#endif
