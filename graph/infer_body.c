/* Inference through If, Loop and Scan. */
#include <stdlib.h>
#include <string.h>

#include "graph/infer_table.h"

/* A body is inferred again where one turn changes the type of a value that its loop carries, up to ROUNDS + 2
 * times; in bodies deeper than DEPTH once, with nothing assumed of such values. */
enum { ROUNDS = 3, DEPTH = 1 };

static int no_memory(struct mc_err *err)
{
    return mc_fail(err, MC_ENOMEM, "out of memory while inferring shapes");
}

bool mc_infer_has_body(const struct mc_node *n)
{
    for (size_t i = 0; i < n->n_attr; i++)
        if (n->attr[i].graphs && n->attr[i].n)
            return true;
    return false;
}

static const struct mc_graph *body_of(const struct mc_node *n, const char *name)
{
    const struct mc_attr *a = mc_node_attr(n, name);
    return a && a->graphs && a->n == 1 ? a->graphs[0] : NULL;
}

/* Errors that say that a body does not fit are none of its node, which may never run it. */
static int forgive(const struct mc_infer_opts *o, int rc, bool *ret_ok)
{
    *ret_ok = !rc;
    bool misfit = rc == MC_ESHAPE || rc == MC_EDTYPE || rc == MC_EDATA;
    return misfit || (rc == MC_EUNSUP && !o->strict) ? 0 : rc;
}

static struct mc_vtype shape_only(const struct mc_vtype *t)
{
    return t ? (struct mc_vtype){.dtype = t->dtype, .ranked = t->ranked, .shape = t->shape}
             : (struct mc_vtype){0};
}

static const struct mc_vtype *arg(const struct mc_node *n, const struct mc_vtype *const *in,
                                  size_t i)
{
    return i < n->n_in ? in[i] : NULL;
}

/* The one value of a known scalar. */
static bool known_int(const struct mc_vtype *t, int64_t *ret)
{
    return t && t->known && mc_tensor_count(t->known) == 1 &&
           !mc_dtype_to_i64(t->known->dtype, t->known->data, ret, 1, NULL);
}

/* ---- If ---- */

/* What a value is that is either a or b. */
static struct mc_vtype meet(const struct mc_vtype *a, const struct mc_vtype *b)
{
    struct mc_vtype r = shape_only(a);
    if (a->dtype != b->dtype)
        r.dtype = MC_DTYPE_NONE;
    if (!a->ranked || !b->ranked || a->shape.rank != b->shape.rank)
        r.ranked = false;
    for (int i = 0; r.ranked && i < r.shape.rank; i++)
        if (a->shape.dim[i] != b->shape.dim[i])
            r.shape.dim[i] = MC_DIM_ANY;
    return r;
}

static int infer_if(struct mc_infer *inf, const struct mc_infer_opts *o, const struct mc_node *n,
                    int depth, const struct mc_vtype *const *in, struct mc_vtype *out,
                    struct mc_err *err)
{
    const struct mc_graph *g[2] = {body_of(n, "else_branch"), body_of(n, "then_branch")};
    bool ok[2] = {false, false};
    int64_t taken = -1;
    if (known_int(arg(n, in, 0), &taken))
        taken = taken != 0;
    for (int i = 0; i < 2; i++) {
        int rc = g[i] ? mc_infer_body(inf, o, g[i], depth + 1, NULL, err) : 0;
        if (!rc || taken != i)
            rc = forgive(o, rc, &ok[i]);
        if (rc)
            return rc;
        ok[i] = ok[i] && g[i];
    }
    for (size_t k = 0; k < n->n_out; k++) {
        const struct mc_vtype *row[2] = {NULL, NULL};
        for (int i = 0; i < 2; i++)
            if (ok[i] && k < g[i]->n_outputs)
                row[i] = mc_infer_row(inf, g[i]->outputs[k]);
        if (taken >= 0 && row[taken])
            out[k] = *row[taken];
        else if (taken < 0 && row[0] && row[1])
            out[k] = meet(row[0], row[1]);
    }
    return 0;
}

/* ---- Loop ---- */

struct carried {
    struct mc_vtype type;
    bool wide[MC_RANK_MAX]; /* dimension that differs from turn to turn */
};

/* Make c hold for `next` too, what one turn made of it; round: of ROUNDS, which assume less and less. */
static int widen(struct mc_infer *inf, struct carried *c, const struct mc_vtype *next, int round,
                 bool *changed, struct mc_err *err)
{
    struct mc_vtype *t = &c->type;
    if (t->dtype == MC_DTYPE_NONE)
        t->dtype = next->dtype;
    if (!t->ranked)
        return 0;
    bool same = next->ranked && next->shape.rank == t->shape.rank;
    if (!same || round >= ROUNDS) {
        *changed = true;
        t->ranked = false;
        return 0;
    }
    for (int i = 0; i < t->shape.rank; i++)
        if (!c->wide[i] && next->shape.dim[i] != t->shape.dim[i]) {
            *changed = c->wide[i] = true;
            if (!mc_infer_fresh(inf, &t->shape.dim[i]))
                return no_memory(err);
        }
    return 0;
}

/* Dimensions that the body made up for one of its turns are others in the next. */
static void forget_symbols(struct mc_vtype *t, size_t before)
{
    for (int i = 0; t->ranked && i < t->shape.rank; i++)
        if (t->shape.dim[i] < MC_DIM_ANY && (uint64_t)(-2 - t->shape.dim[i]) >= before)
            t->shape.dim[i] = MC_DIM_ANY;
}

/* A row of each turn stacked along a new axis of n. */
static struct mc_vtype stack(const struct mc_vtype *row, int axis, int64_t n)
{
    struct mc_vtype r = shape_only(row);
    if (!r.ranked || r.shape.rank >= MC_RANK_MAX || axis < 0 || axis > r.shape.rank) {
        r.ranked = false;
        return r;
    }
    for (int i = r.shape.rank++; i > axis; i--)
        r.shape.dim[i] = r.shape.dim[i - 1];
    r.shape.dim[axis] = n;
    return r;
}

/* How often a loop runs, or MC_DIM_ANY. */
static int64_t turns(const struct mc_infer *inf, const struct mc_node *n,
                     const struct mc_graph *body)
{
    int64_t most, go = 1, on = 1;
    const struct mc_value *m = n->n_in > 0 ? n->in[0] : NULL, *c = n->n_in > 1 ? n->in[1] : NULL;
    const struct mc_value *next = body->outputs[0];
    while (next->producer && mc_node_is(next->producer, "Identity") && next->producer->n_in == 1 &&
           next->producer->in[0])
        next = next->producer->in[0];
    if (!m || !known_int(mc_infer_of(inf, m), &most) || (c && !known_int(mc_infer_of(inf, c), &go)))
        return MC_DIM_ANY;
    if (next != body->inputs[1] && !known_int(mc_infer_of(inf, next), &on))
        return MC_DIM_ANY;
    return !go || most < 0 ? 0 : on ? most : most > 0;
}

/* What the verifier has seen to, where there was one. */
static bool fits_loop(const struct mc_node *n, const struct mc_graph *body)
{
    size_t n_carried = n->n_in > 2 ? n->n_in - 2 : 0;
    return body && body->n_inputs == 2 + n_carried && body->n_outputs > n_carried;
}

/* Type of the turn's number or condition: a scalar, or one element where the body says so. */
static struct mc_vtype counter(const struct mc_value *v, enum mc_dtype dtype)
{
    struct mc_vtype r = {.dtype = dtype, .ranked = true};
    if (v->type.kind == MC_TYPE_TENSOR && v->type.ranked && v->type.rank == 1)
        r.shape = mc_shape_of(1, &(int64_t){1});
    return r;
}

static int infer_turns(struct mc_infer *inf, const struct mc_infer_opts *o,
                       const struct mc_graph *body, int depth, struct carried *c, size_t n_carried,
                       struct mc_vtype *given, bool *ret_ok, struct mc_err *err)
{
    int rc = 0;
    bool changed = true;
    size_t conflicts = inf->n_conflicts;
    for (int round = 0; !rc && changed; round++) {
        changed = false;
        inf->n_conflicts = conflicts;
        given[0] = counter(body->inputs[0], MC_DTYPE_I64);
        given[1] = counter(body->inputs[1], MC_DTYPE_BOOL);
        for (size_t i = 0; i < n_carried; i++)
            given[2 + i] = c[i].type;
        rc = forgive(o, mc_infer_body(inf, o, body, depth + 1, given, err), ret_ok);
        for (size_t i = 0; !rc && *ret_ok && i < n_carried; i++)
            rc = widen(inf, &c[i], mc_infer_row(inf, body->outputs[1 + i]), round, &changed, err);
    }
    return rc;
}

static int infer_loop(struct mc_infer *inf, const struct mc_infer_opts *o, const struct mc_node *n,
                      int depth, const struct mc_vtype *const *in, struct mc_vtype *out,
                      struct mc_err *err)
{
    const struct mc_graph *body = body_of(n, "body");
    size_t n_carried = n->n_in > 2 ? n->n_in - 2 : 0, before = inf->n_symbols;
    if (!fits_loop(n, body))
        return 0;
    struct carried *c = mc_calloc(n_carried, sizeof *c);
    struct mc_vtype *given = mc_calloc(2 + n_carried, sizeof *given);
    bool ok = false;
    int rc = c && given ? 0 : no_memory(err);
    for (size_t i = 0; !rc && i < n_carried; i++) {
        c[i].type = shape_only(in[2 + i]);
        c[i].type.ranked = c[i].type.ranked && depth <= DEPTH;
    }
    if (!rc)
        rc = infer_turns(inf, o, body, depth, c, n_carried, given, &ok, err);
    for (size_t k = 0; !rc && ok && k < n->n_out && k + 1 < body->n_outputs; k++) {
        if (k < n_carried) {
            out[k] = c[k].type;
        } else {
            struct mc_vtype row = *mc_infer_row(inf, body->outputs[1 + k]);
            forget_symbols(&row, before);
            out[k] = stack(&row, 0, turns(inf, n, body));
        }
        forget_symbols(&out[k], before);
    }
    free(c);
    free(given);
    return rc;
}

/* ---- Scan ---- */

struct scan {
    size_t states, inputs; /* how many; in[skip + …] */
    size_t
        skip; /* 1: version 8 has sequence lengths before them, and a batch axis in front of all */
    int64_t length, batch;
};

static int axis_of(const struct mc_node *n, const char *name, size_t i, int rank)
{
    size_t count;
    const int64_t *axes = mc_node_ints(n, name, &count);
    return mc_shape_axis(i < count ? axes[i] : 0, rank);
}

static void drop_axis(struct mc_vtype *t, int axis)
{
    if (!t->ranked || axis < 0 || axis >= t->shape.rank) {
        t->ranked = false;
        return;
    }
    t->shape.rank--;
    for (int i = axis; i < t->shape.rank; i++)
        t->shape.dim[i] = t->shape.dim[i + 1];
}

/* What one turn sees of the node's inputs. */
static void slices(const struct mc_node *n, struct scan *s, const struct mc_vtype *const *in,
                   struct mc_vtype *given)
{
    for (size_t i = 0; i < s->states + s->inputs; i++) {
        const struct mc_vtype *t = in[s->skip + i];
        given[i] = shape_only(t);
        if (s->skip) {
            if (given[i].ranked && given[i].shape.rank > 0)
                s->batch = given[i].shape.dim[0];
            drop_axis(&given[i], 0);
        }
        if (i < s->states)
            continue;
        int axis = s->skip ? 0
                           : axis_of(n, "scan_input_axes", i - s->states,
                                     given[i].ranked ? given[i].shape.rank : 0);
        if (given[i].ranked && axis >= 0 && axis < given[i].shape.rank && s->length < 0)
            s->length = given[i].shape.dim[axis];
        drop_axis(&given[i], axis);
    }
}

static int infer_scan(struct mc_infer *inf, const struct mc_infer_opts *o, const struct mc_node *n,
                      int depth, const struct mc_vtype *const *in, struct mc_vtype *out,
                      struct mc_err *err)
{
    const struct mc_graph *body = body_of(n, "body");
    int64_t m = mc_node_int(n, "num_scan_inputs", 0);
    struct scan s = {.skip = n->version < 9, .length = MC_DIM_ANY, .batch = MC_DIM_ANY};
    size_t before = inf->n_symbols;
    if (!body || m < 1 || n->n_in < s.skip || (uint64_t)m > n->n_in - s.skip)
        return 0;
    s.inputs = (size_t)m;
    s.states = n->n_in - s.skip - s.inputs;
    if (body->n_inputs != s.states + s.inputs || body->n_outputs < s.states)
        return 0;
    struct mc_vtype *given = mc_calloc(body->n_inputs, sizeof *given);
    if (!given)
        return no_memory(err);
    bool ok;
    slices(n, &s, in, given);
    int rc = forgive(o, mc_infer_body(inf, o, body, depth + 1, given, err), &ok);
    for (size_t k = 0; !rc && ok && k < n->n_out && k < body->n_outputs; k++) {
        struct mc_vtype row = shape_only(mc_infer_row(inf, body->outputs[k]));
        forget_symbols(&row, before);
        if (k >= s.states) {
            int rank = row.ranked && row.shape.rank < MC_RANK_MAX ? row.shape.rank + 1 : 0;
            int axis = s.skip ? 0 : axis_of(n, "scan_output_axes", k - s.states, rank);
            row = stack(&row, axis, s.length);
        }
        out[k] = s.skip ? stack(&row, 0, s.batch) : row;
    }
    free(given);
    return rc;
}

/* ---- cost ---- */

static double graph_macs(const struct mc_infer *inf, const struct mc_graph *g)
{
    double sum = 0;
    for (size_t i = 0; g && sum >= 0 && i < g->n_nodes; i++) {
        double macs = mc_infer_macs(inf, g->nodes[i]);
        sum = macs < 0 ? -1 : sum + macs;
    }
    return sum;
}

static int64_t scan_length(const struct mc_infer *inf, const struct mc_node *n)
{
    int64_t m = mc_node_int(n, "num_scan_inputs", 0), length = -1;
    for (size_t i = 0; m > 0 && (uint64_t)m <= n->n_in && length < 0 && i < (size_t)m; i++) {
        const struct mc_value *v = n->in[n->n_in - (size_t)m + i];
        const struct mc_vtype *t = v ? mc_infer_of(inf, v) : NULL;
        int rank = t && t->ranked ? t->shape.rank : 0;
        int axis = n->version < 9 ? 1 : axis_of(n, "scan_input_axes", i, rank);
        if (axis >= 0 && axis < rank)
            length = t->shape.dim[axis];
    }
    return length;
}

double mc_infer_body_macs(const struct mc_infer *inf, const struct mc_node *n)
{
    if (mc_node_is(n, "If")) {
        int64_t taken;
        double a = graph_macs(inf, body_of(n, "else_branch"));
        double b = graph_macs(inf, body_of(n, "then_branch"));
        if (n->n_in && n->in[0] && known_int(mc_infer_of(inf, n->in[0]), &taken))
            return taken ? b : a;
        return a == b ? a : -1;
    }
    const struct mc_graph *body = body_of(n, "body");
    double macs = graph_macs(inf, body);
    if (macs <= 0)
        return macs;
    int64_t times = -1;
    if (mc_node_is(n, "Loop") && fits_loop(n, body))
        times = turns(inf, n, body);
    else if (mc_node_is(n, "Scan"))
        times = scan_length(inf, n);
    return times < 0 ? -1 : macs * (double)times;
}

/* ---- any node ---- */

int mc_infer_bodies(struct mc_infer *inf, const struct mc_infer_opts *o, const struct mc_node *n,
                    int depth, const struct mc_vtype *const *in, struct mc_vtype *out,
                    struct mc_err *err)
{
    if (mc_node_is(n, "If"))
        return infer_if(inf, o, n, depth, in, out, err);
    if (mc_node_is(n, "Loop"))
        return infer_loop(inf, o, n, depth, in, out, err);
    if (mc_node_is(n, "Scan"))
        return infer_scan(inf, o, n, depth, in, out, err);
    int rc = 0;
    for (size_t k = 0; !rc && k < n->n_attr; k++)
        for (size_t b = 0; !rc && n->attr[k].graphs && b < n->attr[k].n; b++) {
            bool ok;
            rc = forgive(o, mc_infer_body(inf, o, n->attr[k].graphs[b], depth + 1, NULL, err), &ok);
        }
    return rc;
}
