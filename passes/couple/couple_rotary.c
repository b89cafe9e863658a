/* RotaryEmbedding of ai.onnx and of com.microsoft: columns of a head that are turned together go together, with their angle. */
#include <stdlib.h>

#include "base/mem.h"
#include "graph/edit.h"
#include "passes/couple/couple_heads.h"

static const char ROWS[] = "it is turned by its position";
static const char PAIR[] = "it is turned by an angle that stays";

static struct mc_value *input(const struct mc_couple *w, int i)
{
    return (size_t)i < w->n->n_in ? w->n->in[i] : NULL;
}

static void hold(struct mc_couple *w, const struct mc_value *v, int axis, const char *why)
{
    if (v)
        mc_couple_meet(w, v, axis, NULL, why);
}

static struct mc_value *output(const struct mc_couple *w, size_t i)
{
    return i < w->n->n_out ? w->n->out[i] : NULL;
}

struct turned {
    int cosine, sine, position;
    int64_t heads, size; /* of the operand */
};

static bool turned_of(const struct mc_node *n, const struct mc_shape *x,
                      const struct mc_shape *cosine, struct turned *t)
{
    if (!x || !cosine || x->rank < 3 || cosine->rank < 2)
        return false;
    t->heads = x->rank == 4 ? x->dim[1] : mc_node_int(n, "num_heads", 0);
    t->size = x->rank == 4 ? x->dim[3] : t->heads > 0 ? x->dim[2] / t->heads : 0;
    if (x->rank == 3 && t->heads <= 0 && n->domain[0]) {
        t->size = 2 * cosine->dim[cosine->rank - 1];
        t->heads = t->size > 0 ? x->dim[2] / t->size : 0;
    }
    return t->heads > 0 && t->size > 0;
}

/* Columns that are turned together: one half with the other, or each even one with the next. */
static const struct mc_units *pairs(struct mc_couple *w, const struct mc_units *u, int64_t half,
                                    bool interleaved)
{
    const struct mc_units *part[2] = {NULL, NULL};
    int64_t *index = mc_calloc((size_t)half, sizeof *index);
    if (!index && !w->rc)
        w->rc = mc_fail(w->err, MC_ENOMEM, "out of memory");
    for (int which = 0; which < 2 && index && u; which++) {
        for (int64_t i = 0; i < half; i++)
            index[i] = interleaved ? 2 * i + which : which * half + i;
        part[which] = mc_couple_take(w, u, index, half);
    }
    free(index);
    mc_couple_same(w, part[0], part[1], PAIR);
    return part[0];
}

static void turned_walk(struct mc_couple *w)
{
    bool ms = w->n->domain[0] != 0;
    struct turned t = {.cosine = ms ? 2 : 1, .sine = ms ? 3 : 2, .position = ms ? 1 : 3};
    const struct mc_value *x = input(w, 0), *cosine = input(w, t.cosine), *sine = input(w, t.sine);
    const struct mc_shape *s = mc_couple_shape(w, x), *c = mc_couple_shape(w, cosine);
    if (!turned_of(w->n, s, c, &t) || !output(w, 0)) {
        mc_couple_hold_node(w, "the number of heads is not known");
        return;
    }
    struct mc_heads h = {.n_shared = t.heads, .n_own = 1, .n_size = s->rank == 4 ? 1 : t.size};
    mc_heads_apart(w, mc_couple_axis(w, x, s->rank == 4 ? 1 : 2), &h);
    if (s->rank == 4)
        h.size = mc_couple_axis(w, x, 3);
    int64_t half = c->dim[c->rank - 1];
    const struct mc_units *angle = NULL;
    if (2 * half == t.size)
        angle = pairs(w, h.size, half, mc_node_int(w->n, "interleaved", 0) != 0);
    else
        mc_couple_hold(w, h.size, "only a part of each head is turned by its position");
    mc_couple_meet(w, cosine, c->rank - 1, angle, PAIR);
    mc_couple_meet(w, sine, c->rank - 1, angle, PAIR);
    mc_couple_role(w, cosine, c->rank - 1, MC_ROLE_ALONG);
    mc_couple_role(w, sine, c->rank - 1, MC_ROLE_ALONG);
    for (int d = 0; d < s->rank; d++)
        if (d == 0 || d == s->rank - 2)
            hold(w, x, d, ROWS);
    for (int d = 0; d < c->rank - 1; d++) {
        hold(w, cosine, d, ROWS);
        hold(w, sine, d, ROWS);
    }
    if (input(w, t.position))
        mc_couple_hold_value(w, input(w, t.position), ROWS);
    mc_couple_like(w, x, output(w, 0));
}

static int turned_cut(struct mc_cutting *k, struct mc_node *n, struct mc_err *err)
{
    struct turned t;
    int64_t heads, size;
    const struct mc_shape *x = mc_cutting_shape(k, n->in[0]);
    if (!turned_of(n, x, mc_cutting_shape(k, n->in[n->domain[0] ? 2 : 1]), &t))
        return 0;
    int rc =
        mc_heads_left(k, n->in[0], x->rank - 1, x->rank == 4 ? 1 : t.heads, &heads, &size, err);
    if (!rc && mc_node_int(n, "num_heads", 0) > 0 && x->rank == 3)
        rc = mc_edit_attr_int(n, "num_heads", heads, err);
    /* The width itself is cut only where all of it is turned. */
    if (!rc && mc_node_int(n, "rotary_embedding_dim", 0) > 0 && size != t.size)
        rc = mc_edit_attr_int(n, "rotary_embedding_dim", size, err);
    return rc;
}

const struct mc_couple_rule mc_couple_rotary[] = {
    {"", " RotaryEmbedding ", turned_walk, turned_cut},
    {"com.microsoft", " RotaryEmbedding ", turned_walk, turned_cut},
    {0},
};
