/* Attention of ai.onnx: three or four dimensions, grouped queries, masks, a cache of keys and values. */
#include <math.h>
#include <string.h>

#include "graph/ops/attention_core.h"
#include "graph/ops/helper.h"
#include "graph/ops/op_gpu.h"

enum { Q, K, V, MASK, PAST_K, PAST_V, VALID };     /* inputs */
enum { Y, PRESENT_K, PRESENT_V, SCORES, OUTPUTS }; /* outputs */
enum { BATCH, HEAD, ROW, COLUMN };                 /* of four dimensions */

static int64_t heads_of(const struct mc_node *n, int i)
{
    return mc_node_int(n, i == Q ? "q_num_heads" : "kv_num_heads", 0);
}

/* Input i as [batch, heads, rows, columns]. */
static void four(const struct mc_node *n, const struct mc_shape *x, int i, struct mc_shape *ret)
{
    *ret = *x;
    if (x->rank == 4)
        return;
    int64_t heads = heads_of(n, i), columns = x->dim[2];
    *ret = (struct mc_shape){
        4, {x->dim[0], heads, x->dim[1], columns < 0 ? MC_DIM_ANY : columns / heads}};
}

static int need_operand(const struct mc_infer_ctx *c, int i, struct mc_shape *ret,
                        struct mc_err *err)
{
    const struct mc_vtype *x = c->in[i];
    int rc = mc_op_need_float(c, i, err);
    rc = rc ? rc : mc_op_need_rank(c, i, 3, 4, err);
    *ret = (struct mc_shape){4, {MC_DIM_ANY, MC_DIM_ANY, MC_DIM_ANY, MC_DIM_ANY}};
    if (rc || !x->ranked)
        return rc;
    int64_t heads = heads_of(c->node, i);
    if (x->shape.rank == 3 && (heads < 1 || (x->shape.dim[2] >= 0 && x->shape.dim[2] % heads != 0)))
        return mc_op_fail(err, MC_ESHAPE, c->node, "%lld heads do not divide %lld columns",
                          (long long)heads, (long long)x->shape.dim[2]);
    four(c->node, &x->shape, i, ret);
    return 0;
}

static int need_past(const struct mc_infer_ctx *c, int i, const struct mc_shape *now,
                     int64_t *ret_total, struct mc_err *err)
{
    const struct mc_vtype *p = mc_op_in(c, i);
    *ret_total = now->dim[ROW];
    if (!p)
        return 0;
    int rc = mc_op_need_same(c, i, i == PAST_K ? K : V, err);
    rc = rc ? rc : mc_op_need_rank(c, i, 4, 4, err);
    int64_t same;
    for (int d = 0; d < 4 && !rc && p->ranked; d++)
        if (d != ROW)
            rc = mc_op_need_dim(c->node, "past and new keys or values", p->shape.dim[d],
                                now->dim[d], &same, err);
    bool known = p->ranked && p->shape.dim[ROW] >= 0 && now->dim[ROW] >= 0;
    *ret_total = known ? p->shape.dim[ROW] + now->dim[ROW] : MC_DIM_ANY;
    return rc;
}

static int need_mask(const struct mc_infer_ctx *c, const struct mc_shape *scores,
                     struct mc_err *err)
{
    const struct mc_vtype *m = mc_op_in(c, MASK);
    char a[MC_SHAPE_TEXT], b[MC_SHAPE_TEXT];
    if (!m)
        return 0;
    if (m->dtype != MC_DTYPE_BOOL) {
        int rc = mc_op_need_float(c, MASK, err);
        if (rc)
            return rc;
    }
    if (!m->ranked)
        return 0;
    bool fits = m->shape.rank <= 4;
    for (int d = 1; d <= m->shape.rank && fits; d++) {
        int64_t have = m->shape.dim[m->shape.rank - d], want = scores->dim[4 - d];
        bool shorter = d == 1 && c->node->version >= 24 && have < want;
        fits = have < 0 || want < 0 || have == 1 || have == want || shorter;
    }
    if (!fits)
        return mc_op_fail(err, MC_ESHAPE, c->node, "the mask %s does not broadcast to %s",
                          mc_shape_text(&m->shape, a), mc_shape_text(scores, b));
    return 0;
}

static int need_rest(const struct mc_infer_ctx *c, int64_t batch, struct mc_err *err)
{
    int64_t same, stage = mc_node_int(c->node, "qk_matmul_output_mode", 0);
    const struct mc_vtype *valid = mc_op_in(c, VALID);
    int rc = mc_op_need_rank(c, VALID, 1, 1, err);
    if (!rc && valid && valid->dtype && valid->dtype != MC_DTYPE_I64)
        return mc_op_fail(err, MC_EDTYPE, c->node, "nonpad_kv_seqlen is %s, must be int64",
                          mc_dtype_name((int)valid->dtype));
    if (!rc && valid && valid->ranked)
        rc = mc_op_need_dim(c->node, "nonpad_kv_seqlen and batch", valid->shape.dim[0], batch,
                            &same, err);
    if (rc)
        return rc;
    if (!mc_op_in(c, PAST_K) != !mc_op_in(c, PAST_V))
        return mc_op_fail(err, MC_ESHAPE, c->node, "past_key and past_value go together");
    if (valid && mc_op_in(c, PAST_K))
        return mc_op_fail(err, MC_ESHAPE, c->node, "nonpad_kv_seqlen and past_key exclude another");
    if (stage < 0 || stage > 3)
        return mc_op_fail(err, MC_EUNSUP, c->node, "qk_matmul_output_mode %lld", (long long)stage);
    if (mc_node_float(c->node, "softcap", 0) < 0)
        return mc_op_fail(err, MC_EUNSUP, c->node, "softcap %g is below 0",
                          (double)mc_node_float(c->node, "softcap", 0));
    return 0;
}

static int attention_infer(struct mc_infer_ctx *c, struct mc_err *err)
{
    struct mc_shape q, k, v;
    int64_t total = MC_DIM_ANY, total_v = MC_DIM_ANY, batch = MC_DIM_ANY, same;
    int rc = mc_op_arity(c, 3, 7, err);
    rc = rc ? rc : need_operand(c, Q, &q, err);
    rc = rc ? rc : need_operand(c, K, &k, err);
    rc = rc ? rc : need_operand(c, V, &v, err);
    rc = rc ? rc : mc_op_need_one_width(c, err);
    rc = rc ? rc : mc_op_need_dim(c->node, "batches", q.dim[BATCH], k.dim[BATCH], &batch, err);
    rc = rc ? rc : mc_op_need_dim(c->node, "batches", batch, v.dim[BATCH], &batch, err);
    rc = rc ? rc
            : mc_op_need_dim(c->node, "query and key", q.dim[COLUMN], k.dim[COLUMN], &same, err);
    rc = rc ? rc
            : mc_op_need_dim(c->node, "heads of keys and values", k.dim[HEAD], v.dim[HEAD], &same,
                             err);
    rc = rc ? rc : mc_op_need_dim(c->node, "keys and values", k.dim[ROW], v.dim[ROW], &same, err);
    rc = rc ? rc : need_rest(c, batch, err);
    rc = rc ? rc : need_past(c, PAST_K, &k, &total, err);
    rc = rc ? rc : need_past(c, PAST_V, &v, &total_v, err);
    rc = rc ? rc : mc_op_need_dim(c->node, "past keys and values", total, total_v, &total, err);
    if (rc)
        return rc;
    if (q.dim[HEAD] >= 0 && k.dim[HEAD] >= 0 && (k.dim[HEAD] == 0 || q.dim[HEAD] % k.dim[HEAD]))
        return mc_op_fail(err, MC_ESHAPE, c->node, "%lld key heads do not divide %lld query heads",
                          (long long)k.dim[HEAD], (long long)q.dim[HEAD]);
    struct mc_shape scores = {4, {batch, q.dim[HEAD], q.dim[ROW], total}};
    if ((rc = need_mask(c, &scores, err)))
        return rc;
    enum mc_dtype d = c->in[Q]->dtype;
    struct mc_shape y = {4, {batch, q.dim[HEAD], q.dim[ROW], v.dim[COLUMN]}};
    if (c->in[Q]->ranked && c->in[Q]->shape.rank == 3) {
        bool known = q.dim[HEAD] >= 0 && v.dim[COLUMN] >= 0;
        y = (struct mc_shape){
            3, {batch, q.dim[ROW], known ? q.dim[HEAD] * v.dim[COLUMN] : MC_DIM_ANY}};
    }
    mc_op_give(c, Y, d, c->in[Q]->ranked ? &y : NULL);
    k.dim[ROW] = v.dim[ROW] = total;
    mc_op_give(c, PRESENT_K, c->in[K]->dtype, &k);
    mc_op_give(c, PRESENT_V, c->in[V]->dtype, &v);
    mc_op_give(c, SCORES, d, &scores);
    return 0;
}

/* A buffer of three or four dimensions, read as four. */
static struct mc_attend_array array_of(const struct mc_buf *b, const struct mc_shape *s)
{
    int64_t rows = s->dim[ROW], columns = s->dim[COLUMN], heads = s->dim[HEAD];
    if (b->shape.rank == 3)
        return (struct mc_attend_array){b->data, rows * heads * columns, columns, heads * columns};
    return (struct mc_attend_array){b->data, heads * rows * columns, rows * columns, columns};
}

/* Rows [from, from + rows) of the cache `to`, of `total` rows. */
static void put_rows(const struct mc_call *c, const struct mc_attend_array *x,
                     const struct mc_shape *s, const struct mc_attend_array *to, int64_t from)
{
    struct mc_move m = {.rank = 4,
                        .src_stride = {x->batch, x->head, x->row, 1},
                        .dst_stride = {to->batch, to->head, to->row, 1},
                        .src = x->data,
                        .dst = (char *)to->data + from * to->row * c->k->elem_bytes,
                        .elem_bytes = c->k->elem_bytes};
    memcpy(m.dim, s->dim, 4 * sizeof *m.dim);
    c->k->move.run(&m, c->pool);
}

/* Keys (values) to attend to: as they are, or behind the past in the output or in scratch. */
static struct mc_attend_array cached(struct mc_call *c, int i, struct mc_shape *s, size_t *at)
{
    const struct mc_buf *past = mc_op_arg(c, i == K ? PAST_K : PAST_V);
    struct mc_buf *present = mc_op_res(c, i == K ? PRESENT_K : PRESENT_V);
    four(c->node, &c->in[i].shape, i, s);
    struct mc_attend_array now = array_of(&c->in[i], s);
    if (!past && !present)
        return now;
    struct mc_shape new_rows = *s;
    int64_t before = past ? past->shape.dim[ROW] : 0;
    s->dim[ROW] += before;
    struct mc_buf all = {.shape = *s};
    if (present)
        all.data = present->data;
    else
        all.data = mc_op_scratch(c, at, (size_t)(mc_shape_count(s) * c->k->elem_bytes));
    struct mc_attend_array to = array_of(&all, s);
    if (!all.data || !now.data)
        return to;
    if (past) {
        struct mc_attend_array old = array_of(past, &past->shape);
        put_rows(c, &old, &past->shape, &to, 0);
    }
    put_rows(c, &now, &new_rows, &to, before);
    return to;
}

static void describe(struct mc_call *c, struct mc_attend *a, size_t *at)
{
    struct mc_shape q, k, v, y;
    const struct mc_buf *mask = mc_op_arg(c, MASK), *valid = mc_op_arg(c, VALID);
    four(c->node, &c->in[Q].shape, Q, &q);
    *a = (struct mc_attend){.left = mc_node_int(c->node, "left_window_size", -1),
                            .right = mc_node_int(c->node, "right_window_size", -1)};
    a->q = array_of(&c->in[Q], &q);
    a->k = cached(c, K, &k, at);
    a->v = cached(c, V, &v, at);
    y = (struct mc_shape){4, {q.dim[BATCH], q.dim[HEAD], q.dim[ROW], v.dim[COLUMN]}};
    a->y = array_of(&c->out[Y], &y);
    a->batch = q.dim[BATCH];
    a->heads = q.dim[HEAD];
    a->kv_heads = k.dim[HEAD];
    a->q_len = q.dim[ROW];
    a->kv_len = k.dim[ROW];
    a->size = q.dim[COLUMN];
    a->v_size = v.dim[COLUMN];
    a->past =
        k.dim[ROW] - (c->in[K].shape.rank == 4 ? c->in[K].shape.dim[2] : c->in[K].shape.dim[1]);
    float usual = (float)(1 / sqrt((double)(a->size > 0 ? a->size : 1)));
    a->scale = (double)mc_node_float(c->node, "scale", usual);
    a->softcap = (double)mc_node_float(c->node, "softcap", 0);
    if (mc_node_int(c->node, "is_causal", 0))
        a->right = 0;
    a->valid = valid ? valid->data : NULL;
    a->stage = (int)mc_node_int(c->node, "qk_matmul_output_mode", 0);
    a->scores = mc_op_res(c, SCORES) ? c->out[SCORES].data : NULL;
    if (mask) {
        struct mc_attend_mask *m = &a->mask[0];
        int64_t last = mask->shape.rank ? mask->shape.dim[mask->shape.rank - 1] : 1;
        struct mc_shape to = {4, {a->batch, a->heads, a->q_len, last}};
        *m = (struct mc_attend_mask){.data = mask->data,
                                     .allows = mask->dtype == MC_DTYPE_BOOL,
                                     .keys = last == 1 ? a->kv_len : last,
                                     .stored = mask->dtype};
        mc_op_broadcast_strides(&mask->shape, &to, m->stride);
    }
}

static int attention_setup(struct mc_call *c, struct mc_err *err)
{
    (void)err;
    struct mc_attend a;
    size_t at = 0;
    describe(c, &a, &at);
    mc_op_scratch(c, &at, mc_attend_scratch(&a, c->k, mc_pool_threads(c->pool)));
    c->scratch_bytes = at;
    return 0;
}

static int attention_run(struct mc_call *c, struct mc_err *err)
{
    struct mc_attend a;
    size_t at = 0;
    describe(c, &a, &at);
    for (int64_t b = 0; a.valid && !c->k->device && b < a.batch; b++)
        if (a.valid[b] < 0 || a.valid[b] > a.kv_len)
            return mc_op_fail(err, MC_EDATA, c->node, "%lld valid keys of %lld",
                              (long long)a.valid[b], (long long)a.kv_len);
    size_t bytes = mc_attend_scratch(&a, c->k, mc_pool_threads(c->pool));
    mc_attend_run(&a, c->k, c->pool, mc_op_scratch(c, &at, bytes));
    return 0;
}

static double attention_macs(const struct mc_infer_ctx *c)
{
    struct mc_shape q, k, v;
    if (need_operand(c, Q, &q, NULL) || need_operand(c, K, &k, NULL) ||
        need_operand(c, V, &v, NULL) || !mc_shape_known(&q) || !mc_shape_known(&k) ||
        !mc_shape_known(&v))
        return -1;
    int64_t total = 0;
    need_past(c, PAST_K, &k, &total, NULL);
    if (total < 0)
        return -1;
    double rows = (double)q.dim[BATCH] * (double)q.dim[HEAD] * (double)q.dim[ROW];
    return rows * (double)total * ((double)q.dim[COLUMN] + (double)v.dim[COLUMN]);
}

const struct mc_op mc_ops_attention[] = {
    {"", "Attention", 23, 0, attention_infer, attention_setup, attention_run, NULL, attention_macs,
     NULL},
    {0},
};

static bool gpu_can(const struct mc_call *c)
{
    return c->k->gemm.run && c->k->attend.softmax && c->k->move.run && mc_op_gpu_floats(c);
}

const struct mc_op_gpu mc_op_gpu_attention[] = {{"", "Attention", .can = gpu_can}, {0}};
