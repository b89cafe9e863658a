/* Samples from files: a spec as the user types it -> a dataset.
 *
 *   FILE.npz              arrays named as the model's inputs; class numbers in "labels", or, for losses that take
 *                         them, sequences: integers [n,s], each ended by the first negative number
 *                         or by s. If the model has one input and the file one array besides labels, its name does not matter.
 *   FILE.npy[:LABELS]     one array for the model's one input
 *   IMAGES[:LABELS]       IDX (MNIST's format); LABELS are IDX or .npy; both, and .npy, gzipped or not
 *                         Every sample an array of its own: NAME_0, NAME_1, … (samples_npz.h)
 *   FILE.csv[:COLUMN]     a row is a sample; also .tsv, gzipped or not; COLUMN holds the labels
 *   FOLDER                pictures in class folders or without classes (samples_images.h, preprocess.h), or
 *                         the inputs of ONNX test data (testset.h)
 *   fashion-mnist:test    a data set by name, in $MCOMPRESS_DATA/NAME or where its Debian package puts it
 *
 * A file whose whole name is the spec comes first, then names, then FILE:LABELS. Kinds are recognised by
 * content and are one table (formats/meson.build).
 *
 * Axis 0 counts samples. As many axes as the input: the input's axis 0 is the batch. One more: each sample
 * is a whole input tensor (dataset->whole). Images [h,w] also fit inputs [n,1,h,w], [n,h,w,1] and [n,h*w];
 * [c,h,w] also [n,h,w,c] and [n,c*h*w]. Values are converted to the input's type: floats round, integers
 * must be exact. NaN is an error, infinities pass (masks have them). 8-bit pixels for a float input go
 * through the preprocess string (formats/preprocess.h); others take them as they are.
 *
 * dataset->id hashes kind, real path, size and modification time of the samples' file, not of the labels'.
 * Reading onward, or again from sample 0, streams: memory does not grow with the number of samples. Any
 * other order of compressed samples inflates them once into spill space, as far as they are asked for. Checksums are verified
 * when the last sample of an array is reached: what is never read may be damaged. */
#ifndef MC_FORMATS_SAMPLES_H
#define MC_FORMATS_SAMPLES_H

#include "graph/dataset.h"

struct mc_sample_opts {
    const struct mc_array *inputs; /* the model's inputs: name, dtype, shape with free dims < 0 */
    int n_inputs;
    const char *preprocess; /* "scale=1/255,mean=0.5,std=0.5"; NULL: value/255; 8-bit images only */
    const char *spill_dir;  /* for inflating where random access is needed; NULL: $TMPDIR, /tmp */
    bool no_labels;         /* ignore labels */
};

/* Errors, here or when reading: MC_EOPEN missing file or unknown name (says which package or path was looked
 * for); MC_EFORMAT truncated or damaged; MC_EUNSUP a dtype or packing that is not read; MC_ESHAPE samples that
 * do not fit an input (both shapes); MC_EDTYPE a value that does not fit its type; MC_EDATA missing arrays,
 * counts that differ, unusable labels, NaN; MC_EUSAGE a preprocess string or spec that makes no sense. */
int mc_samples_open(const char *spec, const struct mc_sample_opts *opts, struct mc_dataset **ret,
                    struct mc_err *err);

/* Text of all kinds for `list formats` and --help; i from 0, NULL at the end. */
const char *mc_samples_kind(size_t i, const char **ret_help);

#endif
