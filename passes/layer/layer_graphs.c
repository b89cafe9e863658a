#include <stdlib.h>

#include "passes/layer/layer.h"

/* Functions of the model, bodies of a graph's nodes, and theirs, go to the work list: no recursion over hostile nesting. */
struct graphs {
    struct mc_graph **item;
    size_t n, cap;
};

static int push(struct graphs *g, struct mc_graph *graph, struct mc_err *err)
{
    if (!MC_GROW(g->item, g->n, g->cap))
        return mc_fail(err, MC_ENOMEM, "out of memory");
    g->item[g->n++] = graph;
    return 0;
}

static int push_bodies(struct graphs *g, const struct mc_node *n, struct mc_err *err)
{
    int rc = 0;
    for (size_t a = 0; a < n->n_attr; a++)
        for (size_t i = 0; !rc && i < n->attr[a].n && n->attr[a].graphs; i++)
            rc = push(g, n->attr[a].graphs[i], err);
    return rc;
}

int mc_layer_graphs(const struct mc_model *m, struct mc_graph ***ret, size_t *ret_n,
                    struct mc_err *err)
{
    struct graphs g = {0};
    int rc = push(&g, m->graph, err);
    for (size_t i = 0; !rc && i < m->n_functions; i++)
        rc = push(&g, m->functions[i]->body, err);
    for (size_t k = 0; !rc && k < g.n; k++)
        for (size_t i = 0; !rc && i < g.item[k]->n_nodes; i++)
            rc = push_bodies(&g, g.item[k]->nodes[i], err);
    if (rc) {
        free(g.item);
        return rc;
    }
    *ret = g.item;
    *ret_n = g.n;
    return 0;
}
