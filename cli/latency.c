#include "cli/latency.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/interrupt.h"
#include "base/io.h"
#include "base/json.h"
#include "base/mem.h"
#include "cli/bench_inputs.h"
#include "graph/run/device.h"
#include "graph/run/session.h"

enum { PAIRS = 101, FEW = 3, MOST_RUNS = 100 };
/* One time is that of so many runs that the clock's steps and an interrupt do not matter (single runs of 6 µs scattered by a
 * third). */
static const double LONG_ENOUGH = 2e-4;
/* Seconds of all pairs: a third of what the command took so far, so that quick ones stay quick, but from so few to so
 * many; of one pair from which it is the only. */
static const double AT_LEAST = 0.02, ENOUGH = 0.5, PATIENCE = 5;
/* Without --data a model of this size is not put into memory twice to be timed. */
static const double LARGE = 512e6;

struct pair {
    struct mc_pool *pool; /* one thread, and the GPU of the invocation */
    struct mc_session *before, *after;
    struct mc_batch *batch;
    struct mc_bench_inputs made;
    struct mc_array *arrays;
    int n_arrays, pairs, runs; /* runs: of each model, timed, for one time */
    double budget;             /* seconds */
    double a[PAIRS], b[PAIRS], ratio[PAIRS];
};

static int ascending(const void *x, const void *y)
{
    double a = *(const double *)x, b = *(const double *)y;
    return (a > b) - (a < b);
}

double mc_latency_quantile(const double *sorted, int n, double q)
{
    double at = q * (n - 1);
    int i = (int)at;
    return i + 1 < n ? sorted[i] + (at - i) * (sorted[i + 1] - sorted[i]) : sorted[n - 1];
}

/* The k-th smallest and k-th largest hold the median with a chance of 1 - 2 P(Binomial(n, 1/2) < k). */
void mc_latency_ranks(int n, int *ret_low, int *ret_high)
{
    double p = pow(0.5, n), below = 0; /* P(= k), P(< k) */
    int k = 0;
    while (k < n / 2 && below + p <= 0.025) {
        below += p;
        p *= (double)(n - k) / (k + 1);
        k++;
    }
    *ret_low = k > 0 ? k - 1 : 0;
    *ret_high = n - 1 - *ret_low;
}

/* ---- what is run ---- */

static int one_sample(struct pair *p, struct mc_dataset *d, struct mc_err *err)
{
    int rc = mc_dataset_range(d, 0, 1, &p->batch, err);
    if (rc)
        return rc;
    p->arrays = p->batch->arrays;
    p->n_arrays = p->batch->n_arrays;
    for (int i = 0; d->whole && i < p->n_arrays; i++) { /* a whole sample has no batch axis */
        struct mc_shape *s = &p->arrays[i].shape;
        memmove(s->dim, s->dim + 1, (size_t)--s->rank * sizeof *s->dim);
    }
    return 0;
}

static int prepare(struct pair *p, const struct mc_cli *cli, const struct mc_job *j,
                   struct mc_err *err)
{
    struct mc_dataset *d = j->data ? j->data : j->calib ? j->calib : j->train;
    int rc = mc_pool_new(1, &p->pool, err);
    if (!rc)
        mc_pool_set_gpu(p->pool, mc_pool_gpu(cli->pool));
    struct mc_session_opts serial = {.pool = p->pool};
    if (!rc)
        rc = mc_session_new(j->original.model->graph, &serial, &p->before, err);
    if (!rc)
        rc = mc_session_new(j->result->graph, &serial, &p->after, err);
    if (!rc && d)
        return one_sample(p, d, err);
    if (!rc && mc_bench_inputs_make(cli, p->after, &p->made, err))
        rc = mc_fail(err, MC_EDATA,
                     "the model does not say the shapes of its inputs; --data SPEC would");
    p->arrays = p->made.arrays;
    p->n_arrays = p->made.n;
    return rc;
}

static int timed(struct pair *p, struct mc_session *s, double *ret, struct mc_err *err)
{
    double start = mc_now();
    int rc = 0;
    for (int i = 0; i < p->runs && !rc; i++)
        rc = mc_session_run(s, p->arrays, p->n_arrays, err);
    *ret = (mc_now() - start) / p->runs;
    return rc;
}

static int time_pairs(struct pair *p, struct mc_err *err)
{
    double first[2], start = mc_now();
    int rc = 0;
    p->runs = 1;
    for (int i = 0; i < 2 && !rc; i++) { /* the first time they make their plans */
        rc = timed(p, p->before, &first[0], err);
        if (!rc)
            rc = timed(p, p->after, &first[1], err);
        if (mc_now() - start > PATIENCE)
            break;
    }
    bool slow = mc_now() - start > PATIENCE;
    if (!rc)
        p->runs = (int)fmin(fmax(LONG_ENOUGH / fmin(first[0], first[1]), 1), MOST_RUNS);
    start = mc_now();
    while (!rc && p->pairs < PAIRS) {
        int i = p->pairs;
        bool turned = i % 2;
        rc = mc_interrupt_check(err);
        if (!rc && turned)
            rc = timed(p, p->after, &p->b[i], err);
        if (!rc)
            rc = timed(p, p->before, &p->a[i], err);
        if (!rc && !turned)
            rc = timed(p, p->after, &p->b[i], err);
        if (rc)
            break;
        p->ratio[i] = p->a[i] / fmax(p->b[i], 1e-9);
        p->pairs++;
        if (p->pairs >= (slow ? 1 : FEW) && mc_now() - start > p->budget)
            break;
    }
    return rc;
}

/* ---- what is told ---- */

static json_t *times(double *t, int n, bool *ok)
{
    json_t *o = json_object();
    qsort(t, (size_t)n, sizeof *t, ascending);
    mc_json_put(o, "median_seconds", mc_json_real(mc_latency_quantile(t, n, 0.5)), ok);
    mc_json_put(o, "low", mc_json_real(mc_latency_quantile(t, n, 0.1)), ok);
    mc_json_put(o, "high", mc_json_real(mc_latency_quantile(t, n, 0.9)), ok);
    return o;
}

static json_t *speedup(double *ratio, int n, bool *ok)
{
    json_t *o = json_object();
    int low, high;
    qsort(ratio, (size_t)n, sizeof *ratio, ascending);
    mc_latency_ranks(n, &low, &high);
    mc_json_put(o, "median", mc_json_real(mc_latency_quantile(ratio, n, 0.5)), ok);
    mc_json_put(o, "low", mc_json_real(ratio[low]), ok);
    mc_json_put(o, "high", mc_json_real(ratio[high]), ok);
    return o;
}

static json_t *describe(struct pair *p)
{
    bool ok = true;
    json_t *o = json_object();
    mc_json_put(o, "batch", json_integer(1), &ok);
    mc_json_put(o, "threads", json_integer(1), &ok);
    mc_json_put(o, "device", json_string(mc_device_name(p->pool)), &ok);
    mc_json_put(o, "pairs", json_integer(p->pairs), &ok);
    mc_json_put(o, "runs", json_integer(p->pairs * p->runs), &ok);
    mc_json_put(o, "inputs", json_string(p->batch ? "data" : "random"), &ok);
    mc_json_put(o, "before", times(p->a, p->pairs, &ok), &ok);
    mc_json_put(o, "after", times(p->b, p->pairs, &ok), &ok);
    mc_json_put(o, "speedup", speedup(p->ratio, p->pairs, &ok), &ok);
    if (ok)
        return o;
    json_decref(o);
    return NULL;
}

/* Does anybody look at it? */
static bool wanted(const struct mc_cli *cli, const struct mc_job *j)
{
    bool shown = cli->json || !cli->quiet || mc_param_has(cli->values, "report");
    return shown && !j->dry_run && !mc_param_flag(cli->values, "no-latency");
}

int mc_cli_latency(const struct mc_cli *cli, const struct mc_job *j, json_t **ret,
                   char ret_why[MC_LATENCY_WHY], struct mc_err *err)
{
    *ret = NULL;
    *ret_why = 0;
    if (!wanted(cli, j))
        return 0;
    if (!j->data && mc_json_number(j->input, "bytes", 0) > LARGE) {
        snprintf(ret_why, MC_LATENCY_WHY,
                 "latency was not measured: so large a model is run with --data only");
        return 0;
    }
    struct pair *p = mc_calloc(1, sizeof *p);
    if (!p)
        return mc_fail(err, MC_ENOMEM, "out of memory");
    struct mc_err why;
    p->budget = fmin(fmax((mc_now() - cli->start) / 3, AT_LEAST), ENOUGH);
    int rc = prepare(p, cli, j, &why);
    if (!rc)
        rc = time_pairs(p, &why);
    if (!rc && !(*ret = describe(p)))
        rc = mc_fail(&why, MC_ENOMEM, "out of memory");
    mc_session_free(p->before);
    mc_session_free(p->after);
    mc_pool_free(p->pool);
    mc_batch_free(p->batch);
    mc_bench_inputs_clear(&p->made);
    free(p);
    if (rc == MC_EINTR)
        return mc_fail(err, rc, "%s", why.msg);
    if (rc)
        snprintf(ret_why, MC_LATENCY_WHY, "latency was not measured: %.400s", why.msg);
    return 0;
}
