#include <stdlib.h>

#include "graph/function_table.h"
#include "graph/verify_parts.h"

struct call {
    size_t from, to; /* places in the sorted list */
};

struct calls {
    struct mc_function_table table;
    struct call *call;
    size_t n_calls, cap_calls;
};

/* Collect the calls in a body of function `from`; recursion by nesting depth only. */
static bool collect(struct calls *c, const struct mc_graph *g, size_t from)
{
    for (size_t i = 0; i < g->n_nodes; i++) {
        const struct mc_node *n = g->nodes[i];
        ptrdiff_t f = mc_function_table_find(&c->table, n);
        if (f >= 0) {
            if (!MC_GROW(c->call, c->n_calls, c->cap_calls))
                return false;
            c->call[c->n_calls++] = (struct call){from, (size_t)f};
        }
        for (size_t k = 0; k < n->n_attr; k++)
            for (size_t b = 0; n->attr[k].graphs && b < n->attr[k].n; b++)
                if (!collect(c, n->attr[k].graphs[b], from))
                    return false;
    }
    return true;
}

/* Take away functions that nothing left calls until none is left; what stays is called in a circle. Calls
 * are ordered by caller. */
static int find_circle(const struct calls *c, struct mc_err *err)
{
    size_t *callers = mc_calloc(c->table.n, sizeof *callers);
    size_t *first = mc_calloc(c->table.n + 1, sizeof *first);
    size_t *stack = mc_calloc(c->table.n, sizeof *stack);
    size_t n = 0, gone = 0;
    int rc = 0;
    if (!callers || !first || !stack) {
        rc = mc_fail(err, MC_ENOMEM, "out of memory while checking functions");
        goto out;
    }
    for (size_t i = 0; i < c->n_calls; i++) {
        callers[c->call[i].to]++;
        first[c->call[i].from + 1] = i + 1;
    }
    for (size_t i = 0; i < c->table.n; i++)
        if (first[i + 1] < first[i])
            first[i + 1] = first[i]; /* one without calls */
    for (size_t i = 0; i < c->table.n; i++)
        if (!callers[i])
            stack[n++] = i;
    while (n) {
        size_t f = stack[--n];
        gone++;
        for (size_t i = first[f]; i < first[f + 1]; i++)
            if (--callers[c->call[i].to] == 0)
                stack[n++] = c->call[i].to;
    }
    for (size_t i = 0; gone < c->table.n && i < c->table.n && !rc; i++)
        if (callers[i])
            rc = mc_fail(err, MC_EFORMAT,
                         "function '%s' of domain '%s' calls itself, directly or through others",
                         c->table.sorted[i]->name, c->table.sorted[i]->domain);
out:
    free(callers);
    free(first);
    free(stack);
    return rc;
}

int mc_verify_functions(const struct mc_model *m, struct mc_err *err)
{
    if (!m->n_functions)
        return 0;
    struct calls c = {0};
    int rc = mc_function_table_make(&c.table, m, err);
    for (size_t i = 0; !rc && i < c.table.n; i++)
        if (!collect(&c, c.table.sorted[i]->body, i))
            rc = mc_fail(err, MC_ENOMEM, "out of memory while checking functions");
    if (!rc)
        rc = find_circle(&c, err);
    mc_function_table_free(&c.table);
    free(c.call);
    return rc;
}
