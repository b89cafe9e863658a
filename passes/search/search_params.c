#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "passes/search/search.h"

const struct mc_param mc_search_params[] = {
    {MC_PARAM_TEXT, "target", 0, false, "WHAT=N", NULL, 0, 0, NULL,
     "bytes=, params=, macs= or latency= and at most how much: with a unit (900k, 2ms) absolute, a "
     "bare number up to "
     "1 is the fraction that remains; latency is measured here, of one sample"},
    {MC_PARAM_FLAG, "auto", 0, false, NULL, NULL, 0, 0, NULL,
     "the smallest model that loses no more than --max-drop on --train or --calib samples, or half "
     "a point without it"},
    {MC_PARAM_TEXT, "time", 0, false, "LIMIT", NULL, 0, 0, NULL,
     "search no longer than LIMIT (30s, 5min), then take the best that was found; what "
     "guides the search before it, and fits after it, takes its own time"},
    {MC_PARAM_TEXT, "choices", 0, false, "FILE", NULL, 0, 0, NULL,
     "do not search: take for each layer the choice in FILE, of --choices-out and perhaps edited; "
     "layers that it does "
     "not name stay as they are"},
    {MC_PARAM_TEXT, "choices-out", 0, false, "FILE", NULL, 0, 0, NULL,
     "write what was chosen for each layer, and what else there was, to FILE as JSON"},
    {0},
};

const char *const mc_search_goal_names[] = {"bytes", "params", "macs", "latency", "drop", "keep"};

/* Half a point of accuracy: what people mean by "the same". */
static const double DROP = 0.005;

struct unit {
    const char *text;
    double factor;
};

static const struct unit counts[] = {
    {"", 1},      {"k", 1e3},     {"M", 1e6},     {"G", 1e9}, {"T", 1e12},
    {"Ki", 1024}, {"Mi", 0x1p20}, {"Gi", 0x1p30}, {NULL, 0},
};
static const struct unit sizes[] = {
    {"B", 1},      {"kB", 1e3},     {"MB", 1e6},     {"GB", 1e9},
    {"KiB", 1024}, {"MiB", 0x1p20}, {"GiB", 0x1p30}, {NULL, 0},
};
static const struct unit times[] = {
    {"ns", 1e-9}, {"us", 1e-6}, {"ms", 1e-3}, {"s", 1},  {"sec", 1},
    {"m", 60},    {"min", 60},  {"h", 3600},  {NULL, 0},
};

static double factor_of(const struct unit *table, const char *text)
{
    for (; table->text; table++)
        if (!strcmp(table->text, text))
            return table->factor;
    return NAN;
}

int mc_search_amount(enum mc_search_goal goal, const char *text, double *ret, bool *ret_share,
                     struct mc_err *err)
{
    char *end;
    double v = strtod(text, &end);
    bool time = goal == MC_SEARCH_LATENCY, bare = end != text && !*end;
    if (end == text || !isfinite(v) || !(v > 0))
        return mc_fail(err, MC_EUSAGE, "--target %s=%s: give a number above 0, as in %s",
                       mc_search_goal_names[goal], text, time ? "latency=2ms" : "bytes=900k");
    double factor = bare ? 1 : factor_of(time ? times : counts, end);
    if (isnan(factor) && goal == MC_SEARCH_BYTES)
        factor = factor_of(sizes, end);
    *ret_share = bare && v <= 1;
    if (bare && time && !*ret_share)
        factor = NAN;
    if (isnan(factor))
        return mc_fail(err, MC_EUSAGE, "--target %s=%s: %s%s%s; %s", mc_search_goal_names[goal],
                       text, bare ? "" : "'", bare ? "it has no unit" : end,
                       bare ? "" : "' is no unit here",
                       time ? "use us, ms or s, or a fraction up to 1"
                            : "use k, M, G, Ki, Mi or Gi, or a fraction up to 1");
    *ret = v * factor;
    return 0;
}

int mc_search_seconds(const char *text, double *ret, struct mc_err *err)
{
    char *end;
    double v = strtod(text, &end);
    double factor = end != text && !*end ? 1 : factor_of(times, end);
    if (end == text || !isfinite(v) || v < 0 || isnan(factor))
        return mc_fail(err, MC_EUSAGE, "--time %s: give a time, as in 30s or 5min", text);
    *ret = v * factor;
    return 0;
}

bool mc_search_has_samples(const struct mc_pass_ctx *ctx)
{
    return ctx->train || ctx->calib;
}

void mc_search_ask_auto(const struct mc_pass_ctx *ctx, struct mc_search_ask *ret)
{
    ret->given = true;
    ret->goal = MC_SEARCH_DROP;
    ret->limit = ctx->has_max_drop ? ctx->max_drop : DROP;
    ret->share = false;
}

void mc_search_ask_keep(double share, struct mc_search_ask *ret)
{
    *ret = (struct mc_search_ask){
        .given = true, .goal = MC_SEARCH_BYTES, .limit = share, .share = true};
}

static int read_target(const char *text, struct mc_search_ask *ret, struct mc_err *err)
{
    for (int g = MC_SEARCH_BYTES; g < MC_SEARCH_DROP; g++) {
        size_t n = strlen(mc_search_goal_names[g]);
        if (strncmp(text, mc_search_goal_names[g], n) || text[n] != '=')
            continue;
        ret->goal = (enum mc_search_goal)g;
        return mc_search_amount(ret->goal, text + n + 1, &ret->limit, &ret->share, err);
    }
    return mc_fail(err, MC_EUSAGE,
                   "--target %s: give one of bytes=, params=, macs= and latency=, as in bytes=900k",
                   text);
}

int mc_search_ask(const struct mc_pass_ctx *ctx, const json_t *options, struct mc_search_ask *ret,
                  struct mc_err *err)
{
    const char *target = mc_param_text(options, "target");
    bool automatic = mc_param_flag(options, "auto");
    struct mc_search_ask a = {.choices = ctx->choices != NULL};
    if ((target != NULL) + automatic + a.choices > 1)
        return mc_fail(err, MC_EUSAGE, "give one of --target, --auto and --choices");
    a.given = target || automatic || a.choices;
    if (automatic && !mc_search_has_samples(ctx))
        return mc_fail(err, MC_EUSAGE, "--auto needs samples to judge by: pass --calib or --train");
    if (automatic)
        mc_search_ask_auto(ctx, &a);
    int rc = target ? read_target(target, &a, err) : 0;
    if (!rc)
        *ret = a;
    return rc;
}
