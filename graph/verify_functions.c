#include <stdlib.h>
#include <string.h>

#include "graph/verify_parts.h"

struct call {
    size_t from, to; /* places in the sorted list */
};

struct calls {
    const struct mc_function **sorted;
    size_t n;
    struct call *call;
    size_t n_calls, cap_calls;
};

static int order_of(const char *name_a, const char *domain_a, const char *overload_a,
                    const struct mc_function *b)
{
    int d = strcmp(name_a, b->name);
    if (!d)
        d = strcmp(domain_a, b->domain);
    return d ? d : strcmp(overload_a, b->overload);
}

static int by_name(const void *a, const void *b)
{
    const struct mc_function *fa = *(const struct mc_function *const *)a;
    return order_of(fa->name, fa->domain, fa->overload, *(const struct mc_function *const *)b);
}

static int by_node(const void *key, const void *f)
{
    const struct mc_node *n = key;
    return order_of(n->op_type, n->domain, n->overload, *(const struct mc_function *const *)f);
}

/* Collect the calls in a body of function `from`; recursion by nesting depth only. */
static bool collect(struct calls *c, const struct mc_graph *g, size_t from)
{
    for (size_t i = 0; i < g->n_nodes; i++) {
        const struct mc_node *n = g->nodes[i];
        const struct mc_function **f = bsearch(n, c->sorted, c->n, sizeof(void *), by_node);
        if (f) {
            if (!MC_GROW(c->call, c->n_calls, c->cap_calls))
                return false;
            c->call[c->n_calls++] = (struct call){from, (size_t)(f - c->sorted)};
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
    size_t *callers = mc_calloc(c->n, sizeof *callers);
    size_t *first = mc_calloc(c->n + 1, sizeof *first);
    size_t *stack = mc_calloc(c->n, sizeof *stack);
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
    for (size_t i = 0; i < c->n; i++)
        if (first[i + 1] < first[i])
            first[i + 1] = first[i]; /* one without calls */
    for (size_t i = 0; i < c->n; i++)
        if (!callers[i])
            stack[n++] = i;
    while (n) {
        size_t f = stack[--n];
        gone++;
        for (size_t i = first[f]; i < first[f + 1]; i++)
            if (--callers[c->call[i].to] == 0)
                stack[n++] = c->call[i].to;
    }
    for (size_t i = 0; gone < c->n && i < c->n && !rc; i++)
        if (callers[i])
            rc = mc_fail(err, MC_EFORMAT,
                         "function '%s' of domain '%s' calls itself, directly or through others",
                         c->sorted[i]->name, c->sorted[i]->domain);
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
    struct calls c = {.n = m->n_functions};
    c.sorted = mc_calloc(c.n, sizeof *c.sorted);
    if (!c.sorted)
        return mc_fail(err, MC_ENOMEM, "out of memory while checking functions");
    memcpy(c.sorted, m->functions, c.n * sizeof *c.sorted);
    qsort(c.sorted, c.n, sizeof *c.sorted, by_name);
    int rc = 0;
    for (size_t i = 1; !rc && i < c.n; i++)
        if (by_name(&c.sorted[i - 1], &c.sorted[i]) == 0)
            rc = mc_fail(err, MC_EFORMAT, "function '%s' of domain '%s' is defined twice",
                         c.sorted[i]->name, c.sorted[i]->domain);
    for (size_t i = 0; !rc && i < c.n; i++)
        if (!collect(&c, c.sorted[i]->body, i))
            rc = mc_fail(err, MC_ENOMEM, "out of memory while checking functions");
    if (!rc)
        rc = find_circle(&c, err);
    free(c.sorted);
    free(c.call);
    return rc;
}
