#include "passes/fit/influence_run.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/interrupt.h"
#include "graph/run/observe.h"
#include "passes/fit/influence_cut.h"

enum { BATCH = 64, SMALL_BATCH = 16, LEAST_SAMPLES = 16, UNKNOWN_SAMPLES = 128 };
enum { MOST_COPIES = 4 }; /* gradients in one run; each needs memory of its own */

/* Vectors a sample: at 1/4 and 1/8 of the bytes of the reference models' 512 samples 4 give the accuracy of all 10,
 * 1 is a little behind. With fewer samples as many as make the same number of gradients. */
enum { VECTORS = 4, MOST_VECTORS = 16, GRADIENTS = 2048 };

/* Values of a run that live at once. Batches of 16 take a tenth longer than 64 for vit, at 57 instead of 159 MB. */
static const size_t SMALL_BYTES = (size_t)16 << 20, RUN_BYTES = (size_t)256 << 20;

static int no_memory(struct mc_err *err)
{
    return mc_fail(err, MC_ENOMEM, "out of memory for the influence of layers");
}

/* ---- what is asked for ---- */

struct look {
    const struct mc_influence_graph *g;
    struct mc_score *score;
};

static int look(void *ctx, const struct mc_array *const *values, int64_t first,
                const struct mc_batch *b, struct mc_err *err)
{
    (void)first;
    struct look *k = ctx;
    for (size_t i = 0; i < k->g->n_out; i++)
        if (values[i]->dtype != MC_DTYPE_F32)
            return mc_fail(err, MC_EUNSUP, "'%s' is not computed in float32", values[i]->name);
    return mc_score_base(k->score, values, b->n, err);
}

int mc_influence_look(const struct mc_influence_graph *g, const struct mc_model *m,
                      struct mc_dataset *data, struct mc_pool *pool, uint64_t seed, int64_t most,
                      struct mc_score *ret, struct mc_err *err)
{
    struct look k = {g, ret};
    int rc = mc_score_new(g->out, g->n_out, seed, ret, err);
    struct mc_observe_opts o = {.pool = pool,
                                .count = most < MC_SCORE_SAMPLES ? most : MC_SCORE_SAMPLES};
    return rc ? rc
              : mc_observe(m->graph, data, g->names + g->n_in, g->n_out, &o, look, &k, NULL, err);
}

/* All samples before more than one vector each: samples differ more than directions do. `work` of one sample
 * forward is done twice, once to know the outputs, and about as much for each vector. */
static void choose(const struct mc_score *score, double most, double work, double limit,
                   struct mc_influence_plan *p)
{
    double rank = (double)mc_score_roots(score);
    double samples = work < 0 ? UNKNOWN_SAMPLES : limit / (3 * fmax(1, work));
    samples = fmin(most, fmax(samples, LEAST_SAMPLES));
    double vectors = fmin(rank > 0 ? rank : MOST_VECTORS, fmax(VECTORS, GRADIENTS / samples));
    double can = work < 0 ? 1 : limit / (fmax(1, work) * samples) - 2;
    p->samples = (int64_t)samples;
    p->vectors = (int64_t)fmax(1, fmin(vectors, can));
}

/* Types of inputs from the first sample, where all samples are alike, as train/ does it. */
static int infer_opts(const struct mc_batch *one, const struct mc_dataset *data, int64_t batch,
                      struct mc_infer_input **ret_inputs, struct mc_infer_opts *ret,
                      struct mc_err *err)
{
    *ret = (struct mc_infer_opts){0};
    *ret_inputs = mc_calloc((size_t)one->n_arrays + 1, sizeof **ret_inputs);
    if (!*ret_inputs)
        return no_memory(err);
    bool alike = !data->class->group && !data->whole;
    for (int i = 0; alike && i < one->n_arrays; i++) {
        const struct mc_array *a = &one->arrays[i];
        (*ret_inputs)[i] = (struct mc_infer_input){a->name, MC_DTYPE_NONE, a->shape};
        (*ret_inputs)[i].shape.dim[0] = batch;
    }
    *ret = (struct mc_infer_opts){.inputs = *ret_inputs,
                                  .n_inputs = alike ? (size_t)one->n_arrays : 0};
    return 0;
}

int mc_influence_plan_make(const struct mc_score *score, const struct mc_model *m,
                           struct mc_dataset *data, int64_t most_samples, double limit,
                           struct mc_influence_plan *ret, struct mc_err *err)
{
    struct mc_batch *one = NULL;
    struct mc_influence_plan p = {0};
    double work = -1;
    int rc = mc_dataset_range(data, 0, 1, &one, err);
    if (!rc)
        rc = infer_opts(one, data, 1, &p.inputs, &p.infer, err);
    if (!rc)
        rc = mc_cut_work(m->graph, &p.infer, &work, err);
    if (!rc)
        choose(score, (double)most_samples, work, limit, &p);
    for (size_t i = 0; !rc && i < p.infer.n_inputs; i++)
        p.inputs[i].shape.dim[0] = MC_DIM_ANY;
    int64_t runs = (p.vectors + MOST_COPIES - 1) / MOST_COPIES;
    p.copies = runs ? (int)((p.vectors + runs - 1) / runs) : 0;
    mc_batch_free(one);
    *ret = p;
    return rc;
}

void mc_influence_plan_free(struct mc_influence_plan *p)
{
    free(p->inputs);
    *p = (struct mc_influence_plan){0};
}

struct back {
    const struct mc_influence_run *r;
    struct mc_influence_graph *g;
    struct mc_session *session;
    int64_t batch, done;
    struct mc_array *inputs; /* [g.n_in + g.n_d] */
    float **v;               /* [g.n_d] memory of those that are gradients */
    const struct mc_array **got;
};

/* ---- batches ---- */

/* Inputs as observed, and room for gradients of outputs. */
static int take_inputs(struct back *k, const struct mc_array *const *values, struct mc_err *err)
{
    size_t n_in = k->g->n_in, n_out = k->g->n_out;
    for (size_t i = 0; i < n_in; i++) {
        k->inputs[i] = *values[i];
        k->inputs[i].name = k->g->names[i];
    }
    for (size_t i = 0; i < k->g->n_d; i++) {
        const struct mc_array *like = values[n_in + i % n_out];
        struct mc_array *a = &k->inputs[n_in + i];
        if (!k->v[i] || like->bytes > a->bytes) {
            free(k->v[i]);
            k->v[i] = mc_alloc_aligned(like->bytes);
            if (!k->v[i])
                return no_memory(err);
        }
        *a = *like;
        a->name = k->g->d[i];
        a->data = k->v[i];
    }
    return 0;
}

/* A batch that is frozen does not run short: those samples are left out. */
static bool is_short(const struct back *k, const struct mc_batch *b)
{
    for (int i = 0; i < mc_session_n_inputs(k->session); i++) {
        const struct mc_array *in = mc_session_input(k->session, i);
        if (in->shape.rank > 0 && in->shape.dim[0] > b->n)
            return true;
    }
    return false;
}

/* As many copies at once as there are; the last time some may be left over. */
static int carry_back(struct back *k, const struct mc_batch *b, int64_t at, struct mc_err *err)
{
    const struct mc_influence_run *r = k->r;
    int copies = 0;
    for (int c = 0; c < k->g->copies; c++) {
        float **v = k->v + (size_t)c * k->g->n_out;
        if (at + c < r->vectors) {
            if (r->vector)
                r->vector(r->self, at + c, b, k->done, v);
            else
                mc_score_vector(r->score, at + c, r->vectors, k->done, v);
            copies++;
        }
        for (size_t i = 0; at + c >= r->vectors && i < k->g->n_out; i++)
            memset(v[i], 0, k->inputs[k->g->n_in + i].bytes);
    }
    int rc = mc_interrupt_check(err);
    if (!rc)
        rc = mc_session_run(k->session, k->inputs, (int)(k->g->n_in + k->g->n_d), err);
    for (size_t i = 0; i < r->n_only && !rc; i++)
        k->got[i] = mc_session_output(k->session, (int)i);
    if (!rc)
        rc = r->add(r->self, k->got, at, copies, k->done, r->score->samples, err);
    return rc;
}

static int batch(void *ctx, const struct mc_array *const *values, int64_t first,
                 const struct mc_batch *b, struct mc_err *err)
{
    (void)first;
    struct back *k = ctx;
    if (!b->n || (b->n < k->batch && is_short(k, b)))
        return 0;
    int rc = take_inputs(k, values, err);
    if (!rc)
        rc = mc_score_base(k->r->score, values + k->g->n_in, b->n, err);
    for (int64_t at = 0; at < k->r->vectors && !rc; at += k->g->copies)
        rc = carry_back(k, b, at, err);
    k->done += k->r->score->samples;
    return rc;
}

/* How many samples fit in a run; where that cannot be told, the model has its own mind about it. */
static int measure_batch(void *ctx, const struct mc_array *const *values, int64_t first,
                         const struct mc_batch *b, struct mc_err *err)
{
    (void)first;
    struct back *k = ctx;
    struct mc_session_stats s;
    size_t bytes = 0;
    int rc = take_inputs(k, values, err);
    if (!rc)
        rc = mc_session_peak(k->session, k->inputs, (int)(k->g->n_in + k->g->n_d), &bytes, err);
    if (rc)
        return rc == MC_ENOMEM ? rc : 0;
    mc_session_stats(k->session, &s);
    size_t one = (bytes > s.packed_bytes ? bytes - s.packed_bytes : 0) / (size_t)b->n + 1;
    while (k->batch > SMALL_BATCH && (size_t)k->batch > SMALL_BYTES / one)
        k->batch /= 2;
    while (k->batch > 1 && (size_t)k->batch > RUN_BYTES / one)
        k->batch /= 2;
    return 0;
}

static int run(struct back *k, const struct mc_model *m, struct mc_dataset *data,
               struct mc_err *err)
{
    const struct mc_influence_run *r = k->r;
    size_t names = k->g->n_in + k->g->n_out;
    struct mc_session_opts so = {.pool = r->pool, .only = r->only, .n_only = r->n_only};
    k->inputs = mc_calloc(k->g->n_in + k->g->n_d, sizeof *k->inputs);
    k->v = mc_calloc(k->g->n_d, sizeof *k->v);
    k->got = mc_calloc(r->n_only, sizeof *k->got);
    int rc = k->inputs && k->v && k->got ? 0 : no_memory(err);
    if (!rc)
        rc = mc_session_new(k->g->model->graph, &so, &k->session, err);
    k->batch = r->most && r->most < BATCH ? r->most : BATCH;
    struct mc_observe_opts o = {.pool = r->pool, .count = 1, .batch = 1};
    if (!rc)
        rc = mc_observe(m->graph, data, k->g->names, names, &o, measure_batch, k, NULL, err);
    o = (struct mc_observe_opts){.pool = r->pool,
                                 .progress = r->progress,
                                 .what = r->what,
                                 .count = r->samples,
                                 .batch = k->batch};
    return rc ? rc : mc_observe(m->graph, data, k->g->names, names, &o, batch, k, NULL, err);
}

int mc_influence_run(const struct mc_influence_run *r, const struct mc_model *m,
                     struct mc_dataset *data, int64_t *ret_samples, struct mc_err *err)
{
    struct back k = {.r = r, .g = r->g};
    int rc = run(&k, m, data, err);
    *ret_samples = k.done;
    mc_session_free(k.session);
    for (size_t i = 0; k.v && i < k.g->n_d; i++)
        free(k.v[i]);
    free(k.v);
    free(k.inputs);
    free(k.got);
    return rc;
}
