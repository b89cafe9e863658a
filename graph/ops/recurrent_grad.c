/* LSTMGrad, GRUGrad and RNNGrad of ai.mcompress.grad: back through time. A step is one pass over the gates and the
 * product that takes their gradients to the state before; what leads to X, W, R and B is one product or sum over
 * all steps.
 *
 * Inputs: those of the operator, of which B and the initial cells are left out; what it kept (rnn_node.h); dY, dY_h
 * and dY_c, each or NULL. Outputs: the gradients of the gates, which nobody reads but which are as large as the gates
 * and may take their place; dR, dW, dB, dX, of the initial states, of the peepholes. */
#include <stdlib.h>
#include <string.h>

#include "graph/grad/rule.h"
#include "graph/ops/helper.h"
#include "graph/ops/op_gpu.h"
#include "graph/ops/recurrent_step.h"
#include "graph/ops/rnn_node.h"

enum { GATES = MC_RNN_INPUTS, STATES, CELLS, DY, DY_H, DY_C, INPUTS };
enum { DGATES, DR, DW, DB, DX, DH, DC, DP };

static int grad_infer(struct mc_infer_ctx *c, struct mc_err *err)
{
    struct mc_rnn_node l;
    int rc = mc_op_arity(c, 3, INPUTS, err);
    for (int i = 0; i < INPUTS && !rc; i++) {
        if (!mc_op_in(c, i) || i == MC_RNN_IN_LENS)
            continue;
        rc = mc_op_need_float(c, i, err);
        rc = rc ? rc : mc_op_need_same(c, MC_RNN_IN_X, i, err);
    }
    rc = rc ? rc : mc_rnn_parse(c->node, &l, err);
    rc = rc ? rc : mc_rnn_shapes(c, &l, err);
    if (rc)
        return rc;
    bool cells = l.kind == MC_RNN_LSTM || (l.kind == MC_RNN_GRU && l.linear_before_reset);
    if (!mc_op_in(c, STATES) || (l.kind != MC_RNN_PLAIN && !mc_op_in(c, GATES)) ||
        (cells && !mc_op_in(c, CELLS)))
        return mc_op_fail(err, MC_ESHAPE, c->node, "an input is missing");
    enum mc_dtype dtype = c->in[MC_RNN_IN_X]->dtype;
    int64_t rows = l.hidden < 0 ? MC_DIM_ANY : l.gates * l.hidden;
    struct mc_shape r = {3, {l.dirs, rows, l.hidden}}, w = {3, {l.dirs, rows, l.input}};
    struct mc_shape b = {2, {l.dirs, rows < 0 ? rows : 2 * rows}};
    struct mc_shape p = {2, {l.dirs, l.hidden < 0 ? MC_DIM_ANY : 3 * l.hidden}};
    struct mc_shape x = {3, {l.steps, l.batch, l.input}}, h = {3, {l.dirs, l.batch, l.hidden}};
    if (l.batch_first) {
        x = (struct mc_shape){3, {l.batch, l.steps, l.input}};
        h = (struct mc_shape){3, {l.batch, l.dirs, l.hidden}};
    }
    struct mc_shape d = {4, {l.dirs, l.steps, l.batch, rows}};
    const struct mc_shape *const shapes[] = {&d, &r, &w, &b, &x, &h, &h, &p};
    for (int i = 0; i <= DP; i++)
        mc_op_give(c, i, dtype, shapes[i]);
    return 0;
}

static double grad_macs(const struct mc_infer_ctx *c)
{
    struct mc_rnn_node l;
    if (mc_rnn_parse(c->node, &l, NULL) || mc_rnn_shapes(c, &l, NULL) || l.steps < 0 ||
        l.batch < 0 || l.input < 0 || l.hidden < 0)
        return -1;
    int inputs = 1 + (c->n_out > DX && c->out[DX]);
    return (double)l.dirs * (double)l.steps * (double)l.batch * l.gates * (double)l.hidden *
           (double)(inputs * l.input + 2 * l.hidden);
}

/* ---- memory ---- */

struct space {    /* parts of the scratch */
    void *x, *dx; /* steps first, where the model has the batch first */
    void *dgates,
        *more; /* [steps, batch, gates, hidden]; [steps, batch, hidden]: of a GRU, gradients of
                                  products or reset states */
    void *dh, *dc, *dreset; /* [batch, hidden] */
    void *packed, *packed2; /* of one product; of a GRU's second */
    void *gemm;
    uint8_t *active;
};

struct job {
    struct mc_call *c;
    const struct mc_rnn_node *l;
    struct space s;
    int dir;
    int64_t state; /* batch * hidden */
};

static size_t most(size_t a, size_t b)
{
    return a > b ? a : b;
}

/* Bytes that a product [m,k] [k,n] needs. */
static void product_bytes(const struct mc_call *c, int64_t m, int64_t n, int64_t k, size_t *packed,
                          size_t *scratch)
{
    *packed = most(*packed, mc_rnn_pack_bytes(c, k, n));
    *scratch = most(*scratch, mc_rnn_product_bytes(c, m, n, k));
}

/* Lay out the scratch; during setup only its size counts. */
static size_t layout(const struct mc_call *c, const struct mc_rnn_node *l, struct space *s)
{
    size_t at = 0, elem = (size_t)c->k->elem_bytes, packed = 0, packed2 = 0, gemm = 0;
    int64_t rows = l->steps * l->batch, gates = l->gates * l->hidden, hidden = l->hidden;
    size_t state = (size_t)(l->batch * hidden) * elem;
    *s = (struct space){0};
    if (l->batch_first) {
        s->x = mc_op_scratch(c, &at, (size_t)(rows * l->input) * elem);
        if (mc_op_res(c, DX))
            s->dx = mc_op_scratch(c, &at, (size_t)(rows * l->input) * elem);
    }
    if (!mc_op_res(c, DGATES))
        s->dgates = mc_op_scratch(c, &at, (size_t)(rows * gates) * elem);
    s->dh = mc_op_scratch(c, &at, state);
    product_bytes(c, l->batch, hidden, gates, &packed, &gemm); /* of a step */
    product_bytes(c, rows, l->input, gates, &packed, &gemm);   /* dX */
    product_bytes(c, gates, l->input, rows, &packed, &gemm);   /* dW */
    product_bytes(c, gates, hidden, rows, &packed, &gemm);     /* dR */
    if (l->kind == MC_RNN_LSTM)
        s->dc = mc_op_scratch(c, &at, state);
    if (l->kind == MC_RNN_GRU) {
        s->more = mc_op_scratch(c, &at, (size_t)(rows * hidden) * elem);
        s->dreset = mc_op_scratch(c, &at, state);
        product_bytes(c, l->batch, hidden, hidden, &packed2, &gemm);
        s->packed2 = mc_op_scratch(c, &at, packed2);
        product_bytes(c, hidden, hidden, rows, &packed, &gemm);
    }
    s->packed = mc_op_scratch(c, &at, packed);
    s->active = mc_op_scratch(c, &at, mc_rnn_active_bytes(c, l));
    s->gemm = mc_op_scratch(c, &at, gemm);
    return at;
}

static int grad_setup(struct mc_call *c, struct mc_err *err)
{
    const struct mc_shape *x = &c->in[MC_RNN_IN_X].shape;
    struct mc_rnn_node *l = malloc(sizeof *l);
    struct space s;
    c->state = l;
    if (!l)
        return mc_fail(err, MC_ENOMEM, "out of memory");
    int rc = mc_rnn_parse(c->node, l, err);
    if (rc)
        return rc;
    l->steps = x->dim[l->batch_first];
    l->batch = x->dim[!l->batch_first];
    l->input = x->dim[2];
    l->hidden = c->in[MC_RNN_IN_R].shape.dim[2];
    l->from_zero = mc_rnn_from_zero(c);
    c->scratch_bytes = layout(c, l, &s);
    return 0;
}

static void grad_teardown(struct mc_call *c)
{
    free(c->state);
    c->state = NULL;
}

/* Element `at` of a buffer. */
static void *place(const struct job *j, const struct mc_buf *b, int64_t at)
{
    return (char *)b->data + at * j->c->k->elem_bytes;
}

static void *offset(const struct job *j, void *p, int64_t at)
{
    return (char *)p + at * j->c->k->elem_bytes;
}

/* Kept states or cells that a step reads, or those that it makes. */
static const void *before(const struct job *j, int input, int64_t t)
{
    int64_t slot = j->dir * (j->l->steps + 1) + t + j->l->reverse[j->dir];
    return place(j, &j->c->in[input], slot * j->state);
}

static const void *after(const struct job *j, int input, int64_t t)
{
    int64_t slot = j->dir * (j->l->steps + 1) + t + !j->l->reverse[j->dir];
    return place(j, &j->c->in[input], slot * j->state);
}

/* ---- products ---- */

struct product { /* c = a b, or c += a b */
    int64_t m, n, k;
    const void *a;
    int64_t a_row, a_col;
    const void *b;
    int64_t b_row;      /* columns are adjacent */
    const void *packed; /* b packed already, or NULL */
    void *c;
    int64_t c_row;
    bool add;
};

static void multiply(const struct job *j, const struct product *p)
{
    const struct mc_gemm_kernels *k = &j->c->k->gemm;
    bool device = j->c->k->device; /* which packs nothing */
    if (!p->packed && !device)
        k->pack_b(p->k, p->n, p->b, p->b_row, 1, j->s.packed, j->c->pool);
    struct mc_gemm g = {.m = p->m,
                        .n = p->n,
                        .k = p->k,
                        .a = p->a,
                        .a_row = p->a_row,
                        .a_col = p->a_col,
                        .packed_b = device      ? NULL
                                    : p->packed ? p->packed
                                                : j->s.packed,
                        .b = device ? p->b : NULL,
                        .b_row = p->b_row,
                        .b_col = 1,
                        .c = p->c,
                        .c_row = p->c_row,
                        .alpha = 1,
                        .epilogue = {.residual = p->add ? p->c : NULL}};
    k->run(&g, j->s.gemm, j->c->pool);
}

/* Rows of a weight of the direction, from gate `gate` on. */
static void *weight(const struct job *j, const struct mc_buf *b, int64_t columns, int gate)
{
    return place(j, b, (j->dir * j->l->gates + gate) * j->l->hidden * columns);
}

/* dh = dh + gates [gate, gate + count) of a step times those rows of R, packed. */
static void to_state(const struct job *j, const void *d, int64_t d_row, int gate, int count,
                     const void *packed, void *to, bool add)
{
    multiply(j, &(struct product){.m = j->l->batch,
                                  .n = j->l->hidden,
                                  .k = count * j->l->hidden,
                                  .a = d,
                                  .a_row = d_row,
                                  .a_col = 1,
                                  .b = weight(j, &j->c->in[MC_RNN_IN_R], j->l->hidden, gate),
                                  .b_row = j->l->hidden,
                                  .packed = packed,
                                  .c = to,
                                  .c_row = j->l->hidden,
                                  .add = add});
}

/* d' [m, rows] b [rows, n], all steps at once: of gates [gate, gate + count) of W or R. */
static void to_weight(const struct job *j, const void *d, int64_t d_row, const void *b, int64_t n,
                      struct mc_buf *out, int gate, int count)
{
    int64_t steps = j->l->steps, batch = j->l->batch;
    if (out == mc_op_res(j->c, DR) && j->l->from_zero && steps > 0) {
        int64_t skipped = j->l->reverse[j->dir] ? 0 : batch; /* the first step read zeros */
        d = (const char *)d + skipped * d_row * j->c->k->elem_bytes;
        b = (const char *)b + skipped * n * j->c->k->elem_bytes;
        steps--;
    }
    multiply(j, &(struct product){.m = count * j->l->hidden,
                                  .n = n,
                                  .k = steps * batch,
                                  .a = d,
                                  .a_row = 1,
                                  .a_col = d_row,
                                  .b = b,
                                  .b_row = n,
                                  .c = weight(j, out, n, gate),
                                  .c_row = n});
}

/* ---- steps ---- */

struct step {
    const uint8_t *active;
    const void *dy;
    int64_t dy_row;
    void *dgates;
};

static struct step step_of(const struct job *j, int64_t t)
{
    const struct mc_rnn_node *l = j->l;
    const struct mc_buf *dy = mc_op_arg(j->c, DY);
    struct step s = {.active = mc_rnn_active(j->c, l, j->s.active, t)};
    s.dgates = offset(j, j->s.dgates, t * l->gates * j->state);
    if (dy) {
        int64_t at = l->batch_first ? t * l->dirs + j->dir : (t * l->dirs + j->dir) * l->batch;
        s.dy = place(j, dy, at * l->hidden);
        s.dy_row = l->batch_first ? l->steps * l->dirs * l->hidden : l->hidden;
    }
    return s;
}

/* Does anybody ask for the gradient of the state that step t reads? */
static bool goes_on(const struct job *j, int64_t t)
{
    return mc_op_res(j->c, DH) || t != (j->l->reverse[j->dir] ? j->l->steps - 1 : 0);
}

static const void *acts_of(const struct job *j, int64_t t)
{
    return place(j, &j->c->in[GATES], (j->dir * j->l->steps + t) * j->l->gates * j->state);
}

static void lstm_back(const struct job *j, int64_t t)
{
    const struct mc_rnn_node *l = j->l;
    const struct mc_buf *p = mc_op_arg(j->c, MC_RNN_IN_P);
    struct step s = step_of(j, t);
    struct mc_lstm_grad g = {.batch = l->batch,
                             .hidden = l->hidden,
                             .input_forget = l->input_forget,
                             .acts = acts_of(j, t),
                             .c_before = before(j, CELLS, t),
                             .c = after(j, CELLS, t),
                             .peephole = p ? place(j, p, j->dir * 3 * l->hidden) : NULL,
                             .active = s.active,
                             .dy = s.dy,
                             .dy_row = s.dy_row,
                             .dh = j->s.dh,
                             .dc = j->s.dc,
                             .dgates = s.dgates};
    memcpy(g.f, l->fn[j->dir], sizeof g.f);
    j->c->k->rnn.lstm_grad(&g, j->c->pool);
    if (goes_on(j, t))
        to_state(j, s.dgates, 4 * l->hidden, 0, 4, j->s.packed, j->s.dh, s.active);
}

static void gru_back(const struct job *j, int64_t t)
{
    const struct mc_rnn_node *l = j->l;
    int64_t row = 3 * l->hidden;
    struct step s = step_of(j, t);
    void *more = offset(j, j->s.more, t * j->state), *hidden = offset(j, s.dgates, 2 * l->hidden);
    struct mc_gru_grad g = {.batch = l->batch,
                            .hidden = l->hidden,
                            .f = {l->fn[j->dir][0], l->fn[j->dir][1]},
                            .acts = acts_of(j, t),
                            .h_before = before(j, STATES, t),
                            .active = s.active,
                            .dy = s.dy,
                            .dy_row = s.dy_row,
                            .dh = j->s.dh,
                            .dgates = s.dgates};
    if (l->linear_before_reset) {
        g.product = place(j, &j->c->in[CELLS], (j->dir * l->steps + t) * j->state);
        g.dproduct = more;
    }
    j->c->k->rnn.gru_grad(&g, j->c->pool);
    if (l->linear_before_reset) {
        if (goes_on(j, t))
            to_state(j, more, l->hidden, 2, 1, j->s.packed2, j->s.dh, true);
    } else {
        to_state(j, hidden, row, 2, 1, j->s.packed2, j->s.dreset, false);
        g.dreset = j->s.dreset;
        g.reset = more;
        j->c->k->rnn.gru_reset_grad(&g, j->c->pool);
    }
    if (goes_on(j, t))
        to_state(j, s.dgates, row, 0, 2, j->s.packed, j->s.dh, true);
}

static void plain_back(const struct job *j, int64_t t)
{
    const struct mc_rnn_node *l = j->l;
    struct step s = step_of(j, t);
    struct mc_rnn_grad g = {.batch = l->batch,
                            .hidden = l->hidden,
                            .f = l->fn[j->dir][0],
                            .h = after(j, STATES, t),
                            .active = s.active,
                            .dy = s.dy,
                            .dy_row = s.dy_row,
                            .dh = j->s.dh,
                            .dgates = s.dgates};
    j->c->k->rnn.rnn_grad(&g, j->c->pool);
    if (goes_on(j, t))
        to_state(j, s.dgates, l->hidden, 0, 1, j->s.packed, j->s.dh, s.active);
}

/* Rows of hidden between a dense state and direction dir of one in the model's layout; outer NULL: zeros. */
static void copy_state(const struct job *j, const struct mc_buf *outer, void *inner, bool load)
{
    const struct mc_rnn_node *l = j->l;
    int elem = j->c->k->elem_bytes;
    if (!outer) {
        if (load)
            mc_rnn_copy(j->c, inner, NULL, j->state);
        return;
    }
    int64_t row = l->batch_first ? l->dirs * l->hidden : l->hidden;
    char *at = place(j, outer, l->batch_first ? j->dir * l->hidden : j->dir * j->state);
    struct mc_move m = {.rank = 2,
                        .dim = {l->batch, l->hidden},
                        .src_stride = {load ? row : l->hidden, 1},
                        .dst_stride = {load ? l->hidden : row, 1},
                        .src = load ? at : inner,
                        .dst = load ? inner : at,
                        .elem_bytes = elem};
    j->c->k->move.run(&m, j->c->pool);
}

static void pack_states(const struct job *j)
{
    const struct mc_rnn_node *l = j->l;
    const struct mc_gemm_kernels *k = &j->c->k->gemm;
    const struct mc_buf *r = &j->c->in[MC_RNN_IN_R];
    int gates = l->kind == MC_RNN_GRU ? 2 : l->gates;
    k->pack_b(gates * l->hidden, l->hidden, weight(j, r, l->hidden, 0), l->hidden, 1, j->s.packed,
              j->c->pool);
    if (l->kind == MC_RNN_GRU)
        k->pack_b(l->hidden, l->hidden, weight(j, r, l->hidden, 2), l->hidden, 1, j->s.packed2,
                  j->c->pool);
}

static void walk(const struct job *j)
{
    const struct mc_rnn_node *l = j->l;
    if (!j->c->k->device)
        pack_states(j);
    /* A sequence without elements gives zeros as its last states, whatever its first are. */
    copy_state(j, mc_op_arg(j->c, DY_H), j->s.dh, true);
    mc_rnn_clear_empty(j->c, l, j->s.dh);
    if (l->kind == MC_RNN_LSTM) {
        copy_state(j, mc_op_arg(j->c, DY_C), j->s.dc, true);
        mc_rnn_clear_empty(j->c, l, j->s.dc);
    }
    for (int64_t i = 0; i < l->steps; i++) {
        int64_t t = l->reverse[j->dir] ? i : l->steps - 1 - i;
        if (l->kind == MC_RNN_LSTM)
            lstm_back(j, t);
        else if (l->kind == MC_RNN_GRU)
            gru_back(j, t);
        else
            plain_back(j, t);
    }
    copy_state(j, mc_op_res(j->c, DH), j->s.dh, false);
    if (l->kind == MC_RNN_LSTM)
        copy_state(j, mc_op_res(j->c, DC), j->s.dc, false);
}

/* ---- what comes of all steps ---- */

static void sum_columns(const struct job *j, const void *a, int64_t a_row, const void *b, int64_t n,
                        void *to)
{
    struct mc_column_sum s = {.rows = j->l->steps * j->l->batch,
                              .n = n,
                              .a = a,
                              .b = b,
                              .a_row = a_row,
                              .b_row = j->l->hidden,
                              .sum = to};
    j->c->k->rnn.column_sum(&s, j->c->pool);
}

static void give_bias(const struct job *j, struct mc_buf *db)
{
    const struct mc_rnn_node *l = j->l;
    int64_t n = l->gates * l->hidden;
    char *w = place(j, db, j->dir * 2 * n), *r = offset(j, w, n);
    sum_columns(j, j->s.dgates, n, NULL, n, w);
    mc_rnn_copy(j->c, r, w, n);
    if (l->kind == MC_RNN_GRU && l->linear_before_reset)
        sum_columns(j, j->s.more, l->hidden, NULL, l->hidden, offset(j, r, 2 * l->hidden));
}

/* i and f look at the cells before, o at those after. */
static void give_peephole(const struct job *j, struct mc_buf *dp)
{
    int64_t n = j->l->hidden;
    for (int part = 0; part < 3; part++) {
        const void *cells = part == 1 ? after(j, CELLS, 0) : before(j, CELLS, 0);
        sum_columns(j, offset(j, j->s.dgates, part * n), 4 * n, cells, n,
                    place(j, dp, (j->dir * 3 + part) * n));
    }
}

static void give_recurrent(const struct job *j, struct mc_buf *dr)
{
    const struct mc_rnn_node *l = j->l;
    int64_t n = l->hidden, row = l->gates * n;
    const void *states = before(j, STATES, 0);
    if (l->kind != MC_RNN_GRU) {
        to_weight(j, j->s.dgates, row, states, n, dr, 0, l->gates);
        return;
    }
    to_weight(j, j->s.dgates, row, states, n, dr, 0, 2);
    if (l->linear_before_reset)
        to_weight(j, j->s.more, n, states, n, dr, 2, 1);
    else
        to_weight(j, offset(j, j->s.dgates, 2 * n), row, j->s.more, n, dr, 2, 1);
}

static void give_input(const struct job *j, void *dx)
{
    const struct mc_rnn_node *l = j->l;
    multiply(j, &(struct product){.m = l->steps * l->batch,
                                  .n = l->input,
                                  .k = l->gates * l->hidden,
                                  .a = j->s.dgates,
                                  .a_row = l->gates * l->hidden,
                                  .a_col = 1,
                                  .b = weight(j, &j->c->in[MC_RNN_IN_W], l->input, 0),
                                  .b_row = l->input,
                                  .c = dx,
                                  .c_row = l->input,
                                  .add = j->dir > 0});
}

/* X between the model's layout, batch first, and steps first. */
static void turn(const struct job *j, const void *from, void *to, bool steps_first)
{
    const struct mc_rnn_node *l = j->l;
    int64_t n = l->input, by_step = l->batch * n, by_row = l->steps * n;
    struct mc_move m = {.rank = 3,
                        .dim = {l->steps, l->batch, n},
                        .src_stride = {steps_first ? n : by_step, steps_first ? by_row : n, 1},
                        .dst_stride = {steps_first ? by_step : n, steps_first ? n : by_row, 1},
                        .src = from,
                        .dst = to,
                        .elem_bytes = j->c->k->elem_bytes};
    j->c->k->move.run(&m, j->c->pool);
}

static int grad_run(struct mc_call *c, struct mc_err *err)
{
    (void)err;
    const struct mc_rnn_node *l = c->state;
    struct job j = {.c = c, .l = l, .state = l->batch * l->hidden};
    struct mc_buf *dr = mc_op_res(c, DR), *dw = mc_op_res(c, DW), *db = mc_op_res(c, DB);
    struct mc_buf *dx = mc_op_res(c, DX), *dp = mc_op_res(c, DP);
    const void *x = c->in[MC_RNN_IN_X].data;
    layout(c, l, &j.s);
    mc_rnn_lengths(c, l, j.s.active);
    if (l->batch_first && dw) {
        turn(&j, x, j.s.x, true);
        x = j.s.x;
    }
    for (j.dir = 0; j.dir < l->dirs; j.dir++) {
        if (mc_op_res(c, DGATES))
            j.s.dgates = place(&j, mc_op_res(c, DGATES), j.dir * l->steps * l->gates * j.state);
        walk(&j);
        if (dr)
            give_recurrent(&j, dr);
        if (dw)
            to_weight(&j, j.s.dgates, l->gates * l->hidden, x, l->input, dw, 0, l->gates);
        if (db)
            give_bias(&j, db);
        if (dx)
            give_input(&j, l->batch_first ? j.s.dx : dx->data);
        if (dp && l->kind == MC_RNN_LSTM)
            give_peephole(&j, dp);
    }
    if (dx && l->batch_first)
        turn(&j, j.s.dx, dx->data, false);
    return 0;
}

#define GRAD(name)                                                                                 \
    {                                                                                              \
        MC_GRAD_DOMAIN, name, 1, MC_OP_INPLACE_ANY, grad_infer, grad_setup, grad_run,              \
            grad_teardown, grad_macs, NULL                                                         \
    }
const struct mc_op mc_ops_recurrent_grad[] = {GRAD("LSTMGrad"),
                                              GRAD("GRUGrad"),
                                              GRAD("RNNGrad"),
                                              {0}};

static bool gpu_can(const struct mc_call *c)
{
    const struct mc_kernels *k = c->k;
    return mc_op_gpu_floats(c) && k->gemm.run && k->rnn.lstm_grad && k->rnn.gru_grad &&
           k->rnn.gru_reset_grad && k->rnn.rnn_grad && k->rnn.column_sum && k->rnn.lengths &&
           k->move.run && k->optim.parts;
}

const struct mc_op_gpu mc_op_gpu_recurrent_grad[] = {
    {MC_GRAD_DOMAIN, "LSTMGrad", .can = gpu_can},
    {MC_GRAD_DOMAIN, "GRUGrad", .can = gpu_can},
    {MC_GRAD_DOMAIN, "RNNGrad", .can = gpu_can},
    {0},
};
