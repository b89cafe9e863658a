#include "cli/eval_sets.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/interrupt.h"
#include "base/json.h"
#include "base/mem.h"
#include "cli/deliver.h"
#include "cli/machine.h"
#include "cli/surveyed.h"
#include "formats/testset.h"
#include "graph/run/expect.h"
#include "graph/run/session.h"

struct sets {
    const struct mc_cli *cli;
    const struct mc_cli_model *model;
    struct mc_testsets dirs;
    struct mc_testset_slot *in, *out;
    int n_in, n_out;
    struct mc_session *session;
    struct mc_tolerance tolerance;
    struct mc_npz_gather *saved; /* NULL: outputs are not kept */
    json_t *rows;                /* of the report */
    bool json_ok;
    int compared, different; /* outputs */
    struct mc_err first;     /* difference */
};

static int no_memory(struct mc_err *err)
{
    return mc_fail(err, MC_ENOMEM, "out of memory");
}

static int open_all(struct sets *s, const char *dir, struct mc_err *err)
{
    const struct mc_graph *g = s->model->model->graph;
    struct mc_session_opts so = {.pool = s->cli->pool, .flags = MC_SESSION_LISTS};
    int rc = mc_testset_slots(g, false, &s->in, &s->n_in, err);
    if (!rc)
        rc = mc_testset_slots(g, true, &s->out, &s->n_out, err);
    if (!rc)
        rc = mc_testsets_open(dir, &s->dirs, err);
    if (!rc)
        rc = mc_machine_start(s->cli, err);
    if (!rc)
        rc = mc_session_new(g, &so, &s->session, err);
    return rc ? rc : mc_cli_save_outputs(s->cli, &s->saved, err);
}

/* ---- one output ---- */

/* JSON has no word for these. */
static json_t *number(double v)
{
    if (isfinite(v))
        return json_real(v);
    return json_string(isnan(v) ? "nan" : v > 0 ? "inf" : "-inf");
}

static json_t *position(const struct mc_shape *shape, int64_t at, bool *ok)
{
    json_t *list = json_array();
    int64_t span = mc_shape_count(shape);
    for (int i = 0; i < shape->rank; i++) {
        span /= shape->dim[i];
        mc_json_add(list, json_integer(at / span), ok);
        at %= span;
    }
    return list;
}

static void put_compared(struct sets *s, json_t *row, const struct mc_expected *e)
{
    const struct mc_array *want = e->want_item;
    static const char *const verdicts[] = {"agrees", "differs", "shape", "type"};
    bool *ok = &s->json_ok;
    mc_json_put(row, "verdict", json_string(verdicts[e->verdict]), ok);
    if (e->item[0])
        mc_json_put(row, "item", json_string(e->item), ok);
    if (e->verdict == MC_EXPECT_SHAPE)
        mc_json_put(row, "expected_shape", mc_cli_shape(&want->shape, ok), ok);
    if (e->verdict == MC_EXPECT_DTYPE)
        mc_json_put(row, "expected_type", json_string(mc_cli_type_name(want->dtype)), ok);
    if (e->verdict == MC_EXPECT_SHAPE || e->verdict == MC_EXPECT_DTYPE)
        return;
    mc_json_put(row, "outside", json_integer(e->outside), ok);
    mc_json_put(row, "max_abs", json_real(e->max_abs), ok);
    mc_json_put(row, "max_rel", json_real(e->max_rel), ok);
    if (!e->outside)
        return;
    mc_json_put(row, "first", position(&want->shape, e->first, ok), ok);
    mc_json_put(row, "got", number(e->got), ok);
    mc_json_put(row, "expected", number(e->want), ok);
}

/* The message for the first output that differs. */
static void note_difference(struct sets *s, const char *set, const char *name,
                            const struct mc_expected *e)
{
    char a[MC_ARRAY_TEXT], b[MC_ARRAY_TEXT];
    const struct mc_array *got = e->got_item, *want = e->want_item;
    bool lists = mc_array_is_list(got) || mc_array_is_list(want);
    if (s->different++)
        return;
    if (e->verdict == MC_EXPECT_VALUES)
        mc_fail(&s->first, MC_EFAIL,
                "output '%s'%s of %s: %lld of %lld values are outside the tolerance, the first is "
                "%.9g where %.9g is expected",
                name, e->item, set, (long long)e->outside, (long long)e->elements, e->got, e->want);
    else if (lists)
        mc_fail(&s->first, MC_EFAIL, "output '%s'%s of %s is %s, %s is expected", name, e->item,
                set, mc_array_text(got, a), mc_array_text(want, b));
    else if (e->verdict == MC_EXPECT_SHAPE)
        mc_fail(&s->first, MC_EFAIL, "output '%s'%s of %s has shape %s, %s is expected", name,
                e->item, set, mc_shape_text(&got->shape, a), mc_shape_text(&want->shape, b));
    else
        mc_fail(&s->first, MC_EFAIL, "output '%s'%s of %s is %s, %s is expected", name, e->item,
                set, mc_dtype_name(got->dtype), mc_dtype_name(want->dtype));
}

static int add_output(struct sets *s, json_t *rows, const char *set, int i,
                      const struct mc_testset *expected, struct mc_err *err)
{
    const struct mc_array *got = mc_session_output(s->session, i), *want = NULL;
    struct mc_survey survey = {0};
    int rc = mc_survey_add(&survey, got, err);
    if (rc)
        return rc;
    for (int k = 0; k < expected->n; k++)
        if (expected->slot[k] == i)
            want = &expected->array[k];
    json_t *row = mc_cli_survey(got->name, &survey, &s->json_ok);
    if (want) {
        struct mc_expected e;
        rc = mc_expect(got, want, &s->tolerance, &e, err);
        if (!rc) {
            s->compared++;
            put_compared(s, row, &e);
            if (e.verdict != MC_EXPECT_AGREES)
                note_difference(s, set, want->name, &e);
        }
    }
    mc_json_add(rows, row, &s->json_ok);
    return rc;
}

static int run_set(struct sets *s, size_t number, struct mc_err *err)
{
    const struct mc_testset_dir *d = &s->dirs.set[number];
    struct mc_testset in = {0}, out = {0};
    int rc = mc_interrupt_check(err);
    if (!rc)
        rc = mc_testset_inputs(d, s->in, s->n_in, &in, err);
    if (!rc)
        rc = mc_testset_outputs(d, s->out, s->n_out, &out, err);
    if (!rc)
        rc = mc_session_run(s->session, in.array, in.n, err);
    json_t *rows = json_array();
    for (int i = 0; !rc && i < s->n_out; i++) {
        rc = add_output(s, rows, d->name, i, &out, err);
        const struct mc_array *got = mc_session_output(s->session, i);
        if (!rc && s->saved && mc_array_is_list(got))
            rc = mc_fail(err, MC_EUNSUP,
                         "output '%s' is a sequence or an optional, which --save-outputs cannot "
                         "write",
                         got->name);
        if (!rc && s->saved)
            rc = mc_npz_gather_add(s->saved, got->name, got, &(int64_t){(int64_t)number}, 1, false,
                                   err);
    }
    json_t *o = json_object();
    mc_json_put(o, "set", mc_json_text(d->name), &s->json_ok);
    mc_json_put(o, "outputs", rows, &s->json_ok);
    mc_json_add(s->rows, o, &s->json_ok);
    mc_testset_free(&in);
    mc_testset_free(&out);
    return rc;
}

/* ---- the whole ---- */

static int describe(struct sets *s, const char *dir, json_t **ret, struct mc_err *err)
{
    json_t *input;
    int rc = mc_cli_describe(s->model, &input, err);
    if (rc)
        return rc;
    bool ok = s->json_ok;
    json_t *r = json_object();
    mc_json_put(r, "mcompress", json_string(MC_VERSION), &ok);
    mc_json_put(r, "command", json_string("eval"), &ok);
    mc_json_put(r, "input", input, &ok);
    mc_json_put(r, "data", mc_json_text(dir), &ok);
    mc_json_put(r, "sets", json_incref(s->rows), &ok);
    mc_json_put(r, "compared", json_integer(s->compared), &ok);
    mc_json_put(r, "different", json_integer(s->different), &ok);
    mc_json_put(r, "rtol", json_real(s->tolerance.rtol), &ok);
    mc_json_put(r, "atol", json_real(s->tolerance.atol), &ok);
    struct mc_session_stats stats;
    mc_session_stats(s->session, &stats);
    mc_json_put(r, "fallback_nodes", mc_json_size(stats.fallback_nodes), &ok);
    mc_cli_put_cost(s->cli, r, &ok);
    if (!ok) {
        json_decref(r);
        return no_memory(err);
    }
    *ret = r;
    return 0;
}

int mc_cli_eval_sets(const struct mc_cli *cli, const struct mc_cli_model *model, const char *dir,
                     struct mc_err *err)
{
    struct sets s = {.cli = cli, .model = model, .rows = json_array(), .json_ok = true};
    json_t *result = NULL;
    s.tolerance.rtol = mc_param_real(cli->values, "rtol", 0);
    s.tolerance.atol = mc_param_real(cli->values, "atol", 0);
    int rc = s.rows ? open_all(&s, dir, err) : no_memory(err);
    long long most = mc_param_int(cli->values, "samples", -1);
    for (size_t i = 0; !rc && i < s.dirs.n && (most < 0 || (long long)i < most); i++)
        rc = run_set(&s, i, err);
    if (!rc && s.saved) {
        rc = mc_npz_gather_commit(s.saved, err);
        s.saved = NULL;
    }
    if (!rc)
        rc = describe(&s, dir, &result, err);
    if (!rc)
        rc = mc_cli_deliver(cli, result, false, err);
    if (!rc && s.different)
        rc = mc_fail(err, MC_EFAIL, "%s", s.first.msg);
    json_decref(result);
    json_decref(s.rows);
    mc_npz_gather_abort(s.saved);
    mc_session_free(s.session);
    mc_testsets_close(&s.dirs);
    free(s.in);
    free(s.out);
    return rc;
}
