#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "graph/constant.h"
#include "graph/edit.h"
#include "passes/quant/repair/quant_channel.h"
#include "passes/quant/repair/quant_repair.h"
#include "passes/quant/repair/quant_rows.h"

/* x = diag(s) x', so that x W = x' (diag(s) W): channel j of what the layers read is divided by s[j] where it is made, in the
 * scale and shift of a norm, a constant factor, or the layer before. With s[j] = max|x_j|^alpha / max|W_j|^(1 - alpha), over
 * all layers that read x, both are as hard to round. */

enum { PLACES = 16 };
/* Of the error that rounding is expected to give: below it nothing is changed, since what is expected is only a guess. */
static const double GAINS = 0.8;
/* Where nothing before x can take it, one node more divides x for all products that read it. */
static const double GAINS_APART = 0.25;

struct
    place { /* constant input `slot` of the node holds a number a channel that is divided by s, or multiplied */
    struct mc_node *node;
    size_t slot;
    bool times, weight;
};

struct smoother {
    const struct mc_infer *inf;
    const struct mc_quant_stats *stats;
    double alpha;
    size_t layers;
};

struct smoothing {
    const struct mc_infer *inf;
    struct mc_value *x;
    const struct mc_quant_stat *stat;
    int64_t n;
    int rank;
    struct place place[PLACES];
    int places;
    bool apart;    /* x is divided by a node of its own */
    double *s, *w; /* [n] factors, and largest weight of each channel */
};

static int no_memory(struct mc_err *err)
{
    return mc_fail(err, MC_ENOMEM, "out of memory for smoothing");
}

/* ---- who reads x ---- */

static bool all_read_rows(const struct smoothing *t)
{
    struct mc_refit f;
    for (size_t u = 0; u < t->x->n_uses; u++)
        if (t->x->uses[u].slot < 0 || !mc_quant_rows_read(t->x->uses[u].node, t->x, &f) ||
            f.n != t->n)
            return false;
    return t->x->n_uses > 0 && !t->x->is_output;
}

/* ---- where it is made ---- */

static bool add_place(struct smoothing *t, struct mc_node *n, size_t slot, bool times, bool weight)
{
    if (t->places == PLACES)
        return false;
    t->place[t->places++] = (struct place){n, slot, times, weight};
    return true;
}

/* A constant of one number a channel, or one for all where the operator spreads it. */
static bool add_channels(struct smoothing *t, struct mc_node *n, size_t slot, bool times,
                         bool spreads)
{
    const struct mc_value *c = slot < n->n_in ? n->in[slot] : NULL;
    return mc_quant_per_channel(c, t->rank, 0, t->n) &&
           (spreads || mc_tensor_count(mc_constant(c)) == t->n) &&
           add_place(t, n, slot, times, false);
}

static bool is_ms(const struct mc_node *n, const char *op)
{
    return !strcmp(n->domain, "com.microsoft") && !strcmp(n->op_type, op);
}

/* A norm over the last axis, whose first output v is. */
static bool at_norm(struct smoothing *t, struct mc_node *n)
{
    bool skips = is_ms(n, "SkipLayerNormalization") || is_ms(n, "SkipSimplifiedLayerNormalization");
    bool plain = mc_node_is(n, "LayerNormalization") || mc_node_is(n, "RMSNormalization") ||
                 !strcmp(n->op_type, "SimplifiedLayerNormalization");
    bool shifts = mc_node_is(n, "LayerNormalization") || is_ms(n, "SkipLayerNormalization");
    size_t slot = skips ? 2 : 1;
    if (!skips && !plain)
        return false;
    if (plain && mc_shape_axis(mc_node_int(n, "axis", -1), t->rank) != t->rank - 1)
        return false;
    bool bias = shifts && n->n_in > slot + 1 && n->in[slot + 1];
    return add_channels(t, n, slot, false, false) &&
           (!bias || add_channels(t, n, slot + 1, false, false));
}

static bool at_layer(struct smoothing *t, struct mc_node *n)
{
    struct mc_refit f;
    if (!mc_quant_layer(n, &f) || f.columns || f.m != t->n ||
        !(mc_node_is(n, "MatMul") || mc_node_is(n, "Gemm")))
        return false;
    bool bias = mc_node_is(n, "Gemm") && n->n_in > 2 && n->in[2];
    return add_place(t, n, 1, false, true) && (!bias || add_channels(t, n, 2, false, true));
}

/* From x back to a place that divides whatever comes by s. */
static bool find_places(struct smoothing *t)
{
    for (struct mc_value *v = t->x;; v = v->producer->in[0] && !mc_constant(v->producer->in[0])
                                             ? v->producer->in[0]
                                             : v->producer->in[1]) {
        struct mc_node *n = v->producer;
        if (!n || !n->n_in || !n->in[0] || n->out[0] != v ||
            (v != t->x && (v->n_uses != 1 || v->is_output)))
            return false;
        if (at_norm(t, n) || at_layer(t, n))
            return true;
        if (mc_node_is(n, "Relu") || mc_node_is(n, "LeakyRelu") || mc_node_is(n, "Identity"))
            continue;
        bool add = mc_node_is(n, "Add"), mul = mc_node_is(n, "Mul");
        bool sub = mc_node_is(n, "Sub"), div = mc_node_is(n, "Div");
        if ((!add && !mul && !sub && !div) || n->n_in != 2 || !n->in[1] || n->version < 7)
            return false;
        size_t slot = (add || mul) && mc_constant(n->in[0]) ? 0 : 1;
        const struct mc_vtype *other = mc_infer_of(t->inf, n->in[1 - slot]);
        if (mc_constant(n->in[1 - slot]) || !add_channels(t, n, slot, div, true))
            return false;
        if (mul || div)
            return true;
        if (!other->ranked || other->shape.rank != t->rank || other->shape.dim[t->rank - 1] != t->n)
            return false;
    }
}

/* ---- the factors ---- */

static double largest(const struct smoothing *t, int64_t j)
{
    return fmax(fabs((double)t->stat->ch_min[j]), fabs((double)t->stat->ch_max[j]));
}

static int see_weights(const struct mc_refit *f, const float *w, void *ctx, struct mc_err *err)
{
    struct smoothing *t = ctx;
    (void)err;
    for (int64_t j = 0; j < t->n; j++)
        for (int64_t i = 0; i < f->m; i++)
            t->w[j] = fmax(t->w[j], fabs((double)w[i * f->at_m + j * f->at_n]));
    return 0;
}

static int see_errors(const struct smoothing *t, double *ret_before, double *ret_after,
                      struct mc_err *err)
{
    double *one = mc_calloc(2 * (size_t)t->n, sizeof *one), *inverse = one + t->n;
    if (!one)
        return no_memory(err);
    for (int64_t j = 0; j < t->n; j++) {
        one[j] = 1;
        inverse[j] = 1 / t->s[j];
    }
    int rc = mc_quant_rows_error(t->x, t->stat, one, one, ret_before, err);
    if (!rc)
        rc = mc_quant_rows_error(t->x, t->stat, inverse, t->s, ret_after, err);
    free(one);
    return rc;
}

/* About 1 in the geometric mean, which also channels get that are always 0. False: nothing to gain. */
static int choose(struct smoothing *t, double alpha, bool *ret, struct mc_err *err)
{
    double sum = 0, before = 0, after = 0;
    int64_t some = 0;
    int rc = mc_quant_rows_each(t->x, see_weights, t, err);
    for (int64_t j = 0; !rc && j < t->n; j++) {
        t->s[j] = log(largest(t, j)) * alpha - log(t->w[j]) * (1 - alpha);
        if (isfinite(t->s[j])) {
            sum += t->s[j];
            some++;
        }
    }
    for (int64_t j = 0; !rc && j < t->n; j++)
        t->s[j] = isfinite(t->s[j]) ? exp(t->s[j] - sum / (double)some) : 1;
    if (!rc)
        rc = see_errors(t, &before, &after, err);
    *ret = after < (t->apart ? GAINS_APART : GAINS) * before;
    return rc;
}

/* ---- in place ---- */

static int change_place(const struct smoothing *t, const struct place *p, bool put, bool *fits,
                        struct mc_err *err)
{
    struct mc_value *c = p->node->in[p->slot];
    const struct mc_tensor *old = mc_constant(c);
    struct mc_shape shape = old->shape;
    struct mc_refit f;
    double *x;
    int64_t count = p->weight ? mc_shape_count(&shape) : t->n;
    int rc = p->weight ? mc_quant_doubles(c, &x, err) : mc_quant_channels(c, t->n, &x, err);
    if (rc)
        return rc;
    for (int64_t i = 0; !p->weight && i < t->n; i++)
        x[i] = p->times ? x[i] * t->s[i] : x[i] / t->s[i];
    if (p->weight && mc_quant_layer(p->node, &f))
        for (int64_t i = 0; i < f.m; i++)
            for (int64_t j = 0; j < f.n; j++)
                x[i * f.at_m + j * f.at_n] /= t->s[i];
    if (mc_shape_count(&shape) != count)
        shape = mc_shape_of(1, &count);
    *fits &= mc_quant_holds(old->dtype, x, count);
    if (put)
        rc = mc_quant_put(p->node, p->slot, x, &shape, old->dtype, "scale", err);
    free(x);
    return rc;
}

static int change_reader(const struct smoothing *t, struct mc_node *n, bool put, bool *fits,
                         struct mc_err *err)
{
    struct mc_refit f;
    double *w;
    if (!mc_quant_rows_read(n, t->x, &f))
        return 0;
    const struct mc_tensor *old = mc_constant(f.weight);
    struct mc_shape shape = old->shape;
    int rc = mc_quant_doubles(f.weight, &w, err);
    if (rc)
        return rc;
    mc_quant_scale_weight(&f, w, NULL, t->s);
    *fits &= mc_quant_holds(old->dtype, w, mc_shape_count(&shape));
    if (put)
        rc = mc_quant_put(n, 1, w, &shape, old->dtype, "weight", err);
    free(w);
    return rc;
}

/* First asked of all whether their types can hold it. */
static int change(const struct smoothing *t, bool *ret, struct mc_err *err)
{
    int rc = 0;
    *ret = true;
    for (int put = 0; !rc && *ret && put < 2; put++) {
        for (int i = 0; !rc && i < t->places; i++)
            rc = change_place(t, &t->place[i], put, ret, err);
        for (size_t u = 0; !rc && u < t->x->n_uses; u++)
            rc = change_reader(t, t->x->uses[u].node, put, ret, err);
    }
    return rc;
}

/* x times 1/s for the products that read it; whatever else reads it still reads x. */
static int divide(const struct smoothing *t, enum mc_dtype type, bool *ret, struct mc_err *err)
{
    struct mc_graph *g = t->x->graph;
    struct mc_value *in[2] = {t->x, NULL}, *y = NULL;
    struct mc_node *mul;
    struct mc_refit f;
    bool fits = true;
    int rc = 0;
    for (int64_t i = 0; i < t->n; i++)
        t->w[i] = 1 / t->s[i];
    *ret = mc_quant_holds(type, t->w, t->n);
    for (size_t u = 0; !rc && *ret && u < t->x->n_uses; u++) {
        rc = change_reader(t, t->x->uses[u].node, false, &fits, err);
        *ret = fits;
    }
    if (rc || !*ret)
        return rc;
    for (size_t u = 0; !rc && u < t->x->n_uses; u++)
        rc = change_reader(t, t->x->uses[u].node, true, &fits, err);
    if (!rc)
        y = mc_edit_fresh(g, "smoothed");
    if (!rc && !y)
        rc = no_memory(err);
    if (!rc)
        rc = mc_edit_node(g, t->x->producer->pos + 1, "Mul", "", 0, "", in, 1, &y, 1, &mul, err);
    if (!rc)
        rc = mc_quant_put(mul, 1, t->w, &(struct mc_shape){1, {t->n}}, type, "smooth", err);
    for (size_t u = t->x->n_uses; !rc && u-- > 0;)
        if (mc_quant_rows_read(t->x->uses[u].node, t->x, &f))
            rc = mc_edit_set_input(t->x->uses[u].node, 0, y, err);
    return rc;
}

/* ---- the model ---- */

static int smooth(struct smoother *m, struct mc_value *x, struct mc_err *err)
{
    const struct mc_quant_stat *stat = mc_quant_rows_stat(m->stats, m->inf, x);
    const struct mc_vtype *type = mc_infer_of(m->inf, x);
    if (!stat)
        return 0;
    struct smoothing t = {
        .inf = m->inf, .x = x, .stat = stat, .n = stat->channels, .rank = type->shape.rank};
    size_t readers = mc_quant_rows_readers(x, t.n);
    if (!readers)
        return 0;
    t.apart = !all_read_rows(&t) || !find_places(&t);
    bool gains = false, done = false;
    t.s = mc_calloc(2 * (size_t)t.n, sizeof *t.s);
    int rc = t.s ? 0 : no_memory(err);
    t.w = t.s + t.n;
    if (!rc)
        rc = choose(&t, m->alpha, &gains, err);
    if (!rc && gains)
        rc = t.apart ? divide(&t, type->dtype, &done, err) : change(&t, &done, err);
    if (!rc && done)
        m->layers += readers;
    free(t.s);
    return rc;
}

int mc_quant_smooth(struct mc_model *m, const struct mc_quant_stats *stats, double alpha,
                    size_t *ret_layers, struct mc_err *err)
{
    struct mc_infer *inf = NULL;
    struct smoother s = {.stats = stats, .alpha = alpha};
    *ret_layers = 0;
    int rc = mc_infer_run(m->graph, NULL, &inf, err);
    if (rc)
        return rc == MC_ENOMEM ? rc : 0; /* of what ranks are not known of, nothing is */
    s.inf = inf;
    for (size_t i = 0; !rc && i < m->graph->n_nodes; i++) {
        struct mc_node *n = m->graph->nodes[i];
        if (n->n_out && n->out[0])
            rc = smooth(&s, n->out[0], err);
        i = n->pos;
    }
    mc_infer_free(inf);
    *ret_layers = s.layers;
    return rc;
}
