/* Weights of one bit and a scale for each row.
 *
 * Source: Rastegari et al., XNOR-Net, 2016. The body unpacks by a table of floats: of all bodies measured it alone is
 * bit-identical to the dense layer, and folded by every ONNX Runtime since 1.17 and by OpenVINO. */
#include <stdlib.h>
#include <string.h>

#include "graph/constant.h"
#include "graph/own/own_binary.h"
#include "graph/own/own_body.h"

enum { P, S, SIGNS }; /* inputs */

static int body(struct mc_own_body *b)
{
    int index = mc_body(b, "Cast", mc_body_in(b, P));
    mc_body_int(b, "to", MC_DTYPE_I32);
    int signs = mc_body(b, "Gather", mc_body_in(b, SIGNS), index);
    int rows = mc_body_const(b, (const int64_t[]){0, -1}, 2);
    int whole = mc_body(b, "Reshape", signs, rows);
    int from = mc_body_const(b, (const int64_t[]){0}, 1), to = mc_body_attr(b, "columns");
    int axes = mc_body_const(b, (const int64_t[]){1}, 1);
    int cut = mc_body(b, "Slice", whole, from, to, axes);
    int scaled = mc_body(b, "Mul", cut, mc_body_in(b, S));
    int shape = mc_body_attr(b, "shape");
    return mc_body_end(b, mc_body(b, "Reshape", scaled, shape));
}

/* [256, 8]: the signs that a byte stands for, bit 0 first. */
static void table(const struct mc_node *call, int i, struct mc_own_table *ret)
{
    enum { BYTES = 256, BITS = 8 };
    (void)i;
    /* While it is trained, the scale is no constant: the table has the type that it has. */
    enum mc_dtype of_scale = mc_own_dtype(call, S), own = mc_own_dtype(call, SIGNS);
    ret->dtype = of_scale                                    ? of_scale
                 : mc_dtype_info(own)->kind == MC_KIND_FLOAT ? own
                                                             : MC_DTYPE_F32;
    ret->shape = mc_shape_of(2, (const int64_t[]){BYTES, BITS});
    for (int k = 0; k < BYTES * BITS; k++)
        ret->at[k] = k / BITS >> k % BITS & 1 ? 1.f : -1.f;
}

int mc_own_need_bits(const struct mc_node *call, size_t i, int64_t rows, int64_t columns,
                     struct mc_err *err)
{
    int64_t bytes = columns / 8 + (columns % 8 != 0);
    const struct mc_tensor *t = mc_own_constant(call, i);
    int rc = mc_own_need(call, i, MC_DTYPE_U8, 2, (const int64_t[]){rows, bytes}, err);
    if (rc || !t || columns % 8 == 0)
        return rc;
    for (int64_t r = 0; r < t->shape.dim[0]; r++)
        if (t->data[r * bytes + bytes - 1] >> columns % 8)
            return mc_own_fail(err, MC_EDATA, call, "bits behind column %lld of row %lld are set",
                               (long long)columns, (long long)r);
    return 0;
}

static int check(const struct mc_node *call, struct mc_err *err)
{
    const int64_t *columns = NULL, *shape = NULL;
    size_t rank = 0;
    int rc = mc_own_need_ints(call, "columns", 1, &columns, NULL, err);
    rc = rc ? rc : mc_own_need_ints(call, "shape", -1, &shape, &rank, err);
    if (rc)
        return rc;
    struct mc_shape whole = mc_shape_of((int)rank, shape);
    int64_t count = mc_shape_count(&whole);
    if (count < 0 || count % columns[0])
        return mc_own_fail(err, MC_ESHAPE, call, "shape %s is not of rows of %lld weights",
                           mc_shape_text(&whole, (char[MC_SHAPE_TEXT]){0}), (long long)columns[0]);
    rc = mc_own_need_bits(call, P, count / columns[0], columns[0], err);
    return rc ? rc
              : mc_own_need(call, S, MC_DTYPE_NONE, 2, (const int64_t[]){count / columns[0], 1},
                            err);
}

static void size(const struct mc_node *call, int64_t *ret_weights, uint64_t *ret_bytes)
{
    struct mc_shape shape = mc_own_shape(call);
    *ret_weights = mc_shape_count(&shape);
    *ret_bytes = mc_own_bytes(call, P) + mc_own_bytes(call, S);
}

void mc_own_pack(const float *w, int64_t rows, int64_t columns, uint8_t *bits)
{
    int64_t bytes = (columns + 7) / 8;
    memset(bits, 0, (size_t)(rows * bytes));
    for (int64_t r = 0; r < rows; r++)
        for (int64_t k = 0; k < columns; k++)
            bits[r * bytes + k / 8] |= (uint8_t)(!(w[r * columns + k] < 0) << k % 8);
}

void mc_own_unpack(const uint8_t *bits, const float *scale, int64_t rows, int64_t columns, float *w)
{
    int64_t bytes = (columns + 7) / 8;
    for (int64_t r = 0; r < rows; r++)
        for (int64_t k = 0; k < columns; k++) {
            float s = scale ? scale[r] : 1.f;
            w[r * columns + k] = bits[r * bytes + k / 8] >> k % 8 & 1 ? s : -s;
        }
}

static int dense(const struct mc_node *call, struct mc_tensor **ret, struct mc_err *err)
{
    const struct mc_tensor *p = mc_own_constant(call, P);
    struct mc_shape shape = mc_own_shape(call);
    struct mc_tensor *t = NULL;
    float *scale = NULL;
    void *w;
    int64_t n;
    if (!p)
        return mc_own_fail(err, MC_EUNSUP, call, "its packed weights are no constant");
    int rc = mc_constant_f32(call->in[S], &scale, &n, err);
    if (!rc)
        rc = mc_tensor_new(MC_DTYPE_F32, &shape, call->graph->model->spill, &t, &w, err);
    if (!rc) {
        mc_own_unpack(p->data, scale, n, mc_shape_count(&shape) / n, w);
        *ret = t;
    }
    free(scale);
    return rc;
}

const struct mc_own mc_own_binary[] = {
    {.name = "BinaryWeight",
     .n_in = 2,
     .n_tables = 1,
     .inputs = (const char *const[]){"P", "S", "SIGNS"},
     .attrs = (const char *const[]){"shape", "columns", NULL},
     .roles = ".s",
     .body = body,
     .table = table,
     .check = check,
     .size = size,
     .dense = dense},
    {0},
};
