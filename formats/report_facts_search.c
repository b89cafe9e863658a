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

static const char *percent(double share, char ret[MC_TEXT])
{
    snprintf(ret, MC_TEXT, "%.1f %%", 100 * share);
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
    {"keep", "at most ", " of the hidden nodes and of what parameters may be", percent},
    {"fastest", "as fast as it gets with a drop of at most ", "", points},
    {"smallest", "as small as it gets with a drop of at most ", "", points},
    {"drop", "as small as it gets with a drop of at most ", "", points},
};

/* "at most 900 kB: reached, 896 kB" */
static void goal_part(const json_t *search, char *ret, size_t size)
{
    const char *name = mc_json_string_or(search, "goal", "");
    double limit = number(search, "limit"), after = number(search, "after");
    const json_t *reached = json_object_get(search, "reached");
    const struct goal *g = NULL;
    char text[MC_TEXT];
    for (size_t i = 0; i < sizeof goals / sizeof *goals && !g; i++)
        if (!strcmp(goals[i].goal, name))
            g = &goals[i];
    snprintf(ret, size, "search: ");
    if (!g || !isfinite(limit)) {
        mc_text_add(ret, size, "%s",
                    strcmp(name, "choices") ? "options" : "as the choices file says");
        return;
    }
    mc_text_add(ret, size, "%s%s%s", g->before, g->text(limit, text), g->after);
    if (json_is_boolean(reached))
        mc_text_add(ret, size, ": %s", json_is_true(reached) ? "reached" : "not reached");
    if (isfinite(after))
        mc_text_add(ret, size, ", %s", (g->text == points ? mc_text_bytes : g->text)(after, text));
}

const char *mc_fact_search(const json_t *search, char ret[MC_FACT_TEXT])
{
    double drop = number(search, "drop"), divergence = number(search, "divergence");
    double samples = number(search, "samples"), times = number(search, "measurements");
    const char *ended = mc_json_string(search, "ended"), *metric = mc_json_string(search, "metric");
    char text[MC_TEXT];
    goal_part(search, ret, MC_FACT_TEXT);
    if (isfinite(drop))
        mc_text_add(ret, MC_FACT_TEXT, "; drop %.2f points", 100 * drop);
    if (isfinite(divergence))
        mc_text_add(ret, MC_FACT_TEXT, "%s %.40s %.3g", isfinite(drop) ? "," : ";",
                    metric ? metric : "divergence", divergence);
    if (samples > 0 && (isfinite(drop) || isfinite(divergence)))
        mc_text_add(ret, MC_FACT_TEXT, " on %s samples", mc_text_group((int64_t)samples, text));
    if (times > 0)
        mc_text_add(ret, MC_FACT_TEXT, "; %s measurement%s", mc_text_group((int64_t)times, text),
                    times == 1 ? "" : "s");
    if (ended && strcmp(ended, "done"))
        mc_text_add(ret, MC_FACT_TEXT, "; ended by %.40s", ended);
    return ret;
}

static void refit_layers(const json_t *refit, char ret[2 * MC_TEXT])
{
    char all[MC_TEXT], whole[MC_TEXT];
    double layers = number(refit, "layers"), left = number(refit, "whole");
    mc_text_group((int64_t)layers, all);
    int n = snprintf(ret, 2 * MC_TEXT, "%s layer%s", all, layers == 1 ? "" : "s");
    if (left >= layers)
        mc_text_add(ret, 2 * MC_TEXT, " left whole,");
    else if (left > 0)
        snprintf(ret + n, 2 * MC_TEXT - (size_t)n, ", %s of them left whole,",
                 mc_text_group((int64_t)left, whole));
}

/* What fitting brought: "NAME: LAYERS WHY, on 512 samples; …". */
static const char *fitted(const json_t *o, const char *name, const char *layers, const char *why,
                          char ret[MC_FACT_TEXT])
{
    double before = number(o, "divergence_before"), after = number(o, "divergence_after");
    char on[MC_TEXT], by[MC_TEXT], more[2 * MC_TEXT] = "", text[MC_TEXT];
    if (number(o, "mixed") > 0)
        mc_text_add(more, sizeof more, " and %s mixed from them",
                    mc_text_group((int64_t)number(o, "mixed"), text));
    snprintf(ret, MC_FACT_TEXT,
             "%s: %s to make up for %s, on %s samples%s; divergence %.3g -> %.3g on %s%s", name,
             layers, why, mc_text_group((int64_t)number(o, "samples"), on), more, before, after,
             mc_text_group((int64_t)number(o, "judged"), by),
             json_is_true(json_object_get(o, "kept")) ? "" : ", so taken back");
    return ret;
}

static bool was_judged(const json_t *o, const char *name, char ret[MC_FACT_TEXT])
{
    const char *reason = mc_json_string(o, "reason");
    *ret = 0;
    if (reason)
        snprintf(ret, MC_FACT_TEXT, "%s: none, %.200s", name, reason);
    return !reason && number(o, "samples") > 0 && number(o, "judged") > 0;
}

const char *mc_fact_refit(const json_t *refit, char ret[MC_FACT_TEXT])
{
    char layers[2 * MC_TEXT];
    if (!was_judged(refit, "fit", ret) || !(number(refit, "layers") > 0))
        return ret;
    refit_layers(refit, layers);
    return fitted(refit, "fit", layers, "errors before them", ret);
}

const char *mc_fact_prune(const json_t *pass, char ret[MC_FACT_TEXT])
{
    const json_t *by = json_object_get(pass, "importance");
    const json_t *nodes = json_object_get(json_object_get(pass, "counts"), "nodes");
    double before = json_number_value(json_array_get(nodes, 0));
    double after = json_number_value(json_array_get(nodes, 1));
    const char *why = mc_json_string(by, "why"), *scope = mc_json_string_or(pass, "scope", "");
    char a[MC_TEXT], b[MC_TEXT];
    *ret = 0;
    if (!by || !(before > 0))
        return ret;
    snprintf(ret, MC_FACT_TEXT, "nodes: %s of %s stay (%.1f %%), %s; chosen by %.40s%s%.200s",
             mc_text_group((int64_t)after, a), mc_text_group((int64_t)before, b),
             100 * after / before,
             strcmp(scope, "global") ? "the same share of every layer" : "where it costs least",
             mc_json_string_or(by, "criterion", "?"), why ? ": " : "", why ? why : "");
    return ret;
}

const char *mc_fact_repair(const json_t *repair, char ret[MC_FACT_TEXT])
{
    char count[MC_TEXT], layers[2 * MC_TEXT] = "";
    double products = number(repair, "layers"), norms = number(repair, "norms");
    if (!was_judged(repair, "repair", ret) || !(products + norms > 0))
        return ret;
    if (products > 0)
        mc_text_add(layers, sizeof layers, "%s layer%s", mc_text_group((int64_t)products, count),
                    products == 1 ? "" : "s");
    if (norms > 0)
        mc_text_add(layers, sizeof layers, "%s%s norm%s", products > 0 ? " and " : "",
                    mc_text_group((int64_t)norms, count), norms == 1 ? "" : "s");
    mc_text_add(layers, sizeof layers, " fitted");
    return fitted(repair, "repair", layers, "what went", ret);
}
