/* Kernels of an optimiser: one step over a block of parameters. Vectors are dense; a result may be the vector
 * that it replaces, and nothing else may alias. The first `decays` elements have weight decay. */
#ifndef MC_KERNELS_OPTIM_H
#define MC_KERNELS_OPTIM_H

#include <stdbool.h>
#include <stdint.h>

#include "base/threads.h"

/* What is known only when a step runs, as scalars in memory that a device reads by itself, so that the step can be
 * recorded. Of the tables of devices and the reference; each may be NULL. The step takes place if the norm is finite
 * and apply is not 0; if not, results are what they replace. */
struct mc_step_at {
    const void *lr;   /* of the element type, in place of the structure's */
    const void *norm; /* of all gradients, of the element type */
    const void *step, *apply;
    int step_bytes, apply_bytes; /* of an integer: 4 or 8 */
    double clip; /* > 0: gradients are scaled by min(1, clip / (norm + 1e-6)) in place of `scale` */
};

/* With g = scale grad + decay w:   m' = momentum m + g,   w' = w - lr m', or with Nesterov's momentum
 * w' = w - lr (g + momentum m').
 * Cost: 4 operations and 5 elements moved per parameter (3 without momentum). Same result for any thread count.
 * Source: Sutskever, Martens, Dahl, Hinton, On the importance of initialization and momentum in deep learning,
 * 2013, with the rate outside of the momentum, as in torch.optim.SGD. */
struct mc_sgd {
    int64_t n, decays;
    double lr, scale, momentum, decay;
    bool nesterov;
    const void *grad;
    const void *w, *m; /* m NULL: no momentum */
    void *w_new, *m_new;
    struct mc_step_at at;
};

/* With g = scale grad (+ decay w unless decoupled):   m' = m + (1 - beta1) (g - m),   v' = beta2 v + (1 - beta2) g²,
 * w' = w (1 - lr decay if decoupled) - lr / (1 - beta1^step) m' / (sqrt(v' / (1 - beta2^step)) + epsilon).
 * step >= 1. Cost: about 12 operations and 7 elements moved per parameter. Same result for any thread count.
 * Source: Kingma, Ba, Adam: A Method for Stochastic Optimization, 2015, algorithm 1; decoupled: Loshchilov, Hutter,
 * Decoupled Weight Decay Regularization, 2019, algorithm 2, with the rate as factor, as in torch.optim.AdamW. */
struct mc_adam {
    int64_t n, decays, step;
    double lr, scale, beta1, beta2, epsilon, decay;
    bool decoupled;
    const void *grad;
    const void *w, *m, *v;
    void *w_new, *m_new, *v_new;
    struct mc_step_at at;
};

struct mc_blend { /* z = a x + b y; z may be x or y */
    int64_t n;
    double a, b;
    const void *x, *y;
    void *z;
    struct mc_step_at at; /* step: a is min(a, (1 + step) / (10 + step)), and b 1 - a */
    const void *b_at;     /* of the element type, in place of b; of the same tables as `at` */
};

struct mc_choose { /* z = x where the step takes place, else y; z may be x or y */
    int64_t n;
    const void *x; /* NULL: zeros */
    const void *y;
    void *z;
    struct mc_step_at at;
};

enum { MC_SQUARES_CHUNK = 1 << 14 }; /* elements that one partial sum is of */

struct mc_squares { /* sum of squares, in double, chunk after chunk */
    int64_t n;
    const void *x;
    double *part; /* scratch: one for each chunk begun */
};

enum { MC_PARTS = 64 };

struct mc_parts { /* dst[i] = src[i], n vectors of their own sizes, which do not overlap */
    int n;
    int64_t size[MC_PARTS];
    const void *src[MC_PARTS]; /* NULL: zeros */
    void *dst[MC_PARTS];
};

struct mc_optim_kernels {
    void (*sgd)(const struct mc_sgd *s, struct mc_pool *pool);
    void (*adam)(const struct mc_adam *a, struct mc_pool *pool);
    void (*blend)(const struct mc_blend *b, struct mc_pool *pool);
    double (*squares)(const struct mc_squares *s, struct mc_pool *pool); /* NULL on devices */
    /* *ret, of the element type: the root of that sum. Of devices and the reference, as the two below. */
    void (*root)(const struct mc_squares *s, void *ret, struct mc_pool *pool);
    void (*choose)(const struct mc_choose *c, struct mc_pool *pool);
    void (*parts)(const struct mc_parts *p, struct mc_pool *pool);
};

#endif
