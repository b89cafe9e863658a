/* A zip archive of stored members, written front to back. */
#ifndef MC_FORMATS_ZIP_WRITE_H
#define MC_FORMATS_ZIP_WRITE_H

#include <stddef.h>

#include "base/io.h"

struct mc_zip_writer;
/* Into `out`, which is borrowed and must be empty. Errors: MC_ENOMEM. */
int mc_zip_writer_new(struct mc_out *out, struct mc_zip_writer **ret, struct mc_err *err);
/* A new member, after the one before. Errors: MC_ENOMEM. */
int mc_zip_writer_begin(struct mc_zip_writer *z, const char *name, struct mc_err *err);
void mc_zip_writer_data(struct mc_zip_writer *z, const void *data, size_t bytes);
/* The directory; frees z. What cannot be written is reported by the commit of `out`. */
void mc_zip_writer_end(struct mc_zip_writer *z);
void mc_zip_writer_free(struct mc_zip_writer *z); /* an archive that is given up */

#endif
