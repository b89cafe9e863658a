#include "graph/run/measure.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "graph/run/label_errors.h"
#include "graph/run/pump.h"
#include "graph/run/metrics.h"

enum { MODEL, REFERENCE, SIDES };

struct side {
    const struct mc_graph *g;
    struct mc_session *session;
    enum mc_score kind;
    struct mc_label_sums labels;
    int64_t errors; /* of labels that are sequences */
    double *row;    /* one sample of one output */
    int64_t row_cap;
};

struct measuring {
    const struct mc_measure_opts *opts;
    struct mc_array *view; /* outputs as the looker gets them */
    const struct mc_array **values;
    struct mc_pump feed;
    struct mc_session *sessions[SIDES];
    struct side side[SIDES];
    int n_sides, n_outputs;
    int counting;               /* output that counts; -1 before the first batch */
    int64_t classes;            /* 0: the output is no class score */
    struct mc_pair_sums *pairs; /* per output */
    double cosine, cosine_loss_squares;
    int64_t letters;          /* scores of a step, where labels are sequences; 0: there are none */
    int64_t n_labels, *edits; /* of those, and scratch */
    int64_t samples, same, plus,
        minus; /* plus: only the reference is right; minus: only the model */
};

/* ---- which output counts ---- */

static int find_output(struct measuring *m, const char *name, struct mc_err *err)
{
    const struct mc_session *s = m->side[MODEL].session;
    m->n_outputs = mc_session_n_outputs(s);
    m->counting = -1;
    if (m->n_outputs < 1)
        return mc_fail(err, MC_EUNSUP, "the model has no outputs");
    const struct mc_graph *g = m->side[MODEL].g;
    for (size_t i = 0; name && i < g->n_outputs; i++)
        if (!strcmp(g->outputs[i]->name, name))
            m->counting = (int)i;
    if (name && m->counting < 0)
        return mc_fail(err, MC_EUSAGE, "the model has no output '%s'", name);
    if (m->n_sides > 1 && mc_session_n_outputs(m->side[REFERENCE].session) != m->n_outputs)
        return mc_fail(err, MC_ESHAPE, "the model has %d outputs, the reference %d", m->n_outputs,
                       mc_session_n_outputs(m->side[REFERENCE].session));
    return 0;
}

enum { NO_BATCH = -1 };

/* Elements of one sample of an output, and its batch axis. */
static int64_t row_of(const struct measuring *m, const struct mc_array *a, int64_t ran,
                      int *ret_axis)
{
    int64_t count = mc_shape_count(&a->shape);
    const int64_t *dim = a->shape.dim;
    *ret_axis = NO_BATCH;
    if (m->feed.data->whole) {
        *ret_axis = 0;
        return count;
    }
    if (a->shape.rank > 2 && dim[0] != ran && dim[1] == ran)
        *ret_axis = 1; /* steps first */
    else if (a->shape.rank > 0 && dim[0] % ran == 0)
        *ret_axis = 0;
    return *ret_axis == NO_BATCH ? count : count / ran;
}

/* Classes: elements of a sample of which at most one axis is longer than 1. */
static int64_t count_classes(const struct measuring *m, const struct mc_array *a, int64_t ran)
{
    bool whole = m->feed.data->whole;
    int wide = 0, axis;
    int64_t row = row_of(m, a, ran, &axis);
    if (axis != 0 || row < 1 || (!whole && a->shape.dim[0] != ran))
        return 0;
    for (int i = !whole; i < a->shape.rank; i++)
        wide += a->shape.dim[i] > 1;
    if (wide > 1 || mc_dtype_info(a->dtype)->kind != MC_KIND_FLOAT)
        return 0;
    bool sigmoid = m->side[MODEL].kind == MC_SCORE_SIGMOID;
    return row > 1 ? row : sigmoid || m->feed.data->has_labels ? 2 : 0;
}

static void choose_output(struct measuring *m, int64_t ran)
{
    const struct mc_session *s = m->side[MODEL].session;
    int rank = m->feed.data->sequence ? 3 : 2;
    for (int i = 0; m->counting < 0 && i < m->n_outputs; i++)
        if (mc_session_output(s, i)->shape.rank == rank)
            m->counting = i;
    m->counting = m->counting < 0 ? 0 : m->counting;
    for (int i = 0; i < m->n_sides; i++)
        m->side[i].kind = mc_score_kind(m->side[i].g->outputs[m->counting]);
    m->classes = count_classes(m, mc_session_output(s, m->counting), ran);
}

/* Scores of a step, where the output may be such of sequences. */
static int64_t step_scores(const struct measuring *m)
{
    const struct mc_array *a = mc_session_output(m->sessions[MODEL], m->counting);
    bool is = a->shape.rank == 3 && mc_dtype_info(a->dtype)->kind == MC_KIND_FLOAT;
    return is && a->shape.dim[2] > m->opts->blank ? a->shape.dim[2] : 0;
}

/* ---- one batch ---- */

/* Sample `row` of an output whose samples have n elements, those of axis 1 in one piece for each of axis 0. */
static int load_row(struct side *s, bool reference, const struct mc_array *a, int axis, int64_t row,
                    int64_t n, int64_t sample, struct mc_err *err)
{
    int64_t pieces = axis == 1 ? a->shape.dim[0] : 1, piece = pieces ? n / pieces : 0;
    int64_t apart = axis == 1 ? piece * a->shape.dim[1] : n;
    if (n > s->row_cap) {
        double *p = mc_realloc(s->row, (size_t)n, sizeof *p);
        if (!p)
            return mc_fail(err, MC_ENOMEM, "out of memory");
        s->row = p;
        s->row_cap = n;
    }
    int rc = 0;
    for (int64_t i = 0; i < pieces && !rc; i++) {
        size_t at = 0;
        if (!mc_dtype_bytes(a->dtype, i * apart + row * piece, &at))
            return mc_fail(err, MC_EDTYPE, "output '%s' of type %s cannot be measured", a->name,
                           mc_dtype_name(a->dtype));
        rc = mc_dtype_to_f64(a->dtype, (const char *)a->data + at, s->row + i * piece,
                             (size_t)piece, err);
    }
    for (int64_t i = 0; i < n && !rc; i++)
        if (isnan(s->row[i]))
            rc = mc_fail(err, MC_EDATA, "output '%s'%s is NaN at element %lld of sample %lld",
                         a->name, reference ? " of the reference" : "", (long long)i,
                         (long long)sample);
    return rc;
}

static int check_label(const struct measuring *m, int64_t label, int64_t sample, struct mc_err *err)
{
    if (label >= 0 && label < m->classes)
        return 0;
    return mc_fail(err, MC_EDATA,
                   "'%s': sample %lld has label %lld, but the model has %lld classes",
                   m->feed.data->spec, (long long)sample, (long long)label, (long long)m->classes);
}

/* The rows of one sample of the output that counts are loaded. */
static int add_counting(struct measuring *m, int64_t n, const int64_t *label, int64_t sample,
                        struct mc_err *err)
{
    int64_t got[SIDES] = {0, 0};
    if (m->classes && label) {
        int rc = check_label(m, *label, sample, err);
        if (rc)
            return rc;
    }
    for (int i = 0; i < m->n_sides && m->classes; i++) {
        struct side *s = &m->side[i];
        got[i] = mc_score_class(s->kind, s->row, n);
        if (label)
            mc_label_add(&s->labels, s->kind, s->row, n, *label);
    }
    m->samples++;
    if (m->n_sides < 2)
        return 0;
    struct mc_pair_sums pair = {0};
    mc_pair_add(&pair, m->side[REFERENCE].row, m->side[MODEL].row, n);
    double cosine = mc_pair_cosine(&pair);
    m->cosine += cosine;
    m->cosine_loss_squares += (1 - cosine) * (1 - cosine);
    m->same += got[MODEL] == got[REFERENCE];
    bool was = label ? got[REFERENCE] == *label : true;
    bool is = label ? got[MODEL] == *label : got[MODEL] == got[REFERENCE];
    m->plus += was && !is;
    m->minus += !was && is;
    return 0;
}

/* The same where labels are sequences. */
static void add_sequence(struct measuring *m, int64_t n, const int64_t *label)
{
    int64_t length = 0;
    for (int i = 0; i < m->n_sides; i++)
        m->side[i].errors +=
            mc_label_errors(m->side[i].row, n / m->letters, m->letters, m->opts->blank, label,
                            m->feed.data->sequence, m->edits, &length);
    m->n_labels += length;
}

static int add_output(struct measuring *m, int output, int64_t ran, const struct mc_batch *batch,
                      struct mc_err *err)
{
    const struct mc_array *a[SIDES] = {0};
    int axis;
    for (int i = 0; i < m->n_sides; i++)
        a[i] = mc_session_output(m->side[i].session, output);
    int64_t n = row_of(m, a[MODEL], ran, &axis);
    char text[MC_SHAPE_TEXT], other[MC_SHAPE_TEXT];
    if (m->n_sides > 1 && !mc_shape_equal(&a[0]->shape, &a[1]->shape))
        return mc_fail(err, MC_ESHAPE, "output '%s' has shape %s, but %s in the reference",
                       a[0]->name, mc_shape_text(&a[0]->shape, text),
                       mc_shape_text(&a[1]->shape, other));
    if (output == m->counting && axis == NO_BATCH)
        return mc_fail(err, MC_ESHAPE,
                       "output '%s' of shape %s has no row for each of %lld samples; name another "
                       "with --output",
                       a[0]->name, mc_shape_text(&a[0]->shape, text), (long long)ran);
    int64_t rows = axis == NO_BATCH ? 1 : batch->n;
    for (int64_t r = 0; r < rows; r++) {
        for (int i = 0; i < m->n_sides; i++) {
            int rc = load_row(&m->side[i], i == REFERENCE, a[i], axis, r, n, batch->index[r], err);
            if (rc)
                return rc;
        }
        if (m->n_sides > 1)
            mc_pair_add(&m->pairs[output], m->side[REFERENCE].row, m->side[MODEL].row, n);
        if (output == m->counting && m->letters)
            add_sequence(m, n, batch->sequences + r * m->feed.data->sequence);
        if (output == m->counting) {
            int rc =
                add_counting(m, n, batch->labels ? &batch->labels[r] : NULL, batch->index[r], err);
            if (rc)
                return rc;
        }
    }
    return 0;
}

static int add_batch(void *ctx, const struct mc_batch *batch, struct mc_err *err)
{
    struct measuring *m = ctx;
    int64_t ran = mc_pump_ran(&m->feed, batch->n);
    if (m->samples == 0)
        choose_output(m, ran);
    else if (count_classes(m, mc_session_output(m->sessions[MODEL], m->counting), ran) !=
             m->classes)
        m->classes = 0; /* scores of what differs from sample to sample are no classes */
    m->letters = batch->sequences ? step_scores(m) : 0;
    for (int i = 0; i < m->n_outputs; i++) {
        int rc = add_output(m, i, ran, batch, err);
        if (rc)
            return rc;
    }
    if (!m->opts->look)
        return 0;
    mc_pump_outputs(m->sessions[MODEL], ran, batch->n, m->view, m->values, (size_t)m->n_outputs);
    return m->opts->look(m->opts->look_ctx, m->values, batch->index[0], batch, err);
}

/* ---- the whole ---- */

static void agreement(const struct measuring *m, struct mc_agreement *ret)
{
    struct mc_pair_sums all = {0};
    double n = (double)m->samples;
    *ret = (struct mc_agreement){.samples = m->samples,
                                 .top1 = m->classes ? (double)m->same / n : -1,
                                 .cosine = m->cosine / n};
    for (int i = 0; i < m->n_outputs; i++) {
        const struct mc_pair_sums *p = &m->pairs[i];
        mc_pair_merge(&all, p);
        double rel = p->max_diff == 0 ? 0 : p->max_diff / p->max_a;
        ret->max_rel = fmax(ret->max_rel, isnan(rel) ? INFINITY : rel);
    }
    ret->max_abs = all.max_diff;
    ret->sqnr_db = mc_pair_sqnr_db(&all);
}

static void sequence_result(const struct measuring *m, const struct side *s, struct mc_metrics *ret)
{
    ret->sequences = m->n_labels > 0;
    ret->label_error_rate = m->n_labels ? (double)s->errors / (double)m->n_labels : 0;
}

static void result(const struct measuring *m, struct mc_measure *ret)
{
    const struct side *model = &m->side[MODEL], *ref = &m->side[REFERENCE];
    sequence_result(m, model, &ret->model);
    ret->model.samples = m->samples;
    ret->model.classes = m->classes;
    if (model->labels.samples && m->classes)
        mc_label_result(&model->labels, m->classes, &ret->model);
    if (m->n_sides < 2)
        return;
    sequence_result(m, ref, &ret->reference);
    ret->reference.samples = m->samples;
    ret->reference.classes = m->classes;
    if (ref->labels.samples && m->classes)
        mc_label_result(&ref->labels, m->classes, &ret->reference);
    agreement(m, &ret->agreement);
    ret->drop = m->classes ? mc_interval_paired(m->samples, m->plus, m->minus)
                           : mc_interval_mean(m->samples, (double)m->samples - m->cosine,
                                              m->cosine_loss_squares);
}

int mc_measure(const struct mc_graph *model, const struct mc_graph *reference,
               struct mc_dataset *data, const struct mc_measure_opts *opts, struct mc_measure *ret,
               struct mc_err *err)
{
    struct mc_session_opts so = {.pool = opts->run.pool, .kernels = opts->run.kernels};
    struct measuring m = {.opts = opts, .n_sides = reference ? 2 : 1};
    struct mc_measure r = {0};
    double start = mc_now();
    int rc = 0;
    m.side[MODEL].g = model;
    m.side[REFERENCE].g = reference;
    for (int i = 0; i < m.n_sides && !rc; i++) {
        rc = mc_session_new(m.side[i].g, &so, &m.sessions[i], err);
        m.side[i].session = m.sessions[i];
    }
    m.feed = (struct mc_pump){
        .sessions = m.sessions, .n_sessions = m.n_sides, .data = data, .opts = &opts->run};
    if (!rc)
        rc = find_output(&m, opts->output, err);
    if (!rc) {
        m.pairs = mc_calloc((size_t)m.n_outputs, sizeof *m.pairs);
        m.view = mc_calloc((size_t)m.n_outputs, sizeof *m.view);
        m.values = mc_calloc((size_t)m.n_outputs, sizeof *m.values);
        m.edits = mc_calloc((size_t)data->sequence + 1, sizeof *m.edits);
        if (!m.pairs || !m.view || !m.values || !m.edits)
            rc = mc_fail(err, MC_ENOMEM, "out of memory");
    }
    if (!rc)
        rc = mc_pump_run(&m.feed, add_batch, &m, NULL, err);
    if (!rc) {
        struct mc_session_stats stats;
        mc_session_stats(m.sessions[MODEL], &stats);
        r.fallback_nodes = stats.fallback_nodes;
        result(&m, &r);
        r.seconds = mc_now() - start;
        *ret = r;
    }
    for (int i = 0; i < m.n_sides; i++) {
        mc_session_free(m.sessions[i]);
        free(m.side[i].row);
    }
    free(m.pairs);
    free(m.view);
    free(m.values);
    free(m.edits);
    return rc;
}
