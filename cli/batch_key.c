#include <inttypes.h>
#include <nettle/sha2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/json.h"
#include "cli/batch.h"
#include "cli/recipe_parts.h"

static void put(struct sha256_ctx *c, const char *text)
{
    sha256_update(c, strlen(text) + 1, (const uint8_t *)text);
}

static void finish(struct sha256_ctx *c, char ret[65])
{
    uint8_t digest[SHA256_DIGEST_SIZE];
    sha256_digest(c, sizeof digest, digest);
    for (size_t i = 0; i < sizeof digest; i++)
        snprintf(ret + 2 * i, 3, "%02x", digest[i]);
}

/* ---- what files are like, without reading them ---- */

static void put_stat(struct sha256_ctx *c, const char *name, const struct stat *st)
{
    char text[96];
    snprintf(text, sizeof text, "%jd %jd.%09ld", (intmax_t)st->st_size,
             (intmax_t)st->st_mtim.tv_sec, st->st_mtim.tv_nsec);
    put(c, name);
    put(c, text);
}

static int in_folder(void *ctx, const char *rel, const char *path, const char *why,
                     struct mc_err *err)
{
    struct stat st;
    (void)err;
    if (!why && !stat(path, &st))
        put_stat(ctx, rel, &st);
    return 0;
}

static bool put_path(struct sha256_ctx *c, const char *path)
{
    struct stat st;
    if (stat(path, &st))
        return false;
    if (!S_ISDIR(st.st_mode)) {
        put_stat(c, "", &st);
        return true;
    }
    struct mc_batch_visit v = {.file = in_folder, .ctx = c};
    mc_batch_visit(&v, path, NULL);
    return true;
}

/* A file, a folder, or a pair A:B of them; false: none of these is there. */
static bool put_spec(struct sha256_ctx *c, const char *spec)
{
    if (put_path(c, spec))
        return true;
    for (const char *colon = strchr(spec, ':'); colon; colon = strchr(colon + 1, ':')) {
        char *first = strndup(spec, (size_t)(colon - spec));
        bool there = first && put_path(c, first);
        free(first);
        if (there)
            return put_path(c, colon + 1);
    }
    return false;
}

bool mc_batch_there(const char *spec)
{
    struct sha256_ctx c;
    sha256_init(&c);
    return put_spec(&c, spec);
}

void mc_batch_print(const char *spec, char ret[65])
{
    struct sha256_ctx c;
    sha256_init(&c);
    *ret = 0;
    if (put_spec(&c, spec))
        finish(&c, ret);
}

/* Models share data: each is looked at once. */
static const char *print_of(struct mc_batch_job *b, const char *spec, bool *ok)
{
    char hex[65];
    json_t *known = json_object_get(b->prints, spec);
    if (!known) {
        mc_batch_print(spec, hex);
        known = json_string(hex);
        if (json_object_set_new_nocheck(b->prints, spec, known))
            *ok = false;
    }
    return *ok ? json_string_value(known) : "";
}

/* ---- keys ---- */

static void put_value(struct sha256_ctx *c, const json_t *v)
{
    char number[64];
    size_t i;
    const json_t *item;
    if (json_is_array(v))
        json_array_foreach(v, i, item) put_value(c, item);
    else if (json_is_string(v))
        put(c, json_string_value(v));
    else {
        snprintf(number, sizeof number, "%.17g", json_number_value(v));
        put(c, number);
    }
}

/* What the recipe says, and the files that its steps read. */
static void put_recipe(struct mc_batch_job *b, struct sha256_ctx *c, bool *ok)
{
    char hex[65];
    size_t i;
    const char *name;
    json_t *step, *v;
    *ok = *ok && !mc_recipe_digest(b->steps, hex, NULL);
    if (*ok)
        put(c, hex);
    json_array_foreach(b->steps->steps, i, step)
        json_object_foreach(json_object_get(step, "options"), name,
                            v) if (json_is_string(v) && mc_batch_option_files(name) == 1)
            put(c, print_of(b, json_string_value(v), ok));
}

/* The texts of patterns count as they were given: a folder that was moved, data and all, has the same key. */
int mc_batch_key(struct mc_batch_job *b, struct mc_batch_model *m, struct mc_err *err)
{
    struct sha256_ctx c;
    bool ok = true;
    const char *name;
    json_t *v;
    sha256_init(&c);
    put(&c, MC_VERSION);
    put_recipe(b, &c, &ok);
    put(&c, b->data_optional ? "data-optional" : "");
    json_object_foreach(b->options, name, v)
    {
        put(&c, name);
        put_value(&c, v);
        char *spec = NULL;
        if (!json_is_string(v) || mc_batch_option_files(name) != 1)
            continue;
        int rc = mc_batch_fill(json_string_value(v), m, &spec, err);
        if (rc)
            return rc;
        put(&c, print_of(b, spec, &ok));
        free(spec);
    }
    if (!ok)
        return mc_fail(err, MC_ENOMEM, "out of memory");
    finish(&c, m->key);
    return 0;
}
