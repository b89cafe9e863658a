#include "train/wire.h"

#include <stdio.h>
#include <string.h>

#include "graph/grad/rule.h"

static struct mc_value *no_memory(struct mc_wire *w)
{
    if (!w->rc)
        w->rc = mc_fail(w->err, MC_ENOMEM, "out of memory while building a loss");
    return NULL;
}

struct mc_value *mc_wire_node(struct mc_wire *w, const char *domain, const char *op,
                              struct mc_value *const *in, size_t n_in)
{
    char hint[64];
    snprintf(hint, sizeof hint, "loss.%s", op);
    for (size_t i = 0; i < n_in && !w->rc; i++)
        if (!in[i])
            no_memory(w);
    struct mc_value *out = w->rc ? NULL : mc_edit_fresh(w->g, hint);
    if (!out)
        return no_memory(w);
    w->rc = mc_edit_node(w->g, w->g->n_nodes, op, domain, *domain ? 1 : MC_GRAD_OPSET, out->name,
                         in, n_in, &out, 1, &w->last, w->err);
    return w->rc ? NULL : out;
}

void mc_wire_int(struct mc_wire *w, const char *name, int64_t v)
{
    if (!w->rc)
        w->rc = mc_edit_attr_int(w->last, name, v, w->err);
}

void mc_wire_int_list(struct mc_wire *w, const char *name, const int64_t *v, size_t n)
{
    if (!w->rc)
        w->rc = mc_edit_attr_ints(w->last, name, v, n, w->err);
}

void mc_wire_float(struct mc_wire *w, const char *name, float v)
{
    if (!w->rc)
        w->rc = mc_edit_attr_float(w->last, name, v, w->err);
}

struct mc_value *mc_wire_input(struct mc_wire *w, const char *name, enum mc_dtype dtype, int rank,
                               const struct mc_dim *dims)
{
    struct mc_value *v = w->rc ? NULL : mc_edit_value(w->g, name);
    if (!v || !mc_edit_type(v, dtype, rank, dims))
        return no_memory(w);
    w->rc = mc_edit_input(w->g, v, w->err);
    return w->rc ? NULL : v;
}

static struct mc_value *constant(struct mc_wire *w, struct mc_tensor *t)
{
    struct mc_value *v = mc_edit_constant(w->g, "loss.constant", t);
    mc_tensor_unref(t);
    return v ? v : no_memory(w);
}

struct mc_value *mc_wire_scalar(struct mc_wire *w, enum mc_dtype dtype, double v)
{
    struct mc_shape scalar = {0};
    struct mc_tensor *t;
    void *data;
    if (!w->rc)
        w->rc = mc_tensor_new(dtype, &scalar, NULL, &t, &data, w->err);
    if (w->rc)
        return NULL;
    w->rc = mc_dtype_from_f64(dtype, &v, data, 1, w->err);
    return constant(w, t);
}

void mc_wire_string(struct mc_wire *w, const char *name, const char *v)
{
    if (!w->rc)
        w->rc = mc_edit_attr_string(w->last, name, v, w->err);
}

struct mc_value *mc_wire_ints(struct mc_wire *w, const int64_t *v, int64_t n)
{
    struct mc_shape shape = mc_shape_of(1, &n);
    struct mc_tensor *t;
    void *data;
    if (!w->rc)
        w->rc = mc_tensor_new(MC_DTYPE_I64, &shape, NULL, &t, &data, w->err);
    if (w->rc)
        return NULL;
    memcpy(data, v, t->bytes);
    return constant(w, t);
}
