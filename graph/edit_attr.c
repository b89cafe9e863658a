#include "graph/edit.h"

#include <string.h>

#include "graph/edit_list.h"
#include "graph/release.h"

struct mc_attr *mc_edit_attr_new(struct mc_node *n, const char *name, enum mc_attr_type type)
{
    return mc_edit_list_attr(&n->graph->model->arena, &n->attr, &n->n_attr, name, type);
}

static void empty(struct mc_attr *a)
{
    for (size_t i = 0; a->graphs && i < a->n; i++)
        mc_edit_drop_body(a->graphs[i]);
    mc_attr_release(a);
}

void mc_edit_attr_remove(struct mc_node *n, const char *name)
{
    for (size_t i = 0; i < n->n_attr; i++) {
        if (strcmp(n->attr[i].name, name) != 0)
            continue;
        empty(&n->attr[i]);
        n->n_attr--;
        memmove(&n->attr[i], &n->attr[i + 1], (n->n_attr - i) * sizeof *n->attr);
        return;
    }
}

/* The attribute of that name, emptied, or a new one. */
static struct mc_attr *slot(struct mc_node *n, const char *name, enum mc_attr_type type)
{
    struct mc_attr *a = (struct mc_attr *)mc_node_attr(n, name);
    if (!a)
        return mc_edit_attr_new(n, name, type);
    empty(a);
    *a = (struct mc_attr){.name = a->name, .type = type};
    return a;
}

static int no_memory(struct mc_err *err)
{
    return mc_fail(err, MC_ENOMEM, "out of memory while changing a graph");
}

int mc_edit_attr_int(struct mc_node *n, const char *name, int64_t v, struct mc_err *err)
{
    struct mc_attr *a = slot(n, name, MC_ATTR_INT);
    if (!a)
        return no_memory(err);
    a->i = v;
    return 0;
}

int mc_edit_attr_float(struct mc_node *n, const char *name, float v, struct mc_err *err)
{
    struct mc_attr *a = slot(n, name, MC_ATTR_FLOAT);
    if (!a)
        return no_memory(err);
    a->f = v;
    return 0;
}

int mc_edit_attr_string(struct mc_node *n, const char *name, const char *v, struct mc_err *err)
{
    char *copy = mc_arena_strdup(&n->graph->model->arena, v);
    struct mc_attr *a = copy ? slot(n, name, MC_ATTR_STRING) : NULL;
    if (!a)
        return no_memory(err);
    a->s = (struct mc_bytes){(const uint8_t *)copy, strlen(copy)};
    return 0;
}

int mc_edit_attr_ints(struct mc_node *n, const char *name, const int64_t *v, size_t count,
                      struct mc_err *err)
{
    int64_t *copy = mc_arena_memdup(&n->graph->model->arena, v, count * sizeof *v);
    struct mc_attr *a = copy ? slot(n, name, MC_ATTR_INTS) : NULL;
    if (!a)
        return no_memory(err);
    a->ints = copy;
    a->n = count;
    return 0;
}

int mc_edit_attr_tensor(struct mc_node *n, const char *name, struct mc_tensor *t,
                        struct mc_err *err)
{
    struct mc_tensor **list = mc_arena_array(&n->graph->model->arena, 1, sizeof *list);
    mc_tensor_ref(t); /* t may be what the attribute holds now */
    struct mc_attr *a = list ? slot(n, name, MC_ATTR_TENSOR) : NULL;
    if (!a) {
        mc_tensor_unref(t);
        return no_memory(err);
    }
    list[0] = t;
    a->tensors = list;
    a->n = 1;
    return 0;
}

int mc_edit_attr_graph(struct mc_node *n, const char *name, struct mc_graph *body,
                       struct mc_err *err)
{
    struct mc_graph **list = mc_arena_array(&n->graph->model->arena, 1, sizeof *list);
    struct mc_attr *a = list ? slot(n, name, MC_ATTR_GRAPH) : NULL;
    if (!a)
        return no_memory(err);
    list[0] = body;
    a->graphs = list;
    a->n = 1;
    return 0;
}
