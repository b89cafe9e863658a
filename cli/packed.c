#include "cli/packed.h"

#include "base/json.h"
#include "graph/own/own.h"

struct sum {
    json_t *layers;
    int64_t weights;
    uint64_t bytes;
};

static void put_size(json_t *o, int64_t weights, uint64_t bytes, bool *ok)
{
    mc_json_put(o, "weights", json_integer(weights), ok);
    mc_json_put(o, "bytes", mc_json_size(bytes), ok);
    mc_json_put(o, "bits_per_weight", mc_json_real(8.0 * (double)bytes / (double)weights), ok);
}

/* The call whose weight is made of what n gives, and whose bytes are n's as well; NULL. Recursion to a small depth. */
static const struct mc_node *outer_of(const struct mc_node *n, int depth)
{
    const struct mc_node *outer = NULL;
    for (size_t i = 0; i < n->n_out && !outer; i++)
        for (size_t k = 0; n->out[i] && k < n->out[i]->n_uses && !outer; k++) {
            const struct mc_use *u = &n->out[i]->uses[k];
            const struct mc_own *own = u->slot < 0 ? NULL : mc_own_find(u->node);
            if (own && u->slot < own->n_in && own->roles[u->slot] != '.')
                outer = u->node;
            else if (u->slot >= 0 && !own && depth)
                outer = outer_of(u->node, depth - 1);
        }
    return outer;
}

static void meet(struct sum *s, const struct mc_node *n, bool *ok)
{
    const struct mc_own *own = mc_own_find(n);
    int64_t weights = 0;
    uint64_t bytes = 0;
    struct mc_err err;
    if (!own)
        return;
    json_t *o = json_object();
    mc_json_put(o, "name", mc_json_text(mc_node_label(n)), ok);
    mc_json_put(o, "function", json_string(own->name), ok);
    if (own->approximate)
        mc_json_put(o, "approximate", json_true(), ok);
    if (own->check(n, &err)) {
        mc_json_put(o, "error", mc_json_text(err.msg), ok);
    } else {
        own->size(n, &weights, &bytes);
        const struct mc_node *outer = outer_of(n, MC_OWN_PARTS - 1);
        put_size(o, weights, bytes, ok);
        if (outer)
            mc_json_put(o, "part_of", mc_json_text(mc_node_label(outer)), ok);
        s->weights += outer ? 0 : weights;
        s->bytes += outer ? 0 : bytes;
    }
    mc_json_add(s->layers, o, ok);
}

/* Recursion by nesting depth only. */
static void walk(struct sum *s, const struct mc_graph *g, bool *ok)
{
    for (size_t i = 0; i < g->n_nodes; i++) {
        const struct mc_node *n = g->nodes[i];
        meet(s, n, ok);
        for (size_t k = 0; k < n->n_attr; k++)
            for (size_t b = 0; n->attr[k].graphs && b < n->attr[k].n; b++)
                walk(s, n->attr[k].graphs[b], ok);
    }
}

void mc_cli_put_packed(json_t *report, const struct mc_model *m, bool *ok)
{
    struct sum s = {.layers = json_array()};
    walk(&s, m->graph, ok);
    for (size_t i = 0; i < m->n_functions; i++)
        walk(&s, m->functions[i]->body, ok);
    if (!json_array_size(s.layers)) {
        json_decref(s.layers);
        return;
    }
    json_t *o = json_object();
    mc_json_put(o, "layers", s.layers, ok);
    put_size(o, s.weights, s.bytes, ok);
    mc_json_put(report, "packed", o, ok);
}
