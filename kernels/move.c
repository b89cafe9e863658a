#include "kernels/move.h"

#include <assert.h>
#include <stdbool.h>
#include <string.h>

enum {
    CHUNK_BYTES = 1 << 16, /* work for one thread at a time: a few microseconds */
    TILE = 32,             /* of a transpose: 32 x 32 elements of 4 bytes are 4 KiB, far below L1 */
};

int mc_move_merge(int rank, int64_t *dim, int n, int64_t (*stride)[MC_MOVE_RANK])
{
    int to = 0;
    for (int d = 0; d < rank; d++) {
        if (dim[d] == 1)
            continue;
        bool one = to > 0;
        for (int i = 0; i < n; i++)
            one = one && stride[i][to - 1] == stride[i][d] * dim[d];
        dim[one ? to - 1 : to] = one ? dim[to - 1] * dim[d] : dim[d];
        for (int i = 0; i < n; i++)
            stride[i][one ? to - 1 : to] = stride[i][d];
        to += !one;
    }
    if (to == 0) {
        dim[0] = 1;
        for (int i = 0; i < n; i++)
            stride[i][0] = 1;
        to = 1;
    }
    return to;
}

/* A move with merged dimensions, cut into rows: one step of the outer dimensions each; in a transpose one
 * step of them and TILE steps of the second-last dimension. */
struct plan {
    int rank, elem;
    int64_t dim[MC_MOVE_RANK], stride[2][MC_MOVE_RANK]; /* source, destination */
    const char *src;
    char *dst;
    bool tiled;
    int64_t rows, per_chunk;
};

struct wide {
    uint64_t part[2];
};

#define ROW(type)                                                                                  \
    static void row_##type(int64_t n, const char *src, int64_t ss, char *dst, int64_t ds)          \
    {                                                                                              \
        const type *s = (const type *)src;                                                         \
        type *d = (type *)dst;                                                                     \
        for (int64_t i = 0; i < n; i++)                                                            \
            d[i * ds] = s[i * ss];                                                                 \
    }
typedef struct wide wide_t;
ROW(uint8_t)
ROW(uint16_t)
ROW(uint32_t)
ROW(uint64_t)
ROW(wide_t)

static void copy_row(int elem, int64_t n, const char *src, int64_t ss, char *dst, int64_t ds)
{
    if (ss == 1 && ds == 1) {
        memcpy(dst, src, (size_t)n * (size_t)elem);
        return;
    }
    switch (elem) {
    case 1: row_uint8_t(n, src, ss, dst, ds); break;
    case 2: row_uint16_t(n, src, ss, dst, ds); break;
    case 4: row_uint32_t(n, src, ss, dst, ds); break;
    case 8: row_uint64_t(n, src, ss, dst, ds); break;
    case 16: row_wide_t(n, src, ss, dst, ds); break;
    default: assert(0 && "element of 1, 2, 4, 8 or 16 bytes");
    }
}

typedef uint32_t u4 __attribute__((vector_size(16)));
typedef uint32_t u4_unaligned __attribute__((vector_size(16), aligned(4), may_alias));

/* Four rows of four elements of 4 bytes, `si` bytes apart, become four columns, `dj` bytes apart. */
static void turn4(const char *src, int64_t si, char *dst, int64_t dj)
{
    u4 a = *(const u4_unaligned *)src, b = *(const u4_unaligned *)(src + si);
    u4 c = *(const u4_unaligned *)(src + 2 * si), d = *(const u4_unaligned *)(src + 3 * si);
    u4 ac0 = __builtin_shufflevector(a, c, 0, 4, 1, 5);
    u4 ac1 = __builtin_shufflevector(a, c, 2, 6, 3, 7);
    u4 bd0 = __builtin_shufflevector(b, d, 0, 4, 1, 5);
    u4 bd1 = __builtin_shufflevector(b, d, 2, 6, 3, 7);
    *(u4_unaligned *)dst = __builtin_shufflevector(ac0, bd0, 0, 4, 1, 5);
    *(u4_unaligned *)(dst + dj) = __builtin_shufflevector(ac0, bd0, 2, 6, 3, 7);
    *(u4_unaligned *)(dst + 2 * dj) = __builtin_shufflevector(ac1, bd1, 0, 4, 1, 5);
    *(u4_unaligned *)(dst + 3 * dj) = __builtin_shufflevector(ac1, bd1, 2, 6, 3, 7);
}

static void tile_rows(const struct plan *p, const char *src, char *dst, int64_t first)
{
    int64_t i_n = p->dim[p->rank - 1], j_n = p->dim[p->rank - 2], elem = p->elem;
    int64_t si = p->stride[0][p->rank - 1] * elem, sj = p->stride[0][p->rank - 2] * elem;
    int64_t di = p->stride[1][p->rank - 1] * elem, dj = p->stride[1][p->rank - 2] * elem;
    int64_t last = first + TILE < j_n ? first + TILE : j_n;
    bool quick = elem == 4 && sj == 4 && di == 4;
    for (int64_t i = 0; i < i_n; i += TILE) {
        int64_t n = i + TILE < i_n ? TILE : i_n - i, j = first;
        for (; quick && j + 4 <= last; j += 4) {
            int64_t at = 0;
            for (; at + 4 <= n; at += 4)
                turn4(src + j * sj + (i + at) * si, si, dst + j * dj + (i + at) * di, dj);
            for (int64_t r = j; at < n && r < j + 4; r++)
                copy_row(p->elem, n - at, src + r * sj + (i + at) * si, p->stride[0][p->rank - 1],
                         dst + r * dj + (i + at) * di, 1);
        }
        for (; j < last; j++)
            copy_row(p->elem, n, src + j * sj + i * si, p->stride[0][p->rank - 1],
                     dst + j * dj + i * di, p->stride[1][p->rank - 1]);
    }
}

/* `rows` rows, whose starts are equally far apart. Short ones of usual sizes are copied without a call. */
static void copy_rows(const struct plan *p, int64_t rows, int64_t n, const char *src,
                      int64_t src_step, char *dst, int64_t dst_step)
{
    int64_t ss = p->stride[0][p->rank - 1], ds = p->stride[1][p->rank - 1], bytes = n * p->elem;
    bool dense = ss == 1 && ds == 1;
    for (int64_t r = 0; r < rows; r++, src += src_step, dst += dst_step) {
        if (dense && bytes == 64)
            memcpy(dst, src, 64);
        else if (dense && bytes == 128)
            memcpy(dst, src, 128);
        else
            copy_row(p->elem, n, src, ss, dst, ds);
    }
}

static void run_rows(void *ctx, int64_t chunk, int worker)
{
    (void)worker;
    const struct plan *p = ctx;
    int outer = p->rank - (p->tiled ? 2 : 1), inner = outer - 1; /* inner: the last of those */
    int64_t tiles = p->tiled ? (p->dim[outer] + TILE - 1) / TILE : 1, at[MC_MOVE_RANK];
    int64_t first = chunk * p->per_chunk, last = first + p->per_chunk, rest = first / tiles;
    const char *src = p->src;
    char *dst = p->dst;
    for (int d = inner; d >= 0; d--) {
        at[d] = rest % p->dim[d];
        rest /= p->dim[d];
        src += at[d] * p->stride[0][d] * p->elem;
        dst += at[d] * p->stride[1][d] * p->elem;
    }
    last = last < p->rows ? last : p->rows;
    for (int64_t r = first, n; r < last; r += n) {
        n = 1;
        if (p->tiled) {
            tile_rows(p, src, dst, r % tiles * TILE);
            if ((r + 1) % tiles)
                continue;
        } else if (outer == 0) {
            copy_row(p->elem, p->dim[0], src, p->stride[0][0], dst, p->stride[1][0]);
        } else {
            n = p->dim[inner] - at[inner] < last - r ? p->dim[inner] - at[inner] : last - r;
            copy_rows(p, n, p->dim[outer], src, p->stride[0][inner] * p->elem, dst,
                      p->stride[1][inner] * p->elem);
        }
        int64_t step = n;
        for (int d = inner; d >= 0; d--, step = 1) {
            at[d] += step;
            src += step * p->stride[0][d] * p->elem;
            dst += step * p->stride[1][d] * p->elem;
            if (at[d] < p->dim[d])
                break;
            src -= at[d] * p->stride[0][d] * p->elem;
            dst -= at[d] * p->stride[1][d] * p->elem;
            at[d] = 0;
        }
    }
}

/* Where the innermost step of the destination jumps through the source while another one walks it, take
 * both in tiles: every cache line is then used as a whole. */
static void plan_tiles(struct plan *p)
{
    int last = p->rank - 1;
    if (p->rank < 2 || p->stride[0][last] == 1 || p->stride[0][last] == 0)
        return;
    for (int d = 0; d < last; d++) {
        if (p->stride[0][d] != 1)
            continue;
        int64_t dim = p->dim[d], src = p->stride[0][d], dst = p->stride[1][d];
        for (int i = d; i < last - 1; i++) {
            p->dim[i] = p->dim[i + 1];
            p->stride[0][i] = p->stride[0][i + 1];
            p->stride[1][i] = p->stride[1][i + 1];
        }
        p->dim[last - 1] = dim;
        p->stride[0][last - 1] = src;
        p->stride[1][last - 1] = dst;
        p->tiled = true;
        return;
    }
}

void mc_move_run(const struct mc_move *m, struct mc_pool *pool)
{
    struct plan p = {.elem = m->elem_bytes, .src = m->src, .dst = m->dst};
    size_t bytes = (size_t)m->rank * sizeof *p.dim;
    memcpy(p.dim, m->dim, bytes);
    memcpy(p.stride[0], m->src_stride, bytes);
    memcpy(p.stride[1], m->dst_stride, bytes);
    p.rank = mc_move_merge(m->rank, p.dim, 2, p.stride);
    plan_tiles(&p);
    int outer = p.rank - (p.tiled ? 2 : 1);
    int64_t row = p.elem;
    p.rows = p.tiled ? (p.dim[outer] + TILE - 1) / TILE : 1;
    for (int d = 0; d < p.rank; d++) {
        if (p.dim[d] == 0)
            return;
        if (d < outer)
            p.rows *= p.dim[d];
        else
            row *= p.tiled && d == outer ? TILE : p.dim[d];
    }
    p.per_chunk = row < CHUNK_BYTES ? CHUNK_BYTES / row : 1;
    mc_pool_run(pool, (p.rows + p.per_chunk - 1) / p.per_chunk, run_rows, &p);
}

struct gather_plan {
    const struct mc_gather *g;
    int64_t per_chunk;
};

static void gather_rows(void *ctx, int64_t chunk, int worker)
{
    (void)worker;
    const struct gather_plan *p = ctx;
    const struct mc_gather *g = p->g;
    int64_t rows = g->outer * g->n, first = chunk * p->per_chunk, last = first + p->per_chunk;
    for (int64_t r = first; r < last && r < rows; r++) {
        int64_t from = r / g->n * g->axis + g->index[r % g->n];
        memcpy((char *)g->dst + (size_t)r * g->inner,
               (const char *)g->src + (size_t)from * g->inner, g->inner);
    }
}

void mc_move_gather(const struct mc_gather *g, struct mc_pool *pool)
{
    if (g->inner == 0)
        return;
    struct gather_plan p = {g, g->inner < CHUNK_BYTES ? CHUNK_BYTES / (int64_t)g->inner : 1};
    mc_pool_run(pool, (g->outer * g->n + p.per_chunk - 1) / p.per_chunk, gather_rows, &p);
}

void mc_move_fill(void *dst, int64_t n, const void *value, int elem_bytes, struct mc_pool *pool)
{
    struct mc_move m = {.rank = 1,
                        .dim = {n},
                        .src_stride = {0},
                        .dst_stride = {1},
                        .src = value,
                        .dst = dst,
                        .elem_bytes = elem_bytes};
    mc_move_run(&m, pool);
}
