#include "graph/dataset_join.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

struct joined {
    struct mc_dataset *part[2];
};

static void joined_free(void *self)
{
    struct joined *j = self;
    mc_dataset_free(j->part[0]);
    mc_dataset_free(j->part[1]);
    free(j);
}

/* Rows of `from` go to rows place[0..n) of `to`. */
static void scatter(const struct mc_batch *from, struct mc_batch *to, const int64_t *place,
                    bool labels)
{
    for (int k = 0; k < to->n_arrays; k++) {
        size_t row = to->arrays[k].bytes / (size_t)to->n;
        for (int64_t i = 0; i < from->n; i++)
            memcpy((char *)to->arrays[k].data + (size_t)place[i] * row,
                   (const char *)from->arrays[k].data + (size_t)i * row, row);
    }
    for (int64_t i = 0; i < from->n; i++)
        to->labels[place[i]] = labels && from->labels ? from->labels[i] : MC_LABEL_NONE;
}

static int check_alike(const struct joined *j, const struct mc_batch *a, const struct mc_batch *b,
                       struct mc_err *err)
{
    bool alike = a->n_arrays == b->n_arrays;
    for (int i = 0; i < a->n_arrays && alike; i++) {
        struct mc_shape sa = a->arrays[i].shape, sb = b->arrays[i].shape;
        sa.dim[0] = sb.dim[0] = 1;
        alike = a->arrays[i].dtype == b->arrays[i].dtype && mc_shape_equal(&sa, &sb);
    }
    if (alike)
        return 0;
    return mc_fail(err, MC_ESHAPE, "'%s' and '%s' have samples of different types or shapes",
                   j->part[0]->spec, j->part[1]->spec);
}

static int gather(struct joined *j, struct mc_batch *const *got, int64_t *const *place, int64_t n,
                  struct mc_batch **ret, struct mc_err *err)
{
    const struct mc_batch *some = got[0] ? got[0] : got[1];
    int rc = got[0] && got[1] ? check_alike(j, got[0], got[1], err) : 0;
    if (!rc)
        rc = mc_batch_new(n, some->n_arrays, some->arrays, true, ret, err);
    for (int p = 0; p < 2 && !rc; p++)
        if (got[p])
            scatter(got[p], *ret, place[p], p == 0);
    return rc;
}

static int joined_read(void *self, const int64_t *index, int64_t n, struct mc_batch **ret,
                       struct mc_err *err)
{
    struct joined *j = self;
    struct mc_batch *got[2] = {NULL};
    int64_t count[2] = {0}, *at = mc_calloc(4 * (size_t)n + 1, sizeof *at), rc = 0;
    if (!at)
        return mc_fail(err, MC_ENOMEM, "out of memory for a batch of %lld samples", (long long)n);
    int64_t *which[2] = {at, at + n}, *place[2] = {at + 2 * n, at + 3 * n};
    for (int64_t i = 0; i < n; i++) {
        int p = index[i] >= j->part[0]->count;
        which[p][count[p]] = index[i] - (p ? j->part[0]->count : 0);
        place[p][count[p]++] = i;
    }
    for (int p = 0; p < 2 && !rc; p++)
        if (count[p] || (!n && !p))
            rc = mc_dataset_read(j->part[p], which[p], count[p], &got[p], err);
    if (!rc)
        rc = gather(j, got, place, n, ret, err);
    mc_batch_free(got[0]);
    mc_batch_free(got[1]);
    free(at);
    return (int)rc;
}

static int joined_labels(void *self, const int64_t *index, int64_t n, int64_t *ret,
                         struct mc_err *err)
{
    struct joined *j = self;
    int rc = 0;
    for (int64_t i = 0; i < n && !rc; i++) {
        ret[i] = MC_LABEL_NONE;
        if (index[i] < j->part[0]->count)
            rc = mc_dataset_labels(j->part[0], index + i, 1, ret + i, err);
    }
    return rc;
}

static const struct mc_dataset_class joined_class = {.read = joined_read,
                                                     .free = joined_free,
                                                     .labels = joined_labels};

static int check(const struct joined *j, struct mc_err *err)
{
    for (int p = 0; p < 2; p++) {
        if (j->part[p]->count < 1)
            return mc_fail(err, MC_EDATA, "'%s': the number of samples is not known, or 0",
                           j->part[p]->spec);
        if (j->part[p]->class->group || j->part[p]->whole)
            return mc_fail(err, MC_ESHAPE, "'%s': samples must all have one shape to be mixed",
                           j->part[p]->spec);
    }
    if (!j->part[0]->has_labels)
        return mc_fail(err, MC_EDATA, "'%s' %s", j->part[0]->spec,
                       mc_dataset_no_labels(j->part[0]));
    struct mc_batch *a = NULL, *b = NULL;
    int rc = mc_dataset_range(j->part[0], 0, 1, &a, err);
    rc = rc ? rc : mc_dataset_range(j->part[1], 0, 1, &b, err);
    rc = rc ? rc : check_alike(j, a, b, err);
    mc_batch_free(a);
    mc_batch_free(b);
    return rc;
}

/* "labelled + unlabelled", and an identity that follows from both. */
static int name(struct mc_dataset *d, const struct joined *j, struct mc_err *err)
{
    size_t room = strlen(j->part[0]->spec) + strlen(j->part[1]->spec) + 8;
    char *spec = malloc(room);
    if (!spec)
        return mc_fail(err, MC_ENOMEM, "out of memory");
    snprintf(spec, room, "%s + %s", j->part[0]->spec, j->part[1]->spec);
    d->spec = spec;
    for (size_t i = 0; i < sizeof d->id - 1; i++) { /* digits of both, one after the other */
        const char *a = j->part[0]->id, *b = j->part[1]->id;
        d->id[i] = i % 2 ? b[i % (strlen(b) + 1)] : a[i % (strlen(a) + 1)];
        if (!d->id[i])
            d->id[i] = '0';
    }
    return 0;
}

int mc_dataset_join(struct mc_dataset *a, struct mc_dataset *b, struct mc_dataset **ret,
                    struct mc_err *err)
{
    struct joined *j = mc_calloc(1, sizeof *j);
    struct mc_dataset *d = mc_calloc(1, sizeof *d);
    if (!j || !d) {
        free(j);
        free(d);
        mc_dataset_free(a);
        mc_dataset_free(b);
        return mc_fail(err, MC_ENOMEM, "out of memory");
    }
    *j = (struct joined){{a, b}};
    *d = (struct mc_dataset){.class = &joined_class,
                             .self = j,
                             .count = a->count + b->count,
                             .has_labels = true,
                             .partly = true,
                             .classes = a->classes};
    int rc = check(j, err);
    rc = rc ? rc : name(d, j, err);
    if (rc)
        mc_dataset_free(d);
    else
        *ret = d;
    return rc;
}
