/* How far the outputs of a model are from those of another, on the samples that guide a search. */
#ifndef MC_PASSES_SEARCH_MEASURE_H
#define MC_PASSES_SEARCH_MEASURE_H

#include "passes/pass.h"

struct mc_judge; /* the reference's outputs, kept */

struct mc_judgement {
    double divergence; /* mean over samples of what `each` holds; INFINITY where an output is NaN */
    /* Of the output that counts, where it holds class scores; otherwise NAN. */
    double changed; /* share of decisions that differ */
    double lost;    /* share of right answers lost less those won; NAN without labels */
    double lost_se; /* standard error of it, two pseudo-samples in (graph/run/measure.h) */
    /* Outputs taken one by one, each by what it holds (search_agree.h): the worst of those that decide something, and of
     * those that hold numbers. NAN: there are none. */
    double
        agreement; /* share of decisions that are the same; of a line of positions, of all that is read from it */
    double kl;      /* nats, mean over positions */
    double noise;   /* squared error over variance, mean over channels where these differ much */
    double numbers; /* that noise is of */
    float *each;    /* [mc_judge_samples]; freed by mc_judgement_free */
};

/* Run the reference on at most `most` samples; fewer where its outputs would take more than 64 MB.
 *
 * Class scores [sample, class] count by KL(reference || model) in nats (an output behind Softmax, LogSoftmax or Sigmoid
 * as what it is, others as logits); any other output by its squared error over the variance of the reference's. Several
 * outputs add up, unless ctx->output names one.
 * Errors: MC_EUSAGE for an output that is not there; what running and reading give. */
int mc_judge_new(const struct mc_pass_ctx *ctx, const struct mc_model *reference, int64_t most,
                 struct mc_judge **ret, struct mc_err *err);
void mc_judge_free(struct mc_judge *j);

/* Measure a model. *ret_late: ctx->deadline passed before the end, and nothing else is filled in. */
int mc_judge_model(struct mc_judge *j, const struct mc_model *m, bool may_stop,
                   struct mc_judgement *ret, bool *ret_late, struct mc_err *err);
void mc_judgement_free(struct mc_judgement *m);

int64_t mc_judge_samples(const struct mc_judge *j);
const char *mc_judge_metric(const struct mc_judge *j);
size_t mc_judge_runs(const struct mc_judge *j); /* calls of mc_judge_model that came to their end */

/* Mean of a.each - b.each and its standard error. */
void mc_judgement_difference(const struct mc_judge *j, const struct mc_judgement *a,
                             const struct mc_judgement *b, double *ret_mean, double *ret_se);

#endif
