/* Samples for a model, from wherever: the interface between formats/ (which makes them) and graph/run,
 * passes and train (which use them). */
#ifndef MC_GRAPH_DATASET_H
#define MC_GRAPH_DATASET_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "graph/dtype.h"
#include "graph/shape.h"

/* A host buffer. Where sequences and optionals are spoken of: with dtype MC_DTYPE_NONE it is a sequence, whose
 * shape.dim[0] items are the mc_arrays at `data`, or, with rank -1, an optional without an element. An optional
 * with an element is that element. */
struct mc_array {
    const char *name;
    enum mc_dtype dtype;
    struct mc_shape shape;
    void *data; /* 64-byte aligned, row-major */
    size_t bytes;
};

static inline bool mc_array_is_list(const struct mc_array *a)
{
    return a->dtype == MC_DTYPE_NONE;
}

/* Items of a list; 0 of an empty optional. */
static inline size_t mc_array_n_items(const struct mc_array *a)
{
    return a->shape.rank < 0 ? 0 : (size_t)a->shape.dim[0];
}

enum { MC_ARRAY_TEXT = MC_SHAPE_TEXT + 32 };
/* What it is, for messages: "float32 [2,3]", "a sequence of 3", "an empty optional". */
const char *mc_array_text(const struct mc_array *a, char ret[MC_ARRAY_TEXT]);

struct mc_batch {
    int64_t n;      /* samples; less than asked for only at the end of a source of unknown length */
    int64_t *index; /* [n] their numbers */
    int n_arrays;
    struct mc_array *arrays; /* in the order of the model's inputs */
    int64_t *labels;         /* [n] class numbers, or NULL */
    int64_t *sequences;      /* [n, sequence] label sequences, -1 behind the end of each, or NULL */
};

struct mc_dataset_class {
    int (*read)(void *self, const int64_t *index, int64_t n, struct mc_batch **ret,
                struct mc_err *err);
    void (*free)(void *self); /* not the struct mc_dataset, see mc_dataset_free */
    /* Where samples differ in shape: a number that is the same for two samples only if their shapes are, and
     * they can be read together. NULL: all can. */
    int (*group)(void *self, int64_t index, int64_t *ret, struct mc_err *err);
    /* Class numbers of samples whose numbers were checked; NULL: they come with reading. */
    int (*labels)(void *self, const int64_t *index, int64_t n, int64_t *ret, struct mc_err *err);
};

struct mc_dataset {
    const struct mc_dataset_class *class;
    void *self;
    const char *spec; /* as the user gave it; heap, freed with the dataset */
    int64_t count;    /* -1: unknown until read to the end */
    bool has_labels;  /* one class number each */
    int64_t
        sequence; /* most labels of one, where samples have sequences of labels instead, else 0 */
    bool partly;  /* some samples have the label MC_LABEL_NONE (graph/dataset_join.h) */
    int64_t classes; /* highest label + 1 where known without reading all, else 0 */
    bool whole;  /* each sample is one whole input tensor, without a batch axis: a batch is [n, ...]
                          and its samples are run one at a time */
    char id[65]; /* identity of the bytes behind it (hex hash of path, size, time or content): the
                          same samples in --data and --calib are recognised by it */
};

/* Read samples by number into new arrays with a leading axis of n. Thread-safe. Any order; ascending from
 * the last one read is always cheap. Errors: MC_EDATA naming source and sample, also for samples that differ
 * in shape; MC_EIO for spill space. */
int mc_dataset_read(struct mc_dataset *d, const int64_t *index, int64_t n, struct mc_batch **ret,
                    struct mc_err *err);
/* Samples [first, first + n). */
int mc_dataset_range(struct mc_dataset *d, int64_t first, int64_t n, struct mc_batch **ret,
                     struct mc_err *err);
/* The class's group of a sample; 0 where all samples have one shape. Errors: those of reading. */
int mc_dataset_group(struct mc_dataset *d, int64_t index, int64_t *ret, struct mc_err *err);
/* ret[i] = class number of sample index[i], where possible without reading the sample.
 * Errors: MC_EDATA where there are no labels; those of reading. */
int mc_dataset_labels(struct mc_dataset *d, const int64_t *index, int64_t n, int64_t *ret,
                      struct mc_err *err);
/* What a message says where class numbers are missing: "has no labels", or that it has sequences. */
const char *mc_dataset_no_labels(const struct mc_dataset *d);
/* class->free(self), then spec and the struct itself (both from malloc); accepts NULL. */
void mc_dataset_free(struct mc_dataset *d);

/* One block for everything; arrays zeroed with the given shapes, whose leading axis becomes n. Names are
 * borrowed from `like`. Errors: MC_ESHAPE for rank 0, MC_ENOMEM (also for sizes that overflow). */
int mc_batch_new(int64_t n, int n_arrays, const struct mc_array *like, bool labels,
                 struct mc_batch **ret, struct mc_err *err);
/* The same with label sequences of up to `sequence` each, and no class numbers; 0: with neither. */
int mc_batch_new_sequences(int64_t n, int n_arrays, const struct mc_array *like, int64_t sequence,
                           struct mc_batch **ret, struct mc_err *err);
void mc_batch_free(struct mc_batch *b);

#endif
