/* lift_model IN OUT VERSION: write IN, lifted to at least this opset, to OUT. */
#include <stdio.h>
#include <stdlib.h>

#include "formats/onnx.h"
#include "graph/opset.h"
#include "graph/verify.h"

int main(int argc, char **argv)
{
    struct mc_model *m = NULL;
    struct mc_err err;
    if (argc != 4)
        return 2;
    int rc = mc_onnx_read(argv[1], &m, &err);
    if (!rc)
        rc = mc_opset_lift(m, atoi(argv[3]), &err);
    if (!rc)
        rc = mc_verify(m, &err);
    if (!rc)
        rc = mc_onnx_write(m, argv[2], NULL, &err);
    if (rc)
        fprintf(stderr, "%s\n", err.msg);
    mc_model_free(m);
    return rc ? 1 : 0;
}
