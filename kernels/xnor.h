/* Products of signs: +1 and -1 in one bit each, so that a product of k of them is k - 2 popcount(a ^ b).
 *
 * Bit i of byte j of a row is element 8j + i; 1 means +1, 0 means -1. Bits behind the last element are 0. Sums are exact;
 * what is made of them is rounded as written below, so all levels give the same bits.
 *
 * Source: Rastegari et al., XNOR-Net, 2016; deviates: no scale of activations. */
#ifndef MC_KERNELS_XNOR_H
#define MC_KERNELS_XNOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/threads.h"

/* Bytes of a row of n elements; words of 32 bits of the channels of a pixel. */
#define MC_XNOR_BYTES(n) (((n) + 7) / 8)
#define MC_XNOR_WORDS(n) (((n) + 31) / 32)

/* Signs of floats: bit = !(x < threshold), so NaN counts as +1. Cost: reads x once. */
struct mc_xnor_pack {
    int64_t rows, cols; /* of x, whose columns are adjacent */
    const void *x;      /* of the table's element type */
    int64_t x_row;      /* elements between rows */
    const void *threshold;
    int64_t t_step; /* threshold of column j at [j * t_step]: 0 or 1 */
    uint8_t *bits;  /* [rows, bits_row], bytes behind MC_XNOR_BYTES(cols) are left alone */
    int64_t bits_row;
};

/* Signs of images [n, channels, pixels] by channel: bit c % 32 of word [image, c / 32, pixel]. */
struct mc_xnor_image {
    int64_t n, channels, pixels;
    const void *x;
    const void *threshold;
    int64_t t_step;
    uint32_t *bits; /* [n, MC_XNOR_WORDS(channels), pixels] */
};

/* What is made of the sum of output j: y = scale[j] * sum + bias[j], product and sum rounded one after the other; or, where
 * least is given, the sign that the next layer takes: bit = least[j] <= sum <= most[j] (for the caller to find). */
struct mc_xnor_out {
    const void *scale, *bias; /* of the table's element type; NULL: 1, 0 */
    const int32_t *least, *most;
};

/* a [m, k] times b [n, k] transposed. Cost: 2mnk operations. */
struct mc_xnor_gemm {
    int64_t m, n, k; /* k < 2^31 */
    const uint8_t *a;
    int64_t a_row;        /* bytes between rows; MC_XNOR_BYTES(k) and more */
    const void *packed_b; /* from pack_b */
    struct mc_xnor_out to;
    void *y;       /* [m, y_row], or with limits bits [m, y_row]; may not overlap a */
    int64_t y_row; /* elements, or bytes, between rows */
};

/* Numbers with signs: y[i, j] = scale[j] * sum over k of x[i, k] sign(b[j, k]) + bias[j], the sum in any order fixed by the
 * sizes. For few rows, where reading b is what a dense product takes its time for: 1/32 of the memory. Cost: mnk operations,
 * of which a table look-up does four. */
struct mc_xnor_signs {
    int64_t m, n, k;
    const void *x; /* of the table's element type, columns are adjacent */
    int64_t x_row;
    const void *packed_b; /* from pack_b */
    const void *scale, *bias;
    void *y; /* may not overlap x */
    int64_t y_row;
};

/* Padding counts as 0, neither -1 nor +1: taps outside are left out of the sum. */
struct mc_xnor_conv {
    int64_t n, channels, filters; /* channels * kernel < 2^31 */
    int64_t in[2], out[2], kernel[2];
    int64_t stride[2], dilation[2],
        pad[2];            /* height, width; pad at the start, the end follows from out */
    const uint32_t *x;     /* as mc_xnor_image leaves it */
    const void *packed_w;  /* from pack_w */
    struct mc_xnor_out to; /* by filter */
    void *
        y; /* [n, filters, out], or with limits bits as of an image of `filters` channels; may not overlap x */
};

/* Bits of images on their way to the next product: a maximum over windows, a row of bits for each image, or both. */
struct mc_xnor_hand {
    int64_t n, channels;
    int64_t in[2], out[2], kernel[2], stride[2], dilation[2], pad[2]; /* no pool: windows of 1 */
    const uint32_t
        *turned;          /* or NULL: exclusive or with a word for 32 channels, after the maximum */
    bool flat;            /* to [n, MC_XNOR_BYTES(channels * out)], in this order */
    const uint32_t *bits; /* as mc_xnor_image leaves them */
    void *to;             /* or bits of images */
};

struct mc_xnor_kernels {
    void (*pack)(const struct mc_xnor_pack *p, struct mc_pool *pool);
    void (*pack_image)(const struct mc_xnor_image *p, struct mc_pool *pool);

    /* rows: [n, MC_XNOR_BYTES(k)], bits behind k are not looked at; dst 64-byte aligned. */
    size_t (*pack_b_bytes)(int64_t k, int64_t n);
    void (*pack_b)(int64_t k, int64_t n, const uint8_t *rows, void *dst, struct mc_pool *pool);
    size_t (*scratch_bytes)(int64_t m, int64_t n, int64_t k, int threads);
    /* scratch: 64-byte aligned. */
    void (*gemm)(const struct mc_xnor_gemm *g, void *scratch, struct mc_pool *pool);

    int64_t few_rows; /* up to which signs() is twice as fast as a dense product; 0: never */
    size_t (*signs_scratch_bytes)(int64_t k);
    /* scratch: 64-byte aligned. */
    void (*signs)(const struct mc_xnor_signs *g, void *scratch, struct mc_pool *pool);

    /* rows: [filters, MC_XNOR_BYTES(channels * kernel)], elements of a row in the order [channels, kernel]. */
    size_t (*pack_w_bytes)(const struct mc_xnor_conv *c);
    void (*pack_w)(const struct mc_xnor_conv *c, const uint8_t *rows, void *dst,
                   struct mc_pool *pool);
    size_t (*conv_scratch_bytes)(const struct mc_xnor_conv *c, int threads);
    void (*conv)(const struct mc_xnor_conv *c, void *scratch, struct mc_pool *pool);

    /* Of devices alone; elsewhere graph/ops/xnor_bits.c does it. */
    void (*hand)(const struct mc_xnor_hand *h, struct mc_pool *pool);
};

#endif
