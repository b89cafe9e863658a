#include "formats/onnx_tensor_file.h"

#include <stdlib.h>
#include <string.h>

#include "formats/onnx_parts.h"
#include "formats/onnx_wire.h"

/* A number that names no type in use, where a file is something else that happens to parse. */
enum { TYPE_PLAUSIBLE = 1000 };

static int check_type(const char *path, const Onnx__TensorProto *p, struct mc_err *err)
{
    if (!p->has_data_type || p->data_type <= MC_DTYPE_NONE || p->data_type > TYPE_PLAUSIBLE)
        return mc_fail(err, MC_EFORMAT, "'%s' holds no tensor: it has no element type", path);
    if (p->data_type >= MC_DTYPE_COUNT)
        return mc_fail(err, MC_EUNSUP, "'%s' holds elements of type %d, which is not known", path,
                       (int)p->data_type);
    return 0;
}

int mc_onnx_tensor_file(const char *path, struct mc_tensor **ret, char **ret_name,
                        struct mc_err *err)
{
    struct mc_onnx_files files;
    struct mc_onnx_reader r = {.path = path, .files = &files, .err = err};
    Onnx__TensorProto *p;
    char *name = NULL;
    mc_onnx_files_init(&files, path);
    int rc = mc_onnx_map(path, &r.file, NULL, NULL, err);
    if (!rc)
        rc = mc_onnx_unpack_tensor(mc_storage_data(r.file), mc_storage_bytes(r.file), path, &r.tree,
                                   &p, err);
    if (!rc)
        rc = check_type(path, p, err);
    if (!rc && !(name = strdup(p->name ? p->name : "")))
        rc = mc_onnx_no_memory(&r);
    if (!rc)
        rc = mc_model_new(&r.m, err);
    if (!rc)
        rc = mc_onnx_read_tensor(&r, p, "tensor", name, true, ret);
    if (rc)
        free(name);
    else
        *ret_name = name;
    mc_model_free(r.m);
    mc_arena_free(&r.tree);
    mc_onnx_files_close(&files);
    mc_storage_unref(r.file);
    return rc;
}
