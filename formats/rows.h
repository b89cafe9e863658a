/* Equal rows of bytes (one sample each) from a stream, by number and in any order.
 *
 * Rows that ascend are streamed: memory does not grow with their number. Another order makes the source addressable as
 * far as rows are asked for: a plain one is used where it is mapped, a compressed one is inflated into spill space and read
 * back from there, which takes no memory; a column-major one as a whole. Starting again at row 0 is not another
 * order. What lies behind the rows that were asked for is not looked at: damage there is no error yet, and checksums
 * are verified with the last row. */
#ifndef MC_FORMATS_ROWS_H
#define MC_FORMATS_ROWS_H

#include "formats/narray.h"

struct mc_rows;
/* Rows are the entries of axis 0 of `a` (rank >= 1), which is copied; what it points to is borrowed.
 * spill_dir: as for mc_spill_new, borrowed. Errors: MC_ENOMEM. */
int mc_rows_new(const struct mc_narray *a, const char *spill_dir, struct mc_rows **ret,
                struct mc_err *err);
void mc_rows_free(struct mc_rows *r);          /* accepts NULL */
size_t mc_rows_bytes(const struct mc_rows *r); /* of one row */

/* Row index[i] to dst + i * mc_rows_bytes, row-major, in the source's byte order. Thread-safe.
 * Errors: MC_EFORMAT damaged or truncated; MC_EIO no spill space. */
int mc_rows_read(struct mc_rows *r, const int64_t *index, int64_t n, void *dst, struct mc_err *err);
/* True once rows lie in spill space. */
bool mc_rows_spilled(const struct mc_rows *r);

#endif
