#include "graph/constant.h"

#include <stdlib.h>
#include <string.h>

#include "graph/edit.h"

/* Further Identity nodes in a row than this are left to folding: a chain of n would cost n² otherwise. */
enum { HOPS = 64 };

/* The value whose tensor is v's content: behind proxies and Identity. */
static const struct mc_value *origin(const struct mc_value *v)
{
    for (int hop = 0; v && hop < HOPS; hop++) {
        if (v->outer)
            v = v->outer;
        else if (v->producer && mc_node_is(v->producer, "Identity") && v->producer->n_in == 1)
            v = v->producer->in[0];
        else
            return v;
    }
    return NULL;
}

/* A tensor of the numbers in value_int, value_ints, value_float or value_floats; NULL if it is another
 * attribute or memory ran out. */
static struct mc_tensor *numbers(const struct mc_attr *a)
{
    bool list = a->type == MC_ATTR_INTS || a->type == MC_ATTR_FLOATS;
    bool ints = a->type == MC_ATTR_INTS || a->type == MC_ATTR_INT;
    if (!list && a->type != MC_ATTR_INT && a->type != MC_ATTR_FLOAT)
        return NULL;
    int64_t n = list ? (int64_t)a->n : 1;
    struct mc_shape shape = mc_shape_of(list ? 1 : 0, &n);
    struct mc_tensor *t;
    void *data;
    if (mc_tensor_new(ints ? MC_DTYPE_I64 : MC_DTYPE_F32, &shape, NULL, &t, &data, NULL))
        return NULL;
    const void *src = !list ? (ints ? (const void *)&a->i : (const void *)&a->f)
                            : (ints ? (const void *)a->ints : (const void *)a->floats);
    if (t->bytes)
        memcpy(data, src, t->bytes);
    return t;
}

/* The attribute of a Constant node that has its value. */
static struct mc_attr *value_attr(const struct mc_node *n)
{
    static const char *const names[] = {"value", "value_int", "value_ints", "value_float",
                                        "value_floats"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        struct mc_attr *a = (struct mc_attr *)mc_node_attr(n, names[i]);
        if (a && !a->ref)
            return a;
    }
    return NULL;
}

static const struct mc_tensor *node_content(const struct mc_node *n)
{
    struct mc_attr *a = value_attr(n);
    if (!a)
        return NULL;
    if (a->type == MC_ATTR_TENSOR)
        return a->n == 1 && a->tensors ? a->tensors[0] : NULL;
    struct mc_tensor *t = __atomic_load_n(&a->cache, __ATOMIC_ACQUIRE);
    if (t)
        return t;
    /* Readers may run in parallel: the first to finish puts its tensor in place. */
    struct mc_tensor *mine = numbers(a);
    if (!mine ||
        __atomic_compare_exchange_n(&a->cache, &t, mine, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
        return mine;
    mc_tensor_unref(mine);
    return t;
}

/* Does it have a content that can be looked at? */
static const struct mc_tensor *readable(const struct mc_tensor *t)
{
    return t && mc_dtype_info(t->dtype)->bits ? t : NULL;
}

const struct mc_tensor *mc_constant(const struct mc_value *v)
{
    v = origin(v);
    if (!v)
        return NULL;
    if (v->producer)
        return mc_node_is(v->producer, "Constant") ? readable(node_content(v->producer)) : NULL;
    bool overridable = v->is_input && v->graph->model->ir_version >= 4;
    return overridable ? NULL : readable(v->tensor);
}

static int not_constant(const struct mc_value *v, struct mc_err *err)
{
    return mc_fail(err, MC_EUNSUP, "'%s' is not a constant", v ? v->name : "");
}

int mc_constant_f32(const struct mc_value *v, float **ret, int64_t *ret_n, struct mc_err *err)
{
    const struct mc_tensor *t = mc_constant(v);
    if (!t)
        return not_constant(v, err);
    int64_t n = mc_tensor_count(t);
    size_t bytes;
    float *data = NULL;
    if (mc_size_mul((size_t)n, sizeof *data, &bytes))
        data = mc_alloc_aligned(bytes);
    if (!data)
        return mc_fail(err, MC_ENOMEM, "out of memory for '%s'", v->name);
    int rc = mc_dtype_to_f32(t->dtype, t->data, data, (size_t)n, err);
    if (rc) {
        free(data);
        return rc;
    }
    *ret = data;
    *ret_n = n;
    return 0;
}

int mc_constant_ints(const struct mc_value *v, int64_t *ret, int max)
{
    const struct mc_tensor *t = v ? mc_constant(v) : NULL;
    int64_t n = t ? mc_tensor_count(t) : -1;
    if (n < 0 || n > max || mc_dtype_to_i64(t->dtype, t->data, ret, (size_t)n, NULL))
        return -1;
    return (int)n;
}

int mc_constant_make(const float *src, const struct mc_shape *shape, enum mc_dtype dtype,
                     struct mc_spill *spill, struct mc_tensor **ret, struct mc_err *err)
{
    struct mc_tensor *t;
    void *data;
    int rc = mc_tensor_new(dtype, shape, spill, &t, &data, err);
    if (rc)
        return rc;
    rc = mc_dtype_from_f32(dtype, src, data, (size_t)mc_tensor_count(t), err);
    if (rc) {
        mc_tensor_unref(t);
        return rc;
    }
    *ret = t;
    return 0;
}

int mc_constant_new(struct mc_graph *g, size_t pos, const char *hint, struct mc_tensor *t,
                    struct mc_value **ret, struct mc_err *err)
{
    struct mc_node *n;
    if (!g->function || g->parent) {
        *ret = mc_edit_constant(g, hint, t);
        return *ret ? 0 : mc_fail(err, MC_ENOMEM, "out of memory while changing a graph");
    }
    *ret = mc_edit_fresh(g, hint);
    if (!*ret)
        return mc_fail(err, MC_ENOMEM, "out of memory while changing a graph");
    int rc = mc_edit_node(g, pos, "Constant", "", 0, "", NULL, 0, ret, 1, &n, err);
    return rc ? rc : mc_edit_attr_tensor(n, "value", t, err);
}

/* A declared type follows the content. */
static int retype(struct mc_value *v, const struct mc_tensor *t, struct mc_err *err)
{
    struct mc_dim dims[MC_RANK_MAX];
    for (int i = 0; i < t->shape.rank; i++)
        dims[i] = (struct mc_dim){t->shape.dim[i], NULL};
    if (v->type.kind == MC_TYPE_NONE || mc_edit_type(v, t->dtype, t->shape.rank, dims))
        return 0;
    return mc_fail(err, MC_ENOMEM, "out of memory while changing a graph");
}

int mc_constant_replace(struct mc_value *v, struct mc_tensor *t, struct mc_err *err)
{
    struct mc_value *place = (struct mc_value *)origin(v);
    if (!place || !mc_constant(place))
        return not_constant(v, err);
    int rc;
    if (place->producer) {
        const char *name = value_attr(place->producer)->name;
        rc = mc_edit_attr_tensor(place->producer, "value", t, err);
        if (!rc && strcmp(name, "value") != 0)
            mc_edit_attr_remove(place->producer, name);
    } else {
        rc = mc_edit_tensor(place, t, err);
    }
    return rc ? rc : retype(place, t, err);
}
