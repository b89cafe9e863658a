/* Bytes of a part of a mapped file, in order: as they are, or inflated. Checksums are checked on the way. */
#ifndef MC_FORMATS_STREAM_H
#define MC_FORMATS_STREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/io.h"

enum mc_stream_form {
    MC_STREAM_PLAIN,
    MC_STREAM_DEFLATE, /* raw, as in zip */
    MC_STREAM_GZIP,    /* one or more members */
};

struct mc_stream_src {
    const struct mc_map *map; /* outlives every stream over it */
    size_t offset, size;      /* the part; inside the map */
    enum mc_stream_form form;
    uint64_t length; /* bytes after inflating, UINT64_MAX where the file does not say (gzip) */
    bool has_crc;
    uint32_t crc; /* CRC-32 of those bytes */
};

/* The most bytes the source can hold: its length, or what deflate could make of its size at best. A
 * header that promises more lies. */
uint64_t mc_stream_limit(const struct mc_stream_src *src);

struct mc_stream;
/* what: how messages call the source, borrowed ("array 'x' of 'f.npz'"). Errors: MC_ENOMEM. */
int mc_stream_new(const struct mc_stream_src *src, const char *what, struct mc_stream **ret,
                  struct mc_err *err);
void mc_stream_free(struct mc_stream *s); /* accepts NULL */

/* Exactly n bytes to dst (NULL: pass over them). Errors: MC_EFORMAT if the source ends before or is
 * damaged; after an error only rewind makes the stream usable again. */
int mc_stream_read(struct mc_stream *s, void *dst, size_t n, struct mc_err *err);
/* At most n bytes, fewer only at the end. */
int mc_stream_read_some(struct mc_stream *s, void *dst, size_t n, size_t *ret_n,
                        struct mc_err *err);
/* The source must end here, with the checksum it promises. Errors: MC_EFORMAT. */
int mc_stream_finish(struct mc_stream *s, struct mc_err *err);
void mc_stream_rewind(struct mc_stream *s);

#endif
