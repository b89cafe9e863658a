/* xnor_model OUT OPSET call|inline|expand: write a model of layers of binary weights (graph/own/own_xnor.c), one input and one
 * output each, started at that opset. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "formats/onnx.h"
#include "graph/edit.h"
#include "graph/opset.h"
#include "graph/own/own_binary.h"
#include "graph/verify.h"

struct layer {
    int rank; /* of x */
    int64_t x[4], filters, kernel[2];
    int64_t strides[2], pads[4], dilations[2]; /* 0: left out */
    bool one;                                  /* threshold for all */
};

static const struct layer layers[] = {
    {2, {3, 37}, 5, {0}, {0}, {0}, {0}, false},
    {3, {2, 3, 40}, 6, {0}, {0}, {0}, {0}, true},
    {4, {2, 2, 2, 9}, 3, {0}, {0}, {0}, {0}, false},
    {2, {9, 256}, 130, {0}, {0}, {0}, {0}, false},
    {4, {2, 7, 11, 9}, 6, {3, 3}, {0}, {1, 1, 1, 1}, {0}, false},
    {4, {1, 33, 8, 8}, 40, {3, 2}, {2, 1}, {0, 1, 2, 1}, {0}, true},
    {4, {1, 5, 9, 8}, 3, {3, 3}, {0}, {2, 2, 2, 2}, {2, 1}, false},
    {4, {2, 64, 5, 5}, 8, {1, 1}, {0}, {0}, {0}, false},
    {3, {2, 6, 12}, 4, {3, 0}, {2, 0}, {1, 1, 0, 0}, {0}, false},
};

static uint32_t state = 11;

static float number(void)
{
    state = state * 1664525u + 1013904223u;
    return (float)(state >> 8) / (1 << 23) - 1.f;
}

static struct mc_value *tensor(struct mc_graph *g, const char *name, enum mc_dtype dtype, int rank,
                               const int64_t *dims, const void *data, struct mc_err *err)
{
    struct mc_shape shape = mc_shape_of(rank, dims);
    struct mc_tensor *t;
    void *content;
    if (mc_tensor_new(dtype, &shape, NULL, &t, &content, err))
        return NULL;
    for (int64_t i = 0; !data && i < mc_shape_count(&shape); i++)
        ((float *)content)[i] = number();
    if (data)
        memcpy(content, data, t->bytes);
    struct mc_value *v = mc_edit_constant(g, name, t);
    mc_tensor_unref(t);
    return v;
}

static struct mc_value *bits(struct mc_graph *g, const char *name, int64_t rows, int64_t columns,
                             struct mc_err *err)
{
    int64_t bytes = (columns + 7) / 8;
    float *w = malloc((size_t)(rows * columns) * sizeof *w);
    uint8_t *p = malloc((size_t)(rows * bytes));
    struct mc_value *v = NULL;
    for (int64_t i = 0; w && i < rows * columns; i++)
        w[i] = number();
    if (w && p) {
        mc_own_pack(w, rows, columns, p);
        v = tensor(g, name, MC_DTYPE_U8, 2, (const int64_t[]){rows, bytes}, p, err);
    }
    free(w);
    free(p);
    return v;
}

struct form {
    const struct layer *layer;
    int64_t columns;
};

static int set(void *ctx, struct mc_node *n, struct mc_err *err)
{
    const struct form *f = ctx;
    const struct layer *l = f->layer;
    size_t s = (size_t)l->rank - 2;
    int rc = mc_edit_attr_ints(n, "columns", &f->columns, 1, err);
    if (rc || !l->kernel[0])
        return rc;
    const int64_t shape[] = {l->filters, l->x[1], l->kernel[0], l->kernel[1]};
    rc = mc_edit_attr_ints(n, "shape", shape, s + 2, err);
    if (!rc && l->strides[0])
        rc = mc_edit_attr_ints(n, "strides", l->strides, s, err);
    if (!rc && (l->pads[0] || l->pads[1] || l->pads[2]))
        rc = mc_edit_attr_ints(n, "pads", l->pads, 2 * s, err);
    return rc || !l->dilations[0] ? rc : mc_edit_attr_ints(n, "dilations", l->dilations, s, err);
}

static int add(struct mc_graph *g, int i, bool signs, struct mc_err *err)
{
    const struct layer *l = &layers[i];
    bool conv = l->kernel[0] != 0;
    int ones = conv ? l->rank - 2 : 0;
    struct form form = {l, l->x[conv ? 1 : l->rank - 1]};
    int64_t each[] = {l->filters, 1, 1}, of_x[] = {form.columns, 1, 1};
    char name[5][32], call[32];
    struct mc_dim dim[4] = {{-1, "n"}}, none[4] = {{-1, "n"}};
    for (int d = 0; d < 5; d++)
        snprintf(name[d], sizeof name[d], "%c%s%d", "xtpsb"[d], signs ? "" : "f", i);
    snprintf(call, sizeof call, "y%s%d", signs ? "" : "f", i);
    for (int d = 1; d < l->rank; d++) {
        dim[d].value = l->x[d];
        none[d].value = -1;
    }
    for (int d = 0; conv && d < ones; d++)
        form.columns *= l->kernel[d];
    struct mc_value *x = mc_edit_value(g, name[0]), *y = mc_edit_fresh(g, call);
    if (!x || !y || !mc_edit_type(x, MC_DTYPE_F32, l->rank, dim) ||
        !mc_edit_type(y, MC_DTYPE_F32, l->rank, none))
        return mc_fail(err, MC_ENOMEM, "out of memory");
    int rc = mc_edit_input(g, x, err);
    struct mc_value *in[] = {
        x, tensor(g, name[1], MC_DTYPE_F32, l->one ? 0 : 1 + ones, of_x, NULL, err),
        bits(g, name[2], l->filters, form.columns, err),
        tensor(g, name[3], MC_DTYPE_F32, 1 + ones, each, NULL, err),
        tensor(g, name[4], MC_DTYPE_F32, 1 + ones, each, NULL, err)};
    if (!signs)
        memmove(in + 1, in + 2, 3 * sizeof *in);
    const char *function = signs  ? conv ? "XnorConv" : "XnorGemm"
                           : conv ? "BinaryConvFast"
                                  : "BinaryGemmFast";
    rc = rc ? rc
            : mc_own_call(g, g->n_nodes, function, call, in, signs ? 5 : 4, &y, 1, set, &form, NULL,
                          err);
    return rc ? rc : mc_edit_output(g, y, err);
}

static int build(struct mc_model *m, int opset, struct mc_err *err)
{
    int rc = mc_edit_opset(m, "", opset, err);
    struct mc_graph *g = mc_edit_graph(m, NULL, NULL, "main");
    for (int i = 0; !rc && i < (int)(sizeof layers / sizeof *layers); i++)
        rc = add(g, i, true, err);
    for (int i = 0; !rc && i < (int)(sizeof layers / sizeof *layers); i++)
        rc = add(g, i, false, err);
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
