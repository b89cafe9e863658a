#include "passes/channels.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "graph/constant.h"

struct walk {
    struct mc_channels *c;
    const struct mc_node *n;
    int rc;
    struct mc_err *err;
};

/* ---- classes ---- */

int mc_channels_class(const struct mc_channels *c, int atom)
{
    while (c->classes[atom].parent != atom)
        atom = c->classes[atom].parent;
    return atom;
}

static int new_atom(struct walk *w, int64_t size, const char *why)
{
    struct mc_channels *c = w->c;
    if (c->n == c->cap) {
        int cap = c->cap ? 2 * c->cap : 256;
        struct mc_class *more = mc_realloc(c->classes, (size_t)cap, sizeof *more);
        if (!more) {
            w->rc = mc_fail(w->err, MC_ENOMEM, "out of memory");
            return 0;
        }
        c->classes = more;
        c->cap = cap;
    }
    c->classes[c->n] = (struct mc_class){.parent = c->n, .size = size, .why = why};
    return c->n++;
}

static void fix(struct mc_channels *c, int atom, const char *why)
{
    struct mc_class *k = &c->classes[mc_channels_class(c, atom)];
    if (!k->why)
        k->why = why;
}

static void fix_axis(struct mc_channels *c, const struct mc_axis *a, const char *why)
{
    for (int i = 0; i < a->n; i++)
        fix(c, a->atom[i], why);
}

static void join(struct mc_channels *c, int a, int b)
{
    a = mc_channels_class(c, a);
    b = mc_channels_class(c, b);
    if (a == b)
        return;
    int low = a < b ? a : b, high = a < b ? b : a;
    if (!c->classes[low].why)
        c->classes[low].why = c->classes[high].why;
    c->classes[high].parent = low;
    c->classes[low].leaf = false;
}

static int64_t size_of(const struct mc_channels *c, int atom)
{
    return c->classes[mc_channels_class(c, atom)].size;
}

/* Axes are the same from here on. That of a constant that only this node reads takes the other's parts. */
static void same(struct walk *w, struct mc_axis *a, struct mc_axis *b)
{
    struct mc_channels *c = w->c;
    bool equal = a->n == b->n;
    for (int i = 0; i < a->n && equal; i++)
        equal = size_of(c, a->atom[i]) == size_of(c, b->atom[i]);
    if (equal) {
        for (int i = 0; i < a->n; i++)
            join(c, a->atom[i], b->atom[i]);
        return;
    }
    struct mc_axis *lone = a->n == 1 ? a : b, *parts = lone == a ? b : a;
    const struct mc_class *k = lone->n == 1 ? &c->classes[lone->atom[0]] : NULL;
    if (k && k->leaf) {
        *lone = *parts;
        return;
    }
    fix_axis(c, a, "an axis is cut in different ways");
    fix_axis(c, b, "an axis is cut in different ways");
}

/* ---- values ---- */

const struct mc_axis *mc_channels_axes(const struct mc_channels *c, const struct mc_value *v)
{
    return v ? c->axes[v->index] : NULL;
}

/* Axes of an input; those of a constant are made when it is first met. NULL: rank not known. */
static struct mc_axis *axes_of(struct walk *w, const struct mc_value *v)
{
    struct mc_channels *c = w->c;
    const struct mc_vtype *t = v ? mc_infer_of(c->inf, v) : NULL;
    if (!t || !t->ranked || w->rc)
        return NULL;
    if (c->axes[v->index])
        return c->axes[v->index];
    struct mc_axis *a = mc_arena_array(&c->mem, (size_t)t->shape.rank + 1, sizeof *a);
    if (!a) {
        w->rc = mc_fail(w->err, MC_ENOMEM, "out of memory");
        return NULL;
    }
    bool leaf = v->n_uses == 1 && !v->is_output && mc_constant(v);
    for (int i = 0; i < t->shape.rank && !w->rc; i++)
        if (t->shape.dim[i] != 1) {
            a[i].n = 1;
            a[i].atom[0] = new_atom(w, t->shape.dim[i],
                                    t->shape.dim[i] < 0 ? "its length is not known" : NULL);
            if (!w->rc)
                c->classes[a[i].atom[0]].leaf = leaf;
        }
    c->axes[v->index] = a;
    return a;
}

static int rank_of(const struct walk *w, const struct mc_value *v)
{
    return mc_infer_of(w->c->inf, v)->shape.rank;
}

static void fix_value(struct walk *w, const struct mc_value *v, const char *why)
{
    struct mc_axis *a = axes_of(w, v);
    for (int i = 0; a && i < rank_of(w, v); i++)
        fix_axis(w->c, &a[i], why);
}

static void fix_node(struct walk *w, const char *why)
{
    for (size_t i = 0; i < w->n->n_in; i++)
        if (w->n->in[i])
            fix_value(w, w->n->in[i], why);
    for (size_t i = 0; i < w->n->n_out; i++)
        if (w->n->out[i])
            fix_value(w, w->n->out[i], why);
}

/* Output 0 has the axes of v. */
static void like(struct walk *w, const struct mc_value *v)
{
    struct mc_axis *a = axes_of(w, v), *y = axes_of(w, w->n->out[0]);
    if (!a || !y || rank_of(w, v) != rank_of(w, w->n->out[0])) {
        fix_node(w, "a rank is not known");
        return;
    }
    for (int i = 0; i < rank_of(w, v); i++)
        y[i] = a[i];
}

/* ---- operators ---- */

static void elementwise(struct walk *w)
{
    const struct mc_node *n = w->n;
    struct mc_axis *y = axes_of(w, n->out[0]);
    int rank = y ? rank_of(w, n->out[0]) : 0;
    for (int i = 0; i < rank; i++)
        y[i].n = 0;
    for (size_t k = 0; k < n->n_in && y; k++) {
        struct mc_axis *a = axes_of(w, n->in[k]);
        if (!n->in[k])
            continue;
        if (!a) {
            fix_node(w, "a rank is not known");
            return;
        }
        int r = rank_of(w, n->in[k]);
        for (int i = 0; i < r; i++) {
            struct mc_axis *at = &y[rank - r + i];
            if (!a[i].n)
                continue;
            if (!at->n)
                *at = a[i];
            else
                same(w, at, &a[i]);
        }
    }
}

static void first_input(struct walk *w)
{
    like(w, w->n->in[0]);
}

/* x [N,C,…], w [M,C/g,…] or, transposed, [C,M/g,…], b [M]. */
static void convolution(struct walk *w)
{
    const struct mc_node *n = w->n;
    bool transposed = mc_node_is(n, "ConvTranspose");
    int64_t group = mc_node_int(n, "group", 1);
    struct mc_axis *x = axes_of(w, n->in[0]), *k = axes_of(w, n->in[1]), *y = axes_of(w, n->out[0]);
    struct mc_axis *b = n->n_in > 2 ? axes_of(w, n->in[2]) : NULL;
    if (!x || !k || !y) {
        fix_node(w, "a rank is not known");
        return;
    }
    y[0] = x[0];
    const struct mc_shape *ks = &mc_infer_of(w->c->inf, n->in[1])->shape;
    for (int i = 2; i < ks->rank; i++) {
        fix_axis(w->c, &k[i], "an axis of space");
        fix_axis(w->c, &x[i], "an axis of space");
        fix_axis(w->c, &y[i], "an axis of space");
    }
    if (group == 1) {
        same(w, &x[1], &k[transposed ? 0 : 1]);
        y[1] = k[transposed ? 1 : 0];
    } else if (!transposed && ks->dim[1] == 1 && ks->dim[0] == group) { /* depthwise */
        same(w, &x[1], &k[0]);
        y[1] = k[0];
    } else {
        fix_node(w, "a grouped convolution");
    }
    if (b)
        same(w, &b[0], &y[1]);
}

static void gemm(struct walk *w)
{
    const struct mc_node *n = w->n;
    bool ta = mc_node_int(n, "transA", 0), tb = mc_node_int(n, "transB", 0);
    struct mc_axis *a = axes_of(w, n->in[0]), *b = axes_of(w, n->in[1]), *y = axes_of(w, n->out[0]);
    if (!a || !b || !y) {
        fix_node(w, "a rank is not known");
        return;
    }
    same(w, &a[!ta], &b[tb]);
    y[0] = a[ta];
    y[1] = b[!tb];
    struct mc_axis *c = n->n_in > 2 ? axes_of(w, n->in[2]) : NULL;
    int rank = c ? rank_of(w, n->in[2]) : 0;
    for (int i = 0; i < rank; i++)
        if (c[i].n)
            same(w, &c[i], &y[2 - rank + i]);
}

static void matmul(struct walk *w)
{
    const struct mc_node *n = w->n;
    struct mc_axis *a = axes_of(w, n->in[0]), *b = axes_of(w, n->in[1]), *y = axes_of(w, n->out[0]);
    if (!a || !b || !y || rank_of(w, n->in[0]) < 2 || rank_of(w, n->in[1]) < 2) {
        fix_node(w, "a rank is not known, or is 1");
        return;
    }
    int ra = rank_of(w, n->in[0]), rb = rank_of(w, n->in[1]), ry = rank_of(w, n->out[0]);
    same(w, &a[ra - 1], &b[rb - 2]);
    for (int i = 0; i < ry - 2; i++)
        y[i].n = 0;
    for (int i = 0; i < ra - 2; i++)
        y[ry - ra + i] = a[i];
    for (int i = 0; i < rb - 2; i++) {
        struct mc_axis *at = &y[ry - rb + i];
        if (b[i].n && at->n)
            same(w, at, &b[i]);
        else if (b[i].n)
            *at = b[i];
    }
    y[ry - 2] = a[ra - 2];
    y[ry - 1] = b[rb - 1];
}

/* Scale, shift and statistics go with one axis of x, or with its last ones. */
static void norm(struct walk *w)
{
    const struct mc_node *n = w->n;
    bool last = mc_node_is(n, "LayerNormalization") || mc_node_is(n, "RMSNormalization");
    struct mc_axis *x = axes_of(w, n->in[0]);
    if (!x) {
        fix_node(w, "a rank is not known");
        return;
    }
    int rank = rank_of(w, n->in[0]);
    for (size_t k = 1; k < n->n_in; k++) {
        struct mc_axis *a = axes_of(w, n->in[k]);
        int r = a ? rank_of(w, n->in[k]) : 0;
        for (int i = 0; i < r; i++)
            if (a[i].n)
                same(w, &a[i], &x[last ? rank - r + i : 1]);
    }
    like(w, n->in[0]);
}

static void pool(struct walk *w)
{
    const struct mc_node *n = w->n;
    struct mc_axis *x = axes_of(w, n->in[0]), *y = axes_of(w, n->out[0]);
    if (!x || !y) {
        fix_node(w, "a rank is not known");
        return;
    }
    y[0] = x[0];
    y[1] = x[1];
    for (int i = 2; i < rank_of(w, n->out[0]); i++) {
        fix_axis(w->c, &x[i], "an axis of space");
        fix_axis(w->c, &y[i], "an axis of space");
    }
    for (size_t k = 1; k < n->n_out; k++)
        if (n->out[k])
            fix_value(w, n->out[k], "positions are counted in it");
}

static void softmax(struct walk *w)
{
    struct mc_axis *x = axes_of(w, w->n->in[0]);
    int rank = x ? rank_of(w, w->n->in[0]) : 0;
    int axis = mc_shape_axis(mc_node_int(w->n, "axis", w->n->version < 13 ? 1 : -1), rank);
    for (int i = axis < 0 ? 0 : axis; i < rank; i++)
        fix_axis(w->c, &x[i], "a Softmax goes over it");
    like(w, w->n->in[0]);
}

static void transpose(struct walk *w)
{
    const struct mc_node *n = w->n;
    struct mc_axis *x = axes_of(w, n->in[0]), *y = axes_of(w, n->out[0]);
    size_t count;
    const int64_t *perm = mc_node_ints(n, "perm", &count);
    if (!x || !y) {
        fix_node(w, "a rank is not known");
        return;
    }
    int rank = rank_of(w, n->in[0]);
    for (int i = 0; i < rank; i++)
        y[i] = x[perm ? perm[i] : rank - 1 - i];
}

/* Reductions: axes that stay, by length. */
static void reduction(struct walk *w)
{
    const struct mc_node *n = w->n;
    struct mc_axis *x = axes_of(w, n->in[0]), *y = axes_of(w, n->out[0]);
    int64_t axes[MC_RANK_MAX];
    size_t count;
    const int64_t *given = mc_node_ints(n, "axes", &count);
    int n_axes = given ? (int)count : -1;
    for (int i = 0; i < n_axes && i < MC_RANK_MAX; i++)
        axes[i] = given[i];
    if (n_axes < 0 && n->n_in > 1)
        n_axes = mc_constant_ints(n->in[1], axes, MC_RANK_MAX);
    if (!x || !y || n_axes < 0 || n_axes > MC_RANK_MAX) {
        fix_node(w, "axes of a reduction are not known");
        return;
    }
    bool gone[MC_RANK_MAX] = {false}, keep = mc_node_int(n, "keepdims", 1);
    int rank = rank_of(w, n->in[0]), to = 0;
    for (int i = 0; i < n_axes; i++) {
        int at = mc_shape_axis(axes[i], rank);
        if (at >= 0)
            gone[at] = true;
    }
    for (int i = 0; i < rank; i++) {
        if (gone[i] && keep)
            y[to++].n = 0;
        else if (!gone[i])
            y[to++] = x[i];
    }
}

/* Where the shape of a Reshape comes from constants one can write to: one vector, or a Concat of them. */
static bool shape_is_editable(const struct mc_node *n)
{
    const struct mc_value *s = n->n_in > 1 ? n->in[1] : NULL;
    int64_t one[MC_RANK_MAX];
    if (!s || mc_constant_ints(s, one, MC_RANK_MAX) >= 0)
        return true;
    return s->producer && mc_node_is(s->producer, "Concat");
}

/* Hand the atoms of x on to the axes of y, in order, as many as each holds. */
static void reshape(struct walk *w)
{
    const struct mc_node *n = w->n;
    struct mc_axis *x = axes_of(w, n->in[0]), *y = axes_of(w, n->out[0]);
    int atom[MC_RANK_MAX * MC_AXIS_ATOMS], n_atoms = 0, at = 0;
    if (!x || !y) {
        fix_node(w, "a rank is not known");
        return;
    }
    for (int i = 0; i < rank_of(w, n->in[0]); i++)
        for (int k = 0; k < x[i].n; k++)
            atom[n_atoms++] = x[i].atom[k];
    const struct mc_shape *s = &mc_infer_of(w->c->inf, n->out[0])->shape;
    for (int i = 0; i < s->rank; i++) {
        struct mc_axis a = {0};
        int64_t held = 1, want = s->dim[i];
        while (want != 1 && held != want && at < n_atoms && a.n < MC_AXIS_ATOMS) {
            int64_t size = size_of(w->c, atom[at]);
            held = size < 0 || held < 0 ? (held == 1 ? size : 0) : held * size;
            a.atom[a.n++] = atom[at++];
            if (!held || (want > 0 && held > want) || (held < 0 && held != want))
                break;
        }
        if (held != want) {
            for (int k = 0; k < n_atoms; k++)
                fix(w->c, atom[k], "a Reshape cuts it up");
            fix_value(w, n->out[0], "a Reshape cut it out");
            return;
        }
        y[i] = a;
    }
    if (!shape_is_editable(n))
        fix_node(w, "the shape of a Reshape is computed");
}

static const struct {
    const char *names; /* separated and closed by blanks */
    void (*walk)(struct walk *w);
} kinds[] = {
    {" Relu LeakyRelu Sigmoid Tanh Elu Selu Celu Gelu HardSigmoid HardSwish Softplus Softsign Mish "
     "Swish Erf "
     "Exp Log Sqrt Neg Abs Reciprocal Clip Cast Identity Dropout ThresholdedRelu Floor Ceil Round "
     "Sign ",
     first_input},
    {" Add Sub Mul Div Pow Min Max Sum Mean PRelu Where ", elementwise},
    {" Conv ConvTranspose ", convolution},
    {" Gemm ", gemm},
    {" MatMul ", matmul},
    {" BatchNormalization LayerNormalization RMSNormalization InstanceNormalization ", norm},
    {" MaxPool AveragePool GlobalAveragePool GlobalMaxPool ", pool},
    {" Softmax LogSoftmax ", softmax},
    {" Transpose ", transpose},
    {" ReduceMean ReduceSum ReduceMax ReduceMin ReduceL2 ", reduction},
    {" Reshape Flatten Squeeze Unsqueeze ", reshape},
};

static void look_at(struct walk *w)
{
    char word[64];
    size_t length = strlen(w->n->op_type);
    bool body = false;
    for (size_t k = 0; k < w->n->n_attr; k++)
        body |= w->n->attr[k].graphs != NULL;
    if (mc_node_is(w->n, "Shape") || mc_node_is(w->n, "Constant"))
        return; /* what they give are numbers, which have no channels */
    if (!w->n->domain[0] && !body && length + 3 < sizeof word && w->n->n_in && w->n->out[0]) {
        word[0] = ' ';
        memcpy(word + 1, w->n->op_type, length);
        memcpy(word + 1 + length, " ", 2);
        for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
            if (strstr(kinds[i].names, word)) {
                kinds[i].walk(w);
                return;
            }
    }
    char why[256];
    snprintf(why, sizeof why, "%s '%s' cannot lose channels", w->n->op_type, mc_node_label(w->n));
    const char *kept = mc_arena_strdup(&w->c->mem, why);
    fix_node(w, kept ? kept : "an operator that cannot lose channels");
}

int mc_channels_find(const struct mc_graph *g, const struct mc_infer *inf, struct mc_channels *ret,
                     struct mc_err *err)
{
    struct mc_channels c = {.g = g, .inf = inf};
    struct walk w = {.c = &c, .err = err};
    c.axes = mc_arena_array(&c.mem, g->n_values + 1, sizeof *c.axes);
    if (!c.axes)
        w.rc = mc_fail(err, MC_ENOMEM, "out of memory");
    for (size_t i = 0; i < g->n_inputs && !w.rc; i++)
        if (!g->inputs[i]->tensor)
            fix_value(&w, g->inputs[i], "an axis of an input");
    for (size_t i = 0; i < g->n_nodes && !w.rc; i++) {
        w.n = g->nodes[i];
        look_at(&w);
    }
    for (size_t i = 0; i < g->n_outputs && !w.rc; i++)
        fix_value(&w, g->outputs[i], "an axis of an output");
    for (size_t i = 0; i < g->n_values && !w.rc; i++) /* values that bodies read */
        for (size_t k = 0; g->values[i] && k < g->values[i]->n_uses; k++)
            if (g->values[i]->uses[k].slot < 0)
                fix_value(&w, g->values[i], "a body of a node reads it");
    if (w.rc)
        mc_channels_free(&c);
    else
        *ret = c;
    return w.rc;
}

void mc_channels_free(struct mc_channels *c)
{
    free(c->classes);
    mc_arena_free(&c->mem);
    *c = (struct mc_channels){0};
}
