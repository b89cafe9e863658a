#include "graph/run/fuse_xnor.h"

#include <string.h>

#include "base/mem.h"
#include "graph/ops/helper.h"
#include "graph/own/own.h"

static bool is_product(const struct mc_step *st)
{
    const struct mc_node *n = st->call.node;
    return !st->skip && !st->boundary && st->round == MC_DTYPE_NONE && st->call.op->name &&
           !strcmp(n->domain, MC_OWN_DOMAIN) && !strncmp(st->call.op->name, "Xnor", 4) &&
           st->call.n_in == MC_XNOR_INPUTS && st->out[0] && st->call.out[0].dtype == MC_DTYPE_F32;
}

static bool all_constant(const struct mc_xnor_link *l, const struct mc_step *st, int but)
{
    struct mc_integers f = l->f;
    for (int j = 0; j < st->call.n_in; j++)
        if (j != but && st->in[j] && !mc_integer_constant(&f, st->in[j]))
            return false;
    return true;
}

/* ---- what may be between ---- */

/* Constants broadcast to one number a channel: what is made of one element does not depend on where it is. */
static bool by_channel(const struct mc_xnor_link *l, const struct mc_step *st)
{
    const struct mc_shape *y = &st->call.out[0].shape;
    struct mc_shape one = *y, both;
    int channel = l->conv ? 1 : y->rank - 1;
    for (int d = 0; d < one.rank; d++)
        one.dim[d] = d == channel ? y->dim[d] : 1;
    for (int j = 0; j < st->call.n_in; j++)
        if (st->in[j] && st->call.in[j].constant &&
            (!mc_shape_broadcast(&st->call.in[j].shape, &one, &both) ||
             !mc_shape_equal(&both, &one)))
            return false;
    return true;
}

static bool none_below_zero(const struct mc_buf *b)
{
    for (int64_t i = 0, n = mc_op_count(b); i < n; i++)
        if (!(((const float *)b->data)[i] >= 0))
            return false;
    return true;
}

/* Does the step keep or turn the order of the numbers v of a channel? */
static bool is_monotone(const struct mc_xnor_link *l, const struct mc_step *st,
                        const struct mc_value *v)
{
    static const char *const pairs[] = {"Add", "Sub", "Mul", "Div", "PRelu"};
    struct mc_integers f = l->f;
    int at = st->in[0] == v ? 0 : 1;
    if (st->call.n_in < 1 || st->call.epilogue || !all_constant(l, st, at) ||
        !mc_shape_equal(&st->call.in[at].shape, &st->call.out[0].shape))
        return false;
    if (mc_integer_is(st, "Relu") || mc_integer_is(st, "Neg"))
        return true;
    if (mc_integer_is(st, "Clip"))
        return at == 0;
    if (mc_integer_is(st, "LeakyRelu"))
        return mc_node_float(st->call.node, "alpha", 0.01f) >= 0;
    if (mc_integer_is(st, "BatchNormalization"))
        return at == 0 && st->call.n_out == 1 && !mc_node_int(st->call.node, "training_mode", 0) &&
               (l->conv || st->call.in[0].shape.rank == 2);
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        if (!mc_integer_is(st, pairs[i]) || st->call.n_in != 2 || !by_channel(l, st))
            continue;
        if (!strcmp(pairs[i], "PRelu"))
            return at == 0 && none_below_zero(mc_integer_constant(&f, st->in[1]));
        return at == 0 || strcmp(pairs[i], "Div") != 0;
    }
    return false;
}

/* A maximum over windows none of which is empty. */
static bool is_pool(const struct mc_step *st)
{
    struct mc_window_dims w;
    struct mc_err err;
    if (!mc_integer_is(st, "MaxPool") || (st->call.n_out > 1 && st->out[1]) ||
        mc_node_int(st->call.node, "ceil_mode", 0) ||
        mc_window_infer(st->call.node, &st->call.in[0].shape, NULL, &w, &err) || w.in[0] != 1)
        return false;
    for (int d = 0; d < 3; d++)
        if (w.pad[d] >= w.kernel[d] || w.end[d] >= w.kernel[d] || w.dilation[d] != 1)
            return false;
    return true;
}

/* A view that leaves the channels where a product looks for them. */
static bool is_view(struct mc_xnor_link *l, const struct mc_step *st)
{
    const struct mc_shape *x = &st->call.in[0].shape, *y = &st->call.out[0].shape;
    if (st->boundary || st->lists || !(st->call.op->flags & MC_OP_VIEW) || y->rank < 1)
        return false;
    if (mc_shape_equal(x, y))
        return true;
    if (!l->conv)
        return y->dim[y->rank - 1] == l->filters;
    if (!l->flat && y->rank == 2 && y->dim[0] == x->dim[0]) {
        l->flat = true;
        return true;
    }
    return false;
}

/* From the head to another product. */
static bool follow(struct mc_xnor_link *l)
{
    const struct mc_plan *p = l->f.p;
    const struct mc_value *v = p->steps[l->head].out[0];
    l->pool = -1;
    for (;;) {
        int i = mc_integer_reader(p, v);
        const struct mc_step *st = i < 0 ? NULL : &p->steps[i];
        if (!st || st->call.n_in < 1)
            return false;
        if (is_product(st) && st->in[0] == v) {
            l->reader = i;
            break;
        }
        if (l->n == MC_XNOR_LINKS || st->round != MC_DTYPE_NONE || !st->out[0] || st->skip)
            return false;
        bool fits = st->in[0] == v && is_view(l, st);
        if (!fits && l->conv && !l->flat && l->pool < 0 && is_pool(st)) {
            fits = true;
            l->pool = l->n;
        }
        if (!fits && (l->flat || !is_monotone(l, st, v)))
            return false;
        l->between[l->n++] = i;
        v = st->out[0];
    }
    l->pool = l->pool < 0 ? l->n : l->pool;
    return true;
}

static bool find(struct mc_xnor_link *l)
{
    struct mc_plan *p = l->f.p;
    const struct mc_step *head = &p->steps[l->head];
    struct mc_xnor_sizes s;
    struct mc_err err;
    if (!is_product(head) || !all_constant(l, head, 0) || (head->call.xnor && head->call.xnor->out))
        return false;
    l->conv = mc_xnor_is_conv(head->call.node);
    l->filters = head->call.in[MC_XNOR_P].shape.dim[0];
    if (!follow(l))
        return false;
    const struct mc_step *reader = &p->steps[l->reader];
    const struct mc_shape *x = &reader->call.in[0].shape, *y = &head->call.out[0].shape;
    bool conv = mc_xnor_is_conv(reader->call.node);
    if (l->pool < l->n)
        y = &p->steps[l->between[l->pool]].call.out[0].shape;
    l->pixels = l->conv ? mc_shape_span(y, 2, y->rank) : 1;
    /* Columns of the reader are what the head makes, in that order. */
    if (!all_constant(l, reader, 0) || mc_xnor_weight(reader->call.node, &s, &err) ||
        (conv ? !l->conv || l->flat : l->conv != l->flat))
        return false;
    return conv ? mc_shape_equal(x, y) : s.k == l->filters * l->pixels;
}

/* ---- putting it in place ---- */

static void skip_between(const struct mc_xnor_link *l, struct mc_value *last)
{
    struct mc_plan *p = l->f.p;
    struct mc_step *head = &p->steps[l->head];
    const struct mc_node **joined =
        mc_arena_array(&p->mem, (size_t)(head->n_joined + l->n) + 1, sizeof(void *));
    int n = 0;
    for (int i = 0; i < head->n_joined && joined; i++)
        joined[n++] = head->joined[i];
    if (head->out[0] != last)
        p->values[head->out[0]->index].buf.dtype = MC_DTYPE_NONE;
    for (int i = 0; i < l->n; i++) {
        struct mc_step *st = &p->steps[l->between[i]];
        st->skip = true;
        if (st->out[0] != last)
            p->values[st->out[0]->index].buf.dtype = MC_DTYPE_NONE;
        if (joined)
            joined[n++] = st->call.node;
    }
    if (joined) { /* for profiles only */
        head->joined = joined;
        head->n_joined = n;
    }
}

static struct mc_xnor *xnor_of(struct mc_plan *p, struct mc_step *st)
{
    struct mc_xnor *x = st->call.xnor;
    if (!x && (x = mc_arena_array(&p->mem, 1, sizeof *x)))
        x->x = st->call.in[0].shape;
    return x;
}

static bool join(struct mc_xnor_link *l)
{
    struct mc_plan *p = l->f.p;
    struct mc_step *head = &p->steps[l->head], *reader = &p->steps[l->reader];
    struct mc_xnor_bits bits = {.image = l->conv, .flat = l->flat}, *kept;
    struct mc_xnor *from = xnor_of(p, head), *to = xnor_of(p, reader);
    struct mc_window_dims *w = mc_arena_array(&p->mem, 1, sizeof *w);
    if (!from || !to || !w || !(kept = mc_arena_array(&p->mem, 1, sizeof *kept)))
        return false;
    if (l->pool < l->n) {
        const struct mc_step *pool = &p->steps[l->between[l->pool]];
        struct mc_err err;
        if (mc_window_infer(pool->call.node, &pool->call.in[0].shape, NULL, w, &err))
            return false;
        bits.pool = w;
    }
    if (!mc_xnor_thresholds(l, &bits))
        return false;
    *kept = bits;
    struct mc_value *v = reader->in[0];
    struct mc_shape shape = mc_xnor_bits_shape(kept, &head->call.out[0].shape);
    skip_between(l, v);
    struct mc_buf *buf = &p->values[v->index].buf;
    buf->dtype = MC_DTYPE_U8;
    buf->shape = shape;
    from->out = kept;
    to->packed = true;
    head->call.xnor = from;
    reader->call.xnor = to;
    head->out[0] = v;
    head->call.out[0] = reader->call.in[0] = *buf;
    p->values[v->index].def = l->head;
    return true;
}

void mc_fuse_xnor(struct mc_session *s, struct mc_plan *p)
{
    bool some = false;
    for (int i = 0; i < p->n_steps; i++) {
        struct mc_xnor_link l = {.f = {s, p}, .head = i};
        if (find(&l) && join(&l))
            some = true;
    }
    if (some)
        mc_plan_compact(p);
}
