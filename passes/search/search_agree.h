/* Whether outputs of a model say the same as those of another: decisions position by position, and noise of what decides
 * nothing. Private to search_keep.c and search_measure.c. */
#ifndef MC_PASSES_SEARCH_AGREE_H
#define MC_PASSES_SEARCH_AGREE_H

#include "passes/search/search_score.h"

enum mc_agree_kind {
    MC_AGREE_NUMBERS, /* by noise */
    MC_AGREE_CLASSES, /* one of several, at one or many positions */
    MC_AGREE_LABELS,  /* yes or no, each: Sigmoid */
};

enum { MC_AGREE_CHANNELS = 4096 };

struct mc_agree_of { /* an output */
    enum mc_agree_kind kind;
    enum mc_score_of scores;
    bool logs; /* rows that are compared hold logarithms of probabilities */
    int axis;  /* from the front, in the array of a batch: of classes, or of channels; -1: none */
    int64_t channels;     /* of numbers: 1 without an axis */
    double *sum, *square; /* [channels] of the reference, heap */
    double *count;        /* [channels] */
};

struct mc_agreement {      /* of one output, over samples */
    double samples, agree; /* of those that decide */
    double kl;             /* sum over samples of the mean over positions, nats */
    double *square;        /* [channels] of errors, heap */
    double *count;
    bool broken; /* a NaN, or an infinity where there was none */
};

/* What v holds; a: of the first batch of n samples (whole: it has no batch axis). Errors: MC_ENOMEM. */
int mc_agree_look(struct mc_agree_of *o, const struct mc_value *v, const struct mc_array *a,
                  int64_t n, bool whole, struct mc_err *err);
void mc_agree_free(struct mc_agree_of *o);
/* Count rows of the reference in: what later errors are relative to. */
void mc_agree_keep(struct mc_agree_of *o, const struct mc_shape *shape, const float *x);

int mc_agreement_init(const struct mc_agree_of *o, struct mc_agreement *ret, struct mc_err *err);
void mc_agreement_free(struct mc_agreement *g);
/* Compare a batch: a of the reference, b of the other; both of this shape, in the form that is kept. */
void mc_agreement_add(const struct mc_agree_of *o, struct mc_agreement *g,
                      const struct mc_shape *shape, bool whole, const float *a, const float *b);
/* Squared error over variance, of the worst group of channels of like power; INFINITY where it is broken, NAN of decisions
 * and without memory. */
double mc_agreement_noise(const struct mc_agree_of *o, const struct mc_agreement *g);

#endif
