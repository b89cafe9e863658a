/* How to do again what a report tells of. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "formats/report_device.h"
#include "formats/report_doc.h"

enum { NAME = 200 };

static double number(const json_t *o, const char *key)
{
    return mc_json_number(o, key, NAN);
}

/* A word as a shell takes it: in quotes where it has anything unusual. */
static void put_word(FILE *out, const char *word)
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                                "-_./:,=+@%";
    if (*word && strspn(word, plain) == strlen(word)) {
        fputs(word, out);
        return;
    }
    fputc('\'', out);
    for (; *word; word++)
        fputs(*word == '\'' ? "'\\''" : (char[]){*word, 0}, out);
    fputc('\'', out);
}

static void command(const struct mc_doc *d, const json_t *words, FILE *out)
{
    char *text = NULL;
    size_t size = 0, i;
    const json_t *v;
    FILE *shell = json_array_size(words) ? open_memstream(&text, &size) : NULL;
    if (!shell)
        return;
    fputs("mcompress", shell);
    json_array_foreach(words, i, v)
    {
        fputc(' ', shell);
        put_word(shell, json_is_string(v) ? json_string_value(v) : "?");
    }
    if (!fclose(shell))
        d->code(out, text);
    free(text);
}

static void put(struct mc_doc_rows *r, const char *name, const char *value)
{
    char text[4 * NAME + 4];
    if (!value || !*value)
        return;
    if (!r->n)
        mc_doc_row(r, (const char *[]){"", ""});
    mc_doc_row(r, (const char *[]){name, mc_text_short(value, NAME, text, sizeof text)});
}

static void machine(struct mc_doc_rows *r, const json_t *report)
{
    char text[MC_DEVICE_TEXT], n[MC_TEXT];
    const char *said;
    double threads = number(report, "threads");
    if (mc_device_where(report, text)) {
        if (isfinite(threads))
            mc_text_add(text, sizeof text, ", %.0f thread%s", threads, threads == 1 ? "" : "s");
        put(r, "computed on", text);
    }
    for (int i = 0; (said = mc_device_sentence(report, i, text)); i++)
        put(r, i ? "" : "the GPU", said);
    if (isfinite(number(report, "seconds")))
        put(r, "time", mc_text_seconds(number(report, "seconds"), n));
    if (isfinite(number(report, "peak_rss_bytes")))
        put(r, "peak memory", mc_text_bytes(number(report, "peak_rss_bytes"), n));
}

/* "fashion-mnist:test, 10,000 samples" */
static void samples(struct mc_doc_rows *r, const char *name, const char *spec, double count)
{
    char text[4 * NAME + 64], what[4 * 120 + 4], n[MC_TEXT];
    if (!spec)
        return;
    mc_text_short(spec, 120, what, sizeof what);
    if (count > 0)
        snprintf(text, sizeof text, "%s, %s samples", what, mc_text_group((int64_t)count, n));
    else
        snprintf(text, sizeof text, "%s", what);
    put(r, name, text);
}

void mc_doc_again(const struct mc_doc *d, const json_t *report, FILE *out)
{
    struct mc_doc_rows r = {d, out, "ll", 0};
    struct mc_fact_sides s;
    char seed[32];
    mc_fact_sides(report, &s);
    if (d->brief)
        d->fold(out, "How to do it again");
    else
        d->heading(out, 2, "How to do it again");
    command(d, json_object_get(report, "arguments"), out);
    put(&r, "mcompress", mc_json_string(report, "mcompress"));
    if (isfinite(number(report, "seed"))) {
        snprintf(seed, sizeof seed, "%.0f", number(report, "seed"));
        put(&r, "seed", seed);
    }
    samples(&r, "measured on", mc_json_string(report, "data"), number(s.metrics_after, "samples"));
    samples(&r, "calibrated on", mc_json_string(report, "calib"), number(report, "calib_samples"));
    samples(&r, "trained on", mc_json_string(report, "train"), NAN);
    put(&r, "preprocessing", mc_json_string(report, "preprocess"));
    machine(&r, report);
    put(&r, "before", mc_json_string(s.before, "path"));
    put(&r, "its SHA-256", mc_json_string(s.before, "sha256"));
    put(&r, "after", mc_json_string(s.after, "path"));
    put(&r, "its SHA-256", mc_json_string(s.after, "sha256"));
    mc_doc_rows_end(&r);
    if (d->brief)
        d->fold(out, NULL);
}
