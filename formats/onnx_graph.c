/* GraphProto and FunctionProto -> struct mc_graph. All names of a graph are defined before any node is
 * read, so that nodes may come in any order and bodies find what they capture. */
#include "formats/onnx_parts.h"

#include <limits.h>
#include <string.h>

#include "graph/edit.h"

static const char *text(const char *s)
{
    return s ? s : "";
}

/* Forget a string that is modelled, so that it does not go into `extra`; one that is there but empty says
 * something that the model in memory does not, and stays. */
static void taken(char **s)
{
    if (*s && **s)
        *s = NULL;
}

/* ---- values ---- */

static enum mc_dtype element_type(const Onnx__TypeProto__Tensor *t)
{
    return t->elem_type > 0 && t->elem_type < MC_DTYPE_COUNT ? (enum mc_dtype)t->elem_type
                                                             : MC_DTYPE_NONE;
}

/* A type that is no tensor: the kind of the outermost, the elements of the innermost. */
static void read_other(const Onnx__TypeProto *p, struct mc_type *ret)
{
    ret->kind = p->value_case == ONNX__TYPE_PROTO__VALUE_SEQUENCE_TYPE   ? MC_TYPE_SEQUENCE
                : p->value_case == ONNX__TYPE_PROTO__VALUE_OPTIONAL_TYPE ? MC_TYPE_OPTIONAL
                                                                         : MC_TYPE_OTHER;
    while (p && p->value_case != ONNX__TYPE_PROTO__VALUE_TENSOR_TYPE)
        p = p->value_case == ONNX__TYPE_PROTO__VALUE_SEQUENCE_TYPE   ? p->sequence_type->elem_type
            : p->value_case == ONNX__TYPE_PROTO__VALUE_OPTIONAL_TYPE ? p->optional_type->elem_type
                                                                     : NULL;
    ret->dtype = p ? element_type(p->tensor_type) : MC_DTYPE_NONE;
}

static int read_type(struct mc_onnx_reader *r, const Onnx__TypeProto *p, struct mc_value *v)
{
    if (!p || p->value_case == ONNX__TYPE_PROTO__VALUE__NOT_SET)
        return 0;
    if (p->value_case != ONNX__TYPE_PROTO__VALUE_TENSOR_TYPE) {
        read_other(p, &v->type);
        return 0;
    }
    const Onnx__TypeProto__Tensor *t = p->tensor_type;
    enum mc_dtype dtype = element_type(t);
    size_t rank = t->shape ? t->shape->n_dim : 0;
    if (rank > INT_MAX)
        return mc_fail(r->err, MC_EUNSUP, "'%s': value '%s' has rank %zu", r->path, v->name, rank);
    struct mc_dim *dims = mc_arena_array(&r->tree, rank, sizeof *dims);
    if (!dims)
        return mc_onnx_no_memory(r);
    for (size_t i = 0; i < rank; i++) {
        const Onnx__TensorShapeProto__Dimension *d = t->shape->dim[i];
        dims[i] = (struct mc_dim){-1, NULL};
        if (d->value_case == ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_VALUE &&
            d->dim_value >= 0)
            dims[i].value = d->dim_value;
        else if (d->value_case == ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_PARAM &&
                 *d->dim_param)
            dims[i].param = d->dim_param;
    }
    if (!mc_edit_type(v, dtype, t->shape ? (int)rank : -1, dims))
        return mc_onnx_no_memory(r);
    return 0;
}

/* What a ValueInfoProto says, but the name. Returns 1 if the value is declared otherwise already. */
static int declare(struct mc_onnx_reader *r, Onnx__ValueInfoProto *p, struct mc_value *v,
                   bool *ret_other)
{
    char *name = p->name;
    struct mc_bytes info;
    p->name = NULL;
    int rc = mc_onnx_pack_rest(r, &p->base, &info);
    p->name = name;
    *ret_other = false;
    if (rc)
        return rc;
    if (v->info.size || v->type.kind != MC_TYPE_NONE) {
        *ret_other = v->info.size != info.size || memcmp(v->info.data, info.data, info.size);
        return 0;
    }
    rc = read_type(r, p->type, v);
    v->info = info;
    return rc;
}

static int new_value(struct mc_onnx_reader *r, struct mc_graph *g, const char *name,
                     const char *what, struct mc_value **ret)
{
    if (!*name)
        return mc_fail(r->err, MC_EFORMAT, "'%s': graph '%s' has %s without a name", r->path,
                       g->name, what);
    if (mc_graph_value(g, name))
        return mc_fail(r->err, MC_EFORMAT, "'%s': graph '%s': two values are named '%s'", r->path,
                       g->name, name);
    *ret = mc_edit_value(g, name);
    return *ret ? 0 : mc_onnx_no_memory(r);
}

static int read_input(struct mc_onnx_reader *r, struct mc_graph *g, const char *name,
                      Onnx__ValueInfoProto *p)
{
    struct mc_value *v;
    bool other;
    int rc = new_value(r, g, name, "an input", &v);
    if (!rc && p)
        rc = declare(r, p, v, &other);
    /* Exporters write 0 for a dimension that they do not know. */
    for (int i = 0; !rc && i < v->type.rank; i++)
        if (v->type.dim[i].value == 0)
            v->type.dim[i].value = -1;
    return rc ? rc : mc_edit_input(g, v, r->err);
}

/* Why a name could not be resolved: nobody has it, or there was no memory for the way to who has it. */
static bool is_defined(const struct mc_graph *g, const char *name)
{
    for (; g; g = g->parent)
        if (mc_graph_value(g, name))
            return true;
    return false;
}

static int read_output(struct mc_onnx_reader *r, struct mc_graph *g, const char *name)
{
    struct mc_value *v = mc_edit_resolve(g, name);
    if (!v && is_defined(g, name))
        return mc_onnx_no_memory(r);
    if (!v)
        return mc_fail(r->err, MC_EFORMAT, "'%s': graph '%s': nothing produces the output '%s'",
                       r->path, g->name, name);
    return mc_edit_output(g, v, r->err);
}

/* If an output is declared otherwise in another place (an input passed on), all of them stay in `extra`, too:
 * see put_outputs. */
static int read_outputs(struct mc_onnx_reader *r, struct mc_graph *g, Onnx__GraphProto *p)
{
    bool other, any = false;
    int rc = 0;
    for (size_t i = 0; !rc && i < p->n_output; i++) {
        const char *name = text(p->output[i]->name);
        rc = read_output(r, g, name);
        if (!rc)
            rc = declare(r, p->output[i], mc_graph_value(g, name), &other);
        any |= !rc && other;
    }
    if (!any)
        p->n_output = 0;
    return rc;
}

/* Entries that name nothing of this graph, or something declared otherwise, stay in `extra`. */
static int read_infos(struct mc_onnx_reader *r, struct mc_graph *g, Onnx__ValueInfoProto **list,
                      size_t *n)
{
    size_t kept = 0;
    int rc = 0;
    for (size_t i = 0; !rc && i < *n; i++) {
        struct mc_value *v = mc_graph_value(g, text(list[i]->name));
        bool other = !v;
        if (v)
            rc = declare(r, list[i], v, &other);
        if (other)
            list[kept++] = list[i];
        else if (!rc)
            rc = mc_edit_info(g, v, r->err);
    }
    *n = kept;
    return rc;
}

static int set_content(struct mc_onnx_reader *r, struct mc_graph *g, const char *name,
                       struct mc_tensor *t)
{
    struct mc_value *v = mc_graph_value(g, name);
    int rc = 0;
    if (v && v->tensor)
        rc = mc_fail(r->err, MC_EFORMAT, "'%s': graph '%s': initializer '%s' is there twice",
                     r->path, g->name, name);
    else if (!v)
        rc = new_value(r, g, name, "an initializer", &v);
    if (!rc)
        rc = mc_edit_tensor(v, t, r->err);
    mc_tensor_unref(t);
    return rc;
}

static int read_initializers(struct mc_onnx_reader *r, struct mc_graph *g, Onnx__GraphProto *p)
{
    struct mc_tensor *t;
    int rc = 0;
    for (size_t i = 0; !rc && i < p->n_initializer; i++) {
        const char *name = text(p->initializer[i]->name);
        rc = mc_onnx_read_tensor(r, p->initializer[i], "initializer", name, true, &t);
        if (!rc)
            rc = set_content(r, g, name, t);
    }
    for (size_t i = 0; !rc && i < p->n_sparse_initializer; i++) {
        const Onnx__TensorProto *values = p->sparse_initializer[i]->values;
        rc = mc_onnx_read_sparse(r, p->sparse_initializer[i], &t);
        if (!rc)
            rc = set_content(r, g, values ? text(values->name) : "", t);
    }
    p->n_initializer = p->n_sparse_initializer = 0;
    return rc;
}

/* ---- nodes ---- */

static int define_outputs(struct mc_onnx_reader *r, struct mc_graph *g, Onnx__NodeProto **nodes,
                          size_t n)
{
    struct mc_value *v;
    int rc = 0;
    for (size_t i = 0; !rc && i < n; i++)
        for (size_t k = 0; !rc && k < nodes[i]->n_output; k++)
            if (*nodes[i]->output[k])
                rc = new_value(r, g, nodes[i]->output[k], "an output", &v);
    return rc;
}

/* The values that names mean; "" is NULL. */
static int find_values(struct mc_onnx_reader *r, struct mc_graph *g, const Onnx__NodeProto *p,
                       char **names, size_t n, struct mc_value ***ret)
{
    struct mc_value **list = mc_arena_array(&r->tree, n, sizeof *list);
    if (!list)
        return mc_onnx_no_memory(r);
    for (size_t i = 0; i < n; i++) {
        if (!*names[i])
            continue;
        list[i] = mc_edit_resolve(g, names[i]);
        if (!list[i] && is_defined(g, names[i]))
            return mc_onnx_no_memory(r);
        if (!list[i])
            return mc_fail(r->err, MC_EFORMAT,
                           "'%s': graph '%s': nothing produces '%s', input %zu of %s '%s'", r->path,
                           g->name, names[i], i, text(p->op_type),
                           p->name && *p->name ? p->name
                           : p->n_output       ? p->output[0]
                                               : "");
    }
    *ret = list;
    return 0;
}

static int read_node(struct mc_onnx_reader *r, struct mc_graph *g, Onnx__NodeProto *p)
{
    struct mc_value **in, **out;
    struct mc_node *n;
    if (!p->op_type || !*p->op_type)
        return mc_fail(r->err, MC_EFORMAT, "'%s': graph '%s': node '%s' has no operator", r->path,
                       g->name, text(p->name));
    int rc = find_values(r, g, p, p->input, p->n_input, &in);
    if (!rc)
        rc = find_values(r, g, p, p->output, p->n_output, &out);
    if (!rc)
        rc = mc_edit_node(g, g->n_nodes, p->op_type, text(p->domain), 0, text(p->name), in,
                          p->n_input, out, p->n_output, &n, r->err);
    if (rc)
        return rc;
    n->overload = mc_arena_strdup(&r->m->arena, text(p->overload));
    if (!n->overload)
        return mc_onnx_no_memory(r);
    for (size_t i = 0; !rc && i < p->n_attribute; i++) {
        struct mc_attr *a = mc_edit_attr_new(n, text(p->attribute[i]->name), MC_ATTR_NONE);
        rc = a ? mc_onnx_read_attr(r, p->attribute[i], g, n, a) : mc_onnx_no_memory(r);
    }
    if (rc)
        return rc;
    p->n_input = p->n_output = p->n_attribute = 0;
    p->op_type = NULL;
    taken(&p->name);
    taken(&p->overload);
    if (p->domain && strcmp(p->domain, "ai.onnx"))
        taken(&p->domain);
    return mc_onnx_pack_rest(r, &p->base, &n->extra);
}

static int read_nodes(struct mc_onnx_reader *r, struct mc_graph *g, Onnx__NodeProto **nodes,
                      size_t *n)
{
    int rc = 0;
    for (size_t i = 0; !rc && i < *n; i++)
        rc = read_node(r, g, nodes[i]);
    *n = 0;
    return rc;
}

/* ---- graphs ---- */

int mc_onnx_read_graph(struct mc_onnx_reader *r, Onnx__GraphProto *p, struct mc_graph *parent,
                       struct mc_node *owner, struct mc_graph **ret)
{
    struct mc_graph *g = mc_edit_graph(r->m, parent, owner, text(p->name));
    if (!g)
        return mc_onnx_no_memory(r);
    int rc = 0;
    for (size_t i = 0; !rc && i < p->n_input; i++)
        rc = read_input(r, g, text(p->input[i]->name), p->input[i]);
    p->n_input = 0;
    if (!rc)
        rc = read_initializers(r, g, p);
    if (!rc)
        rc = define_outputs(r, g, p->node, p->n_node);
    if (!rc)
        rc = read_nodes(r, g, p->node, &p->n_node);
    if (!rc)
        rc = read_outputs(r, g, p);
    if (!rc)
        rc = read_infos(r, g, p->value_info, &p->n_value_info);
    taken(&p->name);
    if (!rc)
        rc = mc_onnx_pack_rest(r, &p->base, &g->extra);
    if (!rc)
        *ret = g;
    return rc;
}

int mc_onnx_read_opset(struct mc_onnx_reader *r, Onnx__OperatorSetIdProto *p, struct mc_opset *o)
{
    if (p->version < 0 || p->version > INT_MAX)
        return mc_fail(r->err, MC_EFORMAT, "'%s': domain '%s' is imported in version %lld", r->path,
                       text(p->domain), (long long)p->version);
    o->version = p->version;
    if (p->domain && strcmp(p->domain, "ai.onnx"))
        taken(&p->domain);
    p->has_version = p->has_version && !p->version;
    return mc_onnx_pack_rest(r, &p->base, &o->extra);
}

/* Names, imports and attributes of a function. */
static int read_head(struct mc_onnx_reader *r, Onnx__FunctionProto *p, struct mc_function *f)
{
    int rc = 0;
    for (size_t i = 0; !rc && i < p->n_opset_import; i++) {
        rc = mc_edit_function_opset(f, text(p->opset_import[i]->domain), 0, r->err);
        if (!rc)
            rc = mc_onnx_read_opset(r, p->opset_import[i], &f->opsets[i]);
    }
    for (size_t i = 0; !rc && i < p->n_attribute; i++)
        rc = mc_edit_function_attr(f, p->attribute[i], r->err);
    for (size_t i = 0; !rc && i < p->n_attribute_proto; i++) {
        struct mc_attr *a =
            mc_edit_function_default(f, text(p->attribute_proto[i]->name), MC_ATTR_NONE);
        rc = a ? mc_onnx_read_attr(r, p->attribute_proto[i], NULL, NULL, a) : mc_onnx_no_memory(r);
    }
    p->n_opset_import = p->n_attribute = p->n_attribute_proto = 0;
    taken(&p->name);
    taken(&p->overload);
    if (p->domain && strcmp(p->domain, "ai.onnx"))
        taken(&p->domain);
    return rc;
}

int mc_onnx_read_function(struct mc_onnx_reader *r, Onnx__FunctionProto *p)
{
    struct mc_function *f =
        mc_edit_function(r->m, text(p->domain), text(p->name), text(p->overload));
    if (!f)
        return mc_onnx_no_memory(r);
    struct mc_graph *g = f->body;
    int rc = read_head(r, p, f);
    for (size_t i = 0; !rc && i < p->n_input; i++)
        rc = read_input(r, g, p->input[i], NULL);
    if (!rc)
        rc = define_outputs(r, g, p->node, p->n_node);
    if (!rc)
        rc = read_nodes(r, g, p->node, &p->n_node);
    for (size_t i = 0; !rc && i < p->n_output; i++)
        rc = read_output(r, g, p->output[i]);
    if (!rc)
        rc = read_infos(r, g, p->value_info, &p->n_value_info);
    p->n_input = p->n_output = 0;
    return rc ? rc : mc_onnx_pack_rest(r, &p->base, &f->extra);
}
