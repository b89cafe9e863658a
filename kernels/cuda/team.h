/* Threads that work on something together: a warp, or a whole block of one dimension. */
#ifndef MC_KERNELS_CUDA_TEAM_H
#define MC_KERNELS_CUDA_TEAM_H

#include "kernels/cuda/cuda.h"

enum { MC_CUDA_WARP = 32, MC_CUDA_WARPS = MC_CUDA_THREADS / MC_CUDA_WARP };

struct mc_add {
    template <typename T> __device__ T operator()(T a, T b) const
    {
        return a + b;
    }
};

struct mc_more { /* the larger number; a NaN is none */
    template <typename T> __device__ T operator()(T a, T b) const
    {
        return b > a ? b : a;
    }
};

/* op over the values of all threads of a team of WARPS warps, the same bits in each of them. room: shared memory for
 * a value of each warp; of one warp it is not used. All threads of the team call this. */
template <int WARPS, typename Op, typename T> static __device__ T mc_team(T v, Op op, T *room)
{
    for (int d = MC_CUDA_WARP / 2; d > 0; d /= 2)
        v = op(v, __shfl_xor_sync(0xffffffffu, v, d));
    if (WARPS == 1)
        return v;
    __syncthreads(); /* what an earlier call left in room has been read */
    if (threadIdx.x % MC_CUDA_WARP == 0)
        room[threadIdx.x / MC_CUDA_WARP] = v;
    __syncthreads();
    v = room[0];
    for (int i = 1; i < WARPS; i++)
        v = op(v, room[i]);
    return v;
}

/* Rows for teams of WARPS warps in blocks of MC_CUDA_THREADS: this team's first, how far to its next, this thread's
 * place in it and how many threads it has. */
template <int WARPS> struct mc_rows {
    int64_t first, step;
    int at, threads;
    __device__ mc_rows()
    {
        int teams = MC_CUDA_WARPS / WARPS;
        threads = WARPS * MC_CUDA_WARP;
        at = (int)threadIdx.x % threads;
        first = blockIdx.x * (int64_t)teams + (int)threadIdx.x / threads;
        step = (int64_t)gridDim.x * teams;
    }
};

/* Blocks for that. */
static inline unsigned mc_team_blocks(int64_t rows, int warps)
{
    return mc_cuda_blocks(rows * warps * MC_CUDA_WARP);
}

/* Is this the last of n blocks that take this ticket? Then what the others wrote before is there, to be read by
 * __ldcg. All threads of a block call this, and have returned from it before they call it again. */
static __device__ __forceinline__ bool mc_last_block(unsigned *ticket, unsigned n)
{
    __shared__ bool last;
    __threadfence();
    __syncthreads();
    if (threadIdx.x == 0 && threadIdx.y == 0)
        last = atomicInc(ticket, n - 1) == n - 1; /* 0 again after the last */
    __syncthreads();
    __threadfence();
    return last;
}

/* V floats that are moved at once. */
template <int V> struct alignas(4 * V) mc_floats {
    float v[V];
};

static inline bool mc_aligned16(const void *a, const void *b = nullptr, const void *c = nullptr,
                                const void *d = nullptr)
{
    return (((uintptr_t)a | (uintptr_t)b | (uintptr_t)c | (uintptr_t)d) & 15) == 0;
}

#endif
