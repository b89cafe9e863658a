/* DynamicQuantizeLSTM of com.microsoft: an LSTM with weights of 8 bits, stored transposed; what they are
 * multiplied with is quantised on the way, by its own range: the whole input, and the state of each step. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "graph/ops/helper.h"
#include "graph/ops/int8.h"
#include "graph/ops/rnn_node.h"
#include "graph/ops/pack.h"

enum { W_SCALE = MC_RNN_INPUTS, W_ZERO, R_SCALE, R_ZERO, INPUTS };

/* ---- inference ---- */

static int check_types(const struct mc_infer_ctx *c, struct mc_err *err)
{
    int rc = mc_op_arity(c, 3, INPUTS, err);
    for (int i = 0; i < INPUTS && !rc; i++) {
        bool needed = i < MC_RNN_IN_B || i >= W_SCALE;
        if (!mc_op_in(c, i))
            rc = needed ? mc_op_fail(err, MC_ESHAPE, c->node, "input %d is left out", i) : 0;
        else if (i == MC_RNN_IN_LENS)
            rc = mc_op_need_index(c, i, err);
        else if (i == MC_RNN_IN_W || i == MC_RNN_IN_R)
            rc = mc_int8_need(c, i, err);
        else if (i < W_SCALE)
            rc = mc_op_need_float(c, i, err);
    }
    rc = rc ? rc : mc_int8_need_params(c, W_SCALE, W_ZERO, MC_RNN_IN_W, true, err);
    return rc ? rc : mc_int8_need_params(c, R_SCALE, R_ZERO, MC_RNN_IN_R, true, err);
}

/* Input i, where it is there and known, has the shape `want`; what is known on either side ends up in it. */
static int meet(const struct mc_infer_ctx *c, int i, int rank, int64_t *const want[],
                struct mc_err *err)
{
    const struct mc_vtype *x = mc_op_in(c, i);
    char what[32];
    int rc = mc_op_need_rank(c, i, rank, rank, err);
    snprintf(what, sizeof what, "shape of input %d", i);
    for (int d = 0; x && x->ranked && d < rank && !rc; d++)
        rc = mc_op_need_dim(c->node, what, x->shape.dim[d], *want[d], want[d], err);
    return rc;
}

static int check_shapes(const struct mc_infer_ctx *c, struct mc_rnn_node *l, struct mc_err *err)
{
    int64_t dirs = l->dirs, gates = MC_DIM_ANY, many;
    l->steps = l->batch = l->input = l->hidden = MC_DIM_ANY;
    int64_t *const x[] = {&l->steps, &l->batch, &l->input}, *const w[] = {&dirs, &l->input, &gates};
    int64_t *const r[] = {&dirs, &l->hidden, &gates}, *const lens[] = {&l->batch};
    int64_t *const state[] = {&dirs, &l->batch, &l->hidden}, *const list[] = {&dirs, &many};
    int rc = meet(c, MC_RNN_IN_X, 3, x, err);
    rc = rc ? rc : meet(c, MC_RNN_IN_R, 3, r, err);
    rc = rc ? rc : meet(c, MC_RNN_IN_W, 3, w, err);
    if (!rc && gates >= 0 && l->hidden >= 0 && (gates % 4 || gates / 4 != l->hidden))
        rc = mc_op_fail(err, MC_ESHAPE, c->node, "%lld gates for %lld hidden values",
                        (long long)gates, (long long)l->hidden);
    rc = rc ? rc : meet(c, MC_RNN_IN_LENS, 1, lens, err);
    rc = rc ? rc : meet(c, MC_RNN_IN_H, 3, state, err);
    rc = rc ? rc : meet(c, MC_RNN_IN_C, 3, state, err);
    many = gates < 0 ? MC_DIM_ANY : gates * 2;
    rc = rc ? rc : meet(c, MC_RNN_IN_B, 2, list, err);
    many = gates < 0 ? MC_DIM_ANY : gates / 4 * 3;
    rc = rc ? rc : meet(c, MC_RNN_IN_P, 2, list, err);
    for (int i = W_SCALE; i < INPUTS && !rc; i++) { /* one for each direction, or for each gate */
        many = gates;
        rc = meet(c, i, mc_op_rank(c, i) == 2 ? 2 : 1, list, err);
    }
    return rc;
}

static int lstm_infer(struct mc_infer_ctx *c, struct mc_err *err)
{
    struct mc_rnn_node l;
    int rc = check_types(c, err);
    rc = rc ? rc : mc_rnn_parse(c->node, &l, err);
    if (!rc && l.batch_first)
        rc = mc_op_fail(err, MC_EUNSUP, c->node, "layout 1 cannot run");
    rc = rc ? rc : check_shapes(c, &l, err);
    if (rc)
        return rc;
    struct mc_shape y = {4, {l.steps, l.dirs, l.batch, l.hidden}};
    struct mc_shape h = {3, {l.dirs, l.batch, l.hidden}};
    mc_op_give(c, 0, c->in[MC_RNN_IN_X]->dtype, &y);
    mc_op_give(c, 1, c->in[MC_RNN_IN_X]->dtype, &h);
    mc_op_give(c, 2, c->in[MC_RNN_IN_X]->dtype, &h);
    return 0;
}

static double lstm_macs(const struct mc_infer_ctx *c)
{
    struct mc_rnn_node l;
    if (mc_rnn_parse(c->node, &l, NULL) || check_shapes(c, &l, NULL) || l.steps < 0 ||
        l.batch < 0 || l.input < 0 || l.hidden < 0)
        return -1;
    return (double)l.dirs * (double)l.steps * (double)l.batch * 4 * (double)l.hidden *
           (double)(l.input + l.hidden);
}

/* ---- setup ---- */

static size_t packed_bytes(const struct mc_call *c, const struct mc_rnn_node *l, bool recurrent)
{
    return c->k->gemm_s8.pack_b_bytes(recurrent ? l->hidden : l->input, 4 * l->hidden);
}

static void pack(const struct mc_call *c, const struct mc_rnn_node *l, bool recurrent, int dir,
                 void *dst)
{
    const struct mc_buf *b = &c->in[recurrent ? MC_RNN_IN_R : MC_RNN_IN_W];
    int64_t k = recurrent ? l->hidden : l->input, n = 4 * l->hidden;
    struct mc_s8_side side = {(const uint8_t *)b->data + dir * n * k, b->dtype == MC_DTYPE_I8, n,
                              1};
    c->k->gemm_s8.pack_b(k, n, &side, dst, c->pool);
}

static int pack_constant(struct mc_call *c, const struct mc_rnn_node *l, bool recurrent, int dir,
                         const void **ret, struct mc_err *err)
{
    const struct mc_buf *b = &c->in[recurrent ? MC_RNN_IN_R : MC_RNN_IN_W];
    const int64_t layout[] = {MC_PACK_LSTM_S8, recurrent, dir, l->input, l->hidden};
    void *block;
    bool fresh;
    if (!b->constant)
        return 0;
    int rc = mc_pack_get(c->packs, b->data, layout, 5, packed_bytes(c, l, recurrent), &block,
                         &fresh, err);
    if (!rc && fresh)
        pack(c, l, recurrent, dir, block);
    if (!rc)
        *ret = block;
    return rc;
}

struct space { /* parts of the scratch */
    void *gates, *bias, *h, *c, *packed_w, *packed_r, *kernel;
    float *narrow;
    uint8_t *left, *active; /* left: the quantised side of a product */
    int32_t *sums, *zero;
};

static size_t layout_scratch(const struct mc_call *c, const struct mc_rnn_node *l, struct space *s)
{
    size_t at = 0, elem = (size_t)c->k->elem_bytes, gates = 4 * (size_t)l->hidden;
    size_t rows = (size_t)(l->steps * l->batch), batch = (size_t)l->batch;
    size_t x = rows * (size_t)l->input, h = batch * (size_t)l->hidden, most = x > h ? x : h;
    const struct mc_gemm_s8_kernels *k = &c->k->gemm_s8;
    int threads = mc_pool_threads(c->pool);
    size_t in = k->scratch_bytes((int64_t)rows, (int64_t)gates, l->input, threads);
    size_t step = k->scratch_bytes(l->batch, (int64_t)gates, l->hidden, threads);
    *s = (struct space){0};
    s->gates = mc_op_scratch(c, &at, rows * gates * elem);
    s->bias = mc_op_scratch(c, &at, gates * elem);
    s->h = mc_op_scratch(c, &at, h * elem);
    s->c = mc_op_scratch(c, &at, h * elem);
    s->narrow = mc_op_scratch(c, &at, most * sizeof(float));
    s->left = mc_op_scratch(c, &at, most);
    s->active = mc_op_scratch(c, &at, batch);
    s->sums = mc_op_scratch(c, &at, rows * gates * sizeof(int32_t));
    s->zero = mc_op_scratch(c, &at, gates * sizeof(int32_t));
    if (!c->in[MC_RNN_IN_W].constant)
        s->packed_w = mc_op_scratch(c, &at, packed_bytes(c, l, false));
    if (!c->in[MC_RNN_IN_R].constant)
        s->packed_r = mc_op_scratch(c, &at, packed_bytes(c, l, true));
    s->kernel = mc_op_scratch(c, &at, in > step ? in : step);
    return at;
}

static int lstm_setup(struct mc_call *c, struct mc_err *err)
{
    const struct mc_shape *x = &c->in[MC_RNN_IN_X].shape;
    struct mc_rnn_node l;
    struct space s;
    int rc = mc_rnn_parse(c->node, &l, err);
    if (rc)
        return rc;
    l.steps = x->dim[0];
    l.batch = x->dim[1];
    l.input = x->dim[2];
    l.hidden = c->in[MC_RNN_IN_R].shape.dim[1];
    for (int d = 0; d < l.dirs && !rc; d++) {
        rc = pack_constant(c, &l, false, d, &l.packed_w[d], err);
        rc = rc ? rc : pack_constant(c, &l, true, d, &l.packed_r[d][0], err);
    }
    if (rc)
        return rc;
    c->scratch_bytes = layout_scratch(c, &l, &s);
    c->state = malloc(sizeof l);
    if (!c->state)
        return mc_fail(err, MC_ENOMEM, "out of memory");
    memcpy(c->state, &l, sizeof l);
    return 0;
}

static void lstm_teardown(struct mc_call *c)
{
    free(c->state);
    c->state = NULL;
}

/* ---- running ---- */

static double get(const void *x, bool wide, int64_t i)
{
    return wide ? ((const double *)x)[i] : (double)((const float *)x)[i];
}

static void put(void *x, bool wide, int64_t i, double v)
{
    if (wide)
        ((double *)x)[i] = v;
    else
        ((float *)x)[i] = (float)v;
}

/* gates = (m rows of a, quantised) times W or R; plus the bias for W, plus what is there for R. */
static void product(const struct mc_call *c, const struct mc_rnn_node *l, const struct space *s,
                    bool recurrent, int dir, const void *a, int64_t m, void *gates)
{
    int64_t k = recurrent ? l->hidden : l->input, n = 4 * l->hidden, count = m * k;
    const struct mc_buf *scale = &c->in[recurrent ? R_SCALE : W_SCALE];
    const struct mc_buf *zero = &c->in[recurrent ? R_ZERO : W_ZERO];
    int64_t scales = mc_op_count(scale) / l->dirs, zeros = mc_op_count(zero) / l->dirs;
    bool wide = c->k->elem_bytes == 8;
    const float *from = a;
    float a_scale;
    int32_t a_zero;
    for (int64_t i = 0; i < count && wide; i++)
        s->narrow[i] = (float)((const double *)a)[i];
    if (wide)
        from = s->narrow;
    mc_int8_dynamic(&c->k->quant, from, count, s->left, &a_scale, &a_zero, c->pool);
    for (int64_t j = 0; j < zeros; j++)
        s->zero[j] = zero->dtype == MC_DTYPE_I8 ? ((const int8_t *)zero->data)[dir * zeros + j]
                                                : ((const uint8_t *)zero->data)[dir * zeros + j];
    const void *packed = recurrent ? l->packed_r[dir][0] : l->packed_w[dir];
    const struct mc_buf *b = &c->in[recurrent ? MC_RNN_IN_R : MC_RNN_IN_W];
    struct mc_gemm_s8 g = {.m = m,
                           .n = n,
                           .k = k,
                           .a = {s->left, false, k, 1},
                           .packed_b = packed      ? packed
                                       : recurrent ? s->packed_r
                                                   : s->packed_w,
                           .b_signed = b->dtype == MC_DTYPE_I8,
                           .a_zero = {&a_zero, 0},
                           .b_zero = {s->zero, zeros > 1},
                           .c = s->sums,
                           .c_row = n};
    c->k->gemm_s8.run(&g, s->kernel, c->pool);
    for (int64_t i = 0; i < m; i++)
        for (int64_t j = 0; j < n; j++) {
            float by = a_scale * mc_int8_scale(scale, dir * scales + (scales > 1 ? j : 0), 1);
            double v = (double)((float)s->sums[i * n + j] * by);
            double base = recurrent ? get(gates, wide, i * n + j) : get(s->bias, wide, j);
            put(gates, wide, i * n + j, v + base);
        }
}

static void load_bias(const struct mc_call *c, const struct mc_rnn_node *l, const struct space *s,
                      int dir)
{
    const struct mc_buf *b = mc_op_arg(c, MC_RNN_IN_B);
    bool wide = c->k->elem_bytes == 8;
    int64_t n = 4 * l->hidden, at = dir * 2 * n;
    for (int64_t j = 0; j < n; j++)
        put(s->bias, wide, j, b ? get(b->data, wide, at + j) + get(b->data, wide, at + n + j) : 0);
}

/* A state of direction dir from or to its place in the model's buffer; no buffer: zeros. */
static void copy_state(const struct mc_call *c, const struct mc_rnn_node *l, int dir,
                       const struct mc_buf *outer, void *inner, bool load)
{
    size_t bytes = (size_t)(l->batch * l->hidden * c->k->elem_bytes);
    char *place = outer ? (char *)outer->data + (size_t)dir * bytes : NULL;
    if (load && !outer)
        memset(inner, 0, bytes);
    else if (load)
        memcpy(inner, place, bytes);
    else if (outer)
        memcpy(place, inner, bytes);
}

static void one_step(const struct mc_call *c, const struct mc_rnn_node *l, const struct space *s,
                     int dir, int64_t t)
{
    const struct mc_buf *p = mc_op_arg(c, MC_RNN_IN_P), *lens = mc_op_arg(c, MC_RNN_IN_LENS);
    const struct mc_buf *y = mc_op_res(c, 0);
    int64_t elem = c->k->elem_bytes;
    char *gates = (char *)s->gates + t * l->batch * 4 * l->hidden * elem;
    product(c, l, s, true, dir, s->h, l->batch, gates);
    struct mc_lstm_cell cell = {.batch = l->batch,
                                .hidden = l->hidden,
                                .clip = l->clip,
                                .input_forget = l->input_forget,
                                .gates = gates,
                                .c = s->c,
                                .h = s->h};
    memcpy(cell.f, l->fn[dir], sizeof cell.f);
    if (p)
        cell.peephole = (const char *)p->data + dir * 3 * l->hidden * elem;
    for (int64_t i = 0; lens && i < l->batch; i++) {
        int64_t len = lens->dtype == MC_DTYPE_I32 ? ((const int32_t *)lens->data)[i]
                                                  : ((const int64_t *)lens->data)[i];
        s->active[i] = t < len;
    }
    cell.active = lens ? s->active : NULL;
    if (y) {
        cell.y = (char *)y->data + (t * l->dirs + dir) * l->batch * l->hidden * elem;
        cell.y_row = l->hidden;
    }
    c->k->nn.lstm_cell(&cell, c->pool);
}

static int lstm_run(struct mc_call *c, struct mc_err *err)
{
    const struct mc_rnn_node *l = c->state;
    const struct mc_buf *lens = mc_op_arg(c, MC_RNN_IN_LENS);
    struct space s;
    layout_scratch(c, l, &s);
    for (int64_t i = 0; lens && i < l->batch; i++) {
        int64_t len = lens->dtype == MC_DTYPE_I32 ? ((const int32_t *)lens->data)[i]
                                                  : ((const int64_t *)lens->data)[i];
        if (len < 0 || len > l->steps)
            return mc_op_fail(err, MC_EDATA, c->node, "sequence %lld has length %lld of %lld steps",
                              (long long)i, (long long)len, (long long)l->steps);
    }
    for (int d = 0; d < l->dirs; d++) {
        copy_state(c, l, d, mc_op_arg(c, MC_RNN_IN_H), s.h, true);
        copy_state(c, l, d, mc_op_arg(c, MC_RNN_IN_C), s.c, true);
        if (s.packed_w)
            pack(c, l, false, d, s.packed_w);
        if (s.packed_r)
            pack(c, l, true, d, s.packed_r);
        load_bias(c, l, &s, d);
        product(c, l, &s, false, d, c->in[MC_RNN_IN_X].data, l->steps * l->batch, s.gates);
        for (int64_t t = 0; t < l->steps; t++)
            one_step(c, l, &s, d, l->reverse[d] ? l->steps - 1 - t : t);
        copy_state(c, l, d, mc_op_res(c, 1), s.h, false);
        copy_state(c, l, d, mc_op_res(c, 2), s.c, false);
    }
    return 0;
}

const struct mc_op mc_ops_quant_lstm[] = {
    {"com.microsoft", "DynamicQuantizeLSTM", 1, 0, lstm_infer, lstm_setup, lstm_run, lstm_teardown,
     lstm_macs, NULL},
    {0},
};
