#include "passes/search/search_score.h"

#include <math.h>

/* Probabilities below count as this: what float32 leaves of smaller ones is noise, and a zero would be infinitely far. */
static const double TINY = 1e-9;

enum mc_score_of mc_scores_of(const struct mc_value *output)
{
    static const struct {
        const char *op;
        enum mc_score_of of;
    } ends[] = {{"Softmax", MC_SCORES_PROBABILITIES},
                {"LogSoftmax", MC_SCORES_LOGS},
                {"Sigmoid", MC_SCORES_SIGMOIDS}};
    for (size_t i = 0; output->producer && i < 3; i++)
        if (mc_node_is(output->producer, ends[i].op))
            return ends[i].of;
    return MC_SCORES_LOGITS;
}

bool mc_scores_are_classes(const struct mc_array *a, int64_t n, bool whole)
{
    int wide = 0;
    if (mc_dtype_info(a->dtype)->kind != MC_KIND_FLOAT || a->shape.rank < 1 ||
        (!whole && a->shape.dim[0] != n))
        return false;
    for (int i = !whole; i < a->shape.rank; i++)
        wide += a->shape.dim[i] > 1;
    return wide == 1 && mc_shape_count(&a->shape) > 0;
}

static void log_softmax(float *z, int64_t n)
{
    double top = z[0], sum = 0;
    for (int64_t k = 1; k < n; k++)
        top = fmax(top, z[k]);
    for (int64_t k = 0; k < n; k++)
        sum += exp(z[k] - top);
    for (int64_t k = 0; k < n; k++)
        z[k] = (float)(z[k] - top - log(sum));
}

void mc_scores_normalise(enum mc_score_of of, float *z, int64_t n)
{
    if (of == MC_SCORES_LOGITS)
        log_softmax(z, n);
    for (int64_t k = 0; of == MC_SCORES_PROBABILITIES && k < n; k++)
        if (!isnan(z[k]))
            z[k] = (float)log(fmax(z[k], TINY));
}

static double part(double p, double q)
{
    return p > 0 ? p * log(p / fmax(q, TINY)) : 0;
}

double mc_scores_divergence(enum mc_score_of of, const float *a, const float *b, int64_t n)
{
    double sum = 0;
    for (int64_t k = 0; k < n; k++) {
        if (isnan(b[k]))
            return INFINITY;
        if (of == MC_SCORES_SIGMOIDS)
            sum += part(a[k], b[k]) + part(1 - (double)a[k], 1 - (double)b[k]);
        else
            sum += exp(a[k]) * (fmax(a[k], log(TINY)) - fmax(b[k], log(TINY)));
    }
    return fmax(0, sum);
}

double mc_scores_square(const float *a, const float *b, int64_t n)
{
    double sum = 0;
    for (int64_t k = 0; k < n; k++)
        sum += ((double)a[k] - b[k]) * ((double)a[k] - b[k]);
    return isfinite(sum) ? sum : INFINITY;
}

int mc_scores_decision(const float *z, int64_t n)
{
    int64_t best = 0;
    for (int64_t k = 0; k < n; k++) {
        if (isnan(z[k]))
            return -1;
        best = z[k] > z[best] ? k : best;
    }
    return (int)best;
}
