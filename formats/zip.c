/* Source: PKWARE, .ZIP File Format Specification 6.3.10, sections 4.3 and 4.5.3. Sizes are taken from the
 * central directory, which also has them for members written with data descriptors. */
#include "formats/zip.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

enum { END = 22, END64 = 56, LOCATOR64 = 20, CENTRAL = 46, LOCAL = 30 };
enum { STORED = 0, DEFLATED = 8 };
enum { ENCRYPTED = 1 };

static unsigned u16(const uint8_t *p)
{
    return p[0] | (unsigned)p[1] << 8;
}

static uint32_t u32(const uint8_t *p)
{
    return u16(p) | (uint32_t)u16(p + 2) << 16;
}

static uint64_t u64(const uint8_t *p)
{
    return u32(p) | (uint64_t)u32(p + 4) << 32;
}

bool mc_zip_probe(const uint8_t *head, size_t n)
{
    return n >= 4 && (!memcmp(head, "PK\3\4", 4) || !memcmp(head, "PK\5\6", 4));
}

/* Offset of the end record, found from the back since a comment may follow it; size_t -1 if none. */
static size_t find_end(const struct mc_map *m)
{
    size_t lowest = m->size > END + 65535 ? m->size - END - 65535 : 0;
    for (size_t at = m->size >= END ? m->size - END + 1 : 0; at-- > lowest;)
        if (!memcmp(m->data + at, "PK\5\6", 4) && at + END + u16(m->data + at + 20) == m->size)
            return at;
    return SIZE_MAX;
}

struct directory {
    uint64_t n, size, at;
};

static int find_directory(const struct mc_map *m, const char *what, struct directory *ret,
                          struct mc_err *err)
{
    size_t end = find_end(m);
    if (end == SIZE_MAX)
        return mc_fail(err, MC_EFORMAT, "%s is truncated: it has no zip directory at its end",
                       what);
    const uint8_t *e = m->data + end;
    unsigned disk = u16(e + 4);
    *ret = (struct directory){u16(e + 10), u32(e + 12), u32(e + 16)};
    uint64_t before = end;
    if (end >= LOCATOR64 && !memcmp(e - LOCATOR64, "PK\6\7", 4)) {
        uint64_t at = u64(e - LOCATOR64 + 8);
        if (at > end - LOCATOR64 || end - LOCATOR64 - at < END64 ||
            memcmp(m->data + at, "PK\6\6", 4))
            return mc_fail(err, MC_EFORMAT, "%s: its zip64 directory is not where it should be",
                           what);
        const uint8_t *e64 = m->data + at;
        disk = u32(e64 + 16);
        *ret = (struct directory){u64(e64 + 32), u64(e64 + 40), u64(e64 + 48)};
        before = at;
    }
    if (disk)
        return mc_fail(err, MC_EUNSUP, "%s is one part of a split zip archive", what);
    if (ret->at > before || ret->size > before - ret->at || ret->n > ret->size / CENTRAL)
        return mc_fail(err, MC_EFORMAT, "%s: its zip directory lies outside the file", what);
    return 0;
}

/* Values that did not fit into 32 bits follow in the zip64 extra field, in this order. */
static bool extend(struct mc_zip_entry *e, const uint8_t *extra, size_t n)
{
    uint64_t *wide[3];
    size_t n_wide = 0;
    if (e->length == UINT32_MAX)
        wide[n_wide++] = &e->length;
    if (e->packed == UINT32_MAX)
        wide[n_wide++] = &e->packed;
    if (e->local == UINT32_MAX)
        wide[n_wide++] = &e->local;
    while (n_wide && n >= 4) {
        size_t size = u16(extra + 2);
        if (size > n - 4)
            return false;
        if (u16(extra) == 1) {
            if (size < 8 * n_wide)
                return false;
            for (size_t i = 0; i < n_wide; i++)
                *wide[i] = u64(extra + 4 + 8 * i);
            return true;
        }
        extra += 4 + size;
        n -= 4 + size;
    }
    return !n_wide;
}

static int read_directory(struct mc_zip *z, const struct directory *d, struct mc_err *err)
{
    const uint8_t *p = z->map->data + d->at, *end = p + d->size;
    char *names = z->names;
    for (size_t i = 0; i < d->n; i++) {
        if (end - p < CENTRAL || memcmp(p, "PK\1\2", 4))
            return mc_fail(err, MC_EFORMAT, "%s: entry %zu of its zip directory is damaged",
                           z->what, i);
        size_t name = u16(p + 28), extra = u16(p + 30), comment = u16(p + 32);
        if ((size_t)(end - p) < CENTRAL + name + extra + comment || memchr(p + CENTRAL, 0, name))
            return mc_fail(err, MC_EFORMAT, "%s: entry %zu of its zip directory is damaged",
                           z->what, i);
        struct mc_zip_entry e = {.name = names,
                                 .flags = u16(p + 8),
                                 .method = u16(p + 10),
                                 .crc = u32(p + 16),
                                 .packed = u32(p + 20),
                                 .length = u32(p + 24),
                                 .local = u32(p + 42)};
        memcpy(names, p + CENTRAL, name);
        names[name] = 0;
        names += name + 1;
        if (!extend(&e, p + CENTRAL + name, extra))
            return mc_fail(err, MC_EFORMAT, "%s: member '%s' lacks its zip64 sizes", z->what,
                           e.name);
        z->entries[z->n++] = e;
        p += CENTRAL + name + extra + comment;
    }
    return 0;
}

int mc_zip_open(const struct mc_map *map, const char *what, struct mc_zip *ret, struct mc_err *err)
{
    struct directory d = {0};
    int rc = find_directory(map, what, &d, err);
    if (rc)
        return rc;
    struct mc_zip z = {.map = map, .what = what};
    z.entries = mc_calloc(d.n ? d.n : 1, sizeof *z.entries);
    z.names = mc_calloc(d.size + 1, 1); /* each entry has more fixed bytes than its name needs */
    if (!z.entries || !z.names)
        rc = mc_fail(err, MC_ENOMEM, "out of memory");
    if (!rc)
        rc = read_directory(&z, &d, err);
    if (rc)
        mc_zip_close(&z);
    else
        *ret = z;
    return rc;
}

void mc_zip_close(struct mc_zip *z)
{
    free(z->entries);
    free(z->names);
    *z = (struct mc_zip){0};
}

int mc_zip_src(const struct mc_zip *z, const struct mc_zip_entry *e, struct mc_stream_src *ret,
               struct mc_err *err)
{
    const struct mc_map *m = z->map;
    if (e->flags & ENCRYPTED)
        return mc_fail(err, MC_EUNSUP, "%s: member '%s' is encrypted", z->what, e->name);
    if (e->method != STORED && e->method != DEFLATED)
        return mc_fail(err, MC_EUNSUP,
                       "%s: member '%s' is packed with zip method %u; use numpy.savez or "
                       "numpy.savez_compressed",
                       z->what, e->name, e->method);
    if (e->local > m->size || m->size - e->local < LOCAL || memcmp(m->data + e->local, "PK\3\4", 4))
        return mc_fail(err, MC_EFORMAT, "%s: member '%s' is not where its directory says", z->what,
                       e->name);
    const uint8_t *p = m->data + e->local;
    uint64_t at = e->local + LOCAL + u16(p + 26) + u16(p + 28);
    if (at > m->size || e->packed > m->size - at)
        return mc_fail(err, MC_EFORMAT, "%s: member '%s' reaches beyond the end of the file",
                       z->what, e->name);
    if (e->method == STORED && e->packed != e->length)
        return mc_fail(err, MC_EFORMAT, "%s: stored member '%s' has two sizes", z->what, e->name);
    *ret = (struct mc_stream_src){
        .map = m,
        .offset = (size_t)at,
        .size = (size_t)e->packed,
        .form = e->method == STORED ? MC_STREAM_PLAIN : MC_STREAM_DEFLATE,
        .length = e->length,
        .has_crc = true,
        .crc = e->crc,
    };
    return 0;
}
