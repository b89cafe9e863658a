/* What becomes of a 32-bit sum s of channel j (column of a product, output channel of a convolution) on its way
 * to memory. All zero: s itself, as int32.
 *
 *     s' = s + bias[j]                                                         wrapping
 *     MC_S8_I32:        y = s'
 *     MC_S8_U8, _I8:    y = clamp(round(s' scale[j] + (r - r_zero) r_scale) + zero, lo, hi)
 *     MC_S8_F32:        y = min(max(s' scale[j] + shift[j], least), most)
 * In float32, each operation rounded by itself, half to even where an integer is wanted: the same bits at every
 * level. A narrower [lo, hi] is a Relu or a Clip. */
#ifndef MC_KERNELS_OUT_S8_H
#define MC_KERNELS_OUT_S8_H

#include <stdbool.h>
#include <stdint.h>

enum mc_s8_type { MC_S8_I32, MC_S8_U8, MC_S8_I8, MC_S8_F32 };

struct mc_s8_out {
    enum mc_s8_type type;
    const int32_t *bias;  /* or NULL */
    const float *scale;   /* > 0, finite; of channel j scale[j * scale_step]. Not of int32 */
    int64_t scale_step;   /* 0 or 1 */
    int32_t zero, lo, hi; /* within the type; lo <= hi */
    const void
        *residual; /* r, of y's layout and places, uint8 or int8; or NULL. May be y. Of U8 and I8 */
    bool r_signed;
    int32_t r_zero;
    float r_scale;
    const float *shift; /* of F32, or NULL */
    float least, most;  /* of F32: -inf and inf for no clamp */
};

static inline int mc_s8_bytes(enum mc_s8_type type)
{
    return type == MC_S8_I32 || type == MC_S8_F32 ? 4 : 1;
}

#endif
