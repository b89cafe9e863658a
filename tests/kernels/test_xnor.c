/* Layers in chain without floats between them. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/mem.h"
#include "base/rng.h"
#include "kernels/kernels.h"

/* Sums of k signs that scale * sum + bias, rounded as kernels round it, takes to t or above: limits of what is monotone, found
 * one by one. */
static void limits(int32_t k, float scale, float bias, float t, int32_t *ret_least,
                   int32_t *ret_most)
{
    *ret_least = INT32_MAX;
    *ret_most = INT32_MIN;
    for (int32_t sum = -k; sum <= k; sum++) {
        float y = scale * (float)sum;
        y += bias;
        if (y < t)
            continue;
        *ret_least = sum < *ret_least ? sum : *ret_least;
        *ret_most = sum;
    }
}

static void *space(size_t bytes)
{
    void *p = mc_alloc_aligned(bytes);
    assert_non_null(p);
    return p;
}

enum { M = 37, K = 200, HIDDEN = 150, N = 45 };

struct net {
    const struct mc_xnor_kernels *k;
    float x[M * K], zero, scale[HIDDEN], bias[HIDDEN], t[HIDDEN], out_scale[N];
    int32_t least[HIDDEN], most[HIDDEN];
    uint8_t w[HIDDEN * MC_XNOR_BYTES(K)], w2[N * MC_XNOR_BYTES(HIDDEN)];
};

static void product(const struct net *net, int64_t n, int64_t k, const uint8_t *a,
                    const uint8_t *rows, struct mc_xnor_out to, void *y, int64_t y_row)
{
    void *b = space(net->k->pack_b_bytes(k, n)),
         *scratch = space(net->k->scratch_bytes(M, n, k, 1));
    net->k->pack_b(k, n, rows, b, NULL);
    net->k->gemm(&(struct mc_xnor_gemm){.m = M,
                                        .n = n,
                                        .k = k,
                                        .a = a,
                                        .a_row = MC_XNOR_BYTES(k),
                                        .packed_b = b,
                                        .to = to,
                                        .y = y,
                                        .y_row = y_row},
                 scratch, NULL);
    free(b);
    free(scratch);
}

/* Two layers, with signs between them taken of floats or of sums. */
static void run_net(const struct net *net, bool direct, float *y)
{
    static uint8_t bits[M * MC_XNOR_BYTES(K)], hidden[M * MC_XNOR_BYTES(HIDDEN)];
    static float floats[M * HIDDEN];
    net->k->pack(&(struct mc_xnor_pack){M, K, net->x, K, &net->zero, 0, bits, MC_XNOR_BYTES(K)},
                 NULL);
    if (direct) {
        struct mc_xnor_out to = {.least = net->least, .most = net->most};
        product(net, HIDDEN, K, bits, net->w, to, hidden, MC_XNOR_BYTES(HIDDEN));
    } else {
        struct mc_xnor_out to = {.scale = net->scale, .bias = net->bias};
        product(net, HIDDEN, K, bits, net->w, to, floats, HIDDEN);
        net->k->pack(&(struct mc_xnor_pack){M, HIDDEN, floats, HIDDEN, net->t, 1, hidden,
                                            MC_XNOR_BYTES(HIDDEN)},
                     NULL);
    }
    product(net, N, HIDDEN, hidden, net->w2, (struct mc_xnor_out){.scale = net->out_scale}, y, N);
}

static void signs_of_sums_are_signs_of_floats(void **state)
{
    (void)state;
    static const char *const levels[] = {"ref", "plain", "avx2", "avx512", "avx512vnni"};
    static struct net net;
    static float through[M * N], direct[M * N], first[M * N];
    mc_rng_fill_normal(2, 1, 0, net.x, M * K);
    mc_rng_fill_normal(2, 2, 0, net.scale, HIDDEN);
    mc_rng_fill_normal(2, 3, 0, net.bias, HIDDEN);
    mc_rng_fill_normal(2, 4, 0, net.t, HIDDEN);
    mc_rng_fill_normal(2, 5, 0, net.out_scale, N);
    for (size_t i = 0; i < sizeof net.w; i++)
        net.w[i] = (uint8_t)mc_rng_below(2, 6, i, 256);
    for (size_t i = 0; i < sizeof net.w2; i++)
        net.w2[i] = (uint8_t)mc_rng_below(2, 7, i, 256);
    for (int j = 0; j < HIDDEN; j++)
        limits(K, net.scale[j], net.bias[j], net.t[j], net.least + j, net.most + j);
    for (int i = 0; i < 5; i++) {
        const struct mc_kernels *k = mc_kernels_get(levels[i], 4);
        if (!k)
            continue;
        net.k = &k->xnor;
        run_net(&net, false, through);
        run_net(&net, true, direct);
        assert_memory_equal(through, direct, sizeof through);
        if (i == 0)
            memcpy(first, direct, sizeof first);
        assert_memory_equal(first, direct, sizeof first);
    }
}

/* The definition over double says what it says over float. */
static void the_definition_holds_for_doubles(void **state)
{
    (void)state;
    const struct mc_xnor_kernels *k = &mc_kernels_get("ref", 8)->xnor;
    static const double x[] = {-1, 0, 2, -3, 0.5, NAN, -INFINITY, 1, -0.0};
    uint8_t bits[2] = {0}, w[2] = {0x0f, 0x01};
    double y = 0, zero = 0, scale = 1.0 / 3, bias = 0.1;
    k->pack(&(struct mc_xnor_pack){1, 9, x, 9, &zero, 0, bits, 2}, NULL);
    assert_int_equal(bits[0], 0xb6);
    assert_int_equal(bits[1], 1);
    k->gemm(&(struct mc_xnor_gemm){.m = 1,
                                   .n = 1,
                                   .k = 9,
                                   .a = bits,
                                   .a_row = 2,
                                   .packed_b = w,
                                   .to = {.scale = &scale, .bias = &bias},
                                   .y = &y,
                                   .y_row = 1},
            NULL, NULL);
    assert_true(y == scale * -1 + bias); /* 4 of 9 agree */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(signs_of_sums_are_signs_of_floats),
        cmocka_unit_test(the_definition_holds_for_doubles),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
