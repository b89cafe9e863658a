#include <math.h>
#include <string.h>

#include "base/json.h"
#include "graph/run/device.h"
#include "train/run.h"

static double epoch_of(const struct mc_run *r, int64_t update)
{
    return (double)update / (double)r->per_epoch;
}

static json_t *share(double v)
{
    return v >= 0 ? json_real(v) : json_null();
}

static json_t *curve(const struct mc_run *r, bool *ok)
{
    json_t *list = json_array();
    for (int64_t i = 0; i < r->s.now.n_points; i++) {
        const struct mc_track_point *p = &r->s.points[i];
        json_t *row = json_object();
        mc_json_put(row, "step", json_integer(p->update), ok);
        mc_json_put(row, "epoch", json_real(epoch_of(r, p->update)), ok);
        mc_json_put(row, "lr", mc_json_real(p->lr), ok);
        mc_json_put(row, "loss", mc_json_real(p->loss), ok);
        mc_json_put(row, "norm", mc_json_real(p->norm), ok);
        if (p->share >= 0)
            mc_json_put(row, "top1", json_real(p->share), ok);
        mc_json_add(list, row, ok);
    }
    return list;
}

static json_t *evals(const struct mc_run *r, bool *ok)
{
    json_t *list = json_array();
    for (int64_t i = 0; i < r->s.now.n_evals; i++) {
        const struct mc_track_eval *e = &r->s.evals[i];
        json_t *row = json_object();
        mc_json_put(row, "epoch", json_real(epoch_of(r, e->update)), ok);
        mc_json_put(row, "loss", mc_json_real(e->train_loss), ok);
        mc_json_put(row, "held_loss", mc_json_real(e->loss), ok);
        mc_json_put(row, "held_top1", share(e->share), ok);
        mc_json_put(row, "seconds", mc_json_real(e->seconds), ok);
        mc_json_add(list, row, ok);
    }
    return list;
}

static json_t *recoveries(const struct mc_run *r, bool *ok)
{
    static const char *const why[] = {"", "the loss was not finite", "the gradient was not finite",
                                      "the loss stayed far above its best"};
    json_t *list = json_array();
    for (int64_t i = 0; i < r->s.now.n_recoveries; i++) {
        const struct mc_track_recovery *b = &r->s.now.recoveries[i];
        json_t *row = json_object();
        mc_json_put(row, "step", json_integer(b->update), ok);
        mc_json_put(row, "back_to", json_integer(b->back), ok);
        mc_json_put(row, "why", json_string(why[b->why]), ok);
        mc_json_put(row, "lr", mc_json_real(b->lr), ok);
        mc_json_add(list, row, ok);
    }
    return list;
}

static json_t *range(const struct mc_run *r, bool *ok)
{
    const struct mc_track *t = &r->s.now;
    if (!t->n_range)
        return json_null();
    json_t *o = json_object(), *list = json_array();
    for (int64_t i = 0; i < t->n_range; i++) {
        json_t *row = json_object();
        mc_json_put(row, "lr", mc_json_real(t->range_lr[i]), ok);
        mc_json_put(row, "ratio", mc_json_real(t->range_loss[i]), ok);
        mc_json_add(list, row, ok);
    }
    mc_json_put(o, "lr", mc_json_real(t->lr), ok);
    mc_json_put(o, "tried", list, ok);
    return o;
}

static json_t *best(const struct mc_run *r, bool *ok)
{
    const struct mc_track *t = &r->s.now;
    json_t *o = json_object();
    mc_json_put(o, "epoch", json_real(epoch_of(r, t->best_update < 0 ? t->update : t->best_update)),
                ok);
    mc_json_put(o, "loss", mc_json_real(t->best_loss), ok);
    mc_json_put(o, "top1", share(t->best_share), ok);
    mc_json_put(o, "before", mc_json_real(t->first_loss), ok);
    return o;
}

static void put_recipe(const struct mc_run *r, json_t *o, bool *ok)
{
    static const char *const optimizers[] = {"sgd", "adam", "adamw"};
    const struct mc_track *t = &r->s.now;
    mc_json_put(o, "loss", json_string(r->g.loss.name), ok);
    mc_json_put(o, "loss_why", json_string(r->g.loss.why), ok);
    mc_json_put(o, "options", json_deep_copy(r->o.values), ok);
    mc_json_put(o, "optimizer", json_string(optimizers[r->o.update.kind]), ok);
    mc_json_put(o, "weight_decay", json_real(r->o.update.decay), ok);
    mc_json_put(o, "lr", mc_json_real(t->lr * t->lr_scale), ok);
    mc_json_put(o, "lr_found", range(r, ok), ok);
    mc_json_put(o, "epochs", json_real(epoch_of(r, t->update)), ok);
    mc_json_put(o, "batch", json_integer(r->batch * r->o.accumulate), ok);
    mc_json_put(o, "batch_at_once", json_integer(r->micro), ok);
    if (*r->parts)
        mc_json_put(o, "batch_why", mc_json_text(r->parts), ok);
}

int mc_run_report(const struct mc_run *r, json_t **ret, struct mc_err *err)
{
    const struct mc_track *t = &r->s.now;
    bool ok = true;
    json_t *o = json_object();
    put_recipe(r, o, &ok);
    mc_json_put(o, "seed", mc_json_size(r->ctx->seed), &ok);
    mc_json_put(o, "updates", json_integer(t->update), &ok);
    mc_json_put(o, "samples", json_integer(r->n_train), &ok);
    mc_json_put(o, "held_out", json_integer(r->n_held), &ok);
    mc_json_put(o, "stopped_early", json_boolean(t->stopped), &ok);
    mc_json_put(o, "resumed_at", r->resumed ? json_integer(r->resumed_at) : json_null(), &ok);
    mc_json_put(o, "batchnorms", mc_json_size(r->g.batchnorms), &ok);
    mc_json_put(o, "trained", json_incref(r->g.trained), &ok);
    mc_json_put(o, "frozen", json_incref(r->g.frozen_list), &ok);
    mc_json_put(o, "peak_bytes", mc_json_size(mc_stepper_peak(r->stepper)), &ok);
    mc_json_put(o, "recomputed", mc_json_size(mc_stepper_recomputed(r->stepper)), &ok);
    mc_json_put(o, "recoveries", recoveries(r, &ok), &ok);
    mc_json_put(o, "best", best(r, &ok), &ok);
    mc_json_put(o, "curve", curve(r, &ok), &ok);
    mc_json_put(o, "epochs_log", evals(r, &ok), &ok);
    mc_json_put(o, "seconds", mc_json_real(t->seconds), &ok);
    mc_json_put(o, "samples_per_second",
                t->seconds > 0 ? mc_json_real((double)t->update *
                                              (double)(r->batch * r->o.accumulate) / t->seconds)
                               : json_null(),
                &ok);
    mc_json_put(o, "device", json_string(mc_device_name(r->ctx->pool)), &ok);
    if (!ok) {
        json_decref(o);
        return mc_fail(err, MC_ENOMEM, "out of memory for the report of a training");
    }
    *ret = o;
    return 0;
}
