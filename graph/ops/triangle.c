/* Matrices by their diagonals: Trilu and EyeLike. */
#include <string.h>

#include "graph/ops/helper.h"
#include "graph/ops/op_gpu.h"

/* ---- Trilu ---- */

static int trilu_infer(struct mc_infer_ctx *c, struct mc_err *err)
{
    int rc = mc_op_arity(c, 1, 2, err);
    rc = rc ? rc : mc_op_need_movable(c, 0, err);
    rc = rc ? rc : mc_op_need_rank(c, 0, 2, MC_RANK_MAX, err);
    rc = rc ? rc : mc_op_need_index(c, 1, err);
    rc = rc ? rc : mc_op_need_single(c, 1, err);
    return rc ? rc : mc_op_same(c, err);
}

static int64_t limit(int64_t v, int64_t most)
{
    return v < 0 ? 0 : v > most ? most : v;
}

static int trilu_run(struct mc_call *c, struct mc_err *err)
{
    (void)err;
    const struct mc_buf *x = &c->in[0];
    int rank = x->shape.rank;
    int64_t rows = x->shape.dim[rank - 2], cols = x->shape.dim[rank - 1], k = 0;
    int64_t all = mc_op_span(x, 0, rank - 1);
    size_t each = (size_t)mc_op_elem_bytes(x->dtype), bytes = (size_t)cols * each;
    bool upper = mc_node_int(c->node, "upper", 1) != 0;
    mc_op_ints(mc_op_arg(c, 1), &k, 1);
    k = k < -rows ? -rows : k > cols ? cols : k;
    for (int64_t i = 0; i < all && bytes; i++) {
        const char *from = (const char *)x->data + (size_t)i * bytes;
        char *to = (char *)c->out[0].data + (size_t)i * bytes;
        int64_t diagonal = i % rows + k;
        size_t low = (size_t)(upper ? limit(diagonal, cols) : 0) * each;
        size_t high = (size_t)(upper ? cols : limit(diagonal + 1, cols)) * each;
        if (to != from)
            memcpy(to + low, from + low, high - low);
        memset(to, 0, low);
        memset(to + high, 0, bytes - high);
    }
    return 0;
}

/* ---- EyeLike ---- */

static int eye_infer(struct mc_infer_ctx *c, struct mc_err *err)
{
    int rc = mc_op_arity(c, 1, 1, err);
    rc = rc ? rc : mc_op_need_rank(c, 0, 2, 2, err);
    if (rc)
        return rc;
    const struct mc_vtype *x = c->in[0];
    int64_t dtype = mc_node_int(c->node, "dtype", (int64_t)x->dtype);
    enum mc_dtype_kind kind = mc_dtype_info(dtype < MC_DTYPE_COUNT ? (int)dtype : 0)->kind;
    if (dtype != MC_DTYPE_NONE && (kind == MC_KIND_OTHER || mc_dtype_info((int)dtype)->bits < 8))
        return mc_op_fail(err, MC_EUNSUP, c->node, "a matrix of type %lld cannot run",
                          (long long)dtype);
    mc_op_give(c, 0, (enum mc_dtype)dtype, x->ranked ? &x->shape : NULL);
    return 0;
}

static int eye_run(struct mc_call *c, struct mc_err *err)
{
    const struct mc_buf *y = &c->out[0];
    int64_t rows = y->shape.dim[0], cols = y->shape.dim[1], k = mc_node_int(c->node, "k", 0);
    size_t each = (size_t)mc_op_elem_bytes(y->dtype);
    double one = 1;
    char element[sizeof(double)];
    int rc = mc_dtype_from_f64((int)y->dtype, &one, element, 1, err);
    if (rc)
        return rc;
    memset(y->data, 0, (size_t)(rows * cols) * each);
    k = k < -rows ? -rows : k > cols ? cols : k;
    for (int64_t i = k < 0 ? -k : 0; i < rows && i + k < cols; i++)
        memcpy((char *)y->data + (size_t)(i * cols + i + k) * each, element, each);
    return 0;
}

const struct mc_op mc_ops_triangle[] = {
    {"", "Trilu", 14, MC_OP_INPLACE, trilu_infer, NULL, trilu_run, NULL, NULL, NULL},
    {"com.microsoft", "Trilu", 1, MC_OP_INPLACE, trilu_infer, NULL, trilu_run, NULL, NULL, NULL},
    {"", "EyeLike", 9, 0, eye_infer, NULL, eye_run, NULL, NULL, NULL},
    {0},
};

static bool gpu_can(const struct mc_call *c)
{
    return mc_op_gpu_floats(c) && c->k->values.diagonal;
}

static int gpu_trilu(struct mc_call *c, struct mc_err *err)
{
    (void)err;
    const struct mc_buf *x = &c->in[0];
    int rank = x->shape.rank;
    int64_t k = 0;
    mc_op_ints(mc_op_arg(c, 1), &k, 1);
    const struct mc_diagonal d = {.matrices = mc_op_span(x, 0, rank - 2),
                                  .rows = x->shape.dim[rank - 2],
                                  .cols = x->shape.dim[rank - 1],
                                  .k = k,
                                  .side = mc_node_int(c->node, "upper", 1) ? MC_DIAGONAL_UPPER
                                                                           : MC_DIAGONAL_LOWER,
                                  .elem_bytes = mc_op_elem_bytes(x->dtype),
                                  .x = x->data,
                                  .y = c->out[0].data};
    c->k->values.diagonal(&d);
    return 0;
}

static int gpu_eye(struct mc_call *c, struct mc_err *err)
{
    const struct mc_buf *y = &c->out[0];
    struct mc_diagonal d = {.matrices = 1,
                            .rows = y->shape.dim[0],
                            .cols = y->shape.dim[1],
                            .k = mc_node_int(c->node, "k", 0),
                            .side = MC_DIAGONAL_ALONE,
                            .elem_bytes = mc_op_elem_bytes(y->dtype),
                            .y = y->data};
    double one = 1;
    int rc = mc_dtype_from_f64((int)y->dtype, &one, &d.one, 1, err);
    if (!rc)
        c->k->values.diagonal(&d);
    return rc;
}

const struct mc_op_gpu mc_op_gpu_triangle[] = {
    {"", "Trilu", .can = gpu_can, .host_in = 1 << 1, .run = gpu_trilu},
    {"com.microsoft", "Trilu", .can = gpu_can, .host_in = 1 << 1, .run = gpu_trilu},
    {"", "EyeLike", .can = gpu_can, .run = gpu_eye},
    {0},
};
