/* Any bytes as a tensor in a file of its own (input_0.pb). */
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "formats/onnx_tensor_file.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void promise(bool kept, const char *what)
{
    if (!kept) {
        fprintf(stderr, "fuzz_tensor: %s\n", what);
        abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char path[64], *name;
    int fd = memfd_create("tensor", MFD_CLOEXEC);
    struct mc_tensor *t;
    struct mc_err err = {0};
    promise(fd >= 0 && write(fd, data, size) == (ssize_t)size, "no memory for the file");
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    int rc = mc_onnx_tensor_file(path, &t, &name, &err);
    close(fd);
    if (rc) {
        promise(rc == err.code && err.msg[0], "an error without a message");
        return 0;
    }
    size_t bytes;
    if (t->dtype != MC_DTYPE_STRING) {
        promise(mc_dtype_bytes(t->dtype, mc_tensor_count(t), &bytes) && bytes == t->bytes,
                "content of another size than its shape's");
        volatile unsigned sum = 0;
        for (size_t i = 0; i < t->bytes; i++)
            sum += t->data[i];
    }
    mc_tensor_unref(t);
    free(name);
    return 0;
}
