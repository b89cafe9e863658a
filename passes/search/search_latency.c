#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/interrupt.h"
#include "base/io.h"
#include "graph/run/session.h"
#include "passes/search/search_slice.h"
#include "passes/search/search_state.h"

/* Runs: as many as take this long, at least and at most so many; the median of short ones is steady to a percent. */
static const double SECONDS = 0.05;
enum { RUNS_MIN = 7, RUNS_MAX = 400 };

static int by_value(const void *x, const void *y)
{
    double a = *(const double *)x, b = *(const double *)y;
    return (a > b) - (a < b);
}

static int time_runs(struct mc_session *s, const struct mc_array *in, int n, double *ret,
                     struct mc_err *err)
{
    double taken[RUNS_MAX], begin = mc_now();
    int runs = 0, rc = mc_session_run(s, in, n, err); /* plans, warms up */
    while (!rc && runs < RUNS_MAX && (runs < RUNS_MIN || mc_now() - begin < SECONDS)) {
        double t = mc_now();
        rc = mc_session_run(s, in, n, err);
        taken[runs++] = mc_now() - t;
        if (!rc)
            rc = mc_interrupt_check(err);
    }
    if (rc)
        return rc;
    qsort(taken, (size_t)runs, sizeof *taken, by_value);
    *ret = taken[runs / 2];
    return 0;
}

/* The sample as the model takes it: without a batch axis, or as often as its batch is frozen. */
static int feed(struct mc_session *s, struct mc_dataset *data, double *ret, struct mc_err *err)
{
    int64_t frozen = 1;
    for (int i = 0; !data->whole && i < mc_session_n_inputs(s); i++) {
        const struct mc_array *in = mc_session_input(s, i);
        if (in->shape.rank > 0 && in->shape.dim[0] > frozen)
            frozen = in->shape.dim[0];
    }
    int64_t *index = mc_calloc((size_t)frozen, sizeof *index);
    struct mc_batch *b = NULL;
    int rc = index ? mc_dataset_read(data, index, frozen, &b, err)
                   : mc_fail(err, MC_ENOMEM, "out of memory");
    for (int i = 0; !rc && data->whole && i < b->n_arrays; i++)
        b->arrays[i].shape = mc_shape_of(b->arrays[i].shape.rank - 1, b->arrays[i].shape.dim + 1);
    if (!rc)
        rc = time_runs(s, b->arrays, b->n_arrays, ret, err);
    *ret /= (double)frozen;
    mc_batch_free(b);
    free(index);
    return rc;
}

/* Without samples zeros do: how long a run takes hardly depends on its numbers. */
static int feed_zeros(struct mc_session *s, double *ret, struct mc_err *err)
{
    int n = mc_session_n_inputs(s), rc = 0;
    struct mc_array *in = mc_calloc((size_t)n + 1, sizeof *in);
    if (!in)
        return mc_fail(err, MC_ENOMEM, "out of memory");
    for (int i = 0; !rc && i < n; i++) {
        in[i] = *mc_session_input(s, i);
        for (int k = 0; k < in[i].shape.rank; k++)
            in[i].shape.dim[k] = in[i].shape.dim[k] < 0 ? 1 : in[i].shape.dim[k];
        if (in[i].shape.rank < 0 || mc_array_is_list(&in[i]))
            rc = mc_fail(err, MC_EUSAGE,
                         "--target latency= needs samples for '%s': pass --calib or --train",
                         in[i].name);
        else if (!mc_dtype_bytes(in[i].dtype, mc_shape_count(&in[i].shape), &in[i].bytes) ||
                 !(in[i].data = mc_alloc_aligned(in[i].bytes)))
            rc = mc_fail(err, MC_ENOMEM, "out of memory");
        if (!rc)
            memset(in[i].data, 0, in[i].bytes);
    }
    if (!rc)
        rc = time_runs(s, in, n, ret, err);
    for (int i = 0; i < n; i++)
        free(in[i].data);
    free(in);
    return rc;
}

int mc_search_latency(const struct mc_pass_ctx *ctx, const struct mc_model *m, double *ret,
                      struct mc_err *err)
{
    struct mc_session_opts so = {.pool = NULL}; /* one thread, as reports have it */
    struct mc_session *s = NULL;
    struct mc_dataset *one = NULL;
    *ret = 0;
    int rc = mc_slice_open(ctx, 1, &one, err);
    if (!rc)
        rc = mc_session_new(m->graph, &so, &s, err);
    if (!rc)
        rc = one ? feed(s, one, ret, err) : feed_zeros(s, ret, err);
    mc_session_free(s);
    mc_dataset_free(one);
    return rc;
}
