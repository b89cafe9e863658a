#include "cli/recipe.h"

#include <nettle/sha2.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "base/io.h"
#include "base/json.h"
#include "base/nearest.h"
#include "cli/recipe_parts.h"
#include "formats/yaml.h"

enum { PATH_TEXT = 512 };

void mc_recipe_free(struct mc_recipe *r)
{
    if (!r)
        return;
    free(r->file);
    json_decref(r->steps);
    json_decref(r->options);
    json_decref(r->about);
    free(r);
}

const json_t *mc_recipe_options(const struct mc_recipe *r)
{
    return r->options;
}

/* ---- files ---- */

struct walk {
    struct mc_recipe *r;
    struct mc_yaml yaml;
    char path[PATH_TEXT]; /* of the node that is looked at */
};

/* To a part of the node whose path has `length` bytes; returns the length of its own. */
static size_t enter(struct walk *w, size_t length, const char *part)
{
    snprintf(w->path + length, sizeof w->path - length, "/%s", part);
    return strlen(w->path);
}

static struct mc_recipe_place value_at(const struct walk *w)
{
    struct mc_yaml_mark m = mc_yaml_at(&w->yaml, w->path);
    return (struct mc_recipe_place){w->r->file, m.line, m.column};
}

static struct mc_recipe_place key_at(const struct walk *w)
{
    struct mc_yaml_mark m = mc_yaml_key_at(&w->yaml, w->path);
    return (struct mc_recipe_place){w->r->file, m.line, m.column};
}

static int fail_at(struct mc_recipe_place at, struct mc_err *err, const char *what)
{
    char where[MC_RECIPE_WHERE];
    return mc_fail(err, MC_EFORMAT, "%s: %s", mc_recipe_where(at, NULL, where), what);
}

/* "{keep: 0.3}" of a step; null: none. */
static int take_step_options(struct walk *w, const struct mc_recipe_kind *k, json_t *options,
                             size_t length, struct mc_err *err)
{
    const char *key;
    json_t *v;
    int rc = 0;
    if (json_is_null(options))
        return 0;
    if (!json_is_object(options))
        return fail_at(value_at(w), err, "options of a step are a mapping, such as {keep: 0.3}");
    json_object_foreach(options, key, v)
    {
        enter(w, length, key);
        rc = mc_recipe_step_set(w->r, k, key, v, key_at(w), value_at(w), err);
        if (rc)
            return rc;
    }
    return 0;
}

/* "svd: {keep: 0.3}", or "svd:" for a step without options. */
static int take_mapping(struct walk *w, json_t *step, size_t length, struct mc_err *err)
{
    char what[200];
    struct mc_recipe_kind k = {0};
    const char *word;
    json_t *options;
    int steps = 0;
    json_object_foreach(step, word, options)
    {
        size_t inner = enter(w, length, word);
        int rc = 0;
        snprintf(what, sizeof what,
                 "a step is one word with its options below it: indent '%.60s' further, or put "
                 "'- ' before it",
                 word);
        if (steps++)
            return fail_at(key_at(w), err, what);
        rc = mc_recipe_step_add(w->r, word, key_at(w), &k, err);
        if (!rc)
            rc = take_step_options(w, &k, options, inner, err);
        if (rc)
            return rc;
    }
    return steps ? 0 : fail_at(value_at(w), err, "a step is missing");
}

static int take_steps(struct walk *w, json_t *steps, size_t length, struct mc_err *err)
{
    char index[32];
    size_t i;
    json_t *step;
    int rc = 0;
    if (json_is_string(steps))
        return mc_recipe_parse(w->r, json_string_value(steps), value_at(w), err);
    if (!json_is_array(steps) || !json_array_size(steps))
        return fail_at(value_at(w), err,
                       "steps are a list of at least one, such as [\"svd:keep=0.3\", finetune]");
    json_array_foreach(steps, i, step)
    {
        snprintf(index, sizeof index, "%zu", i);
        size_t inner = enter(w, length, index);
        if (json_is_object(step))
            rc = take_mapping(w, step, inner, err);
        else if (json_is_string(step))
            rc = mc_recipe_parse(w->r, json_string_value(step), value_at(w), err);
        else
            rc = fail_at(value_at(w), err,
                         "a step is a text such as svd:keep=0.3, or a word with its options below "
                         "it");
        if (rc)
            return rc;
    }
    return 0;
}

bool mc_recipe_of_the_call(const char *name)
{
    static const char *const names[] = {
        "out",        "dry-run",    "threads",          "device",    "precision",
        "json",       "quiet",      "verbose",          "help",      "report",
        "recipe-out", "checkpoint", "checkpoint-every", "dump-graph"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (!strcmp(names[i], name))
            return true;
    return false;
}

static int unknown_key(struct mc_recipe_place at, const char *name, const struct mc_command *run,
                       struct mc_err *err)
{
    char what[200];
    struct mc_nearest near = {.word = name};
    static const char *const own[] = {"steps", "name", "description"};
    for (size_t i = 0; i < 3; i++)
        mc_nearest_offer(&near, own[i]);
    for (int g = 0; run->groups[g]; g++)
        for (const struct mc_param *p = run->groups[g]->params; p->type; p++)
            if (!mc_recipe_of_the_call(p->name))
                mc_nearest_offer(&near, p->name);
    if (mc_recipe_of_the_call(name))
        snprintf(what, sizeof what, "'%.60s' is said where the recipe is used: --%.60s", name,
                 name);
    else if (near.name)
        snprintf(what, sizeof what, "unknown key '%.60s'; did you mean %s?", name, near.name);
    else
        snprintf(what, sizeof what, "unknown key '%.60s'; see 'mcompress help run'", name);
    return fail_at(at, err, what);
}

/* An option of the run. */
static int take_option(struct walk *w, const char *name, json_t *v, struct mc_err *err)
{
    char where[MC_RECIPE_WHERE];
    const struct mc_command *run;
    const struct mc_pass *none;
    const struct mc_param *p = NULL;
    int rc = mc_command_find("run", &run, &none, err);
    if (rc)
        return rc;
    for (int g = 0; run->groups[g] && !p && !mc_recipe_of_the_call(name); g++)
        p = mc_param_find(&run->groups[g]->params, 1, name);
    if (!p)
        return unknown_key(key_at(w), name, run, err);
    rc = mc_param_put(p, v, mc_recipe_where(value_at(w), NULL, where), w->r->options, err);
    return rc == MC_EUSAGE ? mc_fail(err, MC_EFORMAT, "%s", err->msg) : rc;
}

static int take_file(struct walk *w, struct mc_err *err)
{
    const char *key;
    json_t *v;
    int rc = 0;
    bool ok = true;
    if (!json_is_object(w->yaml.tree))
        return fail_at(value_at(w), err,
                       "a recipe is a mapping with 'steps:', such as {steps: [svd, finetune]}");
    json_object_foreach(w->yaml.tree, key, v)
    {
        size_t length = enter(w, 0, key);
        if (!strcmp(key, "steps"))
            rc = take_steps(w, v, length, err);
        else if (strcmp(key, "name") && strcmp(key, "description"))
            rc = take_option(w, key, v, err);
        else if (json_is_string(v))
            mc_json_put(w->r->about, key, json_incref(v), &ok);
        else
            rc = fail_at(value_at(w), err, "this must be a text");
        if (rc)
            return rc;
    }
    *w->path = 0;
    if (!json_object_get(w->yaml.tree, "steps"))
        return fail_at(value_at(w), err, "'steps:' is missing");
    return ok ? 0 : mc_fail(err, MC_ENOMEM, "out of memory");
}

/* "svd:keep=0.3,choices=c.json" ends like a file, but begins with a step. */
static bool names_file(const char *word)
{
    const char *ext = mc_path_ext(word);
    char first[32];
    struct mc_recipe_kind k;
    if (strcasecmp(ext, ".yaml") && strcasecmp(ext, ".yml") && strcasecmp(ext, ".json"))
        return false;
    snprintf(first, sizeof first, "%.*s", (int)strcspn(word, ":,"), word);
    return !access(word, F_OK) || !mc_recipe_kind_find(first, &k);
}

int mc_recipe_read(const char *word, struct mc_recipe **ret, struct mc_err *err)
{
    struct mc_recipe *r = calloc(1, sizeof *r);
    struct walk w = {.r = r};
    bool file = names_file(word);
    int rc = 0;
    if (r) {
        r->steps = json_array();
        r->options = json_object();
        r->about = json_object();
        r->file = file ? strdup(word) : NULL;
    }
    if (!r || !r->steps || !r->options || !r->about || (file && !r->file))
        rc = mc_fail(err, MC_ENOMEM, "out of memory");
    if (!rc && file)
        rc = mc_yaml_read(word, &w.yaml, err);
    if (!rc)
        rc = file ? take_file(&w, err)
                  : mc_recipe_parse(r, word, (struct mc_recipe_place){NULL, 0, 1}, err);
    if (rc == MC_EUSAGE && !file && *word && !access(word, F_OK))
        rc = mc_fail(err, rc, "'%s' is a file, but no recipe: those end in .yaml, .yml or .json",
                     word);
    mc_yaml_free(&w.yaml);
    if (rc)
        mc_recipe_free(r);
    else
        *ret = r;
    return rc;
}

int mc_recipe_digest(const struct mc_recipe *r, char ret_hex[65], struct mc_err *err)
{
    char *steps = mc_recipe_text(r);
    char *options = json_dumps(r->options, JSON_SORT_KEYS | JSON_COMPACT);
    int rc = steps && options ? 0 : mc_fail(err, MC_ENOMEM, "out of memory");
    if (!rc) {
        struct sha256_ctx ctx;
        uint8_t digest[SHA256_DIGEST_SIZE];
        sha256_init(&ctx);
        sha256_update(&ctx, strlen(steps) + 1,
                      (const uint8_t *)steps); /* with the 0 between them */
        sha256_update(&ctx, strlen(options), (const uint8_t *)options);
        sha256_digest(&ctx, sizeof digest, digest);
        for (int i = 0; i < SHA256_DIGEST_SIZE; i++)
            sprintf(ret_hex + 2 * i, "%02x", digest[i]);
    }
    free(steps);
    free(options);
    return rc;
}
