#include "tests/cli/craft_own.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "graph/constant.h"
#include "graph/edit.h"
#include "graph/opset.h"
#include "graph/own/own.h"
#include "graph/own/own_binary.h"
#include "graph/own/own_shared.h"

static struct mc_value *tensor(struct mc_graph *g, const char *name, enum mc_dtype dtype,
                               struct mc_shape shape, const void *data, struct mc_err *err)
{
    struct mc_tensor *t;
    void *content;
    if (mc_tensor_new(dtype, &shape, NULL, &t, &content, err))
        return NULL;
    memcpy(content, data, t->bytes);
    struct mc_value *v = mc_edit_constant(g, name, t);
    mc_tensor_unref(t);
    return v;
}

static int call(struct mc_node *n, size_t slot, const char *function, struct mc_value *a,
                struct mc_value *b, struct mc_own_form form, struct mc_err *err)
{
    struct mc_value *w = n->in[slot], *y = mc_edit_fresh(n->graph, "packed");
    if (!a || !b || !y)
        return mc_fail(err, MC_ENOMEM, "out of memory");
    int rc = mc_own_call(n->graph, n->pos, function, w->name, (struct mc_value *[]){a, b}, 2, &y, 1,
                         mc_own_set_form, &form, NULL, err);
    return rc ? rc : mc_edit_set_input(n, slot, y, err);
}

static int shared(struct mc_node *n, size_t slot, const struct mc_tensor *t, int bits,
                  struct mc_err *err)
{
    const float *w = (const float *)(const void *)t->data;
    int64_t count = mc_tensor_count(t);
    bool planes = 8 % bits != 0;
    int64_t bytes = mc_own_index_bytes(bits, planes, count);
    uint8_t *index = calloc((size_t)count, 1), *data = calloc((size_t)bytes, 1);
    float most = 0, book[256];
    if (!index || !data) {
        free(index);
        free(data);
        return mc_fail(err, MC_ENOMEM, "out of memory");
    }
    for (int64_t i = 0; i < count; i++)
        most = fmaxf(most, fabsf(w[i]));
    for (int i = 0; i < 1 << bits; i++)
        book[i] = most * (2.f * (float)i / (float)((1 << bits) - 1) - 1.f);
    for (int64_t i = 0; i < count; i++)
        index[i] = (uint8_t)lrintf((w[i] / most + 1.f) / 2.f * (float)((1 << bits) - 1));
    mc_own_index_pack(index, bits, planes, count, data);
    struct mc_graph *g = n->graph;
    struct mc_shape small =
        planes ? mc_shape_of(2, (const int64_t[]){bits, bytes / bits}) : mc_shape_of(1, &bytes);
    struct mc_value *i = tensor(g, "index", MC_DTYPE_U8, small, data, err);
    struct mc_value *d =
        tensor(g, "book", MC_DTYPE_F32, mc_shape_of(1, &(int64_t){1 << bits}), book, err);
    free(index);
    free(data);
    return call(n, slot, planes ? "SharedPlanes" : "SharedWeight", i, d,
                (struct mc_own_form){.shape = t->shape, .count = count, .bits = bits}, err);
}

static int binary(struct mc_node *n, size_t slot, const struct mc_tensor *t, struct mc_err *err)
{
    const float *w = (const float *)(const void *)t->data;
    int64_t rows = t->shape.dim[0], columns = mc_tensor_count(t) / rows, bytes = (columns + 7) / 8;
    uint8_t *bits = malloc((size_t)(rows * bytes));
    float *scale = calloc((size_t)rows, sizeof *scale);
    if (!bits || !scale) {
        free(bits);
        free(scale);
        return mc_fail(err, MC_ENOMEM, "out of memory");
    }
    for (int64_t i = 0; i < rows * columns; i++)
        scale[i / columns] += fabsf(w[i]) / (float)columns;
    mc_own_pack(w, rows, columns, bits);
    struct mc_graph *g = n->graph;
    struct mc_value *p =
        tensor(g, "bits", MC_DTYPE_U8, mc_shape_of(2, (const int64_t[]){rows, bytes}), bits, err);
    struct mc_value *s =
        tensor(g, "scale", MC_DTYPE_F32, mc_shape_of(2, (const int64_t[]){rows, 1}), scale, err);
    free(bits);
    free(scale);
    return call(n, slot, "BinaryWeight", p, s,
                (struct mc_own_form){.shape = t->shape, .columns = columns}, err);
}

/* The mean of four gates, with the root mean squares of their rows as scales. */
static int gates(struct mc_node *n, size_t slot, const struct mc_tensor *t, struct mc_err *err)
{
    enum { GATES = 4 };
    const float *w = (const float *)(const void *)t->data;
    int64_t d = t->shape.dim[0], rows = t->shape.dim[1] / GATES, columns = t->shape.dim[2];
    float *mean = calloc((size_t)(d * rows * columns), sizeof *mean);
    float *scale = calloc((size_t)(d * GATES * rows), sizeof *scale);
    if (!mean || !scale) {
        free(mean);
        free(scale);
        return mc_fail(err, MC_ENOMEM, "out of memory");
    }
    for (int64_t i = 0; i < d * GATES * rows; i++)
        for (int64_t k = 0; k < columns; k++) {
            int64_t at = i / rows / GATES * rows + i % rows;
            mean[at * columns + k] += w[i * columns + k] / GATES;
            scale[i] += w[i * columns + k] * w[i * columns + k] / (float)columns;
        }
    for (int64_t i = 0; i < d * GATES * rows; i++)
        scale[i] = sqrtf(scale[i]) * 8.f;
    struct mc_graph *g = n->graph;
    struct mc_value *m = tensor(g, "gate", MC_DTYPE_F32,
                                mc_shape_of(3, (const int64_t[]){d, rows, columns}), mean, err);
    struct mc_value *a = tensor(g, "gains", MC_DTYPE_F32,
                                mc_shape_of(4, (const int64_t[]){d, GATES, rows, 1}), scale, err);
    free(mean);
    free(scale);
    int rc = call(n, slot, "GateWeight", m, a, (struct mc_own_form){.shape = t->shape}, err);
    if (rc || slot != 1)
        return rc;
    struct mc_node *gate = n->in[slot]->producer; /* a call in a call */
    return shared(gate, 0, mc_constant(gate->in[0]), 4, err);
}

int craft_own(struct mc_model *m, struct mc_err *err)
{
    int rc = 0, turn = 0;
    for (size_t i = 0; !rc && i < m->graph->n_nodes; i++) {
        struct mc_node *n = m->graph->nodes[i];
        bool lstm = mc_node_is(n, "LSTM");
        if (!lstm && !mc_node_is(n, "Gemm") && !mc_node_is(n, "MatMul") && !mc_node_is(n, "Conv"))
            continue;
        for (size_t slot = 1; !rc && slot < (lstm ? 3 : 2); slot++) {
            const struct mc_tensor *t = mc_constant(n->in[slot]);
            if (!t || t->dtype != MC_DTYPE_F32 || t->shape.rank < 2)
                continue;
            int way = turn++ % 3;
            rc = lstm       ? gates(n, slot, t, err)
                 : way == 2 ? binary(n, slot, t, err)
                            : shared(n, slot, t, way ? 5 : 4, err);
            i = n->pos;
        }
    }
    mc_edit_sweep(m->graph);
    return rc ? rc : mc_opset_lift(m, 0, err);
}
