/* One matrix for all gates of a recurrent cell, scaled for each gate and unit, or for each gate and column. */
#include <stdlib.h>

#include "graph/constant.h"
#include "graph/own/own_body.h"

enum { W, A };

static int body(struct mc_own_body *b)
{
    int axis = mc_body_const(b, (const int64_t[]){1}, 1);
    int one = mc_body(b, "Unsqueeze", mc_body_in(b, W), axis);
    int all = mc_body(b, "Mul", one, mc_body_in(b, A));
    int shape = mc_body_attr(b, "shape");
    return mc_body_end(b, mc_body(b, "Reshape", all, shape));
}

/* shape is [d, g n, m]; g follows from W where that is a constant. */
static int check(const struct mc_node *call, struct mc_err *err)
{
    const int64_t *shape = NULL;
    const struct mc_tensor *w = mc_own_constant(call, W), *a = mc_own_constant(call, A);
    int rc = mc_own_need_ints(call, "shape", 3, &shape, NULL, err);
    if (!rc)
        rc = mc_own_need(call, W, MC_DTYPE_NONE, 3, (const int64_t[]){shape[0], -1, shape[2]}, err);
    if (!rc)
        rc = mc_own_need(call, A, MC_DTYPE_NONE, 4, (const int64_t[]){shape[0], -1, -1, -1}, err);
    if (rc || !w || !a)
        return rc;
    struct mc_shape whole = mc_own_shape(call);
    if (mc_shape_count(&whole) < 0)
        return mc_own_fail(err, MC_ESHAPE, call, "its shape is too large");
    int64_t n = w->shape.dim[1], g = a->shape.dim[1], rows = a->shape.dim[2],
            columns = a->shape.dim[3];
    bool fits = n > 0 && shape[1] % n == 0 && shape[1] / n == g && (rows == n || rows == 1) &&
                (columns == shape[2] || columns == 1);
    if (!fits)
        return mc_own_fail(err, MC_ESHAPE, call, "W %s and A %s make no weight of %lld rows",
                           mc_shape_text(&w->shape, (char[MC_SHAPE_TEXT]){0}),
                           mc_shape_text(&a->shape, (char[MC_SHAPE_TEXT]){0}), (long long)shape[1]);
    if (w->dtype != a->dtype)
        return mc_own_fail(err, MC_EDTYPE, call, "W is %s, A %s", mc_dtype_name(w->dtype),
                           mc_dtype_name(a->dtype));
    return 0;
}

static void size(const struct mc_node *call, int64_t *ret_weights, uint64_t *ret_bytes)
{
    struct mc_shape shape = mc_own_shape(call);
    *ret_weights = mc_shape_count(&shape);
    *ret_bytes = mc_own_bytes(call, W) + mc_own_bytes(call, A);
}

static int dense(const struct mc_node *call, struct mc_tensor **ret, struct mc_err *err)
{
    const struct mc_tensor *tw = mc_own_constant(call, W), *ta = mc_own_constant(call, A);
    float *w = NULL, *a = NULL;
    int64_t count;
    if (!tw || !ta)
        return mc_own_fail(err, MC_EUNSUP, call, "its weights are no constants");
    int64_t d = tw->shape.dim[0], n = tw->shape.dim[1], m = tw->shape.dim[2], g = ta->shape.dim[1];
    int64_t rows = ta->shape.dim[2], columns = ta->shape.dim[3];
    struct mc_shape shape = mc_shape_of(3, (const int64_t[]){d, g * n, m});
    struct mc_tensor *t = NULL;
    void *data = NULL;
    int rc = mc_constant_f32(call->in[W], &w, &count, err);
    rc = rc ? rc : mc_constant_f32(call->in[A], &a, &count, err);
    if (!rc)
        rc = mc_tensor_new(MC_DTYPE_F32, &shape, call->graph->model->spill, &t, &data, err);
    float *y = data;
    for (int64_t i = 0; !rc && i < d * g * n; i++) {
        int64_t row = i % n, gate = i / n, from = gate / g * n + row;
        const float *scale = a + (gate * rows + (rows > 1 ? row : 0)) * columns;
        for (int64_t k = 0; k < m; k++)
            y[i * m + k] = w[from * m + k] * scale[columns > 1 ? k : 0];
    }
    if (!rc)
        *ret = t;
    free(w);
    free(a);
    return rc;
}

const struct mc_own mc_own_gate[] = {
    {.name = "GateWeight",
     .n_in = 2,
     .inputs = (const char *const[]){"W", "A"},
     .attrs = (const char *const[]){"shape", NULL},
     .roles = "ws",
     .body = body,
     .check = check,
     .size = size,
     .dense = dense},
    {0},
};
