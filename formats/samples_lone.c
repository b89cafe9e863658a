#include "formats/samples_lone.h"

#include "formats/idx.h"
#include "formats/npy.h"

/* Labels need not be of the kind the samples are of. */
static int describe(struct mc_source *s, const struct mc_narray_file *f, const char *path,
                    struct mc_narray *ret, struct mc_err *err)
{
    *ret = (struct mc_narray){.what = mc_source_text(s, "'%s'", path), .src = f->src};
    if (!ret->what)
        return mc_fail(err, MC_ENOMEM, "out of memory");
    if (mc_npy_probe(f->head, f->n_head))
        return mc_npy_read(ret, err);
    return mc_idx_read(f->head, f->n_head, ret, err);
}

int mc_lone_open(struct mc_source *s, const struct mc_sample_files *files, struct mc_err *err)
{
    struct mc_narray a;
    int rc = describe(s, &s->file, files->path, &a, err);
    if (rc)
        return rc;
    if (s->opts->n_inputs > 1)
        return mc_fail(err, MC_EDATA,
                       "%s is one array, the model has %d inputs ('%s', '%s'%s); put one array per "
                       "input into a .npz",
                       a.what, s->opts->n_inputs, s->opts->inputs[0].name, s->opts->inputs[1].name,
                       s->opts->n_inputs > 2 ? ", ..." : "");
    rc = mc_source_add(s, &a, err);
    if (rc || !*files->labels || s->opts->no_labels)
        return rc;
    rc = mc_narray_file_open(files->labels, &s->label_file, err);
    if (!rc)
        rc = describe(s, &s->label_file, files->labels, &a, err);
    return rc ? rc : mc_source_labels(s, &a, err);
}
