#include "graph/grad/backward.h"

#include <stdlib.h>
#include <string.h>

#include "graph/constant.h"
#include "graph/edit.h"
#include "graph/grad/grad.h"

const char mc_backward_independent[] = "the loss does not depend on it";

static bool is_float(const struct mc_grad *g, const struct mc_value *v)
{
    enum mc_dtype d = mc_grad_type(g, v)->dtype;
    return d != MC_DTYPE_NONE && mc_dtype_info(d)->kind == MC_KIND_FLOAT;
}

static bool is_whole(const struct mc_grad *g, const struct mc_value *v)
{
    enum mc_dtype_kind k = mc_dtype_info((int)mc_grad_type(g, v)->dtype)->kind;
    return k == MC_KIND_INT || k == MC_KIND_UINT || k == MC_KIND_BOOL;
}

/* Computes with quantised numbers, through which a gradient may go. */
static bool is_quantised(const struct mc_grad *g, const struct mc_node *n)
{
    for (size_t i = 0; i < n->n_in; i++)
        if (n->in[i] && is_whole(g, n->in[i])) {
            int bits = mc_dtype_info((int)mc_grad_type(g, n->in[i])->dtype)->bits;
            if (bits > 1 && bits <= 16 && mc_grad_type(g, n->in[i])->dtype != MC_DTYPE_BOOL)
                return true;
        }
    return false;
}

/* Whether a gradient may arrive at a result of a node with rule r. Other whole numbers have none, whatever makes
 * them. */
static bool carries(const struct mc_grad *g, const struct mc_rule *r, const struct mc_value *v)
{
    if (r)
        return r->emit == mc_rule_straight_through || is_float(g, v);
    return !is_whole(g, v) || is_quantised(g, v->producer);
}

/* Values of a node: its inputs, then what its bodies capture; NULL at the end. */
struct reads {
    const struct mc_node *n;
    size_t in, attr, body, value;
};

static struct mc_value *next_read(struct reads *r)
{
    while (r->in < r->n->n_in) {
        struct mc_value *v = r->n->in[r->in++];
        if (v)
            return v;
    }
    for (; r->attr < r->n->n_attr; r->attr++, r->body = 0) {
        const struct mc_attr *a = &r->n->attr[r->attr];
        for (; a->graphs && r->body < a->n; r->body++, r->value = 0)
            while (r->value < a->graphs[r->body]->n_values) {
                const struct mc_value *v = a->graphs[r->body]->values[r->value++];
                if (v && v->outer)
                    return v->outer;
            }
    }
    return NULL;
}

static bool flows(const struct mc_grad *g, const struct mc_node *n)
{
    const struct mc_rule *r = mc_rule_find(n);
    if (r && r->emit == mc_rule_zero)
        return false;
    for (size_t i = 0; i < n->n_out; i++)
        if (n->out[i] && carries(g, r, n->out[i]))
            return true;
    return false;
}

static void mark_depends(struct mc_grad *g, struct mc_value *const *wrt, size_t n,
                         const char *const *why)
{
    memset(g->depends, 0, g->n_values * sizeof *g->depends);
    for (size_t i = 0; i < n; i++)
        g->depends[wrt[i]->index] = !why[i];
    for (size_t i = 0; i < g->n_nodes; i++) {
        const struct mc_node *node = g->g->nodes[i];
        bool any = false;
        struct reads r = {.n = node};
        for (const struct mc_value *v; !any && (v = next_read(&r));)
            any = g->depends[v->index];
        if (!any || !flows(g, node))
            continue;
        const struct mc_rule *rule = mc_rule_find(node);
        for (size_t k = 0; k < node->n_out; k++)
            if (node->out[k])
                g->depends[node->out[k]->index] |= carries(g, rule, node->out[k]);
    }
}

/* Where gradients begin: at the loss, or where the caller has some. */
struct starts {
    struct mc_value *loss;
    struct mc_value *const *from, *const *d_from;
    size_t n;
};

static void mark_reaches(struct mc_grad *g, const struct starts *at)
{
    memset(g->reaches, 0, g->n_values * sizeof *g->reaches);
    if (at->loss)
        g->reaches[at->loss->index] = true;
    for (size_t i = 0; i < at->n; i++)
        g->reaches[at->from[i]->index] = true;
    for (size_t i = g->n_nodes; i-- > 0;) {
        const struct mc_node *node = g->g->nodes[i];
        bool any = false;
        for (size_t k = 0; k < node->n_out && !any; k++)
            any = node->out[k] && g->reaches[node->out[k]->index];
        if (!any || !flows(g, node))
            continue;
        struct reads r = {.n = node};
        for (const struct mc_value *v; (v = next_read(&r));)
            g->reaches[v->index] = true;
    }
}

static bool on_the_way(const struct mc_grad *g, const struct mc_node *n)
{
    bool in = false, out = false;
    struct reads r = {.n = n};
    for (const struct mc_value *v; !in && (v = next_read(&r));)
        in = g->depends[v->index];
    for (size_t k = 0; k < n->n_out && !out; k++)
        out = n->out[k] && g->reaches[n->out[k]->index];
    return in && out && flows(g, n);
}

/* Freeze what is above node `at`, with its reason. */
static void freeze_above(struct mc_grad *g, const struct mc_node *at, struct mc_value *const *wrt,
                         size_t n, const char **why, bool *above)
{
    memset(above, 0, g->n_values * sizeof *above);
    struct reads r = {.n = at};
    for (const struct mc_value *v; (v = next_read(&r));)
        above[v->index] = true;
    for (size_t i = at->pos; i-- > 0;) {
        const struct mc_node *node = g->g->nodes[i];
        bool any = false;
        for (size_t k = 0; k < node->n_out && !any; k++)
            any = node->out[k] && above[node->out[k]->index];
        if (!any || !flows(g, node))
            continue;
        struct reads rn = {.n = node};
        for (const struct mc_value *v; (v = next_read(&rn));)
            above[v->index] = true;
    }
    for (size_t i = 0; i < n; i++)
        if (!why[i] && above[wrt[i]->index])
            why[i] = g->stop[at->id];
}

/* Mark what is to be done, without what leads through nodes that no gradient goes through. */
static void prepare(struct mc_grad *g, const struct starts *at, struct mc_value *const *wrt,
                    size_t n, const char **why, bool *above)
{
    mark_reaches(g, at);
    for (bool again = true; again && !g->rc;) {
        again = false;
        mark_depends(g, wrt, n, why);
        for (size_t i = g->n_nodes; i-- > 0 && !again;) {
            const struct mc_node *node = g->g->nodes[i];
            if (!on_the_way(g, node))
                continue;
            if (!g->stop[node->id] && !mc_rule_find(node)) {
                g->stop[node->id] = mc_grad_text(g, node, "the operator has no gradient rule yet");
                if (!g->stop[node->id])
                    g->rc = mc_fail(g->err, MC_ENOMEM, "out of memory while making gradients");
            }
            if (g->stop[node->id]) {
                freeze_above(g, node, wrt, n, why, above);
                again = true;
            }
        }
    }
    for (size_t i = 0; i < g->n_values; i++) {
        const struct mc_value *v = g->g->values[i];
        const struct mc_rule *r = v && v->producer ? mc_rule_find(v->producer) : NULL;
        g->depends[i] &=
            g->reaches[i] && v && (is_float(g, v) || (r && r->emit == mc_rule_straight_through));
    }
}

/* The gradient of the loss by itself. */
static void seed(struct mc_grad *g, const struct starts *at)
{
    struct mc_value *loss = at->loss;
    for (size_t i = 0; i < at->n; i++)
        g->sum[at->from[i]->index] = at->d_from[i];
    if (!loss)
        return;
    struct mc_tensor *t = NULL;
    const struct mc_vtype *type = mc_grad_type(g, loss);
    float one = 1;
    struct mc_shape shape = type->ranked ? type->shape : (struct mc_shape){0};
    struct mc_value *v = NULL;
    g->rc = mc_constant_make(&one, &shape, type->dtype, NULL, &t, g->err);
    if (!g->rc && !(v = mc_edit_constant(g->g, "grad.one", t)))
        g->rc = mc_fail(g->err, MC_ENOMEM, "out of memory while making gradients");
    mc_tensor_unref(t);
    g->sum[loss->index] = v;
}

static void emit(struct mc_grad *g)
{
    for (size_t i = g->n_nodes; i-- > 0 && !g->rc && !g->refused;) {
        struct mc_node *node = g->g->nodes[i];
        bool out = false, in = false;
        for (size_t k = 0; k < node->n_out && !out; k++)
            out = node->out[k] && node->out[k]->index < g->n_values && g->sum[node->out[k]->index];
        for (size_t k = 0; k < node->n_in && !in; k++)
            in = node->in[k] && g->depends[node->in[k]->index];
        const struct mc_rule *r = out && in ? mc_rule_find(node) : NULL;
        if (r && r->emit != mc_rule_zero)
            r->emit(g, node);
    }
}

/* Take away what was emitted, all of it or what leads to none of the results. */
static void take_back(struct mc_grad *g, struct mc_value *const *keep, size_t n)
{
    bool *kept = n ? calloc(g->g->n_values, sizeof *kept) : NULL;
    if (n && !kept) {
        g->rc = mc_fail(g->err, MC_ENOMEM, "out of memory while making gradients");
        return;
    }
    for (size_t i = 0; i < n; i++)
        if (keep[i])
            kept[keep[i]->index] = true;
    for (size_t i = g->g->n_nodes; i-- > g->n_nodes;) {
        struct mc_node *node = g->g->nodes[i];
        bool used = false;
        for (size_t k = 0; k < node->n_out && !used; k++)
            used = node->out[k] && (node->out[k]->n_uses || (kept && kept[node->out[k]->index]));
        if (!used)
            mc_edit_remove_node(node);
    }
    for (size_t i = g->g->n_values; i-- > g->n_values;) {
        struct mc_value *v = g->g->values[i];
        if (v && !v->n_uses && !v->producer && !v->is_output && !(kept && kept[i]))
            mc_edit_remove_value(v);
    }
    free(kept);
}

static int alloc(struct mc_grad *g)
{
    g->depends = calloc(g->n_values + 1, sizeof *g->depends);
    g->reaches = calloc(g->n_values + 1, sizeof *g->reaches);
    g->sum = calloc(g->n_values + 1, sizeof *g->sum);
    g->stop = calloc(g->g->n_node_ids + 1, sizeof *g->stop);
    if (!g->depends || !g->reaches || !g->sum || !g->stop)
        return mc_fail(g->err, MC_ENOMEM, "out of memory while making gradients");
    return 0;
}

static int check_loss(const struct mc_grad *g, const struct mc_value *loss)
{
    const struct mc_vtype *t = mc_grad_type(g, loss);
    if (!is_float(g, loss))
        return mc_fail(g->err, MC_EDTYPE, "the loss '%s' is not of a float type", loss->name);
    if (!t->ranked || mc_shape_count(&t->shape) != 1)
        return mc_fail(g->err, MC_ESHAPE, "the loss '%s' is not a single number", loss->name);
    return 0;
}

static int finish(struct mc_grad *g, struct mc_value *const *wrt, size_t n, struct mc_value **grad,
                  const char **why)
{
    size_t found = 0;
    for (size_t i = 0; i < n; i++) {
        grad[i] = why[i] ? NULL : g->sum[wrt[i]->index];
        if (!grad[i] && !why[i])
            why[i] = mc_backward_independent;
        found += grad[i] != NULL;
    }
    if (!found)
        return mc_fail(g->err, MC_EUNSUP, "nothing can be trained: %s",
                       n ? why[0] : "there are no parameters");
    take_back(g, grad, n);
    return g->rc;
}

int mc_backward(struct mc_graph *graph, struct mc_value *loss, struct mc_value *const *wrt,
                size_t n, const struct mc_backward_opts *opts, struct mc_value **grad,
                const char **why, struct mc_err *err)
{
    struct mc_grad g = {
        .g = graph, .n_nodes = graph->n_nodes, .n_values = graph->n_values, .err = err};
    struct starts at = {.loss = loss};
    if (opts)
        at = (struct starts){loss, opts->from, opts->d_from, opts->n_from};
    bool *above = calloc(g.n_values + 1, sizeof *above);
    memset(why, 0, n * sizeof *why);
    g.rc = above ? mc_infer_run(graph, opts ? opts->infer : NULL, &g.inf, err)
                 : mc_fail(err, MC_ENOMEM, "out of memory while making gradients");
    if (!g.rc)
        g.rc = alloc(&g);
    if (!g.rc && loss)
        g.rc = check_loss(&g, loss);
    if (!g.rc)
        g.rc = mc_edit_opset(graph->model, MC_GRAD_DOMAIN, 1, err);
    for (bool done = false; !done && !g.rc;) {
        g.refused = false;
        memset(g.sum, 0, g.n_values * sizeof *g.sum);
        if (g.n_shape)
            memset(g.shape, 0, g.n_shape * sizeof *g.shape);
        prepare(&g, &at, wrt, n, why, above);
        if (!g.rc)
            seed(&g, &at);
        if (!g.rc)
            emit(&g);
        done = !g.refused;
        if (!done && !g.rc)
            take_back(&g, NULL, 0);
    }
    if (!g.rc)
        g.rc = finish(&g, wrt, n, grad, why);
    mc_infer_free(g.inf);
    free(above);
    free(g.depends);
    free(g.reaches);
    free(g.sum);
    free(g.shape);
    free(g.stop);
    return g.rc;
}
