/* Loss functions as nodes; each gives one number, the mean over samples. z, zt: scores [n,c] before Softmax or
 * Sigmoid, of the model and of its teacher. Private to train/.
 *
 * `dtype` is the float type of z. Gradients do not go into targets. */
#ifndef MC_TRAIN_LOSS_TERMS_H
#define MC_TRAIN_LOSS_TERMS_H

#include "train/wire.h"

struct mc_terms {
    struct mc_wire *w;
    enum mc_dtype dtype;
};

/* Cross entropy in nats: labels int64 [n], or probabilities [n,c]. */
struct mc_value *mc_term_ce(struct mc_terms *t, struct mc_value *z, struct mc_value *labels);
/* The same where the label -1 is none: its sample adds nothing, and counts in the mean. */
struct mc_value *mc_term_ce_partly(struct mc_terms *t, struct mc_value *z, struct mc_value *labels);
struct mc_value *mc_term_ce_probs(struct mc_terms *t, struct mc_value *z, struct mc_value *p);
/* Connectionist temporal classification: z [steps,n,c], labels int64 [n,s] ended by the first below 0; all steps
 * count. A sample whose labels need more steps is an error of the run. */
struct mc_value *mc_term_ctc(struct mc_terms *t, struct mc_value *z, struct mc_value *labels,
                             int64_t blank);
/* Binary cross entropy of each score, mean over all: softplus(z) - y z. */
struct mc_value *mc_term_bce(struct mc_terms *t, struct mc_value *z, struct mc_value *y);
/* T² KL(softmax(zt/T) || softmax(z/T)): 0 where both agree.
 * Source: Hinton, Vinyals, Dean, Distilling the Knowledge in a Neural Network, 2015. */
struct mc_value *mc_term_kd(struct mc_terms *t, struct mc_value *z, struct mc_value *zt,
                            double temperature);
/* The same of each score by itself, between sigmoid(zt/T) and sigmoid(z/T), mean over all. */
struct mc_value *mc_term_binary_kd(struct mc_terms *t, struct mc_value *z, struct mc_value *zt,
                                   double temperature);
/* mean (a-b)², of any shape; scaled: divided by mean b². */
struct mc_value *mc_term_mse(struct mc_terms *t, struct mc_value *a, struct mc_value *b);
struct mc_value *mc_term_scaled(struct mc_terms *t, struct mc_value *a, struct mc_value *b);
/* 1 - cos(a, b), each sample as one vector. */
struct mc_value *mc_term_cosine(struct mc_terms *t, struct mc_value *a, struct mc_value *b);
/* (1-share) a + share b */
struct mc_value *mc_term_mix(struct mc_terms *t, struct mc_value *a, struct mc_value *b,
                             double share);

#endif
