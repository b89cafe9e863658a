/* The n-th allocation fails while the training form is made, and while it is left: that is said, and what there was is
 * freed (LeakSanitizer looks). */
#include "../run/alloc_hook.h"
#include "quant_train_net.h"

#include "passes/quant/train/quant_train.h"

/* Both ways once; false when memory ran out. The model is built before. */
static bool whole_run(long fails)
{
    struct mc_pass_ctx ctx = {0};
    struct mc_err err = {0};
    struct mc_model *m = net();
    allocations = 0;
    allocations_left = fails;
    int rc = mc_quant_open(&ctx, m, &err);
    rc = rc ? rc : mc_quant_close(&ctx, m, &err);
    bool failed = fails >= 0 && allocations_left < 0;
    allocations_left = -1;
    if (failed ? rc != MC_ENOMEM : rc != 0)
        fail_msg("allocation %ld: %d, '%s'", fails, rc, err.msg);
    mc_model_free(m);
    return !rc;
}

static void allocations_fail(void **state)
{
    (void)state;
    assert_true(whole_run(-1));
    long total = allocations;
    assert_true(total > 50);
    for (long n = 0; n < total; n++)
        assert_false(whole_run(n));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(allocations_fail)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
