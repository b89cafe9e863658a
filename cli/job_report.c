#include "cli/job.h"

#include <math.h>
#include <stdio.h>

#include "base/io.h"
#include "base/json.h"
#include "cli/console.h"
#include "cli/deliver.h"

/* Bytes that a step leaves of every byte, as far as its layers say: kept bytes stay, changed ones are exchanged. */
static double remaining(const json_t *step, double bytes)
{
    double saved = 0;
    size_t i;
    const json_t *layer;
    json_array_foreach(json_object_get(step, "layers"), i, layer)
    {
        double before = mc_json_number(layer, "bytes_before", 0);
        saved += before - mc_json_number(layer, "bytes_after", before);
    }
    return bytes > 0 ? 1 - saved / bytes : 1;
}

/* Without a file the size is what the steps say; each looked at the model as it is, so that shares multiply. */
static json_t *predicted(const struct mc_job *j, bool *ok)
{
    double given = mc_json_number(j->input, "bytes", 0), share = 1;
    size_t i;
    const json_t *step;
    uint64_t bytes = 0;
    json_array_foreach(j->passes, i, step) share *= remaining(step, given);
    bytes = (uint64_t)llround(given * share);
    if (!j->compresses) /* what is trained has the size it will have */
        mc_job_bytes(j, j->work, &bytes, NULL);
    json_t *o = json_object();
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

/* A target that a step missed stands among the gates. */
static json_t *gates(const struct mc_job *j, bool *ok)
{
    json_t *list = j->gates ? json_copy(j->gates) : json_array();
    if (!j->target_missed)
        return list;
    json_t *o = json_object();
    mc_json_put(o, "name", json_string("target"), ok);
    mc_json_put(o, "limit", json_null(), ok);
    mc_json_put(o, "value", json_null(), ok);
    mc_json_put(o, "passed", json_false(), ok);
    mc_json_put(o, "message", mc_json_text(j->target.msg), ok);
    mc_json_add(list, o, ok);
    return list;
}

/* What passes have to say. */
static void put_notes(const struct mc_job *j, json_t *notes, bool *ok)
{
    size_t i, k;
    const json_t *pass;
    json_t *note;
    json_array_foreach(j->passes, i, pass)
    {
        json_array_foreach(json_object_get(pass, "notes"), k, note)
            mc_json_add(notes, json_incref(note), ok);
    }
}

static void put_remarks(const struct mc_job *j, json_t *r, bool *ok)
{
    json_t *warnings = json_array(), *notes = json_array();
    if (j->overlap)
        mc_json_add(warnings, json_string(j->overlap), ok);
    put_notes(j, notes, ok);
    if (j->dry_run && json_array_size(j->passes) > 1)
        mc_json_add(notes,
                    json_string("a dry run plans every step on the model as it is; what the steps "
                                "before it change is not seen"),
                    ok);
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
    mc_json_put(r, "gates", gates(j, ok), ok);
    mc_json_put(r, "warnings", warnings, ok);
    mc_json_put(r, "notes", notes, ok);
}

int mc_job_report(const struct mc_cli *cli, const struct mc_job *j, json_t **ret,
                  struct mc_err *err)
{
    bool ok = true;
    json_t *r = json_object();
    mc_json_put(r, "mcompress", json_string(MC_VERSION), &ok);
    mc_json_put(r, "command", json_string(mc_console_name(cli)), &ok);
    mc_cli_put_arguments(cli, r, &ok);
    if (j->dry_run)
        mc_json_put(r, "dry_run", json_true(), &ok);
    mc_json_put(r, "input", json_incref(j->input), &ok);
    mc_json_put(r, "output", j->output ? json_incref(j->output) : predicted(j, &ok), &ok);
    put_measured(j, r, &ok);
    mc_json_put(r, "latency", j->latency ? json_incref(j->latency) : json_null(), &ok);
    if (j->recipe)
        mc_json_put(r, "recipe", mc_json_text(j->recipe), &ok);
    mc_json_put(r, "passes", json_incref(j->passes), &ok);
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
