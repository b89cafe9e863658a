#include "formats/onnx.h"

#include <limits.h>
#include <nettle/sha2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/interrupt.h"
#include "formats/onnx_parts.h"

/* No reader of protobuf takes a longer message. */
enum { MODEL_MAX = INT_MAX, EXTERNAL_FROM = 1024 };

struct mc_onnx_staged {
    char *path;
    char *location;       /* the external file as the model names it */
    struct mc_out *model; /* finished */
    struct mc_out *data;  /* finished, or NULL */
};

/* ---- what to write ---- */

static char *location_for(const char *path)
{
    char *s;
    return asprintf(&s, "%s.data", mc_path_base(path)) < 0 ? NULL : s;
}

/* The tree, and the model's bytes in it. location: for external data, which is used if asked for, if the
 * model came with it or if it would be too large otherwise. */
static int make_tree(const struct mc_model *m, const char *location,
                     const struct mc_onnx_write_opts *opts, struct mc_onnx_tree *t,
                     uint64_t *ret_bytes, struct mc_err *err)
{
    bool external = m->external || (opts && opts->external);
    for (;; external = true) {
        *t = (struct mc_onnx_tree){
            .location = external ? location : NULL,
            .from = opts && opts->external_from ? opts->external_from : EXTERNAL_FROM,
        };
        int rc = mc_onnx_tree_make(t, m, err);
        if (!rc) {
            *ret_bytes = onnx__model_proto__get_packed_size(t->model);
            if (*ret_bytes <= MODEL_MAX)
                return 0;
        }
        mc_onnx_tree_free(t);
        if (rc)
            return rc;
        if (external)
            return mc_fail(
                err, MC_EUNSUP,
                "the model has more than 2 GB besides its tensors: no reader would take it");
    }
}

int mc_onnx_bytes(const struct mc_model *m, const char *path, const struct mc_onnx_write_opts *opts,
                  uint64_t *ret, struct mc_err *err)
{
    struct mc_onnx_tree t;
    uint64_t bytes;
    char *location = location_for(path ? path : "model.onnx");
    int rc = location ? make_tree(m, location, opts, &t, &bytes, err)
                      : mc_fail(err, MC_ENOMEM, "out of memory");
    if (!rc) {
        *ret = bytes + t.data_end;
        mc_onnx_tree_free(&t);
    }
    free(location);
    return rc;
}

/* ---- stage ---- */

struct sink {
    ProtobufCBuffer base;
    struct mc_out *out;
};

static void append(ProtobufCBuffer *b, size_t n, const uint8_t *data)
{
    mc_out_write(((struct sink *)b)->out, data, n);
}

static int write_data(const struct mc_onnx_tree *t, struct mc_out *out, struct mc_err *err)
{
    static const uint8_t zeros[4096];
    int rc = 0;
    for (size_t i = 0; !rc && i < t->n_placed; i++) {
        const struct mc_onnx_placed *x = &t->placed[i];
        mc_out_write(out, zeros, (size_t)(x->offset - mc_out_offset(out)));
        mc_out_write(out, x->tensor->data, x->tensor->bytes);
        rc = mc_interrupt_check(err);
    }
    return rc ? rc : mc_out_finish(out, err);
}

static int stage_data(struct mc_onnx_staged *s, const struct mc_onnx_tree *t, struct mc_err *err)
{
    char *path;
    if (!t->n_placed)
        return 0;
    if (mc_path_streams(s->path))
        return mc_fail(err, MC_EUSAGE,
                       "a model with external data cannot go to %s: give the name of a file",
                       strcmp(s->path, "-") ? s->path : "standard output");
    if (asprintf(&path, "%s.data", s->path) < 0)
        return mc_fail(err, MC_ENOMEM, "out of memory");
    int rc = mc_out_open(path, &s->data, err);
    free(path);
    return rc ? rc : write_data(t, s->data, err);
}

int mc_onnx_stage(const struct mc_model *m, const char *path, const struct mc_onnx_write_opts *opts,
                  struct mc_onnx_staged **ret, struct mc_err *err)
{
    struct mc_onnx_tree t = {0};
    uint64_t bytes;
    struct mc_onnx_staged *s = calloc(1, sizeof *s);
    if (!s || !(s->path = strdup(path)) || !(s->location = location_for(path))) {
        mc_onnx_staged_abort(s);
        return mc_fail(err, MC_ENOMEM, "out of memory");
    }
    int rc = make_tree(m, s->location, opts, &t, &bytes, err);
    if (!rc)
        rc = stage_data(s, &t, err);
    if (!rc)
        rc = mc_out_open(path, &s->model, err);
    if (!rc) {
        struct sink sink = {{append}, s->model};
        onnx__model_proto__pack_to_buffer(t.model, &sink.base);
        rc = mc_out_finish(s->model, err);
    }
    mc_onnx_tree_free(&t);
    if (rc)
        mc_onnx_staged_abort(s);
    else
        *ret = s;
    return rc;
}

void mc_onnx_staged_abort(struct mc_onnx_staged *s)
{
    if (!s)
        return;
    mc_out_abort(s->model);
    mc_out_abort(s->data);
    free(s->location);
    free(s->path);
    free(s);
}

int mc_onnx_staged_commit(struct mc_onnx_staged *s, struct mc_err *err)
{
    int rc = 0;
    if (s->data) {
        rc = mc_out_commit(s->data, err);
        s->data = NULL;
    }
    if (!rc) {
        rc = mc_out_commit(s->model, err);
        s->model = NULL;
    }
    mc_onnx_staged_abort(s);
    return rc;
}

int mc_onnx_write(const struct mc_model *m, const char *path, const struct mc_onnx_write_opts *opts,
                  struct mc_err *err)
{
    struct mc_onnx_staged *s;
    int rc = mc_onnx_stage(m, path, opts, &s, err);
    return rc ? rc : mc_onnx_staged_commit(s, err);
}

int mc_onnx_staged_read(const struct mc_onnx_staged *s, struct mc_model **ret, struct mc_err *err)
{
    char peek[MC_PATH];
    struct mc_onnx_files files;
    struct mc_model *m;
    mc_onnx_files_init(&files, s->path);
    int rc = s->data ? mc_onnx_files_add(&files, s->location, mc_out_peek(s->data, peek), err) : 0;
    if (!rc)
        rc = mc_onnx_load(mc_out_peek(s->model, peek), s->path, &files, &m, err);
    mc_onnx_files_close(&files);
    return rc ? rc : mc_onnx_verify(m, s->path, ret, err);
}

/* ---- digest ---- */

/* Hashed a part at a time, each of which leaves memory again. */
enum { HASH_PART = 1 << 22 };

static int hash_file(struct sha256_ctx *c, const char *path, uint64_t *bytes, struct mc_err *err)
{
    struct mc_map map;
    int rc = mc_map_open(path, &map, err);
    if (rc)
        return rc;
    for (size_t at = 0; at < map.size;) {
        size_t n = map.size - at < HASH_PART ? map.size - at : HASH_PART;
        sha256_update(c, n, map.data + at);
        mc_map_cool(&map, at, n);
        at += n;
    }
    *bytes += map.size;
    mc_map_close(&map);
    return 0;
}

static void hash_text(struct sha256_ctx *c, char ret[65])
{
    uint8_t digest[SHA256_DIGEST_SIZE];
    sha256_digest(c, sizeof digest, digest);
    for (size_t i = 0; i < sizeof digest; i++)
        snprintf(ret + 2 * i, 3, "%02x", digest[i]);
}

int mc_onnx_staged_digest(const struct mc_onnx_staged *s, char ret_hex[65], uint64_t *ret_bytes,
                          struct mc_err *err)
{
    char peek[MC_PATH];
    struct sha256_ctx c;
    uint64_t bytes = 0;
    sha256_init(&c);
    int rc = hash_file(&c, mc_out_peek(s->model, peek), &bytes, err);
    if (!rc && s->data)
        rc = hash_file(&c, mc_out_peek(s->data, peek), &bytes, err);
    if (rc)
        return rc;
    hash_text(&c, ret_hex);
    *ret_bytes = bytes;
    return 0;
}

int mc_onnx_digest(const char *path, char ret_hex[65], uint64_t *ret_bytes, struct mc_err *err)
{
    struct sha256_ctx c;
    struct mc_onnx_files files;
    struct mc_model *m = NULL;
    uint64_t bytes = 0;
    sha256_init(&c);
    mc_onnx_files_init(&files, path);
    int rc = hash_file(&c, path, &bytes, err);
    if (!rc)
        rc = mc_onnx_load(path, path, &files, &m, err);
    for (size_t i = 0; !rc && i < files.n_files; i++) {
        size_t n = mc_storage_bytes(files.files[i].storage);
        sha256_update(&c, n, mc_storage_data(files.files[i].storage));
        bytes += n;
    }
    mc_model_free(m);
    mc_onnx_files_close(&files);
    if (rc)
        return rc;
    hash_text(&c, ret_hex);
    *ret_bytes = bytes;
    return 0;
}
