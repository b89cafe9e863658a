/* What rules call, and the table of rules. */
#include "graph/grad/rule.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "graph/constant.h"
#include "graph/edit.h"
#include "graph/grad/grad.h"
#include "graph/ops/rule_registry.h"

void mc_rule_zero(struct mc_grad *g, struct mc_node *n)
{
    (void)g;
    (void)n;
}

const struct mc_rule *mc_rule_lookup(const char *domain, const char *name, int version)
{
    const struct mc_rule *best = NULL;
    for (const struct mc_rule *const *f = mc_rule_families; *f; f++)
        for (const struct mc_rule *r = *f; r->name; r++)
            if (r->since <= version && (!best || r->since > best->since) &&
                strcmp(r->name, name) == 0 && strcmp(r->domain, domain) == 0)
                best = r;
    return best;
}

const struct mc_rule *mc_rule_find(const struct mc_node *n)
{
    return mc_rule_lookup(n->domain, n->op_type, n->version);
}

const struct mc_rule *mc_rule_at(size_t i)
{
    for (const struct mc_rule *const *f = mc_rule_families; *f; f++)
        for (const struct mc_rule *r = *f; r->name; r++)
            if (i-- == 0)
                return r;
    return NULL;
}

/* ---- what there is ---- */

static bool dead(const struct mc_grad *g)
{
    return g->rc || g->refused;
}

bool mc_grad_failed(const struct mc_grad *g)
{
    return dead(g);
}

struct mc_graph *mc_grad_graph(const struct mc_grad *g)
{
    return g->g;
}

struct mc_value *mc_grad_of(struct mc_grad *g, const struct mc_node *n, int i)
{
    if (dead(g) || (size_t)i >= n->n_out || !n->out[i] || n->out[i]->index >= g->n_values)
        return NULL;
    return g->sum[n->out[i]->index];
}

bool mc_grad_wants(const struct mc_grad *g, const struct mc_node *n, int i)
{
    if (dead(g) || (size_t)i >= n->n_in || !n->in[i])
        return false;
    return n->in[i]->index < g->n_values && g->depends[n->in[i]->index];
}

const struct mc_vtype *mc_grad_type(const struct mc_grad *g, const struct mc_value *v)
{
    static const struct mc_vtype nothing;
    return v && v->index < g->n_values ? mc_infer_of(g->inf, v) : &nothing;
}

int mc_grad_rank(const struct mc_grad *g, const struct mc_value *v)
{
    const struct mc_vtype *t = mc_grad_type(g, v);
    return t->ranked ? t->shape.rank : -1;
}

bool mc_grad_same_shape(const struct mc_grad *g, const struct mc_value *a, const struct mc_value *b)
{
    const struct mc_vtype *ta = mc_grad_type(g, a), *tb = mc_grad_type(g, b);
    if (!ta->ranked || !tb->ranked || ta->shape.rank != tb->shape.rank)
        return false;
    for (int i = 0; i < ta->shape.rank; i++) /* a symbol is a number below 0, the same for equals */
        if (ta->shape.dim[i] != tb->shape.dim[i] || ta->shape.dim[i] == MC_DIM_ANY)
            return false;
    return true;
}

const struct mc_tensor *mc_grad_known(const struct mc_grad *g, const struct mc_value *v)
{
    const struct mc_tensor *t = v ? mc_constant(v) : NULL;
    return t || !v ? t : mc_grad_type(g, v)->known;
}

int mc_grad_known_ints(const struct mc_grad *g, const struct mc_value *v, int64_t *ret, int max)
{
    int n = v ? mc_constant_ints(v, ret, max) : -1;
    const struct mc_vtype *t = mc_grad_type(g, v);
    if (n >= 0 || !v)
        return n;
    if (t->known && t->known->dtype == MC_DTYPE_I64 && mc_tensor_count(t->known) <= max) {
        memcpy(ret, t->known->data, t->known->bytes);
        return (int)mc_tensor_count(t->known);
    }
    if (!t->partial || t->partial->n > max)
        return -1;
    for (int i = 0; i < t->partial->n; i++) {
        if (t->partial->sym[i])
            return -1;
        ret[i] = t->partial->value[i];
    }
    return t->partial->n;
}

/* ---- what comes of it ---- */

const char *mc_grad_text(struct mc_grad *g, const struct mc_node *n, const char *what)
{
    char text[MC_ERR_MSG];
    snprintf(text, sizeof text, "%s '%s': %s", n->op_type, mc_node_label(n), what);
    return mc_arena_strdup(&g->g->model->arena, text);
}

static void out_of_memory(struct mc_grad *g)
{
    g->rc = mc_fail(g->err, MC_ENOMEM, "out of memory while making gradients");
}

void mc_grad_refuse(struct mc_grad *g, const struct mc_node *n, const char *fmt, ...)
{
    if (dead(g))
        return;
    char text[MC_ERR_MSG];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    g->stop[n->id] = mc_grad_text(g, n, text);
    if (!g->stop[n->id])
        out_of_memory(g);
    g->refused = true;
}

void mc_grad_fail(struct mc_grad *g, int code, const struct mc_node *n, const char *fmt, ...)
{
    if (dead(g))
        return;
    char text[MC_ERR_MSG];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    g->rc = mc_fail(g->err, code, "gradient of %s '%s': %s", n->op_type, mc_node_label(n), text);
}

void mc_grad_give(struct mc_grad *g, const struct mc_node *n, int i, struct mc_value *d)
{
    if (dead(g) || !d)
        return;
    struct mc_value **sum = &g->sum[n->in[i]->index];
    struct mc_value *all = *sum ? mc_emit(g, "Add", *sum, d) : d;
    *sum = all;
}

struct mc_value *mc_grad_output(struct mc_grad *g, struct mc_node *n, int i)
{
    if (dead(g))
        return NULL;
    if ((size_t)i < n->n_out && n->out[i])
        return n->out[i];
    char hint[64];
    snprintf(hint, sizeof hint, "grad%zu.%s", g->n_emitted++, n->op_type);
    struct mc_value *v = mc_edit_fresh(g->g, hint);
    if (!v)
        out_of_memory(g);
    else
        g->rc = mc_edit_set_output(n, (size_t)i, v, g->err);
    return g->rc ? NULL : v;
}

void mc_grad_replace(struct mc_grad *g, struct mc_node *n, const char *op)
{
    if (!dead(g))
        g->rc = mc_edit_op(n, MC_GRAD_DOMAIN, op, 1, g->err);
}

/* ---- emitting ---- */

struct mc_value *mc_grad_emit(struct mc_grad *g, const char *domain, const char *op,
                              struct mc_value *const *in, size_t n_in)
{
    if (dead(g))
        return NULL;
    char hint[96];
    snprintf(hint, sizeof hint, "grad%zu.%s", g->n_emitted++, op);
    struct mc_value *out = mc_edit_fresh(g->g, hint);
    while (n_in && !in[n_in - 1])
        n_in--;
    if (!out) {
        out_of_memory(g);
        return NULL;
    }
    g->rc = mc_edit_node(g->g, g->g->n_nodes, op, domain, domain[0] ? 1 : MC_GRAD_OPSET, hint, in,
                         n_in, &out, 1, &g->last, g->err);
    return g->rc ? NULL : out;
}

struct mc_value *mc_emit_output(struct mc_grad *g, int i)
{
    return dead(g) ? NULL : mc_grad_output(g, g->last, i);
}

void mc_emit_int(struct mc_grad *g, const char *name, int64_t v)
{
    if (!dead(g))
        g->rc = mc_edit_attr_int(g->last, name, v, g->err);
}

void mc_emit_ints(struct mc_grad *g, const char *name, const int64_t *v, size_t n)
{
    if (!dead(g))
        g->rc = mc_edit_attr_ints(g->last, name, v, n, g->err);
}

void mc_emit_float(struct mc_grad *g, const char *name, double v)
{
    if (!dead(g))
        g->rc = mc_edit_attr_float(g->last, name, (float)v, g->err);
}

void mc_emit_string(struct mc_grad *g, const char *name, const char *v)
{
    if (!dead(g))
        g->rc = mc_edit_attr_string(g->last, name, v, g->err);
}

/* The elements stay where they are: in the arena of the model. */
static void copy_list(struct mc_grad *g, const struct mc_attr *from)
{
    struct mc_attr *a = mc_edit_attr_new(g->last, from->name, from->type);
    if (!a) {
        out_of_memory(g);
        return;
    }
    a->n = from->n;
    a->floats = from->floats;
    a->strings = from->strings;
}

void mc_emit_copy(struct mc_grad *g, const struct mc_node *from, const char *name)
{
    const struct mc_attr *a = dead(g) ? NULL : mc_node_attr(from, name);
    if (!a)
        return;
    switch (a->type) {
    case MC_ATTR_INT: mc_emit_int(g, name, a->i); break;
    case MC_ATTR_FLOAT: mc_emit_float(g, name, (double)a->f); break;
    case MC_ATTR_STRING: mc_emit_string(g, name, (const char *)a->s.data); break;
    case MC_ATTR_INTS: mc_emit_ints(g, name, a->ints, a->n); break;
    case MC_ATTR_FLOATS:
    case MC_ATTR_STRINGS: copy_list(g, a); break;
    default: mc_grad_fail(g, MC_EUNSUP, from, "attribute '%s' cannot be copied", name);
    }
}

void mc_emit_version(struct mc_grad *g, int version)
{
    if (!dead(g))
        g->last->version = version;
}

/* ---- constants ---- */

static struct mc_value *constant(struct mc_grad *g, enum mc_dtype dtype, int rank, int64_t n,
                                 const void *data)
{
    struct mc_shape shape = {.rank = rank, .dim = {n}};
    struct mc_tensor *t = NULL;
    struct mc_value *v = NULL;
    void *bytes;
    if (dead(g))
        return NULL;
    g->rc = mc_tensor_new(dtype, &shape, NULL, &t, &bytes, g->err);
    if (g->rc)
        return NULL;
    if (t->bytes)
        memcpy(bytes, data, t->bytes);
    char hint[48];
    snprintf(hint, sizeof hint, "grad%zu.constant", g->n_emitted++);
    v = mc_edit_constant(g->g, hint, t);
    mc_tensor_unref(t);
    if (!v)
        out_of_memory(g);
    return v;
}

struct mc_value *mc_grad_ints(struct mc_grad *g, const int64_t *v, size_t n)
{
    return constant(g, MC_DTYPE_I64, 1, (int64_t)n, v);
}

struct mc_value *mc_grad_int(struct mc_grad *g, int64_t v)
{
    return constant(g, MC_DTYPE_I64, 0, 0, &v);
}

struct mc_value *mc_grad_scalar(struct mc_grad *g, const struct mc_value *like, double x)
{
    struct mc_shape shape = {0};
    struct mc_tensor *t = NULL;
    struct mc_value *v = NULL;
    if (dead(g))
        return NULL;
    float f = (float)x;
    enum mc_dtype dtype = mc_grad_type(g, like)->dtype;
    if (dtype == MC_DTYPE_F64)
        return constant(g, dtype, 0, 0, &x);
    g->rc = mc_constant_make(&f, &shape, dtype == MC_DTYPE_NONE ? MC_DTYPE_F32 : dtype, NULL, &t,
                             g->err);
    char hint[48];
    snprintf(hint, sizeof hint, "grad%zu.constant", g->n_emitted++);
    if (!g->rc && !(v = mc_edit_constant(g->g, hint, t)))
        out_of_memory(g);
    mc_tensor_unref(t);
    return v;
}

/* ---- shapes ---- */

struct mc_value *mc_grad_shape(struct mc_grad *g, struct mc_value *v)
{
    if (dead(g) || !v)
        return NULL;
    if (v->index >= g->n_shape) {
        size_t n = g->g->n_values + 64;
        struct mc_value **more = realloc(g->shape, n * sizeof *more);
        if (!more) {
            out_of_memory(g);
            return NULL;
        }
        memset(more + g->n_shape, 0, (n - g->n_shape) * sizeof *more);
        g->shape = more;
        g->n_shape = n;
    }
    size_t i = v->index;
    if (!g->shape[i]) {
        struct mc_node *last = g->last;
        struct mc_value *s = mc_emit(g, "Shape", v);
        g->shape[i] = s;
        g->last = last;
    }
    return g->shape[i];
}

struct mc_value *mc_grad_dim(struct mc_grad *g, struct mc_value *v, int i)
{
    int64_t at = i;
    struct mc_value *shape = mc_grad_shape(g, v), *index = mc_grad_ints(g, &at, 1);
    return mc_emit(g, "Gather", shape, index);
}

struct mc_value *mc_grad_sum_to(struct mc_grad *g, struct mc_value *d, const struct mc_value *from,
                                struct mc_value *like)
{
    if (dead(g) || !d || from == like || mc_grad_same_shape(g, from, like))
        return d;
    struct mc_value *shape = mc_grad_shape(g, like);
    return mc_emit_own(g, "SumTo", d, shape);
}

struct mc_value *mc_grad_reduce_sum(struct mc_grad *g, struct mc_value *d, const int64_t *axes,
                                    size_t n, bool keep)
{
    struct mc_value *a = mc_grad_ints(g, axes, n);
    struct mc_value *y = mc_emit(g, "ReduceSum", d, a);
    mc_emit_int(g, "keepdims", keep);
    return y;
}

struct mc_value *mc_grad_product(struct mc_grad *g, struct mc_value *a, bool ta, struct mc_value *b,
                                 bool tb, double alpha)
{
    struct mc_value *y = mc_emit_own(g, "MatMul", a, b);
    if (ta)
        mc_emit_int(g, "transA", 1);
    if (tb)
        mc_emit_int(g, "transB", 1);
    if (alpha != 1)
        mc_emit_float(g, "alpha", alpha);
    return y;
}

struct mc_value *mc_grad_reshape_as(struct mc_grad *g, struct mc_value *d, struct mc_value *v)
{
    struct mc_value *shape = mc_grad_shape(g, v), *y = mc_emit(g, "Reshape", d, shape);
    mc_emit_int(g, "allowzero", 1); /* a batch may be empty */
    return y;
}

struct mc_value *mc_grad_zeros(struct mc_grad *g, const struct mc_value *like,
                               struct mc_value *shape)
{
    struct mc_value *zero = mc_grad_scalar(g, like, 0);
    return mc_emit(g, "Expand", zero, shape);
}
