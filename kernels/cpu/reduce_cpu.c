/* Reductions: over neighbouring elements into a vector of partial results, or over whole rows side by side. */
#include <math.h>
#include <stddef.h>

#include "kernels/cpu/math_cpu.h"
#include "kernels/cpu/nn_cpu.h"

enum { CHUNK = 1 << 15 }; /* elements read per chunk of work */

#define INLINE static inline __attribute__((always_inline))

INLINE float start_of(enum mc_reduce_fn fn)
{
    return fn == MC_REDUCE_MAX ? -INFINITY : fn == MC_REDUCE_MIN ? INFINITY : fn == MC_REDUCE_PROD;
}

INLINE vf step(enum mc_reduce_fn fn, vf sum, vf x, vf top)
{
    switch (fn) {
    case MC_REDUCE_MAX: return vf_select(vf_lt(x, sum) | vf_is_nan(sum), sum, x);
    case MC_REDUCE_MIN: return vf_select(vf_lt(sum, x) | vf_is_nan(sum), sum, x);
    case MC_REDUCE_PROD: return sum * x;
    case MC_REDUCE_SUM_SQUARE:
    case MC_REDUCE_L2: return vf_fma(x, x, sum);
    case MC_REDUCE_L1: return sum + vf_abs(x);
    case MC_REDUCE_LOG_SUM_EXP: return sum + vf_exp(x - top);
    default: return sum + x;
    }
}

/* How partial results join: squares and exponentials are sums by then. */
INLINE enum mc_reduce_fn join_of(enum mc_reduce_fn fn)
{
    return fn == MC_REDUCE_MAX || fn == MC_REDUCE_MIN || fn == MC_REDUCE_PROD ? fn : MC_REDUCE_SUM;
}

static float finish(enum mc_reduce_fn fn, float sum, float top, int64_t n)
{
    switch (fn) {
    case MC_REDUCE_MEAN: return sum / (float)n;
    case MC_REDUCE_L2: return sqrtf(sum);
    case MC_REDUCE_LOG_SUM: return logf(sum);
    case MC_REDUCE_LOG_SUM_EXP: return logf(sum) + top;
    default: return sum;
    }
}

struct job {
    const struct mc_reduce *r;
    int64_t outputs, over, per_chunk; /* of a chunk: outputs, or stripes of them */
    int64_t row, blocks;              /* columns: outputs in a row of keep, stripes in it */
};

/* Offset of output i's first element. */
static int64_t keep_offset(const struct mc_reduce *r, int64_t i)
{
    int64_t at = 0;
    for (int d = r->keep_rank - 1; d >= 0; d--) {
        at += i % r->keep[d] * r->keep_stride[d];
        i /= r->keep[d];
    }
    return at;
}

/* One step through all `over` dimensions but the last: index and offset. */
static void over_next(const struct mc_reduce *r, int rank, int64_t *index, int64_t *at)
{
    for (int d = rank - 1; d >= 0; d--) {
        *at += r->over_stride[d];
        if (++index[d] < r->over[d])
            return;
        *at -= index[d] * r->over_stride[d];
        index[d] = 0;
    }
}

/* ---- over neighbours: the last reduced dimension is dense ---- */

INLINE vf run_of(enum mc_reduce_fn fn, vf sum, const float *x, int64_t n, vf top)
{
    int64_t i = 0;
    vf more = vf_set1(start_of(fn));
    if (n >= 2 * LANES) {
        for (; i + 2 * LANES <= n; i += 2 * LANES) {
            sum = step(fn, sum, vf_load(x + i), top);
            more = step(fn, more, vf_load(x + i + LANES), top);
        }
        sum = step(join_of(fn), sum, more, top);
    }
    for (; i < n; i += LANES) {
        vm m = vm_first(n - i);
        sum = vf_select(m, step(fn, sum, vf_load_mask(x + i, m), top), sum);
    }
    return sum;
}

INLINE float reduce_dense(const struct mc_reduce *r, enum mc_reduce_fn fn, const float *x,
                          int64_t rows, float top)
{
    int last = r->over_rank - 1;
    int64_t index[MC_MOVE_RANK] = {0}, at = 0;
    vf sum = vf_set1(start_of(fn));
    for (int64_t i = 0; i < rows; i++) {
        sum = run_of(fn, sum, x + at, r->over[last], vf_set1(top));
        over_next(r, last, index, &at);
    }
    if (join_of(fn) == MC_REDUCE_SUM)
        return vf_sum(sum);
    vf one = {0};
    for (int i = 1; i < LANES; i++) {
        one[0] = sum[i];
        vf joined = step(join_of(fn), sum, one, one);
        sum[0] = joined[0];
    }
    return sum[0];
}

static float reduce_one(const struct mc_reduce *r, enum mc_reduce_fn fn, const float *x,
                        int64_t rows, float top)
{
#define CASE(f)                                                                                    \
    case f: return reduce_dense(r, f, x, rows, top)
    switch (fn) {
        CASE(MC_REDUCE_SUM);
        CASE(MC_REDUCE_MAX);
        CASE(MC_REDUCE_MIN);
        CASE(MC_REDUCE_PROD);
        CASE(MC_REDUCE_L1);
        CASE(MC_REDUCE_LOG_SUM_EXP);
    case MC_REDUCE_SUM_SQUARE:
    case MC_REDUCE_L2: return reduce_dense(r, MC_REDUCE_L2, x, rows, top);
    default: return reduce_dense(r, MC_REDUCE_SUM, x, rows, top);
    }
#undef CASE
}

static void dense_chunk(void *ctx, int64_t chunk, int worker)
{
    (void)worker;
    const struct job *j = ctx;
    const struct mc_reduce *r = j->r;
    int64_t last = r->over[r->over_rank - 1], rows = last ? j->over / last : 0;
    for (int64_t i = chunk * j->per_chunk; i < (chunk + 1) * j->per_chunk && i < j->outputs; i++) {
        const float *x = (const float *)r->x + keep_offset(r, i);
        float top = 0;
        if (r->fn == MC_REDUCE_LOG_SUM_EXP)
            top = reduce_one(r, MC_REDUCE_MAX, x, rows, 0);
        float by = isinf(top) ? 0 : top;
        ((float *)r->y)[i] = finish(r->fn, reduce_one(r, r->fn, x, rows, by), by, j->over);
    }
}

/* ---- side by side: outputs whose inputs are neighbours, STRIPE of them at a time: four vectors of a row are
 * 256 bytes in one piece, which the memory likes better than one vector of every row four times. ---- */

enum { WIDE = 4, STRIPE = WIDE * LANES };

INLINE void reduce_side(const struct mc_reduce *r, enum mc_reduce_fn fn, const float *x,
                        int64_t over, int64_t cols, const vf *top, vf *ret)
{
    int64_t index[MC_MOVE_RANK] = {0}, at = 0;
    vf sum[WIDE];
    vm m[WIDE];
    for (int k = 0; k < WIDE; k++) {
        sum[k] = vf_set1(start_of(fn));
        m[k] = vm_range(0, cols - k * LANES);
    }
    for (int64_t i = 0; i < over; i++) {
        if (cols >= STRIPE)
            for (int k = 0; k < WIDE; k++)
                sum[k] = step(fn, sum[k], vf_load(x + at + k * LANES), top[k]);
        else
            for (int k = 0; k * LANES < cols; k++)
                sum[k] = step(fn, sum[k], vf_load_mask(x + at + k * LANES, m[k]), top[k]);
        over_next(r, r->over_rank, index, &at);
    }
    for (int k = 0; k < WIDE; k++)
        ret[k] = sum[k];
}

static void reduce_columns(const struct mc_reduce *r, enum mc_reduce_fn fn, const float *x,
                           int64_t over, int64_t cols, const vf *top, vf *ret)
{
#define CASE(f)                                                                                    \
    case f: reduce_side(r, f, x, over, cols, top, ret); break
    switch (fn) {
        CASE(MC_REDUCE_MAX);
        CASE(MC_REDUCE_MIN);
        CASE(MC_REDUCE_PROD);
        CASE(MC_REDUCE_L1);
        CASE(MC_REDUCE_LOG_SUM_EXP);
    case MC_REDUCE_SUM_SQUARE:
    case MC_REDUCE_L2: reduce_side(r, MC_REDUCE_L2, x, over, cols, top, ret); break;
    default: reduce_side(r, MC_REDUCE_SUM, x, over, cols, top, ret); break;
    }
#undef CASE
}

/* Of the cols outputs from i on. */
static void reduce_stripe(const struct job *j, int64_t i, int64_t cols)
{
    const struct mc_reduce *r = j->r;
    const float *x = (const float *)r->x + keep_offset(r, i);
    vf top[WIDE] = {0}, sum[WIDE];
    if (r->fn == MC_REDUCE_LOG_SUM_EXP) {
        reduce_columns(r, MC_REDUCE_MAX, x, j->over, cols, top, top);
        for (int k = 0; k < WIDE; k++)
            top[k] = vf_select(vf_lt(vf_abs(top[k]), vf_set1(INFINITY)) | vf_is_nan(top[k]), top[k],
                               (vf){0});
    }
    reduce_columns(r, r->fn, x, j->over, cols, top, sum);
    for (int k = 0; k < cols; k++)
        ((float *)r->y)[i + k] =
            finish(r->fn, sum[k / LANES][k % LANES], top[k / LANES][k % LANES], j->over);
}

static void column_chunk(void *ctx, int64_t chunk, int worker)
{
    (void)worker;
    const struct job *j = ctx;
    int64_t all = j->row ? j->outputs / j->row * j->blocks : 0, first = chunk * j->per_chunk;
    for (int64_t b = first; b < first + j->per_chunk && b < all; b++) {
        int64_t col = b % j->blocks * STRIPE, rest = j->row - col;
        reduce_stripe(j, b / j->blocks * j->row + col, rest < STRIPE ? rest : STRIPE);
    }
}

/* ---- anything else ---- */

static void strided_chunk(void *ctx, int64_t chunk, int worker)
{
    (void)worker;
    const struct job *j = ctx;
    for (int64_t i = chunk * j->per_chunk; i < (chunk + 1) * j->per_chunk && i < j->outputs; i++)
        reduce_stripe(j, i, 1);
}

void MC_CPU(mc_nn_reduce)(const struct mc_reduce *r, struct mc_pool *pool)
{
    struct job j = {.r = r, .outputs = 1, .over = 1, .row = r->keep[r->keep_rank - 1]};
    for (int d = 0; d < r->keep_rank; d++)
        j.outputs *= r->keep[d];
    for (int d = 0; d < r->over_rank; d++)
        j.over *= r->over[d];
    int64_t each = j.over > 0 ? j.over : 1, chunks = j.outputs;
    void (*fn)(void *, int64_t, int) = strided_chunk;
    if (r->over_stride[r->over_rank - 1] == 1) {
        fn = dense_chunk;
    } else if (r->keep_stride[r->keep_rank - 1] == 1) {
        fn = column_chunk;
        j.blocks = (j.row + STRIPE - 1) / STRIPE;
        chunks = j.row ? j.outputs / j.row * j.blocks : 0;
        each *= STRIPE;
    }
    j.per_chunk = each < CHUNK ? CHUNK / each : 1;
    mc_pool_run(pool, (chunks + j.per_chunk - 1) / j.per_chunk, fn, &j);
}
