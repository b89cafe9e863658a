#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "formats/report_facts.h"

static double number(const json_t *o, const char *key)
{
    return mc_json_number(o, key, NAN);
}

/* "12 static, 3 weight, 1 float" */
static void forms(const json_t *counts, char *ret, size_t size)
{
    const char *name;
    json_t *n;
    char text[MC_TEXT];
    json_object_foreach((json_t *)counts, name, n)
        mc_text_add(ret, size, "%s%s %.20s", *ret ? ", " : "",
                    mc_text_group(json_integer_value(n), text), name);
}

static void layers(const json_t *pass, char ret[MC_FACT_TEXT])
{
    double all = number(pass, "weight_bytes"), done = number(pass, "compressed_bytes");
    double others = number(pass, "integer_nodes"), calib = number(pass, "calibration_samples");
    char text[MC_TEXT];
    snprintf(ret, MC_FACT_TEXT, "integers: ");
    char list[MC_FACT_TEXT / 2] = "";
    forms(json_object_get(pass, "forms"), list, sizeof list);
    mc_text_add(ret, MC_FACT_TEXT, "%s", list);
    if (all > 0 && done >= 0)
        mc_text_add(ret, MC_FACT_TEXT, "; they hold %.1f %% of %s of float weights",
                    100 * done / all, mc_text_bytes(all, text));
    if (others > 0)
        mc_text_add(ret, MC_FACT_TEXT, "; %s other node%s too",
                    mc_text_group((int64_t)others, text), others == 1 ? " is" : "s are");
    if (calib > 0)
        mc_text_add(ret, MC_FACT_TEXT, "; ranges of %s sample%s",
                    mc_text_group((int64_t)calib, text), calib == 1 ? "" : "s");
}

static void put_trial(const json_t *t, char ret[MC_FACT_TEXT])
{
    double kl = number(t, "kl"), agreement = number(t, "agreement"), sqnr = number(t, "sqnr_db");
    const char *comma = "";
    if (isfinite(agreement)) {
        mc_text_add(ret, MC_FACT_TEXT, "agreement %.2f %%", 100 * agreement);
        if (isfinite(kl))
            mc_text_add(ret, MC_FACT_TEXT, ", KL %.2g nats", kl);
        comma = ", ";
    }
    if (isfinite(sqnr))
        mc_text_add(ret, MC_FACT_TEXT, "%sSQNR %.1f dB", comma, sqnr);
}

static void judged(const json_t *pass, char ret[MC_FACT_TEXT])
{
    const json_t *t = json_object_get(pass, "judged"), *w = json_object_get(pass, "weight_only");
    char text[MC_TEXT];
    *ret = 0;
    if (!isfinite(number(t, "agreement")) && !isfinite(number(t, "sqnr_db")))
        return;
    double n = number(pass, "judged_samples");
    snprintf(ret, MC_FACT_TEXT, "guided by %s sample%s: ", mc_text_group((int64_t)n, text),
             n == 1 ? "" : "s");
    put_trial(t, ret);
    if (!isfinite(number(w, "agreement")) && !isfinite(number(w, "sqnr_db")))
        return;
    mc_text_add(ret, MC_FACT_TEXT, "; weights alone: ");
    put_trial(w, ret);
}

static void estimate(const json_t *pass, char ret[MC_FACT_TEXT])
{
    double floats = number(pass, "estimated_time");
    double a = number(json_object_get(pass, "weight_only"), "cost");
    double b = number(json_object_get(pass, "judged"), "cost");
    const char *source = mc_json_string(json_object_get(pass, "rules"), "cost_source");
    *ret = 0;
    if (!(floats > 0))
        return;
    snprintf(ret, MC_FACT_TEXT, "estimated time: %.2f of the floats'", floats);
    if (a > 0 && b > 0)
        mc_text_add(ret, MC_FACT_TEXT, ", %.2f of that by weights alone", b / a);
    mc_text_add(ret, MC_FACT_TEXT, "; by %.120s", source ? source : "a table of costs");
}

static void repair(const json_t *r, char ret[MC_FACT_TEXT])
{
    double before = number(r, "before"), after = number(r, "after"), n = number(r, "layers");
    const char *why = mc_json_string(r, "why");
    char text[MC_TEXT];
    const char *name = mc_json_string_or(r, "name", "?");
    if (n == 0) {
        snprintf(ret, MC_FACT_TEXT, "%.40s: %.200s", name, why ? why : "nothing to change");
        return;
    }
    snprintf(ret, MC_FACT_TEXT, "%.40s: %s layer%s", name, mc_text_group((int64_t)n, text),
             n == 1 ? "" : "s");
    if (isfinite(before) && isfinite(after))
        mc_text_add(ret, MC_FACT_TEXT, "; divergence %.3g -> %.3g on samples held back", before,
                    after);
    if (!json_is_true(json_object_get(r, "kept")))
        mc_text_add(ret, MC_FACT_TEXT, "; taken back");
    if (why)
        mc_text_add(ret, MC_FACT_TEXT, ": %.200s", why);
}

bool mc_fact_quant(const json_t *pass, size_t i, char ret[MC_FACT_TEXT])
{
    const json_t *list = json_object_get(pass, "repairs");
    *ret = 0;
    if (!json_object_get(pass, "forms"))
        return false;
    static void (*const facts[])(const json_t *, char ret[MC_FACT_TEXT]) = {layers, judged,
                                                                            estimate};
    const size_t n = sizeof facts / sizeof *facts;
    if (i < n)
        facts[i](pass, ret);
    else if (i - n < json_array_size(list))
        repair(json_array_get(list, i - n), ret);
    return i - n < json_array_size(list) || i < n;
}
