#include "formats/onnx_about.h"

#include "base/io.h"
#include "formats/onnx_parts.h"
#include "formats/onnx_wire.h"

static const char *keep(struct mc_arena *a, const char *s, int *rc)
{
    const char *copy = mc_arena_strdup(a, s ? s : "");
    if (!copy)
        *rc = MC_ENOMEM;
    return copy;
}

static int read_words(struct mc_onnx_about *a, const struct mc_model *m)
{
    struct mc_arena scratch = {0};
    Onnx__ModelProto *p = mc_onnx_unpack_extra(&onnx__model_proto__descriptor, m->extra.data,
                                               m->extra.size, &scratch);
    int rc = p ? 0 : MC_ENOMEM;
    if (p) {
        a->producer = keep(&a->arena, p->producer_name, &rc);
        a->version = keep(&a->arena, p->producer_version, &rc);
        a->doc = keep(&a->arena, p->doc_string, &rc);
    }
    mc_arena_free(&scratch);
    return rc;
}

static int list_external(struct mc_onnx_about *a, const char *path, struct mc_err *err)
{
    struct mc_onnx_files files;
    struct mc_model *m = NULL;
    mc_onnx_files_init(&files, path);
    int rc = mc_onnx_load(path, path, &files, &m, err);
    if (!rc) {
        a->external = mc_arena_array(&a->arena, files.n_files, sizeof *a->external);
        a->n_external = a->external ? files.n_files : 0;
        for (size_t i = 0; i < a->n_external; i++) {
            a->external[i].location = keep(&a->arena, files.files[i].location, &rc);
            a->external[i].bytes = mc_storage_bytes(files.files[i].storage);
            a->bytes += a->external[i].bytes;
        }
        if (rc || a->n_external < files.n_files)
            rc = mc_fail(err, MC_ENOMEM, "out of memory");
    }
    mc_model_free(m);
    mc_onnx_files_close(&files);
    return rc;
}

int mc_onnx_about(const char *path, const struct mc_model *m, struct mc_onnx_about *ret,
                  struct mc_err *err)
{
    struct mc_onnx_about a = {0};
    struct mc_map map;
    int rc = mc_map_open(path, &map, err);
    if (rc)
        return rc;
    a.bytes = map.size;
    mc_map_close(&map);
    if (read_words(&a, m))
        rc = mc_fail(err, MC_ENOMEM, "out of memory");
    if (!rc && m->external)
        rc = list_external(&a, path, err);
    if (rc)
        mc_onnx_about_free(&a);
    else
        *ret = a;
    return rc;
}

void mc_onnx_about_free(struct mc_onnx_about *a)
{
    mc_arena_free(&a->arena);
    *a = (struct mc_onnx_about){0};
}
