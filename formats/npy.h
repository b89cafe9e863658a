/* Headers of NumPy's .npy files, versions 1 to 3. */
#ifndef MC_FORMATS_NPY_H
#define MC_FORMATS_NPY_H

#include "formats/narray.h"

/* True if the bytes start like a .npy file. */
bool mc_npy_probe(const uint8_t *head, size_t n);

/* Read the header of a->src into a's skip, dtype, swap, fortran and shape; name, what and src are set by
 * the caller. Every numeric dtype but long double. The header is data: nothing in it is evaluated.
 * Errors: MC_EFORMAT; MC_EUNSUP naming a dtype that has no counterpart (objects, text, records).
 * Source: NumPy Enhancement Proposal 1 and numpy/lib/format.py. */
int mc_npy_read(struct mc_narray *a, struct mc_err *err);

#endif
