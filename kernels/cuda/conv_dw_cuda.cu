/* The gradient of the weights on tiles: dW[m, j] = sum over k of dY[m, k] X[k, j], m an output channel of the group,
 * j an input channel and a tap, k an image and a position. A thread finds the place of one k at a time, for all that
 * it loads of it. The sum over k is long and the result small, so it is made in parts, which a second kernel joins:
 * as many as the shape says. db falls off where dY is loaded. */
#include "kernels/cuda/conv_cuda.h"
#include "kernels/cuda/team.h"

enum { THREADS = 256, BK = 16, ROWS = THREADS / BK };

struct grads {
    const float *x, *dy;
    float *dw, *db; /* or of parts: part p of dw, p * weights after, of db p * filters after */
    struct mc_conv_geometry g;
    int k, m, n; /* images and positions; filters of a group; channels of a group and taps */
    int64_t channels, filters, group_c;
    int steps, splits;
    int64_t weights;
    struct mc_cuda_div div_splits;
};

template <int T>
static __device__ __forceinline__ void line_get(const float *line, int at, float *ret)
{
    if constexpr (T == 4) {
        float4 v = *(const float4 *)(line + at * 4);
        ret[0] = v.x;
        ret[1] = v.y;
        ret[2] = v.z;
        ret[3] = v.w;
    } else {
#pragma unroll
        for (int i = 0; i < T; i++)
            ret[i] = line[at * T + i];
    }
}

template <int BM, int BN, int TM, int TN>
static __global__ void __launch_bounds__(THREADS) weight_tile(struct grads p)
{
    enum { A = BM / ROWS, B = BN / ROWS };
    static_assert(BM / TM * (BN / TN) == THREADS, "a thread for every part of the tile");
    __shared__ __align__(16) float as[2][BK][BM + 4];
    __shared__ __align__(16) float bs[2][BK][BN + 4];
    __shared__ float rows[BM][BK + 1];
    int tid = (int)threadIdx.x, lane = tid % BK, row = tid / BK;
    int m0 = (int)blockIdx.y * BM, n0 = (int)blockIdx.x * BN;
    int group = mc_conv_quotient(p.div_splits, (int)blockIdx.z);
    int split = (int)blockIdx.z - group * p.splits;
    int step = (int)((int64_t)p.steps * split / p.splits);
    int last = (int)((int64_t)p.steps * (split + 1) / p.splits);
    bool biased = p.db && blockIdx.x == 0;
    const float *x = p.x + group * p.group_c * p.g.in_size;
    const float *dy = p.dy + (int64_t)group * p.m * p.g.out_size;

    int channel[B], tap[B][3]; /* of the columns that this thread loads; channel -1: none */
#pragma unroll
    for (int i = 0; i < B; i++) {
        int j = n0 + row + i * ROWS;
        channel[i] = j < p.n ? mc_conv_quotient(p.g.div_taps, j) : -1;
        mc_conv_place(p.g.div_tap_plane, p.g.div_tap_row, j < p.n ? j - channel[i] * p.g.taps : 0,
                      tap[i]);
    }
    float ra[A], rb[B], sum[TM][TN] = {}, bias[A] = {};

    auto load = [&](int s) {
        int k = s * BK + lane, o[3];
        bool live = k < p.k;
        int image = live ? mc_conv_quotient(p.g.div_out, k) : 0;
        int position = live ? k - image * p.g.out_size : 0;
        mc_conv_place(p.g.div_out_plane, p.g.div_out_row, position, o);
        const float *from = dy + image * p.filters * p.g.out_size + position;
#pragma unroll
        for (int i = 0; i < A; i++) {
            int m = m0 + row + i * ROWS;
            ra[i] = live && m < p.m ? from[(int64_t)m * p.g.out_size] : 0;
        }
        from = x + image * p.channels * p.g.in_size;
#pragma unroll
        for (int i = 0; i < B; i++) {
            int place = live && channel[i] >= 0 ? mc_conv_read(p.g, o, tap[i]) : -1;
            rb[i] = place >= 0 ? from[(int64_t)channel[i] * p.g.in_size + place] : 0;
        }
    };
    auto keep = [&](int buffer) {
#pragma unroll
        for (int i = 0; i < A; i++) {
            as[buffer][lane][row + i * ROWS] = ra[i];
            bias[i] += ra[i];
        }
#pragma unroll
        for (int i = 0; i < B; i++)
            bs[buffer][lane][row + i * ROWS] = rb[i];
    };

    int tx = tid % (BN / TN), ty = tid / (BN / TN), buffer = 0;
    if (step < last) {
        load(step);
        keep(0);
    }
    __syncthreads();
    for (; step < last; step++, buffer ^= 1) {
        if (step + 1 < last)
            load(step + 1);
#pragma unroll
        for (int k = 0; k < BK; k++) {
            float a[TM], b[TN];
            line_get<TM>(as[buffer][k], ty, a);
            line_get<TN>(bs[buffer][k], tx, b);
#pragma unroll
            for (int i = 0; i < TM; i++)
#pragma unroll
                for (int j = 0; j < TN; j++)
                    sum[i][j] += a[i] * b[j];
        }
        if (step + 1 < last)
            keep(buffer ^ 1);
        __syncthreads();
    }

    float *dw = p.dw + split * p.weights + (int64_t)group * p.m * p.n;
#pragma unroll
    for (int i = 0; i < TM; i++) {
        int m = m0 + ty * TM + i;
#pragma unroll
        for (int j = 0; j < TN; j++) {
            int n = n0 + tx * TN + j;
            if (m < p.m && n < p.n)
                dw[(int64_t)m * p.n + n] = sum[i][j];
        }
    }
    if (!biased)
        return;
#pragma unroll
    for (int i = 0; i < A; i++)
        rows[row + i * ROWS][lane] = bias[i];
    __syncthreads();
    if (tid < BM && m0 + tid < p.m) {
        float all = 0;
        for (int i = 0; i < BK; i++)
            all += rows[tid][i];
        p.db[split * p.filters + (int64_t)group * p.m + m0 + tid] = all;
    }
}

static int64_t up(int64_t n, int64_t by)
{
    return (n + by - 1) / by;
}

enum {
    WANTED = 528, /* blocks: four for each of an H100's 132 multiprocessors */
    LEAST = 16,   /* steps of k worth a part of their own */
    PART_BYTES = 64 << 20,
};

/* Into parts, which the workspace holds; then joined. 0: one part, no workspace. */
static int parts_of(int64_t blocks, int64_t steps, int64_t elements)
{
    int64_t parts = blocks >= WANTED ? 1 : WANTED / blocks;
    parts = parts > steps / (int)LEAST ? steps / (int)LEAST : parts;
    parts = parts * elements * 4 > PART_BYTES ? PART_BYTES / 4 / elements : parts;
    return parts < 2 ? 1 : (int)parts;
}

enum { JOINED = 32, JOINERS = THREADS / JOINED }; /* sums of a block, and threads on each */

/* to = sums over parts; the second behind the first. */
static __global__ void __launch_bounds__(THREADS)
    join_parts(int parts, int64_t n, const float *part, float *to, int64_t n2, const float *part2,
               float *to2)
{
    __shared__ float share[JOINERS][JOINED];
    int lane = (int)threadIdx.x % JOINED, row = (int)threadIdx.x / JOINED;
    int64_t i = blockIdx.x * (int64_t)JOINED + lane, size = i < n ? n : n2;
    const float *from = i < n ? part + i : part2 + (i - n);
    float sum = 0;
    for (int p = row; p < parts && i < n + n2; p += JOINERS)
        sum += from[p * size];
    share[row][lane] = sum;
    __syncthreads();
    if (row != 0 || i >= n + n2)
        return;
    for (int r = 1; r < JOINERS; r++)
        sum += share[r][lane];
    *(i < n ? to + i : to2 + (i - n)) = sum;
}

static void join(const struct mc_conv_grad *g, int64_t weights, int parts, const float *dw,
                 const float *db)
{
    int64_t filters = g->db ? g->c.oc : 0;
    MC_LAUNCH_SYNC(join_parts, (unsigned)up(weights + filters, JOINED), THREADS, 0, parts, weights,
                   dw, (float *)g->dw, filters, db, (float *)g->db);
}

template <int BM, int BN, int TM, int TN>
static void run(struct grads *p, const struct mc_conv_grad *g)
{
    int64_t blocks = up(p->n, BN) * up(p->m, BM) * g->c.group;
    p->steps = (int)up(p->k, BK);
    p->splits = parts_of(blocks, p->steps, p->weights);
    p->div_splits = mc_cuda_div_by(p->splits);
    p->dw = (float *)g->dw;
    p->db = (float *)g->db;
    if (p->splits > 1) {
        int64_t count = p->splits * (p->weights + p->filters);
        p->dw = (float *)mc_cuda_workspace((size_t)count * sizeof(float));
        if (!p->dw)
            return;
        p->db = g->db ? p->dw + p->splits * p->weights : NULL;
    }
    dim3 grid((unsigned)up(p->n, BN), (unsigned)up(p->m, BM), (unsigned)(g->c.group * p->splits));
    struct grads by_value = *p;
    MC_LAUNCH_SYNC((weight_tile<BM, BN, TM, TN>), grid, THREADS, 0, by_value);
    if (p->splits > 1)
        join(g, p->weights, p->splits, p->dw, p->db);
}

void mc_conv_weight_tiles(const struct mc_conv_grad *g)
{
    const struct mc_conv *c = &g->c;
    struct grads p = {};
    p.g = mc_conv_geometry_of(c);
    p.x = (const float *)g->x;
    p.dy = (const float *)g->dy;
    p.k = (int)(c->n * p.g.out_size);
    p.m = (int)(c->oc / c->group);
    p.group_c = c->c / c->group;
    p.n = (int)(p.group_c * p.g.taps);
    p.channels = c->c;
    p.filters = c->oc;
    p.weights = c->oc * p.n;
    if (p.weights == 0)
        return;
    if (p.m > 32 && p.n > 32)
        run<64, 64, 4, 4>(&p, g);
    else if (p.n > 64)
        run<32, 128, 4, 4>(&p, g);
    else
        run<32, 32, 2, 2>(&p, g);
}

/* ---- groups of one input channel: a block has a filter and a part of the images' positions ---- */

enum { TAPS_MOST = 25 };

static __device__ __forceinline__ float block_sum(float v, float *warps)
{
    int tid = (int)threadIdx.x;
#pragma unroll
    for (int d = 16; d > 0; d /= 2)
        v += __shfl_down_sync(0xffffffffu, v, d);
    if (tid % 32 == 0)
        warps[tid / 32] = v;
    __syncthreads();
    v = 0;
    for (int i = 0; i < THREADS / 32 && tid == 0; i++)
        v += warps[i];
    __syncthreads();
    return v;
}

template <int TAPS>
static __global__ void __launch_bounds__(THREADS) weight_depthwise(struct grads p)
{
    __shared__ float warps[THREADS / 32];
    int filter = (int)blockIdx.x, split = (int)blockIdx.y, tid = (int)threadIdx.x;
    int channel = filter / p.m; /* m filters of each */
    int from = (int)((int64_t)p.k * split / p.splits);
    int to = (int)((int64_t)p.k * (split + 1) / p.splits);
    float sum[TAPS] = {}, bias = 0;
    for (int k = from + tid; k < to; k += THREADS) {
        int image = mc_conv_quotient(p.g.div_out, k), position = k - image * p.g.out_size, o[3];
        mc_conv_place(p.g.div_out_plane, p.g.div_out_row, position, o);
        float dy = p.dy[(image * p.filters + filter) * p.g.out_size + position];
        const float *x = p.x + (image * p.channels + channel) * p.g.in_size;
        int tap[3] = {0, 0, 0};
        bias += dy;
#pragma unroll
        for (int t = 0; t < TAPS; t++) {
            if (t >= p.g.taps)
                break;
            int place = mc_conv_read(p.g, o, tap);
            sum[t] += place >= 0 ? dy * x[place] : 0;
            if (++tap[2] == p.g.kernel[2]) {
                tap[2] = 0;
                if (++tap[1] == p.g.kernel[1]) {
                    tap[1] = 0;
                    tap[0]++;
                }
            }
        }
    }
#pragma unroll
    for (int t = 0; t < TAPS; t++) {
        if (t >= p.g.taps)
            break;
        float all = block_sum(sum[t], warps);
        if (tid == 0)
            p.dw[split * p.weights + (int64_t)filter * p.g.taps + t] = all;
    }
    if (!p.db)
        return;
    bias = block_sum(bias, warps);
    if (tid == 0)
        p.db[split * p.filters + filter] = bias;
}

bool mc_conv_weight_depthwise(const struct mc_conv_grad *g)
{
    const struct mc_conv *c = &g->c;
    struct grads p = {};
    p.g = mc_conv_geometry_of(c);
    if (p.g.taps > TAPS_MOST)
        return false;
    p.x = (const float *)g->x;
    p.dy = (const float *)g->dy;
    p.k = (int)(c->n * p.g.out_size);
    p.m = (int)(c->oc / c->group);
    p.channels = c->c;
    p.filters = c->oc;
    p.weights = c->oc * p.g.taps;
    if (p.weights == 0)
        return true;
    p.splits = parts_of(p.filters, up(p.k, 64), p.weights);
    p.dw = (float *)g->dw;
    p.db = (float *)g->db;
    if (p.splits > 1) {
        p.dw = (float *)mc_cuda_workspace((size_t)(p.splits * (p.weights + p.filters)) *
                                          sizeof(float));
        if (!p.dw)
            return true;
        p.db = g->db ? p.dw + p.splits * p.weights : NULL;
    }
    dim3 grid((unsigned)p.filters, (unsigned)p.splits);
    struct grads by_value = p;
    if (p.g.taps <= 9)
        MC_LAUNCH_SYNC(weight_depthwise<9>, grid, THREADS, 0, by_value);
    else
        MC_LAUNCH_SYNC(weight_depthwise<TAPS_MOST>, grid, THREADS, 0, by_value);
    if (p.splits > 1)
        join(g, p.weights, p.splits, p.dw, p.db);
    return true;
}

/* ---- db alone ---- */

static __global__ void __launch_bounds__(THREADS)
    bias_grad(struct grads p, float *db, unsigned *tickets)
{
    __shared__ float warps[THREADS / 32];
    int filter = (int)blockIdx.x, split = (int)blockIdx.y;
    int from = (int)((int64_t)p.k * split / p.splits);
    int to = (int)((int64_t)p.k * (split + 1) / p.splits);
    float sum = 0;
    for (int k = from + (int)threadIdx.x; k < to; k += THREADS) {
        int image = mc_conv_quotient(p.g.div_out, k), position = k - image * p.g.out_size;
        sum += p.dy[(image * p.filters + filter) * p.g.out_size + position];
    }
    sum = block_sum(sum, warps);
    if (threadIdx.x == 0)
        p.db[split * p.filters + filter] = sum;
    if (p.splits == 1 || !mc_last_block(tickets + filter, (unsigned)p.splits))
        return;
    sum = 0;
    for (int i = (int)threadIdx.x; i < p.splits; i += THREADS)
        sum += __ldcg(&p.db[i * p.filters + filter]);
    sum = block_sum(sum, warps);
    if (threadIdx.x == 0)
        db[filter] = sum;
}

void mc_conv_bias_grad(const struct mc_conv_grad *g)
{
    struct grads p = {};
    p.g = mc_conv_geometry_of(&g->c);
    p.dy = (const float *)g->dy;
    p.k = (int)(g->c.n * p.g.out_size);
    p.filters = g->c.oc;
    if (p.filters == 0)
        return;
    p.splits = parts_of(p.filters, up(p.k, 64), p.filters);
    p.db = (float *)g->db;
    if (p.splits > 1)
        p.db = (float *)mc_cuda_workspace((size_t)(p.splits * p.filters) * sizeof(float));
    if (!p.db)
        return;
    dim3 grid((unsigned)p.filters, (unsigned)p.splits);
    struct grads by_value = p;
    static_assert((int)WANTED <= (int)MC_CUDA_TICKETS, "a ticket for each filter with parts");
    MC_LAUNCH_SYNC(bias_grad, grid, THREADS, 0, by_value, (float *)g->db, mc_cuda_now()->tickets);
}
