/* Quantisation that is being trained, of ai.mcompress.grad.
 *
 *     FakeQuantize(x, scale, zero)           what QuantizeLinear and DequantizeLinear give one after the other, to integers
 *                                            from `lo` to `hi`; axis and block_size as there
 *     FakeQuantizeGrad(dy, x, scale, zero)   to dx and ds; ds is divided by the root of how many elements share the
 *                                            scale (of one sample, where `batched`) times the largest step
 *     LearnedScale(start, growth)            scale = start exp(growth): above 0, and `start` to the bit at growth 0
 *
 * Source: Esser et al., Learned Step Size Quantization, ICLR 2020. */
#include "graph/ops/learned_scale.h"

#include <float.h>
#include <math.h>

#include "graph/grad/rule.h"
#include "graph/ops/float_elem.h"
#include "graph/ops/helper.h"
#include "graph/ops/op_gpu.h"
#include "graph/ops/quant_grid.h"

enum { CHUNK = 1 << 14, COLUMNS = 1 << 10 }; /* elements of a piece of work, and of one across */

/* ---- pieces of work ---- */

/* Rows of elements whose gradients of scales are added up in one place. */
struct piece {
    int64_t at, rows, step, n; /* first element, rows, elements from row to row and in one */
    int64_t scale;             /* of the first element; the others' where `along`: the next */
    bool along;
    int64_t sum; /* first of its sums */
};

struct job {
    const struct mc_call *c;
    struct mc_quant_grid g;
    const struct mc_buf *x, *dy, *scale, *zero, *y, *ds; /* of the gradient where dy is there */
    int64_t n_scales, n_sums;                            /* sum i belongs to scale i % n_scales */
    int64_t rows;                                        /* short ones of a piece */
    char *zeros;                                         /* as elements, NULL: none */
    double *sums;
};

static int64_t ceil_div(int64_t a, int64_t b)
{
    return (a + b - 1) / b;
}

static bool one_scale(const struct job *j)
{
    return j->g.a_step == 0 && j->g.i_step == 0;
}

/* Scales along an axis, not in blocks. */
static bool by_axis(const struct job *j)
{
    return j->g.a_step != 0 && j->g.i_step == 0;
}

/* Along the innermost one. */
static bool is_across(const struct job *j)
{
    return by_axis(j) && j->g.inner == 1;
}

/* A scale has whole rows: of an axis, or blocks of the innermost one. */
static bool has_rows(const struct job *j)
{
    return (by_axis(j) && !is_across(j)) || (j->g.i_step != 0 && j->g.inner == 1);
}

static int64_t pieces(const struct job *j)
{
    const struct mc_quant_grid *g = &j->g;
    if (one_scale(j))
        return ceil_div(g->inner, CHUNK);
    if (is_across(j))
        return ceil_div(g->axis, COLUMNS);
    int64_t blocks = g->outer * ceil_div(g->axis, g->block);
    return has_rows(j) ? ceil_div(blocks, j->rows) : blocks * ceil_div(g->inner, COLUMNS);
}

static int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* Part k of piece i; false behind the last. */
static bool piece_of(const struct job *j, int64_t i, int64_t k, struct piece *p)
{
    const struct mc_quant_grid *g = &j->g;
    if (one_scale(j)) {
        *p = (struct piece){i * CHUNK, 1, 0, least(CHUNK, g->inner - i * CHUNK), 0, false, i};
        return k == 0;
    }
    if (is_across(j)) {
        int64_t from = i * COLUMNS;
        *p = (struct piece){from, g->outer, g->axis, least(COLUMNS, g->axis - from),
                            from, true,     from};
        return k == 0;
    }
    int64_t per_axis = ceil_div(g->axis, g->block),
            spans = has_rows(j) ? 1 : ceil_div(g->inner, COLUMNS);
    int64_t b = has_rows(j) ? i * j->rows + k : i / spans, o = b / per_axis, a = b % per_axis;
    int64_t from = has_rows(j) ? 0 : i % spans * COLUMNS, first = a * g->block;
    int64_t deep = least(g->block, g->axis - first);
    p->at = (o * g->axis + first) * g->inner + from;
    p->scale = o * g->o_step + a * g->a_step + from * g->i_step;
    p->along = !has_rows(j);
    p->rows = has_rows(j) ? 1 : deep;
    p->step = g->inner;
    p->n = has_rows(j) ? deep * g->inner : least(COLUMNS, g->inner - from);
    p->sum = has_rows(j) ? b : p->scale;
    return b < g->outer * per_axis && k < (has_rows(j) ? j->rows : 1);
}

static void one_piece(void *ctx, int64_t i, int worker)
{
    (void)worker;
    const struct job *j = ctx;
    const struct mc_fake_quant_kernels *k = &j->c->k->fake_quant;
    int64_t wide = j->c->k->elem_bytes;
    struct piece p;
    struct mc_fake_row r = {.lo = (double)mc_node_int(j->c->node, "lo", 0),
                            .hi = (double)mc_node_int(j->c->node, "hi", 0)};
    for (int64_t part = 0; piece_of(j, i, part, &p); part++) {
        r.n = p.n;
        r.step = p.along;
        r.scale = (const char *)j->scale->data + p.scale * wide;
        r.zero = j->zeros ? j->zeros + p.scale * wide : NULL;
        for (int64_t row = 0; row < p.rows; row++) {
            int64_t at = (p.at + row * p.step) * wide;
            const char *x = (const char *)j->x->data + at;
            char *y = j->y ? (char *)j->y->data + at : NULL;
            if (j->dy)
                k->grad(&r, (const char *)j->dy->data + at, x, y, j->ds ? j->sums + p.sum : NULL);
            else
                k->round(&r, x, y);
        }
    }
}

/* ---- both ---- */

static struct job job_of(struct mc_call *c, size_t *scratch)
{
    bool back = c->op->name[sizeof "FakeQuantize" - 1] != 0;
    struct job j = {.c = c, .x = &c->in[back], .scale = &c->in[back + 1]};
    struct mc_err none;
    j.zero = mc_op_arg(c, back + 2);
    j.y = mc_op_res(c, 0);
    j.dy = back ? &c->in[0] : NULL;
    j.ds = back ? mc_op_res(c, 1) : NULL;
    mc_quant_grid_of(c->node, &j.x->shape, &j.scale->shape, &j.g, &none); /* infer saw it fit */
    j.n_scales = mc_op_count(j.scale);
    int64_t row = j.g.inner * j.g.block;
    j.rows = row && row < CHUNK ? CHUNK / row : 1;
    bool apart = by_axis(&j) && !is_across(&j);
    j.n_sums = !j.ds ? 0 : one_scale(&j) ? pieces(&j) : apart ? j.g.outer * j.g.axis : j.n_scales;
    *scratch = 0;
    if (j.zero)
        j.zeros = mc_op_scratch(c, scratch, (size_t)(j.n_scales * c->k->elem_bytes));
    j.sums = mc_op_scratch(c, scratch, (size_t)j.n_sums * sizeof *j.sums);
    return j;
}

static int setup(struct mc_call *c, struct mc_err *err)
{
    (void)err;
    job_of(c, &c->scratch_bytes);
    return 0;
}

static void read_zeros(struct job *j)
{
    double v[8];
    int bits = mc_dtype_info((int)j->zero->dtype)->bits;
    int64_t at_once = bits < 8 ? 8 / bits : 1, many = mc_op_count(j->zero);
    for (int64_t i = 0; i < j->n_scales; i++) {
        int64_t k = many == 1 ? 0 : i, first = k / at_once * at_once;
        mc_dtype_to_f64((int)j->zero->dtype, (const char *)j->zero->data + first * bits / 8, v,
                        (size_t)(k - first + 1), NULL);
        mc_set_param(j->zeros, j->c->k->elem_bytes, i, v[k - first]);
    }
}

static int fake_run(struct mc_call *c, struct mc_err *err)
{
    (void)err;
    size_t at;
    struct job j = job_of(c, &at);
    if (j.zero)
        read_zeros(&j);
    for (int64_t i = 0; i < j.n_sums; i++)
        j.sums[i] = 0;
    if (mc_op_count(j.x) > 0)
        mc_pool_run(c->pool, pieces(&j), one_piece, &j);
    return 0;
}

static int need_inputs(const struct mc_infer_ctx *c, int x, struct mc_err *err)
{
    struct mc_quant_grid g;
    int rc = mc_op_arity(c, x + 2, x + 3, err);
    for (int i = 0; i < x + 2 && !rc; i++) {
        rc = mc_op_need_float(c, i, err);
        rc = rc ? rc : mc_op_need_same(c, 0, i, err);
    }
    if (!rc && c->in[x]->ranked && c->in[x + 1]->ranked)
        rc = mc_quant_grid_of(c->node, &c->in[x]->shape, &c->in[x + 1]->shape, &g, err);
    return rc;
}

static int fake_infer(struct mc_infer_ctx *c, struct mc_err *err)
{
    int rc = need_inputs(c, 0, err);
    return rc ? rc : mc_op_same(c, err);
}

/* ---- gradient ---- */

static int grad_infer(struct mc_infer_ctx *c, struct mc_err *err)
{
    int rc = need_inputs(c, 1, err);
    if (rc)
        return rc;
    const struct mc_vtype *x = c->in[1], *s = c->in[2];
    mc_op_give(c, 0, x->dtype, x->ranked ? &x->shape : NULL);
    mc_op_give(c, 1, x->dtype, s->ranked ? &s->shape : NULL);
    return 0;
}

/* Elements of a sample that have one scale. */
static double share_of(const struct job *j)
{
    double count = (double)mc_op_count(j->x) / (double)j->n_scales;
    if (mc_node_int(j->c->node, "batched", 0) && j->x->shape.rank > 0 && j->x->shape.dim[0] > 0)
        count /= (double)j->x->shape.dim[0];
    return count;
}

/* 1 / sqrt(n q): n elements of a sample have scale i, whose largest step is q. */
static double factor(const struct job *j, int64_t i)
{
    const struct mc_node *n = j->c->node;
    double z = j->zeros ? mc_param(j->zeros, j->c->k->elem_bytes, i) : 0;
    double hi = (double)mc_node_int(n, "hi", 0) - z, lo = z - (double)mc_node_int(n, "lo", 0) - 1;
    return 1 / sqrt(fmax(share_of(j), 1) * fmax(fmax(hi, lo), 1));
}

static int grad_run(struct mc_call *c, struct mc_err *err)
{
    size_t at;
    int rc = fake_run(c, err);
    const struct job j = job_of(c, &at);
    for (int64_t s = 0; s < j.n_scales && j.ds; s++) {
        double sum = 0;
        for (int64_t i = s; i < j.n_sums; i += j.n_scales)
            sum += j.sums[i];
        mc_buf_put(j.ds, s, sum * factor(&j, s));
    }
    return rc;
}

/* ---- scales ---- */

static int scale_infer(struct mc_infer_ctx *c, struct mc_err *err)
{
    int rc = mc_op_arity(c, 2, 2, err);
    rc = rc ? rc : mc_op_need_float(c, 0, err);
    rc = rc ? rc : mc_op_need_same(c, 0, 1, err);
    return rc ? rc : mc_op_same(c, err);
}

double mc_learned_scale(double start, double growth)
{
    double scale = start * exp(growth);
    return scale < (double)FLT_MIN   ? (double)FLT_MIN
           : scale > (double)FLT_MAX ? (double)FLT_MAX
                                     : scale;
}

static int scale_run(struct mc_call *c, struct mc_err *err)
{
    (void)err;
    for (int64_t i = 0, n = mc_op_count(&c->out[0]); i < n; i++)
        mc_buf_put(&c->out[0], i,
                   mc_learned_scale(mc_buf_param(&c->in[0], i), mc_buf_param(&c->in[1], i)));
    return 0;
}

const struct mc_op mc_ops_fake_quant[] = {
    {MC_GRAD_DOMAIN, "FakeQuantize", 1, MC_OP_INPLACE, fake_infer, setup, fake_run, NULL, NULL,
     NULL},
    {MC_GRAD_DOMAIN, "FakeQuantizeGrad", 1, MC_OP_INPLACE, grad_infer, setup, grad_run, NULL, NULL,
     NULL},
    {MC_GRAD_DOMAIN, "LearnedScale", 1, 0, scale_infer, NULL, scale_run, NULL, NULL, NULL},
    {0},
};

/* ---- on a GPU ---- */

static enum mc_elem zero_elem(enum mc_dtype d)
{
    if (d == MC_DTYPE_I4 || d == MC_DTYPE_I2)
        return MC_ELEM_I8;
    if (d == MC_DTYPE_U4 || d == MC_DTYPE_U2)
        return MC_ELEM_U8;
    return mc_op_elem(d);
}

static int gpu_run(struct mc_call *c, struct mc_err *err)
{
    (void)err;
    size_t at;
    const struct job j = job_of(c, &at);
    const struct mc_fake_grid g = {.outer = j.g.outer,
                                   .axis = j.g.axis,
                                   .inner = j.g.inner,
                                   .block = j.g.block,
                                   .o_step = j.g.o_step,
                                   .a_step = j.g.a_step,
                                   .i_step = j.g.i_step,
                                   .n_scales = j.n_scales,
                                   .lo = (double)mc_node_int(c->node, "lo", 0),
                                   .hi = (double)mc_node_int(c->node, "hi", 0),
                                   .scale = j.scale->data,
                                   .zero = j.zero ? j.zero->data : NULL,
                                   .zero_elem = j.zero ? (int)zero_elem(j.zero->dtype) : 0,
                                   .zero_bits =
                                       j.zero ? mc_dtype_info((int)j.zero->dtype)->bits : 0,
                                   .n_zeros = j.zero ? mc_op_count(j.zero) : 0,
                                   .x = j.x->data,
                                   .dy = j.dy ? j.dy->data : NULL,
                                   .y = j.y ? j.y->data : NULL,
                                   .ds = j.ds ? j.ds->data : NULL,
                                   .count = share_of(&j)};
    c->k->fake_quant.grid(&g);
    return 0;
}

static bool gpu_can(const struct mc_call *c)
{
    bool back = c->op->name[sizeof "FakeQuantize" - 1] != 0;
    const struct mc_buf *zero = mc_op_arg(c, back + 2);
    enum mc_elem type = zero ? zero_elem(zero->dtype) : MC_ELEM_F32;
    bool known = type == MC_ELEM_I8 || type == MC_ELEM_U8 || type == MC_ELEM_I16 ||
                 type == MC_ELEM_U16 || type == MC_ELEM_I32 || type == MC_ELEM_F32;
    return mc_op_gpu_floats(c) && c->k->fake_quant.grid && known;
}

static int gpu_scale_run(struct mc_call *c, struct mc_err *err)
{
    (void)err;
    const struct mc_learned_scales s = {mc_op_count(&c->out[0]), c->in[0].data, c->in[1].data,
                                        c->out[0].data};
    c->k->fake_quant.scales(&s);
    return 0;
}

static bool gpu_scale_can(const struct mc_call *c)
{
    return mc_op_gpu_floats(c) && c->k->fake_quant.scales;
}

const struct mc_op_gpu mc_op_gpu_fake_quant[] = {
    {MC_GRAD_DOMAIN, "FakeQuantize", .can = gpu_can, .run = gpu_run},
    {MC_GRAD_DOMAIN, "FakeQuantizeGrad", .can = gpu_can, .run = gpu_run},
    {MC_GRAD_DOMAIN, "LearnedScale", .can = gpu_scale_can, .run = gpu_scale_run},
    {0},
};
