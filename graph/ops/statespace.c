/* Layers that carry a state along a sequence: LinearAttention, CausalConvWithState. */
#include <math.h>
#include <string.h>

#include "graph/ops/helper.h"
#include "graph/ops/float_elem.h"

/* ---- LinearAttention ---- */

enum { QUERY, KEY, VALUE, PAST, DECAY, BETA }; /* inputs */

static bool rule(const struct mc_node *n, const char *part)
{
    return strstr(mc_node_string(n, "update_rule", "gated_delta"), part) != NULL;
}

static int need_rule(const struct mc_infer_ctx *c, struct mc_err *err)
{
    static const char *const rules[] = {"linear", "gated", "delta", "gated_delta"};
    const char *given = mc_node_string(c->node, "update_rule", "gated_delta");
    bool known = false;
    for (size_t i = 0; i < sizeof rules / sizeof *rules; i++)
        known |= !strcmp(rules[i], given);
    if (!known)
        return mc_op_fail(err, MC_EUNSUP, c->node, "update_rule '%s' is not known", given);
    if (rule(c->node, "gated") != (mc_op_in(c, DECAY) != NULL))
        return mc_op_fail(err, MC_ESHAPE, c->node, "update_rule '%s' and %s decay", given,
                          mc_op_in(c, DECAY) ? "a" : "no");
    if (rule(c->node, "delta") != (mc_op_in(c, BETA) != NULL))
        return mc_op_fail(err, MC_ESHAPE, c->node, "update_rule '%s' and %s beta", given,
                          mc_op_in(c, BETA) ? "a" : "no");
    return 0;
}

/* Input i has one of two widths in its last dimension, where both are known. */
static int need_width(const struct mc_infer_ctx *c, int i, int64_t a, int64_t b, struct mc_err *err)
{
    const struct mc_vtype *x = mc_op_in(c, i);
    int64_t width = x && x->ranked ? x->shape.dim[2] : -1;
    if (width < 0 || a < 0 || b < 0 || width == a || width == b)
        return 0;
    return mc_op_fail(err, MC_ESHAPE, c->node, "input %d has %lld columns, must have %lld or %lld",
                      i, (long long)width, (long long)a, (long long)b);
}

static int linear_infer(struct mc_infer_ctx *c, struct mc_err *err)
{
    int rc = mc_op_arity(c, 3, 6, err);
    for (int i = 0; i < c->n_in && !rc; i++) {
        if (!c->in[i])
            continue;
        rc = mc_op_need_float(c, i, err);
        rc = rc ? rc : mc_op_need_rank(c, i, i == PAST ? 4 : 3, i == PAST ? 4 : 3, err);
    }
    rc = rc ? rc : mc_op_need_one_width(c, err);
    rc = rc ? rc : need_rule(c, err);
    if (rc)
        return rc;
    int64_t hq = mc_node_int(c->node, "q_num_heads", 0),
            hk = mc_node_int(c->node, "kv_num_heads", 0);
    if (hq < 1 || hk < 1 || hq % hk)
        return mc_op_fail(err, MC_ESHAPE, c->node, "%lld key heads do not divide %lld query heads",
                          (long long)hk, (long long)hq);
    int64_t batch = MC_DIM_ANY, rows = MC_DIM_ANY, size = MC_DIM_ANY, wide = MC_DIM_ANY;
    for (int i = 0; i < c->n_in && !rc; i++) {
        const struct mc_vtype *x = c->in[i];
        if (!x || !x->ranked || i == PAST)
            continue;
        rc = mc_op_need_dim(c->node, "batches", batch, x->shape.dim[0], &batch, err);
        rc = rc ? rc : mc_op_need_dim(c->node, "rows", rows, x->shape.dim[1], &rows, err);
        int64_t heads = i == QUERY ? hq : hk, last = x->shape.dim[2];
        if (rc || i > VALUE || last < 0)
            continue;
        if (last % heads)
            return mc_op_fail(err, MC_ESHAPE, c->node, "%lld heads do not divide %lld columns",
                              (long long)heads, (long long)last);
        int64_t *each = i == VALUE ? &wide : &size;
        rc = mc_op_need_dim(c->node, "columns of a head", *each, last / heads, each, err);
    }
    rc = rc ? rc : need_width(c, DECAY, hk, size < 0 ? -1 : hk * size, err);
    rc = rc ? rc : need_width(c, BETA, hk, 1, err);
    struct mc_shape state = {4, {batch, hk, size, wide}};
    const struct mc_vtype *past = mc_op_in(c, PAST);
    int64_t same;
    for (int d = 0; d < 4 && !rc && past && past->ranked; d++)
        rc = mc_op_need_dim(c->node, "past_state", past->shape.dim[d], state.dim[d], &same, err);
    struct mc_shape y = {3, {batch, rows, wide < 0 ? MC_DIM_ANY : hq * wide}};
    mc_op_give(c, 0, c->in[QUERY]->dtype, &y);
    mc_op_give(c, 1, past ? past->dtype : c->in[QUERY]->dtype, &state);
    return rc;
}

static int linear_setup(struct mc_call *c, struct mc_err *err)
{
    (void)err;
    int64_t hk = mc_node_int(c->node, "kv_num_heads", 1);
    int64_t size = c->in[KEY].shape.dim[2] / hk, wide = c->in[VALUE].shape.dim[2] / hk;
    c->scratch_bytes = (size_t)(size * wide + wide) * sizeof(double);
    return 0;
}

struct recurrence { /* one head of keys and values of one batch, in float64 */
    struct mc_call *c;
    int64_t rows, size, wide, hq, hk, batch, head;
    double *state, *write; /* [size, wide]; [wide] */
    double scale;
};

/* S := exp(g) S, w := v or beta (v - Sᵀ k), S += k w, for row t. */
static void update_state(const struct recurrence *r, int64_t t)
{
    const struct mc_buf *in = r->c->in;
    int64_t row = r->batch * r->rows + t, key = (row * r->hk + r->head) * r->size;
    int64_t value = (row * r->hk + r->head) * r->wide;
    const struct mc_buf *decay = mc_op_arg(r->c, DECAY), *beta = mc_op_arg(r->c, BETA);
    bool one = decay && decay->shape.dim[2] == r->hk;
    for (int64_t i = 0; decay && i < r->size; i++) {
        double g = exp(mc_buf_param(decay, one ? row * r->hk + r->head : key + i));
        for (int64_t j = 0; j < r->wide; j++)
            r->state[i * r->wide + j] *= g;
    }
    for (int64_t j = 0; j < r->wide; j++)
        r->write[j] = mc_buf_param(&in[VALUE], value + j);
    if (beta) {
        int64_t heads = beta->shape.dim[2];
        double b = mc_buf_param(beta, row * heads + (heads == 1 ? 0 : r->head));
        for (int64_t i = 0; i < r->size; i++) {
            double k = mc_buf_param(&in[KEY], key + i);
            for (int64_t j = 0; j < r->wide; j++)
                r->write[j] -= k * r->state[i * r->wide + j];
        }
        for (int64_t j = 0; j < r->wide; j++)
            r->write[j] *= b;
    }
    for (int64_t i = 0; i < r->size; i++) {
        double k = mc_buf_param(&in[KEY], key + i);
        for (int64_t j = 0; j < r->wide; j++)
            r->state[i * r->wide + j] += k * r->write[j];
    }
}

static void read_state(const struct recurrence *r, int64_t t)
{
    int64_t row = r->batch * r->rows + t, group = r->hq / r->hk;
    for (int64_t h = r->head * group; h < (r->head + 1) * group; h++)
        for (int64_t j = 0; j < r->wide; j++) {
            double sum = 0;
            for (int64_t i = 0; i < r->size; i++)
                sum += mc_buf_param(&r->c->in[QUERY], (row * r->hq + h) * r->size + i) *
                       r->state[i * r->wide + j];
            mc_buf_put(&r->c->out[0], (row * r->hq + h) * r->wide + j, r->scale * sum);
        }
}

static int linear_run(struct mc_call *c, struct mc_err *err)
{
    (void)err;
    struct recurrence r = {.c = c,
                           .hq = mc_node_int(c->node, "q_num_heads", 1),
                           .hk = mc_node_int(c->node, "kv_num_heads", 1),
                           .rows = c->in[QUERY].shape.dim[1]};
    r.size = c->in[KEY].shape.dim[2] / r.hk;
    r.wide = c->in[VALUE].shape.dim[2] / r.hk;
    r.state = c->scratch;
    r.write = r.state + r.size * r.wide;
    double scale = (double)mc_node_float(c->node, "scale", 0);
    r.scale = scale != 0 ? scale : 1 / sqrt((double)(r.size > 0 ? r.size : 1));
    const struct mc_buf *past = mc_op_arg(c, PAST), *present = mc_op_res(c, 1);
    int64_t n = r.size * r.wide, heads = c->in[QUERY].shape.dim[0] * r.hk;
    for (int64_t bh = 0; bh < heads; bh++) {
        r.batch = bh / r.hk;
        r.head = bh % r.hk;
        for (int64_t i = 0; i < n; i++)
            r.state[i] = past ? mc_buf_param(past, bh * n + i) : 0;
        for (int64_t t = 0; t < r.rows; t++) {
            update_state(&r, t);
            if (mc_op_res(c, 0))
                read_state(&r, t);
        }
        for (int64_t i = 0; present && i < n; i++)
            mc_buf_put(present, bh * n + i, r.state[i]);
    }
    return 0;
}

/* ---- CausalConvWithState: a depthwise filter over the past and the present ---- */

enum { WEIGHT = 1, BIAS, STATE };

static int causal_infer(struct mc_infer_ctx *c, struct mc_err *err)
{
    int rc = mc_op_arity(c, 2, 4, err);
    for (int i = 0; i < c->n_in && !rc; i++) {
        if (!c->in[i])
            continue;
        rc = mc_op_need_float(c, i, err);
        rc = rc ? rc : mc_op_need_rank(c, i, i == BIAS ? 1 : 3, i == BIAS ? 1 : 3, err);
    }
    rc = rc ? rc : mc_op_need_one_width(c, err);
    const char *how = mc_node_string(c->node, "activation", "none");
    if (!rc && strcmp(how, "none") && strcmp(how, "silu") && strcmp(how, "swish"))
        return mc_op_fail(err, MC_EUNSUP, c->node, "activation '%s' is none of none, silu, swish",
                          how);
    if (rc)
        return rc;
    const struct mc_vtype *x = c->in[0], *w = c->in[WEIGHT];
    const struct mc_vtype *bias = mc_op_in(c, BIAS), *past = mc_op_in(c, STATE);
    struct mc_shape state = {3, {MC_DIM_ANY, MC_DIM_ANY, MC_DIM_ANY}};
    int64_t same, channels = w->ranked ? w->shape.dim[0] : MC_DIM_ANY;
    if (w->ranked) {
        if (w->shape.dim[2] == 0)
            return mc_op_fail(err, MC_ESHAPE, c->node, "the filter is empty");
        rc = mc_op_need_dim(c->node, "columns of the filter", w->shape.dim[1], 1, &same, err);
        state.dim[2] = w->shape.dim[2] < 0 ? MC_DIM_ANY : w->shape.dim[2] - 1;
    }
    if (x->ranked) {
        state.dim[0] = x->shape.dim[0];
        rc = rc ? rc
                : mc_op_need_dim(c->node, "channels", channels, x->shape.dim[1], &channels, err);
    }
    if (bias && bias->ranked)
        rc = rc ? rc
                : mc_op_need_dim(c->node, "channels and bias", channels, bias->shape.dim[0],
                                 &channels, err);
    state.dim[1] = channels;
    for (int d = 0; d < 3 && !rc && past && past->ranked; d++)
        rc = mc_op_need_dim(c->node, "past_state", past->shape.dim[d], state.dim[d], &same, err);
    mc_op_give(c, 0, x->dtype, x->ranked ? &x->shape : NULL);
    mc_op_give(c, 1, x->dtype, &state);
    return rc;
}

/* Element t of a row that starts with the k - 1 elements of the past. */
static double padded(const struct mc_call *c, int64_t row, int64_t before, int64_t t)
{
    const struct mc_buf *past = mc_op_arg(c, STATE);
    if (t >= before)
        return mc_buf_param(&c->in[0], row * c->in[0].shape.dim[2] + t - before);
    return past ? mc_buf_param(past, row * before + t) : 0;
}

static int causal_run(struct mc_call *c, struct mc_err *err)
{
    (void)err;
    const struct mc_buf *x = &c->in[0], *w = &c->in[WEIGHT], *bias = mc_op_arg(c, BIAS);
    const struct mc_buf *y = mc_op_res(c, 0), *present = mc_op_res(c, 1);
    int64_t channels = x->shape.dim[1], n = x->shape.dim[2], taps = w->shape.dim[2];
    bool silu = strcmp(mc_node_string(c->node, "activation", "none"), "none") != 0;
    for (int64_t r = 0; r < x->shape.dim[0] * channels; r++) {
        int64_t channel = r % channels;
        for (int64_t t = 0; t < n && y; t++) {
            double sum = bias ? mc_buf_param(bias, channel) : 0;
            for (int64_t i = 0; i < taps; i++)
                sum += mc_buf_param(w, channel * taps + i) * padded(c, r, taps - 1, t + i);
            mc_buf_put(y, r * n + t, silu ? sum / (1 + exp(-sum)) : sum);
        }
        for (int64_t i = 0; i < taps - 1 && present; i++)
            mc_buf_put(present, r * (taps - 1) + i, padded(c, r, taps - 1, n + i));
    }
    return 0;
}

const struct mc_op mc_ops_statespace[] = {
    {"", "LinearAttention", 27, 0, linear_infer, linear_setup, linear_run, NULL, NULL, NULL},
    {"", "CausalConvWithState", 27, 0, causal_infer, NULL, causal_run, NULL, NULL, NULL},
    {0},
};
