/* .npz: a zip of .npy arrays, one per model input, and "labels". */
#include <stdio.h>
#include <string.h>

#include "formats/npy.h"
#include "formats/samples_kind.h"
#include "formats/samples_npz.h"
#include "formats/zip.h"

/* Length of an entry's array name: numpy appends ".npy". */
static size_t name_length(const struct mc_zip_entry *e)
{
    size_t n = strlen(e->name);
    return n > 4 && !strcmp(e->name + n - 4, ".npy") ? n - 4 : n;
}

static bool is_named(const struct mc_zip_entry *e, const char *name)
{
    size_t n = name_length(e);
    return strlen(name) == n && !memcmp(e->name, name, n);
}

/* The entry of that name, NULL if there is none. */
static int find(const struct mc_zip *z, const char *name, const struct mc_zip_entry **ret,
                struct mc_err *err)
{
    *ret = NULL;
    for (size_t i = 0; i < z->n; i++) {
        if (!is_named(&z->entries[i], name))
            continue;
        if (*ret)
            return mc_fail(err, MC_EFORMAT, "%s has two arrays named '%s'", z->what, name);
        *ret = &z->entries[i];
    }
    return 0;
}

static int missing(const struct mc_zip *z, const char *name, struct mc_err *err)
{
    char has[256];
    size_t at = 0;
    has[0] = 0;
    for (size_t i = 0; i < z->n && at < sizeof has - 4; i++) {
        size_t room = sizeof has - at;
        int n = snprintf(has + at, room, "%s'%.*s'", i ? ", " : "",
                         (int)name_length(&z->entries[i]), z->entries[i].name);
        at = n < 0 || (size_t)n >= room ? sizeof has : at + (size_t)n;
    }
    return mc_fail(err, MC_EDATA, "%s has no array named as the model's input '%s'; it has %s%s",
                   z->what, name, z->n ? has : "none", at >= sizeof has - 4 ? " ..." : "");
}

/* The only array besides labels serves the only input, whatever its name: numpy's own default is arr_0. */
static const struct mc_zip_entry *only_one(const struct mc_zip *z)
{
    const struct mc_zip_entry *one = NULL;
    for (size_t i = 0; i < z->n; i++) {
        if (is_named(&z->entries[i], "labels"))
            continue;
        if (one)
            return NULL;
        one = &z->entries[i];
    }
    return one;
}

static int describe(struct mc_source *s, const struct mc_zip *z, const struct mc_zip_entry *e,
                    const char *path, struct mc_narray *ret, struct mc_err *err)
{
    *ret = (struct mc_narray){
        .what = mc_source_text(s, "array '%.*s' of '%s'", (int)name_length(e), e->name, path)};
    if (!ret->what)
        return mc_fail(err, MC_ENOMEM, "out of memory");
    int rc = mc_zip_src(z, e, &ret->src, err);
    return rc ? rc : mc_npy_read(ret, err);
}

static int add_all(struct mc_source *s, const struct mc_zip *z, const char *path,
                   struct mc_err *err)
{
    const struct mc_zip_entry *e;
    struct mc_narray a;
    bool labels_are_input = false;
    for (int i = 0; i < s->opts->n_inputs; i++) {
        const char *name = s->opts->inputs[i].name;
        int rc = find(z, name, &e, err);
        if (rc)
            return rc;
        if (!e && s->opts->n_inputs == 1)
            e = only_one(z);
        if (!e)
            return missing(z, name, err);
        labels_are_input |= is_named(e, "labels");
        rc = describe(s, z, e, path, &a, err);
        if (!rc)
            rc = mc_source_add(s, &a, err);
        if (rc)
            return rc;
    }
    int rc = find(z, "labels", &e, err);
    if (rc || !e || labels_are_input || s->opts->no_labels)
        return rc;
    rc = describe(s, z, e, path, &a, err);
    return rc ? rc : mc_source_labels(s, &a, err);
}

static int open_npz(struct mc_source *s, const struct mc_sample_files *files, struct mc_err *err)
{
    if (*files->labels)
        return mc_fail(err, MC_EUSAGE, "'%s' has its labels in the array 'labels'; leave out ':%s'",
                       files->path, files->labels);
    if (s->file.src.form != MC_STREAM_PLAIN)
        return mc_fail(err, MC_EUNSUP, "'%s' is a .npz inside gzip; gunzip it first", files->path);
    const char *what = mc_source_text(s, "'%s'", files->path);
    if (!what)
        return mc_fail(err, MC_ENOMEM, "out of memory");
    struct mc_zip z;
    int rc = mc_zip_open(&s->file.map, what, &z, err);
    if (rc)
        return rc;
    rc = add_all(s, &z, files->path, err);
    mc_zip_close(&z);
    return rc;
}

const struct mc_sample_kind mc_sample_kind_npz = {
    .name = "npz",
    .help = "FILE.npz: arrays named as the model's inputs; 'labels' holds class numbers [n], or "
            "sequences of them, each row of [n,s] up to its first -1",
    .ext = ".npz",
    .probe = mc_zip_probe,
    .open_list = mc_npz_list_open,
    .open = open_npz,
};
