/* circulant_model OUT OPSET call|inline|expand LAYER…: write a model of circulant layers, each with an input and an output of its
 * own. LAYER is FUNCTION,p,q,b,m,n,bias,rank of a Gemm, or with a ninth and further numbers FUNCTION,p,q,b,m,n,bias,rank,kh,kw,
 * stride_h,stride_w,top,left,bottom,right,dil_h,dil_w of a convolution; FUNCTION auto and exact: what is chosen. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "formats/onnx.h"
#include "graph/edit.h"
#include "graph/opset.h"
#include "graph/own/own_circulant.h"
#include "graph/verify.h"

enum { P, Q, B, M, N, BIAS, RANK, KH, KW, STRIDES, PADS = 11, DILATIONS = 15, NUMBERS = 17 };

static uint32_t state = 7;

static float number(void)
{
    state = state * 1664525u + 1013904223u;
    return (float)(state >> 8) / (1 << 23) - 1.f;
}

static struct mc_value *floats(struct mc_graph *g, const char *name, struct mc_shape shape,
                               struct mc_err *err)
{
    struct mc_tensor *t;
    void *data;
    if (mc_tensor_new(MC_DTYPE_F32, &shape, NULL, &t, &data, err))
        return NULL;
    for (int64_t i = 0; i < mc_shape_count(&shape); i++)
        ((float *)data)[i] = number();
    struct mc_value *v = mc_edit_constant(g, name, t);
    mc_tensor_unref(t);
    return v;
}

static struct mc_value *edge(struct mc_graph *g, const char *name, const int64_t *v, bool conv,
                             int64_t features, bool whole)
{
    struct mc_dim dim[MC_RANK_MAX] = {0};
    int rank = (int)v[RANK];
    struct mc_value *x = mc_edit_value(g, name);
    for (int i = 0; i < rank; i++)
        dim[i].value = i || rank == 1 ? 2 + i : -1;
    for (int i = 2; i < rank && conv; i++)
        dim[i].value = whole ? 8 + i : -1;
    dim[0].param = rank > 1 ? "batch" : NULL;
    dim[conv ? 1 : rank - 1].value = features;
    return x && mc_edit_type(x, MC_DTYPE_F32, rank, dim) ? x : NULL;
}

static int layer(struct mc_graph *g, int i, const char *spec, struct mc_err *err)
{
    int64_t v[NUMBERS] = {0};
    char function[64], name[4][32];
    int n = 0, at = 0;
    if (sscanf(spec, "%63[^,]%n", function, &at) != 1)
        return mc_fail(err, MC_EUSAGE, "bad layer %s", spec);
    for (const char *s = spec + at; *s == ',' && n < NUMBERS; n++)
        v[n] = strtoll(s + 1, (char **)&s, 10);
    bool conv = n > KH;
    snprintf(name[0], sizeof name[0], "x%d", i);
    snprintf(name[1], sizeof name[1], "y%d", i);
    snprintf(name[2], sizeof name[2], "c%d", i);
    snprintf(name[3], sizeof name[3], "b%d", i);
    struct mc_own_circulant l = {.name = name[1], .rank = (int)v[RANK], .m = v[M], .n = v[N]};
    l.exact = !strcmp(function, "exact");
    l.function = l.exact || !strcmp(function, "auto") ? NULL : function;
    l.x = edge(g, name[0], v, conv, v[N], true);
    l.y = edge(g, name[1], v, conv, v[M], false);
    struct mc_shape c =
        mc_shape_of(conv ? 5 : 3, (const int64_t[]){v[P], v[Q], v[B], v[KH], v[KW]});
    l.c = floats(g, name[2], c, err);
    if (v[BIAS])
        l.bias = floats(g, name[3], mc_shape_of(1, &v[M]), err);
    if (conv) {
        l.strides = v + STRIDES;
        l.pads = v + PADS;
        l.dilations = v + DILATIONS;
    }
    size_t put, before = g->n_nodes;
    int rc = l.x && l.y && l.c ? mc_edit_input(g, l.x, err) : mc_fail(err, MC_ENOMEM, "edges");
    rc = rc ? rc : mc_own_circulant_call(g, g->n_nodes, &l, &put, err);
    rc = rc ? rc : mc_edit_output(g, l.y, err);
    if (!rc && put != g->n_nodes - before)
        rc = mc_fail(err, MC_EFAIL, "%zu nodes were put, not %zu", g->n_nodes - before, put);
    return rc;
}

int main(int argc, char **argv)
{
    struct mc_model *m = NULL;
    struct mc_err err = {0};
    if (argc < 5)
        return 2;
    int rc = mc_model_new(&m, &err);
    rc = rc ? rc : mc_edit_opset(m, "", atoi(argv[2]), &err);
    struct mc_graph *g = rc ? NULL : mc_edit_graph(m, NULL, NULL, "main");
    for (int i = 4; i < argc && !rc; i++)
        rc = layer(g, i - 4, argv[i], &err);
    rc = rc ? rc : mc_opset_lift(m, 0, &err);
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
