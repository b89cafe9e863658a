#include "graph/own/own_body.h"

#include <stdio.h>
#include <string.h>

#include "graph/edit.h"

enum { VALUES = 192, INPUTS = 16 };

struct mc_own_body {
    const struct mc_own *own;
    struct mc_graph *g;                   /* of the function in the making; NULL: f is looked at */
    const struct mc_function *f;          /* looked at */
    const struct mc_value *value[VALUES]; /* by their numbers */
    int n_values;
    size_t n_nodes;       /* so far */
    struct mc_node *node; /* made last, or looked at last */
    size_t n_attr, n_out; /* of it, so far */
    int version;          /* of the nodes made */
    bool differs;
    int rc;
    struct mc_err *err;
};

static bool done(const struct mc_own_body *b)
{
    return b->rc || b->differs;
}

static void no_memory(struct mc_own_body *b)
{
    if (!b->rc)
        b->rc = mc_fail(b->err, MC_ENOMEM, "out of memory for function %s", b->own->name);
}

static int keep(struct mc_own_body *b, const struct mc_value *v)
{
    if (b->n_values == VALUES) {
        b->rc = b->rc ? b->rc
                      : mc_fail(b->err, MC_EFAIL, "function %s has too many values", b->own->name);
        return MC_BODY_NONE;
    }
    b->value[b->n_values] = v;
    return b->n_values++;
}

static struct mc_value *fresh(struct mc_own_body *b)
{
    char name[16];
    snprintf(name, sizeof name, "x%d", b->n_values - b->own->n_in - b->own->n_tables);
    struct mc_value *v = mc_edit_value(b->g, name);
    if (!v)
        no_memory(b);
    return v;
}

int mc_body_in(struct mc_own_body *b, int i)
{
    (void)b;
    return i; /* inputs are the first values */
}

/* ---- nodes ---- */

/* All of the node looked at last was asked for. */
static void close_node(struct mc_own_body *b)
{
    if (!b->g && b->node && (b->node->n_attr != b->n_attr || b->node->n_out != b->n_out))
        b->differs = true;
    b->n_attr = 0;
    b->n_out = 1;
}

static void match_node(struct mc_own_body *b, const char *op, const int *in, size_t n_in)
{
    const struct mc_graph *g = b->f->body;
    if (b->n_nodes >= g->n_nodes) {
        b->differs = true;
        return;
    }
    b->node = g->nodes[b->n_nodes];
    const struct mc_node *n = b->node;
    bool same = mc_node_is(n, op) && n->version >= MC_OWN_OPSET && n->n_in == n_in &&
                n->n_out >= 1 && n->out[0] && !*n->overload;
    for (size_t i = 0; same && i < n_in; i++)
        same = n->in[i] == (in[i] < 0 ? NULL : b->value[in[i]]);
    b->differs |= !same;
}

int mc_body_node(struct mc_own_body *b, const char *op, const int *in, size_t n_in)
{
    if (done(b))
        return MC_BODY_NONE;
    close_node(b);
    if (!b->g) {
        match_node(b, op, in, n_in);
    } else {
        struct mc_value *v[INPUTS] = {0}, *out = fresh(b);
        for (size_t i = 0; i < n_in && i < INPUTS; i++)
            v[i] = in[i] < 0 ? NULL : (struct mc_value *)b->value[in[i]];
        if (!b->rc)
            b->rc = mc_edit_node(b->g, b->g->n_nodes, op, "", b->version, "", v, n_in, &out, 1,
                                 &b->node, b->err);
    }
    if (done(b))
        return MC_BODY_NONE;
    b->n_nodes++;
    return keep(b, b->node->out[0]);
}

int mc_body_more(struct mc_own_body *b, int i)
{
    if (done(b))
        return MC_BODY_NONE;
    b->n_out = (size_t)i + 1;
    if (b->g) {
        struct mc_value *v = fresh(b);
        if (!b->rc)
            b->rc = mc_edit_set_output(b->node, (size_t)i, v, b->err);
    } else if (b->node->n_out <= (size_t)i || !b->node->out[i]) {
        b->differs = true;
    }
    return done(b) ? MC_BODY_NONE : keep(b, b->node->out[i]);
}

/* ---- attributes ---- */

/* The attribute of the node looked at, if it has the type and is, or is not, a reference. */
static const struct mc_attr *look(struct mc_own_body *b, const char *name, enum mc_attr_type type,
                                  const char *ref)
{
    const struct mc_attr *a = done(b) ? NULL : mc_node_attr(b->node, name);
    b->n_attr++;
    if (a && a->type == type && (ref ? a->ref && !strcmp(a->ref, ref) : !a->ref))
        return a;
    b->differs = true;
    return NULL;
}

static void passed(struct mc_own_body *b, int rc)
{
    b->rc = b->rc ? b->rc : rc;
}

void mc_body_int(struct mc_own_body *b, const char *name, int64_t v)
{
    if (done(b))
        return;
    if (b->g) {
        passed(b, mc_edit_attr_int(b->node, name, v, b->err));
        return;
    }
    const struct mc_attr *a = look(b, name, MC_ATTR_INT, NULL);
    b->differs |= !a || a->i != v;
}

void mc_body_float(struct mc_own_body *b, const char *name, float v)
{
    if (done(b))
        return;
    if (b->g) {
        passed(b, mc_edit_attr_float(b->node, name, v, b->err));
        return;
    }
    const struct mc_attr *a = look(b, name, MC_ATTR_FLOAT, NULL);
    b->differs |= !a || memcmp(&a->f, &v, sizeof v) != 0;
}

void mc_body_ints(struct mc_own_body *b, const char *name, const int64_t *v, size_t n)
{
    if (done(b))
        return;
    if (b->g) {
        passed(b, mc_edit_attr_ints(b->node, name, v, n, b->err));
        return;
    }
    const struct mc_attr *a = look(b, name, MC_ATTR_INTS, NULL);
    b->differs |= !a || a->n != n || (n && memcmp(a->ints, v, n * sizeof *v) != 0);
}

void mc_body_ref(struct mc_own_body *b, const char *name, enum mc_attr_type type, const char *from)
{
    if (done(b))
        return;
    if (!b->g) {
        look(b, name, type, from);
        return;
    }
    struct mc_attr *a = mc_edit_attr_new(b->node, name, type);
    const char *ref = a ? mc_arena_strdup(&b->g->model->arena, from) : NULL;
    if (!ref)
        no_memory(b);
    else
        a->ref = ref;
}

/* ---- constants ---- */

int mc_body_const(struct mc_own_body *b, const int64_t *v, size_t n)
{
    int c = mc_body_node(b, "Constant", NULL, 0);
    mc_body_ints(b, "value_ints", v, n);
    return c;
}

int mc_body_attr(struct mc_own_body *b, const char *from)
{
    int c = mc_body_node(b, "Constant", NULL, 0);
    mc_body_ref(b, "value_ints", MC_ATTR_INTS, from);
    return c;
}

int mc_body_tensor(struct mc_own_body *b, enum mc_dtype dtype, int rank, const int64_t *dims,
                   const void *data)
{
    struct mc_shape shape = mc_shape_of(rank, dims);
    int c = mc_body_node(b, "Constant", NULL, 0);
    size_t bytes;
    if (done(b) || !mc_dtype_bytes(dtype, mc_shape_count(&shape), &bytes))
        return MC_BODY_NONE;
    if (!b->g) {
        const struct mc_attr *a = look(b, "value", MC_ATTR_TENSOR, NULL);
        const struct mc_tensor *t = a && a->n == 1 ? a->tensors[0] : NULL;
        b->differs |= !t || t->dtype != dtype || !mc_shape_equal(&t->shape, &shape) ||
                      t->bytes != bytes || !t->data || memcmp(t->data, data, bytes) != 0;
        return c;
    }
    struct mc_tensor *t;
    void *content;
    b->rc = mc_tensor_new(dtype, &shape, NULL, &t, &content, b->err);
    if (b->rc)
        return MC_BODY_NONE;
    memcpy(content, data, bytes);
    b->rc = mc_edit_attr_tensor(b->node, "value", t, b->err);
    mc_tensor_unref(t);
    return c;
}

int mc_body_end(struct mc_own_body *b, int v)
{
    if (done(b))
        return b->rc;
    close_node(b);
    if (done(b))
        return b->rc;
    if (b->g)
        b->rc = mc_edit_output(b->g, (struct mc_value *)b->value[v], b->err);
    else
        b->differs |= b->f->body->n_nodes != b->n_nodes || b->f->body->n_outputs != 1 ||
                      b->f->body->outputs[0] != b->value[v];
    return b->rc;
}

/* ---- whole functions ---- */

static bool same_attrs(const struct mc_own *own, const struct mc_function *f)
{
    size_t n = 0;
    for (; own->attrs && own->attrs[n]; n++) {
        bool has = false;
        for (size_t i = 0; !has && i < f->n_attrs; i++)
            has = !strcmp(f->attrs[i], own->attrs[n]);
        if (!has)
            return false;
    }
    return f->n_attrs == n && !f->n_defaults;
}

bool mc_own_body_is(const struct mc_own *own, const struct mc_function *f)
{
    struct mc_err none;
    struct mc_own_body b = {.own = own, .f = f, .err = &none};
    const struct mc_graph *g = f->body;
    int n = own->n_in + own->n_tables;
    if (*f->overload || g->n_inputs != (size_t)n || g->n_inits || !same_attrs(own, f))
        return false;
    for (int i = 0; i < n; i++)
        keep(&b, g->inputs[i]);
    return !own->body(&b) && !b.differs;
}

int mc_own_body_build(const struct mc_own *own, struct mc_model *m, struct mc_err *err)
{
    struct mc_own_body b = {.own = own, .err = err};
    int opset = (int)mc_model_opset(m, "");
    struct mc_function *f = mc_edit_function(m, MC_OWN_DOMAIN, own->name, "");
    if (!f)
        return mc_fail(err, MC_ENOMEM, "out of memory for function %s", own->name);
    b.g = f->body;
    b.version = opset > MC_OWN_OPSET ? opset : MC_OWN_OPSET;
    b.rc = mc_edit_function_opset(f, "", opset ? opset : MC_OWN_OPSET, err);
    for (size_t i = 0; !b.rc && own->attrs && own->attrs[i]; i++)
        b.rc = mc_edit_function_attr(f, own->attrs[i], err);
    for (int i = 0; !b.rc && i < own->n_in + own->n_tables; i++) {
        struct mc_value *v = mc_edit_value(b.g, own->inputs[i]);
        if (!v)
            no_memory(&b);
        else
            b.rc = mc_edit_input(b.g, v, err);
        keep(&b, v);
    }
    return b.rc ? b.rc : own->body(&b);
}
