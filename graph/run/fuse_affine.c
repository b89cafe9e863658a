#include "graph/run/fuse_affine.h"

#include <math.h>
#include <string.h>

#include "base/mem.h"

static double element(const struct mc_buf *b, int64_t i)
{
    return b->dtype == MC_DTYPE_F64 ? ((const double *)b->data)[i]
                                    : (double)((const float *)b->data)[i];
}

/* Constant floats: `n` of them, or one. */
static bool is_list(const struct mc_buf *b, enum mc_dtype dtype, int64_t n)
{
    int64_t count = mc_shape_count(&b->shape);
    return b->constant && b->data && b->dtype == dtype && (count == n || count == 1);
}

/* One element for each channel (axis 1) of `out`, or one for all; the sum or product has the shape of out. */
static bool is_per_channel(const struct mc_buf *b, const struct mc_buf *out)
{
    if (b->shape.rank > out->shape.rank || !is_list(b, out->dtype, out->shape.dim[1]))
        return false;
    int at = 1 - (out->shape.rank - b->shape.rank);
    return mc_shape_count(&b->shape) == 1 || (at >= 0 && b->shape.dim[at] == out->shape.dim[1]);
}

static double at(const struct mc_buf *b, int64_t channel)
{
    return element(b, mc_shape_count(&b->shape) == 1 ? 0 : channel);
}

/* Begin with the node's own bias. */
static bool begin(struct mc_fuse_affine *a, struct mc_plan *p, const struct mc_step *head)
{
    const struct mc_buf *bias =
        head->call.n_in > 2 && head->in[2] ? &p->values[head->in[2]->index].buf : NULL;
    int64_t n = head->call.out[0].shape.dim[1];
    if (a->scale)
        return true;
    if (bias && !is_list(bias, head->call.out[0].dtype, n))
        return false;
    double *scale = mc_arena_array(&p->mem, (size_t)n, sizeof *scale);
    double *shift = mc_arena_array(&p->mem, (size_t)n, sizeof *shift);
    if (!scale || !shift)
        return false;
    for (int64_t i = 0; i < n; i++) {
        scale[i] = 1;
        shift[i] = bias ? at(bias, i) : 0;
    }
    *a = (struct mc_fuse_affine){.n = n, .scale = scale, .shift = shift};
    return true;
}

static void apply(struct mc_fuse_affine *a, int64_t i, double scale, double shift)
{
    a->scale[i] *= scale;
    a->shift[i] = a->shift[i] * scale + shift;
    a->scaled |= a->scale[i] != 1;
}

static bool join_norm(struct mc_fuse_affine *a, struct mc_plan *p, const struct mc_step *head,
                      const struct mc_step *st)
{
    const struct mc_buf *list[5];
    double eps = (double)mc_node_float(st->call.node, "epsilon", 1e-5F);
    for (int i = 1; i < 5; i++) {
        list[i] = &p->values[st->in[i]->index].buf;
        if (mc_shape_count(&list[i]->shape) != head->call.out[0].shape.dim[1] ||
            !is_list(list[i], head->call.out[0].dtype, head->call.out[0].shape.dim[1]))
            return false;
    }
    if (!begin(a, p, head))
        return false;
    for (int64_t i = 0; i < a->n; i++) {
        double scale = element(list[1], i) / sqrt(element(list[4], i) + eps);
        apply(a, i, scale, element(list[2], i) - element(list[3], i) * scale);
    }
    return true;
}

bool mc_fuse_affine_join(struct mc_fuse_affine *a, struct mc_plan *p, const struct mc_step *head,
                         const struct mc_step *st, const struct mc_value *v)
{
    const struct mc_node *n = st->call.node;
    if (mc_node_is(n, "BatchNormalization"))
        return st->call.n_in == 5 && st->in[0] == v &&
               !(n->version >= 14 && mc_node_int(n, "training_mode", 0)) &&
               join_norm(a, p, head, st);
    bool mul = mc_node_is(n, "Mul"), div = mc_node_is(n, "Div"), sub = mc_node_is(n, "Sub");
    if ((!mul && !div && !sub && !mc_node_is(n, "Add")) || st->call.n_in != 2 ||
        (st->in[0] != v && (div || sub)))
        return false;
    const struct mc_buf *other = &p->values[st->in[st->in[0] == v]->index].buf;
    if (!is_per_channel(other, &head->call.out[0]) || !begin(a, p, head))
        return false;
    for (int64_t i = 0; i < a->n; i++) {
        double c = at(other, i);
        apply(a, i, mul ? c : div ? 1 / c : 1, mul || div ? 0 : sub ? -c : c);
    }
    return true;
}

/* In place: element i is read before anything is written over it. */
static const void *narrow(double *x, int64_t n, enum mc_dtype dtype)
{
    float *to = (float *)x;
    for (int64_t i = 0; dtype != MC_DTYPE_F64 && i < n; i++) {
        float v = (float)x[i];
        memcpy(&to[i], &v, sizeof v);
    }
    return x;
}

void mc_fuse_affine_finish(const struct mc_fuse_affine *a, enum mc_dtype dtype,
                           struct mc_epilogue *e)
{
    e->bias = narrow(a->shift, a->n, dtype);
    e->scale = a->scaled ? narrow(a->scale, a->n, dtype) : NULL;
}
