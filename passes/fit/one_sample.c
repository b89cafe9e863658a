#include "passes/fit/one_sample.h"

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
