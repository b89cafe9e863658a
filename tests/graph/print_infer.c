/* print_infer MODEL BATCH: every value whose type inference knows, one a line: name, type, dimensions. BATCH 0
 * leaves free dimensions free; they are printed by name, or as "?". */
#include <stdio.h>
#include <stdlib.h>

#include "formats/onnx.h"
#include "graph/infer.h"

static void print_value(const struct mc_infer *inf, const struct mc_value *v)
{
    const struct mc_vtype *t = mc_infer_of(inf, v);
    printf("%s\t%s\t", v->name, mc_dtype_name(t->dtype));
    for (int i = 0; t->ranked && i < t->shape.rank; i++) {
        const char *name = mc_infer_symbol(inf, t->shape.dim[i]);
        if (i)
            putchar(',');
        if (t->shape.dim[i] >= 0)
            printf("%lld", (long long)t->shape.dim[i]);
        else
            fputs(name ? name : "?", stdout);
    }
    puts(t->ranked ? "" : "unknown");
}

int main(int argc, char **argv)
{
    struct mc_model *m = NULL;
    struct mc_infer *inf = NULL;
    struct mc_err err;
    int64_t batch = argc == 3 ? atoll(argv[2]) : -1;
    if (batch < 0)
        return 2;
    int rc = mc_onnx_read(argv[1], &m, &err);
    struct mc_infer_input in = {0};
    struct mc_infer_opts o = {.inputs = &in, .n_inputs = batch > 0};
    if (!rc) {
        const struct mc_value *x = m->graph->inputs[0];
        in.name = x->name;
        in.shape.rank = x->type.rank;
        for (int i = 0; i < x->type.rank; i++)
            in.shape.dim[i] = x->type.dim[i].value < 0 ? batch : x->type.dim[i].value;
        rc = mc_infer_run(m->graph, &o, &inf, &err);
    }
    for (size_t i = 0; !rc && i < m->graph->n_values; i++)
        if (m->graph->values[i])
            print_value(inf, m->graph->values[i]);
    if (rc)
        fprintf(stderr, "%s\n", err.msg);
    mc_infer_free(inf);
    mc_model_free(m);
    return rc != 0;
}
