/* A dataset over arrays in files: what the kinds of samples share. */
#ifndef MC_FORMATS_SAMPLES_SOURCE_H
#define MC_FORMATS_SAMPLES_SOURCE_H

#include "base/mem.h"
#include "formats/narray.h"
#include "formats/samples.h"

struct mc_field; /* one model input, and where its samples come from */

struct mc_source {
    struct mc_dataset *base; /* labels, classes, count and whole are filled while adding */
    struct mc_arena arena;
    struct mc_narray_file file, label_file;
    const struct mc_sample_opts *opts; /* valid while opening */
    struct mc_field **fields;
    struct mc_array *likes;
    int n_fields;
    int64_t *labels; /* [count], or [count, base->sequence] */
};

/* An empty dataset for opts->n_inputs fields. Errors: MC_EUSAGE without inputs; MC_ENOMEM. */
int mc_source_new(const char *spec, const struct mc_sample_opts *opts, struct mc_source **ret,
                  struct mc_err *err);
/* Frees base too: for a source that does not become a dataset. */
void mc_source_abort(struct mc_source *s);

/* Formatted text in the arena; NULL out of memory. */
const char *mc_source_text(struct mc_source *s, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

/* The next input of opts->inputs gets its samples from `a`. Errors: MC_ESHAPE, MC_EDATA (number of samples
 * differs, none), MC_EDTYPE, and those of the preprocess string. */
int mc_source_add(struct mc_source *s, const struct mc_narray *a, struct mc_err *err);
/* Read the labels of all samples: [n] or [n,1], class numbers; integers [n,s], sequences, each ended by the first
 * negative number or by s. Errors: MC_EDATA: other shapes or types, a negative class, one-hot rows. */
int mc_source_labels(struct mc_source *s, const struct mc_narray *a, struct mc_err *err);
/* Identity from kind, path, size and modification time of the file or folder the samples are in. Labels are left out:
 * the same images with and without labels are the same samples. */
void mc_samples_identify(struct mc_dataset *d, const char *kind, const char *path);

#endif
