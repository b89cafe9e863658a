#include "graph/function_table.h"

#include <stdlib.h>
#include <string.h>

static int order_of(const char *name, const char *domain, const char *overload,
                    const struct mc_function *b)
{
    int d = strcmp(name, b->name);
    if (!d)
        d = strcmp(domain, b->domain);
    return d ? d : strcmp(overload, b->overload);
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

int mc_function_table_make(struct mc_function_table *t, const struct mc_model *m,
                           struct mc_err *err)
{
    *t = (struct mc_function_table){mc_calloc(m->n_functions + 1, sizeof *t->sorted),
                                    m->n_functions};
    if (!t->sorted)
        return mc_fail(err, MC_ENOMEM, "out of memory for the functions of a model");
    for (size_t i = 0; i < t->n; i++)
        t->sorted[i] = m->functions[i];
    qsort(t->sorted, t->n, sizeof *t->sorted, by_name);
    for (size_t i = 1; i < t->n; i++)
        if (by_name(&t->sorted[i - 1], &t->sorted[i]) == 0) {
            const struct mc_function *f = t->sorted[i];
            mc_function_table_free(t);
            return mc_fail(err, MC_EFORMAT, "function '%s' of domain '%s' is defined twice",
                           f->name, f->domain);
        }
    return 0;
}

void mc_function_table_free(struct mc_function_table *t)
{
    free(t->sorted);
    *t = (struct mc_function_table){0};
}

ptrdiff_t mc_function_table_find(const struct mc_function_table *t, const struct mc_node *n)
{
    const struct mc_function **f =
        t->n ? bsearch(n, t->sorted, t->n, sizeof *t->sorted, by_node) : NULL;
    return f ? f - t->sorted : -1;
}
