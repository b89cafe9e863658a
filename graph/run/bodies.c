/* Bodies of nodes as sessions of their own, and If. */
#include "graph/run/bodies.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "graph/constant.h"

size_t mc_body_captures(const struct mc_node *n, struct mc_value **ret)
{
    size_t count = 0;
    for (size_t i = 0; i < n->n_attr; i++)
        for (size_t k = 0; n->attr[i].graphs && k < n->attr[i].n; k++) {
            const struct mc_graph *g = n->attr[i].graphs[k];
            for (size_t v = 0; g && v < g->n_values; v++) {
                struct mc_value *p = g->values[v];
                if (!p || !p->outer || mc_constant(p))
                    continue;
                if (ret)
                    ret[count] = p;
                count++;
            }
        }
    return count;
}

void mc_body_free(struct mc_body *b)
{
    if (!b)
        return;
    for (int i = 0; i < MC_BODIES; i++)
        mc_session_free(b->session[i]);
    mc_arena_free(&b->mem);
    free(b);
}

/* Where the inputs of body i come from. */
static int connect(struct mc_body *b, int i, const struct mc_node *n, struct mc_err *err)
{
    const struct mc_session *s = b->session[i];
    size_t n_captures = mc_body_captures(n, NULL);
    struct mc_value **capture = mc_arena_array(&b->mem, n_captures + 1, sizeof(void *));
    int *from = mc_arena_array(&b->mem, (size_t)s->n_inputs + 1, sizeof *from);
    if (!capture || !from)
        return mc_fail(err, MC_ENOMEM, "out of memory");
    mc_body_captures(n, capture);
    for (int k = 0; k < s->n_inputs; k++) {
        const struct mc_value *v = s->inputs[k].value;
        for (size_t j = 0; j < s->g->n_inputs && !v->outer; j++)
            if (s->g->inputs[j] == v)
                from[k] = (int)j;
        for (size_t j = 0; j < n_captures && v->outer; j++)
            if (capture[j] == v)
                from[k] = (int)(n->n_in + j);
    }
    b->from[i] = from;
    return 0;
}

/* The sessions of a node, each made when it runs first. */
static int body_of(struct mc_session *s, const struct mc_node *n, const char *attr, int which,
                   struct mc_body **ret, struct mc_err *err)
{
    if (!s->bodies)
        s->bodies = mc_arena_array(&s->mem, s->g->n_node_ids + (size_t)1, sizeof(void *));
    if (s->bodies && !s->bodies[n->id])
        s->bodies[n->id] = mc_calloc(1, sizeof **s->bodies);
    if (!s->bodies || !s->bodies[n->id])
        return mc_fail(err, MC_ENOMEM, "out of memory");
    struct mc_body *b = s->bodies[n->id];
    int rc = 0;
    if (!b->session[which])
        rc = mc_session_inner(s, mc_node_attr(n, attr)->graphs[0], &b->session[which], err);
    if (!rc && !b->from[which])
        rc = connect(b, which, n, err);
    *ret = b;
    return rc;
}

static struct mc_live share(const struct mc_live *l)
{
    mc_block_ref(l->block);
    if (l->list)
        l->list->refs++;
    return (struct mc_live){.buf = l->buf, .type = l->type, .block = l->block, .list = l->list};
}

struct mc_live mc_body_argument(const struct mc_session *s, const struct mc_step *st, int i)
{
    const struct mc_live l = mc_body_input(s, st, i);
    return share(&l);
}

/* The arguments of a body become live in its session. */
static int give(const struct mc_session *outer, const struct mc_step *st, struct mc_body *b,
                int which, const struct mc_live *args, struct mc_err *err)
{
    struct mc_session *s = b->session[which];
    mc_live_clear(s);
    for (int i = 0; i < s->n_inputs; i++) {
        const struct mc_value *v = s->inputs[i].value;
        int from = b->from[which][i];
        const struct mc_live l = v->outer ? mc_body_input(outer, st, from) : args[from];
        if (v->type.kind == MC_TYPE_TENSOR && v->type.dtype != MC_DTYPE_NONE &&
            mc_run_dtype(s->precision, v->type.dtype) != l.buf.dtype)
            return mc_op_fail(err, MC_EDTYPE, st->call.node, "'%s' of its body is %s, not %s",
                              v->name, mc_dtype_name(v->type.dtype),
                              l.list ? "a sequence" : mc_dtype_name(l.type));
        struct mc_live shared = share(&l);
        mc_live_set(s, v, &shared);
    }
    return 0;
}

int mc_body_call(const struct mc_session *s, const struct mc_step *st, struct mc_body *b, int which,
                 const struct mc_live *args, struct mc_err *err)
{
    int rc = give(s, st, b, which, args, err);
    return rc ? rc : mc_path_run(b->session[which], err);
}

const struct mc_live *mc_body_result(const struct mc_body *b, int which, size_t i)
{
    const struct mc_session *s = b->session[which];
    return &s->live[s->outputs[i]->index];
}

struct mc_live mc_body_input(const struct mc_session *s, const struct mc_step *st, int i)
{
    const struct mc_live *l = &s->live[st->in[i]->index];
    return mc_live_there(l) ? *l : (struct mc_live){.buf = st->call.in[i], .type = st->in_type[i]};
}

int mc_body_output(struct mc_session *s, const struct mc_step *st, size_t i,
                   const struct mc_live *l, struct mc_err *err)
{
    struct mc_live kept;
    if (i >= (size_t)st->call.n_out || !st->out[i])
        return 0;
    int rc = mc_live_keep(s->blocks, l, &kept, err);
    if (!rc)
        mc_live_set(s, st->out[i], &kept);
    return rc;
}

/* What inference says of a result. */
static int guess(const struct mc_session *outer, const struct mc_step *st, const struct mc_body *b,
                 const struct mc_live *args, size_t result, struct mc_vtype *ret,
                 struct mc_err *err)
{
    const struct mc_session *s = b->session[0];
    struct mc_vtype *given = mc_calloc(s->g->n_values + 1, sizeof *given);
    struct mc_infer *inf;
    if (!given)
        return mc_fail(err, MC_ENOMEM, "out of memory");
    for (int i = 0; i < s->n_inputs; i++) {
        const struct mc_value *v = s->inputs[i].value;
        int from = b->from[0][i];
        struct mc_live l = v->outer ? mc_body_input(outer, st, from) : args[from];
        if (!l.list)
            given[v->index] =
                (struct mc_vtype){.dtype = l.type, .ranked = true, .shape = l.buf.shape};
    }
    int rc = mc_infer_run(s->g, &(struct mc_infer_opts){.given = given}, &inf, err);
    if (!rc) {
        *ret = *mc_infer_of(inf, s->outputs[result]);
        mc_infer_free(inf);
    }
    free(given);
    return rc;
}

int mc_body_empty(struct mc_session *s, const struct mc_step *st, const struct mc_body *b,
                  const struct mc_live *args, size_t result, int64_t axis, size_t i,
                  struct mc_err *err)
{
    struct mc_vtype t = {0};
    struct mc_shape shape = {0};
    struct mc_buf unused;
    if (i >= (size_t)st->call.n_out || !st->out[i])
        return 0;
    int rc = guess(s, st, b, args, result, &t, err);
    if (rc)
        return rc;
    if (t.dtype == MC_DTYPE_NONE)
        return mc_op_fail(err, MC_EUNSUP, st->call.node,
                          "its body never ran, and the type of '%s' is not known",
                          st->out[i]->name);
    shape.rank = (t.ranked ? t.shape.rank : 0) + 1;
    if (shape.rank > MC_RANK_MAX)
        return mc_op_fail(err, MC_EUNSUP, st->call.node, "'%s' has rank %d", st->out[i]->name,
                          shape.rank);
    int at = mc_shape_axis(axis, shape.rank);
    for (int d = 0, from = 0; d < shape.rank; d++)
        if (d != (at < 0 ? 0 : at)) {
            shape.dim[d] = t.shape.dim[from] < 0 ? 0 : t.shape.dim[from];
            from++;
        }
    return mc_live_new(s, st->out[i], &shape, mc_run_dtype(s->precision, t.dtype), t.dtype, &unused,
                       err);
}

static int if_run(struct mc_session *s, struct mc_step *st, struct mc_err *err)
{
    int which = *(const uint8_t *)st->call.in[0].data ? 0 : 1;
    struct mc_body *b;
    int rc = body_of(s, st->call.node, which ? "else_branch" : "then_branch", which, &b, err);
    if (rc)
        return rc;
    rc = mc_body_call(s, st, b, which, NULL, err);
    for (size_t i = 0; i < (size_t)st->call.n_out && !rc; i++)
        rc = mc_body_output(s, st, i, mc_body_result(b, which, i), err);
    mc_live_clear(b->session[which]);
    return rc;
}

static int map_run(struct mc_session *s, struct mc_step *st, struct mc_body *b, struct mc_err *err)
{
    struct mc_live *args = mc_calloc(st->call.node->n_in + 1, sizeof *args);
    struct mc_list **results = mc_calloc((size_t)st->call.n_out + 1, sizeof(void *));
    int rc = args && results ? mc_list_map(s, st, b, args, results, err)
                             : mc_fail(err, MC_ENOMEM, "out of memory");
    free(args);
    free(results);
    return rc;
}

int mc_body_run(struct mc_session *s, struct mc_step *st, struct mc_err *err)
{
    const struct mc_node *n = st->call.node;
    struct mc_body *b;
    if (mc_node_is(n, "If"))
        return if_run(s, st, err);
    int rc = body_of(s, n, "body", 0, &b, err);
    if (rc)
        return rc;
    if (mc_node_is(n, "SequenceMap"))
        return map_run(s, st, b, err);
    return mc_node_is(n, "Loop") ? mc_loop_run(s, st, b, err) : mc_scan_run(s, st, b, err);
}
