#include "passes/fit/one_sample.h"

#include <stdlib.h>
#include <string.h>

int mc_one_sample(const struct mc_graph *g, int axes, struct mc_infer_opts *o, struct mc_err *err)
{
    struct mc_infer_input *in = mc_calloc(g->n_inputs, sizeof *in);
    size_t n = 0;
    if (!in)
        return mc_fail(err, MC_ENOMEM, "out of memory");
    for (size_t i = 0; i < g->n_inputs; i++) {
        const struct mc_type *t = &g->inputs[i]->type;
        if (g->inputs[i]->tensor || t->kind != MC_TYPE_TENSOR || !t->ranked)
            continue;
        struct mc_infer_input *one = &in[n++];
        *one = (struct mc_infer_input){.name = g->inputs[i]->name, .shape = {.rank = t->rank}};
        for (int k = 0; k < t->rank; k++)
            one->shape.dim[k] = k < axes && t->dim[k].value < 0 ? 1 : t->dim[k].value;
    }
    o->inputs = in;
    o->n_inputs = n;
    return 0;
}

static const char *input_called(const struct mc_graph *g, const char *name)
{
    for (size_t i = 0; i < g->n_inputs; i++)
        if (!strcmp(g->inputs[i]->name, name))
            return g->inputs[i]->name;
    return NULL;
}

bool mc_sample_shapes(const struct mc_pass_ctx *ctx, const struct mc_graph *g,
                      struct mc_infer_opts *o)
{
    struct mc_dataset *d = ctx->calib ? ctx->calib : ctx->train;
    struct mc_batch *b = NULL;
    struct mc_err ignored;
    if (!d || mc_dataset_range(d, 0, 1, &b, &ignored))
        return false;
    struct mc_infer_input *in = mc_calloc((size_t)b->n_arrays + 1, sizeof *in);
    size_t n = 0;
    for (int i = 0; in && i < b->n_arrays; i++) {
        const struct mc_array *a = &b->arrays[i];
        const char *name = input_called(g, a->name);
        if (!name)
            continue;
        in[n] = (struct mc_infer_input){name, a->dtype, a->shape};
        if (d->whole)
            in[n].shape = mc_shape_of(a->shape.rank - 1, a->shape.dim + 1);
        n++;
    }
    o->inputs = in;
    o->n_inputs = n;
    mc_batch_free(b);
    return in != NULL;
}

int mc_sample_infer(const struct mc_pass_ctx *ctx, const struct mc_graph *g, struct mc_infer **ret,
                    struct mc_err *err)
{
    struct mc_infer_opts o = {0};
    int rc = mc_sample_shapes(ctx, g, &o) ? mc_infer_run(g, &o, ret, err) : MC_ESHAPE;
    free((void *)o.inputs);
    if (!rc || rc == MC_ENOMEM)
        return rc;
    o = (struct mc_infer_opts){0};
    rc = mc_one_sample(g, MC_RANK_MAX, &o, err);
    if (!rc)
        rc = mc_infer_run(g, &o, ret, err);
    free((void *)o.inputs);
    return rc && rc != MC_ENOMEM ? mc_infer_run(g, NULL, ret, err) : rc;
}

double mc_sample_macs(const struct mc_pass_ctx *ctx, const struct mc_model *m)
{
    struct mc_infer *inf = NULL;
    struct mc_err ignored;
    double sum = 0;
    if (mc_sample_infer(ctx, m->graph, &inf, &ignored))
        return -1;
    for (size_t i = 0; i < m->graph->n_nodes && sum >= 0; i++) {
        double macs = mc_infer_macs(inf, m->graph->nodes[i]);
        sum = macs < 0 ? -1 : sum + macs;
    }
    mc_infer_free(inf);
    return sum;
}
