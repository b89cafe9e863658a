/* Computing in F16. Every output of a node that does gets a float twin behind a Cast, which takes over all its uses; then
 * nodes that compute in F16 read halves again, through the twin or a Cast of their own. Casts that nobody reads go in the
 * end, so that floats are left only where the two kinds of nodes meet. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "graph/constant.h"
#include "graph/edit.h"
#include "graph/infer.h"
#include "graph/run/fold.h"
#include "passes/quant/form/quant_half_parts.h"
#include "passes/quant/range/quant_stats.h"

/* Sums on the way to a value may be larger than it is: values from here on stay float. Half of the largest half. */
static const double large = 65504.0 / 2;

struct half {
    struct mc_graph *g;
    size_t n_values, n_nodes; /* before anything changed */
    bool *is_float;           /* [n_values] of F32 */
    bool *beyond;             /* [n_values] holds large values, by calibration */
    bool *computes;           /* [n_node_ids] in F16 */
    struct mc_value **of;     /* [cap] the half that is the same as a float value, by index */
    size_t cap;
};

static int no_memory(struct mc_err *err)
{
    return mc_fail(err, MC_ENOMEM, "out of memory");
}

/* ---- who can ---- */

/* By name or, with a *, the beginning of one. Without F16 in ONNX at some version, or whose type is not that of an input. */
static const char *const float_only[] = {"If",          "Loop",
                                         "Scan",        "Sequence*",
                                         "Optional*",   "SplitToSequence",
                                         "Range",       "CumSum",
                                         "Celu",        "IsInf",
                                         "Quantize*",   "Dequantize*",
                                         "DynamicQ*",   "QLinear*",
                                         "DFT",         "STFT",
                                         "HannWindow",  "HammingWindow",
                                         "Cast*",       "Constant*",
                                         "EyeLike",     "BlackmanWindow",
                                         "Multinomial", "MelWeightMatrix",
                                         "Bernoulli",   "Random*",
                                         "ConcatFrom*", "NonMaxSuppression"};

static bool named(const char *op, const char *pattern)
{
    size_t n = strlen(pattern);
    return pattern[n - 1] == '*' ? !strncmp(op, pattern, n - 1) : !strcmp(op, pattern);
}

static bool is_float(const struct half *h, const struct mc_value *v)
{
    return v && v->index < h->n_values && h->is_float[v->index];
}

/* Slots that are F32 whatever the operator computes in. */
static bool always_float(const struct mc_node *n, size_t slot)
{
    return slot > 0 && (mc_node_is(n, "Resize") || mc_node_is(n, "Upsample"));
}

static bool can(const struct half *h, const struct mc_infer *inf, const struct mc_node *n)
{
    bool any = false;
    if (n->domain[0] || mc_model_function(n->graph->model, n->domain, n->op_type, n->overload))
        return false;
    for (size_t i = 0; i < sizeof float_only / sizeof *float_only; i++)
        if (named(n->op_type, float_only[i]))
            return false;
    for (size_t i = 0; i < n->n_in + n->n_out; i++) {
        const struct mc_value *v = i < n->n_in ? n->in[i] : n->out[i - n->n_in];
        if (!v)
            continue;
        if (mc_infer_of(inf, v)->dtype == MC_DTYPE_NONE || h->beyond[v->index])
            return false;
        any = any || is_float(h, v);
    }
    return any;
}

/* ---- calibration ---- */

static int look_for_large(struct mc_pass_ctx *ctx, const struct mc_model *m, struct half *h,
                          struct mc_err *err)
{
    struct mc_quant_want *want = mc_calloc(h->n_values + 1, sizeof *want);
    struct mc_quant_stats *stats = NULL;
    size_t n = 0;
    if (!want)
        return no_memory(err);
    for (size_t i = 0; i < h->n_values; i++)
        if (h->is_float[i] && !mc_constant(h->g->values[i]))
            want[n++] = (struct mc_quant_want){h->g->values[i]->name, -1};
    int rc = mc_quant_stats_collect(ctx, m, want, n, &stats, err);
    for (size_t i = 0; !rc && i < h->n_values; i++) {
        const struct mc_quant_stat *s =
            h->is_float[i] ? mc_quant_stats_of(stats, h->g->values[i]->name) : NULL;
        h->beyond[i] =
            s && (s->hist.max > large || s->hist.min < -large || s->hist.nan || s->hist.infinite);
    }
    mc_quant_stats_free(stats);
    free(want);
    return rc;
}

/* ---- halves ---- */

static int remember(struct half *h, const struct mc_value *v, struct mc_value *same,
                    struct mc_err *err)
{
    if (v->index >= h->cap) {
        size_t cap = 2 * (size_t)v->index + 64;
        struct mc_value **of = mc_calloc(cap, sizeof *of);
        if (!of)
            return no_memory(err);
        if (h->cap)
            memcpy(of, h->of, h->cap * sizeof *of);
        free(h->of);
        h->of = of;
        h->cap = cap;
    }
    h->of[v->index] = same;
    return 0;
}

static int put_cast(struct mc_graph *g, size_t pos, struct mc_value *x, struct mc_value *y,
                    enum mc_dtype to, struct mc_err *err)
{
    struct mc_node *cast;
    int rc = mc_edit_node(g, pos, "Cast", "", 0, "", &x, 1, &y, 1, &cast, err);
    return rc ? rc : mc_edit_attr_int(cast, "to", to, err);
}

static struct mc_value *fresh(struct mc_graph *g, const struct mc_value *v, const char *end)
{
    char name[512];
    snprintf(name, sizeof name, "%.480s_%s", v->name, end);
    return mc_edit_fresh(g, name);
}

static int type_as(struct mc_value *v, const struct mc_type *t, enum mc_dtype dtype,
                   struct mc_err *err)
{
    if (t->kind != MC_TYPE_TENSOR || mc_edit_type(v, dtype, t->ranked ? t->rank : -1, t->dim))
        return 0;
    return no_memory(err);
}

/* v, an output of a node that computes in F16, becomes a half; a new float takes its uses. */
static int split_output(struct half *h, struct mc_value *v, struct mc_err *err)
{
    struct mc_type type = v->type;
    struct mc_value *twin = fresh(h->g, v, "float");
    if (!twin)
        return no_memory(err);
    int rc = mc_edit_replace_uses(v, twin, err);
    rc = rc ? rc : type_as(v, &type, MC_DTYPE_F16, err);
    rc = rc ? rc : put_cast(h->g, v->producer->pos + 1, v, twin, MC_DTYPE_F32, err);
    return rc ? rc : remember(h, twin, v, err);
}

/* A half constant for a float one; *ret NULL where the type cannot hold it. */
static int half_constant(struct half *h, const struct mc_tensor *t, struct mc_value *v, size_t pos,
                         struct mc_value **ret, struct mc_err *err)
{
    char name[512];
    struct mc_tensor *half;
    double error;
    const char *why;
    int rc = mc_quant_half_tensor(t, MC_DTYPE_F16, h->g->model->spill, &half, &error, &why, err);
    snprintf(name, sizeof name, "%.480s_half", v->name);
    if (!rc && half)
        rc = mc_constant_new(h->g, pos, name, half, ret, err);
    mc_tensor_unref(half);
    return rc;
}

/* The half that v is, made where there is none yet, for a node at position pos. */
static int half_of(struct half *h, struct mc_value *v, size_t pos, struct mc_value **ret,
                   struct mc_err *err)
{
    const struct mc_tensor *t = mc_constant(v);
    struct mc_value *x = v->producer && mc_node_is(v->producer, "Cast") ? v->producer->in[0] : NULL;
    const struct mc_tensor *stored = x ? mc_constant(x) : NULL;
    int rc = 0;
    *ret = v->index < h->cap ? h->of[v->index] : NULL;
    if (*ret)
        return 0;
    if (stored && stored->dtype == MC_DTYPE_F16)
        *ret = x;
    else if (t && t->dtype == MC_DTYPE_F32)
        rc = half_constant(h, t, v, pos, ret, err);
    if (!rc && !*ret) {
        *ret = fresh(h->g, v, "half");
        rc = *ret ? type_as(*ret, &v->type, MC_DTYPE_F16, err) : no_memory(err);
        pos = v->producer ? v->producer->pos + 1 : 0;
        rc = rc ? rc : put_cast(h->g, pos, v, *ret, MC_DTYPE_F16, err);
    }
    return rc ? rc : remember(h, v, *ret, err);
}

/* ---- all nodes ---- */

static int read_halves(struct half *h, struct mc_node *n, struct mc_err *err)
{
    int rc = 0;
    for (size_t i = 0; !rc && i < n->n_in; i++) {
        struct mc_value *v = n->in[i], *half = NULL;
        bool twin = v && v->index < h->cap && h->of[v->index];
        if (!v || always_float(n, i) || !(twin || is_float(h, v)))
            continue;
        rc = half_of(h, v, n->pos, &half, err);
        rc = rc ? rc : mc_edit_set_input(n, i, half, err);
    }
    return rc;
}

static int compute(struct half *h, struct mc_node *const *node, size_t n, struct mc_err *err)
{
    int rc = 0;
    for (size_t i = 0; !rc && i < n; i++)
        for (size_t k = 0; !rc && h->computes[node[i]->id] && k < node[i]->n_out; k++)
            if (is_float(h, node[i]->out[k]))
                rc = split_output(h, node[i]->out[k], err);
    for (size_t i = 0; !rc && i < n; i++)
        if (h->computes[node[i]->id])
            rc = read_halves(h, node[i], err);
    return rc;
}

static int find(struct mc_pass_ctx *ctx, const struct mc_model *m, struct half *h, size_t *ret_left,
                struct mc_err *err)
{
    struct mc_infer *inf = NULL;
    struct mc_infer_opts o = {.eval = mc_fold_eval};
    int rc = mc_infer_run(h->g, &o, &inf, err);
    for (size_t i = 0; !rc && i < h->n_values; i++)
        h->is_float[i] =
            h->g->values[i] && mc_infer_of(inf, h->g->values[i])->dtype == MC_DTYPE_F32;
    if (!rc && ctx->calib)
        rc = look_for_large(ctx, m, h, err);
    for (size_t i = 0; !rc && i < h->n_nodes; i++) {
        const struct mc_node *n = h->g->nodes[i];
        bool floats = false;
        for (size_t k = 0; k < n->n_out; k++)
            floats = floats || is_float(h, n->out[k]);
        h->computes[n->id] = can(h, inf, n);
        *ret_left += floats && !h->computes[n->id] && !named(n->op_type, "Constant*") &&
                     !named(n->op_type, "Cast*");
    }
    mc_infer_free(inf);
    return rc;
}

int mc_quant_half_compute(struct mc_pass_ctx *ctx, struct mc_model *m, size_t *ret_left,
                          struct mc_err *err)
{
    struct mc_graph *g = m->graph;
    struct half h = {.g = g, .n_values = g->n_values, .n_nodes = g->n_nodes};
    struct mc_node **node = mc_calloc(g->n_nodes + 1, sizeof(struct mc_node *));
    h.is_float = mc_calloc(g->n_values + 1, sizeof *h.is_float);
    h.beyond = mc_calloc(g->n_values + 1, sizeof *h.beyond);
    h.computes = mc_calloc(g->n_node_ids + 1, sizeof *h.computes);
    *ret_left = 0;
    int rc = node && h.is_float && h.beyond && h.computes ? 0 : no_memory(err);
    rc = rc ? rc : find(ctx, m, &h, ret_left, err);
    if (!rc) {
        memcpy(node, g->nodes, h.n_nodes * sizeof(struct mc_node *));
        rc = compute(&h, node, h.n_nodes, err);
    }
    free(node);
    free(h.is_float);
    free(h.beyond);
    free(h.computes);
    free(h.of);
    return rc;
}
