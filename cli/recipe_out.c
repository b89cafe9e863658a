#include "cli/recipe_out.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/io.h"
#include "base/json.h"
#include "base/text.h"
#include "cli/history.h"
#include "cli/options.h"
#include "cli/recipe_parts.h"
#include "cli/train_options.h"
#include "formats/report_format.h"

int mc_recipe_out_check(const char *path, const char *const *files, int n, struct mc_err *err)
{
    const char *ext = mc_path_ext(path);
    struct mc_out *probe;
    if (strcasecmp(ext, ".yaml") && strcasecmp(ext, ".yml"))
        return mc_fail(err, MC_EUSAGE, "--recipe-out '%s': a recipe with comments is a .yaml file",
                       path);
    for (int i = 0; i < n; i++)
        if (files[i] && (!strcmp(files[i], path) || mc_path_same(files[i], path)))
            return mc_fail(err, MC_EUSAGE,
                           "--recipe-out '%s' is the recipe, the model or OUT; give another name",
                           path);
    int rc = mc_out_open(path, &probe, err);
    if (!rc)
        mc_out_abort(probe);
    return rc;
}

/* ---- values ---- */

/* Words that YAML reads as text without quotes. */
static bool is_plain(const char *s)
{
    static const char *const taken[] = {"true", "false", "null"};
    static const char safe[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_./:=-+%";
    size_t n = strlen(s);
    bool letter = (*s >= 'a' && *s <= 'z') || (*s >= 'A' && *s <= 'Z') || *s == '/';
    for (size_t i = 0; i < sizeof taken / sizeof *taken; i++)
        letter = letter && strcasecmp(s, taken[i]) != 0;
    return letter && !s[strspn(s, safe)] && s[n - 1] != ':';
}

static void put_value(FILE *out, const json_t *v)
{
    char number[32];
    if (json_is_array(v)) {
        size_t i;
        const json_t *item;
        json_array_foreach(v, i, item)
        {
            fputs(i ? ", " : "[", out);
            put_value(out, item);
        }
        fputs(i ? "]" : "[]", out);
    } else if (json_is_real(v)) {
        fputs(mc_recipe_number(json_real_value(v), number), out);
    } else if (json_is_string(v) && is_plain(json_string_value(v))) {
        fputs(json_string_value(v), out);
    } else {
        json_t *text = json_is_string(v) ? mc_json_text(json_string_value(v)) : NULL;
        char *quoted = json_dumps(text ? text : v, JSON_ENCODE_ANY | JSON_COMPACT);
        fputs(quoted ? quoted : "null", out);
        free(quoted);
        json_decref(text);
    }
}

/* One line of a comment; names come from anywhere. */
static void put_comment(FILE *out, const char *indent, const char *text)
{
    json_t *clean = mc_json_text(text);
    char *line = clean ? strdup(json_string_value(clean)) : NULL;
    if (line) {
        mc_report_disarm(line);
        for (char *c = line; *c; c++)
            if (*c == '\n')
                *c = ' ';
        fprintf(out, "%s# %s\n", indent, line);
    }
    free(line);
    json_decref(clean);
}

/* ---- the run ---- */

static void put_share(FILE *out, const char *name, const json_t *report)
{
    double a = mc_json_number(json_object_get(report, "before"), name, NAN);
    double b = mc_json_number(json_object_get(report, "after"), name, NAN);
    if (isfinite(a) && isfinite(b))
        fprintf(out, "# %s: %.2f %% -> %.2f %%\n", name, 100 * a, 100 * b);
    else if (isfinite(b))
        fprintf(out, "# %s: %.2f %%\n", name, 100 * b);
}

static void put_head(FILE *out, const json_t *report)
{
    char a[MC_TEXT], b[MC_TEXT], text[1024];
    size_t i;
    const json_t *gate, *in = json_object_get(report, "input"),
                        *to = json_object_get(report, "output");
    const json_t *after = json_object_get(report, "after");
    snprintf(text, sizeof text, "mcompress %s: %s -> %s", MC_VERSION,
             mc_json_string_or(in, "path", "?"), mc_json_string_or(to, "path", "?"));
    put_comment(out, "", text);
    fprintf(out, "# %s -> %s bytes\n", mc_text_group((int64_t)mc_json_number(in, "bytes", 0), a),
            mc_text_group((int64_t)mc_json_number(to, "bytes", 0), b));
    put_share(out, "top1", report);
    double drop = mc_json_number(json_object_get(report, "drop"), "top1", NAN);
    const json_t *ci = json_object_get(json_object_get(report, "drop"), "ci95");
    if (isfinite(drop) && json_array_size(ci) == 2)
        fprintf(out, "# drop: %.2f points, 95 %% interval %.2f to %.2f, %s samples\n", 100 * drop,
                100 * json_number_value(json_array_get(ci, 0)),
                100 * json_number_value(json_array_get(ci, 1)),
                mc_text_group((int64_t)mc_json_number(after, "samples", 0), a));
    json_array_foreach(json_object_get(report, "gates"), i, gate)
    {
        snprintf(text, sizeof text, "gate %s %s", mc_json_string_or(gate, "name", "?"),
                 mc_json_string_or(gate, "message", ""));
        put_comment(out, "", text);
    }
    if (!json_is_object(after))
        fputs("# accuracy was not measured\n", out);
}

/* Options of the run that are not what they are anyway; the seed in any case. */
static void put_options(FILE *out, const struct mc_cli *run)
{
    static const struct mc_option_group *const groups[] = {&mc_options_chain, &mc_options_calib,
                                                           &mc_options_data,  &mc_options_gate,
                                                           &mc_options_run,   &mc_options_write};
    json_t *presets = json_object();
    for (size_t g = 0; g < sizeof groups / sizeof *groups && presets; g++) {
        mc_param_fill(groups[g]->params, presets, NULL);
        for (const struct mc_param *p = groups[g]->params; p->type; p++) {
            const json_t *v = json_object_get(run->values, p->name);
            bool seed = !strcmp(p->name, "seed");
            if (!v || mc_recipe_of_the_call(p->name) || !strcmp(p->name, "teacher") ||
                (!seed && json_equal(v, json_object_get(presets, p->name))))
                continue;
            fprintf(out, "%s: ", p->name);
            put_value(out, v);
            fputc('\n', out);
        }
    }
    json_decref(presets);
}

/* ---- steps ---- */

/* What the option came to: a learning rate that was looked for is known by now. */
static json_t *resolved(const struct mc_chain_step *s, const struct mc_param *p)
{
    json_t *v = json_object_get(s->cli.values, p->name);
    const json_t *training = json_object_get(s->account, "training");
    json_t *found = json_object_get(json_object_get(training, "lr_found"), "lr");
    return !v && found && !strcmp(p->name, "lr") ? found : v;
}

static void put_step_options(FILE *out, const struct mc_chain_step *s)
{
    struct mc_recipe_kind k;
    json_t *own = mc_history_values(s);
    mc_recipe_kind_of(s->cli.command, s->cli.pass, &k);
    for (int t = 0; t < k.n && own; t++)
        for (const struct mc_param *p = k.table[t]; p->type; p++) {
            const json_t *v = resolved(s, p);
            if (!v || json_is_false(v) || mc_recipe_option(&k, p->name) != p ||
                (v == json_object_get(s->cli.values, p->name) && !json_object_get(own, p->name)))
                continue;
            fprintf(out, "      %s: ", p->name);
            put_value(out, v);
            fputc('\n', out);
        }
    json_decref(own);
}

static void put_layers(FILE *out, const json_t *layers)
{
    char text[1024], a[MC_TEXT], b[MC_TEXT];
    size_t i;
    const json_t *l;
    json_array_foreach(layers, i, l)
    {
        double error = mc_json_number(l, "error", NAN);
        const char *reason = mc_json_string(l, "reason");
        snprintf(text, sizeof text, "  %.300s (%.60s): ", mc_json_string_or(l, "name", "?"),
                 mc_json_string_or(l, "op", "?"));
        if (reason)
            mc_text_add(text, sizeof text, "left: %.300s", reason);
        else
            mc_text_add(text, sizeof text, "%.60s, %s -> %s",
                        mc_json_string_or(l, "choice", mc_json_string_or(l, "action", "changed")),
                        mc_text_bytes(mc_json_number(l, "bytes_before", 0), a),
                        mc_text_bytes(mc_json_number(l, "bytes_after", 0), b));
        if (!reason && !mc_json_string(l, "choice") && json_is_integer(json_object_get(l, "rank")))
            mc_text_add(text, sizeof text, ", rank %.0f", mc_json_number(l, "rank", 0));
        if (isfinite(error))
            mc_text_add(text, sizeof text, ", error %.4f", error);
        put_comment(out, "    ", text);
    }
}

static void put_step(FILE *out, const struct mc_chain_step *s)
{
    const char *summary = mc_json_string(s->account, "summary");
    const char *figures = summary ? strstr(summary, ": ") : NULL;
    fprintf(out, "  - %s:\n", s->cli.pass ? s->cli.pass->name : s->cli.command->name);
    put_step_options(out, s);
    put_comment(out, "    ", figures ? figures + 2 : "?");
    put_layers(out, json_object_get(s->account, "layers"));
}

int mc_recipe_out_write(const char *path, const struct mc_cli *run, const struct mc_chain *c,
                        const json_t *about, const json_t *report, struct mc_err *err)
{
    const char *key, *const keys[] = {"name", "description"};
    char *text = NULL;
    size_t size = 0;
    struct mc_out *file;
    FILE *out = open_memstream(&text, &size);
    if (!out)
        return mc_fail(err, MC_ENOMEM, "out of memory");
    put_head(out, report);
    for (size_t i = 0; i < 2; i++)
        if (json_object_get(about, key = keys[i])) {
            fprintf(out, "%s: ", key);
            put_value(out, json_object_get(about, key));
            fputc('\n', out);
        }
    put_options(out, run);
    fputs("steps:\n", out);
    for (size_t i = 0; i < c->n; i++)
        put_step(out, &c->step[i]);
    int rc = fclose(out) ? mc_fail(err, MC_ENOMEM, "out of memory") : mc_out_open(path, &file, err);
    if (!rc) {
        mc_out_write(file, text, size);
        rc = mc_out_commit(file, err);
    }
    free(text);
    return rc;
}
