#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "graph/run/observe.h"
#include "passes/prune/importance_end.h"
#include "passes/prune/importance_parts.h"
#include "passes/prune/importance_share.h"
#include "passes/fit/influence_cut.h"
#include "passes/fit/one_sample.h"

static const double WORK = 1e12;        /* multiply-accumulates, at most */
static const double UNKNOWN_WORK = 1e9; /* of one sample, where it cannot be counted */
enum { LEAST_SAMPLES = 16 };

struct seen {       /* of one end */
    double *square; /* [n] */
    double *sum;    /* [n] */
    double *on;     /* [n] */
    bool whole;     /* integers, whose zero may lie anywhere */
    double count;   /* of each position */
    float half;     /* what is above it is on */
    int rc;
    struct mc_err err;
};

struct watch {
    const struct mc_coupling *c;
    struct mc_unit_ends ends;
    struct seen *seen;  /* [ends.n] */
    const char **names; /* [n_names] */
    size_t n_names;
    size_t *name_of; /* [ends.n]; n_names: nothing to look at */
    const struct mc_array *const *values;
    struct mc_pool *pool;
    int64_t samples;
};

static int no_memory(struct mc_err *err)
{
    return mc_fail(err, MC_ENOMEM, "out of memory for the importance of units");
}

/* ---- what is looked at ---- */

static const struct mc_value *looked_at(const struct mc_unit_end *e)
{
    return e->inside ? e->states : e->v;
}

static int axis_of(const struct mc_unit_end *e)
{
    return e->inside ? e->states_axis : e->axis;
}

/* The activation a value comes from, past what only moves it. */
static float half_of(const struct mc_value *v)
{
    static const char *const moves[] = {"Reshape",   "Flatten",    "Transpose", "MaxPool",
                                        "Unsqueeze", "Squeeze",    "Identity",  "Slice",
                                        "Dropout",   "AveragePool"};
    while (v->producer && v->producer->n_in && v->producer->in[0]) {
        const struct mc_node *n = v->producer;
        bool moved = false;
        if (mc_node_is(n, "Sigmoid") || mc_node_is(n, "HardSigmoid"))
            return 0.5f;
        for (size_t i = 0; i < sizeof moves / sizeof *moves; i++)
            moved |= mc_node_is(n, moves[i]);
        if (!moved)
            break;
        v = n->in[0];
    }
    return 0;
}

static int open_watch(struct watch *w, struct mc_err *err)
{
    size_t n = w->ends.n;
    w->seen = mc_calloc(n + 1, sizeof *w->seen);
    w->names = mc_calloc(n + 1, sizeof *w->names);
    w->name_of = mc_calloc(n + 1, sizeof *w->name_of);
    if (!w->seen || !w->names || !w->name_of)
        return no_memory(err);
    for (size_t i = 0; i < n; i++) {
        const struct mc_unit_end *e = &w->ends.list[i];
        const struct mc_value *v = looked_at(e);
        w->name_of[i] = SIZE_MAX;
        if (!v)
            continue;
        size_t k = 0;
        while (k < w->n_names && strcmp(w->names[k], v->name))
            k++;
        w->names[k] = v->name;
        w->n_names += k == w->n_names;
        w->name_of[i] = k;
        w->seen[i].half = half_of(v);
        w->seen[i].square = mc_calloc((size_t)e->n + 1, sizeof(double));
        w->seen[i].sum = mc_calloc((size_t)e->n + 1, sizeof(double));
        w->seen[i].on = mc_calloc((size_t)e->n + 1, sizeof(double));
        if (!w->seen[i].square || !w->seen[i].sum || !w->seen[i].on)
            return no_memory(err);
    }
    return 0;
}

static void close_watch(struct watch *w)
{
    for (size_t i = 0; w->seen && i < w->ends.n; i++) {
        free(w->seen[i].square);
        free(w->seen[i].sum);
        free(w->seen[i].on);
    }
    free(w->seen);
    free(w->names);
    free(w->name_of);
    mc_unit_ends_free(&w->ends);
}

/* ---- batches ---- */

static void add_values(const struct mc_unit_end *e, struct seen *s, const struct mc_array *a,
                       const float *x)
{
    int axis = axis_of(e);
    int64_t outer = mc_shape_span(&a->shape, 0, axis), n = e->n;
    int64_t inner = mc_shape_span(&a->shape, axis + 1, a->shape.rank);
    for (int64_t o = 0; o < outer; o++)
        for (int64_t i = 0; i < n; i++) {
            const float *row = x + (o * n + i) * inner;
            double square = 0, sum = 0;
            int64_t on = 0;
            for (int64_t k = 0; k < inner; k++) {
                sum += row[k];
                square += (double)row[k] * row[k];
                on += row[k] > s->half;
            }
            s->square[i] += square;
            s->sum[i] += sum;
            s->on[i] += (double)on;
        }
    s->count += (double)(outer * inner);
}

static void look_at_end(void *ctx, int64_t i, int worker)
{
    (void)worker;
    struct watch *w = ctx;
    const struct mc_unit_end *e = &w->ends.list[i];
    struct seen *s = &w->seen[i];
    if (w->name_of[i] == SIZE_MAX)
        return;
    const struct mc_array *a = w->values[w->name_of[i]];
    int axis = axis_of(e);
    if (axis >= a->shape.rank || a->shape.dim[axis] != e->n) {
        s->rc = mc_fail(&s->err, MC_ESHAPE, "'%s' has another shape in a run", a->name);
        return;
    }
    if (a->dtype == MC_DTYPE_F32) {
        add_values(e, s, a, a->data);
        return;
    }
    s->whole = mc_dtype_info((int)a->dtype)->kind != MC_KIND_FLOAT;
    size_t count = (size_t)mc_shape_count(&a->shape);
    float *x = mc_calloc(count + 1, sizeof *x);
    s->rc = x ? mc_dtype_to_f32(a->dtype, a->data, x, count, &s->err) : no_memory(&s->err);
    if (!s->rc)
        add_values(e, s, a, x);
    free(x);
}

static int look(void *ctx, const struct mc_array *const *values, int64_t first,
                const struct mc_batch *b, struct mc_err *err)
{
    (void)first;
    struct watch *w = ctx;
    w->values = values;
    mc_pool_run(w->pool, (int64_t)w->ends.n, look_at_end, w);
    for (size_t i = 0; i < w->ends.n; i++)
        if (w->seen[i].rc)
            return mc_fail(err, w->seen[i].rc, "%s", w->seen[i].err.msg);
    w->samples += b->n;
    return 0;
}

/* How many samples fit in the work that is allowed. */
static int plan(const struct mc_model *m, int64_t *samples, struct mc_err *err)
{
    struct mc_infer_opts o = {0};
    double work = -1;
    int rc = mc_one_sample(m->graph, 1, &o, err);
    if (!rc)
        rc = mc_cut_work(m->graph, &o, &work, err);
    double can = fmax(LEAST_SAMPLES, WORK / (work > 0 ? work : UNKNOWN_WORK));
    *samples = (double)*samples > can ? (int64_t)can : *samples;
    free((void *)o.inputs);
    return rc;
}

/* ---- scores ---- */

static double mean_square(const struct seen *s, int64_t position)
{
    double mean = s->whole ? s->sum[position] / s->count : 0;
    double square = s->square[position] / s->count - mean * mean;
    return square < 0 ? 0 : square;
}

/* The same of what a position is multiplied with on the other side of a product. */
static double other_side(const struct watch *w, size_t i, int64_t position)
{
    const struct mc_unit_end *e = &w->ends.list[i];
    for (size_t k = 0; k < w->ends.n; k++) {
        const struct mc_unit_end *f = &w->ends.list[k];
        if (k != i && f->node == e->node && !f->inside && f->n == e->n && f->second &&
            w->seen[k].count > 0)
            return mean_square(&w->seen[k], position);
    }
    return 1;
}

/* Root of the sum over ends of E[a²] ‖w‖²: w is what reads it. */
static int by_activation(const struct watch *w, struct mc_unit_share *share, struct mc_err *err)
{
    int rc = 0;
    for (size_t i = 0; i < w->ends.n && !rc; i++) {
        const struct mc_unit_end *e = &w->ends.list[i];
        const struct seen *s = &w->seen[i];
        if (e->second || !(s->count > 0))
            continue;
        double *weight = mc_calloc((size_t)e->n + 1, sizeof *weight);
        rc = weight ? mc_unit_end_weights(w->c, e, weight, err) : no_memory(err);
        for (int64_t k = 0; !rc && k < e->n * e->per; k++) {
            int64_t p = k / e->per;
            double square = mean_square(s, p) * weight[p] * other_side(w, i, p);
            if (!isfinite(s->square[p]) || !isfinite(square))
                rc = mc_fail(err, MC_EDATA, "'%s' becomes NaN or infinite on these samples",
                             looked_at(e)->name);
            else
                mc_unit_share_add(share, e->unit[k], square);
        }
        free(weight);
        mc_unit_share_end(share);
    }
    for (int32_t u = 0; !rc && u < w->c->n_units; u++)
        share->score[u] = sqrt(share->score[u]);
    return rc;
}

static double entropy(double p)
{
    return p > 0 && p < 1 ? -p * log(p) - (1 - p) * log(1 - p) : 0;
}

/* Mean over ends of the entropy of being on, in nats; on: above 0, or above 1/2 behind a Sigmoid.
 * Source: He, Fan, Qian, Tan, Yu, Reshaping deep neural network for fast decoding by node-pruning, ICASSP 2014. */
static int by_entropy(const struct watch *w, double *score, struct mc_err *err)
{
    size_t units = (size_t)w->c->n_units + 1;
    double *on = mc_calloc(units, sizeof *on), *count = mc_calloc(units, sizeof *count);
    double *ends = mc_calloc(units, sizeof *ends);
    int rc = on && count && ends ? 0 : no_memory(err);
    for (size_t i = 0; i < w->ends.n && !rc; i++) {
        const struct mc_unit_end *e = &w->ends.list[i];
        const struct seen *s = &w->seen[i];
        for (int64_t k = 0; s->count > 0 && k < e->n * e->per; k++)
            if (e->unit[k] >= 0) {
                on[e->unit[k]] += s->on[k / e->per];
                count[e->unit[k]] += s->count;
            }
        for (int64_t k = 0; s->count > 0 && k < e->n * e->per; k++) {
            int32_t u = e->unit[k];
            if (u < 0 || !(count[u] > 0))
                continue;
            score[u] += entropy(on[u] / count[u]);
            ends[u]++;
            on[u] = count[u] = 0;
        }
    }
    for (int32_t u = 0; !rc && u < w->c->n_units; u++)
        score[u] /= ends[u] > 0 ? ends[u] : 1;
    free(on);
    free(count);
    free(ends);
    return rc;
}

static int score(const struct watch *w, bool raw, struct mc_importance *ret, struct mc_err *err)
{
    struct mc_unit_share share;
    if (ret->kind == MC_IMPORTANCE_ENTROPY)
        return by_entropy(w, ret->score, err);
    int rc = mc_unit_share_open(w->c, raw, ret->score, &share, err);
    if (rc)
        return rc;
    rc = by_activation(w, &share, err);
    mc_unit_share_close(&share);
    return rc;
}

int mc_importance_samples(const struct mc_pass_ctx *ctx, const struct mc_model *m,
                          const struct mc_coupling *c, struct mc_dataset *data, int64_t count,
                          bool raw, struct mc_importance *ret, struct mc_err *err)
{
    struct watch w = {.c = c, .pool = ctx->pool};
    int rc = mc_unit_ends_find(c, &w.ends, err);
    if (!rc)
        rc = open_watch(&w, err);
    if (!rc && w.n_names)
        rc = plan(m, &count, err);
    struct mc_observe_opts o = {.pool = ctx->pool,
                                .progress = ctx->progress,
                                .what = "importance",

                                .count = count};
    if (!rc && w.n_names)
        rc = mc_observe(m->graph, data, w.names, w.n_names, &o, look, &w, NULL, err);
    if (!rc)
        rc = score(&w, raw, ret, err);
    ret->samples = w.samples;
    close_watch(&w);
    return rc;
}
