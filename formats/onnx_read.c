#include "formats/onnx.h"

#include <limits.h>
#include <string.h>

#include "formats/onnx_parts.h"
#include "formats/onnx_wire.h"
#include "graph/edit.h"
#include "graph/verify.h"

/* Format versions: 3 brought operator sets, without which no node has a meaning. */
enum { IR_OLDEST = 3, IR_NEWEST = ONNX__VERSION__IR_VERSION };

int mc_onnx_no_memory(struct mc_onnx_reader *r)
{
    return mc_fail(r->err, MC_ENOMEM, "out of memory reading '%s'", r->path);
}

int mc_onnx_pack_rest(struct mc_onnx_reader *r, const ProtobufCMessage *p, struct mc_bytes *ret)
{
    size_t n = protobuf_c_message_get_packed_size(p);
    *ret = (struct mc_bytes){0};
    if (!n)
        return 0;
    uint8_t *buf = mc_arena_alloc(&r->m->arena, n);
    if (!buf)
        return mc_onnx_no_memory(r);
    protobuf_c_message_pack(p, buf);
    *ret = (struct mc_bytes){buf, n};
    return 0;
}

/* Two imports of one domain ("" and "ai.onnx") are one here, and the later version holds, as in ONNX
 * Runtime; the second stays in `extra`, and is written behind the others. */
static int read_opsets(struct mc_onnx_reader *r, Onnx__ModelProto *p)
{
    struct mc_model *m = r->m;
    size_t kept = 0;
    int rc = 0;
    for (size_t i = 0; !rc && i < p->n_opset_import; i++) {
        Onnx__OperatorSetIdProto *o = p->opset_import[i];
        const char *domain = o->domain ? o->domain : "";
        size_t before = m->n_opsets;
        if (o->version < 0 || o->version > INT_MAX)
            return mc_fail(r->err, MC_EFORMAT, "'%s': domain '%s' is imported in version %lld",
                           r->path, domain, (long long)o->version);
        rc = mc_edit_opset(m, domain, o->version, r->err);
        if (!rc && m->n_opsets > before)
            rc = mc_onnx_read_opset(r, o, &m->opsets[before]);
        else
            p->opset_import[kept++] = o;
    }
    p->n_opset_import = kept;
    return rc;
}

/* Entries that lack a part, repeat a key or have unknown fields stay in `extra`. */
static int read_meta(struct mc_onnx_reader *r, Onnx__ModelProto *p)
{
    size_t kept = 0;
    int rc = 0;
    for (size_t i = 0; !rc && i < p->n_metadata_props; i++) {
        Onnx__StringStringEntryProto *e = p->metadata_props[i];
        if (!e->key || !e->value || e->base.n_unknown_fields || mc_model_meta(r->m, e->key))
            p->metadata_props[kept++] = e;
        else
            rc = mc_edit_meta(r->m, e->key, e->value, r->err);
    }
    p->n_metadata_props = kept;
    return rc;
}

static int read_model(struct mc_onnx_reader *r, Onnx__ModelProto *p)
{
    struct mc_graph *main_graph;
    if (!p->has_ir_version || !p->graph)
        return mc_fail(r->err, MC_EFORMAT, "'%s' is not an ONNX model: it has no %s", r->path,
                       p->has_ir_version ? "graph" : "IR version");
    if (p->ir_version < IR_OLDEST || p->ir_version > IR_NEWEST)
        return mc_fail(r->err, MC_EUNSUP,
                       "'%s' has IR version %lld; versions %d to %d are supported", r->path,
                       (long long)p->ir_version, IR_OLDEST, IR_NEWEST);
    r->m->ir_version = p->ir_version;
    int rc = read_opsets(r, p);
    if (!rc)
        rc = read_meta(r, p);
    if (!rc)
        rc = mc_onnx_read_graph(r, p->graph, NULL, NULL, &main_graph);
    for (size_t i = 0; !rc && i < p->n_functions; i++)
        rc = mc_onnx_read_function(r, p->functions[i]);
    if (rc)
        return rc;
    p->has_ir_version = 0;
    p->graph = NULL;
    p->n_functions = 0;
    rc = mc_onnx_inline_external(r, &p->base);
    return rc ? rc : mc_onnx_pack_rest(r, &p->base, &r->m->extra);
}

int mc_onnx_load(const char *bytes_at, const char *path, struct mc_onnx_files *files,
                 struct mc_model **ret, struct mc_err *err)
{
    struct mc_onnx_reader r = {.path = path, .files = files, .err = err};
    Onnx__ModelProto *tree;
    int rc = mc_onnx_map(bytes_at, &r.file, NULL, NULL, err);
    if (rc)
        return rc;
    rc = mc_onnx_unpack(mc_storage_data(r.file), mc_storage_bytes(r.file), path, &r.tree, &tree,
                        err);
    if (!rc)
        rc = mc_model_new(&r.m, err);
    if (!rc)
        rc = read_model(&r, tree);
    if (rc)
        mc_model_free(r.m);
    else
        *ret = r.m;
    mc_arena_free(&r.tree);
    mc_storage_unref(r.file);
    return rc;
}

int mc_onnx_verify(struct mc_model *m, const char *path, struct mc_model **ret, struct mc_err *err)
{
    struct mc_err why;
    int rc = mc_verify(m, &why);
    if (rc) {
        mc_model_free(m);
        return mc_fail(err, rc, "'%s': %s", path, why.msg);
    }
    *ret = m;
    return 0;
}

int mc_onnx_read(const char *path, struct mc_model **ret, struct mc_err *err)
{
    struct mc_onnx_files files;
    struct mc_model *m;
    mc_onnx_files_init(&files, path);
    int rc = mc_onnx_load(path, path, &files, &m, err);
    mc_onnx_files_close(&files);
    return rc ? rc : mc_onnx_verify(m, path, ret, err);
}
