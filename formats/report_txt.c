#include "formats/report_txt.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/table.h"
#include "base/text.h"
#include "formats/report.h"
#include "formats/report_batch.h"
#include "formats/report_format.h"

enum { DEFAULT_COLUMNS = 100 };

static double number(const json_t *object, const char *key)
{
    return mc_json_number(object, key, NAN);
}

/* One row "name  before -> after  share" where both numbers are known. */
static void size_row(struct mc_table *t, const char *name, double before, double after,
                     const char *(*text)(double, char *))
{
    char a[MC_TEXT], b[MC_TEXT];
    if (!isfinite(before) || !isfinite(after))
        return;
    mc_table_cell(t, "%s", name);
    mc_table_cell(t, "%s", text(before, a));
    mc_table_cell(t, "->");
    mc_table_cell(t, "%s", text(after, b));
    if (before > 0)
        mc_table_cell(t, "%.1f %%", 100 * after / before);
    else
        mc_table_cell(t, "%s", "");
}

static void sizes(struct mc_table *t, const json_t *report)
{
    const json_t *in = json_object_get(report, "input"), *to = json_object_get(report, "output");
    if (!in || !to)
        return;
    size_row(t, "size", number(in, "bytes"), number(to, "bytes"), mc_text_bytes);
    size_row(t, "parameters", number(in, "parameters"), number(to, "parameters"), mc_text_count);
    size_row(t, "MACs per sample", number(in, "macs"), number(to, "macs"), mc_text_count);
}

/* "89.45 %" or "0.3012", for one metric of both models. */
static void metric_row(struct mc_table *t, const char *name, const json_t *before,
                       const json_t *after, const char *key, bool share)
{
    double a = number(before, key), b = number(after, key);
    const char *fmt = share ? "%.2f %%" : "%.4f";
    char text[2][MC_TEXT];
    if (!isfinite(b))
        return;
    snprintf(text[0], MC_TEXT, fmt, share ? 100 * a : a);
    snprintf(text[1], MC_TEXT, fmt, share ? 100 * b : b);
    mc_table_cell(t, "%s", name);
    mc_table_cell(t, "%s", isfinite(a) ? text[0] : text[1]);
    mc_table_cell(t, "%s", isfinite(a) ? "->" : "");
    mc_table_cell(t, "%s", isfinite(a) ? text[1] : "");
    if (isfinite(a) && share)
        mc_table_cell(t, "%+.2f points", 100 * (b - a));
    else
        mc_table_cell(t, "%s", "");
}

static void metrics(struct mc_table *t, const json_t *report)
{
    const json_t *before = json_object_get(report, "before");
    const json_t *after = json_object_get(report, "after");
    if (!after) {
        before = json_object_get(report, "reference_metrics");
        after = json_object_get(report, "metrics");
    }
    metric_row(t, "top-1", before, after, "top1", true);
    metric_row(t, "top-5", before, after, "top5", true);
    metric_row(t, "loss", before, after, "loss", false);
    metric_row(t, "label errors", before, after, "label_error_rate", true);
}

static void drop(FILE *out, const json_t *report)
{
    const json_t *d = json_object_get(report, "drop"), *ci = json_object_get(d, "ci95");
    double value = number(d, "top1");
    if (!isfinite(value) || json_array_size(ci) != 2)
        return;
    fprintf(out, "  %s %.2f points, 95 %% interval %.2f to %.2f\n",
            !strcmp(mc_json_string_or(d, "of", ""), "agreement") ? "changed decisions"
                                                                 : "drop of top-1",
            100 * value, 100 * json_number_value(json_array_get(ci, 0)),
            100 * json_number_value(json_array_get(ci, 1)));
}

static void agreement(FILE *out, const json_t *report)
{
    const json_t *a = json_object_get(report, "agreement");
    if (!json_is_object(a))
        return;
    fputs("  agreement:", out);
    double top1 = number(a, "top1"), sqnr = number(a, "sqnr_db");
    if (isfinite(top1))
        fprintf(out, " %.2f %% same decisions,", 100 * top1);
    fprintf(out, " cosine %.6f, ", number(a, "cosine"));
    if (isfinite(sqnr))
        fprintf(out, "SQNR %.1f dB, ", sqnr);
    else
        fputs("equal outputs, ", out);
    fprintf(out, "largest difference %.3g\n", number(a, "max_abs"));
}

static void measured_on(FILE *out, const json_t *report)
{
    char n[MC_TEXT];
    const char *data = mc_json_string(report, "data");
    double samples = mc_json_number(json_object_get(report, "after"), "samples",
                                    mc_json_number(report, "samples", NAN));
    const char *calib = mc_json_string(report, "calib");
    if (!isfinite(samples))
        samples = number(json_object_get(report, "agreement"), "samples");
    if (data && isfinite(samples))
        fprintf(out, "  measured on %s samples of %s", mc_text_group((int64_t)samples, n), data);
    if (calib)
        fprintf(out, "%scalibrated on %s of %s", data ? "; " : "  ",
                mc_text_group((int64_t)number(report, "calib_samples"), n), calib);
    if (data || calib)
        fputc('\n', out);
}

static void title(FILE *out, const json_t *report)
{
    const json_t *in = json_object_get(report, "input"), *to = json_object_get(report, "output");
    const char *written = mc_json_string(to, "path");
    const char *reference = mc_json_string(json_object_get(report, "reference"), "path");
    fputs(mc_json_string_or(in, "path", "?"), out);
    if (json_is_true(json_object_get(report, "dry_run")))
        fputs(": dry run, nothing is written; sizes are predicted", out);
    else if (written)
        fprintf(out, " -> %s", written);
    if (reference)
        fprintf(out, " against %s", reference);
    fputs("\n\n", out);
}

static void remarks(FILE *out, const json_t *report)
{
    size_t i;
    const json_t *v;
    json_array_foreach(json_object_get(report, "gates"), i, v)
    {
        fprintf(out, "  gate %s %s\n", mc_json_string_or(v, "name", "?"),
                mc_json_string_or(v, "message", "?"));
    }
    json_array_foreach(json_object_get(report, "warnings"), i, v)
        fprintf(out, "  warning: %s\n", json_is_string(v) ? json_string_value(v) : "?");
    json_array_foreach(json_object_get(report, "notes"), i, v)
        fprintf(out, "  %s\n", json_is_string(v) ? json_string_value(v) : "?");
}

static void cost(FILE *out, const json_t *report)
{
    char s[MC_TEXT], b[MC_TEXT];
    size_t i;
    const json_t *p;
    fprintf(out, "  %s", mc_text_seconds(number(report, "seconds"), s));
    json_array_foreach(json_object_get(report, "passes"), i, p)
        fprintf(out, "%s%s %s", i ? ", " : " (", mc_json_string_or(p, "name", "?"),
                mc_text_seconds(number(p, "seconds"), s));
    if (i)
        fputc(')', out);
    double peak = number(report, "peak_rss_bytes"), threads = number(report, "threads");
    if (isfinite(peak))
        fprintf(out, ", peak memory %s", mc_text_bytes(peak, b));
    if (isfinite(threads))
        fprintf(out, ", %.0f thread%s", threads, threads == 1 ? "" : "s");
    const char *device = mc_json_string(report, "device");
    const char *kernels = mc_json_string(report, "kernels");
    if (device)
        fprintf(out, ", %s%s%s%s", device, kernels ? " (" : "", kernels ? kernels : "",
                kernels ? ")" : "");
    fputc('\n', out);
}

static int compressed(const json_t *report, FILE *out, int columns)
{
    struct mc_table *t = mc_table_new("lrlrr");
    title(out, report);
    sizes(t, report);
    metrics(t, report);
    int rc = mc_table_print(t, out, 2, columns);
    mc_table_free(t);
    drop(out, report);
    agreement(out, report);
    measured_on(out, report);
    fputc('\n', out);
    if (!rc)
        rc = mc_report_txt_outputs(report, out, columns);
    if (!rc)
        rc = mc_report_txt_layers(report, out, columns);
    if (!rc)
        rc = mc_report_txt_training(report, out, columns);
    remarks(out, report);
    cost(out, report);
    return rc;
}

static int test_data(const json_t *report, FILE *out, int columns)
{
    title(out, report);
    int rc = mc_report_txt_sets(report, out, columns);
    cost(out, report);
    return rc;
}

static int benched(const json_t *report, FILE *out, int columns)
{
    title(out, report);
    int rc = mc_report_txt_bench(report, out, columns);
    cost(out, report);
    return rc;
}

void mc_report_disarm(char *text)
{
    for (unsigned char *c = (unsigned char *)text; *c; c++) {
        if ((*c < 32 && *c != '\n') || *c == 127)
            *c = '?';
        else if (*c == 0xc2 && c[1] >= 0x80 && c[1] < 0xa0) /* U+0080 to U+009F */
            c[0] = c[1] = '?';
    }
}

char *mc_report_text(const json_t *report, int columns)
{
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    if (!out)
        return NULL;
    if (columns <= 0)
        columns = DEFAULT_COLUMNS;
    int rc = mc_report_is_batch(report)              ? mc_report_txt_batch(report, out, columns)
             : json_object_get(report, "ir_version") ? mc_report_txt_info(report, out, columns)
             : json_object_get(report, "costliest")  ? benched(report, out, columns)
             : json_object_get(report, "sets")       ? test_data(report, out, columns)
                                                     : compressed(report, out, columns);
    if (fclose(out) || rc) {
        free(text);
        return NULL;
    }
    mc_report_disarm(text);
    return text;
}

char *mc_report_txt(const json_t *report)
{
    return mc_report_text(report, DEFAULT_COLUMNS);
}
