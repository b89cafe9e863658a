/* struct mc_graph -> protobuf messages. Each message starts as what the reader left over (`extra`); the
 * fields of the model in memory are then laid over it, so what memory says wins. Strings and weights are
 * borrowed: the casts drop const for structs that protobuf-c only reads. */
#include "formats/onnx_parts.h"

#include <stdlib.h>
#include <string.h>

#include "formats/onnx_wire.h"

#define UNPACK(t, kind, bytes)                                                                     \
    mc_onnx_unpack_extra(&onnx__##kind##__descriptor, (bytes).data, (bytes).size, &(t)->arena)

/* Empty strings are said only where the file said them: then they are in `extra`. */
static void set_text(char **field, const char *text)
{
    if (*text)
        *field = (char *)text;
}

/* An array of n + more pointers, its first `more` entries copied to the end. */
static void *list_with(struct mc_onnx_tree *t, size_t n, void *rest, size_t n_rest)
{
    void **list;
    size_t total;
    if (!mc_size_add(n, n_rest, &total) || !(list = mc_arena_array(&t->arena, total, sizeof *list)))
        return NULL;
    if (n_rest)
        memcpy(list + n, rest, n_rest * sizeof *list);
    return list;
}

static char **names_of(struct mc_onnx_tree *t, struct mc_value *const *values, size_t n)
{
    char **names = mc_arena_array(&t->arena, n, sizeof *names);
    for (size_t i = 0; names && i < n; i++)
        names[i] = values[i] ? (char *)values[i]->name : "";
    return names;
}

/* ---- values ---- */

static Onnx__TensorShapeProto *tree_shape(struct mc_onnx_tree *t, const struct mc_type *type)
{
    struct mc_bytes none = {0};
    Onnx__TensorShapeProto *p = UNPACK(t, tensor_shape_proto, none);
    if (!p || !(p->dim = list_with(t, (size_t)type->rank, NULL, 0)))
        return NULL;
    for (; p->n_dim < (size_t)type->rank; p->n_dim++) {
        const struct mc_dim *from = &type->dim[p->n_dim];
        Onnx__TensorShapeProto__Dimension *d = UNPACK(t, tensor_shape_proto__dimension, none);
        if (!d)
            return NULL;
        if (from->value >= 0) {
            d->value_case = ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_VALUE;
            d->dim_value = from->value;
        } else if (from->param) {
            d->value_case = ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_PARAM;
            d->dim_param = (char *)from->param;
        }
        p->dim[p->n_dim] = d;
    }
    return p;
}

static Onnx__TypeProto *tree_type(struct mc_onnx_tree *t, const struct mc_type *type)
{
    struct mc_bytes none = {0};
    Onnx__TypeProto *p = UNPACK(t, type_proto, none);
    Onnx__TypeProto__Tensor *x = UNPACK(t, type_proto__tensor, none);
    if (!p || !x)
        return NULL;
    p->value_case = ONNX__TYPE_PROTO__VALUE_TENSOR_TYPE;
    p->tensor_type = x;
    x->has_elem_type = 1;
    x->elem_type = type->dtype;
    if (type->ranked && !(x->shape = tree_shape(t, type)))
        return NULL;
    return p;
}

static Onnx__ValueInfoProto *tree_value(struct mc_onnx_tree *t, const struct mc_value *v)
{
    Onnx__ValueInfoProto *p = UNPACK(t, value_info_proto, v->info);
    if (!p)
        return NULL;
    p->name = (char *)v->name;
    if (!v->info.size && v->type.kind == MC_TYPE_TENSOR && !(p->type = tree_type(t, &v->type)))
        return NULL;
    return p;
}

/* Outputs. What the reader kept apart (see read_outputs) is written for those that are still in their place. */
static bool put_outputs(struct mc_onnx_tree *t, const struct mc_graph *g, Onnx__GraphProto *p)
{
    Onnx__ValueInfoProto **apart = p->output;
    size_t n_apart = p->n_output;
    if (!(p->output = list_with(t, g->n_outputs, NULL, 0)))
        return false;
    for (size_t i = 0; i < g->n_outputs; i++) {
        const struct mc_value *v = g->outputs[i];
        if (i < n_apart && v->info.size && apart[i]->name && !strcmp(apart[i]->name, v->name))
            p->output[i] = apart[i];
        else if (!(p->output[i] = tree_value(t, v)))
            return false;
    }
    p->n_output = g->n_outputs;
    return true;
}

/* *list = values, then what is in *list. */
static bool put_values(struct mc_onnx_tree *t, struct mc_value *const *values, size_t n,
                       Onnx__ValueInfoProto ***list, size_t *n_list)
{
    Onnx__ValueInfoProto **all = list_with(t, n, *list, *n_list);
    for (size_t i = 0; all && i < n; i++)
        if (!(all[i] = tree_value(t, values[i])))
            return false;
    *list = all;
    *n_list += n;
    return all != NULL;
}

static bool put_initializers(struct mc_onnx_tree *t, const struct mc_graph *g, Onnx__GraphProto *p)
{
    p->initializer = list_with(t, g->n_inits, NULL, 0);
    p->sparse_initializer = list_with(t, g->n_inits, NULL, 0);
    if (!p->initializer || !p->sparse_initializer)
        return false;
    for (size_t i = 0; i < g->n_inits; i++) {
        const struct mc_value *v = g->inits[i];
        if (v->tensor->form == MC_TENSOR_SPARSE) {
            Onnx__SparseTensorProto *x = UNPACK(t, sparse_tensor_proto, v->tensor->extra);
            if (!x || !x->values)
                return false;
            x->values->name = (char *)v->name;
            p->sparse_initializer[p->n_sparse_initializer++] = x;
        } else if ((p->initializer[p->n_initializer] =
                        mc_onnx_tree_tensor(t, v->tensor, v->name))) {
            p->n_initializer++;
        } else {
            return false;
        }
    }
    return true;
}

/* ---- nodes and graphs ---- */

static Onnx__NodeProto *tree_node(struct mc_onnx_tree *t, const struct mc_node *n)
{
    Onnx__NodeProto *p = UNPACK(t, node_proto, n->extra);
    if (!p)
        return NULL;
    p->op_type = (char *)n->op_type;
    set_text(&p->name, n->name);
    set_text(&p->domain, n->domain);
    set_text(&p->overload, n->overload);
    p->input = names_of(t, n->in, p->n_input = n->n_in);
    p->output = names_of(t, n->out, p->n_output = n->n_out);
    p->attribute = list_with(t, n->n_attr, NULL, 0);
    if (!p->input || !p->output || !p->attribute)
        return NULL;
    for (; p->n_attribute < n->n_attr; p->n_attribute++)
        if (!(p->attribute[p->n_attribute] = mc_onnx_tree_attr(t, &n->attr[p->n_attribute])))
            return NULL;
    return p;
}

static Onnx__NodeProto **tree_nodes(struct mc_onnx_tree *t, const struct mc_graph *g)
{
    Onnx__NodeProto **list = list_with(t, g->n_nodes, NULL, 0);
    for (size_t i = 0; list && i < g->n_nodes; i++)
        if (!(list[i] = tree_node(t, g->nodes[i])))
            return NULL;
    return list;
}

Onnx__GraphProto *mc_onnx_tree_graph(struct mc_onnx_tree *t, const struct mc_graph *g)
{
    Onnx__GraphProto *p = UNPACK(t, graph_proto, g->extra);
    if (!p)
        return NULL;
    set_text(&p->name, g->name);
    p->node = tree_nodes(t, g);
    p->n_node = g->n_nodes;
    if (!p->node || !put_initializers(t, g, p) ||
        !put_values(t, g->inputs, g->n_inputs, &p->input, &p->n_input) || !put_outputs(t, g, p) ||
        !put_values(t, g->infos, g->n_infos, &p->value_info, &p->n_value_info))
        return NULL;
    return p;
}

static Onnx__OperatorSetIdProto *tree_opset(struct mc_onnx_tree *t, const struct mc_opset *o)
{
    Onnx__OperatorSetIdProto *p = UNPACK(t, operator_set_id_proto, o->extra);
    if (!p)
        return NULL;
    set_text(&p->domain, o->domain);
    p->has_version |= o->version != 0;
    p->version = o->version;
    return p;
}

static Onnx__FunctionProto *tree_function(struct mc_onnx_tree *t, const struct mc_function *f)
{
    Onnx__FunctionProto *p = UNPACK(t, function_proto, f->extra);
    if (!p)
        return NULL;
    const struct mc_graph *g = f->body;
    set_text(&p->name, f->name);
    set_text(&p->domain, f->domain);
    set_text(&p->overload, f->overload);
    p->input = names_of(t, g->inputs, p->n_input = g->n_inputs);
    p->output = names_of(t, g->outputs, p->n_output = g->n_outputs);
    p->attribute = (char **)f->attrs;
    p->n_attribute = f->n_attrs;
    p->attribute_proto = list_with(t, f->n_defaults, NULL, 0);
    p->opset_import = list_with(t, f->n_opsets, NULL, 0);
    p->node = tree_nodes(t, g);
    p->n_node = g->n_nodes;
    if (!p->input || !p->output || !p->attribute_proto || !p->opset_import || !p->node)
        return NULL;
    for (; p->n_attribute_proto < f->n_defaults; p->n_attribute_proto++)
        if (!(p->attribute_proto[p->n_attribute_proto] =
                  mc_onnx_tree_attr(t, &f->defaults[p->n_attribute_proto])))
            return NULL;
    for (; p->n_opset_import < f->n_opsets; p->n_opset_import++)
        if (!(p->opset_import[p->n_opset_import] = tree_opset(t, &f->opsets[p->n_opset_import])))
            return NULL;
    return put_values(t, g->infos, g->n_infos, &p->value_info, &p->n_value_info) ? p : NULL;
}

/* ---- model ---- */

/* Imports and metadata, each followed by what the reader left (see read_opsets, read_meta). */
static bool put_lists(struct mc_onnx_tree *t, const struct mc_model *m, Onnx__ModelProto *p)
{
    p->opset_import = list_with(t, m->n_opsets, p->opset_import, p->n_opset_import);
    p->metadata_props = list_with(t, m->n_meta, p->metadata_props, p->n_metadata_props);
    if (!p->opset_import || !p->metadata_props)
        return false;
    for (size_t i = 0; i < m->n_opsets; i++)
        if (!(p->opset_import[i] = tree_opset(t, &m->opsets[i])))
            return false;
    for (size_t i = 0; i < p->n_opset_import; i++) {
        Onnx__OperatorSetIdProto *again = p->opset_import[m->n_opsets + i];
        again->version = mc_model_opset(m, again->domain ? again->domain : "");
    }
    for (size_t i = 0; i < m->n_meta; i++) {
        Onnx__StringStringEntryProto *e = mc_arena_alloc(&t->arena, sizeof *e);
        if (!e)
            return false;
        onnx__string_string_entry_proto__init(e);
        e->key = (char *)m->meta[i].key;
        e->value = (char *)m->meta[i].value;
        p->metadata_props[i] = e;
    }
    p->n_opset_import += m->n_opsets;
    p->n_metadata_props += m->n_meta;
    return true;
}

static Onnx__ModelProto *tree_model(struct mc_onnx_tree *t, const struct mc_model *m)
{
    Onnx__ModelProto *p = UNPACK(t, model_proto, m->extra);
    if (!p || !put_lists(t, m, p) || !(p->graph = mc_onnx_tree_graph(t, m->graph)))
        return NULL;
    p->has_ir_version = 1;
    p->ir_version = m->ir_version;
    p->functions = list_with(t, m->n_functions, NULL, 0);
    if (!p->functions)
        return NULL;
    for (; p->n_functions < m->n_functions; p->n_functions++)
        if (!(p->functions[p->n_functions] = tree_function(t, m->functions[p->n_functions])))
            return NULL;
    return p;
}

int mc_onnx_tree_make(struct mc_onnx_tree *t, const struct mc_model *m, struct mc_err *err)
{
    t->model = tree_model(t, m);
    return t->model ? 0 : mc_fail(err, MC_ENOMEM, "out of memory writing a model");
}

void mc_onnx_tree_free(struct mc_onnx_tree *t)
{
    mc_arena_free(&t->arena);
    free(t->placed);
    free(t->slots);
    *t = (struct mc_onnx_tree){0};
}
