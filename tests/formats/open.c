#include "open.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

struct mc_err err;

struct mc_array input(const char *name, enum mc_dtype dtype, int rank, const int64_t *dims)
{
    return (struct mc_array){.name = name, .dtype = dtype, .shape = mc_shape_of(rank, dims)};
}

#define DIMS(...)                                                                                  \
    (sizeof((int64_t[]){__VA_ARGS__}) / 8), (int64_t[])                                            \
    {                                                                                              \
        __VA_ARGS__                                                                                \
    }

struct mc_dataset *open_one(const char *spec, struct mc_array in, const char *preprocess)
{
    struct mc_dataset *d;
    struct mc_sample_opts o = {.inputs = &in, .n_inputs = 1, .preprocess = preprocess};
    if (mc_samples_open(spec, &o, &d, &err))
        fail_msg("%s: %s", spec, err.msg);
    assert_string_equal(d->spec, spec);
    return d;
}

struct mc_batch *range(struct mc_dataset *d, int64_t first, int64_t n)
{
    struct mc_batch *b;
    if (mc_dataset_range(d, first, n, &b, &err))
        fail_msg("%s", err.msg);
    assert_int_equal(b->n, n);
    return b;
}

void refused(const char *spec, const struct mc_sample_opts *o, int code, const char *words)
{
    struct mc_dataset *d;
    struct mc_batch *b;
    int rc = mc_samples_open(spec, o, &d, &err);
    if (!rc) {
        rc = mc_dataset_range(d, 0, d->count, &b, &err);
        if (!rc)
            mc_batch_free(b);
        mc_dataset_free(d);
    }
    if (rc != code || !strstr(err.msg, words))
        fail_msg("%s: expected %d with '%s', got %d: %s", spec, code, words, rc, err.msg);
}

void refused_one(const char *spec, struct mc_array in, int code, const char *words)
{
    struct mc_sample_opts o = {.inputs = &in, .n_inputs = 1};
    refused(spec, &o, code, words);
}
