/* Recipes as texts: what is the same however it is spelled, and what is not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/recipe.h"

static struct mc_err err;

/* The recipe in its own words, and its digest. */
static char *text_of(const char *word, char hex[65])
{
    struct mc_recipe *r;
    if (mc_recipe_read(word, &r, &err))
        fail_msg("%s: %s", word, err.msg);
    char *text = mc_recipe_text(r);
    assert_non_null(text);
    assert_int_equal(mc_recipe_digest(r, hex, &err), 0);
    assert_int_equal(strlen(hex), 64);
    mc_recipe_free(r);
    return text;
}

static void texts_have_one_spelling(void **state)
{
    (void)state;
    static const struct {
        const char *given, *plain;
    } cases[] = {
        {"svd", "svd"},
        {"svd:", "svd"},
        {" svd : keep = 30% ", "svd:keep=0.3"},
        {"svd:keep=3e-1", "svd:keep=0.3"},
        {"svd:keep=.1", "svd:keep=0.1"},
        {"svd:norm=weights,keep=0.5", "svd:keep=0.5,norm=weights"},
        {"svd:norm=auto", "svd"},
        {"finetune:epochs=1,alpha=0.50", "finetune"},
        {"finetune:epochs=2.0,lr=1e-3", "finetune:epochs=2,lr=0.001"},
        {"finetune:reinit", "finetune:reinit"},
        {"finetune:reinit=true", "finetune:reinit"},
        {"finetune:reinit=false", "finetune"},
        {"finetune:mem=200M", "finetune:mem=200000000"},
        {"finetune:augment=\"flip,shift=2\"", "finetune:augment=\"flip,shift=2\""},
        {"finetune:augment='flip,shift=2',epochs=3", "finetune:epochs=3,augment=\"flip,shift=2\""},
        {"finetune:freeze=\"a\\\\\\\"b\"", "finetune:freeze=\"a\\\\\\\"b\""},
        {"finetune: augment = 'flip,shift=2' , reinit", "finetune:reinit,augment=\"flip,shift=2\""},
        {"finetune:freeze=^/1/.*$", "finetune:freeze=^/1/.*$"},
        {"finetune:blocks=a,blocks=b=c", "finetune:blocks=a,blocks=b=c"},
        {"svd,finetune,svd:keep=0.1", "svd,finetune,svd:keep=0.1"},
        {"svd:finetune=2,lr=0.1", "svd:finetune=2,lr=0.1"},
        {"distill:width=0.5,epochs=8", "distill:width=0.5"},
        {"distill:student=a:b.onnx", "distill:student=a:b.onnx"},
    };
    char one[65], two[65];
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *text = text_of(cases[i].given, one);
        if (strcmp(text, cases[i].plain))
            fail_msg("'%s' becomes '%s', not '%s'", cases[i].given, text, cases[i].plain);
        char *again = text_of(text, two); /* it is a recipe, and says the same */
        assert_string_equal(again, text);
        assert_string_equal(one, two);
        free(text);
        free(again);
    }
}

static void write_file(const char *path, const char *content)
{
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs(content, f);
    assert_int_equal(fclose(f), 0);
}

/* A file says what the text says; what it says for the run counts as well. */
static void files_are_texts(void **state)
{
    (void)state;
    char text_hex[65], hex[65], other[65];
    char *text = text_of("svd:keep=0.3,finetune:epochs=2,blocks=a,blocks=b", text_hex);
    write_file("r.yaml", "# three spellings\nname: x\nsteps:\n- svd: {keep: 0.3}\n"
                         "- finetune:\n    blocks: [a, b]\n    epochs: 2\n");
    char *yaml = text_of("r.yaml", hex);
    assert_string_equal(yaml, text);
    assert_string_equal(hex, text_hex);
    write_file("r.json", "{\"steps\": [\"svd:keep=0.3\", {\"finetune\": {\"epochs\": 2.0, "
                         "\"blocks\": [\"a\", \"b\"]}}]}");
    char *json = text_of("r.json", hex);
    assert_string_equal(json, text);
    assert_string_equal(hex, text_hex);
    write_file("r.yaml", "steps: svd:keep=0.3\ndata: a.npz\nmax-drop: 0.5%\n");
    free(text_of("r.yaml", hex));
    write_file("r.yaml", "max-drop: 0.005\ndata: \"a.npz\"\nsteps: [svd:keep=0.3]\n");
    free(text_of("r.yaml", other));
    assert_string_equal(hex, other);
    write_file("r.yaml", "max-drop: 0.006\ndata: a.npz\nsteps: [svd:keep=0.3]\n");
    free(text_of("r.yaml", other));
    assert_string_not_equal(hex, other);
    free(text_of("svd:keep=0.3", other));
    assert_string_not_equal(hex, other);
    free(text);
    free(yaml);
    free(json);
}

/* Options of the run have the types of the command line. */
static void options_of_the_run(void **state)
{
    (void)state;
    struct mc_recipe *r;
    write_file("r.yaml", "steps: [svd]\nmax-drop: 0.5%\nrequire: top1>=0.9\nseed: 7\nmem: 1M\n");
    assert_int_equal(mc_recipe_read("r.yaml", &r, &err), 0);
    const json_t *o = mc_recipe_options(r);
    assert_true(json_real_value(json_object_get(o, "max-drop")) == 0.005);
    assert_int_equal(json_array_size(json_object_get(o, "require")), 1);
    assert_int_equal(json_integer_value(json_object_get(o, "seed")), 7);
    assert_int_equal(json_integer_value(json_object_get(o, "mem")), 1000000);
    assert_int_equal(json_object_size(o), 4);
    mc_recipe_free(r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(texts_have_one_spelling),
        cmocka_unit_test(files_are_texts),
        cmocka_unit_test(options_of_the_run),
    };
    char dir[] = "/tmp/recipe.XXXXXX";
    if (!mkdtemp(dir) || chdir(dir))
        return 1;
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    unlink("r.yaml");
    unlink("r.json");
    if (chdir("/") || rmdir(dir))
        return 1;
    return failed;
}
