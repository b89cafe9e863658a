#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "base/io.h"
#include "base/json.h"
#include "cli/recipe_parts.h"

/* ---- text -> steps ---- */

/* ITEM,ITEM,…: "svd:keep=0.3" begins a step, "keep=0.3" goes on with it. A value may be in quotes. */
struct parse {
    struct mc_recipe *r;
    const char *text;
    struct mc_recipe_place at;
    struct mc_recipe_kind kind;
    bool begun;
};

static struct mc_recipe_place place(const struct parse *s, const char *c)
{
    struct mc_recipe_place p = s->at;
    for (const char *k = s->text; k < c;
         k++) /* characters, not bytes; a text in a file may be folded */
        p.column += (*k & 0xc0) != 0x80;
    return p;
}

/* End of an item: the next comma that is not in quotes. *ret_open: the quote that nothing closes. */
static const char *item_end(const char *c, const char **ret_open)
{
    const char *open = NULL;
    char before = 0; /* the last character that is no blank: a quote begins a value only */
    for (; *c && (open || *c != ','); c++) {
        if (open && *open == '"' && *c == '\\' && c[1])
            c++;
        else if (open && *c == *open)
            open = NULL;
        else if (!open && (*c == '"' || *c == '\'') && before == '=')
            open = c;
        before = *c == ' ' ? before : *c;
    }
    *ret_open = open;
    return c;
}

static char *cut(const char *from, const char *to)
{
    while (from < to && (*from == ' ' || *from == '\n' || *from == '\t'))
        from++;
    while (to > from && (to[-1] == ' ' || to[-1] == '\n' || to[-1] == '\t'))
        to--;
    return strndup(from, (size_t)(to - from));
}

/* Takes the quotes off; in double ones a backslash keeps what follows it as it is. */
static void unquote(char *s)
{
    char quote = *s, *to = s;
    size_t n = strlen(s);
    if (n < 2 || (quote != '"' && quote != '\'') || s[n - 1] != quote)
        return;
    s[n - 1] = 0;
    for (char *c = s + 1; *c; c++) {
        if (quote == '"' && *c == '\\' && c[1])
            c++;
        *to++ = *c;
    }
    *to = 0;
}

static int fail_at(const struct parse *s, const char *c, struct mc_err *err, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

static int fail_at(const struct parse *s, const char *c, struct mc_err *err, const char *fmt, ...)
{
    char where[MC_RECIPE_WHERE], what[200];
    struct mc_recipe_place at = place(s, c);
    va_list list;
    va_start(list, fmt);
    vsnprintf(what, sizeof what, fmt, list);
    va_end(list);
    return mc_fail(err, at.file ? MC_EFORMAT : MC_EUSAGE, "%s: %s",
                   mc_recipe_where(at, NULL, where), what);
}

static int set(struct parse *s, const char *key_at, const char *key, const char *value_at,
               const char *text, struct mc_err *err)
{
    const struct mc_param *p = s->begun ? mc_recipe_option(&s->kind, key) : NULL;
    if (!s->begun)
        return fail_at(s, key_at, err,
                       "a recipe begins with a step, such as svd:keep=0.3 or finetune, not with "
                       "'%.60s'",
                       key);
    json_t *v = p && p->type == MC_PARAM_FLAG && (!text || !strcmp(text, "true")) ? json_true()
                : p && p->type == MC_PARAM_FLAG && !strcmp(text, "false")         ? json_false()
                : !text                                                           ? json_null()
                        : json_stringn_nocheck(text, strlen(text));
    if (!v)
        return mc_fail(err, MC_ENOMEM, "out of memory");
    int rc = mc_recipe_step_set(s->r, &s->kind, key, v, place(s, key_at), place(s, value_at), err);
    json_decref(v);
    return rc;
}

/* "key=value", "flag", or a word that is nothing yet. */
static int option(struct parse *s, const char *from, const char *to, struct mc_err *err)
{
    const char *equals = memchr(from, '=', (size_t)(to - from));
    char *key = cut(from, equals ? equals : to);
    char *value = equals ? cut(equals + 1, to) : NULL;
    const struct mc_param *p = key && s->begun ? mc_recipe_option(&s->kind, key) : NULL;
    int rc = 0;
    if (!key || (equals && !value))
        rc = mc_fail(err, MC_ENOMEM, "out of memory");
    else if (!equals && p && p->type != MC_PARAM_FLAG)
        rc = fail_at(s, from, err, "'%s' needs a value: %s=…", p->name, p->name);
    else if (!equals && !p)
        rc = mc_recipe_step_add(s->r, key, place(s, from), &s->kind, err);
    else {
        if (value)
            unquote(value);
        rc = set(s, from, key, equals ? equals + 1 : from, value, err);
    }
    free(key);
    free(value);
    return rc;
}

/* A known word in front of a colon, or alone, begins a step. */
static int item(struct parse *s, const char *from, const char *to, struct mc_err *err)
{
    size_t n = strcspn(from, ":=,");
    const char *stop = from + n < to ? from + n : to;
    char *word = cut(from, stop);
    if (!word)
        return mc_fail(err, MC_ENOMEM, "out of memory");
    struct mc_recipe_kind kind;
    bool begins = stop < to ? *stop == ':' : mc_recipe_kind_find(word, &kind);
    int rc = begins ? mc_recipe_step_add(s->r, word, place(s, from), &s->kind, err) : 0;
    s->begun = s->begun || begins;
    free(word);
    if (rc || (begins && stop == to))
        return rc;
    if (begins)
        for (from = stop + 1; from < to && *from == ' ';)
            from++;
    return from < to ? option(s, from, to, err) : 0;
}

int mc_recipe_parse(struct mc_recipe *r, const char *text, struct mc_recipe_place at,
                    struct mc_err *err)
{
    struct parse s = {.r = r, .text = text, .at = at};
    const char *c = text;
    int rc = 0;
    do {
        const char *open, *blank = c;
        while (*blank == ' ' || *blank == '\n' || *blank == '\t')
            blank++;
        const char *end = item_end(blank, &open);
        if (open)
            rc = fail_at(&s, open, err, "nothing closes this quote");
        else if (blank == end)
            rc = fail_at(&s, blank, err, "%s",
                         *text ? "a step or an option is missing" : "the recipe is empty");
        else
            rc = item(&s, blank, end, err);
        c = *end ? end + 1 : NULL;
    } while (c && !rc);
    return rc;
}

/* ---- steps -> text ---- */

const char *mc_recipe_number(double v, char ret[32])
{
    snprintf(ret, 32, "%.15g", v);
    if (strtod(ret, NULL) != v)
        snprintf(ret, 32, "%.17g", v);
    return ret;
}

static void print_text(FILE *out, const char *s)
{
    size_t n = strlen(s);
    bool plain = n && !strpbrk(s, ",\"'\n\t\\") && s[0] != ' ' && s[n - 1] != ' ';
    if (!plain)
        fputc('"', out);
    for (; *s; s++) {
        if (!plain && (*s == '"' || *s == '\\'))
            fputc('\\', out);
        fputc(*s, out);
    }
    if (!plain)
        fputc('"', out);
}

static void print_value(FILE *out, const struct mc_param *p, const json_t *v, bool portable)
{
    char number[32];
    if (p->type == MC_PARAM_FLAG) {
        if (!json_is_true(v))
            fputs("=false", out);
        return;
    }
    fputc('=', out);
    if (json_is_integer(v))
        fprintf(out, "%lld", (long long)json_integer_value(v));
    else if (json_is_number(v))
        fputs(mc_recipe_number(json_number_value(v), number), out);
    else if (json_is_string(v) && portable && p->arg &&
             (!strcmp(p->arg, "FILE") || !strcmp(p->arg, "MODEL")))
        print_text(out, mc_path_base(json_string_value(v)));
    else
        print_text(out, json_is_string(v) ? json_string_value(v) : "");
}

/* Files that are written beside the model say nothing about it. */
static bool is_aside(const char *name)
{
    size_t n = strlen(name);
    return !strncmp(name, "checkpoint", 10) || !strcmp(name, "dump-graph") ||
           (n > 4 && !strcmp(name + n - 4, "-out"));
}

void mc_recipe_print(FILE *out, const struct mc_recipe_kind *k, const json_t *options,
                     bool portable)
{
    json_t *presets = json_object();
    int said = 0;
    fputs(k->pass ? k->pass->name : k->command->name, out);
    for (int t = 0; t < k->n && presets; t++) {
        mc_param_fill(k->table[t], presets, NULL);
        for (const struct mc_param *p = k->table[t]; p->type; p++) {
            json_t *v = json_object_get(options, p->name);
            if (!v || json_equal(v, json_object_get(presets, p->name)) ||
                mc_recipe_option(k, p->name) != p || (portable && is_aside(p->name)) ||
                (p->type == MC_PARAM_FLAG && !json_is_true(v)))
                continue;
            size_t n = json_is_array(v) ? json_array_size(v) : 1;
            for (size_t i = 0; i < n; i++) {
                fprintf(out, "%s%s", said++ ? "," : ":", p->name);
                print_value(out, p, json_is_array(v) ? json_array_get(v, i) : v, portable);
            }
        }
    }
    json_decref(presets);
}

char *mc_recipe_text(const struct mc_recipe *r)
{
    char *text = NULL;
    size_t size = 0, i;
    const json_t *step;
    FILE *out = open_memstream(&text, &size);
    if (!out)
        return NULL;
    json_array_foreach(r->steps, i, step)
    {
        struct mc_recipe_kind k;
        if (!mc_recipe_kind_find(mc_json_string_or(step, "name", ""), &k))
            continue;
        if (i)
            fputc(',', out);
        mc_recipe_print(out, &k, json_object_get(step, "options"), false);
    }
    if (fclose(out)) {
        free(text);
        return NULL;
    }
    return text;
}
