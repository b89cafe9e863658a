/* Learning rates: schedules, and the range test. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <string.h>

#include "train/range_test.h"
#include "train/schedule.h"

static double factor(enum mc_schedule_kind k, double warmup, int64_t step, int64_t total)
{
    return mc_schedule_factor(k, warmup, step, total);
}

static void near(double got, double want)
{
    if (!(fabs(got - want) <= 1e-12))
        fail_msg("%.15g is not %.15g", got, want);
}

static void schedules_have_their_values(void **state)
{
    (void)state;
    near(factor(MC_SCHEDULE_CONSTANT, 0, 7, 10), 1);
    near(factor(MC_SCHEDULE_CONSTANT, 0.4, 0, 10), 0.2);
    near(factor(MC_SCHEDULE_CONSTANT, 0.4, 3, 10), 0.8);
    near(factor(MC_SCHEDULE_CONSTANT, 0.4, 4, 10), 1);
    near(factor(MC_SCHEDULE_STEP, 0, 49, 100), 1);
    near(factor(MC_SCHEDULE_STEP, 0, 50, 100), 0.1);
    near(factor(MC_SCHEDULE_STEP, 0, 75, 100), 0.01);
    near(factor(MC_SCHEDULE_COSINE, 0, 0, 100), 1);
    near(factor(MC_SCHEDULE_COSINE, 0, 50, 100), 0.5);
    near(factor(MC_SCHEDULE_COSINE, 0.2, 60, 100), 0.5);
    near(factor(MC_SCHEDULE_COSINE, 0, 25, 100), (1 + sqrt(0.5)) / 2);
    /* as OneCycleLR(max_lr=1, total_steps=100, pct_start=0.3) has them */
    near(factor(MC_SCHEDULE_ONECYCLE, 0.3, 0, 100), 0.04);
    near(factor(MC_SCHEDULE_ONECYCLE, 0.3, 29, 100), 1);
    near(factor(MC_SCHEDULE_ONECYCLE, 0.3, 64, 100), 0.5 + 0.5 * 4e-6);
    near(factor(MC_SCHEDULE_ONECYCLE, 0.3, 99, 100), 4e-6);
}

static void rates_are_positive_whatever_the_length(void **state)
{
    (void)state;
    for (int k = 0; k <= MC_SCHEDULE_ONECYCLE; k++)
        for (int64_t total = 1; total < 12; total++)
            for (double w = 0; w <= 1; w += 0.25)
                for (int64_t i = 0; i < total; i++) {
                    double f = factor((enum mc_schedule_kind)k, w, i, total);
                    if (!(f > 0 && f <= 1))
                        fail_msg("schedule %d, warm-up %g: %g in update %d of %d", k, w, f, (int)i,
                                 (int)total);
                }
}

/* Gradient descent on sum h_i x_i² / 2, whose rate may be up to 2 / max h. */
struct quadratic {
    double x[3], h[3];
};

static int descend(void *ctx, int64_t batch, double lr, double *ret, struct mc_err *err)
{
    struct quadratic *q = ctx;
    (void)batch;
    (void)err;
    *ret = 0;
    for (int i = 0; i < 3; i++) {
        *ret += q->h[i] * q->x[i] * q->x[i] / 2;
        q->x[i] -= lr * q->h[i] * q->x[i];
    }
    return 0;
}

static void range_test_finds_a_rate_for_quadratics(void **state)
{
    (void)state;
    for (double scale = 1e-2; scale < 1e3; scale *= 7) {
        double x = 1 / sqrt(scale); /* the loss begins near 1 */
        struct quadratic q = {{x, x, x}, {1 * scale, 0.3 * scale, 0.1 * scale}};
        struct mc_range r;
        assert_int_equal(mc_range_test(descend, &q, 4, 1e-5, 1e4, &r, NULL), 0);
        /* it converges there, and no slower than a fiftieth of the fastest */
        if (!(r.pick < 2 / scale && r.pick > 2 / scale / 50))
            fail_msg("rate %g for a limit of %g", r.pick, 2 / scale);
        assert_true(r.n > 10 && r.n <= MC_RANGE_STEPS);
        assert_true(r.lr[0] == 1e-5);
    }
}

static int explode(void *ctx, int64_t batch, double lr, double *ret, struct mc_err *err)
{
    (void)batch;
    (void)err;
    *ret = *(double *)ctx > 0 && lr > *(double *)ctx ? NAN : 1;
    if (lr > *(double *)ctx)
        *(double *)ctx = -1;
    return 0;
}

static int broken(void *ctx, int64_t batch, double lr, double *ret, struct mc_err *err)
{
    (void)ctx;
    (void)batch;
    (void)lr;
    (void)err;
    *ret = NAN;
    return 0;
}

static void range_test_stops_where_the_loss_is_no_number(void **state)
{
    (void)state;
    double limit = 0.01;
    struct mc_range r;
    assert_int_equal(mc_range_test(explode, &limit, 4, 1e-6, 1, &r, NULL), 0);
    assert_true(r.pick < 0.01 && r.pick > 1e-5);
    assert_true(r.n < MC_RANGE_STEPS);
    struct mc_err err;
    assert_int_equal(mc_range_test(broken, NULL, 4, 1e-6, 1, &r, &err), MC_EFAIL);
    assert_non_null(strstr(err.msg, "not finite before"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(schedules_have_their_values),
        cmocka_unit_test(rates_are_positive_whatever_the_length),
        cmocka_unit_test(range_test_finds_a_rate_for_quadratics),
        cmocka_unit_test(range_test_stops_where_the_loss_is_no_number)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
