#include <stdlib.h>

#include "base/mem.h"
#include "base/rng.h"
#include "train/feed.h"

/* Sample i of the split is held out by the rank it draws within its class: the first `share` of each class are. */
struct split {
    int64_t n, n_held;
    int64_t *order;  /* a permutation */
    int64_t *labels; /* all 0 where there are none */
    bool *held;
};

/* The stream that belongs to no epoch of a feed with the same seed. */
static const uint64_t split_stream = UINT64_MAX;

static int by_class(struct split *s, double share, struct mc_err *err)
{
    int64_t highest = 0;
    for (int64_t i = 0; i < s->n; i++)
        highest = s->labels[i] > highest ? s->labels[i] : highest;
    int64_t *left = mc_calloc((size_t)highest + 1, sizeof *left);
    if (!left)
        return mc_fail(err, MC_ENOMEM, "out of memory");
    for (int64_t i = 0; i < s->n; i++)
        left[s->labels[i]]++;
    for (int64_t c = 0; c <= highest; c++) /* rounded to the nearest */
        left[c] = (int64_t)(share * (double)left[c] + 0.5);
    for (int64_t i = 0; i < s->n; i++) {
        int64_t at = s->order[i], c = s->labels[at];
        if (left[c]-- > 0) {
            s->held[at] = true;
            s->n_held++;
        }
    }
    free(left);
    return 0;
}

/* Neither side may be empty. */
static void fill_up(struct split *s)
{
    if (s->n < 2)
        return;
    int64_t at = s->order[0];
    if (s->n_held == 0) {
        s->held[at] = true;
        s->n_held = 1;
    } else if (s->n_held == s->n) {
        s->held[at] = false;
        s->n_held--;
    }
}

static int give(const struct split *s, int64_t **ret_train, int64_t **ret_held, struct mc_err *err)
{
    int64_t *train = mc_calloc((size_t)(s->n - s->n_held) + 1, sizeof *train);
    int64_t *held = mc_calloc((size_t)s->n_held + 1, sizeof *held);
    if (!train || !held) {
        free(train);
        free(held);
        return mc_fail(err, MC_ENOMEM, "out of memory");
    }
    int64_t t = 0, h = 0;
    for (int64_t i = 0; i < s->n; i++)
        if (s->held[i])
            held[h++] = i;
        else
            train[t++] = i;
    *ret_train = train;
    *ret_held = held;
    return 0;
}

static int all_labels(struct mc_dataset *d, struct split *s, struct mc_err *err)
{
    /* order[] is free until it is drawn: it asks for all samples. */
    for (int64_t i = 0; i < s->n; i++)
        s->order[i] = i;
    int rc = mc_dataset_labels(d, s->order, s->n, s->labels, err);
    for (int64_t i = 0; !rc && i < s->n; i++)
        if (d->partly)
            s->labels[i]++; /* those without a label are a class of their own */
        else if (s->labels[i] < 0)
            rc = mc_fail(err, MC_EDATA, "'%s': label %lld of sample %lld is no class number",
                         d->spec, (long long)s->labels[i], (long long)i);
    return rc;
}

int mc_feed_split(struct mc_dataset *d, double share, uint64_t seed, int64_t **ret_train,
                  int64_t *ret_n_train, int64_t **ret_held, int64_t *ret_n_held, struct mc_err *err)
{
    if (!(share >= 0 && share < 1))
        return mc_fail(err, MC_EUSAGE, "a share of %g cannot be held out; give 0 or more, below 1",
                       share);
    if (d->count < 1)
        return mc_fail(err, MC_EDATA, "'%s': %s", d->spec,
                       d->count ? "the number of samples is not known" : "there are no samples");
    struct split s = {.n = d->count};
    s.order = mc_calloc((size_t)s.n, sizeof *s.order);
    s.labels = mc_calloc((size_t)s.n, sizeof *s.labels);
    s.held = mc_calloc((size_t)s.n, sizeof *s.held);
    int rc = s.order && s.labels && s.held ? 0 : mc_fail(err, MC_ENOMEM, "out of memory");
    if (!rc && share > 0) {
        if (d->has_labels)
            rc = all_labels(d, &s, err);
        if (!rc) {
            mc_rng_permute(seed, split_stream, s.order, s.n);
            rc = by_class(&s, share, err);
        }
        if (!rc)
            fill_up(&s);
    }
    if (!rc)
        rc = give(&s, ret_train, ret_held, err);
    if (!rc) {
        *ret_n_train = s.n - s.n_held;
        *ret_n_held = s.n_held;
    }
    free(s.order);
    free(s.labels);
    free(s.held);
    return rc;
}
