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
#include "formats/report_device.h"
#include "formats/report_facts.h"
#include "formats/report_format.h"

enum { DEFAULT_COLUMNS = 100 };

static double number(const json_t *object, const char *key)
{
    return mc_json_number(object, key, NAN);
}

/* Rows "name  before -> after  change"; of one model alone "name  value". */
static void figures(struct mc_table *t, const json_t *report)
{
    struct mc_fact f;
    for (size_t i = 0; mc_fact_at(report, i, &f); i++) {
        bool both = *f.a;
        mc_table_cell(t, "%s", f.name);
        mc_table_cell(t, "%s", both ? f.a : f.b);
        mc_table_cell(t, "%s", both ? "->" : "");
        mc_table_cell(t, "%s", both ? f.b : "");
        mc_table_cell(t, "%s", f.change);
    }
}

static void sentences(FILE *out, const json_t *report)
{
    const char *(*const all[])(const json_t *, char *) = {mc_fact_drop, mc_fact_agreement,
                                                          mc_fact_samples, mc_fact_latency};
    char text[MC_FACT_TEXT];
    size_t i;
    const json_t *pass;
    for (size_t k = 0; k < sizeof all / sizeof *all; k++)
        if (*all[k](report, text))
            fprintf(out, "  %s\n", text);
    json_array_foreach(json_object_get(report, "passes"), i, pass)
    {
        const json_t *search = json_object_get(pass, "search");
        if (*mc_fact_prune(pass, text))
            fprintf(out, "  %s\n", text);
        for (size_t k = 0; mc_fact_quant(pass, k, text); k++)
            if (*text)
                fprintf(out, "  %s\n", text);
        if (json_is_object(search))
            fprintf(out, "  %s\n", mc_fact_search(search, text));
        if (*mc_fact_refit(json_object_get(pass, "refit"), text))
            fprintf(out, "  %s\n", text);
        if (*mc_fact_repair(json_object_get(pass, "repair"), text))
            fprintf(out, "  %s\n", text);
    }
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
    char text[MC_DEVICE_TEXT];
    const char *said = mc_device_where(report, text);
    fprintf(out, "%s%s\n", said ? ", " : "", said ? said : "");
    for (int k = 0; (said = mc_device_sentence(report, k, text)); k++)
        fprintf(out, "  %s\n", said);
}

static int compressed(const json_t *report, FILE *out, int columns)
{
    struct mc_table *t = mc_table_new("lrlrr");
    title(out, report);
    figures(t, report);
    int rc = mc_table_print(t, out, 2, columns);
    mc_table_free(t);
    sentences(out, report);
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
