/* Any bytes as a value in a file of its own (input_0.pb): a tensor, a sequence, an optional. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "formats/onnx_value_file.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void promise(bool kept, const char *what)
{
    if (!kept) {
        fprintf(stderr, "fuzz_tensor: %s\n", what);
        abort();
    }
}

static unsigned check(const struct mc_array *a)
{
    size_t bytes;
    unsigned sum = 0;
    promise(a->name != NULL, "no name");
    if (mc_array_is_list(a)) {
        const struct mc_array *item = a->data;
        for (size_t i = 0; i < mc_array_n_items(a); i++)
            sum += check(&item[i]);
        return sum;
    }
    promise(mc_dtype_bytes(a->dtype, mc_shape_count(&a->shape), &bytes) && bytes == a->bytes,
            "content of another size than its shape's");
    for (size_t i = 0; i < a->bytes; i++)
        sum += ((const uint8_t *)a->data)[i];
    return sum;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const enum mc_type_kind kinds[] = {MC_TYPE_TENSOR, MC_TYPE_SEQUENCE, MC_TYPE_OPTIONAL};
    char path[64];
    int fd = memfd_create("tensor", MFD_CLOEXEC);
    promise(fd >= 0 && write(fd, data, size) == (ssize_t)size, "no memory for the file");
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        struct mc_arena mem = {0};
        struct mc_err err = {0};
        struct mc_array a;
        volatile unsigned sum = 0;
        (void)sum;
        int rc = mc_onnx_value_file(path, kinds[i], &mem, &a, &err);
        if (rc)
            promise(rc == err.code && err.msg[0], "an error without a message");
        else
            sum += check(&a);
        mc_arena_free(&mem);
    }
    close(fd);
    return 0;
}
