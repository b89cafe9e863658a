#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "passes/svd_plan.h"

enum { LAYERS = 3, KNOWN = 7 };

static double cost(const struct mc_svd_choice *c, const int64_t *rank, uint64_t *ret_bytes)
{
    double e = 0;
    *ret_bytes = 0;
    for (int i = 0; i < LAYERS; i++) {
        e += rank[i] ? c[i].weight * c[i].tail[rank[i]] : 0;
        *ret_bytes += rank[i] ? (uint64_t)rank[i] * c[i].rank_bytes : c[i].dense_bytes;
    }
    return e;
}

static bool saves(const struct mc_svd_choice *c, int64_t rank)
{
    return rank <= c->known && (uint64_t)rank * c->rank_bytes < c->dense_bytes;
}

/* All combinations. */
static double least(const struct mc_svd_choice *c, uint64_t budget)
{
    double best = INFINITY;
    int64_t r[LAYERS];
    for (r[0] = 0; r[0] <= KNOWN; r[0]++)
        for (r[1] = 0; r[1] <= KNOWN; r[1]++)
            for (r[2] = 0; r[2] <= KNOWN; r[2]++) {
                uint64_t bytes;
                bool valid = true;
                for (int i = 0; i < LAYERS; i++)
                    valid = valid && (r[i] == 0 || saves(&c[i], r[i]));
                double e = cost(c, r, &bytes);
                if (valid && bytes <= budget && e < best)
                    best = e;
            }
    return best;
}

static void random_layers(uint64_t seed, struct mc_svd_choice *c, double tail[LAYERS][KNOWN + 1])
{
    for (int i = 0; i < LAYERS; i++) {
        double step[KNOWN + 1], sum = 0;
        for (int k = 0; k <= KNOWN; k++) {
            uint64_t at = (uint64_t)(i * 100 + k);
            step[k] = pow(0.3 + 0.5 * (double)mc_rng_uniform(seed, 0, (uint64_t)i), k) *
                      (1 + 1e-3 * (double)mc_rng_uniform(seed, 1, at));
            sum += step[k];
        }
        for (int k = KNOWN; k >= 0; k--) /* the last step is what lies beyond the known */
            tail[i][k] = (k < KNOWN ? tail[i][k + 1] : 0) + step[k] / sum;
        c[i] = (struct mc_svd_choice){
            .weight = 0.1 + (double)mc_rng_uniform(seed, 2, (uint64_t)i),
            .tail = tail[i],
            .known = KNOWN,
            .rank_bytes = 20 + mc_rng_below(seed, 3, (uint64_t)i, 30),
            .dense_bytes = 100 + mc_rng_below(seed, 4, (uint64_t)i, 250),
        };
    }
}

/* The plan fits, leaves no room for the step that would gain, and is as good as every plan that has one of
 * its largest steps less to spend: what one price for all layers can promise. */
static void against_all_combinations(void **state)
{
    (void)state;
    int tried = 0;
    for (uint64_t seed = 1; seed <= 300; seed++) {
        struct mc_svd_choice c[LAYERS];
        double tail[LAYERS][KNOWN + 1];
        random_layers(seed, c, tail);
        uint64_t dense = 0, bytes, gap = 0;
        for (int i = 0; i < LAYERS; i++) {
            dense += c[i].dense_bytes;
            uint64_t last = 0; /* from the last rank that saves to dense, or one rank: the larger */
            for (int64_t r = 1; r <= KNOWN; r++)
                last = saves(&c[i], r) ? (uint64_t)r * c[i].rank_bytes : last;
            gap = last && c[i].dense_bytes - last > gap ? c[i].dense_bytes - last : gap;
            gap = c[i].rank_bytes > gap ? c[i].rank_bytes : gap;
        }
        uint64_t budget =
            (uint64_t)((double)dense * (0.3 + 0.6 * (double)mc_rng_uniform(seed, 5, 0)));
        if (!isfinite(least(c, budget - gap)))
            continue;
        tried++;
        uint64_t said = mc_svd_plan(c, LAYERS, budget);
        int64_t rank[LAYERS] = {c[0].rank, c[1].rank, c[2].rank};
        double e = cost(c, rank, &bytes);
        assert_int_equal(said, bytes);
        assert_true(bytes <= budget);
        assert_true(e >= least(c, budget) - 1e-12);
        if (!(e <= least(c, budget - gap) + 1e-12))
            fail_msg("seed %d: error %g, %g with less", (int)seed, e, least(c, budget - gap));
        for (int i = 0; i < LAYERS; i++) {
            bool more = rank[i] && saves(&c[i], rank[i] + 1);
            assert_true(!more || bytes + c[i].rank_bytes > budget);
            assert_true(rank[i] == 0 || saves(&c[i], rank[i]));
        }
    }
    assert_true(tried > 150);
}

static void ends_of_the_range(void **state)
{
    (void)state;
    struct mc_svd_choice c[LAYERS];
    double tail[LAYERS][KNOWN + 1];
    random_layers(9, c, tail);
    uint64_t dense = c[0].dense_bytes + c[1].dense_bytes + c[2].dense_bytes;
    assert_int_equal(mc_svd_plan(c, LAYERS, dense), dense);
    uint64_t one = c[0].rank_bytes + c[1].rank_bytes + c[2].rank_bytes;
    assert_int_equal(mc_svd_plan(c, LAYERS, one - 1), one);
    assert_int_equal(mc_svd_plan(c, LAYERS, 0), one);
    for (int i = 0; i < LAYERS; i++)
        assert_int_equal(c[i].rank, 1);
    c[1].known = 0; /* a layer nothing is known of stays */
    mc_svd_plan(c, LAYERS, 0);
    assert_int_equal(c[1].rank, 0);
    assert_int_equal(mc_svd_plan(c, 0, 10), 0);
}

static void rank_for_a_share(void **state)
{
    (void)state;
    const double tail[] = {1, 0.5, 0.2, 0.05};
    struct mc_svd_choice c = {.tail = tail, .known = 3};
    assert_int_equal(mc_svd_rank_for(&c, 0.5), 1);
    assert_int_equal(mc_svd_rank_for(&c, 0.49), 2);
    assert_int_equal(mc_svd_rank_for(&c, 0.05), 3);
    assert_int_equal(mc_svd_rank_for(&c, 0.04), 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(against_all_combinations),
        cmocka_unit_test(ends_of_the_range),
        cmocka_unit_test(rank_for_a_share),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
