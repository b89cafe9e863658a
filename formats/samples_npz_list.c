#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "formats/npy.h"
#include "formats/samples_field.h"
#include "formats/samples_list.h"
#include "formats/samples_npz.h"
#include "formats/zip.h"

struct npz_list {
    struct mc_source *s;      /* holds the file, and likes and labels as for one array */
    struct mc_narray *arrays; /* [count * n_inputs], each with an axis of one sample in front */
    struct mc_fit *fits;
    struct mc_array *likes;
    int n_inputs;
    int64_t count;
};

static void npz_list_free(void *self)
{
    struct npz_list *l = self;
    if (l->s)
        mc_source_abort(l->s);
    free(l);
}

/* The entry of NAME_i or NAMEi. */
static const struct mc_zip_entry *find(const struct mc_zip *z, const char *name, int64_t i)
{
    char with[512], without[512];
    snprintf(with, sizeof with, "%.400s_%lld.npy", name, (long long)i);
    snprintf(without, sizeof without, "%.400s%lld.npy", name, (long long)i);
    for (size_t k = 0; k < z->n; k++)
        if (!strcmp(z->entries[k].name, with) || !strcmp(z->entries[k].name, without))
            return &z->entries[k];
    return NULL;
}

static bool has(const struct mc_zip *z, const char *name)
{
    char file[512];
    snprintf(file, sizeof file, "%.400s.npy", name);
    for (size_t k = 0; k < z->n; k++)
        if (!strcmp(z->entries[k].name, file) || !strcmp(z->entries[k].name, name))
            return true;
    return false;
}

static int add_array(struct npz_list *l, const struct mc_zip *z, const char *path, int k, int64_t i,
                     struct mc_err *err)
{
    const struct mc_zip_entry *e = find(z, l->likes[k].name, i);
    size_t at = (size_t)i * (size_t)l->n_inputs + (size_t)k;
    struct mc_narray *a = &l->arrays[at];
    if (!e)
        return mc_fail(err, MC_EDATA, "'%s' has no array '%s_%lld'", path, l->likes[k].name,
                       (long long)i);
    a->what = mc_source_text(l->s, "array '%s' of '%s'", e->name, path);
    if (!a->what)
        return mc_fail(err, MC_ENOMEM, "out of memory");
    int rc = mc_zip_src(z, e, &a->src, err);
    if (!rc)
        rc = mc_npy_read(a, err);
    if (rc)
        return rc;
    if (a->shape.rank == MC_RANK_MAX)
        return mc_fail(err, MC_EUNSUP, "%s has more than %d axes", a->what, MC_RANK_MAX - 1);
    if (a->fortran && a->shape.rank > 1)
        return mc_fail(err, MC_EUNSUP,
                       "%s is stored column by column; save it with numpy.ascontiguousarray",
                       a->what);
    memmove(a->shape.dim + 1, a->shape.dim, (size_t)a->shape.rank * sizeof *a->shape.dim);
    a->shape.dim[0] = 1;
    a->shape.rank++;
    rc = mc_fit(a, &l->likes[k], &l->fits[at], err);
    if (!rc && l->fits[at].whole != l->fits[0].whole)
        rc = mc_fail(err, MC_ESHAPE, "%s has another number of axes than %s", a->what,
                     l->arrays[0].what);
    return rc;
}

static int add_labels(struct npz_list *l, const struct mc_zip *z, const char *path,
                      struct mc_err *err)
{
    struct mc_narray a = {.what = mc_source_text(l->s, "array 'labels' of '%s'", path)};
    if (!a.what)
        return mc_fail(err, MC_ENOMEM, "out of memory");
    int rc = 0;
    for (size_t k = 0; !rc && k < z->n; k++)
        if (!strcmp(z->entries[k].name, "labels.npy")) {
            rc = mc_zip_src(z, &z->entries[k], &a.src, err);
            if (!rc)
                rc = mc_npy_read(&a, err);
            l->s->base->count = l->count;
            if (!rc)
                rc = mc_source_labels(l->s, &a, err);
        }
    return rc;
}

static int fill(struct npz_list *l, const struct mc_zip *z, const char *path,
                const struct mc_sample_opts *opts, struct mc_err *err)
{
    size_t n = (size_t)l->count * (size_t)l->n_inputs;
    l->arrays = mc_arena_array(&l->s->arena, n, sizeof *l->arrays);
    l->fits = mc_arena_array(&l->s->arena, n, sizeof *l->fits);
    l->likes = mc_arena_array(&l->s->arena, (size_t)l->n_inputs, sizeof *l->likes);
    if (!l->arrays || !l->fits || !l->likes)
        return mc_fail(err, MC_ENOMEM, "out of memory");
    int rc = 0;
    for (int k = 0; k < l->n_inputs; k++) {
        l->likes[k] = opts->inputs[k];
        if (!(l->likes[k].name = mc_arena_strdup(&l->s->arena, opts->inputs[k].name)))
            return mc_fail(err, MC_ENOMEM, "out of memory");
    }
    for (int64_t i = 0; !rc && i < l->count; i++)
        for (int k = 0; !rc && k < l->n_inputs; k++)
            rc = add_array(l, z, path, k, i, err);
    return rc || opts->no_labels ? rc : add_labels(l, z, path, err);
}

static int shapes(void *self, int64_t i, struct mc_shape *ret, struct mc_err *err)
{
    const struct npz_list *l = self;
    (void)err;
    for (int k = 0; k < l->n_inputs; k++) {
        const struct mc_shape *s = &l->fits[(size_t)i * (size_t)l->n_inputs + (size_t)k].shape;
        ret[k] = mc_shape_of(s->rank - 1, s->dim + 1);
    }
    return 0;
}

static int load(void *self, int64_t i, const struct mc_shape *said, void *const *data,
                struct mc_err *err)
{
    static const struct mc_sample_opts none;
    struct npz_list *l = self;
    int rc = 0;
    (void)said;
    for (int k = 0; !rc && k < l->n_inputs; k++) {
        size_t at = (size_t)i * (size_t)l->n_inputs + (size_t)k;
        struct mc_field *f;
        rc = mc_field_new(&l->arrays[at], &l->fits[at], &l->likes[k], &none, &f, err);
        if (rc)
            break;
        rc = mc_field_read(f, &(int64_t){0}, 1, data[k], err);
        mc_field_free(f);
    }
    return rc;
}

static const struct mc_list_class class = {"npz list", shapes, load, npz_list_free};

static int count_list(const struct mc_zip *z, const struct mc_sample_opts *opts)
{
    int64_t n = 0;
    if (opts->n_inputs < 1 || has(z, opts->inputs[0].name))
        return 0;
    while (n < (int64_t)z->n && find(z, opts->inputs[0].name, n))
        n++;
    return (int)n;
}

int mc_npz_list_open(const char *spec, const struct mc_sample_files *files,
                     const struct mc_sample_opts *opts, struct mc_dataset **ret, struct mc_err *err)
{
    struct mc_zip z = {0};
    struct npz_list *l = mc_calloc(1, sizeof *l);
    int rc = l ? mc_source_new(spec, opts, &l->s, err) : mc_fail(err, MC_ENOMEM, "out of memory");
    if (!rc)
        rc = mc_narray_file_open(files->path, &l->s->file, err);
    const char *what = rc ? NULL : mc_source_text(l->s, "'%s'", files->path);
    if (!rc && !what)
        rc = mc_fail(err, MC_ENOMEM, "out of memory");
    bool plain = !rc && l->s->file.src.form == MC_STREAM_PLAIN;
    if (plain)
        rc = mc_zip_open(&l->s->file.map, what, &z, err);
    if (!rc) {
        l->n_inputs = opts->n_inputs;
        l->count = count_list(&z, opts);
        rc = l->count ? fill(l, &z, files->path, opts, err) : 1;
    }
    if (plain)
        mc_zip_close(&z);
    if (rc) {
        if (l)
            npz_list_free(l);
        return rc;
    }
    struct mc_list list = {.class = &class,
                           .self = l,
                           .count = l->count,
                           .whole = l->fits[0].whole,
                           .labels = l->s->labels,
                           .classes = l->s->base->classes,
                           .sequence = l->s->base->sequence};
    l->s->labels = NULL;
    l->s->opts = NULL;
    return mc_list_open(spec, files->path, opts, &list, ret, err);
}
