/* Attention in one node: of ai.onnx, and Attention and MultiHeadAttention of com.microsoft;  *
 * Units are heads and places in a head. A place of queries goes with that of keys, since the scores sum over both; values
 * have their own. Where queries have more heads than keys (grouped queries) a query head is a pair: its key head, and its
 * place among those that share it. So a key head goes with all its queries, and else as many go from each. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "graph/edit.h"
#include "passes/couple/couple_heads.h"

static const char ROWS[] = "attention goes over it";
static const char PAIR[] = "it meets heads that stay";

static struct mc_value *input(const struct mc_couple *w, int i)
{
    return i >= 0 && (size_t)i < w->n->n_in ? w->n->in[i] : NULL;
}

static void hold(struct mc_couple *w, const struct mc_value *v, int axis, const char *why)
{
    if (v)
        mc_couple_meet(w, v, axis, NULL, why);
}

static struct mc_value *output(const struct mc_couple *w, size_t i)
{
    return i < w->n->n_out ? w->n->out[i] : NULL;
}

static void same_axis(struct mc_couple *w, const struct mc_units *u, const struct mc_value *v,
                      int axis, int64_t length)
{
    const struct mc_shape *s = mc_couple_shape(w, v);
    bool there = s && axis >= 0 && axis < s->rank;
    if (v && there && s->dim[axis] == length && length > 1)
        mc_couple_meet(w, v, axis, u, PAIR);
    else if (v && (!there || s->dim[axis] != 1))
        mc_couple_hold(w, u, PAIR);
}

static const struct mc_units *all_heads(struct mc_couple *w, const struct mc_heads *h)
{
    const struct mc_couple_part part[] = {{h->shared, h->n_shared}, {h->own, h->n_own}};
    return mc_couple_merge(w, part, 2);
}

static const struct mc_units *columns(struct mc_couple *w, const struct mc_heads *h,
                                      const struct mc_heads *v)
{
    const struct mc_couple_part part[] = {
        {h->shared, h->n_shared}, {h->own, h->n_own}, {v->size, v->n_size}};
    return mc_couple_merge(w, part, 3);
}

/* Queries, keys and values meet. */
static void meet(struct mc_couple *w, const struct mc_heads *q, const struct mc_heads *k,
                 const struct mc_heads *v)
{
    mc_couple_same(w, q->shared, k->shared, PAIR);
    mc_couple_same(w, k->shared, v->shared, PAIR);
    mc_couple_same(w, q->size, k->size, PAIR);
}

/* ---- correcting ---- */

/* Scores were divided by the root of the width of a head, and still are. */
static int keep_scale(struct mc_node *n, int64_t was, int64_t is, struct mc_err *err)
{
    bool given =
        n->domain[0] ? mc_node_float(n, "scale", 0) != 0 : mc_node_attr(n, "scale") != NULL;
    if (given || was == is)
        return 0;
    return mc_edit_attr_float(n, "scale", (float)(1 / sqrt((double)was)), err);
}

/* ---- ai.onnx ---- */

enum { Q, K, V, MASK, PAST_K, PAST_V, VALID };
enum { Y, PRESENT_K, PRESENT_V, SCORES };

static int64_t count_of(const struct mc_node *n, const struct mc_shape *s, int i)
{
    return s->rank == 4 ? s->dim[1] : mc_node_int(n, i == Q ? "q_num_heads" : "kv_num_heads", 0);
}

static void operand(struct mc_couple *w, int i, struct mc_heads *h)
{
    const struct mc_value *x = input(w, i);
    const struct mc_shape *s = mc_couple_shape(w, x);
    hold(w, x, s->rank == 4 ? 2 : 1, ROWS);
    if (s->rank == 3) {
        h->n_size = s->dim[2] / (h->n_shared * h->n_own);
        mc_heads_apart(w, mc_couple_axis(w, x, 2), h);
        return;
    }
    h->n_size = 1;
    mc_heads_apart(w, mc_couple_axis(w, x, 1), h);
    h->n_size = s->dim[3];
    h->size = mc_couple_axis(w, x, 3);
    mc_couple_kind(w, h->size, "head width");
}

static void attention_rest(struct mc_couple *w, const struct mc_heads *q, const struct mc_heads *k,
                           const struct mc_heads *v)
{
    const struct mc_units *every = all_heads(w, q);
    const struct mc_units *batch = mc_couple_axis(w, input(w, Q), 0);
    const struct mc_shape *m = mc_couple_shape(w, input(w, MASK));
    for (int d = 0; m && d < m->rank; d++)
        if (m->rank - d == 3)
            same_axis(w, every, input(w, MASK), d, q->n_shared * q->n_own);
        else if (m->rank - d == 4 && m->dim[d] != 1)
            mc_couple_meet(w, input(w, MASK), d, batch, PAIR);
        else
            hold(w, input(w, MASK), d, ROWS);
    mc_couple_meet(w, input(w, K), 0, batch, PAIR);
    mc_couple_meet(w, input(w, V), 0, batch, PAIR);
    if (input(w, VALID))
        mc_couple_meet(w, input(w, VALID), 0, batch, PAIR);
    for (int i = 0; i < 2; i++) {
        const struct mc_heads *h = i ? v : k;
        const struct mc_value *past = input(w, PAST_K + i),
                              *present = output(w, PRESENT_K + (size_t)i);
        if (past) {
            mc_couple_meet(w, past, 0, batch, PAIR);
            mc_couple_meet(w, past, 1, h->shared, PAIR);
            mc_couple_meet(w, past, 3, h->size, PAIR);
        }
        hold(w, past, 2, ROWS);
        if (present) {
            mc_couple_put(w, present, 0, batch);
            mc_couple_put(w, present, 1, h->shared);
            mc_couple_put(w, present, 3, h->size);
        }
    }
    if (output(w, SCORES)) {
        mc_couple_put(w, output(w, SCORES), 0, batch);
        mc_couple_put(w, output(w, SCORES), 1, every);
    }
    mc_couple_put(w, output(w, Y), 0, batch);
}

static bool operands_known(const struct mc_couple *w)
{
    for (int i = Q; i <= V; i++) {
        const struct mc_shape *s = mc_couple_shape(w, input(w, i));
        if (!s || s->rank < 3 || s->dim[s->rank - 1] < 1 || count_of(w->n, s, i) < 1)
            return false;
    }
    return true;
}

static void attention_walk(struct mc_couple *w)
{
    if (!operands_known(w)) {
        mc_couple_hold_node(w, "the number of heads is not known");
        return;
    }
    const struct mc_shape *s = mc_couple_shape(w, input(w, Q));
    int64_t all = count_of(w->n, s, Q);
    int64_t few = count_of(w->n, mc_couple_shape(w, input(w, K)), K);
    struct mc_heads q = {.n_shared = few, .n_own = all / few}, k = {.n_shared = few, .n_own = 1},
                    v = k;
    operand(w, Q, &q);
    operand(w, K, &k);
    operand(w, V, &v);
    meet(w, &q, &k, &v);
    if (output(w, Y) && s->rank == 3) {
        mc_couple_put(w, output(w, Y), 2, columns(w, &q, &v));
    } else if (output(w, Y)) {
        mc_couple_put(w, output(w, Y), 1, all_heads(w, &q));
        mc_couple_put(w, output(w, Y), 3, v.size);
    }
    if (output(w, Y))
        attention_rest(w, &q, &k, &v);
}

static int attention_cut(struct mc_cutting *k, struct mc_node *n, struct mc_err *err)
{
    int64_t heads, size;
    for (int i = Q; i <= K; i++) {
        const struct mc_shape *s = mc_cutting_shape(k, n->in[i]);
        int axis = s ? s->rank - 1 : 0;
        if (!s || s->rank < 3)
            continue;
        int64_t was = s->rank == 4 ? 1 : count_of(n, s, i), width = s->dim[axis] / was;
        int rc = mc_heads_left(k, n->in[i], axis, was, &heads, &size, err);
        if (!rc && i == Q)
            rc = keep_scale(n, width, size, err);
        if (!rc && s->rank == 3 && heads != was)
            rc = mc_edit_attr_int(n, i == Q ? "q_num_heads" : "kv_num_heads", heads, err);
        if (rc)
            return rc;
    }
    return 0;
}

/* ---- com.microsoft ---- */

/* Inputs, -1 where there is none. */
static const struct places {
    int key, value, weight, bias, mask, past_key, past_value, scores;
} projected = {-1, -1, 1, 2, 3, 4, -1, 5}, multi_head = {1, 2, -1, 3, 4, 6, 7, 5};

static const struct places *places_of(const struct mc_node *n)
{
    return strcmp(n->op_type, "Attention") ? &multi_head : &projected;
}

/* Columns of queries, keys and values. */
static bool widths_of(const struct mc_node *n, const struct mc_shape *x, const struct mc_shape *key,
                      const struct mc_shape *value, const struct mc_shape *weight, int64_t *ret)
{
    size_t given;
    const int64_t *sizes = mc_node_ints(n, "qkv_hidden_sizes", &given);
    int64_t heads = mc_node_int(n, "num_heads", 0);
    for (int i = 0; i < 3; i++)
        if (weight)
            ret[i] = given == 3 ? sizes[i] : weight->dim[1] / 3;
        else
            ret[i] = x && key && value ? (i == 0 ? x : i == 1 ? key : value)->dim[2] : 0;
    return heads > 0 && ret[0] > 0 && ret[1] == ret[0] && ret[2] > 0 && ret[0] % heads == 0 &&
           ret[2] % heads == 0;
}

static const struct mc_units *part_of(struct mc_couple *w, const struct mc_units *u, int64_t from,
                                      int64_t n)
{
    int64_t *index = mc_calloc((size_t)n, sizeof *index);
    if (!index) {
        w->rc = w->rc ? w->rc : mc_fail(w->err, MC_ENOMEM, "out of memory");
        return NULL;
    }
    for (int64_t i = 0; i < n; i++)
        index[i] = from + i;
    const struct mc_units *part = u ? mc_couple_take(w, u, index, n) : NULL;
    free(index);
    return part;
}

static void ms_past(struct mc_couple *w, const struct places *p, const struct mc_heads *k,
                    const struct mc_heads *v)
{
    bool both = p->past_value < 0;
    for (int i = 0; i < (both ? 1 : 2); i++) {
        const struct mc_value *past = input(w, i ? p->past_value : p->past_key);
        const struct mc_value *present = output(w, (size_t)i + 1);
        const struct mc_heads *h = i ? v : k;
        int head = both ? 2 : 1;
        if (both && (past || present))
            mc_couple_same(w, k->size, v->size, PAIR);
        if (past) {
            mc_couple_meet(w, past, head, h->shared, PAIR);
            mc_couple_meet(w, past, head + 2, h->size, PAIR);
        }
        if (present) {
            mc_couple_put(w, present, head, h->shared);
            mc_couple_put(w, present, head + 2, h->size);
        }
    }
}

static void ms_walk(struct mc_couple *w)
{
    const struct places *p = places_of(w->n);
    const struct mc_value *x = input(w, 0), *weight = input(w, p->weight),
                          *bias = input(w, p->bias);
    const struct mc_value *from[3] = {x, input(w, p->key), input(w, p->value)};
    int64_t width[3], heads = mc_node_int(w->n, "num_heads", 0), at = 0;
    if (!mc_couple_shape(w, x) || !mc_couple_shape(w, output(w, 0)) ||
        (weight && !mc_couple_shape(w, weight)) ||
        !widths_of(w->n, mc_couple_shape(w, x), mc_couple_shape(w, from[1]),
                   mc_couple_shape(w, from[2]), mc_couple_shape(w, weight), width)) {
        mc_couple_hold_node(
            w, "the number of heads is not known, or queries, keys and values are packed");
        return;
    }
    const struct mc_units *all = mc_couple_axis(w, weight ? weight : x, weight ? 1 : 2);
    struct mc_heads h[3];
    struct mc_couple_part joined[3];
    for (int i = 0; i < 3; i++) {
        h[i] = (struct mc_heads){.n_shared = heads, .n_own = 1, .n_size = width[i] / heads};
        const struct mc_units *u =
            weight ? part_of(w, all, at, width[i]) : mc_couple_axis(w, from[i], 2);
        mc_heads_apart(w, u, &h[i]);
        joined[i] = (struct mc_couple_part){columns(w, &h[i], &h[i]), width[i]};
        at += width[i];
        for (int d = 0; d < 2; d++)
            hold(w, from[i], d, ROWS);
    }
    meet(w, &h[0], &h[1], &h[2]);
    if (weight) {
        mc_couple_meet(w, weight, 0, mc_couple_axis(w, x, 2), PAIR);
        mc_couple_role(w, weight, 0, MC_ROLE_READS);
        mc_couple_role(w, weight, 1, MC_ROLE_MAKES);
    }
    if (bias) {
        mc_couple_meet(w, bias, 0, mc_couple_concat(w, joined, 3), PAIR);
        mc_couple_role(w, bias, 0, MC_ROLE_ALONG);
    }
    same_axis(w, h[0].shared, input(w, p->scores), 1, heads);
    for (int d = 2; d < 4; d++)
        hold(w, input(w, p->scores), d, ROWS);
    if (input(w, p->mask))
        mc_couple_hold_value(w, input(w, p->mask), ROWS);
    ms_past(w, p, &h[1], &h[2]);
    if (output(w, 0))
        mc_couple_put(w, output(w, 0), 2, columns(w, &h[0], &h[2]));
}

static int ms_cut(struct mc_cutting *k, struct mc_node *n, struct mc_err *err)
{
    const struct places *p = places_of(n);
    const struct mc_value *weight = p->weight < 0 ? NULL : n->in[p->weight];
    int64_t width[3], left[3], heads = mc_node_int(n, "num_heads", 0), count = heads, size;
    if (!widths_of(n, mc_cutting_shape(k, n->in[0]),
                   p->key < 0 ? NULL : mc_cutting_shape(k, n->in[p->key]),
                   p->value < 0 ? NULL : mc_cutting_shape(k, n->in[p->value]),
                   weight ? mc_cutting_shape(k, weight) : NULL, width))
        return 0;
    const struct mc_value *y = n->out[0];
    int rc = mc_heads_left(k, y, 2, heads, &count, &size, err);
    left[2] = count * size;
    left[0] = left[1] = weight ? (mc_cutting_length(k, weight, 1) - left[2]) / 2
                               : mc_cutting_length(k, n->in[0], 2);
    rc = rc ? rc : keep_scale(n, width[0] / heads, left[0] / count, err);
    if (!rc && count != heads)
        rc = mc_edit_attr_int(n, "num_heads", count, err);
    if (!rc && weight && (left[0] != left[2] || mc_node_attr(n, "qkv_hidden_sizes")))
        rc = mc_edit_attr_ints(n, "qkv_hidden_sizes", left, 3, err);
    return rc;
}

const struct mc_couple_rule mc_couple_attention[] = {
    {"", " Attention ", attention_walk, attention_cut},
    {"com.microsoft", " Attention MultiHeadAttention ", ms_walk, ms_cut},
    {0},
};
