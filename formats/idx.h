/* IDX files, as MNIST has them. */
#ifndef MC_FORMATS_IDX_H
#define MC_FORMATS_IDX_H

#include "formats/narray.h"

/* True if the bytes start like an IDX file: two zeros, a known type, at least one axis. */
bool mc_idx_probe(const uint8_t *head, size_t n);

/* Header -> a's skip, dtype, swap, image (type u8), layout and shape; name, what and src are set by the caller.
 * Errors: MC_EFORMAT. */
int mc_idx_read(const uint8_t *head, size_t n, struct mc_narray *a, struct mc_err *err);

#endif
