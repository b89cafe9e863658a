/* step_peak MODEL BATCH [RUNS]: planned memory of a training step (cross entropy, SGD with momentum) and what it is
 * made of; with RUNS, the best time of so many. With -v as third argument, the values alive at the worst step. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/io.h"
#include "base/mem.h"
#include "formats/onnx.h"
#include "graph/run/plan.h"
#include "step_model.h"

static size_t alive(const struct mc_plan *p, int step)
{
    size_t sum = 0;
    for (size_t i = 0; i < p->n_slots; i++) {
        const struct mc_slot *k = &p->slots[i];
        if (k->state || k->first > step || k->last < step)
            continue;
        sum += k->regions ? 0 : k->bytes;
        for (size_t r = 0; r < k->n_regions; r++)
            sum += k->regions[r].first <= step ? k->regions[r].bytes : 0;
    }
    return sum;
}

/* What lies in the slots at the step with the most. */
static void explain(const struct mc_session *s, const struct mc_plan *p)
{
    int worst = 0;
    for (int i = 1; i < p->n_steps; i++)
        worst = alive(p, i) > alive(p, worst) ? i : worst;
    const struct mc_node *n = p->steps[worst].call.node;
    printf("step %d of %d, %s '%s': %.1f MB alive\n", worst, p->n_steps, n->op_type,
           mc_node_label(n), (double)alive(p, worst) / 1e6);
    for (size_t i = 0; i < p->n_slots; i++) {
        const struct mc_slot *k = &p->slots[i];
        if (k->state || k->first > worst || k->last < worst || k->bytes < 100000)
            continue;
        printf("  %8.1f kB at %8.1f steps %d-%d:", (double)k->bytes / 1e3, (double)k->offset / 1e3,
               k->first, k->last);
        for (size_t v = 0; v < p->n_pvalues; v++)
            if (p->values[v].buf.dtype != MC_DTYPE_NONE && p->values[v].slot == (int)i)
                printf(" %s(%s)", s->g->values[v]->name,
                       s->g->values[v]->producer ? s->g->values[v]->producer->op_type : "input");
        for (int j = 0; j < p->n_steps; j++)
            if (p->steps[j].scratch_slot == (int)i)
                printf(" scratch of %s", p->steps[j].call.node->op_type);
        printf("\n");
    }
}

static int fill(struct mc_session *s, int64_t batch, struct mc_array *in, struct mc_err *err)
{
    for (int i = 0; i < mc_session_n_inputs(s); i++) {
        in[i] = *mc_session_input(s, i);
        for (int d = 0; d < in[i].shape.rank; d++)
            if (in[i].shape.dim[d] < 0)
                in[i].shape.dim[d] = batch;
        mc_dtype_bytes(in[i].dtype, mc_shape_count(&in[i].shape), &in[i].bytes);
        in[i].data = mc_calloc(in[i].bytes + 1, 1);
        if (!in[i].data)
            return mc_fail(err, MC_ENOMEM, "out of memory");
        if (in[i].dtype == MC_DTYPE_F32)
            for (size_t k = 0; k < in[i].bytes / 4; k++)
                ((float *)in[i].data)[k] = in[i].shape.rank ? (float)(k % 17) / 17 : 1e-3f;
        else
            for (size_t k = 0; k < in[i].bytes / 8; k++)
                ((int64_t *)in[i].data)[k] = (int64_t)(k % 10);
    }
    return 0;
}

int main(int argc, char **argv)
{
    struct mc_err err = {0};
    struct mc_model *m;
    struct step_model s = {0};
    struct mc_session *session = NULL;
    struct mc_array in[16];
    const struct mc_update_opts o = {.kind = MC_OPTIMIZER_SGD, .momentum = 0.9};
    if (argc < 3)
        return 2;
    int rc = mc_onnx_read(argv[1], &m, &err);
    rc = rc ? rc : step_model_new(m, &o, &s, &err);
    rc = rc ? rc : step_model_session(&s, &(struct mc_session_opts){0}, &session, &err);
    rc = rc ? rc : fill(session, atoll(argv[2]), in, &err);
    size_t peak, values;
    rc = rc ? rc : mc_session_peak(session, in, mc_session_n_inputs(session), &peak, &err);
    rc = rc ? rc
            : mc_session_plan_bytes(session, in, mc_session_n_inputs(session), &values, NULL, &err);
    if (rc) {
        fprintf(stderr, "%s\n", err.msg);
        return 1;
    }
    struct mc_session_stats st;
    mc_session_stats(session, &st);
    size_t most = 0;
    for (int i = 0; i < session->roots->n_steps; i++)
        most = alive(session->roots, i) > most ? alive(session->roots, i) : most;
    printf(
        "%s batch %s: planned %.2f MB = values %.2f (at least %.2f) + packed %.2f + states %.2f\n",
        argv[1], argv[2], (double)peak / 1e6, (double)values / 1e6, (double)most / 1e6,
        (double)st.packed_bytes / 1e6, (double)st.state_bytes / 1e6);
    if (argc > 3 && !strcmp(argv[3], "-v"))
        explain(session, session->roots);
    double best = 1e9;
    for (int i = 0; argc > 3 && i < atoi(argv[3]) && !rc; i++) {
        double start = mc_now();
        rc = mc_session_run(session, in, mc_session_n_inputs(session), &err);
        best = mc_now() - start < best ? mc_now() - start : best;
    }
    if (rc)
        fprintf(stderr, "%s\n", err.msg);
    else if (best < 1e9)
        printf("%.2f ms, %.0f samples/s, loss %g\n", 1e3 * best, atof(argv[2]) / best,
               (double)*(const float *)mc_session_value(session, STEP_LOSS)->data);
    for (int i = 0; i < mc_session_n_inputs(session); i++)
        free(in[i].data);
    mc_session_free(session);
    step_model_free(&s);
    return rc != 0;
}
