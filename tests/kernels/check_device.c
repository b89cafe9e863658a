#include "check_device.h"

#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/gpu.h"

enum { MISSING_MOST = 128 };

static struct mc_gpu *gpu;
static const struct mc_kernels *inner; /* the device's own table */
static struct mc_kernels outer;
static struct check *check;
static jmp_buf leave;
static struct {
    const char *entry;
    int cases;
} missing[MISSING_MOST];
static char report[2048];

static void need(bool there, const char *entry)
{
    if (there)
        return;
    int i = 0;
    while (missing[i].entry && strcmp(missing[i].entry, entry) != 0)
        i++;
    missing[i].entry = entry;
    missing[i].cases++;
    longjmp(leave, 1);
}

static void finish(const char *entry)
{
    struct mc_err err;
    if (mc_gpu_wait(gpu, &err))
        check_fail(check, "%s: %s", entry, err.msg);
}

#define WORK(family, entry, args, pass)                                                            \
    static void family##_##entry args                                                              \
    {                                                                                              \
        need(inner->family.entry, #family "." #entry);                                             \
        inner->family.entry pass;                                                                  \
        finish(#family "." #entry);                                                                \
    }
/* A number for the host: 0 where the table does not have the entry. */
#define NUMBER(type, family, entry, args, pass)                                                    \
    static type family##_##entry args                                                              \
    {                                                                                              \
        return inner->family.entry ? inner->family.entry pass : 0;                                 \
    }
#define P struct mc_pool *pool

#define ENTRIES(WORK, NUMBER)                                                                      \
    WORK(conv_grad, input, (const struct mc_conv_grad *g, void *scratch, P), (g, scratch, pool))   \
    WORK(conv_grad, weight, (const struct mc_conv_grad *g, void *scratch, P), (g, scratch, pool))  \
    WORK(conv_grad, window, (const struct mc_window_grad *g, P), (g, pool))                        \
    NUMBER(size_t, conv_grad, input_bytes, (const struct mc_conv *c, int threads), (c, threads))   \
    NUMBER(size_t, conv_grad, weight_bytes, (const struct mc_conv *c, int threads), (c, threads))  \
    NUMBER(size_t, gemm, scratch_bytes, (int64_t m, int64_t n, int64_t k, int threads),            \
           (m, n, k, threads))                                                                     \
    NUMBER(size_t, conv, scratch_bytes, (const struct mc_conv *c, int threads), (c, threads))      \
    WORK(elementwise, unary, (const struct mc_unary *u, P), (u, pool))                             \
    WORK(elementwise, unary_grad, (const struct mc_unary_grad *u, P), (u, pool))                   \
    WORK(elementwise, binary, (const struct mc_binary *b, P), (b, pool))                           \
    WORK(elementwise, chain, (const struct mc_chain *c, P), (c, pool))                             \
    WORK(nn, window, (const struct mc_window *w, P), (w, pool))                                    \
    WORK(nn, softmax, (const struct mc_softmax *s, P), (s, pool))                                  \
    WORK(nn, norm, (const struct mc_norm *n, P), (n, pool))                                        \
    WORK(nn, affine, (const struct mc_affine *a, P), (a, pool))                                    \
    WORK(nn, reduce, (const struct mc_reduce *r, P), (r, pool))                                    \
    WORK(nn, argext, (const struct mc_argext *a, P), (a, pool))                                    \
    WORK(nn, lstm_cell, (const struct mc_lstm_cell *c, P), (c, pool))                              \
    WORK(nn, gru_reset, (const struct mc_gru_cell *c, P), (c, pool))                               \
    WORK(nn, gru_cell, (const struct mc_gru_cell *c, P), (c, pool))                                \
    WORK(nn, rnn_cell, (const struct mc_rnn_cell *c, P), (c, pool))                                \
    WORK(norm, batch, (const struct mc_batch_norm *b, P), (b, pool))                               \
    WORK(norm, batch_grad, (const struct mc_batch_grad *b, P), (b, pool))                          \
    NUMBER(size_t, norm, norm_grad_scratch, (const struct mc_norm_grad *n), (n))                   \
    WORK(norm, norm_grad, (const struct mc_norm_grad *n, void *scratch, P), (n, scratch, pool))    \
    WORK(rnn, lstm_grad, (const struct mc_lstm_grad *g, P), (g, pool))                             \
    WORK(rnn, gru_grad, (const struct mc_gru_grad *g, P), (g, pool))                               \
    WORK(rnn, gru_reset_grad, (const struct mc_gru_grad *g, P), (g, pool))                         \
    WORK(rnn, rnn_grad, (const struct mc_rnn_grad *g, P), (g, pool))                               \
    WORK(rnn, column_sum, (const struct mc_column_sum *s, P), (s, pool))                           \
    WORK(rnn, gate_spread, (const struct mc_gate_spread *s, P), (s, pool))                         \
    WORK(rnn, lengths, (const struct mc_rnn_lengths *l, P), (l, pool))                             \
    WORK(loss, softmax_grad, (const struct mc_softmax_grad *s, P), (s, pool))                      \
    WORK(loss, ctc, (const struct mc_ctc *c, P), (c, pool))                                        \
    WORK(loss, classes, (const struct mc_class_loss *l, P), (l, pool))                             \
    WORK(loss, classes_grad, (const struct mc_class_grad *g, P), (g, pool))                        \
    WORK(loss, soft, (const struct mc_soft_loss *l, P), (l, pool))                                 \
    WORK(spatial, fold, (const struct mc_fold *f, P), (f, pool))                                   \
    WORK(spatial, resample, (const struct mc_resample *r, P), (r, pool))                           \
    WORK(spatial, lrn, (const struct mc_lrn *l, P), (l, pool))                                     \
    WORK(scatter, sum, (const struct mc_scatter_sum *s, P), (s, pool))                             \
    WORK(optim, sgd, (const struct mc_sgd *s, P), (s, pool))                                       \
    WORK(optim, adam, (const struct mc_adam *a, P), (a, pool))                                     \
    WORK(optim, blend, (const struct mc_blend *b, P), (b, pool))                                   \
    WORK(optim, root, (const struct mc_squares *s, void *ret, P), (s, ret, pool))                  \
    WORK(optim, choose, (const struct mc_choose *c, P), (c, pool))                                 \
    WORK(optim, parts, (const struct mc_parts *p, P), (p, pool))                                   \
    WORK(fake_quant, round, (const struct mc_fake_row *r, const void *x, void *y), (r, x, y))      \
    WORK(fake_quant, grad,                                                                         \
         (const struct mc_fake_row *r, const void *dy, const void *x, void *dx, double *ds),       \
         (r, dy, x, dx, ds))                                                                       \
    WORK(fake_quant, grid, (const struct mc_fake_grid *g), (g))                                    \
    WORK(fake_quant, scales, (const struct mc_learned_scales *s), (s))                             \
    NUMBER(size_t, circulant, conv_pack_bytes, (const struct mc_circulant_conv *m), (m))           \
    NUMBER(size_t, circulant, conv_scratch_bytes,                                                  \
           (const struct mc_circulant_conv *m, int threads), (m, threads))                         \
    WORK(circulant, conv_pack,                                                                     \
         (const struct mc_circulant_conv *m, const void *col, void *packed, P),                    \
         (m, col, packed, pool))                                                                   \
    WORK(circulant, conv_run, (const struct mc_circulant_conv *m, void *scratch, P),               \
         (m, scratch, pool))                                                                       \
    NUMBER(enum mc_circulant_way, circulant, choose, (const struct mc_circulant *c, int64_t rows), \
           (c, rows))                                                                              \
    NUMBER(enum mc_circulant_way, circulant, choose_gradient,                                      \
           (const struct mc_circulant *c, int64_t rows), (c, rows))                                \
    NUMBER(size_t, circulant, pack_bytes,                                                          \
           (const struct mc_circulant *c, enum mc_circulant_way way), (c, way))                    \
    WORK(circulant, pack,                                                                          \
         (const struct mc_circulant *c, enum mc_circulant_way way, const void *col, void *packed,  \
          P),                                                                                      \
         (c, way, col, packed, pool))                                                              \
    NUMBER(size_t, circulant, scratch_bytes,                                                       \
           (const struct mc_circulant *c, enum mc_circulant_way way, int64_t rows, int threads),   \
           (c, way, rows, threads))                                                                \
    WORK(circulant, run, (const struct mc_circulant_product *m, void *scratch, P),                 \
         (m, scratch, pool))                                                                       \
    NUMBER(size_t, circulant, gradient_scratch_bytes,                                              \
           (const struct mc_circulant *c, enum mc_circulant_way way, int64_t rows, int threads),   \
           (c, way, rows, threads))                                                                \
    WORK(circulant, gradient, (const struct mc_circulant_gradient *g, void *scratch, P),           \
         (g, scratch, pool))                                                                       \
    WORK(xnor, pack, (const struct mc_xnor_pack *p, P), (p, pool))                                 \
    WORK(xnor, pack_image, (const struct mc_xnor_image *p, P), (p, pool))                          \
    NUMBER(size_t, xnor, pack_b_bytes, (int64_t k, int64_t n), (k, n))                             \
    WORK(xnor, pack_b, (int64_t k, int64_t n, const uint8_t *rows, void *dst, P),                  \
         (k, n, rows, dst, pool))                                                                  \
    NUMBER(size_t, xnor, scratch_bytes, (int64_t m, int64_t n, int64_t k, int threads),            \
           (m, n, k, threads))                                                                     \
    WORK(xnor, gemm, (const struct mc_xnor_gemm *g, void *scratch, P), (g, scratch, pool))         \
    NUMBER(size_t, xnor, signs_scratch_bytes, (int64_t k), (k))                                    \
    WORK(xnor, signs, (const struct mc_xnor_signs *g, void *scratch, P), (g, scratch, pool))       \
    NUMBER(size_t, xnor, pack_w_bytes, (const struct mc_xnor_conv *c), (c))                        \
    WORK(xnor, pack_w, (const struct mc_xnor_conv *c, const uint8_t *rows, void *dst, P),          \
         (c, rows, dst, pool))                                                                     \
    NUMBER(size_t, xnor, conv_scratch_bytes, (const struct mc_xnor_conv *c, int threads),          \
           (c, threads))                                                                           \
    WORK(xnor, conv, (const struct mc_xnor_conv *c, void *scratch, P), (c, scratch, pool))         \
    NUMBER(size_t, gemm_s8, pack_b_bytes, (int64_t k, int64_t n), (k, n))                          \
    WORK(gemm_s8, pack_b, (int64_t k, int64_t n, const struct mc_s8_side *b, void *dst, P),        \
         (k, n, b, dst, pool))                                                                     \
    NUMBER(size_t, gemm_s8, scratch_bytes, (int64_t m, int64_t n, int64_t k, int threads),         \
           (m, n, k, threads))                                                                     \
    WORK(gemm_s8, run, (const struct mc_gemm_s8 *g, void *scratch, P), (g, scratch, pool))         \
    NUMBER(size_t, conv_s8, pack_w_bytes, (const struct mc_conv_s8 *c), (c))                       \
    WORK(conv_s8, pack_w, (const struct mc_conv_s8 *c, const void *w, void *dst, P),               \
         (c, w, dst, pool))                                                                        \
    NUMBER(size_t, conv_s8, scratch_bytes, (const struct mc_conv_s8 *c, int threads),              \
           (c, threads))                                                                           \
    WORK(conv_s8, run, (const struct mc_conv_s8 *c, void *scratch, P), (c, scratch, pool))         \
    WORK(rows_s8, add, (const struct mc_pair_s8 *p), (p))                                          \
    WORK(rows_s8, mul, (const struct mc_pair_s8 *p), (p))                                          \
    WORK(rows_s8, look_up, (int64_t n, const uint8_t *x, const uint8_t table[256], uint8_t *y),    \
         (n, x, table, y))                                                                         \
    WORK(rows_s8, pool, (const struct mc_pool_s8 *p, P), (p, pool))                                \
    WORK(rows_s8, transpose,                                                                       \
         (int64_t n, int64_t rows, int64_t cols, const uint8_t *x, uint8_t *y, P),                 \
         (n, rows, cols, x, y, pool))                                                              \
    WORK(circulant, expand,                                                                        \
         (const struct mc_circulant *m, int64_t taps, const void *col, void *w, P),                \
         (m, taps, col, w, pool))                                                                  \
    WORK(circulant, fold,                                                                          \
         (const struct mc_circulant *m, int64_t taps, const void *w, void *col, P),                \
         (m, taps, w, col, pool))                                                                  \
    WORK(xnor, hand, (const struct mc_xnor_hand *h, P), (h, pool))                                 \
    WORK(small, binary, (const struct mc_small_binary *b, P), (b, pool))                           \
    WORK(small, binary_gradient, (const struct mc_small_binary *b, P), (b, pool))                  \
    WORK(small, shared, (const struct mc_small_shared *s, P), (s, pool))                           \
    WORK(small, shared_gradient, (const struct mc_small_shared *s, P), (s, pool))                  \
    WORK(small, gate, (const struct mc_small_gate *g, P), (g, pool))                               \
    WORK(small, sign_weight, (const struct mc_small_sign *s, P), (s, pool))                        \
    WORK(small, sign, (int64_t n, const void *x, void *y, P), (n, x, y, pool))                     \
    WORK(quant, quantize_all, (const struct mc_quant_all *q, const float *x, void *y, P),          \
         (q, x, y, pool))                                                                          \
    WORK(quant, dequantize_all, (const struct mc_quant_all *q, const void *x, float *y, P),        \
         (q, x, y, pool))                                                                          \
    WORK(quant, dynamic, (int64_t n, const float *x, uint8_t *y, float *scale, uint8_t *zero, P),  \
         (n, x, y, scale, zero, pool))                                                             \
    WORK(quant, widen, (int64_t n, bool is_signed, const void *x, int32_t *y, P),                  \
         (n, is_signed, x, y, pool))                                                               \
    WORK(quant, quantize, (const struct mc_quant_row *r, const float *x, void *y), (r, x, y))      \
    WORK(quant, requantize, (const struct mc_quant_row *r, const int32_t *x, void *y), (r, x, y))  \
    WORK(quant, dequantize, (const struct mc_quant_row *r, const void *x, float *y), (r, x, y))    \
    WORK(quant, sums, (const struct mc_quant_sums *s, P), (s, pool))                               \
    WORK(values, cast, (const struct mc_cast *c), (c))                                             \
    WORK(values, diagonal, (const struct mc_diagonal *d), (d))                                     \
    WORK(values, running, (const struct mc_running *r), (r))                                       \
    WORK(values, steps, (const struct mc_steps *s), (s))                                           \
    WORK(values, beyond, (const struct mc_beyond *b), (b))                                         \
    WORK(values, beyond_index, (const struct mc_beyond_index *b), (b))                             \
    WORK(values, top, (const struct mc_top *t), (t))                                               \
    WORK(values, hot, (const struct mc_hot *h), (h))                                               \
    WORK(values, backward, (const struct mc_backward *b), (b))                                     \
    WORK(values, sample, (const struct mc_sampling *s), (s))                                       \
    WORK(values, round, (enum mc_half half, int64_t n, float *x), (half, n, x))                    \
    WORK(values, test, (int tests, int64_t n, const float *x, uint8_t *y), (tests, n, x, y))       \
    WORK(values, flip, (bool truth, int64_t bytes, const uint8_t *x, uint8_t *y),                  \
         (truth, bytes, x, y))                                                                     \
    WORK(values, positions, (const struct mc_window *w, bool columns), (w, columns))               \
    WORK(places, put, (const struct mc_put *p), (p))                                               \
    WORK(move, run, (const struct mc_move *m, P), (m, pool))                                       \
    WORK(move, gather, (const struct mc_gather *g, P), (g, pool))                                  \
    WORK(move, fill, (void *dst, int64_t n, const void *value, int elem_bytes, P),                 \
         (dst, n, value, elem_bytes, pool))                                                        \
    WORK(typed, binary, (enum mc_elem type, const struct mc_binary *b), (type, b))                 \
    WORK(typed, unary,                                                                             \
         (enum mc_elem type, enum mc_unary_fn fn, int64_t lo, int64_t hi, int64_t n,               \
          const void *x, void *y),                                                                 \
         (type, fn, lo, hi, n, x, y))                                                              \
    WORK(typed, compare, (enum mc_elem type, const struct mc_compare *c), (type, c))               \
    WORK(typed, select, (const struct mc_select *s), (s))                                          \
    WORK(typed, reduce, (enum mc_elem type, const struct mc_reduce *r), (type, r))                 \
    WORK(typed, argext, (enum mc_elem type, const struct mc_argext *a), (type, a))

ENTRIES(WORK, NUMBER)

/* What it finds in its data is reported here. */
static int64_t places_find(const struct mc_places *p)
{
    need(inner->places.find, "places.find");
    int64_t bad = inner->places.find(p);
    finish("places.find");
    return bad;
}

static double optim_squares(const struct mc_squares *s, P)
{
    need(inner->optim.squares, "optim.squares");
    double sum = inner->optim.squares(s, pool);
    finish("optim.squares");
    return sum;
}

/* ---- what a device takes as it is ---- */

struct raw_b {
    const void *b;
    int64_t row, col;
};

static size_t gemm_pack_b_bytes(int64_t k, int64_t n)
{
    (void)k;
    (void)n;
    return sizeof(struct raw_b);
}

static void gemm_pack_b(int64_t k, int64_t n, const void *b, int64_t b_row, int64_t b_col,
                        void *dst, P)
{
    (void)k;
    (void)n;
    (void)pool;
    *(struct raw_b *)dst = (struct raw_b){b, b_row, b_col};
}

static void gemm_run(const struct mc_gemm *g, void *scratch, P)
{
    struct mc_gemm raw = *g;
    const struct raw_b *b = g->packed_b;
    if (b) {
        raw.b = b->b;
        raw.b_row = b->row;
        raw.b_col = b->col;
        raw.packed_b = NULL;
    }
    need(inner->gemm.run, "gemm.run");
    inner->gemm.run(&raw, scratch, pool);
    finish("gemm.run");
}

static size_t conv_pack_w_bytes(const struct mc_conv *c)
{
    (void)c;
    return sizeof(void *);
}

static void conv_pack_w(const struct mc_conv *c, const void *w, void *dst, P)
{
    (void)c;
    (void)pool;
    memcpy(dst, &w, sizeof w);
}

static void conv_run(const struct mc_conv *c, void *scratch, P)
{
    struct mc_conv raw = *c;
    memcpy(&raw.w, c->packed_w, sizeof raw.w);
    raw.packed_w = NULL;
    need(inner->conv.run, "conv.run");
    inner->conv.run(&raw, scratch, pool);
    finish("conv.run");
}

/* ---- the table ---- */

static void fill(void)
{
    outer = *inner;
#define FILL(family, entry, args, pass)         outer.family.entry = family##_##entry;
#define FILL_N(type, family, entry, args, pass) outer.family.entry = family##_##entry;
    ENTRIES(FILL, FILL_N)
#undef FILL
#undef FILL_N
    outer.places.find = places_find;
    outer.optim.squares = optim_squares;
    outer.gemm.pack_b_bytes = gemm_pack_b_bytes;
    outer.gemm.pack_b = gemm_pack_b;
    outer.gemm.run = gemm_run;
    outer.conv.pack_w_bytes = conv_pack_w_bytes;
    outer.conv.pack_w = conv_pack_w;
    outer.conv.run = conv_run;
}

int check_device_open(struct check *c, const char *device)
{
    struct mc_err err;
    const char *promised = getenv("MCOMPRESS_REQUIRE_GPU");
    bool must = promised && !strcmp(promised, "1");
    if (mc_gpu_count(&err) == 0) {
        printf("%s: %s\n", must ? "FAILED" : "SKIP", err.msg);
        return must ? 1 : 77;
    }
    if (mc_gpu_open(device, NULL, &gpu, &err)) {
        printf("FAILED: %s\n", err.msg);
        return 1;
    }
    (void)mc_gpu_enter(gpu);
    inner = mc_gpu_kernels(gpu);
    fill();
    check = c;
    c->k = &outer;
    printf("%s\n", mc_gpu_name(gpu));
    return 0;
}

void check_device_close(void)
{
    mc_gpu_close(gpu);
}

void *check_device_alloc(size_t bytes)
{
    struct mc_err err;
    void *p;
    if (mc_gpu_shared_alloc(gpu, bytes, &p, &err)) {
        printf("%s\n", err.msg);
        exit(1);
    }
    return p;
}

void check_device_free(void *p)
{
    mc_gpu_shared_free(gpu, p);
}

bool check_device_case(struct check *c, void (*test)(struct check *c))
{
    if (setjmp(leave))
        return false;
    test(c);
    return true;
}

const char *check_device_missing(void)
{
    size_t n = 0;
    report[0] = 0;
    for (int i = 0; missing[i].entry && n < sizeof report; i++) {
        n += (size_t)snprintf(report + n, sizeof report - n, "%s%s (%d)", i ? ", " : "",
                              missing[i].entry, missing[i].cases);
        missing[i].entry = NULL;
        missing[i].cases = 0;
    }
    return report;
}
