/* Gradients through QuantizeLinear and DequantizeLinear: steps have no differences to compare with, so that the
 * formulas of learned step sizes are worked out here, element by element. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <math.h>
#include <string.h>

#include "base/rng.h"
#include "rule_check.h"
#include "graph/grad/backward.h"
#include "graph/run/session.h"
#include "graph/verify.h"
#include "graph_check.h"
#include "tests/graph/build.h"

enum { ROWS = 5, COLS = 7, SIZE = ROWS * COLS };

struct setting {
    enum mc_dtype type;
    double lo, hi;
    int axis;    /* -1: one scale */
    bool zero;   /* a zero point is given */
    float other; /* the way back has this times the scale */
};

static int scale_of(const struct setting *s, int i)
{
    return s->axis < 0 ? 0 : s->axis == 0 ? i / COLS : i % COLS;
}

static int scales(const struct setting *s)
{
    return s->axis < 0 ? 1 : s->axis == 0 ? ROWS : COLS;
}

/* x -> QuantizeLinear -> DequantizeLinear; loss = Σ w y. */
static struct mc_model *make(const struct setting *s, const float *x, const float *w,
                             const float *scale, const int8_t *zero)
{
    struct mc_model *m = build_model(21);
    struct mc_graph *g = m->graph;
    const int64_t dims[] = {ROWS, COLS}, n[] = {scales(s)};
    float back[COLS];
    struct mc_node *node;
    struct mc_err err;
    struct mc_value *in[3], *q, *y, *one;
    for (int i = 0; i < scales(s); i++)
        back[i] = scale[i] * s->other;
    in[0] = build_const(g, "x", MC_DTYPE_F32, 2, dims, x);
    in[1] = build_const(g, "s", MC_DTYPE_F32, s->axis >= 0, n, scale);
    in[2] = s->zero ? build_const(g, "z", s->type, s->axis >= 0, n, zero) : NULL;
    q = build_node(g, "QuantizeLinear", "q", s->zero ? 3 : 2, in, &node);
    if (s->axis >= 0)
        build_ok(mc_edit_attr_int(node, "axis", s->axis, &err), &err);
    if (!s->zero)
        build_ok(mc_edit_attr_int(node, "output_dtype", s->type, &err), &err);
    in[0] = q;
    in[1] = build_const(g, "t", MC_DTYPE_F32, s->axis >= 0, n, back);
    y = build_node(g, "DequantizeLinear", "y", s->zero ? 3 : 2, in, &node);
    if (s->axis >= 0)
        build_ok(mc_edit_attr_int(node, "axis", s->axis, &err), &err);
    one = build_binary(g, "Mul", "wy", y, build_const(g, "w", MC_DTYPE_F32, 2, dims, w));
    one = build_unary(g, "ReduceSum", "loss", one);
    build_ok(mc_edit_attr_int(one->producer, "keepdims", 0, &err), &err);
    build_output(g, one);
    return m;
}

/* What a value holds, in float64. */
static void values(struct mc_model *m, const char *name, double *ret, int n)
{
    struct mc_session *s;
    struct mc_err err;
    struct mc_session_opts o = {.precision = MC_PRECISION_F64, .only = &name, .n_only = 1};
    build_ok(mc_verify(m, &err), &err);
    build_ok(mc_session_new(m->graph, &o, &s, &err), &err);
    build_ok(mc_session_run(s, NULL, 0, &err), &err);
    assert_int_equal(mc_session_value(s, name)->bytes, (size_t)n * sizeof *ret);
    memcpy(ret, mc_session_value(s, name)->data, (size_t)n * sizeof *ret);
    mc_session_free(s);
}

static void compare(const char *what, const double *got, const double *want, int n)
{
    for (int i = 0; i < n; i++)
        if (!(fabs(got[i] - want[i]) <= 1e-12 * fmax(1, fabs(want[i]))))
            fail_msg("%s[%d] is %.15g, not %.15g", what, i, got[i], want[i]);
}

static void check(const struct setting *s)
{
    static const char *const names[] = {"x", "s", "t"};
    float x[SIZE], w[SIZE], scale[COLS];
    int8_t zero[COLS];
    double dx[SIZE], want[SIZE], ds[COLS] = {0}, dt[COLS] = {0}, got[COLS];
    struct mc_value *grad[3];
    const char *why[3];
    struct mc_err err;
    uint64_t seed = grad_seed();
    mc_rng_fill_normal(seed, 1, 0, x, SIZE);
    mc_rng_fill_normal(seed, 2, 0, w, SIZE);
    for (int i = 0; i < COLS; i++) {
        scale[i] = (float)(1.5 / (s->hi - s->lo) * (1 + i)); /* some are cut off, some are not */
        zero[i] = (int8_t)(s->zero ? i + 1 : 0);
    }
    for (int i = 0; i < SIZE; i += 2) { /* half of them about the ends of the range */
        static const float about[] = {-0.4F, 0.4F, -0.6F, 0.6F, 0.1F};
        double end = (i / 2 % 2 ? s->hi : s->lo) - zero[scale_of(s, i)];
        x[i] = scale[scale_of(s, i)] * ((float)end + about[i / 2 % 5]);
    }
    for (int i = 0, k; i < SIZE; i++) {
        k = scale_of(s, i);
        double step = (double)scale[k], r = (double)x[i] / step, z = zero[k];
        double q = fmin(fmax(rint((double)((float)x[i] / scale[k])) + z, s->lo), s->hi);
        bool inside = r + z > s->lo - 0.5 && r + z < s->hi + 0.5;
        double dq = (double)w[i] * (double)(scale[k] * s->other);
        want[i] = inside ? dq / step : 0;
        ds[k] -= inside ? dq * r / step : 0;
        dt[k] += (double)w[i] * (q - z);
    }
    struct mc_model *m = make(s, x, w, scale, zero);
    build_ok(graph_backward(m, "loss", names, 3, grad, why, &err), &err);
    for (int i = 0; i < 3; i++)
        if (!grad[i])
            fail_msg("%s: %s", names[i], why[i]);
    values(m, grad[0]->name, dx, SIZE);
    compare("dx", dx, want, SIZE);
    values(m, grad[1]->name, got, scales(s));
    compare("gradient of the first scale", got, ds, scales(s));
    values(m, grad[2]->name, got, scales(s));
    compare("gradient of the second scale", got, dt, scales(s));
    mc_model_free(m);
}

static void straight_through(void **state)
{
    static const struct setting settings[] = {
        {MC_DTYPE_I8, -128, 127, -1, false, 1}, {MC_DTYPE_I8, -128, 127, 0, true, 1},
        {MC_DTYPE_U8, 0, 255, -1, true, 1},     {MC_DTYPE_U8, 0, 255, 1, true, 0.5F},
        {MC_DTYPE_I8, -128, 127, 1, false, 2},  {MC_DTYPE_I16, -32768, 32767, 0, false, 1},
    };
    (void)state;
    for (size_t i = 0; i < sizeof settings / sizeof *settings; i++)
        check(&settings[i]);
}

/* A weight that is stored as whole numbers has a scale that moves, and does not move itself. */
static void stored(void **state)
{
    (void)state;
    grad_check("DequantizeLinear", 13, "", "j[2x3]:-7,3,120,4,-128,9 +s");
    grad_check("DequantizeLinear", 13, "axis=0", "u[2x3]:7,3,120,4,128,9 +2 u:3,128");
    grad_check("DequantizeLinear", 21, "axis=1", "j[2x3x2]:7,3,12,4,-128,9,1,2,3,4,5,6 c:3");
    grad_check_refused("DequantizeLinear", 21, "axis=1 block_size=2", "j[2x4]:7,3,1,2,4,5,6,7 +2x2",
                       "blocks");
    grad_check_refused("DynamicQuantizeLinear", 11, "", "2x3", "measured");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(straight_through),
        cmocka_unit_test(stored),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
