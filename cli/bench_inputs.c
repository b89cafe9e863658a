#include "cli/bench_inputs.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/rng.h"

enum { SEED = 1 };

/* "3x224x224" */
static bool parse_dims(const char *text, struct mc_shape *ret)
{
    *ret = (struct mc_shape){0};
    for (char *end; ret->rank < MC_RANK_MAX; text = end + 1) {
        long long d = strtoll(text, &end, 10);
        if (end == text || d < 0)
            return false;
        ret->dim[ret->rank++] = d;
        if (!*end)
            return true;
        if (*end != 'x')
            return false;
    }
    return false;
}

/* What --shape says of an input; rank -1: nothing. */
static int given_shape(const struct mc_cli *cli, const char *name, struct mc_shape *ret,
                       struct mc_err *err)
{
    size_t i, n = strlen(name);
    const json_t *v;
    ret->rank = -1;
    json_array_foreach(json_object_get(cli->values, "shape"), i, v)
    {
        const char *text = json_string_value(v);
        if (!strncmp(text, name, n) && text[n] == '=' && !parse_dims(text + n + 1, ret))
            return mc_fail(err, MC_EUSAGE,
                           "--shape takes NAME=DIMS such as x=1x3x224x224, not '%s'", text);
    }
    return 0;
}

/* Every --shape names an input. */
static int check_names(const struct mc_cli *cli, const struct mc_session *s, struct mc_err *err)
{
    size_t i;
    const json_t *v;
    json_array_foreach(json_object_get(cli->values, "shape"), i, v)
    {
        const char *text = json_string_value(v), *eq = strrchr(text, '=');
        int k = 0;
        for (; eq && k < mc_session_n_inputs(s); k++) {
            const char *name = mc_session_input(s, k)->name;
            if (strlen(name) == (size_t)(eq - text) && !strncmp(name, text, (size_t)(eq - text)))
                break;
        }
        if (!eq || k == mc_session_n_inputs(s))
            return mc_fail(err, MC_EUSAGE, "--shape '%s' names no input of the model", text);
    }
    return 0;
}

static int choose_shape(const struct mc_cli *cli, const struct mc_array *in, struct mc_shape *ret,
                        struct mc_err *err)
{
    struct mc_shape given;
    int rc = given_shape(cli, in->name, &given, err);
    if (rc)
        return rc;
    *ret = given.rank >= 0 ? given : in->shape;
    if (ret->rank < 0)
        return mc_fail(err, MC_EUSAGE, "input '%s' has no declared shape: give --shape %s=DIMS",
                       in->name, in->name);
    for (int d = 0; d < ret->rank; d++) {
        if (ret->dim[d] >= 0)
            continue;
        if (d > 0)
            return mc_fail(err, MC_EUSAGE,
                           "dimension %d of input '%s' is free: give --shape %s=DIMS", d, in->name,
                           in->name);
        ret->dim[0] = mc_param_int(cli->values, "batch", 1);
    }
    return 0;
}

static int fill(struct mc_array *a, int stream, struct mc_err *err)
{
    int64_t n = mc_shape_count(&a->shape);
    float *x = mc_alloc_aligned((size_t)n * sizeof *x + 1);
    if (!x)
        return mc_fail(err, MC_ENOMEM, "out of memory");
    if (mc_dtype_info(a->dtype)->kind == MC_KIND_FLOAT)
        mc_rng_fill_normal(SEED, (uint64_t)stream, 0, x, (size_t)n);
    else
        for (int64_t i = 0; i < n; i++)
            x[i] = 1;
    int rc = mc_dtype_from_f32(a->dtype, x, a->data, (size_t)n, err);
    free(x);
    return rc;
}

static int make_input(const struct mc_cli *cli, const struct mc_array *in, int stream,
                      struct mc_array *ret, struct mc_err *err)
{
    *ret = (struct mc_array){.name = in->name, .dtype = in->dtype};
    int rc = choose_shape(cli, in, &ret->shape, err);
    if (rc)
        return rc;
    if (!mc_dtype_bytes(ret->dtype, mc_shape_count(&ret->shape), &ret->bytes))
        return mc_fail(err, MC_EUSAGE, "input '%s' of type %s cannot be made up: give --data",
                       in->name, mc_dtype_name(ret->dtype));
    ret->data = mc_alloc_aligned(ret->bytes);
    return ret->data ? fill(ret, stream, err) : mc_fail(err, MC_ENOMEM, "out of memory");
}

int mc_bench_inputs_make(const struct mc_cli *cli, const struct mc_session *s,
                         struct mc_bench_inputs *ret, struct mc_err *err)
{
    struct mc_bench_inputs in = {0};
    int n = mc_session_n_inputs(s), rc = check_names(cli, s, err);
    if (!rc && !(in.arrays = mc_calloc((size_t)n + 1, sizeof *in.arrays)))
        rc = mc_fail(err, MC_ENOMEM, "out of memory");
    while (in.n < n && !rc) {
        int i = in.n++;
        rc = make_input(cli, mc_session_input(s, i), i, &in.arrays[i], err);
    }
    if (rc)
        mc_bench_inputs_clear(&in);
    else
        *ret = in;
    return rc;
}

void mc_bench_inputs_clear(struct mc_bench_inputs *in)
{
    for (int i = 0; i < in->n; i++)
        free(in->arrays[i].data);
    free(in->arrays);
    *in = (struct mc_bench_inputs){0};
}
