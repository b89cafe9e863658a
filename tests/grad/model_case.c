#include "model_case.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "formats/onnx.h"
#include "formats/samples.h"
#include "graph/verify.h"
#include "tests/graph/build.h"

static const char *base_name(const char *path, char ret[64])
{
    const char *slash = strrchr(path, '/');
    snprintf(ret, 64, "%s", slash ? slash + 1 : path);
    ret[strcspn(ret, ".")] = 0;
    return ret;
}

static void scanned(int got, int want)
{
    if (got != want)
        fail_msg("the golden file is not as expected");
}

struct golden *golden_read(const char *golden, const char *model_path)
{
    char model[64];
    struct golden *g = calloc(1, sizeof *g);
    FILE *f = fopen(golden, "r");
    char name[64] = "", line[4096];
    base_name(model_path, model);
    int steps;
    assert_true(g && f);
    while (strcmp(name, model)) {
        assert_non_null(fgets(line, sizeof line, f));
        if (sscanf(line, "model %63s %d", name, &g->n) < 2)
            name[0] = 0;
    }
    assert_in_range(g->n, 1, WEIGHTS);
    scanned(fscanf(f, " step %lld %lf", &g->step_at, &g->loss), 2);
    for (int i = 0; i < g->n; i++) {
        struct golden_weight *w = &g->w[i];
        scanned(fscanf(f, " weight %63s %lld %d %lf", w->name, &w->count, &w->n, &w->norm), 4);
        assert_in_range(w->n, 1, PICKED);
        for (int j = 0; j < w->n; j++)
            scanned(fscanf(f, "%lf", &w->value[j]), 1);
    }
    scanned(fscanf(f, " curve %lld %d", &g->curve_at, &steps), 2);
    assert_int_equal(steps, STEPS);
    for (int j = 0; j < STEPS; j++)
        scanned(fscanf(f, "%lf", &g->curve[j]), 1);
    fclose(f);
    return g;
}

struct mc_model *model_with_loss(const char *path)
{
    struct mc_model *m;
    struct mc_err err;
    build_ok(mc_onnx_read(path, &m, &err), &err);
    struct mc_graph *g = m->graph;
    struct mc_value *labels = build_input(g, "labels", MC_DTYPE_I64, 1, (int64_t[]){-1});
    struct mc_value *loss =
        build_binary(g, "SoftmaxCrossEntropyLoss", "loss", g->outputs[0], labels);
    build_output(g, loss);
    build_ok(mc_verify(m, &err), &err);
    return m;
}

struct mc_batch *model_batch(const struct mc_model *m, int64_t first, int64_t n)
{
    struct mc_dataset *d;
    struct mc_batch *b;
    struct mc_err err;
    const struct mc_value *in = m->graph->inputs[0];
    struct mc_array like = {.name = in->name, .dtype = in->type.dtype};
    like.shape = mc_shape_of(4, (int64_t[]){-1, 1, 28, 28});
    struct mc_sample_opts o = {.inputs = &like, .n_inputs = 1};
    build_ok(mc_samples_open("fashion-mnist:train", &o, &d, &err), &err);
    build_ok(mc_dataset_range(d, first, n, &b, &err), &err);
    mc_dataset_free(d);
    assert_non_null(b->labels);
    return b;
}

int model_feed(const struct mc_model *m, const struct mc_batch *b, struct mc_array ret[2])
{
    ret[0] = b->arrays[0];
    ret[0].name = m->graph->inputs[0]->name;
    ret[1] = (struct mc_array){.name = "labels",
                               .dtype = MC_DTYPE_I64,
                               .shape = mc_shape_of(1, &b->n),
                               .data = b->labels,
                               .bytes = (size_t)b->n * sizeof *b->labels};
    return 2;
}

double array_at(const struct mc_array *a, int64_t i)
{
    return a->dtype == MC_DTYPE_F64 ? ((const double *)a->data)[i]
                                    : (double)((const float *)a->data)[i];
}

void model_near(const char *path, const char *what, double got, double want, double tol)
{
    if (!(fabs(got - want) <= tol * fabs(want)))
        fail_msg("%s: %s is %.9g, not %.9g", path, what, got, want);
}
