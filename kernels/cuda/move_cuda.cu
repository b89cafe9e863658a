/* Moving bytes: strided copies, rows picked by index, fills. Elements are opaque. */
#include "kernels/cuda/walk.h"

enum {
    TILE = 32, /* of a transpose */
    TILE_ROWS = 8,
    MOST = 16, /* bytes moved by a thread at once */
};

struct alignas(16) wide {
    uint64_t part[2];
};
struct pair { /* the same where it is not aligned */
    uint64_t part[2];
};

/* Call F<type>(arguments…) for a type of this size and alignment. */
#define FOR_SIZE(bytes, aligned, F, ...)                                                           \
    switch (bytes) {                                                                               \
    case 1: F<uint8_t>(__VA_ARGS__); break;                                                        \
    case 2: F<uint16_t>(__VA_ARGS__); break;                                                       \
    case 4: F<uint32_t>(__VA_ARGS__); break;                                                       \
    case 8: F<uint64_t>(__VA_ARGS__); break;                                                       \
    default:                                                                                       \
        if (aligned)                                                                               \
            F<wide>(__VA_ARGS__);                                                                  \
        else                                                                                       \
            F<pair>(__VA_ARGS__);                                                                  \
    }

/* ---- strided copies ---- */

struct plan {
    int rank, elem;
    int64_t dim[MC_MOVE_RANK], stride[2][MC_MOVE_RANK]; /* of the source, of the destination */
    const char *src;
    char *dst;
    int across; /* dimension along which the source is dense, where it is not the last; or -1 */
};

static void swap_dims(struct plan *p, int a, int b)
{
    int64_t *const lists[] = {p->dim, p->stride[0], p->stride[1]};
    for (int i = 0; i < 3; i++) {
        int64_t kept = lists[i][a];
        lists[i][a] = lists[i][b];
        lists[i][b] = kept;
    }
}

/* The destination is walked in its own order, so that writes are neighbours; larger elements where both sides allow
 * it; a dimension that the source walks densely. */
static void make_plan(const struct mc_move *m, struct plan *p)
{
    p->rank = m->rank;
    p->elem = m->elem_bytes;
    p->src = (const char *)m->src;
    p->dst = (char *)m->dst;
    memcpy(p->dim, m->dim, sizeof p->dim);
    memcpy(p->stride[0], m->src_stride, sizeof p->stride[0]);
    memcpy(p->stride[1], m->dst_stride, sizeof p->stride[1]);
    p->rank = mc_move_merge(p->rank, p->dim, 2, p->stride);
    for (int i = 1; i < p->rank; i++)
        for (int d = i; d > 0 && p->stride[1][d] > p->stride[1][d - 1]; d--)
            swap_dims(p, d, d - 1);
    p->rank = mc_move_merge(p->rank, p->dim, 2, p->stride);
    int last = p->rank - 1;
    while (p->elem < MOST && p->stride[0][last] == 1 && p->stride[1][last] == 1) {
        bool twice = p->dim[last] % 2 == 0 && mc_cuda_aligned(p->src, 2 * p->elem) &&
                     mc_cuda_aligned(p->dst, 2 * p->elem);
        for (int d = 0; d < last; d++)
            twice = twice && p->stride[0][d] % 2 == 0 && p->stride[1][d] % 2 == 0;
        if (!twice)
            break;
        p->elem *= 2;
        p->dim[last] /= 2;
        for (int d = 0; d < last; d++) {
            p->stride[0][d] /= 2;
            p->stride[1][d] /= 2;
        }
    }
    p->across = -1;
    for (int d = 0; d < last && p->stride[0][last] != 0 && p->stride[0][last] != 1; d++)
        if (p->stride[0][d] == 1 && p->dim[d] >= TILE_ROWS && p->dim[last] >= TILE_ROWS)
            p->across = d;
}

template <typename T> static __global__ void copy(struct mc_cuda_walk<2> w, const T *src, T *dst)
{
    for (int64_t i = MC_CUDA_INDEX_OF; i < w.n; i += MC_CUDA_STRIDE) {
        int64_t at[2];
        mc_cuda_walk_at(w, 2, i, at);
        dst[at[1]] = src[at[0]];
    }
}

template <typename T> static void run_copy(const struct plan *p)
{
    struct mc_cuda_walk<2> w;
    mc_cuda_walk_make(&w, p->rank, p->dim, 2, p->stride, 1);
    MC_LAUNCH(copy<T>, mc_cuda_blocks(w.n), MC_CUDA_THREADS, w, (const T *)p->src, (T *)p->dst);
}

struct tiles {
    struct mc_cuda_walk<2> outer; /* the other dimensions */
    int64_t rows, cols;           /* along the source's dense dimension, and the destination's */
    int64_t down, right;          /* tiles */
    int64_t src_col, dst_row, dst_col;
};

/* A tile is read along the source's dense dimension and written along the destination's. */
template <typename T> static __global__ void transpose(struct tiles t, const T *src, T *dst)
{
    MC_SHARED(T, tile);
    int64_t per = t.down * t.right;
    for (int64_t b = blockIdx.x; b < t.outer.n * per; b += gridDim.x) {
        int64_t at[2], rest = b % per, row = rest / t.right * TILE, col = rest % t.right * TILE;
        mc_cuda_walk_at(t.outer, 2, b / per, at);
        for (int i = (int)threadIdx.y; i < TILE; i += TILE_ROWS)
            if (row + threadIdx.x < t.rows && col + i < t.cols)
                tile[i * (TILE + 1) + threadIdx.x] =
                    src[at[0] + row + threadIdx.x + (col + i) * t.src_col];
        __syncthreads();
        for (int i = (int)threadIdx.y; i < TILE; i += TILE_ROWS)
            if (row + i < t.rows && col + threadIdx.x < t.cols)
                dst[at[1] + (row + i) * t.dst_row + (col + threadIdx.x) * t.dst_col] =
                    tile[threadIdx.x * (TILE + 1) + i];
        __syncthreads();
    }
}

template <typename T> static void run_tiles(const struct plan *p)
{
    struct tiles t;
    int last = p->rank - 1, d = p->across, rank = 0;
    int64_t dim[MC_MOVE_RANK], stride[2][MC_MOVE_RANK];
    t.rows = p->dim[d];
    t.cols = p->dim[last];
    t.src_col = p->stride[0][last];
    t.dst_row = p->stride[1][d];
    t.dst_col = p->stride[1][last];
    for (int i = 0; i < last; i++) {
        if (i == d)
            continue;
        dim[rank] = p->dim[i];
        stride[0][rank] = p->stride[0][i];
        stride[1][rank++] = p->stride[1][i];
    }
    if (rank == 0) {
        dim[0] = 1;
        stride[0][0] = stride[1][0] = 0;
        rank = 1;
    }
    mc_cuda_walk_make(&t.outer, rank, dim, 2, stride, 1);
    t.down = (t.rows + TILE - 1) / TILE;
    t.right = (t.cols + TILE - 1) / TILE;
    int64_t blocks = t.outer.n * t.down * t.right;
    if (blocks > MC_CUDA_BLOCKS_MOST)
        blocks = MC_CUDA_BLOCKS_MOST;
    MC_LAUNCH_SYNC(transpose<T>, (unsigned)blocks, dim3(TILE, TILE_ROWS),
                   sizeof(T) * TILE * (TILE + 1), t, (const T *)p->src, (T *)p->dst);
}

static void run_move(const struct mc_move *m, struct mc_pool *)
{
    struct plan p;
    for (int d = 0; d < m->rank; d++)
        if (m->dim[d] == 0)
            return;
    make_plan(m, &p);
    bool aligned = mc_cuda_aligned(p.src, MOST) && mc_cuda_aligned(p.dst, MOST);
    if (p.rank == 1 && p.stride[0][0] == 1 && p.stride[1][0] == 1) {
        mc_cuda_check(cudaMemcpyAsync(p.dst, p.src, (size_t)p.dim[0] * (size_t)p.elem,
                                      cudaMemcpyDeviceToDevice, mc_cuda_now()->stream),
                      "copy");
    } else if (p.across >= 0) {
        FOR_SIZE(p.elem, aligned, run_tiles, &p);
    } else {
        FOR_SIZE(p.elem, aligned, run_copy, &p);
    }
}

/* ---- rows by index ---- */

struct rows {
    int64_t n, axis, total; /* indices; rows of the source per outer step; elements of dst */
    int64_t per;            /* elements of a row */
    struct mc_cuda_div by_per, by_n;
    bool large;
    const int64_t *index;
};

template <typename T> static __global__ void gather(struct rows r, const T *src, T *dst)
{
    for (int64_t i = MC_CUDA_INDEX_OF; i < r.total; i += MC_CUDA_STRIDE) {
        int64_t row = r.large ? i / r.per : mc_cuda_quotient(&r.by_per, (uint32_t)i);
        int64_t outer = r.large ? row / r.n : mc_cuda_quotient(&r.by_n, (uint32_t)row);
        int64_t pick = r.index[row - outer * r.n];
        if (pick >= 0) /* it was in range, kernels/places.h */
            dst[i] = src[(outer * r.axis + pick) * r.per + (i - row * r.per)];
    }
}

template <typename T> static void run_rows(struct rows r, const void *src, void *dst)
{
    MC_LAUNCH(gather<T>, mc_cuda_blocks(r.total), MC_CUDA_THREADS, r, (const T *)src, (T *)dst);
}

static void run_gather(const struct mc_gather *g, struct mc_pool *)
{
    int elem = MOST;
    while (elem > 1 && (g->inner % (size_t)elem != 0 || !mc_cuda_aligned(g->src, elem) ||
                        !mc_cuda_aligned(g->dst, elem)))
        elem /= 2;
    struct rows r;
    r.n = g->n;
    r.axis = g->axis;
    r.per = (int64_t)g->inner / elem;
    r.total = g->outer * g->n * r.per;
    r.large = r.total >= (int64_t)1 << 31;
    r.by_per = mc_cuda_div_by(r.large ? 1 : r.per);
    r.by_n = mc_cuda_div_by(r.large ? 1 : r.n);
    r.index = g->index;
    if (r.total > 0)
        FOR_SIZE(elem, true, run_rows, r, g->src, g->dst);
}

/* ---- fills ---- */

template <typename T> static __global__ void fill(int64_t n, T value, T *dst)
{
    for (int64_t i = MC_CUDA_INDEX_OF; i < n; i += MC_CUDA_STRIDE)
        dst[i] = value;
}

template <typename T> static void run_value(void *dst, int64_t n, const void *value)
{
    T v;
    memcpy(&v, value, sizeof v);
    MC_LAUNCH(fill<T>, mc_cuda_blocks(n), MC_CUDA_THREADS, n, v, (T *)dst);
}

/* `value` is the host's: it goes with the launch. Repeated to the largest element that dst allows. */
static void run_fill(void *dst, int64_t n, const void *value, int elem_bytes, struct mc_pool *)
{
    unsigned char wide_value[MOST];
    int elem = elem_bytes;
    if (n <= 0)
        return;
    for (int at = 0; at < MOST; at += elem_bytes)
        memcpy(wide_value + at, value, (size_t)elem_bytes);
    while (elem < MOST && n % 2 == 0 && mc_cuda_aligned(dst, 2 * elem)) {
        elem *= 2;
        n /= 2;
    }
    FOR_SIZE(elem, mc_cuda_aligned(dst, MOST), run_value, dst, n, wide_value);
}

void mc_move_fill_cuda(struct mc_kernels *k)
{
    k->move.run = run_move;
    k->move.gather = run_gather;
    k->move.fill = run_fill;
}
