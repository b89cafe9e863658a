/* op_case [--kernels LEVEL] [--f64] LIST: run models and compare their outputs.
 *
 * LIST names one folder per line. A folder holds model.onnx and case.txt, whose lines are
 *     tolerance RTOL ATOL
 *     input|output NAME TYPE RANK DIM… FILE
 * with raw little-endian elements in FILE. For every folder one line is printed: its name, a tab, and pass,
 * fail, unsupported or error, with a tab and the reason. The exit status says only whether all were tried.
 *
 * op_case --operators: print the name of every operator of ai.onnx that has a row.
 * op_case --levels: print the names of the kernel levels that this CPU can run. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/io.h"
#include "base/mem.h"
#include "formats/onnx.h"
#include "graph/ops/op.h"
#include "graph/run/session.h"
#include "kernels/kernels.h"

enum { ARRAYS = 64, NAME = 256 };

struct arrays {
    int n;
    struct mc_array array[ARRAYS];
    char name[ARRAYS][NAME];
    struct mc_map map[ARRAYS];
};

struct op_case {
    char dir[MC_PATH];
    double rtol, atol;
    struct arrays in, out;
};

static const char *kernels;
static enum mc_precision precision;

static enum mc_dtype dtype_of(const char *name)
{
    for (int d = 1; d < MC_DTYPE_COUNT; d++)
        if (!strcmp(mc_dtype_name((enum mc_dtype)d), name))
            return (enum mc_dtype)d;
    return MC_DTYPE_NONE;
}

static int path_in(char ret[MC_PATH], const char *dir, const char *file, struct mc_err *err)
{
    int n = snprintf(ret, MC_PATH, "%s/%s", dir, file);
    return n < 0 || n >= MC_PATH ? mc_fail(err, MC_EFORMAT, "the path of %s is too long", file) : 0;
}

/* The rest of an input or output line. */
static int read_array(const struct op_case *c, struct arrays *to, char *rest, struct mc_err *err)
{
    char path[MC_PATH], *save = NULL;
    const char *name = strtok_r(rest, " \n", &save), *type = strtok_r(NULL, " \n", &save);
    const char *rank = strtok_r(NULL, " \n", &save);
    if (to->n == ARRAYS || !name || !type || !rank || strlen(name) >= NAME)
        return mc_fail(err, MC_EFORMAT, "bad line in case.txt");
    struct mc_array *a = &to->array[to->n];
    strcpy(to->name[to->n], name);
    *a = (struct mc_array){.name = to->name[to->n], .dtype = dtype_of(type)};
    a->shape.rank = atoi(rank);
    for (int d = 0; d < a->shape.rank && d < MC_RANK_MAX; d++) {
        const char *dim = strtok_r(NULL, " \n", &save);
        a->shape.dim[d] = dim ? atoll(dim) : -1;
    }
    const char *file = strtok_r(NULL, " \n", &save);
    if (!file || a->shape.rank > MC_RANK_MAX)
        return mc_fail(err, MC_EFORMAT, "bad line in case.txt");
    int rc = path_in(path, c->dir, file, err);
    rc = rc ? rc : mc_map_open(path, &to->map[to->n], err);
    if (rc)
        return rc;
    a->data = (void *)(uintptr_t)to->map[to->n].data;
    a->bytes = to->map[to->n].size;
    to->n++;
    return 0;
}

static int read_case(struct op_case *c, struct mc_err *err)
{
    char path[MC_PATH], line[2 * NAME + 256];
    int rc = path_in(path, c->dir, "case.txt", err);
    FILE *f = rc ? NULL : fopen(path, "r");
    if (!f)
        return rc ? rc : mc_fail(err, MC_EOPEN, "cannot open %s", path);
    while (!rc && fgets(line, sizeof line, f)) {
        if (!strncmp(line, "input ", 6))
            rc = read_array(c, &c->in, line + 6, err);
        else if (!strncmp(line, "output ", 7))
            rc = read_array(c, &c->out, line + 7, err);
        else if (sscanf(line, "tolerance %lf %lf", &c->rtol, &c->atol) != 2)
            rc = mc_fail(err, MC_EFORMAT, "bad line in case.txt");
    }
    fclose(f);
    return rc;
}

static bool is_float(enum mc_dtype d)
{
    return mc_dtype_info(d)->kind == MC_KIND_FLOAT;
}

/* Shape and type first, then NaN and infinities, then the error. Half types are handed out as float32, and
 * with --f64 every float is a double. */
static int compare(const struct op_case *c, const struct mc_array *want, const struct mc_array *got,
                   struct mc_err *err)
{
    char a[MC_SHAPE_TEXT], b[MC_SHAPE_TEXT];
    int64_t n = mc_shape_count(&want->shape);
    bool floats = is_float(want->dtype) && is_float(got->dtype);
    if (got->dtype != want->dtype && !floats)
        return mc_fail(err, MC_EDTYPE, "output %s is %s, must be %s", want->name,
                       mc_dtype_name(got->dtype), mc_dtype_name(want->dtype));
    if (!mc_shape_equal(&want->shape, &got->shape))
        return mc_fail(err, MC_ESHAPE, "output %s is %s, must be %s", want->name,
                       mc_shape_text(&got->shape, a), mc_shape_text(&want->shape, b));
    size_t bytes;
    if (!mc_dtype_bytes(want->dtype, n, &bytes) || bytes != want->bytes)
        return mc_fail(err, MC_EFORMAT, "file of output %s has the wrong size", want->name);
    if (!floats)
        return memcmp(want->data, got->data, bytes) == 0
                   ? 0
                   : mc_fail(err, MC_EFAIL, "output %s differs", want->name);
    double *x = mc_calloc((size_t)n + 1, sizeof *x), *y = mc_calloc((size_t)n + 1, sizeof *y);
    int rc = x && y ? 0 : mc_fail(err, MC_ENOMEM, "out of memory");
    rc = rc ? rc : mc_dtype_to_f64(want->dtype, want->data, x, (size_t)n, err);
    rc = rc ? rc : mc_dtype_to_f64(got->dtype, got->data, y, (size_t)n, err);
    for (int64_t i = 0; i < n && !rc; i++) {
        bool same = isnan(x[i])   ? isnan(y[i])
                    : isinf(x[i]) ? x[i] == y[i]
                                  : fabs(x[i] - y[i]) <= c->atol + c->rtol * fabs(x[i]);
        if (!same)
            rc = mc_fail(err, MC_EFAIL, "output %s[%lld] is %.9g, must be %.9g", want->name,
                         (long long)i, y[i], x[i]);
    }
    free(x);
    free(y);
    return rc;
}

static int run_case(const struct op_case *c, bool *ret_ran, struct mc_err *err)
{
    char path[MC_PATH];
    struct mc_model *m = NULL;
    struct mc_session *s = NULL;
    struct mc_session_opts o = {.precision = precision, .kernels = kernels};
    int rc = path_in(path, c->dir, "model.onnx", err);
    rc = rc ? rc : mc_onnx_read(path, &m, err);
    rc = rc ? rc : mc_session_new(m->graph, &o, &s, err);
    rc = rc ? rc : mc_session_run(s, c->in.array, c->in.n, err);
    *ret_ran = !rc;
    if (!rc && mc_session_n_outputs(s) != c->out.n)
        rc = mc_fail(err, MC_ESHAPE, "%d outputs, must be %d", mc_session_n_outputs(s), c->out.n);
    for (int i = 0; i < c->out.n && !rc; i++)
        rc = compare(c, &c->out.array[i], mc_session_output(s, i), err);
    mc_session_free(s);
    mc_model_free(m);
    return rc;
}

static void close_arrays(struct arrays *a)
{
    for (int i = 0; i < a->n; i++)
        mc_map_close(&a->map[i]);
}

static int list_operators(void)
{
    const struct mc_op *op;
    for (size_t i = 0; (op = mc_op_at(i)); i++)
        if (!op->domain[0])
            printf("%s\n", op->name);
    return 0;
}

static int list_levels(void)
{
    static const char *const names[] = {"ref", "plain", "avx2", "avx512"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (mc_kernels_get(names[i], 4))
            puts(names[i]);
    return 0;
}

int main(int argc, char **argv)
{
    if (argc == 2 && !strcmp(argv[1], "--operators"))
        return list_operators();
    if (argc == 2 && !strcmp(argv[1], "--levels"))
        return list_levels();
    const char *list = NULL;
    for (int i = 1; i < argc; i++) {
        if (!strcmp(argv[i], "--f64"))
            precision = MC_PRECISION_F64;
        else if (!strcmp(argv[i], "--kernels") && i + 1 < argc)
            kernels = argv[++i];
        else
            list = argv[i];
    }
    FILE *f = list ? fopen(list, "r") : NULL;
    static struct op_case c;
    if (!f) {
        fprintf(stderr, "usage: op_case [--kernels LEVEL] [--f64] LIST\n");
        return 2;
    }
    for (;;) {
        c = (struct op_case){.rtol = 1e-3, .atol = 1e-7};
        if (!fgets(c.dir, sizeof c.dir, f))
            break;
        c.dir[strcspn(c.dir, "\n")] = 0;
        struct mc_err err = {0};
        bool ran = false;
        int rc = read_case(&c, &err);
        rc = rc ? rc : run_case(&c, &ran, &err);
        printf("%s\t%s\t%s\n", mc_path_base(c.dir),
               !rc               ? "pass"
               : ran             ? "fail"
               : rc == MC_EUNSUP ? "unsupported"
                                 : "error",
               rc ? err.msg : "");
        fflush(stdout);
        close_arrays(&c.in);
        close_arrays(&c.out);
    }
    fclose(f);
    return 0;
}
