/* Matrix products: cuBLAS's where the library is there and takes the strides, else those of this file, and what follows a
 * product. */
#include <math.h>

#include "kernels/cuda/blas.h"
#include "kernels/cuda/epilogue_cuda.h"

/* ---- what follows a product ---- */

struct finish { /* c = act(alpha (sum of parts) + bias + residual) */
    int64_t batch, m, n;
    const float *part;
    int parts; /* 0: the sum is 0 */
    int64_t part_row, part_batch, part_step;
    float alpha;
    float *c;
    int64_t c_row, c_step;
    struct mc_cuda_epilogue epilogue;
};

static __device__ float finished(const struct finish &f, int64_t b, int64_t i, int64_t j)
{
    const float *part = f.part + b * f.part_batch + i * f.part_row + j;
    float sum = 0;
    for (int s = 0; s < f.parts; s++)
        sum += part[s * f.part_step];
    return mc_cuda_finish(f.epilogue, f.parts ? f.alpha * sum : 0, j,
                          b * f.c_step + i * f.c_row + j);
}

/* 32-bit divisions where they do; a thread reads an element before it writes it, so c may be part or residual. */
template <typename index> static __global__ void finish_all(struct finish f)
{
    index rows = (index)f.m, columns = (index)f.n, n = (index)f.batch * rows * columns;
    for (int64_t at = MC_CUDA_INDEX_OF; at < (int64_t)n; at += MC_CUDA_STRIDE) {
        index row = (index)at / columns, j = (index)at - row * columns;
        index b = row / rows, i = row - b * rows;
        f.c[(int64_t)b * f.c_step + (int64_t)i * f.c_row + (int64_t)j] =
            finished(f, (int64_t)b, (int64_t)i, (int64_t)j);
    }
}

static void run_finish(const struct finish *f)
{
    int64_t n = f->batch * f->m * f->n;
    if (n < INT32_MAX)
        MC_LAUNCH((finish_all<uint32_t>), mc_cuda_blocks(n), MC_CUDA_THREADS, *f);
    else
        MC_LAUNCH((finish_all<uint64_t>), mc_cuda_blocks(n), MC_CUDA_THREADS, *f);
}

static struct finish finish_of(const struct mc_gemm *g)
{
    struct finish f = {};
    f.batch = g->batch > 1 ? g->batch : 1;
    f.m = g->m;
    f.n = g->n;
    f.alpha = (float)g->alpha;
    f.c = (float *)g->c;
    f.c_row = g->c_row;
    f.c_step = f.batch > 1 ? g->c_step : 0;
    f.epilogue = mc_cuda_epilogue_of(&g->epilogue);
    return f;
}

/* ---- the product without a library ---- */

/* How a tile of an operand [outer, k] is read: four elements a thread, so that the threads of a warp read neighbours. */
enum how { QUADS_OF_K, QUADS_OF_OUTER, ALONG_K, ALONG_OUTER };

struct side {
    const float *x;
    int64_t outer, outer_step, k_step, batch_step;
    enum how how;
};

struct product {
    struct side a, b; /* [m,k], [n,k] */
    int64_t k, k_each, m_tiles, n_tiles;
    int64_t first_batch; /* of this launch */
    int splits;          /* 1: finished at once; else parts [split][batch][m][n] */
    bool quads;          /* rows of C and of what is added to them are 16-byte aligned */
    float *part;
    struct finish f;
};

/* Element i of this thread's four, inside of the tile. */
template <int OUTER, int K> static __device__ void place(enum how how, int i, int *outer, int *k)
{
    int t = (int)threadIdx.x, e = t + 256 * i;
    switch (how) {
    case QUADS_OF_K:
        *outer = t / (K / 4);
        *k = t % (K / 4) * 4 + i;
        break;
    case QUADS_OF_OUTER:
        *k = t / (OUTER / 4);
        *outer = t % (OUTER / 4) * 4 + i;
        break;
    case ALONG_K:
        *outer = e / K;
        *k = e % K;
        break;
    default: /* ALONG_OUTER */
        *k = e / OUTER;
        *outer = e % OUTER;
        break;
    }
}

template <int OUTER, int K>
static __device__ void fetch(const struct side &s, const float *x, int64_t outer0, int64_t k0,
                             int64_t k_end, float r[4])
{
    int outer, k;
    if (s.how <= QUADS_OF_OUTER) {
        place<OUTER, K>(s.how, 0, &outer, &k);
        bool of_k = s.how == QUADS_OF_K;
        int64_t o = outer0 + outer, p = k0 + k;
        if (o + (of_k ? 0 : 3) < s.outer && p + (of_k ? 3 : 0) < k_end) {
            const float4 v = *(const float4 *)(x + o * s.outer_step + p * s.k_step);
            r[0] = v.x;
            r[1] = v.y;
            r[2] = v.z;
            r[3] = v.w;
            return;
        }
    }
    MC_UNROLL
    for (int i = 0; i < 4; i++) {
        place<OUTER, K>(s.how, i, &outer, &k);
        int64_t o = outer0 + outer, p = k0 + k;
        r[i] = o < s.outer && p < k_end ? x[o * s.outer_step + p * s.k_step] : 0;
    }
}

template <int OUTER, int K>
static __device__ void put(enum how how, const float r[4], float *tile /* [K][OUTER + 4] */)
{
    MC_UNROLL
    for (int i = 0; i < 4; i++) {
        int outer, k;
        place<OUTER, K>(how, i, &outer, &k);
        tile[k * (OUTER + 4) + outer] = r[i];
    }
}

/* Columns [j, j + 4) of a row of the result. */
static __device__ void write(const struct product &g, int64_t b, int split, int64_t i, int64_t j,
                             const float *sum)
{
    const struct finish &f = g.f;
    bool quad = g.quads && j + 3 < f.n;
    float v[4], *to = f.c + b * f.c_step + i * f.c_row + j;
    if (g.splits > 1) {
        to = g.part + (((int64_t)split * f.batch + b) * f.m + i) * f.n + j;
        for (int e = 0; e < 4; e++)
            v[e] = sum[e];
    } else {
        for (int e = 0; e < 4; e++) {
            int64_t column = j + e < f.n ? j + e : f.n - 1; /* what is beyond is not written */
            v[e] = mc_cuda_finish(f.epilogue, f.alpha * sum[e], column,
                                  b * f.c_step + i * f.c_row + column);
        }
    }
    if (quad) {
        *(float4 *)to = make_float4(v[0], v[1], v[2], v[3]);
        return;
    }
    for (int e = 0; e < 4 && j + e < f.n; e++)
        to[e] = v[e];
}

/* Tiles of SIZE x SIZE by 16 x 16 threads, each of which has (SIZE / 16)² sums in registers; K of k at a time, in two
 * buffers: the next ones are fetched while these are multiplied. */
template <int SIZE, int K> static __global__ void __launch_bounds__(256) multiply(struct product g)
{
    enum { SUMS = SIZE / 16, ROW = SIZE + 4, TILE = K * ROW };
    static_assert(SIZE * K == 4 * 256, "four elements a thread");
    MC_SHARED(float, shared); /* [2][A, B][TILE] */
    int split = (int)(blockIdx.y % (unsigned)g.splits);
    int64_t b = g.first_batch + (int64_t)(blockIdx.y / (unsigned)g.splits);
    int64_t i0 = (int64_t)blockIdx.x / g.n_tiles * SIZE,
            j0 = (int64_t)blockIdx.x % g.n_tiles * SIZE;
    int64_t k0 = split * g.k_each, k_end = k0 + g.k_each < g.k ? k0 + g.k_each : g.k;
    const float *a = g.a.x + b * g.a.batch_step, *bb = g.b.x + b * g.b.batch_step;
    int ty = (int)threadIdx.x / 16 * 4, tx = (int)threadIdx.x % 16 * 4;
    float sum[SUMS][SUMS] = {}, ra[4], rb[4];
    fetch<SIZE, K>(g.a, a, i0, k0, k_end, ra);
    fetch<SIZE, K>(g.b, bb, j0, k0, k_end, rb);
    put<SIZE, K>(g.a.how, ra, shared);
    put<SIZE, K>(g.b.how, rb, shared + TILE);
    __syncthreads();
    for (int now = 0; k0 < k_end; now = 1 - now) {
        const float *ta = shared + now * 2 * TILE, *tb = ta + TILE;
        k0 += K;
        if (k0 < k_end) {
            fetch<SIZE, K>(g.a, a, i0, k0, k_end, ra);
            fetch<SIZE, K>(g.b, bb, j0, k0, k_end, rb);
        }
        MC_UNROLL
        for (int k = 0; k < K; k++) {
            float x[SUMS], y[SUMS];
            MC_UNROLL
            for (int i = 0; i < SUMS; i++) {
                x[i] = ta[k * ROW + i / 4 * 64 + ty + i % 4];
                y[i] = tb[k * ROW + i / 4 * 64 + tx + i % 4];
            }
            MC_UNROLL
            for (int i = 0; i < SUMS; i++)
                MC_UNROLL
            for (int j = 0; j < SUMS; j++)
                sum[i][j] += x[i] * y[j];
        }
        if (k0 < k_end) {
            float *next = shared + (1 - now) * 2 * TILE;
            put<SIZE, K>(g.a.how, ra, next);
            put<SIZE, K>(g.b.how, rb, next + TILE);
        }
        __syncthreads();
    }
    MC_UNROLL
    for (int i = 0; i < SUMS; i++) {
        int64_t row = i0 + i / 4 * 64 + ty + i % 4;
        MC_UNROLL
        for (int j = 0; j < SUMS; j += 4) {
            int64_t column = j0 + j / 4 * 64 + tx;
            if (row < g.f.m && column < g.f.n)
                write(g, b, split, row, column, sum[i] + j);
        }
    }
}

static bool quads(const void *x, int64_t step, int64_t batch_step)
{
    return (uintptr_t)x % 16 == 0 && step % 4 == 0 && batch_step % 4 == 0;
}

static struct side side_of(const void *x, int64_t outer, int64_t outer_step, int64_t k_step,
                           int64_t batch_step)
{
    struct side s = {(const float *)x, outer, outer_step, k_step, batch_step, ALONG_OUTER};
    if (k_step == 1)
        s.how = quads(x, outer_step, batch_step) ? QUADS_OF_K : ALONG_K;
    else if (outer_step == 1 && quads(x, k_step, batch_step))
        s.how = QUADS_OF_OUTER;
    return s;
}

/* Few tiles share the sum among more blocks: by sizes alone, so that the order of a sum is the same on every device. */
static int splits_for(int64_t tiles, int64_t k)
{
    enum { BLOCKS = 128, LEAST = 128 }; /* about as many as an H100 has processors; of k */
    int64_t splits = tiles < BLOCKS ? BLOCKS / tiles : 1;
    splits = splits < k / LEAST ? splits : k / LEAST;
    return splits > 1 ? (int)splits : 1;
}

static void run_own(const struct mc_gemm *g)
{
    struct product p = {};
    p.f = finish_of(g);
    int64_t batch = p.f.batch, large = (g->m + 127) / 128 * ((g->n + 127) / 128) * batch;
    int size = g->m > 64 && g->n > 64 && large >= 96 ? 128 : 64, k_tile = size == 128 ? 8 : 16;
    p.a = side_of(g->a, g->m, g->a_row, g->a_col, batch > 1 ? g->a_step : 0);
    p.b = side_of(g->b, g->n, g->b_col, g->b_row, batch > 1 ? g->b_step : 0);
    p.k = g->k;
    p.m_tiles = (g->m + size - 1) / size;
    p.n_tiles = (g->n + size - 1) / size;
    p.splits = splits_for(p.m_tiles * p.n_tiles * batch, g->k);
    p.k_each = ((g->k + p.splits - 1) / p.splits + k_tile - 1) / k_tile * k_tile;
    p.quads = quads(g->c, g->c_row, p.f.c_step);
    if (p.splits > 1) {
        p.quads = g->n % 4 == 0;
        p.part = (float *)mc_cuda_workspace(sizeof(float) * (size_t)(p.splits * batch * g->m) *
                                            (size_t)g->n);
        if (!p.part)
            return;
    }
    size_t shared = sizeof(float) * 4 * (size_t)(k_tile * (size + 4));
    int64_t most = MC_CUDA_BLOCKS_MOST / p.splits;
    for (p.first_batch = 0; p.first_batch < batch; p.first_batch += most) {
        int64_t now = batch - p.first_batch < most ? batch - p.first_batch : most;
        dim3 blocks((unsigned)(p.m_tiles * p.n_tiles), (unsigned)(now * p.splits));
        if (size == 128)
            MC_LAUNCH_SYNC((multiply<128, 8>), blocks, 256, shared, p);
        else
            MC_LAUNCH_SYNC((multiply<64, 16>), blocks, 256, shared, p);
    }
    if (p.splits == 1)
        return;
    p.f.part = p.part;
    p.f.parts = p.splits;
    p.f.part_row = g->n;
    p.f.part_batch = g->m * g->n;
    p.f.part_step = batch * g->m * g->n;
    run_finish(&p.f);
}

/* ---- the product by a library ---- */

static bool run_library(const struct mc_gemm *g)
{
    const struct mc_epilogue *e = &g->epilogue;
    struct finish f = finish_of(g);
    struct mc_cuda_gemm b = {};
    if (!mc_cuda_blas_layout(g->n, g->k, g->b_col, g->b_row, &b.ta, &b.lda) ||
        !mc_cuda_blas_layout(g->k, g->m, g->a_col, g->a_row, &b.tb, &b.ldb))
        return false;
    bool relu = e->act == MC_ACT_CLAMP && e->lo == 0 && e->hi == INFINITY;
    bool after = e->act != MC_ACT_NONE && !relu; /* what no library does, and the rest with it */
    b.m = g->n;
    b.n = g->m;
    b.k = g->k;
    b.a = (const float *)g->b;
    b.b = (const float *)g->a;
    b.c = f.c;
    b.ldc = g->m == 1 ? g->n : g->c_row;
    b.batch = f.batch;
    b.a_step = f.batch > 1 ? g->b_step : 0;
    b.b_step = f.batch > 1 ? g->a_step : 0;
    b.c_step = f.c_step;
    b.alpha = f.alpha;
    b.bias = after ? NULL : f.epilogue.bias;
    b.residual = after && f.epilogue.residual != f.c ? NULL : f.epilogue.residual;
    b.relu = relu;
    b.precision = g->exact ? MC_GPU_FP32 : mc_cuda_now()->precision;
    unsigned rest = mc_cuda_blas_gemm(&b);
    if (rest == MC_CUDA_PRODUCT)
        return false;
    if (!rest && !after)
        return true;
    f.part = f.c;
    f.parts = 1;
    f.part_row = f.c_row;
    f.part_batch = f.c_step;
    f.alpha = 1;
    if (!after && !(rest & MC_CUDA_BIAS))
        f.epilogue.bias = NULL;
    if (b.residual && !(rest & MC_CUDA_RESIDUAL))
        f.epilogue.residual = NULL;
    run_finish(&f);
    return true;
}

static void run_gemm(const struct mc_gemm *g, void *, struct mc_pool *)
{
    if (g->m <= 0 || g->n <= 0)
        return;
    if (g->k <= 0) {
        struct finish f = finish_of(g);
        run_finish(&f);
    } else if (!run_library(g)) {
        run_own(g);
    }
}

void mc_gemm_fill_cuda(struct mc_kernels *k)
{
    k->gemm.run = run_gemm;
}
