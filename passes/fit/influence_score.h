/* How much two results of a model differ, as a vector whose squared length is the cost.
 *
 * An output of class scores [samples, classes] counts by the Fisher information of its softmax, the second
 * order of the KL divergence in nats, plus a tenth of that spread evenly over all scores: samples the model
 * is sure of still count, and so do outputs that only look like scores. Any other output counts by its
 * squared change beside its variance. Measured on the reference mlp and cnn at 1/4 to 1/12 of their bytes:
 * the sum gives a lower KL divergence than either part alone. */
#ifndef MC_PASSES_INFLUENCE_SCORE_H
#define MC_PASSES_INFLUENCE_SCORE_H

#include "graph/graph.h"
#include "graph/dataset.h"

enum { MC_SCORE_WIDTH = 64 };   /* longer vectors are folded to this length: CountSketch */
enum { MC_SCORE_SAMPLES = 64 }; /* the first ones say how factors are set */

struct mc_score_output {
    const struct mc_value *value; /* says what kind of scores it holds */
    float *base;                  /* [samples, width]: the undisturbed result */
    float *p;                     /* [samples, width]: its probabilities; NULL: no class scores */
    int64_t width;                /* elements a sample */
    double even;                  /* factor of the plain change */
    double sum, square, count;    /* what it comes from */
};

struct mc_score {
    struct mc_score_output *out;
    size_t n;
    int64_t samples, width; /* of the result: at most MC_SCORE_WIDTH, or all elements where fewer */
    int64_t raw;            /* before folding */
    float *full;            /* [raw] scratch */
    uint64_t seed;
    int64_t seen; /* samples */
};

int mc_score_new(const struct mc_value *const *outputs, size_t n, uint64_t seed,
                 struct mc_score *ret, struct mc_err *err);
void mc_score_free(struct mc_score *s);

/* Take the undisturbed results of a batch. */
int mc_score_base(struct mc_score *s, const struct mc_array *const *results, int64_t samples,
                  struct mc_err *err);
/* Vectors of the difference of other results of the same batch: dst[k * stride], k < samples * width,
 * divided by step. */
int mc_score_change(struct mc_score *s, const struct mc_array *const *results, float step,
                    float *dst, int64_t stride, struct mc_err *err);

/* Vectors v of the same batch whose sum of v vᵀ is H for each sample, to be carried back to inner values: `of`
 * of them, at most 4096. Exact where of == mc_score_roots; where fewer, or the rank is 0 (many scores), by random
 * signs that are right on the average, others for every sample from number `first` on.
 * dst[i] [samples, width of output i]: vector k < of. */
int64_t mc_score_roots(const struct mc_score *s);
void mc_score_vector(const struct mc_score *s, int64_t k, int64_t of, int64_t first,
                     float *const *dst);

#endif
