#include "formats/report_batch.h"

#include <math.h>
#include <string.h>

#include "base/json.h"
#include "base/table.h"
#include "base/text.h"

enum { TEXT = 1024, BAR = 12 };

bool mc_report_is_batch(const json_t *report)
{
    return json_is_object(json_object_get(report, "batch"));
}

static double number(const json_t *object, const char *key)
{
    return mc_json_number(object, key, NAN);
}

const char *mc_batch_title(const json_t *report, char *ret, size_t n)
{
    const json_t *b = json_object_get(report, "batch");
    snprintf(ret, n, "%.400s -> %.400s, %.200s", mc_json_string_or(b, "folder", "?"),
             mc_json_string_or(b, "output", "?"), mc_json_string_or(b, "recipe", "?"));
    return ret;
}

/* ---- what the faces share ---- */

enum { NAME = 4096 };

/* A path in one line, whatever is in it. */
static const char *name_of(const json_t *row, char ret[NAME])
{
    size_t n = 0;
    for (const char *s = mc_json_string_or(row, "path", "?"); *s && n + 1 < NAME; s++)
        ret[n++] = (unsigned char)*s < 32 || *s == 127 ? '?' : *s;
    ret[n] = 0;
    return ret;
}

struct cells { /* of one model */
    char before[MC_TEXT], after[MC_TEXT], share[MC_TEXT], change[MC_TEXT], seconds[MC_TEXT];
    double part; /* after/before, NaN where there is no result */
    const char *status;
    char path[NAME];
};

static void change(const json_t *row, char ret[MC_TEXT])
{
    const json_t *drop = json_object_get(row, "drop");
    double v = number(drop, "top1");
    *ret = 0;
    if (isfinite(v) && !strcmp(mc_json_string_or(drop, "of", ""), "agreement"))
        snprintf(ret, MC_TEXT, "%.2f %% changed", 100 * v);
    else if (isfinite(v))
        snprintf(ret, MC_TEXT, "%+.2f points", -100 * v + 0.0);
}

static void cells_of(const json_t *row, struct cells *c)
{
    const char *status = mc_json_string_or(row, "status", "?");
    double before = number(json_object_get(row, "input"), "bytes");
    double after = number(json_object_get(row, "output"), "bytes");
    *c = (struct cells){.part = NAN};
    name_of(row, c->path);
    c->status = !strcmp(status, "gate") ? "missed" : !strcmp(status, "todo") ? "to do" : status;
    if (isfinite(before))
        mc_text_bytes(before, c->before);
    if (isfinite(after))
        mc_text_bytes(after, c->after);
    if (before > 0 && isfinite(after)) {
        c->part = after / before;
        snprintf(c->share, sizeof c->share, "%.1f %%", 100 * c->part);
    }
    change(row, c->change);
    if (isfinite(number(row, "seconds")))
        mc_text_seconds(number(row, "seconds"), c->seconds);
}

static void totals(const json_t *report, char ret[TEXT])
{
    static const struct {
        const char *key, *text;
    } parts[] = {
        {"done", "done"}, {"failed", "failed"}, {"gate", "missed a gate"}, {"todo", "to do"}};
    const json_t *t = json_object_get(report, "totals");
    double before = mc_json_number(t, "bytes_before", 0),
           after = mc_json_number(t, "bytes_after", 0);
    char a[MC_TEXT], b[MC_TEXT];
    double models = mc_json_number(t, "models", 0);
    snprintf(ret, TEXT, "%.0f model%s", models, models == 1 ? "" : "s");
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        double n = mc_json_number(t, parts[i].key, 0);
        if (n > 0 || i == 0)
            mc_text_add(ret, TEXT, "%s %.0f %s", i ? "," : ":", n, parts[i].text);
    }
    if (before > 0)
        mc_text_add(ret, TEXT, "; %s -> %s, %.1f %%", mc_text_bytes(before, a),
                    mc_text_bytes(after, b), 100 * after / before);
}

static void cost(const json_t *report, char ret[TEXT])
{
    const json_t *r = json_object_get(report, "run");
    char s[MC_TEXT];
    double jobs = mc_json_number(r, "jobs", 1), threads = mc_json_number(r, "threads", 1);
    double before = mc_json_number(r, "done_before", 0);
    snprintf(ret, TEXT, "%s, %.0f at once, %.0f thread%s each",
             mc_text_seconds(number(r, "seconds"), s), jobs, threads, threads == 1 ? "" : "s");
    if (before > 0)
        mc_text_add(ret, TEXT, "; %.0f %s finished by an earlier run", before,
                    before == 1 ? "was" : "were");
}

/* Row i of those in a state, from *at on; NULL behind the last. */
static const json_t *next_of(const json_t *report, const char *status, size_t *at)
{
    const json_t *models = json_object_get(report, "models"), *row;
    while ((row = json_array_get(models, *at))) {
        ++*at;
        if (!strcmp(mc_json_string_or(row, "status", ""), status))
            return row;
    }
    return NULL;
}

/* Why, and what lies where the result should be. */
static const char *reason_of(const json_t *row, char ret[TEXT])
{
    snprintf(ret, TEXT, "%.600s%s", mc_json_string_or(row, "reason", "?"),
             mc_json_string(row, "stale_output") ? " (the file there is of an earlier run)" : "");
    return ret;
}

static const struct section {
    const char *status, *small, *large;
} sections[] = {{"failed", "failed", "Failed"},
                {"gate", "missed a gate", "Missed a gate"},
                {"todo", "to do", "To do"}};
enum { SECTIONS = sizeof sections / sizeof *sections };

/* ---- text ---- */

static int rows(const json_t *report, FILE *out, int columns)
{
    static const char *const head[] = {"model", "before", "", "after", "", "top-1", "time", ""};
    struct mc_table *t = mc_table_new("Lrlrrrrl");
    struct cells c;
    size_t i;
    const json_t *row;
    for (i = 0; i < sizeof head / sizeof *head; i++)
        mc_table_cell(t, "%s", head[i]);
    json_array_foreach(json_object_get(report, "models"), i, row)
    {
        cells_of(row, &c);
        const char *const cells[] = {c.path,    c.before, *c.after ? "->" : "",
                                     c.after,   c.share,  c.change,
                                     c.seconds, c.status};
        for (size_t k = 0; k < sizeof cells / sizeof *cells; k++)
            mc_table_cell(t, "%s", cells[k]);
    }
    int rc = mc_table_print(t, out, 2, columns);
    mc_table_free(t);
    fputc('\n', out);
    return rc;
}

static void reasons(const json_t *report, const struct section *s, FILE *out)
{
    char text[TEXT], name[NAME];
    const json_t *row;
    bool any = false;
    for (size_t at = 0; (row = next_of(report, s->status, &at)); any = true)
        fprintf(out, "%s%s%s    %s: %s\n", any ? "" : "  ", any ? "" : s->small, any ? "" : "\n",
                name_of(row, name), reason_of(row, text));
    if (any)
        fputc('\n', out);
}

int mc_report_txt_batch(const json_t *report, FILE *out, int columns)
{
    char text[TEXT];
    bool dry = json_is_true(json_object_get(report, "dry_run"));
    fprintf(out, "%s%s\n\n", mc_batch_title(report, text, sizeof text),
            dry ? ": dry run, nothing is written" : "");
    int rc = rows(report, out, columns);
    for (size_t i = 0; i < SECTIONS; i++)
        reasons(report, &sections[i], out);
    totals(report, text);
    fprintf(out, "  %s\n", text);
    cost(report, text);
    if (!dry)
        fprintf(out, "  %s\n", text);
    return rc;
}

/* ---- documents ---- */

/* What remains as a bar, in eighths of a letter. */
static void bar(double part, char ret[3 * BAR + 1])
{
    int eighths = part < 0 ? 0 : part < 1 ? (int)lrint(part * BAR * 8) : BAR * 8, at = 0;
    for (; eighths >= 8; eighths -= 8, at += 3)
        memcpy(ret + at, "\xe2\x96\x88", 3); /* U+2588, the full block; below it the others */
    if (eighths) {
        memcpy(ret + at, "\xe2\x96\x88", 3);
        ret[at + 2] = (char)(0x88 + 8 - eighths);
        at += 3;
    }
    ret[at] = 0;
}

static void doc_rows(const struct mc_doc *d, const json_t *report, FILE *out)
{
    static const char columns[] = "lrrrlrrl";
    char drawn[3 * BAR + 1];
    struct cells c;
    size_t i;
    const json_t *row;
    d->row(out, columns, 0,
           (const char *[]){"model", "before", "after", "share", "", "top-1", "time", "status"});
    json_array_foreach(json_object_get(report, "models"), i, row)
    {
        cells_of(row, &c);
        drawn[0] = 0;
        if (isfinite(c.part))
            bar(c.part, drawn);
        d->row(out, columns, (int)i + 1,
               (const char *[]){c.path, c.before, c.after, c.share, drawn, c.change, c.seconds,
                                c.status});
    }
    d->row(out, columns, (int)i + 1, NULL);
}

static void doc_reasons(const struct mc_doc *d, const json_t *report, const struct section *s,
                        FILE *out)
{
    char text[TEXT], name[NAME];
    const json_t *row;
    int n = 0;
    for (size_t at = 0; (row = next_of(report, s->status, &at));) {
        if (!n++) {
            d->heading(out, 2, s->large);
            d->row(out, "ll", 0, (const char *[]){"model", "reason"});
        }
        d->row(out, "ll", n, (const char *[]){name_of(row, name), reason_of(row, text)});
    }
    if (n)
        d->row(out, "ll", n, NULL);
}

static enum mc_fact_state state_of(const json_t *report)
{
    size_t i;
    const json_t *row;
    json_array_foreach(
        json_object_get(report, "models"), i,
        row) if (strcmp(mc_json_string_or(row, "status", ""), "done")) return MC_FACT_MISSED;
    return MC_FACT_PASSED;
}

void mc_doc_batch(const struct mc_doc *d, const json_t *report, FILE *out)
{
    char text[TEXT];
    d->heading(out, 1, mc_batch_title(report, text, sizeof text));
    totals(report, text);
    d->verdict(out, state_of(report), text);
    for (size_t i = 0; i < SECTIONS; i++)
        doc_reasons(d, report, &sections[i], out);
    d->heading(out, 2, "Models");
    doc_rows(d, report, out);
    cost(report, text);
    d->paragraph(out, text);
    mc_doc_again(d, report, out);
}
