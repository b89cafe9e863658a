/* Reductions, and places of extremes.
 *
 * Two ways: threads side by side on the elements of one output (its inputs are neighbours), or on outputs whose inputs
 * are neighbours. Where there are few outputs each is cut into parts by its length alone, joined by the last block
 * that comes. */
#include "kernels/body_reduce.h"
#include "kernels/cuda/team.h"
#include "kernels/cuda/walk.h"

enum {
    ANY = -1, /* the function is told at run time */
    LANES = 32,
    COLUMN_ROWS = 8,     /* threads on one output of a column */
    ROW_MOST = 1024,     /* elements of an output for which a warp is enough */
    PART_LEAST = 64,     /* elements of a part, for each thread on it */
    COLUMN_LEAST = 16,   /* the same of a column */
    BLOCKS_WANTED = 256, /* two for each processor of a large card */
};

struct job {
    struct mc_cuda_walk<1> keep, over;
    enum mc_reduce_fn fn;
    int64_t parts, per_part;
    unsigned *tickets; /* one for the parts of each block of outputs */
    float n;           /* of a mean */
    const float *top;  /* [outputs], of LOG_SUM_EXP, or NULL */
    const float *x;
    float *y, *partial; /* [outputs], [parts, outputs] */
};

static __device__ float top_of(const struct job &j, int64_t i)
{
    return !j.top || isinf(j.top[i]) ? 0 : j.top[i];
}

/* Of the elements first, first + step, … of a part of output i. */
template <int FN>
static __device__ float run_of(const struct job &j, int64_t i, int64_t part, int first, int step)
{
    const enum mc_reduce_fn fn = FN == ANY ? j.fn : (enum mc_reduce_fn)FN;
    int64_t base, at, end = (part + 1) * j.per_part;
    float top = top_of(j, i), sum = mc_reduce_start(fn);
    mc_cuda_walk_at(j.keep, 1, i, &base);
    end = end < j.over.n ? end : j.over.n;
    for (int64_t k = part * j.per_part + first; k < end; k += step) {
        mc_cuda_walk_at(j.over, 1, k, &at);
        sum = mc_reduce_step(fn, sum, j.x[base + at], top);
    }
    return sum;
}

/* How partial results join: squares and exponentials are sums by then. */
static __host__ __device__ enum mc_reduce_fn join_of(enum mc_reduce_fn fn)
{
    return fn == MC_REDUCE_MAX || fn == MC_REDUCE_MIN || fn == MC_REDUCE_PROD ? fn : MC_REDUCE_SUM;
}

static __device__ void put(const struct job &j, int64_t i, int64_t part, float sum)
{
    if (j.parts > 1)
        j.partial[part * j.keep.n + i] = sum;
    else
        j.y[i] = mc_reduce_end(j.fn, sum, top_of(j, i), j.n);
}

/* Of the parts first, first + step, … of output i, which other blocks made. */
static __device__ float parts_of_output(const struct job &j, enum mc_reduce_fn join, int64_t i,
                                        int first, int step)
{
    float sum = mc_reduce_start(join);
    for (int64_t p = first; p < j.parts; p += step)
        sum = mc_reduce_step(join, sum, __ldcg(&j.partial[p * j.keep.n + i]), 0);
    return sum;
}

/* Of THREADS threads; the first of them has it. */
template <int THREADS>
static __device__ float together(enum mc_reduce_fn join, float sum, float *share)
{
    for (int by = LANES / 2; by > 0; by /= 2)
        sum = mc_reduce_step(join, sum, __shfl_down_sync(0xffffffffu, sum, by), 0);
    if (THREADS == LANES)
        return sum;
    if (threadIdx.x % LANES == 0)
        share[threadIdx.x / LANES] = sum;
    __syncthreads();
    for (int w = 1; w < THREADS / LANES && threadIdx.x == 0; w++)
        sum = mc_reduce_step(join, sum, share[w], 0);
    return sum;
}

/* THREADS on one output; blocks of 256 threads, so several outputs in a block of warps. */
template <int FN, int THREADS> static __global__ void rows(struct job j)
{
    MC_SHARED(float, share);
    const enum mc_reduce_fn join = join_of(FN == ANY ? j.fn : (enum mc_reduce_fn)FN);
    const int per_block = MC_CUDA_THREADS / THREADS, lane = (int)threadIdx.x % THREADS;
    int64_t i = blockIdx.x * (int64_t)per_block + threadIdx.x / THREADS, part = blockIdx.y;
    float sum = mc_reduce_start(join);
    if (i < j.keep.n)
        sum = run_of<FN>(j, i, part, lane, THREADS);
    sum = together<THREADS>(join, sum, share);
    if (lane == 0 && i < j.keep.n)
        put(j, i, part, sum);
    if (THREADS == LANES || j.parts == 1 || !mc_last_block(j.tickets + blockIdx.x, gridDim.y))
        return;
    sum = together<THREADS>(join, parts_of_output(j, join, i, lane, THREADS), share);
    if (lane == 0)
        j.y[i] = mc_reduce_end(j.fn, sum, top_of(j, i), j.n);
}

/* Of the threads of a column; the first of them has it. */
static __device__ float column_sum(enum mc_reduce_fn join, float sum, float *share)
{
    share[threadIdx.y * LANES + threadIdx.x] = sum;
    __syncthreads();
    for (int r = 1; r < COLUMN_ROWS && threadIdx.y == 0; r++)
        sum = mc_reduce_step(join, sum, share[r * LANES + threadIdx.x], 0);
    return sum;
}

template <int FN> static __global__ void columns(struct job j)
{
    MC_SHARED(float, share);
    const enum mc_reduce_fn join = join_of(FN == ANY ? j.fn : (enum mc_reduce_fn)FN);
    int64_t i = blockIdx.x * (int64_t)LANES + threadIdx.x, part = blockIdx.y;
    float sum = mc_reduce_start(join);
    if (i < j.keep.n)
        sum = run_of<FN>(j, i, part, (int)threadIdx.y, COLUMN_ROWS);
    sum = column_sum(join, sum, share);
    bool mine = threadIdx.y == 0 && i < j.keep.n;
    if (mine)
        put(j, i, part, sum);
    if (j.parts == 1 || !mc_last_block(j.tickets + blockIdx.x, gridDim.y))
        return;
    sum = i < j.keep.n ? parts_of_output(j, join, i, (int)threadIdx.y, COLUMN_ROWS) : 0;
    sum = column_sum(join, sum, share);
    if (mine)
        j.y[i] = mc_reduce_end(j.fn, sum, top_of(j, i), j.n);
}

enum way { COLUMNS, WARPS, BLOCKS };

template <int FN> static void launch(enum way way, const struct job &j)
{
    size_t shared = sizeof(float) * MC_CUDA_THREADS;
    unsigned per_block = way == COLUMNS ? LANES : way == WARPS ? MC_CUDA_THREADS / LANES : 1;
    dim3 blocks((unsigned)((j.keep.n + per_block - 1) / per_block), (unsigned)j.parts);
    if (way == COLUMNS)
        MC_LAUNCH_SYNC(columns<FN>, blocks, dim3(LANES, COLUMN_ROWS), shared, j);
    else if (way == WARPS)
        MC_LAUNCH_SYNC((rows<FN, LANES>), blocks, MC_CUDA_THREADS, shared, j);
    else
        MC_LAUNCH_SYNC((rows<FN, MC_CUDA_THREADS>), blocks, MC_CUDA_THREADS, shared, j);
}

static void pass(enum way way, const struct job &j)
{
    switch (j.fn) {
    case MC_REDUCE_SUM:
    case MC_REDUCE_MEAN: launch<MC_REDUCE_SUM>(way, j); break;
    case MC_REDUCE_MAX: launch<MC_REDUCE_MAX>(way, j); break;
    default: launch<ANY>(way, j);
    }
}

static enum way way_of(const struct mc_reduce *r, int64_t outputs, int64_t over)
{
    bool dense = r->over_stride[r->over_rank - 1] == 1 && over >= LANES / 2;
    if (!dense || (r->keep_stride[r->keep_rank - 1] == 1 && outputs >= LANES && over < LANES))
        return COLUMNS;
    return over <= ROW_MOST ? WARPS : BLOCKS;
}

/* Into how many parts an output is cut: by the shape alone, for the same sums on every card. */
static int64_t parts_of(enum way way, int64_t outputs, int64_t over)
{
    const int64_t lanes = LANES, all = MC_CUDA_THREADS;
    int64_t threads = way == COLUMNS ? (int64_t)COLUMN_ROWS : way == WARPS ? lanes : all;
    int64_t per_block = way == COLUMNS ? lanes : all / threads;
    int64_t blocks = (outputs + per_block - 1) / per_block;
    int64_t wanted = (BLOCKS_WANTED + blocks - 1) / blocks;
    int64_t most = over / ((way == COLUMNS ? COLUMN_LEAST : PART_LEAST) * threads);
    most = way == WARPS ? 1 : most < wanted ? most : wanted;
    return most < 1 ? 1 : most;
}

/* The whole of fn, whose result goes to y; partial: memory for the parts. */
static void reduce_into(const struct mc_reduce *r, enum mc_reduce_fn fn, enum way way,
                        int64_t parts, const float *top, float *partial, float *y)
{
    struct job j;
    mc_cuda_walk_make(&j.keep, r->keep_rank, r->keep, 1, &r->keep_stride, 1);
    mc_cuda_walk_make(&j.over, r->over_rank, r->over, 1, &r->over_stride, 1);
    static_assert((int)BLOCKS_WANTED <= (int)MC_CUDA_TICKETS, "a ticket for each block with parts");
    j.fn = fn;
    j.parts = parts;
    j.per_part = (j.over.n + parts - 1) / parts;
    j.tickets = mc_cuda_now()->tickets;
    j.n = (float)j.over.n;
    j.top = top;
    j.x = (const float *)r->x;
    j.y = y;
    j.partial = partial;
    pass(way, j);
}

static void run_reduce(const struct mc_reduce *r, struct mc_pool *)
{
    int64_t outputs = 1, over = 1;
    for (int d = 0; d < r->keep_rank; d++)
        outputs *= r->keep[d];
    for (int d = 0; d < r->over_rank; d++)
        over *= r->over[d];
    if (outputs == 0)
        return;
    enum way way = way_of(r, outputs, over);
    int64_t parts = parts_of(way, outputs, over);
    bool tops = r->fn == MC_REDUCE_LOG_SUM_EXP;
    float *memory = NULL;
    if (parts > 1 || tops) {
        memory = (float *)mc_cuda_workspace(sizeof(float) * (size_t)(outputs * (parts + tops)));
        if (!memory)
            return;
    }
    float *top = tops ? memory : NULL, *partial = tops ? memory + outputs : memory;
    if (tops)
        reduce_into(r, MC_REDUCE_MAX, way, parts, NULL, partial, top);
    reduce_into(r, r->fn, way, parts, top, partial, (float *)r->y);
}

/* ---- argext ---- */

struct found {
    float v;
    int64_t at;
};

static __device__ struct found better_of(const struct mc_argext &a, struct found p, struct found q)
{
    struct found first = p.at < q.at ? p : q, second = p.at < q.at ? q : p;
    return mc_argext_better(a.smallest, a.last, second.v, first.v) ? second : first;
}

/* A warp on each output where it is a row, else a thread. */
static __global__ void argext_rows(struct mc_argext a)
{
    int64_t r = blockIdx.x * (int64_t)(MC_CUDA_THREADS / LANES) + threadIdx.x / LANES;
    int lane = (int)threadIdx.x % LANES;
    bool mine = r < a.outer;
    const float *x = (const float *)a.x + (mine ? r * a.n : 0);
    struct found best = {x[0], 0};
    for (int64_t i = lane; i < a.n && mine; i += LANES) {
        struct found next = {x[i], i};
        best = better_of(a, best, next);
    }
    for (int by = LANES / 2; by > 0; by /= 2) {
        struct found other = {__shfl_down_sync(0xffffffffu, best.v, by),
                              __shfl_down_sync(0xffffffffu, best.at, by)};
        best = better_of(a, best, other);
    }
    if (mine && lane == 0)
        a.y[r] = best.at;
}

static __global__ void argext_columns(struct mc_argext a)
{
    for (int64_t r = MC_CUDA_INDEX_OF; r < a.outer * a.inner; r += MC_CUDA_STRIDE) {
        const float *x = (const float *)a.x + r / a.inner * a.n * a.inner + r % a.inner;
        float top = x[0];
        int64_t best = 0;
        for (int64_t i = 1; i < a.n; i++)
            if (mc_argext_better(a.smallest, a.last, x[i * a.inner], top)) {
                top = x[i * a.inner];
                best = i;
            }
        a.y[r] = best;
    }
}

static void run_argext(const struct mc_argext *a, struct mc_pool *)
{
    int64_t outputs = a->outer * a->inner, per_block = MC_CUDA_THREADS / LANES;
    if (outputs == 0)
        return;
    if (a->inner == 1)
        MC_LAUNCH_SYNC(argext_rows, (unsigned)((outputs + per_block - 1) / per_block),
                       MC_CUDA_THREADS, 0, *a);
    else
        MC_LAUNCH(argext_columns, mc_cuda_blocks(outputs), MC_CUDA_THREADS, *a);
}

void mc_reduce_fill_cuda(struct mc_kernels *k)
{
    k->nn.reduce = run_reduce;
    k->nn.argext = run_argext;
}
