#include <stdlib.h>
#include <string.h>

#include "base/io.h"
#include "base/json.h"
#include "base/text.h"
#include "base/mem.h"
#include "cli/bench_inputs.h"
#include "cli/command.h"
#include "cli/deliver.h"
#include "cli/machine.h"
#include "cli/models.h"
#include "graph/run/device.h"
#include "graph/run/profile.h"

enum { COSTLIEST = 5 };

struct bench {
    struct mc_cli_model model;
    struct mc_session *session;
    struct mc_profile *profile;
    struct mc_dataset *data;
    struct mc_batch *batch;      /* of --data */
    struct mc_bench_inputs made; /* without */
    struct mc_array *arrays;     /* of one of them */
    int n_arrays;
    struct mc_limits limits;
    struct mc_circulant_limits circulant; /* n 0: not asked for */
    uint64_t idle, peak;                  /* resident bytes before the model, and at most */
    int runs;
    double *seconds; /* [runs], then sorted */
};

/* Samples of --data; a whole sample has no batch axis. */
static int read_samples(struct bench *b, const struct mc_cli *cli, const char *spec,
                        struct mc_err *err)
{
    const char *steps = mc_cli_preprocess(cli, b->model.model, NULL);
    int64_t n = mc_param_int(cli->values, "batch", 1);
    int rc = mc_cli_samples(spec, b->model.model, steps, true, &b->data, err);
    if (!rc)
        rc = mc_dataset_range(b->data, 0, b->data->whole ? 1 : n, &b->batch, err);
    if (rc)
        return rc;
    b->arrays = b->batch->arrays;
    b->n_arrays = b->batch->n_arrays;
    for (int i = 0; b->data->whole && i < b->n_arrays; i++) {
        struct mc_shape *s = &b->arrays[i].shape;
        memmove(s->dim, s->dim + 1, (size_t)--s->rank * sizeof *s->dim);
    }
    return 0;
}

static int prepare(struct bench *b, const struct mc_cli *cli, struct mc_err *err)
{
    const char *spec = mc_param_text(cli->values, "data");
    int rc = mc_machine_start(cli, err);
    if (!rc)
        rc = mc_profile_new(&b->profile, err);
    b->idle = mc_peak_rss();
    if (!rc)
        rc = mc_cli_read(mc_cli_operand(cli, 0), &b->model, err);
    struct mc_session_opts o = {.pool = cli->pool, .profile = b->profile};
    if (!rc)
        rc = mc_session_new(b->model.model->graph, &o, &b->session, err);
    if (!rc && spec)
        return read_samples(b, cli, spec, err);
    if (!rc)
        rc = mc_bench_inputs_make(cli, b->session, &b->made, err);
    b->arrays = b->made.arrays;
    b->n_arrays = b->made.n;
    return rc;
}

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* One run more than is timed, the first; memory is judged before the limits are measured. */
static int time_runs(struct bench *b, const struct mc_cli *cli, struct mc_err *err)
{
    b->runs = (int)mc_param_int(cli->values, "runs", 1);
    b->seconds = mc_calloc((size_t)b->runs, sizeof *b->seconds);
    int rc = b->seconds ? 0 : mc_fail(err, MC_ENOMEM, "out of memory");
    if (!rc)
        rc = mc_session_run(b->session, b->arrays, b->n_arrays, err);
    mc_profile_clear(b->profile);
    for (int i = 0; i < b->runs && !rc; i++) {
        double start = mc_now();
        rc = mc_session_run(b->session, b->arrays, b->n_arrays, err);
        b->seconds[i] = mc_now() - start;
    }
    b->peak = mc_peak_rss();
    if (!rc)
        qsort(b->seconds, (size_t)b->runs, sizeof *b->seconds, ascending);
    if (!rc)
        rc = mc_limits_measure(&b->limits, err);
    if (!rc && mc_param_has(cli->values, "circulant"))
        rc = mc_circulant_limits_measure(mc_param_int(cli->values, "circulant", 0),
                                         mc_param_int(cli->values, "rows", 64), &b->circulant, err);
    return rc;
}

/* ---- the result ---- */

static double median(const struct bench *b)
{
    return (b->seconds[(b->runs - 1) / 2] + b->seconds[b->runs / 2]) / 2;
}

static json_t *shape_of(const struct mc_shape *s, bool *ok)
{
    json_t *a = json_array();
    for (int i = 0; i < s->rank; i++)
        mc_json_add(a, json_integer(s->dim[i]), ok);
    return a;
}

/* The operator, and those that its step does as well: "Conv + Add + Relu". */
static json_t *operators(const struct mc_profile_row *r)
{
    char text[256] = "";
    for (int i = -1; i < r->n_joined; i++) {
        const struct mc_node *node = i < 0 ? r->node : r->joined[i];
        mc_text_add(text, sizeof text, "%s%s", i < 0 ? "" : " + ", node->op_type);
    }
    return mc_json_text(text);
}

static json_t *node_row(const struct bench *b, const struct mc_profile_row *r, double all, bool *ok)
{
    double each = r->seconds / b->runs;
    json_t *o = json_object();
    mc_json_put(o, "name", mc_json_text(r->node->name), ok);
    mc_json_put(o, "op", operators(r), ok);
    mc_json_put(o, "shape", shape_of(&r->shape, ok), ok);
    mc_json_put(o, "seconds", mc_json_real(each), ok);
    mc_json_put(o, "share", mc_json_real(all > 0 ? r->seconds / all : 0), ok);
    mc_json_put(o, "macs", mc_json_real(r->macs), ok);
    mc_json_put(o, "gflops", each > 0 ? mc_json_real(2e-9 * r->macs / each) : json_null(), ok);
    mc_json_put(o, "gbytes", each > 0 ? mc_json_real(1e-9 * r->bytes / each) : json_null(), ok);
    return o;
}

static int costlier(const void *a, const void *b)
{
    const struct mc_profile_row *x = *(const struct mc_profile_row *const *)a;
    const struct mc_profile_row *y = *(const struct mc_profile_row *const *)b;
    return x->seconds != y->seconds ? (x->seconds < y->seconds ? 1 : -1) : x < y ? -1 : x > y;
}

static int put_nodes(const struct bench *b, json_t *r, bool *ok, struct mc_err *err)
{
    size_t n = mc_profile_count(b->profile);
    double all = 0;
    const struct mc_profile_row **rows = mc_calloc(n + 1, sizeof(void *));
    if (!rows)
        return mc_fail(err, MC_ENOMEM, "out of memory");
    json_t *nodes = json_array(), *top = json_array();
    for (size_t i = 0; i < n; i++)
        all += (rows[i] = mc_profile_row(b->profile, i))->seconds;
    for (size_t i = 0; i < n; i++)
        mc_json_add(nodes, node_row(b, rows[i], all, ok), ok);
    qsort(rows, n, sizeof *rows, costlier);
    for (size_t i = 0; i < n && i < COSTLIEST; i++)
        mc_json_add(top, node_row(b, rows[i], all, ok), ok);
    free(rows);
    mc_json_put(r, "nodes", nodes, ok);
    mc_json_put(r, "costliest", top, ok);
    return 0;
}

static uint64_t weight_bytes(const struct mc_graph *g)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < g->n_values; i++)
        sum += g->values[i]->tensor ? g->values[i]->tensor->bytes : 0;
    return sum;
}

static json_t *memory(const struct bench *b, bool *ok)
{
    struct mc_session_stats st;
    mc_session_stats(b->session, &st);
    uint64_t weights = weight_bytes(b->model.model->graph);
    json_t *o = json_object();
    mc_json_put(o, "plan_bytes", mc_json_size(st.arena_bytes), ok);
    mc_json_put(o, "weight_bytes", mc_json_size(weights), ok);
    mc_json_put(o, "packed_bytes", mc_json_size(st.packed_bytes), ok);
    mc_json_put(o, "idle_bytes", mc_json_size(b->idle), ok);
    mc_json_put(o, "peak_bytes", mc_json_size(b->peak), ok);
    return o;
}

static json_t *limits(const struct bench *b, bool *ok)
{
    json_t *o = json_object();
    mc_json_put(o, "gflops", mc_json_real(b->limits.gflops), ok);
    mc_json_put(o, "gbytes", mc_json_real(b->limits.gbytes), ok);
    mc_json_put(o, "blas", mc_json_text(b->limits.blas), ok);
    return o;
}

static json_t *circulant(const struct mc_circulant_limits *c, bool *ok)
{
    json_t *o = json_object(), *blocks = json_array();
    mc_json_put(o, "n", json_integer(c->n), ok);
    mc_json_put(o, "rows", json_integer(c->rows), ok);
    mc_json_put(o, "sgemm", mc_json_real(c->sgemm), ok);
    for (int i = 0; i < c->n_blocks; i++) {
        json_t *row = json_object();
        mc_json_put(row, "block", json_integer(c->blocks[i].block), ok);
        for (int w = 0; w < MC_CIRCULANT_WAYS; w++)
            mc_json_put(row, mc_circulant_ways[w], mc_json_real(c->blocks[i].seconds[w]), ok);
        mc_json_put(row, "taken", json_string(mc_circulant_ways[c->blocks[i].taken]), ok);
        mc_json_add(blocks, row, ok);
    }
    mc_json_put(o, "blocks", blocks, ok);
    return o;
}

static json_t *inputs(const struct bench *b, bool *ok)
{
    json_t *a = json_array();
    for (int i = 0; i < b->n_arrays; i++) {
        json_t *o = json_object();
        mc_json_put(o, "name", mc_json_text(b->arrays[i].name), ok);
        mc_json_put(o, "type", json_string(mc_dtype_name(b->arrays[i].dtype)), ok);
        mc_json_put(o, "shape", shape_of(&b->arrays[i].shape, ok), ok);
        mc_json_add(a, o, ok);
    }
    return a;
}

static int describe(const struct bench *b, const struct mc_cli *cli, json_t **ret,
                    struct mc_err *err)
{
    bool ok = true;
    json_t *input = NULL, *r = json_object();
    int rc = mc_cli_describe(&b->model, &input, err);
    *ret = r;
    if (rc)
        return rc;
    const struct mc_shape *first = b->n_arrays ? &b->arrays[0].shape : NULL;
    double samples = first && first->rank && first->dim[0] > 0 ? (double)first->dim[0] : 1;
    mc_json_put(r, "mcompress", json_string(MC_VERSION), &ok);
    mc_json_put(r, "command", json_string("bench"), &ok);
    mc_json_put(r, "input", input, &ok);
    mc_json_put(r, "inputs", inputs(b, &ok), &ok);
    mc_json_put(r, "runs", json_integer(b->runs), &ok);
    mc_json_put(r, "latency", mc_json_real(median(b)), &ok);
    mc_json_put(r, "fastest", mc_json_real(b->seconds[0]), &ok);
    mc_json_put(r, "throughput", mc_json_real(samples / median(b)), &ok);
    mc_json_put(r, "limits", limits(b, &ok), &ok);
    mc_json_put(r, "memory", memory(b, &ok), &ok);
    if (b->circulant.n)
        mc_json_put(r, "circulant", circulant(&b->circulant, &ok), &ok);
    rc = put_nodes(b, r, &ok, err);
    mc_session_note(b->session);
    mc_cli_put_cost(cli, r, &ok);
    return rc || ok ? rc : mc_fail(err, MC_ENOMEM, "out of memory");
}

int mc_cmd_bench(struct mc_cli *cli, struct mc_err *err)
{
    struct bench b = {0};
    json_t *result = NULL;
    const char *file = mc_cli_operand(cli, 0);
    int rc = mc_cli_check_reports(cli, &file, 1, err);
    if (!rc && mc_param_has(cli->values, "rows") && !mc_param_has(cli->values, "circulant"))
        rc = mc_fail(err, MC_EUSAGE, "--rows goes with --circulant N");
    if (!rc)
        rc = prepare(&b, cli, err);
    if (!rc)
        rc = time_runs(&b, cli, err);
    if (!rc)
        rc = describe(&b, cli, &result, err);
    if (!rc)
        rc = mc_cli_deliver(cli, result, false, err);
    json_decref(result);
    free(b.seconds);
    mc_session_free(b.session);
    mc_profile_free(b.profile);
    mc_bench_inputs_clear(&b.made);
    mc_batch_free(b.batch);
    mc_dataset_free(b.data);
    mc_cli_close(&b.model);
    return rc;
}
