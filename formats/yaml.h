/* YAML and JSON files as one JSON tree, with the line and column of everything in it.
 *
 * YAML: one document, core schema (true, false, null, whole and decimal numbers; what is quoted is text). Refused,
 * because files come from anywhere: anchors and aliases, tags, keys that are not scalars, the same key twice, more
 * than 32 levels, more than 10,000 parts or 256 KiB, anything but UTF-8, NUL characters. JSON: strict, with the same
 * limits of size. */
#ifndef MC_FORMATS_YAML_H
#define MC_FORMATS_YAML_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"

struct mc_yaml {
    json_t *tree;
    json_t *marks; /* private */
};

struct mc_yaml_mark {
    int line, column; /* from 1, columns in characters; 0: not known */
};

/* path: ends in .json for JSON. Errors: MC_EOPEN; MC_EFORMAT, "path:LINE:COLUMN: what". */
int mc_yaml_read(const char *path, struct mc_yaml *ret, struct mc_err *err);
/* The same of bytes that are already here; name stands for the path in errors. */
int mc_yaml_parse(const void *bytes, size_t n, const char *name, bool json, struct mc_yaml *ret,
                  struct mc_err *err);
void mc_yaml_free(struct mc_yaml *y); /* accepts a zeroed struct */

/* Where a node begins, and where the key does that leads to it. path: "" is the whole, "/steps/1/svd/keep" a part
 * of it. Not known: line 0. */
struct mc_yaml_mark mc_yaml_at(const struct mc_yaml *y, const char *path);
struct mc_yaml_mark mc_yaml_key_at(const struct mc_yaml *y, const char *path);

#endif
