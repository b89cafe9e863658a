#include "cli/measured.h"

#include <math.h>

#include "base/json.h"

struct mc_measure_opts mc_cli_measure_opts(const struct mc_cli *cli)
{
    return (struct mc_measure_opts){
        .run = {.pool = cli->pool,
                .count = mc_param_int(cli->values, "samples", -1),
                .progress = cli->progress,
                .what = "measuring"},
        .output = mc_param_text(cli->values, "output"),
        .blank = mc_param_int(cli->values, "blank", 0),
    };
}

int mc_cli_measure(const struct mc_cli *cli, const struct mc_model *model,
                   const struct mc_model *reference, struct mc_dataset *data,
                   struct mc_measure *ret, struct mc_err *err)
{
    struct mc_measure_opts opts = mc_cli_measure_opts(cli);
    return mc_measure(model->graph, reference ? reference->graph : NULL, data, &opts, ret, err);
}

static json_t *complete(json_t *o, bool ok)
{
    if (ok)
        return o;
    json_decref(o);
    return NULL;
}

json_t *mc_cli_metrics(const struct mc_metrics *m)
{
    bool ok = true;
    json_t *o = json_object();
    mc_json_put(o, "top1", mc_json_real(m->labelled ? m->top1 : NAN), &ok);
    mc_json_put(o, "top5", mc_json_real(m->labelled && m->top5 >= 0 ? m->top5 : NAN), &ok);
    mc_json_put(o, "loss", mc_json_real(m->labelled ? m->loss : NAN), &ok);
    if (m->sequences)
        mc_json_put(o, "label_error_rate", mc_json_real(m->label_error_rate), &ok);
    mc_json_put(o, "samples", json_integer(m->samples), &ok);
    return complete(o, ok);
}

json_t *mc_cli_agreement(const struct mc_agreement *a)
{
    bool ok = true;
    json_t *o = json_object();
    mc_json_put(o, "top1", mc_json_real(a->top1 >= 0 ? a->top1 : NAN), &ok);
    mc_json_put(o, "cosine", mc_json_real(a->cosine), &ok);
    mc_json_put(o, "sqnr_db", mc_json_real(a->sqnr_db), &ok);
    mc_json_put(o, "max_abs", mc_json_real(a->max_abs), &ok);
    mc_json_put(o, "max_rel", mc_json_real(a->max_rel), &ok);
    mc_json_put(o, "samples", json_integer(a->samples), &ok);
    return complete(o, ok);
}

json_t *mc_cli_drop(const struct mc_measure *m)
{
    if (!m->model.labelled && m->agreement.top1 < 0)
        return json_null();
    bool ok = true;
    json_t *o = json_object(), *ci = json_array();
    mc_json_add(ci, mc_json_real(m->drop.low), &ok);
    mc_json_add(ci, mc_json_real(m->drop.high), &ok);
    mc_json_put(o, "top1", mc_json_real(m->drop.value), &ok);
    mc_json_put(o, "ci95", ci, &ok);
    mc_json_put(o, "of", json_string(m->model.labelled ? "labels" : "agreement"), &ok);
    return complete(o, ok);
}
