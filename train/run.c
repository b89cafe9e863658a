#include "train/run.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/interrupt.h"
#include "base/io.h"
#include "base/mem.h"

static const double SMOOTH = 0.95; /* of the loss that is watched: some 20 updates */
enum { SMOOTH_FROM = 10, CLIMBS_LEAST = 20, MOST_RECOVERIES = 5 };
/* Losses of classes are in nats, those of outputs relative: a quarter is much for either, also where a loss
 * begins near 0 because the teacher is the model itself. */
static const double CLIMBS_BEST = 4, CLIMBS_FIRST = 2, CLIMBS_MORE = 0.25;
static const double LOWER = 0.3; /* of the learning rate, on the way back */

_Static_assert((int)MOST_RECOVERIES < (int)MC_TRACK_RECOVERIES, "room for all");

/* ---- keeping ---- */

/* What is now, to the file. */
static int save(struct mc_run *r, struct mc_err *err)
{
    r->s.now.seconds = r->seconds_before + mc_now() - r->started;
    int rc = mc_stepper_fetch(r->stepper, r->s.states, err);
    if (!rc)
        rc = mc_checkpoint_write(r->ctx->checkpoint, &r->id, &r->s, err);
    r->saved |= !rc;
    return rc;
}

/* On the way out after Ctrl-C. The state must be one between updates. */
static int leave(struct mc_run *r, struct mc_err *err)
{
    const char *path = r->ctx->checkpoint;
    if (!path)
        return mc_fail(err, MC_EINTR, "interrupted after %lld of %lld updates; nothing was written",
                       (long long)r->s.now.update, (long long)r->total);
    int rc = save(r, err);
    return rc ? rc
              : mc_fail(
                    err, MC_EINTR,
                    "interrupted after %lld of %lld updates; '%s' has them: the same command goes "
                    "on from there",
                    (long long)r->s.now.update, (long long)r->total, path);
}

/* Back to where `to` was; what was learned about the run stays. */
static void rewind_track(struct mc_run *r, const struct mc_track *to)
{
    struct mc_track *t = &r->s.now, was = *t;
    *t = *to;
    t->has_lr = was.has_lr;
    t->lr = was.lr;
    t->lr_scale = was.lr_scale;
    t->seconds = was.seconds;
    t->n_recoveries = was.n_recoveries;
    memcpy(t->recoveries, was.recoveries, sizeof t->recoveries);
    t->n_range = was.n_range;
    memcpy(t->range_lr, was.range_lr, sizeof t->range_lr);
    memcpy(t->range_loss, was.range_loss, sizeof t->range_loss);
}

/* To the last state that was good. */
static int go_back(struct mc_run *r, struct mc_err *err)
{
    rewind_track(r, &r->s.good);
    return mc_stepper_store(r->stepper, r->s.good_states, err);
}

/* To the weights that the run began with. */
static int start_over(struct mc_run *r, struct mc_err *err)
{
    struct mc_track begin = {.best_update = -1, .best_loss = NAN, .best_share = NAN};
    const struct mc_track *t = &r->s.now;
    if (r->n_held && t->best_update >= 0) { /* still the best that there was */
        begin.best_update = t->best_update;
        begin.best_loss = t->best_loss;
        begin.best_share = t->best_share;
    }
    rewind_track(r, &begin);
    int rc = mc_stepper_restart(r->stepper, err);
    return rc ? rc : mc_stepper_fetch(r->stepper, r->s.good_states, err);
}

/* ---- learning rate ---- */

struct trial {
    struct mc_run *r;
    int64_t steps;
};

static int trial_step(void *ctx, int64_t batch, double lr, double *ret_loss, struct mc_err *err)
{
    struct trial *t = ctx;
    struct mc_step_result res;
    int rc = mc_interrupt_check(err);
    if (rc)
        return rc;
    mc_progress_tell(t->r->ctx->progress, "finding a learning rate", (double)t->steps,
                     MC_RANGE_STEPS + MC_RANGE_BATCHES);
    rc = mc_stepper_run(t->r->stepper, batch, ++t->steps, lr, &res, err);
    if (!rc)
        *ret_loss = isfinite(res.norm) ? res.loss : NAN;
    return rc;
}

static int find_rate(struct mc_run *r, struct mc_err *err)
{
    static const struct {
        double lo, hi;
    } ranges[] = {{1e-3, 5}, {1e-5, 0.03}, {1e-5, 0.03}}; /* sgd, adam, adamw */
    struct mc_track *t = &r->s.now;
    struct mc_range range;
    struct trial trial = {r, 0};
    t->has_lr = true;
    t->lr = r->o.lr;
    if (r->o.lr > 0)
        return 0;
    int rc = mc_range_test(trial_step, &trial, r->per_epoch, ranges[r->o.update.kind].lo,
                           ranges[r->o.update.kind].hi, &range, err);
    struct mc_err other;
    int back = mc_stepper_store(r->stepper, r->s.good_states, rc ? &other : err);
    t->has_lr = !rc;
    if (rc || back)
        return rc ? rc : back;
    t->lr = range.pick;
    t->n_range = range.n;
    memcpy(t->range_lr, range.lr, sizeof range.lr);
    memcpy(t->range_loss, range.ratio, sizeof range.ratio);
    return 0;
}

/* ---- held-out samples ---- */

static int put_eval(struct mc_run *r, const struct mc_step_result *res, struct mc_err *err)
{
    struct mc_run_state *s = &r->s;
    struct mc_track *t = &s->now;
    if (t->n_evals == s->cap_evals) {
        int64_t cap = 2 * s->cap_evals + 16;
        struct mc_track_eval *e = mc_realloc(s->evals, (size_t)cap, sizeof *e);
        if (!e)
            return mc_fail(err, MC_ENOMEM, "out of memory while training");
        s->evals = e;
        s->cap_evals = cap;
    }
    struct mc_track_sums *sum = &t->eval;
    struct mc_track_eval *e = &s->evals[t->n_evals++];
    memset(e, 0, sizeof *e);
    e->update = t->update;
    e->train_loss = sum->n ? sum->loss / (double)sum->n : NAN;
    e->loss = res->samples ? res->loss : NAN;
    e->share = res->samples && res->hits >= 0 ? (double)res->hits / (double)res->samples : -1;
    e->seconds = r->seconds_before + mc_now() - r->started;
    *sum = (struct mc_track_sums){0};
    return 0;
}

/* A loss that is far above that in the beginning marks no state to go back to. */
static bool is_worse(const struct mc_run *r, double held)
{
    const struct mc_track *t = &r->s.now;
    bool trained = t->last > CLIMBS_FIRST * t->start + CLIMBS_MORE;
    return r->n_held ? held > CLIMBS_FIRST * t->first_loss + CLIMBS_MORE : trained;
}

/* A look at the held-out samples: better than ever, or time to stop? And a state to go back to. */
static int evaluate(struct mc_run *r, struct mc_err *err)
{
    struct mc_run_state *s = &r->s;
    struct mc_track *t = &s->now;
    struct mc_step_result res = {.hits = -1};
    int rc = mc_stepper_fetch(r->stepper, s->states, err);
    if (!rc && r->n_held)
        rc = mc_stepper_evaluate(r->stepper, s->states, &res, err);
    if (!rc)
        rc = put_eval(r, &res, err);
    if (rc)
        return rc;
    const struct mc_track_eval *e = &s->evals[t->n_evals - 1];
    if (t->n_evals == 1)
        t->first_loss = e->loss;
    bool sound = (!res.samples || isfinite(res.loss)) && !is_worse(r, e->loss);
    /* A model is often trained further on data that it has seen before, so that its own loss there is better than
     * any that comes: the weights of the beginning are kept only where all others are far worse. */
    bool first = t->best_update <= 0;
    if (t->best_update < 0 || (sound && (first || !res.samples || res.loss < t->best_loss))) {
        t->best_update = t->update;
        t->best_loss = e->loss;
        t->best_share = e->share;
        memcpy(s->best_states, s->states, s->bytes);
    }
    double since = (double)(t->update - t->best_update) / (double)r->per_epoch;
    t->stopped = res.samples && r->o.patience > 0 && since >= r->o.patience;
    if (sound) {
        s->good = *t;
        memcpy(s->good_states, s->states, s->bytes);
    }
    return 0;
}

static bool evaluation_due(const struct mc_run *r)
{
    const struct mc_track *t = &r->s.now;
    if (t->n_evals && r->s.evals[t->n_evals - 1].update == t->update)
        return false;
    return t->update % r->eval_every == 0 || t->update == r->total;
}

/* ---- trouble ---- */

static enum mc_track_trouble watch(struct mc_run *r, const struct mc_step_result *res)
{
    struct mc_track *t = &r->s.now;
    if (!isfinite(res->loss))
        return MC_TROUBLE_LOSS;
    if (!isfinite(res->norm))
        return MC_TROUBLE_NORM;
    t->last = res->loss;
    if (!t->smooth_n)
        t->start = res->loss;
    t->smooth = t->smooth_n ? SMOOTH * t->smooth + (1 - SMOOTH) * res->loss : res->loss;
    if (++t->smooth_n < SMOOTH_FROM)
        return MC_TROUBLE_NONE;
    if (t->smooth_n == SMOOTH_FROM)
        t->smooth_first = t->smooth_best = t->smooth;
    if (t->smooth < t->smooth_best)
        t->smooth_best = t->smooth;
    bool far = t->smooth > CLIMBS_BEST * t->smooth_best &&
               t->smooth > CLIMBS_FIRST * t->smooth_first + CLIMBS_MORE;
    t->above = far ? t->above + 1 : 0;
    int64_t most = r->per_epoch / 20 > CLIMBS_LEAST ? r->per_epoch / 20 : CLIMBS_LEAST;
    return t->above >= most ? MC_TROUBLE_CLIMBS : MC_TROUBLE_NONE;
}

static int recover(struct mc_run *r, enum mc_track_trouble why, struct mc_err *err)
{
    struct mc_track *t = &r->s.now;
    if (t->n_recoveries == MOST_RECOVERIES)
        return mc_fail(
            err, MC_EFAIL,
            "the training diverges: after %d ways back, at a learning rate of %.3g, update "
            "%lld has failed again; the model is unchanged; give a lower --lr",
            MOST_RECOVERIES, t->lr * t->lr_scale, (long long)t->update);
    /* twice from the same state: that one is not as good as it looked */
    int64_t back = r->s.good.update;
    bool again = back && t->n_recoveries && t->recoveries[t->n_recoveries - 1].back == back;
    t->lr_scale *= LOWER;
    struct mc_track_recovery *b = &t->recoveries[t->n_recoveries++];
    memset(b, 0, sizeof *b);
    b->update = t->update;
    b->back = again ? 0 : back;
    b->why = why;
    b->lr = t->lr * t->lr_scale;
    return again ? start_over(r, err) : go_back(r, err);
}

/* ---- updates ---- */

static void add_sums(struct mc_track_sums *s, const struct mc_step_result *res)
{
    s->n++;
    s->loss += res->loss;
    s->norm += res->norm;
    s->samples += res->hits < 0 ? 0 : res->samples;
    s->hits += res->hits < 0 ? 0 : res->hits;
}

static void tell(const struct mc_run *r, const struct mc_step_result *res, double lr)
{
    char text[96], right[32] = "";
    if (res->hits >= 0)
        snprintf(right, sizeof right, ", %.1f %%",
                 100.0 * (double)res->hits / (double)(res->samples ? res->samples : 1));
    snprintf(text, sizeof text, "training: loss %.4g%s, lr %.2g", r->s.now.smooth, right, lr);
    mc_progress_tell(r->ctx->progress, text, (double)r->s.now.update, (double)r->total);
}

static void put_point(struct mc_run *r, double lr)
{
    struct mc_track *t = &r->s.now;
    struct mc_track_sums *s = &t->point;
    if (t->update % r->stride != 0 && t->update != r->total)
        return;
    double n = (double)s->n;
    r->s.points[t->n_points++] =
        (struct mc_track_point){t->update, lr, s->loss / n, s->norm / n,
                                s->samples ? (double)s->hits / (double)s->samples : -1};
    *s = (struct mc_track_sums){0};
}

static int update(struct mc_run *r, struct mc_err *err)
{
    struct mc_track *t = &r->s.now;
    struct mc_step_result res;
    double lr =
        t->lr * t->lr_scale * mc_schedule_factor(r->o.schedule, r->o.warmup, t->update, r->total);
    int rc = mc_stepper_run(r->stepper, t->update, t->update + 1, lr, &res, err);
    if (rc == MC_EINTR) { /* perhaps half done */
        rc = go_back(r, err);
        return rc ? rc : leave(r, err);
    }
    if (rc)
        return rc;
    enum mc_track_trouble why = watch(r, &res);
    if (why)
        return recover(r, why, err);
    add_sums(&t->point, &res);
    add_sums(&t->eval, &res);
    t->update++;
    put_point(r, lr);
    tell(r, &res, lr);
    return 0;
}

static bool save_due(const struct mc_run *r)
{
    int64_t every = r->ctx->checkpoint_every > 0 ? r->ctx->checkpoint_every : r->per_epoch;
    return r->ctx->checkpoint && r->s.now.update % every == 0;
}

static int train(struct mc_run *r, struct mc_err *err)
{
    struct mc_track *t = &r->s.now;
    for (;;) {
        int rc = evaluation_due(r) ? evaluate(r, err) : 0;
        if (rc == MC_EINTR)
            return leave(r, err);
        if (rc || t->update == r->total || t->stopped)
            return rc;
        if (mc_interrupt_check(err))
            return leave(r, err);
        rc = update(r, err);
        if (!rc && save_due(r))
            rc = save(r, err);
        if (rc)
            return rc;
    }
}

int mc_run_train(struct mc_run *r, struct mc_err *err)
{
    struct mc_track *t = &r->s.now;
    if (t->done)
        return 0;
    r->started = mc_now();
    r->seconds_before = t->seconds;
    /* at once: a file that cannot be written is no news for the end of an epoch */
    int rc = r->ctx->checkpoint && !r->resumed ? save(r, err) : 0;
    if (!rc && !t->has_lr)
        rc = find_rate(r, err);
    if (rc == MC_EINTR)
        return leave(r, err);
    if (!rc)
        rc = train(r, err);
    if (rc)
        return rc;
    t->done = true;
    t->seconds = r->seconds_before + mc_now() - r->started;
    rc = mc_stepper_fetch(r->stepper, r->s.states, err);
    return rc || !r->ctx->checkpoint ? rc : save(r, err);
}
