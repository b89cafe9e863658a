/* Any bytes as an ONNX model: an error, or a model that is written, read back and written as the same
 * bytes. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "formats/onnx.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(int rc, const char *what, const struct mc_err *err)
{
    if (!rc)
        return;
    fprintf(stderr, "%s: %s\n", what, err->msg);
    abort();
}

/* Write m; its digest, and how it reads. */
static struct mc_model *again(const struct mc_model *m, char hex[65])
{
    struct mc_err err = {0};
    struct mc_onnx_staged *s;
    struct mc_model *copy;
    uint64_t foretold = 0, bytes = 0;
    must(mc_onnx_bytes(m, "-", NULL, &foretold, &err), "bytes", &err);
    must(mc_onnx_stage(m, "-", NULL, &s, &err), "write", &err);
    must(mc_onnx_staged_digest(s, hex, &bytes, &err), "digest", &err);
    must(bytes != foretold, "another size than foretold", &err);
    must(mc_onnx_staged_read(s, &copy, &err), "read what was written", &err);
    mc_onnx_staged_abort(s);
    return copy;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char path[64], one[65], two[65];
    struct mc_model *m;
    struct mc_err err = {0};
    int fd = memfd_create("model", MFD_CLOEXEC);
    if (fd < 0 || write(fd, data, size) != (ssize_t)size)
        abort();
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    int rc = mc_onnx_read(path, &m, &err);
    close(fd);
    if (rc) {
        if (err.code != rc || !err.msg[0] || strchr(err.msg, '\n'))
            must(rc, "not a line of its own", &err);
        return 0;
    }
    struct mc_model *second = again(m, one), *third = again(second, two);
    if (strcmp(one, two))
        must(1, "the second copy differs from the first", &err);
    mc_model_free(m);
    mc_model_free(second);
    mc_model_free(third);
    return 0;
}
