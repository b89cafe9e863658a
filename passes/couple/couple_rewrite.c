#include "passes/couple/couple_rewrite.h"

#include <stdlib.h>
#include <string.h>

#include "graph/constant.h"
#include "graph/edit.h"
#include "passes/couple/couple_blocks.h"

static int no_memory(struct mc_err *err)
{
    return mc_fail(err, MC_ENOMEM, "out of memory");
}

/* ---- choices: how torch.Tensor.expand(…, -1, …) is exported ---- */

struct choice { /* Where(s == c, a, s), element by element; lengths are never negative */
    struct mc_value *s;
    int n;
    bool own[MC_PARTIAL_MAX]; /* it is that of s */
    int64_t value[MC_PARTIAL_MAX];
};

static int ints_of(const struct mc_vtype *t, int n, int64_t *ret)
{
    int64_t count = t->known ? mc_tensor_count(t->known) : -1;
    if ((count != n && count != 1) ||
        mc_dtype_to_i64(t->known->dtype, t->known->data, ret, (size_t)count, NULL))
        return -1;
    for (int i = 1; i < n && count == 1; i++)
        ret[i] = ret[0];
    return n;
}

static bool decide(const struct mc_infer *inf, const struct mc_node *n, struct choice *ret)
{
    const struct mc_node *e = mc_node_is(n, "Where") && n->in[0] ? n->in[0]->producer : NULL;
    struct mc_value *s = n->n_in == 3 ? n->in[2] : NULL;
    if (!e || !s || !n->in[1] || !mc_node_is(e, "Equal") || n->out[0]->is_output)
        return false;
    const struct mc_vtype *t = mc_infer_of(inf, n->out[0]), *ts = mc_infer_of(inf, s);
    const struct mc_value *other = e->in[0] == s ? e->in[1] : e->in[1] == s ? e->in[0] : NULL;
    int64_t c[MC_PARTIAL_MAX], a[MC_PARTIAL_MAX];
    if (!other || !t->ranked || !ts->ranked || !ts->partial || ts->shape.rank != 1 ||
        ts->dtype != MC_DTYPE_I64 || !mc_shape_equal(&t->shape, &ts->shape))
        return false;
    *ret = (struct choice){.s = s, .n = ts->partial->n};
    if (ints_of(mc_infer_of(inf, other), ret->n, c) < 0 ||
        ints_of(mc_infer_of(inf, n->in[1]), ret->n, a) < 0)
        return false;
    for (int i = 0; i < ret->n; i++) {
        bool known = !ts->partial->sym[i];
        if (!known && c[i] >= 0)
            return false;
        ret->own[i] = !known || ts->partial->value[i] != c[i];
        ret->value[i] = a[i];
    }
    return true;
}

static int add_vector(struct mc_graph *g, size_t pos, const char *hint, const int64_t *x, int n,
                      struct mc_value **ret, struct mc_err *err)
{
    struct mc_shape shape = {.rank = 1, .dim = {n}};
    struct mc_tensor *t;
    void *data;
    int rc = mc_tensor_new(MC_DTYPE_I64, &shape, NULL, &t, &data, err);
    if (rc)
        return rc;
    memcpy(data, x, (size_t)n * sizeof *x);
    rc = mc_constant_new(g, pos, hint, t, ret, err);
    mc_tensor_unref(t);
    return rc;
}

static int add(struct mc_graph *g, size_t pos, const char *op, struct mc_value *const *in,
               size_t n_in, struct mc_value *out, struct mc_node **ret, struct mc_err *err)
{
    return out ? mc_edit_node(g, pos, op, "", 0, "", in, n_in, &out, 1, ret, err) : no_memory(err);
}

/* What the node makes, of constants and elements of s, before it. */
static int chosen(struct mc_node *n, const struct choice *c, struct mc_value **ret,
                  struct mc_err *err)
{
    struct mc_graph *g = n->graph;
    struct mc_value *piece[MC_PARTIAL_MAX], *in[2] = {c->s, NULL};
    struct mc_node *made;
    int n_pieces = 0, rc = 0;
    for (int i = 0, run; i < c->n && !rc; i += run) {
        int64_t index[MC_PARTIAL_MAX];
        for (run = 0; i + run < c->n && c->own[i + run] == c->own[i]; run++)
            index[run] = i + run;
        if (run == c->n && c->own[i]) {
            *ret = c->s;
            return 0;
        }
        rc = add_vector(g, n->pos, c->s->name, c->own[i] ? index : c->value + i, run, &in[1], err);
        piece[n_pieces] = in[1];
        if (!rc && c->own[i]) {
            rc = add(g, n->pos, "Gather", in, 2, mc_edit_fresh(g, c->s->name), &made, err);
            piece[n_pieces] = rc ? NULL : made->out[0];
        }
        n_pieces++;
    }
    if (rc)
        return rc;
    *ret = piece[0];
    if (n_pieces == 1)
        return 0;
    rc =
        add(g, n->pos, "Concat", piece, (size_t)n_pieces, mc_edit_fresh(g, c->s->name), &made, err);
    rc = rc ? rc : mc_edit_attr_int(made, "axis", 0, err);
    *ret = rc ? NULL : made->out[0];
    return rc;
}

int mc_rewrite_choices(struct mc_graph *g, const struct mc_infer *inf, bool *ret_any,
                       struct mc_err *err)
{
    for (size_t i = 0; i < g->n_nodes; i++) {
        struct mc_node *n = g->nodes[i];
        struct mc_value *to = NULL;
        struct choice c;
        if (n->n_in != 3 || n->n_out != 1 || !n->out[0] || !n->out[0]->n_uses ||
            !decide(inf, n, &c))
            continue;
        int rc = chosen(n, &c, &to, err);
        rc = rc ? rc : mc_edit_replace_uses(n->out[0], to, err);
        if (rc)
            return rc;
        *ret_any = true;
        i = n->pos;
    }
    return 0;
}

/* ---- joins ---- */

struct atom { /* an axis of x, or a factor of one */
    int axis;
    int64_t length;
    bool part;
};

struct plain {
    struct atom atom[2 * MC_RANK_MAX]; /* in order of x */
    int n_atoms;
    int perm[2 * MC_RANK_MAX]; /* atoms in order of y */
};

/* Axes of m in atoms of x: first[i], count[i] of each. One axis of m is of unknown length and has what is left. */
static bool take_apart(const struct mc_shape *x, const struct mc_shape *m, struct plain *p,
                       int *first, int *count)
{
    struct mc_block block[MC_BLOCKS_MAX];
    int n = mc_blocks_of(x, m, block), open = -1;
    p->n_atoms = 0;
    for (int i = 0; i < n; i++) {
        struct mc_block *b = &block[i];
        bool over = b->over_in > 1;
        if (b->over_out > 1 || (b->open && (b->n_out != 1 || open >= 0)) ||
            (!b->open && b->n_in > 1 && b->n_out > 1) || (over && b->n_in > 1))
            return false;
        if (b->open)
            open = b->out[0];
        if (over && !b->inside) /* an outer factor belongs to the open axis before it */
            p->atom[p->n_atoms++] = (struct atom){b->in[0], b->over_in, true};
        if (over && !b->inside && (open < 0 || i == 0 || !block[i - 1].open))
            return false;
        if (over && !b->inside)
            count[open]++;
        for (int k = 0; k < b->n_out; k++)
            first[b->out[k]] = p->n_atoms + k * (b->n_out > 1);
        for (int k = 0; k < b->n_out; k++)
            count[b->out[k]] = b->n_out > 1 ? 1 : b->open ? b->n_in : over ? 1 : b->n_in;
        if (over || b->n_out > 1)
            for (int k = 0; k < b->n_out; k++)
                p->atom[p->n_atoms++] = (struct atom){b->in[0], m->dim[b->out[k]], true};
        else
            for (int k = 0; k < b->n_in; k++)
                p->atom[p->n_atoms++] = (struct atom){b->in[k], x->dim[b->in[k]], false};
        if (over && b->inside)
            return false;
    }
    return open >= 0;
}

/* One length of y may be unknown where the atom's is known by name: the number of elements says it is the same. */
static bool fits(const struct plain *p, int n, const struct mc_shape *y)
{
    bool loose = false;
    if (n != y->rank)
        return false;
    for (int i = 0; i < n; i++) {
        int64_t a = p->atom[p->perm[i]].length;
        if (a == y->dim[i] && a != MC_DIM_ANY)
            continue;
        if (loose || (a >= 0 && y->dim[i] >= 0))
            return false;
        loose = true;
    }
    return true;
}

static bool has_ones(const struct mc_shape *s)
{
    for (int i = 0; i < s->rank; i++)
        if (s->dim[i] == 1)
            return true;
    return false;
}

static const struct mc_shape *shape_of(const struct mc_infer *inf, const struct mc_value *v)
{
    const struct mc_vtype *t = v ? mc_infer_of(inf, v) : NULL;
    return t && t->ranked && t->shape.rank < MC_RANK_MAX ? &t->shape : NULL;
}

/* The three nodes that end in `last`, without joining; NULL: they are not such. *ret_x is what they read. */
static struct mc_value *found(const struct mc_infer *inf, const struct mc_node *last,
                              struct plain *p)
{
    const struct mc_node *turn = mc_node_is(last, "Reshape") ? last->in[0]->producer : NULL;
    const struct mc_node *head =
        turn && mc_node_is(turn, "Transpose") ? turn->in[0]->producer : NULL;
    if (!head || !mc_node_is(head, "Reshape"))
        return NULL;
    const struct mc_shape *x = shape_of(inf, head->in[0]), *m = shape_of(inf, head->out[0]);
    const struct mc_shape *y = shape_of(inf, last->out[0]);
    int first[MC_RANK_MAX] = {0}, count[MC_RANK_MAX] = {0}, to = 0;
    size_t n_perm;
    const int64_t *perm = mc_node_ints(turn, "perm", &n_perm);
    if (!x || !m || !y || !perm || n_perm != (size_t)m->rank || has_ones(x) || has_ones(m) ||
        has_ones(y) || !take_apart(x, m, p, first, count) || p->n_atoms > MC_RANK_MAX)
        return NULL;
    for (int i = 0; i < m->rank; i++)
        for (int k = 0; k < count[perm[i]]; k++)
            p->perm[to++] = first[perm[i]] + k;
    return to == p->n_atoms && fits(p, to, y) ? head->in[0] : NULL;
}

/* Cut axes of x into atoms: lengths of whole axes are copied (0) where they keep their place. False: they cannot be said. */
static bool target_of(const struct plain *p, int64_t *to)
{
    int holes = 0;
    for (int i = 0; i < p->n_atoms; i++) {
        const struct atom *a = &p->atom[i];
        bool copied = !a->part && a->axis == i;
        to[i] = copied ? 0 : a->length >= 0 ? a->length : -1;
        holes += to[i] < 0;
    }
    return holes < 2;
}

/* In place of the last node, which goes; the others are swept. */
static int rewrite(struct mc_node *last, const struct plain *p, struct mc_value *x,
                   struct mc_err *err)
{
    struct mc_graph *g = last->graph;
    struct mc_value *y = last->out[0], *in[2] = {x, NULL};
    struct mc_node *made;
    int64_t to[MC_RANK_MAX], perm[MC_RANK_MAX];
    size_t pos = last->pos;
    bool cut = false;
    for (int i = 0; i < p->n_atoms; i++) {
        cut |= p->atom[i].part;
        perm[i] = p->perm[i];
    }
    if (cut && !target_of(p, to))
        return 0;
    mc_edit_remove_node(last);
    if (cut) {
        int rc = add_vector(g, pos, y->name, to, p->n_atoms, &in[1], err);
        struct mc_value *parts = mc_edit_fresh(g, y->name);
        rc = rc ? rc : add(g, pos++, "Reshape", in, 2, parts, &made, err);
        if (rc)
            return rc;
        in[0] = parts;
    }
    int rc = add(g, pos, "Transpose", in, 1, y, &made, err);
    return rc ? rc : mc_edit_attr_ints(made, "perm", perm, (size_t)p->n_atoms, err);
}

int mc_rewrite_joins(struct mc_graph *g, const struct mc_infer *inf, bool *ret_any,
                     struct mc_err *err)
{
    for (size_t i = 0; i < g->n_nodes; i++) {
        struct plain p;
        struct mc_value *x =
            g->nodes[i]->n_in && g->nodes[i]->in[0] ? found(inf, g->nodes[i], &p) : NULL;
        int rc = x ? rewrite(g->nodes[i], &p, x, err) : 0;
        if (rc)
            return rc;
        *ret_any |= x != NULL;
    }
    return 0;
}

/* ---- what is shared by chance ---- */

/* Of int64, shapes and axes, there are many, and no units. */
static bool is_fresh_vector(const struct mc_tensor *t)
{
    size_t size = mc_dtype_info(t->dtype)->bits / 8;
    int64_t n = mc_tensor_count(t), longest = 0;
    for (int i = 0; i < t->shape.rank; i++)
        longest = t->shape.dim[i] > longest ? t->shape.dim[i] : longest;
    return t->dtype != MC_DTYPE_I64 && size && n > 1 && n == longest &&
           !memcmp(t->data, t->data + size, t->bytes - size);
}

int mc_rewrite_shared(struct mc_graph *g, struct mc_err *err)
{
    size_t n_values = g->n_values;
    bool *seen = mc_calloc(n_values + 1, sizeof *seen);
    int rc = seen ? 0 : no_memory(err);
    for (size_t i = 0; i < g->n_nodes; i++) {
        struct mc_node *n = g->nodes[i];
        for (size_t k = 0; k < n->n_in && !rc && !mc_node_is(n, "Identity"); k++) {
            struct mc_value *v = n->in[k];
            const struct mc_tensor *t = v ? mc_constant(v) : NULL;
            if (!t || !is_fresh_vector(t))
                continue;
            while (v->producer && mc_node_is(v->producer, "Identity"))
                v = v->producer->in[0];
            if (v->outer || v->index >= n_values)
                continue;
            if (seen[v->index]) {
                struct mc_value *own = mc_edit_constant(g, v->name, mc_tensor_ref(t));
                mc_tensor_unref((struct mc_tensor *)(uintptr_t)t);
                rc = own ? mc_edit_set_input(n, k, own, err) : no_memory(err);
            }
            seen[v->index] = true;
        }
    }
    free(seen);
    return rc;
}
