/* own_model OUT OPSET call|inline|expand: write a model of weights in small forms (graph/own), started at that opset. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "formats/onnx.h"
#include "graph/edit.h"
#include "graph/opset.h"
#include "graph/own/own.h"
#include "graph/own/own_binary.h"
#include "graph/own/own_shared.h"
#include "graph/verify.h"

enum { ROWS = 10, COLUMNS = 21, COUNT = 30, GATES = 4, UNITS = 3 };

static uint32_t state = 7;

static float number(void)
{
    state = state * 1664525u + 1013904223u;
    return (float)(state >> 8) / (1 << 23) - 1.f;
}

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

static struct mc_value *floats(struct mc_graph *g, const char *name, enum mc_dtype dtype,
                               struct mc_shape shape, struct mc_err *err)
{
    float x[256];
    uint8_t data[256 * 8];
    for (int64_t i = 0; i < mc_shape_count(&shape); i++)
        x[i] = number();
    if (mc_dtype_from_f32(dtype, x, data, (size_t)mc_shape_count(&shape), err))
        return NULL;
    return tensor(g, name, dtype, shape, data, err);
}

static struct mc_shape of(int rank, int64_t a, int64_t b, int64_t c, int64_t d)
{
    return mc_shape_of(rank, (const int64_t[]){a, b, c, d});
}

static int call(struct mc_graph *g, const char *function, const char *name, struct mc_value *a,
                struct mc_value *b, struct mc_own_form form, enum mc_dtype dtype,
                struct mc_value **ret, struct mc_err *err)
{
    *ret = mc_edit_fresh(g, name);
    int rc = mc_own_call(g, g->n_nodes, function, name, (struct mc_value *[]){a, b}, 2, ret, 1,
                         mc_own_set_form, &form, NULL, err);
    struct mc_dim dim[MC_RANK_MAX] = {0};
    for (int i = 0; i < form.shape.rank; i++)
        dim[i].value = form.shape.dim[i];
    return rc || mc_edit_type(*ret, dtype, form.shape.rank, dim) ? rc : MC_ENOMEM;
}

static int binary(struct mc_graph *g, const char *name, enum mc_dtype dtype, struct mc_value **ret,
                  struct mc_err *err)
{
    float w[ROWS * COLUMNS];
    uint8_t bits[ROWS * ((COLUMNS + 7) / 8)];
    char text[64];
    for (int i = 0; i < ROWS * COLUMNS; i++)
        w[i] = number();
    mc_own_pack(w, ROWS, COLUMNS, bits);
    snprintf(text, sizeof text, "%s.P", name);
    struct mc_value *p =
        tensor(g, text, MC_DTYPE_U8, of(2, ROWS, (COLUMNS + 7) / 8, 0, 0), bits, err);
    snprintf(text, sizeof text, "%s.S", name);
    struct mc_value *s = floats(g, text, dtype, of(2, ROWS, 1, 0, 0), err);
    struct mc_own_form form = {.shape = of(2, ROWS, COLUMNS, 0, 0), .columns = COLUMNS};
    return p && s ? call(g, "BinaryWeight", name, p, s, form, dtype, ret, err) : MC_ENOMEM;
}

static int shared(struct mc_graph *g, int bits, bool planes, enum mc_dtype dtype,
                  struct mc_err *err)
{
    uint8_t index[COUNT], data[64];
    char name[64], text[80];
    struct mc_value *y;
    for (int i = 0; i < COUNT; i++)
        index[i] = (uint8_t)((int)((number() + 1) * 128) & ((1 << bits) - 1));
    mc_own_index_pack(index, bits, planes, COUNT, data);
    int64_t bytes = mc_own_index_bytes(bits, planes, COUNT);
    snprintf(name, sizeof name, "%s%d_%d", planes ? "planes" : "shared", bits, (int)dtype);
    snprintf(text, sizeof text, "%s.I", name);
    struct mc_value *i =
        tensor(g, text, MC_DTYPE_U8,
               planes ? of(2, bits, bytes / bits, 0, 0) : of(1, bytes, 0, 0, 0), data, err);
    snprintf(text, sizeof text, "%s.D", name);
    struct mc_value *d = floats(g, text, dtype, of(1, 1 << bits, 0, 0, 0), err);
    struct mc_own_form form = {.shape = of(3, 3, 5, 2, 0), .count = COUNT, .bits = bits};
    if (!i || !d)
        return MC_ENOMEM;
    int rc = call(g, planes ? "SharedPlanes" : "SharedWeight", name, i, d, form, dtype, &y, err);
    return rc ? rc : mc_edit_output(g, y, err);
}

static int gates(struct mc_graph *g, const char *name, enum mc_dtype dtype, struct mc_shape scales,
                 struct mc_value **ret, struct mc_err *err)
{
    char text[64];
    snprintf(text, sizeof text, "%s.W", name);
    struct mc_value *w = floats(g, text, dtype, of(3, 1, UNITS, 5, 0), err);
    snprintf(text, sizeof text, "%s.A", name);
    struct mc_value *a = floats(g, text, dtype, scales, err);
    struct mc_own_form form = {.shape = of(3, 1, GATES * UNITS, 5, 0)};
    return w && a ? call(g, "GateWeight", name, w, a, form, dtype, ret, err) : MC_ENOMEM;
}

/* y = x W^T, and an LSTM over x3 whose matrix has one block for all gates. */
static int layers(struct mc_graph *g, struct mc_err *err)
{
    struct mc_value *x = mc_edit_value(g, "x"), *x3 = mc_edit_value(g, "x3"), *w,
                    *y = mc_edit_fresh(g, "y"), *h = mc_edit_fresh(g, "h");
    struct mc_node *n;
    mc_edit_type(x, MC_DTYPE_F32, 2, (struct mc_dim[]){{-1, "n"}, {COLUMNS, NULL}});
    mc_edit_type(x3, MC_DTYPE_F32, 3, (struct mc_dim[]){{7, NULL}, {2, NULL}, {5, NULL}});
    mc_edit_type(y, MC_DTYPE_F32, 2, (struct mc_dim[]){{-1, "n"}, {ROWS, NULL}});
    mc_edit_type(h, MC_DTYPE_F32, 4,
                 (struct mc_dim[]){{7, NULL}, {1, NULL}, {2, NULL}, {UNITS, NULL}});
    int rc = mc_edit_input(g, x, err);
    rc = rc ? rc : mc_edit_input(g, x3, err);
    rc = rc ? rc : binary(g, "fc", MC_DTYPE_F32, &w, err);
    rc = rc ? rc
            : mc_edit_node(g, g->n_nodes, "Gemm", "", 0, "gemm", (struct mc_value *[]){x, w}, 2, &y,
                           1, &n, err);
    rc = rc ? rc : mc_edit_attr_int(n, "transB", 1, err);
    rc = rc ? rc : mc_edit_output(g, y, err);
    struct mc_value *wx, *wh;
    rc = rc ? rc : gates(g, "wx", MC_DTYPE_F32, of(4, 1, GATES, UNITS, 1), &wx, err);
    struct mc_value *m = floats(g, "wh.W", MC_DTYPE_F32, of(3, 1, UNITS, UNITS, 0), err);
    struct mc_value *a = floats(g, "wh.A", MC_DTYPE_F32, of(4, 1, GATES, UNITS, 1), err);
    struct mc_own_form form = {.shape = of(3, 1, GATES * UNITS, UNITS, 0)};
    rc = rc ? rc : call(g, "GateWeight", "wh", m, a, form, MC_DTYPE_F32, &wh, err);
    rc = rc ? rc
            : mc_edit_node(g, g->n_nodes, "LSTM", "", 0, "lstm", (struct mc_value *[]){x3, wx, wh},
                           3, &h, 1, &n, err);
    rc = rc ? rc : mc_edit_attr_int(n, "hidden_size", UNITS, err);
    return rc ? rc : mc_edit_output(g, h, err);
}

static int build(struct mc_model *m, int opset, struct mc_err *err)
{
    static const enum mc_dtype types[] = {MC_DTYPE_F32, MC_DTYPE_F16, MC_DTYPE_F64};
    int rc = mc_edit_opset(m, "", opset, err);
    struct mc_graph *g = mc_edit_graph(m, NULL, NULL, "main");
    rc = rc ? rc : layers(g, err);
    for (int t = 0; !rc && t < 3; t++) {
        struct mc_value *w;
        char name[32];
        snprintf(name, sizeof name, "binary_%d", (int)types[t]);
        rc = binary(g, name, types[t], &w, err);
        rc = rc ? rc : mc_edit_output(g, w, err);
        for (int bits = 1; !rc && bits <= 8; bits++) {
            if (8 % bits == 0)
                rc = shared(g, bits, false, types[t], err);
            if (!rc && bits < 8)
                rc = shared(g, bits, true, types[t], err);
        }
        snprintf(name, sizeof name, "gates_%d", (int)types[t]);
        rc = rc ? rc : gates(g, name, types[t], of(4, 1, GATES, 1, 5), &w, err);
        rc = rc ? rc : mc_edit_output(g, w, err);
    }
    return rc ? rc : mc_opset_lift(m, 0, err);
}

int main(int argc, char **argv)
{
    struct mc_model *m = NULL;
    struct mc_err err = {0};
    if (argc != 4)
        return 2;
    int rc = mc_model_new(&m, &err);
    rc = rc ? rc : build(m, atoi(argv[2]), &err);
    rc = rc ? rc : mc_verify(m, &err);
    if (!rc && !strcmp(argv[3], "inline"))
        rc = mc_own_inline(m, &err);
    if (!rc && !strcmp(argv[3], "expand"))
        rc = mc_own_expand(m, &err);
    rc = rc ? rc : mc_verify(m, &err);
    rc = rc ? rc : mc_onnx_write(m, argv[1], NULL, &err);
    if (rc)
        fprintf(stderr, "%s\n", err.msg);
    mc_model_free(m);
    return rc ? 1 : 0;
}
