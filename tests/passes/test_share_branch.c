/* Weights in branches, and of branches: shared where they are. */
#include "share_util.h"

/* A convolution in a branch, its filters of 4 kinds in the branch or outside. */
static struct mc_model *a_branch(bool inside)
{
    static const char *const branch[] = {"then_branch", "else_branch"};
    static const bool yes = true;
    struct mc_model *m = build_model(17);
    struct mc_graph *g = m->graph;
    struct mc_node *n;
    struct mc_err err;
    float *w = gaussian(5, 16 * 54);
    for (int i = 4 * 54; i < 16 * 54; i++)
        w[i] = -1.5F * w[i % (4 * 54)];
    build_input(g, "x", MC_DTYPE_F32, 4, DIMS(-1, 6, 5, 5));
    if (!inside)
        f32_const(g, "w", 4, DIMS(16, 6, 3, 3), w);
    struct mc_value *c = build_const(g, "c", MC_DTYPE_BOOL, 0, NULL, &yes);
    struct mc_value *y = build_node(g, "If", "if", 1, &c, &n);
    for (int i = 0; i < 2; i++) {
        struct mc_graph *body = mc_edit_graph(m, g, n, branch[i]);
        build_ok(mc_edit_attr_graph(n, branch[i], body, &err), &err);
        struct mc_value *x = mc_edit_resolve(body, "x");
        build_output(body, i ? build_unary(body, "Neg", "neg", x)
                             : build_binary(body, "Conv", "inner", x,
                                            inside ? f32_const(body, "w", 4, DIMS(16, 6, 3, 3), w)
                                                   : mc_edit_resolve(body, "w")));
    }
    build_output(g, y);
    free(w);
    return m;
}

static void branches_are_shared_where_they_are(void **state)
{
    struct mc_pass_ctx ctx = svd_ctx(NULL);
    (void)state;
    for (int i = 0; i < 4; i++) {
        struct mc_model *m = a_branch(i % 2), *was = clone_of(m);
        struct mc_err err;
        json_t *report;
        build_ok(share(&ctx, m, i / 2 ? "{'filters': 0.25}" : "{'bits': 8}", &report, &err), &err);
        const char *action = mc_json_string(layer_row(report, "inner"), "action");
        assert_string_equal(action, "shared");
        double e = change(was, m, 4, DIMS(2, 6, 5, 5));
        if (!(e < (i / 2 ? 1e-10 : 1e-4)))
            fail_msg("%d: %g", i, e);
        json_decref(report);
        mc_model_free(m);
        mc_model_free(was);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(branches_are_shared_where_they_are),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
