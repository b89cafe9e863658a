/* How many of a group stay, and which: compared with every choice there is. */
#include "prune_util.h"

static struct mc_coupling_group group_of(int64_t n, int a, const int32_t *part_a, int b,
                                         const int32_t *part_b)
{
    struct mc_coupling_group g = {.name = "g", .kind = "channels", .first = 3, .n = n, .nodes = 1};
    if (a > 1)
        g.partition[g.n_partitions++] = (struct mc_partition){a, part_a};
    if (b > 1)
        g.partition[g.n_partitions++] = (struct mc_partition){b, part_b};
    return g;
}

static bool is_even(const struct mc_coupling_group *g, unsigned stays, int64_t keep)
{
    for (int k = 0; k < g->n_partitions; k++)
        for (int p = 0; p < g->partition[k].parts; p++) {
            int64_t n = 0;
            for (int64_t i = 0; i < g->n; i++)
                n += (stays >> i & 1) && g->partition[k].part[i] == p;
            if (n != keep / g->partition[k].parts)
                return false;
        }
    return __builtin_popcount(stays) == keep;
}

/* The largest sum of scores that any even choice has. */
static double best_of(const struct mc_coupling_group *g, const double *score, int64_t keep)
{
    double best = -1;
    for (unsigned s = 0; s < 1u << g->n; s++) {
        double sum = 0;
        for (int64_t i = 0; i < g->n; i++)
            sum += s >> i & 1 ? score[i] : 0;
        if (sum > best && is_even(g, s, keep))
            best = sum;
    }
    return best;
}

static void check(const struct mc_coupling_group *g, int64_t keep, uint64_t seed)
{
    double score[16], sum = 0;
    bool gone[20] = {true, true, true};
    unsigned stays = 0;
    struct mc_err err;
    for (int i = 0; i < 16; i++)
        score[i] = (seed % 4 ? 1 : 0.1) *
                   floor(32 * (double)mc_rng_uniform(seed, 1, (uint64_t)i)); /* some are equal */
    build_ok(mc_coupling_choose(g, score, keep, gone, &err), &err);
    for (int64_t i = 0; i < g->n; i++)
        if (!gone[g->first + i]) {
            stays |= 1u << i;
            sum += score[i];
        }
    assert_true(gone[0] && gone[1] && gone[2]);
    assert_true(is_even(g, stays, keep));
    double best = best_of(g, score, keep);
    if (!(fabs(sum - best) <= 1e-9))
        fail_msg("seed %d, keep %d: %g of %g", (int)seed, (int)keep, sum, best);
}

static void the_best_stay(void **state)
{
    (void)state;
    static const int32_t halves[12] = {0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1};
    static const int32_t thirds[12] = {0, 1, 2, 0, 1, 2, 0, 1, 2, 0, 1, 2};
    static const int32_t pairs[12] = {0, 0, 0, 1, 1, 1, 1, 1, 1, 0, 0, 0};
    static const int32_t odd[12] = {0, 0, 0, 0, 1, 1, 0, 0, 1, 1, 1, 1}; /* cells of 4 and 2 */
    for (uint64_t seed = 0; seed < 40; seed++) {
        struct mc_coupling_group g = group_of(12, 1, NULL, 1, NULL);
        for (int64_t keep = 1; keep <= 12; keep++)
            check(&g, keep, seed);
        g = group_of(12, 2, halves, 1, NULL);
        for (int64_t keep = 2; keep <= 12; keep += 2)
            check(&g, keep, seed);
        g = group_of(12, 2, halves, 3, thirds);
        check(&g, 6, seed);
        g = group_of(12, 2, halves, 2, pairs);
        for (int64_t keep = 2; keep <= 12; keep += 2)
            check(&g, keep, seed);
        g = group_of(12, 2, halves, 2, odd);
        for (int64_t keep = 2; keep <= 12; keep += 2)
            check(&g, keep, seed);
    }
}

static void lower_positions_stay_where_scores_are_equal(void **state)
{
    (void)state;
    const struct mc_coupling_group g = group_of(6, 1, NULL, 1, NULL);
    const double score[6] = {1, 1, 2, 1, 1, 1};
    bool gone[9] = {false};
    assert_int_equal(mc_coupling_choose(&g, score, 3, gone, NULL), 0);
    const bool want[9] = {false, false, false, false, false, false, true, true, true};
    assert_memory_equal(gone, want, sizeof want);
}

static void counts_that_are_feasible(void **state)
{
    (void)state;
    static const int32_t thirds[12] = {0, 1, 2, 0, 1, 2, 0, 1, 2, 0, 1, 2};
    static const int32_t halves[12] = {0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1};
    const struct mc_coupling_group any = group_of(20, 1, NULL, 1, NULL);
    const struct mc_coupling_group three = group_of(12, 3, thirds, 1, NULL);
    const struct mc_coupling_group both = group_of(12, 3, thirds, 2, halves);
    static const struct {
        int which;
        int64_t keep, round_to, want;
    } cases[] = {
        {0, 0, 0, 1},  {0, -3, 1, 1}, {0, 7, 1, 7},   {0, 21, 1, 20}, {0, 1, 8, 8},
        {0, 11, 8, 8}, {0, 12, 8, 8}, {0, 13, 8, 16}, {0, 17, 8, 16}, {0, 19, 8, 20},
        {0, 7, 32, 7}, {1, 1, 1, 3},  {1, 4, 1, 3},   {1, 5, 1, 6},   {1, 12, 1, 12},
        {1, 5, 4, 12}, {2, 1, 1, 6},  {2, 10, 1, 12}, {2, 8, 1, 6},   {2, 8, 4, 12},
        {2, 5, 8, 6},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const struct mc_coupling_group *g = cases[i].which == 0   ? &any
                                            : cases[i].which == 1 ? &three
                                                                  : &both;
        int64_t got = mc_coupling_feasible(g, cases[i].keep, cases[i].round_to);
        if (got != cases[i].want)
            fail_msg("case %d: %d instead of %d", (int)i, (int)got, (int)cases[i].want);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_best_stay),
        cmocka_unit_test(lower_positions_stay_where_scores_are_equal),
        cmocka_unit_test(counts_that_are_feasible),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
