#include <math.h>
#include <string.h>

#include "base/json.h"
#include "formats/report_html.h"

/* class: "ok" is better for sure, "bad" worse for sure, "warn" worse within what is allowed; else undecided. */
static void tile(FILE *out, const char *name, const char *value, const char *before,
                 const char *class, const char *chip)
{
    fputs("<li><span class=\"k\">", out);
    mc_html_put(out, name);
    fputs("</span><b>", out);
    mc_html_put(out, value);
    fputs("</b><span class=\"from\">", out);
    if (*before) {
        fputs("before ", out);
        mc_html_put(out, before);
    }
    fprintf(out, "</span><span class=\"chip %s\">", class);
    mc_html_put(out, chip);
    fputs("</span></li>\n", out);
}

static void size_tile(FILE *out, const struct mc_fact *f)
{
    static const char *const names[] = {"Size", "Parameters", "Multiply-adds"};
    static const char *const less[] = {"smaller", "fewer", "fewer"};
    double share = f->before > 0 ? 100 * (1 - f->after / f->before) : 0;
    char chip[64] = "unchanged";
    if (share >= 0.05)
        snprintf(chip, sizeof chip, "%.1f %% %s", share, less[f->kind]);
    else if (share <= -0.05)
        snprintf(chip, sizeof chip, "%.1f %% more", -share);
    /* Less than half a percent is nothing to praise or to blame. */
    tile(out, names[f->kind], f->b, f->a, share >= 0.5 ? "ok" : share <= -0.5 ? "bad" : "", chip);
}

static void latency_tile(FILE *out, const struct mc_fact *f, const json_t *report)
{
    const json_t *s = json_object_get(json_object_get(report, "latency"), "speedup");
    bool faster = mc_json_number(s, "low", 0) > 1, slower = mc_json_number(s, "high", 2) < 1;
    tile(out, "Latency, batch 1", f->b, f->a, faster ? "ok" : slower ? "bad" : "", f->change);
}

static void quality_tile(FILE *out, const struct mc_fact *f, const json_t *report)
{
    double d[3], limit;
    bool drop = mc_fact_interval(report, d, &limit) && !strcmp(f->key, "top1");
    bool worse = drop && d[1] > 0, better = drop && d[2] < 0;
    char name[64];
    snprintf(name, sizeof name, "%c%s", f->name[0] - ('a' - 'A'), f->name + 1);
    const char *lost = mc_fact_state(report) == MC_FACT_MISSED ? "bad" : "warn";
    tile(out, name, f->b, f->a, worse ? lost : better ? "ok" : "", f->change);
}

/* Without labels: what became of the decisions, else of the outputs. */
static void agreement_tile(FILE *out, const json_t *report)
{
    const json_t *a = json_object_get(report, "agreement");
    double cosine = mc_json_number(a, "cosine", NAN), top1 = mc_json_number(a, "top1", NAN),
           sqnr = mc_json_number(a, "sqnr_db", NAN);
    char value[64], chip[64] = "equal outputs";
    if (isfinite(sqnr))
        snprintf(chip, sizeof chip, "SQNR %.1f dB", sqnr);
    if (isfinite(top1)) {
        snprintf(value, sizeof value, "%.2f %%", 100 * top1);
        tile(out, "Same decisions", value, "", "", chip);
    } else if (isfinite(cosine)) {
        snprintf(value, sizeof value, "%.5f", cosine);
        tile(out, "Cosine of outputs", value, "", "", chip);
    }
}

void mc_html_tiles(FILE *out, const json_t *report)
{
    struct mc_fact f;
    bool quality = false;
    const json_t *agreement = json_object_get(report, "agreement");
    if (!mc_fact_at(report, 0, &f) && !isfinite(mc_json_number(agreement, "cosine", NAN)))
        return;
    fputs("<ul class=\"tiles\">\n", out);
    for (size_t i = 0; mc_fact_at(report, i, &f); i++) {
        if (f.kind == MC_FACT_SIZE || f.kind == MC_FACT_MACS)
            size_tile(out, &f);
        else if (f.kind == MC_FACT_LATENCY)
            latency_tile(out, &f, report);
        else if (f.kind == MC_FACT_SHARE && strcmp(f.key, "top5")) {
            quality_tile(out, &f, report);
            quality = true;
        }
    }
    if (!quality)
        agreement_tile(out, report);
    fputs("</ul>\n", out);
}
