/* Quantisation that is trained: steps have no differences to compare with, so that the formulas of learned step sizes are
 * worked out here, element by element, and a small net is compared with one that torch differentiates. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "base/threads.h"
#include "fake_quant_numbers.h"
#include "graph/grad/rule.h"
#include "graph/run/session.h"
#include "graph/verify.h"
#include "graph_check.h"
#include "rule_check.h"
#include "tests/graph/build.h"

enum { MOST = 50000 };

struct setting {
    int rank;
    int64_t dims[4];
    int axis, block; /* axis -1: one scale */
    int lo, hi;
    bool zero, batched;
};

static int64_t count(const struct setting *s)
{
    int64_t n = 1;
    for (int i = 0; i < s->rank; i++)
        n *= s->dims[i];
    return n;
}

/* Shape of the scales, and which one element i has. */
static int scale_shape(const struct setting *s, int64_t *dims)
{
    if (s->axis < 0)
        return 0;
    if (!s->block) {
        dims[0] = s->dims[s->axis];
        return 1;
    }
    memcpy(dims, s->dims, sizeof s->dims);
    dims[s->axis] = (dims[s->axis] + s->block - 1) / s->block;
    return s->rank;
}

static int64_t scale_of(const struct setting *s, int64_t i)
{
    int64_t at[4], dims[4], k = 0;
    for (int d = s->rank; d-- > 0;) {
        at[d] = i % s->dims[d];
        i /= s->dims[d];
    }
    if (s->axis < 0 || !s->block)
        return s->axis < 0 ? 0 : at[s->axis];
    scale_shape(s, dims);
    at[s->axis] /= s->block;
    for (int d = 0; d < s->rank; d++)
        k = k * dims[d] + at[d];
    return k;
}

static struct mc_value *own(struct mc_graph *g, const char *op, const char *name, size_t n,
                            struct mc_value *const *in, struct mc_node **ret)
{
    struct mc_err err;
    struct mc_value *out = mc_edit_fresh(g, name);
    assert_non_null(out);
    build_ok(mc_edit_node(g, g->n_nodes, op, MC_GRAD_DOMAIN, 1, name, in, n, &out, 1, ret, &err),
             &err);
    return out;
}

static struct mc_value *fake(struct mc_graph *g, const char *name, struct mc_value *x,
                             struct mc_value *s, struct mc_value *z, int lo, int hi, int axis,
                             bool batched)
{
    struct mc_value *in[3] = {x, s, z};
    struct mc_node *n;
    struct mc_err err;
    struct mc_value *y = own(g, "FakeQuantize", name, z ? 3 : 2, in, &n);
    build_ok(mc_edit_attr_int(n, "lo", lo, &err), &err);
    build_ok(mc_edit_attr_int(n, "hi", hi, &err), &err);
    if (axis >= 0)
        build_ok(mc_edit_attr_int(n, "axis", axis, &err), &err);
    if (batched)
        build_ok(mc_edit_attr_int(n, "batched", 1, &err), &err);
    return y;
}

/* Σ w y as the output "loss". */
static void weigh(struct mc_graph *g, struct mc_value *y, struct mc_value *w)
{
    struct mc_err err;
    struct mc_value *one = build_unary(g, "ReduceSum", "loss", build_binary(g, "Mul", "wy", y, w));
    build_ok(mc_edit_attr_int(one->producer, "keepdims", 0, &err), &err);
    build_output(g, one);
}

/* What a value holds, in either type, as doubles. */
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
    assert_int_equal(mc_shape_count(&a->shape), n);
    build_ok(mc_dtype_to_f64((int)a->dtype, a->data, ret, (size_t)n, &err), &err);
    mc_session_free(s);
    mc_pool_free(pool);
}

static void compare(const char *what, struct mc_model *m, const char *name, const double *want,
                    int64_t n, double tol)
{
    double *got = malloc((size_t)n * sizeof *got);
    for (int run = 0; run < 3; run++) {
        double worst = 0, size = 0;
        values(m, name, run == 0, run, got, n);
        for (int64_t i = 0; i < n; i++) {
            worst = fmax(worst, fabs(got[i] - want[i]));
            size = fmax(size, fabs(want[i]));
            if (!(fabs(got[i] - want[i]) <= 1e9))
                fail_msg("%s[%d] is %g", what, (int)i, got[i]);
        }
        if (!(worst <= (run ? tol : 1e-9) * fmax(size, 1)))
            fail_msg("%s, run %d: error %g of %g", what, run, worst, size);
    }
    free(got);
}

static void check(const struct setting *s)
{
    static float x[MOST], w[MOST], scale[MOST];
    static double y[MOST], dx[MOST], ds[MOST];
    static int8_t zero[MOST];
    static const char *const names[] = {"x", "s"};
    int64_t n = count(s), dims[4], scales = 1;
    int rank = scale_shape(s, dims);
    uint64_t seed = grad_seed();
    for (int i = 0; i < rank; i++)
        scales *= dims[i];
    mc_rng_fill_normal(seed, 1, 0, x, (size_t)n);
    mc_rng_fill_normal(seed, 2, 0, w, (size_t)n);
    for (int64_t i = 0; i < scales; i++) {
        scale[i] =
            exp2f((float)(i % 3) - 2) * 0.5F; /* exact quotients: no rounding to argue about */
        zero[i] = (int8_t)(s->zero ? s->lo + (i + 2) % (s->hi - s->lo) : 0);
        ds[i] = 0;
    }
    for (int64_t i = 0; i < n; i++) { /* quarters of a step, inside the range and outside */
        int64_t k = scale_of(s, i);
        double step = (double)scale[k], v = rint((double)x[i] * 2 * (s->hi - s->lo)) / 4;
        x[i] = (float)(v * step);
        double lo = s->lo - zero[k], hi = s->hi - zero[k], q = rint(fmin(fmax(v, lo), hi));
        bool inside = v >= lo && v <= hi;
        y[i] = q * step;
        dx[i] = inside ? (double)w[i] : 0;
        ds[k] += (double)w[i] * (inside ? q - v : q);
    }
    double share = (double)n / (double)scales / (double)(s->batched ? s->dims[0] : 1);
    for (int64_t k = 0; k < scales; k++)
        ds[k] /= sqrt(share * fmax(s->hi - zero[k], zero[k] - s->lo - 1));
    struct mc_model *m = build_model(21);
    struct mc_graph *g = m->graph;
    struct mc_value *xv = build_const(g, "x", MC_DTYPE_F32, s->rank, s->dims, x), *grad[2];
    struct mc_value *sv = build_const(g, "s", MC_DTYPE_F32, rank, dims, scale);
    struct mc_value *zv = s->zero ? build_const(g, "z", MC_DTYPE_I8, rank, dims, zero) : NULL;
    struct mc_value *yv = fake(g, "y", xv, sv, zv, s->lo, s->hi, s->axis, s->batched);
    struct mc_err err;
    const char *why[2];
    if (s->block)
        build_ok(mc_edit_attr_int(yv->producer, "block_size", s->block, &err), &err);
    weigh(g, yv, build_const(g, "w", MC_DTYPE_F32, s->rank, s->dims, w));
    build_ok(graph_backward(m, "loss", names, 2, grad, why, &err), &err);
    compare("y", m, yv->name, y, n, 1e-6);
    compare("dx", m, grad[0]->name, dx, n, 1e-6);
    compare("ds", m, grad[1]->name, ds, scales, 1e-5);
    mc_model_free(m);
}

static void every_layout(void **state)
{
    static const struct setting settings[] = {
        {2, {5, 7}, -1, 0, -8, 7, false, false},
        {3, {4, 25, 300}, -1, 0, 0, 15, true, true}, /* more than one piece */
        {2, {37, 1100}, 0, 0, -7, 7, false, false},
        {2, {37, 1100}, 1, 0, -8, 7, true, false},
        {4, {9, 3, 3, 3}, 0, 0, -128, 127, true, false},
        {4, {3, 8, 3, 3}, 1, 0, -8, 7, false, false},
        {3, {2, 5, 7}, 2, 0, 0, 15, true, true},
        {2, {32, 6}, 0, 8, -8, 7, false, false},
        {2, {30, 1030}, 0, 8, -8, 7, true, false}, /* a last block that is short */
        {2, {6, 32}, 1, 16, -2, 1, true, false},
        {3, {2, 9, 4}, 1, 4, -8, 7, true, false},
        {2, {5, 6}, 1, 1, -8, 7, false, false},
    };
    (void)state;
    for (size_t i = 0; i < sizeof settings / sizeof *settings; i++)
        check(&settings[i]);
}

/* ---- torch ---- */

static struct mc_value *numbers(struct mc_graph *g, const char *name, int k, double by, int rank,
                                const int64_t *dims)
{
    float x[256];
    int64_t n = 1;
    for (int i = 0; i < rank; i++)
        n *= dims[i];
    for (int64_t i = 0; i < n; i++)
        x[i] = (float)sin(0.37 * (double)i * (double)i + k) * (float)by;
    return build_const(g, name, MC_DTYPE_F32, rank, dims, x);
}

/* The scale that has grown by exp(0.1); its growth is called name. */
static struct mc_value *grown(struct mc_graph *g, const char *name, int rank, int64_t n,
                              const float *start)
{
    char label[32];
    float by[4] = {0.1F, 0.1F, 0.1F, 0.1F};
    snprintf(label, sizeof label, "%s.start", name);
    struct mc_value *in[2] = {build_const(g, label, MC_DTYPE_F32, rank, &n, start)};
    in[1] = build_const(g, name, MC_DTYPE_F32, rank, &n, by);
    return own(g, "LearnedScale", label, 2, in, NULL);
}

static void as_torch(void **state)
{
    static const char *const names[] = {"w", "v", "xs", "ws", "rs", "vs"};
    static const double dw[] = LSQ_DW, dv[] = LSQ_DV, xs[] = LSQ_DX_SCALE, ws[] = LSQ_DW_SCALE,
                        rs[] = LSQ_DR_SCALE, vs[] = LSQ_DV_SCALE, loss[] = LSQ_LOSS;
    static const double *const want[] = {dw, dv, xs, ws, rs, vs};
    static const int64_t size[] = {54, 48, 1, 3, 1, 4};
    static const int64_t flat[] = {2, 12};
    static const int8_t seven = 7;
    (void)state;
    struct mc_model *m = build_model(21);
    struct mc_graph *g = m->graph;
    struct mc_node *node;
    struct mc_err err;
    struct mc_value *grad[6], *in[3];
    const char *why[6];
    in[0] = fake(g, "xq", numbers(g, "x", 0, 1, 4, (const int64_t[]){2, 2, 5, 5}),
                 grown(g, "xs", 0, 1, (const float[]){0.15F}),
                 build_const(g, "z", MC_DTYPE_U8, 0, NULL, &seven), 0, 15, -1, true);
    in[1] = fake(g, "wq", numbers(g, "w", 1, 1, 4, (const int64_t[]){3, 2, 3, 3}),
                 grown(g, "ws", 1, 3, (const float[]){0.11F, 0.13F, 0.07F}), NULL, -8, 7, 0, false);
    in[2] = numbers(g, "b", 4, 1.0 / 8, 1,
                    (const int64_t[]){3}); /* no sum is 0, where Relu has a kink */
    struct mc_value *y = build_node(g, "Conv", "c", 3, in, &node);
    build_ok(mc_edit_attr_ints(node, "strides", (const int64_t[]){2, 2}, 2, &err), &err);
    y = fake(g, "rq", build_unary(g, "Relu", "r", y), grown(g, "rs", 0, 1, (const float[]){0.3F}),
             NULL, 0, 15, -1, true);
    y = build_binary(g, "Reshape", "f", y,
                     build_const(g, "shape", MC_DTYPE_I64, 1, (const int64_t[]){2}, flat));
    in[0] = fake(g, "vq", numbers(g, "v", 2, 1, 2, (const int64_t[]){12, 4}),
                 grown(g, "vs", 1, 4, (const float[]){0.12F, 0.09F, 0.1F, 0.14F}), NULL, -7, 7, 1,
                 false);
    y = build_binary(g, "MatMul", "y", y, in[0]);
    weigh(g, y, numbers(g, "l", 3, 1.0 / 16, 2, (const int64_t[]){2, 4}));
    build_ok(graph_backward(m, "loss", names, 6, grad, why, &err), &err);
    compare("loss", m, "loss", loss, 1, 1e-5);
    for (int i = 0; i < 6; i++) {
        if (!grad[i])
            fail_msg("%s: %s", names[i], why[i]);
        compare(names[i], m, grad[i]->name, want[i], size[i], 1e-4);
    }
    mc_model_free(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_layout),
        cmocka_unit_test(as_torch),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
