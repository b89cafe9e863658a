#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "graph/constant.h"
#include "graph/edit.h"
#include "passes/quant/repair/quant_channel.h"
#include "passes/quant/repair/quant_repair.h"

/* A chain of nodes behind a layer, or in front of it, that multiply by and add constants, as one factor and one shift a
 * channel: scale[c] v + shift[c]. */

struct chain {
    struct mc_refit f;
    int rank, behind; /* of the value; axes behind its channels */
    int64_t channels; /* of the value */
    double *scale, *shift;
    struct mc_node *end; /* the node farthest from the layer */
    size_t n;            /* nodes */
    bool sums; /* other nodes than Add and Sub are among them: MatMul needs one Add anyway */
};

struct folding {
    const struct mc_infer *inf; /* of the main graph and its bodies; NULL: not known */
    size_t layers;
};

static int no_memory(struct mc_err *err)
{
    return mc_fail(err, MC_ENOMEM, "out of memory for folding norms");
}

/* ---- one node ---- */

static bool is_still(const struct mc_node *n) /* its statistics are given */
{
    if (!mc_node_is(n, "BatchNormalization") || n->n_in != 5 ||
        mc_node_int(n, "training_mode", 0) || (n->version < 9 && !mc_node_int(n, "spatial", 1)))
        return false;
    for (size_t i = 1; i < n->n_out; i++)
        if (n->out[i])
            return false;
    return true;
}

/* Slot of the value among the inputs of a node that a chain can have, otherwise -1. */
static int slot_in_chain(const struct mc_node *n, const struct chain *c)
{
    if (is_still(n)) {
        bool fits = c->rank >= 2 && c->rank - 1 - c->behind == 1;
        for (size_t i = 1; fits && i < 5; i++)
            fits = n->in[i] && mc_constant(n->in[i]) &&
                   mc_tensor_count(mc_constant(n->in[i])) == c->channels;
        return fits ? 0 : -1;
    }
    if (n->n_in != 2 || n->n_out != 1 || !n->in[0] || !n->in[1] || n->version < 7)
        return -1;
    bool either = mc_node_is(n, "Mul") || mc_node_is(n, "Add") || mc_node_is(n, "Sub");
    if (!either && !mc_node_is(n, "Div"))
        return -1;
    for (int v = 0; v < (either ? 2 : 1); v++)
        if (mc_quant_per_channel(n->in[1 - v], c->rank, c->behind, c->channels) &&
            !mc_constant(n->in[v]))
            return v;
    return -1;
}

static int norm_as_affine(const struct mc_node *n, int64_t channels, double *a, double *b,
                          struct mc_err *err)
{
    double *p[5] = {NULL}, eps = (double)mc_node_float(n, "epsilon", 1e-5F);
    int rc = 0;
    for (int i = 1; !rc && i < 5; i++)
        rc = mc_quant_doubles(n->in[i], &p[i], err);
    for (int64_t i = 0; !rc && i < channels; i++) {
        a[i] = p[1][i] / sqrt(p[4][i] + eps);
        b[i] = p[2][i] - p[3][i] * a[i];
    }
    for (int i = 1; i < 5; i++)
        free(p[i]);
    return rc;
}

/* a v + b is what the node makes of v, its input `slot`. */
static int as_affine(const struct mc_node *n, int slot, int64_t channels, double *a, double *b,
                     struct mc_err *err)
{
    if (mc_node_is(n, "BatchNormalization"))
        return norm_as_affine(n, channels, a, b, err);
    double *x;
    int rc = mc_quant_channels(n->in[1 - slot], channels, &x, err);
    for (int64_t i = 0; !rc && i < channels; i++) {
        bool mul = mc_node_is(n, "Mul"), div = mc_node_is(n, "Div"), sub = mc_node_is(n, "Sub");
        a[i] = mul ? x[i] : div ? 1 / x[i] : sub && slot ? -1 : 1;
        b[i] = mul || div ? 0 : sub && !slot ? -x[i] : x[i];
    }
    if (!rc)
        free(x);
    return rc;
}

/* Take a node into the chain: behind what is there, or in front of it. */
static int take(struct chain *c, struct mc_node *n, int slot, bool front, struct mc_err *err)
{
    size_t k = (size_t)c->channels;
    double *a = mc_calloc(2 * k + 1, sizeof *a);
    if (!a)
        return no_memory(err);
    int rc = as_affine(n, slot, c->channels, a, a + k, err);
    for (size_t i = 0; !rc && i < k; i++) {
        double s = c->scale[i], t = c->shift[i], b = a[k + i];
        c->scale[i] = s * a[i];
        c->shift[i] = front ? s * b + t : t * a[i] + b;
    }
    free(a);
    if (rc)
        return rc;
    c->end = n;
    c->n++;
    c->sums |= !mc_node_is(n, "Add") && !mc_node_is(n, "Sub");
    return 0;
}

static int start(struct chain *c, struct mc_err *err)
{
    c->scale = mc_calloc(2 * (size_t)c->channels + 1, sizeof *c->scale);
    if (!c->scale)
        return no_memory(err);
    c->shift = c->scale + c->channels;
    for (int64_t i = 0; i < c->channels; i++)
        c->scale[i] = 1;
    return 0;
}

/* The one node that reads v, of its own graph; NULL. */
static struct mc_node *only_reader(const struct mc_value *v)
{
    return v->n_uses == 1 && !v->is_output && v->uses[0].slot >= 0 ? v->uses[0].node : NULL;
}

/* ---- into the layer ---- */

static bool zeros(const double *x, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        if (x[i] != 0)
            return false;
    return true;
}

/* The layer's bias, zeros where it has none; NULL in *ret: it is not a constant. */
static int load_bias(const struct mc_refit *f, double **ret, struct mc_err *err)
{
    const struct mc_node *n = f->node;
    int64_t channels = f->groups * f->m;
    struct mc_value *b = !mc_node_is(n, "MatMul") && n->n_in > 2 ? n->in[2] : NULL;
    *ret = NULL;
    if (!b) {
        *ret = mc_calloc((size_t)channels + 1, sizeof **ret);
        return *ret ? 0 : no_memory(err);
    }
    bool fits = mc_quant_per_channel(b, mc_node_is(n, "Gemm") ? 2 : 1, 0, channels);
    return fits ? mc_quant_channels(b, channels, ret, err) : 0;
}

/* The layer's weight and bias become w and b, unless the type cannot hold them. */
static int put_layer(const struct mc_refit *f, const double *w, const double *b, bool *ret_done,
                     struct mc_err *err)
{
    const struct mc_tensor *t = mc_constant(f->weight);
    enum mc_dtype type = t->dtype;
    struct mc_shape shape = t->shape, channels = mc_shape_of(1, (int64_t[]){f->groups * f->m});
    bool bias = !mc_node_is(f->node, "MatMul") &&
                (!zeros(b, channels.dim[0]) || (f->node->n_in > 2 && f->node->in[2]));
    *ret_done =
        mc_quant_holds(type, w, mc_shape_count(&shape)) && mc_quant_holds(type, b, channels.dim[0]);
    if (!*ret_done)
        return 0;
    int rc = mc_quant_put(f->node, f->columns ? 0 : 1, w, &shape, type, "weight", err);
    if (!rc && bias)
        rc = mc_quant_put(f->node, 2, b, &channels, type, "bias", err);
    return rc;
}

/* v[c] as an Add of its own right behind the layer; *ret: what it gives. */
static int put_add(const struct mc_refit *f, const double *v, const char *name,
                   struct mc_value **ret, struct mc_err *err)
{
    struct mc_graph *g = f->node->graph;
    struct mc_shape shape = mc_shape_of(f->columns ? 2 : 1, (int64_t[]){f->groups * f->m, 1});
    struct mc_value *in[2] = {f->node->out[0]};
    struct mc_node *add;
    *ret = mc_edit_fresh(g, f->node->out[0]->name);
    if (!*ret)
        return no_memory(err);
    int rc = mc_edit_node(g, f->node->pos + 1, "Add", "", 0, name, in, 1, ret, 1, &add, err);
    return rc ? rc : mc_quant_put(add, 1, v, &shape, mc_constant(f->weight)->dtype, "bias", err);
}

/* Nodes from the chain's end back to the layer go. */
static void drop_behind(const struct chain *c)
{
    struct mc_node *n = c->end;
    for (size_t i = 0; i < c->n; i++) {
        struct mc_node *before = NULL;
        for (size_t k = 0; k < n->n_in && !before; k++)
            if (n->in[k] && n->in[k]->producer && !mc_constant(n->in[k]))
                before = n->in[k]->producer;
        mc_edit_remove_node(n);
        n = before;
    }
}

static int fold_behind(struct chain *c, size_t *layers, struct mc_err *err)
{
    struct mc_refit *f = &c->f;
    bool matmul = mc_node_is(f->node, "MatMul"), done = false;
    double *w = NULL, *b = NULL;
    int rc = load_bias(f, &b, err);
    if (!rc && b)
        rc = mc_quant_doubles(f->weight, &w, err);
    if (!rc && w) {
        mc_quant_scale_weight(f, w, c->scale, NULL);
        for (int64_t i = 0; i < c->channels; i++)
            b[i] = b[i] * c->scale[i] + c->shift[i];
        rc = put_layer(f, w, b, &done, err);
    }
    struct mc_value *y = f->node->out[0], *end = c->end->out[0];
    if (!rc && done && matmul && !zeros(b, c->channels))
        rc = put_add(f, b, c->end->name, &y, err);
    if (!rc && done)
        rc = mc_edit_replace_uses(end, y, err);
    if (!rc && done) {
        drop_behind(c);
        ++*layers;
    }
    free(w);
    free(b);
    return rc;
}

static int behind(struct folding *fold, const struct mc_refit *f, struct mc_err *err)
{
    struct chain c = {.f = *f,
                      .rank = mc_quant_layer_rank(f, fold->inf),
                      .behind = mc_quant_layer_behind(f),
                      .channels = f->groups * f->m};
    struct mc_node *n = only_reader(f->node->out[0]);
    if (!n || (f->columns && c.rank < 2))
        return 0;
    int rc = start(&c, err);
    for (int slot; !rc && n && (slot = slot_in_chain(n, &c)) >= 0; n = only_reader(n->out[0]))
        rc = take(&c, n, slot, false, err);
    bool gains = mc_node_is(f->node, "MatMul") ? c.sums || c.n > 1 : c.n > 0;
    if (!rc && gains)
        rc = fold_behind(&c, &fold->layers, err);
    free(c.scale);
    return rc;
}

/* ---- in front of a convolution ---- */

/* Does every window lie within its input? Otherwise a shift reaches fewer elements at the border. */
static bool is_unpadded(const struct mc_node *n)
{
    const char *how = mc_node_string(n, "auto_pad", "NOTSET");
    size_t count;
    const int64_t *pads = mc_node_ints(n, "pads", &count);
    for (size_t i = 0; i < count; i++)
        if (pads[i])
            return false;
    return !strcmp(how, "NOTSET") || !strcmp(how, "VALID");
}

/* Has v the channels itself, so that the node's constant spreads nothing? */
static bool has_channels(const struct folding *fold, const struct chain *c,
                         const struct mc_value *v)
{
    const struct mc_vtype *t = fold->inf ? mc_infer_of(fold->inf, v) : NULL;
    return t && t->ranked && t->shape.rank == c->rank && t->shape.dim[1] == c->channels;
}

static int fold_front(struct chain *c, struct mc_value *x, size_t *layers, struct mc_err *err)
{
    const struct mc_refit *f = &c->f;
    int64_t per = f->n / f->taps;
    bool done = false;
    double *w = NULL, *b = NULL;
    int rc = load_bias(f, &b, err);
    if (!rc && b)
        rc = mc_quant_doubles(f->weight, &w, err);
    if (!rc && w) {
        for (int64_t i = 0; i < f->groups * f->m; i++) {
            const double *row = w + i / f->m * f->at_group + i % f->m * f->at_m;
            for (int64_t j = 0; j < f->n; j++)
                b[i] += row[j / f->taps * f->at_n + j % f->taps] *
                        c->shift[i / f->m * per + j / f->taps];
        }
        mc_quant_scale_weight(f, w, NULL, c->scale);
        rc = put_layer(f, w, b, &done, err);
    }
    if (!rc && done) {
        rc = mc_edit_set_input(f->node, 0, x, err);
        ++*layers;
    }
    free(w);
    free(b);
    return rc;
}

static int front(struct folding *fold, const struct mc_refit *f, struct mc_err *err)
{
    struct chain c = {.f = *f,
                      .rank = mc_quant_layer_rank(f, fold->inf),
                      .channels = f->groups * (f->n / f->taps)};
    struct mc_value *x = f->x;
    c.behind = c.rank - 2;
    int rc = start(&c, err);
    while (!rc && x->producer && only_reader(x)) {
        struct mc_node *n = x->producer;
        int slot = slot_in_chain(n, &c);
        if (slot < 0 || !has_channels(fold, &c, n->in[slot]))
            break;
        bool shifts = !mc_node_is(n, "Mul") && !mc_node_is(n, "Div");
        if (shifts && !is_unpadded(f->node))
            break;
        rc = take(&c, n, slot, true, err);
        x = n->in[slot];
    }
    if (!rc && c.n > 0)
        rc = fold_front(&c, x, &fold->layers, err);
    free(c.scale);
    return rc;
}

/* ---- the model ---- */

static int fold_graph(void *ctx, struct mc_graph *g, struct mc_err *err)
{
    struct folding *fold = ctx;
    struct mc_refit f;
    int rc = 0;
    for (size_t i = 0; !rc && i < g->n_nodes; i++) {
        struct mc_node *n = g->nodes[i]; /* what goes stands behind it */
        if (mc_quant_layer(n, &f))
            rc = behind(fold, &f, err);
        i = n->pos;
    }
    for (size_t i = 0; !rc && i < g->n_nodes; i++) {
        struct mc_node *n = g->nodes[i];
        if (mc_node_is(n, "Conv") && mc_quant_layer(n, &f))
            rc = front(fold, &f, err);
        i = n->pos;
    }
    if (!rc)
        mc_edit_sweep(g);
    return rc;
}

int mc_quant_fold_norms(struct mc_model *m, size_t *ret_layers, struct mc_err *err)
{
    struct mc_infer *inf = NULL;
    struct folding fold = {0};
    int rc = mc_infer_run(m->graph, NULL, &inf, NULL); /* without it less is known to fit */
    if (rc == MC_ENOMEM)
        return no_memory(err);
    fold.inf = inf;
    rc = mc_quant_each_graph(m, fold_graph, &fold, err);
    mc_infer_free(inf);
    *ret_layers = fold.layers;
    return rc;
}
