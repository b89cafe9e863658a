/* Batcher, Sorting networks and their applications, 1968. Steps within BLOCK keys are done in shared memory. */
#include "kernels/cuda/sort_cuda.h"

enum { BLOCK = 1024, THREADS = BLOCK / 2 };

/* Key i of the pair that thread t compares at distance `by`. */
static __device__ int64_t first_of(int64_t t, int64_t by)
{
    return t / by * 2 * by + t % by;
}

static __device__ void exchange(uint64_t *key, int64_t i, int64_t by, bool down)
{
    uint64_t a = key[i], b = key[i + by];
    if ((a > b) != down) {
        key[i] = b;
        key[i + by] = a;
    }
}

/* Steps of the runs from `from` to `to` keys, as far as they stay in a block. `room` is the length of a row, whose
 * last run goes upwards. */
static __global__ void steps(uint64_t *all, int64_t room, int64_t from, int64_t to)
{
    MC_SHARED(uint64_t, key);
    int64_t base = blockIdx.x * (int64_t)BLOCK, t = threadIdx.x;
    uint64_t *mine = all + base;
    key[t] = mine[t];
    key[t + THREADS] = mine[t + THREADS];
    for (int64_t run = from; run <= to; run *= 2)
        for (int64_t by = run / 2 < THREADS ? run / 2 : (int64_t)THREADS; by > 0; by /= 2) {
            __syncthreads();
            int64_t i = first_of(t, by);
            exchange(key, i, by, ((base + i) % room & run) != 0);
        }
    __syncthreads();
    mine[t] = key[t];
    mine[t + THREADS] = key[t + THREADS];
}

static __global__ void step(uint64_t *key, int64_t pairs, int64_t room, int64_t run, int64_t by)
{
    for (int64_t t = MC_CUDA_INDEX_OF; t < pairs; t += MC_CUDA_STRIDE) {
        int64_t i = first_of(t, by);
        exchange(key, i, by, (i % room & run) != 0);
    }
}

int64_t mc_cuda_sort_room(int64_t n)
{
    int64_t room = BLOCK;
    while (room < n)
        room *= 2;
    return room;
}

void mc_cuda_sort(uint64_t *key, int64_t rows, int64_t room)
{
    int64_t n = rows * room;
    unsigned blocks = (unsigned)(n / BLOCK);
    size_t shared = BLOCK * sizeof *key;
    MC_LAUNCH_SYNC(steps, blocks, THREADS, shared, key, room, 2, BLOCK);
    for (int64_t run = 2 * BLOCK; run <= room; run *= 2) {
        for (int64_t by = run / 2; by >= BLOCK; by /= 2)
            MC_LAUNCH(step, mc_cuda_blocks(n / 2), MC_CUDA_THREADS, key, n / 2, room, run, by);
        MC_LAUNCH_SYNC(steps, blocks, THREADS, shared, key, room, run, run);
    }
}
