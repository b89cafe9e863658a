#include "passes/fit/influence_cut.h"

#include <stdlib.h>
#include <string.h>

#include "graph/constant.h"
#include "graph/edit.h"
#include "graph/infer.h"
#include "passes/fit/one_sample.h"

static int no_memory(struct mc_err *err)
{
    return mc_fail(err, MC_ENOMEM, "out of memory");
}

/* behind[value index]: it changes when y does. Captures of bodies are uses too. */
static bool *find_behind(const struct mc_graph *g, const struct mc_value *y)
{
    bool *behind = mc_calloc(g->n_values + 1, sizeof *behind);
    const struct mc_value **todo = mc_calloc(g->n_values + 1, sizeof *todo);
    size_t n = 0;
    if (behind && todo) {
        todo[n++] = y;
        behind[y->index] = true;
    }
    while (n) {
        const struct mc_value *v = todo[--n];
        for (size_t u = 0; u < v->n_uses; u++)
            for (size_t k = 0; k < v->uses[u].node->n_out; k++) {
                const struct mc_value *o = v->uses[u].node->out[k];
                if (o && !behind[o->index]) {
                    behind[o->index] = true;
                    todo[n++] = o;
                }
            }
    }
    bool ok = behind && todo;
    free(todo);
    if (!ok)
        free(behind);
    return ok ? behind : NULL;
}

static bool node_is_behind(const bool *behind, const struct mc_value *y, const struct mc_node *n)
{
    if (n == y->producer)
        return false;
    for (size_t k = 0; k < n->n_out; k++)
        if (n->out[k] && behind[n->out[k]->index])
            return true;
    return false;
}

/* An edge into the part: not behind y, not constant, and read by a node that is. */
static bool crosses(const bool *behind, const struct mc_value *y, const struct mc_value *v)
{
    if (behind[v->index] || mc_constant(v))
        return false;
    for (size_t u = 0; u < v->n_uses; u++)
        if (node_is_behind(behind, y, v->uses[u].node))
            return true;
    return false;
}

/* The first axis stays free: calibration may run in other batches than the model declares. */
static int declare(struct mc_value *in, const struct mc_vtype *t, struct mc_err *err)
{
    struct mc_dim dim[MC_RANK_MAX] = {{0}};
    if (t->dtype == MC_DTYPE_NONE)
        return mc_fail(err, MC_EUNSUP, "the type of '%s' is not known", in->name);
    for (int i = 0; t->ranked && i < t->shape.rank; i++)
        dim[i].value = i == 0 || t->shape.dim[i] < 0 ? -1 : t->shape.dim[i];
    return mc_edit_type(in, t->dtype, t->ranked ? t->shape.rank : -1, dim) ? 0 : no_memory(err);
}

/* Value `v` of the clone becomes a new input for all its readers. A graph input stays one. */
static int feed(struct mc_cut *c, struct mc_value *v, const struct mc_infer *inf,
                const struct mc_value *original, struct mc_err *err)
{
    struct mc_value *in = v;
    int rc = 0;
    if (!v->is_input) {
        in = mc_edit_fresh(c->model->graph, "cut");
        rc = in ? mc_edit_input(c->model->graph, in, err) : no_memory(err);
        if (!rc)
            rc = declare(in, mc_infer_of(inf, original), err);
        if (!rc)
            rc = mc_edit_replace_uses(v, in, err);
    }
    if (rc)
        return rc;
    c->from[c->n] = mc_arena_strdup(&c->mem, original->name);
    c->to[c->n] = mc_arena_strdup(&c->mem, in->name);
    return c->from[c->n] && c->to[c->n++] ? 0 : no_memory(err);
}

static int find_outputs(struct mc_cut *c, const struct mc_graph *g, const bool *behind,
                        const struct mc_value *y, const struct mc_infer *inf, struct mc_err *err)
{
    for (size_t i = 0; i < g->n_outputs; i++) {
        const struct mc_value *o = g->outputs[i];
        if (o == y)
            c->whole = true;
        if (!behind[o->index] || o == y ||
            mc_dtype_info(mc_infer_of(inf, o)->dtype)->kind != MC_KIND_FLOAT)
            continue;
        c->output_of[c->n_outputs] = o;
        c->outputs[c->n_outputs] = mc_arena_strdup(&c->mem, o->name);
        if (!c->outputs[c->n_outputs++])
            return no_memory(err);
    }
    return 0;
}

/* Moving a value through memory takes about as long as this many multiply-accumulates (reference mobilenet
 * against the mlp). */
static const double MACS_PER_ELEMENT = 40;

int mc_cut_work(const struct mc_graph *g, const struct mc_infer_opts *o, double *ret,
                struct mc_err *err)
{
    struct mc_infer *inf = NULL;
    int rc = mc_infer_run(g, o, &inf, NULL);
    double work = rc ? -1 : 0;
    for (size_t i = 0; i < g->n_nodes && work >= 0; i++) {
        const struct mc_node *n = g->nodes[i];
        double macs = mc_infer_macs(inf, n);
        work = macs < 0 ? -1 : work + macs;
        for (size_t k = 0; k < n->n_out && work >= 0; k++) {
            const struct mc_vtype *t = n->out[k] ? mc_infer_of(inf, n->out[k]) : NULL;
            int64_t count = t && t->ranked ? mc_shape_count(&t->shape) : 0;
            work += MACS_PER_ELEMENT * (double)(count > 0 ? count : 0);
        }
    }
    mc_infer_free(inf);
    *ret = work;
    return rc == MC_ENOMEM ? no_memory(err) : 0;
}

/* Of the part with every free dimension 1. A part that cannot be inferred so has no such number. */
static int measure_work(struct mc_cut *c, struct mc_err *err)
{
    const struct mc_graph *g = c->model->graph;
    struct mc_infer_opts o = {0};
    int rc = mc_one_sample(g, MC_RANK_MAX, &o, err);
    if (!rc)
        rc = mc_cut_work(g, &o, &c->work, err);
    free((void *)o.inputs);
    return rc;
}

static int cut(const struct mc_graph *g, const struct mc_value *y, const bool *behind,
               const struct mc_infer *inf, struct mc_cut *c, struct mc_err *err)
{
    size_t n = g->n_values + 1;
    c->from = mc_arena_array(&c->mem, n, sizeof *c->from);
    c->to = mc_arena_array(&c->mem, n, sizeof *c->to);
    c->outputs = mc_arena_array(&c->mem, g->n_outputs + 1, sizeof *c->outputs);
    c->output_of = mc_arena_array(&c->mem, g->n_outputs + 1, sizeof *c->output_of);
    if (!c->from || !c->to || !c->outputs || !c->output_of)
        return no_memory(err);
    int rc = find_outputs(c, g, behind, y, inf, err);
    if (!rc)
        rc = feed(c, mc_graph_value(c->model->graph, y->name), inf, y, err);
    for (size_t i = 0; !rc && i < g->n_values; i++) {
        const struct mc_value *v = g->values[i];
        if (v && crosses(behind, y, v))
            rc = feed(c, mc_graph_value(c->model->graph, v->name), inf, v, err);
    }
    if (rc)
        return rc;
    mc_edit_sweep(c->model->graph);
    return measure_work(c, err);
}

int mc_cut_behind(const struct mc_model *m, const struct mc_value *y, struct mc_cut *ret,
                  struct mc_err *err)
{
    struct mc_cut c = {0};
    struct mc_infer *inf = NULL;
    bool *behind = find_behind(m->graph, y);
    int rc = behind ? mc_model_clone(m, &c.model, err) : no_memory(err);
    if (!rc)
        rc = mc_infer_run(m->graph, &(struct mc_infer_opts){0}, &inf, err);
    if (!rc)
        rc = cut(m->graph, y, behind, inf, &c, err);
    mc_infer_free(inf);
    free(behind);
    if (rc)
        mc_cut_free(&c);
    else
        *ret = c;
    return rc;
}

void mc_cut_free(struct mc_cut *c)
{
    mc_model_free(c->model);
    mc_arena_free(&c->mem);
    *c = (struct mc_cut){0};
}
