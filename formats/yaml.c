#include "formats/yaml.h"

#include <errno.h>
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <yaml.h>

#include "base/io.h"
#include "base/json.h"

enum { LEVELS = 32, LARGEST = 256 << 10, PARTS = 10000, PATH_TEXT = 4096 };

void mc_yaml_free(struct mc_yaml *y)
{
    json_decref(y->tree);
    json_decref(y->marks);
    *y = (struct mc_yaml){0};
}

/* ---- marks: path -> [line, column, line of the key, column of the key] ---- */

static struct mc_yaml_mark mark(const struct mc_yaml *y, const char *path, size_t from)
{
    const json_t *m = json_object_get(y->marks, path);
    return (struct mc_yaml_mark){(int)json_integer_value(json_array_get(m, from)),
                                 (int)json_integer_value(json_array_get(m, from + 1))};
}

struct mc_yaml_mark mc_yaml_at(const struct mc_yaml *y, const char *path)
{
    return mark(y, path, 0);
}

struct mc_yaml_mark mc_yaml_key_at(const struct mc_yaml *y, const char *path)
{
    return mark(y, path, 2);
}

/* ---- scalars ---- */

static bool is_one_of(const char *s, const char *a, const char *b, const char *c)
{
    return !strcmp(s, a) || !strcmp(s, b) || !strcmp(s, c);
}

static const char *digits(const char *s)
{
    return s + strspn(s, "0123456789");
}

/* Is it a number of the core schema? *ret_whole: without point and exponent. */
static bool is_number(const char *s, bool *ret_whole)
{
    s += *s == '-' || *s == '+';
    const char *end = digits(s);
    bool some = end > s;
    *ret_whole = some && !*end;
    if (*end == '.') {
        s = end + 1;
        end = digits(s);
        some = some || end > s;
    }
    if (some && (*end == 'e' || *end == 'E')) {
        s = end + 1;
        s += *s == '-' || *s == '+';
        end = digits(s);
        some = end > s;
    }
    return some && !*end;
}

/* Digits of another base: "0x1f", "0o17". */
static bool is_based(const char *s, int *ret_base)
{
    const char *set = s[0] != '0'   ? NULL
                      : s[1] == 'x' ? "0123456789abcdefABCDEF"
                      : s[1] == 'o' ? "01234567"
                                    : NULL;
    *ret_base = !set ? 10 : s[1] == 'x' ? 16 : 8;
    return set && s[2] && !s[2 + strspn(s + 2, set)];
}

/* A plain scalar; NULL if it is a number that nothing can hold, or without memory. */
static json_t *plain(const char *s, size_t n)
{
    bool whole;
    int base = 10;
    if (!*s || !strcmp(s, "~") || is_one_of(s, "null", "Null", "NULL"))
        return json_null();
    if (is_one_of(s, "true", "True", "TRUE"))
        return json_true();
    if (is_one_of(s, "false", "False", "FALSE"))
        return json_false();
    bool based = is_based(s, &base);
    if (!based && !is_number(s, &whole))
        return json_stringn(s, n);
    errno = 0;
    if (based || whole) {
        long long v = strtoll(based ? s + 2 : s, NULL, base);
        return errno ? NULL : json_integer(v);
    }
    double v = strtod(s, NULL);
    return isfinite(v) ? json_real(v) : NULL;
}

/* ---- the document ---- */

struct level {
    json_t *node; /* borrowed */
    char *key;    /* of an object: where the next value goes; NULL: a key comes next */
    int key_line, key_column;
    size_t path; /* length of its path */
};

struct load {
    const char *name;
    yaml_parser_t parser;
    struct mc_yaml *y;
    struct level level[LEVELS];
    int depth;
    char path[PATH_TEXT];
    bool ok; /* enough memory */
};

static int fail_at(const struct load *l, yaml_mark_t m, const char *what, struct mc_err *err)
{
    return mc_fail(err, MC_EFORMAT, "%s:%zu:%zu: %s", l->name, m.line + 1, m.column + 1, what);
}

/* The next part of the path: the key, or the index, of what is put into the level on top. */
static void extend_path(struct load *l)
{
    struct level *top = l->depth ? &l->level[l->depth - 1] : NULL;
    size_t at = top ? top->path : 0;
    l->path[at] = 0;
    if (!top)
        return;
    if (json_is_array(top->node))
        snprintf(l->path + at, sizeof l->path - at, "/%zu", json_array_size(top->node));
    else
        snprintf(l->path + at, sizeof l->path - at, "/%s", top->key);
}

/* A node joins the level on top. Takes over the reference. */
static void put(struct load *l, json_t *node, yaml_mark_t m)
{
    struct level *top = l->depth ? &l->level[l->depth - 1] : NULL;
    extend_path(l);
    json_t *place = json_array();
    bool keyed = top && top->key;
    const int numbers[] = {(int)m.line + 1, (int)m.column + 1, keyed ? top->key_line : 0,
                           keyed ? top->key_column : 0};
    for (int i = 0; i < 4; i++)
        mc_json_add(place, json_integer(numbers[i]), &l->ok);
    mc_json_put(l->y->marks, l->path, place, &l->ok);
    if (!top) {
        l->y->tree = node;
        l->ok = l->ok && node;
    } else if (keyed) {
        mc_json_put(top->node, top->key, node, &l->ok);
        free(top->key);
        top->key = NULL;
    } else {
        mc_json_add(top->node, node, &l->ok);
    }
}

static int take_key(struct load *l, const yaml_event_t *e, struct mc_err *err)
{
    struct level *top = &l->level[l->depth - 1];
    const char *text = (const char *)e->data.scalar.value;
    char what[256];
    top->key = strdup(text);
    if (!top->key)
        return mc_fail(err, MC_ENOMEM, "out of memory");
    top->key_line = (int)e->start_mark.line + 1;
    top->key_column = (int)e->start_mark.column + 1;
    if (!json_object_get(top->node, text))
        return 0;
    extend_path(l);
    snprintf(what, sizeof what, "'%.100s' is given twice; first in line %d", text,
             mc_yaml_key_at(l->y, l->path).line);
    return fail_at(l, e->start_mark, what, err);
}

static int scalar(struct load *l, const yaml_event_t *e, struct mc_err *err)
{
    const char *text = (const char *)e->data.scalar.value;
    size_t n = e->data.scalar.length;
    if (e->data.scalar.tag)
        return fail_at(l, e->start_mark, "tags are not taken", err);
    if (strlen(text) != n)
        return fail_at(l, e->start_mark, "a text must not hold a NUL character", err);
    struct level *top = l->depth ? &l->level[l->depth - 1] : NULL;
    if (top && json_is_object(top->node) && !top->key)
        return take_key(l, e, err);
    json_t *v =
        e->data.scalar.style == YAML_PLAIN_SCALAR_STYLE ? plain(text, n) : json_stringn(text, n);
    if (!v && errno == ERANGE)
        return fail_at(l, e->start_mark, "a number that is too large", err);
    yaml_mark_t at = e->start_mark;
    at.column += e->data.scalar.style == YAML_DOUBLE_QUOTED_SCALAR_STYLE ||
                 e->data.scalar.style == YAML_SINGLE_QUOTED_SCALAR_STYLE;
    put(l, v, at); /* the text itself, behind its quote */
    return 0;
}

static int begin(struct load *l, json_t *node, const yaml_char_t *tag, yaml_mark_t m,
                 struct mc_err *err)
{
    const struct level *top = l->depth ? &l->level[l->depth - 1] : NULL;
    const char *wrong = tag                                             ? "tags are not taken"
                        : l->depth == LEVELS                            ? "too many levels"
                        : top && json_is_object(top->node) && !top->key ? "a key must be a word"
                                                                        : NULL;
    if (wrong || !node) {
        json_decref(node);
        return node ? fail_at(l, m, wrong, err) : mc_fail(err, MC_ENOMEM, "out of memory");
    }
    put(l, node, m);
    if (!l->ok) /* the node may be gone */
        return mc_fail(err, MC_ENOMEM, "out of memory");
    l->level[l->depth++] = (struct level){.node = node, .path = strlen(l->path)};
    return 0;
}

/* *ret_done after the end of the stream. */
static int take(struct load *l, const yaml_event_t *e, bool *ret_done, struct mc_err *err)
{
    const yaml_char_t *anchor = e->type == YAML_SCALAR_EVENT ? e->data.scalar.anchor
                                : e->type == YAML_SEQUENCE_START_EVENT
                                    ? e->data.sequence_start.anchor
                                : e->type == YAML_MAPPING_START_EVENT ? e->data.mapping_start.anchor
                                                                      : NULL;
    if (anchor || e->type == YAML_ALIAS_EVENT)
        return fail_at(l, e->start_mark, "anchors and aliases are not taken", err);
    if (json_object_size(l->y->marks) > PARTS)
        return fail_at(l, e->start_mark, "more than 10,000 parts", err);
    switch (e->type) {
    case YAML_DOCUMENT_START_EVENT:
        return l->y->tree ? fail_at(l, e->start_mark, "only one document is taken", err) : 0;
    case YAML_SCALAR_EVENT: return scalar(l, e, err);
    case YAML_SEQUENCE_START_EVENT:
        return begin(l, json_array(), e->data.sequence_start.tag, e->start_mark, err);
    case YAML_MAPPING_START_EVENT:
        return begin(l, json_object(), e->data.mapping_start.tag, e->start_mark, err);
    case YAML_SEQUENCE_END_EVENT:
    case YAML_MAPPING_END_EVENT: l->depth--; return 0;
    case YAML_STREAM_END_EVENT: *ret_done = true; return 0;
    default: return 0;
    }
}

/* What the parser itself finds wrong; the reader knows bytes, not lines. */
static int syntax(const struct load *l, const uint8_t *bytes, struct mc_err *err)
{
    const yaml_parser_t *p = &l->parser;
    const char *problem = p->problem ? p->problem : "not YAML";
    yaml_mark_t m = p->problem_mark;
    if (p->error == YAML_MEMORY_ERROR)
        return mc_fail(err, MC_ENOMEM, "out of memory");
    if (p->error == YAML_READER_ERROR) {
        m = (yaml_mark_t){0};
        for (size_t i = 0; i < p->problem_offset; i++)
            if (bytes[i] == '\n')
                m = (yaml_mark_t){.line = m.line + 1};
            else
                m.column += (bytes[i] & 0xc0) != 0x80;
        return fail_at(l, m, "not UTF-8 text", err);
    }
    char what[256];
    snprintf(what, sizeof what, "%s%s%s", problem, p->context ? " " : "",
             p->context ? p->context : "");
    return fail_at(l, m, what, err);
}

static int load(struct load *l, const void *bytes, size_t n, struct mc_err *err)
{
    bool done = false;
    int rc = 0;
    size_t mark = n >= 3 && !memcmp(bytes, "\xef\xbb\xbf", 3) ? 3 : 0; /* of byte order */
    if (!yaml_parser_initialize(&l->parser))
        return mc_fail(err, MC_ENOMEM, "out of memory");
    yaml_parser_set_encoding(&l->parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&l->parser, (const uint8_t *)bytes + mark, n - mark);
    while (!rc && !done) {
        yaml_event_t e;
        if (!yaml_parser_parse(&l->parser, &e)) {
            rc = syntax(l, (const uint8_t *)bytes + mark, err);
            break;
        }
        rc = take(l, &e, &done, err);
        yaml_event_delete(&e);
        if (!rc && !l->ok)
            rc = mc_fail(err, MC_ENOMEM, "out of memory");
    }
    for (int i = 0; i < LEVELS; i++)
        free(l->level[i].key);
    yaml_parser_delete(&l->parser);
    return rc;
}

/* JSON is read by the rules of JSON; YAML, which holds nearly all of it, only says where things are. */
static int load_json(const void *bytes, size_t n, const char *name, struct mc_yaml *y,
                     struct mc_err *err)
{
    json_error_t e;
    json_t *tree = json_loadb(bytes, n, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &e);
    if (!tree) {
        const char *near = strstr(e.text, "near '"); /* the column is where this ends */
        int back = near ? (int)strlen(near + strlen("near '")) - 2 : 0;
        const char *what =
            strstr(e.text, "JSON_ALLOW_NUL") ? "a text must not hold a NUL character" : e.text;
        return mc_fail(err, MC_EFORMAT, "%s:%d:%d: %s", name, e.line > 0 ? e.line : 1,
                       e.column > back && back >= 0 ? e.column - back : 1, what);
    }
    json_decref(y->tree);
    y->tree = tree;
    return 0;
}

int mc_yaml_parse(const void *bytes, size_t n, const char *name, bool json, struct mc_yaml *ret,
                  struct mc_err *err)
{
    struct mc_yaml y = {.marks = json_object()};
    struct load l = {.name = name, .y = &y, .ok = y.marks != NULL};
    int rc = n > LARGEST ? mc_fail(err, MC_EFORMAT,
                                   "'%s' has more than 256 KiB, which no recipe needs", name)
                         : load(&l, bytes, n, err);
    if (json && rc != MC_ENOMEM && n <= LARGEST)
        rc = load_json(bytes, n, name, &y, err);
    if (!rc && !y.tree)
        rc = mc_fail(err, MC_EFORMAT, "'%s' is empty", name);
    if (rc)
        mc_yaml_free(&y);
    else
        *ret = y;
    return rc;
}

int mc_yaml_read(const char *path, struct mc_yaml *ret, struct mc_err *err)
{
    struct mc_map map;
    int rc = mc_map_open(path, &map, err);
    if (rc)
        return rc;
    rc = mc_yaml_parse(map.data, map.size, path, !strcasecmp(mc_path_ext(path), ".json"), ret, err);
    mc_map_close(&map);
    return rc;
}
