/* Convolution as a product of matrices, on tiles in shared memory. Y[m, j] = sum over k of W[m, k] X[k, j]: m is an
 * output channel of the group, j an image and a position, k a tap and an input channel. X is never written down:
 * a thread owns one column j, so it finds a tap's place once for all channels that it loads for it.
 *
 * With enough channels a step of k lies within one tap (TAPS); with few, k runs as in the weights. The gradient of
 * the input is the same with channels and positions in each other's place. */
#include "kernels/cuda/conv_cuda.h"

enum { THREADS = 256 };

struct tiles {
    const float *x, *w;
    float *y;
    struct mc_conv_geometry g;
    int columns, m, kc;   /* images and positions; channels of a group: to, from */
    int x_size, y_size;   /* elements of a channel */
    int64_t x_c, y_c;     /* channels of an image */
    int64_t w_m, w_k;     /* elements between weights of such channels */
    int64_t w_group;      /* and of groups */
    int steps, steps_tap; /* of k: all, and within a tap */
    int splits;           /* of the sum: part p of the result begins p * part elements after y */
    int64_t part;
    struct mc_cuda_div div_y, div_steps, div_splits;
    struct mc_cuda_epilogue e;
};

/* Element i of the T that thread `at` of a line of W has. */
template <int T, int W> static __device__ __forceinline__ int line_at(int at, int i)
{
    return T == 8 ? (i / 4) * (W / 2) + at * 4 + i % 4 : at * T + i;
}

template <int T, int W>
static __device__ __forceinline__ void line_get(const float *line, int at, float *ret)
{
    if constexpr (T % 4 != 0) {
#pragma unroll
        for (int i = 0; i < T; i++)
            ret[i] = line[at * T + i];
    } else {
#pragma unroll
        for (int i = 0; i < T; i += 4) {
            float4 v = *(const float4 *)(line + line_at<T, W>(at, i));
            ret[i] = v.x;
            ret[i + 1] = v.y;
            ret[i + 2] = v.z;
            ret[i + 3] = v.w;
        }
    }
}

template <bool BACK>
static __device__ __forceinline__ int tap_place(const struct mc_conv_geometry &g, const int at[3],
                                                int tap)
{
    int k[3];
    mc_conv_place(g.div_tap_plane, g.div_tap_row, tap, k);
    return BACK ? mc_conv_reader(g, at, k) : mc_conv_read(g, at, k);
}

template <bool BACK, bool TAPS, int BM, int BN, int BK, int TM, int TN>
static __global__ void __launch_bounds__(THREADS) conv_tile(struct tiles p)
{
    enum {
        A = BM * BK / THREADS,
        B = BN * BK / THREADS,
        A_ROWS = THREADS / BK,
        B_ROWS = THREADS / BN
    };
    static_assert(BM / TM * (BN / TN) == THREADS, "a thread for every part of the tile");
    static_assert(A > 0 && B > 0 && THREADS % BK == 0 && THREADS % BN == 0,
                  "loads fit the threads");
    __shared__ __align__(16) float as[2][BK][BM + 4];
    __shared__ __align__(16) float bs[2][BK][BN];
    int tid = (int)threadIdx.x, m0 = (int)blockIdx.y * BM;
    int group = mc_conv_quotient(p.div_splits, (int)blockIdx.z);
    int split = (int)blockIdx.z - group * p.splits;
    int step = (int)((int64_t)p.steps * split / p.splits);
    int last = (int)((int64_t)p.steps * (split + 1) / p.splits);

    /* What this thread loads: rows of one column, and elements of one k. */
    int column = (int)blockIdx.x * BN + tid % BN, row = tid / BN, lane = tid % BK;
    bool live = column < p.columns;
    int image = live ? mc_conv_quotient(p.div_y, column) : 0, at[3];
    int position = live ? column - image * p.y_size : 0;
    mc_conv_place(BACK ? p.g.div_in_plane : p.g.div_out_plane,
                  BACK ? p.g.div_in_row : p.g.div_out_row, position, at);
    const float *x = p.x + (image * p.x_c + (int64_t)group * p.kc) * p.x_size;
    const float *w = p.w + group * p.w_group;
    float ra[A], rb[B], sum[TM][TN] = {};

    auto load = [&](int s) {
        if constexpr (TAPS) {
            int tap = mc_conv_quotient(p.div_steps, s), from = (s - tap * p.steps_tap) * BK;
            int place = live ? tap_place<BACK>(p.g, at, tap) : -1;
#pragma unroll
            for (int i = 0; i < B; i++) {
                int k = from + row + i * B_ROWS;
                rb[i] = place >= 0 && k < p.kc ? x[(int64_t)k * p.x_size + place] : 0;
            }
#pragma unroll
            for (int i = 0; i < A; i++) {
                int m = m0 + tid / BK + i * A_ROWS, k = from + lane;
                ra[i] = m < p.m && k < p.kc ? w[m * p.w_m + k * p.w_k + tap] : 0;
            }
        } else {
#pragma unroll
            for (int i = 0; i < B; i++) {
                int k = s * BK + row + i * B_ROWS, c = mc_conv_quotient(p.g.div_taps, k);
                int place = live && c < p.kc ? tap_place<BACK>(p.g, at, k - c * p.g.taps) : -1;
                rb[i] = place >= 0 ? x[(int64_t)c * p.x_size + place] : 0;
            }
            int k = s * BK + lane, c = mc_conv_quotient(p.g.div_taps, k);
#pragma unroll
            for (int i = 0; i < A; i++) {
                int m = m0 + tid / BK + i * A_ROWS;
                ra[i] = m < p.m && c < p.kc ? w[m * p.w_m + c * p.w_k + (k - c * p.g.taps)] : 0;
            }
        }
    };
    auto keep = [&](int buffer) {
#pragma unroll
        for (int i = 0; i < A; i++)
            as[buffer][lane][tid / BK + i * A_ROWS] = ra[i];
#pragma unroll
        for (int i = 0; i < B; i++)
            bs[buffer][row + i * B_ROWS][tid % BN] = rb[i];
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
            line_get<TM, BM>(as[buffer][k], ty, a);
            line_get<TN, BN>(bs[buffer][k], tx, b);
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

#pragma unroll
    for (int j = 0; j < TN; j++) {
        int to = (int)blockIdx.x * BN + line_at<TN, BN>(tx, j);
        if (to >= p.columns)
            continue;
        int of = mc_conv_quotient(p.div_y, to);
        int64_t from = of * p.y_c * p.y_size + (to - of * p.y_size);
#pragma unroll
        for (int i = 0; i < TM; i++) {
            int m = m0 + line_at<TM, BM>(ty, i);
            int64_t channel = (int64_t)group * p.m + m, y = from + channel * p.y_size;
            if (m < p.m)
                p.y[split * p.part + y] =
                    p.splits > 1 ? sum[i][j] : mc_cuda_finish(p.e, sum[i][j], channel, y);
        }
    }
}

struct mc_conv_geometry mc_conv_geometry_of(const struct mc_conv *c)
{
    struct mc_conv_geometry g;
    for (int d = 0; d < 3; d++) {
        g.in[d] = (int)c->in[d];
        g.out[d] = (int)c->out[d];
        g.kernel[d] = (int)c->kernel[d];
        g.stride[d] = (int)c->stride[d];
        g.dilation[d] = (int)c->dilation[d];
        g.pad[d] = (int)c->pad[d];
        g.div_stride[d] = mc_cuda_div_by(c->stride[d]);
    }
    g.in_size = g.in[0] * g.in[1] * g.in[2];
    g.out_size = g.out[0] * g.out[1] * g.out[2];
    g.taps = g.kernel[0] * g.kernel[1] * g.kernel[2];
    g.div_in = mc_cuda_div_by(g.in_size);
    g.div_in_plane = mc_cuda_div_by(g.in[1] * g.in[2]);
    g.div_in_row = mc_cuda_div_by(g.in[2]);
    g.div_out = mc_cuda_div_by(g.out_size);
    g.div_out_plane = mc_cuda_div_by(g.out[1] * g.out[2]);
    g.div_out_row = mc_cuda_div_by(g.out[2]);
    g.div_taps = mc_cuda_div_by(g.taps);
    g.div_tap_plane = mc_cuda_div_by(g.kernel[1] * g.kernel[2]);
    g.div_tap_row = mc_cuda_div_by(g.kernel[2]);
    return g;
}

static int64_t up(int64_t n, int64_t by)
{
    return (n + by - 1) / by;
}

enum {
    WANTED = 264, /* blocks: two for each of an H100's 132 multiprocessors */
    LEAST = 8,    /* steps of k worth a part of their own */
    PARTS_MOST = 16,
    PART_BYTES = 64 << 20,
};

/* Steps of k, and parts of the sum where there are too few tiles to keep a device busy: by the shape alone. */
template <bool BACK, bool TAPS, int BM, int BN, int BK, int TM, int TN>
static void run(struct tiles *p, int64_t groups, int64_t y_count, const struct mc_epilogue *e)
{
    p->steps_tap = (int)(TAPS ? up(p->kc, BK) : up((int64_t)p->kc * p->g.taps, BK));
    p->steps = TAPS ? p->steps_tap * p->g.taps : p->steps_tap;
    int64_t blocks = up(p->columns, BN) * up(p->m, BM) * groups;
    int64_t splits = blocks * 2 > WANTED ? 1 : up(WANTED, blocks);
    splits = splits > p->steps / (int)LEAST ? p->steps / (int)LEAST : splits;
    splits = splits > PARTS_MOST ? (int64_t)PARTS_MOST : splits;
    while (splits > 1 && splits * y_count * 4 > (int)PART_BYTES)
        splits--;
    float *y = p->y,
          *parts = splits > 1 ? (float *)mc_cuda_workspace((size_t)(splits * y_count) * 4) : NULL;
    if (splits > 1 && !parts)
        return;
    p->splits = (int)(splits > 1 ? splits : 1);
    p->part = y_count;
    p->y = parts ? parts : y;
    p->div_steps = mc_cuda_div_by(p->steps_tap);
    p->div_splits = mc_cuda_div_by(p->splits);
    dim3 grid((unsigned)up(p->columns, BN), (unsigned)up(p->m, BM), (unsigned)(groups * p->splits));
    struct tiles by_value = *p;
    MC_LAUNCH_SYNC((conv_tile<BACK, TAPS, BM, BN, BK, TM, TN>), grid, THREADS, 0, by_value);
    if (parts)
        mc_conv_join(e, p->columns / p->y_size, p->y_c, p->y_size, p->splits, parts, y);
}

template <bool BACK, bool TAPS>
static void choose(struct tiles *p, int64_t groups, int64_t y_count, const struct mc_epilogue *e)
{
    if (p->m > 64 && up(p->columns, 128) * up(p->m, 128) * groups * 2 >= WANTED)
        run<BACK, TAPS, 128, 128, 8, 8, 8>(p, groups, y_count, e);
    else if (p->m <= 32 && up(p->columns, 128) * groups * 2 > WANTED)
        run<BACK, TAPS, 32, 128, 16, 4, 4>(p, groups, y_count, e);
    else if (p->m > 32 && up(p->columns, 64) * up(p->m, 64) * groups * 2 > WANTED)
        run<BACK, TAPS, 64, 64, 16, 4, 4>(p, groups, y_count, e);
    else
        run<BACK, TAPS, 32, 32, 16, 2, 2>(p, groups, y_count, e);
}

void mc_conv_tiles(const struct mc_conv *c, bool back, const void *x, const void *w, void *y)
{
    int64_t ic = c->c / c->group, oc = c->oc / c->group;
    struct tiles p = {};
    p.g = mc_conv_geometry_of(c);
    p.x = (const float *)x;
    p.w = (const float *)w;
    p.y = (float *)y;
    p.x_size = back ? p.g.out_size : p.g.in_size;
    p.y_size = back ? p.g.in_size : p.g.out_size;
    p.columns = (int)(c->n * p.y_size);
    p.m = (int)(back ? ic : oc);
    p.kc = (int)(back ? oc : ic);
    p.x_c = back ? c->oc : c->c;
    p.y_c = back ? c->c : c->oc;
    p.w_m = back ? p.g.taps : ic * p.g.taps;
    p.w_k = back ? ic * p.g.taps : p.g.taps;
    p.w_group = oc * ic * p.g.taps;
    p.div_y = mc_cuda_div_by(p.y_size);
    p.e = mc_cuda_epilogue_of(&c->epilogue);
    int64_t count = c->n * p.y_c * p.y_size;
    if (count == 0)
        return;
    bool taps = p.kc >= 16; /* a step of k, or more */
    if (back)
        taps ? choose<true, true>(&p, c->group, count, &c->epilogue)
             : choose<true, false>(&p, c->group, count, &c->epilogue);
    else
        taps ? choose<false, true>(&p, c->group, count, &c->epilogue)
             : choose<false, false>(&p, c->group, count, &c->epilogue);
}

/* ---- what is done to whole results ---- */

static __global__ void finish(int64_t n, struct mc_cuda_div size, struct mc_cuda_div channels,
                              float *y, struct mc_cuda_epilogue e)
{
    for (int64_t i = MC_CUDA_INDEX_OF; i < n; i += MC_CUDA_STRIDE) {
        int plane = mc_conv_quotient(size, (int)i);
        int channel = plane - mc_conv_quotient(channels, plane) * (int)channels.d;
        y[i] = mc_cuda_finish(e, y[i], channel, i);
    }
}

void mc_conv_finish(const struct mc_epilogue *e, int64_t n, int64_t channels, int64_t size, void *y)
{
    int64_t count = n * channels * size;
    if (count == 0 || !mc_cuda_epilogue_any(e))
        return;
    MC_LAUNCH(finish, mc_cuda_blocks(count), MC_CUDA_THREADS, count, mc_cuda_div_by(size),
              mc_cuda_div_by(channels), (float *)y, mc_cuda_epilogue_of(e));
}

static __global__ void join(int64_t n, struct mc_cuda_div size, struct mc_cuda_div channels,
                            int parts, const float *part, float *y, struct mc_cuda_epilogue e)
{
    for (int64_t i = MC_CUDA_INDEX_OF; i < n; i += MC_CUDA_STRIDE) {
        int plane = mc_conv_quotient(size, (int)i);
        int channel = plane - mc_conv_quotient(channels, plane) * (int)channels.d;
        float sum = part[i];
        for (int p = 1; p < parts; p++)
            sum += part[p * n + i];
        y[i] = mc_cuda_finish(e, sum, channel, i);
    }
}

void mc_conv_join(const struct mc_epilogue *e, int64_t n, int64_t channels, int64_t size, int parts,
                  const float *part, void *y)
{
    int64_t count = n * channels * size;
    if (count > 0)
        MC_LAUNCH(join, mc_cuda_blocks(count), MC_CUDA_THREADS, count, mc_cuda_div_by(size),
                  mc_cuda_div_by(channels), parts, part, (float *)y, mc_cuda_epilogue_of(e));
}
