#include <stdlib.h>
#include <string.h>

#include "base/io.h"
#include "base/json.h"
#include "base/nearest.h"
#include "base/text.h"
#include "cli/options.h"
#include "cli/recipe_parts.h"

static bool is_run_wide(const struct mc_option_group *g)
{
    static const struct mc_option_group *const groups[] = {
        &mc_options_write, &mc_options_calib,  &mc_options_data,   &mc_options_gate,
        &mc_options_run,   &mc_options_report, &mc_options_general};
    for (size_t i = 0; i < sizeof groups / sizeof *groups; i++)
        if (groups[i] == g)
            return true;
    return false;
}

static const char *word_of(const struct mc_command *c, const struct mc_pass *p)
{
    return p ? p->name : c->name;
}

void mc_recipe_kind_of(const struct mc_command *c, const struct mc_pass *pass,
                       struct mc_recipe_kind *ret)
{
    *ret = (struct mc_recipe_kind){.command = c, .pass = pass};
    if (pass)
        ret->table[ret->n++] = pass->params;
    for (int k = 0; c->groups[k]; k++)
        if (!is_run_wide(c->groups[k]))
            ret->table[ret->n++] = c->groups[k]->params;
}

bool mc_recipe_kind_find(const char *word, struct mc_recipe_kind *ret)
{
    const struct mc_command *c;
    const struct mc_pass *pass;
    for (size_t i = 0; (c = mc_command_at(i, &pass)); i++) {
        if (c->run != mc_cmd_step || strcmp(word_of(c, pass), word))
            continue;
        mc_recipe_kind_of(c, pass, ret);
        return true;
    }
    return false;
}

/* Samples are the run's: its steps share them. */
static bool is_shared(const char *name)
{
    return !strcmp(name, "train") || !strcmp(name, "unlabelled");
}

const struct mc_param *mc_recipe_option(const struct mc_recipe_kind *k, const char *name)
{
    return is_shared(name) ? NULL : mc_param_find(k->table, k->n, name);
}

const char *mc_recipe_where(struct mc_recipe_place at, const char *step, char ret[MC_RECIPE_WHERE])
{
    const char *colon = step ? ": " : "";
    step = step ? step : "";
    if (!at.file)
        snprintf(ret, MC_RECIPE_WHERE, "recipe, character %d%s%s", at.column, colon, step);
    else if (at.line)
        snprintf(ret, MC_RECIPE_WHERE, "%.150s:%d:%d%s%s", at.file, at.line, at.column, colon,
                 step);
    else
        snprintf(ret, MC_RECIPE_WHERE, "%.150s%s%s", at.file, colon, step);
    return ret;
}

static int code_of(struct mc_recipe_place at)
{
    return at.file ? MC_EFORMAT : MC_EUSAGE;
}

static int unknown_step(const char *word, struct mc_recipe_place at, struct mc_err *err)
{
    char known[200] = "", where[MC_RECIPE_WHERE];
    struct mc_nearest near = {.word = word};
    const struct mc_command *c;
    const struct mc_pass *pass;
    for (size_t i = 0; (c = mc_command_at(i, &pass)); i++) {
        if (c->run != mc_cmd_step)
            continue;
        mc_nearest_offer(&near, word_of(c, pass));
        mc_text_add(known, sizeof known, "%s%s", *known ? ", " : "", word_of(c, pass));
    }
    mc_recipe_where(at, NULL, where);
    if (near.name)
        return mc_fail(err, code_of(at), "%s: unknown step '%.60s'; did you mean %s?", where, word,
                       near.name);
    return mc_fail(err, code_of(at), "%s: unknown step '%.60s'; steps are %s", where, word, known);
}

int mc_recipe_step_add(struct mc_recipe *r, const char *word, struct mc_recipe_place at,
                       struct mc_recipe_kind *ret_kind, struct mc_err *err)
{
    bool ok = true;
    if (!mc_recipe_kind_find(word, ret_kind))
        return unknown_step(word, at, err);
    json_t *step = json_object();
    mc_json_put(step, "name", json_string(word), &ok);
    mc_json_put(step, "options", json_object(), &ok);
    mc_json_add(r->steps, step, &ok);
    return ok ? 0 : mc_fail(err, MC_ENOMEM, "out of memory");
}

static int unknown_option(const struct mc_recipe_kind *k, const char *name,
                          struct mc_recipe_place at, struct mc_err *err)
{
    char where[MC_RECIPE_WHERE];
    struct mc_nearest near = {.word = name};
    mc_recipe_where(at, word_of(k->command, k->pass), where);
    for (int t = 0; t < k->n; t++)
        for (const struct mc_param *p = k->table[t]; p->type; p++)
            if (!is_shared(p->name))
                mc_nearest_offer(&near, p->name);
    for (int i = 0; k->command->groups[i]; i++)
        for (const struct mc_param *p = k->command->groups[i]->params; p->type; p++)
            if (!strcmp(p->name, name))
                return mc_fail(err, code_of(at),
                               "%s: '%s' is said for the whole run: --%s, or at the top of a "
                               "recipe file",
                               where, name, name);
    if (near.name)
        return mc_fail(err, code_of(at), "%s: unknown option '%.60s'; did you mean %s?", where,
                       name, near.name);
    return mc_fail(err, code_of(at), "%s: unknown option '%.60s'; see 'mcompress help %s'", where,
                   name, word_of(k->command, k->pass));
}

/* What is text for its option may look like a number to YAML; 2 and 2.0 are one number. */
static json_t *as_taken(const struct mc_param *p, json_t *value)
{
    char text[32];
    if (json_is_integer(value) && p->type == MC_PARAM_REAL)
        return json_real(json_number_value(value));
    if (json_is_number(value) && p->type == MC_PARAM_TEXT)
        return json_string(mc_recipe_number(json_number_value(value), text));
    return json_incref(value);
}

int mc_recipe_step_set(struct mc_recipe *r, const struct mc_recipe_kind *k, const char *name,
                       json_t *value, struct mc_recipe_place key_at, struct mc_recipe_place at,
                       struct mc_err *err)
{
    char where[MC_RECIPE_WHERE];
    json_t *step = json_array_get(r->steps, json_array_size(r->steps) - 1);
    json_t *options = json_object_get(step, "options");
    const struct mc_param *p = mc_recipe_option(k, name);
    if (!p)
        return unknown_option(k, name, key_at, err);
    if (!p->repeat && json_object_get(options, name))
        return mc_fail(err, code_of(key_at), "%s: '%s' is given twice",
                       mc_recipe_where(key_at, word_of(k->command, k->pass), where), name);
    json_t *taken = as_taken(p, value);
    if (!taken)
        return mc_fail(err, MC_ENOMEM, "out of memory");
    int rc = mc_param_put(p, taken, mc_recipe_where(at, word_of(k->command, k->pass), where),
                          options, err);
    json_decref(taken);
    return rc == MC_EUSAGE && at.file ? mc_fail(err, MC_EFORMAT, "%s", err->msg) : rc;
}
