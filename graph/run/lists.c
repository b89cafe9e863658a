/* Operators on sequences and optionals. An optional with an element is that element. */
#include <string.h>

#include "graph/ops/helper.h"
#include "graph/run/bodies.h"

struct job {
    struct mc_session *s;
    struct mc_step *st;
    const struct mc_node *n;
};

static bool given(const struct job *j, int i)
{
    return i < j->st->call.n_in && j->st->in[i];
}

/* Input i, which must be a sequence. */
static int sequence(const struct job *j, int i, struct mc_list **ret, struct mc_err *err)
{
    const struct mc_live l = mc_body_input(j->s, j->st, i);
    *ret = l.list;
    if (l.list && !l.list->none)
        return 0;
    return mc_op_fail(err, MC_EDTYPE, j->n, "input %d is %s, must be a sequence", i,
                      l.list ? "an empty optional" : "a tensor");
}

static int tensor(const struct job *j, int i, struct mc_live *ret, struct mc_err *err)
{
    *ret = mc_body_input(j->s, j->st, i);
    if (!ret->list)
        return 0;
    return mc_op_fail(err, MC_EDTYPE, j->n, "input %d is a sequence, must be a tensor", i);
}

/* A place in [0, n): of input i, `missing` where there is none. */
static int place(const struct job *j, int i, size_t n, size_t missing, size_t *ret,
                 struct mc_err *err)
{
    struct mc_live l;
    *ret = missing;
    int rc = given(j, i) ? tensor(j, i, &l, err) : 0;
    if (rc || !given(j, i))
        return rc;
    int64_t v;
    if (mc_shape_count(&l.buf.shape) != 1 ||
        (l.buf.dtype != MC_DTYPE_I64 && l.buf.dtype != MC_DTYPE_I32))
        return mc_op_fail(err, MC_EDTYPE, j->n, "the position must be a single int64 or int32");
    mc_op_ints(&l.buf, &v, 1);
    if (v < -(int64_t)n || v >= (int64_t)n)
        return mc_op_fail(err, MC_EDATA, j->n, "position %lld is outside a sequence of %zu",
                          (long long)v, n);
    *ret = (size_t)(v < 0 ? v + (int64_t)n : v);
    return 0;
}

/* Output 0 is the list, whose reference goes there. */
static int give(const struct job *j, struct mc_list *l, int rc, struct mc_err *err)
{
    const struct mc_live live = {.list = l};
    rc = rc ? rc : mc_body_output(j->s, j->st, 0, &live, err);
    mc_list_drop(j->s->blocks, l);
    return rc;
}

static int scalar(const struct job *j, enum mc_dtype dtype, int64_t v, struct mc_err *err)
{
    struct mc_live l = {.buf = {.dtype = dtype, .data = &v}, .type = dtype};
    uint8_t flag = v != 0;
    if (dtype == MC_DTYPE_BOOL)
        l.buf.data = &flag;
    return mc_body_output(j->s, j->st, 0, &l, err);
}

/* ---- making lists ---- */

static int construct(const struct job *j, struct mc_err *err)
{
    struct mc_list *l;
    size_t n = mc_node_is(j->n, "SequenceEmpty") ? 0 : j->n->n_in;
    int rc = mc_list_new(n, &l, err);
    if (rc)
        return rc;
    for (size_t i = 0; i < n && !rc; i++) {
        struct mc_live t;
        rc = tensor(j, (int)i, &t, err);
        rc = rc ? rc : mc_live_keep(j->s->blocks, &t, &l->item[i], err);
    }
    return give(j, l, rc, err);
}

/* A list without item `skip`, and with `extra` (or NULL) in front of item `at`. */
static int changed(const struct job *j, const struct mc_list *from, size_t skip, size_t at,
                   const struct mc_live *extra, struct mc_err *err)
{
    struct mc_list *l;
    int rc = mc_list_new(from->n + (extra ? 1 : 0) - (skip < from->n ? 1 : 0), &l, err);
    if (rc)
        return rc;
    size_t k = 0;
    for (size_t i = 0; i <= from->n && !rc; i++) {
        if (extra && i == at)
            rc = mc_live_keep(j->s->blocks, extra, &l->item[k++], err);
        if (i < from->n && i != skip && !rc)
            rc = mc_live_keep(j->s->blocks, &from->item[i], &l->item[k++], err);
    }
    return give(j, l, rc, err);
}

static int insert(const struct job *j, struct mc_err *err)
{
    struct mc_list *l;
    struct mc_live t;
    size_t at;
    int rc = sequence(j, 0, &l, err);
    rc = rc ? rc : tensor(j, 1, &t, err);
    if (!rc && l->n && l->item[0].buf.dtype != t.buf.dtype)
        rc = mc_op_fail(err, MC_EDTYPE, j->n, "a %s goes into a sequence of %s",
                        mc_dtype_name(t.type), mc_dtype_name(l->item[0].type));
    /* Behind the last item is a place too; negative ones count from the last. */
    rc = rc ? rc : place(j, 2, l->n + 1, l->n, &at, err);
    if (!rc && given(j, 2)) {
        int64_t v;
        struct mc_live p = mc_body_input(j->s, j->st, 2);
        mc_op_ints(&p.buf, &v, 1);
        if (v < 0 && at == 0)
            return mc_op_fail(err, MC_EDATA, j->n, "position %lld is outside a sequence of %zu",
                              (long long)v, l->n);
        at -= v < 0;
    }
    return rc ? rc : changed(j, l, SIZE_MAX, at, &t, err);
}

static int erase(const struct job *j, struct mc_err *err)
{
    struct mc_list *l;
    size_t at;
    int rc = sequence(j, 0, &l, err);
    if (!rc && !l->n)
        rc = mc_op_fail(err, MC_EDATA, j->n, "the sequence is empty");
    rc = rc ? rc : place(j, 1, l->n, l->n ? l->n - 1 : 0, &at, err);
    return rc ? rc : changed(j, l, at, SIZE_MAX, NULL, err);
}

/* ---- tensors and lists ---- */

/* Copy `bytes` of each of `rows` rows. */
static void copy_rows(size_t rows, size_t bytes, char *dst, size_t dst_row, const char *src,
                      size_t src_row)
{
    for (size_t r = 0; r < rows && bytes; r++)
        memcpy(dst + r * dst_row, src + r * src_row, bytes);
}

struct cut { /* a tensor along an axis: rows of `length` pieces of `piece` bytes */
    int axis;
    int64_t length;
    size_t rows, piece;
};

static void measure(const struct mc_buf *b, int axis, struct cut *ret)
{
    *ret = (struct cut){axis, b->shape.dim[axis], (size_t)mc_shape_span(&b->shape, 0, axis),
                        (size_t)mc_shape_span(&b->shape, axis + 1, b->shape.rank) *
                            (size_t)mc_op_elem_bytes(b->dtype)};
}

static int part(const struct job *j, const struct mc_live *x, const struct cut *c, int64_t from,
                int64_t n, bool squeeze, struct mc_live *ret, struct mc_err *err)
{
    struct mc_live p = {.buf = x->buf, .type = x->type};
    struct mc_shape *s = &p.buf.shape;
    s->dim[c->axis] = n;
    size_t bytes = c->rows * (size_t)n * c->piece;
    int rc = mc_block_get(j->s->blocks, bytes, &p.block, err);
    if (rc)
        return rc;
    p.buf.constant = false;
    p.buf.data = p.block->data;
    copy_rows(c->rows, (size_t)n * c->piece, p.buf.data, (size_t)n * c->piece,
              (const char *)x->buf.data + (size_t)from * c->piece, (size_t)c->length * c->piece);
    if (squeeze) {
        memmove(s->dim + c->axis, s->dim + c->axis + 1,
                (size_t)(s->rank - c->axis - 1) * sizeof *s->dim);
        s->rank--;
    }
    *ret = p;
    return 0;
}

/* Part i of a split: equal parts of `each`, the last one smaller, or as many as `sizes` says. */
static int64_t part_size(const struct mc_buf *sizes, int64_t each, int64_t left, int64_t i)
{
    if (!sizes)
        return each < left ? each : left;
    return sizes->dtype == MC_DTYPE_I32 ? ((const int32_t *)sizes->data)[i]
                                        : ((const int64_t *)sizes->data)[i];
}

static int split(const struct job *j, struct mc_err *err)
{
    struct mc_live x, how = {0};
    struct mc_list *l;
    struct cut c;
    int axis, rc = tensor(j, 0, &x, err);
    rc = rc || !given(j, 1) ? rc : tensor(j, 1, &how, err);
    rc = rc ? rc
            : mc_op_need_axis(j->n, "axis", mc_node_int(j->n, "axis", 0), x.buf.shape.rank, &axis,
                              err);
    if (rc)
        return rc;
    measure(&x.buf, axis, &c);
    bool listed = how.buf.dtype && how.buf.shape.rank > 0;
    int64_t each = 1, count;
    if (how.buf.dtype && !listed)
        mc_op_ints(&how.buf, &each, 1);
    if (each < 1)
        return mc_op_fail(err, MC_EDATA, j->n, "parts of %lld", (long long)each);
    count = listed ? mc_shape_count(&how.buf.shape) : c.length / each + (c.length % each != 0);
    bool squeeze = !how.buf.dtype && !mc_node_int(j->n, "keepdims", 1);
    rc = mc_list_new((size_t)count, &l, err);
    if (rc)
        return rc;
    int64_t at = 0;
    for (int64_t i = 0; i < count && !rc; i++) {
        int64_t n = part_size(listed ? &how.buf : NULL, each, c.length - at, i);
        if (n < 0 || n > c.length - at)
            rc = mc_op_fail(err, MC_EDATA, j->n, "part %lld of %lld does not fit into %lld",
                            (long long)i, (long long)n, (long long)c.length);
        else
            rc = part(j, &x, &c, at, n, squeeze, &l->item[i], err);
        at += rc ? 0 : n;
    }
    if (!rc && at != c.length)
        rc = mc_op_fail(err, MC_EDATA, j->n, "parts of %lld in all do not make %lld", (long long)at,
                        (long long)c.length);
    return give(j, l, rc, err);
}

/* Shape of the items of l put together along `axis`, which is new if `stack`. */
static int joined_shape(const struct job *j, const struct mc_list *l, bool stack, int axis,
                        struct mc_shape *ret, struct mc_err *err)
{
    const struct mc_live *first = &l->item[0];
    *ret = first->buf.shape;
    int64_t sum = 0;
    for (size_t i = 0; i < l->n; i++) {
        struct mc_shape s = l->item[i].buf.shape;
        bool fits = s.rank == ret->rank && l->item[i].buf.dtype == first->buf.dtype;
        if (fits && !stack && __builtin_add_overflow(sum, s.dim[axis], &sum))
            return mc_op_fail(err, MC_ENOMEM, j->n, "out of memory: the result is too large");
        if (fits && !stack)
            s.dim[axis] = ret->dim[axis];
        if (!fits || !mc_shape_equal(&s, ret)) {
            char a[MC_SHAPE_TEXT], b[MC_SHAPE_TEXT];
            return mc_op_fail(err, MC_ESHAPE, j->n, "item %zu is %s %s, and the first is %s %s", i,
                              mc_dtype_name(l->item[i].type),
                              mc_shape_text(&l->item[i].buf.shape, a), mc_dtype_name(first->type),
                              mc_shape_text(&first->buf.shape, b));
        }
    }
    if (stack) {
        memmove(ret->dim + axis + 1, ret->dim + axis,
                (size_t)(ret->rank - axis) * sizeof *ret->dim);
        ret->rank++;
        sum = (int64_t)l->n;
    }
    ret->dim[axis] = sum;
    return 0;
}

static int concat(const struct job *j, struct mc_err *err)
{
    bool stack = mc_node_int(j->n, "new_axis", 0) != 0;
    struct mc_list *l;
    struct mc_shape shape;
    struct mc_buf out;
    int axis, rc = sequence(j, 0, &l, err);
    if (!rc && !l->n)
        rc = mc_op_fail(err, MC_EDATA, j->n, "the sequence is empty");
    for (size_t i = 0; !rc && i < l->n; i++)
        if (l->item[i].list)
            rc = mc_op_fail(err, MC_EDTYPE, j->n,
                            "item %zu is a sequence or an optional, must be a tensor", i);
    if (rc)
        return rc;
    int rank = l->item[0].buf.shape.rank + stack;
    if (rank > MC_RANK_MAX)
        return mc_op_fail(err, MC_EUNSUP, j->n, "the result has rank %d", rank);
    rc = mc_op_need_axis(j->n, "axis", mc_node_int(j->n, "axis", 0), rank, &axis, err);
    rc = rc ? rc : joined_shape(j, l, stack, axis, &shape, err);
    if (rc || !j->st->out[0])
        return rc;
    rc = mc_live_new(j->s, j->st->out[0], &shape, l->item[0].buf.dtype, l->item[0].type, &out, err);
    if (rc)
        return rc;
    struct cut c;
    measure(&out, axis, &c);
    size_t row = (size_t)c.length * c.piece, at = 0;
    for (size_t i = 0; i < l->n; i++) {
        const struct mc_buf *b = &l->item[i].buf;
        size_t bytes = (stack ? 1 : (size_t)b->shape.dim[axis]) * c.piece;
        copy_rows(c.rows, bytes, (char *)out.data + at, row, b->data, bytes);
        at += bytes;
    }
    return 0;
}

static int pick(const struct job *j, struct mc_err *err)
{
    struct mc_list *l;
    size_t at;
    int rc = sequence(j, 0, &l, err);
    rc = rc ? rc : place(j, 1, l->n, 0, &at, err);
    return rc ? rc : mc_body_output(j->s, j->st, 0, &l->item[at], err);
}

/* ---- optionals, and what passes anything through ---- */

static int pass(const struct job *j, struct mc_err *err)
{
    const struct mc_live l = mc_body_input(j->s, j->st, 0);
    if (l.list && l.list->none && mc_node_is(j->n, "OptionalGetElement"))
        return mc_op_fail(err, MC_EDATA, j->n, "the optional has no element");
    return mc_body_output(j->s, j->st, 0, &l, err);
}

static int optional(const struct job *j, struct mc_err *err)
{
    struct mc_list *l;
    if (given(j, 0))
        return pass(j, err);
    int rc = mc_list_new(0, &l, err);
    if (rc)
        return rc;
    l->none = true;
    return give(j, l, 0, err);
}

static int length(const struct job *j, struct mc_err *err)
{
    struct mc_list *l;
    int rc = sequence(j, 0, &l, err);
    return rc ? rc : scalar(j, MC_DTYPE_I64, (int64_t)l->n, err);
}

static int has_element(const struct job *j, struct mc_err *err)
{
    struct mc_live l = {0};
    if (given(j, 0))
        l = mc_body_input(j->s, j->st, 0);
    return scalar(j, MC_DTYPE_BOOL, mc_live_there(&l) && !(l.list && l.list->none), err);
}

int mc_list_run(struct mc_session *s, struct mc_step *st, struct mc_err *err)
{
    static const struct {
        const char *name;
        int (*run)(const struct job *j, struct mc_err *err);
    } table[] = {{"SequenceEmpty", construct}, {"SequenceConstruct", construct},
                 {"SequenceInsert", insert},   {"SequenceErase", erase},
                 {"SequenceAt", pick},         {"SequenceLength", length},
                 {"SplitToSequence", split},   {"ConcatFromSequence", concat},
                 {"Optional", optional},       {"OptionalHasElement", has_element},
                 {"OptionalGetElement", pass}, {"Identity", pass}};
    const struct job j = {s, st, st->call.node};
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        if (mc_node_is(j.n, table[i].name))
            return table[i].run(&j, err);
    return mc_op_fail(err, MC_EDTYPE, j.n, "an input is a sequence or an optional");
}

int mc_list_map(struct mc_session *s, struct mc_step *st, struct mc_body *b, struct mc_live *args,
                struct mc_list **results, struct mc_err *err)
{
    const struct job j = {s, st, st->call.node};
    size_t n_in = j.n->n_in;
    struct mc_list *first;
    int rc = sequence(&j, 0, &first, err);
    for (int i = 0; i < st->call.n_out && !rc; i++)
        rc = mc_list_new(first->n, &results[i], err);
    for (size_t k = 0; !rc && k < first->n; k++) {
        for (size_t i = 0; i < n_in && !rc; i++) {
            args[i] = mc_body_input(s, st, (int)i);
            if (args[i].list && k >= args[i].list->n)
                rc = mc_op_fail(err, MC_EDATA, j.n, "input %zu has %zu items, and the first %zu", i,
                                args[i].list->n, first->n);
            else if (args[i].list)
                args[i] = args[i].list->item[k];
        }
        rc = rc ? rc : mc_body_call(s, st, b, 0, args, err);
        for (int i = 0; i < st->call.n_out && !rc; i++)
            rc =
                mc_live_keep(s->blocks, mc_body_result(b, 0, (size_t)i), &results[i]->item[k], err);
    }
    for (int i = 0; i < st->call.n_out && !rc; i++)
        rc = mc_body_output(s, st, (size_t)i, &(struct mc_live){.list = results[i]}, err);
    for (int i = 0; i < st->call.n_out; i++)
        mc_list_drop(s->blocks, results[i]);
    mc_live_clear(b->session[0]);
    return rc;
}
