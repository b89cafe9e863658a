/* LSTM, GRU and RNN: the input products of all time steps are one matrix product; a step is the recurrent product
 * and one pass over the gates. Those of ai.mcompress.grad keep what their gradients need (rnn_node.h). */
#include <stdlib.h>
#include <string.h>

#include "graph/grad/rule.h"
#include "graph/ops/helper.h"
#include "graph/ops/op_gpu.h"
#include "graph/ops/recurrent_shared.h"
#include "graph/ops/recurrent_step.h"
#include "graph/ops/pack.h"

static bool keeps(const struct mc_node *n)
{
    return n->domain[0] != 0;
}

static bool keeps_cells(const struct mc_rnn_node *l)
{
    return l->kind == MC_RNN_LSTM || (l->kind == MC_RNN_GRU && l->linear_before_reset);
}

static int infer_kept(struct mc_infer_ctx *c, const struct mc_rnn_node *l, struct mc_err *err)
{
    enum mc_dtype dtype = c->in[MC_RNN_IN_X]->dtype;
    int64_t more = l->steps < 0 ? MC_DIM_ANY : l->steps + 1;
    int64_t gates = l->hidden < 0 ? MC_DIM_ANY : l->gates * l->hidden;
    struct mc_shape g = {4, {l->dirs, l->steps, l->batch, gates}};
    struct mc_shape state = {4, {l->dirs, more, l->batch, l->hidden}};
    struct mc_shape product = {4, {l->dirs, l->steps, l->batch, l->hidden}};
    bool all = mc_op_out(c, MC_RNN_STATES) &&
               (l->kind == MC_RNN_PLAIN || mc_op_out(c, MC_RNN_GATES)) &&
               (!keeps_cells(l) || mc_op_out(c, MC_RNN_CELLS));
    if (!all)
        return mc_op_fail(err, MC_ESHAPE, c->node, "an output is missing");
    mc_op_give(c, MC_RNN_GATES, dtype, &g);
    mc_op_give(c, MC_RNN_STATES, dtype, &state);
    mc_op_give(c, MC_RNN_CELLS, dtype, l->kind == MC_RNN_LSTM ? &state : &product);
    return 0;
}

static int recurrent_infer(struct mc_infer_ctx *c, struct mc_err *err)
{
    struct mc_rnn_node l;
    bool lstm = !strcmp(c->node->op_type, "LSTM");
    int most = lstm ? MC_RNN_INPUTS : MC_RNN_IN_C, rc = mc_op_arity(c, 3, most, err);
    for (int i = 0; i < most && !rc; i++) {
        if (!mc_op_in(c, i) || i == MC_RNN_IN_LENS)
            continue;
        rc = mc_op_need_float(c, i, err);
        rc = rc ? rc : mc_op_need_same(c, MC_RNN_IN_X, i, err);
    }
    const struct mc_vtype *lens = rc ? NULL : mc_op_in(c, MC_RNN_IN_LENS);
    if (lens && lens->dtype && lens->dtype != MC_DTYPE_I32)
        return mc_op_fail(err, MC_EDTYPE, c->node, "sequence_lens is %s, must be int32",
                          mc_dtype_name((int)lens->dtype));
    rc = rc ? rc : mc_rnn_parse(c->node, &l, err);
    rc = rc ? rc : mc_rnn_shapes(c, &l, err);
    if (rc)
        return rc;
    struct mc_shape y = {4, {l.steps, l.dirs, l.batch, l.hidden}};
    struct mc_shape h = {3, {l.dirs, l.batch, l.hidden}};
    if (l.batch_first) {
        y = (struct mc_shape){4, {l.batch, l.steps, l.dirs, l.hidden}};
        h = (struct mc_shape){3, {l.batch, l.dirs, l.hidden}};
    }
    mc_op_give(c, 0, c->in[MC_RNN_IN_X]->dtype, &y);
    mc_op_give(c, 1, c->in[MC_RNN_IN_X]->dtype, &h);
    if (lstm)
        mc_op_give(c, 2, c->in[MC_RNN_IN_X]->dtype, &h);
    return keeps(c->node) ? infer_kept(c, &l, err) : 0;
}

static double recurrent_macs(const struct mc_infer_ctx *c)
{
    struct mc_rnn_node l;
    if (mc_rnn_parse(c->node, &l, NULL) || mc_rnn_shapes(c, &l, NULL) || l.steps < 0 ||
        l.batch < 0 || l.input < 0 || l.hidden < 0)
        return -1;
    return (double)l.dirs * (double)l.steps * (double)l.batch * l.gates * (double)l.hidden *
           (double)(l.input + l.hidden);
}

/* ---- packing ---- */

/* The constant W (part -1) or a part of R of one direction. */
static int pack_constant(struct mc_call *c, const struct mc_rnn_node *l, int part, int dir,
                         const void **ret, struct mc_err *err)
{
    const struct mc_buf *b = &c->in[part < 0 ? MC_RNN_IN_W : MC_RNN_IN_R];
    const int64_t layout[] = {MC_PACK_RNN, part, dir, l->gates, l->input, l->hidden};
    void *block;
    bool fresh;
    if (!b->constant || c->k->device || (part >= 0 && !mc_rnn_part_gates(l, part)))
        return 0;
    int rc = mc_pack_get(c->packs, b->data, layout, 6, mc_rnn_packed_bytes(c, l, part), &block,
                         &fresh, err);
    if (!rc && fresh)
        mc_rnn_pack(c, l, part, dir, block);
    if (!rc)
        *ret = block;
    return rc;
}

/* ---- running ---- */

/* Lay out the scratch; during setup only its size counts. */
static size_t layout(const struct mc_call *c, const struct mc_rnn_node *l, struct mc_rnn_space *s)
{
    size_t at = 0, elem = (size_t)c->k->elem_bytes, hidden = (size_t)l->hidden * elem;
    size_t rows = (size_t)(l->steps * l->batch), state = (size_t)l->batch * hidden;
    size_t gate = (size_t)l->gates * hidden;
    size_t gemm = mc_rnn_product_bytes(c, (int64_t)rows, l->gates * l->hidden, l->input);
    for (int part = 0; part < 2; part++) {
        int64_t n = mc_rnn_part_gates(l, part) * l->hidden;
        size_t step = mc_rnn_product_bytes(c, l->batch, n, l->hidden);
        gemm = step > gemm ? step : gemm;
    }
    for (int shared = 0; shared < 2; shared++) { /* products that gates have in common */
        size_t one = mc_rnn_product_bytes(c, shared ? l->batch : (int64_t)rows, l->hidden,
                                          shared ? l->hidden : l->input);
        gemm = one > gemm ? one : gemm;
    }
    bool keep = keeps(c->node);
    *s = (struct mc_rnn_space){.keep = keep && l->kind != MC_RNN_PLAIN};
    if (l->batch_first)
        s->x = mc_op_scratch(c, &at, rows * (size_t)l->input * elem);
    if (!s->keep)
        s->gates = mc_op_scratch(c, &at, rows * gate);
    s->bias = mc_op_scratch(c, &at, gate);
    if (!keep)
        s->h = mc_op_scratch(c, &at, state);
    if (l->kind != MC_RNN_PLAIN && !(keep && keeps_cells(l)))
        s->c = mc_op_scratch(c, &at, state);
    s->active = mc_op_scratch(c, &at, mc_rnn_active_bytes(c, l));
    if (!c->in[MC_RNN_IN_W].constant)
        s->packed_w = mc_op_scratch(c, &at, mc_rnn_packed_bytes(c, l, -1));
    for (int part = 0; part < 2 && !c->in[MC_RNN_IN_R].constant; part++)
        s->packed_r[part] = mc_op_scratch(c, &at, mc_rnn_packed_bytes(c, l, part));
    if (l->shared_w[0] || l->shared_w[1])
        s->z = mc_op_scratch(c, &at, rows * hidden);
    else if (l->shared_r[0] || l->shared_r[1])
        s->z = mc_op_scratch(c, &at, state);
    s->gemm = mc_op_scratch(c, &at, gemm);
    return at;
}

static int recurrent_setup(struct mc_call *c, struct mc_err *err)
{
    const struct mc_shape *x = &c->in[MC_RNN_IN_X].shape;
    struct mc_rnn_node l;
    struct mc_rnn_space s;
    int rc = mc_rnn_parse(c->node, &l, err);
    if (rc)
        return rc;
    l.steps = x->dim[l.batch_first];
    l.batch = x->dim[!l.batch_first];
    l.input = x->dim[2];
    l.hidden = c->in[MC_RNN_IN_R].shape.dim[2];
    l.from_zero = mc_rnn_from_zero(c);
    for (int d = 0; d < l.dirs && !rc; d++) {
        if (!c->k->device) {
            rc = mc_rnn_shared_find(c, &l, false, d, &l.shared_w[d], &l.scale_w[d], err);
            rc = rc ? rc : mc_rnn_shared_find(c, &l, true, d, &l.shared_r[d], &l.scale_r[d], err);
        }
        if (!rc && !l.shared_w[d])
            rc = pack_constant(c, &l, -1, d, &l.packed_w[d], err);
        for (int part = 0; part < 2 && !rc; part++)
            if (part || !l.shared_r[d])
                rc = pack_constant(c, &l, part, d, &l.packed_r[d][part], err);
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

static void recurrent_teardown(struct mc_call *c)
{
    free(c->state);
    c->state = NULL;
}

/* Rows of hidden between a dense state [batch, hidden] and direction dir of one in the model's layout;
 * outer NULL: zeros. */
static void copy_state(const struct mc_call *c, const struct mc_rnn_node *l, int dir,
                       const struct mc_buf *outer, void *inner, bool load)
{
    size_t elem = (size_t)c->k->elem_bytes;
    if (!outer) {
        if (load)
            mc_rnn_copy(c, inner, NULL, l->batch * l->hidden);
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
    c->k->move.run(&m, c->pool);
}

static int check_lengths(const struct mc_call *c, const struct mc_rnn_node *l, struct mc_err *err)
{
    const struct mc_buf *lens = mc_op_arg(c, MC_RNN_IN_LENS);
    for (int64_t i = 0; lens && i < l->batch; i++) {
        int32_t len = ((const int32_t *)lens->data)[i];
        if (len < 0 || len > l->steps)
            return mc_op_fail(err, MC_EDATA, c->node, "sequence %lld has length %d of %lld steps",
                              (long long)i, (int)len, (long long)l->steps);
    }
    return 0;
}

static char *kept(const struct mc_call *c, int output, int64_t element)
{
    return (char *)mc_op_res(c, output)->data + element * c->k->elem_bytes;
}

/* Where states are kept: those that step t of direction dir reads and makes. */
static void enter_step(const struct mc_call *c, const struct mc_rnn_node *l, struct mc_rnn_space *s,
                       int dir, int64_t t)
{
    int64_t size = l->batch * l->hidden, first = dir * (l->steps + 1) * size;
    int64_t before = first + (t + l->reverse[dir]) * size,
            now = first + (t + !l->reverse[dir]) * size;
    if (!keeps(c->node))
        return;
    s->h_before = kept(c, MC_RNN_STATES, before);
    s->h = kept(c, MC_RNN_STATES, now);
    if (l->kind == MC_RNN_LSTM) {
        s->c_before = kept(c, MC_RNN_CELLS, before);
        s->c = kept(c, MC_RNN_CELLS, now);
    } else if (keeps_cells(l)) {
        s->c = kept(c, MC_RNN_CELLS, (dir * l->steps + t) * size);
    }
}

/* Initial states, where the first step reads them. */
static void enter(const struct mc_call *c, const struct mc_rnn_node *l, struct mc_rnn_space *s,
                  int dir)
{
    if (keeps(c->node)) {
        int64_t size = l->batch * l->hidden;
        int64_t first = (dir * (l->steps + 1) + (l->reverse[dir] ? l->steps : 0)) * size;
        s->h = kept(c, MC_RNN_STATES, first);
        if (l->kind == MC_RNN_LSTM)
            s->c = kept(c, MC_RNN_CELLS, first);
        if (s->keep)
            s->gates = kept(c, MC_RNN_GATES, dir * l->steps * l->gates * size);
    }
    copy_state(c, l, dir, mc_op_arg(c, MC_RNN_IN_H), s->h, true);
    if (l->kind == MC_RNN_LSTM)
        copy_state(c, l, dir, mc_op_arg(c, MC_RNN_IN_C), s->c, true);
}

static void leave(const struct mc_call *c, const struct mc_rnn_node *l,
                  const struct mc_rnn_space *s, int dir)
{
    /* As in ONNX Runtime, the last state of a sequence without elements is zero, not its initial state. */
    mc_rnn_clear_empty(c, l, s->h);
    copy_state(c, l, dir, mc_op_res(c, 1), s->h, false);
    if (l->kind == MC_RNN_LSTM) {
        mc_rnn_clear_empty(c, l, s->c);
        copy_state(c, l, dir, mc_op_res(c, 2), s->c, false);
    }
}

static int recurrent_run(struct mc_call *c, struct mc_err *err)
{
    const struct mc_rnn_node *l = c->state;
    struct mc_rnn_space s;
    int rc = c->k->device ? 0 : check_lengths(c, l, err);
    if (rc)
        return rc;
    layout(c, l, &s);
    mc_rnn_lengths(c, l, s.active);
    if (l->batch_first) {
        struct mc_move m = {.rank = 3,
                            .dim = {l->steps, l->batch, l->input},
                            .src_stride = {l->input, l->steps * l->input, 1},
                            .dst_stride = {l->batch * l->input, l->input, 1},
                            .src = c->in[MC_RNN_IN_X].data,
                            .dst = s.x,
                            .elem_bytes = c->k->elem_bytes};
        c->k->move.run(&m, c->pool);
    }
    for (int d = 0; d < l->dirs; d++) {
        enter(c, l, &s, d);
        mc_rnn_begin(c, l, &s, d);
        for (int64_t i = 0; i < l->steps; i++) {
            int64_t t = l->reverse[d] ? l->steps - 1 - i : i;
            enter_step(c, l, &s, d, t);
            mc_rnn_step(c, l, &s, d, t);
        }
        leave(c, l, &s, d);
    }
    return 0;
}

#define RECURRENT(domain, name)                                                                    \
    {                                                                                              \
        domain, name, 1, 0, recurrent_infer, recurrent_setup, recurrent_run, recurrent_teardown,   \
            recurrent_macs, NULL                                                                   \
    }
const struct mc_op mc_ops_recurrent[] = {RECURRENT("", "LSTM"),
                                         RECURRENT("", "GRU"),
                                         RECURRENT("", "RNN"),
                                         RECURRENT(MC_GRAD_DOMAIN, "LSTM"),
                                         RECURRENT(MC_GRAD_DOMAIN, "GRU"),
                                         RECURRENT(MC_GRAD_DOMAIN, "RNN"),
                                         {0}};

static bool gpu_can(const struct mc_call *c)
{
    const struct mc_kernels *k = c->k;
    return mc_op_gpu_floats(c) && k->gemm.run && k->nn.lstm_cell && k->nn.gru_cell &&
           k->nn.gru_reset && k->nn.rnn_cell && k->rnn.lengths && k->move.run && k->optim.parts &&
           k->elementwise.binary;
}

#define GPU(domain, name)                                                                          \
    {                                                                                              \
        domain, name, .can = gpu_can                                                               \
    }
const struct mc_op_gpu mc_op_gpu_recurrent[] = {GPU("", "LSTM"),
                                                GPU("", "GRU"),
                                                GPU("", "RNN"),
                                                GPU(MC_GRAD_DOMAIN, "LSTM"),
                                                GPU(MC_GRAD_DOMAIN, "GRU"),
                                                GPU(MC_GRAD_DOMAIN, "RNN"),
                                                {0}};
