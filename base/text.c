#include "base/text.h"

#include <inttypes.h>
#include <math.h>
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
