/* The output stage of integer products, for one sum. */
#ifndef MC_KERNELS_REF_OUT_S8_REF_H
#define MC_KERNELS_REF_OUT_S8_REF_H

#include <math.h>

#include "kernels/out_s8.h"

static inline int32_t s8_value(const void *data, bool is_signed, int64_t at)
{
    return is_signed ? ((const int8_t *)data)[at] : ((const uint8_t *)data)[at];
}

/* clamp(round(v) + zero, lo, hi); v is no NaN. */
static inline int32_t s8_round(float v, int32_t zero, int32_t lo, int32_t hi)
{
    float least = (float)(lo - zero), most = (float)(hi - zero);
    v = v < least ? least : v > most ? most : v;
    return (int32_t)rintf(v) + zero;
}

/* Sum of channel j to element `at` of y. */
static inline void s8_put(const struct mc_s8_out *t, int32_t sum, int64_t j, void *y, int64_t at)
{
    if (t->bias)
        sum = (int32_t)((uint32_t)sum + (uint32_t)t->bias[j]);
    if (t->type == MC_S8_I32) {
        ((int32_t *)y)[at] = sum;
        return;
    }
    float v = (float)sum * t->scale[j * t->scale_step];
    if (t->type == MC_S8_F32) {
        v += t->shift ? t->shift[j] : 0;
        ((float *)y)[at] = v < t->least ? t->least : v > t->most ? t->most : v;
        return;
    }
    if (t->residual)
        v += (float)(s8_value(t->residual, t->r_signed, at) - t->r_zero) * t->r_scale;
    ((uint8_t *)y)[at] = (uint8_t)s8_round(v, t->zero, t->lo, t->hi);
}

#endif
