/* Recipes: a chain of steps as text, 'svd:keep=0.3,finetune:epochs=2', or as a YAML or JSON file. */
#ifndef MC_CLI_RECIPE_H
#define MC_CLI_RECIPE_H

#include <jansson.h>

#include "base/err.h"

struct mc_cli;
struct mc_recipe;

/* A recipe as it is named on a command line: the path of a .yaml, .yml or .json file, else the text itself. All
 * options are checked against the tables of their steps. Errors: MC_EUSAGE (a text), MC_EOPEN, MC_EFORMAT (a file; the message
 * begins with FILE:LINE:COLUMN). */
int mc_recipe_read(const char *word, struct mc_recipe **ret, struct mc_err *err);
void mc_recipe_free(struct mc_recipe *r);

/* The steps in one line, in a form that depends on their meaning alone (order of options, spelling of numbers,
 * defaults left out); it is a recipe again. A malloc'd string, NULL when out of memory. */
char *mc_recipe_text(const struct mc_recipe *r);
/* SHA-256, in hex, of all that the recipe says: the steps, and the options of the run that a file gives as well. */
int mc_recipe_digest(const struct mc_recipe *r, char ret_hex[65], struct mc_err *err);
/* Does it go with the options of an invocation of `run` or `batch`? What can be known without a model. Errors:
 * MC_EUSAGE. */
int mc_recipe_check(const struct mc_cli *cli, const struct mc_recipe *r, struct mc_err *err);
/* Options of the run that a file gives, such as "data": names and values as on a command line; borrowed. */
const json_t *mc_recipe_options(const struct mc_recipe *r);

#endif
