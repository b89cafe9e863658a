#include "formats/report_doc.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/text.h"
#include "formats/report.h"
#include "formats/report_batch.h"
#include "formats/report_training.h"

enum { CELLS = 6, TEXT = 1024 };

static double number(const json_t *object, const char *key)
{
    return mc_json_number(object, key, NAN);
}

const char *mc_doc_title(const json_t *report, char *ret, size_t n)
{
    if (mc_report_is_batch(report))
        return mc_batch_title(report, ret, n);
    const char *from = mc_json_string_or(json_object_get(report, "input"), "path", "?");
    const char *to = mc_json_string(json_object_get(report, "output"), "path");
    snprintf(ret, n, "%s%s%s", from, to ? " -> " : "", to ? to : "");
    return ret;
}

/* ---- what it came to ---- */

struct rows {
    const struct mc_doc *d;
    FILE *out;
    const char *columns;
    int n;
};

static void add(struct rows *r, const char *const *cells)
{
    r->d->row(r->out, r->columns, r->n++, cells);
}

static void end(struct rows *r)
{
    if (r->n)
        r->d->row(r->out, r->columns, r->n, NULL);
}

static void size_row(struct rows *r, const char *name, const json_t *report, const char *key,
                     const char *(*text)(double, char *))
{
    double a = number(json_object_get(report, "input"), key);
    double b = number(json_object_get(report, "output"), key);
    char before[MC_TEXT], after[MC_TEXT], share[MC_TEXT] = "";
    if (!isfinite(a) || !isfinite(b))
        return;
    if (a > 0)
        snprintf(share, sizeof share, "%.1f %%", 100 * b / a);
    add(r, (const char *[]){name, text(a, before), text(b, after), share});
}

static void metric_row(struct rows *r, const char *name, const json_t *report, const char *key,
                       bool share)
{
    double a = number(json_object_get(report, "before"), key);
    double b = number(json_object_get(report, "after"), key);
    char before[MC_TEXT] = "", after[MC_TEXT], change[MC_TEXT] = "";
    if (!isfinite(b))
        return;
    snprintf(after, sizeof after, share ? "%.2f %%" : "%.4f", share ? 100 * b : b);
    if (isfinite(a))
        snprintf(before, sizeof before, share ? "%.2f %%" : "%.4f", share ? 100 * a : a);
    if (isfinite(a))
        snprintf(change, sizeof change, share ? "%+.2f points" : "%+.4f",
                 share ? 100 * (b - a) : b - a);
    add(r, (const char *[]){name, before, after, change});
}

static void headline(const struct mc_doc *d, const json_t *report, FILE *out)
{
    struct rows r = {d, out, "lrrr", 0};
    add(&r, (const char *[]){"", "before", "after", ""});
    size_row(&r, "size", report, "bytes", mc_text_bytes);
    size_row(&r, "parameters", report, "parameters", mc_text_count);
    size_row(&r, "MACs per sample", report, "macs", mc_text_count);
    metric_row(&r, "top-1", report, "top1", true);
    metric_row(&r, "top-5", report, "top5", true);
    metric_row(&r, "loss", report, "loss", false);
    metric_row(&r, "label errors", report, "label_error_rate", true);
    end(&r);
}

static void comparison(const struct mc_doc *d, const json_t *report, FILE *out)
{
    char text[TEXT], n[MC_TEXT];
    const json_t *drop = json_object_get(report, "drop"), *ci = json_object_get(drop, "ci95");
    const char *data = mc_json_string(report, "data");
    double value = number(drop, "top1"), sqnr;
    if (isfinite(value) && json_array_size(ci) == 2) {
        snprintf(text, sizeof text, "%s %.2f points, 95 %% interval %.2f to %.2f",
                 strcmp(mc_json_string_or(drop, "of", ""), "agreement") ? "drop of top-1"
                                                                        : "changed decisions",
                 100 * value, 100 * json_number_value(json_array_get(ci, 0)),
                 100 * json_number_value(json_array_get(ci, 1)));
        d->paragraph(out, text);
    }
    const json_t *a = json_object_get(report, "agreement");
    if (isfinite(number(a, "cosine"))) {
        int at = snprintf(text, sizeof text, "agreement with the original: cosine %.6f",
                          number(a, "cosine"));
        if (isfinite(number(a, "top1")))
            at += snprintf(text + at, sizeof text - (size_t)at, ", %.2f %% same decisions",
                           100 * number(a, "top1"));
        if (isfinite(sqnr = number(a, "sqnr_db")))
            snprintf(text + at, sizeof text - (size_t)at, ", SQNR %.1f dB", sqnr);
        d->paragraph(out, text);
    }
    double samples = number(json_object_get(report, "after"), "samples");
    if (data && isfinite(samples)) {
        snprintf(text, sizeof text, "measured on %s samples of %.300s",
                 mc_text_group((int64_t)samples, n), data);
        d->paragraph(out, text);
    }
}

static void remarks(const struct mc_doc *d, const json_t *report, FILE *out)
{
    char text[TEXT];
    size_t i;
    const json_t *v;
    json_array_foreach(json_object_get(report, "gates"), i, v)
    {
        snprintf(text, sizeof text, "gate %.200s %.600s", mc_json_string_or(v, "name", "?"),
                 mc_json_string_or(v, "message", "?"));
        d->paragraph(out, text);
    }
    json_array_foreach(json_object_get(report, "warnings"), i, v)
    {
        snprintf(text, sizeof text, "warning: %.900s",
                 json_is_string(v) ? json_string_value(v) : "?");
        d->paragraph(out, text);
    }
    json_array_foreach(json_object_get(report, "notes"), i, v) if (json_is_string(v))
        d->paragraph(out, json_string_value(v));
}

/* ---- layers ---- */

static void changed_row(struct rows *r, const json_t *layer)
{
    static const char *const head[] = {"layer", "operator", "action", "rank", "bytes", "error"};
    char rank[MC_TEXT] = "", bytes[3 * MC_TEXT], error[MC_TEXT] = "", a[MC_TEXT], b[MC_TEXT];
    if (mc_json_string(layer, "reason"))
        return;
    if (!r->n)
        add(r, head);
    if (isfinite(number(layer, "rank")))
        snprintf(rank, sizeof rank, "%.0f", number(layer, "rank"));
    if (isfinite(number(layer, "error")))
        snprintf(error, sizeof error, "%.4f", number(layer, "error"));
    snprintf(bytes, sizeof bytes, "%s -> %s",
             mc_text_bytes(mc_json_number(layer, "bytes_before", 0), a),
             mc_text_bytes(mc_json_number(layer, "bytes_after", 0), b));
    add(r,
        (const char *[]){mc_json_string_or(layer, "name", "?"), mc_json_string_or(layer, "op", "?"),
                         mc_json_string_or(layer, "action", ""), rank, bytes, error});
}

static void layers(const struct mc_doc *d, const json_t *list, FILE *out)
{
    size_t i;
    const json_t *layer;
    struct rows r = {d, out, "lllrrr", 0}, left = {d, out, "lll", 0};
    json_array_foreach(list, i, layer) changed_row(&r, layer);
    end(&r);
    json_array_foreach(list, i, layer)
    {
        const char *why = mc_json_string(layer, "reason");
        if (!why)
            continue;
        if (!left.n) {
            d->heading(out, 3, "Left as they were");
            add(&left, (const char *[]){"layer", "operator", "reason"});
        }
        add(&left, (const char *[]){mc_json_string_or(layer, "name", "?"),
                                    mc_json_string_or(layer, "op", "?"), why});
    }
    end(&left);
}

/* ---- training ---- */

static void reasons(const struct mc_doc *d, const char *title, const json_t *list, FILE *out)
{
    struct rows r = {d, out, "rll", 0};
    char count[32], names[256];
    const char *why;
    size_t at = 0;
    while (mc_training_reason(list, &at, count, &why, names)) {
        if (!r.n) {
            d->heading(out, 3, title);
            add(&r, (const char *[]){"", "reason", "weights"});
        }
        add(&r, (const char *[]){count, why, names});
    }
    end(&r);
}

static void training(const struct mc_doc *d, const json_t *t, FILE *out)
{
    char text[MC_TRAINING_TEXT], cells[MC_TRAINING_CELLS][32];
    const char *s, *row[MC_TRAINING_CELLS];
    struct rows r = {d, out, "rrrrr", 0};
    d->heading(out, 2, "Training");
    for (int i = 0; (s = mc_training_sentence(t, i, text)); i++)
        if (*s)
            d->paragraph(out, s);
    if (d->curve)
        d->curve(out, t);
    for (int k = 0; k < MC_TRAINING_CELLS; k++)
        row[k] = cells[k];
    for (int i = 0; mc_training_row(t, i, cells); i++)
        add(&r, row);
    end(&r);
    reasons(d, "Not trained", json_object_get(t, "frozen"), out);
    reasons(d, "Not begun afresh", json_object_get(json_object_get(t, "reinit"), "kept"), out);
}

/* ---- how to do it again ---- */

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

static void again(const struct mc_doc *d, const json_t *report, FILE *out)
{
    char *text = NULL, line[TEXT], peak[MC_TEXT], seconds[MC_TEXT];
    size_t size = 0, i;
    const json_t *v, *words = json_object_get(report, "arguments");
    FILE *shell = json_array_size(words) ? open_memstream(&text, &size) : NULL;
    if (shell) {
        fputs("mcompress", shell);
        json_array_foreach(words, i, v)
        {
            fputc(' ', shell);
            put_word(shell, json_is_string(v) ? json_string_value(v) : "?");
        }
        if (!fclose(shell)) {
            d->heading(out, 2, "How to do it again");
            d->code(out, text);
        }
        free(text);
    }
    const char *from = mc_json_string(json_object_get(report, "input"), "sha256");
    const char *to = mc_json_string(json_object_get(report, "output"), "sha256");
    if (from || to) {
        snprintf(line, sizeof line, "SHA-256 before: %.64s, after: %.64s", from ? from : "?",
                 to ? to : "?");
        d->paragraph(out, line);
    }
    int at =
        snprintf(line, sizeof line, "mcompress %.20s", mc_json_string_or(report, "mcompress", ""));
    if (isfinite(number(report, "seed")))
        at += snprintf(line + at, sizeof line - (size_t)at, ", seed %.0f", number(report, "seed"));
    if (isfinite(number(report, "seconds")))
        at += snprintf(line + at, sizeof line - (size_t)at, ", %s",
                       mc_text_seconds(number(report, "seconds"), seconds));
    if (isfinite(number(report, "peak_rss_bytes")))
        at += snprintf(line + at, sizeof line - (size_t)at, ", peak memory %s",
                       mc_text_bytes(number(report, "peak_rss_bytes"), peak));
    snprintf(line + at, sizeof line - (size_t)at, ", %.0f threads, %.40s (%.40s)",
             mc_json_number(report, "threads", 1), mc_json_string_or(report, "device", "?"),
             mc_json_string_or(report, "kernels", "?"));
    d->paragraph(out, line);
}

/* ---- all of it ---- */

static void compressed(const struct mc_doc *d, const json_t *report, FILE *out)
{
    size_t i;
    const json_t *pass;
    headline(d, report, out);
    comparison(d, report, out);
    remarks(d, report, out);
    json_array_foreach(json_object_get(report, "passes"), i, pass)
    {
        const json_t *list = json_object_get(pass, "layers");
        const json_t *t = json_object_get(pass, "training");
        if (json_array_size(list)) {
            char title[64];
            snprintf(title, sizeof title, "Layers: %.40s", mc_json_string_or(pass, "name", "?"));
            d->heading(out, 2, title);
            layers(d, list, out);
        }
        if (json_is_object(t))
            training(d, t, out);
    }
    again(d, report, out);
}

void mc_doc_write(const struct mc_doc *d, const json_t *report, FILE *out)
{
    char text[TEXT];
    if (mc_report_is_batch(report)) {
        mc_doc_batch(d, report, out);
        return;
    }
    d->heading(out, 1, mc_doc_title(report, text, sizeof text));
    if (json_object_get(report, "passes")) {
        compressed(d, report, out);
        return;
    }
    char *plain = mc_report_text(report, 0); /* info, eval, bench: as on the terminal */
    if (plain)
        d->code(out, plain);
    free(plain);
}
