#include "formats/report_facts.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/json.h"

static double number(const json_t *object, const char *key)
{
    return mc_json_number(object, key, NAN);
}

void mc_fact_sides(const json_t *report, struct mc_fact_sides *ret)
{
    const json_t *metrics = json_object_get(report, "metrics");
    const json_t *input = json_object_get(report, "input");
    *ret = metrics ? (struct mc_fact_sides){json_object_get(report, "reference"), input,
                                            json_object_get(report, "reference_metrics"), metrics}
                   : (struct mc_fact_sides){input, json_object_get(report, "output"),
                                            json_object_get(report, "before"),
                                            json_object_get(report, "after")};
}

/* ---- figures ---- */

static const struct row {
    enum mc_fact_kind kind;
    const char *key, *name;
} rows[] = {
    {MC_FACT_SIZE, "bytes", "size"},
    {MC_FACT_PARAMETERS, "parameters", "parameters"},
    {MC_FACT_MACS, "macs", "MACs per sample"},
    {MC_FACT_LATENCY, "median_seconds", "latency"},
    {MC_FACT_SHARE, "top1", "top-1"},
    {MC_FACT_SHARE, "top5", "top-5"},
    {MC_FACT_LOSS, "loss", "loss"},
    {MC_FACT_SHARE, "label_error_rate", "label errors"},
};

static void values(const json_t *report, const struct row *r, double *ret_a, double *ret_b)
{
    struct mc_fact_sides s;
    const json_t *latency = json_object_get(report, "latency");
    mc_fact_sides(report, &s);
    if (r->kind == MC_FACT_LATENCY) {
        s.before = json_object_get(latency, "before");
        s.after = json_object_get(latency, "after");
    } else if (r->kind >= MC_FACT_SHARE) {
        s.before = s.metrics_before;
        s.after = s.metrics_after;
    }
    *ret_a = number(s.before, r->key);
    *ret_b = number(s.after, r->key);
}

static void write(const struct row *r, double v, char ret[MC_TEXT])
{
    *ret = 0;
    if (!isfinite(v))
        return;
    switch (r->kind) {
    case MC_FACT_SIZE: mc_text_bytes(v, ret); break;
    case MC_FACT_PARAMETERS:
    case MC_FACT_MACS: mc_text_count(v, ret); break;
    case MC_FACT_LATENCY: mc_text_duration(v, ret); break;
    case MC_FACT_SHARE: snprintf(ret, MC_TEXT, "%.2f %%", 100 * v); break;
    case MC_FACT_LOSS: snprintf(ret, MC_TEXT, "%.4f", v); break;
    }
}

static void change(const json_t *report, struct mc_fact *f)
{
    *f->change = 0;
    if (!isfinite(f->before))
        return;
    switch (f->kind) {
    case MC_FACT_SHARE:
        snprintf(f->change, sizeof f->change, "%+.2f points", 100 * (f->after - f->before));
        break;
    case MC_FACT_LOSS: snprintf(f->change, sizeof f->change, "%+.4f", f->after - f->before); break;
    case MC_FACT_LATENCY: mc_fact_speedup(report, f->change); break;
    default:
        if (f->before > 0)
            snprintf(f->change, sizeof f->change, "%.1f %%", 100 * f->after / f->before);
    }
}

bool mc_fact_at(const json_t *report, size_t i, struct mc_fact *ret)
{
    for (size_t k = 0; k < sizeof rows / sizeof *rows; k++) {
        const struct row *r = &rows[k];
        double a, b;
        values(report, r, &a, &b);
        /* Of one model alone its accuracy is told; what it takes says `info`. */
        if (!isfinite(b) || (r->kind < MC_FACT_SHARE && !isfinite(a)) || i-- > 0)
            continue;
        *ret = (struct mc_fact){.kind = r->kind, .key = r->key, .name = r->name};
        ret->before = a;
        ret->after = b;
        write(r, a, ret->a);
        write(r, b, ret->b);
        change(report, ret);
        return true;
    }
    return false;
}

/* ---- the verdict ---- */

/* Does a search that had a goal say that it was not reached? */
static bool goal_missed(const json_t *report)
{
    size_t i;
    const json_t *pass;
    json_array_foreach(json_object_get(report, "passes"), i,
                       pass) if (json_is_false(json_object_get(json_object_get(pass, "search"),
                                                               "reached"))) return true;
    return false;
}

enum mc_fact_state mc_fact_state(const json_t *report)
{
    const json_t *gates = json_object_get(report, "gates"), *gate;
    size_t i;
    json_array_foreach(
        gates, i, gate) if (!json_is_true(json_object_get(gate, "passed"))) return MC_FACT_MISSED;
    if (goal_missed(report))
        return MC_FACT_MISSED;
    return json_array_size(gates) ? MC_FACT_PASSED : MC_FACT_UNJUDGED;
}

bool mc_fact_interval(const json_t *report, double ret[3], double *ret_limit)
{
    const json_t *drop = json_object_get(report, "drop"), *ci = json_object_get(drop, "ci95"), *g;
    size_t i;
    ret[0] = number(drop, "top1");
    for (size_t k = 0; k < 2; k++) {
        const json_t *end = json_array_get(ci, k);
        ret[1 + k] = json_is_number(end) ? json_number_value(end) : NAN;
    }
    *ret_limit = NAN;
    json_array_foreach(json_object_get(report, "gates"), i,
                       g) if (!strcmp(mc_json_string_or(g, "name", ""), "max-drop")) *ret_limit =
        number(g, "limit");
    return isfinite(ret[0]) && isfinite(ret[1]) && isfinite(ret[2]);
}

static bool of_agreement(const json_t *report)
{
    return !strcmp(mc_json_string_or(json_object_get(report, "drop"), "of", ""), "agreement");
}

static const char *size_part(const json_t *report, char ret[128])
{
    struct mc_fact f;
    *ret = 0;
    if (!mc_fact_at(report, 0, &f) || f.kind != MC_FACT_SIZE || !(f.before > 0))
        return ret;
    double share = 100 * f.after / f.before;
    const char *whose = json_object_get(report, "metrics") ? "reference's " : "";
    if (fabs(share - 100) < 0.5)
        snprintf(ret, 128, "the same size");
    else
        snprintf(ret, 128, "%.*f %% of the %sbytes", share < 9.95 ? 1 : 0, share, whose);
    return ret;
}

static bool find(const json_t *report, const char *key, struct mc_fact *ret)
{
    for (size_t i = 0; mc_fact_at(report, i, ret); i++)
        if (!strcmp(ret->key, key))
            return true;
    return false;
}

/* -0.001 is 0.00, not -0.00 */
static double points(double share)
{
    double v = round(share * 1e4) / 100;
    return v == 0 ? 0 : v;
}

/* What became of the answers. */
static const char *quality_part(const json_t *report, char ret[256])
{
    double d[3], limit, sqnr = number(json_object_get(report, "agreement"), "sqnr_db");
    struct mc_fact f;
    *ret = 0;
    if (mc_fact_interval(report, d, &limit) && of_agreement(report)) {
        snprintf(ret, 256, "%.2f %% of the decisions changed (95 %% interval %.2f to %.2f)",
                 points(d[0]), points(d[1]), points(d[2]));
    } else if (isfinite(d[0]) && isfinite(d[1]) && isfinite(d[2])) {
        bool up = points(d[0]) < 0;
        if (points(d[0]) == 0)
            snprintf(ret, 256, "top-1 unchanged");
        else
            snprintf(ret, 256, "top-1 %s %.2f points", up ? "up" : "down", fabs(points(d[0])));
        mc_text_add(ret, 256, " (95 %% interval %.2f to %.2f)", points(up ? -d[2] : d[1]),
                    points(up ? -d[1] : d[2]));
    } else if (find(report, "label_error_rate", &f)) {
        snprintf(ret, 256, "%s label errors%s%s", f.b, *f.a ? ", before " : "", f.a);
    } else if (find(report, "top1", &f)) {
        snprintf(ret, 256, "top-1 %s%s%s", f.b, *f.a ? ", before " : "", f.a);
    } else if (isfinite(sqnr)) {
        snprintf(ret, 256, "outputs within %.1f dB (SQNR) of the original's", sqnr);
    } else if (isfinite(number(json_object_get(report, "agreement"), "cosine"))) {
        snprintf(ret, 256, "the same outputs");
    }
    return ret;
}

const char *mc_fact_speedup(const json_t *report, char ret[2 * MC_TEXT])
{
    const json_t *s = json_object_get(json_object_get(report, "latency"), "speedup");
    double v = number(s, "median"), low = number(s, "low"), high = number(s, "high");
    *ret = 0;
    if (!(v > 0) || !isfinite(v))
        return ret;
    if (low <= 1 && high >= 1)
        snprintf(ret, 2 * MC_TEXT, "as fast as before");
    else if (v >= 1)
        snprintf(ret, 2 * MC_TEXT, "%.*f× as fast", v < 1.95 ? 2 : v < 9.95 ? 1 : 0, v);
    else
        snprintf(ret, 2 * MC_TEXT, "takes %.2f× as long", 1 / v);
    return ret;
}

const char *mc_fact_verdict(const json_t *report, char ret[MC_FACT_TEXT])
{
    char size[128], quality[256], speed[2 * MC_TEXT];
    bool dry = json_is_true(json_object_get(report, "dry_run"));
    size_part(report, size);
    quality_part(report, quality);
    mc_fact_speedup(report, speed);
    if (dry)
        snprintf(ret, MC_FACT_TEXT, "A dry run%s%s; nothing was written or measured",
                 *size ? ": it would be about " : "", size);
    else
        snprintf(ret, MC_FACT_TEXT, "%s%s%s%s%s", size, *size && *quality ? ", " : "", quality,
                 (*size || *quality) && *speed ? ", " : "", speed);
    if (!dry && *size && !*quality)
        mc_text_add(ret, MC_FACT_TEXT, "; accuracy was not measured");
    if (*ret >= 'a' && *ret <= 'z' && strncmp(ret, "top-", 4))
        *ret = (char)(*ret - 'a' + 'A');
    return ret;
}

/* ---- sentences ---- */

const char *mc_fact_drop(const json_t *report, char ret[MC_FACT_TEXT])
{
    double d[3], limit;
    *ret = 0;
    if (mc_fact_interval(report, d, &limit))
        snprintf(ret, MC_FACT_TEXT, "%s %.2f points, 95 %% interval %.2f to %.2f",
                 of_agreement(report) ? "changed decisions" : "drop of top-1", points(d[0]),
                 points(d[1]), points(d[2]));
    return ret;
}

const char *mc_fact_agreement(const json_t *report, char ret[MC_FACT_TEXT])
{
    const json_t *a = json_object_get(report, "agreement");
    double top1 = number(a, "top1"), cosine = number(a, "cosine"), sqnr = number(a, "sqnr_db");
    double most = number(a, "max_abs");
    *ret = 0;
    if (!isfinite(cosine))
        return ret;
    snprintf(ret, MC_FACT_TEXT, "agreement:");
    if (isfinite(top1))
        mc_text_add(ret, MC_FACT_TEXT, " %.2f %% same decisions,", 100 * top1);
    mc_text_add(ret, MC_FACT_TEXT, " cosine %.6f, ", cosine);
    if (isfinite(sqnr))
        mc_text_add(ret, MC_FACT_TEXT, "SQNR %.1f dB", sqnr);
    else
        mc_text_add(ret, MC_FACT_TEXT, "equal outputs");
    if (isfinite(most))
        mc_text_add(ret, MC_FACT_TEXT, ", largest difference %.3g", most);
    return ret;
}

const char *mc_fact_samples(const json_t *report, char ret[MC_FACT_TEXT])
{
    enum { NAME = 80 };
    char n[MC_TEXT], name[4 * NAME + 1];
    const char *data = mc_json_string(report, "data"), *calib = mc_json_string(report, "calib");
    double samples = mc_json_number(json_object_get(report, "after"), "samples",
                                    mc_json_number(report, "samples", NAN));
    double used = number(report, "calib_samples");
    *ret = 0;
    if (!isfinite(samples))
        samples = number(json_object_get(report, "agreement"), "samples");
    if (data && isfinite(samples))
        snprintf(ret, MC_FACT_TEXT, "measured on %s samples of %s",
                 mc_text_group((int64_t)samples, n), mc_text_short(data, NAME, name, sizeof name));
    if (calib && isfinite(used))
        mc_text_add(ret, MC_FACT_TEXT, "%scalibrated on %s of %s", *ret ? "; " : "",
                    mc_text_group((int64_t)used, n), mc_text_short(calib, NAME, name, sizeof name));
    return ret;
}

const char *mc_fact_latency(const json_t *report, char ret[MC_FACT_TEXT])
{
    const json_t *l = json_object_get(report, "latency"), *s = json_object_get(l, "speedup");
    double pairs = number(l, "pairs"), low = number(s, "low"), high = number(s, "high");
    double threads = mc_json_number(l, "threads", 1);
    *ret = 0;
    if (!isfinite(pairs) || !isfinite(number(json_object_get(l, "after"), "median_seconds")))
        return ret;
    const char *device = mc_json_string_or(l, "device", "cpu");
    char where[64];
    if (strcmp(device, "cpu"))
        snprintf(where, sizeof where, "%.60s", device);
    else
        snprintf(where, sizeof where, "%.0f thread%s", threads, threads == 1 ? "" : "s");
    snprintf(ret, MC_FACT_TEXT, "latency here, batch %.0f, %s, %s: median of %.0f %s",
             mc_json_number(l, "batch", 1), where,
             strcmp(mc_json_string_or(l, "inputs", ""), "random") ? "a sample of the data"
                                                                  : "random inputs",
             pairs, pairs == 1 ? "pair" : "pairs");
    if (isfinite(low) && isfinite(high) && pairs > 5) /* fewer do not give 95 % */
        mc_text_add(ret, MC_FACT_TEXT, ", 95 %% interval %.2f× to %.2f×", low, high);
    return ret;
}
