#include <string.h>

#include "graph/ops/helper.h"
#include "graph/ops/xnor_step.h"

enum { MOST_K = 1 << 24 }; /* sums are exact in float32 up to here */

bool mc_xnor_is_conv(const struct mc_node *n)
{
    return !strcmp(n->op_type, "XnorConv");
}

/* Attributes that the function has not would change what other runtimes compute. */
static int need_known(const struct mc_node *n, struct mc_err *err)
{
    static const char *const known[] = {"columns", "shape", "strides", "pads", "dilations"};
    size_t n_known = mc_xnor_is_conv(n) ? 5 : 1;
    for (size_t i = 0; i < n->n_attr; i++) {
        bool found = false;
        for (size_t j = 0; j < n_known && !found; j++)
            found = !strcmp(n->attr[i].name, known[j]);
        if (!strcmp(n->attr[i].name, "group") && mc_xnor_is_conv(n) && n->attr[i].i == 1)
            continue;
        if (!found)
            return mc_op_fail(err, MC_EUNSUP, n,
                              "attribute '%s', which it does not have; groups stay real",
                              n->attr[i].name);
    }
    return 0;
}

static int need_size(const struct mc_node *n, const char *what, int64_t v, struct mc_err *err)
{
    if (v >= 1 && v <= MOST_K)
        return 0;
    return mc_op_fail(err, v < 1 ? MC_ESHAPE : MC_EUNSUP, n,
                      "attribute '%s' has %lld, must be 1 to %d", what, (long long)v, MOST_K);
}

int mc_xnor_weight(const struct mc_node *n, struct mc_xnor_sizes *ret, struct mc_err *err)
{
    size_t n_columns, n_shape;
    const int64_t *columns = mc_node_ints(n, "columns", &n_columns);
    const int64_t *shape = mc_node_ints(n, "shape", &n_shape);
    struct mc_xnor_sizes s = {.filters = MC_DIM_ANY};
    int rc = need_known(n, err);
    if (!rc && n_columns != 1)
        rc = mc_op_fail(err, MC_ESHAPE, n, "attribute 'columns' has %zu numbers, must have 1",
                        n_columns);
    rc = rc ? rc : need_size(n, "columns", columns[0], err);
    if (rc)
        return rc;
    s.k = columns[0];
    if (mc_xnor_is_conv(n)) {
        if (n_shape != 3 && n_shape != 4)
            return mc_op_fail(err, MC_EUNSUP, n,
                              "attribute 'shape' has %zu numbers, must have 3 or 4", n_shape);
        s.rank = (int)n_shape - 2;
        int64_t k = 1;
        for (size_t i = 0; i < n_shape && !rc; i++) {
            rc = need_size(n, "shape", shape[i], err);
            k *= i && !rc && k <= MOST_K ? shape[i] : 1; /* both within 2^24 */
        }
        if (rc)
            return rc;
        if (k != s.k)
            return mc_op_fail(err, MC_ESHAPE, n, "columns is %lld, the shape has %lld",
                              (long long)s.k, (long long)k);
        s.filters = shape[0];
        s.channels = shape[1];
        memcpy(s.kernel, shape + 2, (size_t)s.rank * sizeof *shape);
    }
    *ret = s;
    return 0;
}
