/* test_prepare MODEL…: preparing a real model changes no output and does not grow its file. */
#include "run_util.h"

#include "formats/onnx.h"
#include "graph/run/fold.h"
#include "graph/verify.h"

enum { SAMPLES = 5, PIXELS = 28 * 28 };

static int n_models;
static char **models;

static void outputs_stay_and_files_do_not_grow(void **state)
{
    (void)state;
    float x[SAMPLES * PIXELS];
    size_t folded = 0, merged = 0;
    mc_rng_fill_uniform(1, 0, 0, x, SAMPLES * PIXELS);
    assert_true(n_models > 0);
    for (int i = 0; i < n_models; i++) {
        struct mc_model *m, *prepared;
        struct mc_fold_stats st;
        struct mc_err err;
        uint64_t before, after;
        build_ok(mc_onnx_read(models[i], &m, &err), &err);
        build_ok(mc_model_clone(m, &prepared, &err), &err);
        build_ok(mc_prepare(prepared, &st, &err), &err);
        build_ok(mc_verify(prepared, &err), &err);
        build_ok(mc_onnx_bytes(m, NULL, NULL, &before, &err), &err);
        build_ok(mc_onnx_bytes(prepared, NULL, NULL, &after, &err), &err);
        print_message("%s: %zu folded, %zu merged, %llu bytes -> %llu\n", models[i],
                      st.folded_nodes, st.merged_constants, (unsigned long long)before,
                      (unsigned long long)after);
        assert_true(after <= before);
        folded += st.folded_nodes;
        merged += st.merged_constants;
        struct mc_session *a = session_of(m, NULL), *b = session_of(prepared, NULL);
        struct mc_array in = array_of("input", MC_DTYPE_F32, 4, DIMS(SAMPLES, 1, 28, 28), x);
        run_ok(a, &in, 1);
        run_ok(b, &in, 1);
        expect_f32(mc_session_output(b, 0), 2, DIMS(SAMPLES, 10), mc_session_output(a, 0)->data, 0);
        mc_session_free(a);
        mc_session_free(b);
        mc_model_free(prepared);
        mc_model_free(m);
    }
    assert_true(folded > 0 && merged > 0);
}

int main(int argc, char **argv)
{
    n_models = argc - 1;
    models = argv + 1;
    const struct CMUnitTest tests[] = {cmocka_unit_test(outputs_stay_and_files_do_not_grow)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
