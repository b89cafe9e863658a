/* What the files of recipes share. */
#ifndef MC_CLI_RECIPE_PARTS_H
#define MC_CLI_RECIPE_PARTS_H

#include <stdio.h>

#include "cli/command.h"
#include "cli/recipe.h"

/* A word that begins a step, and the tables of the options that are its own: those of its command without what belongs
 * to the run (data, gates, reports, …). */
struct mc_recipe_kind {
    const struct mc_command *command;
    const struct mc_pass *pass; /* or NULL */
    const struct mc_param *table[MC_CLI_GROUPS + 1];
    int n;
};
bool mc_recipe_kind_find(const char *word, struct mc_recipe_kind *ret);
void mc_recipe_kind_of(const struct mc_command *c, const struct mc_pass *pass,
                       struct mc_recipe_kind *ret);
/* NULL for a name that is none of its own. */
const struct mc_param *mc_recipe_option(const struct mc_recipe_kind *k, const char *name);

/* Is an option of the run one of this call, and not for a recipe file? */
bool mc_recipe_of_the_call(const char *name);

/* Where something stands: a line and a column of a file, or a character of a text. */
struct mc_recipe_place {
    const char *file; /* NULL: a text */
    int line, column;
};
enum { MC_RECIPE_WHERE = 256 };
/* "r.yaml:7:5", "recipe, character 5"; with a step's name "…: svd". Returns ret. */
const char *mc_recipe_where(struct mc_recipe_place at, const char *step, char ret[MC_RECIPE_WHERE]);

struct mc_recipe {
    char *file;      /* NULL: a text */
    json_t *steps;   /* [{"name", "options": those given, in their final types}] */
    json_t *options; /* of the run */
    json_t *about;   /* {"name", "description"}, where given */
};

/* One more step; NULL when out of memory. *ret_kind is its kind. Errors: a word that is no step. */
int mc_recipe_step_add(struct mc_recipe *r, const char *word, struct mc_recipe_place at,
                       struct mc_recipe_kind *ret_kind, struct mc_err *err);
/* An option of the last step. key_at, at: of its name and value. */
int mc_recipe_step_set(struct mc_recipe *r, const struct mc_recipe_kind *k, const char *name,
                       json_t *value, struct mc_recipe_place key_at, struct mc_recipe_place at,
                       struct mc_err *err);
/* Steps of a text that begins at `at`. */
int mc_recipe_parse(struct mc_recipe *r, const char *text, struct mc_recipe_place at,
                    struct mc_err *err);

/* A step as text: options that are not what they are anyway, in the order of the tables. portable: as it goes into a
 * model, without folders, and without files that are only written. */
void mc_recipe_print(FILE *out, const struct mc_recipe_kind *k, const json_t *options,
                     bool portable);
/* A number as short as it can be read back. */
const char *mc_recipe_number(double v, char ret[32]);

#endif
