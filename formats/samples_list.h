/* A dataset over samples that are read one by one and may differ in shape. */
#ifndef MC_FORMATS_SAMPLES_LIST_H
#define MC_FORMATS_SAMPLES_LIST_H

#include "formats/samples.h"

struct mc_list_class {
    const char *kind; /* for the identity */
    /* Shapes of sample i, one for each input, without the axis that counts samples. */
    int (*shapes)(void *self, int64_t i, struct mc_shape *ret, struct mc_err *err);
    /* Its elements, in the inputs' types; data[k] has room for shapes[k], as it was said before: a file that
     * has changed since is an error. */
    int (*load)(void *self, int64_t i, const struct mc_shape *shapes, void *const *data,
                struct mc_err *err);
    void (*free)(void *self);
};

struct mc_list {
    const struct mc_list_class *class;
    void *self;
    int64_t count;
    bool whole;
    int64_t *labels; /* [count], malloc'd; or NULL */
    int64_t classes;
    int64_t sequence; /* labels is [count, sequence], of sequences; 0: of class numbers */
};

/* Takes over self and labels, also on failure. `path` identifies the samples. Shapes are asked for once a
 * sample. Errors: MC_EDATA without samples; MC_ENOMEM. */
int mc_list_open(const char *spec, const char *path, const struct mc_sample_opts *opts,
                 const struct mc_list *list, struct mc_dataset **ret, struct mc_err *err);

/* For load: sample `what` is not what it was. */
int mc_list_changed(const char *what, struct mc_err *err);

#endif
