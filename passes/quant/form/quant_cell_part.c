/* Integers and scales of a recurrent cell, in the order in which integer operators take them. */
#include <string.h>

#include "graph/constant.h"
#include "passes/quant/form/quant_cell.h"

static int new_tensor(enum mc_dtype dtype, const struct mc_quant_cell_part *p, int64_t n, int rank,
                      struct mc_tensor **ret, void **ret_data, struct mc_err *err)
{
    const int64_t dims[] = {p->dirs, n, p->rows};
    struct mc_shape shape = mc_shape_of(rank, dims + (3 - rank));
    return mc_tensor_new(dtype, &shape, NULL, ret, ret_data, err);
}

int mc_quant_cell_turn(const struct mc_quant_builder *b, size_t site, int k,
                       const struct mc_quant_cell_part *part, int rank, struct mc_tensor **ret,
                       struct mc_err *err)
{
    const struct mc_tensor *q = mc_constant(b->b->at[site].w[k].q);
    int64_t rows = q->shape.dim[1], n = q->shape.dim[2];
    void *data;
    int rc = new_tensor(q->dtype, part, n, rank, ret, &data, err);
    for (int64_t d = 0; !rc && d < part->dirs; d++)
        for (int64_t i = 0; i < part->rows; i++) {
            const uint8_t *src = q->data + ((part->dir + d) * rows + part->row + i) * n;
            uint8_t *dst = (uint8_t *)data + d * n * part->rows + i;
            for (int64_t j = 0; j < n; j++)
                dst[j * part->rows] = src[j];
        }
    return rc;
}

int mc_quant_cell_rows(const struct mc_value *v, const struct mc_tensor *w,
                       const struct mc_quant_cell_part *part, int rank, struct mc_tensor **ret,
                       struct mc_err *err)
{
    const struct mc_tensor *t = mc_constant(v);
    size_t size = (size_t)(mc_dtype_info(t->dtype)->bits / 8);
    bool one = mc_tensor_count(t) == 1;
    const int64_t dims[] = {part->dirs, part->rows};
    struct mc_shape shape = mc_shape_of(rank, dims + (2 - rank));
    void *data;
    int rc = mc_tensor_new(t->dtype, &shape, NULL, ret, &data, err);
    for (int64_t i = 0; !rc && i < part->dirs * part->rows; i++) {
        int64_t d = part->dir + i / part->rows, row = part->row + i % part->rows;
        size_t from = one ? 0 : (size_t)(d * w->shape.dim[1] + row);
        memcpy((uint8_t *)data + (size_t)i * size, t->data + from * size, size);
    }
    return rc;
}
