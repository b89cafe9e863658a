#include "train/feed.h"

#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/rng.h"
#include "train/augment.h"

struct class { /* samples of one class: a part of members[] */
    int64_t first, n;
};

struct mc_feed {
    struct mc_dataset *data;
    struct mc_feed_opts opts;
    struct mc_augment augment;
    bool checked; /* that the augmentation is possible */
    int64_t n;
    int64_t *index;   /* [n] the samples */
    int64_t *order;   /* [n] those of epoch `ordered`, in its order */
    int64_t *scratch; /* [n] */
    int64_t ordered;  /* -1: none */
    int64_t *members; /* with balance: samples by class */
    struct class *classes;
    int64_t n_classes;

    pthread_t thread;
    bool started;
    pthread_mutex_t lock;
    pthread_cond_t turn;
    /* Under the lock. The thread owns everything above and `coming` while `wanted` is set. */
    bool wanted, stop;
    int64_t epoch, batch; /* of what is coming */
    struct mc_feed_batch coming, given;
    int rc; /* of what is coming */
    struct mc_err err;
};

static void release(struct mc_feed_batch *b)
{
    mc_batch_free(b->data);
    free(b->probs);
    *b = (struct mc_feed_batch){0};
}

/* ---- order ---- */

/* Slots go round the classes; a class is used up before one of its samples comes again, each time in another
 * order; which samples of a large class an epoch leaves out changes with it. Then all are shuffled. */
static void order_balanced(struct mc_feed *f, int64_t epoch)
{
    int64_t used = 0;
    for (int64_t c = 0; c < f->n_classes; c++) {
        const struct class *k = &f->classes[c];
        int64_t slots = f->n / f->n_classes + (c < f->n % f->n_classes);
        uint64_t round = 0;
        for (int64_t done = 0; done < slots; done += k->n) {
            uint64_t use = MC_FEED_CLASS + (uint64_t)c + round++ * (uint64_t)f->n_classes;
            mc_rng_permute(f->opts.seed, mc_feed_stream(epoch, use), f->scratch, k->n);
            for (int64_t i = 0; i < k->n && done + i < slots; i++)
                f->order[used++] = f->members[k->first + f->scratch[i]];
        }
    }
    mc_rng_permute(f->opts.seed, mc_feed_stream(epoch, MC_FEED_ORDER), f->scratch, f->n);
    for (int64_t i = f->n - 1; i > 0; i--) { /* the permutation is applied by its own cycles */
        int64_t from = f->scratch[i];
        while (from > i)
            from = f->scratch[from];
        int64_t t = f->order[i];
        f->order[i] = f->order[from];
        f->order[from] = t;
    }
}

static void put_in_order(struct mc_feed *f, int64_t epoch)
{
    if (f->ordered == epoch || (f->opts.in_order && f->ordered >= 0))
        return;
    if (f->opts.in_order) {
        memcpy(f->order, f->index, (size_t)f->n * sizeof *f->order);
    } else if (f->n_classes) {
        order_balanced(f, epoch);
    } else {
        mc_rng_permute(f->opts.seed, mc_feed_stream(epoch, MC_FEED_ORDER), f->order, f->n);
        for (int64_t i = 0; i < f->n; i++)
            f->order[i] = f->index[f->order[i]];
    }
    f->ordered = epoch;
}

/* Sort the samples by class. */
static int gather_classes(struct mc_feed *f, struct mc_err *err)
{
    if (!f->data->has_labels)
        return mc_fail(err, MC_EDATA, "balance needs a class of each sample; '%s' %s",
                       f->data->spec, mc_dataset_no_labels(f->data));
    int64_t *labels = mc_calloc((size_t)f->n, sizeof *labels), highest = 0;
    int rc = labels ? mc_dataset_labels(f->data, f->index, f->n, labels, err)
                    : mc_fail(err, MC_ENOMEM, "out of memory");
    for (int64_t i = 0; !rc && i < f->n; i++) {
        if (labels[i] < 0)
            rc = mc_fail(err, MC_EDATA, "'%s': label %lld of sample %lld is no class number",
                         f->data->spec, (long long)labels[i], (long long)f->index[i]);
        highest = labels[i] > highest ? labels[i] : highest;
    }
    f->members = mc_calloc((size_t)f->n, sizeof *f->members);
    f->classes = rc ? NULL : mc_calloc((size_t)highest + 1, sizeof *f->classes);
    if (!rc && (!f->members || !f->classes))
        rc = mc_fail(err, MC_ENOMEM, "out of memory");
    int64_t at = 0;
    for (int64_t i = 0; !rc && i < f->n; i++)
        f->classes[labels[i]].n++;
    for (int64_t c = 0; !rc && c <= highest; c++) {
        f->classes[c].first = at;
        at += f->classes[c].n;
    }
    for (int64_t i = 0; !rc && i < f->n; i++)
        f->members[f->classes[labels[i]].first++] = f->index[i];
    for (int64_t c = 0; !rc && c <= highest; c++) { /* classes without samples are left out */
        f->classes[c].first -= f->classes[c].n;
        if (f->classes[c].n)
            f->classes[f->n_classes++] = f->classes[c];
    }
    free(labels);
    return rc;
}

/* ---- one batch ---- */

/* Element that is NaN or infinite, or -1. */
static int64_t not_finite(const struct mc_array *a)
{
    enum { BLOCK = 256 };
    int64_t n = (int64_t)mc_shape_count(&a->shape);
    for (int64_t at = 0; at < n; at += BLOCK) {
        int64_t end = n - at < BLOCK ? n : at + BLOCK;
        /* 0 times a finite number is 0; the sum tells of all of them without a branch. */
        double bad = 0;
        if (a->dtype == MC_DTYPE_F32) {
            const float *x = a->data;
            float s[8] = {0};
            int64_t i = at;
            for (; i + 8 <= end; i += 8)
                for (int k = 0; k < 8; k++)
                    s[k] += 0.0f * x[i + k];
            for (; i < end; i++)
                s[0] += 0.0f * x[i];
            for (int k = 0; k < 8; k++)
                bad += (double)s[k];
        } else {
            for (int64_t i = at; i < end; i++)
                bad += 0.0 * ((const double *)a->data)[i];
        }
        for (int64_t i = at; bad != 0 && i < end; i++)
            if (!isfinite(a->dtype == MC_DTYPE_F32 ? (double)((const float *)a->data)[i]
                                                   : ((const double *)a->data)[i]))
                return i;
    }
    return -1;
}

static int check_values(const struct mc_feed *f, const struct mc_batch *b, struct mc_err *err)
{
    for (int k = 0; k < b->n_arrays; k++) {
        const struct mc_array *a = &b->arrays[k];
        if (a->dtype != MC_DTYPE_F32 && a->dtype != MC_DTYPE_F64)
            continue;
        int64_t at = not_finite(a);
        if (at >= 0)
            return mc_fail(err, MC_EDATA, "'%s': sample %lld has NaN or infinity for input '%s'",
                           f->data->spec,
                           (long long)b->index[at / ((int64_t)mc_shape_count(&a->shape) / b->n)],
                           a->name);
    }
    return 0;
}

static int change(struct mc_feed *f, int64_t epoch, int64_t first, struct mc_feed_batch *b,
                  struct mc_err *err)
{
    int rc = 0;
    if (!f->checked)
        rc = mc_augment_check(&f->augment, b->data, err);
    f->checked = !rc;
    if (!rc && f->augment.mixup > 0 && b->data->labels && f->opts.classes > 0) {
        b->probs = mc_calloc((size_t)b->data->n * (size_t)f->opts.classes, sizeof *b->probs);
        if (!b->probs)
            rc = mc_fail(err, MC_ENOMEM, "out of memory");
    }
    if (!rc)
        rc = mc_augment_batch(&f->augment, f->opts.seed, epoch, first, b->data, b->probs,
                              f->opts.classes, err);
    return rc;
}

static int make(struct mc_feed *f, int64_t epoch, int64_t batch, struct mc_feed_batch *ret,
                struct mc_err *err)
{
    int64_t first = batch * f->opts.batch;
    int64_t n = f->n - first < f->opts.batch ? f->n - first : f->opts.batch;
    put_in_order(f, epoch);
    int rc = mc_dataset_read(f->data, f->order + first, n, &ret->data, err);
    if (!rc && ret->data->n != n)
        rc = mc_fail(err, MC_EDATA, "'%s' ended before sample %lld", f->data->spec,
                     (long long)f->order[first + ret->data->n]);
    if (!rc)
        rc = check_values(f, ret->data, err);
    if (!rc && !f->opts.in_order && mc_augment_any(&f->augment))
        rc = change(f, epoch, first, ret, err);
    if (rc)
        release(ret);
    return rc;
}

/* ---- the thread ---- */

static void *work(void *self)
{
    struct mc_feed *f = self;
    pthread_mutex_lock(&f->lock);
    while (!f->stop) {
        if (!f->wanted) {
            pthread_cond_wait(&f->turn, &f->lock);
            continue;
        }
        pthread_mutex_unlock(&f->lock);
        int rc = make(f, f->epoch, f->batch, &f->coming, &f->err);
        pthread_mutex_lock(&f->lock);
        f->rc = rc;
        f->wanted = false;
        pthread_cond_broadcast(&f->turn);
    }
    pthread_mutex_unlock(&f->lock);
    return NULL;
}

static void ask(struct mc_feed *f)
{
    pthread_mutex_lock(&f->lock);
    f->wanted = true;
    pthread_cond_broadcast(&f->turn);
    pthread_mutex_unlock(&f->lock);
}

static void wait_for(struct mc_feed *f)
{
    pthread_mutex_lock(&f->lock);
    while (f->wanted)
        pthread_cond_wait(&f->turn, &f->lock);
    pthread_mutex_unlock(&f->lock);
}

/* ---- use ---- */

static int fill(struct mc_feed *f, const int64_t *index, struct mc_err *err)
{
    size_t n = (size_t)f->n;
    f->index = mc_calloc(n, sizeof *f->index);
    f->order = mc_calloc(n, sizeof *f->order);
    f->scratch = mc_calloc(n, sizeof *f->scratch);
    if (!f->index || !f->order || !f->scratch)
        return mc_fail(err, MC_ENOMEM, "out of memory");
    memcpy(f->index, index, n * sizeof *index);
    int rc = mc_augment_parse(f->opts.in_order ? NULL : f->opts.augment, &f->augment, err);
    f->opts.augment = NULL;
    if (!rc && f->opts.balance && !f->opts.in_order)
        rc = gather_classes(f, err);
    if (rc || f->opts.in_order || !mc_augment_any(&f->augment))
        return rc;
    struct mc_batch *b; /* what samples look like: found out now, not in the thread */
    rc = mc_dataset_read(f->data, index, 1, &b, err);
    if (!rc) {
        rc = mc_augment_check(&f->augment, b, err);
        f->checked = !rc;
        mc_batch_free(b);
    }
    return rc;
}

int mc_feed_new(struct mc_dataset *d, const int64_t *index, int64_t n,
                const struct mc_feed_opts *opts, struct mc_feed **ret, struct mc_err *err)
{
    if (n < 1)
        return mc_fail(err, MC_EDATA, "'%s': no samples to train on", d->spec);
    if (opts->batch < 1)
        return mc_fail(err, MC_EUSAGE, "a batch needs at least one sample");
    struct mc_feed *f = mc_calloc(1, sizeof *f);
    if (!f)
        return mc_fail(err, MC_ENOMEM, "out of memory");
    f->data = d;
    f->opts = *opts;
    f->n = n;
    f->ordered = -1;
    pthread_mutex_init(&f->lock, NULL);
    pthread_cond_init(&f->turn, NULL);
    int rc = fill(f, index, err);
    if (!rc) {
        f->started = !pthread_create(&f->thread, NULL, work, f);
        if (!f->started)
            rc = mc_fail(err, MC_EFAIL, "cannot start a thread to read samples");
    }
    if (rc)
        mc_feed_free(f);
    else
        *ret = f;
    return rc;
}

void mc_feed_free(struct mc_feed *f)
{
    if (!f)
        return;
    if (f->started) {
        pthread_mutex_lock(&f->lock);
        f->stop = true;
        pthread_cond_broadcast(&f->turn);
        pthread_mutex_unlock(&f->lock);
        pthread_join(f->thread, NULL);
    }
    release(&f->coming);
    release(&f->given);
    pthread_cond_destroy(&f->turn);
    pthread_mutex_destroy(&f->lock);
    free(f->index);
    free(f->order);
    free(f->scratch);
    free(f->members);
    free(f->classes);
    free(f);
}

int64_t mc_feed_batches(const struct mc_feed *f)
{
    return (f->n - 1) / f->opts.batch + 1;
}

int mc_feed_seek(struct mc_feed *f, int64_t epoch, int64_t batch, struct mc_err *err)
{
    if (epoch < 0 || epoch > INT32_MAX || batch < 0 || batch >= mc_feed_batches(f))
        return mc_fail(err, MC_EUSAGE, "'%s': there is no batch %lld of %lld in epoch %lld",
                       f->data->spec, (long long)batch, (long long)mc_feed_batches(f),
                       (long long)epoch);
    wait_for(f);
    release(&f->coming);
    f->rc = 0;
    f->epoch = epoch;
    f->batch = batch;
    return 0;
}

int mc_feed_next(struct mc_feed *f, const struct mc_feed_batch **ret, struct mc_err *err)
{
    wait_for(f);
    if (!f->rc && !f->coming.data) { /* nothing was read ahead: at first, and after a seek */
        ask(f);
        wait_for(f);
    }
    if (f->rc) /* stays, until the next seek */
        return mc_fail(err, f->rc, "%s", f->err.msg);
    release(&f->given);
    f->given = f->coming;
    f->coming = (struct mc_feed_batch){0};
    f->batch++;
    if (f->batch == mc_feed_batches(f)) {
        f->batch = 0;
        f->epoch++;
    }
    ask(f);
    *ret = &f->given;
    return 0;
}
