#include "cli/chain_rounds.h"

#include <math.h>
#include <string.h>

#include "base/json.h"
#include "graph/summary.h"
#include "passes/prune/prune_run.h"
#include "passes/search/search.h"

enum { TEXT = 256 };

int mc_chain_rounds(const json_t *values)
{
    long long n = mc_param_int(values, "steps", 1);
    return n > 1 ? (int)n : 1;
}

static int check(const json_t *values, struct mc_err *err)
{
    static const char *const no[] = {"choices", "choices-out", "checkpoint", "dump-graph"};
    if (!mc_param_has(values, "finetune"))
        return mc_fail(err, MC_EUSAGE,
                       "--steps trains after every cut: pass --finetune EPOCHS, of all steps "
                       "together");
    if (mc_param_flag(values, "auto"))
        return mc_fail(err, MC_EUSAGE,
                       "--steps needs to know where it ends: pass --keep or --target, not --auto");
    for (size_t i = 0; i < sizeof no / sizeof *no; i++)
        if (mc_param_has(values, no[i]))
            return mc_fail(err, MC_EUSAGE,
                           "--%s does not go with --steps: every step would have its own", no[i]);
    return 0;
}

/* "0.5" -> "0.707107", "fc=0.5" -> "fc=0.707107". */
static int root_of_keep(const char *text, int n, char ret[TEXT], struct mc_err *err)
{
    const char *equals = strrchr(text, '=');
    double share;
    int rc = mc_prune_share(text, equals ? equals + 1 : text, &share, err);
    if (!rc)
        snprintf(ret, TEXT, "%.*s%.6g", equals ? (int)(equals + 1 - text) : 0, text,
                 pow(share, 1.0 / n));
    return rc;
}

static int put_keep(json_t *values, int n, struct mc_err *err)
{
    json_t *list = json_array();
    const json_t *v;
    size_t i;
    char text[TEXT];
    bool ok = true, whole = mc_param_has(values, "target");
    int rc = 0;
    json_array_foreach(json_object_get(values, "keep"), i, v)
    {
        whole = whole || !strchr(json_string_value(v), '=');
        if (!rc)
            rc = root_of_keep(json_string_value(v), n, text, err);
        if (!rc)
            mc_json_add(list, json_string(text), &ok);
    }
    if (!rc && !whole && !json_array_size(list)) {
        rc = root_of_keep("0.5", n, text, err);
        mc_json_add(list, json_string(text), &ok);
    }
    if (!rc && ok && json_array_size(list))
        mc_json_put(values, "keep", json_incref(list), &ok);
    json_decref(list);
    return rc || ok ? rc : mc_fail(err, MC_ENOMEM, "out of memory");
}

/* Every step leaves its part of what --min-keep and --max-keep say of all steps together. */
static void put_limits(json_t *values, int n, bool *ok)
{
    double least = mc_param_real(values, "min-keep", 0.1);
    double most = mc_param_real(values, "max-keep", 1);
    mc_json_put(values, "min-keep", json_real(pow(least, 1.0 / n)), ok);
    mc_json_put(values, "max-keep", json_real(pow(most, 1.0 / n)), ok);
}

static int put_target(json_t *values, int n, struct mc_err *err)
{
    struct mc_pass_ctx none = {0};
    struct mc_search_ask ask;
    char text[TEXT];
    bool ok = true;
    if (!mc_param_has(values, "target"))
        return 0;
    int rc = mc_search_ask(&none, values, &ask, err);
    if (!rc && !ask.share && ask.goal == MC_SEARCH_LATENCY)
        rc = mc_fail(err, MC_EUSAGE,
                     "--steps takes a latency as a fraction of the present one, as in latency=0.5");
    if (rc || !ask.share)
        return rc;
    snprintf(text, sizeof text, "%s=%.6g", mc_search_goal_names[ask.goal], pow(ask.limit, 1.0 / n));
    mc_json_put(values, "target", json_string(text), &ok);
    return ok ? 0 : mc_fail(err, MC_ENOMEM, "out of memory");
}

int mc_chain_rounds_values(const json_t *values, int n, json_t **ret, struct mc_err *err)
{
    bool ok = true;
    int rc = check(values, err);
    json_t *own = rc ? NULL : json_deep_copy(values);
    if (!rc && !own)
        rc = mc_fail(err, MC_ENOMEM, "out of memory");
    if (rc)
        return rc;
    json_object_del(own, "steps");
    mc_json_put(own, "finetune", json_real(mc_param_real(values, "finetune", 1) / n), &ok);
    put_limits(own, n, &ok);
    rc = ok ? put_keep(own, n, err) : mc_fail(err, MC_ENOMEM, "out of memory");
    if (!rc)
        rc = put_target(own, n, err);
    if (rc)
        json_decref(own);
    else
        *ret = own;
    return rc;
}

int mc_chain_rounds_aim(struct mc_chain_step *s, const struct mc_job *j, struct mc_err *err)
{
    struct mc_pass_ctx none = {0};
    struct mc_search_ask ask;
    struct mc_summary sum;
    uint64_t bytes = 0;
    char text[TEXT];
    bool ok = true;
    if (s->rounds_left < 2 || !mc_param_has(s->cli.values, "target"))
        return 0;
    int rc = mc_search_ask(&none, s->cli.values, &ask, err);
    if (rc || ask.share)
        return rc;
    rc = mc_summary(j->work, &sum, err);
    if (!rc)
        rc = mc_job_bytes(j, j->work, &bytes, err);
    if (rc)
        return rc;
    double now = ask.goal == MC_SEARCH_BYTES    ? (double)bytes
                 : ask.goal == MC_SEARCH_PARAMS ? (double)sum.parameters
                                                : sum.macs;
    if (!(now > ask.limit))
        return 0;
    snprintf(text, sizeof text, "%s=%.0f", mc_search_goal_names[ask.goal],
             ceil(now * pow(ask.limit / now, 1.0 / s->rounds_left)));
    mc_json_put(s->cli.values, "target", json_string(text), &ok);
    return ok ? 0 : mc_fail(err, MC_ENOMEM, "out of memory");
}
