/* Of square matrices: Det, and Inverse of com.microsoft. */
#include <math.h>
#include <string.h>

#include "graph/ops/helper.h"
#include "graph/ops/float_elem.h"

static int square_infer(struct mc_infer_ctx *c, struct mc_err *err)
{
    int rc = mc_op_arity(c, 1, 1, err);
    rc = rc ? rc : mc_op_need_float(c, 0, err);
    rc = rc ? rc : mc_op_need_rank(c, 0, 2, MC_RANK_MAX, err);
    if (rc)
        return rc;
    const struct mc_vtype *x = c->in[0];
    struct mc_shape y = x->shape;
    int64_t same;
    if (x->ranked)
        rc = mc_op_need_dim(c->node, "rows and columns", y.dim[y.rank - 2], y.dim[y.rank - 1],
                            &same, err);
    if (!strcmp(c->node->op_type, "Det"))
        y.rank -= 2;
    mc_op_give(c, 0, x->dtype, x->ranked ? &y : NULL);
    return rc;
}

static int square_setup(struct mc_call *c, struct mc_err *err)
{
    (void)err;
    size_t n = (size_t)c->in[0].shape.dim[c->in[0].shape.rank - 1];
    c->scratch_bytes = 2 * n * n * sizeof(double);
    return 0;
}

static void swap_rows(double *a, int64_t n, int64_t i, int64_t j)
{
    for (int64_t k = 0; k < n; k++) {
        double t = a[i * n + k];
        a[i * n + k] = a[j * n + k];
        a[j * n + k] = t;
    }
}

/* Gauss-Jordan elimination with partial pivoting: the determinant of a, which is destroyed, and its inverse in
 * b where that is not NULL (content void if the determinant is 0). */
static double eliminate(double *a, double *b, int64_t n)
{
    double det = 1;
    for (int64_t i = 0; b && i < n * n; i++)
        b[i] = i / n == i % n;
    for (int64_t p = 0; p < n; p++) {
        int64_t best = p;
        for (int64_t i = p + 1; i < n; i++)
            if (fabs(a[i * n + p]) > fabs(a[best * n + p]))
                best = i;
        if (a[best * n + p] == 0)
            return 0;
        if (best != p) {
            swap_rows(a, n, p, best);
            if (b)
                swap_rows(b, n, p, best);
            det = -det;
        }
        double pivot = a[p * n + p];
        det *= pivot;
        for (int64_t i = b ? 0 : p + 1; i < n; i++) {
            double f = i == p ? 0 : a[i * n + p] / pivot;
            for (int64_t k = p; f != 0 && k < n; k++)
                a[i * n + k] -= f * a[p * n + k];
            for (int64_t k = 0; f != 0 && b && k < n; k++)
                b[i * n + k] -= f * b[p * n + k];
        }
        for (int64_t k = 0; b && k < n; k++) {
            a[p * n + k] /= pivot;
            b[p * n + k] /= pivot;
        }
    }
    return det;
}

static int square_run(struct mc_call *c, struct mc_err *err)
{
    const struct mc_buf *x = &c->in[0], *y = &c->out[0];
    bool inverse = strcmp(c->node->op_type, "Det") != 0;
    int64_t n = x->shape.dim[x->shape.rank - 1], all = mc_op_span(x, 0, x->shape.rank - 2);
    double *a = c->scratch, *b = inverse ? a + n * n : NULL;
    for (int64_t i = 0; i < all; i++) {
        for (int64_t k = 0; k < n * n; k++)
            a[k] = mc_buf_param(x, i * n * n + k);
        double det = eliminate(a, b, n);
        if (inverse && det == 0)
            return mc_op_fail(err, MC_EDATA, c->node, "matrix %lld is singular", (long long)i);
        if (!inverse)
            mc_buf_put(y, i, det);
        for (int64_t k = 0; inverse && k < n * n; k++)
            mc_buf_put(y, i * n * n + k, b[k]);
    }
    return 0;
}

const struct mc_op mc_ops_square[] = {
    {"", "Det", 11, 0, square_infer, square_setup, square_run, NULL, NULL, NULL},
    {"com.microsoft", "Inverse", 1, 0, square_infer, square_setup, square_run, NULL, NULL, NULL},
    {0},
};
