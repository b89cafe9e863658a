#include "formats/report_doc.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "formats/report.h"
#include "formats/report_batch.h"
#include "formats/report_reasons.h"
#include "formats/report_training.h"

enum { NAME = 60 };

static const char *last_part(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash && slash[1] ? slash + 1 : path;
}

const char *mc_doc_title(const json_t *report, char *ret, size_t n)
{
    if (mc_report_is_batch(report))
        return mc_batch_title(report, ret, n);
    char a[4 * NAME + 4], b[4 * NAME + 4];
    const char *from = mc_json_string_or(json_object_get(report, "input"), "path", "?");
    const char *to = mc_json_string(json_object_get(report, "output"), "path");
    const char *other = mc_json_string(json_object_get(report, "reference"), "path");
    mc_text_short(last_part(from), NAME, a, sizeof a);
    mc_text_short(last_part(to ? to : other ? other : ""), NAME, b, sizeof b);
    snprintf(ret, n, "%s%s%s", a, to ? " → " : other ? " against " : "", b);
    return ret;
}

void mc_doc_row(struct mc_doc_rows *r, const char *const *cells)
{
    r->d->row(r->out, r->columns, r->n++, cells);
}

void mc_doc_rows_end(struct mc_doc_rows *r)
{
    if (r->n)
        r->d->row(r->out, r->columns, r->n, NULL);
}

static void draw(const struct mc_doc *d, enum mc_figure what, const json_t *of, FILE *out)
{
    if (d->figure)
        d->figure(out, what, of);
}

static void tell(const struct mc_doc *d, const char *text, FILE *out)
{
    if (*text)
        d->remark(out, MC_REMARK_DETAIL, text);
}

/* ---- what it came to ---- */

static void facts(const struct mc_doc *d, const json_t *report, FILE *out)
{
    struct mc_doc_rows r = {d, out, "lrrr", 0};
    struct mc_fact f;
    for (size_t i = 0; mc_fact_at(report, i, &f); i++) {
        if (!i)
            mc_doc_row(&r, (const char *[]){"", "before", "after", "change"});
        mc_doc_row(&r, (const char *[]){f.name, f.a, f.b, f.change});
    }
    mc_doc_rows_end(&r);
}

static void gates(const struct mc_doc *d, const json_t *report, FILE *out)
{
    size_t i;
    const json_t *v;
    char name[4 * NAME + 4], text[4 * 400 + 4];
    json_array_foreach(json_object_get(report, "gates"), i, v)
    {
        bool passed = json_is_true(json_object_get(v, "passed"));
        mc_text_short(mc_json_string_or(v, "name", "?"), NAME, name, sizeof name);
        mc_text_short(mc_json_string_or(v, "message", "?"), 400, text, sizeof text);
        d->gate(out, passed, name, text);
    }
}

static void remarks(const struct mc_doc *d, const json_t *report, FILE *out)
{
    static const char *const lists[] = {"warnings", "notes"};
    char text[4 * 400 + 4];
    size_t i;
    const json_t *v;
    for (int k = 0; k < 2; k++)
        json_array_foreach(json_object_get(report, lists[k]), i, v)
        {
            mc_text_short(json_is_string(v) ? json_string_value(v) : "?", 400, text, sizeof text);
            d->remark(out, k ? MC_REMARK_NOTE : MC_REMARK_WARNING, text);
        }
}

void mc_doc_headline(const struct mc_doc *d, const json_t *report, FILE *out)
{
    char text[MC_FACT_TEXT];
    if (*mc_fact_verdict(report, text))
        d->verdict(out, mc_fact_state(report), text);
    gates(d, report, out);
    draw(d, MC_FIGURE_TILES, report, out);
    if (d->brief)
        facts(d, report, out);
    remarks(d, report, out);
    draw(d, MC_FIGURE_BYTES, report, out);
    draw(d, MC_FIGURE_INTERVAL, report, out);
    tell(d, mc_fact_agreement(report, text), out);
    tell(d, mc_fact_samples(report, text), out);
    tell(d, mc_fact_latency(report, text), out);
    if (!d->brief)
        facts(d, report, out);
}

/* ---- training ---- */

static void reasons(const struct mc_doc *d, const char *title, const json_t *list, FILE *out)
{
    struct mc_doc_rows r = {d, out, "rll", 0};
    char count[32];
    struct mc_reason why = {0};
    while (mc_reason_next(list, "why", &why)) {
        if (!r.n) {
            d->heading(out, 3, title);
            mc_doc_row(&r, (const char *[]){"", "reason", "weights"});
        }
        snprintf(count, sizeof count, "%zu ×", why.count);
        mc_doc_row(&r, (const char *[]){count, why.why, why.names});
    }
    mc_doc_rows_end(&r);
}

const char *mc_doc_step(size_t step, char ret[MC_DOC_STEP])
{
    *ret = 0;
    if (step)
        snprintf(ret, MC_DOC_STEP, "Step %zu. ", step);
    return ret;
}

void mc_doc_training(const struct mc_doc *d, const json_t *t, size_t step, FILE *out)
{
    char title[MC_DOC_STEP + 80], which[MC_DOC_STEP];
    const char *stage =
        mc_json_string(t, "stage"); /* a training in stages has one of these for each */
    char text[MC_TRAINING_TEXT], cells[MC_TRAINING_CELLS][32];
    const char *s, *row[MC_TRAINING_CELLS];
    struct mc_doc_rows r = {d, out, "rrrrr", 0};
    snprintf(title, sizeof title, "%sTraining%s%.60s", mc_doc_step(step, which),
             stage ? " of " : "", stage ? stage : "");
    if (d->brief)
        d->fold(out, title);
    else
        d->heading(out, 2, title);
    for (int i = 0; (s = mc_training_sentence(t, i, text)); i++)
        if (*s)
            d->paragraph(out, s);
    draw(d, MC_FIGURE_TRAINING, t, out);
    for (int k = 0; k < MC_TRAINING_CELLS; k++)
        row[k] = cells[k];
    for (int i = 0; mc_training_row(t, i, cells); i++)
        mc_doc_row(&r, row);
    mc_doc_rows_end(&r);
    reasons(d, "Not trained", json_object_get(t, "frozen"), out);
    reasons(d, "Not begun afresh", json_object_get(json_object_get(t, "reinit"), "kept"), out);
    if (d->brief)
        d->fold(out, NULL);
}

/* ---- all of it ---- */

static void compressed(const struct mc_doc *d, const json_t *report, FILE *out)
{
    size_t i;
    const json_t *passes = json_object_get(report, "passes"), *pass;
    mc_doc_headline(d, report, out);
    mc_doc_steps(d, report, out);
    json_array_foreach(passes, i, pass)
    {
        const json_t *t = json_object_get(pass, "training");
        const json_t *stages = json_object_get(pass, "training_stages");
        size_t k, step = json_array_size(passes) > 1 ? i + 1 : 0;
        mc_doc_layers(d, pass, step, out);
        mc_doc_search(d, pass, step, out);
        if (json_is_object(t) && !stages)
            mc_doc_training(d, t, step, out);
        json_array_foreach(stages, k, t) mc_doc_training(d, t, step, out);
    }
    mc_doc_again(d, report, out);
}

static void as_text(const struct mc_doc *d, const json_t *report, FILE *out)
{
    char *plain = mc_report_text(report, 0);
    if (plain)
        d->code(out, plain);
    free(plain);
}

void mc_doc_write(const struct mc_doc *d, const json_t *report, FILE *out)
{
    char text[8 * NAME + 64];
    if (mc_report_is_batch(report)) {
        mc_doc_batch(d, report, out);
        return;
    }
    d->heading(out, 1, mc_doc_title(report, text, sizeof text));
    if (json_object_get(report, "passes")) {
        compressed(d, report, out);
    } else if (json_object_get(report, "metrics")) {
        mc_doc_headline(d, report, out);
        d->fold(out, "As on the terminal");
        as_text(d, report, out);
        d->fold(out, NULL);
        mc_doc_again(d, report, out);
    } else { /* info, bench: as on the terminal */
        as_text(d, report, out);
    }
}
