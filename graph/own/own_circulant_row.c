/* What the rows of circulant layers have in common. */
#include <stdlib.h>
#include <string.h>

#include "graph/constant.h"
#include "graph/own/own_circulant.h"

enum { X = MC_CIRCULANT_X, C = MC_CIRCULANT_C, B = MC_CIRCULANT_B };

bool mc_own_circulant_sizes(const struct mc_node *call, struct mc_circulant_sizes *ret)
{
    const struct mc_tensor *t = mc_own_constant(call, C);
    if (!t || t->shape.rank < 3)
        return false;
    const int64_t *d = t->shape.dim;
    *ret =
        (struct mc_circulant_sizes){d[0], d[1], d[2], mc_shape_span(&t->shape, 3, t->shape.rank)};
    return true;
}

/* Features of the output that a Slice behind the call leaves, where it cuts less than a block. */
static int64_t inner(const struct mc_node *call, int64_t rows, int64_t block)
{
    const struct mc_value *y = call->out[0];
    const struct mc_node *n = y->n_uses == 1 && !y->is_output ? y->uses[0].node : NULL;
    int64_t from = -1, to = -1, axis = 0;
    if (!n || y->uses[0].slot != 0 || !mc_node_is(n, "Slice") || n->n_in != 4)
        return rows;
    bool known = mc_constant_ints(n->in[1], &from, 1) == 1 &&
                 mc_constant_ints(n->in[2], &to, 1) == 1 &&
                 mc_constant_ints(n->in[3], &axis, 1) == 1;
    return known && from == 0 && axis != 0 && to > rows - block && to < rows ? to : rows;
}

/* Features of the input that a Pad before the call was given, where it adds less than a block. */
static int64_t outer(const struct mc_node *call, int64_t columns, int64_t block)
{
    const struct mc_node *n = call->in[X] ? call->in[X]->producer : NULL;
    int64_t pads[2 * MC_RANK_MAX], more = 0;
    if (!n || !mc_node_is(n, "Pad") || n->n_in != 2)
        return columns;
    int count = mc_constant_ints(n->in[1], pads, 2 * MC_RANK_MAX);
    for (int i = 0; i < count; i++) {
        if (pads[i] < 0 || pads[i] >= block)
            return columns;
        more += pads[i];
    }
    return more < block ? columns - more : columns;
}

void mc_own_circulant_size(const struct mc_node *call, int64_t *ret_weights, uint64_t *ret_bytes)
{
    struct mc_circulant_sizes s;
    *ret_weights = 0;
    *ret_bytes = 0;
    if (!mc_own_circulant_sizes(call, &s))
        return;
    *ret_weights = inner(call, s.p * s.b, s.b) * outer(call, s.q * s.b, s.b) * s.taps;
    *ret_bytes = mc_own_constant(call, C)->bytes;
}

/* Elements of the dense weight, or -1. */
static int64_t dense_count(const struct mc_circulant_sizes *s)
{
    struct mc_shape w = mc_shape_of(5, (const int64_t[]){s->p, s->q, s->b, s->b, s->taps});
    int64_t n = mc_shape_count(&w);
    return n > INT64_MAX / 8 ? -1 : n;
}

int mc_own_circulant_check(const struct mc_node *call, int rank, struct mc_err *err)
{
    static const int64_t any[] = {-1, -1, -1, -1, -1};
    struct mc_circulant_sizes s;
    char text[MC_SHAPE_TEXT];
    int rc = mc_own_need(call, C, MC_DTYPE_F32, rank, any, err);
    if (call->n_in < 1 || !call->in[X])
        return mc_own_fail(err, MC_ESHAPE, call, "input X is missing");
    if (rc || !mc_own_circulant_sizes(call, &s))
        return rc;
    if (dense_count(&s) < 1)
        return mc_own_fail(err, MC_ESHAPE, call, "C %s is empty or too large",
                           mc_shape_text(&mc_own_constant(call, C)->shape, text));
    const struct mc_value *b = call->n_in > B ? call->in[B] : NULL;
    if (!b && rank == 5) /* a convolution may miss it */
        return 0;
    const struct mc_tensor *t = mc_own_constant(call, B);
    bool single = rank == 3 && t && t->shape.rank == 1 && t->shape.dim[0] == 1;
    return mc_own_need(call, B, MC_DTYPE_F32, 1, (const int64_t[]){single ? 1 : s.p * s.b}, err);
}

int mc_own_circulant_dense(const struct mc_node *call, bool transposed, struct mc_tensor **ret,
                           struct mc_err *err)
{
    const struct mc_tensor *c = mc_own_constant(call, C);
    struct mc_circulant_sizes s;
    struct mc_tensor *t = NULL;
    float *col = NULL;
    void *data = NULL;
    int64_t count;
    if (!mc_own_circulant_sizes(call, &s))
        return mc_own_fail(err, MC_EUNSUP, call, "its weights are no constant");
    struct mc_shape shape = c->shape; /* [p, q, b, taps…] */
    int64_t rows = s.p * s.b, columns = s.q * s.b;
    shape.rank--;
    memmove(shape.dim + 2, shape.dim + 3, (size_t)(shape.rank - 2) * sizeof *shape.dim);
    shape.dim[0] = transposed ? columns : rows;
    shape.dim[1] = transposed ? rows : columns;
    int rc = mc_constant_f32(call->in[C], &col, &count, err);
    if (!rc)
        rc = mc_tensor_new(MC_DTYPE_F32, &shape, call->graph->model->spill, &t, &data, err);
    float *w = data;
    for (int64_t r = 0; r < rows && !rc; r++)
        for (int64_t k = 0; k < columns; k++) {
            int64_t block = r / s.b * s.q + k / s.b, turn = (r % s.b - k % s.b + s.b) % s.b;
            int64_t at = transposed ? k * rows + r : r * columns + k;
            memcpy(w + at * s.taps, col + (block * s.b + turn) * s.taps,
                   (size_t)s.taps * sizeof *w);
        }
    if (!rc)
        *ret = t;
    free(col);
    return rc;
}
