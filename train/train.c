#include "train/train.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/interrupt.h"
#include "base/io.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/text.h"
#include "train/feed.h"
#include "train/run.h"

static int no_memory(struct mc_err *err)
{
    return mc_fail(err, MC_ENOMEM, "out of memory while training");
}

/* ---- preparing ---- */

/* Whether so few samples are worth a share of them. */
static bool worth_holding(const struct mc_run *r, const json_t *options)
{
    enum { LEAST_HELD = 20 };
    bool asked = options && json_object_get(options, "holdout");
    return asked || r->o.holdout * (double)r->data->count >= LEAST_HELD;
}

static int split(struct mc_run *r, const json_t *options, struct mc_err *err)
{
    double share = worth_holding(r, options) ? r->o.holdout : 0;
    return mc_feed_split(r->data, share, r->ctx->seed, &r->train, &r->n_train, &r->held, &r->n_held,
                         err);
}

static int choose_batch(struct mc_run *r, struct mc_err *err)
{
    int64_t n = r->n_train, frozen = r->g.frozen;
    if (r->o.batch > n)
        return mc_fail(err, MC_EDATA,
                       "a batch of %lld is larger than the data: '%s' has %lld samples to train on",
                       (long long)r->o.batch, r->data->spec, (long long)n);
    r->batch = r->o.batch ? r->o.batch : n < MC_TRAIN_BATCH ? n : MC_TRAIN_BATCH;
    r->micro = r->batch;
    if (!frozen)
        return 0;
    if (n < frozen)
        return mc_fail(
            err, MC_EDATA,
            "the model is frozen to batches of %lld, and '%s' has %lld samples to train on",
            (long long)frozen, r->data->spec, (long long)n);
    r->micro = frozen;
    r->batch = (r->batch + frozen - 1) / frozen * frozen;
    return 0;
}

static int new_stepper(struct mc_run *r, struct mc_err *err)
{
    struct mc_stepper_opts so = {.pool = r->ctx->pool,
                                 .seed = r->ctx->seed,
                                 .data = r->data,
                                 .train = r->train,
                                 .held = r->held,
                                 .n_train = r->n_train,
                                 .n_held = r->n_held,
                                 .batch = r->batch,
                                 .micro = r->micro,
                                 .train_opts = &r->o};
    int rc = mc_stepper_new(&r->g, &so, &r->stepper, err);
    return rc ? rc : mc_stepper_plan(r->stepper, err);
}

/* The next smaller part of a batch that divides it; 0: there is none. Statistics need two samples. */
static int64_t smaller_part(const struct mc_run *r)
{
    int64_t least = r->g.batchnorms ? 2 : 1;
    if (r->g.frozen)
        return 0;
    for (int64_t parts = r->batch / r->micro + 1; parts <= r->batch / least; parts++)
        if (r->batch % parts == 0)
            return r->batch / parts;
    return 0;
}

/* With a limit of memory, batches run in as many parts as it takes, whose gradients are added up. */
static int fit_stepper(struct mc_run *r, struct mc_err *err)
{
    char need[MC_TEXT], limit[MC_TEXT], text[64];
    int rc = new_stepper(r, err);
    while (!rc && r->o.mem && mc_stepper_peak(r->stepper) > (size_t)r->o.mem) {
        int64_t micro = smaller_part(r);
        if (!micro)
            return mc_fail(err, MC_EUSAGE,
                           "a step on %lld sample%s needs %s, which is more than --mem %s, and no "
                           "smaller part of a batch will do; give more memory",
                           (long long)r->micro, r->micro == 1 ? "" : "s",
                           mc_text_bytes((double)mc_stepper_peak(r->stepper), need),
                           mc_text_bytes((double)r->o.mem, limit));
        r->micro = micro;
        mc_stepper_free(r->stepper);
        r->stepper = NULL;
        rc = new_stepper(r, err);
    }
    if (rc)
        return rc;
    snprintf(text, sizeof text, "planning: a step needs %s",
             mc_text_bytes((double)mc_stepper_peak(r->stepper), need));
    mc_progress_tell(r->ctx->progress, text, 0, 0);
    return 0;
}

static int open_stepper(struct mc_run *r, struct mc_err *err)
{
    int rc = fit_stepper(r, err);
    if (rc)
        return rc;
    r->per_epoch = mc_stepper_updates(r->stepper);
    double total = ceil(r->epochs * (double)r->per_epoch);
    if (!(total >= 1 && total < 1e15))
        return mc_fail(err, MC_EUSAGE, "%g epochs cannot be trained", r->epochs);
    r->total = (int64_t)total;
    r->stride = (r->total + MC_TRACK_POINTS - 1) / MC_TRACK_POINTS;
    /* short runs are looked at four times, others once an epoch */
    double looks = fmax(1, ceil(4 / r->epochs));
    r->eval_every = (int64_t)fmax(1, ceil((double)r->per_epoch / looks));
    return 0;
}

/* After a GPU had no memory for a step: smaller parts of a batch, in the same updates. */
static int cut_batch(struct mc_run *r, const struct mc_model *m, const struct mc_model *teacher,
                     int64_t micro, struct mc_err *err)
{
    mc_stepper_free(r->stepper);
    r->stepper = NULL;
    r->micro = micro;
    snprintf(r->parts, sizeof r->parts,
             "batch %lld as %lld x %lld: the GPU has no memory for more at once%s",
             (long long)r->batch, (long long)(r->batch / micro), (long long)micro,
             r->g.batchnorms ? "; statistics of BatchNormalization are those of a part" : "");
    mc_progress_tell(r->ctx->progress, r->parts, 0, 0);
    r->o.in_parts = true;
    if (r->g.accumulate)
        return 0;
    mc_step_graph_free(&r->g);
    return mc_step_graph_new(m, teacher, r->data, &r->o, &r->g, err);
}

/* What the device says of it ends in advice to make batches smaller. */
static int no_room(const struct mc_run *r, const struct mc_err *why, struct mc_err *err)
{
    return mc_fail(err, MC_ENOMEM,
                   "not even a step on %lld sample%s fits: %.*s; '--device cpu' takes none of it",
                   (long long)r->micro, r->micro == 1 ? "" : "s", (int)strcspn(why->msg, ";"),
                   why->msg);
}

/* What a GPU has room for shows when a step runs there. */
static int open_on_device(struct mc_run *r, const struct mc_model *m,
                          const struct mc_model *teacher, struct mc_err *err)
{
    if (!mc_pool_gpu(r->ctx->pool))
        return open_stepper(r, err);
    for (;;) {
        struct mc_err why;
        int rc = open_stepper(r, &why);
        rc = rc ? rc : mc_stepper_try(r->stepper, &why);
        int64_t micro = rc == MC_ENOMEM ? smaller_part(r) : 0;
        if (rc == MC_ENOMEM && !micro)
            return no_room(r, &why, err);
        if (rc && rc != MC_ENOMEM)
            return mc_fail(err, rc, "%s", why.msg);
        if (rc)
            rc = cut_batch(r, m, teacher, micro, err);
        else
            return 0;
        if (rc)
            return rc;
    }
}

static int alloc_state(struct mc_run *r, struct mc_err *err)
{
    struct mc_run_state *s = &r->s;
    s->bytes = mc_stepper_bytes(r->stepper);
    s->cap_evals = r->total / r->eval_every + 2;
    s->points = mc_calloc(MC_TRACK_POINTS + 1, sizeof *s->points);
    s->evals = mc_calloc((size_t)s->cap_evals, sizeof *s->evals);
    s->states = mc_alloc_aligned(s->bytes);
    s->good_states = mc_alloc_aligned(s->bytes);
    s->best_states = mc_alloc_aligned(s->bytes);
    if (!s->points || !s->evals || !s->states || !s->good_states || !s->best_states)
        return no_memory(err);
    s->now.best_update = -1;
    s->now.lr_scale = 1;
    s->now.best_share = s->now.best_loss = s->now.first_loss = NAN;
    return mc_stepper_fetch(r->stepper, s->good_states, err);
}

static int identify(struct mc_run *r, const struct mc_model *m, const struct mc_model *teacher,
                    struct mc_err *err)
{
    char *text = json_dumps(r->o.values, JSON_SORT_KEYS | JSON_COMPACT);
    if (!text)
        return no_memory(err);
    mc_run_hash_text(text, r->id.options);
    free(text);
    mc_run_hash_model(m, r->id.model);
    mc_run_hash_model(teacher, r->id.teacher);
    strncpy(r->id.data, r->data->id, sizeof r->id.data - 1);
    r->id.samples = r->data->count;
    r->id.seed = r->ctx->seed;
    r->id.epochs = r->epochs;
    return 0;
}

static int resume(struct mc_run *r, struct mc_err *err)
{
    bool found;
    int rc = mc_checkpoint_read(r->ctx->checkpoint, &r->id, &r->s, &found, err);
    if (rc || !found)
        return rc;
    r->resumed_at = r->s.now.update;
    r->resumed = true;
    return mc_stepper_store(r->stepper, r->s.states, err);
}

static int check_options(const struct mc_run *r, struct mc_err *err)
{
    if (!isfinite(r->epochs) || r->epochs <= 0)
        return mc_fail(err, MC_EUSAGE, "%g epochs cannot be trained; give more than 0", r->epochs);
    if (r->o.mixup && !r->data->has_labels)
        return mc_fail(err, MC_EDATA, "mixup needs a class of each sample; '%s' %s", r->data->spec,
                       mc_dataset_no_labels(r->data));
    return 0;
}

static int prepare(struct mc_run *r, const struct mc_model *m, const struct mc_model *teacher,
                   const json_t *options, struct mc_err *err)
{
    int rc = mc_train_opts_read(options, &r->o, err);
    if (!rc)
        rc = check_options(r, err);
    if (!rc)
        rc = mc_step_graph_new(m, teacher, r->data, &r->o, &r->g, err);
    if (!rc)
        rc = split(r, options, err);
    if (!rc)
        rc = choose_batch(r, err);
    if (!rc)
        rc = open_on_device(r, m, teacher, err);
    if (!rc)
        rc = alloc_state(r, err);
    if (!rc && r->ctx->checkpoint) {
        rc = identify(r, m, teacher, err);
        if (!rc)
            rc = resume(r, err);
    }
    return rc;
}

static void release(struct mc_run *r)
{
    mc_stepper_free(r->stepper);
    mc_step_graph_free(&r->g);
    mc_train_opts_free(&r->o);
    free(r->train);
    free(r->held);
    free(r->s.points);
    free(r->s.evals);
    free(r->s.states);
    free(r->s.good_states);
    free(r->s.best_states);
}

/* ---- from outside ---- */

/* The best weights into the model: at once, after they have been put into another of its kind. */
static int deliver(struct mc_run *r, struct mc_model *m, struct mc_err *err)
{
    struct mc_model *trial;
    const void *block = r->s.now.best_update < 0 ? r->s.states : r->s.best_states;
    int rc = mc_model_clone(m, &trial, err);
    if (rc)
        return rc;
    rc = mc_stepper_weights(r->stepper, block, trial, err);
    mc_model_free(trial);
    return rc ? rc : mc_stepper_weights(r->stepper, block, m, err);
}

int mc_train_run(struct mc_model *m, const struct mc_model *teacher, struct mc_dataset *data,
                 double epochs, const json_t *options, const struct mc_train_ctx *ctx,
                 json_t **ret_report, struct mc_err *err)
{
    struct mc_run r = {.ctx = ctx, .data = data, .epochs = epochs};
    json_t *report = NULL;
    int rc = prepare(&r, m, teacher, options, err);
    if (!rc)
        rc = mc_run_train(&r, err);
    if (!rc || (rc == MC_EINTR && r.saved)) {
        struct mc_err other;
        int told = mc_run_report(&r, &report, rc ? &other : err);
        rc = rc ? rc : told;
    }
    if (!rc)
        rc = deliver(&r, m, err);
    release(&r);
    if (rc && rc != MC_EINTR) {
        json_decref(report);
        report = NULL;
    }
    if (report)
        *ret_report = report;
    return rc;
}

int mc_train_plan(const struct mc_model *m, const struct mc_model *teacher, struct mc_dataset *data,
                  double epochs, const json_t *options, const struct mc_train_ctx *ctx,
                  json_t **ret_report, struct mc_err *err)
{
    struct mc_train_ctx dry = *ctx;
    dry.checkpoint = NULL;
    struct mc_run r = {.ctx = &dry, .data = data, .epochs = epochs};
    json_t *report = NULL;
    int rc = prepare(&r, m, teacher, options, err);
    if (!rc)
        rc = mc_run_report(&r, &report, err);
    if (!rc) {
        bool ok = true;
        mc_json_put(report, "planned", json_integer(r.total), &ok);
        mc_json_put(report, "best", json_null(), &ok);
        double lr = mc_json_number(r.o.values, "lr", NAN); /* null: a range test will find it */
        mc_json_put(report, "lr", mc_json_real(lr), &ok);
        rc = ok ? 0 : no_memory(err);
    }
    release(&r);
    if (rc)
        json_decref(report);
    else
        *ret_report = report;
    return rc;
}

int mc_train_step_graph(const struct mc_model *m, const struct mc_model *teacher,
                        struct mc_dataset *data, const json_t *options,
                        const struct mc_train_ctx *ctx, struct mc_model **ret, struct mc_err *err)
{
    struct mc_train_opts o;
    struct mc_step_graph g;
    (void)ctx;
    int rc = mc_train_opts_read(options, &o, err);
    if (rc)
        return rc;
    rc = mc_step_graph_new(m, teacher, data, &o, &g, err);
    if (!rc) {
        *ret = g.step;
        g.step = NULL;
        mc_step_graph_free(&g);
    }
    mc_train_opts_free(&o);
    return rc;
}
