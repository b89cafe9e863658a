#include "kernels/kernels.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/fill.h"

/* One version for every type and level. */
static void fill_any(struct mc_kernels *k)
{
    k->move = (struct mc_move_kernels){mc_move_run, mc_move_gather, mc_move_fill};
    k->places = (struct mc_places_kernels){mc_places_find, mc_places_put};
    k->typed = (struct mc_typed_kernels){mc_typed_binary, mc_typed_unary,  mc_typed_compare,
                                         mc_typed_select, mc_typed_reduce, mc_typed_argext};
}

static void fill_ref_f32(struct mc_kernels *k)
{
    fill_any(k);
    mc_gemm_fill_ref_f32(&k->gemm);
    mc_circulant_fill_ref_f32(&k->circulant);
    mc_conv_fill_ref_f32(&k->conv);
    mc_conv_grad_fill_ref_f32(&k->conv_grad);
    mc_elementwise_fill_ref_f32(&k->elementwise);
    mc_nn_fill_ref_f32(&k->nn);
    mc_norm_fill_ref_f32(&k->norm);
    mc_rnn_fill_ref_f32(&k->rnn);
    mc_loss_fill_ref_f32(&k->loss);
    mc_spatial_fill_ref_f32(&k->spatial);
    mc_scatter_fill_ref_f32(&k->scatter);
    mc_optim_fill_ref_f32(&k->optim);
    mc_fake_quant_fill_ref_f32(&k->fake_quant);
    mc_gemm_s8_fill_ref_f32(&k->gemm_s8);
    mc_conv_s8_fill_ref_f32(&k->conv_s8);
    mc_rows_s8_fill_ref_f32(&k->rows_s8);
    mc_quant_fill_ref_f32(&k->quant);
    mc_xnor_fill_ref_f32(&k->xnor);
}

static void fill_ref_f64(struct mc_kernels *k)
{
    fill_any(k);
    mc_gemm_fill_ref_f64(&k->gemm);
    mc_circulant_fill_ref_f64(&k->circulant);
    mc_conv_fill_ref_f64(&k->conv);
    mc_conv_grad_fill_ref_f64(&k->conv_grad);
    mc_elementwise_fill_ref_f64(&k->elementwise);
    mc_nn_fill_ref_f64(&k->nn);
    mc_norm_fill_ref_f64(&k->norm);
    mc_rnn_fill_ref_f64(&k->rnn);
    mc_loss_fill_ref_f64(&k->loss);
    mc_spatial_fill_ref_f64(&k->spatial);
    mc_scatter_fill_ref_f64(&k->scatter);
    mc_optim_fill_ref_f64(&k->optim);
    mc_fake_quant_fill_ref_f64(&k->fake_quant);
    mc_gemm_s8_fill_ref_f64(&k->gemm_s8);
    mc_conv_s8_fill_ref_f64(&k->conv_s8);
    mc_rows_s8_fill_ref_f64(&k->rows_s8);
    mc_quant_fill_ref_f64(&k->quant);
    mc_xnor_fill_ref_f64(&k->xnor);
}

static void fill_plain(struct mc_kernels *k)
{
    mc_gemm_fill_plain(&k->gemm);
    mc_circulant_fill_plain(&k->circulant);
    mc_conv_fill_plain(&k->conv);
    mc_conv_grad_fill_plain(&k->conv_grad);
    mc_elementwise_fill_plain(&k->elementwise);
    mc_nn_fill_plain(&k->nn);
    mc_norm_fill_plain(&k->norm);
    mc_rnn_fill_plain(&k->rnn);
    mc_loss_fill_plain(&k->loss);
    mc_spatial_fill_plain(&k->spatial);
    mc_scatter_fill_plain(&k->scatter);
    mc_optim_fill_plain(&k->optim);
    mc_gemm_s8_fill_plain(&k->gemm_s8);
    mc_conv_s8_fill_plain(&k->conv_s8);
    mc_fake_quant_fill_plain(&k->fake_quant);
    mc_rows_s8_fill_plain(&k->rows_s8);
    mc_quant_fill_plain(&k->quant);
    mc_xnor_fill_plain(&k->xnor);
}

#ifdef __x86_64__
static void fill_avx2(struct mc_kernels *k)
{
    mc_gemm_fill_avx2(&k->gemm);
    mc_circulant_fill_avx2(&k->circulant);
    mc_conv_fill_avx2(&k->conv);
    mc_conv_grad_fill_avx2(&k->conv_grad);
    mc_elementwise_fill_avx2(&k->elementwise);
    mc_nn_fill_avx2(&k->nn);
    mc_norm_fill_avx2(&k->norm);
    mc_rnn_fill_avx2(&k->rnn);
    mc_loss_fill_avx2(&k->loss);
    mc_spatial_fill_avx2(&k->spatial);
    mc_scatter_fill_avx2(&k->scatter);
    mc_optim_fill_avx2(&k->optim);
    mc_gemm_s8_fill_avx2(&k->gemm_s8);
    mc_conv_s8_fill_avx2(&k->conv_s8);
    mc_fake_quant_fill_avx2(&k->fake_quant);
    mc_rows_s8_fill_avx2(&k->rows_s8);
    mc_quant_fill_avx2(&k->quant);
    mc_xnor_fill_avx2(&k->xnor);
}

static void fill_avx512(struct mc_kernels *k)
{
    mc_gemm_fill_avx512(&k->gemm);
    mc_circulant_fill_avx512(&k->circulant);
    mc_conv_fill_avx512(&k->conv);
    mc_conv_grad_fill_avx512(&k->conv_grad);
    mc_elementwise_fill_avx512(&k->elementwise);
    mc_nn_fill_avx512(&k->nn);
    mc_norm_fill_avx512(&k->norm);
    mc_rnn_fill_avx512(&k->rnn);
    mc_loss_fill_avx512(&k->loss);
    mc_spatial_fill_avx512(&k->spatial);
    mc_scatter_fill_avx512(&k->scatter);
    mc_optim_fill_avx512(&k->optim);
    mc_gemm_s8_fill_avx512(&k->gemm_s8);
    mc_conv_s8_fill_avx512(&k->conv_s8);
    mc_fake_quant_fill_avx512(&k->fake_quant);
    mc_rows_s8_fill_avx512(&k->rows_s8);
    mc_quant_fill_avx512(&k->quant);
    mc_xnor_fill_avx512(&k->xnor);
}

static void fill_avx512vnni(struct mc_kernels *k)
{
    mc_gemm_s8_fill_avx512vnni(&k->gemm_s8);
    mc_conv_s8_fill_avx512vnni(&k->conv_s8);
    if (__builtin_cpu_supports("avx512vpopcntdq"))
        mc_xnor_fill_avx512vpopcnt(&k->xnor);
}

static bool has_avx2(void)
{
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
}

static bool has_avx512(void)
{
    return has_avx2() && __builtin_cpu_supports("bmi2") && __builtin_cpu_supports("avx512f") &&
           __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512dq");
}

static bool has_avx512vnni(void)
{
    return has_avx512() && __builtin_cpu_supports("avx512vnni");
}
#endif

static bool always(void)
{
    return true;
}

/* From the reference upwards: a table holds what its own level and all lower ones put into it. */
static const struct level {
    const char *name;
    bool (*runs)(void); /* on this CPU */
    void (*fill)(struct mc_kernels *k);
} levels[] = {
    {"ref", always, fill_ref_f32},
    {"plain", always, fill_plain},
#ifdef __x86_64__
    {"avx2", has_avx2, fill_avx2},
    {"avx512", has_avx512, fill_avx512},
    {"avx512vnni", has_avx512vnni, fill_avx512vnni},
#endif
};
enum { LEVELS = sizeof levels / sizeof levels[0] };

static struct mc_kernels tables[LEVELS], ref_f64 = {.name = "ref", .elem_bytes = 8};
static pthread_once_t filled = PTHREAD_ONCE_INIT;

static void fill(void)
{
    fill_ref_f64(&ref_f64);
    for (int i = 0; i < LEVELS; i++) {
        if (i > 0)
            tables[i] = tables[i - 1];
        tables[i].name = levels[i].name;
        tables[i].elem_bytes = 4;
        if (levels[i].runs())
            levels[i].fill(&tables[i]);
    }
}

const struct mc_kernels *mc_kernels_get(const char *name, int elem_bytes)
{
    pthread_once(&filled, fill);
    if (!name)
        name = getenv("MCOMPRESS_KERNELS");
    if (elem_bytes == 8)
        return !name || !strcmp(name, "ref") ? &ref_f64 : NULL;
    if (elem_bytes != 4)
        return NULL;
    for (int i = LEVELS - 1; i >= 0; i--) {
        if (levels[i].runs() && (!name || !strcmp(name, levels[i].name)))
            return &tables[i];
    }
    return NULL;
}
