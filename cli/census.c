#include "cli/census.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "graph/ops/op.h"

struct walk {
    const struct mc_model *m;
    json_t *counts, *unknown; /* objects: name -> count */
    int64_t nodes;
    struct mc_census_tensor *tensors;
    size_t n, cap;
    bool ok;
};

static void meet_tensor(struct walk *w, const struct mc_tensor *t, const char *name)
{
    if (!t)
        return;
    if (!MC_GROW(w->tensors, w->n, w->cap)) {
        w->ok = false;
        return;
    }
    w->tensors[w->n++] = (struct mc_census_tensor){t, name};
}

static void count(json_t *object, const char *key, bool *ok)
{
    json_t *text = mc_json_text(key); /* a name from a file may be no UTF-8 */
    const char *name = json_string_value(text);
    if (name)
        mc_json_put(object, name,
                    json_integer(json_integer_value(json_object_get(object, name)) + 1), ok);
    else
        *ok = false;
    json_decref(text);
}

static void meet_node(struct walk *w, const struct mc_node *n)
{
    char name[256], unknown[320];
    snprintf(name, sizeof name, "%s%s%s", n->domain, *n->domain ? "." : "", n->op_type);
    w->nodes++;
    count(w->counts, name, &w->ok);
    if (mc_op_find(n) || mc_model_function(w->m, n->domain, n->op_type, n->overload))
        return;
    snprintf(unknown, sizeof unknown, "%s (%s %d)", n->op_type, *n->domain ? n->domain : "ai.onnx",
             n->version);
    count(w->unknown, unknown, &w->ok);
}

static void walk_graph(struct walk *w, const struct mc_graph *g);

static void walk_attr(struct walk *w, const struct mc_node *n, const struct mc_attr *a)
{
    if (a->type == MC_ATTR_TENSOR || a->type == MC_ATTR_TENSORS)
        for (size_t i = 0; i < a->n; i++)
            meet_tensor(w, a->tensors[i], mc_node_label(n));
    if (a->type == MC_ATTR_GRAPH || a->type == MC_ATTR_GRAPHS)
        for (size_t i = 0; i < a->n; i++)
            walk_graph(w, a->graphs[i]);
}

static void walk_graph(struct walk *w, const struct mc_graph *g)
{
    for (size_t i = 0; i < g->n_inits; i++)
        meet_tensor(w, g->inits[i]->tensor, g->inits[i]->name);
    for (size_t i = 0; i < g->n_nodes; i++) {
        meet_node(w, g->nodes[i]);
        for (size_t k = 0; k < g->nodes[i]->n_attr; k++)
            walk_attr(w, g->nodes[i], &g->nodes[i]->attr[k]);
    }
}

static int by_address(const void *a, const void *b)
{
    const struct mc_census_tensor *x = a, *y = b;
    return (x->tensor > y->tensor) - (x->tensor < y->tensor);
}

static int by_size(const void *a, const void *b)
{
    const struct mc_census_tensor *x = a, *y = b;
    if (x->tensor->bytes != y->tensor->bytes)
        return x->tensor->bytes < y->tensor->bytes ? 1 : -1;
    return strcmp(x->name, y->name);
}

static size_t once_each(struct mc_census_tensor *t, size_t n)
{
    size_t kept = 0;
    if (n)
        qsort(t, n, sizeof *t, by_address);
    for (size_t i = 0; i < n; i++)
        if (!kept || t[kept - 1].tensor != t[i].tensor)
            t[kept++] = t[i];
    if (kept)
        qsort(t, kept, sizeof *t, by_size);
    return kept;
}

struct tally {
    const char *name;
    json_int_t count;
};

static int by_count(const void *a, const void *b)
{
    const struct tally *x = a, *y = b;
    if (x->count != y->count)
        return x->count < y->count ? 1 : -1;
    return strcmp(x->name, y->name);
}

/* The object's members by falling count: jansson keeps the order of insertion. */
static json_t *ranked(const json_t *counts, bool *ok)
{
    size_t n = json_object_size(counts), i = 0;
    struct tally *rows = calloc(n + 1, sizeof *rows);
    json_t *o = json_object();
    const char *key;
    const json_t *v;
    if (!rows) {
        *ok = false;
        return o;
    }
    json_object_foreach((json_t *)counts, key, v) rows[i++] =
        (struct tally){key, json_integer_value(v)};
    qsort(rows, n, sizeof *rows, by_count);
    for (i = 0; i < n; i++)
        mc_json_put(o, rows[i].name, json_integer(rows[i].count), ok);
    free(rows);
    return o;
}

int mc_census_take(const struct mc_model *m, struct mc_census *ret, struct mc_err *err)
{
    struct walk w = {.m = m, .counts = json_object(), .unknown = json_object(), .ok = true};
    walk_graph(&w, m->graph);
    for (size_t i = 0; i < m->n_functions; i++)
        walk_graph(&w, m->functions[i]->body);
    struct mc_census c = {.operators = ranked(w.counts, &w.ok), .unsupported = json_array()};
    const char *key;
    const json_t *v;
    json_object_foreach(w.unknown, key, v) mc_json_add(c.unsupported, json_string(key), &w.ok);
    c.nodes = w.nodes;
    c.tensors = w.tensors;
    c.n_tensors = once_each(w.tensors, w.n);
    json_decref(w.counts);
    json_decref(w.unknown);
    if (!w.ok || !c.operators || !c.unsupported) {
        mc_census_free(&c);
        return mc_fail(err, MC_ENOMEM, "out of memory");
    }
    *ret = c;
    return 0;
}

void mc_census_free(struct mc_census *c)
{
    json_decref(c->operators);
    json_decref(c->unsupported);
    free(c->tensors);
    *c = (struct mc_census){0};
}
