#include "formats/report_txt.h"

#include <math.h>
#include <string.h>

#include "base/json.h"
#include "base/table.h"
#include "base/text.h"

static int values(const json_t *list, const char *what, FILE *out, int columns)
{
    struct mc_table *t = mc_table_new("lLlL");
    size_t i;
    const json_t *v;
    json_array_foreach(list, i, v)
    {
        mc_table_cell(t, "%s", i ? "" : what);
        mc_table_cell(t, "%s", mc_json_string(v, "name"));
        mc_table_cell(t, "%s", mc_json_string(v, "type"));
        mc_table_cell(t, "%s", mc_json_string(v, "shape_text"));
    }
    int rc = i || !t ? mc_table_print(t, out, 2, columns) : 0;
    mc_table_free(t);
    return rc;
}

static void head(const json_t *r, FILE *out)
{
    char a[MC_TEXT], b[MC_TEXT], c[MC_TEXT];
    const char *key;
    const json_t *v;
    fprintf(out, "%s\n\n  %s, %s parameters", mc_json_string(r, "path"),
            mc_text_bytes(mc_json_number(r, "bytes", 0), a),
            mc_text_count(mc_json_number(r, "parameters", 0), b));
    double macs = mc_json_number(r, "macs", NAN);
    if (isfinite(macs))
        fprintf(out, ", %s MACs per sample", mc_text_count(macs, c));
    fprintf(out, "\n  ONNX IR %.0f", mc_json_number(r, "ir_version", 0));
    json_object_foreach((json_t *)json_object_get(r, "opsets"), key, v)
        fprintf(out, ", %s %" JSON_INTEGER_FORMAT, *key ? key : "opset", json_integer_value(v));
    const json_t *producer = json_object_get(r, "producer");
    const char *name = mc_json_string(producer, "name");
    const char *version = mc_json_string(producer, "version");
    if (name && *name)
        fprintf(out, ", by %s%s%s", name, version && *version ? " " : "", version ? version : "");
    fputs("\n\n", out);
}

/* "Conv 15, Relu 13, Add 6", wrapped. */
static void operators(const json_t *counts, FILE *out, int columns)
{
    const char *key;
    const json_t *v;
    int column = fprintf(out, "  operators");
    size_t i = 0, n = json_object_size(counts);
    json_object_foreach((json_t *)counts, key, v)
    {
        char word[160];
        int length = snprintf(word, sizeof word, " %s %" JSON_INTEGER_FORMAT "%s", key,
                              json_integer_value(v), ++i < n ? "," : "");
        if (column + length > columns)
            column = fprintf(out, "\n           ") - 1;
        fputs(word, out);
        column += length;
    }
    fputs(n ? "\n" : " none\n", out);
}

static int weights(const json_t *r, FILE *out, int columns)
{
    char a[MC_TEXT], b[MC_TEXT];
    struct mc_table *t = mc_table_new("llrrr");
    size_t i = 0;
    const char *key;
    const json_t *v;
    json_object_foreach((json_t *)json_object_get(r, "weights"), key, v)
    {
        double n = mc_json_number(v, "tensors", 0);
        mc_table_cell(t, "%s", i++ ? "" : "weights");
        mc_table_cell(t, "%s", key);
        mc_table_cell(t, "%.0f tensor%s", n, n == 1 ? "" : "s");
        mc_table_cell(t, "%s elements", mc_text_count(mc_json_number(v, "elements", 0), a));
        mc_table_cell(t, "%s", mc_text_bytes(mc_json_number(v, "bytes", 0), b));
    }
    int rc = i || !t ? mc_table_print(t, out, 2, columns) : 0;
    mc_table_free(t);
    return rc;
}

static int largest(const json_t *list, FILE *out, int columns)
{
    char b[MC_TEXT];
    struct mc_table *t = mc_table_new("lLllr");
    size_t i;
    const json_t *v;
    json_array_foreach(list, i, v)
    {
        mc_table_cell(t, "%s", i ? "" : "largest");
        mc_table_cell(t, "%s", mc_json_string(v, "name"));
        mc_table_cell(t, "%s", mc_json_string(v, "type"));
        mc_table_cell(t, "%s", mc_json_string(v, "shape_text"));
        mc_table_cell(t, "%s", mc_text_bytes(mc_json_number(v, "bytes", 0), b));
    }
    int rc = i || !t ? mc_table_print(t, out, 2, columns) : 0;
    mc_table_free(t);
    return rc;
}

static void names(const json_t *list, const char *what, FILE *out)
{
    size_t i;
    const json_t *v;
    json_array_foreach(list, i, v) fprintf(out, "%s%s", i ? ", " : what, json_string_value(v));
    if (i)
        fputc('\n', out);
}

int mc_report_txt_info(const json_t *r, FILE *out, int columns)
{
    head(r, out);
    if (values(json_object_get(r, "inputs"), "input", out, columns) ||
        values(json_object_get(r, "outputs"), "output", out, columns))
        return -1;
    fputc('\n', out);
    operators(json_object_get(r, "operators"), out, columns);
    names(json_object_get(r, "unsupported"), "  not run by mcompress: ", out);
    names(json_object_get(r, "functions"), "  functions: ", out);
    names(json_object_get(r, "external_files"), "  external data: ", out);
    fputc('\n', out);
    if (weights(r, out, columns) || largest(json_object_get(r, "largest"), out, columns))
        return -1;
    return 0;
}
