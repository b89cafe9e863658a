#include "graph/verify.h"

#include <stdlib.h>
#include <string.h>

#include "graph/verify_parts.h"

enum { NESTING_MAX = 64 }; /* bodies in bodies; the reader has the same limit */

/* What only our own code can break; files cannot. */
static int broken(const struct mc_graph *g, const char *what, const char *name, struct mc_err *err)
{
    return mc_fail(err, MC_EFAIL, "graph '%s': inconsistent %s '%s'", g->name, what, name);
}

static int check_tensor(const struct mc_tensor *t, const char *what, const char *name,
                        struct mc_err *err)
{
    char text[MC_SHAPE_TEXT];
    size_t want;
    if (t->shape.rank < 0 || t->shape.rank > MC_RANK_MAX)
        return mc_fail(err, MC_EFORMAT, "%s '%s': rank %d; at most %d are supported", what, name,
                       t->shape.rank, MC_RANK_MAX);
    int64_t n = mc_shape_count(&t->shape);
    if (n < 0)
        return mc_fail(err, MC_EFORMAT, "%s '%s': shape %s is negative or overflows", what, name,
                       mc_shape_text(&t->shape, text));
    if (!mc_dtype_info(t->dtype)->bits)
        return 0; /* strings, sparse and unknown types: opaque */
    if (!mc_dtype_bytes(t->dtype, n, &want) || want != t->bytes || (want && !t->data))
        return mc_fail(err, MC_EFORMAT, "%s '%s': %s %s has %zu bytes, which do not fit its shape",
                       what, name, mc_dtype_name(t->dtype), mc_shape_text(&t->shape, text),
                       t->bytes);
    return 0;
}

static int check_attr_tensors(const struct mc_graph *g, const struct mc_attr *a, const char *what,
                              const char *name, struct mc_err *err)
{
    for (size_t i = 0; a->tensors && i < a->n; i++) {
        int rc = a->tensors[i] ? check_tensor(a->tensors[i], what, name, err)
                               : broken(g, "attribute", a->name, err);
        if (rc)
            return rc;
    }
    return 0;
}

static int check_attrs(const struct mc_node *n, struct mc_err *err)
{
    for (size_t k = 0; k < n->n_attr; k++) {
        const struct mc_attr *a = &n->attr[k];
        int rc = check_attr_tensors(n->graph, a, n->op_type, mc_node_label(n), err);
        if (rc)
            return rc;
        for (size_t b = 0; a->graphs && b < a->n; b++) {
            const struct mc_graph *body = a->graphs[b];
            if (!body || body->owner != n || body->parent != n->graph ||
                body->function != n->graph->function)
                return broken(n->graph, "body of node", mc_node_label(n), err);
        }
    }
    return 0;
}

static bool is_defined(const struct mc_value *v)
{
    return v->producer || v->is_input || v->tensor || v->outer;
}

/* A node's place, outputs and inputs; sets *unsorted if it uses what comes later. */
static int check_node(const struct mc_graph *g, size_t pos, bool *unsorted, struct mc_err *err)
{
    const struct mc_node *n = g->nodes[pos];
    if (n->pos != pos || n->graph != g || n->id >= g->n_node_ids)
        return broken(g, "node", mc_node_label(n), err);
    for (size_t i = 0; i < n->n_out; i++) {
        const struct mc_value *v = n->out[i];
        if (v && (v->graph != g || g->values[v->index] != v || v->producer != n ||
                  v->slot != (int)i || v->is_input || v->tensor || v->outer))
            return mc_fail(err, MC_EFORMAT, "graph '%s': '%s' is produced twice, also by %s '%s'",
                           g->name, v->name, n->op_type, mc_node_label(n));
    }
    for (size_t i = 0; i < n->n_in; i++) {
        const struct mc_value *v = n->in[i];
        if (!v)
            continue;
        if (v->graph != g || g->values[v->index] != v)
            return broken(g, "input of node", mc_node_label(n), err);
        if (!is_defined(v))
            return mc_fail(err, MC_EFORMAT, "graph '%s': %s '%s' uses '%s', which nothing produces",
                           g->name, n->op_type, mc_node_label(n), v->name);
        *unsorted |= v->producer && v->producer->pos >= pos;
    }
    return check_attrs(n, err);
}

static int check_value(const struct mc_graph *g, size_t index, struct mc_err *err)
{
    const struct mc_value *v = g->values[index];
    if (v->index != index || v->graph != g || mc_graph_value(g, v->name) != v)
        return broken(g, "value", v->name, err);
    if (v->producer && (v->producer->graph != g || v->producer->pos >= g->n_nodes ||
                        g->nodes[v->producer->pos] != v->producer))
        return broken(g, "producer of value", v->name, err);
    if (v->outer && v->outer->graph != g->parent)
        return broken(g, "outer value", v->name, err);
    if (v->is_output && !is_defined(v))
        return mc_fail(err, MC_EFORMAT, "graph '%s': output '%s' is produced by nothing", g->name,
                       v->name);
    return v->tensor ? check_tensor(v->tensor, "initializer", v->name, err) : 0;
}

static size_t count_proxies(const struct mc_node *n)
{
    size_t count = 0;
    for (size_t k = 0; k < n->n_attr; k++)
        for (size_t b = 0; n->attr[k].graphs && b < n->attr[k].n; b++) {
            const struct mc_graph *body = n->attr[k].graphs[b];
            for (size_t i = 0; i < body->n_values; i++)
                count += body->values[i] && body->values[i]->outer;
        }
    return count;
}

/* Every use stands in the list of its value, once, and nothing else does. */
static int check_uses(const struct mc_graph *g, bool *unsorted, struct mc_err *err)
{
    size_t *base = mc_calloc(g->n_nodes + 1, sizeof *base); /* number of a node's first input */
    size_t inputs = 0, captures = 0;
    for (size_t i = 0; base && i < g->n_nodes; i++) {
        const struct mc_node *n = g->nodes[i];
        base[i + 1] = base[i] + n->n_in;
        for (size_t k = 0; k < n->n_in; k++)
            inputs += n->in[k] != NULL;
        captures += count_proxies(n);
    }
    bool *seen = base ? mc_calloc(base[g->n_nodes], sizeof *seen) : NULL;
    int rc = seen ? 0 : mc_fail(err, MC_ENOMEM, "out of memory while checking a graph");
    for (size_t i = 0; !rc && i < g->n_values; i++) {
        const struct mc_value *v = g->values[i];
        for (size_t k = 0; v && !rc && k < v->n_uses; k++) {
            const struct mc_use *u = &v->uses[k];
            const struct mc_node *n = u->node;
            bool ok = n->graph == g && n->pos < g->n_nodes && g->nodes[n->pos] == n;
            if (ok && u->proxy) {
                ok = u->slot == -1 && u->proxy->outer == v && u->proxy->graph->owner == n;
                captures--;
                *unsorted |= v->producer && v->producer->pos >= n->pos;
            } else if (ok) {
                ok = u->slot >= 0 && (size_t)u->slot < n->n_in && n->in[u->slot] == v &&
                     !seen[base[n->pos] + (size_t)u->slot];
                if (ok)
                    seen[base[n->pos] + (size_t)u->slot] = true;
                inputs--;
            }
            rc = ok ? 0 : broken(g, "uses of value", v->name, err);
        }
    }
    if (!rc && (inputs || captures))
        rc = broken(g, "use lists of graph", g->name, err);
    free(base);
    free(seen);
    return rc;
}

static int check_list(const struct mc_graph *g, struct mc_value *const *list, size_t n,
                      bool (*belongs)(const struct mc_value *), const char *what,
                      struct mc_err *err)
{
    for (size_t i = 0; i < n; i++)
        if (list[i]->graph != g || g->values[list[i]->index] != list[i] || !belongs(list[i]))
            return broken(g, what, list[i]->name, err);
    return 0;
}

static bool any(const struct mc_value *v)
{
    return v != NULL;
}

static bool is_input(const struct mc_value *v)
{
    return v->is_input;
}

static bool is_output(const struct mc_value *v)
{
    return v->is_output;
}

static bool has_tensor(const struct mc_value *v)
{
    return v->tensor != NULL;
}

static int check_lists(const struct mc_graph *g, struct mc_err *err)
{
    int rc = check_list(g, g->inputs, g->n_inputs, is_input, "graph input", err);
    if (!rc)
        rc = check_list(g, g->outputs, g->n_outputs, is_output, "graph output", err);
    if (!rc)
        rc = check_list(g, g->inits, g->n_inits, has_tensor, "initializer", err);
    return rc ? rc : check_list(g, g->infos, g->n_infos, any, "value_info", err);
}

/* Recursion by nesting depth only. */
static int verify_graph(struct mc_graph *g, int depth, struct mc_err *err)
{
    if (depth > NESTING_MAX)
        return mc_fail(err, MC_EFORMAT, "graph '%s': bodies are nested deeper than %d", g->name,
                       NESTING_MAX);
    bool unsorted = false;
    int rc = 0;
    for (size_t i = 0; !rc && i < g->n_values; i++)
        if (g->values[i])
            rc = check_value(g, i, err);
    for (size_t i = 0; !rc && i < g->n_nodes; i++)
        rc = check_node(g, i, &unsorted, err);
    if (!rc)
        rc = check_lists(g, err);
    if (!rc)
        rc = check_uses(g, &unsorted, err);
    if (!rc && unsorted)
        rc = mc_verify_sort(g, err);
    for (size_t i = 0; !rc && i < g->n_nodes; i++) {
        const struct mc_node *n = g->nodes[i];
        for (size_t k = 0; !rc && k < n->n_attr; k++)
            for (size_t b = 0; !rc && n->attr[k].graphs && b < n->attr[k].n; b++)
                rc = verify_graph(n->attr[k].graphs[b], depth + 1, err);
    }
    return rc;
}

int mc_verify(struct mc_model *m, struct mc_err *err)
{
    if (!m->graph)
        return mc_fail(err, MC_EFORMAT, "the model has no graph");
    int rc = verify_graph(m->graph, 0, err);
    for (size_t i = 0; !rc && i < m->n_functions; i++) {
        const struct mc_function *f = m->functions[i];
        rc = verify_graph(f->body, 0, err);
        for (size_t k = 0; !rc && k < f->n_defaults; k++)
            rc = check_attr_tensors(f->body, &f->defaults[k], "function", f->name, err);
    }
    return rc ? rc : mc_verify_functions(m, err);
}
