/* Batches for training: samples in an order that follows from a seed, read ahead by a thread, changed at random
 * (augmentation). Everything random is counter-based (seed, epoch, position): the same for any number of
 * threads, and a feed can begin anywhere. */
#ifndef MC_TRAIN_FEED_H
#define MC_TRAIN_FEED_H

#include "base/param.h"
#include "graph/dataset.h"

struct mc_feed;

struct mc_feed_opts {
    int64_t batch;
    uint64_t seed;
    const char *augment; /* "flip,shift=2,crop=4,noise=0.05,cutout=8,mixup=0.2", or NULL */
    bool balance;        /* classes equally often: needs labels */
    bool in_order;       /* neither shuffled nor changed */
    int64_t classes;     /* with mixup: width of the probabilities */
};

struct mc_feed_batch {
    struct mc_batch *data; /* arrays and labels, as changed; index of the samples */
    float *probs; /* [n, classes] labels as probabilities where mixup mixed them, or NULL */
};

/* index[0..n): the samples that it is about, copied. Errors: MC_EUSAGE for a bad augment text, naming the word and
 * what there is; MC_ESHAPE where inputs are no images and the change needs some; MC_EDATA where balance has
 * no labels. */
int mc_feed_new(struct mc_dataset *d, const int64_t *index, int64_t n,
                const struct mc_feed_opts *opts, struct mc_feed **ret, struct mc_err *err);
void mc_feed_free(struct mc_feed *f);             /* stops the thread; accepts NULL */
int64_t mc_feed_batches(const struct mc_feed *f); /* in an epoch; the last may be short */
/* Go to batch `batch` of `epoch`, both from 0. */
int mc_feed_seek(struct mc_feed *f, int64_t epoch, int64_t batch, struct mc_err *err);
/* The next one; after the last of an epoch the first of the next epoch. Valid until the next call.
 * Errors: what reading gives; MC_EDATA naming source and sample for an input that is NaN or infinite. */
int mc_feed_next(struct mc_feed *f, const struct mc_feed_batch **ret, struct mc_err *err);

/* Split samples [0, count) by seed into two ascending lists (free() them): `share` of them (at least 1 of 2) held out,
 * the same share of each class where labels are known. share 0: none held out. */
int mc_feed_split(struct mc_dataset *d, double share, uint64_t seed, int64_t **ret_train,
                  int64_t *ret_n_train, int64_t **ret_held, int64_t *ret_n_held,
                  struct mc_err *err);

#endif
