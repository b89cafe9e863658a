/* What the numbers of an output are, and how far apart two samples of it are. */
#ifndef MC_PASSES_SEARCH_SCORE_H
#define MC_PASSES_SEARCH_SCORE_H

#include "graph/dataset.h"
#include "graph/graph.h"

enum mc_score_of { /* scores, by the operator that gives them */
                   MC_SCORES_LOGITS,
                   MC_SCORES_PROBABILITIES,
                   MC_SCORES_LOGS,
                   MC_SCORES_SIGMOIDS,
};
enum mc_score_of mc_scores_of(const struct mc_value *output);

/* Scores of exclusive classes: of n samples, at most one axis of each longer than 1. whole: there is no batch axis. */
bool mc_scores_are_classes(const struct mc_array *a, int64_t n, bool whole);

/* Scores of one sample become logarithms of probabilities; those of Sigmoid stay as they are. */
void mc_scores_normalise(enum mc_score_of of, float *z, int64_t n);

/* KL(a || b) in nats of two normalised samples, INFINITY where b holds a NaN. */
double mc_scores_divergence(enum mc_score_of of, const float *a, const float *b, int64_t n);

/* Sum of (a - b)², INFINITY where b holds a NaN or is infinite. */
double mc_scores_square(const float *a, const float *b, int64_t n);

/* Position of the largest, the first of equals; -1 if there is a NaN. */
int mc_scores_decision(const float *z, int64_t n);

#endif
