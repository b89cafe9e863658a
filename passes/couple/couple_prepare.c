/* Lengths that are read at run time, before a cut changes them: what inference knows of them becomes constants.
 *
 * Shape(x) of [batch, 64, 14, 14] on its way to a Reshape, a Slice, a scale of 1 / sqrt(64): whoever computes with the 64 is
 * meant to go on with 64, and whoever writes it into a shape is corrected after the cut like any constant. So every vector
 * with known elements is put together anew where it is used: constants, and the unknown ones straight from where they come
 * from, past the known ones beside them. */
#include <assert.h>
#include <string.h>

#include "graph/constant.h"
#include "graph/edit.h"
#include "graph/infer.h"
#include "graph/inline.h"
#include "graph/run/fold.h"
#include "graph/shape.h"
#include "passes/couple/couple_rewrite.h"
#include "passes/couple/coupling.h"

struct origin { /* where an element of a vector comes from */
    struct mc_value *v;
    int index; /* in v; -1: v is a scalar */
};

struct remake {
    struct mc_graph *g;
    struct mc_infer *inf;
    struct mc_value *
        *made; /* [n_values] what stands for a value from now on; NULL: nobody asked yet */
    size_t n_values;
    struct mc_err *err;
};

static int no_memory(struct mc_err *err)
{
    return mc_fail(err, MC_ENOMEM, "out of memory");
}

static const struct mc_vtype *type_of(const struct remake *r, const struct mc_value *v)
{
    return mc_infer_of(r->inf, v);
}

/* Hands elements on without computing. */
static bool moves(const struct mc_node *n)
{
    static const char *const names[] = {"Gather",   "Slice", "Concat",  "Unsqueeze", "Squeeze",
                                        "Identity", "Cast",  "Reshape", "Split"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (mc_node_is(n, names[i]))
            return true;
    return false;
}

static int count_of(const struct remake *r, const struct mc_value *v)
{
    const struct mc_vtype *t = type_of(r, v);
    return t->partial ? t->partial->n : t->known ? (int)mc_tensor_count(t->known) : -1;
}

/* Element i of Gather's or Slice's result is which of its input; -1: not known. */
static int picked(const struct mc_node *n, int i, int count)
{
    int64_t list[MC_PARTIAL_MAX], start, step = 1, one;
    size_t many;
    if (mc_node_is(n, "Gather")) {
        if (mc_constant_ints(n->in[1], list, MC_PARTIAL_MAX) <= i)
            return -1;
        list[i] += list[i] < 0 ? count : 0;
        return list[i] < 0 || list[i] >= count ? -1 : (int)list[i];
    }
    const int64_t *attr = mc_node_ints(n, "starts", &many);
    if (attr && many == 1)
        start = attr[0];
    else if (n->n_in < 3 || mc_constant_ints(n->in[1], &start, 1) != 1)
        return -1;
    if (n->n_in > 4 && n->in[4]) {
        if (mc_constant_ints(n->in[4], &one, 1) != 1)
            return -1;
        step = one;
    }
    start += start < 0 ? count : 0;
    start = start < 0 ? 0 : start > count - (step < 0) ? count - (step < 0) : start;
    start += i * step;
    return start < 0 || start >= count ? -1 : (int)start;
}

/* Element i of n's output `slot`, one node back; false: it is made there. */
static bool step_back(const struct remake *r, const struct mc_node *n, int slot, struct origin *o)
{
    int i = o->index < 0 ? 0 : o->index, at = 0;
    if (!n->n_in || !n->in[0])
        return false;
    const struct mc_shape *s = &type_of(r, n->in[0])->shape;
    if (mc_node_is(n, "Concat")) {
        for (size_t k = 0; k < n->n_in; k++) {
            int count = count_of(r, n->in[k]);
            if (count < 0)
                return false;
            if (i < at + count) {
                *o = (struct origin){n->in[k], i - at};
                return true;
            }
            at += count;
        }
        return false;
    }
    int count = count_of(r, n->in[0]);
    if (count < 0 || !type_of(r, n->in[0])->ranked)
        return false;
    if (mc_node_is(n, "Split")) {
        for (int k = 0; k < slot; k++) {
            if (!n->out[k] || count_of(r, n->out[k]) < 0)
                return false;
            i += count_of(r, n->out[k]);
        }
    } else if (mc_node_is(n, "Gather") || mc_node_is(n, "Slice")) {
        i = picked(n, i, count);
    }
    if (i < 0 || i >= count)
        return false;
    *o = (struct origin){n->in[0], s->rank ? i : -1};
    return true;
}

static struct origin origin_of(const struct remake *r, struct mc_value *v, int i)
{
    struct origin o = {v, type_of(r, v)->shape.rank ? i : -1};
    while (o.v->producer && moves(o.v->producer) && step_back(r, o.v->producer, o.v->slot, &o))
        ;
    return o;
}

/* ---- making ---- */

static int add_node(struct remake *r, struct mc_node *before, const char *op,
                    struct mc_value *const *in, size_t n_in, struct mc_value *hint,
                    struct mc_node **ret, struct mc_err *err)
{
    struct mc_value *out = mc_edit_fresh(r->g, hint->name);
    return out ? mc_edit_node(r->g, before->pos, op, "", 0, "", in, n_in, &out, 1, ret, err)
               : no_memory(err);
}

/* A constant of `rank` 0 or 1. */
static int add_ints(struct remake *r, struct mc_node *before, enum mc_dtype dtype, int rank,
                    const int64_t *x, int n, struct mc_value *hint, struct mc_value **ret)
{
    struct mc_shape shape = {.rank = rank, .dim = {n}};
    struct mc_tensor *t;
    void *data;
    int rc = mc_tensor_new(dtype, &shape, NULL, &t, &data, r->err);
    if (rc)
        return rc;
    for (int i = 0; i < n; i++)
        if (dtype == MC_DTYPE_I64)
            ((int64_t *)data)[i] = x[i];
        else
            ((int32_t *)data)[i] = (int32_t)x[i];
    rc = mc_constant_new(r->g, before->pos, hint->name, t, ret, r->err);
    mc_tensor_unref(t);
    return rc;
}

/* Elements index[0 … n-1] of v, as a vector or, where rank is 0, a scalar of a type. */
static int add_taken(struct remake *r, struct mc_node *before, const struct origin *o, int n,
                     int rank, enum mc_dtype dtype, struct mc_value *hint, struct mc_value **ret)
{
    int64_t index[MC_PARTIAL_MAX], zero = 0;
    struct mc_value *in[2] = {o->v, NULL};
    struct mc_node *made = NULL;
    int rc = 0;
    if (o->index >= 0) {
        for (int i = 0; i < n; i++)
            index[i] = o[i].index;
        rc = add_ints(r, before, MC_DTYPE_I64, rank, index, n, hint, &in[1]);
        rc = rc ? rc : add_node(r, before, "Gather", in, 2, hint, &made, r->err);
    } else if (rank) {
        rc = add_ints(r, before, MC_DTYPE_I64, 1, &zero, 1, hint, &in[1]);
        bool input = mc_graph_opset(r->g, "") >= 13;
        rc = rc ? rc : add_node(r, before, "Unsqueeze", in, input ? 2 : 1, hint, &made, r->err);
        rc = rc || input ? rc : mc_edit_attr_ints(made, "axes", &zero, 1, r->err);
    }
    if (!rc && made)
        in[0] = made->out[0];
    if (!rc && type_of(r, o->v)->dtype != dtype) {
        rc = add_node(r, before, "Cast", in, 1, hint, &made, r->err);
        rc = rc ? rc : mc_edit_attr_int(made, "to", dtype, r->err);
        if (!rc)
            in[0] = made->out[0];
    }
    *ret = in[0];
    return rc;
}

/* As many elements from i on as can be taken by one node; they are all known or all unknown. */
static int run_of(const struct remake *r, struct mc_value *v, int i, struct origin *o)
{
    const struct mc_partial *p = type_of(r, v)->partial;
    int n = 1;
    if (!p->sym[i]) {
        while (i + n < p->n && !p->sym[i + n])
            n++;
        return n;
    }
    for (o[0] = origin_of(r, v, i); i + n < p->n && p->sym[i + n] && o[0].index >= 0; n++) {
        o[n] = origin_of(r, v, i + n);
        if (o[n].v != o[0].v || o[n].index < 0)
            break;
    }
    return n;
}

/* v put together anew before a node. */
static int remade(struct remake *r, struct mc_value *v, struct mc_node *before,
                  struct mc_value **ret)
{
    const struct mc_vtype *t = type_of(r, v);
    const struct mc_partial *p = t->partial;
    struct mc_value *piece[MC_PARTIAL_MAX];
    struct origin o[MC_PARTIAL_MAX];
    int n_pieces = 0, rc = 0;
    for (int i = 0, n; i < p->n && !rc; i += n) {
        n = run_of(r, v, i, o);
        rc = p->sym[i] ? add_taken(r, before, o, n, t->shape.rank, t->dtype, v, &piece[n_pieces])
                       : add_ints(r, before, t->dtype, t->shape.rank, p->value + i, n, v,
                                  &piece[n_pieces]);
        n_pieces++;
    }
    if (!rc && n_pieces > 1) {
        struct mc_node *made;
        rc = add_node(r, before, "Concat", piece, (size_t)n_pieces, v, &made, r->err);
        rc = rc ? rc : mc_edit_attr_int(made, "axis", 0, r->err);
        if (!rc)
            piece[0] = made->out[0];
    }
    if (!rc)
        *ret = piece[0];
    return rc;
}

/* Already such: constants and elements straight from where they come from. */
static bool is_plain(const struct remake *r, const struct mc_value *v)
{
    const struct mc_node *n = v->producer;
    const struct mc_partial *p = type_of(r, v)->partial;
    bool known = false;
    for (int i = 0; i < p->n; i++)
        known |= !p->sym[i];
    if (!n || !moves(n))
        return !known;
    if (!mc_node_is(n, "Concat"))
        return !known && n->n_in && n->in[0] && (!n->in[0]->producer || !moves(n->in[0]->producer));
    for (size_t i = 0; i < n->n_in; i++)
        if (!mc_constant(n->in[i]) && (!type_of(r, n->in[i])->partial || !is_plain(r, n->in[i])))
            return false;
    return true;
}

static bool is_wanted(const struct remake *r, const struct mc_value *v)
{
    const struct mc_vtype *t = type_of(r, v);
    return t->partial && t->partial->n > 0 && t->ranked && t->shape.rank <= 1 &&
           (t->dtype == MC_DTYPE_I64 || t->dtype == MC_DTYPE_I32) && !is_plain(r, v);
}

/* Where a node hands elements on, who takes them in the end is looked at instead. */
static bool passes_on(const struct remake *r, const struct mc_node *n)
{
    bool all = moves(n);
    for (size_t i = 0; i < n->n_out; i++)
        all = all && n->out[i] && type_of(r, n->out[i])->partial && !n->out[i]->is_output;
    return all;
}

static int look_at(struct remake *r, struct mc_node *n)
{
    int rc = 0;
    for (size_t i = 0; i < n->n_in && !rc; i++) {
        struct mc_value *v = n->in[i], *to;
        if (!v || v->index >= r->n_values || !is_wanted(r, v) || passes_on(r, n))
            continue;
        to = r->made[v->index];
        rc = to ? 0 : remade(r, v, n, &to);
        if (rc)
            return rc;
        r->made[v->index] = to;
        rc = mc_edit_set_input(n, i, to, r->err);
    }
    return rc;
}

static int infer(struct mc_graph *g, struct mc_infer **inf, struct mc_err *err)
{
    struct mc_infer_opts o = {.eval = mc_fold_eval, .undeclared = true};
    mc_infer_free(*inf);
    *inf = NULL;
    return mc_infer_run(g, &o, inf, err);
}

int mc_coupling_prepare(struct mc_model *m, struct mc_err *err)
{
    struct mc_arena mem = {0};
    struct remake r = {.g = m->graph, .err = err};
    struct mc_node **node = NULL;
    bool choices = false, joins = false, ranks = false;
    size_t folded;
    bool calls = false;
    int rc = mc_inline_needed(m, &calls, err); /* each call is cut in its own way */
    rc = rc || !calls ? rc : mc_inline(m, err);
    rc = rc || !calls ? rc : mc_prepare(m, NULL, err);
    rc = rc ? rc : mc_rewrite_shared(r.g, err);
    rc = rc ? rc : mc_rewrite_states(r.g, err);
    rc = rc ? rc : infer(r.g, &r.inf, err);
    rc = rc ? rc : mc_rewrite_ranks(r.g, r.inf, &ranks, err);
    rc = rc || !ranks ? rc : mc_branches_fold(r.g, &folded, err);
    rc = rc || !ranks ? rc : infer(r.g, &r.inf, err);
    rc = rc ? rc : mc_rewrite_choices(r.g, r.inf, &choices, err);
    rc = rc || !choices ? rc : infer(r.g, &r.inf, err);
    rc = rc ? rc : mc_rewrite_strided(r.g, r.inf, &joins, err);
    rc = rc ? rc : mc_rewrite_joins(r.g, r.inf, &joins, err);
    rc = rc || !joins ? rc : infer(r.g, &r.inf, err);
    size_t n_nodes = r.g->n_nodes;
    r.n_values = r.g->n_values;
    if (!rc) {
        node = mc_arena_array(&mem, n_nodes + 1, sizeof(void *)); /* some are added */
        r.made = mc_arena_array(&mem, r.n_values + 1, sizeof(void *));
        rc = node && r.made ? 0 : no_memory(err);
    }
    if (!rc)
        memcpy(node, r.g->nodes, n_nodes * sizeof *node);
    for (size_t i = 0; i < n_nodes && !rc; i++)
        rc = look_at(&r, node[i]);
    mc_infer_free(r.inf);
    mc_arena_free(&mem);
    if (!rc)
        mc_edit_sweep(r.g);
    return rc;
}
