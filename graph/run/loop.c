/* Loop: carried values go from one iteration to the next in the blocks in which the body left them. */
#include <stdlib.h>
#include <string.h>

#include "base/interrupt.h"
#include "base/mem.h"
#include "graph/run/bodies.h"

struct gather {           /* a scan output as it grows: [count, elem] */
    struct mc_live first; /* of the first iteration: type and shape of an element; no block */
    struct mc_block *block;
    size_t elem, bytes; /* of one element, of all so far */
    int64_t count;
};

struct loop {
    struct mc_session *s;
    struct mc_step *st;
    struct mc_body *b;
    int64_t trip, done;
    bool go_on;
    size_t n_carried, n_scans;
    struct mc_live *args;   /* [2 + n_carried]; owns the blocks */
    struct gather *gathers; /* [n_scans] */
};

static int start(struct loop *l, struct mc_err *err)
{
    const struct mc_node *n = l->st->call.node;
    const struct mc_session *inner = l->b->session[0];
    const struct mc_buf *in = l->st->call.in;
    int rc = 0;
    l->n_carried = n->n_in > 2 ? n->n_in - 2 : 0;
    l->n_scans = (size_t)inner->n_outputs - 1 - l->n_carried;
    l->args = mc_calloc(l->n_carried + 2, sizeof *l->args);
    l->gathers = mc_calloc(l->n_scans + 1, sizeof *l->gathers);
    if (!l->args || !l->gathers)
        return mc_fail(err, MC_ENOMEM, "out of memory");
    l->trip = n->n_in > 0 && n->in[0] ? *(const int64_t *)in[0].data : INT64_MAX;
    l->go_on = n->n_in > 1 && n->in[1] ? *(const uint8_t *)in[1].data != 0 : true;
    for (int i = 0; i < 2 && !rc; i++) {
        const struct mc_type *t = &inner->g->inputs[i]->type;
        enum mc_dtype dtype = i ? MC_DTYPE_BOOL : MC_DTYPE_I64;
        struct mc_shape shape = {0}; /* a scalar, but some exporters declare [1] */
        if (t->kind == MC_TYPE_TENSOR && t->ranked && t->rank == 1)
            shape = mc_shape_of(1, (const int64_t[]){1});
        rc = mc_block_get(l->s->blocks, sizeof(int64_t), &l->args[i].block, err);
        if (rc)
            break;
        l->args[i].type = dtype;
        l->args[i].buf = (struct mc_buf){dtype, false, shape, l->args[i].block->data};
    }
    for (size_t i = 0; i < l->n_carried && !rc; i++)
        l->args[2 + i] = mc_body_argument(l->s, l->st, (int)(2 + i));
    return rc;
}

/* Room for one more element; at most for as many as there will be. */
static int grow(struct loop *l, struct gather *g, struct mc_err *err)
{
    struct mc_block *k;
    size_t need, want, most;
    if (!mc_size_add(g->bytes, g->elem, &need))
        return mc_op_fail(err, MC_ENOMEM, l->st->call.node, "out of memory: too many iterations");
    if (g->block && g->block->bytes >= need)
        return 0;
    want = need <= SIZE_MAX / 2 ? 2 * need : need;
    if ((uint64_t)l->trip <= SIZE_MAX && mc_size_mul((size_t)l->trip, g->elem, &most) &&
        want > most)
        want = most;
    int rc = mc_block_get(l->s->blocks, want > need ? want : need, &k, err);
    if (rc)
        return rc;
    if (g->bytes)
        memcpy(k->data, g->block->data, g->bytes);
    mc_block_drop(l->s->blocks, g->block);
    g->block = k;
    return 0;
}

static int gather(struct loop *l, size_t i, struct mc_err *err)
{
    const struct mc_live *r = mc_body_result(l->b, 0, 1 + l->n_carried + i);
    struct gather *g = &l->gathers[i];
    if (r->list)
        return mc_op_fail(err, MC_EUNSUP, l->st->call.node, "scan output %zu is a sequence", i);
    if (!g->count) {
        g->first = *r;
        g->first.block = NULL;
        mc_dtype_bytes(r->buf.dtype, mc_shape_count(&r->buf.shape), &g->elem);
    } else if (r->buf.dtype != g->first.buf.dtype ||
               !mc_shape_equal(&r->buf.shape, &g->first.buf.shape)) {
        char a[MC_SHAPE_TEXT], b[MC_SHAPE_TEXT];
        return mc_op_fail(err, MC_ESHAPE, l->st->call.node,
                          "scan output %zu is %s in iteration %lld and was %s before", i,
                          mc_shape_text(&r->buf.shape, a), (long long)l->done,
                          mc_shape_text(&g->first.buf.shape, b));
    }
    int rc = grow(l, g, err);
    if (rc)
        return rc;
    if (g->elem)
        memcpy((char *)g->block->data + g->bytes, r->buf.data, g->elem);
    g->bytes += g->elem;
    g->count++;
    return 0;
}

static int iterate(struct loop *l, struct mc_err *err)
{
    int rc = mc_interrupt_check(err);
    /* The body may have handed these blocks on: never write to one that somebody else has. */
    for (int i = 0; i < 2 && !rc; i++) {
        mc_block_drop(l->s->blocks, l->args[i].block);
        l->args[i].block = NULL;
        rc = mc_block_get(l->s->blocks, sizeof(int64_t), &l->args[i].block, err);
        if (!rc)
            l->args[i].buf.data = l->args[i].block->data;
    }
    if (rc)
        return rc;
    *(int64_t *)l->args[0].buf.data = l->done;
    *(uint8_t *)l->args[1].buf.data = l->go_on;
    rc = mc_body_call(l->s, l->st, l->b, 0, l->args, err);
    if (rc)
        return rc;
    const struct mc_live *cond = mc_body_result(l->b, 0, 0);
    if (cond->buf.dtype != MC_DTYPE_BOOL || mc_shape_count(&cond->buf.shape) != 1)
        return mc_op_fail(err, MC_EDTYPE, l->st->call.node,
                          "the body's condition must be a single bool");
    l->go_on = *(const uint8_t *)cond->buf.data != 0;
    for (size_t i = 0; i < l->n_scans && !rc; i++)
        rc = gather(l, i, err);
    for (size_t i = 0; i < l->n_carried && !rc; i++) {
        const struct mc_live *r = mc_body_result(l->b, 0, 1 + i);
        struct mc_live *a = &l->args[2 + i], kept;
        if (r->buf.dtype != a->buf.dtype || !r->list != !a->list)
            return mc_op_fail(err, MC_EDTYPE, l->st->call.node,
                              "carried value %zu turns from %s to %s", i, mc_dtype_name(a->type),
                              mc_dtype_name(r->type));
        rc = mc_live_keep(l->s->blocks, r, &kept, err);
        if (rc)
            break;
        mc_live_release(l->s->blocks, a);
        *a = kept;
    }
    l->done++;
    return rc;
}

static int finish(struct loop *l, struct mc_err *err)
{
    int rc = 0;
    for (size_t i = 0; i < l->n_carried && !rc; i++)
        rc = mc_body_output(l->s, l->st, i, &l->args[2 + i], err);
    for (size_t i = 0; i < l->n_scans && !rc; i++) {
        struct gather *g = &l->gathers[i];
        if (!g->count) {
            rc = mc_body_empty(l->s, l->st, l->b, l->args, 1 + l->n_carried + i, 0,
                               l->n_carried + i, err);
            continue;
        }
        struct mc_live all = {.buf = g->first.buf, .type = g->first.type, .block = g->block};
        struct mc_shape *s = &all.buf.shape;
        if (s->rank == MC_RANK_MAX)
            return mc_op_fail(err, MC_EUNSUP, l->st->call.node, "scan output %zu has rank %d", i,
                              s->rank + 1);
        memmove(s->dim + 1, s->dim, (size_t)s->rank * sizeof *s->dim);
        s->dim[0] = g->count;
        s->rank++;
        all.buf.data = g->block->data;
        rc = mc_body_output(l->s, l->st, l->n_carried + i, &all, err);
    }
    return rc;
}

int mc_loop_run(struct mc_session *s, struct mc_step *st, struct mc_body *b, struct mc_err *err)
{
    struct loop l = {.s = s, .st = st, .b = b};
    int rc = start(&l, err);
    while (!rc && l.done < l.trip && l.go_on)
        rc = iterate(&l, err);
    if (!rc)
        rc = finish(&l, err);
    for (size_t i = 0; l.args && i < l.n_carried + 2; i++)
        mc_live_release(s->blocks, &l.args[i]);
    for (size_t i = 0; l.gathers && i < l.n_scans; i++)
        mc_block_drop(s->blocks, l.gathers[i].block);
    free(l.args);
    free(l.gathers);
    mc_live_clear(b->session[0]);
    return rc;
}
