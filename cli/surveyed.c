#include "cli/surveyed.h"

#include <stdlib.h>
#include <string.h>

#include "base/io.h"
#include "base/json.h"
#include "base/mem.h"

json_t *mc_cli_shape(const struct mc_shape *shape, bool *ok)
{
    if (shape->rank < 0)
        return json_null();
    json_t *list = json_array();
    for (int i = 0; i < shape->rank; i++)
        mc_json_add(list, shape->dim[i] < 0 ? json_null() : json_integer(shape->dim[i]), ok);
    return list;
}

const char *mc_cli_type_name(enum mc_dtype dtype)
{
    return dtype == MC_DTYPE_NONE ? "not a tensor" : mc_dtype_name(dtype);
}

json_t *mc_cli_survey(const char *name, const struct mc_survey *s, bool *ok)
{
    json_t *o = json_object();
    mc_json_put(o, "name", mc_json_text(name), ok);
    mc_json_put(o, "type", json_string(mc_cli_type_name(s->dtype)), ok);
    mc_json_put(o, "shape", mc_cli_shape(&s->shape, ok), ok);
    mc_json_put(o, "elements", json_integer(s->elements), ok);
    mc_json_put(o, "min", mc_json_real(s->min), ok);
    mc_json_put(o, "mean", mc_json_real(s->mean), ok);
    mc_json_put(o, "max", mc_json_real(s->max), ok);
    mc_json_put(o, "nan", json_integer(s->nan), ok);
    mc_json_put(o, "infinite", json_integer(s->infinite), ok);
    return o;
}

int mc_cli_save_outputs(const struct mc_cli *cli, struct mc_npz_gather **ret, struct mc_err *err)
{
    const char *path = mc_param_text(cli->values, "save-outputs");
    *ret = NULL;
    if (!path)
        return 0;
    if (strcmp(mc_path_ext(path), ".npz"))
        return mc_fail(err, MC_EUSAGE, "--save-outputs '%s': the name must end in .npz", path);
    return mc_npz_gather_new(path, ret, err);
}

int mc_cli_look_open(const struct mc_cli *cli, const struct mc_graph *g,
                     const struct mc_dataset *data, struct mc_cli_look *ret, struct mc_err *err)
{
    ret->n = g->n_outputs;
    ret->whole = data->whole;
    ret->names = mc_calloc(ret->n + 1, sizeof *ret->names);
    ret->survey = mc_calloc(ret->n + 1, sizeof *ret->survey);
    if (!ret->names || !ret->survey)
        return mc_fail(err, MC_ENOMEM, "out of memory");
    const char *counting = mc_param_text(cli->values, "output");
    bool found = !counting;
    for (size_t i = 0; i < ret->n; i++) {
        ret->names[i] = g->outputs[i]->name;
        found = found || !strcmp(ret->names[i], counting);
    }
    if (!found)
        return mc_fail(err, MC_EUSAGE, "the model has no output '%s'", counting);
    return mc_cli_save_outputs(cli, &ret->saved, err);
}

/* Are there rows for each sample on axis 0? Of one sample alone an axis of 1 is taken for it. */
static bool has_rows(const struct mc_cli_look *l, const struct mc_array *a, int64_t n)
{
    int64_t rows = a->shape.rank > 0 ? a->shape.dim[0] : 0;
    return !l->whole && (rows == n || (n > 1 && rows > 0 && rows % n == 0));
}

int mc_cli_look_batch(void *ctx, const struct mc_array *const *values, int64_t first_sample,
                      const struct mc_batch *batch, struct mc_err *err)
{
    struct mc_cli_look *l = ctx;
    int rc = 0;
    (void)first_sample;
    for (size_t i = 0; !rc && i < l->n; i++) {
        rc = mc_survey_add(&l->survey[i], values[i], err);
        if (rc || !l->saved)
            continue;
        bool rows = has_rows(l, values[i], batch->n);
        rc = mc_npz_gather_add(l->saved, l->names[i], values[i], batch->index, rows ? batch->n : 1,
                               rows, err);
    }
    return rc;
}

int mc_cli_look_finish(struct mc_cli_look *l, struct mc_err *err)
{
    struct mc_npz_gather *saved = l->saved;
    l->saved = NULL;
    return saved ? mc_npz_gather_commit(saved, err) : 0;
}

json_t *mc_cli_look_json(const struct mc_cli_look *l, bool *ok)
{
    json_t *rows = json_array();
    for (size_t i = 0; i < l->n; i++)
        mc_json_add(rows, mc_cli_survey(l->names[i], &l->survey[i], ok), ok);
    return rows;
}

void mc_cli_look_close(struct mc_cli_look *l)
{
    mc_npz_gather_abort(l->saved);
    free(l->names);
    free(l->survey);
    *l = (struct mc_cli_look){0};
}
