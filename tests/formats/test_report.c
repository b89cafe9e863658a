#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/io.h"
#include "base/table.h"
#include "base/text.h"
#include "formats/report.h"

static const char source[] =
    "{\"command\": \"svd\","
    " \"input\": {\"path\": \"in.onnx\", \"bytes\": 4000000, \"parameters\": 1000000, \"macs\": "
    "999600},"
    " \"output\": {\"path\": \"out.onnx\", \"bytes\": 1000000, \"parameters\": 249000, \"macs\": "
    "null},"
    " \"before\": {\"top1\": 0.9, \"top5\": null, \"loss\": 0.25, \"samples\": 12345},"
    " \"after\": {\"top1\": 0.895, \"top5\": null, \"loss\": 0.5, \"samples\": 12345},"
    " \"drop\": {\"top1\": 0.005, \"ci95\": [0.001, 0.009], \"of\": \"labels\"},"
    " \"agreement\": {\"top1\": 0.97, \"cosine\": 0.5, \"sqnr_db\": 20.04, \"max_abs\": 1.5},"
    " \"latency\": {\"batch\": 1, \"threads\": 1, \"pairs\": 9, \"inputs\": \"data\", \"before\": "
    "{\"median_seconds\": 0.004}, \"after\": {\"median_seconds\": 0.002}, \"speedup\": "
    "{\"median\": "
    "2, \"low\": 1.9, \"high\": 2.1}},"
    " \"passes\": [{\"name\": \"svd\", \"seconds\": 1.25, \"search\": {\"goal\": \"bytes\", "
    "\"limit\": "
    "1000000, \"reached\": false, \"after\": 1050000, \"drop\": 0.006, \"divergence\": 0.012, "
    "\"metric\": \"KL divergence\", \"samples\": 512, \"measurements\": 1423, \"ended\": \"time\"},"
    " \"layers\": ["
    "  {\"name\": \"fc1\", \"op\": \"Gemm\", \"action\": \"low rank\", \"rank\": 96, \"reason\": "
    "null,"
    "   \"bytes_before\": 1600000, \"bytes_after\": 400000, \"error\": 0.125},"
    "  {\"name\": \"conv\", \"op\": \"Conv\", \"form\": \"tucker\", \"choice\": \"tucker rank 12 x "
    "20\", "
    "\"rank\": 12,"
    "   \"bytes_before\": 3200000, \"bytes_after\": 800000, \"error\": 0.01},"
    "  {\"name\": \"fc2\", \"op\": \"Gemm\", \"action\": \"kept\", \"reason\": \"too small\"},"
    "  {\"name\": \"fc3\", \"op\": \"Gemm\", \"action\": \"kept\", \"reason\": \"too small\"},"
    "  {\"name\": \"evil\\u001b[2J\", \"op\": \"Conv\", \"action\": \"kept\", \"reason\": "
    "\"grouped\"}]}],"
    " \"warnings\": [\"look out\"], \"data\": \"d.npz\", \"seconds\": 75, \"device\": \"cpu\"}";

static const char face[] =
    "in.onnx -> out.onnx\n"
    "\n"
    "  size        4.00 MB  ->  1.00 MB        25.0 %\n"
    "  parameters   1.00 M  ->    249 k        24.9 %\n"
    "  latency     4.00 ms  ->  2.00 ms  2.0× as fast\n"
    "  top-1       90.00 %  ->  89.50 %  -0.50 points\n"
    "  loss         0.2500  ->   0.5000       +0.2500\n"
    "  drop of top-1 0.50 points, 95 % interval 0.10 to 0.90\n"
    "  agreement: 97.00 % same decisions, cosine 0.500000, SQNR 20.0 dB, largest difference 1.5\n"
    "  measured on 12,345 samples of d.npz\n"
    "  latency here, batch 1, 1 thread, a sample of the data: median of 9 pairs, 95 % interval "
    "1.90× to "
    "2.10×\n"
    "  search: at most 1.00 MB: not reached, 1.05 MB; drop 0.60 points, KL divergence 0.012 on 512 "
    "samples; 1,423 measurements; ended by time\n"
    "\n"
    "  layer  operator  form       choice    bytes               error\n"
    "  fc1    Gemm      low rank       96  1.60 MB  ->  400 kB  0.1250\n"
    "  conv   Conv      tucker    12 x 20  3.20 MB  ->  800 kB  0.0100\n"
    "\n"
    "  left as they were\n"
    "    2 x  too small  fc2, fc3\n"
    "    1 x  grouped    evil?[2J\n"
    "\n"
    "  warning: look out\n"
    "  1 min 15 s (svd 1.2 s), cpu\n";

static json_t *tree(void)
{
    json_error_t e;
    json_t *r = json_loads(source, 0, &e);
    if (!r)
        fail_msg("%s", e.text);
    return r;
}

static void text_says_everything_once(void **state)
{
    (void)state;
    json_t *r = tree();
    char *text = mc_report_text(r, 0);
    assert_string_equal(text, face);
    free(text);
    json_decref(r);
}

static void files_by_extension(void **state)
{
    (void)state;
    char dir[] = "/tmp/mc_test_report.XXXXXX", path[64];
    assert_non_null(mkdtemp(dir));
    json_t *r = tree();
    struct mc_err err;
    struct mc_map m;

    snprintf(path, sizeof path, "%s/r.json", dir);
    assert_int_equal(mc_report_write(r, path, &err), 0);
    json_t *back = json_load_file(path, 0, NULL);
    assert_true(json_equal(r, back));
    json_decref(back);
    unlink(path);

    snprintf(path, sizeof path, "%s/R.TXT", dir);
    assert_int_equal(mc_report_write(r, path, &err), 0);
    assert_int_equal(mc_map_open(path, &m, &err), 0);
    assert_int_equal(m.size, strlen(face));
    assert_memory_equal(m.data, face, m.size);
    mc_map_close(&m);
    unlink(path);
    rmdir(dir);

    assert_int_equal(mc_report_write(r, path, &err), MC_EIO);
    assert_int_equal(mc_report_check("r", &err), MC_EUSAGE);
    assert_int_equal(mc_report_write(r, "r.pdf", &err), MC_EUSAGE);
    assert_string_equal(err.msg,
                        "report 'r.pdf': the name must end in one of .json, .html, .md, .txt, "
                        ".xml");
    json_decref(r);
}

/* Any tree is rendered: a report may be edited by hand or come from a later version. */
static void odd_trees(void **state)
{
    (void)state;
    static const char *const odd[] = {
        "{}",
        "[]",
        "{\"passes\": [{}]}",
        "{\"passes\": [{\"layers\": [{}, 3, null]}]}",
        "{\"input\": 1, \"output\": [], \"drop\": {\"ci95\": [1]}, \"gates\": [1], \"warnings\": "
        "[{}]}",
        "{\"ir_version\": 8}",
        "{\"ir_version\": 8, \"inputs\": [{}], \"largest\": [{}], \"weights\": {\"x\": 1}, "
        "\"opsets\": {\"\": \"x\"}, \"functions\": [1], \"operators\": {\"a\": \"b\"}}"};
    for (size_t i = 0; i < sizeof odd / sizeof *odd; i++) {
        json_t *r = json_loads(odd[i], 0, NULL);
        assert_non_null(r);
        char *text = mc_report_text(r, 40);
        assert_non_null(text);
        free(text);
        json_decref(r);
    }
}

static void numbers_for_people(void **state)
{
    (void)state;
    static const struct {
        double v;
        const char *bytes, *count;
    } rows[] = {
        {0, "0 B", "0"},
        {999, "999 B", "999"},
        {999.5, "1.00 kB", "1.00 k"},
        {1000, "1.00 kB", "1.00 k"},
        {9994, "9.99 kB", "9.99 k"},
        {9996, "10.0 kB", "10.0 k"},
        {99960, "100 kB", "100 k"},
        {999499, "999 kB", "999 k"},
        {999500, "1.00 MB", "1.00 M"},
        {3730425, "3.73 MB", "3.73 M"},
        {-1500, "-1.50 kB", "-1.50 k"},
    };
    char t[MC_TEXT];
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        assert_string_equal(mc_text_bytes(rows[i].v, t), rows[i].bytes);
        assert_string_equal(mc_text_count(rows[i].v, t), rows[i].count);
    }
    assert_string_equal(mc_text_group(0, t), "0");
    assert_string_equal(mc_text_group(-1234, t), "-1,234");
    assert_string_equal(mc_text_group(INT64_MIN, t), "-9,223,372,036,854,775,808");
    assert_string_equal(mc_text_seconds(0.04, t), "0.0 s");
    assert_string_equal(mc_text_seconds(59.4, t), "59 s");
    assert_string_equal(mc_text_seconds(59.6, t), "1 min 0 s");
    assert_string_equal(mc_text_seconds(3600, t), "1 h 0 min");
    assert_string_equal(mc_text_seconds(-1, t), "?");
    assert_string_equal(mc_text_duration(0, t), "0.00 µs");
    assert_string_equal(mc_text_duration(9.996e-6, t), "10.0 µs");
    assert_string_equal(mc_text_duration(0.9996e-3, t), "1.00 ms");
    assert_string_equal(mc_text_duration(0.0431, t), "43.1 ms");
    assert_string_equal(mc_text_duration(250, t), "250 s");
    assert_string_equal(mc_text_duration(NAN, t), "?");
}

static void long_names_lose_their_middle(void **state)
{
    (void)state;
    char t[4 * 5 + 1];
    static const char *const rows[][2] = {
        {"", ""},
        {"abcde", "abcde"},
        {"abcdef", "ab…ef"},
        {"\xc3\xa9\xc3\xa8\xe2\x82\xac\xf0\x9f\x98\x80z!", "\xc3\xa9\xc3\xa8…z!"},
        {"\xc3", "?"},
        {"a\xff\xe2\x82z", "a???z"},
        {"\xed\xa0\x80", "???"}, /* a surrogate */
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        assert_string_equal(mc_text_short(rows[i][0], 5, t, sizeof t), rows[i][1]);
    assert_string_equal(mc_text_short("abc", 1, t, sizeof t), "…");
    assert_string_equal(mc_text_short("abcdefghijkl", 12, t, 8),
                        "abcd"); /* never beyond its room */
}

static void more_is_cut_off(void **state)
{
    (void)state;
    char t[8] = "ab";
    assert_string_equal(mc_text_add(t, sizeof t, "%s%d", "c", 4), "abc4");
    assert_string_equal(mc_text_add(t, sizeof t, "%s", "56789"), "abc4567");
    assert_string_equal(mc_text_add(t, sizeof t, "%s", "x"), "abc4567");
    assert_string_equal(mc_text_add(t, 1, "%s", "x"), "abc4567");
}

static void tables_shorten_where_they_may(void **state)
{
    (void)state;
    struct mc_table *t = mc_table_new("Lr");
    mc_table_cell(t, "%s", "a-very-long-name-of-a-layer");
    mc_table_cell(t, "%d", 5);
    mc_table_cell(t, "%s", "\xc3\xa9t\xc3\xa9"); /* three characters, five bytes */
    mc_table_cell(t, "%s", "");
    char *text;
    size_t size;
    FILE *f = open_memstream(&text, &size);
    assert_int_equal(mc_table_print(t, f, 2, 24), 0);
    fclose(f);
    assert_string_equal(text, "  a-very-l..f-a-layer  5\n  \xc3\xa9t\xc3\xa9\n");
    free(text);
    mc_table_free(t);
    assert_int_equal(mc_table_print(NULL, stdout, 0, 80), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(text_says_everything_once),
        cmocka_unit_test(files_by_extension),
        cmocka_unit_test(odd_trees),
        cmocka_unit_test(numbers_for_people),
        cmocka_unit_test(long_names_lose_their_middle),
        cmocka_unit_test(more_is_cut_off),
        cmocka_unit_test(tables_shorten_where_they_may),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
