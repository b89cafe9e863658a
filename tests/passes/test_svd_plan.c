#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/rng.h"
#include "passes/svd/svd_plan.h"

enum { LAYERS = 3, KNOWN = 7 };

/* Item i of a random problem: KNOWN ranks of equal cost, each worth less than the one before, and dense. */
static void random_item(uint64_t seed, int i, struct mc_svd_choice *c)
{
    double step[KNOWN + 1], sum = 0, left = 1;
    double weight = 0.1 + (double)mc_rng_uniform(seed, 2, (uint64_t)i);
    double unit = 20 + (double)mc_rng_below(seed, 3, (uint64_t)i, 30);
    double dense = 100 + (double)mc_rng_below(seed, 4, (uint64_t)i, 250);
    for (int k = 0; k <= KNOWN; k++)
        sum += step[k] = pow(0.3 + 0.5 * (double)mc_rng_uniform(seed, 0, (uint64_t)i), k) *
                         (1 + 1e-3 * (double)mc_rng_uniform(seed, 1, (uint64_t)(i * 100 + k)));
    *c = (struct mc_svd_choice){.offer = mc_calloc(KNOWN + 1, sizeof *c->offer)};
    assert_non_null(c->offer);
    for (int k = 0; k < KNOWN; k++) {
        left -= step[k] / sum;
        if ((k + 1) * unit < dense)
            c->offer[c->n++] = (struct mc_svd_offer){(k + 1) * unit, weight * left, 0, (uint32_t)k};
    }
    c->offer[c->n++] = (struct mc_svd_offer){dense, 0, MC_SVD_AS_IT_IS, 0};
    struct mc_err err;
    assert_int_equal(mc_svd_choice_make(c, &err), 0);
}

struct problem {
    struct mc_svd_choice c[LAYERS], *at[LAYERS];
};

static void problem_new(uint64_t seed, struct problem *p)
{
    for (int i = 0; i < LAYERS; i++) {
        random_item(seed, i, &p->c[i]);
        p->at[i] = &p->c[i];
    }
}

static void problem_free(struct problem *p)
{
    for (int i = 0; i < LAYERS; i++)
        mc_svd_choice_free(&p->c[i]);
}

static double error_of(const struct problem *p, double *ret_cost)
{
    double e = 0;
    *ret_cost = 0;
    for (int i = 0; i < LAYERS; i++) {
        e += p->c[i].offer[p->c[i].at].error;
        *ret_cost += p->c[i].offer[p->c[i].at].cost;
    }
    return e;
}

/* All combinations. */
static double least(const struct problem *p, double budget)
{
    double best = INFINITY;
    for (size_t a = 0; a < p->c[0].n; a++)
        for (size_t b = 0; b < p->c[1].n; b++)
            for (size_t d = 0; d < p->c[2].n; d++) {
                double cost = p->c[0].offer[a].cost + p->c[1].offer[b].cost + p->c[2].offer[d].cost;
                double e = p->c[0].offer[a].error + p->c[1].offer[b].error + p->c[2].offer[d].error;
                if (cost <= budget && e < best)
                    best = e;
            }
    return best;
}

/* The plan fits, leaves no room for a step that would gain, and is as good as every plan that has one of its
 * largest steps less to spend: what one price for all items can promise. */
static void against_all_combinations(void **state)
{
    (void)state;
    int tried = 0;
    for (uint64_t seed = 1; seed <= 300; seed++) {
        struct problem p;
        problem_new(seed, &p);
        double dense = 0, cost, gap = 0;
        for (int i = 0; i < LAYERS; i++) {
            const struct mc_svd_choice *c = &p.c[i];
            dense += c->offer[c->n - 1].cost;
            for (size_t k = 1; k < c->n_hull; k++)
                gap = fmax(gap, c->offer[c->hull[k]].cost - c->offer[c->hull[k - 1]].cost);
        }
        double budget = dense * (0.3 + 0.6 * (double)mc_rng_uniform(seed, 5, 0));
        if (isfinite(least(&p, budget - gap))) {
            tried++;
            double said = mc_svd_plan(p.at, LAYERS, budget), e = error_of(&p, &cost);
            assert_true(fabs(said - cost) < 1e-9);
            assert_true(cost <= budget);
            assert_true(e >= least(&p, budget) - 1e-12);
            if (!(e <= least(&p, budget - gap) + 1e-12))
                fail_msg("seed %d: error %g, %g with less", (int)seed, e, least(&p, budget - gap));
            for (int i = 0; i < LAYERS; i++) {
                size_t next = p.c[i].at + 1;
                assert_true(next == p.c[i].n ||
                            cost + p.c[i].offer[next].cost - p.c[i].offer[p.c[i].at].cost > budget);
            }
        }
        problem_free(&p);
    }
    assert_true(tried > 150);
}

static void ends_of_the_range(void **state)
{
    (void)state;
    struct problem p;
    problem_new(9, &p);
    double dense = 0, one = 0;
    for (int i = 0; i < LAYERS; i++) {
        dense += p.c[i].offer[p.c[i].n - 1].cost;
        one += p.c[i].offer[0].cost;
    }
    assert_true(mc_svd_plan(p.at, LAYERS, dense) == dense);
    assert_true(mc_svd_plan(p.at, LAYERS, one - 1) == one);
    assert_true(mc_svd_plan(p.at, LAYERS, 0) == one);
    for (int i = 0; i < LAYERS; i++)
        assert_int_equal(p.c[i].at, 0);
    assert_true(mc_svd_plan(p.at, 0, 10) == 0);
    problem_free(&p);
}

/* What is dearer and no better goes; the hull has falling slopes. */
static void offers_of_several_forms(void **state)
{
    (void)state;
    static const struct mc_svd_offer given[] = {
        {10, 8, 0, 0}, {20, 4, 0, 1},   {30, 2, 0, 2},   {12, 9, 1, 0},
        {22, 3, 1, 1}, {28, 2.9, 1, 2}, {20, 4.5, 1, 3}, {50, 0, MC_SVD_AS_IT_IS, 0}};
    enum { N = sizeof given / sizeof *given };
    struct mc_svd_choice c = {.offer = mc_calloc(N, sizeof *c.offer), .n = N};
    struct mc_err err;
    assert_non_null(c.offer);
    memcpy(c.offer, given, sizeof given);
    assert_int_equal(mc_svd_choice_make(&c, &err), 0);
    static const double cost[] = {10, 20, 22, 28, 30, 50};
    assert_int_equal(c.n, 6);
    for (size_t i = 0; i < c.n; i++)
        assert_true(c.offer[i].cost == cost[i]);
    static const size_t hull[] = {0, 2, 4, 5};
    assert_int_equal(c.n_hull, 4);
    assert_memory_equal(c.hull, hull, sizeof hull);
    mc_svd_choice_free(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(against_all_combinations),
        cmocka_unit_test(ends_of_the_range),
        cmocka_unit_test(offers_of_several_forms),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
