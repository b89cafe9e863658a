/* Products of signs: a block makes a tile of sums, 32 products by an exclusive or and one count of bits.
 *
 * Threads of a block are 16 x 16, each with R x R sums in registers; words of both sides lie in shared memory by k, so that
 * neighbours read neighbours. A multiprocessor counts the bits of 16 words a clock, which is the limit: for each there are
 * an exclusive or, a sum and half a load of shared memory beside it. */
#include <climits>

#include "kernels/cuda/exact.h"

enum { SIDE = 16, DEPTH = 16, THREADS = SIDE * SIDE };

static __device__ __forceinline__ int bits_in(uint32_t v)
{
#ifdef MC_CUDA_SIM
    return __builtin_popcount(v);
#else
    return __popc(v);
#endif
}

/* ---- signs of floats ---- */

/* A byte of a row. */
static __global__ void pack_rows(struct mc_xnor_pack p, int64_t bytes, bool fours)
{
    const float *x = (const float *)p.x, *t = (const float *)p.threshold;
    for (int64_t i = MC_CUDA_INDEX_OF; i < p.rows * bytes; i += MC_CUDA_STRIDE) {
        int64_t row = i / bytes, from = i % bytes * 8;
        const float *at = x + row * p.x_row + from;
        float v[8];
        uint32_t bits = 0;
        int n = p.cols - from < 8 ? (int)(p.cols - from) : 8;
        if (fours && n == 8) {
            float4 low = *(const float4 *)at, high = *(const float4 *)(at + 4);
            v[0] = low.x, v[1] = low.y, v[2] = low.z, v[3] = low.w;
            v[4] = high.x, v[5] = high.y, v[6] = high.z, v[7] = high.w;
        } else {
            for (int j = 0; j < 8; j++)
                v[j] = j < n ? at[j] : 0;
        }
        for (int j = 0; j < 8; j++)
            if (j < n && !(v[j] < t[(from + j) * p.t_step]))
                bits |= 1u << j;
        p.bits[row * p.bits_row + i % bytes] = (uint8_t)bits;
    }
}

static void run_pack(const struct mc_xnor_pack *p, struct mc_pool *)
{
    int64_t bytes = MC_XNOR_BYTES(p->cols);
    bool fours = (uintptr_t)p->x % 16 == 0 && p->x_row % 4 == 0;
    if (p->rows * bytes > 0)
        MC_LAUNCH(pack_rows, mc_cuda_blocks(p->rows * bytes), MC_CUDA_THREADS, *p, bytes, fours);
}

/* A word of a pixel. */
static __global__ void pack_pixels(struct mc_xnor_image p, int64_t words)
{
    const float *x = (const float *)p.x, *t = (const float *)p.threshold;
    for (int64_t i = MC_CUDA_INDEX_OF; i < p.n * words * p.pixels; i += MC_CUDA_STRIDE) {
        int64_t pixel = i % p.pixels, word = i / p.pixels % words, image = i / p.pixels / words;
        int64_t channel = word * 32;
        int n = p.channels - channel < 32 ? (int)(p.channels - channel) : 32;
        const float *at = x + (image * p.channels + channel) * p.pixels + pixel;
        uint32_t bits = 0;
        for (int j = 0; j < n; j++)
            if (!(at[j * p.pixels] < t[(channel + j) * p.t_step]))
                bits |= 1u << j;
        p.bits[i] = bits;
    }
}

static void run_pack_image(const struct mc_xnor_image *p, struct mc_pool *)
{
    int64_t words = MC_XNOR_WORDS(p->channels), n = p->n * words * p->pixels;
    if (n > 0)
        MC_LAUNCH(pack_pixels, mc_cuda_blocks(n), MC_CUDA_THREADS, *p, words);
}

/* ---- weights: rows of words, of which the last has zeros behind k ---- */

/* taps 1: columns as they are; otherwise [channels, taps] to [taps, words of channels]. */
static __global__ void pack_weight(int64_t rows, int64_t channels, int64_t taps, int64_t words,
                                   int64_t bytes, const uint8_t *from, uint32_t *to)
{
    for (int64_t i = MC_CUDA_INDEX_OF; i < rows * taps * words; i += MC_CUDA_STRIDE) {
        int64_t word = i % words, tap = i / words % taps;
        const uint8_t *row = from + i / words / taps * bytes;
        uint32_t bits = 0;
        for (int j = 0; j < 32 && word * 32 + j < channels; j++) {
            int64_t at = (word * 32 + j) * taps + tap;
            bits |= (uint32_t)(row[at / 8] >> at % 8 & 1) << j;
        }
        to[i] = bits;
    }
}

static size_t b_bytes(int64_t k, int64_t n)
{
    return (size_t)(n * MC_XNOR_WORDS(k)) * sizeof(uint32_t);
}

static void pack_any(int64_t rows, int64_t channels, int64_t taps, const uint8_t *from, void *to)
{
    int64_t words = MC_XNOR_WORDS(channels), n = rows * taps * words;
    if (n > 0)
        MC_LAUNCH(pack_weight, mc_cuda_blocks(n), MC_CUDA_THREADS, rows, channels, taps, words,
                  MC_XNOR_BYTES(channels * taps), from, (uint32_t *)to);
}

static void run_pack_b(int64_t k, int64_t n, const uint8_t *rows, void *dst, struct mc_pool *)
{
    pack_any(n, k, 1, rows, dst);
}

static int64_t taps_of(const struct mc_xnor_conv *c)
{
    return c->kernel[0] * c->kernel[1];
}

static size_t w_bytes(const struct mc_xnor_conv *c)
{
    return (size_t)(c->filters * taps_of(c) * MC_XNOR_WORDS(c->channels)) * sizeof(uint32_t);
}

static void run_pack_w(const struct mc_xnor_conv *c, const uint8_t *rows, void *dst,
                       struct mc_pool *)
{
    pack_any(c->filters, c->channels, taps_of(c), rows, dst);
}

/* ---- products ---- */

/* Rows are those of A, or the output places of all images, columns those of B, or filters. */
struct sign_product {
    int64_t rows, cols, column_tiles;
    int depth;         /* words of k */
    const uint32_t *b; /* [cols, depth] */
    struct mc_xnor_out to;
    void *y;
    /* of a matrix */
    const uint8_t *a;
    int64_t a_row, a_bytes, y_row;
    int k;
    /* of images */
    const uint32_t *x;
    int channels, words, in[2], out[2], kernel[2], stride[2], dilation[2], pad[2];
};

struct place { /* of a row among images */
    int64_t image;
    int y, x; /* of the first tap */
};

static __device__ __forceinline__ struct place place_of(const struct sign_product &p, int64_t row)
{
    int pixels = p.out[0] * p.out[1], at = (int)(row % pixels);
    return {row / pixels, at / p.out[1] * p.stride[0] - p.pad[0],
            at % p.out[1] * p.stride[1] - p.pad[1]};
}

/* Word w of a row of bytes, which may begin anywhere. */
static __device__ __forceinline__ uint32_t row_word(const uint8_t *row, int64_t w, int64_t bytes)
{
    const uint8_t *at = row + 4 * w;
    if ((uintptr_t)at % 4 == 0 && 4 * w + 4 <= bytes)
        return *(const uint32_t *)at;
    uint32_t v = 0;
    for (int i = 0; i < 4; i++)
        if (4 * w + i < bytes)
            v |= (uint32_t)at[i] << 8 * i;
    return v;
}

/* Word k under the window at a place; false outside of the image. */
static __device__ __forceinline__ bool tap_word(const struct sign_product &p,
                                                const struct place &at, int k, uint32_t *ret)
{
    int tap = k / p.words, word = k % p.words;
    int y = at.y + tap / p.kernel[1] * p.dilation[0], x = at.x + tap % p.kernel[1] * p.dilation[1];
    if (y < 0 || y >= p.in[0] || x < 0 || x >= p.in[1])
        return false;
    *ret = p.x[((at.image * p.words + word) * p.in[0] + y) * p.in[1] + x];
    return true;
}

/* Taps inside along one dimension. */
static __device__ __forceinline__ int inside(const struct sign_product &p, int d, int from)
{
    int n = 0;
    for (int i = 0; i < p.kernel[d]; i++)
        n += from + i * p.dilation[d] >= 0 && from + i * p.dilation[d] < p.in[d];
    return n;
}

template <int R> struct shared_words {
    uint32_t a[DEPTH][SIDE * R + 1], b[DEPTH][SIDE * R + 1];
    uint32_t mask[DEPTH][SIDE * R + 1]; /* of images: ones inside */
    int32_t terms[SIDE * R];            /* of a row's sum */
    uint8_t sign[SIDE * R][SIDE * R + 4];
};

template <int R, bool IMAGES>
static __device__ __forceinline__ void load(const struct sign_product &p, struct shared_words<R> *s,
                                            const struct place &at, int64_t row0, int64_t col0,
                                            int k0)
{
    enum { TILE = SIDE * R };
    int t = (int)threadIdx.x;
    for (int i = t; i < DEPTH * TILE; i += THREADS) {
        int k = i % DEPTH, j = i / DEPTH;
        bool there = col0 + j < p.cols && k0 + k < p.depth;
        s->b[k][j] = there ? p.b[(col0 + j) * p.depth + k0 + k] : 0;
    }
    for (int i = t; i < DEPTH * TILE; i += THREADS) {
        int k = IMAGES ? i / TILE : i % DEPTH, j = IMAGES ? i % TILE : i / DEPTH;
        bool there = row0 + j < p.rows && k0 + k < p.depth;
        uint32_t word = 0;
        if (IMAGES) {
            there = there && tap_word(p, at, k0 + k, &word);
            s->mask[k][j] = there ? UINT_MAX : 0;
        } else if (there) {
            word = row_word(p.a + (row0 + j) * p.a_row, k0 + k, p.a_bytes);
        }
        s->a[k][j] = word;
    }
}

/* Elements of a tile that a thread has along rows, and along columns: the faster of y is the one of neighbours. */
#define ROW_OF(i) ((IMAGES ? tx : ty) + SIDE * (i))
#define COL_OF(j) ((IMAGES ? ty : tx) + SIDE * (j))

template <int R, bool IMAGES>
static __device__ __forceinline__ void give_floats(const struct sign_product &p, int64_t row0,
                                                   int64_t col0, const int (*sum)[R])
{
    int tx = (int)threadIdx.x % SIDE, ty = (int)threadIdx.x / SIDE;
    const float *scale = (const float *)p.to.scale, *bias = (const float *)p.to.bias;
    int64_t pixels = IMAGES ? (int64_t)p.out[0] * p.out[1] : 1;
    for (int j = 0; j < R; j++) {
        int64_t col = col0 + COL_OF(j);
        if (col >= p.cols)
            continue;
        float by = scale ? scale[col] : 1,
              then = bias ? bias[col] : -0.0F; /* which changes nothing */
        for (int i = 0; i < R; i++) {
            int64_t row = row0 + ROW_OF(i);
            if (row >= p.rows)
                continue;
            int64_t at = IMAGES ? (row / pixels * p.cols + col) * pixels + row % pixels
                                : row * p.y_row + col;
            ((float *)p.y)[at] = mc_add_rn(mc_mul_rn(by, (float)sum[i][j]), then);
        }
    }
}

template <int R, bool IMAGES>
static __device__ __forceinline__ void give_signs(const struct sign_product &p,
                                                  struct shared_words<R> *s, int64_t row0,
                                                  int64_t col0, const int (*sum)[R])
{
    enum { TILE = SIDE * R };
    int tx = (int)threadIdx.x % SIDE, ty = (int)threadIdx.x / SIDE;
    for (int j = 0; j < R; j++) {
        int64_t col = col0 + COL_OF(j);
        bool there = col < p.cols;
        int32_t least = there ? p.to.least[col] : 1, most = there ? p.to.most[col] : 0;
        for (int i = 0; i < R; i++)
            s->sign[ROW_OF(i)][COL_OF(j)] = there && least <= sum[i][j] && sum[i][j] <= most;
    }
    __syncthreads();
    enum { LONG = IMAGES ? 32 : 8, PARTS = TILE / LONG };
    int64_t pixels = IMAGES ? (int64_t)p.out[0] * p.out[1] : 1, parts = (p.cols + LONG - 1) / LONG;
    for (int e = (int)threadIdx.x; e < TILE * PARTS; e += THREADS) {
        int i = IMAGES ? e % TILE : e / PARTS, part = IMAGES ? e / TILE : e % PARTS;
        int64_t row = row0 + i, at = col0 / LONG + part;
        uint32_t bits = 0;
        for (int j = 0; j < LONG; j++)
            bits |= (uint32_t)s->sign[i][part * LONG + j] << j;
        if (row >= p.rows || at >= parts)
            continue;
        if (IMAGES)
            ((uint32_t *)p.y)[(row / pixels * parts + at) * pixels + row % pixels] = bits;
        else
            ((uint8_t *)p.y)[row * p.y_row + at] = (uint8_t)bits;
    }
}

template <int R, bool IMAGES>
static __global__ void __launch_bounds__(THREADS) multiply(struct sign_product p)
{
    enum { TILE = SIDE * R };
    MC_SHARED(struct shared_words<R>, s);
    int t = (int)threadIdx.x, tx = t % SIDE, ty = t / SIDE;
    int64_t row0 = blockIdx.x / p.column_tiles * TILE, col0 = blockIdx.x % p.column_tiles * TILE;
    struct place at = {0, 0, 0};
    if (IMAGES && row0 + t % TILE < p.rows)
        at = place_of(p, row0 + t % TILE);
    if (t < TILE) /* the thread of its row */
        s->terms[t] = IMAGES ? inside(p, 0, at.y) * inside(p, 1, at.x) * p.channels : p.k;
    int differ[R][R] = {};
    for (int k0 = 0; k0 < p.depth; k0 += DEPTH) {
        load<R, IMAGES>(p, s, at, row0, col0, k0);
        __syncthreads();
#ifndef MC_CUDA_SIM
#pragma unroll
#endif
        for (int k = 0; k < DEPTH; k++) {
            uint32_t a[R], b[R], mask[R];
            for (int i = 0; i < R; i++) {
                a[i] = s->a[k][ROW_OF(i)];
                b[i] = s->b[k][COL_OF(i)];
                mask[i] = IMAGES ? s->mask[k][ROW_OF(i)] : UINT_MAX;
            }
            for (int i = 0; i < R; i++)
                for (int j = 0; j < R; j++)
                    differ[i][j] += bits_in((a[i] ^ b[j]) & mask[i]);
        }
        __syncthreads();
    }
    if (p.depth == 0) /* terms were written by others */
        __syncthreads();
    int sum[R][R];
    for (int i = 0; i < R; i++)
        for (int j = 0; j < R; j++)
            sum[i][j] = s->terms[ROW_OF(i)] - 2 * differ[i][j];
    if (p.to.least)
        give_signs<R, IMAGES>(p, s, row0, col0, sum);
    else
        give_floats<R, IMAGES>(p, row0, col0, sum);
}

/* Large tiles read less, small ones fill the card. */
template <bool IMAGES> static void launch(struct sign_product p)
{
    int64_t large = (p.rows + 63) / 64 * ((p.cols + 63) / 64);
    if (p.rows <= 0 || p.cols <= 0)
        return;
    if (large >= 2 * mc_cuda_now()->info.processors) {
        p.column_tiles = (p.cols + 63) / 64;
        MC_LAUNCH_SYNC((multiply<4, IMAGES>), (unsigned)large, THREADS,
                       sizeof(struct shared_words<4>), p);
    } else {
        p.column_tiles = (p.cols + 31) / 32;
        MC_LAUNCH_SYNC((multiply<2, IMAGES>), (unsigned)((p.rows + 31) / 32 * p.column_tiles),
                       THREADS, sizeof(struct shared_words<2>), p);
    }
}

static size_t no_scratch(int64_t, int64_t, int64_t, int)
{
    return 0;
}

static void run_gemm(const struct mc_xnor_gemm *g, void *, struct mc_pool *)
{
    struct sign_product p = {};
    p.rows = g->m;
    p.cols = g->n;
    p.depth = (int)MC_XNOR_WORDS(g->k);
    p.b = (const uint32_t *)g->packed_b;
    p.to = g->to;
    p.y = g->y;
    p.a = g->a;
    p.a_row = g->a_row;
    p.a_bytes = MC_XNOR_BYTES(g->k);
    p.y_row = g->y_row;
    p.k = (int)g->k;
    launch<false>(p);
}

static size_t no_conv_scratch(const struct mc_xnor_conv *, int)
{
    return 0;
}

static void run_conv(const struct mc_xnor_conv *c, void *, struct mc_pool *)
{
    struct sign_product p = {};
    p.rows = c->n * c->out[0] * c->out[1];
    p.cols = c->filters;
    p.words = (int)MC_XNOR_WORDS(c->channels);
    p.depth = (int)taps_of(c) * p.words;
    p.b = (const uint32_t *)c->packed_w;
    p.to = c->to;
    p.y = c->y;
    p.x = c->x;
    p.channels = (int)c->channels;
    for (int d = 0; d < 2; d++) {
        p.in[d] = (int)c->in[d];
        p.out[d] = (int)c->out[d];
        p.kernel[d] = (int)c->kernel[d];
        p.stride[d] = (int)c->stride[d];
        p.dilation[d] = (int)c->dilation[d];
        p.pad[d] = (int)c->pad[d];
    }
    launch<true>(p);
}

/* ---- from one product to the next ---- */

/* The word of channels of a pooled place. */
static __device__ __forceinline__ uint32_t pooled(const struct mc_xnor_hand &h, int64_t plane,
                                                  int64_t word, int64_t pixel)
{
    const uint32_t *from = h.bits + plane * h.in[0] * h.in[1];
    uint32_t any = 0;
    int64_t y0 = pixel / h.out[1] * h.stride[0] - h.pad[0];
    int64_t x0 = pixel % h.out[1] * h.stride[1] - h.pad[1];
    for (int64_t i = 0; i < h.kernel[0]; i++)
        for (int64_t j = 0; j < h.kernel[1]; j++) {
            int64_t y = y0 + i * h.dilation[0], x = x0 + j * h.dilation[1];
            if (y >= 0 && y < h.in[0] && x >= 0 && x < h.in[1])
                any |= from[y * h.in[1] + x];
        }
    return h.turned ? any ^ h.turned[word] : any;
}

static __global__ void hand_words(struct mc_xnor_hand h, int64_t words)
{
    int64_t pixels = h.out[0] * h.out[1];
    for (int64_t i = MC_CUDA_INDEX_OF; i < h.n * words * pixels; i += MC_CUDA_STRIDE)
        ((uint32_t *)h.to)[i] = pooled(h, i / pixels, i / pixels % words, i % pixels);
}

/* A byte of the row of an image: channel by channel. */
static __global__ void hand_rows(struct mc_xnor_hand h, int64_t words)
{
    int64_t pixels = h.out[0] * h.out[1], bytes = MC_XNOR_BYTES(h.channels * pixels);
    for (int64_t i = MC_CUDA_INDEX_OF; i < h.n * bytes; i += MC_CUDA_STRIDE) {
        uint32_t bits = 0;
        for (int j = 0; j < 8; j++) {
            int64_t at = i % bytes * 8 + j, channel = at / pixels, word = channel / 32;
            if (channel >= h.channels)
                break;
            uint32_t v = pooled(h, i / bytes * words + word, word, at % pixels);
            bits |= (v >> channel % 32 & 1) << j;
        }
        ((uint8_t *)h.to)[i] = (uint8_t)bits;
    }
}

static void run_hand(const struct mc_xnor_hand *h, struct mc_pool *)
{
    int64_t words = MC_XNOR_WORDS(h->channels), pixels = h->out[0] * h->out[1];
    int64_t n = h->n * (h->flat ? MC_XNOR_BYTES(h->channels * pixels) : words * pixels);
    if (n <= 0)
        return;
    if (h->flat)
        MC_LAUNCH(hand_rows, mc_cuda_blocks(n), MC_CUDA_THREADS, *h, words);
    else
        MC_LAUNCH(hand_words, mc_cuda_blocks(n), MC_CUDA_THREADS, *h, words);
}

void mc_xnor_fill_cuda(struct mc_kernels *k)
{
    struct mc_xnor_kernels *x = &k->xnor;
    x->pack = run_pack;
    x->pack_image = run_pack_image;
    x->pack_b_bytes = b_bytes;
    x->pack_b = run_pack_b;
    x->scratch_bytes = no_scratch;
    x->gemm = run_gemm;
    x->pack_w_bytes = w_bytes;
    x->pack_w = run_pack_w;
    x->conv_scratch_bytes = no_conv_scratch;
    x->conv = run_conv;
    x->hand = run_hand;
}
