/* Elements of one type to another, refusing what would change their meaning. */
#ifndef MC_FORMATS_CAST_H
#define MC_FORMATS_CAST_H

#include "graph/dtype.h"

struct mc_cast_fault {
    size_t at;      /* element */
    bool nan;       /* it is not a number; otherwise it does not fit the target */
    char value[32]; /* as text */
};

/* Can elements be converted at all? Numbers to numbers; complex only to itself; no types below 8 bits. */
bool mc_cast_possible(enum mc_dtype from, enum mc_dtype to);

/* n elements. Floats round to nearest even (64-bit integers by way of f64) and keep infinities; a finite one that would become infinite
 * does not fit. Integers and bool take only values they can hold exactly. NaN is a fault everywhere: no
 * model answers it usefully. src and dst may be the same buffer if the types are. Returns 0, or MC_EDATA
 * (NaN) or MC_EDTYPE (does not fit) with the first fault in *ret.
 * Precondition: mc_cast_possible(from, to). */
int mc_cast(enum mc_dtype from, const void *src, enum mc_dtype to, void *dst, size_t n,
            struct mc_cast_fault *ret);

/* Reverse the bytes of n elements in place. */
void mc_cast_swap(enum mc_dtype dtype, void *data, size_t n);

#endif
