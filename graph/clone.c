#include <stdlib.h>
#include <string.h>

#include "graph/graph.h"
#include "graph/edit.h"
#include "graph/edit_list.h"
#include "graph/names.h"

/* Copies into the arena; each returns false when out of memory. Nothing is undone: the half-built model is
 * freed as a whole. */

static bool copy_string(struct mc_arena *a, const char *src, const char **dst)
{
    *dst = !src || src[0] ? mc_arena_strdup(a, src) : "";
    return !src || *dst;
}

static bool copy_bytes(struct mc_arena *a, struct mc_bytes src, struct mc_bytes *dst)
{
    *dst = (struct mc_bytes){0};
    if (!src.data)
        return true;
    dst->data = (const uint8_t *)mc_arena_strndup(a, (const char *)src.data, src.size);
    dst->size = src.size;
    return dst->data != NULL;
}

static bool copy_array(struct mc_arena *a, const void *src, size_t n, size_t size, void *dst_array)
{
    void *copy = NULL;
    if (src && !(copy = mc_arena_memdup(a, src, n * size)))
        return false;
    memcpy(dst_array, &copy, sizeof copy);
    return true;
}

static bool copy_type(struct mc_arena *a, const struct mc_type *src, struct mc_type *dst)
{
    *dst = *src;
    if (!copy_array(a, src->dim, (size_t)src->rank, sizeof *src->dim, &dst->dim))
        return false;
    for (int i = 0; dst->dim && i < dst->rank; i++)
        if (!copy_string(a, src->dim[i].param, &dst->dim[i].param))
            return false;
    return true;
}

static struct mc_graph *copy_graph(struct mc_model *m, const struct mc_graph *src,
                                   struct mc_graph *g);

static bool copy_attr(struct mc_model *m, const struct mc_attr *src, struct mc_node *owner,
                      struct mc_attr *dst)
{
    struct mc_arena *a = &m->arena;
    dst->type = src->type;
    dst->n = src->n;
    dst->i = src->i;
    dst->f = src->f;
    if (!copy_string(a, src->name, &dst->name) || !copy_string(a, src->ref, &dst->ref) ||
        !copy_bytes(a, src->s, &dst->s) || !copy_bytes(a, src->extra, &dst->extra) ||
        !copy_array(a, src->ints, src->n, sizeof *src->ints, &dst->ints) ||
        !copy_array(a, src->floats, src->n, sizeof *src->floats, &dst->floats) ||
        !copy_array(a, src->strings, src->n, sizeof *src->strings, &dst->strings) ||
        !copy_array(a, src->tensors, src->n, sizeof *src->tensors, &dst->tensors))
        return false;
    if (dst->tensors)
        for (size_t i = 0; i < dst->n; i++)
            if (dst->tensors[i])
                mc_tensor_ref(dst->tensors[i]);
    if (dst->strings)
        for (size_t i = 0; i < dst->n; i++)
            if (!copy_bytes(a, src->strings[i], &dst->strings[i]))
                return false;
    if (!src->graphs)
        return true;
    dst->graphs = mc_arena_array(a, src->n, sizeof *dst->graphs);
    if (!dst->graphs)
        return false;
    for (size_t i = 0; i < src->n; i++) {
        dst->graphs[i] = mc_edit_graph(m, owner ? owner->graph : NULL, owner, src->graphs[i]->name);
        if (!dst->graphs[i] || !copy_graph(m, src->graphs[i], dst->graphs[i]))
            return false;
    }
    return true;
}

static bool copy_value(struct mc_graph *g, const struct mc_value *src)
{
    struct mc_arena *a = &g->model->arena;
    struct mc_value *v = mc_arena_alloc(a, sizeof *v);
    if (!v)
        return false;
    v->index = src->index;
    v->graph = g;
    v->slot = src->slot;
    v->is_input = src->is_input;
    v->is_output = src->is_output;
    if (!copy_string(a, src->name, &v->name) || !copy_type(a, &src->type, &v->type) ||
        !copy_bytes(a, src->info, &v->info) || !mc_names_put(v))
        return false;
    g->values[v->index] = v;
    if (src->tensor)
        v->tensor = mc_tensor_ref(src->tensor);
    /* Uses are entered anew by their users; room for all of them at once. */
    if (src->n_uses && !(v->uses = mc_calloc(src->n_uses, sizeof *v->uses)))
        return false;
    v->cap_uses = src->n_uses;
    if (!src->outer)
        return true;
    v->outer = g->parent->values[src->outer->index];
    return !mc_edit_use(v->outer, g->owner, -1, v, NULL);
}

static bool copy_list(struct mc_graph *g, struct mc_value *const *src, size_t n,
                      struct mc_value ***dst, size_t *dst_n, size_t *dst_cap)
{
    *dst = mc_calloc(n, sizeof **dst);
    if (!*dst)
        return false;
    *dst_cap = n ? n : 1;
    *dst_n = n;
    for (size_t i = 0; i < n; i++)
        (*dst)[i] = g->values[src[i]->index];
    return true;
}

static bool copy_node(struct mc_graph *g, const struct mc_node *src)
{
    struct mc_arena *a = &g->model->arena;
    struct mc_node *n = mc_arena_alloc(a, sizeof *n);
    if (!n)
        return false;
    n->version = src->version;
    n->id = src->id;
    n->pos = g->n_nodes;
    n->graph = g;
    n->n_in = src->n_in;
    n->n_out = src->n_out;
    n->in = mc_arena_array(a, n->n_in, sizeof *n->in);
    n->out = mc_arena_array(a, n->n_out, sizeof *n->out);
    if (!n->in || !n->out || !copy_string(a, src->name, &n->name) ||
        !copy_string(a, src->op_type, &n->op_type) || !copy_string(a, src->domain, &n->domain) ||
        !copy_string(a, src->overload, &n->overload) || !copy_bytes(a, src->extra, &n->extra))
        return false;
    g->nodes[g->n_nodes++] = n;
    for (size_t i = 0; i < n->n_in; i++) {
        n->in[i] = src->in[i] ? g->values[src->in[i]->index] : NULL;
        if (n->in[i] && mc_edit_use(n->in[i], n, (int)i, NULL, NULL))
            return false;
    }
    for (size_t i = 0; i < n->n_out; i++) {
        n->out[i] = src->out[i] ? g->values[src->out[i]->index] : NULL;
        if (n->out[i])
            n->out[i]->producer = n;
    }
    return true;
}

static bool copy_attrs(struct mc_graph *g, const struct mc_node *src, struct mc_node *n)
{
    for (size_t i = 0; i < src->n_attr; i++) {
        struct mc_attr *a = mc_edit_attr_new(n, src->attr[i].name, src->attr[i].type);
        if (!a || !copy_attr(g->model, &src->attr[i], n, a))
            return false;
    }
    return true;
}

static struct mc_graph *copy_graph(struct mc_model *m, const struct mc_graph *src,
                                   struct mc_graph *g)
{
    struct mc_arena *a = &m->arena;
    g->n_node_ids = src->n_node_ids;
    g->values = mc_calloc(src->n_values, sizeof *g->values);
    g->nodes = mc_calloc(src->n_nodes, sizeof *g->nodes);
    if (!g->values || !g->nodes || !copy_bytes(a, src->extra, &g->extra))
        return NULL;
    g->n_values = src->n_values;
    g->cap_values = src->n_values ? src->n_values : 1;
    g->cap_nodes = src->n_nodes ? src->n_nodes : 1;
    for (size_t i = 0; i < src->n_values; i++)
        if (src->values[i] && !copy_value(g, src->values[i]))
            return NULL;
    for (size_t i = 0; i < src->n_nodes; i++)
        if (!copy_node(g, src->nodes[i]))
            return NULL;
    for (size_t i = 0; i < src->n_nodes; i++)
        if (!copy_attrs(g, src->nodes[i], g->nodes[i]))
            return NULL;
    if (!copy_list(g, src->inputs, src->n_inputs, &g->inputs, &g->n_inputs, &g->cap_inputs) ||
        !copy_list(g, src->outputs, src->n_outputs, &g->outputs, &g->n_outputs, &g->cap_outputs) ||
        !copy_list(g, src->inits, src->n_inits, &g->inits, &g->n_inits, &g->cap_inits) ||
        !copy_list(g, src->infos, src->n_infos, &g->infos, &g->n_infos, &g->cap_infos))
        return NULL;
    return g;
}

static bool copy_function(struct mc_model *m, const struct mc_function *src)
{
    struct mc_arena *a = &m->arena;
    struct mc_function *f = mc_edit_function(m, src->domain, src->name, src->overload);
    if (!f || !copy_bytes(a, src->extra, &f->extra))
        return false;
    f->body->name = mc_arena_strdup(a, src->body->name);
    if (!f->body->name || !copy_graph(m, src->body, f->body))
        return false;
    for (size_t i = 0; i < src->n_opsets; i++)
        if (mc_edit_function_opset(f, src->opsets[i].domain, src->opsets[i].version, NULL) ||
            !copy_bytes(a, src->opsets[i].extra, &f->opsets[i].extra))
            return false;
    for (size_t i = 0; i < src->n_attrs; i++)
        if (mc_edit_function_attr(f, src->attrs[i], NULL))
            return false;
    for (size_t i = 0; i < src->n_defaults; i++) {
        const struct mc_attr *d = &src->defaults[i];
        struct mc_attr *dst = mc_edit_function_default(f, d->name, d->type);
        if (!dst || !copy_attr(m, d, NULL, dst))
            return false;
    }
    return true;
}

static bool copy_model(struct mc_model *m, const struct mc_model *src)
{
    m->ir_version = src->ir_version;
    m->external = src->external;
    m->spill = src->spill;
    for (size_t i = 0; i < src->n_opsets; i++)
        if (mc_edit_opset(m, src->opsets[i].domain, src->opsets[i].version, NULL) ||
            !copy_bytes(&m->arena, src->opsets[i].extra, &m->opsets[i].extra))
            return false;
    for (size_t i = 0; i < src->n_meta; i++)
        if (mc_edit_meta(m, src->meta[i].key, src->meta[i].value, NULL))
            return false;
    if (!copy_bytes(&m->arena, src->extra, &m->extra))
        return false;
    if (src->graph) {
        struct mc_graph *g = mc_edit_graph(m, NULL, NULL, src->graph->name);
        if (!g || !copy_graph(m, src->graph, g))
            return false;
    }
    for (size_t i = 0; i < src->n_functions; i++)
        if (!copy_function(m, src->functions[i]))
            return false;
    if (!src->graph)
        m->graph = NULL; /* a body among a function's defaults may have taken the place */
    return true;
}

int mc_model_clone(const struct mc_model *m, struct mc_model **ret, struct mc_err *err)
{
    struct mc_model *copy = NULL;
    int rc = mc_model_new(&copy, err);
    if (rc)
        return rc;
    if (!copy_model(copy, m)) {
        mc_model_free(copy);
        return mc_fail(err, MC_ENOMEM, "out of memory while copying a model");
    }
    *ret = copy;
    return 0;
}
