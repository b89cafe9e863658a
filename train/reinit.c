#include "train/reinit.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/mem.h"
#include "base/rng.h"
#include "graph/constant.h"
#include "graph/grad/weights.h"

enum kind { KEPT, UNIFORM, NORMAL, CONSTANT };

struct fresh {
    enum kind kind;
    double x; /* bound, or the constant */
};

/* ---- what a use says ---- */

static int64_t dims_from(const struct mc_shape *s, int first)
{
    int64_t n = 1;
    for (int i = first; i < s->rank; i++)
        n *= s->dim[i];
    return n;
}

/* Inputs that one output of node n sums over, by its weight; 0 where n has none that is known. */
static int64_t fan_in(const struct mc_node *n)
{
    const struct mc_tensor *w = n->n_in > 1 && n->in[1] ? mc_constant(n->in[1]) : NULL;
    bool left = false; /* the weight is the first factor */
    if (!w && mc_node_is(n, "MatMul") && (w = mc_constant(n->in[0])))
        left = true;
    if (!w || w->shape.rank < 2)
        return 0;
    const struct mc_shape *s = &w->shape;
    if (mc_node_is(n, "Conv") || mc_node_is(n, "ConvTranspose"))
        return dims_from(s, 1); /* of ConvTranspose as well: PyTorch counts it so */
    if (mc_node_is(n, "Gemm"))
        return s->dim[mc_node_int(n, "transB", 0) ? 1 : 0];
    if (mc_node_is(n, "MatMul"))
        return s->dim[left ? s->rank - 1 : s->rank - 2];
    return 0;
}

static struct fresh by_fan_in(const struct mc_node *n)
{
    int64_t fan = n ? fan_in(n) : 0;
    return fan > 0 ? (struct fresh){UNIFORM, 1 / sqrt((double)fan)} : (struct fresh){KEPT, 0};
}

static bool is_norm(const struct mc_node *n)
{
    static const char *const names[] = {"BatchNormalization", "LayerNormalization",
                                        "GroupNormalization", "InstanceNormalization",
                                        "RMSNormalization"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (mc_node_is(n, names[i]))
            return true;
    return false;
}

static struct fresh by_use(const struct mc_use *u)
{
    const struct mc_node *n = u->node;
    bool product = mc_node_is(n, "Conv") || mc_node_is(n, "ConvTranspose") ||
                   mc_node_is(n, "Gemm") || mc_node_is(n, "MatMul");
    if (product)
        return u->slot == 0 && !mc_node_is(n, "MatMul") ? (struct fresh){KEPT, 0} : by_fan_in(n);
    if (mc_node_is(n, "Add") && u->slot >= 0 &&
        n->n_in == 2) { /* a bias, where a product is added */
        const struct mc_node *p = n->in[1 - u->slot] ? n->in[1 - u->slot]->producer : NULL;
        return by_fan_in(p && mc_node_is(p, "MatMul") ? p : NULL);
    }
    if (is_norm(n) && u->slot >= 1 && u->slot <= 4)
        return (struct fresh){CONSTANT, u->slot == 1 || u->slot == 4 ? 1 : 0};
    bool cell = mc_node_is(n, "LSTM") || mc_node_is(n, "GRU") || mc_node_is(n, "RNN");
    int64_t hidden = cell ? mc_node_int(n, "hidden_size", 0) : 0;
    if (hidden > 0 && u->slot >= 1 && u->slot <= 3)
        return (struct fresh){UNIFORM, 1 / sqrt((double)hidden)};
    if (mc_node_is(n, "Gather") && u->slot == 0)
        return (struct fresh){NORMAL, 1};
    if (mc_node_is(n, "PRelu") && u->slot == 1)
        return (struct fresh){CONSTANT, 0.25};
    return (struct fresh){KEPT, 0};
}

/* The first use that says something. */
static struct fresh of_value(const struct mc_value *v)
{
    struct fresh f = {KEPT, 0};
    for (size_t i = 0; i < v->n_uses && f.kind == KEPT; i++)
        if (v->uses[i].slot >= 0)
            f = by_use(&v->uses[i]);
    return f;
}

/* ---- new content ---- */

static void draw(float *x, size_t n, struct fresh f, uint64_t seed, uint64_t stream)
{
    switch (f.kind) {
    case UNIFORM:
        mc_rng_fill_uniform(seed, stream, 0, x, n);
        for (size_t i = 0; i < n; i++)
            x[i] = (float)f.x * (2 * x[i] - 1);
        break;
    case NORMAL: mc_rng_fill_normal(seed, stream, 0, x, n); break;
    default:
        for (size_t i = 0; i < n; i++)
            x[i] = (float)f.x;
    }
}

static int make(const struct mc_model *m, const struct mc_shape *shape, enum mc_dtype dtype,
                struct fresh f, uint64_t seed, uint64_t stream, struct mc_tensor **ret,
                struct mc_err *err)
{
    size_t n = (size_t)mc_shape_count(shape);
    float *x = mc_calloc(n, sizeof *x);
    if (!x)
        return mc_fail(err, MC_ENOMEM, "out of memory");
    draw(x, n, f, seed, stream);
    int rc = mc_constant_make(x, shape, dtype, m->spill, ret, err);
    free(x);
    return rc;
}

int mc_reinit_uniform(const struct mc_model *m, const struct mc_shape *shape, enum mc_dtype dtype,
                      double bound, uint64_t seed, uint64_t stream, struct mc_tensor **ret,
                      struct mc_err *err)
{
    return make(m, shape, dtype, (struct fresh){UNIFORM, bound}, seed, stream, ret, err);
}

static void keep(json_t *kept, const struct mc_value *v, bool *ok)
{
    json_t *o = json_object();
    const struct mc_node *n = v->n_uses ? v->uses[0].node : NULL;
    char why[160];
    snprintf(why, sizeof why, "no rule of how weights of %.100s begin", n ? n->op_type : "nothing");
    mc_json_put(o, "name", mc_json_text(v->name), ok);
    mc_json_put(o, "why", json_string(why), ok);
    mc_json_add(kept, o, ok);
}

int mc_reinit(struct mc_model *m, uint64_t seed, json_t **ret_report, struct mc_err *err)
{
    struct mc_weights w;
    int rc = mc_weights_find(m->graph, &(struct mc_weights_opts){0}, &w, err);
    if (rc)
        return rc;
    bool ok = true;
    json_t *report = json_object(), *kept = json_array();
    int64_t count = 0, parameters = 0;
    for (size_t i = 0; !rc && i < w.n; i++) {
        struct mc_weight *x = &w.list[i];
        if (x->why && !x->statistic)
            continue;
        struct fresh f = of_value(x->value);
        if (f.kind == KEPT) {
            keep(kept, x->value, &ok);
            continue;
        }
        struct mc_tensor *t = NULL;
        rc = make(m, &x->shape, mc_constant(x->value)->dtype, f, seed, i, &t, err);
        if (!rc)
            rc = mc_constant_replace(x->value, t, err);
        mc_tensor_unref(t);
        count++;
        parameters += mc_shape_count(&x->shape);
    }
    mc_weights_free(&w);
    mc_json_put(report, "fresh", json_integer(count), &ok);
    mc_json_put(report, "parameters", json_integer(parameters), &ok);
    mc_json_put(report, "kept", kept, &ok);
    if (!rc && !count)
        rc = mc_fail(err, MC_EUNSUP, "--reinit: the model has no weights that could begin afresh");
    if (!rc && !ok)
        rc = mc_fail(err, MC_ENOMEM, "out of memory");
    if (rc)
        json_decref(report);
    else
        *ret_report = report;
    return rc;
}
