#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "graph/constant.h"
#include "graph/ops/pack.h"
#include "graph/run/fold.h"
#include "graph/run/plan.h"

static int infer(struct mc_session *s, struct mc_plan *p, struct mc_infer **ret, struct mc_err *err)
{
    struct mc_infer_input *in = mc_arena_array(&p->mem, (size_t)s->n_inputs + 1, sizeof *in);
    if (!in)
        return mc_fail(err, MC_ENOMEM, "out of memory");
    size_t n = 0;
    for (int i = 0; i < s->n_inputs; i++)
        if (p->signature[i].rank >= 0)
            in[n++] = (struct mc_infer_input){s->inputs[i].value->name,
                                              s->inputs[i].value->type.dtype, p->signature[i]};
    struct mc_infer_opts o = {.inputs = in, .n_inputs = n, .eval = mc_fold_eval};
    return mc_infer_run(s->g, &o, ret, err);
}

/* The buffer of an input: a constant with its data, or a value that a step or the caller fills. */
static int use(struct mc_session *s, struct mc_plan *p, const struct mc_value *v,
               struct mc_buf *ret, struct mc_err *err)
{
    struct mc_pvalue *pv = &p->values[v->index];
    if (pv->buf.dtype == MC_DTYPE_NONE) {
        const struct mc_const *c;
        int rc = mc_plan_const(s, p, v, &c, err);
        if (rc)
            return rc;
        if (!c)
            return mc_fail(err, MC_EUNSUP, "the value '%s' is used before anything makes it",
                           v->name);
        *pv = (struct mc_pvalue){c->buf, c->buf.dtype, MC_SLOT_NONE, -1, -1, 0};
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
    if (t->dtype == MC_DTYPE_NONE || !t->ranked || !mc_shape_known(&t->shape))
        return mc_op_fail(err, MC_EUNSUP, n,
                          "the shape of '%s' depends on the data, which cannot be run", v->name);
    *ret = (struct mc_buf){mc_run_dtype(s->precision, t->dtype), false, t->shape, NULL};
    if (!mc_dtype_bytes(ret->dtype, mc_shape_count(&t->shape), &bytes))
        return mc_op_fail(err, MC_EUNSUP, n, "'%s' of type %s cannot be run", v->name,
                          mc_dtype_name(t->dtype));
    p->values[v->index] = (struct mc_pvalue){*ret, t->dtype, MC_SLOT_NONE, -1, -1, 0};
    return 0;
}

void mc_step_number(struct mc_plan *p, int i)
{
    const struct mc_step *st = &p->steps[i];
    for (int j = 0; j <= st->call.n_in; j++) {
        const struct mc_value *v = j < st->call.n_in ? st->in[j] : st->residual;
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

static int make_step(struct mc_session *s, struct mc_plan *p, const struct mc_infer *inf,
                     const struct mc_node *n, struct mc_err *err)
{
    struct mc_step *st = &p->steps[p->n_steps];
    struct mc_buf *buf = mc_arena_array(&p->mem, n->n_in + n->n_out + 1, sizeof *buf);
    struct mc_value **val = mc_arena_array(&p->mem, n->n_in + n->n_out + 1, sizeof(void *));
    if (!buf || !val)
        return mc_fail(err, MC_ENOMEM, "out of memory");
    st->call = (struct mc_call){.node = n,
                                .op = s->ops[n->id],
                                .n_in = (int)n->n_in,
                                .n_out = (int)n->n_out,
                                .in = buf,
                                .out = buf + n->n_in,
                                .pool = s->pool,
                                .packs = s->packs};
    st->in = val;
    st->out = val + n->n_in;
    st->scratch_slot = MC_SLOT_NONE;
    int rc = 0;
    for (size_t i = 0; i < n->n_in && !rc; i++) {
        st->in[i] = n->in[i];
        if (n->in[i])
            rc = use(s, p, n->in[i], &st->call.in[i], err);
    }
    for (size_t i = 0; i < n->n_out && !rc; i++) {
        st->out[i] = n->out[i];
        if (n->out[i])
            rc = define(s, p, inf, n, n->out[i], &st->call.out[i], err);
    }
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

/* Inference lets a node pass whose mode its row cannot do, or whose attributes are references, and takes what
 * the model declares for its outputs. Running must not: ask the row again, and hold it to what is planned. */
static int check_row(struct mc_session *s, struct mc_plan *p, struct mc_infer *inf,
                     const struct mc_node *n, struct mc_err *err)
{
    const struct mc_vtype **in = mc_arena_array(&p->mem, n->n_in + 1, sizeof *in);
    struct mc_vtype **out = mc_arena_array(&p->mem, n->n_out + 1, sizeof *out);
    struct mc_vtype *fill = mc_arena_array(&p->mem, n->n_out + 1, sizeof *fill);
    if (!in || !out || !fill)
        return mc_fail(err, MC_ENOMEM, "out of memory");
    for (size_t i = 0; i < n->n_attr; i++)
        if (n->attr[i].ref)
            return mc_op_fail(err, MC_EUNSUP, n, "attribute '%s' refers to '%s' of no function",
                              n->attr[i].name, n->attr[i].ref);
    for (size_t i = 0; i < n->n_in; i++)
        in[i] = n->in[i] ? mc_infer_of(inf, n->in[i]) : NULL;
    for (size_t i = 0; i < n->n_out; i++)
        out[i] = n->out[i] ? &fill[i] : NULL;
    struct mc_infer_ctx c = {n, (int)n->n_in, (int)n->n_out, in, out, inf};
    int rc = s->ops[n->id]->infer(&c, err);
    for (size_t i = 0; i < n->n_out && !rc; i++) {
        const struct mc_vtype *t = n->out[i] ? mc_infer_of(inf, n->out[i]) : NULL;
        bool same = !t || !fill[i].ranked || !t->ranked || fill[i].shape.rank == t->shape.rank;
        for (int d = 0; t && same && fill[i].ranked && t->ranked && d < t->shape.rank; d++)
            same = fill[i].shape.dim[d] < 0 || t->shape.dim[d] < 0 ||
                   fill[i].shape.dim[d] == t->shape.dim[d];
        if (!same || (t && fill[i].dtype && fill[i].dtype != t->dtype))
            rc = mc_op_fail(err, MC_ESHAPE, n, "output '%s' is not what the model declares",
                            n->out[i]->name);
    }
    return rc;
}

static int make_steps(struct mc_session *s, struct mc_plan *p, struct mc_infer *inf,
                      struct mc_err *err)
{
    const struct mc_graph *g = s->g;
    for (int i = 0; i < s->n_inputs; i++) {
        const struct mc_value *v = s->inputs[i].value;
        if (p->signature[i].rank < 0)
            continue;
        struct mc_buf b = {mc_run_dtype(s->precision, v->type.dtype), false, p->signature[i], NULL};
        p->values[v->index] = (struct mc_pvalue){b, v->type.dtype, MC_SLOT_NONE, -1, -1, 0};
    }
    for (size_t i = 0; i < g->n_nodes; i++) {
        if (!s->ops[g->nodes[i]->id])
            continue;
        bool run = false;
        int rc = check_row(s, p, inf, g->nodes[i], err);
        rc = rc ? rc : mc_plan_fold(s, p, inf, g->nodes[i], &run, err);
        if (!rc && run)
            rc = make_step(s, p, inf, g->nodes[i], err);
        if (rc)
            return rc;
    }
    for (size_t i = 0; i < g->n_values; i++)
        if (s->pinned[i]) {
            struct mc_buf unused;
            int rc = use(s, p, g->values[i], &unused, err);
            if (rc)
                return rc;
            p->values[i].last = INT_MAX;
        }
    return 0;
}

/* After fusing, so that a step knows its epilogue; constants have data, nothing else has. */
static int setup(struct mc_plan *p, struct mc_err *err)
{
    for (int i = 0; i < p->n_steps; i++) {
        struct mc_step *st = &p->steps[i];
        if (st->skip || !st->call.op->setup)
            continue;
        st->ready = true;
        int rc = st->call.op->setup(&st->call, err);
        if (rc)
            return rc;
    }
    return 0;
}

/* What is handed out: outputs and kept values. */
static int make_arrays(struct mc_session *s, struct mc_plan *p, struct mc_err *err)
{
    p->arrays = mc_arena_array(&p->mem, s->g->n_values, sizeof *p->arrays);
    if (!p->arrays)
        return mc_fail(err, MC_ENOMEM, "out of memory");
    for (size_t i = 0; i < s->g->n_values; i++) {
        if (!s->pinned[i])
            continue;
        const struct mc_buf *b = &p->values[i].buf;
        struct mc_array *a = &p->arrays[i];
        *a = (struct mc_array){s->g->values[i]->name, b->dtype, b->shape, b->data, 0};
        mc_dtype_bytes(b->dtype, mc_shape_count(&b->shape), &a->bytes);
    }
    return 0;
}

int mc_plan_new(struct mc_session *s, struct mc_plan **ret, struct mc_err *err)
{
    size_t n = s->g->n_values;
    struct mc_infer *inf = NULL;
    struct mc_plan *p = mc_calloc(1, sizeof *p);
    int rc = MC_ENOMEM;
    if (!p)
        goto nomem;
    p->n_pvalues = n;
    p->signature = mc_arena_array(&p->mem, (size_t)s->n_inputs + 1, sizeof *p->signature);
    p->consts = mc_arena_array(&p->mem, n, sizeof *p->consts);
    p->known = mc_arena_array(&p->mem, n, sizeof(void *));
    p->values = mc_arena_array(&p->mem, n, sizeof *p->values);
    p->steps = mc_arena_array(&p->mem, s->g->n_nodes, sizeof *p->steps);
    if (!p->signature || !p->consts || !p->known || !p->values || !p->steps)
        goto nomem;
    memcpy(p->signature, s->signature, (size_t)s->n_inputs * sizeof *p->signature);
    if ((rc = infer(s, p, &inf, err)) || (rc = make_steps(s, p, inf, err)))
        goto out;
    if (!(s->flags & MC_SESSION_NO_FUSE))
        mc_plan_fuse(p);
    if ((rc = mc_plan_alias(s, p, err)) || (rc = setup(p, err)) ||
        (rc = mc_plan_layout(s, p, err)) || (rc = make_arrays(s, p, err)))
        goto out;
    *ret = p;
    p = NULL;
    goto out;
nomem:
    mc_fail(err, MC_ENOMEM, "out of memory");
out:
    mc_infer_free(inf);
    mc_plan_free(s, p);
    return rc;
}

void mc_plan_free(struct mc_session *s, struct mc_plan *p)
{
    if (!p)
        return;
    for (int i = 0; i < p->n_steps; i++)
        if (p->steps[i].ready && p->steps[i].call.op->teardown)
            p->steps[i].call.op->teardown(&p->steps[i].call);
    for (size_t i = 0; i < s->g->n_values; i++) {
        if (p->consts && p->consts[i].buf.data) {
            mc_pack_forget(s->packs, p->consts[i].buf.data);
            mc_const_clear(&p->consts[i]);
        }
        if (p->known)
            mc_tensor_unref(p->known[i]);
    }
    free(p->slots);
    mc_arena_free(&p->mem);
    free(p);
}
