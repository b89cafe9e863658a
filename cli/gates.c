#include "cli/gates.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/text.h"

/* ---- what --require can name ---- */

static double top1(const struct mc_measure *m)
{
    return m->model.top1;
}
static double top5(const struct mc_measure *m)
{
    return m->model.top5 >= 0 ? m->model.top5 : NAN;
}
static double loss(const struct mc_measure *m)
{
    return m->model.loss;
}
static double label_error_rate(const struct mc_measure *m)
{
    return m->model.sequences ? m->model.label_error_rate : NAN;
}
static double agreement(const struct mc_measure *m)
{
    return m->agreement.top1 >= 0 ? m->agreement.top1 : NAN;
}
static double cosine(const struct mc_measure *m)
{
    return m->agreement.cosine;
}
static double sqnr_db(const struct mc_measure *m)
{
    return m->agreement.sqnr_db;
}
static double max_abs(const struct mc_measure *m)
{
    return m->agreement.max_abs;
}

static const struct metric {
    const char *name;
    double (*value)(const struct mc_measure *m);
    bool labels, sequences, reference; /* what it needs */
} metrics[] = {
    {"top1", top1, true, false, false},
    {"top5", top5, true, false, false},
    {"loss", loss, true, false, false},
    {"agreement", agreement, false, false, true},
    {"cosine", cosine, false, false, true},
    {"sqnr_db", sqnr_db, false, false, true},
    {"label_error_rate", label_error_rate, false, true, false},
    {"max_abs", max_abs, false, false, true},
};
enum { N_METRICS = sizeof metrics / sizeof *metrics };

struct test {
    const struct metric *metric;
    bool at_least, strict;
    double limit;
};

/* "top1>=0.88": a name, one of >= <= > <, a number that may end in %. */
static int parse_test(const char *text, struct test *ret, struct mc_err *err)
{
    size_t n = strcspn(text, "<>= ");
    const char *op = text + n + strspn(text + n, " ");
    const struct metric *m = NULL;
    for (size_t i = 0; i < N_METRICS && !m; i++)
        if (strlen(metrics[i].name) == n && !memcmp(metrics[i].name, text, n))
            m = &metrics[i];
    const char *digits = op + (*op == '<' || *op == '>');
    bool equal = *digits == '=';
    char *end;
    digits += equal;
    double limit = strtod(digits, &end);
    bool number = end != digits && isfinite(limit);
    if (number && *end == '%') {
        limit /= 100;
        end++;
    }
    end += strspn(end, " ");
    if (!m || (*op != '<' && *op != '>') || !number || *end)
        return mc_fail(err, MC_EUSAGE,
                       "--require '%s' is no test; write NAME>=NUMBER or "
                       "NAME<=NUMBER, NAME one of top1, top5, loss, label_error_rate, agreement, "
                       "cosine, sqnr_db, "
                       "max_abs",
                       text);
    *ret = (struct test){m, *op == '>', !equal, limit};
    return 0;
}

static bool holds(const struct test *t, double value)
{
    if (t->at_least)
        return t->strict ? value > t->limit : value >= t->limit;
    return t->strict ? value < t->limit : value <= t->limit;
}

/* ---- before the work ---- */

bool mc_gates_given(const struct mc_cli *cli)
{
    return mc_param_has(cli->values, "max-drop") || mc_param_has(cli->values, "min-sqnr") ||
           mc_param_has(cli->values, "require");
}

int mc_gates_check(const struct mc_cli *cli, bool has_reference, bool has_labels,
                   bool has_sequences, struct mc_err *err)
{
    static const char *const compared[] = {"max-drop", "min-sqnr"};
    for (size_t i = 0; i < 2 && !has_reference; i++)
        if (mc_param_has(cli->values, compared[i]))
            return mc_fail(err, MC_EUSAGE,
                           "--%s compares with a reference; give one after the "
                           "model",
                           compared[i]);
    size_t i;
    const json_t *v;
    json_array_foreach(json_object_get(cli->values, "require"), i, v)
    {
        struct test t;
        const char *text = json_string_value(v);
        int rc = parse_test(text, &t, err);
        if (rc)
            return rc;
        if (t.metric->reference && !has_reference)
            return mc_fail(err, MC_EUSAGE,
                           "--require '%s' compares with a reference; give one "
                           "after the model",
                           text);
        if (t.metric->sequences && !has_sequences)
            return mc_fail(err, MC_EDATA,
                           "--require '%s' needs sequences of labels; --data '%s' has none", text,
                           mc_param_text(cli->values, "data"));
        if (t.metric->labels && !has_labels)
            return mc_fail(err, MC_EDATA, "--require '%s' needs class labels; --data '%s' has none",
                           text, mc_param_text(cli->values, "data"));
    }
    return 0;
}

/* ---- after it ---- */

struct verdict {
    json_t *rows;
    bool ok;
    int rc;
    struct mc_err *err;
};

static void judge(struct verdict *v, const char *name, double limit, double value, bool passed,
                  const char *message)
{
    json_t *o = json_object();
    mc_json_put(o, "name", mc_json_text(name), &v->ok);
    mc_json_put(o, "limit", mc_json_real(limit), &v->ok);
    mc_json_put(o, "value", mc_json_real(value), &v->ok);
    mc_json_put(o, "passed", json_boolean(passed), &v->ok);
    mc_json_put(o, "message", mc_json_text(message), &v->ok);
    mc_json_add(v->rows, o, &v->ok);
    if (!passed && !v->rc)
        v->rc = mc_fail(v->err, MC_EGATE, "gate %s %s", name, message);
}

static void judge_drop(struct verdict *v, double limit, const struct mc_measure *m)
{
    const char *of = m->model.labelled ? "drop of top-1" : "share of changed decisions";
    double value = m->drop.value, high = m->drop.high;
    int64_t n = m->model.samples;
    char text[256], more[MC_TEXT];
    bool passed = high <= limit;
    if (passed)
        snprintf(text, sizeof text, "met: %s %.2f points, at most %.2f (95 %%), limit %.2f", of,
                 100 * value, 100 * high, 100 * limit);
    else if (!(value < limit))
        snprintf(text, sizeof text, "missed: %s %.2f points, limit %.2f", of, 100 * value,
                 100 * limit);
    else {
        /* The interval's half width falls with the square root of the number of samples. */
        double needed = (double)n * pow((high - value) / (limit - value), 2) - (double)n;
        snprintf(text, sizeof text,
                 "missed: %s %.2f points is within the limit of %.2f, but its 95 %% interval on %s",
                 of, 100 * value, 100 * limit, mc_text_group(n, more));
        size_t used = strlen(text);
        snprintf(text + used, sizeof text - used,
                 " samples reaches %.2f; about %s more would settle it", 100 * high,
                 mc_text_group(needed < 9e15 ? (int64_t)ceil(needed) : INT64_MAX, more));
    }
    judge(v, "max-drop", limit, value, passed, text);
}

static void judge_sqnr(struct verdict *v, double limit, const struct mc_measure *m)
{
    double value = m->agreement.sqnr_db;
    bool passed = value >= limit;
    char text[128];
    snprintf(text, sizeof text, "%s: SQNR %.2f dB, at least %.2f wanted", passed ? "met" : "missed",
             value, limit);
    judge(v, "min-sqnr", limit, value, passed, text);
}

static void judge_require(struct verdict *v, const char *source, const struct mc_measure *m)
{
    struct test t;
    char text[128], name[80];
    if (parse_test(source, &t, NULL))
        return; /* checked before the work began */
    double value = t.metric->value(m);
    bool passed = holds(&t, value);
    snprintf(name, sizeof name, "require '%s'", source);
    snprintf(text, sizeof text, "%s: %s is %.6g", passed ? "met" : "missed", t.metric->name, value);
    judge(v, name, t.limit, value, passed, text);
}

int mc_gates_judge(const struct mc_cli *cli, const struct mc_measure *m, json_t **ret_rows,
                   struct mc_err *err)
{
    bool drop = mc_param_has(cli->values, "max-drop");
    if (drop && !m->model.labelled && m->agreement.top1 < 0)
        return mc_fail(err, MC_EDATA,
                       "--max-drop needs labels or an output of class scores, and "
                       "there are neither; use --min-sqnr");
    struct verdict v = {json_array(), true, 0, err};
    if (drop)
        judge_drop(&v, mc_param_real(cli->values, "max-drop", 0), m);
    if (mc_param_has(cli->values, "min-sqnr"))
        judge_sqnr(&v, mc_param_real(cli->values, "min-sqnr", 0), m);
    size_t i;
    const json_t *text;
    json_array_foreach(json_object_get(cli->values, "require"), i, text)
        judge_require(&v, json_string_value(text), m);
    if (!v.ok || !v.rows) {
        json_decref(v.rows);
        return mc_fail(err, MC_ENOMEM, "out of memory");
    }
    *ret_rows = v.rows;
    return v.rc;
}
