#include "passes/quant/form/quant_emit.h"

#include <string.h>

#include "graph/constant.h"
#include "graph/edit.h"

/* What is emitted is written as this version of ai.onnx has it, or the one imported where that is newer. */
enum { LEAST = 13 };

static void no_memory(struct mc_quant_emit *e)
{
    e->rc = mc_fail(e->err, MC_ENOMEM, "out of memory while changing a graph");
}

static struct mc_node *put(struct mc_quant_emit *e, const char *op, int least,
                           struct mc_value *const *in, size_t n_in, struct mc_value *const *out,
                           size_t n_out)
{
    int now = (int)mc_graph_opset(e->g, "");
    struct mc_node *n = NULL;
    e->rc = mc_edit_node(e->g, e->pos, op, "", now < least ? least : 0, "", in, n_in, out, n_out,
                         &n, e->err);
    if (e->rc)
        return NULL;
    e->pos++;
    return n;
}

struct mc_node *mc_quant_emit_node(struct mc_quant_emit *e, const char *op, const char *hint,
                                   struct mc_value *const *in, size_t n_in, size_t n_out)
{
    enum { MOST = 4 };
    struct mc_value *out[MOST];
    for (size_t i = 0; !e->rc && i < n_out && i < MOST; i++)
        if (!(out[i] = mc_edit_fresh(e->g, hint)))
            no_memory(e);
    return e->rc ? NULL : put(e, op, LEAST, in, n_in, out, n_out);
}

struct mc_value *mc_quant_emit_list(struct mc_quant_emit *e, const char *op, const char *hint,
                                    struct mc_value *y, struct mc_value *const *in, size_t n_in)
{
    if (!e->rc && !y && !(y = mc_edit_fresh(e->g, hint)))
        no_memory(e);
    return e->rc || !put(e, op, LEAST, in, n_in, &y, 1) ? NULL : y;
}

/* The version of ai.onnx since which Cast knows the type. */
static int cast_since(enum mc_dtype dtype)
{
    int bits = mc_dtype_info(dtype)->bits;
    return bits == 2 ? 25 : bits == 4 ? 21 : LEAST;
}

struct mc_value *mc_quant_emit_cast(struct mc_quant_emit *e, const char *hint, struct mc_value *y,
                                    struct mc_value *x, enum mc_dtype to)
{
    const struct mc_tensor *t = x ? mc_constant(x) : NULL;
    int least = cast_since(to), from = t ? cast_since(t->dtype) : 0;
    if (!e->rc && !y && !(y = mc_edit_fresh(e->g, hint)))
        no_memory(e);
    struct mc_node *n = e->rc ? NULL : put(e, "Cast", from > least ? from : least, &x, 1, &y, 1);
    if (n)
        e->rc = mc_edit_attr_int(n, "to", to, e->err);
    return e->rc ? NULL : y;
}

struct mc_value *mc_quant_emit_transpose(struct mc_quant_emit *e, const char *hint,
                                         struct mc_value *y, struct mc_value *x, int rank,
                                         const int64_t *perm)
{
    y = mc_quant_emit_list(e, "Transpose", hint, y, &x, 1);
    if (y)
        e->rc = mc_edit_attr_ints(y->producer, "perm", perm, (size_t)rank, e->err);
    return y;
}

struct mc_value *mc_quant_emit_tensor(struct mc_quant_emit *e, const char *hint,
                                      struct mc_tensor *t)
{
    struct mc_value *v = NULL;
    if (!e->rc && t) {
        size_t nodes = e->g->n_nodes;
        e->rc = mc_constant_new(e->g, e->pos, hint, t, &v, e->err);
        e->pos += e->g->n_nodes - nodes; /* in a function it is a node */
    }
    mc_tensor_unref(t);
    return e->rc ? NULL : v;
}

struct mc_value *mc_quant_emit_ints(struct mc_quant_emit *e, const char *hint, int n,
                                    const int64_t *v)
{
    int64_t dims[] = {n};
    struct mc_shape shape = mc_shape_of(1, dims);
    struct mc_tensor *t = NULL;
    void *data;
    if (!e->rc)
        e->rc = mc_tensor_new(MC_DTYPE_I64, &shape, NULL, &t, &data, e->err);
    if (e->rc)
        return NULL;
    memcpy(data, v, (size_t)n * sizeof *v);
    return mc_quant_emit_tensor(e, hint, t);
}
