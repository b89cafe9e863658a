/* What the bodies of circulant layers have in common. */
#include "graph/own/own_circulant.h"

static const float TWO_PI = 6.283185307179586F;

struct mc_circulant_body mc_circulant_body_of(struct mc_own_body *b)
{
    struct mc_circulant_body k = {.b = b};
    k.shape = mc_body(b, "Shape", mc_body_in(b, MC_CIRCULANT_C));
    k.block = mc_body(b, "Gather", k.shape, mc_circulant_scalar(&k, 2));
    return k;
}

int mc_circulant_one(struct mc_circulant_body *k, int64_t v)
{
    int *at = &k->vector[v + 4];
    if (!*at)
        *at = mc_body_const(k->b, &v, 1);
    return *at;
}

int mc_circulant_scalar(struct mc_circulant_body *k, int64_t v)
{
    int *at = &k->scalar[v];
    if (!*at) {
        *at = mc_body_node(k->b, "Constant", NULL, 0);
        mc_body_int(k->b, "value_int", v);
    }
    return *at;
}

static int real(struct mc_circulant_body *k, float v)
{
    int c = mc_body_node(k->b, "Constant", NULL, 0);
    mc_body_float(k->b, "value_float", v);
    return c;
}

static int as_float(struct mc_circulant_body *k, int v)
{
    int y = mc_body(k->b, "Cast", v);
    mc_body_int(k->b, "to", MC_DTYPE_F32);
    return y;
}

int mc_circulant_part(struct mc_circulant_body *k, int from, int to)
{
    int *at = &k->part[from][to];
    if (!*at) {
        int first = mc_circulant_one(k, from), end = mc_circulant_one(k, to);
        *at = mc_body(k->b, "Slice", k->shape, first, end);
    }
    return *at;
}

int mc_circulant_concat(struct mc_circulant_body *k, int64_t axis, int a, int b)
{
    int y = mc_body(k->b, "Concat", a, b);
    mc_body_int(k->b, "axis", axis);
    return y;
}

int mc_circulant_turn(struct mc_circulant_body *k, int v, const int64_t *perm, int n)
{
    int y = mc_body(k->b, "Transpose", v);
    mc_body_ints(k->b, "perm", perm, (size_t)n);
    return y;
}

int mc_circulant_reshape(struct mc_circulant_body *k, int v, const int64_t *shape, int n)
{
    int to = mc_body_const(k->b, shape, (size_t)n);
    return mc_body(k->b, "Reshape", v, to);
}

int mc_circulant_count(struct mc_circulant_body *k, int to)
{
    int from = mc_circulant_scalar(k, 0), step = mc_circulant_scalar(k, 1);
    return mc_body(k->b, "Range", from, to, step);
}

void mc_circulant_waves(struct mc_circulant_body *k, int numbers, int length, int *ret_cos,
                        int *ret_sin)
{
    int turns = as_float(k, mc_body(k->b, "Mod", numbers, length)); /* small numbers are exact */
    int whole = real(k, TWO_PI), parts = as_float(k, length);
    int step = mc_body(k->b, "Div", whole, parts);
    int angle = mc_body(k->b, "Mul", turns, step);
    *ret_cos = mc_body(k->b, "Cos", angle);
    *ret_sin = mc_body(k->b, "Neg", mc_body(k->b, "Sin", angle));
}

void mc_circulant_tables(struct mc_circulant_body *k, int length, int *ret_f, int *ret_g)
{
    struct mc_own_body *b = k->b;
    int two = mc_circulant_scalar(k, 2);
    int half = mc_body(b, "Div", length, two);
    int bins = mc_circulant_count(k, mc_body(b, "Add", half, mc_circulant_scalar(k, 1)));
    int axis = mc_circulant_one(k, 1);
    int at = mc_body(b, "Unsqueeze", mc_circulant_count(k, length), axis);
    int c, s;
    mc_circulant_waves(k, mc_body(b, "Mul", at, bins), length, &c, &s);
    *ret_f = mc_circulant_concat(k, 1, c, s);
    /* Each bin stands for its mirror image as well, but for the first, and the middle one of an even length. */
    int mirrored = mc_body(b, "Mod", mc_body(b, "Mul", bins, two), length);
    int alone = as_float(k, mc_body(b, "Equal", mirrored, mc_circulant_scalar(k, 0)));
    int twice = mc_body(b, "Sub", real(k, 2), alone);
    int weight = mc_body(b, "Div", twice, as_float(k, length));
    int gc = mc_body(b, "Mul", c, weight), gs = mc_body(b, "Mul", s, weight);
    *ret_g = mc_circulant_concat(k, 1, gc, gs);
}

int mc_circulant_rolled(struct mc_circulant_body *k)
{
    int at = mc_circulant_count(k, k->block);
    int rows = mc_body(k->b, "Unsqueeze", at, mc_circulant_one(k, 1));
    return mc_body(k->b, "Mod", mc_body(k->b, "Sub", rows, at), k->block);
}
