/* Layout: head (magic, version, kind), then blocks, each {name, size} in 64 bytes and its content filled up to a
 * multiple of 64, an entry without a name, and the SHA-256 of everything before. */
#include "base/blob.h"

#include <nettle/sha2.h>
#include <stdlib.h>
#include <string.h>

#include "base/io.h"
#include "base/mem.h"

enum { CELL = 64 };

static const char magic[16] = "mcompress blob\n";

struct head {
    char magic[16];
    char kind[MC_BLOB_NAME];
    uint32_t version, zero;
    uint64_t reserved;
};

struct entry {
    char name[MC_BLOB_NAME];
    uint64_t bytes;
    char zero[CELL - MC_BLOB_NAME - sizeof(uint64_t)];
};

_Static_assert(sizeof(struct head) == CELL && sizeof(struct entry) == CELL, "cells of 64 bytes");

struct mc_blob_out {
    struct mc_out *out;
    struct sha256_ctx sha;
};

struct mc_blob {
    struct mc_map map;
    size_t end; /* of the blocks */
};

static void put(struct mc_blob_out *b, const void *data, size_t bytes)
{
    mc_out_write(b->out, data, bytes);
    sha256_update(&b->sha, bytes, data);
}

int mc_blob_create(const char *path, const char *kind, uint32_t version, struct mc_blob_out **ret,
                   struct mc_err *err)
{
    struct mc_blob_out *b = calloc(1, sizeof *b);
    if (!b)
        return mc_fail(err, MC_ENOMEM, "'%s': out of memory", path);
    int rc = mc_out_open(path, &b->out, err);
    if (rc) {
        free(b);
        return rc;
    }
    struct head h = {.version = version};
    memcpy(h.magic, magic, sizeof magic);
    strncpy(h.kind, kind, sizeof h.kind - 1);
    sha256_init(&b->sha);
    put(b, &h, sizeof h);
    *ret = b;
    return 0;
}

void mc_blob_put(struct mc_blob_out *b, const char *name, const void *data, size_t bytes)
{
    static const char nothing[CELL];
    struct entry e = {.bytes = bytes};
    strncpy(e.name, name, sizeof e.name - 1);
    put(b, &e, sizeof e);
    if (bytes)
        put(b, data, bytes);
    put(b, nothing, (CELL - bytes % CELL) % CELL);
}

int mc_blob_commit(struct mc_blob_out *b, struct mc_err *err)
{
    uint8_t digest[SHA256_DIGEST_SIZE];
    struct entry end = {0};
    put(b, &end, sizeof end);
    sha256_digest(&b->sha, sizeof digest, digest);
    mc_out_write(b->out, digest, sizeof digest);
    int rc = mc_out_commit(b->out, err);
    free(b);
    return rc;
}

void mc_blob_abort(struct mc_blob_out *b)
{
    if (b)
        mc_out_abort(b->out);
    free(b);
}

static struct entry entry_at(const struct mc_blob *b, size_t at)
{
    struct entry e;
    memcpy(&e, b->map.data + at, sizeof e);
    return e;
}

/* Position behind a block, or 0 if that is outside. */
static size_t behind(const struct mc_blob *b, size_t at, const struct entry *e)
{
    size_t left = b->end - at - CELL;
    if (e->bytes > left || (e->bytes + CELL - 1) / CELL * CELL > left)
        return 0;
    return at + CELL + (size_t)(e->bytes + CELL - 1) / CELL * CELL;
}

static int check(const struct mc_blob *b, const char *path, const char *kind, uint32_t version,
                 struct mc_err *err)
{
    struct head h = {0};
    memcpy(&h, b->map.data, b->map.size < sizeof h ? b->map.size : sizeof h);
    h.kind[sizeof h.kind - 1] = '\0';
    if (b->map.size < sizeof h || memcmp(h.magic, magic, sizeof magic) != 0 ||
        strcmp(h.kind, kind) != 0)
        return mc_fail(err, MC_EFORMAT, "'%s' is no %s file of mcompress", path, kind);
    if (h.version != version)
        return mc_fail(err, MC_EFORMAT, "'%s' is a %s file of version %u, this program has %u",
                       path, kind, (unsigned)h.version, (unsigned)version);
    uint8_t digest[SHA256_DIGEST_SIZE];
    if (b->map.size < 2 * CELL + sizeof digest)
        return mc_fail(err, MC_EFORMAT, "'%s' is cut short", path);
    struct sha256_ctx sha;
    sha256_init(&sha);
    sha256_update(&sha, b->map.size - sizeof digest, b->map.data);
    sha256_digest(&sha, sizeof digest, digest);
    if (memcmp(digest, b->map.data + b->map.size - sizeof digest, sizeof digest) != 0)
        return mc_fail(err, MC_EFORMAT, "'%s' is cut short or damaged: its checksum is wrong",
                       path);
    size_t at = CELL;
    while (at && at + CELL <= b->end) {
        struct entry e = entry_at(b, at);
        if (!e.name[0] && at + CELL == b->end)
            return 0;
        at = behind(b, at, &e);
    }
    return mc_fail(err, MC_EFORMAT, "'%s' is damaged: its blocks do not fill it", path);
}

int mc_blob_open(const char *path, const char *kind, uint32_t version, struct mc_blob **ret,
                 struct mc_err *err)
{
    struct mc_blob *b = calloc(1, sizeof *b);
    if (!b)
        return mc_fail(err, MC_ENOMEM, "'%s': out of memory", path);
    int rc = mc_map_open(path, &b->map, err);
    if (!rc) {
        b->end = b->map.size < SHA256_DIGEST_SIZE ? 0 : b->map.size - SHA256_DIGEST_SIZE;
        rc = check(b, path, kind, version, err);
    }
    if (rc) {
        mc_blob_close(b);
        return rc;
    }
    *ret = b;
    return 0;
}

const void *mc_blob_get(const struct mc_blob *b, const char *name, size_t *ret_bytes)
{
    for (size_t at = CELL; at + CELL < b->end;) {
        struct entry e = entry_at(b, at);
        if (strncmp(e.name, name, sizeof e.name) == 0) {
            *ret_bytes = (size_t)e.bytes;
            return b->map.data + at + CELL;
        }
        at = behind(b, at, &e);
    }
    return NULL;
}

void mc_blob_close(struct mc_blob *b)
{
    if (b)
        mc_map_close(&b->map);
    free(b);
}
