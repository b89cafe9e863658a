#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "graph/verify_parts.h"

/* Min-heap of node positions. */
struct heap {
    size_t *at, n;
};

static void heap_push(struct heap *h, size_t pos)
{
    size_t i = h->n++;
    for (; i && h->at[(i - 1) / 2] > pos; i = (i - 1) / 2)
        h->at[i] = h->at[(i - 1) / 2];
    h->at[i] = pos;
}

static size_t heap_pop(struct heap *h)
{
    size_t top = h->at[0], last = h->at[--h->n], i = 0;
    for (size_t k; (k = 2 * i + 1) < h->n; i = k) {
        k += k + 1 < h->n && h->at[k + 1] < h->at[k];
        if (h->at[k] >= last)
            break;
        h->at[i] = h->at[k];
    }
    h->at[i] = last;
    return top;
}

static const struct mc_node *open_producer(const struct mc_value *v, const size_t *waits)
{
    return v && v->producer && waits[v->producer->pos] ? v->producer : NULL;
}

/* A node that n, itself never ready, still waits for. */
static const struct mc_node *blocker(const struct mc_node *n, const size_t *waits)
{
    const struct mc_node *p;
    for (size_t i = 0; i < n->n_in; i++)
        if ((p = open_producer(n->in[i], waits)))
            return p;
    for (size_t k = 0; k < n->n_attr; k++) {
        const struct mc_attr *a = &n->attr[k];
        for (size_t b = 0; a->graphs && b < a->n; b++)
            for (size_t i = 0; i < a->graphs[b]->n_values; i++) {
                const struct mc_value *v = a->graphs[b]->values[i];
                if (v && (p = open_producer(v->outer, waits)))
                    return p;
            }
    }
    return NULL;
}

/* Nodes remain of which each waits for another: name those of one cycle. seen[] is zero. */
static int report_cycle(const struct mc_graph *g, const size_t *waits, size_t *seen,
                        struct mc_err *err)
{
    const struct mc_node *n = NULL;
    for (size_t i = 0; !n && i < g->n_nodes; i++)
        if (waits[i])
            n = g->nodes[i];
    for (; !seen[n->pos]; n = blocker(n, waits))
        seen[n->pos] = 1;
    char names[256];
    size_t at = 0, length = 0;
    const struct mc_node *p = n;
    do {
        if (length++ < 4) {
            int k = snprintf(names + at, sizeof names - at, "%s '%.40s'", at ? " after" : "",
                             mc_node_label(p));
            at += (size_t)k;
        }
        p = blocker(p, waits);
    } while (p != n);
    return mc_fail(err, MC_EFORMAT, "graph '%s': a cycle of %zu nodes: %s", g->name, length, names);
}

int mc_verify_sort(struct mc_graph *g, struct mc_err *err)
{
    size_t *waits = mc_calloc(g->n_nodes, sizeof *waits); /* uses not yet produced */
    struct heap ready = {mc_calloc(g->n_nodes, sizeof *ready.at), 0};
    struct mc_node **order = mc_calloc(g->n_nodes, sizeof *order);
    size_t done = 0;
    int rc = 0;
    if (!waits || !ready.at || !order) {
        rc = mc_fail(err, MC_ENOMEM, "out of memory while sorting a graph");
        goto out;
    }
    for (size_t i = 0; i < g->n_values; i++) {
        const struct mc_value *v = g->values[i];
        for (size_t k = 0; v && v->producer && k < v->n_uses; k++)
            waits[v->uses[k].node->pos]++;
    }
    for (size_t i = 0; i < g->n_nodes; i++)
        if (!waits[i])
            heap_push(&ready, i);
    while (ready.n) {
        struct mc_node *n = g->nodes[heap_pop(&ready)];
        order[done++] = n;
        for (size_t o = 0; o < n->n_out; o++)
            for (size_t k = 0; n->out[o] && k < n->out[o]->n_uses; k++) {
                size_t pos = n->out[o]->uses[k].node->pos;
                if (--waits[pos] == 0)
                    heap_push(&ready, pos);
            }
    }
    if (done < g->n_nodes) {
        memset(ready.at, 0, g->n_nodes * sizeof *ready.at);
        rc = report_cycle(g, waits, ready.at, err);
        goto out;
    }
    for (size_t i = 0; i < g->n_nodes; i++) {
        g->nodes[i] = order[i];
        order[i]->pos = i;
    }
out:
    free(waits);
    free(ready.at);
    free(order);
    return rc;
}
