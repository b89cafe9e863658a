/* estimate_cost MODEL...: the time that passes/quant expects of each in ONNX Runtime, for quant_cost_check.py: a line of
 * nanoseconds a model. */
#include <stdio.h>

#include "formats/onnx.h"
#include "passes/quant/cost/quant_cost.h"

static int show(const char *path, struct mc_err *err)
{
    struct mc_model *m;
    double ns;
    int rc = mc_onnx_read(path, &m, err);
    if (rc)
        return rc;
    rc = mc_quant_cost(m, MC_QUANT_STOCK, NULL, &ns, NULL, err);
    if (!rc)
        printf("%.0f\n", ns);
    mc_model_free(m);
    return rc;
}

int main(int argc, char **argv)
{
    struct mc_err err;
    for (int i = 1; i < argc; i++)
        if (show(argv[i], &err)) {
            fprintf(stderr, "%s: %s\n", argv[i], err.msg);
            return 1;
        }
    return 0;
}
