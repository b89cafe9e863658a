/* MatMulInteger and ConvInteger whose sums become floats at once: Cast, a product with the scales of the run, perhaps
 * a constant bias and a clamp, as dynamic quantisers write them. */
#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "graph/ops/helper.h"
#include "graph/ops/int8.h"
#include "graph/run/fuse_integer.h"

struct dynamic {
    struct mc_integers *f;
    struct mc_fuse_group g;
    bool conv;
    int64_t n; /* output channels */
    struct mc_value *scale;
    struct mc_integer what;
};

/* The step of operator `name` that alone reads the group's result; it is taken in. */
static const struct mc_step *next(struct dynamic *d, const char *name)
{
    struct mc_plan *p = d->f->p;
    const struct mc_step *last = &p->steps[d->g.step[d->g.n - 1]];
    int i = mc_integer_reader(p, last->out[0]);
    const struct mc_step *st = i < 0 ? NULL : &p->steps[i];
    if (!st || !mc_integer_is(st, name) || st->call.epilogue || st->call.n_out != 1 || !st->out[0])
        return NULL;
    bool same = mc_shape_equal(&st->call.out[0].shape, &last->call.out[0].shape);
    return same && st->call.out[0].dtype == MC_DTYPE_F32 && mc_fuse_group_add(&d->g, i) ? st : NULL;
}

/* One element, or one for each channel of the result. */
static bool per_channel(const struct dynamic *d, const struct mc_buf *b, int rank)
{
    int at = d->conv ? 1 - (rank - b->shape.rank) : b->shape.rank - 1;
    int64_t count = mc_op_count(b);
    return b->dtype == MC_DTYPE_F32 && b->shape.rank <= rank &&
           (count == 1 || (count == d->n && at >= 0 && b->shape.dim[at] == d->n));
}

/* Cast, Mul. */
static bool take_scale(struct dynamic *d)
{
    const struct mc_step *cast = next(d, "Cast"), *mul = cast ? next(d, "Mul") : NULL;
    if (!mul || mul->call.n_in != 2)
        return false;
    d->scale = mul->in[mul->in[0] == cast->out[0]];
    return d->scale != cast->out[0] &&
           per_channel(d, &d->f->p->values[d->scale->index].buf, mul->call.out[0].shape.rank);
}

static bool take_bias(struct dynamic *d)
{
    struct mc_fuse_group before = d->g;
    const struct mc_value *v = d->f->p->steps[d->g.step[d->g.n - 1]].out[0];
    const struct mc_step *add = next(d, "Add");
    const struct mc_buf *b = NULL;
    if (add && add->call.n_in == 2)
        b = mc_integer_constant(d->f, add->in[add->in[0] == v]);
    if (!b || !per_channel(d, b, add->call.out[0].shape.rank)) {
        d->g = before;
        return true;
    }
    float *shift = mc_arena_array(&d->f->p->mem, (size_t)d->n, sizeof *shift);
    for (int64_t j = 0; shift && j < d->n; j++)
        shift[j] = ((const float *)b->data)[mc_op_count(b) > 1 ? j : 0];
    d->what.to.shift = shift;
    return shift != NULL;
}

static void take_clamp(struct dynamic *d)
{
    struct mc_plan *p = d->f->p;
    struct mc_epilogue e = {.act = MC_ACT_NONE};
    const struct mc_value *v = p->steps[d->g.step[d->g.n - 1]].out[0];
    int i = mc_integer_reader(p, v);
    const struct mc_step *st = i < 0 ? NULL : &p->steps[i];
    if (st && !st->skip && st->call.op->as_epilogue && !st->call.epilogue && st->in[0] == v &&
        st->call.op->as_epilogue(st->call.node, &e) && e.act == MC_ACT_CLAMP &&
        mc_fuse_group_add(&d->g, i)) {
        d->what.to.least = (float)e.lo;
        d->what.to.most = (float)e.hi;
    }
}

/* The zero points of the weight, which are constants. */
static bool take_zero(struct dynamic *d, const struct mc_step *st)
{
    const struct mc_value *v = st->call.n_in > 3 ? st->in[3] : NULL;
    const struct mc_buf *b = v ? mc_integer_constant(d->f, v) : NULL;
    if (!v)
        return true;
    if (!b || (mc_op_count(b) != 1 && (mc_op_count(b) != d->n || b->shape.rank != 1)))
        return false;
    int32_t *zero = mc_arena_array(&d->f->p->mem, (size_t)mc_op_count(b), sizeof *zero);
    if (zero)
        d->what.w_zero = mc_int8_zero(b, zero);
    return zero != NULL;
}

bool mc_integer_dynamic(struct mc_integers *f, int i)
{
    const struct mc_step *st = &f->p->steps[i];
    struct dynamic d = {.f = f, .g = {.p = f->p, .step = {i}, .n = 1}};
    d.conv = mc_integer_is(st, "ConvInteger");
    if (!(d.conv || mc_integer_is(st, "MatMulInteger")) || !st->out[0])
        return false;
    const struct mc_buf *w = mc_integer_constant(f, st->in[1]);
    const struct mc_shape *x = &st->call.in[0].shape, *y = &st->call.out[0].shape;
    struct mc_value *zero = st->call.n_in > 2 ? st->in[2] : NULL;
    if (!w || (d.conv ? w->shape.rank < 3 : w->shape.rank != 2 || x->rank < 1 || y->rank < 1) ||
        (zero && mc_op_count(&f->p->values[zero->index].buf) != 1))
        return false;
    d.n = y->dim[d.conv ? 1 : y->rank - 1];
    d.what = (struct mc_integer){.dynamic = true,
                                 .to = {.type = MC_S8_F32, .least = -INFINITY, .most = INFINITY}};
    if (d.n < 1 || !take_zero(&d, st) || !take_scale(&d) || !take_bias(&d))
        return false;
    take_clamp(&d);
    struct mc_value *in[4] = {st->in[0], st->in[1], zero, d.scale};
    struct mc_integer_side side[4] = {{.scale = 1}};
    d.what.x = side;
    return mc_integer_replace(&d.g, d.conv ? &mc_op_integer_conv : &mc_op_integer_product, in, 4,
                              &d.what);
}
