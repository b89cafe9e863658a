/* The directory of a zip archive (also zip64), as far as .npz needs it: stored and deflated members. */
#ifndef MC_FORMATS_ZIP_H
#define MC_FORMATS_ZIP_H

#include "formats/stream.h"

struct mc_zip_entry {
    const char *name; /* NUL-terminated */
    unsigned method, flags;
    uint32_t crc;
    uint64_t packed, length; /* bytes in the file; after inflating */
    uint64_t local;          /* offset of the local header */
};

struct mc_zip {
    const struct mc_map *map;
    const char *what; /* how messages call the archive: "'f.npz'" */
    struct mc_zip_entry *entries;
    size_t n;
    char *names;
};

/* True if the bytes start like a zip archive. */
bool mc_zip_probe(const uint8_t *head, size_t n);
/* Reads the directory only. map and what are borrowed. Errors: MC_EFORMAT, MC_EUNSUP (several disks). */
int mc_zip_open(const struct mc_map *map, const char *what, struct mc_zip *ret, struct mc_err *err);
void mc_zip_close(struct mc_zip *z); /* accepts a zeroed struct */
/* Where the content of an entry is, with its checksum. Errors: MC_EFORMAT; MC_EUNSUP for encryption and for
 * other methods. */
int mc_zip_src(const struct mc_zip *z, const struct mc_zip_entry *e, struct mc_stream_src *ret,
               struct mc_err *err);

#endif
