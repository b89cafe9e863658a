#include "base/text.h"

#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const char *scaled(double v, const char *unit, char ret[MC_TEXT])
{
    static const char *const prefixes[] = {"", "k", "M", "G", "T", "P", "E"};
    size_t i = 0;
    double a = fabs(v);
    /* 999.5 would print as 1000: it belongs to the next prefix. */
    while (a >= 999.5 && i + 1 < sizeof prefixes / sizeof *prefixes) {
        a /= 1000;
        i++;
    }
    int digits = i == 0 ? 0 : a < 9.995 ? 2 : a < 99.95 ? 1 : 0;
    const char *space = i || *unit ? " " : "";
    snprintf(ret, MC_TEXT, "%s%.*f%s%s%s", v < 0 ? "-" : "", digits, a, space, prefixes[i], unit);
    return ret;
}

const char *mc_text_bytes(double bytes, char ret[MC_TEXT])
{
    return scaled(bytes, "B", ret);
}

const char *mc_text_count(double n, char ret[MC_TEXT])
{
    return scaled(n, "", ret);
}

const char *mc_text_group(int64_t n, char ret[MC_TEXT])
{
    char digits[MC_TEXT];
    snprintf(digits, sizeof digits, "%" PRId64, n);
    size_t length = strlen(digits), first = digits[0] == '-', out = 0;
    for (size_t i = 0; i < length; i++) {
        if (i > first && (length - i) % 3 == 0)
            ret[out++] = ',';
        ret[out++] = digits[i];
    }
    ret[out] = 0;
    return ret;
}

const char *mc_text_seconds(double s, char ret[MC_TEXT])
{
    if (!(s >= 0 && s < 3.6e9)) {
        snprintf(ret, MC_TEXT, "?");
    } else if (s < 9.95) {
        snprintf(ret, MC_TEXT, "%.1f s", s);
    } else if (s < 59.5) {
        snprintf(ret, MC_TEXT, "%.0f s", s);
    } else {
        long t = lrint(s);
        if (t < 3600)
            snprintf(ret, MC_TEXT, "%ld min %ld s", t / 60, t % 60);
        else
            snprintf(ret, MC_TEXT, "%ld h %ld min", t / 3600, t / 60 % 60);
    }
    return ret;
}

const char *mc_text_duration(double s, char ret[MC_TEXT])
{
    static const struct {
        double factor;
        const char *unit;
    } units[] = {{1e6, "µs"}, {1e3, "ms"}, {1, "s"}};
    if (!(s >= 0 && s < 1e9)) {
        snprintf(ret, MC_TEXT, "?");
        return ret;
    }
    size_t i = s < 0.9995e-3 ? 0 : s < 0.9995 ? 1 : 2;
    double v = s * units[i].factor;
    snprintf(ret, MC_TEXT, "%.*f %s", v < 9.995 ? 2 : v < 99.95 ? 1 : 0, v, units[i].unit);
    return ret;
}

size_t mc_text_character(const char *text)
{
    const unsigned char *s = (const unsigned char *)text;
    size_t n = *s < 0x80 ? 1 : *s < 0xc2 ? 0 : *s < 0xe0 ? 2 : *s < 0xf0 ? 3 : *s < 0xf5 ? 4 : 0;
    for (size_t i = 1; i < n; i++)
        if ((s[i] & 0xc0) != 0x80)
            return 0;
    /* Longer than need be, surrogates, above U+10FFFF. */
    if ((*s == 0xe0 && s[1] < 0xa0) || (*s == 0xed && s[1] > 0x9f) || (*s == 0xf0 && s[1] < 0x90) ||
        (*s == 0xf4 && s[1] > 0x8f))
        return 0;
    return n;
}

const char *mc_text_short(const char *s, size_t most, char *ret, size_t size)
{
    size_t n = 0, used = 0, i = 0;
    for (const char *p = s; *p; p += mc_text_character(p) ? mc_text_character(p) : 1)
        n++;
    size_t head = n > most ? most / 2 : n, tail = n > most ? n - (most - head - 1) : n;
    for (; *s && used + 5 <= size; i++) {
        size_t step = mc_text_character(s);
        if (i < head || i >= tail) {
            if (step)
                memcpy(ret + used, s, step);
            else
                ret[used] = '?';
            used += step ? step : 1;
        } else if (i == head) {
            memcpy(ret + used, "…", 3);
            used += 3;
        }
        s += step ? step : 1;
    }
    ret[used] = 0;
    return ret;
}

const char *mc_text_add(char *ret, size_t size, const char *fmt, ...)
{
    size_t n = strnlen(ret, size);
    va_list ap;
    if (n + 1 >= size)
        return ret;
    va_start(ap, fmt);
    vsnprintf(ret + n, size - n, fmt, ap);
    va_end(ap);
    return ret;
}
