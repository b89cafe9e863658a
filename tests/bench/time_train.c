/* time_train MODEL [--batch N] [--steps N] [--threads N] [--device cuda] [--precision P] [--profile] [--serve]: how fast a model trains. Forward, cross
 * entropy, backward and an update by SGD on random images of its input's shape. Prints images per second of the median
 * step and the bytes of a step's values and state. With --profile: the costliest steps of the plan by operator. With
 * --serve every line on standard input is a step; answers with its nanoseconds of CPU time. On a GPU steps follow each
 * other without a wait, as in training, and are timed ten at a time. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/io.h"
#include "base/mem.h"
#include "base/rng.h"
#include "formats/onnx.h"
#include "graph/edit.h"
#include "graph/grad/backward.h"
#include "graph/grad/batchnorm.h"
#include "graph/grad/update.h"
#include "graph/run/profile.h"
#include "graph/run/session.h"
#include "kernels/gpu.h"

struct job {
    const char *path, *device;
    enum mc_gpu_precision precision;
    struct mc_gpu *gpu;
    int batch, steps, threads;
    bool profile, serve;
    struct mc_model *m;
    struct mc_weights w;
    struct mc_update u;
    struct mc_session *s;
    struct mc_pool *pool;
    struct mc_profile *p;
    struct mc_array in[4];
};

static int build(struct job *j, struct mc_err *err)
{
    struct mc_graph *g = j->m->graph;
    struct mc_value *labels = mc_edit_value(g, "labels"), *loss = mc_edit_fresh(g, "loss");
    struct mc_value *in[2] = {g->outputs[0], labels};
    size_t n_bn;
    int rc = !labels || !mc_edit_type(labels, MC_DTYPE_I64, 1, &(struct mc_dim){-1, NULL})
                 ? mc_fail(err, MC_ENOMEM, "out of memory")
                 : mc_edit_input(g, labels, err);
    rc = rc ? rc
            : mc_edit_node(g, g->n_nodes, "SoftmaxCrossEntropyLoss", "", 13, "", in, 2, &loss, 1,
                           NULL, err);
    rc = rc ? rc : mc_batchnorm_train(g, &n_bn, err);
    rc = rc ? rc : mc_weights_find(g, NULL, &j->w, err);
    struct mc_value **wrt = calloc(j->w.n + 1, sizeof *wrt),
                    **grad = calloc(j->w.n + 1, sizeof *grad);
    const char **why = calloc(j->w.n + 1, sizeof *why);
    for (size_t i = 0; i < j->w.n; i++)
        wrt[i] = j->w.list[i].value;
    rc = rc ? rc : mc_backward(g, loss, wrt, j->w.n, NULL, grad, why, err);
    for (size_t i = 0; i < j->w.n && !rc; i++)
        if (why[i])
            printf("frozen: %s: %s\n", wrt[i]->name, why[i]);
    struct mc_update_opts o = {.kind = MC_OPTIMIZER_SGD};
    rc = rc ? rc : mc_edit_output(g, loss, err);
    rc = rc ? rc : mc_update_build(g, &j->w, grad, &o, &j->u, err);
    free(wrt);
    free(grad);
    free(why);
    return rc;
}

static int start(struct job *j, struct mc_err *err)
{
    struct mc_session_state *state = calloc(j->u.n_states + 1, sizeof *state);
    for (size_t i = 0; i < j->u.n_states; i++)
        state[i] = (struct mc_session_state){j->u.states[i].in, j->u.states[i].out};
    struct mc_session_opts o = {.state = state, .n_state = j->u.n_states, .profile = j->p};
    o.flags = j->device ? MC_SESSION_ASYNC : 0;
    int rc = j->threads > 1 || j->device ? mc_pool_new(j->threads, &j->pool, err) : 0;
    if (!rc && j->device)
        rc = mc_gpu_open(j->device, &(struct mc_gpu_opts){j->precision}, &j->gpu, err);
    if (!rc && j->device)
        mc_pool_set_gpu(j->pool, j->gpu);
    o.pool = j->pool;
    rc = rc ? rc : mc_session_new(j->m->graph, &o, &j->s, err);
    for (size_t i = 0; i < j->u.n_states && !rc; i++) {
        const struct mc_state *st = &j->u.states[i];
        if (st->initial)
            rc = mc_session_store(j->s, st->in, st->initial,
                                  (size_t)st->count * (st->dtype == MC_DTYPE_F64 ? 8 : 4), err);
    }
    free(state);
    return rc;
}

static int inputs(struct job *j, struct mc_err *err)
{
    const struct mc_value *x = j->m->graph->inputs[0];
    static const float lr = 1e-3f;
    static int64_t step = 1;
    j->in[0] =
        (struct mc_array){.name = x->name, .dtype = MC_DTYPE_F32, .shape.rank = x->type.rank};
    for (int i = 0; i < x->type.rank; i++)
        j->in[0].shape.dim[i] = i ? x->type.dim[i].value : j->batch;
    j->in[0].bytes = (size_t)mc_shape_count(&j->in[0].shape) * sizeof(float);
    j->in[0].data = mc_alloc_aligned(j->in[0].bytes);
    int64_t *labels = mc_alloc_aligned((size_t)j->batch * sizeof *labels);
    if (!j->in[0].data || !labels)
        return mc_fail(err, MC_ENOMEM, "out of memory");
    mc_rng_fill_uniform(1, 0, 0, j->in[0].data, j->in[0].bytes / sizeof(float));
    for (int i = 0; i < j->batch; i++)
        labels[i] = i * 7 % 10;
    j->in[1] = (struct mc_array){
        "labels", MC_DTYPE_I64, {1, {j->batch}}, labels, (size_t)j->batch * sizeof *labels};
    j->in[2] =
        (struct mc_array){MC_UPDATE_LR, MC_DTYPE_F32, {0}, (void *)(uintptr_t)&lr, sizeof lr};
    j->in[3] = (struct mc_array){MC_UPDATE_STEP, MC_DTYPE_I64, {0}, &step, sizeof step};
    return 0;
}

static long long cpu_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static void print_profile(const struct mc_profile *p)
{
    double all = 0;
    for (size_t i = 0; i < mc_profile_count(p); i++)
        all += mc_profile_row(p, i)->seconds;
    for (size_t i = 0; i < mc_profile_count(p); i++) {
        const struct mc_profile_row *r = mc_profile_row(p, i);
        char shape[MC_SHAPE_TEXT];
        if (r->seconds > 0.002 * all)
            printf("%5.1f%% %8.3f ms %7.1f GFLOP/s %6.1f GB/s  %-24s %-40s %s\n",
                   100 * r->seconds / all, 1e3 * r->seconds / (double)r->runs,
                   2e-9 * r->macs * (double)r->runs / r->seconds,
                   1e-9 * r->bytes * (double)r->runs / r->seconds, r->node->op_type,
                   mc_node_label(r->node), mc_shape_text(&r->shape, shape));
    }
}

static int measure(struct job *j, struct mc_err *err)
{
    double *t = calloc((size_t)j->steps + 1, sizeof *t);
    int rc = t ? 0 : mc_fail(err, MC_ENOMEM, "out of memory"), together = j->gpu ? 10 : 1;
    for (int i = -3; i < j->steps && !rc; i++) {
        if (i == 0 && j->p)
            mc_profile_clear(j->p);
        double from = mc_now();
        for (int k = 0; k < together && !rc; k++)
            rc = mc_session_run(j->s, j->in, 4, err);
        rc = rc ? rc : mc_session_wait(j->s, err);
        if (!rc && !mc_session_value(j->s, "loss"))
            rc = mc_fail(err, MC_EFAIL, "no loss came back");
        if (i >= 0)
            t[i] = (mc_now() - from) / together;
    }
    if (!rc) {
        struct mc_session_stats st;
        mc_session_stats(j->s, &st);
        qsort(t, (size_t)j->steps, sizeof *t, by_size);
        printf("%s: %.0f images/s (batch %d, median of %d steps), %zu bytes of values, loss %g\n",
               j->path, j->batch / t[j->steps / 2], j->batch, j->steps, st.arena_bytes,
               (double)*(float *)mc_session_value(j->s, "loss")->data);
    }
    if (!rc && j->gpu) {
        struct mc_gpu_memory m;
        mc_gpu_memory(j->gpu, &m);
        printf("%s: %zu bytes of device memory at most, and %zu of workspace\n",
               mc_gpu_name(j->gpu), m.peak, m.workspace);
    }
    if (!rc && j->p)
        print_profile(j->p);
    free(t);
    return rc;
}

static int serve(struct job *j, struct mc_err *err)
{
    char line[64];
    int rc = 0;
    while (!rc && fgets(line, sizeof line, stdin)) {
        long long from = cpu_now();
        rc = mc_session_run(j->s, j->in, 4, err);
        printf("%lld\n", cpu_now() - from);
        fflush(stdout);
    }
    return rc;
}

int main(int argc, char **argv)
{
    struct mc_err err = {0};
    struct job j = {.batch = 128, .steps = 10, .threads = 1};
    for (int i = 1; i < argc; i++) {
        if (!strcmp(argv[i], "--batch") && i + 1 < argc)
            j.batch = atoi(argv[++i]);
        else if (!strcmp(argv[i], "--steps") && i + 1 < argc)
            j.steps = atoi(argv[++i]);
        else if (!strcmp(argv[i], "--threads") && i + 1 < argc)
            j.threads = atoi(argv[++i]);
        else if (!strcmp(argv[i], "--device") && i + 1 < argc)
            j.device = argv[++i];
        else if (!strcmp(argv[i], "--precision") && i + 1 < argc)
            j.precision = !strcmp(argv[++i], "bf16") ? MC_GPU_BF16
                          : !strcmp(argv[i], "tf32") ? MC_GPU_TF32
                                                     : MC_GPU_FP32;
        else if (!strcmp(argv[i], "--profile"))
            j.profile = true;
        else if (!strcmp(argv[i], "--serve"))
            j.serve = true;
        else
            j.path = argv[i];
    }
    int rc = j.path && j.batch > 0 && j.steps > 0
                 ? 0
                 : mc_fail(&err, MC_EUSAGE, "time_train MODEL [--batch N] [--steps N]");
    rc = rc ? rc : mc_onnx_read(j.path, &j.m, &err);
    rc = rc || !j.profile ? rc : mc_profile_new(&j.p, &err);
    rc = rc ? rc : build(&j, &err);
    rc = rc ? rc : start(&j, &err);
    rc = rc ? rc : inputs(&j, &err);
    rc = rc ? rc : j.serve ? serve(&j, &err) : measure(&j, &err);
    if (rc)
        fprintf(stderr, "time_train: %s\n", err.msg);
    mc_session_free(j.s);
    mc_profile_free(j.p);
    mc_gpu_close(j.gpu);
    mc_pool_free(j.pool);
    mc_update_free(&j.u);
    mc_weights_free(&j.w);
    mc_model_free(j.m);
    free(j.in[0].data);
    free(j.in[1].data);
    return rc != 0;
}
