#include "base/mem.h"
#include "graph/run/plan.h"

bool mc_step_has(const struct mc_session *s, const struct mc_plan *p, const struct mc_value *v)
{
    if (p->values[v->index].buf.dtype != MC_DTYPE_NONE || mc_live_there(&s->live[v->index]) ||
        mc_session_const(s, v))
        return true;
    while (p && !p->known[v->index])
        p = p->parent;
    return p != NULL;
}

int mc_step_use(struct mc_session *s, struct mc_plan *p, const struct mc_value *v,
                struct mc_buf *ret, struct mc_err *err)
{
    struct mc_pvalue *pv = &p->values[v->index];
    const struct mc_live *l = &s->live[v->index];
    if (pv->buf.dtype == MC_DTYPE_NONE && l->buf.dtype != MC_DTYPE_NONE) {
        *pv = (struct mc_pvalue){.buf = l->buf,
                                 .type = l->type,
                                 .slot = MC_SLOT_NONE,
                                 .def = -1,
                                 .last = -1,
                                 .live = true};
        pv->buf.data = NULL;
    } else if (pv->buf.dtype == MC_DTYPE_NONE) {
        const struct mc_const *c;
        int rc = mc_plan_const(s, p, v, &c, err);
        if (rc)
            return rc;
        if (!c)
            return mc_fail(err, MC_EUNSUP, "the value '%s' is used before anything makes it",
                           v->name);
        *pv = (struct mc_pvalue){
            .buf = c->buf, .type = c->type, .slot = MC_SLOT_NONE, .def = -1, .last = -1};
    }
    *ret = pv->buf;
    return 0;
}

static int define(const struct mc_session *s, struct mc_plan *p, const struct mc_infer *inf,
                  const struct mc_node *n, const struct mc_value *v, struct mc_buf *ret,
                  struct mc_err *err)
{
    const struct mc_vtype *t = mc_infer_of(inf, v);
    size_t bytes;
    *ret = (struct mc_buf){mc_run_dtype(s->precision, t->dtype), false, t->shape, NULL};
    if (!mc_dtype_bytes(ret->dtype, mc_shape_count(&t->shape), &bytes))
        return mc_op_fail(err, MC_EUNSUP, n, "'%s' of type %s cannot be run", v->name,
                          mc_dtype_name(t->dtype));
    p->values[v->index] = (struct mc_pvalue){
        .buf = *ret, .type = t->dtype, .slot = MC_SLOT_NONE, .def = -1, .last = -1};
    return 0;
}

/* An output that lives after the step, of a size that only running tells. */
static int announce(const struct mc_session *s, const struct mc_infer *inf, struct mc_step *st,
                    size_t i, struct mc_err *err)
{
    const struct mc_node *n = st->call.node;
    const struct mc_vtype *t = mc_infer_of(inf, n->out[i]);
    if (t->dtype == MC_DTYPE_NONE && !st->lists &&
        !(st->call.op->flags & (MC_OP_BODY | MC_OP_LIST)))
        return mc_op_fail(err, MC_EUNSUP, n, "the type of '%s' is not known", n->out[i]->name);
    st->out_type[i] = t->dtype;
    st->call.out[i].dtype = mc_run_dtype(s->precision, t->dtype);
    st->call.out[i].shape.rank = -1;
    return 0;
}

void mc_step_number(struct mc_plan *p, int i)
{
    const struct mc_step *st = &p->steps[i];
    const struct mc_value *added[] = {st->residual, st->bias};
    for (int j = 0; j < st->call.n_in + 2; j++) {
        const struct mc_value *v = j < st->call.n_in ? st->in[j] : added[j - st->call.n_in];
        struct mc_pvalue *pv = v ? &p->values[v->index] : NULL;
        if (!pv)
            continue;
        pv->uses++;
        pv->last = i > pv->last ? i : pv->last;
    }
    for (int j = 0; j < st->call.n_out; j++)
        if (st->out[j])
            p->values[st->out[j]->index].def = i;
}

static int allocate(struct mc_plan *p, struct mc_step *st, const struct mc_node *n, size_t captures,
                    struct mc_err *err)
{
    size_t n_in = n->n_in + captures, total = n_in + n->n_out + 1;
    struct mc_buf *buf = mc_arena_array(&p->mem, total, sizeof *buf);
    struct mc_value **val = mc_arena_array(&p->mem, total, sizeof(void *));
    st->in_type = mc_arena_array(&p->mem, total, sizeof *st->in_type);
    if (!buf || !val || !st->in_type)
        return mc_fail(err, MC_ENOMEM, "out of memory");
    st->call.n_in = (int)n_in;
    st->call.n_out = (int)n->n_out;
    st->call.in = buf;
    st->call.out = buf + n_in;
    st->in = val;
    st->out = val + n_in;
    st->out_type = st->in_type + n_in;
    st->scratch_slot = MC_SLOT_NONE;
    for (size_t i = 0; i < n->n_in; i++)
        st->in[i] = n->in[i];
    if (captures)
        mc_body_captures(n, st->in + n->n_in);
    for (size_t i = 0; i < captures; i++)
        st->in[n->n_in + i] = st->in[n->n_in + i]->outer;
    for (size_t i = 0; i < n->n_out; i++)
        st->out[i] = n->out[i];
    return 0;
}

int mc_step_make(struct mc_session *s, struct mc_plan *p, const struct mc_infer *inf,
                 const struct mc_node *n, bool boundary, struct mc_err *err)
{
    struct mc_step *st = &p->steps[p->n_steps];
    const struct mc_op *op = s->ops[n->id];
    *st = (struct mc_step){.call = {.node = n, .op = op, .pool = s->pool, .packs = s->packs},
                           .boundary = boundary};
    size_t captures = op->flags & MC_OP_BODY ? mc_body_captures(n, NULL) : 0;
    int rc = allocate(p, st, n, captures, err);
    for (size_t i = 0; i < n->n_in && !(op->flags & MC_OP_BODY); i++)
        st->lists |= n->in[i] && s->live[n->in[i]->index].list;
    for (int i = 0; i < st->call.n_in && !rc; i++) {
        if (!st->in[i] || s->live[st->in[i]->index].list)
            continue;
        rc = mc_step_use(s, p, st->in[i], &st->call.in[i], err);
        st->in_type[i] = p->values[st->in[i]->index].type;
    }
    for (size_t i = 0; i < n->n_out && !rc; i++)
        if (n->out[i])
            rc = boundary ? announce(s, inf, st, i, err)
                          : define(s, p, inf, n, n->out[i], &st->call.out[i], err);
    if (rc)
        return rc;
    st->call.k = mc_run_kernels(s, &st->call);
    if (s->precision == MC_PRECISION_MODEL &&
        (mc_node_is(n, "Cast") || mc_node_is(n, "CastLike")) && n->n_out && n->out[0]) {
        enum mc_dtype to = p->values[n->out[0]->index].type;
        st->round = to == MC_DTYPE_F16 || to == MC_DTYPE_BF16 ? to : MC_DTYPE_NONE;
    }
    mc_step_number(p, p->n_steps++);
    return 0;
}
