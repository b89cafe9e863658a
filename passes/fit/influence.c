#include "passes/fit/influence.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/interrupt.h"
#include "base/rng.h"
#include "graph/run/observe.h"
#include "passes/fit/influence_back.h"
#include "passes/fit/influence_cut.h"
#include "passes/fit/influence_gather.h"
#include "passes/fit/influence_score.h"

enum { BATCH = 64 };
enum { FULL_SAMPLES = 32 }; /* fewer are not worth a matrix */
enum { MEAN_PROBES = 2, MEAN_SAMPLES = 8, UNKNOWN_SAMPLES = 16 };

/* How far a channel is moved, beside the value's root mean square: as far as a truncation moves it, well
 * above rounding. */
static const float STEP = 0.1f;

struct probe {
    struct mc_influence *inf;
    const struct mc_influence_opts *opts;
    struct mc_linalg *la;
    struct mc_cut cut;
    struct mc_session *session; /* NULL: no outputs but the value itself */
    struct mc_score score;
    const struct mc_array **results; /* [score.n] */
    struct mc_array *inputs;         /* [cut.n]; [0] is a copy of the value, moved about */
    struct mc_array moved;
    int64_t outer, inner; /* element (o, channel, i) */
    int64_t batch;        /* samples of the first batch; others are left out */
    float step;
    double sum; /* of squared lengths, where only the mean is measured */
};

static int no_memory(struct mc_err *err)
{
    return mc_fail(err, MC_ENOMEM, "out of memory");
}

/* ---- one batch ---- */

static float sign(const struct probe *p, int64_t first, int64_t i, uint64_t stream)
{
    uint32_t w[4];
    uint64_t at = (uint64_t)first * 1000003u + (uint64_t)i / 128;
    mc_rng_words(p->opts->seed, stream, at, w);
    return w[i / 32 % 4] >> (i % 32) & 1 ? 1 : -1;
}

static int run(struct probe *p, struct mc_err *err)
{
    int rc = mc_interrupt_check(err);
    if (!rc && p->session)
        rc = mc_session_run(p->session, p->inputs, (int)p->cut.n, err);
    for (size_t i = 0; !rc && i < p->cut.n_outputs; i++)
        p->results[i] = mc_session_output(p->session, (int)i);
    if (p->cut.whole)
        p->results[p->cut.n_outputs] = &p->inputs[0];
    return rc;
}

static int take_batch(struct probe *p, const struct mc_array *const *values, struct mc_err *err)
{
    const struct mc_array *y = values[0];
    if (y->dtype != MC_DTYPE_F32)
        return mc_fail(err, MC_EUNSUP, "'%s' is not computed in float32", y->name);
    int64_t count = mc_shape_count(&y->shape);
    p->inner = p->inf->axis < 0 ? 1 : mc_shape_span(&y->shape, p->inf->axis + 1, y->shape.rank);
    p->outer = p->inner > 0 ? count / p->inf->m / p->inner : 0;
    if (p->outer == 0)
        return mc_fail(err, MC_EDATA, "'%s' is empty", y->name);
    if (y->bytes > p->moved.bytes) {
        free(p->moved.data);
        p->moved.data = mc_alloc_aligned(y->bytes);
        p->moved.bytes = p->moved.data ? y->bytes : 0;
        if (!p->moved.data)
            return no_memory(err);
    }
    memcpy(p->moved.data, y->data, y->bytes);
    for (size_t i = 0; i < p->cut.n; i++) {
        p->inputs[i] = *values[i];
        p->inputs[i].name = p->cut.to[i];
    }
    p->inputs[0].data = p->moved.data;
    if (p->step > 0)
        return 0;
    double square = 0;
    for (int64_t i = 0; i < count; i++)
        square += (double)((const float *)y->data)[i] * ((const float *)y->data)[i];
    p->step = STEP * (float)sqrt(square / (double)count);
    if (!(p->step > 1e-20f))
        p->step = 1e-3f;
    return 0;
}

/* Channel c, or with c < 0 every element by a sign of its own, moved by the step, or back: from y. */
static void move(struct probe *p, const float *y, int64_t first, int64_t c, uint64_t stream)
{
    float *x = p->moved.data;
    int64_t m = p->inf->m;
    for (int64_t o = 0; c < 0 && o < p->outer * m * p->inner; o++)
        x[o] = y[o] + p->step * sign(p, first, o, stream);
    for (int64_t o = 0; c >= 0 && o < p->outer; o++)
        for (int64_t i = 0; i < p->inner; i++) {
            int64_t at = (o * m + c) * p->inner + i;
            x[at] = y[at] + p->step * sign(p, first, o * p->inner + i, stream);
        }
}

static void move_back(struct probe *p, const float *y, int64_t c)
{
    float *x = p->moved.data;
    for (int64_t o = 0; o < p->outer; o++)
        memcpy(x + (o * p->inf->m + c) * p->inner, y + (o * p->inf->m + c) * p->inner,
               (size_t)p->inner * sizeof *x);
}

/* All channels one by one: the columns of J, weighed, are added to the cost. */
static int add_cost(struct probe *p, const float *y, int64_t first, struct mc_err *err)
{
    int64_t m = p->inf->m, k = p->score.samples * p->score.width;
    float *j = mc_calloc((size_t)k, (size_t)m * sizeof *j);
    int rc = j ? 0 : no_memory(err);
    for (int64_t c = 0; !rc && c < m; c++) {
        move(p, y, first, c, 1);
        rc = run(p, err);
        if (!rc)
            rc = mc_score_change(&p->score, p->results, p->step, j + c, m, err);
        move_back(p, y, c);
    }
    if (!rc)
        rc =
            mc_linalg_syrk(p->la, m, k, 1, j, m, 1, mc_storage_data(p->inf->cost->storage), m, err);
    free(j);
    return rc;
}

static int add_mean(struct probe *p, const float *y, int64_t first, struct mc_err *err)
{
    int64_t k = p->score.samples * p->score.width;
    float *j = mc_calloc((size_t)k, sizeof *j);
    int rc = j ? 0 : no_memory(err);
    for (uint64_t s = 0; !rc && s < MEAN_PROBES; s++) {
        move(p, y, first, -1, 1 + s);
        rc = run(p, err);
        if (!rc)
            rc = mc_score_change(&p->score, p->results, p->step, j, 1, err);
        for (int64_t i = 0; !rc && i < k; i++)
            p->sum += (double)j[i] * j[i] / MEAN_PROBES;
    }
    free(j);
    return rc;
}

static int batch(void *ctx, const struct mc_array *const *values, int64_t first,
                 const struct mc_batch *b, struct mc_err *err)
{
    struct probe *p = ctx;
    if (!p->batch)
        p->batch = b->n;
    if (b->n != p->batch) /* a frozen batch cannot run short */
        return 0;
    int rc = take_batch(p, values, err);
    if (!rc)
        rc = run(p, err);
    if (!rc)
        rc = mc_score_base(&p->score, p->results, b->n, err);
    if (rc)
        return rc;
    const float *y = values[0]->data;
    rc = p->inf->cost ? add_cost(p, y, first, err) : add_mean(p, y, first, err);
    p->inf->samples += p->score.samples;
    return rc;
}

/* ---- one value ---- */

/* How many samples, and whether channel by channel. */
static int64_t choose(const struct probe *p, bool *ret_full)
{
    double work = p->cut.work, most = (double)p->opts->samples;
    double full = work < 0 ? 0 : fmin(most, p->opts->work / fmax(1, work * (double)p->inf->m));
    *ret_full = full >= fmin(FULL_SAMPLES, most);
    double n = *ret_full ? full : work < 0 ? UNKNOWN_SAMPLES : p->opts->work / (MEAN_PROBES * work);
    return (int64_t)fmax(1, fmin(most, fmax(n, MEAN_SAMPLES)));
}

static int open_probe(struct probe *p, const struct mc_model *m, struct mc_err *err)
{
    int rc = mc_cut_behind(m, p->inf->y, &p->cut, err);
    if (rc)
        return rc;
    size_t n = p->cut.n_outputs + p->cut.whole;
    if (n == 0)
        return 0;
    if (p->cut.whole)
        p->cut.output_of[p->cut.n_outputs] = p->inf->y;
    p->results = mc_calloc(n, sizeof *p->results);
    p->inputs = mc_calloc(p->cut.n, sizeof *p->inputs);
    if (!p->results || !p->inputs)
        return no_memory(err);
    rc = mc_score_new(p->cut.output_of, n, p->opts->seed, &p->score, err);
    struct mc_session_opts so = {
        .pool = p->opts->pool, .only = p->cut.outputs, .n_only = p->cut.n_outputs};
    if (!rc && p->cut.n_outputs)
        rc = mc_session_new(p->cut.model->graph, &so, &p->session, err);
    return rc;
}

static void close_probe(struct probe *p)
{
    mc_session_free(p->session);
    mc_score_free(&p->score);
    free(p->results);
    free(p->inputs);
    free(p->moved.data);
    mc_cut_free(&p->cut);
}

static int measure(const struct mc_model *m, struct mc_dataset *data, struct probe *p,
                   struct mc_err *err)
{
    int rc = open_probe(p, m, err);
    if (rc || p->score.n == 0)
        return rc;
    bool full;
    int64_t samples = choose(p, &full);
    struct mc_shape shape = mc_shape_of(2, (int64_t[]){p->inf->m, p->inf->m});
    if (full)
        rc = mc_tensor_new(MC_DTYPE_F32, &shape, p->opts->spill, &p->inf->cost, NULL, err);
    struct mc_observe_opts run_opts = {.pool = p->opts->pool, .count = samples, .batch = BATCH};
    if (!rc)
        rc = mc_observe(m->graph, data, p->cut.from, p->cut.n, &run_opts, batch, p, NULL, err);
    if (rc == MC_EDATA)
        return mc_fail(err, rc, "influence of '%s' on the outputs: %s", p->inf->y->name, err->msg);
    if (!rc)
        mc_influence_finish(p->inf, p->sum);
    return rc;
}

/* By gradients, or whatever keeps them from running, by differences. */
static int by_gradients(const struct mc_model *m, struct mc_dataset *data, struct mc_linalg *la,
                        struct mc_influence *inf, size_t n, const struct mc_influence_opts *opts,
                        struct mc_err *err)
{
    struct mc_err why;
    int rc = mc_influence_back(m, data, la, inf, n, opts, &why);
    if (rc == MC_ENOMEM || rc == MC_EINTR || rc == MC_EIO)
        return mc_fail(err, rc, "%s", why.msg);
    return 0;
}

int mc_influence_measure(const struct mc_model *m, struct mc_dataset *data, struct mc_linalg *la,
                         struct mc_influence *inf, size_t n, const struct mc_influence_opts *opts,
                         struct mc_err *err)
{
    int rc = n && !opts->differences ? by_gradients(m, data, la, inf, n, opts, err) : 0;
    for (size_t i = 0; !rc && i < n; i++) {
        if (inf[i].samples)
            continue;
        struct probe p = {.inf = &inf[i], .opts = opts, .la = la};
        mc_progress_tell(opts->progress, "influence on the outputs", (double)i, (double)n);
        rc = measure(m, data, &p, err);
        close_probe(&p);
    }
    return rc;
}
