#include "graph/ops/attention_core.h"

#include <math.h>
#include <string.h>

#include "graph/ops/float_elem.h"
#include "graph/ops/product.h"

struct job {
    const struct mc_attend *a;
    const struct mc_kernels *k;
    struct mc_pool *pool;
    char *scratch;
    size_t packed_k, packed_v, scores, gemm, each; /* bytes; `each` is one worker's sum */
};

static size_t round_up(size_t n)
{
    return (n + MC_ALIGN - 1) / MC_ALIGN * MC_ALIGN;
}

static struct job job_of(const struct mc_attend *a, const struct mc_kernels *k, int threads)
{
    struct job j = {.a = a, .k = k};
    j.packed_k = round_up(k->gemm.pack_b_bytes(a->size, a->kv_len));
    j.packed_v = round_up(k->gemm.pack_b_bytes(a->kv_len, a->v_size));
    j.scores = round_up((size_t)(a->q_len * a->kv_len * k->elem_bytes));
    size_t first = k->gemm.scratch_bytes(a->q_len, a->kv_len, a->size, threads);
    size_t second = k->gemm.scratch_bytes(a->q_len, a->v_size, a->kv_len, threads);
    j.gemm = round_up(first > second ? first : second);
    j.each = j.packed_k + j.packed_v + j.scores + j.gemm;
    return j;
}

/* Of a device, which has the scores of many heads at once: so many batches at a time that they take this much. */
enum { DEVICE_SCORES = 512 << 20 };

static int64_t batches_at_once(const struct mc_attend *a, const struct mc_kernels *k)
{
    int64_t each = a->heads * a->q_len * a->kv_len * k->elem_bytes;
    int64_t n = each > 0 ? DEVICE_SCORES / each : a->batch;
    return n < 1 ? 1 : n < a->batch ? n : a->batch;
}

size_t mc_attend_scratch(const struct mc_attend *a, const struct mc_kernels *k, int threads)
{
    if (k->device)
        return (size_t)(batches_at_once(a, k) * a->heads * a->q_len * a->kv_len * k->elem_bytes);
    return job_of(a, k, threads).each * (size_t)threads;
}

static void *at(const struct job *j, const struct mc_attend_array *x, int64_t b, int64_t h)
{
    return (char *)x->data + (b * x->batch + h * x->head) * j->k->elem_bytes;
}

static void copy_stage(const struct job *j, int stage, int64_t b, int64_t h, const void *scores)
{
    const struct mc_attend *a = j->a;
    size_t bytes = (size_t)(a->q_len * a->kv_len * j->k->elem_bytes);
    if (a->scores && a->stage == stage && bytes)
        memcpy((char *)a->scores + (size_t)(b * a->heads + h) * bytes, scores, bytes);
}

static void cap_scores(const struct job *j, void *scores)
{
    const struct mc_attend *a = j->a;
    int64_t n = a->q_len * a->kv_len;
    for (int pass = 0; pass < 3; pass++) { /* softcap tanh(x / softcap) */
        double factor = pass ? a->softcap : 1 / a->softcap, store;
        struct mc_unary tanh_of = {.fn = MC_UNARY_TANH, .n = n, .x = scores, .y = scores};
        struct mc_binary scale = {.fn = MC_BINARY_MUL,
                                  .rank = 1,
                                  .dim = {n},
                                  .stride = {{1}, {0}},
                                  .x = scores,
                                  .y = &store,
                                  .z = scores};
        mc_set_param(&store, j->k->elem_bytes, 0, factor);
        if (pass == 1)
            j->k->elementwise.unary(&tanh_of, j->pool);
        else
            j->k->elementwise.binary(&scale, j->pool);
    }
}

static void forbid(const struct job *j, void *row, int64_t from, int64_t to)
{
    for (int64_t k = from; k < to; k++)
        mc_set_param(row, j->k->elem_bytes, k, -INFINITY);
}

/* Apply one mask, whose element for key 0 is number `at`, to keys [low, high) of a row. */
static void apply_mask(const struct job *j, const struct mc_attend_mask *mask, int64_t at,
                       int64_t low, int64_t high, void *row)
{
    int bytes = mask->stored == MC_DTYPE_F64 ? 8 : 4;
    int64_t step = mask->stride[3], end = high < mask->keys ? high : mask->keys;
    if (low >= high)
        return;
    forbid(j, row, end > low ? end : low, high);
    if (mask->allows) {
        const uint8_t *allowed = (const uint8_t *)mask->data + at;
        for (int64_t k = low; k < end; k++)
            if (!allowed[k * step])
                forbid(j, row, k, k + 1);
    } else if (bytes == j->k->elem_bytes && end > low) {
        char *scores = (char *)row + low * bytes;
        struct mc_binary add = {.fn = MC_BINARY_ADD,
                                .rank = 1,
                                .dim = {end - low},
                                .stride = {{1}, {step}},
                                .x = scores,
                                .y = (const char *)mask->data + (at + low * step) * bytes,
                                .z = scores};
        j->k->elementwise.binary(&add, j->pool);
    } else {
        for (int64_t k = low; k < end; k++)
            mc_set_param(row, j->k->elem_bytes, k,
                         mc_param(row, j->k->elem_bytes, k) +
                             mc_param(mask->data, bytes, at + k * step));
    }
}

/* Window, lengths and masks of one row of scores. */
static void mask_row(const struct job *j, int64_t b, int64_t h, int64_t i, void *row)
{
    const struct mc_attend *a = j->a;
    int64_t position = i + (a->valid ? a->valid[b] - a->q_len : a->past);
    int64_t low = a->left >= 0 && position > a->left ? position - a->left : 0;
    int64_t high =
        a->right >= 0 && position < a->kv_len - a->right ? position + a->right + 1 : a->kv_len;
    if (a->valid && high > a->valid[b])
        high = a->valid[b];
    high = high < 0 ? 0 : high;
    low = low > high ? high : low;
    forbid(j, row, 0, low);
    forbid(j, row, high, a->kv_len);
    for (int m = 0; m < 2; m++) {
        const struct mc_attend_mask *mask = &a->mask[m];
        if (mask->data)
            apply_mask(j, mask, b * mask->stride[0] + h * mask->stride[1] + i * mask->stride[2],
                       low, high, row);
    }
}

/* One row of probabilities: zeros where no key is allowed. */
static void softmax_row(const struct job *j, void *row)
{
    int64_t n = j->a->kv_len;
    bool any = false;
    for (int64_t k = 0; k < n && !any; k++)
        any = mc_param(row, j->k->elem_bytes, k) != -INFINITY;
    struct mc_softmax s = {.outer = 1, .n = n, .inner = 1, .x = row, .y = row};
    if (any)
        j->k->nn.softmax(&s, j->pool);
    else
        memset(row, 0, (size_t)(n * j->k->elem_bytes));
}

static void product(const struct job *j, int64_t n, int64_t k, double alpha,
                    const struct mc_attend_array *left, const void *a, const void *packed, void *c,
                    int64_t c_row, void *scratch)
{
    struct mc_gemm g = {.m = j->a->q_len,
                        .n = n,
                        .k = k,
                        .a = a,
                        .a_row = left->row,
                        .a_col = 1,
                        .packed_b = packed,
                        .c = c,
                        .c_row = c_row,
                        .alpha = alpha};
    j->k->gemm.run(&g, scratch, j->pool);
}

static void softmax_rows(const struct job *j, int64_t b, int64_t h, void *scores)
{
    const struct mc_attend *a = j->a;
    size_t row_bytes = (size_t)(a->kv_len * j->k->elem_bytes);
    bool masked = a->mask[0].data || a->mask[1].data || a->valid || a->left >= 0 || a->right >= 0;
    if (!masked) {
        copy_stage(j, 2, b, h, scores);
        struct mc_softmax s = {
            .outer = a->q_len, .n = a->kv_len, .inner = 1, .x = scores, .y = scores};
        j->k->nn.softmax(&s, j->pool);
        return;
    }
    for (int64_t i = 0; i < a->q_len && row_bytes; i++)
        mask_row(j, b, h, i, (char *)scores + (size_t)i * row_bytes);
    copy_stage(j, 2, b, h, scores);
    for (int64_t i = 0; i < a->q_len && row_bytes; i++)
        softmax_row(j, (char *)scores + (size_t)i * row_bytes);
}

static void one_head(void *ctx, int64_t chunk, int worker)
{
    const struct job *j = ctx;
    const struct mc_attend *a = j->a;
    int64_t b = chunk / a->heads, h = chunk % a->heads, kv = h / (a->heads / a->kv_heads);
    char *packed_k = j->scratch + (size_t)worker * j->each, *packed_v = packed_k + j->packed_k;
    char *scores = packed_v + j->packed_v, *gemm = scores + j->scores;
    j->k->gemm.pack_b(a->size, a->kv_len, at(j, &a->k, b, kv), 1, a->k.row, packed_k, j->pool);
    product(j, a->kv_len, a->size, a->scale, &a->q, at(j, &a->q, b, h), packed_k, scores, a->kv_len,
            gemm);
    copy_stage(j, 0, b, h, scores);
    if (a->softcap > 0)
        cap_scores(j, scores);
    copy_stage(j, 1, b, h, scores);
    softmax_rows(j, b, h, scores);
    copy_stage(j, 3, b, h, scores);
    struct mc_attend_array p = {.row = a->kv_len};
    j->k->gemm.pack_b(a->kv_len, a->v_size, at(j, &a->v, b, kv), a->v.row, 1, packed_v, j->pool);
    product(j, a->v_size, a->kv_len, 1, &p, scores, packed_v, at(j, &a->y, b, h), a->y.row, gemm);
}

/* ---- on a device ---- */

static const void *past(const void *p, int64_t elements, int64_t bytes)
{
    return p ? (const char *)p + elements * bytes : NULL;
}

/* The softmax of `batches` from `first` on. */
static void softmax_device(const struct job *j, int64_t first, int64_t batches)
{
    const struct mc_attend *a = j->a;
    int64_t each = a->heads * a->q_len * a->kv_len, elem = j->k->elem_bytes;
    struct mc_scores s = {.batch = batches,
                          .heads = a->heads,
                          .q_len = a->q_len,
                          .kv_len = a->kv_len,
                          .scores = j->scratch,
                          .softcap = a->softcap,
                          .past = a->past,
                          .left = a->left,
                          .right = a->right,
                          .valid = a->valid ? a->valid + first : NULL,
                          .stages = (void *)past(a->scores, first * each, elem),
                          .stage = a->stage};
    for (int m = 0; m < 2; m++) {
        const struct mc_attend_mask *from = &a->mask[m];
        bool i64 = from->whole == MC_SCORE_KEEP64 || from->whole == MC_SCORE_COUNT64;
        if (!from->data)
            continue;
        s.mask[m].kind = from->whole ? from->whole : from->allows ? MC_SCORE_ALLOW : MC_SCORE_ADD;
        s.mask[m].data = past(from->data, first * from->stride[0], from->allows ? 1 : i64 ? 8 : 4);
        memcpy(s.mask[m].stride, from->stride, sizeof from->stride);
        s.mask[m].keys = from->keys;
        s.mask[m].off = from->off;
    }
    j->k->attend.softmax(&s, j->pool);
}

/* Both products of `batches` from `first` on: the heads that share keys are a dimension of their own, along which those
 * repeat. */
static void product_device(const struct job *j, int64_t first, int64_t batches, bool values)
{
    const struct mc_attend *a = j->a;
    const struct mc_attend_array *b = values ? &a->v : &a->k, *side = values ? &a->y : &a->q;
    int64_t group = a->heads / a->kv_heads, elem = j->k->elem_bytes, head = a->q_len * a->kv_len;
    int64_t dim[MC_MOVE_RANK] = {batches, a->kv_heads, group};
    int64_t of_scores[] = {a->heads * head, group * head, head};
    int64_t of_side[] = {side->batch, group * side->head, side->head};
    int64_t of_b[] = {b->batch, b->head, 0}, stride[3][MC_MOVE_RANK] = {{0}};
    memcpy(stride[0], values ? of_scores : of_side, sizeof of_side);
    memcpy(stride[1], of_b, sizeof of_b);
    memcpy(stride[2], values ? of_side : of_scores, sizeof of_side);
    struct mc_gemm g = {.m = a->q_len,
                        .n = values ? a->v_size : a->kv_len,
                        .k = values ? a->kv_len : a->size,
                        .b = past(b->data, first * b->batch, elem),
                        .alpha = values ? 1 : a->scale};
    void *at_side = (void *)past(side->data, first * side->batch, elem);
    g.a = values ? j->scratch : at_side;
    g.c = values ? at_side : j->scratch;
    g.a_row = values ? a->kv_len : side->row;
    g.a_col = 1;
    g.b_row = values ? b->row : 1;
    g.b_col = values ? 1 : b->row;
    g.c_row = values ? side->row : a->kv_len;
    mc_product_batch(j->k, &g, 3, dim, stride, j->pool);
}

static void run_device(const struct mc_attend *given, const struct mc_kernels *k,
                       struct mc_pool *pool, void *scratch)
{
    struct mc_attend a = *given;
    struct job j = {.a = &a, .k = k, .pool = pool, .scratch = scratch};
    int64_t most = batches_at_once(&a, k), each = a.heads * a.q_len * a.kv_len;
    char *direct = a.stage == 3 ? a.scores : NULL; /* what they are in the end is an output */
    if (direct)
        a.scores = NULL;
    for (int64_t b = 0; b < a.batch; b += most) {
        int64_t n = a.batch - b < most ? a.batch - b : most;
        if (direct)
            j.scratch = direct + b * each * k->elem_bytes;
        product_device(&j, b, n, false);
        softmax_device(&j, b, n);
        product_device(&j, b, n, true);
    }
}

void mc_attend_run(const struct mc_attend *a, const struct mc_kernels *k, struct mc_pool *pool,
                   void *scratch)
{
    if (k->device) {
        run_device(a, k, pool, scratch);
        return;
    }
    struct job j = job_of(a, k, mc_pool_threads(pool));
    j.pool = pool;
    j.scratch = scratch;
    if (a->batch * a->heads == 1)
        one_head(&j, 0, 0); /* the products share the threads among themselves */
    else
        mc_pool_run(pool, a->batch * a->heads, one_head, &j);
}
