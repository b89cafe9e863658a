#include "formats/report_txt.h"

#include <math.h>
#include <string.h>

#include "base/json.h"
#include "base/table.h"
#include "base/text.h"

/* "[batch,1,28,28]"; a dimension without number or name is "?". */
static const char *shape_of(const json_t *v, char *ret, size_t size)
{
    const json_t *dims = json_object_get(v, "shape"), *d;
    size_t n = 0, i;
    if (!json_is_array(dims))
        return "";
    ret[n++] = '[';
    json_array_foreach(dims, i, d)
    {
        const char *name = json_is_string(d) ? json_string_value(d) : "?", *comma = i ? "," : "";
        int used = json_is_integer(d) ? snprintf(ret + n, size - n, "%s%" JSON_INTEGER_FORMAT,
                                                 comma, json_integer_value(d))
                                      : snprintf(ret + n, size - n, "%s%s", comma, name);
        if (used < 0 || (size_t)used + 2 >= size - n)
            break; /* a name without end: the dimensions before it are shown */
        n += (size_t)used;
    }
    memcpy(ret + n, "]", 2);
    return ret;
}

static void values(struct mc_table *t, const json_t *list, const char *what)
{
    char shape[512];
    size_t i;
    const json_t *v;
    json_array_foreach(list, i, v)
    {
        mc_table_cell(t, "%s", i ? "" : what);
        mc_table_cell(t, "%s", mc_json_string_or(v, "name", "?"));
        mc_table_cell(t, "%s", mc_json_string_or(v, "type", "?"));
        mc_table_cell(t, "%s", shape_of(v, shape, sizeof shape));
    }
}

static int ends(const json_t *r, FILE *out, int columns)
{
    struct mc_table *t = mc_table_new("lLlL");
    values(t, json_object_get(r, "inputs"), "input");
    values(t, json_object_get(r, "outputs"), "output");
    int rc = mc_table_print(t, out, 2, columns);
    mc_table_free(t);
    return rc;
}

/* Is a dimension free that is no batch? */
static bool free_shapes(const json_t *inputs)
{
    size_t i, k;
    const json_t *v, *d;
    json_array_foreach(inputs, i, v) json_array_foreach(
        json_object_get(v, "shape"), k, d) if (k && !json_is_integer(d)) return true;
    return false;
}

static void head(const json_t *r, FILE *out)
{
    char a[MC_TEXT], b[MC_TEXT], c[MC_TEXT];
    const char *key;
    const json_t *v;
    fprintf(out, "%s\n\n  %s, %s parameters", mc_json_string_or(r, "path", "?"),
            mc_text_bytes(mc_json_number(r, "bytes", 0), a),
            mc_text_count(mc_json_number(r, "parameters", 0), b));
    double macs = mc_json_number(r, "macs", NAN);
    if (isfinite(macs))
        fprintf(out, ", %s MACs %s", mc_text_count(macs, c),
                free_shapes(json_object_get(r, "inputs")) ? "with every free dimension 1"
                                                          : "per sample");
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

/* One more word of a list "what a, b, c", on a new line where this one is full. */
static void word(FILE *out, const char *what, size_t i, const char *text, int columns, int *column)
{
    int indent = (int)strlen(what), length = (int)strlen(text) + 2;
    if (i == 0) {
        *column = fprintf(out, "%s", what);
    } else if (*column + length > columns) {
        fprintf(out, ",\n%*s", indent, "");
        *column = indent;
    } else {
        *column += fprintf(out, ", ");
    }
    *column += fprintf(out, "%s", text);
}

static void operators(const json_t *counts, FILE *out, int columns)
{
    const char *key;
    const json_t *v;
    int column = 0;
    size_t i = 0;
    json_object_foreach((json_t *)counts, key, v)
    {
        char text[320];
        snprintf(text, sizeof text, "%s %" JSON_INTEGER_FORMAT, key, json_integer_value(v));
        word(out, "  operators  ", i++, text, columns, &column);
    }
    fputs(i ? "\n" : "  no operators\n", out);
}

static void names(const json_t *list, const char *what, FILE *out, int columns)
{
    int column = 0;
    size_t i;
    const json_t *v;
    json_array_foreach(list, i, v)
        word(out, what, i, json_is_string(v) ? json_string_value(v) : "?", columns, &column);
    if (i)
        fputc('\n', out);
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
    char b[MC_TEXT], shape[512];
    struct mc_table *t = mc_table_new("lLllr");
    size_t i;
    const json_t *v;
    json_array_foreach(list, i, v)
    {
        mc_table_cell(t, "%s", i ? "" : "largest");
        mc_table_cell(t, "%s", mc_json_string_or(v, "name", "?"));
        mc_table_cell(t, "%s", mc_json_string_or(v, "type", "?"));
        mc_table_cell(t, "%s", shape_of(v, shape, sizeof shape));
        mc_table_cell(t, "%s", mc_text_bytes(mc_json_number(v, "bytes", 0), b));
    }
    int rc = i || !t ? mc_table_print(t, out, 2, columns) : 0;
    mc_table_free(t);
    return rc;
}

static void packed_row(struct mc_table *t, const json_t *v, const char *name, const char *function)
{
    char a[MC_TEXT], b[MC_TEXT];
    mc_table_cell(t, "%s", name);
    mc_table_cell(t, "%s%s", function,
                  json_is_true(json_object_get(v, "approximate")) ? ", rounds inputs" : "");
    mc_table_cell(t, "%s weights", mc_text_count(mc_json_number(v, "weights", 0), a));
    mc_table_cell(t, "%s", mc_text_bytes(mc_json_number(v, "bytes", 0), b));
    mc_table_cell(t, "%.3g bits each", mc_json_number(v, "bits_per_weight", NAN));
}

/* Layers whose weights are functions of graph/own. */
static int packed(const json_t *p, FILE *out, int columns)
{
    struct mc_table *t = p ? mc_table_new("lLlrrr") : NULL;
    size_t i;
    const json_t *v, *layers = json_object_get(p, "layers");
    if (!p)
        return 0;
    json_array_foreach(layers, i, v)
    {
        mc_table_cell(t, "%s", i ? "" : "packed");
        packed_row(t, v, mc_json_string_or(v, "name", "?"), mc_json_string_or(v, "function", "?"));
    }
    mc_table_cell(t, "%s", "");
    packed_row(t, p, "all of them", "");
    int rc = mc_table_print(t, out, 2, columns);
    mc_table_free(t);
    return rc;
}

/* One line for each step. */
static void history(const char *lines, FILE *out)
{
    for (const char *c = lines; c && *c;) {
        int n = (int)strcspn(c, "\n");
        fprintf(out, "  %s%.*s\n", c == lines ? "history    " : "           ", n, c);
        c += n + (c[n] != 0);
    }
}

int mc_report_txt_info(const json_t *r, FILE *out, int columns)
{
    head(r, out);
    if (ends(r, out, columns))
        return -1;
    fputc('\n', out);
    operators(json_object_get(r, "operators"), out, columns);
    names(json_object_get(r, "unsupported"), "  not run by mcompress: ", out, columns);
    size_t i;
    const json_t *v;
    json_array_foreach(json_object_get(r, "contradictions"), i, v)
        fprintf(out, "  ignored: %s\n", json_is_string(v) ? json_string_value(v) : "?");
    names(json_object_get(r, "functions"), "  functions: ", out, columns);
    names(json_object_get(r, "external_files"), "  external data: ", out, columns);
    history(mc_json_string(json_object_get(r, "metadata"), "ai.mcompress.history"), out);
    fputc('\n', out);
    if (weights(r, out, columns) || packed(json_object_get(r, "packed"), out, columns) ||
        largest(json_object_get(r, "largest"), out, columns))
        return -1;
    return 0;
}
