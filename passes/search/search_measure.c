#include "passes/search/search_measure.h"

#include <math.h>
#include <stdlib.h>

#include "base/io.h"
#include "graph/run/observe.h"
#include "passes/search/search_keep.h"

static int no_memory(struct mc_err *err)
{
    return mc_fail(err, MC_ENOMEM, "out of memory");
}

int64_t mc_judge_samples(const struct mc_judge *j)
{
    return j->samples;
}

size_t mc_judge_runs(const struct mc_judge *j)
{
    return j->runs;
}

static bool is_labelled(const struct mc_judge *j)
{
    return j->n_labelled * 2 > j->samples;
}

const char *mc_judge_metric(const struct mc_judge *j)
{
    size_t scores = 0;
    for (size_t o = 0; o < j->n_outputs; o++)
        scores += j->output[o].classes;
    return scores == j->n_outputs ? "KL divergence in nats"
           : scores == 0          ? "squared error over variance"
                                  : "KL plus squared error over variance";
}

/* ---- a model ---- */

struct trial {
    struct mc_judge *j;
    size_t at;      /* batch */
    int64_t sample; /* first of it */
    float *each, *row;
    int64_t room, changed, plus, minus;
    bool may_stop, late;
    struct mc_agreement *agree; /* [n_outputs] */
};

static int load(struct trial *t, const struct mc_array *a, int64_t count, struct mc_err *err)
{
    if (count > t->room) {
        float *row = mc_realloc(t->row, (size_t)count, sizeof *row);
        if (!row)
            return no_memory(err);
        t->row = row;
        t->room = count;
    }
    return mc_dtype_to_f32(a->dtype, a->data, t->row, (size_t)count, err);
}

static double variance(const struct mc_kept_output *o)
{
    double mean = o->sum / o->count, v = o->square / o->count - mean * mean;
    return v > 1e-12 * o->square / o->count ? v : fmax(o->square / o->count, 1e-30);
}

static double distance(const struct mc_kept_output *o, const float *a, const float *b, int64_t n)
{
    if (o->classes)
        return mc_scores_divergence(o->scores, a, b, n);
    return n ? mc_scores_square(a, b, n) / variance(o) / (double)n : 0;
}

static void count_decision(struct trial *t, int64_t sample, const float *z, int64_t n)
{
    int was = t->j->decision[sample], is = mc_scores_decision(z, n);
    int64_t label = t->j->label[sample];
    t->changed += is != was;
    t->plus += label >= 0 && was == label && is != label;
    t->minus += label >= 0 && was != label && is == label;
}

static int compare(struct trial *t, size_t o, const struct mc_array *a, struct mc_err *err)
{
    struct mc_judge *j = t->j;
    const struct mc_kept *b = &j->batch[t->at];
    const struct mc_kept_output *out = &j->output[o];
    int64_t width = b->width[o], rows = b->rows[o];
    if (mc_shape_count(&a->shape) != rows * width)
        return mc_fail(err, MC_ESHAPE, "output '%s' has another shape than before", out->name);
    int rc = load(t, a, rows * width, err);
    for (int64_t i = 0; !rc && i < rows; i++) {
        if (o == j->counting && j->decides)
            count_decision(t, t->sample + i, t->row + i * width, width);
        mc_kept_normalise(out, t->row + i * width, 1, width);
        double d = distance(out, b->row[o] + i * width, t->row + i * width, width);
        for (int64_t k = 0; k < b->n; k++) /* without a batch axis all of its samples share it */
            if (rows == b->n ? k == i : true)
                t->each[t->sample + k] += (float)d;
    }
    if (!rc)
        mc_agreement_add(&out->agree, &t->agree[o], &a->shape, rows != b->n, b->row[o], t->row);
    return rc;
}

static int judge_batch(void *ctx, const struct mc_array *const *values, int64_t first,
                       const struct mc_batch *from, struct mc_err *err)
{
    struct trial *t = ctx;
    (void)first;
    if (t->may_stop && t->j->ctx->deadline > 0 && mc_now() > t->j->ctx->deadline) {
        t->late = true;
        return MC_EFAIL;
    }
    if (t->at >= t->j->n_batches || from->n != t->j->batch[t->at].n)
        return mc_fail(err, MC_ESHAPE, "the model takes other batches than before");
    for (size_t o = 0; o < t->j->n_outputs; o++) {
        int rc = compare(t, o, values[o], err);
        if (rc)
            return rc;
    }
    t->sample += from->n;
    t->at++;
    return 0;
}

static void conclude_outputs(const struct trial *t, struct mc_judgement *ret)
{
    ret->agreement = ret->kl = ret->noise = NAN;
    for (size_t o = 0; o < t->j->n_outputs; o++) {
        const struct mc_agreement *g = &t->agree[o];
        double noise = mc_agreement_noise(&t->j->output[o].agree, g);
        if (g->samples > 0) {
            ret->agreement =
                fmin(g->agree / g->samples, isnan(ret->agreement) ? 1 : ret->agreement);
            ret->kl = fmax(g->broken ? INFINITY : g->kl / g->samples, isnan(ret->kl) ? 0 : ret->kl);
        }
        if (isnan(noise) || noise <= ret->noise)
            continue;
        ret->noise = noise;
        ret->numbers = 0;
        for (int64_t c = 0; c < t->j->output[o].agree.channels; c++)
            ret->numbers += g->count[c];
    }
}

static void conclude(const struct trial *t, struct mc_judgement *ret)
{
    const struct mc_judge *j = t->j;
    double n = (double)j->samples, labelled = (double)j->n_labelled;
    *ret = (struct mc_judgement){.each = t->each, .changed = NAN, .lost = NAN, .lost_se = NAN};
    for (int64_t i = 0; i < j->samples; i++)
        ret->divergence += t->each[i];
    ret->divergence /= n;
    conclude_outputs(t, ret);
    if (j->decides)
        ret->changed = (double)t->changed / n;
    if (!j->decides || !is_labelled(j))
        return;
    double plus = (double)t->plus, minus = (double)t->minus, mean = (plus - minus) / labelled;
    ret->lost = mean;
    ret->lost_se = sqrt(((plus + minus + 2) / labelled - mean * mean) / labelled);
}

int mc_judge_model(struct mc_judge *j, const struct mc_model *m, bool may_stop,
                   struct mc_judgement *ret, bool *ret_late, struct mc_err *err)
{
    struct trial t = {.j = j, .may_stop = may_stop};
    struct mc_observe_opts o = {.pool = j->ctx->pool, .count = j->samples, .batch = j->batch_size};
    t.each = mc_calloc((size_t)j->samples, sizeof *t.each);
    t.agree = mc_calloc(j->n_outputs, sizeof *t.agree);
    int rc = t.each && t.agree ? 0 : no_memory(err);
    for (size_t i = 0; !rc && i < j->n_outputs; i++)
        rc = mc_agreement_init(&j->output[i].agree, &t.agree[i], err);
    if (!rc)
        rc = mc_observe(m->graph, j->data, j->names, j->n_outputs, &o, judge_batch, &t, NULL, err);
    free(t.row);
    *ret_late = t.late;
    if (!rc && !t.late) {
        j->runs++;
        conclude(&t, ret);
    } else {
        free(t.each);
    }
    for (size_t i = 0; t.agree && i < j->n_outputs; i++)
        mc_agreement_free(&t.agree[i]);
    free(t.agree);
    return t.late ? 0 : rc;
}

void mc_judgement_free(struct mc_judgement *m)
{
    free(m->each);
    *m = (struct mc_judgement){0};
}

void mc_judgement_difference(const struct mc_judge *j, const struct mc_judgement *a,
                             const struct mc_judgement *b, double *ret_mean, double *ret_se)
{
    double n = (double)j->samples, sum = 0, square = 0;
    for (int64_t i = 0; i < j->samples; i++) {
        double d = (double)a->each[i] - b->each[i];
        sum += d;
        square += d * d;
    }
    double mean = sum / n;
    *ret_mean = mean;
    *ret_se = sqrt(fmax(0, square / n - mean * mean) / n);
}
