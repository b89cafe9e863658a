/* Signs in training: what they compute element by element, and that gradients go straight through within the width. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "base/threads.h"
#include "graph/grad/rule.h"
#include "graph/grad/weights.h"
#include "graph/run/session.h"
#include "graph/verify.h"
#include "graph_check.h"
#include "rule_check.h"
#include "tests/graph/build.h"

enum { MOST = 70000 };

static struct mc_value *own(struct mc_graph *g, const char *op, const char *name,
                            struct mc_value *in, struct mc_node **ret)
{
    struct mc_err err;
    struct mc_value *out = mc_edit_fresh(g, name);
    assert_non_null(out);
    build_ok(mc_edit_node(g, g->n_nodes, op, MC_GRAD_DOMAIN, 1, name, &in, 1, &out, 1, ret, &err),
             &err);
    return out;
}

static void values(struct mc_model *m, const char *name, bool wide, int threads, double *ret,
                   int64_t n)
{
    struct mc_session *s;
    struct mc_err err;
    struct mc_pool *pool;
    build_ok(mc_pool_new(threads, &pool, &err), &err);
    struct mc_session_opts o = {.precision = wide ? MC_PRECISION_F64 : MC_PRECISION_MODEL,
                                .pool = pool,
                                .only = &name,
                                .n_only = 1};
    build_ok(mc_verify(m, &err), &err);
    build_ok(mc_session_new(m->graph, &o, &s, &err), &err);
    build_ok(mc_session_run(s, NULL, 0, &err), &err);
    const struct mc_array *a = mc_session_value(s, name);
    assert_non_null(a);
    assert_int_equal(mc_shape_count(&a->shape), n);
    for (int64_t i = 0; i < n; i++)
        ret[i] = wide ? ((const double *)a->data)[i] : (double)((const float *)a->data)[i];
    mc_session_free(s);
    mc_pool_free(pool);
}

/* sum w y as the output "loss". */
static void weigh(struct mc_graph *g, struct mc_value *y, struct mc_value *w)
{
    struct mc_err err;
    struct mc_value *one = build_unary(g, "ReduceSum", "loss", build_binary(g, "Mul", "wy", y, w));
    build_ok(mc_edit_attr_int(one->producer, "keepdims", 0, &err), &err);
    build_output(g, one);
}

static void fill(float *x, int64_t n, uint64_t seed)
{
    mc_rng_fill_normal(seed, 0, 0, x, (size_t)n);
    if (n > 4) { /* zeros of both signs, and the edges of the clipped identity */
        x[0] = 0.0F;
        x[1] = -0.0F;
        x[2] = 1.0F;
        x[3] = -1.0F;
    }
}

static struct mc_value *fconst(struct mc_graph *g, const char *name, int rank, const int64_t *dims,
                               const float *x)
{
    return build_const(g, name, MC_DTYPE_F32, rank, dims, x);
}

static struct mc_value *backward(struct mc_model *m)
{
    struct mc_value *grad;
    const char *why, *name = "x";
    struct mc_err err;
    build_ok(graph_backward(m, "loss", &name, 1, &grad, &why, &err), &err);
    assert_non_null(grad);
    return grad;
}

/* ---- SignSTE ---- */

static void signs(int64_t n, float width, bool wide, int threads)
{
    static float x[MOST], w[MOST];
    static double y[MOST], dx[MOST];
    struct mc_err err;
    struct mc_node *node;
    struct mc_model *m = build_model(20);
    fill(x, n, 3 + (uint64_t)n);
    mc_rng_fill_normal(7, 1, 0, w, (size_t)n);
    struct mc_value *v = fconst(m->graph, "x", 1, &n, x);
    struct mc_value *out = own(m->graph, "SignSTE", "y", v, &node);
    if (width != 1)
        build_ok(mc_edit_attr_float(node, "width", width, &err), &err);
    weigh(m->graph, out, fconst(m->graph, "w", 1, &n, w));
    values(m, "y", wide, threads, y, n);
    struct mc_value *d = backward(m);
    values(m, d->name, wide, threads, dx, n);
    for (int64_t i = 0; i < n; i++) {
        double want = fabsf(x[i]) < width ? (double)w[i] : 0;
        if (y[i] != (x[i] < 0 ? -1 : 1) || dx[i] != want)
            fail_msg("%lld of %lld: x %.9g gives %g, dx %.9g for %.9g", (long long)i, (long long)n,
                     (double)x[i], y[i], dx[i], want);
    }
    mc_model_free(m);
}

static void signs_are_of_what_is_below_zero(void **state)
{
    (void)state;
    static const int64_t sizes[] = {0, 1, 7, 64, 32767, 32768, 32769, MOST};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        for (int k = 0; k < 4; k++)
            signs(sizes[i], k & 1 ? 0.5F : 1, k & 2, 1 + 2 * (k & 1));
}

/* ---- BinarizeWeight ---- */

static void weight(int rank, const int64_t *dims, int64_t outputs, bool last, bool real, bool wide)
{
    static float x[MOST], w[MOST];
    static double y[MOST], dx[MOST];
    struct mc_err err;
    struct mc_node *node;
    struct mc_model *m = build_model(20);
    struct mc_shape s = mc_shape_of(rank, dims);
    int64_t n = mc_shape_count(&s), k = n / outputs;
    fill(x, n, 11 + (uint64_t)n);
    for (int64_t i = 4; i < n; i++)
        x[i] *= 0.6F;
    mc_rng_fill_normal(7, 1, 0, w, (size_t)n);
    struct mc_value *v = fconst(m->graph, "x", rank, dims, x);
    struct mc_value *out = own(m->graph, "BinarizeWeight", "y", v, &node);
    build_ok(mc_edit_attr_int(node, "outputs", outputs, &err), &err);
    if (last)
        build_ok(mc_edit_attr_int(node, "last", 1, &err), &err);
    if (real)
        build_ok(mc_edit_attr_int(node, "real", 1, &err), &err);
    weigh(m->graph, out, fconst(m->graph, "w", rank, dims, w));
    values(m, "y", wide, 2, y, n);
    struct mc_value *d = backward(m);
    values(m, d->name, wide, 2, dx, n);
    for (int64_t o = 0; o < outputs; o++) {
        double alpha = 0;
        for (int64_t j = 0; j < k; j++)
            alpha += fabs((double)x[last ? j * outputs + o : o * k + j]) / (double)k;
        for (int64_t j = 0; j < k; j++) {
            int64_t i = last ? j * outputs + o : o * k + j;
            double want = real ? (double)x[i] : x[i] < 0 ? -alpha : alpha;
            double back = real || fabsf(x[i]) < 1 ? (double)w[i] : 0;
            if (!(fabs(y[i] - want) <= (wide ? 1e-12 : 1e-6)) || dx[i] != back)
                fail_msg("%lld: %.9g for %.9g, dx %.9g for %.9g", (long long)i, y[i], want, dx[i],
                         back);
        }
    }
    mc_model_free(m);
}

static void weights_have_one_scale_an_output(void **state)
{
    (void)state;
    for (int k = 0; k < 4; k++) {
        bool real = k & 1, wide = k & 2;
        weight(2, (int64_t[]){5, 33}, 5, false, real, wide);
        weight(2, (int64_t[]){33, 5}, 5, true, real, wide);
        weight(4, (int64_t[]){6, 3, 3, 3}, 6, false, real, wide);
        weight(3, (int64_t[]){2, 12, 7}, 24, false, real, wide);
        weight(2, (int64_t[]){1, 1}, 1, false, real, wide);
        weight(2, (int64_t[]){200, 301}, 200, false, real, wide);
    }
}

static void shapes_that_do_not_fit_are_named(void **state)
{
    (void)state;
    static const struct {
        int64_t outputs, last;
    } bad[] = {{4, 0}, {0, 0}, {3, 1}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        static const float x[15];
        struct mc_err err;
        struct mc_node *node;
        struct mc_session *s;
        struct mc_model *m = build_model(20);
        struct mc_value *v = fconst(m->graph, "x", 2, (int64_t[]){3, 5}, x);
        build_output(m->graph, own(m->graph, "BinarizeWeight", "y", v, &node));
        build_ok(mc_edit_attr_int(node, "outputs", bad[i].outputs, &err), &err);
        build_ok(mc_edit_attr_int(node, "last", bad[i].last, &err), &err);
        build_ok(mc_verify(m, &err), &err);
        assert_int_equal(mc_session_new(m->graph, &(struct mc_session_opts){0}, &s, &err) ||
                             mc_session_run(s, NULL, 0, &err),
                         1);
        assert_int_equal(err.code, MC_ESHAPE);
        assert_non_null(strstr(err.msg, "does not hold weights of"));
        mc_model_free(m);
    }
}

/* The constant behind it is a weight like others. */
static void latent_weights_are_trained(void **state)
{
    (void)state;
    static const float w[12] = {0.5F, -0.25F};
    struct mc_err err;
    struct mc_node *node;
    struct mc_weights found;
    struct mc_model *m = build_model(20);
    struct mc_value *x = build_input(m->graph, "in", MC_DTYPE_F32, 2, (int64_t[]){-2, 4});
    struct mc_value *v = fconst(m->graph, "latent", 2, (int64_t[]){4, 3}, w);
    struct mc_value *b = own(m->graph, "BinarizeWeight", "b", v, &node);
    build_ok(mc_edit_attr_int(node, "outputs", 3, &err), &err);
    build_ok(mc_edit_attr_int(node, "last", 1, &err), &err);
    build_output(m->graph, build_binary(m->graph, "MatMul", "y", x, b));
    build_ok(mc_verify(m, &err), &err);
    build_ok(mc_weights_find(m->graph, &(struct mc_weights_opts){0}, &found, &err), &err);
    assert_int_equal(found.n_trained, 1);
    assert_string_equal(found.list[0].value->name, "latent");
    assert_true(found.list[0].decays);
    mc_weights_free(&found);
    mc_model_free(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(signs_are_of_what_is_below_zero),
        cmocka_unit_test(weights_have_one_scale_an_output),
        cmocka_unit_test(shapes_that_do_not_fit_are_named),
        cmocka_unit_test(latent_weights_are_trained),
    };
    return cmocka_run_group_tests_name("binary_train", tests, NULL, NULL);
}
