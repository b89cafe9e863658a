/* Scan: the body on slices of the scanned inputs, states carried from one to the next. Up to version 8 there
 * is a batch axis in front of everything, and each sample is scanned by itself. */
#include <stdlib.h>
#include <string.h>

#include "base/interrupt.h"
#include "base/mem.h"
#include "graph/run/bodies.h"

struct scan {
    struct mc_session *s;
    struct mc_step *st;
    struct mc_body *b;
    bool batched;
    size_t first, n_states, n_scanned, n_results; /* first: node input of the first state */
    int64_t batch, length;                        /* iterations of the longest sample */
    struct mc_live *args;                         /* [n_states + n_scanned] owns the blocks */
    struct mc_buf *out; /* [n_states + n_results] whole outputs; dtype NONE: not made yet */
    int *axis;          /* [n_scanned + n_results] of the whole tensors */
    const int64_t *back_in, *back_out; /* directions, or NULL */
};

static int64_t listed(const struct mc_node *n, const char *name, size_t i)
{
    size_t count;
    const int64_t *v = mc_node_ints(n, name, &count);
    return v && i < count ? v[i] : 0;
}

/* Batch, length and axes from the shapes. */
static int measure(struct scan *c, struct mc_err *err)
{
    const struct mc_node *n = c->st->call.node;
    int lead = c->batched;
    c->batch = 1;
    c->length = -1;
    for (size_t i = 0; i < c->n_states + c->n_scanned; i++) {
        const struct mc_shape *s = &c->st->call.in[c->first + i].shape;
        if (c->st->call.in[c->first + i].dtype == MC_DTYPE_NONE)
            return mc_op_fail(err, MC_EUNSUP, n, "input %zu is a sequence", c->first + i);
        bool scanned = i >= c->n_states;
        size_t k = i - c->n_states;
        if (s->rank < lead + scanned)
            return mc_op_fail(err, MC_ESHAPE, n, "input %zu is a scalar", c->first + i);
        if (c->batched && i == 0)
            c->batch = s->dim[0];
        if (c->batched && s->dim[0] != c->batch)
            return mc_op_fail(err, MC_ESHAPE, n, "batches of %lld and %lld", (long long)c->batch,
                              (long long)s->dim[0]);
        if (!scanned)
            continue;
        c->axis[k] = c->batched ? 1 : mc_shape_axis(listed(n, "scan_input_axes", k), s->rank);
        if (c->axis[k] < 0)
            return mc_op_fail(err, MC_ESHAPE, n, "scan_input_axes: %lld is outside rank %d",
                              (long long)listed(n, "scan_input_axes", k), s->rank);
        int64_t length = s->dim[c->axis[k]];
        if (c->length >= 0 && c->length != length)
            return mc_op_fail(err, MC_ESHAPE, n, "scanned inputs of length %lld and %lld",
                              (long long)c->length, (long long)length);
        c->length = length;
    }
    if (c->batched && (!c->batch || !c->length))
        return mc_op_fail(err, MC_EUNSUP, n, "a batch of %lld by %lld steps cannot be scanned",
                          (long long)c->batch, (long long)c->length);
    return 0;
}

/* Copy between a slice and its place in the whole: sample b of the leading axis where there are batches,
 * step t of `axis` (-1: all of the sample). */
static void move(const struct scan *c, const struct mc_buf *whole, int axis, int64_t b, int64_t t,
                 void *slice, bool put)
{
    const struct mc_shape *s = &whole->shape;
    size_t elem = mc_dtype_info((int)whole->dtype)->bits / 8;
    int lead = c->batched;
    size_t sample = (size_t)mc_shape_span(s, lead, s->rank) * elem;
    size_t steps = axis < 0 ? 1 : (size_t)s->dim[axis];
    size_t rows = axis < 0 ? 1 : (size_t)mc_shape_span(s, lead, axis);
    size_t inner = axis < 0 ? sample : (size_t)mc_shape_span(s, axis + 1, s->rank) * elem;
    char *base = (char *)whole->data + (size_t)b * sample;
    for (size_t r = 0; r < rows && inner; r++) {
        char *in_whole = base + (r * steps + (size_t)t) * inner,
             *in_slice = (char *)slice + r * inner;
        memcpy(put ? in_whole : in_slice, put ? in_slice : in_whole, inner);
    }
}

/* What is left of a sample without `axis` (-1: all of it). */
static struct mc_shape slice_shape(const struct scan *c, const struct mc_buf *whole, int axis)
{
    struct mc_shape s = {0};
    for (int d = c->batched; d < whole->shape.rank; d++)
        if (d != axis)
            s.dim[s.rank++] = whole->shape.dim[d];
    return s;
}

/* Argument i := a slice in a block of its own. */
static int cut(struct scan *c, size_t i, int axis, int64_t b, int64_t t, struct mc_err *err)
{
    const struct mc_buf *whole = &c->st->call.in[c->first + i];
    struct mc_live *a = &c->args[i];
    struct mc_shape s = slice_shape(c, whole, axis);
    size_t bytes = 0;
    mc_dtype_bytes(whole->dtype, mc_shape_count(&s), &bytes);
    mc_live_release(c->s->blocks, a);
    int rc = mc_block_get(c->s->blocks, bytes, &a->block, err);
    if (rc)
        return rc;
    a->type = c->st->in_type[c->first + i];
    a->buf = (struct mc_buf){whole->dtype, false, s, a->block->data};
    move(c, whole, axis, b, t, a->buf.data, false);
    return 0;
}

/* The whole output that results like r are put into, made at the first of them. */
static int whole_of(struct scan *c, size_t i, const struct mc_live *r, struct mc_err *err)
{
    const struct mc_node *n = c->st->call.node;
    struct mc_buf *out = &c->out[i];
    bool scanned = i >= c->n_states;
    struct mc_shape s = {0};
    int rank = r->buf.shape.rank + c->batched + scanned, axis = -1;
    if (rank > MC_RANK_MAX)
        return mc_op_fail(err, MC_EUNSUP, n, "output %zu has rank %d", i, rank);
    if (scanned) {
        int64_t a = c->batched ? 1 : listed(n, "scan_output_axes", i - c->n_states);
        axis = mc_shape_axis(a, rank);
        if (axis < 0)
            return mc_op_fail(err, MC_ESHAPE, n, "scan_output_axes: %lld is outside rank %d",
                              (long long)a, rank);
        c->axis[c->n_scanned + i - c->n_states] = axis;
    }
    for (int d = 0, from = 0; d < rank; d++)
        s.dim[d] = d == axis              ? c->length
                   : c->batched && d == 0 ? c->batch
                                          : r->buf.shape.dim[from++];
    s.rank = rank;
    if (out->dtype != MC_DTYPE_NONE) {
        char a[MC_SHAPE_TEXT], b[MC_SHAPE_TEXT];
        if (out->dtype == r->buf.dtype && mc_shape_equal(&out->shape, &s))
            return 0;
        return mc_op_fail(err, MC_ESHAPE, n, "output %zu is %s after having been %s", i,
                          mc_shape_text(&s, a), mc_shape_text(&out->shape, b));
    }
    int rc = mc_live_new(c->s, c->st->out[i], &s, r->buf.dtype, r->type, out, err);
    size_t bytes;
    if (!rc && mc_dtype_bytes(out->dtype, mc_shape_count(&s), &bytes) && bytes)
        memset(out->data, 0, bytes); /* what lies behind the end of a short sample */
    return rc;
}

static int put(struct scan *c, size_t i, const struct mc_live *r, int64_t b, int64_t t,
               struct mc_err *err)
{
    if (i >= (size_t)c->st->call.n_out || !c->st->out[i])
        return 0;
    int rc = r->list ? mc_op_fail(err, MC_EUNSUP, c->st->call.node, "output %zu is a sequence", i)
                     : whole_of(c, i, r, err);
    if (!rc)
        move(c, &c->out[i], i < c->n_states ? -1 : c->axis[c->n_scanned + i - c->n_states], b, t,
             r->buf.data, true);
    return rc;
}

static int step(struct scan *c, int64_t b, int64_t t, int64_t length, struct mc_err *err)
{
    int rc = mc_interrupt_check(err);
    for (size_t i = 0; i < c->n_scanned && !rc; i++)
        rc = cut(c, c->n_states + i, c->axis[i], b,
                 c->back_in && c->back_in[i] ? length - 1 - t : t, err);
    rc = rc ? rc : mc_body_call(c->s, c->st, c->b, 0, c->args, err);
    for (size_t i = 0; i < c->n_results && !rc; i++)
        rc = put(c, c->n_states + i, mc_body_result(c->b, 0, c->n_states + i), b,
                 c->back_out && c->back_out[i] ? length - 1 - t : t, err);
    for (size_t i = 0; i < c->n_states && !rc; i++) {
        const struct mc_live *r = mc_body_result(c->b, 0, i);
        struct mc_live kept;
        if (r->buf.dtype != c->args[i].buf.dtype)
            return mc_op_fail(err, MC_EDTYPE, c->st->call.node, "state %zu turns from %s to %s", i,
                              mc_dtype_name(c->args[i].type), mc_dtype_name(r->type));
        rc = mc_live_keep(c->s->blocks, r, &kept, err);
        if (rc)
            break;
        mc_live_release(c->s->blocks, &c->args[i]);
        c->args[i] = kept;
    }
    return rc;
}

static int sample(struct scan *c, int64_t b, struct mc_err *err)
{
    const struct mc_buf *lens = c->batched && c->st->in[0] ? &c->st->call.in[0] : NULL;
    int64_t length = c->length;
    int rc = 0;
    if (lens && b < mc_shape_count(&lens->shape))
        length = ((const int64_t *)lens->data)[b];
    if (length < 0 || length > c->length)
        return mc_op_fail(err, MC_EDATA, c->st->call.node,
                          "sequence_lens[%lld] is %lld, not in [0, %lld]", (long long)b,
                          (long long)length, (long long)c->length);
    for (size_t i = 0; i < c->n_states && !rc; i++)
        rc = cut(c, i, -1, b, 0, err);
    for (int64_t t = 0; t < length && !rc; t++)
        rc = step(c, b, t, length, err);
    for (size_t i = 0; i < c->n_states && !rc; i++)
        rc = c->batched ? put(c, i, &c->args[i], b, 0, err)
                        : mc_body_output(c->s, c->st, i, &c->args[i], err);
    return rc;
}

/* Outputs of a body that never ran. */
static int empty(struct scan *c, struct mc_err *err)
{
    int rc = 0;
    for (size_t i = 0; i < c->n_scanned; i++) {
        struct mc_live *a = &c->args[c->n_states + i];
        const struct mc_buf *whole = &c->st->call.in[c->first + c->n_states + i];
        a->type = c->st->in_type[c->first + c->n_states + i];
        a->buf = (struct mc_buf){.dtype = whole->dtype, .shape = slice_shape(c, whole, c->axis[i])};
    }
    for (size_t i = c->n_states; i < c->n_states + c->n_results && !rc; i++)
        if (i < (size_t)c->st->call.n_out && c->st->out[i] && c->out[i].dtype == MC_DTYPE_NONE)
            rc = mc_body_empty(c->s, c->st, c->b, c->args, i,
                               listed(c->st->call.node, "scan_output_axes", i - c->n_states), i,
                               err);
    return rc;
}

static int start(struct scan *c, struct mc_err *err)
{
    const struct mc_node *n = c->st->call.node;
    size_t unused;
    c->batched = n->version < 9;
    c->first = c->batched;
    c->n_scanned = (size_t)mc_node_int(n, "num_scan_inputs", 0);
    c->n_states = n->n_in - c->first - c->n_scanned;
    c->n_results = (size_t)c->b->session[0]->n_outputs - c->n_states;
    c->back_in = mc_node_ints(n, c->batched ? "directions" : "scan_input_directions", &unused);
    c->back_out = c->batched ? NULL : mc_node_ints(n, "scan_output_directions", &unused);
    c->args = mc_calloc(c->n_states + c->n_scanned + 1, sizeof *c->args);
    c->out = mc_calloc(c->n_states + c->n_results + 1, sizeof *c->out);
    c->axis = mc_calloc(c->n_scanned + c->n_results + 1, sizeof *c->axis);
    if (!c->args || !c->out || !c->axis)
        return mc_fail(err, MC_ENOMEM, "out of memory");
    return measure(c, err);
}

int mc_scan_run(struct mc_session *s, struct mc_step *st, struct mc_body *b, struct mc_err *err)
{
    struct scan c = {.s = s, .st = st, .b = b};
    int rc = start(&c, err);
    for (int64_t k = 0; k < c.batch && !rc; k++)
        rc = sample(&c, k, err);
    if (!rc && c.length == 0)
        rc = empty(&c, err);
    for (size_t i = 0; c.args && i < c.n_states + c.n_scanned; i++)
        mc_live_release(s->blocks, &c.args[i]);
    free(c.args);
    free(c.out);
    free(c.axis);
    mc_live_clear(b->session[0]);
    return rc;
}
