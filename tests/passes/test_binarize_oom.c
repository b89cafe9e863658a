/* The n-th allocation fails while layers are binarised, put in their training form and back, from what run() made and from a
 * file: an error is said, and what there was is freed (LeakSanitizer looks). */
#include "../run/alloc_hook.h"
#include "binarize_net.h"

#include "passes/binarize/binarize_form.h"
#include "passes/pass.h"

extern const struct mc_pass mc_pass_binarize;

enum { RUNS = 500 }; /* of thousands: every k-th allocation */

static int bytes_of(void *host, const struct mc_model *m, uint64_t *ret, struct mc_err *err)
{
    (void)host, (void)err;
    *ret = 0;
    for (size_t i = 0; i < m->graph->n_inits; i++)
        *ret += m->graph->inits[i]->tensor->bytes;
    return 0;
}

/* All of it once; false when memory ran out. What it is given is built before. */
static bool whole_run(const char *options, long fails)
{
    struct memory_data d;
    struct mc_model *m = binarize_net(), *given = binarize_net();
    struct mc_pass_ctx ctx = {
        .calib = net_data(&d), .calib_count = 8, .given = given, .bytes_of = bytes_of};
    struct mc_pass_stage stage;
    struct mc_err err = {0};
    json_t *o = json_loads(options, 0, NULL), *report = NULL;
    allocations = 0;
    allocations_left = fails;
    int rc = mc_pass_binarize.run(&ctx, o, m, &report, &err);
    rc = rc ? rc : mc_pass_binarize.convert(&ctx, o, m, &err);
    rc = rc ? rc : mc_pass_binarize.stage(&ctx, o, 0, m, &stage, &err);
    rc = rc ? rc : mc_pass_binarize.stage(&ctx, o, 1, m, &stage, &err);
    rc = rc ? rc : mc_pass_binarize.finish(&ctx, o, m, &err);
    rc = rc ? rc : mc_pass_binarize.reopen(&ctx, NULL, m, &err);
    rc = rc ? rc : mc_pass_binarize.finish(&ctx, NULL, m, &err);
    bool failed = fails >= 0 && allocations_left < 0;
    allocations_left = -1;
    if (!failed &&
        rc) /* a function that cannot be looked at for lack of memory is one that is not known */
        fail_msg("%s, allocation %ld: %d, '%s'", options, fails, rc, err.msg);
    json_decref(report);
    json_decref(o);
    mc_model_free(m);
    mc_model_free(given);
    return !rc;
}

static void allocations_fail(void **state)
{
    static const char *const how[] = {"{}", "{\"activations\": true}", "{\"body\": \"fast\"}",
                                      "{\"keep\": 1}"};
    (void)state;
    for (size_t i = 0; i < sizeof how / sizeof *how; i++) {
        assert_true(whole_run(how[i], -1));
        long total = allocations, survived = 0;
        assert_true(total > 100);
        for (long n = 0; n < total; n += 1 + total / RUNS)
            survived += whole_run(how[i], n);
        /* ranks that cannot be inferred, calls that cannot be looked at: not known, and left as they are */
        assert_true(survived < total / 3);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(allocations_fail)};
    return cmocka_run_group_tests_name("binarize_oom", tests, NULL, NULL);
}
