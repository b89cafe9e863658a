#include "formats/report_reasons.h"

#include <string.h>

#include "base/json.h"
#include "base/text.h"

enum { NAMED = 3, NAME = 24 };

static bool same(const char *a, const char *b)
{
    return a && b && !strcmp(a, b);
}

static const char *reason_at(const json_t *list, size_t i, const char *key)
{
    return mc_json_string(json_array_get(list, i), key);
}

/* An entry whose reason no earlier one has. */
static bool is_first(const json_t *list, size_t i, const char *key)
{
    const char *why = reason_at(list, i, key);
    for (size_t k = 0; k < i && why; k++)
        if (same(reason_at(list, k, key), why))
            return false;
    return why;
}

bool mc_reason_next(const json_t *list, const char *key, struct mc_reason *r)
{
    size_t n = json_array_size(list);
    while (r->at < n && !is_first(list, r->at, key))
        r->at++;
    if (r->at >= n)
        return false;
    r->why = reason_at(list, r->at, key);
    r->count = 0;
    *r->names = 0;
    for (size_t i = r->at; i < n; i++) {
        char name[4 * NAME + 4];
        if (!same(reason_at(list, i, key), r->why) || r->count++ >= NAMED)
            continue;
        mc_text_add(r->names, sizeof r->names, "%s%s", *r->names ? ", " : "",
                    mc_text_short(mc_json_string_or(json_array_get(list, i), "name", "?"), NAME,
                                  name, sizeof name));
    }
    if (r->count > NAMED)
        mc_text_add(r->names, sizeof r->names, ", ...");
    r->at++;
    return true;
}
