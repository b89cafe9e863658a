#include "graph/dataset.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

const char *mc_array_text(const struct mc_array *a, char ret[MC_ARRAY_TEXT])
{
    char shape[MC_SHAPE_TEXT];
    if (!mc_array_is_list(a))
        snprintf(ret, MC_ARRAY_TEXT, "%s %s", mc_dtype_name(a->dtype),
                 mc_shape_text(&a->shape, shape));
    else if (a->shape.rank < 0)
        snprintf(ret, MC_ARRAY_TEXT, "an empty optional");
    else
        snprintf(ret, MC_ARRAY_TEXT, "a sequence of %zu", mc_array_n_items(a));
    return ret;
}

int mc_dataset_group(struct mc_dataset *d, int64_t index, int64_t *ret, struct mc_err *err)
{
    *ret = 0;
    return d->class->group ? d->class->group(d->self, index, ret, err) : 0;
}

/* Are all samples of one shape? */
static int check_groups(struct mc_dataset *d, const int64_t *index, int64_t n, struct mc_err *err)
{
    int64_t first = 0, group;
    int rc = 0;
    for (int64_t i = 0; d->class->group && !rc && i < n; i++) {
        rc = mc_dataset_group(d, index[i], &group, err);
        first = i ? first : group;
        if (!rc && group != first)
            rc = mc_fail(err, MC_EDATA,
                         "'%s': samples %lld and %lld have different shapes and cannot be in one "
                         "batch",
                         d->spec, (long long)index[0], (long long)index[i]);
    }
    return rc;
}

static int check_index(const struct mc_dataset *d, const int64_t *index, int64_t n,
                       struct mc_err *err)
{
    for (int64_t i = 0; i < n; i++)
        if (index[i] < 0 || (d->count >= 0 && index[i] >= d->count))
            return mc_fail(err, MC_EDATA, "'%s': sample %lld of %lld does not exist", d->spec,
                           (long long)index[i], (long long)d->count);
    return 0;
}

int mc_dataset_read(struct mc_dataset *d, const int64_t *index, int64_t n, struct mc_batch **ret,
                    struct mc_err *err)
{
    int rc = check_index(d, index, n, err);
    if (!rc)
        rc = check_groups(d, index, n, err);
    if (!rc)
        rc = d->class->read(d->self, index, n, ret, err);
    if (!rc)
        memcpy((*ret)->index, index, (size_t)(*ret)->n * sizeof *index);
    return rc;
}

int mc_dataset_range(struct mc_dataset *d, int64_t first, int64_t n, struct mc_batch **ret,
                     struct mc_err *err)
{
    if (n > 0 && first > INT64_MAX - n)
        return mc_fail(err, MC_EDATA, "'%s': sample %lld does not exist", d->spec,
                       (long long)first);
    int64_t *index = n < 0 ? NULL : mc_calloc((size_t)n, sizeof *index);
    if (!index)
        return mc_fail(err, MC_ENOMEM, "'%s': out of memory for %lld samples", d->spec,
                       (long long)n);
    for (int64_t i = 0; i < n; i++)
        index[i] = first + i;
    int rc = mc_dataset_read(d, index, n, ret, err);
    free(index);
    return rc;
}

int mc_dataset_labels(struct mc_dataset *d, const int64_t *index, int64_t n, int64_t *ret,
                      struct mc_err *err)
{
    if (!d->has_labels)
        return mc_fail(err, MC_EDATA, "'%s' %s", d->spec, mc_dataset_no_labels(d));
    int rc = check_index(d, index, n, err);
    if (!rc && d->class->labels)
        return d->class->labels(d->self, index, n, ret, err);
    for (int64_t i = 0; !rc && i < n; i++) {
        struct mc_batch *b;
        rc = mc_dataset_read(d, index + i, 1, &b, err);
        if (rc)
            break;
        if (b->n == 1 && b->labels)
            ret[i] = b->labels[0];
        else
            rc = mc_fail(err, MC_EDATA, "'%s': sample %lld has no label", d->spec,
                         (long long)index[i]);
        mc_batch_free(b);
    }
    return rc;
}

const char *mc_dataset_no_labels(const struct mc_dataset *d)
{
    return d->sequence ? "has a sequence of labels for each sample, not one class number"
                       : "has no labels";
}

void mc_dataset_free(struct mc_dataset *d)
{
    if (!d)
        return;
    if (d->class && d->class->free)
        d->class->free(d->self);
    free((void *)d->spec);
    free(d);
}

/* Rounded up to the next multiple of MC_ALIGN, added to *at; false on overflow. */
static bool place(size_t *at, size_t bytes)
{
    size_t end;
    if (!mc_size_add(*at, bytes, &end) || !mc_size_add(end, MC_ALIGN - 1, &end))
        return false;
    *at = end & ~(size_t)(MC_ALIGN - 1);
    return true;
}

/* width: labels of each sample. */
static int new_block(int64_t n, int n_arrays, const struct mc_array *like, int64_t width,
                     struct mc_batch **ret, int64_t **ret_labels, struct mc_err *err)
{
    size_t total = 0, bytes = 0;
    bool ok = n >= 0 && mc_size_mul((size_t)n_arrays, sizeof *like, &bytes) &&
              place(&total, sizeof(struct mc_batch)) && place(&total, bytes);
    for (int i = 0; ok && i < n_arrays; i++) {
        struct mc_shape s = like[i].shape;
        if (s.rank < 1 || s.rank > MC_RANK_MAX)
            return mc_fail(err, MC_ESHAPE, "'%s': a batch needs rank 1 to %d, not %d", like[i].name,
                           MC_RANK_MAX, s.rank);
        s.dim[0] = n;
        if (!mc_shape_known(&s))
            return mc_fail(err, MC_ESHAPE, "'%s': a batch needs all dimensions but the first",
                           like[i].name);
        ok = mc_dtype_bytes(like[i].dtype, mc_shape_count(&s), &bytes) && place(&total, bytes);
    }
    ok = ok && mc_size_mul((size_t)n, sizeof(int64_t), &bytes) && place(&total, bytes) &&
         mc_size_mul(bytes, (size_t)width, &bytes) && place(&total, bytes);
    uint8_t *block = ok ? mc_alloc_aligned(total) : NULL;
    if (!block)
        return mc_fail(err, MC_ENOMEM, "out of memory for a batch of %lld samples", (long long)n);
    memset(block, 0, total);

    struct mc_batch *b = (struct mc_batch *)block;
    size_t at = 0;
    place(&at, sizeof *b);
    b->n = n;
    b->n_arrays = n_arrays;
    b->arrays = (struct mc_array *)(block + at);
    place(&at, (size_t)n_arrays * sizeof *b->arrays);
    for (int i = 0; i < n_arrays; i++) {
        struct mc_array *a = &b->arrays[i];
        *a = like[i];
        a->shape.dim[0] = n;
        a->data = block + at;
        mc_dtype_bytes(a->dtype, mc_shape_count(&a->shape), &a->bytes);
        place(&at, a->bytes);
    }
    b->index = (int64_t *)(block + at);
    place(&at, (size_t)n * sizeof *b->index);
    *ret_labels = (int64_t *)(block + at);
    *ret = b;
    return 0;
}

int mc_batch_new(int64_t n, int n_arrays, const struct mc_array *like, bool labels,
                 struct mc_batch **ret, struct mc_err *err)
{
    int64_t *room;
    int rc = new_block(n, n_arrays, like, labels, ret, &room, err);
    if (!rc && labels)
        (*ret)->labels = room;
    return rc;
}

int mc_batch_new_sequences(int64_t n, int n_arrays, const struct mc_array *like, int64_t sequence,
                           struct mc_batch **ret, struct mc_err *err)
{
    int64_t *room;
    int rc = new_block(n, n_arrays, like, sequence, ret, &room, err);
    if (!rc && sequence)
        (*ret)->sequences = room;
    return rc;
}

void mc_batch_free(struct mc_batch *b)
{
    free(b);
}
