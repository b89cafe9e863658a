#include "graph/splice.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "graph/edit.h"
#include "graph/edit_list.h"

enum { NAME = 256 };

/* A graph that is being copied into another. */
struct scope {
    const struct mc_graph *from; /* NULL: values of `to` mean themselves */
    struct mc_graph *to;
    struct mc_value **map; /* [from->n_values] */
    const struct scope
        *up; /* of the graph around `from`; NULL: it captures values of `to` itself */
    const struct mc_node *call;
    const struct mc_function *function;
    const char *prefix; /* of names; "" for a branch */
};

/* Stands in a map for an input that was left out. */
static struct mc_value absent;

static int no_memory(struct mc_err *err)
{
    return mc_fail(err, MC_ENOMEM, "out of memory while copying nodes");
}

/* ---- values ---- */

static struct mc_value *fresh(const struct scope *s, const char *name)
{
    char hint[NAME];
    snprintf(hint, sizeof hint, "%s%s%s", s->prefix, *s->prefix ? "/" : "", name);
    return mc_edit_fresh(s->to, hint);
}

/* A new value for v of s->from with its type: in a function's own body the shape is that of no call. */
static int make_value(const struct scope *s, const struct mc_value *v, struct mc_err *err)
{
    struct mc_value *copy = fresh(s, v->name);
    if (!copy)
        return no_memory(err);
    s->map[v->index] = copy;
    if (s->function && !s->from->parent) {
        if (v->type.kind == MC_TYPE_TENSOR && !mc_edit_type(copy, v->type.dtype, -1, NULL))
            return no_memory(err);
    } else {
        copy->type = v->type;
        copy->info = v->info;
    }
    return v->tensor ? mc_edit_tensor(copy, v->tensor, err) : 0;
}

/* What a value of s->from is in s->to; NULL: left out. */
static int lookup(const struct scope *s, const struct mc_value *v, struct mc_value **ret,
                  struct mc_err *err)
{
    if (!v || !s->from) {
        *ret = (struct mc_value *)v;
        return 0;
    }
    struct mc_value **known = &s->map[v->index];
    int rc = 0;
    if (!*known && v->outer) {
        struct mc_value *outer = v->outer;
        rc = s->up ? lookup(s->up, v->outer, &outer, err) : 0;
        *known = !outer ? &absent : outer;
        if (!rc && s->up && outer && !(*known = mc_edit_resolve(s->to, outer->name)))
            rc = no_memory(err);
    } else if (!*known) {
        rc = make_value(s, v, err);
    }
    *ret = *known == &absent ? NULL : *known;
    return rc;
}

static int lookup_all(const struct scope *s, struct mc_value *const *v, size_t n,
                      struct mc_value **ret, struct mc_err *err)
{
    int rc = 0;
    for (size_t i = 0; !rc && i < n; i++)
        rc = lookup(s, v[i], &ret[i], err);
    return rc;
}

/* ---- nodes ---- */

static int copy_nodes(const struct scope *s, struct mc_err *err);

/* A body of the new node n. Recursion by nesting depth only. */
static int copy_body(const struct scope *up, const struct mc_graph *from, struct mc_node *n,
                     struct mc_graph **ret, struct mc_err *err)
{
    struct scope s = {.from = from, .up = up, .call = up->call, .function = up->function};
    s.prefix = up->prefix;
    s.to = mc_edit_graph(n->graph->model, n->graph, n, from->name);
    s.map = mc_calloc(from->n_values + 1, sizeof *s.map);
    int rc = s.to && s.map ? 0 : no_memory(err);
    for (size_t i = 0; !rc && i < from->n_inputs; i++) {
        rc = make_value(&s, from->inputs[i], err);
        if (!rc)
            rc = mc_edit_input(s.to, s.map[from->inputs[i]->index], err);
    }
    if (!rc)
        rc = copy_nodes(&s, err);
    for (size_t i = 0; !rc && i < from->n_outputs; i++) {
        struct mc_value *v;
        rc = lookup(&s, from->outputs[i], &v, err);
        if (!rc && !v)
            rc = mc_fail(err, MC_EFORMAT, "%s '%s': output '%s' of its body is an input left out",
                         n->op_type, mc_node_label(n), from->outputs[i]->name);
        if (!rc)
            rc = mc_edit_output(s.to, v, err);
    }
    for (size_t i = 0; !rc && i < from->n_infos; i++) {
        struct mc_value *v = s.map[from->infos[i]->index];
        if (v && v != &absent)
            rc = mc_edit_info(s.to, v, err);
    }
    free(s.map);
    *ret = s.to;
    return rc;
}

/* The attribute that says what a is in this call, or NULL. */
static const struct mc_attr *resolve(const struct scope *s, const struct mc_attr *a)
{
    if (!a->ref || !s->call)
        return a;
    const struct mc_attr *given = mc_node_attr(s->call, a->ref);
    for (size_t i = 0; !given && i < s->function->n_defaults; i++)
        if (strcmp(s->function->defaults[i].name, a->ref) == 0)
            given = &s->function->defaults[i];
    return given;
}

static int copy_attr(const struct scope *s, const struct mc_attr *a, struct mc_node *n,
                     struct mc_err *err)
{
    const struct mc_attr *src = resolve(s, a);
    struct mc_arena *mem = &n->graph->model->arena;
    if (!src)
        return 0;
    struct mc_attr *dst = mc_edit_attr_new(n, a->name, src->type);
    if (!dst)
        return no_memory(err);
    /* Everything lies in the one model's arena and can be shared, but tensors and bodies. */
    struct mc_attr copy = *src;
    copy.name = dst->name;
    copy.cache = NULL;
    copy.tensors = NULL;
    copy.graphs = NULL;
    *dst = copy;
    if (src->tensors) {
        dst->tensors = mc_arena_memdup(mem, src->tensors, src->n * sizeof *src->tensors);
        for (size_t i = 0; dst->tensors && i < src->n; i++)
            mc_tensor_ref(dst->tensors[i]);
        return dst->tensors ? 0 : no_memory(err);
    }
    if (!src->graphs)
        return 0;
    /* A body that the caller gives sees the caller's values. */
    const struct scope callers = {.to = s->to, .prefix = s->prefix};
    dst->n = 0;
    dst->graphs = mc_arena_array(mem, src->n, sizeof *dst->graphs);
    int rc = dst->graphs ? 0 : no_memory(err);
    for (size_t i = 0; !rc && i < src->n; i++) {
        rc = copy_body(src == a ? s : &callers, src->graphs[i], n, &dst->graphs[i], err);
        dst->n += dst->graphs[i] != NULL;
    }
    return rc;
}

static int copy_node(const struct scope *s, const struct mc_node *src, struct mc_value **in,
                     struct mc_value **out, struct mc_err *err)
{
    char name[NAME] = "";
    struct mc_node *n;
    int rc = lookup_all(s, src->in, src->n_in, in, err);
    if (!rc)
        rc = lookup_all(s, src->out, src->n_out, out, err);
    if (*src->name)
        snprintf(name, sizeof name, "%s%s%s", s->prefix, *s->prefix ? "/" : "", src->name);
    if (!rc)
        rc = mc_edit_node(s->to, s->to->n_nodes, src->op_type, src->domain, src->version, name, in,
                          src->n_in, out, src->n_out, &n, err);
    if (rc)
        return rc;
    n->version = src->version;
    n->overload = src->overload;
    n->extra = src->extra;
    for (size_t i = 0; !rc && i < src->n_attr; i++)
        rc = copy_attr(s, &src->attr[i], n, err);
    return rc;
}

static int copy_nodes(const struct scope *s, struct mc_err *err)
{
    size_t most = 1;
    for (size_t i = 0; i < s->from->n_nodes; i++) {
        const struct mc_node *n = s->from->nodes[i];
        most = n->n_in > most ? n->n_in : most;
        most = n->n_out > most ? n->n_out : most;
    }
    struct mc_value **in = mc_calloc(most, sizeof *in), **out = mc_calloc(most, sizeof *out);
    int rc = in && out ? 0 : no_memory(err);
    for (size_t i = 0; !rc && i < s->from->n_nodes; i++)
        rc = copy_node(s, s->from->nodes[i], in, out, err);
    free(in);
    free(out);
    return rc;
}

/* ---- one node's place ---- */

int mc_splice_begin(struct mc_splice *s, struct mc_graph *g, struct mc_err *err)
{
    *s = (struct mc_splice){.g = g, .n_old = g->n_nodes};
    s->first = mc_calloc(g->n_nodes, sizeof *s->first);
    s->end = mc_calloc(g->n_nodes, sizeof *s->end);
    if (s->first && s->end)
        return 0;
    free(s->first);
    free(s->end);
    return no_memory(err);
}

/* Inputs and outputs of `from` are values of n's graph. An output that a node of `from` gives becomes n's own,
 * unless it does already. */
static void enter_values(struct mc_value **map, const struct mc_graph *from,
                         struct mc_value *const *in, size_t n_in, struct mc_value *const *out,
                         size_t n_out)
{
    for (size_t i = 0; i < from->n_inputs; i++)
        map[from->inputs[i]->index] = i < n_in && in[i] ? in[i] : &absent;
    for (size_t i = 0; i < n_out; i++) {
        const struct mc_value *v = from->outputs[i];
        if (out[i] && v->producer && !map[v->index])
            map[v->index] = out[i];
    }
}

/* An output that is not what a copied node gives is passed on: an input, a constant, another output. */
static int pass_on(const struct scope *s, const struct mc_node *n, struct mc_value *const *out,
                   size_t n_out, struct mc_err *err)
{
    int rc = 0;
    for (size_t i = 0; !rc && i < n_out; i++) {
        struct mc_value *v, *to = out[i];
        if (!to || to->producer)
            continue;
        rc = lookup(s, s->from->outputs[i], &v, err);
        if (!rc && !v)
            rc = mc_fail(err, MC_EFORMAT, "%s '%s': output '%s' is an input that was left out",
                         n->op_type, mc_node_label(n), to->name);
        if (!rc)
            rc = mc_edit_node(s->to, s->to->n_nodes, "Identity", "", 0, "", &v, 1, &to, 1, NULL,
                              err);
    }
    return rc;
}

static int too_many(const struct mc_node *n, const char *what, size_t has, size_t most,
                    struct mc_err *err)
{
    return mc_fail(err, MC_EFORMAT, "%s '%s': %zu %s, but what it stands for has %zu", n->op_type,
                   mc_node_label(n), has, what, most);
}

int mc_splice_node(struct mc_splice *s, struct mc_node *n, const struct mc_graph *from,
                   struct mc_value *const *in, size_t n_in, bool call, struct mc_err *err)
{
    char label[NAME / 2];
    size_t n_out = n->n_out, pos = n->pos;
    for (size_t i = from->n_inputs; i < n_in; i++)
        if (in[i])
            return too_many(n, "inputs", n_in, from->n_inputs, err);
    if (n_out > from->n_outputs)
        return too_many(n, "outputs", n_out, from->n_outputs, err);
    snprintf(label, sizeof label, "%s", call ? mc_node_label(n) : "");
    struct scope scope = {.from = from, .to = s->g, .prefix = label};
    if (call) {
        scope.call = n;
        scope.function = from->function;
    }
    struct mc_value **out = mc_calloc(n_out, sizeof *out);
    scope.map = mc_calloc(from->n_values, sizeof *scope.map);
    int rc = out && scope.map ? 0 : no_memory(err);
    if (!rc) {
        memcpy(out, n->out, n_out * sizeof *out);
        enter_values(scope.map, from, in, n_in, out, n_out);
        for (size_t i = 0; i < n_out; i++)
            if (out[i])
                out[i]->producer = NULL; /* the copies produce them now */
        n->n_out = 0;
        s->first[pos] = s->g->n_nodes;
        rc = copy_nodes(&scope, err);
    }
    if (!rc)
        rc = pass_on(&scope, n, out, n_out, err);
    if (!rc) {
        s->end[pos] = s->g->n_nodes;
        mc_edit_detach(n);
    }
    free(out);
    free(scope.map);
    return rc;
}

int mc_splice_end(struct mc_splice *s, int rc, struct mc_err *err)
{
    struct mc_graph *g = s->g;
    struct mc_node **order = rc ? NULL : mc_calloc(g->n_nodes, sizeof *order);
    size_t n = 0;
    if (!rc && !order)
        rc = no_memory(err);
    for (size_t i = 0; !rc && i < s->n_old; i++) {
        if (!s->end[i])
            order[n++] = g->nodes[i];
        for (size_t k = s->first[i]; k < s->end[i]; k++)
            order[n++] = g->nodes[k];
    }
    for (size_t i = 0; i < n; i++) {
        g->nodes[i] = order[i];
        order[i]->pos = i;
    }
    if (!rc)
        g->n_nodes = n;
    free(order);
    free(s->first);
    free(s->end);
    return rc;
}
