/* What the runtime fuses was seen in the graphs that ONNX Runtime 1.32 makes of small models. Nodes are visited in order;
 * one that is computed together with an earlier one is absorbed by it. */
#include "passes/quant/cost/quant_cost.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "passes/quant/cost/quant_cost_walk.h"

static int no_memory(struct mc_err *err)
{
    return mc_fail(err, MC_ENOMEM, "out of memory for an estimate of time");
}

/* Sizes that stay open: of pictures, of sequences. Wrong ones leave the ratio of two forms about right. */
static void fill_open(const struct mc_infer_opts *o, struct mc_infer_input *in)
{
    enum { SIDE = 224, STEPS = 32 };
    for (size_t i = 0; i < o->n_inputs; i++)
        for (int k = 0; k < in[i].shape.rank; k++)
            if (in[i].shape.dim[k] < 0)
                in[i].shape.dim[k] = in[i].shape.rank == 4 ? SIDE : STEPS;
}

static int infer(const struct mc_graph *g, const struct mc_infer_opts *sample,
                 struct mc_infer **ret, struct mc_err *err)
{
    struct mc_infer_opts o = {0};
    int rc = sample && sample->n_inputs ? mc_infer_run(g, sample, ret, err) : MC_ESHAPE;
    if (!rc || rc == MC_ENOMEM)
        return rc;
    rc = mc_one_sample(g, 1, &o, err);
    struct mc_infer_input *in = (struct mc_infer_input *)(uintptr_t)o.inputs;
    if (rc)
        return rc;
    fill_open(&o, in);
    rc = mc_infer_run(g, &o, ret, err);
    free(in);
    if (rc && rc != MC_ENOMEM) /* sizes that do not go together */
        rc = mc_infer_run(g, NULL, ret, err);
    return rc;
}

int mc_quant_cost(const struct mc_model *m, enum mc_quant_runtime runtime,
                  const struct mc_infer_opts *sample, double *ret, double *ret_node,
                  struct mc_err *err)
{
    struct mc_infer *inf = NULL;
    double *cost = mc_calloc(m->graph->n_node_ids, sizeof *cost);
    (void)runtime; /* one table so far */
    int rc = cost ? infer(m->graph, sample, &inf, err) : no_memory(err);
    rc = rc ? rc : mc_quant_cost_walk(m->graph, inf, cost, ret, err);
    if (!rc && ret_node)
        memcpy(ret_node, cost, m->graph->n_node_ids * sizeof *cost);
    mc_infer_free(inf);
    free(cost);
    return rc;
}

const char *mc_quant_cost_source(enum mc_quant_runtime runtime)
{
    switch (runtime) {
    case MC_QUANT_STOCK:
    case MC_QUANT_ORT:
        return "the table measured in ONNX Runtime 1.32 on an Intel Xeon with VNNI, 1 thread";
    case MC_QUANT_AVX2:
        return "the table measured in ONNX Runtime 1.32 on an Intel Xeon with VNNI, 1 thread; none "
               "of "
               "a CPU with AVX2 alone";
    case MC_QUANT_OPENVINO:
        return "the table measured in ONNX Runtime 1.32 on an Intel Xeon with VNNI, 1 thread; none "
               "of "
               "OpenVINO";
    default:
        return "the table measured in ONNX Runtime 1.32 on an Intel Xeon with VNNI, 1 thread; none "
               "of "
               "this runtime";
    }
}
