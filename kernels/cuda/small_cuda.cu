#include "kernels/cuda/cuda.h"

enum { THREADS = MC_CUDA_THREADS, BOOK = 256, CHUNKS_MOST = 256, PIECE = 1024 };

/* ---- signs with a scale ---- */

static __global__ void binary(struct mc_small_binary b, int64_t bytes)
{
    for (int64_t i = MC_CUDA_INDEX_OF; i < b.rows * b.columns; i += MC_CUDA_STRIDE) {
        int64_t row = i / b.columns, c = i % b.columns;
        float s = ((const float *)b.scale)[row];
        ((float *)b.w)[i] = b.bits[row * bytes + c / 8] >> c % 8 & 1 ? s : -s;
    }
}

static void run_binary(const struct mc_small_binary *b, struct mc_pool *)
{
    if (b->rows * b->columns > 0)
        MC_LAUNCH(binary, mc_cuda_blocks(b->rows * b->columns), THREADS, *b, (b->columns + 7) / 8);
}

/* The sum of a block's threads, whose lanes are `apart` threads from each other; for all of them. */
static __device__ double sum_of(double *part, double mine, int apart)
{
    int t = (int)threadIdx.x;
    part[t] = mine;
    __syncthreads();
    for (int half = THREADS / 2; half >= apart; half /= 2) {
        if (t < half)
            part[t] += part[t + half];
        __syncthreads();
    }
    double sum = part[t % apart];
    __syncthreads();
    return sum;
}

/* A block a row. */
static __global__ void binary_gradient(struct mc_small_binary b, int64_t bytes)
{
    MC_SHARED(double, part);
    for (int64_t row = blockIdx.x; row < b.rows; row += gridDim.x) {
        const float *d = (const float *)b.w + row * b.columns;
        double sum = 0;
        for (int64_t c = threadIdx.x; c < b.columns; c += THREADS) {
            bool plus = b.bits[row * bytes + c / 8] >> c % 8 & 1;
            sum += (double)(plus ? d[c] : -d[c]);
        }
        sum = sum_of(part, sum, 1);
        if (threadIdx.x == 0)
            ((float *)b.sums)[row] = (float)sum;
    }
}

static unsigned block_each(int64_t n)
{
    return n < MC_CUDA_BLOCKS_MOST ? (unsigned)n : (unsigned)MC_CUDA_BLOCKS_MOST;
}

static void run_binary_gradient(const struct mc_small_binary *b, struct mc_pool *)
{
    if (b->rows > 0)
        MC_LAUNCH_SYNC(binary_gradient, block_each(b->rows), THREADS, THREADS * sizeof(double), *b,
                       (b->columns + 7) / 8);
}

/* ---- indices into a codebook ---- */

static __device__ int index_at(const struct mc_small_shared &s, int64_t i)
{
    if (!s.planes) {
        int64_t bit = i * s.bits;
        return s.index[bit / 8] >> bit % 8 & ((1 << s.bits) - 1);
    }
    int v = 0;
    for (int p = 0; p < s.bits; p++)
        v |= (s.index[p * ((s.count + 7) / 8) + i / 8] >> i % 8 & 1) << p;
    return v;
}

static __global__ void shared(struct mc_small_shared s)
{
    for (int64_t i = MC_CUDA_INDEX_OF; i < s.count; i += MC_CUDA_STRIDE)
        ((float *)s.w)[i] = ((const float *)s.book)[index_at(s, i)];
}

static void run_shared(const struct mc_small_shared *s, struct mc_pool *)
{
    if (s->count > 0)
        MC_LAUNCH(shared, mc_cuda_blocks(s->count), THREADS, *s);
}

struct piece {
    float d[PIECE];
    uint8_t index[PIECE];
};

/* The sums of a chunk by index. A thread has one index, or shares it with others that take every other weight. */
static __global__ void shared_sums(struct mc_small_shared s, int64_t chunk, double *sums)
{
    MC_SHARED(struct piece, p);
    int t = (int)threadIdx.x, books = 1 << s.bits, mine = t % books, lane = t / books;
    int64_t from = blockIdx.x * chunk, end = from + chunk < s.count ? from + chunk : s.count;
    double sum = 0;
    for (; from < end; from += PIECE) {
        int n = end - from < PIECE ? (int)(end - from) : PIECE;
        for (int i = t; i < n; i += THREADS) {
            p->d[i] = ((const float *)s.w)[from + i];
            p->index[i] = (uint8_t)index_at(s, from + i);
        }
        __syncthreads();
        for (int i = lane; i < n; i += THREADS / books)
            if (p->index[i] == mine)
                sum += (double)p->d[i];
        __syncthreads();
    }
    sum = sum_of((double *)p, sum, books);
    if (t < books)
        sums[blockIdx.x * BOOK + t] = sum;
}

static __global__ void shared_total(int books, int64_t chunks, const double *sums, float *total)
{
    int i = (int)MC_CUDA_INDEX_OF;
    double sum = 0;
    for (int64_t c = 0; c < chunks && i < books; c++)
        sum += sums[c * BOOK + i];
    if (i < books)
        total[i] = (float)sum;
}

static void run_shared_gradient(const struct mc_small_shared *s, struct mc_pool *)
{
    int64_t chunk = (s->count + CHUNKS_MOST - 1) / CHUNKS_MOST;
    chunk = (chunk + PIECE - 1) / PIECE * PIECE;
    int64_t chunks = chunk > 0 ? (s->count + chunk - 1) / chunk : 0;
    double *sums = (double *)mc_cuda_workspace((size_t)(chunks + 1) * BOOK * sizeof *sums);
    if (!sums)
        return;
    if (chunks > 0)
        MC_LAUNCH_SYNC(shared_sums, (unsigned)chunks, THREADS, sizeof(struct piece), *s, chunk,
                       sums);
    MC_LAUNCH(shared_total, 1, BOOK, 1 << s->bits, chunks, (const double *)sums, (float *)s->sums);
}

/* ---- gates ---- */

static __global__ void gate(struct mc_small_gate g)
{
    int64_t n = g.groups * g.gates * g.rows * g.columns;
    for (int64_t i = MC_CUDA_INDEX_OF; i < n; i += MC_CUDA_STRIDE) {
        int64_t k = i % g.columns, row = i / g.columns % g.rows, at = i / g.columns / g.rows;
        float x = ((const float *)g.x)[(at / g.gates * g.rows + row) * g.columns + k];
        int64_t from = (at * g.scale_rows + (g.scale_rows > 1 ? row : 0)) * g.scale_cols;
        ((float *)g.y)[i] = x * ((const float *)g.scale)[from + (g.scale_cols > 1 ? k : 0)];
    }
}

static void run_gate(const struct mc_small_gate *g, struct mc_pool *)
{
    int64_t n = g->groups * g->gates * g->rows * g->columns;
    if (n > 0)
        MC_LAUNCH(gate, mc_cuda_blocks(n), THREADS, *g);
}

/* ---- while they are trained ---- */

/* A block has `side` neighbouring outputs, so that columns of a matrix are read in whole sectors. */
static __global__ void sign_weight(struct mc_small_sign s, int side)
{
    MC_SHARED(double, part);
    int lanes = THREADS / side, lane = (int)threadIdx.x / side;
    for (int64_t first = (int64_t)blockIdx.x * side; first < s.outputs;
         first += (int64_t)gridDim.x * side) {
        int64_t output = first + threadIdx.x % side;
        const float *w = (const float *)s.w + output * s.output_step;
        float *y = (float *)s.y + output * s.output_step;
        int64_t n = output < s.outputs ? s.n : 0;
        double sum = 0;
        for (int64_t i = lane; i < n; i += lanes)
            sum += (double)fabsf(w[i * s.step]);
        sum = sum_of(part, sum, side);
        float alpha = (float)(sum / (double)s.n);
        for (int64_t i = lane; i < n; i += lanes)
            y[i * s.step] = w[i * s.step] < 0 ? -alpha : alpha;
    }
}

static void run_sign_weight(const struct mc_small_sign *s, struct mc_pool *)
{
    int side = s->output_step == 1 && s->outputs > 1 ? 8 : 1;
    if (s->outputs > 0 && s->n > 0)
        MC_LAUNCH_SYNC(sign_weight, block_each((s->outputs + side - 1) / side), THREADS,
                       THREADS * sizeof(double), *s, side);
}

static __global__ void sign(int64_t n, const float *x, float *y)
{
    for (int64_t i = MC_CUDA_INDEX_OF; i < n; i += MC_CUDA_STRIDE)
        y[i] = x[i] < 0 ? -1.0F : 1.0F;
}

static void run_sign(int64_t n, const void *x, void *y, struct mc_pool *)
{
    if (n > 0)
        MC_LAUNCH(sign, mc_cuda_blocks(n), THREADS, n, (const float *)x, (float *)y);
}

void mc_small_fill_cuda(struct mc_kernels *k)
{
    k->small.binary = run_binary;
    k->small.binary_gradient = run_binary_gradient;
    k->small.shared = run_shared;
    k->small.shared_gradient = run_shared_gradient;
    k->small.gate = run_gate;
    k->small.sign_weight = run_sign_weight;
    k->small.sign = run_sign;
}
