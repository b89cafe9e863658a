#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/rng.h"
#include "passes/prune/importance_gate.h"
#include "passes/prune/importance_parts.h"
#include "passes/fit/influence_run.h"

/* Multiply-accumulates, at most: 512 samples with four vectors each of a model of 300 M. */
static const double WORK = 1e12;
enum {
    FISHER_BATCH = 4
}; /* draws of a square that is a sum over the batch: the fewer, the more there are */
static const size_t ROW_BYTES = (size_t)64 << 20;

struct gradient {
    const struct mc_pass_ctx *ctx;
    const struct mc_coupling *c;
    struct mc_gates gates;
    struct mc_influence_graph g;
    struct mc_score score;
    struct mc_influence_plan plan;
    bool fisher;
    int labels; /* the output whose classes are labelled, or -1 */
    /* What a run computes: gradients, then activations. */
    const char **only;
    size_t n_only;
    double *sum; /* [n_units] of squares */
    /* of the batch at hand: */
    const struct mc_array *const *got;
    int copy;
    int64_t samples;
    double *
        row; /* [samples][n_units] a dL/da of each sample, then one row for what is not told apart by sample */
    bool *mixed; /* [n_units] has something in that row */
};

static int no_memory(struct mc_err *err)
{
    return mc_fail(err, MC_ENOMEM, "out of memory for the importance of units");
}

/* ---- vectors ---- */

/* Gradient of the cross entropy: p - 1 at the label, or of its logarithm where the output holds probabilities. */
static void label_vector(const struct mc_score_output *o, const struct mc_batch *b, int64_t samples,
                         bool probabilities, float *dst)
{
    for (int64_t s = 0; s < samples; s++) {
        const float *p = o->p + s * o->width;
        int64_t label = b->labels[s];
        bool known = label >= 0 && label < o->width;
        for (int64_t k = 0; k < o->width; k++)
            dst[s * o->width + k] = known && !probabilities ? p[k] - (k == label) : 0;
        if (known && probabilities)
            dst[s * o->width + label] = -1 / fmaxf(p[label], 1e-6f);
    }
}

/* Each sample has a sign of its own: squares of sums over samples are then sums of squares on the average, without the
 * gradient of every sample by itself. */
static void vector(void *self, int64_t k, const struct mc_batch *b, int64_t first,
                   float *const *dst)
{
    struct gradient *r = self;
    int64_t samples = r->score.samples;
    if (r->labels < 0)
        mc_score_vector(&r->score, k, r->plan.vectors, first, dst);
    for (size_t i = 0; i < r->score.n; i++) {
        const struct mc_score_output *o = &r->score.out[i];
        size_t row = (size_t)o->width;
        if (r->labels >= 0)
            memset(dst[i], 0, (size_t)samples * row * sizeof **dst);
        if (r->labels == (int)i)
            label_vector(o, b, samples, mc_node_is(o->value->producer, "Softmax"), dst[i]);
        for (int64_t s = 0; s < samples; s++) {
            uint32_t w[4];
            mc_rng_words(r->ctx->seed, 1 + (uint64_t)k, (uint64_t)(first + s), w);
            for (size_t j = 0; w[0] & 1 && j < row; j++)
                dst[i][(size_t)s * row + j] *= -1;
        }
    }
}

/* The output that labels are of: the one that counts, or the first with class scores. */
static int labelled(const struct gradient *r, const struct mc_dataset *data)
{
    for (size_t i = 0; data->has_labels && i < r->score.n; i++) {
        const struct mc_score_output *o = &r->score.out[i];
        if (o->p && (!r->ctx->output || !strcmp(r->ctx->output, o->value->name)))
            return (int)i;
    }
    return -1;
}

/* ---- taylor ---- */

/* Where the elements of one sample are in [outer, n, inner]. */
struct part {
    int64_t n, inner, outer;
    int64_t high, step,
        low; /* elements of a sample: (q, s, t) of [high, step, low] outside or inside of n */
    bool outside, told; /* told: samples are told apart */
};

static struct part part_of(const struct mc_gate *gate, const struct mc_array *a, int64_t samples)
{
    int axis = gate->end->axis, b = gate->batch_axis, rank = a->shape.rank;
    struct part p = {.n = gate->end->n,
                     .outer = mc_shape_span(&a->shape, 0, axis),
                     .inner = mc_shape_span(&a->shape, axis + 1, rank)};
    if (b < 0 && axis > 0 &&
        a->shape.dim[0] % samples == 0) { /* batches are cut along the first axis */
        p.high = 1;
        p.step = samples;
        p.low = p.outer / samples;
        p.outside = p.told = true;
    } else if (b >= 0 && b != axis && a->shape.dim[b] == samples) {
        p.outside = b < axis;
        p.high = mc_shape_span(&a->shape, p.outside ? 0 : axis + 1, b);
        p.step = samples;
        p.low = mc_shape_span(&a->shape, b + 1, p.outside ? axis : rank);
        p.told = true;
    }
    return p;
}

/* Sum of a dL/da of position i over the elements of a sample. */
static double product(const struct part *p, int64_t i, int64_t s, const float *a, const float *g)
{
    double sum = 0;
    for (int64_t q = 0; q < p->high; q++)
        for (int64_t t = 0; t < p->low; t++) {
            int64_t at = (q * p->step + s) * p->low + t;
            if (!p->outside) {
                for (int64_t o = 0; o < p->outer; o++) {
                    int64_t e = (o * p->n + i) * p->inner + at;
                    sum += (double)a[e] * g[e];
                }
                continue;
            }
            int64_t e = (at * p->n + i) * p->inner;
            for (int64_t k = 0; k < p->inner; k++)
                sum += (double)a[e + k] * g[e + k];
        }
    return sum;
}

/* The same over all of it. */
static double product_all(const struct part *p, int64_t i, const float *a, const float *g)
{
    double sum = 0;
    for (int64_t o = 0; o < p->outer; o++)
        for (int64_t k = 0; k < p->inner; k++) {
            int64_t e = (o * p->n + i) * p->inner + k;
            sum += (double)a[e] * g[e];
        }
    return sum;
}

/* Chunk s: sample s; the last one: what is not told apart. */
static void fill_row(void *ctx, int64_t s, int worker)
{
    (void)worker;
    struct gradient *r = ctx;
    double *row = r->row + s * r->c->n_units;
    memset(row, 0, (size_t)r->c->n_units * sizeof *row);
    for (size_t i = 0; i < r->gates.n; i++) {
        const struct mc_gate *gate = &r->gates.list[i];
        int at = r->g.grad_of[(size_t)r->copy * r->gates.n + i];
        if (at < 0)
            continue;
        const struct mc_array *g = r->got[at];
        const float *a = gate->act >= 0 ? r->got[gate->act]->data : gate->content;
        struct part p = part_of(gate, g, r->samples);
        if (gate->constant)
            p.told = false;
        if (p.told != (s < r->samples))
            continue;
        for (int64_t k = 0; k < p.n; k++) {
            double x = p.told ? product(&p, k, s, a, g->data) : product_all(&p, k, a, g->data);
            for (int j = 0; j < gate->end->per; j++) {
                int32_t u = gate->end->unit[k * gate->end->per + j];
                if (u >= 0)
                    row[u] += x;
                if (u >= 0 && !p.told)
                    r->mixed[u] = true;
            }
        }
    }
}

static int add_products(struct gradient *r, struct mc_err *err)
{
    for (size_t i = 0; i < r->gates.n; i++) {
        const struct mc_gate *gate = &r->gates.list[i];
        int at = r->g.grad_of[(size_t)r->copy * r->gates.n + i];
        const struct mc_array *g = at >= 0 ? r->got[at] : NULL;
        if (g && (g->dtype != MC_DTYPE_F32 || g->shape.rank <= gate->end->axis ||
                  g->shape.dim[gate->end->axis] != gate->end->n))
            return mc_fail(err, MC_EUNSUP, "the gradient of '%s' is no float32 of its shape",
                           gate->end->v->name);
        if (g && gate->act >= 0 && r->got[gate->act]->bytes != g->bytes)
            return mc_fail(err, MC_EUNSUP, "'%s' is not computed in float32", gate->end->v->name);
    }
    mc_pool_run(r->ctx->pool, r->samples + 1, fill_row, r);
    int64_t units = r->c->n_units;
    const double *rest = r->row + r->samples * units;
    for (int64_t u = 0; u < units; u++) {
        double all = rest[u];
        for (int64_t s = 0; s < r->samples; s++) {
            double x = r->row[s * units + u];
            all += x;
            r->sum[u] += r->mixed[u] ? 0 : x * x;
        }
        r->sum[u] += r->mixed[u] ? all * all : 0;
    }
    return 0;
}

/* ---- fisher ---- */

static void add_square(void *ctx, int64_t i, int worker)
{
    (void)worker;
    struct gradient *r = ctx;
    struct mc_gate *gate = &r->gates.list[i];
    int at = r->g.grad_of[(size_t)r->copy * r->gates.n + (size_t)i];
    if (at < 0 || r->got[at]->dtype != MC_DTYPE_F32)
        return;
    const struct mc_array *a = r->got[at];
    int64_t n = gate->end->n, inner = mc_shape_span(&a->shape, gate->end->axis + 1, a->shape.rank);
    int64_t outer = mc_shape_span(&a->shape, 0, gate->end->axis);
    const float *g = a->data;
    for (int64_t o = 0; o < outer; o++)
        for (int64_t k = 0; k < n; k++)
            for (int64_t j = 0; j < inner; j++) {
                int64_t e = (o * n + k) * inner + j;
                double x = (double)gate->content[e] * g[e];
                gate->square[k] += x * x;
            }
}

static void finish_fisher(struct gradient *r)
{
    for (size_t i = 0; i < r->gates.n; i++) {
        const struct mc_gate *gate = &r->gates.list[i];
        for (int64_t k = 0; k < gate->end->n * gate->end->per; k++)
            if (gate->end->unit[k] >= 0)
                r->sum[gate->end->unit[k]] += gate->square[k / gate->end->per];
    }
}

/* ---- both ---- */

static int add(void *self, const struct mc_array *const *got, int64_t at, int copies, int64_t first,
               int64_t samples, struct mc_err *err)
{
    (void)at;
    (void)first;
    struct gradient *r = self;
    int rc = 0;
    r->got = got;
    if (samples > r->samples && !r->fisher) {
        free(r->row);
        r->row = mc_calloc((size_t)samples + 1, (size_t)r->c->n_units * sizeof *r->row);
        if (!r->row)
            return no_memory(err);
    }
    r->samples = samples;
    for (r->copy = 0; r->copy < copies && !rc; r->copy++)
        if (r->fisher)
            mc_pool_run(r->ctx->pool, (int64_t)r->gates.n, add_square, r);
        else
            rc = add_products(r, err);
    return rc;
}

static int build(struct gradient *r, struct mc_err *err)
{
    struct mc_influence *inf = mc_calloc(r->gates.n + 1, sizeof *inf);
    for (size_t i = 0; inf && i < r->gates.n; i++)
        inf[i].y = r->gates.list[i].value;
    int rc = inf ? mc_influence_graph_build(&r->g, r->gates.model, &r->plan.infer, inf, r->gates.n,
                                            r->plan.copies, err)
                 : no_memory(err);
    free(inf);
    if (!rc && r->g.why)
        rc = mc_fail(err, MC_EUNSUP, "%s", r->g.why);
    if (rc)
        return rc;
    r->only = mc_calloc(r->g.n_only + r->gates.n + 1, sizeof *r->only);
    if (!r->only)
        return no_memory(err);
    memcpy(r->only, r->g.only, r->g.n_only * sizeof *r->only);
    r->n_only = r->g.n_only;
    for (size_t i = 0; i < r->gates.n; i++) {
        struct mc_gate *gate = &r->gates.list[i];
        gate->act = -1;
        if (gate->constant)
            continue;
        gate->act = (int)r->n_only;
        r->only[r->n_only++] = gate->value->name;
    }
    return 0;
}

static int prepare(struct gradient *r, const struct mc_model *m, struct mc_dataset *data,
                   int64_t count, struct mc_err *err)
{
    int rc = r->fisher ? mc_gates_of_weights(r->c, &r->gates, err)
                       : mc_gates_of_ends(r->c, &r->gates, err);
    if (!rc && !r->gates.n)
        return mc_fail(err, MC_EUNSUP,
                       "nothing that is computed in float32 reads what can be removed");
    if (!rc)
        rc = mc_influence_graph_open(m, &r->g, err);
    if (!rc)
        rc = mc_influence_look(&r->g, m, data, r->ctx->pool, r->ctx->seed, count, &r->score, err);
    if (!rc)
        rc = mc_influence_plan_make(&r->score, m, data, count, WORK, &r->plan, err);
    if (rc)
        return rc;
    r->labels = labelled(r, data);
    if (r->labels >= 0)
        r->plan.vectors = 1;
    if (r->labels >= 0 || r->fisher)
        r->plan.copies = 1;
    rc = build(r, err);
    r->mixed = mc_calloc((size_t)r->c->n_units + 1, sizeof *r->mixed);
    return rc || r->mixed ? rc : no_memory(err);
}

static void release(struct gradient *r)
{
    mc_score_free(&r->score);
    mc_influence_plan_free(&r->plan);
    mc_influence_graph_free(&r->g);
    mc_gates_free(&r->gates);
    free(r->only);
    free(r->row);
    free(r->mixed);
}

/* Half the expected square is the second order of the KL divergence in nats: of all changes to nothing of one gate on
 * what consumers read (taylor), of all changes to nothing of the weights one by one (fisher).
 * Source: Molchanov et al., Importance Estimation for Neural Network Pruning, CVPR 2019, eq. (8) on gates. Without labels
 * gradients are those of the root of the Fisher information of the model's own outputs (influence_score.h). */
int mc_importance_gradient(const struct mc_pass_ctx *ctx, const struct mc_model *m,
                           const struct mc_coupling *c, struct mc_dataset *data, int64_t count,
                           struct mc_importance *ret, struct mc_err *err)
{
    struct gradient r = {
        .ctx = ctx, .c = c, .fisher = ret->kind == MC_IMPORTANCE_FISHER, .sum = ret->score};
    int64_t done = 0;
    int rc = prepare(&r, m, data, count, err);
    size_t most = ROW_BYTES / (sizeof(double) * ((size_t)c->n_units + 1));
    struct mc_influence_run run = {.g = &r.g,
                                   .score = &r.score,
                                   .pool = ctx->pool,
                                   .progress = ctx->progress,
                                   .what = "importance",
                                   .samples = r.plan.samples,
                                   .vectors = r.plan.vectors,
                                   .most = r.fisher ? FISHER_BATCH
                                           : most   ? (int64_t)most
                                                    : 1,
                                   .only = r.only,
                                   .n_only = r.n_only,
                                   .self = &r,
                                   .vector = vector,
                                   .add = add};
    if (!rc)
        rc = mc_influence_run(&run, m, data, &done, err);
    if (!rc && !done)
        rc = mc_fail(err, MC_EDATA, "'%s': no samples", data->spec);
    if (!rc && r.fisher)
        finish_fisher(&r);
    for (int32_t u = 0; !rc && u < c->n_units; u++) {
        ret->score[u] /= 2 * (double)done;
        if (!isfinite(ret->score[u]))
            rc = mc_fail(err, MC_EDATA, "gradients become NaN or infinite on these samples");
    }
    ret->nats = true;
    ret->samples = done;
    release(&r);
    return rc;
}
