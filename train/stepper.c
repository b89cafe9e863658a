#include "train/stepper.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/interrupt.h"
#include "base/mem.h"
#include "graph/grad/recompute.h"
#include "graph/run/session.h"
#include "train/inputs.h"

enum { EVAL_BATCH = 128 };

struct mc_stepper {
    const struct mc_step_graph *g;
    struct mc_stepper_opts o;
    struct mc_teacher *teacher;
    struct mc_session *session;
    struct mc_feed *feed, *held;
    struct mc_inputs in;
    int64_t batches, updates; /* in an epoch that are used */
    int64_t runs;             /* of an update */
    int64_t epoch, batch;     /* where the feed is */
    int64_t n_held;           /* that are used */
    size_t bytes, peak;
    size_t recomputed; /* nodes */
    bool fresh;
    float lr, scale;
    int64_t step, apply;
};

static int no_memory(struct mc_err *err)
{
    return mc_fail(err, MC_ENOMEM, "out of memory while training");
}

/* ---- states ---- */

static size_t state_bytes(const struct mc_state *s)
{
    return (size_t)s->count * (s->dtype == MC_DTYPE_F64 ? sizeof(double) : sizeof(float));
}

size_t mc_stepper_bytes(const struct mc_stepper *s)
{
    return s->bytes;
}

/* Gradients on their way are no part of a state between updates: they are zero. */
int mc_stepper_fetch(const struct mc_stepper *s, void *block, struct mc_err *err)
{
    uint8_t *p = block;
    int rc = 0;
    for (size_t i = 0; i < s->g->update.n_states && !rc; i++) {
        const struct mc_state *state = &s->g->update.states[i];
        rc = mc_session_fetch(s->session, state->in, p, state_bytes(state), err);
        if (state->kind == MC_STATE_GRADIENTS)
            memset(p, 0, state_bytes(state));
        p += state_bytes(state);
    }
    return rc;
}

int mc_stepper_store(struct mc_stepper *s, const void *block, struct mc_err *err)
{
    const uint8_t *p = block;
    int rc = 0;
    for (size_t i = 0; i < s->g->update.n_states && !rc; i++) {
        const struct mc_state *state = &s->g->update.states[i];
        rc = mc_session_store(s->session, state->in, p, state_bytes(state), err);
        p += state_bytes(state);
    }
    return rc;
}

int mc_stepper_weights(const struct mc_stepper *s, const void *block, struct mc_model *m,
                       struct mc_err *err)
{
    const struct mc_update *u = &s->g->update;
    enum mc_state_kind weights = MC_STATE_WEIGHTS;
    for (size_t i = 0; i < u->n_states; i++)
        if (u->states[i].kind == MC_STATE_AVERAGE)
            weights = MC_STATE_AVERAGE;
    const uint8_t *p = block;
    int rc = 0;
    for (size_t i = 0; i < u->n_states && !rc; i++) {
        const struct mc_state *state = &u->states[i];
        if (state->kind == weights || state->kind == MC_STATE_STATISTICS)
            rc = mc_update_store(m, state, p, err);
        p += state_bytes(state);
    }
    return rc;
}

int mc_stepper_restart(struct mc_stepper *s, struct mc_err *err)
{
    int rc = 0;
    for (size_t i = 0; i < s->g->update.n_states && !rc; i++) {
        const struct mc_state *state = &s->g->update.states[i];
        void *zeros = state->initial ? NULL : mc_calloc((size_t)state->count + 1, sizeof(double));
        const void *data = zeros ? zeros : state->initial;
        rc = data ? mc_session_store(s->session, state->in, data, state_bytes(state), err)
                  : no_memory(err);
        free(zeros);
    }
    return rc;
}

/* ---- making ---- */

/* Of the session; state is free()d by the caller. */
static int session_opts(const struct mc_stepper *s, struct mc_session_opts *ret, struct mc_err *err)
{
    const struct mc_update *u = &s->g->update;
    struct mc_session_state *pairs = mc_calloc(u->n_states + 1, sizeof *pairs);
    if (!pairs)
        return no_memory(err);
    for (size_t i = 0; i < u->n_states; i++)
        pairs[i] = (struct mc_session_state){u->states[i].in, u->states[i].out};
    *ret = (struct mc_session_opts){.pool = s->o.pool, .state = pairs, .n_state = u->n_states};
    return 0;
}

/* again: what of the graph is computed again, or NULL. */
static int open_session(struct mc_stepper *s, const struct mc_recompute *again, struct mc_err *err)
{
    struct mc_session_opts so;
    int rc = session_opts(s, &so, err);
    if (rc)
        return rc;
    so.apart = again ? again->apart : NULL;
    so.n_apart = again ? again->n_apart : 0;
    rc = mc_session_new(s->g->step->graph, &so, &s->session, err);
    free((void *)so.state);
    s->bytes = 0;
    for (size_t i = 0; i < s->g->update.n_states; i++)
        s->bytes += state_bytes(&s->g->update.states[i]);
    return rc ? rc : mc_stepper_restart(s, err);
}

static int open_feeds(struct mc_stepper *s, struct mc_err *err)
{
    const struct mc_train_opts *t = s->o.train_opts;
    int64_t classes = s->g->loss.classes == 1 ? 2 : s->g->loss.classes;
    struct mc_feed_opts fo = {.batch = s->o.micro,
                              .seed = s->o.seed,
                              .augment = t->augment,
                              .balance = t->balance,
                              .classes = classes};
    int rc = mc_feed_new(s->o.data, s->o.train, s->o.n_train, &fo, &s->feed, err);
    if (rc)
        return rc;
    s->batches = mc_feed_batches(s->feed);
    int64_t rest = s->o.n_train % s->o.micro;
    /* A batch that is too short for a frozen model, or too short to have statistics. */
    if (rest && s->batches > 1 && (s->g->frozen > 1 || (rest == 1 && s->g->batchnorms)))
        s->batches--;
    s->runs = (s->o.batch + s->o.micro - 1) / s->o.micro * t->accumulate;
    s->updates = (s->batches + s->runs - 1) / s->runs;
    int64_t eval = t->in_parts && s->o.micro < EVAL_BATCH ? s->o.micro : EVAL_BATCH;
    eval = s->g->frozen ? s->g->frozen : eval;
    s->n_held = s->g->frozen ? s->o.n_held / eval * eval : s->o.n_held;
    struct mc_feed_opts ho = {.batch = eval, .seed = s->o.seed, .in_order = true};
    return s->n_held ? mc_feed_new(s->o.data, s->o.held, s->n_held, &ho, &s->held, err) : 0;
}

int mc_stepper_new(const struct mc_step_graph *g, const struct mc_stepper_opts *o,
                   struct mc_stepper **ret, struct mc_err *err)
{
    struct mc_stepper *s = calloc(1, sizeof *s);
    if (!s)
        return no_memory(err);
    s->g = g;
    s->o = *o;
    s->fresh = o->train_opts->augment != NULL;
    struct mc_teacher_opts to = {o->pool, g->loss.teacher, g->loss.n_teacher, o->data->count,
                                 o->data->whole};
    int rc = g->loss.n_teacher ? mc_teacher_new(&g->teacher, &to, &s->teacher, err) : 0;
    s->in =
        (struct mc_inputs){.loss = &g->loss, .data = o->data, .teacher = s->teacher, .extra = 4};
    if (!rc)
        rc = open_session(s, NULL, err);
    if (!rc)
        rc = open_feeds(s, err);
    if (rc) {
        mc_stepper_free(s);
        return rc;
    }
    *ret = s;
    return 0;
}

void mc_stepper_free(struct mc_stepper *s)
{
    if (!s)
        return;
    mc_feed_free(s->feed);
    mc_feed_free(s->held);
    mc_session_free(s->session);
    mc_teacher_free(s->teacher);
    mc_inputs_free(&s->in);
    free(s);
}

int64_t mc_stepper_updates(const struct mc_stepper *s)
{
    return s->updates;
}

size_t mc_stepper_peak(const struct mc_stepper *s)
{
    return s->peak;
}

size_t mc_stepper_recomputed(const struct mc_stepper *s)
{
    return s->recomputed;
}

/* ---- an update ---- */

static void put_scalar(struct mc_inputs *in, const char *name, enum mc_dtype dtype, void *data)
{
    struct mc_array *a = &in->arrays[in->n++];
    *a = (struct mc_array){name, dtype, {0}, data, 0};
    mc_dtype_bytes(dtype, 1, &a->bytes);
}

static double number_of(const struct mc_session *s, const char *name)
{
    const struct mc_array *a = mc_session_value(s, name);
    double v = NAN;
    if (a && mc_shape_count(&a->shape) == 1)
        mc_dtype_to_f64(a->dtype, a->data, &v, 1, NULL);
    return v;
}

static int next_batch(struct mc_stepper *s, int64_t epoch, int64_t batch,
                      const struct mc_feed_batch **ret, struct mc_err *err)
{
    int rc = 0;
    if (s->epoch != epoch || s->batch != batch)
        rc = mc_feed_seek(s->feed, epoch, batch, err);
    if (!rc)
        rc = mc_feed_next(s->feed, ret, err);
    s->epoch = epoch;
    s->batch = batch + 1;
    if (s->batch == mc_feed_batches(s->feed)) {
        s->batch = 0;
        s->epoch++;
    }
    return rc;
}

static void add_result(struct mc_step_result *r, double loss, int64_t n, int64_t hits)
{
    r->loss += loss * (double)n;
    r->samples += n;
    r->hits = hits < 0 || r->hits < 0 ? -1 : r->hits + hits;
}

/* Everything that a run of the step graph is given, for one batch. */
static int load_batch(struct mc_stepper *s, int64_t epoch, int64_t batch,
                      const struct mc_feed_batch **ret, struct mc_err *err)
{
    int rc = next_batch(s, epoch, batch, ret, err);
    if (!rc)
        rc = mc_inputs_fill(&s->in, *ret, s->fresh, err);
    if (rc)
        return rc;
    put_scalar(&s->in, MC_UPDATE_LR, MC_DTYPE_F32, &s->lr);
    put_scalar(&s->in, MC_UPDATE_STEP, MC_DTYPE_I64, &s->step);
    if (s->g->accumulate) {
        put_scalar(&s->in, MC_UPDATE_APPLY, MC_DTYPE_I64, &s->apply);
        put_scalar(&s->in, MC_UPDATE_SCALE, MC_DTYPE_F32, &s->scale);
    }
    return 0;
}

/* The step graph computes some of what gradients need again, if that brings it below the limit. */
static int save_memory(struct mc_stepper *s, size_t limit, struct mc_err *err)
{
    struct mc_session_opts so;
    struct mc_recompute again = {0};
    struct mc_err why;
    int rc = session_opts(s, &so, err);
    if (rc)
        return rc;
    const struct mc_recompute_opts ro = {
        .limit = limit, .session = &so, .inputs = s->in.arrays, .n_inputs = s->in.n};
    mc_session_free(s->session); /* its graph is going to change */
    s->session = NULL;
    rc = mc_recompute(s->g->step, MC_LOSS_VALUE, &ro, &again, &why);
    free((void *)so.state);
    if (rc && rc != MC_EUSAGE)
        return mc_fail(err, rc, "%s", why.msg);
    s->recomputed = rc ? 0 : again.n_nodes;
    s->peak = again.after; /* if that is above the limit, the least there is */
    return open_session(s, rc ? NULL : &again, err);
}

int mc_stepper_plan(struct mc_stepper *s, struct mc_err *err)
{
    const struct mc_feed_batch *b;
    int rc = load_batch(s, 0, 0, &b, err);
    rc = rc ? rc : mc_session_peak(s->session, s->in.arrays, s->in.n, &s->peak, err);
    int64_t limit = s->o.train_opts->mem;
    return rc || !limit || s->peak <= (size_t)limit ? rc : save_memory(s, (size_t)limit, err);
}

/* Whether there is room for a batch of held-out samples besides. */
static int try_held(struct mc_stepper *s, struct mc_err *err)
{
    struct mc_session *session = NULL;
    const struct mc_session_opts so = {.pool = s->o.pool};
    const struct mc_feed_batch *b;
    int rc = mc_session_new(s->g->eval->graph, &so, &session, err);
    if (!rc)
        rc = mc_feed_seek(s->held, 0, 0, err);
    if (!rc)
        rc = mc_feed_next(s->held, &b, err);
    if (!rc)
        rc = mc_inputs_fill(&s->in, b, false, err);
    if (!rc)
        rc = mc_session_run(session, s->in.arrays, s->in.n, err);
    mc_session_free(session);
    return rc;
}

int mc_stepper_try(struct mc_stepper *s, struct mc_err *err)
{
    const struct mc_feed_batch *b;
    s->lr = 0;
    s->scale = 1;
    s->step = s->apply = 1;
    int rc = load_batch(s, 0, 0, &b, err);
    for (int i = 0; i < 2 && !rc; i++) /* as each step, and as a recording */
        rc = mc_session_run(s->session, s->in.arrays, s->in.n, err);
    if (!rc && s->n_held)
        rc = try_held(s, err);
    return rc ? rc : mc_stepper_restart(s, err);
}

static int run_batch(struct mc_stepper *s, int64_t epoch, int64_t batch, struct mc_step_result *r,
                     struct mc_err *err)
{
    const struct mc_feed_batch *b;
    int rc = load_batch(s, epoch, batch, &b, err);
    if (rc)
        return rc;
    rc = mc_session_run(s->session, s->in.arrays, s->in.n, err);
    if (rc)
        return rc;
    const struct mc_array *scores =
        s->g->loss.scores ? mc_session_value(s->session, s->g->loss.scores) : NULL;
    add_result(r, number_of(s->session, MC_LOSS_VALUE), b->data->n,
               mc_inputs_hits(&s->in, b, scores));
    return 0;
}

/* Samples of a batch of the feed. */
static int64_t batch_samples(const struct mc_stepper *s, int64_t batch)
{
    int64_t left = s->o.n_train - batch * s->o.micro;
    return left < s->o.micro ? left : s->o.micro;
}

int mc_stepper_run(struct mc_stepper *s, int64_t update, int64_t step, double lr,
                   struct mc_step_result *ret, struct mc_err *err)
{
    struct mc_step_result r = {0};
    int64_t epoch = update / s->updates, first = update % s->updates * s->runs;
    int64_t end = first + s->runs < s->batches ? first + s->runs : s->batches, samples = 0;
    for (int64_t i = first; i < end; i++)
        samples += batch_samples(s, i);
    s->lr = (float)lr;
    s->step = step;
    int rc = 0;
    for (int64_t i = first; i < end && !rc; i++) {
        s->apply = i + 1 == end;
        s->scale = (float)((double)batch_samples(s, i) / (double)samples);
        rc = run_batch(s, epoch, i, &r, err);
    }
    if (rc)
        return rc;
    r.loss /= (double)r.samples;
    r.norm = number_of(s->session, MC_UPDATE_NORM);
    *ret = r;
    return 0;
}

/* ---- held-out samples ---- */

int mc_stepper_evaluate(struct mc_stepper *s, const void *block, struct mc_step_result *ret,
                        struct mc_err *err)
{
    struct mc_step_result r = {0};
    struct mc_session *session = NULL;
    struct mc_session_opts so = {.pool = s->o.pool};
    int rc = mc_stepper_weights(s, block, s->g->eval, err);
    if (!rc)
        rc = mc_session_new(s->g->eval->graph, &so, &session, err);
    if (!rc)
        rc = mc_feed_seek(s->held, 0, 0, err);
    while (!rc && r.samples < s->n_held) {
        const struct mc_feed_batch *b;
        rc = mc_interrupt_check(err);
        if (!rc)
            rc = mc_feed_next(s->held, &b, err);
        if (!rc)
            rc = mc_inputs_fill(&s->in, b, false, err);
        if (!rc)
            rc = mc_session_run(session, s->in.arrays, s->in.n, err);
        if (!rc)
            add_result(&r, number_of(session, MC_LOSS_VALUE), b->data->n,
                       mc_inputs_hits(&s->in, b,
                                      s->g->loss.scores
                                          ? mc_session_value(session, s->g->loss.scores)
                                          : NULL));
    }
    mc_session_free(session);
    r.loss /= (double)r.samples;
    if (!rc)
        *ret = r;
    return rc;
}
