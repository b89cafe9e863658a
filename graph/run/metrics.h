/* Sums behind the figures of measure.h, one sample at a time. Private to graph/run. */
#ifndef MC_GRAPH_RUN_METRICS_H
#define MC_GRAPH_RUN_METRICS_H

#include "graph/run/measure.h"

/* What the numbers of a class score are. */
enum mc_score {
    MC_SCORE_LOGIT,
    MC_SCORE_PROBABILITY, /* of classes that exclude each other: after Softmax */
    MC_SCORE_LOG,         /* after LogSoftmax */
    MC_SCORE_SIGMOID,     /* of each class by itself */
};
enum mc_score mc_score_kind(const struct mc_value *output);

/* Position of the largest score, the first of equals. One score alone is that of class 1 of two. */
int64_t mc_score_class(enum mc_score kind, const double *score, int64_t n);
/* How many scores come before that of `label`: larger ones, and equal ones with a smaller number. */
int64_t mc_score_rank(enum mc_score kind, const double *score, int64_t n, int64_t label);
/* -ln of the probability that the scores give to `label`. */
double mc_score_loss(enum mc_score kind, const double *score, int64_t n, int64_t label);

struct mc_label_sums { /* of one model against labels */
    int64_t samples, top1, top5;
    double loss;
};
void mc_label_add(struct mc_label_sums *s, enum mc_score kind, const double *score, int64_t n,
                  int64_t label);
void mc_label_result(const struct mc_label_sums *s, int64_t classes, struct mc_metrics *ret);

struct mc_pair_sums { /* b against a, over any number of elements */
    double dot, aa, bb, noise, max_diff, max_a;
};
void mc_pair_add(struct mc_pair_sums *s, const double *a, const double *b, int64_t n);
void mc_pair_merge(struct mc_pair_sums *into, const struct mc_pair_sums *s);
/* cos(a, b): 1 where both are equal (also both zero), 0 where one is zero or not finite. */
double mc_pair_cosine(const struct mc_pair_sums *s);
double mc_pair_sqnr_db(const struct mc_pair_sums *s);

/* Paired 95 % interval of the mean of d_i in {-1,0,1}: `plus` of the n are 1, `minus` are -1. */
struct mc_interval mc_interval_paired(int64_t n, int64_t plus, int64_t minus);
/* The same of the mean of any numbers, by their sum and sum of squares. */
struct mc_interval mc_interval_mean(int64_t n, double sum, double squares);

#endif
