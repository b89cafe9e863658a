/* Building JSON trees where any step may fail, and where text and numbers come from anywhere. */
#ifndef MC_BASE_JSON_H
#define MC_BASE_JSON_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

/* A number; null for NaN and infinity, which JSON cannot hold. NULL when out of memory. */
json_t *mc_json_real(double v);
/* A string of any bytes: what is not UTF-8 becomes U+FFFD, where json_string would fail. NULL gives null. */
json_t *mc_json_text(const char *s);
/* Unsigned sizes; above INT64_MAX they saturate. */
json_t *mc_json_size(uint64_t v);

/* object[key] = value, or array + value. Takes over the caller's reference to value in any case. Without
 * memory (also value or target NULL) *ok becomes false and stays so: build a whole tree, check once. */
void mc_json_put(json_t *object, const char *key, json_t *value, bool *ok);
void mc_json_add(json_t *array, json_t *value, bool *ok);

/* Number at object[key] whatever its JSON kind; `missing` if absent or null. */
double mc_json_number(const json_t *object, const char *key, double missing);
/* Text at object[key]; NULL, or `missing`, if there is none. */
const char *mc_json_string(const json_t *object, const char *key);
const char *mc_json_string_or(const json_t *object, const char *key, const char *missing);

#endif
