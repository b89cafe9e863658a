/* The update of weights as part of the graph: the step graph.
 *
 * All weights are one block (a float vector), and so are their gradients and each moment: parts begin at multiples
 * of 16 elements, decayed weights come first, gaps stay zero. In the graph:
 *     w1, w2, … = Unpack(params)         views into the block: no copies in a run
 *     gradients = Pack(g1, g2, …)        producers write into the block where they can
 *     norm = BlockNorm(gradients)
 *     params', moment' = Sgd(params, moment, gradients, lr, step, norm) | Adam(…)
 *     average' = Ema(average, params', step, norm)
 * of domain ai.mcompress.grad (graph/ops/update_block.c). State is pairs of a graph input and a graph output,
 * which a session binds to one buffer (graph/run/session.h). */
#ifndef MC_GRAPH_GRAD_UPDATE_H
#define MC_GRAPH_GRAD_UPDATE_H

#include "graph/grad/weights.h"

enum mc_optimizer { MC_OPTIMIZER_SGD, MC_OPTIMIZER_ADAM, MC_OPTIMIZER_ADAMW };

struct mc_update_opts {
    enum mc_optimizer kind;
    double momentum; /* SGD; 0: none, and no block for it */
    bool nesterov;
    double beta1, beta2, epsilon; /* Adam, AdamW */
    double decay;                 /* of what decays: added to the gradient, decoupled in AdamW */
    double clip;                  /* largest norm of all gradients together; 0: no limit */
    double ema;                   /* decay of the moving average of weights; 0: none */
    bool accumulate; /* gradients are summed over runs until one with MC_UPDATE_APPLY nonzero */
};

/* Scalar inputs of the step graph; float: of the type of the blocks. */
#define MC_UPDATE_LR   "train.lr"   /* float [] */
#define MC_UPDATE_STEP "train.step" /* int64 []: 1 in the first update */
#define MC_UPDATE_APPLY                                                                            \
    "train.apply" /* int64 []; only with accumulate: 0 adds gradients, 1 adds and updates */
#define MC_UPDATE_SCALE                                                                            \
    "train.scale" /* float []; only with accumulate: factor of this run's gradients */
/* Its outputs, besides states. */
#define MC_UPDATE_NORM                                                                             \
    "train.norm" /* float []: norm of the gradients before clipping. Not finite: no update */

enum mc_state_kind { /* of what a state is */
                     MC_STATE_WEIGHTS,
                     MC_STATE_MOMENT,
                     MC_STATE_AVERAGE,    /* EMA */
                     MC_STATE_STATISTICS, /* of BatchNormalization */
                     MC_STATE_GRADIENTS,  /* accumulated */
};

struct mc_state_part { /* a weight in a block */
    const char *name;  /* of the constant in the model */
    struct mc_shape shape;
    int64_t offset, count; /* elements */
};

struct mc_state {
    enum mc_state_kind kind;
    const char *in, *out; /* graph input and output */
    enum mc_dtype dtype;  /* float32, or float64 where a weight is */
    int64_t count;
    void *initial;                     /* [count], freed by mc_update_free; NULL: zeros */
    const struct mc_state_part *parts; /* of weights, average, statistics */
    size_t n_parts;
};

struct mc_update {
    struct mc_arena mem;
    struct mc_state *states;
    size_t n_states;
};

/* g: a graph with gradients; grad[i] that of w->list[i].value, NULL where there is none. Replaces each such
 * constant by its part of the block and appends the update. BatchNormalization nodes in training mode get
 * running statistics as state (graph/grad/batchnorm.h put them there). All other outputs of g stay.
 * What a weight was read by reads the block: the constant is gone, its name in the parts. Where the norm is not
 * finite, no state changes but accumulated gradients, which an update always clears.
 * On failure g must be dropped. Errors: MC_ENOMEM; MC_EUSAGE for options out of range, no gradient at all, or a
 * model with values of the names above. */
int mc_update_build(struct mc_graph *g, const struct mc_weights *w, struct mc_value *const *grad,
                    const struct mc_update_opts *opts, struct mc_update *ret, struct mc_err *err);
void mc_update_free(struct mc_update *u);

/* Put a block's content into the constants of a model: part by part by name, converted to each constant's type.
 * Errors: MC_EUSAGE for a name the model does not have. */
int mc_update_store(struct mc_model *m, const struct mc_state *s, const void *block,
                    struct mc_err *err);

#endif
