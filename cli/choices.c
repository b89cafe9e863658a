#include "cli/choices.h"

#include <stdlib.h>
#include <string.h>

int mc_choices_read(const char *path, json_t **ret, struct mc_err *err)
{
    struct mc_map map = {0};
    json_error_t where;
    int rc = mc_map_open(path, &map, err);
    if (rc)
        return rc;
    json_t *v = json_loadb((const char *)map.data, map.size, JSON_REJECT_DUPLICATES, &where);
    mc_map_close(&map);
    if (!v)
        return mc_fail(err, MC_EFORMAT, "%s:%d:%d: %s", path, where.line, where.column, where.text);
    if (!json_is_object(v)) {
        json_decref(v);
        return mc_fail(err, MC_EFORMAT, "%s:1:1: an object {…} is expected", path);
    }
    *ret = v;
    return 0;
}

int mc_choices_open(const char *path, struct mc_out **ret, struct mc_err *err)
{
    return mc_out_open(path, ret, err);
}

int mc_choices_put(struct mc_out *out, const char *path, const json_t *search, struct mc_err *err)
{
    if (!search)
        return mc_fail(err, MC_EUSAGE,
                       "--choices-out %s: nothing was searched; say how much with --target or "
                       "--auto and give samples with --calib",
                       path);
    char *text = json_dumps(search, JSON_INDENT(1) | JSON_REAL_PRECISION(9));
    if (!text)
        return mc_fail(err, MC_ENOMEM, "out of memory");
    mc_out_write(out, text, strlen(text));
    mc_out_write(out, "\n", 1);
    free(text);
    return mc_out_finish(out, err);
}
