#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/nearest.h"
#include "base/param.h"

static const struct mc_param own[] = {
    {MC_PARAM_REAL, "keep", 'k', false, NULL, "0.5", 0, 1, NULL, "fraction that remains"},
    {MC_PARAM_CHOICE, "svd", 0, false, NULL, "auto", 0, 0, "auto|exact|random", "method"},
    {MC_PARAM_BYTES, "mem", 0, false, NULL, NULL, 1, INFINITY, NULL, "memory limit"},
    {MC_PARAM_INT, "rank", 'r', false, NULL, NULL, 1, 4096, NULL, "rank of every layer"},
    {0},
};
static const struct mc_param common[] = {
    {MC_PARAM_FLAG, "quiet", 'q', false, NULL, NULL, 0, 0, NULL, "say only errors"},
    {MC_PARAM_FLAG, "verbose", 'v', false, NULL, NULL, 0, 0, NULL, "say more"},
    {MC_PARAM_TEXT, "report", 0, true, "FILE", NULL, 0, 0, NULL, "write a report"},
    {MC_PARAM_REAL, "min-sqnr", 0, false, "DB", NULL, 0, 0, NULL, "gate"},
    {0},
};
static const struct mc_param *const tables[] = {own, common};
static struct mc_err err;

static int parse(json_t **ret, const char *const *words)
{
    char *argv[16] = {"prog"};
    int argc = 1;
    for (; words[argc - 1]; argc++)
        argv[argc] = (char *)words[argc - 1];
    err.msg[0] = 0;
    return mc_param_parse(tables, 2, argc, argv, ret, &err);
}
#define PARSE(ret, ...) parse((ret), (const char *const[]){__VA_ARGS__, NULL})

static void forms_of_options(void **state)
{
    (void)state;
    json_t *v;
    assert_int_equal(PARSE(&v, "a.onnx", "--keep=0.25", "-qv", "--report", "r.json", "-", "-r12",
                           "--report=x=y.txt", "--min-sqnr", "-3.5", "--", "--keep"),
                     0);
    json_t *want =
        json_pack("{s:[s,s,s], s:f, s:b, s:b, s:[s,s], s:i, s:f, s:s}", "operands", "a.onnx", "-",
                  "--keep", "keep", 0.25, "quiet", 1, "verbose", 1, "report", "r.json", "x=y.txt",
                  "rank", 12, "min-sqnr", -3.5, "svd", "auto");
    assert_non_null(want);
    assert_true(json_equal(v, want));
    json_decref(want);
    json_decref(v);
}

static void defaults_and_missing(void **state)
{
    (void)state;
    json_t *v;
    assert_int_equal(PARSE(&v, "m"), 0);
    assert_true(mc_param_real(v, "keep", 7) == 0.5);
    assert_string_equal(mc_param_text(v, "svd"), "auto");
    assert_false(mc_param_flag(v, "quiet"));
    assert_false(mc_param_has(v, "mem"));
    assert_int_equal(mc_param_int(v, "rank", -1), -1);
    json_decref(v);
}

static void values_in_units(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        long long want; /* -1: refused */
    } sizes[] = {{"900k", 900000}, {"1.5Ki", 1536}, {"2GiB", 2147483648}, {"7", 7},  {"0", -1},
                 {"-1", -1},       {"1e30", -1},    {"5x", -1},           {"k", -1}, {"nan", -1},
                 {"", -1}};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        json_t *v;
        int rc = PARSE(&v, "--mem", sizes[i].text);
        assert_int_equal(rc, sizes[i].want < 0 ? MC_EUSAGE : 0);
        if (!rc) {
            assert_int_equal(mc_param_int(v, "mem", 0), sizes[i].want);
            json_decref(v);
        }
    }
    json_t *v;
    assert_int_equal(PARSE(&v, "--keep", "0.5%"), 0);
    assert_true(mc_param_real(v, "keep", 0) == 0.005);
    json_decref(v);
}

static void bad_input_says_what_to_do(void **state)
{
    (void)state;
    static const struct {
        const char *word[2], *says;
    } bad[] = {
        {{"--keep", "2"}, "--keep takes a number from 0 to 1, not '2'"},
        {{"--keep", "nan"}, "--keep takes a number from 0 to 1, not 'nan'"},
        {{"--keep", "0x1"}, "not '0x1'"},
        {{"-k", "0.5q"}, "-k takes a number"},
        {{"--keep", NULL}, "--keep needs a value: a number from 0 to 1"},
        {{"--svd=fast", NULL}, "--svd takes one of auto, exact, random, not 'fast'"},
        {{"--svd=", NULL}, "not ''"},
        {{"--svd=auto|exact", NULL}, "not 'auto|exact'"},
        {{"--rank", "99999999999999999999"}, "--rank takes a whole number from 1 to 4096"},
        {{"--rank", "1.5"}, "not '1.5'"},
        {{"--mem", "-4k"}, "--mem takes a size such as 900k or 1.5Gi of at least 1, not '-4k'"},
        {{"--quiet=1", NULL}, "--quiet takes no value"},
        {{"--kepe=1", NULL}, "unknown option '--kepe'; did you mean --keep?"},
        {{"--xyzzy", NULL}, "unknown option '--xyzzy'"},
        {{"-Z", NULL}, "unknown option '-Z'"},
        {{"-qZ", NULL}, "unknown option '-Z'"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        json_t *v = NULL;
        if (PARSE(&v, bad[i].word[0], bad[i].word[1]) != MC_EUSAGE)
            fail_msg("%s was accepted", bad[i].word[0]);
        assert_null(v);
        if (!strstr(err.msg, bad[i].says))
            fail_msg("got \"%s\", want \"%s\"", err.msg, bad[i].says);
    }
}

static void objects_from_recipes(void **state)
{
    (void)state;
    json_t *v = json_pack("{s:s, s:i}", "keep", "25%", "rank", 3);
    assert_int_equal(mc_param_validate(own, v, "step 2 (svd)", &err), 0);
    assert_true(mc_param_real(v, "keep", 0) == 0.25);
    assert_string_equal(mc_param_text(v, "svd"), "auto");
    json_object_set_new(v, "kep", json_true());
    assert_int_equal(mc_param_validate(own, v, "step 2 (svd)", &err), MC_EUSAGE);
    assert_string_equal(err.msg, "step 2 (svd): unknown option 'kep'; did you mean 'keep'?");
    json_object_del(v, "kep");
    json_object_set_new(v, "rank", json_real(2.5));
    assert_int_equal(mc_param_validate(own, v, "step 2 (svd)", &err), MC_EUSAGE);
    assert_string_equal(err.msg,
                        "step 2 (svd): 'rank' takes a whole number from 1 to 4096, not 2.5");
    json_decref(v);

    v = json_pack("{s:s, s:b}", "report", "a.txt", "quiet", 1);
    assert_int_equal(mc_param_validate(common, v, "here", &err), 0);
    assert_int_equal(json_array_size(json_object_get(v, "report")), 1);
    json_object_set_new(v, "report", json_pack("[s,i]", "a", 1)); /* a number is a text too */
    assert_int_equal(mc_param_validate(common, v, "here", &err), 0);
    assert_string_equal(json_string_value(json_array_get(json_object_get(v, "report"), 1)), "1");
    json_object_set_new(v, "report", json_pack("[s,b]", "a", 1));
    assert_int_equal(mc_param_validate(common, v, "here", &err), MC_EUSAGE);
    json_decref(v);
}

static void help_is_aligned_and_wrapped(void **state)
{
    (void)state;
    static const struct mc_param t[] = {
        {MC_PARAM_REAL, "keep", 'k', false, "R", "0.5", 0, 1, NULL,
         "fraction of the bytes that remains, over all layers together, where the ranks are "
         "chosen by measured error"},
        {MC_PARAM_TEXT, "a-name-that-is-rather-long", 0, true, "FILE", NULL, 0, 0, NULL, "short"},
        {0},
    };
    char *h = mc_param_help(t);
    assert_string_equal(
        h, "  -k, --keep R                fraction of the bytes that remains, over all layers "
           "together, where\n"
           "                              the ranks are chosen by measured error [0.5]\n"
           "      --a-name-that-is-rather-long FILE\n"
           "                              short; may be repeated\n");
    free(h);
}

static void nearest_words(void **state)
{
    (void)state;
    assert_int_equal(mc_nearest_distance("svd", "svd"), 0);
    assert_int_equal(mc_nearest_distance("", "abc"), 3);
    assert_int_equal(mc_nearest_distance("kitten", "sitting"), 3);
    assert_int_equal(mc_nearest_distance("sdv", "svd"), 1);
    struct mc_nearest n = {.word = "evla"};
    mc_nearest_offer(&n, "info");
    assert_null(n.name);
    mc_nearest_offer(&n, "eval");
    mc_nearest_offer(&n, "list");
    assert_string_equal(n.name, "eval");
}

static void json_takes_any_text(void **state)
{
    (void)state;
    static const struct {
        const char *in, *want;
    } rows[] = {
        {"plain \xc3\xa9", "plain \xc3\xa9"},
        {"a\xff"
         "b",
         "a\xef\xbf\xbd"
         "b"},
        {"\xc0\x80", "\xef\xbf\xbd\xef\xbf\xbd"},                                 /* overlong */
        {"\xed\xa0\x80x", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbdx"},               /* surrogate */
        {"\xf0\x9f\x98\x80\xf0\x9f", "\xf0\x9f\x98\x80\xef\xbf\xbd\xef\xbf\xbd"}, /* cut short */
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        json_t *t = mc_json_text(rows[i].in);
        assert_string_equal(json_string_value(t), rows[i].want);
        json_decref(t);
    }
    json_t *n = mc_json_real(NAN);
    assert_true(json_is_null(n));
    json_decref(n);
    bool ok = true;
    json_t *o = json_object();
    mc_json_put(o, "x", NULL, &ok);
    assert_false(ok);
    mc_json_put(o, "y", json_integer(3), &ok);
    assert_false(ok);
    assert_true(mc_json_number(o, "y", 0) == 3);
    json_decref(o);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(forms_of_options),     cmocka_unit_test(defaults_and_missing),
        cmocka_unit_test(values_in_units),      cmocka_unit_test(bad_input_says_what_to_do),
        cmocka_unit_test(objects_from_recipes), cmocka_unit_test(help_is_aligned_and_wrapped),
        cmocka_unit_test(nearest_words),        cmocka_unit_test(json_takes_any_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
