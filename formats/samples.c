#include "formats/samples.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "formats/samples_kind.h"

const char *mc_samples_kind(size_t i, const char **ret_help)
{
    size_t n = 0;
    for (; mc_sample_kinds[n]; n++)
        if (n == i) {
            *ret_help = mc_sample_kinds[n]->help;
            return mc_sample_kinds[n]->name;
        }
    return mc_sample_name_help(i - n, ret_help);
}

static bool exists(const char *path)
{
    struct stat st;
    return !stat(path, &st);
}

/* A file of that very name comes first, then NAME:PART, then FILE:LABELS at the first ':' before which
 * there is a file. */
static int resolve(const char *spec, struct mc_sample_files *ret, struct mc_err *err)
{
    size_t n = strlen(spec);
    *ret = (struct mc_sample_files){0};
    if (!n || n >= MC_PATH)
        return mc_fail(err, MC_EUSAGE, "samples: give a file, IMAGES:LABELS or a data set's name");
    memcpy(ret->path, spec, n);
    if (exists(spec))
        return 0;
    int rc = mc_sample_name(spec, ret, err);
    if (rc)
        return rc < 0 ? rc : 0;
    for (const char *colon = spec; (colon = strchr(colon, ':')); colon++) {
        size_t left = (size_t)(colon - spec);
        memcpy(ret->path, spec, left);
        ret->path[left] = 0;
        if (exists(ret->path)) {
            if (!colon[1])
                return mc_fail(err, MC_EUSAGE, "samples '%s': no file of labels after ':'", spec);
            memcpy(ret->labels, colon + 1, n - left);
            return 0;
        }
    }
    return mc_fail(err, MC_EOPEN,
                   "samples '%s': there is no such file, and no data set of that name "
                   "(fashion-mnist:train, fashion-mnist:test)",
                   spec);
}

static const struct mc_sample_kind *recognise(const struct mc_narray_file *f)
{
    for (size_t i = 0; mc_sample_kinds[i]; i++)
        if (mc_sample_kinds[i]->probe && mc_sample_kinds[i]->probe(f->head, f->n_head))
            return mc_sample_kinds[i];
    return NULL;
}

static int unrecognised(const char *path, struct mc_err *err)
{
    const char *ext = mc_path_ext(path);
    for (size_t i = 0; mc_sample_kinds[i]; i++)
        if (*ext && !strcmp(ext, mc_sample_kinds[i]->ext))
            return mc_fail(err, MC_EFORMAT, "'%s' does not start like a %s file", path, ext);
    return mc_fail(err, MC_EFORMAT, "'%s' is no .npz, .npy, .csv or IDX file", path);
}

static int open_folder(const char *spec, const struct mc_sample_files *files,
                       const struct mc_sample_opts *opts, struct mc_dataset **ret,
                       struct mc_err *err)
{
    for (size_t i = 0; mc_sample_kinds[i]; i++)
        if (mc_sample_kinds[i]->probe_folder && mc_sample_kinds[i]->probe_folder(files->path))
            return mc_sample_kinds[i]->open_list(spec, files, opts, ret, err);
    return mc_fail(
        err, MC_EDATA,
        "the folder '%s' holds no samples: no pictures (.png, .jpg), no folders of them, "
        "no test_data_set_0",
        files->path);
}

static bool is_folder(const char *path)
{
    struct stat st;
    return !stat(path, &st) && S_ISDIR(st.st_mode);
}

/* s is the file, opened here; it becomes the dataset unless the kind makes one of its own. */
static int open_file(struct mc_source *s, const struct mc_sample_files *files,
                     struct mc_dataset **ret, struct mc_err *err)
{
    int rc = mc_narray_file_open(files->path, &s->file, err);
    if (rc)
        return rc;
    const struct mc_sample_kind *kind = recognise(&s->file);
    if (!kind)
        return unrecognised(files->path, err);
    if (kind->open_list) {
        rc = kind->open_list(s->base->spec, files, s->opts, ret, err);
        if (rc <= 0)
            return rc;
    }
    rc = kind->open(s, files, err);
    if (!rc) {
        mc_samples_identify(s->base, kind->name, files->path);
        *ret = s->base;
    }
    return rc;
}

int mc_samples_open(const char *spec, const struct mc_sample_opts *opts, struct mc_dataset **ret,
                    struct mc_err *err)
{
    struct mc_sample_files files;
    struct mc_source *s;
    struct mc_dataset *d = NULL;
    int rc = resolve(spec, &files, err);
    if (!rc)
        rc = mc_source_new(spec, opts, &s, err);
    if (rc)
        return rc;
    rc = is_folder(files.path) ? open_folder(spec, &files, opts, &d, err)
                               : open_file(s, &files, &d, err);
    s->opts = NULL;
    if (d != s->base)
        mc_source_abort(s);
    if (!rc)
        *ret = d;
    return rc;
}
