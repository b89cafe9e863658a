/* Any bytes as a recipe, a YAML file and a text: an error of one line, or a recipe whose own words say the same. */
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/recipe.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool ok, const char *what, const char *detail)
{
    if (ok)
        return;
    fprintf(stderr, "%s: %s\n", what, detail);
    abort();
}

static void try(const char *word)
{
    struct mc_recipe *r = NULL, *again = NULL;
    struct mc_err err = {0};
    char one[65], two[65];
    int rc = mc_recipe_read(word, &r, &err);
    if (rc) {
        must(err.code == rc && err.msg[0] && !strchr(err.msg, '\n'), "not a line of its own",
             err.msg);
        return;
    }
    char *text = mc_recipe_text(r);
    must(text && !mc_recipe_digest(r, one, &err), "no text", "");
    must(!mc_recipe_read(text, &again, &err), text, err.msg);
    char *second = mc_recipe_text(again);
    must(second && !strcmp(text, second), text, second ? second : "");
    must(!mc_recipe_digest(again, two, &err), "no digest", "");
    must(json_object_size(mc_recipe_options(r)) || !strcmp(one, two), "another digest", text);
    free(text);
    free(second);
    mc_recipe_free(r);
    mc_recipe_free(again);
}

static char path[64];

static void leave(void)
{
    unlink(path);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!*path) {
        snprintf(path, sizeof path, "/tmp/fuzz-recipe-%d.yaml", (int)getpid());
        atexit(leave);
    }
    leave(); /* some file systems write a file to disk that is made empty */
    FILE *f = fopen(path, "wb");
    must(f && fwrite(data, 1, size, f) == size && !fclose(f), "cannot write", path);
    try(path);
    char *text = malloc(size + 1);
    must(text != NULL, "out of memory", "");
    memcpy(text, data, size);
    text[size] = 0;
    size_t n = strlen(text);
    const char *dot = strrchr(text, '.');
    if (!dot || n - (size_t)(dot - text) > 5) /* no name of a file */
        try(text);
    free(text);
    return 0;
}
