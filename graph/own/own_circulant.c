/* Gemm and MatMul by block-circulant weights.
 *
 * Source: Cheng et al., An exploration of parameter redundancy in deep networks with circulant projections, ICCV 2015;
 * Ding et al., CirCNN, MICRO 2017. The DFT is written as products with matrices because runtimes fold everything about the
 * weights when they load them and have slow FFTs or none. */
#include <string.h>

#include "graph/constant.h"
#include "graph/edit.h"
#include "graph/own/own_circulant.h"

#define TURN(k, v, ...)                                                                            \
    mc_circulant_turn(k, v, (const int64_t[]){__VA_ARGS__},                                        \
                      (int)(sizeof((const int64_t[]){__VA_ARGS__}) / sizeof(int64_t)))
#define RESHAPE(k, v, ...)                                                                         \
    mc_circulant_reshape(k, v, (const int64_t[]){__VA_ARGS__},                                     \
                         (int)(sizeof((const int64_t[]){__VA_ARGS__}) / sizeof(int64_t)))

static int flat(struct mc_circulant_body *k, int v, int64_t axis)
{
    int y = mc_body(k->b, "Flatten", v);
    mc_body_int(k->b, "axis", axis);
    return y;
}

static int along(struct mc_circulant_body *k, int v, int index, int64_t axis)
{
    int y = mc_body(k->b, "Gather", v, index);
    mc_body_int(k->b, "axis", axis);
    return y;
}

/* X as rows of blocks [rows, q, b]. */
static int blocks(struct mc_circulant_body *k)
{
    int qb = mc_circulant_part(k, 1, 3);
    int shape = mc_circulant_concat(k, 0, mc_circulant_one(k, -1), qb);
    return mc_body(k->b, "Reshape", mc_body_in(k->b, MC_CIRCULANT_X), shape);
}

/* Y: blocks y [rows, p, b] in the shape of X but for the last dimension, and B. */
static int restore(struct mc_circulant_body *k, int y)
{
    struct mc_own_body *b = k->b;
    int whole = mc_body(b, "Shape", mc_body_in(b, MC_CIRCULANT_X));
    int last = mc_circulant_one(k, -1);
    int lead = mc_body(b, "Slice", whole, mc_circulant_one(k, 0), last);
    int flat_y = mc_body(b, "Reshape", y, mc_circulant_concat(k, 0, lead, last));
    return mc_body_end(b, mc_body(b, "Add", flat_y, mc_body_in(b, MC_CIRCULANT_B)));
}

static int expand_body(struct mc_own_body *b)
{
    struct mc_circulant_body k = mc_circulant_body_of(b);
    int all = along(&k, mc_body_in(b, MC_CIRCULANT_C), mc_circulant_rolled(&k), 2);
    int w = flat(&k, TURN(&k, all, 1, 3, 0, 2), 2);
    int y = mc_body(b, "MatMul", mc_body_in(b, MC_CIRCULANT_X), w);
    return mc_body_end(b, mc_body(b, "Add", y, mc_body_in(b, MC_CIRCULANT_B)));
}

/* y[i, r] = sum over j, k of C[i, j, k] x[j, (r - k) mod b]. */
static int window_body(struct mc_own_body *b)
{
    struct mc_circulant_body k = mc_circulant_body_of(b);
    int x = TURN(&k, blocks(&k), 0, 2, 1);
    int turned = RESHAPE(&k, along(&k, x, mc_circulant_rolled(&k), 1), 0, 0, -1);
    int w = flat(&k, TURN(&k, mc_body_in(b, MC_CIRCULANT_C), 2, 1, 0), 2);
    return restore(&k, TURN(&k, mc_body(b, "MatMul", turned, w), 0, 2, 1));
}

/* Spectra [2, …, q, p] to real matrices […, 2q, 2p] for rows of real parts and imaginary parts; rank: of the result. */
static int product_of(struct mc_circulant_body *k, int spectra, int rank)
{
    struct mc_own_body *b = k->b;
    int re = mc_body(b, "Gather", spectra, mc_circulant_scalar(k, 0));
    int im = mc_body(b, "Gather", spectra, mc_circulant_scalar(k, 1));
    int top = mc_circulant_concat(k, rank - 1, re, im);
    int low = mc_circulant_concat(k, rank - 1, mc_body(b, "Neg", im), re);
    return mc_circulant_concat(k, rank - 2, top, low);
}

static int dft_body(struct mc_own_body *b)
{
    struct mc_circulant_body k = mc_circulant_body_of(b);
    int f, g;
    mc_circulant_tables(&k, k.block, &f, &g);
    int x = RESHAPE(&k, mc_body(b, "MatMul", blocks(&k), f), 0, 0, 2, -1);
    x = RESHAPE(&k, TURN(&k, x, 3, 0, 2, 1), 0, 0, -1); /* [bins, rows, 2q] */
    int c = RESHAPE(&k, mc_body(b, "MatMul", mc_body_in(b, MC_CIRCULANT_C), f), 0, 0, 2, -1);
    int w = product_of(&k, TURN(&k, c, 2, 3, 1, 0), 3);
    int y = RESHAPE(&k, mc_body(b, "MatMul", x, w), 0, 0, 2, -1);
    y = RESHAPE(&k, TURN(&k, y, 1, 3, 2, 0), 0, 0, -1); /* [rows, p, 2 bins] */
    return restore(&k, mc_body(b, "MatMul", y, TURN(&k, g, 1, 0)));
}

/* Two steps: element j1 b2 + j2, bin k1 + b1 k2, where k1 up to b1/2 is enough. */
struct steps {
    struct mc_circulant_body *k;
    int b1, b2;      /* vectors of one */
    int split, wide; /* [b1, b2], [2 b2] */
    int first, back, second,
        undo; /* matrices [b1, 2 f], [b1, 2 f], [f, 2 b2, 2 b2] and its inverse */
};

static int second_step(struct steps *s, int b1, int b2)
{
    struct mc_circulant_body *k = s->k;
    struct mc_own_body *b = k->b;
    int one = mc_circulant_one(k, 1);
    int half = mc_body(b, "Div", b1, mc_circulant_scalar(k, 2));
    int bins = mc_circulant_count(k, mc_body(b, "Add", half, mc_circulant_scalar(k, 1)));
    int at = mc_circulant_count(k, b2);
    int first = mc_body(b, "Unsqueeze", bins, one), far = mc_body(b, "Mul", at, b1);
    int bin = mc_body(b, "Add", first, far);
    int row = mc_body(b, "Unsqueeze", bin, one), column = mc_body(b, "Unsqueeze", at, one);
    int c, ns;
    mc_circulant_waves(k, mc_body(b, "Mul", row, column), k->block, &c, &ns);
    int top = mc_circulant_concat(k, 2, c, ns);
    int low = mc_circulant_concat(k, 2, mc_body(b, "Neg", ns), c);
    return mc_circulant_concat(k, 1, top, low);
}

static struct steps steps_of(struct mc_circulant_body *k)
{
    struct steps s = {.k = k};
    struct mc_own_body *b = k->b;
    s.b1 = mc_body_attr(b, "split");
    s.b2 = mc_body(b, "Div", mc_circulant_part(k, 2, 3), s.b1);
    s.split = mc_circulant_concat(k, 0, s.b1, s.b2);
    s.wide = mc_body(b, "Mul", s.b2, mc_circulant_one(k, 2));
    int b1 = mc_body(b, "Squeeze", s.b1), b2 = mc_body(b, "Squeeze", s.b2);
    mc_circulant_tables(k, b1, &s.first, &s.back);
    s.second = second_step(&s, b1, b2);
    int wide = mc_body(b, "Cast", b2);
    mc_body_int(b, "to", MC_DTYPE_F32);
    s.undo = mc_body(b, "Div", TURN(k, s.second, 0, 2, 1), wide);
    return s;
}

/* A shape: vector a, then b, then c. */
static int shape3(struct mc_circulant_body *k, int a, int b, int c)
{
    int y = mc_body(k->b, "Concat", a, b, c);
    mc_body_int(k->b, "axis", 0);
    return y;
}

/* v [m, n, b] to its spectra [f, m n, 2 b2]. */
static int transform(struct steps *s, int v)
{
    struct mc_circulant_body *k = s->k;
    struct mc_own_body *b = k->b;
    int keep = mc_body_const(b, (const int64_t[]){0, 0}, 2);
    int parts = mc_body_const(b, (const int64_t[]){2, -1}, 2);
    int x = mc_body(b, "Reshape", v, mc_circulant_concat(k, 0, keep, s->split));
    x = mc_body(b, "MatMul", TURN(k, x, 0, 1, 3, 2), s->first);
    x = mc_body(b, "Reshape", x, shape3(k, keep, s->b2, parts));
    x = TURN(k, x, 4, 0, 1, 3, 2); /* [f, m, n, 2, b2] */
    int lead = mc_body_const(b, (const int64_t[]){0, -1}, 2);
    x = mc_body(b, "Reshape", x, mc_circulant_concat(k, 0, lead, s->wide));
    return mc_body(b, "MatMul", x, s->second);
}

/* y [f, b2, rows, 2p] back to [rows p, b1, b2]. */
static int transform_back(struct steps *s, int y)
{
    struct mc_circulant_body *k = s->k;
    struct mc_own_body *b = k->b;
    int parts = mc_body_const(b, (const int64_t[]){0, 0, -1, 2}, 4);
    int lead = mc_body_const(b, (const int64_t[]){0, -1}, 2);
    int halves = mc_body_const(b, (const int64_t[]){0, -1, 2}, 3);
    y = mc_body(b, "Reshape", y, mc_circulant_concat(k, 0, parts, mc_circulant_part(k, 0, 1)));
    y = TURN(k, y, 0, 2, 4, 3, 1); /* [f, rows, p, 2, b2] */
    y = mc_body(b, "Reshape", y, mc_circulant_concat(k, 0, lead, s->wide));
    y = mc_body(b, "MatMul", y, s->undo);
    y = mc_body(b, "Reshape", y, mc_circulant_concat(k, 0, halves, s->b2));
    y = TURN(k, y, 1, 3, 2, 0);
    int zero = mc_circulant_one(k, 0), rest = mc_circulant_one(k, -1);
    y = mc_body(b, "Reshape", y, shape3(k, zero, s->b2, rest));
    return TURN(k, mc_body(b, "MatMul", y, TURN(k, s->back, 1, 0)), 0, 2, 1);
}

static int dft2_body(struct mc_own_body *b)
{
    struct mc_circulant_body k = mc_circulant_body_of(b);
    struct steps s = steps_of(&k);
    int q = mc_circulant_part(&k, 1, 2), pq = mc_circulant_part(&k, 0, 2);
    int halves = mc_circulant_concat(&k, 0, mc_circulant_one(&k, 2), s.b2);
    int lead = mc_body_const(b, (const int64_t[]){0, -1}, 2);
    int shape = shape3(&k, lead, q, halves);
    int x = mc_body(b, "Reshape", transform(&s, blocks(&k)), shape);
    x = TURN(&k, x, 0, 4, 1, 3, 2); /* [f, b2, rows, 2, q] */
    x = RESHAPE(&k, x, 0, 0, 0, -1);
    shape = shape3(&k, mc_circulant_one(&k, 0), pq, halves);
    int c = mc_body(b, "Reshape", transform(&s, mc_body_in(b, MC_CIRCULANT_C)), shape);
    int w = product_of(&k, TURN(&k, c, 3, 0, 4, 2, 1), 4);
    return restore(&k, transform_back(&s, mc_body(b, "MatMul", x, w)));
}

/* ---- rows ---- */

static int check(const struct mc_node *call, struct mc_err *err)
{
    return mc_own_circulant_check(call, 3, err);
}

static int check2(const struct mc_node *call, struct mc_err *err)
{
    const int64_t *split = NULL;
    struct mc_circulant_sizes s;
    int rc = mc_own_need_ints(call, "split", 1, &split, NULL, err);
    rc = rc ? rc : check(call, err);
    if (!rc && mc_own_circulant_sizes(call, &s) && s.b % split[0])
        return mc_own_fail(err, MC_ESHAPE, call, "split %lld does not divide blocks of %lld",
                           (long long)split[0], (long long)s.b);
    return rc;
}

static int dense(const struct mc_node *call, struct mc_tensor **ret, struct mc_err *err)
{
    return mc_own_circulant_dense(call, false, ret, err);
}

/* Is B a constant that holds nothing but a 0? */
static bool no_bias(const struct mc_node *call)
{
    const struct mc_tensor *t = mc_own_constant(call, MC_CIRCULANT_B);
    float zero = 0;
    return t && t->dtype == MC_DTYPE_F32 && t->bytes == sizeof zero &&
           !memcmp(t->data, &zero, sizeof zero);
}

static int expand(const struct mc_node *call, struct mc_value **ret, struct mc_err *err)
{
    struct mc_graph *g = call->graph;
    struct mc_value *w = NULL, *y = mc_edit_fresh(g, call->out[0]->name);
    struct mc_tensor *t = NULL;
    bool plain = no_bias(call);
    int rc = y ? 0 : mc_fail(err, MC_ENOMEM, "out of memory");
    rc = rc ? rc : mc_own_circulant_dense(call, true, &t, err);
    rc = rc ? rc : mc_constant_new(g, call->pos, call->in[MC_CIRCULANT_C]->name, t, &w, err);
    mc_tensor_unref(t);
    if (!rc)
        rc = mc_edit_node(g, call->pos, "MatMul", "", 0, call->name,
                          (struct mc_value *[]){call->in[MC_CIRCULANT_X], w}, 2, &y, 1, NULL, err);
    if (rc || plain) {
        *ret = y;
        return rc;
    }
    struct mc_value *sum = mc_edit_fresh(g, call->out[0]->name);
    rc = sum ? 0 : mc_fail(err, MC_ENOMEM, "out of memory");
    if (!rc)
        rc =
            mc_edit_node(g, call->pos, "Add", "", 0, "",
                         (struct mc_value *[]){y, call->in[MC_CIRCULANT_B]}, 2, &sum, 1, NULL, err);
    *ret = sum;
    return rc;
}

#define ROW(n, a, f, c)                                                                            \
    {                                                                                              \
        .name = n, .n_in = 3, .inputs = (const char *const[]){"X", "C", "B"}, .attrs = a,          \
        .roles = ".ws", .body = f, .check = c, .size = mc_own_circulant_size, .dense = dense,      \
        .expand = expand                                                                           \
    }

static const char *const split_attrs[] = {"split", NULL};

const struct mc_own mc_own_circulant[] = {
    ROW("CirculantGemm", NULL, expand_body, check),
    ROW("CirculantGemmWindow", NULL, window_body, check),
    ROW("CirculantGemmDft", NULL, dft_body, check),
    ROW("CirculantGemmDft2", split_attrs, dft2_body, check2),
    {0},
};
