/* op_case [--kernels LEVEL] [--f64] [--device DEVICE] LIST: run models and compare their outputs.
 *
 * LIST names one folder per line. A folder holds model.onnx, sets of test data (formats/testset.h), and may hold
 * a file `tolerance` with the numbers RTOL ATOL. For every folder one line is printed: its name, a tab, and
 * pass, fail, unsupported or error, with a tab and the reason. The exit status says only whether all were
 * tried. On a device each case is run three times, so that its work is recorded and replayed; the reason of one that
 * passes names the operators that the CPU ran, in brackets.
 *
 * op_case --levels: print the names of the kernel levels that this CPU can run. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/io.h"
#include "formats/onnx.h"
#include "formats/testset.h"
#include "graph/run/expect.h"
#include "graph/run/session.h"
#include "kernels/gpu.h"
#include "kernels/kernels.h"

static struct mc_session_opts options = {.flags = MC_SESSION_LISTS};
static struct mc_gpu *gpu;

struct op_case {
    struct mc_model *model;
    struct mc_session *session;
    struct mc_testsets sets;
    struct mc_testset_slot *in, *out;
    int n_in, n_out;
    struct mc_tolerance tolerance;
    bool ran;
};

static int path_in(char ret[MC_PATH], const char *dir, const char *file, struct mc_err *err)
{
    int n = snprintf(ret, MC_PATH, "%s/%s", dir, file);
    return n < 0 || n >= MC_PATH ? mc_fail(err, MC_EFORMAT, "the path of %s is too long", file) : 0;
}

static int read_tolerance(struct op_case *c, const char *dir, struct mc_err *err)
{
    char path[MC_PATH];
    /* Halves are handed out as float32, and with --f64 every float is a double. */
    c->tolerance = (struct mc_tolerance){1e-3, 1e-7, options.precision == MC_PRECISION_F64};
    int rc = path_in(path, dir, "tolerance", err);
    FILE *f = rc ? NULL : fopen(path, "r");
    if (!f)
        return rc;
    if (fscanf(f, "%lf %lf", &c->tolerance.rtol, &c->tolerance.atol) != 2)
        rc = mc_fail(err, MC_EFORMAT, "bad tolerance");
    fclose(f);
    return rc;
}

static int open_case(struct op_case *c, const char *dir, struct mc_err *err)
{
    char path[MC_PATH];
    int rc = read_tolerance(c, dir, err);
    if (!rc)
        rc = mc_testsets_open(dir, &c->sets, err);
    if (!rc)
        rc = path_in(path, dir, "model.onnx", err);
    if (!rc)
        rc = mc_onnx_read(path, &c->model, err);
    if (!rc)
        rc = mc_testset_slots(c->model->graph, false, &c->in, &c->n_in, err);
    if (!rc)
        rc = mc_testset_slots(c->model->graph, true, &c->out, &c->n_out, err);
    return rc ? rc : mc_session_new(c->model->graph, &options, &c->session, err);
}

static void close_case(struct op_case *c)
{
    mc_session_free(c->session);
    mc_model_free(c->model);
    mc_testsets_close(&c->sets);
    free(c->in);
    free(c->out);
}

static int compare(const struct op_case *c, const struct mc_array *got, const struct mc_array *want,
                   struct mc_err *err)
{
    char a[MC_ARRAY_TEXT], b[MC_ARRAY_TEXT];
    struct mc_expected e;
    int rc = mc_expect(got, want, &c->tolerance, &e, err);
    if (rc || e.verdict == MC_EXPECT_AGREES)
        return rc;
    if (e.verdict != MC_EXPECT_VALUES)
        return mc_fail(err, e.verdict == MC_EXPECT_DTYPE ? MC_EDTYPE : MC_ESHAPE,
                       "output %s%s is %s, must be %s", want->name, e.item,
                       mc_array_text(e.got_item, a), mc_array_text(e.want_item, b));
    return mc_fail(err, MC_EFAIL, "output %s%s[%lld] is %.9g, must be %.9g; %lld of %lld differ",
                   want->name, e.item, (long long)e.first, e.got, e.want, (long long)e.outside,
                   (long long)e.elements);
}

static int run_set(struct op_case *c, const struct mc_testset_dir *d, struct mc_err *err)
{
    struct mc_testset in = {0}, out = {0};
    int rc = mc_testset_inputs(d, c->in, c->n_in, &in, err);
    if (!rc)
        rc = mc_testset_outputs(d, c->out, c->n_out, &out, err);
    if (!rc)
        rc = mc_session_run(c->session, in.array, in.n, err);
    c->ran |= !rc;
    if (!rc && out.n != c->n_out)
        rc = mc_fail(err, MC_ESHAPE, "%d outputs, must be %d", c->n_out, out.n);
    for (int again = gpu ? 2 : 0; again >= 0 && !rc; again--) {
        for (int i = 0; i < out.n && !rc; i++)
            rc = compare(c, mc_session_output(c->session, out.slot[i]), &out.array[i], err);
        if (!rc && again)
            rc = mc_session_run(c->session, in.array, in.n, err);
    }
    mc_testset_free(&in);
    mc_testset_free(&out);
    return rc;
}

/* [Conv Relu], what the CPU ran in the last run. */
static void name_fallback(const struct op_case *c, char *text, size_t size)
{
    struct mc_session_fallback f;
    for (int i = 0; mc_session_fallback(c->session, i, &f); i++) {
        size_t n = strlen(text);
        snprintf(text + n, size - n, "%s%s", i ? " " : "[", f.op_type);
    }
    size_t n = strlen(text);
    if (n)
        snprintf(text + n, size - n, "]");
}

static void run_case(const char *dir)
{
    struct op_case c = {0};
    struct mc_err err = {0};
    int rc = open_case(&c, dir, &err);
    for (size_t i = 0; !rc && i < c.sets.n; i++)
        rc = run_set(&c, &c.sets.set[i], &err);
    if (!rc) {
        err.msg[0] = 0;
        name_fallback(&c, err.msg, sizeof err.msg);
    }
    printf("%s\t%s\t%s\n", mc_path_base(dir),
           !rc               ? "pass"
           : c.ran           ? "fail"
           : rc == MC_EUNSUP ? "unsupported"
                             : "error",
           err.msg);
    fflush(stdout);
    close_case(&c);
}

static int list_levels(void)
{
    static const char *const names[] = {"ref", "plain", "avx2", "avx512", "avx512vnni"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (mc_kernels_get(names[i], 4))
            puts(names[i]);
    return 0;
}

static int open_device(const char *name)
{
    struct mc_err err;
    int rc = mc_gpu_open(name, NULL, &gpu, &err);
    rc = rc ? rc : mc_pool_new(1, &options.pool, &err);
    if (rc)
        fprintf(stderr, "op_case: %s\n", err.msg);
    else
        mc_pool_set_gpu(options.pool, gpu);
    return rc;
}

/* Memory of the device that the sessions left behind is a failure. */
static int close_device(void)
{
    struct mc_gpu_memory m = {0};
    if (gpu)
        mc_gpu_memory(gpu, &m);
    if (m.used)
        fprintf(stderr, "op_case: %zu bytes are left on the device\n", m.used);
    mc_pool_free(options.pool);
    mc_gpu_close(gpu);
    return m.used ? 1 : 0;
}

int main(int argc, char **argv)
{
    if (argc == 2 && !strcmp(argv[1], "--levels"))
        return list_levels();
    const char *list = NULL;
    for (int i = 1; i < argc; i++) {
        if (!strcmp(argv[i], "--f64"))
            options.precision = MC_PRECISION_F64;
        else if (!strcmp(argv[i], "--kernels") && i + 1 < argc)
            options.kernels = argv[++i];
        else if (!strcmp(argv[i], "--device") && i + 1 < argc) {
            if (open_device(argv[++i]))
                return 2;
        } else
            list = argv[i];
    }
    FILE *f = list ? fopen(list, "r") : NULL;
    char dir[MC_PATH];
    if (!f) {
        fprintf(stderr, "usage: op_case [--kernels LEVEL] [--f64] [--device DEVICE] LIST\n");
        return 2;
    }
    while (fgets(dir, sizeof dir, f)) {
        dir[strcspn(dir, "\n")] = 0;
        run_case(dir);
    }
    fclose(f);
    return close_device();
}
