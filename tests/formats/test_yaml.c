#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "formats/yaml.h"

static struct mc_err err;

static int parse(const char *text, bool json, struct mc_yaml *ret)
{
    return mc_yaml_parse(text, strlen(text), "r", json, ret, &err);
}

/* The text holds what this JSON says. */
static void same(const char *text, const char *json)
{
    struct mc_yaml y;
    json_t *want = json_loads(json, JSON_DECODE_ANY, NULL);
    assert_non_null(want);
    if (parse(text, false, &y))
        fail_msg("%s", err.msg);
    if (!json_equal(y.tree, want)) {
        char *got = json_dumps(y.tree, JSON_ENCODE_ANY);
        fail_msg("%s\nis %s, not %s", text, got, json);
    }
    json_decref(want);
    mc_yaml_free(&y);
}

static void scalars_have_types(void **state)
{
    (void)state;
    same("[1, -2, +3, 0x1F, 0o17, 007]", "[1, -2, 3, 31, 15, 7]");
    same("[0.5, .5, 5., 1e3, 1E-3, -0.0]", "[0.5, 0.5, 5.0, 1000.0, 0.001, -0.0]");
    same("[true, True, TRUE, false, null, ~, Null, ]",
         "[true, true, true, false, null, null, null]");
    same("[yes, no, on, y, .inf, .nan, 1_000, 0x, 0o9, 1e, e1, '.', -, 1.2.3]",
         "[\"yes\", \"no\", \"on\", \"y\", \".inf\", \".nan\", \"1_000\", \"0x\", \"0o9\", \"1e\", "
         "\"e1\", \".\", \"-\", \"1.2.3\"]");
    same("['1', \"true\", 'null', '', \"a\\tb\\u00e9\"]",
         "[\"1\", \"true\", \"null\", \"\", \"a\\tb\\u00e9\"]");
    same("[0.5%, 900k, bytes=900k, svd:keep=0.3, 2026-01-01, 12:30]",
         "[\"0.5%\", \"900k\", \"bytes=900k\", \"svd:keep=0.3\", \"2026-01-01\", \"12:30\"]");
    same("9223372036854775807", "9223372036854775807");
}

static void structure(void **state)
{
    (void)state;
    same("# a comment\nsteps:\n  - svd: {keep: 0.3} # another\n  - finetune\nname: >\n  one\n  "
         "two\n",
         "{\"steps\": [{\"svd\": {\"keep\": 0.3}}, \"finetune\"], \"name\": \"one two\\n\"}");
    same("a:\nb: |\n  x\n  y\nc: []\nd: {}\n",
         "{\"a\": null, \"b\": \"x\\ny\\n\", \"c\": [], \"d\": {}}");
    same("1: x\ntrue: y\n", "{\"1\": \"x\", \"true\": \"y\"}");
    same("\xef\xbb\xbf"
         "a: \xc3\xa9\r\nb: 2\r\n",
         "{\"a\": \"\xc3\xa9\", \"b\": 2}");
    same("--- \n- 1\n...\n", "[1]");
}

static void at(const struct mc_yaml *y, const char *path, int line, int column, int key_line,
               int key_column)
{
    struct mc_yaml_mark v = mc_yaml_at(y, path), k = mc_yaml_key_at(y, path);
    if (v.line != line || v.column != column || k.line != key_line || k.column != key_column)
        fail_msg("%s is at %d:%d, its key at %d:%d", path, v.line, v.column, k.line, k.column);
}

static void everything_has_its_place(void **state)
{
    (void)state;
    struct mc_yaml y;
    assert_int_equal(parse("steps:\n  - svd:\n      keep: 0.3\n  - {finetune: {epochs:  2}}\n"
                           "\xc3\xa9t\xc3\xa9: [a, \xc3\xa9, b]\n",
                           false, &y),
                     0);
    at(&y, "", 1, 1, 0, 0);
    at(&y, "/steps", 2, 3, 1, 1);
    at(&y, "/steps/0/svd", 3, 7, 2, 5);
    at(&y, "/steps/0/svd/keep", 3, 13, 3, 7);
    at(&y, "/steps/1/finetune/epochs", 4, 26, 4, 17);
    at(&y, "/\xc3\xa9t\xc3\xa9/2", 5, 13, 0, 0); /* characters, not bytes */
    at(&y, "/nothing", 0, 0, 0, 0);
    mc_yaml_free(&y);
    assert_int_equal(parse("{\n\t\"steps\": [\n\t\t{\"svd\": {\"keep\": 0.3}}]}\n", true, &y), 0);
    at(&y, "/steps/0/svd/keep", 3, 20, 3, 12);
    mc_yaml_free(&y);
    /* A pair of surrogates is JSON and no YAML: read all the same, its places are not known. */
    assert_int_equal(parse("{\"a\": \"\\ud83d\\ude00\"}", true, &y), 0);
    assert_string_equal(json_string_value(json_object_get(y.tree, "a")), "\xf0\x9f\x98\x80");
    mc_yaml_free(&y);
}

static const struct {
    const char *text, *message;
    bool json;
} broken[] = {
    {"", "'r' is empty", false},
    {"# nothing\n", "'r' is empty", false},
    {"a: 1\nb: 2\na: 3\n", "r:3:1: 'a' is given twice; first in line 1", false},
    {"a: {b: 1, b: 2}\n", "r:1:11: 'b' is given twice; first in line 1", false},
    {"a: 1\n---\nb: 2\n", "r:2:1: only one document is taken", false},
    {"a: &x [1]\nb: *x\n", "r:1:4: anchors and aliases are not taken", false},
    {"a: *x\n", "r:1:4: anchors and aliases are not taken", false},
    {"a: &x 1\n", "r:1:4: anchors and aliases are not taken", false},
    {"a: !!python/object:os.system [ls]\n", "r:1:4: tags are not taken", false},
    {"a: !x 1\n", "r:1:4: tags are not taken", false},
    {"!!map {a: 1}\n", "r:1:1: tags are not taken", false},
    {"? [1, 2]\n: 3\n", "r:1:3: a key must be a word", false},
    {"a: 99999999999999999999\n", "r:1:4: a number that is too large", false},
    {"a: 1e999\n", "r:1:4: a number that is too large", false},
    {"a: \"x\\0y\"\n", "r:1:4: a text must not hold a NUL character", false},
    {"a: [1, 2\nb: 3\n", "r:2:2: did not find expected ',' or ']' while parsing a flow sequence",
     false},
    {"a:\n\t- b\n",
     "r:2:1: found character that cannot start any token while scanning for the next token", false},
    {"a: b: c\n", "r:1:5: mapping values are not allowed in this context", false},
    {"a: 'x\n", "r:2:1: found unexpected end of stream while scanning a quoted scalar", false},
    {"a: 1\nb: \xff\xfe\n", "r:2:4: not UTF-8 text", false},
    {"\xff\xfe"
     "a\0:\0",
     "r:1:1: not UTF-8 text", false},
    {"a: \x01\n", "r:1:4: not UTF-8 text", false},
    {"{\"a\": 1, \"a\": 2}", "r:1:10: duplicate object key near '\"a\"'", true},
    {"{\"a\": 1,}", "r:1:9: string or '}' expected near '}'", true},
    {"{a: 1}", "r:1:2: string or '}' expected near 'a'", true},
    {"{'a': 1}", "r:1:2: string or '}' expected near '''", true},
    {"{\"a\": 01}", "r:1:7: invalid token near '0'", true},
    {"{\"a\": NaN}", "r:1:7: invalid token near 'NaN'", true},
    {"{\"a\": \"x\ny\"}", "r:1:7: unexpected newline near '\"x'", true},
    {"{\"a\": \"\\u0000\"}", "r:1:7: a text must not hold a NUL character", true},
    {"{\"a\": 1} x", "r:1:10: end of file expected near 'x'", true},
    {"", "r:1:1: unexpected token near end of file", true},
};

static void faults_are_named(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof broken / sizeof *broken; i++) {
        struct mc_yaml y = {0};
        int rc = parse(broken[i].text, broken[i].json, &y);
        if (rc != MC_EFORMAT || strcmp(err.msg, broken[i].message))
            fail_msg("%s\ngives %d, '%s', not '%s'", broken[i].text, rc, err.msg,
                     broken[i].message);
        assert_null(y.tree);
    }
}

/* Files that would make a parser take memory or time without end. */
static void limits(void **state)
{
    (void)state;
    struct mc_yaml y;
    enum { MUCH = 200000 };
    static char text[2 * MUCH + 1];
    memset(text, '[', MUCH);
    assert_int_equal(parse(text, false, &y), MC_EFORMAT);
    assert_string_equal(err.msg, "r:1:33: too many levels");
    for (int i = 0; i < MUCH; i++)
        memcpy(text + 2 * i, i ? "1," : "[1", 2);
    assert_int_equal(parse(text, false, &y), MC_EFORMAT); /* too large, before a look at it */
    assert_string_equal(err.msg, "'r' has more than 256 KiB, which no recipe needs");
    text[MUCH] = 0;
    assert_int_equal(parse(text, false, &y), MC_EFORMAT);
    assert_non_null(strstr(err.msg, "more than 10,000 parts"));
    memset(text, ' ', MUCH);
    memcpy(text, "a: \"", 4);
    strcpy(text + MUCH, "\"\n");
    assert_int_equal(parse(text, false, &y), 0); /* long is not wrong */
    mc_yaml_free(&y);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(scalars_have_types),
        cmocka_unit_test(structure),
        cmocka_unit_test(everything_has_its_place),
        cmocka_unit_test(faults_are_named),
        cmocka_unit_test(limits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
