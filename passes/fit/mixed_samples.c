#include "passes/fit/mixed_samples.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/rng.h"

enum { STREAM = 77, AXIS_MIN = 4, DRAWS = 2 * MC_RANK_MAX + 1 };

struct mixed {
    struct mc_dataset *of;
    int64_t count;
    uint64_t seed;
};

/* Number k of sample `index`'s draws, from 0 to 1. */
static double draw(const struct mixed *m, int64_t index, int k)
{
    return mc_rng_uniform(m->seed, STREAM, (uint64_t)(index * DRAWS + k));
}

/* Whose part is put into sample `index`: from its own half of the samples, which are told apart by even and odd. */
static int64_t partner(const struct mixed *m, int64_t index)
{
    int64_t own = index % m->count, half = (m->count - own % 2 + 1) / 2;
    int64_t other = (int64_t)(draw(m, index, 0) * (double)half) % half * 2 + own % 2;
    int64_t a, b;
    struct mc_err err;
    bool alike = index >= m->count && !mc_dataset_group(m->of, own, &a, &err) &&
                 !mc_dataset_group(m->of, other, &b, &err) && a == b;
    return alike ? other : own;
}

struct box {
    int64_t first[MC_RANK_MAX], length[MC_RANK_MAX];
};

static void put(const struct mc_shape *s, const struct box *b, int axis, size_t size,
                const uint8_t *from, uint8_t *to)
{
    size_t inner = size;
    for (int i = axis + 1; i < s->rank; i++)
        inner *= (size_t)s->dim[i];
    from += (size_t)b->first[axis] * inner;
    to += (size_t)b->first[axis] * inner;
    if (axis == s->rank - 1) {
        memcpy(to, from, (size_t)b->length[axis] * inner);
        return;
    }
    for (int64_t i = 0; i < b->length[axis]; i++, from += inner, to += inner)
        put(s, b, axis + 1, size, from, to);
}

/* A quarter to three quarters of every axis that is long enough. */
static void mix(const struct mixed *m, int64_t index, const struct mc_array *a, const uint8_t *from,
                uint8_t *to)
{
    struct mc_shape s = mc_shape_of(a->shape.rank - 1, a->shape.dim + 1);
    struct box b;
    bool any = false;
    for (int i = 0; i < s.rank; i++) {
        double share = 0.25 + 0.5 * draw(m, index, 1 + 2 * i);
        bool cut = s.dim[i] >= AXIS_MIN;
        b.length[i] = cut ? (int64_t)(share * (double)s.dim[i]) : s.dim[i];
        b.first[i] =
            (int64_t)(draw(m, index, 2 + 2 * i) * (double)(s.dim[i] - b.length[i] + (cut ? 1 : 0)));
        any = any || cut;
    }
    if (any && mc_dtype_info(a->dtype)->bits >= 8)
        put(&s, &b, 0, mc_dtype_info(a->dtype)->bits / 8, from, to);
}

static int fill(const struct mixed *m, const int64_t *index, int64_t n, const struct mc_batch *b,
                struct mc_batch **ret, struct mc_err *err)
{
    struct mc_array *like = mc_calloc((size_t)b->n_arrays + 1, sizeof *like);
    if (!like)
        return mc_fail(err, MC_ENOMEM, "out of memory");
    for (int k = 0; k < b->n_arrays; k++) {
        like[k] = b->arrays[k];
        like[k].shape.dim[0] = n;
    }
    int rc = mc_batch_new(n, b->n_arrays, like, false, ret, err);
    for (int k = 0; !rc && k < b->n_arrays; k++) {
        size_t each = b->arrays[k].bytes / (size_t)b->n;
        const uint8_t *from = b->arrays[k].data;
        uint8_t *to = (*ret)->arrays[k].data;
        memcpy(to, from, (size_t)n * each);
        for (int64_t i = 0; i < n; i++)
            if (index[i] >= m->count && b->arrays[k].shape.rank > 1)
                mix(m, index[i], &b->arrays[k], from + (size_t)(n + i) * each,
                    to + (size_t)i * each);
    }
    free(like);
    return rc;
}

static int read_mixed(void *self, const int64_t *index, int64_t n, struct mc_batch **ret,
                      struct mc_err *err)
{
    const struct mixed *m = self;
    struct mc_batch *b = NULL;
    int64_t *both = mc_calloc((size_t)n + 1, 2 * sizeof *both);
    if (!both)
        return mc_fail(err, MC_ENOMEM, "out of memory");
    for (int64_t i = 0; i < n; i++) {
        both[i] = index[i] % m->count;
        both[n + i] = partner(m, index[i]);
    }
    int rc = mc_dataset_read(m->of, both, 2 * n, &b, err);
    if (!rc && b->n != 2 * n)
        rc = mc_fail(err, MC_EDATA, "%s has fewer samples than before", m->of->spec);
    if (!rc)
        rc = fill(m, index, n, b, ret, err);
    for (int64_t i = 0; !rc && i < n; i++)
        (*ret)->index[i] = index[i];
    mc_batch_free(b);
    free(both);
    return rc;
}

static int group_of(void *self, int64_t index, int64_t *ret, struct mc_err *err)
{
    const struct mixed *m = self;
    return mc_dataset_group(m->of, index % m->count, ret, err);
}

int mc_mixed_samples(struct mc_dataset *of, int64_t count, int64_t more, uint64_t seed,
                     struct mc_dataset **ret, struct mc_err *err)
{
    static const struct mc_dataset_class class = {
        .read = read_mixed, .free = free, .group = group_of};
    static const struct mc_dataset_class alike = {.read = read_mixed, .free = free};
    struct mc_dataset *d = mc_calloc(1, sizeof *d);
    struct mixed *m = mc_calloc(1, sizeof *m);
    char *spec = mc_calloc(strlen(of->spec) + 1, 1);
    if (!d || !m || !spec) {
        free(d);
        free(m);
        free(spec);
        return mc_fail(err, MC_ENOMEM, "out of memory");
    }
    strcpy(spec, of->spec);
    *m = (struct mixed){.of = of, .count = count, .seed = seed};
    *d = (struct mc_dataset){.class = of->class->group ? &class : &alike,
                             .self = m,
                             .spec = spec,
                             .count = count + more,
                             .whole = of->whole};
    *ret = d;
    return 0;
}
