#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "graph/run/fold.h"
#include "graph/run/plan.h"

/* What a segment is chosen with; all arrays live as long as the choosing. */
struct choice {
    struct mc_session *s;
    struct mc_plan *p;
    struct mc_arena mem;
    struct mc_infer *inf;
    struct mc_vtype *given;       /* [n_values] of earlier segments */
    bool *done;                   /* [n_node_ids] need not run from here on */
    bool *need;                   /* [n_values] read by what is left, or handed out */
    bool *skip;                   /* [n_node_ids] not to be inferred */
    bool *learnt;                 /* [n_values] in p->learn */
    const struct mc_node **stuck; /* could run if the shapes of its outputs were known */
    size_t n_stuck, n_boundary;
};

void mc_segment_reads(const struct mc_node *n, bool *need)
{
    for (size_t i = 0; i < n->n_in; i++)
        if (n->in[i])
            need[n->in[i]->index] = true;
    for (size_t i = 0; i < n->n_attr; i++)
        for (size_t k = 0; n->attr[i].graphs && k < n->attr[i].n; k++) {
            const struct mc_graph *body = n->attr[i].graphs[k];
            for (size_t v = 0; body && v < body->n_values; v++)
                if (body->values[v] && body->values[v]->outer)
                    need[body->values[v]->outer->index] = true;
        }
}

/* What is left to do: need and skip of everything that is not done, backwards from what is handed out.
 * Returns the number of nodes whose results are no constants. */
static size_t sweep(struct choice *c)
{
    const struct mc_session *s = c->s;
    size_t left = 0;
    memcpy(c->need, s->pinned, s->g->n_values * sizeof *c->need);
    for (size_t i = s->g->n_nodes; i-- > 0;) {
        const struct mc_node *n = s->g->nodes[i];
        bool runs = false, fixed = true;
        c->skip[n->id] = true;
        if (!s->ops[n->id] || c->done[n->id])
            continue;
        for (size_t j = 0; j < n->n_out; j++) {
            runs |= n->out[j] && c->need[n->out[j]->index];
            fixed &= !n->out[j] || mc_session_const(s, n->out[j]);
        }
        if (!runs)
            continue;
        c->skip[n->id] = false;
        left += !fixed;
        mc_segment_reads(n, c->need);
    }
    return left;
}

/* ---- what is known ---- */

static int allocate(struct choice *c, struct mc_err *err)
{
    const struct mc_graph *g = c->s->g;
    size_t ids = g->n_node_ids + (size_t)1, values = g->n_values + 1;
    c->given = mc_arena_array(&c->mem, values, sizeof *c->given);
    c->done = mc_arena_array(&c->mem, ids, sizeof *c->done);
    c->need = mc_arena_array(&c->mem, values, sizeof *c->need);
    c->skip = mc_arena_array(&c->mem, ids, sizeof *c->skip);
    c->learnt = mc_arena_array(&c->mem, values, sizeof *c->learnt);
    c->stuck = mc_arena_array(&c->mem, g->n_nodes + 1, sizeof(void *));
    return c->given && c->done && c->need && c->skip && c->learnt && c->stuck
               ? 0
               : mc_fail(err, MC_ENOMEM, "out of memory");
}

static void recall(struct choice *c)
{
    const struct mc_session *s = c->s;
    for (const struct mc_plan *p = c->p->parent; p; p = p->parent) {
        for (size_t i = 0; i < p->n_took; i++)
            c->done[p->took[i]->id] = true;
        for (size_t i = 0; i < p->n_pvalues; i++)
            if (p->known[i])
                c->given[i] = (struct mc_vtype){.dtype = p->known[i]->dtype,
                                                .ranked = true,
                                                .shape = p->known[i]->shape,
                                                .known = p->known[i]};
    }
    for (size_t i = 0; i < s->g->n_values; i++) {
        const struct mc_live *l = &s->live[i];
        if (l->buf.dtype != MC_DTYPE_NONE)
            c->given[i] = (struct mc_vtype){
                .dtype = l->type, .ranked = true, .shape = l->buf.shape, .known = l->content};
    }
}

/* Declared types of inner values are hints that may be wrong: used only where nothing else helps. */
static int infer(struct choice *c, bool declared, struct mc_err *err)
{
    const struct mc_session *s = c->s;
    struct mc_infer_input *in = mc_arena_array(&c->mem, (size_t)s->n_inputs + 1, sizeof *in);
    if (!in)
        return mc_fail(err, MC_ENOMEM, "out of memory");
    size_t n = 0;
    for (int i = 0; i < s->n_inputs && !s->inner; i++)
        if (s->signature[i].rank >= 0)
            in[n++] = (struct mc_infer_input){s->inputs[i].value->name,
                                              s->inputs[i].value->type.dtype, s->signature[i]};
    struct mc_infer_opts o = {.inputs = in,
                              .n_inputs = n,
                              .eval = mc_fold_eval,
                              .undeclared = !declared,
                              .given = c->given,
                              .skip = c->skip};
    mc_infer_free(c->inf);
    c->inf = NULL;
    return mc_infer_run(s->g, &o, &c->inf, err);
}

/* ---- which nodes ---- */

/* Inference lets a node pass whose mode its row cannot do, or whose attributes are references. Running must
 * not: ask the row again. */
static int check_row(struct choice *c, const struct mc_node *n, struct mc_err *err)
{
    const struct mc_vtype **in = mc_arena_array(&c->mem, n->n_in + 1, sizeof *in);
    struct mc_vtype **out = mc_arena_array(&c->mem, n->n_out + 1, sizeof *out);
    struct mc_vtype *fill = mc_arena_array(&c->mem, n->n_out + 1, sizeof *fill);
    if (!in || !out || !fill)
        return mc_fail(err, MC_ENOMEM, "out of memory");
    for (size_t i = 0; i < n->n_attr; i++)
        if (n->attr[i].ref)
            return mc_op_fail(err, MC_EUNSUP, n, "attribute '%s' refers to '%s' of no function",
                              n->attr[i].name, n->attr[i].ref);
    for (size_t i = 0; i < n->n_in; i++)
        in[i] = n->in[i] ? mc_infer_of(c->inf, n->in[i]) : NULL;
    for (size_t i = 0; i < n->n_out; i++)
        out[i] = n->out[i] ? &fill[i] : NULL;
    struct mc_infer_ctx ctx = {n, (int)n->n_in, (int)n->n_out, in, out, c->inf};
    return c->s->ops[n->id]->infer(&ctx, err);
}

static bool inputs_are_there(const struct choice *c, const struct mc_node *n)
{
    bool there = true;
    for (size_t i = 0; i < n->n_in && there; i++)
        there = !n->in[i] || mc_step_has(c->s, c->p, n->in[i]);
    for (size_t i = 0; i < n->n_attr && there; i++)
        for (size_t k = 0; n->attr[i].graphs && k < n->attr[i].n && there; k++) {
            const struct mc_graph *body = n->attr[i].graphs[k];
            for (size_t v = 0; body && v < body->n_values && there; v++)
                there = !body->values[v] || !body->values[v]->outer ||
                        mc_step_has(c->s, c->p, body->values[v]->outer);
        }
    return there;
}

static bool outputs_are_known(const struct choice *c, const struct mc_node *n)
{
    for (size_t i = 0; i < n->n_out; i++) {
        const struct mc_vtype *t = n->out[i] ? mc_infer_of(c->inf, n->out[i]) : NULL;
        if (t && (t->dtype == MC_DTYPE_NONE || !t->ranked || !mc_shape_known(&t->shape)))
            return false;
    }
    return true;
}

/* Whatever can be done with a node in this segment. */
static int take(struct choice *c, const struct mc_node *n, struct mc_err *err)
{
    struct mc_plan *p = c->p;
    unsigned flags = c->s->ops[n->id]->flags;
    bool run, boundary = flags & (MC_OP_SIZES | MC_OP_BODY | MC_OP_LIST), known = false;
    if (!inputs_are_there(c, n))
        return 0;
    for (size_t i = 0; i < n->n_in; i++)
        boundary |= n->in[i] && c->s->live[n->in[i]->index].list;
    int rc = check_row(c, n, err);
    rc = rc ? rc : mc_plan_fold(c->s, p, c->inf, n, &run, err);
    if (rc)
        return rc;
    if (run && !boundary && !outputs_are_known(c, n)) {
        c->stuck[c->n_stuck++] = n;
        return 0;
    }
    if (run)
        rc = mc_step_make(c->s, p, c->inf, n, boundary, err);
    for (size_t i = 0; i < n->n_out; i++)
        known |= n->out[i] && p->known[n->out[i]->index];
    c->n_boundary += run && boundary;
    if (run || known)
        p->took[p->n_took++] = n;
    return rc;
}

static int take_all(struct choice *c, struct mc_err *err)
{
    const struct mc_graph *g = c->s->g;
    int rc = 0;
    c->n_stuck = 0;
    for (size_t i = 0; i < g->n_nodes && !rc; i++)
        if (!c->skip[g->nodes[i]->id])
            rc = take(c, g->nodes[i], err);
    return rc;
}

/* ---- what the next segment must know ---- */

/* Is input i of a stuck node worth knowing? First the integers that are arguments, then all integers, then
 * all that is small: what is learnt becomes a part of the next plan's signature. */
static bool worth_learning(const struct choice *c, const struct mc_node *n, size_t i, int stage)
{
    const struct mc_vtype *t = n->in[i] ? mc_infer_of(c->inf, n->in[i]) : NULL;
    if (!t || t->known || !t->ranked)
        return false;
    int64_t count = mc_shape_count(&t->shape);
    enum mc_dtype_kind kind = mc_dtype_info(t->dtype)->kind;
    if (count < 0 || count > MC_PARTIAL_MAX || kind == MC_KIND_OTHER)
        return false;
    return stage > 1 || (kind != MC_KIND_FLOAT && (stage > 0 || i > 0 || n->n_in == 1));
}

static void learn(struct choice *c)
{
    struct mc_plan *p = c->p;
    for (size_t k = 0; k < c->n_stuck; k++) {
        const struct mc_node *n = c->stuck[k];
        bool some = false;
        for (int stage = 0; stage < 3 && !some; stage++)
            for (size_t i = 0; i < n->n_in; i++) {
                if (!worth_learning(c, n, i, stage))
                    continue;
                some = true;
                if (!c->learnt[n->in[i]->index])
                    p->learn[p->n_learn++] = n->in[i];
                c->learnt[n->in[i]->index] = true;
            }
    }
}

static int no_progress(const struct choice *c, struct mc_err *err)
{
    for (size_t i = 0; i < c->n_stuck; i++) {
        const struct mc_node *n = c->stuck[i];
        for (size_t j = 0; j < n->n_out; j++)
            if (n->out[j] && !mc_shape_known(&mc_infer_of(c->inf, n->out[j])->shape))
                return mc_op_fail(err, MC_EUNSUP, n,
                                  "the shape of '%s' cannot be known before it runs",
                                  n->out[j]->name);
        return mc_op_fail(err, MC_EUNSUP, n, "the type of its outputs cannot be known");
    }
    for (size_t i = 0; i < c->s->g->n_nodes; i++) {
        const struct mc_node *n = c->s->g->nodes[i];
        for (size_t j = 0; j < n->n_in && !c->skip[n->id]; j++)
            if (n->in[j] && !mc_step_has(c->s, c->p, n->in[j]))
                return mc_op_fail(err, MC_EUNSUP, n, "'%s' is used before anything makes it",
                                  n->in[j]->name);
    }
    return mc_fail(err, MC_EUNSUP, "nothing that is left of graph '%s' can run", c->s->g->name);
}

/* ---- what is handed on ---- */

/* Outputs and kept values of the last segment. */
static int hand_out(struct choice *c, struct mc_err *err)
{
    struct mc_plan *p = c->p;
    for (size_t i = 0; i < c->s->g->n_values; i++) {
        struct mc_value *v = c->s->g->values[i];
        struct mc_buf unused;
        bool lists = c->s->inner || c->s->flags & MC_SESSION_LISTS;
        if (!c->s->pinned[i] || (lists && c->s->live[i].list))
            continue;
        if (c->s->live[i].list)
            return mc_fail(err, MC_EUNSUP,
                           "'%s' is a sequence or an optional, which cannot be handed out",
                           v->name);
        int rc = mc_step_use(c->s, p, v, &unused, err);
        if (rc)
            return rc;
        p->values[i].last = INT_MAX;
        if (c->s->inner && !p->values[i].live)
            p->carry[p->n_carry++] = v;
    }
    return 0;
}

static void hand_on(struct choice *c)
{
    struct mc_plan *p = c->p;
    for (size_t i = 0; i < c->s->g->n_values; i++) {
        struct mc_pvalue *pv = &p->values[i];
        if (c->need[i] && pv->buf.dtype != MC_DTYPE_NONE && !pv->live && !pv->buf.constant) {
            pv->last = INT_MAX;
            p->carry[p->n_carry++] = c->s->g->values[i];
        }
        if (!c->need[i] && mc_live_there(&c->s->live[i]))
            p->drop[p->n_drop++] = c->s->g->values[i];
    }
    for (int i = 0; i < p->n_steps; i++) {
        const struct mc_step *st = &p->steps[i];
        for (int j = 0; j < st->call.n_out && st->boundary; j++)
            if (st->out[j] && !c->need[st->out[j]->index])
                p->drop[p->n_drop++] = st->out[j];
    }
}

static void define_inputs(struct choice *c)
{
    const struct mc_session *s = c->s;
    for (int i = 0; i < s->n_inputs && !c->p->parent && !s->inner; i++) {
        const struct mc_value *v = s->inputs[i].value;
        struct mc_buf b = {mc_run_dtype(s->precision, v->type.dtype), false, s->signature[i], NULL};
        if (s->signature[i].rank >= 0)
            c->p->values[v->index] = (struct mc_pvalue){
                .buf = b, .type = v->type.dtype, .slot = MC_SLOT_NONE, .def = -1, .last = -1};
    }
}

static int choose(struct choice *c, struct mc_err *err)
{
    struct mc_plan *p = c->p;
    size_t left = 0;
    sweep(c);
    define_inputs(c);
    for (int declared = 0; declared < 2; declared++) {
        int rc = infer(c, declared, err);
        rc = rc ? rc : take_all(c, err);
        if (rc)
            return rc;
        for (size_t i = 0; i < p->n_took; i++)
            c->done[p->took[i]->id] = true;
        left = sweep(c);
        p->final = left == 0;
        if (!p->final)
            learn(c);
        if (p->final || p->n_took || p->n_learn)
            break;
    }
    if (p->final && !c->n_boundary)
        return hand_out(c, err);
    p->final = false;
    if (!p->n_took && !p->n_learn)
        return no_progress(c, err);
    hand_on(c);
    return 0;
}

int mc_segment_make(struct mc_session *s, struct mc_plan *p, struct mc_err *err)
{
    struct choice c = {.s = s, .p = p};
    int rc = allocate(&c, err);
    if (!rc) {
        recall(&c);
        rc = choose(&c, err);
    }
    mc_infer_free(c.inf);
    mc_arena_free(&c.mem);
    return rc;
}
