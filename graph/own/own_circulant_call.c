/* Writing circulant layers: which function, and what stands around the call where blocks do not fit. */
#include <stdlib.h>
#include <string.h>

#include "graph/constant.h"
#include "graph/edit.h"
#include "graph/own/own_circulant.h"

enum { WINDOW = 8, TWO_STEPS = 512 }; /* largest block of the one, least of the other */

/* b1 of a block of b1 b2 transformed in two steps: the largest divisor up to its root. */
static int64_t first_step(int64_t b)
{
    int64_t best = 1;
    for (int64_t d = 2; d <= b / d; d++)
        if (b % d == 0)
            best = d;
    return best;
}

/* Multiply-accumulates of a row, or pixel, by the bodies. */
static double by_dft(double p, double q, double b, double taps)
{
    double bins = (double)((int64_t)b / 2 + 1);
    return (p + q) * b * 2 * bins + 4 * bins * p * q * taps;
}

static double by_two_steps(double p, double q, double b)
{
    int64_t b1 = first_step((int64_t)b);
    double b2 = b / (double)b1, bins = (double)(b1 / 2 + 1);
    return (p + q) * (b * 2 * bins + bins * 4 * b2 * b2) + 4 * bins * b2 * p * q;
}

/* By how much the multiplications must be fewer before the transforms' copies are paid for. ONNX Runtime 1.32, one thread,
 * against the dense layer at batch 1 and 64: 1024^2 in blocks of 256 with 0.51 of the multiplications takes 0.6 and 1.2 of its
 * time; in one block in two steps with 0.2 it takes 1.6 and 1.7, 4096^2 in blocks of 1024 with 0.05 0.08 and 0.34. */
static const double DFT_PAYS = 1.5, TWO_PAYS = 8, CONV_PAYS = 1.2;

/* Of a convolution, in multiplications of the dense one: what the transforms cost for each of theirs, and the convolution
 * between them where its groups have fewer channels than a vector. Fits 256 channels in blocks of 16 and 64 (5.5 and 4.8
 * times faster), 64 in blocks of 8 (2.0; 1x1 0.8), 32 in blocks of 8 (0.7), 16 in blocks of 4 (0.4), batch 8. */
static const double TRANSFORM = 3, NARROW = 3;
enum { NARROW_BELOW = 8 };

static double by_bins(double p, double q, double b, double taps)
{
    double all = by_dft(p, q, b, taps), transforms = by_dft(p, q, b, 0);
    bool narrow = p < NARROW_BELOW || q < NARROW_BELOW;
    return transforms * TRANSFORM + (all - transforms) * (narrow ? NARROW : 1);
}

const char *mc_own_circulant_function(int64_t p, int64_t q, int64_t b, int64_t taps, bool exact)
{
    double dp = (double)p, dq = (double)q, db = (double)b, dense = dp * dq * db * db;
    if (taps) {
        double cost = by_bins(dp, dq, db, (double)taps) * CONV_PAYS;
        return exact || cost >= dense * (double)taps ? "CirculantConv" : "CirculantConvDft";
    }
    if (exact || b == 1)
        return "CirculantGemm";
    if (b <= WINDOW)
        return "CirculantGemmWindow";
    if (b >= TWO_STEPS)
        return by_two_steps(dp, dq, db) * TWO_PAYS < dense ? "CirculantGemmDft2" : "CirculantGemm";
    return by_dft(dp, dq, db, 1) * DFT_PAYS < dense ? "CirculantGemmDft" : "CirculantGemm";
}

/* ---- calls ---- */

static int set(void *ctx, struct mc_node *n, struct mc_err *err)
{
    const struct mc_own_circulant *l = ctx;
    const int64_t *d = mc_constant(l->c)->shape.dim, split = first_step(d[2]);
    int rc = 0;
    if (!strcmp(n->op_type, "CirculantGemmDft2"))
        rc = mc_edit_attr_ints(n, "split", &split, 1, err);
    if (!l->strides)
        return rc;
    rc = mc_edit_attr_ints(n, "strides", l->strides, 2, err);
    rc = rc ? rc : mc_edit_attr_ints(n, "pads", l->pads, 4, err);
    rc = rc ? rc : mc_edit_attr_ints(n, "dilations", l->dilations, 2, err);
    if (rc || strcmp(n->op_type, "CirculantConvDft") != 0)
        return rc;
    rc = mc_edit_attr_int(n, "p", d[0], err);
    rc = rc ? rc : mc_edit_attr_int(n, "q", d[1], err);
    return rc ? rc : mc_edit_attr_int(n, "bins", d[2] / 2 + 1, err);
}

static int new_value(struct mc_graph *g, const char *hint, struct mc_value **ret,
                     struct mc_err *err)
{
    *ret = mc_edit_fresh(g, hint);
    return *ret ? 0 : mc_fail(err, MC_ENOMEM, "out of memory");
}

static int vector(struct mc_graph *g, size_t pos, const char *hint, const int64_t *v, int n,
                  struct mc_value **ret, struct mc_err *err)
{
    struct mc_shape shape = mc_shape_of(1, &(int64_t){n});
    struct mc_tensor *t = NULL;
    void *data;
    int rc = mc_tensor_new(MC_DTYPE_I64, &shape, NULL, &t, &data, err);
    if (!rc) {
        memcpy(data, v, (size_t)n * sizeof *v);
        rc = mc_constant_new(g, pos, hint, t, ret, err);
    }
    mc_tensor_unref(t);
    return rc;
}

/* The bias as the function takes it: padded, or a 0 where there is none and one is needed. */
static int bias_of(struct mc_graph *g, size_t pos, const struct mc_own_circulant *l, int64_t width,
                   struct mc_value **ret, struct mc_err *err)
{
    struct mc_shape shape = mc_shape_of(1, &(int64_t){l->bias ? width : 1});
    struct mc_tensor *t = NULL;
    float *v = NULL;
    void *data;
    int64_t n = 0;
    if (l->bias && l->m == width) {
        *ret = l->bias;
        return 0;
    }
    if (!l->bias && l->strides) {
        *ret = NULL;
        return 0;
    }
    int rc = l->bias ? mc_constant_f32(l->bias, &v, &n, err) : 0;
    if (!rc && l->bias && n != l->m)
        rc = mc_fail(err, MC_ESHAPE, "'%s': bias of %lld elements for %lld outputs", l->name,
                     (long long)n, (long long)l->m);
    rc = rc ? rc : mc_tensor_new(MC_DTYPE_F32, &shape, NULL, &t, &data, err);
    if (!rc && v)
        memcpy(data, v, (size_t)n * sizeof *v);
    if (!rc)
        rc = mc_constant_new(g, pos, l->bias ? l->bias->name : "no_bias", t, ret, err);
    mc_tensor_unref(t);
    free(v);
    return rc;
}

/* x with zeros behind its features. */
static int padded(struct mc_graph *g, size_t pos, const struct mc_own_circulant *l, int64_t width,
                  struct mc_value **ret, struct mc_err *err)
{
    int64_t pads[2 * MC_RANK_MAX] = {0};
    struct mc_value *by = NULL, *x = NULL;
    int axis = l->strides ? 1 : l->rank - 1;
    if (l->rank < 1 || l->rank > MC_RANK_MAX)
        return mc_fail(err, MC_EUNSUP,
                       "'%s': %lld inputs are not padded to %lld where their rank is not known",
                       l->name, (long long)l->n, (long long)width);
    pads[l->rank + axis] = width - l->n;
    int rc = vector(g, pos, "pads", pads, 2 * l->rank, &by, err);
    rc = rc ? rc : new_value(g, l->x->name, &x, err);
    *ret = x;
    /* A function's constants are nodes before this one. */
    size_t at = by && by->producer ? by->producer->pos + 1 : pos;
    return rc ? rc
              : mc_edit_node(g, at, "Pad", "", 0, "", (struct mc_value *[]){l->x, by}, 2, &x, 1,
                             NULL, err);
}

/* l->y is what the call gives without what is behind its features. */
static int cut(struct mc_graph *g, size_t pos, const struct mc_own_circulant *l,
               struct mc_value *wide, struct mc_err *err)
{
    static const int64_t zero;
    const int64_t axis = l->strides ? 1 : -1;
    struct mc_value *v[4] = {wide};
    size_t before = g->n_nodes;
    int rc = vector(g, pos, "from", &zero, 1, &v[1], err);
    rc = rc ? rc : vector(g, pos, "to", &l->m, 1, &v[2], err);
    rc = rc ? rc : vector(g, pos, "axes", &axis, 1, &v[3], err);
    pos += g->n_nodes - before;
    return rc ? rc
              : mc_edit_node(g, pos, "Slice", "", 0, "", v, 4, (struct mc_value *[]){l->y}, 1, NULL,
                             err);
}

static int fits(const struct mc_own_circulant *l, struct mc_err *err)
{
    const struct mc_tensor *t = mc_constant(l->c);
    char text[MC_SHAPE_TEXT];
    if (!t)
        return mc_fail(err, MC_EUNSUP, "'%s': its columns are no constant", l->name);
    const int64_t *d = t->shape.dim;
    if (t->shape.rank != (l->strides ? 5 : 3) || mc_shape_count(&t->shape) < 1 ||
        l->m > d[0] * d[2] || l->n > d[1] * d[2] || l->m < 1 || l->n < 1)
        return mc_fail(err, MC_ESHAPE, "'%s': columns %s are not of a layer of %lld x %lld",
                       l->name, mc_shape_text(&t->shape, text), (long long)l->m, (long long)l->n);
    return 0;
}

int mc_own_circulant_call(struct mc_graph *g, size_t pos, const struct mc_own_circulant *l,
                          size_t *ret_n, struct mc_err *err)
{
    size_t before = g->n_nodes;
    int rc = fits(l, err);
    if (rc)
        return rc;
    const struct mc_shape *s = &mc_constant(l->c)->shape;
    const int64_t *d = s->dim, rows = d[0] * d[2], columns = d[1] * d[2];
    const char *function = l->function;
    if (!function)
        function = mc_own_circulant_function(d[0], d[1], d[2],
                                             l->strides ? mc_shape_span(s, 3, 5) : 0, l->exact);
    struct mc_value *in[3] = {l->x, l->c, NULL}, *y = l->y;
    rc = bias_of(g, pos, l, rows, &in[2], err);
    pos += g->n_nodes - before;
    size_t now = g->n_nodes;
    if (!rc && l->n < columns)
        rc = padded(g, pos, l, columns, &in[0], err);
    pos += g->n_nodes - now;
    if (!rc && l->m < rows)
        rc = new_value(g, l->y->name, &y, err);
    if (!rc)
        rc = mc_own_call(g, pos, function, l->name, in, in[2] ? 3 : 2, &y, 1, set, (void *)l, NULL,
                         err);
    if (!rc && y != l->y)
        rc = cut(g, pos + 1, l, y, err);
    if (!rc && ret_n)
        *ret_n = g->n_nodes - before;
    return rc;
}
