#include "formats/stream.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

enum { CHUNK = 1 << 20 }; /* input given to zlib, and forgotten by the kernel, at once */

struct mc_stream {
    struct mc_stream_src src;
    const char *what;
    size_t at;     /* plain: next byte; deflate: next byte to give to zlib */
    size_t cooled; /* bytes before it were given back to the page cache */
    uint64_t out;  /* bytes handed out */
    uLong crc;
    z_stream z;
    bool z_open, z_end;
};

uint64_t mc_stream_limit(const struct mc_stream_src *src)
{
    /* The longest match is 258 bytes for 2 bits: 1032 to 1 (zlib's own technical note). */
    uint64_t most = src->form == MC_STREAM_PLAIN        ? src->size
                    : src->size > UINT64_MAX / 1032 - 1 ? UINT64_MAX
                                                        : ((uint64_t)src->size + 1) * 1032;
    return src->length < most ? src->length : most;
}

static int window_bits(enum mc_stream_form form)
{
    return form == MC_STREAM_GZIP ? 16 + MAX_WBITS : -MAX_WBITS;
}

int mc_stream_new(const struct mc_stream_src *src, const char *what, struct mc_stream **ret,
                  struct mc_err *err)
{
    assert(src->offset <= src->map->size && src->size <= src->map->size - src->offset);
    struct mc_stream *s = calloc(1, sizeof *s);
    if (!s)
        return mc_fail(err, MC_ENOMEM, "out of memory");
    s->src = *src;
    s->what = what;
    if (src->form != MC_STREAM_PLAIN) {
        if (inflateInit2(&s->z, window_bits(src->form)) != Z_OK) {
            free(s);
            return mc_fail(err, MC_ENOMEM, "out of memory");
        }
        s->z_open = true;
    }
    mc_stream_rewind(s);
    *ret = s;
    return 0;
}

void mc_stream_free(struct mc_stream *s)
{
    if (!s)
        return;
    if (s->z_open)
        inflateEnd(&s->z);
    free(s);
}

void mc_stream_rewind(struct mc_stream *s)
{
    s->at = s->cooled = 0;
    s->out = 0;
    s->crc = crc32(0, NULL, 0);
    s->z_end = false;
    if (s->z_open) {
        inflateReset2(&s->z, window_bits(s->src.form));
        s->z.avail_in = 0;
    }
}

/* A file read once from front to back must not stay resident as a whole. */
static void cool(struct mc_stream *s)
{
    if (s->at - s->cooled >= CHUNK) {
        mc_map_cool(s->src.map, s->src.offset + s->cooled, s->at - s->cooled);
        s->cooled = s->at;
    }
}

static int damaged(const struct mc_stream *s, const char *how, struct mc_err *err)
{
    return mc_fail(err, MC_EFORMAT, "%s is damaged: %s after %llu bytes; get the file again",
                   s->what, how, (unsigned long long)s->out);
}

/* Prepare zlib for more input; *ret_end when there is none. */
static int refill(struct mc_stream *s, bool *ret_end, struct mc_err *err)
{
    const uint8_t *data = s->src.map->data + s->src.offset;
    if (s->z_end) {
        size_t left = s->src.size - (s->at - s->z.avail_in);
        if (!left) {
            *ret_end = true;
            return 0;
        }
        /* gzip files may be concatenated; anything else behind the end is not ours to guess. */
        const uint8_t *next = data + s->src.size - left;
        if (s->src.form != MC_STREAM_GZIP || left < 2 || next[0] != 0x1f || next[1] != 0x8b)
            return damaged(s, "bytes follow the end of the compressed data", err);
        uInt kept = s->z.avail_in;
        inflateReset(&s->z);
        s->z.avail_in = kept;
        s->z_end = false;
    }
    if (!s->z.avail_in) {
        cool(s);
        size_t n = s->src.size - s->at < CHUNK ? s->src.size - s->at : CHUNK;
        if (!n)
            return damaged(s, "the compressed data end too early", err);
        s->z.next_in = (Bytef *)(data + s->at);
        s->z.avail_in = (uInt)n;
        s->at += n;
    }
    return 0;
}

static int inflate_some(struct mc_stream *s, uint8_t *dst, size_t n, size_t *ret_n,
                        struct mc_err *err)
{
    size_t got = 0;
    while (got < n) {
        bool end = false;
        int rc = refill(s, &end, err);
        if (rc)
            return rc;
        if (end)
            break;
        size_t want = n - got < CHUNK ? n - got : CHUNK;
        s->z.next_out = dst + got;
        s->z.avail_out = (uInt)want;
        int z = inflate(&s->z, Z_NO_FLUSH);
        got += want - s->z.avail_out;
        s->out += want - s->z.avail_out;
        if (z == Z_STREAM_END)
            s->z_end = true;
        else if (z == Z_MEM_ERROR)
            return mc_fail(err, MC_ENOMEM, "out of memory");
        else if (z != Z_OK && z != Z_BUF_ERROR)
            return damaged(s, s->z.msg ? s->z.msg : "the compressed data are invalid", err);
    }
    *ret_n = got;
    return 0;
}

static void copy_some(struct mc_stream *s, uint8_t *dst, size_t n, size_t *ret_n)
{
    size_t left = s->src.size - s->at;
    if (n > left)
        n = left;
    memcpy(dst, s->src.map->data + s->src.offset + s->at, n);
    s->at += n;
    s->out += n;
    cool(s);
    *ret_n = n;
}

int mc_stream_read_some(struct mc_stream *s, void *dst, size_t n, size_t *ret_n, struct mc_err *err)
{
    uint8_t scratch[1 << 14];
    size_t got = 0;
    while (got < n) {
        uint8_t *to = dst ? (uint8_t *)dst + got : scratch;
        size_t want = dst ? n - got : n - got < sizeof scratch ? n - got : sizeof scratch;
        if (want > CHUNK)
            want = CHUNK;
        size_t now = 0;
        if (s->src.form == MC_STREAM_PLAIN) {
            copy_some(s, to, want, &now);
        } else {
            int rc = inflate_some(s, to, want, &now, err);
            if (rc)
                return rc;
        }
        if (s->src.has_crc)
            s->crc = crc32(s->crc, to, (uInt)now);
        got += now;
        if (now < want)
            break;
    }
    *ret_n = got;
    return 0;
}

int mc_stream_read(struct mc_stream *s, void *dst, size_t n, struct mc_err *err)
{
    size_t got;
    int rc = mc_stream_read_some(s, dst, n, &got, err);
    if (!rc && got < n)
        rc = mc_fail(err, MC_EFORMAT, "%s is truncated: it ends after %llu bytes", s->what,
                     (unsigned long long)s->out);
    return rc;
}

int mc_stream_finish(struct mc_stream *s, struct mc_err *err)
{
    uint8_t more;
    size_t got;
    int rc = mc_stream_read_some(s, &more, 1, &got, err);
    if (rc)
        return rc;
    if (got)
        return mc_fail(err, MC_EFORMAT, "%s is longer than its header says: bytes follow at %llu",
                       s->what, (unsigned long long)(s->out - 1));
    if (s->src.has_crc && s->crc != s->src.crc)
        return mc_fail(err, MC_EFORMAT,
                       "%s is damaged: its CRC-32 is %08lx, the file promises %08lx", s->what,
                       (unsigned long)s->crc, (unsigned long)s->src.crc);
    return 0;
}
