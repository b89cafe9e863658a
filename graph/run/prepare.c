#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "graph/constant.h"
#include "graph/edit.h"
#include "graph/infer.h"
#include "graph/ops/op.h"
#include "graph/run/fold.h"

/* Shapes, axes and the like: folded even where their sources stay, since a node costs as much. */
enum { SMALL_BYTES = 1024 };

/* ---- folding ---- */

/* Forms in which a file holds its weights on purpose. */
static bool keeps_form(const struct mc_node *n)
{
    return mc_node_is(n, "QuantizeLinear") || mc_node_is(n, "DequantizeLinear") ||
           mc_node_is(n, "BatchNormalization");
}

static bool may_fold(const struct mc_node *n)
{
    const struct mc_op *op = mc_op_find(n);
    if (!op || (op->flags & (MC_OP_RANDOM | MC_OP_WEIGHT)) || keeps_form(n))
        return false;
    for (size_t i = 0; i < n->n_out; i++)
        if (n->out[i] && (n->out[i]->is_output || mc_constant(n->out[i])))
            return false;
    return true;
}

static bool all_constant(const struct mc_node *n)
{
    for (size_t i = 0; i < n->n_in; i++)
        if (n->in[i] && !mc_constant(n->in[i]))
            return false;
    return true;
}

/* Does nothing but n use the content of v, wherever that is held? */
static bool is_sole_user(const struct mc_node *n, const struct mc_value *v)
{
    for (size_t u = 0; u < v->n_uses; u++)
        if (v->uses[u].node != n || v->uses[u].slot < 0)
            return false;
    for (; v->outer; v = v->outer)
        if (v->outer->n_uses != 1)
            return false;
    return !v->is_output && !v->is_input && (v->tensor || mc_node_is(v->producer, "Constant"));
}

/* Bytes of the constants that only this node uses. */
static size_t freed_bytes(const struct mc_node *n)
{
    size_t sum = 0;
    for (size_t i = 0; i < n->n_in; i++) {
        const struct mc_value *v = n->in[i];
        const struct mc_tensor *t = v ? mc_constant(v) : NULL;
        bool only = t && is_sole_user(n, v);
        for (size_t k = 0; only && k < i; k++)
            only = n->in[k] != v;
        if (only && !mc_size_add(sum, t->bytes, &sum))
            return SIZE_MAX;
    }
    return sum;
}

static bool made_bytes(const struct mc_node *n, const struct mc_infer *inf, size_t *ret)
{
    *ret = 0;
    for (size_t i = 0; i < n->n_out; i++) {
        const struct mc_vtype *t = n->out[i] ? mc_infer_of(inf, n->out[i]) : NULL;
        size_t bytes;
        if (t && (!t->ranked || !mc_dtype_bytes(t->dtype, mc_shape_count(&t->shape), &bytes) ||
                  !mc_size_add(*ret, bytes, ret)))
            return false;
    }
    return true;
}

/* Is an input of n a constant from which all users together make no more bytes than it has (the halves of one
 * weight, say)? One by one they would each seem to add to the file. */
static bool pays_together(const struct mc_node *n, const struct mc_infer *inf)
{
    enum { USERS = 64 };
    for (size_t i = 0; i < n->n_in; i++) {
        const struct mc_value *v = n->in[i];
        const struct mc_tensor *t = v && !v->is_output && !v->outer ? mc_constant(v) : NULL;
        size_t made = 0, each;
        bool all = t && v->n_uses <= USERS && (v->tensor || mc_node_is(v->producer, "Constant"));
        for (size_t u = 0; all && u < v->n_uses; u++) {
            const struct mc_node *user = v->uses[u].node;
            all = v->uses[u].slot >= 0 && may_fold(user) && all_constant(user) &&
                  made_bytes(user, inf, &each) && mc_size_add(made, each, &made);
        }
        if (all && made <= t->bytes)
            return true;
    }
    return false;
}

/* Contents of the wanted outputs, from inference or computed here. *ret_ok false: they are not constant. */
static int evaluate(const struct mc_node *n, const struct mc_infer *inf, struct mc_tensor **out,
                    const struct mc_tensor **in, bool *ret_ok, struct mc_err *err)
{
    bool known = true;
    for (size_t i = 0; i < n->n_out; i++)
        known &= !n->out[i] || mc_infer_of(inf, n->out[i])->known;
    *ret_ok = known || all_constant(n);
    if (known)
        for (size_t i = 0; i < n->n_out; i++)
            out[i] = n->out[i] ? mc_tensor_ref(mc_infer_of(inf, n->out[i])->known) : NULL;
    if (known || !*ret_ok)
        return 0;
    for (size_t i = 0; i < n->n_in; i++)
        in[i] = n->in[i] ? mc_constant(n->in[i]) : NULL;
    int rc = mc_fold_eval(NULL, n, in, out, err);
    *ret_ok = rc == 0;
    return rc == MC_ENOMEM || rc == MC_EIO ? rc : 0;
}

/* The node's outputs become initializers of the same names. */
static int replace_node(struct mc_node *n, struct mc_tensor **content, struct mc_value **out,
                        struct mc_err *err)
{
    size_t n_out = n->n_out;
    memcpy(out, n->out, n_out * sizeof *out);
    mc_edit_remove_node(n);
    for (size_t i = 0; i < n_out; i++) {
        int rc = out[i] ? mc_edit_tensor(out[i], content[i], err) : 0;
        if (rc)
            return rc;
    }
    return 0;
}

static int fold_one(struct mc_node *n, const struct mc_infer *inf, bool *ret_done,
                    struct mc_err *err)
{
    size_t made, n_out = n->n_out;
    *ret_done = false;
    if (!may_fold(n) || !made_bytes(n, inf, &made) ||
        (made > SMALL_BYTES && made > freed_bytes(n) && !pays_together(n, inf)))
        return 0;
    struct mc_tensor **out = mc_calloc(n_out + 1, sizeof *out);
    const struct mc_tensor **in = mc_calloc(n->n_in + 1, sizeof *in);
    struct mc_value **values = mc_calloc(n_out + 1, sizeof *values);
    int rc = 0;
    if (!out || !in || !values)
        rc = mc_fail(err, MC_ENOMEM, "out of memory");
    if (!rc)
        rc = evaluate(n, inf, out, in, ret_done, err);
    if (!rc && *ret_done)
        rc = replace_node(n, out, values, err);
    for (size_t i = 0; out && i < n_out; i++)
        mc_tensor_unref(out[i]);
    free(out);
    free(in);
    free(values);
    return rc;
}

/* In bodies too. Recursion by nesting depth only. */
static int fold_graph(struct mc_graph *g, const struct mc_infer *inf, size_t *ret_folded,
                      struct mc_err *err)
{
    int rc = 0;
    for (size_t i = 0; i < g->n_nodes && !rc;) {
        bool done;
        rc = fold_one(g->nodes[i], inf, &done, err);
        *ret_folded += !rc && done;
        i += !done;
    }
    for (size_t i = 0; i < g->n_nodes && !rc; i++) {
        const struct mc_node *n = g->nodes[i];
        for (size_t k = 0; k < n->n_attr && !rc; k++)
            for (size_t b = 0; n->attr[k].graphs && b < n->attr[k].n && !rc; b++)
                rc = fold_graph(n->attr[k].graphs[b], inf, ret_folded, err);
    }
    return rc;
}

/* What is made of weights in small forms is not known either. */
static int eval(void *ctx, const struct mc_node *n, const struct mc_tensor *const *in,
                struct mc_tensor **ret, struct mc_err *err)
{
    const struct mc_op *op = mc_op_find(n);
    if (op && op->flags & MC_OP_WEIGHT)
        return mc_fail(err, MC_EUNSUP, "node '%s' stays as it is", mc_node_label(n));
    return mc_fold_eval(ctx, n, in, ret, err);
}

static int fold(struct mc_graph *g, size_t *ret_folded, struct mc_err *err)
{
    struct mc_infer_opts o = {.eval = eval, .undeclared = true};
    struct mc_infer *inf;
    int rc = mc_infer_run(g, &o, &inf, err);
    if (rc) /* a model that contradicts itself is left as it is; who runs it will say so */
        return rc == MC_ENOMEM || rc == MC_EIO ? rc : 0;
    rc = fold_graph(g, inf, ret_folded, err);
    mc_infer_free(inf);
    return rc;
}

/* ---- merging ---- */

struct entry {
    struct mc_value *v;
    const struct mc_tensor *t;
    uint64_t hash;
    size_t order;
};

/* FNV-1a over eight bytes at a time; equal hashes are compared byte by byte. */
static uint64_t hash_of(const struct mc_tensor *t)
{
    uint64_t h = 0xcbf29ce484222325u, w;
    const uint64_t prime = 0x100000001b3u;
    for (int i = 0; i < t->shape.rank; i++)
        h = (h ^ (uint64_t)t->shape.dim[i]) * prime;
    h = (h ^ (uint64_t)t->dtype) * prime;
    size_t i = 0;
    for (; i + 8 <= t->bytes; i += 8) {
        memcpy(&w, t->data + i, 8);
        h = (h ^ w) * prime;
        h ^= h >> 29;
    }
    for (; i < t->bytes; i++)
        h = (h ^ t->data[i]) * prime;
    return h;
}

static int by_hash(const void *pa, const void *pb)
{
    const struct entry *a = pa, *b = pb;
    if (a->hash != b->hash)
        return a->hash < b->hash ? -1 : 1;
    return a->order < b->order ? -1 : a->order > b->order;
}

static bool equal(const struct mc_tensor *a, const struct mc_tensor *b)
{
    return a->dtype == b->dtype && a->bytes == b->bytes && mc_shape_equal(&a->shape, &b->shape) &&
           (a->data == b->data || !memcmp(a->data, b->data, a->bytes));
}

/* Fresh weights (all 0, all 1) are equal without being the same: training would tie what it should tell apart. */
static bool is_fresh(const struct mc_tensor *t)
{
    size_t size = mc_dtype_info(t->dtype)->bits / 8;
    return mc_dtype_info(t->dtype)->kind == MC_KIND_FLOAT && size && t->bytes > size &&
           !memcmp(t->data, t->data + size, t->bytes - size);
}

static void add_entry(struct entry *e, size_t *n, struct mc_value *v)
{
    const struct mc_tensor *t = v ? mc_constant(v) : NULL;
    if (!t || !t->data || v->is_input || v->is_output || v->outer || is_fresh(t))
        return;
    e[*n] = (struct entry){v, t, hash_of(t), *n};
    ++*n;
}

/* Of equal constants the first stays: initializers before Constant nodes, those in the order of nodes, so
 * that what stays is defined before its new users. */
static int merge(struct mc_graph *g, size_t *ret_merged, struct mc_err *err)
{
    size_t n = 0;
    struct entry *e = mc_calloc(g->n_inits + g->n_nodes + 1, sizeof *e);
    int rc = 0;
    if (!e)
        return mc_fail(err, MC_ENOMEM, "out of memory");
    for (size_t i = 0; i < g->n_inits; i++)
        add_entry(e, &n, g->inits[i]);
    for (size_t i = 0; i < g->n_nodes; i++)
        if (mc_node_is(g->nodes[i], "Constant") && g->nodes[i]->n_out == 1)
            add_entry(e, &n, g->nodes[i]->out[0]);
    qsort(e, n, sizeof *e, by_hash);
    for (size_t i = 0; i < n; i++)
        for (size_t j = i + 1; j < n && e[j].hash == e[i].hash && e[i].v && !rc; j++)
            if (e[j].v && equal(e[i].t, e[j].t)) {
                rc = mc_edit_replace_uses(e[j].v, e[i].v, err);
                e[j].v = NULL;
                ++*ret_merged;
            }
    free(e);
    return rc;
}

int mc_prepare(struct mc_model *m, struct mc_fold_stats *ret_stats, struct mc_err *err)
{
    struct mc_fold_stats stats = {0};
    int rc = mc_branches_fold(m->graph, &stats.folded_branches, err);
    if (!rc)
        rc = fold(m->graph, &stats.folded_nodes, err);
    if (!rc)
        rc = merge(m->graph, &stats.merged_constants, err);
    if (rc)
        return rc;
    mc_edit_sweep(m->graph);
    if (ret_stats)
        *ret_stats = stats;
    return 0;
}
