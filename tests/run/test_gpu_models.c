/* test_gpu_models MODEL…: each gives the same on a GPU as on the CPU, for batches of two sizes, run by run and
 * recorded; what the CPU had to do is printed. */
#include "gpu_util.h"

#include "formats/onnx.h"

#define TOLERANCE 2e-4 /* float32 sums in other orders, through all layers of the deepest */

static char **models;

/* Free dimensions are `batch`. */
static void fill(struct mc_array *a, const struct mc_array *declared, int64_t batch, uint64_t seed)
{
    *a = *declared;
    for (int d = 0; d < a->shape.rank; d++)
        a->shape.dim[d] = a->shape.dim[d] < 0 ? batch : a->shape.dim[d];
    assert_int_equal(a->dtype, MC_DTYPE_F32);
    assert_true(mc_dtype_bytes(a->dtype, mc_shape_count(&a->shape), &a->bytes));
    a->data = malloc(a->bytes + 1);
    assert_non_null(a->data);
    gpu_draw(a->data, a->bytes / sizeof(float), seed);
}

static void run_model(const char *path, const struct gpu_pool *pool)
{
    struct mc_model *m;
    struct mc_err err;
    struct mc_array in[2];
    build_ok(mc_onnx_read(path, &m, &err), &err);
    struct gpu_pair p = gpu_pair_open(m, pool, NULL, NULL);
    int n = mc_session_n_inputs(p.gpu);
    assert_true(n <= 2);
    for (uint64_t run = 1; run <= 4; run++) {
        for (int i = 0; i < n; i++)
            fill(&in[i], mc_session_input(p.gpu, i), run == 4 ? 1 : 3, run);
        gpu_pair_run(&p, in, n, TOLERANCE);
        for (int i = 0; i < n; i++)
            free(in[i].data);
    }
    struct mc_session_stats st = gpu_stats(p.gpu);
    struct mc_session_fallback f;
    print_message("%s: %zu steps, %zu on the CPU, %zu copies\n", path, st.nodes, st.fallback_nodes,
                  st.copies);
    for (int i = 0; mc_session_fallback(p.gpu, i, &f); i++)
        print_message("    %s (%zu) %s\n", f.op_type, f.nodes, f.why);
    gpu_pair_free(&p);
    mc_model_free(m);
}

static void all(void **state)
{
    struct gpu_pool pool = gpu_pool_open();
    for (char **path = models; *path; path++)
        run_model(*path, &pool);
    gpu_pool_close(&pool);
    (void)state;
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(all)};
    models = argv + (argc > 0);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
