#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "graph/constant.h"
#include "graph/edit.h"
#include "passes/quant/repair/quant_channel.h"
#include "passes/quant/repair/quant_repair.h"

/* f(s x) = s f(x) for s > 0 where f is a Relu, a pool and the like, so channel c between two layers can be divided by s[c] in
 * the first and multiplied by it in the second. s = sqrt(r1 / r2) makes its range r1 among the outputs of the first layer's
 * weight and r2 among the inputs of the second's the same. What one pair changes changes the ranges of the next, so
 * it goes in rounds. */

enum { ROUNDS = 20 };
static const double SETTLED = 0.01; /* of the logarithm of every s in a round */

struct layer {
    struct mc_refit f;
    struct mc_node *bias; /* node and slot that have it; NULL: none */
    size_t bias_slot;
    struct mc_value *y; /* behind the bias */
    bool fixed;         /* its bias is no constant */
    double *out, *in;   /* factors of its channels; NULL: 1 */
};

struct pair {
    struct layer *a, *b;
    int64_t per; /* inputs of b a channel of a */
};

struct equaliser {
    const struct mc_infer *inf;
    struct layer *layer;
    size_t n_layers, cap_layers;
    struct pair *pair;
    size_t n_pairs, cap_pairs;
    size_t changed;
};

static int no_memory(struct mc_err *err)
{
    return mc_fail(err, MC_ENOMEM, "out of memory for equalisation");
}

static int64_t outputs_of(const struct layer *l)
{
    return l->f.groups * l->f.m;
}

static int64_t inputs_of(const struct layer *l)
{
    return l->f.groups * (l->f.n / l->f.taps);
}

/* ---- layers ---- */

static void find_bias(struct equaliser *e, struct layer *l)
{
    struct mc_node *n = l->f.node;
    int64_t channels = outputs_of(l);
    bool matmul = mc_node_is(n, "MatMul");
    l->y = n->out[0];
    if (!matmul && n->n_in > 2 && n->in[2]) {
        l->bias = n;
        l->bias_slot = 2;
        l->fixed = !mc_quant_per_channel(n->in[2], mc_node_is(n, "Gemm") ? 2 : 1, 0, channels);
    }
    struct mc_node *add = matmul && l->y->n_uses == 1 && l->y->uses[0].slot >= 0 && !l->y->is_output
                              ? l->y->uses[0].node
                              : NULL;
    if (!add || !mc_node_is(add, "Add") || add->version < 7)
        return;
    size_t slot = add->in[0] == l->y;
    if (!mc_quant_per_channel(add->in[slot], mc_quant_layer_rank(&l->f, e->inf),
                              mc_quant_layer_behind(&l->f), channels))
        return;
    l->bias = add;
    l->bias_slot = slot;
    l->y = add->out[0];
}

static int find_layers(struct equaliser *e, struct mc_graph *g, struct mc_err *err)
{
    for (size_t i = 0; i < g->n_nodes; i++) {
        struct layer l = {0};
        if (!mc_quant_layer(g->nodes[i], &l.f))
            continue;
        find_bias(e, &l);
        if (!MC_GROW(e->layer, e->n_layers, e->cap_layers))
            return no_memory(err);
        e->layer[e->n_layers++] = l;
    }
    return 0;
}

/* ---- what is between two layers ---- */

struct walk { /* a value on the way */
    struct mc_value *v;
    int rank, behind; /* its axes, those behind the channels */
    bool flat;        /* several elements along the channels' axis are of one channel */
};

/* A mean over axes behind the channels. */
static bool averages(const struct equaliser *e, const struct mc_node *n, struct walk *w)
{
    int64_t axis[MC_RANK_MAX];
    size_t count;
    const int64_t *list = mc_node_ints(n, "axes", &count);
    const struct mc_vtype *y = e->inf ? mc_infer_of(e->inf, n->out[0]) : NULL;
    if (!list && n->n_in > 1) {
        int k = mc_constant_ints(n->in[1], axis, MC_RANK_MAX);
        list = axis;
        count = k > 0 ? (size_t)k : 0;
    }
    bool fits = count > 0 && y && y->ranked && w->behind == w->rank - 2;
    for (size_t i = 0; i < count; i++)
        fits = fits && mc_shape_axis(list[i], w->rank) >= 2;
    if (fits) {
        w->rank = y->shape.rank;
        w->behind = w->rank - 2;
    }
    return fits;
}

/* Channels and what is behind them become one axis. */
static bool flattens(const struct equaliser *e, const struct mc_node *n, struct walk *w)
{
    if (w->behind != w->rank - 2)
        return false;
    if (mc_node_is(n, "Flatten")) {
        if (mc_shape_axis(mc_node_int(n, "axis", 1), w->rank) != 1)
            return false;
    } else {
        const struct mc_vtype *x = e->inf ? mc_infer_of(e->inf, w->v) : NULL;
        const struct mc_vtype *y = e->inf ? mc_infer_of(e->inf, n->out[0]) : NULL;
        if (!x || !y || !x->ranked || !y->ranked || x->shape.rank != w->rank || y->shape.rank != 2)
            return false;
        int64_t all = mc_shape_span(&x->shape, 1, x->shape.rank);
        if (all <= 0 || y->shape.dim[1] != all)
            return false;
    }
    w->rank = 2;
    w->behind = 0;
    w->flat = true;
    return true;
}

static bool is_homogeneous(const struct mc_node *n)
{
    static const char *const ops[] = {"Relu", "LeakyRelu", "PRelu", "Identity"};
    for (size_t i = 0; i < sizeof ops / sizeof *ops; i++)
        if (mc_node_is(n, ops[i]))
            return true;
    return false;
}

static bool is_pool(const struct mc_node *n)
{
    static const char *const ops[] = {"MaxPool", "AveragePool", "GlobalAveragePool",
                                      "GlobalMaxPool"};
    for (size_t i = 0; i < sizeof ops / sizeof *ops; i++)
        if (mc_node_is(n, ops[i]))
            return true;
    return false;
}

/* Move w behind node n, its only reader; false where the channels do not come through by themselves. */
static bool pass_through(const struct equaliser *e, const struct mc_node *n, struct walk *w)
{
    if (n->n_out != 1 || n->in[0] != w->v)
        return false;
    bool fits = is_homogeneous(n) || (is_pool(n) && w->behind == w->rank - 2);
    if (!fits && (mc_node_is(n, "Flatten") || mc_node_is(n, "Reshape") || mc_node_is(n, "Squeeze")))
        fits = flattens(e, n, w);
    if (!fits && mc_node_is(n, "ReduceMean"))
        fits = averages(e, n, w);
    if (fits)
        w->v = n->out[0];
    return fits;
}

static bool takes(const struct layer *l, const struct walk *w, int64_t channels)
{
    const struct mc_refit *f = &l->f;
    bool window = mc_node_is(f->node, "Conv") || mc_node_is(f->node, "ConvTranspose");
    int behind = window ? mc_constant(f->weight)->shape.rank - 2 : f->columns;
    int64_t n = inputs_of(l);
    return f->x == w->v && behind == w->behind && (!window || w->rank == behind + 2) &&
           channels > 0 && (w->flat ? n % channels == 0 : n == channels);
}

static int find_pair(struct equaliser *e, struct layer *a, struct mc_err *err)
{
    struct walk w = {a->y, mc_quant_layer_rank(&a->f, e->inf), mc_quant_layer_behind(&a->f), false};
    int64_t channels = outputs_of(a);
    if (a->fixed || w.rank < 0)
        return 0;
    while (w.v->n_uses == 1 && !w.v->is_output && w.v->uses[0].slot >= 0) {
        struct mc_node *n = w.v->uses[0].node;
        for (size_t i = 0; i < e->n_layers; i++)
            if (e->layer[i].f.node == n && takes(&e->layer[i], &w, channels)) {
                if (!MC_GROW(e->pair, e->n_pairs, e->cap_pairs))
                    return no_memory(err);
                e->pair[e->n_pairs++] =
                    (struct pair){a, &e->layer[i], inputs_of(&e->layer[i]) / channels};
                return 0;
            }
        if (!pass_through(e, n, &w))
            return 0;
    }
    return 0;
}

/* ---- ranges ---- */

static double factor(const double *x, int64_t i)
{
    return x ? x[i] : 1;
}

/* Largest weight of every output (or input) channel as the factors leave it. */
static int ranges(const struct layer *l, bool of_inputs, double *ret, struct mc_err *err)
{
    const struct mc_refit *f = &l->f;
    int64_t per = f->n / f->taps, count;
    float *w;
    int rc = mc_constant_f32(f->weight, &w, &count, err);
    if (rc)
        return rc;
    memset(ret, 0, (size_t)(of_inputs ? inputs_of(l) : outputs_of(l)) * sizeof *ret);
    for (int64_t o = 0; o < outputs_of(l); o++) {
        const float *row = w + o / f->m * f->at_group + o % f->m * f->at_m;
        for (int64_t j = 0; j < f->n; j++) {
            int64_t c = o / f->m * per + j / f->taps;
            double v = fabs((double)row[j / f->taps * f->at_n + j % f->taps]) * factor(l->out, o) *
                       factor(l->in, c);
            double *r = &ret[of_inputs ? c : o];
            *r = v <= *r ? *r : v; /* NaN stays */
        }
    }
    free(w);
    return 0;
}

static int even_out(struct pair *p, double *ret_most, struct mc_err *err)
{
    int64_t channels = outputs_of(p->a), inputs = inputs_of(p->b);
    double *r1 = mc_calloc((size_t)(channels + inputs) + 1, sizeof *r1), *r2 = r1 + channels;
    int rc = r1 ? ranges(p->a, false, r1, err) : no_memory(err);
    if (!rc)
        rc = ranges(p->b, true, r2, err);
    for (int64_t c = 0; !rc && c < channels; c++) {
        double most = 0;
        for (int64_t k = 0; k < p->per; k++)
            most = r2[c * p->per + k] <= most ? most : r2[c * p->per + k];
        double s = sqrt(r1[c] / most);
        if (!isnormal(s))
            continue;
        p->a->out[c] /= s;
        for (int64_t k = 0; k < p->per; k++)
            p->b->in[c * p->per + k] *= s;
        *ret_most = fmax(*ret_most, fabs(log(s)));
    }
    free(r1);
    return rc;
}

static int make_factors(double **x, int64_t n, struct mc_err *err)
{
    *x = mc_calloc((size_t)n + 1, sizeof **x);
    for (int64_t i = 0; *x && i < n; i++)
        (*x)[i] = 1;
    return *x ? 0 : no_memory(err);
}

static int settle(struct equaliser *e, struct mc_err *err)
{
    int rc = 0;
    double most = 1;
    for (size_t i = 0; !rc && i < e->n_pairs; i++) {
        rc = make_factors(&e->pair[i].a->out, outputs_of(e->pair[i].a), err);
        rc = rc ? rc : make_factors(&e->pair[i].b->in, inputs_of(e->pair[i].b), err);
    }
    for (int k = 0; !rc && k < ROUNDS && most > SETTLED; k++) {
        most = 0;
        for (size_t i = 0; !rc && i < e->n_pairs; i++)
            rc = even_out(&e->pair[i], &most, err);
    }
    return rc;
}

/* ---- in place ---- */

/* put: false only asks whether the types can hold it. */
static int change(struct layer *l, bool put, bool *fits, struct mc_err *err)
{
    const struct mc_tensor *t = mc_constant(l->f.weight);
    struct mc_shape shape = t->shape;
    double *w = NULL, *b = NULL;
    struct mc_value *bias = l->bias && l->out ? l->bias->in[l->bias_slot] : NULL;
    int rc = mc_quant_doubles(l->f.weight, &w, err);
    if (!rc && bias)
        rc = mc_quant_channels(bias, outputs_of(l), &b, err);
    if (!rc)
        mc_quant_scale_weight(&l->f, w, l->out, l->in);
    for (int64_t i = 0; !rc && b && i < outputs_of(l); i++)
        b[i] *= l->out[i];
    if (!rc)
        *fits &= mc_quant_holds(t->dtype, w, mc_shape_count(&shape)) &&
                 (!b || mc_quant_holds(t->dtype, b, outputs_of(l)));
    if (!rc && put && b) {
        struct mc_shape s = mc_constant(bias)->shape;
        if (mc_shape_count(&s) != outputs_of(l))
            s = mc_shape_of(l->f.columns ? 2 : 1, (int64_t[]){outputs_of(l), 1});
        rc = mc_quant_put(l->bias, l->bias_slot, b, &s, t->dtype, "bias", err);
    }
    if (!rc && put)
        rc = mc_quant_put(l->f.node, l->f.columns ? 0 : 1, w, &shape, t->dtype, "weight", err);
    free(w);
    free(b);
    return rc;
}

static size_t count_changed(const struct equaliser *e)
{
    size_t n = 0;
    for (size_t i = 0; i < e->n_pairs; i++) {
        bool any = false;
        for (int64_t c = 0; c < outputs_of(e->pair[i].a); c++)
            any |= fabs(log(e->pair[i].a->out[c])) > SETTLED;
        n += any;
    }
    return n;
}

static int change_all(struct equaliser *e, struct mc_err *err)
{
    bool fits = true;
    int rc = 0;
    for (int put = 0; !rc && fits && put < 2; put++)
        for (size_t i = 0; !rc && i < e->n_layers; i++)
            if (e->layer[i].out || e->layer[i].in)
                rc = change(&e->layer[i], put, &fits, err);
    if (!rc && fits)
        e->changed += count_changed(e);
    return rc;
}

static int equalise_graph(void *ctx, struct mc_graph *g, struct mc_err *err)
{
    struct equaliser *e = ctx;
    int rc = find_layers(e, g, err);
    for (size_t i = 0; !rc && i < e->n_layers; i++)
        rc = find_pair(e, &e->layer[i], err);
    if (!rc && e->n_pairs)
        rc = settle(e, err);
    if (!rc && e->n_pairs)
        rc = change_all(e, err);
    for (size_t i = 0; i < e->n_layers; i++) {
        free(e->layer[i].out);
        free(e->layer[i].in);
    }
    e->n_layers = e->n_pairs = 0;
    return rc;
}

int mc_quant_equalise(struct mc_model *m, size_t *ret_layers, struct mc_err *err)
{
    struct mc_infer *inf = NULL;
    struct equaliser e = {0};
    int rc = mc_infer_run(m->graph, NULL, &inf, NULL); /* without it less is known to fit */
    if (rc == MC_ENOMEM)
        return no_memory(err);
    e.inf = inf;
    rc = mc_quant_each_graph(m, equalise_graph, &e, err);
    mc_infer_free(inf);
    free(e.layer);
    free(e.pair);
    *ret_layers = e.changed;
    return rc;
}
