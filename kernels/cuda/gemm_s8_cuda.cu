/* Products and convolutions of 8-bit integers: a block makes a tile of sums, four products by one dp4a.
 *
 * Bytes without sign are 128 less inside, as their zero points are, so that all are signed:
 *     sum of (a - za) (b - zb) = sum of a b - za (sum of b) - zb (sum of a) + k za zb
 * The columns of B lie in words along k, zeros behind, their sums after them. Along k a convolution has the channels of a
 * group for each tap. Outside of an image, x is its zero point. */
#include "kernels/cuda/out_s8_cuda.h"

enum { SIDE = 16, DEPTH = 16, THREADS = SIDE * SIDE, FLIP = 0x80, ONES = 0x01010101 };

static __device__ __forceinline__ int dot(int a, int b, int sum)
{
    return __dp4a(a, b, sum);
}

/* ---- weights ---- */

/* Element (tap * per + channel, j) of B: channel * channel_step + tap * tap_step + j * column_step. */
struct byte_source {
    const uint8_t *data;
    bool is_signed;
    int64_t per, taps, channel_step, tap_step, column_step;
};

static __global__ void pack(struct byte_source b, int64_t columns, int64_t depth, uint32_t *to)
{
    for (int64_t i = MC_CUDA_INDEX_OF; i < columns * depth; i += MC_CUDA_STRIDE) {
        int64_t j = i / depth;
        uint32_t word = 0;
        for (int e = 0; e < 4; e++) {
            int64_t p = i % depth * 4 + e;
            if (p >= b.per * b.taps)
                break;
            uint32_t v =
                b.data[p % b.per * b.channel_step + p / b.per * b.tap_step + j * b.column_step];
            word |= (b.is_signed ? v : v ^ FLIP) << 8 * e;
        }
        to[i] = word;
    }
}

static __global__ void column_sums(int64_t columns, int64_t depth, const int *words, int *sums)
{
    for (int64_t j = MC_CUDA_INDEX_OF; j < columns; j += MC_CUDA_STRIDE) {
        int sum = 0;
        for (int64_t k = 0; k < depth; k++)
            sum = dot(words[j * depth + k], ONES, sum);
        sums[j] = sum;
    }
}

static int64_t words_of(int64_t k)
{
    return (k + 3) / 4;
}

static size_t packed_bytes(int64_t k, int64_t columns)
{
    return (size_t)(columns * (words_of(k) + 1)) * sizeof(int32_t);
}

static void run_pack(const struct byte_source &b, int64_t columns, void *dst)
{
    int64_t depth = words_of(b.per * b.taps);
    if (columns * depth > 0)
        MC_LAUNCH(pack, mc_cuda_blocks(columns * depth), MC_CUDA_THREADS, b, columns, depth,
                  (uint32_t *)dst);
    if (columns > 0)
        MC_LAUNCH(column_sums, mc_cuda_blocks(columns), MC_CUDA_THREADS, columns, depth,
                  (const int *)dst, (int *)dst + columns * depth);
}

/* ---- products ---- */

/* Rows are those of A, or places of the result in all images; columns those of B, or filters */
struct byte_product {
    int64_t rows, cols, row_tiles, column_tiles; /* cols, of a group */
    int64_t k, depth;                            /* bytes and words */
    const int *b, *b_sums;
    bool a_signed, b_signed;
    struct mc_s8_zero a_zero, b_zero; /* a_zero of matrices */
    int32_t x_zero;                   /* of images, 128 less without sign */
    struct mc_s8_out to;
    void *y;
    int64_t y_row; /* of a matrix */
    const uint8_t *a;
    int64_t a_row, a_col;
    /* of images */
    bool x_last, y_last; /* channels */
    int64_t channels, filters, per;
    int in[3], out[3], kernel[3], stride[3], dilation[3], pad[3];
};

struct place { /* of a row among images: of the first tap */
    int64_t image;
    int at[3];
};

static __device__ __forceinline__ struct place place_of(const struct byte_product &p, int64_t row)
{
    struct place r;
    int64_t size = (int64_t)p.out[0] * p.out[1] * p.out[2];
    int left = (int)(row % size);
    r.image = row / size;
    for (int d = 2; d >= 0; d--) {
        r.at[d] = left % p.out[d] * p.stride[d] - p.pad[d];
        left /= p.out[d];
    }
    return r;
}

/* Address of a channel under a tap, or NULL outside. */
static __device__ __forceinline__ const uint8_t *under(const struct byte_product &p,
                                                       const struct place &r, int64_t channel,
                                                       int64_t tap)
{
    int64_t at = 0, size = (int64_t)p.in[0] * p.in[1] * p.in[2];
    int k[3] = {(int)(tap / p.kernel[2] / p.kernel[1]), (int)(tap / p.kernel[2] % p.kernel[1]),
                (int)(tap % p.kernel[2])};
    for (int d = 0; d < 3; d++) {
        int i = r.at[d] + k[d] * p.dilation[d];
        if (i < 0 || i >= p.in[d])
            return NULL;
        at = at * p.in[d] + i;
    }
    return p.a + (p.x_last ? (r.image * size + at) * p.channels + channel
                           : (r.image * p.channels + channel) * size + at);
}

/* Word w of a row, of group g. */
static __device__ __forceinline__ int image_word(const struct byte_product &p,
                                                 const struct place &r, int64_t g, int64_t w)
{
    uint32_t word = 0, flip = p.a_signed ? 0 : FLIP;
    if (p.x_last && p.per % 4 == 0 && (uintptr_t)p.a % 4 == 0 && p.channels % 4 == 0) {
        const uint8_t *at = under(p, r, g * p.per + w * 4 % p.per, w * 4 / p.per);
        return at ? (int)(*(const uint32_t *)at ^ flip * ONES)
                  : (int)((uint32_t)(uint8_t)p.x_zero * ONES);
    }
    for (int e = 0; e < 4; e++) {
        int64_t i = w * 4 + e;
        if (i >= p.k)
            break;
        const uint8_t *at = under(p, r, g * p.per + i % p.per, i / p.per);
        word |= (at ? *at ^ flip : (uint32_t)(uint8_t)p.x_zero) << 8 * e;
    }
    return (int)word;
}

static __device__ __forceinline__ int matrix_word(const struct byte_product &p, int64_t row,
                                                  int64_t w)
{
    const uint8_t *at = p.a + row * p.a_row + w * 4 * p.a_col;
    uint32_t word = 0, flip = p.a_signed ? 0 : FLIP;
    if (p.a_col == 1 && (uintptr_t)at % 4 == 0 && w * 4 + 4 <= p.k)
        return (int)(*(const uint32_t *)at ^ flip * ONES);
    for (int e = 0; e < 4; e++)
        if (w * 4 + e < p.k)
            word |= (at[e * p.a_col] ^ flip) << 8 * e;
    return (int)word;
}

static __device__ __forceinline__ int32_t zero_at(const struct mc_s8_zero &z, bool is_signed,
                                                  int64_t i)
{
    return (z.value ? z.value[i * z.step] : 0) - (is_signed ? 0 : FLIP);
}

static __device__ __forceinline__ int64_t element(const struct byte_product &p, bool images,
                                                  int64_t row, int64_t channel)
{
    int64_t size = (int64_t)p.out[0] * p.out[1] * p.out[2];
    if (!images)
        return row * p.y_row + channel;
    return p.y_last ? row * p.filters + channel
                    : (row / size * p.filters + channel) * size + row % size;
}

template <int R> struct shared_words {
    int a[DEPTH][SIDE * R + 1], b[DEPTH][SIDE * R + 1];
    struct place place[SIDE * R];
};

#define ROW_OF(i) ((ACROSS ? tx : ty) + SIDE * (i))
#define COL_OF(j) ((ACROSS ? ty : tx) + SIDE * (j))

/* ACROSS: neighbours have one column, since the rows of y are its faster dimension. */
template <int R, bool IMAGES, bool ACROSS>
static __global__ void __launch_bounds__(THREADS) multiply(struct byte_product p)
{
    enum { TILE = SIDE * R };
    MC_SHARED(struct shared_words<R>, s);
    int t = (int)threadIdx.x, tx = t % SIDE, ty = t / SIDE;
    int64_t tile = blockIdx.x, col0 = tile % p.column_tiles * TILE;
    int64_t row0 = tile / p.column_tiles % p.row_tiles * TILE;
    int64_t group = tile / p.column_tiles / p.row_tiles, first = group * p.cols;
    bool rows_count = p.b_zero.value || !p.b_signed; /* their sums do */
    bool along_rows = IMAGES && !p.x_last;
    if (IMAGES && t < TILE)
        s->place[t] = place_of(p, row0 + t < p.rows ? row0 + t : p.rows - 1);
    int sum[R][R] = {}, row_sum[R] = {};
    for (int64_t k0 = 0; k0 < p.depth; k0 += DEPTH) {
        __syncthreads();
        for (int i = t; i < DEPTH * TILE; i += THREADS) {
            int k = i % DEPTH, j = i / DEPTH;
            bool there = col0 + j < p.cols && k0 + k < p.depth;
            s->b[k][j] = there ? p.b[(first + col0 + j) * p.depth + k0 + k] : 0;
        }
        for (int i = t; i < DEPTH * TILE; i += THREADS) {
            int k = along_rows ? i / TILE : i % DEPTH, j = along_rows ? i % TILE : i / DEPTH;
            bool there = row0 + j < p.rows && k0 + k < p.depth;
            s->a[k][j] = !there   ? 0
                         : IMAGES ? image_word(p, s->place[j], group, k0 + k)
                                  : matrix_word(p, row0 + j, k0 + k);
        }
        __syncthreads();
#ifndef MC_CUDA_SIM
#pragma unroll
#endif
        for (int k = 0; k < DEPTH; k++) {
            int a[R], b[R];
            for (int i = 0; i < R; i++) {
                a[i] = s->a[k][ROW_OF(i)];
                b[i] = s->b[k][COL_OF(i)];
            }
            for (int i = 0; i < R; i++)
                for (int j = 0; j < R; j++)
                    sum[i][j] = dot(a[i], b[j], sum[i][j]);
            for (int i = 0; i < R && rows_count; i++)
                row_sum[i] = dot(a[i], ONES, row_sum[i]);
        }
    }
    for (int j = 0; j < R; j++) {
        int64_t col = col0 + COL_OF(j), channel = first + col;
        if (col >= p.cols)
            continue;
        uint32_t b_zero = (uint32_t)zero_at(p.b_zero, p.b_signed, channel);
        uint32_t b_sum = (uint32_t)p.b_sums[channel];
        for (int i = 0; i < R; i++) {
            int64_t row = row0 + ROW_OF(i);
            if (row >= p.rows)
                continue;
            uint32_t a_zero = (uint32_t)(IMAGES ? p.x_zero : zero_at(p.a_zero, p.a_signed, row));
            uint32_t v = (uint32_t)sum[i][j] - a_zero * b_sum - b_zero * (uint32_t)row_sum[i] +
                         (uint32_t)p.k * a_zero * b_zero;
            mc_cuda_put(p.to, v, channel, p.y, element(p, IMAGES, row, channel));
        }
    }
}

/* Groups of few filters: a result each thread. */
static __global__ void multiply_few(struct byte_product p, int64_t count)
{
    int64_t size = (int64_t)p.out[0] * p.out[1] * p.out[2];
    for (int64_t i = MC_CUDA_INDEX_OF; i < count; i += MC_CUDA_STRIDE) {
        int64_t channel = p.y_last ? i % p.filters : i / size % p.filters;
        int64_t row = p.y_last ? i / p.filters : i / size / p.filters * size + i % size;
        int64_t group = channel / p.cols;
        struct place r = place_of(p, row);
        const int8_t *w = (const int8_t *)(p.b + channel * p.depth);
        int32_t w_zero = zero_at(p.b_zero, p.b_signed, channel);
        int32_t flip = p.a_signed ? 0 : FLIP;
        uint32_t sum = 0;
        for (int64_t tap = 0, at = 0; at < p.k; tap++)
            for (int64_t c = 0; c < p.per; c++, at++) {
                const uint8_t *x = under(p, r, group * p.per + c, tap);
                if (x)
                    sum += (uint32_t)((mc_cuda_byte(x, p.a_signed, 0) - flip - p.x_zero) *
                                      (w[at] - w_zero));
            }
        mc_cuda_put(p.to, sum, channel, p.y, i);
    }
}

template <bool IMAGES, bool ACROSS> static void launch(struct byte_product p, int64_t groups)
{
    int64_t large = (p.rows + 63) / 64 * ((p.cols + 63) / 64) * groups;
    int64_t side = large >= 2 * mc_cuda_now()->info.processors ? 64 : 32;
    p.row_tiles = (p.rows + side - 1) / side;
    p.column_tiles = (p.cols + side - 1) / side;
    unsigned blocks = (unsigned)(p.row_tiles * p.column_tiles * groups);
    if (side == 64)
        MC_LAUNCH_SYNC((multiply<4, IMAGES, ACROSS>), blocks, THREADS,
                       sizeof(struct shared_words<4>), p);
    else
        MC_LAUNCH_SYNC((multiply<2, IMAGES, ACROSS>), blocks, THREADS,
                       sizeof(struct shared_words<2>), p);
}

static size_t pack_b_bytes(int64_t k, int64_t n)
{
    return packed_bytes(k, n);
}

static void pack_b(int64_t k, int64_t n, const struct mc_s8_side *b, void *dst, struct mc_pool *)
{
    struct byte_source s = {
        (const uint8_t *)b->data, b->is_signed, k > 0 ? k : 1, k > 0, b->row, 0, b->col};
    run_pack(s, n, dst);
}

static size_t no_scratch(int64_t, int64_t, int64_t, int)
{
    return 0;
}

static void run_gemm(const struct mc_gemm_s8 *g, void *, struct mc_pool *)
{
    struct byte_product p = {};
    p.rows = g->m;
    p.cols = g->n;
    p.k = g->k;
    p.depth = words_of(g->k);
    p.b = (const int *)g->packed_b;
    p.b_sums = p.b + g->n * p.depth;
    p.a_signed = g->a.is_signed;
    p.b_signed = g->b_signed;
    p.a_zero = g->a_zero;
    p.b_zero = g->b_zero;
    p.to = g->to;
    p.y = g->c;
    p.y_row = g->c_row;
    p.a = (const uint8_t *)g->a.data;
    p.a_row = g->a.row;
    p.a_col = g->a.col;
    if (g->m > 0 && g->n > 0)
        launch<false, false>(p, 1);
}

static int64_t taps_of(const struct mc_conv_s8 *c)
{
    return c->kernel[0] * c->kernel[1] * c->kernel[2];
}

static size_t pack_w_bytes(const struct mc_conv_s8 *c)
{
    return packed_bytes(taps_of(c) * (c->c / c->group), c->oc);
}

static void pack_w(const struct mc_conv_s8 *c, const void *w, void *dst, struct mc_pool *)
{
    int64_t taps = taps_of(c), per = c->c / c->group;
    struct byte_source s = {(const uint8_t *)w, c->w_signed, per, taps, taps, 1, per * taps};
    run_pack(s, c->oc, dst);
}

static size_t no_conv_scratch(const struct mc_conv_s8 *, int)
{
    return 0;
}

enum { FEW = 8 }; /* filters of a group, up to which most of a tile would be idle */

static void run_conv(const struct mc_conv_s8 *c, void *, struct mc_pool *)
{
    struct byte_product p = {};
    int64_t size = c->out[0] * c->out[1] * c->out[2];
    p.rows = c->n * size;
    p.per = c->c / c->group;
    p.cols = c->oc / c->group;
    p.k = taps_of(c) * p.per;
    p.depth = words_of(p.k);
    p.b = (const int *)c->packed_w;
    p.b_sums = p.b + c->oc * p.depth;
    p.a_signed = c->x_signed;
    p.b_signed = c->w_signed;
    p.b_zero = c->w_zero;
    p.x_zero = c->x_zero - (c->x_signed ? 0 : FLIP);
    p.to = c->to;
    p.y = c->y;
    p.a = (const uint8_t *)c->x;
    p.x_last = c->x_layout == MC_S8_NHWC;
    p.y_last = c->y_layout == MC_S8_NHWC;
    p.channels = c->c;
    p.filters = c->oc;
    for (int d = 0; d < 3; d++) {
        p.in[d] = (int)c->in[d];
        p.out[d] = (int)c->out[d];
        p.kernel[d] = (int)c->kernel[d];
        p.stride[d] = (int)c->stride[d];
        p.dilation[d] = (int)c->dilation[d];
        p.pad[d] = (int)c->pad[d];
    }
    int64_t count = p.rows * p.filters;
    if (count <= 0)
        return;
    if (p.cols <= FEW && c->group > 1)
        MC_LAUNCH(multiply_few, mc_cuda_blocks(count), MC_CUDA_THREADS, p, count);
    else if (p.y_last)
        launch<true, false>(p, c->group);
    else
        launch<true, true>(p, c->group);
}

void mc_gemm_s8_fill_cuda(struct mc_kernels *k)
{
    k->gemm_s8.pack_b_bytes = pack_b_bytes;
    k->gemm_s8.pack_b = pack_b;
    k->gemm_s8.scratch_bytes = no_scratch;
    k->gemm_s8.run = run_gemm;
    k->conv_s8.pack_w_bytes = pack_w_bytes;
    k->conv_s8.pack_w = pack_w;
    k->conv_s8.scratch_bytes = no_conv_scratch;
    k->conv_s8.run = run_conv;
}
