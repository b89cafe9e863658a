#include "formats/report_txt.h"

#include <math.h>
#include <string.h>

#include "base/json.h"
#include "base/table.h"
#include "base/text.h"
#include "formats/report_layers.h"
#include "formats/report_reasons.h"

static void error_cell(struct mc_table *t, const struct mc_report_layer *l, bool measured)
{
    double v = measured ? l->error : l->predicted;
    if (isfinite(v))
        mc_table_cell(t, measured ? "%.4f" : "%.2g", v);
    else
        mc_table_cell(t, "%s", "");
}

static void changed_row(struct mc_table *t, const struct mc_report_layer *l, const char *error)
{
    char a[MC_TEXT], b[MC_TEXT];
    mc_table_cell(t, "%s", l->full);
    mc_table_cell(t, "%s", l->op);
    mc_table_cell(t, "%s", l->form);
    mc_table_cell(t, "%s", l->choice);
    mc_table_cell(t, "%s", mc_text_bytes(isfinite(l->before) ? l->before : 0, a));
    mc_table_cell(t, "->");
    mc_table_cell(t, "%s", mc_text_bytes(isfinite(l->after) ? l->after : 0, b));
    if (error)
        error_cell(t, l, !strcmp(error, "error"));
}

static int changed(const json_t *pass, FILE *out, int columns)
{
    const json_t *layers = json_object_get(pass, "layers");
    const char *error = mc_report_layers_error(pass);
    const char *const head[] = {"layer", "operator", "form", "choice", "bytes", "", "", error};
    struct mc_table *t = mc_table_new(error ? "LllrrlrR" : "Lllrrlr");
    size_t i, rows = 0;
    const json_t *entry;
    struct mc_report_layer l;
    json_array_foreach(layers, i, entry)
    {
        if (!mc_report_layer_read(entry, &l) || l.reason)
            continue;
        for (size_t h = 0; rows == 0 && h < sizeof head / sizeof *head && head[h]; h++)
            mc_table_cell(t, "%s", head[h]);
        rows++;
        changed_row(t, &l, error);
    }
    int rc = rows || !t ? mc_table_print(t, out, 2, columns) : 0;
    mc_table_free(t);
    if (rows)
        fputc('\n', out);
    return rc;
}

/* All layers of one reason in one row: "3 x  why  a, b, c". */
static int reasons(const json_t *layers, const char *key, const char *title, FILE *out, int columns)
{
    struct mc_table *t = mc_table_new("rlL");
    struct mc_reason why = {0};
    size_t rows = 0;
    while (mc_reason_next(layers, key, &why)) {
        if (!rows++)
            fprintf(out, "  %s\n", title);
        mc_table_cell(t, "%zu x", why.count);
        mc_table_cell(t, "%s", why.why);
        mc_table_cell(t, "%s", why.names);
    }
    int rc = rows || !t ? mc_table_print(t, out, 4, columns) : 0;
    mc_table_free(t);
    if (rows)
        fputc('\n', out);
    return rc;
}

/* Of a chain: what each step did. */
static void steps(const json_t *passes, FILE *out)
{
    size_t i;
    const json_t *pass;
    if (!mc_json_string(json_array_get(passes, 0), "summary"))
        return;
    fputs("  steps\n", out);
    json_array_foreach(passes, i, pass)
        fprintf(out, "    %zu  %s\n", i + 1, mc_json_string_or(pass, "summary", "?"));
    fputc('\n', out);
}

int mc_report_txt_layers(const json_t *report, FILE *out, int columns)
{
    size_t i;
    const json_t *passes = json_object_get(report, "passes"), *pass;
    bool several = json_array_size(passes) > 1;
    if (several)
        steps(passes, out);
    json_array_foreach(passes, i, pass)
    {
        const json_t *layers = json_object_get(pass, "layers");
        if (several && json_array_size(layers))
            fprintf(out, "  step %zu: %s\n", i + 1, mc_json_string_or(pass, "name", "?"));
        if (changed(pass, out, columns) || reasons(layers, "note", "remarks", out, columns) ||
            reasons(layers, "reason", "left as they were", out, columns))
            return -1;
    }
    return 0;
}
