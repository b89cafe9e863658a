#include "passes/fit/influence_graph.h"

#include <stdlib.h>
#include <string.h>

#include "graph/edit.h"
#include "graph/grad/activation_join.h"
#include "graph/grad/backward.h"

static int no_memory(struct mc_err *err)
{
    return mc_fail(err, MC_ENOMEM, "out of memory for the influence of layers");
}

static int list_outputs(struct mc_influence_graph *g, const struct mc_graph *of,
                        const struct mc_infer *types, struct mc_err *err)
{
    for (size_t i = 0; i < of->n_inputs; i++)
        if (!of->inputs[i]->tensor)
            g->names[g->n_in++] = mc_arena_strdup(&g->mem, of->inputs[i]->name);
    for (size_t i = 0; i < of->n_outputs; i++) {
        const struct mc_value *o = of->outputs[i];
        if (!o->producer || mc_dtype_info(mc_infer_of(types, o)->dtype)->kind != MC_KIND_FLOAT)
            continue;
        g->names[g->n_in + g->n_out] = mc_arena_strdup(&g->mem, o->name);
        g->out[g->n_out++] = o;
    }
    for (size_t i = 0; i < g->n_in + g->n_out; i++)
        if (!g->names[i])
            return no_memory(err);
    return g->n_out ? 0 : mc_fail(err, MC_EUNSUP, "no output of the model is a floating number");
}

int mc_influence_graph_open(const struct mc_model *m, struct mc_influence_graph *ret,
                            struct mc_err *err)
{
    const struct mc_graph *of = m->graph;
    struct mc_influence_graph g = {0};
    struct mc_infer *types = NULL;
    g.names = mc_arena_array(&g.mem, of->n_inputs + of->n_outputs + 1, sizeof *g.names);
    g.out = mc_arena_array(&g.mem, of->n_outputs + 1, sizeof *g.out);
    int rc = g.names && g.out ? 0 : no_memory(err);
    if (!rc)
        rc = mc_infer_run(of, NULL, &types, err);
    if (!rc)
        rc = list_outputs(&g, of, types, err);
    mc_infer_free(types);
    if (rc)
        mc_influence_graph_free(&g);
    else
        *ret = g;
    return rc;
}

/* Inputs for the gradients of all outputs, in places from `at` on. */
static int add_inputs(struct mc_influence_graph *g, struct mc_value **from, struct mc_value **d,
                      struct mc_err *err)
{
    struct mc_graph *of = g->model->graph;
    for (size_t i = 0; i < g->n_out; i++) {
        from[i] = mc_graph_value(of, g->out[i]->name);
        d[i] = mc_edit_fresh(of, "influence.d");
        if (!d[i] || !mc_edit_type(d[i], MC_DTYPE_F32, -1, NULL))
            return no_memory(err);
        int rc = mc_edit_input(of, d[i], err);
        if (rc)
            return rc;
        g->d[g->n_d++] = d[i]->name;
    }
    return 0;
}

/* A gradient may be an input itself, and that of several values. */
static int want(struct mc_influence_graph *g, struct mc_value *grad, int *ret, struct mc_err *err)
{
    struct mc_graph *of = g->model->graph;
    struct mc_value *same = grad;
    if (grad->is_input) {
        same = mc_edit_fresh(of, "influence.same");
        int rc = same ? mc_edit_node(of, of->n_nodes, "Identity", "", 0, same->name, &grad, 1,
                                     &same, 1, NULL, err)
                      : no_memory(err);
        if (rc)
            return rc;
    }
    for (size_t k = 0; k < g->n_only; k++)
        if (!strcmp(g->only[k], same->name)) {
            *ret = (int)k;
            return 0;
        }
    *ret = (int)g->n_only;
    g->only[g->n_only++] = same->name;
    return 0;
}

/* wrt: [n] with NULL where a value is not there. */
static int add_copy(struct mc_influence_graph *g, struct mc_value *const *wrt, size_t n, int copy,
                    const struct mc_infer_opts *infer, struct mc_err *err)
{
    size_t at = 0, outs = g->n_out;
    struct mc_value **v = mc_calloc(2 * n + 2 * outs + 1, sizeof *v);
    const char **why = mc_calloc(n + 1, sizeof *why);
    int rc = v && why ? 0 : no_memory(err);
    if (!rc)
        rc = add_inputs(g, v + 2 * n, v + 2 * n + outs, err);
    for (size_t i = 0; !rc && i < n; i++)
        if (wrt[i])
            v[at++] = wrt[i];
    struct mc_backward_opts o = {
        .infer = infer, .from = v + 2 * n, .d_from = v + 2 * n + outs, .n_from = outs};
    if (!rc)
        rc = mc_backward(g->model->graph, NULL, v, at, &o, v + n, why, err);
    for (size_t i = 0, j = 0; !rc && i < n; i++) {
        int *place = &g->grad_of[(size_t)copy * n + i];
        *place = MC_INFLUENCE_NONE;
        if (!wrt[i])
            continue;
        if (v[n + j])
            rc = want(g, v[n + j], place, err);
        else if (!g->why && why[j] != mc_backward_independent)
            g->why = why[j];
        j++;
    }
    free(v);
    free(why);
    return rc;
}

static size_t first_of(const struct mc_influence *inf, size_t i)
{
    size_t k = 0;
    while (inf[k].y != inf[i].y)
        k++;
    return k;
}

int mc_influence_graph_build(struct mc_influence_graph *g, const struct mc_model *m,
                             const struct mc_infer_opts *infer, const struct mc_influence *inf,
                             size_t n, int copies, struct mc_err *err)
{
    size_t all = (size_t)copies * n, found = 0;
    struct mc_value **wrt = mc_calloc(n + 1, sizeof *wrt);
    g->copies = copies;
    g->d = mc_arena_array(&g->mem, (size_t)copies * g->n_out + 1, sizeof *g->d);
    g->only = mc_arena_array(&g->mem, all + 1, sizeof *g->only);
    g->grad_of = mc_arena_array(&g->mem, all + 1, sizeof *g->grad_of);
    int rc = wrt && g->d && g->only && g->grad_of ? 0 : no_memory(err);
    if (!rc)
        rc = mc_model_clone(m, &g->model, err);
    if (!rc)
        rc = mc_activation_join(g->model->graph, NULL, err);
    for (size_t i = 0; !rc && i < n; i++) {
        struct mc_value *v = mc_graph_value(g->model->graph, inf[i].y->name);
        wrt[i] = v && (v->producer || v->tensor) && first_of(inf, i) == i ? v : NULL;
        found += wrt[i] != NULL;
    }
    if (!rc && !found)
        rc = mc_fail(err, MC_EUNSUP, "no layer has a result of its own");
    for (int c = 0; !rc && c < copies; c++)
        rc = add_copy(g, wrt, n, c, infer, err);
    for (size_t i = 0; !rc && i < all; i++)
        g->grad_of[i] = g->grad_of[i / n * n + first_of(inf, i % n)];
    free(wrt);
    return rc;
}

void mc_influence_graph_free(struct mc_influence_graph *g)
{
    mc_model_free(g->model);
    mc_arena_free(&g->mem);
    *g = (struct mc_influence_graph){0};
}
