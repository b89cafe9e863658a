#include "graph/ops/recurrent_step.h"

#include <string.h>

#include "graph/ops/helper.h"

void mc_rnn_copy(const struct mc_call *c, void *to, const void *from, int64_t n)
{
    size_t bytes = (size_t)n * (size_t)c->k->elem_bytes;
    if (c->k->device) {
        const struct mc_parts p = {.n = 1, .size = {n}, .src = {from}, .dst = {to}};
        c->k->optim.parts(&p, c->pool);
    } else if (from) {
        memcpy(to, from, bytes);
    } else {
        memset(to, 0, bytes);
    }
}

/* ---- lengths ---- */

static struct mc_rnn_lengths lengths_of(const struct mc_call *c, const struct mc_rnn_node *l)
{
    const struct mc_buf *lens = mc_op_arg(c, MC_RNN_IN_LENS);
    return (struct mc_rnn_lengths){.steps = l->steps,
                                   .batch = l->batch,
                                   .hidden = l->hidden,
                                   .lens = lens ? lens->data : NULL};
}

size_t mc_rnn_active_bytes(const struct mc_call *c, const struct mc_rnn_node *l)
{
    return (size_t)((c->k->device ? l->steps : 1) * l->batch);
}

void mc_rnn_lengths(const struct mc_call *c, const struct mc_rnn_node *l, uint8_t *active)
{
    struct mc_rnn_lengths g = lengths_of(c, l);
    g.active = active;
    if (g.lens && c->k->device)
        c->k->rnn.lengths(&g, c->pool);
}

const uint8_t *mc_rnn_active(const struct mc_call *c, const struct mc_rnn_node *l, uint8_t *active,
                             int64_t t)
{
    const struct mc_buf *lens = mc_op_arg(c, MC_RNN_IN_LENS);
    if (c->k->device)
        return lens ? active + t * l->batch : NULL;
    for (int64_t i = 0; lens && i < l->batch; i++)
        active[i] = t < ((const int32_t *)lens->data)[i];
    return lens ? active : NULL;
}

void mc_rnn_clear_empty(const struct mc_call *c, const struct mc_rnn_node *l, void *state)
{
    struct mc_rnn_lengths g = lengths_of(c, l);
    size_t row = (size_t)(l->hidden * c->k->elem_bytes);
    g.state = state;
    if (g.lens && c->k->device) {
        c->k->rnn.lengths(&g, c->pool);
        return;
    }
    for (int64_t i = 0; g.lens && i < l->batch; i++)
        if (g.lens[i] == 0)
            memset((char *)state + (size_t)i * row, 0, row);
}

/* ---- packing ---- */

size_t mc_rnn_pack_bytes(const struct mc_call *c, int64_t k, int64_t n)
{
    return c->k->device ? 0 : c->k->gemm.pack_b_bytes(k, n);
}

size_t mc_rnn_product_bytes(const struct mc_call *c, int64_t m, int64_t n, int64_t k)
{
    return c->k->device ? 0 : c->k->gemm.scratch_bytes(m, n, k, mc_pool_threads(c->pool));
}

int mc_rnn_part_gates(const struct mc_rnn_node *l, int part)
{
    if (part < 0)
        return l->gates;
    return l->kind == MC_RNN_GRU ? 2 - part : part == 0 ? l->gates : 0;
}

size_t mc_rnn_packed_bytes(const struct mc_call *c, const struct mc_rnn_node *l, int part)
{
    return mc_rnn_pack_bytes(c, part < 0 ? l->input : l->hidden,
                             mc_rnn_part_gates(l, part) * l->hidden);
}

/* W (part -1) or a part of R, as the factor [k, n] of a product, whose columns are its rows of k. */
static const void *weight_of(const struct mc_call *c, const struct mc_rnn_node *l, int part,
                             int dir)
{
    int64_t k = part < 0 ? l->input : l->hidden;
    int64_t first = part == 1 ? mc_rnn_part_gates(l, 0) : 0;
    const char *from = c->in[part < 0 ? MC_RNN_IN_W : MC_RNN_IN_R].data;
    return from + (dir * l->gates + first) * l->hidden * k * c->k->elem_bytes;
}

void mc_rnn_pack(const struct mc_call *c, const struct mc_rnn_node *l, int part, int dir, void *dst)
{
    int64_t k = part < 0 ? l->input : l->hidden, n = mc_rnn_part_gates(l, part) * l->hidden;
    if (!c->k->device)
        c->k->gemm.pack_b(k, n, weight_of(c, l, part, dir), 1, k, dst, c->pool);
}

/* The second factor of a product: packed, or on a GPU as it is. */
static void set_weight(const struct mc_call *c, const struct mc_rnn_node *l, int part, int dir,
                       const void *packed, struct mc_gemm *g)
{
    g->packed_b = packed;
    if (!c->k->device)
        return;
    g->b = weight_of(c, l, part, dir);
    g->b_row = 1;
    g->b_col = g->k;
}

/* ---- products ---- */

static const void *bias_of(const struct mc_call *c, const struct mc_rnn_node *l, int dir,
                           bool recurrent, int gate)
{
    const struct mc_buf *b = mc_op_arg(c, MC_RNN_IN_B);
    int64_t at = ((dir * 2 + recurrent) * l->gates + gate) * l->hidden;
    return b ? (const char *)b->data + at * c->k->elem_bytes : NULL;
}

/* With linear_before_reset, the hidden gate's second bias belongs into the product that is reset. */
static bool resets_product(const struct mc_rnn_node *l)
{
    return l->kind == MC_RNN_GRU && l->linear_before_reset;
}

static const void *sum_biases(const struct mc_call *c, const struct mc_rnn_node *l,
                              const struct mc_rnn_space *s, int dir)
{
    int64_t n = l->gates * l->hidden, both = resets_product(l) ? 2 * l->hidden : n;
    size_t elem = (size_t)c->k->elem_bytes;
    const char *wb = bias_of(c, l, dir, false, 0), *rb = bias_of(c, l, dir, true, 0);
    if (!wb)
        return NULL;
    struct mc_binary add = {.fn = MC_BINARY_ADD,
                            .rank = 1,
                            .dim = {both},
                            .stride = {{1}, {1}},
                            .x = wb,
                            .y = rb,
                            .z = s->bias};
    c->k->elementwise.binary(&add, c->pool);
    if (n > both)
        mc_rnn_copy(c, (char *)s->bias + (size_t)both * elem, wb + (size_t)both * elem, n - both);
    return s->bias;
}

/* to (+)= x times the one matrix of `gates` gates, scaled for each of them, and the bias. */
static void spread_product(const struct mc_call *c, const struct mc_rnn_node *l,
                           const struct mc_rnn_space *s, struct mc_gemm *g, const void *scale,
                           struct mc_gate_spread *to)
{
    g->n = l->hidden;
    g->a_row = g->k;
    g->a_col = 1;
    g->c = s->z;
    g->c_row = l->hidden;
    g->alpha = 1;
    c->k->gemm.run(g, s->gemm, c->pool);
    to->rows = g->m;
    to->hidden = l->hidden;
    to->z = s->z;
    to->scale = scale;
    to->to_row = l->gates * l->hidden;
    c->k->rnn.gate_spread(to, c->pool);
}

void mc_rnn_begin(const struct mc_call *c, const struct mc_rnn_node *l,
                  const struct mc_rnn_space *s, int dir)
{
    int64_t n = l->gates * l->hidden;
    if (s->packed_w)
        mc_rnn_pack(c, l, -1, dir, s->packed_w);
    for (int part = 0; part < 2; part++)
        if (s->packed_r[part] && mc_rnn_part_gates(l, part))
            mc_rnn_pack(c, l, part, dir, s->packed_r[part]);
    const void *x = l->batch_first ? s->x : c->in[MC_RNN_IN_X].data,
               *bias = sum_biases(c, l, s, dir);
    if (l->shared_w[dir]) {
        struct mc_gemm one = {
            .m = l->steps * l->batch, .k = l->input, .a = x, .packed_b = l->shared_w[dir]};
        struct mc_gate_spread to = {.gates = l->gates, .bias = bias, .to = s->gates};
        spread_product(c, l, s, &one, l->scale_w[dir], &to);
        return;
    }
    struct mc_gemm g = {.m = l->steps * l->batch,
                        .n = n,
                        .k = l->input,
                        .a = x,
                        .a_row = l->input,
                        .a_col = 1,
                        .c = s->gates,
                        .c_row = n,
                        .alpha = 1,
                        .epilogue = {.bias = bias}};
    set_weight(c, l, -1, dir, l->packed_w[dir] ? l->packed_w[dir] : s->packed_w, &g);
    c->k->gemm.run(&g, s->gemm, c->pool);
}

/* to += h times a part of R, rows of `to` being `row` apart. */
static void add_product(const struct mc_call *c, const struct mc_rnn_node *l,
                        const struct mc_rnn_space *s, int dir, int part, const void *h, void *to)
{
    int64_t n = l->gates * l->hidden;
    const void *packed = l->packed_r[dir][part];
    if (part == 0 && l->shared_r[dir]) {
        struct mc_gemm one = {.m = l->batch, .k = l->hidden, .a = h, .packed_b = l->shared_r[dir]};
        struct mc_gate_spread sum = {.gates = mc_rnn_part_gates(l, 0), .add = true, .to = to};
        spread_product(c, l, s, &one, l->scale_r[dir], &sum);
        return;
    }
    struct mc_gemm g = {.m = l->batch,
                        .n = mc_rnn_part_gates(l, part) * l->hidden,
                        .k = l->hidden,
                        .a = h,
                        .a_row = l->hidden,
                        .a_col = 1,
                        .c = to,
                        .c_row = n,
                        .alpha = 1,
                        .epilogue = {.residual = to}};
    set_weight(c, l, part, dir, packed ? packed : s->packed_r[part], &g);
    c->k->gemm.run(&g, s->gemm, c->pool);
}

static const void *state_before(const struct mc_rnn_space *s)
{
    return s->h_before ? s->h_before : s->h;
}

/* The product that a GRU with linear_before_reset resets: h Rh' + Rbh. */
static void make_product(const struct mc_call *c, const struct mc_rnn_node *l,
                         const struct mc_rnn_space *s, int dir)
{
    const void *packed = l->packed_r[dir][1];
    struct mc_gemm g = {.m = l->batch,
                        .n = l->hidden,
                        .k = l->hidden,
                        .a = state_before(s),
                        .a_row = l->hidden,
                        .a_col = 1,
                        .c = s->c,
                        .c_row = l->hidden,
                        .alpha = 1,
                        .epilogue = {.bias = bias_of(c, l, dir, true, 2)}};
    set_weight(c, l, 1, dir, packed ? packed : s->packed_r[1], &g);
    c->k->gemm.run(&g, s->gemm, c->pool);
}

/* ---- cells ---- */

struct row { /* where a step's results go */
    const uint8_t *active;
    void *y;
    int64_t y_row;
};

static struct row row_of(const struct mc_call *c, const struct mc_rnn_node *l,
                         const struct mc_rnn_space *s, int dir, int64_t t)
{
    const struct mc_buf *y = mc_op_res(c, 0);
    struct row r = {mc_rnn_active(c, l, s->active, t), NULL, 0};
    if (y) {
        int64_t at = l->batch_first ? t * l->dirs + dir : (t * l->dirs + dir) * l->batch;
        r.y = (char *)y->data + at * l->hidden * c->k->elem_bytes;
        r.y_row = l->batch_first ? l->steps * l->dirs * l->hidden : l->hidden;
    }
    return r;
}

static void lstm_step(const struct mc_call *c, const struct mc_rnn_node *l,
                      const struct mc_rnn_space *s, int dir, void *gates, const struct row *r)
{
    const struct mc_buf *p = mc_op_arg(c, MC_RNN_IN_P);
    struct mc_lstm_cell cell = {.batch = l->batch,
                                .hidden = l->hidden,
                                .clip = l->clip,
                                .input_forget = l->input_forget,
                                .gates = gates,
                                .active = r->active,
                                .c = s->c,
                                .h = s->h,
                                .c_before = s->c_before,
                                .h_before = s->h_before,
                                .acts = s->keep ? gates : NULL,
                                .y = r->y,
                                .y_row = r->y_row};
    memcpy(cell.f, l->fn[dir], sizeof cell.f);
    if (p)
        cell.peephole = (const char *)p->data + dir * 3 * l->hidden * c->k->elem_bytes;
    c->k->nn.lstm_cell(&cell, c->pool);
}

static void gru_step(const struct mc_call *c, const struct mc_rnn_node *l,
                     const struct mc_rnn_space *s, int dir, void *gates, const struct row *r)
{
    bool product = resets_product(l);
    struct mc_gru_cell cell = {.batch = l->batch,
                               .hidden = l->hidden,
                               .f = {l->fn[dir][0], l->fn[dir][1]},
                               .clip = l->clip,
                               .gates = gates,
                               .product = product ? s->c : NULL,
                               .active = r->active,
                               .h = s->h,
                               .h_before = s->h_before,
                               .acts = s->keep ? gates : NULL,
                               .reset = s->c,
                               .y = r->y,
                               .y_row = r->y_row};
    if (product) {
        make_product(c, l, s, dir);
    } else {
        c->k->nn.gru_reset(&cell, c->pool);
        add_product(c, l, s, dir, 1, s->c, (char *)gates + 2 * l->hidden * c->k->elem_bytes);
    }
    c->k->nn.gru_cell(&cell, c->pool);
}

static void plain_step(const struct mc_call *c, const struct mc_rnn_node *l,
                       const struct mc_rnn_space *s, int dir, void *gates, const struct row *r)
{
    struct mc_rnn_cell cell = {.batch = l->batch,
                               .hidden = l->hidden,
                               .f = l->fn[dir][0],
                               .clip = l->clip,
                               .gates = gates,
                               .active = r->active,
                               .h = s->h,
                               .h_before = s->h_before,
                               .y = r->y,
                               .y_row = r->y_row};
    c->k->nn.rnn_cell(&cell, c->pool);
}

void mc_rnn_step(const struct mc_call *c, const struct mc_rnn_node *l, const struct mc_rnn_space *s,
                 int dir, int64_t t)
{
    struct row r = row_of(c, l, s, dir, t);
    void *gates = (char *)s->gates + t * l->batch * l->gates * l->hidden * c->k->elem_bytes;
    bool first = t == (l->reverse[dir] ? l->steps - 1 : 0);
    if (!first || !l->from_zero)
        add_product(c, l, s, dir, 0, state_before(s), gates);
    if (l->kind == MC_RNN_LSTM)
        lstm_step(c, l, s, dir, gates, &r);
    else if (l->kind == MC_RNN_GRU)
        gru_step(c, l, s, dir, gates, &r);
    else
        plain_step(c, l, s, dir, gates, &r);
}
