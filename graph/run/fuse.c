#include <limits.h>
#include <string.h>

#include "base/mem.h"
#include "graph/own/own.h"
#include "graph/run/fuse_affine.h"
#include "graph/run/fuse_gate.h"
#include "graph/run/fuse_group.h"
#include "graph/run/fuse_integer.h"
#include "graph/run/fuse_xnor.h"
#include "graph/run/plan.h"

/* Nodes behind a matrix product or convolution that its epilogue can do on the way to memory:
 * y = act(v + bias + residual), where every value between is read once and handed out to nobody. */

enum { MOST_JOINED = 12 };

struct chain {
    struct mc_plan *p;
    int head; /* step with the epilogue */
    int end;  /* last step that was joined */
    const struct mc_node *joined[MOST_JOINED];
    int n_joined;
    struct mc_epilogue e;
    const struct mc_value *bias, *residual;
    struct mc_fuse_affine affine;
};

static const struct mc_buf *buf_of(const struct mc_plan *p, const struct mc_value *v)
{
    return &p->values[v->index].buf;
}

/* One element per column that broadcasts into the product without changing its shape: a constant, or there before
 * the head runs (weights that are trained are values of a run). */
static bool is_bias(const struct chain *c, const struct mc_node *head, const struct mc_buf *out,
                    const struct mc_value *v)
{
    const struct mc_buf *b = buf_of(c->p, v);
    bool there = b->constant || c->p->values[v->index].def < c->head;
    if (!there || b->dtype != out->dtype || b->shape.rank > out->shape.rank ||
        out->shape.rank < 1 || c->bias || c->residual || (head->n_in > 2 && head->in[2]))
        return false;
    if (!mc_node_is(head, "MatMul") || buf_of(c->p, head->in[1])->shape.rank < 2)
        return false;
    int axis = out->shape.rank - 1;
    int at = axis - (out->shape.rank - b->shape.rank);
    return at >= 0 && b->shape.dim[at] == out->shape.dim[axis] &&
           mc_shape_count(&b->shape) == out->shape.dim[axis];
}

/* A value laid out as the result that is there before the head runs. Gemm adds its own third input where
 * a residual would go, unless that is a row. */
static bool is_residual(const struct chain *c, const struct mc_node *head, const struct mc_buf *out,
                        const struct mc_value *v)
{
    const struct mc_buf *b = buf_of(c->p, v);
    if (c->residual || b->dtype != out->dtype || !mc_shape_equal(&b->shape, &out->shape) ||
        c->p->values[v->index].def >= c->head)
        return false;
    if (mc_node_is(head, "Gemm") && head->n_in > 2 && head->in[2]) {
        const struct mc_shape *s = &buf_of(c->p, head->in[2])->shape;
        return s->rank > 0 && s->dim[s->rank - 1] == out->shape.dim[1] &&
               mc_shape_count(s) == out->shape.dim[1];
    }
    return true;
}

/* Its epilogue takes a scale for each channel. */
static bool is_convolution(const struct mc_node *n)
{
    return mc_node_is(n, "Conv") ||
           (!strcmp(n->domain, MC_OWN_DOMAIN) && !strncmp(n->op_type, "CirculantConv", 13));
}

/* Join the step that reads `v`; false if it cannot be. */
static bool join(struct chain *c, struct mc_step *st, const struct mc_value *v)
{
    const struct mc_node *head = c->p->steps[c->head].call.node;
    const struct mc_node *n = st->call.node;
    const struct mc_buf *out = &st->call.out[0];
    if (st->call.n_out != 1 || !st->out[0] || out->dtype != buf_of(c->p, v)->dtype ||
        !mc_shape_equal(&out->shape, &buf_of(c->p, v)->shape))
        return false;
    if (is_convolution(head) && !c->residual &&
        mc_fuse_affine_join(&c->affine, c->p, &c->p->steps[c->head], st, v))
        return true;
    if ((mc_node_is(n, "Add") || mc_node_is(n, "Sum")) && n->n_in == 2) {
        const struct mc_value *other = n->in[n->in[0] == v];
        if (is_bias(c, head, out, other))
            c->bias = other;
        else if (is_residual(c, head, out, other))
            c->residual = other;
        else
            return false;
        return true;
    }
    return st->in[0] == v && st->call.op->as_epilogue && st->call.op->as_epilogue(n, &c->e);
}

/* The only step that reads v, or -1. */
static int reader(const struct mc_plan *p, const struct mc_value *v)
{
    const struct mc_pvalue *pv = &p->values[v->index];
    return pv->uses == 1 && pv->last != INT_MAX && !pv->apart ? pv->last : -1;
}

static void extend(struct chain *c)
{
    const struct mc_value *v = c->p->steps[c->head].out[0];
    while (c->e.act == MC_ACT_NONE && c->n_joined < MOST_JOINED) {
        int next = reader(c->p, v);
        if (next < 0 || !join(c, &c->p->steps[next], v))
            return;
        c->end = next;
        c->joined[c->n_joined++] = c->p->steps[next].call.node;
        v = c->p->steps[next].out[0];
        c->p->steps[next].skip = true; /* marks what is joined until the steps are packed */
    }
}

/* Steps joined together: the last one's result is the chain's. */
static void extend_by_gate(struct chain *c)
{
    int step[MC_GATE_STEPS];
    const struct mc_value *v = c->p->steps[c->end].out[0];
    if (c->e.act != MC_ACT_NONE || c->n_joined + MC_GATE_STEPS > MOST_JOINED)
        return;
    int n = mc_fuse_gate(c->p, v, step, &c->e);
    for (int i = 0; i < n; i++) {
        c->joined[c->n_joined++] = c->p->steps[step[i]].call.node;
        c->p->steps[step[i]].skip = true;
        c->end = step[i];
    }
}

static void finish(struct chain *c)
{
    struct mc_plan *p = c->p;
    struct mc_step *head = &p->steps[c->head];
    struct mc_value *out = p->steps[c->end].out[0];
    head->epilogue = c->e;
    if (c->bias && buf_of(p, c->bias)->constant)
        head->epilogue.bias = buf_of(p, c->bias)->data;
    else
        head->bias = c->bias;
    if (c->affine.scale)
        mc_fuse_affine_finish(&c->affine, buf_of(p, out)->dtype, &head->epilogue);
    head->residual = c->residual;
    head->call.epilogue = &head->epilogue;
    head->joined = mc_arena_array(&p->mem, (size_t)c->n_joined, sizeof(void *));
    if (head->joined) { /* for profiles only */
        memcpy(head->joined, c->joined, (size_t)c->n_joined * sizeof(void *));
        head->n_joined = c->n_joined;
    }
    p->values[head->out[0]->index].buf.dtype = MC_DTYPE_NONE;
    head->out[0] = out;
    head->call.out[0] = *buf_of(p, out);
    p->values[out->index].def = c->head;
}

void mc_plan_compact(struct mc_plan *p)
{
    for (size_t v = 0, n = p->n_pvalues; v < n; v++) {
        p->values[v].uses = 0;
        if (p->values[v].last != INT_MAX)
            p->values[v].last = -1;
    }
    int kept = 0;
    for (int i = 0; i < p->n_steps; i++) {
        if (p->steps[i].skip)
            continue;
        struct mc_step *st = &p->steps[kept];
        if (kept != i) {
            *st = p->steps[i];
            if (st->call.epilogue)
                st->call.epilogue = &st->epilogue;
        }
        mc_step_number(p, kept++);
    }
    p->n_fused += p->n_steps - kept;
    p->n_steps = kept;
}

void mc_plan_fuse(struct mc_session *s, struct mc_plan *p)
{
    for (size_t i = 0; i < p->n_pvalues; i++)
        p->values[i].apart = s->apart[i];
    for (int i = 0; i < p->n_steps; i++) {
        const struct mc_step *st = &p->steps[i];
        if (st->skip || !(st->call.op->flags & MC_OP_EPILOGUE) || !st->out[0])
            continue;
        struct chain c = {.p = p, .head = i, .end = i};
        extend(&c);
        extend_by_gate(&c);
        if (c.end != i)
            finish(&c);
    }
    mc_plan_compact(p);
    if (!(s->flags & MC_SESSION_FLOAT) && s->precision == MC_PRECISION_MODEL)
        mc_fuse_integers(s, p);
    if (s->precision == MC_PRECISION_MODEL)
        mc_fuse_xnor(s, p);
    mc_fuse_norms(p);
    mc_plan_compact(p);
    mc_fuse_chains(p, s->gpu.gpu != NULL);
}
