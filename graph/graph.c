#include "graph/graph.h"

#include <stdlib.h>
#include <string.h>

#include "graph/names.h"
#include "graph/release.h"

int mc_model_new(struct mc_model **ret, struct mc_err *err)
{
    struct mc_model *m = calloc(1, sizeof *m);
    if (!m)
        return mc_fail(err, MC_ENOMEM, "out of memory");
    *ret = m;
    return 0;
}

void mc_attr_release(struct mc_attr *a)
{
    if (a->tensors)
        for (size_t i = 0; i < a->n; i++)
            mc_tensor_unref(a->tensors[i]);
    mc_tensor_unref(a->cache);
    a->tensors = NULL;
    a->cache = NULL;
}

void mc_graph_release(struct mc_graph *g)
{
    for (size_t i = 0; i < g->n_nodes; i++)
        for (size_t k = 0; k < g->nodes[i]->n_attr; k++)
            mc_attr_release(&g->nodes[i]->attr[k]);
    for (size_t i = 0; i < g->n_values; i++) {
        struct mc_value *v = g->values[i];
        if (!v)
            continue;
        mc_tensor_unref(v->tensor);
        free(v->uses);
        v->tensor = NULL;
        v->uses = NULL;
        v->n_uses = v->cap_uses = 0;
    }
    mc_names_free(g->names);
    free(g->nodes);
    free(g->values);
    free(g->inputs);
    free(g->outputs);
    free(g->inits);
    free(g->infos);
    g->names = NULL;
    g->nodes = NULL;
    g->values = g->inputs = g->outputs = g->inits = g->infos = NULL;
    g->n_nodes = g->cap_nodes = g->n_values = g->cap_values = g->n_inputs = g->cap_inputs = 0;
    g->n_outputs = g->cap_outputs = g->n_inits = g->cap_inits = g->n_infos = g->cap_infos = 0;
}

void mc_model_free(struct mc_model *m)
{
    if (!m)
        return;
    for (size_t i = 0; i < m->n_graphs; i++)
        mc_graph_release(m->graphs[i]);
    for (size_t i = 0; i < m->n_functions; i++)
        for (size_t k = 0; k < m->functions[i]->n_defaults; k++)
            mc_attr_release(&m->functions[i]->defaults[k]);
    free(m->graphs);
    free(m->functions);
    free(m->opsets);
    free(m->meta);
    mc_arena_free(&m->arena);
    free(m);
}

static int64_t opset(const struct mc_opset *opsets, size_t n, const char *domain)
{
    if (strcmp(domain, "ai.onnx") == 0)
        domain = "";
    for (size_t i = 0; i < n; i++)
        if (strcmp(opsets[i].domain, domain) == 0)
            return opsets[i].version;
    return 0;
}

int64_t mc_model_opset(const struct mc_model *m, const char *domain)
{
    return opset(m->opsets, m->n_opsets, domain);
}

int64_t mc_graph_opset(const struct mc_graph *g, const char *domain)
{
    const struct mc_function *f = g->function;
    return f ? opset(f->opsets, f->n_opsets, domain) : mc_model_opset(g->model, domain);
}

const struct mc_function *mc_model_function(const struct mc_model *m, const char *domain,
                                            const char *name, const char *overload)
{
    for (size_t i = 0; i < m->n_functions; i++) {
        const struct mc_function *f = m->functions[i];
        if (strcmp(f->name, name) == 0 && strcmp(f->domain, domain) == 0 &&
            strcmp(f->overload, overload) == 0)
            return f;
    }
    return NULL;
}

const char *mc_model_meta(const struct mc_model *m, const char *key)
{
    for (size_t i = 0; i < m->n_meta; i++)
        if (strcmp(m->meta[i].key, key) == 0)
            return m->meta[i].value;
    return NULL;
}

struct mc_value *mc_graph_value(const struct mc_graph *g, const char *name)
{
    return mc_names_get(g->names, name);
}

const struct mc_attr *mc_node_attr(const struct mc_node *n, const char *name)
{
    for (size_t i = 0; i < n->n_attr; i++)
        if (strcmp(n->attr[i].name, name) == 0)
            return &n->attr[i];
    return NULL;
}

/* The attribute if it has that type and its value here, not in the caller of a function. */
static const struct mc_attr *typed(const struct mc_node *n, const char *name,
                                   enum mc_attr_type type)
{
    const struct mc_attr *a = mc_node_attr(n, name);
    return a && a->type == type && !a->ref ? a : NULL;
}

int64_t mc_node_int(const struct mc_node *n, const char *name, int64_t missing)
{
    const struct mc_attr *a = typed(n, name, MC_ATTR_INT);
    return a ? a->i : missing;
}

float mc_node_float(const struct mc_node *n, const char *name, float missing)
{
    const struct mc_attr *a = typed(n, name, MC_ATTR_FLOAT);
    return a ? a->f : missing;
}

const char *mc_node_string(const struct mc_node *n, const char *name, const char *missing)
{
    const struct mc_attr *a = typed(n, name, MC_ATTR_STRING);
    return a && a->s.data ? (const char *)a->s.data : missing;
}

const int64_t *mc_node_ints(const struct mc_node *n, const char *name, size_t *ret_n)
{
    const struct mc_attr *a = typed(n, name, MC_ATTR_INTS);
    *ret_n = a ? a->n : 0;
    return a ? a->ints : NULL;
}

bool mc_node_is(const struct mc_node *n, const char *op_type)
{
    return !n->domain[0] && strcmp(n->op_type, op_type) == 0;
}

const char *mc_node_label(const struct mc_node *n)
{
    if (n->name[0])
        return n->name;
    for (size_t i = 0; i < n->n_out; i++)
        if (n->out[i])
            return n->out[i]->name;
    return "";
}
