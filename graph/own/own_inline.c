/* Bodies in the place of calls, and what nobody calls any more. */
#include <string.h>

#include "graph/edit.h"
#include "graph/inline.h"
#include "graph/own/own.h"
#include "graph/release.h"

static bool is_own(const struct mc_node *n)
{
    return strcmp(n->domain, MC_OWN_DOMAIN) == 0;
}

int mc_own_inline(struct mc_model *m, struct mc_err *err)
{
    int rc = mc_inline_some(m, is_own, err);
    if (!rc)
        mc_own_sweep(m);
    return rc;
}

/* Does a node of g, or of a body in it, call f (NULL: anything of the domain)? Recursion by nesting depth only. */
static bool calls(const struct mc_graph *g, const struct mc_function *f)
{
    for (size_t i = 0; i < g->n_nodes; i++) {
        const struct mc_node *n = g->nodes[i];
        if (is_own(n) &&
            (!f || (!strcmp(n->op_type, f->name) && !strcmp(n->overload, f->overload))))
            return true;
        for (size_t k = 0; k < n->n_attr; k++)
            for (size_t b = 0; n->attr[k].graphs && b < n->attr[k].n; b++)
                if (calls(n->attr[k].graphs[b], f))
                    return true;
    }
    return false;
}

static bool is_called(const struct mc_model *m, const struct mc_function *f)
{
    bool called = m->graph && calls(m->graph, f);
    for (size_t i = 0; !called && i < m->n_functions; i++)
        called = m->functions[i] != f && calls(m->functions[i]->body, f);
    return called;
}

static void drop_import(struct mc_model *m)
{
    for (size_t i = 0; i < m->n_opsets; i++)
        if (!strcmp(m->opsets[i].domain, MC_OWN_DOMAIN)) {
            m->n_opsets--;
            memmove(&m->opsets[i], &m->opsets[i + 1], (m->n_opsets - i) * sizeof *m->opsets);
            return;
        }
}

/* Their bodies stay in m->graphs, and go with the model. */
void mc_own_sweep(struct mc_model *m)
{
    bool left = false;
    for (bool again = true; again;) {
        again = left = false;
        for (size_t i = 0; i < m->n_functions && !again; i++) {
            struct mc_function *f = m->functions[i];
            if (strcmp(f->domain, MC_OWN_DOMAIN) != 0)
                continue;
            left = true;
            if (is_called(m, f))
                continue;
            for (size_t k = 0; k < f->n_defaults; k++)
                mc_attr_release(&f->defaults[k]);
            m->n_functions--;
            memmove(&m->functions[i], &m->functions[i + 1],
                    (m->n_functions - i) * sizeof *m->functions);
            again = true;
        }
    }
    if (!left && !is_called(m, NULL))
        drop_import(m);
}
