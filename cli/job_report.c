#include "cli/job.h"

#include <math.h>
#include <stdio.h>

#include "base/io.h"
#include "base/json.h"
#include "cli/console.h"
#include "cli/deliver.h"

/* An option's value for the report; text may be any bytes. */
static json_t *printable(const json_t *v)
{
    if (json_is_string(v))
        return mc_json_text(json_string_value(v));
    if (!json_is_array(v))
        return json_deep_copy(v);
    bool ok = true;
    json_t *list = json_array();
    size_t i;
    const json_t *item;
    json_array_foreach(v, i, item) mc_json_add(list, printable(item), &ok);
    if (ok)
        return list;
    json_decref(list);
    return NULL;
}

/* {name, options, seconds, …what the work itself reports}. */
static json_t *account(const struct mc_cli *cli, const struct mc_job *j, bool *ok)
{
    json_t *o = json_object(), *options = json_object();
    const struct mc_param *own = cli->pass ? cli->pass->params : cli->command->groups[0]->params;
    for (const struct mc_param *p = own; p->type; p++) {
        const json_t *v = json_object_get(cli->values, p->name);
        if (v)
            mc_json_put(options, p->name, printable(v), ok);
    }
    mc_json_put(o, "name", json_string(mc_console_name(cli)), ok);
    mc_json_put(o, "options", options, ok);
    mc_json_put(o, "seconds", mc_json_real(j->seconds), ok);
    const char *key;
    json_t *v;
    json_object_foreach(j->account, key, v) mc_json_put(o, key, json_incref(v), ok);
    return o;
}

/* Without a file the size is what the layers say: kept bytes stay, changed ones are exchanged. */
static json_t *predicted(const struct mc_cli *cli, const struct mc_job *j, bool *ok)
{
    double saved = 0;
    size_t i;
    const json_t *layer;
    json_array_foreach(json_object_get(j->account, "layers"), i, layer)
    {
        double before = mc_json_number(layer, "bytes_before", 0);
        saved += before - mc_json_number(layer, "bytes_after", before);
    }
    json_t *o = json_object();
    uint64_t bytes = (uint64_t)(mc_json_number(j->input, "bytes", 0) - saved);
    if (!cli->pass) /* what is trained has the size it will have */
        mc_job_bytes(j, j->work, &bytes, NULL);
    mc_json_put(o, "path", mc_json_text(j->out), ok);
    mc_json_put(o, "bytes", mc_json_size(bytes), ok);
    mc_json_put(o, "predicted", json_true(), ok);
    return o;
}

static void put_measured(const struct mc_job *j, json_t *r, bool *ok)
{
    if (!j->data || j->dry_run)
        return;
    bool both = !j->incomparable;
    mc_json_put(r, "before", both ? mc_cli_metrics(&j->measured.reference) : json_null(), ok);
    mc_json_put(r, "after", mc_cli_metrics(&j->measured.model), ok);
    mc_json_put(r, "drop", both ? mc_cli_drop(&j->measured) : json_null(), ok);
    mc_json_put(r, "agreement", both ? mc_cli_agreement(&j->measured.agreement) : json_null(), ok);
    mc_json_put(r, "fallback_nodes", mc_json_size(j->measured.fallback_nodes), ok);
}

static void put_remarks(const struct mc_job *j, json_t *r, bool *ok)
{
    json_t *warnings = json_array(), *notes = json_array();
    if (j->overlap)
        mc_json_add(warnings, json_string(j->overlap), ok);
    if (j->dry_run && j->data)
        mc_json_add(notes, json_string("a dry run measures nothing and judges no gate"), ok);
    else if (!j->data)
        mc_json_add(notes,
                    json_string("accuracy was not measured: add --data SPEC ('mcompress list "
                                "formats' shows what it can be)"),
                    ok);
    if (*j->no_latency)
        mc_json_add(notes, mc_json_text(j->no_latency), ok);
    char text[128];
    snprintf(text, sizeof text, "%zu weights were graph inputs as well; in the result they are not",
             j->fixed_inputs);
    if (j->fixed_inputs)
        mc_json_add(notes, json_string(text), ok);
    mc_json_put(r, "overlap", json_boolean(j->overlap != NULL), ok);
    mc_json_put(r, "gates", j->gates ? json_incref(j->gates) : json_array(), ok);
    mc_json_put(r, "warnings", warnings, ok);
    mc_json_put(r, "notes", notes, ok);
}

static json_t *arguments(const struct mc_cli *cli, bool *ok)
{
    json_t *list = json_array();
    for (int i = 1; i < cli->argc; i++)
        mc_json_add(list, mc_json_text(cli->argv[i]), ok);
    return list;
}

int mc_job_report(const struct mc_cli *cli, const struct mc_job *j, json_t **ret,
                  struct mc_err *err)
{
    bool ok = true;
    json_t *r = json_object(), *passes = json_array();
    mc_json_put(r, "mcompress", json_string(MC_VERSION), &ok);
    mc_json_put(r, "command", json_string(mc_console_name(cli)), &ok);
    mc_json_put(r, "arguments", arguments(cli, &ok), &ok);
    if (j->dry_run)
        mc_json_put(r, "dry_run", json_true(), &ok);
    mc_json_put(r, "input", json_incref(j->input), &ok);
    mc_json_put(r, "output", j->output ? json_incref(j->output) : predicted(cli, j, &ok), &ok);
    put_measured(j, r, &ok);
    mc_json_put(r, "latency", j->latency ? json_incref(j->latency) : json_null(), &ok);
    mc_json_add(passes, account(cli, j, &ok), &ok);
    mc_json_put(r, "passes", passes, &ok);
    put_remarks(j, r, &ok);
    mc_json_put(r, "data", mc_json_text(j->data_spec), &ok);
    mc_json_put(r, "train", mc_json_text(j->train ? j->train->spec : NULL), &ok);
    mc_json_put(r, "calib", mc_json_text(j->calib ? j->calib->spec : NULL), &ok);
    mc_json_put(r, "calib_samples", json_integer(j->calib ? j->calib_count : 0), &ok);
    mc_json_put(r, "preprocess", mc_json_text(j->preprocess), &ok);
    mc_json_put(r, "seed", json_integer(mc_param_int(cli->values, "seed", 0)), &ok);
    mc_cli_put_cost(cli, r, &ok);
    if (!ok) {
        json_decref(r);
        return mc_fail(err, MC_ENOMEM, "out of memory");
    }
    *ret = r;
    return 0;
}
