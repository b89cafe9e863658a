/* Opening samples in tests: a failure that was not expected fails the test. */
#ifndef MC_TESTS_FORMATS_OPEN_H
#define MC_TESTS_FORMATS_OPEN_H

#include "formats/samples.h"

extern struct mc_err err; /* of the last call */

/* rank, dims of the arguments */
#define DIMS(...)                                                                                  \
    (sizeof((int64_t[]){__VA_ARGS__}) / 8), (int64_t[])                                            \
    {                                                                                              \
        __VA_ARGS__                                                                                \
    }
struct mc_array input(const char *name, enum mc_dtype dtype, int rank, const int64_t *dims);

struct mc_dataset *open_one(const char *spec, struct mc_array in, const char *preprocess);
struct mc_batch *range(struct mc_dataset *d, int64_t first, int64_t n);

/* Opening, or reading all of it forward, must fail with this code and these words. */
void refused(const char *spec, const struct mc_sample_opts *o, int code, const char *words);
void refused_one(const char *spec, struct mc_array in, int code, const char *words);

#endif
