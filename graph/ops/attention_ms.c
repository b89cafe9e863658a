/* Attention and MultiHeadAttention of com.microsoft: projections or biases first, keys and values behind a past,
 * masks of whole numbers, then the same core as Attention of ai.onnx. */
#include <math.h>
#include <string.h>

#include "graph/ops/attention_core.h"
#include "graph/ops/helper.h"
#include "graph/ops/op_gpu.h"
#include "graph/ops/pack.h"
#include "graph/ops/float_elem.h"

/* Inputs of the two operators, -1 where there is none. */
static const struct places {
    int key, value, weight, bias, mask, past_key, past_value, scores;
} attention = {-1, -1, 1, 2, 3, 4, -1, 5}, multi_head = {1, 2, -1, 3, 4, 6, 7, 5};

static const struct places *places_of(const struct mc_node *n)
{
    return strcmp(n->op_type, "Attention") ? &multi_head : &attention;
}

struct widths { /* numbers of both operators */
    int64_t batch, heads, rows, kv_rows, past, size, v_size;
    int64_t q_width, k_width, v_width;
};

static int need_heads(const struct mc_node *n, const struct widths *w, struct mc_err *err)
{
    if (w->heads < 1 || w->q_width % w->heads || w->v_width % w->heads || w->q_width != w->k_width)
        return mc_op_fail(err, MC_ESHAPE, n, "%lld heads for widths %lld, %lld, %lld",
                          (long long)w->heads, (long long)w->q_width, (long long)w->k_width,
                          (long long)w->v_width);
    return 0;
}

/* Widths of Attention: thirds of the weight, or as qkv_hidden_sizes says. */
static int split_widths(const struct mc_node *n, int64_t total, struct widths *w,
                        struct mc_err *err)
{
    const int64_t *given;
    int rc = mc_op_need_ints(n, "qkv_hidden_sizes", 3, &given, err);
    if (rc)
        return rc;
    w->q_width = given ? given[0] : total / 3;
    w->k_width = given ? given[1] : total / 3;
    w->v_width = given ? given[2] : total / 3;
    if (w->q_width < 0 || w->k_width < 0 || w->v_width < 0 || w->q_width > total ||
        w->k_width > total || w->v_width > total || w->q_width + w->k_width + w->v_width != total)
        return mc_op_fail(err, MC_ESHAPE, n, "%lld columns cannot be split into q, k and v",
                          (long long)total);
    return 0;
}

/* From shapes that are all known; shape[i] NULL for inputs left out. */
static int read_widths(const struct mc_node *n, const struct mc_shape *const *shape, int n_in,
                       struct widths *w, struct mc_err *err)
{
    const struct places *p = places_of(n);
    const struct mc_shape *x = shape[0];
    const struct mc_shape *past = p->past_key < n_in ? shape[p->past_key] : NULL;
    *w = (struct widths){.batch = x->dim[0],
                         .heads = mc_node_int(n, "num_heads", 0),
                         .rows = x->dim[1],
                         .kv_rows = x->dim[1]};
    int rc = 0;
    if (p->weight >= 0) {
        rc = split_widths(n, shape[p->weight]->dim[1], w, err);
    } else {
        const struct mc_shape *k = shape[p->key], *v = shape[p->value];
        w->q_width = x->dim[2];
        w->k_width = k->dim[2];
        w->v_width = v->dim[2];
        w->kv_rows = k->dim[1];
    }
    rc = rc ? rc : need_heads(n, w, err);
    if (rc)
        return rc;
    w->size = w->q_width / w->heads;
    w->v_size = w->v_width / w->heads;
    w->past = past ? past->dim[past->rank - 2] : 0;
    return 0;
}

/* ---- inference ---- */

static int need_operands(const struct mc_infer_ctx *c, const struct places *p, struct mc_err *err)
{
    int rc = mc_op_arity(c, p->weight < 0 ? 1 : 2, p->weight < 0 ? 8 : 6, err);
    for (int i = 0; i < c->n_in && !rc; i++) {
        if (!c->in[i])
            continue;
        rc = i == p->mask ? mc_op_need_index(c, i, err) : mc_op_need_float(c, i, err);
        rc = rc || i == p->mask ? rc : mc_op_need_same(c, 0, i, err);
    }
    if (!rc && p->key >= 0 && (!mc_op_in(c, p->key) || !mc_op_in(c, p->value)))
        return mc_op_fail(err, MC_EUNSUP, c->node, "packed queries, keys and values cannot run");
    rc = rc ? rc : mc_op_need_rank(c, 0, 3, 3, err);
    rc = rc || p->key < 0 ? rc : mc_op_need_rank(c, p->key, 3, 3, err);
    rc = rc || p->value < 0 ? rc : mc_op_need_rank(c, p->value, 3, 3, err);
    rc = rc || p->weight < 0 ? rc : mc_op_need_rank(c, p->weight, 2, 2, err);
    rc = rc ? rc : mc_op_need_rank(c, p->bias, 1, 1, err);
    rc = rc ? rc : mc_op_need_rank(c, p->mask, 1, 3, err);
    rc = rc ? rc : mc_op_need_rank(c, p->scores, 4, 4, err);
    int rank = p->past_value < 0 ? 5 : 4;
    rc = rc ? rc : mc_op_need_rank(c, p->past_key, rank, rank, err);
    if (!rc && p->past_value >= 0) {
        rc = mc_op_need_rank(c, p->past_value, rank, rank, err);
        if (!rc && !mc_op_in(c, p->past_key) != !mc_op_in(c, p->past_value))
            rc = mc_op_fail(err, MC_ESHAPE, c->node, "past_key and past_value go together");
    }
    if (!rc && mc_node_int(c->node, "do_rotary", 0))
        rc = mc_op_fail(err, MC_EUNSUP, c->node, "do_rotary cannot run");
    return rc;
}

static bool is_shape(const struct mc_shape *s, int rank, const int64_t *dim)
{
    struct mc_shape want = mc_shape_of(rank, dim);
    return mc_shape_equal(s, &want);
}

/* The shapes around the operands, which are all known here. */
static int need_fit(const struct mc_node *n, const struct mc_shape *const *shape, int n_in,
                    const struct widths *w, struct mc_err *err)
{
    const struct places *p = places_of(n);
    const struct mc_shape *at[8] = {0};
    for (int i = 0; i < n_in && i < 8; i++)
        at[i] = shape[i];
    int64_t total = w->past + w->kv_rows, all = w->q_width + w->k_width + w->v_width;
    int wrong = -1;
    if (p->weight >= 0 && at[p->weight]->dim[0] != at[0]->dim[2])
        wrong = p->weight;
    if (p->key >= 0 && (at[p->key]->dim[0] != w->batch || at[p->value]->dim[0] != w->batch ||
                        at[p->value]->dim[1] != w->kv_rows))
        wrong = p->value;
    if (at[p->bias] && !is_shape(at[p->bias], 1, &all))
        wrong = p->bias;
    if (at[p->past_key]) {
        int64_t k[] = {2, w->batch, w->heads, w->past, w->size};
        int64_t v[] = {w->batch, w->heads, w->past, w->v_size};
        bool both = p->past_value < 0;
        if (!is_shape(at[p->past_key], both ? 5 : 4, both ? k : k + 1) ||
            (both ? w->size != w->v_size : !is_shape(at[p->past_value], 4, v)))
            wrong = p->past_key;
    }
    const struct mc_shape *bias = at[p->scores], *mask = at[p->mask];
    if (bias && ((bias->dim[0] != 1 && bias->dim[0] != w->batch) ||
                 (bias->dim[1] != 1 && bias->dim[1] != w->heads) || bias->dim[2] != w->rows ||
                 bias->dim[3] != total))
        wrong = p->scores;
    int64_t full[] = {w->batch, w->rows, total}, keys[] = {w->batch, total};
    if (mask && !is_shape(mask, 1, &w->batch) && !is_shape(mask, 2, keys) &&
        !is_shape(mask, 3, full))
        wrong = p->mask;
    char text[MC_SHAPE_TEXT];
    if (wrong < 0)
        return 0;
    return mc_op_fail(
        err, MC_ESHAPE, n, "input %d %s does not fit %lld rows, %lld keys in %lld heads", wrong,
        mc_shape_text(at[wrong], text), (long long)w->rows, (long long)total, (long long)w->heads);
}

static int ms_infer(struct mc_infer_ctx *c, struct mc_err *err)
{
    const struct places *p = places_of(c->node);
    const struct mc_shape *shape[8] = {0};
    int rc = need_operands(c, p, err);
    if (rc)
        return rc;
    enum mc_dtype d = c->in[0]->dtype;
    bool known = true;
    for (int i = 0; i < c->n_in; i++) {
        if (c->in[i])
            known = known && c->in[i]->ranked && mc_shape_known(&c->in[i]->shape);
        shape[i] = c->in[i] ? &c->in[i]->shape : NULL;
    }
    for (int i = 0; i < c->n_out; i++)
        mc_op_give(c, i, d, NULL);
    if (!known)
        return 0;
    struct widths w;
    rc = read_widths(c->node, shape, c->n_in, &w, err);
    rc = rc ? rc : need_fit(c->node, shape, c->n_in, &w, err);
    if (rc)
        return rc;
    int64_t total = w.past + w.kv_rows;
    struct mc_shape y = {3, {w.batch, w.rows, w.v_width}};
    struct mc_shape k = {4, {w.batch, w.heads, total, w.size}}, v = k;
    v.dim[3] = w.v_size;
    if (p->past_value < 0)
        k = (struct mc_shape){5, {2, w.batch, w.heads, total, w.size}};
    if (p->past_value < 0 && mc_op_out(c, 1) && w.size != w.v_size)
        return mc_op_fail(err, MC_EUNSUP, c->node,
                          "a present of keys and values of different widths");
    mc_op_give(c, 0, d, &y);
    mc_op_give(c, 1, d, &k);
    mc_op_give(c, 2, d, &v);
    return 0;
}

/* ---- running; without scratch (at setup) the same steps only count it ---- */

struct work {
    struct mc_call *c;
    const struct places *p;
    struct widths w;
    size_t at;
    const void *packed; /* weight of Attention, where it is constant */
};

static size_t bytes_of(const struct work *k, int64_t elements)
{
    return (size_t)(elements * k->c->k->elem_bytes);
}

/* x W + b, the columns of queries, keys and values side by side. */
static void project(struct work *k, struct mc_attend *a)
{
    struct mc_call *c = k->c;
    int64_t m = k->w.batch * k->w.rows, in = c->in[0].shape.dim[2];
    int64_t n = k->w.q_width + k->w.k_width + k->w.v_width;
    void *y = mc_op_scratch(c, &k->at, bytes_of(k, m * n));
    bool packs = !k->packed && !c->k->device;
    void *packed = packs ? mc_op_scratch(c, &k->at, c->k->gemm.pack_b_bytes(in, n)) : NULL;
    size_t room = c->k->device ? 0 : c->k->gemm.scratch_bytes(m, n, in, mc_pool_threads(c->pool));
    void *scratch = mc_op_scratch(c, &k->at, room);
    struct mc_attend_array *part[] = {&a->q, &a->k, &a->v};
    int64_t from[] = {0, k->w.q_width, k->w.q_width + k->w.k_width};
    for (int i = 0; i < 3; i++)
        *part[i] = (struct mc_attend_array){y ? (char *)y + bytes_of(k, from[i]) : NULL,
                                            k->w.rows * n, i == 2 ? k->w.v_size : k->w.size, n};
    if (!c->scratch)
        return;
    if (packed)
        c->k->gemm.pack_b(in, n, c->in[k->p->weight].data, n, 1, packed, c->pool);
    const struct mc_buf *bias = mc_op_arg(c, k->p->bias);
    struct mc_gemm g = {.m = m,
                        .n = n,
                        .k = in,
                        .a = c->in[0].data,
                        .a_row = in,
                        .a_col = 1,
                        .packed_b = packed ? packed : k->packed,
                        .b = c->in[k->p->weight].data,
                        .b_row = n,
                        .b_col = 1,
                        .c = y,
                        .c_row = n,
                        .alpha = 1,
                        .epilogue = {.bias = bias ? bias->data : NULL}};
    c->k->gemm.run(&g, scratch, c->pool);
}

/* Input i of MultiHeadAttention, with its part of the bias. */
static struct mc_attend_array biased(struct work *k, int i, int64_t from)
{
    struct mc_call *c = k->c;
    const struct mc_shape *s = &c->in[i].shape;
    const struct mc_buf *bias = mc_op_arg(c, k->p->bias);
    int64_t rows = s->dim[1], n = s->dim[2];
    struct mc_attend_array x = {c->in[i].data, rows * n, n / k->w.heads, n};
    if (!bias)
        return x;
    void *y = mc_op_scratch(c, &k->at, bytes_of(k, s->dim[0] * rows * n));
    struct mc_binary add = {.fn = MC_BINARY_ADD,
                            .rank = 2,
                            .dim = {s->dim[0] * rows, n},
                            .stride = {{n, 1}, {0, 1}},
                            .x = x.data,
                            .z = y};
    x.data = y;
    if (y) {
        add.y = (const char *)bias->data + bytes_of(k, from);
        c->k->elementwise.binary(&add, c->pool);
    }
    return x;
}

/* Keys (which 0) or values (1) behind the past, in the present or in scratch. */
static void cache(struct work *k, int which, int64_t size, struct mc_attend_array *x)
{
    struct mc_call *c = k->c;
    const struct widths *w = &k->w;
    bool both = k->p->past_value < 0;
    const struct mc_buf *past = mc_op_arg(c, which && !both ? k->p->past_value : k->p->past_key);
    const struct mc_buf *present = mc_op_res(c, which && !both ? 2 : 1);
    if (!past && !present)
        return;
    int64_t total = w->past + w->kv_rows, each = w->batch * w->heads * size;
    void *to = present ? present->data : mc_op_scratch(c, &k->at, bytes_of(k, each * total));
    if (both && present && which && to)
        to = (char *)to + bytes_of(k, each * total);
    struct mc_attend_array y = {to, w->heads * total * size, total * size, size};
    struct mc_move m = {.rank = 4,
                        .dim = {w->batch, w->heads, w->kv_rows, size},
                        .src_stride = {x->batch, x->head, x->row, 1},
                        .dst_stride = {y.batch, y.head, y.row, 1},
                        .src = x->data,
                        .elem_bytes = c->k->elem_bytes};
    *x = y;
    if (!c->scratch)
        return;
    m.dst = (char *)to + bytes_of(k, w->past * size);
    c->k->move.run(&m, c->pool);
    if (!past)
        return;
    m.dim[2] = w->past;
    m.src = (const char *)past->data + (both && which ? bytes_of(k, each * w->past) : 0);
    m.dst = to;
    const int64_t from[] = {w->heads * w->past * size, w->past * size, size, 1};
    memcpy(m.src_stride, from, sizeof from);
    c->k->move.run(&m, c->pool);
}

/* Lengths [batch], or 0 where a key is masked: as numbers that are added to the scores. */
static void padding(struct work *k, struct mc_attend_mask *ret)
{
    struct mc_call *c = k->c;
    const struct mc_buf *mask = mc_op_arg(c, k->p->mask);
    if (!mask)
        return;
    int64_t total = k->w.past + k->w.kv_rows, rank = mask->shape.rank;
    int64_t n = k->w.batch * total * (rank == 3 ? k->w.rows : 1);
    double off = (double)mc_node_float(c->node, "mask_filter_value", -10000);
    void *to = c->k->device ? NULL : mc_op_scratch(c, &k->at, bytes_of(k, n));
    *ret = (struct mc_attend_mask){
        .data = to, .keys = total, .stored = c->out[0].dtype, .stride = {total, 0, 0, 1}};
    if (rank == 3) {
        ret->stride[0] = k->w.rows * total;
        ret->stride[2] = total;
    }
    if (c->k->device) { /* reads the numbers as they are */
        bool i32 = mask->dtype == MC_DTYPE_I32;
        ret->data = mask->data;
        ret->off = off;
        ret->whole = i32 ? MC_SCORE_KEEP32 : MC_SCORE_KEEP64;
        if (rank == 1) {
            ret->whole = i32 ? MC_SCORE_COUNT32 : MC_SCORE_COUNT64;
            ret->stride[0] = 1;
        }
    }
    for (int64_t i = 0; to && i < n; i++) {
        int64_t at = rank == 1 ? i / total : i;
        int64_t v = mask->dtype == MC_DTYPE_I32 ? ((const int32_t *)mask->data)[at]
                                                : ((const int64_t *)mask->data)[at];
        bool on = rank == 1 ? i % total < v : v != 0;
        mc_set_param(to, c->k->elem_bytes, i, on ? 0 : off);
    }
}

static void describe(struct work *k, struct mc_attend *a)
{
    struct mc_call *c = k->c;
    const struct widths *w = &k->w;
    *a = (struct mc_attend){.batch = w->batch,
                            .heads = w->heads,
                            .kv_heads = w->heads,
                            .q_len = w->rows,
                            .kv_len = w->past + w->kv_rows,
                            .size = w->size,
                            .v_size = w->v_size,
                            .past = w->past,
                            .left = -1,
                            .right = mc_node_int(c->node, "unidirectional", 0) ? 0 : -1};
    float usual = (float)(1 / sqrt((double)(w->size > 0 ? w->size : 1)));
    float scale = mc_node_float(c->node, "scale", 0);
    a->scale = (double)(scale != 0 ? scale : usual);
    if (k->p->weight >= 0) {
        project(k, a);
    } else {
        a->q = biased(k, 0, 0);
        a->k = biased(k, k->p->key, w->q_width);
        a->v = biased(k, k->p->value, w->q_width + w->k_width);
    }
    cache(k, 0, w->size, &a->k);
    cache(k, 1, w->v_size, &a->v);
    padding(k, &a->mask[0]);
    const struct mc_buf *bias = mc_op_arg(c, k->p->scores);
    if (bias) {
        struct mc_shape to = {4, {w->batch, w->heads, w->rows, a->kv_len}};
        a->mask[1] =
            (struct mc_attend_mask){.data = bias->data, .keys = a->kv_len, .stored = bias->dtype};
        mc_op_broadcast_strides(&bias->shape, &to, a->mask[1].stride);
    }
    a->y = (struct mc_attend_array){c->out[0].data, w->rows * w->v_width, w->v_size, w->v_width};
}

static int work_of(struct mc_call *c, struct work *k, struct mc_err *err)
{
    const struct mc_shape *shape[8] = {0};
    *k = (struct work){.c = c, .p = places_of(c->node)};
    for (int i = 0; i < c->n_in && i < 8; i++)
        shape[i] = mc_op_arg(c, i) ? &c->in[i].shape : NULL;
    return read_widths(c->node, shape, c->n_in, &k->w, err);
}

static int ms_setup(struct mc_call *c, struct mc_err *err)
{
    struct work k;
    struct mc_attend a;
    int rc = work_of(c, &k, err), weight = rc ? -1 : k.p->weight;
    if (rc)
        return rc;
    if (weight >= 0 && c->in[weight].constant && !c->k->device) {
        int64_t in = c->in[weight].shape.dim[0], n = c->in[weight].shape.dim[1];
        const int64_t layout[] = {MC_PACK_PROJECTION, in, n};
        void *block;
        bool fresh;
        rc = mc_pack_get(c->packs, c->in[weight].data, layout, 3, c->k->gemm.pack_b_bytes(in, n),
                         &block, &fresh, err);
        if (rc)
            return rc;
        if (fresh)
            c->k->gemm.pack_b(in, n, c->in[weight].data, n, 1, block, c->pool);
        c->state = block; /* belongs to the cache of packed constants */
    }
    k.packed = c->state;
    describe(&k, &a);
    mc_op_scratch(c, &k.at, mc_attend_scratch(&a, c->k, mc_pool_threads(c->pool)));
    c->scratch_bytes = k.at;
    return 0;
}

static int ms_run(struct mc_call *c, struct mc_err *err)
{
    struct work k;
    struct mc_attend a;
    int rc = work_of(c, &k, err);
    if (rc)
        return rc;
    k.packed = c->state;
    describe(&k, &a);
    size_t bytes = mc_attend_scratch(&a, c->k, mc_pool_threads(c->pool));
    mc_attend_run(&a, c->k, c->pool, mc_op_scratch(c, &k.at, bytes));
    return 0;
}

#define ROW(name)                                                                                  \
    {                                                                                              \
        "com.microsoft", name, 1, 0, ms_infer, ms_setup, ms_run, NULL, NULL, NULL                  \
    }
const struct mc_op mc_ops_attention_ms[] = {
    ROW("Attention"),
    ROW("MultiHeadAttention"),
    {0},
};

static bool gpu_can(const struct mc_call *c)
{
    return c->k->gemm.run && c->k->attend.softmax && c->k->move.run && c->k->elementwise.binary &&
           mc_op_gpu_floats(c);
}

const struct mc_op_gpu mc_op_gpu_attention_ms[] = {
    {"com.microsoft", "Attention", .can = gpu_can},
    {"com.microsoft", "MultiHeadAttention", .can = gpu_can},
    {0},
};
