/* Functions of one 8-bit element become a table of 256 results; what only moves elements runs on the bytes. */
#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "graph/ops/fused_step.h"
#include "graph/ops/helper.h"
#include "graph/run/fuse_integer.h"

enum { DEPTH = 6 }; /* of functions in a table */

struct function {
    struct mc_integers *f;
    struct mc_fuse_group g;
    struct mc_quantised x; /* v NULL: not met yet */
    bool some;             /* there is a function in it */
};

/* ---- what may be in a table ---- */

static bool is_one(const struct mc_buf *b)
{
    return b && b->dtype == MC_DTYPE_F32 && mc_op_count(b) == 1;
}

/* Is v a function of the elements of one dequantised tensor? Its steps are taken in. */
static bool walk(struct function *t, const struct mc_value *v, const struct mc_shape *shape,
                 int depth)
{
    struct mc_plan *p = t->f->p;
    struct mc_quantised x;
    struct mc_unary u;
    enum mc_binary_fn fn;
    if (!mc_shape_equal(&p->values[v->index].buf.shape, shape))
        return false;
    if (mc_integer_from(t->f, v, false, &x)) {
        bool first = !t->x.v;
        t->x = first ? x : t->x;
        return first ||
               (t->x.v == x.v && t->x.side.scale == x.side.scale && t->x.side.zero == x.side.zero);
    }
    const struct mc_step *st = mc_fuse_maker(p, v);
    int at = st ? p->values[v->index].def : -1;
    if (!st || depth == DEPTH || st->call.integer || st->call.out[0].dtype != MC_DTYPE_F32)
        return false;
    bool unary = mc_activation_as_unary(&st->call, &u);
    if (!unary && !mc_arith_as_binary(&st->call, &fn))
        return false;
    if (!mc_fuse_group_has(&t->g, at) && !mc_fuse_group_add(&t->g, at))
        return false;
    t->some = true;
    bool moves = false;
    for (int k = 0; k < (unary ? 1 : 2); k++) {
        const struct mc_buf *b = mc_integer_constant(t->f, st->in[k]);
        if (b ? !is_one(b) : !walk(t, st->in[k], shape, depth + 1))
            return false;
        moves |= !b;
    }
    return moves;
}

/* ---- the table ---- */

static const struct mc_shape all = {1, {MC_INTEGER_TABLE}};

static bool eval(const struct function *t, const struct mc_value *v, float *ret);

/* One step on all of the 256 values. */
static bool eval_step(const struct function *t, const struct mc_step *st, float *ret)
{
    struct mc_err err;
    struct mc_buf in[2], out = {MC_DTYPE_F32, false, all, ret};
    float space[2][MC_INTEGER_TABLE] __attribute__((aligned(MC_ALIGN)));
    struct mc_call c = {.node = st->call.node,
                        .op = st->call.op,
                        .n_in = st->call.n_in < 2 ? st->call.n_in : 2,
                        .n_out = 1,
                        .in = in,
                        .out = &out,
                        .k = st->call.k};
    for (int k = 0; k < c.n_in; k++) {
        const struct mc_buf *b = st->in[k] ? &t->f->p->values[st->in[k]->index].buf : NULL;
        in[k] = b ? *b : (struct mc_buf){0};
        if (!b || b->constant)
            continue;
        in[k] = (struct mc_buf){MC_DTYPE_F32, false, all, space[k]};
        if (!eval(t, st->in[k], space[k]))
            return false;
    }
    return mc_eval_call(&c, &err) == 0;
}

static bool eval(const struct function *t, const struct mc_value *v, float *ret)
{
    const struct mc_plan *p = t->f->p;
    const struct mc_step *st = &p->steps[p->values[v->index].def];
    if (!mc_integer_is(st, "DequantizeLinear"))
        return eval_step(t, st, ret);
    bool is_signed = p->values[t->x.v->index].buf.dtype == MC_DTYPE_I8;
    for (int i = 0; i < MC_INTEGER_TABLE; i++)
        ret[i] = (float)((is_signed ? (int8_t)(uint8_t)i : i) - t->x.side.zero) * t->x.side.scale;
    return true;
}

static bool closed(const struct mc_fuse_group *g)
{
    for (int k = 0; k < g->n - 1; k++)
        if (!mc_fuse_group_owns(g, g->p->steps[g->step[k]].out[0]))
            return false;
    return true;
}

/* An operator that quantises its result itself, of one tensor: it makes its own table. */
static bool linear(struct mc_integers *f, int i)
{
    enum { SCALE = 1, Y_SCALE = 3 };
    struct mc_step *st = &f->p->steps[i];
    struct mc_err err;
    struct mc_fuse_group g = {.p = f->p, .step = {i}, .n = 1};
    struct mc_integer_side x;
    struct mc_integer what = {.x = &x};
    uint8_t every[MC_INTEGER_TABLE] __attribute__((aligned(MC_ALIGN)));
    uint8_t made[MC_INTEGER_TABLE] __attribute__((aligned(MC_ALIGN)));
    struct mc_buf in[5], out = {st->call.out[0].dtype, false, all, made};
    if (st->call.n_in < 4 || st->call.n_in > 5 || !mc_integer_is_bytes(f->p, st->in[0]) ||
        !mc_integer_side_of(f, st->in[SCALE], st->in[SCALE + 1], &x) ||
        !mc_integer_side_of(f, st->in[Y_SCALE], st->call.n_in > 4 ? st->in[Y_SCALE + 1] : NULL,
                            &what.y))
        return false;
    for (int k = 0; k < MC_INTEGER_TABLE; k++)
        every[k] = (uint8_t)k;
    for (int k = 0; k < st->call.n_in; k++)
        in[k] = st->call.in[k];
    in[0] = (struct mc_buf){st->call.in[0].dtype, false, all, every};
    struct mc_call c = {.node = st->call.node,
                        .op = st->call.op,
                        .n_in = st->call.n_in,
                        .n_out = 1,
                        .in = in,
                        .out = &out,
                        .k = st->call.k};
    uint8_t *table = mc_arena_array(&f->p->mem, MC_INTEGER_TABLE, 1);
    if (!table || mc_eval_call(&c, &err))
        return false;
    memcpy(table, made, MC_INTEGER_TABLE);
    what.table = table;
    return mc_integer_replace(&g, &mc_op_integer_table, &st->in[0], 1, &what);
}

bool mc_integer_table(struct mc_integers *f, int i)
{
    const struct mc_step *st = &f->p->steps[i];
    struct function t = {.f = f, .g = {.p = f->p, .step = {i}, .n = 1}};
    struct mc_integer what = {0};
    float v[MC_INTEGER_TABLE] __attribute__((aligned(MC_ALIGN)));
    if (mc_integer_is(st, "QLinearSigmoid") || mc_integer_is(st, "QLinearLeakyRelu"))
        return linear(f, i);
    if (!mc_integer_is(st, "QuantizeLinear") || !st->out[0] ||
        !mc_integer_is_bytes(f->p, st->out[0]) || st->call.in[0].dtype != MC_DTYPE_F32 ||
        st->call.in[0].constant ||
        !mc_integer_side_of(f, st->in[1], st->call.n_in > 2 ? st->in[2] : NULL, &what.y) ||
        !walk(&t, st->in[0], &st->call.out[0].shape, 0) || !t.x.v || !closed(&t.g) ||
        !eval(&t, st->in[0], v))
        return false;
    uint8_t *table = mc_arena_array(&f->p->mem, MC_INTEGER_TABLE, 1);
    if (!table)
        return false;
    mc_integer_range(&what.y, st->call.out[0].dtype, (double)-INFINITY, (double)INFINITY, &what.to);
    struct mc_quant_row r = {.n = MC_INTEGER_TABLE,
                             .zero = what.to.zero,
                             .lo = what.to.lo,
                             .hi = what.to.hi,
                             .scale = &what.y.scale};
    st->call.k->quant.quantize(&r, v, table);
    what.x = &t.x.side;
    what.table = table;
    return mc_integer_replace(&t.g, &mc_op_integer_table, &t.x.v, 1, &what);
}

/* ---- moves ---- */

static bool is_move(const struct mc_step *st)
{
    static const char *const names[] = {"Reshape",  "Flatten",   "Squeeze",      "Unsqueeze",
                                        "Identity", "Transpose", "Slice",        "Split",
                                        "Expand",   "Tile",      "DepthToSpace", "SpaceToDepth"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (mc_integer_is(st, names[i]))
            return true;
    if (mc_integer_is(st, "Gather"))
        return true;
    return mc_integer_is(st, "Resize") &&
           !strcmp(mc_node_string(st->call.node, "mode", "nearest"), "nearest") &&
           strcmp(mc_node_string(st->call.node, "coordinate_transformation_mode", ""),
                  "tf_crop_and_resize");
}

/* Pad with zeros: with zero points then, of which there is a value. */
static bool is_pad(struct mc_integers *f, const struct mc_step *st)
{
    if (!mc_integer_is(st, "Pad") || st->call.node->version < 11)
        return false;
    const struct mc_buf *b =
        st->call.n_in > 2 && st->in[2] ? mc_integer_constant(f, st->in[2]) : NULL;
    return st->call.n_in > 2 && st->in[2] && is_one(b) && *(const float *)b->data == 0;
}

struct move {
    struct mc_integers *f;
    int i;
    bool pad;
    struct mc_quantised x;
    struct mc_value *zero; /* of x, or NULL */
};

/* The step, which is st now, reads the integers. */
static void read_integers(const struct move *m, struct mc_step *st)
{
    const struct mc_pvalue *values = m->f->p->values;
    st->in[0] = m->x.v;
    st->call.in[0] = values[m->x.v->index].buf;
    st->in_type[0] = values[m->x.v->index].type;
    if (m->pad) {
        st->in[2] = m->zero;
        st->call.in[2] = values[m->zero->index].buf;
    }
}

/* Every result is read by a QuantizeLinear with the parameters of the input, and nothing else: those go. */
static bool between(const struct move *m)
{
    enum { MOST = 16 };
    struct mc_plan *p = m->f->p;
    struct mc_step *st = &p->steps[m->i];
    int q[MOST];
    if (st->call.n_out > MOST)
        return false;
    for (int j = 0; j < st->call.n_out; j++) {
        struct mc_integer_side y;
        q[j] = st->out[j] ? mc_integer_to(m->f, st->out[j], &y) : -1;
        if (q[j] < 0 || y.scale != m->x.side.scale || y.zero != m->x.side.zero ||
            p->steps[q[j]].call.out[0].dtype != p->values[m->x.v->index].buf.dtype)
            return false;
    }
    read_integers(m, st);
    for (int j = 0; j < st->call.n_out; j++) {
        struct mc_step *end = &p->steps[q[j]];
        p->values[st->out[j]->index].buf.dtype = MC_DTYPE_NONE;
        st->out[j] = end->out[0];
        st->call.out[j] = end->call.out[0];
        p->values[st->out[j]->index].def = m->i;
        end->skip = true;
    }
    return true;
}

/* Moved first and dequantised then: what reads the floats may read through the DequantizeLinear. Its own result, which
 * nothing else reads, becomes the moved integers. */
static bool before(const struct move *m)
{
    struct mc_plan *p = m->f->p;
    struct mc_step *late = &p->steps[m->i];
    struct mc_value *v = late->in[0];
    struct mc_pvalue *pv = &p->values[v->index];
    struct mc_step *early = &p->steps[pv->def];
    if (late->call.n_out != 1 || !late->out[0] || mc_integer_reader(p, v) != m->i)
        return false;
    for (int j = 1; j < late->call.n_in; j++)
        if (late->in[j] && p->values[late->in[j]->index].def >= pv->def)
            return false;
    struct mc_step move = *late, back = *early;
    *early = move;
    early->out = back.out;
    early->out_type = back.out_type;
    early->call.n_out = back.call.n_out;
    early->call.out = back.call.out;
    *late = back;
    late->out = move.out;
    late->out_type = move.out_type;
    late->call.n_out = move.call.n_out;
    late->call.out = move.call.out;
    read_integers(m, early);
    pv->buf.dtype = pv->type = p->values[m->x.v->index].buf.dtype;
    pv->buf.shape = late->call.out[0].shape;
    early->call.out[0] = late->call.in[0] = pv->buf;
    late->in[0] = v;
    late->in_type[0] = pv->type;
    return true;
}

bool mc_integer_move(struct mc_integers *f, int i)
{
    struct mc_step *st = &f->p->steps[i];
    struct move m = {.f = f, .i = i, .pad = is_pad(f, st)};
    if ((!m.pad && !is_move(st)) || st->call.epilogue ||
        !mc_integer_from(f, st->in[0], false, &m.x))
        return false;
    const struct mc_step *from = &f->p->steps[f->p->values[st->in[0]->index].def];
    m.zero = from->call.n_in > 2 ? from->in[2] : NULL;
    return (!m.pad || m.zero) && (between(&m) || before(&m));
}
