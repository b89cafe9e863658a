/* LSTM: the input products of all time steps are one matrix product; a step is the recurrent product and one
 * pass over the gates. */
#include <stdlib.h>
#include <string.h>

#include "graph/ops/helper.h"
#include "graph/ops/lstm_node.h"
#include "graph/ops/pack.h"

enum { LAYOUT_W = 3, LAYOUT_R = 4 }; /* kinds of packing in a pack's layout */

static int lstm_infer(struct mc_infer_ctx *c, struct mc_err *err)
{
    struct mc_lstm_node l;
    int rc = mc_op_arity(c, 3, MC_LSTM_INPUTS, err);
    for (int i = 0; i < MC_LSTM_INPUTS && !rc; i++) {
        if (!mc_op_in(c, i) || i == MC_LSTM_LENS)
            continue;
        rc = mc_op_need_float(c, i, err);
        rc = rc ? rc : mc_op_need_same(c, MC_LSTM_X, i, err);
    }
    const struct mc_vtype *lens = rc ? NULL : mc_op_in(c, MC_LSTM_LENS);
    if (lens && lens->dtype && lens->dtype != MC_DTYPE_I32)
        return mc_op_fail(err, MC_EDTYPE, c->node, "sequence_lens is %s, must be int32",
                          mc_dtype_name((int)lens->dtype));
    rc = rc ? rc : mc_lstm_parse(c->node, &l, err);
    rc = rc ? rc : mc_lstm_shapes(c, &l, err);
    if (rc)
        return rc;
    struct mc_shape y = {4, {l.steps, l.dirs, l.batch, l.hidden}};
    struct mc_shape h = {3, {l.dirs, l.batch, l.hidden}};
    if (l.batch_first) {
        y = (struct mc_shape){4, {l.batch, l.steps, l.dirs, l.hidden}};
        h = (struct mc_shape){3, {l.batch, l.dirs, l.hidden}};
    }
    mc_op_give(c, 0, c->in[MC_LSTM_X]->dtype, &y);
    mc_op_give(c, 1, c->in[MC_LSTM_X]->dtype, &h);
    mc_op_give(c, 2, c->in[MC_LSTM_X]->dtype, &h);
    return 0;
}

static double lstm_macs(const struct mc_infer_ctx *c)
{
    struct mc_lstm_node l;
    if (mc_lstm_parse(c->node, &l, NULL) || mc_lstm_shapes(c, &l, NULL) || l.steps < 0 ||
        l.batch < 0 || l.input < 0 || l.hidden < 0)
        return -1;
    return (double)l.dirs * (double)l.steps * (double)l.batch * 4 * (double)l.hidden *
           (double)(l.input + l.hidden);
}

/* ---- packing ---- */

static size_t packed_bytes(const struct mc_call *c, const struct mc_lstm_node *l, bool recurrent)
{
    return c->k->gemm.pack_b_bytes(recurrent ? l->hidden : l->input, 4 * l->hidden);
}

/* W or R of one direction, transposed, into dst. */
static void pack(const struct mc_call *c, const struct mc_lstm_node *l, bool recurrent, int dir,
                 void *dst)
{
    int64_t k = recurrent ? l->hidden : l->input, n = 4 * l->hidden;
    const char *from = c->in[recurrent ? MC_LSTM_R : MC_LSTM_W].data;
    from += (size_t)(dir * n * k * c->k->elem_bytes);
    c->k->gemm.pack_b(k, n, from, 1, k, dst, c->pool);
}

static int pack_constant(struct mc_call *c, const struct mc_lstm_node *l, bool recurrent, int dir,
                         const void **ret, struct mc_err *err)
{
    const struct mc_buf *b = &c->in[recurrent ? MC_LSTM_R : MC_LSTM_W];
    const int64_t layout[] = {recurrent ? LAYOUT_R : LAYOUT_W, dir, l->input, l->hidden};
    void *block;
    bool fresh;
    if (!b->constant)
        return 0;
    int rc = mc_pack_get(c->packs, b->data, layout, 4, packed_bytes(c, l, recurrent), &block,
                         &fresh, err);
    if (!rc && fresh)
        pack(c, l, recurrent, dir, block);
    if (!rc)
        *ret = block;
    return rc;
}

/* ---- running ---- */

struct space { /* parts of the scratch */
    void *x, *gates, *bias, *h, *c, *packed_w, *packed_r, *gemm;
    uint8_t *active;
};

/* Lay out the scratch; during setup only its size counts. */
static size_t layout(const struct mc_call *c, const struct mc_lstm_node *l, struct space *s)
{
    size_t at = 0, elem = (size_t)c->k->elem_bytes, gate = 4 * (size_t)l->hidden * elem;
    size_t rows = (size_t)(l->steps * l->batch), state = (size_t)l->batch * gate / 4;
    int threads = mc_pool_threads(c->pool);
    size_t in = c->k->gemm.scratch_bytes((int64_t)rows, 4 * l->hidden, l->input, threads);
    size_t step = c->k->gemm.scratch_bytes(l->batch, 4 * l->hidden, l->hidden, threads);
    *s = (struct space){0};
    if (l->batch_first)
        s->x = mc_op_scratch(c, &at, rows * (size_t)l->input * elem);
    s->gates = mc_op_scratch(c, &at, rows * gate);
    s->bias = mc_op_scratch(c, &at, gate);
    s->h = mc_op_scratch(c, &at, state);
    s->c = mc_op_scratch(c, &at, state);
    s->active = mc_op_scratch(c, &at, (size_t)l->batch);
    if (!c->in[MC_LSTM_W].constant)
        s->packed_w = mc_op_scratch(c, &at, packed_bytes(c, l, false));
    if (!c->in[MC_LSTM_R].constant)
        s->packed_r = mc_op_scratch(c, &at, packed_bytes(c, l, true));
    s->gemm = mc_op_scratch(c, &at, in > step ? in : step);
    return at;
}

static int lstm_setup(struct mc_call *c, struct mc_err *err)
{
    const struct mc_shape *x = &c->in[MC_LSTM_X].shape;
    struct mc_lstm_node l;
    struct space s;
    int rc = mc_lstm_parse(c->node, &l, err);
    if (rc)
        return rc;
    l.steps = x->dim[l.batch_first];
    l.batch = x->dim[!l.batch_first];
    l.input = x->dim[2];
    l.hidden = c->in[MC_LSTM_R].shape.dim[2];
    for (int d = 0; d < l.dirs && !rc; d++) {
        rc = pack_constant(c, &l, false, d, &l.packed_w[d], err);
        rc = rc ? rc : pack_constant(c, &l, true, d, &l.packed_r[d], err);
    }
    if (rc)
        return rc;
    c->scratch_bytes = layout(c, &l, &s);
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

/* Rows of hidden between a dense state [batch, hidden] and direction dir of one in the model's layout;
 * outer NULL: zeros. */
static void copy_state(const struct mc_call *c, const struct mc_lstm_node *l, int dir,
                       const struct mc_buf *outer, void *inner, bool load)
{
    size_t elem = (size_t)c->k->elem_bytes, bytes = (size_t)(l->batch * l->hidden) * elem;
    if (!outer) {
        if (load)
            memset(inner, 0, bytes);
        return;
    }
    int64_t row = l->batch_first ? l->dirs * l->hidden : l->hidden;
    int64_t from = l->batch_first ? dir * l->hidden : dir * l->batch * l->hidden;
    char *place = (char *)outer->data + (size_t)from * elem;
    struct mc_move m = {.rank = 2,
                        .dim = {l->batch, l->hidden},
                        .src_stride = {load ? row : l->hidden, 1},
                        .dst_stride = {load ? l->hidden : row, 1},
                        .src = load ? place : inner,
                        .dst = load ? inner : place,
                        .elem_bytes = (int)elem};
    mc_move_run(&m, c->pool);
}

/* Gates of all steps: X W' + Wb + Rb. */
static void input_products(const struct mc_call *c, const struct mc_lstm_node *l,
                           const struct space *s, int dir)
{
    int64_t n = 4 * l->hidden;
    size_t elem = (size_t)c->k->elem_bytes;
    const struct mc_buf *b = mc_op_arg(c, MC_LSTM_B);
    if (b) {
        const char *wb = (const char *)b->data + (size_t)(dir * 2 * n) * elem;
        struct mc_binary add = {.fn = MC_BINARY_ADD,
                                .rank = 1,
                                .dim = {n},
                                .stride = {{1}, {1}},
                                .x = wb,
                                .y = wb + (size_t)n * elem,
                                .z = s->bias};
        c->k->elementwise.binary(&add, c->pool);
    }
    if (s->packed_w)
        pack(c, l, false, dir, s->packed_w);
    struct mc_gemm g = {.m = l->steps * l->batch,
                        .n = n,
                        .k = l->input,
                        .a = l->batch_first ? s->x : c->in[MC_LSTM_X].data,
                        .a_row = l->input,
                        .a_col = 1,
                        .packed_b = l->packed_w[dir] ? l->packed_w[dir] : s->packed_w,
                        .c = s->gates,
                        .c_row = n,
                        .alpha = 1,
                        .epilogue = {.bias = b ? s->bias : NULL}};
    c->k->gemm.run(&g, s->gemm, c->pool);
}

static void one_step(const struct mc_call *c, const struct mc_lstm_node *l, const struct space *s,
                     int dir, int64_t t)
{
    const struct mc_buf *p = mc_op_arg(c, MC_LSTM_P), *lens = mc_op_arg(c, MC_LSTM_LENS);
    const struct mc_buf *y = mc_op_res(c, 0);
    int64_t n = 4 * l->hidden, elem = c->k->elem_bytes;
    char *gates = (char *)s->gates + t * l->batch * n * elem;
    struct mc_gemm g = {.m = l->batch,
                        .n = n,
                        .k = l->hidden,
                        .a = s->h,
                        .a_row = l->hidden,
                        .a_col = 1,
                        .packed_b = l->packed_r[dir] ? l->packed_r[dir] : s->packed_r,
                        .c = gates,
                        .c_row = n,
                        .alpha = 1,
                        .epilogue = {.residual = gates}};
    c->k->gemm.run(&g, s->gemm, c->pool);
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
    for (int64_t i = 0; lens && i < l->batch; i++)
        s->active[i] = t < ((const int32_t *)lens->data)[i];
    cell.active = lens ? s->active : NULL;
    if (y) {
        int64_t at = l->batch_first ? t * l->dirs + dir : (t * l->dirs + dir) * l->batch;
        cell.y = (char *)y->data + at * l->hidden * elem;
        cell.y_row = l->batch_first ? l->steps * l->dirs * l->hidden : l->hidden;
    }
    c->k->nn.lstm_cell(&cell, c->pool);
}

static int check_lengths(const struct mc_call *c, const struct mc_lstm_node *l, struct mc_err *err)
{
    const struct mc_buf *lens = mc_op_arg(c, MC_LSTM_LENS);
    for (int64_t i = 0; lens && i < l->batch; i++) {
        int32_t len = ((const int32_t *)lens->data)[i];
        if (len < 0 || len > l->steps)
            return mc_op_fail(err, MC_EDATA, c->node, "sequence %lld has length %d of %lld steps",
                              (long long)i, (int)len, (long long)l->steps);
    }
    return 0;
}

static int lstm_run(struct mc_call *c, struct mc_err *err)
{
    const struct mc_lstm_node *l = c->state;
    struct space s;
    int rc = check_lengths(c, l, err);
    if (rc)
        return rc;
    layout(c, l, &s);
    if (l->batch_first) {
        struct mc_move m = {.rank = 3,
                            .dim = {l->steps, l->batch, l->input},
                            .src_stride = {l->input, l->steps * l->input, 1},
                            .dst_stride = {l->batch * l->input, l->input, 1},
                            .src = c->in[MC_LSTM_X].data,
                            .dst = s.x,
                            .elem_bytes = c->k->elem_bytes};
        mc_move_run(&m, c->pool);
    }
    for (int d = 0; d < l->dirs; d++) {
        copy_state(c, l, d, mc_op_arg(c, MC_LSTM_H), s.h, true);
        copy_state(c, l, d, mc_op_arg(c, MC_LSTM_C), s.c, true);
        input_products(c, l, &s, d);
        if (s.packed_r)
            pack(c, l, true, d, s.packed_r);
        for (int64_t t = 0; t < l->steps; t++)
            one_step(c, l, &s, d, l->reverse[d] ? l->steps - 1 - t : t);
        copy_state(c, l, d, mc_op_res(c, 1), s.h, false);
        copy_state(c, l, d, mc_op_res(c, 2), s.c, false);
    }
    return 0;
}

const struct mc_op mc_ops_recurrent[] = {
    {"", "LSTM", 1, 0, lstm_infer, lstm_setup, lstm_run, lstm_teardown, lstm_macs, NULL},
    {0},
};
