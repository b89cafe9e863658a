/* Products of signs that hand bits to one another: the numbers are those of every node by itself, and of the bodies of
 * the functions, which are products of integers, to the bit. */
#include "alloc_hook.h"
#include "run_util.h"

#include "graph/own/own.h"

enum { TRIES = 30, MOST = 1 << 16 };

static uint64_t seed = 40;
static int drawn;

static int below(int n)
{
    return (int)mc_rng_below(seed, 9, (uint64_t)drawn++, (uint32_t)n);
}

static const char *fresh(const char *what)
{
    static char name[64];
    snprintf(name, sizeof name, "%s%d", what, drawn++);
    return name;
}

struct net {
    struct mc_model *m;
    struct mc_graph *g;
    struct mc_value *v;
    bool images; /* v is [n, c, h, w], or [n, c, w]; else channels are last */
    int rank;
    int64_t dim[4];
    int64_t in[4]; /* of the input */
    int in_rank, products, between;
};

static int64_t channels(const struct net *n)
{
    return n->dim[n->images ? 1 : n->rank - 1];
}

/* Constant with one number a channel, from lo to hi. */
static struct mc_value *each(struct net *n, int64_t count, int ones, float lo, float hi)
{
    static float x[MOST];
    assert_true(count <= MOST);
    mc_rng_fill_uniform(seed, 2, (uint64_t)MOST * (uint64_t)drawn++, x, (size_t)count);
    for (int64_t i = 0; i < count; i++)
        x[i] = lo + (hi - lo) * x[i];
    return f32_const(n->g, fresh("c"), 1 + ones, DIMS(count, 1, 1), x);
}

static struct net begin(bool images, int rank)
{
    struct net n = {.m = build_model(13), .images = images, .rank = rank};
    n.g = n.m->graph;
    for (int d = 0; d < rank; d++)
        n.dim[d] = 1 + below(d == (images ? 1 : rank - 1) ? 70 : 4);
    for (int d = 2; d < rank && images; d++)
        n.dim[d] = 5 + below(6);
    memcpy(n.in, n.dim, sizeof n.in);
    n.in_rank = rank;
    n.v = build_input(n.g, "x", MC_DTYPE_F32, rank, n.dim);
    return n;
}

struct form {
    int64_t columns, shape[4], strides[2], pads[4], dilations[2];
    int spatial; /* 0: a product */
};

static int set(void *ctx, struct mc_node *node, struct mc_err *err)
{
    const struct form *f = ctx;
    size_t s = (size_t)f->spatial;
    int rc = mc_edit_attr_ints(node, "columns", &f->columns, 1, err);
    if (!s)
        return rc;
    rc = rc ? rc : mc_edit_attr_ints(node, "shape", f->shape, s + 2, err);
    rc = rc ? rc : mc_edit_attr_ints(node, "strides", f->strides, s, err);
    rc = rc ? rc : mc_edit_attr_ints(node, "pads", f->pads, 2 * s, err);
    return rc ? rc : mc_edit_attr_ints(node, "dilations", f->dilations, s, err);
}

static struct mc_value *bits(struct net *n, int64_t rows, int64_t columns)
{
    int64_t bytes = (columns + 7) / 8;
    uint8_t *p = malloc((size_t)(rows * bytes));
    assert_non_null(p);
    for (int64_t i = 0; i < rows * bytes; i++)
        p[i] = (uint8_t)below(256);
    for (int64_t r = 0; columns % 8 && r < rows; r++)
        p[r * bytes + bytes - 1] &= (uint8_t)((1 << columns % 8) - 1);
    struct mc_value *v = build_const(n->g, fresh("p"), MC_DTYPE_U8, 2, DIMS(rows, bytes), p);
    free(p);
    return v;
}

/* T of `count` numbers, or one for all. `same`: so many after one another are equal. */
static struct mc_value *threshold(struct net *n, int64_t count, int64_t same)
{
    static float t[MOST];
    assert_true(count <= MOST);
    for (int64_t i = 0; i < count; i++)
        t[i] = i % same ? t[i - 1] : (float)(below(21) - 10) / 20;
    bool one = below(3) == 0;
    return one ? f32_const(n->g, fresh("t"), 0, NULL, t)
               : f32_const(n->g, fresh("t"), n->images ? n->rank - 1 : 1, DIMS(count, 1, 1), t);
}

static void product(struct net *n, int64_t same)
{
    struct form f = {.spatial = n->images ? n->rank - 2 : 0, .columns = channels(n)};
    struct mc_value *t = threshold(n, channels(n), same), *out = mc_edit_fresh(n->g, "y");
    int64_t m = 1 + below(70);
    f.shape[0] = m;
    f.shape[1] = channels(n);
    for (int d = 0; d < f.spatial; d++) {
        f.shape[d + 2] = 1 + below(3);
        f.columns *= f.shape[d + 2];
        f.strides[d] = 1 + below(2);
        f.dilations[d] = 1 + below(2);
        f.pads[d] = below(2);
        f.pads[d + f.spatial] = below(2);
        int64_t span = (f.shape[d + 2] - 1) * f.dilations[d] + 1;
        n->dim[d + 2] += f.pads[d] + f.pads[d + f.spatial];
        if (span > n->dim[d + 2])
            f.dilations[d] = 1, span = f.shape[d + 2];
        if (span > n->dim[d + 2]) { /* small by now */
            f.columns /= f.shape[d + 2];
            f.shape[d + 2] = span = 1;
        }
        n->dim[d + 2] = (n->dim[d + 2] - span) / f.strides[d] + 1;
    }
    struct mc_value *in[] = {n->v, t, bits(n, m, f.columns), each(n, m, f.spatial, -0.2F, 1),
                             each(n, m, f.spatial, -1, 1)};
    struct mc_err err;
    build_ok(mc_own_call(n->g, n->g->n_nodes, n->images ? "XnorConv" : "XnorGemm", fresh("xnor"),
                         in, 5, &out, 1, set, &f, NULL, &err),
             &err);
    n->dim[n->images ? 1 : n->rank - 1] = m;
    n->v = out;
    n->products++;
}

static void norm(struct net *n)
{
    struct mc_value *in[] = {n->v, each(n, channels(n), 0, -1, 1.5F),
                             each(n, channels(n), 0, -1, 1), each(n, channels(n), 0, -4, 4),
                             each(n, channels(n), 0, 0.1F, 9)};
    n->v = build_node(n->g, "BatchNormalization", fresh("bn"), 5, in, NULL);
}

static void pool(struct net *n)
{
    struct mc_node *node;
    int spatial = n->rank - 2;
    int64_t kernel[2], pads[4], strides[2];
    n->v = build_node(n->g, "MaxPool", fresh("pool"), 1, &n->v, &node);
    for (int d = 0; d < spatial; d++) {
        int64_t *size = &n->dim[d + 2];
        kernel[d] = 1 + below(*size < 3 ? (int)*size : 3);
        strides[d] = 1 + below(2);
        pads[d] = kernel[d] > 1 ? below(2) : 0;
        pads[d + spatial] = kernel[d] > 1 ? below(2) : 0;
        *size = (*size + pads[d] + pads[d + spatial] - kernel[d]) / strides[d] + 1;
    }
    mc_edit_attr_ints(node, "kernel_shape", kernel, (size_t)spatial, NULL);
    mc_edit_attr_ints(node, "strides", strides, (size_t)spatial, NULL);
    mc_edit_attr_ints(node, "pads", pads, (size_t)spatial * 2, NULL);
}

/* One step that keeps or turns the order of numbers. */
static void step(struct net *n)
{
    struct mc_value *c = each(n, channels(n), n->images ? n->rank - 2 : 0, -2, 2), *v = n->v;
    struct mc_value *clip[] = {v, f32_const(n->g, fresh("lo"), 0, NULL, F(-3)),
                               f32_const(n->g, fresh("hi"), 0, NULL, F(2.5F))};
    n->between++;
    switch (below(9)) {
    case 0: n->v = build_unary(n->g, "Relu", fresh("relu"), v); break;
    case 1: n->v = build_node(n->g, "Clip", fresh("clip"), 3, clip, NULL); break;
    case 2: n->v = build_binary(n->g, "Add", fresh("add"), v, c); break;
    case 3: n->v = build_binary(n->g, "Mul", fresh("mul"), c, v); break;
    case 4: n->v = build_binary(n->g, "Sub", fresh("sub"), c, v); break;
    case 5: n->v = build_unary(n->g, "LeakyRelu", fresh("leaky"), v); break;
    case 6: n->v = build_unary(n->g, "Neg", fresh("neg"), v); break;
    default:
        if (n->images || n->rank == 2)
            norm(n);
        else
            n->v = build_binary(n->g, "Add", fresh("add"), c, v);
    }
}

static void flatten(struct net *n)
{
    n->v = build_unary(n->g, "Flatten", fresh("flat"), n->v);
    for (int d = 2; d < n->rank; d++)
        n->dim[1] *= n->dim[d];
    n->rank = 2;
    n->images = false;
    n->between++;
}

static void links(struct net *n)
{
    int steps = below(4), at = n->images ? below(2 * steps + 2) : -1;
    for (int i = 0; i <= steps; i++) {
        if (i == at) {
            pool(n);
            n->between++;
        }
        if (i < steps)
            step(n);
    }
}

static void give(struct net *n)
{
    build_output(n->g, n->v);
}

static struct mc_session *ran(const struct net *n, struct mc_model *m, unsigned flags,
                              const char *level, struct mc_pool *pool)
{
    static float x[MOST];
    struct mc_shape s = mc_shape_of(n->in_rank, n->in);
    assert_true(mc_shape_count(&s) <= MOST);
    mc_rng_fill_normal(seed, 3, 0, x, (size_t)mc_shape_count(&s));
    x[0] = NAN;
    x[mc_shape_count(&s) - 1] = -0.0F;
    struct mc_session_opts o = {.flags = flags, .kernels = level, .pool = pool};
    struct mc_session *r;
    struct mc_err err;
    if (level && mc_session_new(m->graph, &o, &r, &err))
        return NULL;
    if (!level)
        r = session_of(m, &o);
    run_x(r, n->in_rank, n->in, x);
    return r;
}

static void expect_same(struct mc_session *a, struct mc_session *b)
{
    const struct mc_array *x = mc_session_output(a, 0), *y = mc_session_output(b, 0);
    assert_true(mc_shape_equal(&x->shape, &y->shape));
    assert_memory_equal(x->data, y->data, x->bytes);
    mc_session_free(b);
}

/* The same by every way to run it; `steps` steps are left. */
static void expect_steps(struct net *n, int steps)
{
    static const char *const level[] = {"ref", "plain", "avx2", "avx512", "avx512vnni"};
    struct mc_session *a = ran(n, n->m, 0, NULL, NULL), *b;
    struct mc_session_stats st;
    struct mc_pool *pool;
    struct mc_err err;
    mc_session_stats(a, &st);
    if (steps >= 0)
        assert_int_equal(st.nodes, steps);
    expect_same(a, ran(n, n->m, MC_SESSION_NO_FUSE, NULL, NULL));
    for (size_t i = 0; i < sizeof level / sizeof *level; i++) {
        struct mc_session *c = ran(n, n->m, MC_SESSION_NO_FUSE, level[i], NULL);
        if ((b = ran(n, n->m, 0, level[i], NULL)))
            expect_same(c, b);
        mc_session_free(c);
    }
    build_ok(mc_pool_new(2, &pool, &err), &err);
    expect_same(a, ran(n, n->m, 0, NULL, pool));
    mc_pool_free(pool);
    build_ok(mc_own_inline(n->m, &err), &err);
    assert_int_equal(n->m->n_functions, 0);
    expect_same(a, ran(n, n->m, 0, NULL, NULL));
    expect_same(a, ran(n, n->m, MC_SESSION_NO_FUSE, NULL, NULL));
    mc_session_free(a);
    mc_model_free(n->m);
}

static void products_of_rows(void **state)
{
    (void)state;
    for (int i = 0; i < TRIES; i++) {
        struct net n = begin(false, 2 + below(3));
        product(&n, 1);
        for (int k = below(3); k > 0; k--) {
            links(&n);
            product(&n, 1);
        }
        give(&n);
        expect_steps(&n, n.products);
    }
}

static void convolutions(void **state)
{
    (void)state;
    for (int i = 0; i < TRIES; i++) {
        struct net n = begin(true, 3 + below(2));
        product(&n, 1);
        for (int k = below(3); k > 0; k--) {
            links(&n);
            product(&n, 1);
        }
        give(&n);
        expect_steps(&n, n.products);
    }
}

static void images_to_rows(void **state)
{
    (void)state;
    for (int i = 0; i < TRIES; i++) {
        struct net n = begin(true, 3 + below(2));
        product(&n, 1);
        links(&n);
        int64_t pixels = n.rank > 3 ? n.dim[2] * n.dim[3] : n.dim[2];
        flatten(&n);
        product(&n, pixels);
        links(&n);
        product(&n, 1);
        give(&n);
        expect_steps(&n, n.products);
    }
}

/* In float64 sums are the same, scaled with less rounding. */
static void in_double(void **state)
{
    (void)state;
    for (int i = 0; i < 6; i++) {
        struct net n = i % 2 ? begin(true, 4) : begin(false, 2);
        product(&n, 1);
        give(&n);
        struct mc_session *a = ran(&n, n.m, 0, NULL, NULL), *b;
        struct mc_session_opts o = {.precision = MC_PRECISION_F64};
        static float x[MOST];
        struct mc_shape s = mc_shape_of(n.in_rank, n.in);
        mc_rng_fill_normal(seed, 3, 0, x, (size_t)mc_shape_count(&s));
        x[0] = NAN;
        x[mc_shape_count(&s) - 1] = -0.0F;
        b = session_of(n.m, &o);
        run_x(b, n.in_rank, n.in, x);
        const struct mc_array *y = mc_session_output(a, 0), *z = mc_session_output(b, 0);
        assert_int_equal(z->dtype, MC_DTYPE_F64);
        assert_true(mc_shape_equal(&y->shape, &z->shape));
        for (int64_t k = 0; k < mc_shape_count(&y->shape); k++)
            assert_true(fabs((double)((float *)y->data)[k] - ((double *)z->data)[k]) <= 1e-4);
        mc_session_free(a);
        mc_session_free(b);
        mc_model_free(n.m);
    }
}

/* A value that somebody else reads stays what it is. */
static void what_is_read_twice(void **state)
{
    (void)state;
    struct net n = begin(false, 2);
    product(&n, 1);
    norm(&n);
    struct mc_value *shortcut = n.v;
    product(&n, 1);
    struct mc_value *v = build_unary(n.g, "ReduceMax", "max", shortcut);
    n.v = build_binary(n.g, "Add", "sum", n.v, v);
    give(&n);
    expect_steps(&n, -1);
}

/* Thresholds that differ from pixel to pixel are none of a channel. */
static void thresholds_of_pixels(void **state)
{
    (void)state;
    struct net n = begin(true, 4);
    product(&n, 1);
    flatten(&n);
    product(&n, 1);
    give(&n);
    expect_steps(&n, -1);
}

/* No memory for thresholds leaves the steps as they are; other memory is an error. */
static void out_of_memory(void **state)
{
    (void)state;
    static float x[MOST];
    struct net n = begin(true, 4);
    product(&n, 1);
    norm(&n);
    pool(&n);
    product(&n, 1);
    give(&n);
    struct mc_session *want = ran(&n, n.m, 0, NULL, NULL), *got;
    struct mc_shape shape = mc_shape_of(n.in_rank, n.in);
    mc_rng_fill_normal(seed, 3, 0, x, (size_t)mc_shape_count(&shape));
    x[0] = NAN;
    x[mc_shape_count(&shape) - 1] = -0.0F;
    struct mc_array in = array_of("x", MC_DTYPE_F32, n.in_rank, n.in, x);
    bool failed = true;
    long good = 0;
    for (long i = 0; failed; i++) {
        struct mc_err err;
        got = NULL;
        allocations_left = i;
        int rc = mc_session_new(n.m->graph, NULL, &got, &err);
        rc = rc ? rc : mc_session_run(got, &in, 1, &err);
        failed = allocations_left < 0;
        allocations_left = -1;
        /* A function whose tables there is no memory to compare with is none that is known. */
        if (rc && rc != MC_ENOMEM && rc != MC_EUNSUP)
            fail_msg("allocation %ld: %s", i, err.msg);
        good += !rc;
        if (!rc)
            expect_same(want, got);
        else
            mc_session_free(got);
    }
    assert_true(good > 3); /* without thresholds, and at last */
    mc_session_free(want);
    mc_model_free(n.m);
}

int main(int argc, char **argv)
{
    seed = argc > 1 ? strtoull(argv[1], NULL, 10) : seed;
    printf("seed %llu\n", (unsigned long long)seed);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(products_of_rows),   cmocka_unit_test(convolutions),
        cmocka_unit_test(images_to_rows),     cmocka_unit_test(in_double),
        cmocka_unit_test(what_is_read_twice), cmocka_unit_test(thresholds_of_pixels),
        cmocka_unit_test(out_of_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
