/* Products of signs: +1 and -1 in one bit each, 64 to a word; a product is K - 2 popcount(a ^ b).
 *
 * Bit k % 64 of word k / 64 is element k; 1 means +1. Bits behind the last element are 0 in both operands, which makes their
 * exclusive or 0. */
#ifndef MC_KERNELS_XNOR_H
#define MC_KERNELS_XNOR_H

#include <stdint.h>

/* Words of a row of n elements. */
#define MC_XNOR_WORDS(n) (((n) + 63) / 64)

/* Signs of floats: bit = !(x < t), so NaN counts as +1. */
struct mc_xnor_pack {
    int64_t rows, cols; /* of x */
    const void *x;
    int64_t ldx;
    const void *threshold; /* [cols], or [1] with t_step 0 */
    int64_t t_step;        /* 0 or 1 */
    uint64_t *bits;        /* [rows, ld] */
    int64_t ld;            /* words; MC_XNOR_WORDS(cols) and more */
};

/* y[i, j] = scale[j] * sum_k a[i, k] b[j, k] + bias[j]; the sum is exact. */
struct mc_xnor_gemm {
    int64_t m, n, k;
    const uint64_t *a; /* [m, lda] as pack() leaves it */
    int64_t lda;
    const void *b;            /* of pack_b() */
    const void *scale, *bias; /* [n] of the table's element type; NULL: 1, 0 */
    void *y;                  /* [m, ldy] of the table's element type */
    int64_t ldy;
};

/* Channels last, channels of a pixel packed in MC_XNOR_WORDS(channels) words. Padding counts as 0. */
struct mc_xnor_conv {
    int64_t height, width, channels;
    int64_t out_height, out_width, filters;
    int64_t kh, kw, stride_h, stride_w, dil_h, dil_w, pad_top, pad_left;
    const uint64_t *a;        /* [height, width, words] of one image */
    const void *b;            /* of pack_conv_b() */
    const void *scale, *bias; /* [filters], as above */
    void *y;                  /* [filters, out_height, out_width] */
    void *scratch;            /* conv_scratch() bytes, 64-byte aligned */
};

struct mc_xnor_kernels {
    void (*pack)(const struct mc_xnor_pack *p);
    /* As pack, of an image [channels, height * width] to [height * width, words]; thresholds by channel. */
    void (*pack_image)(const void *x, int64_t channels, int64_t pixels, const void *threshold,
                       int64_t t_step, uint64_t *bits);
    /* Weights: rows of bytes as in the file [n, ceil(k / 8)] -> the layout gemm() wants, 64-byte aligned. */
    int64_t (*b_bytes)(int64_t n, int64_t k);
    void (*pack_b)(int64_t n, int64_t k, const uint8_t *rows, void *b);
    void (*gemm)(const struct mc_xnor_gemm *g);
    /* rows: [filters, channels * kh * kw] as in the file. */
    int64_t (*conv_b_bytes)(const struct mc_xnor_conv *c);
    void (*pack_conv_b)(const struct mc_xnor_conv *c, const uint8_t *rows, void *b);
    int64_t (*conv_scratch)(const struct mc_xnor_conv *c);
    void (*conv)(const struct mc_xnor_conv *c);
};

#endif
