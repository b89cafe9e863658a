/* Sums, products, functions, pools and concatenations of steps on integers. */
#include <string.h>

#include "graph/ops/helper.h"
#include "graph/ops/integer_step.h"
#include "graph/ops/window.h"

enum { CHUNK = 1 << 14 }; /* elements for a thread */

/* ---- pairs ---- */

/* Rows of `n` elements; row i of an operand begins at element i / every * step of it, where every `repeat` rows
 * begin anew. */
struct pair_job {
    const struct mc_integer *s;
    struct mc_pair_s8 pair;
    void (*run)(const struct mc_pair_s8 *p);
    int rank;
    int64_t dim[MC_MOVE_RANK], stride[2][MC_MOVE_RANK], rows, n, parts;
    const uint8_t *a, *b;
    uint8_t *y;
};

static void one_row(void *ctx, int64_t i, int worker)
{
    (void)worker;
    const struct pair_job *j = ctx;
    struct mc_pair_s8 p = j->pair;
    int64_t row = i / j->parts, from = i % j->parts * CHUNK, at[2] = {0, 0}, rest = row;
    for (int d = j->rank - 2; d >= 0; d--) {
        for (int k = 0; k < 2; k++)
            at[k] += rest % j->dim[d] * j->stride[k][d];
        rest /= j->dim[d];
    }
    p.n = j->n - from < CHUNK ? j->n - from : CHUNK;
    p.a = j->a + at[0] + from;
    p.b = j->b + at[1] + from * p.b_step;
    p.y = j->y + row * j->n + from;
    j->run(&p);
}

/* Strides of operand i in the layout `last` of the result. */
static void strides_of(const struct mc_call *c, int i, bool last, int64_t *stride)
{
    const struct mc_shape *x = &c->in[i].shape, *y = &c->out[0].shape;
    struct mc_shape moved = *x, to = *y;
    for (int d = 1; last && d < y->rank - 1; d++) {
        moved.dim[d] = x->dim[d + 1];
        to.dim[d] = y->dim[d + 1];
    }
    if (last) {
        moved.dim[x->rank - 1] = x->dim[1];
        to.dim[y->rank - 1] = y->dim[1];
    }
    mc_op_broadcast_strides(&moved, &to, stride);
}

static bool pair_last(const struct mc_call *c)
{
    const struct mc_shape *y = &c->out[0].shape;
    return c->integer->y.last && c->in[0].shape.rank == y->rank && c->in[1].shape.rank == y->rank;
}

/* The second operand repeats along the last dimension, or neither does. */
static void pair_layout(struct mc_call *c, struct pair_job *j, size_t *at)
{
    const struct mc_shape *y = &c->out[0].shape;
    bool last = pair_last(c);
    j->rank = y->rank;
    for (int d = 0; d < y->rank; d++)
        j->dim[d] = y->dim[d];
    for (int d = 1; last && d < y->rank; d++)
        j->dim[d] = y->dim[d + 1 < y->rank ? d + 1 : 1];
    for (int i = 0; i < 2; i++)
        strides_of(c, i, last, j->stride[i]);
    j->a = mc_integer_in(c, 0, last, at);
    j->b = mc_integer_in(c, 1, last, at);
    j->y = mc_integer_out(c, last, at);
    j->rank = mc_move_merge(j->rank, j->dim, 2, j->stride);
}

static int pair_setup(struct mc_call *c, struct mc_err *err)
{
    (void)err;
    struct pair_job j;
    size_t at = 0;
    pair_layout(c, &j, &at);
    c->scratch_bytes = at;
    return 0;
}

static int pair_run(struct mc_call *c, struct mc_err *err)
{
    (void)err;
    const struct mc_integer *s = c->integer;
    struct pair_job j = {.s = s};
    size_t at = 0;
    pair_layout(c, &j, &at);
    bool swap = j.stride[0][j.rank - 1] == 0 && j.stride[1][j.rank - 1] != 0;
    int a = swap, b = !swap;
    float scale[2] = {s->x[0].scale / s->y.scale, s->x[1].scale / s->y.scale};
    if (s->subtract)
        scale[1] = -scale[1];
    j.pair = (struct mc_pair_s8){.a_signed = c->in[a].dtype == MC_DTYPE_I8,
                                 .b_signed = c->in[b].dtype == MC_DTYPE_I8,
                                 .a_zero = s->x[a].zero,
                                 .b_zero = s->x[b].zero,
                                 .a_scale = s->multiply ? scale[0] * s->x[1].scale : scale[a],
                                 .b_scale = scale[b],
                                 .b_step = j.stride[b][j.rank - 1] != 0,
                                 .zero = s->to.zero,
                                 .lo = s->to.lo,
                                 .hi = s->to.hi};
    if (swap) {
        int64_t keep[MC_MOVE_RANK];
        memcpy(keep, j.stride[0], sizeof keep);
        memcpy(j.stride[0], j.stride[1], sizeof keep);
        memcpy(j.stride[1], keep, sizeof keep);
        const uint8_t *x = j.a;
        j.a = j.b;
        j.b = x;
    }
    j.run = s->multiply ? c->k->rows_s8.mul : c->k->rows_s8.add;
    j.n = j.dim[j.rank - 1];
    j.parts = (j.n + CHUNK - 1) / CHUNK;
    j.rows = j.n ? mc_op_count(&c->out[0]) / j.n : 0;
    mc_pool_run(c->pool, j.rows * j.parts, one_row, &j);
    mc_integer_give(c, pair_last(c), j.y);
    return 0;
}

/* ---- tables ---- */

struct table_job {
    const struct mc_call *c;
    const uint8_t *table, *from;
    uint8_t *to;
    int64_t n;
};

static void look_up_chunk(void *ctx, int64_t i, int worker)
{
    (void)worker;
    const struct table_job *j = ctx;
    int64_t at = i * CHUNK, n = j->n - at < CHUNK ? j->n - at : CHUNK;
    j->c->k->rows_s8.look_up(n, j->from + at, j->table, j->to + at);
}

static void look_up(const struct mc_call *c, const uint8_t *table, int64_t n, const uint8_t *from,
                    uint8_t *to)
{
    struct table_job j = {c, table, from, to, n};
    mc_pool_run(c->pool, (n + CHUNK - 1) / CHUNK, look_up_chunk, &j);
}

static int table_setup(struct mc_call *c, struct mc_err *err)
{
    (void)err;
    size_t at = 0;
    mc_integer_in(c, 0, c->integer->y.last, &at);
    c->scratch_bytes = at;
    return 0;
}

static int table_run(struct mc_call *c, struct mc_err *err)
{
    (void)err;
    size_t at = 0;
    const uint8_t *x = mc_integer_in(c, 0, c->integer->y.last, &at);
    look_up(c, c->integer->table, mc_op_count(&c->out[0]), x, c->out[0].data);
    return 0;
}

/* ---- pools ---- */

/* In the layout of x: the result, which is the smaller of the two, is what may have to be rearranged. */
static int pool_of(struct mc_call *c, struct mc_pool_s8 *p, size_t *at, struct mc_err *err)
{
    const struct mc_integer *s = c->integer;
    const struct mc_shape *x = &c->in[0].shape;
    bool last = s->x[0].last;
    struct mc_window_dims w = {.in = {1, 1, 1}};
    int rc = s->global ? 0 : mc_window_infer(c->node, x, NULL, &w, err);
    if (rc)
        return rc;
    for (int d = 0; d < 3 && s->global; d++) {
        int at_dim = d - 3 + x->rank;
        w.in[d] = w.kernel[d] = at_dim > 1 ? x->dim[at_dim] : 1;
        w.out[d] = w.stride[d] = w.dilation[d] = 1;
    }
    *p = (struct mc_pool_s8){.average = s->average,
                             .count_pad = mc_node_int(c->node, "count_include_pad", 0) != 0,
                             .n = x->dim[0],
                             .c = x->dim[1],
                             .layout = last ? MC_S8_NHWC : MC_S8_NCHW,
                             .x_signed = c->in[0].dtype == MC_DTYPE_I8,
                             .x_zero = s->x[0].zero,
                             .scale = s->x[0].scale / s->y.scale,
                             .zero = s->to.zero,
                             .lo = s->to.lo,
                             .hi = s->to.hi};
    memcpy(p->in, w.in, sizeof w.in);
    memcpy(p->out, w.out, sizeof w.out);
    memcpy(p->kernel, w.kernel, sizeof w.kernel);
    memcpy(p->stride, w.stride, sizeof w.stride);
    memcpy(p->dilation, w.dilation, sizeof w.dilation);
    memcpy(p->pad, w.pad, sizeof w.pad);
    memcpy(p->end, w.end, sizeof w.end);
    p->x = c->in[0].data;
    p->y = mc_integer_out(c, last, at);
    return 0;
}

static int pool_setup(struct mc_call *c, struct mc_err *err)
{
    struct mc_pool_s8 p;
    size_t at = 0;
    int rc = pool_of(c, &p, &at, err);
    c->scratch_bytes = at;
    return rc;
}

static int pool_run(struct mc_call *c, struct mc_err *err)
{
    struct mc_pool_s8 p;
    size_t at = 0;
    int rc = pool_of(c, &p, &at, err);
    if (rc)
        return rc;
    c->k->rows_s8.pool(&p, c->pool);
    mc_integer_give(c, c->integer->x[0].last, p.y);
    return 0;
}

/* ---- concatenations ---- */

/* Where the axis is in memory, what is before it and behind it. */
static void concat_sizes(const struct mc_call *c, const struct mc_shape *s, int64_t *outer,
                         int64_t *part)
{
    int64_t axis = mc_node_int(c->node, "axis", 1);
    int rank = s->rank, a = (int)(axis < 0 ? axis + rank : axis);
    bool last = c->integer->y.last;
    if (!last || a == 0) {
        *outer = mc_shape_span(s, 0, a);
        *part = mc_shape_span(s, a, rank);
    } else if (a == 1) {
        *outer = s->dim[0] * mc_shape_span(s, 2, rank);
        *part = s->dim[1];
    } else {
        *outer = s->dim[0] * mc_shape_span(s, 2, a);
        *part = mc_shape_span(s, a, rank) * s->dim[1];
    }
}

static int concat_setup(struct mc_call *c, struct mc_err *err)
{
    (void)err;
    size_t at = 0;
    for (int i = 0; i < c->n_in; i++)
        mc_integer_in(c, i, c->integer->y.last, &at);
    c->scratch_bytes = at;
    return 0;
}

struct concat_job {
    const struct mc_call *c;
    const uint8_t *x, *table;
    uint8_t *y;
    int64_t part, row;
};

static void concat_row(void *ctx, int64_t i, int worker)
{
    (void)worker;
    const struct concat_job *j = ctx;
    if (j->table)
        j->c->k->rows_s8.look_up(j->part, j->x + i * j->part, j->table, j->y + i * j->row);
    else if (j->part)
        memcpy(j->y + i * j->row, j->x + i * j->part, (size_t)j->part);
}

static int concat_run(struct mc_call *c, struct mc_err *err)
{
    (void)err;
    const struct mc_integer *s = c->integer;
    int64_t outer, row, from = 0;
    size_t at = 0;
    concat_sizes(c, &c->out[0].shape, &outer, &row);
    for (int i = 0; i < c->n_in; i++) {
        const uint8_t *table = s->table + i * MC_INTEGER_TABLE;
        bool stays = true;
        for (int v = 0; v < MC_INTEGER_TABLE && stays; v++)
            stays = table[v] == v;
        struct concat_job j = {.c = c,
                               .x = mc_integer_in(c, i, s->y.last, &at),
                               .table = stays ? NULL : table,
                               .y = (uint8_t *)c->out[0].data + from,
                               .row = row};
        concat_sizes(c, &c->in[i].shape, &outer, &j.part);
        mc_pool_run(c->pool, outer, concat_row, &j);
        from += j.part;
    }
    return 0;
}

const struct mc_op mc_op_integer_pair = {.name = "",
                                         .flags = MC_OP_INPLACE_ANY,
                                         .setup = pair_setup,
                                         .run = pair_run};
const struct mc_op mc_op_integer_table = {.name = "",
                                          .flags = MC_OP_INPLACE,
                                          .setup = table_setup,
                                          .run = table_run};
const struct mc_op mc_op_integer_pool = {.name = "", .setup = pool_setup, .run = pool_run};
const struct mc_op mc_op_integer_concat = {.name = "", .setup = concat_setup, .run = concat_run};
