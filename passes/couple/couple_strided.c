/* Elements read one after the other by their numbers: how torch's as_strided of a dense tensor is exported. */
#include <stdlib.h>

#include "graph/constant.h"
#include "graph/edit.h"
#include "passes/couple/couple_rewrite.h"

struct sum { /* numbers = stride * row + fixed */
    int64_t stride;
    int64_t *fixed; /* [n] of one row */
    int64_t n;
    bool rows; /* met */
};

static const struct mc_shape *shape_of(const struct mc_infer *inf, const struct mc_value *v)
{
    const struct mc_vtype *t = mc_infer_of(inf, v);
    return t->ranked ? &t->shape : NULL;
}

/* Add a constant that is broadcast over rows; of one element, or of all of a row. */
static bool add_fixed(const struct mc_tensor *t, struct sum *s)
{
    int64_t n = mc_tensor_count(t),
            *x = n == 1 || n == s->n ? mc_calloc((size_t)n, sizeof *x) : NULL;
    bool good = x && t->shape.rank && t->shape.dim[0] == 1 &&
                !mc_dtype_to_i64(t->dtype, t->data, x, (size_t)n, NULL);
    for (int64_t i = 0; good && i < s->n; i++)
        good = !__builtin_add_overflow(s->fixed[i], x[n == 1 ? 0 : i], &s->fixed[i]);
    free(x);
    return good;
}

/* stride * (0, 1, … of the rows), with axes of length 1 behind. */
static bool add_rows(const struct mc_infer *inf, const struct mc_value *v, int64_t n_rows,
                     struct sum *s)
{
    const struct mc_shape *shape = shape_of(inf, v);
    int64_t stride = 1, from;
    for (int i = 0; shape && i < shape->rank; i++)
        if (shape->dim[i] != (i ? 1 : n_rows))
            return false;
    const struct mc_node *n = v->producer;
    if (n && mc_node_is(n, "Unsqueeze"))
        n = n->in[0]->producer;
    if (n && mc_node_is(n, "Mul") && mc_constant_ints(n->in[1], &stride, 1) == 1)
        n = n->in[0]->producer;
    if (!shape || s->rows || !n || !mc_node_is(n, "Range") ||
        mc_constant_ints(n->in[0], &from, 1) != 1 || from)
        return false;
    s->rows = true;
    s->stride = stride;
    return mc_constant_ints(n->in[2], &from, 1) == 1 && from == 1;
}

static bool add_up(const struct mc_infer *inf, const struct mc_value *v, int64_t n_rows,
                   struct sum *s, int depth)
{
    const struct mc_tensor *t = mc_constant(v);
    if (t)
        return add_fixed(t, s);
    if (v->producer && mc_node_is(v->producer, "Add"))
        return depth < 8 && add_up(inf, v->producer->in[0], n_rows, s, depth + 1) &&
               add_up(inf, v->producer->in[1], n_rows, s, depth + 1);
    return add_rows(inf, v, n_rows, s);
}

/* What a Gather gives, where that is all elements in order. */
static struct mc_value *source(const struct mc_infer *inf, const struct mc_node *n)
{
    const struct mc_node *flat = mc_node_is(n, "Gather") ? n->in[0]->producer : NULL;
    if (!flat || !mc_node_is(flat, "Reshape") || mc_node_int(n, "axis", 0) || n->out[0]->is_output)
        return NULL;
    const struct mc_shape *x = shape_of(inf, flat->in[0]), *f = shape_of(inf, n->in[0]);
    const struct mc_shape *index = shape_of(inf, n->in[1]);
    if (!x || !f || !index || f->rank != 1 || !x->rank || !mc_shape_equal(x, index) ||
        x->dim[0] == MC_DIM_ANY)
        return NULL;
    struct sum s = {.n = mc_shape_span(x, 1, x->rank)};
    if (s.n < 1 || !(s.fixed = mc_calloc((size_t)s.n, sizeof *s.fixed)))
        return NULL;
    bool good = add_up(inf, n->in[1], x->dim[0], &s, 0) && s.rows && s.stride == s.n;
    for (int64_t i = 0; good && i < s.n; i++)
        good = s.fixed[i] == i;
    free(s.fixed);
    return good ? flat->in[0] : NULL;
}

int mc_rewrite_strided(struct mc_graph *g, const struct mc_infer *inf, bool *ret_any,
                       struct mc_err *err)
{
    for (size_t i = 0; i < g->n_nodes; i++) {
        struct mc_node *n = g->nodes[i];
        struct mc_value *x =
            n->n_in == 2 && n->n_out == 1 && n->out[0] && n->out[0]->n_uses ? source(inf, n) : NULL;
        int rc = x ? mc_edit_replace_uses(n->out[0], x, err) : 0;
        if (rc)
            return rc;
        *ret_any |= x != NULL;
    }
    return 0;
}
