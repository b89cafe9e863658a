#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdbool.h>
#include <stdint.h>
#include <cmocka.h>
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "formats/report.h"
#include "formats/report_format.h"

static const char source[] =
    "{\"mcompress\": \"0.1.0\", \"command\": \"svd\", \"seed\": 3, \"threads\": 1,"
    " \"arguments\": [\"svd\", \"in.onnx\", \"--augment\", \"flip,shift=2\", \"-o\", \"it's $1\"],"
    " \"input\": {\"path\": \"<in>.onnx\", \"bytes\": 4000000, \"macs\": null, \"sha256\": "
    "\"aa\"},"
    " \"output\": {\"path\": \"out|2.onnx\", \"bytes\": 1000000, \"macs\": 7, \"sha256\": \"bb\"},"
    " \"before\": {\"top1\": 0.9, \"loss\": 0.25, \"samples\": 12345},"
    " \"after\": {\"top1\": 0.895, \"loss\": 0.5, \"samples\": 12345},"
    " \"drop\": {\"top1\": 0.005, \"ci95\": [0.001, 0.009], \"of\": \"labels\"},"
    " \"data\": \"d.npz\", \"warnings\": [\"look out\"], \"seconds\": 75, \"device\": \"cpu\","
    " \"kernels\": \"avx2\", \"gates\": [{\"name\": \"max-drop\", \"limit\": 0.004, \"passed\": "
    "false, "
    "\"message\": \"missed: 0.9 > 0.4\"}, {\"name\": \"require 'top1>=0.8'\", \"passed\": true, "
    "\"message\": \"met: top1 is 0.895\"}],"
    " \"latency\": {\"batch\": 1, \"threads\": 1, \"pairs\": 3, \"inputs\": \"random\", "
    "\"before\": "
    "{\"median_seconds\": 0.004}, \"after\": {\"median_seconds\": 0.002}, \"speedup\": "
    "{\"median\": "
    "2, \"low\": 1.9, \"high\": 2.1}},"
    " \"passes\": [{\"name\": \"svd\", \"search\": {\"goal\": \"macs\", \"limit\": 1000000, "
    "\"reached\": true, "
    "\"after\": 900000, \"measurements\": 3, \"ended\": \"done\", \"layers\": [{\"name\": \"fc1\", "
    "\"choice\": \"b\", \"options\": [{\"option\": \"a\", \"bytes\": 0, \"error\": null}, "
    "{\"option\": "
    "\"b\", \"bytes\": -1200000, \"error\": 0.1, \"predicted\": 0.15}, {\"option\": \"c\", "
    "\"bytes\": -1400000, "
    "\"predicted\": "
    "0.2}]}]}, \"layers\": ["
    "  {\"name\": \"fc1\", \"op\": \"Gemm\", \"action\": \"low rank\", \"rank\": 96, \"reason\": "
    "null, \"bytes_before\": 1600000, \"bytes_after\": 400000, \"error\": 0.125},"
    "  {\"name\": \"evil\\u001b[2J\", \"op\": \"Conv\", \"reason\": \"grouped\"},"
    "  {\"name\": \"c\", \"op\": \"Conv\", \"reason\": \"too small\"},"
    "  {\"name\": \"b\", \"op\": \"Conv\", \"reason\": \"grouped\"}],"
    " \"training\": {\"loss\": \"ce\", \"loss_why\": \"labels\", \"optimizer\": \"adamw\", \"lr\": "
    "0.001, \"lr_found\": {\"points\": []}, \"teacher\": \"<in>.onnx\", \"batch\": 128,"
    "  \"updates\": 445, \"samples\": 57000, \"held_out\": 3000, \"train\": \"t.npz\","
    "  \"peak_bytes\": 2000000, \"recomputed\": 0, \"best\": {\"epoch\": 2, \"loss\": 0.25, "
    "\"top1\": "
    "0.9},"
    "  \"recoveries\": [{\"step\": 12, \"why\": \"the loss is NaN\", \"lr\": 0.0005}],"
    "  \"frozen\": [{\"name\": \"a\", \"why\": \"scalar\"}, {\"name\": \"b\", \"why\": \"mask\"}, "
    "{\"name\": \"c\", \"why\": \"scalar\"}],"
    "  \"curve\": [{\"step\": 1, \"epoch\": 0.5, \"lr\": 0.0001, \"loss\": 2}, {\"step\": 2, "
    "\"epoch\": 1, \"lr\": 0.001, \"loss\": 1}, {\"step\": 4, \"epoch\": 2, \"lr\": 0.0005, "
    "\"loss\": null}],"
    "  \"epochs_log\": [{\"epoch\": 1, \"loss\": 1.5, \"held_loss\": 0.5, \"held_top1\": 0.8}, "
    "{\"epoch\": 2, \"loss\": 0.75, \"held_loss\": 0.25, \"held_top1\": 0.9}]}}]}";

static const char markdown[] =
    "# \\<in\\>.onnx → out\\|2.onnx\n"
    "\n"
    "❌ **25 % of the bytes, top-1 down 0.50 points (95 % interval 0.10 to 0.90), 2.0× as fast**\n"
    "\n"
    "* ❌ gate max-drop missed: 0.9 \\> 0.4\n"
    "\n"
    "* ✅ gate require 'top1\\>=0.8' met: top1 is 0.895\n"
    "\n"
    "|  | before | after | change |\n"
    "|---|---:|---:|---:|\n"
    "| size | 4.00 MB | 1.00 MB | 25.0 % |\n"
    "| latency | 4.00 ms | 2.00 ms | 2.0× as fast |\n"
    "| top-1 | 90.00 % | 89.50 % | -0.50 points |\n"
    "| loss | 0.2500 | 0.5000 | +0.2500 |\n"
    "\n"
    "⚠️ warning: look out\n"
    "\n"
    "measured on 12,345 samples of d.npz\n"
    "\n"
    "latency here, batch 1, 1 thread, random inputs: median of 3 pairs\n"
    "\n"
    "<details><summary>Layers: svd changed 1, left 3 as they were</summary>\n"
    "\n"
    "| layer | operator | how | choice | size |  | MACs | error |\n"
    "|---|---|---|---|---:|---:|---:|---:|\n"
    "| fc1 | Gemm | low rank | 96 | 1.60 MB → 400 kB | 25.0 % |  | 0.1250 |\n"
    "\n"
    "### Left as they were\n"
    "\n"
    "|  | why | layers |\n"
    "|---:|---|---|\n"
    "| 2 × | grouped | evil?\\[2J, b |\n"
    "| 1 × | too small | c |\n"
    "\n"
    "</details>\n"
    "\n"
    "search: at most 1.00 M MACs per sample: reached, 900 k; 3 measurements\n"
    "\n"
    "<details><summary>Training</summary>\n"
    "\n"
    "445 updates of 128 samples each, from 57,000 samples of t.npz; 3,000 more were held out to "
    "pick the best weights\n"
    "\n"
    "loss: ce (labels), teacher \\<in\\>.onnx; adamw, learning rate 0.001 from a range test\n"
    "\n"
    "kept: the weights of epoch 2, held-out loss 0.2500, held-out top-1 90.00 %\n"
    "\n"
    "memory of a step: 2.00 MB\n"
    "\n"
    "step 12: the loss is NaN; went back to the last good weights, with a learning rate of 0.0005\n"
    "\n"
    "| epoch | loss | held-out loss | held-out top-1 | learning rate |\n"
    "|---:|---:|---:|---:|---:|\n"
    "| 1 | 1.5000 | 0.5000 | 80.00 % | 0.001 |\n"
    "| 2 | 0.7500 | 0.2500 | 90.00 % | 0.0005 |\n"
    "\n"
    "### Not trained\n"
    "\n"
    "|  | reason | weights |\n"
    "|---:|---|---|\n"
    "| 2 × | scalar | a, c |\n"
    "| 1 × | mask | b |\n"
    "\n"
    "</details>\n"
    "\n"
    "<details><summary>How to do it again</summary>\n"
    "\n"
    "    mcompress svd in.onnx --augment flip,shift=2 -o 'it'\\''s $1'\n"
    "\n"
    "|  |  |\n"
    "|---|---|\n"
    "| mcompress | 0.1.0 |\n"
    "| seed | 3 |\n"
    "| measured on | d.npz, 12,345 samples |\n"
    "| computed on | cpu (avx2), 1 thread |\n"
    "| time | 1 min 15 s |\n"
    "| before | \\<in\\>.onnx |\n"
    "| its SHA-256 | aa |\n"
    "| after | out\\|2.onnx |\n"
    "| its SHA-256 | bb |\n"
    "\n"
    "</details>\n";

static const char terminal[] =
    "  training\n"
    "    445 updates of 128 samples each, from 57,000 samples of t.npz; 3,000 more were held out "
    "to "
    "pick the best weights\n"
    "    loss: ce (labels), teacher <in>.onnx; adamw, learning rate 0.001 from a range test\n"
    "    kept: the weights of epoch 2, held-out loss 0.2500, held-out top-1 90.00 %\n"
    "    memory of a step: 2.00 MB\n"
    "    step 12: the loss is NaN; went back to the last good weights, with a learning rate of "
    "0.0005\n"
    "    epoch    loss  held-out loss  held-out top-1  learning rate\n"
    "        1  1.5000         0.5000         80.00 %          0.001\n"
    "        2  0.7500         0.2500         90.00 %         0.0005\n"
    "  not trained\n"
    "    2 x  scalar  a, c\n"
    "    1 x  mask    b\n"
    "\n";

static json_t *tree(const char *text)
{
    json_error_t e;
    json_t *r = json_loads(text, 0, &e);
    if (!r)
        fail_msg("%s", e.text);
    return r;
}

static void markdown_says_everything(void **state)
{
    (void)state;
    json_t *r = tree(source);
    char *text = mc_report_md(r);
    assert_string_equal(text, markdown);
    free(text);
    text = mc_report_text(r, 0);
    if (!strstr(text, terminal))
        fail_msg("%s", text);
    free(text);
    json_decref(r);
}

/* Every tag is closed where it should be, and no '<' stands for itself. Returns elements of a name. */
static int check_html(const char *html, const char *counted)
{
    static const char *const single[] = {"!doctype", "meta", "br", NULL};
    char open[32][16];
    int depth = 0, count = 0;
    for (const char *c = strchr(html, '<'); c; c = strchr(c + 1, '<')) {
        bool closes = c[1] == '/', alone = false;
        char name[16];
        size_t n = strspn(c + 1 + closes, "!abcdefghijklmnopqrstuvwxyz0123456789");
        const char *stop = strchr(c, '>');
        if (!n || n >= sizeof name || !stop)
            fail_msg("no tag: %.40s", c);
        snprintf(name, sizeof name, "%.*s", (int)n, c + 1 + closes);
        for (int i = 0; single[i]; i++)
            alone = alone || !strcmp(single[i], name);
        count += !closes && !strcmp(name, counted);
        if (alone || stop[-1] == '/')
            continue;
        if (!closes) {
            assert_true(depth < 32);
            strcpy(open[depth++], name);
        } else if (!depth || strcmp(open[--depth], name)) {
            fail_msg("</%s> closes nothing: %.60s", name, c);
        }
    }
    assert_int_equal(depth, 0);
    return count;
}

static void html_is_well_formed(void **state)
{
    (void)state;
    static const char *const parts[] = {
        "<h1>&lt;in&gt;.onnx → out|2.onnx</h1>", "<td class=\"r\">25.0 %</td>", "evil?[2J",
        "it'\\''s $1'",
        "<p class=\"verdict bad\">25 % of the bytes, <span>top-1</span> down 0.50 points",
        "<b>✗ missed</b> <span>max-drop</span> 0.9 &gt; 0.4",
        /* the drop from 0.1 to 0.9 points: the axis is from 0 to 0.9 and 6 % more at each end, so that 0.1 is at
         * (0.1 + 0.054) / 1.008 */
        "<line class=\"ci\" x1=\"15.28%\" y1=\"40.0\" x2=\"94.64%\"",
        "<line class=\"limit\" x1=\"45.04%\"",
        /* a quarter of the layer's bytes is left, of a panel from 16 to 97 % */
        "<circle class=\"p\" cx=\"36.25%\"",
        "<polyline class=\"guess\" points=\"26.12,8.0 36.25,8.0\"/>",
        /* step 1 of 4 of the loss is at 13 + 86 / 4 percent, 2 of it in the middle; loss 0.25 to 2, from 24 to 148 */
        "<polyline class=\"a\" points=\"34.50,24.0 56.00,94.9\"/>",
        "<circle class=\"p\" cx=\"56.00%\" cy=\"130.3\"", "prefers-color-scheme:dark"};
    json_t *r = tree(source);
    char *text = mc_report_html(r);
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        if (!strstr(text, parts[i]))
            fail_msg("no %s in\n%s", parts[i], text);
    assert_null(strstr(text, "<script"));
    assert_null(strstr(text, "http"));
    /* sizes, errors, the interval, one layer's options, three of training with a plot inside of two; where the bytes
     * are is not drawn, as the layers' do not add up to the file's */
    assert_int_equal(check_html(text, "figure"), 6);
    assert_int_equal(check_html(text, "table"), 7);
    free(text);
    json_decref(r);
}

/* A long curve stays short; many epochs are told by a few. */
static void long_trainings(void **state)
{
    (void)state;
    enum { STEPS = 100000, EPOCHS = 500 };
    json_t *t = json_object(), *curve = json_array(), *log = json_array(), *r = json_object();
    for (int i = 1; i <= STEPS; i++)
        json_array_append_new(curve,
                              json_pack("{s:i,s:f,s:f,s:f}", "step", i, "epoch",
                                        (double)i * EPOCHS / STEPS, "lr", 1e-3, "loss", 1.0 / i));
    for (int i = 1; i <= EPOCHS; i++)
        json_array_append_new(log, json_pack("{s:i,s:f}", "epoch", i, "loss", 1.0 / i));
    json_object_set_new(t, "curve", curve);
    json_object_set_new(t, "epochs_log", log);
    json_t *pass = json_pack("{s:o}", "training", t);
    json_object_set_new(r, "passes", json_pack("[o]", pass));
    char *text = mc_report_html(r);
    assert_true(strlen(text) < 40000);
    check_html(text, "svg");
    free(text);
    text = mc_report_text(r, 0);
    int lines = 0;
    for (const char *c = text; (c = strchr(c, '\n')); c++)
        lines++;
    assert_true(lines < 25 && strstr(text, "\n      500  0.0020"));
    free(text);
    json_decref(r);
}

static void odd_trees(void **state)
{
    (void)state;
    static const char *const odd[] = {
        "{}", "[]", "{\"ir_version\": 8}",
        "{\"passes\": [3, {}, {\"layers\": [{}, 3, null, {\"reason\": \"\"}], \"training\": 7}]}",
        "{\"passes\": [{\"training\": {}}]}",
        "{\"passes\": [{\"training\": {\"curve\": [{}, 1], \"epochs_log\": [{}, 1, {\"epoch\": "
        "0}], "
        "\"frozen\": [1, {}], \"recoveries\": [{}, 1], \"best\": 1, \"reinit\": 2, \"loss\": "
        "\"x\"}}]}",
        /* Numbers with 300 digits. */
        "{\"agreement\": {\"top1\": 1e306, \"cosine\": -1e308, \"sqnr_db\": 1e308, \"max_abs\": "
        "1e308}, \"drop\": {\"top1\": 1e306, \"ci95\": [-1e306, 1e306]}, \"passes\": "
        "[{\"training\": "
        "{\"best\": {\"epoch\": 1, \"loss\": 1e308, \"top1\": 1e306}, \"samples\": 1, \"updates\": "
        "1, "
        "\"batch\": 1e308}, \"search\": {\"goal\": \"bytes\", \"limit\": 1e308, \"after\": 1e308, "
        "\"drop\": 1e306, \"divergence\": 1e308, \"samples\": 1e15, \"measurements\": 1e15}}]}",
        "{\"arguments\": [1, \"\", {}], \"gates\": [1], \"notes\": [1], \"warnings\": 1, "
        "\"passes\": "
        "[]}"};
    for (size_t i = 0; i < sizeof odd / sizeof *odd; i++) {
        json_t *r = tree(odd[i]);
        char *text = mc_report_html(r);
        check_html(text, "svg");
        free(text);
        free(mc_report_md(r));
        free(mc_report_text(r, 0));
        json_decref(r);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(markdown_says_everything),
        cmocka_unit_test(html_is_well_formed),
        cmocka_unit_test(long_trainings),
        cmocka_unit_test(odd_trees),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
