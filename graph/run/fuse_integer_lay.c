#include <limits.h>
#include <stdlib.h>

#include "base/mem.h"
#include "graph/run/fuse_integer.h"

/* Convolutions are fastest with channels last, and all other steps on integers but products of matrices take them
 * so: a value that only such steps make and read has them there. Inside of a region nothing is rearranged then. */

/* The two ends of a region get operators that know of layouts. */
static void border(struct mc_integers *f, struct mc_step *st)
{
    bool in = mc_integer_is(st, "QuantizeLinear"), out = mc_integer_is(st, "DequantizeLinear");
    struct mc_integer_side side;
    if ((!in && !out) || !st->out[0] || st->call.out[0].shape.rank < 3 ||
        (in && st->call.in[0].dtype != MC_DTYPE_F32) ||
        (out && st->call.out[0].dtype != MC_DTYPE_F32) ||
        !mc_integer_is_bytes(f->p, in ? st->out[0] : st->in[0]) ||
        !mc_integer_side_of(f, st->in[1], st->call.n_in > 2 ? st->in[2] : NULL, &side))
        return;
    struct mc_integer *s = mc_arena_array(&f->p->mem, 1, sizeof *s);
    struct mc_integer_side *x =
        mc_arena_array(&f->p->mem, (size_t)st->call.n_in, sizeof *x); /* zeroed */
    if (!s || !x)
        return;
    x[0] = s->y = side;
    s->x = x;
    st->call.integer = s;
    st->call.op = in ? &mc_op_integer_quantize : &mc_op_integer_dequantize;
}

static bool may_move(const struct mc_plan *p, const struct mc_value *v)
{
    const struct mc_pvalue *pv = &p->values[v->index];
    return mc_integer_is_bytes(p, v) && pv->buf.shape.rank >= 3 && pv->last != INT_MAX &&
           !pv->apart && !pv->live && !pv->buf.constant && pv->def >= 0;
}

void mc_integer_lay(struct mc_integers *f)
{
    struct mc_plan *p = f->p;
    bool some = false;
    for (int i = 0; i < p->n_steps && !some; i++)
        some = p->steps[i].call.op == &mc_op_integer_conv;
    bool *plain = some ? mc_calloc(p->n_pvalues + 1, sizeof *plain) : NULL;
    if (!plain)
        return;
    for (int i = 0; i < p->n_steps; i++)
        border(f, &p->steps[i]);
    for (int i = 0; i < p->n_steps; i++) {
        const struct mc_step *st = &p->steps[i];
        bool knows = st->call.integer && st->call.op != &mc_op_integer_product;
        for (int j = 0; j < st->call.n_in && !knows; j++)
            if (st->in[j])
                plain[st->in[j]->index] = true;
        for (int j = 0; j < st->call.n_out && !knows; j++)
            if (st->out[j])
                plain[st->out[j]->index] = true;
    }
    for (int i = 0; i < p->n_steps; i++) {
        struct mc_step *st = &p->steps[i];
        struct mc_integer *s = st->call.integer; /* of this plan */
        for (int j = 0; s && j < st->call.n_in; j++)
            s->x[j].last = st->in[j] && !plain[st->in[j]->index] && may_move(p, st->in[j]);
        if (s)
            s->y.last = !plain[st->out[0]->index] && may_move(p, st->out[0]);
    }
    free(plain);
}
