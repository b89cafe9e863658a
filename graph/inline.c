#include "graph/inline.h"

#include "graph/function_table.h"
#include "graph/ops/op.h"
#include "graph/splice.h"

enum { LEVELS = 1000 };

struct inliner {
    struct mc_function_table table;
    bool (*pick)(const struct mc_node *n); /* NULL: those that no operator row stands for */
    size_t made;                           /* nodes by calls so far */
    bool again;                            /* some of them may be calls themselves */
};

/* The function that n calls, if it is to be inlined. */
static const struct mc_function *callee(const struct inliner *s, const struct mc_node *n)
{
    ptrdiff_t i = mc_function_table_find(&s->table, n);
    bool picked = i >= 0 && (s->pick ? s->pick(n) : !mc_op_find(n));
    return picked ? s->table.sorted[i] : NULL;
}

/* Recursion by nesting depth only. */
static bool has_call(const struct inliner *s, const struct mc_graph *g)
{
    for (size_t i = 0; i < g->n_nodes; i++) {
        const struct mc_node *n = g->nodes[i];
        if (callee(s, n))
            return true;
        for (size_t k = 0; k < n->n_attr; k++)
            for (size_t b = 0; n->attr[k].graphs && b < n->attr[k].n; b++)
                if (has_call(s, n->attr[k].graphs[b]))
                    return true;
    }
    return false;
}

int mc_inline_needed(const struct mc_model *m, bool *ret, struct mc_err *err)
{
    struct inliner s = {0};
    *ret = false;
    if (!m->n_functions || !m->graph)
        return 0;
    int rc = mc_function_table_make(&s.table, m, err);
    if (rc)
        return rc;
    *ret = has_call(&s, m->graph);
    mc_function_table_free(&s.table);
    return 0;
}

static size_t size_of(const struct mc_graph *g)
{
    size_t sum = g->n_nodes;
    for (size_t i = 0; i < g->n_nodes; i++)
        for (size_t k = 0; k < g->nodes[i]->n_attr; k++)
            for (size_t b = 0; g->nodes[i]->attr[k].graphs && b < g->nodes[i]->attr[k].n; b++)
                sum += size_of(g->nodes[i]->attr[k].graphs[b]);
    return sum;
}

/* The calls that stand in g now. */
static int inline_calls(struct inliner *s, struct mc_graph *g, struct mc_err *err)
{
    struct mc_splice splice;
    int rc = mc_splice_begin(&splice, g, err);
    if (rc)
        return rc;
    for (size_t i = 0; !rc && i < splice.n_old; i++) {
        struct mc_node *n = g->nodes[i];
        const struct mc_function *f = callee(s, n);
        if (!f)
            continue;
        s->made += size_of(f->body);
        s->again = true;
        if (s->made > MC_INLINE_NODES)
            rc = mc_fail(err, MC_EUNSUP,
                         "%s '%s': with all functions inlined the model has more than %d nodes",
                         n->op_type, mc_node_label(n), MC_INLINE_NODES);
        else
            rc = mc_splice_node(&splice, n, f->body, n->in, n->n_in, true, err);
    }
    return mc_splice_end(&splice, rc, err);
}

/* One level of calls, in bodies too. */
static int inline_level(struct inliner *s, struct mc_graph *g, struct mc_err *err)
{
    bool any = false;
    for (size_t i = 0; !any && i < g->n_nodes; i++)
        any = callee(s, g->nodes[i]) != NULL;
    int rc = any ? inline_calls(s, g, err) : 0;
    for (size_t i = 0; !rc && i < g->n_nodes; i++) {
        const struct mc_node *n = g->nodes[i];
        for (size_t k = 0; !rc && k < n->n_attr; k++)
            for (size_t b = 0; !rc && n->attr[k].graphs && b < n->attr[k].n; b++)
                rc = inline_level(s, n->attr[k].graphs[b], err);
    }
    return rc;
}

int mc_inline_some(struct mc_model *m, bool (*pick)(const struct mc_node *n), struct mc_err *err)
{
    struct inliner s = {.pick = pick, .again = true};
    if (!m->n_functions || !m->graph)
        return 0;
    int rc = mc_function_table_make(&s.table, m, err);
    if (rc)
        return rc;
    for (size_t level = 0; !rc && s.again; level++) {
        s.again = false;
        rc = inline_level(&s, m->graph, err);
        for (size_t i = 0; !rc && pick && i < m->n_functions; i++)
            rc = inline_level(&s, m->functions[i]->body, err);
        /* Functions that do not call themselves are at most as many levels as there are functions. */
        if (!rc && s.again && level >= m->n_functions)
            rc = mc_fail(err, MC_EFORMAT, "a function of the model calls itself");
        else if (!rc && level >= LEVELS)
            rc = mc_fail(err, MC_EUNSUP, "functions of the model call each other %d deep", LEVELS);
    }
    mc_function_table_free(&s.table);
    return rc;
}

int mc_inline(struct mc_model *m, struct mc_err *err)
{
    return mc_inline_some(m, NULL, err);
}
