/* What a layer's weight holds, and what it and its factors take. */
#include <float.h>
#include <math.h>
#include <stdlib.h>

#include "passes/layer/layer.h"

static int not_finite(const struct mc_layer *l, int64_t at, float x, struct mc_err *err)
{
    const struct mc_node *n = l->sites[0].node;
    return mc_fail(
        err, MC_EDATA, "%s '%s': element %lld of its weight '%s' is %s; repair the model first",
        n->op_type, mc_node_label(n), (long long)at, l->value->name, isnan(x) ? "NaN" : "infinite");
}

/* Rows are converted a few at a time: with [n,m] storage each turns into a column, and a cache line of the
 * result should be written whole. */
int mc_layer_read(const struct mc_layer *l, float **ret, struct mc_err *err)
{
    enum { ROWS = 16 };
    int64_t rows = l->out_major ? l->m : l->n, cols = l->out_major ? l->n : l->m;
    size_t elem = mc_dtype_info(l->weight->dtype)->bits / 8, bytes = 0;
    bool fits = mc_size_mul((size_t)rows * sizeof(float), (size_t)cols, &bytes);
    float *w = fits ? mc_alloc_aligned(bytes) : NULL;
    float *some = mc_calloc((size_t)cols, ROWS * sizeof *some);
    int rc = w && some ? 0 : mc_fail(err, MC_ENOMEM, "out of memory");
    for (int64_t i = 0; !rc && i < rows; i += ROWS) {
        int64_t k = rows - i < ROWS ? rows - i : ROWS;
        float *dst = l->out_major ? w + i * cols : some;
        rc = mc_dtype_to_f32(l->weight->dtype, l->weight->data + (size_t)(i * cols) * elem, dst,
                             (size_t)(k * cols), err);
        for (int64_t j = 0; !rc && j < k * cols; j++)
            if (!(fabsf(dst[j]) <= FLT_MAX))
                rc = not_finite(l, i * cols + j, dst[j], err);
        for (int64_t c = 0; !rc && !l->out_major && c < cols; c++)
            for (int64_t j = 0; j < k; j++)
                w[c * rows + i + j] = some[j * cols + c];
    }
    free(some);
    if (rc)
        free(w);
    else
        *ret = w;
    return rc;
}

uint64_t mc_layer_dense_bytes(const struct mc_layer *l)
{
    return l->given_bytes ? l->given_bytes : l->weight->bytes;
}

uint64_t mc_layer_rank_bytes(const struct mc_layer *l)
{
    return (uint64_t)(l->m + l->parts * l->n) * (mc_dtype_info(l->weight->dtype)->bits / 8);
}

int64_t mc_layer_rank_cap(const struct mc_layer *l)
{
    return (int64_t)((mc_layer_dense_bytes(l) - 1) / mc_layer_rank_bytes(l));
}
