/* One table of parameters makes the parser, --help, the man page and the validation of recipe files, for
 * commands and for passes alike. Values travel as a jansson object: {"keep": 0.25, "svd": "exact"}. */
#ifndef MC_BASE_PARAM_H
#define MC_BASE_PARAM_H

#include <jansson.h>
#include <stdbool.h>

#include "base/err.h"

enum mc_param_type {
    MC_PARAM_END = 0, /* closes a table */
    MC_PARAM_FLAG,    /* takes no value; JSON true */
    MC_PARAM_INT,     /* whole number in [min, max] */
    MC_PARAM_REAL,    /* number in [min, max]; "0.5%" means 0.005; NaN and infinity are refused */
    MC_PARAM_BYTES,   /* size, with k, M, G (1000) or Ki, Mi, Gi (1024); JSON integer */
    MC_PARAM_TEXT,    /* any text */
    MC_PARAM_CHOICE,  /* one word of `choices` ("a|b|c") */
};

struct mc_param {
    enum mc_param_type type;
    const char *name;    /* long option without dashes, and the JSON key: "max-drop" */
    char letter;         /* one-letter form, or 0 */
    bool repeat;         /* may be given several times: the JSON value is an array */
    const char *arg;     /* word for the value in the help, "FILE"; NULL: from the type */
    const char *preset;  /* default as the user would type it, or NULL: the key is absent */
    double min, max;     /* bounds for INT, REAL, BYTES; both 0: unbounded */
    const char *choices; /* for CHOICE */
    const char *help;    /* one sentence, lower case, without the default */
};

/* Parse argv[1..argc) against `n_tables` tables into a new object that also holds every default; operands
 * (words that are no options, in order; everything after "--") go to "operands", an array, always there.
 * Text is kept byte for byte (a path need not be UTF-8): give it to mc_json_text before it is printed as JSON.
 * Accepts --name VALUE, --name=VALUE, -lVALUE, -l VALUE, bundled flags, options and operands mixed, and a
 * lone "-" as an operand.
 * Errors: MC_EUSAGE naming the option and what it takes; an unknown option also names the nearest one. */
int mc_param_parse(const struct mc_param *const *tables, int n_tables, int argc, char *const *argv,
                   json_t **ret_values, struct mc_err *err);

/* Check an object that came from a recipe or from C: unknown keys, types, bounds; fill in defaults.
 * where: how to call this place in errors ("step 2 (svd)"). */
int mc_param_validate(const struct mc_param *table, json_t *values, const char *where,
                      struct mc_err *err);

/* The parameter of that name; NULL if no table has it. */
const struct mc_param *mc_param_find(const struct mc_param *const *tables, int n_tables,
                                     const char *name);
/* values[p->name] = value in its final type, as mc_param_validate has it; text is read as on a command line. A parameter
 * that may be repeated gains one element, or those of an array. Errors: MC_EUSAGE, which begins with `where`. */
int mc_param_put(const struct mc_param *p, json_t *value, const char *where, json_t *values,
                 struct mc_err *err);
/* Defaults of the table for what is missing. */
int mc_param_fill(const struct mc_param *table, json_t *values, struct mc_err *err);

/* Text of the table for --help, wrapped at 100 columns, options aligned; a malloc'd string. */
char *mc_param_help(const struct mc_param *table);

/* Values of a validated object. Missing: false / the given fallback / NULL. */
bool mc_param_flag(const json_t *values, const char *name);
double mc_param_real(const json_t *values, const char *name, double missing);
long long mc_param_int(const json_t *values, const char *name, long long missing);
const char *mc_param_text(const json_t *values, const char *name);
bool mc_param_has(const json_t *values, const char *name);

#endif
