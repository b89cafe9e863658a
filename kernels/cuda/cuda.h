/* What the files in this folder share. Each is compiled by nvcc for the device, and by a C++ compiler for the
 * simulation of the tests (MC_CUDA_SIM), where a kernel is a function that is called for every thread: so kernels are
 * launched, and shared memory declared, through the macros here alone, and there is no inline assembly outside of
 * #ifndef MC_CUDA_SIM.
 *
 * Sums are made in an order fixed by the shape alone, without atomics on floats: the same bits in every run. */
#ifndef MC_KERNELS_CUDA_CUDA_H
#define MC_KERNELS_CUDA_CUDA_H

#ifdef MC_CUDA_SIM
#include MC_CUDA_SIM
#else
#include <cuda_runtime.h>
#endif

extern "C" {
#include "base/err.h"
#include "kernels/gpu.h"
#include "kernels/kernels.h"
}

struct mc_gpu {
    int number;
    enum mc_gpu_precision precision;
    struct mc_gpu_info info;
    struct mc_kernels table;
    cudaStream_t stream;
    cudaError_t failed; /* the first failure since the last wait, and what failed */
    const char *failed_at;
    cudaError_t dead; /* a failure after which CUDA does nothing more in this process */
    int *fault;       /* device memory: an enum mc_cuda_fault that a kernel found in its data */
    unsigned
        *tickets; /* device memory behind it: zeros between kernels, for mc_last_block (team.h) */
    bool recording;
    int recordings;  /* that there are */
    void *workspace; /* device memory for one kernel at a time, mc_cuda_workspace */
    size_t workspace_size;
    struct mc_gpu_allocation *outgrown; /* workspaces that recordings may still use */
    size_t workspace_bytes;             /* with those */
    size_t used, peak, staging_bytes;
    size_t library_bytes; /* device memory that families gave to libraries */
    size_t free_at_first; /* of the card, when it was opened and nothing was in it */
    struct mc_gpu_allocation *allocations;
    struct mc_gpu_allocation *host; /* of mc_gpu_host_alloc */
    struct mc_cuda_copies *copies;  /* kernels/cuda/copies.h */
    struct mc_cuda_kept *kept;
};

enum mc_cuda_fault { /* what a kernel cannot do; the first stays until it is reported */
                     MC_CUDA_OK = 0,
                     MC_CUDA_INDEX,   /* an index out of range */
                     MC_CUDA_LABEL,   /* a class out of range */
                     MC_CUDA_DIVISOR, /* a whole number divided by 0 */
};

/* The device of this thread; never NULL inside of a kernel's host function. */
struct mc_gpu *mc_cuda_now(void);
/* Remember a failure, if it is one; the work goes on, and mc_gpu_wait reports it. */
void mc_cuda_check(cudaError_t rc, const char *what);
/* For one kernel's host function, until the next asks: device memory of the device's own. NULL: none left, which is
 * remembered as a failure. Inside of a recording the memory must have been asked for before: a table function that
 * uses it is called once before it is recorded (graph/run does). */
void *mc_cuda_workspace(size_t bytes);
/* What a family keeps for the device of this thread, such as the handle of a library: `bytes` of host memory, zeroed
 * when it is first asked for. release(it) is called when the device is closed, with the device entered. NULL: out of
 * memory, which is remembered as a failure. Cost: a short list is searched. */
void *mc_cuda_keep(const char *family, size_t bytes, void (*release)(void *));

enum { MC_CUDA_THREADS = 256, MC_CUDA_BLOCKS_MOST = 65535, MC_CUDA_TICKETS = 1024 };

/* Blocks of MC_CUDA_THREADS for n elements, one thread each or, where they are too many, a loop with this stride:
 *     for (int64_t i = MC_CUDA_INDEX_OF; i < n; i += MC_CUDA_STRIDE) */
static inline unsigned mc_cuda_blocks(int64_t n)
{
    int64_t blocks = (n + MC_CUDA_THREADS - 1) / MC_CUDA_THREADS;
    blocks = blocks < 1 ? 1 : blocks;
    return blocks > MC_CUDA_BLOCKS_MOST ? (unsigned)MC_CUDA_BLOCKS_MOST : (unsigned)blocks;
}
#define MC_CUDA_INDEX_OF (blockIdx.x * (int64_t)blockDim.x + threadIdx.x)
#define MC_CUDA_STRIDE   ((int64_t)blockDim.x * gridDim.x)

/* Before a loop of a kernel whose bounds are constants. */
#ifdef MC_CUDA_SIM
#define MC_UNROLL
#else
#define MC_UNROLL _Pragma("unroll")
#endif

/* MC_LAUNCH(kernel, blocks, threads, arguments…): of a kernel without barriers, shuffles or shared memory.
 * MC_LAUNCH_SYNC(kernel, blocks, threads, shared bytes, arguments…): of one with them. Blocks and threads may be
 * dim3. Both may be given a template: MC_LAUNCH((kernel<float, 4>), …). */
#ifdef MC_CUDA_SIM
#define MC_LAUNCH(kernel, blocks, threads, ...)                                                    \
    do {                                                                                           \
        mc_sim_start({#kernel, __FILE__, __LINE__, nullptr}, blocks, threads, 0, false, kernel,    \
                     ##__VA_ARGS__);                                                               \
        mc_cuda_check(cudaGetLastError(), #kernel);                                                \
    } while (0)
#define MC_LAUNCH_SYNC(kernel, blocks, threads, shared, ...)                                       \
    do {                                                                                           \
        mc_sim_start({#kernel, __FILE__, __LINE__, nullptr}, blocks, threads, shared, true,        \
                     kernel, ##__VA_ARGS__);                                                       \
        mc_cuda_check(cudaGetLastError(), #kernel);                                                \
    } while (0)
/* Inside of a kernel: the shared memory that the launch asked for. */
#define MC_SHARED(type, name) type *name = (type *)mc_sim_shared()
#else
#define MC_LAUNCH(kernel, blocks, threads, ...)                                                    \
    do {                                                                                           \
        (kernel)<<<blocks, threads, 0, mc_cuda_now()->stream>>>(__VA_ARGS__);                      \
        mc_cuda_check(cudaGetLastError(), #kernel);                                                \
    } while (0)
#define MC_LAUNCH_SYNC(kernel, blocks, threads, shared, ...)                                       \
    do {                                                                                           \
        (kernel)<<<blocks, threads, shared, mc_cuda_now()->stream>>>(__VA_ARGS__);                 \
        mc_cuda_check(cudaGetLastError(), #kernel);                                                \
    } while (0)
#define MC_SHARED(type, name)                                                                      \
    extern __shared__ __align__(16) unsigned char mc_shared_memory[];                              \
    type *name = (type *)mc_shared_memory
#endif

/* What fills the table: one function per family, called by mc_gpu_open in the order of fills.h. */
#define MC_CUDA_FILL(family) void mc_##family##_fill_cuda(struct mc_kernels *k);
#include "kernels/cuda/fills.h"
#undef MC_CUDA_FILL

#endif
