/* Names that options speak of, and names of items of a search. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <string.h>

#include "passes/layer/layer_named.h"
#include "passes/search/search.h"
#include "tests/graph/build.h"

static void expressions_are_found_anywhere(void **state)
{
    (void)state;
    struct mc_pattern p;
    struct mc_err err;
    build_ok(mc_pattern_open("only", "^/(fc|out)[0-9]+$", &p, &err), &err);
    assert_true(mc_pattern_fits(&p, "/fc12"));
    assert_false(mc_pattern_fits(&p, "/fc12/Gemm"));
    assert_false(mc_pattern_fits(&p, ""));
    mc_pattern_close(&p);
    build_ok(mc_pattern_open("only", "c1", &p, &err), &err);
    assert_true(mc_pattern_fits(&p, "/fc12"));
    mc_pattern_close(&p);
}

static void names_are_whole(void **state)
{
    (void)state;
    struct mc_pattern p = mc_pattern_name("block", "/fc.");
    assert_true(mc_pattern_fits(&p, "/fc."));
    assert_false(mc_pattern_fits(&p, "/fc1"));
    assert_false(mc_pattern_fits(&p, "/fc.."));
    mc_pattern_close(&p);
}

static void what_is_missed_is_named(void **state)
{
    (void)state;
    struct mc_pattern p;
    struct mc_err err = {0};
    assert_int_equal(mc_pattern_open("skip", "(", &p, &err), MC_EUSAGE);
    assert_non_null(strstr(err.msg, "--skip '(' is no regular expression: "));
    struct mc_nearest near = {.word = "/fc.weigth"};
    p = mc_pattern_name("block", near.word);
    assert_int_equal(mc_pattern_missed(&p, &near, &err), MC_EUSAGE);
    assert_string_equal(
        err.msg, "--block: no layer and no weight is named '/fc.weigth'; --dry-run lists them");
    mc_nearest_offer(&near, "/fc.weight");
    mc_pattern_missed(&p, &near, &err);
    assert_string_equal(err.msg, "--block: no layer and no weight is named '/fc.weigth'; did you "
                                 "mean '/fc.weight'?");
    build_ok(mc_pattern_open("only", "x+", &p, &err), &err);
    mc_pattern_missed(&p, NULL, &err);
    assert_string_equal(err.msg,
                        "--only: no layer and no weight matches 'x+'; --dry-run lists them");
    mc_pattern_close(&p);
}

/* By its weight, and by each node that multiplies by it. */
static void layers_have_several_names(void **state)
{
    (void)state;
    struct mc_err err;
    struct mc_layers l;
    struct mc_model *m = build_model(17);
    struct mc_graph *g = m->graph;
    struct mc_value *x = build_input(g, "x", MC_DTYPE_F32, 2, (const int64_t[]){-2, 8});
    struct mc_value *w = build_const(g, "w", MC_DTYPE_F32, 2, (const int64_t[]){8, 8}, NULL);
    build_output(g, build_binary(g, "MatMul", "b", build_binary(g, "MatMul", "a", x, w), w));
    build_ok(mc_layers_collect(m, &l, &err), &err);
    assert_int_equal(l.n, 1);
    const struct {
        const char *name;
        bool is;
    } names[] = {{"w", true}, {"a", true}, {"b", true}, {"x", false}, {"MatMul", false}};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        struct mc_pattern p = mc_pattern_name("only", names[i].name);
        assert_int_equal(mc_layer_is_called(&l.item[0], &p), names[i].is);
    }
    assert_null(mc_layer_call(m));
    assert_int_equal(mc_layer_none(m, "halved", &err), MC_EUNSUP);
    assert_string_equal(err.msg, "the model has no layers that could be halved");
    mc_layers_free(&l);
    mc_model_free(m);
}

static void items_get_names_of_their_own(void **state)
{
    (void)state;
    static const char *const want[] = {"cell", "cell (w)", "cell (w) 2", "fc", "cell (w) 3"};
    static const char *const node[] = {"cell", "cell", "cell", "fc", "cell"};
    enum { N = sizeof want / sizeof *want };
    struct mc_search_item item[N] = {0};
    struct mc_arena names = {0};
    for (size_t i = 0; i < N; i++) {
        item[i].name = mc_search_name(item, i, node[i], "w", &names);
        assert_string_equal(item[i].name, want[i]);
    }
    mc_arena_free(&names);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(expressions_are_found_anywhere),
        cmocka_unit_test(names_are_whole),
        cmocka_unit_test(what_is_missed_is_named),
        cmocka_unit_test(layers_have_several_names),
        cmocka_unit_test(items_get_names_of_their_own),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
