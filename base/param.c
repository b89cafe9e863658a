#include "base/param.h"

#include <assert.h>
#include <errno.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/nearest.h"

/* ---- one value ---- */

enum { TAKES_MAX = 160 };

static bool bounded(const struct mc_param *p)
{
    return p->min != 0 || p->max != 0;
}

/* "a number from 0 to 1": what a parameter takes, for messages. */
static const char *takes(const struct mc_param *p, char ret[TAKES_MAX])
{
    const char *noun = p->type == MC_PARAM_INT     ? "a whole number"
                       : p->type == MC_PARAM_REAL  ? "a number"
                       : p->type == MC_PARAM_BYTES ? "a size such as 900k or 1.5Gi"
                       : p->arg                    ? p->arg
                                                   : "text";
    if (p->type == MC_PARAM_CHOICE) {
        int n = snprintf(ret, TAKES_MAX, "one of ");
        for (const char *c = p->choices; *c && n < TAKES_MAX - 3; c++)
            n += snprintf(ret + n, (size_t)(TAKES_MAX - n), *c == '|' ? ", " : "%c", *c);
    } else if (!bounded(p) || p->type == MC_PARAM_TEXT) {
        snprintf(ret, TAKES_MAX, "%s", noun);
    } else if (isinf(p->max)) {
        snprintf(ret, TAKES_MAX, "%s of at least %.15g", noun, p->min);
    } else if (isinf(p->min)) {
        snprintf(ret, TAKES_MAX, "%s of at most %.15g", noun, p->max);
    } else {
        snprintf(ret, TAKES_MAX, "%s from %.15g to %.15g", noun, p->min, p->max);
    }
    return ret;
}

static bool in_bounds(const struct mc_param *p, double v)
{
    return isfinite(v) && (!bounded(p) || (v >= p->min && v <= p->max));
}

/* Decimal number at the start of s; no hexadecimal, no "nan", no "inf". */
static bool scan_real(const char *s, double *ret, const char **ret_end)
{
    const char *digits = s + (*s == '-' || *s == '+');
    if ((*digits < '0' || *digits > '9') && *digits != '.')
        return false;
    if (digits[0] == '0' && (digits[1] == 'x' || digits[1] == 'X'))
        return false;
    char *end;
    *ret = strtod(s, &end);
    *ret_end = end;
    return end != s;
}

static bool scan_bytes(const char *s, double *ret)
{
    static const struct {
        const char *unit;
        double factor;
    } units[] = {{"", 1},
                 {"B", 1},
                 {"k", 1e3},
                 {"K", 1e3},
                 {"kB", 1e3},
                 {"M", 1e6},
                 {"MB", 1e6},
                 {"G", 1e9},
                 {"GB", 1e9},
                 {"Ki", 1024.0},
                 {"KiB", 1024.0},
                 {"Mi", 1048576.0},
                 {"MiB", 1048576.0},
                 {"Gi", 1073741824.0},
                 {"GiB", 1073741824.0}};
    const char *end;
    if (!scan_real(s, ret, &end) || *ret < 0)
        return false;
    for (size_t i = 0; i < sizeof units / sizeof *units; i++)
        if (!strcmp(end, units[i].unit)) {
            *ret = rint(*ret * units[i].factor);
            return *ret < 9.2e18;
        }
    return false;
}

static bool is_choice(const char *choices, const char *word)
{
    size_t n = strlen(word);
    for (const char *c = choices; c; c = strchr(c, '|') ? strchr(c, '|') + 1 : NULL)
        if (strcspn(c, "|") == n && n && !memcmp(c, word, n))
            return true;
    return false;
}

/* The value of p as typed. NULL if it is not one (or no memory is left, which reads the same). */
static json_t *value_of(const struct mc_param *p, const char *text)
{
    const char *end;
    double v;
    switch (p->type) {
    case MC_PARAM_INT: {
        char *stop;
        errno = 0;
        long long i = strtoll(text, &stop, 10);
        bool ok = stop != text && !*stop && !errno &&
                  (*text == '-' || *text == '+' || (*text >= '0' && *text <= '9'));
        return ok && in_bounds(p, (double)i) ? json_integer(i) : NULL;
    }
    case MC_PARAM_REAL:
        if (!scan_real(text, &v, &end))
            return NULL;
        if (!strcmp(end, "%"))
            v /= 100;
        else if (*end)
            return NULL;
        return in_bounds(p, v) ? json_real(v) : NULL;
    case MC_PARAM_BYTES:
        return scan_bytes(text, &v) && in_bounds(p, v) ? json_integer((json_int_t)v) : NULL;
    case MC_PARAM_CHOICE: return is_choice(p->choices, text) ? json_string(text) : NULL;
    case MC_PARAM_TEXT: return json_stringn_nocheck(text, strlen(text));
    default: return NULL;
    }
}

/* values[name] = value, or one more element of the array for a repeated parameter. */
static int store(const struct mc_param *p, json_t *values, json_t *value, struct mc_err *err)
{
    bool ok = value != NULL;
    if (ok && p->repeat) {
        json_t *list = json_object_get(values, p->name);
        if (!json_is_array(list)) {
            mc_json_put(values, p->name, json_array(), &ok);
            list = json_object_get(values, p->name);
        }
        mc_json_add(list, value, &ok);
    } else {
        mc_json_put(values, p->name, value, &ok);
    }
    return ok ? 0 : mc_fail(err, MC_ENOMEM, "out of memory");
}

static int set_text(const struct mc_param *p, const char *shown, const char *text, json_t *values,
                    struct mc_err *err)
{
    char what[TAKES_MAX];
    json_t *v = value_of(p, text);
    if (!v)
        return mc_fail(err, MC_EUSAGE, "%s takes %s, not '%s'", shown, takes(p, what), text);
    return store(p, values, v, err);
}

static int set_presets(const struct mc_param *table, json_t *values, struct mc_err *err)
{
    for (const struct mc_param *p = table; p->type; p++) {
        if (!p->preset || json_object_get(values, p->name))
            continue;
        int rc = set_text(p, p->name, p->preset, values, err);
        assert(rc != MC_EUSAGE); /* a table whose own default is out of its bounds */
        if (rc)
            return rc;
    }
    return 0;
}

/* ---- command lines ---- */

struct parse {
    const struct mc_param *const *tables;
    int n_tables, argc, at;
    char *const *argv;
    json_t *values;
};

static const struct mc_param *find(const struct parse *s, const char *name, size_t n, char letter)
{
    for (int t = 0; t < s->n_tables; t++)
        for (const struct mc_param *p = s->tables[t]; p->type; p++)
            if (letter ? p->letter == letter : strlen(p->name) == n && !memcmp(p->name, name, n))
                return p;
    return NULL;
}

static int unknown(const struct parse *s, const char *word, struct mc_err *err)
{
    char name[64] = "";
    if (word[1] == '-')
        snprintf(name, sizeof name, "%.*s", (int)strcspn(word + 2, "="), word + 2);
    struct mc_nearest near = {.word = name};
    for (int t = 0; t < s->n_tables && *name; t++)
        for (const struct mc_param *p = s->tables[t]; p->type; p++)
            mc_nearest_offer(&near, p->name);
    if (near.name)
        return mc_fail(err, MC_EUSAGE, "unknown option '--%s'; did you mean --%s?", name,
                       near.name);
    return mc_fail(err, MC_EUSAGE, "unknown option '%s'", word);
}

/* Value of an option that was not given with '=' or glued to its letter: the next word. */
static int next_value(struct parse *s, const struct mc_param *p, const char *shown,
                      const char **ret, struct mc_err *err)
{
    char what[TAKES_MAX];
    if (s->at >= s->argc)
        return mc_fail(err, MC_EUSAGE, "%s needs a value: %s", shown, takes(p, what));
    *ret = s->argv[s->at++];
    return 0;
}

static int parse_long(struct parse *s, const char *word, struct mc_err *err)
{
    size_t n = strcspn(word + 2, "=");
    const struct mc_param *p = find(s, word + 2, n, 0);
    if (!p)
        return unknown(s, word, err);
    char shown[80];
    snprintf(shown, sizeof shown, "--%s", p->name);
    const char *value = word[2 + n] ? word + 2 + n + 1 : NULL;
    if (p->type == MC_PARAM_FLAG)
        return value ? mc_fail(err, MC_EUSAGE, "%s takes no value", shown)
                     : store(p, s->values, json_true(), err);
    int rc = value ? 0 : next_value(s, p, shown, &value, err);
    return rc ? rc : set_text(p, shown, value, s->values, err);
}

static int parse_letters(struct parse *s, const char *word, struct mc_err *err)
{
    for (const char *c = word + 1; *c; c++) {
        const struct mc_param *p = find(s, NULL, 0, *c);
        char shown[] = {'-', *c, 0};
        if (!p)
            return unknown(s, c == word + 1 ? word : shown, err);
        if (p->type == MC_PARAM_FLAG) {
            int rc = store(p, s->values, json_true(), err);
            if (rc)
                return rc;
            continue;
        }
        const char *value = c + 1;
        int rc = *value ? 0 : next_value(s, p, shown, &value, err);
        return rc ? rc : set_text(p, shown, value, s->values, err);
    }
    return 0;
}

static int parse_words(struct parse *s, json_t *operands, struct mc_err *err)
{
    bool only_operands = false, ok = true;
    while (s->at < s->argc) {
        const char *word = s->argv[s->at++];
        int rc = 0;
        if (only_operands || word[0] != '-' || !word[1])
            mc_json_add(operands, json_stringn_nocheck(word, strlen(word)), &ok);
        else if (!strcmp(word, "--"))
            only_operands = true;
        else
            rc = word[1] == '-' ? parse_long(s, word, err) : parse_letters(s, word, err);
        if (rc)
            return rc;
    }
    return ok ? 0 : mc_fail(err, MC_ENOMEM, "out of memory");
}

int mc_param_parse(const struct mc_param *const *tables, int n_tables, int argc, char *const *argv,
                   json_t **ret_values, struct mc_err *err)
{
    json_t *values = json_object(), *operands = json_array();
    bool ok = values && operands;
    mc_json_put(values, "operands", operands, &ok);
    int rc = ok ? 0 : mc_fail(err, MC_ENOMEM, "out of memory");
    struct parse s = {tables, n_tables, argc, 1, argv, values};
    if (!rc)
        rc = parse_words(&s, operands, err);
    for (int t = 0; !rc && t < n_tables; t++)
        rc = set_presets(tables[t], values, err);
    if (rc)
        json_decref(values);
    else
        *ret_values = values;
    return rc;
}

/* ---- objects ---- */

static bool fits(const struct mc_param *p, const json_t *v)
{
    switch (p->type) {
    case MC_PARAM_FLAG: return json_is_boolean(v);
    case MC_PARAM_INT:
    case MC_PARAM_BYTES:
        return json_is_integer(v) && in_bounds(p, (double)json_integer_value(v)) &&
               (p->type == MC_PARAM_INT || json_integer_value(v) >= 0);
    case MC_PARAM_REAL: return json_is_number(v) && in_bounds(p, json_number_value(v));
    case MC_PARAM_CHOICE: return json_is_string(v) && is_choice(p->choices, json_string_value(v));
    case MC_PARAM_TEXT: return json_is_string(v);
    default: return false;
    }
}

/* One value of an object in its final JSON type; a string is read as it would be on a command line.
 * A new reference, or NULL with the error filled in. */
static json_t *checked(const struct mc_param *p, json_t *v, const char *where, struct mc_err *err)
{
    if (fits(p, v))
        return json_incref(v);
    if (json_is_integer(v) && p->type == MC_PARAM_TEXT) /* of a file that knows types */
        return json_sprintf("%" JSON_INTEGER_FORMAT, json_integer_value(v));
    if (json_is_string(v) && p->type != MC_PARAM_FLAG) {
        json_t *typed = value_of(p, json_string_value(v));
        if (typed)
            return typed;
    }
    char what[TAKES_MAX];
    char *text = json_dumps(v, JSON_ENCODE_ANY | JSON_COMPACT);
    mc_fail(err, MC_EUSAGE, "%s: '%s' takes %s, not %.100s", where, p->name,
            p->type == MC_PARAM_FLAG ? "true or false" : takes(p, what), text ? text : "that");
    free(text);
    return NULL;
}

int mc_param_put(const struct mc_param *p, json_t *value, const char *where, json_t *values,
                 struct mc_err *err)
{
    size_t n = json_is_array(value) && p->repeat ? json_array_size(value) : 1;
    int rc = 0;
    for (size_t i = 0; i < n && !rc; i++) {
        json_t *item = json_is_array(value) && p->repeat ? json_array_get(value, i) : value;
        json_t *c = checked(p, item, where, err);
        rc = c ? store(p, values, c, err) : MC_EUSAGE;
    }
    return rc;
}

static int validate_key(const struct mc_param *p, json_t *values, const char *where,
                        struct mc_err *err)
{
    json_t *given = json_incref(json_object_get(values, p->name));
    if (p->repeat)
        json_object_del(values, p->name);
    int rc = mc_param_put(p, given, where, values, err);
    if (!rc && p->repeat && !json_object_get(values, p->name)) /* an empty list */
        rc = json_object_set_new(values, p->name, json_array())
                 ? mc_fail(err, MC_ENOMEM, "out of memory")
                 : 0;
    json_decref(given);
    return rc;
}

const struct mc_param *mc_param_find(const struct mc_param *const *tables, int n_tables,
                                     const char *name)
{
    for (int t = 0; t < n_tables; t++)
        for (const struct mc_param *p = tables[t]; p->type; p++)
            if (!strcmp(p->name, name))
                return p;
    return NULL;
}

int mc_param_fill(const struct mc_param *table, json_t *values, struct mc_err *err)
{
    return set_presets(table, values, err);
}

int mc_param_validate(const struct mc_param *table, json_t *values, const char *where,
                      struct mc_err *err)
{
    if (!json_is_object(values))
        return mc_fail(err, MC_EUSAGE, "%s: options must be an object", where);
    const char *key;
    json_t *v;
    json_object_foreach(values, key, v)
    {
        if (mc_param_find(&table, 1, key))
            continue;
        struct mc_nearest near = {.word = key};
        for (const struct mc_param *p = table; p->type; p++)
            mc_nearest_offer(&near, p->name);
        return near.name ? mc_fail(err, MC_EUSAGE, "%s: unknown option '%s'; did you mean '%s'?",
                                   where, key, near.name)
                         : mc_fail(err, MC_EUSAGE, "%s: unknown option '%s'", where, key);
    }
    for (const struct mc_param *p = table; p->type; p++) {
        int rc = json_object_get(values, p->name) ? validate_key(p, values, where, err) : 0;
        if (rc)
            return rc;
    }
    return set_presets(table, values, err);
}

bool mc_param_flag(const json_t *values, const char *name)
{
    return json_is_true(json_object_get(values, name));
}

double mc_param_real(const json_t *values, const char *name, double missing)
{
    return mc_json_number(values, name, missing);
}

long long mc_param_int(const json_t *values, const char *name, long long missing)
{
    const json_t *v = json_object_get(values, name);
    return json_is_integer(v) ? json_integer_value(v) : missing;
}

const char *mc_param_text(const json_t *values, const char *name)
{
    return mc_json_string(values, name);
}

bool mc_param_has(const json_t *values, const char *name)
{
    return json_object_get(values, name) != NULL;
}
