/* Do our declarations of CUDA's libraries fit their headers? Compiled only, and of each what is there. A parameter fits
 * one of the same kind and size: a pointer, a whole number or an enumeration, a floating-point number. */
#include <type_traits>

#include "kernels/cuda/cuda.h"

template <class A, class B> constexpr bool fits()
{
    constexpr bool whole_a = std::is_integral_v<A> || std::is_enum_v<A>;
    constexpr bool whole_b = std::is_integral_v<B> || std::is_enum_v<B>;
    return sizeof(A) == sizeof(B) && whole_a == whole_b &&
           std::is_pointer_v<A> == std::is_pointer_v<B> &&
           std::is_floating_point_v<A> == std::is_floating_point_v<B>;
}
template <class R, class... A, class S, class... B> constexpr bool fit(R (*)(A...), S (*)(B...))
{
    if constexpr (sizeof...(A) == sizeof...(B))
        return fits<R, S>() && (fits<A, B>() && ...);
    else
        return false;
}
#define FITS(table, fn)                                                                            \
    static_assert(fit((decltype(&::fn))nullptr, (decltype(table::fn))nullptr), #fn)

#define IS(ours, theirs) static_assert((long long)(ours) == (long long)(theirs), #ours)

#if __has_include(<cublas_v2.h>) && __has_include(<cublasLt.h>)
#include <cublasLt.h>
#include <cublas_v2.h>

#include "kernels/cuda/lib_cublas.h"

FITS(mc_cublas, cublasCreate_v2);
FITS(mc_cublas, cublasDestroy_v2);
FITS(mc_cublas, cublasSetStream_v2);
FITS(mc_cublas, cublasSetWorkspace_v2);
FITS(mc_cublas, cublasSsyrk_v2);
FITS(mc_cublas, cublasStrsm_v2);
FITS(mc_cublaslt, cublasLtCreate);
FITS(mc_cublaslt, cublasLtDestroy);
FITS(mc_cublaslt, cublasLtMatmulDescCreate);
FITS(mc_cublaslt, cublasLtMatmulDescDestroy);
FITS(mc_cublaslt, cublasLtMatmulDescSetAttribute);
FITS(mc_cublaslt, cublasLtMatrixLayoutCreate);
FITS(mc_cublaslt, cublasLtMatrixLayoutDestroy);
FITS(mc_cublaslt, cublasLtMatrixLayoutSetAttribute);
FITS(mc_cublaslt, cublasLtMatmulPreferenceCreate);
FITS(mc_cublaslt, cublasLtMatmulPreferenceDestroy);
FITS(mc_cublaslt, cublasLtMatmulPreferenceSetAttribute);
FITS(mc_cublaslt, cublasLtMatmulAlgoGetHeuristic);
FITS(mc_cublaslt, cublasLtMatmul);
/* It is overloaded in C++: the C function is the one with an enumeration for the kind of sum. */
static_assert(fit((cublasStatus_t(*)(cublasHandle_t, cublasOperation_t, cublasOperation_t, int, int,
                                     int, const void *, const void *, cudaDataType, int, long long,
                                     const void *, cudaDataType, int, long long, const void *,
                                     void *, cudaDataType, int, long long, int, cublasComputeType_t,
                                     cublasGemmAlgo_t))::cublasGemmStridedBatchedEx,
                  (decltype(mc_cublas::cublasGemmStridedBatchedEx))nullptr),
              "cublasGemmStridedBatchedEx");
IS(MC_CUBLAS_OP_N, CUBLAS_OP_N);
IS(MC_CUBLAS_OP_T, CUBLAS_OP_T);
IS(MC_CUBLAS_LOWER, CUBLAS_FILL_MODE_LOWER);
IS(MC_CUBLAS_UPPER, CUBLAS_FILL_MODE_UPPER);
IS(MC_CUBLAS_LEFT, CUBLAS_SIDE_LEFT);
IS(MC_CUBLAS_RIGHT, CUBLAS_SIDE_RIGHT);
IS(MC_CUBLAS_NON_UNIT, CUBLAS_DIAG_NON_UNIT);
IS(MC_CUBLAS_32F, CUBLAS_COMPUTE_32F);
IS(MC_CUBLAS_32F_FAST_16BF, CUBLAS_COMPUTE_32F_FAST_16BF);
IS(MC_CUBLAS_32F_FAST_TF32, CUBLAS_COMPUTE_32F_FAST_TF32);
IS(MC_CUBLAS_GEMM_DEFAULT, CUBLAS_GEMM_DEFAULT);
IS(MC_CUBLAS_R_32F, CUDA_R_32F);
IS(MC_CUBLASLT_DESC_TRANSA, CUBLASLT_MATMUL_DESC_TRANSA);
IS(MC_CUBLASLT_DESC_TRANSB, CUBLASLT_MATMUL_DESC_TRANSB);
IS(MC_CUBLASLT_DESC_EPILOGUE, CUBLASLT_MATMUL_DESC_EPILOGUE);
IS(MC_CUBLASLT_DESC_BIAS_POINTER, CUBLASLT_MATMUL_DESC_BIAS_POINTER);
IS(MC_CUBLASLT_LAYOUT_BATCH_COUNT, CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT);
IS(MC_CUBLASLT_LAYOUT_BATCH_OFFSET, CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET);
IS(MC_CUBLASLT_PREF_WORKSPACE, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES);
IS(MC_CUBLASLT_PREF_REDUCTION, CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK);
IS(MC_CUBLASLT_PREF_ALIGN_A, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES);
IS(MC_CUBLASLT_EPILOGUE_DEFAULT, CUBLASLT_EPILOGUE_DEFAULT);
IS(MC_CUBLASLT_EPILOGUE_RELU, CUBLASLT_EPILOGUE_RELU);
IS(MC_CUBLASLT_EPILOGUE_BIAS, CUBLASLT_EPILOGUE_BIAS);
IS(MC_CUBLASLT_REDUCTION_COMPUTE, CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE);
IS(sizeof(mc_cublaslt_algo), sizeof(cublasLtMatmulAlgo_t));
IS(sizeof(mc_cublaslt_result), sizeof(cublasLtMatmulHeuristicResult_t));
IS(offsetof(mc_cublaslt_result, state), offsetof(cublasLtMatmulHeuristicResult_t, state));
IS(offsetof(mc_cublaslt_result, workspace),
   offsetof(cublasLtMatmulHeuristicResult_t, workspaceSize));
#endif

#if __has_include(<cudnn.h>)
#include <cudnn.h>

#include "kernels/cuda/lib_cudnn.h"

#define NAME(fn) FITS(mc_cudnn, fn);
MC_CUDNN_FUNCTIONS(NAME)
#undef NAME
IS(MC_CUDNN_SUCCESS, CUDNN_STATUS_SUCCESS);
IS(MC_CUDNN_DATA_FLOAT, CUDNN_DATA_FLOAT);
IS(MC_CUDNN_NCHW, CUDNN_TENSOR_NCHW);
IS(MC_CUDNN_CROSS_CORRELATION, CUDNN_CROSS_CORRELATION);
IS(MC_CUDNN_DETERMINISTIC, CUDNN_DETERMINISTIC);
IS(MC_CUDNN_RELU, CUDNN_ACTIVATION_RELU);
IS(MC_CUDNN_PROPAGATE_NAN, CUDNN_PROPAGATE_NAN);
IS(MC_CUDNN_DEFAULT_MATH, CUDNN_DEFAULT_MATH);
IS(MC_CUDNN_TENSOR_OP_MATH, CUDNN_TENSOR_OP_MATH);
IS(MC_CUDNN_FMA_MATH, CUDNN_FMA_MATH);
IS(MC_CUDNN_FORWARD_IMPLICIT_GEMM, CUDNN_CONVOLUTION_FWD_ALGO_IMPLICIT_GEMM);
IS(MC_CUDNN_FORWARD_IMPLICIT_PRECOMP_GEMM, CUDNN_CONVOLUTION_FWD_ALGO_IMPLICIT_PRECOMP_GEMM);
IS(MC_CUDNN_FORWARD_GEMM, CUDNN_CONVOLUTION_FWD_ALGO_GEMM);
IS(MC_CUDNN_FORWARD_WINOGRAD, CUDNN_CONVOLUTION_FWD_ALGO_WINOGRAD);
IS(MC_CUDNN_DATA_1, CUDNN_CONVOLUTION_BWD_DATA_ALGO_1);
IS(MC_CUDNN_DATA_WINOGRAD, CUDNN_CONVOLUTION_BWD_DATA_ALGO_WINOGRAD);
IS(MC_CUDNN_FILTER_1, CUDNN_CONVOLUTION_BWD_FILTER_ALGO_1);
#define PERF(theirs)                                                                               \
    IS(sizeof(mc_cudnn_perf), sizeof(theirs));                                                     \
    IS(offsetof(mc_cudnn_perf, status), offsetof(theirs, status));                                 \
    IS(offsetof(mc_cudnn_perf, memory), offsetof(theirs, memory));                                 \
    IS(offsetof(mc_cudnn_perf, determinism), offsetof(theirs, determinism));                       \
    IS(offsetof(mc_cudnn_perf, math), offsetof(theirs, mathType))
PERF(cudnnConvolutionFwdAlgoPerf_t);
PERF(cudnnConvolutionBwdDataAlgoPerf_t);
PERF(cudnnConvolutionBwdFilterAlgoPerf_t);
#endif

#if __has_include(<cufft.h>)
#include "tests/cuda/headers_cufft.cu"
#endif

#if __has_include(<cusolverDn.h>)
#include "tests/cuda/headers_cusolver.cu"
#endif
