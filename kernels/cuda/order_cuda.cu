/* Along one dimension: the best by sorting, running sums. */
#include "kernels/cuda/sort_cuda.h"
#include "kernels/typed_list.h"

/* ---- the best ---- */

/* An order of unsigned numbers that is that of the type's. */
template <typename T> static __device__ uint32_t key_of(T x)
{
    return (uint32_t)x;
}
template <> __device__ uint32_t key_of<int8_t>(int8_t x)
{
    return (uint32_t)(int32_t)x ^ 0x80000000u;
}
template <> __device__ uint32_t key_of<int16_t>(int16_t x)
{
    return (uint32_t)(int32_t)x ^ 0x80000000u;
}
template <> __device__ uint32_t key_of<int32_t>(int32_t x)
{
    return (uint32_t)x ^ 0x80000000u;
}
template <> __device__ uint32_t key_of<float>(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    if ((bits & 0x7fffffff) > 0x7f800000)
        return UINT32_MAX;
    if (bits == 0x80000000u) /* -0 is 0 */
        bits = 0;
    return bits & 0x80000000u ? ~bits : bits | 0x80000000u;
}

/* Rows [first, first + rows), their numbers in the low half; the rest of the room comes last. */
template <typename T>
static __global__ void make_keys(struct mc_top t, int64_t first, int64_t rows, int64_t room,
                                 uint64_t *key)
{
    for (int64_t e = MC_CUDA_INDEX_OF; e < rows * room; e += MC_CUDA_STRIDE) {
        int64_t row = e / room, i = e - row * room, outer = (first + row) / t.inner;
        int64_t in = first + row - outer * t.inner;
        uint64_t k = UINT64_MAX;
        if (i < t.n) {
            uint32_t high = key_of<T>(((const T *)t.x)[(outer * t.n + i) * t.inner + in]);
            k = (uint64_t)(t.largest ? ~high : high) << 32 | (uint64_t)i;
        }
        key[e] = k;
    }
}

template <typename T>
static __global__ void give(struct mc_top t, int64_t first, int64_t rows, int64_t room,
                            const uint64_t *key)
{
    for (int64_t e = MC_CUDA_INDEX_OF; e < rows * t.k; e += MC_CUDA_STRIDE) {
        int64_t row = e / t.k, i = e - row * t.k, outer = (first + row) / t.inner;
        int64_t in = first + row - outer * t.inner, to = (outer * t.k + i) * t.inner + in;
        int64_t at = (int64_t)(uint32_t)key[row * room + i];
        if (t.values)
            ((T *)t.values)[to] = ((const T *)t.x)[(outer * t.n + at) * t.inner + in];
        if (t.index)
            t.index[to] = at;
    }
}

enum { KEYS_MOST = 1 << 24 }; /* sorted at a time: 128 MiB */

template <typename T> static void top_of(const struct mc_top *t)
{
    int64_t rows = t->outer * t->inner, room = mc_cuda_sort_room(t->n);
    int64_t some = KEYS_MOST / room < 1 ? 1 : KEYS_MOST / room;
    some = some > rows ? rows : some;
    uint64_t *key = (uint64_t *)mc_cuda_workspace((size_t)(some * room) * sizeof *key);
    for (int64_t first = 0; first < rows && key; first += some) {
        int64_t m = rows - first < some ? rows - first : some;
        MC_LAUNCH(make_keys<T>, mc_cuda_blocks(m * room), MC_CUDA_THREADS, *t, first, m, room, key);
        mc_cuda_sort(key, m, room);
        MC_LAUNCH(give<T>, mc_cuda_blocks(m * t->k), MC_CUDA_THREADS, *t, first, m, room, key);
    }
}

static void run_top(const struct mc_top *t)
{
    if (t->outer * t->inner * t->k == 0)
        return;
    switch (t->type) {
    case MC_ELEM_I8: top_of<int8_t>(t); break;
    case MC_ELEM_U8: top_of<uint8_t>(t); break;
    case MC_ELEM_I16: top_of<int16_t>(t); break;
    case MC_ELEM_U16: top_of<uint16_t>(t); break;
    case MC_ELEM_I32: top_of<int32_t>(t); break;
    case MC_ELEM_U32: top_of<uint32_t>(t); break;
    case MC_ELEM_F32: top_of<float>(t); break;
    default: break;
    }
}

/* ---- running sums ---- */

template <typename S> static __device__ S join(bool product, S a, S b)
{
    return product ? a * b : a + b;
}

/* `count` elements of a lane from its k-th on, behind `sum`; returns the sum with them. */
template <typename T, typename S, bool WRITE>
static __device__ S run_part(const struct mc_running &r, int64_t lane, int64_t k, int64_t count,
                             S sum)
{
    int64_t outer = lane / r.inner, base = outer * r.n * r.inner + lane - outer * r.inner;
    for (int64_t end = k + count; k < end; k++) {
        int64_t at = base + (r.reverse ? r.n - 1 - k : k) * r.inner;
        S before = sum;
        sum = join(r.product, sum, (S)((const T *)r.x)[at]);
        if (WRITE)
            ((T *)r.y)[at] = (T)(r.exclusive ? before : sum);
    }
    return sum;
}

template <typename T, typename S> static __global__ void lanes(struct mc_running r)
{
    for (int64_t i = MC_CUDA_INDEX_OF; i < r.outer * r.inner; i += MC_CUDA_STRIDE)
        run_part<T, S, true>(r, i, 0, r.n, (S)r.product);
}

/* A block a lane: each thread's part, then what is before it. */
template <typename T, typename S> static __global__ void long_lanes(struct mc_running r)
{
    MC_SHARED(S, part);
    int64_t t = threadIdx.x, each = (r.n + MC_CUDA_THREADS - 1) / MC_CUDA_THREADS;
    int64_t k = t * each < r.n ? t * each : r.n, count = r.n - k < each ? r.n - k : each;
    for (int64_t i = blockIdx.x; i < r.outer * r.inner; i += gridDim.x) {
        part[t] = run_part<T, S, false>(r, i, k, count, (S)r.product);
        for (int by = 1; by < MC_CUDA_THREADS; by *= 2) {
            __syncthreads();
            S before = t >= by ? part[t - by] : (S)r.product;
            __syncthreads();
            part[t] = join(r.product, before, part[t]);
        }
        __syncthreads();
        run_part<T, S, true>(r, i, k, count, t > 0 ? part[t - 1] : (S)r.product);
        __syncthreads();
    }
}

template <typename T, typename S> static void running_of(const struct mc_running *r)
{
    int64_t all = r->outer * r->inner;
    unsigned blocks = all < MC_CUDA_BLOCKS_MOST ? (unsigned)all : (unsigned)MC_CUDA_BLOCKS_MOST;
    if (r->n > 1024 && all < 16 * MC_CUDA_THREADS) /* too few threads otherwise */
        MC_LAUNCH_SYNC((long_lanes<T, S>), blocks, MC_CUDA_THREADS, MC_CUDA_THREADS * sizeof(S),
                       *r);
    else
        MC_LAUNCH((lanes<T, S>), mc_cuda_blocks(all), MC_CUDA_THREADS, *r);
}

static void run_running(const struct mc_running *r)
{
    if (r->outer * r->n * r->inner == 0)
        return;
    switch (r->type) {
    case MC_ELEM_F32: running_of<float, double>(r); break;
    case MC_ELEM_I8:
    case MC_ELEM_U8: running_of<uint8_t, uint64_t>(r); break;
    case MC_ELEM_I16:
    case MC_ELEM_U16: running_of<uint16_t, uint64_t>(r); break;
    case MC_ELEM_I32:
    case MC_ELEM_U32: running_of<uint32_t, uint64_t>(r); break;
    case MC_ELEM_I64:
    case MC_ELEM_U64: running_of<uint64_t, uint64_t>(r); break;
    default: break;
    }
}

void mc_order_fill_cuda(struct mc_kernels *k)
{
    k->values.top = run_top;
    k->values.running = run_running;
}
