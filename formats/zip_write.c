/* Sizes and checksum of a member are known when it is over: they follow it in a data descriptor. Everything
 * is in the 64-bit form (zip64), whatever its size, as numpy writes it too.
 * Source: PKWARE, APPNOTE.TXT 6.3.10, sections 4.3.7 to 4.3.16 and 4.5.3. */
#include "formats/zip_write.h"

#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "base/mem.h"

enum {
    VERSION = 45,             /* zip64 */
    FLAGS = 1 << 3 | 1 << 11, /* sizes in a descriptor; the name is UTF-8 */
    DATE = 33,                /* 1 January 1980: the same bytes every time */
    EXTRA_64 = 1,
};

struct member {
    char *name;
    uint64_t offset, size;
    uint32_t crc;
};

struct mc_zip_writer {
    struct mc_out *out;
    struct member *members;
    size_t n, cap;
    uint8_t line[64]; /* a record in the making */
    size_t used;
};

int mc_zip_writer_new(struct mc_out *out, struct mc_zip_writer **ret, struct mc_err *err)
{
    struct mc_zip_writer *z = mc_calloc(1, sizeof *z);
    if (!z)
        return mc_fail(err, MC_ENOMEM, "out of memory");
    z->out = out;
    *ret = z;
    return 0;
}

static void put(struct mc_zip_writer *z, uint64_t v, int bytes)
{
    for (int i = 0; i < bytes; i++)
        z->line[z->used++] = (uint8_t)(v >> 8 * i);
}

static void flush(struct mc_zip_writer *z)
{
    mc_out_write(z->out, z->line, z->used);
    z->used = 0;
}

/* The member that is being written is over. */
static void finish(struct mc_zip_writer *z)
{
    if (!z->n)
        return;
    const struct member *m = &z->members[z->n - 1];
    put(z, 0x08074b50, 4);
    put(z, m->crc, 4);
    put(z, m->size, 8);
    put(z, m->size, 8);
    flush(z);
}

int mc_zip_writer_begin(struct mc_zip_writer *z, const char *name, struct mc_err *err)
{
    finish(z);
    char *kept = strdup(name);
    if (!kept || !MC_GROW(z->members, z->n, z->cap)) {
        free(kept);
        return mc_fail(err, MC_ENOMEM, "out of memory");
    }
    z->members[z->n++] =
        (struct member){kept, mc_out_offset(z->out), 0, (uint32_t)crc32(0, NULL, 0)};
    put(z, 0x04034b50, 4);
    put(z, VERSION, 2);
    put(z, FLAGS, 2);
    put(z, 0, 2); /* stored */
    put(z, 0, 2);
    put(z, DATE, 2);
    put(z, 0, 4);
    put(z, UINT32_MAX, 4);
    put(z, UINT32_MAX, 4);
    put(z, strlen(name), 2);
    put(z, 20, 2);
    flush(z);
    mc_out_write(z->out, name, strlen(name));
    put(z, EXTRA_64, 2);
    put(z, 16, 2);
    put(z, 0, 8);
    put(z, 0, 8);
    flush(z);
    return 0;
}

void mc_zip_writer_data(struct mc_zip_writer *z, const void *data, size_t bytes)
{
    struct member *m = &z->members[z->n - 1];
    m->crc = (uint32_t)crc32_z(m->crc, data, bytes);
    m->size += bytes;
    mc_out_write(z->out, data, bytes);
}

static void directory_entry(struct mc_zip_writer *z, const struct member *m)
{
    put(z, 0x02014b50, 4);
    put(z, 3 << 8 | VERSION, 2); /* made on Unix */
    put(z, VERSION, 2);
    put(z, FLAGS, 2);
    put(z, 0, 2);
    put(z, 0, 2);
    put(z, DATE, 2);
    put(z, m->crc, 4);
    put(z, UINT32_MAX, 4);
    put(z, UINT32_MAX, 4);
    put(z, strlen(m->name), 2);
    put(z, 28, 2);
    put(z, 0, 2);
    put(z, 0, 2);
    put(z, 0, 2);
    put(z, (uint64_t)0100644 << 16, 4);
    put(z, UINT32_MAX, 4);
    flush(z);
    mc_out_write(z->out, m->name, strlen(m->name));
    put(z, EXTRA_64, 2);
    put(z, 24, 2);
    put(z, m->size, 8);
    put(z, m->size, 8);
    put(z, m->offset, 8);
    flush(z);
}

void mc_zip_writer_end(struct mc_zip_writer *z)
{
    finish(z);
    uint64_t start = mc_out_offset(z->out);
    for (size_t i = 0; i < z->n; i++)
        directory_entry(z, &z->members[i]);
    uint64_t end = mc_out_offset(z->out);
    put(z, 0x06064b50, 4);
    put(z, 44, 8);
    put(z, VERSION, 2);
    put(z, VERSION, 2);
    put(z, 0, 8);
    put(z, z->n, 8);
    put(z, z->n, 8);
    put(z, end - start, 8);
    put(z, start, 8);
    flush(z);
    put(z, 0x07064b50, 4);
    put(z, 0, 4);
    put(z, end, 8);
    put(z, 1, 4);
    flush(z);
    put(z, 0x06054b50, 4);
    put(z, 0, 4);
    put(z, UINT16_MAX, 2);
    put(z, UINT16_MAX, 2);
    put(z, UINT32_MAX, 4);
    put(z, UINT32_MAX, 4);
    put(z, 0, 2);
    flush(z);
    mc_zip_writer_free(z);
}

void mc_zip_writer_free(struct mc_zip_writer *z)
{
    for (size_t i = 0; i < z->n; i++)
        free(z->members[i].name);
    free(z->members);
    free(z);
}
