/* onnx_copy [-x] [-d] IN OUT [IN OUT …]: read models and write them, for tests/formats/onnx_roundtrip.py.
 * -x: with external data; -d: also print the digest of OUT and how many bytes mc_onnx_bytes foretold. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "formats/onnx.h"

static int copy(const char *in, const char *out, bool external, bool digest, struct mc_err *err)
{
    struct mc_onnx_write_opts opts = {.external = external};
    struct mc_model *m;
    uint64_t foretold = 0, bytes;
    char hex[65];
    int rc = mc_onnx_read(in, &m, err);
    if (rc)
        return rc;
    rc = mc_onnx_bytes(m, out, &opts, &foretold, err);
    if (!rc)
        rc = mc_onnx_write(m, out, &opts, err);
    mc_model_free(m);
    if (!rc && digest)
        rc = mc_onnx_digest(out, hex, &bytes, err);
    if (!rc && digest)
        printf("%s %" PRIu64 " %" PRIu64 "\n", hex, bytes, foretold);
    return rc;
}

int main(int argc, char **argv)
{
    bool external = false, digest = false;
    int i = 1;
    for (; i < argc && argv[i][0] == '-'; i++) {
        external |= !strcmp(argv[i], "-x");
        digest |= !strcmp(argv[i], "-d");
    }
    int failed = 0;
    for (; i + 1 < argc; i += 2) {
        struct mc_err err = {0};
        if (copy(argv[i], argv[i + 1], external, digest, &err)) {
            fprintf(stderr, "%s\n", err.msg);
            puts("0 0 0");
            failed = 1;
        }
    }
    return failed;
}
