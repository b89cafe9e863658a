/* test_coupling MODEL…: which units there are. */
#include "prune_util.h"

#include "formats/onnx.h"
#include "graph/run/fold.h"

static int n_models;
static char **models;

static void real_models_are_cut_right(void **state)
{
    (void)state;
    assert_true(n_models > 0);
    for (int i = 0; i < n_models; i++) {
        struct mc_model *m;
        struct mc_err err;
        build_ok(mc_onnx_read(models[i], &m, &err), &err);
        build_ok(mc_prepare(m, NULL, &err), &err);
        build_ok(mc_coupling_prepare(m, &err), &err);
        print_message("%s\n", models[i]);
        assert_true(prune_check(m, 0.5, 1, true) <= 1e-5);
        mc_model_free(m);
    }
}

int main(int argc, char **argv)
{
    n_models = argc - 1;
    models = argv + 1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(real_models_are_cut_right),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
