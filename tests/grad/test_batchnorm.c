#include "tests/run/run_util.h"

#include "graph/grad/backward.h"
#include "graph/grad/batchnorm.h"
#include "graph/verify.h"

enum { N = 5, C = 3, INNER = 4 };

static struct mc_value *params(struct mc_graph *g, const char *name, float at)
{
    return f32_const(g, name, 1, DIMS(C), F(at, at + 1, at + 2));
}

static struct mc_value *batchnorm(struct mc_graph *g, const char *name, struct mc_value *x,
                                  struct mc_value *mean, struct mc_value *var, int version,
                                  struct mc_node **ret)
{
    char scale[16], bias[16];
    snprintf(scale, sizeof scale, "%s.scale", name);
    snprintf(bias, sizeof bias, "%s.bias", name);
    struct mc_value *in[5] = {x, params(g, scale, 0.5F), params(g, bias, -1), mean, var};
    struct mc_value *y = build_node(g, "BatchNormalization", name, 5, in, ret);
    (*ret)->version = version;
    return y;
}

/* Mean and variance of channel c of x [N, C, INNER]. */
static void moments(const float *x, int c, double *mean, double *var)
{
    double sum = 0, square = 0;
    for (int i = 0; i < N * INNER; i++) {
        double v = (double)x[(i / INNER * C + c) * INNER + i % INNER];
        sum += v;
        square += v * v;
    }
    *mean = sum / (N * INNER);
    *var = square / (N * INNER) - *mean * *mean;
}

static void near(const struct mc_array *a, int i, double want)
{
    double got = (double)((const float *)a->data)[i];
    if (!(fabs(got - want) <= 1e-5 * (1 + fabs(want))))
        fail_msg("element %d is %g, not %g", i, got, want);
}

static const float *draw(float *x, size_t n)
{
    mc_rng_fill_uniform(7, 1, 0, x, n);
    return x;
}

/* Two nodes that share their statistics, an old one among them, and one whose statistics are given from outside. */
static void running(void **state)
{
    (void)state;
    struct mc_model *m = build_model(17);
    struct mc_graph *g = m->graph;
    struct mc_value *x = build_input(g, "x", MC_DTYPE_F32, 3, DIMS(-2, C, INNER));
    struct mc_value *mean = params(g, "mean", 2), *var = params(g, "var", 1);
    struct mc_value *given = build_input(g, "given", MC_DTYPE_F32, 1, DIMS(C));
    struct mc_node *a, *b, *c;
    build_output(g, batchnorm(g, "a", x, mean, build_unary(g, "Identity", "same", var), 15, &a));
    build_output(g, batchnorm(g, "b", x, mean, var, 7, &b));
    build_output(g, batchnorm(g, "c", x, given, var, 15, &c));
    size_t n, count;
    struct mc_err err;
    struct mc_batchnorm_stat *list;
    build_ok(mc_batchnorm_train(g, &n, &err), &err);
    assert_int_equal(n, 2);
    assert_int_equal(c->n_out, 1);
    assert_int_equal(b->version, 15);
    assert_ptr_equal(a->in[4], var);
    assert_ptr_equal(b->in[3], a->out[1]);
    build_ok(mc_batchnorm_stats(g, &list, &count, &err), &err);
    assert_int_equal(count, 2);
    assert_ptr_equal(list[0].in, mean);
    assert_ptr_equal(list[0].out, b->out[1]);
    assert_ptr_equal(list[1].in, var);
    assert_ptr_equal(list[1].out, b->out[2]);
    build_output(g, list[0].out);
    build_output(g, list[1].out);
    free(list);
    build_ok(mc_verify(m, &err), &err);

    float data[N * C * INNER];
    struct mc_array in[] = {
        array_of("x", MC_DTYPE_F32, 3, DIMS(N, C, INNER), draw(data, N * C * INNER)),
        array_of("given", MC_DTYPE_F32, 1, DIMS(C), F(0, 0, 0))};
    struct mc_session *s = session_of(m, NULL);
    run_ok(s, in, 2);
    for (int i = 0; i < C; i++) {
        double now[2];
        moments(data, i, &now[0], &now[1]);
        for (int k = 0; k < 2; k++) {
            double once = (k ? 1 + i : 2 + i) * 0.9 + now[k] * 0.1;
            near(mc_session_output(s, 3 + k), i, once * 0.9 + now[k] * 0.1);
        }
        const struct mc_array *y = mc_session_output(s, 0);
        double want = ((double)data[i * INNER] - now[0]) / sqrt(now[1] + 1e-5) * (0.5 + i) - 1 + i;
        near(y, i * INNER, want);
    }
    in[0] = array_of("x", MC_DTYPE_F32, 3, DIMS(0, C, INNER), data);
    run_ok(s, in, 2);
    for (int i = 0; i < C; i++) { /* an empty batch moves nothing */
        near(mc_session_output(s, 3), i, 2 + i);
        near(mc_session_output(s, 4), i, 1 + i);
    }
    mc_session_free(s);
    mc_model_free(m);
}

static size_t outputs_of(struct mc_model *m, unsigned flags, const struct mc_array *x, float *ret)
{
    struct mc_session_opts o = {.flags = flags};
    struct mc_session_stats stats;
    struct mc_session *s = session_of(m, &o);
    run_ok(s, x, 1);
    for (int i = 0; i < mc_session_n_outputs(s); i++) {
        const struct mc_array *a = mc_session_output(s, i);
        memcpy(ret, a->data, a->bytes);
        ret += a->bytes / sizeof *ret;
    }
    mc_session_stats(s, &stats);
    mc_session_free(s);
    return stats.fused_nodes;
}

/* Behind the node that keeps its statistics for the gradient, residual and activation are its epilogue; nothing
 * is joined where the planner may not. */
static void fused(void **state)
{
    (void)state;
    static const char *const acts[] = {"Relu", "Sigmoid", "HardSwish"};
    for (int i = 0; i < 3; i++) {
        struct mc_model *m = build_model(17);
        struct mc_graph *g = m->graph;
        struct mc_value *x = build_input(g, "x", MC_DTYPE_F32, 3, DIMS(-2, C, INNER)), *grad[2];
        struct mc_value *mean = params(g, "mean", 2), *var = params(g, "var", 1);
        struct mc_node *n;
        struct mc_value *y = batchnorm(g, "bn", x, mean, var, 15, &n);
        struct mc_value *wrt[2] = {n->in[1], n->in[2]}, *loss;
        if (i < 2)
            y = build_binary(g, "Add", "sum", y, x);
        y = build_unary(g, acts[i], "y", y);
        build_output(g, y);
        loss = build_unary(g, "ReduceMean", "loss", build_binary(g, "Mul", "square", y, y));
        loss->producer->version = 13;
        assert_int_equal(mc_edit_attr_int(loss->producer, "keepdims", 0, NULL), 0);
        size_t count;
        const char *why[2];
        struct mc_err err;
        build_ok(mc_batchnorm_train(g, &count, &err), &err);
        build_ok(mc_backward(g, loss, wrt, 2, NULL, grad, why, &err), &err);
        build_output(g, n->out[1]);
        for (int k = 0; k < 2; k++)
            build_output(g, grad[k]);
        float data[N * C * INNER], plain[N * C * INNER + 3 * C], joined[N * C * INNER + 3 * C];
        struct mc_array in =
            array_of("x", MC_DTYPE_F32, 3, DIMS(N, C, INNER), draw(data, N * C * INNER));
        assert_int_equal(outputs_of(m, MC_SESSION_NO_FUSE, &in, plain), 0);
        assert_true(outputs_of(m, 0, &in, joined) > 0);
        for (int k = 0; k < N * C * INNER + 3 * C; k++)
            if (!(fabsf(plain[k] - joined[k]) <= 1e-5F * (1 + fabsf(plain[k]))))
                fail_msg("%s: element %d is %g, not %g", acts[i], k, (double)joined[k],
                         (double)plain[k]);
        mc_model_free(m);
    }
}

/* A convolution does not take in a norm by the batch's statistics. */
static void behind_convolution(void **state)
{
    (void)state;
    struct mc_model *m = build_model(17);
    struct mc_graph *g = m->graph;
    struct mc_value *x = build_input(g, "x", MC_DTYPE_F32, 3, DIMS(-2, C, INNER));
    struct mc_value *w = random_const(g, "w", 3, DIMS(C, C, 1), 3);
    struct mc_value *mean = params(g, "mean", 2), *var = params(g, "var", 1);
    struct mc_node *n;
    build_output(g, batchnorm(g, "bn", build_binary(g, "Conv", "conv", x, w), mean, var, 15, &n));
    assert_int_equal(mc_edit_attr_int(n, "training_mode", 1, NULL), 0);
    float data[N * C * INNER], plain[N * C * INNER], joined[N * C * INNER];
    struct mc_array in =
        array_of("x", MC_DTYPE_F32, 3, DIMS(N, C, INNER), draw(data, N * C * INNER));
    outputs_of(m, MC_SESSION_NO_FUSE, &in, plain);
    outputs_of(m, 0, &in, joined);
    for (int k = 0; k < N * C * INNER; k++)
        assert_true(fabsf(plain[k] - joined[k]) <= 1e-5F * (1 + fabsf(plain[k])));
    mc_model_free(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(running),
        cmocka_unit_test(fused),
        cmocka_unit_test(behind_convolution),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
