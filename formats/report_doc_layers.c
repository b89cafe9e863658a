/* What a report's document says of layers, of steps and of the search. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "formats/report_doc.h"
#include "formats/report_layers.h"
#include "formats/report_reasons.h"

enum { OPEN_ROWS = 12, NAME = 60, MOST_OPTIONS = 400 };

static double number(const json_t *o, const char *key)
{
    return mc_json_number(o, key, NAN);
}

static const char *arrow(double a, double b, const char *(*text)(double, char *),
                         char ret[3 * MC_TEXT])
{
    char before[MC_TEXT], after[MC_TEXT];
    *ret = 0;
    if (isfinite(a) && isfinite(b))
        snprintf(ret, 3 * MC_TEXT, "%s → %s", text(a, before), text(b, after));
    return ret;
}

/* ---- layers ---- */

/* by: what the column of errors holds, or NULL: there is none. */
static void changed_row(struct mc_doc_rows *r, const struct mc_report_layer *l, const char *by)
{
    char bytes[3 * MC_TEXT], macs[3 * MC_TEXT], share[MC_TEXT] = "", error[MC_TEXT] = "";
    bool measured = by && !strcmp(by, "error");
    double v = measured ? l->error : l->predicted;
    if (!r->n)
        mc_doc_row(r,
                   (const char *[]){"layer", "operator", "how", "choice", "size", "", "MACs", by});
    if (l->before > 0 && isfinite(l->after))
        snprintf(share, sizeof share, "%.1f %%", 100 * l->after / l->before);
    if (isfinite(v))
        snprintf(error, sizeof error, measured ? "%.4f" : "%.2g", v);
    arrow(l->before, l->after, mc_text_bytes, bytes);
    arrow(l->macs_before, l->macs_after, mc_text_count, macs);
    mc_doc_row(r, (const char *[]){l->name, l->op, l->form, l->choice, bytes, share, macs, error});
}

static void changed(const struct mc_doc *d, const json_t *pass, size_t n, FILE *out)
{
    const json_t *list = json_object_get(pass, "layers");
    const char *error = mc_report_layers_error(pass);
    struct mc_doc_rows r = {d, out, error ? "llllrrrr" : "llllrrr", 0};
    struct mc_report_layer l;
    size_t i;
    const json_t *entry;
    bool fold = !d->brief && n > OPEN_ROWS;
    char text[64];
    snprintf(text, sizeof text, "All %zu layers that were changed", n);
    if (fold)
        d->fold(out, text);
    json_array_foreach(list, i, entry) if (mc_report_layer_read(entry, &l) && !l.reason)
        changed_row(&r, &l, error);
    mc_doc_rows_end(&r);
    if (fold)
        d->fold(out, NULL);
}

/* All layers of which `key` says the same in one row. */
static void grouped(const struct mc_doc *d, const json_t *list, const char *key, const char *title,
                    const char *what, FILE *out)
{
    struct mc_doc_rows r = {d, out, "rll", 0};
    struct mc_reason why = {0};
    char count[32];
    while (mc_reason_next(list, key, &why)) {
        if (!r.n) {
            d->heading(out, 3, title);
            mc_doc_row(&r, (const char *[]){"", what, "layers"});
        }
        snprintf(count, sizeof count, "%zu ×", why.count);
        mc_doc_row(&r, (const char *[]){count, why.why, why.names});
    }
    mc_doc_rows_end(&r);
}

static void left(const struct mc_doc *d, const json_t *list, size_t n, FILE *out)
{
    struct mc_doc_rows all = {d, out, "lll", 0};
    char text[64];
    size_t i;
    const json_t *entry;
    struct mc_report_layer l;
    grouped(d, list, "reason", "Left as they were", "why", out);
    if (d->brief || n < 4) /* the reasons have named them */
        return;
    snprintf(text, sizeof text, "All %zu of them", n);
    d->fold(out, text);
    json_array_foreach(list, i, entry)
    {
        if (!mc_report_layer_read(entry, &l) || !l.reason)
            continue;
        if (!all.n)
            mc_doc_row(&all, (const char *[]){"layer", "operator", "why"});
        mc_doc_row(&all, (const char *[]){l.name, l.op, l.reason});
    }
    mc_doc_rows_end(&all);
    d->fold(out, NULL);
}

void mc_doc_layers(const struct mc_doc *d, const json_t *pass, size_t step, FILE *out)
{
    const json_t *list = json_object_get(pass, "layers");
    char title[4 * NAME + 160], name[4 * NAME + 4], which[MC_DOC_STEP];
    struct mc_report_layer_sums s;
    mc_report_layer_sums(list, &s);
    if (!s.changed && !s.left)
        return;
    mc_text_short(mc_json_string_or(pass, "name", "?"), NAME, name, sizeof name);
    snprintf(title, sizeof title, "%sLayers: %s changed %zu, left %zu as %s",
             mc_doc_step(step, which), name, s.changed, s.left,
             s.left == 1 ? "it was" : "they were");
    if (d->brief)
        d->fold(out, title);
    else
        d->heading(out, 2, title);
    if (d->figure)
        d->figure(out, MC_FIGURE_LAYERS, pass);
    if (s.changed)
        changed(d, pass, s.changed, out);
    grouped(d, list, "note", "Remarks", "what", out);
    if (s.left)
        left(d, list, s.left, out);
    if (d->brief)
        d->fold(out, NULL);
}

/* ---- steps ---- */

/* "keep=0.12, norm=auto" */
static void options_text(const json_t *options, char *ret, size_t size)
{
    const char *key;
    json_t *v;
    size_t n = 0;
    *ret = 0;
    json_object_foreach((json_t *)options, key, v)
    {
        const json_t *one = json_array_size(v) == 1 ? json_array_get(v, 0) : v;
        char *text = json_dumps(one, JSON_ENCODE_ANY | JSON_COMPACT | JSON_REAL_PRECISION(6));
        char part[4 * 40 + 4], word[4 * 24 + 4];
        const char *plain = json_is_string(one) ? json_string_value(one) : text ? text : "?";
        mc_text_short(plain, 40, part, sizeof part);
        mc_text_short(key, 24, word, sizeof word);
        free(text);
        if (n + strlen(part) + strlen(word) + 8 >= size)
            return;
        n += (size_t)snprintf(ret + n, size - n, "%s%s=%s", n ? ", " : "", word, part);
    }
}

void mc_doc_steps(const struct mc_doc *d, const json_t *report, FILE *out)
{
    const json_t *passes = json_object_get(report, "passes"), *pass;
    struct mc_doc_rows r = {d, out, "rllrr", 0};
    size_t i;
    if (json_array_size(passes) < 2)
        return;
    if (d->brief)
        d->fold(out, "Steps");
    else
        d->heading(out, 2, "Steps");
    if (d->figure)
        d->figure(out, MC_FIGURE_STEPS, report);
    mc_doc_row(&r, (const char *[]){"", "step", "options", "size after it", "time"});
    json_array_foreach(passes, i, pass)
    {
        char count[32], name[4 * NAME + 4], options[512], size[MC_TEXT] = "", took[MC_TEXT] = "";
        double bytes = number(pass, "bytes_after"), seconds = number(pass, "seconds");
        snprintf(count, sizeof count, "%zu", i + 1);
        mc_text_short(mc_json_string_or(pass, "name", "?"), NAME, name, sizeof name);
        options_text(json_object_get(pass, "options"), options, sizeof options);
        if (isfinite(bytes))
            mc_text_bytes(bytes, size);
        if (isfinite(seconds))
            mc_text_seconds(seconds, took);
        mc_doc_row(&r, (const char *[]){count, name, options, size, took});
    }
    mc_doc_rows_end(&r);
    if (d->brief)
        d->fold(out, NULL);
}

/* ---- the search ---- */

static bool was_measured(const json_t *layers)
{
    size_t i, k;
    const json_t *layer, *o;
    json_array_foreach(layers, i, layer) json_array_foreach(
        json_object_get(layer, "options"), k, o) if (isfinite(number(o, "error"))) return true;
    return false;
}

/* Where none was measured those that were chosen, with what was predicted. */
static void options_of(struct mc_doc_rows *r, const json_t *layer, bool measured, size_t *ret_n)
{
    size_t i;
    const json_t *o;
    char name[4 * NAME + 4], option[4 * 30 + 4];
    const char *choice = mc_json_string_or(layer, "choice", "");
    mc_text_short(mc_json_string_or(layer, "name", "?"), NAME, name, sizeof name);
    json_array_foreach(json_object_get(layer, "options"), i, o)
    {
        char bytes[MC_TEXT] = "", macs[MC_TEXT] = "", error[MC_TEXT] = "";
        double b = number(o, "bytes"), m = number(o, "macs");
        double e = number(o, measured ? "error" : "predicted");
        bool chosen = !strcmp(mc_json_string_or(o, "option", ""), choice);
        if (!chosen && !(measured && isfinite(e)))
            continue;
        if ((*ret_n)++ >= MOST_OPTIONS)
            return;
        mc_text_short(mc_json_string_or(o, "option", "?"), 30, option, sizeof option);
        if (isfinite(b))
            mc_text_bytes(b, bytes);
        if (isfinite(m))
            mc_text_count(m, macs);
        if (isfinite(e))
            snprintf(error, sizeof error, "%.3g", e);
        if (!r->n)
            mc_doc_row(r, (const char *[]){"layer", "option", "bytes", "MACs",
                                           measured ? "error" : "predicted", ""});
        mc_doc_row(r, (const char *[]){name, option, bytes, macs, error, chosen ? "chosen" : ""});
    }
}

static void sets(const struct mc_doc *d, const json_t *tried, FILE *out)
{
    struct mc_doc_rows r = {d, out, "lrrrrrl", 0};
    size_t i;
    const json_t *t;
    double first = number(json_array_get(tried, 0), "cost");
    json_array_foreach(tried, i, t)
    {
        char layers[MC_TEXT], kl[MC_TEXT] = "", alike[MC_TEXT] = "", noise[MC_TEXT] = "";
        char cost[MC_TEXT] = "", name[4 * NAME + 4];
        if (!r.n)
            mc_doc_row(&r, (const char *[]){"forms", "layers", "KL", "agreement", "SQNR", "cost",
                                            "keeps the answer"});
        mc_text_short(mc_json_string_or(t, "set", "?"), NAME, name, sizeof name);
        if (isfinite(number(t, "agreement"))) {
            snprintf(alike, sizeof alike, "%.2f %%", 100 * number(t, "agreement"));
            snprintf(kl, sizeof kl, "%.2g", number(t, "kl"));
        }
        if (isfinite(number(t, "sqnr_db")))
            snprintf(noise, sizeof noise, "%.1f dB", number(t, "sqnr_db"));
        if (first > 0)
            snprintf(cost, sizeof cost, "%.3f", number(t, "cost") / first);
        mc_text_group((int64_t)mc_json_number(t, "layers", 0), layers);
        mc_doc_row(&r, (const char *[]){name, layers, kl, alike, noise, cost,
                                        json_is_true(json_object_get(t, "keeps")) ? "yes" : "no"});
    }
    mc_doc_rows_end(&r);
}

static bool has_options(const json_t *layers)
{
    size_t i;
    const json_t *layer;
    json_array_foreach(layers, i,
                       layer) if (json_array_size(json_object_get(layer, "options"))) return true;
    return false;
}

void mc_doc_search(const struct mc_doc *d, const json_t *pass, size_t step, FILE *out)
{
    const json_t *search = json_object_get(pass, "search"), *layer;
    char text[MC_FACT_TEXT], title[MC_DOC_STEP + 8], which[MC_DOC_STEP];
    size_t i, n = 0;
    if (*mc_fact_prune(pass, text))
        d->remark(out, MC_REMARK_DETAIL, text);
    for (size_t k = 0; mc_fact_quant(pass, k, text); k++)
        if (*text)
            d->remark(out, MC_REMARK_DETAIL, text);
    if (*mc_fact_refit(json_object_get(pass, "refit"), text))
        d->remark(out, MC_REMARK_DETAIL, text);
    if (*mc_fact_repair(json_object_get(pass, "repair"), text))
        d->remark(out, MC_REMARK_DETAIL, text);
    if (!json_is_object(search))
        return;
    mc_fact_search(search, text);
    if (d->brief) {
        d->remark(out, MC_REMARK_DETAIL, text);
        return;
    }
    snprintf(title, sizeof title, "%sSearch", mc_doc_step(step, which));
    d->heading(out, 2, title);
    char *told = text + strlen("search: "); /* the title says that it is one */
    if (*told >= 'a' && *told <= 'z')
        *told = (char)(*told - 'a' + 'A');
    d->paragraph(out, told);
    if (d->figure)
        d->figure(out, MC_FIGURE_SEARCH, pass);
    sets(d, json_object_get(search, "tried"), out);
    if (!has_options(json_object_get(search, "layers")))
        return;
    struct mc_doc_rows r = {d, out, "llrrrl", 0};
    bool measured = was_measured(json_object_get(search, "layers"));
    d->fold(out, measured ? "Every option that was measured" : "Every option that was chosen");
    json_array_foreach(json_object_get(search, "layers"), i, layer)
        options_of(&r, layer, measured, &n);
    mc_doc_rows_end(&r);
    if (n > MOST_OPTIONS)
        d->paragraph(out, "and more: the report as .json has all of them");
    d->fold(out, NULL);
}
