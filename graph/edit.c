/* Graphs, values and types: what a reader builds. Nodes are in edit_node.c, attributes in edit_attr.c. */
#include "graph/edit.h"

#include <stdio.h>
#include <string.h>

#include "graph/edit_list.h"
#include "graph/names.h"

static int no_memory(struct mc_err *err)
{
    return mc_fail(err, MC_ENOMEM, "out of memory while changing a graph");
}

static const char *onnx_domain(const char *domain)
{
    return strcmp(domain, "ai.onnx") == 0 ? "" : domain;
}

static struct mc_graph *graph_new(struct mc_model *m, const char *name)
{
    struct mc_graph *g = mc_arena_alloc(&m->arena, sizeof *g);
    if (!g || !MC_GROW(m->graphs, m->n_graphs, m->cap_graphs))
        return NULL;
    g->model = m;
    g->name = mc_arena_strdup(&m->arena, name);
    if (!g->name)
        return NULL;
    g->index = m->n_graphs;
    m->graphs[m->n_graphs++] = g;
    return g;
}

struct mc_graph *mc_edit_graph(struct mc_model *m, struct mc_graph *parent, struct mc_node *owner,
                               const char *name)
{
    struct mc_graph *g = graph_new(m, name ? name : "");
    if (!g)
        return NULL;
    g->parent = parent;
    g->owner = owner;
    g->function = parent ? parent->function : NULL;
    if (!parent && !m->graph)
        m->graph = g;
    return g;
}

struct mc_function *mc_edit_function(struct mc_model *m, const char *domain, const char *name,
                                     const char *overload)
{
    struct mc_function *f = mc_arena_alloc(&m->arena, sizeof *f);
    if (!f || !MC_GROW(m->functions, m->n_functions, m->cap_functions))
        return NULL;
    f->model = m;
    f->domain = mc_arena_strdup(&m->arena, onnx_domain(domain));
    f->name = mc_arena_strdup(&m->arena, name);
    f->overload = mc_arena_strdup(&m->arena, overload ? overload : "");
    f->body = graph_new(m, name);
    if (!f->domain || !f->name || !f->overload || !f->body)
        return NULL;
    f->body->function = f;
    m->functions[m->n_functions++] = f;
    return f;
}

/* Room for one more item in an arena array without a capacity of its own, which is 4, then the next power
 * of two. NULL when out of memory. */
static void *room(struct mc_arena *a, void *array, size_t n, size_t size)
{
    if (n != 0 && (n < 4 || (n & (n - 1))))
        return array;
    void *fresh = mc_arena_array(a, n ? 2 * n : 4, size);
    if (fresh && n)
        memcpy(fresh, array, n * size);
    return fresh;
}

int mc_edit_function_opset(struct mc_function *f, const char *domain, int64_t version,
                           struct mc_err *err)
{
    struct mc_arena *a = &f->model->arena;
    struct mc_opset *grown = room(a, f->opsets, f->n_opsets, sizeof *grown);
    const char *name = mc_arena_strdup(a, onnx_domain(domain));
    if (!grown || !name)
        return no_memory(err);
    f->opsets = grown;
    f->opsets[f->n_opsets++] = (struct mc_opset){.domain = name, .version = version};
    return 0;
}

int mc_edit_function_attr(struct mc_function *f, const char *name, struct mc_err *err)
{
    struct mc_arena *a = &f->model->arena;
    const char **grown = room(a, f->attrs, f->n_attrs, sizeof *grown);
    const char *copy = mc_arena_strdup(a, name);
    if (!grown || !copy)
        return no_memory(err);
    f->attrs = grown;
    f->attrs[f->n_attrs++] = copy;
    return 0;
}

struct mc_attr *mc_edit_list_attr(struct mc_arena *a, struct mc_attr **list, size_t *n,
                                  const char *name, enum mc_attr_type type)
{
    struct mc_attr *grown = room(a, *list, *n, sizeof *grown);
    const char *copy = mc_arena_strdup(a, name);
    if (!grown || !copy)
        return NULL;
    *list = grown;
    grown[*n] = (struct mc_attr){.name = copy, .type = type};
    return &grown[(*n)++];
}

struct mc_attr *mc_edit_function_default(struct mc_function *f, const char *name,
                                         enum mc_attr_type type)
{
    return mc_edit_list_attr(&f->model->arena, &f->defaults, &f->n_defaults, name, type);
}

int mc_edit_opset(struct mc_model *m, const char *domain, int64_t version, struct mc_err *err)
{
    domain = onnx_domain(domain);
    for (size_t i = 0; i < m->n_opsets; i++) {
        if (strcmp(m->opsets[i].domain, domain) == 0) {
            m->opsets[i].version = version;
            return 0;
        }
    }
    const char *name = mc_arena_strdup(&m->arena, domain);
    if (!name || !MC_GROW(m->opsets, m->n_opsets, m->cap_opsets))
        return no_memory(err);
    m->opsets[m->n_opsets++] = (struct mc_opset){.domain = name, .version = version};
    return 0;
}

int mc_edit_meta(struct mc_model *m, const char *key, const char *value, struct mc_err *err)
{
    const char *copy = mc_arena_strdup(&m->arena, value);
    if (!copy)
        return no_memory(err);
    for (size_t i = 0; i < m->n_meta; i++) {
        if (strcmp(m->meta[i].key, key) == 0) {
            m->meta[i].value = copy;
            return 0;
        }
    }
    const char *name = mc_arena_strdup(&m->arena, key);
    if (!name || !MC_GROW(m->meta, m->n_meta, m->cap_meta))
        return no_memory(err);
    m->meta[m->n_meta++] = (struct mc_meta){name, copy};
    return 0;
}

/* ---- values ---- */

struct mc_value *mc_edit_value(struct mc_graph *g, const char *name)
{
    struct mc_arena *a = &g->model->arena;
    if (g->n_values >= UINT32_MAX || mc_graph_value(g, name))
        return NULL;
    struct mc_value *v = mc_arena_alloc(a, sizeof *v);
    if (!v || !MC_GROW(g->values, g->n_values, g->cap_values))
        return NULL;
    v->graph = g;
    v->index = (uint32_t)g->n_values;
    v->name = mc_arena_strdup(a, name);
    if (!v->name || !mc_names_put(v))
        return NULL;
    g->values[g->n_values++] = v;
    return v;
}

struct mc_value *mc_edit_resolve(struct mc_graph *g, const char *name)
{
    struct mc_value *v = mc_graph_value(g, name);
    if (v || !g->parent)
        return v;
    struct mc_value *outer = mc_edit_resolve(g->parent, name);
    if (!outer || !MC_GROW(outer->uses, outer->n_uses, outer->cap_uses))
        return NULL;
    v = mc_edit_value(g, name);
    if (v) {
        v->outer = outer;
        outer->uses[outer->n_uses++] = (struct mc_use){g->owner, -1, v};
    }
    return v;
}

struct mc_value *mc_edit_fresh(struct mc_graph *g, const char *hint)
{
    if (!hint || !hint[0])
        hint = "value";
    if (!mc_names_taken(g, hint))
        return mc_edit_value(g, hint);
    size_t bytes = strlen(hint) + 12;
    char *name = mc_arena_alloc(&g->model->arena, bytes);
    if (!name)
        return NULL;
    do
        snprintf(name, bytes, "%s_%u", hint, mc_names_next(g, hint));
    while (mc_names_taken(g, name));
    return mc_edit_value(g, name);
}

struct mc_value *mc_edit_constant(struct mc_graph *g, const char *hint, struct mc_tensor *t)
{
    struct mc_value *v = mc_edit_fresh(g, hint);
    if (v && mc_edit_tensor(v, t, NULL)) {
        mc_edit_remove_value(v);
        return NULL;
    }
    return v;
}

int mc_edit_input(struct mc_graph *g, struct mc_value *v, struct mc_err *err)
{
    if (v->is_input || v->producer || v->outer)
        return mc_fail(err, MC_EFORMAT, "graph '%s': input '%s' is %s", g->name, v->name,
                       v->is_input ? "listed twice" : "also produced elsewhere");
    if (!MC_GROW(g->inputs, g->n_inputs, g->cap_inputs))
        return no_memory(err);
    g->inputs[g->n_inputs++] = v;
    v->is_input = true;
    return 0;
}

/* Initializers of at least this rank become none. */
static size_t free_inputs(struct mc_graph *g, int rank)
{
    size_t kept = 0;
    for (size_t i = 0; i < g->n_inputs; i++) {
        struct mc_value *v = g->inputs[i];
        if (v->tensor && v->tensor->shape.rank >= rank)
            v->is_input = false;
        else
            g->inputs[kept++] = v;
    }
    size_t gone = g->n_inputs - kept;
    g->n_inputs = kept;
    return gone;
}

size_t mc_edit_fix_inputs(struct mc_graph *g)
{
    return g->model->ir_version < 4 ? 0 : free_inputs(g, 1);
}

void mc_edit_free_inputs(struct mc_graph *g)
{
    free_inputs(g, 0);
}

int mc_edit_output(struct mc_graph *g, struct mc_value *v, struct mc_err *err)
{
    if (!MC_GROW(g->outputs, g->n_outputs, g->cap_outputs))
        return no_memory(err);
    g->outputs[g->n_outputs++] = v;
    v->is_output = true;
    return 0;
}

void mc_edit_output_drop(struct mc_value *v)
{
    mc_edit_list_remove(v->graph->outputs, &v->graph->n_outputs, v);
    v->is_output = false;
}

int mc_edit_info(struct mc_graph *g, struct mc_value *v, struct mc_err *err)
{
    if (!MC_GROW(g->infos, g->n_infos, g->cap_infos))
        return no_memory(err);
    g->infos[g->n_infos++] = v;
    return 0;
}

int mc_edit_tensor(struct mc_value *v, struct mc_tensor *t, struct mc_err *err)
{
    struct mc_graph *g = v->graph;
    if (v->producer || v->outer)
        return mc_fail(err, MC_EFORMAT, "graph '%s': initializer '%s' is also produced %s", g->name,
                       v->name, v->outer ? "outside" : "by a node");
    if (t && !v->tensor) {
        if (!MC_GROW(g->inits, g->n_inits, g->cap_inits))
            return no_memory(err);
        g->inits[g->n_inits++] = v;
    }
    if (!t && v->tensor)
        mc_edit_list_remove(g->inits, &g->n_inits, v);
    struct mc_tensor *old = v->tensor;
    v->tensor = t ? mc_tensor_ref(t) : NULL;
    mc_tensor_unref(old);
    return 0;
}

bool mc_edit_type(struct mc_value *v, enum mc_dtype dtype, int rank, const struct mc_dim *dims)
{
    struct mc_arena *a = &v->graph->model->arena;
    struct mc_type type = {.kind = dtype == MC_DTYPE_NONE ? MC_TYPE_NONE : MC_TYPE_TENSOR,
                           .dtype = dtype,
                           .ranked = rank >= 0,
                           .rank = rank < 0 ? 0 : rank};
    if (rank > 0) {
        type.dim = mc_arena_array(a, (size_t)rank, sizeof *type.dim);
        if (!type.dim)
            return false;
        for (int i = 0; i < rank; i++) {
            struct mc_dim *d = &type.dim[i];
            *d = dims ? dims[i] : (struct mc_dim){-1, NULL};
            if (d->param && !(d->param = mc_arena_strdup(a, d->param)))
                return false;
        }
    }
    v->type = type;
    v->info = (struct mc_bytes){0};
    return true;
}

void mc_edit_list_remove(struct mc_value **list, size_t *n, const struct mc_value *v)
{
    size_t kept = 0;
    for (size_t i = 0; i < *n; i++)
        if (list[i] != v)
            list[kept++] = list[i];
    *n = kept;
}
