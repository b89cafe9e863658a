#include "files.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>

static void need(bool ok, const char *what)
{
    if (!ok) {
        perror(what);
        exit(99);
    }
}

void buf_free(struct buf *b)
{
    free(b->p);
    *b = (struct buf){0};
}

void put(struct buf *b, const void *data, size_t n)
{
    b->p = realloc(b->p, b->n + n + 1);
    need(b->p, "realloc");
    if (n)
        memcpy(b->p + b->n, data, n);
    b->n += n;
}

void put_le(struct buf *b, uint64_t v, int bytes)
{
    for (int i = 0; i < bytes; i++)
        put(b, &(uint8_t){(uint8_t)(v >> 8 * i)}, 1);
}

void put_be(struct buf *b, uint64_t v, int bytes)
{
    for (int i = bytes; i-- > 0;)
        put(b, &(uint8_t){(uint8_t)(v >> 8 * i)}, 1);
}

struct buf make_npy(int version, const char *descr, bool fortran, const char *shape,
                    const void *data, size_t n)
{
    char text[256];
    int len = snprintf(text, sizeof text - 1, "{'descr': '%s', 'fortran_order': %s, 'shape': %s, }",
                       descr, fortran ? "True" : "False", shape);
    int fixed = version == 1 ? 10 : 12;
    while ((fixed + len + 1) % 64)
        text[len++] = ' ';
    text[len++] = '\n';
    struct buf b = {0};
    put(&b, "\x93NUMPY", 6);
    put(&b, (uint8_t[]){(uint8_t)version, 0}, 2);
    put_le(&b, (uint64_t)len, version == 1 ? 2 : 4);
    put(&b, text, (size_t)len);
    put(&b, data, n);
    return b;
}

struct buf make_idx(uint8_t type, int rank, const uint32_t *dims, const void *data, size_t n)
{
    struct buf b = {0};
    put(&b, (uint8_t[]){0, 0, type, (uint8_t)rank}, 4);
    for (int i = 0; i < rank; i++)
        put_be(&b, dims[i], 4);
    put(&b, data, n);
    return b;
}

static struct buf deflated(const struct buf *b, int window)
{
    z_stream z = {0};
    need(deflateInit2(&z, 6, Z_DEFLATED, window, 8, Z_DEFAULT_STRATEGY) == Z_OK, "deflateInit2");
    struct buf out = {malloc(deflateBound(&z, b->n) + 64), 0};
    need(out.p, "malloc");
    z.next_in = b->p;
    z.avail_in = (uInt)b->n;
    z.next_out = out.p;
    z.avail_out = (uInt)(deflateBound(&z, b->n) + 64);
    need(deflate(&z, Z_FINISH) == Z_STREAM_END, "deflate");
    out.n = z.total_out;
    deflateEnd(&z);
    return out;
}

struct buf make_gz(struct buf b)
{
    struct buf out = deflated(&b, 31);
    buf_free(&b);
    return out;
}

struct zip_member zip_member(const char *name, struct buf content, unsigned how)
{
    struct zip_member m = {.name = name, .content = content, .how = how};
    m.method = how & ZIP_DEFLATE ? 8 : 0;
    m.flags = how & ZIP_DESCRIPTOR ? 8 : 0;
    if (how & ZIP_DEFLATE)
        m.data = deflated(&content, -15);
    else
        put(&m.data, content.p, content.n);
    m.crc = (uint32_t)crc32(0, content.p, (uInt)content.n);
    m.packed = m.data.n;
    m.length = content.n;
    return m;
}

/* Fields that local and central headers share. */
static void sizes(struct buf *b, const struct zip_member *m, bool local)
{
    bool later = local && m->flags & 8;
    put_le(b, m->flags, 2);
    put_le(b, m->method, 2);
    put_le(b, 0, 4);
    put_le(b, later ? 0 : m->crc, 4);
    put_le(b, m->how & ZIP_64 ? UINT32_MAX : later ? 0 : m->packed, 4);
    put_le(b, m->how & ZIP_64 ? UINT32_MAX : later ? 0 : m->length, 4);
    put_le(b, strlen(m->name), 2);
}

static void wide(struct buf *b, const struct zip_member *m, uint64_t offset, bool local)
{
    put_le(b, 1, 2);
    put_le(b, local ? 16 : 24, 2);
    put_le(b, m->length, 8);
    put_le(b, m->packed, 8);
    if (!local)
        put_le(b, offset, 8);
}

static void directory_end(struct buf *out, uint64_t at, uint64_t size, int n, bool zip64)
{
    uint64_t end = out->n;
    if (zip64) {
        put(out, "PK\6\6", 4);
        put_le(out, 44, 8);
        put_le(out, 45, 2);
        put_le(out, 45, 2);
        put_le(out, 0, 8);
        put_le(out, (uint64_t)n, 8);
        put_le(out, (uint64_t)n, 8);
        put_le(out, size, 8);
        put_le(out, at, 8);
        put(out, "PK\6\7", 4);
        put_le(out, 0, 4);
        put_le(out, end, 8);
        put_le(out, 1, 4);
    }
    put(out, "PK\5\6", 4);
    put_le(out, 0, 4);
    put_le(out, zip64 ? UINT16_MAX : (uint64_t)n, 2);
    put_le(out, zip64 ? UINT16_MAX : (uint64_t)n, 2);
    put_le(out, zip64 ? UINT32_MAX : size, 4);
    put_le(out, zip64 ? UINT32_MAX : at, 4);
    put_le(out, 0, 2);
}

struct buf make_zip(struct zip_member *m, int n)
{
    struct buf out = {0}, central = {0};
    bool zip64 = false;
    for (int i = 0; i < n; i++) {
        uint64_t offset = out.n;
        bool w = m[i].how & ZIP_64;
        zip64 |= w;
        put(&out, "PK\3\4", 4);
        put_le(&out, w ? 45 : 20, 2);
        sizes(&out, &m[i], true);
        put_le(&out, w ? 20 : 0, 2);
        put(&out, m[i].name, strlen(m[i].name));
        if (w)
            wide(&out, &m[i], offset, true);
        put(&out, m[i].data.p, m[i].data.n);
        if (m[i].flags & 8) {
            put(&out, "PK\7\10", 4);
            put_le(&out, m[i].crc, 4);
            put_le(&out, m[i].packed, w ? 8 : 4);
            put_le(&out, m[i].length, w ? 8 : 4);
        }
        put(&central, "PK\1\2", 4);
        put_le(&central, 45, 2);
        put_le(&central, w ? 45 : 20, 2);
        sizes(&central, &m[i], false);
        put_le(&central, w ? 28 : 0, 2);
        put_le(&central, 0, 2 + 2 + 2 + 4);
        put_le(&central, w ? UINT32_MAX : offset, 4);
        put(&central, m[i].name, strlen(m[i].name));
        if (w)
            wide(&central, &m[i], offset, false);
        buf_free(&m[i].content);
        buf_free(&m[i].data);
    }
    uint64_t at = out.n;
    put(&out, central.p, central.n);
    directory_end(&out, at, central.n, n, zip64);
    buf_free(&central);
    return out;
}

static char folder[] = "/tmp/mc_test_formats.XXXXXX";
static bool made;

const char *path_of(const char *name)
{
    static char path[5][512];
    static int next;
    if (!made)
        need(mkdtemp(folder), "mkdtemp");
    made = true;
    char *p = path[next++ % 5];
    snprintf(p, sizeof path[0], "%s/%s", folder, name);
    return p;
}

const char *save(const char *name, struct buf b)
{
    const char *path = path_of(name);
    FILE *f = fopen(path, "wb");
    need(f && fwrite(b.p, 1, b.n, f) == b.n && !fclose(f), path);
    buf_free(&b);
    return path;
}

void remove_files(void)
{
    if (!made)
        return;
    DIR *d = opendir(folder);
    for (struct dirent *e; d && (e = readdir(d));) {
        char path[512];
        snprintf(path, sizeof path, "%s/%.200s", folder, e->d_name);
        unlink(path);
    }
    closedir(d);
    rmdir(folder);
}
