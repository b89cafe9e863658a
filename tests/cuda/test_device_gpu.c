/* The device itself, in the simulation: bytes of every size there and back, in order with the work on it; what recordings
 * hold on to; what is said when memory ends. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/mem.h"
#include "kernels/gpu.h"

static struct mc_gpu *gpu;
static struct mc_err err;

static unsigned char *bytes(size_t n, unsigned first)
{
    unsigned char *p = mc_calloc(n + 1, 1);
    assert_non_null(p);
    for (size_t i = 0; i < n; i++)
        p[i] = (unsigned char)(first + i * 7 + i / 251);
    return p;
}

/* Around what is an argument of a kernel, a slot, a piece on the way back; several of them. */
static void test_there_and_back(void **state)
{
    static const size_t sizes[] = {
        0,       1, 3, 1023, 1024, 1025, 4096, (1 << 20) - 1, (1 << 20) + 1, 4 << 20, (4 << 20) + 1,
        13 << 20};
    (void)state;
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        size_t n = sizes[i];
        unsigned char *src = bytes(n, (unsigned)i), *want = bytes(n, (unsigned)i);
        unsigned char *dst = mc_calloc(n + 16, 1);
        void *p;
        assert_int_equal(mc_gpu_alloc(gpu, n + 5, &p, &err), 0);
        assert_int_equal(mc_gpu_put(gpu, (char *)p + 5, src, n, &err), 0);
        memset(src, 0xee, n); /* the caller may go on at once */
        assert_int_equal(mc_gpu_get(gpu, dst, (char *)p + 5, n, &err), 0);
        assert_memory_equal(dst, want, n);
        assert_int_equal(dst[n], 0);
        mc_gpu_free(gpu, p);
        free(src);
        free(want);
        free(dst);
    }
}

/* What is copied on the device is what was there before the next put; more puts than there are slots. */
static void test_order(void **state)
{
    enum { N = 5000, ROUNDS = 11 };
    (void)state;
    void *at, *kept;
    unsigned char *got = mc_calloc(N, ROUNDS);
    assert_int_equal(mc_gpu_alloc(gpu, N, &at, &err), 0);
    assert_int_equal(mc_gpu_alloc(gpu, N * ROUNDS, &kept, &err), 0);
    for (int i = 0; i < ROUNDS; i++) {
        unsigned char *src = bytes(N, (unsigned)i);
        assert_int_equal(mc_gpu_put(gpu, at, src, N, &err), 0);
        assert_int_equal(mc_gpu_copy(gpu, (char *)kept + i * N, at, N, &err), 0);
        free(src);
    }
    assert_int_equal(mc_gpu_get(gpu, got, kept, N * ROUNDS, &err), 0);
    for (int i = 0; i < ROUNDS; i++) {
        unsigned char *want = bytes(N, (unsigned)i);
        assert_memory_equal(got + i * N, want, N);
        free(want);
    }
    mc_gpu_free(gpu, at);
    mc_gpu_free(gpu, kept);
    free(got);
}

static void test_recording(void **state)
{
    enum { N = 64 };
    (void)state;
    void *a, *b;
    struct mc_gpu_recording *r;
    unsigned char *src = bytes(N, 1), dst[N];
    assert_int_equal(mc_gpu_alloc(gpu, N, &a, &err), 0);
    assert_int_equal(mc_gpu_alloc(gpu, N, &b, &err), 0);
    assert_int_equal(mc_gpu_zero(gpu, b, N, &err), 0);
    assert_int_equal(mc_gpu_record_begin(gpu, &err), 0);
    assert_int_equal(mc_gpu_copy(gpu, b, a, N, &err), 0);
    assert_int_equal(mc_gpu_put(gpu, a, src, N, &err), MC_EUNSUP); /* would not be replayed */
    assert_int_equal(mc_gpu_get(gpu, dst, a, N, &err), MC_EUNSUP);
    assert_int_equal(mc_gpu_record_end(gpu, &r, &err), 0);
    assert_int_equal(mc_gpu_get(gpu, dst, b, N, &err), 0);
    assert_int_equal(dst[5], 0); /* nothing was done yet */
    for (unsigned i = 0; i < 2; i++) {
        src[5] = (unsigned char)(i + 1);
        assert_int_equal(mc_gpu_put(gpu, a, src, N, &err), 0);
        assert_int_equal(mc_gpu_replay(gpu, r, &err), 0);
        assert_int_equal(mc_gpu_get(gpu, dst, b, N, &err), 0);
        assert_memory_equal(dst, src, N);
    }
    mc_gpu_recording_free(gpu, r);
    mc_gpu_free(gpu, a);
    mc_gpu_free(gpu, b);
    free(src);
}

static void test_memory(void **state)
{
    struct mc_gpu_memory m;
    void *p = NULL, *pinned;
    unsigned char *src = bytes(3 << 20, 9);
    (void)state;
    mc_gpu_memory(gpu, &m);
    assert_int_equal(m.used, 0);
    mc_gpu_memory_restart(gpu);
    assert_int_equal(mc_gpu_alloc(gpu, 3 << 20, &p, &err), 0);
    assert_non_null(pinned = mc_gpu_host_alloc(gpu, 3 << 20));
    assert_int_equal(mc_gpu_put(gpu, p, src, 3 << 20, &err), 0);
    assert_int_equal(mc_gpu_get(gpu, pinned, p, 3 << 20, &err), 0);
    assert_memory_equal(pinned, src, 3 << 20);
    mc_gpu_host_free(gpu, pinned);
    mc_gpu_free(gpu, p);
    mc_gpu_memory(gpu, &m);
    assert_int_equal(m.used, 0);
    assert_int_equal(m.peak, 3 << 20);
    free(src);
}

static void test_names(void **state)
{
    static const char *const wrong[] = {"cuda:",    "cuda:x",     "cuda:-1",
                                        "cuda:01x", "cuda:99999", "gpu"};
    struct mc_gpu *g;
    (void)state;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        assert_int_equal(mc_gpu_open(wrong[i], NULL, &g, &err), MC_EUSAGE);
    assert_int_equal(mc_gpu_open("cuda:9", NULL, &g, &err), MC_EUSAGE);
    assert_non_null(strstr(err.msg, "there is cuda:0"));
    assert_int_equal(mc_gpu_open("cuda:0", NULL, NULL, &err), 0); /* only asked */
    assert_int_equal(mc_gpu_number(gpu), 0);
    assert_string_equal(mc_gpu_precision(gpu), "fp32");
}

static int open_gpu(void **state)
{
    (void)state;
    return mc_gpu_open("cuda", NULL, &gpu, &err);
}

static int close_gpu(void **state)
{
    (void)state;
    mc_gpu_close(gpu);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_memory), cmocka_unit_test(test_there_and_back),
        cmocka_unit_test(test_order),  cmocka_unit_test(test_recording),
        cmocka_unit_test(test_names),
    };
    return cmocka_run_group_tests(tests, open_gpu, close_gpu);
}
