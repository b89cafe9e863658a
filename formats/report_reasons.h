/* Lists of what was left out for a reason, told reason by reason. */
#ifndef MC_FORMATS_REPORT_REASONS_H
#define MC_FORMATS_REPORT_REASONS_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

enum { MC_REASON_NAMES = 256 };

struct mc_reason {
    size_t at; /* where to look for the next one */
    size_t count;
    const char *why;
    char names[MC_REASON_NAMES]; /* of the first, shortened */
};
/* The next reason among entries {"name", key: reason}; those without one are passed over. False at the end. r: zeroed
 * at first. Cost: n² comparisons of a list of n. */
bool mc_reason_next(const json_t *list, const char *key, struct mc_reason *r);

#endif
