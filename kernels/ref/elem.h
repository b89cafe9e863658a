/* The element type of the reference kernels. Every file in this folder is written over `elem` and compiled
 * twice, with MC_ELEM_BITS 32 and 64; tgmath's exp, sqrt, … follow the type. MC_REF(name) is name_ref_f32
 * or name_ref_f64. */
#ifndef MC_KERNELS_REF_ELEM_H
#define MC_KERNELS_REF_ELEM_H

#include <tgmath.h>

#ifndef MC_ELEM_BITS
#define MC_ELEM_BITS 64
#endif

#if MC_ELEM_BITS == 32
typedef float elem;
#define MC_REF(name) name##_ref_f32
#else
typedef double elem;
#define MC_REF(name) name##_ref_f64
#endif

#endif
