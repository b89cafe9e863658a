#include "passes/search/search_keep.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "graph/run/observe.h"
#include "passes/search/search_slice.h"

/* The reference's outputs that are kept take about this much at most. */
static const double KEPT_BYTES = 64e6;
enum { GROUPED_BATCH = 16 }; /* where samples differ in shape */

static int no_memory(struct mc_err *err)
{
    return mc_fail(err, MC_ENOMEM, "out of memory");
}

/* ---- outputs ---- */

/* Numbers with a fraction count; where there are none, any tensor of numbers. */
static bool counts(const struct mc_value *v, bool any)
{
    enum mc_dtype_kind kind = mc_dtype_info(v->type.dtype)->kind;
    if (v->type.kind == MC_TYPE_NONE)
        return true;
    if (v->type.kind != MC_TYPE_TENSOR)
        return false;
    return any ? v->type.dtype != MC_DTYPE_STRING : kind == MC_KIND_FLOAT;
}

static int find_outputs(struct mc_judge *j, const struct mc_graph *g, struct mc_err *err)
{
    const char *wanted = j->ctx->output;
    bool any = true;
    for (size_t i = 0; i < g->n_outputs; i++)
        any = any && !counts(g->outputs[i], false);
    j->output = mc_calloc(g->n_outputs + 1, sizeof *j->output);
    j->names = mc_calloc(g->n_outputs + 1, sizeof *j->names);
    if (!j->output || !j->names)
        return no_memory(err);
    for (size_t i = 0; i < g->n_outputs; i++) {
        const struct mc_value *v = g->outputs[i];
        if (wanted ? strcmp(wanted, v->name) : !counts(v, any))
            continue;
        const char *name = mc_arena_strdup(&j->mem, v->name);
        if (!name)
            return no_memory(err);
        j->names[j->n_outputs] = name;
        j->output[j->n_outputs++] =
            (struct mc_kept_output){.name = name, .scores = mc_scores_of(v)};
    }
    if (!j->n_outputs && !wanted)
        return mc_fail(err, MC_EUNSUP, "the model has no output of numbers to search by");
    if (!j->n_outputs)
        return mc_fail(err, MC_EUSAGE, "the model has no output '%s'", wanted);
    return 0;
}

static int look_at_first(struct mc_judge *j, const struct mc_graph *g,
                         const struct mc_array *const *values, int64_t n, struct mc_err *err)
{
    int rc = 0;
    j->counting = j->n_outputs;
    for (size_t o = 0; o < j->n_outputs; o++) {
        struct mc_kept_output *out = &j->output[o];
        out->classes = out->scores == MC_SCORES_SIGMOIDS ||
                       mc_scores_are_classes(values[o], n, j->data->whole);
        if (j->counting == j->n_outputs && values[o]->shape.rank == 2)
            j->counting = o;
        mc_agree_free(&out->agree); /* of a run that was begun again */
        if (!rc)
            rc = mc_agree_look(&out->agree, mc_graph_value(g, out->name), values[o], n,
                               j->data->whole, err);
        if (out->agree.scores == MC_SCORES_PROBABILITIES)
            out->scores = MC_SCORES_PROBABILITIES;
    }
    j->counting = j->counting < j->n_outputs ? j->counting : 0;
    j->decides = mc_scores_are_classes(values[j->counting], n, j->data->whole);
    return rc;
}

/* ---- the reference ---- */

static int64_t rows_of(const struct mc_judge *j, const struct mc_array *a, int64_t n)
{
    return !j->data->whole && a->shape.rank > 0 && a->shape.dim[0] % n == 0 ? n : 1;
}

static int keep_output(struct mc_judge *j, struct mc_kept *b, size_t o, const struct mc_array *a,
                       struct mc_err *err)
{
    struct mc_kept_output *out = &j->output[o];
    int64_t count = mc_shape_count(&a->shape);
    b->rows[o] = rows_of(j, a, b->n);
    b->width[o] = count / b->rows[o];
    b->row[o] = mc_calloc((size_t)count + 1, sizeof(float));
    if (!b->row[o])
        return no_memory(err);
    int rc = mc_dtype_to_f32(a->dtype, a->data, b->row[o], (size_t)count, err);
    for (int64_t i = 0; !rc && i < count; i++) {
        double x = b->row[o][i];
        if (isnan(x))
            return mc_fail(err, MC_EDATA, "output '%s' is NaN for a sample of '%s'", out->name,
                           j->data->spec);
        out->sum += x;
        out->square += x * x;
    }
    out->count += (double)count;
    if (!rc)
        mc_agree_keep(&out->agree, &a->shape, b->row[o]);
    return rc;
}

static int keep_decisions(struct mc_judge *j, const struct mc_kept *b, const struct mc_batch *from,
                          struct mc_err *err)
{
    size_t total = (size_t)(j->samples + b->n);
    int64_t width = b->width[j->counting];
    if (j->decides && b->rows[j->counting] != b->n)
        return mc_fail(err, MC_EUNSUP, "output '%s' has a row for each sample of some batches only",
                       j->output[j->counting].name);
    int *decision = mc_realloc(j->decision, total, sizeof *decision);
    j->decision = decision ? decision : j->decision;
    int64_t *label = mc_realloc(j->label, total, sizeof *label);
    j->label = label ? label : j->label;
    if (!decision || !label)
        return no_memory(err);
    for (int64_t i = 0; i < b->n; i++) {
        int64_t l = from->labels && j->decides ? from->labels[i] : -1;
        decision[j->samples + i] =
            j->decides ? mc_scores_decision(b->row[j->counting] + i * width, width) : 0;
        label[j->samples + i] = l < width ? l : -1;
        j->n_labelled += l >= 0 && l < width;
    }
    return 0;
}

void mc_kept_normalise(const struct mc_kept_output *o, float *row, int64_t rows, int64_t width)
{
    for (int64_t i = 0; o->classes && i < rows; i++)
        mc_scores_normalise(o->scores, row + i * width, width);
}

/* How many samples there is memory for, by the outputs of the first batch. */
static int64_t room(const struct mc_judge *j, const struct mc_array *const *values, int64_t n)
{
    double bytes = 0;
    for (size_t o = 0; o < j->n_outputs; o++)
        bytes += (double)mc_shape_count(&values[o]->shape) * sizeof(float);
    return (int64_t)fmax(1, KEPT_BYTES / fmax(1, bytes / (double)n));
}

static int keep(void *ctx, const struct mc_array *const *values, int64_t first,
                const struct mc_batch *from, struct mc_err *err)
{
    struct mc_judge *j = ctx;
    (void)first;
    if (!j->n_batches) {
        int rc = look_at_first(j, j->reference, values, from->n, err);
        if (rc)
            return rc;
        j->batch_size = j->data->class->group ? GROUPED_BATCH : from->n;
        if (!j->most && room(j, values, from->n) < j->data->count) {
            j->most = room(j, values, from->n);
            return MC_EFAIL; /* begin again, with fewer */
        }
    }
    if (!MC_GROW(j->batch, j->n_batches, j->cap_batches))
        return no_memory(err);
    struct mc_kept *b = &j->batch[j->n_batches++];
    *b = (struct mc_kept){.n = from->n};
    b->row = mc_calloc(j->n_outputs, sizeof *b->row);
    b->width = mc_calloc(j->n_outputs, sizeof *b->width);
    b->rows = mc_calloc(j->n_outputs, sizeof *b->rows);
    if (!b->row || !b->width || !b->rows)
        return no_memory(err);
    int rc = 0;
    for (size_t o = 0; !rc && o < j->n_outputs; o++)
        rc = keep_output(j, b, o, values[o], err);
    if (!rc)
        rc = keep_decisions(j, b, from, err);
    for (size_t o = 0; !rc && o < j->n_outputs; o++)
        mc_kept_normalise(&j->output[o], b->row[o], b->rows[o], b->width[o]);
    j->samples += b->n;
    return rc;
}

static int run_reference(struct mc_judge *j, const struct mc_graph *g, struct mc_err *err)
{
    for (;;) {
        bool begun = j->most > 0;
        struct mc_observe_opts o = {.pool = j->ctx->pool,
                                    .count = begun ? j->most : -1,
                                    .batch = j->data->class->group ? GROUPED_BATCH : 0};
        int rc = mc_observe(g, j->data, j->names, j->n_outputs, &o, keep, j, NULL, err);
        if (begun || !j->most)
            return rc;
    }
}

int mc_judge_new(const struct mc_pass_ctx *ctx, const struct mc_model *reference, int64_t most,
                 struct mc_judge **ret, struct mc_err *err)
{
    struct mc_judge *j = mc_calloc(1, sizeof *j);
    if (!j)
        return no_memory(err);
    j->ctx = ctx;
    j->reference = reference->graph;
    int rc = mc_slice_open(ctx, most, &j->data, err);
    if (!rc)
        rc = find_outputs(j, reference->graph, err);
    if (!rc)
        rc = run_reference(j, reference->graph, err);
    j->reference = NULL;
    if (rc)
        mc_judge_free(j);
    else
        *ret = j;
    return rc;
}

void mc_judge_free(struct mc_judge *j)
{
    if (!j)
        return;
    for (size_t i = 0; i < j->n_batches; i++) {
        for (size_t o = 0; j->batch[i].row && o < j->n_outputs; o++)
            free(j->batch[i].row[o]);
        free(j->batch[i].row);
        free(j->batch[i].width);
        free(j->batch[i].rows);
    }
    for (size_t o = 0; j->output && o < j->n_outputs; o++)
        mc_agree_free(&j->output[o].agree);
    free(j->batch);
    free(j->output);
    free(j->names);
    free(j->decision);
    free(j->label);
    mc_dataset_free(j->data);
    mc_arena_free(&j->mem);
    free(j);
}
