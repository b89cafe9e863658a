#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above */
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "formats/report_format.h"

static const char source[] =
    "{\"command\": \"batch\", \"arguments\": [\"batch\", \"svd\", \"in dir\", \"-o\", \"out\"],"
    " \"batch\": {\"recipe\": \"svd:keep=0.5\", \"folder\": \"in dir\", \"output\": \"out\"},"
    " \"models\": ["
    "  {\"path\": \"a.onnx\", \"status\": \"done\", \"input\": {\"bytes\": 1000}, \"output\": "
    "{\"bytes\": 500}, \"drop\": {\"top1\": 0.0125, \"of\": \"labels\"}, \"seconds\": 1.25},"
    "  {\"path\": \"b<script>|`\\n\\u001b[31m.onnx\", \"status\": \"failed\", \"reason\": \"no "
    "<b>model</b>\", \"stale_output\": \"out/b\", \"seconds\": 0.5},"
    "  {\"path\": \"c/c.onnx\", \"status\": \"gate\", \"reason\": \"too far\", \"input\": "
    "{\"bytes\": "
    "3000000}, \"output\": {\"bytes\": 3000000}, \"drop\": {\"top1\": 0.25, \"of\": \"agreement\"},"
    "  \"seconds\": 100},"
    "  {\"path\": \"d.onnx\", \"status\": \"todo\", \"reason\": \"no result yet\"}],"
    " \"totals\": {\"models\": 4, \"done\": 1, \"failed\": 1, \"gate\": 1, \"todo\": 1, "
    "\"bytes_before\": 3001000, \"bytes_after\": 3000500},"
    " \"run\": {\"seconds\": 101, \"jobs\": 2, \"threads\": 1, \"done_before\": 1}}";

static json_t *tree;

/* The line of a text that begins with `begin` behind blanks, cut at its end. */
static char *line_of(const char *text, const char *begin)
{
    for (const char *at = text; (at = strstr(at, begin)); at++) {
        const char *from = at;
        while (from > text && from[-1] == ' ')
            from--;
        if (from == text || from[-1] == '\n')
            return strndup(at, strcspn(at, "\n"));
    }
    fail_msg("no line begins with '%s' in:\n%s", begin, text);
    return NULL;
}

static void check_line(const char *text, const char *begin, const char *expected)
{
    char *line = line_of(text, begin), *to = line;
    for (const char *c = line; *c; c++) /* one blank between words */
        if (*c != ' ' || c[1] != ' ')
            *to++ = *c;
    *to = 0;
    assert_string_equal(line, expected);
    free(line);
}

static void as_text(void **state)
{
    (void)state;
    char *text = mc_report_txt(tree);
    assert_non_null(text);
    check_line(text, "in dir", "in dir -> out, svd:keep=0.5");
    check_line(text, "a.onnx", "a.onnx 1.00 kB -> 500 B 50.0 % -1.25 points 1.2 s done");
    check_line(text, "c/c.onnx",
               "c/c.onnx 3.00 MB -> 3.00 MB 100.0 % 25.00 % changed 1 min 40 s missed");
    check_line(text, "b<script>|`??[31m.onnx:",
               "b<script>|`??[31m.onnx: no <b>model</b> (the file there is of an earlier run)");
    check_line(text, "c/c.onnx:", "c/c.onnx: too far");
    check_line(text, "d.onnx:", "d.onnx: no result yet");
    check_line(text, "4 models",
               "4 models: 1 done, 1 failed, 1 missed a gate, 1 to do; 3.00 MB -> "
               "3.00 MB, 100.0 %");
    check_line(text, "1 min 41 s",
               "1 min 41 s, 2 at once, 1 thread each; 1 was finished by an earlier run");
    assert_null(strchr(text, '\033'));
    free(text);
}

static int count(const char *text, const char *part)
{
    int n = 0;
    for (; (text = strstr(text, part)); text += strlen(part))
        n++;
    return n;
}

static void as_page(void **state)
{
    (void)state;
    char *text = mc_report_html(tree);
    assert_non_null(text);
    assert_null(strstr(text, "<script"));
    assert_null(strstr(text, "<b>model"));
    assert_null(strchr(text, '\033'));
    assert_int_equal(count(text, "too far"), 1);
    assert_int_equal(count(text, "\xe2\x96\x88"), 6 + 12); /* a half, and all of it */
    assert_non_null(strstr(text, "batch svd 'in dir' -o out"));
    free(text);
    text = mc_report_md(tree);
    assert_non_null(text);
    assert_int_equal(count(text, "<script"),
                     count(text, "\\<script")); /* each behind a backslash */
    char *line = line_of(text, "| d.onnx |");   /* the first: why it is to be done */
    assert_int_equal(count(line, "|"), 3);
    free(line);
    free(text);
}

/* What is missing in a row is left out, whatever it is. */
static void of_nothing(void **state)
{
    (void)state;
    static const char *const sources[] = {
        "{\"batch\": {}}",
        "{\"batch\": {}, \"models\": 3, \"totals\": [], \"run\": \"x\"}",
        "{\"batch\": {}, \"models\": [1, null, [], {}, {\"path\": 5, \"status\": {}, \"input\": 3, "
        "\"output\": {\"bytes\": -7}, \"drop\": {\"top1\": \"x\"}}, {\"input\": {\"bytes\": 1}, "
        "\"output\": {\"bytes\": 1e300}}]}",
    };
    char *(*const faces[])(const json_t *) = {mc_report_txt, mc_report_html, mc_report_md,
                                              mc_report_json, mc_report_xml};
    for (size_t i = 0; i < sizeof sources / sizeof *sources; i++) {
        json_t *t = json_loads(sources[i], 0, NULL);
        assert_non_null(t);
        for (size_t k = 0; k < sizeof faces / sizeof *faces; k++) {
            char *text = faces[k](t);
            assert_non_null(text);
            free(text);
        }
        json_decref(t);
    }
}

int main(void)
{
    tree = json_loads(source, 0, NULL);
    if (!tree)
        return 1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(as_text),
        cmocka_unit_test(as_page),
        cmocka_unit_test(of_nothing),
    };
    int rc = cmocka_run_group_tests(tests, NULL, NULL);
    json_decref(tree);
    return rc;
}
