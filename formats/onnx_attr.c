/* AttributeProto -> struct mc_attr. */
#include "formats/onnx_parts.h"

#include <string.h>

static int copy_bytes(struct mc_onnx_reader *r, const ProtobufCBinaryData *s, struct mc_bytes *ret)
{
    char *copy = mc_arena_strndup(&r->m->arena, (const char *)s->data, s->len);
    if (!copy)
        return mc_onnx_no_memory(r);
    *ret = (struct mc_bytes){(const uint8_t *)copy, s->len};
    return 0;
}

static int read_strings(struct mc_onnx_reader *r, Onnx__AttributeProto *p, struct mc_attr *a)
{
    a->strings = mc_arena_array(&r->m->arena, p->n_strings, sizeof *a->strings);
    if (!a->strings)
        return mc_onnx_no_memory(r);
    a->n = p->n_strings;
    int rc = 0;
    for (size_t i = 0; !rc && i < a->n; i++)
        rc = copy_bytes(r, &p->strings[i], &a->strings[i]);
    p->n_strings = 0;
    return rc;
}

static int read_tensors(struct mc_onnx_reader *r, Onnx__TensorProto **list, size_t n,
                        const char *owner, struct mc_attr *a)
{
    a->tensors = mc_arena_array(&r->m->arena, n, sizeof *a->tensors);
    if (!a->tensors)
        return mc_onnx_no_memory(r);
    a->n = n; /* the entries not read yet are NULL */
    int rc = 0;
    for (size_t i = 0; !rc && i < n; i++)
        rc = mc_onnx_read_tensor(r, list[i], "tensor of node", owner, false, &a->tensors[i]);
    return rc;
}

static int read_graphs(struct mc_onnx_reader *r, Onnx__GraphProto **list, size_t n,
                       struct mc_graph *g, struct mc_node *node, struct mc_attr *a)
{
    a->graphs = mc_arena_array(&r->m->arena, n, sizeof *a->graphs);
    if (!a->graphs)
        return mc_onnx_no_memory(r);
    int rc = 0;
    for (a->n = 0; !rc && a->n < n; a->n += !rc)
        rc = mc_onnx_read_graph(r, list[a->n], g, node, &a->graphs[a->n]);
    return rc;
}

static int copy_numbers(struct mc_onnx_reader *r, const void *src, size_t n, size_t size, void *ret)
{
    void *copy = mc_arena_array(&r->m->arena, n, size);
    if (!copy)
        return mc_onnx_no_memory(r);
    if (n)
        memcpy(copy, src, n * size);
    memcpy(ret, &copy, sizeof copy);
    return 0;
}

/* The first writers of the format did not say the type: it is that of the one value there. */
static enum mc_attr_type type_of(const Onnx__AttributeProto *p)
{
    if (p->has_type && p->type != ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__UNDEFINED)
        return p->type > 0 && (int)p->type <= MC_ATTR_TYPES ? (enum mc_attr_type)p->type
                                                            : MC_ATTR_NONE;
    return p->has_f           ? MC_ATTR_FLOAT
           : p->has_i         ? MC_ATTR_INT
           : p->has_s         ? MC_ATTR_STRING
           : p->t             ? MC_ATTR_TENSOR
           : p->g             ? MC_ATTR_GRAPH
           : p->n_floats      ? MC_ATTR_FLOATS
           : p->n_ints        ? MC_ATTR_INTS
           : p->n_strings     ? MC_ATTR_STRINGS
           : p->n_tensors     ? MC_ATTR_TENSORS
           : p->n_graphs      ? MC_ATTR_GRAPHS
           : p->sparse_tensor ? MC_ATTR_SPARSE
                              : MC_ATTR_NONE;
}

/* Take the value of the attribute's type out of p. */
static int read_value(struct mc_onnx_reader *r, Onnx__AttributeProto *p, struct mc_graph *g,
                      struct mc_node *n, struct mc_attr *a)
{
    const char *owner = n ? mc_node_label(n) : a->name;
    int rc = 0;
    switch (a->type) {
    case MC_ATTR_FLOAT:
        a->f = p->f;
        p->has_f = 0;
        break;
    case MC_ATTR_INT:
        a->i = p->i;
        p->has_i = 0;
        break;
    case MC_ATTR_STRING:
        rc = copy_bytes(r, &p->s, &a->s);
        p->has_s = 0;
        break;
    case MC_ATTR_TENSOR:
        rc = read_tensors(r, &p->t, p->t ? 1 : 0, owner, a);
        p->t = NULL;
        break;
    case MC_ATTR_GRAPH:
        rc = read_graphs(r, &p->g, p->g ? 1 : 0, g, n, a);
        p->g = NULL;
        break;
    case MC_ATTR_FLOATS:
        rc = copy_numbers(r, p->floats, a->n = p->n_floats, sizeof *a->floats, &a->floats);
        p->n_floats = 0;
        break;
    case MC_ATTR_INTS:
        rc = copy_numbers(r, p->ints, a->n = p->n_ints, sizeof *a->ints, &a->ints);
        p->n_ints = 0;
        break;
    case MC_ATTR_STRINGS: rc = read_strings(r, p, a); break;
    case MC_ATTR_TENSORS:
        rc = read_tensors(r, p->tensors, p->n_tensors, owner, a);
        p->n_tensors = 0;
        break;
    case MC_ATTR_GRAPHS:
        rc = read_graphs(r, p->graphs, p->n_graphs, g, n, a);
        p->n_graphs = 0;
        break;
    default: break; /* stays in `extra` */
    }
    return rc;
}

int mc_onnx_read_attr(struct mc_onnx_reader *r, Onnx__AttributeProto *p, struct mc_graph *g,
                      struct mc_node *n, struct mc_attr *a)
{
    int rc = 0;
    a->type = type_of(p);
    if (p->ref_attr_name && *p->ref_attr_name) {
        a->ref = mc_arena_strdup(&r->m->arena, p->ref_attr_name);
        if (!a->ref)
            return mc_onnx_no_memory(r);
        p->ref_attr_name = NULL;
    } else {
        rc = read_value(r, p, g, n, a);
    }
    if (a->type != MC_ATTR_NONE)
        p->has_type = 0;
    p->name = NULL;
    if (!rc)
        rc = mc_onnx_inline_external(r, &p->base);
    return rc ? rc : mc_onnx_pack_rest(r, &p->base, &a->extra);
}
