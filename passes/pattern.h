/* Names that options speak of (--only, --skip, --tie, --block NAME=…): an extended regular expression, or a name as it is. */
#ifndef MC_PASSES_PATTERN_H
#define MC_PASSES_PATTERN_H

#include <regex.h>
#include <stdbool.h>

#include "base/err.h"
#include "base/nearest.h"

struct mc_pattern {
    const char *option, *text; /* borrowed */
    bool exact; /* `text` is the whole name; otherwise `regex` finds it anywhere in one */
    regex_t regex;
};

/* Errors: MC_EUSAGE for a text that is no regular expression. mc_pattern_close() follows where there is none. */
int mc_pattern_open(const char *option, const char *text, struct mc_pattern *ret,
                    struct mc_err *err);
void mc_pattern_close(struct mc_pattern *p);
/* A name as it is; nothing to close. */
struct mc_pattern mc_pattern_name(const char *option, const char *text);

bool mc_pattern_fits(const struct mc_pattern *p, const char *name);
/* MC_EUSAGE: no layer and no weight is called so; near: names that there are, or NULL. */
int mc_pattern_missed(const struct mc_pattern *p, const struct mc_nearest *near,
                      struct mc_err *err);

#endif
