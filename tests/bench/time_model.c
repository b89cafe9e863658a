/* time_model MODEL INPUT...: runs a model when told to, for a script that times it beside another runtime.
 * An input is NAME=DTYPE=DIMxDIM...=FILE of raw elements, DTYPE as ONNX calls it ("float"). Every line on standard input is an order:
 *     run        one run; answers with its nanoseconds of CPU time
 *     save FILE  writes the outputs of the last run to FILE, raw, one after the other; answers "saved" */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/mem.h"
#include "formats/onnx.h"
#include "graph/run/session.h"

static int dtype_of(const char *name)
{
    int d = MC_DTYPE_COUNT - 1;
    while (d > MC_DTYPE_NONE && strcmp(mc_dtype_name(d), name))
        d--;
    return d;
}

static int load(char *text, struct mc_array *ret, struct mc_err *err)
{
    char *dtype = strchr(text, '='), *dims = dtype ? strchr(dtype + 1, '=') : NULL;
    char *path = dims ? strchr(dims + 1, '=') : NULL;
    if (!path)
        return mc_fail(err, MC_EUSAGE, "an input is NAME=DTYPE=DIMS=FILE, not '%s'", text);
    *dtype++ = *dims++ = *path++ = 0;
    *ret = (struct mc_array){.name = text, .dtype = dtype_of(dtype)};
    for (char *end = dims; *dims; dims = *end ? end + 1 : end)
        ret->shape.dim[ret->shape.rank++] = strtoll(dims, &end, 10);
    if (!ret->dtype || !mc_dtype_bytes(ret->dtype, mc_shape_count(&ret->shape), &ret->bytes))
        return mc_fail(err, MC_EUSAGE, "no such type or size: input '%s'", text);
    ret->data = mc_alloc_aligned(ret->bytes);
    FILE *f = fopen(path, "rb");
    int rc = f && ret->data && fread(ret->data, 1, ret->bytes, f) == ret->bytes
                 ? 0
                 : mc_fail(err, MC_EIO, "cannot read %s", path);
    if (f)
        fclose(f);
    return rc;
}

static long long cpu_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static int save(const struct mc_session *s, const char *path, struct mc_err *err)
{
    FILE *f = fopen(path, "wb");
    bool ok = f != NULL;
    for (int i = 0; ok && i < mc_session_n_outputs(s); i++) {
        const struct mc_array *a = mc_session_output(s, i);
        ok = a && fwrite(a->data, 1, a->bytes, f) == a->bytes;
    }
    ok = (!f || !fclose(f)) && ok;
    return ok ? 0 : mc_fail(err, MC_EIO, "cannot write %s", path);
}

static int serve(struct mc_session *s, const struct mc_array *in, int n, struct mc_err *err)
{
    char line[4096];
    while (fgets(line, sizeof line, stdin)) {
        line[strcspn(line, "\n")] = 0;
        int rc = 0;
        if (!strncmp(line, "save ", 5)) {
            rc = save(s, line + 5, err);
            printf("saved\n");
        } else {
            long long start = cpu_now();
            rc = mc_session_run(s, in, n, err);
            printf("%lld\n", cpu_now() - start);
        }
        if (rc)
            return rc;
        fflush(stdout);
    }
    return 0;
}

int main(int argc, char **argv)
{
    struct mc_err err = {0};
    struct mc_model *m = NULL;
    struct mc_session *s = NULL;
    int n = argc - 2, rc = n >= 0 ? 0 : mc_fail(&err, MC_EUSAGE, "time_model MODEL INPUT...");
    struct mc_array *in = calloc((size_t)argc + 1, sizeof *in);
    if (!in)
        return 1;
    for (int i = 0; i < n && !rc; i++)
        rc = load(argv[i + 2], &in[i], &err);
    rc = rc ? rc : mc_onnx_read(argv[1], &m, &err);
    rc = rc ? rc : mc_session_new(m->graph, NULL, &s, &err);
    rc = rc ? rc : serve(s, in, n, &err);
    if (rc)
        fprintf(stderr, "time_model: %s\n", err.msg);
    mc_session_free(s);
    mc_model_free(m);
    for (int i = 0; i < n; i++)
        free(in[i].data);
    free(in);
    return rc != 0;
}
