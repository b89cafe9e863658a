/* Random changes to a batch of samples (augmentation).
 *
 * Written "flip,shift=2,crop=4,cutout=8,noise=0.05,mixup=0.2", any of them, in any order; they are done in this one:
 *   flip[=P]    mirrored from left to right, with probability P (0.5)
 *   shift[=N]   moved by up to N (2) pixels each way; what comes into the picture is black: the least value
 *               of that channel in that picture. The value of a pixel 0 after mean and std is not known here.
 *   crop[=N]    the same movement by up to N (4), but the picture is mirrored beyond its edges
 *   cutout[=N]  a square of N x N (8) pixels with its centre anywhere becomes the channel's mean
 *               Source: DeVries, Taylor, Improved Regularization of CNNs with Cutout, 2017; deviates: the mean
 *               is that of the picture, not that of all pictures.
 *   noise[=S]   plus a normal deviate of standard deviation S (0.05), of the values as the model gets them
 *   mixup[=A]   x = t x + (1 - t) y with another sample y of the batch, t from Beta(A, A) (0.2), and so are
 *               the labels. Source: Zhang et al., mixup: Beyond Empirical Risk Minimization, ICLR 2018.
 * The first four are for pictures: inputs [n,h,w], [n,c,h,w], or [n,h,w,c] where c is at most 4 and the axis in
 * the place of channels is not, and [n,k*k], squares of one channel; all such inputs of a sample move alike.
 * noise and mixup change every float input.
 *
 * Every draw depends on (seed, epoch, place of the sample in the epoch) alone. */
#ifndef MC_TRAIN_AUGMENT_H
#define MC_TRAIN_AUGMENT_H

#include <stdbool.h>

#include "graph/dataset.h"

struct mc_augment {
    double flip, noise, mixup; /* 0: not wanted */
    int shift, crop, cutout;
};

/* text NULL: nothing. Errors: MC_EUSAGE naming the word and what there is. */
int mc_augment_parse(const char *text, struct mc_augment *ret, struct mc_err *err);
/* Anything to do? */
bool mc_augment_any(const struct mc_augment *a);
/* Can it be done to such a batch? Errors: MC_ESHAPE where no input is a picture; MC_EDTYPE where no input holds
 * floats. */
int mc_augment_check(const struct mc_augment *a, const struct mc_batch *b, struct mc_err *err);
/* Change b in place; its first sample is number `first` of the epoch. probs [n, classes] gets the labels as
 * probabilities; NULL: not wanted. Labels must be below `classes`. Errors: MC_ENOMEM, MC_EDATA. */
int mc_augment_batch(const struct mc_augment *a, uint64_t seed, int64_t epoch, int64_t first,
                     struct mc_batch *b, float *probs, int64_t classes, struct mc_err *err);

/* Streams of random numbers of an epoch. */
enum mc_feed_stream {
    MC_FEED_ORDER,
    MC_FEED_FLIP,
    MC_FEED_SHIFT,
    MC_FEED_CROP,
    MC_FEED_CUTOUT,
    MC_FEED_NOISE,
    MC_FEED_MIXUP,
    MC_FEED_PARTNER,
    MC_FEED_CLASS, /* and on: one for each class */
};
static inline uint64_t mc_feed_stream(int64_t epoch, uint64_t use)
{
    return (uint64_t)epoch << 32 | use;
}

#endif
