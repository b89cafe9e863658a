/* Combining an element with another at its place, as the CPU and the device do it. Names as in body_typed.h. */
#ifndef MC_KERNELS_BODY_PUT_H
#define MC_KERNELS_BODY_PUT_H

#include "kernels/body_typed.h"
#include "kernels/places.h"

/* Whole numbers in 64 bits without sign, so that overflow wraps. */
#define MC_PUT_OF(type, name, wide)                                                                \
    MC_HD type MC_TYPED(mc_put_of, name)(enum mc_put_fn fn, type y, type x)                        \
    {                                                                                              \
        switch (fn) {                                                                              \
        case MC_PUT_ADD: return (type)((wide)y + (wide)x);                                         \
        case MC_PUT_MUL: return (type)((wide)y * (wide)x);                                         \
        case MC_PUT_MIN: return x < y ? x : y;                                                     \
        case MC_PUT_MAX: return x > y ? x : y;                                                     \
        default: return x;                                                                         \
        }                                                                                          \
    }
#define MC_PUT_WHOLE(type, name, least, most) MC_PUT_OF(type, name, uint64_t)
INTEGERS(MC_PUT_WHOLE)
MC_PUT_OF(float, F32, float)
MC_PUT_OF(double, F64, double)

/* Sum and product of truth values are "or" and "and". */
MC_HD uint8_t mc_put_truth(enum mc_put_fn fn, uint8_t y, uint8_t x)
{
    return fn == MC_PUT_REPLACE ? x : fn == MC_PUT_ADD || fn == MC_PUT_MAX ? x || y : x && y;
}

#endif
