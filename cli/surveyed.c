#include "cli/surveyed.h"

#include <string.h>

#include "base/io.h"
#include "base/json.h"

json_t *mc_cli_shape(const struct mc_shape *shape, bool *ok)
{
    if (shape->rank < 0)
        return json_null();
    json_t *list = json_array();
    for (int i = 0; i < shape->rank; i++)
        mc_json_add(list, shape->dim[i] < 0 ? json_null() : json_integer(shape->dim[i]), ok);
    return list;
}

json_t *mc_cli_survey(const char *name, const struct mc_survey *s, bool *ok)
{
    json_t *o = json_object();
    mc_json_put(o, "name", mc_json_text(name), ok);
    mc_json_put(o, "type", json_string(mc_dtype_name(s->dtype)), ok);
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
