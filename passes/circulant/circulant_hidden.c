#include "passes/circulant/circulant_hidden.h"

#include <stdlib.h>
#include <string.h>

#include "graph/constant.h"
#include "graph/edit.h"

struct place { /* a value that has the units */
    const struct mc_value *v;
    int from_end; /* the axis they lie along, counted from the last (0) */
    int rank;     /* of v; 0: unknown */
    bool runs;    /* several positions a unit, side by side */
};

struct walk {
    struct mc_circulant_hidden *h;
    struct place *place;
    size_t n, cap;
    bool stuck;
    struct mc_err *err;
    int rc;
};

static const struct place *find(const struct walk *w, const struct mc_value *v)
{
    for (size_t i = 0; v && i < w->n; i++)
        if (w->place[i].v == v)
            return &w->place[i];
    return NULL;
}

static void no_memory(struct walk *w)
{
    w->rc = mc_fail(w->err, MC_ENOMEM, "out of memory");
}

static void reach(struct walk *w, const struct mc_value *v, int from_end, int rank, bool runs)
{
    if (!v || v->is_output) { /* its order is seen from outside */
        w->stuck = true;
        return;
    }
    for (size_t i = 0; i < v->n_uses; i++)
        if (v->uses[i].slot < 0 || v->uses[i].node->graph != v->graph)
            w->stuck = true;
    if (!MC_GROW(w->place, w->n, w->cap)) {
        no_memory(w);
        return;
    }
    w->place[w->n++] = (struct place){v, from_end, rank, runs};
}

/* A constant that nobody else reads, and which can be replaced. */
static bool own(const struct mc_value *v)
{
    bool there = v && (v->tensor || (v->producer && mc_node_is(v->producer, "Constant")));
    return there && v->n_uses == 1 && !v->is_output && !v->is_input && mc_constant(v) &&
           mc_constant(v)->dtype != MC_DTYPE_NONE;
}

static bool is_channel(const struct place *p)
{
    return p->rank > 1 && p->from_end == p->rank - 2;
}

static void take(struct walk *w, struct mc_value *v, int axis)
{
    struct mc_circulant_hidden *h = w->h;
    const struct mc_tensor *t = own(v) ? mc_constant(v) : NULL;
    if (!t || axis < 0 || axis >= t->shape.rank || t->shape.dim[axis] % h->m ||
        t->shape.dim[axis] == 0 || mc_dtype_info(t->dtype)->bits % 8) {
        w->stuck = true;
        return;
    }
    if (MC_GROW(h->axis, h->n, h->cap))
        h->axis[h->n++] = (struct mc_circulant_axis){v, axis};
    else
        no_memory(w);
}

/* One number for each unit, exactly. */
static void take_vector(struct walk *w, struct mc_value *v)
{
    if (!v || !mc_constant(v) || mc_tensor_count(mc_constant(v)) != w->h->m)
        w->stuck = true;
    else
        take(w, v, 0);
}

static bool is_any(const struct mc_node *n, const char *const *names)
{
    for (; *names; names++)
        if (mc_node_is(n, *names))
            return true;
    return false;
}

/* ---- operators ---- */

/* The other side of an element-wise operator with two. */
static void other_side(struct walk *w, const struct place *p, struct mc_value *v)
{
    const struct place *q = find(w, v);
    const struct mc_tensor *t = v ? mc_constant(v) : NULL;
    if (q)
        w->stuck = w->stuck || q->from_end != p->from_end || q->runs != p->runs;
    else if (!t)
        w->stuck = true;
    else if (mc_tensor_count(t) > 1) {
        int axis = t->shape.rank - 1 - p->from_end;
        if (p->runs || axis < 0 || (p->rank && t->shape.rank > p->rank) ||
            mc_tensor_count(t) != w->h->m || t->shape.dim[axis] != w->h->m)
            w->stuck = true;
        else
            take(w, v, axis);
    }
}

static void norm(struct walk *w, const struct mc_node *n, const struct place *p)
{
    w->stuck = w->stuck || n->in[0] != p->v || n->n_out != 1 || p->runs || !is_channel(p);
    for (size_t i = 1; !w->stuck && i < n->n_in; i++)
        take_vector(w, n->in[i]);
    reach(w, n->out[0], p->from_end, p->rank, false);
}

/* Consumers: the units are summed over. */
static void product(struct walk *w, const struct mc_node *n, const struct place *p)
{
    struct mc_value *weight = n->n_in > 1 ? n->in[1] : NULL;
    const struct mc_tensor *t = weight ? mc_constant(weight) : NULL;
    if (!t || n->in[0] != p->v || n->in[1] == p->v || t->shape.rank < 2) {
        w->stuck = true;
        return;
    }
    bool gemm = mc_node_is(n, "Gemm");
    int axis = gemm && mc_node_int(n, "transB", 0) ? 1 : 0;
    if (t->shape.rank != 2 || (gemm && mc_node_int(n, "transA", 0)) || p->from_end != 0 ||
        (!p->runs && t->shape.dim[axis] != w->h->m))
        w->stuck = true;
    else
        take(w, weight, axis);
}

/* Depthwise ones hand the channels on. */
static void convolution(struct walk *w, const struct mc_node *n, const struct place *p)
{
    struct mc_value *weight = n->n_in > 1 ? n->in[1] : NULL;
    const struct mc_tensor *t = weight ? mc_constant(weight) : NULL;
    int64_t groups = mc_node_int(n, "group", 1), m = w->h->m;
    if (!t || n->in[0] != p->v || !is_channel(p) || t->shape.rank < 3) {
        w->stuck = true;
    } else if (groups == 1 && t->shape.dim[1] == m) {
        take(w, weight, 1);
    } else if (groups == m && t->shape.dim[0] == m && t->shape.dim[1] == 1) {
        take(w, weight, 0);
        if (n->n_in > 2 && n->in[2])
            take_vector(w, n->in[2]);
        reach(w, n->out[0], p->from_end, p->rank, false);
    } else {
        w->stuck = true;
    }
}

/* [n, c, …] -> [n, c …]; also of [n, c]. */
static void flatten(struct walk *w, const struct mc_node *n, const struct place *p)
{
    bool fits = n->in[0] == p->v;
    if (mc_node_is(n, "Flatten")) {
        fits = fits && mc_node_int(n, "axis", 1) == 1;
    } else {
        int64_t shape[MC_RANK_MAX];
        int rank = n->n_in > 1 ? mc_constant_ints(n->in[1], shape, MC_RANK_MAX) : -1;
        fits = fits && rank == 2 && shape[0] == 0 && mc_node_int(n, "allowzero", 0) == 0;
    }
    if (fits && is_channel(p) && !p->runs)
        reach(w, n->out[0], 0, 2, p->rank > 2);
    else
        w->stuck = true;
}

static void visit(struct walk *w, const struct mc_node *n, const struct place *p)
{
    static const char *const unary[] = {
        "Relu",     "LeakyRelu", "Sigmoid",         "Tanh",        "Elu",     "Selu",
        "Celu",     "Gelu",      "HardSwish",       "HardSigmoid", "Mish",    "Softplus",
        "Softsign", "Erf",       "Identity",        "Abs",         "Exp",     "Neg",
        "Sqrt",     "Cast",      "ThresholdedRelu", "Clip",        "Dropout", NULL};
    static const char *const binary[] = {"Add", "Sub", "Mul", "Div", "PRelu",
                                         "Max", "Min", "Pow", NULL};
    static const char *const pools[] = {"MaxPool",           "AveragePool",   "LpPool",
                                        "GlobalAveragePool", "GlobalMaxPool", NULL};
    if (n->n_out < 1 || !n->out[0] || (n->n_out > 1 && n->out[1] && n->out[1]->n_uses)) {
        w->stuck = true;
    } else if (is_any(n, unary)) {
        for (size_t i = 1; i < n->n_in; i++)
            w->stuck = w->stuck || find(w, n->in[i]);
        reach(w, n->out[0], p->from_end, p->rank, p->runs);
    } else if (is_any(n, binary) && n->n_in == 2) {
        other_side(w, p, n->in[n->in[0] == p->v]);
        reach(w, n->out[0], p->from_end, p->rank, p->runs);
    } else if (is_any(n, pools) && is_channel(p)) {
        reach(w, n->out[0], p->from_end, p->rank, false);
    } else if (mc_node_is(n, "BatchNormalization")) {
        norm(w, n, p);
    } else if (mc_node_is(n, "Gemm") || mc_node_is(n, "MatMul")) {
        product(w, n, p);
    } else if (mc_node_is(n, "Conv")) {
        convolution(w, n, p);
    } else if (mc_node_is(n, "Flatten") || mc_node_is(n, "Reshape")) {
        flatten(w, n, p);
    } else {
        w->stuck = true;
    }
}

/* ---- the whole ---- */

static void start(struct walk *w, const struct mc_layer *l)
{
    const struct mc_node *n = l->sites[0].node;
    bool conv = l->kind == MC_LAYER_CONV;
    take(w, l->value, l->out_major ? 0 : l->weight->shape.rank - 1);
    if (conv && n->n_in > 2 && n->in[2])
        take_vector(w, n->in[2]);
    if (l->kind == MC_LAYER_GEMM && n->n_in > 2 && n->in[2]) {
        const struct mc_tensor *c = mc_constant(n->in[2]);
        if (!c || (mc_tensor_count(c) != 1 && mc_tensor_count(c) != l->m))
            w->stuck = true;
        else if (mc_tensor_count(c) > 1)
            take(w, n->in[2], c->shape.rank - 1);
    }
    int rank = conv ? l->weight->shape.rank : l->kind == MC_LAYER_GEMM ? 2 : 0;
    reach(w, n->out[0], conv ? rank - 2 : 0, rank, false);
}

int mc_circulant_hidden_find(const struct mc_layer *l, struct mc_circulant_hidden *ret,
                             bool *ret_free, struct mc_err *err)
{
    struct mc_circulant_hidden h = {.m = l->m};
    struct walk w = {.h = &h, .err = err};
    bool kind = l->kind == MC_LAYER_MATMUL || l->kind == MC_LAYER_GEMM || l->kind == MC_LAYER_CONV;
    if (kind && l->parts == 1 && l->n_sites == 1 && l->uses == 1 && !l->reason)
        start(&w, l);
    else
        w.stuck = true;
    const struct mc_node *first = l->sites[0].node;
    for (size_t i = first->pos + 1; !w.rc && !w.stuck && i < first->graph->n_nodes; i++) {
        const struct mc_node *n = first->graph->nodes[i];
        const struct place *p = NULL;
        for (size_t k = 0; !p && k < n->n_in; k++)
            p = find(&w, n->in[k]);
        if (p) {
            struct place copy = *p; /* the list may move */
            visit(&w, n, &copy);
        }
    }
    free(w.place);
    *ret_free = !w.rc && !w.stuck;
    if (!*ret_free)
        mc_circulant_hidden_free(&h);
    *ret = h;
    return w.rc;
}

void mc_circulant_hidden_free(struct mc_circulant_hidden *h)
{
    free(h->axis);
    *h = (struct mc_circulant_hidden){0};
}

int mc_circulant_permute(struct mc_value *v, int axis, const int64_t *order, int64_t run,
                         struct mc_err *err)
{
    const struct mc_tensor *old = mc_constant(v);
    struct mc_tensor *t;
    void *data;
    int rc = mc_tensor_new(old->dtype, &old->shape, v->graph->model->spill, &t, &data, err);
    if (rc)
        return rc;
    size_t inner = (size_t)run * (mc_dtype_info(old->dtype)->bits / 8);
    int64_t outer = 1, units = old->shape.dim[axis] / run;
    for (int i = 0; i < axis; i++)
        outer *= old->shape.dim[i];
    for (int i = axis + 1; i < old->shape.rank; i++)
        inner *= (size_t)old->shape.dim[i];
    for (int64_t o = 0; o < outer; o++)
        for (int64_t i = 0; i < units; i++)
            memcpy((char *)data + (size_t)(o * units + i) * inner,
                   old->data + (size_t)(o * units + order[i]) * inner, inner);
    rc = mc_constant_replace(v, t, err);
    mc_tensor_unref(t);
    return rc;
}

int mc_circulant_hidden_apply(const struct mc_circulant_hidden *h, const int64_t *order,
                              struct mc_err *err)
{
    int rc = 0;
    for (size_t i = 0; !rc && i < h->n; i++) {
        struct mc_value *v = h->axis[i].value;
        int axis = h->axis[i].axis;
        rc = mc_circulant_permute(v, axis, order, mc_constant(v)->shape.dim[axis] / h->m, err);
    }
    return rc;
}
