/* Do our declarations of cuFFT fit its header? Compiled only, where that is there. */
#include <cufft.h>
#include <type_traits>

#include "kernels/cuda/lib_cufft.h"

/* Handles and enumerations are int there and here, complex numbers two floats. */
template <class T>
using plain = std::conditional_t<
    std::is_enum_v<T>, int,
    std::conditional_t<std::is_same_v<T, cufftComplex *>, float2 *,
                       std::conditional_t<std::is_same_v<T, cufftReal *>, float *, T>>>;
template <class T> struct shape;
template <class R, class... A> struct shape<R (*)(A...)> {
    using type = plain<R> (*)(plain<A>...);
};

#define SAME(fn)                                                                                   \
    static_assert(std::is_same_v<shape<decltype(&::fn)>::type, decltype(mc_cufft::fn)>, #fn)
SAME(cufftCreate);
SAME(cufftDestroy);
SAME(cufftSetAutoAllocation);
SAME(cufftMakePlanMany64);
SAME(cufftSetStream);
SAME(cufftSetWorkArea);
SAME(cufftExecR2C);
SAME(cufftExecC2R);
static_assert(sizeof(cufftHandle) == sizeof(int) && sizeof(cufftResult) == sizeof(int) &&
                  sizeof(cufftType) == sizeof(int) && sizeof(cufftComplex) == sizeof(float2),
              "sizes");
static_assert((int)MC_CUFFT_SUCCESS == (int)CUFFT_SUCCESS && (int)MC_CUFFT_R2C == (int)CUFFT_R2C &&
                  (int)MC_CUFFT_C2R == (int)CUFFT_C2R,
              "values");
