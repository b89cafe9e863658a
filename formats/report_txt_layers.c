#include "formats/report_txt.h"

#include <math.h>
#include <stdbool.h>
#include <string.h>

#include "base/json.h"
#include "base/table.h"
#include "base/text.h"

/* A layer with a reason was left alone. */
static bool is_left(const json_t *layer)
{
    return mc_json_string(layer, "reason") != NULL;
}

static void changed_row(struct mc_table *t, const json_t *layer)
{
    char a[MC_TEXT], b[MC_TEXT];
    double rank = mc_json_number(layer, "rank", NAN), error = mc_json_number(layer, "error", NAN);
    mc_table_cell(t, "%s", mc_json_string_or(layer, "name", "?"));
    mc_table_cell(t, "%s", mc_json_string_or(layer, "op", "?"));
    mc_table_cell(t, "%s", mc_json_string_or(layer, "action", ""));
    if (isfinite(rank))
        mc_table_cell(t, "%.0f", rank);
    else
        mc_table_cell(t, "%s", "");
    mc_table_cell(t, "%s", mc_text_bytes(mc_json_number(layer, "bytes_before", 0), a));
    mc_table_cell(t, "->");
    mc_table_cell(t, "%s", mc_text_bytes(mc_json_number(layer, "bytes_after", 0), b));
    if (isfinite(error))
        mc_table_cell(t, "%.4f", error);
    else
        mc_table_cell(t, "%s", "");
}

static int changed(const json_t *layers, FILE *out, int columns)
{
    static const char *const head[] = {"layer", "operator", "action", "rank",
                                       "bytes", "",         "",       "error"};
    struct mc_table *t = mc_table_new("LllrrlrR");
    size_t i, rows = 0;
    const json_t *layer;
    json_array_foreach(layers, i, layer)
    {
        if (is_left(layer))
            continue;
        for (size_t h = 0; rows == 0 && h < sizeof head / sizeof *head; h++)
            mc_table_cell(t, "%s", head[h]);
        rows++;
        changed_row(t, layer);
    }
    int rc = rows || !t ? mc_table_print(t, out, 2, columns) : 0;
    mc_table_free(t);
    if (rows)
        fputc('\n', out);
    return rc;
}

static const char *reason_at(const json_t *layers, size_t i)
{
    return mc_json_string_or(json_array_get(layers, i), "reason", "");
}

/* All layers left for one reason in one row: "3 x  why  a, b, c". */
static void left_row(const json_t *layers, size_t first, struct mc_table *t)
{
    enum { NAMED = 3 };
    size_t n = json_array_size(layers), count = 0;
    const char *reason = reason_at(layers, first), *names[NAMED] = {"", "", ""};
    for (size_t i = first; i < n; i++) {
        const json_t *layer = json_array_get(layers, i);
        if (!is_left(layer) || strcmp(reason_at(layers, i), reason))
            continue;
        if (count < NAMED)
            names[count] = mc_json_string_or(layer, "name", "?");
        count++;
    }
    mc_table_cell(t, "%zu x", count);
    mc_table_cell(t, "%s", reason);
    mc_table_cell(t, "%s%s%s%s%s%s", names[0], count > 1 ? ", " : "", names[1],
                  count > 2 ? ", " : "", names[2], count > NAMED ? ", ..." : "");
}

static int left(const json_t *layers, FILE *out, int columns)
{
    size_t n = json_array_size(layers), rows = 0;
    struct mc_table *t = mc_table_new("rlL");
    for (size_t i = 0; i < n; i++) {
        if (!is_left(json_array_get(layers, i)))
            continue;
        bool seen = false;
        for (size_t k = 0; k < i && !seen; k++)
            seen = is_left(json_array_get(layers, k)) &&
                   !strcmp(reason_at(layers, k), reason_at(layers, i));
        if (seen)
            continue;
        rows++;
        left_row(layers, i, t);
    }
    if (rows)
        fputs("  left as they were\n", out);
    int rc = rows || !t ? mc_table_print(t, out, 4, columns) : 0;
    mc_table_free(t);
    if (rows)
        fputc('\n', out);
    return rc;
}

int mc_report_txt_layers(const json_t *report, FILE *out, int columns)
{
    size_t i;
    const json_t *pass;
    json_array_foreach(json_object_get(report, "passes"), i, pass)
    {
        const json_t *layers = json_object_get(pass, "layers");
        if (changed(layers, out, columns) || left(layers, out, columns))
            return -1;
    }
    return 0;
}
