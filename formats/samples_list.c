#include "formats/samples_list.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "formats/samples_source.h"

struct listed {
    struct mc_list list;
    struct mc_arena arena;
    struct mc_array *likes;
    int n_inputs;
    pthread_mutex_t lock;
    int32_t *group;          /* [count] number + 1 of the sample's shapes, 0: not yet asked for */
    struct mc_shape *shapes; /* [n_groups * n_inputs] */
    size_t n_groups, cap_groups;
};

static void listed_free(void *self)
{
    struct listed *l = self;
    if (l->list.self)
        l->list.class->free(l->list.self);
    free(l->list.labels);
    free(l->group);
    free(l->shapes);
    mc_arena_free(&l->arena);
    pthread_mutex_destroy(&l->lock);
    free(l);
}

static bool same_shapes(const struct listed *l, size_t group, const struct mc_shape *shapes)
{
    for (int k = 0; k < l->n_inputs; k++)
        if (!mc_shape_equal(&l->shapes[group * (size_t)l->n_inputs + (size_t)k], &shapes[k]))
            return false;
    return true;
}

/* The number of these shapes, a new one where they are new. */
static int number_of(struct listed *l, const struct mc_shape *shapes, int32_t *ret,
                     struct mc_err *err)
{
    size_t g = 0, n = (size_t)l->n_inputs;
    while (g < l->n_groups && !same_shapes(l, g, shapes))
        g++;
    if (g == l->n_groups) {
        if (g == l->cap_groups) {
            size_t cap = g ? 2 * g : 4;
            struct mc_shape *p = mc_realloc(l->shapes, cap * n, sizeof *p);
            if (!p)
                return mc_fail(err, MC_ENOMEM, "out of memory");
            l->shapes = p;
            l->cap_groups = cap;
        }
        memcpy(l->shapes + g * n, shapes, n * sizeof *shapes);
        l->n_groups++;
    }
    *ret = (int32_t)g;
    return 0;
}

static int group_of(struct listed *l, int64_t i, int32_t *ret, struct mc_err *err)
{
    int rc = 0;
    if (!l->group[i]) {
        struct mc_shape *shapes = mc_calloc((size_t)l->n_inputs, sizeof *shapes);
        rc = shapes ? l->list.class->shapes(l->list.self, i, shapes, err)
                    : mc_fail(err, MC_ENOMEM, "out of memory");
        if (!rc)
            rc = number_of(l, shapes, ret, err);
        if (!rc)
            l->group[i] = *ret + 1;
        free(shapes);
    }
    *ret = l->group[i] - 1;
    return rc;
}

static int listed_group(void *self, int64_t index, int64_t *ret, struct mc_err *err)
{
    struct listed *l = self;
    int32_t group = 0;
    pthread_mutex_lock(&l->lock);
    int rc = group_of(l, index, &group, err);
    pthread_mutex_unlock(&l->lock);
    *ret = group;
    return rc;
}

/* Sizes of the samples were agreed on in *shapes: batch arrays [n, ...]. */
static int make_batch(const struct listed *l, int32_t group, int64_t n, struct mc_batch **ret,
                      struct mc_err *err)
{
    struct mc_array *likes = mc_calloc((size_t)l->n_inputs, sizeof *likes);
    if (!likes)
        return mc_fail(err, MC_ENOMEM, "out of memory");
    int rc = 0;
    for (int k = 0; !rc && k < l->n_inputs; k++) {
        const struct mc_shape *s = &l->shapes[(size_t)group * (size_t)l->n_inputs + (size_t)k];
        likes[k] = l->likes[k];
        likes[k].shape.rank = s->rank + 1;
        if (s->rank >= MC_RANK_MAX)
            rc = mc_fail(err, MC_EUNSUP, "samples for input '%s' have %d axes; at most %d are read",
                         likes[k].name, s->rank, MC_RANK_MAX - 1);
        else
            memcpy(likes[k].shape.dim + 1, s->dim, (size_t)s->rank * sizeof *s->dim);
    }
    if (!rc)
        rc = l->list.sequence
                 ? mc_batch_new_sequences(n, l->n_inputs, likes, l->list.sequence, ret, err)
                 : mc_batch_new(n, l->n_inputs, likes, l->list.labels != NULL, ret, err);
    free(likes);
    return rc;
}

static int listed_read(void *self, const int64_t *index, int64_t n, struct mc_batch **ret,
                       struct mc_err *err)
{
    struct listed *l = self;
    struct mc_batch *b = NULL;
    int32_t group = 0;
    void **data = mc_calloc((size_t)l->n_inputs, sizeof *data);
    int rc = data ? 0 : mc_fail(err, MC_ENOMEM, "out of memory");
    pthread_mutex_lock(&l->lock);
    if (!rc && n > 0)
        rc = group_of(l, index[0], &group, err);
    if (!rc)
        rc = make_batch(l, group, n, &b, err);
    for (int64_t i = 0; !rc && i < n; i++) {
        for (int k = 0; k < l->n_inputs; k++)
            data[k] = (char *)b->arrays[k].data + b->arrays[k].bytes / (size_t)n * (size_t)i;
        rc = l->list.class->load(l->list.self, index[i],
                                 l->shapes + (size_t)group * (size_t)l->n_inputs, data, err);
        if (b->sequences)
            memcpy(b->sequences + i * l->list.sequence,
                   l->list.labels + index[i] * l->list.sequence,
                   (size_t)l->list.sequence * sizeof *b->sequences);
        else if (b->labels)
            b->labels[i] = l->list.labels[index[i]];
    }
    pthread_mutex_unlock(&l->lock);
    free(data);
    if (rc)
        mc_batch_free(b);
    else
        *ret = b;
    return rc;
}

int mc_list_changed(const char *what, struct mc_err *err)
{
    return mc_fail(err, MC_EDATA, "'%s' was changed while it was in use", what);
}

static int listed_labels(void *self, const int64_t *index, int64_t n, int64_t *ret,
                         struct mc_err *err)
{
    const struct listed *l = self;
    (void)err;
    for (int64_t i = 0; i < n; i++)
        ret[i] = l->list.labels[index[i]];
    return 0;
}

static const struct mc_dataset_class listed_class = {listed_read, listed_free, listed_group,
                                                     listed_labels};

static int fill(struct listed *l, struct mc_dataset *d, const char *spec,
                const struct mc_sample_opts *opts, struct mc_err *err)
{
    d->spec = strdup(spec);
    l->likes = mc_arena_array(&l->arena, (size_t)opts->n_inputs, sizeof *l->likes);
    l->group = mc_calloc((size_t)l->list.count, sizeof *l->group);
    bool ok = d->spec && l->likes && l->group;
    for (int k = 0; ok && k < opts->n_inputs; k++) {
        l->likes[k] = opts->inputs[k];
        l->likes[k].name = mc_arena_strdup(&l->arena, opts->inputs[k].name);
        ok = l->likes[k].name != NULL;
    }
    l->n_inputs = opts->n_inputs;
    if (!ok)
        return mc_fail(err, MC_ENOMEM, "out of memory");
    if (l->list.count < 1)
        return mc_fail(err, MC_EDATA, "'%s' holds no samples", spec);
    return 0;
}

int mc_list_open(const char *spec, const char *path, const struct mc_sample_opts *opts,
                 const struct mc_list *list, struct mc_dataset **ret, struct mc_err *err)
{
    struct listed *l = mc_calloc(1, sizeof *l);
    struct mc_dataset *d = mc_calloc(1, sizeof *d);
    if (!l || !d) {
        list->class->free(list->self);
        free(list->labels);
        free(l);
        free(d);
        return mc_fail(err, MC_ENOMEM, "out of memory");
    }
    l->list = *list;
    pthread_mutex_init(&l->lock, NULL);
    *d = (struct mc_dataset){.class = &listed_class,
                             .self = l,
                             .count = list->count,
                             .has_labels = list->labels && !list->sequence,
                             .sequence = list->sequence,
                             .classes = list->classes,
                             .whole = list->whole};
    int rc = fill(l, d, spec, opts, err);
    if (rc) {
        mc_dataset_free(d);
        return rc;
    }
    mc_samples_identify(d, list->class->kind, path);
    *ret = d;
    return 0;
}
