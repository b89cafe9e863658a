/* Gradient of attention: y = P v with P = softmax(scale q k' + mask),
 *     dv = P' dy,  dS = SoftmaxGrad(dy v', P),  dmask = dS,  dq = scale dS k,  dk = scale dS' q
 * for every head, the last two with the slope of a cap on the scores; heads that share keys and values add up.
 * P is the last stage of the scores that Attention of ai.onnx hands out. That of com.microsoft does not: there
 * such a node is made for it. */
#include <math.h>
#include <string.h>

#include "graph/edit.h"
#include "graph/grad/rule.h"

enum { PROBABILITIES = 3 }; /* output of Attention, and the value of qk_matmul_output_mode for it */
enum { BOOL = 9, INT64 = 7 };

struct heads {
    int64_t q, kv;               /* heads of queries, of keys and values */
    double scale, cap;           /* cap 0: none */
    struct mc_value *p;          /* [batch, heads, rows, keys] */
    struct mc_value *in[3], *dy; /* queries, keys, values: [batch, heads, rows, size] */
    struct mc_value *d[3];       /* what comes of it */
    struct mc_value *mask;       /* the same of what is added to the scores */
    const struct mc_value *like; /* of the float type of all */
};

static struct mc_value *swap_heads(struct mc_grad *g, struct mc_value *x)
{
    static const int64_t perm[] = {0, 2, 1, 3};
    struct mc_value *y = mc_emit(g, "Transpose", x);
    mc_emit_ints(g, "perm", perm, 4);
    return y;
}

/* [batch, rows, heads size] as [batch, heads, rows, size]. */
static struct mc_value *apart(struct mc_grad *g, struct mc_value *x, int64_t heads)
{
    int64_t to[] = {0, 0, heads, -1};
    struct mc_value *shape = mc_grad_ints(g, to, 4);
    return swap_heads(g, mc_emit(g, "Reshape", x, shape));
}

/* The way back, with the shape of x. */
static struct mc_value *together(struct mc_grad *g, struct mc_value *d, struct mc_value *x)
{
    return mc_grad_reshape_as(g, swap_heads(g, d), x);
}

/* [batch, heads, rows, size] as [batch, shared heads, `each`, rows, size]. */
static struct mc_value *grouped(struct mc_grad *g, struct mc_value *x, int64_t shared, int64_t each)
{
    int64_t two = 2, all = INT64_MAX, front[] = {0, shared, each};
    struct mc_value *from = mc_grad_ints(g, &two, 1), *to = mc_grad_ints(g, &all, 1);
    struct mc_value *rest = mc_emit(g, "Slice", mc_grad_shape(g, x), from, to);
    struct mc_value *shape = mc_emit(g, "Concat", mc_grad_ints(g, front, 3), rest);
    mc_emit_int(g, "axis", 0);
    return mc_emit(g, "Reshape", x, shape);
}

/* Of scores s, which the softmax got as cap tanh(s / cap): ds (1 - tanh²). */
static struct mc_value *through_cap(struct mc_grad *g, const struct heads *h, struct mc_value *q,
                                    struct mc_value *k, struct mc_value *ds)
{
    struct mc_value *t =
        mc_emit(g, "Tanh", mc_grad_product(g, q, false, k, true, h->scale / h->cap));
    struct mc_value *one = mc_grad_scalar(g, h->like, 1);
    return mc_emit(g, "Mul", ds, mc_emit(g, "Sub", one, mc_emit(g, "Mul", t, t)));
}

/* The gradients of the three operands of h, where wanted. */
static void attention_back(struct mc_grad *g, struct heads *h, const bool want[3], bool want_mask)
{
    const int64_t axis = 2;
    bool share = h->q != h->kv;
    struct mc_value *q = h->in[0], *k = h->in[1], *v = h->in[2], *dy = h->dy, *p = h->p;
    struct mc_value *whole = p;
    if (share) {
        q = grouped(g, q, h->kv, h->q / h->kv);
        k = grouped(g, k, h->kv, 1);
        v = grouped(g, v, h->kv, 1);
        dy = grouped(g, dy, h->kv, h->q / h->kv);
        p = grouped(g, p, h->kv, h->q / h->kv);
    }
    if (want[2]) {
        h->d[2] = mc_grad_product(g, p, true, dy, false, 1);
        if (share)
            h->d[2] = mc_grad_reduce_sum(g, h->d[2], &axis, 1, false);
    }
    if (!want[0] && !want[1] && !want_mask)
        return;
    struct mc_value *ds =
        mc_emit_own(g, "SoftmaxGrad", mc_grad_product(g, dy, false, v, true, 1), p);
    mc_emit_int(g, "axis", -1);
    if (want_mask)
        h->mask = share ? mc_grad_reshape_as(g, ds, whole) : ds;
    if (h->cap != 0 && (want[0] || want[1]))
        ds = through_cap(g, h, q, k, ds);
    if (want[0]) {
        h->d[0] = mc_grad_product(g, ds, false, k, false, h->scale);
        if (share)
            h->d[0] = mc_grad_reshape_as(g, h->d[0], h->in[0]);
    }
    if (want[1]) {
        h->d[1] = mc_grad_product(g, ds, true, q, false, h->scale);
        if (share)
            h->d[1] = mc_grad_reduce_sum(g, h->d[1], &axis, 1, false);
    }
}

/* ---- ai.onnx ---- */

/* NULL, or why there is no gradient. */
static const char *obstacle(struct mc_grad *g, const struct mc_node *n)
{
    bool scores = n->n_out > PROBABILITIES && n->out[PROBABILITIES];
    if (n->n_in > 4 && n->in[4])
        return "a past has no gradient yet";
    for (int i = 1; i < 4; i++)
        if (mc_grad_of(g, n, i))
            return "only its first result has a gradient yet";
    if (scores && mc_node_int(n, "qk_matmul_output_mode", 0) != PROBABILITIES)
        return "it hands out scores of another stage than its gradient needs";
    return NULL;
}

/* Heads and columns of operand i; false: not known. */
static bool read_heads(struct mc_grad *g, const struct mc_node *n, int i, int64_t *ret_heads,
                       int64_t *ret_size)
{
    const struct mc_vtype *t = mc_grad_type(g, n->in[i]);
    if (!t->ranked)
        return false;
    *ret_heads = t->shape.rank == 4 ? t->shape.dim[1]
                                    : mc_node_int(n, i ? "kv_num_heads" : "q_num_heads", 0);
    *ret_size = t->shape.dim[t->shape.rank - 1];
    if (t->shape.rank == 3 && *ret_heads > 0)
        *ret_size /= *ret_heads;
    return *ret_heads > 0 && *ret_size > 0;
}

static void attention_rule(struct mc_grad *g, struct mc_node *n)
{
    const char *why = obstacle(g, n);
    struct heads h = {0};
    int64_t size, other;
    if (!why && (!read_heads(g, n, 0, &h.q, &size) || !read_heads(g, n, 1, &h.kv, &other)))
        why = "its heads and their size are not known";
    const struct mc_vtype *mask = mc_grad_type(g, n->n_in > 3 ? n->in[3] : NULL);
    const struct mc_vtype *keys = mc_grad_type(g, n->in[1]);
    if (!why && mc_grad_wants(g, n, 3) && mask->ranked && mask->shape.rank > 0) {
        int64_t have = mask->shape.dim[mask->shape.rank - 1];
        if (have != 1 && have != keys->shape.dim[keys->shape.rank - 2])
            why = "the gradient of a mask that is shorter than the keys is not known";
    }
    if (why) {
        mc_grad_refuse(g, n, "%s", why);
        return;
    }
    h.p = mc_grad_output(g, n, PROBABILITIES);
    if (!h.p || mc_edit_attr_int(n, "qk_matmul_output_mode", PROBABILITIES, NULL)) {
        mc_grad_fail(g, MC_ENOMEM, n, "out of memory");
        return;
    }
    h.scale = (double)mc_node_float(n, "scale", (float)(1 / sqrt((double)size)));
    h.cap = (double)mc_node_float(n, "softcap", 0);
    h.like = n->in[0];
    int rank = mc_grad_rank(g, n->in[0]);
    bool want[3];
    for (int i = 0; i < 3; i++) {
        want[i] = mc_grad_wants(g, n, i);
        h.in[i] = mc_grad_rank(g, n->in[i]) == 4 ? n->in[i] : apart(g, n->in[i], i ? h.kv : h.q);
    }
    h.dy = rank == 4 ? mc_grad_of(g, n, 0) : apart(g, mc_grad_of(g, n, 0), h.q);
    attention_back(g, &h, want, mc_grad_wants(g, n, 3));
    for (int i = 0; i < 3; i++)
        if (want[i])
            mc_grad_give(g, n, i, h.in[i] == n->in[i] ? h.d[i] : together(g, h.d[i], n->in[i]));
    if (mc_grad_wants(g, n, 3))
        mc_grad_give(g, n, 3, mc_grad_sum_to(g, h.mask, h.mask, n->in[3]));
}

/* ---- com.microsoft ---- */

/* What is added to the scores: a mask of whole numbers, and numbers. NULL: nothing. */
static struct mc_value *score_bias(struct mc_grad *g, struct mc_node *n, int mask, int bias)
{
    struct mc_value *m = (size_t)mask < n->n_in ? n->in[mask] : NULL;
    struct mc_value *b = (size_t)bias < n->n_in ? n->in[bias] : NULL;
    static const int64_t axes[] = {1, 2};
    int rank = mc_grad_rank(g, m);
    if (!m || rank == 1) /* lengths are another input */
        return b;
    struct mc_value *at = mc_grad_ints(g, axes, rank == 2 ? 2 : 1);
    struct mc_value *on = mc_emit(g, "Cast", mc_emit(g, "Unsqueeze", m, at));
    mc_emit_int(g, "to", BOOL);
    struct mc_value *zero = mc_grad_scalar(g, n->in[0], 0);
    struct mc_value *off =
        mc_grad_scalar(g, n->in[0], (double)mc_node_float(n, "mask_filter_value", -10000));
    struct mc_value *y = mc_emit(g, "Where", on, zero, off);
    return b ? mc_emit(g, "Add", y, b) : y;
}

/* P for h.in. */
static struct mc_value *probabilities(struct mc_grad *g, struct mc_node *n, const struct heads *h,
                                      int mask, int bias)
{
    struct mc_value *add = score_bias(g, n, mask, bias), *length = NULL;
    struct mc_value *m = (size_t)mask < n->n_in ? n->in[mask] : NULL;
    if (m && mc_grad_rank(g, m) == 1) {
        length = mc_emit(g, "Cast", m);
        mc_emit_int(g, "to", INT64);
    }
    mc_emit(g, "Attention", h->in[0], h->in[1], h->in[2], add, NULL, NULL, length);
    mc_emit_version(g, length ? 24 : 23);
    mc_emit_float(g, "scale", h->scale);
    mc_emit_int(g, "is_causal", mc_node_int(n, "unidirectional", 0));
    mc_emit_int(g, "qk_matmul_output_mode", PROBABILITIES);
    return mc_emit_output(g, PROBABILITIES);
}

/* Operands and dy as heads; NULL, or why it cannot be done. */
static const char *ms_heads(struct mc_grad *g, struct mc_node *n, int mask, int past, int64_t width,
                            struct heads *h)
{
    float scale = mc_node_float(n, "scale", 0);
    struct mc_value *m = (size_t)mask < n->n_in ? n->in[mask] : NULL;
    h->q = h->kv = mc_node_int(n, "num_heads", 0);
    if (h->q <= 0 || width <= 0 || width % h->q)
        return "the size of its heads is not known";
    if ((size_t)past < n->n_in && n->in[past])
        return "a past has no gradient yet";
    if (mc_grad_of(g, n, 1) || mc_grad_of(g, n, 2))
        return "only its first result has a gradient yet";
    if (m && mc_grad_rank(g, m) < 1)
        return "the rank of its mask is not known";
    if (m && mc_grad_rank(g, m) == 1 && mc_node_int(n, "unidirectional", 0))
        return "lengths together with unidirectional have no gradient yet";
    h->scale = (double)(scale != 0 ? scale : (float)(1 / sqrt((double)width / (double)h->q)));
    return NULL;
}

static void give_scores(struct mc_grad *g, struct mc_node *n, int i, const struct heads *h)
{
    if (mc_grad_wants(g, n, i))
        mc_grad_give(g, n, i, mc_grad_sum_to(g, h->mask, h->mask, n->in[i]));
}

static void multi_head_rule(struct mc_grad *g, struct mc_node *n)
{
    enum { BIAS = 3, MASK = 4, SCORES = 5, PAST = 6 };
    const struct mc_vtype *t = mc_grad_type(g, n->in[0]), *tv = mc_grad_type(g, n->in[2]);
    struct heads h = {0};
    struct mc_value *bias = n->n_in > BIAS ? n->in[BIAS] : NULL, *part[3] = {NULL};
    const char *why = ms_heads(g, n, MASK, PAST, t->ranked ? t->shape.dim[2] : -1, &h);
    if (!why && (!tv->ranked || tv->shape.dim[2] < 0))
        why = "the width of its values is not known";
    if (why) {
        mc_grad_refuse(g, n, "%s", why);
        return;
    }
    if (bias) {
        int64_t widths[] = {t->shape.dim[2], t->shape.dim[2], tv->shape.dim[2]};
        struct mc_value *sizes = mc_grad_ints(g, widths, 3);
        part[0] = mc_emit(g, "Split", bias, sizes);
        part[1] = mc_emit_output(g, 1);
        part[2] = mc_emit_output(g, 2);
    }
    bool want[3], want_bias = mc_grad_wants(g, n, BIAS);
    for (int i = 0; i < 3; i++) {
        want[i] = mc_grad_wants(g, n, i) || want_bias;
        h.in[i] = apart(g, bias ? mc_emit(g, "Add", n->in[i], part[i]) : n->in[i], h.q);
    }
    h.p = probabilities(g, n, &h, MASK, SCORES);
    h.dy = apart(g, mc_grad_of(g, n, 0), h.q);
    attention_back(g, &h, want, mc_grad_wants(g, n, SCORES));
    for (int i = 0; i < 3; i++) {
        struct mc_value *d = want[i] ? together(g, h.d[i], n->in[i]) : NULL;
        if (mc_grad_wants(g, n, i))
            mc_grad_give(g, n, i, d);
        if (want_bias)
            part[i] = mc_grad_reduce_sum(g, d, (const int64_t[]){0, 1}, 2, false);
    }
    if (want_bias) {
        struct mc_value *d = mc_emit(g, "Concat", part[0], part[1], part[2]);
        mc_emit_int(g, "axis", 0);
        mc_grad_give(g, n, BIAS, d);
    }
    give_scores(g, n, SCORES, &h);
}

/* x W + b gives queries, keys and values side by side. */
static void projected_rule(struct mc_grad *g, struct mc_node *n)
{
    enum { WEIGHT = 1, BIAS = 2, MASK = 3, PAST = 4, SCORES = 5 };
    const struct mc_vtype *t = mc_grad_type(g, n->in[WEIGHT]);
    size_t len;
    const int64_t *given = mc_node_ints(n, "qkv_hidden_sizes", &len);
    int64_t all = t->ranked ? t->shape.dim[1] : -1, widths[3] = {all / 3, all / 3, all / 3};
    if (given && len == 3)
        memcpy(widths, given, sizeof widths);
    struct heads h = {0};
    const char *why = ms_heads(g, n, MASK, PAST, all < 0 ? -1 : widths[0], &h);
    if (why) {
        mc_grad_refuse(g, n, "%s", why);
        return;
    }
    struct mc_value *x = n->in[0], *w = n->in[WEIGHT], *part[3];
    struct mc_value *sizes = mc_grad_ints(g, widths, 3), *y = mc_emit(g, "MatMul", x, w);
    if (n->n_in > BIAS && n->in[BIAS])
        y = mc_emit(g, "Add", y, n->in[BIAS]);
    part[0] = mc_emit(g, "Split", y, sizes);
    mc_emit_int(g, "axis", 2);
    part[1] = mc_emit_output(g, 1);
    part[2] = mc_emit_output(g, 2);
    for (int i = 0; i < 3; i++)
        h.in[i] = apart(g, part[i], h.q);
    h.p = probabilities(g, n, &h, MASK, SCORES);
    h.dy = apart(g, mc_grad_of(g, n, 0), h.q);
    attention_back(g, &h, (const bool[]){true, true, true}, mc_grad_wants(g, n, SCORES));
    for (int i = 0; i < 3; i++)
        part[i] = together(g, h.d[i], part[i]);
    struct mc_value *d = mc_emit(g, "Concat", part[0], part[1], part[2]);
    mc_emit_int(g, "axis", 2);
    if (mc_grad_wants(g, n, BIAS))
        mc_grad_give(g, n, BIAS, mc_grad_sum_to(g, d, d, n->in[BIAS]));
    if (mc_grad_wants(g, n, WEIGHT)) {
        struct mc_value *rows = mc_emit(g, "Flatten", x);
        mc_emit_int(g, "axis", 2);
        struct mc_value *drows = mc_emit(g, "Flatten", d);
        mc_emit_int(g, "axis", 2);
        mc_grad_give(g, n, WEIGHT, mc_grad_product(g, rows, true, drows, false, 1));
    }
    if (mc_grad_wants(g, n, 0))
        mc_grad_give(g, n, 0, mc_grad_product(g, d, false, w, true, 1));
    give_scores(g, n, SCORES, &h);
}

const struct mc_rule mc_rules_attention[] = {
    {"", "Attention", 23, attention_rule},
    {"com.microsoft", "MultiHeadAttention", 1, multi_head_rule},
    {"com.microsoft", "Attention", 1, projected_rule},
    {0},
};
