#include "base/json.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

json_t *mc_json_real(double v)
{
    return isfinite(v) ? json_real(v) : json_null();
}

json_t *mc_json_size(uint64_t v)
{
    return json_integer(v > INT64_MAX ? INT64_MAX : (json_int_t)v);
}

/* Length of the well-formed UTF-8 sequence at s, or 0. Source: Unicode 15, table 3-7. */
static size_t utf8_length(const unsigned char *s)
{
    if (s[0] < 0x80)
        return 1;
    size_t n = s[0] >= 0xf0 ? 4 : s[0] >= 0xe0 ? 3 : 2;
    if (s[0] < 0xc2 || s[0] > 0xf4)
        return 0;
    unsigned char low = 0x80, high = 0xbf;
    switch (s[0]) {
    case 0xe0: low = 0xa0; break;  /* overlong */
    case 0xed: high = 0x9f; break; /* surrogates */
    case 0xf0: low = 0x90; break;  /* overlong */
    case 0xf4: high = 0x8f; break; /* above U+10FFFF */
    }
    if (s[1] < low || s[1] > high)
        return 0;
    for (size_t i = 2; i < n; i++)
        if ((s[i] & 0xc0) != 0x80)
            return 0;
    return n;
}

json_t *mc_json_text(const char *s)
{
    if (!s)
        return json_null();
    json_t *plain = json_string(s);
    if (plain)
        return plain;
    size_t length = strlen(s);
    if (length > SIZE_MAX / 4)
        return NULL;
    char *fixed = malloc(3 * length + 1);
    if (!fixed)
        return NULL;
    size_t n = 0;
    for (const unsigned char *p = (const unsigned char *)s; *p;) {
        size_t k = utf8_length(p);
        memcpy(fixed + n, k ? (const char *)p : "\xef\xbf\xbd", k ? k : 3);
        n += k ? k : 3;
        p += k ? k : 1;
    }
    json_t *text = json_stringn(fixed, n);
    free(fixed);
    return text;
}

void mc_json_put(json_t *object, const char *key, json_t *value, bool *ok)
{
    if (json_object_set_new(object, key, value))
        *ok = false;
}

void mc_json_add(json_t *array, json_t *value, bool *ok)
{
    if (json_array_append_new(array, value))
        *ok = false;
}

double mc_json_number(const json_t *object, const char *key, double missing)
{
    const json_t *v = json_object_get(object, key);
    return json_is_number(v) ? json_number_value(v) : missing;
}

const char *mc_json_string(const json_t *object, const char *key)
{
    return json_string_value(json_object_get(object, key));
}

const char *mc_json_string_or(const json_t *object, const char *key, const char *missing)
{
    const char *s = mc_json_string(object, key);
    return s ? s : missing;
}
