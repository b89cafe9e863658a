#include "kernels/cuda/out_s8_cuda.h"

enum { THREADS = MC_CUDA_THREADS, TILE = 32 };

static __global__ void pair(struct mc_pair_s8 p, bool product)
{
    for (int64_t i = MC_CUDA_INDEX_OF; i < p.n; i += MC_CUDA_STRIDE) {
        int32_t a = mc_cuda_byte(p.a, p.a_signed, i) - p.a_zero;
        int32_t b = mc_cuda_byte(p.b, p.b_signed, i * p.b_step) - p.b_zero;
        float v = product
                      ? mc_mul_rn((float)(a * b), p.a_scale)
                      : mc_add_rn(mc_mul_rn((float)a, p.a_scale), mc_mul_rn((float)b, p.b_scale));
        ((uint8_t *)p.y)[i] = (uint8_t)mc_cuda_round(v, p.zero, p.lo, p.hi);
    }
}

static void run_add(const struct mc_pair_s8 *p)
{
    if (p->n > 0)
        MC_LAUNCH(pair, mc_cuda_blocks(p->n), THREADS, *p, false);
}

static void run_mul(const struct mc_pair_s8 *p)
{
    if (p->n > 0)
        MC_LAUNCH(pair, mc_cuda_blocks(p->n), THREADS, *p, true);
}

static __global__ void look_up(int64_t n, const uint8_t *x, const uint8_t *table, uint8_t *y)
{
    for (int64_t i = MC_CUDA_INDEX_OF; i < n; i += MC_CUDA_STRIDE)
        y[i] = table[x[i]];
}

static void run_look_up(int64_t n, const uint8_t *x, const uint8_t table[256], uint8_t *y)
{
    if (n > 0)
        MC_LAUNCH(look_up, mc_cuda_blocks(n), THREADS, n, x, table, y);
}

/* A result. */
static __global__ void pool(struct mc_pool_s8 p, int64_t size, int64_t n)
{
    for (int64_t i = MC_CUDA_INDEX_OF; i < n; i += MC_CUDA_STRIDE) {
        bool last = p.layout == MC_S8_NHWC;
        int64_t ch = last ? i % p.c : i / size % p.c, at = last ? i / p.c % size : i % size;
        int64_t image = i / p.c / size, from[3], k[3], places = p.in[0] * p.in[1] * p.in[2];
        int64_t inside = 0, counted = 0;
        int32_t sum = 0, most = p.x_signed ? -128 : 0;
        for (int d = 2; d >= 0; d--) {
            from[d] = at % p.out[d] * p.stride[d] - p.pad[d];
            at /= p.out[d];
        }
        for (k[0] = 0; k[0] < p.kernel[0]; k[0]++)
            for (k[1] = 0; k[1] < p.kernel[1]; k[1]++)
                for (k[2] = 0; k[2] < p.kernel[2]; k[2]++) {
                    bool in = true, padded = true;
                    int64_t x = 0;
                    for (int d = 0; d < 3; d++) {
                        int64_t v = from[d] + k[d] * p.dilation[d];
                        in = in && v >= 0 && v < p.in[d];
                        padded = padded && v < p.in[d] + p.end[d];
                        x = x * p.in[d] + v;
                    }
                    counted += padded;
                    if (!in)
                        continue;
                    inside++;
                    x = last ? (image * places + x) * p.c + ch : (image * p.c + ch) * places + x;
                    int32_t v = mc_cuda_byte(p.x, p.x_signed, x);
                    sum += v - p.x_zero;
                    most = v > most ? v : most;
                }
        if (p.average) {
            int64_t count = p.count_pad ? counted : inside;
            float by = mc_div_rn(p.scale, (float)(count > 0 ? count : 1));
            most = mc_cuda_round(mc_mul_rn((float)sum, by), p.zero, p.lo, p.hi);
        }
        ((uint8_t *)p.y)[i] = (uint8_t)most;
    }
}

static void run_pool(const struct mc_pool_s8 *p, struct mc_pool *)
{
    int64_t size = p->out[0] * p->out[1] * p->out[2], n = p->n * p->c * size;
    if (n > 0)
        MC_LAUNCH(pool, mc_cuda_blocks(n), THREADS, *p, size, n);
}

struct tile {
    uint8_t at[TILE][TILE + 1];
};

/* A block has a tile of an image, 8 rows of threads. */
static __global__ void transpose(int64_t tiles, int64_t rows, int64_t cols, const uint8_t *x,
                                 uint8_t *y)
{
    MC_SHARED(struct tile, s);
    int tx = (int)threadIdx.x % TILE, ty = (int)threadIdx.x / TILE;
    int64_t across = (cols + TILE - 1) / TILE, down = (rows + TILE - 1) / TILE;
    for (int64_t t = blockIdx.x; t < tiles; t += gridDim.x) {
        int64_t c0 = t % across * TILE, r0 = t / across % down * TILE;
        int64_t image = t / across / down * rows * cols;
        for (int i = ty; i < TILE; i += THREADS / TILE)
            if (r0 + i < rows && c0 + tx < cols)
                s->at[i][tx] = x[image + (r0 + i) * cols + c0 + tx];
        __syncthreads();
        for (int i = ty; i < TILE; i += THREADS / TILE)
            if (c0 + i < cols && r0 + tx < rows)
                y[image + (c0 + i) * rows + r0 + tx] = s->at[tx][i];
        __syncthreads();
    }
}

static void run_transpose(int64_t n, int64_t rows, int64_t cols, const uint8_t *x, uint8_t *y,
                          struct mc_pool *)
{
    int64_t tiles = n * ((rows + TILE - 1) / TILE) * ((cols + TILE - 1) / TILE);
    unsigned blocks = tiles < MC_CUDA_BLOCKS_MOST ? (unsigned)tiles : (unsigned)MC_CUDA_BLOCKS_MOST;
    if (tiles > 0)
        MC_LAUNCH_SYNC(transpose, blocks, THREADS, sizeof(struct tile), tiles, rows, cols, x, y);
}

void mc_rows_s8_fill_cuda(struct mc_kernels *k)
{
    k->rows_s8.add = run_add;
    k->rows_s8.mul = run_mul;
    k->rows_s8.look_up = run_look_up;
    k->rows_s8.pool = run_pool;
    k->rows_s8.transpose = run_transpose;
}
