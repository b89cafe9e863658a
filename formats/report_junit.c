/* A report as JUnit: what CI shows of it. One case for every gate; one for what was measured, with the figures; one
 * for every output that was compared with test data; of a batch, one for every model. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "formats/report.h"
#include "formats/report_batch.h"
#include "formats/report_device.h"
#include "formats/report_doc.h"
#include "formats/report_format.h"
#include "formats/report_xml.h"

/* Counts the cases first, and then writes them: the numbers stand before them. */
struct sink {
    FILE *out; /* NULL: count */
    int count[4];
    const char *class;
};

static void add(struct sink *s, const struct mc_xml_case *c)
{
    struct mc_xml_case named = *c;
    named.class = s->class;
    s->count[c->verdict]++;
    if (s->out)
        mc_xml_case(s->out, &named);
}

/* Figures line by line, malloc'd. */
static char *figures(const json_t *report)
{
    char *text = NULL, line[MC_FACT_TEXT];
    size_t size = 0;
    struct mc_fact f;
    const char *(*const sentences[])(const json_t *, char *) = {
        mc_fact_verdict, mc_fact_drop, mc_fact_agreement, mc_fact_samples, mc_fact_latency};
    FILE *out = open_memstream(&text, &size);
    if (!out)
        return NULL;
    for (size_t i = 0; i < sizeof sentences / sizeof *sentences; i++)
        if (*sentences[i](report, line))
            fprintf(out, "%s\n", line);
    for (size_t i = 0; mc_fact_at(report, i, &f); i++)
        fprintf(out, "%s: %s%s%s  %s\n", f.name, f.a, *f.a ? " -> " : "", f.b, f.change);
    if (!fclose(out))
        return text;
    free(text);
    return NULL;
}

static bool measured(const json_t *report)
{
    struct mc_fact_sides s;
    mc_fact_sides(report, &s);
    return json_is_object(s.metrics_after);
}

static void gates(struct sink *s, const json_t *report)
{
    size_t i;
    const json_t *v;
    json_array_foreach(json_object_get(report, "gates"), i, v)
    {
        char name[4 * 80 + 16], text[4 * 80 + 4];
        snprintf(name, sizeof name, "gate %s",
                 mc_text_short(mc_json_string_or(v, "name", "?"), 80, text, sizeof text));
        add(s, &(struct mc_xml_case){
                   .name = name,
                   .seconds = NAN,
                   .verdict =
                       json_is_true(json_object_get(v, "passed")) ? MC_XML_PASSED : MC_XML_FAILED,
                   .message = mc_json_string_or(v, "message", "missed"),
                   .out = mc_json_string(v, "message"),
               });
    }
}

static void answers(struct sink *s, const json_t *report)
{
    char *text = figures(report);
    bool dry = json_is_true(json_object_get(report, "dry_run")), ok = measured(report);
    add(s, &(struct mc_xml_case){
               .name = ok ? "measured" : "accuracy",
               .seconds = mc_json_number(report, "seconds", NAN),
               .verdict = ok ? MC_XML_PASSED : MC_XML_SKIPPED,
               .message = dry ? "a dry run measures nothing" : "not measured: no --data",
               .out = text,
           });
    free(text);
}

/* Outputs beside those of test data. */
static void sets(struct sink *s, const json_t *report)
{
    size_t i, k;
    const json_t *set, *o;
    json_array_foreach(json_object_get(report, "sets"), i, set)
        json_array_foreach(json_object_get(set, "outputs"), k, o)
    {
        char name[8 * 60 + 8], a[4 * 60 + 4], b[4 * 60 + 4], text[160];
        const char *verdict = mc_json_string(o, "verdict");
        bool agrees = verdict && !strcmp(verdict, "agrees");
        snprintf(name, sizeof name, "%s %s",
                 mc_text_short(mc_json_string_or(set, "set", "?"), 60, a, sizeof a),
                 mc_text_short(mc_json_string_or(o, "name", "?"), 60, b, sizeof b));
        snprintf(text, sizeof text, "%.40s: %.0f of %.0f values outside, largest difference %.3g",
                 verdict ? verdict : "not compared", mc_json_number(o, "outside", 0),
                 mc_json_number(o, "elements", 0), mc_json_number(o, "max_abs", 0));
        add(s, &(struct mc_xml_case){
                   .name = name,
                   .seconds = NAN,
                   .verdict = !verdict ? MC_XML_SKIPPED
                              : agrees ? MC_XML_PASSED
                                       : MC_XML_FAILED,
                   .message = verdict ? text : "no expected output",
                   .out = verdict ? text : NULL,
               });
    }
}

/* Models of a batch: what failed is an error, a missed gate a failure. */
static void models(struct sink *s, const json_t *report)
{
    static const struct {
        const char *status;
        enum mc_xml_verdict verdict;
    } kinds[] = {{"done", MC_XML_PASSED}, {"gate", MC_XML_FAILED}, {"todo", MC_XML_SKIPPED}};
    size_t i;
    const json_t *row;
    json_array_foreach(json_object_get(report, "models"), i, row)
    {
        char text[MC_FACT_TEXT];
        enum mc_xml_verdict verdict = MC_XML_ERROR;
        for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++)
            if (!strcmp(mc_json_string_or(row, "status", ""), kinds[k].status))
                verdict = kinds[k].verdict;
        add(s, &(struct mc_xml_case){
                   .name = mc_json_string_or(row, "path", "?"),
                   .seconds = mc_json_number(row, "seconds", NAN),
                   .verdict = verdict,
                   .message = mc_json_string_or(row, "reason", "?"),
                   .out = json_object_get(row, "output") ? mc_fact_verdict(row, text) : NULL});
    }
}

/* info, bench: that it was done. */
static void done(struct sink *s, const json_t *report)
{
    char *text = mc_report_text(report, 0);
    add(s, &(struct mc_xml_case){.name = mc_json_string_or(report, "command", "info"),
                                 .seconds = mc_json_number(report, "seconds", NAN),
                                 .out = text});
    free(text);
}

static void cases(struct sink *s, const json_t *report)
{
    bool about = json_object_get(report, "passes") || json_object_get(report, "metrics");
    if (mc_report_is_batch(report)) {
        models(s, report);
    } else if (about) {
        answers(s, report);
        gates(s, report);
    } else if (json_object_get(report, "sets")) {
        sets(s, report);
    } else {
        done(s, report);
    }
}

static void properties(FILE *out, const json_t *report)
{
    static const char *const texts[] = {"mcompress", "command", "data",   "calib",
                                        "train",     "device",  "kernels"};
    static const char *const numbers[] = {"seed", "threads", "seconds", "peak_rss_bytes"};
    struct mc_fact_sides side;
    char value[64], name[64];
    int n = 0;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        const char *v = mc_json_string(report, texts[i]);
        if (v)
            mc_xml_property(out, n++, texts[i], v);
    }
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        double v = mc_json_number(report, numbers[i], NAN);
        snprintf(value, sizeof value, "%.10g", v);
        if (isfinite(v))
            mc_xml_property(out, n++, numbers[i], value);
    }
    char said[MC_DEVICE_TEXT];
    const json_t *gpu = json_object_get(report, "gpu");
    if (gpu) {
        mc_xml_property(out, n++, "gpu.name", mc_json_string_or(gpu, "name", "?"));
        mc_xml_property(out, n++, "gpu.precision", mc_json_string_or(gpu, "precision", "?"));
    }
    for (int i = 0; mc_device_sentence(report, i, said); i++)
        mc_xml_property(out, n++, "gpu", said);
    struct mc_fact f;
    for (size_t i = 0; mc_fact_at(report, i, &f); i++)
        for (int k = 0; k < 2; k++) {
            double v = k ? f.after : f.before;
            snprintf(name, sizeof name, "%s.%s", k ? "after" : "before",
                     f.kind == MC_FACT_LATENCY ? "latency_seconds" : f.key);
            snprintf(value, sizeof value, "%.10g", v);
            if (isfinite(v))
                mc_xml_property(out, n++, name, value);
        }
    mc_fact_sides(report, &side);
    const char *from = mc_json_string(side.before, "sha256"),
               *to = mc_json_string(side.after, "sha256");
    if (from)
        mc_xml_property(out, n++, "before.sha256", from);
    if (to)
        mc_xml_property(out, n++, "after.sha256", to);
    mc_xml_property(out, n, NULL, NULL);
}

char *mc_report_xml(const json_t *report)
{
    char *text = NULL, title[512], name[600];
    size_t size = 0;
    struct sink s = {.class = mc_doc_title(report, title, sizeof title)};
    FILE *out = open_memstream(&text, &size);
    if (!out)
        return NULL;
    cases(&s, report);
    snprintf(name, sizeof name, "mcompress %.60s %s", mc_json_string_or(report, "command", ""),
             title);
    mc_xml_begin(out, name, s.count, mc_json_number(report, "seconds", NAN));
    properties(out, report);
    s.out = out;
    cases(&s, report);
    mc_xml_end(out);
    if (!fclose(out))
        return text;
    free(text);
    return NULL;
}
