/* Any bytes as a file of samples: npz, npy, IDX, gzipped or not. What opens must hold its promises. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "formats/samples.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void promise(bool kept, const char *what)
{
    if (!kept) {
        fprintf(stderr, "fuzz_samples: %s\n", what);
        abort();
    }
}

static void read_some(struct mc_dataset *d, const int64_t *index, int64_t n)
{
    struct mc_batch *b;
    struct mc_err err = {0};
    int rc = mc_dataset_read(d, index, n, &b, &err);
    if (rc) {
        promise(rc == err.code && err.msg[0], "an error without a message");
        return;
    }
    promise(b->n == n, "another number of samples");
    promise(!b->labels == !d->has_labels, "labels appeared or vanished");
    promise(!b->sequences == !d->sequence, "sequences appeared or vanished");
    for (int64_t i = 0; b->sequences && i < n * d->sequence; i++)
        promise(b->sequences[i] >= -1 && b->sequences[i] < d->classes,
                "a label beyond the classes");
    for (int64_t i = 0; b->labels && i < n; i++)
        promise(b->labels[i] >= 0 && b->labels[i] < d->classes, "a label beyond the classes");
    for (int a = 0; a < b->n_arrays; a++) {
        promise(b->arrays[a].shape.dim[0] == n, "a batch axis that is none");
        const uint8_t *p = b->arrays[a].data;
        for (size_t k = 0; k < b->arrays[a].bytes && b->arrays[a].dtype == MC_DTYPE_F32; k += 4) {
            float v;
            memcpy(&v, p + k, 4);
            promise(v == v, "NaN came through");
        }
    }
    mc_batch_free(b);
}

static void try_inputs(const char *path, const struct mc_array *in, int n)
{
    struct mc_sample_opts o = {.inputs = in, .n_inputs = n};
    struct mc_dataset *d;
    struct mc_err err = {0};
    int rc = mc_samples_open(path, &o, &d, &err);
    if (rc) {
        promise(rc == err.code && err.msg[0], "an error without a message");
        return;
    }
    promise(d->count > 0, "no samples");
    int64_t last = d->count - 1, mid = last / 2;
    read_some(d, (int64_t[]){0, mid, last}, 3);
    read_some(d, (int64_t[]){last, 0}, 2);
    read_some(d, (int64_t[]){mid}, 1);
    mc_dataset_free(d);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char path[64];
    int fd = memfd_create("samples", MFD_CLOEXEC);
    promise(fd >= 0 && write(fd, data, size) == (ssize_t)size, "no memory for the file");
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    const struct mc_array any = {.name = "x", .dtype = MC_DTYPE_F32, .shape = {.rank = -1}};
    const struct mc_array image = {
        .name = "x", .dtype = MC_DTYPE_U8, .shape = {4, {-2, -1, -1, -1}}};
    const struct mc_array two[] = {{.name = "x", .dtype = MC_DTYPE_F64, .shape = {2, {-2, -1}}},
                                   {.name = "b/in:0", .dtype = MC_DTYPE_I64, .shape = {1, {-2}}}};
    try_inputs(path, &any, 1);
    try_inputs(path, &image, 1);
    try_inputs(path, two, 2);
    close(fd);
    return 0;
}
