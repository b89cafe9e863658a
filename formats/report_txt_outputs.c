/* Outputs of a model: compared with what was expected of test data, or described. */
#include <math.h>
#include <stdbool.h>
#include <string.h>

#include "base/json.h"
#include "base/table.h"
#include "base/text.h"
#include "formats/report_txt.h"

/* "[1,?,28]"; "?" where even the rank varies. */
static const char *numbers(const json_t *list, char *ret, size_t size)
{
    size_t n = 0, i;
    const json_t *v;
    if (!json_is_array(list))
        return "?";
    ret[n++] = '[';
    json_array_foreach(list, i, v)
    {
        char text[32] = "?";
        if (json_is_integer(v))
            snprintf(text, sizeof text, "%" JSON_INTEGER_FORMAT, json_integer_value(v));
        n += (size_t)snprintf(ret + n, size - n, "%s%s", i ? "," : "", text);
        if (n + 40 > size)
            break;
    }
    memcpy(ret + n, "]", 2);
    return ret;
}

static const char *value(const json_t *row, const char *key, char ret[MC_TEXT])
{
    const json_t *v = json_object_get(row, key);
    if (json_is_string(v))
        return json_string_value(v);
    double x = mc_json_number(row, key, NAN);
    if (isnan(x))
        return "-";
    snprintf(ret, MC_TEXT, "%.6g", x);
    return ret;
}

static void described(struct mc_table *t, const json_t *row)
{
    char text[MC_TEXT];
    static const char *const keys[] = {"min", "mean", "max"};
    for (size_t i = 0; i < 3; i++)
        mc_table_cell(t, "%s", value(row, keys[i], text));
    double n = mc_json_number(row, "elements", 0);
    double nan = mc_json_number(row, "nan", 0), inf = mc_json_number(row, "infinite", 0);
    if (nan > 0)
        mc_table_cell(t, "%.3g %% NaN", 100 * nan / n);
    else if (inf > 0)
        mc_table_cell(t, "%.3g %% infinite", 100 * inf / n);
    else
        mc_table_cell(t, "%s", "");
}

static void head(struct mc_table *t, const char *const *titles)
{
    for (; *titles; titles++)
        mc_table_cell(t, "%s", *titles);
}

static void named(struct mc_table *t, const json_t *row)
{
    char shape[256];
    mc_table_cell(t, "%s", mc_json_string_or(row, "name", "?"));
    mc_table_cell(t, "%s", mc_json_string_or(row, "type", "?"));
    mc_table_cell(t, "%s", numbers(json_object_get(row, "shape"), shape, sizeof shape));
}

int mc_report_txt_outputs(const json_t *report, FILE *out, int columns)
{
    static const char *const titles[] = {"output", "type", "shape", "min", "mean", "max", "", NULL};
    const json_t *rows = json_object_get(report, "outputs"), *row;
    size_t i;
    /* Where there are better figures, the outputs are not told. */
    const json_t *metrics = json_object_get(report, "metrics");
    bool measured = isfinite(mc_json_number(metrics, "top1", NAN)) ||
                    isfinite(mc_json_number(metrics, "label_error_rate", NAN));
    if (!json_array_size(rows) || measured || json_object_get(report, "reference"))
        return 0;
    struct mc_table *t = mc_table_new("Lllrrrl");
    head(t, titles);
    json_array_foreach(rows, i, row)
    {
        named(t, row);
        described(t, row);
    }
    int rc = mc_table_print(t, out, 2, columns);
    mc_table_free(t);
    fputc('\n', out);
    return rc;
}

/* "at [0,3]: 1.5, expected 1", or what of the output is another. */
static void difference(struct mc_table *t, const json_t *row)
{
    char text[256], a[MC_TEXT], b[MC_TEXT];
    const json_t *shape = json_object_get(row, "expected_shape");
    const char *type = mc_json_string(row, "expected_type");
    const json_t *first = json_object_get(row, "first");
    const char *item = mc_json_string_or(row, "item", "");
    if (shape)
        mc_table_cell(t, "%s%sexpected shape %s", item, *item ? ": " : "",
                      numbers(shape, text, sizeof text));
    else if (type)
        mc_table_cell(t, "%s%sexpected type %s", item, *item ? ": " : "", type);
    else if (first)
        mc_table_cell(t, "at %s%s: %s, expected %s", item, numbers(first, text, sizeof text),
                      value(row, "got", a), value(row, "expected", b));
    else
        mc_table_cell(t, "%s", "");
}

static void compared(struct mc_table *t, const json_t *set, const json_t *row, bool first)
{
    char text[MC_TEXT];
    const char *verdict = mc_json_string(row, "verdict");
    mc_table_cell(t, "%s", first ? mc_json_string_or(set, "set", "?") : "");
    named(t, row);
    mc_table_cell(t, "%s", verdict ? verdict : "not compared");
    if (json_object_get(row, "outside"))
        mc_table_cell(t, "%.0f of %.0f", mc_json_number(row, "outside", 0),
                      mc_json_number(row, "elements", 0));
    else
        mc_table_cell(t, "%s", "");
    mc_table_cell(t, "%s", verdict ? value(row, "max_abs", text) : "");
    mc_table_cell(t, "%s", verdict ? value(row, "max_rel", text) : "");
    difference(t, row);
}

static void ran(struct mc_table *t, const json_t *set, const json_t *row, bool first)
{
    mc_table_cell(t, "%s", first ? mc_json_string_or(set, "set", "?") : "");
    named(t, row);
    described(t, row);
}

int mc_report_txt_sets(const json_t *report, FILE *out, int columns)
{
    static const char *const titles[] = {"set",     "output",  "type",    "shape",         "",
                                         "outside", "max abs", "max rel", "first outside", NULL};
    static const char *const plain[] = {"set",  "output", "type", "shape", "min",
                                        "mean", "max",    "",     NULL};
    const json_t *sets = json_object_get(report, "sets"), *set, *row;
    bool any = mc_json_number(report, "compared", 0) > 0;
    struct mc_table *t = mc_table_new(any ? "lLlllrrrl" : "lLllrrrl");
    size_t i, k;
    head(t, any ? titles : plain);
    json_array_foreach(sets, i, set) json_array_foreach(json_object_get(set, "outputs"), k, row)(
        any ? compared : ran)(t, set, row, k == 0);
    int rc = mc_table_print(t, out, 2, columns);
    mc_table_free(t);
    double n = mc_json_number(report, "compared", 0), d = mc_json_number(report, "different", 0);
    if (any)
        fprintf(out, "\n  %.0f of %.0f outputs agree (rtol %g, atol %g)\n", n - d, n,
                mc_json_number(report, "rtol", 0), mc_json_number(report, "atol", 0));
    else
        fputs("\n  no expected outputs (output_N.pb): the model was only run\n", out);
    return rc;
}
