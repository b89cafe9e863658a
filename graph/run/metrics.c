#include "graph/run/metrics.h"

#include <float.h>
#include <math.h>
#include <string.h>

static const double Z95 = 1.959963984540054; /* 97.5 % quantile of the normal distribution */

/* A probability that underflowed in float32 is not impossible. */
static const double LEAST_PROBABILITY = FLT_MIN;

static bool keeps_scores(const struct mc_node *n)
{
    static const char *const ops[] = {"Identity", "Reshape",   "Flatten",
                                      "Squeeze",  "Unsqueeze", "Cast"};
    for (size_t i = 0; i < sizeof ops / sizeof *ops; i++)
        if (mc_node_is(n, ops[i]))
            return true;
    return false;
}

enum mc_score mc_score_kind(const struct mc_value *output)
{
    const struct mc_value *v = output;
    while (v && v->producer && keeps_scores(v->producer))
        v = v->producer->in[0];
    const struct mc_node *n = v ? v->producer : NULL;
    if (n && mc_node_is(n, "Softmax"))
        return MC_SCORE_PROBABILITY;
    if (n && mc_node_is(n, "LogSoftmax"))
        return MC_SCORE_LOG;
    if (n && mc_node_is(n, "Sigmoid"))
        return MC_SCORE_SIGMOID;
    return MC_SCORE_LOGIT;
}

/* From where on one score alone means class 1. */
static double threshold(enum mc_score kind)
{
    return kind == MC_SCORE_LOGIT ? 0 : kind == MC_SCORE_LOG ? log(0.5) : 0.5;
}

int64_t mc_score_class(enum mc_score kind, const double *score, int64_t n)
{
    if (n == 1)
        return score[0] > threshold(kind);
    int64_t best = 0;
    for (int64_t i = 1; i < n; i++)
        if (score[i] > score[best])
            best = i;
    return best;
}

int64_t mc_score_rank(enum mc_score kind, const double *score, int64_t n, int64_t label)
{
    if (n == 1)
        return mc_score_class(kind, score, n) != label;
    int64_t before = 0;
    for (int64_t i = 0; i < n; i++)
        before += score[i] > score[label] || (score[i] == score[label] && i < label);
    return before;
}

/* ln(1 + exp(x)) without overflow. */
static double softplus(double x)
{
    return x > 0 ? x + log1p(exp(-x)) : log1p(exp(x));
}

static double minus_log(double p)
{
    return -log(p > LEAST_PROBABILITY ? p : LEAST_PROBABILITY);
}

double mc_score_loss(enum mc_score kind, const double *score, int64_t n, int64_t label)
{
    if (n == 1 && kind == MC_SCORE_LOGIT)
        return softplus(label ? -score[0] : score[0]);
    if (n == 1) {
        double p = kind == MC_SCORE_LOG ? exp(score[0]) : score[0];
        return minus_log(label ? p : 1 - p);
    }
    if (kind == MC_SCORE_LOG)
        return -score[label];
    if (kind != MC_SCORE_LOGIT)
        return minus_log(score[label]);
    double most = score[0], sum = 0;
    for (int64_t i = 1; i < n; i++)
        most = score[i] > most ? score[i] : most;
    for (int64_t i = 0; i < n; i++)
        sum += exp(score[i] - most);
    return most + log(sum) - score[label];
}

void mc_label_add(struct mc_label_sums *s, enum mc_score kind, const double *score, int64_t n,
                  int64_t label)
{
    int64_t rank = mc_score_rank(kind, score, n, label);
    s->samples++;
    s->top1 += rank == 0;
    s->top5 += rank < 5;
    s->loss += mc_score_loss(kind, score, n, label);
}

void mc_label_result(const struct mc_label_sums *s, int64_t classes, struct mc_metrics *ret)
{
    double n = (double)s->samples;
    *ret = (struct mc_metrics){.labelled = true,
                               .samples = s->samples,
                               .classes = classes,
                               .top1 = (double)s->top1 / n,
                               .top5 = classes > 5 ? (double)s->top5 / n : -1,
                               .loss = s->loss / n};
}

void mc_pair_add(struct mc_pair_sums *s, const double *a, const double *b, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        /* Equal infinities agree; their difference is no number. */
        double d = a[i] == b[i] ? 0 : fabs(a[i] - b[i]), m = fabs(a[i]);
        s->dot += a[i] * b[i];
        s->aa += a[i] * a[i];
        s->bb += b[i] * b[i];
        s->noise += d * d;
        s->max_diff = d > s->max_diff ? d : s->max_diff;
        s->max_a = m > s->max_a ? m : s->max_a;
    }
}

void mc_pair_merge(struct mc_pair_sums *into, const struct mc_pair_sums *s)
{
    into->dot += s->dot;
    into->aa += s->aa;
    into->bb += s->bb;
    into->noise += s->noise;
    into->max_diff = fmax(into->max_diff, s->max_diff);
    into->max_a = fmax(into->max_a, s->max_a);
}

double mc_pair_cosine(const struct mc_pair_sums *s)
{
    if (s->noise == 0)
        return 1;
    double c = s->dot / (sqrt(s->aa) * sqrt(s->bb));
    return isfinite(c) ? fmin(fmax(c, -1), 1) : 0;
}

double mc_pair_sqnr_db(const struct mc_pair_sums *s)
{
    if (s->noise == 0)
        return INFINITY;
    return isfinite(s->noise) ? 10 * log10(s->aa / s->noise) : -INFINITY;
}

static struct mc_interval around(double value, double half)
{
    return (struct mc_interval){value, fmax(value - half, -1), fmin(value + half, 1)};
}

/* Source: Agresti, Min, Simple improved confidence intervals for comparing matched proportions, Statistics
 * in Medicine 2005; deviates: the pseudo-samples, one each way, go into the variance alone. */
struct mc_interval mc_interval_paired(int64_t n, int64_t plus, int64_t minus)
{
    double m = (double)n + 2, d = (double)(plus - minus);
    double variance = ((double)(plus + minus) + 2 - d * d / m) / (m * m);
    return around(d / (double)n, Z95 * sqrt(variance));
}

struct mc_interval mc_interval_mean(int64_t n, double sum, double squares)
{
    double m = (double)n, mean = sum / m;
    double variance = n > 1 ? fmax(squares - m * mean * mean, 0) / (m - 1) / m : 0;
    return around(mean, Z95 * sqrt(variance));
}
