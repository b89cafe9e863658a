#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "formats/report_facts.h"

static double number(const json_t *o, const char *key)
{
    return mc_json_number(o, key, NAN);
}

static const char *points(double share, char ret[MC_TEXT])
{
    snprintf(ret, MC_TEXT, "%.2f points", 100 * share);
    return ret;
}

static const struct goal {
    const char *goal, *before, *after; /* round the limit */
    const char *(*text)(double, char *);
} goals[] = {
    {"bytes", "at most ", "", mc_text_bytes},
    {"params", "at most ", " parameters", mc_text_count},
    {"macs", "at most ", " MACs per sample", mc_text_count},
    {"latency", "at most ", " for one sample", mc_text_duration},
    {"drop", "as small as it gets with a drop of at most ", "", points},
};

/* "at most 900 kB: reached, 896 kB" */
static int goal_part(const json_t *search, char *ret, size_t size)
{
    const char *name = mc_json_string_or(search, "goal", "");
    double limit = number(search, "limit"), after = number(search, "after");
    const json_t *reached = json_object_get(search, "reached");
    const struct goal *g = NULL;
    char text[MC_TEXT];
    for (size_t i = 0; i < sizeof goals / sizeof *goals && !g; i++)
        if (!strcmp(goals[i].goal, name))
            g = &goals[i];
    int n = snprintf(ret, size, "search: ");
    if (!g || !isfinite(limit))
        return n + snprintf(ret + n, size - (size_t)n, "%s",
                            strcmp(name, "choices") ? "options" : "as the choices file says");
    n += snprintf(ret + n, size - (size_t)n, "%s%s%s", g->before, g->text(limit, text), g->after);
    if (json_is_boolean(reached))
        n += snprintf(ret + n, size - (size_t)n, ": %s",
                      json_is_true(reached) ? "reached" : "not reached");
    if (isfinite(after))
        n += snprintf(ret + n, size - (size_t)n, ", %s",
                      (g->text == points ? mc_text_bytes : g->text)(after, text));
    return n;
}

const char *mc_fact_search(const json_t *search, char ret[MC_FACT_TEXT])
{
    double drop = number(search, "drop"), divergence = number(search, "divergence");
    double samples = number(search, "samples"), times = number(search, "measurements");
    const char *ended = mc_json_string(search, "ended"), *metric = mc_json_string(search, "metric");
    char text[MC_TEXT];
    size_t n = (size_t)goal_part(search, ret, MC_FACT_TEXT);
    if (isfinite(drop))
        n += (size_t)snprintf(ret + n, MC_FACT_TEXT - n, "; drop %.2f points", 100 * drop);
    if (isfinite(divergence))
        n +=
            (size_t)snprintf(ret + n, MC_FACT_TEXT - n, "%s %.40s %.3g", isfinite(drop) ? "," : ";",
                             metric ? metric : "divergence", divergence);
    if (samples > 0 && (isfinite(drop) || isfinite(divergence)))
        n += (size_t)snprintf(ret + n, MC_FACT_TEXT - n, " on %s samples",
                              mc_text_group((int64_t)samples, text));
    if (times > 0)
        n += (size_t)snprintf(ret + n, MC_FACT_TEXT - n, "; %s measurement%s",
                              mc_text_group((int64_t)times, text), times == 1 ? "" : "s");
    if (ended && strcmp(ended, "done"))
        snprintf(ret + n, MC_FACT_TEXT - n, "; ended by %.40s", ended);
    return ret;
}
