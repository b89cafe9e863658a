/* CUDA on the CPU, for tests: a kernel is a function, called for every thread of every block. Included by
 * kernels/cuda/cuda.h in place of the CUDA runtime's header.
 *
 * Work is kept until somebody waits for it, as a device would. Blocks run one after another, and the threads of a
 * block in one of three orders, MC_SIM_ORDER: forward (the default), reverse, shuffled; a launch that says that
 * its kernel has barriers gives each thread a stack of its own, and a thread runs until it waits. A barrier that the
 * threads of a block, or a shuffle that the lanes of a warp, reach at different places ends the program with a
 * message that names both. */
#ifndef MC_TESTS_CUDA_CUDASIM_H
#define MC_TESTS_CUDA_CUDASIM_H

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <tuple>
#include <type_traits>
#include <utility>

#define __global__
#define __device__
#define __host__
#define __constant__    static
#define __shared__      static
#define __forceinline__ inline
#define __noinline__    __attribute__((noinline))
#define __launch_bounds__(...)
#define __align__(n) __attribute__((aligned(n)))

#include "tests/cuda/cudasim_types.h"

extern uint3 threadIdx, blockIdx;
extern dim3 blockDim, gridDim;
enum { warpSize = 32 };

#include "tests/cuda/cudasim_device.h"
#include "tests/cuda/cudasim_runtime.h"

struct mc_sim_place {
    const char *kernel, *file;
    int line;
    const void *address; /* of the kernel */
};
/* Runs n threads of a block one after another. */
typedef std::function<void(const uint3 *threads, int n)> mc_sim_body;

/* As the runtime: what is wrong with it, cudaGetLastError tells. */
void mc_sim_launch(const mc_sim_place &at, dim3 blocks, dim3 threads, size_t shared, bool sync,
                   mc_sim_body body);
void *mc_sim_shared();
/* From here on this thread is a kernel's, whose arguments these are; mc_sim_leave: no longer. */
void mc_sim_enter(const void *arguments, size_t bytes);
void mc_sim_leave();
/* Work in the order of the device: done when somebody waits for it, or kept where a stream records. */
void mc_sim_enqueue(std::function<void()> work);
/* A line for the file that MC_SIM_TRACE names: what is launched, copied and asked of libraries, in order, a recording
 * between "record" and "recorded". With MC_SIM_SKIP=1 kernels and
 * libraries do nothing. */
void mc_sim_trace(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

template <class P, class A> P mc_sim_argument(A &&a)
{
    if constexpr (std::is_pointer<P>::value && std::is_integral<std::decay_t<A>>::value)
        return (P)(uintptr_t)a; /* NULL */
    else
        return static_cast<P>(std::forward<A>(a));
}

/* The arguments are evaluated here, as a launch does. */
template <class... P, class... A>
void mc_sim_start(mc_sim_place at, dim3 blocks, dim3 threads, size_t shared, bool sync,
                  void (*kernel)(P...), A &&...a)
{
    static_assert(sizeof...(P) == sizeof...(A), "a launch with another number of arguments");
    at.address = (const void *)kernel;
    std::pair<void (*)(P...), std::tuple<P...>> call(
        kernel, std::tuple<P...>(mc_sim_argument<P>(std::forward<A>(a))...));
    mc_sim_launch(at, blocks, threads, shared, sync, [call](const uint3 *list, int n) {
        mc_sim_enter(&call, sizeof call);
        for (int i = 0; i < n; i++) {
            threadIdx = list[i];
            std::apply(call.first, call.second);
        }
        mc_sim_leave();
    });
}

#endif
