/* run_model MODEL DATA OUT THREADS COUNT MEASURED: the model's first output on the first COUNT samples, as
 * raw float32, to OUT; what measuring says about the first MEASURED to stdout, as "top1 top5 loss samples".
 * Driven by compare_ort.py. */
#include <stdio.h>
#include <stdlib.h>

#include "formats/onnx.h"
#include "formats/samples.h"
#include "graph/run/measure.h"

static int write_values(void *ctx, const struct mc_array *const *values, int64_t first,
                        const struct mc_batch *batch, struct mc_err *err)
{
    (void)first, (void)batch;
    if (values[0]->dtype != MC_DTYPE_F32)
        return mc_fail(err, MC_EDTYPE, "output is %s", mc_dtype_name(values[0]->dtype));
    if (fwrite(values[0]->data, 1, values[0]->bytes, ctx) != values[0]->bytes)
        return mc_fail(err, MC_EIO, "cannot write");
    return 0;
}

static int open_samples(const struct mc_graph *g, const char *spec, struct mc_dataset **ret,
                        struct mc_err *err)
{
    struct mc_session *s;
    int rc = mc_session_new(g, NULL, &s, err);
    if (rc)
        return rc;
    struct mc_array *in = calloc((size_t)mc_session_n_inputs(s) + 1, sizeof *in);
    for (int i = 0; in && i < mc_session_n_inputs(s); i++)
        in[i] = *mc_session_input(s, i);
    struct mc_sample_opts o = {.inputs = in, .n_inputs = mc_session_n_inputs(s)};
    rc = in ? mc_samples_open(spec, &o, ret, err) : mc_fail(err, MC_ENOMEM, "out of memory");
    free(in);
    mc_session_free(s);
    return rc;
}

int main(int argc, char **argv)
{
    struct mc_model *m = NULL;
    struct mc_dataset *d = NULL;
    struct mc_pool *pool = NULL;
    struct mc_err err = {0};
    struct mc_measure r;
    if (argc != 7)
        return 2;
    FILE *f = fopen(argv[3], "wb");
    int rc = f ? 0 : mc_fail(&err, MC_EIO, "cannot write %s", argv[3]);
    rc = rc ? rc : mc_onnx_read(argv[1], &m, &err);
    rc = rc ? rc : mc_pool_new(atoi(argv[4]), &pool, &err);
    rc = rc ? rc : open_samples(m->graph, argv[2], &d, &err);
    struct mc_measure_opts o = {.run = {.pool = pool, .count = atoll(argv[5])}};
    if (!rc)
        rc = mc_observe(m->graph, d, &m->graph->outputs[0]->name, 1, &o.run, write_values, f, NULL,
                        &err);
    o.run.count = atoll(argv[6]);
    rc = rc ? rc : mc_measure(m->graph, NULL, d, &o, &r, &err);
    if (f && fclose(f) && !rc)
        rc = mc_fail(&err, MC_EIO, "cannot write %s", argv[3]);
    if (rc)
        fprintf(stderr, "%s: %s\n", argv[1], err.msg);
    else
        printf("%.17g %.17g %.17g %lld\n", r.model.top1, r.model.top5, r.model.loss,
               (long long)r.model.samples);
    mc_dataset_free(d);
    mc_pool_free(pool);
    mc_model_free(m);
    return rc != 0;
}
