#include <math.h>
#include <string.h>

#include "base/json.h"
#include "base/table.h"
#include "base/text.h"
#include "formats/report_txt.h"

static double number(const json_t *o, const char *key)
{
    return mc_json_number(o, key, NAN);
}

static void shape_cell(struct mc_table *t, const json_t *dims)
{
    char text[96] = "";
    size_t i;
    const json_t *d;
    json_array_foreach(dims, i, d)
        mc_text_add(text, sizeof text, "%s%lld", i ? "x" : "", (long long)json_integer_value(d));
    mc_table_cell(t, "%s", text);
}

/* Parts of the machine's limits, in percent. */
static void row(struct mc_table *t, const json_t *node, const json_t *limits)
{
    double macs = number(node, "macs");
    mc_table_cell(t, "%s", mc_json_string_or(node, "name", "?"));
    mc_table_cell(t, "%s", mc_json_string_or(node, "op", "?"));
    shape_cell(t, json_object_get(node, "shape"));
    mc_table_cell(t, "%.3f", number(node, "seconds") * 1e3);
    mc_table_cell(t, "%.1f", number(node, "share") * 100);
    if (macs > 0) {
        mc_table_cell(t, "%.1f", number(node, "gflops"));
        mc_table_cell(t, "%.0f", 100 * number(node, "gflops") / number(limits, "gflops"));
    } else {
        mc_table_cell(t, "%s", "");
        mc_table_cell(t, "%s", "");
    }
    mc_table_cell(t, "%.1f", number(node, "gbytes"));
    mc_table_cell(t, "%.0f", 100 * number(node, "gbytes") / number(limits, "gbytes"));
}

static int nodes(const char *title, const json_t *list, const json_t *limits, FILE *out,
                 int columns)
{
    static const char *const head[] = {"node",    "operator", "result", "ms",    "% time",
                                       "GFLOP/s", "% sgemm",  "GB/s",   "% copy"};
    struct mc_table *t = mc_table_new("LLLrrrrrr");
    size_t i;
    const json_t *node;
    for (size_t h = 0; h < sizeof head / sizeof *head; h++)
        mc_table_cell(t, "%s", head[h]);
    json_array_foreach(list, i, node) row(t, node, limits);
    fprintf(out, "  %s\n", title);
    int rc = mc_table_print(t, out, 2, columns);
    mc_table_free(t);
    fputc('\n', out);
    return rc;
}

static void memory(const json_t *m, FILE *out)
{
    char a[MC_TEXT], b[MC_TEXT], c[MC_TEXT], d[MC_TEXT];
    fprintf(out, "  memory: plan %s, weights %s, packed weights %s, idle process %s",
            mc_text_bytes(number(m, "plan_bytes"), a), mc_text_bytes(number(m, "weight_bytes"), b),
            mc_text_bytes(number(m, "packed_bytes"), c), mc_text_bytes(number(m, "idle_bytes"), d));
    fprintf(out, "; measured %s\n", mc_text_bytes(number(m, "peak_bytes"), a));
}

static void microseconds(struct mc_table *t, double seconds)
{
    if (isnan(seconds))
        mc_table_cell(t, "%s", "");
    else
        mc_table_cell(t, "%.1f", 1e6 * seconds);
}

/* Microseconds of each way, which one is taken, and how much faster that is than the better dense product. */
static int circulant(const json_t *c, FILE *out, int columns)
{
    static const char *const head[] = {"block", "dense us", "dft us", "fft us", "taken", "x dense"};
    struct mc_table *t = mc_table_new("rrrrLr");
    double sgemm = number(c, "sgemm");
    size_t i;
    const json_t *row;
    for (size_t h = 0; h < sizeof head / sizeof *head; h++)
        mc_table_cell(t, "%s", head[h]);
    json_array_foreach(json_object_get(c, "blocks"), i, row)
    {
        const char *taken = mc_json_string_or(row, "taken", "?");
        mc_table_cell(t, "%.0f", number(row, "block"));
        microseconds(t, number(row, "dense"));
        microseconds(t, number(row, "dft"));
        microseconds(t, number(row, "fft"));
        mc_table_cell(t, "%s", taken);
        mc_table_cell(t, "%.1f", fmin(sgemm, number(row, "dense")) / number(row, taken));
    }
    fprintf(out, "  circulant products %.0f x %.0f, %.0f rows, one thread; sgemm %.1f us\n",
            number(c, "n"), number(c, "n"), number(c, "rows"), 1e6 * sgemm);
    int rc = mc_table_print(t, out, 2, columns);
    mc_table_free(t);
    fputc('\n', out);
    return rc;
}

int mc_report_txt_bench(const json_t *report, FILE *out, int columns)
{
    const json_t *limits = json_object_get(report, "limits");
    char n[MC_TEXT];
    const char *device = mc_json_string_or(report, "device", "cpu");
    fprintf(out, "  %.3f ms per run, median of %.0f (fastest %.3f ms), %s samples per second",
            1e3 * number(report, "latency"), number(report, "runs"),
            1e3 * number(report, "fastest"),
            mc_text_group((int64_t)number(report, "throughput"), n));
    fprintf(out, strcmp(device, "cpu") ? " on %s\n" : "\n", device);
    fprintf(
        out, "  one thread of this machine: sgemm %.1f GFLOP/s (OpenBLAS %s), copying %.1f GB/s\n",
        number(limits, "gflops"), mc_json_string_or(limits, "blas", "?"), number(limits, "gbytes"));
    memory(json_object_get(report, "memory"), out);
    fputc('\n', out);
    const json_t *blocks = json_object_get(report, "circulant");
    int rc = blocks ? circulant(blocks, out, columns) : 0;
    if (!rc)
        rc = nodes("all nodes", json_object_get(report, "nodes"), limits, out, columns);
    return rc ? rc
              : nodes("the costliest", json_object_get(report, "costliest"), limits, out, columns);
}
