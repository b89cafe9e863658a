#include "graph/grad/activation_join.h"

#include <math.h>
#include <stdio.h>

#include "graph/constant.h"
#include "graph/dtype.h"
#include "graph/edit.h"

enum { LEAVES = 6, NODES = 24 };

/* A product taken apart: a number times leaves. What is between them is listed, consumers before producers. */
struct product {
    double factor;
    struct mc_value *leaf[LEAVES];
    int n;
};

struct match {
    struct mc_node *inner[NODES];
    int n;
    struct mc_value *x; /* the argument */
    const char *op, *approximate;
    int version;
    double alpha; /* of Swish; else 0 */
};

/* The same number, also where the file has rounded it to half precision. */
static bool is_near(double got, double want)
{
    return fabs(got - want) <= 5e-4 * fabs(want);
}

static bool number(const struct mc_value *v, double *ret)
{
    const struct mc_tensor *t = mc_constant(v);
    return t && mc_tensor_count(t) == 1 && t->shape.rank <= 1 &&
           mc_dtype_info((int)t->dtype)->kind == MC_KIND_FLOAT &&
           !mc_dtype_to_f64((int)t->dtype, t->data, ret, 1, NULL);
}

/* The node that makes v for one reader, or NULL. */
static struct mc_node *maker(const struct mc_value *v, const char *op)
{
    struct mc_node *n = v->producer;
    return n && v->n_uses == 1 && !v->is_output && n->n_out == 1 && mc_node_is(n, op) ? n : NULL;
}

static bool take(struct match *m, struct mc_node *n)
{
    if (!n || m->n == NODES)
        return false;
    m->inner[m->n++] = n;
    return true;
}

/* v = factor Π leaf, through products and quotients by numbers. */
static bool take_apart(struct match *m, struct mc_value *v, struct product *p)
{
    double c;
    struct mc_node *n = maker(v, "Mul"), *q = maker(v, "Div");
    if (number(v, &c)) {
        p->factor *= c;
        return true;
    }
    if (q && number(q->in[1], &c)) {
        p->factor /= c;
        return take(m, q) && take_apart(m, q->in[0], p);
    }
    if (n)
        return take(m, n) && take_apart(m, n->in[0], p) && take_apart(m, n->in[1], p);
    if (p->n == LEAVES)
        return false;
    p->leaf[p->n++] = v;
    return true;
}

/* v = c x; c is returned. */
static bool is_scaled(struct match *m, struct mc_value *v, const struct mc_value *x, double *ret)
{
    struct product p = {.factor = 1};
    if (v == x) {
        *ret = 1;
        return true;
    }
    bool apart = take_apart(m, v, &p);
    *ret = p.factor;
    return apart && p.n == 1 && p.leaf[0] == x;
}

/* v = a + b, and which of them is not `known` (a value), or not the number `c`. */
static struct mc_value *other_term(struct match *m, struct mc_value *v,
                                   const struct mc_value *known, double c)
{
    struct mc_node *n = maker(v, "Add");
    double got;
    if (!take(m, n))
        return NULL;
    for (int i = 0; i < 2; i++)
        if (known ? n->in[i] == known : number(n->in[i], &got) && is_near(got, c))
            return n->in[1 - i];
    return NULL;
}

/* v = 0.044715 x³ */
static bool is_cubic(struct match *m, struct mc_value *v, const struct mc_value *x)
{
    struct product p = {.factor = 1};
    double exponent;
    if (!take_apart(m, v, &p) || !is_near(p.factor, 0.044715))
        return false;
    if (p.n == 3)
        return p.leaf[0] == x && p.leaf[1] == x && p.leaf[2] == x;
    struct mc_node *n = p.n == 1 ? maker(p.leaf[0], "Pow") : NULL;
    return take(m, n) && n->in[0] == x && number(n->in[1], &exponent) && exponent == 3;
}

/* v = 1 + erf(x / √2), or 1 + tanh(√(2/π) (x + 0.044715 x³)) */
static bool is_gelu(struct match *m, struct mc_value *v, const struct mc_value *x)
{
    double c;
    struct product p = {.factor = 1};
    struct mc_value *f = other_term(m, v, NULL, 1), *cubic;
    struct mc_node *erf = f ? maker(f, "Erf") : NULL, *tanh_node = f ? maker(f, "Tanh") : NULL;
    m->op = "Gelu";
    m->version = 20;
    if (erf)
        return take(m, erf) && is_scaled(m, erf->in[0], x, &c) && is_near(c, 0.70710678118654752);
    m->approximate = "tanh";
    if (!take(m, tanh_node) || !take_apart(m, tanh_node->in[0], &p) || p.n != 1 ||
        !is_near(p.factor, 0.79788456080286536))
        return false;
    cubic = other_term(m, p.leaf[0], x, 0);
    return cubic && is_cubic(m, cubic, x);
}

/* v, which x is multiplied with, is σ(αx), a hard sigmoid of x, or tanh(softplus(x)). */
static bool is_gate(struct match *m, struct mc_value *v, const struct mc_value *x)
{
    struct mc_node *sigmoid = maker(v, "Sigmoid"), *hard = maker(v, "HardSigmoid"),
                   *outer = maker(v, "Tanh"),
                   *inner = outer ? maker(outer->in[0], "Softplus") : NULL;
    if (sigmoid) {
        m->op = "Swish";
        m->version = 24;
        return take(m, sigmoid) && is_scaled(m, sigmoid->in[0], x, &m->alpha);
    }
    if (hard) {
        m->op = "HardSwish";
        m->version = 14;
        return take(m, hard) && hard->in[0] == x &&
               is_near((double)mc_node_float(hard, "alpha", 0.2F), 1 / 6.0) &&
               is_near((double)mc_node_float(hard, "beta", 0.5F), 0.5);
    }
    m->op = "Mish";
    m->version = 18;
    return take(m, outer) && take(m, inner) && inner->in[0] == x;
}

static bool matches(struct mc_node *root, struct match *m)
{
    bool quotient = mc_node_is(root, "Div");
    double c;
    for (int i = 0; i < 2; i++) {
        struct product p = {.factor = 1};
        *m = (struct match){0};
        if (quotient && !number(root->in[1], &c))
            return false;
        p.factor = quotient ? 1 / c : 1;
        if (!take_apart(m, root->in[0], &p) || (!quotient && !take_apart(m, root->in[1], &p)) ||
            p.n != 2)
            return false;
        m->x = p.leaf[i];
        if (is_near(p.factor, 0.5) && is_gelu(m, p.leaf[1 - i], m->x))
            return true;
        if (p.factor == 1 && is_gate(m, p.leaf[1 - i], m->x))
            return true;
    }
    return false;
}

/* One node in root's place; *ret_pos: where it stands. */
static int join(struct mc_graph *g, struct mc_node *root, const struct match *m, size_t *ret_pos,
                struct mc_err *err)
{
    struct mc_value *y = root->out[0], *x = m->x;
    size_t pos = root->pos;
    struct mc_node *n;
    char name[200];
    snprintf(name, sizeof name, "%.150s.%s", mc_node_label(root), m->op);
    mc_edit_remove_node(root);
    int rc = mc_edit_node(g, pos, m->op, "", m->version, name, &x, 1, &y, 1, &n, err);
    if (!rc && m->approximate)
        rc = mc_edit_attr_string(n, "approximate", m->approximate, err);
    if (!rc && m->alpha != 0 && m->alpha != 1)
        rc = mc_edit_attr_float(n, "alpha", (float)m->alpha, err);
    for (int i = 0; i < m->n && !rc; i++)
        mc_edit_remove_node(m->inner[i]);
    *ret_pos = rc ? 0 : n->pos;
    return rc;
}

int mc_activation_join(struct mc_graph *g, size_t *ret_n, struct mc_err *err)
{
    size_t count = 0;
    int rc = 0;
    for (size_t i = g->n_nodes; i-- > 0 && !rc;) {
        struct match m;
        struct mc_node *n = g->nodes[i];
        if ((!mc_node_is(n, "Mul") && !mc_node_is(n, "Div")) || n->n_in != 2 || !n->in[0] ||
            !n->in[1] || n->n_out != 1 || !matches(n, &m))
            continue;
        rc = join(g, n, &m, &i, err);
        count += !rc;
    }
    if (ret_n)
        *ret_n = count;
    return rc;
}
