#include "train/step_graph.h"

#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/mem.h"
#include "graph/edit.h"
#include "graph/grad/activation_join.h"
#include "graph/grad/backward.h"
#include "graph/grad/batchnorm.h"

struct making {
    struct mc_step_graph *r;
    struct mc_dataset *data;
    const struct mc_train_opts *o;
    struct mc_infer_input *inputs; /* as the data has them, batch left open */
    struct mc_infer_opts infer;
    struct mc_batch *sample;
    struct mc_side side;
    struct mc_weights weights;
    struct mc_value **grad;
    struct mc_err *err;
};

static int no_memory(struct mc_err *err)
{
    return mc_fail(err, MC_ENOMEM, "out of memory while building the step graph");
}

/* Types of inputs from the first sample, where all samples are alike. */
static int look_at_data(struct making *k)
{
    int rc = mc_dataset_range(k->data, 0, 1, &k->sample, k->err);
    if (rc)
        return rc;
    if (k->sample->n < 1)
        return mc_fail(k->err, MC_EDATA, "'%s': there are no samples", k->data->spec);
    int n = k->sample->n_arrays;
    k->inputs = mc_calloc((size_t)n + 1, sizeof *k->inputs);
    if (!k->inputs)
        return no_memory(k->err);
    bool alike = !k->data->class->group && !k->data->whole;
    for (int i = 0; alike && i < n; i++) {
        const struct mc_array *a = &k->sample->arrays[i];
        k->inputs[i] = (struct mc_infer_input){a->name, MC_DTYPE_NONE, a->shape};
        k->inputs[i].shape.dim[0] = MC_DIM_ANY;
    }
    k->infer = (struct mc_infer_opts){.inputs = k->inputs, .n_inputs = alike ? (size_t)n : 0};
    return 0;
}

/* The batch that inputs of the data are declared with. */
static int64_t frozen_batch(const struct making *k)
{
    int64_t frozen = 0;
    if (k->data->whole)
        return 1;
    for (int i = 0; i < k->sample->n_arrays; i++) {
        const struct mc_value *v = mc_graph_value(k->side.m->graph, k->sample->arrays[i].name);
        if (v && v->type.kind == MC_TYPE_TENSOR && v->type.ranked && v->type.rank > 0 &&
            v->type.dim[0].value > 0)
            frozen = v->type.dim[0].value;
    }
    return frozen;
}

static int build_loss(struct making *k, const struct mc_model *teacher)
{
    const struct mc_train_opts *o = k->o;
    struct mc_loss_opts lo = {.kind = o->loss,
                              .alpha = o->alpha,
                              .temperature = o->temperature,
                              .output = o->output,
                              .blocks = o->blocks,
                              .labels = k->data->has_labels,
                              .sequence = k->data->sequence,
                              .blank = o->blank,
                              .whole = k->data->whole,
                              .partly = k->data->partly,
                              .mixed = o->mixup,
                              .data = k->data->spec};
    int rc = teacher ? mc_side_new(teacher, NULL, &k->r->teacher, k->err) : 0;
    if (!rc)
        rc = mc_loss_build(&k->side, teacher ? &k->r->teacher : NULL, &lo, &k->r->loss, k->err);
    if (!rc)
        rc = mc_model_clone(k->side.m, &k->r->eval, k->err);
    return rc;
}

/* ---- what is trained ---- */

static void list_weight(struct making *k, const struct mc_weight *w, const char *why, bool *ok)
{
    json_t *row = json_object(), *shape = json_array();
    mc_json_put(row, "name", mc_json_text(w->value->name), ok);
    for (int i = 0; i < w->shape.rank; i++)
        mc_json_add(shape, json_integer(w->shape.dim[i]), ok);
    mc_json_put(row, "shape", shape, ok);
    if (why)
        mc_json_put(row, "why", mc_json_text(why), ok);
    mc_json_add(why ? k->r->frozen_list : k->r->trained, row, ok);
}

/* why[]: of the weights that gradients were asked for, in order. */
static int list_weights(struct making *k, const char *const *why)
{
    bool ok = true;
    k->r->trained = json_array();
    k->r->frozen_list = json_array();
    for (size_t i = 0, at = 0; i < k->weights.n; i++) {
        const struct mc_weight *w = &k->weights.list[i];
        const char *reason = w->why ? w->why : why[at++];
        if (!w->statistic || !k->r->batchnorms)
            list_weight(k, w, reason, &ok);
    }
    return ok && k->r->trained && k->r->frozen_list ? 0 : no_memory(k->err);
}

static int nothing_to_train(const struct making *k)
{
    for (size_t i = 0; i < k->weights.n; i++)
        if (k->weights.list[i].why)
            return mc_fail(k->err, MC_EUNSUP, "nothing in the model can be trained; '%s': %s",
                           k->weights.list[i].value->name, k->weights.list[i].why);
    return mc_fail(k->err, MC_EUNSUP,
                   "nothing in the model can be trained: it has no constants of a float type");
}

/* Gradients of all weights to be trained, in the places of the weights' list. */
static int gradients(struct making *k, struct mc_value *loss)
{
    size_t n = k->weights.n, at = 0;
    struct mc_value **wrt = mc_calloc(2 * n + 1, sizeof *wrt), **grad = wrt + n;
    const char **why = mc_calloc(n + 1, sizeof *why);
    k->grad = mc_calloc(n + 1, sizeof *k->grad);
    int rc = wrt && why && k->grad ? 0 : no_memory(k->err);
    for (size_t i = 0; i < n && !rc; i++)
        if (!k->weights.list[i].why)
            wrt[at++] = k->weights.list[i].value;
    if (!rc && !at)
        rc = nothing_to_train(k);
    struct mc_backward_opts bo = {.infer = &k->infer};
    if (!rc)
        rc = mc_backward(k->side.m->graph, loss, wrt, at, &bo, grad, why, k->err);
    for (size_t i = 0, j = 0; i < n && !rc; i++)
        k->grad[i] = k->weights.list[i].why ? NULL : grad[j++];
    rc = rc ? rc : list_weights(k, why);
    free(wrt);
    free(why);
    return rc;
}

static bool has_accumulation(const struct making *k)
{
    int64_t batch = k->o->batch ? k->o->batch : MC_TRAIN_BATCH;
    return k->o->accumulate > 1 || (k->r->frozen && k->r->frozen < batch) || k->o->mem ||
           k->o->in_parts;
}

static int build_step(struct making *k)
{
    struct mc_graph *g = k->side.m->graph;
    int rc = mc_activation_join(g, NULL, k->err);
    /* the statistics of one sample are none */
    if (!rc && k->o->batchnorm && k->r->frozen != 1)
        rc = mc_batchnorm_train(g, &k->r->batchnorms, k->err);
    if (!rc)
        rc = gradients(k, mc_graph_value(g, MC_LOSS_VALUE));
    k->r->accumulate = has_accumulation(k);
    struct mc_update_opts uo = k->o->update;
    uo.accumulate = k->r->accumulate;
    if (!rc)
        rc = mc_update_build(g, &k->weights, k->grad, &uo, &k->r->update, k->err);
    if (!rc) {
        k->r->step = k->side.m;
        k->side.m = NULL;
    }
    return rc;
}

int mc_step_graph_new(const struct mc_model *m, const struct mc_model *teacher,
                      struct mc_dataset *data, const struct mc_train_opts *o,
                      struct mc_step_graph *ret, struct mc_err *err)
{
    *ret = (struct mc_step_graph){0};
    struct making k = {.r = ret, .data = data, .o = o, .err = err};
    int rc = look_at_data(&k);
    if (!rc)
        rc = mc_side_new(m, &k.infer, &k.side, err);
    if (!rc) {
        ret->frozen = frozen_batch(&k);
        rc = mc_weights_find(k.side.m->graph, &o->weights, &k.weights, err);
    }
    if (!rc)
        rc = build_loss(&k, teacher);
    if (!rc)
        rc = build_step(&k);
    mc_weights_free(&k.weights);
    mc_side_free(&k.side);
    mc_batch_free(k.sample);
    free(k.inputs);
    free(k.grad);
    if (rc)
        mc_step_graph_free(ret);
    return rc;
}

void mc_step_graph_free(struct mc_step_graph *s)
{
    mc_update_free(&s->update);
    mc_loss_free(&s->loss);
    mc_side_free(&s->teacher);
    mc_model_free(s->eval);
    mc_model_free(s->step);
    json_decref(s->trained);
    json_decref(s->frozen_list);
    *s = (struct mc_step_graph){0};
}
