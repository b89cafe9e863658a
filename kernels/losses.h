/* Kernels of losses and of the softmax they are made of. Arrays are dense and row-major. */
#ifndef MC_KERNELS_LOSSES_H
#define MC_KERNELS_LOSSES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/threads.h"

/* Along n of [outer, n, inner]:  dx = y (dy - Σ dy y), or of a logarithm (log)  dx = dy - exp(y) Σ dy. */
struct mc_softmax_grad {
    bool log;
    int64_t outer, n, inner;
    const void *dy, *y; /* y: result of the softmax */
    void *dx;           /* may be dy or y */
};

/* Connectionist temporal classification: minus the logarithm of the probability of a sequence of labels, over
 * all paths that become it when repeats are merged and blanks left out; by forward and backward sums in
 * logarithms. Infinite where no path of that length does. The gradient is by the logits whose log-softmax
 * log_prob is.
 * Cost: steps * (2 labels + 1) of a logarithm and three exponentials for each of forward and backward.
 * Source: Graves, Fernández, Gomez, Schmidhuber, Connectionist Temporal Classification: Labelling Unsegmented
 * Sequence Data with Recurrent Neural Networks, ICML 2006, eqs. (6) to (16). */
struct mc_ctc {
    int64_t steps, batch, classes, labels, blank;
    const void *log_prob;    /* [steps, batch, classes] */
    const int64_t *label;    /* [batch, labels], each of those counted a class */
    const int64_t *n_steps;  /* [batch], at most steps */
    const int64_t *n_labels; /* [batch], at most labels */
    double scale;            /* of the gradient */
    bool zero_infinity;      /* the gradient of an infinite loss is 0, not NaN */
    void *loss;              /* [batch] */
    void *grad;              /* as log_prob, which it may be; or NULL: not wanted */
    void *scratch;           /* mc_ctc_scratch bytes for each worker of the pool */
};
/* Bytes for one worker, a multiple of 64. */
size_t mc_ctc_scratch(const struct mc_ctc *c);

enum mc_loss_sum { MC_LOSS_MEAN, MC_LOSS_SUM, MC_LOSS_EACH };

/* Minus the log-probability of a label, by its weight: y is the sum over the rows of [outer, classes, inner], or the
 * mean by weights, or each [outer, inner]. A label out of range is a fault of the device. */
struct mc_class_loss {
    int64_t outer, classes, inner;
    enum mc_loss_sum how;
    bool ignores;   /* labels that are `ignore`: their weight is 0 */
    int64_t ignore; /* need not be a class */
    const void *log_prob;
    const void *label;  /* [outer, inner] */
    int label_bytes;    /* 4 or 8 */
    const void *weight; /* [classes] or NULL */
    void *y;
};

/* dx of that from dy, a scalar or [outer, inner]: by the log-probabilities, or through the softmax by its argument. */
struct mc_class_grad {
    struct mc_class_loss loss; /* y: dx */
    bool softmax;
    const void *dy;
};

enum mc_soft_fn { /* per row of n in [outer, n, inner], z and t scaled by 1 / temperature T: */
                  MC_SOFT_PROBS,   /* -T² Σ t log softmax(z), t as it is */
                  MC_SOFT_DISTILL, /* T² KL(softmax(t) || softmax(z)) */
                  MC_SOFT_SIGMOID, /* log(1 + exp(z)) - z t of each element, n 1; t in [0, 1], or it is a fault */
};
struct mc_soft_loss { /* *y = the mean over rows */
    enum mc_soft_fn fn;
    int64_t outer, n, inner;
    double temperature;
    const void *z, *t;
    int t_elem; /* enum mc_elem of t, of the last alone */
    void *y;
};

/* The last three are of devices alone: elsewhere operators do it. */
struct mc_loss_kernels {
    void (*softmax_grad)(const struct mc_softmax_grad *s, struct mc_pool *pool);
    void (*ctc)(const struct mc_ctc *c, struct mc_pool *pool);
    void (*classes)(const struct mc_class_loss *l, struct mc_pool *pool);
    void (*classes_grad)(const struct mc_class_grad *g, struct mc_pool *pool);
    void (*soft)(const struct mc_soft_loss *l, struct mc_pool *pool);
};

#endif
