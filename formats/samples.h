/* Samples from files: a spec as the user types it -> a dataset.
 *
 * Specs: FILE.npz, FILE.npy, IMAGES:LABELS or IMAGES (IDX, gz or not), a name ("fashion-mnist:test").
 * Each kind is one row of a table (probe, open); chosen by content first, by name second. */
#ifndef MC_FORMATS_SAMPLES_H
#define MC_FORMATS_SAMPLES_H

#include "graph/dataset.h"

struct mc_sample_opts {
    const struct mc_array *inputs; /* the model's inputs: name, dtype, shape with free dims < 0 */
    int n_inputs;
    const char *preprocess; /* "scale=1/255,mean=…,std=…"; NULL: value/255; 8-bit images only */
    const char *spill_dir;  /* for inflating where random access is needed; NULL: $TMPDIR, /tmp */
    bool no_labels;         /* ignore labels */
};

/* Errors: MC_EOPEN missing file or unknown name (says which package or path was looked for), MC_EFORMAT,
 * MC_EDATA/MC_ESHAPE samples that do not fit an input (names input, its shape, the sample's shape). */
int mc_samples_open(const char *spec, const struct mc_sample_opts *opts, struct mc_dataset **ret,
                    struct mc_err *err);

/* Text of all kinds for `list formats` and --help; i from 0, NULL at the end. */
const char *mc_samples_kind(size_t i, const char **ret_help);

#endif
