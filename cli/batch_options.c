#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/io.h"
#include "base/json.h"
#include "base/mem.h"
#include "cli/batch.h"
#include "cli/options.h"
#include "cli/recipe_parts.h"

/* Options that name files, where a pattern can stand. */
static const struct file_option {
    const char *name;
    bool written; /* every model needs one of its own */
} file_options[] = {
    {"data", false},       {"calib", false},     {"train", false},       {"unlabelled", false},
    {"teacher", false},    {"choices", false},   {"student", false},     {"checkpoint", true},
    {"choices-out", true}, {"dump-graph", true}, {"save-outputs", true},
};
enum { N_FILE_OPTIONS = sizeof file_options / sizeof *file_options };

static const struct file_option *file_option(const char *name)
{
    for (size_t i = 0; i < N_FILE_OPTIONS; i++)
        if (!strcmp(file_options[i].name, name))
            return &file_options[i];
    return NULL;
}

int mc_batch_option_files(const char *name)
{
    const struct file_option *f = file_option(name);
    return f ? 1 + f->written : 0;
}

/* ---- patterns ---- */

/* What stands for name (n bytes) of a model. */
static int put_part(FILE *out, const char *name, size_t n, const struct mc_batch_model *m)
{
    char dir[MC_PATH];
    const char *base = mc_path_base(m->rel);
    int stem = (int)(strlen(base) - strlen(mc_path_ext(base)));
    int below = (int)(strlen(m->rel) - strlen(mc_path_ext(base)));
    if (n == 3 && !memcmp(name, "dir", n))
        fputs(mc_path_dir(m->path, dir), out);
    else if (n == 4 && !memcmp(name, "stem", n))
        fprintf(out, "%.*s", stem, base);
    else if (n == 4 && !memcmp(name, "name", n))
        fputs(base, out);
    else if (n == 3 && !memcmp(name, "rel", n))
        fprintf(out, "%.*s", below, m->rel);
    else
        return -1;
    return 0;
}

static int fill(FILE *out, const char *pattern, const struct mc_batch_model *m, struct mc_err *err)
{
    for (const char *c = pattern; *c; c++) {
        if ((*c == '{' || *c == '}') && c[1] == *c) {
            fputc(*c++, out);
            continue;
        }
        if (*c != '{') {
            fputc(*c, out);
            continue;
        }
        size_t n = strcspn(c + 1, "}");
        if (!c[1 + n] || put_part(out, c + 1, n, m))
            return mc_fail(err, MC_EUSAGE,
                           "'%s': {%.*s%s is not known; a pattern may have {dir}, {stem}, {name} "
                           "and {rel}, and {{ for a brace",
                           pattern, (int)n, c + 1, c[1 + n] ? "}" : "");
        c += 1 + n;
    }
    return 0;
}

int mc_batch_fill(const char *pattern, const struct mc_batch_model *m, char **ret,
                  struct mc_err *err)
{
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    int rc = out ? fill(out, pattern, m, err) : mc_fail(err, MC_ENOMEM, "out of memory");
    if (out && fclose(out) && !rc)
        rc = mc_fail(err, MC_ENOMEM, "out of memory");
    if (rc)
        free(text);
    else
        *ret = text;
    return rc;
}

/* ---- options ---- */

/* A model that no folder has: what two patterns make of it tells if they can be told apart. */
static int check_own(const char *name, const char *pattern, struct mc_err *err)
{
    static const struct mc_batch_model like[] = {
        {.rel = (char *)"a/x.onnx", .path = (char *)"d/a/x.onnx"},
        {.rel = (char *)"a/y.onnx", .path = (char *)"d/a/y.onnx"},
        {.rel = (char *)"b/x.onnx", .path = (char *)"d/b/x.onnx"},
    };
    char *text[3] = {NULL, NULL, NULL};
    int rc = 0;
    for (int i = 0; i < 3 && !rc; i++)
        rc = mc_batch_fill(pattern, &like[i], &text[i], err);
    if (!rc && (!strcmp(text[0], text[1]) || !strcmp(text[0], text[2])))
        rc = mc_fail(err, MC_EUSAGE,
                     "--%s '%s': every model writes one, so it needs a name of its own, such as "
                     "'{dir}/{stem}.%s' or 'folder/{rel}.%s'",
                     name, pattern, name, name);
    for (int i = 0; i < 3; i++)
        free(text[i]);
    return rc;
}

static int check_value(const struct mc_param *p, const json_t *v, struct mc_err *err)
{
    const struct file_option *f = file_option(p->name);
    const char *pattern = json_string_value(v);
    char *text = NULL;
    if (!f || !pattern)
        return 0;
    if (f->written)
        return check_own(p->name, pattern, err);
    int rc = mc_batch_fill(
        pattern, &(struct mc_batch_model){.rel = (char *)"x.onnx", .path = (char *)"x.onnx"}, &text,
        err);
    free(text);
    return rc;
}

/* Patterns are not filled in there: one name would serve all models. */
static int check_steps(const struct mc_recipe *r, struct mc_err *err)
{
    size_t i;
    json_t *step, *v;
    const char *name;
    json_array_foreach(r->steps, i, step)
        json_object_foreach(json_object_get(step, "options"), name, v)
    {
        const struct file_option *f = file_option(name);
        if (f && f->written)
            return mc_fail(err, MC_EUSAGE,
                           "step %zu (%s): every model would write '%s'; leave %s out of a recipe "
                           "for many models",
                           i + 1, mc_json_string_or(step, "name", "?"),
                           json_is_string(v) ? json_string_value(v) : "?", name);
    }
    return 0;
}

int mc_batch_recipe(struct mc_batch_job *b, struct mc_err *err)
{
    mc_batch_print(b->recipe, b->recipe_print);
    int rc = mc_recipe_read(b->recipe, &b->steps, err);
    if (rc)
        return rc;
    if (!b->steps->file) /* a text, whatever file has that name */
        *b->recipe_print = 0;
    if ((rc = check_steps(b->steps, err)))
        return rc;
    b->recipe_text = mc_recipe_text(b->steps);
    return b->recipe_text ? 0 : mc_fail(err, MC_ENOMEM, "out of memory");
}

/* An option for every process: as it is given, else as the file of the recipe says. */
static int take(struct mc_batch_job *b, const struct mc_param *p, const json_t *given,
                struct mc_err *err)
{
    bool ok = true;
    json_t *v = json_object_get(given, p->name);
    if (!v)
        v = json_object_get(mc_recipe_options(b->steps), p->name);
    if (!v || !strcmp(p->name, "threads"))
        return 0;
    int rc = check_value(p, v, err);
    mc_json_put(b->options, p->name, json_incref(v), &ok);
    return rc || ok ? rc : mc_fail(err, MC_ENOMEM, "out of memory");
}

/* Options of batch that are those of every model's run. */
static bool is_about_file(const char *name)
{
    return !strcmp(name, "external-data") || !strcmp(name, "inline") || !strcmp(name, "expand");
}

int mc_batch_options(struct mc_batch_job *b, struct mc_err *err)
{
    const struct mc_command *c = b->cli->command;
    json_t *given = NULL;
    bool ok = (b->options = json_object()) && (b->prints = json_object());
    int rc = ok ? mc_cli_given(b->cli, &given, err) : mc_fail(err, MC_ENOMEM, "out of memory");
    for (int g = 0; !rc && c->groups[g]; g++) {
        if (c->groups[g] == &mc_options_report || c->groups[g] == &mc_options_general)
            continue;
        for (const struct mc_param *p = c->groups[g]->params; !rc && p->type; p++)
            if (c->groups[g] != &mc_options_batch || is_about_file(p->name))
                rc = take(b, p, given, err);
    }
    json_decref(given);
    return rc;
}

/* ---- words ---- */

struct words {
    char **word;
    size_t n, cap;
    bool ok;
};

void mc_batch_words_free(char **word)
{
    for (size_t i = 0; word && word[i]; i++)
        free(word[i]);
    free(word);
}

/* Takes text. */
static void add_word(struct words *w, char *text)
{
    w->ok = w->ok && text && MC_GROW(w->word, w->n + 1, w->cap);
    if (w->ok) {
        w->word[w->n++] = text;
        w->word[w->n] = NULL;
    } else {
        free(text);
    }
}

static void add_format(struct words *w, const char *fmt, const char *a, const char *b)
{
    char *text;
    add_word(w, asprintf(&text, fmt, a, b) < 0 ? NULL : text);
}

/* Data that need not be there, and is not. */
static bool left_out(const struct mc_batch_job *b, const char *name, const char *pattern,
                     const char *text)
{
    return b->data_optional && !strcmp(name, "data") && strcmp(pattern, text) &&
           !mc_batch_there(text);
}

static void add_option(const struct mc_batch_job *b, struct words *w,
                       const struct mc_batch_model *m, const char *name, const json_t *v)
{
    char number[64];
    size_t i;
    const json_t *item;
    if (json_is_array(v)) {
        json_array_foreach(v, i, item) add_option(b, w, m, name, item);
    } else if (json_is_boolean(v)) {
        if (json_is_true(v)) /* a recipe may also say no */
            add_format(w, "--%s%s", name, "");
    } else if (json_is_string(v) && m && file_option(name)) {
        char *text = NULL;
        w->ok = w->ok && !mc_batch_fill(json_string_value(v), m, &text, NULL);
        if (text && !left_out(b, name, json_string_value(v), text))
            add_format(w, "--%s=%s", name, text);
        free(text);
    } else if (json_is_string(v)) {
        add_format(w, "--%s=%s", name, json_string_value(v));
    } else {
        if (json_is_integer(v))
            snprintf(number, sizeof number, "%" JSON_INTEGER_FORMAT, json_integer_value(v));
        else
            snprintf(number, sizeof number, "%.17g", json_number_value(v));
        add_format(w, "--%s=%s", name, number);
    }
}

int mc_batch_words(const struct mc_batch_job *b, const struct mc_batch_model *m, char ***ret,
                   struct mc_err *err)
{
    struct words w = {.ok = true};
    char number[16];
    const char *name;
    json_t *v;
    snprintf(number, sizeof number, "%d", b->threads);
    add_word(&w, strdup("mcompress"));
    add_word(&w, strdup("run"));
    add_word(&w, strdup("--quiet"));
    add_word(&w, strdup("--no-latency")); /* among others that run, it would say nothing */
    add_format(&w, "--threads%s=%s", "", number);
    add_format(&w, "--out%s=%s", "", m->out);
    add_format(&w, "--report%s=%s", "", m->partial);
    json_object_foreach(b->options, name, v) add_option(b, &w, m, name, v);
    add_word(&w, strdup("--"));
    add_word(&w, strdup(b->recipe));
    add_word(&w, strdup(m->path));
    if (!w.ok) {
        mc_batch_words_free(w.word);
        return mc_fail(err, MC_ENOMEM, "out of memory");
    }
    *ret = w.word;
    return 0;
}
