/* A dataset in memory: one float32 array and labels. */
#ifndef MC_TESTS_RUN_MEMORY_DATA_H
#define MC_TESTS_RUN_MEMORY_DATA_H

#include <string.h>

#include "graph/dataset.h"

struct memory_data {
    struct mc_dataset d;
    const char *name; /* of the input */
    int64_t count;    /* samples there are, also where d.count is -1 */
    struct mc_shape sample;
    const float *x;
    const int64_t *labels; /* or NULL; [count, d.sequence] where that is set after memory_open */
    int64_t reads, largest;
};

static inline int memory_read(void *self, const int64_t *index, int64_t n, struct mc_batch **ret,
                              struct mc_err *err)
{
    struct memory_data *m = self;
    int64_t have = 0;
    while (have < n && index[have] < m->count)
        have++;
    int64_t dims[MC_RANK_MAX + 1] = {have};
    memcpy(dims + 1, m->sample.dim, sizeof m->sample.dim);
    struct mc_array like = {m->name, MC_DTYPE_F32, mc_shape_of(m->sample.rank + 1, dims), NULL, 0};
    int64_t width = m->d.sequence;
    int rc = width ? mc_batch_new_sequences(have, 1, &like, width, ret, err)
                   : mc_batch_new(have, 1, &like, m->labels != NULL, ret, err);
    if (rc)
        return rc;
    int64_t row = mc_shape_count(&m->sample);
    for (int64_t i = 0; i < have; i++) {
        memcpy((float *)(*ret)->arrays[0].data + i * row, m->x + index[i] * row,
               (size_t)row * sizeof(float));
        if (width)
            memcpy((*ret)->sequences + i * width, m->labels + index[i] * width,
                   (size_t)width * sizeof *m->labels);
        else if (m->labels)
            (*ret)->labels[i] = m->labels[index[i]];
    }
    m->reads++;
    m->largest = have > m->largest ? have : m->largest;
    return 0;
}

static const struct mc_dataset_class memory_class = {.read = memory_read};

/* Valid until its arguments go; m must stay where it is. */
static inline struct mc_dataset *memory_open(struct memory_data *m, const char *name, int64_t count,
                                             int rank, const int64_t *dims, const float *x,
                                             const int64_t *labels)
{
    *m = (struct memory_data){.d = {.class = &memory_class,
                                    .self = m,
                                    .spec = "memory",
                                    .count = count,
                                    .has_labels = labels != NULL},
                              .name = name,
                              .count = count,
                              .sample = mc_shape_of(rank, dims),
                              .x = x,
                              .labels = labels};
    return &m->d;
}

#endif
