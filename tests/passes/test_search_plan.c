/* Plans against all combinations. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>

#include "base/rng.h"
#include "passes/search/search_plan.h"

enum { ITEMS = 5, OPTIONS = 6, CASES = 60 };

struct instance {
    double cost[ITEMS][OPTIONS], error[ITEMS][OPTIONS];
    struct mc_plan_item item[ITEMS];
};

/* Costs fall and errors rise with the option; every third case has costs and errors in any order. */
static void make(struct instance *t, uint64_t seed)
{
    for (int i = 0; i < ITEMS; i++) {
        double cost = 0, error = 0;
        for (int k = 0; k < OPTIONS; k++) {
            uint64_t at = (uint64_t)(i * OPTIONS + k);
            t->cost[i][k] = cost;
            t->error[i][k] = error;
            cost -= 1 + (double)mc_rng_below(seed, 1, at, 400);
            error += exp(4 * mc_rng_normal(seed, 2, at));
            if (seed % 3 == 0 && k) {
                cost = -(double)mc_rng_below(seed, 3, at, 1000);
                error = mc_rng_uniform(seed, 4, at);
            }
        }
        t->item[i] = (struct mc_plan_item){OPTIONS, t->cost[i], t->error[i]};
    }
}

static double sum(const struct instance *t, const size_t *choice, const double v[][OPTIONS])
{
    double s = 0;
    (void)t;
    for (int i = 0; i < ITEMS; i++)
        s += v[i][choice[i]];
    return s;
}

/* The least error of all combinations within a budget; INFINITY if there is none. */
static double brute(const struct instance *t, double budget)
{
    size_t c[ITEMS] = {0};
    double best = INFINITY;
    for (;;) {
        double e = sum(t, c, t->error);
        if (sum(t, c, t->cost) <= budget && e < best)
            best = e;
        int i = 0;
        while (i < ITEMS && ++c[i] == OPTIONS)
            c[i++] = 0;
        if (i == ITEMS)
            return best;
    }
}

static double least(const struct instance *t)
{
    double s = 0;
    for (int i = 0; i < ITEMS; i++) {
        double low = 0;
        for (int k = 0; k < OPTIONS; k++)
            low = fmin(low, t->cost[i][k]);
        s += low;
    }
    return s;
}

static void plans_are_the_best_of_all(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= CASES; seed++) {
        struct instance t;
        make(&t, seed);
        double low = least(&t);
        for (int b = 0; b <= 10; b++) {
            double budget = low * (1 - b / 10.0), cost, slack = ITEMS / (double)MC_PLAN_STEPS;
            size_t choice[ITEMS];
            assert_int_equal(mc_search_plan(t.item, ITEMS, budget, choice, &cost, NULL), 0);
            double error = sum(&t, choice, t.error);
            assert_true(fabs(cost - sum(&t, choice, t.cost)) < 1e-6);
            if (!(cost <= budget + 1e-9))
                fail_msg("seed %d: cost %g of %g", (int)seed, cost, budget);
            double bound = brute(&t, budget - slack * (budget - low));
            if (!(error <= bound * (1 + 1e-12) && error >= brute(&t, budget) * (1 - 1e-12)))
                fail_msg("seed %d budget %g: error %g, best %g", (int)seed, budget, error, bound);
        }
    }
}

static void what_cannot_be_reached_is_the_cheapest(void **state)
{
    (void)state;
    struct instance t;
    size_t choice[ITEMS];
    double cost;
    make(&t, 1);
    assert_int_equal(mc_search_plan(t.item, ITEMS, least(&t) - 1, choice, &cost, NULL), 0);
    assert_true(fabs(cost - least(&t)) < 1e-9);
}

static void nothing_to_choose(void **state)
{
    (void)state;
    double cost;
    size_t choice[1];
    assert_int_equal(mc_search_plan(NULL, 0, -5, choice, &cost, NULL), 0);
    assert_true(cost == 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(plans_are_the_best_of_all),
        cmocka_unit_test(what_cannot_be_reached_is_the_cheapest),
        cmocka_unit_test(nothing_to_choose),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
