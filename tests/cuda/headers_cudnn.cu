/* kernels/cuda/lib_cudnn.h against cuDNN's own header: compiled where that is installed. */
#include <cudnn.h>
#include <tuple>
#include <type_traits>

#include "kernels/cuda/lib_cudnn.h"

/* Ours passes each argument as theirs does: pointers and handles as pointers, enumerations as ints, all else alike. */
template <class Ours, class Theirs> constexpr bool alike()
{
    if (std::is_pointer<Ours>::value || std::is_pointer<Theirs>::value)
        return std::is_pointer<Ours>::value && std::is_pointer<Theirs>::value;
    if (std::is_enum<Theirs>::value)
        return std::is_same<Ours, int>::value && sizeof(Theirs) == sizeof(int);
    return std::is_same<Ours, Theirs>::value;
}
template <class A, class B> struct same_call {
    static constexpr bool value = false;
};
template <class... Ours, class... Theirs>
struct same_call<int (*)(Ours...), cudnnStatus_t (*)(Theirs...)> {
    static constexpr bool check()
    {
        if constexpr (sizeof...(Ours) == sizeof...(Theirs))
            return (alike<std::remove_cv_t<Ours>, std::remove_cv_t<Theirs>>() && ...);
        else
            return false;
    }
    static constexpr bool value = check();
};
#define CHECK(name)                                                                                \
    static_assert(same_call<decltype(mc_cudnn::name), decltype(&::name)>::value, #name);
MC_CUDNN_FUNCTIONS(CHECK)

#define SAME(ours, theirs) static_assert((int)(ours) == (int)(theirs), #theirs)
SAME(MC_CUDNN_SUCCESS, CUDNN_STATUS_SUCCESS);
SAME(MC_CUDNN_DATA_FLOAT, CUDNN_DATA_FLOAT);
SAME(MC_CUDNN_NCHW, CUDNN_TENSOR_NCHW);
SAME(MC_CUDNN_CROSS_CORRELATION, CUDNN_CROSS_CORRELATION);
SAME(MC_CUDNN_DETERMINISTIC, CUDNN_DETERMINISTIC);
SAME(MC_CUDNN_RELU, CUDNN_ACTIVATION_RELU);
SAME(MC_CUDNN_PROPAGATE_NAN, CUDNN_PROPAGATE_NAN);
SAME(MC_CUDNN_DEFAULT_MATH, CUDNN_DEFAULT_MATH);
SAME(MC_CUDNN_TENSOR_OP_MATH, CUDNN_TENSOR_OP_MATH);
SAME(MC_CUDNN_FMA_MATH, CUDNN_FMA_MATH);
SAME(MC_CUDNN_FORWARD_IMPLICIT_GEMM, CUDNN_CONVOLUTION_FWD_ALGO_IMPLICIT_GEMM);
SAME(MC_CUDNN_FORWARD_IMPLICIT_PRECOMP_GEMM, CUDNN_CONVOLUTION_FWD_ALGO_IMPLICIT_PRECOMP_GEMM);
SAME(MC_CUDNN_FORWARD_GEMM, CUDNN_CONVOLUTION_FWD_ALGO_GEMM);
SAME(MC_CUDNN_FORWARD_WINOGRAD, CUDNN_CONVOLUTION_FWD_ALGO_WINOGRAD);
SAME(MC_CUDNN_DATA_1, CUDNN_CONVOLUTION_BWD_DATA_ALGO_1);
SAME(MC_CUDNN_DATA_WINOGRAD, CUDNN_CONVOLUTION_BWD_DATA_ALGO_WINOGRAD);
SAME(MC_CUDNN_FILTER_1, CUDNN_CONVOLUTION_BWD_FILTER_ALGO_1);

#define PERF(theirs)                                                                               \
    static_assert(sizeof(mc_cudnn_perf) == sizeof(theirs) &&                                       \
                      offsetof(mc_cudnn_perf, status) == offsetof(theirs, status) &&               \
                      offsetof(mc_cudnn_perf, memory) == offsetof(theirs, memory) &&               \
                      offsetof(mc_cudnn_perf, determinism) == offsetof(theirs, determinism) &&     \
                      offsetof(mc_cudnn_perf, math) == offsetof(theirs, mathType),                 \
                  #theirs)
PERF(cudnnConvolutionFwdAlgoPerf_t);
PERF(cudnnConvolutionBwdDataAlgoPerf_t);
PERF(cudnnConvolutionBwdFilterAlgoPerf_t);
