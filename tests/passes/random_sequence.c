/* Blocks on [batch, time, width]. */
#include "random_graph.h"

#include <math.h>

/* ---- attention ---- */

struct heads {
    int64_t n, kv, width; /* kv heads serve n */
};

/* [batch, time, n width] to [batch, n, time, width] */
static struct rv apart(struct rg *r, struct rv x, int64_t n)
{
    int64_t t = x.d[1], width = x.d[2] / n;
    return rg_transpose(r, rg_reshape(r, x, 4, D(RG_BATCH, t, n, width)), D(0, 2, 1, 3));
}

static void three_of_one(struct rg *r, struct rv x, const struct heads *h, struct rv *part)
{
    int64_t all = h->n * h->width, t = x.d[1];
    struct rv y = rg_linear(r, x, 3 * all);
    if (rg_chance(r, 50)) {
        rg_split(r, y, 2, 3, D(all, all, all), part);
        for (int i = 0; i < 3; i++)
            part[i] = apart(r, part[i], h->n);
        return;
    }
    y = rg_transpose(r, rg_reshape(r, y, 5, D(RG_BATCH, t, 3, h->n, h->width)), D(2, 0, 3, 1, 4));
    for (int64_t i = 0; i < 3; i++) {
        struct mc_node *node;
        struct mc_value *in[2] = {y.v, build_const(r->g, "which", MC_DTYPE_I64, 0, NULL, &i)};
        part[i] = rg_node(r, "Gather", 2, in, 4, y.d + 1, &node);
        rg_int(node, "axis", 0);
    }
}

/* Every head of k and v serves several of q. */
static struct rv repeated(struct rg *r, struct rv x, const struct heads *h)
{
    int64_t times = h->n / h->kv, t = x.d[2];
    if (times == 1)
        return x;
    struct rv y = rg_unsqueeze(r, x, 2);
    struct mc_value *in[2] = {y.v, rg_ints(r, 5, D(1, 1, times, 1, 1))};
    y = rg_node(r, "Expand", 2, in, 5, D(RG_BATCH, h->kv, times, t, h->width), NULL);
    return rg_reshape(r, y, 4, D(RG_BATCH, h->n, t, h->width));
}

/* Halves turned into each other by an angle that grows with the place. */
static struct rv rotated(struct rg *r, struct rv x, struct mc_value *c, struct mc_value *s)
{
    struct rv half[2];
    int64_t w = x.d[3] / 2;
    rg_split(r, x, 3, 2, D(w, w), half);
    struct rv turned[2] = {rg_like(r, "Neg", half[1]), half[0]};
    struct rv t = rg_concat(r, 3, 2, turned);
    return rg_two(r, "Add", rg_two(r, "Mul", x, c), rg_two(r, "Mul", t, s).v);
}

static struct rv attention(struct rg *r, struct rv x)
{
    int64_t n = 2 + (int64_t)rg_below(r, 2), t = x.d[1];
    struct heads h = {n, n, 2 + 2 * (int64_t)rg_below(r, 2)};
    struct rv part[3];
    struct mc_node *node;
    if (rg_chance(r, 40)) {
        three_of_one(r, x, &h, part);
    } else {
        h.kv = rg_chance(r, 50) ? n : 1;
        if (rg_chance(r, 30))
            h.n = n = 4, h.kv = 2;
        part[0] = apart(r, rg_linear(r, x, h.n * h.width), h.n);
        part[1] = apart(r, rg_linear(r, x, h.kv * h.width), h.kv);
        part[2] = apart(r, rg_linear(r, x, h.kv * h.width), h.kv);
    }
    if (rg_chance(r, 30)) {
        struct mc_value *c = rg_plain(r, 2, D(t, h.width), 0.5, 0);
        struct mc_value *s = rg_plain(r, 2, D(t, h.width), 0.5, 0);
        part[0] = rotated(r, part[0], c, s);
        part[1] = rotated(r, part[1], c, s);
    }
    struct rv k = rg_transpose(r, repeated(r, part[1], &h), D(0, 1, 3, 2));
    struct rv score = rg_node(r, "MatMul", 2, (struct mc_value *[]){part[0].v, k.v}, 4,
                              D(RG_BATCH, n, t, t), NULL);
    score = rg_two(r, "Mul", score, rg_number(r, 0.5f));
    if (rg_chance(r, 40))
        score = rg_two(r, "Add", score, rg_plain(r, 4, D(1, 1, t, t), 1, 0));
    score = rg_node(r, "Softmax", 1, &score.v, 4, score.d, &node);
    rg_int(node, "axis", rg_chance(r, 50) ? 3 : -1);
    struct mc_value *in[2] = {score.v, repeated(r, part[2], &h).v};
    struct rv y = rg_node(r, "MatMul", 2, in, 4, D(RG_BATCH, n, t, h.width), NULL);
    y = rg_transpose(r, y, D(0, 2, 1, 3));
    y = rg_reshape(r, y, 3, D(RG_BATCH, t, n * h.width));
    return rg_two(r, "Add", rg_linear(r, y, x.d[2]), x.v);
}

/* ---- the rest of a transformer ---- */

static struct rv feed_forward(struct rg *r, struct rv x)
{
    struct rv y = rg_chance(r, 60) ? rg_layer_norm(r, x) : x;
    int64_t width = 6 + 2 * (int64_t)rg_below(r, 3);
    if (rg_chance(r, 40)) {
        struct rv up = rg_linear(r, y, width);
        y = rg_two(r, "Mul", rg_activation(r, rg_linear(r, y, width)), up.v);
    } else {
        y = rg_activation(r, rg_linear(r, y, width));
    }
    y = rg_two(r, "Add", rg_linear(r, y, x.d[2]), x.v);
    return rg_chance(r, 30) ? rg_layer_norm(r, y) : y;
}

static struct rv placed(struct rg *r, struct rv x)
{
    return rg_two(r, "Add", x, rg_weight(r, 3, D(1, x.d[1], x.d[2]), 0.5, 0));
}

/* A word of the network's own before the others. */
static struct rv with_class(struct rg *r, struct rv x)
{
    int64_t c = x.d[2];
    struct rv word = {.v = rg_weight(r, 3, D(1, 1, c), 1, 0), .rank = 3, .d = {1, 1, c}};
    if (x.d[1] > 8)
        return x;
    if (r->free_batch) { /* as often as there are samples */
        struct rv zero = rg_two(r, "Mul", rg_slice(r, x, 1, 0, 1, 1), rg_number(r, 0));
        word = rg_two(r, "Add", zero, word.v);
    } else {
        struct mc_value *in[2] = {word.v, rg_ints(r, 3, D(RG_SAMPLES, 1, c))};
        word = rg_node(r, "Expand", 2, in, 3, D(RG_BATCH, 1, c), NULL);
    }
    struct rv both[2] = {word, x};
    return rg_concat(r, 1, 2, both);
}

/* Along time, in the middle of the block channels first. */
static struct rv over_time(struct rg *r, struct rv x)
{
    struct mc_node *n;
    int64_t t = x.d[1], c = x.d[2], group = rg_chance(r, 40) ? c : 1;
    struct rv y = rg_transpose(r, x, D(0, 2, 1));
    struct mc_value *in[2] = {y.v, rg_weight(r, 3, D(c, c / group, 3), 0.4, 0)};
    y = rg_node(r, "Conv", 2, in, 3, D(RG_BATCH, c, t), &n);
    rg_list(n, "pads", 2, D(1, 1));
    if (group > 1)
        rg_int(n, "group", group);
    return rg_transpose(r, rg_activation(r, y), D(0, 2, 1));
}

/* Mixing of places by a weight: what it reads is no width. */
static struct rv mixed(struct rg *r, struct rv x)
{
    int64_t t = x.d[1];
    struct rv y = rg_transpose(r, x, D(0, 2, 1));
    y = rg_linear(r, rg_activation(r, rg_linear(r, y, 4)), t);
    return rg_two(r, "Add", rg_transpose(r, y, D(0, 2, 1)), x.v);
}

/* Rows of all samples in one matrix. */
static struct rv as_rows(struct rg *r, struct rv x)
{
    int64_t t = x.d[1];
    struct rv y = rg_reshape(r, x, 2, D(RG_ANY, x.d[2]));
    y = rg_linear(r, rg_activation(r, rg_linear(r, y, 6)), 8);
    return rg_reshape(r, y, 3, D(RG_BATCH, t, 8));
}

struct rv rg_sequence_block(struct rg *r, struct rv x)
{
    static struct rv (*const block[])(struct rg *, struct rv) = {
        attention, feed_forward, placed, with_class, over_time, mixed, as_rows,
    };
    if (x.d[2] > 16)
        x = rg_linear(r, x, 8);
    uint32_t which = rg_below(r, 10);
    return block[which < 7 ? which : which < 9 ? 0 : 1](r, x);
}

/* ---- cells ---- */

static struct rv cell(struct rg *r, struct rv x, const char *op, int64_t gates, int64_t hidden,
                      int64_t directions, bool last)
{
    int64_t t = x.d[0], from = x.d[2], n = directions * hidden;
    double scale = 1 / sqrt((double)hidden);
    struct mc_value *in[6] = {x.v, rg_plain(r, 3, D(directions, gates * hidden, from), scale, 0),
                              rg_plain(r, 3, D(directions, gates * hidden, hidden), scale, 0)};
    int n_in = 3;
    if (rg_chance(r, 70)) {
        in[3] = rg_plain(r, 2, D(directions, 2 * gates * hidden), 0.3, 0);
        n_in = 4;
    }
    if (!r->free_batch && rg_chance(r, 30)) {
        in[5] = rg_plain(r, 3, D(directions, RG_SAMPLES, hidden), 0.5, 0);
        n_in = 6;
    }
    struct mc_node *node;
    struct mc_err err;
    struct mc_value *out[2] = {mc_edit_fresh(r->g, "steps"), mc_edit_fresh(r->g, "state")};
    build_ok(
        mc_edit_node(r->g, r->g->n_nodes, op, "", 0, op, in, (size_t)n_in, out, 2, &node, &err),
        &err);
    rg_int(node, "hidden_size", hidden);
    if (!strcmp(op, "GRU"))
        rg_int(node, "linear_before_reset", rg_below(r, 2));
    const char *way = directions == 2 ? "bidirectional" : rg_chance(r, 30) ? "reverse" : "forward";
    assert_int_equal(mc_edit_attr_string(node, "direction", way, NULL), 0);
    if (last) { /* [directions, batch, hidden] */
        struct rv y = {out[1], 3, {directions, RG_BATCH, hidden}};
        return rg_reshape(r, rg_transpose(r, y, D(1, 0, 2)), 2, D(RG_BATCH, n));
    }
    struct rv y = {out[0], 4, {t, directions, RG_BATCH, hidden}};
    if (directions == 1 && rg_chance(r, 60))
        return rg_squeeze(r, y, 1);
    return rg_reshape(r, rg_transpose(r, y, D(0, 2, 1, 3)), 3, D(t, RG_BATCH, n));
}

struct rv rg_recurrent(struct rg *r, struct rv x)
{
    static const char *const ops[] = {"LSTM", "GRU", "RNN"};
    static const int64_t gates[] = {4, 3, 1};
    int layers = 1 + (int)rg_below(r, 2);
    bool last = rg_chance(r, 25);
    int64_t t = x.d[1];
    uint32_t which = rg_below(r, 3);
    struct rv y = rg_transpose(r, x, D(1, 0, 2));
    for (int i = 0; i < layers; i++)
        y = cell(r, y, ops[which], gates[which], 3 + (int64_t)rg_below(r, 3),
                 1 + (int64_t)rg_below(r, 2), last && i == layers - 1);
    if (last) { /* the state, said again at every step */
        y = rg_unsqueeze(r, y, 1);
        struct mc_value *in[2] = {y.v, rg_ints(r, 3, D(1, t, 1))};
        return rg_node(r, "Expand", 2, in, 3, D(RG_BATCH, t, y.d[2]), NULL);
    }
    return rg_transpose(r, y, D(1, 0, 2));
}
