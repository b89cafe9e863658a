/* Operators that are another one with its inputs in other places: of 8-bit numbers, with an activation or a bias behind. The
 * rule of that other one walks a copy of the node. */
#include <string.h>

#include "graph/edit.h"
#include "passes/couple/couple_state.h"
#include "passes/couple/couple_table.h"

static const char stays[] = "a scale of quantisation stays";

enum { NO = -1, MOST = 3, STEP = 3 };

static const struct form {
    const char *domain, *name, *as;
    int in
        [MOST]; /* inputs of the other operator; NO: none. All three NO: first, and every third behind it */
    int first;    /* there */
    int scale[2]; /* one or more numbers for each column that comes out: scales and zero points */
    int bias;     /* added to the columns, where the other operator has none */
    int added;    /* of the shape of the result */
    int channels; /* axis of the result that columns are: 1, or -1: the last */
    bool dynamic; /* the input is quantised by its own range */
} forms[] = {
    {"", "QLinearConv", "Conv", {0, 3, 8}, NO, {4, 5}, NO, NO, 1, false},
    {"", "ConvInteger", "Conv", {0, 1, NO}, NO, {3, NO}, NO, NO, 1, false},
    {"", "QLinearMatMul", "MatMul", {0, 3, NO}, NO, {4, 5}, NO, NO, -1, false},
    {"", "MatMulInteger", "MatMul", {0, 1, NO}, NO, {3, NO}, NO, NO, -1, false},
    {"com.microsoft", "MatMulIntegerToFloat", "MatMul", {0, 1, NO}, NO, {3, 5}, 6, NO, -1, false},
    {"com.microsoft", "DynamicQuantizeMatMul", "MatMul", {0, 1, NO}, NO, {2, 3}, 4, NO, -1, true},
    {"com.microsoft", "QGemm", "Gemm", {0, 3, 6}, NO, {4, 5}, NO, NO, -1, false},
    {"com.microsoft", "FusedConv", "Conv", {0, 1, 2}, NO, {NO, NO}, NO, 3, 1, false},
    {"com.microsoft", "FusedGemm", "Gemm", {0, 1, 2}, NO, {NO, NO}, NO, NO, -1, false},
    {"com.microsoft", "BiasGelu", "Add", {0, 1, NO}, NO, {NO, NO}, NO, NO, -1, false},
    {"com.microsoft", "FastGelu", "Add", {0, 1, NO}, NO, {NO, NO}, NO, NO, -1, false},
    {"", "SwiGLU", "Mul", {0, 1, NO}, NO, {NO, NO}, NO, NO, -1, false},
    {"com.microsoft", "QLinearAdd", "Add", {0, 3, NO}, NO, {NO, NO}, NO, NO, -1, false},
    {"com.microsoft", "QLinearMul", "Mul", {0, 3, NO}, NO, {NO, NO}, NO, NO, -1, false},
    {"com.microsoft", "QLinearSigmoid", "Sigmoid", {0, NO, NO}, NO, {NO, NO}, NO, NO, -1, false},
    {"com.microsoft",
     "QLinearLeakyRelu",
     "LeakyRelu",
     {0, NO, NO},
     NO,
     {NO, NO},
     NO,
     NO,
     -1,
     false},
    {"com.microsoft",
     "QLinearAveragePool",
     "AveragePool",
     {0, NO, NO},
     NO,
     {NO, NO},
     NO,
     NO,
     1,
     false},
    {"com.microsoft",
     "QLinearGlobalAveragePool",
     "GlobalAveragePool",
     {0, NO, NO},
     NO,
     {NO, NO},
     NO,
     NO,
     1,
     false},
    {"com.microsoft", "QLinearSoftmax", "Softmax", {0, NO, NO}, NO, {NO, NO}, NO, NO, -1, false},
    {"com.microsoft", "QLinearWhere", "Where", {0, 1, 4}, NO, {NO, NO}, NO, NO, -1, false},
    {"com.microsoft", "QLinearConcat", "Concat", {NO, NO, NO}, 2, {NO, NO}, NO, NO, -1, false},
};

static const struct form *form_of(const struct mc_node *n)
{
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++)
        if (!strcmp(forms[i].name, n->op_type) && !strcmp(forms[i].domain, n->domain))
            return &forms[i];
    return NULL;
}

/* The node as the other operator, in the arena: units remember it. in: room for n->n_in inputs. */
static void other_of(const struct mc_node *n, const struct form *f, struct mc_value **in,
                     struct mc_node *ret)
{
    *ret = *n;
    ret->op_type = f->as;
    ret->domain = "";
    if (mc_node_int(n, "opset", 0) > 0)
        ret->version = (int)mc_node_int(n, "opset", 0);
    else if (n->domain[0])
        ret->version = (int)mc_graph_opset(n->graph, "");
    ret->in = in;
    ret->n_in = 0;
    for (size_t i = f->first < 0 ? n->n_in : (size_t)f->first; i < n->n_in; i += STEP)
        in[ret->n_in++] = n->in[i];
    for (int i = 0; i < MOST; i++)
        if (f->in[i] != NO && (size_t)f->in[i] < n->n_in)
            in[ret->n_in++] = n->in[f->in[i]];
    while (ret->n_in && !in[ret->n_in - 1])
        ret->n_in--;
}

/* Numbers of input i: one for all, or one for each column. */
static void along(struct mc_couple *w, int i, const struct mc_units *u, int64_t n)
{
    const struct mc_value *p = i != NO && (size_t)i < w->n->n_in ? w->n->in[i] : NULL;
    const struct mc_shape *s = mc_couple_shape(w, p);
    if (p && !s)
        mc_couple_hold(w, u, stays);
    for (int d = 0; s && d < s->rank; d++)
        if (s->dim[d] != 1) {
            mc_couple_meet(w, p, d, s->dim[d] == n && d == s->rank - 1 ? u : NULL, stays);
            mc_couple_role(w, p, d, MC_ROLE_ALONG);
        }
}

/* What goes along with the columns, once the other operator has made them. */
static void follow(struct mc_couple *w, const struct form *f)
{
    const struct mc_node *n = w->n;
    const struct mc_shape *y = mc_couple_shape(w, n->out[0]);
    const struct mc_shape *x = mc_couple_shape(w, n->in[0]);
    if (!y || !x || !y->rank)
        return;
    int axis = f->channels < 0 ? y->rank - 1 : 1;
    const struct mc_units *u = mc_couple_axis(w, n->out[0], axis);
    for (int i = 0; i < 2; i++)
        along(w, f->scale[i], u, y->dim[axis]);
    along(w, f->bias, u, y->dim[axis]);
    if (f->added != NO && (size_t)f->added < n->n_in && n->in[f->added])
        for (int d = 0; d < y->rank; d++)
            mc_couple_meet(w, n->in[f->added], d, mc_couple_axis(w, n->out[0], d),
                           "what it is added to stays");
    for (int d = 0; f->dynamic && d < x->rank; d++)
        mc_couple_inexact(w, mc_couple_axis(w, n->in[0], d));
}

/* Does every input that has no place above hold one number, as scales of a whole tensor do? */
static bool is_plain(const struct mc_couple *w, const struct form *f)
{
    const struct mc_node *n = w->n;
    for (size_t i = 0; i < n->n_in; i++) {
        int k = (int)i;
        bool has = k == f->scale[0] || k == f->scale[1] || k == f->bias || k == f->added ||
                   (f->first != NO && k >= f->first && (k - f->first) % STEP == 0);
        for (int j = 0; j < MOST; j++)
            has = has || k == f->in[j];
        const struct mc_shape *s = mc_couple_shape(w, n->in[i]);
        if (!has && n->in[i] && (!s || mc_shape_count(s) != 1))
            return false;
    }
    return true;
}

static void walk(struct mc_couple *w)
{
    const struct mc_node *n = w->n;
    const struct form *f = form_of(n);
    struct mc_node *other = mc_arena_alloc(&w->c->mem, sizeof *other);
    struct mc_value **in = mc_arena_array(&w->c->mem, n->n_in + 1, sizeof *in);
    if (!other || !in) {
        w->rc = mc_fail(w->err, MC_ENOMEM, "out of memory");
        return;
    }
    other_of(n, f, in, other);
    const struct mc_couple_rule *rule = mc_couple_rule_of(other);
    if (!rule || !is_plain(w, f) || mc_node_int(n, "channels_last", 0)) {
        mc_couple_hold_node(w, rule ? "its rows have scales of their own, or its channels lie last"
                                    : "nobody described the operator");
        return;
    }
    w->n = other;
    rule->walk(w);
    w->n = n;
    follow(w, f);
}

static int cut(struct mc_cutting *k, struct mc_node *n, struct mc_err *err)
{
    struct mc_node other;
    struct mc_value **in = mc_arena_array(&k->m->arena, n->n_in + 1, sizeof *in);
    if (!in)
        return mc_fail(err, MC_ENOMEM, "out of memory");
    other_of(n, form_of(n), in, &other);
    const struct mc_couple_rule *rule = mc_couple_rule_of(&other);
    int rc = rule && rule->cut ? rule->cut(k, &other, err) : 0;
    n->attr = other.attr; /* group */
    n->n_attr = other.n_attr;
    return rc;
}

const struct mc_couple_rule mc_couple_alike[] = {
    {"", " QLinearConv ConvInteger QLinearMatMul MatMulInteger SwiGLU ", walk, cut},
    {"com.microsoft",
     " MatMulIntegerToFloat DynamicQuantizeMatMul QGemm FusedConv FusedGemm BiasGelu FastGelu "
     "QLinearAdd "
     "QLinearMul QLinearSigmoid QLinearLeakyRelu QLinearAveragePool QLinearGlobalAveragePool "
     "QLinearSoftmax QLinearWhere QLinearConcat ",
     walk, cut},
    {0},
};
