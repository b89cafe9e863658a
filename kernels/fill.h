/* What fills a table: one function per family and level. kernels.c calls them from the reference upwards;
 * each replaces the entries its level does better and leaves the others alone. */
#ifndef MC_KERNELS_FILL_H
#define MC_KERNELS_FILL_H

#include "kernels/kernels.h"

#define MC_FILLS(level)                                                                            \
    void mc_gemm_fill_##level(struct mc_gemm_kernels *k);                                          \
    void mc_circulant_fill_##level(struct mc_circulant_kernels *k);                                \
    void mc_conv_fill_##level(struct mc_conv_kernels *k);                                          \
    void mc_conv_grad_fill_##level(struct mc_conv_grad_kernels *k);                                \
    void mc_elementwise_fill_##level(struct mc_elementwise_kernels *k);                            \
    void mc_nn_fill_##level(struct mc_nn_kernels *k);                                              \
    void mc_rnn_fill_##level(struct mc_rnn_kernels *k);                                            \
    void mc_norm_fill_##level(struct mc_norm_kernels *k);                                          \
    void mc_loss_fill_##level(struct mc_loss_kernels *k);                                          \
    void mc_spatial_fill_##level(struct mc_spatial_kernels *k);                                    \
    void mc_scatter_fill_##level(struct mc_scatter_kernels *k);                                    \
    void mc_optim_fill_##level(struct mc_optim_kernels *k);                                        \
    void mc_gemm_s8_fill_##level(struct mc_gemm_s8_kernels *k);                                    \
    void mc_conv_s8_fill_##level(struct mc_conv_s8_kernels *k);                                    \
    void mc_rows_s8_fill_##level(struct mc_rows_s8_kernels *k);                                    \
    void mc_fake_quant_fill_##level(struct mc_fake_quant_kernels *k);                              \
    void mc_xnor_fill_##level(struct mc_xnor_kernels *k);                                          \
    void mc_quant_fill_##level(struct mc_quant_kernels *k)

MC_FILLS(ref_f32);
MC_FILLS(ref_f64);
MC_FILLS(plain);
MC_FILLS(avx2);
MC_FILLS(avx512);
/* Only products of integers gain from it. */
void mc_gemm_s8_fill_avx512vnni(struct mc_gemm_s8_kernels *k);
void mc_conv_s8_fill_avx512vnni(struct mc_conv_s8_kernels *k);
/* Every CPU so far with AVX-512's byte operations and this popcount has VNNI too: no level of its own. */
void mc_xnor_fill_avx512vpopcnt(struct mc_xnor_kernels *k);

#endif
