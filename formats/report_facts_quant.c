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
        mc_text_add(ret, MC_FACT_TEXT, "; ranges of %s samples",
                    mc_text_group((int64_t)calib, text));
}

static void put_trial(const json_t *t, char ret[MC_FACT_TEXT])
{
    double kl = number(t, "kl"), agreement = number(t, "agreement"), sqnr = number(t, "sqnr_db");
    const char *comma = "";
    if (isfinite(agreement)) {
        mc_text_add(ret, MC_FACT_TEXT, "agreement %.2f %%, KL %.2g nats", 100 * agreement, kl);
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
    snprintf(ret, MC_FACT_TEXT, "guided by %s samples: ",
             mc_text_group((int64_t)number(pass, "judged_samples"), text));
    put_trial(t, ret);
    if (!isfinite(number(w, "agreement")) && !isfinite(number(w, "sqnr_db")))
        return;
    mc_text_add(ret, MC_FACT_TEXT, "; weights alone: ");
    put_trial(w, ret);
    double a = number(w, "cost"), b = number(t, "cost");
    const char *source = mc_json_string(json_object_get(pass, "rules"), "cost_source");
    if (a > 0 && b > 0)
        mc_text_add(ret, MC_FACT_TEXT, "; %.2f of their time by %.120s", b / a,
                    source ? source : "a table of costs");
}

static void repair(const json_t *r, char ret[MC_FACT_TEXT])
{
    double before = number(r, "before"), after = number(r, "after"), n = number(r, "layers");
    const char *why = mc_json_string(r, "why");
    char text[MC_TEXT];
    snprintf(ret, MC_FACT_TEXT, "%.40s: %s layer%s", mc_json_string_or(r, "name", "?"),
             mc_text_group((int64_t)n, text), n == 1 ? "" : "s");
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
    if (i >= 2) {
        if (i - 2 >= json_array_size(list))
            return false;
        repair(json_array_get(list, i - 2), ret);
        return true;
    }
    if (i == 0)
        layers(pass, ret);
    else
        judged(pass, ret);
    return true;
}
