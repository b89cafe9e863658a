#include "base/json.h"
#include "cli/command.h"
#include "cli/console.h"
#include "cli/deliver.h"
#include "cli/eval_sets.h"
#include "cli/gates.h"
#include "cli/machine.h"
#include "cli/measured.h"
#include "cli/models.h"
#include "cli/surveyed.h"
#include "formats/testset.h"
#include "graph/edit.h"

struct eval {
    struct mc_cli_model model, reference;
    struct mc_dataset *data;
    const char *preprocess;
    const char *sets; /* a folder of test data instead of samples, or NULL */
    struct mc_measure m;
    struct mc_cli_look look;
    json_t *result, *gates;
};

/* Samples have labels or a reference, but no values that are expected. */
static int check_tolerances(const struct mc_cli *cli, struct mc_err *err)
{
    static const char *const names[] = {"rtol", "atol"};
    json_t *given = NULL;
    int rc = mc_cli_given(cli, &given, err);
    for (int i = 0; i < 2 && !rc; i++)
        if (mc_param_has(given, names[i]))
            rc = mc_fail(err, MC_EUSAGE,
                         "--%s is for folders of test data, which hold what is expected; of "
                         "samples, compare with a REFERENCE: --require 'max_abs<=0.001'",
                         names[i]);
    json_decref(given);
    return rc;
}

static int open_all(struct eval *e, const struct mc_cli *cli, struct mc_err *err)
{
    const char *name = mc_cli_operand(cli, 0), *reference = mc_cli_operand(cli, 1);
    const char *spec = mc_param_text(cli->values, "data");
    if (!spec)
        return mc_fail(err, MC_EUSAGE,
                       "needs samples to run on: pass --data SPEC; see 'mcompress "
                       "list formats'");
    const char *const files[] = {name, reference};
    int rc = mc_cli_check_reports(cli, files, 2, err);
    if (!rc) /* that a reference is there: known now; that labels are: below */
        rc = mc_gates_check(cli, reference != NULL, true, true, err);
    if (!rc)
        rc = mc_cli_read(name, &e->model, err);
    if (!rc && reference)
        rc = mc_cli_read(reference, &e->reference, err);
    if (rc)
        return rc;
    if (!reference && mc_testsets_probe(spec)) {
        e->sets = spec;
        return mc_gates_check(cli, false, false, false, err);
    }
    rc = check_tolerances(cli, err);
    if (rc)
        return rc;
    mc_edit_fix_inputs(e->model.model->graph);
    if (reference)
        mc_edit_fix_inputs(e->reference.model->graph);
    e->preprocess = mc_cli_preprocess(cli, e->model.model, e->reference.model);
    rc = mc_cli_samples(spec, e->model.model, e->preprocess, false, &e->data, err);
    if (!rc)
        rc =
            mc_gates_check(cli, reference != NULL, e->data->has_labels, e->data->sequence > 0, err);
    return rc ? rc : mc_cli_look_open(cli, e->model.model->graph, e->data, &e->look, err);
}

/* Without labels and reference there is nothing to measure, but outputs to look at. */
static int run(struct eval *e, const struct mc_cli *cli, struct mc_err *err)
{
    struct mc_measure_opts o = mc_cli_measure_opts(cli);
    const struct mc_model *reference = e->reference.model;
    int rc = mc_machine_start(cli, err);
    if (rc)
        return rc;
    o.look = mc_cli_look_batch;
    o.look_ctx = &e->look;
    rc = reference || e->data->has_labels || e->data->sequence
             ? mc_measure(e->model.model->graph, reference ? reference->graph : NULL, e->data, &o,
                          &e->m, err)
             : mc_observe(e->model.model->graph, e->data, e->look.names, e->look.n, &o.run, o.look,
                          o.look_ctx, &e->m.model.samples, err);
    return rc ? rc : mc_cli_look_finish(&e->look, err);
}

static int describe(struct eval *e, const struct mc_cli *cli, struct mc_err *err)
{
    bool ok = true;
    json_t *input = NULL, *reference = NULL, *r = json_object();
    e->result = r;
    int rc = mc_cli_describe(&e->model, &input, err);
    if (!rc && e->reference.model)
        rc = mc_cli_describe(&e->reference, &reference, err);
    if (rc) {
        json_decref(input);
        return rc;
    }
    mc_json_put(r, "mcompress", json_string(MC_VERSION), &ok);
    mc_json_put(r, "command", json_string("eval"), &ok);
    mc_cli_put_arguments(cli, r, &ok);
    mc_json_put(r, "input", input, &ok);
    mc_json_put(r, "data", mc_json_text(e->data->spec), &ok);
    mc_json_put(r, "preprocess", mc_json_text(e->preprocess), &ok);
    mc_json_put(r, "samples", json_integer(e->m.model.samples), &ok);
    mc_json_put(r, "metrics", mc_cli_metrics(&e->m.model), &ok);
    if (reference) {
        mc_json_put(r, "reference", reference, &ok);
        mc_json_put(r, "reference_metrics", mc_cli_metrics(&e->m.reference), &ok);
        mc_json_put(r, "drop", mc_cli_drop(&e->m), &ok);
    }
    mc_json_put(r, "agreement", reference ? mc_cli_agreement(&e->m.agreement) : json_null(), &ok);
    mc_json_put(r, "outputs", mc_cli_look_json(&e->look, &ok), &ok);
    mc_json_put(r, "gates", json_incref(e->gates), &ok);
    mc_json_put(r, "fallback_nodes", mc_json_size(e->m.fallback_nodes), &ok);
    mc_cli_put_cost(cli, r, &ok);
    return ok ? 0 : mc_fail(err, MC_ENOMEM, "out of memory");
}

int mc_cmd_eval(struct mc_cli *cli, struct mc_err *err)
{
    struct eval e = {0};
    struct mc_err gate;
    int missed = 0;
    int rc = open_all(&e, cli, err);
    if (!rc && e.sets) {
        rc = mc_cli_eval_sets(cli, &e.model, e.sets, err);
        mc_cli_close(&e.model);
        return rc;
    }
    if (!rc)
        rc = run(&e, cli, err);
    if (!rc) {
        missed = mc_gates_judge(cli, &e.m, &e.gates, &gate);
        if (missed && missed != MC_EGATE)
            rc = mc_fail(err, missed, "%s", gate.msg);
    }
    if (!rc)
        rc = describe(&e, cli, err);
    if (!rc)
        rc = mc_cli_deliver(cli, e.result, false, err);
    if (!rc && missed)
        rc = mc_fail(err, missed, "%s", gate.msg);
    json_decref(e.result);
    json_decref(e.gates);
    mc_cli_look_close(&e.look);
    mc_dataset_free(e.data);
    mc_cli_close(&e.reference);
    mc_cli_close(&e.model);
    return rc;
}
