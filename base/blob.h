/* A file of named blocks with a checksum over all of it: what a run keeps to go on from. It appears whole or not at
 * all (base/io.h). Numbers in it are those of this machine: little endian. */
#ifndef MC_BASE_BLOB_H
#define MC_BASE_BLOB_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct mc_blob_out;
struct mc_blob;

enum { MC_BLOB_NAME = 32 }; /* longest name of a kind or a block, with its NUL */

/* kind: what the blocks are ("training"); version: of their layout. Errors: MC_EIO, MC_ENOMEM. */
int mc_blob_create(const char *path, const char *kind, uint32_t version, struct mc_blob_out **ret,
                   struct mc_err *err);
/* Errors are remembered until commit. */
void mc_blob_put(struct mc_blob_out *b, const char *name, const void *data, size_t bytes);
/* Over the old file; frees b in any case. Errors: MC_EIO. */
int mc_blob_commit(struct mc_blob_out *b, struct mc_err *err);
void mc_blob_abort(struct mc_blob_out *b); /* accepts NULL */

/* Errors: MC_EOPEN if it cannot be read; MC_EFORMAT for a file that is no blob of that kind and version, is cut
 * short, or whose checksum is wrong. */
int mc_blob_open(const char *path, const char *kind, uint32_t version, struct mc_blob **ret,
                 struct mc_err *err);
/* A block, borrowed and 64-byte aligned; NULL if there is none of that name. */
const void *mc_blob_get(const struct mc_blob *b, const char *name, size_t *ret_bytes);
void mc_blob_close(struct mc_blob *b); /* accepts NULL */

#endif
