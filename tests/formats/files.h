/* Small files made byte by byte, for the tests of formats/. Failing to make one ends the program. */
#ifndef MC_TESTS_FORMATS_FILES_H
#define MC_TESTS_FORMATS_FILES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct buf {
    uint8_t *p;
    size_t n;
};
void buf_free(struct buf *b);
void put(struct buf *b, const void *data, size_t n);
void put_le(struct buf *b, uint64_t v, int bytes);
void put_be(struct buf *b, uint64_t v, int bytes);

/* A .npy file: descr as NumPy writes it ("<f4"), shape with its brackets ("(3, 4)"). */
struct buf make_npy(int version, const char *descr, bool fortran, const char *shape,
                    const void *data, size_t n);
/* An IDX file of the given type code. */
struct buf make_idx(uint8_t type, int rank, const uint32_t *dims, const void *data, size_t n);
/* One gzip member around b, which is freed. */
struct buf make_gz(struct buf b);

/* A zip archive in the making. The fields after how are what the headers claim; change them to lie. */
enum { ZIP_DEFLATE = 1, ZIP_64 = 2, ZIP_DESCRIPTOR = 4 };
struct zip_member {
    const char *name;
    struct buf content;
    unsigned how;
    unsigned method, flags;
    uint32_t crc;
    uint64_t packed, length;
    struct buf data; /* as stored in the file */
};
struct zip_member zip_member(const char *name, struct buf content, unsigned how);
/* Consumes the members. */
struct buf make_zip(struct zip_member *m, int n);

/* Write b, which is freed, to NAME in a folder of this test; the path stays valid until four more calls. */
const char *save(const char *name, struct buf b);
/* Path of NAME in that folder. */
const char *path_of(const char *name);
void remove_files(void); /* folder and all */

#endif
