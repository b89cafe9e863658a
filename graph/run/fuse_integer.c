#include "graph/run/fuse_integer.h"

#include <limits.h>
#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "graph/ops/helper.h"
#include "graph/ops/int8.h"

bool mc_integer_is(const struct mc_step *st, const char *name)
{
    return !st->skip && !st->boundary && !st->lists && st->round == MC_DTYPE_NONE &&
           st->call.op->name && !strcmp(st->call.op->name, name);
}

const struct mc_buf *mc_integer_constant(struct mc_integers *f, const struct mc_value *v)
{
    struct mc_err err;
    struct mc_buf unused;
    if (!mc_session_const(f->s, v) || mc_step_use(f->s, f->p, v, &unused, &err))
        return NULL;
    const struct mc_buf *b = &f->p->values[v->index].buf;
    return b->constant && b->data ? b : NULL;
}

bool mc_integer_side_of(struct mc_integers *f, const struct mc_value *scale,
                        const struct mc_value *zero, struct mc_integer_side *ret)
{
    const struct mc_buf *s = scale ? mc_integer_constant(f, scale) : NULL;
    const struct mc_buf *z = zero ? mc_integer_constant(f, zero) : NULL;
    if (!s || s->dtype != MC_DTYPE_F32 || mc_op_count(s) != 1 ||
        (zero && (!z || mc_op_count(z) != 1)))
        return false;
    *ret = (struct mc_integer_side){.scale = *(const float *)s->data, .zero = mc_int8_first(z)};
    return ret->scale > 0 && isfinite(ret->scale);
}

bool mc_integer_is_bytes(const struct mc_plan *p, const struct mc_value *v)
{
    enum mc_dtype dtype = p->values[v->index].buf.dtype;
    return dtype == MC_DTYPE_U8 || dtype == MC_DTYPE_I8;
}

bool mc_integer_from(struct mc_integers *f, const struct mc_value *v, bool constant,
                     struct mc_quantised *ret)
{
    const struct mc_pvalue *pv = &f->p->values[v->index];
    const struct mc_node *n = v->producer;
    if (pv->buf.dtype != MC_DTYPE_F32)
        return false;
    if (pv->buf.constant) {
        if (!constant || !n || strcmp(n->op_type, "DequantizeLinear") ||
            !mc_integer_constant(f, n->in[0]))
            return false;
        ret->v = n->in[0];
        return mc_integer_is_bytes(f->p, ret->v) &&
               mc_integer_side_of(f, n->in[1], n->n_in > 2 ? n->in[2] : NULL, &ret->side);
    }
    const struct mc_step *st = pv->live || pv->def < 0 ? NULL : &f->p->steps[pv->def];
    if (!st || !mc_integer_is(st, "DequantizeLinear"))
        return false;
    ret->v = st->in[0];
    return mc_integer_is_bytes(f->p, ret->v) &&
           mc_integer_side_of(f, st->in[1], st->call.n_in > 2 ? st->in[2] : NULL, &ret->side);
}

int mc_integer_reader(const struct mc_plan *p, const struct mc_value *v)
{
    const struct mc_pvalue *pv = &p->values[v->index];
    return pv->uses == 1 && pv->last != INT_MAX && !pv->apart ? pv->last : -1;
}

int mc_integer_to(struct mc_integers *f, const struct mc_value *v, struct mc_integer_side *ret)
{
    int i = mc_integer_reader(f->p, v);
    const struct mc_step *st = i < 0 ? NULL : &f->p->steps[i];
    if (!st || !mc_integer_is(st, "QuantizeLinear") || st->in[0] != v || !st->out[0] ||
        !mc_integer_is_bytes(f->p, st->out[0]) ||
        !mc_integer_side_of(f, st->in[1], st->call.n_in > 2 ? st->in[2] : NULL, ret))
        return -1;
    return i;
}

static int32_t cut(double v, int32_t lo, int32_t hi)
{
    return !(v > lo) ? lo : v > hi ? hi : (int32_t)v;
}

void mc_integer_range(const struct mc_integer_side *y, enum mc_dtype dtype, double least,
                      double most, struct mc_s8_out *to)
{
    int32_t lo, hi;
    mc_int8_range(dtype, &lo, &hi);
    to->type = dtype == MC_DTYPE_U8 ? MC_S8_U8 : MC_S8_I8;
    to->zero = y->zero;
    to->lo = cut((double)rintf((float)least / y->scale) + y->zero, lo, hi);
    to->hi = cut((double)rintf((float)most / y->scale) + y->zero, lo, hi);
    to->hi = to->hi < to->lo ? to->lo : to->hi;
}

bool mc_integer_replace(const struct mc_fuse_group *g, const struct mc_op *op,
                        struct mc_value *const *in, int n_in, const struct mc_integer *what)
{
    struct mc_arena *mem = &g->p->mem;
    struct mc_integer *kept = mc_arena_array(mem, 1, sizeof *kept);
    struct mc_integer_side *x = mc_arena_array(mem, (size_t)n_in, sizeof *x);
    if (!kept || !x)
        return false;
    struct mc_step *st = mc_fuse_group_replace(g, op, in, n_in);
    if (!st)
        return false;
    memcpy(x, what->x, (size_t)n_in * sizeof *x);
    *kept = *what;
    kept->x = x;
    st->call.integer = kept;
    st->call.epilogue = NULL;
    st->residual = st->bias = NULL;
    return true;
}

static bool is_wanted(const struct mc_plan *p, const struct mc_step *st)
{
    bool wanted = st->boundary;
    for (int j = 0; j < st->call.n_out && !wanted; j++) {
        const struct mc_pvalue *v = st->out[j] ? &p->values[st->out[j]->index] : NULL;
        wanted = v && (v->uses > 0 || v->last == INT_MAX || v->apart);
    }
    return wanted;
}

/* Steps whose results nobody reads any more: every maker is before its readers. */
static void drop_unread(struct mc_plan *p)
{
    for (int i = p->n_steps - 1; i >= 0; i--) {
        struct mc_step *st = &p->steps[i];
        if (is_wanted(p, st))
            continue;
        st->skip = true;
        for (int j = 0; j < st->call.n_in; j++)
            if (st->in[j])
                p->values[st->in[j]->index].uses--;
        for (int j = 0; j < st->call.n_out; j++)
            if (st->out[j])
                p->values[st->out[j]->index].buf.dtype = MC_DTYPE_NONE;
    }
    mc_plan_compact(p);
}

void mc_fuse_integers(struct mc_session *s, struct mc_plan *p)
{
    static bool (*const patterns[])(struct mc_integers *, int) = {
        mc_integer_product, mc_integer_dynamic, mc_integer_pair, mc_integer_pool,
        mc_integer_concat,  mc_integer_table,   mc_integer_move};
    struct mc_integers f = {.s = s, .p = p};
    bool some = false;
    if (s->gpu.gpu) /* has its conversions, and products of floats as fast as of integers */
        return;
    for (int i = 0; i < p->n_steps; i++)
        for (size_t k = 0; k < sizeof patterns / sizeof *patterns && !p->steps[i].skip; k++)
            if (patterns[k](&f, i)) {
                some = true;
                break;
            }
    if (!some)
        return;
    mc_plan_compact(p);
    drop_unread(p);
    mc_integer_lay(&f);
}
