/* Nodes and the uses of values. */
#include "graph/edit.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "graph/edit_list.h"
#include "graph/names.h"
#include "graph/release.h"

int mc_edit_use(struct mc_value *v, struct mc_node *n, int slot, struct mc_value *proxy,
                struct mc_err *err)
{
    if (!MC_GROW(v->uses, v->n_uses, v->cap_uses))
        return mc_fail(err, MC_ENOMEM, "out of memory while changing a graph");
    v->uses[v->n_uses++] = (struct mc_use){n, slot, proxy};
    return 0;
}

/* From the end: nodes are mostly taken away in reverse order, so that a value with many uses costs no more
 * than their number. */
void mc_edit_unuse(struct mc_value *v, const struct mc_node *n, int slot,
                   const struct mc_value *proxy)
{
    for (size_t i = v->n_uses; i-- > 0;) {
        const struct mc_use *u = &v->uses[i];
        if (u->node == n && u->slot == slot && u->proxy == proxy) {
            v->uses[i] = v->uses[--v->n_uses];
            return;
        }
    }
}

void mc_edit_forget(struct mc_value *v)
{
    mc_names_drop(v);
    if (v->outer)
        mc_edit_unuse(v->outer, v->graph->owner, -1, v);
    mc_tensor_unref(v->tensor);
    free(v->uses);
    v->outer = NULL;
    v->tensor = NULL;
    v->uses = NULL;
    v->n_uses = v->cap_uses = 0;
    v->graph->values[v->index] = NULL;
}

/* Recursion by nesting depth only. */
void mc_edit_drop_body(struct mc_graph *g)
{
    for (size_t i = g->n_nodes; i-- > 0;) {
        struct mc_node *n = g->nodes[i];
        for (size_t k = 0; k < n->n_attr; k++)
            for (size_t b = 0; n->attr[k].graphs && b < n->attr[k].n; b++)
                mc_edit_drop_body(n->attr[k].graphs[b]);
    }
    for (size_t i = g->n_values; i-- > 0;)
        if (g->values[i])
            mc_edit_forget(g->values[i]);
    mc_graph_release(g);
}

void mc_edit_detach(struct mc_node *n)
{
    for (size_t i = n->n_in; i-- > 0;)
        if (n->in[i])
            mc_edit_unuse(n->in[i], n, (int)i, NULL);
    for (size_t i = 0; i < n->n_out; i++)
        if (n->out[i])
            n->out[i]->producer = NULL;
    for (size_t i = n->n_attr; i-- > 0;) {
        struct mc_attr *a = &n->attr[i];
        for (size_t b = a->graphs ? a->n : 0; b-- > 0;)
            mc_edit_drop_body(a->graphs[b]);
        mc_attr_release(a);
    }
    n->n_in = n->n_out = n->n_attr = 0;
}

static void renumber(struct mc_graph *g, size_t from)
{
    for (size_t i = from; i < g->n_nodes; i++)
        g->nodes[i]->pos = i;
}

/* Make n the producer of its outputs; nothing is changed on failure. */
static int claim_outputs(struct mc_node *n, struct mc_err *err)
{
    for (size_t i = 0; i < n->n_out; i++) {
        struct mc_value *v = n->out[i];
        if (!v)
            continue;
        if (v->producer || v->is_input || v->tensor || v->outer) {
            const char *other = v->producer   ? mc_node_label(v->producer)
                                : v->is_input ? "a graph input"
                                : v->tensor   ? "an initializer"
                                              : "an outer value";
            while (i-- > 0)
                if (n->out[i])
                    n->out[i]->producer = NULL;
            return mc_fail(err, MC_EFORMAT,
                           "graph '%s': %s '%s' produces '%s', which '%s' gives already",
                           n->graph->name, n->op_type, mc_node_label(n), v->name, other);
        }
        v->producer = n;
        v->slot = (int)i;
    }
    return 0;
}

/* The node with its strings and lists, not yet linked to anything; NULL when out of memory. */
static struct mc_node *node_new(struct mc_graph *g, const char *op_type, const char *domain,
                                const char *name, struct mc_value *const *in, size_t n_in,
                                struct mc_value *const *out, size_t n_out)
{
    struct mc_arena *a = &g->model->arena;
    struct mc_node *n = mc_arena_alloc(a, sizeof *n);
    if (!n)
        return NULL;
    n->op_type = mc_arena_strdup(a, op_type);
    n->domain = domain[0] ? mc_arena_strdup(a, domain) : "";
    n->name = name && name[0] ? mc_arena_strdup(a, name) : "";
    n->overload = "";
    n->graph = g;
    n->in = mc_arena_memdup(a, in, n_in * sizeof *in);
    n->out = mc_arena_memdup(a, out, n_out * sizeof *out);
    n->n_in = n_in;
    n->n_out = n_out;
    return n->op_type && n->domain && n->name && n->in && n->out ? n : NULL;
}

/* Version of a domain for nodes of g. Where a model imports some domains, but not one that it uses, ONNX
 * Runtime takes the newest it knows (1.32; other domains it refuses); a function without an import follows
 * its model. */
static int version_in(const struct mc_graph *g, const char *domain)
{
    static const struct {
        const char *domain;
        int version;
    } newest[] = {{"", 28},
                  {"ai.onnx.ml", 5},
                  {"ai.onnx.training", 1},
                  {"ai.onnx.preview.training", 1},
                  {"com.microsoft", 1}};
    int64_t version = mc_graph_opset(g, domain);
    if (!version)
        version = mc_model_opset(g->model, domain);
    for (size_t i = 0; !version && g->model->n_opsets && i < sizeof newest / sizeof *newest; i++)
        if (strcmp(newest[i].domain, domain) == 0)
            version = newest[i].version;
    return (int)version;
}

int mc_edit_node(struct mc_graph *g, size_t pos, const char *op_type, const char *domain,
                 int version, const char *name, struct mc_value *const *in, size_t n_in,
                 struct mc_value *const *out, size_t n_out, struct mc_node **ret,
                 struct mc_err *err)
{
    assert(pos <= g->n_nodes);
    if (strcmp(domain, "ai.onnx") == 0)
        domain = "";
    struct mc_node *n = node_new(g, op_type, domain, name, in, n_in, out, n_out);
    if (!n || !MC_GROW(g->nodes, g->n_nodes, g->cap_nodes))
        return mc_fail(err, MC_ENOMEM, "out of memory while changing a graph");
    if (g->n_node_ids == UINT32_MAX || n_in > INT32_MAX || n_out > INT32_MAX)
        return mc_fail(err, MC_EFORMAT, "graph '%s' has too many nodes", g->name);
    n->version = version ? version : version_in(g, domain);
    int rc = claim_outputs(n, err);
    if (rc)
        return rc;
    for (size_t i = 0; i < n_in; i++) {
        assert(!in[i] || in[i]->graph == g);
        rc = in[i] ? mc_edit_use(in[i], n, (int)i, NULL, err) : 0;
        if (rc) {
            n->n_in = i;
            mc_edit_detach(n);
            return rc;
        }
    }
    n->id = g->n_node_ids++;
    memmove(g->nodes + pos + 1, g->nodes + pos, (g->n_nodes - pos) * sizeof *g->nodes);
    g->nodes[pos] = n;
    g->n_nodes++;
    renumber(g, pos);
    if (ret)
        *ret = n;
    return 0;
}

int mc_edit_op(struct mc_node *n, const char *domain, const char *op_type, int version,
               struct mc_err *err)
{
    struct mc_arena *a = &n->graph->model->arena;
    const char *d = mc_arena_strdup(a, domain), *op = mc_arena_strdup(a, op_type);
    if (!d || !op)
        return mc_fail(err, MC_ENOMEM, "out of memory while changing a graph");
    n->domain = d;
    n->op_type = op;
    n->version = version;
    return 0;
}

int mc_edit_set_input(struct mc_node *n, size_t slot, struct mc_value *v, struct mc_err *err)
{
    assert(slot < INT32_MAX && (!v || v->graph == n->graph));
    if (slot >= n->n_in) {
        struct mc_value **in = mc_arena_array(&n->graph->model->arena, slot + 1, sizeof *in);
        if (!in)
            return mc_fail(err, MC_ENOMEM, "out of memory while changing a graph");
        if (n->n_in)
            memcpy(in, n->in, n->n_in * sizeof *in);
        n->in = in;
        n->n_in = slot + 1;
    }
    struct mc_value *old = n->in[slot];
    if (old == v)
        return 0;
    int rc = v ? mc_edit_use(v, n, (int)slot, NULL, err) : 0;
    if (rc)
        return rc;
    if (old)
        mc_edit_unuse(old, n, (int)slot, NULL);
    n->in[slot] = v;
    return 0;
}

int mc_edit_set_output(struct mc_node *n, size_t slot, struct mc_value *v, struct mc_err *err)
{
    assert(slot < INT32_MAX && v->graph == n->graph);
    if (v->producer || v->is_input || v->tensor || v->outer || (slot < n->n_out && n->out[slot]))
        return mc_fail(err, MC_EFORMAT, "graph '%s': output %zu of %s '%s' cannot be '%s'",
                       n->graph->name, slot, n->op_type, mc_node_label(n), v->name);
    if (slot >= n->n_out) {
        struct mc_value **out = mc_arena_array(&n->graph->model->arena, slot + 1, sizeof *out);
        if (!out)
            return mc_fail(err, MC_ENOMEM, "out of memory while changing a graph");
        memset(out, 0, (slot + 1) * sizeof *out);
        if (n->n_out)
            memcpy(out, n->out, n->n_out * sizeof *out);
        n->out = out;
        n->n_out = slot + 1;
    }
    n->out[slot] = v;
    v->producer = n;
    v->slot = (int)slot;
    return 0;
}

void mc_edit_remove_node(struct mc_node *n)
{
    struct mc_graph *g = n->graph;
    size_t pos = n->pos;
    mc_edit_detach(n);
    memmove(g->nodes + pos, g->nodes + pos + 1, (g->n_nodes - pos - 1) * sizeof *g->nodes);
    g->n_nodes--;
    renumber(g, pos);
}

void mc_edit_remove_value(struct mc_value *v)
{
    struct mc_graph *g = v->graph;
    assert(!v->producer && !v->n_uses && !v->is_output);
    if (v->is_input)
        mc_edit_list_remove(g->inputs, &g->n_inputs, v);
    if (v->tensor)
        mc_edit_list_remove(g->inits, &g->n_inits, v);
    mc_edit_list_remove(g->infos, &g->n_infos, v);
    mc_edit_forget(v);
}

/* ---- sweep ---- */

static bool is_dead(const struct mc_node *n)
{
    bool any = false;
    for (size_t i = 0; i < n->n_out; i++) {
        if (!n->out[i])
            continue;
        any = true;
        if (n->out[i]->n_uses || n->out[i]->is_output)
            return false;
    }
    return any;
}

static void keep_live(struct mc_graph *g, struct mc_value **list, size_t *n)
{
    size_t kept = 0;
    for (size_t i = 0; i < *n; i++)
        if (g->values[list[i]->index] == list[i])
            list[kept++] = list[i];
    *n = kept;
}

static size_t sweep_once(struct mc_graph *g)
{
    size_t gone = 0, kept = 0;
    for (size_t i = g->n_nodes; i-- > 0;) {
        struct mc_node *n = g->nodes[i];
        if (is_dead(n)) {
            mc_edit_detach(n);
            g->nodes[i] = NULL;
            gone++;
            continue;
        }
        for (size_t k = 0; k < n->n_attr; k++)
            for (size_t b = 0; n->attr[k].graphs && b < n->attr[k].n; b++)
                gone += mc_edit_sweep(n->attr[k].graphs[b]);
    }
    for (size_t i = 0; i < g->n_nodes; i++)
        if (g->nodes[i])
            g->nodes[kept++] = g->nodes[i];
    g->n_nodes = kept;
    renumber(g, 0);
    return gone;
}

size_t mc_edit_sweep(struct mc_graph *g)
{
    /* Users stand behind their producers: one pass from the end finds all, the next one nothing. Only in a
     * graph that was not verified can there be more. */
    size_t gone = 0, now;
    do {
        now = sweep_once(g);
        gone += now;
    } while (now);
    for (size_t i = g->n_values; i-- > 0;) {
        struct mc_value *v = g->values[i];
        if (v && !v->n_uses && !v->producer && !v->is_input && !v->is_output)
            mc_edit_forget(v);
    }
    keep_live(g, g->inits, &g->n_inits);
    keep_live(g, g->infos, &g->n_infos);
    return gone;
}
