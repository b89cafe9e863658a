/* Einsum: operands are contracted from left to right, each pair by batched products of matrices, by an
 * elementwise product where nothing is summed, and by a reduction where a label is in one operand only. */
#include <string.h>

#include "graph/ops/equation.h"
#include "graph/ops/helper.h"
#include "graph/ops/op_gpu.h"

/* ---- shapes ---- */

/* Size of every label: dimensions of 1 give way. */
static int label_sizes(const struct mc_node *n, const struct mc_equation *e,
                       const struct mc_shape *const *shape, int64_t *size, struct mc_err *err)
{
    for (int l = 0; l < MC_LABELS; l++)
        size[l] = 1;
    for (int i = 0; i < e->n; i++)
        for (int d = 0; d < e->in[i].rank; d++) {
            int l = e->in[i].label[d];
            struct mc_shape a = {1, {size[l]}}, b = {1, {shape[i]->dim[d]}}, both;
            if (!mc_shape_broadcast(&a, &b, &both))
                return mc_op_fail(err, MC_ESHAPE, n,
                                  "dimension %d of operand %d: %lld against %lld", d, i,
                                  (long long)b.dim[0], (long long)a.dim[0]);
            size[l] = both.dim[0];
        }
    return 0;
}

static int einsum_infer(struct mc_infer_ctx *c, struct mc_err *err)
{
    int rc = mc_op_arity(c, 1, MC_EQUATION_TERMS, err), rank[MC_EQUATION_TERMS];
    const struct mc_shape *shape[MC_EQUATION_TERMS];
    bool ranked = true;
    for (int i = 0; i < c->n_in && !rc; i++) {
        if (!c->in[i])
            return mc_op_fail(err, MC_ESHAPE, c->node, "operand %d is missing", i);
        rc = mc_op_need_same(c, 0, i, err);
        if (!rc && !mc_op_is_integer(c->in[i]->dtype))
            rc = mc_op_need_float(c, i, err);
        ranked &= c->in[i]->ranked;
        shape[i] = &c->in[i]->shape;
        rank[i] = shape[i]->rank;
    }
    if (rc)
        return rc;
    mc_op_give(c, 0, c->in[0]->dtype, NULL);
    if (!ranked)
        return 0;
    struct mc_equation e;
    int64_t size[MC_LABELS];
    rc = mc_equation_parse(c->node, c->n_in, rank, &e, err);
    rc = rc ? rc : label_sizes(c->node, &e, shape, size, err);
    if (rc)
        return rc;
    struct mc_shape y = {.rank = e.out.rank};
    for (int d = 0; d < y.rank; d++)
        y.dim[d] = size[e.out.label[d]];
    mc_op_give(c, 0, c->in[0]->dtype, &y);
    return 0;
}

/* ---- floats ---- */

struct view { /* an operand, or a result on the way; labels differ, dimensions of 1 are left out */
    const void *data;
    int rank;
    uint8_t label[MC_RANK_MAX];
    int64_t stride[MC_RANK_MAX];
};

static const int64_t MOST = INT64_C(1) << 48; /* elements of a result on the way */

struct work {
    struct mc_call *c;
    bool dry;       /* only count scratch */
    bool too_large; /* found then: a result on the way that no memory holds */
    size_t at;
    struct mc_equation e;
    int64_t size[MC_LABELS];
};

static int find(const struct view *v, int label)
{
    for (int d = 0; d < v->rank; d++)
        if (v->label[d] == label)
            return d;
    return -1;
}

static int64_t stride_of(const struct view *v, int label)
{
    int d = find(v, label);
    return d < 0 ? 0 : v->stride[d];
}

static int64_t count_of(const struct work *w, const struct view *v)
{
    struct mc_shape s = {.rank = v->rank};
    for (int d = 0; d < v->rank; d++)
        s.dim[d] = w->size[v->label[d]];
    return mc_shape_count(&s);
}

static void add_label(struct view *v, int label)
{
    v->label[v->rank++] = (uint8_t)label;
}

/* Row-major strides. */
static void make_dense(const struct work *w, struct view *v)
{
    uint64_t stride = 1; /* may wrap where the view is too large, which is an error then */
    for (int d = v->rank - 1; d >= 0; d--) {
        v->stride[d] = (int64_t)stride;
        stride *= (uint64_t)w->size[v->label[d]];
    }
}

static void *room_for(struct work *w, struct view *v)
{
    int64_t n = count_of(w, v);
    w->too_large |= n < 0 || n > MOST;
    make_dense(w, v);
    void *data = mc_op_scratch(w->c, &w->at, w->too_large ? 0 : (size_t)(n * w->c->k->elem_bytes));
    v->data = data;
    return data;
}

/* Operand i; a label that it has twice is its diagonal. */
static struct view operand(const struct work *w, int i)
{
    const struct mc_buf *b = &w->c->in[i];
    const struct mc_term *t = &w->e.in[i];
    struct view v = {.data = b->data};
    int64_t stride[MC_RANK_MAX];
    mc_op_strides(&b->shape, stride);
    for (int d = 0; d < t->rank; d++) {
        if (b->shape.dim[d] == 1)
            continue;
        int at = find(&v, t->label[d]);
        if (at < 0) {
            at = v.rank;
            add_label(&v, t->label[d]);
            v.stride[at] = 0;
        }
        v.stride[at] += stride[d];
    }
    return v;
}

/* Labels needed behind operand i: in the result, or in an operand to come. */
static void needed_after(const struct work *w, int i, bool *keep)
{
    memset(keep, 0, MC_LABELS * sizeof *keep);
    for (int d = 0; d < w->e.out.rank; d++)
        keep[w->e.out.label[d]] = true;
    for (int j = i + 1; j < w->e.n; j++)
        for (int d = 0; d < w->e.in[j].rank; d++)
            keep[w->e.in[j].label[d]] = true;
}

/* Sum over the labels of v that are neither kept nor in `other`. */
static struct view sum_out(struct work *w, const struct view *v, const struct view *other,
                           const bool *keep)
{
    struct view y = {0};
    struct mc_reduce r = {.fn = MC_REDUCE_SUM, .x = v->data};
    for (int d = 0; d < v->rank; d++) {
        int l = v->label[d];
        if (keep[l] || (other && find(other, l) >= 0)) {
            add_label(&y, l);
            r.keep[r.keep_rank] = w->size[l];
            r.keep_stride[r.keep_rank++] = v->stride[d];
        } else {
            r.over[r.over_rank] = w->size[l];
            r.over_stride[r.over_rank++] = v->stride[d];
        }
    }
    if (r.over_rank == 0)
        return *v;
    r.y = room_for(w, &y);
    if (r.keep_rank == 0) {
        r.keep[0] = 1;
        r.keep_rank = 1;
    }
    if (!w->dry)
        w->c->k->nn.reduce(&r, w->c->pool);
    return y;
}

/* v with its labels in the order of `like`, dense: itself, or a copy in scratch. */
static struct view arranged(struct work *w, const struct view *v, const struct view *like)
{
    struct view y = *like;
    make_dense(w, &y);
    bool same = true;
    struct mc_move m = {.rank = y.rank, .src = v->data, .elem_bytes = w->c->k->elem_bytes};
    for (int d = 0; d < y.rank; d++) {
        m.dim[d] = w->size[y.label[d]];
        m.src_stride[d] = stride_of(v, y.label[d]);
        m.dst_stride[d] = y.stride[d];
        same &= m.src_stride[d] == y.stride[d] || m.dim[d] == 1;
    }
    y.data = v->data;
    if (same)
        return y;
    m.dst = room_for(w, &y);
    if (!w->dry)
        w->c->k->move.run(&m, w->c->pool);
    return y;
}

struct product {
    const struct mc_call *c;
    int64_t batch, m, n, k;
    const char *a, *b;
    char *y, *scratch;
    size_t packed, each;
};

static void one_product(void *ctx, int64_t i, int worker)
{
    const struct product *p = ctx;
    int64_t bytes = p->c->k->elem_bytes;
    char *packed = p->scratch + (size_t)worker * p->each;
    p->c->k->gemm.pack_b(p->k, p->n, p->b + i * p->k * p->n * bytes, p->n, 1, packed, p->c->pool);
    struct mc_gemm g = {.m = p->m,
                        .n = p->n,
                        .k = p->k,
                        .a = p->a + i * p->m * p->k * bytes,
                        .a_row = p->k,
                        .a_col = 1,
                        .packed_b = packed,
                        .c = p->y + i * p->m * p->n * bytes,
                        .c_row = p->n,
                        .alpha = 1};
    p->c->k->gemm.run(&g, packed + p->packed, p->c->pool);
}

static size_t round_up(size_t n)
{
    return (n + MC_ALIGN - 1) / MC_ALIGN * MC_ALIGN;
}

static void multiply_device(const struct product *p)
{
    const struct mc_gemm g = {.m = p->m,
                              .n = p->n,
                              .k = p->k,
                              .a = p->a,
                              .a_row = p->k,
                              .a_col = 1,
                              .b = p->b,
                              .b_row = p->n,
                              .b_col = 1,
                              .batch = p->batch,
                              .a_step = p->m * p->k,
                              .b_step = p->k * p->n,
                              .c_step = p->m * p->n,
                              .c = p->y,
                              .c_row = p->n,
                              .alpha = 1};
    if (p->batch > 0)
        p->c->k->gemm.run(&g, NULL, p->c->pool);
}

/* a [batch, m, k] times b [batch, k, n], both dense. */
static void multiply(struct work *w, struct product *p)
{
    int threads = mc_pool_threads(w->c->pool);
    p->c = w->c;
    if (w->c->k->device) {
        if (!w->dry)
            multiply_device(p);
        return;
    }
    p->packed = round_up(w->c->k->gemm.pack_b_bytes(p->k, p->n));
    p->each = p->packed + round_up(w->c->k->gemm.scratch_bytes(p->m, p->n, p->k, threads));
    p->scratch = mc_op_scratch(w->c, &w->at, p->each * (size_t)threads);
    if (w->dry)
        return;
    if (p->batch == 1)
        one_product(p, 0, 0); /* which uses the threads inside */
    else
        mc_pool_run(w->c->pool, p->batch, one_product, p);
}

/* Nothing is summed: a product of elements, broadcast. */
static void spread(struct work *w, const struct view *a, const struct view *b, const struct view *y,
                   void *to)
{
    struct mc_binary z = {
        .fn = MC_BINARY_MUL, .rank = y->rank, .x = a->data, .y = b->data, .z = to};
    for (int d = 0; d < y->rank; d++) {
        z.dim[d] = w->size[y->label[d]];
        z.stride[0][d] = stride_of(a, y->label[d]);
        z.stride[1][d] = stride_of(b, y->label[d]);
    }
    z.rank = mc_move_merge(z.rank, z.dim, 2, z.stride);
    if (!w->dry)
        w->c->k->elementwise.binary(&z, w->c->pool);
}

/* The labels of `v` with this membership in the other operand and in the kept ones, put behind those of y. */
static int64_t collect(const struct work *w, const struct view *v, const struct view *other,
                       bool in_other, const bool *keep, bool kept, struct view *y)
{
    int64_t n = 1;
    for (int d = 0; d < v->rank; d++) {
        int l = v->label[d];
        if ((find(other, l) >= 0) != in_other || keep[l] != kept)
            continue;
        add_label(y, l);
        n *= w->size[l];
    }
    return n;
}

/* Rank of the result of a pair, and of its operands put in order: at most the labels of both. */
static bool too_many(const struct view *a, const struct view *b)
{
    int n = a->rank;
    for (int d = 0; d < b->rank; d++)
        n += find(a, b->label[d]) < 0;
    return n > MC_RANK_MAX;
}

static int contract(struct work *w, const struct view *left, const struct view *right,
                    const bool *keep, struct view *ret, struct mc_err *err)
{
    struct view a = sum_out(w, left, right, keep), b = sum_out(w, right, left, keep);
    struct view y = {0}, a_order = {0}, b_order = {0};
    struct product p = {0};
    if (too_many(&a, &b))
        return mc_op_fail(err, MC_EUNSUP, w->c->node,
                          "more than %d different labels in one product", MC_RANK_MAX);
    p.batch = collect(w, &a, &b, true, keep, true, &y);
    a_order = b_order = y;
    p.m = collect(w, &a, &b, false, keep, true, &y);
    p.n = collect(w, &b, &a, false, keep, true, &y);
    collect(w, &a, &b, false, keep, true, &a_order);
    p.k = collect(w, &a, &b, true, keep, false, &a_order);
    int before = b_order.rank;
    collect(w, &a, &b, true, keep, false, &b_order);
    bool sums = b_order.rank > before;
    collect(w, &b, &a, false, keep, true, &b_order);
    void *to = room_for(w, &y);
    if (sums) {
        struct view x = arranged(w, &a, &a_order), z = arranged(w, &b, &b_order);
        p.a = x.data;
        p.b = z.data;
        p.y = to;
        multiply(w, &p);
    } else {
        spread(w, &a, &b, &y, to);
    }
    *ret = y;
    return 0;
}

static int evaluate(struct work *w, struct mc_err *err)
{
    struct mc_buf *out = &w->c->out[0];
    bool keep[MC_LABELS];
    struct view sum = operand(w, 0);
    needed_after(w, 0, keep);
    sum = sum_out(w, &sum, NULL, keep);
    for (int i = 1; i < w->e.n; i++) {
        struct view next = operand(w, i);
        needed_after(w, i, keep);
        int rc = contract(w, &sum, &next, keep, &sum, err);
        if (rc)
            return rc;
    }
    struct mc_move m = {.rank = out->shape.rank,
                        .src = sum.data,
                        .dst = out->data,
                        .elem_bytes = w->c->k->elem_bytes};
    memcpy(m.dim, out->shape.dim, sizeof *m.dim * (size_t)m.rank);
    mc_op_strides(&out->shape, m.dst_stride);
    for (int d = 0; d < m.rank; d++)
        m.src_stride[d] = stride_of(&sum, w->e.out.label[d]);
    if (!w->dry)
        w->c->k->move.run(&m, w->c->pool);
    return 0;
}

/* ---- whole numbers: one element at a time, which is enough for what is rare ---- */

static void whole(const struct work *w)
{
    const struct mc_buf *out = &w->c->out[0];
    int64_t total = 1, stride[MC_EQUATION_TERMS + 1][MC_LABELS] = {{0}};
    int each = mc_op_elem_bytes(out->dtype);
    for (int i = 0; i <= w->e.n; i++) {
        const struct mc_buf *b = i < w->e.n ? &w->c->in[i] : out;
        const struct mc_term *t = i < w->e.n ? &w->e.in[i] : &w->e.out;
        int64_t own[MC_RANK_MAX];
        mc_op_strides(&b->shape, own);
        for (int d = 0; d < t->rank; d++)
            stride[i][t->label[d]] += b->shape.dim[d] == 1 ? 0 : own[d];
    }
    for (int l = 0; l < MC_LABELS; l++)
        total *= w->size[l];
    memset(out->data, 0, (size_t)(mc_op_count(out) * each));
    for (int64_t i = 0; i < total; i++) {
        int64_t at[MC_EQUATION_TERMS + 1] = {0}, rest = i;
        uint64_t sum = 0, term = 1;
        for (int l = 0; l < MC_LABELS; l++) {
            for (int j = 0; j <= w->e.n; j++)
                at[j] += rest % w->size[l] * stride[j][l];
            rest /= w->size[l];
        }
        for (int j = 0; j < w->e.n; j++) { /* little endian; what lies above wraps away */
            uint64_t v = 0;
            memcpy(&v, (const char *)w->c->in[j].data + at[j] * each, (size_t)each);
            term *= v;
        }
        char *y = (char *)out->data + at[w->e.n] * each;
        memcpy(&sum, y, (size_t)each);
        sum += term;
        memcpy(y, &sum, (size_t)each);
    }
}

static int prepare(struct mc_call *c, bool dry, struct work *w, struct mc_err *err)
{
    int rank[MC_EQUATION_TERMS];
    const struct mc_shape *shape[MC_EQUATION_TERMS];
    for (int i = 0; i < c->n_in; i++) {
        shape[i] = &c->in[i].shape;
        rank[i] = shape[i]->rank;
    }
    *w = (struct work){.c = c, .dry = dry};
    int rc = mc_equation_parse(c->node, c->n_in, rank, &w->e, err);
    return rc ? rc : label_sizes(c->node, &w->e, shape, w->size, err);
}

static int einsum_setup(struct mc_call *c, struct mc_err *err)
{
    struct work w;
    int rc = prepare(c, true, &w, err);
    double total = 1;
    for (int l = 0; l < MC_LABELS && !rc; l++)
        total *= (double)w.size[l];
    if (!rc && mc_op_is_float(c->out[0].dtype))
        rc = evaluate(&w, err);
    else if (!rc && total > (double)MOST)
        w.too_large = true;
    if (!rc && w.too_large)
        return mc_op_fail(err, MC_EUNSUP, c->node,
                          "its equation has intermediate results too large to run");
    c->scratch_bytes = w.at;
    return rc;
}

static int einsum_run(struct mc_call *c, struct mc_err *err)
{
    struct work w;
    int rc = prepare(c, false, &w, err);
    if (rc)
        return rc;
    if (mc_op_is_float(c->out[0].dtype))
        return evaluate(&w, err);
    whole(&w);
    return 0;
}

/* All labels together: what a single loop over them would multiply; a chain of operands costs less. */
static double einsum_macs(const struct mc_infer_ctx *c)
{
    int rank[MC_EQUATION_TERMS];
    const struct mc_shape *shape[MC_EQUATION_TERMS];
    struct mc_equation e;
    int64_t size[MC_LABELS];
    double total = 1;
    if (c->n_in < 2 || c->n_in > MC_EQUATION_TERMS)
        return 0;
    for (int i = 0; i < c->n_in; i++) {
        if (!c->in[i] || !c->in[i]->ranked)
            return -1;
        shape[i] = &c->in[i]->shape;
        rank[i] = shape[i]->rank;
    }
    if (mc_equation_parse(c->node, c->n_in, rank, &e, NULL) ||
        label_sizes(c->node, &e, shape, size, NULL))
        return -1;
    for (int l = 0; l < MC_LABELS; l++) {
        if (size[l] < 0)
            return -1;
        total *= (double)size[l];
    }
    return total;
}

const struct mc_op mc_ops_einsum[] = {
    {"", "Einsum", 12, 0, einsum_infer, einsum_setup, einsum_run, NULL, einsum_macs, NULL},
    {0},
};

static bool gpu_can(const struct mc_call *c)
{
    return c->k->gemm.run && c->k->nn.reduce && c->k->elementwise.binary && c->k->move.run &&
           c->out[0].dtype == MC_DTYPE_F32 && mc_op_gpu_floats(c);
}

const struct mc_op_gpu mc_op_gpu_einsum[] = {{"", "Einsum", .can = gpu_can}, {0}};
