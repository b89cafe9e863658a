/* The shared least squares: weights that another model of the same shape has are found again from its results alone. */
#include "svd_util.h"

#include <math.h>

#include "base/threads.h"
#include "passes/fit/refit.h"

static struct mc_err err;
static struct mc_linalg *la;

enum { N = 256 };

/* One product, and what may stand behind it. */
struct kind {
    const char *op;
    int x_rank, w_rank;
    int64_t x[3], w[4]; /* x: of a sample */
    int64_t m, groups, stride, pad, trans_b, output_padding;
    bool left;   /* MatMul with the weight in front */
    char behind; /* 'a' Add of a bias, 'b' BatchNormalization, '+' a value that was there before */
    bool bias;
};

static const struct kind kinds[] = {
    {.op = "Gemm",
     .x_rank = 1,
     .w_rank = 2,
     .x = {9},
     .w = {5, 9},
     .m = 5,
     .trans_b = 1,
     .bias = true},
    {.op = "Gemm", .x_rank = 1, .w_rank = 2, .x = {9}, .w = {9, 5}, .m = 5},
    {.op = "Gemm", .x_rank = 1, .w_rank = 2, .x = {9}, .w = {9, 5}, .m = 5, .behind = 'b'},
    {.op = "MatMul", .x_rank = 2, .w_rank = 2, .x = {3, 7}, .w = {7, 4}, .m = 4},
    {.op = "MatMul", .x_rank = 2, .w_rank = 2, .x = {3, 7}, .w = {7, 4}, .m = 4, .behind = 'a'},
    {.op = "MatMul", .x_rank = 2, .w_rank = 2, .x = {3, 4}, .w = {4, 4}, .m = 4, .behind = '+'},
    {.op = "MatMul", .x_rank = 2, .w_rank = 2, .x = {6, 3}, .w = {4, 6}, .m = 4, .left = true},
    {.op = "MatMul",
     .x_rank = 2,
     .w_rank = 2,
     .x = {6, 3},
     .w = {4, 6},
     .m = 4,
     .left = true,
     .behind = 'a'},
    {.op = "Conv",
     .x_rank = 3,
     .w_rank = 4,
     .x = {3, 6, 5},
     .w = {4, 3, 3, 3},
     .m = 4,
     .groups = 1,
     .stride = 1,
     .pad = 1,
     .bias = true},
    {.op = "Conv",
     .x_rank = 3,
     .w_rank = 4,
     .x = {4, 6, 5},
     .w = {6, 2, 3, 3},
     .m = 6,
     .groups = 2,
     .stride = 2,
     .pad = 1,
     .bias = true},
    {.op = "Conv",
     .x_rank = 3,
     .w_rank = 4,
     .x = {4, 6, 5},
     .w = {4, 1, 3, 3},
     .m = 4,
     .groups = 4,
     .stride = 1,
     .pad = 1},
    {.op = "Conv",
     .x_rank = 3,
     .w_rank = 4,
     .x = {4, 6, 5},
     .w = {4, 1, 3, 3},
     .m = 4,
     .groups = 4,
     .stride = 1,
     .pad = 1,
     .behind = 'b'},
    {.op = "Conv",
     .x_rank = 3,
     .w_rank = 4,
     .x = {4, 5, 5},
     .w = {4, 4, 3, 3},
     .m = 4,
     .groups = 1,
     .stride = 1,
     .pad = 1,
     .behind = '+',
     .bias = true},
    {.op = "Conv",
     .x_rank = 2,
     .w_rank = 3,
     .x = {4, 9},
     .w = {6, 2, 3},
     .m = 6,
     .groups = 2,
     .stride = 2,
     .pad = 0},
    {.op = "ConvTranspose",
     .x_rank = 3,
     .w_rank = 4,
     .x = {3, 4, 5},
     .w = {3, 4, 3, 3},
     .m = 4,
     .groups = 1,
     .stride = 2,
     .pad = 1,
     .output_padding = 1,
     .bias = true},
    {.op = "ConvTranspose",
     .x_rank = 3,
     .w_rank = 4,
     .x = {4, 4, 5},
     .w = {4, 3, 2, 2},
     .m = 6,
     .groups = 2,
     .stride = 2,
     .pad = 0},
    {.op = "ConvTranspose",
     .x_rank = 2,
     .w_rank = 3,
     .x = {4, 6},
     .w = {4, 1, 4},
     .m = 4,
     .groups = 4,
     .stride = 2,
     .pad = 1},
};

static void windows(struct mc_node *n, const struct kind *k)
{
    int d = k->w_rank - 2;
    int64_t pads[4] = {k->pad, k->pad, k->pad, k->pad}, ones[2] = {k->stride, k->stride};
    int64_t more[2] = {k->output_padding, k->output_padding};
    build_ok(mc_edit_attr_int(n, "group", k->groups, &err), &err);
    build_ok(mc_edit_attr_ints(n, "strides", ones, (size_t)d, &err), &err);
    build_ok(mc_edit_attr_ints(n, "pads", pads, (size_t)(2 * d), &err), &err);
    if (k->output_padding)
        build_ok(mc_edit_attr_ints(n, "output_padding", more, (size_t)d, &err), &err);
}

static struct mc_value *norm(struct mc_graph *g, struct mc_value *y, int64_t m)
{
    float scale[8], var[8];
    struct mc_node *n;
    for (int i = 0; i < m; i++) {
        scale[i] = i % 2 ? -2.0F : 0.5F;
        var[i] = 0.3F + (float)i;
    }
    struct mc_value *in[] = {
        y, f32_const(g, "scale", 1, DIMS(m), scale), random_const(g, "shift", 1, DIMS(m), 78),
        random_const(g, "mean", 1, DIMS(m), 79), f32_const(g, "var", 1, DIMS(m), var)};
    return build_node(g, "BatchNormalization", "norm", 5, in, &n);
}

/* `seed` of the weights of the product alone. */
static struct mc_model *product(const struct kind *k, uint64_t seed)
{
    struct mc_model *m = build_model(17);
    struct mc_graph *g = m->graph;
    int64_t dims[4] = {-1, k->x[0], k->x[1], k->x[2]};
    struct mc_value *x = build_input(g, "x", MC_DTYPE_F32, k->x_rank + 1, dims);
    struct mc_value *before = build_unary(g, "Tanh", "before", x);
    struct mc_value *w = random_const(g, "w", k->w_rank, k->w, seed);
    struct mc_value *in[] = {k->left ? w : before, k->left ? before : w,
                             k->bias ? random_const(g, "b", 1, DIMS(k->m), seed + 1) : NULL};
    struct mc_node *n;
    struct mc_value *y = build_node(g, k->op, "product", k->bias ? 3 : 2, in, &n);
    if (k->trans_b)
        build_ok(mc_edit_attr_int(n, "transB", 1, &err), &err);
    if (k->groups)
        windows(n, k);
    if (k->behind == 'a')
        y = build_binary(g, "Add", "add", y,
                         k->left ? random_const(g, "b", 2, DIMS(k->m, 1), seed + 1)
                                 : random_const(g, "b", 1, DIMS(k->m), seed + 1));
    if (k->behind == 'b')
        y = norm(g, y, k->m);
    if (k->behind == '+')
        y = build_binary(g, "Add", "sum", before, y);
    build_output(g, build_unary(g, "Tanh", "end", y));
    return m;
}

static float *value_of(struct mc_model *m, const char *name, const struct kind *k, const float *x,
                       struct mc_shape *ret)
{
    const int64_t dims[4] = {N, k->x[0], k->x[1], k->x[2]};
    struct mc_session *s = session_of(m, &(struct mc_session_opts){.only = &name, .n_only = 1});
    run_x(s, k->x_rank + 1, dims, x);
    const struct mc_array *a = mc_session_output(s, 0);
    float *y = malloc(a->bytes);
    assert_non_null(y);
    memcpy(y, a->data, a->bytes);
    *ret = a->shape;
    mc_session_free(s);
    return y;
}

static void fit(struct mc_refit *f, struct mc_model *to, struct mc_model *from,
                const struct kind *k, const float *x)
{
    const char *t_name = f->x->name, *y_name = f->y->name;
    struct mc_shape ts, ys;
    float *t = value_of(to, t_name, k, x, &ts);
    float *is = value_of(to, y_name, k, x, &ys), *should = value_of(from, y_name, k, x, &ys);
    /* in two batches, of which the second begins with another half's sample */
    enum { FIRST = 25 };
    for (int64_t at = 0, n = FIRST; at < N; at += n, n = N - FIRST) {
        struct mc_shape a = ts, b = ys;
        int64_t each_t = mc_shape_count(&ts) / N, each_y = mc_shape_count(&ys) / N;
        a.dim[0] = b.dim[0] = n;
        struct mc_array ta = array_of(t_name, MC_DTYPE_F32, a.rank, a.dim, t + at * each_t);
        struct mc_array ia = array_of(y_name, MC_DTYPE_F32, b.rank, b.dim, is + at * each_y);
        struct mc_array sa = array_of(y_name, MC_DTYPE_F32, b.rank, b.dim, should + at * each_y);
        build_ok(mc_refit_add(f, la, NULL, &ta, &ia, &sa, at, n, N, &err), &err);
    }
    free(t);
    free(is);
    free(should);
}

static struct mc_refit found(struct mc_model *m, bool behind)
{
    struct mc_refit f = {0};
    for (size_t i = 0; i < m->graph->n_nodes; i++)
        if (!strcmp(m->graph->nodes[i]->name, "product"))
            assert_true(mc_refit_of(m->graph->nodes[i], &f));
    assert_non_null(f.node);
    if (behind)
        build_ok(mc_refit_behind(&f, &err), &err);
    return f;
}

static void expect_close(const struct mc_model *a, const struct mc_model *b, const char *name,
                         double within)
{
    const struct mc_tensor *t = mc_constant(mc_graph_value(a->graph, name));
    const struct mc_tensor *u = mc_constant(mc_graph_value(b->graph, name));
    assert_non_null(t);
    assert_non_null(u);
    assert_true(mc_shape_equal(&t->shape, &u->shape));
    for (int64_t i = 0; i < mc_tensor_count(t); i++) {
        double x = ((const float *)t->data)[i], y = ((const float *)u->data)[i];
        if (!(fabs(x - y) <= within))
            fail_msg("%s[%d]: %g, not %g", name, (int)i, y, x);
    }
}

static float *samples(const struct kind *k)
{
    int64_t each = k->x[0] * (k->x_rank > 1 ? k->x[1] : 1) * (k->x_rank > 2 ? k->x[2] : 1);
    return gaussian(11, N * each);
}

static void every_kind_is_found_again(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        const struct kind *k = &kinds[i];
        struct mc_model *from = product(k, 100), *to = product(k, 200);
        float *x = samples(k);
        struct mc_refit f = found(to, true);
        print_message("%s %s%c\n", k->op, k->left ? "left " : "", k->behind ? k->behind : ' ');
        assert_string_equal(f.y->producer->name, k->behind == 'a'   ? "add"
                                                 : k->behind == 'b' ? "norm"
                                                 : k->behind == '+' ? "sum"
                                                                    : "product");
        assert_int_equal(f.bias != NULL, k->bias || k->behind == 'a' || k->behind == 'b');
        f.folds = 2;
        fit(&f, to, from, k, x);
        bool better;
        build_ok(mc_refit_solve(&f, la, NULL, &better, &err), &err);
        assert_true(better);
        assert_true(f.is <= 1e-6 * f.was);
        expect_close(from, to, "w", 2e-3);
        if (k->bias || k->behind == 'a')
            expect_close(from, to, "b", 2e-3);
        if (k->behind == 'b')
            expect_close(from, to, "shift", 2e-3);
        mc_refit_release(&f);
        free(x);
        mc_model_free(from);
        mc_model_free(to);
    }
}

/* ---- among the rows ---- */

/* N rows of 300 unknowns by sums and among the rows. */
static void few_rows_give_what_sums_give(void **state)
{
    (void)state;
    const struct kind k = {.op = "Gemm",
                           .x_rank = 1,
                           .w_rank = 2,
                           .x = {300},
                           .w = {5, 300},
                           .m = 5,
                           .trans_b = 1,
                           .bias = true};
    float *x = samples(&k);
    struct mc_model *m[2], *from = product(&k, 100);
    double was[2], is[2];
    for (int i = 0; i < 2; i++) {
        m[i] = product(&k, 200);
        struct mc_refit f = found(m[i], true);
        f.folds = 2;
        f.keeps = i ? 1 << 20 : 0;
        fit(&f, m[i], from, &k, x);
        assert_int_equal(f.few, i == 1);
        bool better;
        build_ok(mc_refit_solve(&f, la, NULL, &better, &err), &err);
        assert_true(better);
        was[i] = f.was;
        is[i] = f.is;
        mc_refit_release(&f);
    }
    assert_true(is[0] < was[0]);
    assert_true(fabs(was[0] - was[1]) <= 1e-6 * was[0]);
    assert_true(fabs(is[0] - is[1]) <= 1e-3 * is[0]);
    struct mc_shape s;
    float *a = value_of(m[0], "product", &k, x, &s), *b = value_of(m[1], "product", &k, x, &s);
    assert_true(relative(a, b, mc_shape_count(&s)) <= 1e-4);
    free(a);
    free(b);
    mc_model_free(m[0]);
    mc_model_free(m[1]);
    mc_model_free(from);
    free(x);
}

/* ---- halves ---- */

/* Results that have nothing to do with the input: what one half says of it is wrong for the other. */
static void noise_is_not_fitted(void **state)
{
    (void)state;
    const struct kind k = {
        .op = "Gemm", .x_rank = 1, .w_rank = 2, .x = {30}, .w = {5, 30}, .m = 5, .trans_b = 1};
    float *x = gaussian(11, N * 30), *t = gaussian(12, N * 30), *is = gaussian(13, N * 5);
    float *should = gaussian(14, N * 5);
    for (int i = 0; i < 2; i++) {
        struct mc_model *m = product(&k, 200), *was = product(&k, 200);
        struct mc_refit f = found(m, true);
        struct mc_array ta = array_of("t", MC_DTYPE_F32, 2, DIMS(N, 30), t);
        struct mc_array ia = array_of("is", MC_DTYPE_F32, 2, DIMS(N, 5), is);
        struct mc_array sa = array_of("should", MC_DTYPE_F32, 2, DIMS(N, 5), should);
        bool better;
        f.folds = 2;
        f.keeps = i ? 1 << 20 : 0;
        build_ok(mc_refit_add(&f, la, NULL, &ta, &ia, &sa, 0, N, N, &err), &err);
        build_ok(mc_refit_solve(&f, la, NULL, &better, &err), &err);
        assert_false(better);
        assert_true(f.is == f.was);
        expect_close(was, m, "w", 0);
        mc_refit_release(&f);
        mc_model_free(m);
        mc_model_free(was);
    }
    free(x);
    free(t);
    free(is);
    free(should);
}

/* ---- behind a clip ---- */

static double clipped_error(struct mc_model *m, struct mc_model *from, const struct kind *k,
                            const float *x)
{
    struct mc_shape s;
    float *a = value_of(m, "end", k, x, &s), *b = value_of(from, "end", k, x, &s);
    double sum = 0;
    for (int64_t i = 0; i < mc_shape_count(&s); i++)
        sum += ((double)a[i] - b[i]) * ((double)a[i] - b[i]);
    free(a);
    free(b);
    return sum;
}

static struct mc_model *behind_relu(int64_t in, uint64_t seed)
{
    struct mc_model *m = build_model(17);
    struct mc_graph *g = m->graph;
    struct mc_value *x = build_input(g, "x", MC_DTYPE_F32, 2, DIMS(-1, 12)), *h = x;
    float keep[12 * 12] = {0};
    for (int i = 0; i < in; i++)
        keep[i * 12 + i] = 1;
    h = build_binary(g, "MatMul", "some", x, f32_const(g, "keep", 2, DIMS(12, 12), keep));
    struct mc_value *in3[] = {h, random_const(g, "w", 2, DIMS(12, 6), seed),
                              random_const(g, "b", 1, DIMS(6), seed + 1)};
    struct mc_node *n;
    h = build_node(g, "Gemm", "product", 3, in3, &n);
    build_output(g, build_unary(g, "Relu", "end", h));
    return m;
}

/* What the model to be fitted does not see of the input cannot be made up for: rounds bring its results closer behind
 * the Relu than a fit of what stands in front of it. */
static void rounds_see_what_a_relu_hides(void **state)
{
    (void)state;
    const struct kind k = {.op = "Gemm", .x_rank = 1, .x = {12}, .m = 6};
    float *x = of_rank(11, N, 12, 10);
    double error[2];
    struct mc_model *from = behind_relu(12, 100);
    for (int i = 0; i < 2; i++) {
        struct mc_model *to = behind_relu(8, 100);
        struct mc_refit f = found(to, true);
        bool better;
        assert_true(f.clipped && f.low == 0 && isinf(f.high));
        f.folds = 2;
        f.keeps = i ? 1 << 20 : 0;
        fit(&f, to, from, &k, x);
        build_ok(mc_refit_solve(&f, la, NULL, &better, &err), &err);
        error[i] = clipped_error(to, from, &k, x);
        mc_refit_release(&f);
        mc_model_free(to);
    }
    struct mc_model *plain = behind_relu(8, 100);
    double unfitted = clipped_error(plain, from, &k, x);
    print_message("%g, fitted %g, in rounds %g\n", unfitted, error[0], error[1]);
    assert_true(error[0] < unfitted);
    assert_true(error[1] < 0.995 * error[0]);
    mc_model_free(plain);
    mc_model_free(from);
    free(x);
}

static void too_much_memory_is_refused(void **state)
{
    (void)state;
    const struct kind *k = &kinds[8];
    struct mc_model *m = product(k, 1);
    struct mc_refit f = found(m, true);
    float *x = samples(k), *y = gaussian(5, N * 4 * 30);
    struct mc_array t = array_of("t", MC_DTYPE_F32, 4, DIMS(N, 3, 6, 5), x);
    struct mc_array a = array_of("y", MC_DTYPE_F32, 4, DIMS(N, 4, 6, 5), y);
    f.most = 100;
    assert_int_equal(mc_refit_add(&f, la, NULL, &t, &a, &a, 0, N, N, &err), MC_EUNSUP);
    assert_non_null(strstr(err.msg, "Conv 'product'"));
    mc_refit_release(&f);
    free(x);
    free(y);
    mc_model_free(m);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_kind_is_found_again),
        cmocka_unit_test(few_rows_give_what_sums_give),
        cmocka_unit_test(noise_is_not_fitted),
        cmocka_unit_test(rounds_see_what_a_relu_hides),
        cmocka_unit_test(too_much_memory_is_refused),
    };
    if (mc_linalg_new("cpu", &la, &err))
        return 1;
    int rc = cmocka_run_group_tests(tests, NULL, NULL);
    mc_linalg_free(la);
    return rc;
}
